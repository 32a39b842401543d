/* device_peer.c - links of a session on other nodes: asking for them to be let go, and letting go when asked (peer_fence.h). */
#include <stdlib.h>

#include "base/must.h"
#include "device/open_work.h"

enum {
    DEAF_TICKS     = 100,   /* a node that did not answer is not waited for, for so long */
    OLDER_MS       = 2 * PEER_FENCE_WAIT_MS,
    STRANDED_MS    = 60000, /* a client whose opening was refused comes again within 15 s; some are refused once more */
    NEW_START_MS   = 60000, /* longer than it takes until all nodes have heard of one that has begun */
    LAST_WRITES_MS = 2000,  /* a ledger that refuses at the end may take it then: two tries */
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
static struct device_deaf *deaf_new(struct devices *devices, const char *node, uint64_t incarnation)
{
    struct device_deaf *place = &devices->deaf[0];

    for (size_t i = 1; i < DEVICE_DEAF_MAX; i++)
        if (devices->deaf[i].until_tick < place->until_tick)
            place = &devices->deaf[i];
    memcpy(place->node, node, sizeof place->node);
    place->incarnation = incarnation;
    place->missed_tick = devices->tick;
    place->is_deaf     = false;
    return place;
}

static bool is_deaf(struct devices *devices, struct span node, uint64_t incarnation)
{
    const struct device_deaf *deaf = deaf_find(devices, node, incarnation);

    return deaf != NULL && deaf->is_deaf;
}

static void deaf_note(const struct peer_fence_ask *ask)
{
    struct devices     *devices = ask->devices;
    struct device_deaf *deaf    = deaf_find(devices, span_str(ask->node), ask->incarnation);

    if (deaf == NULL)
        deaf = deaf_new(devices, ask->node, ask->incarnation);
    else if (ask->asked_tick < deaf->missed_tick)
        return;
    else
        deaf->is_deaf = true;
    deaf->until_tick = devices->tick + DEAF_TICKS;
}

static void deaf_forget(const struct peer_fence_ask *ask)
{
    struct device_deaf *deaf = deaf_find(ask->devices, span_str(ask->node), ask->incarnation);

    if (deaf != NULL)
        deaf->until_tick = 0;
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
    ask->may_be_new = row->seen + NEW_START_MS > devices->writer->wall;
    if (row->is_roaming) {
        ask->user_log = channel_name_of_user(devices->namespaces, devices->hash_key, user);
        return;
    }
    memcpy(ask->node, row->node.at, row->node.len);
    ask->incarnation = row->incarnation;
    ask->is_notice   = is_deaf(devices, row->node, row->incarnation);
}

/* A link of an earlier start of this node went with it. */
bool device_peer_needs_asking(const struct devices *devices, const struct session_row *row)
{
    if (devices->peers == NULL || row->node.len == 0)
        return false;
    return row->is_roaming || !span_eq(row->node, span_str(devices->node));
}

struct peer_fence_ask *device_peer_ask_for(struct devices *devices, const struct session_row *row, const struct peer_fence *fence)
{
    struct peer_fence_ask *ask = calloc(1, sizeof *ask);

    must(ask != NULL);
    list_init(&ask->in_devices);
    buf_init(&ask->body, FENCE_BODY_BYTES_MAX);
    ask_address(devices, ask, fence->user, row);
    ask->devices = devices;
    ask->since   = devices->writer->wall;
    peer_fence_put(&ask->body, fence);
    list_push(&devices->asks, &ask->in_devices);
    counter_add(&devices->counters.peer_fences, 1);
    return ask;
}

void device_peer_send(struct peer_fence_ask *ask)
{
    ask->asked_tick = ask->devices->tick;
    ask->devices->peers->ask(ask->devices->peers_ctx, ask);
}

void device_peer_ask(struct session_open *open, struct span device, const struct session_row *row, uint64_t generation,
                     bool is_own)
{
    struct devices *devices = open->devices;

    if (!device_peer_needs_asking(devices, row))
        return;
    const struct peer_fence fence = { open->user, device, generation, is_own ? open->work->row.since : row->since };
    struct peer_fence_ask  *ask   = device_peer_ask_for(devices, row, &fence);
    ask->open   = ask->is_notice ? NULL : open;
    ask->is_own = is_own;
    if (is_own) {
        open->work->is_untold = true;
        counter_add(&devices->counters.untold, ask->is_notice);
    }
    open->work->fences_left += ask->open != NULL;
    device_peer_send(ask);
}

/* The user has joined the group since the rows were read, or the session keeps the channel since then, and the older link has a place
 * in it. */
static struct standing_place *add_told_place(struct open_work *work, const struct peer_fence_place *told)
{
    struct devices        *devices = work->open->devices;
    struct standing_place *place   = NULL;
    struct channel_name   *name;

