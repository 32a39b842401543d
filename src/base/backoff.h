/* backoff.h - the policy by which a client waits before it comes again, as the server hands it out:
 *
 *     wait(n) = min(cap, base * factor^n) after the n-th failure, from 0;
 *     of it the part `jitter` is random: a time from wait * (1 - jitter) to wait
 *
 * A client begins anew with n = 0 after a link that held. */
#ifndef BASE_BACKOFF_H
#define BASE_BACKOFF_H

#include "base/buf.h"
#include "base/msec.h"

struct backoff {
    msec     base_ms, cap_ms;
    uint32_t factor_percent;  /* 200: twice as long each time */
    uint32_t jitter_percent;  /* at most 100 */
};

/* {"base_ms":1000,"factor":2,"cap_ms":60000,"jitter":0.5} */
void backoff_put(struct buf *buf, const struct backoff *backoff);

#endif
