#include "base/pool.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/must.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define POOL_IS_MALLOC 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define POOL_IS_MALLOC 1
#endif
#endif

enum { SLAB_BYTES = 64 * 1024 };

/* A slab begins at a multiple of its size, so an object's slab is found by its address:
 *
 *   | slab | object | object | … | object | (rest) |
 *
 * Free objects are chained through their first word; objects that were never used begin at number `fresh`. */
struct slab {
    struct list link;   /* in pool.roomy, while there is a free place */
    void       *free;
    uint32_t    fresh;  /* the first object never used */
    uint32_t    used;
};

void pool_init(struct pool *pool, size_t object_bytes)
{
    must(object_bytes >= sizeof(void *) && object_bytes <= 4096);
    pool->object_bytes = (object_bytes + 7) / 8 * 8;
    pool->count        = 0;
    list_init(&pool->roomy);
}

#ifdef POOL_IS_MALLOC

void pool_fini(struct pool *pool)
{
    must(pool->count == 0);
}

void *pool_take(struct pool *pool)
{
    void *object = calloc(1, pool->object_bytes);

    must(object != NULL);
    pool->count++;
    return object;
}

void pool_give(struct pool *pool, void *object)
{
    must(object == NULL || pool->count > 0);
    if (object != NULL)
        pool->count--;
    free(object);
}

#else

static uint32_t slab_places(const struct pool *pool)
{
    return (uint32_t)((SLAB_BYTES - sizeof(struct slab)) / pool->object_bytes);
}

/* Twice the size always holds one slab that begins at a multiple of its size. What lies around that slab goes back. */
static struct slab *slab_new(void)
{
    char *raw = mmap(NULL, 2 * SLAB_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(raw != MAP_FAILED);

    char *begin = (char *)(((uintptr_t)raw + SLAB_BYTES - 1) & ~(uintptr_t)(SLAB_BYTES - 1));
    if (begin > raw)
        munmap(raw, (size_t)(begin - raw));
    munmap(begin + SLAB_BYTES, (size_t)(raw + SLAB_BYTES - begin));
    return (struct slab *)(void *)begin;
}

void pool_fini(struct pool *pool)
{
    struct list *link;

    must(pool->count == 0);
    while ((link = list_pop(&pool->roomy)) != NULL)
        munmap(container_of(link, struct slab, link), SLAB_BYTES);
}

void *pool_take(struct pool *pool)
{
    if (list_is_empty(&pool->roomy))
        list_push(&pool->roomy, &slab_new()->link);

    struct slab *slab   = container_of(pool->roomy.next, struct slab, link);
    void        *object = slab->free;
    must(slab->used < slab_places(pool));
    if (object != NULL) {
        memcpy(&slab->free, object, sizeof slab->free);
        memset(object, 0, pool->object_bytes);
    } else {
        object = (char *)(slab + 1) + slab->fresh++ * pool->object_bytes;  /* zero from the system */
    }
    slab->used++;
    pool->count++;
    if (slab->free == NULL && slab->fresh == slab_places(pool))
        list_take(&slab->link);
    return object;
}

void pool_give(struct pool *pool, void *object)
{
    if (object == NULL)
        return;

    struct slab *slab = (struct slab *)((uintptr_t)object & ~(uintptr_t)(SLAB_BYTES - 1));
    must(pool->count > 0 && slab->used > 0);
    memcpy(object, &slab->free, sizeof slab->free);
    slab->free = object;
    slab->used--;
    pool->count--;
    if (!list_is_linked(&slab->link))
        list_push(&pool->roomy, &slab->link);
    /* The pool keeps one empty slab, so that a single object that comes and goes costs no system call. */
    if (slab->used == 0 && pool->roomy.next != pool->roomy.prev) {
        list_take(&slab->link);
        munmap(slab, SLAB_BYTES);
    }
}

#endif
