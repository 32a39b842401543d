/* Long polls, to the byte: at once, when there is news, when the time is up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "session/session_battery.h"

#include <cmocka.h>

enum { TURNS_MAX = 100000, CLOSE_TIMEOUT_MS = 5000 };

static void ask(struct sim_link *far, const char *query)
{
    struct buf request;

    buf_init(&request, 4096);
    buf_putf(&request, "GET /v1/subscribe?%s HTTP/1.1\r\nHost: a\r\n\r\n", query);
    sim_send(far, span_of(request.at, (size_t)request.len));
    buf_fini(&request);
}

/* Turns until the answer is there; its body. */
static void whole_answer(struct stage *stage, struct sim_link *far, struct buf *ret)
{
    struct span rest, length;
    uint64_t    bytes;

    buf_clear(ret);
    for (int turn = 0; turn < TURNS_MAX && (ret->len == 0 || memmem(ret->at, ret->len, "}", 1) == NULL); turn++) {
        stage_turn(stage);
        stage_read(far, ret);
    }
    must(span_starts(buf_span(ret), SPAN("HTTP/1.1 200 OK\r\n")));
    const char *at   = memmem(ret->at, ret->len, "Content-Length: ", 16);
    const char *body = memmem(ret->at, ret->len, "\r\n\r\n", 4);
    must(at != NULL && body != NULL);
    rest = span_skip(buf_span(ret), (size_t)(at + 16 - ret->at));
    must(span_cut(&rest, '\r', &length) && span_u64(length, &bytes));
    buf_drop(ret, (size_t)(body + 4 - ret->at));
    while (ret->len < bytes) {
        stage_turn(stage);
        must(stage_read(far, ret));
    }
    assert_int_equal(ret->len, bytes);
}

/* The body without the cursor's value, which is an epoch and more. */
static void answer(struct stage *stage, struct sim_link *far, struct buf *ret)
{
    whole_answer(stage, far, ret);
    const char *cursor = memmem(ret->at, ret->len, ",\"cursor\":\"", 11);
    if (cursor != NULL)
        ret->len = (size_t)(cursor + 10 - ret->at);
}

static void expect_silence(struct stage *stage, struct sim_link *far)
{
    struct buf said;

    buf_init(&said, 1 << 20);
    for (int turn = 0; turn < 4; turn++)
        stage_turn(stage);
    assert_true(stage_read(far, &said));
    assert_int_equal(said.len, 0);
    buf_fini(&said);
}

#define MESSAGE(seq, data)                                                                                 \
    "{\"type\":\"message\",\"channel\":\"topic:a\",\"epoch\":\"0000000000000009\",\"seq\":" #seq ",\"id\":" #seq  \
    ",\"time\":1,\"from\":null,\"media\":\"text/plain\",\"data\":\"" data "\"}"
#define GAP(from, to, why)                                                                                 \
    "{\"type\":\"gap\",\"channel\":\"topic:a\",\"epoch\":\"0000000000000009\",\"from\":" #from ",\"to\":" #to      \
    ",\"why\":\"" why "\"}"

