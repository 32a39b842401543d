/* Which channels a pattern means (threat 92). */
#include "message/grant.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void a_star_is_any_run_of_bytes(void **state)
{
    static const struct { const char *pattern, *channel; bool fits; } rows[] = {
        { "topic:a", "topic:a", true },          { "topic:a", "topic:ab", false },     { "topic:a", "topic:", false },
        { "topic:*", "topic:a", true },          { "topic:*", "topic:", true },        { "topic:*", "topics:a", false },
        { "topic:*", "topic:a/b:c", true },      { "*", "user:ann", true },            { "*", "", true },
        { "device:*/phone", "device:a/phone", true },  { "device:*/phone", "device:a/phones", false },
        { "*:here", "topic:here", true },        { "*:here", "topic:there", false },   { "a*b*c", "abc", true },
        { "a*b*c", "a--b--b--c", true },         { "a*b*c", "a--c--b", false },        { "**", "x", true },
        { "", "", true },                        { "", "a", false },                   { "topic:?", "topic:a", false },
        { "topic:[ab]", "topic:a", false },      { "topic:\\*", "topic:*", false },    { "topic:*", "topic:*", true },
        { "topic:*x", "topic:aaaaaaaaaaaaaaaaaaaaaaaaaaaa", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (grant_pattern_fits(span_str(rows[i].pattern), span_str(rows[i].channel)) != rows[i].fits)
            fail_msg("%s, %s", rows[i].pattern, rows[i].channel);
}

static void patterns_have_bounds(void **state)
{
    char longest[GRANT_BYTES_MAX + 1];

    (void)state;
    memset(longest, 'a', sizeof longest);
    assert_true(grant_pattern_is_valid(span_of(longest, GRANT_BYTES_MAX)));
    assert_false(grant_pattern_is_valid(span_of(longest, GRANT_BYTES_MAX + 1)));
    assert_true(grant_pattern_is_valid(SPAN("********")));
    assert_false(grant_pattern_is_valid(SPAN("*********")));
    assert_false(grant_pattern_is_valid(SPAN("")));
    assert_false(grant_pattern_is_valid(SPAN("a\nb")));
    assert_false(grant_pattern_is_valid(SPAN("a\xff")));
}

static void there_are_four_words(void **state)
{
    (void)state;
    assert_int_equal(grant_can_of(SPAN("subscribe")), CAN_SUBSCRIBE);
    assert_int_equal(grant_can_of(SPAN("publish")), CAN_PUBLISH);
    assert_int_equal(grant_can_of(SPAN("history")), CAN_HISTORY);
    assert_int_equal(grant_can_of(SPAN("presence")), CAN_PRESENCE);
    assert_int_equal(grant_can_of(SPAN("Publish")), 0);
    assert_int_equal(grant_can_of(SPAN("")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_star_is_any_run_of_bytes),
        cmocka_unit_test(patterns_have_bounds),
        cmocka_unit_test(there_are_four_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
