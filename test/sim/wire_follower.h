/* wire_follower.h - simulated clients that follow channels, natively, by WebSocket, SSE, NDJSON, multipart and long poll, one
 * after the other, and keep the place behind what they have handled. */
#ifndef SIM_WIRE_FOLLOWER_H
#define SIM_WIRE_FOLLOWER_H

#include "wire_world.h"

struct followers *followers_new(struct wire_world *wire);
void              followers_free(struct followers *followers);

void followers_turn(struct followers *followers);
/* The node is gone, and with it all links. */
void followers_cut(struct followers *followers);
/* They leave, and don't come again. */
void followers_leave(struct followers *followers);

/* Has everybody all that there is? */
bool followers_have_all(struct followers *followers);
void followers_check_end(struct followers *followers);

#endif
