/* ws.h - the server's side of WebSocket (RFC 6455): bytes in, events out; frames and handshake answers back.
 *
 * Holds no socket, allocates nothing and keeps no copy of payload: it unmasks payload in place and hands it on as
 * spans into the caller's bytes. Its one extension is permessage-deflate (RFC 7692): ws_deflate.h compresses and inflates; here
 * a reserved bit is a fault unless that was agreed. Silent clients, floods of
 * pings and the time to close are the session's concern. One `struct ws` is 32 bytes. */
#ifndef CODEC_WS_WS_H
#define CODEC_WS_WS_H

#include "base/buf.h"
#include "base/utf8.h"

enum ws_opcode {
    WS_CONT   = 0,
    WS_TEXT   = 1,
    WS_BINARY = 2,
    WS_CLOSE  = 8,
    WS_PING   = 9,
    WS_PONG   = 10,
};

/* RFC 6455 7.4.1 and the IANA registry. */
enum {
    WS_CLOSE_NORMAL      = 1000,
    WS_CLOSE_GOING_AWAY  = 1001,
    WS_CLOSE_PROTOCOL    = 1002,
    WS_CLOSE_UNSUPPORTED = 1003,
    WS_CLOSE_NONE        = 1005,  /* a Close frame without a code; never on the wire */
    WS_CLOSE_BAD_DATA    = 1007,
    WS_CLOSE_POLICY      = 1008,
    WS_CLOSE_TOO_BIG     = 1009,
    WS_CLOSE_INTERNAL    = 1011,
    WS_CLOSE_TRY_LATER   = 1013,
};

enum {
    WS_HEAD_BYTES_MAX    = 10,   /* of a server's frame: it has no masking key */
    WS_CONTROL_BYTES_MAX = 125,  /* RFC 6455 5.5 */
    WS_REASON_BYTES_MAX  = 123,  /* a close code takes two of those bytes */
    WS_SKIPPED_BYTES_MAX = 64 * 1024 * 1024,  /* of a message that is too long, from the frame on that made it so */
    WS_ACCEPT_BYTES      = 28,
};

/* --- what the client sends --- */

/* How far one link's bytes have been read. Only ws.c looks inside. */
struct ws {
    uint32_t    message_bytes_max;
    uint32_t    message_room;    /* bytes by which the message under way may still grow; while it is skipped: bytes that
                                  * may still be skipped */
    uint32_t    frame_left;      /* payload bytes of this frame still to come */
    uint32_t    mask;            /* rotated: its lowest byte belongs to the next payload byte */
    uint32_t    fragments_max;
    uint32_t    fragments_left;  /* frames the message under way may still have */
    struct utf8 utf8;            /* of the text message under way; zero between messages */
    uint8_t     step;
    uint8_t     to_come;         /* bytes of this step still to come, if it takes several */
    uint8_t     opcode;          /* of this frame */
    uint8_t     message  : 2;    /* WS_TEXT, WS_BINARY, or 0 between messages */
    uint8_t     is_fin   : 1;    /* this frame is the last of its message */
    uint8_t     is_first : 1;    /* no piece of this message was handed out yet */
    uint8_t     may_skip : 1;    /* a message that is too long is skipped */
    uint8_t     is_skipped : 1;  /* the message under way is */
    uint8_t     may_deflate : 1; /* permessage-deflate was agreed */
    uint8_t     is_deflated : 1; /* the message under way is */
};

/* `message_bytes_max` (below 4 GiB): payload of one data message over all its frames; above it, 1009.
 * `fragments_max` (1 or more): frames one data message may be cut into; above it, 1008. */
void ws_init(struct ws *ws, uint64_t message_bytes_max, uint32_t fragments_max);

/* From now on a message above message_bytes_max is no fault: it is told by WS_TOO_LONG, and its rest is skipped. One of
 * which more than WS_SKIPPED_BYTES_MAX would have to be skipped is 1009. */
void ws_skip_long(struct ws *ws);

/* From now on the client may compress messages (RFC 7692 6). The pieces of such a message are handed out as they came: whoever has
 * all of them gives them to ws_inflate(), which holds the inflated message against message_bytes_max and checks its text. */
void ws_allow_deflate(struct ws *ws);

enum ws_event {
    WS_MORE,     /* no event before more bytes come */
    WS_DATA,     /* a piece of a text or binary message, in order; the fragments can't be seen */
    WS_CONTROL,  /* a whole ping, pong or close; it may come between the pieces of a message */
    WS_TOO_LONG, /* the message under way is too long: there are no more pieces of it, those that came are not whole */
    WS_FAULT,    /* the client broke a rule: send a close with `code` and `bytes`, then end the connection */
};

struct ws_piece {
    enum ws_opcode opcode;    /* TEXT, BINARY; PING, PONG, CLOSE; CLOSE for a fault, being what to send */
    bool           is_first;  /* of its message: both are true for one that came in one piece */
    bool           is_last;
    bool           is_deflated;  /* of a compressed message */
    uint16_t       code;      /* CLOSE: the client's code, WS_CLOSE_NONE if it gave none. Fault: ours */
    struct span    bytes;     /* payload; the reason for CLOSE; a static text for a fault */
};

