#include "cluster/interest.h"

#include <stdlib.h>

#include "base/map.h"
#include "message/slot.h"

/* A channel whose follower waits for the route. */
struct interest_waiter {
    struct interest_waiter *next;
    struct channel_name    *channel;  /* owns a reference */
};

struct interest_route {
    struct map_node         node;
    struct list             link;       /* in interest.unsettled or interest.idle, or in none */
    struct list             all;        /* in interest.routes */
    struct list             waiting;    /* in interest.waiting, while there are waiters */
    struct interest_waiter *waiters;
    uint32_t                followers;  /* channels */
    bool                    is_wanted, is_registered, is_under_way;
    bool                    may_stand;  /* the last call for it failed, or the engine has another life: nobody knows */
    msec                    idle_at;    /* nobody follows it since then */
    uint16_t                len;
    char                    name[];
};

struct interest {
    struct hash_key key;
    msec            linger_ms;
    struct map      map;
    struct list     routes, unsettled, idle, waiting;
    size_t          missing_count;  /* wanted, and not registered */
    uint64_t        life;           /* raised by interest_renew(): what an older batch registered is gone */
};

struct interest *interest_new(const struct hash_key *key, msec linger_ms)
{
    struct interest *interest = calloc(1, sizeof *interest);

    must(interest != NULL);
    interest->key       = *key;
    interest->linger_ms = linger_ms;
    map_init(&interest->map);
    list_init(&interest->routes);
    list_init(&interest->unsettled);
    list_init(&interest->idle);
    list_init(&interest->waiting);
    return interest;
}

/* --- routes -------------------------------------------------------------------------------------------------- */

static bool route_has_name(const struct map_node *node, const void *key)
{
    const struct interest_route *route = container_of(node, struct interest_route, node);
    return span_eq(span_of(route->name, route->len), *(const struct span *)key);
}

static struct interest_route *interest_find(const struct interest *interest, struct span name)
{
    struct map_node *node = map_find(&interest->map, hash_bytes(&interest->key, name), route_has_name, &name);
    return node == NULL ? NULL : container_of(node, struct interest_route, node);
}

static struct interest_route *route_new(struct interest *interest, struct span name)
{
    struct interest_route *route = calloc(1, sizeof *route + name.len);

    must(route != NULL && name.len <= ROUTE_NAME_BYTES_MAX);
    route->len = (uint16_t)name.len;
    memcpy(route->name, name.at, name.len);
    map_add(&interest->map, &route->node, hash_bytes(&interest->key, name));
    list_push(&interest->routes, &route->all);
    return route;
}

static void route_free(struct interest *interest, struct interest_route *route)
{
    must(route->waiters == NULL);
    list_take(&route->link);
    list_take(&route->all);
    map_take(&interest->map, &route->node);
    free(route);
}

static void route_set(struct interest *interest, struct interest_route *route, bool is_wanted, bool is_registered)
{
    interest->missing_count -= route->is_wanted && !route->is_registered;
    route->is_wanted     = is_wanted;
    route->is_registered = is_registered;
    interest->missing_count += route->is_wanted && !route->is_registered;
}

/* After each change: where does the route belong now? Frees it if it is nowhere. */
static void route_settle(struct interest *interest, struct interest_route *route)
{
    list_take(&route->link);
    if (route->is_under_way)
        return;
    if (route->is_wanted != route->is_registered)
        list_push(&interest->unsettled, &route->link);
    else if (route->is_wanted && route->followers == 0)
        list_push(&interest->idle, &route->link);
    else if (!route->is_wanted)
        route_free(interest, route);
}

/* --- who waits ------------------------------------------------------------------------------------------------ */

static void route_wait(struct interest *interest, struct interest_route *route, struct channel_name *channel)
{
    struct interest_waiter *waiter = malloc(sizeof *waiter);

    must(waiter != NULL);
    *waiter = (struct interest_waiter){ route->waiters, channel_name_ref(channel) };
    if (route->waiters == NULL)
        list_push(&interest->waiting, &route->waiting);
    route->waiters = waiter;
}

/* Who is told may follow and unfollow meanwhile. */
static void waiters_tell(struct interest_waiter *waiter, interest_routed *routed, void *ctx)
{
    while (waiter != NULL) {
        struct interest_waiter *next = waiter->next;
        if (routed != NULL)
            routed(ctx, waiter->channel);
        channel_name_unref(waiter->channel);
        free(waiter);
        waiter = next;
    }
}

static struct interest_waiter *route_take_waiters(struct interest_route *route)
{
    struct interest_waiter *waiters = route->waiters;

    list_take(&route->waiting);
    route->waiters = NULL;
    return waiters;
}

/* What nobody follows any more, and was never registered, is not wanted: else an engine that is away for long would cost
 * memory. */
