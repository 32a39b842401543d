/* HTTP connections over simulated links: short reads, short writes, and a cut at every byte change nothing but the time
 * at which the same bytes come, and leave nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "http/http.h"
#include "http/ws_upgrade.h"
#include "reactor/loop_sim.h"

#include <cmocka.h>

enum { LATE_MAX = 8, SEEDS = 300, REQUEST_MS = 10000, PARTS = 3 };

/* Writes a body's parts to an opened stream, however little it takes. */
struct speaker {
    struct stream *stream;  /* NULL: closed */
    struct buf     out;
};

struct rig {
    struct loop_sim       sim;
    struct http_server    server;
    struct sim_link      *link;
    struct speaker        speaker;
    struct http_exchange *late[LATE_MAX];
    size_t                late_count, gone_count, served;
    struct buf            heard;
};

/* --- the service --------------------------------------------------------------------------------------------- */

static bool opens(struct span path)
{
    return span_eq(path, SPAN("/stream")) || span_eq(path, SPAN("/ws"));
}

static struct http_plan rig_plan(void *ctx, const struct http_request *request)
{
    (void)ctx;
    return (struct http_plan){ .body_bytes_max = 1000, .is_alone = opens(request->path) };
}

static void rig_gone(void *owner)
{
    struct rig *rig = owner;
    rig->gone_count++;
}

static void speaker_close(struct speaker *speaker)
{
    stream_close(speaker->stream);
    speaker->stream = NULL;
    buf_fini(&speaker->out);
}

static void speaker_flush(struct speaker *speaker)
{
    if (speaker->stream->is_full || speaker->out.len == 0)
        return;
    ssize_t put = stream_write(speaker->stream, buf_span(&speaker->out));
    if (put == STREAM_FAULT) {
        speaker_close(speaker);
        return;
    }
    buf_drop(&speaker->out, (size_t)put);
    if (speaker->out.len == 0)
        stream_shut(speaker->stream);
}

static void speaker_on_readable(struct stream *stream, void *owner)
{
    char    scratch[512];
    ssize_t got;

    while ((got = stream_read(stream, scratch, sizeof scratch)) > 0)
        ;
    if (got != STREAM_LATER)
        speaker_close(owner);
}

static void speaker_on_writable(struct stream *stream, void *owner)
{
    (void)stream;
    speaker_flush(owner);
}

static const struct stream_events speaker_events = {
    .on_readable = speaker_on_readable, .on_writable = speaker_on_writable,
};

static void rig_open_stream(struct rig *rig, struct http_exchange *exchange)
{
    struct speaker    *speaker = &rig->speaker;
    struct http_answer head    = { .status = 200, .media = SPAN("text/plain") };
    bool               is_chunked;

    speaker->stream = http_open_stream(&rig->server, exchange, &head, &speaker->out, &is_chunked);
    for (int i = 0; i < PARTS; i++)
        buf_put(&speaker->out, is_chunked ? SPAN("4\r\npart\r\n") : SPAN("part"));
    http_put_body_end(is_chunked, &speaker->out);
}

static void rig_open_websocket(struct rig *rig, struct http_exchange *exchange)
{
    const struct ws_handshake shake = { .key = SPAN("dGhlIHNhbXBsZSBub25jZQ==") };
    struct buf                unread;

    buf_init(&unread, 1024);
    rig->speaker.stream = http_open_websocket(&rig->server, exchange, &shake, SPAN(""), &rig->speaker.out, &unread);
    buf_put(&rig->speaker.out, buf_span(&unread));
    buf_fini(&unread);
}

static void rig_serve(void *ctx, struct http_exchange *exchange, const struct http_request *request)
{
    struct rig *rig = ctx;

    rig->served++;
    if (opens(request->path)) {
        if (span_eq(request->path, SPAN("/ws")))
            rig_open_websocket(rig, exchange);
        else
            rig_open_stream(rig, exchange);
        stream_hand_over(rig->speaker.stream, &speaker_events, &rig->speaker);
        speaker_flush(&rig->speaker);
    } else if (span_eq(request->path, SPAN("/late"))) {
        assert_true(rig->late_count < LATE_MAX);
        exchange->owner              = rig;
        exchange->gone               = rig_gone;
        rig->late[rig->late_count++] = exchange;
    } else {
        http_answer(&rig->server, exchange, &(struct http_answer){ .status = 200, .body = request->body });
    }
}

static const struct http_service rig_service = { .plan = rig_plan, .serve = rig_serve };

/* --- the loop ------------------------------------------------------------------------------------------------ */

static void rig_turn_end(void *ctx)
{
    struct rig *rig = ctx;
    http_server_turn_end(&rig->server);
}

static const struct loop_hooks rig_hooks = { .turn_end = rig_turn_end };

