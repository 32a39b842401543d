/* ws_tale.h - what the codec makes of some bytes, as one line of text. For the test, the fuzzer and the differential
 * program; never part of the server.
 *
 *   text(hi) ping() binary(%00%ff) close(1000,bye) fault(1002)
 *
 * Data pieces are joined: a message that a fault or the end of the bytes cuts off is not told of. The promises of ws.h
 * that hold for every input are checked on the way. */
#ifndef LIB_WS_TALE_H
#define LIB_WS_TALE_H

#include "base/must.h"
#include "codec/ws/ws.h"
#include "lib/laws.h"

enum { WS_TALE_MESSAGE_BYTES_MAX = 1 << 20 };

struct ws_tale_limits {
    uint64_t message_bytes_max;
    uint32_t fragments_max;
};

struct ws_tale {
    struct ws  ws;
    struct buf message;    /* the one under way */
    bool       is_inside;  /* of a message */
    bool       is_over;    /* a close or a fault was told */
};

/* Safe in JSON and in C: letters, digits and harmless marks as they are, all else as %xx. */
static inline void ws_tale_put(struct buf *story, struct span bytes)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

    for (size_t i = 0; i < bytes.len; i++) {
        if (memchr(plain, bytes.at[i], sizeof plain - 1) != NULL)
            buf_putc(story, bytes.at[i]);
        else
            buf_putf(story, "%%%02x", (unsigned char)bytes.at[i]);
    }
}

static inline void ws_tale_say(struct buf *story, const char *what, struct span bytes)
{
    buf_putf(story, "%s%s", story->len == 0 ? "" : " ", what);
    ws_tale_put(story, bytes);
    buf_putc(story, ')');
}

static inline void ws_tale_data(struct ws_tale *tale, const struct ws_piece *piece, struct buf *story)
{
    must(piece->opcode == WS_TEXT || piece->opcode == WS_BINARY);
    must(piece->is_first == !tale->is_inside);
    must(piece->bytes.len > 0 || piece->is_last);
    buf_put(&tale->message, piece->bytes);
    tale->is_inside = !piece->is_last;
    if (!piece->is_last)
        return;
    must(!buf_is_over(&tale->message));
    must(piece->opcode == WS_BINARY || utf8_is_valid(buf_span(&tale->message)));
    ws_tale_say(story, piece->opcode == WS_TEXT ? "text(" : "binary(", buf_span(&tale->message));
    buf_clear(&tale->message);
}

static inline void ws_tale_control(struct ws_tale *tale, const struct ws_piece *piece, struct buf *story)
{
    char what[16];

    must(piece->is_first && piece->is_last && piece->bytes.len <= WS_CONTROL_BYTES_MAX);
    if (piece->opcode == WS_CLOSE) {
        snprintf(what, sizeof what, "close(%d,", piece->code);
        ws_tale_say(story, what, piece->bytes);
        tale->is_over = true;
        return;
    }
    must(piece->opcode == WS_PING || piece->opcode == WS_PONG);
    ws_tale_say(story, piece->opcode == WS_PING ? "ping(" : "pong(", piece->bytes);
}

static inline void ws_tale_fault(struct ws_tale *tale, const struct ws_piece *piece, struct buf *story)
{
    must(piece->opcode == WS_CLOSE && piece->bytes.len > 0 && piece->bytes.len <= WS_REASON_BYTES_MAX);
    buf_putf(story, "%sfault(%d)", story->len == 0 ? "" : " ", piece->code);
    tale->is_over = true;
}

/* Until the codec wants more; *input becomes what it did not swallow. */
static inline void ws_tale_feed(struct ws_tale *tale, struct span *input, struct buf *story)
{
    for (;;) {
        bool            was_over = tale->is_over;
        size_t          used     = SIZE_MAX;
        struct ws_piece piece    = { .bytes = { NULL, SIZE_MAX } };
        enum ws_event   event    = ws_feed(&tale->ws, (char *)input->at, input->len, &used, &piece);

        must(used <= input->len);
        must(!was_over || (event == WS_MORE && used == input->len));
        if (event == WS_DATA || event == WS_CONTROL)
            must(piece.bytes.at >= input->at && piece.bytes.at + piece.bytes.len <= input->at + used);
        *input = span_skip(*input, used);
        switch (event) {
        case WS_MORE:
            must(input->len < WS_CONTROL_BYTES_MAX);
            return;
        case WS_DATA:    ws_tale_data(tale, &piece, story); break;
        case WS_CONTROL: ws_tale_control(tale, &piece, story); break;
        case WS_FAULT:   ws_tale_fault(tale, &piece, story); break;
        }
    }
}

/* A teller for the laws; `context` is a const struct ws_tale_limits *. */
static inline void ws_tale(struct cuts *cuts, void *context, struct buf *story)
{
    const struct ws_tale_limits *limits = context;
    struct ws_tale               tale   = { 0 };
    struct span                  input  = { 0 };

    ws_init(&tale.ws, limits->message_bytes_max, limits->fragments_max);
    buf_init(&tale.message, WS_TALE_MESSAGE_BYTES_MAX);
    while (cuts_next(cuts, input.len, &input))
        ws_tale_feed(&tale, &input, story);
    buf_fini(&tale.message);
}

#endif
