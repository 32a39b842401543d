/* redis_priv.h - the store on Redis from within.
 *
 *     callers ── queues (lock) ──> the thread ── calls of the script ──> lines ── answers ──> done()
 *
 *     redis.c   the port, the lines      redis_append.c   batches      redis_read.c   pages, heads, listings
 *
 * All but the queues, the counters and `failure` belongs to the thread. */
#ifndef STORE_REDIS_PRIV_H
#define STORE_REDIS_PRIV_H

#include "base/counter.h"
#include "store/redis.h"
#include "store/redis_line.h"

struct redisReply;

enum { APPENDS_A_CALL = 64, CALL_BYTES = 1 << 20, HEADS_A_CALL = 100, READS_WAITING = 65536, SCRIPT_SHA_BYTES = 40,
       SCRIPT_RUN_BYTES = 64, NUMBER_TEXT_BYTES = 24, CHANNELS_BYTES = APPENDS_A_CALL * 4096, CALL_ARGS = 11 /* EVALSHA and what every operation gets */ };

/* What is known of one Redis. */
struct redis_shard {
    char sha[SCRIPT_SHA_BYTES + 1];
    char run_id[SCRIPT_RUN_BYTES];
};

struct redis_store {
    struct store               store;
    struct redis_store_options options;
    struct redis_thread        thread;
    size_t                     shard_count;
    struct redis_shard         shards[REDIS_INSTANCES];
    size_t                     read_count;       /* reads, questions and listings under way; under the lock */
    struct list                batches, reads, questions, listings;  /* under the lock */
    msec                       tick_wall;        /* under the lock; 0: none is due */
    msec                       tick_due;         /* … by redis_now(): the next one */
    bool                       is_down;          /* under the lock */
    char                       failure[REDIS_WHY_BYTES];  /* under the lock */
    struct counter             channel_count, append_count, batch_count, failure_count;
    uint64_t                   channel_counts[REDIS_INSTANCES];
};

/* --- redis.c --- */
struct redis_line *redis_line_of_channel(struct redis_store *store, const struct channel_name *name);

/* Begins a call of the script: `more` arguments follow, which the caller puts. The line is up. */
void redis_call_begin(struct redis_store *store, struct redis_line *line, const char *operation, msec wall, size_t more,
                      redis_answered *answered, void *ctx);
void redis_put_number(struct redis_line *line, uint64_t number);

/* A channel, as CHANNEL of the script says. */
void redis_channel_put(struct buf *buf, const struct channel_name *name);

/* The word that an answer begins with, as the epoch of a channel with this number. */
uint64_t redis_epoch(const struct redisReply *answer, long long number);

/* False: it is no answer of the script with at least so many elements; what Redis said is noted. */
bool redis_is_answer(struct redis_store *store, const struct redisReply *reply, size_t elements);

void redis_read_over(struct redis_store *store);

/* --- redis_append.c --- */
void redis_batch_start(struct redis_store *store, struct append_batch *batch);

/* --- redis_read.c --- */
void redis_read_start(struct redis_store *store, struct store_read *read);
void redis_heads_start(struct redis_store *store, struct store_heads *question);
void redis_list_start(struct redis_store *store, struct store_listing *listing);

/* --- redis_record.c: what stands in a list --- */
enum { RECORD_HEAD_BYTES = 33, RECORD_LENGTHS_BYTES = 8 };
/* Little endian. */
void redis_whole_put(struct buf *buf, uint64_t value, size_t bytes);
/* All but kind and id, which the script puts before it. */
void redis_record_put(struct buf *buf, const struct message *message);
/* Eight bytes, a double. 0: it is none of ours. */
uint64_t redis_record_number(const char *at);
/* NULL: it isn't one that we wrote. */
struct message *redis_record_get(struct span record, struct channel_name *name, uint64_t epoch, uint64_t seq);

#endif
