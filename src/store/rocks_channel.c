#include <endian.h>
#include <stdlib.h>

#include "base/must.h"
#include "store/rocks_priv.h"
#include "store/rocks_walk.h"

enum { SAVE_BATCH_COUNT = 1000 };

/* --- the table -------------------------------------------------------------------------------------------------- */

void channel_table_init(struct channel_table *table, size_t count_max)
{
    *table = (struct channel_table){ .count_max = count_max };
    pthread_mutex_init(&table->lock, NULL);
    map_init(&table->map);
    list_init(&table->used);
}

static void channel_evict(struct channel_table *table, struct rocks_channel *channel)
{
    must(!channel->change.is_open);
    map_take(&table->map, &channel->node);
    list_take(&channel->link);
    channel_name_unref(channel->name);
    free(channel);
    table->changes++;
}

void channel_table_clear(struct channel_table *table)
{
    while (!list_is_empty(&table->used))
        channel_evict(table, container_of(table->used.next, struct rocks_channel, link));
    counter_set(&table->count, 0);
}

void channel_table_fini(struct channel_table *table)
{
    channel_table_clear(table);
    map_fini(&table->map);
    pthread_mutex_destroy(&table->lock);
}

static bool rocks_channel_is(const struct map_node *node, const void *name)
{
    return channel_name_eq(container_of(node, struct rocks_channel, node)->name, name);
}

/* Marks the channel that it finds as the most recently used. */
static struct rocks_channel *table_find(struct channel_table *table, const struct channel_name *name)
{
    struct map_node *node = map_find(&table->map, name->hash, rocks_channel_is, name);
    if (node == NULL)
        return NULL;

    struct rocks_channel *channel = container_of(node, struct rocks_channel, node);
    list_take(&channel->link);
    list_push(&table->used, &channel->link);
    return channel;
}

static struct rocks_channel *table_add(struct channel_table *table, struct channel_name *name,
                                       const struct channel_state *state)
{
    struct rocks_channel *oldest = container_of(table->used.next, struct rocks_channel, link);
    if (table->map.count >= table->count_max && !oldest->change.is_open)
        channel_evict(table, oldest);

    struct rocks_channel *channel = calloc(1, sizeof *channel);
    must(channel != NULL);
    channel->name = channel_name_ref(name);
    channel->now  = *state;
    map_add(&table->map, &channel->node, name->hash);
    list_push(&table->used, &channel->link);
    counter_set(&table->count, table->map.count);
    return channel;
}

/* --- from the disk ---------------------------------------------------------------------------------------------- */

enum { SAVED_NUMBER, SAVED_CEILING, SAVED_BYTES, SAVED_HEAD, SAVED_FLOOR, SAVED_COUNT };

/* The channel's last row, by one seek. RC_GONE: there is none. RC_CORRUPT: the seek meets damage. */
static enum rc last_row_seek(struct rocks *rocks, const struct channel_state *state, uint64_t *ret_seq,
                             uint64_t *ret_bytes)
{
    struct row_walk  walk;
    struct row       row;
    enum rc          rc   = RC_GONE;

    row_walk_open(&walk, &rocks->db, state->number, state->floor, UINT64_MAX, WALK_DOWN);
    const struct walk_step step = row_walk_last(&walk);
    if (step.what == WALK_ROW) {
        *ret_seq   = step.from;
        *ret_bytes = row_get(step.value, state->number, step.from, &row) ? row.payload.len : 0;
        rc         = RC_OK;
    } else if (step.what != WALK_END) {
        rc = step.what == WALK_UNREADABLE ? RC_CORRUPT : walk.rc;
    }
    row_walk_close(&walk);
    return rc;
}

/* The same beside damage, seq by seq from the ceiling down. RC_CORRUPT: one that may be the last can't be read. */
static enum rc last_row_search(struct rocks *rocks, const struct channel_state *state, uint64_t *ret_seq)
{
    struct walk_step step = { .what = WALK_MISSING };
    struct row_walk  walk;

