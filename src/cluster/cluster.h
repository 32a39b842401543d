/* cluster.h - one node's part in a cluster: what it sends to others after a commit, what it does with what they send, and which
 * routes it registers. It stands beside the writer and runs on its thread. Pure: the engine is a port, time is handed in.
 *
 *     writer ──follow, unfollow──▶ interest ──ROUTE──▶ engine
 *     writer ──committed──▶ lookup of the turn's channels ──▶ one frame a node ──SEND──▶ engine
 *     engine ──frame──▶ links (dense?) ──▶ writer_hear(), moved heads, questions, answers
 *
 * Order. A route is registered before the head is asked for (node/cluster_port.h); a look-up begins after the commit. So each
 * message is either routed to a follower, or below the head that it was told.
 *
 * Another life. An engine that was emptied knows no routes. Each node registers its own anew, in calls as large as may be and as
 * many at a time as are answered soon. Meanwhile each tells all others what it commits (TELL_MS). If all of them say that this was all,
 * nothing is compared; else heads are compared once.
 *
 * Healing. Every loss ends in the same thing: the heads of followed channels are compared with the store, and what differs is
 * read. A hole in a link's numbers, a sender's new incarnation, a new life of the engine, a look-up or a frame that could not
 * be carried out: all are reasons. Where the engine is away, heads are compared at HEAD_POLL_MS. Beside that a slow walk over all
 * followed heads (limits.compare_s) finds what nothing else does.
 *
 * If the engine is away, local delivery goes on, and routes wait: all are registered anew when it is back. */
#ifndef CLUSTER_CLUSTER_H
#define CLUSTER_CLUSTER_H

#include "base/counter.h"
#include "cluster/engine.h"
#include "node/cluster_port.h"
#include "node/writer.h"
#include "route/bus_links.h"
#include "route/registry.h"

struct cluster_limits {
    msec     lease_ms;          /* renewed each fifth of it */
    msec     compare_ms;        /* all followed heads are compared once in so long, whatever the bus says */
    msec     head_poll_ms;      /* … and so often while the engine is away */
    uint32_t compare_per_s;     /* heads that all nodes together compare at most; 0: no bound */
    msec     linger_ms;         /* a route that nobody follows is kept for so long */
    uint32_t waiting_max;       /* messages whose look-up has not answered; beyond it they are dropped, and a hole is made
                                 * in the links on purpose, so that receivers compare heads */
    size_t   waiting_bytes_max;
    uint32_t questions_max;     /* under way; further ones come back with `missing` nodes */
};

/* Why a node has to compare heads: what it was not sent, for all that it knows. */
enum doubt_reason {
    DOUBT_GAP,          /* a number was missing on the link of another node, or its first frame was not number 1 */
    DOUBT_MALFORMED,    /* a frame could not be read */
    DOUBT_NODE_LOST,    /* a node's lease has run out, or its name is another start's: what it committed last it may have told nobody */
    DOUBT_RECONNECTED,  /* the connection to the engine was lost */
    DOUBT_LEASE,        /* the lease had run out, so others passed this node over */
    DOUBT_ROUTES,       /* a route could not be registered in time */
    DOUBT_EMPTIED,      /* the engine was emptied while it was away, or at the start */
    DOUBT_LATE,         /* the engine was emptied, and the routes took longer than others tell */
    DOUBT_LIST,         /* … the list of nodes could not be read */
    DOUBT_NOT_TOLD,     /* … a node did not say in time that it told all */
    DOUBT_LEFT_OUT,     /* … a node left something out of what it told */
    DOUBT_REASONS,
};

/* As a metric and the log have it. */
const char *doubt_reason_name(enum doubt_reason reason);

struct cluster_counters {
    struct counter messages_sent, messages_heard, heads_sent, heads_heard, frames_sent, frames_heard;
    struct counter frames_lost;      /* that the engine did not take */
    struct counter holes, firsts, old_frames, malformed;
    struct counter routes;           /* how many stand or are wanted, now */
    struct counter route_changes, lookups, lookup_failures, dropped;
    struct counter is_up, is_healthy; /* now: the engine answers; and all that others send is heard */
    struct counter doubts[DOUBT_REASONS];  /* something may be lost; several may end in one comparison */
    struct counter comparisons;      /* rounds over all followed heads, because something may be lost */
    struct counter comparisons_spared;  /* … that were left out, because others told what may be lost */
    struct counter nodes;            /* now: whose lease runs */
    struct counter lives;            /* of the engine, that were noticed */
    struct counter lease_failures;   /* renewals that failed */
    struct counter questions, missing_answers;
};

struct cluster;

struct cluster_setup {
    struct writer         *writer;      /* borrowed */
    struct engine         *engine;      /* borrowed */
    struct node_record     self;        /* connections, is_draining: kept up by cluster_tell_self() */
    struct namespaces     *spaces;
    const struct hash_key *hash_key;    /* of channel names */
    struct cluster_limits  limits;
    /* Another node asks: to one of this node's loops; takes it. */
    void (*serve)(void *ctx, struct peer_call *call);
    /* A newer incarnation has this node's name, or the own lease could not be renewed for too long (then nodes may already
     * send this node nothing): the node must end, or rest, and say why. */
    void (*usurped)(void *ctx, const char *why);
    void *ctx;
};

struct cluster *cluster_new(const struct cluster_setup *setup);
void            cluster_free(struct cluster *cluster);

/* For writer.cluster. */
extern const struct cluster_port cluster_port;

/* What engine_events brought, on the writer's thread (main carries it there by mail, the simulator calls it). */
void cluster_take_done(struct cluster *cluster, struct engine_call *call);
void cluster_take_frame(struct cluster *cluster, struct span frame);
void cluster_take_up(struct cluster *cluster, uint64_t life, uint64_t since);
void cluster_take_down(struct cluster *cluster);
void cluster_take_silence(struct cluster *cluster, bool is_silent);

/* Monotonic and wall time of this turn; before anything else of it. */
void cluster_turn_begin(struct cluster *cluster, msec now, msec wall);

/* Region, addresses, capacity and roles, as a new configuration has them. */
void cluster_set_self(struct cluster *cluster, const struct node_record *self);
void cluster_tell_self(struct cluster *cluster, uint64_t connections, bool is_draining);

/* Gives up lease and routes; true once nothing is under way. */
bool cluster_leave(struct cluster *cluster);

/* The nodes as known; changes on the writer's thread alone. main copies it for the workers, which answer `allocate`. */
const struct registry           *cluster_registry(const struct cluster *cluster);
const struct cluster_counters   *cluster_counters(const struct cluster *cluster);
/* How often notices and answers of other nodes may have been lost: with each comparison of heads, and with one that was spared. */
uint64_t                         cluster_doubt_count(const struct cluster *cluster);
/* How many heads, or sessions, this node may compare with the store in a tick at most. 0: there is no bound. */
uint32_t                         cluster_compare_pace(const struct cluster *cluster);
/* What the comparison was for that began last: a bit for each reason. */
uint32_t                         cluster_doubts_compared(const struct cluster *cluster);

#endif
