/* writer.h - This module joins the hubs of all loops and the stores to one node. It has no thread and no socket of its
 * own, so a test can hold many nodes.
 *
 * The writer knows the recent end of every log that somebody here follows. It takes publishes from all loops, gives
 * them to the store in batches, and only when the store says that they are durable answers the publishers and hands
 * the messages to the loops that follow. While one batch is being synced the next one fills: no timer, no lingering.
 *
 *     loops ──PUBLISH──▶ waiting ──batch──▶ store ──COMMITTED──▶ answers to publishers
 *                                                            └─▶ DELIVER to the loops that follow
 *
 * It need not be the only writer of its store: other processes may append to the same logs, and what they append
 * comes by writer_hear(), or is found at the heartbeat. So order is promised per channel, not per store: appends are
 * grouped by their channel's hash into lanes, each with one batch under way (docs/decisions/0018).
 *
 * To follow is to register, then to ask: a loop that follows is noted first and told the head after that. Every later
 * message will come to it, everything up to that head is in the log. One thread at a time. */
#ifndef NODE_WRITER_H
#define NODE_WRITER_H

#include "base/counter.h"
#include "node/cluster_port.h"
#include "node/command.h"
#include "node/publish_watch.h"
#include "node/tail.h"
#include "node/uplink_port.h"

struct writer_port {
    /* To a loop; takes the command. */
    void (*send)(void *ctx, unsigned loop, struct command *command);
    /* Back to this writer: writer_take() in its next turn. Called on any thread, by the store's completion. */
    void (*post)(void *ctx, struct command *command);
};

struct writer_limits {
    uint32_t waiting_count_max;   /* publishes that wait for one of the stores, then PUBLISH_BUSY */
    size_t   waiting_bytes_max;
    uint32_t batch_count_max;     /* appends in one batch */
    size_t   batch_bytes_max;
    uint32_t all_per_s;           /* publishes in the namespace `all`, then PUBLISH_TOO_OFTEN; 0: any number */
    uint32_t deadline_ticks;      /* of a publish: see writer_tick() */
    uint64_t delivery_count_max;  /* messages that one loop has not taken yet; then it is told heads alone */
    uint64_t delivery_bytes_max;
    size_t   tail_bytes_max;
    uint32_t tail_messages_max;
    uint32_t fold_ticks;          /* once in so many ticks each tail without news is folded (tail.h); 0: none is */
};

struct head_question;
struct writer_batch;

/* A batch of appends, and what waits for its end. While it is under way, it holds the buckets of its channels. */
struct lane {
    struct writer_store *from;
    struct writer_part  *part;
    struct writer_batch *batch;      /* reused; under way while is_busy */
    struct list          behind;     /* publishes to its buckets, in their order */
    size_t               behind_count;
    struct mail         *held;       /* answers that wait for the end of the batch under way … */
    struct mail         *resting;    /* … and commands that are taken again then */
    size_t               batch_bytes;
    msec                 busy_at;    /* since when; wall clock */
    uint32_t             busy_tick;  /* … in ticks */
    bool                 is_busy;
    bool                 is_late;    /* the deadline of the batch under way has passed, and all of it was answered */
};

/* What waits for a part of a store (store_ops.part_of), and the lanes that it may go into. */
struct writer_part {
    struct list  waiting;
    size_t       waiting_count;      /* without those behind a lane */
    struct lane *lanes;
    uint32_t     lane_count;
};

/* Channels by their hash: those of a bucket go into one batch at a time. So many that hardly a message waits for a batch of other channels:
 * answers leave a connection in order, so that all behind its own wait with it. */
enum { WRITER_BUCKETS = 65536 };

/* One store, and the question after heads that gathers for it in this turn. */
struct writer_store {
    struct store         *store;
    bool                  is_shared;     /* other nodes append to its logs */
    struct head_question *gathering;     /* NULL: nothing to ask yet */
    uint32_t              away_count;     /* questions under way */
    size_t                followed_count; /* channels of this store that some loop follows */
    size_t                slot;           /* where the heartbeat's walk over the tails stands … */
    size_t                slots_left;     /* … and how many slots are due; it rests while no question has room */
    size_t                slots_credit;   /* parts of a slot that are due, each 1 of so many ticks as a walk takes */
    size_t                slow_slot, slow_credit; /* of the slow walk, while there are doubts */
    int64_t               compare_credit; /* heads that the walk may still ask for in this tick, if it is paced */
    uint32_t              compare_slowness; /* the pace is divided by 2 so often, because the store answers slowly … */
    uint32_t              compare_quick;  /* … and so many answers came soon since */
    uint32_t              compare_slow_at; /* the tick in which that changed last */
    bool                  has_unasked;    /* somebody waits for a head that there was no room to ask for */
    struct lane           lanes[STORE_BATCHES_MAX];
    uint32_t              lane_count;     /* store->batches_max; 0: what is published goes into writer.quick */
    struct writer_part    parts[STORE_BATCHES_MAX];
    uint32_t              part_count;
    uint8_t               holders[WRITER_BUCKETS];  /* 1 + the lane whose batch holds the bucket; 0: none */
    size_t                waiting_count, waiting_bytes;  /* in all parts, and behind all lanes */
    /* for the rest of the turn: what comes later must not overtake what was refused */
    bool                  is_refusing;
    bool                  is_doubtful;    /* the store ended its last batch with APPEND_BROKEN: what that batch wrote may
                                           * appear when the store reopens, so no head is believed meanwhile */
};

