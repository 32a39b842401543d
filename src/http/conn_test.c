/* One connection's life, over a socket pair in a real loop whose time is the test's own. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/rng.h"
#include "http/h1_conn.h"
#include "http/ws_upgrade.h"
#include "lib/hand_clock.h"
#include "reactor/stream_tcp.h"

#include <cmocka.h>

enum {
    PIPELINE_MAX = 4, ANSWER_BYTES_MAX = 4096, BODY_MAX = 6000, BODIES_MAX = 10000, BIG_BYTES = 2 * 1024 * 1024,
    HEAD_MS = 5000, REQUEST_MS = 10000, BODY_RATE = 100, STUCK_MS = 2000, KEEPALIVE_MS = 60000, LINGER_MS = 2000, LATE_MAX = 16,
};

struct rig {
    struct loop           loop;
    struct http_server    server;
    int                   client;
    struct buf            served;            /* "GET /now\nPOST /echo\n" */
    struct http_exchange *late[LATE_MAX];    /* /late, /alone, /heavy and /promise, as they were served */
    size_t                late_count;
    size_t                gone_count;
    struct stream        *taken;
    struct buf            unread;            /* what http_open_websocket() gave, then what the stream had */
    struct buf            heard;             /* what the client has read and not told yet */
    bool                  is_ended;          /* the client has read the end */
};

/* --- the service --------------------------------------------------------------------------------------------- */

static struct http_plan rig_plan(void *ctx, const struct http_request *request)
{
    (void)ctx;
    return (struct http_plan){
        .body_bytes_max = BODY_MAX,
        .is_alone       = span_eq(request->path, SPAN("/alone")) || span_eq(request->path, SPAN("/take")) ||
                          span_eq(request->path, SPAN("/stream")),
        .is_heavy       = span_eq(request->path, SPAN("/heavy")),
        .is_public      = span_eq(request->path, SPAN("/public")),
    };
}

static bool rig_is_unwelcome(void *ctx, const struct http_request *request, const struct http_caller *caller)
{
    (void)ctx, (void)caller;
    return span_eq(request->path, SPAN("/unwelcome"));
}

static void rig_gone(void *owner)
{
    struct rig *rig = owner;
    rig->gone_count++;
}

static void taken_on_readable(struct stream *stream, void *owner)
{
    struct rig *rig = owner;
    char        scratch[4096];
    ssize_t     got;

    while ((got = stream_read(stream, scratch, sizeof scratch)) > 0)
        buf_put(&rig->unread, span_of(scratch, (size_t)got));
    if (got == STREAM_LATER)
        return;
    stream_close(stream);
    rig->taken = NULL;
}

static void taken_on_writable(struct stream *stream, void *owner)
{
    (void)stream, (void)owner;
}

static const struct stream_events taken_events = {
    .on_readable = taken_on_readable, .on_writable = taken_on_writable,
};

static void rig_take(struct rig *rig, struct http_exchange *exchange)
{
    const struct ws_handshake shake = { .key = SPAN("dGhlIHNhbXBsZSBub25jZQ==") };
    struct buf                first;

    buf_init(&first, 1024);
    rig->taken = http_open_websocket(&rig->server, exchange, &shake, SPAN(""), &first, &rig->unread);
    stream_hand_over(rig->taken, &taken_events, rig);
    assert_int_equal(stream_write(rig->taken, buf_span(&first)), first.len);
    buf_fini(&first);
}

/* Two parts of a body, and its end, in the stream's own framing. */
static void rig_stream(struct rig *rig, struct http_exchange *exchange)
{
    struct buf bytes;
    bool       is_chunked;

    buf_init(&bytes, 1024);
    rig->taken = http_open_stream(&rig->server, exchange,
                                  &(struct http_answer){
                                      .status = 200, .media = SPAN("text/plain"),
                                      .fields = HTTP_FIELDS({ SPAN("Cache-Control"), SPAN("no-store") }),
                                  },
                                  &bytes, &is_chunked);
    stream_hand_over(rig->taken, &taken_events, rig);
    buf_put(&bytes, is_chunked ? SPAN("3\r\none\r\n") : SPAN("one"));
    http_put_body_end(is_chunked, &bytes);
    assert_int_equal(stream_write(rig->taken, buf_span(&bytes)), bytes.len);
    buf_fini(&bytes);
    stream_shut(rig->taken);
}

static void answer(struct rig *rig, struct http_exchange *exchange, struct span body, bool is_last)
{
    http_answer(&rig->server, exchange, &(struct http_answer){ .status = 200, .body = body, .is_last = is_last });
}

static void rig_defer(struct rig *rig, struct http_exchange *exchange)
{
    assert_true(rig->late_count < LATE_MAX);
    exchange->owner              = rig;
    exchange->gone               = rig_gone;
    rig->late[rig->late_count++] = exchange;
}

static void rig_serve(void *ctx, struct http_exchange *exchange, const struct http_request *request)
{
    struct rig *rig  = ctx;
    struct span path = request->path;

    buf_put(&rig->served, request->head->method_text);
    buf_putc(&rig->served, ' ');
    buf_put(&rig->served, path);
    buf_putc(&rig->served, '\n');
    if (span_eq(path, SPAN("/take"))) {
        rig_take(rig, exchange);
    } else if (span_eq(path, SPAN("/stream"))) {
        rig_stream(rig, exchange);
    } else if (span_eq(path, SPAN("/late")) || span_eq(path, SPAN("/alone")) || span_eq(path, SPAN("/heavy"))) {
        rig_defer(rig, exchange);
    } else if (span_eq(path, SPAN("/echo"))) {
        answer(rig, exchange, request->body, false);
    } else if (span_eq(path, SPAN("/none"))) {
        http_answer(&rig->server, exchange, &(struct http_answer){ .status = 204 });
    } else if (span_eq(path, SPAN("/big"))) {
        char *big = calloc(1, BIG_BYTES);
        answer(rig, exchange, span_of(big, BIG_BYTES), false);
        free(big);
    } else if (span_eq(path, SPAN("/promise"))) {
        http_promise(exchange, ANSWER_BYTES_MAX);
        rig_defer(rig, exchange);
    } else {
        answer(rig, exchange, SPAN("now"), span_eq(path, SPAN("/last")));
    }
}

static bool rig_is_nowhere(void *ctx, const struct http_request *request)
{
    (void)ctx;
    return span_eq(request->path, SPAN("/nowhere"));
}

static bool rig_has_host(void *ctx, struct span host)
{
    (void)ctx;
    return !span_eq(host, SPAN("evil"));
}

static enum http_origin rig_allows(void *ctx, struct span origin, struct span host)
{
    (void)ctx, (void)host;
    return span_eq(origin, SPAN("http://evil")) ? HTTP_ORIGIN_REFUSED : HTTP_ORIGIN_KNOWN;
}

static const struct http_service rig_service = {
    .plan = rig_plan, .is_unwelcome = rig_is_unwelcome, .serve = rig_serve, .judge_origin = rig_allows,
    .host_is_served = rig_has_host, .is_nowhere = rig_is_nowhere,
};

/* --- turns and time ------------------------------------------------------------------------------------------ */

static void rig_turn_end(void *ctx)
{
    struct rig *rig = ctx;
    http_server_turn_end(&rig->server);
    loop_stop(&rig->loop);
}

static const struct loop_hooks rig_hooks = { .turn_end = rig_turn_end };

static void rig_turn(struct rig *rig)
{
    mailbox_ring(&rig->loop.mailbox);  /* so that it never waits */
    loop_run(&rig->loop);
}

static void rig_settle(struct rig *rig)
{
    for (int i = 0; i < 4 || rig->loop.again != NULL; i++)
        rig_turn(rig);
}

/* Moves the clock; what the client has sent before comes in the very turn that fires the timers. */
static void rig_pass(struct rig *rig, msec ms)
{
    hand_clock_pass(ms);
    rig_turn(rig);
}

static int rig_connect(struct rig *rig)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    struct stream *stream;
    assert_int_equal(stream_tcp_new(&rig->loop, ends[1], &stream), RC_OK);
    http_server_open(&rig->server, stream);
    return ends[0];
}

static int rig_open(void **state)
{
    static const struct http_limits limits = {
        .h1                   = { .target_bytes_max = 1024, .head_bytes_max = 2048 },
        .pipeline_max         = PIPELINE_MAX,
        .answer_bytes_max     = ANSWER_BYTES_MAX,
        .head_timeout_ms      = HEAD_MS,
        .request_timeout_ms   = REQUEST_MS,
        .body_bytes_per_s_min = BODY_RATE,
        .keepalive_timeout_ms = KEEPALIVE_MS,
        .body_bytes_max       = BODIES_MAX,
        .owed_bytes_max       = 8 * BIG_BYTES,
        .ease_bytes_max       = 4 * BIG_BYTES,
        .stuck_ms             = STUCK_MS,
        .taken_bytes_min      = 1,
        .linger_ms            = LINGER_MS,
    };
    struct rig *rig = calloc(1, sizeof *rig);

    assert_int_equal(loop_init(&rig->loop, &rig_hooks, rig), RC_OK);
    http_server_init(&rig->server, &rig->loop, &limits, &rig_service, rig);
    buf_init(&rig->served, SIZE_MAX / 2);
    buf_init(&rig->unread, SIZE_MAX / 2);
    buf_init(&rig->heard, SIZE_MAX / 2);
    rig->client = rig_connect(rig);
    *state      = rig;
    return 0;
}

