/* sim_node.h - one life of a node: a writer, one to four loops, and the mail between them, which takes time.
 *
 * Commands of one sender arrive in order, but for DELIVER and MOVED: hints may be lost, doubled or late. What a store
 * answers comes in any order, and never within the turn that asked; what is in memory comes in the next. A loop may
 * rest, as after a long turn of sending: what speaks of logs waits meanwhile, other commands don't. A crash ends the
 * life; nobody is answered, and a new sim_node is built on the same disk.
 *
 * What another node has appended comes over the bus, if there is one: late, twice, in another order or not at all, and
 * only what this node followed when it was sent. */
#ifndef SIM_NODE_H
#define SIM_NODE_H

#include "node/shard.h"
#include "node/writer.h"
#include "world.h"

enum { HEARTBEAT_MS = 150, WRITER_TICK_MS = 15, LINGER_MS_MAX = 400, LATE_MS_MAX = 300 };

/* Stands beside the writer, on its thread. */
struct sim_beside {
    void  *ctx;
    void (*turn_begin)(void *ctx);  /* before the mail of the writer; NULL: nothing */
    void (*turn_end)(void *ctx);  /* before the writer's */
    void (*tick)(void *ctx);
    void (*fini)(void *ctx);      /* nothing is under way any more */
    void (*gone)(void *ctx);      /* the writer has ended; NULL: nothing */
};

struct sim_node {
    struct world       *world;
    struct sim_beside  *beside;      /* NULL: nothing does */
    unsigned            no;          /* in world.nodes */
    struct store       *memory;
    struct writer       writer;
    struct writer_limits writer_limits;
    struct shard_limits  shard_limits;
    struct list         writer_mail;
    struct list         bus;
    msec                followed_at[CHANNELS_MAX];  /* since when; -1: nobody here follows it */
    struct log_now      told[CHANNELS_MAX];         /* the head that the writer had in mind */
    struct shard        shards[LOOPS_SIM_MAX];
    struct list         mail[LOOPS_SIM_MAX];
    struct list         held[LOOPS_SIM_MAX];        /* while the loop rests */
    msec                rest_until[LOOPS_SIM_MAX];
    msec                delay[LOOPS_SIM_MAX];       /* of what the loop writes in this turn, which goes as one bundle */
    unsigned            turn;        /* of the writer */
    bool                is_in_turn;  /* the writer's */
    msec                heartbeat_at, tick_at;
    bool                is_dying;    /* commands go nowhere any more */
};

struct sim_node *sim_node_new(struct world *world, unsigned no, unsigned life);
/* Nobody is subscribed any more. What is under way in the disk must have been answered by then. */
void sim_node_free(struct sim_node *sim_node);

/* No heartbeat and no tick from now on, so that in a while none of their commands is under way. */
void sim_node_hush(struct sim_node *sim_node);

/* All mail arrives at once, and again, until none is left. */
void sim_node_settle(struct sim_node *sim_node);

void sim_node_writer_turn(struct sim_node *sim_node);
/* Mail, and the heartbeat if it's due; then the caller draws, then sim_node_loop_end(). */
void sim_node_loop_begin(struct sim_node *sim_node, unsigned loop);
void sim_node_loop_end(struct sim_node *sim_node, unsigned loop);

/* This node has appended a message: the others hear of it, perhaps. */
void sim_node_tell_others(struct sim_node *sim_node, struct message *message);

/* Bounds that hold at every step. */
void sim_node_check_bounds(struct sim_node *sim_node);
/* Nothing is under way, waiting or held. */
void sim_node_check_quiet(struct sim_node *sim_node);
/* … and nobody is followed. */
void sim_node_check_empty(struct sim_node *sim_node);

#endif
