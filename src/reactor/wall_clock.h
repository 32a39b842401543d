/* wall_clock.h - what time it is, though somebody may set the clock.
 *
 * Messages are stamped, expire and are deleted by the wall clock, and a message that was deleted doesn't come back. So a
 * clock that leaps is doubted: one that is more than WALL_CLOCK_LEAP_MS away, in either direction, from the time that it
 * should show by the time that has passed. Then time goes on as if nothing had happened, until the clock has returned or has
 * kept to its new time for WALL_CLOCK_BELIEF_MS. Smaller steps are followed at once (docs/decisions/0014). This module
 * asks for no time itself. */
#ifndef REACTOR_WALL_CLOCK_H
#define REACTOR_WALL_CLOCK_H

#include <stdbool.h>

#include "base/msec.h"

#define WALL_CLOCK_LEAP_MS   (10 * 60 * INT64_C(1000))
#define WALL_CLOCK_BELIEF_MS (24 * 3600 * INT64_C(1000))

struct wall_clock {
    msec passed;      /* at the last look, by a clock that nobody sets */
    msec wall;        /* what the last look returned */
    msec off;         /* how far the clock was from that; 0: it isn't doubted */
    msec doubted_at;  /* since when it keeps to its new time, as `passed` */
};

/* What the clock says now is believed. */
void wall_clock_init(struct wall_clock *clock, msec passed, msec says);

/* What time it is, `passed` being what a clock that nobody sets shows, and `says` what the wall clock does. */
msec wall_clock_look(struct wall_clock *clock, msec passed, msec says);

#endif
