#include "auth/wrong_secrets.h"

#include <stdlib.h>

#include "base/must.h"

void wrong_secrets_init(struct wrong_secrets *wrong)
{
    *wrong = (struct wrong_secrets){ NULL };
}

void wrong_secrets_fini(struct wrong_secrets *wrong)
{
    free(wrong->at);
}

/* The places where an address may stand. */
static struct wrong_tries *wrong_ways_of(const struct wrong_secrets *wrong, uint64_t address)
{
    uint64_t mixed = address * UINT64_C(0x9e3779b97f4a7c15);

    return &wrong->at[(mixed >> 32) % (WRONG_ADDRESSES_MAX / WRONG_WAYS) * WRONG_WAYS];
}

/* The minute is over, or the clock went back. */
static bool is_over(const struct wrong_tries *tries, msec now)
{
    return now < tries->since || now - tries->since >= WRONG_MINUTE_MS;
}

bool wrong_secrets_are_many(const struct wrong_secrets *wrong, uint64_t address, uint64_t count_max, msec now)
{
    if (wrong->at == NULL || address == 0)
        return false;
    const struct wrong_tries *places = wrong_ways_of(wrong, address);
    for (size_t i = 0; i < WRONG_WAYS; i++)
        if (places[i].address == address)
            return !is_over(&places[i], now) && places[i].count >= count_max;
    return false;
}

/* Where it stands, or may stand: in a free place, else in that of the address whose minute began first. */
static struct wrong_tries *place_for(const struct wrong_secrets *wrong, uint64_t address)
{
    struct wrong_tries *places = wrong_ways_of(wrong, address), *best = &places[0];

    for (size_t i = 0; i < WRONG_WAYS; i++) {
        if (places[i].address == address)
            return &places[i];
        if (best->address != 0 && (places[i].address == 0 || places[i].since < best->since))
            best = &places[i];
    }
    *best = (struct wrong_tries){ .address = address };
    return best;
}

void wrong_secrets_note(struct wrong_secrets *wrong, uint64_t address, msec now)
{
    if (address == 0)
        return;
    if (wrong->at == NULL)
        wrong->at = calloc(WRONG_ADDRESSES_MAX, sizeof wrong->at[0]);
    must(wrong->at != NULL);
    struct wrong_tries *tries = place_for(wrong, address);
    if (tries->count == 0 || is_over(tries, now))
        *tries = (struct wrong_tries){ .address = address, .since = now };
    tries->count += tries->count < UINT32_MAX;
}
