/* Any bytes, however cut, are the same frames; what was read has one spelling: it is put and read again as the same; and
 * no aliases that a server announces lead beyond the table. The first byte says whose frames they are. */
#include <stdio.h>

#include "codec/bin/bin_alias.h"
#include "lib/bin_transcript.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check_again(enum bin_side side, const struct bin_frame *frame)
{
    struct buf       wire, said, said_again;
    struct bin_frame again;
    struct span      bytes;
    struct bin_fault fault;
    size_t           used;
    const char      *reason;

    buf_init(&wire, 1 << 16);
    buf_init(&said, 1 << 20);
    buf_init(&said_again, 1 << 20);
    bin_put(&wire, side, frame);
    must(bin_split(buf_span(&wire), 1 << 16, &bytes, &used, &fault) == BIN_SPLIT_FRAME && used == wire.len);
    must(bin_read(bytes, side, &again, &reason) == BIN_OK);
    bin_transcript_frame(&said, side, frame);
    bin_transcript_frame(&said_again, side, &again);
    must(span_eq(buf_span(&said), buf_span(&said_again)));
    buf_fini(&said);
    buf_fini(&said_again);
    buf_fini(&wire);
}

/* Places that can be read are put as they came. */
static void check_places(struct span places)
{
    struct bin_place place;
    struct buf       again;

    for (struct span rest = places; rest.len > 0 && bin_next_place(&rest, &place); places = rest) {
        buf_init(&again, 1 << 12);
        bin_put_place(&again, &place);
        must(place.epoch == 0 || span_eq(buf_span(&again), span_head(places, places.len - rest.len)));
        buf_fini(&again);
    }
}

/* The same of header fields. */
static void check_headers(struct span headers)
{
    struct bin_header header;
    struct buf        again;

    buf_init(&again, 1 << 12);
    for (struct span rest = headers; rest.len > 0 && bin_next_header(&rest, &header);)
        bin_put_header(&again, &header);
    must(span_eq(buf_span(&again), headers));
    buf_fini(&again);
}

static void check_frames(enum bin_side side, struct span input)
{
    struct bin_aliases aliases;
    struct bin_frame   frame;
    struct span        bytes;
    struct bin_fault   fault;
    size_t             used;
    const char        *reason;

    bin_aliases_init(&aliases);
    while (bin_split(input, 1 << 12, &bytes, &used, &fault) == BIN_SPLIT_FRAME) {
        if (bin_read(bytes, side, &frame, &reason) == BIN_OK) {
            check_again(side, &frame);
            check_places(bin_bytes(&frame, BIN_RESUME));
            check_headers(bin_bytes(&frame, BIN_HEADERS));
            if (side == BIN_SERVER && bin_aliases_take(&aliases, &frame))
                must(frame.type != BIN_MESSAGE && aliases.count <= BIN_ALIAS_COUNT);
        }
        input = span_skip(input, used);
    }
    bin_aliases_fini(&aliases);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct buf transcript;

    if (len == 0 || len > 1500)
        return 0;
    struct bin_transcript_limits limits = { bytes[0] & 1 ? BIN_SERVER : BIN_CLIENT, 1 << 12 };
    struct span                  wire   = span_of(bytes + 1, len - 1);
    bool                         is_held = laws_hold(wire, bin_transcript, &limits, 4, &transcript);

    if (!is_held)
        fprintf(stderr, "%.*s\n", SPAN_ARG(buf_span(&transcript)));
    must(is_held);
    buf_fini(&transcript);
    check_frames(limits.side, wire);
    bin_judge_opening(wire);
    must(bin_guess_protocol(wire) != NULL);
    return 0;
}
