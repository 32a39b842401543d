/* store.h - This module keeps the logs: it numbers messages, stores them, reads them back, and deletes them by
 * retention.
 *
 * It is a port with several makers: mem (bounded rings; single-threaded, completes inline), rocks (RocksDB, durable)
 * and pg (PostgreSQL, shared by many nodes). So nothing here assumes that one process sees every append: the *store*
 * assigns seqs, ids and epochs, and only its completion tells them. It refuses to know subscribers, sockets, or who may do
 * what. All makers pass one battery, store_battery.h.
 *
 * Completion is asynchronous: done() may be called before the call returns (mem) or later on a thread of the store's
 * own (rocks, pg). The caller must cope with both. Order is promised per channel, not per store: a channel's appends go
 * into one batch at a time, and batches, reads and questions complete in any order. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/buf.h"
#include "base/list.h"
#include "message/message.h"
#include "store/ledger.h"

enum append_outcome {
    APPEND_WAITING,
    APPEND_DONE,          /* message->epoch, seq, id are set; durable if the namespace is */
    APPEND_REPLAYED,      /* the key was used within its window with the same payload: `first` is that answer */
    APPEND_KEY_CONFLICT,  /* the key was used within its window with another payload */
    APPEND_NO_TARGET,     /* the target of the recall doesn't exist (never did, was trimmed, or is itself a recall) */
    APPEND_PURGED,        /* of a purge: what the channel held is gone, durably if its namespace is; see `purged` */
    APPEND_STALE,         /* a condition of the ledger write that it carries did not hold: nothing was written */
    APPEND_NO_SPACE,      /* the disk is full: nothing was written; the store recovers by itself */
    APPEND_BROKEN,        /* a write failed: perhaps written, perhaps not; the store reopens by itself */
    APPEND_AWAY,          /* the engine can't be reached: certainly not written; the store reconnects by itself */
};

/* The first answer to an idempotency key. */
struct append_answer {
    uint64_t epoch, seq, id;
    msec     time;
};

/* The answer to a purge. */
struct purge_answer {
    uint64_t epoch, first, head;  /* `first` as it was before: first … head are gone */
};

/* One message on its way into the log, or a purge. The owner keeps it, and all it points at, until the batch is done. */
struct append {
    struct list          link;       /* in append_batch.appends, in the order of submission */
    struct message      *message;    /* borrowed; unnumbered; kind PLAIN, or RECALL with its target. Of a purge: it names
                                      * the channel, and nothing else of it matters */
    bool                 is_purge;   /* nothing is numbered: the first kept seq becomes head + 1. Without key and write */
    struct span          key;        /* idempotency key, 1-255 bytes; empty: none */
    struct span          publisher;  /* scope of the key, with the channel; at most 1,024 bytes */
    struct ledger_write *write;      /* borrowed; rows of store->ledger that change if and only if this append is
                                      * numbered, in the same commit; NULL: none. Its outcome becomes only LEDGER_STALE
                                      * (with APPEND_STALE) or LEDGER_DONE (with APPEND_DONE) */
    enum append_outcome  outcome;
    struct append_answer first;      /* APPEND_REPLAYED only */
    struct purge_answer  purged;     /* APPEND_PURGED only */
};

/* The store checks an append's key first, then the conditions of its ledger write, then whether its recall has a
 * target. Two requests with one key are the same if kind, target, payload and media are equal. What remains of a
 * recalled message (MESSAGE_RECALLED) keeps its seq, id, time and expiry, and its `target` is the seq of the recall.
 *
 * A batch commits as one: after a crash of `rocks` or of the database of `pg` either all of it or nothing is there. Within a batch, appends to one
 * channel are numbered in list order, and the second use of a key replays the first. The recall of a message that was
 * recalled before is APPEND_REPLAYED with the first recall's answer. */
struct append_batch {
    struct list appends;
    size_t      count;
    msec        wall;  /* now, for key windows and retention; the caller sets message->time */
    void      (*done)(struct append_batch *batch);
    struct list link;  /* the store's, until it is done */
};

/* A purge stands in the order of its channel's appends: what comes before it is gone, and what comes behind it has the
 * next seq, so that no seq ever names two messages. A channel that was never used is APPEND_NO_TARGET. A read that is
 * submitted after the purge completed shows nothing of what is gone but a gap GAP_TRIMMED. Keys are not forgotten: the
 * repeat of a message that is gone is still APPEND_REPLAYED. While the disk is full a maker should let purges pass. */

/* For makers, at the call: checks that the append is as described above. */
void append_check(const struct append *append);

enum read_way {
    READ_AFTER,   /* seq > bound, ascending from there */
    READ_BEFORE,  /* seq < bound, the `limit` newest of them, in ascending order; bound 0: from the end */
};

enum { READ_ENTRIES_MAX = 1000 };

