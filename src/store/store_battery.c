#include "store/store_battery.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/must.h"
#include "base/rng.h"

#include <cmocka.h>

enum {
    DEADLINE_S    = 120,
    TRANSCRIPT_MAX     = 64 * 1024,
    BYTES_MAX     = 1 << 20,
    WALL_START    = 1700000000,
    FEW_COUNT     = 3,
    BRIEF_MS      = 1000,
    LIGHT_BYTES   = 100,
};

/* --- the bench -------------------------------------------------------------------------------------------------- */

static struct namespace *space_add(struct bench *bench, const char *name)
{
    struct namespace *space = NULL;

    assert_int_equal(namespaces_add(&bench->spaces, span_str(name), &space), RC_OK);
    space->keep_ms = 0;
    return space;
}

void bench_prepare(struct bench *bench, const struct store_maker *maker)
{
    *bench = (struct bench){ .maker = maker, .hash_key = { 11, 12 }, .wall = WALL_START * INT64_C(1000) };
    pthread_mutex_init(&bench->lock, NULL);
    pthread_cond_init(&bench->done, NULL);
    namespaces_init(&bench->spaces);
    space_add(bench, "few")->keep_count   = FEW_COUNT;
    space_add(bench, "brief")->keep_ms    = BRIEF_MS;
    space_add(bench, "light")->keep_bytes = LIGHT_BYTES;
}

void bench_open(struct bench *bench, const struct store_maker *maker)
{
    bench_prepare(bench, maker);
    bench->store = maker->open(bench);
    assert_non_null(bench->store);
}

void bench_shut(struct bench *bench)
{
    if (bench->store != NULL)
        bench->store->ops->close(bench->store);
    bench->store = NULL;
}

void bench_close(struct bench *bench)
{
    bench_shut(bench);
    if (bench->maker->clean != NULL)
        bench->maker->clean(bench);
    pthread_mutex_destroy(&bench->lock);
    pthread_cond_destroy(&bench->done);
}

static struct channel_name *name_new(struct bench *bench, const char *text)
{
    struct channel_name *name = NULL;

    assert_int_equal(channel_name_new(&bench->spaces, &bench->hash_key, span_str(text), &name), CHANNEL_NAME_OK);
    return name;
}

static struct timespec deadline(void)
{
    struct timespec at;

    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec += DEADLINE_S;
    return at;
}

void bench_wait(struct bench *bench, const bool *is_done)
{
    struct timespec until  = deadline();
    int             failed = 0;

    pthread_mutex_lock(&bench->lock);
    while (!*is_done && failed == 0)
        failed = pthread_cond_timedwait(&bench->done, &bench->lock, &until);
    pthread_mutex_unlock(&bench->lock);
    must(failed == 0);
}

void bench_say_done(struct bench *bench, bool *is_done)
{
    pthread_mutex_lock(&bench->lock);
    *is_done = true;
    pthread_cond_broadcast(&bench->done);
    pthread_mutex_unlock(&bench->lock);
}

struct bench_batch {
    struct append_batch batch;
    struct bench       *bench;
    bool                is_done;
};

static void on_batch_done(struct append_batch *batch)
{
    struct bench_batch *mine = container_of(batch, struct bench_batch, batch);

    bench_say_done(mine->bench, &mine->is_done);
}

static void append_fill(struct bench *bench, const struct publish *publish, struct append *append)
{
    struct channel_name *name    = name_new(bench, publish->channel);
    struct span          payload = span_str(publish->payload == NULL ? "" : publish->payload);
    enum message_kind    kind    = publish->recall != 0 ? MESSAGE_RECALL : MESSAGE_PLAIN;

    *append         = (struct append){ .key = span_str(publish->key), .publisher = span_str(publish->publisher) };
    append->message = message_new_event(name, kind, payload.at, (uint32_t)payload.len, SPAN("text/plain"),
                                        publish->has_no_sender ? SPAN("") : SPAN("ann"), span_str(publish->event));
    append->write               = publish->write;
    append->is_purge            = publish->is_purge;
    append->message->target     = publish->recall;
    append->message->time       = bench->wall;
    append->message->expires_at = publish->ttl_ms == 0 ? 0 : bench->wall + publish->ttl_ms;
    channel_name_unref(name);
}

static struct published published_of(const struct append *append)
{
    const struct message *message = append->message;
    struct published      said    = { .outcome = append->outcome };

    if (append->outcome == APPEND_DONE)
        said.answer = (struct append_answer){ message->epoch, message->seq, message->id, message->time };
    else if (append->outcome == APPEND_REPLAYED)
        said.answer = append->first;
    else if (append->outcome == APPEND_PURGED)
        said.purged = append->purged;
    return said;
}

void bench_publish_all(struct bench *bench, const struct publish *publishes, size_t count,
                       struct published *ret_published)
{
    struct append     *appends = calloc(count, sizeof *appends);
    struct bench_batch mine    = { .bench = bench, .batch = { .wall = bench->wall, .done = on_batch_done } };

    assert_non_null(appends);
    list_init(&mine.batch.appends);
    for (size_t i = 0; i < count; i++) {
        append_fill(bench, &publishes[i], &appends[i]);
        list_push(&mine.batch.appends, &appends[i].link);
    }
    mine.batch.count = count;
    bench->store->ops->append(bench->store, &mine.batch);
    bench_wait(bench, &mine.is_done);
    for (size_t i = 0; i < count; i++) {
        ret_published[i] = published_of(&appends[i]);
        message_unref(appends[i].message);
    }
    free(appends);
}

struct published bench_publish(struct bench *bench, struct publish publish)
{
    struct published said;

    bench_publish_all(bench, &publish, 1, &said);
    return said;
}

struct bench_reading {
    struct store_read read;
    struct bench     *bench;
    bool              is_done;
};

static void on_read_done(struct store_read *read)
{
    struct bench_reading *mine = container_of(read, struct bench_reading, read);

    bench_say_done(mine->bench, &mine->is_done);
}

