/* hub.c - the channels that somebody on this loop follows: their heads, who is told of news, when they are left. */
#include "hub/hub.h"

#include <stdlib.h>

#include "base/must.h"
#include "hub/hub_priv.h"

/* Heads asked for in one heartbeat, of channels whose log could not be read or has shown more than their head. */
enum { HUB_ASKED_MAX = 1000 };

void hub_init(struct hub *hub, const struct hub_port *port, void *ctx, const struct hub_limits *limits)
{
    *hub = (struct hub){ .port = port, .ctx = ctx, .limits = limits };
    map_init(&hub->channels);
    pool_init(&hub->pool, sizeof(struct channel));
    list_init(&hub->touched);
    list_init(&hub->lingering);
    list_init(&hub->hurried);
}

void hub_fini(struct hub *hub)
{
    struct list *link;

    must(hub->subscription_count == 0);
    hub_turn_end(hub);
    while ((link = list_pop(&hub->lingering)) != NULL) {
        struct channel *channel = container_of(link, struct channel, link);
        map_take(&hub->channels, &channel->node);
        channel_free(channel, &hub->pool);
    }
    map_fini(&hub->channels);
    pool_fini(&hub->pool);
}

static bool channel_has_name(const struct map_node *node, const void *key)
{
    return channel_name_eq(container_of(node, struct channel, node)->name, key);
}

static struct channel *hub_find(const struct hub *hub, const struct channel_name *name)
{
    struct map_node *node = map_find(&hub->channels, name->hash, channel_has_name, name);
    return node == NULL ? NULL : container_of(node, struct channel, node);
}

/* --- where a channel stands: touched, lingering, hurried, or in no list
 * --------------------------------------------- */

/* It has no news and is not lonely. */
static void hub_put_back(struct hub *hub, struct channel *channel)
{
    list_take(&channel->link);
    hub->lingering_count -= channel->is_lingering;
    channel->is_touched = channel->is_lingering = false;
    if (channel->is_hurried)
        list_push(&hub->hurried, &channel->link);
}

void hub_ask(struct hub *hub, struct channel *channel)
{
    if (channel->is_asked)
        return;
    channel->is_asked = true;
    hub->question++;
    if (!channel_is_known(channel))
        channel->question = hub->question;
    hub->port->follow(hub->ctx, channel->name, hub->question);
}

void hub_ask_soon(struct hub *hub, struct channel *channel)
{
    if (channel->is_hurried)
        return;
    channel->is_hurried = true;
    if (!channel->is_touched && !channel->is_lingering)
        hub_put_back(hub, channel);
}

static void hub_touch(struct hub *hub, struct channel *channel)
{
    if (channel->is_touched || channel->is_lingering)
        return;
    channel->is_touched = true;
    list_take(&channel->link);
    list_push(&hub->touched, &channel->link);
}

struct channel *hub_join(struct hub *hub, struct channel_name *name)
{
    struct channel *channel = hub_find(hub, name);

    if (channel != NULL) {
        if (channel->is_lingering)
            hub_put_back(hub, channel);
        return channel;
    }
    channel = channel_new(name, &hub->pool);
    map_add(&hub->channels, &channel->node, name->hash);
    return channel;
}

static void hub_leave(struct hub *hub, struct channel *channel)
{
    hub->port->unfollow(hub->ctx, channel->name);
    list_take(&channel->link);
    hub->lingering_count -= channel->is_lingering;
    map_take(&hub->channels, &channel->node);
    channel_free(channel, &hub->pool);
}

static struct channel *hub_oldest_lingering(const struct hub *hub)
{
    return container_of(hub->lingering.next, struct channel, link);
}

void hub_linger(struct hub *hub, struct channel *channel, msec now)
{
    list_take(&channel->link);
    channel->is_touched = channel->is_hurried = false;
    channel_window_clear(channel);
    if (hub->limits->linger_ms == 0 && !channel->is_asked) {
        hub_leave(hub, channel);
        return;
    }
    channel->is_lingering = true;
    channel->lonely_at    = (uint32_t)now;
    list_push(&hub->lingering, &channel->link);
    if (++hub->lingering_count > HUB_LINGERING_MAX)
        hub_leave(hub, hub_oldest_lingering(hub));
}

