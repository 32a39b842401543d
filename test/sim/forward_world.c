#include "forward_world.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "message/event_kind.h"
#include "node/peer_question.h"
#include "store_sim.h"
#include "uplink/forwarder_priv.h"

enum {
    RUN_MS          = 25000,
    STEP_MS_MAX     = 30,
    CALM_STEP_MS    = 25,
    HEAL_MS         = 600000,
    LEARN_MS        = 60000,   /* a node that has lost a lease learns that at its next try */
    SETTLE_MS       = 2500,
    TELL_MS         = 150,     /* nodes hear so often who lives */
    LOST_MS         = 600,     /* who is silent for so long is taken for lost */
    PAUSE_MS_MAX    = 6000,
    DEAF_MS_MAX     = 5000,
    DOWN_MS_MAX     = 15000,
    LATE_HINT_MS    = 400,
    LEASE_MS        = 60000,
    NUMBERS_MAX     = 300,     /* messages of a seed */
    BURST_MAX       = 5,
    TTL_MS_MAX      = 8000,
};

#define FORWARD_SALT UINT64_C(0x666f7277617264)

const char *const forwarder_sim_names[FORWARDERS_SIM] = { "forward:up", "webhook:crm" };

/* --- hints between nodes ------------------------------------------------------------------------------------------- */

static void hint_put(struct forward_node *to, struct span body, msec delay)
{
    if (to->hint_count == HINTS_MAX)
        return;
    struct carried_hint *hint = &to->hints[to->hint_count++];
    *hint = (struct carried_hint){ .body = malloc(body.len), .len = body.len, .due = to->all->world.now + delay };
    must(hint->body != NULL);
    memcpy(hint->body, body.at, body.len);
}

static struct forward_node *hint_target(struct forward_world *all, const struct peer_question *question)
{
    for (unsigned i = 0; i < all->world.node_count; i++) {
        struct forward_node *node = all->nodes[i];
        if (node != NULL && strcmp(node->id.name, question->node) == 0 && node->id.incarnation == question->incarnation)
            return node;
    }
    return NULL;
}

static void on_ask(void *ctx, struct peer_question *question)
{
    struct forward_node  *node = ctx;
    struct forward_world *all  = node->all;
    struct forward_node  *to   = hint_target(all, question);
    bool                  is_lossy = all->has_lost_hints && !all->world.is_healing;

    must(question->topic == PEER_FORWARD && question->is_notice);
    if (to != NULL && !node->sim_node->is_dying && !(is_lossy && forward_one_in(all, 3))) {
        hint_put(to, buf_span(&question->body), is_lossy && forward_one_in(all, 3) ? (msec)forward_draw(all, LATE_HINT_MS) : 1);
        if (is_lossy && forward_one_in(all, 4))
            hint_put(to, buf_span(&question->body), (msec)forward_draw(all, LATE_HINT_MS));
    }
    peer_question_end(question, &node->sim_node->writer);
}

static void hints_turn(struct forward_node *node)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < node->hint_count; i++) {
        struct carried_hint *hint = &node->hints[i];
        if (hint->due > node->all->world.now) {
            node->hints[kept++] = *hint;
            continue;
        }
        must(forwarders_told(&node->forwarders, span_of(hint->body, hint->len)));
        free(hint->body);
    }
    node->hint_count = kept;
}

static void on_channel(void *ctx, struct channel_name *name)
{
    (void)ctx, (void)name;
}

static void on_cluster_committed(void *ctx, struct message *message)
{
    (void)ctx, (void)message;
}

static void on_cluster(void *ctx)
{
    (void)ctx;
}

static const struct cluster_port cluster_alone = {
    .follow = on_channel, .unfollow = on_channel, .committed = on_cluster_committed, .doubted = on_cluster, .ask = on_ask,
    .turn_end = on_cluster, .tick = on_cluster,
};

/* --- what the writer asks of the uplink (uplink/uplink.c), without requests ------------------------------------------- */

static void on_committed(void *ctx, struct message *message)
{
    struct forward_node *node = ctx;
    forwarders_committed(&node->forwarders, message);
}

