/* map.h - a hash map of intrusive nodes: chained, doubling, 8 to 16 bytes a slot and 16 a node.
 *
 * The caller makes the hash (hash.h, with a seed that was handed in) and compares keys itself. On purpose a map
 * can't be walked: nodes that must be walked stand in a list too, so that no order depends on a seed. One thread at
 * a time. */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map_node {
    struct map_node *next;
    uint64_t         hash;
};

struct map {
    struct map_node **slots;
    size_t            slot_count;  /* a power of two, or 0 before the first insert */
    size_t            count;
};

typedef bool map_is(const struct map_node *node, const void *key);

void map_init(struct map *map);
void map_fini(struct map *map);  /* frees the slots; the nodes are the caller's */

/* The node with this hash for which is(node, key), or NULL. */
struct map_node *map_find(const struct map *map, uint64_t hash, map_is *is, const void *key);

/* The caller has made sure that the key is not in it yet. */
void map_add(struct map *map, struct map_node *node, uint64_t hash);
void map_take(struct map *map, struct map_node *node);  /* must be in it */

#endif
