/* Requests to a back end, each answered before it counts: by frames over a WebSocket (Longwire), and over HTTP/1.1 through a
 * proxy (nginx). "request-link": the link names no device, so that nothing of a request outlives it, as with a proxy. */
#include <string.h>
#include <unistd.h>

#include "bench/dialect.h"
#include "bench/http_head.h"
#include "bench/ws_frame.h"

enum request_stage { REQUEST_HANDSHAKE, REQUEST_FRAMES };

static void link_greet(struct client *client)
{
    buf_putf(&client->out, "GET /v1/ws HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bG9uZ3dpcmUtYmVuY2ghIQ==\r\n"
             "Sec-WebSocket-Protocol: longwire.json.v1\r\n\r\n", client->target->host);
}

static void link_say_who(struct client *client)
{
    struct buf  text;
    const char *device = strcmp(client->dialect->transport, "request-link") == 0 ? "" : "\"device\":\"d\",";

    buf_init(&text, 256);
    buf_putf(&text, "{\"type\":\"connect\",\"user\":\"bench-%u\",%s\"ref\":\"c\"}", client->id, device);
    ws_put_text(&client->out, buf_span(&text));
    buf_fini(&text);
}

static void link_publish(struct client *client, const struct outgoing *messages, size_t count)
{
    struct buf text;

    (void)messages;
    buf_init(&text, 256);
    for (size_t i = 0; i < count; i++) {
        buf_clear(&text);
        /* Another run on the same server is the same user, and its ids are answered already. */
        buf_putf(&text, "{\"type\":\"request\",\"id\":\"%x-%llu\",\"method\":\"GET\",\"path\":\"/hello\"}",
                 (unsigned)getpid(), (unsigned long long)client->left++);
        ws_put_text(&client->out, buf_span(&text));
    }
    buf_fini(&text);
}

static bool frame_has(struct span body, struct span text)
{
    return memmem(body.at, body.len, text.at, text.len) != NULL;
}

/* `connected` comes unasked first; the one that answers `connect` has its ref. */
static void link_hear_frame(struct span body, struct note *ret_note)
{
    if (frame_has(body, SPAN("\"type\":\"response\"")) && frame_has(body, SPAN("\"status\":200")) &&
        !frame_has(body, SPAN("\"replayed\"")))
        *ret_note = (struct note){ .heard = HEARD_ACK, .count = 1 };
    else if (frame_has(body, SPAN("\"type\":\"connected\"")) && frame_has(body, SPAN("\"ref\":\"c\"")))
        ret_note->heard = HEARD_READY;
    else if (frame_has(body, SPAN("\"type\":\"accepted\"")) || frame_has(body, SPAN("\"type\":\"connected\"")) ||
             frame_has(body, SPAN("\"type\":\"subscribed\"")))
        ret_note->heard = HEARD_NOISE;
    else
        *ret_note = (struct note){ .heard = HEARD_FAULT, .payload = body };
}

static size_t link_hear_handshake(struct client *client, struct span bytes, struct note *ret_note)
{
    struct http_head head;

    switch (http_head_read(bytes, &head)) {
    case HTTP_HEAD_PART:
        return 0;
    case HTTP_HEAD_BAD:
        return dialect_fault(bytes, "the answer to the handshake isn't HTTP/1.1", ret_note);
    case HTTP_HEAD_WHOLE:
        break;
    }
    if (head.status != 101) {
        *ret_note = (struct note){ .heard = HEARD_FAULT, .payload = bytes };
        return bytes.len;
    }
    client->stage   = REQUEST_FRAMES;
    ret_note->heard = HEARD_NOISE;
    link_say_who(client);
    return head.text.len;
}

static size_t link_hear(struct client *client, struct span bytes, struct note *ret_note)
{
    struct ws_frame frame;

    if (client->stage == REQUEST_HANDSHAKE)
        return link_hear_handshake(client, bytes, ret_note);
    if (!ws_cut(bytes, &frame))
        return 0;
    ret_note->heard = HEARD_NOISE;
    if (frame.opcode == WS_TEXT)
        link_hear_frame(frame.body, ret_note);
    else if (frame.opcode == WS_PING)
        ws_pong(client, frame.body);
    else if (frame.opcode == WS_CLOSE)
        return dialect_fault(bytes, "the server closed the WebSocket", ret_note);
    return frame.wire_bytes;
}

/* --- HTTP/1.1, through a proxy --- */

static void proxy_greet(struct client *client)
{
    (void)client;
}

static void proxy_publish(struct client *client, const struct outgoing *messages, size_t count)
{
    (void)messages;
    for (size_t i = 0; i < count; i++)
        buf_putf(&client->out, "GET /hello HTTP/1.1\r\nHost: %s\r\n\r\n", client->target->host);
}

static size_t proxy_hear(struct client *client, struct span bytes, struct note *ret_note)
{
    struct http_head head;

    (void)client;
    if (http_head_read(bytes, &head) == HTTP_HEAD_PART || bytes.len - head.text.len < head.body_bytes)
        return 0;
    if (head.status != 200)
        return dialect_fault(bytes, "the proxy did not answer 200", ret_note);
    *ret_note = (struct note){ .heard = HEARD_ACK, .count = 1 };
    return head.text.len + head.body_bytes;
}

const struct dialect request_dialects[] = {
    { "longwire", "request", false, link_greet, link_hear, link_publish },
    { "nchan", "request", true, proxy_greet, proxy_hear, proxy_publish },
    { "longwire", "request-link", false, link_greet, link_hear, link_publish },
    { "nchan", "request-link", true, proxy_greet, proxy_hear, proxy_publish },
    { 0 },
};