static void rig_open(struct rig *rig, const struct sim_wire *wire)
{
    static const struct http_limits limits = {
        .h1 = { .target_bytes_max = 1024, .head_bytes_max = 2048 }, .pipeline_max = 4, .answer_bytes_max = 4096,
        .owed_bytes_max = 1 << 20, .request_timeout_ms = REQUEST_MS, .head_timeout_ms = REQUEST_MS, .body_bytes_per_s_min = 100,
        .taken_bytes_min = 1,
         .keepalive_timeout_ms = 60000,
        .body_bytes_max = 1 << 20, .linger_ms = 2000,
    };
    struct stream *stream;

    *rig = (struct rig){ 0 };
    loop_sim_init(&rig->sim, &rig_hooks, rig, 1000, 1700000000000);
    http_server_init(&rig->server, &rig->sim.loop, &limits, &rig_service, rig);
    buf_init(&rig->heard, SIZE_MAX / 2);
    buf_init(&rig->speaker.out, SIZE_MAX / 2);
    rig->link = sim_link_new(&rig->sim, wire, &stream);
    http_server_open(&rig->server, stream);
}

static void rig_hear(struct rig *rig)
{
    sim_take(rig->link, &rig->heard, SIZE_MAX);
}

/* Turns until nothing more happens at this time; the client takes all that comes, and what is late is answered. */
static void rig_settle(struct rig *rig)
{
    size_t had;

    do {
        loop_sim_turn(&rig->sim, rig->sim.loop.now);
        had = rig->heard.len;
        rig_hear(rig);
        if (rig->late_count > 0 && loop_sim_is_quiet(&rig->sim)) {
            http_answer(&rig->server, rig->late[--rig->late_count],
                        &(struct http_answer){ .status = 200, .body = SPAN("late") });
            had = SIZE_MAX;
        }
    } while (had != rig->heard.len || !loop_sim_is_quiet(&rig->sim));
}

/* Everything is given back, whatever has happened. */
static void rig_fini(struct rig *rig)
{
    http_server_fini(&rig->server);
    while (rig->late_count > 0)
        http_answer(&rig->server, rig->late[--rig->late_count],
                    &(struct http_answer){ .status = 200, .body = SPAN("to nobody") });
    speaker_close(&rig->speaker);
    sim_link_free(rig->link);
    loop_sim_turn(&rig->sim, rig->sim.loop.now);
    assert_int_equal(rig->server.body_bytes, 0);
    assert_int_equal(rig->server.owed_bytes, 0);
    assert_int_equal(counter_get(&rig->server.counters.conns), 0);
    loop_sim_fini(&rig->sim);
    buf_fini(&rig->heard);
}

/* --- dialogues ----------------------------------------------------------------------------------------------- */

#define GET(path)         "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define POST(path, text)  "POST " path " HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n" text
#define CHUNKED(path)                                                                                                  \
    "POST " path " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: x\r\n\r\n"

static const struct span dialogues[] = {
    SPAN(POST("/echo", "hello") GET("/late") CHUNKED("/echo") GET("/late") GET("/stream")),
    SPAN(GET("/late") GET("/late") POST("/echo", "again") GET("/ws")),
    SPAN("GET /late HTTP/1.0\r\n\r\n"),
    SPAN(GET("/echo") "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 5000\r\n\r\n"),  /* 413 */
};

enum { DIALOGUES = sizeof dialogues / sizeof dialogues[0] };

static const struct sim_wire wide = { .room_bytes = 1 << 20 };

/* What the client hears when everything comes at once. */
static void tell_whole(struct span dialogue, struct buf *ret_heard)
{
    struct rig rig;

    rig_open(&rig, &wide);
    sim_send(rig.link, dialogue);
    rig_settle(&rig);
    assert_true(rig.heard.len > 0);
    buf_put(ret_heard, buf_span(&rig.heard));
    rig_fini(&rig);
}

static void expect_same(const struct rig *rig, const struct buf *want)
{
    if (span_eq(buf_span(&rig->heard), buf_span(want)))
        return;
    print_message("heard %.*s\nwant %.*s\n", SPAN_ARG(buf_span(&rig->heard)), SPAN_ARG(buf_span(want)));
    fail();
}

/* Any cut of what comes, and any length of what leaves at once. */
static void pieces_change_nothing(void **state)
{
    (void)state;
    for (size_t d = 0; d < DIALOGUES; d++) {
        struct buf want;
        buf_init(&want, SIZE_MAX / 2);
        tell_whole(dialogues[d], &want);
        for (size_t at = 1; at < dialogues[d].len; at++) {
            struct sim_wire wire = wide;
            struct rig      rig;
            wire.write_bytes_max = at;
            wire.is_layered      = at % 2 == 0;
            wire.read_bytes_max  = wire.is_layered ? at : 0;
            rig_open(&rig, &wire);
            sim_send(rig.link, span_head(dialogues[d], at));
            rig_settle(&rig);
            sim_send(rig.link, span_skip(dialogues[d], at));
            rig_settle(&rig);
            expect_same(&rig, &want);
            rig_fini(&rig);
        }
        buf_fini(&want);
    }
}

