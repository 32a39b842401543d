#include "device_roam.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "cluster/cluster.h"
#include "device/peer_fence.h"
#include "device_plant.h"
#include "engine_mail.h"
#include "node/peer_question.h"
#include "wire_device.h"

enum {
    LEASE_MS      = 900,
    WALK_MS       = 2000,
    POLL_MS       = 150,
    KEEP_ROUTE_MS = 200,
    TIMEOUT_MS    = 400,
    PAUSE_MS_MAX  = 1200,
    OUT_MS_MAX    = 12000,
    HEAL_LATE_MS  = 3000,  /* losses between nodes are found within so long, */
    DISK_LATE_MS  = 2500,  /* … or so much later, if the database has troubles of its own */
    NEWBORN_MS    = 1500,  /* a node has asked who the others are, and has been answered */
    LOSSES        = 18,
    ENGINE_LOSSES = 9,
};

#define ROAM_SALT UINT64_C(0x726f616d)

/* Beside the devices of one life of a node. */
struct roam_node {
    struct roam         *roam;
    struct wire_devices *devices;
    unsigned             no;
    struct sim_beside    beside;
    struct node_id       id;
    msec                 started;
    struct engine        shim;
    struct engine       *engine;   /* NULL: the node ends, and nothing goes out any more */
    struct cluster      *cluster;
    struct engine_mail   mail;
    uint64_t             doubts_seen;
};

static struct world *world_of(struct roam *roam)
{
    return &roam->all->wire.world;
}

static bool roam_one_in(struct roam *roam, uint64_t count)
{
    return rng_below(&roam->chance, count) == 0;
}

/* --- the engine --- */

static void on_done(void *ctx, struct engine_call *call)
{
    engine_mail_put_done(&((struct roam_node *)ctx)->mail, call);
}

static void on_frame(void *ctx, struct span frame)
{
    engine_mail_put_frame(&((struct roam_node *)ctx)->mail, frame);
}

static void on_up(void *ctx, uint64_t life, uint64_t since)
{
    struct roam_node *node = ctx;

    tell(world_of(node->roam), "node %u: the engine is up", node->no);
    engine_mail_put_up(&node->mail, life, since);
}

static void on_down(void *ctx, const char *why)
{
    struct roam_node *node = ctx;

    tell(world_of(node->roam), "node %u: the engine is down: %s", node->no, why);
    engine_mail_put_down(&node->mail);
}

static const struct engine_events roam_events = { .done = on_done, .frame = on_frame, .up = on_up, .down = on_down };

static void shim_submit(struct engine *shim, struct engine_call *call)
{
    struct roam_node *node = container_of(shim, struct roam_node, shim);

    if (node->engine != NULL) {
        node->engine->ops->submit(node->engine, call);
        return;
    }
    call->rc = RC_IO;
    engine_mail_put_done(&node->mail, call);
}

static void shim_stats(struct engine *shim, struct engine_stats *ret)
{
    struct roam_node *node = container_of(shim, struct roam_node, shim);

    node->engine->ops->stats(node->engine, ret);
}

static void shim_close(struct engine *shim)
{
    (void)shim;  /* the node closes it */
}

static const struct engine_ops shim_ops = { .name = "sim", .submit = shim_submit, .stats = shim_stats, .close = shim_close };

/* --- what the cluster asks of the node (main/cluster_host.c) --- */

static void on_serve(void *ctx, struct peer_call *call)
{
    struct roam_node *node = ctx;

    if (call->topic == PEER_FENCE)
        devices_serve_fence(&node->devices->devices, call);
    else
        peer_call_serve(&node->devices->node->sim_node->writer, call);
}

static void on_usurped(void *ctx, const char *why)
{
    struct roam_node *node = ctx;

    promise_broken(world_of(node->roam), "node %u has to end: %s", node->no, why);
}

static void on_turn_begin(void *ctx)
{
    struct roam_node *node  = ctx;
    struct world     *world = world_of(node->roam);

    cluster_turn_begin(node->cluster, world->now, world_wall(world));
    engine_mail_take(&node->mail, node->cluster);
}

static void on_turn_end(void *ctx)
{
    (void)ctx;  /* the writer itself calls its cluster */
}

