/* Subscribers and publishers over Longwire's native protocol (docs/protocol.md, section 9). */
#include <stdio.h>

#include "bench/dialect.h"

enum { NATIVE_CONNECT = 1, NATIVE_SUBSCRIBE = 2, NATIVE_PUBLISH = 4 };  /* frames of ours */

enum {  /* and of the server */
    NATIVE_CONNECTED  = 0x01,
    NATIVE_SUBSCRIBED = 0x02,
    NATIVE_PUBLISHED  = 0x04,
    NATIVE_PING       = 0x08,
    NATIVE_ALIAS      = 0x10,
    NATIVE_MESSAGE    = 0x11,
    NATIVE_FULL       = 0x12,
};

enum {
    NATIVE_HAS_PAYLOAD = 0x80,  /* a flag of the type */
    NATIVE_TYPE_BITS   = 0x3f,
    NATIVE_CHANNEL     = 2 << 3 | 1 << 2 | 2,  /* the key of the field: vital, bytes */
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
    field[0] = (char)NATIVE_CHANNEL;
    field[1] = (char)len;
    return 2 + (size_t)len;
}

static void native_connect(struct client *client)
{
    static const char connect[] = { 5, NATIVE_CONNECT, 'L', 'W', 1, 1 };
    buf_put(&client->out, span_of(connect, sizeof connect));
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

static void native_put_varint(struct buf *out, size_t value)
{
    for (; value >= 0x80; value >>= 7)
        buf_putc(out, (char)(value | 0x80));
    buf_putc(out, (char)value);
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
    case NATIVE_PING:
        buf_put(&client->out, SPAN("\x01\x09"));
        ret_note->heard = HEARD_NOISE;
        break;
    case NATIVE_CONNECTED:
    case NATIVE_ALIAS:
        ret_note->heard = HEARD_NOISE;
        break;
    default:
        return dialect_fault(bytes, "an unexpected frame: an error, a gap or a close", ret_note);
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

const struct dialect native_dialects[] = {
    { "longwire-native", "tcp", false, native_greet_subscriber, native_hear_subscriber, NULL },
    { "longwire-native", "single", false, native_connect, native_hear_publisher, native_publish },
    { "longwire-native", "acked", false, native_connect, native_hear_publisher, native_publish },
    { 0 },
};