static void rig_answer(struct rig *rig, size_t at, struct span body)
{
    struct http_exchange *exchange = rig->late[at];

    assert_non_null(exchange);
    rig->late[at] = NULL;
    answer(rig, exchange, body, false);
}

static int rig_close(void **state)
{
    struct rig *rig = *state;

    http_server_fini(&rig->server);
    for (size_t i = 0; i < rig->late_count; i++)
        if (rig->late[i] != NULL)
            rig_answer(rig, i, SPAN("to nobody"));
    stream_close(rig->taken);
    loop_fini(&rig->loop);
    close(rig->client);
    buf_fini(&rig->served);
    buf_fini(&rig->unread);
    buf_fini(&rig->heard);
    size_t   body_bytes = rig->server.body_bytes;
    uint64_t conns      = counter_get(&rig->server.counters.conns);
    free(rig);
    return body_bytes == 0 && conns == 0 ? 0 : -1;
}

/* --- the client ---------------------------------------------------------------------------------------------- */

static void client_send(int client, struct span bytes)
{
    assert_int_equal(send(client, bytes.at, bytes.len, MSG_NOSIGNAL), bytes.len);
}

static void rig_say(struct rig *rig, const char *text)
{
    client_send(rig->client, span_str(text));
    rig_settle(rig);
}

static void rig_say_end(struct rig *rig)
{
    assert_int_equal(shutdown(rig->client, SHUT_WR), 0);
    rig_settle(rig);
}

static void rig_hear(struct rig *rig)
{
    char    scratch[65536];
    ssize_t got;

    while ((got = recv(rig->client, scratch, sizeof scratch, 0)) > 0)
        buf_put(&rig->heard, span_of(scratch, (size_t)got));
    if (got == 0)
        rig->is_ended = true;
}

static bool span_has(struct span text, const char *what)
{
    return text.len > 0 && memmem(text.at, text.len, what, strlen(what)) != NULL;
}

/* "200 now\n", "204\n", "413 close\n": a status, the body unless it is a problem, and whether it's the last. */
static void tell_answer(struct buf *run, struct span head, struct span body)
{
    buf_put(run, span_head(span_skip(head, 9), 3));
    if (body.len > 0 && !span_has(head, "problem+json")) {
        buf_putc(run, ' ');
        if (body.len < 64)
            buf_put(run, body);
        else
            buf_putf(run, "#%zu", body.len);
    }
    if (span_has(head, "Connection: close"))
        buf_put_lit(run, " close");
    buf_putc(run, '\n');
}

/* Tells what the client has heard since it was last asked; "end\n" if the server has closed. */
static void expect_transcript(struct rig *rig, const char *want, bool is_head)
{
    struct buf run;

    rig_hear(rig);
    buf_init(&run, 65536);
    struct span text = buf_span(&rig->heard);
    const char *end;
    while (text.len > 0 && (end = memmem(text.at, text.len, "\r\n\r\n", 4)) != NULL) {
        struct span head   = span_of(text.at, (size_t)(end + 4 - text.at));
        const char *length = memmem(head.at, head.len, "Content-Length: ", 16);
        size_t      len    = length == NULL || is_head ? 0 : strtoul(length + 16, NULL, 10);
        text               = span_skip(text, head.len);
        assert_true(len <= text.len);
        tell_answer(&run, head, span_head(text, len));
        text = span_skip(text, len);
    }
    assert_int_equal(text.len, 0);
    buf_fini(&rig->heard);
    if (rig->is_ended)
        buf_put_lit(&run, "end\n");
    buf_putc(&run, '\0');
    assert_string_equal(run.at, want);
    buf_fini(&run);
}

static void expect_answers(struct rig *rig, const char *want)
{
    expect_transcript(rig, want, false);
}

static void expect_served(struct rig *rig, const char *want)
{
    buf_putc(&rig->served, '\0');
    assert_string_equal(rig->served.at, want);
    buf_clear(&rig->served);
}

#define GET(path)        "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define GET_CLOSE(path)  "GET " path " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
#define POST(path, len)  "POST " path " HTTP/1.1\r\nHost: h\r\nContent-Length: " len "\r\n"

/* --- answers in order ---------------------------------------------------------------------------------------- */

static void answers_have_the_order_of_the_requests(void **state)  /* threat 53 */
{
    struct rig *rig = *state;

    rig_say(rig, GET("/late") GET("/now") GET("/late") GET("/none"));
    expect_served(rig, "GET /late\nGET /now\nGET /late\nGET /none\n");
    expect_answers(rig, "");
    rig_answer(rig, 1, SPAN("third"));
    rig_settle(rig);
    expect_answers(rig, "");
    rig_answer(rig, 0, SPAN("first"));
    rig_settle(rig);
    expect_answers(rig, "200 first\n200 now\n200 third\n204\n");
}

static void a_request_told_in_any_pieces_is_the_same(void **state)
{
    struct rig       *rig    = *state;
    static const char text[] = POST("/echo", "5") "\r\nhello" GET("/now")
                               "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: x\r\n\r\n" GET("/none");

    for (size_t cut = 1; cut < sizeof text - 1; cut++) {
        client_send(rig->client, span_of(text, cut));
        rig_settle(rig);
        client_send(rig->client, span_of(text + cut, sizeof text - 1 - cut));
        rig_settle(rig);
        expect_answers(rig, "200 hello\n200 now\n200 abcde\n204\n");
    }
    for (size_t i = 0; i < sizeof text - 1; i++) {
        client_send(rig->client, span_of(text + i, 1));
        rig_turn(rig);
    }
    expect_answers(rig, "200 hello\n200 now\n200 abcde\n204\n");
    assert_int_equal(rig->server.body_bytes, 0);
}

static void no_more_than_pipeline_max_requests_are_under_way(void **state)
{
    struct rig *rig = *state;

    rig_say(rig, GET("/late") GET("/late") GET("/late") GET("/late") GET("/now") GET("/late"));
    assert_int_equal(rig->late_count, PIPELINE_MAX);
    for (size_t i = 0; i < PIPELINE_MAX; i++)
        rig_answer(rig, i, SPAN("x"));
    rig_settle(rig);
    expect_answers(rig, "200 x\n200 x\n200 x\n200 x\n200 now\n");
    assert_int_equal(rig->late_count, PIPELINE_MAX + 1);
}

static struct h1_conn *rig_conn(struct rig *rig)
{
    return container_of(rig->server.conns.next, struct h1_conn, http.link);
}

/* Lets the server's socket run full with small answers that nobody reads; how many. */
static size_t fill(struct rig *rig)
{
    size_t count = 0;

    for (; !rig_conn(rig)->http.stream->is_full; count++)
        rig_say(rig, GET("/none"));
    return count;
}

static void answers_that_nobody_reads_stop_the_serving(void **state)  /* threat 34 */
{
    struct rig *rig   = *state;
    size_t      count = fill(rig), more = 200;

    buf_clear(&rig->served);
    for (size_t i = 0; i < more; i++)
        rig_say(rig, GET("/none"));
    assert_in_range(rig_conn(rig)->out.len, ANSWER_BYTES_MAX, ANSWER_BYTES_MAX + 200);
    assert_true(rig->served.len < more * strlen("GET /none\n"));
    for (int i = 0; i < 8; i++) {
        rig_hear(rig);
        rig_settle(rig);
    }
    assert_int_equal(rig->served.len, more * strlen("GET /none\n"));
    rig_hear(rig);
    size_t each = rig->heard.len / (count + more);
    assert_int_equal(rig->heard.len, each * (count + more));
    buf_clear(&rig->heard);
}

/* More than is kept while nothing can be served; all of it is answered once it can. */
static void a_client_that_sends_on_is_not_read_from_and_loses_nothing(void **state)
{
    struct rig *rig   = *state;
    size_t      count = 0, answers = 0;

    rig_say(rig, GET("/alone"));
    while (send(rig->client, GET("/none"), sizeof GET("/none") - 1, MSG_NOSIGNAL) == sizeof GET("/none") - 1) {
        count++;
        if (count % 1024 == 0)
            rig_settle(rig);
    }
    rig_settle(rig);
    expect_served(rig, "GET /alone\n");
    rig_answer(rig, 0, SPAN("alone"));
    for (int idle = 0; idle < 4; idle++) {
        rig_settle(rig);
        size_t before = rig->heard.len;
        rig_hear(rig);
        if (rig->heard.len > before)
            idle = 0;
    }
    for (const char *at = rig->heard.at; at != NULL; answers++) {
        size_t left = rig->heard.len - (size_t)(at - rig->heard.at);
        at          = memmem(at, left, "HTTP/1.1 204", 12);
        at          = at == NULL ? NULL : at + 1;
    }
    assert_int_equal(answers - 1, count);
    buf_clear(&rig->heard);
}

