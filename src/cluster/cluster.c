#include "cluster/cluster.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "cluster/cluster_priv.h"
#include "cluster/record_text.h"

/* A renewal is tried so often within the time of a lease; a lease whose last fifth has begun is not relied on. */
enum { LEASE_PARTS = 5, ROUTES_RETRY_MS = 1000, TICK_MS = 100, REBUILD_PATIENCE_MS = 30000,
       COMPARE_ROUTES_FIRST = 8 /* the pace of comparisons is divided by it */ };

struct lease_call {
    struct cluster_call call;
    struct buf          record;
    uint64_t            lives;   /* of the engine, when it was put */
};

struct nodes_call {
    struct cluster_call call;
    uint64_t            lives;   /* likewise */
};

struct route_call {
    struct cluster_call   call;
    msec                  put_at;
    struct interest_batch batch;
};

/* --- calls ----------------------------------------------------------------------------------------------------- */

void cluster_submit(struct cluster *cluster, struct cluster_call *call)
{
    call->call.owner = cluster;
    cluster->under_way++;
    cluster->engine->ops->submit(cluster->engine, &call->call);
}

void cluster_take_done(struct cluster *cluster, struct engine_call *call)
{
    struct cluster_call *ours = container_of(call, struct cluster_call, call);

    must(cluster->under_way > 0);
    cluster->under_way--;
    ours->done(cluster, ours);
}

void cluster_doubt(struct cluster *cluster, enum doubt_reason reason)
{
    counter_add(&cluster->counters.doubts[reason], 1);
    cluster->doubts |= UINT32_C(1) << reason;
}

const char *doubt_reason_name(enum doubt_reason reason)
{
    static const char *const names[DOUBT_REASONS] = {
        [DOUBT_GAP] = "gap", [DOUBT_MALFORMED] = "malformed", [DOUBT_NODE_LOST] = "node_lost", [DOUBT_RECONNECTED] = "reconnected",
        [DOUBT_LEASE] = "lease", [DOUBT_ROUTES] = "routes", [DOUBT_EMPTIED] = "emptied", [DOUBT_LATE] = "late",
        [DOUBT_LIST] = "list", [DOUBT_NOT_TOLD] = "not_told", [DOUBT_LEFT_OUT] = "left_out",
    };

    must(reason < DOUBT_REASONS);
    return names[reason];
}

/* --- the lease ------------------------------------------------------------------------------------------------- */

static msec lease_part(const struct cluster *cluster)
{
    return cluster->setup.limits.lease_ms / LEASE_PARTS;
}

static bool cluster_has_lease(const struct cluster *cluster)
{
    return cluster->lease_until != 0 && cluster->now < cluster->lease_until - lease_part(cluster);
}

/* Others may have passed this node over for a while, or what the engine held of it is gone. All heads are compared once, when the
 * routes stand (routes_turn_end()): what is compared before that has to be compared then all the same. */
static void cluster_begin_anew(struct cluster *cluster, enum doubt_reason why)
{
    cluster_told_end(cluster, why);
    interest_renew(cluster->interest);
    cluster->is_rebuilding   = true;
    cluster->patient_until   = cluster->now + REBUILD_PATIENCE_MS;
    cluster->wide_next       = cluster->now;
    cluster->routes_retry_at = cluster->now;
    cluster->routes_window   = ROUTE_CALLS_FIRST;
}

/* The first lease that is taken in a life of the engine is new: the routes of this life have waited for it, and one that was
 * renewed before that life began is asked for again at once. */
static void lease_taken(struct cluster *cluster, bool is_new, bool is_of_life)
{
    bool has_lapsed = cluster->lease_until != 0 && cluster->lease_asked_at >= cluster->lease_until;
    bool is_first   = cluster->routes_want_lease;

    cluster->lease_until = cluster->lease_asked_at + cluster->setup.limits.lease_ms;
    if (is_first && !is_new && !is_of_life)
        cluster->lease_next = cluster->now;
    else
        cluster->routes_want_lease = false;
    if (has_lapsed)
        cluster_told_end(cluster, DOUBT_LEASE);  /* the routes were gone for longer than others tell */
    if ((is_new || has_lapsed) && !is_first)
        cluster_begin_anew(cluster, DOUBT_LEASE);
}

