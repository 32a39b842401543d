#include "base/rate_table.h"

#include <stdlib.h>

#include "base/must.h"

enum { NS_PER_MS = 1000000, NS_PER_S = 1000000000 };

void rate_table_fini(struct rate_table *table)
{
    free(atomic_load(&table->at));
    atomic_store(&table->at, NULL);
}

/* Made by who comes first. */
static struct rate_place *rate_places_of(struct rate_table *table)
{
    struct rate_place *at = atomic_load_explicit(&table->at, memory_order_acquire), *mine;

    if (at != NULL)
        return at;
    mine = calloc(RATE_PLACES_MAX, sizeof mine[0]);
    must(mine != NULL);
    if (atomic_compare_exchange_strong(&table->at, &at, mine))
        return mine;
    free(mine);
    return at;
}

static uint64_t read_relaxed(const _Atomic uint64_t *value)
{
    return atomic_load_explicit(value, memory_order_relaxed);
}

/* Its place, or the one whose bucket is nearest to being full. */
static struct rate_place *place_to_take(struct rate_place *ways, uint64_t hash)
{
    struct rate_place *best = &ways[0];

    for (int i = 0; i < RATE_WAYS; i++) {
        if (read_relaxed(&ways[i].hash) == hash)
            return &ways[i];
        if (read_relaxed(&ways[i].until_ns) < read_relaxed(&best->until_ns))
            best = &ways[i];
    }
    return best;
}

static struct rate_place *rate_place_of(struct rate_table *table, uint64_t hash, uint64_t now_ns)
{
    const uint64_t     mixed = hash * UINT64_C(0x9e3779b97f4a7c15);
    struct rate_place *ways  = &rate_places_of(table)[(mixed >> 32) % (RATE_PLACES_MAX / RATE_WAYS) * RATE_WAYS];

    for (;;) {
        struct rate_place *place = place_to_take(ways, hash);
        uint64_t           other = read_relaxed(&place->hash);
        if (other == hash)
            return place;
        if (atomic_compare_exchange_strong(&place->hash, &other, hash)) {
            if (read_relaxed(&place->until_ns) > now_ns)
                atomic_store_explicit(&place->until_ns, now_ns, memory_order_relaxed);
            return place;
        }
    }
}

msec rate_table_take(struct rate_table *table, uint64_t hash, uint64_t per_s, msec now)
{
    must(per_s > 0);
    const uint64_t     now_ns = (uint64_t)now * NS_PER_MS, step = NS_PER_S / per_s;
    struct rate_place *place  = rate_place_of(table, hash, now_ns);
    uint64_t           until  = read_relaxed(&place->until_ns), after;

    do {
        after = (until > now_ns ? until : now_ns) + step;
        if (after > now_ns + NS_PER_S)
            return (msec)((after - now_ns - NS_PER_S + NS_PER_MS - 1) / NS_PER_MS);
    } while (!atomic_compare_exchange_weak_explicit(&place->until_ns, &until, after, memory_order_relaxed,
                                                    memory_order_relaxed));
    return 0;
}
