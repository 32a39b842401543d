/* grant.h - a right on channels that a token, or the section of an API key, carries: a pattern of channel names, and
 * what may be done there. Pure.
 *
 * In a pattern `*` stands for any run of bytes, an empty one and one with `/` and `:` too. Everything else stands for
 * itself. So `topic:*` is every topic, `room:ann-*` every room whose name begins with ann-, `*` every channel. */
#ifndef MESSAGE_GRANT_H
#define MESSAGE_GRANT_H

#include "base/span.h"

enum grant_can { CAN_SUBSCRIBE = 1, CAN_PUBLISH = 2, CAN_HISTORY = 4, CAN_PRESENCE = 8 };  /* bits */

enum {
    CAN_ALL           = CAN_SUBSCRIBE | CAN_PUBLISH | CAN_HISTORY | CAN_PRESENCE,
    GRANTS_MAX        = 100,  /* of one token */
    GRANT_BYTES_MAX   = 233,  /* of one pattern: the longest name of a channel */
    GRANT_STARS_MAX   = 8,    /* of one pattern */
};

struct grant {
    struct span match;  /* the pattern, borrowed */
    unsigned    can;    /* of grant_can */
};

/* Is it UTF-8 without control characters, 1 to GRANT_BYTES_MAX bytes, with at most GRANT_STARS_MAX stars? */
bool grant_pattern_is_valid(struct span pattern);

bool grant_pattern_fits(struct span pattern, struct span channel);

/* "subscribe", "publish", "history", "presence"; 0: none of these. */
unsigned grant_can_of(struct span word);

#endif
