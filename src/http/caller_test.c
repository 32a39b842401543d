/* Who sent a request is found out before its body is gathered, at once or later. A slow identification stalls
 * nobody. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/h1_conn.h"
#include "lib/hand_clock.h"
#include "reactor/stream_tcp.h"

#include <cmocka.h>

enum { CLIENTS = 2, ASKED_MAX = 8, REQUEST_MS = 10000, HEAD_BYTES_MAX = 2048 };

struct identity {
    int refs;
};

struct stand {
    struct loop        loop;
    struct http_server server;
    int                clients[CLIENTS];
    struct identity    ann;
    bool               is_slow;
    struct http_sender *asked[ASKED_MAX];  /* identifications under way; NULL: ended */
    size_t             asked_count, cancelled_count, served_count;
};

/* --- the service: /who… needs to know who asks, and says it; other paths don't ------------------------------------ */

static struct http_plan stand_plan(void *ctx, const struct http_request *request)
{
    (void)ctx;
    return (struct http_plan){ .body_bytes_max = 100000, .needs_caller = span_starts(request->path, SPAN("/who")) };
}

static void *stand_identify(void *ctx, struct http_sender *sender, const struct http_request *request,
                            struct http_caller *ret)
{
    struct stand *stand = ctx;

    (void)request;
    if (stand->is_slow) {
        assert_true(stand->asked_count < ASKED_MAX);
        stand->asked[stand->asked_count] = sender;
        return &stand->asked[stand->asked_count++];
    }
    stand->ann.refs++;
    ret->identity = &stand->ann;
    return NULL;
}

static void stand_cancel(void *ctx, void *identification)
{
    struct stand      *stand = ctx;
    struct http_sender **asked = identification;

    assert_non_null(*asked);
    *asked = NULL;
    stand->cancelled_count++;
}

static void stand_forget(void *ctx, struct identity *identity)
{
    (void)ctx;
    assert_true(identity->refs > 0);
    identity->refs--;
}

static bool stand_is_unwelcome(void *ctx, const struct http_request *request, const struct http_caller *caller)
{
    (void)ctx;
    return span_starts(request->path, SPAN("/who")) && caller->identity == NULL;
}

static void stand_serve(void *ctx, struct http_exchange *exchange, const struct http_request *request)
{
    struct stand *stand = ctx;
    char          body[64];

    stand->served_count++;
    if (span_starts(request->path, SPAN("/who")) && exchange->caller.identity == NULL) {
        http_refuse_caller(&stand->server, exchange);
        return;
    }
    snprintf(body, sizeof body, "%.*s %s%zu", SPAN_ARG(request->path), exchange->caller.identity == NULL ? "" : "ann ",
             request->body.len);
    http_answer(&stand->server, exchange, &(struct http_answer){ .status = 200, .body = span_str(body) });
}

static enum http_origin stand_allows(void *ctx, struct span origin, struct span host)
{
    (void)ctx, (void)host;
    return span_eq(origin, SPAN("http://evil")) ? HTTP_ORIGIN_REFUSED : HTTP_ORIGIN_KNOWN;
}

static msec stand_event_retry(void *ctx)
{
    (void)ctx;
    return 1234;
}

static const struct http_service stand_service = {
    .plan = stand_plan, .identify = stand_identify, .cancel_identify = stand_cancel, .forget = stand_forget,
    .is_unwelcome = stand_is_unwelcome, .serve = stand_serve, .judge_origin = stand_allows,
    .event_retry = stand_event_retry,
};

/* --- turns ------------------------------------------------------------------------------------------------------- */

static void stand_turn_end(void *ctx)
{
    struct stand *stand = ctx;
    http_server_turn_end(&stand->server);
    loop_stop(&stand->loop);
}

static const struct loop_hooks stand_hooks = { .turn_end = stand_turn_end };

static void stand_turns(struct stand *stand)
{
    for (int i = 0; i < 6; i++) {
        mailbox_ring(&stand->loop.mailbox);  /* so that it never waits */
        loop_run(&stand->loop);
    }
}

static void stand_pass(struct stand *stand, msec ms)
{
    hand_clock_pass(ms);
    stand_turns(stand);
}

