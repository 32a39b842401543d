#include "settings/advertise.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void an_address_is_a_host_with_a_scheme(void **state)
{
    (void)state;
    static const struct { const char *list; bool is_valid; } rows[] = {
        { "", true },
        { "a.example", true },
        { "https://a.example:8443/push, tcp://a.example:7400", true },
        { "[2001:db8::1]:8080", true },
        { "ftp://a", false },
        { "http://", false },
        { "a,,b", false },
        { "a b", false },
        { "http://a\"b", false },
        { "a?b", false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (advertise_is_valid(span_str(rows[i].list)) != rows[i].is_valid)
            fail_msg("%s", rows[i].list);
}

static void the_first_of_a_scheme_is_found(void **state)
{
    (void)state;
    const struct span list = SPAN("tcp://t:1, b.example:80,http://c, https://d/x,tcp://u:2");

    assert_true(span_eq(advertise_find(list, SPAN("http")), SPAN("b.example:80")));
    assert_true(span_eq(advertise_find(list, SPAN("https")), SPAN("https://d/x")));
    assert_true(span_eq(advertise_find(list, SPAN("tcp")), SPAN("tcp://t:1")));
    assert_int_equal(advertise_find(list, SPAN("tcps")).len, 0);
    assert_int_equal(advertise_find(SPAN(""), SPAN("http")).len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_a_host_with_a_scheme),
        cmocka_unit_test(the_first_of_a_scheme_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
