/* The floor's publisher: payloads and nothing else, back to back. The floor finds the channel in the stamp. */
#include "bench/dialect.h"

static void raw_greet(struct voice *voice)
{
    (void)voice;  /* the first byte of the first payload tells the floor that this is a publisher */
}

static size_t raw_hear(struct voice *voice, struct span bytes, struct note *ret_note)
{
    (void)voice;
    return dialect_fault(bytes, "the floor has nothing to say to a publisher", ret_note);
}

static void raw_publish(struct voice *voice, const struct outgoing *messages, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_put(&voice->out, span_of(messages[i].payload, PAYLOAD_BYTES));
}

const struct dialect raw_dialects[] = {
    { "floor", "single", true, raw_greet, raw_hear, raw_publish },
    { 0 },
};
