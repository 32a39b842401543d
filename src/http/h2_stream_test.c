/* Streams of HTTP/2 as streams of the loop: the battery that all makers pass, over a connection whose link is simulated and
 * whose client is nghttp2; and what is theirs alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "http/h2_conn.h"
#include "http/ws_upgrade.h"
#include "lib/h2_client.h"
#include "reactor/loop_sim.h"
#include "reactor/stream_battery.h"

#include <cmocka.h>

struct far {
    struct loop_sim    sim;
    struct http_server server;
    struct sim_link   *link;
    struct h2_client   client;
    struct h2_answer  *answer;
    struct stream     *stream;   /* that serve() has opened last */
    bool               is_two_way;
};

static struct http_plan far_plan(void *ctx, const struct http_request *request)
{
    (void)ctx, (void)request;
    return (struct http_plan){ .is_alone = true };
}

/* Served without its body, which becomes what the stream reads. */
static bool far_is_unwelcome(void *ctx, const struct http_request *request, const struct http_caller *caller)
{
    (void)ctx, (void)request, (void)caller;
    return true;
}

static void far_serve(void *ctx, struct http_exchange *exchange, const struct http_request *request)
{
    const struct ws_handshake shake = { 0 };
    struct far               *far   = ctx;
    struct buf                first, unread;
    bool                      is_chunked;

    (void)request;
    buf_init(&first, 4096);
    buf_init(&unread, 4096);
    if (far->is_two_way)
        far->stream = http_open_websocket(&far->server, exchange, &shake, SPAN(""), &first, &unread);
    else
        far->stream = http_open_stream(&far->server, exchange, &(struct http_answer){ .status = 200 }, &first, &is_chunked);
    assert_int_equal(first.len + unread.len, 0);
    buf_fini(&first);
    buf_fini(&unread);
}

static const struct http_service far_service = {
    .plan = far_plan, .serve = far_serve, .is_unwelcome = far_is_unwelcome,
};

static void far_turn_end(void *ctx)
{
    struct far *far = ctx;
    http_server_turn_end(&far->server);
}

static const struct loop_hooks far_hooks = { .turn_end = far_turn_end };

static const struct http_limits far_limits = {
    .h1 = { .target_bytes_max = 1024, .head_bytes_max = 4096 }, .streams_max = 100, .pipeline_max = 4,
    .answer_bytes_max = 1 << 18, .owed_bytes_max = 1 << 20, .ease_bytes_max = 1 << 20, .stuck_ms = 2000,
    .request_timeout_ms = 10000, .head_timeout_ms = 10000, .keepalive_timeout_ms = 60000, .body_bytes_per_s_min = 100,
    .taken_bytes_min = 1, .body_bytes_max = 1 << 20, .linger_ms = 2000,
};

/* Carries what both ends have sent, until neither has anything to say. */
static void far_settle(struct far *far)
{
    struct buf out, in;
    bool       goes_on;

    buf_init(&out, SIZE_MAX / 2);
    buf_init(&in, SIZE_MAX / 2);
    do {
        buf_clear(&out);
        buf_clear(&in);
        if (!sim_link_is_closed(far->link)) {
            h2_client_put(&far->client, &out);
            sim_send(far->link, buf_span(&out));
        }
        loop_sim_turn(&far->sim, far->sim.loop.now);
        sim_take(far->link, &in, SIZE_MAX);
        h2_client_take(&far->client, buf_span(&in));
        goes_on = out.len + in.len > 0;
    } while (goes_on);
    assert_false(far->client.is_faulty);
    buf_fini(&out);
    buf_fini(&in);
}

static struct far *far_new(uint32_t window)
{
    static const struct sim_wire wire = { .room_bytes = 1 << 22 };
    struct far                  *far  = calloc(1, sizeof *far);
    struct stream               *stream;

    assert_non_null(far);
    loop_sim_init(&far->sim, &far_hooks, far, 1000, 1700000000000);
    http_server_init(&far->server, &far->sim.loop, &far_limits, &far_service, far);
    far->link = sim_link_new(&far->sim, &wire, &stream);
    h2_client_init(&far->client, window);
    http_server_open(&far->server, stream);
    return far;
}

static void far_free(struct far *far)
{
    http_server_fini(&far->server);
    sim_link_free(far->link);
    loop_sim_turn(&far->sim, far->sim.loop.now);
    loop_sim_fini(&far->sim);
    http_server_end(&far->server);
    h2_client_fini(&far->client);
    free(far);
}

