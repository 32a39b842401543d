/* device_places.c - links that end, what clients have acknowledged, and how it is stored: the places of a session that
 * have moved go into one write, and the writes of many sessions into one batch. */
#include <stdlib.h>

#include "base/must.h"
#include "device/devices_priv.h"
#include "device/event_outbox.h"

/* --- what comes ------------------------------------------------------------------------------------------------- */

bool standing_acknowledge(struct devices *devices, struct standing *standing, struct standing_place *place,
                          uint64_t epoch, uint64_t seq)
{
    bool is_other = epoch != standing_place_epoch(devices, standing, place);

    if (!is_other && seq <= place->seq)
        return false;
    if (is_other) {
        standing_place_set_epoch(devices, standing, place, epoch);
        place->is_new = true;
    }
    place->seq      = seq;
    place->is_dirty = place->is_moved = true;
    counter_add(&devices->counters.acks, 1);
    standing_settle(devices, standing);
    return true;
}

/* A call may acknowledge for the session on another node, in the same generation. So a row that nobody has read here is set only if
 * there is none; else it is looked at first (place_found()). */
static struct standing_place *place_add_unread(struct standing *standing, struct channel_name *name)
{
    struct standing_place *place = standing_place_add(standing, name);

    place->is_unread = true;
    return place;
}

static void place_begin(struct devices *devices, struct standing *standing, const struct session_ack *ack)
{
    struct standing_place *place = place_add_unread(standing, ack->name);

    standing_place_set_epoch(devices, standing, place, ack->epoch);
    place->seq    = ack->seq;
    place->is_new = place->is_dirty = true;
    standing_settle(devices, standing);
}

static void place_keep(struct devices *devices, struct standing *standing, struct standing_place *place,
                       const struct session_ack *ack)
{
    if (place != NULL && place->is_kept && !place->is_gone && standing_place_epoch(devices, standing, place) != 0)
        return;
    if (place == NULL)
        place = place_add_unread(standing, ack->name);
    if (place->is_gone || standing_place_epoch(devices, standing, place) == 0) {
        standing_place_set_epoch(devices, standing, place, ack->epoch);
        place->seq = ack->seq;
    }
    place->is_kept  = true;
    place->is_gone  = false;
    place->is_new   = true;
    place->is_dirty = true;
    place->is_unread = true;
    standing_settle(devices, standing);
}

static void place_drop(struct devices *devices, struct standing *standing, struct standing_place *place)
{
    if (place == NULL || !place->is_kept)
        return;
    place->is_gone  = true;
    place->is_dirty = true;
    standing_settle(devices, standing);
}

/* The loop of the older link tells what was acknowledged on it before it is told to let the link go. */
static bool ack_is_current(const struct standing *standing, uint64_t generation)
{
    bool has_link = standing->home != NULL || standing->is_fencing;

    return generation == standing->generation ||
           (has_link && standing->link_back < LINK_LOST && generation + standing->link_back == standing->generation);
}

static void take_ack(struct devices *devices, const struct session_ack *ack)
{
    struct standing *standing = ack->standing;

    if (!ack_is_current(standing, ack->generation)) {
        counter_add(&devices->counters.stale_acks, 1);
        return;
    }
    struct standing_place *place = standing_place_find(standing, channel_name_span(ack->name));
    switch (ack->kind) {
    case ACK_PLACE:
        if (place == NULL && span_eq(span_str(ack->name->space->name), SPAN("group")))
            place = place_add_unread(standing, ack->name);  /* the user has joined it since */
        if (place != NULL && !place->is_gone)
            standing_acknowledge(devices, standing, place, ack->epoch, ack->seq);
        break;
    case ACK_BEGIN:
        if (place == NULL)
            place_begin(devices, standing, ack);
        break;
    case ACK_KEEP: place_keep(devices, standing, place, ack); break;
    case ACK_DROP: place_drop(devices, standing, place); break;
    }
}

void device_acks_take(struct command *command, struct writer *writer)
{
    struct session_acks *acks = container_of(command, struct session_acks, command);

    (void)writer;
    for (size_t i = 0; i < acks->count; i++)
        take_ack(acks->devices, &acks->acks[i]);
    command_free(command);
}

/* What was handed to the link, and is not acknowledged now that it has ended, comes again. */
static void count_redeliveries(struct devices *devices, const struct session_close *close)
{
    for (size_t i = 0; i < close->delivered_count; i++) {
        const struct session_place  *told  = &close->delivered[i];
        const struct standing_place *place = standing_place_find(close->standing, channel_name_span(told->name));
        if (place != NULL && standing_place_epoch(devices, close->standing, place) == told->epoch && place->seq < told->seq)
            counter_add(&devices->counters.redeliveries, told->seq - place->seq);
    }
}

