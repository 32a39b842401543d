/* jitter.h - spreads clients that would all come back at one moment. */
#ifndef BASE_JITTER_H
#define BASE_JITTER_H

#include "base/msec.h"

/* A time from half of `mean` to one and a half of it; mean >= 0. The caller hands in the random number. */
static inline msec jitter(msec mean, uint64_t random)
{
    return mean / 2 + (msec)(random % ((uint64_t)mean + 1));
}

#endif
