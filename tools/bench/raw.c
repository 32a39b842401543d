/* The baseline's publisher: payloads and nothing else, back to back. The baseline finds the channel in the stamp.
 * And its link that beats: the two bytes of a ping, the two of a pong, and nothing else. */
#include "bench/dialect.h"

static void raw_greet(struct client *client)
{
    (void)client;  /* the first byte of the first payload tells the baseline that this is a publisher */
}

static size_t raw_hear(struct client *client, struct span bytes, struct note *ret_note)
{
    (void)client;
    return dialect_fault(bytes, "the baseline has nothing to say to a publisher", ret_note);
}

static void raw_publish(struct client *client, const struct outgoing *messages, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_put(&client->out, span_of(messages[i].payload, PAYLOAD_BYTES));
}

static void beat_greet(struct client *client)
{
    buf_put(&client->out, SPAN("\x01\x08"));
}

static size_t beat_hear(struct client *client, struct span bytes, struct note *ret_note)
{
    if (bytes.len < 2)
        return 0;
    if (!span_starts(bytes, SPAN("\x01\x09")))
        return dialect_fault(bytes, "a pong was due", ret_note);
    *ret_note     = (struct note){ .heard = client->stage == 0 ? HEARD_READY : HEARD_ACK, .count = client->stage };
    client->stage = 1;
    return 2;
}

const struct dialect raw_dialects[] = {
    { "baseline", "beat", false, beat_greet, beat_hear, NULL },
    { "baseline", "single", true, raw_greet, raw_hear, raw_publish },
    { 0 },
};
