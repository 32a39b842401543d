/* cluster_port.h - what the writer tells and asks of a cluster, if its node is in one. Its maker is cluster/cluster.h; all
 * of it happens on the writer's thread. */
#ifndef NODE_CLUSTER_PORT_H
#define NODE_CLUSTER_PORT_H

#include "message/message.h"

struct canary;
struct peer_call;
struct peer_question;

struct cluster_port {
    /* The first loop of this node follows the channel: its route is to be registered. writer_routed() is due once, at once
     * or later, also if that failed. Until then the writer does not ask where the log ends: what was published before the
     * route stood and after the head was asked would come by no way. */
    void (*follow)(void *ctx, struct channel_name *name);
    /* The last loop has let go of it. */
    void (*unfollow)(void *ctx, struct channel_name *name);
    /* This node's store has committed it: other nodes that follow it are to get it. Shares it. Not called for what was heard
     * from others. */
    void (*committed)(void *ctx, struct message *message);
    /* This node's store has emptied it, up to this head: other nodes that follow it are to let go of what they hold. */
    void (*purged)(void *ctx, struct channel_name *name, uint64_t epoch, uint64_t head);
    /* What this node gave to its store may be there or not: all other nodes are to compare heads. */
    void (*doubted)(void *ctx);
    /* Takes it; it comes back with its answers (peer_question.h). */
    void (*ask)(void *ctx, struct peer_question *question);
    /* Takes it: another node's question, answered. */
    void (*answer)(void *ctx, struct peer_call *call);
    /* Takes it; it comes back by writer_end_canary() (canary.h). */
    void (*canary)(void *ctx, struct canary *canary);
    /* Before the writer's turn ends. */
    void (*turn_end)(void *ctx);
    void (*tick)(void *ctx);  /* about ten times a second */
};

#endif
