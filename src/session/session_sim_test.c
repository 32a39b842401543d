/* Sessions over simulated links: whatever a link takes and gives at a time, a client hears the same bytes, and a cut at
 * any byte leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/must.h"
#include "session/session_battery.h"

#include <cmocka.h>

enum { HEAD = 60, SILENT_TURNS = 80, SEEDS = 30 };

#define STREAM(media)                                                                                                  \
    "GET /v1/subscribe?channel=topic:a&after=0 HTTP/1.1\r\nHost: a\r\nAccept: " media "\r\n\r\n"

/* A WebSocket's client says besides {"type":"ping"}, masked with zeros. */
static const struct span requests[] = {
    SPAN(STREAM("text/event-stream")),
    SPAN(STREAM("application/x-ndjson")),
    SPAN(STREAM("multipart/mixed")),
    SPAN(STREAM("application/json") STREAM("application/json")),
    SPAN("GET /v1/ws?channel=topic:a&after=0 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
         "Sec-WebSocket-Protocol: longwire.json.v1\r\n\r\n\x81\x8f\0\0\0\0{\"type\":\"ping\"}"),
};

enum { REQUESTS = sizeof requests / sizeof requests[0] };

static const struct sim_wire wide = { .room_bytes = 1 << 22 };

/* Half of the messages are there when the client comes; the others come while it reads. Until nothing has come for
 * long. */
static void hear(struct span request, const struct sim_wire *wire, struct buf *ret_heard)
{
    struct stage stage;

    stage_init(&stage, 1);
    struct stage_log *log  = stage_log(&stage, "topic:a", 1, HEAD / 2);
    struct sim_link  *link = stage_link(&stage, wire);
    sim_send(link, request);
    for (int turn = 0, silent = 0; silent < SILENT_TURNS; turn++) {
        stage_turn(&stage);
        silent = sim_take(link, ret_heard, 8000) > 0 ? 0 : silent + 1;
        if (log->head < HEAD && turn % 2 == 1 && log->is_followed)
            stage_publish(&stage, log);
    }
    sim_link_free(link);
    stage_turn(&stage);
    stage_turn(&stage);
    assert_true(session_worker_is_idle(&stage.worker));
    assert_int_equal(counter_get(&stage.http.counters.conns), 0);
    stage_fini(&stage);
}

/* Each message begins with its seq: all are there, once, in order. */
static void expect_all(struct span heard)
{
    const char *at = heard.at;
    struct buf  payload;

    buf_init(&payload, 1 << 20);
    for (uint64_t seq = 1; seq <= HEAD; seq++) {
        buf_clear(&payload);
        stage_payload(&payload, seq);
        size_t len = payload.len < 40 ? payload.len : 40;
        at         = memmem(at, (size_t)(heard.at + heard.len - at), payload.at, len);
        assert_non_null(at);
        at += len;
    }
    buf_fini(&payload);
}

static void links_of_any_kind_carry_all_messages(void **state)
{
    (void)state;
    for (size_t i = 0; i < REQUESTS; i++) {
        struct buf whole;
        buf_init(&whole, SIZE_MAX / 2);
        hear(requests[i], &wide, &whole);
        for (uint64_t seed = 0; seed < SEEDS; seed++) {
            struct rng      rng  = { seed };
            struct sim_wire wire = {
                .room_bytes = 2000 + rng_below(&rng, 20000), .rng = seed % 2 == 0 ? &rng : NULL,
                .is_layered = seed % 3 == 0,
            };
            struct buf heard;
            buf_init(&heard, SIZE_MAX / 2);
            hear(requests[i], &wire, &heard);
            if (i != 3) {  /* polls end when they have something; what they bring is tested in poll_session_test.c */
                expect_all(buf_span(&heard));
                assert_int_equal(heard.len, whole.len);
                if (i != 4)  /* a WebSocket is told the head, which depends on when it was asked */
                    assert_memory_equal(heard.at, whole.at, whole.len);
            }
            assert_true(heard.len > 0);
            buf_fini(&heard);
        }
        buf_fini(&whole);
    }
}

static void a_cut_at_any_byte_leaves_nothing_behind(void **state)
{
    (void)state;
    for (size_t i = 0; i < REQUESTS; i++) {
        for (size_t at = 1; at <= requests[i].len; at++) {
            struct sim_wire wire = wide;
            struct buf      heard;
            buf_init(&heard, SIZE_MAX / 2);
            wire.cut_in_at = at;
            hear(requests[i], &wire, &heard);
            buf_fini(&heard);
        }
        for (size_t at = 1; at < 3000; at += 1 + at / 40) {
            struct sim_wire wire = wide;
            struct buf      heard;
            buf_init(&heard, SIZE_MAX / 2);
            wire.cut_out_at = at;
            hear(requests[i], &wire, &heard);
            assert_true(heard.len <= at);
            buf_fini(&heard);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links_of_any_kind_carry_all_messages),
        cmocka_unit_test(a_cut_at_any_byte_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
