/* Frames between nodes: what was put comes back; what is cut short is malformed; what later versions add is skipped
 * (threat 44); no length decides what is allocated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "codec/bus/bus_frame.h"
#include "lib/laws.h"

#include <cmocka.h>

static const struct hash_key key = { 1, 2 };
static struct namespaces     spaces;

static struct channel_name *name_of(struct span text)
{
    struct channel_name *name = NULL;

    assert_int_equal(channel_name_new(&spaces, &key, text, &name), CHANNEL_NAME_OK);
    return name;
}

static const struct bus_header header = { SPAN("node-1"), 0x0123456789abcdef, 7, 300 };

/* --- messages ------------------------------------------------------------------------------------------------------ */

struct message_row {
    const char         *name;
    enum message_kind   kind;
    struct span         payload, media, from;
    struct message_tags tags;
    uint64_t            epoch, seq, id, target;
    msec                time, expires_at;
};

static const struct message_row messages[] = {
    { "small", MESSAGE_PLAIN, SPAN("hello"), SPAN("text/plain"), SPAN("key"), { SPAN("") }, 9, 1, 2, 0, 1700000000000, 0 },
    { "all fields", MESSAGE_PLAIN, SPAN("\0\xff{}"), SPAN("application/json"), SPAN("user:alice"),
      { SPAN("tick"), SPAN("eur"), true }, UINT64_MAX, UINT64_MAX, UINT64_MAX, 5, INT64_MAX, INT64_MAX },
    { "empty", MESSAGE_PLAIN, SPAN(""), SPAN(""), SPAN(""), { SPAN("") }, 0, 128, 0, 0, 0, 0 },
    { "recall", MESSAGE_RECALL, SPAN(""), SPAN(""), SPAN("key"), { SPAN("") }, 9, 57, 3, 42, 5, 0 },
    { "recalled", MESSAGE_RECALLED, SPAN(""), SPAN(""), SPAN(""), { SPAN("") }, 9, 42, 3, 57, 5, 6 },
};

static struct message *message_of(const struct message_row *row, struct channel_name *channel)
{
    struct message *message = message_new_tagged(channel, row->kind, row->payload.at, (uint32_t)row->payload.len,
                                                 row->media, row->from, &row->tags);
    message->epoch      = row->epoch;
    message->seq        = row->seq;
    message->id         = row->id;
    message->target     = row->target;
    message->time       = row->time;
    message->expires_at = row->expires_at;
    return message;
}

static void expect_same(const struct message *got, const struct message *want)
{
    assert_int_equal(got->kind, want->kind);
    assert_int_equal(got->waits_for_beat, want->waits_for_beat);
    assert_int_equal(got->collapse_hash, want->collapse_hash);
    assert_true(got->epoch == want->epoch && got->seq == want->seq && got->id == want->id && got->target == want->target);
    assert_true(got->time == want->time && got->expires_at == want->expires_at);
    assert_true(span_eq(message_payload(got), message_payload(want)));
    assert_true(span_eq(message_media(got), message_media(want)));
    assert_true(span_eq(message_from(got), message_from(want)));
    assert_true(span_eq(message_event(got), message_event(want)));
    assert_true(span_eq(message_collapse_key(got), message_collapse_key(want)));
}

static void messages_come_back(void **state)
{
    (void)state;
    struct channel_name *channel = name_of(SPAN("topic:prices"));

    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        struct message *message = message_of(&messages[i], channel), *back;
        struct bus_item item;
        struct buf      buf;

        buf_init(&buf, BUS_FRAME_BYTES_MAX);
        bus_message_put(&buf, message);
        struct span rest = buf_span(&buf);
        assert_true(bus_item_get(&rest, &item));
        assert_int_equal(item.kind, BUS_MESSAGE);
        assert_true(span_eq(item.channel, SPAN("topic:prices")));
        back = bus_message_get(&item, channel);
        assert_non_null(back);
        expect_same(back, message);
        assert_false(bus_item_get(&rest, &item));
        assert_int_equal(rest.len, 0);
        message_unref(back);
        message_unref(message);
        buf_fini(&buf);
    }
    channel_name_unref(channel);
}

/* --- frames: one transcript, however it is cut ----------------------------------------------------------------------- */

static void tell_item(const struct bus_item *item, struct buf *out)
{
    buf_putf(out, "%d%d%d %.*s %llu %llu %llu %u %zu\n", (int)item->kind, item->has_more, item->is_all, SPAN_ARG(item->channel),
             (unsigned long long)item->epoch, (unsigned long long)item->seq, (unsigned long long)item->question,
             (unsigned)item->topic, item->body.len);
    if (item->kind == BUS_MESSAGE) {
        struct channel_name *channel = name_of(item->channel);
        struct message      *message = bus_message_get(item, channel);
        buf_putf(out, "%s\n", message == NULL ? "malformed" : "message");
        message_unref(message);
        channel_name_unref(channel);
    }
}

