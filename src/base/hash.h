/* hash.h - SipHash-1-3 (Aumasson and Bernstein): a keyed hash, so that somebody who chooses names can't
 * choose collisions. The caller hands the key in: a random one in the server, a fixed one in the simulator. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/span.h"

struct hash_key {
    uint64_t k0, k1;
};

uint64_t hash_bytes(const struct hash_key *key, struct span bytes);

#endif
