/* One page, read from the rows of a channel. */
#include "base/must.h"
#include "store/page.h"
#include "store/rocks_priv.h"

enum { SCAN_ROWS_MAX = 10000 };  /* rows read for one page: many expired rows make a short page, not a long wait */

/* A scan over the seqs of a page, away from its bound: `at` counts steps from `start`, up or down. */
struct scan {
    struct rocks            *rocks;
    const struct store_read *read;
    struct page             *page;
    rocksdb_iterator_t      *iterator;
    uint64_t                 number, start, step_count, at;
};

static uint64_t scan_seq(const struct scan *scan, uint64_t step)
{
    return scan->read->way == READ_AFTER ? scan->start + step : scan->start - step;
}

static uint64_t scan_step(const struct scan *scan, uint64_t seq)
{
    return scan->read->way == READ_AFTER ? seq - scan->start : scan->start - seq;
}

/* Puts the steps [from, to) as a gap. */
static bool scan_gap(struct scan *scan, uint64_t from, uint64_t to, enum gap_why why)
{
    uint64_t one = scan_seq(scan, from), other = scan_seq(scan, to - 1);

    return page_put_gap(scan->page, one < other ? (struct gap){ one, other, why } : (struct gap){ other, one, why });
}

/* RC_OK: the iterator stands at the first row from that step on, or behind the last one. RC_CORRUPT, RC_IO: it can't be
 * read. */
static enum rc scan_seek(struct scan *scan, uint64_t step)
{
    struct row_key key = row_key(scan->number, scan_seq(scan, step));

    if (scan->read->way == READ_AFTER)
        rocksdb_iter_seek(scan->iterator, key.bytes, sizeof key.bytes);
    else
        rocksdb_iter_seek_for_prev(scan->iterator, key.bytes, sizeof key.bytes);
    return rocks_iterator_rc(scan->iterator);
}

static void scan_next(struct scan *scan)
{
    if (scan->read->way == READ_AFTER)
        rocksdb_iter_next(scan->iterator);
    else
        rocksdb_iter_prev(scan->iterator);
}

/* A block can't be read: finds the first later step from which reading works again, by doubling steps and then by
 * bisection, and puts everything before it as corrupt. */
static enum rc scan_skip_damage(struct scan *scan)
{
    uint64_t bad = scan->at, good = scan->step_count;
    enum rc  rc = RC_CORRUPT;

    for (uint64_t step = 1; rc == RC_CORRUPT && step < good - bad; step *= 2) {
        rc = scan_seek(scan, bad + step);
        if (rc == RC_CORRUPT)
            bad += step;
        else
            good = bad + step;
    }
    while ((rc == RC_OK || rc == RC_CORRUPT) && good - bad > 1) {
        uint64_t middle = bad + (good - bad) / 2;
        rc              = scan_seek(scan, middle);
        if (rc == RC_CORRUPT)
            bad = middle;
        else
            good = middle;
    }
    if (rc != RC_OK && rc != RC_CORRUPT)
        return rc;
    uint64_t from = scan->at;
    scan->at      = scan_gap(scan, from, good, GAP_CORRUPT) ? good : scan->step_count;
    return scan->at < scan->step_count ? scan_seek(scan, scan->at) : RC_OK;
}

/* False once the page takes no more. */
static bool scan_put_row(struct scan *scan, uint64_t seq)
{
    struct span value;
    struct row  row;

    value.at = rocksdb_iter_value(scan->iterator, &value.len);
    if (!row_get(value, scan->number, seq, &row))
        return scan_gap(scan, scan->at, scan->at + 1, GAP_CORRUPT);
    if (row.kind == ROW_EXPIRED || (row.expires_at != 0 && row.expires_at <= scan->read->wall))
        return scan_gap(scan, scan->at, scan->at + 1, GAP_EXPIRED);
    if (page_is_full(scan->page))
        return false;
    struct message *message = row_message(&row, scan->read->channel, scan->read->epoch, seq);
    page_put_message(scan->page, &message);
    return true;
}

