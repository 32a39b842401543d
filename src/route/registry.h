/* registry.h - the nodes of the cluster as this node knows them: by their leases, which the engine tells now and then. Pure.
 *
 * A node is up while its lease runs, lost for REGISTRY_LOST_KEPT_MS after it ran out, then forgotten. If the engine tells
 * nothing, what was told last is believed for allocation, and no node becomes lost for it. */
#ifndef ROUTE_REGISTRY_H
#define ROUTE_REGISTRY_H

#include "route/node_record.h"

enum { REGISTRY_LOST_KEPT_MS = 300000 };

enum node_state { NODE_UP, NODE_DRAINING, NODE_LOST };

struct registry_node {
    struct node_record record;
    enum node_state    state;
    msec               seen;     /* wall clock of this node: when its lease was last renewed, as the engine told */
    msec               until;    /* wall clock of this node: when it runs out, if it is not renewed */
    msec                 lost_at;  /* NODE_LOST: wall clock of this node, when the engine told so */
    uint32_t           number;   /* small, stays the same for one incarnation while it is known; index for others' tables */
};

struct registry {
    struct registry_node *nodes;  /* sorted by name */
    size_t                count, cap;
    uint32_t              last_number;
    uint64_t              version;    /* rises with each registry_take() */
};

void registry_init(struct registry *registry);
void registry_fini(struct registry *registry);

/* What the engine told: all live leases, with what is left of each. The own one is in it as well, once it was taken.
 * Calls on_change for each node that came (up or draining), is lost, or has another drain state. A new incarnation of a
 * node is told twice: the old one as lost, then the new one. Of two leases with one name the newer incarnation counts. NULL: nobody
 * is told. */
struct registry_lease { const struct node_record *record; msec left_ms; };
void registry_take(struct registry *registry, const struct registry_lease *leases, size_t count, msec wall,
                   void (*on_change)(void *ctx, const struct registry_node *node), void *ctx);

/* The nodes that live and those that are lost, without those that were forgotten. `registry` is empty before it. */
void registry_copy(struct registry *registry, const struct registry *from);

static inline bool node_id_eq(const struct node_id *a, const struct node_id *b)
{
    return a->incarnation == b->incarnation && strcmp(a->name, b->name) == 0;
}

/* NULL: not known. By name alone, or with this incarnation. */
const struct registry_node *registry_find(const struct registry *registry, struct span name);
const struct registry_node *registry_find_id(const struct registry *registry, const struct node_id *id);

/* At which rate clients may be sent to the nodes that registry_allocate() names first: those of the region, or of all if it has none.
 * Each router gives out its part of it, so that all together give out no more than the nodes let in, whichever is asked. */
struct registry_pace {
    size_t   nodes;    /* how many those are */
    uint64_t per_s;    /* of all of them together; 0: one of them has no bound */
    size_t   routers;  /* who answer such questions; at least 1 */
};
struct registry_pace registry_pace(const struct registry *registry, struct span region, struct span except);

/* The nodes that a client is to try, best first, at most `max`, among the live, not draining nodes with ROLE_ACCESS and an
 * address. The node with the name `except` is not among them; empty: none is left out. For each place two are drawn, with chances by their free capacity, and that with the larger free share of its
 * capacity is taken. Those of the region come first, then those of others; an empty region stands for all. Full nodes come behind
 * all others of their region. Returns how many. */
struct rng;
size_t registry_allocate(const struct registry *registry, struct span region, struct span except, struct rng *random,
                         const struct registry_node **ret, size_t max);

#endif
