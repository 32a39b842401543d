#include "store/rocks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"
#include "store/rocks_priv.h"
#include "store/rocks_salvage.h"

#define KEY_KEEP_MS (24 * 3600 * INT64_C(1000))
#define MIB (UINT64_C(1024) * 1024)

enum {
    CHANNEL_COUNT_MAX      = 1000000,
    CHANNEL_COUNT_MIN      = 8192,  /* more than one commit can touch */
    FILTER_FLOOR_COUNT_MAX = 1000000,
    READER_COUNT           = 2,
    READ_COUNT_MAX         = 65536,
    BUFFER_SHARE           = 64,  /* of the disk: at most this part of it for a write buffer, … */
    RESERVE_SHARE          = 16,  /* … for the reserve, if the operator didn't choose it, … */
    DEAD_DISK_SHARE        = 8,   /* … and for what retention may leave dead */
    WRITE_BUFFERS          = 6,  /* at most so many buffers of messages and ledger rows are in memory */
    CHANGE_COUNT_MAX       = 65536,
    COMPANY_MS             = 2,
    LOCK_TRIES             = 2000,  /* 5 ms each */
};

_Thread_local enum rocks_thread rocks_thread;

/* --- options ---------------------------------------------------------------------------------------------------- */

static uint64_t value_or(uint64_t value, uint64_t fallback)
{
    return value != 0 ? value : fallback;
}

/* The size of the disk; 0: the file system doesn't tell. */
static uint64_t disk_size(int directory)
{
    struct statvfs disk;

    return fstatvfs(directory, &disk) == 0 ? (uint64_t)disk.f_blocks * disk.f_frsize : 0;
}

/* No more than a share of the disk, but at least `least`. */
static uint64_t share_of(uint64_t disk, uint64_t share, uint64_t bytes, uint64_t least)
{
    const uint64_t most = disk / share > least ? disk / share : least;

    return disk != 0 && bytes > most ? most : bytes;
}

/* 32 MiB of write buffer: larger ones miss the processor's caches more, smaller ones are merged more often. RocksDB
 * allocates as much for a write-ahead log at once, and may have two of them. */
static void sizes_fill(struct rocks_store_options *options, uint64_t disk)
{
    options->write_buffer_bytes = share_of(disk, BUFFER_SHARE, value_or(options->write_buffer_bytes, 32 * MIB), MIB / 4);
    options->dead_bytes_max     = share_of(disk, DEAD_DISK_SHARE, value_or(options->dead_bytes_max, 64 * MIB), MIB / 4);
    if (options->is_reserve_default)
        options->reserve_bytes = share_of(disk, RESERVE_SHARE, options->reserve_bytes, 0);
}

static void rocks_options_fill(struct rocks_store_options *options, int directory)
{
    options->key_keep_ms        = options->key_keep_ms != 0 ? options->key_keep_ms : KEY_KEEP_MS;
    options->channel_count_max  = value_or(options->channel_count_max, CHANNEL_COUNT_MAX);
    options->block_cache_bytes  = value_or(options->block_cache_bytes, 64 * MIB);
    options->reader_count       = value_or(options->reader_count, READER_COUNT);
    options->read_count_max     = value_or(options->read_count_max, READ_COUNT_MAX);
    options->change_count_max   = value_or(options->change_count_max, CHANGE_COUNT_MAX);
    options->company_ms         = options->company_ms != 0 ? options->company_ms : COMPANY_MS;
    sizes_fill(options, disk_size(directory));
    if (options->channel_count_max < CHANNEL_COUNT_MIN)
        options->channel_count_max = CHANNEL_COUNT_MIN;
    if (options->reader_count > READERS_MAX)
        options->reader_count = READERS_MAX;
}

/* --- health and room -------------------------------------------------------------------------------------------- */

void rocks_health_set(struct rocks *rocks, enum rocks_health health, const char *why)
{
    struct commit_queue *commits = &rocks->commits;

    must(rocks_thread == (health == ROCKS_HEALTHY ? ROCKS_MAINTENANCE : ROCKS_COMMITTER));
    must(health == ROCKS_HEALTHY || why != NULL);
    pthread_mutex_lock(&commits->lock);
    commits->health = health;
    if (health != ROCKS_HEALTHY) {
        commits->failure_count++;
        snprintf(commits->failure, sizeof commits->failure, "%s", why);
        commits->is_full = health == ROCKS_FULL;
    }
    pthread_mutex_unlock(&commits->lock);
}

