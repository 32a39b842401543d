/* Nodes of a cluster in one process, on a simulated engine and one shared store: what is published on one is heard on the
 * others, whatever is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "cluster/cluster.h"
#include "cluster/sim_engine.h"
#include "node/canary.h"
#include "store/mem.h"

#include <cmocka.h>

enum { SEATS = 3, STEP_MS = 10, TICK_STEPS = 10, LEASE_MS = 5000, COMPARE_MS = 600000, HEAD_POLL_MS = 1000, PAYLOAD = 20, SILENT_MS = 500 };

static const struct hash_key key = { 1, 2 };

struct place {
    struct hall    *hall;
    struct writer   writer;
    struct store   *memory;
    struct engine  *engine;
    struct cluster *cluster;
    char            heard[16384];  /* by its loop, as words */
    unsigned        copied_names;  /* messages that came with a name of their own instead of that of the followers */
    char            usurped[400];
    bool            is_held;      /* its process stands */
    struct command *posted;
};

/* What all nodes share. */
struct hall {
    struct sim_server   *server;
    struct namespaces    spaces;
    struct store        *store;
    struct channel_name *names[3];
    struct place         places[SEATS];
    msec                 now;
    unsigned             steps;
};

static const struct writer_limits plenty = {
    .waiting_count_max = 10000, .waiting_bytes_max = 1 << 24, .batch_count_max = 1000, .batch_bytes_max = 1 << 22,
    .tail_bytes_max = 1 << 20, .tail_messages_max = 100, .deadline_ticks = 50, .delivery_count_max = 10000,
    .delivery_bytes_max = 1 << 24,
};

static const struct cluster_limits usual = {
    .lease_ms = LEASE_MS, .compare_ms = COMPARE_MS, .head_poll_ms = HEAD_POLL_MS, .linger_ms = 2000, .waiting_max = 1000,
    .waiting_bytes_max = 1 << 20, .questions_max = 100,
};

static struct cluster_limits limits_of_next;

static void say(struct place *place, const char *format, uint64_t number)
{
    size_t len = strlen(place->heard);

    snprintf(place->heard + len, sizeof place->heard - len, "%s", len == 0 ? "" : " ");
    len = strlen(place->heard);
    snprintf(place->heard + len, sizeof place->heard - len, format, (int)number);
}

static void hear_message_of(struct place *place, const struct message *message)
{
    bool is_shared = false;

    for (size_t i = 0; i < sizeof place->hall->names / sizeof place->hall->names[0]; i++)
        is_shared |= message->channel == place->hall->names[i];
    place->copied_names += !is_shared;
    say(place, "%d", message->seq);
}

static void hear_command(struct place *place, struct command *command)
{
    if (command->kind == &publish_kind) {
        say(place, container_of(command, struct publish_command, command)->outcome == PUBLISH_DONE ? "ok" : "refused", 0);
    } else if (command->kind == &follow_kind) {
        say(place, "head %d", container_of(command, struct follow_command, command)->head);
    } else if (command->kind == &deliver_kind) {
        struct deliver_command *deliver = container_of(command, struct deliver_command, hint.command);
        for (uint32_t i = 0; i < deliver->hint.count; i++)
            hear_message_of(place, deliver->messages[i]);
    } else if (command->kind == &canary_kind) {
        static const char *const ends[] = { "alone", "home", "away", "lost" };
        say(place, ends[container_of(command, struct canary, command)->end], 0);
    } else if (command->kind == &purged_kind) {
        say(place, "purge %d", container_of(command, struct purged_command, command)->head);
    } else if (command->kind == &moved_kind) {
        struct moved_command *moved = container_of(command, struct moved_command, hint.command);
        for (uint32_t i = 0; i < moved->hint.count; i++)
            say(place, "to %d", moved->heads[i].head);
    }
}

static void on_send(void *ctx, unsigned loop, struct command *command)
{
    struct writer *writer = ctx;

    (void)loop;
    hear_command(container_of(writer, struct place, writer), command);
    command_free(command);
}

static void on_post(void *ctx, struct command *command)
{
    struct writer *writer = ctx;
    struct place  *place  = container_of(writer, struct place, writer);

    command->mail.next = place->posted == NULL ? NULL : &place->posted->mail;
    place->posted      = command;
}

static const struct writer_port writer_port_here = { .send = on_send, .post = on_post };

static void on_done(void *ctx, struct engine_call *call)
{
    cluster_take_done(((struct place *)ctx)->cluster, call);
}

static void on_frame(void *ctx, struct span frame)
{
    cluster_take_frame(((struct place *)ctx)->cluster, frame);
}

static void on_up(void *ctx, uint64_t life, uint64_t since)
{
    cluster_take_up(((struct place *)ctx)->cluster, life, since);
}

static void on_down(void *ctx, const char *why)
{
    (void)why;
    cluster_take_down(((struct place *)ctx)->cluster);
}

static void on_silent(void *ctx, bool is_silent)
{
    cluster_take_silence(((struct place *)ctx)->cluster, is_silent);
}

static const struct engine_events events = { on_done, on_frame, on_up, on_down, on_silent };

