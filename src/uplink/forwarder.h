/* forwarder.h - carries the messages of channels to a back end: the back end is a subscriber with a stored cursor.
 *
 *     committed here, or told by a node ──▶ channel is behind ──▶ page ──▶ batch is fixed (cursor row) ──▶ back end
 *                                               ▲                                                          │ 2xx
 *                                               └──────────────── cursor moves (cursor row) ◀──────────────┘
 *
 * One batch of a channel is under way at a time, so that a channel keeps its order. A batch is fixed by a write before it is
 * sent: whoever sends it again, after a crash or on another node, sends the same messages with the same key
 * (docs/decisions/0097). What the back end does not take is sent again, first after 1 s, at last each 30 s.
 *
 * A channel is in memory while it is behind, and for some time after. Whatever tells that it is behind is a hint: a sweep over
 * all channels of the forwarder compares heads with cursors.
 *
 * Which node carries which channels, and why no other one can move their cursors: work_lease.h.
 *
 * It is owned beside the writer and runs on its thread. Pure: calls leave by the port, time and nodes are handed in. */
#ifndef UPLINK_FORWARDER_H
#define UPLINK_FORWARDER_H

#include "base/counter.h"
#include "base/map.h"
#include "base/rng.h"
#include "node/writer.h"
#include "uplink/backend.h"
#include "uplink/work_lease.h"

enum {
    FORWARDERS_MAX          = 1024,            /* namespaces that forward, and webhooks, all that there were since the start */
    FORWARDER_WINDOW_FIRST  = 4,               /* batches of a forwarder under way at once: so many at first … */
    FORWARDER_WINDOW_MAX    = 64,              /* … one more for each that the back end takes, half after a failure */
    FORWARDER_BATCH_MAX     = 1000,            /* places of a log in one batch, at most */
    FORWARDER_BATCH_BYTES   = 1024 * 1024,     /* a batch ends behind the message that reaches it; bytes of messages */
    FORWARDER_BODY_BYTES    = 16 * 1024 * 1024, /* of a batch as it is sent, with all that JSON adds; beyond it counts as a 413 */
    FORWARDER_CHANNELS_MAX  = 100000,          /* of a forwarder in memory; the sweep finds the others later */
    FORWARDER_IDLE_MAX      = 10000,           /* of them, those that are not behind */
    FORWARDER_REFUSED_MAX   = 1000,            /* of them, those that wait to be sent again; then nothing new is sent */
    FORWARDER_RETRY_MS      = 1000,
    FORWARDER_RETRY_MS_MAX  = 30000,
    FORWARDER_ANSWER_BYTES  = 64 * 1024,       /* of an answer, which nobody reads */
    FORWARDER_AFTER_MS_MAX  = 3600 * 1000,     /* of Retry-After */
    FORWARDER_SWEEP_MS      = 30000,           /* between two sweeps, where other nodes write too … */
    FORWARDER_SWEEP_ALONE_MS = 300000,         /* … and where no hint gets lost */
    FORWARDER_ANNOUNCED_MAX = 1000,            /* channels that other nodes are told of in a turn; the sweep finds the others */
};

struct forwarder_port {
    /* Takes the call, which has no deadline yet. It comes back by call->done(), once, perhaps within this call. */
    void (*send)(void *ctx, struct span backend, struct backend_call *call);
    /* It comes back soon. */
    void (*cancel)(void *ctx, struct backend_call *call);
    /* The nodes; NULL: there is only this one. */
    const struct registry *(*registry)(void *ctx);
};

enum forwarder_body { FORWARDER_LINES, FORWARDER_EVENTS };

/* What a forwarder does. Of the settings; copied. */
struct forwarder_options {
    char     name[FORWARDER_NAME_BYTES_MAX + 1];    /* "forward:up"; in the ledger, so it stays what it is */
    const struct namespace *space;                  /* whose channels it carries … */
    char     prefix[CHANNEL_NAME_BYTES_MAX + 1];    /* … those that begin like this: "up:", "sys:events/" */
    char     backend[64 + 1];
    char     target[1023 + 1];                      /* path and query on the back end */
    enum forwarder_body body;
    uint32_t batch_max;                             /* places of a log */
    uint32_t tries;                                 /* of a single message that the back end refuses (4xx) */
    msec     retry_ms_max;
    msec     give_up_ms;                            /* a batch that nobody took for so long goes to sys:dead; 0: never */
    uint32_t kinds;                                 /* EVENTS: bits of enum event_kind (message/event_kind.h) */
    char     secret[128 + 1];                       /* EVENTS: signs the body; empty: no signature */
};

