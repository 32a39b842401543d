/* The spread store over stores in memory: both batteries, and what is written, asked and merged over shards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "store/ledger_battery.h"
#include "store/mem.h"
#include "store/shards.h"

#include <cmocka.h>

enum { SHARDS = 3, TEXT_BYTES = 64, PAGE_BYTES = 1 << 20, NAMES = 40 };

/* A ledger that can be told to be away. */
struct moody {
    struct ledger  ledger;
    struct ledger *inner;
    bool           is_away;
};

static struct moody moody[SHARDS];

static void moody_write(struct ledger *ledger, struct ledger_batch *batch)
{
    struct moody *mine = container_of(ledger, struct moody, ledger);

    if (!mine->is_away) {
        mine->inner->ops->write(mine->inner, batch);
        return;
    }
    for (struct list *at = batch->writes.next; at != &batch->writes; at = at->next)
        container_of(at, struct ledger_write, link)->outcome = LEDGER_AWAY;
    batch->done(batch);
}

static void moody_read(struct ledger *ledger, struct ledger_read *read)
{
    struct moody *mine = container_of(ledger, struct moody, ledger);

    mine->inner->ops->read(mine->inner, read);
}

static const struct ledger_ops moody_ops = { .name = "moody", .write = moody_write, .read = moody_read };

static struct store *shard_new(struct bench *bench, size_t index)
{
    const struct mem_store_options options = { .epoch_first = 1000 * (index + 1), .id_first = 1 + 1000000 * (uint64_t)index,
                                               .hash_key = bench->hash_key };
    struct store                  *store   = mem_store_new(&options);

    moody[index]  = (struct moody){ .ledger = { .ops = &moody_ops }, .inner = store->ledger };
    store->ledger = &moody[index].ledger;
    return store;
}

static struct store *open_with(struct bench *bench, struct shards_options *options)
{
    struct store *stores[SHARDS];

    for (size_t i = 0; i < SHARDS; i++)
        stores[i] = shard_new(bench, i);
    options->stores = stores;
    options->count  = SHARDS;
    return shards_new(options);
}

/* Channels are spread by their slots. */
static struct store *open_spread(struct bench *bench)
{
    struct shards_options options = { 0 };

    for (size_t slot = 0; slot < SLOT_COUNT; slot++)
        options.shard_of_slot[slot] = (uint8_t)(slot % SHARDS);
    return open_with(bench, &options);
}

static unsigned slot_of_ann(const struct ledger_key *key)
{
    (void)key;
    return slot_of_channel(SPAN("user:ann"));
}

/* The batteries write rows of all names at once, and rows with topic:a and user:ann: all these lie in one shard. */
static struct store *open_for_batteries(struct bench *bench)
{
    static const struct span together[] = { SPAN("user:ann"), SPAN("topic:a") };
    struct shards_options    options    = { .slot_of = slot_of_ann };

    for (size_t slot = 0; slot < SLOT_COUNT; slot++)
        options.shard_of_slot[slot] = (uint8_t)(slot % SHARDS);
    for (size_t i = 0; i < sizeof together / sizeof together[0]; i++)
        options.shard_of_slot[slot_of_channel(together[i])] = 1;
    return open_with(bench, &options);
}

static const struct store_maker spread = { "shards", open_spread, NULL };
static const struct store_maker whole  = { "shards, for the batteries", open_for_batteries, NULL, true };

static size_t shard_index(const char *channel)
{
    return slot_of_channel(span_str(channel)) % SHARDS;
}

/* A name "HEAD" + number that lies in this shard. */
static const char *name_in(size_t shard, const char *head, char text[TEXT_BYTES])
{
    int number = 0;

    do
        snprintf(text, TEXT_BYTES, "%s%d", head, number++);
    while (shard_index(text) != shard);
    return text;
}

static int begin(void **state)
{
    static struct bench bench;

    bench_open(&bench, &spread);
    *state = &bench;
    return 0;
}

static int end(void **state)
{
    bench_close(*state);
    return 0;
}

/* --- appends ------------------------------------------------------------------------------------------------------ */

static void a_batch_over_all_shards_comes_back_in_its_order(void **state)
{
    struct bench    *bench = *state;
    char             texts[NAMES][TEXT_BYTES];
    struct publish   publishes[NAMES];
    struct published said[NAMES];
    bool             has[SHARDS] = { false };

    for (size_t i = 0; i < NAMES; i++) {
        snprintf(texts[i], TEXT_BYTES, "topic:%zu", i % (NAMES / 2));
        publishes[i] = (struct publish){ .channel = texts[i], .payload = texts[i] };
    }
    bench_publish_all(bench, publishes, NAMES, said);
    for (size_t i = 0; i < NAMES; i++) {
        assert_int_equal(said[i].outcome, APPEND_DONE);
        assert_int_equal(said[i].answer.seq, 1 + i / (NAMES / 2));
        has[shard_index(texts[i])] = true;
    }
    assert_true(has[0] && has[1] && has[2]);
}

