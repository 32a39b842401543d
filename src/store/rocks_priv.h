/* rocks_priv.h - the parts of the RocksDB maker, and which thread may touch what.
 *
 * Threads: the committer (rocks_append.c, rocks_ledger.c) numbers appends and writes. The readers (rocks_read.c,
 * rocks_ledger_read.c) answer reads. The maintenance thread (rocks_maintain.c) raises retention floors, reclaims disk
 * space, and closes and reopens a database that failed. RocksDB's own threads call the compaction filter
 * (rocks_filter.c).
 *
 * Locks, in the order in which they are taken; no thread holds one while it calls done():
 *   db_lock     every user of `db` holds it for reading; the maintenance thread holds it for writing while it reopens
 *   table.lock  guards the channels that are cached in memory; no thread holds it while it waits for the disk
 *   floor_lock  guards the floors on disk, while a purge or retention writes them: about as long as one sync
 *   the locks of the queues and of the filter's floors, each taken alone */
#ifndef STORE_ROCKS_PRIV_H
#define STORE_ROCKS_PRIV_H

#include <pthread.h>

#include "base/counter.h"
#include "base/map.h"
#include "store/damage_notes.h"
#include "store/info_log.h"
#include "store/rocks.h"
#include "store/rocks_db.h"
#include "store/rocks_row.h"

enum { READERS_MAX = 16, SYNC_BUCKETS = sizeof(((struct store_stats *)0)->sync_us_buckets) / sizeof(uint64_t) };

/* Which of the store's threads runs; callers and RocksDB's own threads are none of them. */
enum rocks_thread { ROCKS_NO_THREAD, ROCKS_COMMITTER, ROCKS_READER, ROCKS_MAINTENANCE };

extern _Thread_local enum rocks_thread rocks_thread;

/* --- channels (rocks_channel.c) --------------------------------------------------------------------------------- */

/* What is known of a channel at one moment. */
struct channel_state {
    uint64_t number;      /* 0: the channel was never used */
    uint64_t head;
    uint64_t floor;       /* retention floor: readers see nothing below it; at least 1 */
    uint64_t ceiling;     /* no seq above it was ever given; it stands for the head if the last rows are unreadable */
    uint64_t bytes;       /* payload bytes from floor to head, about; an expired message counts until it is below the
                           * floor */
    bool     is_guess;    /* `bytes` is an estimate that may be far off, so retention must not delete anything because
                           * of it */
    uint64_t saved_head;  /* the head when `bytes` was last saved */
    msec     floor_time;  /* of the message at the floor; FLOOR_TIME_UNKNOWN: it must be read from the disk */
};

#define FLOOR_TIME_UNKNOWN INT64_MIN

/* What the commit under way will change. Only the committer touches it. */
struct channel_change {
    uint64_t number, head, ceiling;
    uint64_t floor;       /* of a purge: everything below it is gone; 0: there is none in the commit */
    uint64_t bytes_more, bytes_less;
    msec     first_time;  /* of the channel's first message in the commit; with a purge, of the first one behind it */
    uint32_t row_last;    /* the channel's last row in the commit, counted from 1; 0: none */
    bool     is_open;     /* the channel is part of the commit: don't evict it */
    bool     is_new, is_saved;
};

struct rocks_channel {
    struct map_node       node;
    struct list           link;  /* in table.used, the least recently used first */
    struct channel_name  *name;  /* owns a reference */
    struct channel_state  now;   /* as committed */
    struct channel_change change;
};

struct channel_table {
    pthread_mutex_t lock;
    struct map      map;
    struct list     used;
    size_t          count_max;
    uint64_t        changes;  /* counts raised floors on disk and evictions; see channel_get_locked() */
    struct counter  count;
};

struct rocks;

void channel_table_init(struct channel_table *table, size_t count_max);
void channel_table_clear(struct channel_table *table);
void channel_table_fini(struct channel_table *table);

/* Reads from the table or, if the channel isn't there, from the disk; the channel doesn't enter the table. With how =
 * db.get_cached RC_BUSY means that the disk would have to be asked. RC_CORRUPT: this channel is unreadable. */
