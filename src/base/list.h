/* list.h - an intrusive, doubly linked ring. The head is a link of its own; an empty list points at itself.
 * A link that is in no list is zero or points at itself; list_take() leaves it so. A link is in one list at most. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/must.h"

struct list {
    struct list *prev, *next;
};

#define container_of(link, type, member) ((type *)(void *)((char *)(link) - offsetof(type, member)))

static inline void list_init(struct list *list)
{
    list->prev = list->next = list;
}

static inline bool list_is_empty(const struct list *list)
{
    return list->next == list || list->next == NULL;
}

static inline bool list_is_linked(const struct list *link)
{
    return link->next != NULL && link->next != link;
}

static inline void list_push(struct list *list, struct list *link)  /* at the end */
{
    must(!list_is_linked(link));
    link->prev       = list->prev;
    link->next       = list;
    list->prev->next = link;
    list->prev       = link;
}

static inline void list_take(struct list *link)
{
    if (link->next == NULL)
        return;
    link->prev->next = link->next;
    link->next->prev = link->prev;
    link->prev = link->next = link;
}

static inline struct list *list_pop(struct list *list)  /* the first, or NULL */
{
    if (list_is_empty(list))
        return NULL;
    struct list *link = list->next;
    list_take(link);
    return link;
}

/* Moves all of `from` to the end of `to`; `from` is empty afterwards. */
static inline void list_move(struct list *to, struct list *from)
{
    if (list_is_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next   = from->next;
    from->prev->next = to;
    to->prev         = from->prev;
    list_init(from);
}

#endif
