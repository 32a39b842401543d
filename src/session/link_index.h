/* link_index.h - the links of one loop by their keys.
 *
 * The first look-up makes it, from the lists of links. From then on it is kept up to date, until nobody has looked
 * anything up for LINK_INDEX_KEPT_MS. So an idle connection costs nothing for it on a server that nobody asks about
 * connections, and 11 to 22 bytes on others. */
#ifndef SESSION_LINK_INDEX_H
#define SESSION_LINK_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "base/msec.h"

struct link;
struct near_list;

enum { LINK_INDEX_KEPT_MS = 10 * 60 * 1000 };

/* Open addressing with linear probing. Zeroed: not made. */
struct link_index {
    struct link **slots;       /* NULL: not made */
    size_t        slot_count;  /* a power of two, over four thirds of `count` */
    size_t        count;
    msec          asked_at;
};

void link_index_fini(struct link_index *index);

/* The link with this key, or NULL. `lists`: where all links stand, from which it is made if it is not there. */
struct link *link_index_find(struct link_index *index, uint64_t key, struct near_list *const *lists, size_t list_count,
                             msec now);

/* A link has come; a link goes. Nothing happens while the index is not made. */
void link_index_add(struct link_index *index, struct link *link);
void link_index_take(struct link_index *index, struct link *link);

/* About once a second. */
void link_index_tick(struct link_index *index, msec now);

#endif
