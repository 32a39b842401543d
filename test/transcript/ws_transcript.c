/* Reads cases, each behind a line of three decimal numbers (its length, message_bytes_max, fragments_max), and writes
 * what the codec makes of each: one line of JSON for each case, {"run":"text(hi) fault(1002)"} (ws_transcript.h). Ends
 * at the end of input; the exit status is 2 if the input isn't well-formed. */
#include <stdio.h>

#include "lib/ws_transcript.h"

enum { INPUT_BYTES_MAX = 1 << 20, TRANSCRIPT_BYTES_MAX = 4 << 20 };

static bool read_case(char *bytes, struct span *ret_wire, struct ws_transcript_limits *ret_limits)
{
    size_t   len;
    uint64_t message_bytes_max;
    uint32_t fragments_max;

    if (scanf("%zu %lu %u", &len, &message_bytes_max, &fragments_max) != 3 || getchar() != '\n')
        return false;
    if (len > INPUT_BYTES_MAX || fread(bytes, 1, len, stdin) != len)
        return false;
    *ret_wire   = span_of(bytes, len);
    *ret_limits = (struct ws_transcript_limits){ message_bytes_max, fragments_max };
    return true;
}

int main(void)
{
    static char           bytes[INPUT_BYTES_MAX];
    struct ws_transcript_limits limits;
    struct span           wire;

    for (int next = getchar(); next != EOF; next = getchar()) {
        struct buf transcript;

        ungetc(next, stdin);
        if (!read_case(bytes, &wire, &limits))
            return 2;
        buf_init(&transcript, TRANSCRIPT_BYTES_MAX);
        laws_tell(wire, ws_transcript, &limits, &transcript);
        printf("{\"transcript\":\"%.*s\"}\n", SPAN_ARG(buf_span(&transcript)));
        buf_fini(&transcript);
    }
    return 0;
}
