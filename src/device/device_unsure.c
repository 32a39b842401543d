/* device_unsure.c - raises of which nobody knows whether they were written (LEDGER_BROKEN). The opener is refused, and nobody was asked what was
 * acknowledged on the older link. If the raise was written its row names this node:
 *
 *     generation   1            2                3
 *     row names    A            B                C
 *                  the link     perhaps: B is    C has read 2, and asks B, which asks A and tells on. Or B opens
 *                               refused          the session itself: it reads its own name, and asks A
 *
 * So this node remembers whom such a raise replaces (docs/decisions/0183). Nobody is asked before somebody has read the row: until then
 * nobody knows whether the older link has to go. Whoever is asked on behalf of another node is asked with the lowest generation of the raise, which
 * is below that of the question: so chains of such raises end. */
#include <stdlib.h>

#include "base/must.h"
#include "device/open_work.h"

enum {
    UNSURE_MS          = 3600000, /* until the device comes again: mostly that is soon after the database is back */
    UNSURE_TOLD_MS     = 60000, /* whoever asked asks again within seconds */
    UNSURE_REPLACED_MS = 10000, /* longer than an opening on another node takes */
};

struct unsure_raise {
    struct list            in_devices;
    struct channel_name   *channel;    /* the session's; owns a reference */
    uint32_t               hash;       /* of the user */
    msec                   since;
    uint64_t               low, high;  /* the generations that it may have: if the next one was not known either, there are several */
    msec                   until;      /* by the wall clock */
    struct session_row     before;     /* node, incarnation, is_roaming, seen */
    char                   before_node[DEVICE_NODE_BYTES_MAX];
    struct peer_fence_ask *ask;        /* under way on behalf of another node; NULL: none */
    bool                   has_told;
    size_t                 place_count;
    struct buf             places;     /* … this, as in an answer */
};

/* --- the list --------------------------------------------------------------------------------------------------- */

static struct unsure_raise *raise_at(const struct list *at)
{
    return container_of(at, struct unsure_raise, in_devices);
}

static void raise_free(struct devices *devices, struct unsure_raise *raise)
{
    if (raise->ask != NULL)
        raise->ask->unsure = NULL;
    list_take(&raise->in_devices);
    devices->unsure_count--;
    channel_name_unref(raise->channel);
    buf_fini(&raise->places);
    free(raise);
}

static struct unsure_raise *raise_new(struct devices *devices, const struct standing *standing)
{
    if (devices->unsure_count == DEVICE_UNSURE_MAX)
        raise_free(devices, raise_at(devices->unsure.next));
    struct unsure_raise *raise = calloc(1, sizeof *raise);
    must(raise != NULL);
    raise->channel = channel_name_ref(standing->channel);
    raise->hash    = standing->node.hash;
    buf_init(&raise->places, FENCE_ANSWER_BYTES_MAX);
    list_push(&devices->unsure, &raise->in_devices);
    devices->unsure_count++;
    return raise;
}

static bool raise_is_of(const struct unsure_raise *raise, uint32_t hash, const struct channel_name *channel, msec since)
{
    return raise->hash == hash && raise->since == since && channel_name_eq(raise->channel, channel);
}

static bool raise_has(const struct unsure_raise *raise, uint64_t generation)
{
    return raise->low <= generation && generation <= raise->high;
}

/* The one that may have this generation. */
static struct unsure_raise *raise_with(const struct devices *devices, const struct standing *standing, msec since, uint64_t generation)
{
    for (const struct list *at = devices->unsure.prev; at != &devices->unsure; at = at->prev) {
        struct unsure_raise *raise = raise_at(at);
        if (raise_is_of(raise, standing->node.hash, standing->channel, since) && raise_has(raise, generation))
            return raise;
    }
    return NULL;
}

/* --- an opening here -------------------------------------------------------------------------------------------- */

/* Is the link one of this start of this node? Rows name no node that is not one of a cluster. */
static bool is_own_link(const struct devices *devices, const struct session_row *row)
{
    return devices_have_link_of(devices, row) && (row->node.len > 0 || devices->peers == NULL);
}

/* A poll raises nothing. A session without a link has stored all, and a link of an earlier start of this node is gone. */
static bool replaces_somebody(const struct session_open *open, const struct session_row *before)
{
    return !open->devices->writer->durable.store->has_one_writer && open->way != OPEN_CURSOR &&
           (is_own_link(open->devices, before) || device_peer_needs_asking(open->devices, before));
}

void device_unsure_note(struct session_open *open)
{
    struct devices     *devices = open->devices;
    struct open_work   *work    = open->work;
    struct session_row *before  = work->is_replaced ? &work->replaced : &work->before;

    if (!replaces_somebody(open, before))
        return;
    struct unsure_raise *raise = work->is_replaced ? raise_with(devices, work->standing, work->row.since, work->read_generation) : NULL;
    if (raise == NULL) {
        raise       = raise_new(devices, work->standing);
        raise->low  = work->is_replaced ? work->replaced_below : work->raised;
        row_keep_link(&raise->before, before, raise->before_node);
    }
    raise->since = work->row.since;
    raise->high  = work->raised > raise->high ? work->raised : raise->high;
    raise->until = devices->writer->wall + UNSURE_MS;
}

void device_unsure_find(struct open_work *work)
{
    const struct devices *devices = work->open->devices;

    if (devices->unsure_count == 0 || !is_own_link(devices, &work->before))
        return;
    const struct unsure_raise *raise = raise_with(devices, work->standing, work->row.since, work->read_generation);
    if (raise == NULL)
        return;
    work->is_replaced    = true;
    work->replaced_below = raise->low;
    row_keep_link(&work->replaced, &raise->before, work->replaced_node);
}

