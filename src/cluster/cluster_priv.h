/* cluster_priv.h - what the parts of the cluster ask of each other. Private to the module.
 *
 *     cluster.c        life: the lease, the nodes, routes, health          cluster_send.c   look-ups and frames to others
 *     cluster_hear.c   frames of others                                    cluster_ask.c    questions (cluster_ask.h)
 *     cluster_tell.c   heads for all nodes, while nobody knows who follows what
 *     cluster_told.c   … and what those told to this node are enough for */
#ifndef CLUSTER_CLUSTER_PRIV_H
#define CLUSTER_CLUSTER_PRIV_H

#include "cluster/cluster.h"
#include "cluster/cluster_ask.h"
#include "cluster/interest.h"
#include "codec/bus/bus_frame.h"
#include "node/canary.h"

enum { CLUSTER_HEADER_BYTES_MAX = 1 + 2 + BUS_NODE_NAME_MAX + 8 + 8 + 10,
       CLUSTER_ITEM_MORE_BYTES  = 512,  /* of an item, beside its body and what message_size() counts */
       LOOKUP_SLOTS = 2048, COMPARE_AGAIN_MS = 500,
       /* ROUTE calls under way: fewer while their answers are slow, because other nodes put theirs at the same time */
       ROUTE_CALLS_MAX = 64, ROUTE_CALLS_FIRST = 4, ROUTE_CALLS_LEAST = 2, ROUTE_SLOW_MS = 500,
       /* Heads for all nodes: for so long; what was looked up so long before; so many are remembered; so many items at the
        * beginning, and then in a tick. */
       TELL_MS = 60000, TELL_BACK_MS = 5000, TELL_KEPT = 4096, TELL_ITEMS_FIRST = 200000, TELL_ITEMS_A_TICK = 5000,
       /* others may notice another life so much later */
       TOLD_LATE_MS = 5000 };

/* A call of ours, and what becomes of it. */
struct cluster_call {
    struct engine_call call;
    void (*done)(struct cluster *cluster, struct cluster_call *call);  /* takes it */
};

/* Another node, as far as we send to it. */
struct cluster_far {
    struct map_node       node;
    struct list           link;  /* in cluster.far */
    struct node_id        id;
    struct cluster_frame *open;  /* being filled this turn; NULL: none */
    size_t                frame_bytes;  /* of the last frame: the next one is likely to be as long */
    uint64_t              mark;  /* the last name of a look-up that it was found for */
};

struct cluster_lookup;

/* What this node has committed, and when it was looked up. */
struct told_head {
    struct channel_name *channel;  /* owns a reference */
    uint64_t             epoch, seq;
    uint64_t             round;    /* of the answer (engine.h); 0: it was not looked up, and all links have a hole for it */
    msec                 at;
};

struct cluster_tell {
    struct told_head heads[TELL_KEPT];  /* a ring: the oldest at `first` */
    size_t           first, count;
    msec             until;             /* heads are told to all nodes until then */
    size_t           left;              /* items, in this tick */
    uint64_t         forgotten;         /* the newest round of what is not in the ring any more */
    bool             is_all;            /* nothing was left out of what is told */
    bool             is_short;          /* … but now, and nobody knows it yet */
};

/* What another node said last of what it told. */
struct told_word {
    struct node_id id;
    uint64_t       life;
    bool           is_all;
};

enum told_stage {
    TOLD_NOT,     /* a comparison is not to be left out */
    TOLD_ROUTES,  /* the routes don't stand yet */
    TOLD_NODES,   /* … and now who was there before they stood must be asked for */
    TOLD_WORDS,   /* not all of those have told */
};

struct cluster_told {
    struct told_word *words;   /* one a node, NODES_MAX at most */
    size_t            count;
    struct node_id   *tellers; /* who has to tell */
    size_t            teller_count;
    enum told_stage   stage;
    enum doubt_reason why;         /* TOLD_NOT: what ended it */
    bool              is_listing;  /* the NODES under way was put in TOLD_NODES */
    msec              since;       /* the life was noticed */
    msec              listed_at;
};

struct cluster {
    struct cluster_setup    setup;
    struct writer          *writer;
    struct engine          *engine;
    struct cluster_counters counters;
    struct cluster_ask     *ask;
    struct registry         registry;
    struct bus_links       *links;
    struct interest        *interest;
    msec                    now, wall;

    bool                    is_up;          /* the engine can be reached */
    bool                    is_silent;      /* … and says nothing, though it owes answers */
    bool                    has_released;   /* since it is, somebody follows without a route */
    bool                    has_life;
    uint64_t                life;
    size_t                  under_way;      /* calls */
    size_t                  routes_under_way;  /* … of them, ROUTE */
    size_t                  routes_window;     /* how many may be */
    msec                    routes_cut_at;     /* it became smaller; what was put before tells nothing more */
    bool                    is_leaving, has_left;