struct store_read bench_read(struct bench *bench, const char *channel, enum read_way way, uint64_t bound,
                             uint32_t limit, size_t bytes_max)
{
    struct bench_reading mine = {
        .bench = bench,
        .read  = { .channel = name_new(bench, channel), .way = way, .bound = bound, .limit = limit,
                   .bytes_max = bytes_max, .wall = bench->wall, .done = on_read_done },
    };

    bench->store->ops->read(bench->store, &mine.read);
    bench_wait(bench, &mine.is_done);
    channel_name_unref(mine.read.channel);
    mine.read.channel = NULL;
    return mine.read;
}

static void transcript_put(struct buf *transcript, const struct entry *entry)
{
    const struct message *message = entry->message;

    if (transcript->len > 0)
        buf_putc(transcript, ' ');
    if (message == NULL)
        buf_putf(transcript, "[%llu-%llu %s]", (unsigned long long)entry->gap.from, (unsigned long long)entry->gap.to,
                 gap_why_text(entry->gap.why));
    else
        buf_put_u64(transcript, message->seq);
    if (message != NULL && message->kind == MESSAGE_RECALL)
        buf_putf(transcript, "(recalls %llu)", (unsigned long long)message->target);
    if (message != NULL && message->kind == MESSAGE_RECALLED)
        buf_put_lit(transcript, "(recalled)");
}

/* Frees the read. */
static bool read_tells(struct store_read *read, const char *transcript, const char *what)
{
    struct buf told;

    buf_init(&told, TRANSCRIPT_MAX);
    for (size_t i = 0; i < read->entry_count; i++)
        transcript_put(&told, &read->entries[i]);
    bool is_same = read->rc == RC_OK && span_eq(buf_span(&told), span_str(transcript));
    if (!is_same)
        print_error("%s: got \"%.*s\" (%s), expected \"%s\"\n", what, SPAN_ARG(buf_span(&told)), rc_text(read->rc),
                    transcript);
    buf_fini(&told);
    store_read_fini(read);
    return is_same;
}

void bench_expect_page(struct bench *bench, const char *channel, enum read_way way, uint64_t bound, uint32_t limit,
                       const char *transcript, const char *file, int line)
{
    struct store_read read = bench_read(bench, channel, way, bound, limit, BYTES_MAX);

    _assert_true(read_tells(&read, transcript, channel), "the page tells the transcript", file, line);
}

void bench_tend_until_first(struct bench *bench, const char *channel, uint64_t first)
{
    struct timespec until = deadline(), now;
    uint64_t        seen;

    do {
        bench->store->ops->tick(bench->store, bench->wall);
        struct store_read read = bench_read(bench, channel, READ_AFTER, 0, 0, 1);
        seen                   = read.first;
        clock_gettime(CLOCK_REALTIME, &now);
    } while (seen != first && now.tv_sec < until.tv_sec);
    assert_int_equal(seen, first);
}

/* --- numbering -------------------------------------------------------------------------------------------------- */

static void seqs_are_dense_and_ids_rise(void **state)
{
    struct bench    *bench = *state;
    const char      *channels[] = { "topic:a", "topic:b", "user:c" };
    uint64_t         id_last[3] = { 0 };
    struct published said;

    for (uint64_t seq = 1; seq <= 20; seq++) {
        for (size_t i = 0; i < 3; i++) {
            said = bench_publish(bench, (struct publish){ .channel = channels[i], .payload = "hello" });
            assert_int_equal(said.outcome, APPEND_DONE);
            assert_int_equal(said.answer.seq, seq);
            assert_true(said.answer.epoch != 0);
            uint64_t *last = &id_last[i == 2 || bench->maker->is_spread ? i : 0];
            assert_true(said.answer.id > *last);
            *last = said.answer.id;
        }
    }
}

static void a_batch_is_numbered_in_its_order(void **state)
{
    struct bench    *bench = *state;
    struct publish   publishes[30];
    struct published said[30];

    for (size_t i = 0; i < 30; i++)
        publishes[i] = (struct publish){ .channel = i % 3 == 0 ? "topic:x" : "topic:y", .payload = "p" };
    bench_publish_all(bench, publishes, 30, said);
    uint64_t x = 0, y = 0;
    for (size_t i = 0; i < 30; i++) {
        assert_int_equal(said[i].outcome, APPEND_DONE);
        assert_int_equal(said[i].answer.seq, i % 3 == 0 ? ++x : ++y);
    }
}

static void what_is_read_is_what_was_written(void **state)
{
    struct bench *bench = *state;
    const struct publish publish = { .channel = "topic:a", .payload = "one two", .ttl_ms = 5000,
                                     .event = "price" };
    struct published said = bench_publish(bench, publish);
    struct store_read read = bench_read(bench, "topic:a", READ_AFTER, 0, 10, BYTES_MAX);

    assert_int_equal(read.entry_count, 1);
    const struct message *message = read.entries[0].message;
    assert_true(span_eq(message_payload(message), SPAN("one two")));
    assert_true(span_eq(message_media(message), SPAN("text/plain")));
    assert_true(span_eq(message_from(message), SPAN("ann")));
    assert_true(span_eq(message_event(message), SPAN("price")));
    assert_true(span_eq(channel_name_span(message->channel), SPAN("topic:a")));
    assert_true(message->id == said.answer.id && message->epoch == said.answer.epoch);
    assert_true(message->time == bench->wall && message->expires_at == bench->wall + 5000);
    assert_int_equal(read.bytes, 7);
    store_read_fini(&read);
}

static void a_channel_never_used_is_empty_but_has_an_epoch(void **state)
{
    struct bench     *bench = *state;
    struct store_read read  = bench_read(bench, "topic:never", READ_AFTER, 0, 10, BYTES_MAX);

    assert_int_equal(read.rc, RC_OK);
    assert_true(read.epoch != 0);
    assert_int_equal(read.head, 0);
    assert_int_equal(read.first, 1);
    assert_int_equal(read.entry_count, 0);
    struct published said = bench_publish(bench, (struct publish){ .channel = "topic:never", .payload = "x" });
    assert_true(said.answer.epoch == read.epoch);
}

