#include "device/devices.h"

#include <stdlib.h>

#include "base/must.h"
#include "device/devices_priv.h"
#include "message/user_name.h"

enum { PARTED_TICKS = 50 };  /* five seconds: longer than an opening on another node takes */

static void standing_lists_init(struct devices *devices)
{
    pool_init(&devices->list_pool, sizeof(struct standing_lists));
    devices->lists = pool_take(&devices->list_pool);
    near_list_init(&devices->lists->idle);
    near_list_init(&devices->lists->dirty);
    near_list_init(&devices->lists->held);
    near_list_init(&devices->lists->parted);
}

void devices_init(struct devices *devices, struct writer *writer, struct namespaces *namespaces,
                  const struct hash_key *hash_key, const struct devices_limits *limits)
{
    *devices = (struct devices){ .writer = writer, .namespaces = namespaces, .hash_key = hash_key, .limits = *limits };
    near_map_init(&devices->standings);
    pool_init(&devices->standing_pool, sizeof(struct standing));
    standing_lists_init(devices);
    list_init(&devices->urgent);
    list_init(&devices->storing);
    list_init(&devices->lazy);
    devices->line_end = &devices->line;
    devices->sweep    = device_sweep_new(devices);
    device_looks_init(&devices->looks);
    device_peers_init(devices);
}

void devices_join(struct devices *devices, struct span node, uint64_t incarnation, const struct device_peers *peers,
                  void *peers_ctx)
{
    must(node.len > 0 && node.len <= DEVICE_NODE_BYTES_MAX && incarnation != 0);
    memcpy(devices->node, node.at, node.len);
    devices->node[node.len] = '\0';
    devices->incarnation    = incarnation;
    devices->peers          = peers;
    devices->peers_ctx      = peers_ctx;
}

bool devices_have_link_of(const struct devices *devices, const struct session_row *row)
{
    return row->node.len == 0 || (row->incarnation == devices->incarnation && span_eq(row->node, span_str(devices->node)));
}

/* --- sessions in memory ----------------------------------------------------------------------------------------- */

/* What near_map_find() compares: a device of a user, or all of them, by being told of each. */
struct standing_query {
    struct span user, device;
    void      (*visit)(struct standing *standing, void *ctx);
    void       *ctx;
};

static bool standing_is(const struct near_map_node *node, const void *key)
{
    const struct standing       *standing = container_of(node, struct standing, node);
    const struct standing_query *query    = key;

    return span_eq(standing_user(standing), query->user) && span_eq(standing_device(standing), query->device);
}

uint32_t user_hash(const struct devices *devices, struct span user)
{
    return (uint32_t)hash_bytes(devices->hash_key, user);
}

struct standing *standing_find(const struct devices *devices, struct span user, struct span device)
{
    const struct standing_query query = { .user = user, .device = device };
    struct near_map_node       *node  = near_map_find(&devices->standings, user_hash(devices, user), standing_is, &query);

    return node == NULL ? NULL : container_of(node, struct standing, node);
}

/* All nodes of one hash are shown to near_map_find()'s comparison, so it can be used to walk over a user's devices. */
static bool standing_visit(const struct near_map_node *node, const void *key)
{
    struct standing             *standing = container_of(node, struct standing, node);
    const struct standing_query *query    = key;

    if (span_eq(standing_user(standing), query->user))
        query->visit(standing, query->ctx);
    return false;
}

void standings_walk(const struct devices *devices, struct span user, void (*visit)(struct standing *standing, void *ctx),
                    void *ctx)
{
    const struct standing_query query = { .user = user, .visit = visit, .ctx = ctx };

    near_map_find(&devices->standings, user_hash(devices, user), standing_visit, &query);
}

/* Behind `device:` */
struct span standing_user(const struct standing *standing)
{
    return span_of(standing->channel->text + (sizeof "device:" - 1), standing->user_len);
}

/* … and the slash behind the user. */
struct span standing_device(const struct standing *standing)
{
    return span_skip(channel_name_span(standing->channel), sizeof "device:/" - 1 + standing->user_len);
}

const char *standing_transport(const struct devices *devices, const struct standing *standing)
{
    return standing->transport == 0 ? NULL : devices->transports[standing->transport - 1];
}