    if (state->ceiling < state->floor)
        return RC_GONE;
    row_walk_open(&walk, &rocks->db, state->number, state->floor, state->ceiling, WALK_DOWN);
    while (step.what == WALK_MISSING)
        step = row_walk_next(&walk);
    const enum rc failure = walk.rc;
    row_walk_close(&walk);
    switch (step.what) {
    case WALK_ROW: *ret_seq = step.from; return RC_OK;
    case WALK_END: return RC_GONE;
    case WALK_FAILED: return failure;
    case WALK_UNREADABLE:
    case WALK_MISSING: break;
    }
    return RC_CORRUPT;
}

/* Reads the last row's seq and payload length. RC_GONE: there is no row. RC_CORRUPT: it is damaged. Any other failure:
 * it can't be read now. */
static enum rc last_row_read(struct rocks *rocks, const struct channel_state *state, uint64_t *ret_seq,
                             uint64_t *ret_bytes)
{
    const enum rc rc = last_row_seek(rocks, state, ret_seq, ret_bytes);

    return rc == RC_CORRUPT ? last_row_search(rocks, state, ret_seq) : rc;
}

/* Estimates the bytes from the saved ones and the current floor and head: it assumes that all later messages are as
 * long as the last. */
static uint64_t bytes_guess(const uint64_t *saved, const struct channel_state *state, uint64_t last_bytes)
{
    struct channel_state then = { .head = saved[SAVED_HEAD], .floor = saved[SAVED_FLOOR], .bytes = saved[SAVED_BYTES] };
    uint64_t             from = state->floor > then.head ? state->floor : then.head + 1;

    state_raise_floor(&then, state->floor);
    return then.bytes + (state->head + 1 - from) * last_bytes;
}

/* Loads floor and head. It reads the floor again at the end: if the floor rose in between, compaction may already have
 * dropped the rows that the head is found by. */
static enum rc load_ends(struct rocks *rocks, struct channel_state *state, uint64_t *ret_last_bytes)
{
    uint64_t floor;

    enum rc rc = floor_load(rocks, state->number, &floor);
    do {
        if (rc != RC_OK)
            return rc;
        state->floor = floor;
        rc           = last_row_read(rocks, state, &state->head, ret_last_bytes);
        if (rc == RC_GONE)
            state->head = floor - 1;
        else if (rc != RC_OK && rc != RC_CORRUPT)
            return rc;
        /* The last rows are lost: no seq up to the ceiling is given again. */
        if (rc == RC_CORRUPT || state->head < state->saved_head)
            state->head = state->ceiling;
        rc = floor_load(rocks, state->number, &floor);
    } while (rc != RC_OK || floor != state->floor);
    return RC_OK;
}

static enum rc channel_load(struct rocks *rocks, const struct channel_name *name, const rocksdb_readoptions_t *how,
                            struct channel_state *ret)
{
    struct channel_state state = { .floor = 1, .floor_time = FLOOR_TIME_UNKNOWN };
    uint64_t             saved[SAVED_COUNT], last_bytes = 0;

    enum rc rc = rocks_db_get_record(&rocks->db, FAMILY_CHANNELS, how, channel_name_span(name), saved, SAVED_COUNT);
    if (rc == RC_GONE) {
        *ret = state;
        return RC_OK;
    }
    if (rc == RC_OK && how == rocks->db.get_cached)
        rc = RC_BUSY;
    if (rc != RC_OK)
        return rc;

    state.number     = saved[SAVED_NUMBER];
    state.ceiling    = saved[SAVED_CEILING];
    state.saved_head = saved[SAVED_HEAD];
    rc               = load_ends(rocks, &state, &last_bytes);
    if (rc != RC_OK)
        return rc;
    state.bytes    = bytes_guess(saved, &state, last_bytes);
    state.is_guess = true;
    *ret           = state;
    return RC_OK;
}

enum rc channel_state_get(struct rocks *rocks, struct channel_name *name, const rocksdb_readoptions_t *how,
                          struct channel_state *ret)
{
    struct channel_table *table = &rocks->table;

