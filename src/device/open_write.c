/* open_write.c - what an opening writes: the places where a new session begins, the sessions that it ends, and last its own
 * row with the next generation, on the condition that nobody else has raised it. */
#include <stdlib.h>

#include "base/must.h"
#include "device/open_work.h"

enum { OPEN_TRIES = 3 };

struct open_write {
    struct device_write  device;
    struct session_open *open;
    bool                 is_session;
    size_t               count_max;
    struct buf           bytes;      /* keys and values; never grows, because changes point into it */
    struct ledger_change changes[];
};

/* --- writing ---------------------------------------------------------------------------------------------------- */

enum { CHANGE_BYTES_MAX = 512 };  /* of one key and its value */

static void open_write_free(struct open_write *write)
{
    buf_fini(&write->bytes);
    ledger_write_fini(&write->device.write);
    free(write);
}

static void open_write_drop(struct device_write *device)
{
    open_write_free(container_of(device, struct open_write, device));
}

static void open_written(struct device_write *device);

static struct open_write *open_write_new(struct session_open *open, size_t count_max)
{
    struct open_write *write = calloc(1, sizeof *write + count_max * sizeof write->changes[0]);

    must(write != NULL);
    write->open                 = open;
    write->count_max            = count_max;
    write->device.done          = open_written;
    write->device.drop          = open_write_drop;
    write->device.write.changes = write->changes;
    buf_init(&write->bytes, count_max * CHANGE_BYTES_MAX);
    must(buf_extend(&write->bytes, count_max * CHANGE_BYTES_MAX) != NULL);
    write->bytes.len = 0;
    return write;
}

static void open_write_send(struct open_write *write)
{
    if (write->device.write.count == 0) {
        open_write_free(write);
        return;
    }
    write->open->work->writes_left++;
    device_write_send(write->open->devices, &write->device, WRITE_URGENT);
}

static struct ledger_change *change_add(struct open_write *write, enum row_kind kind, struct span device,
                                        struct span channel)
{
    struct ledger_change *change = &write->changes[write->device.write.count++];
    size_t                from   = write->bytes.len;

    row_key_put(&write->bytes, write->open->user, device);
    if (channel.len > 0)
        row_key_put_third(&write->bytes, channel);
    change->key = (struct ledger_key){ (uint8_t)kind, span_of(write->bytes.at + from, write->bytes.len - from) };
    return change;
}

/* Where a session goes on the older link's node may have stored a place since the rows were read. */
static enum ledger_op begun_place_op(const struct open_write *write)
{
    const struct session_open *open = write->open;

    return open->work->is_new || open->devices->writer->durable.store->has_one_writer ? LEDGER_PUT : LEDGER_RAISE;
}

static void change_set_place(struct open_write *write, struct ledger_change *change, const struct work_place *place)
{
    size_t from = write->bytes.len;

    place_row_put(&write->bytes, &(struct place_row){ place->epoch, write->open->devices->writer->wall, place->is_kept });
    change->op         = begun_place_op(write);
    change->value      = span_of(write->bytes.at + from, write->bytes.len - from);
    change->generation = place->seq + 1;
}

static void change_set_session(struct open_write *write, struct ledger_change *change, const struct session_row *row,
                               uint64_t generation, uint64_t if_generation)
{
    size_t from = write->bytes.len;

    session_row_put(&write->bytes, row);
    change->op             = LEDGER_PUT;
    change->value          = span_of(write->bytes.at + from, write->bytes.len - from);
    change->generation     = generation;
    change->is_conditional = true;
    change->if_generation  = if_generation;
}

/* How many changes the opening writes, at most. Mostly it is one, so room for the longest write would be a waste. */
static size_t changes_at_most(const struct open_work *work)
{
    size_t count = 1 + work->other_count + (work->is_new ? work->stored.count : 0);

    for (size_t i = 0; i < work->places.count; i++)
        count += work->places.at[i].is_asked;
    return count < LEDGER_WRITE_COUNT_MAX ? count : LEDGER_WRITE_COUNT_MAX;
}

static struct open_write *write_with_room(struct session_open *open, struct open_write *write)
{
    if (write != NULL && write->device.write.count == write->count_max) {
        open_write_send(write);
        write = NULL;
    }
    return write != NULL ? write : open_write_new(open, changes_at_most(open->work));
}

/* The places where the session begins, and those that an earlier session of this name has left. */
static struct open_write *open_write_places(struct session_open *open, struct open_write *write)
{
    struct open_work *work = open->work;

    for (size_t i = 0; i < work->places.count; i++) {
        const struct work_place *place = &work->places.at[i];
        if (!place->is_asked)
            continue;
        write = write_with_room(open, write);
        change_set_place(write, change_add(write, ROW_PLACE, open->device, channel_name_span(place->name)), place);
    }
    for (size_t i = 0; work->is_new && i < work->stored.count; i++) {
        const struct work_place *place = &work->stored.at[i];
        if (work_places_find(&work->places, place->name) != NULL)
            continue;
        write = write_with_room(open, write);
        change_add(write, ROW_PLACE, open->device, channel_name_span(place->name))->op = LEDGER_DELETE;
    }
    return write;
}

