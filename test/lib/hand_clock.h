/* hand_clock.h - the clock of a unit test: it stands still until the test moves it, however long the machine takes.
 *
 * Include it in one file of a test program. The program's own clock_gettime() then comes before that of libc, for the
 * code under test too. All clocks show the same time. Waits of the kernel (epoll_wait, alarm) are not changed. */
#ifndef LIB_HAND_CLOCK_H
#define LIB_HAND_CLOCK_H

#include <time.h>

#include "base/msec.h"

static struct timespec hand_clock = { .tv_sec = 1000000000 };

int clock_gettime(clockid_t clock, struct timespec *ret)
{
    (void)clock;
    *ret = hand_clock;
    return 0;
}

static inline void hand_clock_pass(msec ms)
{
    msec nsec = hand_clock.tv_nsec + ms % 1000 * 1000000;

    hand_clock.tv_sec += ms / 1000 + nsec / 1000000000;
    hand_clock.tv_nsec = nsec % 1000000000;
}

#endif
