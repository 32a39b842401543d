/* The keeper: one step of retention for each tend(), and the repair of a database that failed.
 *
 * Retention walks the channels by name, a bounded number a step, and raises floors. A floor is on disk before the
 * filter hears of it: were its rows gone and the floor lost, the channel's head would be lost with them and seqs would
 * be given twice. Once enough is dead the messages are compacted, slice by slice, and the filter lets the dead rows go:
 * no tombstones, and the space really comes back. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "base/must.h"
#include "store/rocks_priv.h"

enum {
    WALK_COUNT       = 1000,    /* channels a step */
    TRIM_ROWS_MAX    = 100000,  /* rows weighed for one channel in one step */
    DEAD_SHARE       = 4,       /* compact when a quarter of all is dead (and dead_bytes_max) */
    KEYS_SHARE       = 4,       /* what expired is taken out so often in one window of idempotency keys */
    RETRY_MS_FIRST   = 100,
    RETRY_DOUBLINGS  = 6,       /* up to 6.4 s */
    WHY_BYTES        = 400,
};

#define SLICE_BYTES (UINT64_C(1) << 30)

/* --- the thread ------------------------------------------------------------------------------------------------- */

void keeper_init(struct keeper *keeper)
{
    pthread_condattr_t attributes;

    *keeper = (struct keeper){ .is_first_walk = true };
    pthread_mutex_init(&keeper->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&keeper->more, &attributes);
    pthread_condattr_destroy(&attributes);
    buf_init(&keeper->walk_from, 1024);
}

void keeper_fini(struct keeper *keeper)
{
    buf_fini(&keeper->walk_from);
    pthread_cond_destroy(&keeper->more);
    pthread_mutex_destroy(&keeper->lock);
}

void rocks_tick(struct store *store, msec wall)
{
    struct keeper *keeper = &rocks_of(store)->keeper;

    pthread_mutex_lock(&keeper->lock);
    keeper->wall   = wall;
    keeper->is_due = true;
    pthread_cond_signal(&keeper->more);
    pthread_mutex_unlock(&keeper->lock);
}

void keeper_need(struct rocks *rocks)
{
    struct keeper *keeper = &rocks->keeper;

    pthread_mutex_lock(&keeper->lock);
    keeper->is_needed = true;
    pthread_cond_signal(&keeper->more);
    pthread_mutex_unlock(&keeper->lock);
}

static struct timespec after_ms(uint32_t ms)
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

static uint32_t retry_ms(uint32_t tries)
{
    return tries == 0 ? 0 : (uint32_t)RETRY_MS_FIRST << (tries < RETRY_DOUBLINGS ? tries : RETRY_DOUBLINGS);
}

/* Until there is something to do; false: the end. A repair that failed waits longer each time. */
static bool keeper_wait(struct keeper *keeper, msec *ret_wall, bool *ret_is_needed)
{
    struct timespec retry_at = after_ms(retry_ms(keeper->tries));
    int             failed   = 0;

    pthread_mutex_lock(&keeper->lock);
    while (!keeper->is_closing && keeper->is_needed && failed != ETIMEDOUT && keeper->tries > 0)
        failed = pthread_cond_timedwait(&keeper->more, &keeper->lock, &retry_at);
    while (!keeper->is_closing && !keeper->is_needed && !keeper->is_due)
        pthread_cond_wait(&keeper->more, &keeper->lock);
    bool goes_on     = !keeper->is_closing;
    *ret_wall        = keeper->wall;
    *ret_is_needed   = keeper->is_needed;
    keeper->is_due   = false;
    pthread_mutex_unlock(&keeper->lock);
    return goes_on;
}