/* The client asks; what serve() opens becomes far->stream. */
static struct h2_answer *far_ask(struct far *far, bool is_two_way)
{
    far->is_two_way = is_two_way;
    far->stream     = NULL;
    struct h2_answer *answer = h2_client_request(&far->client, is_two_way ? "POST" : "GET", "/", SPAN(""), !is_two_way);
    struct buf        out;
    buf_init(&out, SIZE_MAX / 2);
    h2_client_put(&far->client, &out);
    sim_send(far->link, buf_span(&out));
    buf_fini(&out);
    return answer;
}

/* --- the battery -------------------------------------------------------------------------------------------------- */

/* The stream is opened by hand within a turn: its owner starts it before the turn is over. */
static void battery_open(struct battery_rig *rig)
{
    struct far *far = far_new(65535);

    far->answer = far_ask(far, true);
    far->answer->is_unread = true;
    rig->far_end = far;
    rig->loop    = &far->sim.loop;
    loop_sim_turn(&far->sim, far->sim.loop.now);
    assert_non_null(far->stream);
    rig->stream = far->stream;
}

static void battery_close(struct battery_rig *rig)
{
    far_free(rig->far_end);
}

/* The far end takes what has arrived, so that its connection goes on; its stream's window opens when the test takes. */
static void battery_turn(struct battery_rig *rig)
{
    struct far *far = rig->far_end;
    struct buf  bytes;

    buf_init(&bytes, SIZE_MAX / 2);
    h2_client_put(&far->client, &bytes);
    sim_send(far->link, buf_span(&bytes));
    loop_sim_turn(&far->sim, far->sim.loop.now);
    buf_clear(&bytes);
    sim_take(far->link, &bytes, SIZE_MAX);
    h2_client_take(&far->client, buf_span(&bytes));
    assert_false(far->client.is_faulty);
    buf_fini(&bytes);
}

static void battery_send(struct battery_rig *rig, struct span bytes)
{
    struct far *far = rig->far_end;
    h2_client_send(&far->client, far->answer, bytes, false);
}

static void battery_end(struct battery_rig *rig)
{
    struct far *far = rig->far_end;
    h2_client_send(&far->client, far->answer, SPAN(""), true);
}

/* The stream, not the connection; it arrives before the call returns, as a reset of the simulated link does. */
static void battery_reset(struct battery_rig *rig)
{
    struct far *far = rig->far_end;
    struct buf  bytes;

    nghttp2_submit_rst_stream(far->client.session, NGHTTP2_FLAG_NONE, far->answer->id, NGHTTP2_CANCEL);
    buf_init(&bytes, SIZE_MAX / 2);
    h2_client_put(&far->client, &bytes);
    sim_send(far->link, buf_span(&bytes));
    buf_fini(&bytes);
    loop_sim_turn(&far->sim, far->sim.loop.now);
}

static bool battery_take(struct battery_rig *rig, struct buf *into)
{
    struct far *far = rig->far_end;

    buf_put(into, buf_span(&far->answer->body));
    buf_clear(&far->answer->body);
    if (far->answer->held > 0)
        h2_client_open_window(&far->client, far->answer, 0);
    return far->answer->is_ended;
}

static const struct battery_far battery = {
    .name = "http/2", .open = battery_open, .close = battery_close, .turn = battery_turn, .send = battery_send,
    .end = battery_end, .reset = battery_reset, .take = battery_take,
};

/* --- what is theirs alone ----------------------------------------------------------------------------------------- */

struct owner {
    unsigned readable, writable;
    ssize_t  last;
};

static void owner_on_readable(struct stream *stream, void *ctx)
{
    struct owner *owner = ctx;
    char          into[64];

    owner->readable++;
    owner->last = stream_read(stream, into, sizeof into);
}

static void owner_on_writable(struct stream *stream, void *ctx)
{
    struct owner *owner = ctx;

    (void)stream;
    owner->writable++;
}

static const struct stream_events owner_events = { .on_readable = owner_on_readable, .on_writable = owner_on_writable };

static void expect_body(struct h2_answer *answer, const char *want)
{
    assert_true(span_eq(buf_span(&answer->body), span_str(want)));
    buf_clear(&answer->body);
}

static struct stream *far_open(struct far *far, struct owner *owner, struct h2_answer **ret_answer)
{
    *ret_answer = far_ask(far, false);
    loop_sim_turn(&far->sim, far->sim.loop.now);
    assert_non_null(far->stream);
    stream_hand_over(far->stream, &owner_events, owner);
    far_settle(far);
    return far->stream;
}

