/* request_recover.c - CALL rows whose node is gone: a scan finds them, at the start, each SCAN_MS, and in a cluster each time that
 * the nodes have changed. One scan at the start is not enough even for a node alone: what a node wrote before its end may become
 * visible later, in a database that still commits it, or when a disk that failed to sync works again.
 *
 * A row is left by a node that stopped or crashed with the request under way. What the back end has done is not known. So
 * at_most_once is answered 504 with `Longwire-Outcome: unknown`, in an append that deletes the row. Of at_least_once the row is
 * taken over first, by a conditional put, and the back end is called again with the same key.
 *
 * In a cluster a node is gone when its lease has run out, or when nobody knows it any more. A node that has just come may be
 * unknown here, too, and one that was lost may be back: a row that is younger than what is known of its node has to be older than
 * UNKNOWN_MS. */
#include <stdlib.h>

#include "base/must.h"
#include "device/row.h"
#include "device/row_kind.h"
#include "uplink/requests_priv.h"

enum {
    SCAN_MS          = 30000,
    SCAN_AGAIN_MS    = 1000,    /* after the ledger could not be asked, or while much is being recovered */
    SCAN_ROWS        = 200,
    SCAN_BYTES_MAX   = 1024 * 1024,
    UNKNOWN_MS       = 60000,
    TAKE_AGAIN_TICKS = 10,
};

struct request_scan {
    struct request_read read;
    struct buf          after;      /* where the next page begins; empty: at the first row */
    bool                is_busy;
    bool                has_left;   /* … and left out a row, because its client asks for it just now */
    bool                has_others; /* … and met a row that this start has not written */
    uint64_t            seen;       /* version of the registry … */
    uint64_t            living;     /* … and the sum of the incarnations that live by it */
    msec                next_at;
};

/* --- is its node gone? ------------------------------------------------------------------------------------------ */

static bool is_gone(const struct requests *requests, const struct call_row *row)
{
    const struct registry *registry = requests->setup.port->registry(requests->setup.ctx);
    struct node_id         id       = { .incarnation = row->incarnation };

    if (row->incarnation == requests->setup.self.incarnation)
        return false;
    if (registry == NULL || span_eq(row->node, span_str(requests->setup.self.name)))
        return true;
    if (row->node.len > NODE_RECORD_NAME_MAX || registry_find_id(registry, &requests->setup.self) == NULL)
        return false;  /* what is known of the nodes is too little */
    memcpy(id.name, row->node.at, row->node.len);
    const struct registry_node *node = registry_find_id(registry, &id);
    if (node != NULL && node->state != NODE_LOST)
        return false;
    return (node != NULL && row->since <= node->lost_at) || row->since + UNKNOWN_MS < requests->setup.writer->wall;
}

/* --- at_least_once: the request, piece by piece ----------------------------------------------------------------- */

/* Was it written by the try before, whose outcome was not known? */
static bool is_taken_already(const struct request_work *work, const struct ledger_write *write)
{
    struct call_row row;

    return write->outcome == LEDGER_STALE && write->now.generation == work->generation + 1 &&
           call_row_get(write->now.value, &row) && row.incarnation == work->requests->setup.self.incarnation;
}

static void take_written(struct request_write *write)
{
    struct request_work *work = container_of(write, struct request_work, write);

    if (write->write.outcome == LEDGER_DONE || is_taken_already(work, &write->write)) {
        counter_add(&work->requests->counters.resumed, 1);
        work->generation++;
        request_call_begin(work);
    } else if (write->write.outcome == LEDGER_STALE) {
        request_work_free(work);
    } else {
        request_work_later(work, TAKE_AGAIN_TICKS);
    }
}

static void put_take_over(struct request_work *work)
{
    struct call_row row = { .is_at_least_once = true, .claim = work->claim, .since = work->since, .pieces = work->pieces,
                            .node = span_str(work->requests->setup.self.name),
                            .incarnation = work->requests->setup.self.incarnation };

    memcpy(row.hash, work->hash, sizeof row.hash);
    buf_clear(&work->rows);
    call_row_put(&work->rows, &row);
    ledger_write_fini(&work->write.write);
    work->changes[0] = (struct ledger_change){
        .op = LEDGER_PUT, .key = { ROW_CALL, work_key(work) }, .value = buf_span(&work->rows),
        .generation = work->generation + 1, .is_conditional = true, .if_generation = work->generation,
    };
    work->write = (struct request_write){ .done = take_written, .write = { .changes = work->changes, .count = 1 } };
    request_write_send(work->requests, &work->write);
}

