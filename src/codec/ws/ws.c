#include "codec/ws/ws.h"

#include <endian.h>

#include "base/must.h"

/* A client's frame (RFC 6455 5.2), and the step that takes each part:
 *
 *   |FIN RSV opcode|MASK len|  2 or 8 length bytes  | 4 mask bytes | payload |
 *      STEP_OPCODE   STEP_LENGTH  STEP_LENGTH_16/_64     STEP_MASK   STEP_PAYLOAD
 *
 * Before the payload, bytes are taken one at a time and each is checked at once. So it does not matter where the
 * network cut the input, and no head has to be kept. */
enum step {
    STEP_OPCODE,
    STEP_LENGTH,
    STEP_LENGTH_16,
    STEP_LENGTH_64,
    STEP_MASK,
    STEP_PAYLOAD,
    STEP_OVER,  /* after a close or a fault */
};

enum { LENGTH_IN_16 = 126, LENGTH_IN_64 = 127, CONTROL_BIT = 8 };

void ws_init(struct ws *ws, uint64_t message_bytes_max, uint32_t fragments_max)
{
    must(message_bytes_max <= UINT32_MAX);
    must(fragments_max > 0);
    *ws = (struct ws){ .message_bytes_max = (uint32_t)message_bytes_max, .fragments_max = fragments_max };
}

void ws_skip_long(struct ws *ws)
{
    ws->may_skip = true;
}

void ws_allow_deflate(struct ws *ws)
{
    ws->may_deflate = true;
}

static enum ws_event ws_fault(struct ws *ws, struct ws_piece *ret_piece, uint16_t code, const char *reason)
{
    ws->step   = STEP_OVER;
    *ret_piece = (struct ws_piece){ .opcode = WS_CLOSE, .is_first = true, .is_last = true, .code = code,
                                    .bytes = span_str(reason) };
    return WS_FAULT;
}

static bool is_control(const struct ws *ws)
{
    return (ws->opcode & CONTROL_BIT) != 0;
}

/* --- the head --- */

static void next_step(struct ws *ws, enum step step, uint8_t to_come)
{
    ws->step    = step;
    ws->to_come = to_come;
}

/* Deflate makes what it can't compress a little longer, so a message that is just short enough may come as more bytes. */
static uint32_t deflated_bytes_max(uint32_t message_bytes_max)
{
    uint64_t bytes = (uint64_t)message_bytes_max + message_bytes_max / 16 + 64;
    return bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
}

static enum ws_event start_message(struct ws *ws, bool is_deflated, struct ws_piece *ret_piece)
{
    /* 5.4: fragments of one message are not interleaved with another's. */
    if (ws->message != 0)
        return ws_fault(ws, ret_piece, WS_CLOSE_PROTOCOL, "new message inside a fragmented one");
    ws->message        = ws->opcode & 3;
    ws->is_first       = true;
    ws->is_deflated    = is_deflated;
    ws->message_room   = is_deflated ? deflated_bytes_max(ws->message_bytes_max) : ws->message_bytes_max;
    ws->fragments_left = ws->fragments_max - 1;
    return WS_MORE;
}

static enum ws_event continue_message(struct ws *ws, struct ws_piece *ret_piece)
{
    /* 5.4: a continuation belongs to a message that was begun. */
    if (ws->message == 0)
        return ws_fault(ws, ret_piece, WS_CLOSE_PROTOCOL, "continuation of nothing");
    /* Our own bound: endless empty fragments would cost work and never reach the bound on bytes. */
    if (ws->fragments_left == 0)
        return ws_fault(ws, ret_piece, WS_CLOSE_POLICY, "message in too many fragments");
    ws->fragments_left--;
    return WS_MORE;
}

/* 5.2: a reserved bit means only what an extension says. RFC 7692 6: RSV1 stands on the first frame of a compressed message, and
 * neither on a control frame nor on a continuation. */
static bool has_unknown_bit(const struct ws *ws, uint8_t byte)
{
    bool may_deflate = ws->may_deflate && (ws->opcode == WS_TEXT || ws->opcode == WS_BINARY);
    return (byte & 0x70 & ~(may_deflate ? WS_DEFLATED : 0)) != 0;
}

