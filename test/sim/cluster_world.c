#include "cluster_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "askers.h"
#include "base/must.h"
#include "cluster_node.h"
#include "model.h"
#include "publishers.h"
#include "purger.h"
#include "readers.h"
#include "store_sim.h"

enum {
    ROUNDS_MAX    = 5,
    ROUND_MS_MIN  = 200,
    ROUND_MS_MAX  = 2500,
    STEP_MS_MAX   = 15,
    CALM_STEP_MS  = 10,
    LEASE_MS      = 900,
    POLL_MS       = 150,
    KEEP_ROUTE_MS = 200,
    WALK_MS       = 2000,
    NO_WALK_MS    = 3600 * 1000,
    TIMEOUT_MS    = 400,
    SILENT_MS     = 100,
    PAUSE_MS_MAX  = 2500,
    CUT_MS_MAX    = 1500,
    STOP_MS_MAX   = 1200,
    SKEW_MS_MAX   = 4000,
    LEAP_MS_MAX   = 4000,
    ANSWER_MS     = 12000,  /* within so long after all faults have ended every publish is answered … */
    BEGIN_MS      = 2000,   /* the nodes have found each other by then */
    AGAIN_MS      = 600,    /* so much later the comparison after a first frame may come */
    COMPLETE_MS   = 5000,   /* … and every reader complete so long after that … */
    TIGHT_MS      = 15000,  /* … or so long, if all bounds are tight */
    SETTLE_MS     = 2500,   /* registrations that failed are repeated, and what they left in doubt is compared */
    HUSH_MS       = 400,
    LEAVE_MS      = LINGER_MS_MAX + 2 * HEARTBEAT_MS + KEEP_ROUTE_MS + 1500,
    CHANNELS      = 5,
    MEMORY_SEEDS  = 5,      /* neither is drawn, so that the seeds from before them stay what they were */
    LEAVING_SEEDS = 3,
    PACED_SEEDS   = 2,
    EMPTIED_SEEDS = 7,
    SILENT_SEEDS  = 7,
    EMPTIED_MS    = 100,
    LOSSES        = 26,
    CLUSTER_LOSSES = 13,
};

#define CLUSTER_SALT UINT64_C(0x636c7573746572)

/* --- its plan --- */

/* What makes life harder and loses nothing. */
static void draw_burdens(struct cluster_world *all)
{
    struct faults *faults  = &all->world.faults;
    bool *const    flags[] = {
        &faults->slow_sync, &faults->trim, &faults->slow_mail, &faults->late_answers, &faults->rests, &faults->slow_readers,
        &faults->moving_readers, &faults->lying_readers, &faults->impatience, &faults->recalls, &faults->ttl, &faults->aging,
        &faults->key_reuse, &all->faults.skews, &all->faults.slow_answers,
    };
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        *flags[i] = one_in(&all->world, OF_PLAN, 3);
    faults->tight = one_in(&all->world, OF_PLAN, 8);
}

/* What may go wrong. Those of the cluster come last. */
struct loss {
    bool       *flag;
    const char *name;
};

static size_t losses_of(struct cluster_world *all, struct loss ret[LOSSES])
{
    struct faults         *faults   = &all->world.faults;
    struct cluster_faults *more     = &all->faults;
    const struct loss      losses[] = {
        { &faults->crash, "crash" }, { &faults->broken, "broken" }, { &faults->full, "full" }, { &faults->read_io, "read_io" },
        { &faults->lost_hints, "lost_hints" }, { &faults->doubled_hints, "doubled_hints" },
        { &faults->late_hints, "late_hints" }, { &faults->stuck, "stuck" }, { &faults->away, "away" },
        { &faults->unknown, "unknown" }, { &faults->failover, "failover" }, { &faults->stalls, "stalls" },
        { &faults->refused, "refused" }, { &more->lost_frames, "lost_frames" }, { &more->doubled_frames, "doubled_frames" },
        { &more->late_frames, "late_frames" }, { &more->lost_calls, "lost_calls" }, { &more->lost_answers, "lost_answers" },
        { &more->emptied, "emptied" }, { &more->restarts, "restarts" }, { &more->breaks, "breaks" },
        { &more->cut_ways, "cut_ways" }, { &more->leaps, "leaps" }, { &more->odd_clock, "odd_clock" },
        { &more->pauses, "pauses" }, { &more->twins, "twins" },
    };
    must(sizeof losses / sizeof losses[0] == LOSSES);
    memcpy(ret, losses, sizeof losses);
    return LOSSES;
}

