/* Drawing into streams that fill: whatever stalls, every subscriber gets each of its channels' messages in order, once,
 * and no frame claims more than was sent before it (threats 34, 82). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "session/session_battery.h"
#include "session/serve.h"

#include <cmocka.h>

enum { SUBSCRIBERS_MAX = 24, CHANNELS = 3, LINE_BYTES_MAX = 200000, SEEDS = 20 };

#define OLD 9999ull  /* claimed for a place in another life */

/* A frame here is one line: its channel, the payload or "WHY TO" of a gap, and where the subscriber stands behind
 * it. */
struct subscriber {
    struct link   link;
    struct reader reader;
    struct stage *stage;
    struct sim_link *far;
    bool          is_gone;
    struct buf    in;
    uint64_t      seen[CHANNELS];     /* by what came out of the socket */
    bool          follows[CHANNELS];
    bool          is_old[CHANNELS];   /* its place was in another life of the log, and it was not told yet */
};

static struct subscriber *subscriber_of(struct link *link)
{
    return container_of(link, struct subscriber, link);
}

/* "topic:a" is 0. */
static size_t index_of(const struct reader_sub *sub)
{
    return (size_t)(channel_name_span(subscription_name(&sub->sub)).at[6] - 'a');
}

static struct frame *on_encode(struct link *link, struct reader_sub *sub, const struct entry *entry)
{
    const struct stage_log *logs = subscriber_of(link)->stage->logs;
    struct buf              line;

    buf_init(&line, LINE_BYTES_MAX);
    buf_putf(&line, "%c", (char)('a' + index_of(sub)));
    if (entry->message != NULL)
        buf_put(&line, message_payload(entry->message));
    else
        buf_putf(&line, "%s %llu", gap_why_text(entry->gap.why), (unsigned long long)entry->gap.to);
    for (const struct reader_sub *at = reader_subs(link_reader(link)); at != NULL && link_reader(link)->sub_count > 1; at = reader_sub_next(at))
        buf_putf(&line, "|%c%llu", (char)('a' + index_of(at)),
                 subscription_seen_epoch(&at->sub) == logs[index_of(at)].epoch
                     ? (unsigned long long)subscription_seen(&at->sub) : OLD);
    buf_putc(&line, '\n');
    struct frame *frame = frame_new(buf_span(&line));
    buf_fini(&line);
    return frame;
}

static void on_lost(struct link *link)
{
    struct subscriber *subscriber = subscriber_of(link);

    stream_close(link_stream(link));
    link_fini(link);
    reader_fini(&subscriber->reader, &subscriber->stage->worker.readers, subscriber->stage->sim.loop.now);
    subscriber->is_gone = true;
}

static const struct link_kind kind = { .encode = on_encode, .lost = on_lost, .leave = on_lost };

static void on_readable(struct stream *stream, void *owner)
{
    struct subscriber *subscriber = owner;

    if (!stream_drain(stream))
        on_lost(&subscriber->link);
}

static void on_writable(struct stream *stream, void *owner)
{
    struct subscriber *subscriber = owner;

    (void)stream;
    link_on_writable(&subscriber->link);
}

static const struct stream_events events = {
    .on_readable = on_readable, .on_writable = on_writable,
};

static void subscriber_open(struct subscriber *subscriber, struct stage *stage)
{
    *subscriber = (struct subscriber){ .stage = stage };
    buf_init(&subscriber->in, 1 << 24);
    reader_init(&subscriber->reader);
    link_init(&subscriber->link, &stage->worker, &kind, &subscriber->reader, TRANSPORT_NDJSON, ENCODING_NDJSON, 0);
    struct stream *stream;
    subscriber->far = stage_stream(stage, &stream);
    link_set_stream(&subscriber->link, stream);
    stream_start(link_stream(&subscriber->link), &events, subscriber);
}

static void subscriber_follow(struct subscriber *subscriber, struct stage_log *log, struct start start)
{
    size_t at = (size_t)(log - subscriber->stage->logs);

    link_follow(&subscriber->link, log->name, start);
    at                  = at < CHANNELS ? at : 0;  /* of many channels nothing is read */
    subscriber->follows[at] = true;
    subscriber->is_old[at]  = start.epoch != 0 && start.epoch != log->epoch;
    subscriber->seen[at]    = subscriber->is_old[at] ? 0 : start.seq;
    if (subscriber->reader.sub_count > 1) {
        subscriber->link.encoding  = ENCODING_PRIVATE;
        subscriber->link.needs_all = true;
    }
}

