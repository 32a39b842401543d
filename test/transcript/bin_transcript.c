/* Reads cases, each behind a line of three decimal numbers (its length, 0 for a client's frames or 1 for a server's,
 * frame_bytes_max), and writes what the codec makes of each: one line of JSON for each case, an array
 * (bin_transcript.h). Ends at the end of input; the exit status is 2 if the input isn't well-formed. */
#include <stdio.h>

#include "lib/bin_transcript.h"

enum { INPUT_BYTES_MAX = 1 << 20, TRANSCRIPT_BYTES_MAX = 8 << 20 };

static bool read_case(char *bytes, struct span *ret_wire, struct bin_transcript_limits *ret_limits)
{
    size_t   len;
    unsigned side;
    uint32_t frame_bytes_max;

    if (scanf("%zu %u %u", &len, &side, &frame_bytes_max) != 3 || getchar() != '\n')
        return false;
    if (len > INPUT_BYTES_MAX || fread(bytes, 1, len, stdin) != len)
        return false;
    *ret_wire   = span_of(bytes, len);
    *ret_limits = (struct bin_transcript_limits){ side == 0 ? BIN_CLIENT : BIN_SERVER, frame_bytes_max };
    return true;
}

int main(void)
{
    static char                  bytes[INPUT_BYTES_MAX];
    struct bin_transcript_limits limits;
    struct span                  wire;

    for (int next = getchar(); next != EOF; next = getchar()) {
        struct buf transcript;

        ungetc(next, stdin);
        if (!read_case(bytes, &wire, &limits))
            return 2;
        buf_init(&transcript, TRANSCRIPT_BYTES_MAX);
        laws_tell(wire, bin_transcript, &limits, &transcript);
        printf("[%.*s]\n", SPAN_ARG(buf_span(&transcript)));
        buf_fini(&transcript);
    }
    return 0;
}
