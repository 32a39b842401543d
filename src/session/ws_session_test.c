/* A WebSocket client's talk, to the frame. The writer is simulated, and so are loop and links. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "codec/ws/ws.h"
#include "message/place_digest.h"
#include "session/link.h"
#include "session/client.h"
#include "session/session_battery.h"

#include "lib/held_identifier.h"

#include <cmocka.h>

/* One client: what it has been sent, frame by frame, as "{…} {…} close 1001 ". */
struct ws_client {
    struct sim_link *far;
    struct buf in;     /* bytes not yet told */
    struct buf told;
    bool       is_open;
};

static void put_frame(struct buf *buf, enum ws_opcode opcode, struct span payload)
{
    must(payload.len < 65536);
    buf_putc(buf, (char)(0x80 | opcode));
    if (payload.len < 126) {
        buf_putc(buf, (char)(0x80 | payload.len));
    } else {
        buf_putc(buf, (char)(0x80 | 126));
        buf_putc(buf, (char)(payload.len >> 8));
        buf_putc(buf, (char)payload.len);
    }
    buf_put(buf, span_of("\0\0\0\0", 4));  /* a mask that changes nothing */
    buf_put(buf, payload);
}

/* The same text so many times, at once. */
static void ws_client_flood(struct ws_client *client, struct span text, int count)
{
    struct buf frames;

    buf_init(&frames, 1 << 20);
    while (count-- > 0)
        put_frame(&frames, WS_TEXT, text);
    sim_send(client->far, span_of(frames.at, (size_t)frames.len));
    buf_fini(&frames);
}

static void ws_client_send(struct ws_client *client, enum ws_opcode opcode, struct span payload)
{
    struct buf frame;

    buf_init(&frame, 1 << 17);
    put_frame(&frame, opcode, payload);
    sim_send(client->far, span_of(frame.at, (size_t)frame.len));
    buf_fini(&frame);
}

/* Tells one whole frame; false: none is there. Server frames are never masked. */
static bool ws_client_tell(struct ws_client *client)
{
    const unsigned char *at   = (const unsigned char *)client->in.at;
    size_t               head = 2, len;

    if (client->in.len < 2)
        return false;
    len = at[1];
    if (len == 126) {
        if (client->in.len < 4)
            return false;
        head = 4;
        len  = (size_t)at[2] << 8 | at[3];
    }
    if (len == 127) {
        if (client->in.len < 10)
            return false;
        head = 10;
        len  = 0;
        for (size_t i = 2; i < head; i++)
            len = len << 8 | at[i];
    }
    if (client->in.len < head + len)
        return false;
    if ((at[0] & 15) == WS_CLOSE)
        buf_putf(&client->told, "close %u ", len < 2 ? 1005u : (unsigned)at[2] << 8 | at[3]);
    else
        buf_putf(&client->told, "%.*s ", (int)len, (const char *)at + head);
    buf_drop(&client->in, head + len);
    return true;
}

static void ws_client_read(struct ws_client *client)
{
    client->is_open = stage_read(client->far, &client->in);
    while (ws_client_tell(client)) {}
}

static const char *ws_client_transcript(struct ws_client *client)
{
    buf_putc(&client->told, '\0');
    client->told.len--;
    return client->told.at;
}

static void ws_client_open(struct ws_client *client, struct stage *stage, const char *query)
{
    char request[512];
    int  len = snprintf(request, sizeof request,
                        "GET /v1/ws%s HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", query);

    *client = (struct ws_client){ .far = stage_connect(stage) };
    buf_init(&client->in, 1 << 24);
    buf_init(&client->told, 1 << 24);
    sim_send(client->far, span_of(request, (size_t)len));
    for (int i = 0; i < 4; i++)
        stage_turn(stage);
    must(stage_read(client->far, &client->in));
    const char *end = memmem(client->in.at, client->in.len, "\r\n\r\n", 4);
    assert_non_null(end);
    buf_drop(&client->in, (size_t)(end + 4 - client->in.at));
    while (ws_client_tell(client)) {}
    buf_clear(&client->told);  /* `connected` and what the query asked for */
}

static void ws_client_close(struct ws_client *client)
{
    sim_link_free(client->far);
    buf_fini(&client->in);
    buf_fini(&client->told);
}

static void turns(struct stage *stage, struct ws_client *client, int count)
{
    while (count-- > 0) {
        stage_turn(stage);
        ws_client_read(client);
    }
}

#define ERROR(code, reason, ref)                                                                           \
    "{\"type\":\"error\",\"code\":" #code ",\"reason\":\"" reason "\"" ref "} "
#define BACKOFF "\"reconnect\":{\"base_ms\":1000,\"factor\":2,\"cap_ms\":60000,\"jitter\":0.5},"
#define CONNECTED(resumed)                                                                                 \
    "{\"type\":\"connected\",\"connection\":\"0000000000000001\","              \
    "\"heartbeat\":25," BACKOFF "\"resumed\":" resumed "} "
#define RESUME_FAULT ERROR(400, "resume is an object: {\\\"channel\\\":{\\\"epoch\\\":…,\\\"seq\\\":…}}", "")
#define TOPIC_A "\"channel\":\"topic:a\",\"epoch\":\"0000000000000009\""

