/* Rates of many in one table. */
#include "base/rate_table.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static unsigned take_all(struct rate_table *table, uint64_t hash, uint64_t per_s, msec now)
{
    unsigned count = 0;

    while (rate_table_take(table, hash, per_s, now) == 0)
        count++;
    return count;
}

static void a_seconds_worth_at_once_then_one_by_one(void **state)
{
    (void)state;
    struct rate_table table = { NULL };

    assert_int_equal(take_all(&table, 7, 10, 5000), 10);
    assert_int_equal(take_all(&table, 7, 10, 5099), 0);
    assert_int_equal(take_all(&table, 7, 10, 5100), 1);
    assert_int_equal(take_all(&table, 7, 10, 5450), 3);
    assert_int_equal(take_all(&table, 7, 10, 99000), 10);  /* what is not used is not saved */
    assert_int_equal(take_all(&table, 7, 1, 200000), 1);
    assert_int_equal(take_all(&table, 7, 3000, 300000), 3000);
    assert_int_equal(take_all(&table, 7, 1000000, 400000), 1000000);
    rate_table_fini(&table);
}

static void a_refusal_says_when_one_may_again(void **state)
{
    (void)state;
    struct rate_table table = { NULL };

    assert_int_equal(take_all(&table, 7, 4, 1000), 4);
    assert_int_equal(rate_table_take(&table, 7, 4, 1000), 250);
    assert_int_equal(rate_table_take(&table, 7, 4, 1249), 1);
    assert_int_equal(rate_table_take(&table, 7, 4, 1250), 0);
    assert_int_equal(take_all(&table, 8, 1, 1000), 1);
    assert_int_equal(rate_table_take(&table, 8, 1, 1000), 1000);
    rate_table_fini(&table);
}

/* A slower rate that a reload sets finds a debt that is a second at most. */
static void a_rate_that_changes_refuses_for_a_second_at_most(void **state)
{
    (void)state;
    struct rate_table table = { NULL };

    assert_int_equal(take_all(&table, 7, 1000, 1000), 1000);
    assert_in_range(rate_table_take(&table, 7, 1, 1000), 1, 1000);
    assert_int_equal(rate_table_take(&table, 7, 1, 2000), 0);
    rate_table_fini(&table);
}

/* Finds hashes that have the same places, by taking them over. */
static void whoever_was_quiet_longest_makes_room(void **state)
{
    (void)state;
    enum { BESIDE = RATE_PLACES_MAX * 2 };
    struct rate_table table = { NULL };

    /* Far more of them than there are places: each has its own second's worth when it comes. */
    for (uint64_t i = 1; i <= BESIDE; i++)
        assert_int_equal(take_all(&table, i, 2, 5000), 2);
    /* One that goes on is not pushed out by those who come once. */
    assert_int_equal(take_all(&table, 7, 2, 9000), 2);
    for (uint64_t i = 1; i <= RATE_PLACES_MAX / 2; i++)
        rate_table_take(&table, UINT64_C(1) << 40 | i, 1000, 9000);
    assert_int_equal(take_all(&table, 7, 2, 9000), 0);
    rate_table_fini(&table);
}

enum { THREADS = 4, TRIES = 5000, PER_S = 1000 };

static struct rate_table shared;

static void *take_many(void *ctx)
{
    unsigned *ret = ctx;

    for (unsigned i = 0; i < TRIES; i++)
        *ret += rate_table_take(&shared, 42, PER_S, 1000) == 0;
    return NULL;
}

static void threads_share_one_rate(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    unsigned  taken[THREADS] = { 0 }, sum = 0;

    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_many, &taken[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        sum += taken[i];
    }
    assert_int_equal(sum, PER_S);
    rate_table_fini(&shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seconds_worth_at_once_then_one_by_one),
        cmocka_unit_test(a_refusal_says_when_one_may_again),
        cmocka_unit_test(a_rate_that_changes_refuses_for_a_second_at_most),
        cmocka_unit_test(whoever_was_quiet_longest_makes_room),
        cmocka_unit_test(threads_share_one_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
