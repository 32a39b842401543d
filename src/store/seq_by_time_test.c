#include "store/seq_by_time.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Messages of a log from seq 1 on; a time of 0 stands for a damaged one. */
struct times {
    const msec *at;
    unsigned    looks;
    enum rc     rc;
};

static enum rc time_at(void *ctx, uint64_t seq, msec *ret)
{
    struct times *times = ctx;

    times->looks++;
    if (times->rc != RC_OK)
        return times->rc;
    if (times->at[seq - 1] == 0)
        return RC_CORRUPT;
    *ret = times->at[seq - 1];
    return RC_OK;
}

static void a_damaged_message_makes_the_page_longer(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        msec        at[8], since, until;
        uint64_t    bound, end;
    } rows[] = {
        { "all is well", { 1, 2, 3, 4, 5, 6, 7, 8 }, 3, 6, 2, 7 },
        { "damage before both", { 1, 0, 3, 4, 5, 6, 7, 8 }, 4, 6, 3, 7 },
        { "damage between them", { 1, 2, 3, 4, 0, 6, 7, 8 }, 3, 6, 2, 7 },
        { "damage in the middle, later since", { 1, 2, 3, 4, 0, 6, 7, 8 }, 7, 8, 4, 9 },
        { "damage in the middle, earlier until", { 1, 2, 3, 4, 0, 6, 7, 8 }, 1, 2, 0, 6 },
        { "all damaged", { 0, 0, 0, 0, 0, 0, 0, 0 }, 3, 6, 0, 9 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct times      times = { .at = rows[i].at };
        struct store_read read  = { .since = rows[i].since, .until = rows[i].until, .first = 1, .head = 8 };
        assert_int_equal(read_set_times(&read, &(struct time_source){ time_at, &times }), RC_OK);
        if (read.bound != rows[i].bound || read.end != rows[i].end)
            fail_msg("%s: bound %d, end %d", rows[i].name, (int)read.bound, (int)read.end);
    }
}

static void a_search_looks_at_few_messages(void **state)
{
    (void)state;
    enum { COUNT = 1 << 20 };
    static msec       at[COUNT];
    struct times      times = { .at = at };
    struct store_read read  = { .since = 777777, .until = 888888, .first = 1, .head = COUNT };

    for (size_t i = 0; i < COUNT; i++)
        at[i] = (msec)i + 1;
    assert_int_equal(read_set_times(&read, &(struct time_source){ time_at, &times }), RC_OK);
    assert_int_equal(read.bound, 777776);
    assert_int_equal(read.end, 888889);
    assert_in_range(times.looks, 2, 2 * 21);
}

static void what_cannot_be_read_ends_it(void **state)
{
    (void)state;
    static const msec at[8];
    struct times      times = { .at = at, .rc = RC_IO };
    struct store_read read  = { .until = 5, .first = 1, .head = 8 };

    assert_int_equal(read_set_times(&read, &(struct time_source){ time_at, &times }), RC_IO);
    assert_int_equal(read.end, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_damaged_message_makes_the_page_longer),
        cmocka_unit_test(a_search_looks_at_few_messages),
        cmocka_unit_test(what_cannot_be_read_ends_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
