/* presence_hand_over.h - who is present, from one process of the server to the next one (device/presence_move.h). No thread of the
 * server runs meanwhile, or all stand still. */
#ifndef MAIN_PRESENCE_HAND_OVER_H
#define MAIN_PRESENCE_HAND_OVER_H

#include "base/buf.h"
#include "base/hash.h"

struct namespaces;
struct presence;

/* Appends the records; how many that were. */
uint64_t presence_put(const struct presence *presence, struct buf *buf);

/* Takes those among the records; how many of them did not fit. Channels of a namespace without presence are left out. */
size_t presence_take(struct presence *presence, struct namespaces *namespaces, const struct hash_key *key, struct span records);

#endif
