#include "base/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jemalloc/jemalloc.h>

#include "base/must.h"

extern __typeof__(mallctl) mallctl __attribute__((weak));

enum { BLOCK_BYTES = 8000, BLOCKS = 25000, KEPT = 16, WORTH_BYTES = 64 << 20 };  /* 200 MB, of which each sixteenth block stays */

static size_t resident_bytes(void)
{
    unsigned long all, resident;
    FILE         *file = fopen("/proc/self/statm", "r");

    must(file != NULL && fscanf(file, "%lu %lu", &all, &resident) == 2);
    fclose(file);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static void flood(void *blocks[BLOCKS])
{
    for (int i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(BLOCK_BYTES);
        must(blocks[i] != NULL);
        memset(blocks[i], 1, BLOCK_BYTES);
    }
    for (int i = 0; i < BLOCKS; i++)
        if (i % KEPT != 0)
            free(blocks[i]);
}

/* On a busy machine a test may take longer than jemalloc waits; -1: for ever. */
static void let_it_wait_for(ssize_t ms)
{
    if (mallctl != NULL)
        must(mallctl("arena.0.dirty_decay_ms", NULL, NULL, &ms, sizeof ms) == 0);
}

static void what_a_flood_left_goes_back(void **state)
{
    (void)state;
    static void      *blocks[BLOCKS];
    struct heap_watch watch = { 0 };

    let_it_wait_for(-1);
    assert_false(heap_give_back(&watch, WORTH_BYTES));
    for (int round = 0; round < 2; round++) {
        flood(blocks);
        size_t before = resident_bytes();
        assert_true(heap_give_back(&watch, WORTH_BYTES));
        assert_true(resident_bytes() < before - BLOCKS / 2 * BLOCK_BYTES);
        assert_false(heap_give_back(&watch, WORTH_BYTES));
        for (int i = 0; i < BLOCKS; i += KEPT) {
            assert_int_equal(*(char *)blocks[i], 1);
            free(blocks[i]);
        }
        assert_false(heap_give_back(&watch, WORTH_BYTES));
    }
}

/* It is nobody's turn to allocate. */
static void it_goes_back_where_nothing_is_allocated(void **state)
{
    (void)state;
    static void *blocks[BLOCKS];

    if (mallctl == NULL)
        skip();
    let_it_wait_for(-1);
    flood(blocks);
    const size_t before = resident_bytes();
    let_it_wait_for(1000);
    heap_begin();
    for (int i = 0; i < 6000 && resident_bytes() > before - BLOCKS / 2 * BLOCK_BYTES; i++)
        usleep(10000);
    assert_true(resident_bytes() <= before - BLOCKS / 2 * BLOCK_BYTES);
    for (int i = 0; i < BLOCKS; i += KEPT)
        free(blocks[i]);
}

static void another_malloc_is_left_alone(void **state)
{
    (void)state;
    static void      *blocks[BLOCKS];
    struct heap_watch watch = { 0 };

    flood(blocks);
    assert_false(heap_give_back(&watch, WORTH_BYTES));
    for (int i = 0; i < BLOCKS; i += KEPT)
        free(blocks[i]);
}

#ifdef __SANITIZE_ADDRESS__
enum { HAS_ANOTHER_MALLOC = 1 };
#else
enum { HAS_ANOTHER_MALLOC = 0 };
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        HAS_ANOTHER_MALLOC ? (struct CMUnitTest)cmocka_unit_test(another_malloc_is_left_alone)
                           : (struct CMUnitTest)cmocka_unit_test(what_a_flood_left_goes_back),
        cmocka_unit_test(it_goes_back_where_nothing_is_allocated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
