/* Core NATS over TCP: subscribers and publishers, without acknowledgements ("verbose":false). */
#include "bench/dialect.h"

#define NATS_CONNECT "CONNECT {\"verbose\":false,\"pedantic\":false,\"name\":\"bench\"}\r\n"

/* The server's INFO comes first, but nobody has to wait for it. PONG tells that all before PING was done. */
static void nats_greet_subscriber(struct client *client)
{
    buf_putf(&client->out, NATS_CONNECT "SUB %s%u 1\r\nPING\r\n", client->target->prefix, client->channel);
}

static void nats_greet_publisher(struct client *client)
{
    buf_put_lit(&client->out, NATS_CONNECT "PING\r\n");
}

/* MSG subject sid bytes: all our messages have one size, and the payload follows the line. */
static size_t nats_hear_message(struct span bytes, size_t line_bytes, struct note *ret_note)
{
    if (bytes.len - line_bytes < PAYLOAD_BYTES + 2)
        return 0;
    if (!span_starts(span_of(bytes.at + line_bytes - 6, 6), SPAN(" 128\r\n")))
        return dialect_fault(bytes, "a NATS message that isn't ours", ret_note);
    *ret_note = (struct note){ HEARD_PAYLOAD, span_of(bytes.at + line_bytes, PAYLOAD_BYTES), 1 };
    return line_bytes + PAYLOAD_BYTES + 2;
}

static size_t nats_hear(struct client *client, struct span bytes, struct note *ret_note)
{
    const char *end = memmem(bytes.at, bytes.len, "\r\n", 2);
    if (end == NULL)
        return 0;
    struct span line = span_of(bytes.at, (size_t)(end - bytes.at) + 2);
    if (span_starts(line, SPAN("MSG ")))
        return nats_hear_message(bytes, line.len, ret_note);

    if (span_eq(line, SPAN("PONG\r\n"))) {
        ret_note->heard = HEARD_READY;
    } else if (span_eq(line, SPAN("PING\r\n"))) {
        buf_put_lit(&client->out, "PONG\r\n");
        ret_note->heard = HEARD_NOISE;
    } else if (span_starts(line, SPAN("INFO "))) {
        ret_note->heard = HEARD_NOISE;
    } else {
        *ret_note = (struct note){ .heard = HEARD_FAULT, .payload = line };
    }
    return line.len;
}

static void nats_publish(struct client *client, const struct outgoing *messages, size_t count)
{
    struct buf *out = &client->out;
    for (size_t i = 0; i < count; i++) {
        buf_put_lit(out, "PUB ");
        buf_put(out, span_str(client->target->prefix));
        buf_put_u64(out, messages[i].channel);
        buf_put_lit(out, " 128\r\n");
        buf_put(out, span_of(messages[i].payload, PAYLOAD_BYTES));
        buf_put_lit(out, "\r\n");
    }
}

const struct dialect nats_dialects[] = {
    { "nats", "tcp", false, nats_greet_subscriber, nats_hear, NULL },
    { "nats", "single", false, nats_greet_publisher, nats_hear, nats_publish },
    { 0 },
};
