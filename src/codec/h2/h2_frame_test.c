/* Frames: how each has to look, and which error tells of it (RFC 9113 4, 6). That no cut is seen is a law of the fuzzer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/h2/h2_frame.h"

#include <cmocka.h>

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define FIRST   "\0\0\0\4\0\0\0\0\0"
#define ROW(name, bytes, error) { name, { bytes, sizeof(bytes) - 1 }, error }

enum { NO_FAULT = -1 };

static void faults_have_their_codes(void **state)
{
    static const struct {
        const char *name;
        struct span bytes;  /* behind the preface and SETTINGS */
        int         error;
    } rows[] = {
        ROW("PING", "\0\0\10\6\0\0\0\0\0" "12345678", NO_FAULT),
        ROW("PING of 7 bytes", "\0\0\7\6\0\0\0\0\0" "1234567", H2_FRAME_SIZE_ERROR),
        ROW("PING of a stream", "\0\0\10\6\0\0\0\0\1" "12345678", H2_PROTOCOL_ERROR),
        ROW("DATA of the connection", "\0\0\1\0\0\0\0\0\0x", H2_PROTOCOL_ERROR),
        ROW("padding is all", "\0\0\2\0\10\0\0\0\1\1\0", NO_FAULT),
        ROW("padding longer than DATA", "\0\0\2\0\10\0\0\0\1\2\0", H2_PROTOCOL_ERROR),
        ROW("padding without its length", "\0\0\0\0\10\0\0\0\1", H2_FRAME_SIZE_ERROR),
        ROW("padding longer than HEADERS", "\0\0\2\1\14\0\0\0\1\2\0", H2_PROTOCOL_ERROR),
        ROW("HEADERS without their priority", "\0\0\4\1\44\0\0\0\1\0\0\0\0", H2_FRAME_SIZE_ERROR),
        ROW("PRIORITY of 4 bytes", "\0\0\4\2\0\0\0\0\1\0\0\0\0", H2_FRAME_SIZE_ERROR),
        ROW("RST_STREAM of 3 bytes", "\0\0\3\3\0\0\0\0\1\0\0\0", H2_FRAME_SIZE_ERROR),
        ROW("SETTINGS of 5 bytes", "\0\0\5\4\0\0\0\0\0\0\0\0\0\0", H2_FRAME_SIZE_ERROR),
        ROW("an acknowledgement with settings", "\0\0\6\4\1\0\0\0\0\0\0\0\0\0\0", H2_FRAME_SIZE_ERROR),
        ROW("PUSH_PROMISE", "\0\0\4\5\4\0\0\0\1\0\0\0\3", H2_PROTOCOL_ERROR),
        ROW("GOAWAY of 7 bytes", "\0\0\7\7\0\0\0\0\0\0\0\0\0\0\0\0", H2_FRAME_SIZE_ERROR),
        ROW("WINDOW_UPDATE of 5 bytes", "\0\0\5\10\0\0\0\0\0\0\0\0\0\0", H2_FRAME_SIZE_ERROR),
        ROW("CONTINUATION alone", "\0\0\1\11\4\0\0\0\1\x82", H2_PROTOCOL_ERROR),
        ROW("another frame within a block", "\0\0\1\1\0\0\0\0\1\x82\0\0\0\0\1\0\0\0\1", H2_PROTOCOL_ERROR),
        ROW("another stream within a block", "\0\0\1\1\0\0\0\0\1\x82\0\0\1\11\4\0\0\0\3\x82", H2_PROTOCOL_ERROR),
        ROW("a frame of 16,385 bytes", "\0\100\1\0\0\0\0\0\1", H2_FRAME_SIZE_ERROR),
        ROW("a block of 101 bytes", "\0\0\145\1\0\0\0\0\1" "0123456789012345678901234567890123456789012345678901234567890123456789"
            "0123456789012345678901234567890", H2_ENHANCE_YOUR_CALM),
        ROW("an unknown frame", "\0\0\1\26\377\0\0\0\1x", NO_FAULT),
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct h2_frames frames;
        struct h2_frame  frame;
        struct span      first = SPAN(PREFACE FIRST), input = rows[i].bytes;
        enum h2_found    found;
        h2_frames_init(&frames, 100);
        assert_int_equal(h2_frames_next(&frames, &first, &frame), H2_FOUND_FRAME);
        do
            found = h2_frames_next(&frames, &input, &frame);
        while (found == H2_FOUND_FRAME);
        if (found != (rows[i].error == NO_FAULT ? H2_FOUND_NOTHING : H2_FOUND_FAULT) ||
            (found == H2_FOUND_FAULT && frames.error != (unsigned)rows[i].error))
            fail_msg("%s: %d %s %s", rows[i].name, found, h2_error_name(frames.error), frames.why);
        h2_frames_fini(&frames);
    }
}

