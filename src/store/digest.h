/* digest.h - is a request with a known idempotency key the same request? */
#ifndef STORE_DIGEST_H
#define STORE_DIGEST_H

#include "store/store.h"

/* Over kind, target, payload and media. Kept on disk beside the key: it never changes. */
uint64_t append_digest(const struct append *append);

#endif
