/* Any bytes, however cut, tell one transcript, also if another process goes on at each cut with the state of the one before; and what ws.h promises for every input holds (ws_transcript.h checks
 * it). The first byte chooses the limits, the rest is what the client sends; and what we send. */
#include <stdio.h>

#include "lib/ws_transcript.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* RFC 6455 5.2: what we send is one whole frame, unmasked, its length in the shortest form. */
static void check_frame(struct span frame, enum ws_opcode opcode, struct span payload)
{
    const uint8_t *at       = (const uint8_t *)frame.at;
    size_t         head_len = payload.len < 126 ? 2 : 4;
    size_t         len      = payload.len < 126 ? at[1] : (size_t)at[2] << 8 | at[3];

    must(at[0] == (0x80 | opcode) && (payload.len < 126 || at[1] == 126));
    must(len == payload.len && span_eq(span_skip(frame, head_len), payload));
}

static void check_sending(struct span bytes)
{
    struct buf frame;

    buf_init(&frame, WS_HEAD_BYTES_MAX + bytes.len);
    ws_put_frame(&frame, WS_BINARY, bytes);
    check_frame(buf_span(&frame), WS_BINARY, bytes);
    buf_fini(&frame);
    if (!utf8_is_valid(bytes))
        return;
    /* A reason is cut between characters, so that it stays text. */
    buf_init(&frame, 2 + WS_CONTROL_BYTES_MAX);
    ws_put_close(&frame, WS_CLOSE_POLICY, bytes);
    struct span reason = span_skip(buf_span(&frame), 4);
    must(span_starts(bytes, reason) && utf8_is_valid(reason));
    must(reason.len == bytes.len || reason.len > WS_REASON_BYTES_MAX - 4);
    buf_clear(&frame);
    ws_put_close(&frame, WS_CLOSE_NONE, bytes);
    check_frame(buf_span(&frame), WS_CLOSE, SPAN(""));
    buf_fini(&frame);
}

/* What another process tells may be any bytes. */
static void check_state(struct span bytes, const struct ws_transcript_limits *limits)
{
    struct ws ws;

    ws_transcript_begin(&ws, limits);
    (void)ws_get_state(&ws, bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const uint64_t message_maxima[]  = { 20, 125, 300, UINT32_MAX };
    static const uint32_t fragment_maxima[] = { 1, 2, 5, 1000 };
    struct buf            transcript;

    if (len == 0 || len > 1500)
        return 0;
    check_sending(span_of(bytes + 1, len - 1));
    struct ws_transcript_limits limits = { message_maxima[bytes[0] & 3], fragment_maxima[bytes[0] >> 2 & 3],
                                           .may_deflate = bytes[0] >> 4 & 1,
                                           .skips_long = bytes[0] >> 5 & 1, .moves = bytes[0] >> 6 & 1 };
    check_state(span_of(bytes + 1, len - 1), &limits);
    bool is_held = laws_hold(span_of(bytes + 1, len - 1), ws_transcript, &limits, 4, &transcript);
    if (!is_held)
        fprintf(stderr, "%.*s\n", SPAN_ARG(buf_span(&transcript)));
    must(is_held);
    buf_fini(&transcript);
    return 0;
}
