#include "store/name_tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/rng.h"

#include <cmocka.h>

enum { NODE_COUNT = 2000, STEPS = 20000 };

static struct namespaces     spaces;
static const struct hash_key hash_key = { 3, 4 };

static struct channel_name *name_of(const char *text)
{
    struct channel_name *name = NULL;

    assert_int_equal(channel_name_new(&spaces, &hash_key, span_str(text), &name), CHANNEL_NAME_OK);
    return name;
}

static void expect_from(const struct name_tree *tree, const char *text, bool is_behind, const char *want)
{
    const struct name_node *node = name_tree_from(tree, span_str(text), is_behind);

    assert_string_equal(node == NULL ? "nothing" : node->name->text, want);
}

static void names_come_in_the_order_of_their_bytes(void **state)
{
    (void)state;
    static const char *const texts[] = { "topic:b", "live:z", "topic:\xc3\xa4", "topic:a", "topic:aa", "topic:B" };
    struct name_node         nodes[6];
    struct name_tree         tree = { 0 };

    for (size_t i = 0; i < 6; i++)
        name_tree_add(&tree, &nodes[i], name_of(texts[i]));
    expect_from(&tree, "", false, "live:z");
    expect_from(&tree, "live:z", true, "topic:B");
    expect_from(&tree, "topic:", false, "topic:B");
    expect_from(&tree, "topic:B", true, "topic:a");
    expect_from(&tree, "topic:a", false, "topic:a");
    expect_from(&tree, "topic:a", true, "topic:aa");
    expect_from(&tree, "topic:aa", true, "topic:b");
    expect_from(&tree, "topic:b", true, "topic:\xc3\xa4");
    expect_from(&tree, "topic:\xc3\xa4", true, "nothing");
    for (size_t i = 0; i < 6; i++) {
        name_tree_take(&tree, &nodes[i]);
        channel_name_unref(nodes[i].name);
    }
    assert_null(tree.root);
}

static size_t depth_of(const struct name_node *node)
{
    if (node == NULL)
        return 0;
    size_t less = depth_of(node->less), more = depth_of(node->more);
    return 1 + (less > more ? less : more);
}

/* Held against an array of flags; names that are in order make no deep tree. */
static void it_agrees_with_an_array(void **state)
{
    (void)state;
    static struct name_node     nodes[NODE_COUNT];
    static struct channel_name *names[NODE_COUNT];
    static bool                 is_in[NODE_COUNT];
    struct name_tree            tree = { 0 };
    struct rng                  rng  = { 7 };
    char                        text[32];

    for (size_t i = 0; i < NODE_COUNT; i++) {
        snprintf(text, sizeof text, "topic:%04zu", i);
        names[i] = name_of(text);
        name_tree_add(&tree, &nodes[i], names[i]);
        is_in[i] = true;
    }
    assert_in_range(depth_of(tree.root), 11, 40);
    for (size_t step = 0; step < STEPS; step++) {
        size_t i = rng_below(&rng, NODE_COUNT), at = rng_below(&rng, NODE_COUNT);
        if (is_in[i])
            name_tree_take(&tree, &nodes[i]);
        else
            name_tree_add(&tree, &nodes[i], names[i]);
        is_in[i]                      = !is_in[i];
        const struct name_node *found = name_tree_from(&tree, channel_name_span(names[at]), step % 2 == 0);
        size_t                  want  = at + (step % 2 == 0);
        while (want < NODE_COUNT && !is_in[want])
            want++;
        assert_ptr_equal(found, want == NODE_COUNT ? NULL : &nodes[want]);
    }
    for (size_t i = 0; i < NODE_COUNT; i++)
        channel_name_unref(names[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_come_in_the_order_of_their_bytes),
        cmocka_unit_test(it_agrees_with_an_array),
    };

    namespaces_init(&spaces);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