static void on_usurped(void *ctx, const char *why)
{
    struct place *place = ctx;
    snprintf(place->usurped, sizeof place->usurped, "%s", why);
}

/* --- the hall -------------------------------------------------------------------------------------------------- */

static uint32_t protocol_of_next = CLUSTER_PROTOCOL, engines_of_next = 2;
static uint64_t store_of_next = 7;

static void place_open(struct hall *hall, unsigned no, const char *name, uint64_t incarnation)
{
    struct place        *place = &hall->places[no];
    struct cluster_setup setup = {
        .writer = &place->writer, .spaces = &hall->spaces, .hash_key = &key, .limits = limits_of_next, .usurped = on_usurped, .ctx = place,
        .self = { .id.incarnation = incarnation, .started = hall->now, .protocol = protocol_of_next,
                  .engines = engines_of_next, .store = store_of_next, .roles = ROLE_ACCESS },
    };

    *place = (struct place){ .hall = hall };
    snprintf(setup.self.id.name, sizeof setup.self.id.name, "%s", name);
    place->memory = mem_store_new(&(struct mem_store_options){ .epoch_first = incarnation, .id_first = 1, .hash_key = key });
    writer_init(&place->writer, &writer_port_here, &place->writer, hall->store, place->memory, &plenty, 1);
    place->engine  = sim_engine_open(hall->server, &setup.self.id, &events, place);
    setup.engine   = place->engine;
    place->cluster = cluster_new(&setup);
    place->writer.cluster     = &cluster_port;
    place->writer.cluster_ctx = place->cluster;
    cluster_turn_begin(place->cluster, hall->now, 1 + hall->now);
}

static void place_turn(struct place *place)
{
    while (place->posted != NULL) {
        struct command *command = place->posted;
        place->posted           = command->mail.next == NULL ? NULL : command_of(command->mail.next);
        writer_take(&place->writer, command, place->hall->now);
    }
    if (place->hall->steps % TICK_STEPS == 0)
        writer_tick(&place->writer, place->hall->now);
    writer_turn_end(&place->writer, place->hall->now);
}

static void place_close(struct place *place)
{
    if (place->cluster == NULL)
        return;
    while (place->posted != NULL)
        place_turn(place);
    place->engine->ops->close(place->engine);
    cluster_free(place->cluster);
    writer_fini(&place->writer);
    place->memory->ops->close(place->memory);
    *place = (struct place){ 0 };
}

/* After so long the engine is silent, and after ten times as long it is given up; 0: it is given up at once. */
static msec silence_of_next;

static struct hall *hall_new(bool prefers_heads)
{
    const struct sim_server_options options = {
        .chance = { 4 }, .answer_ms_max = 6, .late_ms_max = 300, .timeout_ms = silence_of_next == 0 ? 500 : 10 * silence_of_next,
        .silent_ms = silence_of_next, .reconnect_ms = 50, .clock_permille = 1000,
        .prefers_heads = prefers_heads, .frame_bytes_max = 4096,
    };
    static const char *const texts[] = { "topic:a", "topic:b", "user:ann" };
    struct hall             *hall    = calloc(1, sizeof *hall);

    must(hall != NULL);
    hall->now    = 1000;
    hall->server = sim_server_new(&options);
    namespaces_init(&hall->spaces);
    for (int i = 0; i < 3; i++)
        must(channel_name_new(&hall->spaces, &key, span_str(texts[i]), &hall->names[i]) == CHANNEL_NAME_OK);
    hall->store = mem_store_new(&(struct mem_store_options){ .epoch_first = 9, .id_first = 1, .hash_key = key });
    hall->store->has_one_writer = false;
    return hall;
}

static void hall_free(struct hall *hall)
{
    for (unsigned i = 0; i < SEATS; i++)
        place_close(&hall->places[i]);
    sim_server_free(hall->server);
    hall->store->ops->close(hall->store);
    for (int i = 0; i < 3; i++)
        channel_name_unref(hall->names[i]);
    free(hall);
}

static void passes(struct hall *hall, msec span)
{
    for (msec until = hall->now + span; hall->now < until; hall->now += STEP_MS, hall->steps++) {
        for (unsigned i = 0; i < SEATS; i++)
            if (hall->places[i].cluster != NULL && !hall->places[i].is_held)
                cluster_turn_begin(hall->places[i].cluster, hall->now, 1 + hall->now);
        sim_server_step(hall->server, hall->now);
        for (unsigned i = 0; i < SEATS; i++)
            if (hall->places[i].cluster != NULL && !hall->places[i].is_held)
                place_turn(&hall->places[i]);
    }
}

/* Three nodes that know each other. */
static struct hall *hall_full(bool prefers_heads)
{
    static const char *const names[SEATS] = { "n1", "n2", "n3" };
    struct hall             *hall         = hall_new(prefers_heads);

    for (unsigned i = 0; i < SEATS; i++)
        place_open(hall, i, names[i], 100 + i);
    passes(hall, 2500);
    return hall;
}

static void follow_send(struct hall *hall, unsigned no, struct channel_name *channel)
{
    struct follow_command *follow = calloc(1, sizeof *follow);

    must(follow != NULL);
    follow->command = (struct command){ .kind = &follow_kind };
    follow->channel = channel_name_ref(channel);
    writer_take(&hall->places[no].writer, &follow->command, hall->now);
}

