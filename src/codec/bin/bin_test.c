/* docs/protocol.md section 9 as tables: frames and their exact bytes, each rule with the byte that breaks it, and the law that
 * no cut of the bytes changes the frames. Threat 98. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/rng.h"
#include "codec/bin/bin_alias.h"
#include "lib/bin_transcript.h"
#include "lib/laws.h"

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

enum { FRAME_MAX = 4096, RANDOM_CUTS = 20 };

/* --- frames and their bytes --- */

static void expect_bytes(const char *name, enum bin_side side, const struct bin_frame *frame, struct span want)
{
    struct buf buf;

    buf_init(&buf, FRAME_MAX);
    bin_put(&buf, side, frame);
    if (!span_eq(buf_span(&buf), want)) {
        for (size_t i = 0; i < buf.len; i++)
            fprintf(stderr, "\\x%02x", (uint8_t)buf.at[i]);
        fail_msg("%s: other bytes", name);
    }
    buf_fini(&buf);
}

static void a_heartbeat_has_two_bytes(void **state)
{
    struct bin_frame frame;

    (void)state;
    bin_init(&frame, BIN_PING);
    expect_bytes("ping of a client", BIN_CLIENT, &frame, SPAN("\x01\x08"));
    expect_bytes("ping of a server", BIN_SERVER, &frame, SPAN("\x01\x08"));
    bin_init(&frame, BIN_PONG);
    expect_bytes("pong", BIN_SERVER, &frame, SPAN("\x01\x09"));
}

static void the_frames_of_the_page(void **state)
{
    struct bin_frame frame;

    (void)state;
    bin_init(&frame, BIN_CONNECT);
    bin_set_bytes(&frame, BIN_TOKEN, SPAN("key"));
    expect_bytes("connect", BIN_CLIENT, &frame, SPAN("\x0b\x01LW\x01\x01\x86\x01\x03key"));

    bin_init(&frame, BIN_SUBSCRIBE);
    bin_set_bytes(&frame, BIN_CHANNEL, SPAN("topic:a"));
    bin_set_number(&frame, BIN_AFTER, 0);
    expect_bytes("subscribe", BIN_CLIENT, &frame, SPAN("\x0d\x02\x16\x07topic:a\x95\x02\x00"));

    bin_init(&frame, BIN_PUBLISH);
    bin_set_bytes(&frame, BIN_CHANNEL, SPAN("topic:a"));
    bin_set_number(&frame, BIN_REF, 1);
    frame.payload = SPAN("hello");
    expect_bytes("publish", BIN_CLIENT, &frame, SPAN("\x12\x84\x0b\x0d\x01\x16\x07topic:ahello"));

    bin_init(&frame, BIN_CONNECT);
    bin_set_number(&frame, BIN_CONNECTION, UINT64_C(0x0102030405060708));
    bin_set_number(&frame, BIN_HEARTBEAT, 25);
    bin_set_number(&frame, BIN_VERSION_NO, 1);
    expect_bytes("connected", BIN_SERVER, &frame,
                 SPAN("\x11\x01\xab\x01\x01\x02\x03\x04\x05\x06\x07\x08\xd1\x01\x19\xe9\x03\x01"));
}

static void a_message_on_a_link_at_rest_has_7_bytes_beside_its_payload(void **state)
{
    struct bin_frame frame;

    (void)state;
    bin_init(&frame, BIN_MESSAGE);
    bin_set_number(&frame, BIN_ALIAS_NO, 0);
    bin_set_number(&frame, BIN_SEQ, 1);
    bin_set_number(&frame, BIN_ID, 1);
    bin_set_number(&frame, BIN_TIME, 266);
    frame.payload = SPAN("hello");
    expect_bytes("message", BIN_SERVER, &frame, SPAN("\x0b\x11\x00\x01\x01\x8a\x02hello"));

    bin_set_bytes(&frame, BIN_FROM, SPAN("ann"));
    frame.is_before = true;
    expect_bytes("with a field, before the bases", BIN_SERVER, &frame,
                 SPAN("\x11\xd1\x00\x01\x01\x8a\x02\x05\x42\x03" "annhello"));
}

/* --- there and back: any frame that can be put is read as it was --- */

