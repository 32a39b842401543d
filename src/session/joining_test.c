/* What begins a session: its words leave with the first messages, in one write, and never later than JOINING_MS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "session/joining.h"
#include "session/link.h"
#include "session/session_battery.h"

#include <cmocka.h>

enum { LINE_BYTES_MAX = 200000, MESSAGES = 10 };

#define WORDS "connected\n"

struct subscriber {
    struct link      link;
    struct reader    reader;
    struct stage    *stage;
    struct sim_link *far;
    struct buf       heard;
    bool             says_placed, is_gone;
};

static struct subscriber *subscriber_of(struct link *link)
{
    return container_of(link, struct subscriber, link);
}

/* A line a message: its seq. */
static struct frame *on_encode(struct link *link, struct reader_sub *sub, const struct entry *entry)
{
    struct buf line;

    (void)link;
    (void)sub;
    buf_init(&line, LINE_BYTES_MAX);
    buf_putf(&line, "%llu\n", (unsigned long long)(entry->message != NULL ? entry->message->seq : entry->gap.to));
    struct frame *frame = frame_new(buf_span(&line));
    buf_fini(&line);
    return frame;
}

static void on_placed(struct link *link, struct reader_sub *sub)
{
    (void)sub;
    if (!subscriber_of(link)->says_placed)
        return;
    buf_put(link_words(link), SPAN("placed\n"));
    link_mark(link);
}

static void on_lost(struct link *link)
{
    struct subscriber *subscriber = subscriber_of(link);

    stream_close(link_stream(link));
    link_fini(link);
    reader_fini(&subscriber->reader, &subscriber->stage->worker.readers, subscriber->stage->sim.loop.now);
    subscriber->is_gone = true;
}

static const struct link_kind kind = { .encode = on_encode, .placed = on_placed, .lost = on_lost, .leave = on_lost };

static void on_readable(struct stream *stream, void *owner)
{
    (void)stream;
    (void)owner;
}

static void on_writable(struct stream *stream, void *owner)
{
    (void)stream;
    link_on_writable(&((struct subscriber *)owner)->link);
}

static const struct stream_events events = { .on_readable = on_readable, .on_writable = on_writable };

static void subscriber_open(struct subscriber *subscriber, struct stage *stage)
{
    *subscriber = (struct subscriber){ .stage = stage };
    buf_init(&subscriber->heard, 1 << 20);
    reader_init(&subscriber->reader);
    link_init(&subscriber->link, &stage->worker, &kind, &subscriber->reader, TRANSPORT_NATIVE, ENCODING_NDJSON, 0);
    struct stream *stream;
    subscriber->far = stage_stream(stage, &stream);
    link_set_stream(&subscriber->link, stream);
    stream_start(link_stream(&subscriber->link), &events, subscriber);
}

static void subscriber_begin(struct subscriber *subscriber, struct span words, struct stage_log *log, uint64_t after)
{
    link_follow(&subscriber->link, log->name, (struct start){ START_AFTER, after, log->epoch });
    buf_put(link_words(&subscriber->link), words);
    link_join(&subscriber->link);
}

static void subscriber_close(struct subscriber *subscriber)
{
    if (!subscriber->is_gone)
        on_lost(&subscriber->link);
    sim_link_free(subscriber->far);
    buf_fini(&subscriber->heard);
}

static const char *heard(struct subscriber *subscriber)
{
    stage_read(subscriber->far, &subscriber->heard);
    buf_putc(&subscriber->heard, '\0');
    subscriber->heard.len--;
    return subscriber->heard.at;
}

static uint64_t writes(const struct stage *stage)
{
    return counter_get(&stage->worker.counters.writes);
}

static void turns(struct stage *stage, int count)
{
    while (count-- > 0)
        stage_turn(stage);
}

/* --- tests ------------------------------------------------------------------------------------------------------ */

static void words_and_what_was_missed_leave_in_one_write(void **state)
{
    struct stage      stage;
    struct subscriber subscriber;

    (void)state;
    stage_init(&stage, 1);
    struct stage_log *log = stage_log(&stage, "topic:a", 1, 3);
    subscriber_open(&subscriber, &stage);
    subscriber.says_placed = true;
    subscriber_begin(&subscriber, SPAN(WORDS), log, 1);
    stage_turn(&stage);
    assert_string_equal(heard(&subscriber), "");
    turns(&stage, 5);
    assert_string_equal(heard(&subscriber), WORDS "placed\n2\n3\n");
    assert_int_equal(writes(&stage), 1);
    subscriber_close(&subscriber);
    stage_fini(&stage);
}

static void who_missed_nothing_waits_for_the_channels_alone(void **state)
{
    struct stage      stage;
    struct subscriber subscriber;

    (void)state;
    stage_init(&stage, 1);
    struct stage_log *log = stage_log(&stage, "topic:a", 1, 3);
    subscriber_open(&subscriber, &stage);
    subscriber.says_placed = true;
    subscriber_begin(&subscriber, SPAN(WORDS), log, 3);
    turns(&stage, 5);
    assert_string_equal(heard(&subscriber), WORDS "placed\n");
    assert_int_equal(writes(&stage), 1);
    stage_publish(&stage, log);  /* nothing waits any more */
    turns(&stage, 2);
    assert_string_equal(heard(&subscriber), WORDS "placed\n4\n");
    subscriber_close(&subscriber);
    stage_fini(&stage);
}