static void each_shard_has_its_epoch_and_its_part(void **state)
{
    struct bench *bench = *state;
    struct store *store = bench->store;
    char          text[TEXT_BYTES];

    assert_int_equal(store->part_count, SHARDS);
    assert_int_equal(store->batches_max % SHARDS, 0);
    for (size_t i = 0; i < SHARDS; i++) {
        struct channel_name *name;
        struct published     said = bench_publish(bench, (struct publish){ .channel = name_in(i, "topic:", text), .payload = "x" });
        assert_in_range(said.answer.epoch, 1000 * (i + 1), 1000 * (i + 1) + 999);
        must(channel_name_new(&bench->spaces, &bench->hash_key, span_str(text), &name) == CHANNEL_NAME_OK);
        assert_int_equal(store->ops->part_of(store, name), i);
        channel_name_unref(name);
    }
}

/* --- rows that an append carries ---------------------------------------------------------------------------------- */

struct joining {
    char                 channel[TEXT_BYTES], key[TEXT_BYTES], index[TEXT_BYTES];
    struct ledger_change changes[2];
    struct ledger_write  write;
};

/* user:N in one shard, and its index row in another one. */
static void joining_begin(struct joining *joining, size_t home, size_t away)
{
    char name[TEXT_BYTES];

    name_in(home, "user:", joining->channel);
    snprintf(joining->key, TEXT_BYTES, "%s", joining->channel + 5);
    snprintf(joining->index, TEXT_BYTES, "%s", name_in(away, "group:", name) + 6);
    joining->changes[0]           = change_if(bench_put(KIND_SESSION, joining->key, 0, "truth"), 0);
    joining->changes[0].takes_seq = true;
    joining->changes[1]           = bench_put(KIND_MEMBER, joining->index, 0, "index");
    joining->changes[1].takes_seq = true;
    joining->write                = (struct ledger_write){ .changes = joining->changes, .count = 2 };
}

static struct published joining_publish(struct bench *bench, struct joining *joining)
{
    return bench_publish(bench, (struct publish){ .channel = joining->channel, .payload = "x", .write = &joining->write });
}

static void rows_of_another_shard_follow_their_append(void **state)
{
    struct bench  *bench = *state;
    struct joining joining;

    for (size_t away = 1; away < SHARDS; away++) {
        joining_begin(&joining, 0, away);
        joining.changes[0].if_generation = away - 1;
        assert_int_equal(joining_publish(bench, &joining).outcome, APPEND_DONE);
        assert_int_equal(joining.write.outcome, LEDGER_DONE);
        assert_int_equal(bench_generation(bench, KIND_SESSION, joining.key), away);
        assert_int_equal(bench_generation(bench, KIND_MEMBER, joining.index), away);
    }
    assert_int_equal(shards_owed_count(bench->store), 0);
}

/* The change is told by its number in the write as it came. */
static void a_condition_that_fails_writes_nothing_anywhere(void **state)
{
    struct bench        *bench = *state;
    struct joining       joining;
    struct ledger_change first;

    joining_begin(&joining, 0, 1);
    assert_int_equal(bench_change(bench, bench_put(KIND_SESSION, joining.key, 9, "taken")), LEDGER_DONE);
    first              = joining.changes[0];
    joining.changes[0] = joining.changes[1];
    joining.changes[1] = first;
    assert_int_equal(joining_publish(bench, &joining).outcome, APPEND_STALE);
    assert_int_equal(joining.write.outcome, LEDGER_STALE);
    assert_int_equal(joining.write.stale_at, 1);
    assert_int_equal(joining.write.now.generation, 9);
    ledger_write_fini(&joining.write);
    assert_int_equal(bench_generation(bench, KIND_MEMBER, joining.index), 0);
}

