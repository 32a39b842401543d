/* world.h - one seed's world: one or two nodes on one disk, publishers, subscribers, a clock that stands still between
 * steps. Two nodes are two writers of the same logs, with or without a bus on which each tells the other what it has
 * appended.
 *
 * Everything is drawn from the seed, in streams split by purpose, so that one more fault of the mail doesn't change
 * what the publishers say. What must hold is said with promise(): the first broken one ends the seed. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include <inttypes.h>
#include <setjmp.h>

#include "base/hash.h"
#include "base/msec.h"
#include "base/rng.h"
#include "message/message.h"
#include "store/ledger.h"

enum {
    TOPICS_MAX     = 5,   /* channels of a world without devices */
    CHANNELS_MAX   = 96,
    LOOPS_SIM_MAX  = 4,  /* a node */
    NODES_SIM_MAX      = 5,
    READERS_MAX    = 8,
    PUBLISHERS_MAX = 3,
};

/* What chance is asked for. */
enum purpose { OF_PLAN, OF_MAIL, OF_DISK, OF_NODE, OF_PUBLISHERS, OF_READERS, OF_ASKERS, OF_CLOCK, OF_BUS,
               PURPOSE_COUNT };

/* A bug put in on purpose, to show that it would be found (threat 114). */
enum plant {
    PLANT_NONE,
    PLANT_SKIP_SYNC,      /* the disk answers before it has written */
    PLANT_FORGET_KEYS,    /* idempotency keys are gone after a crash */
    PLANT_DOUBLE_NUMBER,  /* now and then a seq is given twice */
    PLANT_SILENT_TRIM,    /* pages begin at the first kept message without a word about those before */
    PLANT_SKIP_CURSOR,    /* a resumed cursor stands one too far */
    PLANT_NO_HEARTBEAT,        /* nobody compares cursors with heads while there are readers */
    PLANT_OVERTAKE,       /* heads and pages don't wait while a loop rests */
    PLANT_SHORT_HISTORY,  /* a page before a bound misses the message next to it */
    PLANT_MISCOUNT,       /* each loop that is asked who is there counts one too many */
    PLANT_RECALL_TWICE,   /* what was taken back can be taken back again */
    PLANT_OLD_CLOCK,      /* readers are served by a clock that stopped */
    PLANT_FORGET_REFUSAL, /* what is small enough overtakes what was refused */
    PLANT_FORGET_DIGEST,  /* a key that is taken answers for any payload */
    PLANT_SKIP_HEADS,     /* a question after many heads misses every other one */
    PLANT_ONE_WRITER,     /* a head in memory is believed though another node appends */
    PLANT_STEP_BACK,      /* a head steps back for what is heard late */
    PLANT_ASK_FIRST,      /* the head is asked for a while before the log is followed */
    PLANT_DROP_OWED,      /* what a slow loop is not sent, it is not told of either */
    PLANT_LATE_REFUSED,   /* a publish whose deadline passed in the store is said not to be stored */
    PLANT_KEEP_PURGED,    /* loops are not told of a purge */
    PLANT_COLLAPSE_ACROSS, /* messages are collapsed across their keys */
    PLANT_LOST_WAKE,      /* what comes for a folded channel is dropped */
    PLANT_FAR_FOLD,       /* a subscription that stands for its channel stands one too far */
    PLANT_LOST_FOLLOWER,  /* of a folded tail one of the loops that follow is forgotten */
    PLANT_COUNT,
};

const char *plant_text(enum plant plant);

/* Which faults this seed has; each is drawn for itself. */
struct faults {
    bool crash, wipe, torn, broken, full, slow_sync, read_io, trim, corrupt;
    bool lost_hints, doubled_hints, late_hints, slow_mail, late_answers, rests;
    bool slow_readers, moving_readers, lying_readers, impatience, recalls, ttl, tight, forgetful;
    bool aging, clock_jumps, key_reuse, stuck, away;
    bool lost_bus, doubled_bus, late_bus;
    bool unknown, failover, stalls, refused;  /* of a shared store */
};

struct sim_node;

/* How a node's clocks differ from those of the world. */
struct node_clock {
    msec skew;      /* of the wall clock */
    msec stood_ms;  /* so long its monotonic clock has stood in all */
};

struct transcript {
    bool     is_told;    /* printed as it happens */
    bool     is_kept;    /* the last lines are kept, and all of them hashed */
    uint64_t hash;
    unsigned count;
    char     lines[40][200];
};

