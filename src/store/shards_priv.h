/* shards_priv.h - what the parts of the spread store share. Private to it.
 *
 *   shards.c         life, appends by shard             shards_after.c   rows that are written after their append
 *   shards_ask.c     heads, listings                     shards_ledger.c  writes, gets, scans */
#ifndef STORE_SHARDS_PRIV_H
#define STORE_SHARDS_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/shards.h"

struct after;

/* What is to be written to one shard after appends of others, the oldest first. One is under way at a time. */
struct after_queue {
    struct list queue;
    size_t      count;
    bool        is_busy;   /* the first one is under way */
    bool        is_stuck;  /* the first one could not be written: nobody waits for these, and a tick tries again */
};

struct shards {
    struct store        store;
    struct store_ops    ops;         /* with the engine of the shards */
    struct ledger       ledger;
    struct store       *stores[SHARDS_MAX];
    size_t              count;
    uint8_t             shard_of_slot[SLOT_COUNT];
    unsigned          (*slot_of)(const struct ledger_key *key);
    pthread_mutex_t     lock;        /* guards what follows */
    struct after_queue  afters[SHARDS_MAX];
    bool                is_closing;
};

static inline struct shards *shards_of(struct store *store)
{
    return container_of(store, struct shards, store);
}

static inline struct shards *shards_of_ledger(struct ledger *ledger)
{
    return container_of(ledger, struct shards, ledger);
}

size_t shard_of_name(const struct shards *shards, const struct channel_name *name);
size_t shard_of_row(const struct shards *shards, const struct ledger_key *key);

/* How many parts of a whole are still under way; whoever ends the last one ends the whole. */
struct parts {
    atomic_size_t left;
};

/* One more than were submitted, so that none of them ends the whole before all are. */
static inline void parts_begin(struct parts *parts)
{
    atomic_init(&parts->left, 1);
}

static inline void parts_add(struct parts *parts)
{
    atomic_fetch_add(&parts->left, 1);
}

static inline bool parts_end(struct parts *parts)
{
    return atomic_fetch_sub(&parts->left, 1) == 1;
}

/* --- shards_ask.c --- */
void shards_heads(struct store *store, struct store_heads *question);
void shards_list(struct store *store, struct store_listing *listing);

/* --- shards_ledger.c --- */
extern const struct ledger_ops shards_ledger_ops;

/* --- shards_after.c --- */

/* Rows of one shard that an append carries and that don't lie beside it, or NULL: there are none. */
struct after *after_new(const struct shards *shards, size_t shard, size_t home, const struct ledger_write *write,
                        msec wall);
void          after_drop(struct after *after);

/* The append was numbered: writes them. Takes it. done() is called once they are written, or can't be for now. */
void after_submit(struct shards *shards, struct after *after, uint64_t seq, void (*done)(void *owner), void *owner);

void afters_init(struct shards *shards);
void afters_tick(struct shards *shards, msec wall);
void afters_fini(struct shards *shards);

#endif