static void every_frame_has_its_answer(void **state)
{
    (void)state;
    static const struct { const char *name, *frame, *answer; } rows[] = {
        { "not JSON", "{", ERROR(400, "a frame is one JSON object: the text ends too early (byte 1)", "") },
        { "a member twice", "{\"type\":\"ping\",\"type\":1}",
          ERROR(400, "a frame is one JSON object: a member comes twice (byte 15)", "") },
        { "not an object", "[{\"ref\":1}]", ERROR(400, "a frame is one JSON object", "") },
        { "any JSON is a ref", "{\"type\":\"ping\",\"ref\":{\"a\":[\"\\u0022\",null]}}",
          "{\"type\":\"pong\",\"ref\":{\"a\":[\"\\u0022\",null]}} " },
        { "type is a number", "{\"type\":1,\"ref\":2}",
          ERROR(400, "a frame has a type, a string", ",\"ref\":2") },
        { "no cursor without channels", "{\"type\":\"cursor\"}",
          ERROR(409, "there is no cursor before every channel has said subscribed", "") },
        { "not followed", "{\"type\":\"unsubscribe\",\"channel\":\"topic:a\"}",
          ERROR(404, "this connection does not follow that channel", "") },
        { "subscribe", "{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"ref\":\"x\"}",
          "{\"type\":\"subscribed\"," TOPIC_A ",\"head\":0,\"ref\":\"x\"} " },
        { "publish to the server's own", "{\"type\":\"publish\",\"channel\":\"sys:a\",\"data\":1}",
          ERROR(403, "only the server itself publishes in this namespace", "") },
        { "publish", "{\"type\":\"publish\",\"channel\":\"topic:a\",\"data\":1,\"ref\":[]}",
          "{\"type\":\"published\"," TOPIC_A ",\"seq\":1,\"id\":1,\"time\":1,\"ref\":[]} " },
        { "data is any JSON",
          "{\"type\":\"publish\",\"channel\":\"topic:a\",\"data\":{\"a\":1,\"a\":{\"b\":2,\"b\":3}}}",
          "{\"type\":\"published\"," TOPIC_A ",\"seq\":1,\"id\":1,\"time\":1} " },
        { "a token that is none", "{\"type\":\"connect\",\"token\":\"x\",\"ref\":1}",
          ERROR(401, "this token is not known here", ",\"ref\":1") "close 1008 " },
        { "resume, nothing in it", "{\"type\":\"connect\",\"resume\":{}}", CONNECTED("false") },
        { "resume is a list", "{\"type\":\"connect\",\"resume\":[1]}", CONNECTED("false") RESUME_FAULT },
        { "resume is a list of pairs", "{\"type\":\"connect\",\"resume\":[\"topic:a\",{\"seq\":0}]}",
          CONNECTED("false") RESUME_FAULT },
        { "resume is a word", "{\"type\":\"connect\",\"resume\":\"topic:a\"}", CONNECTED("false") RESUME_FAULT },
        { "a place is a number", "{\"type\":\"connect\",\"resume\":{\"topic:a\":1}}", CONNECTED("true") RESUME_FAULT },
        { "a channel twice", "{\"type\":\"connect\",\"resume\":{\"topic:a\":{\"seq\":0},\"topic:a\":{\"seq\":1}}}",
          CONNECTED("false") RESUME_FAULT },
        { "a place with another epoch",
          "{\"type\":\"connect\",\"resume\":{\"topic:a\":{\"seq\":7,\"epoch\":\"0000000000000008\"}}}",
          CONNECTED("true")
          "{\"type\":\"subscribed\"," TOPIC_A ",\"head\":0} "
          "{\"type\":\"gap\"," TOPIC_A ",\"from\":1,\"to\":0,\"why\":\"epoch\"} " },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage  stage;
        struct ws_client client;

        stage_init(&stage, i);
        ws_client_open(&client, &stage, "");
        ws_client_send(&client, WS_TEXT, span_str(rows[i].frame));
        turns(&stage, &client, 4);
        if (!span_eq(buf_span(&client.told), span_str(rows[i].answer)))
            fail_msg("%s: %.*s", rows[i].name, SPAN_ARG(buf_span(&client.told)));
        ws_client_close(&client);
        stage_fini(&stage);
    }
}

/* A channel that was left before it answered counts no more: the others' cursor is there when they have answered. */
static void a_channel_can_be_left_before_it_answers(void **state)
{
    (void)state;
    struct stage  stage;
    struct ws_client client;

    stage_init(&stage, 1);
    ws_client_open(&client, &stage, "");
    ws_client_send(&client, WS_TEXT, SPAN("{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"ref\":1}"));
    ws_client_send(&client, WS_TEXT, SPAN("{\"type\":\"subscribe\",\"channel\":\"topic:b\"}"));
    ws_client_send(&client, WS_TEXT, SPAN("{\"type\":\"unsubscribe\",\"channel\":\"topic:b\"}"));
    ws_client_send(&client, WS_TEXT, SPAN("{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"ref\":2}"));
    ws_client_send(&client, WS_TEXT, SPAN("{\"type\":\"cursor\",\"ref\":3}"));
    turns(&stage, &client, 4);
    ws_client_send(&client, WS_TEXT, SPAN("{\"type\":\"cursor\",\"ref\":4}"));
    turns(&stage, &client, 2);
    struct span want = SPAN("{\"type\":\"unsubscribed\",\"channel\":\"topic:b\"} "
                            ERROR(409, "this connection follows that channel already", ",\"ref\":2")
                            ERROR(409, "there is no cursor before every channel has said subscribed", ",\"ref\":3")
                            "{\"type\":\"subscribed\"," TOPIC_A ",\"head\":0,\"ref\":1} "
                            "{\"type\":\"cursor\",\"cursor\":\"");
    if (!span_starts(buf_span(&client.told), want))
        fail_msg("%.*s", SPAN_ARG(buf_span(&client.told)));
    ws_client_close(&client);
    stage_fini(&stage);
}

/* The second round's channel is known here already, and has its place at once. */
static void a_mode_is_changed_once_subscribed_is_said(void **state)
{
    (void)state;
    struct stage  stage;
    struct ws_client client;

    stage_init(&stage, 1);
    ws_client_open(&client, &stage, "");
    for (int i = 0; i < 2; i++) {
        ws_client_send(&client, WS_TEXT, SPAN("{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"ref\":1}"));
        ws_client_send(&client, WS_TEXT, SPAN("{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"mode\":\"push\",\"after\":0,\"ref\":2}"));
        turns(&stage, &client, 4);
        ws_client_send(&client, WS_TEXT, SPAN("{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"mode\":\"push\",\"after\":0,\"ref\":3}"));
        turns(&stage, &client, 4);
        ws_client_send(&client, WS_TEXT, SPAN("{\"type\":\"unsubscribe\",\"channel\":\"topic:a\"}"));
        turns(&stage, &client, 2);
        assert_string_equal(ws_client_transcript(&client), ERROR(409, "this connection follows that channel already", ",\"ref\":2")
                                                           "{\"type\":\"subscribed\"," TOPIC_A ",\"head\":0,\"ref\":1} "
                                                           "{\"type\":\"subscribed\"," TOPIC_A ",\"head\":0,\"ref\":3} "
                                                           "{\"type\":\"unsubscribed\",\"channel\":\"topic:a\"} ");
        buf_clear(&client.told);
    }
    ws_client_close(&client);
    stage_fini(&stage);
}

/* What is published in the very turn in which a channel answers is news to its reader: the head that it's told is the
 * one that it begins behind, since that is where it will want to go on. */
