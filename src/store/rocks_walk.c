#include "store/rocks_walk.h"

#include "base/must.h"

static uint64_t walk_seq(const struct row_walk *walk, uint64_t step)
{
    return walk->way == WALK_UP ? walk->start + step : walk->start - step;
}

/* The steps from `at` to `to` (exclusive), which are passed. */
static struct walk_step walk_pass(struct row_walk *walk, uint64_t to, enum walk_what what)
{
    const uint64_t one = walk_seq(walk, walk->at), other = walk_seq(walk, to - 1);

    must(to > walk->at && to <= walk->step_count);
    walk->at = to;
    return (struct walk_step){ .what = what, .from = one < other ? one : other, .to = one < other ? other : one };
}

static struct walk_step walk_fail(struct row_walk *walk, enum rc rc)
{
    walk->rc = rc;
    return (struct walk_step){ .what = WALK_FAILED };
}

static void walk_renew(struct row_walk *walk)
{
    if (walk->iterator != NULL)
        rocksdb_iter_destroy(walk->iterator);
    walk->iterator = rocksdb_create_iterator_cf(walk->db->db, walk->how, walk->db->families[FAMILY_MESSAGES]);
}

/* RC_OK: a fresh iterator stands at the first row from that step on, or behind the last one. */
static enum rc walk_seek(struct row_walk *walk, uint64_t step)
{
    const struct row_key key = row_key(walk->number, walk_seq(walk, step));

    walk_renew(walk);
    if (walk->way == WALK_UP)
        rocksdb_iter_seek(walk->iterator, key.bytes, sizeof key.bytes);
    else
        rocksdb_iter_seek_for_prev(walk->iterator, key.bytes, sizeof key.bytes);
    return rocks_iterator_rc(walk->db, walk->iterator);
}

/* The same beside damage. On the way down the row of that very seq is sought upwards first: a seek downwards to the last
 * row of a block reads the block behind it, too. */
static enum rc walk_seek_exactly(struct row_walk *walk, uint64_t step)
{
    const struct row_key key = row_key(walk->number, walk_seq(walk, step));

    if (walk->way == WALK_DOWN) {
        walk_renew(walk);
        rocksdb_iter_seek(walk->iterator, key.bytes, sizeof key.bytes);
        if (rocksdb_iter_valid(walk->iterator)) {
            struct span found;
            found.at = rocksdb_iter_key(walk->iterator, &found.len);
            if (span_eq(found, row_key_span(&key)))
                return RC_OK;
        }
    }
    return walk_seek(walk, step);
}

static struct walk_step walk_at_row(struct row_walk *walk);

/* Finds the first step behind the damage, from which seeking works again, by doubling steps and then by bisection. */
static enum rc walk_find_good(struct row_walk *walk, uint64_t *ret)
{
    uint64_t bad = walk->at, good = walk->step_count;
    enum rc  rc = RC_CORRUPT;

    for (uint64_t step = 1; rc == RC_CORRUPT && step < good - bad; step *= 2) {
        rc = walk_seek_exactly(walk, bad + step);
        if (rc == RC_CORRUPT)
            bad += step;
        else
            good = bad + step;
    }
    while ((rc == RC_OK || rc == RC_CORRUPT) && good - bad > 1) {
        const uint64_t middle = bad + (good - bad) / 2;
        rc                    = walk_seek_exactly(walk, middle);
        if (rc == RC_CORRUPT)
            bad = middle;
        else
            good = middle;
    }
    *ret = good;
    return rc == RC_CORRUPT ? RC_OK : rc;
}

/* One seq where seeking meets damage. A seek reads a block of each table whose keys overlap, so it fails although the row
 * may stand in another table: a point read looks only where that row can be. */
static struct walk_step walk_get(struct row_walk *walk)
{
    const struct row_key key = row_key(walk->number, walk_seq(walk, walk->at));

    const enum rc rc = rocks_db_get(walk->db, FAMILY_MESSAGES, walk->db->get, row_key_span(&key), &walk->slice);
    if (rc != RC_OK && rc != RC_CORRUPT)
        return walk_fail(walk, rc);
    if (rc == RC_CORRUPT)
        return walk_pass(walk, walk->at + 1, WALK_UNREADABLE);
    if (walk->slice == NULL)
        return walk_pass(walk, walk->at + 1, WALK_MISSING);
    struct walk_step ret = walk_pass(walk, walk->at + 1, WALK_ROW);
    ret.value.at         = rocksdb_pinnableslice_value(walk->slice, &ret.value.len);
    return ret;
}

