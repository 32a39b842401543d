#include "api/asker_rate.h"

#include <arpa/inet.h>
#include <string.h>

/* The part of an address that counts: all of an IPv4 one, the first 64 bits of an IPv6 one. */
static uint64_t hash_asker(const struct hash_key *key, struct span address)
{
    char            text[INET6_ADDRSTRLEN] = "";
    struct in6_addr six;

    if (address.len < sizeof text)
        memcpy(text, address.at, address.len);
    if (inet_pton(AF_INET6, text, &six) == 1)
        return hash_bytes(key, span_of(&six, sizeof six / 2));
    return hash_bytes(key, address);
}

msec asker_rate_ask(struct asker_rate *rate, const struct hash_key *key, struct span address, msec now)
{
    const uint64_t hash  = hash_asker(key, address);
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