    pthread_mutex_lock(&table->lock);
    struct rocks_channel *channel = table_find(table, name);
    if (channel != NULL)
        *ret = channel->now;
    pthread_mutex_unlock(&table->lock);
    return channel != NULL ? RC_OK : channel_load(rocks, name, how, ret);
}

/* --- for the committer ------------------------------------------------------------------------------------------ */

static void change_open(struct rocks_channel *channel)
{
    const struct channel_state *now = &channel->now;

    if (channel->change.is_open)
        return;
    channel->change = (struct channel_change){
        .number = now->number, .head = now->head, .ceiling = now->ceiling, .is_open = true, .is_new = now->number == 0
    };
}

/* Finds the channel in the table, or loads it into the table. With RC_OK the caller holds table.lock. */
static enum rc channel_get_locked(struct rocks *rocks, struct channel_name *name, struct rocks_channel **ret)
{
    struct channel_table *table     = &rocks->table;
    struct channel_state  state     = { 0 };
    uint64_t              changes   = 0;
    bool                  is_loaded = false;

    for (;;) {
        pthread_mutex_lock(&table->lock);
        struct rocks_channel *channel = table_find(table, name);
        /* If the table changed during our read from the disk, the read may be outdated: it is repeated. */
        if (channel == NULL && is_loaded && changes == table->changes)
            channel = table_add(table, name, &state);
        if (channel != NULL) {
            *ret = channel;
            return RC_OK;
        }
        changes = table->changes;
        pthread_mutex_unlock(&table->lock);
        enum rc rc = channel_load(rocks, name, rocks->db.get, &state);
        if (rc != RC_OK)
            return rc;
        is_loaded = true;
    }
}

enum rc channel_open_change(struct rocks *rocks, struct channel_name *name, struct rocks_channel **ret)
{
    must(rocks_thread == ROCKS_COMMITTER);
    enum rc rc = channel_get_locked(rocks, name, ret);
    if (rc != RC_OK)
        return rc;
    change_open(*ret);
    pthread_mutex_unlock(&rocks->table.lock);
    return RC_OK;
}

enum rc channel_cache(struct rocks *rocks, struct channel_name *name, struct channel_state *ret)
{
    struct rocks_channel *channel = NULL;

    enum rc rc = channel_get_locked(rocks, name, &channel);
    if (rc != RC_OK)
        return rc;
    *ret = channel->now;
    pthread_mutex_unlock(&rocks->table.lock);
    return RC_OK;
}

void channel_apply_change(struct rocks_channel *channel)
{
    struct channel_change *change = &channel->change;
    struct channel_state  *now    = &channel->now;

    must(change->is_open && change->number != 0 && change->head >= now->head);
    if (change->floor != 0) {
        must(change->floor >= now->floor);
        now->floor      = change->floor;
        now->floor_time = change->head >= change->floor ? change->first_time : FLOOR_TIME_UNKNOWN;
        now->bytes      = 0;
        now->is_guess   = false;
    } else if (now->floor == now->head + 1) {
        now->floor_time = change->head > now->head ? change->first_time : FLOOR_TIME_UNKNOWN;
    }
    now->number  = change->number;
    now->head    = change->head;
    now->ceiling = change->ceiling;
    now->bytes += change->bytes_more;
    now->bytes -= change->bytes_less < now->bytes ? change->bytes_less : now->bytes;
    if (change->is_saved)
        now->saved_head = now->head;
}

/* Another thread may have found the same floor, or a higher one, in the meantime: the bytes that it subtracted are not
 * subtracted again. */
static void state_merge(struct channel_state *now, const struct channel_state *was, const struct channel_state *state)
{
    const uint64_t less = was->bytes - state->bytes;

    must(state->bytes <= was->bytes && state->floor >= was->floor);
    if (now->floor > state->floor)
        return;
    if (now->floor == was->floor) {
        now->bytes -= less < now->bytes ? less : now->bytes;
        now->is_guess = state->is_guess;
        now->floor    = state->floor;
    } else {
        state_raise_floor(now, state->floor);
    }
    now->floor_time = state->floor_time;
}

