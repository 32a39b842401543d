/* Slots: the vectors of test/vectors/slots.json, what lies together, how even it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "message/slot.h"

#include <cmocka.h>

enum { LINE_BYTES = 256, USERS = 100000, PARTS = 16 };

/* Other programs compute them too, so they can't change. */
static void slots_are_those_of_the_vectors(void **state)
{
    FILE *file  = fopen("test/vectors/slots.json", "r");
    char  line[LINE_BYTES], name[LINE_BYTES];
    int   count = 0;

    (void)state;
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned want;
        if (sscanf(line, "[\"%[^\"]\", %u]", name, &want) != 2)
            continue;
        if (slot_of_channel(span_str(name)) != want)
            fail_msg("%s: %u, not %u", name, slot_of_channel(span_str(name)), want);
        count++;
    }
    fclose(file);
    assert_in_range(count, 25, 1000);
}

static void what_belongs_to_a_user_or_group_lies_together(void **state)
{
    (void)state;
    static const char *const channels[] = { "user:ann", "device:ann/phone", "device:ann/a/b", "group:ann" };
    static const struct span keys[] = { SPAN("ann"), SPAN("ann\0phone"), SPAN("ann\0phone\0topic:a"), SPAN("ann\0") };

    for (size_t i = 0; i < sizeof channels / sizeof channels[0]; i++)
        assert_int_equal(slot_of_channel(span_str(channels[i])), slot_of_channel(SPAN("user:ann")));
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        assert_int_equal(slot_of_row(keys[i]), slot_of_channel(SPAN("user:ann")));
    assert_int_not_equal(slot_of_channel(SPAN("topic:ann")), slot_of_channel(SPAN("user:ann")));
}

static void users_are_spread_evenly(void **state)
{
    static unsigned counts[PARTS];
    char            name[LINE_BYTES];

    (void)state;
    for (int i = 0; i < USERS; i++) {
        snprintf(name, sizeof name, "user:%d", i);
        unsigned slot = slot_of_channel(span_str(name));
        assert_in_range(slot, 0, SLOT_COUNT - 1);
        counts[slot * PARTS / SLOT_COUNT]++;
    }
    for (int i = 0; i < PARTS; i++)
        assert_in_range(counts[i], USERS / PARTS * 9 / 10, USERS / PARTS * 11 / 10);
}

static void who_follows_a_user_follows_the_devices_by_one_route(void **state)
{
    (void)state;
    static const struct { const char *channel, *route; } rows[] = {
        { "user:ann", "user:ann" },     { "device:ann/phone", "user:ann" },   { "device:ann/a/b", "user:ann" },
        { "group:lobby", "group:lobby" }, { "topic:prices", "topic:prices" }, { "device:ann", "user:ann" },
        { "device:/x", "device:/x" },
    };
    char scratch[ROUTE_NAME_BYTES_MAX];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_true(span_eq(route_name(span_str(rows[i].channel), scratch), span_str(rows[i].route)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_those_of_the_vectors),
        cmocka_unit_test(what_belongs_to_a_user_or_group_lies_together),
        cmocka_unit_test(users_are_spread_evenly),
        cmocka_unit_test(who_follows_a_user_follows_the_devices_by_one_route),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
