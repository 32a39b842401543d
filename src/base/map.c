#include "base/map.h"

#include <stdlib.h>

#include "base/must.h"

enum { MAP_FIRST_SLOTS = 16 };

void map_init(struct map *map)
{
    *map = (struct map){ 0 };
}

void map_fini(struct map *map)
{
    free(map->slots);
    map_init(map);
}

static struct map_node **map_slot(const struct map *map, uint64_t hash)
{
    return &map->slots[hash & (map->slot_count - 1)];
}

struct map_node *map_find(const struct map *map, uint64_t hash, map_is *is, const void *key)
{
    if (map->count == 0)
        return NULL;
    for (struct map_node *node = *map_slot(map, hash); node != NULL; node = node->next)
        if (node->hash == hash && is(node, key))
            return node;
    return NULL;
}

static void map_grow(struct map *map)
{
    struct map wider = { .count = map->count };

    wider.slot_count = map->slot_count == 0 ? MAP_FIRST_SLOTS : map->slot_count * 2;
    wider.slots      = calloc(wider.slot_count, sizeof(struct map_node *));
    must(wider.slots != NULL);
    for (size_t i = 0; i < map->slot_count; i++) {
        struct map_node *node = map->slots[i];
        while (node != NULL) {
            struct map_node  *next = node->next;
            struct map_node **slot = map_slot(&wider, node->hash);
            node->next             = *slot;
            *slot                  = node;
            node                   = next;
        }
    }
    free(map->slots);
    *map = wider;
}

void map_add(struct map *map, struct map_node *node, uint64_t hash)
{
    must((map->slot_count & (map->slot_count - 1)) == 0);
    if (map->count >= map->slot_count)
        map_grow(map);

    struct map_node **slot = map_slot(map, hash);
    node->hash             = hash;
    node->next             = *slot;
    *slot                  = node;
    map->count++;
}

void map_take(struct map *map, struct map_node *node)
{
    must(map->count > 0);
    struct map_node **at = map_slot(map, node->hash);

    while (*at != NULL && *at != node)
        at = &(*at)->next;
    must(*at == node);
    *at = node->next;
    map->count--;
}
