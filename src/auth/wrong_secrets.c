#include "auth/wrong_secrets.h"

#include <stdlib.h>

#include "base/must.h"

enum { WRONG_COUNT_MASK = (1 << WRONG_COUNT_BITS) - 1 };

void wrong_secrets_fini(struct wrong_secrets *wrong)
{
    free(atomic_load(&wrong->at));
    atomic_store(&wrong->at, NULL);
}

static uint64_t wrong_word(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

static msec since_of(uint64_t since_and_count)
{
    return (msec)(since_and_count >> WRONG_COUNT_BITS);
}

/* The minute is over, or the clock went back. */
static bool is_over(uint64_t since_and_count, msec now)
{
    return now < since_of(since_and_count) || now - since_of(since_and_count) >= WRONG_MINUTE_MS;
}

/* The places where an address may stand. */
static struct wrong_tries *wrong_ways_of(struct wrong_tries *at, uint64_t address)
{
    uint64_t mixed = address * UINT64_C(0x9e3779b97f4a7c15);

    return &at[(mixed >> 32) % (WRONG_ADDRESSES_MAX / WRONG_WAYS) * WRONG_WAYS];
}

msec wrong_secrets_wait(const struct wrong_secrets *wrong, uint64_t address, uint64_t count_max, msec now)
{
    struct wrong_tries *at = atomic_load_explicit(&wrong->at, memory_order_acquire);

    if (at == NULL || address == 0)
        return 0;
    const struct wrong_tries *places = wrong_ways_of(at, address);
    for (size_t i = 0; i < WRONG_WAYS; i++) {
        if (wrong_word(&places[i].address) != address)
            continue;
        uint64_t tries   = wrong_word(&places[i].since_and_count);
        bool     is_many = !is_over(tries, now) && (tries & WRONG_COUNT_MASK) >= count_max;
        return is_many ? since_of(tries) + WRONG_MINUTE_MS - now : 0;
    }
    return 0;
}

/* Made by who comes first. */
static struct wrong_tries *wrong_table_of(struct wrong_secrets *wrong)
{
    struct wrong_tries *at = atomic_load_explicit(&wrong->at, memory_order_acquire), *mine;

    if (at != NULL)
        return at;
    mine = calloc(WRONG_ADDRESSES_MAX, sizeof mine[0]);
    must(mine != NULL);
    if (atomic_compare_exchange_strong(&wrong->at, &at, mine))
        return mine;
    free(mine);
    return at;
}

/* Where the address stands, or may stand: in a free place, else in that of the address whose minute began first. */
static struct wrong_tries *place_to_note(struct wrong_tries *places, uint64_t address)
{
    struct wrong_tries *best = &places[0];

    for (size_t i = 0; i < WRONG_WAYS; i++) {
        if (wrong_word(&places[i].address) == address)
            return &places[i];
        if (wrong_word(&best->address) != 0 &&
            (wrong_word(&places[i].address) == 0 ||
             since_of(wrong_word(&places[i].since_and_count)) < since_of(wrong_word(&best->since_and_count))))
            best = &places[i];
    }
    return best;
}

static struct wrong_tries *wrong_place_of(struct wrong_tries *places, uint64_t address)
{
    for (;;) {
        struct wrong_tries *place = place_to_note(places, address);
        uint64_t            other = wrong_word(&place->address);
        if (other == address)
            return place;
        if (atomic_compare_exchange_strong(&place->address, &other, address)) {
            atomic_store_explicit(&place->since_and_count, 0, memory_order_relaxed);
            return place;
        }
    }
}

void wrong_secrets_note(struct wrong_secrets *wrong, uint64_t address, msec now)
{
    if (address == 0)
        return;
    struct wrong_tries *place = wrong_place_of(wrong_ways_of(wrong_table_of(wrong), address), address);
    uint64_t            tries = wrong_word(&place->since_and_count), more;

    do {
        if ((tries & WRONG_COUNT_MASK) == 0 || is_over(tries, now))
            more = (uint64_t)now << WRONG_COUNT_BITS | 1;
        else
            more = tries + ((tries & WRONG_COUNT_MASK) < WRONG_COUNT_MASK);
    } while (!atomic_compare_exchange_weak_explicit(&place->since_and_count, &tries, more, memory_order_relaxed,
                                                    memory_order_relaxed));
}
