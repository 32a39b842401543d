/* bus_links.h - the numbers on the frames between two nodes, so that a lost frame is noticed. Pure.
 *
 * Each node numbers what it sends to each incarnation of each other node, from 1. A receiver expects the next number. Frames that
 * are lost leave a hole; a hole is seen at the next frame. So that a lost last frame is seen soon too, a quiet link has a beat
 * BUS_BEAT_MS after its last frame, and two more after four and sixteen times as long, in case the beat itself is lost.
 *
 * A sender that gives up a message, because it can't tell for whom it is, makes the hole on purpose: bus_links_skip_all(). */
#ifndef ROUTE_BUS_LINKS_H
#define ROUTE_BUS_LINKS_H

#include "base/hash.h"
#include "base/map.h"
#include "route/node_record.h"

enum { BUS_BEAT_MS = 1000, BUS_BEATS = 3 };

enum bus_verdict {
    BUS_NEXT,   /* take it */
    BUS_FIRST,  /* take it; nothing was known of this sender: what it sent before may be lost if the number is above 1 */
    BUS_HOLE,   /* take it; frames before it are lost */
    BUS_OLD,    /* doubled, or of an incarnation that was forgotten: drop it */
};

struct bus_links;  /* of both directions */

struct bus_links *bus_links_new(const struct hash_key *key);
void              bus_links_free(struct bus_links *links);

/* The number for the next frame to this node. */
uint64_t bus_links_next(struct bus_links *links, const struct node_id *to, msec now);

enum bus_verdict bus_links_take(struct bus_links *links, const struct node_id *from, uint64_t number);

/* Calls beat() for each link whose beat is due; it sends one by bus_links_next(). */
void bus_links_tick(struct bus_links *links, msec now, void (*beat)(void *ctx, const struct node_id *to), void *ctx);

/* This node is there: if a number was left out before, it gets beats that show it, though it may never have been sent
 * anything. */
void bus_links_meet(struct bus_links *links, const struct node_id *id);

/* Something is lost that was for some node, and nobody knows for which: a number is left out on all links, also on those that
 * begin later. */
void bus_links_skip_all(struct bus_links *links, msec now);

/* This incarnation is gone: it gets no beats, and what still comes of it is BUS_OLD. The last BUS_GONE_KEPT are
 * remembered. */
enum { BUS_GONE_KEPT = 1024 };
void bus_links_forget(struct bus_links *links, const struct node_id *id);

#endif
