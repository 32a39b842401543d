/* ledger.h - This port keeps what is not a message: rows of state, each with a kind, a key and a generation.
 *
 * A module that owns state which must outlive a process (sessions, places, group members, stored answers, revocations)
 * gives its rows a kind and decides what their bytes mean. The ledger refuses to know that meaning, and it never reads
 * a clock: the caller hands in `wall`.
 *
 * Makers: ledger_mem.h in the memory store, a column family beside the log in the RocksDB store, and a table beside the
 * log in PostgreSQL. A ledger is opened and closed with its store (store->ledger), and an append to the log can carry a
 * write to the ledger (store.h): both commit, or neither does. Nothing here assumes that one process sees every change.
 * Whatever must hold is stated as a condition of the write, and the engine decides. All makers pass one battery,
 * ledger_battery.h.
 *
 * Generations. The owner gives a row a number with each put, not 0; 0 means that there is no row. If an owner only lets
 * the number rise, two versions of its row can be compared: a session's generation, a lease's number, an acknowledged
 * seq. A deleted row loses its generation. So if old generations of a row must stay refused, its owner overwrites the
 * row instead of deleting it. If a store lost acknowledged commits its log takes a new epoch, and lost generations may
 * be given a second time: an owner that hands generations out binds them to the epoch.
 *
 * Expiry. From the millisecond `expires_at` on nobody gets the row, and conditions treat it as absent; its space is
 * reclaimed later. The ledger tells nobody: an owner that must act at the end of a row gives it no expiry, and deletes
 * it.
 *
 * Threads. With the memory maker all calls come from the store's one thread, and done() is called before the call
 * returns. With RocksDB and PostgreSQL calls may come from any thread. done() is called on a thread of the store, before or after the
 * call returns (within the call if the request is refused because too many wait), and must not wait. No lock is held
 * then, so done() may submit more. Once close() has begun nothing may be submitted; close() completes what is under
 * way.
 *
 * Order. The writes of one ledger apply in the order in which they were submitted, and their batches complete in that
 * order, except for LEDGER_BUSY, which comes at once. Reads complete in any order. A read that is submitted after a
 * write's done() sees that write. There is no order between a batch and a write that an append carries: a caller that
 * needs one waits for the first one's done(). A ledger that is spread over several databases is several ledgers. */
#ifndef STORE_LEDGER_H
#define STORE_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/msec.h"
#include "base/rc.h"
#include "base/span.h"

/* To exceed one of these is a mistake of ours, and ends the process. */
enum {
    LEDGER_KEY_BYTES_MAX     = 512,
    LEDGER_VALUE_BYTES_MAX   = 64 * 1024,        /* a larger value is stored as a message in a log, and its row names
                                                  * the seq */
    LEDGER_WRITE_COUNT_MAX   = 64,               /* changes that commit as one */
    LEDGER_BATCH_COUNT_MAX   = 1024,             /* changes of all writes of a batch */
    LEDGER_BATCH_BYTES_MAX   = 8 * 1024 * 1024,  /* of their keys and values */
    LEDGER_READ_COUNT_MAX    = 1000,             /* keys of a get, rows of a scan's page */
};

/* Kinds are 1 … 255, and the modules above assign them in one place. Keys are ordered by their bytes, a key before its
 * continuations. An owner that scans by prefix ends the prefix with a byte that no name continues. */
struct ledger_key {
    uint8_t     kind;
    struct span bytes;  /* 1 … LEDGER_KEY_BYTES_MAX, any */
};

/* A row as it is stored. */
struct ledger_row {
    struct span key;         /* without its kind */
    struct span value;
    uint64_t    generation;  /* 0: there is no such row */
    msec        expires_at;  /* 0: never */
};

/* --- writing ---------------------------------------------------------------------------------------------------- */

enum ledger_op {
    LEDGER_PUT,     /* sets the row */
    LEDGER_RAISE,   /* sets the row unless its generation is as high already: then the row stays, which also counts as
                     * done */
    LEDGER_DELETE,  /* deletes the row; succeeds if there was none */
    LEDGER_CHECK,   /* nothing changes; only the condition counts */
};

/* The owner leaves borrowed bytes unchanged until the write's batch (or append's batch) is done. */
struct ledger_change {
    enum ledger_op    op;
    struct ledger_key key;
    struct span       value;           /* PUT, RAISE: 0 … LEDGER_VALUE_BYTES_MAX bytes */
    uint64_t          generation;      /* PUT, RAISE: the row's from now on; not 0, unless takes_seq */
    bool              takes_seq;       /* in a write that an append carries: the generation is that append's seq */
    msec              expires_at;      /* PUT, RAISE; 0: never */
    bool              is_conditional;
    bool              is_sure;         /* the condition holds: the caller has all writes of this row, which nobody else makes,
                                        * before its eyes. The ledger need not look; writes of the same batch excepted */
    uint64_t          if_generation;   /* the row's generation must be this; 0: there must be no row … */
    uint64_t          if_epoch;        /* … and in this life of the log, in which it was written: in another one the row is lost,
                                        * whatever stands there. 0: in any */
};

