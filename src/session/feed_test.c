/* Drawing into sockets that fill: whatever stalls, every reader gets each of its channels' messages in order, once, and
 * no frame claims more than was sent before it (threats 34, 82). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "session/session_battery.h"
#include "session/transport.h"

#include <cmocka.h>

enum { READERS_MAX = 24, CHANNELS = 3, LINE_BYTES_MAX = 200000, SEEDS = 20 };

#define OLD 9999ull  /* claimed for a place in another life */

/* A frame here is one line: its channel, the payload or "WHY TO" of a gap, and where the reader stands behind it. */
struct reader {
    struct feed   feed;
    struct stage *stage;
    int           fd;
    bool          is_gone;
    struct buf    in;
    uint64_t      seen[CHANNELS];     /* by what came out of the socket */
    bool          follows[CHANNELS];
    bool          is_old[CHANNELS];   /* its place was in another life of the log, and it was not told yet */
};

static struct reader *reader_of(struct feed *feed)
{
    return container_of(feed, struct reader, feed);
}

/* "topic:a" is 0. */
static size_t index_of(const struct feed_sub *sub)
{
    return (size_t)(channel_name_span(subscription_name(&sub->sub)).at[6] - 'a');
}

static struct frame *on_encode(struct feed *feed, struct feed_sub *sub, const struct entry *entry)
{
    const struct stage_log *logs = reader_of(feed)->stage->logs;
    struct buf              line;

    buf_init(&line, LINE_BYTES_MAX);
    buf_putf(&line, "%c", (char)('a' + index_of(sub)));
    if (entry->message != NULL)
        buf_put(&line, message_payload(entry->message));
    else
        buf_putf(&line, "%s %llu", gap_why_text(entry->gap.why), (unsigned long long)entry->gap.to);
    for (const struct feed_sub *at = feed->subs; at != NULL && feed->sub_count > 1; at = at->next)
        buf_putf(&line, "|%c%llu", (char)('a' + index_of(at)),
                 subscription_seen_epoch(&at->sub) == logs[index_of(at)].epoch
                     ? (unsigned long long)subscription_seen(&at->sub) : OLD);
    buf_putc(&line, '\n');
    struct frame *frame = frame_new(buf_span(&line));
    buf_fini(&line);
    return frame;
}

static void on_lost(struct feed *feed)
{
    struct reader *reader = reader_of(feed);

    stream_close(feed->stream);
    feed_fini(feed);
    reader->is_gone = true;
}

static const struct feed_kind kind = { .encode = on_encode, .lost = on_lost, .leave = on_lost };

static void on_readable(struct stream *stream, void *owner)
{
    struct reader *reader = owner;

    if (!stream_drain(stream))
        on_lost(&reader->feed);
}

static void on_writable(struct stream *stream, void *owner)
{
    struct reader *reader = owner;

    (void)stream;
    feed_on_writable(&reader->feed);
}

static const struct stream_events events = {
    .source = STREAM_SOURCE, .on_readable = on_readable, .on_writable = on_writable,
};

static void reader_open(struct reader *reader, struct stage *stage)
{
    int ours;

    *reader = (struct reader){ .stage = stage };
    buf_init(&reader->in, 1 << 24);
    stage_pair(&ours, &reader->fd);
    feed_init(&reader->feed, &stage->worker, &kind, TRANSPORT_NDJSON, ENCODING_NDJSON);
    must(stream_new(&stage->loop, ours, &events, reader, &reader->feed.stream) == RC_OK);
}

static void reader_follow(struct reader *reader, struct stage_log *log, struct start start)
{
    struct subscribe_request wish = { channel_name_ref(log->name), start };
    size_t      at   = (size_t)(log - reader->stage->logs);

    feed_follow(&reader->feed, &wish);
    at                  = at < CHANNELS ? at : 0;  /* of many channels nothing is read */
    reader->follows[at] = true;
    reader->is_old[at]  = start.epoch != 0 && start.epoch != log->epoch;
    reader->seen[at]    = reader->is_old[at] ? 0 : start.seq;
    if (reader->feed.sub_count > 1) {
        reader->feed.encoding  = ENCODING_PRIVATE;
        reader->feed.needs_all = true;
    }
}

