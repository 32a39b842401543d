/* hub_priv.h - what channels (hub.c) and subscriptions (subscription.c) ask of each other. Private to the hub. */
#ifndef HUB_HUB_PRIV_H
#define HUB_HUB_PRIV_H

#include "hub/channel.h"
#include "hub/hub.h"

enum subscription_state {
    SUB_JOINING,  /* the channel has not answered yet */
    SUB_FIRST,    /* placed at the first kept message; if retention has moved on since, that is no gap */
    SUB_PLACED,   /* `next` is a place in the channel's log */
    SUB_AHEAD,    /* … but the reader claimed to have more than there is: to be told first */
    SUB_EPOCH,    /* … but the reader's place was in another life of the log: to be told first */
};

/* --- hub.c --- */

/* Returns the channel; begins to follow it if the hub does not yet. */
struct channel *hub_join(struct hub *hub, struct channel_name *name);
/* The channel's last subscription was closed. */
void hub_linger(struct hub *hub, struct channel *channel, msec now);
/* Asks for the channel's head. A channel has one question under way at a time. */
void hub_ask(struct hub *hub, struct channel *channel);
/* The channel's head is asked for at the next heartbeat. */
void hub_ask_soon(struct hub *hub, struct channel *channel);

/* Only one subscription of the channel is left, or it has been answered: it may be folded when it has been quiet. */
void hub_rest(struct hub *hub, struct channel *channel);
/* Makes the channel again that the subscription stands for. */
struct channel *hub_unfold(struct hub *hub, struct subscription *sub);

/* --- subscription.c --- */
/* Up to date, with nothing to be told first, nothing read or being read: all that is left of it is its place. */
bool subscription_may_fold(const struct subscription *sub);
void subscription_hear(struct subscription *sub, struct hub *hub);
void subscription_say_ready(struct subscription *sub, struct hub *hub);
/* All up to `head` is gone: the subscription holds and awaits no page with any of it. */
void subscription_purge(struct subscription *sub, struct hub *hub, uint64_t head);
void subscription_leave(struct subscription *sub, enum subscription_state state);

#endif
