/* uplink_cluster.c - what a node of this world says to another one: that a client has cancelled a request. Some of it is lost. */
#include <string.h>

#include "base/must.h"
#include "node/cluster_port.h"
#include "node/peer_question.h"
#include "uplink_world.h"

enum { LOST_ONE_IN = 4 };

static struct uplink_node *who_is(struct uplink_world *all, const struct peer_question *question)
{
    for (unsigned i = 0; i < all->world.node_count; i++) {
        struct uplink_node *node = all->nodes[i];
        if (strcmp(node->id.name, question->node) == 0 && node->id.incarnation == question->incarnation)
            return node->is_paused || node->sim_node->is_dying ? NULL : node;
    }
    return NULL;
}

static void on_ask(void *ctx, struct peer_question *question)
{
    struct uplink_node *node  = ctx;
    struct uplink_node *other = who_is(node->all, question);

    must(question->is_notice && question->topic == PEER_CANCEL);
    if (other == NULL || node->sim_node->is_dying || uplink_one_in(node->all, LOST_ONE_IN)) {
        tell(&node->all->world, "node %u tells %s of a cancel, in vain", node->sim_node->no, question->node);
    } else {
        tell(&node->all->world, "node %u tells %s of a cancel", node->sim_node->no, question->node);
        must(requests_told_cancel(&other->requests, buf_span(&question->body)));
    }
    peer_question_end(question, &node->sim_node->writer);
}

static void on_nothing(void *ctx)
{
    (void)ctx;
}

static void on_committed(void *ctx, struct message *message)
{
    (void)ctx, (void)message;
}

/* Nobody follows a channel here. */
const struct cluster_port uplink_cluster_port = {
    .ask = on_ask, .committed = on_committed, .doubted = on_nothing, .turn_end = on_nothing, .tick = on_nothing,
};