/* The iterator met damage at the next step. */
static struct walk_step walk_into_damage(struct row_walk *walk)
{
    enum rc rc = walk->way == WALK_DOWN ? walk_seek_exactly(walk, walk->at) : RC_CORRUPT;

    if (rc == RC_OK && rocksdb_iter_valid(walk->iterator))
        return walk_at_row(walk);
    if (rc == RC_CORRUPT)
        rc = walk_find_good(walk, &walk->damage_end);
    if (rc != RC_OK)
        return walk_fail(walk, rc);
    rocksdb_iter_destroy(walk->iterator);
    walk->iterator = NULL;
    return walk_get(walk);
}

static void walk_move(struct row_walk *walk)
{
    if (walk->way == WALK_UP)
        rocksdb_iter_next(walk->iterator);
    else
        rocksdb_iter_prev(walk->iterator);
    walk->is_on_row = false;
}

/* The iterator has no row: either it is behind the last one, or it can't read on. */
static struct walk_step walk_at_end(struct row_walk *walk)
{
    const enum rc rc = rocks_iterator_rc(walk->db, walk->iterator);

    if (rc == RC_CORRUPT)
        return walk_into_damage(walk);
    return rc == RC_OK ? walk_pass(walk, walk->step_count, WALK_MISSING) : walk_fail(walk, rc);
}

/* The row that the iterator stands at, or the seqs before it. */
static struct walk_step walk_at_row(struct row_walk *walk)
{
    uint64_t    number = 0, seq = 0;
    struct span key;

    key.at = rocksdb_iter_key(walk->iterator, &key.len);
    must(row_key_get(key, &number, &seq) && number == walk->number);
    const uint64_t step = walk->way == WALK_UP ? seq - walk->start : walk->start - seq;
    must(step >= walk->at);
    if (step > walk->at)
        return walk_pass(walk, step, WALK_MISSING);
    struct walk_step ret = walk_pass(walk, step + 1, WALK_ROW);
    ret.value.at         = rocksdb_iter_value(walk->iterator, &ret.value.len);
    walk->is_on_row      = true;
    return ret;
}

void row_walk_open(struct row_walk *walk, struct rocks_db *db, uint64_t number, uint64_t low, uint64_t high,
                   enum walk_way way)
{
    must(low >= 1 && low <= high);
    *walk = (struct row_walk){
        .db = db, .how = rocksdb_readoptions_create(), .way = way, .number = number,
        .low = row_key(number, low), .end = high == UINT64_MAX ? row_key(number + 1, 0) : row_key(number, high + 1),
        .start = way == WALK_UP ? low : high, .step_count = high - low + 1,
    };
    rocksdb_readoptions_set_iterate_lower_bound(walk->how, walk->low.bytes, sizeof walk->low.bytes);
    rocksdb_readoptions_set_iterate_upper_bound(walk->how, walk->end.bytes, sizeof walk->end.bytes);
}

struct walk_step row_walk_last(struct row_walk *walk)
{
    const enum rc rc = walk_seek(walk, 0);

    if (rc == RC_CORRUPT)
        return (struct walk_step){ .what = WALK_UNREADABLE };
    if (rc != RC_OK)
        return walk_fail(walk, rc);
    if (!rocksdb_iter_valid(walk->iterator))
        return (struct walk_step){ .what = WALK_END };
    const struct walk_step step = walk_at_row(walk);
    return step.what == WALK_MISSING ? walk_at_row(walk) : step;
}

struct walk_step row_walk_next(struct row_walk *walk)
{
    rocksdb_pinnableslice_destroy(walk->slice);
    walk->slice = NULL;
    if (walk->at == walk->step_count)
        return (struct walk_step){ .what = WALK_END };
    if (walk->at < walk->damage_end)
        return walk_get(walk);
    if (walk->iterator == NULL) {
        const enum rc rc = walk->at == 0 ? walk_seek(walk, 0) : walk_seek_exactly(walk, walk->at);
        if (rc != RC_OK)
            return rc == RC_CORRUPT ? walk_into_damage(walk) : walk_fail(walk, rc);
    }
    if (walk->is_on_row)
        walk_move(walk);
    return rocksdb_iter_valid(walk->iterator) ? walk_at_row(walk) : walk_at_end(walk);
}

void row_walk_close(struct row_walk *walk)
{
    if (walk->iterator != NULL)
        rocksdb_iter_destroy(walk->iterator);
    rocksdb_pinnableslice_destroy(walk->slice);
    rocksdb_readoptions_destroy(walk->how);
}
