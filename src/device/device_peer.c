/* device_peer.c - links of a session on other nodes: asking for them to be let go, and letting go when asked (peer_fence.h). */
#include <stdlib.h>

#include "base/must.h"
#include "device/open_work.h"

enum {
    DEAF_TICKS = 100,  /* a node that did not answer is not waited for, for so long */
    FENCE_ANSWER_BYTES_MAX = 1 + PEER_FENCE_PLACES_MAX * (2 * 8 + 1 + UINT8_MAX),
    FENCE_BODY_BYTES_MAX   = 1 + 2 * 8 + 2 * (1 + UINT8_MAX),
};

/* --- nodes that don't answer ------------------------------------------------------------------------------------ */

static struct device_deaf *deaf_find(struct devices *devices, struct span node, uint64_t incarnation)
{
    for (size_t i = 0; i < DEVICE_DEAF_MAX; i++) {
        struct device_deaf *deaf = &devices->deaf[i];
        if (deaf->incarnation == incarnation && deaf->until_tick > devices->tick && span_eq(span_str(deaf->node), node))
            return deaf;
    }
    return NULL;
}

/* Takes the place of the one that ends first. */
static void deaf_note(struct devices *devices, const char *node, uint64_t incarnation)
{
    struct device_deaf *place = &devices->deaf[0];

    for (size_t i = 1; i < DEVICE_DEAF_MAX; i++)
        if (devices->deaf[i].until_tick < place->until_tick)
            place = &devices->deaf[i];
    memcpy(place->node, node, sizeof place->node);
    place->incarnation = incarnation;
    place->until_tick  = devices->tick + DEAF_TICKS;
}

/* --- asking ----------------------------------------------------------------------------------------------------- */

static void ask_free(struct peer_fence_ask *ask)
{
    list_take(&ask->in_devices);
    channel_name_unref(ask->user_log);
    buf_fini(&ask->body);
    free(ask);
}

/* A session that is polled has its link anywhere: every node with a link of the user follows the user's log. */
static void ask_address(struct devices *devices, struct peer_fence_ask *ask, struct span user, const struct session_row *row)
{
    if (row->is_roaming) {
        ask->user_log = channel_name_of_user(devices->namespaces, devices->hash_key, user);
        return;
    }
    memcpy(ask->node, row->node.at, row->node.len);
    ask->incarnation = row->incarnation;
    ask->is_notice   = deaf_find(devices, row->node, row->incarnation) != NULL;
}

/* A link of an earlier start of this node went with it. */
static bool row_needs_asking(const struct devices *devices, const struct session_row *row)
{
    if (devices->peers == NULL || row->node.len == 0)
        return false;
    return row->is_roaming || !span_eq(row->node, span_str(devices->node));
}

void device_peer_ask(struct session_open *open, struct span device, const struct session_row *row, uint64_t generation,
                     bool is_own)
{
    struct devices *devices = open->devices;

    if (!row_needs_asking(devices, row))
        return;
    struct peer_fence_ask *ask = calloc(1, sizeof *ask);
    must(ask != NULL);
    list_init(&ask->in_devices);
    buf_init(&ask->body, FENCE_BODY_BYTES_MAX);
    ask_address(devices, ask, open->user, row);
    ask->devices = devices;
    ask->open    = ask->is_notice ? NULL : open;
    ask->is_own  = is_own;
    peer_fence_put(&ask->body, &(struct peer_fence){ open->user, device, generation,
                                                     is_own ? open->work->row.since : row->since });
    list_push(&devices->asks, &ask->in_devices);
    counter_add(&devices->counters.peer_fences, 1);
    open->work->is_untold |= is_own;
    open->work->fences_left += ask->open != NULL;
    devices->peers->ask(devices->peers_ctx, ask);
}

/* The user has joined the group since the rows were read, and the older link has a place in it. */
static struct standing_place *add_group_place(struct open_work *work, const struct peer_fence_place *told)
{
    const struct devices  *devices = work->open->devices;
    struct standing_place *place   = NULL;
    struct channel_name   *name;

    if (channel_name_new(devices->namespaces, devices->hash_key, told->channel, &name) != CHANNEL_NAME_OK)
        return NULL;
    place = standing_place_add(work->standing, name);
    channel_name_unref(name);
    return place;
}

/* What the older link had acknowledged counts, as on one node: the raise made it too late to be stored there. Of a channel that
 * is kept since the rows were read, its row says more. */
static void take_acknowledged(struct open_work *work, const struct peer_fence_place *told)
{
    struct devices        *devices  = work->open->devices;
    struct standing       *standing = work->standing;
    struct standing_place *place    = standing_place_find(standing, told->channel);

    if (place == NULL && !span_starts(told->channel, SPAN("group:")))
        work->has_new_kept = true;
    else if (place == NULL && (place = add_group_place(work, told)) != NULL)
        standing_place_set_epoch(devices, standing, place, told->epoch);
    if (place != NULL && !place->is_gone && standing_place_epoch(devices, standing, place) == told->epoch)
        standing_acknowledge(devices, standing, place, told->epoch, told->seq);
}

static bool answer_tells(struct span answer, struct span channel)
{
    struct peer_fence_place place;
    bool                    is_begun = false;

    while (peer_fence_place_next(&answer, &is_begun, &place))
        if (span_eq(place.channel, channel))
            return true;
    return false;
}