/* --- pages ------------------------------------------------------------------------------------------------------ */

static void fill(struct bench *bench, const char *channel, size_t count)
{
    struct publish   *publishes = calloc(count, sizeof *publishes);
    struct published *said      = calloc(count, sizeof *said);

    assert_true(publishes != NULL && said != NULL);
    for (size_t i = 0; i < count; i++)
        publishes[i] = (struct publish){ .channel = channel, .payload = "0123456789" };
    bench_publish_all(bench, publishes, count, said);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(said[i].outcome, APPEND_DONE);
    free(publishes);
    free(said);
}

static void pages_go_both_ways(void **state)
{
    struct bench *bench = *state;
    static const struct { enum read_way way; uint64_t bound; uint32_t limit; const char *transcript; } rows[] = {
        { READ_AFTER, 0, 3, "1 2 3" },
        { READ_AFTER, 3, 3, "4 5 6" },
        { READ_AFTER, 7, 10, "8" },
        { READ_AFTER, 8, 10, "" },
        { READ_AFTER, 9, 10, "" },
        { READ_AFTER, UINT64_MAX, 10, "" },
        { READ_AFTER, 0, 0, "" },
        { READ_BEFORE, 0, 3, "6 7 8" },
        { READ_BEFORE, 6, 3, "3 4 5" },
        { READ_BEFORE, 3, 10, "1 2" },
        { READ_BEFORE, 1, 10, "" },
        { READ_BEFORE, 9, 2, "7 8" },
        { READ_BEFORE, UINT64_MAX, 1, "8" },
        { READ_BEFORE, 0, 1000, "1 2 3 4 5 6 7 8" },
    };

    fill(bench, "topic:a", 8);
    fill(bench, "topic:b", 3);  /* another channel's messages never appear */
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect_page(bench, "topic:a", rows[i].way, rows[i].bound, rows[i].limit, rows[i].transcript);
}

static void a_page_stops_after_the_entry_that_reaches_bytes_max(void **state)
{
    struct bench *bench = *state;

    fill(bench, "topic:a", 8);
    struct store_read one = bench_read(bench, "topic:a", READ_AFTER, 0, 10, 1);
    assert_int_equal(one.entry_count, 1);
    size_t each = message_size(one.entries[0].message);
    store_read_fini(&one);
    struct store_read three = bench_read(bench, "topic:a", READ_BEFORE, 0, 10, each * 2 + 1);
    assert_int_equal(three.entry_count, 3);
    assert_int_equal(three.entries[0].message->seq, 6);
    store_read_fini(&three);
}

/* --- idempotency ------------------------------------------------------------------------------------------------ */

static void a_key_gets_its_first_answer_again(void **state)
{
    struct bench        *bench = *state;
    const struct publish once  = { .channel = "topic:a", .payload = "pay 5", .key = "k1", .publisher = "shop" };
    struct publish       other = once;

    struct published first = bench_publish(bench, once);
    fill(bench, "topic:a", 2);
    bench->wall += 1000;
    struct published again = bench_publish(bench, once);
    assert_int_equal(again.outcome, APPEND_REPLAYED);
    assert_memory_equal(&again.answer, &first.answer, sizeof again.answer);

    other.event = "paid";
    assert_int_equal(bench_publish(bench, other).outcome, APPEND_KEY_CONFLICT);
    other.event   = NULL;
    other.payload = "pay 6";
    assert_int_equal(bench_publish(bench, other).outcome, APPEND_KEY_CONFLICT);
    other = once;
    other.publisher = "shop2";
    assert_int_equal(bench_publish(bench, other).outcome, APPEND_DONE);
    other = once;
    other.channel = "topic:b";
    assert_int_equal(bench_publish(bench, other).outcome, APPEND_DONE);
    /* A client can't shift the border between publisher and key. */
    other = once;
    other.publisher = "sho";
    other.key = "pk1";
    assert_int_equal(bench_publish(bench, other).outcome, APPEND_DONE);
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "1 2 3 4 5");
}

static void a_key_used_twice_in_a_batch_replays_the_first(void **state)
{
    struct bench        *bench = *state;
    const struct publish publishes[] = {
        { .channel = "topic:a", .payload = "x", .key = "k" },
        { .channel = "topic:a", .payload = "x", .key = "k" },
        { .channel = "topic:a", .payload = "y", .key = "k" },
        { .channel = "topic:a", .payload = "z" },
    };
    struct published said[4];

    bench_publish_all(bench, publishes, 4, said);
    assert_int_equal(said[0].outcome, APPEND_DONE);
    assert_int_equal(said[1].outcome, APPEND_REPLAYED);
    assert_memory_equal(&said[1].answer, &said[0].answer, sizeof said[0].answer);
    assert_int_equal(said[2].outcome, APPEND_KEY_CONFLICT);
    assert_int_equal(said[3].answer.seq, 2);
}

static void a_key_is_forgotten_after_its_window(void **state)
{
    struct bench        *bench = *state;
    const struct publish once  = { .channel = "topic:a", .payload = "x", .key = "k" };

    bench_publish(bench, once);
    bench->wall += 24 * 3600 * INT64_C(1000) - 1;
    assert_int_equal(bench_publish(bench, once).outcome, APPEND_REPLAYED);
    bench->wall += 1;
    struct published said = bench_publish(bench, once);
    assert_int_equal(said.outcome, APPEND_DONE);
    assert_int_equal(said.answer.seq, 2);
    assert_int_equal(bench_publish(bench, once).outcome, APPEND_REPLAYED);
}

/* --- recall ----------------------------------------------------------------------------------------------------- */

