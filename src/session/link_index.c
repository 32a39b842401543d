#include "session/link_index.h"

#include <stdlib.h>

#include "base/must.h"
#include "session/link.h"

enum { SLOTS_FIRST = 64 };

void link_index_fini(struct link_index *index)
{
    free(index->slots);
    *index = (struct link_index){ 0 };
}

/* Where the key stands, or the empty slot where it would. */
static size_t link_slot(const struct link_index *index, uint64_t key)
{
    size_t at = key & (index->slot_count - 1);

    while (index->slots[at] != NULL && index->slots[at]->key != key)
        at = (at + 1) & (index->slot_count - 1);
    return at;
}

static void link_index_grow(struct link_index *index)
{
    struct link **old   = index->slots;
    size_t        count = index->slot_count;

    index->slot_count = count == 0 ? SLOTS_FIRST : count * 2;
    index->slots      = calloc(index->slot_count, sizeof index->slots[0]);
    must(index->slots != NULL);
    for (size_t i = 0; i < count; i++)
        if (old[i] != NULL)
            index->slots[link_slot(index, old[i]->key)] = old[i];
    free(old);
}

static void link_index_put(struct link_index *index, struct link *link)
{
    if ((index->count + 1) * 4 > index->slot_count * 3)
        link_index_grow(index);
    size_t at = link_slot(index, link->key);
    must(index->slots[at] == NULL);
    index->slots[at] = link;
    index->count++;
}

void link_index_add(struct link_index *index, struct link *link)
{
    if (index->slots != NULL)
        link_index_put(index, link);
}

/* Links behind the hole move up as long as they stand behind their own slot, so that no probe ends too early. */
static void link_index_close_hole(struct link_index *index, size_t hole)
{
    size_t mask = index->slot_count - 1;

    for (size_t at = (hole + 1) & mask; index->slots[at] != NULL; at = (at + 1) & mask) {
        size_t home = index->slots[at]->key & mask;
        if (((at - home) & mask) < ((at - hole) & mask))
            continue;
        index->slots[hole] = index->slots[at];
        index->slots[at]   = NULL;
        hole               = at;
    }
}

void link_index_take(struct link_index *index, struct link *link)
{
    if (index->slots == NULL)
        return;
    size_t at = link_slot(index, link->key);
    must(index->slots[at] == link);
    index->slots[at] = NULL;
    index->count--;
    link_index_close_hole(index, at);
}

static void link_index_make(struct link_index *index, struct near_list *const *lists, size_t list_count)
{
    link_index_grow(index);
    for (size_t i = 0; i < list_count; i++)
        for (struct near_list *at = near_list_next(lists[i]); at != lists[i]; at = near_list_next(at))
            link_index_put(index, container_of(at, struct link, in_worker));
}

struct link *link_index_find(struct link_index *index, uint64_t key, struct near_list *const *lists, size_t list_count,
                             msec now)
{
    if (index->slots == NULL)
        link_index_make(index, lists, list_count);
    index->asked_at = now;
    return index->slots[link_slot(index, key)];
}

void link_index_tick(struct link_index *index, msec now)
{
    if (index->slots != NULL && now - index->asked_at >= LINK_INDEX_KEPT_MS)
        link_index_fini(index);
}
