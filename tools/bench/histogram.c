#include "bench/histogram.h"

#include <math.h>

/* Values below 32 have a bucket each. Above, the highest bit picks the row and the five bits after it the bucket:
 *
 *     row 0: 0 … 31   row 1: 32 … 63 in ones   row 2: 64 … 127 in twos   row 3: 128 … 255 in fours   … */
static unsigned bucket_of(uint64_t ns)
{
    const uint64_t top = (1ull << HISTOGRAM_TOP_BITS) - 1;
    if (ns > top)
        ns = top;
    if (ns < 1u << HISTOGRAM_STEP_BITS)
        return (unsigned)ns;
    unsigned shift = 63u - (unsigned)__builtin_clzll(ns) - HISTOGRAM_STEP_BITS;
    return (shift << HISTOGRAM_STEP_BITS) + (unsigned)(ns >> shift);
}

static uint64_t bucket_edge(unsigned bucket)
{
    const unsigned steps = 1u << HISTOGRAM_STEP_BITS;
    if (bucket < 2 * steps)
        return bucket;
    unsigned shift = bucket / steps - 1;
    return ((uint64_t)(bucket % steps + steps + 1) << shift) - 1;
}

void histogram_record(struct histogram *histogram, uint64_t ns)
{
    histogram->count++;
    histogram->buckets[bucket_of(ns)]++;
    if (ns > histogram->max_ns)
        histogram->max_ns = ns;
}

void histogram_add(struct histogram *sum, const struct histogram *more)
{
    sum->count += more->count;
    if (more->max_ns > sum->max_ns)
        sum->max_ns = more->max_ns;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        sum->buckets[i] += more->buckets[i];
}

uint64_t histogram_quantile(const struct histogram *histogram, double part)
{
    uint64_t wanted = (uint64_t)ceil(part * (double)histogram->count);
    uint64_t below  = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS && histogram->count > 0; i++) {
        below += histogram->buckets[i];
        if (below >= wanted && below > 0)
            return bucket_edge(i) < histogram->max_ns ? bucket_edge(i) : histogram->max_ns;
    }
    return histogram->max_ns;
}
