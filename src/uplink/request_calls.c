/* request_calls.c - CALLS rows of a start before: a walk reads them one by one, at the start, and each WALK_MS, because what a node
 * wrote before its end may become visible later. Of each call in a row its REQUEST row is read. If there is one, the call was
 * answered. If there is none, it is answered 504 with `Longwire-Outcome: unknown`, as request_recover.c does for CALL rows; until that
 * is done it stands in a row of this start, which is written as the old one is deleted. So an old row is looked at once: its REQUEST
 * rows may be about to be forgotten.
 *
 * Until the first walk has ended, commands are held: an id that was under way before must not be taken for a new one. */
#include <stdlib.h>

#include "base/must.h"
#include "device/row_kind.h"
#include "uplink/requests_priv.h"

enum {
    WALK_MS       = 30000,
    WALK_AGAIN_MS = 1000,  /* if a row could not be dealt with */
    ROW_BYTES     = 1,     /* a row a page */
    IDS_BYTES     = 1024 * 1024,
    IDS_COUNT     = 256,
};

struct calls_scan {
    struct request_read  row;       /* kept until its calls are looked at */
    struct request_read  ids;
    struct request_write end;
    struct ledger_change change;
    struct buf           after;     /* where the next page begins; empty: at the first row */
    bool                 is_walking, has_walked;
    bool                 has_left;  /* … a row that is not deleted */
    msec                 next_at;
    msec                 wall;      /* of the row … */
    struct span          rest;      /* … and its calls that were not looked at yet */
    bool                 is_kept;   /* one of them stands in no other row */
    struct call_group   *group;     /* takes over those that were not answered; NULL: there is none */
    size_t               count;     /* calls that are looked at now */
    struct ledger_key    keys[IDS_COUNT];
    uint8_t              hashes[IDS_COUNT][16];
};

/* --- commands that wait -------------------------------------------------------------------------------------------- */

static void held_take(struct requests *requests, bool may_begin)
{
    struct list held;

    list_init(&held);
    list_move(&held, &requests->held);
    requests->held_count = 0;
    while (!list_is_empty(&held)) {
        struct request_command *command = container_of(list_pop(&held), struct request_command, link);
        requests->body_bytes -= command->body.len;
        if (may_begin)
            request_admit(requests, command);
        else
            request_tell(requests, command, REQUEST_AWAY);
    }
}

bool request_calls_admit(struct requests *requests, struct request_command *command)
{
    if (command->device.len == 0 || requests->is_stopping || requests->setup.writer->durable.store->ledger == NULL ||
        (requests->calls_scan != NULL && requests->calls_scan->has_walked))
        return true;
    if (requests->held_count >= REQUESTS_UNDER_WAY_MAX || requests_are_full(requests, command->body.len)) {
        request_tell(requests, command, REQUEST_BUSY);
        return false;
    }
    requests->held_count++;
    requests->body_bytes += command->body.len;
    list_push(&requests->held, &command->link);
    request_calls_tick(requests);
    return false;
}

/* --- the walk ------------------------------------------------------------------------------------------------------ */

static void row_came(struct request_read *read);

static void calls_walk_on(struct requests *requests, struct calls_scan *scan)
{
    scan->row.came = row_came;
    scan->row.read = (struct ledger_read){ .way = LEDGER_SCAN, .kind = ROW_CALLS, .prefix = SPAN(""), .after = buf_span(&scan->after),
                                           .limit = 1, .bytes_max = ROW_BYTES };
    request_read_send(requests, &scan->row);
}

static void row_forget(struct calls_scan *scan)
{
    ledger_read_fini(&scan->row.read);
    scan->row.read = (struct ledger_read){ 0 };
}

static void calls_walk_end(struct requests *requests, struct calls_scan *scan)
{
    row_forget(scan);
    buf_clear(&scan->after);
    scan->is_walking = false;
    scan->has_walked = true;
    scan->next_at    = requests->now + (scan->has_left ? WALK_AGAIN_MS : WALK_MS);
    held_take(requests, true);
}

