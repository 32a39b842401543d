#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "askers.h"
#include "base/must.h"
#include "sim_node.h"
#include "model.h"
#include "publishers.h"
#include "purger.h"
#include "readers.h"
#include "store_sim.h"

enum {
    RUN_MS        = 1500,
    STEP_MS_MAX   = 9,
    HEAL_MS       = 3500,
    HEAL_TIGHT_MS = 10000,  /* a few small pages at a time, for everybody */
    HUSH_MS       = 150,
    LEAVE_MS      = LINGER_MS_MAX + 2 * HEARTBEAT_MS + 50,
    CALM_STEP_MS  = 15,
    KEEP_MS_MIN   = 100,
    KEEP_MS_MAX   = 900,
    CLOCK_MS_MAX  = 3000,
    QUIET_MS_MAX  = 300,
};

const char *plant_text(enum plant plant)
{
    static const char *const texts[PLANT_COUNT] = {
        [PLANT_NONE] = "none",
        [PLANT_SKIP_SYNC] = "skip-sync",
        [PLANT_FORGET_KEYS] = "forget-keys",
        [PLANT_DOUBLE_NUMBER] = "double-number",
        [PLANT_SILENT_TRIM] = "silent-trim",
        [PLANT_SKIP_CURSOR] = "skip-cursor",
        [PLANT_NO_HEARTBEAT] = "no-heartbeat",
        [PLANT_OVERTAKE] = "overtake",
        [PLANT_SHORT_HISTORY] = "short-history",
        [PLANT_MISCOUNT] = "miscount",
        [PLANT_RECALL_TWICE] = "recall-twice",
        [PLANT_OLD_CLOCK] = "old-clock",
        [PLANT_FORGET_REFUSAL] = "forget-refusal",
        [PLANT_FORGET_DIGEST] = "forget-digest",
        [PLANT_SKIP_HEADS] = "skip-heads",
        [PLANT_ONE_WRITER] = "one-writer",
        [PLANT_STEP_BACK] = "step-back",
        [PLANT_ASK_FIRST] = "ask-first",
        [PLANT_DROP_OWED] = "drop-owed",
        [PLANT_LATE_REFUSED] = "late-refused",
        [PLANT_KEEP_PURGED] = "keep-purged",
        [PLANT_COLLAPSE_ACROSS] = "collapse-across",
        [PLANT_LOST_WAKE] = "lost-wake",
        [PLANT_FAR_FOLD] = "far-fold",
        [PLANT_LOST_FOLLOWER] = "lost-follower",
    };
    return texts[plant];
}

/* --- the transcript --- */

void tell(struct world *world, const char *format, ...)
{
    struct transcript *transcript = world->transcript;
    va_list       args;

    if (!transcript->is_kept)
        return;
    char *line = transcript->lines[transcript->count++ % (sizeof transcript->lines / sizeof transcript->lines[0])];
    int   at   = snprintf(line, sizeof transcript->lines[0], "%5lld ms  ", (long long)world->now);
    va_start(args, format);
    vsnprintf(line + at, sizeof transcript->lines[0] - (size_t)at, format, args);
    va_end(args);
    transcript->hash = hash_bytes(&(struct hash_key){ transcript->hash, 0 }, span_str(line));
    if (transcript->is_told)
        puts(line);
}

_Noreturn void promise_broken(struct world *world, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(world->promise, sizeof world->promise, format, args);
    va_end(args);
    tell(world, "BROKEN: %s", world->promise);
    longjmp(*world->broken, 1);
}

/* --- the truth about logs --- */

static void log_read_done(struct store_read *read)
{
    (void)read;
}

struct log_now world_log(struct world *world, unsigned channel)
{
    struct store_read read = { .channel = world->channels[channel], .wall = world_wall(world), .done = log_read_done };

    if (world_is_stored(world, channel))
        return store_sim_log(world_store_of(world, channel), channel);
    must(world->node_count == 1);
    world->nodes[0]->memory->ops->read(world->nodes[0]->memory, &read);
    return (struct log_now){ read.epoch, read.first, read.head };
}

struct loop_range world_loops_of(const struct world *world, unsigned loop)
{
    unsigned first = loop - loop % world->loops_a_node;