/* Was something kept when the rows were read, and is not any more? Then its row is gone. */
static bool has_dropped(const struct devices *devices, const struct standing *standing, struct span answer)
{
    for (uint32_t i = 0; i < standing->place_count; i++) {
        const struct standing_place *place = &standing->places[i];
        if (place->is_kept && !place->is_gone && standing_place_epoch(devices, standing, place) != 0 &&
            !answer_tells(answer, channel_name_span(place->name)))
            return true;
    }
    return false;
}

void device_peer_answered(struct peer_fence_ask *ask, struct span answer)
{
    struct peer_fence_place place;
    struct span             rest     = answer;
    bool                    is_begun = false;
    size_t                  count    = 0;

    if (ask->open == NULL || !ask->is_own)
        return;
    for (; peer_fence_place_next(&rest, &is_begun, &place); count++)
        take_acknowledged(ask->open->work, &place);
    if (count > 0 && count < PEER_FENCE_PLACES_MAX && !ask->open->work->has_new_kept &&
        !has_dropped(ask->open->devices, ask->open->work->standing, answer))
        ask->open->work->is_untold = false;
}

void device_peer_settled(struct peer_fence_ask *ask, bool is_missing)
{
    struct session_open *open = ask->open;

    if (open != NULL && ask->is_own && is_missing)
        open->work->is_untold = true;
    if (is_missing && ask->user_log == NULL && !ask->is_notice)
        deaf_note(ask->devices, ask->node, ask->incarnation);
    ask_free(ask);
    if (open != NULL)
        open_peer_back(open);
}

void device_peers_fini(struct devices *devices)
{
    while (!list_is_empty(&devices->asks))
        ask_free(container_of(devices->asks.next, struct peer_fence_ask, in_devices));
}

/* --- being asked ------------------------------------------------------------------------------------------------ */

struct peer_fence_wait {
    struct fence_wait       wait;
    struct list             in_devices;
    struct devices         *devices;
    struct peer_fence_call *call;
    struct channel_name    *channel;  /* the session's: it may be forgotten meanwhile. Owns a reference */
};

static void call_end(struct peer_fence_call *call)
{
    call->answered(call);
}

/* A place that was made while the link waited for its head may be of no life of the log. */
static void fence_put_places(struct buf *answer, const struct devices *devices, const struct standing *standing)
{
    size_t count = 0;

    for (uint32_t i = 0; i < standing->place_count && count < PEER_FENCE_PLACES_MAX; i++) {
        const struct standing_place *place = &standing->places[i];
        const uint64_t               epoch = standing_place_epoch(devices, standing, place);
        if (place->is_gone || epoch == 0)
            continue;
        peer_fence_place_put(answer, &(struct peer_fence_place){ channel_name_span(place->name), epoch, place->seq });
        count++;
    }
}

/* device:USER/DEVICE */
static struct standing *standing_of_channel(const struct devices *devices, const struct channel_name *channel)
{
    struct span device = span_skip(channel_name_span(channel), sizeof "device:" - 1), user;

    must(span_cut(&device, '/', &user));
    return standing_find(devices, user, device);
}

static void wait_over(struct fence_wait *fenced)
{
    struct peer_fence_wait *wait     = container_of(fenced, struct peer_fence_wait, wait);
    struct devices         *devices  = wait->devices;
    struct standing        *standing = standing_of_channel(devices, wait->channel);

    if (standing != NULL && standing->home == NULL)
        fence_put_places(&wait->call->answer, devices, standing);
    if (standing != NULL && standing->home == NULL && standing->op == NULL) {
        standing->is_fencing = standing->is_parted = false;
        standing_drop_places(standing);
        standing_forget(standing);
        standing_settle(devices, standing);
    }
    call_end(wait->call);
    channel_name_unref(wait->channel);
    free(wait);
}

static bool is_older_link(const struct standing *standing, const struct peer_fence *fence)
{
    return standing->since < fence->since || (standing->since == fence->since && standing->generation < fence->generation);
}

static void fence_link(struct devices *devices, struct standing *standing, struct peer_fence_call *call)
{
    struct peer_fence_wait *wait = calloc(1, sizeof *wait);

    must(wait != NULL);
    wait->wait.over  = wait_over;
    wait->devices    = devices;
    wait->call       = call;
    wait->channel    = channel_name_ref(standing->channel);
    standing_fence(devices, standing, FENCE_REPLACED, &wait->wait);
}

bool device_peer_called(struct devices *devices, struct peer_fence_call *call, struct span body)
{
    struct peer_fence fence;

    if (!peer_fence_get(body, &fence))
        return false;
    struct standing *standing = standing_find(devices, fence.user, fence.device);
    buf_init(&call->answer, FENCE_ANSWER_BYTES_MAX);
    peer_fence_answer_begin(&call->answer);
    if (standing != NULL && is_older_link(standing, &fence)) {
        bool has_link = standing->home != NULL;
        if (has_link)
            fence_link(devices, standing, call);
        else
            fence_put_places(&call->answer, devices, standing);
        standing->is_between = false;
        standing_settle(devices, standing);
        if (has_link)
            return true;
    }
    call_end(call);
    return true;
}
