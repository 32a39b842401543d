/* near_map.h - the hash map of map.h in half the memory, for nodes that live in pools (near.h): 8 bytes a node, and 2 to 4
 * for its part of the slots, of which there is one for one to two nodes.
 *
 * Of a hash the lower 32 bits are kept. A search may meet two nodes with these bits alike, as it may in map.h with all bits alike:
 * is() compares the keys. */
#ifndef BASE_NEAR_MAP_H
#define BASE_NEAR_MAP_H

#include "base/near.h"

struct near_map_node {
    struct near next;
    uint32_t    hash;
};

struct near_map {
    struct near *slots;
    size_t       slot_count;  /* a power of two, or 0 before the first insert */
    size_t       count;
};

typedef bool near_map_is(const struct near_map_node *node, const void *key);

void near_map_init(struct near_map *map);
void near_map_fini(struct near_map *map);  /* frees the slots; the nodes are the caller's */

/* The node with this hash for which is(node, key), or NULL. */
struct near_map_node *near_map_find(const struct near_map *map, uint32_t hash, near_map_is *is, const void *key);

/* The caller has made sure that the key is not in it yet. */
void near_map_add(struct near_map *map, struct near_map_node *node, uint32_t hash);
void near_map_take(struct near_map *map, struct near_map_node *node);  /* must be in it */

/* For walks over one slot after the other. The order depends on the seed of the hashes. */
static inline struct near_map_node *near_map_first(const struct near_map *map, size_t slot)
{
    return near_get(map->slots[slot]);
}

static inline struct near_map_node *near_map_next(const struct near_map_node *node)
{
    return near_get(node->next);
}

#endif