static void commits_are_broken(struct commit_queue *commits, const char *why)
{
    pthread_mutex_lock(&commits->lock);
    commits->health = ROCKS_BROKEN;
    commits->failure_count++;
    snprintf(commits->failure, sizeof commits->failure, "%.*s", (int)sizeof commits->failure - 1, why);
    pthread_mutex_unlock(&commits->lock);
}

static bool commits_are_full(struct commit_queue *commits)
{
    pthread_mutex_lock(&commits->lock);
    bool is_full = commits->is_full;
    pthread_mutex_unlock(&commits->lock);
    return is_full;
}

bool rocks_has_room(struct rocks *rocks, uint64_t bytes)
{
    struct statvfs disk;

    if (fstatvfs(rocks->directory_fd, &disk) != 0 || disk.f_blocks == 0)
        return true;
    uint64_t free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    uint64_t need       = bytes + rocks->options.reserve_bytes * (commits_are_full(&rocks->commits) ? 2 : 1);
    /* Asked only when the free space comes near the limit, because the question takes RocksDB's lock. */
    if (rocks->db.db != NULL && free_bytes < need + WRITE_BUFFERS * rocks->options.write_buffer_bytes)
        need += rocks_db_number(&rocks->db, FAMILY_MESSAGES, "rocksdb.cur-size-all-mem-tables") +
                rocks_db_number(&rocks->db, FAMILY_LEDGER, "rocksdb.cur-size-all-mem-tables");
    return free_bytes >= need;
}

/* --- opening ---------------------------------------------------------------------------------------------------- */

static enum rc epoch_renew(struct rocks *rocks)
{
    const uint64_t epoch = rocks->options.epoch_new != rocks->epoch ? rocks->options.epoch_new : rocks->epoch + 1;
    const enum rc  rc    = rocks_epoch_change(rocks, epoch);

    return rc == RC_OK ? rocks_save_synced(rocks) : rc;
}

static enum rc loss_check(struct rocks *rocks, uint64_t synced, char *ret_why, size_t why_size)
{
    if (rocks_db_sequence(&rocks->db) >= synced)
        return RC_OK;
    snprintf(ret_why, why_size,
             "the log in %s ends at %llu, but commits up to %llu were acknowledged: the rest is "
             "lost, so the log has a new epoch",
             rocks->path, (unsigned long long)rocks_db_sequence(&rocks->db), (unsigned long long)synced);
    return epoch_renew(rocks);
}

/* What was lost can have used any number. The epoch is saved before the word in `synced` goes. */
static enum rc restored_renew(struct rocks *rocks, char *ret_why, size_t why_size)
{
    enum rc rc = rocks_numbers_leap(rocks);

    if (rc == RC_OK)
        rc = epoch_renew(rocks);
    if (rc == RC_OK)
        snprintf(ret_why, why_size, "the log in %s is a backup that was restored, as its file `synced` says, so it has a new epoch", rocks->path);
    return rc;
}

/* Tells what was mended: with the start's notice, and with the damage that readers find. */
static void salvage_tell(struct salvage *salvage, struct rocks *rocks, char *ret_why, size_t why_size)
{
    if (salvage->told.len == 0)
        return;
    snprintf(ret_why, why_size, "%.*s", SPAN_ARG(buf_span(&salvage->told)));
    damage_notes_add(&rocks->damage, ret_why);
}

static enum rc load_open(struct salvage *salvage, struct rocks *rocks, struct rocks_db_options *options, char *ret_why,
                         size_t why_size)
{
    bool    is_lost = false;
    enum rc rc      = rocks_db_open(&rocks->db, options, ret_why, why_size);

    if (rc == RC_CORRUPT || (rc == RC_IO && strstr(ret_why, "No such file") != NULL))
        rc = salvage_open(salvage, rocks, options, ret_why, why_size);
    if (rc == RC_OK && options->may_repair)
        rc = salvage_small_families(salvage, rocks, options, ret_why, why_size);
    if (rc == RC_OK)
        rc = rocks_meta_load(rocks, &is_lost, ret_why, why_size);
    if (rc == RC_OK && is_lost) {
        salvage->has_lost_commits = true;
        buf_putf(&salvage->told, "the metadata of the database in %s was damaged, so the log has a new epoch. ",
                 rocks->db_path);
    }
    return rc;
}

static enum rc load_finish(struct salvage *salvage, struct rocks *rocks, uint64_t synced, char *ret_why, size_t why_size)
{
    enum rc rc = RC_OK;

