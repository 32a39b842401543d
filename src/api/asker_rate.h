/* asker_rate.h - how often one address may ask what needs no rights. Pure; the table is bounded.
 *
 * Each address has ASKER_BURST questions at once, then one each ASKER_STEP_MS. IPv6 addresses count by their first 64
 * bits. Addresses share places by their hash: one that meets the place of another takes it over. So an address that the
 * table has forgotten begins anew, and nobody is refused for what another one did. */
#ifndef API_ASKER_RATE_H
#define API_ASKER_RATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/msec.h"

enum { ASKERS_MAX = 1024, ASKER_BURST = 20, ASKER_STEP_MS = 100 };

struct asker_rate {
    struct {
        uint64_t hash;
        msec     until;   /* when all that it has asked for is paid */
    } at[ASKERS_MAX];
};

/* `customer`: of its address, by ip_customer(); those that are not known count as one. 0: it may. Else how long it has to wait. */
msec asker_rate_ask(struct asker_rate *rate, const struct hash_key *key, uint64_t customer, msec now);

#endif