static void lease_done(struct cluster *cluster, struct cluster_call *call)
{
    struct lease_call *lease = container_of(call, struct lease_call, call);

    cluster->is_leasing = false;
    if (call->call.rc == RC_OK) {
        lease_taken(cluster, call->call.is_new, lease->lives == counter_get(&cluster->counters.lives));
    } else {
        counter_add(&cluster->counters.lease_failures, 1);
        cluster->routes_want_lease = false;  /* better a route without a lease than none */
    }
    if (call->call.rc == RC_BUSY && !cluster->is_leaving)
        cluster->setup.usurped(cluster->setup.ctx, "another process with this node's name has joined the cluster");
    buf_fini(&lease->record);
    free(lease);
}

static bool cluster_may_lease(const struct cluster *cluster)
{
    return cluster->is_up && !cluster->is_leaving && !cluster->is_leasing && cluster->now >= cluster->lease_next;
}

static void lease_put(struct cluster *cluster)
{
    struct lease_call *lease = calloc(1, sizeof *lease);

    must(lease != NULL);
    buf_init(&lease->record, RECORD_TEXT_BYTES_MAX);
    record_text_put(&lease->record, &cluster->setup.self);
    must(!buf_is_over(&lease->record));
    lease->call = (struct cluster_call){
        .call = { .kind = ENGINE_LEASE, .record = buf_span(&lease->record), .started = cluster->setup.self.started,
                  .lease_ms = cluster->setup.limits.lease_ms },
        .done = lease_done,
    };
    lease->lives            = counter_get(&cluster->counters.lives);
    cluster->is_leasing     = true;
    cluster->lease_asked_at = cluster->now;
    cluster->lease_next     = cluster->now + lease_part(cluster);
    cluster_submit(cluster, &lease->call);
}

/* --- the nodes ------------------------------------------------------------------------------------------------- */

static void on_node(void *ctx, const struct registry_node *node)
{
    struct cluster *cluster = ctx;

    if (node->state != NODE_LOST || cluster_is_self(cluster, &node->record.id))
        return;
    cluster_ask_lost(cluster->ask, &node->record.id);
    cluster_doubt(cluster, DOUBT_NODE_LOST);  /* what it committed last it may have told nobody */
}

/* Another incarnation has the name of this one, or nobody has it any more. */
static void cluster_drop_known(struct cluster *cluster, const struct node_id *id)
{
    cluster_ask_lost(cluster->ask, id);
    if (registry_find(&cluster->registry, span_str(id->name)) == NULL)
        return;
    cluster_forget_far(cluster, id);
    cluster_doubt(cluster, DOUBT_NODE_LOST);
}

static void cluster_learn_known(struct cluster *cluster)
{
    for (size_t i = 0; i < cluster->known_count; i++)
        if (registry_find_id(&cluster->registry, &cluster->known[i]) == NULL)
            cluster_drop_known(cluster, &cluster->known[i]);
    cluster->known_count = cluster->registry.count;
    cluster->known       = reallocarray(cluster->known, cluster->known_count + 1, sizeof cluster->known[0]);
    must(cluster->known != NULL);
    for (size_t i = 0; i < cluster->known_count; i++)
        cluster->known[i] = cluster->registry.nodes[i].record.id;
    for (size_t i = 0; i < cluster->known_count; i++)
        if (!cluster_is_self(cluster, &cluster->known[i]))
            bus_links_meet(cluster->links, &cluster->known[i]);
}

/* Of two nodes that can't understand each other, or look for routes in different places, the newer one ends: it would miss what the
 * cluster says, and notice only when heads are compared. So it does if it keeps its channels elsewhere: clients would be sent to it, and
 * find none of their messages. */