/* In a third of all worlds nothing is lost; in a third one thing goes wrong, so that nothing else hides what it does; in the
 * others many. */
static void draw_losses(struct cluster_world *all)
{
    static const enum engine_call_kind kinds[] = { ENGINE_LOOKUP, ENGINE_LOOKUP, ENGINE_ROUTE, ENGINE_LEASE, ENGINE_SEND };
    struct loss losses[LOSSES];
    size_t      count = losses_of(all, losses);
    uint64_t    way   = cluster_draw(all, 3);

    all->world.is_sure = way == 0;
    if (way == 1)
        *losses[cluster_one_in(all, 3) ? cluster_draw(all, count) : count - 1 - cluster_draw(all, CLUSTER_LOSSES)].flag = true;
    for (size_t i = 0; way == 2 && i < count; i++)
        *losses[i].flag = cluster_one_in(all, 4);
    all->faults.stood = cluster_one_in(all, 2);
    all->lost_kind    = cluster_one_in(all, 3) ? 0 : 1u << kinds[cluster_draw(all, sizeof kinds / sizeof kinds[0])];
}

static void tell_plan(struct cluster_world *all)
{
    struct loss losses[LOSSES];
    size_t      count = losses_of(all, losses);

    tell(&all->world, "%u nodes, %u loops each; heads are compared %s", all->world.node_count, all->world.loops_a_node,
         all->has_walk ? "now and then" : "where there is a reason");
    for (size_t i = 0; i < count; i++)
        if (*losses[i].flag)
            tell(&all->world, "there will be: %s", losses[i].name);
}

/* A seq may mean another message in the next life of a log, and keys may be forgotten. */
static void draw_sense(struct cluster_world *all)
{
    struct faults *faults = &all->world.faults;

    if (faults->failover)
        faults->recalls = faults->key_reuse = faults->lying_readers = false;
    if (all->faults.skews)
        faults->ttl = faults->aging = false;
}

/* What was committed, and then told to nobody, nobody notices by what comes after it. */
static bool world_loses_silently(const struct cluster_world *all)
{
    const struct faults *faults = &all->world.faults;

    return faults->crash || faults->broken || faults->unknown || faults->failover || faults->stuck || all->faults.pauses ||
           all->faults.twins;
}

static void draw_limits(struct cluster_world *all)
{
    bool is_tight = all->world.faults.tight;

    all->has_walk = world_loses_silently(all);
    all->limits   = (struct cluster_limits){
          .lease_ms     = LEASE_MS,
          .compare_ms   = all->has_walk ? WALK_MS : NO_WALK_MS,
          .head_poll_ms = POLL_MS,
          .compare_per_s = all->world.seed % PACED_SEEDS == 1 ? 1 : 0,  /* a head a tick and node: what many channels make of it */
          .linger_ms    = cluster_one_in(all, 3) ? 0 : KEEP_ROUTE_MS,
          .waiting_max  = is_tight ? 5 : 1000,
          .waiting_bytes_max = is_tight ? 2000 : 1 << 20,
          .questions_max     = 100,
    };
}

