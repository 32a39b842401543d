#include "cluster_plant.h"

#include <stdlib.h>

#include "base/must.h"
#include "cluster_node.h"
#include "codec/bus/bus_frame.h"

enum { LATE_ROUTE_MS = 500, OLD_LOOKUP_MS = 500, DROPS_ONE_IN = 4 };

const char *cluster_plant_text(unsigned plant)
{
    static const char *const texts[CLUSTER_PLANT_COUNT] = {
        [CLUSTER_PLANT_NONE] = "none",
        [CLUSTER_PLANT_LATE_ROUTE] = "late-route",
        [CLUSTER_PLANT_EARLY_LOOKUP] = "early-lookup",
        [CLUSTER_PLANT_NO_COUNTER] = "no-counter",
        [CLUSTER_PLANT_NO_BEAT] = "no-beat",
        [CLUSTER_PLANT_SAME_LIFE] = "same-life",
        [CLUSTER_PLANT_NO_LAPSE] = "no-lapse",
        [CLUSTER_PLANT_NO_USURPER] = "no-usurper",
        [CLUSTER_PLANT_SILENT_DROP] = "silent-drop",
        [CLUSTER_PLANT_LOST_LOOKUP] = "lost-lookup",
        [CLUSTER_PLANT_LOST_ROUTE] = "lost-route",
        [CLUSTER_PLANT_KEPT_ROUTE] = "kept-route",
        [CLUSTER_PLANT_SAME_EPOCH] = "same-epoch",
        [CLUSTER_PLANT_RESENT] = "resent",
        [CLUSTER_PLANT_HASTY_LEAVE] = "hasty-leave",
        [CLUSTER_PLANT_LEFT_ROUTES] = "left-routes",
        [CLUSTER_PLANT_UNTOLD] = "untold",
        [CLUSTER_PLANT_UNSOUGHT] = "unsought",
    };
    return texts[plant];
}

unsigned cluster_plant_seeds_max(unsigned plant)
{
    return plant == CLUSTER_PLANT_NO_USURPER ? 100 : 1000;  /* threat 114: a fence that is left out is found early */
}

/* Mostly a node sees by its own clock that its lease has run out, so only one seed in some thousands needs the lapse. What a
 * node says last is mostly followed by what another says in the same channel; so a hole in the numbers is seldom needed, and a beat that shows
 * it. And what a failed look-up leaves out is mostly told to all nodes, because the engine has begun another life. */
unsigned cluster_plant_seed_first(unsigned plant)
{
    switch (plant) {
    case CLUSTER_PLANT_NO_LAPSE: return 3500;
    case CLUSTER_PLANT_HASTY_LEAVE: return 400;
    case CLUSTER_PLANT_LOST_LOOKUP: return 7700;
    case CLUSTER_PLANT_NO_BEAT: return 6100;
    case CLUSTER_PLANT_UNTOLD: return 1400;
    case CLUSTER_PLANT_UNSOUGHT: return 1500;
    default: return 1;
    }
}

static bool is_planted(const struct cluster_node *node, enum cluster_plant plant)
{
    return node->all->plant == plant;
}

static msec plant_now(const struct cluster_node *node)
{
    return node->all->world.now;
}

/* --- routes that are registered later ------------------------------------------------------------------------------- */

struct late_route {
    struct list         link;   /* in late_routes, until it is submitted */
    struct engine_call  call;
    msec                due;
    struct engine_name *names;  /* their texts follow */
};

static void late_route_free(struct late_route *late)
{
    free(late->names);
    free(late);
}

static struct late_route *late_route_new(struct cluster_node *node, const struct engine_call *call, bool has_removed)
{
    struct late_route *late  = calloc(1, sizeof *late);
    size_t             bytes = call->name_count * sizeof *late->names;

    must(late != NULL);
    for (size_t i = 0; i < call->name_count; i++)
        bytes += call->names[i].name.len;
    late->names = calloc(1, bytes);
    must(late->names != NULL);
    late->call = (struct engine_call){ .kind = ENGINE_ROUTE, .names = late->names, .owner = node };
    char *at   = (char *)(late->names + call->name_count);
    for (size_t i = 0; i < call->name_count; i++) {
        struct span text = call->names[i].name;
        if (call->names[i].is_removed && !has_removed)
            continue;
        memcpy(at, text.at, text.len);
        late->names[late->call.name_count++] =
            (struct engine_name){ .name = { at, text.len }, .is_removed = call->names[i].is_removed };
        at += text.len;
    }
    return late;
}

static void routes_put_late(struct cluster_node *node, struct engine_call *call, msec delay, bool has_removed)
{
    struct late_route *late = late_route_new(node, call, has_removed);

    late->due = plant_now(node) + delay;
    list_push(&node->planted.late_routes, &late->link);
    call->rc = RC_OK;
    cluster_node_done(node, call);
}

