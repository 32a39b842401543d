/* digest.h - tells whether a request with a known idempotency key is the same request. */
#ifndef STORE_DIGEST_H
#define STORE_DIGEST_H

#include "store/store.h"

/* A hash over kind, target, payload and media. It is stored on disk beside the key, so its definition never changes. */
uint64_t append_digest(const struct append *append);

#endif
