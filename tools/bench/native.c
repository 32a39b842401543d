/* Subscribers and publishers over Longwire's native protocol (docs/protocol.md, section 9). */
#include <stdio.h>
#include <string.h>

#include "bench/dialect.h"

/* Keys of fields (9.1): number << 3 | vital << 2 | form, as varints. */
#define KEY_CHANNEL  "\x16"
#define KEY_TOKEN    "\x82\x01"
#define KEY_USER     "\x8e\x01"
#define KEY_DEVICE   "\x96\x01"
#define KEY_STANDING "\x9c\x01"
#define KEY_TICKET   "\xbe\x01"
#define KEY_HEARTBEAT "\xd1\x01"

enum { NATIVE_CONNECT = 1, NATIVE_SUBSCRIBE = 2, NATIVE_PUBLISH = 4 };  /* frames of ours */

enum {  /* and of the server */
    NATIVE_CONNECTED  = 0x01,
    NATIVE_SUBSCRIBED = 0x02,
    NATIVE_PUBLISHED  = 0x04,
    NATIVE_PING       = 0x08,
    NATIVE_PONG       = 0x09,
    NATIVE_ALIAS      = 0x10,
    NATIVE_MESSAGE    = 0x11,
    NATIVE_FULL       = 0x12,
};

enum {
    NATIVE_HAS_PAYLOAD = 0x80,  /* a flag of the type */
    NATIVE_TYPE_BITS   = 0x3f,
    CHANNEL_TEXT_MAX   = 100,   /* so that all lengths of ours but a publish's have one byte */
};

struct native_cut {
    uint8_t     type;
    struct span body;
    size_t      wire_bytes;
};

static size_t native_put_channel(const struct client *client, uint32_t channel, char field[static CHANNEL_TEXT_MAX + 2])
{
    int len = snprintf(field + 2, CHANNEL_TEXT_MAX, "%s%u", client->target->prefix, channel);
    field[0] = KEY_CHANNEL[0];
    field[1] = (char)len;
    return 2 + (size_t)len;
}

static void native_put_varint(struct buf *out, size_t value)
{
    for (; value >= 0x80; value >>= 7)
        buf_putc(out, (char)(value | 0x80));
    buf_putc(out, (char)value);
}

static void native_put_text(struct buf *out, const char *key, struct span text)
{
    buf_put(out, span_str(key));
    native_put_varint(out, text.len);
    buf_put(out, text);
}

static void native_connect(struct client *client)
{
    struct buf fields;

    buf_init(&fields, 4096);
    if (client->token.len > 0)
        native_put_text(&fields, KEY_TOKEN, client->token);
    native_put_varint(&client->out, 5 + fields.len);
    buf_putc(&client->out, NATIVE_CONNECT);
    buf_put(&client->out, SPAN("LW\x01\x01"));
    buf_put(&client->out, buf_span(&fields));
    buf_fini(&fields);
}

static void native_greet_subscriber(struct client *client)
{
    char   field[CHANNEL_TEXT_MAX + 2];
    size_t len = native_put_channel(client, client->channel, field);
    native_connect(client);
    buf_putc(&client->out, (char)(1 + len));
    buf_putc(&client->out, NATIVE_SUBSCRIBE);
    buf_put(&client->out, span_of(field, len));
}

/* The user is what the channel's name says behind `user:`. With a ticket that is all that is said. */
static void native_greet_session_with(struct client *client, struct span more)
{
    struct buf fields;
    char       user[CHANNEL_TEXT_MAX];
    int        len = snprintf(user, sizeof user, "%s%u", strchr(client->target->prefix, ':') + 1, client->channel);

    buf_init(&fields, 4096);
    if (client->ticket.len > 0) {
        native_put_text(&fields, KEY_TICKET, client->ticket);
    } else {
        native_put_text(&fields, KEY_USER, span_of(user, (size_t)len));
        native_put_text(&fields, KEY_DEVICE, SPAN("bench"));
        buf_put(&fields, SPAN(KEY_STANDING));
    }
    buf_put(&fields, more);
    native_put_varint(&client->out, 5 + fields.len);
    buf_putc(&client->out, NATIVE_CONNECT);
    buf_put(&client->out, SPAN("LW\x01\x01"));
    buf_put(&client->out, buf_span(&fields));
    buf_fini(&fields);
}

static void native_greet_session(struct client *client)
{
    native_greet_session_with(client, SPAN(""));
}

/* … and follows all:NAME beside what a session follows by itself. It beats every 1,800 s, as a phone does: a million that the server asks each
 * 25 s are 40,000 questions a second, and one that is not answered in time ends its link. */
static void native_greet_session_all(struct client *client)
{
    char field[CHANNEL_TEXT_MAX + 2];
    int  len = snprintf(field + 2, CHANNEL_TEXT_MAX, "all:%s", strchr(client->target->prefix, ':') + 1);

    native_greet_session_with(client, SPAN(KEY_HEARTBEAT "\x88\x0e"));
    field[0] = KEY_CHANNEL[0];
    field[1] = (char)len;
    buf_putc(&client->out, (char)(3 + len));
    buf_putc(&client->out, NATIVE_SUBSCRIBE);
    buf_put(&client->out, span_of(field, 2 + (size_t)len));
}

/* Each publish is answered. */
static void native_publish(struct client *client, const struct outgoing *messages, size_t count)
{
    char field[CHANNEL_TEXT_MAX + 2];
    for (size_t i = 0; i < count; i++) {
        size_t len = native_put_channel(client, messages[i].channel, field);
        native_put_varint(&client->out, 2 + len + PAYLOAD_BYTES);
        buf_putc(&client->out, (char)(NATIVE_HAS_PAYLOAD | NATIVE_PUBLISH));
        buf_putc(&client->out, (char)len);
        buf_put(&client->out, span_of(field, len));
        buf_put(&client->out, span_of(messages[i].payload, PAYLOAD_BYTES));
    }
}

