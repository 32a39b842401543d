#include <endian.h>
#include <stdlib.h>

#include "base/must.h"
#include "store/retention.h"
#include "store/rocks_priv.h"

enum { SAVE_BATCH_COUNT = 1000 };

/* --- the table -------------------------------------------------------------------------------------------------- */

void channel_table_init(struct channel_table *table, size_t count_max)
{
    *table = (struct channel_table){ .count_max = count_max };
    pthread_mutex_init(&table->lock, NULL);
    map_init(&table->map);
    list_init(&table->used);
}

static void channel_let_go(struct channel_table *table, struct rocks_channel *channel)
{
    map_take(&table->map, &channel->node);
    list_take(&channel->link);
    channel_name_unref(channel->name);
    free(channel);
    table->changes++;
}

void channel_table_clear(struct channel_table *table)
{
    while (!list_is_empty(&table->used))
        channel_let_go(table, container_of(table->used.next, struct rocks_channel, link));
    counter_set(&table->count, 0);
}

void channel_table_fini(struct channel_table *table)
{
    channel_table_clear(table);
    map_fini(&table->map);
    pthread_mutex_destroy(&table->lock);
}

static bool channel_is(const struct map_node *node, const void *name)
{
    return channel_name_eq(container_of(node, struct rocks_channel, node)->name, name);
}

/* Found, it counts as used. */
static struct rocks_channel *channel_find(struct channel_table *table, const struct channel_name *name)
{
    struct map_node *node = map_find(&table->map, name->hash, channel_is, name);
    if (node == NULL)
        return NULL;

    struct rocks_channel *channel = container_of(node, struct rocks_channel, node);
    list_take(&channel->link);
    list_push(&table->used, &channel->link);
    return channel;
}

static struct rocks_channel *channel_add(struct channel_table *table, struct channel_name *name,
                                         const struct rocks_look *look)
{
    struct rocks_channel *oldest = container_of(table->used.next, struct rocks_channel, link);
    if (table->map.count >= table->count_max && !oldest->change.is_open)
        channel_let_go(table, oldest);

    struct rocks_channel *channel = calloc(1, sizeof *channel);
    must(channel != NULL);
    channel->name = channel_name_ref(name);
    channel->now  = *look;
    map_add(&table->map, &channel->node, name->hash);
    list_push(&table->used, &channel->link);
    counter_set(&table->count, table->map.count);
    return channel;
}

/* --- from the disk ---------------------------------------------------------------------------------------------- */

enum { SAVED_NUMBER, SAVED_CEILING, SAVED_BYTES, SAVED_HEAD, SAVED_FLOOR, SAVED_COUNT };

/* The last row's seq and payload length. RC_GONE: no row; RC_CORRUPT: it is damaged; else it can't be read just now. */
static enum rc last_row_read(struct rocks *rocks, const struct rocks_look *look, uint64_t *ret_seq, uint64_t *ret_bytes)
{
    struct row_key          from = row_key(look->number, look->floor), to = row_key(look->number + 1, 0);
    rocksdb_readoptions_t  *how = rocksdb_readoptions_create();
    uint64_t                number, seq;
    struct row              row;

    rocksdb_readoptions_set_iterate_lower_bound(how, from.bytes, sizeof from.bytes);
    rocksdb_readoptions_set_iterate_upper_bound(how, to.bytes, sizeof to.bytes);
    rocksdb_iterator_t *iterator = rocksdb_create_iterator_cf(rocks->db.db, how, rocks->db.families[FAMILY_MESSAGES]);
    rocksdb_iter_seek_to_last(iterator);

    enum rc rc = rocks_iterator_rc(iterator);
    if (rc == RC_OK)
        rc = RC_GONE;
    if (rocksdb_iter_valid(iterator)) {
        struct span key, value;
        key.at   = rocksdb_iter_key(iterator, &key.len);
        value.at = rocksdb_iter_value(iterator, &value.len);
        rc       = row_key_get(key, &number, &seq) ? RC_OK : RC_CORRUPT;
        if (rc == RC_OK) {
            *ret_seq   = seq;
            *ret_bytes = row_get(value, number, seq, &row) ? row.payload.len : 0;
        }
    }
    rocksdb_iter_destroy(iterator);
    rocksdb_readoptions_destroy(how);
    return rc;
}

