#include "base/near_map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"

struct thing {
    uint64_t             key;
    struct near_map_node node;
    struct near_list     link;
};

static bool thing_is(const struct near_map_node *node, const void *key)
{
    return container_of(node, struct thing, node)->key == *(const uint64_t *)key;
}

static struct thing *find(const struct near_map *map, uint64_t key, uint32_t hash)
{
    struct near_map_node *node = near_map_find(map, hash, thing_is, &key);

    return node == NULL ? NULL : container_of(node, struct thing, node);
}

/* Few hashes, so that many things have the same: they are told apart by their keys. */
static void what_was_added_and_not_taken_is_found(void **state)
{
    (void)state;
    enum { COUNT = 3000, HASHES = 700 };
    static struct thing *things[COUNT];
    struct near_map      map;
    struct pool          pool;
    struct rng           rng = { 7 };
    size_t               count = 0;

    near_map_init(&map);
    pool_init(&pool, sizeof(struct thing));
    for (int round = 0; round < 60000; round++) {
        uint64_t key  = rng_below(&rng, COUNT);
        uint32_t hash = (uint32_t)(key % HASHES) * 2654435761u;
        assert_ptr_equal(find(&map, key, hash), things[key]);
        if (things[key] == NULL) {
            things[key]      = pool_take(&pool);
            things[key]->key = key;
            near_map_add(&map, &things[key]->node, hash);
            count++;
        } else {
            near_map_take(&map, &things[key]->node);
            pool_give(&pool, things[key]);
            things[key] = NULL;
            count--;
        }
        assert_int_equal(map.count, count);
    }

    size_t walked = 0;
    for (size_t slot = 0; slot < map.slot_count; slot++)
        for (struct near_map_node *node = near_map_first(&map, slot); node != NULL; node = near_map_next(node))
            walked += things[container_of(node, struct thing, node)->key] != NULL;
    assert_int_equal(walked, count);
    for (int i = 0; i < COUNT; i++)
        if (things[i] != NULL)
            near_map_take(&map, &things[i]->node);
    for (int i = 0; i < COUNT; i++)
        pool_give(&pool, things[i]);
    near_map_fini(&map);
    pool_fini(&pool);
}

static void a_ring_keeps_the_order_in_which_its_links_came(void **state)
{
    (void)state;
    struct pool   pool;
    struct thing *things[4];

    pool_init(&pool, sizeof(struct thing));
    for (int i = 0; i < 4; i++)
        things[i] = pool_take(&pool);
    struct near_list *ring = &things[0]->link;
    near_list_init(ring);
    assert_true(near_list_is_empty(ring));
    for (int i = 1; i < 4; i++)
        near_list_push(ring, &things[i]->link);
    for (int i = 1; i < 4; i++) {
        assert_ptr_equal(near_list_next(ring), &things[i]->link);
        assert_ptr_equal(near_list_next(&things[i]->link), i == 3 ? ring : &things[i + 1]->link);
        near_list_take(&things[i]->link);
    }
    assert_true(near_list_is_empty(ring) && near_get(ring->prev) == ring);
    assert_null(near_get(near_to(NULL)));
    for (int i = 0; i < 4; i++)
        pool_give(&pool, things[i]);
    pool_fini(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_added_and_not_taken_is_found),
        cmocka_unit_test(a_ring_keeps_the_order_in_which_its_links_came),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
