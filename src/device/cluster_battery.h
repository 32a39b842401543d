/* cluster_battery.h - what this module's tests of several nodes stand on: NODES nodes over one ledger, turned by hand. What they say to each
 * other may be lost or late, and the ledger may refuse, hold, or not say what it did. */
#ifndef DEVICE_CLUSTER_BATTERY_H
#define DEVICE_CLUSTER_BATTERY_H

#include "device/devices_priv.h"
#include "node/shard.h"

enum { WALL = 1000000, TTL = 500000, NODES = 3, ANSWERS_MAX = 64, EPOCH = 7 };

struct fenced {
    uint64_t          key;
    enum fence_reason reason;
};

struct node {
    struct cluster      *cluster;
    char                 name[8];
    struct store        *memory;
    struct writer        writer;
    struct devices       devices;
    struct bundle        posted, sent;
    struct device_home   home;
    struct shard         shard;
    struct fenced        fenced[16];
    size_t               fenced_count;
    struct session_acks *last_words;  /* the loop says them when it is told to let a link go */
    struct session_open *answers[ANSWERS_MAX];
    size_t               answer_count;
};

/* A write is known to be done; or nobody knows, and it is, or is not. */
enum commit_end { COMMIT_KNOWN, COMMIT_WRITTEN, COMMIT_LOST };

struct cluster {
    struct namespaces spaces;
    struct store     *durable;
    struct node       nodes[NODES];
    bool              loses_questions, loses_answers;
    bool              tells_twice;    /* each answer comes twice */
    size_t            answer_bytes;   /* of the last one that came */
    bool              sends_nothing;  /* the engine is away */
    struct peer_fence_call *late;  /* is_slow: an answer that has not come yet */
    bool              is_slow;
    unsigned          asked_count;
    struct ledger     refusing, *real;  /* the ledger of `durable` is the first one, and goes on to the second one */
    enum ledger_outcome refuses_with;   /* LEDGER_WAITING: nothing is refused */
    bool                is_holding;     /* … and the next batch waits in `held` */
    struct ledger_batch *held;
    enum commit_end      commit_end;    /* of the next batch that is not lazy; then COMMIT_KNOWN again */
    void               (*batch_done)(struct ledger_batch *batch);
    bool                 is_away;       /* nothing can be read or written */
};

/* --- the cluster */

struct cluster *cluster_start(void);
struct cluster *cluster_with(enum device_policy policy);
void cluster_end(struct cluster *cluster);
/* Its links and its memory are gone, and nobody was told. */
void node_restarts(struct node *node);
/* … and it comes back in no cluster. */
void node_is_alone(struct node *node);
void answers_free(struct node *node);
/* The batch that is held goes on. */
void lets_go(struct cluster *cluster);
/* cluster.late is answered now. */
void on_called(struct peer_fence_call *call);

/* --- time and turns */

/* One turn of a node: its mail, its writer, its loop; or only a part of it. */
void node_take(struct node *node);
void node_take_mail(struct node *node);
void node_give_mail(struct node *node);
/* Until nobody has mail. */
void settle(struct cluster *cluster);
/* Ticks of all nodes, of one; all clocks, too. */
void ticks(struct cluster *cluster, unsigned count);
void ticks_of(struct node *node, unsigned count);
void passes(struct cluster *cluster, msec span);
/* A node's commands one turn at a time, until it has asked another one so often. */
void turns_until_asked(struct node *node, unsigned count);

/* --- what loops do */

/* alice opens a session: begun; and waited for, by a link or a poll. */
struct session_open *asks(struct node *node, enum open_way way, const char *device, uint64_t key, const struct session_open *before);
void on_opened(struct session_open *open);
struct session_open *opens(struct node *node, const char *device, uint64_t key);
struct session_open *polls(struct node *node, uint64_t key, const struct session_open *before);
void closes(struct node *node, const struct session_open *open);
/* What a link acknowledges: made, sent, waited for. */
struct session_acks *words(struct node *node, const struct session_open *open, const char *channel, uint64_t seq,
                           enum session_ack_kind kind);
void says(struct node *node, const struct session_open *open, const char *channel, uint64_t seq, enum session_ack_kind kind);
void acks(struct node *node, const struct session_open *open, uint64_t seq);
/* "CHANNEL@SEQ …"; a * behind those that are kept. */
const char *places_of(const struct session_open *open);
/* Sessions with a link, on all nodes. */
uint64_t linked(const struct cluster *cluster);
void assert_fenced(const struct node *node, size_t count, uint64_t key, enum fence_reason reason);
struct channel_name *name_of(struct cluster *cluster, const char *text);

/* --- what stands in the ledger */

/* A generation of 0 deletes the row. */
void writes_row(struct cluster *cluster, const struct session_row *row, uint64_t generation);
void writes_place(struct cluster *cluster, const char *channel, uint64_t epoch, uint64_t seq);
void writes_group(struct cluster *cluster, const char *group, const struct group_spans *spans, uint64_t generation);
/* alice joins the group behind `after`, says the message 1 of her log. */
void joins(struct cluster *cluster, const char *group, uint64_t after);

#endif