/* Twelve requests of any kind; what their answers must be, in order. */
static void make_requests(struct rng *rng, struct buf *text, struct buf *want)
{
    static const char *const deferred[] = { GET("/late"), GET("/alone"), GET("/heavy"), GET("/promise") };
    unsigned                 late = 0;

    for (int i = 0; i < 12; i++) {
        uint64_t kind = rng_below(rng, 8);
        if (kind < 4) {
            buf_put(text, span_str(deferred[kind]));
            buf_putf(want, "200 late %u\n", late++);
        } else if (kind == 4) {
            buf_put_lit(text, GET("/none"));
            buf_put_lit(want, "204\n");
        } else if (kind == 5) {
            buf_put_lit(text, POST("/echo", "5") "\r\nwhole");
            buf_put_lit(want, "200 whole\n");
        } else if (kind == 6) {
            buf_put_lit(text, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                              "3\r\nin \r\n6\r\npieces\r\n0\r\n\r\n");
            buf_put_lit(want, "200 in pieces\n");
        } else {
            buf_put_lit(text, GET("/now"));
            buf_put_lit(want, "200 now\n");
        }
    }
    buf_putc(want, '\0');
}

/* One of those that wait, any of them. */
static void answer_any(struct rig *rig, struct rng *rng)
{
    char   body[32];
    size_t at = rig->late_count == 0 ? 0 : rng_below(rng, rig->late_count);

    if (at >= rig->late_count || rig->late[at] == NULL)
        return;
    snprintf(body, sizeof body, "late %zu", at);
    rig_answer(rig, at, span_str(body));
}

/* However requests are cut, and whenever and in whichever order the service answers, clients can't tell. */
static void no_order_of_events_changes_the_order_of_answers(void **state)  /* threat 53 */
{
    struct rig *rig = *state;
    struct rng  rng = { 7 };

    for (int round = 0; round < 400; round++) {
        struct buf text, want;
        buf_init(&text, 65536);
        buf_init(&want, 65536);
        make_requests(&rng, &text, &want);
        for (size_t at = 0, len; at < text.len; at += len) {
            len = 1 + rng_below(&rng, 200);
            len = len < text.len - at ? len : text.len - at;
            client_send(rig->client, span_of(text.at + at, len));
            if (rng_below(&rng, 3) != 0)
                rig_turn(rig);
            if (rng_below(&rng, 3) == 0)
                answer_any(rig, &rng);
        }
        for (int i = 0; i < 400; i++) {
            answer_any(rig, &rng);
            if (rng_below(&rng, 2) == 0)
                rig_turn(rig);
        }
        rig_settle(rig);
        expect_answers(rig, want.at);
        rig->late_count = 0;
        buf_fini(&text);
        buf_fini(&want);
    }
    assert_int_equal(rig->server.body_bytes, 0);
}

/* They hold as much memory as those that are on their way. */
static void answers_behind_an_earlier_one_stop_the_serving(void **state)  /* threats 21, 34 */
{
    struct rig *rig = *state;

    rig_say(rig, GET("/late") GET("/now") GET("/big") GET("/now") GET("/big"));
    expect_served(rig, "GET /late\nGET /now\nGET /big\n");
    rig_answer(rig, 0, SPAN("late"));
    for (int i = 0; i < 200; i++) {
        rig_hear(rig);
        rig_turn(rig);
    }
    expect_served(rig, "GET /now\nGET /big\n");
    expect_answers(rig, "200 late\n200 now\n200 #2097152\n200 now\n200 #2097152\n");
}

static void answers_that_are_promised_stop_the_serving(void **state)  /* threats 21, 34 */
{
    struct rig *rig = *state;

    rig_say(rig, GET("/promise") GET("/promise") GET("/now"));
    expect_served(rig, "GET /promise\n");
    rig_answer(rig, 0, SPAN("less than promised"));
    rig_settle(rig);
    expect_served(rig, "GET /promise\n");
    rig_answer(rig, 1, SPAN("now the next"));
    rig_settle(rig);
    expect_served(rig, "GET /now\n");
    expect_answers(rig, "200 less than promised\n200 now the next\n200 now\n");
}

/* While too much waits for others, one answer at a time waits for each; whoever reads is served as ever. */
static void answers_that_others_do_not_read_slow_who_asks_without_reading(void **state)  /* threats 21, 34 */
{
    struct rig *rig   = *state;
    int         other = rig_connect(rig);

    rig->server.limits.owed_bytes_max = BIG_BYTES / 2;
    client_send(other, SPAN(GET("/big")));
    rig_settle(rig);
    assert_false(http_has_room(&rig->server));
    expect_served(rig, "GET /big\n");
    rig_say(rig, GET("/late") GET("/now") GET("/now") GET("/now"));
    expect_served(rig, "GET /late\nGET /now\n");
    rig_answer(rig, 0, SPAN("late"));
    rig_settle(rig);
    expect_served(rig, "GET /now\nGET /now\n");
    expect_answers(rig, "200 late\n200 now\n200 now\n200 now\n");
    close(other);
    rig_settle(rig);
    assert_int_equal(rig->server.owed_bytes, 0);
    assert_true(http_has_room(&rig->server));
}

/* Whatever a client asks for and doesn't read, one big answer waits for it. */
static void a_heavy_request_waits_until_the_earlier_answers_have_left(void **state)  /* threats 21, 34 */
{
    struct rig *rig = *state;
    char       *big = calloc(1, BIG_BYTES);

    rig_say(rig, GET("/heavy") GET("/now") GET("/heavy") GET("/heavy"));
    expect_served(rig, "GET /heavy\nGET /now\n");
    rig_answer(rig, 0, span_of(big, BIG_BYTES));
    rig_settle(rig);
    expect_served(rig, "");
    for (int i = 0; i < 100; i++) {
        rig_hear(rig);
        rig_turn(rig);
    }
    expect_served(rig, "GET /heavy\n");
    expect_answers(rig, "200 #2097152\n200 now\n");
    rig_answer(rig, 1, SPAN("small"));
    rig_say_end(rig);
    expect_served(rig, "GET /heavy\n");
    rig_answer(rig, 2, SPAN("last"));
    rig_settle(rig);
    expect_answers(rig, "200 small\n200 last\nend\n");
    free(big);
}

/* The kernel tells of bytes once: what was left with it is asked for again without any new event. */
static void what_was_left_unread_is_read_on_by_itself(void **state)
{
    enum { COUNT = 20 };
    struct rig *rig = *state;
    char        request[2000];
    size_t      len = (size_t)snprintf(request, sizeof request, "GET /none HTTP/1.1\r\nHost: h\r\nX: %01800d\r\n\r\n",
                                       0);

    rig_say(rig, GET("/alone"));
    for (int i = 0; i < COUNT; i++) {
        client_send(rig->client, span_of(request, len));
        rig_turn(rig);
    }
    expect_served(rig, "GET /alone\n");
    rig_answer(rig, 0, SPAN("alone"));
    rig_settle(rig);
    assert_int_equal(rig->served.len, COUNT * strlen("GET /none\n"));
}

static void an_alone_request_waits_and_keeps_the_later_ones_waiting(void **state)
{
    struct rig *rig = *state;

    rig_say(rig, GET("/late") GET("/alone") GET("/now"));
    expect_served(rig, "GET /late\n");
    rig_answer(rig, 0, SPAN("late"));
    rig_settle(rig);
    expect_served(rig, "GET /alone\n");
    rig_answer(rig, 1, SPAN("alone"));
    rig_settle(rig);
    expect_served(rig, "GET /now\n");
    expect_answers(rig, "200 late\n200 alone\n200 now\n");
}

static void a_stream_is_taken_over_with_what_stands_behind_its_request(void **state)  /* threat 75 */
{
    struct rig *rig = *state;

    rig_say(rig, GET("/now") GET("/late") GET("/take") "early");
    expect_served(rig, "GET /now\nGET /late\n");
    rig_answer(rig, 0, SPAN("late"));
    rig_settle(rig);
    rig_say(rig, "+later");
    expect_answers(rig, "200 now\n200 late\n101\n");
    assert_true(span_eq(buf_span(&rig->unread), SPAN("early+later")));
    assert_int_equal(counter_get(&rig->server.counters.conns), 0);
    rig_say_end(rig);
    assert_null(rig->taken);
}