    return (struct loop_range){ first, first + world->loops_a_node };
}

msec world_node_now(const struct world *world, unsigned node)
{
    return world->now - world->clocks[node].stood_ms;
}

msec world_node_wall(const struct world *world, unsigned node)
{
    return world_wall(world) + world->clocks[node].skew;
}

msec world_loop_wall(const struct world *world, unsigned loop)
{
    return world_node_wall(world, loop / world->loops_a_node);
}

struct shard *world_shard(const struct world *world, unsigned loop)
{
    must(loop < world->loop_count);
    return &world->nodes[loop / world->loops_a_node]->shards[loop % world->loops_a_node];
}

unsigned world_channel_of(const struct world *world, const struct channel_name *name)
{
    for (unsigned i = 0; i < world->channel_count; i++)
        if (channel_name_eq(world->channels[i], name))
            return i;
    must(!"a channel of this world");
    return 0;
}

bool world_is_stored(const struct world *world, unsigned channel)
{
    return world->shared_memory != NULL || channel_is_durable(world->channels[channel]);
}

struct store_sim *world_store_of(const struct world *world, unsigned channel)
{
    return channel_is_durable(world->channels[channel]) ? world->disk : world->shared_memory;
}

unsigned draw_loop(struct world *world, enum purpose purpose)
{
    unsigned loop = (unsigned)draw(world, purpose, world->loop_count);

    for (unsigned i = 0; i < world->node_count && world->is_closed[loop / world->loops_a_node]; i++)
        loop = (loop + world->loops_a_node) % world->loop_count;
    return loop;
}

/* --- its plan --- */