static void check_neighbour(struct cluster *cluster, const struct node_record *other)
{
    const struct node_record *self       = &cluster->setup.self;
    bool                      has_words  = other->protocol + 1 >= self->protocol && other->protocol <= self->protocol + 1;
    bool                      has_places = other->engines == 0 || self->engines == 0 || other->engines == self->engines;
    bool                      has_store  = other->store == 0 || self->store == 0 || other->store == self->store;
    char                      why[400];

    if ((has_words && has_places && has_store) || other->started > self->started || cluster->is_leaving)
        return;
    if (has_words && has_places)
        snprintf(why, sizeof why,
                 "the node %s of this cluster keeps its channels in other databases than this node: all need the same `store`, and each "
                 "cluster needs a Redis of its own",
                 other->id.name);
    else if (has_words)
        snprintf(why, sizeof why,
                 "the node %s of this cluster names %u instances of Redis in `cluster`, and this node names %u: all need the same list, in the "
                 "same order; stop all nodes before it is changed",
                 other->id.name, other->engines, self->engines);
    else
        snprintf(why, sizeof why,
                 "the node %s of this cluster runs longwired %s, which speaks version %u of the protocol between nodes, and this program "
                 "version %u: only neighbouring releases understand each other; upgrade from release to release",
                 other->id.name, other->version, other->protocol, self->protocol);
    cluster->setup.usurped(cluster->setup.ctx, why);
}

static bool lease_is_listed(const struct registry_lease *leases, size_t count, const struct node_id *id)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(leases[i].record->id.name, id->name) == 0)
            return true;
    return false;
}

/* The engine was emptied, and has forgotten the leases, too. Those that ran then run on here until each node has had the time to take its
 * own anew, which on a busy machine is not all at once. */
static void unlisted_begin(struct cluster *cluster)
{
    const struct registry *registry = &cluster->registry;

    cluster->unlisted_until = cluster->now + cluster->setup.limits.lease_ms;
    cluster->unlisted_count = 0;
    cluster->unlisted       = reallocarray(cluster->unlisted, registry->count + 1, sizeof cluster->unlisted[0]);
    must(cluster->unlisted != NULL);
    for (size_t i = 0; i < registry->count; i++)
        if (registry->nodes[i].state != NODE_LOST)
            cluster->unlisted[cluster->unlisted_count++] = registry->nodes[i].record.id;
}

/* Behind the `count` that were listed. Returns how many leases that makes. */
static size_t unlisted_add(struct cluster *cluster, struct node_record *records, struct registry_lease *leases, size_t count)
{
    const msec left_ms = cluster->unlisted_until - cluster->now;
    size_t     kept = 0, listed = count;

    for (size_t i = 0; left_ms > 0 && i < cluster->unlisted_count; i++) {
        const struct registry_node *node = registry_find_id(&cluster->registry, &cluster->unlisted[i]);
        if (node == NULL || lease_is_listed(leases, listed, &cluster->unlisted[i]))
            continue;
        cluster->unlisted[kept++] = node->record.id;
        records[count] = node->record;
        leases[count]  = (struct registry_lease){ &records[count], left_ms };
        count++;
    }
    cluster->unlisted_count = kept;
    return count;
}

/* A record that can't be read is of a release that is no neighbour, and left out. */
static void cluster_learn_nodes(struct cluster *cluster, const struct engine_call *call)
{
    const size_t           most    = call->lease_count + cluster->unlisted_count + 1;
    struct node_record    *records = calloc(most, sizeof records[0]);
    struct registry_lease *leases  = calloc(most, sizeof leases[0]);
    size_t                 count   = 0;

    must(records != NULL && leases != NULL);
    for (size_t i = 0; i < call->lease_count; i++) {
        if (!record_text_get(buf_span(&call->leases[i].record), &records[count]))
            continue;
        leases[count] = (struct registry_lease){ &records[count], call->leases[i].left_ms };
        check_neighbour(cluster, &records[count]);
        count++;
    }
    count = unlisted_add(cluster, records, leases, count);
    registry_take(&cluster->registry, leases, count, cluster->wall, on_node, cluster);
    cluster_learn_known(cluster);
    counter_set(&cluster->counters.nodes, count);
    free(records);
    free(leases);
}

