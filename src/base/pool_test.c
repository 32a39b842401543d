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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_are_zeroed_distinct_and_keep_what_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
