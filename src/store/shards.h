/* shards.h - one store and one ledger that are spread over several: a channel, or a row, lies in the one that has its slot
 * (message/slot.h). Pure, and itself a maker of both ports.
 *
 *   appends ──by slot──▶ shard 0   rows carried by an append, of another shard ──after it──▶ shard 1
 *   heads, listings, gets, scans ──▶ every shard that is concerned ──merged──▶ the answer
 *
 * What the ports promise of one commit holds within a shard. A batch of appends that lie in several shards is a batch for
 * each of them; so callers who use part_of() never pay for that. The rows of one ledger write lie in one shard. An append
 * can carry rows of other shards: they bear no condition, and are written once the append is numbered, before its batch is
 * done. If such a row can't be written then, the append is done all the same, and the row is tried again at each tick, in
 * the order of the appends, at most 4,096 for a shard; with the process it is lost. So only rows that can be made anew may
 * be carried so: an index of rows that lie beside the append.
 *
 * Each shard has an epoch of its own. Ids are unique over all shards if those of the shards are disjoint. */
#ifndef STORE_SHARDS_H
#define STORE_SHARDS_H

#include "message/slot.h"
#include "store/store.h"

enum { SHARDS_MAX = 32 };

struct shards_options {
    struct store *const *stores;                     /* taken: closed with this store; all of one kind */
    size_t               count;                      /* 1 … SHARDS_MAX */
    uint8_t              shard_of_slot[SLOT_COUNT];
    /* The slot of a row, for owners whose rows don't begin with the name that they belong to. The key may be the prefix of
     * a scan that ends with its first 0 byte. NULL: slot_of_row() */
    unsigned           (*slot_of)(const struct ledger_key *key);
};

struct store *shards_new(const struct shards_options *options);

/* Rows that wait to be written after their append, because their shard could not be asked; any thread. */
size_t shards_owed_count(struct store *store);

#endif