    if (channel_name_new(devices->namespaces, devices->hash_key, told->channel, &name) != CHANNEL_NAME_OK)
        return NULL;
    place = standing_place_add(work->standing, name);
    channel_name_unref(name);
    standing_place_set_epoch(devices, work->standing, place, told->epoch);
    return place;
}

/* A session has a place in such a channel only because it keeps it. The older link's node may not have stored that, and can't any more.
 * There may be a row all the same: then it is looked at first. */
static void add_kept_place(struct open_work *work, const struct peer_fence_place *told)
{
    struct standing_place *place = add_told_place(work, told);

    if (place == NULL)
        return;
    place->seq     = told->seq;
    place->is_kept = place->is_new = place->is_dirty = place->is_unread = true;
    standing_settle(work->open->devices, work->standing);
}

/* What the older link had acknowledged counts, as on one node: the raise made it too late to be stored there. Of a channel that
 * is kept since the rows were read, its row says more, if there is one. Of a session that is polled any node that once had a link of it
 * may tell, and that may be old: there the rows alone say what is kept. A new session keeps nothing of one before it. */
static void take_acknowledged(struct open_work *work, const struct peer_fence_place *told, bool is_of_session)
{
    struct devices        *devices  = work->open->devices;
    struct standing       *standing = work->standing;
    struct standing_place *place    = standing_place_find(standing, told->channel);

    if (place == NULL && !span_starts(told->channel, SPAN("group:"))) {
        work->has_new_kept = true;
        if (is_of_session)
            add_kept_place(work, told);
        return;
    }
    if (place == NULL)
        place = add_told_place(work, told);
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

    ask->is_put_off |= answer.len == 0;
    if (ask->unsure != NULL)
        device_unsure_answered(ask, answer);
    if (ask->open == NULL || !ask->is_own)
        return;
    for (; peer_fence_place_next(&rest, &is_begun, &place); count++)
        take_acknowledged(ask->open->work, &place, ask->user_log == NULL && !ask->open->work->is_new);
    if (count > 0 && count < PEER_FENCE_PLACES_MAX && !ask->open->work->has_new_kept &&
        !has_dropped(ask->open->devices, ask->open->work->standing, answer))
        ask->open->work->is_untold = false;
}

/* Not for long: the node may be dead. */
static bool is_asked_again(const struct peer_fence_ask *ask)
{
    const struct devices *devices = ask->devices;
    const msec            wall    = devices->writer->wall;

    return !ask->is_notice && wall < ask->since + PEER_FENCE_GATHER_MS &&
           (wall < devices->gathers_until || devices->is_cut_with_ledger);
}

void device_peer_settled(struct peer_fence_ask *ask, bool is_missing)
{
    struct session_open *open = ask->open;

    if (is_missing && is_asked_again(ask)) {
        ask->is_held = true;
        return;
    }
    if ((open != NULL || ask->unsure != NULL) && ask->is_put_off && ++ask->tries < PEER_FENCE_TRIES_MAX) {
        ask->is_put_off = false;
        device_peer_send(ask);
        return;
    }
    if (open != NULL && ask->is_own && (is_missing || ask->is_put_off)) {
        open->work->is_untold = true;
        counter_add(&ask->devices->counters.untold, 1);
    }
    if (ask->user_log == NULL && !ask->is_notice) {
        if (!is_missing)
            deaf_forget(ask);
        else if (!ask->is_unasked)
            deaf_note(ask);
    }
    if (ask->unsure != NULL)
        device_unsure_settled(ask, is_missing || ask->is_put_off);
    ask_free(ask);
    if (open != NULL)
        open_peer_back(open);
}

static void ask_held(struct devices *devices)
{
    struct list held;

    list_init(&held);
    for (struct list *at = devices->asks.next, *next; at != &devices->asks; at = next) {
        next = at->next;
        if (!container_of(at, struct peer_fence_ask, in_devices)->is_held)
            continue;
        list_take(at);
        list_push(&held, at);
    }
    while (!list_is_empty(&held)) {
        struct peer_fence_ask *ask = container_of(held.next, struct peer_fence_ask, in_devices);
        list_take(&ask->in_devices);
        list_push(&devices->asks, &ask->in_devices);
        ask->is_held = false;
        device_peer_send(ask);
    }
}

/* --- being asked ------------------------------------------------------------------------------------------------ */

/* A place that was made while the link waited for its head may be of no life of the log. `count`: of places that are in the answer. */
static void fence_put_places(struct buf *answer, size_t count, const struct devices *devices, const struct standing *standing)
{
    for (uint32_t i = 0; i < standing->place_count && count < PEER_FENCE_PLACES_MAX; i++) {
        const struct standing_place *place = &standing->places[i];
        const uint64_t               epoch = standing_place_epoch(devices, standing, place);
        if (place->is_gone || epoch == 0)
            continue;
        peer_fence_place_put(answer, &(struct peer_fence_place){ channel_name_span(place->name), epoch, place->seq });
        count++;
    }
}

/* --- … for what is of an older generation ----------------------------------------------------------------------------
 *
 * Two newer links of a session are opened at once, on another node and on this one, which has the older link; the other one is first, so
 * this one reads its row. Its question comes, and asks for what was acknowledged on the older link, when the places in memory here are
 * those of the newest generation already.
 *
 * Or another node has raised the generation, does not know so, and asks nobody (device_unsure.c). What was not stored here by then is stranded:
 * it is kept until the device comes again. After the first second only a question for the very next generation is told of it, which is one that
 * asks for that node: what a forgotten link acknowledges long after it was replaced counts for nobody else. */

struct older_places {
    struct list          in_devices;
    struct channel_name *channel;     /* the session's; owns a reference */
    uint32_t             hash;        /* of the user */
    msec                 since;
    uint64_t             generation;
    msec                 until;       /* by the wall clock */
    msec                 fresh_until; /* likewise */
    struct buf           places;      /* as in an answer */
};

static struct older_places *older_at(const struct list *at)
{
    return container_of(at, struct older_places, in_devices);
}

static void older_free(struct older_places *older)
{
    list_take(&older->in_devices);
    channel_name_unref(older->channel);
    buf_fini(&older->places);
    free(older);
}

static void older_drop_first(struct device_older *list)
{
    older_free(older_at(list->places.next));
    list->count--;
}

static void older_push(struct device_older *list, struct older_places *older, msec until)
{
    if (list->count == DEVICE_OLDER_MAX)
        older_drop_first(list);
    older->until = until;
    list_push(&list->places, &older->in_devices);
    list->count++;
}

static bool standing_is_stranded(const struct standing *standing)
{
    bool is_any = standing->is_yielded;

    for (uint32_t i = 0; i < standing->place_count; i++)
        is_any |= standing->places[i].is_dirty;
    return is_any;
}

void device_peer_remember(struct devices *devices, const struct standing *standing)
{
    const msec wall = devices->writer->wall;

    if (standing->place_count == 0)
        return;
    struct older_places *older = calloc(1, sizeof *older);
    must(older != NULL);
    older->channel     = channel_name_ref(standing->channel);
    older->hash        = standing->node.hash;
    older->since       = standing->since;
    older->generation  = standing->generation;
    older->fresh_until = wall + OLDER_MS;
    buf_init(&older->places, FENCE_ANSWER_BYTES_MAX);
    fence_put_places(&older->places, 0, devices, standing);
    if (standing_is_stranded(standing))
        older_push(&devices->stranded, older, wall + STRANDED_MS);
    else
        older_push(&devices->older, older, wall + OLDER_MS);
}

static bool is_older_of(const struct older_places *older, const struct peer_fence *fence, msec wall)
{
    struct span device = span_skip(channel_name_span(older->channel), sizeof "device:" - 1), user;

    must(span_cut(&device, '/', &user));
    return older->since == fence->since && older->generation < fence->generation &&
           (older->generation + 1 == fence->generation || wall < older->fresh_until) && span_eq(user, fence->user) &&
           span_eq(device, fence->device);
}

static struct older_places *older_find(const struct devices *devices, const struct device_older *list, uint32_t hash,
                                       const struct peer_fence *fence)
{
    for (const struct list *at = list->places.prev; at != &list->places; at = at->prev)
        if (older_at(at)->hash == hash && is_older_of(older_at(at), fence, devices->writer->wall))
            return older_at(at);
    return NULL;
}

/* The newest of them counts. Who is told now may ask once more in a moment. */
static void older_put_places(struct buf *answer, struct devices *devices, uint32_t hash, const struct peer_fence *fence)
{
    struct older_places *older    = older_find(devices, &devices->older, hash, fence);
    struct older_places *stranded = older_find(devices, &devices->stranded, hash, fence);

    if (stranded != NULL && (older == NULL || older->generation <= stranded->generation)) {
        older = stranded;
        list_take(&older->in_devices);
        devices->stranded.count--;
        older_push(&devices->older, older, devices->writer->wall + OLDER_MS);
    }
    if (older != NULL)
        buf_put(answer, buf_span(&older->places));
}

void device_peer_take_older(struct session_open *open, uint64_t generation)
{
    const struct peer_fence fence = { open->user, open->device, generation, open->work->row.since };
    struct peer_fence_place place;
    struct buf              places;
    bool                    is_begun = true;

    buf_init(&places, FENCE_ANSWER_BYTES_MAX);
    older_put_places(&places, open->devices, open->work->standing->node.hash, &fence);
    for (struct span rest = buf_span(&places); peer_fence_place_next(&rest, &is_begun, &place);)
        take_acknowledged(open->work, &place, !open->work->is_new);
    buf_fini(&places);
}

/* device:USER/DEVICE */
static struct standing *standing_of_channel(const struct devices *devices, const struct channel_name *channel)
{
    struct span device = span_skip(channel_name_span(channel), sizeof "device:" - 1), user;