static void the_head_told_is_where_the_reader_begins(void **state)
{
    (void)state;
    static const struct { const char *name, *place, *head, *gap; } rows[] = {
        { "from now on", "", "0", "" },
        { "claims too much", ",\"after\":9", "0",
          "{\"type\":\"gap\"," TOPIC_A ",\"from\":1,\"to\":9,\"why\":\"ahead\"} " },
        { "what there is", ",\"after\":0", "1", "" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage  stage;
        struct ws_client client;
        char          text[512];

        stage_init(&stage, i);
        ws_client_open(&client, &stage, "");
        snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"channel\":\"topic:a\"%s}", rows[i].place);
        ws_client_send(&client, WS_TEXT, span_str(text));
        ws_client_send(&client, WS_TEXT, SPAN("{\"type\":\"publish\",\"channel\":\"topic:a\",\"data\":1}"));
        turns(&stage, &client, 4);
        snprintf(text, sizeof text,
                 "{\"type\":\"published\"," TOPIC_A ",\"seq\":1,\"id\":1,\"time\":1} "
                 "{\"type\":\"subscribed\"," TOPIC_A ",\"head\":%s} %s{\"type\":\"message\"," TOPIC_A ",\"seq\":1,",
                 rows[i].head, rows[i].gap);
        if (!span_starts(buf_span(&client.told), span_str(text)))
            fail_msg("%s: %.*s", rows[i].name, SPAN_ARG(buf_span(&client.told)));
        ws_client_close(&client);
        stage_fini(&stage);
    }
}

/* RFC 6455 5.5.1: no data frame follows a Close. Both answers are late: the Close is already on its way. */
static void nothing_follows_a_close(void **state)
{
    (void)state;
    static const char *const asked[] = {
        "{\"type\":\"subscribe\",\"channel\":\"topic:a\"}",
        "{\"type\":\"publish\",\"channel\":\"topic:a\",\"data\":1}",
    };
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        struct stage  stage;
        struct ws_client client;

        stage_init(&stage, i);
        ws_client_open(&client, &stage, "");
        ws_client_send(&client, WS_TEXT, span_str(asked[i]));
        ws_client_send(&client, WS_TEXT, SPAN("{\"type\":\"connect\",\"token\":\"x\"}"));
        turns(&stage, &client, 4);
        if (!span_eq(buf_span(&client.told), SPAN(ERROR(401, "this token is not known here", "") "close 1008 ")))
            fail_msg("%s: %.*s", asked[i], SPAN_ARG(buf_span(&client.told)));
        ws_client_close(&client);
        stage_fini(&stage);
    }
}

/* The client's Close is answered with its own code, then the server ends the connection; one without a code too. */
static void a_close_is_answered_and_the_link_ended(void **state)
{
    (void)state;
    static const struct { const char *name; struct span payload; const char *told; } rows[] = {
        { "normal", SPAN("\x03\xe8"), "close 1000 " },
        { "no code", SPAN(""), "close 1005 " },
        { "a private code", SPAN("\x0f\xa0" "bye"), "close 4000 " },
        { "1005 on the wire", SPAN("\x03\xed"), "close 1002 " },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage  stage;
        struct ws_client client;

        stage_init(&stage, i);
        ws_client_open(&client, &stage, "?channel=topic:a");
        ws_client_send(&client, WS_CLOSE, rows[i].payload);
        turns(&stage, &client, 3);
        if (!span_eq(buf_span(&client.told), span_str(rows[i].told)))
            fail_msg("%s: %.*s", rows[i].name, SPAN_ARG(buf_span(&client.told)));
        if (i < 3)
            assert_false(client.is_open);  /* after a fault the server waits for the client's Close */
        ws_client_close(&client);
        stage_fini(&stage);
    }
}

/* Threat 74. The tests' clock stands still unless it is moved: all of it is within one second. */
static void a_flood_that_brings_nothing_is_cut(void **state)
{
    (void)state;
    static const struct { const char *name; enum ws_opcode opcode; } rows[] = {
        { "pings", WS_PING }, { "pongs", WS_PONG }, { "empty messages", WS_TEXT },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage     stage;
        struct ws_client client;

        stage_init(&stage, i);
        ws_client_open(&client, &stage, "");
        for (int second = 0; second < 3; second++) {
            for (int at = 0; at < 100; at++)
                ws_client_send(&client, rows[i].opcode, SPAN(""));
            turns(&stage, &client, 4);
            if (memmem(client.told.at, client.told.len, "close", 5) != NULL)
                fail_msg("%s: %.*s", rows[i].name, SPAN_ARG(buf_span(&client.told)));
            stage_pass(&stage, 1000);
        }
        for (int at = 0; at < 101; at++)
            ws_client_send(&client, rows[i].opcode, SPAN(""));
        turns(&stage, &client, 4);
        if (memmem(client.told.at, client.told.len, "close 1008 ", 11) == NULL)
            fail_msg("%s: %.*s", rows[i].name, SPAN_ARG(buf_span(&client.told)));
        ws_client_close(&client);
        stage_fini(&stage);
    }
}

/* A token of many channels is long, the question is short: who asks without reading must not fill our memory. */
static void cursors_asked_for_without_reading_do_not_heap_up(void **state)
{
    (void)state;
    enum { CHANNELS = 60, QUESTIONS = 200, WAITING_MAX = CLIENT_WORDS_BYTES_REST + 32 * 1024 };
    static const char cursor[] = "{\"type\":\"cursor\",\"cursor\":\"";
    struct stage  stage;
    struct ws_client client;
    unsigned      cursors = 0;
    char          text[320];

    stage_init(&stage, 1);
    ws_client_open(&client, &stage, "");
    for (int i = 0; i < CHANNELS; i++) {
        snprintf(text, sizeof text, "{\"type\":\"subscribe\",\"channel\":\"topic:%0200d\"}", i);
        ws_client_send(&client, WS_TEXT, span_str(text));
        turns(&stage, &client, 4);
    }
    ws_client_flood(&client, SPAN("{\"type\":\"cursor\"}"), QUESTIONS);
    stage_turn(&stage);
    assert_in_range(link_waiting_bytes(container_of(near_list_next(&stage.worker.lists->links), struct link, in_worker)), 1, WAITING_MAX);
    for (int round = 0; cursors < QUESTIONS; round++) {
        assert_true(round < 100);
        turns(&stage, &client, 100);
        cursors = 0;
        for (const char *at = ws_client_transcript(&client); (at = strstr(at, cursor)) != NULL; at++)
            cursors++;
    }
    assert_int_equal(stage.worker.gathered_bytes, 0);
    ws_client_close(&client);
    stage_fini(&stage);
}

/* … and so are the shortest frames, of which one read brings thousands, each answered by twenty times of its bytes. Its order stays, and so
 * does what comes behind. */