static void make_channels(struct cluster_world *all)
{
    static const char *const names[2][CHANNELS] = {
        { "topic:a", "user:u", "topic:b", "device:u/d", "group:g" }, { "live:a", "topic:a", "live:b", "live:c", "group:g" },
    };
    struct world *world = &all->world;
    struct namespace *topic, *live;

    namespaces_init(&world->spaces);
    topic = namespaces_find(&world->spaces, SPAN("topic"));
    live  = namespaces_find(&world->spaces, SPAN("live"));
    if (world->faults.trim)
        topic->keep_count = live->keep_count = 3 + draw(world, OF_PLAN, 30);
    if (world->faults.aging)
        topic->keep_ms = live->keep_ms = 100 + (msec)draw(world, OF_PLAN, 900);
    world->channel_count = 1 + (unsigned)draw(world, OF_PLAN, CHANNELS);
    for (unsigned i = 0; i < world->channel_count; i++)
        must(channel_name_new(&world->spaces, &world->hash_key, span_str(names[all->has_memory][i]), &world->channels[i]) ==
             CHANNEL_NAME_OK);
}

/* Then ways are mostly open again before the connection is given up. */
static bool has_silence(const struct cluster_world *all)
{
    return all->world.seed % SILENT_SEEDS == 2 || all->world.seed % SILENT_SEEDS == 4;
}

static struct sim_server *server_new(struct cluster_world *all)
{
    struct sim_server_options options = {
        .chance          = { rng_next(&all->chance) },
        .answer_ms_max   = (msec)cluster_draw(all, 20),
        .late_ms_max     = LATE_MS_MAX,
        .timeout_ms      = TIMEOUT_MS,
        .silent_ms       = has_silence(all) ? SILENT_MS : 0,
        .reconnect_ms    = 50,
        .clock_permille  = all->faults.odd_clock ? 500 + (unsigned)cluster_draw(all, 1500) : 1000,
        .sweeps          = cluster_one_in(all, 2),
        .prefers_heads   = cluster_one_in(all, 3),
        .frame_bytes_max = cluster_one_in(all, 3) ? 4096 : 1 << 20,
    };
    return sim_server_new(&options);
}

static void server_set_faults(struct cluster_world *all)
{
    const struct cluster_faults *faults = &all->faults;

    sim_server_set_faults(all->server, &(struct sim_engine_faults){
        .lost_frames = faults->lost_frames ? 6 : 0, .doubled_frames = faults->doubled_frames ? 6 : 0,
        .late_frames = faults->late_frames ? 6 : 0, .lost_calls = faults->lost_calls ? 8 : 0,
        .lost_answers = faults->lost_answers ? 8 : 0, .slow_answers = faults->slow_answers ? 5 : 0,
        .lost_kinds = all->lost_kind,
    });
}

static void cluster_init(struct cluster_world *all)
{
    struct world *world = &all->world;

    for (unsigned i = 0; i < PURPOSE_COUNT; i++) {
        struct rng seed = { world->seed * PURPOSE_COUNT + i };
        world->chance[i].state = rng_next(&seed);
    }
    all->chance.state   = world->seed ^ CLUSTER_SALT;
    world->hash_key     = (struct hash_key){ 17, 4 };
    world->now          = 1000;
    world->node_count   = 2 + (unsigned)draw(world, OF_PLAN, NODES_SIM_MAX - 1);
    world->loops_a_node = 1 + (unsigned)draw(world, OF_PLAN, 2);
    world->loop_count   = world->node_count * world->loops_a_node;
    world->has_shared_store = true;
    world->keeps_epoch      = all->plant == CLUSTER_PLANT_SAME_EPOCH;
    world->resends          = all->plant == CLUSTER_PLANT_RESENT;
    all->has_memory         = world->seed % MEMORY_SEEDS == 1 || world->seed % MEMORY_SEEDS == 3;
    all->faults.leaves      = world->seed % LEAVING_SEEDS == 2;
    world->linger_ms        = one_in(world, OF_PLAN, 3) ? (msec)draw(world, OF_PLAN, 20) : LINGER_MS_MAX;
    draw_burdens(all);
    draw_losses(all);
    draw_sense(all);
    world->late_ms = world->is_sure ? LATE_MS_MAX : WALK_MS + PAUSE_MS_MAX;
    /* Who has appended may hear late that it is stored, and sends it on late. */
    world->purge_ms = world->is_sure ? 2 * LATE_MS_MAX : world->late_ms;
    make_channels(all);
    draw_limits(all);
    all->server = server_new(all);
    server_set_faults(all);
    world->disk    = store_sim_new(world);
    if (all->has_memory)
        world->shared_memory = store_sim_new_memory(world);
    world->on_node = cluster_node_begin;
    for (unsigned i = 0; i < world->node_count; i++) {
        all->seats[i].name    = i;
        world->clocks[i].skew = all->faults.skews ? (msec)cluster_draw(all, SKEW_MS_MAX) - SKEW_MS_MAX / 2 : 0;
        world->nodes[i]       = sim_node_new(world, i, world->life_count++);
    }
    tell_plan(all);
    world->model      = model_new(world);
    world->readers    = readers_new(world);
    world->publishers = publishers_new(world);
    world->askers     = askers_new(world);
    world->purger     = purger_new(world);
}