static void follows(struct hall *hall, unsigned no, unsigned name)
{
    follow_send(hall, no, hall->names[name]);
}

static void publishes_bytes(struct hall *hall, unsigned no, unsigned name, uint32_t bytes)
{
    struct message *message = message_new(hall->names[name], MESSAGE_PLAIN, NULL, bytes, SPAN("text/plain"), SPAN("me"));

    memset(message->bytes, 'x', bytes);
    writer_take(&hall->places[no].writer, &publish_command_new(&message, SPAN(""), SPAN(""))->command, hall->now);
}

static void publishes(struct hall *hall, unsigned no, unsigned name)
{
    publishes_bytes(hall, no, name, PAYLOAD);
}

#define heard_is(hall, no, want)                                    \
    do {                                                            \
        assert_string_equal((hall)->places[no].heard, want);        \
        (hall)->places[no].heard[0] = '\0';                         \
    } while (0)

static const struct cluster_counters *counters(const struct hall *hall, unsigned no)
{
    return cluster_counters(hall->places[no].cluster);
}

/* n1 publishes; n2 and n3 follow the first channel. */
static struct hall *hall_following(bool prefers_heads)
{
    struct hall *hall = hall_full(prefers_heads);

    follows(hall, 1, 0);
    follows(hall, 2, 0);
    passes(hall, 100);
    heard_is(hall, 1, "head 0");
    heard_is(hall, 2, "head 0");
    return hall;
}

/* --- delivery ----------------------------------------------------------------------------------------------------- */

static void what_one_node_publishes_all_others_hear(void **state)
{
    (void)state;
    struct hall *hall = hall_following(false);

    publishes(hall, 0, 0);
    passes(hall, 100);
    heard_is(hall, 0, "ok");
    heard_is(hall, 1, "1");
    heard_is(hall, 2, "1");
    publishes(hall, 1, 0);
    publishes(hall, 1, 1);
    passes(hall, 100);
    heard_is(hall, 0, "");
    heard_is(hall, 1, "ok ok 2");
    heard_is(hall, 2, "2");
    assert_int_equal(counter_get(&counters(hall, 0)->frames_sent), 2);
    assert_int_equal(counter_get(&counters(hall, 2)->messages_heard), 2);
    assert_int_equal(counter_get(&counters(hall, 2)->heads_heard), 0);
    assert_int_equal(hall->places[2].copied_names, 0);
    hall_free(hall);
}

static void the_messages_of_a_turn_are_one_frame(void **state)
{
    (void)state;
    struct hall *hall = hall_following(false);

    follows(hall, 1, 1);
    passes(hall, 100);
    heard_is(hall, 1, "head 0");
    for (int i = 0; i < 4; i++)
        publishes(hall, 0, i % 2u);
    passes(hall, 100);
    heard_is(hall, 1, "1 1 2 2");
    heard_is(hall, 2, "1 2");
    assert_int_equal(counter_get(&counters(hall, 0)->lookups), 1);
    assert_int_equal(counter_get(&counters(hall, 0)->frames_sent), 2);
    hall_free(hall);
}

static void frames_are_bounded(void **state)
{
    (void)state;
    struct hall *hall = hall_following(false);

    for (int i = 0; i < 12; i++)
        publishes_bytes(hall, 0, 0, 1000);
    passes(hall, 100);
    heard_is(hall, 1, "1 2 3 4 5 6 7 8 9 10 11 12");
    assert_in_range(counter_get(&counters(hall, 0)->frames_sent), 2 * 4, 2 * 6);
    publishes_bytes(hall, 0, 0, 4000);  /* no frame holds it: its head comes */
    passes(hall, 100);
    heard_is(hall, 1, "to 13");
    assert_int_equal(counter_get(&counters(hall, 0)->heads_sent), 2);
    hall_free(hall);
}

static void an_engine_may_carry_heads_alone(void **state)
{
    (void)state;
    struct hall *hall = hall_following(true);

    publishes(hall, 0, 0);
    publishes(hall, 0, 0);
    passes(hall, 100);
    heard_is(hall, 1, "to 2");
    assert_int_equal(counter_get(&counters(hall, 1)->heads_heard), 1);
    assert_int_equal(counter_get(&counters(hall, 1)->messages_heard), 0);
    hall_free(hall);
}

static void who_follows_no_more_is_sent_nothing(void **state)
{
    (void)state;
    struct hall           *hall     = hall_following(false);
    struct follow_command *unfollow = calloc(1, sizeof *unfollow);

    must(unfollow != NULL);
    unfollow->command = (struct command){ .kind = &unfollow_kind };
    unfollow->channel = channel_name_ref(hall->names[0]);
    writer_take(&hall->places[1].writer, &unfollow->command, hall->now);
    passes(hall, 3000);  /* the route has lingered */
    publishes(hall, 0, 0);
    passes(hall, 100);
    heard_is(hall, 1, "");
    heard_is(hall, 2, "1");
    assert_int_equal(counter_get(&counters(hall, 1)->routes), 0);
    assert_int_equal(counter_get(&counters(hall, 0)->frames_sent), 1);
    hall_free(hall);
}

