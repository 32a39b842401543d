/* HTTP/2 connections over simulated links, with nghttp2 as the client: what is answered, what is refused, what is waited for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/h2_conn.h"
#include "lib/h2_client.h"
#include "reactor/loop_sim.h"

#include <cmocka.h>

enum { HEAD_MS = 10000, REQUEST_MS = 20000, KEEPALIVE_MS = 60000, LINGER_MS = 2000, ANSWER_BYTES_MAX = 1 << 16, LATER_MAX = 8 };

struct stand {
    struct loop_sim       sim;
    struct http_server    server;
    struct sim_link      *link;
    struct h2_client      client;
    struct http_exchange *later[LATER_MAX];  /* of GET /later, to be answered by hand */
    size_t                later_count;
    unsigned              gone_count, served_count;
    enum http_admission   admission;
    struct buf            seen;       /* the bodies that were served */
    void                 *asked[LATER_MAX];  /* senders that are being identified */
    size_t                asked_count;
    unsigned              cancelled;
};

/* --- the service ---------------------------------------------------------------------------------------------- */

static bool is_path(const struct http_request *request, const char *path)
{
    return span_eq(request->path, span_str(path));
}

static struct http_plan stand_plan(void *ctx, const struct http_request *request)
{
    (void)ctx;
    return (struct http_plan){
        .body_bytes_max = 1000, .body_setting = "some_bytes_max", .is_heavy = is_path(request, "/big"),
        .needs_caller = is_path(request, "/who"),
    };
}

static void stand_gone(void *owner)
{
    struct stand *stand = owner;
    stand->gone_count++;
}

static void stand_serve(void *ctx, struct http_exchange *exchange, const struct http_request *request)
{
    static char   big[100000], letters[40000];
    struct stand *stand = ctx;

    memset(letters, 'x', sizeof letters);

    stand->served_count++;
    buf_put(&stand->seen, request->body);
    if (is_path(request, "/later")) {
        assert_true(stand->later_count < LATER_MAX);
        exchange->owner = stand;
        exchange->gone  = stand_gone;
        stand->later[stand->later_count++] = exchange;
        return;
    }
    http_answer(&stand->server, exchange, &(struct http_answer){
        .status = 200, .media = SPAN("text/plain"),
        .body   = is_path(request, "/big") ? span_of(big, sizeof big) : SPAN("hello"),
        .fields = is_path(request, "/fields") ? HTTP_FIELDS({ SPAN("X-Long"), span_of(letters, sizeof letters) }) : HTTP_NO_FIELDS,
    });
}

static bool stand_is_unwelcome(void *ctx, const struct http_request *request, const struct http_caller *caller)
{
    (void)ctx, (void)caller;
    return is_path(request, "/unwelcome");
}

static enum http_admission stand_admit(void *ctx, const struct stream *stream, struct http_refusal *ret_refusal)
{
    struct stand *stand = ctx;

    (void)stream;
    *ret_refusal = (struct http_refusal){ .status = 503, .detail = "full" };
    return stand->admission;
}

static void *stand_identify(void *ctx, struct http_sender *sender, const struct http_request *request,
                            struct http_caller *ret)
{
    struct stand *stand = ctx;

    (void)request, (void)ret;
    assert_true(stand->asked_count < LATER_MAX);
    stand->asked[stand->asked_count++] = sender;
    return sender;
}

static void stand_cancel(void *ctx, void *identification)
{
    struct stand *stand = ctx;

    (void)identification;
    stand->cancelled++;
}

static const struct http_service stand_service = {
    .plan = stand_plan, .serve = stand_serve, .is_unwelcome = stand_is_unwelcome, .admit = stand_admit,
    .identify = stand_identify, .cancel_identify = stand_cancel,
};

/* --- the stand ------------------------------------------------------------------------------------------------ */

static void stand_turn_end(void *ctx)
{
    struct stand *stand = ctx;
    http_server_turn_end(&stand->server);
}

static const struct loop_hooks stand_hooks = { .turn_end = stand_turn_end };

static const struct http_limits stand_limits = {
    .h1 = { .target_bytes_max = 100, .head_bytes_max = 2000 }, .streams_max = 50, .pipeline_max = 4,
    .answer_bytes_max = ANSWER_BYTES_MAX, .owed_bytes_max = 1 << 20, .ease_bytes_max = 1 << 20, .stuck_ms = 2000,
    .request_timeout_ms = REQUEST_MS, .head_timeout_ms = HEAD_MS, .keepalive_timeout_ms = KEEPALIVE_MS,
    .body_bytes_per_s_min = 1, .taken_bytes_min = 100, .body_bytes_max = 1500, .linger_ms = LINGER_MS,
};