/* False until the whole frame is there. */
static bool native_cut(struct span bytes, struct native_cut *ret_cut)
{
    size_t len = 0, head = 0;
    for (unsigned shift = 0;; shift += 7) {
        if (head == bytes.len)
            return false;
        unsigned char byte = (unsigned char)bytes.at[head++];
        len |= (size_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            break;
    }
    if (len == 0 || bytes.len - head < len)
        return false;
    *ret_cut = (struct native_cut){ (unsigned char)bytes.at[head] & NATIVE_TYPE_BITS,
                                    span_of(bytes.at + head + 1, len - 1), head + len };
    return true;
}

static bool native_take_varint(struct span *bytes, uint64_t *ret_value)
{
    *ret_value = 0;
    for (unsigned shift = 0; bytes->len > 0 && shift < 64; shift += 7) {
        unsigned char byte = (unsigned char)bytes->at[0];
        *bytes      = span_skip(*bytes, 1);
        *ret_value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* The bytes of the field with this number. Empty: it isn't there. */
static struct span native_field(struct span fields, uint64_t number)
{
    uint64_t key, value;

    while (native_take_varint(&fields, &key)) {
        if ((key & 3) == 3)
            fields = span_skip(fields, 8);
        if ((key & 3) == 1 && !native_take_varint(&fields, &value))
            break;
        if ((key & 3) != 2)
            continue;
        if (!native_take_varint(&fields, &value) || value > fields.len)
            break;
        if (key >> 3 == number)
            return span_head(fields, value);
        fields = span_skip(fields, value);
    }
    return span_of(NULL, 0);
}

static size_t native_fault(struct span bytes, struct span fields, struct note *ret_note)
{
    enum { REASON = 13 };
    *ret_note = (struct note){ .heard = HEARD_FAULT, .payload = native_field(fields, REASON) };
    if (ret_note->payload.len == 0)
        ret_note->payload = SPAN("a gap, or a frame of an unexpected type");
    return bytes.len;
}

static size_t native_hear(struct client *client, struct span bytes, uint8_t ready, struct note *ret_note)
{
    struct native_cut cut;
    if (!native_cut(bytes, &cut))
        return 0;
    if (cut.type == ready) {
        ret_note->heard = HEARD_READY;
        return cut.wire_bytes;
    }
    const char *at;
    switch (cut.type) {
    case NATIVE_PUBLISHED:
        *ret_note = (struct note){ .heard = HEARD_ACK, .count = 1 };
        break;
    case NATIVE_MESSAGE:
    case NATIVE_FULL:
        at = payload_find(cut.body);
        if (at == NULL)
            return dialect_fault(bytes, "a message that isn't ours", ret_note);
        *ret_note = (struct note){ HEARD_PAYLOAD, span_of(at, (size_t)(cut.body.at + cut.body.len - at)), 1 };
        break;
    case NATIVE_PONG:
        *ret_note = (struct note){ .heard = HEARD_ACK, .count = 1 };
        break;
    case NATIVE_PING:
        buf_put(&client->out, SPAN("\x01\x09"));
        ret_note->heard = HEARD_NOISE;
        break;
    case NATIVE_CONNECTED:
    case NATIVE_SUBSCRIBED:
    case NATIVE_ALIAS:
        ret_note->heard = HEARD_NOISE;
        break;
    default:
        return native_fault(bytes, cut.body, ret_note);
    }
    return cut.wire_bytes;
}

static size_t native_hear_subscriber(struct client *client, struct span bytes, struct note *ret_note)
{
    return native_hear(client, bytes, NATIVE_SUBSCRIBED, ret_note);
}

static size_t native_hear_publisher(struct client *client, struct span bytes, struct note *ret_note)
{
    return native_hear(client, bytes, NATIVE_CONNECTED, ret_note);
}

static size_t native_hear_session(struct client *client, struct span bytes, struct note *ret_note)
{
    enum { TICKET = 23 };
    struct native_cut cut;
    size_t            used = native_hear(client, bytes, NATIVE_CONNECTED, ret_note);

    if (ret_note->heard == HEARD_READY && native_cut(bytes, &cut))
        ret_note->payload = native_field(cut.body, TICKET);
    return used;
}

/* Other channels of the session may be confirmed too. */
static size_t native_hear_session_all(struct client *client, struct span bytes, struct note *ret_note)
{
    enum { CHANNEL = 2 };
    struct native_cut cut;
    size_t            used = native_hear(client, bytes, NATIVE_SUBSCRIBED, ret_note);

    if (ret_note->heard == HEARD_READY && native_cut(bytes, &cut) &&
        !span_starts(native_field(cut.body, CHANNEL), SPAN("all:")))
        ret_note->heard = HEARD_NOISE;
    return used;
}

const struct dialect native_dialects[] = {
    { "longwire-native", "session", false, native_greet_session, native_hear_session, NULL },
    { "longwire-native", "session-all", false, native_greet_session_all, native_hear_session_all, NULL },
    { "longwire-native", "tcp", false, native_greet_subscriber, native_hear_subscriber, NULL },
    { "longwire-native", "beat", false, native_connect, native_hear_publisher, NULL },
    { "longwire-native", "single", false, native_connect, native_hear_publisher, native_publish },
    { "longwire-native", "acked", false, native_connect, native_hear_publisher, native_publish },
    { 0 },
};