void channel_raise_floor(struct rocks *rocks, const struct channel_name *name, const struct channel_state *was,
                         const struct channel_state *state)
{
    struct channel_table *table = &rocks->table;

    pthread_mutex_lock(&table->lock);
    struct rocks_channel *channel = table_find(table, name);
    if (channel != NULL && channel->now.number == state->number)
        state_merge(&channel->now, was, state);
    pthread_mutex_unlock(&table->lock);
}

void channel_save(struct rocks *rocks, rocksdb_writebatch_t *batch, const struct channel_name *name,
                  const struct channel_state *state)
{
    const uint64_t saved[SAVED_COUNT] = {
        [SAVED_NUMBER] = state->number, [SAVED_CEILING] = state->ceiling, [SAVED_BYTES] = state->bytes,
        [SAVED_HEAD] = state->head,     [SAVED_FLOOR] = state->floor,
    };

    rocks_db_put_record(&rocks->db, batch, FAMILY_CHANNELS, channel_name_span(name), saved, SAVED_COUNT);
}

void channel_mark_lost(struct rocks *rocks, rocksdb_writebatch_t *batch, const rocksdb_iterator_t *row, uint64_t first,
                       uint64_t last)
{
    uint64_t    saved[SAVED_COUNT];
    struct span name, value;

    name.at  = rocksdb_iter_key(row, &name.len);
    value.at = rocksdb_iter_value(row, &value.len);
    if (!record_get(value, name, saved, SAVED_COUNT) || saved[SAVED_NUMBER] < first || saved[SAVED_NUMBER] > last)
        return;
    /* A head above the last row that is there says that rows are lost: see load_ends(). */
    saved[SAVED_HEAD] = saved[SAVED_CEILING];
    rocks_db_put_record(&rocks->db, batch, FAMILY_CHANNELS, name, saved, SAVED_COUNT);
}

/* The highest number that a channel has. */
enum rc channels_last_number(struct rocks *rocks, uint64_t *ret)
{
    rocksdb_iterator_t *iterator =
        rocksdb_create_iterator_cf(rocks->db.db, rocks->db.get, rocks->db.families[FAMILY_CHANNELS]);
    uint64_t    saved[SAVED_COUNT], number = 0;
    struct span name, value;

    for (rocksdb_iter_seek_to_first(iterator); rocksdb_iter_valid(iterator); rocksdb_iter_next(iterator)) {
        name.at  = rocksdb_iter_key(iterator, &name.len);
        value.at = rocksdb_iter_value(iterator, &value.len);
        if (record_get(value, name, saved, SAVED_COUNT) && saved[SAVED_NUMBER] > number)
            number = saved[SAVED_NUMBER];
    }
    const enum rc rc = rocks_iterator_rc(&rocks->db, iterator);
    rocksdb_iter_destroy(iterator);
    *ret = number;
    return rc;
}

static enum rc save_flush(struct rocks *rocks, rocksdb_writebatch_t *batch)
{
    char    why[ROCKS_WHY_BYTES];
    enum rc rc = rocks_db_write(&rocks->db, batch, why, sizeof why);

    rocksdb_writebatch_clear(batch);
    return rc;
}

void channels_save_all(struct rocks *rocks)
{
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    enum rc               rc    = RC_OK;

    for (struct list *link = rocks->table.used.next; rc == RC_OK && link != &rocks->table.used; link = link->next) {
        struct rocks_channel *channel = container_of(link, struct rocks_channel, link);
        if (channel->now.number == 0 || channel->now.saved_head == channel->now.head)
            continue;
        channel_save(rocks, batch, channel->name, &channel->now);
        if (rocksdb_writebatch_count(batch) >= SAVE_BATCH_COUNT)
            rc = save_flush(rocks, batch);
    }
    if (rc == RC_OK)
        save_flush(rocks, batch);
    rocksdb_writebatch_destroy(batch);
}