/* One line out of the socket: it must be the next of its channel, and its claims what came before and it. */
static void subscriber_take(struct subscriber *subscriber, struct span line)
{
    struct span claims = line, what, claim;
    struct buf  want;

    must(line.len > 2 && span_cut(&claims, '|', &what));
    size_t   at   = (size_t)(what.at[0] - 'a');
    uint64_t next = subscriber->seen[at] + 1, to = 0;
    assert_true(at < CHANNELS && subscriber->follows[at]);
    what = span_skip(what, 1);
    buf_init(&want, LINE_BYTES_MAX);
    stage_payload(&want, next);
    if (what.at[0] >= '0' && what.at[0] <= '9') {
        if (!span_eq(what, buf_span(&want)))
            fail_msg("channel %zu: %.40s instead of %llu", at, what.at, (unsigned long long)next);
        subscriber->seen[at] = next;
    } else {
        const char *number = memchr(what.at, ' ', what.len);
        assert_true(number != NULL && span_u64(span_skip(what, (size_t)(number + 1 - what.at)), &to));
        assert_true(to + 1 >= next);
        subscriber->seen[at] = to;
        assert_int_equal(what.at[0] == 'e', subscriber->is_old[at]);
        subscriber->is_old[at] = false;
    }
    buf_fini(&want);
    while (span_cut(&claims, '|', &claim)) {
        size_t of = (size_t)(claim.at[0] - 'a');
        assert_true(span_u64(span_skip(claim, 1), &to));
        if (to != (subscriber->is_old[of] ? OLD : subscriber->seen[of]))
            fail_msg("claims %.*s, but %llu is there", SPAN_ARG(claim), (unsigned long long)subscriber->seen[of]);
    }
}

/* Reads up to `len` bytes of what has arrived. */
static void subscriber_read(struct subscriber *subscriber, size_t len)
{
    size_t done = 0;

    if (sim_take(subscriber->far, &subscriber->in, len) == 0)
        return;
    for (const char *end; (end = memchr(subscriber->in.at + done, '\n', subscriber->in.len - done)) != NULL;) {
        subscriber_take(subscriber, span_of(subscriber->in.at + done, (size_t)(end - subscriber->in.at) - done));
        done = (size_t)(end + 1 - subscriber->in.at);
    }
    buf_drop(&subscriber->in, done);
}

static void subscriber_close(struct subscriber *subscriber)
{
    if (!subscriber->is_gone)
        on_lost(&subscriber->link);
    sim_link_free(subscriber->far);
    buf_fini(&subscriber->in);
}

static bool subscriber_is_done(const struct subscriber *subscriber)
{
    for (size_t i = 0; i < CHANNELS; i++)
        if (subscriber->follows[i] && (subscriber->is_old[i] || subscriber->seen[i] != subscriber->stage->logs[i].head))
            return false;
    return true;
}

static void subscribers_finish(struct stage *stage, struct subscriber *subscribers, size_t count)
{
    for (int turn = 0; turn < 20000; turn++) {
        bool all = true;
        for (size_t i = 0; i < count; i++) {
            if (!subscribers[i].is_gone)
                subscriber_read(&subscribers[i], SIZE_MAX);
            all = all && (subscribers[i].is_gone || subscriber_is_done(&subscribers[i]));
        }
        if (all)
            return;
        stage_turn(stage);
    }
    fail_msg("a subscriber was never woken again");
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
static void open_subscribers(struct stage *stage, struct subscriber *subscribers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        subscriber_open(&subscribers[i], stage);
        for (size_t at = 0; at < (i % 3 == 0 ? CHANNELS : 1); at++)
            subscriber_follow(&subscribers[i], &stage->logs[at], random_start(&stage->rng, &stage->logs[at]));
    }
}

/* No frame that was cut is held: each is made again. */
static void lets_cuts_go(struct stage *stage)
{
    stage->worker.cuts.bytes_max = stage->worker.cuts.long_min = 0;
}