    if (rocks_is_restored(rocks))
        rc = restored_renew(rocks, ret_why, why_size);
    else if (!salvage->has_lost_commits)
        rc = loss_check(rocks, synced, ret_why, why_size);
    else if ((rc = rocks_numbers_leap(rocks)) == RC_OK)
        rc = epoch_renew(rocks);
    if (rc == RC_OK)
        salvage_tell(salvage, rocks, ret_why, why_size);
    return rc;
}

static struct rocks_db_options db_options_of(struct rocks *rocks, bool must_exist)
{
    return (struct rocks_db_options){
        .path               = rocks->db_path,
        .log_path           = rocks->info_log,
        .write_buffer_bytes = rocks->options.write_buffer_bytes,
        .block_cache_bytes  = rocks->options.block_cache_bytes,
        .must_exist         = must_exist,
        .is_compaction_off  = rocks->is_compaction_off,
        .is_format_1        = rocks->is_format_1,
        .make_filter        = rocks_make_filter,
        .context            = &rocks->filter_floors,
        .sequence_min       = rocks_load_synced(rocks),
        .notes              = &rocks->damage,
        .may_repair         = rocks->options.may_repair,
    };
}

enum rc rocks_load(struct rocks *rocks, bool must_exist, char *ret_why, size_t why_size)
{
    struct rocks_db_options options = db_options_of(rocks, must_exist);
    struct salvage          salvage;

    salvage_init(&salvage);
    enum rc rc = load_open(&salvage, rocks, &options, ret_why, why_size);
    if (rc == RC_OK)
        rc = load_finish(&salvage, rocks, options.sequence_min, ret_why, why_size);
    if (rc != RC_OK)
        rocks_db_close(&rocks->db);
    salvage_fini(&salvage);
    return rc;
}

enum rc rocks_load_read_only(struct rocks *rocks)
{
    const struct rocks_db_options options = db_options_of(rocks, true);
    char                          why[ROCKS_WHY_BYTES];

    return rocks_db_open_read_only(&rocks->db, &options, why, sizeof why);
}

/* --- threads ---------------------------------------------------------------------------------------------------- */

void cond_init_monotonic(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attributes);
    pthread_condattr_destroy(&attributes);
}

struct timespec monotonic_after_ms(uint32_t ms)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += ms / 1000;
    at.tv_nsec += (long)(ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_nsec -= 1000000000;
        at.tv_sec++;
    }
    return at;
}

static void queues_init(struct rocks *rocks)
{
    pthread_rwlockattr_t attributes;

    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&rocks->db_lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    pthread_mutex_init(&rocks->floor_lock, NULL);
    pthread_mutex_init(&rocks->commits.lock, NULL);
    cond_init_monotonic(&rocks->commits.more);
    list_init(&rocks->commits.batches);
    list_init(&rocks->commits.ledger_batches);
    pthread_mutex_init(&rocks->reads.lock, NULL);
    pthread_cond_init(&rocks->reads.more, NULL);
    for (size_t i = 0; i < READ_JOB_COUNT; i++)
        list_init(&rocks->reads.jobs[i]);
    maintenance_init(&rocks->maintenance);
}

static void threads_start(struct rocks *rocks)
{
    must(pthread_create(&rocks->committer_thread, NULL, rocks_committer, rocks) == 0);
    must(pthread_create(&rocks->maintenance_thread, NULL, rocks_maintain, rocks) == 0);
    for (size_t i = 0; i < rocks->options.reader_count; i++)
        must(pthread_create(&rocks->reader_threads[i], NULL, rocks_reader, rocks) == 0);
}

static void closing_signal(pthread_mutex_t *lock, pthread_cond_t *more, bool *is_closing)
{
    pthread_mutex_lock(lock);
    *is_closing = true;
    pthread_cond_broadcast(more);
    pthread_mutex_unlock(lock);
}

/* The committer stops first, because whoever gets its answers may submit reads. */
static void threads_stop(struct rocks *rocks)
{
    closing_signal(&rocks->commits.lock, &rocks->commits.more, &rocks->commits.is_closing);
    pthread_join(rocks->committer_thread, NULL);
    closing_signal(&rocks->reads.lock, &rocks->reads.more, &rocks->reads.is_closing);
    for (size_t i = 0; i < rocks->options.reader_count; i++)
        pthread_join(rocks->reader_threads[i], NULL);
    closing_signal(&rocks->maintenance.lock, &rocks->maintenance.more, &rocks->maintenance.is_closing);
    pthread_rwlock_rdlock(&rocks->db_lock);
    if (rocks->db.db != NULL)
        rocksdb_disable_manual_compaction(rocks->db.db);
    pthread_rwlock_unlock(&rocks->db_lock);
    pthread_join(rocks->maintenance_thread, NULL);
}

