/* place_digest.h - a number that two sides compare to learn whether they agree on places: which channels are followed, and up
 * to where in which life of its log (docs/protocol.md, section 5.3).
 *
 * The digest of a set of places is the sum of their terms, modulo 2^64, so it does not depend on their order. It notices
 * accidents. It does not withstand somebody who chooses names, and need not: who lies about a digest harms himself. */
#ifndef MESSAGE_PLACE_DIGEST_H
#define MESSAGE_PLACE_DIGEST_H

#include "base/span.h"

/* The term of one place: FNV-1a 64 of length of the name (1 byte), name, epoch and seq (8 bytes each, big-endian), then mixed. */
uint64_t place_digest_term(struct span channel, uint64_t epoch, uint64_t seq);

#endif
