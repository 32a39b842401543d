/* The ledger's rows by their keys. */
#include "base/must.h"
#include "store/ledger_rule.h"
#include "store/pg_priv.h"

static struct ledger_read *pg_get_of(const struct pg_lane *lane)
{
    return container_of(lane->request, struct ledger_read, link);
}

static void pg_get_start(struct pg_lane *lane)
{
    const struct ledger_read *read = pg_get_of(lane);

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

static void rows_take_got(struct ledger_page *page, const PGresult *rows)
{
    const struct ledger_read *read = page->read;

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
}

static void pg_get_answer(struct pg_lane *lane)
{
    struct ledger_read *read = pg_get_of(lane);

    lane->request = NULL;
    lane_release(lane);
    read->done(read);
}

static void pg_get_refuse(struct pg_lane *lane)
{
    ledger_read_refuse(pg_get_of(lane), RC_IO);
    pg_get_answer(lane);
}

static void pg_get_step(struct pg_lane *lane)
{
    struct ledger_page page;

    if (lane->has_failed) {
        pg_get_refuse(lane);
        return;
    }
    ledger_page_init(&page, pg_get_of(lane));
    rows_take_got(&page, lane->results[0]);
    ledger_page_finish(&page, RC_OK);
    pg_get_answer(lane);
}

const struct pg_work pg_get_work = { pg_get_start, pg_get_step, pg_get_refuse };