/* One line out of the socket: it must be the next of its channel, and its claims what came before and it. */
static void reader_take(struct reader *reader, struct span line)
{
    struct span claims = line, what, claim;
    struct buf  want;

    must(line.len > 2 && span_cut(&claims, '|', &what));
    size_t   at   = (size_t)(what.at[0] - 'a');
    uint64_t next = reader->seen[at] + 1, to = 0;
    assert_true(at < CHANNELS && reader->follows[at]);
    what = span_skip(what, 1);
    buf_init(&want, LINE_BYTES_MAX);
    stage_payload(&want, next);
    if (what.at[0] >= '0' && what.at[0] <= '9') {
        if (!span_eq(what, buf_span(&want)))
            fail_msg("channel %zu: %.40s instead of %llu", at, what.at, (unsigned long long)next);
        reader->seen[at] = next;
    } else {
        const char *number = memchr(what.at, ' ', what.len);
        assert_true(number != NULL && span_u64(span_skip(what, (size_t)(number + 1 - what.at)), &to));
        assert_true(to + 1 >= next);
        reader->seen[at] = to;
        assert_int_equal(what.at[0] == 'e', reader->is_old[at]);
        reader->is_old[at] = false;
    }
    buf_fini(&want);
    while (span_cut(&claims, '|', &claim)) {
        size_t of = (size_t)(claim.at[0] - 'a');
        assert_true(span_u64(span_skip(claim, 1), &to));
        if (to != (reader->is_old[of] ? OLD : reader->seen[of]))
            fail_msg("claims %.*s, but %llu is there", SPAN_ARG(claim), (unsigned long long)reader->seen[of]);
    }
}

/* Reads up to `len` bytes of what waits in the socket. */
static void reader_read(struct reader *reader, size_t len)
{
    static char bytes[100000];
    ssize_t     got = recv(reader->fd, bytes, len < sizeof bytes ? len : sizeof bytes, 0);
    size_t      done = 0;

    if (got <= 0)
        return;
    buf_put(&reader->in, span_of(bytes, (size_t)got));
    for (const char *end; (end = memchr(reader->in.at + done, '\n', reader->in.len - done)) != NULL;) {
        reader_take(reader, span_of(reader->in.at + done, (size_t)(end - reader->in.at) - done));
        done = (size_t)(end + 1 - reader->in.at);
    }
    buf_drop(&reader->in, done);
}

static void reader_close(struct reader *reader)
{
    if (!reader->is_gone)
        on_lost(&reader->feed);
    close(reader->fd);
    buf_fini(&reader->in);
}

static bool reader_is_done(const struct reader *reader)
{
    for (size_t i = 0; i < CHANNELS; i++)
        if (reader->follows[i] && (reader->is_old[i] || reader->seen[i] != reader->stage->logs[i].head))
            return false;
    return true;
}

static void readers_finish(struct stage *stage, struct reader *readers, size_t count)
{
    for (int turn = 0; turn < 20000; turn++) {
        bool all = true;
        for (size_t i = 0; i < count; i++) {
            if (!readers[i].is_gone)
                reader_read(&readers[i], SIZE_MAX);
            all = all && (readers[i].is_gone || reader_is_done(&readers[i]));
        }
        if (all)
            return;
        stage_turn(stage);
    }
    fail_msg("a reader was never woken again");
}

static struct start random_start(struct rng *rng, const struct stage_log *log)
{
    switch (rng_below(rng, 4)) {
    case 0: return (struct start){ START_AFTER, 0, 0 };
    case 1: return (struct start){ START_AFTER, 5, log->epoch + 1 };  /* another life: a gap told once */
    default: return (struct start){ START_AFTER, rng_below(rng, log->head + 1), log->epoch };
    }
}

/* One channel each for two thirds of them, so that they share; all three for the others. */
static void open_readers(struct stage *stage, struct reader *readers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        reader_open(&readers[i], stage);
        for (size_t at = 0; at < (i % 3 == 0 ? CHANNELS : 1); at++)
            reader_follow(&readers[i], &stage->logs[at], random_start(&stage->rng, &stage->logs[at]));
    }
}

static void stalls(uint64_t seed)
{
    struct stage   stage;
    struct reader *readers = calloc(READERS_MAX, sizeof *readers);
    static const char *const names[CHANNELS] = { "topic:a", "topic:b", "topic:c" };

    must(readers != NULL);
    stage_init(&stage, seed);
    stage.patience = 1 + (unsigned)(seed % 3);
    for (size_t i = 0; i < CHANNELS; i++)
        stage_log(&stage, names[i], 1, rng_below(&stage.rng, 60));
    open_readers(&stage, readers, READERS_MAX);
    for (int turn = 0; turn < 150; turn++) {
        for (uint64_t left = rng_below(&stage.rng, 4); left > 0; left--)
            stage_publish(&stage, &stage.logs[rng_below(&stage.rng, CHANNELS)]);
        stage_turn(&stage);
        for (size_t i = 0; i < READERS_MAX; i++)
            if (!readers[i].is_gone && rng_below(&stage.rng, 1 + i) == 0)
                reader_read(&readers[i], 1 + rng_below(&stage.rng, i % 2 == 0 ? 300 : 80000));
        if (rng_below(&stage.rng, 40) == 0)
            shutdown(readers[rng_below(&stage.rng, READERS_MAX)].fd, SHUT_RDWR);
    }
    readers_finish(&stage, readers, READERS_MAX);
    for (size_t i = 0; i < READERS_MAX; i++)
        reader_close(&readers[i]);
    free(readers);
    stage_fini(&stage);
}

