#include "base/pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/must.h"

enum { SLAB_BYTES = 16 * 1024 };

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

/* --- the range that slabs come from. Any thread. --- */

enum { RANGE_SLABS = 2 * 1024 * 1024, SLABS_AT_ONCE = 64 };

char *pool_range;

/* Slabs that came back are chained by their numbers, in an array of which only what was used has memory: in themselves they have
 * none. Number 0 is never used, so that nothing lies at the beginning of the range. Those from `shut` on can't be read or written. */
static struct {
    pthread_mutex_t lock;
    uint32_t        fresh, shut, free;
    uint32_t        next_free[RANGE_SLABS];
} range = { .lock = PTHREAD_MUTEX_INITIALIZER, .fresh = 1 };

/* Addresses alone: they count against no limit of memory. What lies around the slabs stays unused. */
static void range_reserve(void)
{
    const size_t bytes = (size_t)RANGE_SLABS * SLAB_BYTES;
    char        *raw   = mmap(NULL, bytes + SLAB_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    must(raw != MAP_FAILED);
    pool_range = (char *)(((uintptr_t)raw + SLAB_BYTES - 1) & ~(uintptr_t)(SLAB_BYTES - 1));
}

static char *slab_at(uint32_t number)
{
    return pool_range + (size_t)number * SLAB_BYTES;
}

/* Many slabs with one system call. They have memory once they are written to. */
static void range_open_more(void)
{
    must(mprotect(slab_at(range.shut), (size_t)SLABS_AT_ONCE * SLAB_BYTES, PROT_READ | PROT_WRITE) == 0);
    range.shut += SLABS_AT_ONCE;
}

static uint32_t range_take(void)
{
    pthread_mutex_lock(&range.lock);
    if (pool_range == NULL)
        range_reserve();
    uint32_t number = range.free;
    if (number != 0)
        range.free = range.next_free[number];
    else
        number = range.fresh++;
    must(number < RANGE_SLABS);
    if (number >= range.shut)
        range_open_more();
    pthread_mutex_unlock(&range.lock);
    return number;
}

static struct slab *slab_new(void)
{
    return (struct slab *)(void *)slab_at(range_take());
}

/* Its memory goes back, and it will be zero again. Its addresses stay as they are: were they shut, each slab between others in use
 * would be two more mappings of the process, of which the kernel allows some 65,000. */
static void slab_free(struct slab *slab)
{
    uint32_t number = (uint32_t)(((char *)slab - pool_range) / SLAB_BYTES);

    must(madvise(slab, SLAB_BYTES, MADV_DONTNEED) == 0);
    pthread_mutex_lock(&range.lock);
    range.next_free[number] = range.free;
    range.free              = number;
    pthread_mutex_unlock(&range.lock);
}

void pool_fini(struct pool *pool)
{
    struct list *link;

    must(pool->count == 0);
    while ((link = list_pop(&pool->roomy)) != NULL)
        slab_free(container_of(link, struct slab, link));
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
        slab_free(slab);
    }
}

#endif
