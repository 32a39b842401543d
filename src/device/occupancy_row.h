/* occupancy_row.h - the rows that say which starts of nodes have devices in a channel (occupancy.h). Pure.
 *
 * The key is the name of the log of the channel's events, and the channel; the value is version 1 and, of each start, the incarnation
 * in 8 bytes, since when in 8 bytes, and the node's name behind its length. */
#ifndef DEVICE_OCCUPANCY_ROW_H
#define DEVICE_OCCUPANCY_ROW_H

#include "base/buf.h"
#include "base/msec.h"

enum { OCCUPANCY_STARTS_MAX = 200, OCCUPANCY_VALUE_BYTES = 16 * 1024, OCCUPANCY_KEY_BYTES = 300 };

struct occupancy_start {
    uint64_t    incarnation;
    msec        since;   /* wall clock */
    struct span node;    /* borrowed; empty: a node alone */
};

void occupancy_key_put(struct buf *key, unsigned log, struct span channel);
/* The channel of a key; empty: it can't be read. */
struct span occupancy_key_channel(struct span key);

void occupancy_value_begin(struct buf *value);
void occupancy_value_add(struct buf *value, const struct occupancy_start *start);
/* *rest is the whole value at first, with *is_begun false. False: there is none left, or it can't be read. */
bool occupancy_value_next(struct span *rest, bool *is_begun, struct occupancy_start *ret);

#endif
