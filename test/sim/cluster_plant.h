/* cluster_plant.h - bugs that are put in on purpose, to show that they would be found (threat 114). They stand between a
 * cluster and its engine, and at the life of nodes. */
#ifndef SIM_CLUSTER_PLANT_H
#define SIM_CLUSTER_PLANT_H

#include "base/buf.h"
#include "base/list.h"
#include "cluster/engine.h"

enum cluster_plant {
    CLUSTER_PLANT_NONE,
    CLUSTER_PLANT_LATE_ROUTE,      /* a route is registered after the head was asked for */
    CLUSTER_PLANT_EARLY_LOOKUP,    /* who follows is looked up before the commit */
    CLUSTER_PLANT_NO_COUNTER,      /* the numbers of frames are not looked at */
    CLUSTER_PLANT_NO_BEAT,         /* no beats are sent */
    CLUSTER_PLANT_SAME_LIFE,       /* a new life of the engine is not noticed */
    CLUSTER_PLANT_NO_LAPSE,        /* a lease that had run out is renewed as if it had not */
    CLUSTER_PLANT_NO_USURPER,      /* an older node of the same name goes on: a lease without fence */
    CLUSTER_PLANT_SILENT_DROP,     /* frames are dropped, and their numbers are given again */
    CLUSTER_PLANT_LOST_LOOKUP,     /* a look-up that failed counts as one that found nobody */
    CLUSTER_PLANT_LOST_ROUTE,      /* a registration that failed counts as one that succeeded */
    CLUSTER_PLANT_KEPT_ROUTE,      /* routes are never removed */
    CLUSTER_PLANT_SAME_EPOCH,      /* after a failover, seqs are given again in the same epoch */
    CLUSTER_PLANT_RESENT,          /* what shared memory did not answer is sent to it again */
    CLUSTER_PLANT_HASTY_LEAVE,     /* a node that leaves does not wait for its look-ups and frames, and nobody notices that it is gone */
    CLUSTER_PLANT_LEFT_ROUTES,     /* a node that leaves keeps its lease and its routes */
    CLUSTER_PLANT_UNTOLD,          /* a node says that it told all of what an emptied engine found nobody for, and told none */
    CLUSTER_PLANT_UNSOUGHT,        /* what is looked up while the engine is silent counts as found by nobody */
    CLUSTER_PLANT_COUNT,
};

const char *cluster_plant_text(unsigned plant);
unsigned    cluster_plant_seeds_max(unsigned plant);
unsigned    cluster_plant_seed_first(unsigned plant);

struct cluster_node;

/* What a planted bug has to remember of one node. */
struct plant_state {
    struct list late_routes;  /* to be registered later */
    struct list links;        /* numbers by node */
    struct list lookups;      /* what was answered before */
    struct list leases;       /* all that were ever listed */
    uint64_t    life;
    bool        is_silent;
};

void plant_init(struct cluster_node *node);
void plant_fini(struct cluster_node *node);
void plant_turn(struct cluster_node *node);

/* A call on its way to the engine; true: it was taken. */
bool plant_take_call(struct cluster_node *node, struct engine_call *call);
/* … and on its way back; true: it was the plant's own. */
bool plant_take_done(struct cluster_node *node, struct engine_call *call);
void plant_take_frame(struct cluster_node *node, struct buf *frame);
/* Does the node end without having told the others what it has committed? */
bool plant_leaves_at_once(const struct cluster_node *node);
uint64_t plant_life(struct cluster_node *node, uint64_t life);
void plant_take_silence(struct cluster_node *node, bool is_silent);

#endif