void device_close_take(struct command *command, struct writer *writer)
{
    struct session_close *close    = container_of(command, struct session_close, command);
    struct devices       *devices  = close->devices;
    struct standing      *standing = close->standing;

    must(standing->handle_count > 0);
    standing->handle_count--;
    count_redeliveries(devices, close);
    if (standing->home != NULL && standing->key == close->key) {
        standing->home          = NULL;
        standing->key           = 0;
        standing->seen          = writer->wall;
        standing->is_between    = close->is_between;
        standing->is_seen_dirty = standing->is_loaded && !close->is_between;
        counter_sub(&devices->counters.linked, 1);
        standing_part(devices, standing);
    }
    standing_settle(devices, standing);
    command_free(command);
}

/* --- how it is stored ------------------------------------------------------------------------------------------- */

enum {
    PLACES_A_WRITE_MAX   = LEDGER_WRITE_COUNT_MAX - 1,  /* the session's own row may be among them */
    TOLD_A_WRITE_MAX     = PLACES_A_WRITE_MAX / 2,      /* … where each place may have an event's row beside it */
    SESSIONS_A_BATCH_MAX = 256,
};

struct places_write {
    struct device_write  device;
    struct standing     *standing;
    struct buf           bytes;       /* keys and values; never grows once changes point into it */
    uint64_t             generation;
    size_t               count;       /* of places; their changes are the first ones */
    struct event_row    *events;      /* owned, as many as places; NULL: nobody asks for them */
    size_t               event_count;
    bool                 has_seen;
    struct ledger_change changes[];
};

static void places_write_free(struct places_write *write)
{
    buf_fini(&write->bytes);
    ledger_write_fini(&write->device.write);
    free(write->events);
    free(write);
}

static void places_write_drop(struct device_write *device)
{
    places_write_free(container_of(device, struct places_write, device));
}

/* What was not stored is to be stored later. The places may have moved since, then they are dirty anyway. */
static void places_again(struct standing *standing, const struct places_write *write)
{
    for (size_t i = 0; i < write->count; i++) {
        struct span            key   = write->changes[i].key.bytes;
        struct standing_place *place = standing_place_find(standing, row_key_last(key));
        if (place == NULL)
            continue;
        place->is_dirty = true;
        place->is_moved |= write->events != NULL && write->events[i].kind != 0;
        if (write->changes[i].op == LEDGER_PUT)
            place->is_new = true;
        if (write->changes[i].is_conditional)
            place->is_unread = true;
    }
    standing->is_seen_dirty |= write->has_seen;
}

/* Who has raised the generation? A row that is behind, or not there, was lost by its database; and one that names this
 * node was raised by an opening that was refused because nobody knew what became of it. */
static enum fence_reason refused_by(const struct devices *devices, const struct places_write *write)
{
    const struct ledger_row *now = &write->device.write.now;
    struct session_row       row;

    if (now->generation <= write->generation || !session_row_get(now->value, &row))
        return FENCE_ASTRAY;
    return row.node.len > 0 && devices_have_link_of(devices, &row) ? FENCE_ASTRAY : FENCE_REPLACED;
}

/* The row of the session says another generation. Another node has taken the session over; or, where there is none, the
 * raise of an opening that was refused because nobody knew what became of it: then the link and its places are still good,
 * and the next opening reads the row. */
static void places_refused(struct devices *devices, struct standing *standing, struct places_write *write)
{
    if (devices->writer->durable.store->has_one_writer) {
        write->has_seen = false;
        places_again(standing, write);
    } else {
        standing_fence(devices, standing, refused_by(devices, write), NULL);
        standing_part(devices, standing);
        standing_yield(standing);
        standing->is_yielded |= write->count > 0;
        devices->may_be_asked_until = devices->writer->wall + PEER_FENCE_WAIT_MS;
    }
    standing_forget(standing);
}

/* There is a row where nobody here knew of one: what it says counts, if it is further. */
static void place_found(struct standing *standing, const struct places_write *write)
{
    const struct ledger_row   *row   = &write->device.write.now;
    struct standing_place     *place = standing_place_find(standing, row_key_last(write->changes[write->device.write.stale_at].key.bytes));
    struct place_row           found;

    if (place == NULL)
        return;
    place->is_unread = false;
    if (!place_row_get(row->value, &found) || found.epoch != standing_place_epoch(write->device.devices, standing, place))
        return;
    if (row->generation > place->seq + 1)
        place->seq = row->generation - 1;
    place->is_new = place->is_kept != found.is_kept;
}

