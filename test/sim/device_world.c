#include "device_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "device_listener.h"
#include "device_manager.h"
#include "device_phone.h"
#include "device_plant.h"
#include "device_poster.h"
#include "device_roam.h"
#include "device_truth.h"
#include "store_sim.h"
#include "wire_device.h"

enum {
    RUN_MS       = 5000,
    STEP_MS_MAX  = 30,
    HEAL_MS      = 20000,
    CALM_STEP_MS = 15,
    STOP_STEP_MS = 4,     /* shorter than a tick of the writer, so that it has nothing to do in between */
    SETTLE_MS    = 400,
    HUSH_MS      = 300,
    LEAVE_MS     = LINGER_MS_MAX + 900,
    BIG_ONE_IN   = 24,
};

/* --- its plan --- */

static void draw_faults(struct device_world *all)
{
    struct world       *world  = &all->wire.world;
    struct faults      *faults = &world->faults;
    struct wire_faults *wired  = &all->wire.faults;
    bool *const         flags[] = {
        &faults->crash, &faults->torn, &faults->broken, &faults->full, &faults->slow_sync, &faults->read_io, &faults->stuck,
        &faults->away, &faults->lost_hints, &faults->doubled_hints, &faults->late_hints, &faults->slow_mail,
        &faults->late_answers, &faults->rests, &faults->tight, &wired->short_writes, &wired->short_reads, &wired->narrow,
        &wired->slow, &wired->delays, &wired->cuts, &wired->resets, &wired->dead, &wired->stops, &wired->slow_identity,
        &wired->lets_go,
    };
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        *flags[i] = one_in(world, OF_PLAN, 3);
}

static void add_channel(struct device_world *all, enum channel_role role, unsigned user, unsigned no, const char *name)
{
    struct world *world   = &all->wire.world;
    unsigned      channel = world->channel_count++;

    must(channel < CHANNELS_MAX);
    must(channel_name_new(&world->spaces, &world->hash_key, span_str(name), &world->channels[channel]) == CHANNEL_NAME_OK);
    all->roles[channel].role = role;
    all->roles[channel].user = user;
    all->roles[channel].no   = no;
}

static void make_channels(struct device_world *all)
{
    char name[40];

    add_channel(all, ROLE_CONTROL, 0, 0, "sys:control");
    for (unsigned i = 0; i < all->user_count; i++) {
        snprintf(name, sizeof name, "user:u%u", i);
        add_channel(all, ROLE_USER, i, 0, name);
    }
    for (unsigned i = 0; i < all->group_count; i++) {
        snprintf(name, sizeof name, "group:g%u", i);
        add_channel(all, ROLE_GROUP, 0, i, name);
    }
    add_channel(all, ROLE_TOPIC, 0, 0, "topic:t");
    for (unsigned i = 0; i < all->user_count * all->phones_a_user; i++) {
        snprintf(name, sizeof name, "device:u%u/d%u", i / all->phones_a_user, i % all->phones_a_user);
        add_channel(all, ROLE_PHONE, i / all->phones_a_user, i % all->phones_a_user, name);
    }
}

static void draw_size(struct device_world *all)
{
    struct world *world  = &all->wire.world;
    bool          is_big = one_in(world, OF_PLAN, BIG_ONE_IN);

    all->user_count    = is_big ? USERS_MAX : 1 + (unsigned)draw(world, OF_PLAN, 3);
    all->phones_a_user = is_big ? PHONES_A_USER_MAX : 1 + (unsigned)draw(world, OF_PLAN, 3);
    all->group_count   = 1 + (unsigned)draw(world, OF_PLAN, GROUPS_MAX);
}

static void device_init(struct device_world *all, bool is_roaming)
{
    struct world *world = &all->wire.world;

    for (unsigned i = 0; i < PURPOSE_COUNT; i++) {
        struct rng seed = { world->seed * PURPOSE_COUNT + i };
        world->chance[i].state = rng_next(&seed);
    }
    world->hash_key = (struct hash_key){ 17, 4 };
    namespaces_init(&world->spaces);
    if (is_roaming)
        roam_new(all);
    else
        draw_faults(all);
    draw_size(all);
    make_channels(all);
    world->node_count   = is_roaming ? 2 + (unsigned)draw(world, OF_PLAN, 2) : 1;
    world->loops_a_node = 1 + (unsigned)draw(world, OF_PLAN, is_roaming ? 2 : LOOPS_SIM_MAX);
    world->loop_count   = world->node_count * world->loops_a_node;
    world->has_shared_store = is_roaming;
    world->linger_ms = LINGER_MS_MAX;
    world->disk      = store_sim_new(world);
    device_plant_init(all);
    all->truth      = truth_new(all);
    for (unsigned i = 0; i < world->node_count; i++)
        wire_start_node(&all->wire, i);
    all->phones     = phones_new(all);
    all->application = application_new(all);
    all->managers   = managers_new(all);
    all->listeners  = listeners_new(all);
}