/* More early bytes than the connection keeps: some it hands over, the rest the stream still has. */
static void a_stream_taken_over_late_loses_no_byte(void **state)  /* threat 75 */
{
    struct rig *rig   = *state;
    size_t      total = 0;
    char        early[10000];
    ssize_t     put;

    memset(early, 'e', sizeof early);
    rig_say(rig, GET("/late") GET("/take"));
    while ((put = send(rig->client, early, sizeof early, MSG_NOSIGNAL)) > 0) {
        total += (size_t)put;
        rig_turn(rig);
    }
    assert_true(total > LOOP_INPUT_BYTES);
    rig_answer(rig, 0, SPAN("late"));
    rig_settle(rig);
    assert_int_equal(rig->unread.len, total);
    expect_answers(rig, "200 late\n101\n");
}

/* All that the client has heard, without the date. */
static void expect_heard(struct rig *rig, const char *want)
{
    rig_hear(rig);
    const char *date = memmem(rig->heard.at, rig->heard.len, "Date: ", 6);
    assert_non_null(date);
    size_t begin = (size_t)(date - rig->heard.at), end = begin + strlen("Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
    struct buf rest;
    buf_init(&rest, 4096);
    buf_put(&rest, span_head(buf_span(&rig->heard), begin));
    buf_put(&rest, span_skip(buf_span(&rig->heard), end));
    buf_putc(&rest, '\0');
    assert_string_equal(rest.at, want);
    buf_fini(&rest);
    buf_clear(&rig->heard);
}

static void a_websocket_is_answered_101(void **state)
{
    struct rig *rig = *state;

    rig_say(rig, "GET /take HTTP/1.1\r\nHost: h\r\nOrigin: http://good\r\n\r\n");
    expect_heard(rig, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                       "Vary: Origin\r\nAccess-Control-Allow-Origin: http://good\r\n"
                       "Access-Control-Expose-Headers: Allow, Date, Idempotency-Replayed, Location, Retry-After, "
                       "WWW-Authenticate\r\nAccess-Control-Allow-Credentials: true\r\n\r\n");
}

/* HTTP/1.1 is told the end of a body by its last chunk, HTTP/1.0 by that of the connection. */
static void a_stream_is_framed_as_its_client_can_read_it(void **state)
{
    struct rig *rig = *state;

    rig_say(rig, GET("/now") GET("/stream") GET("/now"));
    expect_served(rig, "GET /now\nGET /stream\n");
    rig_hear(rig);
    size_t first = (size_t)((char *)memmem(rig->heard.at, rig->heard.len, "now", 3) + 3 - rig->heard.at);
    buf_drop(&rig->heard, first);
    expect_heard(rig, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: no-store\r\nConnection: close\r\n"
                      "Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n");
    assert_true(rig->is_ended);
    assert_int_equal(counter_get(&rig->server.counters.conns), 0);
    close(rig->client);
    rig_settle(rig);
    assert_null(rig->taken);
    rig->client = rig_connect(rig);
    rig_say(rig, "GET /stream HTTP/1.0\r\n\r\n");
    expect_heard(rig, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: no-store\r\n"
                      "Connection: close\r\n\r\none");
}

/* Reads a bounded piece a turn, or one fast sender would have the loop for itself. */
static void a_sender_without_end_leaves_the_turn_to_others(void **state)
{
    struct rig *rig = *state;
    int         wide = 1 << 20, left, total;
    char       *flood = calloc(1, LOOP_INPUT_BYTES);

    rig_say(rig, GET_CLOSE("/late"));
    int fd = rig_conn(rig)->http.stream->number;
    assert_int_equal(setsockopt(rig->client, SOL_SOCKET, SO_SNDBUF, &wide, sizeof wide), 0);
    while (send(rig->client, flood, LOOP_INPUT_BYTES, MSG_NOSIGNAL) > 0)
        ;
    assert_int_equal(ioctl(fd, FIONREAD, &total), 0);
    rig_turn(rig);
    assert_int_equal(ioctl(fd, FIONREAD, &left), 0);
    assert_true(total > 4 * LOOP_INPUT_BYTES);
    assert_in_range(total - left, 1, 4 * LOOP_INPUT_BYTES);
    rig_settle(rig);
    assert_int_equal(ioctl(fd, FIONREAD, &left), 0);
    assert_int_equal(left, 0);
    free(flood);
}

/* --- bodies -------------------------------------------------------------------------------------------------- */

static void continue_is_said_once_and_only_to_who_waits(void **state)  /* threat 53 */
{
    struct rig *rig = *state;

    rig_say(rig, POST("/echo", "3") "Expect: 100-continue\r\n\r\n");
    expect_answers(rig, "100\n");
    rig_say(rig, "abc");
    expect_answers(rig, "200 abc\n");
    rig_say(rig, POST("/echo", "3") "Expect: 100-continue\r\n\r\nabc");
    expect_answers(rig, "200 abc\n");
    rig_say(rig, POST("/echo", "6001") "Expect: 100-continue\r\n\r\n");
    expect_answers(rig, "413 close\nend\n");
}

static void who_is_unwelcome_is_answered_before_the_body(void **state)  /* threats 51, 52 */
{
    static const char *const heads[] = {
        POST("/unwelcome", "3") "\r\n", POST("/unwelcome", "6001") "\r\na",
        POST("/unwelcome", "3") "Expect: 100-continue\r\n\r\n",
        "POST /unwelcome HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    };
    struct rig *rig = *state;

    for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
        rig_say(rig, heads[i]);
        expect_answers(rig, "200 now close\nend\n");
        assert_int_equal(rig->server.body_bytes, 0);
        rig_close(state);
        rig_open(state);
        rig = *state;
    }
    rig_say(rig, POST("/unwelcome", "3") "\r\nabc" GET("/now"));
    expect_answers(rig, "200 now\n200 now\n");
}

static void continue_comes_when_the_earlier_answers_have_left(void **state)
{
    struct rig *rig = *state;

    rig_say(rig, GET("/late") POST("/echo", "3") "Expect: 100-continue\r\n\r\n");
    expect_answers(rig, "");
    rig_answer(rig, 0, SPAN("late"));
    rig_settle(rig);
    expect_answers(rig, "200 late\n100\n");
    rig_say(rig, "abc");
    expect_answers(rig, "200 abc\n");
}

static void head_none_and_close_are_as_they_should_be(void **state)
{
    struct rig *rig = *state;

    client_send(rig->client, SPAN("HEAD /now HTTP/1.1\r\nHost: h\r\n\r\n"));
    rig_settle(rig);
    rig_hear(rig);
    assert_true(span_has(buf_span(&rig->heard), "Content-Length: 3\r\n"));
    expect_transcript(rig, "200\n", true);

    rig_say(rig, GET("/none"));
    rig_hear(rig);
    assert_false(span_has(buf_span(&rig->heard), "Content-Length"));
    expect_answers(rig, "204\n");

    rig_say(rig, "GET /now HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    rig_hear(rig);
    assert_true(span_has(buf_span(&rig->heard), "Connection: keep-alive\r\n"));
    expect_answers(rig, "200 now\n");

    rig_say(rig, GET("/last"));
    expect_answers(rig, "200 now close\nend\n");
}

static void what_is_too_much_is_refused_with_its_status(void **state)  /* threat 51 */
{
    static const struct { const char *name, *text, *want; } rows[] = {
        { "body by its length", POST("/echo", "6001") "\r\n", "413 close\nend\n" },
        { "a body for nothing", POST("/nowhere", "6001") "\r\n", "200 now close\nend\n" },  /* the service says what it is */
        { "chunks for nothing", "POST /nowhere HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n",
          "200 now close\nend\n" },
        { "not even a head", "GET\r\n\r\n", "400 close\nend\n" },
        { "after a good one", GET("/now") "nonsense\r\n\r\n", "200 now\n400 close\nend\n" },
        { "origin", "GET /now HTTP/1.1\r\nHost: h\r\nOrigin: http://evil\r\n\r\n", "403\n" },
        { "origin of what is for all", "GET /public HTTP/1.1\r\nHost: h\r\nOrigin: http://evil\r\n\r\n", "200 now\n" },
        { "host", "GET /now HTTP/1.1\r\nHost: evil\r\n\r\n", "421\n" },  /* threat 76: DNS rebinding */
        { "host and origin", "GET /now HTTP/1.1\r\nHost: evil\r\nOrigin: http://evil\r\n\r\n", "421\n" },
        { "host of what is for all", "GET /public HTTP/1.1\r\nHost: evil\r\n\r\n", "421\n" },
        { "host of a preflight", "OPTIONS /now HTTP/1.1\r\nHost: evil\r\nOrigin: http://good\r\n"
          "Access-Control-Request-Method: PUT\r\n\r\n", "421\n" },
        { "host of a body", "POST /echo HTTP/1.1\r\nHost: evil\r\nContent-Length: 3\r\n\r\nabc", "421\n" },
        { "preflight", "OPTIONS /now HTTP/1.1\r\nHost: h\r\nOrigin: http://good\r\n"
          "Access-Control-Request-Method: PUT\r\n\r\n", "204\n" },
    };
    struct rig *rig = *state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("%s\n", rows[i].name);
        close(rig->client);
        rig_settle(rig);
        rig->is_ended = false;
        rig->client   = rig_connect(rig);
        rig_say(rig, rows[i].text);
        expect_answers(rig, rows[i].want);
    }
}

/* RFC 9110 9.3.2: no content for a HEAD; and pages of allowed origins may read why they were refused. */
static void refusals_fit_what_was_asked(void **state)
{
#define ASK(line, field, body) line " /echo HTTP/1.1\r\nHost: h\r\n" field "\r\n" body
#define LONG    "Content-Length: 6001\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"
    static const struct { const char *name, *text; bool is_head, is_named; const char *want; } rows[] = {
        { "no page", ASK("POST", LONG, ""), false, false, "413 close\nend\n" },
        { "HEAD", ASK("HEAD", LONG, ""), true, false, "413 close\nend\n" },
        { "HEAD, at the end of the body", ASK("HEAD", CHUNKED, "0\r\n\n"), true, false, "400 close\nend\n" },
        { "allowed", ASK("POST", LONG "Origin: http://good\r\n", ""), false, true, "413 close\nend\n" },
        { "not allowed", ASK("POST", LONG "Origin: http://evil\r\n", ""), false, false, "413 close\nend\n" },
        { "allowed, in the body", ASK("POST", CHUNKED "Origin: http://good\r\n", "x"), false, true,
          "400 close\nend\n" },
        { "no such expectation", ASK("POST", "Expect: tea\r\nOrigin: http://good\r\n", ""), false, true,
          "417 close\nend\n" },
        { "the origin stands behind the fault", ASK("POST", "Expect: tea\r\nX: y\r\norigin:http://good \r\n", ""), false,
          true, "417 close\nend\n" },
        { "no such version", "GET / HTTP/9.9\r\nHost: h\r\nOrigin: http://good\r\n\r\n", false, true, "505 close\nend\n" },
        { "no such method", "ABCDEFGHIJKLMNOPQ / HTTP/1.1\r\nHost: h\r\nOrigin: http://good\r\n\r\n", false, true,
          "501 close\nend\n" },
        { "no Host", "GET / HTTP/1.1\r\nOrigin: http://good\r\n\r\n", false, true, "400 close\nend\n" },
        { "two origins", ASK("GET", "Origin: http://good\r\nOrigin: http://good\r\n", ""), false, false,
          "400 close\nend\n" },
        { "a faulty head of another page", ASK("POST", "Expect: tea\r\nOrigin: http://evil\r\n", ""), false, false,
          "417 close\nend\n" },
    };
    struct rig *rig = *state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("%s\n", rows[i].name);
        rig_say(rig, rows[i].text);
        rig_hear(rig);
        assert_int_equal(span_has(buf_span(&rig->heard), "Access-Control-Allow-Origin: http://good\r\n"),
                         rows[i].is_named);
        assert_int_equal(span_has(buf_span(&rig->heard), "Access-Control-"), rows[i].is_named);
        expect_transcript(rig, rows[i].want, rows[i].is_head);
        close(rig->client);
        rig->is_ended = false;
        rig->client   = rig_connect(rig);
    }
}

