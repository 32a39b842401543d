/* damage_notes.h - what was found damaged on the disk: each place is counted and told once.
 *
 * Any thread may add and read. The place is a sentence of whoever found it, with file and offset if it has them. */
#ifndef STORE_DAMAGE_NOTES_H
#define STORE_DAMAGE_NOTES_H

#include <pthread.h>

#include "base/map.h"
#include "store/store.h"

enum { DAMAGE_PLACES_MAX = 1024 };  /* further places are not counted, so that memory is bounded */

struct damage_notes {
    pthread_mutex_t lock;
    uint64_t        count;
    uint64_t        places[DAMAGE_PLACES_MAX];  /* hashes of the sentences */
    char            last[STORE_DAMAGES_TOLD][STORE_DAMAGE_BYTES];
};

void damage_notes_init(struct damage_notes *notes);
void damage_notes_fini(struct damage_notes *notes);
void damage_notes_add(struct damage_notes *notes, const char *place);

/* Fills in the damage of ret_stats. */
void damage_notes_tell(struct damage_notes *notes, struct store_stats *ret_stats);

#endif
