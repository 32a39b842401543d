#include "store/rocks_db.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "store/rocks_row.h"

enum {
    MIB                 = 1024 * 1024,
    BLOCK_BYTES         = 16 * 1024,
    WRITE_BUFFER_COUNT  = 4,
    SMALL_BUFFER_SHARE  = 8,  /* the other families get an eighth of the messages' write buffer … */
    LEDGER_BUFFER_SHARE = 2,  /* … but the ledger gets half: of a row that is put many times only the last version is
                               * written out */
    LEVEL0_COMPACT      = 8,  /* few, large merges: CPU matters more here than reads of old history */
    LEVEL0_SLOWDOWN     = 40,
    LEVEL0_STOP         = 64,
    OPEN_FILES_MAX      = 1024,
    BACKGROUND_JOBS     = 2,
    INFO_LOG_BYTES_MAX  = 1 * MIB,
    INFO_LOG_COUNT      = 2,
    MANIFEST_BYTES      = 64 * 1024,  /* allocated on the disk in advance; RocksDB's 4 MiB are a lot on a small disk */
    FILE_BUFFER_BYTES   = 128 * 1024, /* of each file that is written; RocksDB's is 1 MiB, which malloc keeps after a table was
                                       * written */
    LOG_AHEAD_SHARE     = 8,  /* of the write buffer's size: so many zeros at a time, on a small disk */
    INFO_LOG_WARN       = 2,
    BLOOM_BITS          = 10,
    INDEX_WITH_FIRST    = 3,
    TIER_CACHE_ONLY     = 1,
    WAL_TOLERATE_TAIL   = 0,  /* an unfinished record at the end is cut off; damage elsewhere is refused */
    WAL_POINT_IN_TIME   = 2,  /* recovery stops at the first record that is damaged */
    BOTTOM_COMPRESSION  = rocksdb_lz4_compression,
};

#define MEMTABLE_BLOOM_PART 0.02  /* of the write buffer's bytes */

static const char *const family_names[FAMILY_COUNT] = { "default", "messages", "channels", "floors", "keys", "ledger" };

const char *rocks_family_name(enum family family)
{
    return family_names[family];
}

/* --- statuses --------------------------------------------------------------------------------------------------- */

static bool status_contains(const char *status, const char *word)
{
    return strstr(status, word) != NULL;
}

static enum rc rc_of(const char *status)
{
    /* A database that was made has all its families: one that lacks some has lost the end of its manifest. */
    if (status_contains(status, "Corruption") || status_contains(status, "does not exist") ||
        status_contains(status, "Column family not found"))
        return RC_CORRUPT;
    if (status_contains(status, "Result incomplete"))
        return RC_BUSY;
    if (status_contains(status, "/LOCK"))
        return RC_BUSY;
    if (status_contains(status, "No space left") || status_contains(status, "quota exceeded") ||
        status_contains(status, "File too large"))
        return RC_NOSPACE;
    if (status_contains(status, "Permission denied") || status_contains(status, "Read-only file system"))
        return RC_DENIED;
    return RC_IO;
}

/* Takes (frees and nulls) a status; NULL is RC_OK. */
static enum rc rocks_rc(char **status)
{
    if (*status == NULL)
        return RC_OK;
    enum rc rc = rc_of(*status);
    rocksdb_free(*status);
    *status = NULL;
    return rc;
}

/* The same for a read: damage is noted. */
static enum rc read_rc(struct rocks_db *db, char **status)
{
    if (*status != NULL && db->notes != NULL && rc_of(*status) == RC_CORRUPT)
        damage_notes_add(db->notes, *status);
    return rocks_rc(status);
}

enum rc rocks_iterator_rc(struct rocks_db *db, const rocksdb_iterator_t *iterator)
{
    char *status = NULL;

    rocksdb_iter_get_error(iterator, &status);
    return read_rc(db, &status);
}

/* --- options ---------------------------------------------------------------------------------------------------- */