enum rc channel_state_get(struct rocks *rocks, struct channel_name *name, const rocksdb_readoptions_t *how,
                          struct channel_state *ret) RC_MUST_USE;

/* For the committer: loads the channel into the table if it isn't there, and opens its change. */
enum rc channel_open_change(struct rocks *rocks, struct channel_name *name, struct rocks_channel **ret) RC_MUST_USE;

/* Loads the channel into the table, so that the table remembers what channel_raise_floor() says of it. */
enum rc channel_cache(struct rocks *rocks, struct channel_name *name, struct channel_state *ret) RC_MUST_USE;

/* The commit succeeded: makes the channel's change its committed state. The caller holds table.lock. */
void channel_apply_change(struct rocks_channel *channel);

/* Tells the table, if the channel is there, of a higher floor and fewer bytes. `was` is the state that the caller began
 * with, `state` the one it found. */
void channel_raise_floor(struct rocks *rocks, const struct channel_name *name, const struct channel_state *was,
                         const struct channel_state *state);

/* Puts the channel's state into the batch. */
void channel_save(struct rocks *rocks, rocksdb_writebatch_t *batch, const struct channel_name *name,
                  const struct channel_state *state);

/* Whether the row of FAMILY_CHANNELS is of a channel with a number from `first` to `last`: then its last messages may be
 * lost, and the batch takes a row that lets it go on above its ceiling. */
void channel_mark_lost(struct rocks *rocks, rocksdb_writebatch_t *batch, const rocksdb_iterator_t *row, uint64_t first,
                       uint64_t last);

/* The highest number that a channel has; reads all of them. */
enum rc channels_last_number(struct rocks *rocks, uint64_t *ret) RC_MUST_USE;

/* At close: saves the bytes of the channels that changed since, as far as the disk permits. */
void channels_save_all(struct rocks *rocks);

/* --- retention floors (rocks_floor.c) --------------------------------------------------------------------------- */

/* The floor that is saved on disk; 1 if none is, or if it is damaged: then retention finds it anew. */
enum rc floor_load(struct rocks *rocks, uint64_t number, uint64_t *ret) RC_MUST_USE;
void    floor_save(struct rocks *rocks, rocksdb_writebatch_t *batch, uint64_t number, uint64_t floor);

/* The time of the message at `seq`. RC_CORRUPT: there is no such row, or it is damaged. */
enum rc row_time(struct rocks *rocks, uint64_t number, uint64_t seq, msec *ret) RC_MUST_USE;

/* Raises the floor; the bytes shrink in proportion. */
void state_raise_floor(struct channel_state *state, uint64_t floor);

/* Raises the floor as far as the namespace's keep_count and keep_ms say; reads a few rows. */
enum rc state_apply_age(struct rocks *rocks, const struct namespace *space, msec wall,
                        struct channel_state *state) RC_MUST_USE;

/* Whether the channel keeps more payload bytes than its namespace allows. */
bool state_has_excess_bytes(const struct namespace *space, const struct channel_state *state);

/* Raises the floor as far as the namespace's keep_bytes says; reads rows. */
void state_apply_bytes(struct rocks *rocks, const struct namespace *space, struct channel_state *state);

/* The floors of many channels, as purges and retention save them. Each holds floor_lock from its look at what is saved
 * to its write, so that a floor on disk never falls. Called with floor_lock held: puts the floor into the batch unless a
 * higher one is saved. */
enum rc floor_save_higher(struct rocks *rocks, rocksdb_writebatch_t *batch, uint64_t number,
                          uint64_t floor) RC_MUST_USE;

/* How many seqs below `floor` may still have rows on disk. */
uint64_t dead_rows_below(struct rocks *rocks, uint64_t number, uint64_t floor);

/* --- commit (rocks_append.c, rocks_meta.c; rocks_commit.h) ------------------------------------------------------ */

enum { NUMBER_CHANNEL = ID_KIND_COUNT, NUMBER_COUNT };

