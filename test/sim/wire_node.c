#include "wire_node.h"

#include <stdlib.h>

#include "base/must.h"
#include "device/membership_left.h"
#include "device/peer_fence.h"
#include "node/peer_question.h"
#include "session/member_subscribe.h"
#include "session/link.h"
#include "wire_device.h"
#include "wire_plant.h"

enum {
    TURNS_MAX       = 4,
    TICK_MS         = 100,
    FRAME_BYTES     = 1024,        /* of the messages that are published */
    BIG_FRAME_BYTES = 610 * 1024,
    ANSWERS_BYTES   = 64 * 1024,
    REPEAT_BYTES    = 16 * 1024,
};

/* --- what shard, sessions and API ask of the server --- */

static void wire_send(void *ctx, struct command *command)
{
    struct wire_loop *loop = ctx;

    wire_plant_command(loop->node->wire, command);
    if (loop->node->wire->plant_send != NULL)
        loop->node->wire->plant_send(loop->node->wire, command);
    loop->shard_port->send(loop->node->sim_node, command);
}

static void wire_ready(void *ctx, struct subscription *sub)
{
    struct wire_loop *loop = ctx;

    if (loop->node->devices == NULL || !wire_devices_take_ready(loop->node->devices, loop, sub))
        session_worker_ready(&loop->sessions, sub);
}

/* --- what other nodes ask (worker_ports.c) --- */

static void wire_peer_call(void *ctx, struct peer_call *call)
{
    struct wire_loop *loop  = ctx;
    struct world     *world = &loop->node->wire->world;

    if (call->topic == PEER_LEFT && loop->node->wire->loses_left)
        peer_call_answer(loop->sessions.shard, call);
    else if (call->topic == PEER_LEFT)
        shard_serve_left(loop->sessions.shard, &world->spaces, &world->hash_key, call);
    else
        api_take_peer_call(&loop->api, call);
}

static void wire_left(void *ctx, struct channel_name *user, struct channel_name *group)
{
    struct wire_loop *loop = ctx;

    session_worker_left(&loop->sessions, user, group);
    if (loop->node->wire->forgets_left)
        loop->sessions.leaves = (struct leave_counts){ 0 };
}

static const struct shard_port wire_shard_port = { .send = wire_send, .ready = wire_ready, .left = wire_left };

static const struct shard_port wire_cluster_shard_port = {
    .send = wire_send, .ready = wire_ready, .left = wire_left, .peer_call = wire_peer_call,
};

static uint64_t wire_new_key(void *ctx)
{
    struct wire_loop *loop = ctx;
    return ++loop->node->key;
}

static const struct session_port wire_session_port = { .new_key = wire_new_key };

static void wire_put_metrics(void *ctx, const struct writer_stats *stats, struct buf *out)
{
    (void)ctx, (void)stats, (void)out;
}

static void wire_health(void *ctx, struct api_health *ret)
{
    const struct wire_loop *loop = ctx;
    *ret = (struct api_health){ .is_stopping = loop->node->leave_by != 0 };
}

static void wire_revoke(void *ctx, const struct revocation *revocation, uint64_t seq,
                        void (*answered)(void *owner, uint64_t cut), void *owner)
{
    struct wire_loop *loop = ctx;
    wire_devices_revoke(loop->node->devices, revocation, seq, answered, owner);
}

static const struct registry *wire_nodes(void *ctx)
{
    const struct wire_loop *loop = ctx;
    return loop->node->registry;
}

static const struct api_port wire_api_port = {
    .revoke = wire_revoke, .put_metrics = wire_put_metrics, .health = wire_health, .nodes = wire_nodes,
};

/* --- routes --- */

static bool is_of_session(const struct http_request *request)
{
    return span_eq(request->path, SPAN("/v1/ws")) || span_eq(request->path, SPAN("/v1/subscribe"));
}

static struct http_plan wire_plan(void *ctx, const struct http_request *request)
{
    const struct wire_loop *loop = ctx;

    if (span_eq(request->path, SPAN("/v1/subscribe")))
        return session_plan_subscribe(request);
    if (is_of_session(request))
        return (struct http_plan){ .is_alone = true, .needs_caller = true };
    return (struct http_plan){
        .body_bytes_max = api_body_bytes_max(&loop->api, request),
        .is_heavy       = api_is_heavy(request),
        .needs_caller   = api_needs_caller(request),
    };
}

static struct http_caller caller_of(const struct identified *answer)
{
    return (struct http_caller){ answer->identity, answer->refusal.status, answer->refusal.reason };
}

static void wire_identified(void *owner, const struct identified *answer)
{
    struct http_caller caller = caller_of(answer);
    http_identified(owner, &caller);
}

static void *wire_identify(void *ctx, struct http_sender *sender, const struct http_request *request,
                           struct http_caller *ret)
{
    struct wire_loop *loop       = ctx;
    struct identified         answer;
    struct credential_scratch scratch;

