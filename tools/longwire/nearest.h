/* nearest.h - which known word somebody meant who wrote an unknown one. */
#ifndef LONGWIRE_NEAREST_H
#define LONGWIRE_NEAREST_H

#include "base/span.h"

enum { NEAREST_BYTES_MAX = 64 };  /* a longer word resembles none */

/* How many letters must be put in, left out, changed or swapped with their neighbour to make `a` into `b`. Both are at
 * most NEAREST_BYTES_MAX bytes. */
size_t edit_distance(struct span a, struct span b);

/* The candidate so far, as words are offered one by one. */
struct nearest {
    struct span word;      /* the unknown one */
    const char *found;     /* NULL: none resembles it */
    size_t      distance;
};

void nearest_init(struct nearest *nearest, struct span word);

/* Keeps `known` if it resembles the word, and more than what was offered before. One that begins the word, or that the
 * word begins, counts as a distance of one: "subscribe" means "sub". */
void nearest_offer(struct nearest *nearest, const char *known);

#endif
