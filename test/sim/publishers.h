/* publishers.h - back ends: several requests under way, some with an idempotency key, which they repeat until they
 * know; impatient ones repeat while the first is still under way, over another loop. Some come in one breath, as in a
 * batch. Recalls take back whatever stands at a seq, and some requests show a key that is taken. */
#ifndef SIM_PUBLISHERS_H
#define SIM_PUBLISHERS_H

#include "world.h"

struct publishers *publishers_new(struct world *world);
void               publishers_free(struct publishers *publishers);

void publishers_turn(struct publishers *publishers, unsigned loop);
/* Has everybody had its answer? */
bool publishers_are_done(const struct publishers *publishers);
/* A node leaves: they go elsewhere, and wait there for what they have asked here. */
void publishers_move(struct publishers *publishers, struct loop_range range);
bool publishers_wait_for(const struct publishers *publishers, struct loop_range range);
/* A node is gone, and every answer with it. */
void publishers_cut(struct publishers *publishers, struct loop_range range);

#endif