    credential_scratch_init(&scratch);
    struct credential credential = credential_of_request(request_field(request->head, SPAN("authorization")),
                                                         request->query, &scratch);
    void *under_way = identify(&loop->identities.identifier, &credential, loop->sim.loop.now, wire_identified, sender,
                               &answer);
    credential_scratch_fini(&scratch);
    *ret = caller_of(&answer);
    return under_way;
}

static void wire_cancel_identify(void *ctx, void *identification)
{
    (void)ctx;
    identify_cancel(identification);
}

static void wire_forget(void *ctx, struct identity *identity)
{
    (void)ctx;
    identity_unref(identity);
}

static bool wire_is_unwelcome(void *ctx, const struct http_request *request, const struct http_caller *caller)
{
    const struct wire_loop *loop = ctx;
    return !is_of_session(request) && api_is_unwelcome(&loop->api, request, caller);
}

static void wire_serve(void *ctx, struct http_exchange *exchange, const struct http_request *request)
{
    struct wire_loop *loop = ctx;

    if (span_eq(request->path, SPAN("/v1/ws")))
        session_serve_ws(&loop->sessions, exchange, request);
    else if (span_eq(request->path, SPAN("/v1/subscribe")))
        session_serve_subscribe(&loop->sessions, exchange, request);
    else
        api_serve(&loop->api, exchange, request);
}

static enum http_origin wire_judge_origin(void *ctx, struct span origin, struct span host)
{
    (void)ctx, (void)origin, (void)host;
    return HTTP_ORIGIN_KNOWN;
}

static const struct http_service wire_service = {
    .plan = wire_plan, .identify = wire_identify, .cancel_identify = wire_cancel_identify, .forget = wire_forget,
    .is_unwelcome = wire_is_unwelcome, .serve = wire_serve, .judge_origin = wire_judge_origin,
};

/* --- a turn --- */

static void wire_on_turn_begin(void *ctx)
{
    struct wire_loop *loop  = ctx;
    struct world     *world = &loop->node->wire->world;

    shard_turn_begin(&loop->node->sim_node->shards[loop->index], world->now, world_wall(world));
}

/* Streams have spoken; now the mail, which the sim_node keeps. */
static void wire_on_mail(void *ctx, struct mail *mail)
{
    struct wire_loop *loop = ctx;

    must(mail == &loop->turn);
    sim_node_loop_begin(loop->node->sim_node, loop->index);
    slow_identifier_turn(&loop->identities);
}

static void wire_begin_to_leave(struct wire_loop *loop)
{
    loop->is_leaving = true;
    http_server_stop(&loop->http);
    session_worker_stop(&loop->sessions);
}

static void wire_on_turn_end(void *ctx)
{
    struct wire_loop *loop  = ctx;
    struct shard     *shard = &loop->node->sim_node->shards[loop->index];

    if (loop->node->leave_by != 0 && !loop->is_leaving)
        wire_begin_to_leave(loop);
    if (loop->tick_at <= loop->sim.loop.now) {
        loop->tick_at = loop->sim.loop.now + TICK_MS;
        http_server_tick(&loop->http);
        api_tick(&loop->api);
        session_worker_tick(&loop->sessions);
    }
    if (loop->node->devices != NULL)
        wire_devices_turn(loop->node->devices, loop);
    shard_tell(shard);
    do {
        session_worker_turn_end(&loop->sessions);
        http_server_turn_end(&loop->http);
    } while (!near_list_is_empty(&loop->sessions.lists->dirty) || !list_is_empty(&loop->http.dirty));
    sim_node_loop_end(loop->node->sim_node, loop->index);
}

static const struct loop_hooks wire_hooks = {
    .turn_begin = wire_on_turn_begin, .mail = wire_on_mail, .turn_end = wire_on_turn_end,
};

void wire_node_turn(struct wire_node *node, unsigned index)
{
    struct wire_loop *loop  = &node->loops[index];
    struct world     *world = &node->wire->world;

    loop->sim.wall_offset = world_wall(world) - world->now;
    for (int turn = 0; turn < TURNS_MAX && (turn == 0 || !loop_sim_is_quiet(&loop->sim)); turn++) {
        struct bundle bundle = { 0 };
        bundle_add(&bundle, &loop->turn);
        mailbox_put(&loop->sim.loop.mailbox, &bundle);
        loop_sim_turn(&loop->sim, world->now);
    }
}

/* --- life --- */

static struct http_limits draw_http_limits(struct world *world)
{
    bool is_tight = world->faults.tight;

