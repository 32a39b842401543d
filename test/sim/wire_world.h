/* wire_world.h - one seed's world seen from the wire: a node with its real HTTP server, sessions and API on simulated
 * loops, and simulated clients that speak real bytes over simulated links.
 *
 * A program of its own (wire_sim) beside sim. There readers and publishers stand directly on the hub and on the shards:
 * every step of theirs can be judged at once, and a seed takes little time. Here all that lies between a client and the
 * hub runs too, and clients learn of things only when the bytes arrive. Both share the node and its mail (sim_node),
 * the disk (store_sim), and what must be true (model).
 *
 * What must hold:
 *  - a client sees each seq of a channel once, in order, as a message or in a gap that is true, over any number of
 *    links and whatever transport each of them has, if it names the place behind what it has handled last (threat 32);
 *  - a cursor token names that place;
 *  - no acknowledged publish is lost; a key that is shown again gives the first answer;
 *  - answers on a connection come in the order of the requests, each with a status that its request can have;
 *  - a client that has closed its direction gets its answers;
 *  - once the faults have ended, every client soon has everything, and nothing is left over when all are gone. */
#ifndef SIM_WIRE_WORLD_H
#define SIM_WIRE_WORLD_H

#include "node/command.h"
#include "reactor/loop_sim.h"
#include "session/session_worker.h"
#include "world.h"

/* Bugs of the wire, put in on purpose (threat 114). */
enum wire_plant {
    WIRE_PLANT_NONE,
    WIRE_PLANT_CUT_FRAME,      /* what a short write cut is resumed one byte off */
    WIRE_PLANT_FAR_TOKEN,      /* a cursor token names a place too far */
    WIRE_PLANT_NO_REWIND,      /* what stood behind a frame that was cut is not sent again */
    WIRE_PLANT_POLL_STEPS,     /* a poll that is full steps over the entry that did not fit */
    WIRE_PLANT_OVERTAKE,       /* an answer overtakes the one before it */
    WIRE_PLANT_NOT_HEALED,        /* a lost hint is never healed */
    WIRE_PLANT_FORGET_KEY,     /* an idempotency key is forgotten when it is shown again */
    WIRE_PLANT_HALF_CLOSED,    /* who has closed its direction gets no more answers */
    WIRE_PLANT_REMADE_OFF,     /* a frame that was cut and is made again goes on one byte too far */
    WIRE_PLANT_COUNT,
};

const char *wire_plant_text(unsigned plant);

/* Which faults of the wire this seed has, beside those of the node and its disk. */
struct wire_faults {
    bool short_writes, short_reads, narrow, slow, delays, cuts, resets, half_closes, dead, stops, big, slow_identity,
         lets_go;  /* no frame that was cut is held: each is made again */
};

struct wire_devices;

struct wire_world {
    struct world        world;
    bool                has_devices;  /* users with sessions: device_world.h */
    void              (*plant_send)(struct wire_world *wire, struct command *command);  /* of its planted bugs; NULL: none */
    void              (*plant_start)(struct wire_devices *devices);
    /* Puts what nodes of a cluster have beside their devices, and takes it out of work as the node ends. NULL: it is alone. */
    void              (*join)(struct wire_devices *devices);
    void              (*part)(struct wire_devices *devices);
    void              (*plant_loop)(struct wire_world *wire, struct session_worker *sessions);
    bool                forgets_left; /* a planted bug: who was looked up before a leave, and answered after it, is followed on */
    bool                loses_left;   /* a planted bug: what other nodes say of leaves is not heard */
    enum wire_plant     plant;
    struct wire_faults  faults;
    struct wire_node   *nodes[NODES_SIM_MAX];  /* this life of each; wire_sim has one */
    unsigned            turning;   /* the loop whose turn it is */
    msec                born_at;   /* when this life began */
    struct followers   *followers;
    struct posters     *posters;
    struct keys_seen   *keys_seen; /* of WIRE_PLANT_FORGET_KEY */
};

/* How a new link behaves, drawn for `purpose`. */
struct sim_wire wire_draw(struct wire_world *wire, enum purpose purpose);

/* Of a process that is killed nothing is left; then one that begins on the same disk. What is under way in the store may
 * be there or not. */
void wire_end_node(struct wire_world *wire, unsigned no);
void wire_start_node(struct wire_world *wire, unsigned no);

/* The node that this loop of the world belongs to. */
struct wire_node *wire_node_at(const struct wire_world *wire, unsigned loop);

/* Lives one seed to its end. False: a promise was broken, and is told in ret_promise. */
bool wire_live(uint64_t seed, unsigned plant, struct transcript *transcript, char ret_promise[256]);

#endif