/* Numbers rise across crashes, because a higher ceiling is on disk before a number above the old one is used. */
struct rocks_numbers {
    uint64_t next[NUMBER_COUNT];
    uint64_t ceiling[NUMBER_COUNT];
};

enum rocks_health {
    ROCKS_HEALTHY,
    ROCKS_FULL,    /* RocksDB met a full disk: it is reopened once there is room */
    ROCKS_BROKEN,  /* a write or sync failed: the database is reopened as soon as possible */
};

/* The numbers that are saved for an idempotency key. */
enum { KEY_DIGEST, KEY_EPOCH, KEY_SEQ, KEY_ID, KEY_TIME, KEY_FORGET_AT, KEY_COUNT };

enum { ROCKS_WHY_BYTES = 160 };

struct commit_queue {
    pthread_mutex_t   lock;
    pthread_cond_t    more;
    struct list       batches;
    struct list       ledger_batches;
    size_t            change_count;              /* in ledger_batches */
    bool              is_urgent;                 /* not all of ledger_batches are lazy */
    bool              had_appends;               /* the last commit: others of the same publishers are likely to come at once */
    bool              is_closing;
    enum rocks_health health;
    bool              is_full;                   /* the last commit found no room */
    uint64_t          failure_count;
    char              failure[ROCKS_WHY_BYTES];  /* what RocksDB said of the last one */
};

/* For pthread_cond_timedwait() with a time of monotonic_after_ms(). */
void            cond_init_monotonic(pthread_cond_t *cond);
struct timespec monotonic_after_ms(uint32_t ms);

void rocks_append(struct store *store, struct append_batch *batch);
void *rocks_committer(void *rocks);

/* Reads epoch and ceilings, or creates a new log. With *ret_is_lost they were lost: numbers begin far above all that were
 * ever given, and the log needs a new epoch. */
enum rc rocks_meta_load(struct rocks *rocks, bool *ret_is_lost, char *ret_why, size_t why_size) RC_MUST_USE;

/* Sets the numbers above all that lost commits can have used; rocks_epoch_change() saves them. */
enum rc rocks_numbers_leap(struct rocks *rocks) RC_MUST_USE;

/* Gives the log a new epoch: acknowledged commits were lost, so its seqs may be given a second time. */
enum rc rocks_epoch_change(struct rocks *rocks, uint64_t epoch) RC_MUST_USE;

/* --- reads (rocks_read.c) --------------------------------------------------------------------------------------- */

/* The kinds of requests that readers serve; the queue links their structs. */
enum read_job {
    READ_JOB_PAGE,    /* struct store_read */
    READ_JOB_HEADS,   /* struct store_heads */
    READ_JOB_LISTING, /* struct store_listing */
    READ_JOB_LEDGER,  /* struct ledger_read */
    READ_JOB_COUNT,
};

struct read_queue {
    pthread_mutex_t lock;
    pthread_cond_t  more;
    struct list     jobs[READ_JOB_COUNT];
    size_t          count;  /* requests of all kinds */
    unsigned        turn;   /* the kind that is served next: they take turns */
    bool            is_closing;
};

void  rocks_heads(struct store *store, struct store_heads *question);
void  rocks_read(struct store *store, struct store_read *read);
void  rocks_list(struct store *store, struct store_listing *listing);
void *rocks_reader(void *rocks);

/* Answers one read. db_lock is held for reading. With how = db.get_cached RC_BUSY means that the disk would have to be
 * asked. */
enum rc read_serve(struct rocks *rocks, struct store_read *read, const rocksdb_readoptions_t *how) RC_MUST_USE;

/* Fills in the answer; the caller calls done(). db_lock is held for reading. (rocks_listing.c) */
enum rc listing_serve(struct rocks *rocks, struct store_listing *listing) RC_MUST_USE;

/* Notes in store.strange which namespaces are not configured that have channels. */
void listing_look_at_spaces(struct rocks *rocks);

/* Puts the page's entries (rocks_scan.c). */
struct page;
enum rc page_fill_rows(struct rocks *rocks, struct page *page, const struct channel_state *state) RC_MUST_USE;

