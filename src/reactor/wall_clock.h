/* wall_clock.h - what time it is, though somebody may set the clock.
 *
 * Messages are stamped, expire and are let go by the wall clock, and what was let go doesn't come back. So a clock that
 * leaps, further than WALL_CLOCK_LEAP_MS either way from where the time that has passed should have taken it, is doubted:
 * time goes on as if nothing had happened until the clock has returned, or has stood by its word for WALL_CLOCK_BELIEF_MS.
 * Smaller steps are followed at once (docs/decisions/0014). Asks for no time itself. */
#ifndef REACTOR_WALL_CLOCK_H
#define REACTOR_WALL_CLOCK_H

#include <stdbool.h>

#include "base/msec.h"

#define WALL_CLOCK_LEAP_MS   (10 * 60 * INT64_C(1000))
#define WALL_CLOCK_BELIEF_MS (24 * 3600 * INT64_C(1000))

struct wall_clock {
    msec passed;      /* of the last look, by a clock that nobody sets */
    msec wall;        /* what that look said */
    msec off;         /* how far the clock was from it; 0: it isn't doubted */
    msec doubted_at;  /* since when it stands by its word, as `passed` */
};

/* What the clock says now is believed. */
void wall_clock_init(struct wall_clock *clock, msec passed, msec says);

/* What time it is, `passed` being what a clock that nobody sets shows, and `says` what the wall clock does. */
msec wall_clock_look(struct wall_clock *clock, msec passed, msec says);

#endif
