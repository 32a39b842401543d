/* Any bytes, however cut, tell one story; and what ws.h promises for every input holds (ws_tale.h checks it). The first
 * byte chooses the limits, the rest is what the client sends. */
#include <stdio.h>

#include "lib/ws_tale.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    static const uint64_t message_maxima[]  = { 20, 125, 300, UINT32_MAX };
    static const uint32_t fragment_maxima[] = { 1, 2, 5, 1000 };
    struct buf            story;

    if (len == 0 || len > 1500)
        return 0;
    struct ws_tale_limits limits = { message_maxima[bytes[0] & 3], fragment_maxima[bytes[0] >> 2 & 3] };
    bool is_held = laws_hold(span_of(bytes + 1, len - 1), ws_tale, &limits, 4, &story);
    if (!is_held)
        fprintf(stderr, "%.*s\n", SPAN_ARG(buf_span(&story)));
    must(is_held);
    buf_fini(&story);
    return 0;
}