static void every_reader_gets_everything_once_in_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        stalls(seed);
    }
}

/* b's log begins a new life in the turn in which a's news fill the socket. That gap is told once and can't be drawn
 * again, so it must not overtake those of a that it claims. */
static void what_is_told_once_claims_no_more_than_was_sent(void **state)
{
    (void)state;
    for (unsigned news = 1; news <= 4; news++) {
        struct stage  stage;
        struct reader reader;

        stage_init(&stage, news);
        struct stage_log *a = stage_log(&stage, "topic:a", 1, 23), *b = stage_log(&stage, "topic:b", 1, 4);
        reader_open(&reader, &stage);
        reader_follow(&reader, a, (struct start){ START_AFTER, 23, 9 });
        reader_follow(&reader, b, (struct start){ START_AFTER, 4, 9 });
        stage_turn(&stage);
        stage_turn(&stage);
        for (unsigned i = 0; i < news * 5; i++)
            stage_publish(&stage, a);
        b->epoch = 10;
        b->head  = 2;
        hub_followed(&stage.shard.hub, b->name, b->epoch, b->first, b->head);
        reader.is_old[1] = true;
        reader.seen[1]   = 0;
        stage_turn(&stage);
        readers_finish(&stage, &reader, 1);
        reader_close(&reader);
        stage_fini(&stage);
    }
}

/* Follows many logs from a place on; of what comes nothing is read but by reader_skip(). */
static void reader_follow_many(struct reader *reader, int count, uint64_t head, uint64_t after)
{
    for (int i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "topic:a%d", i);
        reader_follow(reader, stage_log(reader->stage, name, 1, head), (struct start){ START_AFTER, after, 9 });
    }
}

static void reader_skip(struct reader *reader, size_t len)
{
    static char bytes[1 << 20];

    must(len <= sizeof bytes);
    ssize_t got = recv(reader->fd, bytes, len, 0);
    assert_int_not_equal(got, 0);
}

static size_t count_pages(const struct reader *reader)
{
    size_t count = 0;

    for (const struct feed_sub *sub = reader->feed.subs; sub != NULL; sub = sub->next)
        count += !subscription_is_lean(&sub->sub);
    return count;
}

/* A reader behind in many channels that takes nothing (threat 34): the pages that were asked for before its socket was
 * full come to nobody. */
static void a_stalled_reader_of_many_channels_holds_no_pages(void **state)
{
    (void)state;
    enum { MANY = 60 };
    struct stage  stage;
    struct reader reader;

    stage_init(&stage, 1);
    stage.patience = 3;
    reader_open(&reader, &stage);
    reader_follow_many(&reader, MANY, 200, 1);
    for (int turn = 0; turn < 100; turn++) {
        stage_turn(&stage);
        if (reader.feed.stream->is_full)
            assert_int_equal(count_pages(&reader), 0);
    }
    assert_true(reader.feed.is_lagging);
    assert_int_equal(stage.read_count, 0);
    /* From then on it has one page on its way at most, whenever its socket takes a little. */
    for (int turn = 0; turn < 100; turn++) {
        reader_skip(&reader, 3000);
        stage_turn(&stage);
        assert_true(stage.read_count <= 1);
    }
    reader_close(&reader);
    stage_fini(&stage);
}

/* The same with news in between: they have it listed already when its page comes, and still the page is let go. */
static void a_stalled_reader_holds_no_page_that_comes_behind_news(void **state)
{
    (void)state;
    struct stage  stage;
    struct reader reader;

    stage_init(&stage, 1);
    struct stage_log *log = stage_log(&stage, "topic:a", 1, 200);
    reader_open(&reader, &stage);
    reader_follow(&reader, log, (struct start){ START_AFTER, 1, 9 });
    for (int turn = 0; !reader.feed.stream->is_full || stage.read_count == 0; turn++) {
        assert_true(turn < 1000);
        reader_read(&reader, 1000);
        stage_turn(&stage);
    }
    stage.is_writer_stuck = true;
    stage_publish(&stage, log);
    stage_turn(&stage);
    stage.is_writer_stuck = false;
    stage_turn(&stage);
    assert_int_equal(stage.read_count, 0);
    assert_int_equal(count_pages(&reader), 0);
    readers_finish(&stage, &reader, 1);
    reader_close(&reader);
    stage_fini(&stage);
}