/* A frame comes whole: the teller gathers it and reads it from memory that ends with it, so that a read behind it is
 * noticed. */
static void tell_frame(struct cuts *cuts, void *context, struct buf *transcript)
{
    (void)context;
    struct span       input;
    size_t            kept = 0;
    struct bus_header head;
    struct bus_item   item;

    while (cuts_next(cuts, kept, &input))
        kept = input.len;
    if (!bus_header_get(&input, &head)) {
        buf_put_lit(transcript, "no header\n");
        return;
    }
    buf_putf(transcript, "%.*s %llu\n", SPAN_ARG(head.name), (unsigned long long)head.number);
    while (bus_item_get(&input, &item))
        tell_item(&item, transcript);
    buf_putf(transcript, "%zu left\n", input.len);
}

static const struct bus_item items[] = {
    { BUS_HEAD, SPAN("user:alice"), 3, 99 },
    { BUS_QUESTION, SPAN("topic:prices"), .question = 12345, .topic = 3, .body = SPAN("body") },
    { BUS_QUESTION, SPAN(""), .question = 0, .topic = 255, .body = SPAN("") },
    { BUS_QUESTION, SPAN("topic:prices"), .question = 12346, .topic = 3, .offset = 1000, .has_more = true, .body = SPAN("part") },
    { BUS_ANSWER, .question = UINT64_MAX, .body = SPAN("answer") },
    { BUS_ANSWER, .question = 1, .has_more = true, .body = SPAN("part") },
    { BUS_NOTICE, SPAN("group:lobby"), .question = 7, .topic = 8, .body = SPAN("x") },
    { BUS_BEAT },
    { BUS_PURGE, SPAN("topic:emptied"), 3, 99 },
    { .kind = BUS_TOLD, .life = UINT64_C(0x8000000000000001), .is_all = true },
    { .kind = BUS_TOLD, .life = 7 },
};

static void put_whole_frame(struct buf *buf)
{
    struct channel_name *channel = name_of(SPAN("topic:prices"));
    struct message      *message = message_of(&messages[1], channel);

    bus_header_put(buf, &header);
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++)
        bus_item_put(buf, &items[i]);
    bus_message_put(buf, message);
    message_unref(message);
    channel_name_unref(channel);
}

static void items_come_back(void **state)
{
    (void)state;
    struct bus_header head;
    struct bus_item   item;
    struct buf        buf;

    buf_init(&buf, BUS_FRAME_BYTES_MAX);
    put_whole_frame(&buf);
    struct span rest = buf_span(&buf);
    assert_true(bus_header_get(&rest, &head));
    assert_true(span_eq(head.name, header.name) && head.incarnation == header.incarnation);
    assert_true(head.receiver == header.receiver && head.number == header.number);
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
        assert_true(bus_item_get(&rest, &item));
        assert_int_equal(item.kind, items[i].kind);
        assert_true(span_eq(item.channel, items[i].channel) && span_eq(item.body, items[i].body));
        assert_true(item.epoch == items[i].epoch && item.seq == items[i].seq);
        assert_true(item.life == items[i].life && item.is_all == items[i].is_all);
        assert_true(item.question == items[i].question && item.topic == items[i].topic);
        assert_true(item.has_more == items[i].has_more && item.offset == items[i].offset);
    }
    buf_fini(&buf);
}

static void no_cut_changes_what_is_read(void **state)
{
    (void)state;
    struct buf buf, transcript;

    buf_init(&buf, BUS_FRAME_BYTES_MAX);
    put_whole_frame(&buf);
    bool holds = laws_hold(buf_span(&buf), tell_frame, NULL, 20, &transcript);
    if (!holds)
        fprintf(stderr, "%.*s\n", (int)transcript.len, transcript.at);
    assert_true(holds);
    buf_fini(&transcript);
    buf_fini(&buf);
}

/* The first `len` bytes of a frame are a shorter frame only where an item ends; else they are malformed. */
static void every_beginning_is_whole_items_or_malformed(void **state)
{
    (void)state;
    struct buf buf, transcript;
    size_t     whole_count = 0;

    buf_init(&buf, BUS_FRAME_BYTES_MAX);
    put_whole_frame(&buf);
    for (size_t len = 0; len < buf.len; len++) {
        buf_init(&transcript, 1 << 16);
        laws_tell(span_of(buf.at, len), tell_frame, NULL, &transcript);
        whole_count += memmem(transcript.at, transcript.len, "\n0 left", 7) != NULL;
        buf_fini(&transcript);
    }
    assert_int_equal(whole_count, 1 + sizeof items / sizeof items[0]);
    buf_fini(&buf);
}