/* The ledger can't be asked now: those who wait come again. */
static void calls_walk_fail(struct requests *requests, struct calls_scan *scan)
{
    row_forget(scan);
    buf_clear(&scan->after);
    scan->is_walking = false;
    scan->next_at    = requests->now + WALK_AGAIN_MS;
    held_take(requests, false);
}

static void row_leave(struct requests *requests, struct calls_scan *scan)
{
    if (scan->row.read.next.len == 0 || requests->is_stopping) {
        calls_walk_end(requests, scan);
        return;
    }
    buf_clear(&scan->after);
    buf_put(&scan->after, scan->row.read.next);
    row_forget(scan);
    calls_walk_on(requests, scan);
}

static void row_deleted(struct request_write *write)
{
    struct calls_scan *scan = container_of(write, struct calls_scan, end);

    scan->has_left |= write->write.outcome != LEDGER_DONE;
    row_leave(write->requests, scan);
}

static void row_delete(struct requests *requests, struct calls_scan *scan)
{
    scan->change = (struct ledger_change){ .op = LEDGER_DELETE, .key = { ROW_CALLS, scan->row.read.rows[0].key } };
    scan->end    = (struct request_write){ .done = row_deleted, .write = { .changes = &scan->change, .count = 1 } };
    request_write_send(requests, &scan->end);
}

/* --- the calls of a row -------------------------------------------------------------------------------------------- */

/* In a cluster, whose database may have such rows from a copy, the old row stays until all is answered: a row of this start may
 * belong to another database than the old one. */
static void call_join(struct requests *requests, struct request_work *work)
{
    struct calls_scan *scan = requests->calls_scan;

    work->is_grouped = true;
    if (!requests->setup.is_alone)
        return;
    if (scan->group == NULL)
        scan->group = request_group_adopt(requests);
    request_group_join(scan->group, work);
}

/* False: there is no room for it now, or it stands in no other row while it is being answered. */
static bool call_recover(struct requests *requests, struct span key, const uint8_t hash[static 16])
{
    struct request_command found = { .way = REQUEST_SEND };
    struct channel_name   *channel;
    uint32_t               piece;

    if (!request_key_get(key, &found.user, &found.device, &found.id, &piece))
        return false;
    const struct span          name = span_head(key, found.user.len + 1 + found.device.len);
    const struct request_work *here = request_work_find(requests, name, found.id);
    if (here != NULL)
        return request_group_holds(here);
    if (requests->is_stopping || requests->works.count >= REQUESTS_UNDER_WAY_MAX ||
        !request_device_channel(requests, found.user, found.device, &channel))
        return false;
    struct request_device *device = request_device_begin(requests, name, true);
    if (device != NULL) {
        struct request_work *work = request_work_new(requests, &found, device, channel);
        memcpy(work->hash, hash, sizeof work->hash);
        call_join(requests, work);
        request_answer_unknown(work);
    }
    channel_name_unref(channel);
    return device != NULL && requests->setup.is_alone;
}

static void row_replaced(struct requests *requests, bool is_done)
{
    requests->calls_scan->has_left |= !is_done;
    row_leave(requests, requests->calls_scan);
}

/* A row that is not readable to its end stays, as does one of which a call is left: it is looked at again. */
static void row_end(struct requests *requests, struct calls_scan *scan)
{
    struct call_group *group = scan->group;

    scan->group = NULL;
    scan->has_left |= scan->is_kept;
    if (group != NULL)
        request_group_replace(group, scan->is_kept || scan->rest.len > 0 ? SPAN("") : scan->row.read.rows[0].key, row_replaced);
    else if (scan->is_kept || scan->rest.len > 0)
        row_leave(requests, scan);
    else
        row_delete(requests, scan);
}

static void ids_came(struct request_read *read);

/* Some calls after the other; once all were looked at, the row. */
static void ids_on(struct requests *requests, struct calls_scan *scan)
{
    struct span key;

    for (scan->count = 0; scan->count < IDS_COUNT && calls_row_next(&scan->rest, scan->hashes[scan->count], &key);)
        scan->keys[scan->count++] = (struct ledger_key){ ROW_REQUEST, key };
    if (scan->count == 0) {
        row_end(requests, scan);
        return;
    }
    scan->ids.came = ids_came;
    scan->ids.read = (struct ledger_read){ .way = LEDGER_GET, .keys = scan->keys, .key_count = scan->count, .bytes_max = IDS_BYTES };
    request_read_send_at(requests, &scan->ids, scan->wall);
}

