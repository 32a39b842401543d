#include "http/h2_framing.h"

#include <string.h>

void h2_framing_init(struct h2_framing *framing)
{
    *framing = (struct h2_framing){ .left = H2_PREFACE_BYTES };
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static struct h2_frame_begin h2_frame_begin_of(const uint8_t head[static H2_FRAME_HEAD_BYTES])
{
    return (struct h2_frame_begin){
        .length = (uint32_t)head[0] << 16 | (uint32_t)head[1] << 8 | head[2],
        .type   = head[3],
        .id     = (uint32_t)(head[5] & 0x7f) << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 | head[8],
    };
}

size_t h2_framing_next(struct h2_framing *framing, struct span input, bool *ret_is_head, struct h2_frame_begin *ret)
{
    size_t passed = least(framing->left, input.len);
    size_t taken  = least(H2_FRAME_HEAD_BYTES - (size_t)framing->have, input.len - passed);

    framing->left -= (uint32_t)passed;
    *ret_is_head = false;
    if (taken == 0)
        return passed;
    memcpy(framing->head + framing->have, input.at + passed, taken);
    framing->have = (uint8_t)(framing->have + taken);
    if (framing->have < H2_FRAME_HEAD_BYTES)
        return passed + taken;
    *ret          = h2_frame_begin_of(framing->head);
    *ret_is_head  = true;
    framing->left = ret->length;
    framing->have = 0;
    return passed + taken;
}