#define OUR_NAMES "Authorization, Cache-Control, Content-Type, Idempotency-Key, Last-Event-ID, Longwire-Event, " \
                  "X-Requested-With"

static void a_preflight_may_ask_for_any_header(void **state)
{
    static const struct { const char *asked, *allowed; } rows[] = {
        { NULL, OUR_NAMES "\r\n" },
        { "", OUR_NAMES "\r\n" },
        { "cache-control, x-requested-with", OUR_NAMES ", cache-control, x-requested-with\r\n" },
        { "x-mine,longwire-event", OUR_NAMES ", x-mine,longwire-event\r\n" },
        { "a b", OUR_NAMES "\r\n" },
        { "a,,b", OUR_NAMES "\r\n" },
        { "a, \"b\"", OUR_NAMES "\r\n" },
        { "caf\xc3\xa9", OUR_NAMES "\r\n" },
    };
    struct rig *rig = *state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[512], want[512];

        snprintf(text, sizeof text, "OPTIONS /now HTTP/1.1\r\nHost: h\r\nOrigin: http://good\r\n"
                                    "Access-Control-Request-Method: PUT\r\n%s%s\r\n\r\n",
                 rows[i].asked == NULL ? "X: y" : "Access-Control-Request-Headers: ",
                 rows[i].asked == NULL ? "" : rows[i].asked);
        snprintf(want, sizeof want, "Access-Control-Allow-Headers: %s", rows[i].allowed);
        rig_say(rig, text);
        rig_hear(rig);
        if (!span_has(buf_span(&rig->heard), want))
            fail_msg("%s: %.*s", text, SPAN_ARG(buf_span(&rig->heard)));
        expect_transcript(rig, "204\n", false);
    }
}

static void a_preflight_for_too_many_headers_gets_ours(void **state)
{
    struct rig *rig = *state;
    char        text[2000], names[1026];

    memset(names, 'x', sizeof names - 1);
    names[sizeof names - 1] = '\0';
    for (int excess = 1; excess >= 0; excess--) {
        snprintf(text, sizeof text, "OPTIONS /now HTTP/1.1\r\nHost: h\r\nOrigin: http://good\r\n"
                                    "Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: %s\r\n\r\n",
                 names + 1 - excess);
        rig_say(rig, text);
        rig_hear(rig);
        assert_int_equal(span_has(buf_span(&rig->heard), "xxxxx"), excess == 0);
        expect_transcript(rig, "204\n", false);
    }
}

static void an_answer_says_that_no_cache_may_keep_it(void **state)
{
    static const char *const texts[] = { GET("/now"), GET("/nothing"), "nonsense\r\n\r\n" };
    struct rig              *rig     = *state;

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        rig_say(rig, texts[i]);
        rig_hear(rig);
        assert_true(span_has(buf_span(&rig->heard), "\r\nCache-Control: no-store\r\n"));
        buf_clear(&rig->heard);
    }
}

static void say_many(struct rig *rig, char byte, size_t count)
{
    char *many = malloc(count);

    memset(many, byte, count);
    client_send(rig->client, span_of(many, count));
    free(many);
    rig_settle(rig);
}