static rocksdb_block_based_table_options_t *table_options(struct rocks_db *db, enum family family)
{
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();

    rocksdb_block_based_options_set_block_size(table, BLOCK_BYTES);
    rocksdb_block_based_options_set_block_cache(table, db->cache);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(table, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(table, 1);
    rocksdb_block_based_options_set_format_version(table, 5);
    /* An iterator over tables whose keys overlap reads a block only once it is that block's turn: so a damaged block
     * hides nothing that stands in other tables. */
    rocksdb_block_based_options_set_index_type(table, INDEX_WITH_FIRST);
    /* Messages are found by seeking; lookups in the other families are mostly for keys that don't exist. */
    if (family != FAMILY_MESSAGES)
        rocksdb_block_based_options_set_filter_policy(table, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS));
    return table;
}

static size_t family_buffer_bytes(const struct rocks_db_options *options, enum family family)
{
    if (family == FAMILY_MESSAGES)
        return options->write_buffer_bytes;
    return options->write_buffer_bytes / (family == FAMILY_LEDGER ? LEDGER_BUFFER_SHARE : SMALL_BUFFER_SHARE);
}

static rocksdb_options_t *family_options(struct rocks_db *db, const struct rocks_db_options *options,
                                         enum family family)
{
    rocksdb_options_t                   *o     = rocksdb_options_create();
    rocksdb_block_based_table_options_t *table = table_options(db, family);

    rocksdb_options_set_block_based_table_factory(o, table);
    rocksdb_block_based_options_destroy(table);
    rocksdb_options_set_write_buffer_size(o, family_buffer_bytes(options, family));
    rocksdb_options_set_max_write_buffer_number(o, WRITE_BUFFER_COUNT);
    rocksdb_options_set_level0_file_num_compaction_trigger(o, LEVEL0_COMPACT);
    rocksdb_options_set_level0_slowdown_writes_trigger(o, LEVEL0_SLOWDOWN);
    rocksdb_options_set_level0_stop_writes_trigger(o, LEVEL0_STOP);
    rocksdb_options_set_target_file_size_base(o, options->write_buffer_bytes);
    rocksdb_options_set_max_bytes_for_level_base(o, options->write_buffer_bytes * LEVEL0_COMPACT);
    rocksdb_options_set_disable_auto_compactions(o, options->is_compaction_off);
    rocksdb_options_set_compression(o, rocksdb_no_compression);
    rocksdb_options_set_bottommost_compression(o, BOTTOM_COMPRESSION);
    /* Conditions ask mostly about rows that don't exist: a new id, a new key. The write buffer has a filter for that, too. */
    if (family == FAMILY_LEDGER || family == FAMILY_KEYS) {
        rocksdb_options_set_memtable_whole_key_filtering(o, 1);
        rocksdb_options_set_memtable_prefix_bloom_size_ratio(o, MEMTABLE_BLOOM_PART);
    }
    if (options->make_filter != NULL) {
        rocksdb_compactionfilterfactory_t *filter = options->make_filter(options->context, family);
        if (filter != NULL)
            rocksdb_options_set_compaction_filter_factory(o, filter);
    }
    return o;
}

