/* rocks_priv.h - the parts of the RocksDB maker, and who may touch what.
 *
 * Threads: the committer (rocks_append.c, rocks_ledger.c) numbers and writes; readers (rocks_read.c,
 * rocks_ledger_read.c) answer reads; the keeper (rocks_trim.c) moves floors, takes space back, and closes and reopens a
 * database that failed. RocksDB's own threads call the filter (rocks_filter.c).
 *
 * Locks, in the order they are taken; none is held over a done():
 *   db_lock     whoever uses `db` holds it for reading, the keeper for writing while it reopens
 *   table.lock  the channels known in memory; never held over the disk
 *   the locks of the queues and of the floors, each alone */
#ifndef STORE_ROCKS_PRIV_H
#define STORE_ROCKS_PRIV_H

#include <pthread.h>

#include "base/counter.h"
#include "base/map.h"
#include "store/rocks.h"
#include "store/rocks_db.h"
#include "store/rocks_row.h"
#include "store/side_log.h"

enum { READERS_MAX = 16, SYNC_BUCKETS = sizeof(((struct store_stats *)0)->sync_us_buckets) / sizeof(uint64_t) };

/* --- channels (rocks_channel.c) --------------------------------------------------------------------------------- */

/* What is known of a channel at one moment. */
struct rocks_look {
    uint64_t number;      /* 0: never used */
    uint64_t head;
    uint64_t floor;       /* nothing below it is shown; at least 1 */
    uint64_t ceiling;     /* no seq above it was ever given: the head, should the last rows be unreadable */
    uint64_t bytes;       /* payload bytes from floor to head, about; what expired counts until it is below the floor */
    bool     is_guess;    /* `bytes` was reckoned, not weighed, and may be far off: no reason to let anything go */
    uint64_t saved_head;  /* the head when `bytes` was last written down */
    msec     floor_time;  /* of the message at the floor; FLOOR_TIME_UNKNOWN: it must be read */
};

#define FLOOR_TIME_UNKNOWN INT64_MIN

/* What a commit that is being made will change; the committer's alone. */
struct channel_change {
    uint64_t number, head, ceiling;
    uint64_t bytes_more, bytes_less;
    msec     first_time;  /* of the first message in the commit */
    uint32_t row_last;    /* the channel's last row in the commit, counted from 1; 0: none */
    bool     is_open;     /* it is in the commit: don't let the channel go */
    bool     is_new, is_saved;
};

struct rocks_channel {
    struct map_node       node;
    struct list           link;  /* in table.used, the one unused for longest first */
    struct channel_name  *name;  /* owns a reference */
    struct rocks_look     now;   /* as committed */
    struct channel_change change;
};

struct channel_table {
    pthread_mutex_t lock;
    struct map      map;
    struct list     used;
    size_t          count_max;
    uint64_t        changes;  /* how often a floor on disk was moved or a channel let go; see channel_lock() */
    struct counter  count;
};

struct rocks;

void channel_table_init(struct channel_table *table, size_t count_max);
void channel_table_clear(struct channel_table *table);
void channel_table_fini(struct channel_table *table);

/* From the table or, if it isn't there, from the disk (it doesn't enter the table). With how = db.get_cached RC_BUSY
 * means that the disk would have to be asked. RC_CORRUPT: this channel is unreadable. */
enum rc channel_look(struct rocks *rocks, struct channel_name *name, const rocksdb_readoptions_t *how,
                     struct rocks_look *ret) RC_MUST_USE;

/* For the committer: the entry in the table, brought in if need be, with its change opened. */
enum rc channel_take(struct rocks *rocks, struct channel_name *name, struct rocks_channel **ret) RC_MUST_USE;

/* Brings it into the table, so that what channel_raise_floor() says of it is remembered. */
enum rc channel_keep(struct rocks *rocks, struct channel_name *name, struct rocks_look *ret) RC_MUST_USE;

/* The commit succeeded: what it changed is true from now on. Called with table.lock held. */
void channel_publish(struct rocks_channel *channel);

/* What was found out about a channel that looked as in `was`, a higher floor and fewer bytes, is told to the table, if
 * the channel is there. */
void channel_raise_floor(struct rocks *rocks, const struct channel_name *name, const struct rocks_look *was,
                         const struct rocks_look *look);

