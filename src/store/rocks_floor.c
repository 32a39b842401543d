/* The retention floor of one channel: how it is saved, and how far count, age and bytes raise it. */
#include <endian.h>

#include "store/retention.h"
#include "store/rocks_priv.h"

enum { TRIM_ROWS_MAX = 100000 };  /* rows counted for one channel in one step */

/* --- on disk ---------------------------------------------------------------------------------------------------- */

enum rc floor_load(struct rocks *rocks, uint64_t number, uint64_t *ret)
{
    uint64_t key   = htobe64(number);
    uint64_t floor = 1;

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

/* --- by count and age ------------------------------------------------------------------------------------------- */

void state_raise_floor(struct channel_state *state, uint64_t floor)
{
    if (floor <= state->floor)
        return;
    state->is_guess = floor <= state->head;
    if (state->is_guess)
        state->bytes = (uint64_t)((double)state->bytes * (double)(state->head + 1 - floor) /
                                  (double)(state->head + 1 - state->floor));
    else
        state->bytes = 0;
    state->floor      = floor;
    state->floor_time = FLOOR_TIME_UNKNOWN;
}

/* RC_CORRUPT: there is no such row, or it is damaged. */
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

/* Tells whether the message at `seq` is too old. A message that can't be read is not: readers should get a gap
 * `corrupt`, not one `trimmed` that hides the damage. */
static enum rc seq_is_old(struct rocks *rocks, const struct namespace *space, msec wall, struct channel_state *state,
                          uint64_t seq, bool *ret)
{
    msec time = 0;

    if (seq == state->floor && state->floor_time != FLOOR_TIME_UNKNOWN) {
        *ret = retention_is_over(space, state->floor_time, wall);
        return RC_OK;
    }
    enum rc rc = row_time(rocks, state->number, seq, &time);
    if (rc == RC_OK && seq == state->floor)
        state->floor_time = time;
    *ret = rc == RC_OK && retention_is_over(space, time, wall);
    return rc == RC_CORRUPT ? RC_OK : rc;
}

/* The first seq above the floor (which is too old) that isn't too old: searches by doubling steps, then by
 * bisection. */
static enum rc first_kept_seq(struct rocks *rocks, const struct namespace *space, msec wall,
                              struct channel_state *state, uint64_t *ret)
{
    uint64_t old = state->floor, kept = state->head + 1;
    bool     is_old = true;
    enum rc  rc     = RC_OK;

    for (uint64_t step = 1; is_old && step < kept - old; step *= 2) {
        rc = seq_is_old(rocks, space, wall, state, old + step, &is_old);
        if (rc != RC_OK)
            return rc;
        if (is_old)
            old += step;
        else
            kept = old + step;
    }
    while (kept - old > 1) {
        uint64_t middle = old + (kept - old) / 2;
        rc              = seq_is_old(rocks, space, wall, state, middle, &is_old);
        if (rc != RC_OK)
            return rc;
        if (is_old)
            old = middle;
        else
            kept = middle;
    }
    *ret = kept;
    return RC_OK;
}

enum rc state_apply_age(struct rocks *rocks, const struct namespace *space, msec wall, struct channel_state *state)
{
    uint64_t kept   = 0;
    bool     is_old = false;

