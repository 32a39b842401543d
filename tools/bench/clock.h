/* clock.h - the one clock of the bench: monotonic, in nanoseconds. Publisher and subscribers are one process
 * or at least one machine, so stamps from one can be read by the other. */
#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <stdint.h>
#include <time.h>

#define NS_PER_S  1000000000ull
#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull

static inline uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

#endif
