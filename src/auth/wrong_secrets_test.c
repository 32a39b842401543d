/* Threat 107: so many wrong secrets a minute, for each address. */
#include "auth/wrong_secrets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void addresses_are_told_apart(void **state)
{
    static const struct { const char *one, *other; bool is_same; } rows[] = {
        { "192.0.2.7", "192.0.2.7", true },         { "192.0.2.7", "192.0.2.8", false },
        { "2001:db8::1", "2001:db8::ffff:1", true }, { "2001:db8::1", "2001:db8:0:1::1", false },
        { "::1", "0:0:0:1::1", false },             { "0.0.0.0", "::", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t one = wrong_address(span_str(rows[i].one)), other = wrong_address(span_str(rows[i].other));
        if (one == 0 || other == 0 || (one == other) != rows[i].is_same)
            fail_msg("%s, %s", rows[i].one, rows[i].other);
    }
    assert_int_equal(wrong_address(SPAN("")), 0);
    assert_int_equal(wrong_address(SPAN("localhost")), 0);
    assert_int_equal(wrong_address(SPAN("1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa")), 0);
}

static void a_minute_has_so_many(void **state)
{
    struct wrong_secrets wrong;
    uint64_t             ours = wrong_address(SPAN("192.0.2.7")), others = wrong_address(SPAN("192.0.2.8"));

    (void)state;
    wrong_secrets_init(&wrong);
    for (int i = 0; i < 3; i++) {
        assert_false(wrong_secrets_are_many(&wrong, ours, 3, 1000));
        wrong_secrets_note(&wrong, ours, 1000 + i);
    }
    assert_true(wrong_secrets_are_many(&wrong, ours, 3, 1010));
    assert_false(wrong_secrets_are_many(&wrong, others, 3, 1010));
    assert_false(wrong_secrets_are_many(&wrong, 0, 3, 1010));
    assert_true(wrong_secrets_are_many(&wrong, ours, 3, 60999));
    assert_false(wrong_secrets_are_many(&wrong, ours, 3, 61000));
    assert_false(wrong_secrets_are_many(&wrong, ours, 3, 500));  /* the clock went back */
    wrong_secrets_note(&wrong, ours, 61000);
    assert_false(wrong_secrets_are_many(&wrong, ours, 3, 61001));
    wrong_secrets_fini(&wrong);
}

static void the_table_is_bounded(void **state)
{
    struct wrong_secrets wrong;
    size_t               known = 0;

    (void)state;
    wrong_secrets_init(&wrong);
    for (uint64_t i = 1; i <= 100000; i++)
        wrong_secrets_note(&wrong, UINT64_C(1) << 32 | i, (msec)i);
    for (uint64_t i = 1; i <= 100000; i++)
        known += wrong_secrets_are_many(&wrong, UINT64_C(1) << 32 | i, 1, (msec)i);
    assert_true(known > WRONG_ADDRESSES_MAX / 2 && known <= WRONG_ADDRESSES_MAX);
    assert_true(wrong_secrets_are_many(&wrong, UINT64_C(1) << 32 | 100000, 1, 100000));
    wrong_secrets_fini(&wrong);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_told_apart),
        cmocka_unit_test(a_minute_has_so_many),
        cmocka_unit_test(the_table_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
