#include "uplink_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "store_sim.h"

enum {
    RUN_MS        = 4000,
    STEP_MS_MAX   = 12,
    CALM_STEP_MS  = 15,
    HEAL_MS       = 90000,
    SETTLE_MS     = 2500,  /* longer than the slowest answer */
    TELL_MS       = 150,    /* nodes hear so often who lives */
    LOST_MS       = 600,    /* who is silent for so long is taken for lost */
    PAUSE_MS_MAX  = 2000,
    LEASE_MS      = 60000,
    KEEP_MS       = 3600 * 1000,
};

#define UPLINK_SALT UINT64_C(0x75706c696e6b)

/* --- nodes ------------------------------------------------------------------------------------------------------ */

static void on_turn_begin(void *ctx)
{
    struct uplink_node *node = ctx;

    requests_turn_begin(&node->requests, node->all->world.now);
    back_end_turn(node);
}

static void on_nothing(void *ctx)
{
    (void)ctx;  /* the writer itself calls its uplink */
}

/* Nothing is under way in the writer any more. */
static void on_gone(void *ctx)
{
    struct uplink_node *node = ctx;

    back_end_lose(node);  /* what was about to be called */
    clients_leave(&node->requests);
    requests_fini(&node->requests);
}

/* --- what the writer asks of the uplink (uplink/uplink.c), without forwarders --- */

static void on_request(void *ctx, struct request_command *command)
{
    requests_take(ctx, command);
}

static void on_committed(void *ctx, struct message *message)
{
    (void)ctx, (void)message;
}

static void on_requests_turn_end(void *ctx)
{
    requests_turn_end(ctx);
}

static void on_requests_tick(void *ctx)
{
    requests_tick(ctx);
}

static bool are_requests_idle(void *ctx)
{
    return requests_is_idle(ctx);
}

static const struct uplink_port requests_alone = {
    .request = on_request, .committed = on_committed, .turn_end = on_requests_turn_end, .tick = on_requests_tick,
    .is_idle = are_requests_idle,
};

static void node_begin(struct uplink_world *all, unsigned no)
{
    struct world         *world = &all->world;
    struct uplink_node   *node  = calloc(1, sizeof *node);
    struct requests_setup setup = { .spaces = &world->spaces, .hash_key = &world->hash_key, .port = &uplink_request_port, .ctx = node };
    struct requests_limits limits = { .keep_ms = KEEP_MS, .responses_bytes_max = 1 << 22 };

    must(node != NULL);
    node->all      = all;
    node->sim_node = sim_node_new(world, no, world->life_count++);
    snprintf(node->id.name, sizeof node->id.name, "n%u", no);
    node->id.incarnation = rng_next(&all->chance) | 1;
    registry_init(&node->registry);
    setup.writer = &node->sim_node->writer;
    setup.self   = node->id;
    setup.seed   = rng_next(&all->chance);
    setup.is_alone = world->node_count == 1;
    requests_init(&node->requests, &setup, &limits);
    requests_turn_begin(&node->requests, world->now);
    node->sim_node->writer.uplink     = &requests_alone;
    node->sim_node->writer.uplink_ctx = &node->requests;
    if (world->node_count > 1) {
        node->sim_node->writer.cluster     = &uplink_cluster_port;
        node->sim_node->writer.cluster_ctx = node;
    }
    node->beside           = (struct sim_beside){ .ctx = node, .turn_begin = on_turn_begin, .turn_end = on_nothing, .tick = on_nothing,
                                                  .fini = on_nothing, .gone = on_gone };
    node->sim_node->beside = &node->beside;
    node->silent_since     = node->went_on_at = -1;
    all->nodes[no]         = node;
    world->nodes[no]       = node->sim_node;
}

/* What is answered by now is taken, and nothing comes of it. */
static void node_end(struct uplink_world *all, unsigned no)
{
    struct uplink_node *node = all->nodes[no];

    node->sim_node->is_dying            = true;
    node->requests.is_stopping   = true;
    node->requests.is_hurried    = true;
    clients_cut(all, no);
    back_end_lose(node);
    store_sim_cut_node(all->world.disk, no);
    sim_node_free(node->sim_node);
    registry_fini(&node->registry);
    free(node);
    all->nodes[no]       = NULL;
    all->world.nodes[no] = NULL;
    clients_left(all, no);
}