/* A page of one log. The owner keeps it until done(). */
struct store_read {
    struct channel_name *channel;      /* borrowed */
    enum read_way        way;
    uint64_t             bound;        /* exclusive */
    uint32_t             limit;        /* entries, 0 … READ_ENTRIES_MAX; 0: the read asks only for epoch, first and
                                        * head */
    size_t               bytes_max;    /* stop after the entry that reaches it; at least one entry is given */
    msec                 since;        /* READ_AFTER: begin at the first message that is not older, and set `bound` so;
                                        * 0: by `bound` alone */
    msec                 until;        /* end before the first message that is younger, and set `end` so; 0: don't */
    uint64_t             end;          /* the maker's: no seq from here on is in the page; 0: `until` says nothing */
    msec                 wall;
    void               (*done)(struct store_read *read);

    enum rc              rc;           /* RC_OK; RC_IO, RC_CORRUPT, RC_FULL (too many reads wait): `entries` is empty */
    uint64_t             epoch;        /* never 0, not even for a channel that was never used */
    uint64_t             first;        /* first kept seq; head + 1 if none is kept */
    uint64_t             head;         /* last seq given; 0: never used */
    uint64_t             bytes;        /* payload bytes that are kept, about */
    struct entry        *entries;      /* ascending, neighbours touch: every seq of the page is a message or in a gap.
                                        * Freed by store_read_fini(), or taken over by whoever nulls it. */
    size_t               entry_count;
    struct list          link;         /* the store's, until it is done */
};

/* Times rise with the seq, except where the clock was set back. There, of several places that fit, the page begins or
 * ends at one of them; seq_by_time.h says what holds in any case.
 *
 * Neighbours touch: a READ_AFTER page begins at bound + 1 (if that is <= head) and has no hole; a gap stands for what
 * is expired, trimmed or corrupt. A bound beyond head gives no entries; the caller compares with head. */
void store_read_fini(struct store_read *read);

/* For makers, at the call: checks that the read is as described above. */
void store_read_check(const struct store_read *read);

/* Where one log ends. */
struct store_head {
    enum rc  rc;                  /* as in store_read */
    uint64_t epoch, first, head;  /* as in store_read; with RC_OK only */
};

enum { STORE_HEADS_MAX = 1000 };

/* Where many logs end, in one question. The owner keeps it, and all it points at, until done(). */
struct store_heads {
    struct channel_name **names;  /* borrowed */
    struct store_head    *heads;  /* the answers, in the order of the names */
    size_t                count;  /* 1 … STORE_HEADS_MAX */
    msec                  wall;
    void                (*done)(struct store_heads *question);
    struct list           link;   /* the store's, until it is done */
};

enum { STORE_DAMAGES_TOLD = 8, STORE_DAMAGE_BYTES = 400 };

enum {
    LISTING_CHANNELS_MAX = 1000,
    LISTING_ROWS_MAX     = 10000,  /* that a maker looks at for one page */
    LISTING_TEXT_MAX     = NAMESPACE_NAME_BYTES_MAX + 1 + CHANNEL_NAME_BYTES_MAX,
};

/* One channel, as it is when it is listed. */
struct listed_channel {
    struct channel_name *name;                       /* a reference of the listing's */
    enum rc              rc;                         /* RC_CORRUPT: its records are damaged; first is 1, head and
                                                      * bytes are 0 */
    uint64_t             epoch, first, head, bytes;  /* as in store_read */
};

/* A page of the channels that were ever used, ascending by the bytes of their names: those that begin with `prefix` and
 * stand behind `after`. A channel that is created meanwhile may be missing. The owner keeps it, and all it points at,
 * until done(). */
struct store_listing {
    struct span            prefix, after;  /* borrowed, LISTING_TEXT_MAX bytes each at most; `after` empty: from the
                                            * first one on */
    uint32_t               limit;          /* 1 … LISTING_CHANNELS_MAX */
    msec                   wall;
    void                 (*done)(struct store_listing *listing);

    enum rc                rc;             /* as in store_read */
    struct listed_channel *channels;       /* freed by store_listing_fini() */
    size_t                 count;
    struct buf             reached;        /* where the page ends, which need not be a channel of it: the next one begins
                                            * behind this name. Empty: it was the last page */
    struct list            link;           /* the store's, until it is done */
};

void store_listing_fini(struct store_listing *listing);

/* For makers: checks the question and empties the answer; adds a channel, and takes the name; ends the page there. */
void                   store_listing_begin(struct store_listing *listing);
struct listed_channel *store_listing_add(struct store_listing *listing, struct channel_name **take);
void                   store_listing_end_at(struct store_listing *listing, struct span name);

/* For makers: where to begin. With *ret_is_behind, behind *ret_text. */
void store_listing_from(const struct store_listing *listing, struct span *ret_text, bool *ret_is_behind);