static void device_fini(struct device_world *all)
{
    struct world *world = &all->wire.world;

    phones_free(all->phones);
    application_free(all->application);
    managers_free(all->managers);
    listeners_free(all->listeners);
    for (unsigned i = 0; i < world->node_count; i++)
        wire_end_node(&all->wire, i);
    truth_free(all->truth);
    store_sim_free(world->disk);
    if (all->roam != NULL)
        roam_free(all->roam);
    for (unsigned i = 0; i < world->channel_count; i++)
        channel_name_unref(world->channels[i]);
}

/* --- its life --- */

static void begin_anew(struct device_world *all, unsigned no, bool is_killed)
{
    struct loop_range range = world_loops_of(&all->wire.world, no * all->wire.world.loops_a_node);

    tell(&all->wire.world, "node %u ends", no);
    phones_cut(all->phones, range);
    application_cut(all->application, range);
    managers_cut(all->managers, range);
    listeners_cut(all->listeners, range);
    wire_end_node(&all->wire, no);
    if (is_killed || all->roam == NULL)
        phones_crashed(all->phones);
    wire_start_node(&all->wire, no);
}

/* Its loops have ended, and nobody hangs on it any more. */
static bool is_out(const struct device_world *all, unsigned no)
{
    return all->roam != NULL && all->roam->seats[no].is_out;
}

static bool is_paused(const struct device_world *all, unsigned no)
{
    return all->roam != NULL && roam_is_paused(all->roam, no);
}

static void node_turn(struct device_world *all, unsigned no)
{
    sim_node_writer_turn(all->wire.world.nodes[no]);
    for (unsigned loop = 0; !is_out(all, no) && loop < all->wire.world.loops_a_node; loop++)
        wire_node_turn(all->wire.nodes[no], loop);
}

static void device_step(struct device_world *all)
{
    struct world *world = &all->wire.world;

    world->wall_latest = world_wall(world);
    store_sim_turn(world->disk);
    if (all->roam != NULL)
        roam_turn(all->roam);
    for (unsigned i = 0; i < world->node_count; i++)
        if (!is_paused(all, i))
            node_turn(all, i);
    truth_scan(all->truth);
    if (all->roam != NULL)
        phones_check_places(all->phones);
    phones_turn(all->phones);
    application_turn(all->application);
    managers_turn(all->managers);
    listeners_turn(all->listeners);
    for (unsigned i = 0; i < world->node_count; i++) {
        sim_node_check_bounds(world->nodes[i]);
        wire_node_check_bounds(all->wire.nodes[i]);
    }
}

/* The loops of a node that stops have ended: in a cluster it leaves that first, and a node alone begins anew. */
static void node_stopped(struct device_world *all, unsigned no)
{
    struct loop_range range = world_loops_of(&all->wire.world, no * all->wire.world.loops_a_node);

    if (all->roam == NULL || all->roam->seats[no].is_out) {
        if (all->roam == NULL || roam_leave(all->roam, no))
            begin_anew(all, no, false);
        return;
    }
    phones_cut(all->phones, range);
    application_cut(all->application, range);
    managers_cut(all->managers, range);
    listeners_cut(all->listeners, range);
    all->roam->seats[no].is_out    = true;
    all->roam->seats[no].out_since = all->wire.world.now;
}

static void node_draw_end(struct device_world *all, unsigned no)
{
    struct wire_world *wire  = &all->wire;
    struct world      *world = &wire->world;

    if (wire->faults.stops && wire->nodes[no]->leave_by == 0 && one_in(world, OF_NODE, 150))
        wire_node_stop(wire->nodes[no]);
    bool has_stopped = wire->nodes[no]->leave_by != 0 && wire_node_has_stopped(wire->nodes[no]);
    if (world->faults.crash && one_in(world, OF_NODE, 80))
        begin_anew(all, no, true);
    else if (has_stopped && !is_paused(all, no))
        node_stopped(all, no);
}

static bool is_stopping(const struct device_world *all)
{
    bool is_any = false;

    for (unsigned i = 0; i < all->wire.world.node_count; i++)
        is_any |= all->wire.nodes[i]->leave_by != 0;
    return is_any;
}

