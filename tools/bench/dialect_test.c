/* What each dialect hears in what its server says, whole and cut in two at every place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/dialect.h"

#include <cmocka.h>

/* In the scripts below these stand for payloads with the seqs 1 and 2. */
#define ONE "\xf1"
#define TWO "\xf2"

static void script_put(struct buf *wire, struct span script)
{
    for (size_t i = 0; i < script.len; i++) {
        char     payload[PAYLOAD_BYTES];
        uint32_t seq = script.at[i] == ONE[0] ? 1 : script.at[i] == TWO[0] ? 2 : 0;
        payload_write(&(struct stamp){ .seq = seq }, payload);
        buf_put(wire, seq > 0 ? span_of(payload, sizeof payload) : span_of(&script.at[i], 1));
    }
}

#define HTTP_101  "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
#define WS(len)   "\x81\x7e" len
#define EVENTS    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
#define BODY(len) "HTTP/1.1 200 OK\r\nContent-Length: " len "\r\n\r\n"

#define H2_SETTINGS "\0\0\0\4\0\0\0\0\0"

static const struct {
    const char *name, *peer, *transport;
    bool        is_publisher;
    struct span script;
    const char *want;  /* R ready, 1 and 2 payloads, A3 three acknowledged, F fault */
    const char *says;  /* how its answer begins; NULL: it has none */
} rows[] = {
    { "ws longwire", "longwire", "ws", false,
      SPAN(HTTP_101 "\x81\x14{\"type\":\"connected\"}\x81\x15{\"type\":\"subscribed\"}" WS("\x00\x8c")
            "{\"data\":\"" ONE
           "\"}.\x89\x02hi" WS("\x00\x80") TWO), "R12", "\x8a\x82" },
    { "ws longwire, error frame", "longwire", "ws", false, SPAN(HTTP_101 "\x81\x10{\"type\":\"error\"}"), "F" },
    { "ws longwire, refused", "longwire", "ws", false, SPAN("HTTP/1.1 403 Forbidden\r\n\r\n"), "F" },
    { "ws nchan", "nchan", "ws", false, SPAN(HTTP_101 WS("\x00\x80") ONE WS("\x00\x80") TWO), "R12" },
    { "ws closed", "nchan", "ws", false, SPAN(HTTP_101 "\x88\x02\x03\xe9"), "RF" },
    { "sse plain", "nchan", "sse", false,
      SPAN(EVENTS ": hi\n\nid: 1\ndata: " ONE "\n\nid: 2\ndata: " TWO "\n\n"), "R12" },
    { "sse chunked", "longwire", "sse", false,
      SPAN(EVENTS "5\r\n: hi\n\r\n99\r\nid: 1\ndata: {\"data\":\"" ONE "\"}\n\n\r\n99\r\nid: 2\ndata: {\"data\":\"" TWO
           "\"}\n\n\r\n"), "R12" },
    { "sse, not in data", "nchan", "sse", false, SPAN(EVENTS "id: " ONE "\n"), "RF" },
    { "sse gap", "longwire", "sse", false, SPAN(EVENTS "event: gap\n"), "RF" },
    { "poll longwire", "longwire", "poll", false,
      SPAN(BODY("29") "{\"messages\":[],\"cursor\":\"c0\"}"
           BODY("289") "{\"messages\":[\"" ONE "\",\"" TWO "\"],\"cursor\":\"c\"}"), "R12",
      "GET /v1/subscribe?cursor=c0&wait=30 HTTP/1.1\r\nHost: h\r\nAccept: application/json\r\n\r\n"
      "GET /v1/subscribe?cursor=c&wait=30 HTTP/1.1\r\nHost: h\r\nAccept: application/json\r\n\r\n" },
    { "poll longwire, gap", "longwire", "poll", false, SPAN(BODY("16") "[{\"type\":\"gap\"}]"), "RF" },
    { "poll longwire, no cursor", "longwire", "poll", false, SPAN(BODY("2") "{}"), "RF" },
    { "poll nchan", "nchan", "poll", false,
      SPAN("HTTP/1.1 200 OK\r\nContent-Length: 128\r\nLast-Modified: x\r\nEtag: 7\r\n\r\n" ONE
           "HTTP/1.1 200 OK\r\nContent-Length: 128\r\nLast-Modified: y\r\nEtag: 8\r\n\r\n" TWO), "12",
      "GET /poll/c-3 HTTP/1.1\r\nHost: h\r\nIf-Modified-Since: x\r\nIf-None-Match: 7\r\n\r\n"
      "GET /poll/c-3 HTTP/1.1\r\nHost: h\r\nIf-Modified-Since: y\r\nIf-None-Match: 8\r\n\r\n" },
    { "mqtt", "mosquitto", "tcp", false,
      SPAN("\x20\x02\0\0\x90\x03\0\1\0\x30\x85\x01\0\3c-3" ONE "\x30\x85\x01\0\3c-3" TWO), "R12" },
    { "mqtt refused", "mosquitto", "tcp", false, SPAN("\x20\x02\0\5"), "F" },
    { "mqtt acknowledged", "mosquitto", "acked", true, SPAN("\x20\x02\0\0\x40\x02\0\3\x40\x02\0\4"), "RA1A1" },
    { "native", "longwire-native", "tcp", false,
      SPAN("\x01\x01\x01\x02\x02\x10\x59\x85\x01\x11\0\1\1\0" ONE "\x01\x08\x85\x01\x12\0\1\1\0" TWO), "R12", "\x01\x09" },
    { "session", "longwire-native", "session", false,
      SPAN("\x0a\x01\x01\x01\xba\x01\x03tic\x01\x85\x01\x11\0\1\1\0" ONE), "R1" },
    { "native, a gap", "longwire-native", "tcp", false, SPAN("\x01\x13"), "F" },
    { "native acknowledged", "longwire-native", "acked", true, SPAN("\x01\x01\x01\x04\x01\x04"), "RA1A1" },
    { "native error", "longwire-native", "single", true, SPAN("\x01\x01\x01\x20"), "RF" },
    { "resp", "redis", "tcp", false,
      SPAN("*3\r\n$9\r\nsubscribe\r\n$3\r\nc-3\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$3\r\nc-3\r\n$128\r\n" ONE
            "\r\n"), "R1" },
    { "resp publisher", "redis", "single", true, SPAN(":1000\r\n:0\r\n$3\r\n1-0\r\n"), "A1A1A1" },
    { "resp error", "redis", "single", true, SPAN("-ERR no\r\n"), "F" },
    { "nats", "nats", "tcp", false,
      SPAN("INFO {}\r\nPONG\r\nMSG c-3 1 128\r\n" ONE "\r\nPING\r\nMSG c-3 1 128\r\n" TWO "\r\n"), "R12", "PONG\r\n" },
    { "nats error", "nats", "tcp", false, SPAN("-ERR 'no'\r\n"), "F" },
    { "post", "longwire", "single", true, SPAN(BODY("2") "{}HTTP/1.1 202 Accepted\r\n\r\n"), "A1A1" },
    { "post refused", "longwire", "single", true, SPAN("HTTP/1.1 429 Later\r\nContent-Length: 0\r\n\r\n"), "F" },
    { "batch", "longwire", "batch", true, SPAN(BODY("31") "[{\"status\":201},{\"status\":201}]"), "A2" },
    { "batch, one refused", "longwire", "batch", true, SPAN(BODY("31") "[{\"status\":201},{\"status\":507}]"), "F" },
    { "post h2", "longwire", "h2", true,
      SPAN(H2_SETTINGS "\0\0\0\4\1\0\0\0\0" "\0\0\1\1\4\0\0\0\1" "\x88" "\0\0\x09\0\1\0\0\0\1" "{\"seq\":7}"
           "\0\0\0\0\1\0\0\0\3"), "RA1", "" },
    { "post h2, a problem", "longwire", "h2", true, SPAN("\0\0\2\0\1\0\0\0\1" "{}"), "F" },
    { "beats", "baseline", "beat", false, SPAN("\1\x09" "\1\x09"), "RA1" },
    { "beats, no pong", "baseline", "beat", false, SPAN("\1\x08"), "F" },
    { "post h2, reset", "longwire", "h2", true, SPAN("\0\0\4\3\0\0\0\0\1" "\0\0\0\1"), "F" },
};