static void cluster_fini(struct cluster_world *all)
{
    struct world *world = &all->world;

    purger_free(world->purger);
    askers_free(world->askers);
    publishers_free(world->publishers);
    readers_free(world->readers);
    model_free(world->model);
    for (unsigned i = 0; i < world->node_count; i++)
        sim_node_free(world->nodes[i]);
    store_sim_free(world->disk);
    if (all->has_memory)
        store_sim_free(world->shared_memory);
    sim_server_step(all->server, world->now + 2 * LATE_MS_MAX);  /* answers and frames to nobody */
    sim_server_free(all->server);
    for (unsigned i = 0; i < world->channel_count; i++)
        channel_name_unref(world->channels[i]);
}

/* --- what happens to nodes --- */

static void seat_pause(struct cluster_world *all, unsigned no)
{
    struct cluster_seat *seat = &all->seats[no];
    struct world        *world = &all->world;

    seat->is_paused    = true;
    seat->does_stand   = all->faults.stood;
    seat->paused_at    = world->now;
    seat->paused_until = world->now + (msec)cluster_draw(all, PAUSE_MS_MAX);
    sim_engine_hold(seat->node->engine, true);
    if (cluster_one_in(all, 2))
        readers_cut(world->readers, world_loops_of(world, no * world->loops_a_node));
    tell(world, "node %u is paused%s", no, seat->does_stand ? ", with its clock" : "");
}

static void seat_go_on(struct cluster_world *all, unsigned no)
{
    struct cluster_seat *seat = &all->seats[no];
    struct world        *world = &all->world;

    seat->is_paused = false;
    if (seat->does_stand)
        world->clocks[no].stood_ms += world->now - seat->paused_at;
    sim_engine_hold(seat->node->engine, false);
    tell(world, "node %u goes on", no);
}

static void seat_forget_counts(struct cluster_seat *seat)
{
    seat->seen_comparisons = seat->seen_firsts = seat->early_comparisons = seat->early_firsts = 0;
}

/* The next life begins under this name. */
static void seat_begin_anew(struct cluster_world *all, unsigned no, unsigned name)
{
    if (all->seats[no].is_paused)
        seat_go_on(all, no);
    all->seats[no].has_closed_ways = all->seats[no].is_leaving = all->seats[no].is_gone = false;
    all->seats[no].name            = name;
    all->world.is_closed[no]       = false;
    all->stirred_at                = all->world.now;
    seat_forget_counts(&all->seats[no]);
    world_kill_node(&all->world, no);
    tell(&all->world, "node %u begins anew as n%u", no, name);
}

/* --- leaving --- */

static bool may_leave(const struct cluster_world *all, unsigned no)
{
    unsigned open = 0;

    for (unsigned i = 0; i < all->world.node_count; i++)
        open += !all->world.is_closed[i];
    return all->faults.leaves && open > 1 && !all->world.is_closed[no] && !all->seats[no].is_paused;
}

static struct loop_range seat_loops(const struct cluster_world *all, unsigned no)
{
    return world_loops_of(&all->world, no * all->world.loops_a_node);
}

