/* Reads inputs, each behind its length as a decimal line, and writes what the codec makes of each: one line of JSON for
 * each input (h1_transcript.h). Ends at the end of input; the exit status is 2 if the input isn't well-formed. */
#include <stdio.h>
#include <stdlib.h>

#include "lib/h1_transcript.h"

enum { INPUT_BYTES_MAX = 1 << 20 };

static bool read_input(size_t len, char *bytes)
{
    return len <= INPUT_BYTES_MAX && fread(bytes, 1, len, stdin) == len;
}

int main(void)
{
    static char      bytes[INPUT_BYTES_MAX];
    struct h1_limits limits = { .target_bytes_max = 8192, .head_bytes_max = 16384 };
    size_t           len;
    int              got;

    while ((got = scanf("%zu", &len)) == 1 && getchar() == '\n') {
        struct buf transcript;

        if (!read_input(len, bytes))
            return 2;
        buf_init(&transcript, 16 << 20);
        laws_tell(span_of(bytes, len), h1_transcript, &limits, &transcript);
        printf("%.*s\n", SPAN_ARG(buf_span(&transcript)));
        buf_fini(&transcript);
    }
    return got == EOF ? 0 : 2;
}