static void short_frames_sent_without_reading_do_not_heap_up(void **state)
{
    (void)state;
    enum { FRAMES = 8000, ANSWERS_MAX = CLIENT_WORDS_BYTES_REST + 4096 };
    static const char wrong[] = "{\"type\":\"error\",\"code\":400", pong[] = "{\"type\":\"pong\",\"ref\":7}";
    struct stage     stage;
    struct ws_client client;
    unsigned         count = 0;

    stage_init(&stage, 1);
    ws_client_open(&client, &stage, "");
    ws_client_flood(&client, SPAN("{}"), FRAMES);
    ws_client_send(&client, WS_TEXT, SPAN("{\"type\":\"ping\",\"ref\":7}"));
    for (int i = 0; i < 10; i++)
        stage_turn(&stage);
    const struct link *link = container_of(near_list_next(&stage.worker.lists->links), struct link, in_worker);
    assert_in_range(link_waiting_bytes(link), CLIENT_WORDS_BYTES_REST / 2, ANSWERS_MAX);
    assert_in_range(stage.worker.gathered_bytes, 1, LOOP_INPUT_BYTES);
    for (int round = 0; strstr(ws_client_transcript(&client), pong) == NULL; round++) {
        turns(&stage, &client, 20);
        assert_true(round < 100 && client.is_open);
        assert_true(link_waiting_bytes(link) <= ANSWERS_MAX);
    }
    for (const char *at = ws_client_transcript(&client); (at = strstr(at, wrong)) != NULL; at++)
        count++;
    assert_int_equal(count, FRAMES);
    assert_int_equal(stage.worker.gathered_bytes, 0);
    /* … and a client that goes in the midst of it leaves nothing. */
    ws_client_flood(&client, SPAN("{}"), FRAMES);
    for (int i = 0; i < 10; i++)
        stage_turn(&stage);
    assert_true(stage.worker.gathered_bytes > 0);
    ws_client_close(&client);
    for (int i = 0; i < 4; i++)
        stage_turn(&stage);
    assert_int_equal(stage.worker.gathered_bytes, 0);
    stage_fini(&stage);
}

/* Messages that come in pieces have a maximum together, and what was let go of makes room for others. */
static void messages_whose_end_does_not_come_have_a_maximum(void **state)
{
    (void)state;
    enum { CLIENTS = 4, WHOLE = 600, PART = 500, HEAD = 8 };
    struct stage  stage;
    struct ws_client clients[CLIENTS];
    struct buf    frame, text;

    stage_init(&stage, 1);
    stage.worker.limits.gathered_bytes_max = 2 * WHOLE;
    buf_init(&text, WHOLE);
    buf_init(&frame, WHOLE + HEAD);
    buf_putf(&text, "{\"type\":\"ping\",\"ref\":1%*s}", WHOLE - 24, "");
    put_frame(&frame, WS_TEXT, buf_span(&text));
    for (int i = 0; i < CLIENTS; i++)
        ws_client_open(&clients[i], &stage, "");
    for (int i = 0; i < 3; i++)
        sim_send(clients[i].far, span_of(frame.at, (size_t)PART));
    turns(&stage, &clients[2], 2);
    assert_string_equal(ws_client_transcript(&clients[2]), "close 1013 ");
    sim_send(clients[0].far, span_of(frame.at + PART, (size_t)frame.len - PART));
    ws_client_close(&clients[1]);
    turns(&stage, &clients[0], 2);
    assert_string_equal(ws_client_transcript(&clients[0]), "{\"type\":\"pong\",\"ref\":1} ");
    assert_int_equal(stage.worker.gathered_bytes, 0);
    sim_send(clients[3].far, span_of(frame.at, (size_t)PART));
    turns(&stage, &clients[3], 2);
    assert_int_equal(stage.worker.gathered_bytes, PART - HEAD);
    ws_client_close(&clients[0]);
    ws_client_close(&clients[2]);
    ws_client_close(&clients[3]);
    buf_fini(&frame);
    buf_fini(&text);
    stage_fini(&stage);
    assert_int_equal(stage.worker.gathered_bytes, 0);
}

/* While the disk is slow the server does not read from the client. The client is not taken for silent then. */
static void a_client_that_rests_is_not_silent(void **state)
{
    (void)state;
    enum { HEARTBEATS = 4 };
    struct stage  stage;
    struct ws_client client;

    stage_init(&stage, 1);
    stage.worker.limits.waiting_publishes_max = 1;
    ws_client_open(&client, &stage, "");
    stage.is_writer_stuck = true;
    ws_client_send(&client, WS_TEXT, SPAN("{\"type\":\"publish\",\"channel\":\"topic:a\",\"data\":1}"));
    turns(&stage, &client, 1);
    ws_client_send(&client, WS_TEXT, SPAN("{\"type\":\"ping\"}"));
    turns(&stage, &client, 1);
    msec began = stage.sim.loop.now;
    for (int i = 1; i <= HEARTBEATS; i++) {
        stage_pass(&stage, began + i * stage.worker.limits.heartbeat.asked_ms - stage.sim.loop.now);
        turns(&stage, &client, 1);
        assert_true(client.is_open);
    }
    stage.is_writer_stuck = false;
    turns(&stage, &client, 3);
    assert_string_equal(ws_client_transcript(&client),
                        "{\"type\":\"published\"," TOPIC_A ",\"seq\":1,\"id\":1,\"time\":1} "
                                                "{\"type\":\"pong\"} ");
    ws_client_close(&client);
    stage_fini(&stage);
}

