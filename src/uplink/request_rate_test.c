#include "uplink/request_rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static unsigned take_all(struct request_rate *rate, uint64_t hash, uint64_t per_s, msec now)
{
    unsigned count = 0;

    while (request_rate_take(rate, hash, per_s, now))
        count++;
    return count;
}

static void a_seconds_worth_at_once_then_one_by_one(void **state)
{
    (void)state;
    struct request_rate rate = { NULL };

    assert_int_equal(take_all(&rate, 7, 10, 5000), 10);
    assert_int_equal(take_all(&rate, 7, 10, 5099), 0);
    assert_int_equal(take_all(&rate, 7, 10, 5100), 1);
    assert_int_equal(take_all(&rate, 7, 10, 5450), 3);
    assert_int_equal(take_all(&rate, 7, 10, 99000), 10);  /* what is not used is not saved */
    assert_int_equal(take_all(&rate, 7, 1, 200000), 1);
    assert_int_equal(take_all(&rate, 7, 3000, 300000), 3003);  /* a step is 333 us */
    request_rate_fini(&rate);
}

static void users_do_not_count_for_each_other(void **state)
{
    (void)state;
    enum { APART = RATED_USERS_MAX / REQUEST_RATE_WAYS };
    struct request_rate rate = { NULL };

    for (uint64_t i = 0; i < REQUEST_RATE_WAYS; i++)
        assert_int_equal(take_all(&rate, 7 + i * APART, 2, 5000 + (msec)i), 2);
    assert_int_equal(take_all(&rate, 7, 2, 5003), 0);
    assert_int_equal(take_all(&rate, 7 + REQUEST_RATE_WAYS * APART, 2, 5004), 2);  /* takes the place of the first */
    assert_int_equal(take_all(&rate, 7 + APART, 2, 5004), 0);
    assert_int_equal(take_all(&rate, 7, 2, 5004), 2);
    request_rate_fini(&rate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seconds_worth_at_once_then_one_by_one),
        cmocka_unit_test(users_do_not_count_for_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