    if (space->keep_count != 0 && state->head > space->keep_count)
        state_raise_floor(state, state->head - space->keep_count + 1);
    if (space->keep_ms == 0 || state->floor > state->head)
        return RC_OK;
    enum rc rc = seq_is_old(rocks, space, wall, state, state->floor, &is_old);
    if (rc == RC_OK && is_old)
        rc = first_kept_seq(rocks, space, wall, state, &kept);
    if (rc == RC_OK && is_old)
        state_raise_floor(state, kept);
    return rc;
}

/* --- by bytes --------------------------------------------------------------------------------------------------- */

static rocksdb_iterator_t *rows_from(struct rocks *rocks, uint64_t number, uint64_t seq)
{
    struct row_key      key = row_key(number, seq);
    rocksdb_iterator_t *iterator =
        rocksdb_create_iterator_cf(rocks->db.db, rocks->db.get, rocks->db.families[FAMILY_MESSAGES]);

    rocksdb_iter_seek(iterator, key.bytes, sizeof key.bytes);
    return iterator;
}

/* False: the iterator stands in another channel, or behind the last row. */
static bool row_is_of(const rocksdb_iterator_t *iterator, uint64_t number, uint64_t *ret_seq)
{
    struct span key;
    uint64_t    found;

    if (!rocksdb_iter_valid(iterator))
        return false;
    key.at = rocksdb_iter_key(iterator, &key.len);
    return row_key_get(key, &found, ret_seq) && found == number;
}

/* Reads the payload bytes that the row counts for. False: the row is damaged, and counts as 0. */
static bool row_bytes_read(const rocksdb_iterator_t *iterator, uint64_t number, uint64_t seq, uint64_t *ret)
{
    struct span value;
    struct row  row;

    value.at = rocksdb_iter_value(iterator, &value.len);
    if (!row_get(value, number, seq, &row))
        return false;
    *ret = row_kept_bytes(&row);
    return true;
}

/* Raises the floor over the oldest rows until the rest is within bytes_max. */
static void state_drop_oldest(struct rocks *rocks, uint64_t bytes_max, struct channel_state *state)
{
    rocksdb_iterator_t *iterator = rows_from(rocks, state->number, state->floor);
    uint64_t            seq      = 0;

    for (size_t i = 0; state->bytes > bytes_max && i < TRIM_ROWS_MAX && row_is_of(iterator, state->number, &seq); i++) {
        uint64_t weight = 0;
        if (!row_bytes_read(iterator, state->number, seq, &weight) || seq != state->floor)
            state->is_guess = true;
        state->bytes -= weight < state->bytes ? weight : state->bytes;
        state->floor = seq + 1;
        rocksdb_iter_next(iterator);
    }
    rocksdb_iter_destroy(iterator);
    state->floor_time = FLOOR_TIME_UNKNOWN;
}

/* Counts the newest rows until no more fits into bytes_max, and raises the floor to there. Changes nothing if a block
 * is unreadable or the store is closing. */
static void state_measure_bytes(struct rocks *rocks, uint64_t bytes_max, struct channel_state *state)
{
    struct row_key      key   = row_key(state->number, state->head);
    uint64_t            floor = state->floor, bytes = 0, seq = 0;
    bool                is_whole = true;
    rocksdb_iterator_t *iterator =
        rocksdb_create_iterator_cf(rocks->db.db, rocks->db.get, rocks->db.families[FAMILY_MESSAGES]);

    rocksdb_iter_seek_for_prev(iterator, key.bytes, sizeof key.bytes);
    while (is_whole && row_is_of(iterator, state->number, &seq) && seq >= state->floor) {
        uint64_t weight = 0;
        if (row_bytes_read(iterator, state->number, seq, &weight) && bytes + weight > bytes_max) {
            floor = seq + 1;
            break;
        }
        bytes += weight;
        rocksdb_iter_prev(iterator);
        is_whole = !maintenance_is_closing(&rocks->maintenance);
    }
    is_whole &= rocks_iterator_rc(iterator) == RC_OK;
    rocksdb_iter_destroy(iterator);
    if (!is_whole)
        return;
    state->bytes      = bytes;
    state->is_guess   = false;
    state->floor      = floor;
    state->floor_time = FLOOR_TIME_UNKNOWN;
}

bool state_has_excess_bytes(const struct namespace *space, const struct channel_state *state)
{
    return space->keep_bytes != 0 && state->bytes > space->keep_bytes;
}

void state_apply_bytes(struct rocks *rocks, const struct namespace *space, struct channel_state *state)
{
    if (!state_has_excess_bytes(space, state))
        return;
    if (state->is_guess)
        state_measure_bytes(rocks, space->keep_bytes, state);
    else
        state_drop_oldest(rocks, space->keep_bytes, state);
}

uint64_t dead_rows_below(struct rocks *rocks, uint64_t number, uint64_t floor)
{
    rocksdb_iterator_t *iterator = rows_from(rocks, number, 0);
    uint64_t            seq      = floor;

    if (!row_is_of(iterator, number, &seq) || seq > floor)
        seq = floor;
    rocksdb_iter_destroy(iterator);
    return floor - seq;
}
