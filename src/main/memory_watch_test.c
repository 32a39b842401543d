/* Which step follows from what is held, and what the kernel says of this process (threat 21). */
#include "main/memory_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const struct {
    const char      *name;
    enum memory_step before;
    uint64_t         held, most;
    enum memory_step want;
} rows[] = {
    { "no limit",                        MEMORY_CALM,   UINT64_MAX, 0,   MEMORY_CALM },
    { "the limit was taken away",        MEMORY_SHEDS,  UINT64_MAX, 0,   MEMORY_CALM },
    { "little is held",                  MEMORY_CALM,   69,  100, MEMORY_CALM },
    { "caches shrink",                   MEMORY_CALM,   70,  100, MEMORY_LEAN },
    { "the doors close",                 MEMORY_CALM,   80,  100, MEMORY_CLOSED },
    { "bodies are refused",              MEMORY_LEAN,   85,  100, MEMORY_SHORT },
    { "strangers are closed",            MEMORY_CALM,   90,  100, MEMORY_SHEDS_STRANGERS },
    { "everybody is, at once",           MEMORY_CALM,   95,  100, MEMORY_SHEDS },
    { "beyond the limit",                MEMORY_CALM,   200, 100, MEMORY_SHEDS },
    { "a step stays for five percent",   MEMORY_CLOSED, 75,  100, MEMORY_CLOSED },
    { "… and ends below",                MEMORY_CLOSED, 74,  100, MEMORY_LEAN },
    { "the last one too",                MEMORY_SHEDS,  90,  100, MEMORY_SHEDS },
    { "… goes to the one below it",      MEMORY_SHEDS,  89,  100, MEMORY_SHEDS_STRANGERS },
    { "lean ends",                       MEMORY_LEAN,   64,  100, MEMORY_CALM },
    { "all steps end at once",           MEMORY_SHEDS,  10,  100, MEMORY_CALM },
    { "a step that did not begin yet",   MEMORY_LEAN,   79,  100, MEMORY_LEAN },
    { "numbers as large as they may be", MEMORY_CALM,   UINT64_MAX / 2, UINT64_MAX, MEMORY_CALM },
};

static void each_row_has_its_step(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum memory_step step = memory_step_of(rows[i].before, rows[i].held, rows[i].most);
        if (step != rows[i].want)
            fail_msg("%s: %s, not %s", rows[i].name, memory_step_text(step), memory_step_text(rows[i].want));
    }
}

/* However memory goes up and down by less than five percent, a step begins and ends once. */
static void nothing_flaps(void **state)
{
    (void)state;
    enum memory_step step    = MEMORY_CALM;
    int              changes = 0;

    for (int i = 0; i < 1000; i++) {
        enum memory_step next = memory_step_of(step, i % 2 == 0 ? 802 : 758, 1000);
        changes += next != step;
        step = next;
    }
    assert_int_equal(changes, 1);
    assert_int_equal(step, MEMORY_CLOSED);
}

enum { BLOCK_BYTES = 64 << 20 };

static void the_kernel_says_what_is_held(void **state)
{
    (void)state;
    struct memory_watch watch;

    memory_watch_open(&watch);
    assert_true(watch.fd >= 0);
    assert_false(memory_watch_look(&watch, 0, 1000));
    assert_int_equal(counter_get(&watch.held), 0);
    assert_false(memory_watch_look(&watch, UINT64_C(1) << 50, 1000));
    uint64_t before = counter_get(&watch.held);
    assert_true(before > 0);

    char *block = malloc(BLOCK_BYTES);
    assert_non_null(block);
    memset(block, 1, BLOCK_BYTES);
    assert_false(memory_watch_look(&watch, 1, 1000 + MEMORY_LOOK_MS - 1));  /* just looked */
    assert_true(memory_watch_look(&watch, before + BLOCK_BYTES / 2, 1000 + MEMORY_LOOK_MS));
    assert_true(counter_get(&watch.held) > before + BLOCK_BYTES / 2);
    assert_int_equal(memory_watch_step(&watch), MEMORY_SHEDS);
    assert_int_equal(block[BLOCK_BYTES / 2], 1);
    free(block);

    assert_true(memory_watch_look(&watch, 0, 5000));  /* the limit was taken away */
    assert_int_equal(memory_watch_step(&watch), MEMORY_CALM);
    memory_watch_close(&watch);
}

static void without_the_kernels_file_nothing_is_held(void **state)
{
    (void)state;
    struct memory_watch watch = { .fd = -1 };

    assert_false(memory_watch_look(&watch, 1, 1000));
    assert_int_equal(memory_watch_step(&watch), MEMORY_CALM);
    memory_watch_close(&watch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_row_has_its_step),
        cmocka_unit_test(nothing_flaps),
        cmocka_unit_test(the_kernel_says_what_is_held),
        cmocka_unit_test(without_the_kernels_file_nothing_is_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
