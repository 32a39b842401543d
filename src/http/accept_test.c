/* From an accepted stream to an opened connection, over simulated links: every move, and what waits on the way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "http/accept.h"
#include "http/h1_conn.h"
#include "reactor/loop_sim.h"

#include <cmocka.h>

enum { REQUEST_MS = 10000 };

struct rig {
    struct loop_sim    sim;
    struct http_server server;
    struct sim_link   *link;
    struct stream     *stream;
    unsigned           served;
    enum http_admission admission;
    unsigned           brief_count;  /* of those served */
};

static struct http_plan rig_plan(void *ctx, const struct http_request *request)
{
    (void)ctx, (void)request;
    return (struct http_plan){ 0 };
}

static void rig_serve(void *ctx, struct http_exchange *exchange, const struct http_request *request)
{
    struct rig *rig = ctx;

    (void)request;
    rig->served++;
    rig->brief_count += exchange->is_brief;
    http_answer(&rig->server, exchange, &(struct http_answer){ .status = 204 });
}

static enum http_admission rig_admit(void *ctx, const struct stream *stream, struct http_refusal *ret_refusal)
{
    static const struct http_field later = { SPAN("Retry-After"), SPAN("5") };
    struct rig                    *rig   = ctx;

    (void)stream;
    *ret_refusal = (struct http_refusal){ .status = 503, .detail = "full", .fields = { &later, 1 } };
    return rig->admission;
}

static const struct http_service rig_service = { .plan = rig_plan, .serve = rig_serve, .admit = rig_admit };

static void rig_turn_end(void *ctx)
{
    struct rig *rig = ctx;
    http_server_turn_end(&rig->server);
}

static const struct loop_hooks rig_hooks = { .turn_end = rig_turn_end };

static int rig_open(void **state)
{
    static const struct http_limits limits = {
        .h1 = { .target_bytes_max = 1024, .head_bytes_max = 2048 }, .pipeline_max = 4, .answer_bytes_max = 4096,
        .owed_bytes_max = 1 << 20, .request_timeout_ms = REQUEST_MS, .head_timeout_ms = REQUEST_MS, .body_bytes_per_s_min = 100,
        .taken_bytes_min = 1,
         .keepalive_timeout_ms = 60000,
        .body_bytes_max = 1 << 20, .linger_ms = 2000,
    };
    struct rig *rig = calloc(1, sizeof *rig);

    assert_non_null(rig);
    loop_sim_init(&rig->sim, &rig_hooks, rig, 1000, 1700000000000);
    http_server_init(&rig->server, &rig->sim.loop, &limits, &rig_service, rig);
    rig->link = sim_link_new(&rig->sim, &(struct sim_wire){ .room_bytes = 65536 }, &rig->stream);
    *state = rig;
    return 0;
}

static void rig_settle(struct rig *rig)
{
    do
        loop_sim_turn(&rig->sim, rig->sim.loop.now);
    while (!loop_sim_is_quiet(&rig->sim));
}

static int rig_close(void **state)
{
    struct rig *rig = *state;

    http_server_fini(&rig->server);
    assert_true(http_server_is_idle(&rig->server));
    sim_link_free(rig->link);
    rig_settle(rig);
    loop_sim_fini(&rig->sim);
    uint64_t conns = counter_get(&rig->server.counters.conns);
    free(rig);
    return conns == 0 ? 0 : -1;
}

/* --- stages of the test -------------------------------------------------------------------------------------- */

/* Waits for a line, as a stage for the PROXY header would; the line "no" ends the arrival. Reads no byte beyond it. */
static enum accept_verdict read_line(struct arrival *arrival)
{
    char    byte, first = 0;
    ssize_t got;

    while ((got = stream_read(arrival->stream, &byte, 1)) == 1) {
        if (byte == '\n')
            return first == 'n' ? ACCEPT_END : ACCEPT_PASS;
        first = first == 0 ? byte : first;
    }
    return got == STREAM_LATER ? ACCEPT_WAIT : ACCEPT_END;
}

