/* Frames: no cut of the bytes changes what is reported, nothing beyond them is read, and what is written is read. */
#include <stdlib.h>

#include "base/must.h"
#include "codec/h2/h2_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

enum { BLOCK_BYTES_MAX = 1000 };

/* What was found, as text in which pieces of one frame of DATA stand together. */
struct told {
    struct buf text;
    size_t     counted;  /* in the frame that comes */
};

static void tell_data(struct told *told, const struct h2_frame *frame)
{
    must(frame->payload.len <= frame->counted && frame->counted <= H2_FRAME_BYTES_MAX);
    if (frame->is_begin) {
        told->counted = 0;
        buf_putf(&told->text, "DATA %u %u %d:", frame->id, frame->flags, frame->is_empty);
    }
    told->counted += frame->counted;
    buf_put(&told->text, frame->payload);
    if (frame->is_end)
        buf_putf(&told->text, ":%zu\n", told->counted);
}

static void tell(struct told *told, const struct h2_frame *frame)
{
    if (frame->type == H2_DATA) {
        tell_data(told, frame);
        return;
    }
    buf_putf(&told->text, "%u %u %u %d:", frame->type, frame->id, frame->flags, frame->depends_on_itself);
    buf_put(&told->text, frame->payload);
    buf_put_lit(&told->text, "\n");
}

/* A copy of its own size for each piece, so that a read beyond it is seen. False: nothing more may be fed. */
static bool feed(struct h2_frames *frames, struct span piece, struct told *told)
{
    char           *copy = malloc(piece.len + 1);
    struct span     input;
    struct h2_frame frame;
    enum h2_found   found;

    must(copy != NULL);
    memcpy(copy, piece.at, piece.len);
    input = span_of(copy, piece.len);
    while ((found = h2_frames_next(frames, &input, &frame)) == H2_FOUND_FRAME) {
        tell(told, &frame);
        must(frame.type != H2_HEADERS || !h2_frames_are_in_head(frames));
    }
    if (found == H2_FOUND_FAULT)
        buf_putf(&told->text, "FAULT %s %s\n", h2_error_name(frames->error), frames->why);
    must(found == H2_FOUND_FAULT || input.len == 0);
    must(frames->part.len <= H2_FRAME_HEAD_BYTES + H2_FRAME_BYTES_MAX && frames->block.len <= BLOCK_BYTES_MAX);
    free(copy);
    return found == H2_FOUND_NOTHING;
}

static void run(struct span input, size_t step, struct told *ret)
{
    struct h2_frames frames;

    buf_init(&ret->text, 1 << 24);
    ret->counted = 0;
    h2_frames_init(&frames, BLOCK_BYTES_MAX);
    while (input.len > 0) {
        struct span piece = span_head(input, step);
        input             = span_skip(input, piece.len);
        if (!feed(&frames, piece, ret))
            break;
    }
    h2_frames_fini(&frames);
}

/* Frames that we write, and a body behind them. */
static void law_written_is_read(struct span input)
{
    struct h2_frames frames;
    struct h2_frame  frame;
    struct span      body = span_head(input, H2_FRAME_BYTES_MAX), found, rest;
    uint32_t         id   = 2 * (uint32_t)input.len + 1;
    struct buf       out;

    buf_init(&out, 1 << 20);
    buf_put_lit(&out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    h2_put_frame_head(&out, 6, H2_SETTINGS, 0, 0);
    h2_put_setting(&out, H2_INITIAL_WINDOW_SIZE, id);
    h2_put_reset(&out, id, H2_CANCEL);
    h2_put_goaway(&out, id, H2_NO_ERROR);
    h2_put_window(&out, id, 7);
    h2_put_frame_head(&out, body.len, H2_DATA, H2_END_STREAM, id);
    buf_put(&out, body);
    h2_frames_init(&frames, BLOCK_BYTES_MAX);
    rest = buf_span(&out);
    must(h2_frames_next(&frames, &rest, &frame) == H2_FOUND_FRAME && frame.type == H2_SETTINGS && frame.payload.len == 6);
    must(h2_number(frame.payload.at + 2) == id);
    must(h2_frames_next(&frames, &rest, &frame) == H2_FOUND_FRAME && frame.type == H2_RST_STREAM && frame.id == id);
    must(h2_number(frame.payload.at) == H2_CANCEL);
    must(h2_frames_next(&frames, &rest, &frame) == H2_FOUND_FRAME && frame.type == H2_GOAWAY && frame.payload.len == 8);
    must(h2_frames_next(&frames, &rest, &frame) == H2_FOUND_FRAME && frame.type == H2_WINDOW_UPDATE && frame.id == id);
    must(!h2_body_follows(rest, id + 2, &found) && !h2_body_follows(span_head(rest, rest.len - 1), id, &found));
    must(h2_body_follows(rest, id, &found) == (body.len > 0) && (body.len == 0 || span_eq(found, body)));
    must(h2_frames_next(&frames, &rest, &frame) == H2_FOUND_FRAME && frame.is_begin && frame.is_end && span_eq(frame.payload, body));
    must(h2_frames_next(&frames, &rest, &frame) == H2_FOUND_NOTHING);
    h2_frames_fini(&frames);
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const size_t steps[] = { 1, 2, 3, 7, 64 };
    struct span         input   = span_of(bytes, len);
    struct told         whole, cut;

    run(input, SIZE_MAX, &whole);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        run(input, steps[i], &cut);
        must(span_eq(buf_span(&cut.text), buf_span(&whole.text)));
        buf_fini(&cut.text);
    }
    buf_fini(&whole.text);
    law_written_is_read(input);
    return 0;
}