    must(span_cut(&device, '/', &user));
    return standing_find(devices, user, device);
}

static bool is_older_link(const struct standing *standing, const struct peer_fence *fence)
{
    return standing->since < fence->since || (standing->since == fence->since && standing->generation < fence->generation);
}

/* Not all that was acknowledged on the older link has been said: its loop is being told, or another node is being asked by an older
 * opening here. That one's generation is lower than that of whoever asks: so openings wait for older ones alone. */
static bool is_being_told(const struct devices *devices, const struct standing *standing, const struct peer_fence *fence)
{
    const struct session_open *open = standing->op;

    return standing_waits_for_loop(devices, standing) ||
           (open != NULL && open->work != NULL && open->work->raised != 0 && open->work->raised < fence->generation);
}

/* Whoever asks does not wait much longer. */
static void call_put_off(struct devices *devices, struct peer_fence_call *call)
{
    struct peer_fence fence;

    must(peer_fence_get(call->body, &fence));
    const struct standing *standing = standing_find(devices, fence.user, fence.device);
    if (standing != NULL && standing->op != NULL)
        open_is_lost(standing->op, fence.generation);
    list_take(&call->in_devices);
    buf_init(&call->answer, FENCE_ANSWER_BYTES_MAX);
    call->answered(call);
}

/* All is said. Of a link that had to be let go nothing in memory is of use to anybody any more; else what is not stored yet may still be
 * good: a poll on another node does not raise the generation. */
static void standing_was_told_of(struct devices *devices, struct standing *standing, bool had_link)
{
    standing->is_yielded = false;
    if (had_link && standing->op == NULL) {
        standing->is_parted = false;
        standing_drop_places(standing);
        standing_forget(standing);
    }
    standing_settle(devices, standing);
}

/* `standing`: has what was acknowledged; NULL: it may be among what is of an older generation. `raise`: ends; may be NULL. */
static void call_answer(struct devices *devices, struct peer_fence_call *call, const struct peer_fence *fence, struct standing *standing,
                        struct unsure_raise *raise)
{
    struct peer_fence below = *fence;
    size_t            count = 0;

