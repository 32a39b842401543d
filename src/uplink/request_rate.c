#include "uplink/request_rate.h"

#include <stdlib.h>

#include "base/must.h"

enum { US_PER_MS = 1000, US_PER_S = 1000000 };

void request_rate_fini(struct request_rate *rate)
{
    free(rate->at);
    rate->at = NULL;
}

static struct rated_user *rated_user_of(struct request_rate *rate, uint64_t hash)
{
    struct rated_user *ways   = &rate->at[hash % (RATED_USERS_MAX / REQUEST_RATE_WAYS) * REQUEST_RATE_WAYS];
    struct rated_user *oldest = ways;

    for (int i = 0; i < REQUEST_RATE_WAYS; i++) {
        if (ways[i].until_us != 0 && ways[i].hash == hash)
            return &ways[i];
        if (ways[i].until_us < oldest->until_us)
            oldest = &ways[i];
    }
    *oldest = (struct rated_user){ .hash = hash };
    return oldest;
}

bool request_rate_take(struct request_rate *rate, uint64_t hash, uint64_t per_s, msec now)
{
    uint64_t now_us = (uint64_t)now * US_PER_MS, step = US_PER_S / per_s;

    if (rate->at == NULL)
        rate->at = calloc(RATED_USERS_MAX, sizeof rate->at[0]);
    must(rate->at != NULL && per_s > 0);
    struct rated_user *user = rated_user_of(rate, hash);
    uint64_t           from = user->until_us > now_us ? user->until_us : now_us;
    if (from + step > now_us + US_PER_S)
        return false;
    user->until_us = from + step;
    return true;
}