static void a_recall_leaves_a_tombstone_and_says_so_in_the_log(void **state)
{
    struct bench *bench = *state;

    fill(bench, "topic:a", 3);
    struct published first = bench_publish(bench, (struct publish){ .channel = "topic:a", .recall = 2 });
    assert_int_equal(first.outcome, APPEND_DONE);
    assert_int_equal(first.answer.seq, 4);
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "1 2(recalled) 3 4(recalls 2)");
    struct store_read read = bench_read(bench, "topic:a", READ_AFTER, 1, 1, BYTES_MAX);
    assert_int_equal(read.entries[0].message->payload_len, 0);
    assert_int_equal(read.entries[0].message->target, 4);
    assert_int_equal(read.bytes, 20);
    store_read_fini(&read);

    bench->wall += 1000;
    struct published again = bench_publish(bench, (struct publish){ .channel = "topic:a", .recall = 2 });
    assert_int_equal(again.outcome, APPEND_REPLAYED);
    assert_memory_equal(&again.answer, &first.answer, sizeof first.answer);
}

static void what_is_not_there_cannot_be_recalled(void **state)
{
    struct bench *bench = *state;

    fill(bench, "topic:a", 2);
    bench_publish(bench, (struct publish){ .channel = "topic:a", .recall = 1 });
    bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "x", .ttl_ms = 10 });
    fill(bench, "few:a", 5);
    fill(bench, "brief:a", 1);
    bench->wall += BRIEF_MS;
    static const struct { const char *name; const char *channel; uint64_t target; } rows[] = {
        { "ahead", "topic:a", 5 },    { "a recall", "topic:a", 3 },  { "never used", "topic:none", 1 },
        { "expired", "topic:a", 4 },  { "trimmed", "few:a", 2 },     { "too old", "brief:a", 1 },
        { "far ahead", "topic:a", UINT64_MAX },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct publish recall = { .channel = rows[i].channel, .recall = rows[i].target };
        if (bench_publish(bench, recall).outcome != APPEND_NO_TARGET)
            fail_msg("%s", rows[i].name);
    }
    expect_page(bench, "topic:none", READ_AFTER, 0, 10, "");
}

static void a_batch_may_recall_what_it_brought(void **state)
{
    struct bench        *bench = *state;
    const struct publish publishes[] = {
        { .channel = "topic:a", .payload = "x" },
        { .channel = "topic:a", .recall = 1, .key = "k" },
        { .channel = "topic:a", .recall = 1 },
        { .channel = "topic:a", .recall = 2 },
        { .channel = "topic:a", .recall = 1, .key = "k" },
    };
    struct published said[5];

    bench_publish_all(bench, publishes, 5, said);
    assert_int_equal(said[1].outcome, APPEND_DONE);
    assert_int_equal(said[2].outcome, APPEND_REPLAYED);
    assert_memory_equal(&said[2].answer, &said[1].answer, sizeof said[1].answer);
    assert_int_equal(said[3].outcome, APPEND_NO_TARGET);
    assert_int_equal(said[4].outcome, APPEND_REPLAYED);
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "1(recalled) 2(recalls 1)");
}

/* --- purge ------------------------------------------------------------------------------------------------------ */

static struct published bench_purge(struct bench *bench, const char *channel)
{
    return bench_publish(bench, (struct publish){ .channel = channel, .is_purge = true });
}

static void expect_purged(struct bench *bench, const char *channel, uint64_t first, uint64_t head)
{
    struct published  said = bench_purge(bench, channel);
    struct store_read info = bench_read(bench, channel, READ_AFTER, 0, 0, 1);

    assert_int_equal(said.outcome, APPEND_PURGED);
    assert_int_equal(said.purged.epoch, info.epoch);
    assert_int_equal(said.purged.first, first);
    assert_int_equal(said.purged.head, head);
    assert_int_equal(info.first, head + 1);
    assert_int_equal(info.head, head);
    assert_int_equal(info.bytes, 0);
}

static void a_purge_leaves_a_gap_and_seqs_go_on(void **state)
{
    struct bench *bench = *state;

    fill(bench, "topic:a", 3);
    fill(bench, "topic:b", 1);
    expect_purged(bench, "topic:a", 1, 3);
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "[1-3 trimmed]");
    expect_page(bench, "topic:a", READ_AFTER, 3, 10, "");
    expect_page(bench, "topic:a", READ_BEFORE, 0, 10, "[1-3 trimmed]");
    expect_page(bench, "topic:b", READ_AFTER, 0, 10, "1");
    expect_purged(bench, "topic:a", 4, 3);
    fill(bench, "topic:a", 2);
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "[1-3 trimmed] 4 5");
    expect_purged(bench, "topic:a", 4, 5);
    expect_page(bench, "topic:a", READ_AFTER, 2, 10, "[3-5 trimmed]");
    fill(bench, "topic:a", 1);
    struct store_read info = bench_read(bench, "topic:a", READ_AFTER, 0, 0, 1);
    assert_int_equal(info.first, 6);
    assert_int_equal(info.bytes, 10);
}

static void a_purge_stands_in_the_order_of_its_batch(void **state)
{
    struct bench        *bench = *state;
    const struct publish publishes[] = {
        { .channel = "topic:a", .payload = "x" }, { .channel = "topic:a", .is_purge = true },
        { .channel = "topic:a", .recall = 1 },    { .channel = "topic:a", .payload = "yy" },
        { .channel = "topic:a", .recall = 2 },    { .channel = "topic:a", .payload = "z", .key = "k" },
        { .channel = "topic:b", .is_purge = true },
    };
    struct published said[7];

    bench_publish_all(bench, publishes, 7, said);
    assert_int_equal(said[0].answer.seq, 1);
    assert_int_equal(said[1].outcome, APPEND_PURGED);
    assert_int_equal(said[1].purged.first, 1);
    assert_int_equal(said[1].purged.head, 1);
    assert_int_equal(said[2].outcome, APPEND_NO_TARGET);
    assert_int_equal(said[3].answer.seq, 2);
    assert_int_equal(said[4].outcome, APPEND_DONE);
    assert_int_equal(said[5].answer.seq, 4);
    assert_int_equal(said[6].outcome, APPEND_NO_TARGET);
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "[1-1 trimmed] 2(recalled) 3(recalls 2) 4");
}

