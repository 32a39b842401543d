/* house.h - one life of the node: a writer, one to four loops, and the mail between them, which takes time.
 *
 * Letters of one sender arrive in order, but for DELIVER: hints may be lost, doubled or late. What a store answers
 * comes in any order, and never within the turn that asked; what is in memory comes in the next. A loop may rest, as
 * after a long turn of sending: what speaks of logs waits meanwhile, other letters don't. A crash ends the life; nobody
 * is answered, and a new house is built on the same disk. */
#ifndef SIM_HOUSE_H
#define SIM_HOUSE_H

#include "node/shard.h"
#include "node/writer.h"
#include "world.h"

enum { BEAT_MS = 150, WRITER_TEND_MS = 100, LINGER_MS_MAX = 400, LATE_MS_MAX = 300 };

struct house {
    struct world       *world;
    struct store       *memory;
    struct writer       writer;
    struct writer_limits writer_limits;
    struct shard_limits  shard_limits;
    struct list         writer_mail;
    struct shard        shards[LOOPS_SIM_MAX];
    struct list         mail[LOOPS_SIM_MAX];
    struct list         held[LOOPS_SIM_MAX];        /* while the loop rests */
    msec                rest_until[LOOPS_SIM_MAX];
    msec                delay[LOOPS_SIM_MAX];       /* of what the loop writes in this turn, which goes as one bundle */
    unsigned            loop_count;
    unsigned            turn;        /* of the writer */
    bool                is_in_turn;  /* the writer's */
    msec                beat_at, tend_at;
    bool                is_dying;    /* letters go nowhere any more */
};

struct house *house_new(struct world *world, unsigned loop_count, unsigned life);
/* Nobody is subscribed any more. What is under way in the disk must have been answered by then. */
void house_free(struct house *house);

void house_writer_turn(struct house *house);
/* Mail, and the heartbeat if it's due; then the caller draws, then house_loop_end(). */
void house_loop_begin(struct house *house, unsigned loop);
void house_loop_end(struct house *house, unsigned loop);

/* Bounds that hold at every step. */
void house_check_bounds(struct house *house);
/* Nothing is under way, waiting or held. */
void house_check_quiet(struct house *house);
/* … and nobody is followed. */
void house_check_empty(struct house *house);

#endif
