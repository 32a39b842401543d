/* wall_clock.h - the time of day, although an administrator or NTP may set the clock.
 *
 * Messages are stamped, expire and are deleted by the wall clock, and a deleted message doesn't come back. So this
 * module doubts a clock that leaps. The clock should show its last time plus the time that has passed. If it is more
 * than WALL_CLOCK_LEAP_MS away from that, in either direction, the time goes on as if nothing had happened, until the
 * clock has returned or has kept to its new time for WALL_CLOCK_BELIEF_MS. Smaller steps are followed at once
 * (docs/decisions/0014). This module reads no clock itself. */
#ifndef REACTOR_WALL_CLOCK_H
#define REACTOR_WALL_CLOCK_H

#include <stdbool.h>

#include "base/msec.h"

#define WALL_CLOCK_LEAP_MS   (10 * 60 * INT64_C(1000))
#define WALL_CLOCK_BELIEF_MS (24 * 3600 * INT64_C(1000))
#define WALL_CLOCK_PAUSE_MS  (7 * 24 * 3600 * INT64_C(1000))  /* a server may have been stopped for so long */

struct wall_clock {
    msec passed;      /* at the last call, by the monotonic clock */
    msec wall;        /* what the last look returned */
    msec off;         /* how far the clock was from the time that it should show; 0: it isn't doubted */
    msec doubted_at;  /* when it began to keep to its new time, in terms of `passed` */
};

/* What the clock says now is believed. */
void wall_clock_init(struct wall_clock *clock, msec passed, msec says);

/* The newest time that was seen before this process began; 0: nobody knows it. A clock that shows an earlier time by more
 * than WALL_CLOCK_LEAP_MS, or a later one by more than WALL_CLOCK_PAUSE_MS, is doubted as if it had leapt just now: the
 * time goes on from `seen`. Returns the time of day. */
msec wall_clock_compare(struct wall_clock *clock, msec passed, msec says, msec seen);

/* The time of day. `passed` is the monotonic clock's time, `says` the wall clock's. */
msec wall_clock_look(struct wall_clock *clock, msec passed, msec says);

#endif
