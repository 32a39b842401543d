/* engine.h - This module carries a cluster: it keeps this node's lease, tells routes, and brings frames from node to node. What of it
 * decides is pure (cluster.h); what touches an engine stands behind this port.
 *
 * The port has several makers: redis_engine (hiredis), pg_engine (PostgreSQL alone, for a handful of nodes) and sim_engine (one
 * process, simulated time, for tests). All pass one battery, engine_battery.h. All that an engine holds is hints: it may
 * be lost, late or doubled. Nothing durable depends on it.
 *
 * Calls. engine->ops->submit() takes a call and never blocks; engine_events.done() gets it back exactly once, on a thread
 * of the engine's own or within submit(). From within done() and frame() further calls may be put. Calls complete in any order, except that those of one kind complete in the order
 * of their submission. If the engine can't be reached, rc is RC_IO: perhaps done, perhaps not. At most ENGINE_CALLS_MAX calls
 * may be under way; beyond it RC_FULL.
 *
 * Routes. A route says that a node follows a route name (message/slot.h). It counts only while that incarnation's lease
 * runs; whoever looks up drops the others. Adding what is there and removing what is not there are no errors.
 *
 * Life. `up` brings a number that names the engine's own life: when it is another one than before, what was put there is gone, and
 * must be put again. It comes once at the start and after each lost connection. With several instances (slots), it changes if
 * that of any of them does. All nodes are told the same number. If an emptied engine answers LEASE or NODES, `up` comes first: so
 * nobody takes nodes for lost because the engine has forgotten them.
 *
 * Rounds. A maker looks at the engine's life now and then, and numbers these rounds. The answer of a LOOKUP carries the number of the
 * round that had begun last. `up` says since which round the former life may have been over: a look-up whose answer carries a
 * smaller number was carried out in it, and found the routes that stood there. 0: that is not known of any. */
#ifndef CLUSTER_ENGINE_H
#define CLUSTER_ENGINE_H

#include "base/buf.h"
#include "base/list.h"
#include "base/mail.h"
#include "base/rc.h"
#include "route/node_record.h"

enum { ENGINE_CALLS_MAX = 4096, ENGINE_NAMES_MAX = 1000 };

enum engine_call_kind {
    ENGINE_LEASE,    /* takes or renews this node's lease */
    ENGINE_LEAVE,    /* gives it up: routes of it count no more */
    ENGINE_NODES,    /* all leases that run */
    ENGINE_ROUTE,    /* adds and removes routes of this node */
    ENGINE_LOOKUP,   /* which nodes follow these route names? */
    ENGINE_SEND,     /* a frame to one node */
};

struct engine_name {
    struct span name;       /* a route name; borrowed from the call's owner */
    bool        is_removed; /* ROUTE: remove it instead of adding it */
    /* LOOKUP: who follows it; indexes into call.ids */
    uint32_t    first, count;
};

struct engine_lease {
    struct buf     record;    /* as it was put (cluster/record_text.h) */
    struct node_id id;
    msec           left_ms;
};

struct engine_call {
    enum engine_call_kind kind;
    enum rc               rc;          /* RC_OK, RC_IO, RC_FULL; LEASE: RC_BUSY: a newer incarnation of the same name has it */
    struct mail           mail;        /* the owner's */
    struct list           link;        /* the engine's, until it is done */
    void                 *owner;
    /* LEASE */
    struct span           record;      /* borrowed */
    msec                  started;     /* of this incarnation: which of two is newer */
    msec                  lease_ms;
    bool                  is_new;      /* the answer: it did not run before this call, so others may have passed this node over
                                        * for a while: routes are to be put again, and heads compared */
    /* NODES: the answer; freed by engine_call_fini() */
    struct engine_lease  *leases;
    size_t                lease_count;
    /* ROUTE, LOOKUP */
    struct engine_name   *names;       /* borrowed */
    size_t                name_count;  /* 1 … ENGINE_NAMES_MAX */
    struct node_id       *ids;         /* LOOKUP: the answer, each node once or more; freed by engine_call_fini() */
    uint64_t              round;       /* LOOKUP: the answer */
    size_t                id_count;
    /* SEND */
    struct node_id        to;
    struct span           frame;       /* borrowed */
};

void engine_call_fini(struct engine_call *call);

/* What an engine tells; on a thread of its own (sim: within its step). */
struct engine_events {
    void (*done)(void *ctx, struct engine_call *call);
    /* A frame came for this node. The bytes are borrowed for the call. */
    void (*frame)(void *ctx, struct span frame);
    void (*up)(void *ctx, uint64_t life, uint64_t since);
    void (*down)(void *ctx, const char *why);
    /* It is up, owes answers, and says nothing; what is under way may still be answered. Then, unless `down` comes first, that
     * it answers again. A maker need not tell it; NULL: nobody wants to know. */
    void (*silent)(void *ctx, bool is_silent);
};

struct engine_stats {
    uint64_t call_count, failure_count, reconnect_count;
    uint64_t frames_sent, frames_received, bytes_sent, bytes_received;
    uint64_t answer_us_sum, answer_count;
    uint64_t answer_us_buckets[20];  /* as store_stats.sync_us_buckets */
    uint32_t waiting_count;          /* calls under way */
    bool     is_up;
    char     failure[160];           /* what it said last; "" if nothing */
};

struct engine;

struct engine_ops {
    const char *name;
    void (*submit)(struct engine *engine, struct engine_call *call);
    void (*stats)(struct engine *engine, struct engine_stats *ret);  /* any thread */
    /* Completes what is under way (RC_IO), ends its threads, frees it. */
    void (*close)(struct engine *engine);
};

struct engine {
    const struct engine_ops *ops;
    size_t                   frame_bytes_max;  /* a longer frame can't be sent; at least 4,096 */
    bool                     prefers_heads;    /* what a message holds costs much here: send heads, receivers read the log */
};

#endif
