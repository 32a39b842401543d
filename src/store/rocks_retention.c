/* Retention: scans the channels by name, a bounded number in a step, and raises their floors.
 *
 * A floor is saved on disk before the compaction filter learns it. If a channel's rows were dropped and its floor then
 * lost, its head would be lost too, and seqs would be given twice. Once enough rows are dead rocks_compact.c compacts
 * the messages and the filter (rocks_filter.c) drops them. So RocksDB needs no tombstones, and the disk space is really
 * freed. */
#include <stdlib.h>

#include "base/must.h"
#include "store/rocks_priv.h"

enum { RETENTION_CHANNEL_COUNT = 1000 };  /* channels in a step */

struct retention_scan {
    struct rocks         *rocks;
    msec                  wall;
    rocksdb_writebatch_t *write;
    size_t                count;
    struct {
        uint64_t number, floor;
    } moved[RETENTION_CHANNEL_COUNT];
};

static void retention_note(struct retention_scan *scan, uint64_t number, uint64_t saved_floor, uint64_t floor)
{
    struct maintenance *maintenance = &scan->rocks->maintenance;

    must(scan->count < RETENTION_CHANNEL_COUNT);
    must(saved_floor <= floor);
    if (maintenance->is_first_scan)
        maintenance->dead_rows += dead_rows_below(scan->rocks, number, saved_floor);
    maintenance->dead_rows += floor - saved_floor;
    scan->moved[scan->count].number = number;
    scan->moved[scan->count].floor  = floor;
    scan->count++;
}

/* A channel that can't be read keeps its floor. */
static void retention_apply(struct retention_scan *scan, struct channel_name *name)
{
    struct rocks        *rocks = scan->rocks;
    struct channel_state state;
    uint64_t             saved_floor = 1;

    if (channel_state_get(rocks, name, rocks->db.get, &state) != RC_OK || state.number == 0)
        return;
    /* Its bytes will be counted row by row. If the table holds the channel by then it remembers the result, so that
     * this happens once. */
    if (state_has_excess_bytes(name->space, &state) && state.is_guess && channel_cache(rocks, name, &state) != RC_OK)
        return;
    struct channel_state was = state;
    if (state_apply_age(rocks, name->space, scan->wall, &state) != RC_OK ||
        floor_load(rocks, state.number, &saved_floor) != RC_OK)
        return;
    state_apply_bytes(rocks, name->space, &state);
    if (state.floor != was.floor || state.floor_time != was.floor_time || state.bytes != was.bytes)
        channel_raise_floor(rocks, name, &was, &state);
    if (state.floor > saved_floor || (rocks->maintenance.is_first_scan && state.floor > 1))
        retention_note(scan, state.number, saved_floor, state.floor);
}

/* Up to RETENTION_CHANNEL_COUNT channels; the next step begins behind them, or from the start. */
static void retention_apply_next(struct retention_scan *scan)
{
    struct rocks       *rocks       = scan->rocks;
    struct maintenance *maintenance = &rocks->maintenance;
    rocksdb_iterator_t *iterator =
        rocksdb_create_iterator_cf(rocks->db.db, rocks->db.get, rocks->db.families[FAMILY_CHANNELS]);

    rocksdb_iter_seek(iterator, maintenance->scan_from.len == 0 ? "" : maintenance->scan_from.at,
                      maintenance->scan_from.len);
    for (size_t i = 0; i < RETENTION_CHANNEL_COUNT && rocksdb_iter_valid(iterator); i++) {
        struct channel_name *name = NULL;
        struct span          text;
        text.at = rocksdb_iter_key(iterator, &text.len);
        /* A namespace that is no longer configured has no policy: its logs stay as they are. */
        if (channel_name_new(rocks->options.spaces, &rocks->options.hash_key, text, &name) == CHANNEL_NAME_OK)
            retention_apply(scan, name);
        channel_name_unref(name);
        rocksdb_iter_next(iterator);
    }
    buf_clear(&maintenance->scan_from);
    if (rocksdb_iter_valid(iterator)) {
        struct span text;
        text.at = rocksdb_iter_key(iterator, &text.len);
        buf_put(&maintenance->scan_from, text);
    }
    rocksdb_iter_destroy(iterator);
}

/* A purge may have saved a higher floor since the scan looked. */
static enum rc retention_write(struct retention_scan *scan)
{
    struct rocks *rocks = scan->rocks;
    enum rc       rc    = RC_OK;
    char          why[ROCKS_WHY_BYTES];

    pthread_mutex_lock(&rocks->floor_lock);
    for (size_t i = 0; rc == RC_OK && i < scan->count; i++)
        rc = floor_save_higher(rocks, scan->write, scan->moved[i].number, scan->moved[i].floor);
    if (rc == RC_OK && rocksdb_writebatch_count(scan->write) > 0)
        rc = rocks_db_write(&rocks->db, scan->write, why, sizeof why);
    pthread_mutex_unlock(&rocks->floor_lock);
    return rc;
}

/* The floors are on disk now: tells the table first, then the filter. */
static void retention_publish(struct retention_scan *scan)
{
    struct rocks *rocks = scan->rocks;

    pthread_mutex_lock(&rocks->table.lock);
    rocks->table.changes++;
    pthread_mutex_unlock(&rocks->table.lock);
    for (size_t i = 0; i < scan->count; i++)
        filter_floors_set(&rocks->filter_floors, scan->moved[i].number, scan->moved[i].floor);
}

enum rc retention_step(struct rocks *rocks, msec wall)
{
    struct retention_scan *scan = calloc(1, sizeof *scan);

    must(scan != NULL && rocks_thread == ROCKS_MAINTENANCE);
    scan->rocks = rocks;
    scan->wall  = wall;
    scan->write = rocksdb_writebatch_create();
    retention_apply_next(scan);
    enum rc rc = retention_write(scan);
    if (rc == RC_OK)
        retention_publish(scan);
    rocksdb_writebatch_destroy(scan->write);
    free(scan);
    if (rocks->maintenance.scan_from.len == 0)
        rocks->maintenance.is_first_scan = false;
    return rc;
}
