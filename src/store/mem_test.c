/* The memory maker: runs the battery, and tests its own bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "store/ledger_battery.h"
#include "store/mem.h"

#include <cmocka.h>

static struct store *open_plain(struct bench *bench)
{
    const struct mem_store_options options = { .epoch_first = 77, .id_first = 1000, .hash_key = bench->hash_key };

    return mem_store_new(&options);
}

static struct store *open_tight(struct bench *bench)
{
    const struct mem_store_options options = {
        .epoch_first = 1, .id_first = 1, .hash_key = bench->hash_key,
        .channel_count_max = 3, .ring_bytes_max = 2000, .key_count_max = 2, .row_count_max = 3, .row_bytes_max = 600,
    };

    return mem_store_new(&options);
}

static const struct store_maker plain     = { "mem", open_plain, NULL };
static const struct store_maker tight     = { "mem, tight", open_tight, NULL };

static uint64_t epoch_of(struct bench *bench, const char *channel)
{
    return bench_read(bench, channel, READ_AFTER, 0, 0, 1).epoch;
}

static void a_channel_that_was_let_go_comes_back_with_a_new_epoch(void **state)
{
    struct bench bench;
    char         channel[32];

    (void)state;
    bench_open(&bench, &tight);
    bench_publish(&bench, (struct publish){ .channel = "live:0", .payload = "x" });
    uint64_t before = epoch_of(&bench, "live:0");
    assert_true(bench.store->has_one_writer);
    for (int i = 1; i <= 3; i++) {
        snprintf(channel, sizeof channel, "live:%d", i);
        bench_publish(&bench, (struct publish){ .channel = channel, .payload = "x" });
    }
    expect_page(&bench, "live:0", READ_AFTER, 0, 10, "");
    struct published again = bench_publish(&bench, (struct publish){ .channel = "live:0", .payload = "x" });
    assert_int_equal(again.answer.seq, 1);
    assert_true(again.answer.epoch > before);
    assert_false(bench.store->has_one_writer);  /* whoever has a head in mind must ask again */
    expect_page(&bench, "live:3", READ_AFTER, 0, 10, "1");
    bench_close(&bench);
}

static void an_empty_channel_is_let_go_before_a_full_one(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench, &tight);
    bench_publish(&bench, (struct publish){ .channel = "live:kept", .payload = "x" });
    bench_publish(&bench, (struct publish){ .channel = "conn:1", .payload = "x" });
    bench_publish(&bench, (struct publish){ .channel = "conn:2", .payload = "x" });
    bench_publish(&bench, (struct publish){ .channel = "conn:3", .payload = "x" });
    expect_page(&bench, "live:kept", READ_AFTER, 0, 10, "1");
    expect_page(&bench, "conn:1", READ_AFTER, 0, 10, "");
    expect_page(&bench, "conn:3", READ_AFTER, 0, 10, "[1-1 trimmed]");
    bench_close(&bench);
}

static void full_rings_let_go_the_oldest_of_the_quietest(void **state)
{
    struct bench       bench;
    struct store_stats stats;

    (void)state;
    bench_open(&bench, &tight);
    bench_publish(&bench, (struct publish){ .channel = "live:quiet", .payload = "x" });
    for (int i = 0; i < 100; i++)
        bench_publish(&bench, (struct publish){ .channel = "live:loud", .payload = "0123456789" });
    bench.store->ops->stats(bench.store, &stats);
    assert_true(stats.memory_bytes < 2000 + 1000);
    assert_int_equal(stats.append_count, 101);
    expect_page(&bench, "live:quiet", READ_AFTER, 0, 10, "[1-1 trimmed]");
    struct store_read loud = bench_read(&bench, "live:loud", READ_AFTER, 0, 0, 1);
    assert_int_equal(loud.head, 100);
    assert_true(loud.first > 50 && loud.first < 100);
    bench_close(&bench);
}

