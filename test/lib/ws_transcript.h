/* ws_transcript.h - what the codec makes of some bytes, as one line of text. For the unit test, the fuzzer and the
 * program of the differential test; never part of the server.
 *
 *   text(hi) ping() binary(%00%ff) long(text) close(1000,bye) fault(1002) deflated-text(%f2%48…)
 *
 * Pieces of data are joined; a message that a fault or the end of the bytes cuts off is left out. The transcript also
 * checks what ws.h promises for every input. */
#ifndef LIB_WS_TRANSCRIPT_H
#define LIB_WS_TRANSCRIPT_H

#include "base/must.h"
#include "codec/ws/ws.h"
#include "lib/laws.h"

enum { WS_TRANSCRIPT_MESSAGE_BYTES_MAX = 1 << 20 };

struct ws_transcript_limits {
    uint64_t message_bytes_max;
    uint32_t fragments_max;
    bool     skips_long;
    bool     may_deflate;
    bool     moves;        /* another process goes on after each cut, with nothing but the state */
};

struct ws_transcript {
    struct ws  ws;
    struct buf message;    /* the message under way */
    bool       is_inside;  /* of a message */
    bool       is_over;    /* a close or a fault is in the transcript */
};

/* Text that is safe in JSON and in C: letters, digits and harmless marks as they are, all other bytes as %xx. */
static inline void ws_transcript_put(struct buf *transcript, struct span bytes)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

    for (size_t i = 0; i < bytes.len; i++) {
        if (memchr(plain, bytes.at[i], sizeof plain - 1) != NULL)
            buf_putc(transcript, bytes.at[i]);
        else
            buf_putf(transcript, "%%%02x", (unsigned char)bytes.at[i]);
    }
}

static inline void ws_transcript_say(struct buf *transcript, const char *what, struct span bytes)
{
    buf_putf(transcript, "%s%s", transcript->len == 0 ? "" : " ", what);
    ws_transcript_put(transcript, bytes);
    buf_putc(transcript, ')');
}

static inline void ws_transcript_data(struct ws_transcript *run, const struct ws_piece *piece, struct buf *transcript)
{
    must(piece->opcode == WS_TEXT || piece->opcode == WS_BINARY);
    must(piece->is_first == !run->is_inside);
    must(piece->bytes.len > 0 || piece->is_last);
    buf_put(&run->message, piece->bytes);
    run->is_inside = !piece->is_last;
    if (!piece->is_last)
        return;
    must(!buf_is_over(&run->message));
    must(piece->opcode == WS_BINARY || piece->is_deflated || utf8_is_valid(buf_span(&run->message)));
    ws_transcript_say(transcript, piece->opcode == WS_TEXT ? (piece->is_deflated ? "deflated-text(" : "text(") :
                                  piece->is_deflated ? "deflated-binary(" : "binary(", buf_span(&run->message));
    buf_clear(&run->message);
}

static inline void ws_transcript_control(struct ws_transcript *run, const struct ws_piece *piece,
                                         struct buf *transcript)
{
    char what[16];

    must(piece->is_first && piece->is_last && piece->bytes.len <= WS_CONTROL_BYTES_MAX);
    if (piece->opcode == WS_CLOSE) {
        snprintf(what, sizeof what, "close(%d,", piece->code);
        ws_transcript_say(transcript, what, piece->bytes);
        run->is_over = true;
        return;
    }
    must(piece->opcode == WS_PING || piece->opcode == WS_PONG);
    ws_transcript_say(transcript, piece->opcode == WS_PING ? "ping(" : "pong(", piece->bytes);
}

static inline void ws_transcript_fault(struct ws_transcript *run, const struct ws_piece *piece, struct buf *transcript)
{
    must(piece->opcode == WS_CLOSE && piece->bytes.len > 0 && piece->bytes.len <= WS_REASON_BYTES_MAX);
    buf_putf(transcript, "%sfault(%d)", transcript->len == 0 ? "" : " ", piece->code);
    run->is_over = true;
}

static inline void ws_transcript_too_long(struct ws_transcript *run, const struct ws_piece *piece,
                                          struct buf *transcript)
{
    must(piece->opcode == WS_TEXT || piece->opcode == WS_BINARY);
    ws_transcript_say(transcript, "long(", piece->opcode == WS_TEXT ? SPAN("text") : SPAN("binary"));
    buf_clear(&run->message);
    run->is_inside = false;
}

/* Feeds the codec until it wants more; *input becomes what it did not consume. */
static inline void ws_transcript_feed(struct ws_transcript *run, struct span *input, struct buf *transcript)
{
    for (;;) {
        bool            was_over = run->is_over;
        size_t          used     = SIZE_MAX;
        struct ws_piece piece    = { .bytes = { NULL, SIZE_MAX } };
        enum ws_event   event    = ws_feed(&run->ws, (char *)input->at, input->len, &used, &piece);

        must(used <= input->len);
        must(!was_over || (event == WS_MORE && used == input->len));
        if (event == WS_DATA || event == WS_CONTROL)
            must(piece.bytes.at >= input->at && piece.bytes.at + piece.bytes.len <= input->at + used);
        *input = span_skip(*input, used);
        switch (event) {
        case WS_MORE:
            must(input->len < WS_CONTROL_BYTES_MAX);
            return;
        case WS_DATA:    ws_transcript_data(run, &piece, transcript); break;
        case WS_CONTROL: ws_transcript_control(run, &piece, transcript); break;
        case WS_TOO_LONG: ws_transcript_too_long(run, &piece, transcript); break;
        case WS_FAULT:   ws_transcript_fault(run, &piece, transcript); break;
        }
    }
}

static inline void ws_transcript_begin(struct ws *ws, const struct ws_transcript_limits *limits)
{
    ws_init(ws, limits->message_bytes_max, limits->fragments_max);
    if (limits->skips_long)
        ws_skip_long(ws);
    if (limits->may_deflate)
        ws_allow_deflate(ws);
}

static inline void ws_transcript_move(struct ws *ws, const struct ws_transcript_limits *limits)
{
    struct buf state;

    buf_init(&state, 100);
    ws_put_state(ws, &state);
    ws_transcript_begin(ws, limits);
    must(ws_get_state(ws, buf_span(&state)));
    buf_fini(&state);
}

/* A teller for laws.h; `context` is a const struct ws_transcript_limits *. */
static inline void ws_transcript(struct cuts *cuts, void *context, struct buf *transcript)
{
    const struct ws_transcript_limits *limits = context;
    struct ws_transcript               run   = { 0 };
    struct span                  input  = { 0 };

    ws_transcript_begin(&run.ws, limits);
    buf_init(&run.message, WS_TRANSCRIPT_MESSAGE_BYTES_MAX);
    while (cuts_next(cuts, input.len, &input)) {
        ws_transcript_feed(&run, &input, transcript);
        if (limits->moves)
            ws_transcript_move(&run.ws, limits);
    }
    buf_fini(&run.message);
}

#endif