/* A list that was asked for in a former life may lack those who have not renewed their leases yet. */
static void nodes_done(struct cluster *cluster, struct cluster_call *call)
{
    struct nodes_call *nodes = container_of(call, struct nodes_call, call);
    const bool         is_of_life = nodes->lives == counter_get(&cluster->counters.lives);

    cluster->is_listing = false;
    if (call->call.rc == RC_OK && is_of_life)
        cluster_learn_nodes(cluster, &call->call);
    if (is_of_life)
        cluster_told_listed(cluster, call->call.rc == RC_OK);
    engine_call_fini(&call->call);
    free(nodes);
}

static void nodes_put(struct cluster *cluster)
{
    struct nodes_call *nodes = calloc(1, sizeof *nodes);

    must(nodes != NULL);
    nodes->call  = (struct cluster_call){ .call = { .kind = ENGINE_NODES }, .done = nodes_done };
    nodes->lives = counter_get(&cluster->counters.lives);
    cluster->is_listing = true;
    cluster->nodes_next = cluster->now + lease_part(cluster);
    cluster_told_list(cluster);
    cluster_submit(cluster, &nodes->call);
}

/* --- routes ---------------------------------------------------------------------------------------------------- */

static void on_routed(void *ctx, struct channel_name *channel)
{
    writer_routed(((struct cluster *)ctx)->writer, channel);
}

/* One more after each quick answer, half as many after a slow one: so many nodes share the engine without being told. The answers
 * that were under way then are as slow, and count no more. */
static void routes_set_window(struct cluster *cluster, bool is_done, msec put_at)
{
    if (is_done && cluster->now - put_at <= ROUTE_SLOW_MS) {
        cluster->routes_window += cluster->routes_window < ROUTE_CALLS_MAX;
        return;
    }
    if (put_at < cluster->routes_cut_at)
        return;
    cluster->routes_cut_at = cluster->now;
    cluster->routes_window = cluster->routes_window < 2 * ROUTE_CALLS_LEAST ? ROUTE_CALLS_LEAST : cluster->routes_window / 2;
}

static void routes_done(struct cluster *cluster, struct cluster_call *call)
{
    struct route_call *routes  = container_of(call, struct route_call, call);
    bool               is_done = call->call.rc == RC_OK;

    cluster->routes_under_way--;
    routes_set_window(cluster, is_done, routes->put_at);
    if (!is_done) {
        cluster_told_end(cluster, DOUBT_ROUTES);
        cluster->is_rebuilding   = true;
        cluster->patient_until   = 0;
        cluster->routes_retry_at = cluster->now + ROUTES_RETRY_MS;
    }
    interest_batch_done(cluster->interest, &routes->batch, is_done, on_routed, cluster);
    free(routes);
}

static bool routes_put(struct cluster *cluster)
{
    struct route_call *routes = malloc(sizeof *routes);  /* not zeroed: most of it is seldom touched */

    must(routes != NULL);
    if (!interest_take_batch(cluster->interest, &routes->batch)) {
        free(routes);
        return false;
    }
    routes->call = (struct cluster_call){
        .call = { .kind = ENGINE_ROUTE, .names = routes->batch.names, .name_count = routes->batch.count },
        .done = routes_done,
    };
    routes->put_at = cluster->now;
    cluster->routes_under_way++;
    counter_add(&cluster->counters.route_changes, routes->batch.count);
    cluster_submit(cluster, &routes->call);
    return true;
}

/* Does it answer, as far as this node knows? */
static bool cluster_is_reached(const struct cluster *cluster)
{
    return cluster->is_up && !cluster->is_silent;
}