static enum ws_event take_opcode(struct ws *ws, uint8_t byte, struct ws_piece *ret_piece)
{
    ws->is_fin = byte >> 7;
    ws->opcode = byte & 0x0f;
    next_step(ws, STEP_LENGTH, 0);

    if (has_unknown_bit(ws, byte))
        return ws_fault(ws, ret_piece, WS_CLOSE_PROTOCOL, "reserved bit set");

    switch (ws->opcode) {
    case WS_TEXT:
    case WS_BINARY:
        return start_message(ws, (byte & WS_DEFLATED) != 0, ret_piece);
    case WS_CONT:
        return continue_message(ws, ret_piece);
    case WS_CLOSE:
    case WS_PING:
    case WS_PONG:
        /* 5.5: control frames are not fragmented. */
        if (!ws->is_fin)
            return ws_fault(ws, ret_piece, WS_CLOSE_PROTOCOL, "fragmented control frame");
        return WS_MORE;
    default:
        /* 5.2: an unknown opcode fails the connection. */
        return ws_fault(ws, ret_piece, WS_CLOSE_PROTOCOL, "unknown opcode");
    }
}

/* 10.4, 7.4.1: the head says that the message is too big, so it is refused before this frame's payload comes. */
static enum ws_event refuse_length(struct ws *ws, struct ws_piece *ret_piece)
{
    if (!ws->may_skip || ws->is_skipped || ws->frame_left > WS_SKIPPED_BYTES_MAX)
        return ws_fault(ws, ret_piece, WS_CLOSE_TOO_BIG, "message too big");
    ws->is_skipped   = true;
    ws->message_room = WS_SKIPPED_BYTES_MAX - ws->frame_left;
    *ret_piece       = (struct ws_piece){ .opcode = ws->message, .bytes = span_str("") };
    return WS_TOO_LONG;
}

/* The frame's length is known: frame_left. */
static enum ws_event end_length(struct ws *ws, struct ws_piece *ret_piece)
{
    next_step(ws, STEP_MASK, 4);
    if (is_control(ws))
        return WS_MORE;
    if (ws->frame_left > ws->message_room)
        return refuse_length(ws, ret_piece);
    ws->message_room -= ws->frame_left;
    return WS_MORE;
}

static enum ws_event ws_take_length(struct ws *ws, uint8_t byte, struct ws_piece *ret_piece)
{
    uint8_t len = byte & 0x7f;

    /* 5.1: a client's frames are masked; one that isn't ends the connection. */
    if ((byte & 0x80) == 0)
        return ws_fault(ws, ret_piece, WS_CLOSE_PROTOCOL, "client frame is not masked");

    /* 5.5: control frames hold at most 125 bytes. */
    if (is_control(ws) && len > WS_CONTROL_BYTES_MAX)
        return ws_fault(ws, ret_piece, WS_CLOSE_PROTOCOL, "control frame too long");

    ws->frame_left = 0;
    if (len == LENGTH_IN_16) {
        next_step(ws, STEP_LENGTH_16, 2);
        return WS_MORE;
    }
    if (len == LENGTH_IN_64) {
        next_step(ws, STEP_LENGTH_64, 8);
        return WS_MORE;
    }
    ws->frame_left = len;
    return end_length(ws, ret_piece);
}

/* Both long forms; `least` is the first length that needs this one. */
static enum ws_event take_long_length(struct ws *ws, uint8_t byte, uint32_t least, struct ws_piece *ret_piece)
{
    /* 5.2: the 64-bit form's top bit is zero. */
    if (ws->to_come == 8 && (byte & 0x80) != 0)
        return ws_fault(ws, ret_piece, WS_CLOSE_PROTOCOL, "length above 2^63");

    /* The shift below would lose bits. The length is above 4 GiB already, and so above any message_bytes_max. */
    if (ws->frame_left >> 24 != 0)
        return ws_fault(ws, ret_piece, WS_CLOSE_TOO_BIG, "message too big");

    ws->frame_left = ws->frame_left << 8 | byte;
    if (--ws->to_come > 0)
        return WS_MORE;

    /* 5.2: "the minimal number of bytes MUST be used to encode the length". */
    if (ws->frame_left < least)
        return ws_fault(ws, ret_piece, WS_CLOSE_PROTOCOL, "length not in its shortest form");
    return end_length(ws, ret_piece);
}

