/* uplink_port.h - what the writer tells and gives to the uplink of its node, if it has one (the settings name a back end or a
 * webhook). Its maker is uplink/uplink.h; all of it happens on the writer's thread. */
#ifndef NODE_UPLINK_PORT_H
#define NODE_UPLINK_PORT_H

#include "message/message.h"

struct request_command;

struct uplink_port {
    /* A request or the cancelling of one, from a loop. Takes it; it comes back, answered, in this call or later. */
    void (*request)(void *ctx, struct request_command *command);
    /* This node's store has committed it, in a namespace that forwards, or in one of the server's own (`sys:`).
     * A hint: it may be lost. Shares it. */
    void (*committed)(void *ctx, struct message *message);
    /* Before the writer's turn ends. */
    void (*turn_end)(void *ctx);
    void (*tick)(void *ctx);   /* about ten times a second */
    bool (*is_idle)(void *ctx); /* at the stop of the node: nothing is under way any more */
    /* Another process takes the node's place: nothing is on its way to the store or from it. Calls to back ends may be under
     * way; they end with this process. */
    bool (*is_still)(void *ctx);
};

#endif
