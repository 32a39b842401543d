/* rocks.h - logs on disk, in RocksDB: durable, bounded by retention, recovered after a crash.
 *
 * An append is answered after one synced write of all the appends that were waiting. A few threads serve reads. All
 * calls but close may come from any thread. The store calls done() on its own threads; a read of limit 0 may be
 * answered inside the call.
 *
 * The directory holds `format` (text; it says that the directory is ours), `lock`, `synced` (how far the last
 * acknowledged commit went, so that a log which lost acknowledged commits is noticed), and the database in `db`. The
 * process's umask becomes 077: RocksDB makes files at any time and no other user may read them.
 *
 * While the disk is full appends are APPEND_NO_SPACE and reads go on. After a failed write or sync appends are
 * APPEND_BROKEN at once, until the database has been closed, opened and read anew. Both states end without an operator.
 *
 * The ledger's writes go into the same synced write as the appends that wait at the same time. After a failed write or
 * sync new writes are LEDGER_AWAY, and the writes that were in it LEDGER_BROKEN. Until the database is open for
 * writing again the ledger's reads are RC_IO; the log can be read.
 *
 * A database with damage is opened as far as it can be read. Files that are given up are kept in DATA/damaged. Where
 * readers can't be told by a gap or an epoch what is lost, the open is refused, unless may_repair.
 *
 * A directory of an earlier version is opened and gets what it lacks. From then on the earlier version refuses the
 * directory, and says why. */
#ifndef STORE_ROCKS_H
#define STORE_ROCKS_H

#include "store/store.h"

struct rocks_store_options {
    const char        *path;                /* made if it doesn't exist (0700), but not its parents */
    uint64_t           epoch_new;           /* random at each start, not 0: the log's epoch if the log is created now,
                                             * or if it turns out to have lost acknowledged commits */
    struct namespaces *spaces;              /* borrowed until close; retention scans the channels by name */
    struct hash_key    hash_key;            /* the key that all channel names are hashed with */
    msec               key_keep_ms;         /* idempotency window; 0: 24 hours */
    size_t             channel_count_max;   /* channels cached in memory (about 200 bytes each); the least recently used
                                             * one is evicted and later read from the disk again; 0: 1,000,000 */
    size_t             write_buffer_bytes;  /* of each of four; 0: 32 MiB; at most a sixty-fourth of the disk */
    size_t             block_cache_bytes;   /* 0: 64 MiB */
    uint64_t           reserve_bytes;       /* free space below which appends are refused */
    bool               is_reserve_default;  /* nobody chose it: at most a sixteenth of the disk */
    uint64_t           dead_bytes_max;      /* bytes that retention may leave dead on disk before the space is
                                             * reclaimed; 0: 64 MiB; at most an eighth of the disk */
    size_t             reader_count;        /* threads, 1 … 16; 0: 2 */
    size_t             read_count_max;      /* reads that may wait; RC_FULL beyond; 0: 65,536 */
    size_t             change_count_max;    /* changes of the ledger that may wait; LEDGER_BUSY beyond; 0: 65,536 */
    uint32_t           company_ms;          /* how long a lazy batch of the ledger waits at most for appends to share their sync; 0: 2 */
    bool               may_repair;          /* what nobody would be told by a gap may be given up too: for `longwired
                                             * --repair`, whose operator has read what it costs */
};

/* RC_BUSY: another process uses the directory. RC_DENIED, RC_NOSPACE, RC_IO: the system refuses. RC_CORRUPT: the log is
 * damaged, of another version, or lost where there once was one. Then ret_why is a sentence that names path and cause.
 * With RC_OK ret_why is empty, or something that the operator should know. */
enum rc rocks_store_open(const struct rocks_store_options *options, struct store **ret, char *ret_why,
                         size_t why_size) RC_MUST_USE;

#endif