struct forwarder_counters {
    struct counter batches, messages;   /* that the back end took */
    struct counter sent_bytes;          /* bodies, each try */
    struct counter retries, refusals;   /* batches that failed, and are sent again; 4xx, which split the batch */
    struct counter dead;                /* messages that went to sys:dead */
    struct counter skipped;             /* messages that no event filter asks for */
    struct counter takeovers, losses;   /* parts taken over; parts that another node has taken */
    struct counter sweeps;
    /* now */
    struct counter backlog;             /* messages that the back end has yet to take, of channels that are known to be behind */
    struct counter oldest;              /* wall clock of the oldest of them, about; 0: there is none */
    struct counter parts;               /* that this node carries */
    struct counter channels, under_way, window;
    struct counter paused_until;        /* wall clock: nothing is sent before; 0: not paused */
};

struct forwarder;

/* All forwarders of a node. */
struct forwarders {
    struct writer              *writer;      /* borrowed */
    struct namespaces          *spaces;
    const struct hash_key      *hash_key;
    const struct forwarder_port *port;
    void                       *ctx;
    struct node_id              self;
    struct rng                  random;      /* spreads retries */
    msec                        now;
    struct forwarder           *at[FORWARDERS_MAX];
    size_t                      count;
    struct counter              shown;       /* how many of them other threads may look at */
    struct list                 writes;      /* that wait for the batch under way */
    bool                        is_writing;
    uint32_t                    away_count;  /* questions, writes, calls and appends under way */
    struct counter              calls;       /* of these, the calls; any thread may look */
    uint64_t                    registry_seen;
    bool                        has_role, is_stopping;
    bool                        is_holding;  /* no batch, sweep or lease is begun */
    struct channel_name        *dead;        /* sys:dead */
    struct list                 announced;   /* heads that carriers on other nodes are to be told */
    uint32_t                    announced_count;
};

struct forwarders_setup {
    struct writer               *writer;     /* borrowed */
    struct namespaces           *spaces;
    const struct hash_key       *hash_key;   /* of channel names */
    const struct forwarder_port *port;
    void                        *ctx;
    struct node_id               self;
    bool                         has_role;   /* ROLE_FORWARD */
    uint64_t                     seed;
};

void forwarders_init(struct forwarders *set, const struct forwarders_setup *setup);
/* Nothing is under way. A zeroed set is fine. */
void forwarders_fini(struct forwarders *set);

/* From now on these, and no others; names are unique. Those that are there already go on by the new options. False: there were
 * too many since the start, and the last of them are left out. */
bool forwarders_configure(struct forwarders *set, const struct forwarder_options *options, size_t count);

/* Monotonic time of this turn. */
void forwarders_turn_begin(struct forwarders *set, msec now);
/* For uplink_port.committed. Shares it. */
void forwarders_committed(struct forwarders *set, struct message *message);
/* A carrier is told by another node: up to there the log was written (PEER_FORWARD). False: the body can't be read. */
bool forwarders_told(struct forwarders *set, struct span body);
/* Before writer_turn_end(). */
void forwarders_turn_end(struct forwarders *set);
/* About ten times a second. */
void forwarders_tick(struct forwarders *set);

/* The node stops: nothing more is sent, and the leases are given up. Then is_idle becomes true. */
void forwarders_stop(struct forwarders *set);
bool forwarders_is_idle(const struct forwarders *set);
/* For uplink_port.is_still. */
bool forwarders_is_still(const struct forwarders *set);

/* Any thread: those that there ever were, and what they count. */
size_t                           forwarders_count(const struct forwarders *set);
const char                      *forwarder_name(const struct forwarders *set, size_t at);
const struct forwarder_counters *forwarder_counters(const struct forwarders *set, size_t at);

#endif
