/* ledger.h - This port keeps what is not a message: rows of state, each with a kind, a key and a generation.
 *
 * Whoever owns state that must outlive a process (sessions, places, group members, stored answers, revocations) gives
 * its rows a kind and decides what their bytes mean. The ledger refuses to know that, and it never asks the time:
 * `wall` is handed in.
 *
 * Makers: ledger_mem.h in the memory store, and a column family beside the log in the RocksDB store. A ledger is opened
 * and closed with its store (store->ledger), and an append to the log can carry a write to it (store.h): both commit,
 * or neither does. PostgreSQL comes later. So nothing here assumes that one process sees every change: what has to hold
 * is said as a condition of the write, and the engine decides. All makers pass one battery, ledger_battery.h.
 *
 * Generations. The owner gives a row a number with each put, not 0; 0 means that there is no row. A number that only
 * rises makes a row comparable: a session's generation, a lease's number, an acknowledged seq. When a row is deleted
 * its generation is forgotten with it, so a row whose old generations must stay refused is not deleted but overwritten.
 * If a store lost acknowledged commits its log takes a new epoch, and generations that were lost may be given a second
 * time: who hands them out binds them to the epoch.
 *
 * Expiry. From the millisecond `expires_at` on nobody is given the row, and conditions treat it as absent; its space
 * comes back later. Nobody is told: an owner that has something to do at the end of a row keeps it without an expiry
 * and deletes it.
 *
 * Threads. With the memory maker all calls come from the store's one thread, and done() is called before the call
 * returns. With RocksDB they may come from any thread; done() is called on a thread of the store, before or after the
 * call returns (what is refused because too much waits: within the call), and must not wait. No lock is held then, so
 * done() may submit more. After close() began nothing may be submitted; close() completes what is under way.
 *
 * Order. The writes of one ledger apply in the order in which they were submitted, and their batches are done() in that
 * order, but for LEDGER_BUSY, which comes at once; reads are done() in any order. A read that is submitted after a
 * write's done() sees that write. There is no order between a batch and a write that an append carries: who needs one
 * waits for the first one's done(). A ledger that is spread over several databases is several ledgers. */
#ifndef STORE_LEDGER_H
#define STORE_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/msec.h"
#include "base/rc.h"
#include "base/span.h"

/* More than these is a mistake of ours, and ends the process. */
enum {
    LEDGER_KEY_BYTES_MAX     = 512,
    LEDGER_VALUE_BYTES_MAX   = 64 * 1024,        /* what is larger is a message in a log, and its row names the seq */
    LEDGER_WRITE_COUNT_MAX   = 64,               /* changes that commit as one */
    LEDGER_BATCH_COUNT_MAX   = 1024,             /* changes of all writes of a batch */
    LEDGER_BATCH_BYTES_MAX   = 8 * 1024 * 1024,  /* of their keys and values */
    LEDGER_READ_COUNT_MAX    = 1000,             /* keys of a get, rows of a scan's page */
};

/* Kinds are 1 … 255, given out in one place by the modules above. Keys order bytewise, a short one before its
 * continuations; an owner that scans by prefix ends the prefix so that no name continues it. */
struct ledger_key {
    uint8_t     kind;
    struct span bytes;  /* 1 … LEDGER_KEY_BYTES_MAX, any */
};

/* A row as it stands. */
struct ledger_row {
    struct span key;         /* without its kind */
    struct span value;
    uint64_t    generation;  /* 0: there is no such row */
    msec        expires_at;  /* 0: never */
};

/* --- writing ---------------------------------------------------------------------------------------------------- */

enum ledger_op {
    LEDGER_PUT,     /* the row is this from now on */
    LEDGER_RAISE,   /* … unless its generation is as high already: then it stays, and that is as good */
    LEDGER_DELETE,  /* there is no such row from now on; fine if there was none */
    LEDGER_CHECK,   /* nothing changes; only the condition counts */
};