static const enum bin_type client_types[] = { BIN_CONNECT, BIN_SUBSCRIBE, BIN_UNSUBSCRIBE, BIN_PUBLISH, BIN_CURSOR,
                                              BIN_ACK, BIN_READ, BIN_PING, BIN_PONG };
static const enum bin_type server_types[] = { BIN_CONNECT, BIN_SUBSCRIBE, BIN_UNSUBSCRIBE, BIN_PUBLISH, BIN_CURSOR,
                                              BIN_ACK, BIN_READ, BIN_PING, BIN_PONG, BIN_ALIAS, BIN_MESSAGE, BIN_FULL,
                                              BIN_GAP, BIN_NOTIFY, BIN_JOIN, BIN_LEAVE, BIN_HERE, BIN_ERROR, BIN_RECONNECT,
                                              BIN_REPLACED, BIN_EXPIRING, BIN_CLOSING };

static uint64_t number_of_any_length(struct rng *rng)
{
    return rng_next(rng) >> rng_below(rng, 64);
}

/* Whether a type has a field is found by reading: this test knows no table. */
static bool type_has(enum bin_side side, enum bin_type type, unsigned field, unsigned form)
{
    char             bytes[16] = { (char)(type == BIN_MESSAGE ? type | BIN_PAYLOAD : type) };
    size_t           len       = 1;
    struct bin_frame frame;
    const char      *reason;

    if (side == BIN_CLIENT && type == BIN_CONNECT) {
        memcpy(bytes + len, "LW\1\1", 4);
        len += 4;
    }
    if (type == BIN_MESSAGE) {
        len += 4;
        bytes[len++] = (char)(form == 3 ? 10 : form == 0 ? 2 : 3);
    }
    unsigned key = field << 3 | 4 | form;
    bytes[len++] = (char)(key | 0x80);
    bytes[len++] = (char)(key >> 7);
    if ((key >> 7) == 0) {
        bytes[--len - 1] = (char)key;
        if (type == BIN_MESSAGE)
            bytes[len - 2] = (char)(bytes[len - 2] - 1);
    }
    len += form == 3 ? 8 : form == 0 ? 0 : 1;
    return bin_read(span_of(bytes, len), side, &frame, &reason) == BIN_OK && frame.has >> field & 1;
}

static void fill_field(struct bin_frame *frame, unsigned field, unsigned form, struct rng *rng, struct buf *places)
{
    static const char text[] = "topic:prices/\xc3\xa4hm und so weiter, eine lange Zeile mit mehr als einhundertundachtundzwanzig "
                               "Zeichen, damit die L\xc3\xa4nge zwei Bytes braucht";

    if (field == BIN_RESUME) {
        buf_clear(places);
        for (uint64_t i = rng_below(rng, 5) + 1; i > 0; i--)
            bin_put_place(places, &(struct bin_place){ SPAN("group:lobby"), number_of_any_length(rng),
                                                       rng_below(rng, 2) * rng_next(rng) });
        bin_set_bytes(frame, BIN_RESUME, buf_span(places));
    } else if (form == 2) {
        bin_set_bytes(frame, (enum bin_field)field, span_of(text, rng_below(rng, 2) ? 13 : sizeof text - 1));
    } else {
        bin_set_number(frame, (enum bin_field)field, form == 0 ? 0 : number_of_any_length(rng));
    }
}

static void fill_frame(struct bin_frame *frame, enum bin_side side, enum bin_type type, struct rng *rng,
                       struct buf *places)
{
    bin_init(frame, type);
    for (unsigned field = 1; field < BIN_FIELD_COUNT; field++)
        for (unsigned form = 0; form < 4; form++)
            if (type_has(side, type, field, form) && rng_below(rng, 2) == 0)
                fill_field(frame, field, form, rng, places);
    if (side == BIN_CLIENT && type == BIN_CONNECT)
        frame->version_max = (uint8_t)rng_below(rng, 256);
    if (type == BIN_MESSAGE) {
        frame->is_before = rng_below(rng, 2) == 0;
        bin_set_number(frame, BIN_ALIAS_NO, rng_below(rng, BIN_ALIAS_COUNT));
        bin_set_number(frame, BIN_SEQ, number_of_any_length(rng));
        bin_set_number(frame, BIN_ID, number_of_any_length(rng));
        bin_set_number(frame, BIN_TIME, number_of_any_length(rng));
    }
    if ((type == BIN_PUBLISH && side == BIN_CLIENT) || type == BIN_MESSAGE || type == BIN_FULL)
        frame->payload = rng_below(rng, 2) == 0 ? SPAN("") : SPAN("{\"n\":1}\0\xff");
}