void plant_turn(struct cluster_node *node)
{
    struct list *link;

    while ((link = node->planted.late_routes.next) != &node->planted.late_routes) {
        struct late_route *late = container_of(link, struct late_route, link);
        if (late->due > plant_now(node))
            return;
        list_take(link);
        if (late->call.name_count > 0)
            node->engine->ops->submit(node->engine, &late->call);
        else
            late_route_free(late);
    }
}

/* --- numbers that hide what is missing ------------------------------------------------------------------------------- */

struct plant_link {
    struct list link;
    uint64_t    incarnation;
    uint64_t    heard, dropped;
};

static struct plant_link *link_of(struct cluster_node *node, uint64_t incarnation)
{
    struct list *links = &node->planted.links;

    for (struct list *at = links->next; at != links; at = at->next)
        if (container_of(at, struct plant_link, link)->incarnation == incarnation)
            return container_of(at, struct plant_link, link);
    struct plant_link *made = calloc(1, sizeof *made);
    must(made != NULL);
    made->incarnation = incarnation;
    list_push(links, &made->link);
    return made;
}

static void frame_renumber(struct buf *frame, struct span bytes, uint64_t number)
{
    struct bus_header header;

    must(bus_header_get(&bytes, &header));
    header.number = number;
    bus_header_put(frame, &header);
    buf_put(frame, bytes);
}

void plant_take_frame(struct cluster_node *node, struct buf *frame)
{
    struct span       bytes = buf_span(frame), rest = bytes;
    struct bus_header header;
    struct buf        other;

    if (!is_planted(node, CLUSTER_PLANT_NO_COUNTER) || !bus_header_get(&rest, &header))
        return;
    buf_init(&other, SIZE_MAX);
    frame_renumber(&other, bytes, ++link_of(node, header.incarnation)->heard);
    buf_fini(frame);
    *frame = other;
}

static bool frame_has_beats_alone(struct span frame)
{
    struct bus_header header;
    struct bus_item   item;

    must(bus_header_get(&frame, &header));
    while (bus_item_get(&frame, &item))
        if (item.kind != BUS_BEAT)
            return false;
    return true;
}

static bool frame_is_dropped(struct cluster_node *node, struct span frame)
{
    bool is_beat = frame_has_beats_alone(frame);

    if (is_planted(node, CLUSTER_PLANT_NO_BEAT))
        return is_beat;
    return !is_beat && cluster_one_in(node->all, DROPS_ONE_IN);
}

/* A frame in the place of another; it is not looked at again. */
struct plant_frame {
    struct engine_call  call;
    struct engine_call *first;  /* the cluster's */
    struct buf          bytes;
};

/* Takes the bytes. */
static void frame_put(struct cluster_node *node, struct engine_call *first, struct buf *take)
{
    struct plant_frame *sent = calloc(1, sizeof *sent);

    must(sent != NULL);
    sent->first      = first;
    sent->bytes      = *take;
    sent->call       = (struct engine_call){ .kind = ENGINE_SEND, .to = first->to, .owner = node };
    sent->call.frame = buf_span(&sent->bytes);
    node->engine->ops->submit(node->engine, &sent->call);
}

static void frame_send_without_heads(struct cluster_node *node, struct engine_call *call)
{
    struct bus_header header;
    struct bus_item   item;
    struct span       rest = call->frame, before;
    struct buf        bytes;

    buf_init(&bytes, SIZE_MAX);
    must(bus_header_get(&rest, &header));
    bus_header_put(&bytes, &header);
    for (before = rest; bus_item_get(&rest, &item); before = rest)
        if (item.kind != BUS_HEAD)
            buf_put(&bytes, span_of(before.at, before.len - rest.len));
    frame_put(node, call, &bytes);
}

static void frame_send(struct cluster_node *node, struct engine_call *call)
{
    struct plant_link *link = link_of(node, call->to.incarnation);
    struct bus_header  header;
    struct span        rest = call->frame;
    struct buf         bytes;

    if (frame_is_dropped(node, call->frame)) {
        link->dropped++;
        call->rc = RC_OK;
        cluster_node_done(node, call);
        return;
    }
    must(bus_header_get(&rest, &header));
    buf_init(&bytes, SIZE_MAX);
    frame_renumber(&bytes, call->frame, header.number - link->dropped);
    frame_put(node, call, &bytes);
}

/* --- look-ups that are answered from memory --------------------------------------------------------------------------- */

struct plant_lookup {
    struct list    link;
    msec           at;
    struct buf     name;
    struct node_id ids[NODES_SIM_MAX];
    uint32_t       count;
};

static struct plant_lookup *lookup_find(struct cluster_node *node, struct span name)
{
    struct list *lookups = &node->planted.lookups;