static void device_run(struct device_world *all)
{
    struct world *world = &all->wire.world;

    for (; world->now < RUN_MS; world->now += 1 + (msec)draw(world, OF_NODE, STEP_MS_MAX)) {
        device_step(all);
        for (unsigned i = 0; i < world->node_count; i++)
            node_draw_end(all, i);
    }
    if (all->roam == NULL && is_stopping(all))
        begin_anew(all, 0, false);
}

static void device_pass(struct device_world *all, msec span)
{
    for (msec until = all->wire.world.now + span; all->wire.world.now < until; all->wire.world.now += CALM_STEP_MS)
        device_step(all);
}

static void device_calm(struct device_world *all)
{
    struct world *world   = &all->wire.world;
    bool          is_calm = false;

    for (msec until = world->now + HEAL_MS; world->now < until && !is_calm; world->now += is_stopping(all) ? STOP_STEP_MS : CALM_STEP_MS) {
        device_step(all);
        for (unsigned i = 0; i < world->node_count; i++)
            if (wire_node_has_stopped(all->wire.nodes[i]) && all->wire.nodes[i]->leave_by != 0)
                node_stopped(all, i);
        is_calm = !is_stopping(all) && application_is_done(all->application) && managers_are_done(all->managers) && phones_have_all(all->phones);
    }
    promise(world, application_is_done(all->application), "every message is acknowledged");
    promise(world, managers_are_done(all->managers), "every change is answered");
    if (!is_calm)
        phones_check_end(all->phones);
    device_pass(all, SETTLE_MS);
}

/* All faults end. Then all come again, and once more something is published everywhere. */
static void device_heal(struct device_world *all)
{
    struct world *world = &all->wire.world;

    tell(world, "all faults end");
    world->is_healing = true;
    store_sim_heal(world->disk);
    if (all->roam != NULL)
        roam_heal(all->roam);
    device_calm(all);
    tell(world, "all come again");
    phones_come_again(all->phones);
    application_say_last(all->application);
    device_calm(all);
}

static void node_check_empty(const struct device_world *all, unsigned no)
{
    struct world               *world   = (struct world *)&all->wire.world;
    const struct wire_devices  *devices = all->wire.nodes[no]->devices;

    sim_node_check_quiet(world->nodes[no]);
    sim_node_check_empty(world->nodes[no]);
    wire_node_check_empty(all->wire.nodes[no]);
    promise(world, counter_get(&devices->devices.counters.linked) == 0, "no session has a link");
    promise(world, devices_is_idle(&devices->devices), "the devices come to rest");
}

static void device_leave(struct device_world *all)
{
    struct world *world = &all->wire.world;

    tell(world, "everybody leaves");
    phones_leave(all->phones);
    application_leave(all->application);
    managers_leave(all->managers);
    listeners_leave(all->listeners);
    for (unsigned i = 0; i < world->node_count; i++)
        wire_node_hurry(all->wire.nodes[i]);
    device_pass(all, SETTLE_MS);
    for (unsigned i = 0; i < world->loop_count; i++) {
        struct wire_node *node = wire_node_at(&all->wire, i);
        wire_devices_unfollow(node->devices, &node->loops[i % world->loops_a_node]);
    }
    device_pass(all, LEAVE_MS);
    for (unsigned i = 0; i < world->node_count; i++)
        sim_node_hush(world->nodes[i]);
    device_pass(all, HUSH_MS);
    for (unsigned i = 0; i < world->node_count; i++)
        node_check_empty(all, i);
}

static bool live(uint64_t seed, enum device_plant plant, bool is_roaming, struct transcript *transcript, char ret_promise[256])
{
    jmp_buf              broken;
    struct device_world *all = calloc(1, sizeof *all);

    must(all != NULL);
    all->plant                 = plant;
    all->wire.has_devices      = true;
    all->wire.world.seed       = seed;
    all->wire.world.transcript = transcript;
    all->wire.world.broken     = &broken;
    if (setjmp(broken) != 0) {
        memcpy(ret_promise, all->wire.world.promise, sizeof all->wire.world.promise);
        return false;  /* what it held is lost: the process ends soon */
    }
    device_init(all, is_roaming);
    device_run(all);
    device_heal(all);
    device_leave(all);
    device_fini(all);
    free(all);
    return true;
}

bool device_live(uint64_t seed, unsigned plant, struct transcript *transcript, char ret_promise[256])
{
    return live(seed, (enum device_plant)plant, false, transcript, ret_promise);
}

bool roam_live(uint64_t seed, unsigned plant, struct transcript *transcript, char ret_promise[256])
{
    return live(seed, roam_plant_of(plant), true, transcript, ret_promise);
}