static void a_channel_that_is_published_to_again_is_not_the_quietest(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench, &tight);
    bench_publish(&bench, (struct publish){ .channel = "live:again", .payload = "x" });
    bench_publish(&bench, (struct publish){ .channel = "live:quiet", .payload = "x" });
    for (int i = 0; i < 10; i++)
        bench_publish(&bench, (struct publish){ .channel = "live:loud", .payload = "x" });
    bench_publish(&bench, (struct publish){ .channel = "live:again", .payload = "x" });
    while (bench_read(&bench, "live:quiet", READ_AFTER, 0, 0, 1).first == 1)
        bench_publish(&bench, (struct publish){ .channel = "live:loud", .payload = "x" });
    expect_page(&bench, "live:again", READ_AFTER, 0, 10, "1 2");
    bench_close(&bench);
}

static void each_message_is_past_at_its_own_time(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench, &plain);
    bench_publish(&bench, (struct publish){ .channel = "live:a", .payload = "x" });
    bench.wall += 60 * 1000;
    bench_publish(&bench, (struct publish){ .channel = "live:a", .payload = "y" });
    bench.wall += 4 * 60 * 1000;
    expect_page(&bench, "live:a", READ_AFTER, 0, 10, "[1-1 trimmed] 2");
    bench.wall += 60 * 1000 - 1;
    expect_page(&bench, "live:a", READ_AFTER, 0, 10, "[1-1 trimmed] 2");
    bench.wall += 1;
    expect_page(&bench, "live:a", READ_AFTER, 0, 10, "[1-2 trimmed]");
    bench_close(&bench);
}

static void the_oldest_key_is_forgotten_when_there_are_too_many(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench, &tight);
    for (int i = 0; i < 3; i++) {
        char key[32];
        snprintf(key, sizeof key, "k%d", i);
        bench_publish(&bench, (struct publish){ .channel = "live:a", .payload = "x", .key = key });
    }
    const struct publish oldest = { .channel = "live:a", .payload = "x", .key = "k0" },
                         newest = { .channel = "live:a", .payload = "x", .key = "k2" };
    assert_int_equal(bench_publish(&bench, newest).outcome, APPEND_REPLAYED);
    assert_int_equal(bench_publish(&bench, oldest).outcome, APPEND_DONE);
    bench_close(&bench);
}

static void tend_empties_rings_by_age(void **state)
{
    struct bench       bench;
    struct store_stats stats;

    (void)state;
    bench_open(&bench, &plain);
    for (int i = 0; i < 50; i++) {
        char channel[32];
        snprintf(channel, sizeof channel, "live:%d", i);
        bench_publish(&bench, (struct publish){ .channel = channel, .payload = "0123456789" });
    }
    bench.wall += 5 * 60 * 1000;
    bench.store->ops->tick(bench.store, bench.wall);
    bench.store->ops->stats(bench.store, &stats);
    assert_int_equal(stats.channel_count, 50);
    assert_true(stats.memory_bytes < 50 * 110 + 64 * 8);
    bench_close(&bench);
}

static void what_is_never_kept_is_numbered(void **state)
{
    struct bench bench;

    (void)state;
    bench_open(&bench, &plain);
    bench_publish(&bench, (struct publish){ .channel = "conn:1", .payload = "x" });
    struct published said = bench_publish(&bench, (struct publish){ .channel = "conn:1", .payload = "x", .key = "k" });
    assert_int_equal(said.answer.seq, 2);
    said = bench_publish(&bench, (struct publish){ .channel = "conn:1", .payload = "x", .key = "k" });
    assert_int_equal(said.outcome, APPEND_REPLAYED);
    assert_int_equal(bench_publish(&bench, (struct publish){ .channel = "conn:1", .recall = 1 }).outcome,
                     APPEND_NO_TARGET);
    expect_page(&bench, "conn:1", READ_AFTER, 0, 10, "[1-2 trimmed]");
    bench_close(&bench);
}