    bool                    is_leasing;     /* a LEASE is under way */
    msec                    lease_asked_at; /* when it was put */
    msec                    lease_until;    /* by our clock; 0: there was none yet */
    msec                    lease_next, nodes_next;
    bool                    is_listing;     /* a NODES is under way */
    struct node_id         *known;          /* as the last NODES told them */
    size_t                  known_count;
    struct node_id         *unlisted;       /* had a lease when the engine was emptied, and were not listed since */
    size_t                  unlisted_count;
    msec                    unlisted_until;

    bool                    routes_want_lease;  /* the engine's life is new: routes wait for the first lease in it */
    bool                    is_rebuilding;  /* some wanted routes don't stand: others may pass this node over */
    msec                    patient_until;  /* … but not for long, and then all is compared: till then heads are not polled */
    msec                    wide_next;      /* while this node is not sure: heads that everyone may follow are compared */
    uint32_t                doubts;         /* a bit for each reason to compare that came since the last comparison began … */
    uint32_t                doubts_compared;  /* … and those that it was for */
    msec                    compared_at;
    msec                    routes_retry_at;

    struct map              far_map;
    struct list             far;
    uint64_t                mark;
    struct buf              item;           /* being encoded */

    struct cluster_lookup  *gathering;      /* the messages of this turn; NULL: none yet */
    uint16_t                slots[LOOKUP_SLOTS];  /* of its names: their number and 1, by hash */
    size_t                  waiting_count, waiting_bytes;  /* in all look-ups */
    bool                    has_dropped;    /* something for others is lost in this turn */
    struct list             canaries;       /* on their way through the engine; the oldest first */
    struct cluster_tell     tell;
    struct cluster_told     told;
};

/* --- cluster.c --- */
void cluster_submit(struct cluster *cluster, struct cluster_call *call);
/* What others sent may be lost: all followed heads are compared. */
void cluster_doubt(struct cluster *cluster, enum doubt_reason reason);

/* The frame with this number has come back, and so have those before it, or never will. */
void cluster_take_canaries(struct cluster *cluster, uint64_t number);

/* --- cluster_send.c --- */
void cluster_send_fini(struct cluster *cluster);
void cluster_gather(struct cluster *cluster, struct message *message);
void cluster_gather_purge(struct cluster *cluster, struct channel_name *channel, uint64_t epoch, uint64_t head);
/* Puts the look-up of this turn, and sends the frames that were filled in it. */
void cluster_send_turn_end(struct cluster *cluster);
void cluster_send_tick(struct cluster *cluster);
/* This incarnation will not come back. */
void cluster_forget_far(struct cluster *cluster, const struct node_id *id);
bool cluster_is_self(const struct cluster *cluster, const struct node_id *id);
/* One item into the frame of this turn for that node. False: it is too long for any frame. */
bool cluster_put_item(struct cluster *cluster, const struct node_id *to, const struct bus_item *item);

/* Was this node found for the name that was marked last? */
bool cluster_is_marked(const struct cluster *cluster, const struct node_id *id);

/* A beat to this node itself, in a frame of its own. Its number. */
uint64_t cluster_send_self(struct cluster *cluster);

/* --- cluster_tell.c --- */
/* This node has committed it, and the answer of its look-up carried that round; 0: it was not looked up. */
void cluster_tell_note(struct cluster *cluster, const struct message *message, uint64_t round);
/* The same of what is not remembered. */
void cluster_tell_forget(struct cluster *cluster, uint64_t round);
/* The engine has another life, and what was looked up since that round may have found nobody: that is told to all nodes, and what is
 * committed from now on. */
void cluster_tell_begin(struct cluster *cluster, uint64_t since);
bool cluster_tells_all(const struct cluster *cluster);
/* Nodes that the look-up did not find, and that are not marked, are told the head of this message, or that the log is empty up
 * to there. */
void cluster_tell_unmarked(struct cluster *cluster, const struct message *message);
void cluster_tell_purge(struct cluster *cluster, struct channel_name *channel, uint64_t epoch, uint64_t head);
void cluster_tell_tick(struct cluster *cluster);
void cluster_tell_fini(struct cluster *cluster);

/* --- cluster_told.c --- */
/* Another node says that it told what this one was not found for, or that it left something out. */
void cluster_told_hear(struct cluster *cluster, const struct node_id *from, uint64_t life, bool is_all);
/* The engine was emptied, and nothing else happened: what others tell may be enough. */
void cluster_told_begin(struct cluster *cluster);
/* What they tell is not enough any more: heads are compared once the routes stand. */
void cluster_told_end(struct cluster *cluster, enum doubt_reason why);
/* The routes stand: heads are compared now, or once it is known whether they have to be. */
void cluster_told_stands(struct cluster *cluster);
/* A NODES is put; it was answered, and the registry has it. */
void cluster_told_list(struct cluster *cluster);
void cluster_told_listed(struct cluster *cluster, bool is_answered);
void cluster_told_tick(struct cluster *cluster);
void cluster_told_fini(struct cluster *cluster);

/* For cluster_ask: which nodes follow this channel? Shares the name. */
void cluster_look_up(struct cluster *cluster, uint64_t question, struct channel_name *channel);

#endif