static enum ws_event take_mask(struct ws *ws, uint8_t byte)
{
    /* After four shifts the first byte is the lowest. */
    ws->mask = ws->mask >> 8 | (uint32_t)byte << 24;
    if (--ws->to_come == 0)
        next_step(ws, STEP_PAYLOAD, 0);
    return WS_MORE;
}

static enum ws_event take_head_byte(struct ws *ws, uint8_t byte, struct ws_piece *ret_piece)
{
    switch ((enum step)ws->step) {
    case STEP_OPCODE:    return take_opcode(ws, byte, ret_piece);
    case STEP_LENGTH:    return ws_take_length(ws, byte, ret_piece);
    case STEP_LENGTH_16: return take_long_length(ws, byte, LENGTH_IN_16, ret_piece);
    case STEP_LENGTH_64: return take_long_length(ws, byte, UINT16_MAX + 1, ret_piece);
    case STEP_MASK:      return take_mask(ws, byte);
    case STEP_PAYLOAD:
    case STEP_OVER:      break;
    }
    must(!"a head byte in a head's step");
}

/* --- the payload --- */

/* 5.3, eight bytes at a time. Afterwards the mask is rotated for the byte that follows. */
static void unmask(struct ws *ws, char *at, size_t len)
{
    uint64_t pair = htole64((uint64_t)ws->mask << 32 | ws->mask);
    uint64_t word;
    size_t   i = 0;

    for (; i + sizeof word <= len; i += sizeof word) {
        memcpy(&word, at + i, sizeof word);
        word ^= pair;
        memcpy(at + i, &word, sizeof word);
    }
    for (; i < len; i++) {
        at[i] ^= (char)(ws->mask & 0xff);
        ws->mask = ws->mask >> 8 | ws->mask << 24;
    }
}

/* The payload of a message that is too long. */
static enum ws_event skip_data(struct ws *ws, size_t len, size_t *ret_used)
{
    *ret_used = len < ws->frame_left ? len : ws->frame_left;
    ws->frame_left -= (uint32_t)*ret_used;
    if (ws->frame_left > 0)
        return WS_MORE;
    ws->step = STEP_OPCODE;
    if (ws->is_fin) {
        ws->message    = 0;
        ws->is_skipped = false;
        ws->utf8       = (struct utf8){ 0 };
    }
    return WS_MORE;
}

/* WS_MORE if no byte has come yet, and for an empty fragment that is not the last. */
static enum ws_event take_data(struct ws *ws, char *input, size_t len, size_t *ret_used, struct ws_piece *ret_piece)
{
    size_t count = len < ws->frame_left ? len : ws->frame_left;

    must(ws->message == WS_TEXT || ws->message == WS_BINARY);

    *ret_used = count;
    unmask(ws, input, count);
    ws->frame_left -= (uint32_t)count;

    bool is_frame_end   = ws->frame_left == 0;
    bool is_message_end = is_frame_end && ws->is_fin;
    if (is_frame_end)
        ws->step = STEP_OPCODE;

    /* 5.6, 8.1: text is UTF-8 over the whole message; a fragment may end inside a character. */
    struct span bytes = span_of(input, count);
    if (ws->message == WS_TEXT && !ws->is_deflated &&
        (!utf8_feed(&ws->utf8, bytes) || (is_message_end && !utf8_is_whole(&ws->utf8))))
        return ws_fault(ws, ret_piece, WS_CLOSE_BAD_DATA, "text is not UTF-8");

    if (count == 0 && !is_message_end)
        return WS_MORE;
    *ret_piece   = (struct ws_piece){ .opcode = ws->message, .is_first = ws->is_first, .is_last = is_message_end,
                                      .is_deflated = ws->is_deflated, .bytes = bytes };
    ws->is_first = false;
    if (is_message_end)
        ws->message = 0;
    return WS_DATA;
}

/* 7.4: the codes that a Close frame may have. 1004, 1005, 1006 and 1015 are for APIs and never on the wire. The codes
 * between the registered ones and 3000 are reserved for the protocol itself; above 4999 nothing is defined. */
static bool is_wire_code(uint16_t code)
{
    if (code >= 3000)
        return code <= 4999;
    return code >= 1000 && code <= 1014 && code != 1004 && code != WS_CLOSE_NONE && code != 1006;
}

