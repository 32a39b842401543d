#include "retry.h"

enum { BASE_MS = 250, CAP_MS = 15 * 1000, CAP_MS_MAX = 24 * 3600 * 1000, TRIES_MAX = 64 };

struct lw_backoff retry_policy(struct lw_backoff wanted)
{
    struct lw_backoff policy = { .base_ms = BASE_MS, .cap_ms = CAP_MS, .factor = 2, .jitter = 1 };

    if (wanted.base_ms > 0 && wanted.base_ms <= CAP_MS_MAX)
        policy.base_ms = wanted.base_ms;
    if (wanted.cap_ms > 0 && wanted.cap_ms <= CAP_MS_MAX)
        policy.cap_ms = wanted.cap_ms;
    if (policy.cap_ms < policy.base_ms)
        policy.cap_ms = policy.base_ms;
    if (wanted.factor >= 1 && wanted.factor <= 100)
        policy.factor = wanted.factor;
    if (wanted.base_ms > 0 && wanted.jitter >= 0 && wanted.jitter <= 1)
        policy.jitter = wanted.jitter;
    return policy;
}

msec retry_next(struct retry *retry, uint64_t random)
{
    const struct lw_backoff *policy = &retry->policy;
    double                   most   = (double)policy->base_ms;
    double                   part   = (double)(random >> 11) / (double)(UINT64_C(1) << 53);  /* 0 to 1 */

    for (unsigned i = 0; i < retry->tries && most < (double)policy->cap_ms; i++)
        most *= policy->factor;
    if (most > (double)policy->cap_ms)
        most = (double)policy->cap_ms;
    if (retry->tries < TRIES_MAX)
        retry->tries++;
    return (msec)(most * (1 - policy->jitter) + most * policy->jitter * part);
}
