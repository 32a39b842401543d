/* link_row.h - the rows of live links (row_kind.h), which tell after a crash who was there. Pure.
 *
 * A row's key begins with the name of the log that its events are in, so that it lies in the same database and commits with them.
 * Behind it stand the start of the node that has the link, and the link's connection. */
#ifndef DEVICE_LINK_ROW_H
#define DEVICE_LINK_ROW_H

#include "base/buf.h"
#include "base/msec.h"

enum {
    LINK_ROW_KEY_BYTES   = 64,
    LINK_ROW_VALUE_BYTES = 512,
    LINK_ROW_GENERATION  = 1,
};

struct link_row {
    unsigned    log;          /* N */
    uint64_t    incarnation;  /* of the node that has it */
    uint64_t    connection;
    msec        since;        /* wall clock */
    struct span node;         /* its name; empty: a node alone. Borrowed, as the other two */
    struct span user, device; /* empty: nobody's */
};

void link_row_key_put(struct buf *key, const struct link_row *row);
void link_row_value_put(struct buf *value, const struct link_row *row);
/* The beginning of the keys of one log; and of those links of it that one start of a node has. */
void link_row_prefix_put(struct buf *key, unsigned log);
void link_row_node_prefix_put(struct buf *key, unsigned log, uint64_t incarnation);
/* Behind all links of that start. */
void link_row_behind_put(struct buf *key, unsigned log, uint64_t incarnation);

/* False: the key can't be read. A value that can't be read says nothing. */
bool link_row_get(struct span key, struct span value, struct link_row *ret);

#endif