static bool is_refused_by_place(const struct places_write *write)
{
    return write->device.write.outcome == LEDGER_STALE && write->device.write.stale_at < write->count;
}

static void places_tell_events(struct devices *devices, const struct places_write *write)
{
    for (size_t i = 0; write->events != NULL && i < write->count; i++)
        if (write->events[i].kind != 0)
            event_outbox_send(devices->events, &write->events[i], 0);
}

static void places_written(struct device_write *device)
{
    struct places_write *write    = container_of(device, struct places_write, device);
    struct devices      *devices  = device->devices;
    struct standing     *standing = write->standing;
    enum ledger_outcome  outcome  = device->write.outcome;

    standing->is_writing = false;
    if (device->write.outcome == LEDGER_DONE) {
        if (devices->have_loops_ended && devices->peers != NULL)
            devices->may_be_asked_until = devices->writer->wall + PEER_FENCE_WAIT_MS;
        counter_add(&devices->counters.places_stored, write->count);
        places_tell_events(devices, write);
        standing_take_gone(standing);
    } else if (is_refused_by_place(write)) {
        places_again(standing, write);
        place_found(standing, write);
    } else if (device->write.outcome == LEDGER_STALE && write->generation == standing->generation) {
        places_refused(devices, standing, write);
    } else {
        places_again(standing, write);
    }
    places_write_free(write);
    if (standing->op != NULL)
        device_open_go_on(standing, outcome);
    else
        standing_settle(devices, standing);
}

/* The key of a place is the session's and the channel; that of the session is its beginning. */
static struct span write_put_key(struct places_write *write, struct span channel)
{
    size_t from = write->bytes.len;

    row_key_put(&write->bytes, standing_user(write->standing), standing_device(write->standing));
    if (channel.len > 0)
        row_key_put_third(&write->bytes, channel);
    return span_of(write->bytes.at + from, write->bytes.len - from);
}

/* Where no other process writes, what is in memory is at least what is stored, and the row need not be looked at. */
static enum ledger_op place_op(const struct standing_place *place, bool has_one_writer)
{
    if (place->is_gone)
        return LEDGER_DELETE;
    return place->is_new || has_one_writer ? LEDGER_PUT : LEDGER_RAISE;
}

static void write_put_place(const struct devices *devices, struct places_write *write, struct standing_place *place,
                            bool has_one_writer)
{
    struct ledger_change *change = &write->changes[write->count++];
    struct span           key    = write_put_key(write, channel_name_span(place->name));
    size_t                from   = write->bytes.len;
    uint64_t              epoch  = standing_place_epoch(devices, write->standing, place);

    place_row_put(&write->bytes, &(struct place_row){ epoch, devices->writer->wall, place->is_kept });
    *change = (struct ledger_change){
        .op         = place_op(place, has_one_writer),
        .key        = { ROW_PLACE, key },
        .value      = span_of(write->bytes.at + from, write->bytes.len - from),
        .generation = place->seq + 1,
    };
    if (place->is_gone)
        change->value = SPAN("");
    change->is_conditional = place->is_unread && !has_one_writer && !place->is_gone;
    place->is_dirty = place->is_new = place->is_unread = false;
}

/* The event of the place that was put last, in the same commit. Behind the changes of all places. */
static void write_put_event(struct devices *devices, struct places_write *write, struct standing_place *place, size_t place_count)
{
    const struct event_facts facts = { .kind = EVENT_KIND_ACKNOWLEDGED, .user = standing_user(write->standing),
                                       .device = standing_device(write->standing), .channel = channel_name_span(place->name),
                                       .seq = place->seq };

    if (write->events == NULL || !place->is_moved || place->is_gone || place->seq == 0)
        return;
    event_row_prepare(devices->events, &write->events[write->count - 1], facts.user, &facts, false,
                      &write->changes[place_count + write->event_count++]);
}

/* The row of the session: only if no other node has taken it over. Where no other node can have, it is written only to
 * store when the session was seen. */