/* Nobody waits for a route while the engine does not answer. */
static void routes_release(struct cluster *cluster)
{
    if (cluster_is_reached(cluster))
        return;
    cluster->has_released |= interest_has_waiting(cluster->interest);
    interest_release(cluster->interest, on_routed, cluster);
}

static void routes_turn_end(struct cluster *cluster)
{
    if (cluster->routes_want_lease && cluster_may_lease(cluster))
        lease_put(cluster);
    routes_release(cluster);
    while (cluster_is_reached(cluster) && !cluster->is_leaving && !cluster->routes_want_lease && cluster->now >= cluster->routes_retry_at &&
           interest_has_unsettled(cluster->interest) && cluster->routes_under_way < cluster->routes_window && routes_put(cluster))
        ;
    counter_set(&cluster->counters.routes, interest_count(cluster->interest));
    if (!cluster->is_rebuilding || !interest_is_settled(cluster->interest) || !cluster->is_up)
        return;
    cluster->is_rebuilding = false;
    cluster_told_stands(cluster);
}

/* --- health ----------------------------------------------------------------------------------------------------- */

/* Do others' messages come, as far as this node can know? */
static bool cluster_is_healthy(const struct cluster *cluster)
{
    return cluster_is_reached(cluster) && cluster_has_lease(cluster) && !cluster->is_rebuilding && cluster->told.stage == TOLD_NOT;
}

/* Routes that are being registered anew will stand soon, and then all heads are compared; and meanwhile the others tell what they
 * commit (cluster_tell.c). */
static bool cluster_is_polling(const struct cluster *cluster)
{
    return !cluster_is_reached(cluster) || !cluster_has_lease(cluster) ||
           (cluster->is_rebuilding && cluster->now >= cluster->patient_until);
}

/* This node's share of what all nodes may ask. While its routes don't stand they come first: whatever is compared before them is
 * compared again. */
uint32_t cluster_compare_pace(const struct cluster *cluster)
{
    const bool     is_first = cluster->is_up && cluster->is_rebuilding;
    const uint64_t per_s    = cluster->setup.limits.compare_per_s / (is_first ? COMPARE_ROUTES_FIRST : 1);
    const uint64_t nodes    = counter_get(&cluster->counters.nodes);
    const uint64_t share    = per_s * TICK_MS / 1000 / (nodes == 0 ? 1 : nodes);

    if (cluster->setup.limits.compare_per_s == 0)
        return 0;
    return share == 0 ? 1 : (uint32_t)share;
}

static void cluster_set_pace(struct cluster *cluster)
{
    const bool is_healthy = cluster_is_healthy(cluster);
    const msec each = cluster_is_polling(cluster) ? cluster->setup.limits.head_poll_ms : cluster->setup.limits.compare_ms;

    writer_compare_each(cluster->writer, each < TICK_MS ? 1 : (uint32_t)(each / TICK_MS));
    writer_compare_pace(cluster->writer, cluster_compare_pace(cluster));
    counter_set(&cluster->counters.is_up, cluster_is_reached(cluster));
    counter_set(&cluster->counters.is_healthy, is_healthy);
}

/* What many wait for does not wait for its turn. */
static void cluster_compare_wide(struct cluster *cluster)
{
    if (cluster_is_healthy(cluster) || cluster->now < cluster->wide_next)
        return;
    cluster->wide_next = cluster->now + cluster->setup.limits.head_poll_ms;
    writer_compare_wide(cluster->writer);
}

/* Routes that will stand soon: what is compared before has to be compared then all the same. */
static bool cluster_routes_first(const struct cluster *cluster)
{
    return cluster->is_up && cluster->is_rebuilding && cluster->now < cluster->patient_until;
}

