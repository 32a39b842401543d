/* rng.h - random numbers that repeat (SplitMix64), for tests and the simulator. Not for secrets. The caller hands the
 * seed in. */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdint.h>

struct rng {
    uint64_t state;
};

static inline uint64_t rng_next(struct rng *rng)
{
    uint64_t z = rng->state += 0x9e3779b97f4a7c15u;
    z          = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z          = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* 0 … below-1; below > 0. */
static inline uint64_t rng_below(struct rng *rng, uint64_t below)
{
    return rng_next(rng) % below;
}

#endif