/* Consumes `input` from its front up to the next event, and unmasks in place. *ret_used bytes are consumed; the caller
 * feeds what follows them next. *ret_piece is written unless the event is WS_MORE; its bytes lie in `input`.
 *
 * WS_MORE with *ret_used < len: the rest, at most 124 bytes, is the beginning of a control frame's payload and has not
 * been changed. The caller keeps the rest and feeds it again together with the bytes that follow. So no link needs a
 * buffer of its own for a cut control frame. A piece of data is empty only if it is the last of its message.
 *
 * Text that is not compressed is checked as it comes. A piece may end inside a character, but no piece holds a byte after which the message
 * can't be UTF-8, and a piece with is_last ends with a whole character. A fault is reported at the first byte that
 * shows it. After a close or a fault, further input is consumed and ignored (RFC 6455 1.4, 7.1.7). */
enum ws_event ws_feed(struct ws *ws, char *input, size_t len, size_t *ret_used, struct ws_piece *ret_piece);

/* How far the client's bytes have been read, for another process that goes on there; nothing between two frames and messages.
 * Appends. */
void ws_put_state(const struct ws *ws, struct buf *buf);
/* After ws_init() and what was allowed. False: these bytes are no such state. */
bool ws_get_state(struct ws *ws, struct span state);

/* --- what the server sends: never masked (5.1), never fragmented --- */

/* Added to the opcode of a message that ws_deflate() has compressed (RFC 7692 6: RSV1). */
enum { WS_DEFLATED = 0x40 };

/* Writes a frame's head for `len` payload bytes; returns its length, 2 to WS_HEAD_BYTES_MAX. */
size_t ws_put_head(char head[static WS_HEAD_BYTES_MAX], unsigned opcode, uint64_t len);

/* Control frames: at most WS_CONTROL_BYTES_MAX of payload. */
void ws_put_frame(struct buf *buf, unsigned opcode, struct span payload);

/* `reason` must be UTF-8; it is cut at WS_REASON_BYTES_MAX, between two characters. WS_CLOSE_NONE gives a close without
 * code and reason, so that a client's close can always be answered with the client's own code (5.5.1). */
void ws_put_close(struct buf *buf, uint16_t code, struct span reason);

/* --- the opening handshake (4.2) --- */

/* Is it the base64 of 16 bytes? */
bool ws_key_is_valid(struct span key);

/* The value of Sec-WebSocket-Accept for this key. */
void ws_accept(struct span key, char ret_accept[static WS_ACCEPT_BYTES]);

/* How far back the messages that we compress may refer: what was agreed about permessage-deflate (RFC 7692 7.1). No context is
 * taken over, on either side. A client may use any window. */
enum ws_window {
    WS_WINDOW_NONE,  /* it was not agreed */
    WS_WINDOW_9,     /* 2^9 bytes; the client asked for at most 2^9 to 2^11 */
    WS_WINDOW_12,    /* … 2^12 to 2^14 */
    WS_WINDOW_15,    /* … 2^15, … */
    WS_WINDOW_ANY,   /* … or nothing: 2^15, and the answer does not name it */
};

/* The value of Sec-WebSocket-Extensions in the answer: a static text, empty for WS_WINDOW_NONE. */
struct span ws_extensions(enum ws_window window);

/* What a request's header lines say about an upgrade. Zero it, call ws_handshake_see() for each line, then
 * ws_check_handshake(). The spans are borrowed from the request. */
struct ws_handshake {
    struct span key;
    struct span version;
    uint32_t    key_count;
    uint32_t    version_count;
    bool        is_upgrade;     /* Upgrade: has websocket among its values */
    bool        is_connection;  /* Connection: has upgrade among its values */
    bool        is_extended;    /* an extended CONNECT (RFC 8441 5): no Upgrade, no Connection, no key */
    bool        is_protocol_asked;
    bool        is_protocol_found;
    size_t      protocol;       /* if found: its place in the list of ours */
    enum ws_window window;      /* of the first offer of permessage-deflate that can be kept. A server that does not want it sets
                                 * WS_WINDOW_NONE before it answers */
    bool        is_extension_bad;  /* an offer is no list of extensions */
};

enum ws_offer {
    WS_OFFER_OK,       /* 101, with Sec-WebSocket-Accept, and with Sec-WebSocket-Protocol if one was found */
    WS_OFFER_BAD,      /* 400 */
    WS_OFFER_UPGRADE,  /* 426 with `Upgrade: websocket` and `Sec-WebSocket-Version: 13` */
};

/* `ours` are the subprotocols that the server speaks. They are compared byte by byte, in the client's order of
 * preference. If the server has none (`ours_count` 0), what the client asks for is ignored. */
void ws_handshake_see(struct ws_handshake *shake, struct span name, struct span value, const struct span *ours,
                      size_t ours_count);

/* The caller checks method (GET), HTTP version (1.1) and Host. A client that names only subprotocols that the server
 * does not speak is refused; a client that names none gets the default, and the answer names none. *ret_reason: why
 * the handshake is refused, a static text; written unless WS_OFFER_OK. */
enum ws_offer ws_check_handshake(const struct ws_handshake *shake, size_t ours_count, const char **ret_reason);

#endif