/* Options of the database as a whole are those of the first family. */
static void database_options(rocksdb_options_t *o, const struct rocks_db_options *options)
{
    rocksdb_options_set_create_if_missing(o, !options->must_exist);
    rocksdb_options_set_create_missing_column_families(o, !options->must_exist || options->is_rebuilt);
    rocksdb_options_set_paranoid_checks(o, !options->is_trusting);
    rocksdb_options_set_max_background_jobs(o, BACKGROUND_JOBS);
    rocksdb_options_set_max_open_files(o, OPEN_FILES_MAX);
    if (options->log_path[0] != '\0')
        rocksdb_options_set_db_log_dir(o, options->log_path);
    rocksdb_options_set_info_log_level(o, INFO_LOG_WARN);
    rocksdb_options_set_max_log_file_size(o, INFO_LOG_BYTES_MAX);
    rocksdb_options_set_keep_log_file_num(o, INFO_LOG_COUNT);
    rocksdb_options_set_manifest_preallocation_size(o, MANIFEST_BYTES);
    rocksdb_options_set_writable_file_max_buffer_size(o, FILE_BUFFER_BYTES);
    rocksdb_options_set_stats_dump_period_sec(o, 0);
    rocksdb_options_set_stats_persist_period_sec(o, 0);
    /* Only one thread writes, so the support for concurrent writers would only cost time. */
    rocksdb_options_set_allow_concurrent_memtable_write(o, 0);
    rocksdb_options_set_enable_write_thread_adaptive_yield(o, 0);
    /* Bounds the time that a restart needs to read the write-ahead log. */
    rocksdb_options_set_max_total_wal_size(o, 2 * options->write_buffer_bytes);
    rocksdb_options_set_wal_recovery_mode(o, WAL_TOLERATE_TAIL);
}

/* --- open and close --------------------------------------------------------------------------------------------- */

static void db_prepare(struct rocks_db *db, const struct rocks_db_options *options)
{
    db->is_compaction_off = options->is_compaction_off;
    db->notes             = options->notes;
    db->cache             = rocksdb_cache_create_lru(options->block_cache_bytes);
    for (enum family family = 0; family < FAMILY_COUNT; family++)
        db->options[family] = family_options(db, options, family);
    database_options(db->options[FAMILY_META], options);
    db->get        = rocksdb_readoptions_create();
    db->get_cached = rocksdb_readoptions_create();
    rocksdb_readoptions_set_read_tier(db->get_cached, TIER_CACHE_ONLY);
    db->write_synced = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(db->write_synced, 1);
}

void rocks_db_flush(struct rocks_db *db)
{
    rocksdb_flushoptions_t *how    = rocksdb_flushoptions_create();
    char                   *status = NULL;

    rocksdb_flushoptions_set_wait(how, 1);
    for (enum family family = 0; status == NULL && family < FAMILY_COUNT; family++)
        rocksdb_flush_cf(db->db, how, db->families[family], &status);
    rocksdb_flushoptions_destroy(how);
    free(status);
}

void rocks_db_close(struct rocks_db *db)
{
    for (enum family family = 0; db->db != NULL && family < FAMILY_COUNT; family++)
        rocksdb_column_family_handle_destroy(db->families[family]);
    if (db->db != NULL)
        rocksdb_close(db->db);
    log_ahead_free(db->ahead);
    for (enum family family = 0; family < FAMILY_COUNT; family++)
        if (db->options[family] != NULL)
            rocksdb_options_destroy(db->options[family]);
    if (db->get != NULL) {
        rocksdb_readoptions_destroy(db->get);
        rocksdb_readoptions_destroy(db->get_cached);
        rocksdb_writeoptions_destroy(db->write_synced);
        rocksdb_cache_destroy(db->cache);
    }
    *db = (struct rocks_db){ 0 };
}

static rocksdb_options_t const *const *const_options(struct rocks_db *db)
{
    return (rocksdb_options_t const *const *)db->options;
}

static char *db_open_once(struct rocks_db *db, const struct rocks_db_options *options)
{
    char *status = NULL;

    db->db = rocksdb_open_column_families(db->options[FAMILY_META], options->path, FAMILY_COUNT, family_names,
                                          const_options(db), db->families, &status);
    return status;
}

/* Whether exactly the last family, FAMILY_LEDGER, is missing. */
static bool db_lacks_ledger(struct rocks_db *db, const struct rocks_db_options *options)
{
    size_t count = 0, known = 0, ledgers = 0;
    char  *status = NULL;
    char **names  = rocksdb_list_column_families(db->options[FAMILY_META], options->path, &count, &status);

    if (rocks_rc(&status) != RC_OK)
        return false;
    for (size_t i = 0; i < count; i++) {
        for (enum family family = 0; family < FAMILY_LEDGER; family++)
            known += strcmp(names[i], family_names[family]) == 0;
        ledgers += strcmp(names[i], family_names[FAMILY_LEDGER]) == 0;
    }
    rocksdb_list_column_families_destroy(names, count);
    return known == FAMILY_LEDGER && ledgers == 0;
}