/* It is drained: who hangs on it goes elsewhere, and gets its answers. */
static void seat_begin_to_leave(struct cluster_world *all, unsigned no)
{
    struct world *world = &all->world;

    tell(world, "node %u leaves", no);
    all->seats[no].is_leaving    = true;
    all->seats[no].leaving_since = world->now;
    world->is_closed[no]         = true;
    readers_move(world->readers, seat_loops(all, no));
    publishers_move(world->publishers, seat_loops(all, no));
}

/* Where nothing is lost, an engine that was told forgets it at once. */
static void seat_check_left(struct cluster_world *all, unsigned no)
{
    const struct node_id *id = &all->seats[no].node->id;

    if (!all->world.is_sure || plant_leaves_at_once(all->seats[no].node))
        return;
    promise(&all->world, !sim_server_has_lease(all->server, id), "node %u has left, and has its lease", no);
    promise(&all->world, sim_server_route_count(all->server, id) == 0, "node %u has left, and has %zu routes", no,
            sim_server_route_count(all->server, id));
}

/* As writer_thread.c has it: nothing is under way, then the cluster is told. */
static void seat_leave(struct cluster_world *all, unsigned no)
{
    struct cluster_seat   *seat   = &all->seats[no];
    struct world          *world  = &all->world;
    const struct sim_node *node   = world->nodes[no];
    bool                   is_out = writer_is_idle(&node->writer) && !publishers_wait_for(world->publishers, seat_loops(all, no));

    promise(world, !world->is_healing || world->now < seat->leaving_since + 2 * ANSWER_MS, "node %u leaves, and never ends", no);
    if (is_out)
        all->stirred_at = world->now;  /* others may hear of it before it is told that they do */
    if (!is_out || (!plant_leaves_at_once(seat->node) && !cluster_leave(seat->node->cluster)))
        return;
    tell(world, "node %u has left", no);
    seat_check_left(all, no);
    seat->is_leaving = false;
    seat->is_gone    = true;
    all->stirred_at  = world->now;
    sim_engine_hold(seat->node->engine, true);
}

static void seats_come_back(struct cluster_world *all)
{
    for (unsigned i = 0; i < all->world.node_count; i++)
        if (all->seats[i].is_gone) {
            sim_engine_hold(all->seats[i].node->engine, false);
            seat_begin_anew(all, i, all->seats[i].name);
        }
}

static void seat_close_ways(struct cluster_world *all, unsigned no)
{
    struct cluster_seat *seat = &all->seats[no];
    uint64_t             ways = cluster_draw(all, 3);

    seat->has_closed_ways = true;
    seat->ways_until      = all->world.now + (msec)cluster_draw(all, has_silence(all) ? TIMEOUT_MS : CUT_MS_MAX);
    sim_engine_set_ways(seat->node->engine, ways == 0, ways == 1);
    tell(&all->world, "node %u: the way to the engine is %s, from it %s", no, ways == 0 ? "open" : "closed",
         ways == 1 ? "open" : "closed");
}

static void seat_draw_trouble(struct cluster_world *all, unsigned no)
{
    const struct cluster_faults *faults = &all->faults;
    struct cluster_seat         *seat   = &all->seats[no];
    unsigned                     count  = all->world.node_count;

    if (faults->pauses && !seat->is_paused && cluster_one_in(all, 200))
        seat_pause(all, no);
    if (faults->cut_ways && !seat->has_closed_ways && cluster_one_in(all, 150))
        seat_close_ways(all, no);
    if (faults->breaks && cluster_one_in(all, 150))
        sim_engine_break(seat->node->engine);
    if (all->world.faults.crash && cluster_one_in(all, 250))
        seat_begin_anew(all, no, no);
    if (may_leave(all, no) && cluster_one_in(all, 100))
        seat_begin_to_leave(all, no);
    if (faults->twins && cluster_one_in(all, 250))
        seat_begin_anew(all, no, (no + 1 + (unsigned)cluster_draw(all, count - 1)) % count);
}

