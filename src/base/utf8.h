/* utf8.h - checks that bytes are UTF-8 (RFC 3629), at once or piece by piece. The answer does not depend on where the
 * pieces were cut. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include "base/span.h"

struct utf8 {
    uint32_t state;  /* 0: between characters */
};

/* False as soon as nothing that follows could make the text valid (overlong, surrogate, above U+10FFFF, stray byte).
 * Begin with a zeroed struct; after the last piece ask utf8_is_whole(). */
bool utf8_feed(struct utf8 *utf8, struct span piece);

static inline bool utf8_is_whole(const struct utf8 *utf8)
{
    return utf8->state == 0;
}

static inline bool utf8_is_valid(struct span text)
{
    struct utf8 utf8 = { 0 };
    return utf8_feed(&utf8, text) && utf8_is_whole(&utf8);
}

/* Is there a control character (Unicode's category Cc: U+0000 to U+001F, U+007F to U+009F)? `text` is valid UTF-8. */
bool utf8_has_control(struct span text);

#endif
