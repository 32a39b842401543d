#include "store/name_tree.h"

#include "base/must.h"

/* Is the node's name before `text`, or equal to it if `is_behind`? */
static bool node_is_before(const struct name_node *node, struct span text, bool is_behind)
{
    int order = span_order(channel_name_span(node->name), text);

    return order < 0 || (order == 0 && is_behind);
}

/* Whoever has the higher priority is the parent. */
static bool node_is_above(const struct name_node *node, const struct name_node *other)
{
    return node->name->hash >= other->name->hash;
}

/* Where the node stands or belongs, among those with a higher priority. */
static struct name_node **node_place(struct name_tree *tree, const struct name_node *node)
{
    struct name_node **at   = &tree->root;
    struct span        text = channel_name_span(node->name);

    while (*at != NULL && *at != node && node_is_above(*at, node))
        at = node_is_before(*at, text, true) ? &(*at)->more : &(*at)->less;
    return at;
}

void name_tree_add(struct name_tree *tree, struct name_node *node, struct channel_name *name)
{
    node->name = name;

    struct name_node **at = node_place(tree, node), *rest = *at, **less = &node->less, **more = &node->more;
    /* Splits what stood there: all before the name goes to the left of the node, all behind it to the right. */
    while (rest != NULL) {
        if (node_is_before(rest, channel_name_span(name), false)) {
            *less = rest;
            less  = &rest->more;
            rest  = rest->more;
        } else {
            *more = rest;
            more  = &rest->less;
            rest  = rest->less;
        }
    }
    *less = *more = NULL;
    *at           = node;
}

void name_tree_take(struct name_tree *tree, struct name_node *node)
{
    struct name_node **at = node_place(tree, node), *less = node->less, *more = node->more;

    must(*at == node);
    while (less != NULL && more != NULL) {
        if (node_is_above(less, more)) {
            *at  = less;
            at   = &less->more;
            less = less->more;
        } else {
            *at  = more;
            at   = &more->less;
            more = more->less;
        }
    }
    *at = less != NULL ? less : more;
    node->less = node->more = NULL;
}

struct name_node *name_tree_from(const struct name_tree *tree, struct span text, bool is_behind)
{
    struct name_node *found = NULL;

    for (struct name_node *at = tree->root; at != NULL;) {
        if (node_is_before(at, text, is_behind)) {
            at = at->more;
        } else {
            found = at;
            at    = at->less;
        }
    }
    return found;
}
