/* pool.h - many objects of one size, without a header each. The structs of an idle connection live in pools.
 *
 * A pool takes slabs of 16 KiB from the system and gives back those that have become empty. An object comes zeroed. One
 * thread. Under AddressSanitizer every object is a malloc of its own, so that the sanitizer sees its misuse.
 *
 * All pools of the process, of any thread, take their slabs from one range of 32 GiB of addresses, of which only slabs in use have memory: so
 * near.h can point at objects with 4 bytes. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include <stdint.h>

#include "base/list.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define POOL_IS_MALLOC 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define POOL_IS_MALLOC 1
#endif
#endif

#ifndef POOL_IS_MALLOC
enum { POOL_STEP_BYTES = 8 };  /* what all objects begin at multiples of */

extern char *pool_range;       /* where the range begins; for near.h */
#endif

struct pool {
    size_t      object_bytes;
    size_t      count;    /* objects out */
    struct list roomy;    /* slabs with a free place */
};

/* Objects of 8 to 4,096 bytes. Holds no memory until the first take. */
void  pool_init(struct pool *pool, size_t object_bytes);
void  pool_fini(struct pool *pool);  /* all objects are back */

/* No memory ends the process. */
void *pool_take(struct pool *pool);
void  pool_give(struct pool *pool, void *object);  /* NULL is fine */

#endif
