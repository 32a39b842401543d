/* uplink_world.h - one seed's world of requests to back ends: one to three nodes, each with its writer, loops and requests
 * (uplink/requests.h), on one database; devices that send requests, and repeat them until they know; and a back end that is slow, fails,
 * and outlives the nodes.
 *
 * A program of its own (uplink_sim). Requests are commands of loops here, and responses are looked for in the journal of the disk, where
 * each is a message of the device's log: that such a message reaches its device is what device_sim and roam_sim show. Nodes end at any
 * step of a request's life, pause while others take over what they left, and stop; commits have unknown outcomes. Devices wait for responses
 * and cancel at any node; what nodes say to each other of a cancel may be lost.
 *
 * What must hold:
 *  - a request that was accepted is answered, once, whatever ends; a repeat is told the same answer;
 *  - before the back end is called the request is on the disk;
 *  - at_most_once: the back end is called at most once. If the node ended in between, the answer is 504, unknown; only then;
 *  - at_least_once: it is called at least once, always with the same key, and the answer is one that it gave;
 *  - an id that is shown with another request is refused;
 *  - once the faults have ended all is answered soon, and no row of a call is left. */
#ifndef SIM_UPLINK_WORLD_H
#define SIM_UPLINK_WORLD_H

#include "sim_node.h"
#include "node/cluster_port.h"
#include "node/uplink_port.h"
#include "uplink/requests.h"
#include "world.h"

enum { ASKS_MAX = 300, ASK_DEVICES_MAX = 4, UPLINK_CALLS_MAX = 2000 };

/* Bugs put in on purpose (threat 114). */
enum uplink_plant {
    UPLINK_PLANT_NONE,
    UPLINK_PLANT_NO_FENCE,      /* an answer is written, whoever has the call */
    UPLINK_PLANT_EARLY_CALL,    /* a claim is said to be written before it is */
    UPLINK_PLANT_FORGET_ROW,    /* recovery does not see the last row of a page */
    UPLINK_PLANT_EARLY_GONE,    /* a node that lives is taken for gone now and then */
    UPLINK_PLANT_COUNT,
};

const char *uplink_plant_text(unsigned plant);
unsigned    uplink_plant_seeds_max(unsigned plant);

struct uplink_world;
struct uplink_node;

/* A request that a device wants to have answered. */
struct ask {
    unsigned                no, device;
    bool                    is_at_least_once, is_cancelled;
    bool                    is_accepted;
    struct request_command *command;     /* under way to a node; NULL: none */
    unsigned                node;        /* … to this one */
    bool                    shows_other; /* … and it is not the same request as before */
    msec                    at;          /* it is sent then, if it is not accepted */
    unsigned                calls;       /* what the back end has got of it … */
    unsigned                nodes;       /* it was sent to these, as bits, … */
    bool                    was_left;    /* … and one of them has ended since, or was taken for lost */
    bool                    has_failed;  /* … and the back end has failed it, or the node's own time was up */
    uint64_t                seq;         /* of the response in the log; 0: none */
};

/* What the back end has got. */
struct back_call {
    struct ask          *ask;
    struct uplink_node  *caller;    /* NULL: it has ended */
    struct backend_call *call;      /* NULL: it was answered */
    msec                 due;
    enum backend_outcome outcome;
    bool                 is_answered; /* 200, with the number of the call */
};

struct uplink_node {
    struct uplink_world *all;
    struct sim_node     *sim_node;
    struct sim_beside    beside;
    struct requests      requests;
    struct registry      registry;
    struct node_id       id;
    msec                 paused_until, silent_since;  /* others take it for lost after a while */
    msec                 went_on_at;  /* after it was taken for lost; -1: it never was */
    bool                 is_paused, is_stopping;
};

struct uplink_world {
    struct world        world;
    enum uplink_plant   plant;
    struct rng          chance;
    bool                has_pauses, has_stops;
    unsigned            device_count, ask_count, call_count;
    size_t              scanned;     /* of the journal */
    msec                nodes_told_at;
    struct uplink_node *nodes[NODES_SIM_MAX];
    struct ask          asks[ASKS_MAX];
    struct back_call    calls[UPLINK_CALLS_MAX];
};

static inline uint64_t uplink_draw(struct uplink_world *all, uint64_t below)
{
    return rng_below(&all->chance, below);
}

static inline bool uplink_one_in(struct uplink_world *all, uint64_t count)
{
    return uplink_draw(all, count) == 0;
}

/* --- uplink_client.c --- */
void clients_turn(struct uplink_world *all);
/* The node is gone. */
void clients_cut(struct uplink_world *all, unsigned node);
/* Others may answer for it. */
void clients_left(struct uplink_world *all, unsigned node);
/* Nobody waits for a response there any more. */
void clients_leave(struct requests *requests);
bool clients_are_done(const struct uplink_world *all);
void clients_check_end(const struct uplink_world *all);
/* Reads what has been written since. */
void responses_scan(struct uplink_world *all);

/* --- uplink_backend.c --- */
extern const struct request_port uplink_request_port;  /* ctx is the node */
/* What is due comes back to this node. */
void back_end_turn(struct uplink_node *node);
/* The node ends: nothing comes back to it. */
void back_end_lose(struct uplink_node *node);

void uplink_plant_init(struct uplink_world *all);
/* Is this node, which lives, told to be gone? */
bool uplink_plant_hides(struct uplink_world *all);

bool uplink_live(uint64_t seed, unsigned plant, struct transcript *transcript, char ret_promise[256]);

/* uplink_cluster.c */
extern const struct cluster_port uplink_cluster_port;

#endif
