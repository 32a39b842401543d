/* clock_watch.h - tells the log when the wall clock is doubted, and when it is believed again (docs/decisions/0014).
 *
 * One notice for each change, however often it looks. One thread: that of the loop that owns the clock. */
#ifndef MAIN_CLOCK_WATCH_H
#define MAIN_CLOCK_WATCH_H

#include "reactor/wall_clock.h"

/* What was logged last. Zeroed: the clock is believed. */
struct clock_watch {
    bool was_doubted;
};

void clock_watch_look(struct clock_watch *watch, const struct wall_clock *clock);

#endif