static int stand_open(void **state)
{
    static const struct http_limits limits = {
        .h1 = { .target_bytes_max = 1024, .head_bytes_max = HEAD_BYTES_MAX },
        .pipeline_max = 4, .answer_bytes_max = 4096,
        .request_timeout_ms = REQUEST_MS, .head_timeout_ms = REQUEST_MS, .body_bytes_per_s_min = 100,
        .taken_bytes_min = 1,
         .keepalive_timeout_ms = 60000, .body_bytes_max = 200000,
        .owed_bytes_max = 100000, .linger_ms = 2000,
    };
    struct stand *stand = calloc(1, sizeof *stand);

    assert_int_equal(loop_init(&stand->loop, &stand_hooks, stand), RC_OK);
    http_server_init(&stand->server, &stand->loop, &limits, &stand_service, stand);
    for (int i = 0; i < CLIENTS; i++) {
        int ends[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
        struct stream *stream;
        assert_int_equal(stream_tcp_new(&stand->loop, ends[1], &stream), RC_OK);
        http_server_open(&stand->server, stream);
        stand->clients[i] = ends[0];
    }
    stand->is_slow = true;
    *state         = stand;
    return 0;
}

static int stand_close(void **state)
{
    struct stand *stand = *state;

    http_server_fini(&stand->server);
    for (size_t i = 0; i < stand->asked_count; i++)
        assert_null(stand->asked[i]);
    assert_int_equal(stand->ann.refs, 0);
    assert_int_equal(stand->server.body_bytes, 0);
    loop_fini(&stand->loop);
    for (int i = 0; i < CLIENTS; i++)
        close(stand->clients[i]);
    free(stand);
    return 0;
}

static void say(struct stand *stand, int client, const char *text)
{
    assert_int_equal(send(stand->clients[client], text, strlen(text), MSG_NOSIGNAL), strlen(text));
    stand_turns(stand);
}

/* Statuses and bodies that have come, "200 /now 0,401,"; "end" if the server has closed. */
static void expect(struct stand *stand, int client, const char *want)
{
    char    text[65536], got[4096] = "";
    ssize_t len = recv(stand->clients[client], text, sizeof text - 1, 0);
    size_t  put = 0;

    text[len > 0 ? len : 0] = '\0';
    for (const char *at = text; (at = strstr(at, "HTTP/1.1 ")) != NULL; at++) {
        const char *body = strstr(at, "\r\n\r\n"), *next = strstr(at + 1, "HTTP/1.1 ");
        size_t      body_len = body == NULL ? 0 : next == NULL ? strlen(body + 4) : (size_t)(next - body - 4);
        bool        is_problem = memmem(at, (size_t)(body - at), "problem", 7) != NULL;
        put += (size_t)snprintf(got + put, sizeof got - put, "%.3s%s%.*s,", at + 9,
                                is_problem || body_len == 0 ? "" : " ",
                                is_problem ? 0 : (int)body_len, body + 4);
    }
    if (len == 0 || (len > 0 && recv(stand->clients[client], text, sizeof text, 0) == 0))
        snprintf(got + put, sizeof got - put, "end");
    assert_string_equal(got, want);
}

static void tell_ann(struct stand *stand, size_t at)
{
    struct http_sender *sender = stand->asked[at];

    assert_non_null(sender);
    stand->asked[at] = NULL;
    stand->ann.refs++;
    http_identified(sender, &(struct http_caller){ .identity = &stand->ann });
    stand_turns(stand);
}

static void tell_refused(struct stand *stand, size_t at, unsigned status)
{
    struct http_sender *sender = stand->asked[at];

    stand->asked[at] = NULL;
    http_identified(sender, &(struct http_caller){ .status = status, .reason = "no" });
    stand_turns(stand);
}

#define GET(path)       "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define POST(path, len) "POST " path " HTTP/1.1\r\nHost: h\r\nContent-Length: " len "\r\n"

/* --- the tests --------------------------------------------------------------------------------------------------- */

static void the_others_go_on_and_the_order_is_kept(void **state)
{
    struct stand *stand = *state;

    say(stand, 0, GET("/a") GET("/who") GET("/b") GET("/who/2") GET("/c"));
    expect(stand, 0, "200 /a 0,");
    say(stand, 1, GET("/d"));
    expect(stand, 1, "200 /d 0,");
    assert_int_equal(stand->asked_count, 1);
    tell_ann(stand, 0);
    expect(stand, 0, "200 /who ann 0,200 /b 0,");
    assert_int_equal(stand->asked_count, 2);
    say(stand, 1, GET("/who/3"));
    tell_ann(stand, 2);
    expect(stand, 1, "200 /who/3 ann 0,");
    expect(stand, 0, "");
    tell_ann(stand, 1);
    expect(stand, 0, "200 /who/2 ann 0,200 /c 0,");
}

static void at_once_is_as_good(void **state)
{
    struct stand *stand = *state;

    stand->is_slow = false;
    say(stand, 0, GET("/who") POST("/who", "3") "\r\nabc" POST("/who", "4") "\r\nab");
    expect(stand, 0, "200 /who ann 0,200 /who ann 3,");
    say(stand, 0, "cd");
    expect(stand, 0, "200 /who ann 4,");
    assert_int_equal(stand->ann.refs, 0);
}

static void a_body_is_gathered_when_its_sender_is_known(void **state)
{
    struct stand *stand = *state;

    say(stand, 0, POST("/who", "6") "Expect: 100-continue\r\n\r\n");
    expect(stand, 0, "");
    tell_ann(stand, 0);
    expect(stand, 0, "100,");
    say(stand, 0, "abcdef" POST("/who", "6") "\r\nabc");
    assert_int_equal(stand->server.body_bytes, 0);
    say(stand, 0, "def" GET("/now"));
    assert_int_equal(stand->server.body_bytes, 0);
    expect(stand, 0, "200 /who ann 6,");
    tell_ann(stand, 1);
    expect(stand, 0, "200 /who ann 6,200 /now 0,");
}

static void who_is_refused_is_answered_before_the_body(void **state)
{
    static const unsigned statuses[] = { 401, 503 };
    struct stand         *stand      = *state;

    for (int i = 0; i < CLIENTS; i++) {
        char status[16];
        say(stand, i, POST("/who", "6") "\r\nabc");
        tell_refused(stand, (size_t)i, statuses[i]);
        snprintf(status, sizeof status, "%u,end", statuses[i]);
        expect(stand, i, status);
    }
    assert_int_equal(stand->served_count, 2);
}

/* Decision 27: EventSource gives up after any status but 200; other readers of event streams post. */
static void an_event_source_is_put_off(void **state)
{
    static const struct { const char *head; unsigned status; const char *want; } rows[] = {
        { "GET /who HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n", 503, "200 : no\nretry: 1234\n,end" },
        { "GET /who HTTP/1.1\r\nHost: h\r\nAccept: a/b\r\naccept: x/y, Text/Event-Stream;q=0.5\r\n", 503,
          "200 : no\nretry: 1234\n,end" },
        { "GET /who HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n", 401, "401,end" },
        { "GET /who HTTP/1.1\r\nHost: h\r\nAccept: text/*, */*\r\n", 503, "503,end" },
        { "POST /who HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nAccept: text/event-stream\r\n", 503, "503,end" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[512];
        assert_int_equal(stand_open(state), 0);
        snprintf(text, sizeof text, "%s\r\n", rows[i].head);
        say(*state, 0, text);
        tell_refused(*state, 0, rows[i].status);
        expect(*state, 0, rows[i].want);
        stand_close(state);
    }
}

/* The head is kept, and what the client sends meanwhile only until a head's worth of it waits. */
static void it_holds_little_while_it_waits(void **state)
{
    struct stand *stand = *state;
    char          early[20000];

    say(stand, 0, POST("/who", "60000") "\r\n");
    memset(early, 'e', sizeof early);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(send(stand->clients[0], early, sizeof early, MSG_NOSIGNAL), sizeof early);
        stand_turns(stand);
    }
    struct h1_conn *conn = container_of(stand->asked[0], struct h1_conn, sender);
    assert_true(conn->in.len <= HEAD_BYTES_MAX + LOOP_INPUT_BYTES);
    assert_int_equal(conn->pending->body.len, 0);
    tell_ann(stand, 0);
    expect(stand, 0, "200 /who ann 60000,");
}

static void who_goes_away_cancels_it(void **state)
{
    struct stand *stand = *state;

    say(stand, 0, GET("/now") GET("/who"));
    close(stand->clients[0]);  /* an answer is unread, so the link is reset */
    stand->clients[0] = -1;
    stand_turns(stand);
    assert_int_equal(stand->cancelled_count, 1);
    say(stand, 1, POST("/who", "9") "\r\nabc");
    assert_int_equal(shutdown(stand->clients[1], SHUT_WR), 0);
    stand_turns(stand);
    assert_int_equal(stand->cancelled_count, 2);
    assert_int_equal(stand->served_count, 1);
    assert_true(http_server_is_idle(&stand->server));
}

/* It has all that it needs but the time of the identifier. */
static void who_has_closed_its_direction_is_answered(void **state)
{
    struct stand *stand = *state;

    say(stand, 0, GET("/who") POST("/who", "3") "\r\nabc");
    assert_int_equal(shutdown(stand->clients[0], SHUT_WR), 0);
    stand_turns(stand);
    tell_ann(stand, 0);
    expect(stand, 0, "200 /who ann 0,");
    tell_ann(stand, 1);
    expect(stand, 0, "200 /who ann 3,end");
    assert_int_equal(stand->cancelled_count, 0);
}

/* It is not the client that is slow; then the body has its time from there. */
static void the_wait_is_not_the_clients_time(void **state)
{
    struct stand *stand = *state;

    say(stand, 0, POST("/who", "3") "\r\na");
    stand_pass(stand, 3 * REQUEST_MS);
    expect(stand, 0, "");
    tell_ann(stand, 0);
    stand_pass(stand, REQUEST_MS - 100);
    expect(stand, 0, "");
    stand_pass(stand, 200);
    expect(stand, 0, "408,end");
    assert_int_equal(stand->ann.refs, 0);
}

static void a_stop_waits_for_it(void **state)
{
    struct stand *stand = *state;

    say(stand, 0, GET("/who"));
    http_server_stop(&stand->server);
    stand_turns(stand);
    assert_false(http_server_is_idle(&stand->server));
    tell_ann(stand, 0);
    expect(stand, 0, "200 /who ann 0,end");
}

static void the_end_of_the_server_ends_it(void **state)
{
    struct stand *stand = *state;

    say(stand, 0, GET("/who"));
    say(stand, 1, POST("/who", "3") "\r\nabc");
    http_server_fini(&stand->server);
    assert_int_equal(stand->cancelled_count, 2);
}

/* Its page gets 403 whoever asks. */
static void nobody_is_asked_about_for_a_refused_origin(void **state)
{
    struct stand *stand = *state;

    say(stand, 0, "GET /who HTTP/1.1\r\nHost: h\r\nOrigin: http://evil\r\n\r\n");
    expect(stand, 0, "403,");
    say(stand, 0,
        "OPTIONS /now HTTP/1.1\r\nHost: h\r\nOrigin: http://good\r\nAccess-Control-Request-Method: GET\r\n\r\n");
    expect(stand, 0, "204,");
    /* … and nobody's rights are judged: a body that is too long is refused as that
     * (test_who_is_refused_may_read_why). */
    say(stand, 0, POST("/who", "200001") "Origin: http://evil\r\n\r\n");
    expect(stand, 0, "413,end");
    assert_int_equal(stand->asked_count, 0);
}

/* Threats 51, 52: it may send nothing, so nothing is gathered. */
static void a_body_of_a_refused_origin_is_not_gathered(void **state)
{
    struct stand *stand = *state;

    say(stand, 0, POST("/who", "3") "Origin: http://evil\r\nExpect: 100-continue\r\n\r\n");
    expect(stand, 0, "403,end");
    assert_int_equal(stand->asked_count, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, stand_open, stand_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_others_go_on_and_the_order_is_kept),
        TEST(at_once_is_as_good),
        TEST(a_body_is_gathered_when_its_sender_is_known),
        TEST(who_is_refused_is_answered_before_the_body),
        cmocka_unit_test(an_event_source_is_put_off),
        TEST(it_holds_little_while_it_waits),
        TEST(who_goes_away_cancels_it),
        TEST(who_has_closed_its_direction_is_answered),
        TEST(the_wait_is_not_the_clients_time),
        TEST(a_stop_waits_for_it),
        TEST(the_end_of_the_server_ends_it),
        TEST(nobody_is_asked_about_for_a_refused_origin),
        TEST(a_body_of_a_refused_origin_is_not_gathered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
