/* ref.h - a count of owners, shared between threads. All atomics are here, in reactor/wake.c and in base/counter.h. */
#ifndef BASE_REF_H
#define BASE_REF_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/must.h"

struct ref {
    atomic_uint count;
};

static inline void ref_init(struct ref *ref)
{
    atomic_init(&ref->count, 1);
}

static inline void ref_get(struct ref *ref)
{
    must(atomic_fetch_add_explicit(&ref->count, 1, memory_order_relaxed) > 0);
}

/* True for the last owner, who then frees the thing. */
static inline bool ref_put(struct ref *ref)
{
    unsigned before = atomic_fetch_sub_explicit(&ref->count, 1, memory_order_release);

    must(before > 0);
    if (before != 1)
        return false;
    /* Pairs with the release of the other owners: the free comes after all that they wrote. It is an acquiring load and
     * not a fence, because ThreadSanitizer understands the load. */
    (void)atomic_load_explicit(&ref->count, memory_order_acquire);
    return true;
}

#endif
