/* ws_frame.h - WebSocket frames (RFC 6455) as a benchmark needs them. */
#ifndef BENCH_WS_FRAME_H
#define BENCH_WS_FRAME_H

#include "bench/dialect.h"

enum ws_opcode { WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

struct ws_frame {
    enum ws_opcode opcode;
    struct span    body;
    size_t         wire_bytes;
};

/* False until the whole frame is there. Servers don't mask (RFC 6455 5.1), and none of ours splits a message. */
bool ws_cut(struct span bytes, struct ws_frame *ret_frame);

/* A client masks its frames (RFC 6455 5.1); with a key of zeros that changes no byte. Text of at most 125 bytes. */
void ws_put_text(struct buf *out, struct span text);
void ws_pong(struct client *client, struct span body);

#endif