/* The interval of a client that beats by itself, and when its link is closed for silence: after so many ms. */
static void who_offers_to_beat_is_closed_by_its_own_time(void **state)
{
    (void)state;
    static const struct { const char *name, *connect, *beat; int beats; msec heartbeat_s, asked_ms, closed_ms; } rows[] = {
        { "offers nothing",          "{\"type\":\"connect\"}",                     "{\"type\":\"ping\"}", 1, 25, 25000, 35000 },
        { "offers, no beats yet",    "{\"type\":\"connect\",\"heartbeat\":0}",     NULL, 0, 120, 130000, 1440000 },
        { "asks for 20 s",             "{\"type\":\"connect\",\"heartbeat\":20}",    "{\"type\":\"ping\"}", 11, 20, 30000, 240000 },
        { "asks for 20 s, grown up",   "{\"type\":\"connect\",\"heartbeat\":20}",    "{\"type\":\"ping\"}", 12, 20, 30000, 40000 },
        { "asks for too much",         "{\"type\":\"connect\",\"heartbeat\":86400}", "{\"type\":\"ping\"}", 12, 1800, 1810000, 1820000 },
        { "promises 60 s",           "{\"type\":\"connect\",\"heartbeat\":20}",    "{\"type\":\"ping\",\"next_ms\":60000}", 12, 20, 70000, 80000 },
        { "promises less",           "{\"type\":\"connect\",\"heartbeat\":600}",   "{\"type\":\"ping\",\"next_ms\":15000}", 12, 600, 25000, 35000 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage     stage;
        struct ws_client client;
        char             want[32];

        stage_init(&stage, 1);
        ws_client_open(&client, &stage, "");
        ws_client_send(&client, WS_TEXT, span_str(rows[i].connect));
        turns(&stage, &client, 2);
        snprintf(want, sizeof want, "\"heartbeat\":%lld,", (long long)rows[i].heartbeat_s);
        if (strstr(ws_client_transcript(&client), want) == NULL)
            fail_msg("%s: %s", rows[i].name, ws_client_transcript(&client));
        for (int beat = 0; beat < rows[i].beats; beat++) {
            ws_client_send(&client, WS_TEXT, span_str(rows[i].beat));
            turns(&stage, &client, 2);
        }
        buf_clear(&client.told);
        stage_pass(&stage, rows[i].asked_ms - 100);
        turns(&stage, &client, 1);
        if (strcmp(ws_client_transcript(&client), "") != 0)
            fail_msg("%s: asked too early", rows[i].name);
        stage_pass(&stage, 200);
        turns(&stage, &client, 1);
        if (strcmp(ws_client_transcript(&client), " ") != 0)
            fail_msg("%s: not asked in time", rows[i].name);
        stage_pass(&stage, rows[i].closed_ms - rows[i].asked_ms - 200);
        turns(&stage, &client, 1);
        if (!client.is_open)
            fail_msg("%s: closed too early", rows[i].name);
        stage_pass(&stage, 400);
        turns(&stage, &client, 1);
        if (client.is_open)
            fail_msg("%s: not closed in time", rows[i].name);
        ws_client_close(&client);
        stage_fini(&stage);
    }
}

static void says_ping(struct stage *stage, struct ws_client *client, uint64_t seq_of_a, const char *more)
{
    char text[160];
    int  len = snprintf(text, sizeof text, "{\"type\":\"ping\",\"digest\":\"%016llx\"%s}",
                        (unsigned long long)place_digest_term(SPAN("topic:a"), 9, seq_of_a), more);

    buf_clear(&client->told);
    ws_client_send(client, WS_TEXT, span_of(text, (size_t)len));
    turns(stage, client, 3);
}

/* The pong says where the server is only to whom stands somewhere else. */
static void a_ping_compares_places(void **state)
{
    (void)state;
    struct stage     stage;
    struct ws_client client;
    char             differs[80];

    stage_init(&stage, 1);
    struct stage_log *log = stage_log(&stage, "topic:a", 1, 4);
    ws_client_open(&client, &stage, "?channel=topic:a");
    turns(&stage, &client, 4);
    says_ping(&stage, &client, 4, "");
    assert_string_equal(ws_client_transcript(&client), "{\"type\":\"pong\"} ");
    snprintf(differs, sizeof differs, "{\"type\":\"pong\",\"digest\":\"%016llx\"} ",
             (unsigned long long)place_digest_term(SPAN("topic:a"), 9, 4));
    says_ping(&stage, &client, 3, "");
    assert_string_equal(ws_client_transcript(&client), differs);
    says_ping(&stage, &client, 4, ",\"places\":true");
    assert_string_equal(ws_client_transcript(&client),
                        "{\"type\":\"pong\",\"places\":{\"topic:a\":{\"seq\":4,\"epoch\":\"0000000000000009\"}}} ");
    stage_publish(&stage, log);
    turns(&stage, &client, 3);
    says_ping(&stage, &client, 5, "");
    assert_string_equal(ws_client_transcript(&client), "{\"type\":\"pong\"} ");
    assert_int_equal(counter_get(&stage.worker.counters.digests_differed), 1);
    assert_int_equal(counter_get(&stage.worker.counters.places_told), 1);
    ws_client_close(&client);
    stage_fini(&stage);
}

/* Each pong names the seq of the last message before it. Returns how many pongs there were. */
static unsigned told_in_order(const char *told)
{
    static const char message[] = "{\"type\":\"message\"", pong[] = "\"places\":{\"topic:a\":{";
    uint64_t          seq = 0;
    unsigned          count = 0;

    for (const char *at = told; *at != '\0'; at++) {
        bool is_message = strncmp(at, message, sizeof message - 1) == 0;
        bool is_pong    = strncmp(at, pong, sizeof pong - 1) == 0;
        if (!is_message && !is_pong)
            continue;
        uint64_t its = strtoull(strstr(at, "\"seq\":") + 6, NULL, 10);
        assert_int_equal(its, is_pong ? seq : seq + 1);
        seq = its;
        count += is_pong;
    }
    return count;
}

/* What was cut goes out before the pong, and what was taken back is drawn behind it: the pong's places are those of its
 * own position in the stream, however little the stream takes. */
static void a_pong_says_the_places_of_its_own_position(void **state)
{
    (void)state;
    struct stage     stage;
    struct ws_client client;
    char             asks[] = "{\"type\":\"ping\",\"digest\":\"0000000000000000\",\"places\":true}";
    unsigned         compared = 0;

    for (uint64_t seed = 0; seed < 40; seed++) {
        stage_init(&stage, seed);
        struct stage_log *log = stage_log(&stage, "topic:a", 1, 0);
        ws_client_open(&client, &stage, "?channel=topic:a");
        turns(&stage, &client, 4);
        for (int i = 0; i < 12; i++) {
            for (uint64_t count = rng_below(&stage.rng, 4); count > 0; count--)
                stage_publish(&stage, log);
            if (rng_below(&stage.rng, 2) == 0)
                stage_turn(&stage);  /* the client does not read, and its stream fills */
            ws_client_send(&client, WS_TEXT, span_str(asks));
            if (rng_below(&stage.rng, 2) == 0)
                stage_turn(&stage);
            else
                turns(&stage, &client, 1);
        }
        turns(&stage, &client, 200);
        compared += told_in_order(ws_client_transcript(&client));
        ws_client_close(&client);
        stage_fini(&stage);
    }
    assert_true(compared > 200);
}

/* docs/decisions/0015: at the next frame, or at the next heartbeat. A client that connected with another key since then
 * stays. */
static void who_came_by_a_key_that_is_gone_is_sent_away(void **state)
{
    (void)state;
    static const char away[] = "{\"type\":\"reconnect\",\"after\":502} close 1008 ";
    static const struct { const char *name, *frame; bool is_gone; const char *transcript; } rows[] = {
        { "says nothing", NULL, true, away },
        { "says something", "{\"type\":\"ping\"}", true, away },
        { "shows a key that is good", "{\"type\":\"connect\",\"token\":\"reader's\"}", true, away },
        { "says nothing, another is gone", NULL, false, " " },
        { "says something, another is gone", "{\"type\":\"ping\"}", false, "{\"type\":\"pong\"} " },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage  stage;
        struct ws_client client;

        stage_init(&stage, 1);
        ws_client_open(&client, &stage, "");
        (rows[i].is_gone ? stage.identifier->everyone : stage.identifier->reader)->is_revoked = true;
        if (rows[i].frame != NULL)
            ws_client_send(&client, WS_TEXT, span_str(rows[i].frame));
        else
            stage_pass(&stage, stage.worker.limits.heartbeat.asked_ms + WHEEL_TICK_MS);
        turns(&stage, &client, 2);
        if (strcmp(ws_client_transcript(&client), rows[i].transcript) != 0)
            fail_msg("%s: %s", rows[i].name, ws_client_transcript(&client));
        ws_client_close(&client);
        stage_fini(&stage);
    }
}

/* More publishes than may be under way: refused at once or not read yet, but every one is answered. */
static void a_flood_of_publishes_is_answered_to_the_last(void **state)
{
    (void)state;
    enum { PUBLISHES = 600 };
    struct stage  stage;
    struct ws_client client;
    unsigned      published = 0, refused = 0;

    stage_init(&stage, 1);
    stage.worker.limits.waiting_publishes_max = 4;
    ws_client_open(&client, &stage, "");
    for (int i = 0; i < PUBLISHES; i++) {
        ws_client_send(&client, WS_TEXT, SPAN("{\"type\":\"publish\",\"channel\":\"topic:a\",\"data\":1}"));
        if (i % 50 == 49)
            turns(&stage, &client, 1);
    }
    turns(&stage, &client, 20);
    for (const char *at = ws_client_transcript(&client); (at = strstr(at, "{\"type\":\"")) != NULL; at++) {
        published += strncmp(at, "{\"type\":\"published\"", 19) == 0;
        refused += strncmp(at, "{\"type\":\"error\",\"code\":429", 25) == 0;
    }
    assert_int_equal(published + refused, PUBLISHES);
    assert_true(published > 0 && refused > 0);
    ws_client_close(&client);
    stage_fini(&stage);
}

/* Cut off with publishes under way: their answers find nobody (threat 77). */
static void answers_outlive_their_asker(void **state)
{
    (void)state;
    struct stage  stage;
    struct ws_client client;

    stage_init(&stage, 1);
    ws_client_open(&client, &stage, "?channel=topic:b&after=0");
    ws_client_send(&client, WS_TEXT, SPAN("{\"type\":\"publish\",\"channel\":\"topic:a\",\"data\":1,\"ref\":1}"));
    ws_client_send(&client, WS_TEXT, SPAN("{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"ref\":1}"));
    ws_client_close(&client);
    stage_turn(&stage);
    stage_turn(&stage);
    assert_true(session_worker_is_idle(&stage.worker));
    assert_int_equal(stage.logs[1].head, 1);
    stage_fini(&stage);
}

/* One client that sends without end must not have the loop for itself: it is read from twice a turn at most. */
static void a_flood_leaves_turns_to_others(void **state)
{
    (void)state;
    enum { FLOOD_BYTES = 5 * LOOP_INPUT_BYTES / 2, PART_BYTES = 1000 };
    struct stage  stage;
    struct ws_client client;
    char          part[PART_BYTES];
    int           turn_count = 0;

    stage_init(&stage, 1);
    ws_client_open(&client, &stage, "");
    struct buf flood;
    buf_init(&flood, 2 * FLOOD_BYTES);
    memset(part, ' ', sizeof part);
    while (flood.len < FLOOD_BYTES) {  /* one message, in parts: nothing is owed before its end */
        size_t at = flood.len;
        put_frame(&flood, at == 0 ? WS_TEXT : WS_CONT, span_of(part, PART_BYTES));
        flood.at[at] &= 0x7f;
    }
    put_frame(&flood, WS_CONT, SPAN("{\"type\":\"ping\"}"));
    sim_send(client.far, span_of(flood.at, (size_t)flood.len));
    buf_fini(&flood);
    do {
        stage_turn(&stage);
        turn_count++;
    } while (sim_unread(client.far) > 0);
    assert_int_equal(turn_count, 2);
    turns(&stage, &client, 3);
    assert_true(span_eq(buf_span(&client.told), SPAN("{\"type\":\"pong\"} ")));
    ws_client_close(&client);
    stage_fini(&stage);
}

/* Threats 21, 52: a message that is begun and not ended, also by a client that has agreed to beat seldom; one that only keeps silent
 * stays. */
static void who_does_not_end_a_message_is_closed(void **state)
{
    (void)state;
    enum { HEARTBEAT_MS = 1000 };
    struct stage  stage;
    struct ws_client dawdler, sleeper, idler;

    stage_init(&stage, 1);
    stage.worker.limits.heartbeat.asked_ms      = HEARTBEAT_MS;
    stage.worker.limits.gather_timeout_ms = 2 * HEARTBEAT_MS;
    ws_client_open(&idler, &stage, "");
    ws_client_open(&dawdler, &stage, "");
    ws_client_open(&sleeper, &stage, "");
    ws_client_send(&sleeper, WS_TEXT, SPAN("{\"type\":\"connect\",\"heartbeat\":1800}"));
    turns(&stage, &sleeper, 2);
    assert_non_null(strstr(ws_client_transcript(&sleeper), "\"heartbeat\":1800"));
    sim_send(dawdler.far, span_of("\x01\x81\0\0\0\0{", (size_t)7));
    sim_send(sleeper.far, span_of("\x01\x81\0\0\0\0{", (size_t)7));
    turns(&stage, &dawdler, 1);
    turns(&stage, &sleeper, 1);
    stage_pass(&stage, HEARTBEAT_MS + WHEEL_TICK_MS);
    turns(&stage, &dawdler, 1);
    assert_null(strstr(ws_client_transcript(&dawdler), "close"));
    stage_pass(&stage, HEARTBEAT_MS + WHEEL_TICK_MS);
    turns(&stage, &dawdler, 1);
    turns(&stage, &sleeper, 1);
    assert_non_null(strstr(ws_client_transcript(&dawdler), "close 1008"));
    assert_non_null(strstr(ws_client_transcript(&sleeper), "close 1008"));
    ws_client_send(&idler, WS_TEXT, SPAN("{\"type\":\"ping\"}"));
    turns(&stage, &idler, 2);
    assert_non_null(strstr(ws_client_transcript(&idler), "pong"));
    ws_client_close(&dawdler);
    ws_client_close(&sleeper);
    ws_client_close(&idler);
    stage_fini(&stage);
}

/* --- a `connect` whose token takes time to be identified --------------------------------------------------------- */

#define CONNECT(token, ref) "{\"type\":\"connect\",\"token\":\"" token "\",\"ref\":" ref "}"
#define PING(ref)           "{\"type\":\"ping\",\"ref\":" ref "}"
#define PONG(ref)           "{\"type\":\"pong\",\"ref\":" ref "} "
#define WELCOME(ref)                                                                                       \
    "{\"type\":\"connected\",\"connection\":\"0000000000000001\","              \
    "\"heartbeat\":25," BACKOFF "\"resumed\":false,\"ref\":" ref "} "

static void frames_wait_in_order_behind_a_slow_connect(void **state)
{
    struct stage  stage;
    struct ws_client client, other;

    (void)state;
    stage_init(&stage, 1);
    ws_client_open(&client, &stage, "");
    ws_client_open(&other, &stage, "");
    stage.identifier->is_slow = true;
    ws_client_send(&client, WS_TEXT, SPAN(PING("1")));
    ws_client_send(&client, WS_TEXT, SPAN(CONNECT("reader's", "2")));
    ws_client_send(&client, WS_TEXT, SPAN("{\"type\":\"publish\",\"channel\":\"topic:a\",\"data\":1,\"ref\":3}"));
    turns(&stage, &client, 2);
    ws_client_send(&client, WS_TEXT, SPAN(CONNECT("another's", "4")));
    ws_client_send(&client, WS_TEXT, SPAN(PING("5")));
    turns(&stage, &client, 2);
    assert_string_equal(ws_client_transcript(&client), PONG("1"));
    ws_client_send(&other, WS_TEXT, SPAN(PING("6")));  /* stalls nobody */
    turns(&stage, &other, 2);
    assert_string_equal(ws_client_transcript(&other), PONG("6"));

    held_answer(stage.identifier);
    turns(&stage, &client, 2);
    assert_string_equal(ws_client_transcript(&client), PONG("1") WELCOME("2")
                        ERROR(403, "publishing here needs an API key with the right to publish, or the token of a "
                        "user who may", ",\"ref\":3"));
    assert_int_equal(stage.identifier->held_count, 1);
    held_answer(stage.identifier);
    turns(&stage, &client, 2);
    assert_non_null(strstr(ws_client_transcript(&client), ERROR(401, "this token is not known here", ",\"ref\":4")
                                                       "close 1008 "));
    ws_client_close(&client);
    ws_client_close(&other);
    stage_fini(&stage);
}

static void a_token_that_is_not_known_in_time_is_503(void **state)
{
    struct stage  stage;
    struct ws_client client;

    (void)state;
    stage_init(&stage, 1);
    ws_client_open(&client, &stage, "");
    stage.identifier->is_slow = true;
    ws_client_send(&client, WS_TEXT, SPAN(CONNECT("reader's", "1")));
    turns(&stage, &client, 2);
    stage_pass(&stage, 5000 + WHEEL_TICK_MS);
    turns(&stage, &client, 2);
    assert_string_equal(ws_client_transcript(&client),
                        ERROR(503, "who you are could not be found out in time; try again a little later", ",\"ref\":1")
                        "close 1013 ");
    ws_client_close(&client);
    stage_fini(&stage);
}

static void who_leaves_during_a_connect_cancels_it(void **state)
{
    struct stage  stage;
    struct ws_client client;

    (void)state;
    stage_init(&stage, 1);
    ws_client_open(&client, &stage, "");
    stage.identifier->is_slow = true;
    ws_client_send(&client, WS_TEXT, SPAN(CONNECT("reader's", "1")));
    ws_client_send(&client, WS_TEXT, SPAN(PING("2")));
    turns(&stage, &client, 2);
    assert_int_equal(stage.identifier->held_count, 1);
    ws_client_close(&client);
    for (int i = 0; i < 3; i++)
        stage_turn(&stage);
    assert_int_equal(stage.identifier->cancelled_count, 1);
    assert_int_equal(stage.worker.gathered_bytes, 0);
    stage_fini(&stage);
}

/* The server's stop says so at once, and its end ends what is under way. */
static void a_stop_does_not_wait_for_a_connect(void **state)
{
    struct stage  stage;
    struct ws_client client;

    (void)state;
    stage_init(&stage, 1);
    ws_client_open(&client, &stage, "");
    stage.identifier->is_slow = true;
    ws_client_send(&client, WS_TEXT, SPAN(CONNECT("reader's", "1")));
    turns(&stage, &client, 2);
    session_worker_stop(&stage.worker);
    turns(&stage, &client, 2);
    assert_string_equal(ws_client_transcript(&client), "{\"type\":\"reconnect\",\"after\":502} close 1001 ");
    held_answer(stage.identifier);
    turns(&stage, &client, 2);
    assert_string_equal(ws_client_transcript(&client), "{\"type\":\"reconnect\",\"after\":502} close 1001 ");
    ws_client_close(&client);
    stage_fini(&stage);
}

/* Threat 21: the newest links of nobody known are told to come again, then older ones; the others only when they are meant. */
static void links_are_shed_from_the_newest_on(void **state)
{
    enum { CROWD = 6, KNOWN = 1 };
    static const char gone[] = "{\"type\":\"reconnect\",\"after\":";
    struct stage      stage;
    struct ws_client  clients[CROWD];

    (void)state;
    stage_init(&stage, 1);
    for (int i = 0; i < CROWD; i++) {
        ws_client_open(&clients[i], &stage, "");
        if (i == KNOWN)
            ws_client_send(&clients[i], WS_TEXT, SPAN(CONNECT("reader's", "1")));
        turns(&stage, &clients[i], 2);
    }
    assert_int_equal(session_worker_shed(&stage.worker, false), 4);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < CROWD; i++) {
            turns(&stage, &clients[i], 2);
            bool is_told = strstr(ws_client_transcript(&clients[i]), gone) != NULL;
            assert_int_equal(is_told, i != KNOWN && (i >= CROWD - 4 || round == 1));
            assert_int_equal(strstr(ws_client_transcript(&clients[i]), "close 1013") != NULL, is_told);
        }
        if (round == 0)
            assert_int_equal(session_worker_shed(&stage.worker, false), 1);
    }
    assert_int_equal(counter_get(&stage.worker.counters.shed_strangers), CROWD - 1);
    assert_int_equal(session_worker_shed(&stage.worker, true), 1);
    turns(&stage, &clients[KNOWN], 2);
    assert_non_null(strstr(ws_client_transcript(&clients[KNOWN]), "close 1013"));
    for (int i = 0; i < CROWD; i++)
        ws_client_close(&clients[i]);
    stage_fini(&stage);
}

