#include "store/shard_table.h"

#include <stdio.h>
#include <string.h>

enum { NO_SHARD = 255 };

struct shard_place shard_place_new(uint64_t cluster, size_t index, size_t count)
{
    return (struct shard_place){ cluster, (uint32_t)(index * SLOT_COUNT / count),
                                 (uint32_t)((index + 1) * SLOT_COUNT / count - 1) };
}

static bool slots_lay(const struct shard_place *places, size_t at, uint8_t *shard_of_slot, char *ret_why, size_t why_size)
{
    const struct shard_place *place = &places[at];

    if (place->first_slot > place->last_slot || place->last_slot >= SLOT_COUNT) {
        snprintf(ret_why, why_size, "database %zu says that it has the slots %u to %u: there are 0 to %d", at + 1,
                 place->first_slot, place->last_slot, SLOT_COUNT - 1);
        return false;
    }
    for (uint32_t slot = place->first_slot; slot <= place->last_slot; slot++) {
        if (shard_of_slot[slot] != NO_SHARD) {
            snprintf(ret_why, why_size, "databases %d and %zu of the list both have slot %u: they are one database, or a copy",
                     shard_of_slot[slot] + 1, at + 1, slot);
            return false;
        }
        shard_of_slot[slot] = (uint8_t)at;
    }
    return true;
}

static bool slots_are_all_there(const uint8_t *shard_of_slot, char *ret_why, size_t why_size)
{
    uint32_t first = 0, last;

    while (first < SLOT_COUNT && shard_of_slot[first] != NO_SHARD)
        first++;
    for (last = first; last < SLOT_COUNT && shard_of_slot[last] == NO_SHARD;)
        last++;
    if (first == SLOT_COUNT)
        return true;
    snprintf(ret_why, why_size, "no database of the list has the slots %u to %u: name all databases that the cluster was made with",
             first, last - 1);
    return false;
}

bool shard_table_make(const struct shard_place *places, size_t count, uint8_t ret_shard_of_slot[SLOT_COUNT], char *ret_why,
                      size_t why_size)
{
    uint8_t shard_of_slot[SLOT_COUNT];

    memset(shard_of_slot, NO_SHARD, sizeof shard_of_slot);
    for (size_t i = 1; i < count; i++)
        if (places[i].cluster != places[0].cluster) {
            snprintf(ret_why, why_size, "database %zu of the list was made for another cluster than database 1", i + 1);
            return false;
        }
    for (size_t i = 0; i < count; i++)
        if (!slots_lay(places, i, shard_of_slot, ret_why, why_size))
            return false;
    if (!slots_are_all_there(shard_of_slot, ret_why, why_size))
        return false;
    memcpy(ret_shard_of_slot, shard_of_slot, sizeof shard_of_slot);
    return true;
}

bool shard_place_fits(const struct shard_place *place, uint64_t cluster, size_t index, size_t count, char *ret_why,
                      size_t why_size)
{
    const struct shard_place want = shard_place_new(cluster, index, count);

    if (place->cluster != cluster) {
        snprintf(ret_why, why_size, "database %zu of the list was made for another cluster than one before it", index + 1);
        return false;
    }
    if (place->first_slot == want.first_slot && place->last_slot == want.last_slot)
        return true;
    snprintf(ret_why, why_size, "database %zu of the list has the slots %u to %u, and as number %zu of %zu it would have %u to %u: "
             "name the databases that the cluster was made with, in that order", index + 1, place->first_slot,
             place->last_slot, index + 1, count, want.first_slot, want.last_slot);
    return false;
}
