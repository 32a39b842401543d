/* name_tree.h - channel names in the order of their bytes: a treap of intrusive nodes, for makers that keep their
 * channels in a hash map and have to list them.
 *
 * The keyed hash of a name is its priority, so the depth is O(log n) whatever names are chosen. */
#ifndef STORE_NAME_TREE_H
#define STORE_NAME_TREE_H

#include "message/channel_name.h"

struct name_node {
    struct name_node    *less, *more;
    struct channel_name *name;  /* the owner's, as long as the node is in a tree */
};

struct name_tree {
    struct name_node *root;
};

/* The name is not in the tree yet. */
void name_tree_add(struct name_tree *tree, struct name_node *node, struct channel_name *name);
void name_tree_take(struct name_tree *tree, struct name_node *node);  /* must be in it */

/* The first name from `text` on; with `is_behind`, the first one behind it. NULL: there is none. */
struct name_node *name_tree_from(const struct name_tree *tree, struct span text, bool is_behind);

#endif