/* Opens the database read-only and returns the sequence number up to which it is readable. */
static uint64_t db_last_sequence(struct rocks_db *db, const struct rocks_db_options *options, int family_count)
{
    rocksdb_column_family_handle_t *families[FAMILY_COUNT];
    char                           *status = NULL;
    rocksdb_t                      *probe;

    probe = rocksdb_open_for_read_only_column_families(db->options[FAMILY_META], options->path, family_count,
                                                       family_names, const_options(db), families, 0, &status);
    if (rocks_rc(&status) != RC_OK)
        return 0;
    uint64_t reach = rocksdb_get_latest_sequence_number(probe);
    for (int family = 0; family < family_count; family++)
        rocksdb_column_family_handle_destroy(families[family]);
    rocksdb_close(probe);
    return reach;
}

/* A crash may tear the end of the write-ahead log. That is harmless if nothing acknowledged was there. */
static char *db_open_torn(struct rocks_db *db, const struct rocks_db_options *options, int family_count, char *status)
{
    if (rc_of(status) != RC_CORRUPT)
        return status;
    rocksdb_options_set_wal_recovery_mode(db->options[FAMILY_META], WAL_POINT_IN_TIME);
    if (db_last_sequence(db, options, family_count) < options->sequence_min)
        return status;
    rocksdb_free(status);
    return db_open_once(db, options);
}

enum rc rocks_db_open(struct rocks_db *db, const struct rocks_db_options *options, char *ret_why, size_t why_size)
{
    int     family_count = FAMILY_COUNT;
    enum rc rc           = RC_OK;

    db_prepare(db, options);
    if (options->is_format_1 && db_lacks_ledger(db, options)) {
        rocksdb_options_set_create_missing_column_families(db->options[FAMILY_META], 1);
        family_count = FAMILY_LEDGER;
    }
    char *status = db_open_once(db, options);
    if (status != NULL)
        status = db_open_torn(db, options, family_count, status);
    if (status != NULL) {
        if (rc_of(status) == RC_NOSPACE)
            snprintf(ret_why, why_size, "the disk of %s is full, or a quota is: make room, then start (%s)", options->path,
                     status);
        else
            snprintf(ret_why, why_size, "the database in %s can't be opened: %s", options->path, status);
        rc = rocks_rc(&status);
        rocks_db_close(db);
    } else {
        db->ahead = log_ahead_new(options->path, options->write_buffer_bytes / LOG_AHEAD_SHARE);
    }
    return rc;
}

enum rc rocks_db_open_read_only(struct rocks_db *db, const struct rocks_db_options *options, char *ret_why,
                                size_t why_size)
{
    char *status = NULL;

    db_prepare(db, options);
    db->is_read_only = true;
    db->db = rocksdb_open_for_read_only_column_families(db->options[FAMILY_META], options->path, FAMILY_COUNT,
                                                        family_names, const_options(db), db->families, 0, &status);
    if (status == NULL)
        return RC_OK;
    snprintf(ret_why, why_size, "the database in %s can't be read: %s", options->path, status);
    rocks_db_close(db);
    return rocks_rc(&status);
}

enum rc rocks_db_rebuild(const struct rocks_db_options *options, char *ret_why, size_t why_size)
{
    struct rocks_db db     = { 0 };
    char           *status = NULL;

    db_prepare(&db, options);
    rocksdb_repair_db(db.options[FAMILY_META], options->path, &status);
    rocks_db_close(&db);
    if (status != NULL)
        snprintf(ret_why, why_size, "the database in %s can't be made anew: %s", options->path, status);
    return rocks_rc(&status);
}

