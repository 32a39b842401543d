/* Ranges of addresses: which texts are ranges, and who is within. */
#include "base/ip_range.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void who_is_within(void **state)
{
    static const struct { const char *range, *address; bool is_in; } rows[] = {
        { "10.0.0.0/8", "10.255.0.1", true },         { "10.0.0.0/8", "11.0.0.1", false },
        { "10.1.2.3/8", "10.255.0.1", true },         { "10.0.0.0/9", "10.127.255.255", true },
        { "10.0.0.0/9", "10.128.0.0", false },        { "192.0.2.7", "192.0.2.7", true },
        { "192.0.2.7", "192.0.2.6", false },          { "192.0.2.7/32", "192.0.2.7", true },
        { "192.0.2.6/31", "192.0.2.7", true },        { "0.0.0.0/0", "203.0.113.9", true },
        { "0.0.0.0/0", "2001:db8::1", false },        { "::/0", "2001:db8::1", true },
        { "::/0", "203.0.113.9", false },             { "2001:db8::/32", "2001:db8:ffff::1", true },
        { "2001:db8::/32", "2001:db9::", false },     { "2001:db8::/33", "2001:db8:8000::", false },
        { "::ffff:0.0.0.0/96", "203.0.113.9", true }, { "::1", "::1", true },
        { "::1/128", "::2", false },                  { "::/0", "::", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ip_ranges  ranges = { .count = 1 };
        struct ip_address address;
        assert_true(ip_range_read(span_str(rows[i].range), &ranges.at[0]) && ip_read(span_str(rows[i].address), &address));
        if (ip_ranges_have(&ranges, &address) != rows[i].is_in)
            fail_msg("%s, %s", rows[i].range, rows[i].address);
        ranges.count = 0;
        assert_false(ip_ranges_have(&ranges, &address));
    }
}

static void other_texts_are_no_ranges(void **state)
{
    static const char *const rows[] = {
        "", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/08", "10.0.0.0/8/8", "10/8",
        "::/129", "::/1000", "10.0.0.0 /8", "10.0.0.0/ 8", "localhost", "10.0.0.0/8x",
    };
    struct ip_range range;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (ip_range_read(span_str(rows[i]), &range))
            fail_msg("%s", rows[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_within),
        cmocka_unit_test(other_texts_are_no_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
