/* The maintenance thread: runs one step of retention and space reclaim for each tick(), repairs a database that failed,
 * and measures what stats() tells. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "base/must.h"
#include "store/rocks_priv.h"

enum {
    RETRY_MS_FIRST  = 100,
    RETRY_DOUBLINGS = 6,  /* up to 6.4 s */
    WHY_BYTES       = 400,
    CLOCK_SAVE_MS   = 60 * 1000,
    QUIET_MS        = 2000,
    QUIET_REST_MS   = 60 * 1000,
    QUIET_AHEAD     = 10,
    QUIET_BYTES_MIN = 1024 * 1024,
    DISK_LOOK_STEPS = 50,  /* every few seconds: a large store has tens of thousands of files, and each is asked for its size */
};

/* --- the thread ------------------------------------------------------------------------------------------------- */

void maintenance_init(struct maintenance *maintenance)
{
    *maintenance = (struct maintenance){ .is_first_scan = true };
    pthread_mutex_init(&maintenance->lock, NULL);
    cond_init_monotonic(&maintenance->more);
    buf_init(&maintenance->scan_from, 1024);
}

void maintenance_fini(struct maintenance *maintenance)
{
    buf_fini(&maintenance->scan_from);
    pthread_cond_destroy(&maintenance->more);
    pthread_mutex_destroy(&maintenance->lock);
}

void rocks_tick(struct store *store, msec wall)
{
    struct maintenance *maintenance = &rocks_of(store)->maintenance;

    pthread_mutex_lock(&maintenance->lock);
    maintenance->wall   = wall;
    maintenance->is_due = true;
    pthread_cond_signal(&maintenance->more);
    pthread_mutex_unlock(&maintenance->lock);
}

void maintenance_ask_repair(struct rocks *rocks)
{
    struct maintenance *maintenance = &rocks->maintenance;

    pthread_mutex_lock(&maintenance->lock);
    maintenance->needs_repair = true;
    pthread_cond_signal(&maintenance->more);
    pthread_mutex_unlock(&maintenance->lock);
}

void maintenance_note_purge(struct rocks *rocks, uint64_t rows)
{
    struct maintenance *maintenance = &rocks->maintenance;

    pthread_mutex_lock(&maintenance->lock);
    maintenance->purged_rows += rows;
    pthread_mutex_unlock(&maintenance->lock);
}

static void purged_rows_count(struct maintenance *maintenance)
{
    pthread_mutex_lock(&maintenance->lock);
    maintenance->dead_rows += maintenance->purged_rows;
    maintenance->purged_rows = 0;
    pthread_mutex_unlock(&maintenance->lock);
}

static uint32_t retry_ms(uint32_t tries)
{
    return tries == 0 ? 0 : (uint32_t)RETRY_MS_FIRST << (tries < RETRY_DOUBLINGS ? tries : RETRY_DOUBLINGS);
}

/* Waits until there is something to do; false: the store closes. After each repair that failed the next one waits
 * longer. */
static bool maintenance_wait(struct maintenance *maintenance, msec *ret_wall, bool *ret_needs_repair)
{
    struct timespec retry_at = monotonic_after_ms(retry_ms(maintenance->tries));
    int             failed   = 0;

    pthread_mutex_lock(&maintenance->lock);
    while (!maintenance->is_closing && maintenance->needs_repair && failed != ETIMEDOUT && maintenance->tries > 0)
        failed = pthread_cond_timedwait(&maintenance->more, &maintenance->lock, &retry_at);
    while (!maintenance->is_closing && !maintenance->needs_repair && !maintenance->is_due)
        pthread_cond_wait(&maintenance->more, &maintenance->lock);
    bool goes_on        = !maintenance->is_closing;
    *ret_wall           = maintenance->wall;
    *ret_needs_repair   = maintenance->needs_repair;
    maintenance->is_due = false;
    pthread_mutex_unlock(&maintenance->lock);
    return goes_on;
}

