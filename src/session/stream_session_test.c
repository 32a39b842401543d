/* Endless answers, to the byte. */
#include <setjmp.h>
#include <stdarg.h>

#include "base/must.h"
#include "session/link.h"
#include "session/session_battery.h"

#include "lib/held_identifier.h"

#include <cmocka.h>

static void ask(struct stage *stage, struct sim_link *far, const char *media, const char *query)
{
    struct buf request;

    buf_init(&request, 4096);
    buf_putf(&request, "GET /v1/subscribe?%s HTTP/1.1\r\nHost: a\r\nAccept: %s\r\n\r\n", query, media);
    sim_send(far, span_of(request.at, (size_t)request.len));
    buf_fini(&request);
    stage_turn(stage);
}

/* Everything behind the head, until the end. */
static void read_body(struct stage *stage, struct sim_link *far, struct buf *ret)
{
    buf_init(ret, 1 << 20);
    for (int i = 0; i < 4; i++)
        stage_turn(stage);
    assert_false(stage_read(far, ret));
    const char *end = memmem(ret->at, ret->len, "\r\n\r\n", 4);
    assert_non_null(end);
    buf_drop(ret, (size_t)(end + 4 - ret->at));
}

/* A stop comes while a channel has not answered yet: its answer must not speak behind the last chunk (RFC 9112 7.1). */
static void nothing_follows_the_last_chunk(void **state)
{
    (void)state;
    static const struct { const char *media, *body; } rows[] = {
        { "text/event-stream", "b\r\nretry: 502\n\r\nb\r\nretry: 503\n\r\n0\r\n\r\n" },
        { "application/x-ndjson", "0\r\n\r\n" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage stage;
        struct buf   body;

        stage_init(&stage, i);
        struct sim_link *far = stage_connect(&stage);
        ask(&stage, far, rows[i].media, "channel=topic:a");
        assert_non_null(stage.oldest);  /* the channel's head is still being asked for */
        session_worker_stop(&stage.worker);
        read_body(&stage, far, &body);
        if (!span_eq(buf_span(&body), span_str(rows[i].body)))
            fail_msg("%s: %.*s", rows[i].media, SPAN_ARG(buf_span(&body)));
        buf_fini(&body);
        sim_link_free(far);
        stage_fini(&stage);
    }
}

/* A client that shall not come again is told why; another one just sees the end. */
static void the_end_says_why(void **state)
{
    (void)state;
    static const struct { const char *media; enum link_end why; const char *body; } rows[] = {
        { "text/event-stream", LINK_END_REVOKED,
          "b\r\nretry: 502\n\r\n"
          "48\r\nevent: closing\ndata: {\"type\":\"closing\",\"code\":4004,\"reason\":\"revoked\"}\n\n\r\n"
          "b\r\nretry: 504\n\r\n0\r\n\r\n" },
        { "text/event-stream", LINK_END_CUT_OFF, "b\r\nretry: 502\n\r\nb\r\nretry: 503\n\r\n0\r\n\r\n" },
        { "application/x-ndjson", LINK_END_REVOKED,
          "32\r\n{\"type\":\"closing\",\"code\":4004,\"reason\":\"revoked\"}\n\r\n0\r\n\r\n" },
        { "application/x-ndjson", LINK_END_EXPIRED, "0\r\n\r\n" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage stage;
        struct buf   body;

        stage_init(&stage, i);
        struct sim_link *far = stage_connect(&stage);
        ask(&stage, far, rows[i].media, "channel=topic:a");
        struct link *link = container_of(near_list_next(&stage.worker.lists->links), struct link, in_worker);
        assert_ptr_equal(session_worker_find(&stage.worker, link->key), link);
        link->kind->end(link, rows[i].why);
        link->kind->end(link, rows[i].why);
        read_body(&stage, far, &body);
        if (!span_eq(buf_span(&body), span_str(rows[i].body)))
            fail_msg("%s: %.*s", rows[i].media, SPAN_ARG(buf_span(&body)));
        buf_fini(&body);
        sim_link_free(far);
        stage_fini(&stage);
    }
}

/* docs/decisions/0015: at the next heartbeat. */
static void who_came_by_a_key_that_is_gone_is_sent_away(void **state)
{
    (void)state;
    struct stage stage;
    struct buf   body;

    stage_init(&stage, 1);
    struct sim_link *far = stage_connect(&stage);
    ask(&stage, far, "application/x-ndjson", "channel=topic:a");
    stage.identifier->everyone->is_revoked = true;
    stage_pass(&stage, stage.worker.limits.heartbeat.asked_ms + WHEEL_TICK_MS);
    read_body(&stage, far, &body);
    assert_true(span_eq(buf_span(&body), SPAN("0\r\n\r\n")));
    buf_fini(&body);
    sim_link_free(far);
    stage_fini(&stage);
}

/* What is kept no longer by age may still lie there when the reader comes: it's passed over, and the reader has nothing
 * to read. It learns its place all the same. */
static void a_reader_with_nothing_to_read_learns_its_place(void **state)
{
    (void)state;
    static const struct { const char *name, *media, *query, *told; } rows[] = {
        { "from now on", "text/event-stream", "channel=topic:a", "id: " },
        { "what is too old", "text/event-stream", "channel=topic:a&last=2", "id: " },
        { "what is too old, and another", "text/event-stream", "channel=topic:a&after=0&channel=topic:b", "id: " },
        { "lines", "application/x-ndjson", "channel=topic:a&last=2", "{\"type\":\"ping\",\"cursor\":\"" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage stage;
        struct buf   told;

        stage_init(&stage, i);
        namespaces_find(&stage.spaces, SPAN("topic"))->keep_ms = 1000;
        stage_log(&stage, "topic:a", 1, 4);
        struct sim_link *far = stage_connect(&stage);
        buf_init(&told, 1 << 20);
        ask(&stage, far, rows[i].media, rows[i].query);
        for (int turn = 0; turn < 6; turn++)
            stage_turn(&stage);
        assert_true(stage_read(far, &told));
        const char *at = memmem(told.at, told.len, rows[i].told, strlen(rows[i].told));
        if (at == NULL)
            fail_msg("%s: %.*s", rows[i].name, SPAN_ARG(buf_span(&told)));
        assert_null(memmem(at + 1, (size_t)(told.at + told.len - at - 1), rows[i].told, strlen(rows[i].told)));
        buf_fini(&told);
        sim_link_free(far);
        stage_fini(&stage);
    }
}

/* RFC 9110 5.3: a list may come in several lines. */
static void accept_is_all_of_its_lines(void **state)
{
    (void)state;
    static const struct { const char *accept, *status; } rows[] = {
        { "text/html\r\nAccept: application/x-ndjson;q=0.5, text/plain", "HTTP/1.1 200 OK\r\n" },
        { "\r\naccept: text/*", "HTTP/1.1 200 OK\r\n" },
        { "text/html\r\nAccept: text/plain", "HTTP/1.1 406 Not Acceptable\r\n" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage stage;
        struct buf   told;

        stage_init(&stage, i);
        struct sim_link *far = stage_connect(&stage);
        buf_init(&told, 1 << 20);
        ask(&stage, far, rows[i].accept, "channel=topic:a");
        for (int turn = 0; turn < 4; turn++)
            stage_turn(&stage);
        stage_read(far, &told);
        if (!span_starts(buf_span(&told), span_str(rows[i].status)))
            fail_msg("%s: %.*s", rows[i].accept, SPAN_ARG(buf_span(&told)));
        buf_fini(&told);
        sim_link_free(far);
        stage_fini(&stage);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_follows_the_last_chunk),
        cmocka_unit_test(the_end_says_why),
        cmocka_unit_test(who_came_by_a_key_that_is_gone_is_sent_away),
        cmocka_unit_test(accept_is_all_of_its_lines),
        cmocka_unit_test(a_reader_with_nothing_to_read_learns_its_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