/* The cursors that stand lowest and highest. */
static void span_of_places(const struct reader *reader, uint64_t *ret_low, uint64_t *ret_high)
{
    *ret_low = *ret_high = subscription_seen(&reader->feed.subs->sub);
    for (const struct feed_sub *sub = reader->feed.subs; sub != NULL; sub = sub->next) {
        uint64_t seen = subscription_seen(&sub->sub);
        *ret_low      = seen < *ret_low ? seen : *ret_low;
        *ret_high     = seen > *ret_high ? seen : *ret_high;
    }
}

/* Behind by two pages in each of many channels, with room in its socket: a few pages at a time are asked for, and no
 * channel gets its second before all have their first. */
static void a_reader_behind_in_many_channels_asks_for_a_few_pages_in_turn(void **state)
{
    (void)state;
    enum { MANY = 60, HEAD = 22, FIRST_PAGE = 17, ROOM_BYTES = 1 << 20 };
    struct stage  stage;
    struct reader reader;
    size_t        most = 0;
    uint64_t      low = 0, high = 0;

    stage_init(&stage, 1);
    reader_open(&reader, &stage);
    must(setsockopt(reader.feed.stream->fd, SOL_SOCKET, SO_SNDBUF, &(int){ ROOM_BYTES }, sizeof(int)) == 0);
    reader_follow_many(&reader, MANY, HEAD, 1);
    for (int turn = 0; low < HEAD; turn++) {
        assert_true(turn < 1000);
        stage_turn(&stage);
        reader_skip(&reader, ROOM_BYTES);
        most = stage.read_count > most ? stage.read_count : most;
        span_of_places(&reader, &low, &high);
        assert_true(high <= FIRST_PAGE || low >= FIRST_PAGE);
    }
    assert_int_equal(most, FEED_READS_MAX);
    assert_false(reader.feed.is_lagging);
    reader_close(&reader);
    stage_fini(&stage);
}

/* The pages that it asked for could not be read: those that stand in line behind them get their turn by a beat. */
static void who_stands_in_line_behind_pages_that_failed_is_not_forgotten(void **state)
{
    (void)state;
    enum { MANY = 60, HEAD = 22, ROOM_BYTES = 1 << 20 };
    struct stage  stage;
    struct reader reader;
    uint64_t      low = 0, high = 0;

    stage_init(&stage, 1);
    stage.is_unreadable = true;
    reader_open(&reader, &stage);
    must(setsockopt(reader.feed.stream->fd, SOL_SOCKET, SO_SNDBUF, &(int){ ROOM_BYTES }, sizeof(int)) == 0);
    reader_follow_many(&reader, MANY, HEAD, 1);
    for (int turn = 0; low < HEAD; turn++) {
        assert_true(turn < 1000);
        stage.is_unreadable = turn < 100;
        if (turn % 10 == 0)
            shard_tick(&stage.shard);
        stage_turn(&stage);
        assert_true(stage.read_count <= FEED_READS_MAX);
        if (turn >= 100)
            reader_skip(&reader, ROOM_BYTES);
        span_of_places(&reader, &low, &high);
    }
    reader_close(&reader);
    stage_fini(&stage);
}

/* The socket takes a little now and then: that is not the end of its lag, but having caught up is. */
static void a_reader_lags_until_its_cursor_has_reached_the_head(void **state)
{
    (void)state;
    struct stage  stage;
    struct reader reader;

    stage_init(&stage, 1);
    stage.patience        = 3;
    struct stage_log *log = stage_log(&stage, "topic:a", 1, 200);
    reader_open(&reader, &stage);
    reader_follow(&reader, log, (struct start){ START_AFTER, 1, 9 });
    while (!reader.feed.stream->is_full)
        stage_turn(&stage);
    while (subscription_is_behind(&reader.feed.subs->sub)) {
        assert_int_equal(counter_get(&stage.worker.counters.lagging), 1);
        reader_read(&reader, 3000);
        stage_turn(&stage);
    }
    readers_finish(&stage, &reader, 1);
    stage_turn(&stage);
    assert_int_equal(counter_get(&stage.worker.counters.lagging), 0);
    reader_close(&reader);
    stage_fini(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_reader_gets_everything_once_in_order),
        cmocka_unit_test(what_is_told_once_claims_no_more_than_was_sent),
        cmocka_unit_test(a_stalled_reader_of_many_channels_holds_no_pages),
        cmocka_unit_test(a_stalled_reader_holds_no_page_that_comes_behind_news),
        cmocka_unit_test(a_reader_behind_in_many_channels_asks_for_a_few_pages_in_turn),
        cmocka_unit_test(who_stands_in_line_behind_pages_that_failed_is_not_forgotten),
        cmocka_unit_test(a_reader_lags_until_its_cursor_has_reached_the_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