enum rc floor_load(struct rocks *rocks, uint64_t number, uint64_t *ret)
{
    uint64_t    key   = htobe64(number);
    uint64_t    floor = 1;

    enum rc rc = rocks_db_get_record(&rocks->db, FAMILY_FLOORS, rocks->db.get, span_of(&key, sizeof key), &floor, 1);
    if (rc != RC_OK && rc != RC_GONE)
        return rc;
    *ret = floor;
    return RC_OK;
}

void floor_save(struct rocks *rocks, rocksdb_writebatch_t *batch, uint64_t number, uint64_t floor)
{
    uint64_t key = htobe64(number);

    rocks_db_put_record(&rocks->db, batch, FAMILY_FLOORS, span_of(&key, sizeof key), &floor, 1);
}

/* What was written down, brought up to floor and head by guessing that all messages are like the last. */
static uint64_t bytes_guess(const uint64_t *saved, const struct rocks_look *look, uint64_t last_bytes)
{
    struct rocks_look then = { .head = saved[SAVED_HEAD], .floor = saved[SAVED_FLOOR], .bytes = saved[SAVED_BYTES] };
    uint64_t          from = look->floor > then.head ? look->floor : then.head + 1;

    look_raise(&then, look->floor);
    return then.bytes + (look->head + 1 - from) * last_bytes;
}

/* Floor and head. The floor is looked at again in the end: had it moved in between, rows that the head is found by
 * could have been taken back already. */
static enum rc load_ends(struct rocks *rocks, struct rocks_look *look, uint64_t *ret_last_bytes)
{
    uint64_t floor;

    enum rc rc = floor_load(rocks, look->number, &floor);
    do {
        if (rc != RC_OK)
            return rc;
        look->floor = floor;
        rc          = last_row_read(rocks, look, &look->head, ret_last_bytes);
        if (rc == RC_GONE)
            look->head = floor - 1;
        else if (rc == RC_CORRUPT)
            look->head = look->ceiling;
        else if (rc != RC_OK)
            return rc;
        rc = floor_load(rocks, look->number, &floor);
    } while (rc != RC_OK || floor != look->floor);
    return RC_OK;
}

static enum rc channel_load(struct rocks *rocks, const struct channel_name *name, const rocksdb_readoptions_t *how,
                            struct rocks_look *ret)
{
    struct rocks_look look = { .floor = 1, .floor_time = FLOOR_TIME_UNKNOWN };
    uint64_t          saved[SAVED_COUNT], last_bytes = 0;

    enum rc rc = rocks_db_get_record(&rocks->db, FAMILY_CHANNELS, how, channel_name_span(name), saved, SAVED_COUNT);
    if (rc == RC_GONE) {
        *ret = look;
        return RC_OK;
    }
    if (rc == RC_OK && how == rocks->db.get_cached)
        rc = RC_BUSY;
    if (rc != RC_OK)
        return rc;

    look.number     = saved[SAVED_NUMBER];
    look.ceiling    = saved[SAVED_CEILING];
    look.saved_head = saved[SAVED_HEAD];
    rc              = load_ends(rocks, &look, &last_bytes);
    if (rc != RC_OK)
        return rc;
    look.bytes    = bytes_guess(saved, &look, last_bytes);
    look.is_guess = true;
    *ret          = look;
    return RC_OK;
}

enum rc channel_look(struct rocks *rocks, struct channel_name *name, const rocksdb_readoptions_t *how,
                     struct rocks_look *ret)
{
    struct channel_table *table = &rocks->table;

    pthread_mutex_lock(&table->lock);
    struct rocks_channel *channel = channel_find(table, name);
    if (channel != NULL)
        *ret = channel->now;
    pthread_mutex_unlock(&table->lock);
    return channel != NULL ? RC_OK : channel_load(rocks, name, how, ret);
}