static void node_begin_anew(struct uplink_world *all, unsigned no, const char *why)
{
    tell(&all->world, "node %u %s", no, why);
    node_end(all, no);
    node_begin(all, no);
}

/* --- who lives -------------------------------------------------------------------------------------------------- */

static bool is_lost(const struct uplink_world *all, const struct uplink_node *node)
{
    return node->is_paused && node->silent_since + LOST_MS < all->world.now;
}

static void tell_nodes(struct uplink_world *all)
{
    struct node_record    records[NODES_SIM_MAX] = { 0 };
    struct registry_lease leases[NODES_SIM_MAX];
    size_t                count = 0;

    if (all->nodes_told_at > all->world.now || all->world.node_count == 1)
        return;
    all->nodes_told_at = all->world.now + TELL_MS;
    for (unsigned i = 0; i < all->world.node_count; i++) {
        if (is_lost(all, all->nodes[i]) || uplink_plant_hides(all))
            continue;
        records[count].id = all->nodes[i]->id;
        leases[count]     = (struct registry_lease){ &records[count], LEASE_MS };
        count++;
    }
    for (unsigned i = 0; i < all->world.node_count; i++)
        if (!all->nodes[i]->is_paused)
            registry_take(&all->nodes[i]->registry, leases, count, world_wall(&all->world), NULL, NULL);
}

/* --- what happens to nodes ---------------------------------------------------------------------------------------- */

static void node_draw_trouble(struct uplink_world *all, unsigned no)
{
    struct uplink_node *node  = all->nodes[no];
    struct world       *world = &all->world;

    if (world->faults.crash && uplink_one_in(all, 100)) {
        node_begin_anew(all, no, "is killed");
    } else if (all->has_pauses && !node->is_paused && uplink_one_in(all, 120)) {
        node->is_paused    = true;
        node->silent_since = world->now;
        node->paused_until = world->now + (msec)uplink_draw(all, PAUSE_MS_MAX);
        tell(world, "node %u is paused", no);
    } else if (all->has_stops && !node->is_stopping && uplink_one_in(all, 250)) {
        node->is_stopping = true;
        requests_stop(&node->requests);
        tell(world, "node %u stops", no);
    }
}

static void node_go_on(struct uplink_world *all, unsigned no)
{
    struct uplink_node *node = all->nodes[no];

    if (is_lost(all, node))
        node->went_on_at = all->world.now;
    node->is_paused = false;
    tell(&all->world, "node %u goes on", no);
}

static void node_turn(struct uplink_world *all, unsigned no)
{
    struct world    *world = &all->world;
    struct sim_node *node  = world->nodes[no];

    sim_node_writer_turn(node);
    for (unsigned own = 0; own < world->loops_a_node; own++) {
        sim_node_loop_begin(node, own);
        if (own == 0 && no == 0)
            clients_turn(all);
        sim_node_loop_end(node, own);
    }
    sim_node_check_bounds(node);
}

static void seat_turn(struct uplink_world *all, unsigned no)
{
    if (!all->world.is_healing)
        node_draw_trouble(all, no);
    struct uplink_node *node = all->nodes[no];
    if (is_lost(all, node))
        clients_left(all, no);
    if (node->is_paused && (node->paused_until <= all->world.now || all->world.is_healing))
        node_go_on(all, no);
    if (!node->is_paused)
        node_turn(all, no);
    if (node->is_stopping && !node->is_paused && writer_is_idle(&node->sim_node->writer))
        node_begin_anew(all, no, "has stopped");
}

static void uplink_step(struct uplink_world *all)
{
    store_sim_turn(all->world.disk);
    tell_nodes(all);
    for (unsigned i = 0; i < all->world.node_count; i++)
        seat_turn(all, i);
    responses_scan(all);
}

/* --- its plan ----------------------------------------------------------------------------------------------------- */