/* What the pieces say, made a call. False: they can't be read. */
static bool take_prepare(struct request_work *work)
{
    struct request_command *command = request_bytes_get(buf_span(&work->object), work->user, work->name, work->id);

    buf_clear(&work->object);
    if (command == NULL)
        return false;
    request_call_prepare(work, command);
    command_free(&command->command);
    return true;
}

static void pieces_came(struct request_read *read)
{
    struct request_work *work   = container_of(read, struct request_work, read);
    uint32_t             count  = 0;
    bool                 is_bad = read->read.rc == RC_CORRUPT;

    for (; count < read->read.row_count && read->read.rc == RC_OK; count++) {
        is_bad = is_bad || read->read.rows[count].generation == 0;
        buf_put(&work->object, read->read.rows[count].value);
    }
    ledger_read_fini(&read->read);
    read->read = (struct ledger_read){ 0 };
    work->found_seq += count;  /* pieces that are here */
    if (is_bad)
        request_answer_problem(work, 504, "what became of the request is not known, and it can't be read any more", "unknown");
    else if (count == 0)
        request_work_later(work, TAKE_AGAIN_TICKS);
    else
        request_take_on(work);
}

static void pieces_read(struct request_work *work)
{
    const uint32_t from = (uint32_t)work->found_seq;

    free(work->keys);
    work->keys = calloc(work->pieces - from, sizeof work->keys[0]);
    must(work->keys != NULL);
    buf_clear(&work->rows);
    buf_extend(&work->rows, (work->pieces - from) * (work->key_len + 8));
    work->rows.len = 0;
    for (uint32_t piece = from + 1; piece <= work->pieces; piece++) {
        size_t begin = work->rows.len;
        request_piece_key_put(&work->rows, work->user, work->name, work->id, piece);
        work->keys[piece - from - 1] = (struct ledger_key){ ROW_CALL, span_of(work->rows.at + begin, work->rows.len - begin) };
    }
    work->read.came = pieces_came;
    work->read.read = (struct ledger_read){ .way = LEDGER_GET, .keys = work->keys, .key_count = work->pieces - from,
                                            .bytes_max = SCAN_BYTES_MAX };
    request_read_send(work->requests, &work->read);
}

void request_take_on(struct request_work *work)
{
    if (work->found_seq < work->pieces)
        pieces_read(work);
    else if (work->call.fetch == NULL && !take_prepare(work))
        request_answer_problem(work, 504, "what became of the request is not known, and it can't be read any more", "unknown");
    else
        put_take_over(work);
}

/* --- a row ------------------------------------------------------------------------------------------------------ */

bool request_device_channel(const struct requests *requests, struct span user, struct span device, struct channel_name **ret)
{
    struct buf text;

    buf_init(&text, 512);
    buf_put_lit(&text, "device:");
    buf_put(&text, user);
    buf_putc(&text, '/');
    buf_put(&text, device);
    bool is_name = channel_name_new(requests->setup.spaces, requests->setup.hash_key, buf_span(&text), ret) == CHANNEL_NAME_OK;
    buf_fini(&text);
    return is_name;
}

void request_answer_unknown(struct request_work *work)
{
    counter_add(&work->requests->counters.unknown, 1);
    request_answer_problem(work, 504, "the server that called the back end is gone; what the back end did is not known",
                           "unknown");
}

static void recover(struct request_work *work, const struct call_row *row, uint64_t generation)
{
    work->claim            = row->claim;
    work->generation       = generation;
    work->pieces           = row->pieces;
    work->since            = row->since;
    work->is_at_least_once = row->is_at_least_once;
    work->stage            = REQUEST_TAKING;
    memcpy(work->hash, row->hash, sizeof work->hash);
    if (work->pieces > 0) {
        request_take_on(work);
        return;
    }
    request_answer_unknown(work);
}

