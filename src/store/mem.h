/* mem.h - logs in memory: bounded rings for namespaces that keep nothing longer than the process lives.
 *
 * Single-threaded and pure: no clock, no randomness; epochs and ids start where the caller says. Every call completes
 * inline. What a channel keeps is its namespace's keep_count, keep_ms and keep_bytes; NONE keeps nothing, but
 * numbers all the same. An idle channel costs about 100 bytes and its name.
 *
 * The bounds and what happens there:
 * - ring_bytes_max, over all channels: the channel that was published to longest ago lets go its oldest messages.
 * - channel_count_max: the channel that has kept nothing for longest is forgotten (or, if all keep something, the
 *   one published to longest ago). Should it come back, it has a new epoch. While channels are being forgotten a
 *   channel never used may be told a new epoch between two looks; its readers then see a gap that held nothing.
 * - key_count_max: the oldest idempotency key is forgotten before its window is over.
 * - row_count_max, row_bytes_max, of the ledger: a write that would add more is refused, LEDGER_NO_SPACE or
 *   APPEND_NO_SPACE. */
#ifndef STORE_MEM_H
#define STORE_MEM_H

#include "store/store.h"

struct mem_store_options {
    uint64_t        epoch_first;        /* not 0; new epochs count up from it */
    uint64_t        id_first;           /* not 0; all kinds start here */
    struct hash_key hash_key;           /* for the idempotency keys */
    size_t          channel_count_max;  /* 0: 1,000,000 */
    size_t          ring_bytes_max;     /* 0: 256 MiB */
    size_t          key_count_max;      /* 0: 1,000,000 */
    msec            key_keep_ms;        /* 0: 24 hours */
    size_t          row_count_max;      /* 0: 1,000,000 */
    size_t          row_bytes_max;      /* 0: 256 MiB */
};

/* Freed by its close. */
struct store *mem_store_new(const struct mem_store_options *options);

#endif