static void stalls(uint64_t seed)
{
    struct stage   stage;
    struct subscriber *subscribers = calloc(SUBSCRIBERS_MAX, sizeof *subscribers);
    static const char *const names[CHANNELS] = { "topic:a", "topic:b", "topic:c" };

    must(subscribers != NULL);
    stage_init(&stage, seed);
    stage.patience = 1 + (unsigned)(seed % 3);
    if (seed % 2 == 0)
        lets_cuts_go(&stage);
    for (size_t i = 0; i < CHANNELS; i++)
        stage_log(&stage, names[i], 1, rng_below(&stage.rng, 60));
    open_subscribers(&stage, subscribers, SUBSCRIBERS_MAX);
    for (int turn = 0; turn < 150; turn++) {
        for (uint64_t left = rng_below(&stage.rng, 4); left > 0; left--)
            stage_publish(&stage, &stage.logs[rng_below(&stage.rng, CHANNELS)]);
        stage_turn(&stage);
        for (size_t i = 0; i < SUBSCRIBERS_MAX; i++)
            if (!subscribers[i].is_gone && rng_below(&stage.rng, 1 + i) == 0)
                subscriber_read(&subscribers[i], 1 + rng_below(&stage.rng, i % 2 == 0 ? 300 : 80000));
        if (rng_below(&stage.rng, 40) == 0)
            sim_reset(subscribers[rng_below(&stage.rng, SUBSCRIBERS_MAX)].far);
    }
    subscribers_finish(&stage, subscribers, SUBSCRIBERS_MAX);
    assert_int_equal(counter_get(&stage.worker.cuts.lost), 0);
    assert_int_equal(counter_get(&stage.worker.cuts.remade) > 0, seed % 2 == 0);
    for (size_t i = 0; i < SUBSCRIBERS_MAX; i++)
        subscriber_close(&subscribers[i]);
    assert_int_equal(counter_get(&stage.worker.cuts.bytes), 0);
    free(subscribers);
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
        struct subscriber subscriber;

        stage_init(&stage, news);
        struct stage_log *a = stage_log(&stage, "topic:a", 1, 23), *b = stage_log(&stage, "topic:b", 1, 4);
        subscriber_open(&subscriber, &stage);
        subscriber_follow(&subscriber, a, (struct start){ START_AFTER, 23, 9 });
        subscriber_follow(&subscriber, b, (struct start){ START_AFTER, 4, 9 });
        stage_turn(&stage);
        stage_turn(&stage);
        for (unsigned i = 0; i < news * 5; i++)
            stage_publish(&stage, a);
        b->epoch = 10;
        b->head  = 2;
        hub_followed(&stage.shard.hub, b->name, 0, b->epoch, b->first, b->head);
        subscriber.is_old[1] = true;
        subscriber.seen[1]   = 0;
        stage_turn(&stage);
        subscribers_finish(&stage, &subscriber, 1);
        subscriber_close(&subscriber);
        stage_fini(&stage);
    }
}

/* Follows many logs from a place on; of what comes nothing is read but by subscriber_skip(). */
static void subscriber_follow_many(struct subscriber *subscriber, int count, uint64_t head, uint64_t after)
{
    for (int i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "topic:a%d", i);
        subscriber_follow(subscriber, stage_log(subscriber->stage, name, 1, head),
                          (struct start){ START_AFTER, after, 9 });
    }
}

static void subscriber_skip(struct subscriber *subscriber, size_t len)
{
    sim_take(subscriber->far, &subscriber->in, len);
    assert_int_equal(sim_link_end(subscriber->far), SIM_OPEN);
    buf_clear(&subscriber->in);
}

static size_t count_pages(const struct subscriber *subscriber)
{
    size_t count = 0;

    for (const struct reader_sub *sub = reader_subs(&subscriber->reader); sub != NULL; sub = reader_sub_next(sub))
        count += !subscription_is_lean(&sub->sub);
    return count;
}

/* A subscriber behind in many channels that takes nothing (threat 34): the pages that were asked for before its socket
 * was full come to nobody. */
static void a_stalled_reader_of_many_channels_holds_no_pages(void **state)
{
    (void)state;
    enum { MANY = 60 };
    struct stage  stage;
    struct subscriber subscriber;

    stage_init(&stage, 1);
    stage.patience = 3;
    subscriber_open(&subscriber, &stage);
    subscriber_follow_many(&subscriber, MANY, 200, 1);
    for (int turn = 0; turn < 100; turn++) {
        stage_turn(&stage);
        if (link_stream(&subscriber.link)->is_full)
            assert_int_equal(count_pages(&subscriber), 0);
    }
    assert_true(subscriber.link.is_lagging);
    assert_int_equal(stage.read_count, 0);
    /* From then on it has one page on its way at most, whenever its socket takes a little. */
    for (int turn = 0; turn < 100; turn++) {
        subscriber_skip(&subscriber, 3000);
        stage_turn(&stage);
        assert_true(stage.read_count <= 1);
    }
    subscriber_close(&subscriber);
    stage_fini(&stage);
}