    for (struct list *at = lookups->next; at != lookups; at = at->next)
        if (span_eq(buf_span(&container_of(at, struct plant_lookup, link)->name), name))
            return container_of(at, struct plant_lookup, link);
    return NULL;
}

static void lookups_remember(struct cluster_node *node, const struct engine_call *call)
{
    for (size_t i = 0; i < call->name_count; i++) {
        const struct engine_name *name   = &call->names[i];
        struct plant_lookup      *lookup = lookup_find(node, name->name);
        if (lookup == NULL) {
            lookup = calloc(1, sizeof *lookup);
            must(lookup != NULL);
            buf_init(&lookup->name, SIZE_MAX);
            buf_put(&lookup->name, name->name);
            list_push(&node->planted.lookups, &lookup->link);
        }
        lookup->at    = plant_now(node);
        lookup->count = name->count < NODES_SIM_MAX ? name->count : NODES_SIM_MAX;
        for (uint32_t j = 0; j < lookup->count; j++)
            lookup->ids[j] = call->ids[name->first + j];
    }
}

static bool lookup_is_known(struct cluster_node *node, const struct engine_call *call)
{
    for (size_t i = 0; i < call->name_count; i++) {
        const struct plant_lookup *lookup = lookup_find(node, call->names[i].name);
        if (lookup == NULL || lookup->at + OLD_LOOKUP_MS <= plant_now(node))
            return false;
    }
    return true;
}

static void lookup_answer(struct cluster_node *node, struct engine_call *call)
{
    call->rc  = RC_OK;
    call->ids = calloc(call->name_count * NODES_SIM_MAX, sizeof *call->ids);
    must(call->ids != NULL);
    for (size_t i = 0; i < call->name_count; i++) {
        const struct plant_lookup *lookup = lookup_find(node, call->names[i].name);
        call->names[i].first              = (uint32_t)call->id_count;
        call->names[i].count              = lookup->count;
        for (uint32_t j = 0; j < lookup->count; j++)
            call->ids[call->id_count++] = lookup->ids[j];
    }
    cluster_node_done(node, call);
}

/* --- nodes that are listed for ever ------------------------------------------------------------------------------------ */

struct plant_lease {
    struct list    link;
    struct node_id id;
    struct buf     record;
    msec           left_ms;
    bool           is_told;  /* in the answer that is looked at */
};

static struct plant_lease *lease_of(struct cluster_node *node, const char *name)
{
    struct list *leases = &node->planted.leases;

    for (struct list *at = leases->next; at != leases; at = at->next)
        if (strcmp(container_of(at, struct plant_lease, link)->id.name, name) == 0)
            return container_of(at, struct plant_lease, link);
    struct plant_lease *made = calloc(1, sizeof *made);
    must(made != NULL);
    buf_init(&made->record, SIZE_MAX);
    list_push(leases, &made->link);
    return made;
}

static void leases_remember(struct cluster_node *node, const struct engine_call *call)
{
    for (size_t i = 0; i < call->lease_count; i++) {
        const struct engine_lease *told  = &call->leases[i];
        struct plant_lease        *lease = lease_of(node, told->id.name);
        buf_clear(&lease->record);
        buf_put(&lease->record, buf_span(&told->record));
        lease->id      = told->id;
        lease->left_ms = told->left_ms;
        lease->is_told = true;
    }
}

static void leases_add(struct engine_call *call, const struct plant_lease *lease)
{
    call->leases = reallocarray(call->leases, call->lease_count + 1, sizeof *call->leases);
    must(call->leases != NULL);
    struct engine_lease *told = &call->leases[call->lease_count++];
    *told                     = (struct engine_lease){ .id = lease->id, .left_ms = lease->left_ms };
    buf_init(&told->record, SIZE_MAX);
    buf_put(&told->record, buf_span(&lease->record));
}

static void leases_keep(struct cluster_node *node, struct engine_call *call)
{
    struct list *leases = &node->planted.leases;

    for (struct list *at = leases->next; at != leases; at = at->next)
        container_of(at, struct plant_lease, link)->is_told = false;
    leases_remember(node, call);
    for (struct list *at = leases->next; at != leases; at = at->next)
        if (!container_of(at, struct plant_lease, link)->is_told)
            leases_add(call, container_of(at, struct plant_lease, link));
}

/* --- calls ------------------------------------------------------------------------------------------------------------ */

static void lookup_make_empty(struct engine_call *call)
{
    call->rc = RC_OK;
    for (size_t i = 0; i < call->name_count; i++)
        call->names[i].first = call->names[i].count = 0;
}