enum ledger_outcome {
    LEDGER_WAITING,
    LEDGER_DONE,      /* all changes hold, durably with a durable store */
    LEDGER_STALE,     /* a condition did not hold: nothing was written; `now` is the row that refused */
    LEDGER_NO_SPACE,  /* the disk, or the memory, is full: nothing was written; will work again by itself */
    LEDGER_BUSY,      /* too many changes wait already: nothing was written; try again later */
    LEDGER_AWAY,      /* the engine can't be asked just now: nothing was written; will work again by itself */
    LEDGER_BROKEN,    /* perhaps written, perhaps not. The outcome is settled once a later write ends as DONE or STALE;
                       * then a read shows it. Also: a row that the write depends on is damaged. Then nothing was
                       * written, and an unconditional PUT or DELETE of that row repairs it */
};

/* Changes that commit together or not at all: if all conditions are true of the rows before the write, all changes are
 * made, otherwise none. A write names a row once. */
struct ledger_write {
    struct ledger_change *changes;   /* borrowed */
    size_t                count;     /* 1 … LEDGER_WRITE_COUNT_MAX */
    enum ledger_outcome   outcome;
    uint64_t              epoch;     /* LEDGER_DONE: of the log. 0: nothing that was acknowledged can be lost while the store is open */
    size_t                stale_at;  /* LEDGER_STALE: the first change whose condition did not hold */
    struct ledger_row     now;       /* … and its row; the value is freed by ledger_write_fini() */
    struct list           link;      /* in ledger_batch.writes, in the order of submission */
};

/* Writes that are submitted together; each has its own outcome. The owner keeps the batch, and all it points at, until
 * done(). Nobody waits for one that is lazy: it may be held for some milliseconds until something else is to be written, so that
 * both share a sync. */
struct ledger_batch {
    struct list writes;
    size_t      change_count;  /* of all writes */
    msec        wall;          /* now, for expiry */
    bool        is_lazy;
    void      (*done)(struct ledger_batch *batch);
    struct list link;          /* the ledger's, until it is done */
};

void ledger_write_fini(struct ledger_write *write);

/* --- reading ---------------------------------------------------------------------------------------------------- */

enum ledger_way {
    LEDGER_GET,   /* rows by their keys */
    LEDGER_SCAN,  /* rows of a kind by a prefix of their keys, ascending, page by page */
};

/* The owner keeps the read, and all it points at, until done(). */
struct ledger_read {
    enum ledger_way          way;
    const struct ledger_key *keys;        /* GET: borrowed */
    size_t                   key_count;   /* … 0 … LEDGER_READ_COUNT_MAX */
    uint8_t                  kind;        /* SCAN */
    struct span              prefix;      /* … borrowed; empty: all of the kind */
    struct span              after;       /* … only keys above it, itself excluded; empty: from the first */
    uint32_t                 limit;       /* … rows, 1 … LEDGER_READ_COUNT_MAX */
    size_t                   bytes_max;   /* of keys and values: stop after the row that reaches it */
    msec                     wall;
    void                   (*done)(struct ledger_read *read);

    enum rc                  rc;          /* RC_OK; RC_IO: the engine can't be asked; RC_FULL: too many reads wait;
                                           * RC_CORRUPT: the first row is damaged, that of the first key (GET) or the
                                           * one at `next` (SCAN): a read that continues from there leaves it out */
    struct ledger_row       *rows;        /* GET: of the first row_count keys, in their order; where there is no row,
                                           * generation is 0. Fewer than key_count: ask for the rest in another read.
                                           * Freed by ledger_read_fini() */
    size_t                   row_count;
    struct span              next;        /* SCAN: the `after` of the next page, valid as long as this page is kept;
                                           * empty: this was the last page. A page may be short, even empty, and have a
                                           * next. With RC_CORRUPT and no next, no later row can be read either */
    char                    *bytes;       /* what rows and next point into */
    struct list              link;        /* the ledger's, until it is done */
};

void ledger_read_fini(struct ledger_read *read);

/* --- the port --------------------------------------------------------------------------------------------------- */

struct ledger;
struct ledger_round;  /* ledger_round.h */

struct ledger_ops {
    const char *name;
    void (*write)(struct ledger *ledger, struct ledger_batch *batch);
    void (*read)(struct ledger *ledger, struct ledger_read *read);
    /* Several questions at once, by ledger_round_ask(). NULL: they are asked one after the other. */
    void (*round)(struct ledger *ledger, struct ledger_round *round);
};

struct ledger {
    const struct ledger_ops *ops;
};

/* For makers, at the call: checks that the request is within the maxima above. */
void ledger_batch_check(const struct ledger_batch *batch);
void ledger_read_check(const struct ledger_read *read);

/* The same for a write that an append carries. */
void ledger_carried_check(const struct ledger_write *write);

#endif