static void on_turn_end(void *ctx)
{
    struct forward_node *node = ctx;
    forward_plant_turn(node);
    forwarders_turn_end(&node->forwarders);
}

static void on_tick(void *ctx)
{
    struct forward_node *node = ctx;
    forwarders_tick(&node->forwarders);
}

static bool are_forwarders_idle(void *ctx)
{
    struct forward_node *node = ctx;
    return forwarders_is_idle(&node->forwarders);
}

static const struct uplink_port forwarders_alone = {
    .committed = on_committed, .turn_end = on_turn_end, .tick = on_tick, .is_idle = are_forwarders_idle,
};

/* --- publishers --------------------------------------------------------------------------------------------------------- */

static void on_published(struct publish_command *publish, struct writer *writer)
{
    (void)writer;
    command_free(&publish->command);
}

static struct message *draw_message(struct forward_world *all, unsigned channel)
{
    static const char *const kinds[] = { "connected", "disconnected", "subscribed" };
    bool        is_event  = all->channels[channel].forwarder != 0;
    bool        may_be_poison = all->has_refusals && (!is_event || all->give_up_ms != 0);
    const char *kind      = is_event ? kinds[forward_draw(all, 3)] : "";
    const char *word      = may_be_poison && forward_one_in(all, 12) ? "poison" : "fine";
    char        text[80];
    int         len       = snprintf(text, sizeof text, is_event ? "{\"type\":\"%s\",\"text\":\"%s #%u#\"}" : "%s%s #%u#", kind, word,
                                     ++all->number);
    struct message *message = message_new_event(all->world.channels[channel], MESSAGE_PLAIN, text, (uint32_t)len,
                                                is_event ? SPAN("application/json") : SPAN("text/plain"), SPAN("user:ann"),
                                                span_str(kind));
    message->time = world_wall(&all->world);
    if (all->world.faults.ttl && forward_one_in(all, 5))
        message->expires_at = message->time + 1 + (msec)forward_draw(all, TTL_MS_MAX);
    return message;
}

static void publish_one(struct forward_node *node, unsigned channel)
{
    struct message         *message = draw_message(node->all, channel);
    struct publish_command *publish = publish_command_new(&message, SPAN(""), SPAN(""));

    publish->settled = on_published;
    publish_kind.at_writer(&publish->command, &node->sim_node->writer);
}

static void publishers_turn(struct forward_node *node)
{
    struct forward_world *all = node->all;

    if (all->world.is_healing || node->is_stopping || all->number >= NUMBERS_MAX || !forward_one_in(all, 14))
        return;
    unsigned channel = (unsigned)forward_draw(all, all->carried_count);
    for (uint64_t count = 1 + forward_draw(all, BURST_MAX); count > 0; count--)
        publish_one(node, channel);
}

/* --- nodes ------------------------------------------------------------------------------------------------------------ */

static void on_turn_begin(void *ctx)
{
    struct forward_node *node = ctx;

    forwarders_turn_begin(&node->forwarders, node->all->world.now);
    if (node->sim_node->is_dying)
        return;
    carried_turn(node);
    hints_turn(node);
    publishers_turn(node);
}

static void on_nothing(void *ctx)
{
    (void)ctx;  /* the writer itself calls its uplink */
}

static void node_configure(struct forward_node *node, bool has_webhook)
{
    struct forward_world          *all       = node->all;
    const struct forwarder_options options[] = {
        { .space = namespaces_find(&all->world.spaces, SPAN("up")), .prefix = "up:", .backend = "app", .target = "/in",
          .batch_max = all->batch_max, .tries = all->tries, .retry_ms_max = all->retry_ms_max },
        { .space = &all->world.spaces.events, .prefix = "sys:events/", .backend = "app", .target = "/events",
          .body = FORWARDER_EVENTS, .batch_max = all->batch_max, .tries = 1, .retry_ms_max = all->retry_ms_max,
          .give_up_ms = all->give_up_ms, .kinds = EVENT_KIND_CONNECTED | EVENT_KIND_DISCONNECTED },
    };
    struct forwarder_options named[FORWARDERS_SIM];

    for (unsigned i = 0; i < FORWARDERS_SIM; i++) {
        named[i] = options[i];
        snprintf(named[i].name, sizeof named[i].name, "%s", forwarder_sim_names[i]);
    }
    node->has_webhook = has_webhook;
    must(forwarders_configure(&node->forwarders, named, has_webhook ? FORWARDERS_SIM : 1));
}