static void chance_changes_nothing(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct span     dialogue = dialogues[seed % DIALOGUES];
        struct rng      rng      = { seed }, pieces = { ~seed };
        struct sim_wire wire     = { .room_bytes = 20 + rng_below(&pieces, 300), .rng = &rng,
                                     .is_layered = seed % 3 == 0,
                                     .delay_ms = (msec)rng_below(&pieces, 50) };
        struct rig      rig;
        struct buf      want;
        buf_init(&want, SIZE_MAX / 2);
        tell_whole(dialogue, &want);
        rig_open(&rig, &wire);
        for (size_t at = 0; at < dialogue.len;) {
            size_t len = 1 + rng_below(&pieces, 60);
            sim_send(rig.link, span_head(span_skip(dialogue, at), len));
            at += len < dialogue.len - at ? len : dialogue.len - at;
            rig_settle(&rig);
        }
        /* A small room and a long way make a slow link. */
        for (msec until = rig.sim.loop.now + 60000; rig.sim.loop.now < until && rig.heard.len < want.len;) {
            loop_sim_turn(&rig.sim, rig.sim.loop.now + 10);
            rig_settle(&rig);
        }
        expect_same(&rig, &want);
        rig_fini(&rig);
        buf_fini(&want);
    }
}

/* The client hears a beginning of what it would have heard, and everything is given back. */
static void cut_at(struct span dialogue, const struct sim_wire *wire, const struct buf *whole)
{
    struct rig rig;

    rig_open(&rig, wire);
    sim_send(rig.link, dialogue);
    rig_settle(&rig);
    assert_true(span_starts(buf_span(whole), buf_span(&rig.heard)));
    if (wire->cut_out_at > 0)
        assert_int_equal(rig.heard.len, wire->cut_out_at);
    assert_int_equal(counter_get(&rig.server.counters.conns), 0);
    assert_null(rig.speaker.stream);
    rig_fini(&rig);
}

static void a_cut_at_any_byte_leaves_nothing_behind(void **state)
{
    (void)state;
    for (size_t d = 0; d < DIALOGUES; d++) {
        struct buf whole;
        buf_init(&whole, SIZE_MAX / 2);
        tell_whole(dialogues[d], &whole);
        for (size_t at = 1; at <= dialogues[d].len; at++) {
            struct sim_wire wire = wide;
            wire.cut_in_at       = at;
            cut_at(dialogues[d], &wire, &whole);
        }
        for (size_t at = 1; at <= whole.len; at++) {
            struct sim_wire wire = wide;
            wire.cut_out_at      = at;
            wire.write_bytes_max = 1 + at % 50;
            cut_at(dialogues[d], &wire, &whole);
        }
        buf_fini(&whole);
    }
}

/* A client that goes while its answer is being made: its owner is told once, and may still answer. */
static void who_waits_for_an_answer_is_told_of_the_cut(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig, &wide);
    sim_send(rig.link, SPAN(GET("/late") GET("/late")));
    loop_sim_turn(&rig.sim, 1000);
    assert_int_equal(rig.late_count, 2);
    sim_reset(rig.link);
    loop_sim_turn(&rig.sim, 1000);
    assert_int_equal(rig.gone_count, 2);
    assert_true(rig.late[0]->is_gone);
    rig_fini(&rig);
    assert_int_equal(rig.gone_count, 2);
}

/* A day's silence takes no time here. */
static void time_is_the_tests_own(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig, &wide);
    sim_send(rig.link, SPAN("GET /ec"));
    loop_sim_turn(&rig.sim, 1000);
    loop_sim_turn(&rig.sim, 1000 + REQUEST_MS - WHEEL_TICK_MS);
    rig_hear(&rig);
    assert_int_equal(rig.heard.len, 0);
    loop_sim_turn(&rig.sim, 1000 + REQUEST_MS + 2 * WHEEL_TICK_MS);
    rig_settle(&rig);
    assert_true(span_starts(buf_span(&rig.heard),
                            SPAN("HTTP/1.1 408 Request Timeout\r\nDate: Tue, 14 Nov 2023 22:13:3")));
    loop_sim_turn(&rig.sim, 24 * 3600 * 1000);
    assert_true(sim_link_is_closed(rig.link));
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_change_nothing),
        cmocka_unit_test(chance_changes_nothing),
        cmocka_unit_test(a_cut_at_any_byte_leaves_nothing_behind),
        cmocka_unit_test(who_waits_for_an_answer_is_told_of_the_cut),
        cmocka_unit_test(time_is_the_tests_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
