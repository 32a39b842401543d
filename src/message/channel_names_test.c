/* Names that were asked for lately: shared, bounded, and never one that is none. */
#include "message/channel_names.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct namespaces     spaces;
static const struct hash_key key = { 1, 2 };

static struct channel_name *get(struct channel_names *names, const char *text)
{
    struct channel_name *name = NULL;

    assert_int_equal(channel_names_get(names, &spaces, &key, span_str(text), &name), CHANNEL_NAME_OK);
    assert_true(span_eq(channel_name_span(name), span_str(text)));
    return name;
}

static void a_name_is_made_once(void **state)
{
    struct channel_names names = { 0 };
    struct channel_name *first = get(&names, "live:a"), *other = get(&names, "live:b"), *again = get(&names, "live:a");

    (void)state;
    assert_ptr_equal(first, again);
    assert_ptr_not_equal(first, other);
    channel_names_fini(&names);
    assert_true(span_eq(channel_name_span(first), SPAN("live:a")));  /* who has it keeps it */
    channel_name_unref(first);
    channel_name_unref(again);
    channel_name_unref(other);
}

/* Twice as many as there are places: each is what was asked for, whoever had its place. */
static void names_give_way_to_others(void **state)
{
    struct channel_names names = { 0 };
    char                 text[32];

    (void)state;
    for (unsigned round = 0; round < 2; round++)
        for (unsigned i = 0; i < 2 * CHANNEL_NAMES_MAX; i++) {
            snprintf(text, sizeof text, "topic:%u", i);
            channel_name_unref(get(&names, text));
        }
    channel_names_fini(&names);
}

/* A quarter of as many as there are places, however long they are and wherever in the text they differ: most are found again. */
static void few_names_do_not_drive_each_other_out(void **state)
{
    enum { COUNT = CHANNEL_NAMES_MAX / 4, LENGTHS = 16 };
    static struct channel_name *seen[COUNT];
    char                        text[64];

    (void)state;
    for (int more = 0; more < LENGTHS; more++) {
        struct channel_names names = { 0 };
        unsigned             found = 0;
        for (unsigned i = 0; i < 2 * COUNT; i++) {
            snprintf(text, sizeof text, "topic:%.*s-%u", more, "a channel's name", i % COUNT);
            struct channel_name *name = get(&names, text);
            found += i >= COUNT && name == seen[i % COUNT];
            if (i < COUNT)
                seen[i] = name;
            else
                channel_name_unref(name);
        }
        for (unsigned i = 0; i < COUNT; i++)
            channel_name_unref(seen[i]);
        channel_names_fini(&names);
        assert_in_range(found, COUNT * 85 / 100, COUNT);
    }
}

static void what_is_no_name_is_refused_each_time(void **state)
{
    static const struct {
        struct span             text;
        enum channel_name_fault want;
    } rows[] = {
        { SPAN("live"), CHANNEL_NAME_MALFORMED },       { SPAN(""), CHANNEL_NAME_MALFORMED },
        { SPAN("live:\x01"), CHANNEL_NAME_MALFORMED }, { SPAN("nothing:a"), CHANNEL_NAME_UNKNOWN },
    };
    struct channel_names names = { 0 };

    (void)state;
    for (unsigned round = 0; round < 2; round++)
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            struct channel_name *name = NULL;
            assert_int_equal(channel_names_get(&names, &spaces, &key, rows[i].text, &name), rows[i].want);
            assert_null(name);
        }
    channel_names_fini(&names);
    channel_names_fini(&names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_made_once),
        cmocka_unit_test(names_give_way_to_others),
        cmocka_unit_test(few_names_do_not_drive_each_other_out),
        cmocka_unit_test(what_is_no_name_is_refused_each_time),
    };
    namespaces_init(&spaces);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