/* The same with news in between: they have it listed already when its page comes, and still the page is let go. */
static void a_stalled_reader_holds_no_page_that_comes_behind_news(void **state)
{
    (void)state;
    struct stage  stage;
    struct subscriber subscriber;

    stage_init(&stage, 1);
    struct stage_log *log = stage_log(&stage, "topic:a", 1, 200);
    subscriber_open(&subscriber, &stage);
    subscriber_follow(&subscriber, log, (struct start){ START_AFTER, 1, 9 });
    for (int turn = 0; !link_stream(&subscriber.link)->is_full || stage.read_count == 0; turn++) {
        assert_true(turn < 1000);
        subscriber_read(&subscriber, 1000);
        stage_turn(&stage);
    }
    stage.is_writer_stuck = true;
    stage_publish(&stage, log);
    stage_turn(&stage);
    stage.is_writer_stuck = false;
    stage_turn(&stage);
    assert_int_equal(stage.read_count, 0);
    assert_int_equal(count_pages(&subscriber), 0);
    subscribers_finish(&stage, &subscriber, 1);
    subscriber_close(&subscriber);
    stage_fini(&stage);
}

/* The cursors that stand lowest and highest. */
static void span_of_places(const struct subscriber *subscriber, uint64_t *ret_low, uint64_t *ret_high)
{
    *ret_low = *ret_high = subscription_seen(&reader_subs(&subscriber->reader)->sub);
    for (const struct reader_sub *sub = reader_subs(&subscriber->reader); sub != NULL; sub = reader_sub_next(sub)) {
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
    struct subscriber subscriber;
    size_t        most = 0;
    uint64_t      low = 0, high = 0;

    stage_init(&stage, 1);
    subscriber_open(&subscriber, &stage);
    sim_link_wire(subscriber.far)->room_bytes = ROOM_BYTES;
    subscriber_follow_many(&subscriber, MANY, HEAD, 1);
    for (int turn = 0; low < HEAD; turn++) {
        assert_true(turn < 1000);
        stage_turn(&stage);
        subscriber_skip(&subscriber, ROOM_BYTES);
        most = stage.read_count > most ? stage.read_count : most;
        span_of_places(&subscriber, &low, &high);
        assert_true(high <= FIRST_PAGE || low >= FIRST_PAGE);
    }
    assert_int_equal(most, READER_READS_MAX);
    assert_false(subscriber.link.is_lagging);
    subscriber_close(&subscriber);
    stage_fini(&stage);
}

/* The pages that a reader asked for cannot be read. The subscriptions that wait behind them get their turn at the next
 * heartbeat. */
static void who_stands_in_line_behind_pages_that_failed_is_not_forgotten(void **state)
{
    (void)state;
    enum { MANY = 60, HEAD = 22, ROOM_BYTES = 1 << 20 };
    struct stage  stage;
    struct subscriber subscriber;
    uint64_t      low = 0, high = 0;

    stage_init(&stage, 1);
    stage.is_unreadable = true;
    subscriber_open(&subscriber, &stage);
    sim_link_wire(subscriber.far)->room_bytes = ROOM_BYTES;
    subscriber_follow_many(&subscriber, MANY, HEAD, 1);
    for (int turn = 0; low < HEAD; turn++) {
        assert_true(turn < 1000);
        stage.is_unreadable = turn < 100;
        if (turn % 10 == 0)
            shard_tick(&stage.shard);
        stage_turn(&stage);
        assert_true(stage.read_count <= READER_READS_MAX);
        if (turn >= 100)
            subscriber_skip(&subscriber, ROOM_BYTES);
        span_of_places(&subscriber, &low, &high);
    }
    subscriber_close(&subscriber);
    stage_fini(&stage);
}

/* The socket takes a little now and then: that is not the end of its lag, but having caught up is. */
static void a_reader_lags_until_its_cursor_has_reached_the_head(void **state)
{
    (void)state;
    struct stage  stage;
    struct subscriber subscriber;

    stage_init(&stage, 1);
    stage.patience        = 3;
    struct stage_log *log = stage_log(&stage, "topic:a", 1, 200);
    subscriber_open(&subscriber, &stage);
    subscriber_follow(&subscriber, log, (struct start){ START_AFTER, 1, 9 });
    while (!link_stream(&subscriber.link)->is_full)
        stage_turn(&stage);
    while (subscription_is_behind(&reader_subs(&subscriber.reader)->sub)) {
        assert_int_equal(counter_get(&stage.worker.counters.lagging), 1);
        subscriber_read(&subscriber, 3000);
        stage_turn(&stage);
    }
    subscribers_finish(&stage, &subscriber, 1);
    stage_turn(&stage);
    assert_int_equal(counter_get(&stage.worker.counters.lagging), 0);
    subscriber_close(&subscriber);
    stage_fini(&stage);
}

/* Judged at heartbeats: whether anything was taken between two of them, not how much waits. */
static void a_stream_that_takes_nothing_is_stuck(void **state)
{
    (void)state;
    struct stage      stage;
    struct subscriber subscriber;

    stage_init(&stage, 1);
    struct stage_log *log  = stage_log(&stage, "topic:a", 1, 200);
    const msec        most = stage.worker.limits.slow_reader_timeout_ms;
    subscriber_open(&subscriber, &stage);
    subscriber_follow(&subscriber, log, (struct start){ START_AFTER, 1, 9 });
    assert_false(link_is_stuck(&subscriber.link, 0));
    for (stage_turn(&stage); link_waiting_bytes(&subscriber.link) == 0; stage_turn(&stage))
        if (link_stream(&subscriber.link)->is_full)
            subscriber_read(&subscriber, 1000);  /* it was full between two frames */
    assert_false(link_is_stuck(&subscriber.link, 2 * most));
    assert_false(link_is_stuck(&subscriber.link, 3 * most - 1));
    assert_true(link_is_stuck(&subscriber.link, 3 * most));
    size_t before = link_waiting_bytes(&subscriber.link);
    while (link_waiting_bytes(&subscriber.link) == before) {
        subscriber_read(&subscriber, 3000);
        stage_turn(&stage);
    }
    assert_false(link_is_stuck(&subscriber.link, 4 * most));
    subscribers_finish(&stage, &subscriber, 1);
    assert_false(link_is_stuck(&subscriber.link, 9 * most));
    subscriber_close(&subscriber);
    stage_fini(&stage);
}

/* Opens a subscriber of message 23, which is longer than its socket takes, until its frame was cut and let go. */
static struct stage_log *cut_a_frame(struct stage *stage, struct subscriber *subscriber)
{
    stage_init(stage, 1);
    lets_cuts_go(stage);
    struct stage_log *log = stage_log(stage, "topic:a", 1, 23);
    subscriber_open(subscriber, stage);
    subscriber_follow(subscriber, log, (struct start){ START_AFTER, 22, 9 });
    while (link_waiting_bytes(&subscriber->link) == 0)
        stage_turn(stage);
    assert_int_equal(subscription_seen(&reader_subs(&subscriber->reader)->sub), 22);
    return log;
}

/* Retention has removed the message: the rest of its frame can't be sent, so the link ends, and the reader stands before
 * it. */
static void a_frame_whose_message_is_gone_ends_the_link(void **state)
{
    (void)state;
    struct stage      stage;
    struct subscriber subscriber;

    struct stage_log *log = cut_a_frame(&stage, &subscriber);
    stage_publish(&stage, log);
    log->first = 24;
    for (int turn = 0; turn < 10 && !subscriber.is_gone; turn++) {
        subscriber_read(&subscriber, SIZE_MAX);
        stage_turn(&stage);
    }
    assert_true(subscriber.is_gone);
    assert_int_equal(counter_get(&stage.worker.cuts.lost), 1);
    assert_int_equal(counter_get(&stage.worker.cuts.remade), 0);
    subscriber_close(&subscriber);
    stage_fini(&stage);
}

/* … and so does one whose channel the client has left, because only a subscription reads the log. */
static void a_frame_whose_channel_was_left_ends_the_link(void **state)
{
    (void)state;
    struct stage      stage;
    struct subscriber subscriber;

    cut_a_frame(&stage, &subscriber);
    link_unfollow(&subscriber.link, reader_subs(&subscriber.reader));
    stage_turn(&stage);
    assert_true(subscriber.is_gone);
    subscriber_close(&subscriber);
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
        cmocka_unit_test(a_stream_that_takes_nothing_is_stuck),
        cmocka_unit_test(a_frame_whose_message_is_gone_ends_the_link),
        cmocka_unit_test(a_frame_whose_channel_was_left_ends_the_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
