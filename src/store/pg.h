/* pg.h - logs and ledger in PostgreSQL: durable, shared by many nodes. One database is one shard.
 *
 * Truth. A batch of appends is one transaction. It locks the rows of its channels, in the order of their ids, numbers
 * the messages and inserts them; the locks are held to the commit. So whatever other nodes do, the order of seqs is the
 * order of commits, and a rollback leaves no hole. Writes to the ledger lock what they name in a fixed order too.
 * Other processes append to the same logs: has_one_writer is false.
 *
 * Threads. All calls but close may come from any thread. The store has one thread of its own, with a few connections in
 * libpq's pipeline mode; done() is called on it, or within the call if the request is refused. While a host name is
 * looked up for a new connection, that thread waits.
 *
 * Bounds. Appends: what the caller has under way. Reads and questions: read_count_max may wait, RC_FULL beyond. Ledger:
 * change_count_max changes may wait, LEDGER_BUSY beyond.
 *
 * Failures. What was under way on a connection that was lost is tried again on the next one, five times at most, unless
 * its COMMIT was sent. If no connection can be made,
 * appends are APPEND_AWAY (certainly not written), ledger writes LEDGER_AWAY, reads RC_IO, at once until a connection
 * stands again; attempts go on with growing pauses, at most 5 s. A lost connection whose COMMIT was under way is
 * fenced by the next one, which then reads whether that commit happened: the answer is APPEND_DONE, or the batch is tried
 * again. If that can't be learnt within doubt_ms, the batch is APPEND_BROKEN. An answer that takes longer than answer_ms
 * is a lost connection. If the disk of the database is full: APPEND_NO_SPACE. An error that PostgreSQL reports
 * otherwise: APPEND_AWAY, and its text is in the stats.
 *
 * Epochs. All durable logs of a database have one epoch. It changes if the database has another system identifier or
 * timeline than before (restored, or failed over to a replica), or if it lacks a commit that it once acknowledged to a
 * process that is still running. A copy of the files that is put back, and started without recovery while no node runs,
 * can't be noticed.
 *
 * Volatile stores. Memory and none namespaces of a cluster lie in unlogged tables in a schema of their own beside those of
 * the durable ones, and a commit doesn't wait for the disk. A crash of the database empties them, and then their logs have a new
 * epoch; so has a replica that is promoted. A channel that was ever used keeps a row there.
 *
 * Needs PostgreSQL 14 or later, the encoding UTF8, and a connection of its own per session (no pooling by transaction). */
#ifndef STORE_PG_H
#define STORE_PG_H

#include "store/shard_table.h"
#include "store/store.h"

struct pg_store_options {
    const char        *url;               /* postgres://user@host:port/database?…, or any other connection string of libpq */
    struct namespaces *spaces;            /* borrowed until close */
    struct hash_key    hash_key;          /* the key that all channel names are hashed with */
    bool               is_volatile;       /* for memory and none namespaces: tables that a crash of the database empties */
    msec               key_keep_ms;       /* idempotency window; 0: 24 hours */
    size_t             writer_count;      /* connections for appends, 1 … 8; 0: 4. One more is for the ledger */
    size_t             reader_count;      /* connections for reads, 1 … 8; 0: 2 */
    size_t             read_count_max;    /* 0: 65,536 */
    size_t             change_count_max;  /* 0: 65,536 */
    msec               connect_ms;        /* how long a connection may take to stand; 0: 5 s */
    msec               answer_ms;         /* how long an answer may take; 0: 10 s */
    msec               doubt_ms;          /* how long the outcome of a COMMIT is looked for; 0: 8 s */
    msec               tend_ms;           /* steps of retention are at least so far apart; 0: 1 s. What tick() asks sooner is left out */
    msec               room_ms;           /* how long after a refusal for want of room it is tried whether there is room again; 0: 5 s */
};

/* Makes the schema `longwire` in the database, which is number `index` of the `count` of its cluster and has that place; an
 * older schema is led to this version, and keeps its place. RC_BAD: it is of a newer version, or the database can't be used.
 * RC_DENIED: PostgreSQL refuses, and would refuse again. RC_IO: it can't be reached, or is not ready for this: a later try may do. ret_why
 * is then a sentence. */
enum rc pg_store_init(const char *url, const struct shard_place *place, size_t index, size_t count, char *ret_why,
                      size_t why_size) RC_MUST_USE;

/* Which slots a database has. RC_GONE: it has no schema yet. Else as above. */
enum rc pg_store_ask(const char *url, struct shard_place *ret, char *ret_why, size_t why_size) RC_MUST_USE;

/* RC_GONE: the database has no schema yet. Else as above. */
enum rc pg_store_open(const struct pg_store_options *options, struct store **ret, char *ret_why,
                      size_t why_size) RC_MUST_USE;

#endif