static void node_begin(struct forward_world *all, unsigned no)
{
    struct world        *world = &all->world;
    struct forward_node *node  = calloc(1, sizeof *node);

    must(node != NULL);
    node->all      = all;
    node->sim_node = sim_node_new(world, no, world->life_count++);
    snprintf(node->id.name, sizeof node->id.name, "n%u", no);
    node->id.incarnation = rng_next(&all->chance) | 1;
    node->started        = world_wall(world);
    registry_init(&node->registry);
    struct forwarders_setup setup = { .writer = &node->sim_node->writer, .spaces = &world->spaces, .hash_key = &world->hash_key,
                                      .port = &forward_sim_port, .ctx = node, .self = node->id, .has_role = true,
                                      .seed = rng_next(&all->chance) };
    node->sim_node->writer.wall = world_wall(world);
    forwarders_init(&node->forwarders, &setup);
    forwarders_turn_begin(&node->forwarders, world->now);
    node->sim_node->writer.uplink      = &forwarders_alone;
    node->sim_node->writer.uplink_ctx  = node;
    node->sim_node->writer.cluster     = world->node_count > 1 ? &cluster_alone : NULL;
    node->sim_node->writer.cluster_ctx = node;
    node->beside = (struct sim_beside){ .ctx = node, .turn_begin = on_turn_begin, .turn_end = on_nothing, .tick = on_nothing,
                                        .fini = on_nothing };
    node->sim_node->beside = &node->beside;
    node->silent_since     = -1;
    for (unsigned i = 0; i < FORWARDERS_SIM; i++)
        node->fares[i].down_at = -1;
    all->nodes[no]   = node;
    world->nodes[no] = node->sim_node;
    node_configure(node, true);
}

/* What it has in memory is gone; what it has under way in the store is written or not, and answered to nobody. */
static void node_forget(struct forward_node *node)
{
    forwarders_stop(&node->forwarders);
    for (size_t i = 0; i < node->forwarders.count; i++)
        for (unsigned part = 0; part < FORWARDER_PARTS; part++)
            while (!list_is_empty(&node->forwarders.at[i]->parts[part].channels))
                forwarder_channel_drop(container_of(node->forwarders.at[i]->parts[part].channels.next, struct forwarder_channel, in_part));
}

static void node_end(struct forward_world *all, unsigned no)
{
    struct forward_node *node = all->nodes[no];

    node->sim_node->is_dying = true;
    do {
        node_forget(node);
        store_sim_cut_node(all->world.disk, no);
        sim_node_settle(node->sim_node);
    } while (node->forwarders.away_count > 0);
    store_sim_cut_node(all->world.disk, no);
    for (unsigned i = 0; i < node->hint_count; i++)
        free(node->hints[i].body);
    forwarders_fini(&node->forwarders);
    node->sim_node->writer.uplink = NULL;
    sim_node_free(node->sim_node);
    registry_fini(&node->registry);
    free(node);
    all->nodes[no]       = NULL;
    all->world.nodes[no] = NULL;
}

static void node_begin_anew(struct forward_world *all, unsigned no, const char *why)
{
    tell(&all->world, "node %u %s", no, why);
    node_end(all, no);
    node_begin(all, no);
}

/* --- who lives -------------------------------------------------------------------------------------------------------- */

static bool is_lost(const struct forward_world *all, const struct forward_node *node)
{
    return node->is_paused && node->silent_since + LOST_MS < all->world.now;
}