bool maintenance_is_closing(struct maintenance *maintenance)
{
    pthread_mutex_lock(&maintenance->lock);
    bool is_closing = maintenance->is_closing;
    pthread_mutex_unlock(&maintenance->lock);
    return is_closing;
}

/* --- repair ----------------------------------------------------------------------------------------------------- */

static enum rocks_health health_get(struct rocks *rocks)
{
    pthread_mutex_lock(&rocks->commits.lock);
    enum rocks_health health = rocks->commits.health;
    pthread_mutex_unlock(&rocks->commits.lock);
    return health;
}

static bool has_room(struct rocks *rocks)
{
    pthread_rwlock_rdlock(&rocks->db_lock);
    bool has_room = rocks_has_room(rocks, 0);
    pthread_rwlock_unlock(&rocks->db_lock);
    return has_room;
}

/* After a failed write or sync neither RocksDB's state in memory nor ours can be trusted: everything is read from the
 * disk again. If it can't be opened for writing, it is opened for reading, so that what is there can be read. */
static bool database_reopen(struct rocks *rocks)
{
    char why[WHY_BYTES];

    must(rocks_thread == ROCKS_MAINTENANCE);
    pthread_rwlock_wrlock(&rocks->db_lock);
    rocks_db_close(&rocks->db);
    const bool is_open = rocks_load(rocks, true, why, sizeof why) == RC_OK;
    if (is_open)
        channel_table_clear(&rocks->table);
    counter_set(&rocks->is_unreadable, !is_open && rocks_load_read_only(rocks) != RC_OK);
    pthread_rwlock_unlock(&rocks->db_lock);
    return is_open;
}

static void database_repair(struct rocks *rocks)
{
    struct maintenance *maintenance = &rocks->maintenance;

    /* Opening writes as well (RocksDB moves its write-ahead log into tables), so it is of no use while the disk is
     * full. */
    if ((health_get(rocks) == ROCKS_FULL && !has_room(rocks)) || !database_reopen(rocks)) {
        maintenance->tries++;
        return;
    }
    maintenance->tries         = 0;
    maintenance->is_first_scan = true;
    pthread_mutex_lock(&maintenance->lock);
    maintenance->needs_repair = false;
    pthread_mutex_unlock(&maintenance->lock);
    rocks_health_set(rocks, ROCKS_HEALTHY, NULL);
}

/* --- numbers for stats ------------------------------------------------------------------------------------------ */

