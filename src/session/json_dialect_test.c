/* The JSON dialect alone: what a frame becomes, and what an event is written as. No client, no link. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "session/dialect.h"

#include <cmocka.h>

enum { TEXT_BYTES_MAX = 1 << 16 };

static void put_start(struct buf *into, const struct start *start)
{
    static const char *const kinds[] = { [START_NOW] = "now", [START_AFTER] = "after", [START_LAST] = "last" };

    buf_putf(into, "%s %llu epoch %llx", kinds[start->kind], (unsigned long long)start->seq,
             (unsigned long long)start->epoch);
}

static void put_mode(struct buf *into, enum delivery_mode mode)
{
    static const char *const words[] = { [MODE_NOT_SAID] = "", [MODE_PUSH] = " push", [MODE_NOTIFY] = " notify" };

    buf_put(into, span_str(words[mode]));
}

static void put_connect(struct buf *into, const struct client_connect *connect)
{
    buf_putf(into, "connect token(%.*s)%s", SPAN_ARG(connect->token), connect->is_resuming ? " resumes" : "");
    if (connect->wants_session)
        buf_putf(into, " session(%.*s)(%.*s)", SPAN_ARG(connect->ticket), SPAN_ARG(connect->device_class));
    if (connect->has_beats)
        buf_putf(into, " beats %lld", (long long)connect->beat_ms);
    if (connect->cursor.len > 0)
        buf_putf(into, " cursor(%.*s)", SPAN_ARG(connect->cursor));
    put_mode(into, connect->mode);
    for (size_t i = 0; i < connect->place_count; i++) {
        const struct client_place *place = &connect->places[i];
        if (place->unknown.len > 0) {
            buf_putf(into, "; unknown %.*s", SPAN_ARG(place->unknown));
            continue;
        }
        if (place->fault != NULL) {
            buf_put_lit(into, "; faulty");
            continue;
        }
        buf_putf(into, "; %.*s ", SPAN_ARG(place->channel));
        put_start(into, &place->start);
    }
}

static void put_publish(struct buf *into, const struct client_publish *publish)
{
    buf_putf(into, "publish %.*s (%.*s) %.*s key(%.*s)", SPAN_ARG(publish->channel), SPAN_ARG(publish->payload),
             SPAN_ARG(publish->media), SPAN_ARG(publish->key));
    if (publish->has_ttl)
        buf_putf(into, " ttl %llu", (unsigned long long)publish->ttl_s);
}

static void put_request(struct buf *into, const struct request_asked *asked)
{
    buf_putf(into, "request %.*s %.*s %.*s (%.*s) in %llu", SPAN_ARG(asked->id), SPAN_ARG(asked->method), SPAN_ARG(asked->target),
             SPAN_ARG(asked->body), (unsigned long long)asked->timeout_ms);
    for (size_t i = 0; i < asked->field_count; i++)
        buf_putf(into, "; %.*s: %.*s", SPAN_ARG(asked->fields[i].name), SPAN_ARG(asked->fields[i].value));
}

static void put_command(struct buf *into, const struct client_command *command)
{
    switch (command->kind) {
    case CLIENT_CONNECT: put_connect(into, &command->connect); break;
    case CLIENT_SUBSCRIBE:
        buf_putf(into, "subscribe %.*s ", SPAN_ARG(command->subscribe.channel));
        put_start(into, &command->subscribe.start);
        if (command->subscribe.is_kept)
            buf_put_lit(into, " kept");
        if (command->subscribe.is_watched)
            buf_put_lit(into, " watched");
        put_mode(into, command->subscribe.mode);
        break;
    case CLIENT_UNSUBSCRIBE: buf_putf(into, "unsubscribe %.*s", SPAN_ARG(command->unsubscribe)); break;
    case CLIENT_PUBLISH: put_publish(into, &command->publish); break;
    case CLIENT_CURSOR: buf_put_lit(into, "cursor"); break;
    case CLIENT_PONG: buf_put_lit(into, "pong"); break;
    case CLIENT_PING:
        buf_put_lit(into, "ping");
        if (command->ping.next_ms != 0)
            buf_putf(into, " next %lld", (long long)command->ping.next_ms);
        if (command->ping.has_digest)
            buf_putf(into, " digest %llx", (unsigned long long)command->ping.digest);
        if (command->ping.wants_places)
            buf_put_lit(into, " places");
        break;
    case CLIENT_ACK:
    case CLIENT_READ:
        buf_putf(into, "%s %.*s %llu epoch %llx", command->kind == CLIENT_ACK ? "ack" : "read", SPAN_ARG(command->ack.channel), (unsigned long long)command->ack.seq,
                 (unsigned long long)command->ack.epoch);
        break;
    case CLIENT_REQUEST: put_request(into, command->request); break;
    case CLIENT_CANCEL: buf_putf(into, "cancel %.*s", SPAN_ARG(command->request_id)); break;
    case CLIENT_COMMAND_COUNT: fail();
    }
}

/* What the dialect makes of a frame, in words. */
static void put_reading(struct buf *into, struct dialect_scratch *scratch, struct span frame)
{
    struct client_command command;
    struct client_fault   fault;

    if (json_dialect.read(scratch, frame, &command, &fault))
        put_command(into, &command);
    else
        buf_putf(into, "%u %s%s", fault.code, fault.reason, fault.close_reason == NULL ? "" : ", and ends");
    if (command.ref.len > 0)
        buf_putf(into, " ref %.*s", SPAN_ARG(command.ref));
    if (command.request_id.len > 0)
        buf_putf(into, " of %.*s", SPAN_ARG(command.request_id));
}