/* What is on disk of its floor; 1 if nothing is. */
enum rc floor_load(struct rocks *rocks, uint64_t number, uint64_t *ret) RC_MUST_USE;
void    floor_save(struct rocks *rocks, rocksdb_writebatch_t *batch, uint64_t number, uint64_t floor);

/* Into the batch: how the channel stands. */
void channel_save(struct rocks *rocks, rocksdb_writebatch_t *batch, const struct channel_name *name,
                  const struct rocks_look *look);

/* Writes down the bytes of channels that changed since, as far as the disk lets it: at close. */
void channels_save_all(struct rocks *rocks);

/* Moves the floor up; the bytes shrink in proportion. */
void look_raise(struct rocks_look *look, uint64_t floor);

/* Moves the floor up to where count and age allow; reads a few rows. */
enum rc look_age(struct rocks *rocks, const struct namespace *space, msec wall, struct rocks_look *look) RC_MUST_USE;

/* --- commit (rocks_append.c, rocks_meta.c; rocks_commit.h) -------------------------------------------------------- */

enum { NUMBER_CHANNEL = ID_KIND_COUNT, NUMBER_COUNT };

/* Numbers given out rise across crashes because a ceiling is on disk before any below it is used. */
struct rocks_numbers {
    uint64_t next[NUMBER_COUNT];
    uint64_t ceiling[NUMBER_COUNT];
};

enum rocks_health {
    ROCKS_WELL,
    ROCKS_FULL,    /* RocksDB met a full disk: reopened once there is room */
    ROCKS_BROKEN,  /* a write or sync failed: reopened as soon as it can be */
};

/* What is on disk beside an idempotency key. */
enum { KEY_DIGEST, KEY_EPOCH, KEY_SEQ, KEY_ID, KEY_TIME, KEY_FORGET_AT, KEY_COUNT };

enum { ROCKS_WHY_BYTES = 160 };

struct commit_queue {
    pthread_mutex_t   lock;
    pthread_cond_t    more;
    struct list       batches;
    struct list       ledger_batches;
    size_t            change_count;              /* in ledger_batches */
    bool              is_closing;
    enum rocks_health health;
    bool              is_full;                   /* the last commit found no room */
    uint64_t          failure_count;
    char              failure[ROCKS_WHY_BYTES];  /* of the last one */
};

void rocks_append(struct store *store, struct append_batch *batch);
void *rocks_committer(void *rocks);

/* Reads epoch and ceilings, or founds a new log. */
enum rc rocks_meta_load(struct rocks *rocks, char *ret_why, size_t why_size) RC_MUST_USE;

/* A new life of the log: acknowledged commits were lost, so its seqs may be given twice. */
enum rc rocks_epoch_change(struct rocks *rocks, uint64_t epoch) RC_MUST_USE;

/* --- reads (rocks_read.c) --------------------------------------------------------------------------------------- */

/* What the readers do: their structs' links stand in the queue. */
enum read_job {
    READ_JOB_PAGE,    /* struct store_read */
    READ_JOB_HEADS,   /* struct store_heads */
    READ_JOB_LEDGER,  /* struct ledger_read */
    READ_JOB_COUNT,
};

struct read_queue {
    pthread_mutex_t lock;
    pthread_cond_t  more;
    struct list     jobs[READ_JOB_COUNT];
    size_t          count;  /* of all kinds */
    unsigned        turn;   /* the kind that is looked at first: they take turns */
    bool            is_closing;
};

void  rocks_heads(struct store *store, struct store_heads *question);
void  rocks_read(struct store *store, struct store_read *read);
void *rocks_reader(void *rocks);

/* --- the ledger (rocks_ledger.c, rocks_ledger_read.c) ------------------------------------------------------------- */

extern const struct ledger_ops rocks_ledger_ops;

/* Kind and key, as they lie on disk. */
struct ledger_disk_key {
    char   bytes[1 + LEDGER_KEY_BYTES_MAX];
    size_t len;
};

static inline struct span ledger_disk_key_span(const struct ledger_disk_key *key)
{
    return span_of(key->bytes, key->len);
}

void ledger_disk_key_set(struct ledger_disk_key *key, uint8_t kind, struct span bytes);

void rocks_ledger_write(struct ledger *ledger, struct ledger_batch *batch);
void rocks_ledger_read(struct ledger *ledger, struct ledger_read *read);