/* Where heads are compared because something may be lost, what other nodes said of sessions may be lost, too. Where nothing is lost,
 * sessions are not compared at all: the questions have to be enough. */
static void on_tick(void *ctx)
{
    struct roam_node *node   = ctx;
    uint64_t          doubts = cluster_doubt_count(node->cluster);

    if (doubts == node->doubts_seen || node->roam->is_sound || roam_plant_compares_never(node->roam->all))
        return;
    node->doubts_seen = doubts;
    devices_compare_now(&node->devices->devices);
}

static void on_fini(void *ctx)
{
    struct roam_node *node = ctx;

    while (engine_mail_take(&node->mail, node->cluster))
        ;
    cluster_free(node->cluster);
    node->roam->seats[node->no].node = NULL;
    free(node);
}

/* --- a node joins, and ends --- */

static void node_make_cluster(struct roam_node *node)
{
    struct world        *world  = world_of(node->roam);
    struct writer       *writer = &node->devices->node->sim_node->writer;
    struct cluster_setup setup  = {
         .writer = writer, .engine = &node->shim, .spaces = &world->spaces, .hash_key = &world->hash_key,
         .serve = on_serve, .usurped = on_usurped, .ctx = node,
         .limits = { .lease_ms = LEASE_MS, .compare_ms = WALK_MS, .head_poll_ms = POLL_MS, .linger_ms = KEEP_ROUTE_MS,
                     .waiting_max = 1000, .waiting_bytes_max = 1 << 20, .questions_max = 100 },
         .self = { .id = node->id, .started = node->started, .protocol = CLUSTER_PROTOCOL,
                   .roles = ROLE_ACCESS | ROLE_API, .capacity = 1000, .version = "sim" },
    };

    node->cluster       = cluster_new(&setup);
    writer->cluster     = &cluster_port;
    writer->cluster_ctx = node->cluster;
}

static void roam_join(struct wire_devices *devices)
{
    struct roam      *roam  = device_world_of(devices->node->wire)->roam;
    struct world     *world = world_of(roam);
    struct roam_node *node  = calloc(1, sizeof *node);

    must(node != NULL);
    *node = (struct roam_node){ .roam = roam, .devices = devices, .no = devices->node->no,
                                .started = world_wall(world) + world->life_count };  /* no two begin at once */
    node->id.incarnation = rng_next(&roam->chance) | 1;
    snprintf(node->id.name, sizeof node->id.name, "n%u", node->no);
    engine_mail_init(&node->mail);
    node->engine = sim_engine_open(roam->server, &node->id, &roam_events, node);
    node->shim   = (struct engine){
          .ops = &shim_ops, .frame_bytes_max = node->engine->frame_bytes_max, .prefers_heads = node->engine->prefers_heads,
    };
    node_make_cluster(node);
    devices_join(&devices->devices, span_str(node->id.name), node->id.incarnation, &peers_by_question,
                 &devices->node->sim_node->writer);
    if (roam->is_sound)
        devices->devices.limits.compare_ms = INT64_MAX / 2;
    node->beside = (struct sim_beside){
        .ctx = node, .turn_begin = on_turn_begin, .turn_end = on_turn_end, .tick = on_tick, .fini = on_fini,
    };
    devices->cluster         = &node->beside;
    devices->node->registry  = cluster_registry(node->cluster);
    roam->seats[node->no]    = (struct roam_seat){ .node = node, .born_at = world->now };
    roam_plant_join(roam->all, &devices->devices);
}

/* What is asked is given back. */
static void roam_part(struct wire_devices *devices)
{
    struct roam_node *node = device_world_of(devices->node->wire)->roam->seats[devices->node->no].node;

    node->engine->ops->close(node->engine);
    node->engine = NULL;
    while (engine_mail_take(&node->mail, node->cluster))
        ;
}