/* A REQUEST row that is damaged belongs to a call that was answered. */
static void ids_take(struct requests *requests, struct calls_scan *scan, size_t at, const struct ledger_row *row)
{
    if (row->generation != 0)
        return;
    scan->is_kept |= !call_recover(requests, scan->keys[at].bytes, scan->hashes[at]);
}

/* The calls that were found already need no row of their own: the old one stays. */
static void ids_fail(struct requests *requests, struct calls_scan *scan)
{
    if (scan->group != NULL)
        request_group_disband(scan->group);
    scan->group = NULL;
    calls_walk_fail(requests, scan);
}

static void ids_came(struct request_read *read)
{
    struct calls_scan *scan     = container_of(read, struct calls_scan, ids);
    struct requests   *requests = read->requests;
    const enum rc      rc       = read->read.rc;
    const size_t       done     = rc == RC_CORRUPT ? 1 : read->read.row_count;

    for (size_t i = 0; rc == RC_OK && i < read->read.row_count; i++)
        ids_take(requests, scan, i, &read->read.rows[i]);
    ledger_read_fini(&read->read);
    read->read = (struct ledger_read){ 0 };
    if ((rc != RC_OK && rc != RC_CORRUPT) || done == 0) {
        ids_fail(requests, scan);
        return;
    }
    scan->count -= done;
    memmove(scan->keys, scan->keys + done, scan->count * sizeof scan->keys[0]);
    memmove(scan->hashes, scan->hashes + done, scan->count * sizeof scan->hashes[0]);
    if (scan->count == 0) {
        ids_on(requests, scan);
        return;
    }
    scan->ids.read = (struct ledger_read){ .way = LEDGER_GET, .keys = scan->keys, .key_count = scan->count, .bytes_max = IDS_BYTES };
    request_read_send_at(requests, &scan->ids, scan->wall);
}

/* --- a row --------------------------------------------------------------------------------------------------------- */

/* A row of this start is this node's own business; one that can't be read is left as it is. */
static bool row_is_of_use(const struct requests *requests, struct calls_scan *scan)
{
    const struct ledger_read *read = &scan->row.read;
    struct calls_place        place;

    if (read->row_count == 0 || !calls_key_get(read->rows[0].key, &place) || place.incarnation == requests->setup.self.incarnation)
        return false;
    scan->rest = read->rows[0].value;
    return calls_row_open(&scan->rest, &scan->wall);
}

static void row_came(struct request_read *read)
{
    struct calls_scan *scan     = container_of(read, struct calls_scan, row);
    struct requests   *requests = read->requests;

    if (read->read.rc != RC_OK && read->read.rc != RC_CORRUPT) {
        calls_walk_fail(requests, scan);
        return;
    }
    scan->is_kept = false;
    if (row_is_of_use(requests, scan))
        ids_on(requests, scan);
    else
        row_leave(requests, scan);
}

/* --- time ---------------------------------------------------------------------------------------------------------- */

void request_calls_tick(struct requests *requests)
{
    struct calls_scan *scan = requests->calls_scan;

    if (requests->is_stopping)
        held_take(requests, false);
    if (requests->is_stopping || requests->setup.writer->durable.store->ledger == NULL)
        return;
    if (scan == NULL) {
        scan = requests->calls_scan = calloc(1, sizeof *scan);
        must(scan != NULL);
        buf_init(&scan->after, LEDGER_KEY_BYTES_MAX);
    }
    if (scan->is_walking || requests->now < scan->next_at)
        return;
    scan->is_walking = true;
    scan->has_left   = false;
    calls_walk_on(requests, scan);
}

void request_calls_free(struct requests *requests)
{
    while (!list_is_empty(&requests->held))
        command_free(&container_of(list_pop(&requests->held), struct request_command, link)->command);
    if (requests->calls_scan == NULL)
        return;
    row_forget(requests->calls_scan);
    buf_fini(&requests->calls_scan->after);
    free(requests->calls_scan);
    requests->calls_scan = NULL;
}
