/* The retention floor of one channel: how it is saved, and how far count, age and bytes raise it. */
#include <endian.h>

#include "store/retention.h"
#include "store/rocks_priv.h"
#include "store/rocks_walk.h"

enum {
    TRIM_ROWS_MAX  = 100000,  /* rows counted for one channel in one step */
    NEXT_STEPS_MAX = 1000,    /* to the next message that can be read */
};

/* --- on disk ---------------------------------------------------------------------------------------------------- */

enum rc floor_load(struct rocks *rocks, uint64_t number, uint64_t *ret)
{
    uint64_t key   = htobe64(number);
    uint64_t floor = 1;

    enum rc rc = rocks_db_get_record(&rocks->db, FAMILY_FLOORS, rocks->db.get, span_of(&key, sizeof key), &floor, 1);
    if (rc != RC_OK && rc != RC_GONE && rc != RC_CORRUPT)
        return rc;
    *ret = rc == RC_OK ? floor : 1;
    return RC_OK;
}

void floor_save(struct rocks *rocks, rocksdb_writebatch_t *batch, uint64_t number, uint64_t floor)
{
    uint64_t key = htobe64(number);

    rocks_db_put_record(&rocks->db, batch, FAMILY_FLOORS, span_of(&key, sizeof key), &floor, 1);
}

enum rc floor_save_higher(struct rocks *rocks, rocksdb_writebatch_t *batch, uint64_t number, uint64_t floor)
{
    uint64_t saved = 1;
    enum rc  rc    = floor_load(rocks, number, &saved);

    if (rc == RC_OK && floor > saved)
        floor_save(rocks, batch, number, floor);
    return rc;
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

enum rc row_time(struct rocks *rocks, uint64_t number, uint64_t seq, msec *ret)
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

/* The time of the first message above `seq` that can be read. RC_CORRUPT: there is none within the next
 * NEXT_STEPS_MAX. */
static enum rc next_time(struct rocks *rocks, const struct channel_state *state, uint64_t seq, msec *ret)
{
    struct row_walk walk;
    struct row      row;
    enum rc         rc = RC_CORRUPT;

    if (seq >= state->head)
        return RC_CORRUPT;
    row_walk_open(&walk, &rocks->db, state->number, seq + 1, state->head, WALK_UP);
    for (size_t i = 0; rc == RC_CORRUPT && i < NEXT_STEPS_MAX; i++) {
        const struct walk_step step = row_walk_next(&walk);
        if (step.what == WALK_END)
            break;
        if (step.what == WALK_FAILED)
            rc = walk.rc;
        if (step.what == WALK_ROW && row_get(step.value, state->number, step.from, &row)) {
            *ret = row.time;
            rc   = RC_OK;
        }
    }
    row_walk_close(&walk);
    return rc;
}

/* Tells whether the message at `seq` is too old. One that can't be read is too old if the next one is that can be. If
 * none can, it is not: readers should get a gap `corrupt`, not one `trimmed` that hides the damage. */
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
    if (rc == RC_CORRUPT)
        rc = next_time(rocks, state, seq, &time);
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

/* What the row counts for. False: it is damaged, and counts as 0. */
static bool step_weigh(const struct walk_step *step, uint64_t number, uint64_t *ret)
{
    struct row row;

    if (step->what != WALK_ROW || !row_get(step->value, number, step->from, &row))
        return false;
    *ret = row_kept_bytes(&row);
    return true;
}

/* Raises the floor over the oldest rows until the rest is within bytes_max. Nobody knows what a lost row weighed: there
 * it stops, and the bytes become a guess. */
static void state_drop_oldest(struct rocks *rocks, uint64_t bytes_max, struct channel_state *state)
{
    struct row_walk walk;

    if (state->floor > state->head)
        return;
    row_walk_open(&walk, &rocks->db, state->number, state->floor, state->head, WALK_UP);
    for (size_t i = 0; state->bytes > bytes_max && i < TRIM_ROWS_MAX && !state->is_guess; i++) {
        const struct walk_step step   = row_walk_next(&walk);
        uint64_t               weight = 0;
        if (step.what == WALK_END || step.what == WALK_FAILED)
            break;
        if (step_weigh(&step, state->number, &weight))
            state->floor = step.to + 1;
        else
            state->is_guess = true;
        state->bytes -= weight < state->bytes ? weight : state->bytes;
    }
    row_walk_close(&walk);
    state->floor_time = FLOOR_TIME_UNKNOWN;
}

/* Counts the newest rows until no more fits into bytes_max, and raises the floor to there; lost rows count as 0. Changes
 * nothing if the disk can't be read now or the store is closing. */
static void state_measure_bytes(struct rocks *rocks, uint64_t bytes_max, struct channel_state *state)
{
    uint64_t         floor = state->floor, bytes = 0;
    struct walk_step step = { .what = WALK_END };
    struct row_walk  walk;

    if (state->floor > state->head)
        return;
    row_walk_open(&walk, &rocks->db, state->number, state->floor, state->head, WALK_DOWN);
    while (!maintenance_is_closing(&rocks->maintenance)) {
        uint64_t weight = 0;
        step            = row_walk_next(&walk);
        if (step.what == WALK_END || step.what == WALK_FAILED)
            break;
        if (step_weigh(&step, state->number, &weight) && bytes + weight > bytes_max) {
            floor     = step.to + 1;
            step.what = WALK_END;
            break;
        }
        bytes += weight;
    }
    row_walk_close(&walk);
    if (step.what != WALK_END)
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
    struct row_walk walk;

    if (floor <= 1)
        return 0;
    row_walk_open(&walk, &rocks->db, number, 1, floor - 1, WALK_UP);
    struct walk_step step = row_walk_next(&walk);
    if (step.what == WALK_MISSING)
        step = row_walk_next(&walk);
    row_walk_close(&walk);
    return step.what == WALK_ROW || step.what == WALK_UNREADABLE ? floor - step.from : 0;
}
