#include "base/backoff.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void a_policy_is_told_in_json(void **state)
{
    (void)state;
    static const struct { struct backoff backoff; const char *want; } rows[] = {
        { { 1000, 60000, 200, 50 }, "{\"base_ms\":1000,\"factor\":2,\"cap_ms\":60000,\"jitter\":0.5}" },
        { { 0, 0, 100, 0 }, "{\"base_ms\":0,\"factor\":1,\"cap_ms\":0,\"jitter\":0}" },
        { { 3600000, 86400000, 175, 100 }, "{\"base_ms\":3600000,\"factor\":1.75,\"cap_ms\":86400000,\"jitter\":1}" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf said;

        buf_init(&said, 256);
        backoff_put(&said, &rows[i].backoff);
        buf_putc(&said, '\0');
        assert_string_equal(said.at, rows[i].want);
        buf_fini(&said);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_policy_is_told_in_json) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
