/* link_expiry.h - the end of a link whose client's token ends: it is told before, and ended then.
 *
 *     the token is shown ── … ── 30 s before its end, or at once ── its end
 *                                kind->expiring()                   kind->end(LINK_END_EXPIRED)
 *
 * Only links of such clients have one; the time is the wall's, because tokens name it. Private to this module. */
#ifndef SESSION_LINK_EXPIRY_H
#define SESSION_LINK_EXPIRY_H

#include "session/link.h"

enum { EXPIRING_MS = 30 * 1000 };

struct link_expiry {
    struct timer timer;
    struct link *link;
    bool         is_told;
};

enum link_expiry_step {
    LINK_EXPIRY_WAIT,  /* nothing now */
    LINK_EXPIRY_TELL,  /* that it ends soon */
    LINK_EXPIRY_END,
};

/* What is to be done at `wall`, and in *ret_wait how long until the next look. Looks at least once an hour, because the
 * wall clock may be set meanwhile. Pure. */
enum link_expiry_step link_expiry_judge(msec expires_at, bool is_told, msec wall, msec *ret_wait);

#endif