static void a_purge_reaches_the_others(void **state)
{
    (void)state;
    struct hall *hall = hall_following(false);

    publishes(hall, 0, 0);
    passes(hall, 100);
    writer_take(&hall->places[0].writer, &purge_command_new(hall->names[0])->command, hall->now);
    publishes(hall, 0, 0);
    passes(hall, 100);
    heard_is(hall, 1, "1 purge 1 2");
    hall_free(hall);
}

/* --- healing ------------------------------------------------------------------------------------------------------ */

static void a_lost_frame_is_noticed(void **state)
{
    (void)state;
    static const struct sim_engine_faults all_lost = { .lost_frames = 1 };
    struct hall                          *hall     = hall_following(false);

    sim_server_set_faults(hall->server, &all_lost);
    publishes(hall, 0, 0);
    passes(hall, 500);
    heard_is(hall, 1, "");
    sim_server_set_faults(hall->server, NULL);
    passes(hall, 2500);
    heard_is(hall, 1, "to 1");
    assert_int_equal(counter_get(&counters(hall, 1)->holes) + counter_get(&counters(hall, 1)->firsts), 1);
    publishes(hall, 0, 0);
    passes(hall, 100);
    heard_is(hall, 1, "2");
    hall_free(hall);
}

static void a_doubled_frame_is_heard_once(void **state)
{
    (void)state;
    static const struct sim_engine_faults all_doubled = { .doubled_frames = 1 };
    struct hall                          *hall        = hall_following(false);

    sim_server_set_faults(hall->server, &all_doubled);
    publishes(hall, 0, 0);
    passes(hall, 500);
    heard_is(hall, 1, "1");
    assert_true(counter_get(&counters(hall, 1)->old_frames) >= 1);
    hall_free(hall);
}

static void look_ups_that_fail_are_noticed_by_the_others(void **state)
{
    (void)state;
    static const struct sim_engine_faults all_fail = { .lost_calls = 1 };
    struct hall                          *hall     = hall_following(false);

    sim_server_set_faults(hall->server, &all_fail);
    publishes(hall, 0, 0);
    passes(hall, 700);
    sim_server_set_faults(hall->server, NULL);
    heard_is(hall, 1, "");
    assert_int_equal(counter_get(&counters(hall, 0)->lookup_failures), 1);
    passes(hall, 10);
    publishes(hall, 0, 0);
    passes(hall, 3000);
    heard_is(hall, 1, "2");  /* whoever reads the log finds 1 before it */
    assert_int_equal(counter_get(&counters(hall, 1)->firsts), 1);
    assert_true(counter_get(&counters(hall, 1)->comparisons) >= 1);
    hall_free(hall);
}

static void what_is_too_much_is_dropped_and_healed(void **state)
{
    (void)state;
    struct hall *hall = hall_following(false);

    publishes(hall, 0, 0);
    passes(hall, 100);
    heard_is(hall, 1, "1");
    for (int i = 0; i < 1500; i++)
        publishes(hall, 0, 0);
    passes(hall, 3000);
    assert_int_equal(counter_get(&counters(hall, 0)->dropped), 500);
    assert_true(counter_get(&counters(hall, 1)->holes) >= 1);
    assert_non_null(strstr(hall->places[1].heard, "to 1501"));
    hall_free(hall);
}

/* FLUSHALL: nobody is told but by the next lease. */
static void an_emptied_engine_is_filled_again(void **state)
{
    (void)state;
    struct hall *hall = hall_following(false);

    sim_server_empty(hall->server);
    publishes(hall, 0, 0);
    passes(hall, 100);
    heard_is(hall, 1, "");
    passes(hall, 4000);
    heard_is(hall, 1, "to 1");
    heard_is(hall, 2, "to 1");
    publishes(hall, 0, 0);
    passes(hall, 100);
    heard_is(hall, 1, "2");
    assert_int_equal(counter_get(&counters(hall, 1)->is_healthy), 1);
    hall_free(hall);
}

/* The lease that is taken in the engine's new life is new, too: that is no second reason. */
static void each_route_is_registered_once_in_a_life(void **state)
{
    (void)state;
    struct hall *hall = hall_following(false);

    uint64_t changes = counter_get(&counters(hall, 1)->route_changes);
    uint64_t routes  = counter_get(&counters(hall, 1)->routes);
    assert_true(routes > 0);
    sim_server_stop(hall->server);
    passes(hall, 100);
    sim_server_start(hall->server, true);  /* found at the connection, before any lease is asked for */
    passes(hall, 10000);
    assert_int_equal(counter_get(&counters(hall, 1)->is_healthy), 1);
    assert_int_equal(counter_get(&counters(hall, 1)->route_changes), changes + routes);
    hall_free(hall);
}

/* Many channels, whose heads are compared so slowly that a comparison shows. */
static struct hall *hall_of_many(void)
{
    enum { MANY = 5000 };
    struct hall *hall;