void standing_set_transport(struct devices *devices, struct standing *standing, const char *transport)
{
    unsigned at = 0;

    standing->transport = 0;
    if (transport == NULL)
        return;
    while (devices->transports[at] != NULL && devices->transports[at] != transport)
        must(++at < DEVICE_TRANSPORTS_MAX);
    devices->transports[at] = transport;
    standing->transport     = at + 1;
}

/* The name that its own channel has at the hub and the writer if somebody follows it already. Both names are valid. */
static struct channel_name *device_channel(const struct devices *devices, struct span user, struct span device)
{
    struct channel_name *name;
    struct buf           text;

    buf_init(&text, NAMESPACE_NAME_BYTES_MAX + 1 + CHANNEL_NAME_BYTES_MAX);
    buf_put_lit(&text, "device:");
    buf_put(&text, user);
    buf_putc(&text, '/');
    buf_put(&text, device);
    must(!buf_is_over(&text) &&
         channel_name_new(devices->namespaces, devices->hash_key, buf_span(&text), &name) == CHANNEL_NAME_OK);
    buf_fini(&text);
    return writer_share_name(devices->writer, name);
}

static struct standing *standing_new(struct devices *devices, struct span user, struct span device)
{
    struct standing *standing = pool_take(&devices->standing_pool);

    must(user.len <= USER_NAME_BYTES_MAX && device.len <= DEVICE_NAME_BYTES_MAX);
    standing->channel  = device_channel(devices, user, device);
    standing->user_len = (uint8_t)user.len;
    near_map_add(&devices->standings, &standing->node, user_hash(devices, user));
    near_list_push(&devices->lists->held, &standing->link);
    counter_add(&devices->counters.standing, 1);
    return standing;
}

struct standing *standing_get(struct devices *devices, struct span user, struct span device)
{
    struct standing *standing = standing_find(devices, user, device);

    return standing != NULL ? standing : standing_new(devices, user, device);
}

static struct standing_rare *standing_rare_new(struct span device_class, uint64_t *epochs)
{
    struct standing_rare *rare = malloc(sizeof *rare + device_class.len + 1);

    must(rare != NULL);
    rare->epochs = epochs;
    if (device_class.len > 0)
        memcpy(rare->device_class, device_class.at, device_class.len);
    rare->device_class[device_class.len] = '\0';
    return rare;
}

static void standing_drop_epochs(struct standing *standing)
{
    struct standing_rare *rare = standing->rare;

    if (rare == NULL)
        return;
    free(rare->epochs);
    rare->epochs = NULL;
    if (rare->device_class[0] != '\0')
        return;
    free(rare);
    standing->rare = NULL;
}

void standing_places_free(struct standing *standing)
{
    for (uint32_t i = 0; i < standing->place_count; i++)
        channel_name_unref(standing->places[i].name);
    free(standing->places);
    standing->places      = NULL;
    standing->place_count = 0;
    standing_drop_epochs(standing);
}

static void standing_free(struct devices *devices, struct standing *standing)
{
    near_map_take(&devices->standings, &standing->node);
    near_list_take(&standing->link);
    standing_places_free(standing);
    channel_name_unref(standing->channel);
    free(standing->rare);
    pool_give(&devices->standing_pool, standing);
    counter_sub(&devices->counters.standing, 1);
}

void standing_set_class(struct standing *standing, struct span device_class)
{
    uint64_t *epochs = standing->rare == NULL ? NULL : standing->rare->epochs;

    free(standing->rare);
    standing->rare = epochs == NULL && device_class.len == 0 ? NULL : standing_rare_new(device_class, epochs);
}

/* --- where it is listed --- */

bool standing_has_news(const struct standing *standing)
{
    if (standing->is_seen_dirty)
        return true;
    for (uint32_t i = 0; i < standing->place_count; i++)
        if (standing->places[i].is_dirty)
            return true;
    return false;
}

void standing_forget(struct standing *standing)
{
    standing->is_loaded    = false;
    standing->is_groupless = false;
    if (standing->handle_count == 0 && !standing->is_writing && !standing_has_news(standing) && !standing->is_parted)
        standing_places_free(standing);
}

