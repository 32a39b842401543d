/* The simulated engine: what its server, its ways and its faults do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "cluster/sim_engine.h"

#include <cmocka.h>

enum { NODES = 3, STEP_MS = 10, LEASE_MS = 1000, TIMEOUT_MS = 500 };

struct seat {
    struct node_id id;
    struct engine *engine;
    unsigned       ups, downs, frames;
    uint64_t       life, since;
    char           heard[200];  /* frames are words */
};

struct table {
    struct sim_server *server;
    struct seat        seats[NODES];
    msec               now;
};

static void on_done(void *ctx, struct engine_call *call)
{
    (void)ctx;
    *(bool *)call->owner = true;
}

static void on_frame(void *ctx, struct span frame)
{
    struct seat *seat = ctx;
    size_t       at   = strlen(seat->heard);

    seat->frames++;
    snprintf(seat->heard + at, sizeof seat->heard - at, "%.*s ", SPAN_ARG(frame));
}

static void on_up(void *ctx, uint64_t life, uint64_t since)
{
    struct seat *seat = ctx;

    seat->ups++;
    seat->life  = life;
    seat->since = since;
}

static void on_down(void *ctx, const char *why)
{
    (void)why;
    ((struct seat *)ctx)->downs++;
}

static const struct engine_events events = { on_done, on_frame, on_up, on_down };

static void pass(struct table *table, msec span)
{
    for (msec until = table->now + span; table->now < until;) {
        table->now += STEP_MS;
        sim_server_step(table->server, table->now);
    }
}

static void seat_open(struct table *table, unsigned no, uint64_t incarnation)
{
    struct seat *seat = &table->seats[no];

    *seat = (struct seat){ .id.incarnation = incarnation };
    snprintf(seat->id.name, sizeof seat->id.name, "n%u", no);
    seat->engine = sim_engine_open(table->server, &seat->id, &events, seat);
}

static const struct sim_server_options usual = {
    .chance = { 4 }, .answer_ms_max = 6, .late_ms_max = 300, .timeout_ms = TIMEOUT_MS, .reconnect_ms = 50,
    .clock_permille = 1000, .frame_bytes_max = 4096,
};

static struct table *table_new(const struct sim_server_options *options)
{
    struct table *table = calloc(1, sizeof *table);

    assert_non_null(table);
    table->now    = 1000;
    table->server = sim_server_new(options);
    for (unsigned i = 0; i < NODES; i++)
        seat_open(table, i, 100 + i);
    pass(table, 100);
    for (unsigned i = 0; i < NODES; i++)
        assert_int_equal(table->seats[i].ups, 1);
    return table;
}

static void table_free(struct table *table)
{
    for (unsigned i = 0; i < NODES; i++)
        table->seats[i].engine->ops->close(table->seats[i].engine);
    sim_server_free(table->server);
    free(table);
}

/* Until it is answered. */
static enum rc ask(struct table *table, unsigned no, struct engine_call *call)
{
    bool is_done = false;

    call->owner = &is_done;
    table->seats[no].engine->ops->submit(table->seats[no].engine, call);
    for (msec until = table->now + 5000; !is_done && table->now < until;)
        pass(table, STEP_MS);
    assert_true(is_done);
    return call->rc;
}

static enum rc lease(struct table *table, unsigned no, msec started, bool *ret_is_new)
{
    struct engine_call call = { .kind = ENGINE_LEASE, .record = SPAN("r"), .started = started, .lease_ms = LEASE_MS };
    enum rc            rc   = ask(table, no, &call);

    *ret_is_new = call.is_new;
    return rc;
}

static enum rc route(struct table *table, unsigned no, const char *text, bool is_removed)
{
    struct engine_name name = { .name = span_str(text), .is_removed = is_removed };

    return ask(table, no, &(struct engine_call){ .kind = ENGINE_ROUTE, .names = &name, .name_count = 1 });
}