    return (struct http_limits){
        .h1                   = { 8192, 16384 },
        .pipeline_max         = is_tight ? 2 : 8,
        .answer_bytes_max     = is_tight ? 400 : 64 * 1024,
        .owed_bytes_max       = is_tight ? 2000 : 8 * 1024 * 1024,
        .ease_bytes_max       = is_tight ? 1500 : 4 * 1024 * 1024,
        .stuck_ms             = 400,
        .taken_bytes_min      = 1,
        .head_timeout_ms      = 600,
        .request_timeout_ms   = 600,
        .body_bytes_per_s_min = 100,
        .keepalive_timeout_ms = KEEPALIVE_MS,
        .body_bytes_max       = 8 * 1024 * 1024,
        .linger_ms            = 100,
    };
}

static struct session_limits draw_session_limits(struct world *world)
{
    bool is_tight = world->faults.tight;

    return (struct session_limits){
        .heartbeat              = { .asked_ms = LINK_HEARTBEAT_MS, .pong_timeout_ms = PONG_MS,
                                    .least_ms = LINK_HEARTBEAT_MS, .most_ms = 10 * LINK_HEARTBEAT_MS,
                                    .offered_ms = 2 * LINK_HEARTBEAT_MS },
        .slow_reader_timeout_ms = 1000,
        .poll_wait_ms           = 100,
        .poll_wait_ms_max       = POLL_MS_MAX,
        .sse_retry_ms           = 20,
        .reconnect              = { 30, 60, 200, 50 },
        .connect_timeout_ms     = CONNECT_MS,
        .close_timeout_ms       = 100,
        .channels_max           = CHANNELS_MAX,
        .frame_bytes_max        = 2 * 1024 * 1024,
        .gathered_bytes_max     = 8 * 1024 * 1024,
        .gather_timeout_ms      = 600,
        .waiting_publishes_max  = is_tight ? 2 : 256,
        .echo_bytes_max         = 1024,
        .ticket_ttl_ms          = 3600 * 1000,
    };
}

static void wire_loop_init(struct wire_loop *loop, struct wire_node *node, unsigned index)
{
    struct world      *world = &node->wire->world;
    struct shard      *shard = &node->sim_node->shards[index];
    struct http_limits http  = draw_http_limits(world);

    loop->node       = node;
    loop->index      = index;
    loop->shard_port = shard->port;
    shard->port      = node->registry == NULL ? &wire_shard_port : &wire_cluster_shard_port;
    shard->ctx       = loop;
    loop_sim_init(&loop->sim, &wire_hooks, loop, world->now, world_wall(world));
    wire_plant_streams(node->wire, &loop->sim);
    slow_identifier_init(&loop->identities, node->wire, &loop->sim.loop.wheel);
    http_server_init(&loop->http, &loop->sim.loop, &http, &wire_service, loop);
    loop->sessions = (struct session_worker){
        .loop = &loop->sim.loop, .server = &loop->http, .shard = shard, .namespaces = &world->spaces,
        .hash_key = &world->hash_key, .limits = draw_session_limits(world), .identifier = &loop->identities.identifier,
        .port = &wire_session_port, .ctx = loop,
    };
    if (node->devices != NULL)
        wire_devices_lend_sessions(node->devices, loop);
    session_worker_init(&loop->sessions);
    if (node->wire->plant_loop != NULL)
        node->wire->plant_loop(node->wire, &loop->sessions);
    if (node->wire->faults.lets_go)
        loop->sessions.cuts.bytes_max = loop->sessions.cuts.long_min = 0;
    wire_plant_cuts(node->wire, &loop->sessions.cuts);
    loop->api = (struct api){
        .server = &loop->http, .shard = shard, .namespaces = &world->spaces, .hash_key = &world->hash_key,
        .limits = { .payload_bytes_max = 1 << 20, .batch_bytes_max = 4 << 20, .batch_messages_max = 100,
                    .history_limit_max = 1000, .history_bytes_max = world->faults.tight ? 500 : 1 << 20,
                    .history_busy_bytes_max = world->faults.tight ? 400 : 1 << 16 },
        .port = &wire_api_port, .ctx = loop, .version = "sim",
    };
    if (node->devices != NULL)
        wire_devices_lend_api(node->devices, loop);
    api_init(&loop->api);
    if (node->devices != NULL)
        wire_devices_follow(node->devices, loop);
}

struct wire_node *wire_node_new(struct wire_world *wire, unsigned no)
{
    struct wire_node *node = calloc(1, sizeof *node);

    must(node != NULL);
    node->wire       = wire;
    node->no         = no;
    node->sim_node   = wire->world.nodes[no];
    node->loop_count = wire->world.loops_a_node;
    node->key        = (uint64_t)wire->world.life_count << 32;  /* no key is given in two lives */
    if (wire->has_devices)
        node->devices = wire_devices_new(node);
    for (unsigned i = 0; i < node->loop_count; i++)
        wire_loop_init(&node->loops[i], node, i);
    return node;
}