static uint64_t directory_bytes(const char *path)
{
    DIR        *directory = opendir(path);
    uint64_t    bytes     = 0;
    struct stat file;

    if (directory == NULL)
        return 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (fstatat(dirfd(directory), entry->d_name, &file, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(file.st_mode))
            bytes += (uint64_t)file.st_blocks * 512;
    closedir(directory);
    return bytes;
}

enum { LEAN_PART = 8 };

static void cache_fit(struct rocks *rocks)
{
    const size_t bytes = rocks->options.block_cache_bytes;

    rocksdb_cache_set_capacity(rocks->db.cache, counter_get(&rocks->is_lean) ? bytes / LEAN_PART : bytes);
}

static void stats_measure(struct rocks *rocks)
{
    uint64_t bytes = rocksdb_cache_get_usage(rocks->db.cache);

    for (enum family family = 0; family < FAMILY_COUNT; family++)
        bytes += rocks_db_number(&rocks->db, family, "rocksdb.size-all-mem-tables");
    bytes += counter_get(&rocks->table.count) * sizeof(struct rocks_channel);
    counter_set(&rocks->memory_bytes, bytes);
    if (rocks->maintenance.steps++ % DISK_LOOK_STEPS == 0)
        counter_set(&rocks->disk_bytes, directory_bytes(rocks->db_path));
}

/* Each commit updates is_full. While nothing is published this function does, unless the committer did so in the
 * meantime. */
static void full_refresh(struct rocks *rocks)
{
    struct commit_queue *commits = &rocks->commits;

    pthread_mutex_lock(&commits->lock);
    bool was_full = commits->is_full;
    pthread_mutex_unlock(&commits->lock);
    bool is_full = !has_room(rocks);
    pthread_mutex_lock(&commits->lock);
    if (commits->health == ROCKS_HEALTHY && commits->is_full == was_full)
        commits->is_full = is_full;
    pthread_mutex_unlock(&commits->lock);
}

/* --- the write buffers of a quiet store ----------------------------------------------------------------------------
 *
 * Rows wait in write buffers until these are full, which on a quiet node is never: the rows of its sessions would stay in memory
 * twice. So buffers that hold a megabyte are written out once nothing was written for two seconds. Many small tables make more work for
 * compaction: so that happens once a minute in the mean, and QUIET_AHEAD times at once. */

static bool store_is_quiet(struct rocks *rocks, msec wall)
{
    struct maintenance *maintenance = &rocks->maintenance;
    uint64_t            sequence    = rocks_db_sequence(&rocks->db);

    if (sequence != maintenance->sequence || wall < maintenance->quiet_since) {
        maintenance->sequence    = sequence;
        maintenance->quiet_since = wall;
    }
    return wall - maintenance->quiet_since >= QUIET_MS;
}

static size_t quiet_bytes_min(const struct rocks *rocks)
{
    return rocks->options.write_buffer_bytes / 4 < QUIET_BYTES_MIN ? rocks->options.write_buffer_bytes / 4 : QUIET_BYTES_MIN;
}

static void quiet_write_out(struct rocks *rocks, msec wall)
{
    struct maintenance *maintenance    = &rocks->maintenance;
    bool                is_written_out = false;

    if (!store_is_quiet(rocks, wall) || !rocks_has_room(rocks, 0))
        return;
    if (maintenance->quiet_until < wall || maintenance->quiet_until > wall + 2 * QUIET_AHEAD * QUIET_REST_MS)
        maintenance->quiet_until = wall;  /* also after the clock was set back */
    if (maintenance->quiet_until >= wall + QUIET_AHEAD * QUIET_REST_MS)
        return;
    for (enum family family = 0; family < FAMILY_COUNT; family++) {
        if (rocks_db_number(&rocks->db, family, "rocksdb.cur-size-active-mem-table") < quiet_bytes_min(rocks))
            continue;
        rocks_db_write_out(&rocks->db, family);
        is_written_out = true;
    }
    maintenance->quiet_until += is_written_out ? QUIET_REST_MS : 0;
}

static void maintenance_step(struct rocks *rocks, msec wall)
{
    full_refresh(rocks);
    if (wall - rocks->maintenance.clock_saved >= CLOCK_SAVE_MS || wall < rocks->maintenance.clock_saved)
        rocks_save_clock(rocks, wall);
    filter_floors_set_wall(&rocks->filter_floors, wall);
    purged_rows_count(&rocks->maintenance);
    pthread_rwlock_rdlock(&rocks->db_lock);
    /* If a write fails here, the committer's next write fails too, and asks for repair. */
    if (rocks->db.db != NULL && !rocks->db.is_read_only && retention_step(rocks, wall) == RC_OK) {
        if (!rocks->db.is_compaction_off) {
            reclaim_messages(rocks);
            reclaim_expired(rocks, wall);
            quiet_write_out(rocks, wall);
        }
        cache_fit(rocks);
        stats_measure(rocks);
    }
    pthread_rwlock_unlock(&rocks->db_lock);
}

void *rocks_maintain(void *context)
{
    struct rocks *rocks        = context;
    msec          wall         = 0;
    bool          needs_repair = false;

    rocks_thread = ROCKS_MAINTENANCE;
    rocks_db_count_nothing();
    while (maintenance_wait(&rocks->maintenance, &wall, &needs_repair)) {
        if (needs_repair) {
            database_repair(rocks);
            full_refresh(rocks);
        } else {
            maintenance_step(rocks, wall);
        }
    }
    return NULL;
}
