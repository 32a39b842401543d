/* request_follow.c - somebody waits here for a response that another node writes. The rows CALL and REQUEST are read again and again
 * until REQUEST says where the response is, or until nobody waits any more. */
#include <stdlib.h>

#include "base/must.h"
#include "device/row_kind.h"
#include "uplink/requests_priv.h"

enum { FOLLOW_TICKS_FIRST = 1, FOLLOW_TICKS_LONGEST = 10, FOLLOW_ROW_BYTES = 2048, FOLLOW_ROWS = 2 };

static void follow_later(struct request_work *work)
{
    uint32_t ticks = FOLLOW_TICKS_FIRST + work->tries;

    work->tries++;
    request_work_later(work, ticks < FOLLOW_TICKS_LONGEST ? ticks : FOLLOW_TICKS_LONGEST);
}

static void follow_refuse_askers(struct request_work *work)
{
    while (!list_is_empty(&work->askers))
        request_tell(work->requests, container_of(list_pop(&work->askers), struct request_command, link), REQUEST_AWAY);
}

static void follow_take_row(struct request_work *work, const struct ledger_row *row)
{
    if (!request_row_get(row->value, &work->found)) {
        follow_refuse_askers(work);
        follow_later(work);
    } else if (work->found.is_answered) {
        work->tries = 0;
        request_look_begin(work, row);
    } else {
        request_askers_accept(work);
        follow_later(work);
    }
}

static void follow_take_rows(struct request_work *work, const struct ledger_row *call, const struct ledger_row *request)
{
    if (request->generation != 0) {
        follow_take_row(work, request);
    } else if (call->generation != 0) {
        request_askers_accept(work);
        follow_later(work);
    } else {  /* it was kept for as long as an id is remembered */
        follow_refuse_askers(work);
        request_work_free(work);
    }
}

static void follow_came(struct request_read *read)
{
    struct request_work *work   = container_of(read, struct request_work, read);
    struct ledger_read   result = read->read;

    read->read = (struct ledger_read){ 0 };
    if (result.rc == RC_OK && result.row_count == FOLLOW_ROWS) {
        follow_take_rows(work, &result.rows[0], &result.rows[1]);
    } else {
        follow_refuse_askers(work);
        follow_later(work);
    }
    ledger_read_fini(&result);
}

/* CALL first: if it is gone then, REQUEST is there. */
static void follow_read(struct request_work *work)
{
    free(work->keys);  /* those of pieces, if it was being taken over */
    work->keys = calloc(FOLLOW_ROWS, sizeof work->keys[0]);
    must(work->keys != NULL);
    work->keys[0]   = (struct ledger_key){ ROW_CALL, work_key(work) };
    work->keys[1]   = (struct ledger_key){ ROW_REQUEST, work_key(work) };
    work->read.came = follow_came;
    work->read.read = (struct ledger_read){ .way = LEDGER_GET, .keys = work->keys, .key_count = FOLLOW_ROWS,
                                            .bytes_max = FOLLOW_ROW_BYTES };
    request_read_send(work->requests, &work->read);
}

/* What was held for a call of this node's own. */
static void follow_let_go(struct request_work *work)
{
    struct requests *requests = work->requests;

    requests->body_bytes -= work->body_bytes;
    requests->held_bytes -= work->held_bytes;
    work->body_bytes = work->held_bytes = 0;
    counter_set(&requests->counters.held_bytes, requests->held_bytes);
    fetch_call_free(work->call.fetch);
    work->call.fetch = NULL;
    free(work->call.target);
    work->call.target = NULL;
    work->is_counted  = false;
    buf_clear(&work->object);
}

void request_follow_begin(struct request_work *work)
{
    follow_let_go(work);
    work->stage = REQUEST_FOLLOWING;
    work->tries = 0;
    follow_later(work);
}

void request_follow_on(struct request_work *work)
{
    if (work->waiter_count > 0 || !list_is_empty(&work->askers))
        follow_read(work);
    else
        request_work_free(work);
}

bool request_follow_end(struct request_work *work)
{
    if (work->stage != REQUEST_FOLLOWING || !list_is_linked(&work->again))
        return false;
    list_take(&work->again);
    work->tries     = 0;
    work->found_seq = 0;
    return true;
}

/* If it is not in the line, the row is being read just now. */
void request_follow_ask(struct request_work *work)
{
    if (!list_is_linked(&work->again))
        return;
    list_take(&work->again);
    follow_read(work);
}