static void tell(struct buf *transcript, const struct note *note)
{
    struct stamp stamp;
    switch (note->heard) {
    case HEARD_NOTHING:
    case HEARD_NOISE:
        break;
    case HEARD_READY:
        buf_putc(transcript, 'R');
        break;
    case HEARD_PAYLOAD:
        assert_true(note->payload.len >= PAYLOAD_BYTES && payload_read(note->payload, &stamp));
        buf_put_u64(transcript, stamp.seq);
        break;
    case HEARD_ACK:
        buf_putc(transcript, 'A');
        buf_put_u64(transcript, note->count);
        break;
    case HEARD_FAULT:
        buf_putc(transcript, 'F');
        break;
    }
}

/* Hears all that is whole; returns how much that was. */
static size_t hear_all(struct client *client, struct span bytes, struct buf *transcript, bool *is_over)
{
    size_t used = 0;
    while (used < bytes.len && !*is_over) {
        struct note note = { 0 };
        used += client->dialect->hear(client, span_skip(bytes, used), &note);
        assert_true(used <= bytes.len);
        tell(transcript, &note);
        *is_over = note.heard == HEARD_FAULT;
        if (note.heard == HEARD_NOTHING)
            break;
    }
    return used;
}

static void row_test(size_t i, struct span wire, size_t cut)
{
    static const struct target target = { "h", "c-" };
    struct client               client  = { .target = &target, .channel = 3 };
    client.dialect = rows[i].is_publisher ? dialect_publisher(rows[i].peer, rows[i].transport)
                                         : dialect_subscriber(rows[i].peer, rows[i].transport);
    struct buf transcript;
    bool       is_over = false;
    assert_non_null(client.dialect);
    buf_init(&client.out, 4096);
    buf_init(&transcript, 4096);

    /* In a block of its own size, so that a sanitizer sees who reads beyond what has come. */
    char *come = malloc(cut + 1);
    assert_non_null(come);
    memcpy(come + 1, wire.at, cut);
    size_t used = hear_all(&client, span_of(come + 1, cut), &transcript, &is_over);
    free(come);
    if (!is_over)
        used += hear_all(&client, span_skip(wire, used), &transcript, &is_over);
    bool says_it = span_starts(buf_span(&client.out), span_str(rows[i].says)) &&
                   (rows[i].says != NULL || client.out.len == 0);
    if (!span_eq(buf_span(&transcript), span_str(rows[i].want)) || !says_it || (!is_over && used != wire.len))
        fail_msg("%s, cut at %zu: %.*s", rows[i].name, cut, SPAN_ARG(buf_span(&transcript)));
    buf_fini(&transcript);
    buf_fini(&client.out);
}

static void dialects_hear_the_same_for_every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf wire;
        buf_init(&wire, 4096);
        script_put(&wire, rows[i].script);
        for (size_t cut = 0; cut <= wire.len; cut++)
            row_test(i, buf_span(&wire), cut);
        buf_fini(&wire);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(dialects_hear_the_same_for_every_cut) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