static void tell_nodes(struct forward_world *all)
{
    struct node_record    records[NODES_SIM_MAX] = { 0 };
    struct registry_lease leases[NODES_SIM_MAX];
    size_t                count = 0;

    if (all->nodes_told_at > all->world.now || all->world.node_count == 1)
        return;
    all->nodes_told_at = all->world.now + TELL_MS;
    for (unsigned i = 0; i < all->world.node_count; i++) {
        const struct forward_node *node = all->nodes[i];
        if (is_lost(all, node))
            continue;
        records[count] = (struct node_record){ .id = node->id, .started = node->started, .roles = ROLE_FORWARD,
                                               .is_draining = node->is_stopping };
        leases[count]  = (struct registry_lease){ &records[count], LEASE_MS };
        count++;
    }
    for (unsigned i = 0; i < all->world.node_count; i++)
        if (!all->nodes[i]->is_paused && (all->nodes[i]->deaf_until <= all->world.now || all->world.is_healing))
            registry_take(&all->nodes[i]->registry, leases, count, world_wall(&all->world), NULL, NULL);
}

/* --- what happens ------------------------------------------------------------------------------------------------------- */

static void node_draw_trouble(struct forward_world *all, unsigned no)
{
    struct forward_node *node  = all->nodes[no];
    struct world        *world = &all->world;

    if (world->faults.crash && forward_one_in(all, 300)) {
        node_begin_anew(all, no, "is killed");
    } else if (all->has_pauses && !node->is_paused && forward_one_in(all, 300)) {
        node->is_paused    = true;
        node->silent_since = world->now;
        node->paused_until = world->now + (msec)forward_draw(all, PAUSE_MS_MAX);
        tell(world, "node %u is paused", no);
    } else if (all->has_stops && !node->is_stopping && forward_one_in(all, 500)) {
        node->is_stopping = true;
        forwarders_stop(&node->forwarders);
        tell(world, "node %u stops", no);
    } else if (all->has_stale_nodes && forward_one_in(all, 200)) {
        node->deaf_until = world->now + (msec)forward_draw(all, DEAF_MS_MAX);
        tell(world, "node %u does not hear who lives", no);
    } else if (all->has_reloads && !node->is_paused && forward_one_in(all, 200)) {
        tell(world, "node %u %s the webhook", no, node->has_webhook ? "forgets" : "learns of");
        node_configure(node, !node->has_webhook);
    }
}

/* The numbers that operators see are those of the channels. */
static void check_backlog(const struct forward_node *node)
{
    for (size_t i = 0; i < node->forwarders.count; i++) {
        const struct forwarder *forwarder = node->forwarders.at[i];
        uint64_t                behind    = 0;
        for (unsigned part = 0; part < FORWARDER_PARTS; part++)
            for (const struct list *at = forwarder->parts[part].channels.next; at != &forwarder->parts[part].channels; at = at->next)
                behind += forwarder_channel_behind(container_of(at, struct forwarder_channel, in_part));
        promise(&node->all->world, counter_get(&forwarder->counters.backlog) == behind,
                "node %u counts %" PRIu64 " messages that %s has yet to carry, and there are %" PRIu64, node->sim_node->no,
                counter_get(&forwarder->counters.backlog), forwarder->name, behind);
    }
}

/* What it had under way when it was paused is under way still. */
static void node_go_on(struct forward_node *node)
{
    msec now = node->all->world.now;

    node->is_paused = false;
    for (unsigned i = 0; i < FORWARDERS_SIM; i++) {
        node->fares[i].failed_at = now;
        node->fares[i].down_at   = node->fares[i].down_at < 0 ? -1 : now;
    }
    tell(&node->all->world, "node %u goes on", node->sim_node->no);
}

static void seat_turn(struct forward_world *all, unsigned no)
{
    struct world *world = &all->world;

    if (!world->is_healing)
        node_draw_trouble(all, no);
    struct forward_node *node = all->nodes[no];
    if (node->is_paused && (node->paused_until <= world->now || world->is_healing))
        node_go_on(node);
    if (node->is_paused)
        return;
    if (world->is_healing && !node->has_webhook)
        node_configure(node, true);
    sim_node_writer_turn(node->sim_node);
    for (unsigned own = 0; own < world->loops_a_node; own++) {
        sim_node_loop_begin(node->sim_node, own);
        sim_node_loop_end(node->sim_node, own);
    }
    sim_node_check_bounds(node->sim_node);
    check_backlog(node);
    if (node->is_stopping && !all->is_ending && writer_is_idle(&node->sim_node->writer))
        node_begin_anew(all, no, "has stopped");
}