static struct stand *stand_new(uint32_t window, enum http_admission admission, const struct sim_wire *wire)
{
    struct stand  *stand = calloc(1, sizeof *stand);
    struct stream *stream;

    assert_non_null(stand);
    stand->admission = admission;
    buf_init(&stand->seen, SIZE_MAX / 2);
    loop_sim_init(&stand->sim, &stand_hooks, stand, 1000, 1700000000000);
    http_server_init(&stand->server, &stand->sim.loop, &stand_limits, &stand_service, stand);
    stand->link = sim_link_new(&stand->sim, wire != NULL ? wire : &(struct sim_wire){ .room_bytes = 1 << 22 }, &stream);
    h2_client_init(&stand->client, window);
    http_server_open(&stand->server, stream);
    return stand;
}

static void stand_free(struct stand *stand)
{
    http_server_fini(&stand->server);
    for (size_t i = 0; i < stand->later_count; i++)
        if (stand->later[i] != NULL)
            http_answer(&stand->server, stand->later[i], &(struct http_answer){ .status = 204 });
    sim_link_free(stand->link);
    loop_sim_turn(&stand->sim, stand->sim.loop.now);
    loop_sim_fini(&stand->sim);
    assert_int_equal(counter_get(&stand->server.counters.conns), 0);
    assert_int_equal(counter_get(&stand->server.counters.h2_conns), 0);
    assert_int_equal(counter_get(&stand->server.counters.h2_streams), 0);
    http_server_end(&stand->server);
    h2_client_fini(&stand->client);
    buf_fini(&stand->seen);
    free(stand);
}

/* Carries what both ends say, until neither does any more. */
static void stand_settle(struct stand *stand)
{
    struct buf bytes;
    bool       goes_on = true;

    buf_init(&bytes, SIZE_MAX / 2);
    while (goes_on) {
        buf_clear(&bytes);
        h2_client_put(&stand->client, &bytes);
        goes_on = bytes.len > 0;
        if (!sim_link_is_closed(stand->link))
            sim_send(stand->link, buf_span(&bytes));
        buf_clear(&bytes);
        do
            loop_sim_turn(&stand->sim, stand->sim.loop.now);
        while (!loop_sim_is_quiet(&stand->sim));
        sim_take(stand->link, &bytes, SIZE_MAX);
        h2_client_take(&stand->client, buf_span(&bytes));
        goes_on |= bytes.len > 0;
    }
    assert_false(stand->client.is_faulty);
    buf_fini(&bytes);
}

static void stand_pass(struct stand *stand, msec ms)
{
    loop_sim_turn(&stand->sim, stand->sim.loop.now + ms);
    stand_settle(stand);
}

static struct h2_answer *stand_ask(struct stand *stand, const char *method, const char *path, struct span body, bool is_end)
{
    struct h2_answer *answer = h2_client_request(&stand->client, method, path, body, is_end);
    stand_settle(stand);
    return answer;
}

static void stand_answer_later(struct stand *stand, size_t at)
{
    http_answer(&stand->server, stand->later[at], &(struct http_answer){ .status = 200, .body = SPAN("at last") });
    stand->later[at] = NULL;
    stand_settle(stand);
}

static bool is_left(struct stand *stand)
{
    return sim_link_is_closed(stand->link) || sim_link_end(stand->link) != SIM_OPEN;
}

/* --- requests ------------------------------------------------------------------------------------------------- */

static void requests_are_answered_as_they_come(void **state)
{
    struct stand *stand = stand_new(65535, HTTP_ADMITTED, NULL);

    (void)state;
    struct h2_answer *later = stand_ask(stand, "GET", "/later", SPAN(""), true);
    struct h2_answer *post  = stand_ask(stand, "POST", "/x", SPAN("a body"), true);
    assert_int_equal(later->status, 0);
    assert_int_equal(post->status, 200);
    assert_true(post->is_ended && post->is_closed && span_eq(buf_span(&post->body), SPAN("hello")));
    assert_non_null(strstr(post->fields, "content-length: 5\n"));
    assert_non_null(strstr(post->fields, "cache-control: no-store\n"));
    assert_null(strstr(post->fields, "onnection"));
    assert_true(span_eq(buf_span(&stand->seen), SPAN("a body")));
    stand_answer_later(stand, 0);
    assert_true(later->is_ended && span_eq(buf_span(&later->body), SPAN("at last")));
    struct h2_answer *head = stand_ask(stand, "HEAD", "/x", SPAN(""), true);
    assert_true(head->status == 200 && head->is_ended && head->body.len == 0);
    assert_non_null(strstr(head->fields, "content-length: 5\n"));
    stand_free(stand);
}