/* --- the heartbeat ------------------------------------------------------------------------------------------------ */

/* A channel with a question under way stays until the answer has come: who follows it meanwhile has a question less to
 * wait for. */
static void hub_tick_lingering(struct hub *hub, msec now)
{
    for (struct list *link = hub->lingering.next, *next; link != &hub->lingering; link = next) {
        struct channel *channel = container_of(link, struct channel, link);
        next                    = link->next;
        if ((msec)((uint32_t)now - channel->lonely_at) < hub->limits->linger_ms)
            return;
        if (!channel->is_asked)
            hub_leave(hub, channel);
    }
}

static void hub_tick_hurried(struct hub *hub)
{
    for (size_t count = 0; count < HUB_ASKED_MAX; count++) {
        struct list *link = list_pop(&hub->hurried);
        if (link == NULL)
            return;
        struct channel *channel = container_of(link, struct channel, link);
        channel->is_hurried     = false;
        hub_ask(hub, channel);
    }
}

void hub_tick(struct hub *hub, msec now)
{
    hub_tick_lingering(hub, now);
    hub_tick_hurried(hub);
}

/* --- what comes in ------------------------------------------------------------------------------------------------ */

/* The head has moved: a subscription that is behind looks again. */
static void channel_wake_placed(struct channel *channel, struct hub *hub)
{
    for (struct list *link = channel->subs.next; link != &channel->subs; link = link->next) {
        struct subscription *sub = container_of(link, struct subscription, in_channel);
        if (subscription_is_behind(sub))
            subscription_say_ready(sub, hub);
    }
}

/* The channel's head is answered: a subscription that waits for a place gets one, unless it needs a later answer. */
static void channel_place_joining(struct channel *channel, struct hub *hub)
{
    for (struct list *link = channel->subs.next; link != &channel->subs; link = link->next) {
        struct subscription *sub = container_of(link, struct subscription, in_channel);
        if (sub->state == SUB_JOINING)
            subscription_hear(sub, hub);
    }
}

/* The log has begun a new life while it was read: every reader is told, whatever it had. */
static void channel_begin_epoch(struct channel *channel)
{
    channel_window_clear(channel);
    channel->head = 0;
    for (struct list *link = channel->subs.next; link != &channel->subs; link = link->next) {
        struct subscription *sub = container_of(link, struct subscription, in_channel);
        subscription_let_go(sub);
        if (sub->state != SUB_JOINING)
            subscription_leave(sub, SUB_EPOCH);
    }
}

static void channel_hear_head(struct channel *channel, uint64_t head)
{
    if (head <= channel->head)
        return;
    channel_window_clear(channel);  /* the window is no longer the end of the log */
    channel->head = head;
}

void hub_followed(struct hub *hub, const struct channel_name *name, uint64_t question, uint64_t epoch, uint64_t first,
                  uint64_t head)
{
    struct channel *channel = hub_find(hub, name);
    if (channel == NULL || (!channel_is_known(channel) && channel->question != question))
        return;

    must(epoch != 0);
    channel->is_asked = false;
    if (channel_is_known(channel) && channel->epoch != epoch)
        channel_begin_epoch(channel);
    /* An answer that a purge has overtaken says an old first seq. */
    if (!channel_is_known(channel) || channel->epoch != epoch || channel->first < first)
        channel->first = first;
    channel->epoch = epoch;
    channel_hear_head(channel, head);
    channel_wake_placed(channel, hub);
    channel_place_joining(channel, hub);
}

