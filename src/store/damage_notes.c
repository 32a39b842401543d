#include "store/damage_notes.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"

void damage_notes_init(struct damage_notes *notes)
{
    memset(notes, 0, sizeof *notes);
    pthread_mutex_init(&notes->lock, NULL);
}

void damage_notes_fini(struct damage_notes *notes)
{
    pthread_mutex_destroy(&notes->lock);
}

static bool place_is_known(const struct damage_notes *notes, uint64_t place)
{
    for (uint64_t i = 0; i < notes->count; i++)
        if (notes->places[i] == place)
            return true;
    return false;
}

void damage_notes_add(struct damage_notes *notes, const char *place)
{
    const struct hash_key key  = { 0 };
    const uint64_t        hash = hash_bytes(&key, span_str(place));

    pthread_mutex_lock(&notes->lock);
    if (notes->count < DAMAGE_PLACES_MAX && !place_is_known(notes, hash)) {
        snprintf(notes->last[notes->count % STORE_DAMAGES_TOLD], STORE_DAMAGE_BYTES, "%s", place);
        notes->places[notes->count++] = hash;
    }
    pthread_mutex_unlock(&notes->lock);
}

void damage_notes_tell(struct damage_notes *notes, struct store_stats *ret_stats)
{
    pthread_mutex_lock(&notes->lock);
    ret_stats->damage_count = notes->count;
    memcpy(ret_stats->damages, notes->last, sizeof notes->last);
    pthread_mutex_unlock(&notes->lock);
}
