#include "message/epoch.h"

static const char hex[] = "0123456789abcdef";

void epoch_put(struct buf *buf, uint64_t epoch)
{
    char *to = buf_extend(buf, EPOCH_TEXT_BYTES);
    if (to == NULL)
        return;
    for (int shift = 60; shift >= 0; shift -= 4)
        *to++ = hex[epoch >> shift & 15];
}

bool epoch_get(struct span text, uint64_t *ret_epoch)
{
    uint64_t epoch = 0;

    if (text.len != EPOCH_TEXT_BYTES)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        const char *digit = memchr(hex, text.at[i], sizeof hex - 1);
        if (digit == NULL)
            return false;
        epoch = epoch << 4 | (uint64_t)(digit - hex);
    }
    *ret_epoch = epoch;
    return true;
}