bool standing_is_groupless(const struct devices *devices, const struct standing *standing)
{
    return standing->is_groupless && devices->groups_moving == 0 && devices->writer->durable.store->has_one_writer;
}

void devices_group_moves(struct devices *devices)
{
    devices->groups_moving++;
}

static void standing_note_group(struct standing *standing, void *ctx)
{
    (void)ctx;
    standing->is_groupless = false;
}

void devices_group_moved(struct devices *devices, struct span user, bool is_known)
{
    must(devices->groups_moving > 0);
    devices->groups_moved++;
    if (is_known)
        devices->groups_moving--;  /* else it never ends: it may be written at any time */
    standings_walk(devices, user, standing_note_group, NULL);
}

void standing_yield(struct standing *standing)
{
    for (uint32_t i = 0; i < standing->place_count; i++) {
        standing->is_yielded |= standing->places[i].is_dirty;
        standing->places[i].is_dirty = standing->places[i].is_new = standing->places[i].is_moved = false;
    }
    standing->is_seen_dirty = false;
}

void standing_drop_places(struct standing *standing)
{
    standing_places_free(standing);
    standing->is_seen_dirty = false;
}

static void standing_unlist(struct devices *devices, struct standing *standing)
{
    if (standing->is_idle)
        devices->idle_count--;
    standing->is_idle = false;
    near_list_take(&standing->link);
}

static void standing_let_linger(struct devices *devices, struct standing *standing)
{
    near_list_push(&devices->lists->idle, &standing->link);
    standing->is_idle = true;
    devices->idle_count++;
    while (devices->idle_count > devices->limits.idle_max) {
        struct standing *oldest = container_of(near_list_next(&devices->lists->idle), struct standing, link);
        standing_unlist(devices, oldest);
        standing_free(devices, oldest);
    }
}

/* What is in memory spares reads where nobody else writes; else it says only that a poll is awaited. */
static bool standing_may_linger(const struct devices *devices, const struct standing *standing)
{
    return devices->writer->durable.store->has_one_writer ||
           standing_is_online(devices, standing, devices->writer->wall);
}

/* Those that wait for a poll which has not come are at the front. */
static void standings_end_waits(struct devices *devices)
{
    while (!near_list_is_empty(&devices->lists->idle)) {
        struct standing *oldest = container_of(near_list_next(&devices->lists->idle), struct standing, link);
        if (standing_may_linger(devices, oldest))
            return;
        standing_unlist(devices, oldest);
        standing_free(devices, oldest);
    }
}

/* An opening on another node has read the places before they were stored here, or could not be: it asks for them now. */
static void standings_end_parting(struct devices *devices)
{
    while (!near_list_is_empty(&devices->lists->parted)) {
        struct standing *oldest = container_of(near_list_next(&devices->lists->parted), struct standing, link);
        if ((int16_t)(oldest->parted_until - (uint16_t)devices->tick) > 0)
            return;
        if (oldest->is_yielded)
            device_peer_remember(devices, oldest);
        oldest->is_parted = oldest->is_yielded = false;
        standing_settle(devices, oldest);
    }
}

void standing_settle(struct devices *devices, struct standing *standing)
{
    bool is_busy = standing->is_writing || (standing->op != NULL && !device_open_is_storing(standing));

    standing_unlist(devices, standing);
    if (!is_busy && standing_has_news(standing))
        near_list_push(&devices->lists->dirty, &standing->link);
    else if (is_busy || standing->op != NULL || standing->handle_count > 0)
        near_list_push(&devices->lists->held, &standing->link);
    else if (standing->is_parted)
        near_list_push(&devices->lists->parted, &standing->link);
    else if (!standing->is_loaded || standing->generation == 0 || !standing_may_linger(devices, standing))
        standing_free(devices, standing);
    else
        standing_let_linger(devices, standing);
}

/* --- its places --- */

