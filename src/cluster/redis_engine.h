/* redis_engine.h - the engine of a cluster on Redis, one instance or several.
 *
 * What lies where. Each key begins with `lw:`.
 *     lw:life              a random word: this Redis's life. On each instance
 *     lw:lease:NAME        the lease of a node: STARTED INCARNATION ROUND RECORD, with the time it has left. First instance
 *     lw:names             the names of nodes, so that no key is searched for. First instance
 *     lw:r:ROUTE           the set of those who follow: NAME#INCARNATION.ROUND. The instance of the route's slot
 *     lw:b:INCARNATION     the bus channel of one start of a node; nothing is stored. The instance incarnation mod count
 * Instances are given by a list whose order matters: all nodes of a cluster have the same one.
 *
 * A round begins when a node's lease is new although it had one (engine_call.is_new): then others may have swept its routes, and
 * it adds them again, under the new round. What was added in earlier rounds, or by incarnations that are gone, is swept by
 * those who meet it in a look-up, sweep_ms later at the earliest.
 *
 * Life. Each second, and with each lease, the word of each instance is read. The life that `up` tells is made of these words,
 * and of the id that each Redis process has, so that a restart and a failover are other lives.
 *
 * Failures. A call whose instance has no connection is RC_IO at once. A Redis that says nothing for a quarter of answer_ms, or lets a
 * question wait for answer_ms, is silent; one that says nothing for answer_ms is a lost connection (store/redis_line.h). `down` comes when one connection of several is lost, and `up` when all stand again; calls that need only the others
 * go on meanwhile. Redis 5 or later, or Valkey; no TLS, no Redis Cluster mode; the policy for full memory should
 * not evict (docs/cluster.md).
 *
 * Bounds. ENGINE_CALLS_MAX calls and REDIS_FRAMES_BYTES of frames under way, then RC_FULL. */
#ifndef CLUSTER_REDIS_ENGINE_H
#define CLUSTER_REDIS_ENGINE_H

#include "cluster/engine.h"

enum { REDIS_FRAMES_BYTES = 64 << 20 };

struct redis_engine_options {
    const char                 *url;         /* store/redis_url.h; a list for several instances */
    struct node_id              self;
    const struct engine_events *events;      /* borrowed until close */
    void                       *ctx;
    msec                        connect_ms;  /* 0: 2 s */
    msec                        answer_ms;   /* 0: 12 s */
    msec                        sweep_ms;    /* a follower without a lease is removed after so long; 0: 30 s */
};

/* RC_BAD: the URL can't be used; ret_why is a sentence without its password. Connections are made later, and made again. */
enum rc redis_engine_open(const struct redis_engine_options *options, struct engine **ret, char *ret_why,
                          size_t why_size) RC_MUST_USE;

#endif
