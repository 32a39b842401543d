/* cluster_ask.h - questions that this node puts to others, and those that others put to it (node/peer_question.h). Pure; a part
 * of a cluster (cluster.h), on the writer's thread.
 *
 *     question ──(look-up)──▶ parts ──send──▶ nodes          parts of another node's question ──▶ peer_call ──serve──▶ a loop
 *              ◀──end── answers, in the order of their nodes ◀── parts                                    ◀──answer──
 *
 * A question ends when all nodes have answered, when its time is up, when the nodes that have not answered are lost, or when
 * the engine can't be reached. Nodes that were asked and did not answer are counted as missing. An answer that comes later is
 * dropped. A body that is longer than one item may be travels in parts. */
#ifndef CLUSTER_CLUSTER_ASK_H
#define CLUSTER_CLUSTER_ASK_H

#include "cluster/cluster.h"
#include "codec/bus/bus_frame.h"
#include "node/peer_question.h"

struct cluster_ask_port {
    /* With the next frame to this node; the item is borrowed for the call. False: it can't be sent, now or at all. */
    bool (*send)(void *ctx, const struct node_id *to, const struct bus_item *item);
    /* Which nodes follow this channel? cluster_ask_found() is due, within this call or later. */
    void (*look_up)(void *ctx, uint64_t question, struct channel_name *channel);
    /* Another node asks; takes it. It comes back by cluster_ask_answer(). */
    void (*serve)(void *ctx, struct peer_call *call);
};

enum { CLUSTER_CALLS_MAX = 4096,       /* of other nodes, being answered; a further one gets no answer */
       CLUSTER_PARTS_MAX = 64 };       /* … of which parts are yet to come; likewise */

struct cluster_ask_setup {
    const struct cluster_ask_port *port;
    void                          *ctx;
    struct writer                 *writer;    /* borrowed, as all of this */
    const struct registry         *registry;
    const struct node_id          *self;
    struct cluster_counters       *counters;
    uint32_t                       questions_max;   /* under way; further ones end at once, and all nodes are missing */
    size_t                         part_bytes_max;  /* of a body, in one item; at least 1,024 */
};

struct cluster_ask;

struct cluster_ask *cluster_ask_new(const struct cluster_ask_setup *setup);
void                cluster_ask_free(struct cluster_ask *ask);  /* with the questions that are under way; NULL is fine */

/* For cluster_port.ask and .answer. Both take what they are given. */
void cluster_ask_put(struct cluster_ask *ask, struct peer_question *question, msec now);
void cluster_ask_answer(struct cluster_ask *ask, struct peer_call *call);

/* The look-up of a question has ended. Of the ids, this node and those whose lease does not run are passed by; one may be there twice.
 * A notice goes to those that the registry does not know, too: a node that has begun anew may follow channels before others know of it.
 * `is_failed`: the engine could not say it. */
void cluster_ask_found(struct cluster_ask *ask, uint64_t question, const struct node_id *ids, size_t count,
                       bool is_failed);

/* A QUESTION, ANSWER or NOTICE from another node. `channel`: of its name, NULL if it has none; borrowed. A question about a
 * channel whose namespace is unknown here is not to be handed on: it gets no answer. */
void cluster_ask_take(struct cluster_ask *ask, const struct node_id *from, const struct bus_item *item,
                      struct channel_name *channel, msec now);

/* This incarnation is lost. The last 64 are remembered (peer_question.may_be_new). */
void cluster_ask_lost(struct cluster_ask *ask, const struct node_id *id);

/* The engine can't be reached (false; so it begins), or again (true). While it can't, and before the nodes were told for the first
 * time, all questions end at once. */
void cluster_ask_reach(struct cluster_ask *ask, bool is_reached);

/* About ten times a second. */
void cluster_ask_tick(struct cluster_ask *ask, msec now);

#endif