/* --- what others may send --------------------------------------------------------------------------------------------- */

/* Threat 44: a later version's kinds, and what it adds behind the fields of a message. */
static void what_is_unknown_is_skipped(void **state)
{
    (void)state;
    struct channel_name *channel = name_of(SPAN("topic:a"));
    struct bus_item      item;
    struct span          frame = SPAN("\x63\x03xyz\x00\x00\xff\x01y"
                                      "\x02\x12\x07topic:a\0\0\0\0\0\0\0\1\5z"
                                      "\x01\x27\x07topic:a\0\0\0\0\0\0\0\1\5\x12"
                                      "\0\xfe\x01\x02\x03\x04\x01t\x01u\x00\x01k" "added" "pay");

    assert_true(bus_item_get(&frame, &item));
    assert_int_equal(item.kind, BUS_HEAD);
    assert_int_equal(item.seq, 5);
    assert_true(bus_item_get(&frame, &item));
    struct message *message = bus_message_get(&item, channel);
    assert_non_null(message);
    assert_true(span_eq(message_payload(message), SPAN("pay")));
    assert_true(span_eq(message_collapse_key(message), SPAN("k")));
    assert_false(message->waits_for_beat);
    assert_int_equal(frame.len, 0);
    message_unref(message);
    channel_name_unref(channel);
}

static void malformed_headers(void **state)
{
    (void)state;
    static const struct { const char *name; struct span frame; } rows[] = {
        { "empty", SPAN("") },
        { "another version", SPAN("\2\1a\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\1") },
        { "no name", SPAN("\1\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\1") },
        { "a name that is longer than the frame", SPAN("\1\x40" "a") },
        { "a name of 2^63 bytes", SPAN("\1\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01") },
        { "incarnation 0", SPAN("\1\1a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\1") },
        { "number 0", SPAN("\1\1a\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\0") },
        { "a number that is not in its shortest form", SPAN("\1\1a\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1\x81\0") },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct span       frame = rows[i].frame;
        struct bus_header head;
        if (bus_header_get(&frame, &head) || frame.len != rows[i].frame.len)
            fail_msg("%s", rows[i].name);
    }
}

static void malformed_items(void **state)
{
    (void)state;
    static const struct { const char *name; struct span item; } rows[] = {
        { "no length", SPAN("\1") },
        { "a length of 2^63", SPAN("\1\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01") },
        { "an unknown kind beyond the end", SPAN("\x63\5abc") },
        { "a head of no channel", SPAN("\2\x0a\0\0\0\0\0\0\0\0\1\1") },
        { "a message with seq 0", SPAN("\1\x0d\3a:b\0\0\0\0\0\0\0\1\0") },
        { "a channel of 234 bytes", SPAN("\2\x81\x02\xea\x01") },
        { "a question without a topic", SPAN("\3\2\0\1") },
        { "a question without flags", SPAN("\3\3\0\1\1") },
        { "an answer to nothing", SPAN("\4\0") },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct span     frame = rows[i].item;
        struct bus_item item;
        if (bus_item_get(&frame, &item) || frame.len == 0)
            fail_msg("%s", rows[i].name);
    }
}

static void malformed_messages(void **state)
{
    (void)state;
    static const struct { const char *name; struct span body; } rows[] = {
        { "nothing", SPAN("") },
        { "fields beyond the end", SPAN("\x7f\0\0") },
        { "fields of 2^63 bytes", SPAN("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01") },
        { "an unknown kind of message", SPAN("\x0a\7\0\1\1\0\0\0\0\0\0") },
        { "a field is missing", SPAN("\x09\0\0\1\1\0\0\0\0\0") },
        { "an event of 65 bytes", SPAN("\x4b\0\0\1\1\0\0\0\0\x41"
                                       "12345678123456781234567812345678123456781234567812345678123456789\0") },
    };
    struct channel_name *channel = name_of(SPAN("topic:a"));

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bus_item item = { .kind = BUS_MESSAGE, .channel = SPAN("topic:a"), .seq = 1, .body = rows[i].body };
        if (bus_message_get(&item, channel) != NULL)
            fail_msg("%s", rows[i].name);
    }
    channel_name_unref(channel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_back),
        cmocka_unit_test(items_come_back),
        cmocka_unit_test(no_cut_changes_what_is_read),
        cmocka_unit_test(every_beginning_is_whole_items_or_malformed),
        cmocka_unit_test(what_is_unknown_is_skipped),
        cmocka_unit_test(malformed_headers),
        cmocka_unit_test(malformed_items),
        cmocka_unit_test(malformed_messages),
    };
    namespaces_init(&spaces);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
