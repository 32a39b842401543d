#include "session/admission.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct admission_limits limits = { .per_s = 100, .burst = 20 };

static int let_in(struct admission *admission, bool is_known, msec now, int count)
{
    int in = 0;

    while (count-- > 0)
        in += admission_ask(admission, &limits, is_known, now) == 0;
    return in;
}

static void without_a_rate_everybody_is_let_in(void **state)
{
    (void)state;
    const struct admission_limits none = { 0 };
    struct admission              admission;

    admission_init(&admission);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(admission_ask(&admission, &none, false, 5), 0);
}

static void a_burst_is_let_in_and_then_the_rate(void **state)
{
    (void)state;
    struct admission admission;

    admission_init(&admission);
    assert_int_equal(let_in(&admission, true, 1000, 100), 20);
    assert_int_equal(let_in(&admission, true, 1009, 100), 0);
    assert_int_equal(let_in(&admission, true, 1050, 100), 5);
    assert_int_equal(let_in(&admission, true, 60000, 100), 20);
}

static void half_of_the_room_is_kept_for_those_who_are_known(void **state)
{
    (void)state;
    struct admission admission;

    admission_init(&admission);
    assert_int_equal(let_in(&admission, false, 1000, 100), 10);
    assert_int_equal(let_in(&admission, true, 1000, 100), 10);
    assert_int_equal(let_in(&admission, false, 1050, 100), 0);
}

/* Times are told in order, and one after the other, strangers behind those who are known. */
static void times_are_told_in_order(void **state)
{
    (void)state;
    struct admission admission;
    msec             last = 0;

    admission_init(&admission);
    let_in(&admission, true, 1000, 20);
    for (int i = 0; i < 50; i++) {
        msec wait = admission_ask(&admission, &limits, true, 1000);
        assert_in_range(wait - last, 11, 12);  /* a hundred a second, and nine tenths of it */
        last = wait;
    }
    assert_in_range(admission_ask(&admission, &limits, false, 1000) - last, 11, 12);
}

static void nobody_waits_for_more_than_five_minutes(void **state)
{
    (void)state;
    struct admission admission;

    admission_init(&admission);
    for (int i = 0; i < 100000; i++)
        assert_in_range(admission_ask(&admission, &limits, i % 2 == 0, 1000), 0, ADMISSION_WAIT_MS_MAX);
}

/* A reload: what is taken counts as so many clients, not as the time that they took before. */
static void other_limits_hold_at_once(void **state)
{
    (void)state;
    static const struct admission_limits slow = { .per_s = 1, .burst = 1000 }, fast = { .per_s = 100, .burst = 1000 },
                                         small = { .per_s = 100, .burst = 20 }, least = { .per_s = 1, .burst = 20 }, none = { 0 };
    struct admission admission;

    admission_init(&admission);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(admission_ask(&admission, &slow, true, 1000), 0);
    for (int i = 0; i < 100; i++)
        assert_in_range(admission_ask(&admission, &slow, true, 1000), 1000 + i * 1000, 1200 + i * 1200);

    admission_change(&admission, &slow, &fast, 1000);
    assert_in_range(admission_ask(&admission, &fast, true, 1000), 1000, 1200);
    for (int i = 0; i < 100; i++)
        assert_int_equal(admission_ask(&admission, &fast, true, 2000), 0);
    assert_int_not_equal(admission_ask(&admission, &fast, true, 2000), 0);

    admission_change(&admission, &fast, &small, 2000);
    assert_int_not_equal(admission_ask(&admission, &small, true, 2000), 0);
    assert_int_equal(admission_ask(&admission, &small, true, 2010), 0);
    assert_int_not_equal(admission_ask(&admission, &small, true, 2010), 0);

    admission_change(&admission, &small, &least, 2010);
    assert_int_not_equal(admission_ask(&admission, &least, true, 2500), 0);
    assert_int_equal(admission_ask(&admission, &least, true, 3010), 0);

    admission_change(&admission, &least, &none, 3010);
    admission_change(&admission, &none, &least, 3010);
    for (int i = 0; i < 20; i++)
        assert_int_equal(admission_ask(&admission, &least, true, 3010), 0);
}

/* --- a crowd comes back: each at the time that it was told ----------------------------------------------------------- */

enum { CROWD = 10000, CROWD_MS_MAX = 200000, TRIES_MAX = 3 };

/* Threat 35. */
static void a_crowd_comes_back_spread(void **state)
{
    (void)state;
    struct admission admission;
    static uint8_t   tries[CROWD];
    static int       due[CROWD_MS_MAX + 1], next[CROWD];  /* lists of who comes at this ms */
    int              in = 0, most = 0;
    msec             now;

    admission_init(&admission);
    for (int i = 0; i <= CROWD_MS_MAX; i++)
        due[i] = -1;
    for (int i = CROWD; i-- > 0;) {
        next[i]  = due[0];
        due[0]   = i;
        tries[i] = 0;
    }
    for (now = 0; now < CROWD_MS_MAX && in < CROWD; now++) {
        int in_now = 0;
        for (int who = due[now], after; who >= 0; who = after) {
            after     = next[who];
            msec wait = admission_ask(&admission, &limits, who % 2 == 0, 1000 + now);
            if (wait == 0) {
                in_now++;
                continue;
            }
            assert_in_range(++tries[who], 1, TRIES_MAX);
            assert_in_range(now + wait, now + 1, CROWD_MS_MAX);
            next[who]       = due[now + wait];
            due[now + wait] = who;
        }
        in += in_now;
        if (now > 0 && in_now > most)
            most = in_now;
    }
    assert_int_equal(in, CROWD);
    assert_in_range(now, 100000, 125000);  /* what the rate allows, and a tenth and a little more */
    assert_in_range(most, 1, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_rate_everybody_is_let_in),
        cmocka_unit_test(a_burst_is_let_in_and_then_the_rate),
        cmocka_unit_test(half_of_the_room_is_kept_for_those_who_are_known),
        cmocka_unit_test(times_are_told_in_order),
        cmocka_unit_test(nobody_waits_for_more_than_five_minutes),
        cmocka_unit_test(other_limits_hold_at_once),
        cmocka_unit_test(a_crowd_comes_back_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
