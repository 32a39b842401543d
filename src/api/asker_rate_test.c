#include "api/asker_rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct hash_key key = { 1, 2 };

static int ask_often(struct asker_rate *rate, const char *address, msec now, int count)
{
    int may = 0;

    while (count-- > 0)
        may += asker_rate_ask(rate, &key, span_str(address), now) == 0;
    return may;
}

static void an_address_has_a_burst_and_then_a_rate(void **state)
{
    (void)state;
    static struct asker_rate rate;

    assert_int_equal(ask_often(&rate, "192.0.2.7", 5000, 100), ASKER_BURST);
    assert_int_equal(ask_often(&rate, "192.0.2.8", 5000, 100), ASKER_BURST);
    assert_int_equal(asker_rate_ask(&rate, &key, SPAN("192.0.2.7"), 5000), ASKER_STEP_MS);
    assert_int_equal(ask_often(&rate, "192.0.2.7", 5000 + 3 * ASKER_STEP_MS, 100), 3);
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
