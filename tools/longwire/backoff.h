/* backoff.h - how long to wait before the next try: exponential, with full jitter, so that a thousand clients
 * which lost the same server do not return in one moment. Pure: the caller hands the random number in. */
#ifndef LONGWIRE_BACKOFF_H
#define LONGWIRE_BACKOFF_H

#include "base/msec.h"
#include "base/rng.h"

enum { BACKOFF_BASE_MS = 250, BACKOFF_CAP_MS = 15 * 1000 };

struct backoff {
    unsigned   tries;  /* failed in a row */
    struct rng rng;
};

/* With a seed from the system's randomness. */
void backoff_init(struct backoff *backoff);

/* After a success: the next wait is short again. */
static inline void backoff_reset(struct backoff *backoff)
{
    backoff->tries = 0;
}

/* Between 0 and min(cap, base * 2^tries). */
msec backoff_next(struct backoff *backoff);

#endif