/* The first place whose name is not below this one. */
static uint32_t standing_place_at(const struct standing *standing, struct span channel)
{
    uint32_t low = 0, high = standing->place_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (span_order(channel_name_span(standing->places[middle].name), channel) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct standing_place *standing_place_find(const struct standing *standing, struct span channel)
{
    uint32_t at = standing_place_at(standing, channel);

    if (at < standing->place_count && span_eq(channel_name_span(standing->places[at].name), channel))
        return &standing->places[at];
    return NULL;
}

/* --- their epochs. Nearly all logs of a store have the same, which is kept once for all places --- */

static uint64_t *standing_epochs(const struct standing *standing)
{
    return standing->rare == NULL ? NULL : standing->rare->epochs;
}

uint64_t standing_place_epoch(const struct devices *devices, const struct standing *standing, const struct standing_place *place)
{
    const uint64_t *epochs = standing_epochs(standing);

    if (place->epoch_number != 0)
        return devices->epochs[place->epoch_number - 1];
    return epochs == NULL ? 0 : epochs[place - standing->places];
}

/* 0: it has none. Logs in memory have epochs of their own, which would only fill the table. */
static unsigned epoch_number(struct devices *devices, const struct channel_name *name, uint64_t epoch)
{
    if (epoch == 0 || name->space->durability != DURABLE)
        return 0;
    for (unsigned at = 0; at < DEVICE_EPOCHS_MAX; at++) {
        if (devices->epochs[at] == 0)
            devices->epochs[at] = epoch;
        if (devices->epochs[at] == epoch)
            return at + 1;
    }
    return 0;
}

void standing_place_set_epoch(struct devices *devices, struct standing *standing, struct standing_place *place, uint64_t epoch)
{
    uint64_t *epochs = standing_epochs(standing);

    place->epoch_number = epoch_number(devices, place->name, epoch) & (DEVICE_EPOCHS_MAX);
    if (place->epoch_number != 0 || (epoch == 0 && epochs == NULL))
        return;
    if (standing->rare == NULL)
        standing->rare = standing_rare_new(SPAN(""), NULL);
    if (epochs == NULL) {
        epochs = standing->rare->epochs = calloc(standing->place_count, sizeof epochs[0]);
        must(epochs != NULL);
    }
    epochs[place - standing->places] = epoch;
}

void standing_set_life(struct devices *devices, struct standing *standing, uint64_t epoch)
{
    standing->life = epoch_number(devices, standing->channel, epoch) & (DEVICE_EPOCHS_MAX);
}

uint64_t standing_life(const struct devices *devices, const struct standing *standing)
{
    return standing->life == 0 ? 0 : devices->epochs[standing->life - 1];
}

/* A place comes at this index. */
static void standing_make_room_for_epoch(struct standing *standing, uint32_t at)
{
    uint64_t *epochs = standing_epochs(standing);

    if (epochs == NULL)
        return;
    epochs = standing->rare->epochs = reallocarray(epochs, standing->place_count + 1, sizeof epochs[0]);
    must(epochs != NULL);
    memmove(&epochs[at + 1], &epochs[at], (standing->place_count - at) * sizeof epochs[0]);
    epochs[at] = 0;
}

/* A place that is no longer kept ends when its row is deleted, unless it was kept anew meanwhile. */
void standing_take_gone(struct standing *standing)
{
    uint64_t *epochs = standing_epochs(standing);
    uint32_t  kept   = 0;

    for (uint32_t i = 0; i < standing->place_count; i++) {
        struct standing_place *place = &standing->places[i];
        if (place->is_gone && !place->is_dirty) {
            channel_name_unref(place->name);
            continue;
        }
        if (epochs != NULL)
            epochs[kept] = epochs[i];
        standing->places[kept++] = *place;
    }
    standing->place_count = kept;
}

struct standing_place *standing_place_add(struct standing *standing, struct channel_name *name)
{
    uint32_t at = standing_place_at(standing, channel_name_span(name));

    must(standing->place_count < STANDING_PLACES_MAX);
    if (channel_name_eq(name, standing->channel))
        name = standing->channel;
    standing->places = reallocarray(standing->places, standing->place_count + 1, sizeof standing->places[0]);
    must(standing->places != NULL);
    memmove(&standing->places[at + 1], &standing->places[at],
            (standing->place_count - at) * sizeof standing->places[0]);
    standing_make_room_for_epoch(standing, at);
    standing->place_count++;
    standing->places[at] = (struct standing_place){ .name = channel_name_ref(name) };
    return &standing->places[at];
}

/* --- its link --- */

bool standing_is_online(const struct devices *devices, const struct standing *standing, msec wall)
{
    return standing->home != NULL || (standing->is_between && wall < standing->seen + devices->limits.poll_lease_ms);
}

void standing_fence(struct devices *devices, struct standing *standing, enum fence_reason reason, struct fence_wait *wait)
{
    standing->is_between = false;
    if (standing->home == NULL)
        return;
    session_fence_send(devices, standing, reason, wait);
    counter_add(&devices->counters.fences, 1);
    counter_sub(&devices->counters.linked, 1);
    standing->home       = NULL;
    standing->is_fencing = !devices->have_loops_ended;
    standing_part(devices, standing);
}

void standing_part(struct devices *devices, struct standing *standing)
{
    if (devices->writer->durable.store->has_one_writer)
        return;
    standing->is_parted    = true;
    standing->parted_until = (uint16_t)(devices->tick + PARTED_TICKS);
}

/* --- turns ------------------------------------------------------------------------------------------------------ */

void devices_turn_end(struct devices *devices)
{
    if (devices->pause_ticks == 0)
        device_places_store(devices);
    else
        device_places_store_awaited(devices);
    device_io_submit(devices);
}

void devices_hold(struct devices *devices, uint32_t ticks)
{
    devices->hold_ticks = ticks;
}

void devices_go_on(struct devices *devices)
{
    devices->hold_ticks = 0;
    device_open_begin_waiting(devices);
}

void devices_tick(struct devices *devices)
{
    devices->tick++;
    if (devices->hold_ticks == 1)
        devices_go_on(devices);
    else if (devices->hold_ticks > 1)
        devices->hold_ticks--;
    if (devices->pause_ticks > 0)
        devices->pause_ticks--;
    device_sweep_tick(devices);
    member_sweep_tick(devices);
    device_looks_tick(devices);
    if (devices->writer->durable.store->has_one_writer)
        return;
    standings_end_waits(devices);
    standings_end_parting(devices);
    device_peers_tick(devices);
    device_compare_tick(devices);
}

bool devices_is_idle(const struct devices *devices)
{
    /* What another node was asked is answered within a moment, and may tell places that nobody else can store. */
    if (!list_is_empty(&devices->asks))
        return false;
    if (devices->have_loops_ended && (!list_is_empty(&devices->calls) || devices->writer->wall < devices->may_be_asked_until))
        return false;
    /* An opening that waits for a loop need not be waited for: the loop may have stopped. */
    if (devices->read_count > 0 || devices->batch != NULL || !list_is_empty(&devices->urgent))
        return false;
    const bool may_pause = !devices->have_loops_ended || devices->writer->wall >= devices->stores_until;
    return (devices->pause_ticks > 0 && may_pause) || (near_list_is_empty(&devices->lists->dirty) && list_is_empty(&devices->lazy));
}

static void standings_free(struct devices *devices, struct near_list *list)
{
    while (!near_list_is_empty(list))
        standing_free(devices, container_of(near_list_next(list), struct standing, link));
}

static void opens_free(struct session_open *open)
{
    while (open != NULL) {
        struct session_open *next = open->next;
        command_free(&open->command);
        open = next;
    }
}

static void standings_free_opens(struct near_list *list)
{
    for (struct near_list *at = near_list_next(list); at != list; at = near_list_next(at)) {
        struct standing *standing = container_of(at, struct standing, link);
        opens_free(standing->op);
    }
}

void devices_fini(struct devices *devices)
{
    must(devices->batch == NULL && devices->read_count == 0);
    device_writes_drop(&devices->urgent);
    device_writes_drop(&devices->lazy);
    device_looks_fini(devices);
    standings_free_opens(&devices->lists->held);
    standings_free_opens(&devices->lists->dirty);
    opens_free(devices->line);
    standings_free(devices, &devices->lists->idle);
    standings_free(devices, &devices->lists->dirty);
    standings_free(devices, &devices->lists->held);
    standings_free(devices, &devices->lists->parted);
    device_peers_fini(devices);
    device_compare_free(devices->compare);
    device_sweep_free(devices->sweep);
    member_sweep_free(devices->member_sweep);
    near_map_fini(&devices->standings);
    pool_fini(&devices->standing_pool);
    pool_give(&devices->list_pool, devices->lists);
    pool_fini(&devices->list_pool);
}