static bool keeper_is_closing(struct keeper *keeper)
{
    pthread_mutex_lock(&keeper->lock);
    bool is_closing = keeper->is_closing;
    pthread_mutex_unlock(&keeper->lock);
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

/* What RocksDB believes after a failed write or sync can't be trusted, nor what we concluded from it: everything is
 * read anew from the disk. */
static bool reopen(struct rocks *rocks)
{
    char why[WHY_BYTES];

    pthread_rwlock_wrlock(&rocks->db_lock);
    rocks_db_close(&rocks->db);
    channel_table_clear(&rocks->table);
    bool is_open = rocks_load(rocks, true, why, sizeof why) == RC_OK;
    pthread_rwlock_unlock(&rocks->db_lock);
    return is_open;
}

static void repair(struct rocks *rocks)
{
    struct keeper *keeper = &rocks->keeper;

    /* Opening writes too (what the log holds goes into tables), so it's of no use while the disk is full. */
    if ((health_get(rocks) == ROCKS_FULL && !has_room(rocks)) || !reopen(rocks)) {
        keeper->tries++;
        return;
    }
    keeper->tries         = 0;
    keeper->is_first_walk = true;
    pthread_mutex_lock(&keeper->lock);
    keeper->is_needed = false;
    pthread_mutex_unlock(&keeper->lock);
    rocks_health_set(rocks, ROCKS_WELL, NULL);
}

/* --- floors ----------------------------------------------------------------------------------------------------- */

struct walk {
    struct rocks         *rocks;
    msec                  wall;
    rocksdb_writebatch_t *write;
    size_t                count;
    struct { uint64_t number, floor; } moved[WALK_COUNT];
};

static rocksdb_iterator_t *rows_from(struct rocks *rocks, uint64_t number, uint64_t seq)
{
    struct row_key      key      = row_key(number, seq);
    rocksdb_iterator_t *iterator =
        rocksdb_create_iterator_cf(rocks->db.db, rocks->db.get, rocks->db.families[FAMILY_MESSAGES]);

    rocksdb_iter_seek(iterator, key.bytes, sizeof key.bytes);
    return iterator;
}

/* False: the iterator stands in another channel, or nowhere. */
static bool row_is_of(const rocksdb_iterator_t *iterator, uint64_t number, uint64_t *ret_seq)
{
    struct span key;
    uint64_t    found;

    if (!rocksdb_iter_valid(iterator))
        return false;
    key.at = rocksdb_iter_key(iterator, &key.len);
    return row_key_get(key, &found, ret_seq) && found == number;
}

/* False: it can't be read, and weighs nothing. */
static bool row_weigh(const rocksdb_iterator_t *iterator, uint64_t number, uint64_t seq, uint64_t *ret)
{
    struct span value;
    struct row  row;

    value.at = rocksdb_iter_value(iterator, &value.len);
    if (!row_get(value, number, seq, &row))
        return false;
    *ret = row_weight(&row);
    return true;
}

/* The oldest rows are weighed until the rest is light enough. */
static void look_lighten(struct rocks *rocks, uint64_t bytes_max, struct rocks_look *look)
{
    rocksdb_iterator_t *iterator = rows_from(rocks, look->number, look->floor);
    uint64_t            seq      = 0;

    for (size_t i = 0; look->bytes > bytes_max && i < TRIM_ROWS_MAX && row_is_of(iterator, look->number, &seq); i++) {
        uint64_t weight = 0;
        if (!row_weigh(iterator, look->number, seq, &weight) || seq != look->floor)
            look->is_guess = true;
        look->bytes -= weight < look->bytes ? weight : look->bytes;
        look->floor = seq + 1;
        rocksdb_iter_next(iterator);
    }
    rocksdb_iter_destroy(iterator);
    look->floor_time = FLOOR_TIME_UNKNOWN;
}

/* The newest rows are weighed until no more would fit. If a block of them is damaged, or the store is closing, nothing
 * is let go. */
static void look_weigh(struct rocks *rocks, uint64_t bytes_max, struct rocks_look *look)
{
    struct row_key      key      = row_key(look->number, look->head);
    uint64_t            floor    = look->floor, bytes = 0, seq = 0;
    bool                is_whole = true;
    rocksdb_iterator_t *iterator =
        rocksdb_create_iterator_cf(rocks->db.db, rocks->db.get, rocks->db.families[FAMILY_MESSAGES]);

    rocksdb_iter_seek_for_prev(iterator, key.bytes, sizeof key.bytes);
    while (is_whole && row_is_of(iterator, look->number, &seq) && seq >= look->floor) {
        uint64_t weight = 0;
        if (row_weigh(iterator, look->number, seq, &weight) && bytes + weight > bytes_max) {
            floor = seq + 1;
            break;
        }
        bytes += weight;
        rocksdb_iter_prev(iterator);
        is_whole = !keeper_is_closing(&rocks->keeper);
    }
    is_whole &= rocks_iterator_rc(iterator) == RC_OK;
    rocksdb_iter_destroy(iterator);
    if (!is_whole)
        return;
    look->bytes      = bytes;
    look->is_guess   = false;
    look->floor      = floor;
    look->floor_time = FLOOR_TIME_UNKNOWN;
}

static bool look_is_heavy(const struct namespace *space, const struct rocks_look *look)
{
    return space->keep_bytes != 0 && look->bytes > space->keep_bytes;
}

/* Retention by bytes. */
static void look_limit_bytes(struct rocks *rocks, const struct namespace *space, struct rocks_look *look)
{
    if (!look_is_heavy(space, look))
        return;
    if (look->is_guess)
        look_weigh(rocks, space->keep_bytes, look);
    else
        look_lighten(rocks, space->keep_bytes, look);
}

/* Rows below a floor from an earlier life that may still lie on disk. */
static uint64_t dead_before(struct rocks *rocks, uint64_t number, uint64_t floor)
{
    rocksdb_iterator_t *iterator = rows_from(rocks, number, 0);
    uint64_t            seq      = floor;

    if (!row_is_of(iterator, number, &seq) || seq > floor)
        seq = floor;
    rocksdb_iter_destroy(iterator);
    return floor - seq;
}

static void walk_note(struct walk *walk, uint64_t number, uint64_t saved_floor, uint64_t floor)
{
    struct keeper *keeper = &walk->rocks->keeper;

    if (keeper->is_first_walk)
        keeper->dead_rows += dead_before(walk->rocks, number, saved_floor);
    keeper->dead_rows += floor - saved_floor;
    if (floor > saved_floor)
        floor_save(walk->rocks, walk->write, number, floor);
    walk->moved[walk->count].number = number;
    walk->moved[walk->count].floor  = floor;
    walk->count++;
}

/* A channel that can't be read keeps its floor. */
static void walk_channel(struct walk *walk, struct channel_name *name)
{
    struct rocks     *rocks = walk->rocks;
    struct rocks_look look;
    uint64_t          saved_floor = 1;

    if (channel_look(rocks, name, rocks->db.get, &look) != RC_OK || look.number == 0)
        return;
    /* It will be weighed: once, if the table knows it then. */
    if (look_is_heavy(name->space, &look) && look.is_guess && channel_keep(rocks, name, &look) != RC_OK)
        return;
    struct rocks_look was = look;
    if (look_age(rocks, name->space, walk->wall, &look) != RC_OK ||
        floor_load(rocks, look.number, &saved_floor) != RC_OK)
        return;
    look_limit_bytes(rocks, name->space, &look);
    if (look.floor != was.floor || look.floor_time != was.floor_time || look.bytes != was.bytes)
        channel_raise_floor(rocks, name, &was, &look);
    if (look.floor > saved_floor || (rocks->keeper.is_first_walk && look.floor > 1))
        walk_note(walk, look.number, saved_floor, look.floor);
}

/* Up to WALK_COUNT channels; the next step goes on behind them, or from the start. */
static void walk_channels(struct walk *walk)
{
    struct rocks        *rocks    = walk->rocks;
    struct keeper       *keeper   = &rocks->keeper;
    rocksdb_iterator_t  *iterator =
        rocksdb_create_iterator_cf(rocks->db.db, rocks->db.get, rocks->db.families[FAMILY_CHANNELS]);

    rocksdb_iter_seek(iterator, keeper->walk_from.len == 0 ? "" : keeper->walk_from.at, keeper->walk_from.len);
    for (size_t i = 0; i < WALK_COUNT && rocksdb_iter_valid(iterator); i++) {
        struct channel_name *name = NULL;
        struct span          text;
        text.at = rocksdb_iter_key(iterator, &text.len);
        /* A namespace that is no longer configured has no policy: its logs stay as they are. */
        if (channel_name_new(rocks->options.spaces, &rocks->options.hash_key, text, &name) == CHANNEL_NAME_OK)
            walk_channel(walk, name);
        channel_name_unref(name);
        rocksdb_iter_next(iterator);
    }
    buf_clear(&keeper->walk_from);
    if (rocksdb_iter_valid(iterator)) {
        struct span text;
        text.at = rocksdb_iter_key(iterator, &text.len);
        buf_put(&keeper->walk_from, text);
    }
    rocksdb_iter_destroy(iterator);
}

/* The floors are on disk now; then the table, then the filter hears of them. */
static void walk_publish(struct walk *walk)
{
    struct rocks *rocks = walk->rocks;

    pthread_mutex_lock(&rocks->table.lock);
    rocks->table.changes++;
    pthread_mutex_unlock(&rocks->table.lock);
    for (size_t i = 0; i < walk->count; i++)
        dead_floors_set(&rocks->dead, walk->moved[i].number, walk->moved[i].floor);
}

static enum rc walk_step(struct rocks *rocks, msec wall)
{
    struct walk *walk = calloc(1, sizeof *walk);
    enum rc      rc   = RC_OK;
    char         why[ROCKS_WHY_BYTES];

    must(walk != NULL);
    walk->rocks = rocks;
    walk->wall  = wall;
    walk->write = rocksdb_writebatch_create();
    walk_channels(walk);
    if (rocksdb_writebatch_count(walk->write) > 0)
        rc = rocks_db_write(&rocks->db, walk->write, why, sizeof why);
    if (rc == RC_OK)
        walk_publish(walk);
    rocksdb_writebatch_destroy(walk->write);
    free(walk);
    if (rocks->keeper.walk_from.len == 0)
        rocks->keeper.is_first_walk = false;
    return rc;
}

/* --- space ------------------------------------------------------------------------------------------------------ */

static void compact(struct rocks *rocks, enum family family, const struct row_key *from, const struct row_key *to)
{
    rocksdb_compactoptions_t *how = rocksdb_compactoptions_create();

    rocksdb_compactoptions_set_exclusive_manual_compaction(how, 0);
    rocksdb_compact_range_cf_opt(rocks->db.db, rocks->db.families[family], how, from == NULL ? NULL : from->bytes,
                                 from == NULL ? 0 : ROW_KEY_BYTES, to == NULL ? NULL : to->bytes,
                                 to == NULL ? 0 : ROW_KEY_BYTES);
    rocksdb_compactoptions_destroy(how);
}

/* The highest channel number that has rows. */
static uint64_t last_number(struct rocks *rocks)
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

/* In slices of about SLICE_BYTES, so that it never needs room for all of it twice. */
static void compact_messages(struct rocks *rocks, uint64_t table_bytes)
{
    uint64_t slices = table_bytes / SLICE_BYTES + 1;
    uint64_t width  = last_number(rocks) / slices + 1;

    for (uint64_t i = 0; i < slices; i++) {
        struct row_key from = row_key(i * width, 0), to = row_key((i + 1) * width, 0);
        if (keeper_is_closing(&rocks->keeper))
            return;
        compact(rocks, FAMILY_MESSAGES, &from, &to);
    }
    dead_floors_clear(&rocks->dead);
    rocks->keeper.dead_rows = 0;
}

static void reclaim(struct rocks *rocks)
{
    uint64_t table_bytes = rocks_db_number(&rocks->db, FAMILY_MESSAGES, "rocksdb.total-sst-files-size") +
                           rocks_db_number(&rocks->db, FAMILY_MESSAGES, "rocksdb.cur-size-all-mem-tables");
    uint64_t rows        = rocks_db_number(&rocks->db, FAMILY_MESSAGES, "rocksdb.estimate-num-keys");
    double   dead_share  = rows == 0 ? 0 : (double)rocks->keeper.dead_rows / (double)rows;
    uint64_t dead_bytes  = (uint64_t)((double)table_bytes * dead_share);

    if (dead_bytes >= rocks->options.dead_bytes_max && dead_bytes >= table_bytes / DEAD_SHARE)
        compact_messages(rocks, table_bytes);
}

static void reclaim_family(struct rocks *rocks, enum family family)
{
    if (rocks_db_number(&rocks->db, family, "rocksdb.total-sst-files-size") >= rocks->options.dead_bytes_max)
        compact(rocks, family, NULL, NULL);
}

/* What expires row by row: idempotency keys, and rows of the ledger. */
static void reclaim_expired(struct rocks *rocks, msec wall)
{
    struct keeper *keeper = &rocks->keeper;

    if (keeper->keys_at == 0)
        keeper->keys_at = wall;
    if (wall - keeper->keys_at < rocks->options.key_keep_ms / KEYS_SHARE)
        return;
    keeper->keys_at = wall;
    reclaim_family(rocks, FAMILY_KEYS);
    reclaim_family(rocks, FAMILY_LEDGER);
}

/* --- numbers for stats ------------------------------------------------------------------------------------------ */

static uint64_t directory_bytes(const char *path)
{
    DIR           *directory = opendir(path);
    uint64_t       bytes     = 0;
    struct stat    file;

    if (directory == NULL)
        return 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (fstatat(dirfd(directory), entry->d_name, &file, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(file.st_mode))
            bytes += (uint64_t)file.st_blocks * 512;
    closedir(directory);
    return bytes;
}

static void measure(struct rocks *rocks)
{
    uint64_t bytes = rocksdb_cache_get_usage(rocks->db.cache);

    for (enum family family = 0; family < FAMILY_COUNT; family++)
        bytes += rocks_db_number(&rocks->db, family, "rocksdb.size-all-mem-tables");
    bytes += counter_get(&rocks->table.count) * sizeof(struct rocks_channel);
    counter_set(&rocks->memory_bytes, bytes);
    counter_set(&rocks->disk_bytes, directory_bytes(rocks->db_path));
}

/* The committer says it with each commit; while nothing is published it is said here, unless it spoke meanwhile. */
static void tell_room(struct rocks *rocks)
{
    struct commit_queue *commits = &rocks->commits;

    pthread_mutex_lock(&commits->lock);
    bool was_full = commits->is_full;
    pthread_mutex_unlock(&commits->lock);
    bool is_full = !has_room(rocks);
    pthread_mutex_lock(&commits->lock);
    if (commits->health == ROCKS_WELL && commits->is_full == was_full)
        commits->is_full = is_full;
    pthread_mutex_unlock(&commits->lock);
}

static void tend_step(struct rocks *rocks, msec wall)
{
    tell_room(rocks);
    pthread_mutex_lock(&rocks->dead.lock);
    rocks->dead.wall = wall;
    pthread_mutex_unlock(&rocks->dead.lock);

    pthread_rwlock_rdlock(&rocks->db_lock);
    /* A write that fails here fails for the committer too, which then calls for repair. */
    if (rocks->db.db != NULL && walk_step(rocks, wall) == RC_OK) {
        if (!rocks->db.is_cautious) {
            reclaim(rocks);
            reclaim_expired(rocks, wall);
        }
        measure(rocks);
    }
    pthread_rwlock_unlock(&rocks->db_lock);
}

void *rocks_keeper(void *context)
{
    struct rocks *rocks     = context;
    msec          wall      = 0;
    bool          is_needed = false;

    while (keeper_wait(&rocks->keeper, &wall, &is_needed)) {
        if (is_needed) {
            repair(rocks);
            tell_room(rocks);
        } else {
            tend_step(rocks, wall);
        }
    }
    return NULL;
}