/* The writer does not answer, or does not say where the channel stands, or the log can't be read. */
static void words_wait_only_so_long(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        struct stage      stage;
        struct subscriber subscriber;

        stage_init(&stage, 1);
        struct stage_log *log = stage_log(&stage, "topic:a", 1, 3);
        stage.is_writer_stuck = way == 0;
        stage.is_unreadable   = way == 1;
        subscriber_open(&subscriber, &stage);
        subscriber_begin(&subscriber, SPAN(WORDS), log, 1);
        turns(&stage, 5);
        stage_pass(&stage, JOINING_MS - 1);
        link_mark(&subscriber.link);  /* whatever else happens to the link does not begin the time anew */
        turns(&stage, 2);
        assert_string_equal(heard(&subscriber), "");
        stage_pass(&stage, 1 + WHEEL_TICK_MS);
        stage_turn(&stage);
        assert_string_equal(heard(&subscriber), WORDS);
        stage.is_writer_stuck = stage.is_unreadable = false;
        for (int turn = 0; turn < 100 && strcmp(heard(&subscriber), WORDS "2\n3\n") != 0; turn++) {
            stage_pass(&stage, 100);
            link_look_again(&subscriber.link);
            stage_turn(&stage);
        }
        assert_string_equal(heard(&subscriber), WORDS "2\n3\n");
        subscriber_close(&subscriber);
        stage_fini(&stage);
    }
}

static void words_of_a_link_that_ends_do_not_wait(void **state)
{
    struct stage      stage;
    struct subscriber subscriber;

    (void)state;
    stage_init(&stage, 1);
    struct stage_log *log = stage_log(&stage, "topic:a", 1, 3);
    stage.is_writer_stuck = true;
    subscriber_open(&subscriber, &stage);
    subscriber_begin(&subscriber, SPAN(WORDS), log, 1);
    turns(&stage, 2);
    buf_put(link_words(&subscriber.link), SPAN("closing\n"));
    subscriber.link.is_over = true;
    link_mark(&subscriber.link);
    stage_turn(&stage);
    assert_string_equal(heard(&subscriber), WORDS "closing\n");
    subscriber_close(&subscriber);
    stage.is_writer_stuck = false;
    turns(&stage, 3);
    stage_fini(&stage);
}

static void a_link_that_is_lost_meanwhile_leaves_nothing(void **state)
{
    struct stage      stage;
    struct subscriber lost, other;

    (void)state;
    stage_init(&stage, 1);
    struct stage_log *log = stage_log(&stage, "topic:a", 1, 3);
    stage.is_writer_stuck = true;
    subscriber_open(&lost, &stage);
    subscriber_open(&other, &stage);
    subscriber_begin(&lost, SPAN(WORDS), log, 1);
    subscriber_begin(&other, SPAN(WORDS), log, 1);
    turns(&stage, 2);
    on_lost(&lost.link);
    stage_pass(&stage, JOINING_MS + WHEEL_TICK_MS);
    stage_turn(&stage);
    assert_string_equal(heard(&other), WORDS);
    subscriber_close(&lost);
    subscriber_close(&other);
    stage.is_writer_stuck = false;
    turns(&stage, 3);
    stage_fini(&stage);
}

/* Whatever the stream takes of the words and the frames behind them, the client hears all of it, once. */
static void whatever_the_stream_takes_all_is_heard_once(void **state)
{
    char words[200];

    (void)state;
    memset(words, '-', sizeof words);
    words[sizeof words - 1] = '\n';
    for (size_t room = 1; room <= 260; room++) {
        struct stage      stage;
        struct subscriber subscriber;
        struct buf        want, full;

        stage_init(&stage, room);
        buf_init(&want, 1 << 16);
        buf_init(&full, 1 << 16);
        buf_put(&want, span_of(words, sizeof words));
        for (int seq = 1; seq <= MESSAGES; seq++)
            buf_putf(&want, "%d\n", seq);
        buf_putc(&want, '\0');
        struct stage_log *log = stage_log(&stage, "topic:a", 1, MESSAGES);
        subscriber_open(&subscriber, &stage);
        for (size_t i = 0; i < STAGE_ROOM_BYTES - room; i++)
            buf_putc(&full, '.');
        assert_int_equal(stream_write(link_stream(&subscriber.link), buf_span(&full)), (ssize_t)full.len);
        subscriber_begin(&subscriber, span_of(words, sizeof words), log, 0);
        turns(&stage, 5);
        heard(&subscriber);
        buf_drop(&subscriber.heard, full.len);
        for (int turn = 0; turn < 50; turn++) {
            stage_turn(&stage);
            heard(&subscriber);
        }
        assert_string_equal(heard(&subscriber), want.at);
        subscriber_close(&subscriber);
        buf_fini(&want);
        buf_fini(&full);
        stage_fini(&stage);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_and_what_was_missed_leave_in_one_write),
        cmocka_unit_test(who_missed_nothing_waits_for_the_channels_alone),
        cmocka_unit_test(words_wait_only_so_long),
        cmocka_unit_test(words_of_a_link_that_ends_do_not_wait),
        cmocka_unit_test(a_link_that_is_lost_meanwhile_leaves_nothing),
        cmocka_unit_test(whatever_the_stream_takes_all_is_heard_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