/* --- for the committer ------------------------------------------------------------------------------------------ */

static void change_open(struct rocks_channel *channel)
{
    const struct rocks_look *now = &channel->now;

    if (channel->change.is_open)
        return;
    channel->change = (struct channel_change){
        .number = now->number, .head = now->head, .ceiling = now->ceiling, .is_open = true, .is_new = now->number == 0
    };
}

/* The entry in the table, brought in if need be; with RC_OK table.lock is held. */
static enum rc channel_lock(struct rocks *rocks, struct channel_name *name, struct rocks_channel **ret)
{
    struct channel_table *table   = &rocks->table;
    struct rocks_look     look    = { 0 };
    uint64_t              changes = 0;
    bool                  is_loaded = false;

    for (;;) {
        pthread_mutex_lock(&table->lock);
        struct rocks_channel *channel = channel_find(table, name);
        /* What changed while we read we may have read too early: look again. */
        if (channel == NULL && is_loaded && changes == table->changes)
            channel = channel_add(table, name, &look);
        if (channel != NULL) {
            *ret = channel;
            return RC_OK;
        }
        changes = table->changes;
        pthread_mutex_unlock(&table->lock);
        enum rc rc = channel_load(rocks, name, rocks->db.get, &look);
        if (rc != RC_OK)
            return rc;
        is_loaded = true;
    }
}

enum rc channel_take(struct rocks *rocks, struct channel_name *name, struct rocks_channel **ret)
{
    enum rc rc = channel_lock(rocks, name, ret);
    if (rc != RC_OK)
        return rc;
    change_open(*ret);
    pthread_mutex_unlock(&rocks->table.lock);
    return RC_OK;
}

enum rc channel_keep(struct rocks *rocks, struct channel_name *name, struct rocks_look *ret)
{
    struct rocks_channel *channel = NULL;

    enum rc rc = channel_lock(rocks, name, &channel);
    if (rc != RC_OK)
        return rc;
    *ret = channel->now;
    pthread_mutex_unlock(&rocks->table.lock);
    return RC_OK;
}

void channel_publish(struct rocks_channel *channel)
{
    struct channel_change *change = &channel->change;
    struct rocks_look     *now    = &channel->now;

    if (now->floor == now->head + 1)
        now->floor_time = change->head > now->head ? change->first_time : FLOOR_TIME_UNKNOWN;
    now->number  = change->number;
    now->head    = change->head;
    now->ceiling = change->ceiling;
    now->bytes += change->bytes_more;
    now->bytes -= change->bytes_less < now->bytes ? change->bytes_less : now->bytes;
    if (change->is_saved)
        now->saved_head = now->head;
}

/* Others may have found the same, or more, in the meantime: what they took off `bytes` isn't taken off again. */
static void look_adopt(struct rocks_look *now, const struct rocks_look *was, const struct rocks_look *look)
{
    const uint64_t less = was->bytes - look->bytes;

    if (now->floor > look->floor)
        return;
    if (now->floor == was->floor) {
        now->bytes -= less < now->bytes ? less : now->bytes;
        now->is_guess = look->is_guess;
        now->floor    = look->floor;
    } else {
        look_raise(now, look->floor);
    }
    now->floor_time = look->floor_time;
}

void channel_raise_floor(struct rocks *rocks, const struct channel_name *name, const struct rocks_look *was,
                         const struct rocks_look *look)
{
    struct channel_table *table = &rocks->table;

    pthread_mutex_lock(&table->lock);
    struct rocks_channel *channel = channel_find(table, name);
    if (channel != NULL && channel->now.number == look->number)
        look_adopt(&channel->now, was, look);
    pthread_mutex_unlock(&table->lock);
}

