/* request_rate.h - how many requests a user may send in a second. Pure; the table is bounded.
 *
 * Each user has a second's worth at once, then one each 1/N s. Users have places by their hash, REQUEST_RATE_WAYS to choose
 * from: one that finds no place of its own takes that of the user who has been quiet the longest. So a user that the table has
 * forgotten begins anew, and nobody is refused for what another one did. */
#ifndef UPLINK_REQUEST_RATE_H
#define UPLINK_REQUEST_RATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/msec.h"

enum { RATED_USERS_MAX = 65536, REQUEST_RATE_WAYS = 4 };

struct rated_user {
    uint64_t hash;
    uint64_t until_us;  /* when all that it has sent is paid for; 0: nobody is here */
};

struct request_rate { struct rated_user *at; };  /* NULL: nobody was counted yet */

/* A zeroed struct is fine. */
void request_rate_fini(struct request_rate *rate);

/* One more request of the user with this hash; per_s > 0. False: it is one too many, and does not count. */
bool request_rate_take(struct request_rate *rate, uint64_t hash, uint64_t per_s, msec now);

#endif
