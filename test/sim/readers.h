/* readers.h - subscribers: each follows one channel over one loop, writes down what it is given, is slow for a while,
 * goes, and comes back on another loop with the place it remembers, or with a false one: one too far, or
 * 2^53, or 2^64 - 1.
 *
 * What they notice: a seq that doesn't follow the one before, a gap that isn't true, a message past its time, an
 * epoch that goes back, and a log that has to be asked for what was just coming (threats 13, 14, 32, 34, 82). */
#ifndef SIM_READERS_H
#define SIM_READERS_H

#include "world.h"

struct readers *readers_new(struct world *world);
void            readers_free(struct readers *readers);

void reader_on_ready(void *owner);

/* Those of this loop come, go, and draw. */
void readers_turn(struct readers *readers, unsigned loop);
/* A node is going down under them: their links are cut. */
void readers_cut(struct readers *readers, struct loop_range range);
/* … and come again elsewhere. */
void readers_move(struct readers *readers, struct loop_range range);

/* On these loops. */
size_t readers_here(const struct readers *readers, unsigned channel, struct loop_range range);
/* When one of them came or went the last time. */
msec   readers_moved_at(const struct readers *readers);

/* Everybody is there and has all there is. */
/* Has everybody all there is? */
bool readers_are_complete(const struct readers *readers);
void readers_check_end(struct readers *readers);

#endif
