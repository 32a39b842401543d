/* The address of a client as a value: its text, and the number of the customer who has it (threat 107). */
#include "base/ip_address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void texts_come_back(void **state)
{
    static const struct { const char *text, *back; } rows[] = {
        { "192.0.2.7", "192.0.2.7" },     { "::ffff:192.0.2.7", "192.0.2.7" },   { "2001:db8::7", "2001:db8::7" },
        { "2001:DB8:0::07", "2001:db8::7" }, { "::1", "::1" },                   { "0.0.0.0", "0.0.0.0" },
        { "::", "" },  /* nobody connects from there: unknown */
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ip_address address;
        struct buf        out;

        buf_init(&out, IP_TEXT_BYTES_MAX);
        assert_true(ip_read(span_str(rows[i].text), &address));
        ip_put(&address, &out);
        if (!span_eq(buf_span(&out), span_str(rows[i].back)))
            fail_msg("%s: %.*s", rows[i].text, SPAN_ARG(buf_span(&out)));
        buf_fini(&out);
    }
}

static void other_texts_are_none(void **state)
{
    static const char *const rows[] = {
        "", "localhost", "192.0.2", "192.0.2.7:80", "[::1]", "fe80::1%eth0", "192.0.2.256", " 192.0.2.7", "192.0.2.7 ",
        "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa", "1111:2222:3333:4444:5555:6666:255.255.255.255.255",
    };
    struct ip_address address = ip_of_v4("\1\2\3\4"), before = address;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (ip_read(span_str(rows[i]), &address) || !ip_eq(&address, &before))
            fail_msg("%s", rows[i]);
    assert_false(ip_read(span_of("192.0.2.7\0", 10), &address));
}

static void customers_are_told_apart(void **state)
{
    static const struct { const char *one, *other; bool is_same; } rows[] = {
        { "192.0.2.7", "192.0.2.7", true },         { "192.0.2.7", "192.0.2.8", false },
        { "2001:db8::1", "2001:db8::ffff:1", true }, { "2001:db8::1", "2001:db8:0:1::1", false },
        { "::1", "0:0:0:1::1", false },             { "0.0.0.0", "::1", false },
        { "192.0.2.7", "::ffff:192.0.2.7", true },  { "0.0.0.1", "0:0:0:0001::", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ip_address one, other;
        assert_true(ip_read(span_str(rows[i].one), &one) && ip_read(span_str(rows[i].other), &other));
        if (ip_customer(&one) == 0 || (ip_customer(&one) == ip_customer(&other)) != rows[i].is_same)
            fail_msg("%s, %s", rows[i].one, rows[i].other);
    }
    assert_int_equal(ip_customer(&IP_UNKNOWN), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_come_back),
        cmocka_unit_test(other_texts_are_none),
        cmocka_unit_test(customers_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