static void a_purge_keeps_keys_and_counts_what_retention_left(void **state)
{
    struct bench        *bench = *state;
    const struct publish keyed = { .channel = "topic:a", .payload = "x", .key = "k" };

    struct published first = bench_publish(bench, keyed);
    expect_purged(bench, "topic:a", 1, 1);
    struct published again = bench_publish(bench, keyed);
    assert_int_equal(again.outcome, APPEND_REPLAYED);
    assert_memory_equal(&again.answer, &first.answer, sizeof first.answer);
    fill(bench, "few:a", 5);
    expect_purged(bench, "few:a", 3, 5);
    fill(bench, "brief:a", 2);
    bench->wall += BRIEF_MS;
    expect_purged(bench, "brief:a", 3, 2);
    assert_int_equal(bench_purge(bench, "topic:never").outcome, APPEND_NO_TARGET);
    assert_int_equal(bench_publish(bench, (struct publish){ .channel = "topic:a", .recall = 1 }).outcome,
                     APPEND_NO_TARGET);
    bench_publish(bench, (struct publish){ .channel = "light:a", .payload = "0123456789" });
    expect_purged(bench, "light:a", 1, 1);
    fill(bench, "light:a", 25);
    bench_tend_until_first(bench, "light:a", 17);
}

/* --- by time ---------------------------------------------------------------------------------------------------- */

static struct store_read bench_read_times(struct bench *bench, struct store_read asked)
{
    struct bench_reading mine = { .bench = bench, .read = asked };

    mine.read.channel   = name_new(bench, "topic:a");
    mine.read.limit     = 10;
    mine.read.bytes_max = BYTES_MAX;
    mine.read.wall      = bench->wall;
    mine.read.done      = on_read_done;
    bench->store->ops->read(bench->store, &mine.read);
    bench_wait(bench, &mine.is_done);
    channel_name_unref(mine.read.channel);
    mine.read.channel = NULL;
    return mine.read;
}

static void expect_times(struct bench *bench, const char *name, struct store_read asked, const char *transcript)
{
    struct store_read read = bench_read_times(bench, asked);

    assert_true(read_tells(&read, transcript, name));
}

/* Messages 1 … 6 come at start, +100 (two of them), +200, +300, +400. */
static void a_page_begins_and_ends_by_time(void **state)
{
    struct bench     *bench  = *state;
    const msec        start  = bench->wall;
    static const msec more[] = { 0, 100, 0, 100, 100, 100 };

    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) {
        bench->wall += more[i];
        fill(bench, "topic:a", 1);
    }
    const struct { const char *name; struct store_read read; const char *transcript; } rows[] = {
        { "before all", { .since = 1 }, "1 2 3 4 5 6" },
        { "at the first", { .since = start }, "1 2 3 4 5 6" },
        { "two of one time", { .since = start + 100 }, "2 3 4 5 6" },
        { "between two", { .since = start + 101 }, "4 5 6" },
        { "at the last", { .since = start + 400 }, "6" },
        { "behind all", { .since = start + 401 }, "" },
        { "far ahead", { .since = INT64_MAX }, "" },
        { "from and to", { .since = start + 100, .until = start + 200 }, "2 3 4" },
        { "to before from", { .since = start + 200, .until = start + 100 }, "" },
        { "after and to", { .bound = 2, .until = start + 250 }, "3 4" },
        { "after, and to before it", { .bound = 5, .until = start }, "" },
        { "the last ones to", { .way = READ_BEFORE, .until = start + 100 }, "1 2 3" },
        { "before and to", { .way = READ_BEFORE, .bound = 3, .until = start + 300 }, "1 2" },
        { "to before all", { .way = READ_BEFORE, .until = start - 1 }, "" },
        { "to the end", { .way = READ_BEFORE, .until = INT64_MAX - 1 }, "1 2 3 4 5 6" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect_times(bench, rows[i].name, rows[i].read, rows[i].transcript);
}

/* The clock is set back after message 3. Whichever place is taken, its message is not older and the one before is. */
static void a_clock_set_back_still_gives_a_place(void **state)
{
    struct bench *bench = *state;
    const msec    start = bench->wall;

    for (size_t i = 0; i < 12; i++) {
        bench->wall = start + 100 * (msec)(i < 3 ? 10 + i : i);
        fill(bench, "topic:a", 1);
    }
    for (msec since = start; since < start + 1300; since += 50) {
        struct store_read read  = bench_read_times(bench, (struct store_read){ .since = since });
        struct store_read prior = bench_read_times(bench, (struct store_read){ .bound = read.bound - 1 });
        if (read.entry_count > 0)
            assert_true(read.entries[0].message->time >= since);
        if (read.bound > 0)
            assert_true(prior.entries[0].message->time < since);
        store_read_fini(&read);
        store_read_fini(&prior);
    }
}

static void times_look_at_what_is_kept(void **state)
{
    struct bench *bench = *state;
    const msec    start = bench->wall;

    bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "x", .ttl_ms = 10 });
    bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "x" });
    bench->wall += 100;
    fill(bench, "topic:a", 1);
    expect_times(bench, "an expired one", (struct store_read){ .since = start }, "[1-1 expired] 2 3");
    for (size_t i = 0; i < 5; i++)
        bench_publish(bench, (struct publish){ .channel = "few:a", .payload = "x" });
    struct store_read read = bench_read(bench, "few:a", READ_AFTER, 0, 0, 1);
    assert_int_equal(read.first, 3);
    expect_times(bench, "never used", (struct store_read){ .since = INT64_MAX }, "");
}

/* --- expiry and retention --------------------------------------------------------------------------------------- */

static void what_expired_is_a_gap(void **state)
{
    struct bench *bench = *state;
    static const msec ttl[] = { 0, 100, 100, 0, 500, 0 };

    for (size_t i = 0; i < 6; i++)
        bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "x", .ttl_ms = ttl[i] });
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "1 2 3 4 5 6");
    bench->wall += 100;
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "1 [2-3 expired] 4 5 6");
    expect_page(bench, "topic:a", READ_BEFORE, 0, 10, "1 [2-3 expired] 4 5 6");
    expect_page(bench, "topic:a", READ_BEFORE, 4, 1, "[2-3 expired]");
    expect_page(bench, "topic:a", READ_AFTER, 1, 1, "[2-3 expired]");
    expect_page(bench, "topic:a", READ_AFTER, 2, 2, "[3-3 expired] 4");
    bench->wall += 400;
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "1 [2-3 expired] 4 [5-5 expired] 6");
}