static void a_full_ledger_refuses_what_would_add(void **state)
{
    struct bench         bench;
    char                 long_value[800] = "";
    struct ledger_change changes[] = { bench_put(KIND_SESSION, "d", 1, "x"), bench_put(KIND_SESSION, "a", 2, "y") };
    struct ledger_write  write     = { .changes = changes, .count = 2 };

    (void)state;
    bench_open(&bench, &tight);
    memset(long_value, 'x', sizeof long_value - 1);
    assert_int_equal(bench_change(&bench, bench_put(KIND_SESSION, "a", 1, "x")), LEDGER_DONE);
    assert_int_equal(bench_change(&bench, bench_put(KIND_SESSION, "b", 1, "x")), LEDGER_DONE);
    assert_int_equal(bench_change(&bench, bench_put(KIND_SESSION, "b", 2, long_value)), LEDGER_NO_SPACE);
    assert_int_equal(bench_change(&bench, bench_put(KIND_SESSION, "c", 1, "x")), LEDGER_DONE);
    assert_int_equal(bench_write(&bench, changes, 2), LEDGER_NO_SPACE);
    const struct publish join = { .channel = "live:a", .payload = "x", .write = &write };
    assert_int_equal(bench_publish(&bench, join).outcome, APPEND_NO_SPACE);
    expect_page(&bench, "live:a", READ_AFTER, 0, 10, "");
    expect_row(&bench, KIND_SESSION, "a", "1 x");
    expect_row(&bench, KIND_SESSION, "b", "1 x");
    expect_row(&bench, KIND_SESSION, "d", "none");

    /* A write that replaces a row, or frees as much as it needs, still succeeds. */
    changes[1] = (struct ledger_change){ .op = LEDGER_DELETE, .key = bench_key(KIND_SESSION, "b") };
    assert_int_equal(bench_write(&bench, changes, 2), LEDGER_DONE);
    assert_int_equal(bench_change(&bench, bench_put(KIND_SESSION, "a", 3, "z")), LEDGER_DONE);
    bench_close(&bench);
}

static void the_tick_drops_rows_that_expired(void **state)
{
    struct bench         bench;
    struct ledger_change change = bench_put(KIND_SESSION, "a", 1, "x");

    (void)state;
    bench_open(&bench, &tight);
    for (int i = 0; i < 3; i++) {
        const char *keys[]  = { "a", "b", "c" };
        change.key          = bench_key(KIND_SESSION, keys[i]);
        change.expires_at   = bench.wall + 10;
        assert_int_equal(bench_change(&bench, change), LEDGER_DONE);
    }
    bench.wall += 10;
    assert_int_equal(bench_change(&bench, bench_put(KIND_SESSION, "d", 1, "x")), LEDGER_NO_SPACE);
    bench.store->ops->tick(bench.store, bench.wall);
    assert_int_equal(bench_change(&bench, bench_put(KIND_SESSION, "d", 1, "x")), LEDGER_DONE);
    bench_close(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_channel_that_was_let_go_comes_back_with_a_new_epoch),
        cmocka_unit_test(an_empty_channel_is_let_go_before_a_full_one),
        cmocka_unit_test(full_rings_let_go_the_oldest_of_the_quietest),
        cmocka_unit_test(a_channel_that_is_published_to_again_is_not_the_quietest),
        cmocka_unit_test(each_message_is_past_at_its_own_time),
        cmocka_unit_test(the_oldest_key_is_forgotten_when_there_are_too_many),
        cmocka_unit_test(tend_empties_rings_by_age),
        cmocka_unit_test(what_is_never_kept_is_numbered),
        cmocka_unit_test(a_full_ledger_refuses_what_would_add),
        cmocka_unit_test(the_tick_drops_rows_that_expired),
    };
    return store_battery_run(&plain) + ledger_battery_run(&plain) +
           cmocka_run_group_tests_name("mem, its bounds", tests, NULL, NULL);
}