/* "n0 n2": who follows it. */
static void who(struct table *table, unsigned no, const char *text, const char *want)
{
    struct engine_name name = { .name = span_str(text) };
    struct engine_call call = { .kind = ENGINE_LOOKUP, .names = &name, .name_count = 1 };
    char               got[100] = "";

    assert_int_equal(ask(table, no, &call), RC_OK);
    for (uint32_t i = 0; i < name.count; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", i > 0 ? " " : "", call.ids[name.first + i].name);
    assert_string_equal(got, want);
    engine_call_fini(&call);
}

static enum rc say(struct table *table, unsigned from, unsigned to, const char *word)
{
    return ask(table, from, &(struct engine_call){ .kind = ENGINE_SEND, .to = table->seats[to].id, .frame = span_str(word) });
}

static void leases_and_routes(void **state)
{
    struct table *table = table_new(&usual);
    bool          is_new;

    (void)state;
    assert_int_equal(route(table, 0, "topic:a", false), RC_OK);
    who(table, 1, "topic:a", "");  /* it has no lease */
    assert_int_equal(lease(table, 0, 5, &is_new), RC_OK);
    assert_true(is_new);
    who(table, 1, "topic:a", "n0");
    assert_int_equal(lease(table, 0, 5, &is_new), RC_OK);
    assert_false(is_new);
    pass(table, LEASE_MS + 20);
    who(table, 1, "topic:a", "");
    assert_int_equal(lease(table, 0, 5, &is_new), RC_OK);
    assert_true(is_new);
    who(table, 1, "topic:a", "n0");  /* this server does not sweep */
    assert_int_equal(route(table, 0, "topic:a", true), RC_OK);
    who(table, 1, "topic:a", "");
    table_free(table);
}

static void server_that_sweeps(void **state)
{
    struct sim_server_options options = usual;
    bool                      is_new;

    (void)state;
    options.sweeps      = true;
    struct table *table = table_new(&options);
    assert_int_equal(lease(table, 0, 5, &is_new), RC_OK);
    assert_int_equal(route(table, 0, "topic:a", false), RC_OK);
    pass(table, LEASE_MS + 20);
    assert_int_equal(lease(table, 0, 5, &is_new), RC_OK);
    assert_true(is_new);
    who(table, 1, "topic:a", "");
    table_free(table);
}

/* The server's clock counts, not that of a node. */
static void leases_run_on_the_clock_of_the_server(void **state)
{
    struct sim_server_options options = usual;
    bool                      is_new;

    (void)state;
    options.clock_permille = 2000;
    struct table *table    = table_new(&options);
    assert_int_equal(lease(table, 0, 5, &is_new), RC_OK);
    pass(table, LEASE_MS / 2 + 20);
    assert_false(sim_server_has_lease(table->server, &table->seats[0].id));
    assert_int_equal(lease(table, 0, 5, &is_new), RC_OK);
    sim_server_leap(table->server, LEASE_MS);
    assert_int_equal(lease(table, 0, 5, &is_new), RC_OK);
    assert_true(is_new);
    table_free(table);
}

static void newer_incarnation_takes_the_name(void **state)
{
    struct table *table = table_new(&usual);
    bool          is_new;

    (void)state;
    table->seats[1].engine->ops->close(table->seats[1].engine);
    table->seats[1].id = table->seats[0].id;
    table->seats[1].id.incarnation++;
    table->seats[1].engine = sim_engine_open(table->server, &table->seats[1].id, &events, &table->seats[1]);
    pass(table, 100);
    assert_int_equal(lease(table, 0, 5, &is_new), RC_OK);
    assert_int_equal(lease(table, 1, 4, &is_new), RC_BUSY);
    assert_int_equal(lease(table, 1, 5, &is_new), RC_OK);  /* started at once: the incarnation decides */
    assert_int_equal(lease(table, 0, 5, &is_new), RC_BUSY);
    table_free(table);
}

static void frames_keep_their_order(void **state)
{
    struct table *table = table_new(&usual);

    (void)state;
    say(table, 0, 1, "one");
    say(table, 0, 1, "two");
    say(table, 2, 0, "three");
    pass(table, 50);
    assert_string_equal(table->seats[1].heard, "one two ");
    assert_string_equal(table->seats[0].heard, "three ");
    table_free(table);
}

static void frames_lost_and_doubled(void **state)
{
    struct table *table = table_new(&usual);

    (void)state;
    sim_server_set_faults(table->server, &(struct sim_engine_faults){ .lost_frames = 1 });
    assert_int_equal(say(table, 0, 1, "one"), RC_OK);
    sim_server_set_faults(table->server, &(struct sim_engine_faults){ .doubled_frames = 1 });
    assert_int_equal(say(table, 0, 1, "two"), RC_OK);
    sim_server_set_faults(table->server, NULL);
    pass(table, 400);
    assert_string_equal(table->seats[1].heard, "two two ");
    table_free(table);
}

static void answers_lost(void **state)
{
    struct table *table = table_new(&usual);
    bool          is_new;

    (void)state;
    sim_server_set_faults(table->server, &(struct sim_engine_faults){ .lost_calls = 1 });
    assert_int_equal(lease(table, 0, 5, &is_new), RC_IO);
    assert_false(sim_server_has_lease(table->server, &table->seats[0].id));
    sim_server_set_faults(table->server, &(struct sim_engine_faults){ .lost_answers = 1 });
    assert_int_equal(lease(table, 0, 5, &is_new), RC_IO);
    assert_true(sim_server_has_lease(table->server, &table->seats[0].id));
    table_free(table);
}

static void emptied_server_is_noticed_with_the_next_lease(void **state)
{
    struct table *table = table_new(&usual);
    uint64_t      life  = table->seats[0].life;
    bool          is_new;

    (void)state;
    assert_int_equal(lease(table, 0, 5, &is_new), RC_OK);
    assert_int_equal(route(table, 0, "topic:a", false), RC_OK);
    sim_server_empty(table->server);
    who(table, 1, "topic:a", "");
    assert_int_equal(lease(table, 0, 5, &is_new), RC_OK);
    assert_int_equal(table->seats[0].ups, 2);
    assert_true(table->seats[0].life != life);
    table_free(table);
}

static void server_ends_and_begins(void **state)
{
    struct table *table = table_new(&usual);
    bool          is_new;

    (void)state;
    sim_server_stop(table->server);
    assert_int_equal(table->seats[0].downs, 1);
    assert_int_equal(lease(table, 0, 5, &is_new), RC_IO);
    sim_server_start(table->server, false);
    pass(table, 200);
    assert_int_equal(table->seats[0].ups, 2);
    assert_int_equal(lease(table, 0, 5, &is_new), RC_OK);
    table_free(table);
}

/* What can't go out is late; after a while the connection is given up. */
static void way_there_is_closed(void **state)
{
    struct table *table = table_new(&usual);
    bool          is_new;

    (void)state;
    sim_engine_set_ways(table->seats[0].engine, false, true);
    assert_int_equal(say(table, 1, 0, "heard"), RC_OK);
    pass(table, 50);
    assert_string_equal(table->seats[0].heard, "heard ");
    assert_int_equal(lease(table, 0, 5, &is_new), RC_IO);
    assert_int_equal(table->seats[0].downs, 1);
    assert_false(sim_server_has_lease(table->server, &table->seats[0].id));
    assert_int_equal(say(table, 1, 0, "lost"), RC_OK);
    sim_engine_set_ways(table->seats[0].engine, true, true);
    pass(table, 200);
    assert_int_equal(table->seats[0].ups, 2);
    assert_string_equal(table->seats[0].heard, "heard ");
    table_free(table);
}

static void way_back_is_closed(void **state)
{
    struct table *table = table_new(&usual);
    bool          is_new;

    (void)state;
    sim_engine_set_ways(table->seats[0].engine, true, false);
    assert_int_equal(say(table, 1, 0, "late"), RC_OK);
    pass(table, TIMEOUT_MS / 2);
    assert_string_equal(table->seats[0].heard, "");
    sim_engine_set_ways(table->seats[0].engine, true, true);
    pass(table, 20);
    assert_string_equal(table->seats[0].heard, "late ");
    sim_engine_set_ways(table->seats[0].engine, true, false);
    assert_int_equal(lease(table, 0, 5, &is_new), RC_IO);
    assert_true(sim_server_has_lease(table->server, &table->seats[0].id));
    assert_int_equal(table->seats[0].downs, 1);
    table_free(table);
}

static void process_that_stands_gets_it_all_later(void **state)
{
    struct table *table = table_new(&usual);

    (void)state;
    sim_engine_hold(table->seats[0].engine, true);
    assert_int_equal(say(table, 1, 0, "one"), RC_OK);
    pass(table, 2 * TIMEOUT_MS);
    assert_string_equal(table->seats[0].heard, "");
    sim_engine_hold(table->seats[0].engine, false);
    pass(table, 20);
    assert_string_equal(table->seats[0].heard, "one ");
    assert_int_equal(table->seats[0].downs, 0);
    table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leases_and_routes),
        cmocka_unit_test(server_that_sweeps),
        cmocka_unit_test(leases_run_on_the_clock_of_the_server),
        cmocka_unit_test(newer_incarnation_takes_the_name),
        cmocka_unit_test(frames_keep_their_order),
        cmocka_unit_test(frames_lost_and_doubled),
        cmocka_unit_test(answers_lost),
        cmocka_unit_test(emptied_server_is_noticed_with_the_next_lease),
        cmocka_unit_test(server_ends_and_begins),
        cmocka_unit_test(way_there_is_closed),
        cmocka_unit_test(way_back_is_closed),
        cmocka_unit_test(process_that_stands_gets_it_all_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
