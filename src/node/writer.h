/* writer.h - This module is one node put together: hub, store and route. It has no thread and no socket of its own, so
 * a test can hold forty of them.
 *
 * The writer owns the tail of every log: it takes publishes from all loops, gives them to the store as a group, and
 * only when the store says that they are durable answers the publishers and hands the messages to the loops
 * that follow. While one group is being synced the next one fills: no timer, no lingering.
 *
 *     loops ──PUBLISH──▶ waiting ──batch──▶ store ──COMMITTED──▶ answers to publishers
 *                                                            └─▶ DELIVER to the loops that follow
 *
 * A loop that follows is told the head at that very moment: every later message will come to it, everything up
 * to it is in the log. One thread. */
#ifndef NODE_WRITER_H
#define NODE_WRITER_H

#include "base/counter.h"
#include "node/command.h"
#include "node/tail.h"

struct writer_port {
    /* To a loop; takes the command. */
    void (*send)(void *ctx, unsigned loop, struct command *command);
    /* Back to this writer: writer_take() in its next turn. Called on any thread, by the store's completion. */
    void (*post)(void *ctx, struct command *command);
};

struct writer_limits {
    uint32_t waiting_count_max;   /* publishes that wait for the store, then PUBLISH_BUSY */
    size_t   waiting_bytes_max;
    uint32_t batch_count_max;     /* appends in one group */
    size_t   batch_bytes_max;
    size_t   tail_bytes_max;
    uint32_t tail_messages_max;
};

struct writer_batch;

struct writer {
    const struct writer_port *port;
    void                     *ctx;
    struct store             *durable;     /* borrowed */
    struct store             *memory;      /* borrowed; completes inline, for namespaces that are not durable */
    struct writer_limits      limits;      /* may change between two turns, those of the tails excepted */
    unsigned                  loop_count;
    struct tails              tails;
    struct list               waiting;     /* appends for the durable store */
    size_t                    waiting_count, waiting_bytes;
    size_t                    batch_bytes; /* of the group under way */
    struct writer_batch      *batch;       /* the durable group, reused; under way while is_busy */
    struct writer_batch      *quick;       /* the memory group, reused */
    bool                      is_busy;
    msec                      busy_at;     /* since when; wall clock */
    bool                      is_refusing; /* for the rest of the turn: what comes later must not overtake what was refused */
    bool                      is_doubtful;  /* the durable store's last word on a group was APPEND_BROKEN */
    unsigned                  trust;        /* counts the changes of is_doubtful: a head learnt before may be wrong */
    size_t                    asking_count; /* heads and reads under way in the stores */
    struct mail               *unanswered;   /* heads that the store could not tell, to be asked again */
    struct mail               *early;        /* heads that seem to be of the group under way: wait for its end */
    struct deliver_command    *delivers[LOOPS_MAX]; /* being filled this turn */
    msec                      wall;
    struct counter            refused;      /* publishes answered PUBLISH_BUSY */
};

void writer_init(struct writer *writer, const struct writer_port *port, void *ctx, struct store *durable,
                 struct store *memory, const struct writer_limits *limits, unsigned loop_count);
/* Nothing is under way in the stores any more. What still waits is freed unanswered. */
void writer_fini(struct writer *writer);

/* Carries out one command, from a loop or from the store. Takes it. `wall`: now. */
void writer_take(struct writer *writer, struct command *command, msec wall);

/* After the commands of one turn: gives what has gathered to the store and sends what is to be delivered. */
void writer_turn_end(struct writer *writer, msec wall);

/* About ten times a second: asks the store again for what it could not tell, lets it do its housekeeping. */
void writer_tick(struct writer *writer, msec wall);

/* Nothing waits and nothing is under way. */
bool writer_is_idle(const struct writer *writer);

#endif
