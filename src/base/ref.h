/* ref.h - a count of owners, shared between threads. Here and in reactor/wake.c live all our atomics, but for
 * the counters of base/counter.h. */
#ifndef BASE_REF_H
#define BASE_REF_H

#include <stdatomic.h>
#include <stdbool.h>

struct ref {
    atomic_uint count;
};

static inline void ref_init(struct ref *ref)
{
    atomic_init(&ref->count, 1);
}

static inline void ref_get(struct ref *ref)
{
    atomic_fetch_add_explicit(&ref->count, 1, memory_order_relaxed);
}

/* True for the last owner, who then frees the thing. */
static inline bool ref_put(struct ref *ref)
{
    if (atomic_fetch_sub_explicit(&ref->count, 1, memory_order_release) != 1)
        return false;
    /* Pairs with the release of the others: what they wrote is seen before the free. An acquiring load, not
     * a fence: ThreadSanitizer understands it. */
    (void)atomic_load_explicit(&ref->count, memory_order_acquire);
    return true;
}

#endif