struct store_stats {
    uint64_t channel_count;
    uint64_t disk_bytes;       /* of all files; 0 for memory */
    uint64_t memory_bytes;     /* held by rings, tails, caches, about */
    uint64_t append_count, batch_count, sync_count;
    uint64_t sync_us_sum;
    uint64_t sync_us_buckets[20];  /* bucket i: syncs that took < 2^(i+5) us (32 us, 64 us, ...); the last also all
                                    * longer ones */
    uint64_t waiting_count;        /* requests that no connection to the engine has taken yet */
    uint64_t reconnect_count;      /* connections to the engine that were lost, and made anew */
    uint64_t resolved_count;       /* commits whose answer was lost, and whose outcome was learnt afterwards */
    uint64_t unresolved_count;     /* … and could not be learnt in time */
    bool     is_full, is_broken;   /* publishes are refused while one of them is true */
    bool     is_failing;           /* what failed last has not worked again */
    bool     is_unreadable;        /* reads fail: the log is closed, and can't even be opened for reading */
    uint64_t failure_count;        /* writes and syncs that failed; some failures are over before anybody sees
                                    * is_broken */
    char     failure[160];         /* what the engine said of the last failure; "" if none */
    int64_t  clock_ahead_ms;       /* how far this machine's clock is before that of the engine, when it was last compared; of several
                                    * engines, the one that is farthest away; 0 without an engine */
    uint64_t epoch_count;          /* times that the logs of an engine took another epoch while it was in use here */
    uint64_t damage_count;         /* places on the disk that were found damaged; each counts once */
    char     damages[STORE_DAMAGES_TOLD][STORE_DAMAGE_BYTES];  /* what is damaged there, file and offset if they are
                                                                * known: place n (from 0) is at n % STORE_DAMAGES_TOLD */
};

struct store;

/* Who wants to hear what other processes append. Both are called on a thread of the store's, and must be quick. */
struct store_ear {
    /* Up to there the log has been written, by somebody who does not tell it in another way. The name is borrowed. */
    void (*heard)(void *ctx, struct channel_name *name, uint64_t epoch, uint64_t head);
    /* Such news may have been lost: the heads of all followed logs must be compared. Also once at the beginning. */
    void (*missed)(void *ctx);
    void *ctx;
};

struct store_ops {
    const char *name;
    const char *engine;  /* the engine that is asked, for whoever is refused because of it; NULL: this process itself */
    void (*append)(struct store *store, struct append_batch *batch);
    void (*read)(struct store *store, struct store_read *read);
    void (*heads)(struct store *store, struct store_heads *question);
    void (*list)(struct store *store, struct store_listing *listing);
    /* From now on tells what others append; once in the store's life. NULL: nobody appends without saying so. */
    void (*hear)(struct store *store, const struct store_ear *ear);
    /* Does one bounded step of retention; the caller calls it about once a second. Never blocks long. */
    void (*tick)(struct store *store, msec wall);
    /* From now on, soon, caches hold an eighth of what they may; or all of it again. NULL: it has none. */
    void (*lean)(struct store *store, bool is_lean);
    void (*stats)(struct store *store, struct store_stats *ret_stats);  /* any thread */
    /* Of a store that is spread: in which of its parts a channel lies. A batch whose appends are of one part is not taken
     * apart. NULL: it has one part. */
    uint32_t (*part_of)(struct store *store, const struct channel_name *name);
    /* Completes what is under way, then frees the store. */
    void (*close)(struct store *store);
    /* For a store that one process at a time may use, while another process takes this one's place; NULL: it need not do
     * anything for that. The first may be called at any time, from any thread, and makes the next two quick. let_go() waits until what
     * is being written is written; from then on nothing is served, and what is asked waits. After take_back(), on the same
     * thread, all goes on. If the data could not be opened then, the store tries again by itself. */
    void (*make_light)(struct store *store);
    void (*let_go)(struct store *store);
    enum rc (*take_back)(struct store *store, char *ret_why, size_t why_size);
};

enum { STORE_STRANGE_BYTES = 256, STORE_STRANGE_LOOKS = 512 };

/* Set by the maker. */
struct store {
    const struct store_ops *ops;
    char                    strange[STORE_STRANGE_BYTES];  /* Names, with commas between: when it was opened it held channels of
                                              * these namespaces, which are not configured. Nobody can read these, and nothing
                                              * of them is ever removed */
    msec                    wall_seen;       /* the newest time that it was told before it was opened, to a minute; 0:
                                              * not known */
    struct ledger          *ledger;          /* rows that commit with this log (ledger.h), closed with it; NULL: it has
                                              * none */
    uint32_t                batches_max;     /* so many batches under way at a time are of use; 1 … STORE_BATCHES_MAX */
    uint32_t                batch_least;     /* Batches that are under way together are faster than one large batch, from so many
                                              * appends on in each; 0: a batch takes whatever waits */
    uint32_t                part_count;      /* 0: one. Each part takes as many of these batches */
    bool                    is_inline;       /* Every call completes before it returns: nothing waits for it (mem) */
    bool                    has_one_writer;  /* A log changes only by appends that this process submits, so that what
                                              * the last completion said is the log's head. False: other processes
                                              * append, or logs begin anew by themselves (mem, once it has forgotten a
                                              * channel). Then a head is old as soon as it is told, and must be asked
                                              * for again. May become false while it is open, on the thread that calls;
                                              * never true */
};

enum { STORE_BATCHES_MAX = 64 };

/* For makers, at the opening, for the first channel of each namespace: notes the namespace in `strange` if it is not configured. *ret_next,
 * if not NULL, gets what all names of its channels stand before. */
void store_look_at_space(struct store *store, struct namespaces *spaces, struct span channel, struct buf *ret_next);

#endif