    limits_of_next.compare_per_s = 300;  /* 10 a tick on each of three nodes: the sweep takes 50 s */
    hall           = hall_following(false);
    limits_of_next = usual;
    for (int i = 0; i < MANY; i++) {
        struct channel_name *channel;
        char                 text[32];
        snprintf(text, sizeof text, "topic:many%d", i);
        must(channel_name_new(&hall->spaces, &key, span_str(text), &channel) == CHANNEL_NAME_OK);
        follow_send(hall, 1, channel);
        channel_name_unref(channel);
        if (i % 100 == 99)
            passes(hall, 10 * STEP_MS);
    }
    passes(hall, 1000);
    hall->places[1].heard[0] = '\0';
    return hall;
}

/* What nobody was found for is told to all, and all say that this was all. */
static void what_others_have_told_is_not_compared(void **state)
{
    (void)state;
    struct hall *hall   = hall_of_many();
    uint64_t     count  = counter_get(&counters(hall, 1)->comparisons);
    uint64_t     spared = counter_get(&counters(hall, 1)->comparisons_spared);

    sim_server_empty(hall->server);
    publishes(hall, 0, 0);
    passes(hall, 100);
    heard_is(hall, 1, "");
    passes(hall, LEASE_MS / 5 + 200);  /* the emptied engine is noticed with the next lease */
    heard_is(hall, 1, "to 1");
    passes(hall, 2000);
    publishes(hall, 0, 0);
    passes(hall, 100);
    heard_is(hall, 1, "2");
    passes(hall, 20000);
    assert_int_equal(counter_get(&counters(hall, 1)->comparisons), count);
    assert_int_equal(counter_get(&counters(hall, 1)->comparisons_spared), spared + 1);
    assert_int_equal(counter_get(&counters(hall, 1)->is_healthy), 1);
    hall_free(hall);
}

static void is_held(struct hall *hall, unsigned no, bool is)
{
    hall->places[no].is_held = is;
    sim_engine_hold(hall->places[no].engine, is);
}

/* What is compared before the routes stand is compared then all the same. */
static void while_routes_are_registered_nothing_is_compared(void **state)
{
    (void)state;
    static const struct sim_engine_faults slow  = { .slow_answers = 1 };
    struct hall                          *hall  = hall_of_many();
    const struct node_id                  id    = { "n2", 101 };
    const uint64_t                        count = counter_get(&counters(hall, 1)->comparisons);
    const uint64_t                        gaps  = counter_get(&counters(hall, 1)->doubts[DOUBT_GAP]);
    const uint64_t                        lives = counter_get(&counters(hall, 1)->lives);
    const size_t                          routes = sim_server_route_count(hall->server, &id);
    unsigned                              steps = 0;

    sim_server_empty(hall->server);
    sim_server_set_faults(hall->server, &slow);
    for (int i = 0; i < 300 && counter_get(&counters(hall, 1)->lives) == lives; i++)
        passes(hall, STEP_MS);
    cluster_port.doubted(hall->places[0].cluster);
    publishes(hall, 0, 0);
    for (int i = 0; i < 1000; i++) {
        passes(hall, STEP_MS);
        if (sim_server_route_count(hall->server, &id) == routes)
            continue;
        steps += counter_get(&counters(hall, 1)->doubts[DOUBT_GAP]) > gaps;
        assert_int_equal(counter_get(&counters(hall, 1)->comparisons), count);
    }
    assert_true(steps > 10);
    assert_int_equal(counter_get(&counters(hall, 1)->comparisons), count + 1);
    hall_free(hall);
}

/* On a busy machine a node notices it later than another asks for the list of leases. */
static void a_node_that_renews_its_lease_late_is_not_lost(void **state)
{
    (void)state;
    struct hall *hall   = hall_of_many();
    uint64_t     count  = counter_get(&counters(hall, 1)->comparisons);
    uint64_t     spared = counter_get(&counters(hall, 1)->comparisons_spared);

    sim_server_empty(hall->server);
    is_held(hall, 2, true);
    passes(hall, LEASE_MS * 3 / 5);
    assert_int_equal(registry_find(cluster_registry(hall->places[1].cluster), SPAN("n3"))->state, NODE_UP);
    is_held(hall, 2, false);
    passes(hall, 2 * LEASE_MS);
    assert_int_equal(counter_get(&counters(hall, 1)->comparisons), count);
    assert_int_equal(counter_get(&counters(hall, 1)->comparisons_spared), spared + 1);
    assert_int_equal(counter_get(&counters(hall, 1)->is_healthy), 1);
    hall_free(hall);
}

/* What it committed last it may have told nobody. */
static void a_node_that_is_gone_with_the_engine_is_lost_after_its_lease(void **state)
{
    (void)state;
    struct hall *hall  = hall_of_many();
    uint64_t     count = counter_get(&counters(hall, 1)->comparisons);
    uint64_t     lost  = counter_get(&counters(hall, 1)->doubts[DOUBT_NODE_LOST]);

    sim_server_empty(hall->server);
    is_held(hall, 2, true);
    passes(hall, LEASE_MS * 3 / 5);
    assert_int_equal(counter_get(&counters(hall, 1)->comparisons), count);
    passes(hall, LEASE_MS);
    assert_int_equal(registry_find(cluster_registry(hall->places[1].cluster), SPAN("n3"))->state, NODE_LOST);
    assert_true(counter_get(&counters(hall, 1)->comparisons) > count);
    assert_true(counter_get(&counters(hall, 1)->doubts[DOUBT_NODE_LOST]) > lost);
    is_held(hall, 2, false);
    passes(hall, 2000);
    hall_free(hall);
}