static void world_draw_faults(struct world *world)
{
    struct faults *faults = &world->faults;
    bool *const    all[]  = {
        &faults->crash, &faults->wipe, &faults->torn, &faults->broken, &faults->full, &faults->slow_sync,
        &faults->read_io, &faults->trim, &faults->corrupt, &faults->lost_hints, &faults->doubled_hints,
        &faults->late_hints, &faults->slow_mail, &faults->late_answers, &faults->rests,
        &faults->slow_readers, &faults->moving_readers,
        &faults->lying_readers, &faults->impatience, &faults->recalls, &faults->ttl, &faults->tight, &faults->forgetful,
        &faults->aging, &faults->clock_jumps, &faults->key_reuse,
        &faults->stuck, &faults->away, &faults->lost_bus, &faults->doubled_bus, &faults->late_bus,
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        *all[i] = one_in(world, OF_PLAN, 3);
}

/* In some worlds nothing is ever lost. There no heartbeat is needed, and there is none, so that nothing hides what
 * should have been told at once. */
static void world_draw_nodes(struct world *world)
{
    struct faults *faults = &world->faults;

    world->node_count   = 1 + one_in(world, OF_PLAN, 3);
    world->loops_a_node = 1 + (unsigned)draw(world, OF_PLAN, world->node_count == 1 ? LOOPS_SIM_MAX : 2);
    world->loop_count   = world->node_count * world->loops_a_node;
    world->is_sure      = one_in(world, OF_PLAN, 3);
    world->has_bus      = world->is_sure || one_in(world, OF_PLAN, 2);
    if (!world->is_sure)
        return;
    faults->crash = faults->broken = faults->away = faults->stuck = faults->read_io = faults->forgetful = false;
    faults->lost_hints = faults->doubled_hints = faults->late_hints = false;
    faults->lost_bus = faults->doubled_bus = faults->late_bus = false;
}

static void world_make_channels(struct world *world)
{
    /* Memory belongs to a node alone. */
    static const char *const names[2][TOPICS_MAX] = {
        { "topic:a", "live:a", "topic:b", "live:b", "conn:a" },
        { "topic:a", "topic:b", "topic:c", "user:a", "topic:d" },
    };
    uint64_t keep = world->faults.trim ? 3 + draw(world, OF_PLAN, 30) : 0;

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
        must(channel_name_new(&world->spaces, &world->hash_key, span_str(names[world->node_count - 1][i]),
                              &world->channels[i]) ==
             CHANNEL_NAME_OK);
}

/* By chance of its own, so that the other courses of events stay what they are. */
static void world_draw_folding(struct world *world)
{
    static const unsigned often[] = { 0, 1, 3, 20 };

    world->fold_chance.state = world->seed ^ 0x666f6c64;
    world->quiet_ms          = rng_below(&world->fold_chance, 2) == 0 ? 0 : (msec)rng_below(&world->fold_chance, QUIET_MS_MAX);
    world->fold_one_in       = often[rng_below(&world->fold_chance, sizeof often / sizeof often[0])];
}

static void world_init(struct world *world)
{
    for (unsigned i = 0; i < PURPOSE_COUNT; i++) {
        struct rng seed = { world->seed * PURPOSE_COUNT + i };
        world->chance[i].state = rng_next(&seed);
    }
    world->hash_key = (struct hash_key){ 17, 4 };
    world->late_ms  = LATE_MS_MAX + HEARTBEAT_MS;
    world_draw_faults(world);
    world_draw_nodes(world);
    world_make_channels(world);
    world_draw_folding(world);
    world->linger_ms  = one_in(world, OF_PLAN, 3) ? (msec)draw(world, OF_PLAN, 20) : LINGER_MS_MAX;
    world->disk       = store_sim_new(world);
    for (unsigned i = 0; i < world->node_count; i++)
        world->nodes[i] = sim_node_new(world, i, world->life_count++);
    world->model      = model_new(world);
    world->readers    = readers_new(world);
    world->publishers = publishers_new(world);
    world->askers     = askers_new(world);
    world->purger     = purger_new(world);
}

static void world_fini(struct world *world)
{
    purger_free(world->purger);
    askers_free(world->askers);
    publishers_free(world->publishers);
    readers_free(world->readers);
    model_free(world->model);
    for (unsigned i = 0; i < world->node_count; i++)
        sim_node_free(world->nodes[i]);
    store_sim_free(world->disk);
    for (unsigned i = 0; i < world->channel_count; i++)
        channel_name_unref(world->channels[i]);
}

/* --- its life --- */

void world_cut_loops(struct world *world, struct loop_range range)
{
    readers_cut(world->readers, range);
    publishers_cut(world->publishers, range);
    askers_cut(world->askers, range);
    purger_cut(world->purger, range);
}

static void world_end_loops(struct world *world, struct loop_range range)
{
    for (unsigned loop = range.first; loop < range.end; loop += world->loops_a_node)
        world->nodes[loop / world->loops_a_node]->is_dying = true;
    world_cut_loops(world, range);
}

static void world_start_again(struct world *world, struct loop_range range)
{
    for (unsigned loop = range.first; loop < range.end; loop += world->loops_a_node) {
        unsigned i = loop / world->loops_a_node;
        sim_node_free(world->nodes[i]);
        world->nodes[i] = sim_node_new(world, i, world->life_count++);
    }
}

void world_kill_node(struct world *world, unsigned node)
{
    struct loop_range range = world_loops_of(world, node * world->loops_a_node);

    tell(world, "node %u is killed", node);
    world_end_loops(world, range);
    store_sim_cut_node(world->disk, node);
    if (world->shared_memory != NULL)
        store_sim_cut_node(world->shared_memory, node);
    world_start_again(world, range);
}

static void world_crash(struct world *world)
{
    struct loop_range all      = { 0, world->loop_count };
    bool              is_wiped = world->faults.wipe && one_in(world, OF_NODE, 2);

    if (world->node_count > 1 && !one_in(world, OF_NODE, 3)) {
        world_kill_node(world, (unsigned)draw(world, OF_NODE, world->node_count));
        return;
    }
    tell(world, "everything is killed%s", is_wiped ? ", and the disk wiped" : "");
    world_end_loops(world, all);
    store_sim_crash(world->disk, is_wiped);
    world_start_again(world, all);
}

bool world_is_hushed(const struct world *world)
{
    return world->nodes[0]->heartbeat_at == INT64_MAX;
}

/* Somebody sets it, a leap forth or back. */
static void world_set_clock(struct world *world)
{
    if (world->faults.clock_jumps && !world->is_healing && one_in(world, OF_CLOCK, 60)) {
        world->wall_shift = (msec)draw(world, OF_CLOCK, CLOCK_MS_MAX) - CLOCK_MS_MAX / 2;
        tell(world, "the clock is set to %lld ms", (long long)world->wall_shift);
    }
    if (world_wall(world) > world->wall_latest)
        world->wall_latest = world_wall(world);
}

/* It may be killed between any two of these. */
static bool world_step(struct world *world)
{
    uint64_t killed_at = world->faults.crash && !world->is_healing && one_in(world, OF_NODE, 80)
                             ? draw(world, OF_NODE, 2 + world->loop_count) : UINT64_MAX;

    world_set_clock(world);
    store_sim_turn(world->disk);
    if (killed_at == 0)
        return false;
    for (unsigned loop = 0; loop < world->loop_count; loop++) {
        struct sim_node *node = world->nodes[loop / world->loops_a_node];
        unsigned         own  = loop % world->loops_a_node;
        if (own == 0)
            sim_node_writer_turn(node);
        if (killed_at == loop + 1)
            return false;
        sim_node_loop_begin(node, own);
        publishers_turn(world->publishers, loop);
        askers_turn(world->askers, loop);
        purger_turn(world->purger, loop);
        readers_turn(world->readers, loop);
        sim_node_loop_end(node, own);
        sim_node_check_bounds(node);
    }
    return killed_at == UINT64_MAX;
}

static void world_run(struct world *world)
{
    while (world->now < RUN_MS) {
        if (!world_step(world))
            world_crash(world);
        world->now += 1 + (msec)draw(world, OF_NODE, STEP_MS_MAX);
    }
}

static void world_pass(struct world *world, msec span)
{
    for (msec until = world->now + span; world->now < until; world->now += CALM_STEP_MS)
        world_step(world);
}

static void world_set_ticks(struct world *world, msec at)
{
    for (unsigned i = 0; i < world->node_count; i++)
        world->nodes[i]->heartbeat_at = world->nodes[i]->tick_at = at;
}

/* All faults end; a while later everything must be everywhere, and nothing left over. */
static void world_heal(struct world *world)
{
    tell(world, "all faults end");
    world->is_healing = true;
    store_sim_heal(world->disk);
    world_pass(world, world->faults.tight ? HEAL_TIGHT_MS : HEAL_MS);
    world_set_ticks(world, INT64_MAX);  /* no command of a heartbeat is under way then */
    world_pass(world, HUSH_MS);
    model_check_end(world->model);
    readers_check_end(world->readers);
    purger_check_end(world->purger);
    for (unsigned i = 0; i < world->node_count; i++)
        sim_node_check_quiet(world->nodes[i]);
    world->is_sure = false;  /* the heartbeat says who has been lonely for long enough */
    world_set_ticks(world, world->now);
}

static void world_leave(struct world *world)
{
    tell(world, "everybody leaves");
    readers_cut(world->readers, (struct loop_range){ 0, world->loop_count });
    for (msec until = world->now + LEAVE_MS; world->now < until; world->now += CALM_STEP_MS) {
        store_sim_turn(world->disk);
        for (unsigned loop = 0; loop < world->loop_count; loop++) {
            struct sim_node *node = world->nodes[loop / world->loops_a_node];
            unsigned         own  = loop % world->loops_a_node;
            if (own == 0)
                sim_node_writer_turn(node);
            sim_node_loop_begin(node, own);
            sim_node_loop_end(node, own);
        }
    }
    for (unsigned i = 0; i < world->node_count; i++)
        sim_node_check_empty(world->nodes[i]);
}

bool world_live(uint64_t seed, enum plant plant, struct transcript *transcript, char ret_promise[256])
{
    jmp_buf       broken;
    struct world *world = calloc(1, sizeof *world);

    must(world != NULL);
    world->seed   = seed;
    world->plant  = plant;
    world->transcript  = transcript;
    world->broken = &broken;
    if (setjmp(broken) != 0) {
        memcpy(ret_promise, world->promise, sizeof world->promise);
        return false;  /* what it held is lost: the process ends soon */
    }
    world_init(world);
    world_run(world);
    world_heal(world);
    world_leave(world);
    world_fini(world);
    free(world);
    return true;
}
