/* The ledger's reads: rows by their keys, and scans. A scan takes several questions if many of its rows have expired. */
#include "base/must.h"
#include "store/ledger_rule.h"
#include "store/pg_priv.h"

enum { SCAN_ROWS_MOST = 4000 };

static struct ledger_read *pg_ledger_read_of(const struct pg_lane *lane)
{
    return container_of(lane->request, struct ledger_read, link);
}

static void pg_rows_answer(struct pg_lane *lane, enum rc rc)
{
    struct ledger_read *read = pg_ledger_read_of(lane);

    ledger_page_finish(&lane->progress.ledger_page, rc);
    lane->progress.is_begun = false;
    lane->request           = NULL;
    lane_release(lane);
    read->done(read);
}

/* --- by keys ------------------------------------------------------------------------------------------------------ */

static void send_get(struct pg_lane *lane)
{
    const struct ledger_read *read = pg_ledger_read_of(lane);

    pg_args_clear(&lane->args);
    pg_args_arrays(&lane->args, "ibi");
    for (size_t i = 0; i < read->key_count; i++) {
        pg_push_i64(&lane->args, 0, read->keys[i].kind);
        pg_push_bytes(&lane->args, 1, read->keys[i].bytes);
        pg_push_i64(&lane->args, 2, (int64_t)i);
    }
    pg_args_i64(&lane->args, read->bytes_max > INT64_MAX ? INT64_MAX : (int64_t)read->bytes_max);
    lane_send(lane, SQL_GET_ROWS);
    lane_sync(lane);
}

static void rows_take_got(struct pg_lane *lane)
{
    const struct ledger_read *read = pg_ledger_read_of(lane);
    struct ledger_page       *page = &lane->progress.ledger_page;
    const PGresult           *rows = lane->results[0];

    for (size_t i = 0, at = 0; i < read->key_count && !ledger_page_is_full(page); i++) {
        struct ledger_row row = { .key = read->keys[i].bytes };
        if (at < (size_t)PQntuples(rows) && (size_t)pg_i64(rows, (int)at, 0) == i) {
            msec expires_at = pg_i64(rows, (int)at, 2);
            row.generation  = ledger_generation((uint64_t)pg_i64(rows, (int)at, 1), expires_at, read->wall);
            if (PQgetisnull(rows, (int)at, 3) && page->row_count > 0)
                break;  /* its value was left out, because rows before it reach bytes_max */
            if (row.generation != 0) {
                row.expires_at = expires_at;
                row.value      = pg_bytes(rows, (int)at, 3);
            }
            at++;
        }
        ledger_page_put(page, &row);
    }
    pg_rows_answer(lane, RC_OK);
}

/* --- scans -------------------------------------------------------------------------------------------------------- */

static void send_scan(struct pg_lane *lane)
{
    const struct ledger_read *read     = pg_ledger_read_of(lane);
    struct pg_progress       *progress = &lane->progress;

    pg_args_clear(&lane->args);
    pg_args_i64(&lane->args, read->kind);
    pg_args_bytes(&lane->args, buf_span(&progress->after));
    pg_args_i64(&lane->args, progress->is_after);
    pg_args_i64(&lane->args, progress->rows);
    pg_args_i64(&lane->args, read->bytes_max > INT64_MAX ? INT64_MAX : (int64_t)read->bytes_max);
    lane_send(lane, SQL_SCAN_ROWS);
    lane_sync(lane);
}

static void scan_start(struct pg_lane *lane)
{
    const struct ledger_read *read     = pg_ledger_read_of(lane);
    struct pg_progress       *progress = &lane->progress;

    progress->is_after = read->after.len > 0 && ledger_key_order(read->after, read->prefix) >= 0;
    progress->rows     = read->limit + 1;
    buf_clear(&progress->after);
    buf_put(&progress->after, progress->is_after ? read->after : read->prefix);
    send_scan(lane);
}

static void scan_reach(struct pg_progress *progress, struct span key)
{
    buf_clear(&progress->after);
    buf_put(&progress->after, key);
    progress->is_after = true;
}

/* False: the page ends before this row, and *ret_ends says whether it was the last page. */
static bool scan_take_row(struct pg_lane *lane, const PGresult *rows, int i, bool *ret_ends)
{
    const struct ledger_read *read = pg_ledger_read_of(lane);
    struct ledger_page       *page = &lane->progress.ledger_page;
    struct ledger_row         row  = { .key = pg_bytes(rows, i, 0), .generation = (uint64_t)pg_i64(rows, i, 1),
                                       .expires_at = pg_i64(rows, i, 2), .value = pg_bytes(rows, i, 3) };

    *ret_ends = !span_starts(row.key, read->prefix);
    if (*ret_ends || ledger_page_is_full(page))
        return false;
    if (ledger_generation(row.generation, row.expires_at, read->wall) == 0)
        ledger_page_skip(page);
    else if (PQgetisnull(rows, i, 3))
        return false;  /* its value was left out for the bytes of dead rows before it: asked for again */
    else
        ledger_page_put(page, &row);
    scan_reach(&lane->progress, row.key);
    return true;
}

static void rows_take_scanned(struct pg_lane *lane)
{
    struct pg_progress *progress = &lane->progress;
    const PGresult     *rows     = lane->results[0];
    bool                ends     = false;
    int                 i        = 0;

    while (i < PQntuples(rows) && scan_take_row(lane, rows, i, &ends))
        i++;
    if (i == PQntuples(rows) && (uint32_t)i < progress->rows)
        ends = true;
    if (ends) {
        pg_rows_answer(lane, RC_OK);
    } else if (ledger_page_is_full(&progress->ledger_page)) {
        ledger_page_continue(&progress->ledger_page, buf_span(&progress->after));
        pg_rows_answer(lane, RC_OK);
    } else {
        progress->rows = progress->rows * 2 < SCAN_ROWS_MOST ? progress->rows * 2 : SCAN_ROWS_MOST;
        send_scan(lane);
    }
}

/* --- the work ----------------------------------------------------------------------------------------------------- */

/* Lets go of what an attempt found on a connection that was lost. */
static void rows_page_begin(struct pg_lane *lane)
{
    struct ledger_read *read = pg_ledger_read_of(lane);

    if (lane->progress.is_begun) {
        ledger_page_finish(&lane->progress.ledger_page, RC_IO);
        ledger_read_fini(read);
    }
    ledger_page_init(&lane->progress.ledger_page, read);
    lane->progress.is_begun = true;
}

static void pg_rows_start(struct pg_lane *lane)
{
    struct ledger_read *read = pg_ledger_read_of(lane);

    rows_page_begin(lane);
    if (read->way == LEDGER_SCAN)
        scan_start(lane);
    else
        send_get(lane);
}

static void pg_rows_refuse(struct pg_lane *lane)
{
    rows_page_begin(lane);
    pg_rows_answer(lane, RC_IO);
}

static void pg_rows_step(struct pg_lane *lane)
{
    if (lane->has_failed)
        pg_rows_answer(lane, RC_IO);
    else if (pg_ledger_read_of(lane)->way == LEDGER_SCAN)
        rows_take_scanned(lane);
    else
        rows_take_got(lane);
}

const struct pg_work pg_ledger_read_work = { pg_rows_start, pg_rows_step, pg_rows_refuse };