static enum ws_event take_close(struct ws *ws, struct span payload, struct ws_piece *ret_piece)
{
    ws->step = STEP_OVER;

    *ret_piece = (struct ws_piece){ .opcode = WS_CLOSE, .is_first = true, .is_last = true, .code = WS_CLOSE_NONE,
                                    .bytes = payload };
    if (payload.len == 0)
        return WS_CONTROL;

    /* 5.5.1: if there is a body, its first two bytes are a code, the rest is a reason in UTF-8. */
    if (payload.len == 1)
        return ws_fault(ws, ret_piece, WS_CLOSE_PROTOCOL, "half a close code");
    uint16_t code = (uint16_t)((uint8_t)payload.at[0] << 8 | (uint8_t)payload.at[1]);
    if (!is_wire_code(code))
        return ws_fault(ws, ret_piece, WS_CLOSE_PROTOCOL, "close code not allowed");
    struct span reason = span_skip(payload, 2);
    if (!utf8_is_valid(reason))
        return ws_fault(ws, ret_piece, WS_CLOSE_BAD_DATA, "close reason is not UTF-8");

    ret_piece->code  = code;
    ret_piece->bytes = reason;
    return WS_CONTROL;
}

/* A control frame's payload is taken whole or not at all. */
static enum ws_event take_control(struct ws *ws, char *input, size_t len, size_t *ret_used,
                                  struct ws_piece *ret_piece)
{
    must(ws->frame_left <= WS_CONTROL_BYTES_MAX);
    *ret_used = 0;
    if (len < ws->frame_left)
        return WS_MORE;

    struct span payload = span_of(input, ws->frame_left);
    unmask(ws, input, payload.len);
    *ret_used = payload.len;
    ws->step  = STEP_OPCODE;
    if (ws->opcode == WS_CLOSE)
        return take_close(ws, payload, ret_piece);
    *ret_piece = (struct ws_piece){ .opcode = ws->opcode, .is_first = true, .is_last = true, .bytes = payload };
    return WS_CONTROL;
}

enum ws_event ws_feed(struct ws *ws, char *input, size_t len, size_t *ret_used, struct ws_piece *ret_piece)
{
    enum ws_event event = WS_MORE;
    size_t        at    = 0;

    do {
        while (event == WS_MORE && ws->step < STEP_PAYLOAD && at < len)
            event = take_head_byte(ws, (uint8_t)input[at++], ret_piece);
        if (ws->step == STEP_PAYLOAD) {
            size_t used;
            event = is_control(ws) ? take_control(ws, input + at, len - at, &used, ret_piece) :
                    ws->is_skipped ? skip_data(ws, len - at, &used) :
                                     take_data(ws, input + at, len - at, &used, ret_piece);
            at += used;
        }
    } while (event == WS_MORE && ws->step < STEP_PAYLOAD && at < len);

    /* What follows a fault, or a close that came earlier, is ignored. */
    bool is_ignored = ws->step == STEP_OVER && event != WS_CONTROL;
    must(at <= len);
    *ret_used = is_ignored ? len : at;
    return event;
}

/* --- its state --- */

enum { STATE_NUMBERS = 5, STATE_BYTES = 4 * STATE_NUMBERS + 5 };

enum { STATE_IS_FIN = 1, STATE_IS_FIRST = 2, STATE_IS_SKIPPED = 4, STATE_IS_DEFLATED = 8, STATE_BITS = 16 };

void ws_put_state(const struct ws *ws, struct buf *buf)
{
    const uint32_t numbers[STATE_NUMBERS] = { ws->message_room, ws->frame_left, ws->mask, ws->fragments_left, ws->utf8.state };

    if (ws->step == STEP_OPCODE && ws->message == 0)
        return;
    for (size_t i = 0; i < STATE_NUMBERS; i++)
        for (int shift = 0; shift < 32; shift += 8)
            buf_putc(buf, (char)(numbers[i] >> shift));
    buf_putc(buf, (char)ws->step);
    buf_putc(buf, (char)ws->to_come);
    buf_putc(buf, (char)ws->opcode);
    buf_putc(buf, (char)ws->message);
    buf_putc(buf, (char)((ws->is_fin ? STATE_IS_FIN : 0) | (ws->is_first ? STATE_IS_FIRST : 0) |
                         (ws->is_skipped ? STATE_IS_SKIPPED : 0) | (ws->is_deflated ? STATE_IS_DEFLATED : 0)));
}

