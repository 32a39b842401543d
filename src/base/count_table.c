#include "base/count_table.h"

#include <stdlib.h>

#include "base/must.h"

enum { SIZE_LEAST = 16, LOW_BITS = 3 };  /* these bits of a hash its owner may have replaced */

void count_table_init(struct count_table *table)
{
    for (size_t i = 0; i < COUNT_PARTS; i++) {
        table->parts[i] = (struct count_part){ .places = NULL };
        must(pthread_mutex_init(&table->parts[i].lock, NULL) == 0);
    }
}

void count_table_fini(struct count_table *table)
{
    for (size_t i = 0; i < COUNT_PARTS; i++) {
        free(table->parts[i].places);
        pthread_mutex_destroy(&table->parts[i].lock);
    }
}

/* Parts by the highest bits, places by the lowest. */
static struct count_part *part_lock(struct count_table *table, uint64_t hash)
{
    struct count_part *part = &table->parts[hash >> 58];

    must(pthread_mutex_lock(&part->lock) == 0);
    return part;
}

static void part_unlock(struct count_part *part)
{
    must(pthread_mutex_unlock(&part->lock) == 0);
}

/* Where it stands, or the free place where it would. */
static size_t place_index(const struct count_part *part, uint64_t hash)
{
    size_t at = hash >> LOW_BITS & (part->size - 1);

    while (part->places[at].count != 0 && part->places[at].hash != hash)
        at = (at + 1) & (part->size - 1);
    return at;
}

/* At most three quarters are in use, so that a search is short and ends. */
static void part_make_room(struct count_part *part)
{
    struct count_part bigger = { .size = part->size == 0 ? SIZE_LEAST : part->size * 2 };

    if ((part->used + 1) * 4 <= part->size * 3)
        return;
    bigger.places = calloc(bigger.size, sizeof bigger.places[0]);
    must(bigger.places != NULL);
    for (size_t i = 0; i < part->size; i++)
        if (part->places[i].count != 0)
            bigger.places[place_index(&bigger, part->places[i].hash)] = part->places[i];
    free(part->places);
    part->places = bigger.places;
    part->size   = bigger.size;
}

bool count_table_add(struct count_table *table, uint64_t hash, uint32_t max)
{
    struct count_part *part = part_lock(table, hash);

    part_make_room(part);
    struct count_place *place = &part->places[place_index(part, hash)];
    bool                fits  = place->count < max;
    if (fits) {
        part->used += place->count == 0;
        place->hash = hash;
        place->count++;
    }
    part_unlock(part);
    return fits;
}

/* Moves those back that stand behind the free place and would not be found any more. */
static void part_close_gap(struct count_part *part, size_t gap)
{
    const size_t mask = part->size - 1;

    for (size_t at = (gap + 1) & mask; part->places[at].count != 0; at = (at + 1) & mask) {
        size_t wanted = part->places[at].hash >> LOW_BITS & mask;
        if (((at - wanted) & mask) < ((at - gap) & mask))
            continue;
        part->places[gap] = part->places[at];
        part->places[at]  = (struct count_place){ .count = 0 };
        gap               = at;
    }
}

void count_table_take(struct count_table *table, uint64_t hash)
{
    struct count_part *part = part_lock(table, hash);

    must(part->size > 0);
    size_t at = place_index(part, hash);
    must(part->places[at].count > 0);
    if (--part->places[at].count == 0) {
        part->used--;
        part_close_gap(part, at);
    }
    part_unlock(part);
}

uint32_t count_table_of(struct count_table *table, uint64_t hash)
{
    struct count_part *part  = part_lock(table, hash);
    uint32_t           count = part->size == 0 ? 0 : part->places[place_index(part, hash)].count;

    part_unlock(part);
    return count;
}