/* No cut of the bytes is seen, in either direction. */
static void a_wire_of_single_bytes_says_the_same(void **state)
{
    for (int is_layered = 0; is_layered < 2; is_layered++) {
        struct stand *stand = stand_new(65535, HTTP_ADMITTED, &(struct sim_wire){
            .room_bytes = 1 << 20, .write_bytes_max = 1, .read_bytes_max = is_layered, .is_layered = is_layered,
        });
        struct h2_answer *answer = h2_client_request(&stand->client, "POST", "/x", SPAN("a body"), true);
        for (int i = 0; i < 4000 && !answer->is_closed; i++)
            stand_settle(stand);
        (void)state;
        assert_int_equal(answer->status, 200);
        assert_true(span_eq(buf_span(&answer->body), SPAN("hello")));
        stand_free(stand);
    }
}

static void a_link_may_break_at_every_byte(void **state)
{
    (void)state;
    for (uint64_t cut = 1; cut < 300; cut++) {
        struct stand *stand = stand_new(65535, HTTP_ADMITTED, &(struct sim_wire){
            .room_bytes = 1 << 20, .cut_in_at = cut % 2 == 0 ? cut : 0, .cut_out_at = cut % 2 == 1 ? cut : 0,
        });
        for (int i = 0; i < 3; i++)
            h2_client_request(&stand->client, "POST", i == 1 ? "/later" : "/x", SPAN("a body"), true);
        stand_settle(stand);
        stand_free(stand);
    }
}

static void bodies_are_bounded(void **state)
{
    static char   long_body[1001];
    struct stand *stand = stand_new(65535, HTTP_ADMITTED, NULL);

    (void)state;
    struct h2_answer *answer = stand_ask(stand, "POST", "/x", span_of(long_body, sizeof long_body), false);
    assert_int_equal(answer->status, 413);
    assert_non_null(memmem(answer->body.at, answer->body.len, "some_bytes_max", 14));
    assert_true(answer->is_ended && !answer->is_closed);  /* the client may see that it need not go on */
    stand_pass(stand, LINGER_MS + 100);
    assert_true(answer->is_closed && answer->error == NGHTTP2_NO_ERROR);
    answer = stand_ask(stand, "POST", "/unwelcome", SPAN("part"), false);
    assert_int_equal(answer->status, 200);
    assert_int_equal(stand->seen.len, 0);
    struct h2_answer *first = stand_ask(stand, "POST", "/x", span_of(long_body, 900), false);
    answer                  = stand_ask(stand, "POST", "/x", span_of(long_body, 900), false);
    assert_int_equal(answer->status, 503);
    h2_client_send(&stand->client, first, SPAN("."), true);
    stand_settle(stand);
    assert_int_equal(first->status, 200);
    assert_int_equal(stand->seen.len, 901);
    assert_int_equal(stand->server.body_bytes, 0);
    stand_free(stand);
}

#define NV(name, value) { (uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), sizeof(name) - 1, sizeof(value) - 1, 0 }
#define HEAD(method, path) NV(":method", method), NV(":scheme", "http"), NV(":authority", "localhost"), NV(":path", path)

static void who_waits_for_100_gets_it(void **state)
{
    static const nghttp2_nv head[] = { HEAD("POST", "/x"), NV("expect", "100-continue"), NV("content-length", "4") };
    struct stand           *stand  = stand_new(65535, HTTP_ADMITTED, NULL);

    (void)state;
    struct h2_answer *answer = h2_client_request_with(&stand->client, head, 6, SPAN(""), false);
    stand_settle(stand);
    assert_int_equal(answer->interim, 100);
    assert_int_equal(answer->status, 0);
    h2_client_send(&stand->client, answer, SPAN("body"), true);
    stand_settle(stand);
    assert_int_equal(answer->status, 200);
    stand_free(stand);
}

