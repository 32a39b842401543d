/* The baseline's publisher: payloads and nothing else, back to back. The baseline finds the channel in the stamp. */
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

const struct dialect raw_dialects[] = {
    { "baseline", "single", true, raw_greet, raw_hear, raw_publish },
    { 0 },
};
