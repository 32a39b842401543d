#include "wire_world.h"

#include <stdlib.h>

#include "base/must.h"
#include "model.h"
#include "store_sim.h"
#include "wire_follower.h"
#include "wire_device.h"
#include "wire_node.h"
#include "wire_plant.h"
#include "wire_poster.h"

enum {
    RUN_MS       = 1000,
    STEP_MS_MAX  = 9,
    HEAL_MS      = 15000,
    CALM_STEP_MS = 15,
    HUSH_MS      = 150,
    LEAVE_MS     = LINGER_MS_MAX + 1050,  /* … and a few heartbeats of the hub */
    ONE_MORE_MS  = 300,
    KEEP_MS_MIN  = 100,
    KEEP_MS_MAX  = 900,
};

/* --- its plan --- */

static void wire_draw_faults(struct wire_world *wire)
{
    struct faults      *faults = &wire->world.faults;
    struct wire_faults *wired  = &wire->faults;
    bool *const         all[]  = {
        &faults->crash, &faults->wipe, &faults->torn, &faults->corrupt, &faults->aging, &faults->broken, &faults->full,
        &faults->slow_sync, &faults->read_io, &faults->stuck, &faults->away, &faults->trim, &faults->lost_hints,
        &faults->doubled_hints, &faults->late_hints, &faults->slow_mail, &faults->late_answers, &faults->rests,
        &faults->recalls, &faults->tight, &faults->forgetful, &faults->clock_jumps,
        &wired->short_writes, &wired->short_reads, &wired->narrow, &wired->slow, &wired->delays, &wired->cuts,
        &wired->resets, &wired->half_closes, &wired->dead, &wired->stops, &wired->slow_identity,
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        *all[i] = one_in(&wire->world, OF_PLAN, 3);
    wired->lets_go = wire->world.seed % 3 == 0;  /* not drawn, so that the seeds from before it stay what they were */
    wired->big     = one_in(&wire->world, OF_PLAN, 24);
    if (wired->big)
        faults->tight = wired->slow = wired->narrow = false;
}

static void wire_make_channels(struct world *world)
{
    static const char *const names[TOPICS_MAX] = { "topic:a", "live:a", "topic:b", "live:b", "conn:a" };
    uint64_t                 keep                = world->faults.trim ? 3 + draw(world, OF_PLAN, 30) : 0;

    namespaces_init(&world->spaces);
    namespaces_find(&world->spaces, SPAN("topic"))->keep_count = keep;
    if (keep != 0)
        namespaces_find(&world->spaces, SPAN("live"))->keep_count = keep;
    if (world->faults.aging) {
        namespaces_find(&world->spaces, SPAN("topic"))->keep_ms = KEEP_MS_MIN + (msec)draw(world, OF_PLAN, KEEP_MS_MAX);
        namespaces_find(&world->spaces, SPAN("live"))->keep_ms  = KEEP_MS_MIN + (msec)draw(world, OF_PLAN, KEEP_MS_MAX);
    }
    world->channel_count = 1 + (unsigned)draw(world, OF_PLAN, TOPICS_MAX);
    for (unsigned i = 0; i < world->channel_count; i++)
        must(channel_name_new(&world->spaces, &world->hash_key, span_str(names[i]), &world->channels[i]) ==
             CHANNEL_NAME_OK);
}

static void wire_init(struct wire_world *wire)
{
    struct world *world = &wire->world;

    for (unsigned i = 0; i < PURPOSE_COUNT; i++) {
        struct rng seed = { world->seed * PURPOSE_COUNT + i };
        world->chance[i].state = rng_next(&seed);
    }
    world->hash_key = (struct hash_key){ 17, 4 };
    wire_draw_faults(wire);
    wire_make_channels(world);
    world->node_count   = 1;
    world->loops_a_node = world->loop_count = 1 + (unsigned)draw(world, OF_PLAN, LOOPS_SIM_MAX);
    world->linger_ms = one_in(world, OF_PLAN, 3) ? (msec)draw(world, OF_PLAN, 20) : LINGER_MS_MAX;
    world->late_ms   = LATE_MS_MAX + HEARTBEAT_MS;
    world->disk      = store_sim_new(world);
    world->model     = model_new(world);
    wire_start_node(wire, 0);
    wire->followers  = followers_new(wire);
    wire->posters    = posters_new(wire);
}

struct wire_node *wire_node_at(const struct wire_world *wire, unsigned loop)
{
    return wire->nodes[loop / wire->world.loops_a_node];
}

static bool node_is_idle(const struct wire_node *node)
{
    return writer_is_idle(&node->sim_node->writer) && (node->devices == NULL || wire_devices_are_idle(node->devices));
}

/* Here the memory of a process that is killed is to be freed, so what nobody hears of any more is answered all the same. */
void wire_end_node(struct wire_world *wire, unsigned no)
{
    struct world        *world   = &wire->world;
    struct wire_node    *node    = wire->nodes[no];
    struct wire_devices *devices = node->devices;

    wire_node_close(node);
    if (wire->part != NULL)
        wire->part(devices);
    do {
        if (world->has_shared_store)
            store_sim_cut_node(world->disk, no);
        else
            store_sim_crash(world->disk, false);
        sim_node_settle(world->nodes[no]);
    } while (!node_is_idle(node));
    wire_node_free(node);
    wire->nodes[no]            = NULL;
    world->nodes[no]->is_dying = true;
    sim_node_free(world->nodes[no]);
    world->nodes[no] = NULL;
    if (devices != NULL)
        wire_devices_free(devices);
}

void wire_start_node(struct wire_world *wire, unsigned no)
{
    struct world *world = &wire->world;

    world->nodes[no] = sim_node_new(world, no, world->life_count++);
    wire->nodes[no]  = wire_node_new(wire, no);
    wire->born_at    = world->now;
}

static void wire_fini(struct wire_world *wire)
{
    struct world *world = &wire->world;

    followers_free(wire->followers);
    posters_free(wire->posters);
    wire_end_node(wire, 0);
    model_free(world->model);
    store_sim_free(world->disk);
    keys_seen_free(wire->keys_seen);
    for (unsigned i = 0; i < world->channel_count; i++)
        channel_name_unref(world->channels[i]);
}

/* --- its life --- */

/* The process ends; a new one begins on the same disk. What was under way in the store may be there or not. */
static void wire_begin_anew(struct wire_world *wire, bool is_wiped)
{
    struct world *world = &wire->world;

    tell(world, "the node ends%s", is_wiped ? ", and its disk is wiped" : "");
    followers_cut(wire->followers);
    posters_cut(wire->posters);
    wire_end_node(wire, 0);
    if (is_wiped)
        store_sim_crash(world->disk, true);
    wire_start_node(wire, 0);
}

static void wire_set_clock(struct world *world)
{
    if (world->faults.clock_jumps && !world->is_healing && one_in(world, OF_CLOCK, 60)) {
        world->wall_shift = (msec)draw(world, OF_CLOCK, 3000) - 1500;
        tell(world, "the clock is set to %lld ms", (long long)world->wall_shift);
    }
    if (world_wall(world) > world->wall_latest)
        world->wall_latest = world_wall(world);
}

static void wire_step(struct wire_world *wire)
{
    struct world *world = &wire->world;

    wire_set_clock(world);
    store_sim_turn(world->disk);
    sim_node_writer_turn(world->nodes[0]);
    for (unsigned loop = 0; loop < world->loop_count; loop++)
        wire_node_turn(wire->nodes[0], loop);
    followers_turn(wire->followers);
    posters_turn(wire->posters);
    sim_node_check_bounds(world->nodes[0]);
    wire_node_check_bounds(wire->nodes[0]);
}

static void wire_run(struct wire_world *wire)
{
    struct world *world = &wire->world;

    for (; world->now < RUN_MS; world->now += 1 + (msec)draw(world, OF_NODE, STEP_MS_MAX)) {
        wire_step(wire);
        if (wire->faults.stops && wire->nodes[0]->leave_by == 0 && one_in(world, OF_NODE, 80)) {
            tell(world, "the node is told to stop");
            wire_node_stop(wire->nodes[0]);
        }
        if (wire->nodes[0]->leave_by != 0 && wire_node_has_stopped(wire->nodes[0]))
            wire_begin_anew(wire, false);
        else if (world->faults.crash && one_in(world, OF_NODE, 100))
            wire_begin_anew(wire, world->faults.wipe && one_in(world, OF_NODE, 2));
    }
    if (wire->nodes[0]->leave_by != 0)
        wire_begin_anew(wire, false);
}

static void wire_pass(struct wire_world *wire, msec span)
{
    for (msec until = wire->world.now + span; wire->world.now < until; wire->world.now += CALM_STEP_MS)
        wire_step(wire);
}

/* All faults end; soon everything must be everywhere. What comes later than that comes twice. */
static void wire_heal(struct wire_world *wire)
{
    struct world *world = &wire->world;

    tell(world, "all faults end");
    world->is_healing = true;
    store_sim_heal(world->disk);
    for (msec until = world->now + HEAL_MS; world->now < until; world->now += CALM_STEP_MS) {
        wire_step(wire);
        if (followers_have_all(wire->followers) && posters_are_done(wire->posters))
            break;
    }
    wire_pass(wire, ONE_MORE_MS);
    model_check_end(world->model);
    followers_check_end(wire->followers);
}

static void wire_leave(struct wire_world *wire)
{
    struct world *world = &wire->world;

    tell(world, "everybody leaves");
    followers_leave(wire->followers);
    posters_leave(wire->posters);
    wire_node_hurry(wire->nodes[0]);  /* a session lasts until the last byte of its client is read */
    wire_pass(wire, LEAVE_MS);
    sim_node_hush(world->nodes[0]);
    wire_pass(wire, HUSH_MS);
    sim_node_check_quiet(world->nodes[0]);
    sim_node_check_empty(world->nodes[0]);
    wire_node_check_empty(wire->nodes[0]);
}

bool wire_live(uint64_t seed, unsigned plant, struct transcript *transcript, char ret_promise[256])
{
    jmp_buf            broken;
    struct wire_world *wire = calloc(1, sizeof *wire);

    must(wire != NULL);
    wire->plant            = (enum wire_plant)plant;
    wire->world.seed       = seed;
    wire->world.plant      = plant == WIRE_PLANT_NOT_HEALED ? PLANT_NO_HEARTBEAT : PLANT_NONE;
    wire->world.transcript = transcript;
    wire->world.broken     = &broken;
    if (setjmp(broken) != 0) {
        memcpy(ret_promise, wire->world.promise, sizeof wire->world.promise);
        return false;  /* what it held is lost: the process ends soon */
    }
    wire_init(wire);
    wire_run(wire);
    wire_heal(wire);
    wire_leave(wire);
    wire_fini(wire);
    free(wire);
    return true;
}
