/* open_ack.c - a call acknowledges for a session, whose link is on any node, or nowhere.
 *
 * Nobody asks this node what a call has acknowledged here. So where there are other nodes it is answered once it is stored: whoever opens
 * a link of the session from then on reads it. */
#include "base/must.h"
#include "device/open_work.h"

/* A write takes fewer places than a session may have, and what a link acknowledges goes with them. */
enum { STORES_A_CALL_MAX = 64 };

static bool open_has_place(const struct open_work *work, struct channel_name *name)
{
    const struct standing_place *place = standing_place_find(work->standing, channel_name_span(name));

    return work_places_find(&work->places, name) != NULL || (place != NULL && place->is_kept && !place->is_gone);
}

void open_ack_begin(struct session_open *open)
{
    struct open_work  *work = open->work;
    struct work_places named = { 0 };

    standing_take(open);
    standing_store_new(work);
    for (size_t i = 0; i < open->named_count; i++) {
        if (open->named[i].name == NULL || !open_has_place(work, open->named[i].name)) {
            open->fault_at = i;
            work_places_free(&named);
            open_end(open, OPEN_ASTRAY);
            return;
        }
        work_places_add(&named, channel_name_ref(open->named[i].name));
    }
    work_places_sort(&named);
    work_places_free(&work->places);
    work->places = named;
    open_ask_heads(open);
}

static struct standing_place *place_of_named(const struct session_open *open, size_t i)
{
    return standing_place_find(open->work->standing, channel_name_span(open->named[i].name));
}

/* Another node has asked for the session since the rows were read, or its user has ended it by another device. */
static bool open_has_lost_session(const struct session_open *open)
{
    if (!open->work->standing->is_loaded)
        return true;
    for (size_t i = 0; i < open->named_count; i++)
        if (place_of_named(open, i) == NULL)
            return true;
    return false;
}

static bool open_is_stored(const struct session_open *open)
{
    if (open->work->standing->is_writing)
        return false;
    for (size_t i = 0; i < open->named_count; i++)
        if (place_of_named(open, i)->is_dirty)
            return false;
    return true;
}

static void open_acknowledged(struct session_open *open)
{
    for (size_t i = 0; i < open->named_count; i++) {
        const struct standing_place *place = place_of_named(open, i);
        open->named[i].epoch = standing_place_epoch(open->devices, open->work->standing, place);
        open->named[i].seq   = place->seq;
    }
    open->generation = open->work->row_generation;
    open_end(open, OPEN_DONE);
}

/* The ledger has just refused others: what was acknowledged here stays in memory until it takes it, and nobody can rely on it. */
static void open_wait_until_stored(struct session_open *open)
{
    struct devices *devices = open->devices;

    if (devices->peers == NULL || open_is_stored(open)) {
        open_acknowledged(open);
    } else if (devices->pause_ticks > 0) {
        open_end(open, open_refusal(devices->refused_with));
    } else if (open->work->store_count++ == STORES_A_CALL_MAX) {
        open_end(open, OPEN_BUSY);
    } else {
        open_store(open);
    }
}

void open_acknowledge(struct session_open *open)
{
    struct open_work *work = open->work;

    if (open_has_lost_session(open)) {
        open_try_again(open);
        return;
    }
    for (size_t i = 0; i < open->named_count; i++) {
        const struct work_place *head = work_places_find(&work->places, open->named[i].name);
        must(head != NULL);
        standing_acknowledge(open->devices, work->standing, place_of_named(open, i), head->epoch,
                             open->named[i].seq < head->seq ? open->named[i].seq : head->seq);
    }
    open_wait_until_stored(open);
}

void open_ack_stored(struct session_open *open, enum ledger_outcome outcome)
{
    if (outcome != LEDGER_DONE && outcome != LEDGER_STALE)
        open_end(open, open_refusal(outcome));
    else if (open_has_lost_session(open))
        open_try_again(open);
    else
        open_wait_until_stored(open);
}