/* A purge, too, finds nobody; it is told to all if it comes when the emptied engine is noticed, and makes all compare before. */
static void a_node_that_cannot_tell_all_makes_others_compare(void **state)
{
    (void)state;
    struct hall *hall  = hall_of_many();
    uint64_t     count = counter_get(&counters(hall, 1)->comparisons);

    sim_server_empty(hall->server);
    cluster_port.purged(hall->places[0].cluster, hall->names[0], 1, 0);
    passes(hall, 10000);
    assert_int_equal(counter_get(&counters(hall, 1)->comparisons), count + 1);
    assert_int_equal(counter_get(&counters(hall, 1)->comparisons_spared), 0);
    hall_free(hall);
}

/* The store does not know whether a batch of this node is there: the others look. */
static void what_is_in_doubt_on_one_node_the_others_compare(void **state)
{
    (void)state;
    struct hall *hall  = hall_following(false);
    uint64_t     count = counter_get(&counters(hall, 1)->comparisons);

    publishes(hall, 0, 0);
    passes(hall, 2000);
    heard_is(hall, 1, "1");
    cluster_port.doubted(hall->places[0].cluster);
    passes(hall, 2000);
    assert_int_equal(counter_get(&counters(hall, 1)->comparisons), count + 1);
    hall_free(hall);
}

/* Local delivery goes on; the others look at the log once a second. */
static void while_the_engine_is_away_heads_are_polled(void **state)
{
    (void)state;
    struct hall *hall = hall_following(false);

    sim_server_stop(hall->server);
    passes(hall, 2000);
    assert_int_equal(counter_get(&counters(hall, 1)->is_up), 0);
    publishes(hall, 0, 0);
    passes(hall, 100);
    follows(hall, 0, 0);
    passes(hall, 1500);
    heard_is(hall, 0, "ok head 1");
    heard_is(hall, 1, "to 1");
    sim_server_start(hall->server, true);
    passes(hall, 4000);
    publishes(hall, 0, 0);
    passes(hall, 100);
    heard_is(hall, 0, "ok 2");
    heard_is(hall, 1, "2");
    heard_is(hall, 2, "to 1 2");
    publishes(hall, 1, 0);
    passes(hall, 100);
    heard_is(hall, 0, "3");  /* the route of a follower that came meanwhile */
    hall_free(hall);
}

static struct hall *hall_with_silence(void)
{
    silence_of_next   = SILENT_MS;
    struct hall *hall = hall_following(false);
    silence_of_next   = 0;
    return hall;
}

/* It answers later: nothing was lost, and nothing has to be compared. Meanwhile heads are polled. */
static void what_a_silent_engine_holds_comes_when_it_speaks(void **state)
{
    (void)state;
    struct hall *hall    = hall_with_silence();
    uint64_t     count   = counter_get(&counters(hall, 1)->comparisons);
    uint64_t     dropped = counter_get(&counters(hall, 0)->dropped);

    for (unsigned i = 0; i < SEATS; i++)
        sim_engine_set_ways(hall->places[i].engine, true, false);
    publishes(hall, 0, 0);
    passes(hall, SILENT_MS + 1500);
    assert_int_equal(counter_get(&counters(hall, 1)->is_up), 0);
    assert_int_equal(counter_get(&counters(hall, 1)->is_healthy), 0);
    heard_is(hall, 1, "to 1");
    for (unsigned i = 0; i < SEATS; i++)
        sim_engine_set_ways(hall->places[i].engine, true, true);
    passes(hall, 1000);
    assert_int_equal(counter_get(&counters(hall, 1)->is_healthy), 1);
    publishes(hall, 0, 0);
    passes(hall, 100);
    assert_non_null(strstr(hall->places[1].heard, "2"));
    passes(hall, 3000);
    assert_int_equal(counter_get(&counters(hall, 0)->dropped), dropped);
    assert_int_equal(counter_get(&counters(hall, 1)->comparisons), count);
    hall_free(hall);
}

/* Nobody waits for a route of an engine that says nothing. What is published until the route stands comes by no way. */
static void who_follows_while_the_engine_is_silent_is_told_at_once(void **state)
{
    (void)state;
    struct hall *hall = hall_with_silence();

    sim_engine_set_ways(hall->places[1].engine, false, false);
    passes(hall, 1500);
    assert_int_equal(counter_get(&counters(hall, 1)->is_up), 0);
    uint64_t routes = counter_get(&counters(hall, 1)->doubts[DOUBT_ROUTES]);
    follows(hall, 1, 1);
    passes(hall, 100);
    heard_is(hall, 1, "head 0");
    publishes(hall, 0, 1);
    passes(hall, 100);
    sim_engine_set_ways(hall->places[1].engine, true, true);
    passes(hall, 2000);
    heard_is(hall, 1, "to 1");
    assert_int_equal(counter_get(&counters(hall, 1)->doubts[DOUBT_ROUTES]), routes + 1);
    assert_int_equal(counter_get(&counters(hall, 1)->is_healthy), 1);
    hall_free(hall);
}

