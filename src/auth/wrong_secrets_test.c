/* Threat 107: so many wrong secrets a minute, for each address. */
#include "auth/wrong_secrets.h"

#include <pthread.h>
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
    struct wrong_secrets wrong = { NULL };
    uint64_t             ours = customer("192.0.2.7"), others = customer("192.0.2.8");

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(wrong_secrets_wait(&wrong, ours, 3, 1000), 0);
        wrong_secrets_note(&wrong, ours, 1000 + i);
    }
    assert_int_equal(wrong_secrets_wait(&wrong, ours, 3, 1010), 59990);
    assert_int_equal(wrong_secrets_wait(&wrong, others, 3, 1010), 0);
    assert_int_equal(wrong_secrets_wait(&wrong, 0, 3, 1010), 0);
    assert_int_equal(wrong_secrets_wait(&wrong, ours, 3, 60999), 1);
    assert_int_equal(wrong_secrets_wait(&wrong, ours, 3, 61000), 0);
    assert_int_equal(wrong_secrets_wait(&wrong, ours, 3, 500), 0);  /* the clock went back */
    wrong_secrets_note(&wrong, ours, 61000);
    assert_int_equal(wrong_secrets_wait(&wrong, ours, 3, 61001), 0);
    wrong_secrets_fini(&wrong);
}

static void the_table_is_bounded(void **state)
{
    struct wrong_secrets wrong = { NULL };
    size_t               known = 0;

    (void)state;
    for (uint64_t i = 1; i <= 100000; i++)
        wrong_secrets_note(&wrong, UINT64_C(1) << 32 | i, (msec)i);
    for (uint64_t i = 1; i <= 100000; i++)
        known += wrong_secrets_wait(&wrong, UINT64_C(1) << 32 | i, 1, (msec)i) > 0;
    assert_true(known > WRONG_ADDRESSES_MAX / 2 && known <= WRONG_ADDRESSES_MAX);
    assert_int_equal(wrong_secrets_wait(&wrong, UINT64_C(1) << 32 | 100000, 1, 100000), WRONG_MINUTE_MS);
    wrong_secrets_fini(&wrong);
}

enum { THREADS = 4, TRIES = 20000 };

static struct wrong_secrets shared;

static void *note_many(void *ctx)
{
    for (unsigned i = 0; i < TRIES; i++)
        wrong_secrets_note(&shared, *(uint64_t *)ctx, 1000);
    return NULL;
}

/* Whichever loop a wrong one comes to. */
static void threads_share_one_count(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    uint64_t  address = customer("192.0.2.7");

    wrong_secrets_note(&shared, address, 1000);  /* it has its place */
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, note_many, &address), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(wrong_secrets_wait(&shared, address, THREADS * TRIES + 1, 1000) > 0);
    assert_int_equal(wrong_secrets_wait(&shared, address, THREADS * TRIES + 2, 1000), 0);
    wrong_secrets_fini(&shared);
}

/* The largest maximum that a setting may have can be counted. */
static void a_million_can_be_counted(void **state)
{
    (void)state;
    struct wrong_secrets wrong = { NULL };
    uint64_t             address = customer("192.0.2.7");
    enum { MOST = 1000000 };
    _Static_assert(MOST < 1 << WRONG_COUNT_BITS, "wrong_secrets_per_address_per_min in settings.def");

    for (int i = 0; i < (1 << WRONG_COUNT_BITS) + 10; i++) {
        if (i == MOST - 1)
            assert_int_equal(wrong_secrets_wait(&wrong, address, MOST, INT64_C(1800000000000)), 0);
        wrong_secrets_note(&wrong, address, INT64_C(1800000000000));
    }
    assert_int_equal(wrong_secrets_wait(&wrong, address, MOST, INT64_C(1800000000000)), WRONG_MINUTE_MS);
    wrong_secrets_fini(&wrong);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_minute_has_so_many),
        cmocka_unit_test(the_table_is_bounded),
        cmocka_unit_test(threads_share_one_count),
        cmocka_unit_test(a_million_can_be_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
