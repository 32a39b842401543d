#include "api/asker_rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/ip_address.h"

static const struct hash_key key = { 1, 2 };

static int ask_often(struct asker_rate *rate, const char *address, msec now, int count)
{
    struct ip_address from = IP_UNKNOWN;
    int               may  = 0;

    assert_true(address[0] == '\0' || ip_read(span_str(address), &from));
    while (count-- > 0)
        may += asker_rate_ask(rate, &key, ip_customer(&from), now) == 0;
    return may;
}

static void an_address_has_a_burst_and_then_a_rate(void **state)
{
    (void)state;
    static struct asker_rate rate;

    assert_int_equal(ask_often(&rate, "192.0.2.7", 5000, 100), ASKER_BURST);
    assert_int_equal(ask_often(&rate, "192.0.2.8", 5000, 100), ASKER_BURST);
    assert_int_equal(ask_often(&rate, "192.0.2.7", 5000 + ASKER_STEP_MS - 1, 1), 0);
    assert_int_equal(ask_often(&rate, "192.0.2.7", 5000 + ASKER_STEP_MS, 2), 1);
    assert_int_equal(ask_often(&rate, "192.0.2.7", 5000 + 4 * ASKER_STEP_MS, 100), 3);
    assert_int_equal(ask_often(&rate, "192.0.2.7", 60000, 100), ASKER_BURST);
    assert_int_equal(ask_often(&rate, "", 60000, 100), ASKER_BURST);
}

static void ipv6_counts_by_its_first_half(void **state)
{
    (void)state;
    static struct asker_rate rate;

    assert_int_equal(ask_often(&rate, "2001:db8::1", 5000, 15), 15);
    assert_int_equal(ask_often(&rate, "2001:db8::ffff:1", 5000, 15), ASKER_BURST - 15);
    assert_int_equal(ask_often(&rate, "2001:db8:0:1::1", 5000, 15), 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_has_a_burst_and_then_a_rate),
        cmocka_unit_test(ipv6_counts_by_its_first_half),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