/* A block in three frames, with padding and priority. */
static void a_block_is_one_frame(void **state)
{
    static const char bytes[] = PREFACE FIRST "\0\0\12\1\51\0\0\0\1\2\200\0\0\1\20ab\0\0" "\0\0\0\11\0\0\0\0\1" "\0\0\1\11\4\0\0\0\1c";
    struct h2_frames  frames;
    struct h2_frame   frame;
    struct span       input = span_of(bytes, sizeof bytes - 1);

    (void)state;
    h2_frames_init(&frames, 100);
    assert_int_equal(h2_frames_next(&frames, &input, &frame), H2_FOUND_FRAME);
    assert_int_equal(h2_frames_next(&frames, &input, &frame), H2_FOUND_FRAME);
    assert_true(frame.type == H2_HEADERS && frame.id == 1 && span_eq(frame.payload, SPAN("abc")) && frame.depends_on_itself);
    assert_true((frame.flags & H2_END_STREAM) != 0);
    assert_int_equal(h2_frames_next(&frames, &input, &frame), H2_FOUND_NOTHING);
    assert_int_equal(frames.block.cap, 0);  /* nothing is kept */
    h2_frames_fini(&frames);
}

/* Threat 64 */
static void continuations_are_bounded(void **state)
{
    struct h2_frames frames;
    struct h2_frame  frame;
    struct span      input = SPAN(PREFACE FIRST "\0\0\1\1\0\0\0\0\1\x82");
    int              count = 0;

    (void)state;
    h2_frames_init(&frames, 100);
    assert_int_equal(h2_frames_next(&frames, &input, &frame), H2_FOUND_FRAME);
    while (h2_frames_next(&frames, &input, &frame) == H2_FOUND_NOTHING && ++count < 100)
        input = SPAN("\0\0\0\11\0\0\0\0\1");
    assert_int_equal(count, H2_CONTINUATIONS_MAX + 1);
    assert_int_equal(frames.error, H2_ENHANCE_YOUR_CALM);
    h2_frames_fini(&frames);
}

/* Pieces of a body come as they are; padding counts for windows, and belongs to no body. */
static void data_comes_in_pieces(void **state)
{
    static const char bytes[] = PREFACE FIRST "\0\0\10\0\11\0\0\0\1\3" "body" "\0\0\0";
    struct h2_frames  frames;
    struct h2_frame   frame;
    char              body[4];
    size_t            len = 0, counted = 0, ends = 0;

    (void)state;
    h2_frames_init(&frames, 100);
    for (size_t i = 0; i < sizeof bytes - 1; i++) {
        struct span input = span_of(bytes + i, 1);
        while (h2_frames_next(&frames, &input, &frame) == H2_FOUND_FRAME) {
            if (frame.type != H2_DATA)
                continue;
            assert_true(len + frame.payload.len <= sizeof body && !frame.is_empty);
            memcpy(body + len, frame.payload.at, frame.payload.len);
            len += frame.payload.len;
            counted += frame.counted;
            ends += frame.is_end;
        }
    }
    assert_true(len == 4 && memcmp(body, "body", 4) == 0 && counted == 8 && ends == 1);
    h2_frames_fini(&frames);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faults_have_their_codes),
        cmocka_unit_test(a_block_is_one_frame),
        cmocka_unit_test(continuations_are_bounded),
        cmocka_unit_test(data_comes_in_pieces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