static bool ws_is_sound(const struct ws *ws, uint8_t message)
{
    bool is_known = ws->opcode <= WS_BINARY || (ws->opcode >= WS_CLOSE && ws->opcode <= WS_PONG);
    bool is_data  = ws->step == STEP_PAYLOAD && !is_control(ws);

    if (ws->step == STEP_OVER)
        return true;  /* whatever a fault has left is not looked at any more */
    if (ws->is_deflated && !ws->may_deflate)
        return false;

    return is_known && ws->step <= STEP_OVER && message <= WS_BINARY && ws->utf8.state >> 16 <= 3 && ws->to_come <= 8 &&
           (ws->to_come > 0 || ws->step < STEP_LENGTH_16 || ws->step > STEP_MASK) && (!is_data || message != 0) &&
           (!is_control(ws) || ws->step < STEP_MASK || ws->frame_left <= WS_CONTROL_BYTES_MAX);
}

bool ws_get_state(struct ws *ws, struct span state)
{
    const unsigned char *at = (const unsigned char *)state.at;
    uint32_t             numbers[STATE_NUMBERS];

    if (state.len == 0)
        return true;
    if (state.len != STATE_BYTES || at[STATE_BYTES - 1] >= STATE_BITS)
        return false;
    for (size_t i = 0; i < STATE_NUMBERS; i++, at += 4)
        numbers[i] = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
    ws->message_room   = numbers[0];
    ws->frame_left     = numbers[1];
    ws->mask           = numbers[2];
    ws->fragments_left = numbers[3];
    ws->utf8.state     = numbers[4];
    ws->step           = at[0];
    ws->to_come        = at[1];
    ws->opcode         = at[2];
    ws->message        = at[3] & 3;
    ws->is_fin         = (at[4] & STATE_IS_FIN) != 0;
    ws->is_first       = (at[4] & STATE_IS_FIRST) != 0;
    ws->is_skipped     = (at[4] & STATE_IS_SKIPPED) != 0;
    ws->is_deflated    = (at[4] & STATE_IS_DEFLATED) != 0;
    return ws_is_sound(ws, at[3]);
}

/* --- what the server sends --- */

size_t ws_put_head(char head[static WS_HEAD_BYTES_MAX], unsigned opcode, uint64_t len)
{
    size_t long_bytes = len < LENGTH_IN_16 ? 0 : len <= UINT16_MAX ? 2 : 8;

    head[0] = (char)(0x80 | opcode);
    head[1] = (char)(long_bytes == 0 ? len : long_bytes == 2 ? LENGTH_IN_16 : LENGTH_IN_64);
    for (size_t i = 0; i < long_bytes; i++)
        head[2 + i] = (char)(len >> 8 * (long_bytes - 1 - i));
    return 2 + long_bytes;
}

void ws_put_frame(struct buf *buf, unsigned opcode, struct span payload)
{
    char head[WS_HEAD_BYTES_MAX];

    must((opcode & CONTROL_BIT) == 0 || payload.len <= WS_CONTROL_BYTES_MAX);
    buf_put(buf, span_of(head, ws_put_head(head, opcode, payload.len)));
    buf_put(buf, payload);
}

/* The longest beginning of UTF-8 text within `bytes_max` that ends between two characters. */
static struct span cut_text(struct span text, size_t bytes_max)
{
    if (text.len <= bytes_max)
        return text;
    size_t len = bytes_max;
    while (len > 0 && ((uint8_t)text.at[len] & 0xc0) == 0x80)
        len--;
    return span_head(text, len);
}

void ws_put_close(struct buf *buf, uint16_t code, struct span reason)
{
    char        payload[WS_CONTROL_BYTES_MAX];
    struct span cut = cut_text(reason, WS_REASON_BYTES_MAX);

    if (code == WS_CLOSE_NONE) {
        ws_put_frame(buf, WS_CLOSE, SPAN(""));
        return;
    }
    must(is_wire_code(code));
    payload[0] = (char)(code >> 8);
    payload[1] = (char)code;
    if (cut.len > 0)
        memcpy(payload + 2, cut.at, cut.len);
    ws_put_frame(buf, WS_CLOSE, span_of(payload, 2 + cut.len));
}