struct writer {
    const struct writer_port *port;
    void                     *ctx;
    const struct cluster_port *cluster;    /* NULL: the node is in none. The caller sets both after writer_init() */
    void                     *cluster_ctx;
    const struct uplink_port *uplink;      /* NULL: the node calls no back ends. Set likewise */
    void                     *uplink_ctx;
    const struct publish_watch *watch;     /* NULL: nobody watches. Set likewise */
    void                     *watch_ctx;
    struct writer_store       durable;
    struct writer_store       memory;      /* for namespaces that are not durable */
    struct writer_limits      limits;      /* may change between two turns, those of the tails excepted */
    unsigned                  loop_count;
    struct tails              tails;
    size_t                    fold_slot;   /* where the walk stands that folds them */
    struct writer_batch      *quick;       /* the batch of a memory store that completes inline (store.is_inline), reused */
    size_t                    read_count;  /* reads under way in the stores */
    struct loop_account       accounts[LOOPS_MAX];
    struct deliver_command   *delivers[LOOPS_MAX]; /* being filled this turn */
    struct moved_command     *moveds[LOOPS_MAX];   /* likewise: heads that were heard of */
    uint32_t                  all_count;   /* publishes to everyone … */
    uint32_t                  all_tick;    /* … since this tick, for a second */
    uint32_t                  tick;        /* counts writer_tick() */
    /* for so many ticks more, heads of a store with one writer are compared too */
    uint32_t                  doubt_ticks;
    uint32_t                  compare_ticks; /* see writer_compare_each() */
    uint32_t                  compare_pace;  /* see writer_compare_pace() */
    msec                      wall;
    struct counter            refused;     /* publishes answered PUBLISH_BUSY */
    struct counter            late;        /* publishes answered because their deadline passed */
};

/* The stores are borrowed. */
void writer_init(struct writer *writer, const struct writer_port *port, void *ctx, struct store *durable,
                 struct store *memory, const struct writer_limits *limits, unsigned loop_count);
/* To be called when nothing is under way in the stores. Publishes and reads that still wait are freed unanswered. */
void writer_fini(struct writer *writer);

/* Carries out one command, from a loop or from the store. Takes it. `wall`: now. */
void writer_take(struct writer *writer, struct command *command, msec wall);

/* At the writer: publishes to the connection of `loop` that the channel names. Takes it; `settled` gets it. */
void writer_publish_to_link(struct writer *writer, struct publish_command *publish, unsigned loop);

/* The name with this text (`hash`: of it, by the key of the names) of a channel that loops follow, or whose end the writer holds; borrowed
 * until the next command. NULL: there is none, which says nothing of the name. So what comes for followers shares their name. */
struct channel_name *writer_known_name(const struct writer *writer, uint64_t hash, struct span text);

/* A message that somebody else has appended to the durable store, numbered; it may come late, twice, or not at all.
 * Shares it. A head never steps back for it; from another life of the log it is a reason to ask, not to be believed.
 * Between writer_take() and writer_turn_end(). */
void writer_hear(struct writer *writer, struct message *message);

/* Somebody else has appended to the durable store up to `head`, and the messages don't come: loops that follow are told at
 * the end of this turn, and read the log. The same rules hold as for writer_hear(). */
void writer_hear_head(struct writer *writer, const struct channel_name *name, uint64_t epoch, uint64_t head);

/* Somebody else has emptied the log up to `head`. The same rules hold. */
void writer_hear_purge(struct writer *writer, struct channel_name *name, uint64_t epoch, uint64_t head);

/* The registration of the route that cluster_port.follow() began has ended: the head is asked for now. */
void writer_routed(struct writer *writer, struct channel_name *channel);