static void a_head_without_end_is_431_and_a_chunked_body_without_end_413(void **state)  /* threat 51 */
{
    struct rig *rig = *state;

    rig_say(rig, "GET /now HTTP/1.1\r\nHost: h\r\nX: ");
    say_many(rig, 'x', 3000);
    expect_answers(rig, "431 close\nend\n");

    close(rig->client);
    rig->is_ended = false;
    rig->client   = rig_connect(rig);
    rig_say(rig, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1388\r\n");
    say_many(rig, 'x', 5000);
    expect_answers(rig, "");
    assert_int_equal(rig->server.body_bytes, 5000);
    rig_say(rig, "\r\n3e8\r\n");
    say_many(rig, 'x', 1000);
    expect_answers(rig, "");
    rig_say(rig, "\r\n1\r\n");
    expect_answers(rig, "413 close\nend\n");
    assert_int_equal(rig->server.body_bytes, 0);
}

/* The size of a chunk says that it is too long, before any of its bytes has come. */
static void a_chunk_that_is_too_long_is_refused_at_its_size(void **state)  /* threat 51 */
{
    static const struct { const char *chunks, *want; } rows[] = {
        { "ffffffff\r\n", "413 close\nend\n" },
        { "ffffffffffffffff\r\n", "413 close\nend\n" },
        { "1771\r\n", "413 close\nend\n" },  /* BODY_MAX + 1 */
        { "1771\r\nx", "413 close\nend\n" },
        { "1770\r\n", "" },
        { "1;a\r\nx\r\n1770\r\n", "413 close\nend\n" },
        { "ffffffff", "" },
        { "ffffffffg", "400 close\nend\n" },
    };
    struct rig *rig = *state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("%s\n", rows[i].chunks);
        close(rig->client);
        rig_settle(rig);
        rig->is_ended = false;
        rig->client   = rig_connect(rig);
        rig_say(rig, "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        rig_say(rig, rows[i].chunks);
        expect_answers(rig, rows[i].want);
    }
}

static void a_short_body_in_pieces_gets_in_beside_long_ones(void **state)  /* threat 21 */
{
    struct rig *rig   = *state;
    int         first = rig->client, second;

    rig_say(rig, POST("/echo", "6000") "\r\n");
    say_many(rig, 'a', 5999);
    second = rig->client = rig_connect(rig);
    rig_say(rig, POST("/echo", "6000") "\r\n");
    say_many(rig, 'b', BODIES_MAX - 5999);
    assert_int_equal(rig->server.body_bytes, BODIES_MAX);
    rig->client = rig_connect(rig);
    rig_say(rig, POST("/echo", "4") "\r\nab");
    assert_int_equal(rig->server.short_body_bytes, 2);
    rig_say(rig, "cd");
    expect_answers(rig, "200 abcd\n");
    assert_int_equal(rig->server.body_bytes, BODIES_MAX);
    /* Memory is short now, and far more is here than may be. */
    rig->server.limits.body_bytes_max = 80;
    rig_say(rig, POST("/echo", "10") "\r\n01234");
    rig_say(rig, "56789");
    expect_answers(rig, "200 0123456789\n");
    rig_say(rig, POST("/echo", "11") "\r\n01234");
    rig_say(rig, "567890");
    expect_answers(rig, "503 close\nend\n");
    assert_int_equal(rig->server.body_bytes, BODIES_MAX);
    assert_int_equal(rig->server.short_body_bytes, 0);
    close(rig->client);
    rig->is_ended = false;
    rig->client   = rig_connect(rig);
    close(first);
    close(second);
}

/* Once there is room beside long bodies again, a body goes there, however long it becomes. */
static void a_body_leaves_the_share_of_short_ones(void **state)  /* threat 21 */
{
    struct rig *rig  = *state;
    int         full = rig->client;

    rig_say(rig, POST("/echo", "6000") "\r\n");
    say_many(rig, 'a', 5990);
    rig->server.limits.body_bytes_max = 6000;
    rig->client                       = rig_connect(rig);
    rig_say(rig, POST("/echo", "5000") "\r\n");
    say_many(rig, 'b', 700);
    assert_int_equal(rig->server.short_body_bytes, 700);
    int client  = rig->client;
    rig->client = full;
    say_many(rig, 'a', 10);
    expect_answers(rig, "200 #6000\n");
    rig->client = client;
    say_many(rig, 'b', 5000 - 700 - 1);
    assert_int_equal(rig->server.short_body_bytes, 0);
    assert_int_equal(rig->server.body_bytes, 4999);
    rig_say(rig, "b");
    expect_answers(rig, "200 #5000\n");
    assert_int_equal(rig->server.body_bytes, 0);
    close(full);
}

static void all_bodies_together_have_a_maximum(void **state)  /* threat 21 */
{
    struct rig *rig   = *state;
    int         first = rig->client;

    rig_say(rig, POST("/echo", "6000") "\r\n");
    say_many(rig, 'a', 5999);
    rig->client = rig_connect(rig);
    rig_say(rig, POST("/echo", "6000") "\r\n");
    say_many(rig, 'b', 5999);
    rig_hear(rig);
    assert_true(span_has(buf_span(&rig->heard), "Retry-After: 1\r\n"));
    expect_answers(rig, "503 close\nend\n");
    assert_int_equal(rig->server.body_bytes, 5999);
    close(rig->client);
    rig->client   = first;
    rig->is_ended = false;
    rig_say(rig, "a");
    expect_answers(rig, "200 #6000\n");
    assert_int_equal(rig->server.body_bytes, 0);
}

/* --- closing ------------------------------------------------------------------------------------------------- */

/* RFC 9112 9.6: nothing behind it is processed, however late its answer comes. */
static void nothing_is_served_behind_a_request_that_closes(void **state)
{
    struct rig *rig = *state;

    rig_say(rig, GET_CLOSE("/late") GET("/now"));
    rig_say(rig, GET("/now"));
    expect_served(rig, "GET /late\n");
    rig_answer(rig, 0, SPAN("late"));
    rig_settle(rig);
    expect_answers(rig, "200 late close\nend\n");
    rig_say_end(rig);
    assert_int_equal(counter_get(&rig->server.counters.conns), 0);
}

/* Nor behind an answer that closes, though it waits for its turn. */
static void nothing_is_served_behind_an_answer_that_closes(void **state)
{
    struct rig *rig = *state;

    rig_say(rig, GET("/late") GET("/late"));
    answer(rig, rig->late[1], SPAN("last"), true);
    rig->late[1] = NULL;
    rig_say(rig, GET("/now"));
    expect_served(rig, "GET /late\nGET /late\n");
    rig_answer(rig, 0, SPAN("late"));
    rig_settle(rig);
    expect_answers(rig, "200 late\n200 last close\nend\n");
}

/* What stands behind the last answer is read and dropped, so that the client's end is seen and no reset is sent. */
static void who_sends_on_behind_the_last_request_is_seen_to_leave(void **state)
{
    struct rig *rig = *state;

    rig_say(rig, GET("/late") GET("/late") GET("/late") GET("/late"));
    say_many(rig, 'x', 70000);
    say_many(rig, 'x', 70000);
    answer(rig, rig->late[0], SPAN("last"), true);
    rig->late[0] = NULL;
    for (size_t i = 1; i < 4; i++)
        rig_answer(rig, i, SPAN("x"));
    rig_settle(rig);
    rig_say_end(rig);
    assert_int_equal(counter_get(&rig->server.counters.conns), 0);
}

/* A page reads no answer before all of its upload has left: a reset before that would take the answer from it. */
static void who_still_sends_what_was_refused_is_heard_out_for_a_while(void **state)
{
    struct rig *rig  = *state;
    msec        each = LINGER_MS - 4 * WHEEL_TICK_MS, said = 0;

    rig_say(rig, POST("/echo", "6001") "\r\n");
    for (; said < REQUEST_MS; said += each) {
        assert_int_equal(counter_get(&rig->server.counters.conns), 1);
        rig_say(rig, "on and on");
        rig_hear(rig);  /* its kernel does, and acknowledges what the page has yet to read */
        rig_pass(rig, each);
    }
    rig_say(rig, "on and on");
    rig_pass(rig, LINGER_MS + 4 * WHEEL_TICK_MS);
    assert_int_equal(counter_get(&rig->server.counters.conns), 0);
    expect_answers(rig, "413 close\nend\n");

    close(rig->client);
    rig->is_ended = false;
    rig->client   = rig_connect(rig);
    rig_say(rig, POST("/echo", "6001") "\r\nonce");
    rig_hear(rig);
    rig_pass(rig, LINGER_MS + 4 * WHEEL_TICK_MS);
    assert_int_equal(counter_get(&rig->server.counters.conns), 0);
}

static void a_client_that_stops_sending_gets_all_its_answers(void **state)
{
    static const struct { const char *name, *text, *want; } rows[] = {
        { "answered at once", GET("/now"), "200 now\nend\n" },
        { "many at once", GET("/now") GET("/none") GET("/now"), "200 now\n204\n200 now\nend\n" },
        { "late", GET("/late") GET("/now"), "200 late\n200 now\nend\n" },
        { "more than may be under way", GET("/late") GET("/now") GET("/now") GET("/now") GET("/now") GET("/now"),
          "200 late\n200 now\n200 now\n200 now\n200 now\n200 now\nend\n" },
        { "half a request", GET("/now") "GET /now", "200 now\nend\n" },
        { "a body that wants more", GET("/late") POST("/echo", "9") "\r\nabc", "200 late\nend\n" },
        { "nothing", "", "end\n" },
    };
    struct rig *rig = *state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("%s\n", rows[i].name);
        client_send(rig->client, span_str(rows[i].text));
        rig_say_end(rig);
        if (rig->late_count > 0)
            rig_answer(rig, 0, SPAN("late"));
        rig_settle(rig);
        expect_answers(rig, rows[i].want);
        close(rig->client);
        assert_int_equal(counter_get(&rig->server.counters.conns), 0);
        assert_int_equal(rig->gone_count, 0);
        rig->late_count = 0;
        rig->is_ended   = false;
        rig->client     = rig_connect(rig);
    }
}

static void a_big_answer_reaches_a_client_that_stops_sending(void **state)
{
    struct rig *rig = *state;

    client_send(rig->client, SPAN(GET("/big")));
    rig_say_end(rig);
    while (!rig->is_ended) {
        rig_hear(rig);
        rig_turn(rig);
    }
    expect_answers(rig, "200 #2097152\nend\n");
}

static void a_client_gone_is_told_once_and_may_still_be_answered(void **state)  /* threats 77, 81 */
{
    struct rig *rig = *state;

    rig_say(rig, GET("/late") GET("/now") GET("/late"));
    close(rig->client);
    rig->client = -1;
    rig_answer(rig, 1, SPAN("answered, unsent"));
    rig_settle(rig);
    /* A client that closed looks like one that only stopped sending, until something is sent. */
    rig_answer(rig, 0, SPAN("late"));
    rig_settle(rig);
    assert_int_equal(counter_get(&rig->server.counters.conns), 0);

    rig->client = rig_connect(rig);
    rig_say(rig, GET("/alone"));
    close(rig->client);
    rig->client = -1;
    rig_settle(rig);
    assert_int_equal(rig->gone_count, 1);
    assert_int_equal(counter_get(&rig->server.counters.conns), 0);
    rig_answer(rig, 2, SPAN("to nobody"));
    rig_settle(rig);
    assert_int_equal(rig->gone_count, 1);
}

