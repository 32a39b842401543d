#include "reactor/wall_clock.h"

static bool is_leap(msec off)
{
    return off > WALL_CLOCK_LEAP_MS || off < -WALL_CLOCK_LEAP_MS;
}

void wall_clock_init(struct wall_clock *clock, msec passed, msec says)
{
    *clock = (struct wall_clock){ .passed = passed, .wall = says };
}

msec wall_clock_compare(struct wall_clock *clock, msec passed, msec says, msec seen)
{
    wall_clock_init(clock, passed, says);
    if (seen == 0 || (says >= seen - WALL_CLOCK_LEAP_MS && says <= seen + WALL_CLOCK_PAUSE_MS))
        return clock->wall;
    clock->wall       = seen;
    clock->off        = says - seen;
    clock->doubted_at = passed;
    return clock->wall;
}

msec wall_clock_look(struct wall_clock *clock, msec passed, msec says)
{
    msec wall = clock->wall + passed - clock->passed;
    msec off  = says - wall;

    if (is_leap(off) && is_leap(off - clock->off))
        clock->doubted_at = passed;  /* a leap, or another one on top of it */
    if (!is_leap(off) || passed - clock->doubted_at >= WALL_CLOCK_BELIEF_MS) {
        wall = says;
        off  = 0;
    }
    clock->passed = passed;
    clock->wall   = wall;
    clock->off    = off;
    return wall;
}
