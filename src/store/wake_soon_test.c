/* Each test changes a thread of its own, so that none sees what another one did. */
#include "store/wake_soon.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/must.h"
#include "lib/slice.h"

enum { SHORTER_US = 200 };

static struct slice_attr attr_now(void)
{
    struct slice_attr attr;

    must(slice_attr_get(0, &attr));
    return attr;
}

static bool attr_is(const struct slice_attr *wanted)
{
    const struct slice_attr now = attr_now();

    return memcmp(&now, wanted, sizeof now) == 0;
}

/* Whoever runs the tests may have forbidden it, or chosen another policy. */
static void skip_where_it_is_refused(void)
{
    const struct slice_attr now = attr_now();

    if (now.policy != SCHED_OTHER || !slice_attr_set(&now))
        skip();
}

static void run_in_a_thread(void *(*run)(void *))
{
    pthread_t thread;

    skip_where_it_is_refused();
    assert_int_equal(pthread_create(&thread, NULL, run, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void *normal_run(void *context)
{
    struct slice_attr wanted = attr_now();

    if (wanted.slice_ns > WAKE_SOON_US * UINT64_C(1000))
        wanted.slice_ns = WAKE_SOON_US * UINT64_C(1000);
    thread_wake_soon();
    must(attr_is(&wanted));
    thread_wake_soon();
    must(attr_is(&wanted));
    return context;
}

/* Nothing else changes, and where the system knows no slices nothing does. */
static void a_thread_gets_a_short_slice(void **state)
{
    (void)state;
    run_in_a_thread(normal_run);
}

static void *shorter_run(void *context)
{
    struct slice_attr shorter = attr_now();

    shorter.slice_ns = SHORTER_US * UINT64_C(1000);
    must(slice_attr_set(&shorter));
    shorter = attr_now();
    thread_wake_soon();
    must(attr_is(&shorter));
    return context;
}

static void a_shorter_slice_stays(void **state)
{
    (void)state;
    run_in_a_thread(shorter_run);
}

static void *batch_run(void *context)
{
    struct slice_attr batch = attr_now();

    batch.policy = SCHED_BATCH;
    must(slice_attr_set(&batch));
    batch = attr_now();
    must(batch.policy == SCHED_BATCH);
    thread_wake_soon();
    must(attr_is(&batch));
    return context;
}

static void who_has_another_policy_keeps_it(void **state)
{
    (void)state;
    run_in_a_thread(batch_run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_gets_a_short_slice),
        cmocka_unit_test(a_shorter_slice_stays),
        cmocka_unit_test(who_has_another_policy_keeps_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
