/* counter.h - a number that one thread writes and all threads may read, for metrics.
 *
 * The writer loads and stores it, relaxed, without a locked instruction. A reader may see an old value, but never half
 * of one. */
#ifndef BASE_COUNTER_H
#define BASE_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

struct counter {
    _Atomic uint64_t value;
};

static inline uint64_t counter_get(const struct counter *counter)
{
    return atomic_load_explicit(&counter->value, memory_order_relaxed);
}

static inline void counter_add(struct counter *counter, uint64_t more)
{
    atomic_store_explicit(&counter->value, counter_get(counter) + more, memory_order_relaxed);
}

static inline void counter_sub(struct counter *counter, uint64_t less)
{
    atomic_store_explicit(&counter->value, counter_get(counter) - less, memory_order_relaxed);
}

static inline void counter_set(struct counter *counter, uint64_t value)
{
    atomic_store_explicit(&counter->value, value, memory_order_relaxed);
}

#endif