static void draw_outage(struct forward_world *all)
{
    if (!all->has_outages || all->world.is_healing || !forward_one_in(all, 300))
        return;
    all->down_until = all->world.now + (msec)forward_draw(all, DOWN_MS_MAX);
    tell(&all->world, "the back end is away");
}

static void forward_step(struct forward_world *all)
{
    draw_outage(all);
    store_sim_turn(all->world.disk);
    carried_scan(all);
    carried_look(all);
    tell_nodes(all);
    for (unsigned i = 0; i < all->world.node_count; i++)
        seat_turn(all, i);
    carried_scan(all);
}

/* --- its plan ------------------------------------------------------------------------------------------------------------- */

static void draw_faults(struct forward_world *all)
{
    struct world  *world   = &all->world;
    struct faults *faults  = &world->faults;
    bool *const    flags[] = {
        &faults->crash, &faults->broken, &faults->full, &faults->slow_sync, &faults->read_io, &faults->stuck, &faults->away,
        &faults->slow_mail, &faults->late_answers, &faults->tight, &faults->ttl, &faults->trim, &all->has_stops, &all->has_outages,
        &all->has_refusals, &all->has_reloads,
    };
    bool *const shared[] = { &faults->unknown, &faults->stalls, &faults->refused, &all->has_pauses, &all->has_lost_hints,
                             &all->has_stale_nodes };

    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
        *flags[i] = one_in(world, OF_PLAN, 3);
    for (size_t i = 0; world->node_count > 1 && i < sizeof shared / sizeof shared[0]; i++)
        *shared[i] = one_in(world, OF_PLAN, 3);
    all->tries        = 1 + (unsigned)draw(world, OF_PLAN, 3);
    all->batch_max    = 1 + (unsigned)draw(world, OF_PLAN, 10);
    all->retry_ms_max = 2000 + (msec)draw(world, OF_PLAN, 20000);
    all->give_up_ms   = one_in(world, OF_PLAN, 2) ? 2000 + (msec)draw(world, OF_PLAN, 6000) : 0;
}

static void world_add_channel(struct forward_world *all, const char *name, unsigned forwarder)
{
    struct world *world = &all->world;

    must(channel_name_new(&world->spaces, &world->hash_key, span_str(name), &world->channels[world->channel_count]) == CHANNEL_NAME_OK);
    if (world->channel_count < CARRIED_CHANNELS_MAX)
        all->channels[world->channel_count].forwarder = forwarder;
    world->channel_count++;
}

static void world_make_channels(struct forward_world *all)
{
    struct world     *world = &all->world;
    struct namespace *up;
    char              name[32];
    unsigned          uploads = 1 + (unsigned)draw(world, OF_PLAN, 6), logs = (unsigned)draw(world, OF_PLAN, 3);

    namespaces_init(&world->spaces);
    must(namespaces_add(&world->spaces, SPAN("up"), &up) == RC_OK);
    snprintf(up->forward, sizeof up->forward, "app/in");
    up->keep_count = world->faults.trim ? 2 + draw(world, OF_PLAN, 12) : 0;
    for (unsigned i = 0; i < uploads; i++) {
        snprintf(name, sizeof name, "up:c%u", i);
        world_add_channel(all, name, 0);
    }
    for (unsigned i = 0; i < logs; i++) {
        snprintf(name, sizeof name, "sys:events/%u", i);
        world_add_channel(all, name, 1);
    }
    all->carried_count = world->channel_count;
    world_add_channel(all, "sys:dead", 0);
}

