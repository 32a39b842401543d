/* Keys and values of the rows that belong to users: what is put comes back, and what is not ours is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "device/group_spans.h"
#include "device/row.h"

#include <cmocka.h>

static void a_key_has_its_names_in_order(void **state)
{
    struct buf key;

    (void)state;
    buf_init(&key, 512);
    row_key_put(&key, SPAN("alice"), SPAN(""));
    assert_true(span_eq(buf_span(&key), SPAN("alice\0")));
    assert_int_equal(row_key_last(buf_span(&key)).len, 0);
    buf_clear(&key);
    row_key_put(&key, SPAN("alice"), SPAN("phone"));
    row_key_put_third(&key, SPAN("group:a"));
    assert_true(span_eq(buf_span(&key), SPAN("alice\0phone\0group:a")));
    assert_true(span_eq(row_key_last(buf_span(&key)), SPAN("group:a")));
    buf_fini(&key);
}

/* Every prefix that lacks a number is refused; so is another version. */
static void check_refusals(struct span value, size_t least, bool (*get)(struct span value))
{
    char other[64];

    for (size_t len = 0; len < least; len++)
        assert_false(get(span_head(value, len)));
    assert_true(get(value));
    memcpy(other, value.at, value.len);
    other[0]++;
    assert_false(get(span_of(other, value.len)));
    memcpy(other, value.at, value.len);
    other[1] = 2;
    assert_false(get(span_of(other, value.len)));
}

static bool get_session(struct span value)
{
    struct session_row row;
    return session_row_get(value, &row);
}

static bool get_place(struct span value)
{
    struct place_row row;
    return place_row_get(value, &row);
}

static bool get_group(struct span value)
{
    struct group_spans spans;
    return group_spans_get(value, &spans);
}

static void values_come_back(void **state)
{
    struct buf         buf;
    struct session_row session;
    struct place_row   place;
    struct group_spans group;

    (void)state;
    buf_init(&buf, 64);
    session_row_put(&buf, &(struct session_row){ .since = 1700000000123, .seen = 1700000009000, .from = 4, .is_ended = true,
                                                 .device_class = SPAN("phone") });
    assert_true(session_row_get(buf_span(&buf), &session));
    assert_true(session.since == 1700000000123 && session.seen == 1700000009000 && session.is_ended);
    assert_int_equal(session.from, 4);
    assert_true(span_eq(session.device_class, SPAN("phone")));
    check_refusals(buf_span(&buf), 26, get_session);

    buf_clear(&buf);
    session_row_put(&buf, &(struct session_row){ .since = 5, .from = 4, .device_class = SPAN("mobile"), .node = SPAN("n1"),
                                                 .incarnation = UINT64_MAX, .is_roaming = true });
    assert_true(session_row_get(buf_span(&buf), &session));
    assert_true(session.since == 5 && session.from == 4 && session.incarnation == UINT64_MAX && session.is_roaming);
    assert_true(span_eq(session.node, SPAN("n1")) && span_eq(session.device_class, SPAN("mobile")) && !session.is_ended);
    for (size_t len = 0; len < 26 + 9 + 2; len++)
        assert_false(get_session(span_head(buf_span(&buf), len)));

    buf_clear(&buf);
    session_row_put(&buf, &(struct session_row){ .since = SESSION_TIME_MAX, .seen = SESSION_TIME_MAX });
    assert_true(session_row_get(buf_span(&buf), &session) && session.since == SESSION_TIME_MAX && session.seen == SESSION_TIME_MAX);
    buf_clear(&buf);
    session_row_put(&buf, &(struct session_row){ .since = 5, .seen = SESSION_TIME_MAX + 1 });
    assert_false(session_row_get(buf_span(&buf), &session));

    buf_clear(&buf);
    place_row_put(&buf, &(struct place_row){ UINT64_MAX, 5, true });
    assert_true(place_row_get(buf_span(&buf), &place));
    assert_true(place.epoch == UINT64_MAX && place.wall == 5 && place.is_kept);
    check_refusals(buf_span(&buf), 18, get_place);

    buf_clear(&buf);
    group_spans_put(&(struct group_spans){ 1, { { 7, 42, GROUP_SPAN_OPEN, 0 } } }, &buf);
    assert_true(group_spans_get(buf_span(&buf), &group));
    assert_true(group_spans_is_member(&group) && group.spans[0].epoch == 7 && group.spans[0].after == 42);
    check_refusals(buf_span(&buf), 34, get_group);
    buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_has_its_names_in_order),
        cmocka_unit_test(values_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