void channel_save(struct rocks *rocks, rocksdb_writebatch_t *batch, const struct channel_name *name,
                  const struct rocks_look *look)
{
    const uint64_t saved[SAVED_COUNT] = {
        [SAVED_NUMBER] = look->number, [SAVED_CEILING] = look->ceiling, [SAVED_BYTES] = look->bytes,
        [SAVED_HEAD] = look->head,     [SAVED_FLOOR] = look->floor,
    };

    rocks_db_put_record(&rocks->db, batch, FAMILY_CHANNELS, channel_name_span(name), saved, SAVED_COUNT);
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

/* --- floors ----------------------------------------------------------------------------------------------------- */

void look_raise(struct rocks_look *look, uint64_t floor)
{
    if (floor <= look->floor)
        return;
    look->is_guess = floor <= look->head;
    if (look->is_guess)
        look->bytes = (uint64_t)((double)look->bytes * (double)(look->head + 1 - floor) /
                                 (double)(look->head + 1 - look->floor));
    else
        look->bytes = 0;
    look->floor      = floor;
    look->floor_time = FLOOR_TIME_UNKNOWN;
}

/* RC_CORRUPT: there is no such row, or none that can be read. */
static enum rc row_time(struct rocks *rocks, uint64_t number, uint64_t seq, msec *ret)
{
    struct row_key           key   = row_key(number, seq);
    rocksdb_pinnableslice_t *slice = NULL;
    struct span              value;
    struct row               row;

    enum rc rc = rocks_db_get(&rocks->db, FAMILY_MESSAGES, rocks->db.get, row_key_span(&key), &slice);
    if (rc != RC_OK)
        return rc;
    if (slice == NULL)
        return RC_CORRUPT;
    value.at = rocksdb_pinnableslice_value(slice, &value.len);
    if (row_get(value, number, seq, &row))
        *ret = row.time;
    else
        rc = RC_CORRUPT;
    rocksdb_pinnableslice_destroy(slice);
    return rc;
}

/* Is the message at `seq` too old? One that can't be read isn't: better a gap that says so than one trimmed unseen. */
static enum rc seq_is_over(struct rocks *rocks, const struct namespace *space, msec wall, struct rocks_look *look,
                           uint64_t seq, bool *ret)
{
    msec time = 0;

    if (seq == look->floor && look->floor_time != FLOOR_TIME_UNKNOWN) {
        *ret = retention_is_over(space, look->floor_time, wall);
        return RC_OK;
    }
    enum rc rc = row_time(rocks, look->number, seq, &time);
    if (rc == RC_OK && seq == look->floor)
        look->floor_time = time;
    *ret = rc == RC_OK && retention_is_over(space, time, wall);
    return rc == RC_CORRUPT ? RC_OK : rc;
}

/* The first seq above `over` (which is) that isn't over, by doubling steps, then by halving. */
static enum rc first_young(struct rocks *rocks, const struct namespace *space, msec wall, struct rocks_look *look,
                           uint64_t *ret)
{
    uint64_t over = look->floor, young = look->head + 1;
    bool     is_over = true;
    enum rc  rc = RC_OK;

    for (uint64_t step = 1; is_over && step < young - over; step *= 2) {
        rc = seq_is_over(rocks, space, wall, look, over + step, &is_over);
        if (rc != RC_OK)
            return rc;
        if (is_over)
            over += step;
        else
            young = over + step;
    }
    while (young - over > 1) {
        uint64_t middle = over + (young - over) / 2;
        rc              = seq_is_over(rocks, space, wall, look, middle, &is_over);
        if (rc != RC_OK)
            return rc;
        if (is_over)
            over = middle;
        else
            young = middle;
    }
    *ret = young;
    return RC_OK;
}

enum rc look_age(struct rocks *rocks, const struct namespace *space, msec wall, struct rocks_look *look)
{
    uint64_t young   = 0;
    bool     is_over = false;

    if (space->keep_count != 0 && look->head > space->keep_count)
        look_raise(look, look->head - space->keep_count + 1);
    if (space->keep_ms == 0 || look->floor > look->head)
        return RC_OK;
    enum rc rc = seq_is_over(rocks, space, wall, look, look->floor, &is_over);
    if (rc == RC_OK && is_over)
        rc = first_young(rocks, space, wall, look, &young);
    if (rc == RC_OK && is_over)
        look_raise(look, young);
    return rc;
}
