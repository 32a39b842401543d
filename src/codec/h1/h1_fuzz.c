/* Any bytes, however cut, tell one story; and what h1.h promises for every input holds (h1_tale.h checks it). Limits
 * are small, so that they are reached. */
#include <stdio.h>

#include "lib/h1_tale.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct h1_limits limits = { .target_bytes_max = 100, .head_bytes_max = 400 };
    struct buf       story;

    if (len > 1500)
        return 0;
    bool is_held = laws_hold(span_of(bytes, len), h1_tale, &limits, 4, &story);
    if (!is_held)
        fprintf(stderr, "%.*s\n", SPAN_ARG(buf_span(&story)));
    must(is_held);
    buf_fini(&story);
    return 0;
}