static void expect_same(const struct bin_frame *frame, const struct bin_frame *other)
{
    assert_int_equal(frame->type, other->type);
    assert_true(frame->has == other->has && frame->is_before == other->is_before);
    assert_int_equal(frame->version_min, other->version_min);
    assert_int_equal(frame->version_max, other->version_max);
    assert_true(span_eq(frame->payload, other->payload));
    for (unsigned field = 1; field < BIN_FIELD_COUNT; field++)
        for (unsigned form = 1; form < 4 && bin_has(frame, (enum bin_field)field); form++)
            if (type_has(BIN_CLIENT, frame->type, field, form) || type_has(BIN_SERVER, frame->type, field, form)) {
                if (form == 2)
                    assert_true(span_eq(frame->at[field].bytes, other->at[field].bytes));
                else
                    assert_true(frame->at[field].number == other->at[field].number);
            }
}

static void put_and_read(enum bin_side side, enum bin_type type, struct rng *rng)
{
    struct buf       places, wire;
    struct bin_frame frame, again;
    struct span      bytes;
    struct bin_fault fault;
    size_t           used;
    const char      *reason = NULL;

    buf_init(&places, FRAME_MAX);
    buf_init(&wire, FRAME_MAX);
    fill_frame(&frame, side, type, rng, &places);
    bin_put(&wire, side, &frame);
    assert_int_equal(bin_split(buf_span(&wire), FRAME_MAX, &bytes, &used, &fault), BIN_SPLIT_FRAME);
    assert_int_equal(used, wire.len);
    if (bin_read(bytes, side, &again, &reason) != BIN_OK)
        fail_msg("type %02x: %s", type, reason);
    expect_same(&frame, &again);
    buf_fini(&wire);
    buf_fini(&places);
}

static void what_is_put_is_read(void **state)
{
    struct rng rng = { 7 };

    (void)state;
    for (unsigned draw = 0; draw < 100; draw++) {
        for (size_t i = 0; i < COUNT(client_types); i++)
            put_and_read(BIN_CLIENT, client_types[i], &rng);
        for (size_t i = 0; i < COUNT(server_types); i++)
            put_and_read(BIN_SERVER, server_types[i], &rng);
    }
}

static void the_frequent_frames_are_the_same_bytes(void **state)
{
    static const struct span payloads[] = { SPAN(""), SPAN("hello"), SPAN(
        "more than one hundred and twenty-seven bytes, so that the length of the frame takes two bytes instead of one, whatever else stands "
        "in the frame") };
    struct rng       rng = { 11 };
    struct buf       plain, straight;
    struct bin_frame frame;

    (void)state;
    buf_init(&plain, FRAME_MAX);
    buf_init(&straight, FRAME_MAX);
    for (unsigned draw = 0; draw < 1000; draw++) {
        struct bin_message   message   = { rng_below(&rng, BIN_ALIAS_COUNT), number_of_any_length(&rng), number_of_any_length(&rng),
                                           number_of_any_length(&rng), draw % 2 == 0, payloads[draw % COUNT(payloads)] };
        struct bin_published published = { draw % 3 == 0 ? SPAN("live:a") : payloads[2], number_of_any_length(&rng),
                                           number_of_any_length(&rng), number_of_any_length(&rng), number_of_any_length(&rng),
                                           number_of_any_length(&rng), draw % 5 == 0, draw % 2 == 0 };

        buf_clear(&plain);
        buf_clear(&straight);
        bin_init(&frame, BIN_MESSAGE);
        frame.is_before = message.is_before;
        frame.payload   = message.payload;
        bin_set_number(&frame, BIN_ALIAS_NO, message.alias);
        bin_set_number(&frame, BIN_SEQ, message.seq);
        bin_set_number(&frame, BIN_ID, message.id);
        bin_set_number(&frame, BIN_TIME, message.time);
        bin_put(&plain, BIN_SERVER, &frame);
        bin_put_message(&straight, &message);

        bin_init(&frame, BIN_PUBLISH);
        bin_set_bytes(&frame, BIN_CHANNEL, published.channel);
        bin_set_number(&frame, BIN_EPOCH, published.epoch);
        bin_set_number(&frame, BIN_SEQ, published.seq);
        bin_set_number(&frame, BIN_ID, published.id);
        bin_set_number(&frame, BIN_TIME, published.time);
        bin_set_flag(&frame, BIN_REPLAYED, published.is_replayed);
        if (published.has_ref)
            bin_set_number(&frame, BIN_REF, published.ref);
        bin_put(&plain, BIN_SERVER, &frame);
        bin_put_published(&straight, &published);
        assert_true(plain.len > 0 && span_eq(buf_span(&plain), buf_span(&straight)));
    }
    buf_fini(&plain);
    buf_fini(&straight);
}