static uint64_t heads_asked(const struct hall *hall, unsigned no)
{
    return hall->places[no].writer.durable.away_count;
}

static void a_healthy_bus_saves_comparisons(void **state)
{
    (void)state;
    struct hall *hall = hall_following(false);

    passes(hall, 5000);
    for (int i = 0; i < 3000; i++) {
        passes(hall, STEP_MS);
        assert_int_equal(heads_asked(hall, 1), 0);
    }
    hall_free(hall);
}

static void sends_canary(struct hall *hall, unsigned no)
{
    writer_take(&hall->places[no].writer, &canary_new()->command, hall->now);
}

/* Threat 46: readiness goes by a canary that has been through the engine. */
static void a_canary_tells_whether_the_bus_carries(void **state)
{
    (void)state;
    static const struct sim_engine_faults all_lost = { .lost_frames = 1 };
    struct hall                          *hall     = hall_full(false);

    sends_canary(hall, 0);
    sends_canary(hall, 0);
    passes(hall, 100);
    heard_is(hall, 0, "home home");
    sim_server_set_faults(hall->server, &all_lost);
    sends_canary(hall, 0);
    passes(hall, CANARY_MS_MAX - 100);
    heard_is(hall, 0, "");
    passes(hall, 300);
    heard_is(hall, 0, "lost");
    sim_server_set_faults(hall->server, NULL);
    sends_canary(hall, 0);
    sim_server_stop(hall->server);
    passes(hall, 1000);
    sends_canary(hall, 0);
    passes(hall, 100);
    heard_is(hall, 0, "away away");
    sim_server_start(hall->server, false);
    passes(hall, 1000);
    sends_canary(hall, 0);
    hall_free(hall);
}

/* --- nodes -------------------------------------------------------------------------------------------------------- */

static void nodes_know_each_other(void **state)
{
    (void)state;
    struct hall *hall = hall_full(false);

    assert_int_equal(cluster_registry(hall->places[0].cluster)->count, 3);
    cluster_tell_self(hall->places[2].cluster, 7, true);
    passes(hall, 1500);
    const struct registry_node *node = registry_find(cluster_registry(hall->places[0].cluster), SPAN("n3"));
    assert_non_null(node);
    assert_int_equal(node->state, NODE_DRAINING);
    assert_int_equal(node->record.connections, 7);
    hall_free(hall);
}

static void who_leaves_is_gone_at_once(void **state)
{
    (void)state;
    struct hall *hall = hall_following(false);

    publishes(hall, 2, 0);
    passes(hall, 10);
    for (int i = 0; i < 100 && !cluster_leave(hall->places[2].cluster); i++)
        passes(hall, STEP_MS);
    assert_true(cluster_leave(hall->places[2].cluster));
    heard_is(hall, 1, "1");
    passes(hall, 1500);
    assert_int_equal(registry_find(cluster_registry(hall->places[0].cluster), SPAN("n3"))->state, NODE_LOST);
    hall_free(hall);
}

/* It committed and died before it told anybody. */
static void what_a_lost_node_committed_last_is_found(void **state)
{
    (void)state;
    struct hall *hall = hall_following(false);

    publishes(hall, 0, 0);
    writer_turn_end(&hall->places[0].writer, hall->now);
    hall->places[0].is_held = true;
    sim_engine_break(hall->places[0].engine);
    sim_engine_set_ways(hall->places[0].engine, false, false);
    passes(hall, 3000);
    heard_is(hall, 1, "");
    passes(hall, LEASE_MS);
    heard_is(hall, 1, "to 1");
    hall_free(hall);
}

/* A process that stood longer than its lease: others passed it over. */
static void a_node_that_was_paused_finds_what_it_missed(void **state)
{
    (void)state;
    struct hall *hall = hall_following(false);

    hall->places[1].is_held = true;
    sim_engine_hold(hall->places[1].engine, true);
    passes(hall, 2 * LEASE_MS);
    publishes(hall, 0, 0);
    passes(hall, 1000);
    heard_is(hall, 2, "1");
    hall->places[1].is_held = false;
    sim_engine_hold(hall->places[1].engine, false);
    passes(hall, 4000);
    heard_is(hall, 1, "to 1");
    publishes(hall, 0, 0);
    passes(hall, 2000);
    heard_is(hall, 1, "2");
    hall_free(hall);
}

static void of_two_with_one_name_the_newer_stays(void **state)
{
    (void)state;
    struct hall *hall = hall_full(false);

    place_close(&hall->places[2]);
    place_open(hall, 2, "n1", 200);
    passes(hall, 2500);
    assert_string_not_equal(hall->places[0].usurped, "");
    assert_string_equal(hall->places[2].usurped, "");
    hall_free(hall);
}