/* As much as a kernel would take that holds so many bytes which the server has not read. */
static size_t send_some(struct ws_client *client, struct span bytes)
{
    enum { HELD_BYTES_MAX = 200 * 1024 };
    size_t room = HELD_BYTES_MAX - sim_unread(client->far);

    bytes = span_head(bytes, bytes.len < room ? bytes.len : room);
    sim_send(client->far, bytes);
    return bytes.len;
}

/* What the client sends on is read only until a little of it waits, and is carried out to the last afterwards. */
static void little_is_held_behind_a_connect(void **state)
{
    enum { PINGS = 6000 };
    struct stage  stage;
    struct ws_client client;
    struct buf    frames;
    size_t        sent = 0;

    (void)state;
    stage_init(&stage, 1);
    ws_client_open(&client, &stage, "");
    stage.identifier->is_slow = true;
    ws_client_send(&client, WS_TEXT, SPAN(CONNECT("reader's", "1")));
    buf_init(&frames, 1 << 20);
    for (int i = 0; i < PINGS; i++)
        put_frame(&frames, WS_TEXT, SPAN(PING("0")));
    for (int i = 0; i < 100; i++) {
        sent += send_some(&client, span_skip(buf_span(&frames), sent));
        turns(&stage, &client, 1);
    }
    assert_true(stage.worker.gathered_bytes <= 4096 + LOOP_INPUT_BYTES);
    assert_string_equal(ws_client_transcript(&client), "");
    held_answer(stage.identifier);
    for (int i = 0; i < 1000 && client.told.len < PINGS * strlen(PONG("0")) + strlen(WELCOME("1")); i++) {
        sent += send_some(&client, span_skip(buf_span(&frames), sent));
        turns(&stage, &client, 1);
    }
    assert_int_equal(client.told.len, PINGS * strlen(PONG("0")) + strlen(WELCOME("1")));
    assert_int_equal(stage.worker.gathered_bytes, 0);
    buf_fini(&frames);
    ws_client_close(&client);
    stage_fini(&stage);
}

