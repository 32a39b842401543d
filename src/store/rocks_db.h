/* rocks_db.h - one RocksDB database, tuned for logs: opens, reads, writes and closes it, and turns statuses (sentences
 * in RocksDB's C API) into enum rc. It knows no channels. The committer and the maintenance thread write; any thread
 * reads. */
#ifndef STORE_ROCKS_DB_H
#define STORE_ROCKS_DB_H

#include <rocksdb/c.h>

#include "base/rc.h"
#include "base/span.h"
#include "store/damage_notes.h"
#include "store/log_ahead.h"

enum family {
    FAMILY_META,      /* format, epoch, ceilings of ids */
    FAMILY_MESSAGES,  /* channel number, seq -> message row */
    FAMILY_CHANNELS,  /* name -> number, ceiling, bytes; written by the committer alone */
    FAMILY_FLOORS,    /* channel number -> floor; written by the maintenance thread alone */
    FAMILY_KEYS,      /* channel number, publisher, key -> answer */
    FAMILY_LEDGER,    /* kind, key -> row of the ledger; written by the committer alone; format 1 lacks it */
    FAMILY_COUNT
};

struct rocks_db_options {
    const char                         *path;
    const char                         *log_path;     /* where RocksDB writes its info log; "": at `path` */
    size_t                              write_buffer_bytes;
    size_t                              block_cache_bytes;
    bool                                must_exist;         /* refuse to create a new database */
    bool                                is_compaction_off;  /* no automatic compaction, because one met damage */
    bool                                is_format_1;        /* FAMILY_LEDGER, and only it, may be missing: create it */
    rocksdb_compactionfilterfactory_t *(*make_filter)(void *context, enum family family);  /* NULL: no filter */
    void                               *context;
    /* How far acknowledged commits went. A log that is damaged before this point is refused (RC_CORRUPT) and not
     * touched. A log that is damaged behind it, or merely ends early, is opened: compare with rocks_db_sequence(). */
    uint64_t                            sequence_min;
    struct damage_notes                *notes;  /* borrowed: takes what later reads find damaged; NULL: nobody asks */
    bool                                is_trusting;  /* tables that can't be read are found only by whoever reads them */
    bool                                may_repair;   /* the operator accepts what it costs */
    bool                                is_rebuilt;   /* by rocks_db_rebuild(), so families that had no table may be missing: create them */
};

struct rocks_db {
    rocksdb_t                      *db;  /* NULL: not open */
    rocksdb_column_family_handle_t *families[FAMILY_COUNT];
    rocksdb_options_t              *options[FAMILY_COUNT];
    rocksdb_cache_t                *cache;
    rocksdb_readoptions_t          *get;         /* any point read */
    rocksdb_readoptions_t          *get_cached;  /* a point read that must not wait for the disk */
    rocksdb_writeoptions_t         *write_synced;
    bool                            is_compaction_off;
    bool                            is_read_only;
    struct damage_notes            *notes;
    struct log_ahead               *ahead;  /* NULL: of no use here */
};

/* Opens a zeroed db; on failure it stays zeroed and ret_why is a sentence. */
enum rc rocks_db_open(struct rocks_db *db, const struct rocks_db_options *options, char *ret_why,
                      size_t why_size) RC_MUST_USE;

/* Makes the database anew from its tables and logs, without its manifest. It is closed. */
enum rc rocks_db_rebuild(const struct rocks_db_options *options, char *ret_why, size_t why_size) RC_MUST_USE;

const char *rocks_family_name(enum family family);

/* Opens it for reading alone, of what is on the disk now: writes nothing, and so works while nothing can be written. */
enum rc rocks_db_open_read_only(struct rocks_db *db, const struct rocks_db_options *options, char *ret_why,
                                size_t why_size) RC_MUST_USE;
/* Moves what is in memory into tables, as far as that succeeds. */
void rocks_db_flush(struct rocks_db *db);
void rocks_db_close(struct rocks_db *db);  /* does nothing if it isn't open */

/* RocksDB's sequence number of the last write; it rises with each write. */
uint64_t rocks_db_sequence(struct rocks_db *db);

/* Reads one value, pinned until rocksdb_pinnableslice_destroy(). *ret is NULL with RC_OK if there is none. RC_BUSY: the
 * disk would have to be read (only with get_cached). */
enum rc rocks_db_get(struct rocks_db *db, enum family family, const rocksdb_readoptions_t *how, struct span key,
                     rocksdb_pinnableslice_t **ret) RC_MUST_USE;

/* Reads a record of `count` numbers. RC_GONE: there is none; RC_CORRUPT, RC_IO, RC_BUSY as above. */
enum rc rocks_db_get_record(struct rocks_db *db, enum family family, const rocksdb_readoptions_t *how, struct span key,
                            uint64_t *ret_numbers, size_t count) RC_MUST_USE;

void rocks_db_put_record(struct rocks_db *db, rocksdb_writebatch_t *batch, enum family family, struct span key,
                         const uint64_t *numbers, size_t count);

/* Writes the batch and syncs it: it is on disk when the call returns RC_OK. RC_NOSPACE: nothing was written. Any other
 * failure: it may be written. ret_why takes what RocksDB says of a failure. */
enum rc rocks_db_write(struct rocks_db *db, rocksdb_writebatch_t *batch, char *ret_why, size_t why_size) RC_MUST_USE;

uint64_t rocks_db_number(struct rocks_db *db, enum family family, const char *property);

/* RocksDB counts what each thread does, a few per cent of its time, and nobody asks for it: not in this thread. */
void rocks_db_count_nothing(void);

/* Begins to write the family's write buffer out to a table, which gives its memory back; returns at once. */
void rocks_db_write_out(struct rocks_db *db, enum family family);

/* Why the iterator is not valid. RC_OK: it is valid, or stands behind the last row. Damage is noted. */
enum rc rocks_iterator_rc(struct rocks_db *db, const rocksdb_iterator_t *iterator);

#endif