static void seat_turn(struct cluster_world *all, unsigned no)
{
    struct cluster_seat *seat = &all->seats[no];
    struct world        *world = &all->world;

    if (seat->is_gone)
        return;
    if (!world->is_healing)
        seat_draw_trouble(all, no);
    if (seat->is_leaving && !seat->is_paused)
        seat_leave(all, no);
    if (seat->is_paused && (seat->paused_until <= world->now || world->is_healing))
        seat_go_on(all, no);
    if (seat->has_closed_ways && (seat->ways_until <= world->now || world->is_healing)) {
        seat->has_closed_ways = false;
        sim_engine_set_ways(seat->node->engine, true, true);
        tell(world, "node %u: the ways are open", no);
    }
    if (seat->node->is_usurped) {
        promise(world, all->faults.twins, "node %u ends, and no other has its name", no);
        seat_begin_anew(all, no, no);
    }
}

/* --- what happens to the engine --- */

static void server_draw_trouble(struct cluster_world *all)
{
    struct world *world = &all->world;

    if (all->faults.emptied && cluster_one_in(all, 150)) {
        tell(world, "the engine is emptied");
        sim_server_empty(all->server);
    }
    if (all->faults.leaps && cluster_one_in(all, 150)) {
        msec by = (msec)cluster_draw(all, LEAP_MS_MAX) - LEAP_MS_MAX / 2;
        tell(world, "the engine's clock leaps %lld ms", (long long)by);
        sim_server_leap(all->server, by);
    }
    if (all->faults.restarts && !all->is_stopped && cluster_one_in(all, 200)) {
        tell(world, "the engine ends");
        all->is_stopped    = true;
        all->stopped_until = world->now + (msec)cluster_draw(all, STOP_MS_MAX);
        sim_server_stop(all->server);
    }
}

static void server_turn(struct cluster_world *all)
{
    struct world *world = &all->world;

    if (!world->is_healing)
        server_draw_trouble(all);
    if (all->is_stopped && (all->stopped_until <= world->now || world->is_healing)) {
        bool is_emptied = cluster_one_in(all, 2);
        tell(world, "the engine begins%s", is_emptied ? ", emptied" : "");
        all->is_stopped = false;
        sim_server_start(all->server, is_emptied);
    }
    sim_server_step(all->server, world->now);
}

/* --- its life --- */

static void set_clock(struct world *world)
{
    for (unsigned i = 0; i < world->node_count; i++)
        if (world_node_wall(world, i) > world->wall_latest)
            world->wall_latest = world_node_wall(world, i);
}

static void node_turn(struct world *world, unsigned no, bool has_guests)
{
    struct sim_node *node = world->nodes[no];

    sim_node_writer_turn(node);
    for (unsigned own = 0; own < world->loops_a_node; own++) {
        unsigned loop = no * world->loops_a_node + own;
        sim_node_loop_begin(node, own);
        if (has_guests) {
            publishers_turn(world->publishers, loop);
            askers_turn(world->askers, loop);
            purger_turn(world->purger, loop);
            readers_turn(world->readers, loop);
        }
        sim_node_loop_end(node, own);
    }
    sim_node_check_bounds(node);
}

/* While nodes find each other, and after one has gone, they compare heads. */
static void seat_note_begin(struct cluster_world *all, struct cluster_seat *seat)
{
    const struct cluster_counters *counters    = cluster_counters(seat->node->cluster);
    uint64_t                       comparisons = counter_get(&counters->comparisons);
    uint64_t                       firsts      = counter_get(&counters->firsts);

    if (all->world.now < all->stirred_at + BEGIN_MS)
        seat->early_firsts += firsts - seat->seen_firsts;
    if (all->world.now < all->stirred_at + BEGIN_MS + AGAIN_MS)
        seat->early_comparisons += comparisons - seat->seen_comparisons;
    seat->seen_firsts      = firsts;
    seat->seen_comparisons = comparisons;
}

