/* session_worker.h - what all sessions of one worker share: the loop, the shard, limits, frames, counters. */
#ifndef SESSION_SESSION_WORKER_H
#define SESSION_SESSION_WORKER_H

#include "auth/identify.h"
#include "http/http.h"
#include "node/shard.h"
#include "session/dialect.h"
#include "session/frame_batch.h"

struct session_limits {
    msec     heartbeat_ms;
    msec     pong_timeout_ms;
    msec     slow_reader_timeout_ms;
    msec     poll_wait_ms, poll_wait_ms_max;
    msec     sse_retry_ms;          /* what a stream of events is told to wait before it comes again */
    msec     reconnect_ms;          /* what a WebSocket client is told to wait before it comes again */
    msec     close_timeout_ms;      /* for a peer to answer our Close */
    uint32_t channels_max;          /* a connection; at most TOKEN_PLACES_MAX */
    uint32_t frame_bytes_max;       /* a WebSocket message from a client */
    size_t   gathered_bytes_max;    /* of all of them whose end has not come; then 1013 */
    msec     gather_timeout_ms;     /* for the end to come, and up to a heartbeat more; then 1008 */
    uint32_t waiting_publishes_max; /* of one WebSocket; then it is not read from */
    uint32_t echo_bytes_max;        /* a message to the echo */
    bool     has_echo;
};

enum transport { TRANSPORT_WS, TRANSPORT_SSE, TRANSPORT_NDJSON, TRANSPORT_MULTIPART, TRANSPORT_POLL, TRANSPORT_ECHO,
                 TRANSPORT_COUNT };

const char *transport_text(enum transport transport);

struct session_counters {
    struct counter sessions[TRANSPORT_COUNT];   /* now */
    struct counter delivered[TRANSPORT_COUNT];  /* messages handed to the kernel */
    struct counter bytes[TRANSPORT_COUNT];      /* of frames handed to the kernel */
    struct counter gaps;                        /* told to clients */
    struct counter lagging;                     /* readers whose socket was full and who have not caught up since */
    struct counter dropped_slow;                /* closed after slow_reader_timeout */
    struct counter dropped_silent;              /* closed for want of a pong */
    struct counter writes;                      /* system calls that sent frames */
};

/* Latency from accepting a publish to the socket, in ms buckets: < 1, < 2, < 4 … the last also all longer. */
enum { LATENCY_BUCKETS = 16 };

struct latency {
    struct counter buckets[LATENCY_BUCKETS];
    struct counter sum_ms, count;
};

void latency_add(struct latency *latency, msec took, uint64_t times);

/* What sessions ask of the server. */
struct session_port {
    /* A number that was never given before and can't be guessed. */
    uint64_t (*new_key)(void *ctx);
};

struct session_worker {
    struct loop            *loop;
    struct http_server     *server;
    struct shard           *shard;
    struct namespaces      *namespaces;
    const struct hash_key  *hash_key;
    struct session_limits   limits;
    struct identifier      *identifier;   /* for the tokens of `connect` commands */
    const struct session_port *port;
    void                   *ctx;
    struct reader_shared    readers;
    struct pool             ws_sessions; /* where WebSocket sessions live, by far the most */
    struct list             links;     /* those with a stream of their own, for stopping */
    struct list             polls;
    struct list             echoes;
    struct list             dirty;     /* links with something to draw this turn */
    struct frames           frames;
    struct frame_batch      batch;
    struct dialect_scratch  dialect_scratch;
    size_t                  gathered_bytes;  /* of WebSocket messages whose end has not come */
    struct session_counters counters;
    struct latency          latency;
    bool                    is_stopping;
};

/* Sets up what isn't handed in; the caller has filled in the rest. */
void session_worker_init(struct session_worker *worker);
void session_worker_fini(struct session_worker *worker);  /* all sessions are closed */

/* shard_port.ready of this loop's shard: its ctx leads here. */
void session_worker_ready(struct session_worker *worker, struct subscription *sub);

/* Once a turn, after the mail: everybody with news draws and sends. */
void session_worker_turn_end(struct session_worker *worker);
void session_worker_tick(struct session_worker *worker);  /* about once a second */

/* Tells all clients to come back elsewhere and ends their sessions when they have heard it. */
void session_worker_stop(struct session_worker *worker);
bool session_worker_is_idle(const struct session_worker *worker);
/* Ends what is left at once. */
void session_worker_close_all(struct session_worker *worker);

#endif
