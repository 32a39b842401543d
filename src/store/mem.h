/* mem.h - logs in memory: bounded rings for namespaces that keep nothing longer than the process lives.
 *
 * Single-threaded and pure: no clock, no randomness; the caller says where epochs and ids start. Every call completes
 * inline. A channel keeps what its namespace's keep_count, keep_ms and keep_bytes say. With durability NONE a channel
 * keeps nothing, but its messages are numbered all the same. An idle channel costs about 100 bytes and its name.
 *
 * The bounds, and what happens when one is reached:
 * - ring_bytes_max, over all channels: the channel that was published to longest ago drops its oldest messages. Which of two was
 *   published to later is known as long as an eighth of ring_bytes_max was kept between.
 * - channel_count_max: the channel that has kept nothing for the longest time is forgotten (or, if all keep something,
 *   the one that was published to longest ago). If it is used again it has a new epoch. While channels are being
 *   forgotten, a channel that was never used may be given another epoch at the next read; its readers then see a gap
 *   that held nothing.
 * - key_count_max: the oldest idempotency key is forgotten before its window ends.
 * - row_count_max, row_bytes_max, of the ledger: a write that would add more is refused with LEDGER_NO_SPACE or
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

/* The store's close frees it. */
struct store *mem_store_new(const struct mem_store_options *options);

/* Is it one of these? */
bool mem_store_is(const struct store *store);

/* For another process that takes this one's place: what it holds, channel by channel, those that were used longest ago first, with
 * their messages in order; and the numbers that it would give next. */
struct mem_visitor {
    void (*channel)(void *ctx, const struct channel_name *name, uint64_t epoch, uint64_t before);  /* its messages come behind
                                                                                                   * that seq */
    void (*message)(void *ctx, const struct message *message);  /* of that channel */
};
void mem_store_visit(struct store *store, const struct mem_visitor *visitor, void *ctx);
void mem_store_next(const struct store *store, uint64_t *ret_epoch, uint64_t *ret_id);
/* In that process, before anything else is done with the store: its numbers begin there, unless they begin above already … */
void mem_store_begin_at(struct store *store, uint64_t epoch, uint64_t id);
/* … adds a channel whose last seq is `head`, and a numbered message behind
 * the last one of its channel. False: it does not follow, or there is such a channel. */
bool mem_store_add_channel(struct store *store, struct channel_name *name, uint64_t epoch, uint64_t head);
bool mem_store_add_message(struct store *store, struct message *message);

#endif