static void forward_world_init(struct forward_world *all)
{
    struct world *world = &all->world;

    for (unsigned i = 0; i < PURPOSE_COUNT; i++) {
        struct rng seed = { world->seed * PURPOSE_COUNT + i };
        world->chance[i].state = rng_next(&seed);
    }
    all->chance.state       = world->seed ^ FORWARD_SALT;
    world->hash_key         = (struct hash_key){ 17, 4 };
    world->now              = 1000;
    world->node_count       = 1 + (unsigned)draw(world, OF_PLAN, 3);
    world->loops_a_node     = 1;
    world->loop_count       = world->node_count;
    world->has_shared_store = world->node_count > 1;
    world->linger_ms        = LINGER_MS_MAX;
    draw_faults(all);
    world->has_late_rows = world->faults.unknown && world->seed % 4 == 0;
    world_make_channels(all);
    world->disk = store_sim_new(world);
    forward_plant_init(all);
    for (unsigned i = 0; i < world->node_count; i++)
        node_begin(all, i);
    tell(world, "%u nodes, %u channels, batches of %u, %u tries", world->node_count, all->carried_count, all->batch_max, all->tries);
}

static void forward_world_fini(struct forward_world *all)
{
    for (unsigned i = 0; i < all->world.node_count; i++)
        node_end(all, i);
    store_sim_free(all->world.disk);
    for (unsigned i = 0; i < all->world.channel_count; i++)
        channel_name_unref(all->world.channels[i]);
    for (unsigned i = 0; i < all->call_count; i++)
        free(all->calls[i].body);
}

/* --- its life ------------------------------------------------------------------------------------------------------------- */

static void forward_pass(struct forward_world *all, msec span)
{
    for (msec until = all->world.now + span; all->world.now < until; all->world.now += CALM_STEP_MS)
        forward_step(all);
}

static uint64_t backlog_of(const struct forward_node *node)
{
    uint64_t backlog = 0;

    for (size_t i = 0; i < forwarders_count(&node->forwarders); i++)
        backlog += counter_get(&forwarder_counters(&node->forwarders, i)->backlog);
    return backlog;
}

static bool nodes_count_none(const struct forward_world *all)
{
    for (unsigned i = 0; i < all->world.node_count; i++)
        if (backlog_of(all->nodes[i]) != 0)
            return false;
    return true;
}

static void forward_heal(struct forward_world *all)
{
    struct world *world = &all->world;

    tell(world, "all faults end");
    world->is_healing = true;
    all->down_until   = world->now;
    store_sim_heal(world->disk);
    for (msec until = world->now + HEAL_MS; world->now < until && !carried_all(all); world->now += CALM_STEP_MS)
        forward_step(all);
    tell(world, "all is carried");
    carried_check_end(all);
    for (msec until = world->now + LEARN_MS; world->now < until && !nodes_count_none(all); world->now += CALM_STEP_MS)
        forward_step(all);
    for (unsigned i = 0; i < world->node_count; i++)
        promise(world, backlog_of(all->nodes[i]) == 0, "node %u counts %" PRIu64 " messages that are not carried", i, backlog_of(all->nodes[i]));
}

/* Each gives up what it carries. */
static void forward_stop(struct forward_world *all)
{
    struct world *world = &all->world;

    all->is_ending = true;
    for (unsigned i = 0; i < world->node_count; i++)
        forwarders_stop(&all->nodes[i]->forwarders);
    forward_pass(all, SETTLE_MS);
    for (unsigned i = 0; i < world->node_count; i++)
        promise(world, forwarders_is_idle(&all->nodes[i]->forwarders), "the forwarders of node %u come to rest", i);
}

bool forward_live(uint64_t seed, unsigned plant, struct transcript *transcript, char ret_promise[256])
{
    jmp_buf               broken;
    struct forward_world *all = calloc(1, sizeof *all);

    must(all != NULL);
    all->plant            = (enum forward_plant)plant;
    all->world.seed       = seed;
    all->world.transcript = transcript;
    all->world.broken     = &broken;
    if (setjmp(broken) != 0) {
        memcpy(ret_promise, all->world.promise, sizeof all->world.promise);
        return false;  /* what it held is lost: the process ends soon */
    }
    forward_world_init(all);
    for (struct world *world = &all->world; world->now < RUN_MS; world->now += 1 + (msec)forward_draw(all, STEP_MS_MAX))
        forward_step(all);
    forward_heal(all);
    forward_stop(all);
    forward_world_fini(all);
    free(all);
    return true;
}