static void retention_by_count(void **state)
{
    struct bench *bench = *state;

    fill(bench, "few:a", 3);
    expect_page(bench, "few:a", READ_AFTER, 0, 10, "1 2 3");
    fill(bench, "few:a", 4);
    expect_page(bench, "few:a", READ_AFTER, 0, 10, "[1-4 trimmed] 5 6 7");
    expect_page(bench, "few:a", READ_AFTER, 4, 10, "5 6 7");
    expect_page(bench, "few:a", READ_AFTER, 1, 1, "[2-4 trimmed]");
    expect_page(bench, "few:a", READ_BEFORE, 0, 10, "[1-4 trimmed] 5 6 7");
    expect_page(bench, "few:a", READ_BEFORE, 3, 10, "[1-2 trimmed]");
    expect_page(bench, "few:a", READ_BEFORE, 0, 3, "5 6 7");
    struct store_read info = bench_read(bench, "few:a", READ_AFTER, 0, 0, 1);
    assert_int_equal(info.first, 5);
    assert_int_equal(info.head, 7);
}

static void retention_by_age(void **state)
{
    struct bench *bench = *state;

    for (size_t i = 0; i < 10; i++) {
        fill(bench, "brief:a", 1);
        bench->wall += 200;
    }
    /* Ages 200, 400 … 2000 ms; 1000 is too old. */
    expect_page(bench, "brief:a", READ_AFTER, 0, 10, "[1-6 trimmed] 7 8 9 10");
    bench->wall += 200;
    struct store_read info = bench_read(bench, "brief:a", READ_AFTER, 0, 0, 1);
    assert_int_equal(info.first, 8);
    bench->wall += BRIEF_MS;
    expect_page(bench, "brief:a", READ_AFTER, 0, 10, "[1-10 trimmed]");
    info = bench_read(bench, "brief:a", READ_AFTER, 0, 0, 1);
    assert_int_equal(info.first, 11);
    assert_int_equal(info.head, 10);
    assert_int_equal(info.bytes, 0);
    fill(bench, "brief:a", 1);
    expect_page(bench, "brief:a", READ_AFTER, 0, 10, "[1-10 trimmed] 11");
    bench_tend_until_first(bench, "brief:a", 11);
}

static void retention_by_bytes(void **state)
{
    struct bench *bench = *state;

    fill(bench, "light:a", 25);
    bench_tend_until_first(bench, "light:a", 16);
    expect_page(bench, "light:a", READ_AFTER, 13, 3, "[14-15 trimmed] 16 17");
    struct store_read info = bench_read(bench, "light:a", READ_AFTER, 0, 0, 1);
    assert_int_equal(info.bytes, LIGHT_BYTES);
}

/* --- chance ----------------------------------------------------------------------------------------------------- */

enum { MODEL_CHANNELS = 4, MODEL_SEQS = 400, MODEL_STEPS = 300, MODEL_SEEDS = 5 };

/* A naive model of the log: one row for each message, and nothing is ever deleted. */
struct model_log {
    uint64_t head;
    struct { bool is_recall, is_recalled; uint64_t target; msec expires_at; } at[MODEL_SEQS + 1];
};

static void model_publish(struct bench *bench, struct rng *rng, struct model_log *log, const char *channel)
{
    bool             is_recall = log->head > 0 && rng_below(rng, 5) == 0;
    uint64_t         target    = is_recall ? 1 + rng_below(rng, log->head + 2) : 0;
    bool             is_there  = is_recall && target <= log->head && !log->at[target].is_recall &&
                    (log->at[target].expires_at == 0 || log->at[target].expires_at > bench->wall);
    msec             ttl       = rng_below(rng, 4) == 0 ? (msec)(1 + rng_below(rng, 50)) : 0;

    const struct publish publish = {
        .channel = channel, .payload = "p", .recall = target, .ttl_ms = is_recall ? 0 : ttl
    };
    struct published said = bench_publish(bench, publish);

    if (is_recall && !is_there) {
        assert_int_equal(said.outcome, APPEND_NO_TARGET);
        return;
    }
    if (is_recall && log->at[target].is_recalled) {
        assert_int_equal(said.outcome, APPEND_REPLAYED);
        return;
    }
    assert_int_equal(said.outcome, APPEND_DONE);
    assert_int_equal(said.answer.seq, ++log->head);
    log->at[log->head].is_recall  = is_recall;
    log->at[log->head].target     = target;
    log->at[log->head].expires_at = is_recall || ttl == 0 ? 0 : bench->wall + ttl;
    if (is_recall)
        log->at[target].is_recalled = true;
}

static void entry_check(struct bench *bench, const struct model_log *log, const struct entry *entry)
{
    if (entry->message == NULL) {
        assert_int_equal(entry->gap.why, GAP_EXPIRED);
        for (uint64_t seq = entry->gap.from; seq <= entry->gap.to; seq++)
            assert_true(log->at[seq].expires_at != 0 && log->at[seq].expires_at <= bench->wall);
        return;
    }
    const struct message *message = entry->message;
    assert_true(log->at[message->seq].expires_at == 0 || log->at[message->seq].expires_at > bench->wall);
    assert_int_equal(message->kind == MESSAGE_RECALLED, log->at[message->seq].is_recalled);
    assert_int_equal(message->kind == MESSAGE_RECALL, log->at[message->seq].is_recall);
    if (message->kind == MESSAGE_RECALL)
        assert_int_equal(message->target, log->at[message->seq].target);
}

