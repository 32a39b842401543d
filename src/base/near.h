/* near.h - pointers of 4 bytes, to objects that live in pools (pool.h).
 *
 * All slabs of all pools lie in one range of addresses, so that a number says which object is meant. Structs of which idle
 * connections have several use them where a list would take 16 bytes. A zeroed one is NULL. Under sanitizers objects of
 * pools are blocks of malloc, and these are plain pointers. */
#ifndef BASE_NEAR_H
#define BASE_NEAR_H

#include "base/must.h"
#include "base/pool.h"

#ifdef POOL_IS_MALLOC

struct near {
    void *at;
};

static inline void *near_get(struct near near)
{
    return near.at;
}

static inline struct near near_to(const void *object)
{
    return (struct near){ (void *)(uintptr_t)object };
}

#else

struct near {
    uint32_t at;  /* how far behind the beginning of the range, in steps of POOL_STEP_BYTES */
};

static inline void *near_get(struct near near)
{
    return near.at == 0 ? NULL : pool_range + (size_t)near.at * POOL_STEP_BYTES;
}

/* Of an object of a pool, or a place in one that is a multiple of POOL_STEP_BYTES from its beginning; NULL is fine. */
static inline struct near near_to(const void *object)
{
    if (object == NULL)
        return (struct near){ 0 };
    size_t steps = (size_t)((const char *)object - pool_range) / POOL_STEP_BYTES;
    must(steps <= UINT32_MAX);
    return (struct near){ (uint32_t)steps };
}

#endif

/* The ring of list.h of half the size. Its links, the head too, lie in objects of pools. */
struct near_list {
    struct near prev, next;
};

static inline struct near_list *near_list_next(const struct near_list *link)
{
    return near_get(link->next);
}

static inline struct near_list *near_list_prev(const struct near_list *link)
{
    return near_get(link->prev);
}

static inline void near_list_init(struct near_list *list)
{
    list->prev = list->next = near_to(list);
}

static inline bool near_list_is_empty(const struct near_list *list)
{
    return near_list_next(list) == list;
}

static inline bool near_list_is_linked(const struct near_list *link)  /* zeroed: no */
{
    return near_list_next(link) != NULL;
}

static inline void near_list_push(struct near_list *list, struct near_list *link)  /* at the end */
{
    struct near_list *last = near_get(list->prev);

    link->prev = list->prev;
    link->next = near_to(list);
    last->next = list->prev = near_to(link);
}

static inline void near_list_take(struct near_list *link)  /* in none: fine */
{
    struct near_list *prev = near_list_prev(link), *next = near_list_next(link);

    if (next == NULL)
        return;
    prev->next = link->next;
    next->prev = link->prev;
    link->prev = link->next = near_to(NULL);
}

static inline struct near_list *near_list_pop(struct near_list *list)  /* the first, or NULL */
{
    if (near_list_is_empty(list))
        return NULL;
    struct near_list *link = near_list_next(list);
    near_list_take(link);
    return link;
}

#endif
