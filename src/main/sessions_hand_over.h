/* sessions_hand_over.h - the sessions of links that move, from one process of the server to the next one (device/session_move.h).
 * No thread of the server runs meanwhile, or all stand still. */
#ifndef MAIN_SESSIONS_HAND_OVER_H
#define MAIN_SESSIONS_HAND_OVER_H

#include "base/buf.h"
#include "base/hash.h"

struct devices;
struct namespaces;

/* Appends their records; how many that were. */
uint64_t sessions_put(const struct devices *devices, struct buf *buf);

/* Takes those among the records; how many of them did not fit. Places in a namespace that is gone are left out. */
size_t sessions_take(struct devices *devices, struct namespaces *namespaces, const struct hash_key *key, struct span records);

#endif