struct world {
    uint64_t             seed;
    enum plant           plant;
    struct rng           chance[PURPOSE_COUNT];
    struct faults        faults;
    bool                 is_healing;  /* no new faults, no new publishes */
    bool                 is_sure;     /* nothing is lost on its way, and so there is no heartbeat */
    bool                 has_bus;
    bool                 has_shared_store;
    bool                 has_late_rows;  /* a write of rows whose node has given it up may still come */
    bool                 calls_unknown_undone;  /* a planted bug: rows of which nobody knows whether they are written are said not to be */
    bool                 keeps_epoch;  /* a planted bug: after a failover the logs go on in the same epoch */
    bool                 resends;      /* a planted bug: what shared memory has not answered is sent to it again */
    msec                 quiet_ms;    /* after so long without news loops fold channels, if they are let … */
    unsigned             fold_one_in; /* … at one in so many ends of turns; 0: at heartbeats alone. Writers fold all tails in
                                       * so many ticks; 0: none */
    struct rng           fold_chance;
    msec                 linger_ms;   /* how long loops follow what nobody there reads */
    msec                 now;
    msec                 wall_shift;  /* the wall clock is set now and then */
    msec                 wall_latest; /* the latest that it has shown: by then what has expired may have been let go */
    msec                 late_ms;     /* so long after a recall was answered somebody new may still get the message */
    msec                 purge_ms;    /* … and after a purge, what was on its way between nodes */
    struct node_clock    clocks[NODES_SIM_MAX];
    /* Puts something beside the writer of a node that begins; NULL: nothing. */
    void               (*on_node)(struct world *world, struct sim_node *node);
    /* Rows on their way to the disk, with the message that carries them or NULL, for planted bugs; NULL: there are none. False:
     * they are lost. */
    /* A write of rows before the disk looks at its conditions, likewise. */
    void               (*plant_write)(struct world *world, struct ledger_write *write);
    /* What a read of rows has found, likewise. */
    void               (*plant_read)(struct world *world, struct ledger_read *read);
    bool               (*plant_rows)(struct world *world, const struct message *message, struct ledger_write *rows);
    struct transcript   *transcript;
    jmp_buf             *broken;      /* where a broken promise ends */
    char                 promise[256];

    struct namespaces    spaces;
    struct hash_key      hash_key;
    struct channel_name *channels[CHANNELS_MAX];
    unsigned             channel_count;

    struct store_sim    *disk;        /* outlives crashes */
    struct store_sim    *shared_memory;  /* what is not durable, for all nodes, as Redis has it; NULL: each node has its own */
    bool                 is_closed[NODES_SIM_MAX];  /* this node leaves, or is gone: nobody goes there */
    struct sim_node     *nodes[NODES_SIM_MAX];  /* this life of each */
    unsigned             node_count;
    unsigned             loop_count;  /* of all nodes together: 0 … loops_a_node - 1 are the first node's, and so on */
    unsigned             loops_a_node;
    unsigned             life_count;
    struct model        *model;
    struct publishers   *publishers;
    struct readers      *readers;
    struct askers       *askers;
    struct purger       *purger;
};

/* 2001-09-09, so that wall and monotonic time can't be mistaken for one another. */
static inline msec world_wall(const struct world *world)
{
    return INT64_C(1000000000000) + world->now + world->wall_shift;
}

msec world_node_now(const struct world *world, unsigned node);
msec world_node_wall(const struct world *world, unsigned node);

/* The wall clock of the node that this loop belongs to. */
msec world_loop_wall(const struct world *world, unsigned loop);

/* All is as it should be at the end; nobody asks anything any more. */
bool world_is_hushed(const struct world *world);

static inline uint64_t draw(struct world *world, enum purpose purpose, uint64_t below)
{
    return rng_below(&world->chance[purpose], below);
}

/* Once in so many times. */
static inline bool one_in(struct world *world, enum purpose purpose, uint64_t count)
{
    return draw(world, purpose, count) == 0;
}

static inline bool channel_is_durable(const struct channel_name *channel)
{
    return channel->space->durability == DURABLE;
}

/* What the log of a channel holds now, asked behind the node's back. */
struct log_now {
    uint64_t epoch, first, head;
};
/* The loops of one node, [first, end), or of all. */
struct loop_range {
    unsigned first, end;
};
struct loop_range world_loops_of(const struct world *world, unsigned loop);

static inline struct loop_range world_loops(const struct world *world)
{
    return (struct loop_range){ 0, world->loop_count };
}

/* One node is killed and begins anew; the store and the others go on. */
void world_kill_node(struct world *world, unsigned node);
/* Those who hang on these loops go. */
void world_cut_loops(struct world *world, struct loop_range range);

static inline bool loop_is_in(struct loop_range range, unsigned loop)
{
    return loop >= range.first && loop < range.end;
}

struct shard *world_shard(const struct world *world, unsigned loop);

/* Where the log of this channel lies; not for memory that each node has for itself. */
struct store_sim *world_store_of(const struct world *world, unsigned channel);
/* Is it in the simulated store, and not in memory that each node has for itself? */
bool world_is_stored(const struct world *world, unsigned channel);

/* A loop where one may go. */
unsigned draw_loop(struct world *world, enum purpose purpose);

struct log_now world_log(struct world *world, unsigned channel);

unsigned world_channel_of(const struct world *world, const struct channel_name *name);

/* A line of the transcript. */
void tell(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Ends the seed. */
_Noreturn void promise_broken(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define promise(world, holds, ...) ((holds) ? (void)0 : promise_broken(world, __VA_ARGS__))

/* Lives one seed to its end. False: a promise was broken, and is told in ret_promise. */
bool world_live(uint64_t seed, enum plant plant, struct transcript *transcript, char ret_promise[256]);

#endif