    buf_init(&call->answer, FENCE_ANSWER_BYTES_MAX);
    peer_fence_answer_begin(&call->answer);
    if (raise != NULL) {
        below.generation = device_unsure_below(raise);
        count            = device_unsure_put_places(devices, raise, &call->answer);
    }
    if (standing != NULL) {
        fence_put_places(&call->answer, count, devices, standing);
        standing_was_told_of(devices, standing, call->had_link);
    } else if (count == 0) {
        older_put_places(&call->answer, devices, call->hash, &below);
    }
    call->answered(call);
}

static void call_take(struct devices *devices, struct peer_fence_call *call)
{
    struct peer_fence fence;

    must(peer_fence_get(call->body, &fence));
    struct standing *standing = standing_find(devices, fence.user, fence.device);
    bool             is_older = standing != NULL && is_older_link(standing, &fence);
    if (is_older) {
        call->had_link |= standing->home != NULL;
        standing_fence(devices, standing, FENCE_REPLACED, NULL);
    }
    if (is_older && is_being_told(devices, standing, &fence)) {
        list_push(&devices->calls, &call->in_devices);
        standing_settle(devices, standing);
        return;
    }
    struct unsure_raise *raise = device_unsure_of(devices, call->hash, &fence);
    if (raise != NULL && !device_unsure_is_told(devices, raise)) {
        list_push(&devices->calls, &call->in_devices);
        if (standing != NULL)
            standing_settle(devices, standing);
        device_unsure_tell(devices, raise);
        return;
    }
    call_answer(devices, call, &fence, is_older ? standing : NULL, raise);
}

bool device_peer_called(struct devices *devices, struct peer_fence_call *call, struct span body)
{
    struct peer_fence fence;

    if (!peer_fence_get(body, &fence))
        return false;
    list_init(&call->in_devices);
    call->had_link = false;
    call->until    = devices->writer->wall + PEER_FENCE_TELL_MS;
    call->hash     = user_hash(devices, fence.user);
    call->body     = body;
    call_take(devices, call);
    return true;
}

/* Those of one user, all others that have his hash, or, with NULL, all. */
static void calls_go_on(struct devices *devices, const uint32_t *hash)
{
    struct list waiting;

    list_init(&waiting);
    for (struct list *at = devices->calls.next, *next; at != &devices->calls; at = next) {
        next = at->next;
        if (hash != NULL && container_of(at, struct peer_fence_call, in_devices)->hash != *hash)
            continue;
        list_take(at);
        list_push(&waiting, at);
    }
    while (!list_is_empty(&waiting)) {
        struct peer_fence_call *call = container_of(waiting.next, struct peer_fence_call, in_devices);
        list_take(&call->in_devices);
        call_take(devices, call);
    }
}

void device_calls_go_on(struct devices *devices, uint32_t hash)
{
    calls_go_on(devices, &hash);
}

/* --- the loop of a link was told ---------------------------------------------------------------------------------- */

static void go_on_told(struct standing *standing)
{
    struct open_work *work = standing->op == NULL ? NULL : standing->op->work;

    if (work == NULL || work->link_told == NULL)
        return;
    void (*link_told)(struct open_work *told) = work->link_told;
    work->link_told = NULL;
    link_told(work);
}

static void standing_told(struct devices *devices, struct standing *standing)
{
    struct channel_name *channel = channel_name_ref(standing->channel);

    standing->is_fencing = false;
    standing->key        = 0;
    device_calls_go_on(devices, standing->node.hash);
    standing = standing_of_channel(devices, channel);
    if (standing != NULL)
        go_on_told(standing);
    standing = standing_of_channel(devices, channel);
    if (standing != NULL)
        standing_settle(devices, standing);
    channel_name_unref(channel);
}

void device_link_told(struct devices *devices, const struct channel_name *channel, uint64_t key)
{
    struct standing *standing = standing_of_channel(devices, channel);

    if (standing != NULL && standing->is_fencing && standing->key == key)
        standing_told(devices, standing);
}

void device_link_forget(struct devices *devices, struct standing *standing)
{
    if (standing->is_fencing)
        standing_told(devices, standing);
    else
        standing_settle(devices, standing);
}

static struct standing *waits_for_loop(const struct devices *devices)
{
    for (struct near_list *at = near_list_next(&devices->lists->held); at != &devices->lists->held; at = near_list_next(at)) {
        struct standing *standing = container_of(at, struct standing, link);
        if (standing->op != NULL && (standing->op->work->link_told != NULL || standing->op->work->loops_left > 0))
            return standing;
    }
    return NULL;
}

void devices_loops_ended(struct devices *devices)
{
    struct standing *standing;

    if (devices->have_loops_ended)
        return;
    devices->have_loops_ended = true;
    devices->stores_until     = devices->writer->wall + LAST_WRITES_MS;
    while ((standing = waits_for_loop(devices)) != NULL) {
        if (standing->op->work->link_told != NULL)
            standing_told(devices, standing);
        else
            open_loops_ended(standing->op);
    }
    calls_go_on(devices, NULL);
}

/* --- life ------------------------------------------------------------------------------------------------------- */

void devices_cut_off(struct devices *devices, bool is_back_with_ledger)
{
    devices->is_cut_off         = true;
    devices->is_cut_with_ledger = is_back_with_ledger;
    devices->gathers_until      = 0;
}

void devices_reach(struct devices *devices)
{
    if (devices->is_cut_off)
        devices->gathers_until = devices->writer->wall + PEER_FENCE_GATHER_MS;
    devices->is_cut_off = devices->is_cut_with_ledger = false;
}

void device_peers_init(struct devices *devices)
{
    list_init(&devices->asks);
    list_init(&devices->calls);
    list_init(&devices->older.places);
    list_init(&devices->stranded.places);
    list_init(&devices->unsure);
}

static void older_drop_until(struct device_older *list, msec wall)
{
    while (list->count > 0 && older_at(list->places.next)->until <= wall)
        older_drop_first(list);
}

void device_peers_tick(struct devices *devices)
{
    older_drop_until(&devices->older, devices->writer->wall);
    older_drop_until(&devices->stranded, devices->writer->wall);
    device_unsure_tick(devices);
    ask_held(devices);
    for (struct list *at = devices->calls.next, *next; at != &devices->calls; at = next) {
        struct peer_fence_call *call = container_of(at, struct peer_fence_call, in_devices);
        next                         = at->next;
        if (call->until <= devices->writer->wall)
            call_put_off(devices, call);
    }
}

void device_peers_fini(struct devices *devices)
{
    device_unsure_fini(devices);
    while (!list_is_empty(&devices->asks))
        ask_free(container_of(devices->asks.next, struct peer_fence_ask, in_devices));
    while (!list_is_empty(&devices->calls)) {
        struct peer_fence_call *call = container_of(devices->calls.next, struct peer_fence_call, in_devices);
        list_take(&call->in_devices);
        call->dropped(call);
    }
    older_drop_until(&devices->older, INT64_MAX);
    older_drop_until(&devices->stranded, INT64_MAX);
}
