/* wire_node.h - what users touch of one life of the node: on each of its loops an HTTP server, sessions and the API,
 * over simulated streams. They stand on the shards of a sim_node, which carries the mail to the writer and back.
 *
 * Wired as src/main/worker*.c wires them, without threads, epoll, clocks and files: what differs is said there. */
#ifndef SIM_WIRE_NODE_H
#define SIM_WIRE_NODE_H

#include "api/api.h"
#include "reactor/loop_sim.h"
#include "session/session.h"
#include "sim_node.h"
#include "wire_identifier.h"
#include "wire_world.h"

enum { LINK_HEARTBEAT_MS = 200, PONG_MS = 150, POLL_MS_MAX = 250, KEEPALIVE_MS = 400, STOP_MS = 250, CONNECT_MS = 600, MEMBER_CHECK_MS = 500 };

struct wire_node;

struct wire_loop {
    struct wire_node        *node;
    unsigned                 index;
    struct loop_sim          sim;
    struct mail              turn;       /* its turn of the mail, put into the mailbox before each turn */
    struct http_server       http;
    struct session_worker    sessions;
    struct api               api;
    struct slow_identifier   identities;
    const struct shard_port *shard_port; /* the sim_node's */
    msec                     tick_at;
    bool                     is_leaving;
};

struct wire_node {
    struct wire_world *wire;
    struct wire_devices *devices;  /* NULL: its users have none */
    struct sim_node   *sim_node;
    unsigned           no;
    const struct registry *registry;  /* the nodes of its cluster; NULL: it is alone */
    uint64_t           key;
    msec               leave_by;   /* 0: it does not stop */
    unsigned           loop_count;
    struct wire_loop   loops[LOOPS_SIM_MAX];
};

struct wire_node *wire_node_new(struct wire_world *wire, unsigned no);
/* Closes what is open. All far ends are freed. */
void wire_node_close(struct wire_node *node);
/* It's closed, and all that it has asked the writer for is answered. The sim_node stays the caller's. */
void wire_node_free(struct wire_node *node);

/* One turn of this loop, and further ones while its streams have news. */
void wire_node_turn(struct wire_node *node, unsigned loop);

/* A new connection. NULL: nobody listens, because the node stops. */
struct sim_link *wire_node_connect(struct wire_node *node, unsigned loop, const struct sim_wire *wire, bool is_native);

/* Clients are told to come again; what is under way is answered. */
void wire_node_stop(struct wire_node *node);
/* Has everybody left, or is their time over? */
bool wire_node_has_stopped(const struct wire_node *node);
/* How many readers ended because a frame that was cut could not be made again. */
uint64_t wire_node_lost_frames(const struct wire_node *node);

/* Bounds that hold at every step. */
void wire_node_check_bounds(const struct wire_node *node);
/* What is left on the links of clients that are gone is read at full speed: a session lasts until the last byte. */
void wire_node_hurry(struct wire_node *node);
/* Nobody is connected and nothing is under way. */
void wire_node_check_empty(const struct wire_node *node);

#endif