/* --- the ledger (rocks_ledger.c, rocks_ledger_read.c) ----------------------------------------------------------- */

extern const struct ledger_ops rocks_ledger_ops;

/* Kind and key, as they are stored on disk. */
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

/* Fills in the answer; the caller calls done(). db_lock is held for reading. */
void ledger_read_serve(struct rocks *rocks, struct ledger_read *read);

/* --- the compaction filter (rocks_filter.c) --------------------------------------------------------------------- */

/* Which rows compaction may drop: the floors that are saved on disk, by channel number. */
struct filter_floors {
    pthread_mutex_t lock;
    struct map      map;
    size_t          count_max;
    msec            wall;  /* the time that decides which rows have expired */
    msec            ledger_from;  /* … those of the ledger not before this time; 0: none do yet */
};

/* Rows of the ledger that expired while the server was down are not dropped for so long: what was under way when it stopped is found out
 * by them (decision 128). */
enum { LEDGER_REST_MS = 600000 };

void filter_floors_init(struct filter_floors *floors, size_t count_max);
void filter_floors_clear(struct filter_floors *floors);
void filter_floors_set_wall(struct filter_floors *floors, msec wall);
void filter_floors_fini(struct filter_floors *floors);

/* A floor never falls. Beyond count_max floors the rest waits for the next round: its rows stay on disk a while longer. */
void     filter_floors_set(struct filter_floors *floors, uint64_t number, uint64_t floor);
uint64_t filter_floors_get(struct filter_floors *floors, uint64_t number, msec *ret_wall);

rocksdb_compactionfilterfactory_t *rocks_make_filter(void *filter_floors, enum family family);

/* --- maintenance (rocks_maintain.c, rocks_retention.c, rocks_compact.c) ----------------------------------------- */

struct maintenance {
    pthread_mutex_t lock;
    pthread_cond_t  more;
    msec            wall;          /* of the last tick() */
    uint64_t        purged_rows;   /* that purges have left dead since the last step */
    bool            is_due;
    bool            needs_repair;  /* the committer met a failure: the database must be closed and opened again */
    bool            is_closing;
    /* Only the maintenance thread touches what follows. */
    struct buf      scan_from;      /* name of the channel where the next step begins */
    bool            is_first_scan;  /* the first round since the database was opened: rows below older floors may still
                                     * be on disk */
    uint64_t        dead_rows;
    msec            expired_at;     /* when expired keys and rows were last compacted away */
    uint32_t        tries;          /* attempts to reopen that failed */
    msec            clock_saved;    /* in the file `clock` */
    uint64_t        sequence;       /* of the last write, as the last step saw it … */
    msec            quiet_since;    /* … and when it saw it first */
    uint64_t        steps;          /* that measured the store */
    msec            quiet_until;    /* each time that write buffers are written out moves it on by QUIET_REST_MS */
};

void  maintenance_init(struct maintenance *maintenance);
void  maintenance_fini(struct maintenance *maintenance);
void  rocks_tick(struct store *store, msec wall);
void *rocks_maintain(void *rocks);
bool  maintenance_is_closing(struct maintenance *maintenance);
void  maintenance_ask_repair(struct rocks *rocks);
void  maintenance_note_purge(struct rocks *rocks, uint64_t rows);

/* One step of retention: raises the floors of some channels, and writes them down. db_lock is held for reading. */
enum rc retention_step(struct rocks *rocks, msec wall) RC_MUST_USE;

/* The highest channel number that has rows; 0: none, or it can't be read. */
uint64_t messages_last_number(struct rocks *rocks);

/* Compacts the messages if enough of their rows are dead. db_lock is held for reading. */
void reclaim_messages(struct rocks *rocks);

/* Compacts idempotency keys and ledger rows from time to time. db_lock is held for reading. */
void reclaim_expired(struct rocks *rocks, msec wall);

/* --- the data directory (rocks_directory.c) --------------------------------------------------------------------- */

/* Opens the directory, or makes it, and locks it against other processes. */
enum rc rocks_directory_lock(struct rocks *rocks, char *ret_why, size_t why_size) RC_MUST_USE;