static void an_answer_reads_nothing_until_its_client_is_gone(void **state)
{
    struct far       *far   = far_new(65535);
    struct owner      owner = { .last = 1 };
    struct h2_answer *answer;
    struct stream    *stream = far_open(far, &owner, &answer);

    (void)state;
    assert_int_equal(answer->status, 200);
    assert_true(owner.last == 1 || owner.last == STREAM_LATER);  /* END_STREAM of the request is no news */
    assert_int_equal(stream_write(stream, SPAN("one")), 3);
    far_settle(far);
    expect_body(answer, "one");
    nghttp2_submit_rst_stream(far->client.session, NGHTTP2_FLAG_NONE, answer->id, NGHTTP2_CANCEL);
    far_settle(far);
    assert_int_equal(owner.last, STREAM_FAULT);
    stream_close(stream);
    far_free(far);
}

static void an_answer_that_is_shut_is_whole_and_one_that_is_closed_is_not(void **state)
{
    struct far       *far   = far_new(65535);
    struct owner      owner = { .last = 1 };
    struct h2_answer *answer;

    (void)state;
    for (int is_shut = 0; is_shut < 2; is_shut++) {
        struct stream *stream = far_open(far, &owner, &answer);
        assert_int_equal(stream_write(stream, SPAN("all")), 3);
        if (is_shut)
            stream_shut(stream);
        stream_close(stream);
        far_settle(far);
        expect_body(answer, "all");
        assert_true(answer->is_closed);
        assert_int_equal(answer->is_ended, is_shut);
        assert_int_equal(answer->error, is_shut ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
    }
    assert_int_equal(counter_get(&far->server.counters.h2_streams), 0);
    far_free(far);
}

/* Threat 68. The memory that it takes is that of the window, and only until the end of the turn. */
static void a_stream_that_is_not_read_stops_alone(void **state)
{
    static char       page[4096];
    struct far       *far    = far_new(10000);
    struct owner      owners[2] = { { .last = 1 }, { .last = 1 } };
    struct h2_answer *answers[2];
    struct stream    *streams[2];
    size_t            put[2] = { 0, 0 };

    (void)state;
    for (int i = 0; i < 2; i++)
        streams[i] = far_open(far, &owners[i], &answers[i]);
    answers[0]->is_unread = true;
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 2; i++)
            if (!streams[i]->is_full)
                put[i] += (size_t)stream_write(streams[i], span_of(page, sizeof page));
        far_settle(far);
        assert_int_equal(far->server.owed_bytes, 0);
    }
    assert_int_equal(put[0], 10000);
    assert_true(streams[0]->is_full);
    assert_int_equal(owners[0].writable, 0);
    assert_int_equal(put[1], answers[1]->body.len);
    assert_true(put[1] > 100000);
    h2_client_open_window(&far->client, answers[0], 0);
    far_settle(far);
    assert_int_equal(owners[0].writable, 1);
    for (int i = 0; i < 2; i++)
        stream_close(streams[i]);
    far_free(far);
}

/* Threat 66: a window that opens byte by byte makes no frame a byte, and tells the owner nothing. */
static void a_window_of_single_bytes_is_not_worth_a_frame(void **state)
{
    static char       page[4096];
    struct far       *far   = far_new(2000);
    struct owner      owner = { .last = 1 };
    struct h2_answer *answer;
    struct stream    *stream = far_open(far, &owner, &answer);

    (void)state;
    answer->is_unread = true;
    assert_int_equal(stream_write(stream, span_of(page, sizeof page)), 2000);
    far_settle(far);
    for (int i = 0; i < 511; i++) {
        h2_client_open_window(&far->client, answer, 1);
        far_settle(far);
    }
    assert_int_equal(owner.writable, 0);
    h2_client_open_window(&far->client, answer, 1);
    far_settle(far);
    assert_int_equal(owner.writable, 1);
    assert_int_equal(stream_write(stream, span_of(page, sizeof page)), 512);
    stream_close(stream);
    far_free(far);
}

static void a_connection_that_ends_is_told_to_all_its_streams(void **state)
{
    struct far       *far       = far_new(65535);
    struct owner      owners[3] = { { .last = 1 }, { .last = 1 }, { .last = 1 } };
    struct stream    *streams[3];
    struct h2_answer *answer;

    (void)state;
    for (int i = 0; i < 3; i++)
        streams[i] = far_open(far, &owners[i], &answer);
    sim_reset(far->link);
    loop_sim_turn(&far->sim, far->sim.loop.now);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(owners[i].last, STREAM_FAULT);
        stream_close(streams[i]);
    }
    assert_true(http_server_is_idle(&far->server));
    far_free(far);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_reads_nothing_until_its_client_is_gone),
        cmocka_unit_test(an_answer_that_is_shut_is_whole_and_one_that_is_closed_is_not),
        cmocka_unit_test(a_stream_that_is_not_read_stops_alone),
        cmocka_unit_test(a_window_of_single_bytes_is_not_worth_a_frame),
        cmocka_unit_test(a_connection_that_ends_is_told_to_all_its_streams),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) + stream_battery_run(&battery);
}
