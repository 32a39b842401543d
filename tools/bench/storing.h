/* storing.h - acknowledged publishes into channels at random, so many on the way at a time. */
#ifndef BENCH_STORING_H
#define BENCH_STORING_H

#include "base/rng.h"
#include "bench/publisher.h"

struct storing {
    const struct options *options;
    struct loop           loop;
    struct publisher      publisher;
    struct rng            rng;
    void                (*on_turn)(void *owner);  /* NULL: nothing else is to be done in each turn of the loop */
    void                 *owner;
};

/* Publishes for so long, then waits for the last acknowledgement; returns how many were published. */
uint64_t store_for(struct storing *storing, uint64_t length_ns);

#endif