static void rows_that_can_not_be_written_are_tried_again(void **state)
{
    struct bench  *bench = *state;
    struct joining joining;

    joining_begin(&joining, 0, 1);
    moody[1].is_away = true;
    assert_int_equal(joining_publish(bench, &joining).outcome, APPEND_DONE);
    joining.changes[0].if_generation = 1;
    joining.changes[1].op            = LEDGER_DELETE;
    joining.changes[1].takes_seq     = false;
    joining.changes[1].value         = SPAN("");
    assert_int_equal(joining_publish(bench, &joining).outcome, APPEND_DONE);
    assert_int_equal(shards_owed_count(bench->store), 2);
    bench->store->ops->tick(bench->store, bench->wall);
    assert_int_equal(shards_owed_count(bench->store), 2);
    moody[1].is_away = false;
    bench->store->ops->tick(bench->store, bench->wall);
    assert_int_equal(shards_owed_count(bench->store), 0);
    assert_int_equal(bench_generation(bench, KIND_MEMBER, joining.index), 0);
    joining.changes[0].if_generation = 2;
    joining.changes[1]               = bench_put(KIND_MEMBER, joining.index, 0, "index");
    joining.changes[1].takes_seq     = true;
    assert_int_equal(joining_publish(bench, &joining).outcome, APPEND_DONE);
    assert_int_equal(bench_generation(bench, KIND_MEMBER, joining.index), 3);
}