void wire_node_close(struct wire_node *node)
{
    for (unsigned i = 0; i < node->loop_count; i++) {
        session_worker_close_all(&node->loops[i].sessions);
        http_server_fini(&node->loops[i].http);
    }
}

void wire_node_free(struct wire_node *node)
{
    for (unsigned i = 0; i < node->loop_count; i++) {
        struct wire_loop *loop = &node->loops[i];
        must(node->sim_node->shards[i].away_count == 0);
        session_worker_fini(&loop->sessions);
        if (node->devices != NULL)
            wire_devices_leave(node->devices, loop);
        api_fini(&loop->api);
        slow_identifier_fini(&loop->identities);
        loop_sim_fini(&loop->sim);
    }
    free(node);
}

struct sim_link *wire_node_connect(struct wire_node *node, unsigned index, const struct sim_wire *wire,
                                   bool is_native)
{
    struct wire_loop *loop = &node->loops[index];
    struct stream    *stream;

    if (node->leave_by != 0)
        return NULL;
    struct sim_link *link = sim_link_new(&loop->sim, wire, &stream);
    if (is_native)
        session_accept_native(&loop->sessions, stream);
    else
        http_server_open(&loop->http, stream);
    return link;
}

void wire_node_stop(struct wire_node *node)
{
    node->leave_by = node->wire->world.now + STOP_MS;
}

bool wire_node_has_stopped(const struct wire_node *node)
{
    bool is_idle = true;

    for (unsigned i = 0; i < node->loop_count; i++)
        is_idle &= node->loops[i].is_leaving && session_worker_is_idle(&node->loops[i].sessions) &&
                   http_server_is_idle(&node->loops[i].http) && node->sim_node->shards[i].away_count == 0;
    return is_idle || node->leave_by <= node->wire->world.now;
}

uint64_t wire_node_lost_frames(const struct wire_node *node)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < node->loop_count; i++)
        count += counter_get(&node->loops[i].sessions.cuts.lost);
    return count;
}

/* A reader that takes nothing costs the frame that was cut, what its maker wants again, and answers up to where its
 * link is not read from any more. */
static void wire_loop_check_links(const struct wire_loop *loop)
{
    struct wire_world      *wire  = loop->node->wire;
    size_t                  frame = wire->faults.big ? BIG_FRAME_BYTES : FRAME_BYTES;
    const struct near_list *links = &loop->sessions.lists->links;

    for (const struct near_list *at = near_list_next(links); at != links; at = near_list_next(at)) {
        size_t waiting = link_waiting_bytes(container_of(at, const struct link, in_worker));
        promise(&wire->world, waiting <= ANSWERS_BYTES + REPEAT_BYTES + 2 * frame, "%zu bytes wait for one reader",
                waiting);
    }
}

void wire_node_check_bounds(const struct wire_node *node)
{
    struct world *world = &node->wire->world;

    for (unsigned i = 0; i < node->loop_count; i++) {
        const struct wire_loop *loop  = &node->loops[i];
        const struct shard     *shard = &node->sim_node->shards[i];
        wire_loop_check_links(loop);
        promise(world, loop->http.body_bytes <= loop->http.limits.body_bytes_max, "bodies are bounded");
        promise(world, loop->sessions.gathered_bytes <= loop->sessions.limits.gathered_bytes_max,
                "gathered messages are bounded");
        promise(world, shard->pages.away <= shard->limits.pages_away_max, "pages away are bounded");
        promise(world, shard->pages.store_away <= shard->limits.pages_store_away_max, "pages away are bounded");
        promise(world, shard->publish_count <= shard->limits.publish_count_max, "publishes away are bounded");
    }
}

void wire_node_hurry(struct wire_node *node)
{
    for (unsigned i = 0; i < node->loop_count; i++)
        loop_sim_hurry(&node->loops[i].sim);
}

void wire_node_check_empty(const struct wire_node *node)
{
    struct world *world = &node->wire->world;

    for (unsigned i = 0; i < node->loop_count; i++) {
        const struct wire_loop *loop = &node->loops[i];
        promise(world, counter_get(&loop->http.counters.conns) == 0, "loop %u closes its connections, %llu are left", i,
                (unsigned long long)counter_get(&loop->http.counters.conns));
        promise(world, session_worker_is_idle(&loop->sessions), "loop %u ends its sessions", i);
        promise(world, loop->http.body_bytes == 0 && loop->http.owed_bytes == 0, "loop %u owes nothing: %zu, %zu", i,
                loop->http.body_bytes, loop->http.owed_bytes);
        promise(world, counter_get(&loop->sessions.cuts.bytes) == 0, "loop %u holds no cut frame", i);
        promise(world, loop->sessions.gathered_bytes == 0, "loop %u gathers nothing", i);
        promise(world, list_is_empty(&loop->sim.links), "loop %u has no streams", i);
    }
}