void interest_release(struct interest *interest, interest_routed *routed, void *ctx)
{
    struct list *link;

    while ((link = list_pop(&interest->waiting)) != NULL) {
        struct interest_route  *route   = container_of(link, struct interest_route, waiting);
        struct interest_waiter *waiters = route_take_waiters(route);
        if (route->followers == 0 && !route->is_registered && !route->is_under_way)
            route_set(interest, route, false, route->may_stand);
        route_settle(interest, route);
        waiters_tell(waiters, routed, ctx);
    }
}

void interest_free(struct interest *interest)
{
    if (interest == NULL)
        return;
    interest_release(interest, NULL, NULL);
    while (!list_is_empty(&interest->routes))
        route_free(interest, container_of(interest->routes.next, struct interest_route, all));
    map_fini(&interest->map);
    free(interest);
}

/* --- following ------------------------------------------------------------------------------------------------ */

/* A route whose removal is under way does not stand. */
static bool route_stands(const struct interest_route *route)
{
    return route->is_registered && !route->is_under_way;
}

bool interest_follow(struct interest *interest, struct channel_name *channel)
{
    char                   scratch[ROUTE_NAME_BYTES_MAX];
    struct span            name  = route_name(channel_name_span(channel), scratch);
    struct interest_route *route = interest_find(interest, name);

    if (route == NULL)
        route = route_new(interest, name);
    route->followers++;
    route_set(interest, route, true, route->is_registered && !route->may_stand);
    bool stands = route_stands(route);
    if (!stands)
        route_wait(interest, route, channel);
    route_settle(interest, route);
    return stands;
}

void interest_unfollow(struct interest *interest, struct channel_name *channel, msec now)
{
    char                   scratch[ROUTE_NAME_BYTES_MAX];
    struct interest_route *route = interest_find(interest, route_name(channel_name_span(channel), scratch));

    must(route != NULL && route->followers > 0);
    if (--route->followers > 0)
        return;
    route->idle_at = now;
    if (!route->is_registered && !route->is_under_way && route->waiters == NULL)
        route_set(interest, route, false, route->may_stand);
    route_settle(interest, route);
}

/* The list is in the order in which they became idle, but for those that were under way then: they wait a little longer. */
void interest_tick(struct interest *interest, msec now)
{
    while (!list_is_empty(&interest->idle)) {
        struct interest_route *route = container_of(interest->idle.next, struct interest_route, link);
        if (now - route->idle_at < interest->linger_ms)
            return;
        route_set(interest, route, false, route->is_registered);
        route_settle(interest, route);
    }
}

/* --- batches ---------------------------------------------------------------------------------------------------- */

bool interest_take_batch(struct interest *interest, struct interest_batch *ret)
{
    ret->count = 0;
    ret->life  = interest->life;
    while (ret->count < INTEREST_BATCH_MAX && !list_is_empty(&interest->unsettled)) {
        struct interest_route *route = container_of(list_pop(&interest->unsettled), struct interest_route, link);
        route->is_under_way          = true;
        ret->routes[ret->count]      = route;
        ret->names[ret->count++]     = (struct engine_name){ .name       = span_of(route->name, route->len),
                                                             .is_removed = !route->is_wanted };
    }
    return ret->count > 0;
}

/* What failed may have been carried out. Whatever it was, what is wanted now is put again, and what is not is removed. */
static void route_done(struct interest *interest, struct interest_route *route, bool is_removed, bool is_done)
{
    route->is_under_way = false;
    route->may_stand    = !is_done;
    route_set(interest, route, route->is_wanted, is_done ? !is_removed : !route->is_wanted);
}

void interest_batch_done(struct interest *interest, struct interest_batch *batch, bool is_done, interest_routed *routed,
                         void *ctx)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct interest_route  *route   = batch->routes[i];
        struct interest_waiter *waiters = NULL;
        bool is_removed = batch->names[i].is_removed;
        route_done(interest, route, is_removed, is_done && (is_removed || batch->life == interest->life));
        if (!is_done || route->is_registered)
            waiters = route_take_waiters(route);
        route_settle(interest, route);
        waiters_tell(waiters, routed, ctx);
    }
}

void interest_renew(struct interest *interest)
{
    struct list *next;

    interest->life++;
    for (struct list *link = interest->routes.next; link != &interest->routes; link = next) {
        struct interest_route *route = container_of(link, struct interest_route, all);
        next                         = link->next;
        if (route->is_under_way)
            continue;  /* it is registered anew when its batch is done */
        bool is_wanted = route->followers > 0 || route->waiters != NULL;
        route->may_stand |= route->is_registered;
        route_set(interest, route, is_wanted, !is_wanted && route->may_stand);
        route_settle(interest, route);
    }
}

size_t interest_count(const struct interest *interest)
{
    return interest->map.count;
}

bool interest_has_unsettled(const struct interest *interest)
{
    return !list_is_empty(&interest->unsettled);
}

bool interest_has_waiting(const struct interest *interest)
{
    return !list_is_empty(&interest->waiting);
}

bool interest_is_settled(const struct interest *interest)
{
    return interest->missing_count == 0;
}