static void note_begin(struct cluster_world *all)
{
    for (unsigned i = 0; i < all->world.node_count; i++)
        seat_note_begin(all, &all->seats[i]);
}

static void cluster_step(struct cluster_world *all, bool has_guests)
{
    struct world *world = &all->world;

    set_clock(world);
    note_begin(all);
    store_sim_turn(world->disk);
    if (all->has_memory)
        store_sim_turn(world->shared_memory);
    server_turn(all);
    for (unsigned i = 0; i < world->node_count; i++) {
        seat_turn(all, i);
        if (!all->seats[i].is_paused && !all->seats[i].is_gone)
            node_turn(world, i, has_guests && !world->is_closed[i]);
    }
}

static void cluster_pass(struct cluster_world *all, msec span, bool has_guests)
{
    for (msec until = all->world.now + span; all->world.now < until; all->world.now += CALM_STEP_MS)
        cluster_step(all, has_guests);
}

/* Where clocks differ, a node that has an old clock and its name taken never gets it back by itself. */
static void end_twins(struct cluster_world *all)
{
    for (unsigned i = 0; all->faults.skews && i < all->world.node_count; i++)
        if (all->seats[i].name != i)
            seat_begin_anew(all, i, i);
}

static void set_ticks(struct world *world, msec at)
{
    for (unsigned i = 0; i < world->node_count; i++)
        world->nodes[i]->heartbeat_at = world->nodes[i]->tick_at = at;
}

/* A node whose clock was set back waits for the end of its earlier lease. */
static bool nodes_have_joined(const struct cluster_world *all)
{
    for (unsigned i = 0; i < all->world.node_count; i++)
        if (!all->world.is_closed[i] && !sim_server_has_lease(all->server, &all->seats[i].node->id))
            return false;
    return true;
}

/* Who has begun to leave leaves. */
static bool nodes_have_left(const struct cluster_world *all)
{
    for (unsigned i = 0; i < all->world.node_count; i++)
        if (all->seats[i].is_leaving)
            return false;
    return true;
}

static bool stores_expect_late(const struct world *world)
{
    return store_sim_expects_late(world->disk) ||
           (world->shared_memory != NULL && store_sim_expects_late(world->shared_memory));
}

static void wait_for_all(struct cluster_world *all)
{
    struct world *world = &all->world;

    for (msec until = world->now + ANSWER_MS;
         world->now < until && (!publishers_are_done(world->publishers) || !nodes_have_joined(all) ||
                                !nodes_have_left(all) || stores_expect_late(world));
         world->now += CALM_STEP_MS)
        cluster_step(all, true);
    promise(world, nodes_have_joined(all), "every node has its lease within %d ms", ANSWER_MS);
    promise(world, publishers_are_done(world->publishers), "every publish is answered within %d ms", ANSWER_MS);
    msec began = world->now;
    for (msec until = world->now + (world->faults.tight ? TIGHT_MS : COMPLETE_MS);
         world->now < until && !readers_are_complete(world->readers); world->now += CALM_STEP_MS)
        cluster_step(all, true);
    tell(world, "all readers are complete after %lld ms", (long long)(world->now - began));
}

/* All faults end for a while: all must be everywhere before they come again. */
static void cluster_heal(struct cluster_world *all)
{
    struct world *world = &all->world;

    tell(world, "all faults end");
    world->is_healing = true;
    store_sim_heal(world->disk);
    if (all->has_memory)
        store_sim_heal(world->shared_memory);
    sim_server_set_faults(all->server, NULL);
    end_twins(all);
    wait_for_all(all);
    if (!readers_are_complete(world->readers))
        readers_check_end(world->readers);  /* says who is not */
}

/* What is published between this and the end of the round is mostly the last of its channel. */
static void empty_at_last(struct cluster_world *all)
{
    tell(&all->world, "the engine is emptied before the end");
    sim_server_empty(all->server);
}

