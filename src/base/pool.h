/* pool.h - many objects of one size, without a header each. The structs of an idle connection live in pools.
 *
 * A pool takes slabs of 64 KiB from the system and gives back those that have become empty. An object comes zeroed. One
 * thread. Under AddressSanitizer every object is a malloc of its own, so that the sanitizer sees its misuse. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include "base/list.h"

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
