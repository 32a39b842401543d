/* memory_hand_over.h - the channels that are in memory, from one process of the server to the next one: their messages, heads and
 * epochs, so that no reader is told of a gap. */
#ifndef MAIN_MEMORY_HAND_OVER_H
#define MAIN_MEMORY_HAND_OVER_H

#include "base/buf.h"
#include "base/hash.h"

struct namespaces;
struct stores;

/* Appends the records of all stores in memory; how many that were. Nothing else touches the stores meanwhile. */
uint64_t memory_put(const struct stores *stores, struct buf *buf);

/* Fills the stores that were opened a moment ago. What does not fit is left out: channels of a namespace that is gone, or that is kept
 * elsewhere now. Returns how many records that were. Records of other kinds are passed by. */
size_t memory_take(const struct stores *stores, struct namespaces *namespaces, const struct hash_key *key, struct span records);

#endif