/* After the commands of one turn: gives what has gathered to the store and sends what is to be delivered. */
void writer_turn_end(struct writer *writer, msec wall);

/* Is it a publish that can do no more than wait, as long as writer_leave_count() allows for it? So are those into namespaces on a store
 * whose batches overlap. Any thread, at any time. */
bool writer_may_leave(const struct writer *writer, const struct command *command);

/* How many such publishes may come now and change nothing: they would wait for the end of a batch, or for more of them. So
 * nobody need wake the writer for them: each batch that ends does, and each tick. Between two turns. At most WRITER_LEAVE_MAX. */
enum { WRITER_LEAVE_MAX = 65536 };
size_t writer_leave_count(const struct writer *writer);

/* Would the publish be made at once, and end, without a store that works on its own, and without anybody of this node who watches
 * it? So are those of a node that is alone, into namespaces that keep no log on the disk. */
bool writer_publishes_at_once(const struct writer *writer, const struct command *command);

/* Makes such publishes, between two turns. Takes them: `commands`, oldest first. What is to be delivered is sent. */
void writer_publish_at_once(struct writer *writer, struct mail *commands, msec wall);

/* About ten times a second: a slice of the heartbeat, deadlines, and the stores' housekeeping.
 *
 * The heartbeat compares the head of each followed channel with the store, once in HEARTBEAT_TICKS, where the store
 * has other writers; else the head in memory is believed and nothing is compared. Where something else tells what the other
 * writers append, it may be slower: writer_compare_each().
 *
 * Publishes don't wait for ever. One that has waited limits.deadline_ticks for its turn behind a batch is answered
 * PUBLISH_AWAY: it was never given to the store, so it is certainly not stored. A batch that the store has had for so
 * long is answered PUBLISH_BROKEN: perhaps stored. Should the store complete it later, its messages are delivered like
 * any other. Its lane waits for it all the same: the store still holds it, and a channel has one batch at a time. */
void writer_tick(struct writer *writer, msec wall);

enum { HEARTBEAT_TICKS = 10 };

/* Followed heads of shared stores are compared once in so many ticks; HEARTBEAT_TICKS at first. While it is slower than that,
 * heads that are in doubt are still compared once in HEARTBEAT_TICKS. */
void writer_compare_each(struct writer *writer, uint32_t ticks);

/* Of shared stores at most so many heads are compared in a tick, and few questions for it are under way, however many are due:
 * many nodes may have the same reason to compare. A store that answers slowly is asked for fewer, down to a 64th of that: what is
 * published comes first. 0, as at first: as many as the store answers. Whoever waits for a head does
 * not wait for this. */
void writer_compare_pace(struct writer *writer, uint32_t heads);

/* Something that others appended may not have been heard: all followed heads of shared stores are compared, beginning with the
 * next tick; those of the channels that everyone may follow (`all:`) at once. */
void writer_compare_all(struct writer *writer);

/* The same of the store for namespaces that are not durable, if it is shared: its logs may be gone. */
void writer_compare_memory(struct writer *writer);

/* The same for the channels that everyone may follow alone: there are few, and most followers wait for one of them. */
void writer_compare_wide(struct writer *writer);

/* Memory is short: from now on tails, and the caches of the stores, hold an eighth of what they may. Or all of it again. */
void writer_be_lean(struct writer *writer, bool is_lean);

/* Nothing waits and nothing is under way. */
bool writer_is_idle(const struct writer *writer);
/* The same, but for calls to back ends (uplink_port.is_still). */
bool writer_is_still(const struct writer *writer);

/* Many followers of one channel name it: the copy of the name that the writer's log has, if it has one, else this one. Takes the
 * reference, and returns one. */
struct channel_name *writer_share_name(const struct writer *writer, struct channel_name *take_name);

/* Somebody has read what an append to this log has written, perhaps before the append was told to the loops. Is a batch under way that may
 * hold it? Then the command is taken again when the batch has ended, and all that it has appended was told; or when the batch is late.
 * False: there is none, and the command was not taken. */
bool writer_rest(struct writer *writer, const struct channel_name *name, struct command *command);

/* Somebody beside the writer has read where a log ends. A head beyond what the writer knows shows that appends were written whose
 * completion has not come yet; one of a log of which it knows nothing yet may be newer than an answer that is under way. Loops are
 * told nothing of such a log until the store was asked anew. Else a reader that begins at this head would be told that it is ahead
 * of its log. Epoch 0: nothing was read. */
void writer_note_head(struct writer *writer, const struct channel_name *name, uint64_t epoch, uint64_t head);
/* The same of all that were answered. */
void writer_note_heads(struct writer *writer, const struct store_heads *heads);

#endif