static void a_frame_becomes_a_command(void **state)
{
    (void)state;
    static const char publish_takes[] =
        "400 publish takes channel, one of data and data_base64, and perhaps media, event, ttl, key, "
        "collapse_key, priority, ref";
    static const char ack_takes[]    = "400 ack takes channel and seq, perhaps epoch, and ref";
    static const char subscribe_takes[] = "400 subscribe takes channel, perhaps after (with epoch) or last, keep, presence, mode, and ref";
    static const char next_ms_is[]   = "400 next_ms is a number of milliseconds, from 1 to 86400000";
    static const char heartbeat_is[] = "400 heartbeat is a number of seconds, from 0 to 86400; 0: as the server likes";
    static const struct { const char *frame, *want; } rows[] = {
        { "{\"type\":\"ping\",\"ref\":[1]}", "ping ref [1]" },
        { "{\"type\":\"cursor\"}", "cursor" },
        { "{\"type\":\"request\",\"id\":\"r1\",\"method\":\"GET\",\"path\":\"/hello\",\"ref\":7}",
          "request r1 GET /hello () in 0 ref 7 of r1" },
        { "{\"type\":\"request\",\"id\":\"\\u0061\",\"method\":\"POST\",\"path\":\"/a\",\"headers\":{\"Accept\":\"a/b\"},"
          "\"body\":{\"n\":1},\"timeout_ms\":9}",
          "request a POST /a ({\"n\":1}) in 9; Accept: a/b; Content-Type: application/json of a" },
        { "{\"type\":\"request\",\"id\":\"r1\",\"body\":1,\"body_base64\":\"\"}",
          "400 a request has one of `body` and `body_base64`, or none of r1" },
        { "{\"type\":\"request\",\"id\":1}", "400 `id` is a string" },
        { "{\"type\":\"request\",\"id\":\"r1\",\"url\":\"/\"}",
          "400 unknown member \"url\": known are \"type\", \"ref\", \"id\", \"method\", \"path\", \"headers\", \"body\", "
          "\"body_base64\", \"timeout_ms\" of r1" },
        { "{\"type\":\"cancel\",\"id\":1,\"seq\":1}", "400 unknown member \"seq\": known are \"type\", \"ref\", \"id\"" },
        { "{\"type\":\"cancel\",\"id\":\"r1\",\"seq\":1}", "400 unknown member \"seq\": known are \"type\", \"ref\", \"id\" of r1" },
        { "{\"type\":\"cancel\",\"id\":\"r1\"}", "cancel r1 of r1" },
        { "{\"type\":\"cancel\",\"id\":{}}", "400 cancel takes id, and ref" },
        { "{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"keep\":true}", "subscribe topic:a now 0 epoch 0 kept" },
        { "{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"keep\":false}", "subscribe topic:a now 0 epoch 0" },
        { "{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"keep\":1}", subscribe_takes },
        { "{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"presence\":true}", "subscribe topic:a now 0 epoch 0 watched" },
        { "{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"presence\":1}", subscribe_takes },
        { "{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"mode\":\"notify\"}", "subscribe topic:a now 0 epoch 0 notify" },
        { "{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"mode\":\"push\",\"after\":2}",
          "subscribe topic:a after 2 epoch 0 push" },
        { "{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"mode\":\"Push\"}", "400 mode is push or notify" },
        { "{\"type\":\"connect\",\"mode\":1}", "400 mode is push or notify" },
        { "{\"type\":\"connect\",\"mode\":\"notify\"}", "connect token() notify" },
        { "{\"type\":\"ack\",\"channel\":\"user:a\",\"seq\":7,\"ref\":1}", "ack user:a 7 epoch 0 ref 1" },
        { "{\"type\":\"ack\",\"channel\":\"user:a\",\"seq\":7,\"epoch\":\"00000000000000ff\"}", "ack user:a 7 epoch ff" },
        { "{\"type\":\"ack\",\"channel\":\"user:a\"}", ack_takes },
        { "{\"type\":\"read\",\"channel\":\"user:a\",\"seq\":7,\"ref\":1}", "read user:a 7 epoch 0 ref 1" },
        { "{\"type\":\"read\",\"channel\":\"user:a\",\"seq\":7,\"epoch\":\"00000000000000ff\"}", "read user:a 7 epoch ff" },
        { "{\"type\":\"read\",\"seq\":7}", "400 read takes channel and seq, perhaps epoch, and ref" },
        { "{\"type\":\"ack\",\"seq\":7}", ack_takes },
        { "{\"type\":\"ack\",\"channel\":\"user:a\",\"seq\":-7}", ack_takes },
        { "{\"type\":\"connect\",\"session\":true,\"class\":\"mobile\"}", "connect token() session()(mobile)" },
        { "{\"type\":\"connect\",\"ticket\":\"t\"}", "connect token() session(t)()" },
        { "{\"type\":\"connect\",\"session\":\"yes\"}", "400 ticket and class are strings, and session is true or false" },
        { "{\"type\":\"subscribe\",\"channel\":\"topic:a\"}", "subscribe topic:a now 0 epoch 0" },
        { "{\"type\":\"subscribe\",\"channel\":\"topic:\\u0061\",\"after\":7,\"epoch\":\"00000000000000ff\"}",
          "subscribe topic:a after 7 epoch ff" },
        { "{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"last\":3,\"ref\":\"x\"}",
          "subscribe topic:a last 3 epoch 0 ref \"x\"" },
        { "{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"last\":3,\"after\":3}", subscribe_takes },
        { "{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"after\":-1}", subscribe_takes },
        { "{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"after\":9223372036854775808}", subscribe_takes },
        { "{\"type\":\"unsubscribe\",\"channel\":\"topic:a\"}", "unsubscribe topic:a" },
        { "{\"type\":\"unsubscribe\",\"channel\":7}", "unsubscribe " },
        { "{\"type\":\"publish\",\"channel\":\"topic:a\",\"data\":{\"b\": [1]}}",
          "publish topic:a ({\"b\": [1]}) application/json key()" },
        { "{\"type\":\"publish\",\"channel\":\"topic:a\",\"data\":\"\\u00e9\\n\",\"key\":\"k\\t\",\"ttl\":5}",
          "publish topic:a (é\n) text/plain key(k\t) ttl 5" },
        { "{\"type\":\"publish\",\"channel\":\"topic:a\",\"data_base64\":\"aGk\\u003d\",\"media\":\"image\\/png\"}",
          "publish topic:a (hi) image/png key()" },
        { "{\"type\":\"publish\",\"channel\":\"topic:a\",\"data_base64\":\"aGk\"}", publish_takes },
        { "{\"type\":\"publish\",\"channel\":\"topic:a\",\"data\":1,\"data_base64\":\"\"}", publish_takes },
        { "{\"type\":\"publish\",\"channel\":\"topic:a\"}", publish_takes },
        { "{\"type\":\"connect\"}", "connect token()" },
        { "{\"type\":\"connect\",\"token\":\"t\",\"resume\":null}", "connect token(t)" },
        { "{\"type\":\"connect\",\"token\":7,\"ref\":1}", "401 this token is not known here, and ends ref 1" },
        { "{\"type\":\"connect\",\"resume\":{}}", "connect token()" },
        { "{\"type\":\"connect\",\"resume\":[]}", "connect token(); faulty" },
        { "{\"type\":\"connect\",\"resume\":{\"topic:\\u0061\":{\"seq\":4},"
          "\"topic:b\":{\"seq\":5,\"epoch\":\"000000000000000a\"},\"topic:c\":1}}",
          "connect token() resumes; topic:a after 4 epoch 0; topic:b after 5 epoch a; faulty" },
        { "{\"type\":\"connect\",\"token\":\"\\u0074\",\"resume\":{\"topic:\\u0061\":{\"seq\":4}}}",
          "connect token(t) resumes; topic:a after 4 epoch 0" },
        { "{\"type\":\"connect\",\"cursor\":\"abc\",\"device\":\"phone\"}", "connect token() cursor(abc)" },
        { "{\"type\":\"connect\",\"cursor\":null}", "connect token()" },
        { "{\"type\":\"connect\",\"cursor\":5}", "400 cursor is a string, as the frame `cursor` gave it" },
        { "{\"type\":\"connect\",\"Resume\":{}}", "400 unknown member \"Resume\": did you mean \"resume\"?" },
        { "{\"type\":\"connect\",\"resume\":{\"topic:a\":{\"seq\":4,\"epoc\":\"x\"},\"topic:b\":{\"seq\":5}}}",
          "connect token() resumes; unknown epoc; topic:b after 5 epoch 0" },
        { "{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"afer\":3,\"ref\":9}",
          "400 unknown member \"afer\": did you mean \"after\"? ref 9" },
        { "{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"\\u0061fter\":3}", "subscribe topic:a after 3 epoch 0" },
        { "{\"type\":\"unsubscribe\",\"chanel\":\"topic:a\"}", "400 unknown member \"chanel\": did you mean \"channel\"?" },
        { "{\"type\":\"ping\",\"colour\":1}", "400 unknown member \"colour\": known are \"type\", \"ref\", \"next_ms\", \"digest\", \"places\"" },
        { "{\"type\":\"ping\",\"digest\":\"00000000000000ff\"}", "ping digest ff" },
        { "{\"type\":\"ping\",\"digest\":\"0000000000000000\",\"places\":true}", "ping digest 0 places" },
        { "{\"type\":\"ping\",\"digest\":\"ff\"}", "400 digest is 16 lowercase hex digits" },
        { "{\"type\":\"ping\",\"digest\":255}", "400 digest is 16 lowercase hex digits" },
        { "{\"type\":\"ping\",\"places\":1}", "400 places is true or false" },
        { "{\"type\":\"ping\",\"next_ms\":60000}", "ping next 60000" },
        { "{\"type\":\"ping\",\"next_ms\":86400000}", "ping next 86400000" },
        { "{\"type\":\"ping\",\"next_ms\":86400001}", next_ms_is },
        { "{\"type\":\"ping\",\"next_ms\":\"5\"}", next_ms_is },
        { "{\"type\":\"ping\",\"next_ms\":0}", next_ms_is },
        { "{\"type\":\"connect\",\"heartbeat\":0}", "connect token() beats 0" },
        { "{\"type\":\"connect\",\"heartbeat\":300}", "connect token() beats 300000" },
        { "{\"type\":\"connect\",\"heartbeat\":86401}", heartbeat_is },
        { "{\"type\":\"connect\",\"heartbeat\":true}", heartbeat_is },
        { "{\"type\":\"publish\",\"channel\":\"topic:a\",\"data\":1,\"Ttl\":1}", "400 unknown member \"Ttl\": did you mean \"ttl\"?" },
        { "[]", "400 a frame is one JSON object" },
        { "{\"type\":\"x\",\"ref\":0}",
          "400 unknown type; this version knows connect, subscribe, unsubscribe, publish, ack, read, request, cancel, cursor and ping ref 0" },
        { "{\"ref\":0}",
          "400 unknown type; this version knows connect, subscribe, unsubscribe, publish, ack, read, request, cancel, cursor and ping ref 0" },
        { "{\"type\":null}", "400 a frame has a type, a string" },
    };
    struct dialect_scratch scratch;
    struct buf             said;

    dialect_scratch_init(&scratch);
    buf_init(&said, TEXT_BYTES_MAX);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buf_clear(&said);
        put_reading(&said, &scratch, span_str(rows[i].frame));
        if (!span_eq(buf_span(&said), span_str(rows[i].want)))
            fail_msg("%s: %.*s", rows[i].frame, SPAN_ARG(buf_span(&said)));
        if (i % 7 == 0)
            dialect_scratch_trim(&scratch);
    }
    buf_fini(&said);
    dialect_scratch_fini(&scratch);
}

