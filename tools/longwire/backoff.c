#include "longwire/backoff.h"

#include <sys/random.h>

#include "base/must.h"

enum { DOUBLINGS_MAX = 6 };  /* 250 ms * 2^6 = 16 s is above the cap already */

void backoff_init(struct backoff *backoff)
{
    *backoff = (struct backoff){ 0 };
    must(getrandom(&backoff->rng.state, sizeof backoff->rng.state, 0) == (ssize_t)sizeof backoff->rng.state);
}

msec backoff_next(struct backoff *backoff)
{
    msec most = (msec)BACKOFF_BASE_MS << (backoff->tries < DOUBLINGS_MAX ? backoff->tries : DOUBLINGS_MAX);
    if (most > BACKOFF_CAP_MS)
        most = BACKOFF_CAP_MS;
    backoff->tries++;
    return (msec)rng_below(&backoff->rng, (uint64_t)most + 1);
}
