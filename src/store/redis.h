/* redis.h - logs in Redis, shared by the nodes of a cluster: for namespaces that are not durable. It has no ledger.
 *
 * One script of Redis carries out what the port asks (redis_script.lua): it raises the head of a channel, keeps the message as
 * long as the namespace says, and knows idempotency keys, recalls and purges. A batch is cut into calls of at most
 * APPENDS_A_CALL appends, each of which is carried out as a whole.
 *
 * What lies where, on the instance of the channel's slot. Each key begins with `lw:m:`.
 *     lw:m:h:CHANNEL   head, first kept seq, bytes, when its oldest message was written, the namespace's bounds; and the life that it was written in
 *     lw:m:l:CHANNEL   the list of what is kept: first … head
 *     lw:m:k:…         an idempotency key with its answer, for its window
 *     lw:m:names       all channels; lw:m:id:KIND the last ids; lw:m:life, lw:m:run, lw:m:forgot, lw:m:walk, lw:m:tick
 *
 * Epochs. All logs of an instance get another epoch when it begins another life: it was emptied, or another process of Redis
 * answers than the one that wrote (a restart, a failover), because its last writes may be lost. A channel that was not
 * used for a day, and keeps nothing, is forgotten; then the one part of 65,536 that it belongs to has another epoch for
 * channels that are new.
 *
 * Threads. All calls but close may come from any thread. The store has a thread of its own, with one pipelined connection to
 * each instance; done() is called on it, or within the call if the request is refused.
 *
 * Failures. Without a connection appends are APPEND_AWAY (certainly not written) and reads RC_IO, at once. What was under way on
 * a connection that was lost is APPEND_BROKEN (perhaps written), and so is what Redis did not answer within
 * answer_ms. A Redis that is full refuses: APPEND_NO_SPACE. It must not evict (`maxmemory-policy noeviction`, or
 * volatile-*). Needs Redis 5 or later, or Valkey; no Redis Cluster mode.
 *
 * Bounds. READS_WAITING reads and questions, RC_FULL beyond; appends: what the caller has under way. Seqs, ids and times stay
 * below 2^53. */
#ifndef STORE_REDIS_H
#define STORE_REDIS_H

#include "store/store.h"

struct redis_store_options {
    const char        *url;         /* redis_url.h; a list for several instances, which has the same order on all nodes */
    struct namespaces *spaces;      /* borrowed until close */
    struct hash_key    hash_key;    /* the key that all channel names are hashed with */
    msec               key_keep_ms; /* idempotency window; 0: 24 hours */
    msec               connect_ms;  /* 0: 2 s */
    msec               answer_ms;   /* 0: 3 s */
};

/* RC_BAD: the URL can't be used; ret_why is a sentence without its password. Connections are made later, and made again. */
enum rc redis_store_open(const struct redis_store_options *options, struct store **ret, char *ret_why,
                         size_t why_size) RC_MUST_USE;

#endif
