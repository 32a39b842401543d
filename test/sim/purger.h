/* purger.h - somebody who empties channels now and then, and what must be true behind each answer:
 *
 *  - nothing that was purged is delivered on that node any more, and no history shows it;
 *  - the purge is in the log, whatever is killed.
 *
 * Its chance is a stream of its own, so that the other streams of a seed say what they said before there was one. */
#ifndef SIM_PURGER_H
#define SIM_PURGER_H

#include "world.h"

struct purger;

struct purger *purger_new(struct world *world);
void           purger_free(struct purger *purger);

/* Does this seed have purges? */
bool purger_is_active(const struct purger *purger);

void purger_turn(struct purger *purger, unsigned loop);
/* The loops are gone, with what they were asked. */
void purger_cut(struct purger *purger, struct loop_range range);

/* A message was given on this loop, to somebody who asked for it at `since`; world->now: pushed to a reader. */
void purger_check(const struct purger *purger, unsigned channel, unsigned loop, const struct message *message,
                  msec since);
void purger_check_end(const struct purger *purger);

#endif
