/* cluster_world.h - one seed's world of two to five nodes: each with its writer, loops and cluster (cluster/cluster.h), on one
 * database that they share and one engine that carries routes and frames (cluster/sim_engine.h).
 *
 * A program of its own (cluster_sim). Publishers, readers, askers and the model are those of sim: they hop between the loops of
 * all nodes. What differs is what may break: frames, calls, ways, the engine's life and clock, clocks and pauses of nodes,
 * names that two nodes have.
 *
 * What must hold, beside what world.h says:
 *  - one order a channel for the readers of all nodes; no seq has two contents in one life of a log (threat 42);
 *  - once all is reachable, every publish is answered and every reader is complete within a stated time (threats 37 to 41);
 *  - without faults that lose something silently, that is so without the slow walk over all heads (limits.compare_ms): each loss
 *    is noticed by what it leaves;
 *  - without faults no heads are compared at all, once the nodes know each other: what comes over the bus is enough;
 *  - of two nodes with one name the older ends (threat 43);
 *  - who follows nothing any more has no routes;
 *  - what is not durable lies in a memory that all nodes share, in some seeds; what is acknowledged is there, once, in one order,
 *    until the memory begins anew;
 *  - a node that leaves has answered all and told all that it has committed, and has neither lease nor routes any more. */
#ifndef SIM_CLUSTER_WORLD_H
#define SIM_CLUSTER_WORLD_H

#include "cluster/cluster.h"
#include "cluster/sim_engine.h"
#include "cluster_plant.h"
#include "world.h"

struct cluster_node;

/* Each is drawn for itself. */
struct cluster_faults {
    bool lost_frames, doubled_frames, late_frames, lost_calls, lost_answers, slow_answers;  /* of the engine */
    bool emptied, restarts, breaks, cut_ways, leaps, odd_clock;
    bool pauses, stood, skews, twins, leaves;                                               /* of nodes */
};

/* A place in the cluster; it outlives its nodes. */
struct cluster_seat {
    struct cluster_node *node;        /* this life */
    unsigned             name;        /* its own number, or that of another seat whose name it has taken */
    msec                 paused_at, paused_until;
    bool                 is_paused, does_stand;  /* its monotonic clock stands as well */
    msec                 ways_until;  /* the way to the engine, or back, is closed */
    bool                 has_closed_ways;
    bool                 is_leaving, is_gone;
    msec                 leaving_since;
    uint64_t             seen_comparisons, seen_firsts;    /* of this life, until now … */
    uint64_t             early_comparisons, early_firsts;  /* … and of those, after a node began or left */
};

struct cluster_world {
    struct world          world;
    enum cluster_plant    plant;
    struct rng            chance;
    struct cluster_faults faults;
    struct cluster_limits limits;
    unsigned              lost_kind;  /* a bit an engine_call_kind: calls of these alone are lost; 0: of all */
    bool                  has_memory; /* that nodes share */
    bool                  has_walk;   /* compare_ms is short enough to find what nothing tells of */
    struct sim_server    *server;
    msec                  stopped_until;
    bool                  is_stopped;
    msec                  stirred_at; /* when a node began or left last */
    struct cluster_seat   seats[NODES_SIM_MAX];
};

static inline struct cluster_world *cluster_world_of(struct world *world)
{
    return container_of(world, struct cluster_world, world);
}

static inline uint64_t cluster_draw(struct cluster_world *all, uint64_t below)
{
    return rng_below(&all->chance, below);
}

/* Once in so many times. */
static inline bool cluster_one_in(struct cluster_world *all, uint64_t count)
{
    return cluster_draw(all, count) == 0;
}

bool cluster_live(uint64_t seed, unsigned plant, struct transcript *transcript, char ret_promise[256]);

#endif
