/* Threat 107: so many wrong secrets a minute, for each address. */
#include "auth/wrong_secrets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static uint64_t customer(const char *text)
{
    struct ip_address address;

    assert_true(ip_read(span_str(text), &address));
    return ip_customer(&address);
}

static void a_minute_has_so_many(void **state)
{
    struct wrong_secrets wrong;
    uint64_t             ours = customer("192.0.2.7"), others = customer("192.0.2.8");

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
        cmocka_unit_test(a_minute_has_so_many),
        cmocka_unit_test(the_table_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
