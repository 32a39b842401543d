#include "device_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "device_manager.h"
#include "device_phone.h"
#include "device_plant.h"
#include "device_poster.h"
#include "device_truth.h"
#include "store_sim.h"
#include "wire_device.h"

enum {
    RUN_MS       = 5000,
    STEP_MS_MAX  = 30,
    HEAL_MS      = 20000,
    CALM_STEP_MS = 15,
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

static void device_init(struct device_world *all)
{
    struct world *world = &all->wire.world;

    for (unsigned i = 0; i < PURPOSE_COUNT; i++) {
        struct rng seed = { world->seed * PURPOSE_COUNT + i };
        world->chance[i].state = rng_next(&seed);
    }
    world->hash_key = (struct hash_key){ 17, 4 };
    namespaces_init(&world->spaces);
    draw_faults(all);
    draw_size(all);
    make_channels(all);
    world->node_count   = 1;
    world->loops_a_node = world->loop_count = 1 + (unsigned)draw(world, OF_PLAN, LOOPS_SIM_MAX);
    world->linger_ms = LINGER_MS_MAX;
    world->disk      = store_sim_new(world);
    device_plant_init(all);
    all->truth      = truth_new(all);
    wire_start_node(&all->wire);
    all->phones     = phones_new(all);
    all->application = application_new(all);
    all->managers   = managers_new(all);
}

static void device_fini(struct device_world *all)
{
    struct world *world = &all->wire.world;

    phones_free(all->phones);
    application_free(all->application);
    managers_free(all->managers);
    wire_end_node(&all->wire);
    truth_free(all->truth);
    store_sim_free(world->disk);
    for (unsigned i = 0; i < world->channel_count; i++)
        channel_name_unref(world->channels[i]);
}

/* --- its life --- */

static void begin_anew(struct device_world *all)
{
    tell(&all->wire.world, "the node ends");
    phones_cut(all->phones);
    application_cut(all->application);
    managers_cut(all->managers);
    wire_end_node(&all->wire);
    phones_crashed(all->phones);
    wire_start_node(&all->wire);
}

static void device_step(struct device_world *all)
{
    struct world *world = &all->wire.world;

    world->wall_latest = world_wall(world);
    store_sim_turn(world->disk);
    sim_node_writer_turn(world->nodes[0]);
    for (unsigned loop = 0; loop < world->loop_count; loop++)
        wire_node_turn(all->wire.node, loop);
    truth_scan(all->truth);
    phones_turn(all->phones);
    application_turn(all->application);
    managers_turn(all->managers);
    sim_node_check_bounds(world->nodes[0]);
    wire_node_check_bounds(all->wire.node);
}

static void device_run(struct device_world *all)
{
    struct world     *world = &all->wire.world;
    struct wire_world *wire = &all->wire;

    for (; world->now < RUN_MS; world->now += 1 + (msec)draw(world, OF_NODE, STEP_MS_MAX)) {
        device_step(all);
        if (wire->faults.stops && wire->node->leave_by == 0 && one_in(world, OF_NODE, 150))
            wire_node_stop(wire->node);
        bool has_stopped = wire->node->leave_by != 0 && wire_node_has_stopped(wire->node);
        if (has_stopped || (world->faults.crash && one_in(world, OF_NODE, 80)))
            begin_anew(all);
    }
    if (wire->node->leave_by != 0)
        begin_anew(all);
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

    for (msec until = world->now + HEAL_MS; world->now < until && !is_calm; world->now += CALM_STEP_MS) {
        device_step(all);
        is_calm = application_is_done(all->application) && managers_are_done(all->managers) && phones_have_all(all->phones);
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
    device_calm(all);
    tell(world, "all come again");
    phones_come_again(all->phones);
    application_say_last(all->application);
    device_calm(all);
}

static void device_leave(struct device_world *all)
{
    struct world        *world   = &all->wire.world;
    struct wire_devices *devices = all->wire.node->devices;

    tell(world, "everybody leaves");
    phones_leave(all->phones);
    application_leave(all->application);
    managers_leave(all->managers);
    wire_node_hurry(all->wire.node);
    device_pass(all, SETTLE_MS);
    for (unsigned i = 0; i < world->loop_count; i++)
        wire_devices_unfollow(devices, &all->wire.node->loops[i]);
    device_pass(all, LEAVE_MS);
    sim_node_hush(world->nodes[0]);
    device_pass(all, HUSH_MS);
    sim_node_check_quiet(world->nodes[0]);
    sim_node_check_empty(world->nodes[0]);
    wire_node_check_empty(all->wire.node);
    promise(world, counter_get(&devices->devices.counters.linked) == 0, "no session has a link");
    promise(world, devices_is_idle(&devices->devices), "the devices come to rest");
}

bool device_live(uint64_t seed, unsigned plant, struct transcript *transcript, char ret_promise[256])
{
    jmp_buf              broken;
    struct device_world *all = calloc(1, sizeof *all);

    must(all != NULL);
    all->plant                 = (enum device_plant)plant;
    all->wire.has_devices      = true;
    all->wire.world.seed       = seed;
    all->wire.world.transcript = transcript;
    all->wire.world.broken     = &broken;
    if (setjmp(broken) != 0) {
        memcpy(ret_promise, all->wire.world.promise, sizeof all->wire.world.promise);
        return false;  /* what it held is lost: the process ends soon */
    }
    device_init(all);
    device_run(all);
    device_heal(all);
    device_leave(all);
    device_fini(all);
    free(all);
    return true;
}