bool plant_take_call(struct cluster_node *node, struct engine_call *call)
{
    if (call->kind == ENGINE_ROUTE && is_planted(node, CLUSTER_PLANT_LATE_ROUTE)) {
        routes_put_late(node, call, LATE_ROUTE_MS, true);
        return true;
    }
    if (call->kind == ENGINE_ROUTE && is_planted(node, CLUSTER_PLANT_KEPT_ROUTE)) {
        routes_put_late(node, call, 0, false);
        return true;
    }
    if (call->kind == ENGINE_LEAVE && is_planted(node, CLUSTER_PLANT_LEFT_ROUTES)) {
        call->rc = RC_OK;
        cluster_node_done(node, call);
        return true;
    }
    if (call->kind == ENGINE_LOOKUP && is_planted(node, CLUSTER_PLANT_EARLY_LOOKUP) && lookup_is_known(node, call)) {
        lookup_answer(node, call);
        return true;
    }
    if (call->kind == ENGINE_LOOKUP && is_planted(node, CLUSTER_PLANT_UNSOUGHT) && node->planted.is_silent) {
        lookup_make_empty(call);
        cluster_node_done(node, call);
        return true;
    }
    if (call->kind == ENGINE_SEND &&
        (is_planted(node, CLUSTER_PLANT_NO_BEAT) || is_planted(node, CLUSTER_PLANT_SILENT_DROP))) {
        frame_send(node, call);
        return true;
    }
    if (call->kind == ENGINE_SEND && is_planted(node, CLUSTER_PLANT_UNTOLD) && !node->engine->prefers_heads) {
        frame_send_without_heads(node, call);
        return true;
    }
    return false;
}

/* What the plant has submitted itself. */
static void own_done(struct cluster_node *node, struct engine_call *call)
{
    if (call->kind == ENGINE_ROUTE) {
        late_route_free(container_of(call, struct late_route, call));
        return;
    }
    struct plant_frame *sent = container_of(call, struct plant_frame, call);
    sent->first->rc          = call->rc;
    cluster_node_done(node, sent->first);
    buf_fini(&sent->bytes);
    free(sent);
}

bool plant_take_done(struct cluster_node *node, struct engine_call *call)
{
    if (call->owner == node) {
        own_done(node, call);
        return true;
    }
    if (call->kind == ENGINE_LEASE && (is_planted(node, CLUSTER_PLANT_NO_LAPSE) || is_planted(node, CLUSTER_PLANT_SAME_LIFE)))
        call->is_new = false;
    if (call->kind == ENGINE_LEASE && call->rc == RC_BUSY && is_planted(node, CLUSTER_PLANT_NO_USURPER))
        call->rc = RC_OK;
    if (call->kind == ENGINE_LOOKUP && call->rc == RC_IO && is_planted(node, CLUSTER_PLANT_LOST_LOOKUP))
        lookup_make_empty(call);
    if (call->kind == ENGINE_ROUTE && call->rc == RC_IO && is_planted(node, CLUSTER_PLANT_LOST_ROUTE))
        call->rc = RC_OK;
    if (call->kind == ENGINE_NODES && call->rc == RC_OK && is_planted(node, CLUSTER_PLANT_HASTY_LEAVE))
        leases_keep(node, call);
    if (call->kind == ENGINE_LOOKUP && call->rc == RC_OK && is_planted(node, CLUSTER_PLANT_EARLY_LOOKUP))
        lookups_remember(node, call);
    return false;
}

uint64_t plant_life(struct cluster_node *node, uint64_t life)
{
    if (node->planted.life == 0 || !is_planted(node, CLUSTER_PLANT_SAME_LIFE))
        node->planted.life = life;
    return node->planted.life;
}

void plant_take_silence(struct cluster_node *node, bool is_silent)
{
    node->planted.is_silent = is_silent;
}

bool plant_leaves_at_once(const struct cluster_node *node)
{
    return is_planted(node, CLUSTER_PLANT_HASTY_LEAVE);
}

/* --- life ------------------------------------------------------------------------------------------------------------- */

void plant_init(struct cluster_node *node)
{
    list_init(&node->planted.late_routes);
    list_init(&node->planted.links);
    list_init(&node->planted.lookups);
    list_init(&node->planted.leases);
}

void plant_fini(struct cluster_node *node)
{
    struct list *link;

    while ((link = list_pop(&node->planted.late_routes)) != NULL)
        late_route_free(container_of(link, struct late_route, link));
    while ((link = list_pop(&node->planted.links)) != NULL)
        free(container_of(link, struct plant_link, link));
    while ((link = list_pop(&node->planted.lookups)) != NULL) {
        struct plant_lookup *lookup = container_of(link, struct plant_lookup, link);
        buf_fini(&lookup->name);
        free(lookup);
    }
    while ((link = list_pop(&node->planted.leases)) != NULL) {
        struct plant_lease *lease = container_of(link, struct plant_lease, link);
        buf_fini(&lease->record);
        free(lease);
    }
}