static struct open_write *open_write_others(struct session_open *open, struct open_write *write)
{
    struct open_work *work = open->work;

    for (size_t i = 0; i < work->other_count; i++) {
        const struct work_device *other = &work->others[i];
        struct session_row  ended = { .since = other->row.since, .seen = other->row.seen, .from = other->row.from,
                                      .is_ended = true };
        write                     = write_with_room(open, write);
        change_set_session(write, change_add(write, ROW_SESSION, span_of(other->name, other->len), SPAN("")), &ended,
                           other->generation + 1, other->generation);
    }
    return write;
}

static uint64_t open_came_from(const struct session_open *open)
{
    if (open->way == OPEN_CURSOR)
        return open->work->row.from;
    return open->way == OPEN_NEWER ? 0 : open->generation;
}

/* Only openings change the generation of a session: its own, one at a time, and those of other devices that end it, where
 * the policy knows such. What has run out is deleted only while it is not in memory. A row that was read after a write of which
 * nobody knew is no proof: that write may still turn out to be there. */
static bool open_is_sure(const struct open_work *work)
{
    const struct devices *devices = work->open->devices;

    return work->is_of_memory && !work->is_unsettled && devices->writer->durable.store->has_one_writer && devices->limits.policy == DEVICES_ALL &&
           work->standing->is_loaded && work->standing->generation == work->row_generation;
}

static void open_write_session(struct session_open *open, struct open_write *write)
{
    struct open_work  *work = open->work;
    msec               wall = open->devices->writer->wall;
    struct session_row row  = {
        .since = work->is_new ? wall : work->row.since, .seen = wall, .from = open_came_from(open),
        .device_class = open->way == OPEN_NEWER ? open->device_class : work->row.device_class,
        .node = span_str(open->devices->node), .incarnation = open->devices->incarnation, .is_roaming = open->is_poll,
    };

    write                        = write_with_room(open, write);
    struct ledger_change *change = change_add(write, ROW_SESSION, open->device, SPAN(""));
    uint64_t              next   = work->row_generation + (open->way != OPEN_CURSOR);
    if (!work->has_row && work->is_damaged)
        next = (uint64_t)wall;  /* what the damaged row held is not known: surely less */
    change_set_session(write, change, &row, next, work->row_generation);
    change->is_conditional = work->has_row || !work->is_damaged;
    change->is_sure        = open_is_sure(work);
    work->row_generation   = next;
    work->raised           = next;
    open_take_row(work, &row, next);
    write->is_session = true;
    open_write_send(write);
}

void open_write(struct session_open *open)
{
    struct open_work *work = open->work;

    work->outcome = LEDGER_DONE;
    open_write_session(open, open_write_others(open, open_write_places(open, NULL)));
}

static bool is_worse(enum ledger_outcome outcome, enum ledger_outcome than)
{
    return outcome != LEDGER_DONE && (than == LEDGER_DONE || than == LEDGER_STALE);
}

enum open_outcome open_refusal(enum ledger_outcome outcome)
{
    if (outcome == LEDGER_NO_SPACE)
        return OPEN_NO_SPACE;
    return outcome == LEDGER_BUSY ? OPEN_BUSY : OPEN_AWAY;
}

/* What another node asked meanwhile does not wait for this opening any more: this one is to be the later one. */
void open_try_again(struct session_open *open)
{
    if (++open->work->tries == OPEN_TRIES) {
        open_end(open, OPEN_BUSY);
        return;
    }
    open->work->raised = 0;
    device_calls_go_on(open->devices, open->work->standing->node.hash);
    open_load(open);
}

/* All writes have ended. After a refusal nobody knows what stands in the ledger, so what is in memory is read anew by the
 * next one. */
static void open_settled(struct session_open *open)
{
    struct open_work *work = open->work;

    if (work->outcome == LEDGER_DONE) {
        work->is_unsettled = false;
        device_unsure_settle(open);
        standing_take(open);
        open_fence(open);
        return;
    }
    if (work->raise_outcome == LEDGER_BROKEN || work->raise_outcome == LEDGER_DONE)
        device_unsure_note(open);
    standing_forget(work->standing);
    if (work->outcome != LEDGER_STALE)
        open_end(open, open_refusal(work->outcome));
    else
        open_try_again(open);  /* another node was faster */
}

static void open_written(struct device_write *device)
{
    struct open_write   *write = container_of(device, struct open_write, device);
    struct session_open *open  = write->open;
    struct open_work    *work  = open->work;

    if (is_worse(device->write.outcome, work->outcome))
        work->outcome = device->write.outcome;
    if (write->is_session) {
        work->epoch         = device->write.epoch;
        work->raise_outcome = device->write.outcome;
    }
    open_write_free(write);
    must(work->writes_left > 0);
    if (--work->writes_left == 0)
        open_settled(open);
}