/* RC_GONE: there is no file `format`, so no log was ever completely created here. */
enum rc rocks_format_check(struct rocks *rocks, char *ret_why, size_t why_size) RC_MUST_USE;

/* Written last, once the database exists. From then on a missing database is a loss. */
enum rc rocks_format_write(struct rocks *rocks, char *ret_why, size_t why_size) RC_MUST_USE;

/* How far acknowledged commits went: a sequence number of RocksDB. 0: the file says nothing. */
uint64_t rocks_load_synced(const struct rocks *rocks);

/* The operator has put the word "restored" into the file: the directory is a backup, and nobody knows how far commits went. */
bool rocks_is_restored(const struct rocks *rocks);

/* Notes in the file `synced` that everything in the database now is on disk and may be acknowledged. */
enum rc rocks_save_synced(struct rocks *rocks) RC_MUST_USE;

/* The newest time that rocks_save_clock() took; 0: none. */
msec rocks_load_clock(const struct rocks *rocks);
void rocks_save_clock(struct rocks *rocks, msec wall);

/* --- all of it -------------------------------------------------------------------------------------------------- */

struct rocks {
    struct store               store;
    struct ledger              ledger;
    struct rocks_store_options options;
    char                      *path, *db_path;
    char                       info_log[INFO_LOG_PATH_BYTES];  /* "": RocksDB writes its log beside the data */
    int                        directory_fd, lock_fd, synced_fd, clock_fd;
    pthread_rwlock_t           db_lock;
    pthread_mutex_t            floor_lock;         /* see floor_save_higher() */
    struct rocks_db            db;
    uint64_t                   epoch;
    bool                       is_format_1;        /* the directory still has format 1 */
    bool                       is_format_old;      /* … or another one that is brought up to date when it is opened */
    bool                       is_compaction_off;  /* compaction met damage. RocksDB would stop all writes because of
                                                    * it, again and again, so automatic compaction is off until the next
                                                    * start */
    struct rocks_numbers       numbers;            /* for the committer, or for whoever holds db_lock for writing */
    struct channel_table       table;
    struct commit_queue        commits;
    struct read_queue          reads;
    struct maintenance         maintenance;
    struct filter_floors       filter_floors;
    struct damage_notes        damage;
    pthread_t                  committer_thread, maintenance_thread, reader_threads[READERS_MAX];
    struct counter             append_count, batch_count, sync_count, sync_us_sum, sync_us_buckets[SYNC_BUCKETS];
    struct counter             disk_bytes, memory_bytes;  /* set by the maintenance thread */
    struct counter             is_unreadable;             /* the same */
    struct counter             is_lean;                   /* set by the caller's thread, obeyed by the maintenance thread */
    msec                       wall_committed;            /* of the last batch; for the committer, and at close */
};

static inline struct rocks *rocks_of(struct store *store)
{
    return container_of(store, struct rocks, store);
}

static inline struct rocks *rocks_of_ledger(struct ledger *ledger)
{
    return container_of(ledger, struct rocks, ledger);
}

/* Opens the database and reads its metadata; db_lock is held for writing, or no thread runs yet. */
enum rc rocks_load(struct rocks *rocks, bool must_exist, char *ret_why, size_t why_size) RC_MUST_USE;

/* Opens the database for reading alone. The channels cached in memory stay: what they say was acknowledged, and rows above
 * their heads perhaps were not. */
enum rc rocks_load_read_only(struct rocks *rocks) RC_MUST_USE;

/* `why` says what failed; it is ignored with ROCKS_HEALTHY. */
void rocks_health_set(struct rocks *rocks, enum rocks_health health, const char *why);

/* Whether the disk has room for `bytes`, for what RocksDB holds in memory and must still write, and for the reserve.
 * After the disk was full it must have room for twice the reserve; otherwise small commits would succeed beside refused
 * large ones, and the state that the operator sees would flicker. True if the system doesn't tell. db_lock is held. */
bool rocks_has_room(struct rocks *rocks, uint64_t bytes);

#endif