/* --- reading and writing ---------------------------------------------------------------------------------------- */

uint64_t rocks_db_sequence(struct rocks_db *db)
{
    return rocksdb_get_latest_sequence_number(db->db);
}

enum rc rocks_db_get(struct rocks_db *db, enum family family, const rocksdb_readoptions_t *how, struct span key,
                     rocksdb_pinnableslice_t **ret)
{
    char                    *status = NULL;
    rocksdb_pinnableslice_t *slice = rocksdb_get_pinned_cf(db->db, how, db->families[family], key.at, key.len, &status);

    if (status != NULL)
        return read_rc(db, &status);
    *ret = slice;
    return RC_OK;
}

static enum rc record_note(struct rocks_db *db, enum family family)
{
    char place[STORE_DAMAGE_BYTES];

    snprintf(place, sizeof place, "a record in `%s` has a wrong checksum", family_names[family]);
    if (db->notes != NULL)
        damage_notes_add(db->notes, place);
    return RC_CORRUPT;
}

enum rc rocks_db_get_record(struct rocks_db *db, enum family family, const rocksdb_readoptions_t *how, struct span key,
                            uint64_t *ret_numbers, size_t count)
{
    rocksdb_pinnableslice_t *slice = NULL;
    struct span              value;

    enum rc rc = rocks_db_get(db, family, how, key, &slice);
    if (rc != RC_OK)
        return rc;
    if (slice == NULL)
        return RC_GONE;
    value.at = rocksdb_pinnableslice_value(slice, &value.len);
    if (value.len == 0 && how == db->get_cached)
        rc = RC_BUSY;  /* RocksDB says "perhaps" this way when it would have to open the file */
    else
        rc = record_get(value, key, ret_numbers, count) ? RC_OK : record_note(db, family);
    rocksdb_pinnableslice_destroy(slice);
    return rc;
}

void rocks_db_put_record(struct rocks_db *db, rocksdb_writebatch_t *batch, enum family family, struct span key,
                         const uint64_t *numbers, size_t count)
{
    struct buf value;

    buf_init(&value, 16 * RECORD_NUMBERS_MAX);
    record_put(&value, key, numbers, count);
    rocksdb_writebatch_put_cf(batch, db->families[family], key.at, key.len, value.at, value.len);
    buf_fini(&value);
}

enum rc rocks_db_write(struct rocks_db *db, rocksdb_writebatch_t *batch, char *ret_why, size_t why_size)
{
    char  *status = NULL;
    size_t bytes  = 0;

    must(db->db != NULL);
    rocksdb_writebatch_data(batch, &bytes);
    log_ahead_make(db->ahead, bytes);
    rocksdb_write(db->db, db->write_synced, batch, &status);
    if (status == NULL)
        return RC_OK;
    snprintf(ret_why, why_size, "%s", status);
    /* A write that found no room left at most half a record, which recovery cuts off. A sync that found no room says
     * nothing about what is on disk. */
    bool    is_unwritten = status_contains(status, "While appending");
    enum rc rc           = rocks_rc(&status);
    return rc == RC_NOSPACE && !is_unwritten ? RC_IO : rc;
}

uint64_t rocks_db_number(struct rocks_db *db, enum family family, const char *property)
{
    uint64_t value = 0;

    if (rocksdb_property_int_cf(db->db, db->families[family], property, &value) != 0)
        return 0;
    return value;
}

void rocks_db_count_nothing(void)
{
    rocksdb_set_perf_level(rocksdb_disable);
}

void rocks_db_write_out(struct rocks_db *db, enum family family)
{
    rocksdb_flushoptions_t *how    = rocksdb_flushoptions_create();
    char                   *status = NULL;

    rocksdb_flushoptions_set_wait(how, 0);
    rocksdb_flush_cf(db->db, how, db->families[family], &status);
    rocksdb_flushoptions_destroy(how);
    rocksdb_free(status);  /* a table that can't be written fails the next write, which asks for repair */
}
