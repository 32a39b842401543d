/* wire_poster.h - simulated clients that publish, alone and in batches, take back and read history, over HTTP with
 * several requests under way, or publish by frames of a WebSocket; and that repeat what has an idempotency key. */
#ifndef SIM_WIRE_POSTER_H
#define SIM_WIRE_POSTER_H

#include "wire_world.h"

struct posters *posters_new(struct wire_world *wire);
void            posters_free(struct posters *posters);

void posters_turn(struct posters *posters);
/* The node is gone, and with it all links. */
void posters_cut(struct posters *posters);
/* They leave, and don't come again. */
void posters_leave(struct posters *posters);

/* Is everything that was asked for answered? */
bool posters_are_done(const struct posters *posters);

#endif