/* As writer_thread.c has it. */
bool roam_leave(struct roam *roam, unsigned no)
{
    struct wire_devices  *devices = roam->seats[no].node->devices;
    const struct node_id *id      = &roam->seats[no].node->id;

    devices_loops_ended(&devices->devices);
    promise(world_of(roam), !world_of(roam)->is_healing || world_of(roam)->now < roam->seats[no].out_since + OUT_MS_MAX,
            "node %u leaves, and never ends: its writer is %s, its devices are %s", no,
            writer_is_idle(&devices->node->sim_node->writer) ? "idle" : "busy", devices_is_idle(&devices->devices) ? "idle" : "busy");
    if (!writer_is_idle(&devices->node->sim_node->writer) || !devices_is_idle(&devices->devices) ||
        !cluster_leave(roam->seats[no].node->cluster))
        return false;
    promise(world_of(roam), !roam->is_sound || (!sim_server_has_lease(roam->server, id) && sim_server_route_count(roam->server, id) == 0),
            "node %u has left, and has its lease or %zu routes", no, sim_server_route_count(roam->server, id));
    tell(world_of(roam), "node %u has left", no);
    return true;
}

/* --- its plan --- */

/* What makes life harder and loses nothing between nodes. */
static void draw_burdens(struct device_world *all)
{
    struct faults      *faults  = &all->wire.world.faults;
    struct wire_faults *wired   = &all->wire.faults;
    bool *const         flags[] = {
        &faults->slow_sync, &faults->slow_mail, &faults->late_answers, &faults->rests, &wired->short_writes,
        &wired->short_reads, &wired->narrow, &wired->slow, &wired->delays, &wired->cuts, &wired->resets, &wired->dead,
        &wired->stops, &wired->slow_identity, &wired->lets_go, &all->roam->faults.slow_answers,
    };
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        *flags[i] = one_in(&all->wire.world, OF_PLAN, 3);
}

/* In some worlds alone what became of a commit is not known, and in half of those it may come late: what was acknowledged then is asked for
 * behind raises of which nobody knows whether they were written. Chosen by the number of the seed, so that the others stay what they were. */
static bool is_of_unknown_commits(const struct device_world *all)
{
    return all->wire.world.seed % 16 == 7 || all->plant == ROAM_PLANT_LOST_UNSURE;
}

static void draw_unknown_commits(struct device_world *all, bool *const flags[LOSSES])
{
    for (size_t i = 0; i < LOSSES; i++)
        *flags[i] = false;
    all->roam->is_sound                  = false;
    all->wire.world.faults.unknown       = true;
    all->wire.world.has_late_rows        = all->wire.world.seed % 32 == 7;
    all->wire.world.calls_unknown_undone = all->plant == ROAM_PLANT_LOST_UNSURE;
}

/* In a third of all worlds nothing is lost; in a third one thing goes wrong, in the others many. Those of the engine and of nodes
 * come first. */
void roam_draw_faults(struct device_world *all)
{
    struct faults      *faults        = &all->wire.world.faults;
    struct roam_faults *more          = &all->roam->faults;
    bool *const         flags[LOSSES] = {
        &more->lost_frames, &more->doubled_frames, &more->late_frames, &more->lost_calls, &more->lost_answers, &more->emptied,
        &more->breaks, &more->pauses, &faults->crash, &faults->broken, &faults->full, &faults->read_io, &faults->stuck,
        &faults->away, &faults->lost_hints, &faults->unknown, &faults->stalls, &faults->refused,
    };
    uint64_t way = draw(&all->wire.world, OF_PLAN, 3);

    draw_burdens(all);
    all->roam->is_sound = way == 0;
    if (way == 1)
        *flags[draw(&all->wire.world, OF_PLAN, one_in(&all->wire.world, OF_PLAN, 3) ? LOSSES : ENGINE_LOSSES)] = true;
    for (size_t i = 0; way == 2 && i < LOSSES; i++)
        *flags[i] = one_in(&all->wire.world, OF_PLAN, 4);
    if (is_of_unknown_commits(all))
        draw_unknown_commits(all, flags);
}

static void server_set_faults(struct roam *roam)
{
    const struct roam_faults *faults = &roam->faults;

    sim_server_set_faults(roam->server, &(struct sim_engine_faults){
        .lost_frames = faults->lost_frames ? 5 : 0, .doubled_frames = faults->doubled_frames ? 5 : 0,
        .late_frames = faults->late_frames ? 5 : 0, .lost_calls = faults->lost_calls ? 8 : 0,
        .lost_answers = faults->lost_answers ? 8 : 0, .slow_answers = faults->slow_answers ? 5 : 0,
    });
}

