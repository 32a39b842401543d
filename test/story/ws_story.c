/* Reads cases, each behind a line of three decimal numbers (its length, message_bytes_max, fragments_max), and tells
 * what the codec makes of each: one line of JSON a case, {"tale":"text(hi) fault(1002)"} (ws_tale.h). Ends at the end
 * of input; exit status 2 if that isn't well-formed. */
#include <stdio.h>

#include "lib/ws_tale.h"

enum { INPUT_BYTES_MAX = 1 << 20, STORY_BYTES_MAX = 4 << 20 };

static bool read_case(char *bytes, struct span *ret_wire, struct ws_tale_limits *ret_limits)
{
    size_t   len;
    uint64_t message_bytes_max;
    uint32_t fragments_max;

    if (scanf("%zu %lu %u", &len, &message_bytes_max, &fragments_max) != 3 || getchar() != '\n')
        return false;
    if (len > INPUT_BYTES_MAX || fread(bytes, 1, len, stdin) != len)
        return false;
    *ret_wire   = span_of(bytes, len);
    *ret_limits = (struct ws_tale_limits){ message_bytes_max, fragments_max };
    return true;
}

int main(void)
{
    static char           bytes[INPUT_BYTES_MAX];
    struct ws_tale_limits limits;
    struct span           wire;

    for (int next = getchar(); next != EOF; next = getchar()) {
        struct buf story;

        ungetc(next, stdin);
        if (!read_case(bytes, &wire, &limits))
            return 2;
        buf_init(&story, STORY_BYTES_MAX);
        laws_tell(wire, ws_tale, &limits, &story);
        printf("{\"tale\":\"%.*s\"}\n", SPAN_ARG(buf_span(&story)));
        buf_fini(&story);
    }
    return 0;
}
