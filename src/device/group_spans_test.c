/* Which part of a group's log is a member's, whatever joins and leaves came between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "device/group_spans.h"

#include <cmocka.h>

enum { EPOCH = 7, OTHER = 8 };

static void spans_are_what_was_published_to_a_member(void **state)
{
    static const struct { const char *name; uint64_t epoch, seq, want; } rows[] = {
        { "before the join", EPOCH, 1, 11 },       { "the head as of the join", EPOCH, 10, 11 },
        { "the first after it", EPOCH, 11, 11 },   { "the last before the leave", EPOCH, 20, 20 },
        { "behind the leave", EPOCH, 21, 31 },     { "the head as of the second join", EPOCH, 30, 31 },
        { "the second time", EPOCH, 31, 31 },      { "the last one of it", EPOCH, 35, 35 },
        { "for ever gone", EPOCH, 36, 0 },         { "another life of the log", OTHER, 15, 0 },
    };
    struct group_spans row = { 0 };

    (void)state;
    assert_false(group_spans_is_member(&row));
    assert_false(group_spans_leave(&row, EPOCH, 5, 1));
    assert_true(group_spans_join(&row, EPOCH, 10));
    assert_false(group_spans_join(&row, EPOCH, 12));
    assert_int_equal(group_spans_next(&row, EPOCH, 1000), 1000);
    assert_int_equal(group_spans_next(&row, OTHER, 3), 3);
    assert_true(group_spans_leave(&row, EPOCH, 20, 1));
    assert_false(group_spans_leave(&row, EPOCH, 25, 1));
    assert_true(group_spans_join(&row, EPOCH, 30));
    assert_true(group_spans_leave(&row, EPOCH, 35, 1));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (group_spans_next(&row, rows[i].epoch, rows[i].seq) != rows[i].want)
            fail_msg("%s", rows[i].name);
}

static void all_behind_the_last_join_is_the_members(void **state)
{
    static const struct { const char *name; uint64_t epoch, seq; bool want; } rows[] = {
        { "in the first span", EPOCH, 11, false },          { "between the spans", EPOCH, 21, false },
        { "the head as of the second join", EPOCH, 30, false }, { "the first behind it", EPOCH, 31, true },
        { "far behind it", EPOCH, 1000, true },              { "another life of the log", OTHER, 1, true },
    };
    struct group_spans row = { 0 };

    (void)state;
    assert_false(group_spans_have_rest(&row, EPOCH, 1));
    assert_true(group_spans_join(&row, EPOCH, 10));
    assert_true(group_spans_have_rest(&row, EPOCH, 11));
    assert_true(group_spans_leave(&row, EPOCH, 20, 1));
    assert_false(group_spans_have_rest(&row, EPOCH, 25));
    assert_true(group_spans_join(&row, EPOCH, 30));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (group_spans_have_rest(&row, rows[i].epoch, rows[i].seq) != rows[i].want)
            fail_msg("%s", rows[i].name);
}

static void who_comes_back_at_once_has_one_span(void **state)
{
    struct group_spans row = { 0 };

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        assert_true(group_spans_join(&row, EPOCH, 4));
        assert_true(group_spans_leave(&row, EPOCH, 4, 1));
    }
    assert_int_equal(row.count, 1);
    assert_int_equal(group_spans_next(&row, EPOCH, 1), 0);
}

static void a_new_life_of_the_log_is_the_members(void **state)
{
    struct group_spans row = { 0 };

    (void)state;
    assert_true(group_spans_join(&row, EPOCH, 10));
    assert_true(group_spans_leave(&row, OTHER, 3, 1));
    assert_int_equal(group_spans_next(&row, OTHER, 1), 1);
    assert_int_equal(group_spans_next(&row, OTHER, 4), 0);
    assert_int_equal(group_spans_next(&row, EPOCH, 11), 0);
}

/* Joins and leaves at random heads: each seq is the user's if and only if they were a member when it was published. The
 * oldest spans may be forgotten; nothing is ever added. */
