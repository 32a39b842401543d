/* h2_framing.h - where the frames of an HTTP/2 connection begin: pure, told the bytes in any cuts. nghttp2 says nothing of
 * DATA that it drops, so whoever wants to know looks at the heads of frames before nghttp2 does. Private to this module. */
#ifndef HTTP_H2_FRAMING_H
#define HTTP_H2_FRAMING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"

enum { H2_FRAME_HEAD_BYTES = 9, H2_PREFACE_BYTES = 24 };

struct h2_framing {
    uint32_t left;  /* of the preface or of a payload */
    uint8_t  have;  /* bytes of a head … */
    uint8_t  head[H2_FRAME_HEAD_BYTES];
};

struct h2_frame_begin {
    uint32_t length, id;
    uint8_t  type;
};

void h2_framing_init(struct h2_framing *framing);
/* Takes bytes up to the end of the next head. Returns how many; *ret_is_head: a whole head ends there. */
size_t h2_framing_next(struct h2_framing *framing, struct span input, bool *ret_is_head, struct h2_frame_begin *ret);

#endif
