/* worker_node.c - what the API tells of this node, and how it is drained. */
#include "main/limits.h"
#include "main/server.h"
#include "main/worker_priv.h"
#include "settings/advertise.h"

void worker_describe_node(void *ctx, struct api_node *ret)
{
    struct worker         *worker = ctx;
    struct server         *server = worker->server;
    const struct settings *set    = &worker->snapshot->settings;

    *ret = (struct api_node){
        .name         = server->node,
        .incarnation  = server->incarnation,
        .region       = set->region,
        .roles        = set->role_bits,
        .is_draining  = counter_get(&server->drain_ms) != 0,
        .connections  = server_connection_count(server),
        .capacity     = set->capacity != 0 ? set->capacity
                                           : connections_capacity(set->connections_max,
                                                                  backend_host_leaves(set, server->descriptors)),
        .heartbeat_ms = worker->sessions.limits.heartbeat.offered_ms,
        .reconnect    = worker->sessions.limits.reconnect,
    };
    worker_addresses(ctx, span_str(set->advertise), ret->advertised);
}

void worker_addresses(void *ctx, struct span advertise, struct span ret[NODE_SCHEMES])
{
    (void)ctx;
    for (size_t i = 0; i < NODE_SCHEMES; i++)
        ret[i] = advertise_find(advertise, span_str(node_schemes[i]));
}

const struct registry *worker_nodes(void *ctx)
{
    const struct worker *worker = ctx;
    return worker->has_nodes ? &worker->nodes : NULL;
}

enum { ELSEWHERE_NODES = 3 };

void worker_elsewhere(void *ctx, struct buf *where)
{
    struct worker              *worker = ctx;
    const struct registry_node *nodes[ELSEWHERE_NODES];
    size_t                      count = 0;

    if (worker->has_nodes)
        count = registry_allocate(&worker->nodes, span_str(worker->snapshot->settings.region), span_str(worker->server->node),
                                  &worker->api.random, nodes, ELSEWHERE_NODES);
    for (size_t i = 0; i < count; i++) {
        buf_put(where, i > 0 ? SPAN(",") : SPAN(""));
        buf_put(where, span_str(nodes[i]->record.advertise));
    }
}

/* This loop's part of what all nodes of the region let in. The burst grows with the rate. */
static struct admission_limits allocation_limits(const struct worker *worker, const struct registry_pace *pace)
{
    const struct settings *set   = &worker->snapshot->settings;
    const double           per_s = (double)pace->per_s / (double)(pace->routers * worker->server->worker_count);
    const double burst = set->admissions_per_s == 0 ? per_s : (double)set->admissions_burst / (double)set->admissions_per_s * per_s;

    return (struct admission_limits){ .per_s = per_s, .burst = burst < UINT32_MAX ? (uint32_t)burst : UINT32_MAX };
}

msec worker_wait_ms(void *ctx, struct span region)
{
    struct worker             *worker = ctx;
    const struct registry_pace pace   = registry_pace(&worker->nodes, region, SPAN(""));

    if (!worker->has_nodes || pace.nodes == 0)
        return session_worker_wait_ms(&worker->sessions);
    const struct admission_limits limits = allocation_limits(worker, &pace);
    return admission_ask(&worker->allocation, &limits, false, worker->loop.now);
}

/* Written by whichever loop was asked; each write stands for itself. */
void worker_drain_node(void *ctx, msec within_ms)
{
    struct worker *worker = ctx;

    counter_set(&worker->server->drain_ms, (uint64_t)within_ms);
    server_wake_workers(worker->server);
}

/* At the end of a turn. A further call changes the pace. */
void worker_drain_if_asked(struct worker *worker)
{
    uint64_t within_ms = counter_get(&worker->server->drain_ms);

    if (within_ms == worker->drains_within_ms || worker->leave_by != 0)
        return;
    worker->drains_within_ms = within_ms;
    session_worker_drain(&worker->sessions, (msec)within_ms);
}