static void a_poll_is_answered_when_there_is_something(void **state)
{
    (void)state;
    static const struct {
        const char *name, *query;
        unsigned    patience;     /* of the store: 1, or so much that it never answers */
        unsigned    publishes;    /* while it waits */
        msec        passes;       /* while it waits */
        const char *want;
    } rows[] = {
        { "nothing, no wait", "channel=topic:a&wait=0", 1, 0, 0, "{\"messages\":[],\"cursor\":" },
        { "what there is", "channel=topic:a&after=2&wait=0", 1, 0, 0,
          "{\"messages\":[" MESSAGE(3, "3 def") "," MESSAGE(4, "4 efgh") "],\"cursor\":" },
        { "what there is, with a wait", "channel=topic:a&last=1&wait=60", 1, 0, 0,
          "{\"messages\":[" MESSAGE(4, "4 efgh") "],\"cursor\":" },
        { "what comes", "channel=topic:a&wait=60", 1, 1, 0, "{\"messages\":[" MESSAGE(5, "5 fghij") "],\"cursor\":" },
        { "ahead", "channel=topic:a&after=6&wait=60", 1, 0, 0, "{\"messages\":[" GAP(5, 6, "ahead") "],\"cursor\":" },
        { "one of two has some", "channel=topic:b&after=topic:a@1&wait=60", 1, 0, 0,
          "{\"messages\":[" MESSAGE(2, "2 cd") "," MESSAGE(3, "3 def") "," MESSAGE(4, "4 efgh") "],\"cursor\":" },
        { "nothing for so long", "channel=topic:a&wait=60", 1, 0, 60000, "{\"messages\":[],\"cursor\":" },
        { "a store that doesn't answer", "channel=topic:a&after=2&wait=0", UINT32_MAX, 0, CLOSE_TIMEOUT_MS,
          "{\"messages\":[],\"cursor\":" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage stage;
        struct buf   body;

        stage_init(&stage, i);
        stage.worker.limits.poll_store_timeout_ms = CLOSE_TIMEOUT_MS;
        stage.patience                       = rows[i].patience;
        struct stage_log *log                = stage_log(&stage, "topic:a", 1, 4);
        struct sim_link *far = stage_connect(&stage);
        buf_init(&body, 1 << 20);
        ask(far, rows[i].query);
        if (rows[i].publishes > 0 || rows[i].passes > 0)
            expect_silence(&stage, far);
        if (rows[i].passes > 0) {
            stage_pass(&stage, rows[i].passes - 1);
            expect_silence(&stage, far);
            stage_pass(&stage, 1 + WHEEL_TICK_MS);
        }
        for (unsigned count = 0; count < rows[i].publishes; count++)
            stage_publish(&stage, log);
        answer(&stage, far, &body);
        if (!span_eq(buf_span(&body), span_str(rows[i].want)))
            fail_msg("%s: %.*s", rows[i].name, SPAN_ARG(buf_span(&body)));
        assert_true(session_worker_is_idle(&stage.worker));
        buf_fini(&body);
        sim_link_free(far);
        stage_fini(&stage);
    }
}

/* Polls put their answers together where readers' frames are shared: neither must be sent the other's bytes. */
static void polls_among_streams_get_their_own(void **state)
{
    (void)state;
    enum { CLIENTS = 9 };
    struct stage stage;
    struct buf   body[CLIENTS];
    struct sim_link *far[CLIENTS];

    stage_init(&stage, 1);
    struct stage_log *log = stage_log(&stage, "topic:a", 1, 4);
    for (int i = 0; i < CLIENTS; i++) {
        static const char line[] = "GET /v1/subscribe?channel=topic:a HTTP/1.1\r\nHost: a\r\n"
                                   "Accept: application/x-ndjson\r\n\r\n";
        far[i] = stage_connect(&stage);
        buf_init(&body[i], 1 << 20);
        if (i % 3 == 1)
            ask(far[i], "channel=topic:a&wait=60");
        else
            sim_send(far[i], span_of(line, (size_t)sizeof line - 1));
    }
    for (int turn = 0; turn < 4; turn++)
        stage_turn(&stage);
    for (int i = 0; i < CLIENTS; i++) {
        stage_read(far[i], &body[i]);
        buf_clear(&body[i]);
    }
    stage_publish(&stage, log);
    stage_turn(&stage);
    for (int i = 0; i < CLIENTS; i++) {
        if (i % 3 == 1) {
            answer(&stage, far[i], &body[i]);
            assert_true(span_eq(buf_span(&body[i]), SPAN("{\"messages\":[" MESSAGE(5, "5 fghij") "],\"cursor\":")));
        } else {
            assert_true(stage_read(far[i], &body[i]));
            assert_true(span_eq(buf_span(&body[i]), buf_span(&body[0])));
            assert_non_null(memmem(body[i].at, body[i].len, "\"data\":\"5 fghij\",\"cursor\":", 26));
            assert_null(memmem(body[i].at, body[i].len, "messages", 8));
        }
    }
    for (int i = 0; i < CLIENTS; i++) {
        buf_fini(&body[i]);
        sim_link_free(far[i]);
    }
    stage_fini(&stage);
}

/* The module that answers are put together in is every reader's, and stays small between them. */
static void a_long_answer_leaves_no_memory_behind(void **state)
{
    (void)state;
    struct stage stage;
    struct buf   body;

    stage_init(&stage, 1);
    stage_log(&stage, "topic:a", 1, 23);
    stage_log(&stage, "topic:b", 1, 23);
    stage_log(&stage, "topic:c", 1, 23);
    struct sim_link *far = stage_connect(&stage);
    buf_init(&body, 1 << 22);
    ask(far, "channel=topic:a&after=22&channel=topic:b&after=22&channel=topic:c&after=22");
    answer(&stage, far, &body);
    assert_in_range(body.len, 4 * FRAME_BATCH_BYTES, body.max);
    assert_in_range(stage.worker.batch.bytes.cap, 0, 4 * FRAME_BATCH_BYTES);
    buf_fini(&body);
    sim_link_free(far);
    stage_fini(&stage);
}

/* --- many channels, one poll after the other ---------------------------------------------------------------------- */

enum { POLL_OBJECTS_MAX = 1000, POLL_BYTES_MAX = 1 << 20, POLLS_MAX = 400 };

/* What a client has had of each channel: everything up to and with `at`. */
struct tally {
    uint64_t at[STAGE_LOGS_MAX];
    size_t   objects, bytes;    /* of the last answer; bytes: without its last object */
};

static uint64_t number_behind(struct span object, const char *name)
{
    const char *at = memmem(object.at, object.len, name, strlen(name));
    uint64_t    number;

    must(at != NULL);
    struct span text = span_skip(object, (size_t)(at - object.at) + strlen(name));
    size_t      len  = 0;
    while (len < text.len && text.at[len] >= '0' && text.at[len] <= '9')
        len++;
    must(span_u64(span_head(text, len), &number));
    return number;
}

/* No message or gap is left out, comes twice or out of order. */
static void tally_object(struct tally *tally, struct span object)
{
    bool      is_gap = memmem(object.at, object.len, "\"why\":", 6) != NULL;
    uint64_t *at     = &tally->at[number_behind(object, "\"channel\":\"topic:")];
    uint64_t  first  = number_behind(object, is_gap ? ",\"from\":" : "\"seq\":");

    if (first != *at + 1)
        fail_msg("behind %lu: %.*s", (unsigned long)*at, SPAN_ARG(object));
    *at = is_gap ? number_behind(object, ",\"to\":") : first;
    tally->objects++;
}

/* Reads {"messages":[…],"cursor":"…"}; ret_query becomes what the next poll asks. Payloads hold no braces. */
static void tally_answer(struct tally *tally, struct span body, struct buf *ret_query)
{
    const struct span head = SPAN("{\"messages\":[");

    must(span_starts(body, head));
    tally->objects = 0;
    tally->bytes   = head.len;
    for (body = span_skip(body, head.len); body.at[0] != ']'; body = span_skip(body, body.at[0] == ',')) {
        const char *end = memchr(body.at, '}', body.len);
        must(body.at[0] == '{' && end != NULL);
        struct span object = span_head(body, (size_t)(end + 1 - body.at));
        body               = span_skip(body, object.len);
        tally_object(tally, object);
        tally->bytes += body.at[0] == ']' ? 0 : object.len + 1;
    }
    must(span_starts(body, SPAN("],\"cursor\":\"")) && body.at[body.len - 1] == '}');
    body = span_head(span_skip(body, 12), body.len - 14);
    buf_clear(ret_query);
    buf_putf(ret_query, "cursor=%.*s&wait=0", SPAN_ARG(body));
}

/* A reader of all channels keeps their news in memory, where a poll finds them all at once. */
static void follow_all(struct stage *stage, struct sim_link *far)
{
    struct buf request;

    buf_init(&request, 1 << 14);
    buf_put_lit(&request, "GET /v1/subscribe?channel=topic:0");
    for (size_t n = 1; n < stage->log_count; n++)
        buf_putf(&request, "&channel=topic:%zu", n);
    buf_put_lit(&request, " HTTP/1.1\r\nHost: a\r\nAccept: application/x-ndjson\r\n\r\n");
    sim_send(far, span_of(request.at, (size_t)request.len));
    buf_fini(&request);
    for (int turn = 0; turn < 4; turn++)
        stage_turn(stage);
}

static void no_poll_is_too_large_and_none_leaves_anything_out(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t      channels;
        uint64_t    after, first, head; /* of each channel: where the client stands, and what the log holds */
        unsigned    news;               /* what comes then: it is in memory */
        bool        meets_objects_max, meets_bytes_max;
    } rows[] = {
        { "few", 3, 0, 1, 0, 5, false, false },
        { "as many as fit", 50, 0, 1, 0, 20, true, false },
        { "one too many in each", 50, 0, 1, 0, 21, true, false },
        { "far more objects", STAGE_LOGS_MAX, 0, 1, 0, 22, true, false },
        { "large ones", 40, 22, 1, 22, 1, false, true },
        { "large ones among small ones", STAGE_LOGS_MAX, 20, 1, 20, 8, false, true },
        { "pages of the log come first", 40, 0, 1, 23, 20, false, false },
        { "gaps come first", 40, 1, 7, 20, 12, false, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage stage;
        struct tally tally = { 0 };
        struct buf   query, body;
        bool         has_met_objects = false, has_met_bytes = false;
        size_t       polls = 0;

        stage_init(&stage, i);
        buf_init(&query, 1 << 14);
        buf_init(&body, 1 << 22);
        for (size_t n = 0; n < rows[i].channels; n++) {
            char name[32];
            snprintf(name, sizeof name, "topic:%zu", n);
            stage_log(&stage, name, rows[i].first, rows[i].head);
            buf_putf(&query, "channel=%s&after=%d&", name, (int)rows[i].after);
            tally.at[n] = rows[i].after;
        }
        buf_put_lit(&query, "wait=0");
        struct sim_link *follower = stage_connect(&stage), *far = stage_connect(&stage);
        follow_all(&stage, follower);
        for (unsigned round = 0; round < rows[i].news; round++)
            for (size_t n = 0; n < rows[i].channels; n++)
                stage_publish(&stage, &stage.logs[n]);
        do {
            buf_putc(&query, '\0');
            ask(far, query.at);
            whole_answer(&stage, far, &body);
            tally_answer(&tally, buf_span(&body), &query);
            if (tally.objects > POLL_OBJECTS_MAX || tally.bytes >= POLL_BYTES_MAX)
                fail_msg("%s: %zu objects, %zu bytes before the last", rows[i].name, tally.objects, tally.bytes);
            has_met_objects |= tally.objects == POLL_OBJECTS_MAX;
            has_met_bytes |= body.len >= POLL_BYTES_MAX;
        } while (tally.objects > 0 && ++polls < POLLS_MAX);
        for (size_t n = 0; n < rows[i].channels; n++)
            if (tally.at[n] != stage.logs[n].head)
                fail_msg("%s: channel %zu ends at %lu", rows[i].name, n, (unsigned long)tally.at[n]);
        if (has_met_objects != rows[i].meets_objects_max || has_met_bytes != rows[i].meets_bytes_max)
            fail_msg("%s: met %d and %d", rows[i].name, has_met_objects, has_met_bytes);
        buf_fini(&query);
        buf_fini(&body);
        sim_link_free(follower);
        sim_link_free(far);
        stage_fini(&stage);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_poll_is_answered_when_there_is_something),
        cmocka_unit_test(polls_among_streams_get_their_own),
        cmocka_unit_test(a_long_answer_leaves_no_memory_behind),
        cmocka_unit_test(no_poll_is_too_large_and_none_leaves_anything_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