static void no_more_than_4096_rows_are_owed(void **state)
{
    struct bench  *bench = *state;
    struct joining joining;

    joining_begin(&joining, 0, 1);
    moody[1].is_away = true;
    for (uint64_t i = 0; i < 4100; i++) {
        joining.changes[0].if_generation = i;
        assert_int_equal(joining_publish(bench, &joining).outcome, APPEND_DONE);
    }
    assert_int_equal(shards_owed_count(bench->store), 4096);
    moody[1].is_away = false;
    bench->store->ops->tick(bench->store, bench->wall);
    assert_int_equal(shards_owed_count(bench->store), 0);
    assert_int_equal(bench_generation(bench, KIND_MEMBER, joining.index), 4100);
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

static void heads_told(struct store_heads *question)
{
    (void)question;
}

static void heads_of_all_shards_are_one_answer(void **state)
{
    struct bench        *bench = *state;
    struct channel_name *names[NAMES];
    struct store_head    heads[NAMES];
    char                 text[TEXT_BYTES];

    for (size_t i = 0; i < NAMES; i++) {
        snprintf(text, sizeof text, "topic:%zu", i);
        for (size_t k = 0; k < i % 3; k++)
            bench_publish(bench, (struct publish){ .channel = text, .payload = "x" });
        must(channel_name_new(&bench->spaces, &bench->hash_key, span_str(text), &names[i]) == CHANNEL_NAME_OK);
    }
    struct store_heads question = { .names = names, .heads = heads, .count = NAMES, .wall = bench->wall, .done = heads_told };
    bench->store->ops->heads(bench->store, &question);
    for (size_t i = 0; i < NAMES; i++) {
        assert_int_equal(heads[i].rc, RC_OK);
        assert_int_equal(heads[i].head, i % 3);
        channel_name_unref(names[i]);
    }
}

static void listing_told(struct store_listing *listing)
{
    (void)listing;
}

static void channels_of_all_shards_are_listed_in_one_order(void **state)
{
    struct bench *bench = *state;
    char          text[TEXT_BYTES];

    for (size_t i = 0; i < NAMES; i++) {
        snprintf(text, sizeof text, "topic:%02zu", i);
        bench_publish(bench, (struct publish){ .channel = text, .payload = "x" });
    }
    for (uint32_t limit = 1; limit < 50; limit += 6) {
        size_t     seen  = 0;
        struct buf after;
        bool       is_last = false;

        buf_init(&after, LISTING_TEXT_MAX);
        while (!is_last) {
            struct store_listing page = { .prefix = SPAN("topic:"), .after = buf_span(&after), .limit = limit, .wall = bench->wall,
                                          .done = listing_told };
            bench->store->ops->list(bench->store, &page);
            assert_int_equal(page.rc, RC_OK);
            for (size_t i = 0; i < page.count; i++, seen++) {
                snprintf(text, sizeof text, "topic:%02zu", seen);
                assert_true(span_eq(channel_name_span(page.channels[i].name), span_str(text)));
                assert_int_equal(page.channels[i].head, 1);
            }
            is_last = page.reached.len == 0;
            buf_clear(&after);
            buf_put(&after, buf_span(&page.reached));
            store_listing_fini(&page);
        }
        assert_int_equal(seen, NAMES);
        buf_fini(&after);
    }
}

static void rows_told(struct ledger_read *read)
{
    (void)read;
}

static void rows_of_all_shards_are_got_and_scanned_in_one_order(void **state)
{
    struct bench     *bench = *state;
    char              texts[NAMES][TEXT_BYTES];
    struct ledger_key keys[NAMES];

    for (size_t i = 0; i < NAMES; i++) {
        snprintf(texts[i], TEXT_BYTES, "ann%02zu", i);
        keys[i] = bench_key(KIND_PLACE, texts[i]);
        if (i % 4 != 0)
            assert_int_equal(bench_change(bench, bench_put(KIND_PLACE, texts[i], i, texts[i])), LEDGER_DONE);
    }
    struct ledger_read got = { .way = LEDGER_GET, .keys = keys, .key_count = NAMES, .bytes_max = PAGE_BYTES, .wall = bench->wall,
                               .done = rows_told };
    bench->store->ledger->ops->read(bench->store->ledger, &got);
    assert_int_equal(got.row_count, NAMES);
    for (size_t i = 0; i < NAMES; i++) {
        assert_int_equal(got.rows[i].generation, i % 4 == 0 ? 0 : i);
        assert_true(i % 4 == 0 || span_eq(got.rows[i].value, span_str(texts[i])));
    }
    ledger_read_fini(&got);
    for (uint32_t limit = 1; limit < 50; limit += 6) {
        size_t     seen = 0;
        struct buf after;
        bool       is_last = false;

        buf_init(&after, LEDGER_KEY_BYTES_MAX);
        while (!is_last) {
            struct ledger_read page = bench_scan(bench, KIND_PLACE, SPAN("ann"), buf_span(&after), limit);
            for (size_t i = 0; i < page.row_count; i++, seen++)
                assert_int_equal(page.rows[i].generation, seen / 3 * 4 + seen % 3 + 1);
            is_last = page.next.len == 0;
            buf_clear(&after);
            buf_put(&after, page.next);
            ledger_read_fini(&page);
        }
        assert_int_equal(seen, NAMES * 3 / 4);
        buf_fini(&after);
    }
}

/* A prefix that ends a name is looked for in one shard alone. */
static void a_scan_below_a_name_stays_in_its_shard(void **state)
{
    struct bench        *bench = *state;
    struct ledger_change change = bench_put(KIND_PLACE, "x", 1, "x");

    change.key.bytes = SPAN("ann\0phone");
    assert_int_equal(bench_change(bench, change), LEDGER_DONE);
    struct ledger_read page = bench_scan(bench, KIND_PLACE, SPAN("ann\0"), SPAN(""), 10);
    assert_int_equal(page.row_count, 1);
    ledger_read_fini(&page);
}

static void writes_of_a_batch_go_to_their_shards(void **state)
{
    struct bench        *bench = *state;
    char                 texts[NAMES][TEXT_BYTES];
    struct ledger_change changes[NAMES];
    struct ledger_write  writes[NAMES];

    for (size_t i = 0; i < NAMES; i++) {
        snprintf(texts[i], TEXT_BYTES, "ann%zu", i);
        changes[i] = bench_put(KIND_PLACE, texts[i], i + 1, "x");
        if (i % 5 == 0)
            changes[i] = change_if(changes[i], 7);
        writes[i] = (struct ledger_write){ .changes = &changes[i], .count = 1 };
    }
    bench_write_all(bench, writes, NAMES);
    for (size_t i = 0; i < NAMES; i++) {
        assert_int_equal(writes[i].outcome, i % 5 == 0 ? LEDGER_STALE : LEDGER_DONE);
        assert_int_equal(bench_generation(bench, KIND_PLACE, texts[i]), i % 5 == 0 ? 0 : i + 1);
        ledger_write_fini(&writes[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define SHARDS_TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
        SHARDS_TEST(a_batch_over_all_shards_comes_back_in_its_order),
        SHARDS_TEST(each_shard_has_its_epoch_and_its_part),
        SHARDS_TEST(rows_of_another_shard_follow_their_append),
        SHARDS_TEST(a_condition_that_fails_writes_nothing_anywhere),
        SHARDS_TEST(rows_that_can_not_be_written_are_tried_again),
        SHARDS_TEST(no_more_than_4096_rows_are_owed),
        SHARDS_TEST(heads_of_all_shards_are_one_answer),
        SHARDS_TEST(channels_of_all_shards_are_listed_in_one_order),
        SHARDS_TEST(rows_of_all_shards_are_got_and_scanned_in_one_order),
        SHARDS_TEST(a_scan_below_a_name_stays_in_its_shard),
        SHARDS_TEST(writes_of_a_batch_go_to_their_shards),
    };
    return store_battery_run(&whole) + ledger_battery_run(&whole) + cmocka_run_group_tests_name("shards", tests, NULL, NULL);
}
