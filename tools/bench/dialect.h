/* dialect.h - the protocol of each peer: it takes bytes and returns what they mean. It uses no socket and no clock.
 *
 * A dialect is one protocol of one peer in one role, subscriber or publisher. It knows no more of the protocol than a
 * benchmark needs and trusts the server's framing. Bytes that it can't explain are HEARD_FAULT; it never skips them. */
#ifndef BENCH_DIALECT_H
#define BENCH_DIALECT_H

#include "base/buf.h"
#include "bench/payload.h"

enum heard {
    HEARD_NOTHING,  /* the unit is not complete yet; no bytes were used */
    HEARD_NOISE,    /* heartbeats, headers and what else a benchmark ignores */
    HEARD_READY,    /* the subscription stands; of a publisher: it may publish; of a session: note->payload is its
                     * ticket */
    HEARD_PAYLOAD,  /* one message: note->payload, borrowed from the bytes */
    HEARD_ACK,      /* note->count publishes were acknowledged */
    HEARD_FAULT,    /* note->payload is the reason, as text */
};

struct note {
    enum heard  heard;
    struct span payload;
    uint64_t    count;
};

/* Channel n of a run is called `prefix` followed by n in decimal. */
struct target {
    const char *host;  /* for the Host header: address:port */
    const char *prefix;
};

/* The client's side of one connection. The dialect puts what the client sends into `out`; the owner sends it. */
struct client {
    const struct dialect *dialect;
    const struct target  *target;
    struct buf            out;
    uint32_t              channel;  /* a subscriber's; of a session: its user */
    struct span           ticket;   /* a session resumes by it; empty: it begins */
    struct span           token;    /* says who it is; empty: nobody asks */
    uint32_t              id;       /* unique among the clients of a run */
    unsigned              stage;    /* the dialect's own */
    uint64_t              left;     /* the dialect's own */
};

struct outgoing {
    uint32_t channel;
    char     payload[PAYLOAD_BYTES];
};

struct dialect {
    const char *peer;
    const char *transport;  /* of a subscriber "ws", "sse", "poll", "tcp", "session", "session-all", "beat"; of a publisher "single", "acked", "batch", "request", "request-link", "h2" */
    bool        is_ready_at_once;

    /* The first words on a new connection. */
    void (*greet)(struct client *client);
    /* Reads one thing off the head of the bytes and returns how many it used: 0 only with HEARD_NOTHING. */
    size_t (*hear)(struct client *client, struct span bytes, struct note *ret_note);
    /* Publishers only, NULL for subscribers. */
    void (*publish)(struct client *client, const struct outgoing *messages, size_t count);
};

/* The dialect of that peer and transport, or NULL. */
const struct dialect *dialect_subscriber(const char *peer, const char *transport);
const struct dialect *dialect_publisher(const char *peer, const char *transport);

/* For hear(): the note of a fault, using all of the bytes. */
size_t dialect_fault(struct span bytes, const char *why, struct note *ret_note);

extern const struct dialect ws_dialects[], sse_dialects[], poll_dialects[], post_dialects[];
extern const struct dialect native_dialects[], mqtt_dialects[], resp_dialects[], nats_dialects[], raw_dialects[],
    request_dialects[], post_h2_dialects[];

#endif