static void a_bad_head_is_answered_and_the_next_one_served(void **state)
{
    static const nghttp2_nv foreign[] = { HEAD("GET", "/x"), NV("host", "other.example") };
    static const nghttp2_nv endless[] = { HEAD("GET", "/x"), NV("content-length", "7") };
    struct stand           *stand     = stand_new(65535, HTTP_ADMITTED, NULL);
    char                    path[200];

    (void)state;
    struct h2_answer *answer = h2_client_request_with(&stand->client, foreign, 5, SPAN(""), true);
    stand_settle(stand);
    assert_int_equal(answer->status, 400);
    snprintf(path, sizeof path, "/%0120d", 0);
    assert_int_equal(stand_ask(stand, "GET", path, SPAN(""), true)->status, 414);
    answer = h2_client_request_with(&stand->client, endless, 5, SPAN(""), true);
    stand_settle(stand);
    assert_true(answer->is_closed && answer->error == NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(stand_ask(stand, "GET", "/x", SPAN(""), true)->status, 200);
    assert_int_equal(stand->served_count, 1);
    stand_free(stand);
}

static void several_senders_are_identified_at_a_time(void **state)
{
    struct stand     *stand = stand_new(65535, HTTP_ADMITTED, NULL);
    struct h2_answer *answers[3];

    (void)state;
    for (int i = 0; i < 3; i++)
        answers[i] = stand_ask(stand, "POST", "/who", SPAN("me"), i != 2);
    assert_int_equal(stand->asked_count, 3);
    http_identified(stand->asked[1], &(struct http_caller){ .status = 401, .reason = "no" });
    stand_settle(stand);
    assert_int_equal(answers[0]->status, 0);
    assert_int_equal(answers[1]->status, 200);
    nghttp2_submit_rst_stream(stand->client.session, NGHTTP2_FLAG_NONE, answers[0]->id, NGHTTP2_CANCEL);
    stand_settle(stand);
    assert_int_equal(stand->cancelled, 1);
    http_identified(stand->asked[2], &(struct http_caller){ .status = 0 });
    h2_client_send(&stand->client, answers[2], SPAN("!"), true);
    stand_settle(stand);
    assert_int_equal(answers[2]->status, 200);
    assert_true(span_eq(buf_span(&stand->seen), SPAN("meme!")));
    stand_free(stand);
}

static void a_client_that_resets_is_gone(void **state)
{
    struct stand *stand = stand_new(65535, HTTP_ADMITTED, NULL);

    (void)state;
    struct h2_answer *answer = stand_ask(stand, "GET", "/later", SPAN(""), true);
    nghttp2_submit_rst_stream(stand->client.session, NGHTTP2_FLAG_NONE, answer->id, NGHTTP2_CANCEL);
    stand_settle(stand);
    assert_int_equal(stand->gone_count, 1);
    stand_answer_later(stand, 0);  /* dropped */
    assert_int_equal(stand_ask(stand, "GET", "/x", SPAN(""), true)->status, 200);
    stand_free(stand);
}

/* --- what clients do not take --------------------------------------------------------------------------------- */

/* Threat 66: one big answer waits for the client's window, the second one is not made, and small ones pass. */
static void big_answers_go_one_after_the_other(void **state)
{
    struct stand *stand = stand_new(20000, HTTP_ADMITTED, NULL);

    (void)state;
    struct h2_answer *first = h2_client_request(&stand->client, "GET", "/big", SPAN(""), true);
    first->is_unread        = true;
    stand_settle(stand);
    assert_int_equal(first->body.len, 20000);
    struct h2_answer *second = stand_ask(stand, "GET", "/big", SPAN(""), true);
    assert_int_equal(second->status, 0);
    assert_int_equal(stand->served_count, 1);
    assert_in_range(stand->server.owed_bytes, 80000, 80000);
    first->is_unread = false;
    h2_client_open_window(&stand->client, first, 0);
    stand_settle(stand);
    assert_true(first->is_ended && first->body.len == 100000);
    assert_true(second->is_ended && second->body.len == 100000);
    assert_int_equal(stand->server.owed_bytes, 0);
    stand_free(stand);
}

/* Threats 36 and 52: what counts is what is left of an answer, so what has left may not stay in memory. */
static void an_answer_costs_what_is_left_of_it(void **state)
{
    struct stand *stand = stand_new(90000, HTTP_ADMITTED, NULL);

    (void)state;
    struct h2_answer *answer = h2_client_request(&stand->client, "GET", "/big", SPAN(""), true);
    answer->is_unread        = true;
    stand_settle(stand);
    assert_int_equal(answer->body.len, 90000);
    assert_int_equal(stand->server.owed_bytes, 10000);
    struct http_conn   *http     = container_of(stand->server.conns.next, struct http_conn, link);
    struct h2_conn     *conn     = container_of(http, struct h2_conn, http);
    struct h2_exchange *exchange = container_of(conn->exchanges.next, struct h2_exchange, link);
    assert_true(exchange->answer.cap <= BUF_KEPT_BYTES);
    stand_pass(stand, REQUEST_MS - 100);
    nghttp2_submit_window_update(stand->client.session, NGHTTP2_FLAG_NONE, answer->id, 600);
    stand_settle(stand);
    stand_pass(stand, 200);  /* it has taken some */
    assert_false(answer->is_closed);
    stand_pass(stand, REQUEST_MS + 100);
    assert_true(answer->is_closed && answer->error == NGHTTP2_CANCEL);
    stand_free(stand);
}

/* Threat 66 */
static void an_answer_that_is_not_taken_is_reset(void **state)
{
    struct stand *stand = stand_new(1000, HTTP_ADMITTED, NULL);

    (void)state;
    struct h2_answer *answer = h2_client_request(&stand->client, "GET", "/big", SPAN(""), true);
    answer->is_unread        = true;
    stand_settle(stand);
    assert_int_equal(answer->body.len, 1000);
    stand_pass(stand, REQUEST_MS - 100);
    nghttp2_submit_window_update(stand->client.session, NGHTTP2_FLAG_NONE, answer->id, 600);
    stand_settle(stand);
    assert_int_equal(answer->body.len, 1600);
    stand_pass(stand, 200);  /* it has taken some */
    assert_false(answer->is_closed);
    stand_pass(stand, REQUEST_MS + 100);
    assert_true(answer->is_closed && answer->error == NGHTTP2_CANCEL);
    assert_int_equal(stand->server.owed_bytes, 0);
    assert_int_equal(stand_ask(stand, "GET", "/x", SPAN(""), true)->status, 200);
    stand_free(stand);
}

/* Too much waits for all clients: this one has two seconds to take some of its answer, and loses that answer alone. */
static void under_pressure_a_stuck_answer_goes_first(void **state)
{
    struct stand *stand = stand_new(1000, HTTP_ADMITTED, NULL);

    (void)state;
    stand->server.limits.ease_bytes_max = 50000;
    struct h2_answer *later  = stand_ask(stand, "GET", "/later", SPAN(""), true);
    struct h2_answer *answer = h2_client_request(&stand->client, "GET", "/big", SPAN(""), true);
    answer->is_unread        = true;
    stand_settle(stand);
    assert_false(http_is_at_ease(&stand->server));
    for (int i = 0; i < 4; i++) {
        http_server_tick(&stand->server);
        stand_pass(stand, 1000);
    }
    assert_true(answer->is_closed && answer->error == NGHTTP2_CANCEL);
    assert_int_equal(stand->server.owed_bytes, 0);
    assert_int_equal(counter_get(&stand->server.counters.stuck), 1);
    stand_answer_later(stand, 0);
    assert_true(later->is_ended);
    stand_free(stand);
}

/* --- times ---------------------------------------------------------------------------------------------------- */

static void a_slow_body_is_408_and_the_connection_stays(void **state)
{
    struct stand *stand = stand_new(65535, HTTP_ADMITTED, NULL);

    (void)state;
    struct h2_answer *answer = stand_ask(stand, "POST", "/x", SPAN("some"), false);
    stand_pass(stand, REQUEST_MS + 100);
    assert_int_equal(answer->status, 408);
    assert_int_equal(stand_ask(stand, "GET", "/x", SPAN(""), true)->status, 200);
    stand_free(stand);
}

static void an_idle_connection_is_told_to_go(void **state)
{
    static const msec waits[] = { HEAD_MS, KEEPALIVE_MS };

    (void)state;
    for (int had_request = 0; had_request < 2; had_request++) {
        struct stand *stand = stand_new(65535, HTTP_ADMITTED, NULL);
        stand_settle(stand);
        if (had_request)
            stand_ask(stand, "GET", "/x", SPAN(""), true);
        stand_pass(stand, waits[had_request] / 2);
        nghttp2_submit_ping(stand->client.session, NGHTTP2_FLAG_NONE, NULL);  /* does not count */
        stand_settle(stand);
        assert_false(stand->client.has_goaway);
        stand_pass(stand, waits[had_request] / 2 + 100);
        assert_true(stand->client.has_goaway && stand->client.goaway == NGHTTP2_NO_ERROR && is_left(stand));
        stand_pass(stand, LINGER_MS + 100);
        assert_true(sim_link_is_closed(stand->link));
        stand_free(stand);
    }
}

/* Threat 52: a header block that does not end, while another request is under way. */
static void an_endless_head_ends_the_connection(void **state)
{
    static const char block[] = "\x00\x00\x01\x01\x00\x00\x00\x00\x03\x82";  /* HEADERS of stream 3, END_HEADERS to come */
    struct stand     *stand   = stand_new(65535, HTTP_ADMITTED, NULL);

    (void)state;
    stand_ask(stand, "GET", "/later", SPAN(""), true);
    sim_send(stand->link, span_of(block, sizeof block - 1));
    stand_settle(stand);
    stand_pass(stand, HEAD_MS + 100);
    assert_true(stand->client.has_goaway && is_left(stand));
    assert_int_equal(stand->gone_count, 1);
    stand_free(stand);
}

/* --- the connection as a whole -------------------------------------------------------------------------------- */

static void a_brief_connection_gets_one_answer(void **state)
{
    struct stand *stand = stand_new(65535, HTTP_ADMITTED_BRIEFLY, NULL);

    (void)state;
    assert_int_equal(stand_ask(stand, "GET", "/x", SPAN(""), true)->status, 200);
    assert_true(stand->client.has_goaway && is_left(stand));
    stand_free(stand);
}

static void a_stop_lets_requests_end(void **state)
{
    struct stand *stand = stand_new(65535, HTTP_ADMITTED, NULL);

    (void)state;
    struct h2_answer *answer = stand_ask(stand, "GET", "/later", SPAN(""), true);
    http_server_stop(&stand->server);
    stand_settle(stand);
    assert_true(stand->client.has_goaway && stand->client.goaway == NGHTTP2_NO_ERROR && !is_left(stand));
    stand_answer_later(stand, 0);
    assert_true(answer->is_ended && is_left(stand));
    stand_pass(stand, LINGER_MS + 100);
    assert_true(http_server_is_idle(&stand->server));
    stand_free(stand);
    stand = stand_new(65535, HTTP_ADMITTED, NULL);
    stand_ask(stand, "GET", "/x", SPAN(""), true);
    http_server_stop(&stand->server);
    assert_true(http_server_is_idle(&stand->server));
    stand_free(stand);
}

/* Threat 65 */
static void frames_that_bring_nothing_are_bounded(void **state)
{
    struct stand *stand = stand_new(65535, HTTP_ADMITTED, NULL);
    int           count = 0;

    (void)state;
    stand_settle(stand);
    for (; !stand->client.has_goaway && count < 5000; count++) {
        nghttp2_submit_ping(stand->client.session, NGHTTP2_FLAG_NONE, NULL);
        if (count % 50 == 49)
            stand_settle(stand);
    }
    assert_in_range(count, H2_IDLE_FRAMES_MAX - 50, H2_IDLE_FRAMES_MAX + 50);
    assert_int_equal(stand->client.goaway, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_true(is_left(stand));
    stand_free(stand);
}

/* Threat 62 */
static void resets_are_bounded(void **state)
{
    struct stand *stand = stand_new(65535, HTTP_ADMITTED, NULL);
    unsigned      count = 0;

    (void)state;
    for (; !stand->client.has_goaway && count < 200; count++) {
        struct h2_answer *answer = h2_client_request(&stand->client, "POST", "/x", SPAN(""), false);
        stand_settle(stand);
        nghttp2_submit_rst_stream(stand->client.session, NGHTTP2_FLAG_NONE, answer->id, NGHTTP2_CANCEL);
        stand_settle(stand);
    }
    assert_int_equal(count, 200);  /* a client may change its mind so often */
    stand->client.count = 0;
    for (; !stand->client.has_goaway && count < 2000; count++) {
        struct h2_answer *answer = h2_client_request(&stand->client, "POST", "/x", SPAN(""), false);
        stand_settle(stand);
        nghttp2_submit_rst_stream(stand->client.session, NGHTTP2_FLAG_NONE, answer->id, NGHTTP2_CANCEL);
        stand_settle(stand);
        buf_fini(&answer->body);
        stand->client.count = 0;
    }
    assert_in_range(count, H2_RESETS_MAX, H2_RESETS_MAX + 5);
    assert_int_equal(stand->client.goaway, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(stand->server.body_bytes, 0);
    stand_free(stand);
}

/* RFC 7541 4.2: who makes its table smaller has to be told that it is used no more, which nghttp2 looks at. */
static void a_client_may_have_no_table(void **state)
{
    static const nghttp2_settings_entry none[] = { { NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, 0 } };
    struct stand                       *stand  = stand_new(65535, HTTP_ADMITTED, NULL);

    (void)state;
    stand_ask(stand, "GET", "/x", SPAN(""), true);
    nghttp2_submit_settings(stand->client.session, NGHTTP2_FLAG_NONE, none, 1);
    stand_settle(stand);
    for (int i = 0; i < 2; i++)
        assert_int_equal(stand_ask(stand, "GET", "/x", SPAN(""), true)->status, 200);
    stand_free(stand);
}

/* RFC 9113 4.3, 6.10: fields longer than a frame. */
static void a_long_head_goes_on_in_other_frames(void **state)
{
    struct stand *stand = stand_new(65535, HTTP_ADMITTED, NULL);

    (void)state;
    struct h2_answer *answer = stand_ask(stand, "GET", "/fields", SPAN(""), true);
    assert_true(answer->status == 200 && answer->is_ended && span_eq(buf_span(&answer->body), SPAN("hello")));
    assert_int_equal(stand_ask(stand, "GET", "/x", SPAN(""), true)->status, 200);
    stand_free(stand);
}

/* RFC 9113 6.9.1: it is not taken on trust that a client obeys our windows. */
static void windows_are_held(void **state)
{
    static const char data[H2_FRAME_HEAD_BYTES + H2_FRAME_BYTES_MAX] = "\0\100\0\0\0\0\0\0\1";
    struct stand     *stand = stand_new(65535, HTTP_ADMITTED, NULL);
    struct buf        bytes;

    (void)state;
    stand_ask(stand, "POST", "/x", SPAN(""), false);
    buf_init(&bytes, SIZE_MAX / 2);
    for (int i = 0; i < 5; i++)
        buf_put(&bytes, span_of(data, sizeof data));
    sim_send(stand->link, buf_span(&bytes));
    stand_settle(stand);
    assert_true(stand->client.has_goaway && stand->client.goaway == NGHTTP2_FLOW_CONTROL_ERROR && is_left(stand));
    buf_fini(&bytes);
    stand_free(stand);
}

static struct h2_conn *stand_conn(struct stand *stand)
{
    return container_of(container_of(stand->server.conns.next, struct http_conn, link), struct h2_conn, http);
}

/* HEAD of a path that is too long, as stream `id`: it is refused by an answer without a body. */
static void send_long_head(struct stand *stand, uint32_t id)
{
    struct buf bytes;
    char       path[120];

    memset(path, '/', sizeof path);
    buf_init(&bytes, 1000);
    h2_put_frame_head(&bytes, 12 + sizeof path, H2_HEADERS, H2_END_HEADERS | H2_END_STREAM, id);
    buf_put(&bytes, SPAN("\x02\x04HEAD\x86\x04\x78"));
    buf_put(&bytes, span_of(path, sizeof path));
    buf_put(&bytes, SPAN("\x41\x01" "a"));
    sim_send(stand->link, buf_span(&bytes));
    buf_fini(&bytes);
    loop_sim_turn(&stand->sim, stand->sim.loop.now);
}

/* Threats 65, 66: a client that asks and does not read. What waits for its socket is bounded, be it heads without bodies: their
 * streams do not end, and of these it may open streams_max. */
static void frames_that_wait_are_bounded(void **state)
{
    struct stand *stand = stand_new(65535, HTTP_ADMITTED, &(struct sim_wire){ .room_bytes = 10 });
    struct buf    bytes;
    size_t        most = 0;

    (void)state;
    buf_init(&bytes, SIZE_MAX / 2);
    h2_client_put(&stand->client, &bytes);
    sim_send(stand->link, buf_span(&bytes));
    buf_fini(&bytes);
    for (uint32_t i = 0; i < 3000; i++) {
        send_long_head(stand, 2 * i + 1);
        if (most < stand_conn(stand)->out.len)
            most = stand_conn(stand)->out.len;
        assert_true(stand_conn(stand)->open_count <= stand_limits.streams_max);
    }
    assert_in_range(most, H2_OUT_BYTES_MAX, H2_OUT_BYTES_MAX + 16 * 1024);
    assert_true(stand_conn(stand)->is_over);  /* streams that were refused count as resets */
    stand_free(stand);
}

/* An answer to PING counts as waiting until the socket has taken it, and not until it has taken all: clients that download ask
 * again and again how far away the server is. */
static void a_ping_is_answered_while_much_waits(void **state)
{
    struct stand   *stand = stand_new(1 << 20, HTTP_ADMITTED, &(struct sim_wire){ .room_bytes = 100 });
    struct buf      bytes;

    (void)state;
    buf_init(&bytes, SIZE_MAX / 2);
    h2_client_request(&stand->client, "GET", "/big", SPAN(""), true);
    nghttp2_session_set_local_window_size(stand->client.session, NGHTTP2_FLAG_NONE, 0, 1 << 20);
    h2_client_put(&stand->client, &bytes);
    sim_send(stand->link, buf_span(&bytes));
    loop_sim_turn(&stand->sim, stand->sim.loop.now);
    buf_clear(&bytes);
    nghttp2_submit_ping(stand->client.session, NGHTTP2_FLAG_NONE, NULL);
    h2_client_put(&stand->client, &bytes);
    sim_send(stand->link, buf_span(&bytes));
    loop_sim_turn(&stand->sim, stand->sim.loop.now);
    assert_in_range(stand_conn(stand)->acks, 1, 2);  /* and that to SETTINGS */
    for (int i = 0; stand_conn(stand)->acks > 0; i++) {
        assert_in_range(i, 0, 2000);
        sim_take(stand->link, &bytes, SIZE_MAX);
        loop_sim_turn(&stand->sim, stand->sim.loop.now);
    }
    assert_in_range(stand_conn(stand)->out.len, 1000, H2_OUT_BYTES_MAX * 2);
    buf_fini(&bytes);
    stand_free(stand);
}

/* Threats 20, 65: memory is short. Idle connections are told to go, and those that wait for an answer stay. */
static void idle_connections_are_shed(void **state)
{
    struct stand *stand = stand_new(65535, HTTP_ADMITTED, NULL);

    (void)state;
    stand_ask(stand, "GET", "/later", SPAN(""), true);
    assert_int_equal(http_server_shed(&stand->server, false), 0);
    stand_answer_later(stand, 0);
    assert_int_equal(http_server_shed(&stand->server, false), 1);
    stand_settle(stand);
    assert_true(stand->client.has_goaway && stand->client.goaway == NGHTTP2_NO_ERROR && is_left(stand));
    assert_int_equal(counter_get(&stand->server.counters.h2_conns), 0);
    assert_int_equal(counter_get(&stand->server.counters.shed_strangers), 1);
    stand_free(stand);
}

/* A client that says GOAWAY is answered what it has asked, and then its connection ends. */
static void a_client_may_say_goodbye(void **state)
{
    struct stand *stand = stand_new(65535, HTTP_ADMITTED, NULL);

    (void)state;
    struct h2_answer *answer = stand_ask(stand, "GET", "/later", SPAN(""), true);
    sim_send(stand->link, SPAN("\0\0\10\7\0\0\0\0\0\0\0\0\0\0\0\0\0"));
    stand_settle(stand);
    assert_false(is_left(stand));
    stand_answer_later(stand, 0);
    assert_true(answer->is_ended && is_left(stand));
    stand_free(stand);
}

/* Threat 69. */
static void a_preface_is_told_from_http_1(void **state)
{
    static const struct { const char *sent, *want; } rows[] = {
        { "PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n", "HTTP/1.1 505 " },
        { "PRI * HTTP/2.1\r\n\r\n", "HTTP/1.1 505 " },
        { "PRI / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 " },
        { "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 " },
        { "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n",
          "HTTP/1.1 200 " },
        { "GET / HTTP/1.1\r\nHost: a\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 200 " },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stand *stand = stand_new(65535, HTTP_ADMITTED, NULL);
        struct buf    got;
        buf_init(&got, SIZE_MAX / 2);
        for (const char *at = rows[i].sent; *at != '\0'; at++) {
            sim_send(stand->link, span_of(at, 1));
            loop_sim_turn(&stand->sim, stand->sim.loop.now);
        }
        sim_take(stand->link, &got, SIZE_MAX);
        if (!span_starts(buf_span(&got), span_str(rows[i].want)))
            fail_msg("%s: %.*s", rows[i].sent, SPAN_ARG(buf_span(&got)));
        assert_int_equal(counter_get(&stand->server.counters.h2_conns), 0);
        buf_fini(&got);
        stand_free(stand);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_answered_as_they_come),
        cmocka_unit_test(a_wire_of_single_bytes_says_the_same),
        cmocka_unit_test(a_link_may_break_at_every_byte),
        cmocka_unit_test(bodies_are_bounded),
        cmocka_unit_test(who_waits_for_100_gets_it),
        cmocka_unit_test(a_bad_head_is_answered_and_the_next_one_served),
        cmocka_unit_test(several_senders_are_identified_at_a_time),
        cmocka_unit_test(a_client_that_resets_is_gone),
        cmocka_unit_test(big_answers_go_one_after_the_other),
        cmocka_unit_test(an_answer_costs_what_is_left_of_it),
        cmocka_unit_test(an_answer_that_is_not_taken_is_reset),
        cmocka_unit_test(under_pressure_a_stuck_answer_goes_first),
        cmocka_unit_test(a_slow_body_is_408_and_the_connection_stays),
        cmocka_unit_test(an_idle_connection_is_told_to_go),
        cmocka_unit_test(an_endless_head_ends_the_connection),
        cmocka_unit_test(a_brief_connection_gets_one_answer),
        cmocka_unit_test(a_stop_lets_requests_end),
        cmocka_unit_test(frames_that_bring_nothing_are_bounded),
        cmocka_unit_test(resets_are_bounded),
        cmocka_unit_test(a_client_may_have_no_table),
        cmocka_unit_test(a_long_head_goes_on_in_other_frames),
        cmocka_unit_test(windows_are_held),
        cmocka_unit_test(frames_that_wait_are_bounded),
        cmocka_unit_test(a_ping_is_answered_while_much_waits),
        cmocka_unit_test(idle_connections_are_shed),
        cmocka_unit_test(a_client_may_say_goodbye),
        cmocka_unit_test(a_preface_is_told_from_http_1),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