static void draw_faults(struct uplink_world *all)
{
    struct world  *world   = &all->world;
    struct faults *faults  = &world->faults;
    bool *const    flags[] = {
        &faults->crash, &faults->broken, &faults->full, &faults->slow_sync, &faults->read_io, &faults->stuck, &faults->away,
        &faults->slow_mail, &faults->late_answers, &faults->tight, &all->has_stops,
    };
    bool *const shared[] = { &faults->unknown, &faults->stalls, &faults->refused, &all->has_pauses };

    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        *flags[i] = one_in(world, OF_PLAN, 3);
    for (size_t i = 0; world->node_count > 1 && i < sizeof shared / sizeof shared[0]; i++)
        *shared[i] = one_in(world, OF_PLAN, 3);
}

static void uplink_world_init(struct uplink_world *all)
{
    struct world *world = &all->world;
    char          name[32];

    for (unsigned i = 0; i < PURPOSE_COUNT; i++) {
        struct rng seed = { world->seed * PURPOSE_COUNT + i };
        world->chance[i].state = rng_next(&seed);
    }
    all->chance.state   = world->seed ^ UPLINK_SALT;
    world->hash_key     = (struct hash_key){ 17, 4 };
    world->now          = 1000;
    world->node_count   = 1 + (unsigned)draw(world, OF_PLAN, 3);
    world->loops_a_node = 1;
    world->loop_count   = world->node_count;
    world->has_shared_store = world->node_count > 1;
    world->linger_ms    = LINGER_MS_MAX;
    all->device_count   = 1 + (unsigned)draw(world, OF_PLAN, ASK_DEVICES_MAX);
    draw_faults(all);
    world->has_late_rows = world->faults.unknown && world->seed % 4 == 0;
    namespaces_init(&world->spaces);
    for (unsigned i = 0; i < all->device_count; i++) {
        snprintf(name, sizeof name, "device:u/d%u", i);
        must(channel_name_new(&world->spaces, &world->hash_key, span_str(name), &world->channels[i]) == CHANNEL_NAME_OK);
    }
    world->channel_count = all->device_count;
    world->disk          = store_sim_new(world);
    uplink_plant_init(all);
    for (unsigned i = 0; i < world->node_count; i++)
        node_begin(all, i);
    tell(world, "%u nodes, %u devices", world->node_count, all->device_count);
}

static void uplink_world_fini(struct uplink_world *all)
{
    for (unsigned i = 0; i < all->world.node_count; i++)
        node_end(all, i);
    store_sim_free(all->world.disk);
    for (unsigned i = 0; i < all->world.channel_count; i++)
        channel_name_unref(all->world.channels[i]);
}

/* --- its life ----------------------------------------------------------------------------------------------------- */

static void uplink_heal(struct uplink_world *all)
{
    struct world *world = &all->world;

    tell(world, "all faults end");
    world->is_healing = true;
    store_sim_heal(world->disk);
    for (msec until = world->now + HEAL_MS; world->now < until && !clients_are_done(all); world->now += CALM_STEP_MS)
        uplink_step(all);
    clients_check_end(all);
    for (msec until = world->now + SETTLE_MS; world->now < until; world->now += CALM_STEP_MS)
        uplink_step(all);
    for (unsigned i = 0; i < world->node_count; i++)
        promise(world, requests_is_idle(&all->nodes[i]->requests), "the uplink of node %u comes to rest", i);
}

bool uplink_live(uint64_t seed, unsigned plant, struct transcript *transcript, char ret_promise[256])
{
    jmp_buf              broken;
    struct uplink_world *all = calloc(1, sizeof *all);

    must(all != NULL);
    all->plant            = (enum uplink_plant)plant;
    all->world.seed       = seed;
    all->world.transcript = transcript;
    all->world.broken     = &broken;
    if (setjmp(broken) != 0) {
        memcpy(ret_promise, all->world.promise, sizeof all->world.promise);
        return false;  /* what it held is lost: the process ends soon */
    }
    uplink_world_init(all);
    for (struct world *world = &all->world; world->now < RUN_MS; world->now += 1 + (msec)uplink_draw(all, STEP_MS_MAX))
        uplink_step(all);
    uplink_heal(all);
    uplink_world_fini(all);
    free(all);
    return true;
}
