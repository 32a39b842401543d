#include "api/asker_rate.h"

#include "base/span.h"

msec asker_rate_ask(struct asker_rate *rate, const struct hash_key *key, uint64_t customer, msec now)
{
    const uint64_t hash  = hash_bytes(key, span_of(&customer, sizeof customer));
    const size_t   place = hash % ASKERS_MAX;

    if (rate->at[place].hash != hash || rate->at[place].until < now) {
        rate->at[place].hash  = hash;
        rate->at[place].until = now;
    }
    msec after = rate->at[place].until + ASKER_STEP_MS;
    msec wait  = after - now - (msec)ASKER_BURST * ASKER_STEP_MS;
    if (wait > 0)
        return wait;
    rate->at[place].until = after;
    return 0;
}
