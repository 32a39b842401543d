#include "cluster_node.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "node/peer_question.h"

/* --- what the engine tells --- */

static const char *engine_call_text(enum engine_call_kind kind)
{
    static const char *const texts[] = { [ENGINE_LEASE] = "lease", [ENGINE_LEAVE] = "leave", [ENGINE_NODES] = "nodes",
                                         [ENGINE_ROUTE] = "route", [ENGINE_LOOKUP] = "look-up", [ENGINE_SEND] = "frame" };
    return texts[kind];
}

void cluster_node_done(struct cluster_node *node, struct engine_call *call)
{
    engine_mail_put_done(&node->mail, call);
}

static void on_done(void *ctx, struct engine_call *call)
{
    struct cluster_node *node = ctx;

    if (call->rc != RC_OK)
        tell(&node->all->world, "node %u: a call fails: %s", node->sim_node->no, engine_call_text(call->kind));
    if (!plant_take_done(node, call))
        cluster_node_done(node, call);
}

static void on_frame(void *ctx, struct span frame)
{
    struct cluster_node *node = ctx;
    struct buf           bytes;

    buf_init(&bytes, SIZE_MAX);
    buf_put(&bytes, frame);
    plant_take_frame(node, &bytes);
    engine_mail_put_frame(&node->mail, buf_span(&bytes));
    buf_fini(&bytes);
}

static void on_up(void *ctx, uint64_t life, uint64_t since)
{
    struct cluster_node *node = ctx;

    tell(&node->all->world, "node %u: the engine is up, life %" PRIu64, node->sim_node->no, life % 1000);
    engine_mail_put_up(&node->mail, plant_life(node, life), since);
}

static void on_down(void *ctx, const char *why)
{
    struct cluster_node *node = ctx;

    tell(&node->all->world, "node %u: the engine is down: %s", node->sim_node->no, why);
    plant_take_silence(node, false);
    engine_mail_put_down(&node->mail);
}

static void on_silent(void *ctx, bool is_silent)
{
    struct cluster_node *node = ctx;

    tell(&node->all->world, "node %u: the engine %s", node->sim_node->no, is_silent ? "is silent" : "speaks");
    plant_take_silence(node, is_silent);
    engine_mail_put_silence(&node->mail, is_silent);
}

static const struct engine_events engine_events = { .done = on_done, .frame = on_frame, .up = on_up, .down = on_down,
                                                    .silent = on_silent };

/* --- what the cluster asks of it --- */

static void tell_routes(struct cluster_node *node, const struct engine_call *call)
{
    for (size_t i = 0; i < call->name_count; i++)
        tell(&node->all->world, "node %u: the route %.*s is to be %s", node->sim_node->no, SPAN_ARG(call->names[i].name),
             call->names[i].is_removed ? "removed" : "put");
}

static void shim_submit(struct engine *shim, struct engine_call *call)
{
    struct cluster_node *node = container_of(shim, struct cluster_node, shim);

    if (call->kind == ENGINE_ROUTE)
        tell_routes(node, call);
    if (node->sim_node->is_dying) {
        call->rc = RC_IO;
        cluster_node_done(node, call);
    } else if (!plant_take_call(node, call)) {
        node->engine->ops->submit(node->engine, call);
    }
}

static void shim_stats(struct engine *shim, struct engine_stats *ret)
{
    struct cluster_node *node = container_of(shim, struct cluster_node, shim);

    node->engine->ops->stats(node->engine, ret);
}

static void shim_close(struct engine *shim)
{
    (void)shim;  /* the node closes it */
}

static const struct engine_ops shim_ops = { .name = "sim", .submit = shim_submit, .stats = shim_stats, .close = shim_close };

/* --- what the cluster asks of the node --- */

static void on_serve(void *ctx, struct peer_call *call)
{
    struct cluster_node *node = ctx;

    call->is_unknown = true;
    cluster_port.answer(node->cluster, call);
}

static void on_usurped(void *ctx, const char *why)
{
    struct cluster_node *node = ctx;

    tell(&node->all->world, "node %u has to end: %s", node->sim_node->no, why);
    node->is_usurped = true;
}

/* --- turns --- */

static void on_turn_begin(void *ctx)
{
    struct cluster_node *node  = ctx;
    const struct world  *world = &node->all->world;

    cluster_turn_begin(node->cluster, world_node_now(world, node->sim_node->no), world_node_wall(world, node->sim_node->no));
    plant_turn(node);
    engine_mail_take(&node->mail, node->cluster);
}

static void on_nothing(void *ctx)
{
    (void)ctx;  /* the writer itself calls its cluster */
}

/* --- life --- */

static void on_fini(void *ctx)
{
    struct cluster_node *node = ctx;

    node->engine->ops->close(node->engine);
    while (engine_mail_take(&node->mail, node->cluster))
        ;
    cluster_free(node->cluster);
    node->all->seats[node->sim_node->no].node = NULL;
    plant_fini(node);
    free(node);
}

static void node_make_cluster(struct cluster_node *node)
{
    struct world        *world = &node->all->world;
    struct cluster_setup setup = {
        .writer = &node->sim_node->writer, .engine = &node->shim, .spaces = &world->spaces, .hash_key = &world->hash_key,
        .limits = node->all->limits, .serve = on_serve, .usurped = on_usurped, .ctx = node,
        .self = { .id = node->id, .started = node->started, .protocol = CLUSTER_PROTOCOL,
                  .roles = ROLE_ACCESS | ROLE_API, .capacity = 1000, .version = "sim" },
    };

    node->cluster                      = cluster_new(&setup);
    node->sim_node->writer.cluster     = &cluster_port;
    node->sim_node->writer.cluster_ctx = node->cluster;
}

void cluster_node_begin(struct world *world, struct sim_node *sim_node)
{
    struct cluster_world *all  = cluster_world_of(world);
    struct cluster_node  *node = calloc(1, sizeof *node);
    struct cluster_seat  *seat = &all->seats[sim_node->no];

    must(node != NULL);
    node->all      = all;
    node->sim_node = sim_node;
    node->started  = world_node_wall(world, sim_node->no);
    node->id.incarnation = rng_next(&all->chance) | 1;
    snprintf(node->id.name, sizeof node->id.name, "n%u", seat->name);
    engine_mail_init(&node->mail);
    plant_init(node);
    node->engine   = sim_engine_open(all->server, &node->id, &engine_events, node);
    node->shim     = (struct engine){
            .ops = &shim_ops, .frame_bytes_max = node->engine->frame_bytes_max, .prefers_heads = node->engine->prefers_heads,
    };
    node_make_cluster(node);
    node->beside     = (struct sim_beside){
            .ctx = node, .turn_begin = on_turn_begin, .turn_end = on_nothing, .tick = on_nothing, .fini = on_fini,
    };
    sim_node->beside = &node->beside;
    seat->node       = node;
}
