/* rate_table.h - how often each of many may do something in a second: a token bucket for each, in one bounded table that
 * all threads share. Pure: the time is handed in.
 *
 * Each has a second's worth at once, then one each 1/N s. What is not used is not saved.
 *
 *     place      hash    until_ns                      a bucket is one number: when all that was taken is paid for
 *     way 0      ann     now + 0.3 s   <- 0.7 s of its second are left
 *     way 1      bob     now - 9 s     <- full again: the same as a bucket that was never used
 *     way 2      …
 *
 * Buckets have places by their hash, RATE_WAYS to choose from. Who finds no place of its own takes that of the one who
 * has been quiet the longest. A bucket that is full again is lost without harm. If all of them are in use, the one that
 * is nearest to being full begins anew: nobody is refused for what another one did.
 *
 * A place is two atomics. Two threads that take one over at the same moment may count one too few; no lock is held. */
#ifndef BASE_RATE_TABLE_H
#define BASE_RATE_TABLE_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/msec.h"

enum { RATE_PLACES_MAX = 65536, RATE_WAYS = 4 };

struct rate_place {
    _Atomic uint64_t hash, until_ns;
};

/* NULL: nobody was counted yet, and it costs nothing. A zeroed struct is fine. */
struct rate_table {
    struct rate_place *_Atomic at;
};

/* No thread uses it any more. */
void rate_table_fini(struct rate_table *table);

/* One more of whoever has this hash; per_s > 0. `now` is monotonic. 0: it may. Else it is one too many and does not
 * count, and so many ms are left until one may again: at most 1,000. */
msec rate_table_take(struct rate_table *table, uint64_t hash, uint64_t per_s, msec now);

#endif
