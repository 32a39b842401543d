/* Subscribers over WebSocket (RFC 6455): Longwire, nchan and the baseline. */
#include <endian.h>

#include "base/must.h"
#include "bench/dialect.h"
#include "bench/http_head.h"
#include "bench/ws_frame.h"

enum ws_stage { WS_HANDSHAKE, WS_FRAMES };
static void ws_upgrade(struct client *client, const char *path, const char *extra)
{
    buf_putf(&client->out, "GET %s%s%u HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: bG9uZ3dpcmUtYmVuY2ghIQ==\r\n%s\r\n",
             path, client->target->prefix, client->channel, client->target->host, extra);
}

static void longwire_greet(struct client *client)
{
    ws_upgrade(client, "/v1/ws?channel=", "Sec-WebSocket-Protocol: longwire.json.v1\r\n");
}

static void nchan_greet(struct client *client)
{
    ws_upgrade(client, "/sub/", "");
}

static void baseline_greet(struct client *client)
{
    ws_upgrade(client, "/", "");
}

bool ws_cut(struct span bytes, struct ws_frame *ret_frame)
{
    const unsigned char *at   = (const unsigned char *)bytes.at;
    size_t               head = 2;
    if (bytes.len < head)
        return false;
    uint64_t len = at[1] & 0x7f;
    if (len == 126) {
        head = 4;
        if (bytes.len < head)
            return false;
        len = (uint64_t)at[2] << 8 | at[3];
    } else if (len == 127) {
        head = 10;
        if (bytes.len < head)
            return false;
        memcpy(&len, at + 2, sizeof len);
        len = be64toh(len);
    }
    if (bytes.len - head < len)
        return false;
    *ret_frame = (struct ws_frame){ at[0] & 15u, span_of(bytes.at + head, len), head + len };
    return true;
}

static void ws_put(struct buf *out, enum ws_opcode opcode, struct span body)
{
    buf_putc(out, (char)(0x80 | opcode));
    buf_putc(out, (char)(0x80 | body.len));
    buf_put(out, span_of("\0\0\0\0", 4));
    buf_put(out, body);
}

void ws_put_text(struct buf *out, struct span text)
{
    must(text.len <= 125);
    ws_put(out, WS_TEXT, text);
}

void ws_pong(struct client *client, struct span body)
{
    ws_put(&client->out, WS_PONG, body);
}

static bool body_has(struct span body, struct span text)
{
    return memmem(body.at, body.len, text.at, text.len) != NULL;
}

static void ws_hear_message(struct span body, struct note *ret_note)
{
    const char *at = payload_find(body);
    if (at != NULL)
        *ret_note = (struct note){ HEARD_PAYLOAD, span_of(at, (size_t)(body.at + body.len - at)), 1 };
    else if (body_has(body, SPAN("\"type\":\"subscribed\"")))
        ret_note->heard = HEARD_READY;
    else if (body_has(body, SPAN("\"type\":\"error\"")) || body_has(body, SPAN("\"type\":\"gap\"")))
        *ret_note = (struct note){ .heard = HEARD_FAULT, .payload = body };
    else
        ret_note->heard = HEARD_NOISE;
}

static size_t ws_hear_frame(struct client *client, struct span bytes, struct note *ret_note)
{
    struct ws_frame frame;
    if (!ws_cut(bytes, &frame))
        return 0;
    switch (frame.opcode) {
    case WS_TEXT:
    case WS_BINARY:
        ws_hear_message(frame.body, ret_note);
        break;
    case WS_PING:
        ws_pong(client, frame.body);
        ret_note->heard = HEARD_NOISE;
        break;
    case WS_PONG:
        ret_note->heard = HEARD_NOISE;
        break;
    case WS_CLOSE:
        return dialect_fault(bytes, "the server closed the WebSocket", ret_note);
    default:
        return dialect_fault(bytes, "a WebSocket frame of an unknown or fragmented kind", ret_note);
    }
    return frame.wire_bytes;
}

/* The baseline and nchan subscribe with the handshake itself; Longwire says "subscribed" in a frame. */
static size_t ws_hear_handshake(struct client *client, struct span bytes, bool is_ready_with_it, struct note *ret_note)
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
    client->stage    = WS_FRAMES;
    ret_note->heard = is_ready_with_it ? HEARD_READY : HEARD_NOISE;
    return head.text.len;
}

static size_t longwire_hear(struct client *client, struct span bytes, struct note *ret_note)
{
    return client->stage == WS_FRAMES ? ws_hear_frame(client, bytes, ret_note)
                                     : ws_hear_handshake(client, bytes, false, ret_note);
}

static size_t plain_hear(struct client *client, struct span bytes, struct note *ret_note)
{
    return client->stage == WS_FRAMES ? ws_hear_frame(client, bytes, ret_note)
                                     : ws_hear_handshake(client, bytes, true, ret_note);
}

const struct dialect ws_dialects[] = {
    { "longwire", "ws", false, longwire_greet, longwire_hear, NULL },
    { "nchan", "ws", false, nchan_greet, plain_hear, NULL },
    { "baseline", "ws", false, baseline_greet, plain_hear, NULL },
    { 0 },
};