/* --- threat 98: lengths, varints, types, flags and fields that can't be --- */

static void a_length_that_breaks_a_rule_is_a_fault_at_that_byte(void **state)
{
    static const struct { const char *name; struct span wire; uint16_t want; } rows[] = {
        { "length 0", SPAN("\x00"), 1002 },
        { "not the shortest", SPAN("\x81\x00"), 1002 },
        { "not the shortest, 5 bytes", SPAN("\x80\x80\x80\x80\x00"), 1002 },
        { "a varint of 10 bytes: seen at the fifth", SPAN("\xff\xff\xff\xff\xff"), 1002 },
        { "one above the limit", SPAN("\x81\x20"), 1009 },
        { "2^31", SPAN("\x80\x80\x80\x80\x08"), 1009 },
        { "2^32-1", SPAN("\xff\xff\xff\xff\x0f"), 1009 },
        { "2^35-1", SPAN("\xff\xff\xff\xff\x7f"), 1009 },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t len = 0; len <= rows[i].wire.len; len++) {
            struct span      frame;
            size_t           used;
            struct bin_fault fault = { 0 };
            enum bin_split   split = bin_split(span_head(rows[i].wire, len), FRAME_MAX, &frame, &used, &fault);
            if (split != (len == rows[i].wire.len ? BIN_SPLIT_FAULT : BIN_SPLIT_MORE) ||
                fault.code != (split == BIN_SPLIT_FAULT ? rows[i].want : 0))
                fail_msg("%s: %d with code %d after %zu bytes", rows[i].name, split, fault.code, len);
        }
}

static void what_a_frame_needs_is_told_with_its_length(void **state)
{
    struct span      frame;
    size_t           used;
    struct bin_fault fault;

    (void)state;
    assert_int_equal(bin_split(SPAN("\x05\x08"), FRAME_MAX, &frame, &used, &fault), BIN_SPLIT_MORE);
    assert_int_equal(used, 6);
    assert_int_equal(bin_split(SPAN("\x80"), FRAME_MAX, &frame, &used, &fault), BIN_SPLIT_MORE);
    assert_int_equal(used, 0);
}

