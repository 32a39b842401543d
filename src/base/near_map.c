#include "base/near_map.h"

#include <stdlib.h>

enum { NEAR_MAP_FIRST_SLOTS = 16, NEAR_MAP_NODES_A_SLOT = 2 };

void near_map_init(struct near_map *map)
{
    *map = (struct near_map){ 0 };
}

void near_map_fini(struct near_map *map)
{
    free(map->slots);
    near_map_init(map);
}

static struct near *near_map_slot(const struct near_map *map, uint32_t hash)
{
    return &map->slots[hash & (map->slot_count - 1)];
}

struct near_map_node *near_map_find(const struct near_map *map, uint32_t hash, near_map_is *is, const void *key)
{
    if (map->count == 0)
        return NULL;
    for (struct near_map_node *node = near_get(*near_map_slot(map, hash)); node != NULL; node = near_map_next(node))
        if (node->hash == hash && is(node, key))
            return node;
    return NULL;
}

static void near_map_put(struct near_map *map, struct near_map_node *node)
{
    struct near *slot = near_map_slot(map, node->hash);

    node->next = *slot;
    *slot      = near_to(node);
}

static void near_map_grow(struct near_map *map)
{
    struct near_map wider = { .count = map->count };

    wider.slot_count = map->slot_count == 0 ? NEAR_MAP_FIRST_SLOTS : map->slot_count * 2;
    wider.slots      = calloc(wider.slot_count, sizeof(struct near));
    must(wider.slots != NULL);
    for (size_t i = 0; i < map->slot_count; i++) {
        for (struct near_map_node *node = near_map_first(map, i), *next; node != NULL; node = next) {
            next = near_map_next(node);
            near_map_put(&wider, node);
        }
    }
    free(map->slots);
    *map = wider;
}

void near_map_add(struct near_map *map, struct near_map_node *node, uint32_t hash)
{
    must((map->slot_count & (map->slot_count - 1)) == 0);
    if (map->count >= NEAR_MAP_NODES_A_SLOT * map->slot_count)
        near_map_grow(map);
    node->hash = hash;
    near_map_put(map, node);
    map->count++;
}

void near_map_take(struct near_map *map, struct near_map_node *node)
{
    must(map->count > 0);
    struct near *at = near_map_slot(map, node->hash);

    while (near_get(*at) != NULL && near_get(*at) != node)
        at = &((struct near_map_node *)near_get(*at))->next;
    must(near_get(*at) == node);
    *at        = node->next;
    node->next = near_to(NULL);
    map->count--;
}
