/* Reclaiming disk space: compacts what retention and expiry have left dead. */
#include "base/must.h"
#include "store/rocks_priv.h"

enum {
    DEAD_SHARE    = 4,  /* compact when a quarter of all rows is dead (and dead_bytes_max is reached) */
    EXPIRED_SHARE = 4,  /* compactions of expired rows in one window of idempotency keys */
};

#define SLICE_BYTES (UINT64_C(1) << 30)

static void compact(struct rocks *rocks, enum family family, const struct row_key *from, const struct row_key *to)
{
    must(rocks_thread == ROCKS_MAINTENANCE);
    rocksdb_compactoptions_t *how = rocksdb_compactoptions_create();

    rocksdb_compactoptions_set_exclusive_manual_compaction(how, 0);
    rocksdb_compact_range_cf_opt(rocks->db.db, rocks->db.families[family], how, from == NULL ? NULL : from->bytes,
                                 from == NULL ? 0 : ROW_KEY_BYTES, to == NULL ? NULL : to->bytes,
                                 to == NULL ? 0 : ROW_KEY_BYTES);
    rocksdb_compactoptions_destroy(how);
}

uint64_t messages_last_number(struct rocks *rocks)
{
    uint64_t            number = 0, seq = 0;
    struct span         key;
    rocksdb_iterator_t *iterator =
        rocksdb_create_iterator_cf(rocks->db.db, rocks->db.get, rocks->db.families[FAMILY_MESSAGES]);

    rocksdb_iter_seek_to_last(iterator);
    if (rocksdb_iter_valid(iterator)) {
        key.at = rocksdb_iter_key(iterator, &key.len);
        must(row_key_get(key, &number, &seq));
    }
    rocksdb_iter_destroy(iterator);
    return number;
}

/* Compacts in slices of about SLICE_BYTES, so that it never needs disk space for a second copy of everything. */
static void compact_messages(struct rocks *rocks, uint64_t table_bytes)
{
    uint64_t slices = table_bytes / SLICE_BYTES + 1;
    uint64_t width  = messages_last_number(rocks) / slices + 1;

    for (uint64_t i = 0; i < slices; i++) {
        struct row_key from = row_key(i * width, 0), to = row_key((i + 1) * width, 0);
        if (maintenance_is_closing(&rocks->maintenance))
            return;
        compact(rocks, FAMILY_MESSAGES, &from, &to);
    }
    filter_floors_clear(&rocks->filter_floors);
    rocks->maintenance.dead_rows = 0;
}

void reclaim_messages(struct rocks *rocks)
{
    uint64_t table_bytes = rocks_db_number(&rocks->db, FAMILY_MESSAGES, "rocksdb.total-sst-files-size") +
                           rocks_db_number(&rocks->db, FAMILY_MESSAGES, "rocksdb.cur-size-all-mem-tables");
    uint64_t rows       = rocks_db_number(&rocks->db, FAMILY_MESSAGES, "rocksdb.estimate-num-keys");
    double   dead_share = rows == 0 ? 0 : (double)rocks->maintenance.dead_rows / (double)rows;
    uint64_t dead_bytes = (uint64_t)((double)table_bytes * dead_share);

    if (dead_bytes >= rocks->options.dead_bytes_max && dead_bytes >= table_bytes / DEAD_SHARE)
        compact_messages(rocks, table_bytes);
}

static void reclaim_family(struct rocks *rocks, enum family family)
{
    if (rocks_db_number(&rocks->db, family, "rocksdb.total-sst-files-size") >= rocks->options.dead_bytes_max)
        compact(rocks, family, NULL, NULL);
}

/* Compacts what expires row by row: idempotency keys, and ledger rows. */
void reclaim_expired(struct rocks *rocks, msec wall)
{
    struct maintenance *maintenance = &rocks->maintenance;

    if (maintenance->expired_at == 0)
        maintenance->expired_at = wall;
    if (wall - maintenance->expired_at < rocks->options.key_keep_ms / EXPIRED_SHARE)
        return;
    maintenance->expired_at = wall;
    reclaim_family(rocks, FAMILY_KEYS);
    reclaim_family(rocks, FAMILY_LEDGER);
}
