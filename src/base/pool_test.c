#include "base/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"

static void objects_are_zeroed_distinct_and_keep_what_is_written(void **state)
{
    (void)state;
    enum { COUNT = 5000, BYTES = 104 };
    static unsigned char *objects[COUNT];
    struct pool           pool;
    struct rng            rng = { 11 };

    pool_init(&pool, BYTES);
    for (int round = 0; round < 40000; round++) {
        size_t at = rng_below(&rng, COUNT);
        if (objects[at] == NULL) {
            objects[at] = pool_take(&pool);
            for (int i = 0; i < BYTES; i++)
                assert_int_equal(objects[at][i], 0);
            memset(objects[at], (int)(at % 251 + 1), BYTES);
        } else {
            for (int i = 0; i < BYTES; i++)
                assert_int_equal(objects[at][i], at % 251 + 1);
            pool_give(&pool, objects[at]);
            objects[at] = NULL;
        }
    }
    for (int i = 0; i < COUNT; i++)
        pool_give(&pool, objects[i]);
    assert_int_equal(pool.count, 0);
    pool_fini(&pool);
}

/* Slabs that have become empty go back, and come again. */
static void objects_are_zeroed_after_all_have_been_given_back(void **state)
{
    (void)state;
    enum { COUNT = 3000, BYTES = 48 };
    static const char     zero[BYTES];
    static unsigned char *objects[COUNT];
    struct pool           pool;

    pool_init(&pool, BYTES);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            objects[i] = pool_take(&pool);
            assert_memory_equal(objects[i], zero, BYTES);
            memset(objects[i], 0xff, BYTES);
        }
        for (int i = 0; i < COUNT; i++)
            pool_give(&pool, objects[i]);
    }
    pool_fini(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_are_zeroed_distinct_and_keep_what_is_written),
        cmocka_unit_test(objects_are_zeroed_after_all_have_been_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
