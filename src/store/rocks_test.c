/* The RocksDB maker: the battery, and what only a disk can do to it. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/must.h"
#include "store/rocks.h"
#include "store/store_battery.h"

#include <cmocka.h>

enum { WHY_BYTES = 400, KIB = 1024 };

/* --- a directory of its own for each store ---------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about, (void)kind, (void)where;
    return remove(path);
}

static char *directory_new(void)
{
    char *path = strdup("/tmp/rocks_test.XXXXXX");

    assert_non_null(path);
    assert_non_null(mkdtemp(path));
    return path;
}

static void directory_remove(const char *path)
{
    assert_int_equal(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static struct rocks_store_options options_at(struct bench *bench, const char *path)
{
    return (struct rocks_store_options){
        .path = path, .epoch_new = 4711, .spaces = &bench->spaces, .hash_key = bench->hash_key,
        .write_buffer_bytes = 256 * KIB, .dead_bytes_max = 1,
    };
}

static struct store *open_at(struct bench *bench, const char *path)
{
    const struct rocks_store_options options = options_at(bench, path);
    struct store                    *store   = NULL;
    char                             why[WHY_BYTES];

    if (rocks_store_open(&options, &store, why, sizeof why) != RC_OK)
        fail_msg("%s", why);
    return store;
}

static struct store *open_new(struct bench *bench)
{
    bench->context = directory_new();
    return open_at(bench, bench->context);
}

static void remove_all(struct bench *bench)
{
    directory_remove(bench->context);
    free(bench->context);
}

static const struct store_maker rocks = { "rocks", open_new, remove_all };

static void reopen(struct bench *bench)
{
    bench->store->ops->close(bench->store);
    bench->store = open_at(bench, bench->context);
}

/* --- across a reopen -------------------------------------------------------------------------------------------- */

static void all_is_there_after_a_reopen(void **state)
{
    struct bench *bench = *state;

    for (int i = 0; i < 10; i++)
        bench_publish(bench, (struct publish){ .channel = i % 2 ? "topic:a" : "user:b", .payload = "x" });
    struct published before = bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "x" });
    reopen(bench);
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "1 2 3 4 5 6");
    expect_page(bench, "user:b", READ_BEFORE, 0, 10, "1 2 3 4 5");
    struct published after = bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "x" });
    assert_int_equal(after.answer.seq, 7);
    assert_true(after.answer.epoch == before.answer.epoch);
    assert_true(after.answer.id > before.answer.id);
}

static int setup(void **state)
{
    struct bench *bench = malloc(sizeof *bench);

    assert_non_null(bench);
    bench_open(bench, &rocks);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    bench_close(*state);
    free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_is_there_after_a_reopen, setup, teardown),
    };
    return store_battery_run(&rocks) + cmocka_run_group_tests_name("rocks, the disk", tests, NULL, NULL);
}
