#include "session/link_end.h"

#include "base/must.h"

const struct link_end_words *link_end_words(enum link_end end)
{
    static const struct link_end_words rows[LINK_END_COUNT] = {
        [LINK_END_REPLACED] = { 4001, "replaced", "replaced", false },
        [LINK_END_CUT_OFF]  = { 4002, "closing", "cut off", true },
        [LINK_END_EXPIRED]  = { 4003, "closing", "expired", true },
        [LINK_END_REVOKED]  = { 4004, "closing", "revoked", false },
        [LINK_END_SHORT_MEMORY] = { 1013, "closing", "the server is short of memory (memory_bytes_max)", true },
    };

    must(end < LINK_END_COUNT);
    return &rows[end];
}

void link_end_put(struct buf *buf, const struct link_end_words *words)
{
    buf_putf(buf, "{\"type\":\"%s\",\"code\":%u,\"reason\":\"%s\"", words->type, words->code, words->reason);
}