/* Puts one row, and before it a gap for the rows that are missing. */
static bool scan_take_row(struct scan *scan)
{
    struct span key;
    uint64_t    number = 0, seq = 0;

    key.at = rocksdb_iter_key(scan->iterator, &key.len);
    must(row_key_get(key, &number, &seq) && number == scan->number);
    uint64_t step = scan_step(scan, seq);
    /* Every seq from the floor to the head was written, so a missing one was lost. */
    if (step > scan->at && !scan_gap(scan, scan->at, step, GAP_CORRUPT))
        return false;
    scan->at = step;
    if (!scan_put_row(scan, seq))
        return false;
    scan->at++;
    return true;
}

/* The iterator has no row: either it is behind the last one, or it can't read on. */
static enum rc scan_at_end(struct scan *scan)
{
    enum rc rc = rocks_iterator_rc(scan->iterator);

    if (rc == RC_CORRUPT)
        return scan_skip_damage(scan);
    if (rc == RC_OK) {
        scan_gap(scan, scan->at, scan->step_count, GAP_CORRUPT);
        scan->at = scan->step_count;
    }
    return rc;
}

static enum rc scan_run(struct scan *scan)
{
    enum rc rc = scan_seek(scan, 0);

    if (rc == RC_CORRUPT)
        rc = scan_skip_damage(scan);
    for (size_t i = 0; rc == RC_OK && i < SCAN_ROWS_MAX && scan->at < scan->step_count; i++) {
        if (!rocksdb_iter_valid(scan->iterator)) {
            rc = scan_at_end(scan);
        } else {
            if (!scan_take_row(scan))
                break;
            scan_next(scan);
        }
    }
    return rc;
}

/* Puts the part of the page that is kept: seqs low … high, none below the floor. */
static enum rc page_scan(struct rocks *rocks, struct page *page, const struct channel_state *state, uint64_t low,
                         uint64_t high)
{
    struct row_key         from = row_key(state->number, low), to = row_key(state->number, high + 1);
    rocksdb_readoptions_t *how  = rocksdb_readoptions_create();
    struct scan            scan = {
        .rocks      = rocks,
        .read       = page->read,
        .page       = page,
        .number     = state->number,
        .start      = page->read->way == READ_AFTER ? low : high,
        .step_count = high - low + 1,
    };

    rocksdb_readoptions_set_iterate_lower_bound(how, from.bytes, sizeof from.bytes);
    rocksdb_readoptions_set_iterate_upper_bound(how, to.bytes, sizeof to.bytes);
    scan.iterator = rocksdb_create_iterator_cf(rocks->db.db, how, rocks->db.families[FAMILY_MESSAGES]);
    enum rc rc    = scan_run(&scan);
    rocksdb_iter_destroy(scan.iterator);
    rocksdb_readoptions_destroy(how);
    return rc == RC_OK && scan.at < scan.step_count ? RC_FULL : rc;
}

enum rc page_fill_rows(struct rocks *rocks, struct page *page, const struct channel_state *state)
{
    uint64_t   low, high;
    struct gap gone = { .why = GAP_TRIMMED };
    enum rc    rc   = RC_OK;

    if (!page_range(page->read, &low, &high))
        return RC_OK;
    if (low < state->floor) {
        gone.from = low;
        gone.to   = high < state->floor ? high : state->floor - 1;
        low       = state->floor;
    }
    if (gone.from != 0 && page->read->way == READ_AFTER && !page_put_gap(page, gone))
        return RC_OK;
    if (low <= high)
        rc = page_scan(rocks, page, state, low, high);
    if (rc == RC_OK && gone.from != 0 && page->read->way == READ_BEFORE)
        page_put_gap(page, gone);
    page_finish(page);
    return rc == RC_FULL ? RC_OK : rc;
}