/* The opening asks whom the row's raise replaces; and a raise with the number of this one was not written. Any other one was not either, or
 * another node has read it and replaced it: that node's question may still be under way. */
void device_unsure_settle(struct session_open *open)
{
    struct devices         *devices = open->devices;
    const struct open_work *work    = open->work;
    const msec              soon    = devices->writer->wall + UNSURE_REPLACED_MS;

    for (struct list *at = devices->unsure.next, *next; at != &devices->unsure; at = next) {
        struct unsure_raise *raise = raise_at(at);
        next                       = at->next;
        if (!raise_is_of(raise, work->standing->node.hash, work->standing->channel, work->row.since))
            continue;
        if (raise_has(raise, work->raised) || (work->is_replaced && raise_has(raise, work->read_generation)))
            raise_free(devices, raise);
        else if (raise->until > soon)
            raise->until = soon;
    }
}

void device_unsure_ask(struct session_open *open)
{
    const struct open_work *work = open->work;

    if (work->replaced.is_roaming || is_own_link(open->devices, &work->replaced))
        device_peer_take_older(open, work->replaced_below);
    device_peer_ask(open, open->device, &work->replaced, work->replaced_below, true);
}

/* --- another node asks ------------------------------------------------------------------------------------------ */

static bool is_replaced_by(const struct unsure_raise *raise, const struct peer_fence *fence)
{
    struct span device = span_skip(channel_name_span(raise->channel), sizeof "device:" - 1), user;

    must(span_cut(&device, '/', &user));
    return (raise->since < fence->since || (raise->since == fence->since && raise->low < fence->generation)) &&
           span_eq(user, fence->user) && span_eq(device, fence->device);
}

/* The newest: whom it replaces knows of those before. */
struct unsure_raise *device_unsure_of(const struct devices *devices, uint32_t hash, const struct peer_fence *fence)
{
    for (const struct list *at = devices->unsure.prev; at != &devices->unsure; at = at->prev)
        if (raise_at(at)->hash == hash && is_replaced_by(raise_at(at), fence))
            return raise_at(at);
    return NULL;
}

bool device_unsure_is_told(const struct devices *devices, const struct unsure_raise *raise)
{
    return raise->has_told || !device_peer_needs_asking(devices, &raise->before);
}

uint64_t device_unsure_below(const struct unsure_raise *raise)
{
    return raise->low;
}

static void raise_was_told(struct devices *devices, struct unsure_raise *raise, bool is_whole)
{
    raise->ask      = NULL;
    raise->has_told = true;
    raise->until    = devices->writer->wall + UNSURE_TOLD_MS;
    counter_add(&devices->counters.untold, !is_whole);
    device_calls_go_on(devices, raise->hash);
}

void device_unsure_tell(struct devices *devices, struct unsure_raise *raise)
{
    struct span device = span_skip(channel_name_span(raise->channel), sizeof "device:" - 1), user;

    if (raise->ask != NULL)
        return;
    must(span_cut(&device, '/', &user));
    struct peer_fence_ask *ask = device_peer_ask_for(devices, &raise->before, &(struct peer_fence){ user, device, raise->low, raise->since });
    if (ask->is_notice) {
        device_peer_send(ask);
        raise_was_told(devices, raise, false);
        return;
    }
    ask->unsure = raise;
    raise->ask  = ask;
    device_peer_send(ask);
}

/* What was kept is told of no session that is polled, because the node may have known it long ago: whoever asks would keep it. */
static bool is_to_be_told(const struct unsure_raise *raise, struct span channel)
{
    return !raise->before.is_roaming || span_starts(channel, SPAN("group:")) || span_starts(channel, SPAN("user:")) ||
           span_starts(channel, SPAN("device:"));
}

/* Whoever has answered may be asked again because of another node that has not. */
static bool is_told_already(const struct unsure_raise *raise, const struct peer_fence_place *place)
{
    struct span             rest     = buf_span(&raise->places);
    struct peer_fence_place told;
    bool                    is_begun = true;

    while (peer_fence_place_next(&rest, &is_begun, &told))
        if (told.epoch == place->epoch && told.seq == place->seq && span_eq(told.channel, place->channel))
            return true;
    return false;
}

void device_unsure_answered(struct peer_fence_ask *ask, struct span answer)
{
    struct unsure_raise    *raise = ask->unsure;
    struct peer_fence_place place;
    bool                    is_begun = false;

    while (raise->place_count < PEER_FENCE_PLACES_MAX && peer_fence_place_next(&answer, &is_begun, &place)) {
        if (!is_to_be_told(raise, place.channel) || is_told_already(raise, &place))
            continue;
        peer_fence_place_put(&raise->places, &place);
        raise->place_count++;
    }
}

void device_unsure_settled(struct peer_fence_ask *ask, bool is_missing)
{
    raise_was_told(ask->devices, ask->unsure, !is_missing);
}

size_t device_unsure_put_places(struct devices *devices, struct unsure_raise *raise, struct buf *answer)
{
    size_t count = raise->place_count;

    buf_put(answer, buf_span(&raise->places));
    raise_free(devices, raise);
    return count;
}

/* --- life ------------------------------------------------------------------------------------------------------- */

void device_unsure_tick(struct devices *devices)
{
    for (struct list *at = devices->unsure.next, *next; at != &devices->unsure; at = next) {
        next = at->next;
        if (raise_at(at)->until <= devices->writer->wall)
            raise_free(devices, raise_at(at));
    }
}

void device_unsure_fini(struct devices *devices)
{
    while (!list_is_empty(&devices->unsure))
        raise_free(devices, raise_at(devices->unsure.next));
}