/* Longer than may be: the answer has none, rather than half of one. */
static void a_ref_has_a_maximum(void **state)
{
    (void)state;
    struct dialect_scratch scratch;
    struct client_command  command;
    struct client_fault    fault;
    char                   frame[400];

    dialect_scratch_init(&scratch);
    for (int digits = 255; digits <= 257; digits++) {
        int len = snprintf(frame, sizeof frame, "{\"type\":\"ping\",\"ref\":1%0*d}", digits - 1, 0);
        assert_true(json_dialect.read(&scratch, span_of(frame, (size_t)len), &command, &fault));
        assert_int_equal(command.ref.len, digits <= 256 ? digits : 0);
    }
    dialect_scratch_fini(&scratch);
}

static void an_event_becomes_an_object(void **state)
{
    (void)state;
    static const struct backoff backoff = { 1000, 60000, 200, 50 };
    static const struct place places[] = { { SPAN("topic:\"a"), 9, 4 }, { SPAN("topic:b"), 10, 0 } };
    static const struct { struct client_event event; const char *want; } rows[] = {
        { { .kind = EVENT_CONNECTED, .connected = { 0xab, 25000, true, 0, &backoff } },
          "{\"type\":\"connected\",\"connection\":\"00000000000000ab\","
          "\"heartbeat\":25,\"reconnect\":{\"base_ms\":1000,\"factor\":2,\"cap_ms\":60000,\"jitter\":0.5},\"resumed\":true}" },
        { { .kind = EVENT_SUBSCRIBED, .ref = SPAN("7"), .subscribed = { SPAN("topic:\"a"), 9, 4 } },
          "{\"type\":\"subscribed\",\"channel\":\"topic:\\\"a\",\"epoch\":\"0000000000000009\",\"head\":4,\"ref\":7}" },
        { { .kind = EVENT_UNSUBSCRIBED, .unsubscribed = SPAN("topic:a") },
          "{\"type\":\"unsubscribed\",\"channel\":\"topic:a\"}" },
        { { .kind = EVENT_CURSOR, .ref = SPAN("{}"), .cursor = SPAN("AQ") },
          "{\"type\":\"cursor\",\"cursor\":\"AQ\",\"ref\":{}}" },
        { { .kind = EVENT_PONG }, "{\"type\":\"pong\"}" },
        { { .kind = EVENT_PONG, .ref = SPAN("7"), .pong = { .has_digest = true, .digest = 0xff } },
          "{\"type\":\"pong\",\"digest\":\"00000000000000ff\",\"ref\":7}" },
        { { .kind = EVENT_PONG, .pong = { .has_places = true } }, "{\"type\":\"pong\",\"places\":{}}" },
        { { .kind = EVENT_PONG, .pong = { .has_places = true, .places = places, .place_count = 2 } },
          "{\"type\":\"pong\",\"places\":{\"topic:\\\"a\":{\"seq\":4,\"epoch\":\"0000000000000009\"},"
          "\"topic:b\":{\"seq\":0,\"epoch\":\"000000000000000a\"}}}" },
        { { .kind = EVENT_SUBSCRIBED, .subscribed = { SPAN("topic:a"), 9, 4, true, 2 } },
          "{\"type\":\"subscribed\",\"channel\":\"topic:a\",\"epoch\":\"0000000000000009\",\"head\":4,\"after\":2}" },
        { { .kind = EVENT_ERROR, .error = { 404, "not \"here\"" } },
          "{\"type\":\"error\",\"code\":404,\"reason\":\"not \\\"here\\\"\"}" },
        { { .kind = EVENT_ERROR, .error = { 404, "no", SPAN("r\"1") } },
          "{\"type\":\"error\",\"code\":404,\"reason\":\"no\",\"id\":\"r\\\"1\"}" },
        { { .kind = EVENT_ACCEPTED, .ref = SPAN("7"), .accepted = SPAN("r1") }, "{\"type\":\"accepted\",\"id\":\"r1\",\"ref\":7}" },
        { { .kind = EVENT_RECONNECT, .reconnect = { 1500, SPAN("") } }, "{\"type\":\"reconnect\",\"after\":1500}" },
        { { .kind = EVENT_RECONNECT, .reconnect = { 1500, SPAN("http://b:1,tcp://b:2") } },
          "{\"type\":\"reconnect\",\"after\":1500,\"where\":\"http://b:1,tcp://b:2\"}" },
    };
    struct buf said;

    buf_init(&said, TEXT_BYTES_MAX);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buf_clear(&said);
        json_dialect.put_event(&said, &rows[i].event);
        if (!span_eq(buf_span(&said), span_str(rows[i].want)))
            fail_msg("%s: %.*s", rows[i].want, SPAN_ARG(buf_span(&said)));
    }
    buf_fini(&said);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_becomes_a_command),
        cmocka_unit_test(a_ref_has_a_maximum),
        cmocka_unit_test(an_event_becomes_an_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
