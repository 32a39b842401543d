#include "bench/dialect.h"

/* Each table ends with a row without a peer. */
static const struct dialect *const tables[] = {
    ws_dialects,     sse_dialects,  poll_dialects, post_dialects,
    native_dialects, mqtt_dialects, resp_dialects, nats_dialects, raw_dialects, request_dialects,
    post_h2_dialects,
};

static const struct dialect *dialect_find(const char *peer, const char *transport, bool is_publisher)
{
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        for (const struct dialect *row = tables[i]; row->peer != NULL; row++)
            if (strcmp(row->peer, peer) == 0 && strcmp(row->transport, transport) == 0 &&
                (row->publish != NULL) == is_publisher)
                return row;
    return NULL;
}

const struct dialect *dialect_subscriber(const char *peer, const char *transport)
{
    return dialect_find(peer, transport, false);
}

const struct dialect *dialect_publisher(const char *peer, const char *transport)
{
    return dialect_find(peer, transport, true);
}

size_t dialect_fault(struct span bytes, const char *why, struct note *ret_note)
{
    *ret_note = (struct note){ .heard = HEARD_FAULT, .payload = span_str(why) };
    return bytes.len;
}