/* Doubts that come close together are one. */
static void cluster_compare(struct cluster *cluster)
{
    cluster_compare_wide(cluster);
    if (cluster->doubts == 0 || cluster_routes_first(cluster) || cluster->now - cluster->compared_at < COMPARE_AGAIN_MS)
        return;
    cluster->doubts_compared = cluster->doubts;
    cluster->doubts          = 0;
    cluster->compared_at     = cluster->now;
    counter_add(&cluster->counters.comparisons, 1);
    writer_compare_all(cluster->writer);
}

/* --- canaries ----------------------------------------------------------------------------------------------------- */

static void canaries_end(struct cluster *cluster, uint64_t number, msec now, enum canary_end end)
{
    while (!list_is_empty(&cluster->canaries)) {
        struct canary *canary = container_of(cluster->canaries.next, struct canary, link);
        if (canary->number > number || canary->until > now)
            return;
        list_take(&canary->link);
        writer_end_canary(cluster->writer, canary, end);
    }
}

void cluster_take_canaries(struct cluster *cluster, uint64_t number)
{
    canaries_end(cluster, number, INT64_MAX, CANARY_HOME);
}

static void port_canary(void *ctx, struct canary *canary)
{
    struct cluster *cluster = ctx;

    if (!cluster_is_reached(cluster) || cluster->is_leaving) {
        writer_end_canary(cluster->writer, canary, CANARY_AWAY);
        return;
    }
    canary->number = cluster_send_self(cluster);
    canary->until  = cluster->now + CANARY_MS_MAX;
    list_push(&cluster->canaries, &canary->link);
}

static void canaries_free(struct cluster *cluster)
{
    struct list *link;

    while ((link = list_pop(&cluster->canaries)) != NULL)
        command_free(&container_of(link, struct canary, link)->command);
}

/* --- the engine's events ----------------------------------------------------------------------------------------- */

/* Every node notices it, registers its routes, and then compares heads: no hole in the links has to tell it so. The other nodes
 * need a moment to renew their leases; those that a list of nodes lacks before that would count as lost. */
static void cluster_take_life(struct cluster *cluster, bool had_life, bool was_up, uint64_t since)
{
    counter_add(&cluster->counters.lives, 1);
    cluster_begin_anew(cluster, DOUBT_EMPTIED);
    cluster->routes_want_lease = true;  /* else the lease, which is new then, would be a reason to register all of them again */
    if (!had_life)
        return;
    cluster->nodes_next = cluster->now + lease_part(cluster);
    unlisted_begin(cluster);
    cluster_tell_begin(cluster, since);
    if (was_up)
        cluster_told_begin(cluster);
}

void cluster_take_up(struct cluster *cluster, uint64_t life, uint64_t since)
{
    const bool was_up = cluster->is_up;
    bool had_life   = cluster->has_life;
    bool is_another = !had_life || cluster->life != life;

    cluster_ask_reach(cluster->ask, true);
    cluster->is_up       = true;
    cluster->is_silent   = false;
    cluster->has_released = false;  /* heads are compared for another reason */
    cluster->life        = life;
    cluster->has_life    = true;
    cluster->lease_next  = cluster->now;
    cluster->nodes_next  = cluster->now;
    cluster->routes_retry_at = cluster->now;
    if (is_another) {
        cluster_take_life(cluster, had_life, was_up, since);
        return;
    }
    cluster->has_dropped = true;  /* what was under way to others may be lost */
    cluster_doubt(cluster, DOUBT_RECONNECTED);
}

void cluster_take_down(struct cluster *cluster)
{
    cluster->is_up     = false;
    cluster->is_silent = false;
    cluster_told_end(cluster, DOUBT_RECONNECTED);
    cluster_ask_reach(cluster->ask, false);
    canaries_end(cluster, UINT64_MAX, INT64_MAX, CANARY_AWAY);
}