static void model_read(struct bench *bench, struct rng *rng, const struct model_log *log, const char *channel)
{
    enum read_way     way   = rng_below(rng, 2) == 0 ? READ_AFTER : READ_BEFORE;
    uint64_t          bound = rng_below(rng, log->head + 3);
    uint32_t          limit = (uint32_t)(1 + rng_below(rng, 20));
    struct store_read read  = bench_read(bench, channel, way, bound, limit, BYTES_MAX);
    uint64_t          last  = way == READ_BEFORE && bound != 0 && bound <= log->head ? bound - 1 : log->head;

    assert_int_equal(read.head, log->head);
    assert_true(read.entry_count <= limit);
    for (size_t i = 0; i < read.entry_count; i++) {
        const struct entry *entry = &read.entries[i];
        uint64_t            first = entry->message != NULL ? entry->message->seq : entry->gap.from;
        if (i > 0)
            assert_int_equal(first, entry_last(entry - 1) + 1);
        else if (way == READ_AFTER)
            assert_int_equal(first, bound + 1);
        entry_check(bench, log, entry);
    }
    /* A page that isn't full ends at the head. */
    if (read.entry_count > 0 && (way == READ_BEFORE || read.entry_count < limit))
        assert_int_equal(entry_last(&read.entries[read.entry_count - 1]), last);
    assert_int_equal(read.entry_count == 0, way == READ_AFTER ? bound >= log->head : last == 0);
    store_read_fini(&read);
}

static void random_walks_agree_with_a_tiny_model(void **state)
{
    struct bench *bench = *state;

    for (uint64_t seed = 1; seed <= MODEL_SEEDS; seed++) {
        struct rng        rng  = { seed };
        struct model_log *logs = calloc(MODEL_CHANNELS, sizeof *logs);
        assert_non_null(logs);
        for (size_t step = 0; step < MODEL_STEPS; step++) {
            char   channel[64];
            size_t i = rng_below(&rng, MODEL_CHANNELS);
            snprintf(channel, sizeof channel, "topic:seed-%d-%zu", (int)seed, i);
            bench->wall += (msec)rng_below(&rng, 5);
            if (rng_below(&rng, 2) == 0)
                model_publish(bench, &rng, &logs[i], channel);
            else
                model_read(bench, &rng, &logs[i], channel);
        }
        free(logs);
    }
}

/* --- all of them ------------------------------------------------------------------------------------------------ */

struct bench_question {
    struct store_heads question;
    struct bench      *bench;
    bool               is_done;
};

static void on_heads_done(struct store_heads *question)
{
    struct bench_question *mine = container_of(question, struct bench_question, question);

    bench_say_done(mine->bench, &mine->is_done);
}

/* One question for many heads gets the same answers as one question for each. */
static void heads_are_told_in_bulk(void **state)
{
    struct bench         *bench = *state;
    struct bench_question mine  = { .bench = bench, .question = { .wall = bench->wall, .done = on_heads_done } };
    static struct channel_name *names[STORE_HEADS_MAX];
    static struct store_head    heads[STORE_HEADS_MAX];
    char                        text[32];

    for (size_t i = 0; i < STORE_HEADS_MAX; i++) {
        snprintf(text, sizeof text, "few:c%zu", i);
        names[i] = name_new(bench, text);
        for (size_t j = 0; j < (i % 100 == 7 ? 5 : 0); j++)
            assert_int_equal(bench_publish(bench, (struct publish){ .channel = text }).outcome, APPEND_DONE);
    }
    mine.question.names = names;
    mine.question.heads = heads;
    mine.question.count = STORE_HEADS_MAX;
    bench->store->ops->heads(bench->store, &mine.question);
    bench_wait(bench, &mine.is_done);
    for (size_t i = 0; i < STORE_HEADS_MAX; i++) {
        struct store_read read = bench_read(bench, names[i]->text, READ_AFTER, 0, 0, BYTES_MAX);
        assert_int_equal(heads[i].rc, RC_OK);
        assert_int_equal(heads[i].epoch, read.epoch);
        assert_int_equal(heads[i].first, read.first);
        assert_int_equal(heads[i].head, read.head);
        assert_int_equal(heads[i].head, i % 100 == 7 ? 5 : 0);
        assert_int_equal(heads[i].first, i % 100 == 7 ? 3 : 1);
        store_read_fini(&read);
        channel_name_unref(names[i]);
    }
}

/* --- which channels there are ------------------------------------------------------------------------------------- */

struct bench_listing {
    struct store_listing listing;
    struct bench        *bench;
    bool                 is_done;
};

static void on_listing_done(struct store_listing *listing)
{
    struct bench_listing *mine = container_of(listing, struct bench_listing, listing);

    bench_say_done(mine->bench, &mine->is_done);
}

/* Free with store_listing_fini(). */
static struct store_listing bench_list(struct bench *bench, const char *prefix, struct span after, uint32_t limit)
{
    struct bench_listing mine = {
        .bench   = bench,
        .listing = { .prefix = span_str(prefix), .after = after, .limit = limit, .wall = bench->wall,
                     .done = on_listing_done },
    };

    bench->store->ops->list(bench->store, &mine.listing);
    bench_wait(bench, &mine.is_done);
    assert_int_equal(mine.listing.rc, RC_OK);
    return mine.listing;
}