static bool is_to_be_emptied(const struct cluster_world *all)
{
    return !all->world.is_sure && all->world.seed % EMPTIED_SEEDS == 3;
}

static void cluster_run(struct cluster_world *all)
{
    struct world *world = &all->world;

    for (unsigned round = 1 + (unsigned)cluster_draw(all, ROUNDS_MAX); round > 0; round--) {
        msec until        = world->now + ROUND_MS_MIN + (msec)cluster_draw(all, ROUND_MS_MAX - ROUND_MS_MIN);
        world->is_healing = false;
        seats_come_back(all);
        server_set_faults(all);
        bool is_emptied   = !is_to_be_emptied(all);
        for (; world->now < until; world->now += 1 + (msec)cluster_draw(all, STEP_MS_MAX)) {
            cluster_step(all, true);
            if (is_emptied || world->now + EMPTIED_MS < until)
                continue;
            is_emptied = true;
            empty_at_last(all);
        }
        cluster_heal(all);
    }
}

/* Nobody asks anything any more. */
static void cluster_rest(struct cluster_world *all)
{
    struct world *world = &all->world;

    seats_come_back(all);
    cluster_pass(all, SETTLE_MS, true);
    set_ticks(world, INT64_MAX);  /* no command of a heartbeat is under way then */
    cluster_pass(all, HUSH_MS, true);
    model_check_end(world->model);
    readers_check_end(world->readers);
    purger_check_end(world->purger);
    for (unsigned i = 0; i < world->node_count; i++)
        sim_node_check_quiet(world->nodes[i]);
}

/* Nothing was lost, so there was nothing to compare; but what is too much to wait is dropped, and leaves a hole on purpose. */
static void check_sure(struct cluster_world *all)
{
    for (unsigned i = 0; i < all->world.node_count; i++) {
        const struct cluster_counters *counters = cluster_counters(all->seats[i].node->cluster);
        uint64_t comparisons = counter_get(&counters->comparisons) - all->seats[i].early_comparisons;
        uint64_t firsts      = counter_get(&counters->firsts) - all->seats[i].early_firsts;
        promise(&all->world, counter_get(&counters->holes) == 0 || all->world.faults.tight, "node %u finds a hole where nothing was lost", i);
        promise(&all->world, counter_get(&counters->dropped) == 0 || all->world.faults.tight, "node %u drops messages", i);
        promise(&all->world, comparisons <= firsts || all->world.faults.tight,
                "node %u compares heads %" PRIu64 " times where nothing was lost", i, comparisons);
    }
}

static void cluster_leave_all(struct cluster_world *all)
{
    struct world *world = &all->world;

    if (world->is_sure)
        check_sure(all);
    world->is_sure = false;  /* the heartbeat says who has been lonely for long enough */
    set_ticks(world, world->now);
    tell(world, "everybody leaves");
    readers_cut(world->readers, (struct loop_range){ 0, world->loop_count });
    cluster_pass(all, LEAVE_MS, false);
    for (unsigned i = 0; i < world->node_count; i++) {
        sim_node_check_empty(world->nodes[i]);
        promise(world, sim_server_route_count(all->server, &all->seats[i].node->id) == 0,
                "node %u has %zu routes, and follows nothing", i, sim_server_route_count(all->server, &all->seats[i].node->id));
    }
}

bool cluster_live(uint64_t seed, unsigned plant, struct transcript *transcript, char ret_promise[256])
{
    jmp_buf               broken;
    struct cluster_world *all = calloc(1, sizeof *all);

    must(all != NULL);
    all->plant            = (enum cluster_plant)plant;
    all->world.seed       = seed;
    all->world.transcript = transcript;
    all->world.broken     = &broken;
    if (setjmp(broken) != 0) {
        memcpy(ret_promise, all->world.promise, sizeof all->world.promise);
        return false;  /* what it held is lost: the process ends soon */
    }
    cluster_init(all);
    cluster_run(all);
    cluster_rest(all);
    cluster_leave_all(all);
    cluster_fini(all);
    free(all);
    return true;
}