static void spans_follow_a_model(void **state)
{
    struct rng rng = { 108 };

    (void)state;
    for (unsigned round = 0; round < 300; round++) {
        struct group_spans row       = { 0 };
        bool               was[400]  = { false };
        bool               is_member = false;
        unsigned           changes   = 0;
        for (uint64_t seq = 1; seq < 400; seq++) {
            if (rng_below(&rng, 20) == 0 && changes < 2 * GROUP_SPANS_MAX) {
                changes++;
                assert_true(is_member ? group_spans_leave(&row, EPOCH, seq - 1, 1) : group_spans_join(&row, EPOCH, seq - 1));
                is_member = !is_member;
            }
            was[seq] = is_member;
        }
        struct group_spans back = { 0 };
        struct buf         buf;
        buf_init(&buf, GROUP_SPANS_BYTES_MAX);
        if (row.count > 0) {
            group_spans_put(&row, &buf);
            assert_true(group_spans_get(buf_span(&buf), &back));
        }
        assert_int_equal(group_spans_is_member(&back), is_member);
        for (uint64_t seq = 1; seq < 400; seq++)
            assert_int_equal(group_spans_next(&back, EPOCH, seq) == seq, was[seq]);
        buf_fini(&buf);
    }
}

/* Of a device without a place in the group's log. */
static void a_device_begins_where_it_has_not_been(void **state)
{
    static const struct { const char *name; uint64_t generation, seen, want; bool is_open; } rows[] = {
        { "away all the time", 9, 2, 10, false },          { "it has seen the first join, not its end", 9, 3, 10, false },
        { "it may have seen the leave, not the rest", 9, 5, 10, false },
        { "it has seen the second join, not its end", 9, 7, 30, false },
        { "it has seen all", 9, 9, 0, false },             { "it goes on, and it has seen all", 7, 9, 30, true },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct group_spans row = { 2, { { EPOCH, 10, 20, 3 },
                                        { EPOCH, 30, rows[i].is_open ? GROUP_SPAN_OPEN : 35, rows[i].is_open ? 0 : 7 } } };
        struct group_span  first = { 0 };
        bool               found = group_spans_first(&row, rows[i].generation, rows[i].seen, &first);
        if (found != (rows[i].want != 0) || first.after != rows[i].want)
            fail_msg("%s", rows[i].name);
    }
}

static void too_many_spans_forget_the_oldest(void **state)
{
    struct group_spans row = { 0 };

    (void)state;
    for (uint64_t i = 0; i < GROUP_SPANS_MAX + 1; i++) {
        assert_true(group_spans_join(&row, EPOCH, 100 * i));
        assert_true(group_spans_leave(&row, EPOCH, 100 * i + 50, 1));
    }
    assert_int_equal(row.count, GROUP_SPANS_MAX);
    assert_int_equal(group_spans_next(&row, EPOCH, 1), 101);
}

static void what_is_no_value_is_refused(void **state)
{
    struct group_spans row = { 2, { { EPOCH, 1, 2, 1 }, { EPOCH, 5, GROUP_SPAN_OPEN, 0 } } }, back;
    struct buf         buf;
    const size_t       one = 2 + 32;  /* of the last span alone */

    (void)state;
    buf_init(&buf, GROUP_SPANS_BYTES_MAX);
    group_spans_put(&row, &buf);
    for (size_t len = 0; len < buf.len; len++)
        assert_int_equal(group_spans_get(span_head(buf_span(&buf), len), &back), len == one);
    assert_true(group_spans_get(buf_span(&buf), &back));
    buf.at[1] = 0;
    assert_false(group_spans_get(buf_span(&buf), &back));
    buf.at[1] = 1;
    buf.at[0]++;
    assert_false(group_spans_get(buf_span(&buf), &back));
    buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_are_what_was_published_to_a_member),
        cmocka_unit_test(all_behind_the_last_join_is_the_members),
        cmocka_unit_test(who_comes_back_at_once_has_one_span),
        cmocka_unit_test(a_new_life_of_the_log_is_the_members),
        cmocka_unit_test(spans_follow_a_model),
        cmocka_unit_test(a_device_begins_where_it_has_not_been),
        cmocka_unit_test(too_many_spans_forget_the_oldest),
        cmocka_unit_test(what_is_no_value_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
