/* askers.h - pages and back ends that ask: for history, both ways; who is there; how the node is.
 *
 * What they hold it against: history begins and ends where it was asked to, touches, hides nothing that was
 * acknowledged before the question, and its gaps are true; once all is calm everybody is counted once. */
#ifndef SIM_ASKERS_H
#define SIM_ASKERS_H

#include "world.h"

struct askers *askers_new(struct world *world);
void           askers_free(struct askers *askers);

void askers_turn(struct askers *askers, unsigned loop);
/* A node is gone, and every answer with it. */
void askers_cut(struct askers *askers, struct loop_range range);

#endif