static void frames_that_are_not_understood(void **state)
{
    static const struct { const char *name; enum bin_side side; struct span bytes; enum bin_verdict want; } rows[] = {
        { "unknown type", BIN_CLIENT, SPAN("\x3f"), BIN_UNKNOWN },
        { "a server's type from a client", BIN_CLIENT, SPAN("\x11\0\1\1\1x"), BIN_UNKNOWN },
        { "unknown flag", BIN_CLIENT, SPAN("\x48"), BIN_UNKNOWN },
        { "a payload where there is none", BIN_CLIENT, SPAN("\x88\0"), BIN_UNKNOWN },
        { "unknown field, not vital: skipped", BIN_CLIENT, SPAN("\x05\xf9\x03\x07\x0d\x02"), BIN_OK },
        { "of each form", BIN_CLIENT, SPAN("\x05\xf0\x03\xf9\x03\x07\xfa\x03\x02xy\xfb\x03" "12345678\x0d\x02"), BIN_OK },
        { "beyond all numbers", BIN_CLIENT, SPAN("\x05\xf9\xff\x7f\x07"), BIN_OK },
        { "unknown field, vital", BIN_CLIENT, SPAN("\x05\xfd\x03\x07\x0d\x02"), BIN_UNKNOWN },
        { "a field of other frames, vital", BIN_CLIENT, SPAN("\x05\x25\x07"), BIN_UNKNOWN },
        { "a field of other frames", BIN_CLIENT, SPAN("\x05\x21\x07"), BIN_OK },
        { "field number 0", BIN_CLIENT, SPAN("\x05\x01\x07"), BIN_OK },
        { "another form", BIN_CLIENT, SPAN("\x05\x08"), BIN_MALFORMED },
        { "twice", BIN_CLIENT, SPAN("\x05\x0d\x02\x0d\x02"), BIN_MALFORMED },
        { "a value that ends behind its frame", BIN_CLIENT, SPAN("\x02\x16\x07topic"), BIN_MALFORMED },
        { "a length of 2^63", BIN_CLIENT, SPAN("\x02\x16\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), BIN_MALFORMED },
        { "a number without its end", BIN_CLIENT, SPAN("\x05\x0d\x80"), BIN_MALFORMED },
        { "a number of 11 bytes", BIN_CLIENT, SPAN("\x05\x0d\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), BIN_MALFORMED },
        { "a number of 65 bits", BIN_CLIENT, SPAN("\x05\x0d\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), BIN_MALFORMED },
        { "a number of 64 bits", BIN_CLIENT, SPAN("\x05\x0d\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), BIN_OK },
        { "a number not in its shortest form", BIN_CLIENT, SPAN("\x05\x0d\x81\x00"), BIN_MALFORMED },
        { "a key not in its shortest form", BIN_CLIENT, SPAN("\x05\x8d\x00\x01"), BIN_MALFORMED },
        { "a fixed of 7 bytes", BIN_CLIENT, SPAN("\x02\x1f\x01\x02\x03\x04\x05\x06\x07"), BIN_MALFORMED },
        { "a text that isn't UTF-8", BIN_CLIENT, SPAN("\x02\x16\x01\xff"), BIN_MALFORMED },
        { "fields longer than the frame", BIN_CLIENT, SPAN("\x84\x05\x16"), BIN_MALFORMED },
        { "no length of the fields", BIN_CLIENT, SPAN("\x84"), BIN_MALFORMED },
        { "a connect without LW", BIN_CLIENT, SPAN("\x01LX\1\1"), BIN_MALFORMED },
        { "a connect without versions", BIN_CLIENT, SPAN("\x01LW\1"), BIN_MALFORMED },
        { "a place that is cut", BIN_CLIENT, SPAN("\x01LW\1\1\xc6\x01\x04\x03" "abc"), BIN_MALFORMED },
        { "a place with half an epoch", BIN_CLIENT, SPAN("\x01LW\1\1\xc6\x01\x05\x01" "a\1\4\0"), BIN_MALFORMED },
        { "an empty message", BIN_SERVER, SPAN("\x11\0\1\1\1"), BIN_OK },
        { "a message without its time", BIN_SERVER, SPAN("\x11\0\1\1"), BIN_MALFORMED },
        { "an unknown field of a message", BIN_SERVER, SPAN("\x91\0\1\1\1\3\xf9\x03\x07x"), BIN_OK },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct bin_frame frame;
        const char      *reason = "-";
        if (bin_read(rows[i].bytes, rows[i].side, &frame, &reason) != rows[i].want)
            fail_msg("%s: %s", rows[i].name, reason);
    }
}

static void the_ref_of_a_frame_that_is_refused_is_known(void **state)
{
    struct bin_frame frame;
    const char      *reason;

    (void)state;
    assert_int_equal(bin_read(SPAN("\x05\xfd\x03\x07\x0d\x2a"), BIN_CLIENT, &frame, &reason), BIN_UNKNOWN);
    assert_int_equal(bin_number(&frame, BIN_REF), 42);
}

/* --- the first bytes of a link, threat 99 --- */

static void first_bytes(void **state)
{
    static const struct { const char *name; struct span bytes; enum bin_opening want; const char *guess; } rows[] = {
        { "nothing", SPAN(""), BIN_OPENING_MORE, NULL },
        { "a length", SPAN("\x80\x20"), BIN_OPENING_MORE, NULL },
        { "a type", SPAN("\x05\x01"), BIN_OPENING_MORE, NULL },
        { "half of the name", SPAN("\x05\x01L"), BIN_OPENING_MORE, NULL },
        { "a connect", SPAN("\x05\x01LW\1\1"), BIN_OPENING_YES, NULL },
        { "a long one", SPAN("\x80\x80\x10\x01LW"), BIN_OPENING_YES, NULL },
        { "too long a one", SPAN("\x80\x80\x80"), BIN_OPENING_NO, "something else" },
        { "a ping", SPAN("\x01\x08"), BIN_OPENING_NO, "something else" },
        { "HTTP", SPAN("GET / HTTP/1.1\r\n"), BIN_OPENING_NO, "HTTP" },
        { "HTTP/2", SPAN("PRI * HTTP/2.0\r\n"), BIN_OPENING_NO, "HTTP/2" },
        { "TLS", SPAN("\x16\x03\x01\x02\x00\x01"), BIN_OPENING_NO, "TLS" },
        { "MQTT", SPAN("\x10\x0c\0\4MQTT\4\2"), BIN_OPENING_NO, "MQTT" },
        { "MQTT with a long name", SPAN("\x10\x8c\x01\0\4MQTT\4\2"), BIN_OPENING_NO, "MQTT" },
        { "Redis", SPAN("*1\r\n$4\r\nPING\r\n"), BIN_OPENING_NO, "Redis" },
        { "SSH", SPAN("SSH-2.0-"), BIN_OPENING_NO, "SSH" },
        { "PROXY", SPAN("PROXY TCP4 "), BIN_OPENING_NO, "the PROXY protocol" },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (bin_judge_opening(rows[i].bytes) != rows[i].want)
            fail_msg("%s", rows[i].name);
        if (rows[i].guess != NULL)
            assert_string_equal(bin_guess_protocol(rows[i].bytes), rows[i].guess);
    }
}

/* --- aliases --- */

static bool take(struct bin_aliases *aliases, struct span bytes, struct bin_frame *frame)
{
    const char *reason;

    assert_int_equal(bin_read(bytes, BIN_SERVER, frame, &reason), BIN_OK);
    return bin_aliases_take(aliases, frame);
}

static void announce(struct bin_aliases *aliases, uint64_t number, struct span channel)
{
    struct bin_frame frame;

    bin_init(&frame, BIN_ALIAS);
    bin_set_number(&frame, BIN_ALIAS_NO, number);
    bin_set_bytes(&frame, BIN_CHANNEL, channel);
    bin_set_number(&frame, BIN_EPOCH, 9);
    bin_set_number(&frame, BIN_SEQ, 100);
    bin_set_number(&frame, BIN_ID, 1000);
    bin_set_number(&frame, BIN_TIME, 10000);
    bin_set_bytes(&frame, BIN_MEDIA, SPAN("text/plain"));
    bin_set_bytes(&frame, BIN_FROM, SPAN("ann"));
    assert_true(bin_aliases_take(aliases, &frame));
}

static void a_message_by_alias_is_made_whole(void **state)
{
    struct bin_aliases aliases;
    struct bin_frame   frame;

    (void)state;
    bin_aliases_init(&aliases);
    assert_false(take(&aliases, SPAN("\x11\x03\1\2\3x"), &frame));
    announce(&aliases, 3, SPAN("topic:a"));
    assert_false(take(&aliases, SPAN("\x11\x04\1\2\3x"), &frame));
    assert_true(take(&aliases, SPAN("\x11\x03\1\2\3x"), &frame));
    assert_int_equal(frame.type, BIN_FULL);
    assert_true(span_eq(bin_bytes(&frame, BIN_CHANNEL), SPAN("topic:a")));
    assert_true(span_eq(bin_bytes(&frame, BIN_MEDIA), SPAN("text/plain")));
    assert_true(span_eq(bin_bytes(&frame, BIN_FROM), SPAN("ann")));
    assert_true(bin_number(&frame, BIN_SEQ) == 101 && bin_number(&frame, BIN_ID) == 1002);
    assert_true(bin_number(&frame, BIN_TIME) == 10003 && bin_number(&frame, BIN_EPOCH) == 9);
    assert_false(bin_has(&frame, BIN_ALIAS_NO));
    assert_true(take(&aliases, SPAN("\xd1\x03\1\2\3\x05\x42\x03" "bobx"), &frame));
    assert_true(bin_number(&frame, BIN_SEQ) == 99 && bin_number(&frame, BIN_TIME) == 9997);
    assert_true(span_eq(bin_bytes(&frame, BIN_FROM), SPAN("bob")) && span_eq(frame.payload, SPAN("x")));
    bin_aliases_fini(&aliases);
}

static void the_last_announcement_counts(void **state)
{
    struct bin_aliases aliases;
    struct bin_frame   frame;

    (void)state;
    bin_aliases_init(&aliases);
    announce(&aliases, BIN_ALIAS_COUNT - 1, SPAN("topic:a"));
    announce(&aliases, BIN_ALIAS_COUNT - 1, SPAN("topic:b"));
    assert_true(take(&aliases, SPAN("\x14\x59\xff\x7f\x51\x07"), &frame));
    assert_true(span_eq(bin_bytes(&frame, BIN_CHANNEL), SPAN("topic:b")) && bin_number(&frame, BIN_HEAD) == 7);
    bin_init(&frame, BIN_ALIAS);
    bin_set_number(&frame, BIN_ALIAS_NO, BIN_ALIAS_COUNT);
    bin_set_bytes(&frame, BIN_CHANNEL, SPAN("topic:c"));
    assert_false(bin_aliases_take(&aliases, &frame));
    bin_aliases_fini(&aliases);
}

/* --- the law --- */

static void no_cut_changes_the_frames(void **state)
{
    static const struct { const char *name; enum bin_side side; struct span wire; } rows[] = {
        { "of a client", BIN_CLIENT,
          SPAN("\x0b\x01LW\x01\x01\x86\x01\x03key\x0d\x02\x16\x07topic:a\x95\x02\x00\x01\x08"
               "\x12\x84\x0b\x0d\x01\x16\x07topic:ahello\x03\x05\x0d\x05\x01\x3f\x01\x08") },
        { "of a server", BIN_SERVER,
          SPAN("\x11\x01\xab\x01\x01\x02\x03\x04\x05\x06\x07\x08\xd1\x01\x19\xe9\x03\x01\x0b\x11\x00\x01\x01\x8a\x02hello"
               "\x01\x08\x04\x20\x61\x90\x03\x01\x22") },
        { "with a malformed frame", BIN_CLIENT, SPAN("\x01\x08\x03\x05\x08\x02\x01\x08") },
        { "with a fault", BIN_CLIENT, SPAN("\x01\x08\x01\x09\x00\x01\x08") },
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf                   transcript;
        struct bin_transcript_limits limits = { rows[i].side, FRAME_MAX };
        if (!laws_hold(rows[i].wire, bin_transcript, &limits, RANDOM_CUTS, &transcript))
            fail_msg("%s: %.*s", rows[i].name, SPAN_ARG(buf_span(&transcript)));
        buf_fini(&transcript);
    }
}

static void any_bytes_read_the_same_for_every_cut(void **state)
{
    struct rng rng = { 11 };

    (void)state;
    for (unsigned draw = 0; draw < 300; draw++) {
        char                         wire[64];
        struct buf                   transcript;
        struct bin_transcript_limits limits = { draw % 2 == 0 ? BIN_CLIENT : BIN_SERVER, 32 };
        size_t                       len    = rng_below(&rng, sizeof wire);
        for (size_t i = 0; i < len; i++)
            wire[i] = (char)(rng_next(&rng) >> rng_below(&rng, 8));
        if (!laws_hold(span_of(wire, len), bin_transcript, &limits, 3, &transcript))
            fail_msg("%.*s", SPAN_ARG(buf_span(&transcript)));
        buf_fini(&transcript);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_heartbeat_has_two_bytes),
        cmocka_unit_test(the_frames_of_the_page),
        cmocka_unit_test(a_message_on_a_link_at_rest_has_7_bytes_beside_its_payload),
        cmocka_unit_test(what_is_put_is_read),
        cmocka_unit_test(the_frequent_frames_are_the_same_bytes),
        cmocka_unit_test(a_length_that_breaks_a_rule_is_a_fault_at_that_byte),
        cmocka_unit_test(what_a_frame_needs_is_told_with_its_length),
        cmocka_unit_test(frames_that_are_not_understood),
        cmocka_unit_test(the_ref_of_a_frame_that_is_refused_is_known),
        cmocka_unit_test(first_bytes),
        cmocka_unit_test(a_message_by_alias_is_made_whole),
        cmocka_unit_test(the_last_announcement_counts),
        cmocka_unit_test(no_cut_changes_the_frames),
        cmocka_unit_test(any_bytes_read_the_same_for_every_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