struct roam *roam_new(struct device_world *all)
{
    struct roam *roam = calloc(1, sizeof *roam);

    must(roam != NULL);
    roam->all         = all;
    roam->chance      = (struct rng){ all->wire.world.seed ^ ROAM_SALT };
    all->wire.join    = roam_join;
    all->wire.part    = roam_part;
    all->roam         = roam;
    roam_draw_faults(all);
    roam->server = sim_server_new(&(struct sim_server_options){
        .chance = { rng_next(&roam->chance) }, .answer_ms_max = (msec)rng_below(&roam->chance, 20),
        .late_ms_max = LATE_MS_MAX, .timeout_ms = TIMEOUT_MS, .reconnect_ms = 50, .clock_permille = 1000,
        .sweeps = roam_one_in(roam, 2), .prefers_heads = roam_one_in(roam, 3), .frame_bytes_max = 1 << 20,
    });
    server_set_faults(roam);
    return roam;
}

void roam_free(struct roam *roam)
{
    sim_server_step(roam->server, world_of(roam)->now + 2 * LATE_MS_MAX);  /* answers and frames to nobody */
    sim_server_free(roam->server);
    free(roam);
}

/* --- what happens --- */

static void seat_set_paused(struct roam *roam, unsigned no, bool is_paused)
{
    roam->seats[no].is_paused = is_paused;
    sim_engine_hold(roam->seats[no].node->engine, is_paused);
    tell(world_of(roam), "node %u %s", no, is_paused ? "is paused" : "goes on");
}

static void seat_turn(struct roam *roam, unsigned no)
{
    struct roam_seat *seat  = &roam->seats[no];
    struct world     *world = world_of(roam);

    if (seat->is_paused && (seat->paused_until <= world->now || world->is_healing))
        seat_set_paused(roam, no, false);
    if (world->is_healing)
        return;
    if (roam->faults.pauses && !seat->is_paused && roam_one_in(roam, 150)) {
        seat->paused_until = world->now + (msec)rng_below(&roam->chance, PAUSE_MS_MAX);
        seat_set_paused(roam, no, true);
    }
    if (roam->faults.breaks && roam_one_in(roam, 100))
        sim_engine_break(seat->node->engine);
}

void roam_turn(struct roam *roam)
{
    struct world *world = world_of(roam);

    if (roam->faults.emptied && !world->is_healing && roam_one_in(roam, 120)) {
        tell(world, "the engine is emptied");
        sim_server_empty(roam->server);
    }
    sim_server_step(roam->server, world->now);
    for (unsigned i = 0; i < world->node_count; i++)
        seat_turn(roam, i);
}

void roam_heal(struct roam *roam)
{
    sim_server_set_faults(roam->server, NULL);
}

bool roam_is_paused(const struct roam *roam, unsigned no)
{
    return roam->seats[no].is_paused;
}

/* --- how late --- */

msec roam_late_ms(const struct device_world *all)
{
    const struct faults *faults = &all->wire.world.faults;

    if (all->roam == NULL || all->roam->is_sound)
        return 0;
    bool has_disk_trouble = faults->broken || faults->full || faults->read_io || faults->stuck || faults->away ||
                            faults->unknown || faults->stalls || faults->refused;
    return HEAL_LATE_MS + (all->roam->faults.pauses ? PAUSE_MS_MAX : 0) + (has_disk_trouble ? DISK_LATE_MS : 0);
}

bool roam_is_newborn(const struct device_world *all, unsigned no)
{
    return all->roam != NULL && all->wire.world.now < all->roam->seats[no].born_at + NEWBORN_MS;
}

bool roam_knows_nobody(const struct device_world *all, unsigned no)
{
    return all->roam != NULL && cluster_registry(all->roam->seats[no].node->cluster)->version == 0;
}

bool roam_tells_all(const struct device_world *all)
{
    const struct faults      *faults = &all->wire.world.faults;
    const struct roam_faults *more   = &all->roam->faults;
    const bool                can_store = !faults->broken && !faults->away && !faults->unknown;

    return !more->lost_frames && !more->late_frames && !more->lost_calls && !more->breaks && !more->pauses && !faults->crash &&
           (can_store || !all->wire.faults.stops);
}
