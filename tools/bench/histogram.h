/* histogram.h - counts of times in buckets of fixed relative width, after HdrHistogram.
 *
 * 32 buckets to each power of two: a quantile is at most 3.2 % above the true value. It holds 0 ns up to 2^42 ns (73
 * minutes); what is longer counts as that. Ten kilobytes, no memory of its own, one thread. */
#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_STEP_BITS = 5, HISTOGRAM_TOP_BITS = 42 };
enum { HISTOGRAM_BUCKETS = (HISTOGRAM_TOP_BITS - HISTOGRAM_STEP_BITS + 1) << HISTOGRAM_STEP_BITS };

struct histogram {
    uint64_t count;
    uint64_t max_ns;
    uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_record(struct histogram *histogram, uint64_t ns);
void histogram_add(struct histogram *sum, const struct histogram *more);

/* The upper edge of the bucket below which `part` (0 … 1) of all values lie, never above the greatest value; 0 if
 * there is none. */
uint64_t histogram_quantile(const struct histogram *histogram, double part);

#endif