/* --- the port --------------------------------------------------------------------------------------------------- */

static void rocks_free(struct rocks *rocks)
{
    must(list_is_empty(&rocks->commits.batches) && list_is_empty(&rocks->commits.ledger_batches));
    must(rocks->reads.count == 0);
    rocks_db_close(&rocks->db);
    info_log_remove(rocks->info_log);
    maintenance_fini(&rocks->maintenance);
    filter_floors_fini(&rocks->filter_floors);
    damage_notes_fini(&rocks->damage);
    channel_table_fini(&rocks->table);
    pthread_mutex_destroy(&rocks->commits.lock);
    pthread_cond_destroy(&rocks->commits.more);
    pthread_mutex_destroy(&rocks->reads.lock);
    pthread_cond_destroy(&rocks->reads.more);
    pthread_rwlock_destroy(&rocks->db_lock);
    pthread_mutex_destroy(&rocks->floor_lock);
    if (rocks->synced_fd >= 0)
        close(rocks->synced_fd);
    if (rocks->clock_fd >= 0)
        close(rocks->clock_fd);
    if (rocks->lock_fd >= 0)
        close(rocks->lock_fd);
    if (rocks->directory_fd >= 0)
        close(rocks->directory_fd);
    free(rocks->path);
    free(rocks->db_path);
    free(rocks);
}

static void rocks_close(struct store *store)
{
    struct rocks *rocks = rocks_of(store);

    threads_stop(rocks);
    const msec wall = rocks->wall_committed > rocks->maintenance.wall ? rocks->wall_committed : rocks->maintenance.wall;
    if (wall != 0)
        rocks_save_clock(rocks, wall);
    /* The bytes that a channel keeps are approximate: if they can't be saved now, the next start estimates them. */
    if (rocks->db.db != NULL && rocks->commits.health == ROCKS_HEALTHY)
        channels_save_all(rocks);
    rocks_free(rocks);
}

/* --- another process takes this one's place ----------------------------------------------------------------------- */

/* What is in the write-ahead log has to be read by whoever opens the database, so it is moved into tables before. */
static void rocks_make_light(struct store *store)
{
    struct rocks *rocks = rocks_of(store);

    pthread_rwlock_rdlock(&rocks->db_lock);
    if (rocks->db.db != NULL && !rocks->db.is_read_only)
        rocks_db_flush(&rocks->db);
    pthread_rwlock_unlock(&rocks->db_lock);
}

/* db_lock stays held for writing until take_back(): whoever wants something of the database waits. */
static void rocks_let_go(struct store *store)
{
    struct rocks *rocks = rocks_of(store);

    pthread_rwlock_rdlock(&rocks->db_lock);
    if (rocks->db.db != NULL)
        rocksdb_disable_manual_compaction(rocks->db.db);
    pthread_rwlock_unlock(&rocks->db_lock);
    pthread_rwlock_wrlock(&rocks->db_lock);
    if (rocks->db.db != NULL && rocks->commits.health == ROCKS_HEALTHY)
        channels_save_all(rocks);
    rocks_db_close(&rocks->db);
    flock(rocks->lock_fd, LOCK_UN);
}