/* A piece is passed over. False: there is no room for another one now. */
static bool scan_look(struct requests *requests, const struct ledger_row *row)
{
    struct request_command found = { .way = REQUEST_SEND };
    struct call_row        call;
    struct channel_name   *channel;
    uint32_t               piece;

    const bool is_key = request_key_get(row->key, &found.user, &found.device, &found.id, &piece);

    if (is_key && piece != 0)
        return true;
    const bool is_readable = is_key && call_row_get(row->value, &call);
    requests->scan->has_others |= !is_readable || call.incarnation != requests->setup.self.incarnation;
    if (!is_readable || !is_gone(requests, &call))
        return true;
    struct request_work *work = request_work_find(requests, span_head(row->key, found.user.len + 1 + found.device.len), found.id);
    if (work != NULL) {
        const bool is_free = request_follow_end(work);
        requests->scan->has_left |= !is_free;
        if (is_free)
            recover(work, &call, row->generation);
        return true;
    }
    if (requests->works.count >= REQUESTS_UNDER_WAY_MAX)
        return false;
    if (!request_device_channel(requests, found.user, found.device, &channel))
        return true;
    struct request_device *device = request_device_begin(requests, span_head(row->key, found.user.len + 1 + found.device.len), true);
    if (device != NULL)
        recover(request_work_new(requests, &found, device, channel), &call, row->generation);
    channel_name_unref(channel);
    return device != NULL;
}

/* --- the walk --------------------------------------------------------------------------------------------------- */

static void scan_keep_place(struct request_scan *scan, struct span place)
{
    struct buf kept;

    buf_init(&kept, LEDGER_KEY_BYTES_MAX);
    buf_put(&kept, place);
    buf_fini(&scan->after);
    scan->after = kept;
}

static void scan_came(struct request_read *read)
{
    struct request_scan *scan     = container_of(read, struct request_scan, read);
    struct requests     *requests = read->requests;
    bool                 is_full  = false;

    scan->is_busy = false;
    scan->has_others |= read->read.rc != RC_OK;
    for (size_t i = 0; i < read->read.row_count && !is_full && !requests->is_stopping; i++) {
        is_full = !scan_look(requests, &read->read.rows[i]);
        if (!is_full)
            scan_keep_place(scan, read->read.rows[i].key);
    }
    if (is_full || (read->read.rc != RC_OK && read->read.next.len == 0)) {
        scan->next_at = requests->now + SCAN_AGAIN_MS;
    } else if (read->read.next.len > 0) {
        scan_keep_place(scan, read->read.next);
    } else {
        buf_clear(&scan->after);
        requests->are_calls_known |= !scan->has_others && !requests->is_stopping;
        scan->next_at    = requests->now + (scan->has_left ? SCAN_AGAIN_MS : SCAN_MS);
        scan->has_left   = false;
        scan->has_others = false;
    }
    ledger_read_fini(&read->read);
    read->read = (struct ledger_read){ 0 };
}

static void scan_ask(struct requests *requests, struct request_scan *scan)
{
    scan->is_busy   = true;
    scan->read.came = scan_came;
    scan->read.read = (struct ledger_read){ .way = LEDGER_SCAN, .kind = ROW_CALL, .prefix = SPAN(""),
                                            .after = buf_span(&scan->after), .limit = SCAN_ROWS, .bytes_max = SCAN_BYTES_MAX };
    request_read_send(requests, &scan->read);
}

static uint64_t living_sum(const struct registry *registry)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < registry->count; i++)
        if (registry->nodes[i].state != NODE_LOST)
            sum += registry->nodes[i].record.id.incarnation;
    return sum;
}

/* Other nodes live than before: the walk begins soon. */
static void scan_note_nodes(struct requests *requests, struct request_scan *scan, const struct registry *registry)
{
    if (registry->version == scan->seen)
        return;
    uint64_t living = living_sum(registry);
    scan->seen      = registry->version;
    if (living != scan->living && scan->next_at > requests->now + SCAN_AGAIN_MS)
        scan->next_at = requests->now + SCAN_AGAIN_MS;
    scan->living = living;
}

static bool scan_is_due(struct requests *requests, struct request_scan *scan)
{
    const struct registry *registry = requests->setup.port->registry(requests->setup.ctx);

    if (registry != NULL)
        scan_note_nodes(requests, scan, registry);
    return requests->now >= scan->next_at;
}

void request_scan_tick(struct requests *requests)
{
    if (requests->setup.writer->durable.store->ledger == NULL)
        return;
    if (requests->scan == NULL) {
        requests->scan = calloc(1, sizeof *requests->scan);
        must(requests->scan != NULL);
        buf_init(&requests->scan->after, LEDGER_KEY_BYTES_MAX);
    }
    if (!requests->scan->is_busy && scan_is_due(requests, requests->scan))
        scan_ask(requests, requests->scan);
}

void request_scan_free(struct requests *requests)
{
    if (requests->scan == NULL)
        return;
    must(!requests->scan->is_busy);
    buf_fini(&requests->scan->after);
    free(requests->scan);
    requests->scan = NULL;
}