static enum accept_verdict choose(struct arrival *arrival)
{
    arrival->version = &http_version_1;
    return ACCEPT_PASS;
}

static const struct accept_stage waiting_stages[] = {
    [ACCEPT_ADMISSION] = { read_line, ACCEPT_PROTOCOL },
    [ACCEPT_PROTOCOL]  = { choose, ACCEPT_OPENED },
};

/* --- moves --------------------------------------------------------------------------------------------------- */

static void every_state_has_its_moves(void **state)
{
    static const struct { enum accept_state from; enum accept_verdict verdict; enum accept_state to; } rows[] = {
        { ACCEPT_ADMISSION, ACCEPT_PASS, ACCEPT_PROTOCOL }, { ACCEPT_ADMISSION, ACCEPT_WAIT, ACCEPT_ADMISSION },
        { ACCEPT_ADMISSION, ACCEPT_END, ACCEPT_GONE },      { ACCEPT_PROTOCOL, ACCEPT_PASS, ACCEPT_OPENED },
        { ACCEPT_PROTOCOL, ACCEPT_WAIT, ACCEPT_PROTOCOL },  { ACCEPT_PROTOCOL, ACCEPT_END, ACCEPT_GONE },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(accept_next(accept_stages, rows[i].from, rows[i].verdict), rows[i].to);
}

static void a_connection_opens_at_once(void **state)
{
    struct rig *rig = *state;

    http_server_open(&rig->server, rig->stream);
    assert_true(list_is_empty(&rig->server.arrivals));
    assert_int_equal(counter_get(&rig->server.counters.conns), 1);
    assert_int_equal(counter_get(&rig->server.counters.accepted), 1);
    assert_false(rig->stream->is_again);  /* no read but those that the loop tells of */
    sim_send(rig->link, SPAN("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    rig_settle(rig);
    assert_int_equal(rig->served, 1);
}

static void who_is_not_admitted_is_told_why(void **state)
{
    struct rig *rig = *state;
    struct buf  heard;

    rig->admission = HTTP_NOT_ADMITTED;
    http_server_open(&rig->server, rig->stream);
    rig_settle(rig);
    buf_init(&heard, 4096);
    sim_take(rig->link, &heard, SIZE_MAX);
    buf_putc(&heard, '\0');
    assert_string_equal(heard.at,
        "HTTP/1.1 503 Service Unavailable\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
        "Cache-Control: no-store\r\nContent-Type: application/problem+json\r\nRetry-After: 5\r\nContent-Length: 81\r\n"
        "Connection: close\r\n\r\n"
        "{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"full\"}");
    buf_fini(&heard);
    assert_int_equal(sim_link_end(rig->link), SIM_ENDED);
    assert_true(sim_link_is_closed(rig->link));
    assert_int_equal(counter_get(&rig->server.counters.conns), 0);
    assert_int_equal(counter_get(&rig->server.counters.accepted), 0);
    assert_int_equal(counter_get(&rig->server.counters.refused), 1);
}

/* One answer, then the place is free again. */
static void who_is_one_too_many_is_served_once(void **state)
{
    struct rig *rig = *state;
    struct buf  heard;

    rig->admission = HTTP_ADMITTED_BRIEFLY;
    http_server_open(&rig->server, rig->stream);
    sim_send(rig->link, SPAN("GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    rig_settle(rig);
    buf_init(&heard, 4096);
    sim_take(rig->link, &heard, SIZE_MAX);
    assert_true(span_starts(buf_span(&heard), SPAN("HTTP/1.1 204 No Content\r\n")));
    assert_non_null(memmem(heard.at, heard.len, "Connection: close\r\n", 19));
    buf_fini(&heard);
    assert_int_equal(rig->served, 1);
    assert_int_equal(rig->brief_count, 1);
    assert_int_equal(sim_link_end(rig->link), SIM_ENDED);
    assert_int_equal(counter_get(&rig->server.counters.refused), 0);
}

static void a_refusal_may_meet_a_link_that_is_gone(void **state)
{
    struct rig *rig = *state;

    rig->admission = HTTP_NOT_ADMITTED;
    sim_reset(rig->link);
    http_server_open(&rig->server, rig->stream);
    rig_settle(rig);
    assert_true(sim_link_is_closed(rig->link));
}

/* --- stages that wait ---------------------------------------------------------------------------------------- */

static void a_stage_waits_for_its_bytes_and_leaves_the_others(void **state)
{
    struct rig *rig = *state;

    accept_begin(&rig->server, rig->stream, waiting_stages);
    assert_int_equal(counter_get(&rig->server.counters.conns), 1);
    for (const char *at = "line"; *at != '\0'; at++) {
        sim_send(rig->link, span_of(at, 1));
        rig_settle(rig);
        assert_false(list_is_empty(&rig->server.arrivals));
        assert_false(http_server_is_idle(&rig->server));
    }
    sim_send(rig->link, SPAN("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    rig_settle(rig);
    assert_true(list_is_empty(&rig->server.arrivals));
    assert_int_equal(rig->served, 1);
    assert_int_equal(counter_get(&rig->server.counters.conns), 1);
    assert_int_equal(counter_get(&rig->server.counters.accepted), 1);
    loop_sim_turn(&rig->sim, rig->sim.loop.now + REQUEST_MS + 1000);  /* the arrival's timer is gone with it */
    assert_false(sim_link_is_closed(rig->link));
}

static void expect_gone(struct rig *rig)
{
    assert_true(list_is_empty(&rig->server.arrivals));
    assert_true(list_is_empty(&rig->server.conns));
    assert_true(sim_link_is_closed(rig->link));
    assert_int_equal(counter_get(&rig->server.counters.conns), 0);
    assert_int_equal(counter_get(&rig->server.counters.accepted), 0);
}

static void a_stage_may_end_the_arrival(void **state)
{
    struct rig *rig = *state;

    accept_begin(&rig->server, rig->stream, waiting_stages);
    sim_send(rig->link, SPAN("no\nGET"));
    rig_settle(rig);
    expect_gone(rig);
}

static void who_leaves_on_the_way_in_is_forgotten(void **state)
{
    struct rig *rig = *state;

    accept_begin(&rig->server, rig->stream, waiting_stages);
    sim_send(rig->link, SPAN("li"));
    sim_send_end(rig->link);
    rig_settle(rig);
    expect_gone(rig);
}

/* Bytes that trickle in don't prolong the way in. */
static void the_way_in_has_a_timeout(void **state)
{
    struct rig *rig = *state;

    accept_begin(&rig->server, rig->stream, waiting_stages);
    loop_sim_turn(&rig->sim, 1000 + REQUEST_MS / 2);
    sim_send(rig->link, SPAN("l"));
    loop_sim_turn(&rig->sim, 1000 + REQUEST_MS - 100);
    assert_false(sim_link_is_closed(rig->link));
    loop_sim_turn(&rig->sim, 1000 + REQUEST_MS + 4 * WHEEL_TICK_MS);
    expect_gone(rig);
}

static void a_stop_closes_who_is_on_the_way_in(void **state)
{
    struct rig *rig = *state;

    accept_begin(&rig->server, rig->stream, waiting_stages);
    rig_settle(rig);
    http_server_stop(&rig->server);
    rig_settle(rig);
    expect_gone(rig);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_open, rig_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_state_has_its_moves),
        TEST(a_connection_opens_at_once),
        TEST(who_is_not_admitted_is_told_why),
        TEST(who_is_one_too_many_is_served_once),
        TEST(a_refusal_may_meet_a_link_that_is_gone),
        TEST(a_stage_waits_for_its_bytes_and_leaves_the_others),
        TEST(a_stage_may_end_the_arrival),
        TEST(who_leaves_on_the_way_in_is_forgotten),
        TEST(the_way_in_has_a_timeout),
        TEST(a_stop_closes_who_is_on_the_way_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
