/* Redis (RESP2 over TCP): pub/sub; the "acked" publisher appends to streams with XADD. */
#include "bench/dialect.h"

#include <stdio.h>

static struct span resp_channel(const struct client *client, uint32_t channel, char *scratch, size_t room_bytes)
{
    int len = snprintf(scratch, room_bytes, "%s%u", client->target->prefix, channel);
    return span_of(scratch, (size_t)len);
}

static void resp_put(struct buf *out, struct span text)
{
    buf_putc(out, '$');
    buf_put_u64(out, text.len);
    buf_put_lit(out, "\r\n");
    buf_put(out, text);
    buf_put_lit(out, "\r\n");
}

static void resp_greet_subscriber(struct client *client)
{
    char scratch[256];
    buf_put_lit(&client->out, "*2\r\n");
    resp_put(&client->out, SPAN("SUBSCRIBE"));
    resp_put(&client->out, resp_channel(client, client->channel, scratch, sizeof scratch));
}

static void resp_greet_publisher(struct client *client)
{
    (void)client;  /* Redis needs no words before the first command */
}

/* Cuts "Xdigits\r\n" off: the type byte and the number. False while the line isn't whole. */
static bool resp_line(struct span *rest, char *ret_type, struct span *ret_text)
{
    const char *end = memmem(rest->at, rest->len, "\r\n", 2);
    if (end == NULL || end == rest->at)
        return false;
    size_t len = (size_t)(end - rest->at);
    *ret_type  = rest->at[0];
    *ret_text  = span_of(rest->at + 1, len - 1);
    *rest      = span_skip(*rest, len + 2);
    return true;
}

enum resp_verdict { RESP_PART, RESP_WHOLE, RESP_BAD };

/* One element of a push: a bulk string, or a number, whose text is given. */
static enum resp_verdict resp_element(struct span *rest, struct span *ret_element)
{
    char        type;
    struct span text;
    uint64_t    len;
    if (!resp_line(rest, &type, &text))
        return RESP_PART;
    if (type == ':') {
        *ret_element = text;
        return RESP_WHOLE;
    }
    if (type != '$' || !span_u64(text, &len))
        return RESP_BAD;
    if (rest->len < len + 2)
        return RESP_PART;
    *ret_element = span_of(rest->at, len);
    *rest        = span_skip(*rest, len + 2);
    return RESP_WHOLE;
}

/* A subscriber gets arrays of three: the kind, the channel, and the payload or a count. */
static size_t resp_hear_subscriber(struct client *client, struct span bytes, struct note *ret_note)
{
    (void)client;
    if (bytes.len < 4)
        return 0;
    if (!span_starts(bytes, SPAN("*3\r\n")))
        return dialect_fault(bytes, "an answer from Redis that isn't a push of three", ret_note);
    struct span rest = span_skip(bytes, 4), element[3];
    for (int i = 0; i < 3; i++) {
        enum resp_verdict verdict = resp_element(&rest, &element[i]);
        if (verdict == RESP_PART)
            return 0;
        if (verdict == RESP_BAD)
            return dialect_fault(bytes, "a push from Redis of unexpected form", ret_note);
    }
    if (span_eq(element[0], SPAN("message")))
        *ret_note = (struct note){ HEARD_PAYLOAD, element[2], 1 };
    else
        ret_note->heard = HEARD_READY;
    return bytes.len - rest.len;
}

/* PUBLISH answers with a number, XADD with the entry's id. */
static size_t resp_hear_publisher(struct client *client, struct span bytes, struct note *ret_note)
{
    (void)client;
    struct span rest = bytes, element;
    switch (resp_element(&rest, &element)) {
    case RESP_PART:
        return 0;
    case RESP_BAD:
        *ret_note = (struct note){ .heard = HEARD_FAULT, .payload = bytes };
        return bytes.len;
    case RESP_WHOLE:
        break;
    }
    *ret_note = (struct note){ .heard = HEARD_ACK, .count = 1 };
    return bytes.len - rest.len;
}

static void resp_publish(struct client *client, const struct outgoing *messages, size_t count)
{
    char scratch[256];
    for (size_t i = 0; i < count; i++) {
        buf_put_lit(&client->out, "*3\r\n$7\r\nPUBLISH\r\n");
        resp_put(&client->out, resp_channel(client, messages[i].channel, scratch, sizeof scratch));
        resp_put(&client->out, span_of(messages[i].payload, PAYLOAD_BYTES));
    }
}

static void resp_publish_acked(struct client *client, const struct outgoing *messages, size_t count)
{
    char scratch[256];
    for (size_t i = 0; i < count; i++) {
        buf_put_lit(&client->out, "*5\r\n$4\r\nXADD\r\n");
        resp_put(&client->out, resp_channel(client, messages[i].channel, scratch, sizeof scratch));
        buf_put_lit(&client->out, "$1\r\n*\r\n$1\r\nd\r\n");
        resp_put(&client->out, span_of(messages[i].payload, PAYLOAD_BYTES));
    }
}

const struct dialect resp_dialects[] = {
    { "redis", "tcp", false, resp_greet_subscriber, resp_hear_subscriber, NULL },
    { "redis", "single", true, resp_greet_publisher, resp_hear_publisher, resp_publish },
    { "redis", "acked", true, resp_greet_publisher, resp_hear_publisher, resp_publish_acked },
    { 0 },
};