/* What is under way may still come, in its order: nothing is lost by that. Till then heads are polled, and nobody waits for answers of others. */
void cluster_take_silence(struct cluster *cluster, bool is_silent)
{
    cluster->is_silent = is_silent;
    cluster_ask_reach(cluster->ask, !is_silent);
    if (is_silent) {
        canaries_end(cluster, UINT64_MAX, INT64_MAX, CANARY_AWAY);
    } else if (cluster->has_released) {
        cluster->has_released  = false;
        cluster->is_rebuilding = true;  /* what was published before those routes stand comes by no way */
        cluster->patient_until = cluster->now + REBUILD_PATIENCE_MS;
        cluster_told_end(cluster, DOUBT_ROUTES);
    }
}

/* --- the port ----------------------------------------------------------------------------------------------------- */

static void port_follow(void *ctx, struct channel_name *name)
{
    struct cluster *cluster = ctx;

    if (interest_follow(cluster->interest, name))
        writer_routed(cluster->writer, name);
    else
        routes_release(cluster);
}

static void port_unfollow(void *ctx, struct channel_name *name)
{
    struct cluster *cluster = ctx;

    interest_unfollow(cluster->interest, name, cluster->now);
}

static void port_committed(void *ctx, struct message *message)
{
    cluster_gather(ctx, message);
}

static void port_purged(void *ctx, struct channel_name *name, uint64_t epoch, uint64_t head)
{
    cluster_gather_purge(ctx, name, epoch, head);
}

static void port_doubted(void *ctx)
{
    ((struct cluster *)ctx)->has_dropped = true;
}

static void port_ask(void *ctx, struct peer_question *question)
{
    struct cluster *cluster = ctx;

    cluster_ask_put(cluster->ask, question, cluster->now);
}

static void port_answer(void *ctx, struct peer_call *call)
{
    cluster_ask_answer(((struct cluster *)ctx)->ask, call);
}

static void port_turn_end(void *ctx)
{
    struct cluster *cluster = ctx;

    cluster_send_turn_end(cluster);
    routes_turn_end(cluster);
    cluster_set_pace(cluster);
}

static void port_tick(void *ctx)
{
    struct cluster *cluster = ctx;

    cluster_ask_tick(cluster->ask, cluster->now);
    canaries_end(cluster, UINT64_MAX, cluster->now, CANARY_LOST);
    interest_tick(cluster->interest, cluster->now);
    cluster_send_tick(cluster);
    cluster_tell_tick(cluster);
    cluster_told_tick(cluster);
    cluster_compare(cluster);
    if (cluster_may_lease(cluster))
        lease_put(cluster);
    if (!cluster->is_up || cluster->is_leaving)
        return;
    if (!cluster->is_listing && cluster->now >= cluster->nodes_next)
        nodes_put(cluster);
}

const struct cluster_port cluster_port = {
    .follow = port_follow, .unfollow = port_unfollow, .committed = port_committed, .purged = port_purged,
    .doubted = port_doubted, .ask = port_ask, .canary = port_canary,
    .answer = port_answer, .turn_end = port_turn_end, .tick = port_tick,
};

/* --- leaving ------------------------------------------------------------------------------------------------------ */

static void leave_done(struct cluster *cluster, struct cluster_call *call)
{
    cluster->has_left = true;
    free(call);
}

static void leave_put(struct cluster *cluster)
{
    struct cluster_call *call = calloc(1, sizeof *call);

    must(call != NULL);
    *call = (struct cluster_call){ .call = { .kind = ENGINE_LEAVE }, .done = leave_done };
    cluster_submit(cluster, call);
}