static void channels_are_listed_in_order(void **state)
{
    struct bench            *bench   = *state;
    static const char *const texts[] = { "topic:b/2", "topic:a", "few:x", "topic:b/1", "topic:b", "topic:\xc3\xa4", "topic:B" };
    static const struct {
        const char *prefix, *after;
        uint32_t    limit;
        const char *transcript;  /* names, and what was reached behind a "|" */
    } rows[] = {
        { "", "", 10, "few:x topic:B topic:a topic:b topic:b/1 topic:b/2 topic:\xc3\xa4" },
        { "topic:", "", 10, "topic:B topic:a topic:b topic:b/1 topic:b/2 topic:\xc3\xa4" },
        { "topic:b", "", 10, "topic:b topic:b/1 topic:b/2" },
        { "topic:b/", "", 10, "topic:b/1 topic:b/2" },
        { "topic:b/", "topic:b/1", 10, "topic:b/2" },
        { "topic:b/", "topic:a", 10, "topic:b/1 topic:b/2" },
        { "topic:b/", "topic:b/2", 10, "" },
        { "topic:b/", "topic:z", 10, "" },
        { "nope:", "", 10, "" },
        { "", "", 2, "few:x topic:B |topic:B" },
        { "", "topic:B", 2, "topic:a topic:b |topic:b" },
        { "", "topic:b/0", 10, "topic:b/1 topic:b/2 topic:\xc3\xa4" },
        { "", "topic:b/2", 1, "topic:\xc3\xa4" },
        { "topic:b", "", 3, "topic:b topic:b/1 topic:b/2" },
    };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        fill(bench, texts[i], i + 1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct store_listing listing = bench_list(bench, rows[i].prefix, span_str(rows[i].after), rows[i].limit);
        struct buf           told;
        buf_init(&told, TRANSCRIPT_MAX);
        for (size_t at = 0; at < listing.count; at++)
            buf_putf(&told, "%s%s", at == 0 ? "" : " ", listing.channels[at].name->text);
        if (listing.reached.len > 0)
            buf_putf(&told, " |%.*s", SPAN_ARG(buf_span(&listing.reached)));
        if (!span_eq(buf_span(&told), span_str(rows[i].transcript)))
            fail_msg("row %zu: %.*s", i, SPAN_ARG(buf_span(&told)));
        buf_fini(&told);
        store_listing_fini(&listing);
    }
}

static void a_listed_channel_says_what_a_read_says(void **state)
{
    struct bench *bench = *state;

    fill(bench, "few:x", 5);
    fill(bench, "brief:x", 2);
    bench->wall += BRIEF_MS;
    struct store_listing listing = bench_list(bench, "", SPAN(""), 10);
    assert_int_equal(listing.count, 2);
    for (size_t i = 0; i < listing.count; i++) {
        const struct listed_channel *listed = &listing.channels[i];
        struct store_read            read   = bench_read(bench, listed->name->text, READ_AFTER, 0, 0, BYTES_MAX);
        assert_int_equal(listed->rc, RC_OK);
        assert_int_equal(listed->epoch, read.epoch);
        assert_int_equal(listed->first, read.first);
        assert_int_equal(listed->head, read.head);
        assert_int_equal(listed->bytes, read.bytes);
        store_read_fini(&read);
    }
    assert_int_equal(listing.channels[0].first, 3);
    assert_int_equal(listing.channels[1].first, 3);
    store_listing_fini(&listing);
}

static void pages_of_channels_leave_none_out(void **state)
{
    struct bench *bench = *state;
    enum { COUNT = 250, PAGE = 60 };
    char   text[32];
    size_t count = 0;
    bool   is_end = false;
    struct buf after;

    buf_init(&after, LISTING_TEXT_MAX);
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(text, sizeof text, "topic:%03zu", i);
        fill(bench, text, 1);
    }
    while (!is_end) {
        struct store_listing listing = bench_list(bench, "topic:", buf_span(&after), PAGE);
        for (size_t i = 0; i < listing.count; i++, count++) {
            snprintf(text, sizeof text, "topic:%03zu", count);
            assert_string_equal(listing.channels[i].name->text, text);
        }
        is_end = listing.reached.len == 0;
        buf_clear(&after);
        buf_put(&after, buf_span(&listing.reached));
        store_listing_fini(&listing);
    }
    assert_int_equal(count, COUNT);
    buf_fini(&after);
}

static void a_store_says_how_it_is_used(void **state)
{
    const struct store *store = ((struct bench *)*state)->store;

    assert_in_range(store->batches_max, 1, STORE_BATCHES_MAX);
}

static int setup(void **state)
{
    struct bench *bench = malloc(sizeof *bench);

    assert_non_null(bench);
    bench_open(bench, *state);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    struct bench *bench = *state;

    bench_close(bench);
    free(bench);
    return 0;
}

int store_battery_run(const struct store_maker *maker)
{
#define BATTERY_TEST(test) { #test, test, setup, teardown, (void *)(uintptr_t)maker }
    const struct CMUnitTest tests[] = {
        BATTERY_TEST(seqs_are_dense_and_ids_rise),
        BATTERY_TEST(a_batch_is_numbered_in_its_order),
        BATTERY_TEST(what_is_read_is_what_was_written),
        BATTERY_TEST(a_channel_never_used_is_empty_but_has_an_epoch),
        BATTERY_TEST(pages_go_both_ways),
        BATTERY_TEST(a_page_stops_after_the_entry_that_reaches_bytes_max),
        BATTERY_TEST(a_key_gets_its_first_answer_again),
        BATTERY_TEST(a_key_used_twice_in_a_batch_replays_the_first),
        BATTERY_TEST(a_key_is_forgotten_after_its_window),
        BATTERY_TEST(a_recall_leaves_a_tombstone_and_says_so_in_the_log),
        BATTERY_TEST(what_is_not_there_cannot_be_recalled),
        BATTERY_TEST(a_batch_may_recall_what_it_brought),
        BATTERY_TEST(a_purge_leaves_a_gap_and_seqs_go_on),
        BATTERY_TEST(a_purge_stands_in_the_order_of_its_batch),
        BATTERY_TEST(a_purge_keeps_keys_and_counts_what_retention_left),
        BATTERY_TEST(a_page_begins_and_ends_by_time),
        BATTERY_TEST(a_clock_set_back_still_gives_a_place),
        BATTERY_TEST(times_look_at_what_is_kept),
        BATTERY_TEST(what_expired_is_a_gap),
        BATTERY_TEST(heads_are_told_in_bulk),
        BATTERY_TEST(channels_are_listed_in_order),
        BATTERY_TEST(a_listed_channel_says_what_a_read_says),
        BATTERY_TEST(pages_of_channels_leave_none_out),
        BATTERY_TEST(a_store_says_how_it_is_used),
        BATTERY_TEST(retention_by_count),
        BATTERY_TEST(retention_by_age),
        BATTERY_TEST(retention_by_bytes),
        BATTERY_TEST(random_walks_agree_with_a_tiny_model),
    };
#undef BATTERY_TEST
    return cmocka_run_group_tests_name(maker->name, tests, NULL, NULL);
}
