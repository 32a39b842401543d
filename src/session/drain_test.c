#include "session/drain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void links_are_told_evenly(void **state)
{
    (void)state;
    static const struct { size_t total; msec within_ms; } rows[] = {
        { 0, 1000 }, { 1, 1000 }, { 10, 60000 }, { 1000, 10000 }, { 200000, 60000 }, { 7, 1 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct drain drain = { 0 };
        size_t       told = 0, most = 0, step_most = rows[i].total * DRAIN_STEP_MS / (size_t)rows[i].within_ms + 1;

        assert_false(drain_is_on(&drain));
        drain_begin(&drain, rows[i].total, rows[i].within_ms, 5000);
        assert_true(drain_is_on(&drain));
        for (msec now = 5000; now < 5000 + rows[i].within_ms; now += DRAIN_STEP_MS) {
            size_t due = drain_due(&drain, now);
            drain.told += due;
            told += due;
            if (due > most)
                most = due;
        }
        assert_in_range(most, 0, step_most);
        assert_in_range(told, rows[i].total - (rows[i].total < step_most ? rows[i].total : step_most), rows[i].total);
        assert_int_equal(drain_due(&drain, 5000 + rows[i].within_ms), SIZE_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(links_are_told_evenly) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