void hub_head_moved(struct hub *hub, const struct channel_name *name, uint64_t epoch, uint64_t head)
{
    struct channel *channel = hub_find(hub, name);

    /* Not answered yet: the answer under way is as recent. */
    if (channel == NULL || !channel_is_known(channel))
        return;
    if (epoch != channel->epoch) {
        hub_ask(hub, channel);
        return;
    }
    if (head <= channel->head)
        return;
    channel_hear_head(channel, head);
    channel_wake_placed(channel, hub);  /* who waits for an answer waits on: this may be older than its question */
}

void hub_purge(struct hub *hub, const struct channel_name *name, uint64_t epoch, uint64_t head)
{
    struct channel *channel = hub_find(hub, name);

    if (channel == NULL || !channel_is_known(channel))
        return;
    if (epoch != channel->epoch) {
        hub_ask(hub, channel);
        return;
    }
    channel_hear_head(channel, head);
    channel_window_drop(channel, head);
    if (channel->first <= head)
        channel->first = head + 1;
    for (struct list *link = channel->subs.next; link != &channel->subs; link = link->next)
        subscription_purge(container_of(link, struct subscription, in_channel), hub, head);
}

void hub_deliver(struct hub *hub, struct message *message)
{
    struct channel *channel = hub_find(hub, message->channel);

    /* A message that overtook the answer to follow() is in the log by the time of that answer. */
    if (channel == NULL || !channel_is_known(channel))
        return;
    if (message->epoch != channel->epoch) {
        hub_ask(hub, channel);
        return;
    }
    if (!channel_take_live(channel, message, hub->limits))
        return;
    if (channel->is_lingering)
        channel_window_clear(channel);
    channel->is_patient = message->waits_for_beat && (channel->is_patient || !channel->is_touched);
    hub_touch(hub, channel);
}

/* --- turns -------------------------------------------------------------------------------------------------------- */

void hub_tell(struct hub *hub)
{
    for (struct list *at = hub->touched.next; at != &hub->touched; at = at->next) {
        struct channel *channel = container_of(at, struct channel, link);
        for (struct list *link = channel->subs.next; link != &channel->subs; link = link->next) {
            struct subscription *sub = container_of(link, struct subscription, in_channel);
            /* A subscription without a place has nothing to look at. If ready() were called now, it would not be called
             * when the subscription gets its place. */
            if (sub->state == SUB_JOINING)
                continue;
            hub->is_patient = channel->is_patient;
            subscription_say_ready(sub, hub);
            if (channel->is_patient)
                sub->is_ready = false;  /* nobody will look before something else is ready, which has to be said again */
        }
    }
    hub->is_patient = false;
}

void hub_turn_end(struct hub *hub)
{
    struct list *link;

    while ((link = list_pop(&hub->touched)) != NULL) {
        struct channel *channel = container_of(link, struct channel, link);
        hub_put_back(hub, channel);
        channel_window_clear(channel);
    }
}

size_t hub_channel_count(const struct hub *hub)
{
    return hub->channels.count;
}

void hub_visit(const struct hub *hub, const struct channel_name *name,
               void (*visit)(struct subscription *sub, void *ctx), void *ctx)
{
    const struct channel *channel = hub_find(hub, name);

    if (channel == NULL)
        return;
    for (struct list *at = channel->subs.next, *next; at != &channel->subs; at = next) {
        next = at->next;
        visit(container_of(at, struct subscription, in_channel), ctx);
    }
}

size_t hub_walk(const struct hub *hub, size_t slot, void (*visit)(struct subscription *sub, void *ctx), void *ctx)
{
    if (slot >= hub->channels.slot_count)
        return 0;
    for (const struct map_node *node = hub->channels.slots[slot]; node != NULL; node = node->next) {
        const struct channel *channel = container_of(node, struct channel, node);
        for (const struct list *at = channel->subs.next; at != &channel->subs; at = at->next)
            visit(container_of(at, struct subscription, in_channel), ctx);
    }
    return slot + 1 >= hub->channels.slot_count ? 0 : slot + 1;
}

size_t hub_subscriber_count(const struct hub *hub, const struct channel_name *name)
{
    const struct channel *channel = hub_find(hub, name);
    return channel == NULL ? 0 : channel->sub_count;
}
