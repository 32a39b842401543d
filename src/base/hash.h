/* hash.h - SipHash-1-3 (Aumasson and Bernstein): a keyed hash, so that strangers who choose names can't
 * choose collisions. The key is handed in: random on a server, fixed in the simulator. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/span.h"

struct hash_key {
    uint64_t k0, k1;
};

uint64_t hash_bytes(const struct hash_key *key, struct span bytes);

#endif
