/* pool.h - many objects of one size, without a header each: what an idle connection consists of.
 *
 * Slabs of 64 KiB straight from the system; one that falls empty goes back there. An object comes zeroed. One thread.
 * Under AddressSanitizer every object is a malloc of its own, so that its misuse is seen. */
#ifndef BASE_POOL_H
#define BASE_POOL_H

#include "base/list.h"

struct pool {
    size_t      object_bytes;
    size_t      count;    /* objects out */
    struct list roomy;    /* slabs with a free place */
};

/* 8 … 4096 bytes an object. Holds nothing until the first take. */
void  pool_init(struct pool *pool, size_t object_bytes);
void  pool_fini(struct pool *pool);  /* all objects are back */

/* No memory ends the process. */
void *pool_take(struct pool *pool);
void  pool_give(struct pool *pool, void *object);  /* NULL is fine */

#endif