/* Frames and look-ups come first: what was committed is to reach the others. */
bool cluster_leave(struct cluster *cluster)
{
    if (cluster->has_left)
        return cluster->under_way == 0;
    if (cluster->is_leaving || cluster->under_way > 0 || cluster->gathering != NULL)
        return false;
    if (!cluster->is_up) {
        cluster->has_left = true;
        return true;
    }
    cluster->is_leaving = true;
    leave_put(cluster);
    return cluster->has_left && cluster->under_way == 0;
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

static bool ask_send(void *ctx, const struct node_id *to, const struct bus_item *item)
{
    return cluster_put_item(ctx, to, item);
}

static void ask_look_up(void *ctx, uint64_t question, struct channel_name *channel)
{
    cluster_look_up(ctx, question, channel);
}

static void ask_serve(void *ctx, struct peer_call *call)
{
    const struct cluster *cluster = ctx;

    cluster->setup.serve(cluster->setup.ctx, call);
}

static const struct cluster_ask_port ask_port = { ask_send, ask_look_up, ask_serve };

static struct cluster_ask *ask_new(struct cluster *cluster)
{
    const struct cluster_ask_setup setup = {
        .port           = &ask_port,
        .ctx            = cluster,
        .writer         = cluster->writer,
        .registry       = &cluster->registry,
        .self           = &cluster->setup.self.id,
        .counters       = &cluster->counters,
        .questions_max  = cluster->setup.limits.questions_max,
        .part_bytes_max = cluster->engine->frame_bytes_max - CLUSTER_HEADER_BYTES_MAX - CLUSTER_ITEM_MORE_BYTES,
    };
    return cluster_ask_new(&setup);
}

/* --- life --------------------------------------------------------------------------------------------------------- */

struct cluster *cluster_new(const struct cluster_setup *setup)
{
    struct cluster *cluster = calloc(1, sizeof *cluster);

    must(cluster != NULL && setup->engine->frame_bytes_max >= 4096);
    cluster->setup    = *setup;
    cluster->writer   = setup->writer;
    cluster->engine   = setup->engine;
    cluster->routes_window = ROUTE_CALLS_FIRST;
    cluster->links    = bus_links_new(setup->hash_key);
    cluster->interest = interest_new(setup->hash_key, setup->limits.linger_ms);
    cluster->ask      = ask_new(cluster);
    registry_init(&cluster->registry);
    map_init(&cluster->far_map);
    list_init(&cluster->far);
    list_init(&cluster->canaries);
    buf_init(&cluster->item, setup->engine->frame_bytes_max);
    return cluster;
}

void cluster_free(struct cluster *cluster)
{
    if (cluster == NULL)
        return;
    must(cluster->under_way == 0);
    cluster_send_fini(cluster);
    cluster_tell_fini(cluster);
    cluster_told_fini(cluster);
    canaries_free(cluster);
    cluster_ask_free(cluster->ask);
    interest_free(cluster->interest);
    bus_links_free(cluster->links);
    registry_fini(&cluster->registry);
    buf_fini(&cluster->item);
    free(cluster->known);
    free(cluster->unlisted);
    free(cluster);
}

void cluster_turn_begin(struct cluster *cluster, msec now, msec wall)
{
    cluster->now  = now;
    cluster->wall = wall;
}

void cluster_tell_self(struct cluster *cluster, uint64_t connections, bool is_draining)
{
    struct node_record *self = &cluster->setup.self;

    if (self->is_draining != is_draining)
        cluster->lease_next = cluster->now;
    self->connections = connections;
    self->is_draining = is_draining;
}

void cluster_set_self(struct cluster *cluster, const struct node_record *self)
{
    const struct node_record was = cluster->setup.self;

    cluster->setup.self             = *self;
    cluster->setup.self.id          = was.id;
    cluster->setup.self.started     = was.started;
    cluster->setup.self.is_draining = was.is_draining;
    cluster->setup.self.connections = was.connections;
    cluster->lease_next             = cluster->now;
}

const struct registry *cluster_registry(const struct cluster *cluster)
{
    return &cluster->registry;
}

const struct cluster_counters *cluster_counters(const struct cluster *cluster)
{
    return &cluster->counters;
}

uint32_t cluster_doubts_compared(const struct cluster *cluster)
{
    return cluster->doubts_compared;
}

uint64_t cluster_doubt_count(const struct cluster *cluster)
{
    return counter_get(&cluster->counters.comparisons) + counter_get(&cluster->counters.comparisons_spared);
}