/* A client that is not known yet sends on behind its handshake, first a `connect`: all of it is held, and carried out. */
static void what_came_behind_the_handshake_is_held_to_the_last(void **state)
{
    static const char handshake[] =
        "GET /v1/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    enum { PINGS = 6000, FIRST_BYTES = 15 * 1024 };
    struct stage     stage;
    struct ws_client client;
    struct buf       frames;

    (void)state;
    stage_init(&stage, 1);
    stage.identifier->is_slow = true;
    client = (struct ws_client){ .far = stage_connect(&stage) };
    buf_init(&client.in, 1 << 24);
    buf_init(&client.told, 1 << 24);
    buf_init(&frames, 1 << 20);
    put_frame(&frames, WS_TEXT, SPAN(CONNECT("reader's", "1")));
    for (int i = 0; i < PINGS; i++)
        put_frame(&frames, WS_TEXT, SPAN(PING("0")));
    sim_send(client.far, span_str(handshake));
    stage_turn(&stage);
    stage_turn(&stage);
    assert_int_equal(stage.identifier->held_count, 1);
    sim_send(client.far, span_head(buf_span(&frames), FIRST_BYTES));
    stage_turn(&stage);
    sim_send(client.far, span_skip(buf_span(&frames), FIRST_BYTES));
    stage_turn(&stage);
    held_answer(stage.identifier);
    stage_turn(&stage);
    assert_true(stage_read(client.far, &client.in));
    assert_int_equal(stage.identifier->held_count, 1);
    const char *end = memmem(client.in.at, client.in.len, "\r\n\r\n", 4);
    assert_non_null(end);
    buf_drop(&client.in, (size_t)(end + 4 - client.in.at));
    held_answer(stage.identifier);
    turns(&stage, &client, 1000);
    size_t      pongs = 0;
    const char *at    = ws_client_transcript(&client);
    while ((at = strstr(at, "\"pong\"")) != NULL) {
        at++;
        pongs++;
    }
    assert_int_equal(pongs, PINGS);
    assert_int_equal(stage.worker.gathered_bytes, 0);
    buf_fini(&frames);
    ws_client_close(&client);
    stage_fini(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_frame_has_its_answer),
        cmocka_unit_test(a_channel_can_be_left_before_it_answers),
        cmocka_unit_test(a_mode_is_changed_once_subscribed_is_said),
        cmocka_unit_test(the_head_told_is_where_the_reader_begins),
        cmocka_unit_test(nothing_follows_a_close),
        cmocka_unit_test(a_close_is_answered_and_the_link_ended),
        cmocka_unit_test(a_flood_that_brings_nothing_is_cut),
        cmocka_unit_test(cursors_asked_for_without_reading_do_not_heap_up),
        cmocka_unit_test(short_frames_sent_without_reading_do_not_heap_up),
        cmocka_unit_test(messages_whose_end_does_not_come_have_a_maximum),
        cmocka_unit_test(a_client_that_rests_is_not_silent),
        cmocka_unit_test(who_offers_to_beat_is_closed_by_its_own_time),
        cmocka_unit_test(a_ping_compares_places),
        cmocka_unit_test(a_pong_says_the_places_of_its_own_position),
        cmocka_unit_test(who_came_by_a_key_that_is_gone_is_sent_away),
        cmocka_unit_test(a_flood_of_publishes_is_answered_to_the_last),
        cmocka_unit_test(answers_outlive_their_asker),
        cmocka_unit_test(a_flood_leaves_turns_to_others),
        cmocka_unit_test(who_does_not_end_a_message_is_closed),
        cmocka_unit_test(frames_wait_in_order_behind_a_slow_connect),
        cmocka_unit_test(a_token_that_is_not_known_in_time_is_503),
        cmocka_unit_test(who_leaves_during_a_connect_cancels_it),
        cmocka_unit_test(a_stop_does_not_wait_for_a_connect),
        cmocka_unit_test(links_are_shed_from_the_newest_on),
        cmocka_unit_test(little_is_held_behind_a_connect),
        cmocka_unit_test(what_came_behind_the_handshake_is_held_to_the_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