static void write_put_session(struct devices *devices, struct places_write *write, bool has_one_writer)
{
    struct standing *standing = write->standing;

    if (has_one_writer && !standing->is_seen_dirty)
        return;
    struct span key  = write_put_key(write, SPAN(""));
    size_t      from = write->bytes.len;
    session_row_put(&write->bytes, &(struct session_row){
        .since = standing->since, .seen = standing->seen, .from = standing_from(standing),
        .device_class = standing_class(standing), .incarnation = devices->incarnation,
        .node = standing->home == NULL ? SPAN("") : span_str(devices->node), .is_roaming = standing->is_roaming,
    });
    write->changes[write->device.write.count - 1] = (struct ledger_change){
        .op             = standing->is_seen_dirty ? LEDGER_PUT : LEDGER_CHECK,
        .key            = { ROW_SESSION, key },
        .value          = span_of(write->bytes.at + from, write->bytes.len - from),
        .generation     = standing->generation,
        .is_conditional = true,
        .if_generation  = standing->generation,
        .if_epoch       = standing_life(devices, standing),
    };
    write->has_seen         = standing->is_seen_dirty;
    standing->is_seen_dirty = false;
}

static void standing_count_dirty(const struct devices *devices, const struct standing *standing, size_t count_max,
                                 size_t *ret_count, size_t *ret_bytes)
{
    size_t per_key = standing_user(standing).len + standing_device(standing).len + 2;

    *ret_count = 0;
    *ret_bytes = per_key + 2 + 24 + 9 + strlen(devices->node) + standing_class(standing).len;
    for (uint32_t i = 0; i < standing->place_count && *ret_count < count_max; i++) {
        if (!standing->places[i].is_dirty)
            continue;
        *ret_count += 1;
        *ret_bytes += per_key + standing->places[i].name->len + 2 + 16;
    }
}

static struct places_write *places_write_new(struct devices *devices, struct standing *standing, bool wants_events, size_t *ret_count)
{
    size_t bytes;

    standing_count_dirty(devices, standing, wants_events ? TOLD_A_WRITE_MAX : PLACES_A_WRITE_MAX, ret_count, &bytes);
    size_t               changes = *ret_count * (wants_events ? 2 : 1) + 1;
    struct places_write *write   = calloc(1, sizeof *write + changes * sizeof write->changes[0]);
    must(write != NULL);
    write->standing             = standing;
    write->generation           = standing->generation;
    write->device.done          = places_written;
    write->device.drop          = places_write_drop;
    write->device.write.changes = write->changes;
    buf_init(&write->bytes, bytes);
    buf_put(&write->bytes, SPAN(""));
    must(buf_extend(&write->bytes, bytes) != NULL);
    write->bytes.len = 0;
    if (wants_events && *ret_count > 0) {
        write->events = calloc(*ret_count, sizeof write->events[0]);
        must(write->events != NULL);
    }
    return write;
}

static void standing_store(struct devices *devices, struct standing *standing)
{
    bool   has_one_writer = devices->writer->durable.store->has_one_writer;
    size_t count;
    struct places_write *write = places_write_new(devices, standing, event_outbox_wants(devices->events, EVENT_KIND_ACKNOWLEDGED),
                                                  &count);

    for (uint32_t i = 0; i < standing->place_count && write->count < count; i++) {
        if (!standing->places[i].is_dirty)
            continue;
        write_put_place(devices, write, &standing->places[i], has_one_writer);
        write_put_event(devices, write, &standing->places[i], count);
        standing->places[i].is_moved = false;
    }
    write->device.write.count = count + write->event_count + (!has_one_writer || standing->is_seen_dirty);
    must(write->device.write.count > 0);
    write_put_session(devices, write, has_one_writer);
    standing->is_writing = true;
    device_write_send(devices, &write->device, WRITE_LAZY);
    standing_settle(devices, standing);
}

static bool may_store(const struct devices *devices)
{
    /* What waits while a batch is under way can still move, and is then stored once. */
    return devices->batch == NULL && list_is_empty(&devices->lazy);
}

void device_places_store(struct devices *devices)
{
    if (!may_store(devices))
        return;
    for (size_t count = 0; count < SESSIONS_A_BATCH_MAX && !near_list_is_empty(&devices->lists->dirty); count++)
        standing_store(devices, container_of(near_list_next(&devices->lists->dirty), struct standing, link));
}

void device_places_store_awaited(struct devices *devices)
{
    struct standing *standing;

    if (!may_store(devices))
        return;
    for (size_t count = 0; count < SESSIONS_A_BATCH_MAX && (standing = device_open_first_unwritten(devices)) != NULL; count++)
        standing_store(devices, standing);
}