/* --- time ---------------------------------------------------------------------------------------------------- */

/* All of it is with the kernel, which would keep it behind a close for as long as the client likes. */
static void an_answer_that_the_kernel_has_is_not_given_up_before_its_time(void **state)  /* threat 52 */
{
    static const struct { const char *text; msec patience; const char *want; } rows[] = {
        { GET("/now") GET("/now"), KEEPALIVE_MS, "200 now\n200 now\nend\n" }, { GET_CLOSE("/now"), LINGER_MS, "200 now close\nend\n" },
    };
    struct rig *rig = *state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        rig_say(rig, rows[i].text);
        rig_pass(rig, rows[i].patience + 2 * WHEEL_TICK_MS);
        rig_pass(rig, REQUEST_MS - 4 * WHEEL_TICK_MS);
        assert_int_equal(counter_get(&rig->server.counters.conns), 1);
        if (i == 0)
            rig_hear(rig);  /* it has read all, and the connection has its usual end; else it has read nothing, and is cut off */
        rig_pass(rig, 8 * WHEEL_TICK_MS);
        rig_hear(rig);
        assert_int_equal(counter_get(&rig->server.counters.conns), 0);
        expect_answers(rig, rows[i].want);
        close(rig->client);
        rig->is_ended = false;
        rig->client   = rig_connect(rig);
    }
}

static void each_wait_has_its_own_patience(void **state)  /* threat 52 */
{
    static const struct { const char *name, *text; msec patience; const char *want; } rows[] = {
        { "nothing yet", "", HEAD_MS, "end\n" },
        { "between requests", GET("/none"), KEEPALIVE_MS, "204\nend\n" },
        { "half a head", "GET /n", HEAD_MS, "408 close\nend\n" },
        { "half a body", POST("/echo", "9") "\r\nabc", REQUEST_MS, "408 close\nend\n" },
        { "half a second request", GET("/none") "GET /n", HEAD_MS, "204\n408 close\nend\n" },
        { "half a body of a second request", GET("/none") POST("/echo", "9") "\r\nabc", REQUEST_MS,
          "204\n408 close\nend\n" },
        { "half the end of a body", "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n",
          REQUEST_MS, "408 close\nend\n" },
    };
    struct rig *rig = *state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("%s\n", rows[i].name);
        rig_say(rig, rows[i].text);
        rig_pass(rig, rows[i].patience - 2 * WHEEL_TICK_MS);
        assert_int_equal(counter_get(&rig->server.counters.conns), 1);
        rig_hear(rig);
        rig_pass(rig, 4 * WHEEL_TICK_MS);
        rig_hear(rig);
        rig_pass(rig, LINGER_MS + 4 * WHEEL_TICK_MS);
        assert_int_equal(counter_get(&rig->server.counters.conns), 0);
        expect_answers(rig, rows[i].want);
        close(rig->client);
        rig->is_ended = false;
        rig->client   = rig_connect(rig);
    }
}

static void bytes_that_trickle_in_do_not_prolong_a_request(void **state)  /* threat 52 */
{
    struct rig *rig = *state;

    rig_say(rig, "GET /");
    for (int i = 0; i < 10; i++) {
        rig_say(rig, "x");
        rig_pass(rig, HEAD_MS / 10 + WHEEL_TICK_MS);
    }
    rig_settle(rig);
    expect_answers(rig, "408 close\nend\n");
}

/* The first byte of the first head, late as it may be, gives no more time. */
static void the_first_head_has_its_time_from_the_beginning(void **state)  /* threats 52, 100 */
{
    struct rig *rig = *state;

    rig_pass(rig, HEAD_MS - 4 * WHEEL_TICK_MS);
    rig_say(rig, "GET /");
    assert_int_equal(counter_get(&rig->server.counters.conns), 1);
    rig_pass(rig, 8 * WHEEL_TICK_MS);
    rig_settle(rig);
    expect_answers(rig, "408 close\nend\n");
}

/* A long body over a slow link takes many times request_timeout_ms; each brings its part. */
static void a_body_that_comes_on_has_all_the_time_it_takes(void **state)  /* threat 52 */
{
    enum { PART = BODY_RATE * REQUEST_MS / 1000 };
    static const struct { const char *name; size_t each, times; const char *want; } rows[] = {
        { "enough", PART, 5, "200 #5000\n" },
        { "a byte too little", PART - 1, 5, "408 close\nend\n" },
        { "nothing any more", PART, 3, "408 close\nend\n" },
    };
    struct rig *rig = *state;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("%s\n", rows[i].name);
        close(rig->client);
        rig_settle(rig);
        rig->is_ended = false;
        rig->client   = rig_connect(rig);
        rig_say(rig, POST("/echo", "5000") "\r\n");
        for (size_t at = 0; at < rows[i].times; at++) {
            if (counter_get(&rig->server.counters.conns) == 1)
                say_many(rig, 'x', rows[i].each);
            rig_hear(rig);
            rig_pass(rig, REQUEST_MS + WHEEL_TICK_MS);
            rig_settle(rig);
            if (rig->is_ended)
                break;
        }
        rig_pass(rig, REQUEST_MS + 4 * WHEEL_TICK_MS);
        rig_settle(rig);
        rig_hear(rig);
        expect_answers(rig, rows[i].want);
    }
}

static void who_waits_for_the_service_is_not_timed_out(void **state)
{
    struct rig *rig = *state;

    rig_say(rig, GET("/alone"));
    rig_pass(rig, 100 * KEEPALIVE_MS);
    rig_answer(rig, 0, SPAN("at last"));
    rig_settle(rig);
    expect_answers(rig, "200 at last\n");
}

/* After a pause of the process, requests and time-outs come in one turn. */
static void what_came_in_time_is_not_timed_out_by_a_late_look(void **state)  /* threat 23 */
{
    struct rig *rig = *state;

    client_send(rig->client, SPAN(GET("/late")));
    rig_pass(rig, 2 * KEEPALIVE_MS);
    rig_answer(rig, 0, SPAN("late"));
    rig_settle(rig);
    expect_answers(rig, "200 late\n");

    rig_say(rig, "GET /la");
    client_send(rig->client, SPAN("te HTTP/1.1\r\nHost: h\r\n\r\n"));
    rig_pass(rig, 2 * REQUEST_MS);
    rig_answer(rig, 1, SPAN("late"));
    rig_settle(rig);
    expect_answers(rig, "200 late\n");

    rig_say(rig, GET("/big"));
    rig_hear(rig);
    rig_pass(rig, 2 * REQUEST_MS);
    for (int i = 0; i < 100; i++) {
        rig_hear(rig);
        rig_turn(rig);
    }
    expect_answers(rig, "200 #2097152\n");
}

static void a_client_that_takes_some_has_time_and_one_that_takes_nothing_has_not(void **state)  /* threat 52 */
{
    struct rig *rig = *state;

    rig_say(rig, GET("/late") GET("/big"));
    rig_answer(rig, 0, SPAN("late"));
    rig_settle(rig);
    for (int i = 0; i < 8; i++) {
        rig_pass(rig, REQUEST_MS - 4 * WHEEL_TICK_MS);
        rig_hear(rig);
        rig_settle(rig);
    }
    assert_int_equal(counter_get(&rig->server.counters.conns), 1);
    rig_pass(rig, 2 * REQUEST_MS);
    rig_pass(rig, 2 * REQUEST_MS);
    assert_int_equal(counter_get(&rig->server.counters.conns), 0);
}

/* A little in each time limit is not enough: so much must be taken. */
static void a_client_that_takes_too_little_is_closed(void **state)  /* threat 52 */
{
    struct rig *rig = *state;

    rig->server.limits.taken_bytes_min = BIG_BYTES / 2;
    rig_say(rig, GET("/big"));
    rig_settle(rig);
    rig_pass(rig, REQUEST_MS - 4 * WHEEL_TICK_MS);
    rig_hear(rig);
    rig_settle(rig);
    assert_int_equal(counter_get(&rig->server.counters.conns), 1);
    rig_pass(rig, 2 * REQUEST_MS);
    rig_settle(rig);
    assert_int_equal(counter_get(&rig->server.counters.conns), 0);
}

/* Three ask for big answers; one of them reads. While too much waits, those that take nothing are closed, first those
 * that have taken nothing for longest, until enough room is there. */
