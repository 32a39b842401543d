/* cluster_node.h - what one life of a node has beside its writer in a cluster: its way to the engine, and its cluster.
 */
#ifndef SIM_CLUSTER_NODE_H
#define SIM_CLUSTER_NODE_H

#include "cluster_world.h"
#include "engine_mail.h"
#include "sim_node.h"

struct cluster_node {
    struct cluster_world *all;
    struct sim_node      *sim_node;
    struct sim_beside     beside;
    struct node_id        id;
    msec                  started;
    struct engine         shim;     /* what the cluster has for its engine; it may have a bug planted */
    struct engine        *engine;   /* the real one, if one may say so */
    struct cluster       *cluster;
    struct engine_mail    mail;
    struct plant_state    planted;
    bool                  is_usurped, is_leaving;
};

/* For world.on_node. */
void cluster_node_begin(struct world *world, struct sim_node *sim_node);

/* For the shim: the engine has carried this out, or not. */
void cluster_node_done(struct cluster_node *node, struct engine_call *call);

#endif
