/* Counts of many in one table. */
#include "base/count_table.h"

#include <setjmp.h>
#include <stdarg.h>

#include "base/rng.h"

#include <cmocka.h>

static void each_has_its_own_maximum(void **state)
{
    (void)state;
    struct count_table table;

    count_table_init(&table);
    assert_int_equal(count_table_of(&table, 7), 0);
    assert_true(count_table_add(&table, 7, 2));
    assert_true(count_table_add(&table, 7, 2));
    assert_false(count_table_add(&table, 7, 2));
    assert_true(count_table_add(&table, 8, 2));
    count_table_take(&table, 7);
    assert_int_equal(count_table_of(&table, 7), 1);
    assert_true(count_table_add(&table, 7, 2));
    assert_false(count_table_add(&table, 9, 0));
    assert_int_equal(count_table_of(&table, 9), 0);
    count_table_fini(&table);
}

/* Hashes whose places lie side by side or upon one another, in random order, beside a plain array. */
static void it_counts_as_an_array_does(void **state)
{
    (void)state;
    enum { KINDS = 600, STEPS = 200000 };
    struct count_table table;
    uint32_t           counts[KINDS] = { 0 };
    struct rng         rng           = { 5 };

    count_table_init(&table);
    for (unsigned step = 0; step < STEPS; step++) {
        uint64_t kind = rng_below(&rng, step < STEPS / 2 ? KINDS : 20);
        uint64_t hash = kind % 40 | kind / 40 << 20;
        if (rng_below(&rng, 2) == 0) {
            assert_int_equal(count_table_add(&table, hash, 3), counts[kind] < 3);
            counts[kind] += counts[kind] < 3;
        } else if (counts[kind] > 0) {
            count_table_take(&table, hash);
            counts[kind]--;
        }
        assert_int_equal(count_table_of(&table, hash), counts[kind]);
    }
    for (uint64_t kind = 0; kind < KINDS; kind++)
        assert_int_equal(count_table_of(&table, kind % 40 | kind / 40 << 20), counts[kind]);
    count_table_fini(&table);
}

enum { THREADS = 4, ROUNDS = 20000, MAX = 3 };

static struct count_table shared;

static void *add_and_take(void *ctx)
{
    (void)ctx;
    for (unsigned i = 0; i < ROUNDS; i++)
        if (count_table_add(&shared, 42, MAX))
            count_table_take(&shared, 42);
    return NULL;
}

static void threads_share_one_count(void **state)
{
    (void)state;
    pthread_t threads[THREADS];

    count_table_init(&shared);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_and_take, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(count_table_of(&shared, 42), 0);
    count_table_fini(&shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_has_its_own_maximum),
        cmocka_unit_test(it_counts_as_an_array_does),
        cmocka_unit_test(threads_share_one_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
