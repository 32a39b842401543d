/* rocks.h - logs on disk, in RocksDB: durable, bounded by retention, found again after a crash.
 *
 * An append is answered after one synced write of all that was waiting; reads are served by a few threads. All
 * calls but close may come from any thread. done() comes on threads of the store; a read of limit 0 may be answered
 * inside the call.
 *
 * The directory holds `format` (text; says that this is ours), `lock`, `synced` (how far the last acknowledged commit
 * went, so that a log which lost acknowledged commits is noticed), and the database in `db`. The process's umask
 * becomes 077: RocksDB makes files at any time and nobody else may read them.
 *
 * When the disk is full appends are APPEND_NO_SPACE, reads go on; after a failed write or sync appends are
 * APPEND_BROKEN at once until the database has been closed, opened and read anew. Both pass by themselves.
 *
 * The ledger's writes go into the same synced write as the appends of their moment. After a failed write or sync they
 * are LEDGER_AWAY, the ones that it carried LEDGER_BROKEN. While the database is closed the ledger's reads are RC_IO.
 *
 * A directory of an earlier version is opened and gets what it lacks; from then on the earlier version refuses it, and
 * says why. */
#ifndef STORE_ROCKS_H
#define STORE_ROCKS_H

#include "store/store.h"

struct rocks_store_options {
    const char        *path;               /* made if it isn't there (0700), but not its parents */
    uint64_t           epoch_new;          /* random at each start, not 0: the log's epoch if it is made now, or if it
                                            * turns out to have lost commits that were acknowledged */
    struct namespaces *spaces;             /* borrowed until close; retention walks the channels by name */
    struct hash_key    hash_key;           /* the one all channel names are made with */
    msec               key_keep_ms;        /* idempotency window; 0: 24 hours */
    size_t             channel_count_max;  /* channels known in memory (about 200 bytes each); the one unused for
                                            * longest is let go and found again on disk; 0: 1,000,000 */
    size_t             write_buffer_bytes; /* of one of four; 0: 32 MiB, or a sixty-fourth of a small disk */
    size_t             block_cache_bytes;  /* 0: 64 MiB */
    uint64_t           reserve_bytes;      /* free space below which appends are refused; 0: 8 MiB */
    uint64_t           dead_bytes_max;     /* what retention let go before the disk space is taken back; 0: 64 MiB */
    size_t             reader_count;       /* threads, 1 … 16; 0: 2 */
    size_t             read_count_max;     /* reads that may wait: RC_FULL beyond; 0: 65,536 */
    size_t             change_count_max;   /* changes of the ledger that may wait: LEDGER_BUSY beyond; 0: 65,536 */
};

/* RC_BUSY: another process has it; RC_DENIED, RC_NOSPACE, RC_IO: the system says no; RC_CORRUPT: damaged, of another
 * version, or lost where there once was one. Then ret_why is a sentence that names path and cause. With
 * RC_OK it is empty, or something the operator should know. */
enum rc rocks_store_open(const struct rocks_store_options *options, struct store **ret, char *ret_why,
                         size_t why_size) RC_MUST_USE;

#endif