/* The other process may be on its way out. */
static bool rocks_lock_again(const struct rocks *rocks)
{
    const struct timespec pause = { .tv_nsec = 5 * 1000 * 1000 };

    for (int tries = 0; tries < LOCK_TRIES; tries++) {
        if (flock(rocks->lock_fd, LOCK_EX | LOCK_NB) == 0)
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

static enum rc rocks_take_back(struct store *store, char *ret_why, size_t why_size)
{
    struct rocks *rocks = rocks_of(store);
    enum rc       rc    = RC_BUSY;

    snprintf(ret_why, why_size, "the data directory %s is in use by another process", rocks->path);
    if (rocks_lock_again(rocks))
        rc = rocks_load(rocks, true, ret_why, why_size);
    channel_table_clear(&rocks->table);
    if (rc != RC_OK) {
        counter_set(&rocks->is_unreadable, rocks_load_read_only(rocks) != RC_OK);
        commits_are_broken(&rocks->commits, ret_why);
        maintenance_ask_repair(rocks);
    }
    pthread_rwlock_unlock(&rocks->db_lock);
    return rc;
}

static void rocks_stats(struct store *store, struct store_stats *ret_stats)
{
    struct rocks *rocks = rocks_of(store);

    *ret_stats = (struct store_stats){
        .channel_count = counter_get(&rocks->table.count),
        .disk_bytes    = counter_get(&rocks->disk_bytes),
        .memory_bytes  = counter_get(&rocks->memory_bytes),
        .append_count  = counter_get(&rocks->append_count),
        .batch_count   = counter_get(&rocks->batch_count),
        .sync_count    = counter_get(&rocks->sync_count),
        .sync_us_sum   = counter_get(&rocks->sync_us_sum),
    };
    pthread_mutex_lock(&rocks->commits.lock);
    ret_stats->is_full       = rocks->commits.is_full;
    ret_stats->is_broken     = rocks->commits.health == ROCKS_BROKEN;
    ret_stats->is_failing    = rocks->commits.health != ROCKS_HEALTHY;
    ret_stats->is_unreadable = counter_get(&rocks->is_unreadable) != 0;
    ret_stats->failure_count = rocks->commits.failure_count;
    snprintf(ret_stats->failure, sizeof ret_stats->failure, "%s", rocks->commits.failure);
    pthread_mutex_unlock(&rocks->commits.lock);
    damage_notes_tell(&rocks->damage, ret_stats);
    for (size_t i = 0; i < SYNC_BUCKETS; i++)
        ret_stats->sync_us_buckets[i] = counter_get(&rocks->sync_us_buckets[i]);
}

static void rocks_lean(struct store *store, bool is_lean)
{
    counter_set(&rocks_of(store)->is_lean, is_lean);
}

static const struct store_ops rocks_ops = {
    .name   = "rocks",
    .append = rocks_append,
    .read   = rocks_read,
    .heads  = rocks_heads,
    .list   = rocks_list,
    .tick   = rocks_tick,
    .lean   = rocks_lean,
    .stats  = rocks_stats,
    .close  = rocks_close,
    .make_light = rocks_make_light,
    .let_go     = rocks_let_go,
    .take_back  = rocks_take_back,
};

static char *path_join(const char *path, const char *name)
{
    char *joined = NULL;

    must(asprintf(&joined, "%s/%s", path, name) >= 0);
    return joined;
}

static struct rocks *rocks_new(const struct rocks_store_options *options)
{
    struct rocks *rocks = calloc(1, sizeof *rocks);

    must(rocks != NULL && options->epoch_new != 0);
    rocks->store        = (struct store){
               .ops = &rocks_ops, .ledger = &rocks->ledger, .batches_max = 1, .has_one_writer = true,
    };
    rocks->ledger.ops   = &rocks_ledger_ops;
    rocks->options      = *options;
    rocks->path         = strdup(options->path);
    rocks->db_path      = path_join(options->path, "db");
    rocks->options.path = rocks->path;
    rocks->directory_fd = rocks->lock_fd = rocks->synced_fd = rocks->clock_fd = -1;
    must(rocks->path != NULL);
    queues_init(rocks);
    damage_notes_init(&rocks->damage);
    filter_floors_init(&rocks->filter_floors, FILTER_FLOOR_COUNT_MAX);
    channel_table_init(&rocks->table, CHANNEL_COUNT_MAX);
    return rocks;
}

enum rc rocks_store_open(const struct rocks_store_options *options, struct store **ret, char *ret_why, size_t why_size)
{
    struct rocks *rocks = rocks_new(options);

    ret_why[0] = '\0';
    enum rc rc = rocks_directory_lock(rocks, ret_why, why_size);
    if (rc != RC_OK)
        goto out;
    rc = rocks_format_check(rocks, ret_why, why_size);
    if (rc != RC_OK && rc != RC_GONE)
        goto out;
    const bool is_new = rc == RC_GONE;
    if (!info_log_open(rocks->path, rocks->info_log))
        rocks->info_log[0] = '\0';
    rocks_options_fill(&rocks->options, rocks->directory_fd);
    rocks->table.count_max = rocks->options.channel_count_max;
    rc                     = rocks_load(rocks, !is_new, ret_why, why_size);
    if (rc == RC_OK && (is_new || rocks->is_format_old))
        rc = rocks_format_write(rocks, ret_why, why_size);
    if (rc != RC_OK)
        goto out;
    rocks->store.wall_seen = rocks_load_clock(rocks);
    listing_look_at_spaces(rocks);
    threads_start(rocks);
    *ret  = &rocks->store;
    rocks = NULL;
out:
    if (rocks != NULL)
        rocks_free(rocks);
    return rc;
}