/* Borrowed bytes stay as they are until the write's batch (or append's batch) is done. */
struct ledger_change {
    enum ledger_op    op;
    struct ledger_key key;
    struct span       value;           /* PUT, RAISE: 0 … LEDGER_VALUE_BYTES_MAX bytes */
    uint64_t          generation;      /* PUT, RAISE: the row's from now on; not 0, unless takes_seq */
    bool              takes_seq;       /* in a write that an append carries: the generation is that append's seq */
    msec              expires_at;      /* PUT, RAISE; 0: never */
    bool              is_conditional;
    uint64_t          if_generation;   /* the row's generation must be this; 0: there must be no row */
};

enum ledger_outcome {
    LEDGER_WAITING,
    LEDGER_DONE,      /* all changes hold, durably with a durable store */
    LEDGER_STALE,     /* a condition did not hold: nothing was written; `now` is the row that refused */
    LEDGER_NO_SPACE,  /* the disk, or the memory, is full: nothing was written; will work again by itself */
    LEDGER_BUSY,      /* too much waits already: nothing was written; try again later */
    LEDGER_AWAY,      /* the engine can't be asked just now: nothing was written; will work again by itself */
    LEDGER_BROKEN,    /* perhaps written, perhaps not. What stands is settled, and a read tells it, once a later write
                       * ends as DONE or STALE. Also: a row that the write depends on is damaged; then nothing was
                       * written, and an unconditional PUT or DELETE of that row mends it */
};

/* Changes that hold together or not at all: all conditions are true of the rows before the write, or nothing changes.
 * A write names a row once. */
struct ledger_write {
    struct ledger_change *changes;   /* borrowed */
    size_t                count;     /* 1 … LEDGER_WRITE_COUNT_MAX */
    enum ledger_outcome   outcome;
    size_t                stale_at;  /* LEDGER_STALE: the first change whose condition did not hold */
    struct ledger_row     now;       /* … and its row; the value is freed by ledger_write_fini() */
    struct list           link;      /* in ledger_batch.writes, in the order of submission */
};

/* Writes that travel together; each has its own outcome. The owner keeps it, and all it points at, until done(). */
struct ledger_batch {
    struct list writes;
    size_t      change_count;  /* of all writes */
    msec        wall;          /* now, for expiry */
    void      (*done)(struct ledger_batch *batch);
    struct list link;          /* the ledger's, until it is done */
};

void ledger_write_fini(struct ledger_write *write);

/* --- reading ---------------------------------------------------------------------------------------------------- */

enum ledger_way {
    LEDGER_GET,   /* rows by their keys */
    LEDGER_SCAN,  /* rows of a kind by a prefix of their keys, ascending, page by page */
};

/* The owner keeps it, and all it points at, until done(). */
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
                                           * RC_CORRUPT: what comes first is damaged: the row of the first key (GET) or
                                           * the row at `next` (SCAN), so that who goes on from there leaves it out */
    struct ledger_row       *rows;        /* GET: of the first row_count keys, in their order; where there is no row,
                                           * generation is 0. Fewer than key_count: ask for the rest in another read.
                                           * Freed by ledger_read_fini() */
    size_t                   row_count;
    struct span              next;        /* SCAN: the `after` of the next page, as long as this one is kept; empty:
                                           * this was the last. A page may be short, even empty, and have a next. With
                                           * RC_CORRUPT and no next, nothing behind can be read either */
    char                    *bytes;       /* what rows and next point into */
    struct list              link;        /* the ledger's, until it is done */
};

void ledger_read_fini(struct ledger_read *read);

/* --- the port --------------------------------------------------------------------------------------------------- */

struct ledger;

struct ledger_ops {
    const char *name;
    void (*write)(struct ledger *ledger, struct ledger_batch *batch);
    void (*read)(struct ledger *ledger, struct ledger_read *read);
};

struct ledger {
    const struct ledger_ops *ops;
};

/* For makers, at the call: that it keeps to the maxima above. */
void ledger_batch_check(const struct ledger_batch *batch);
void ledger_read_check(const struct ledger_read *read);

/* The same for a write that an append carries. */
void ledger_carried_check(const struct ledger_write *write);

#endif
