/* retry.h - how long to wait before the next link: the policy that the server handed out, and randomness, so that the
 * clients which lost one server don't all return at one moment. Pure: the caller hands the random numbers in. */
#ifndef CLIENT_RETRY_H
#define CLIENT_RETRY_H

#include "base/msec.h"
#include "longwire.h"

struct retry {
    struct lw_backoff policy;
    unsigned          tries;  /* failed in a row */
};

/* Members that are 0 or out of range take the usual value. */
struct lw_backoff retry_policy(struct lw_backoff wanted);

/* A wait of min(cap, base * factor^tries), of which the part `jitter` is random. Counts the try. */
msec retry_next(struct retry *retry, uint64_t random);

/* After a success: the next wait is short again. */
static inline void retry_reset(struct retry *retry)
{
    retry->tries = 0;
}

#endif
