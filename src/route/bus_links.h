/* bus_links.h - the numbers on the frames between two nodes, so that a lost frame is noticed. Pure.
 *
 * Each node numbers what it sends to each incarnation of each other node, from 1. A receiver expects the next number. Frames that
 * are lost leave a hole; a hole is seen at the next frame, and BUS_BEAT_MS after the last one a beat is sent in any case,
 * so a lost last frame is seen soon too. */
#ifndef ROUTE_BUS_LINKS_H
#define ROUTE_BUS_LINKS_H

#include "base/hash.h"
#include "base/map.h"
#include "route/node_record.h"

enum { BUS_BEAT_MS = 1000 };

enum bus_verdict {
    BUS_NEXT,   /* take it */
    BUS_FIRST,  /* take it; nothing was known of this sender: what it sent before may be lost if the number is above 1 */
    BUS_HOLE,   /* take it; frames before it are lost */
    BUS_OLD,    /* doubled, or of an incarnation that a newer one has replaced: drop it */
};

struct bus_links;  /* of both directions */

struct bus_links *bus_links_new(const struct hash_key *key);
void              bus_links_free(struct bus_links *links);

/* The number for the next frame to this node. */
uint64_t bus_links_next(struct bus_links *links, const struct node_id *to, msec now);

enum bus_verdict bus_links_take(struct bus_links *links, const struct node_id *from, uint64_t number);

/* Calls beat() for each node that was sent something else than a beat since its last beat, BUS_BEAT_MS ago or longer. */
void bus_links_tick(struct bus_links *links, msec now, void (*beat)(void *ctx, const struct node_id *to), void *ctx);

/* This incarnation is gone. */
void bus_links_forget(struct bus_links *links, const struct node_id *id);

#endif