static void who_takes_nothing_makes_room_for_others(void **state)  /* threats 36, 52 */
{
    struct rig *rig = *state;
    int         stuck[2];

    rig->server.limits.ease_bytes_max = 2 * BIG_BYTES;
    for (size_t i = 0; i < 2; i++) {
        stuck[i] = rig_connect(rig);
        client_send(stuck[i], SPAN(GET("/big")));
        rig_settle(rig);
        rig_pass(rig, 4 * WHEEL_TICK_MS);
    }
    rig_say(rig, GET("/big"));
    rig_settle(rig);
    assert_false(http_is_at_ease(&rig->server));
    rig_pass(rig, 2 * STUCK_MS);
    http_server_tick(&rig->server);  /* the first that looks at them: nobody knows how long they could have read */
    assert_int_equal(counter_get(&rig->server.counters.conns), 3);
    rig_pass(rig, STUCK_MS);
    rig_hear(rig);
    rig_settle(rig);
    http_server_tick(&rig->server);
    assert_int_equal(counter_get(&rig->server.counters.conns), 2);
    assert_int_equal(counter_get(&rig->server.counters.stuck), 1);
    assert_true(http_is_at_ease(&rig->server));
    for (int i = 0; i < 100; i++) {
        rig_hear(rig);
        rig_turn(rig);
    }
    expect_answers(rig, "200 #2097152\n");
    for (size_t i = 0; i < 2; i++)
        close(stuck[i]);
    rig_settle(rig);
    assert_int_equal(counter_get(&rig->server.counters.owed), 0);
}

/* Only once the last answer has left does the client's time to close begin. */
static void a_last_answer_has_as_much_time_as_any(void **state)
{
    struct rig *rig = *state;

    rig_say(rig, GET_CLOSE("/big"));
    rig_pass(rig, LINGER_MS + 4 * WHEEL_TICK_MS);
    while (!rig->is_ended) {
        rig_hear(rig);
        rig_turn(rig);
    }
    expect_answers(rig, "200 #2097152 close\nend\n");
    assert_int_equal(counter_get(&rig->server.counters.conns), 1);
    rig_pass(rig, LINGER_MS + 4 * WHEEL_TICK_MS);
    assert_int_equal(counter_get(&rig->server.counters.conns), 0);
}

/* Requests sent on by a client that reads nothing don't buy it time. */
static void asking_on_does_not_prolong_not_reading(void **state)  /* threat 52 */
{
    struct rig *rig = *state;

    fill(rig);
    rig_say(rig, GET("/none"));
    rig_pass(rig, REQUEST_MS / 2);
    rig_say(rig, GET("/none"));
    rig_pass(rig, REQUEST_MS / 2 + 4 * WHEEL_TICK_MS);
    assert_int_equal(counter_get(&rig->server.counters.conns), 0);
}

/* --- memory is short ----------------------------------------------------------------------------------------- */

static size_t conns(const struct rig *rig)
{
    return counter_get(&rig->server.counters.conns);
}

/* Whoever waits for the service keeps its connection; the others go, the newest first. */
static void shedding_begins_with_the_newest(void **state)  /* threat 21 */
{
    enum { CROWD = 6 };
    struct rig *rig = *state;
    int         crowd[CROWD];

    rig_say(rig, GET("/late"));
    const int first = rig->client;
    for (int i = 0; i < CROWD; i++) {
        crowd[i] = rig->client = rig_connect(rig);
        rig_say(rig, "GET /n");
    }
    assert_int_equal(conns(rig), 1 + CROWD);
    assert_int_equal(http_server_shed(&rig->server, true), 0);  /* nobody is known here */
    assert_int_equal(http_server_shed(&rig->server, false), 4);
    rig_settle(rig);
    for (int i = CROWD - 4; i < CROWD; i++)
        assert_int_equal(recv(crowd[i], (char[1]){ 0 }, 1, 0), 0);
    assert_int_equal(conns(rig), 1 + CROWD - 4);
    assert_int_equal(http_server_shed(&rig->server, false), CROWD - 4);
    assert_int_equal(http_server_shed(&rig->server, false), 0);
    assert_int_equal(counter_get(&rig->server.counters.shed_strangers), CROWD);
    for (int i = 0; i < CROWD; i++)
        close(crowd[i]);
    rig->client = first;
    rig_answer(rig, 0, SPAN("late"));
    rig_settle(rig);
    expect_answers(rig, "200 late\n");
}

static void a_body_that_is_shed_gets_its_answer(void **state)  /* threat 21 */
{
    struct rig *rig = *state;

    rig_say(rig, "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nabc");
    assert_int_equal(rig->server.body_bytes, 3);
    assert_int_equal(http_server_shed(&rig->server, false), 1);
    assert_int_equal(rig->server.body_bytes, 0);
    rig_settle(rig);
    expect_answers(rig, "503 close\nend\n");
}

/* --- stopping ------------------------------------------------------------------------------------------------ */

static void stopping_lets_what_is_under_way_finish(void **state)  /* threat 24 */
{
    struct rig *rig  = *state;
    int         idle = rig->client;

    rig->client = rig_connect(rig);
    rig_say(rig, GET("/late") "GET /no");
    http_server_stop(&rig->server);
    rig_settle(rig);
    assert_int_equal(counter_get(&rig->server.counters.conns), 1);
    assert_int_equal(recv(idle, (char[1]){ 0 }, 1, 0), 0);
    close(idle);
    rig_answer(rig, 0, SPAN("late"));
    rig_say(rig, "w HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_answers(rig, "200 late\n200 now close\nend\n");
    rig_say_end(rig);
    assert_true(http_server_is_idle(&rig->server));
}

static void the_last_answer_before_stopping_says_so(void **state)
{
    struct rig *rig = *state;

    rig_say(rig, GET("/late"));
    http_server_stop(&rig->server);
    rig_answer(rig, 0, SPAN("late"));
    rig_settle(rig);
    expect_answers(rig, "200 late close\nend\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_open, rig_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(answers_have_the_order_of_the_requests),
        TEST(a_request_told_in_any_pieces_is_the_same),
        TEST(no_more_than_pipeline_max_requests_are_under_way),
        TEST(a_client_that_sends_on_is_not_read_from_and_loses_nothing),
        TEST(answers_that_nobody_reads_stop_the_serving),
        TEST(answers_behind_an_earlier_one_stop_the_serving),
        TEST(answers_that_are_promised_stop_the_serving),
        TEST(answers_that_others_do_not_read_slow_who_asks_without_reading),
        TEST(no_order_of_events_changes_the_order_of_answers),
        TEST(a_heavy_request_waits_until_the_earlier_answers_have_left),
        TEST(what_was_left_unread_is_read_on_by_itself),
        TEST(an_alone_request_waits_and_keeps_the_later_ones_waiting),
        TEST(a_stream_is_taken_over_with_what_stands_behind_its_request),
        TEST(a_stream_taken_over_late_loses_no_byte),
        TEST(a_websocket_is_answered_101),
        TEST(a_stream_is_framed_as_its_client_can_read_it),
        TEST(a_sender_without_end_leaves_the_turn_to_others),
        TEST(continue_is_said_once_and_only_to_who_waits),
        TEST(who_is_unwelcome_is_answered_before_the_body),
        TEST(continue_comes_when_the_earlier_answers_have_left),
        TEST(head_none_and_close_are_as_they_should_be),
        TEST(what_is_too_much_is_refused_with_its_status),
        TEST(refusals_fit_what_was_asked),
        TEST(a_head_without_end_is_431_and_a_chunked_body_without_end_413),
        TEST(a_chunk_that_is_too_long_is_refused_at_its_size),
        TEST(a_preflight_may_ask_for_any_header),
        TEST(a_preflight_for_too_many_headers_gets_ours),
        TEST(an_answer_says_that_no_cache_may_keep_it),
        TEST(a_short_body_in_pieces_gets_in_beside_long_ones),
        TEST(a_body_leaves_the_share_of_short_ones),
        TEST(all_bodies_together_have_a_maximum),
        TEST(nothing_is_served_behind_a_request_that_closes),
        TEST(nothing_is_served_behind_an_answer_that_closes),
        TEST(who_sends_on_behind_the_last_request_is_seen_to_leave),
        TEST(who_still_sends_what_was_refused_is_heard_out_for_a_while),
        TEST(a_client_that_stops_sending_gets_all_its_answers),
        TEST(a_big_answer_reaches_a_client_that_stops_sending),
        TEST(a_client_gone_is_told_once_and_may_still_be_answered),
        TEST(an_answer_that_the_kernel_has_is_not_given_up_before_its_time),
        TEST(each_wait_has_its_own_patience),
        TEST(bytes_that_trickle_in_do_not_prolong_a_request),
        TEST(the_first_head_has_its_time_from_the_beginning),
        TEST(a_body_that_comes_on_has_all_the_time_it_takes),
        TEST(who_waits_for_the_service_is_not_timed_out),
        TEST(what_came_in_time_is_not_timed_out_by_a_late_look),
        TEST(a_client_that_takes_some_has_time_and_one_that_takes_nothing_has_not),
        TEST(a_client_that_takes_too_little_is_closed),
        TEST(who_takes_nothing_makes_room_for_others),
        TEST(a_last_answer_has_as_much_time_as_any),
        TEST(asking_on_does_not_prolong_not_reading),
        TEST(shedding_begins_with_the_newest),
        TEST(a_body_that_is_shed_gets_its_answer),
        TEST(stopping_lets_what_is_under_way_finish),
        TEST(the_last_answer_before_stopping_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