/* Threat 44: the next release may join, the one behind it is refused with a sentence, and the cluster stays as it is. */
static void only_neighbouring_releases_join(void **state)
{
    (void)state;
    for (uint32_t newer = 1; newer <= 2; newer++) {
        struct hall *hall = hall_full(false);
        place_close(&hall->places[2]);
        protocol_of_next = CLUSTER_PROTOCOL + newer;
        place_open(hall, 2, "n3", 300);
        protocol_of_next = CLUSTER_PROTOCOL;
        passes(hall, 2500);
        assert_true((strstr(hall->places[2].usurped, "only neighbouring releases") != NULL) == (newer == 2));
        assert_string_equal(hall->places[0].usurped, "");
        assert_string_equal(hall->places[1].usurped, "");
        hall_free(hall);
    }
}

/* A node with another list would look for routes, and put its own, where others do not. One of a release that does not say how long its
 * list is may join. */
static void a_node_with_another_list_of_engines_is_refused(void **state)
{
    static const uint32_t engines[] = { 0, 2, 1, 3 };

    (void)state;
    for (size_t i = 0; i < sizeof engines / sizeof engines[0]; i++) {
        struct hall *hall = hall_full(false);
        place_close(&hall->places[2]);
        engines_of_next = engines[i];
        place_open(hall, 2, "n3", 300);
        engines_of_next = 2;
        passes(hall, 2500);
        assert_true((strstr(hall->places[2].usurped, "names 2 instances of Redis") != NULL) == (i >= 2));
        assert_string_equal(hall->places[0].usurped, "");
        assert_string_equal(hall->places[1].usurped, "");
        hall_free(hall);
    }
}

/* A node of another cluster that names this cluster's Redis by mistake. One of a release that does not say what its store is may join. */
static void a_node_with_another_store_is_refused(void **state)
{
    static const uint64_t stores[] = { 0, 7, 8 };

    (void)state;
    for (size_t i = 0; i < sizeof stores / sizeof stores[0]; i++) {
        struct hall *hall = hall_full(false);
        place_close(&hall->places[2]);
        store_of_next = stores[i];
        place_open(hall, 2, "n3", 300);
        store_of_next = 7;
        passes(hall, 2500);
        assert_true((strstr(hall->places[2].usurped, "in other databases than this node") != NULL) == (i == 2));
        assert_string_equal(hall->places[0].usurped, "");
        assert_string_equal(hall->places[1].usurped, "");
        hall_free(hall);
    }
}

static void frames_of_strangers_are_counted(void **state)
{
    (void)state;
    struct hall *hall = hall_full(false);

    cluster_take_frame(hall->places[0].cluster, SPAN("GET / HTTP/1.1\r\n"));
    cluster_take_frame(hall->places[0].cluster, SPAN(""));
    assert_int_equal(counter_get(&counters(hall, 0)->malformed), 2);
    hall_free(hall);
}

int main(void)
{
    limits_of_next = usual;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_one_node_publishes_all_others_hear),
        cmocka_unit_test(the_messages_of_a_turn_are_one_frame),
        cmocka_unit_test(frames_are_bounded),
        cmocka_unit_test(an_engine_may_carry_heads_alone),
        cmocka_unit_test(who_follows_no_more_is_sent_nothing),
        cmocka_unit_test(a_purge_reaches_the_others),
        cmocka_unit_test(what_is_in_doubt_on_one_node_the_others_compare),
        cmocka_unit_test(a_lost_frame_is_noticed),
        cmocka_unit_test(a_doubled_frame_is_heard_once),
        cmocka_unit_test(look_ups_that_fail_are_noticed_by_the_others),
        cmocka_unit_test(what_is_too_much_is_dropped_and_healed),
        cmocka_unit_test(an_emptied_engine_is_filled_again),
        cmocka_unit_test(while_routes_are_registered_nothing_is_compared),
        cmocka_unit_test(a_node_that_renews_its_lease_late_is_not_lost),
        cmocka_unit_test(a_node_that_is_gone_with_the_engine_is_lost_after_its_lease),
        cmocka_unit_test(each_route_is_registered_once_in_a_life),
        cmocka_unit_test(what_others_have_told_is_not_compared),
        cmocka_unit_test(a_node_that_cannot_tell_all_makes_others_compare),
        cmocka_unit_test(while_the_engine_is_away_heads_are_polled),
        cmocka_unit_test(what_a_silent_engine_holds_comes_when_it_speaks),
        cmocka_unit_test(who_follows_while_the_engine_is_silent_is_told_at_once),
        cmocka_unit_test(a_healthy_bus_saves_comparisons),
        cmocka_unit_test(a_canary_tells_whether_the_bus_carries),
        cmocka_unit_test(nodes_know_each_other),
        cmocka_unit_test(who_leaves_is_gone_at_once),
        cmocka_unit_test(what_a_lost_node_committed_last_is_found),
        cmocka_unit_test(a_node_that_was_paused_finds_what_it_missed),
        cmocka_unit_test(of_two_with_one_name_the_newer_stays),
        cmocka_unit_test(only_neighbouring_releases_join),
        cmocka_unit_test(a_node_with_another_list_of_engines_is_refused),
        cmocka_unit_test(a_node_with_another_store_is_refused),
        cmocka_unit_test(frames_of_strangers_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