/* Answers it, but for done(); db_lock is held for reading. */
void ledger_read_serve(struct rocks *rocks, struct ledger_read *read);

/* --- retention and repair (rocks_trim.c, rocks_filter.c) -------------------------------------------------------- */

/* Which rows may go: floors that are on disk, by channel number. */
struct dead_floors {
    pthread_mutex_t lock;
    struct map      map;
    size_t          count_max;
    msec            wall;  /* for what carries its own expiry */
};

void dead_floors_init(struct dead_floors *dead, size_t count_max);
void dead_floors_clear(struct dead_floors *dead);
void dead_floors_fini(struct dead_floors *dead);

/* When count_max are there the rest waits for the next round: its rows stay on disk a while longer. */
void     dead_floors_set(struct dead_floors *dead, uint64_t number, uint64_t floor);
uint64_t dead_floors_get(struct dead_floors *dead, uint64_t number, msec *ret_wall);

rocksdb_compactionfilterfactory_t *rocks_make_filter(void *dead_floors, enum family family);

struct keeper {
    pthread_mutex_t lock;
    pthread_cond_t  more;
    msec            wall;           /* of the last tend() */
    bool            is_due;
    bool            is_needed;      /* the committer met a failure: the database must be closed and opened again */
    bool            is_closing;
    /* The keeper thread's alone: */
    struct buf      walk_from;      /* name of the channel where the walk goes on */
    bool            is_first_walk;  /* since open: floors from before may have rows that were never taken back */
    uint64_t        dead_rows;
    msec            keys_at;        /* when expired keys and rows were last taken out */
    uint32_t        tries;          /* to reopen, without success */
};

void  keeper_init(struct keeper *keeper);
void  keeper_fini(struct keeper *keeper);
void  rocks_tick(struct store *store, msec wall);
void *rocks_keeper(void *rocks);
void  keeper_need(struct rocks *rocks);

/* --- all of it -------------------------------------------------------------------------------------------------- */

struct rocks {
    struct store               store;
    struct ledger              ledger;
    struct rocks_store_options options;
    char                      *path, *db_path;
    char                       side_log[SIDE_LOG_PATH_BYTES];  /* "": RocksDB logs beside the data */
    int                        directory_fd, lock_fd, synced_fd;
    pthread_rwlock_t           db_lock;
    struct rocks_db            db;
    uint64_t                   epoch;
    bool                       is_format_1;  /* the directory is of that format still */
    bool                       is_cautious;  /* compaction met damage: RocksDB would stop all writes for it, again and
                                              * again, so it is left alone until the next start */
    struct rocks_numbers       numbers;  /* the committer's alone, or of whoever holds db_lock for writing */
    struct channel_table       table;
    struct commit_queue        commits;
    struct read_queue          reads;
    struct keeper              keeper;
    struct dead_floors         dead;
    pthread_t                  committer_thread, keeper_thread, reader_threads[READERS_MAX];
    struct counter             append_count, batch_count, sync_count, sync_us_sum, sync_us_buckets[SYNC_BUCKETS];
    struct counter             disk_bytes, memory_bytes;  /* set by the keeper */
};

static inline struct rocks *rocks_of(struct store *store)
{
    return container_of(store, struct rocks, store);
}

static inline struct rocks *rocks_of_ledger(struct ledger *ledger)
{
    return container_of(ledger, struct rocks, ledger);
}

/* Opens the database and reads what stands in it; db_lock is held for writing, or no thread runs yet. */
enum rc rocks_load(struct rocks *rocks, bool must_exist, char *ret_why, size_t why_size) RC_MUST_USE;

/* Notes that all that is in the database now is on disk and may be acknowledged. */
enum rc rocks_note_synced(struct rocks *rocks) RC_MUST_USE;

/* `why`: of a failure. */
void rocks_health_set(struct rocks *rocks, enum rocks_health health, const char *why);

/* Whether there is room for that much, for what lies in memory and must go to disk too, and for the reserve: once the
 * disk was full for twice the reserve, or small commits would go on beside refused large ones and what the operator is
 * told would flicker. True if the system won't say. db_lock is held. */
bool rocks_has_room(struct rocks *rocks, uint64_t bytes);

#endif
