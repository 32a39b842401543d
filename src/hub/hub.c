/* hub.c - the channels that somebody on this loop follows: their heads, who is told of news, when they are left. */
#include "hub/hub.h"

#include <stdlib.h>

#include "base/must.h"
#include "hub/hub_priv.h"

/* Heads asked for in one heartbeat, of channels whose log could not be read or has shown more than their head. */
enum { HUB_ASKED_MAX = 1000 };

/* Channels looked at in one heartbeat, to be folded: some milliseconds. */
enum { HUB_FOLDED_MAX = 4096 };

/* Folded entries stand in the same slot under another hash, so that a search tells which kind it has found. */
static const uint32_t HASH_FOLDED = UINT32_C(1) << 31;

void hub_init(struct hub *hub, const struct hub_port *port, void *ctx, const struct hub_limits *limits)
{
    *hub = (struct hub){ .port = port, .ctx = ctx, .limits = limits };
    near_map_init(&hub->channels);
    pool_init(&hub->pool, sizeof(struct channel));
    list_init(&hub->touched);
    list_init(&hub->lingering);
    list_init(&hub->hurried);
    list_init(&hub->resting);
}

void hub_fini(struct hub *hub)
{
    struct list *link;

    must(hub->subscription_count == 0);
    hub_turn_end(hub);
    while ((link = list_pop(&hub->lingering)) != NULL) {
        struct channel *channel = container_of(link, struct channel, link);
        near_map_take(&hub->channels, &channel->entry.node);
        channel_free(channel, &hub->pool);
    }
    near_map_fini(&hub->channels);
    pool_fini(&hub->pool);
}

static bool entry_has_name(const struct near_map_node *node, const void *key)
{
    return channel_name_eq(container_of(node, struct hub_entry, node)->name, key);
}

static struct hub_entry *hub_find_entry(const struct hub *hub, const struct channel_name *name, uint32_t hash)
{
    struct near_map_node *node = near_map_find(&hub->channels, hash, entry_has_name, name);
    return node == NULL ? NULL : container_of(node, struct hub_entry, node);
}

static bool entry_is_folded(const struct hub_entry *entry)
{
    return entry->node.hash != (uint32_t)entry->name->hash;
}

static struct channel *hub_find_channel(const struct hub *hub, const struct channel_name *name)
{
    struct hub_entry *entry = hub_find_entry(hub, name, (uint32_t)name->hash);
    return entry == NULL ? NULL : container_of(entry, struct channel, entry);
}

static struct subscription *hub_find_folded(const struct hub *hub, const struct channel_name *name)
{
    struct hub_entry *entry = hub_find_entry(hub, name, (uint32_t)name->hash ^ HASH_FOLDED);
    return entry == NULL ? NULL : container_of(entry, struct subscription, entry);
}

static struct channel *hub_find(struct hub *hub, const struct channel_name *name)
{
    struct channel      *channel = hub_find_channel(hub, name);
    struct subscription *folded  = channel != NULL ? NULL : hub_find_folded(hub, name);

    return folded == NULL ? channel : hub_unfold(hub, folded);
}

/* NULL also if the channel is folded and this is no news: it stays folded. */
static struct channel *hub_find_for_news(struct hub *hub, const struct channel_name *name, uint64_t epoch, uint64_t seq)
{
    struct channel      *channel = hub_find_channel(hub, name);
    struct subscription *folded  = channel != NULL ? NULL : hub_find_folded(hub, name);

    if (folded == NULL)
        return channel;
    return folded->folded_epoch == epoch && seq < folded->next ? NULL : hub_unfold(hub, folded);
}

/* --- folding ---
 *
 *     unfolded   hub.channels ──► channel ◄──► subscription          epoch, head, window, subscriptions
 *     folded     hub.channels ──► subscription                       epoch; its cursor is the head
 *
 * What the log keeps at its beginning is forgotten: from 1 on is what a channel says that knows no better, as the log may be
 * trimmed at any time. */

static struct subscription *channel_only(const struct channel *channel)
{
    return container_of(near_list_next(&channel->subs), struct subscription, in_channel);
}

static bool channel_may_fold(const struct channel *channel)
{
    return channel->sub_count == 1 && channel_is_known(channel) && !channel->is_asked && channel->window == NULL &&
           subscription_may_fold(channel_only(channel));
}

/* In no list. */
static void channel_fold(struct channel *channel, struct hub *hub)
{
    struct subscription *sub = channel_only(channel);

    near_list_take(&sub->in_channel);
    near_map_take(&hub->channels, &channel->entry.node);
    sub->entry.name   = channel->entry.name;
    sub->folded_epoch = channel->epoch;
    sub->is_folded    = true;
    near_map_add(&hub->channels, &sub->entry.node, (uint32_t)sub->entry.name->hash ^ HASH_FOLDED);
    pool_give(&hub->pool, channel);
}

struct channel *hub_unfold(struct hub *hub, struct subscription *sub)
{
    struct channel *channel = channel_new(sub->entry.name, &hub->pool);

    must(sub->is_folded);
    near_map_take(&hub->channels, &sub->entry.node);
    channel_name_unref(sub->entry.name);
    channel->epoch     = sub->folded_epoch;
    channel->first     = 1;
    channel->head      = sub->next - 1;
    channel->sub_count = 1;
    sub->is_folded     = false;
    sub->more          = NULL;
    sub->channel       = near_to(channel);
    near_list_push(&channel->subs, &sub->in_channel);
    near_map_add(&hub->channels, &channel->entry.node, (uint32_t)channel->entry.name->hash);
    hub_rest(hub, channel);
    return channel;
}

/* --- where a channel stands: touched, lingering, hurried, resting, or in no list ------------------------------------- */

void hub_rest(struct hub *hub, struct channel *channel)
{
    if (channel->sub_count > 1 || channel->is_touched || channel->is_lingering || channel->is_hurried)
        return;
    channel->since = (uint32_t)hub->now;
    list_take(&channel->link);
    list_push(&hub->resting, &channel->link);
}

/* It has no news and is not lonely. */
static void hub_put_back(struct hub *hub, struct channel *channel)
{
    list_take(&channel->link);
    hub->lingering_count -= channel->is_lingering;
    channel->is_touched = channel->is_lingering = false;
    if (channel->is_hurried)
        list_push(&hub->hurried, &channel->link);
    else
        hub_rest(hub, channel);
}

void hub_ask(struct hub *hub, struct channel *channel)
{
    if (channel->is_asked)
        return;
    channel->is_asked = true;
    hub->question++;
    if (!channel_is_known(channel))
        channel->question = hub->question;
    hub->port->follow(hub->ctx, channel->entry.name, hub->question);
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
    near_map_add(&hub->channels, &channel->entry.node, (uint32_t)name->hash);
    return channel;
}

static void hub_leave(struct hub *hub, struct channel *channel)
{
    hub->port->unfollow(hub->ctx, channel->entry.name);
    list_take(&channel->link);
    hub->lingering_count -= channel->is_lingering;
    near_map_take(&hub->channels, &channel->entry.node);
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
    channel->since    = (uint32_t)now;
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
        if ((msec)((uint32_t)now - channel->since) < hub->limits->linger_ms)
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

/* What can't be folded now rests on. */
void hub_fold(struct hub *hub, msec now)
{
    hub->now = now;

    const struct list *last = hub->resting.prev, *link = NULL;

    for (size_t count = 0; count < HUB_FOLDED_MAX && link != last; count++) {
        link                    = hub->resting.next;
        struct channel *channel = container_of(hub->resting.next, struct channel, link);
        if (link == &hub->resting || (msec)((uint32_t)hub->now - channel->since) < hub->limits->quiet_ms)
            return;
        list_take(&channel->link);
        if (channel_may_fold(channel))
            channel_fold(channel, hub);
        else
            hub_rest(hub, channel);
    }
}

void hub_tick(struct hub *hub, msec now)
{
    hub_tick_lingering(hub, now);
    hub_tick_hurried(hub);
    hub_fold(hub, now);
}

/* --- what comes in ------------------------------------------------------------------------------------------------ */

/* The head has moved: a subscription that is behind looks again. */
static void channel_wake_placed(struct channel *channel, struct hub *hub)
{
    for (struct near_list *link = near_list_next(&channel->subs); link != &channel->subs; link = near_list_next(link)) {
        struct subscription *sub = container_of(link, struct subscription, in_channel);
        if (subscription_is_behind(sub))
            subscription_say_ready(sub, hub);
    }
}

/* The channel's head is answered: a subscription that waits for a place gets one, unless it needs a later answer. */
static void channel_place_joining(struct channel *channel, struct hub *hub)
{
    for (struct near_list *link = near_list_next(&channel->subs); link != &channel->subs; link = near_list_next(link)) {
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
    for (struct near_list *link = near_list_next(&channel->subs); link != &channel->subs; link = near_list_next(link)) {
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
    if (!list_is_linked(&channel->link))
        hub_rest(hub, channel);
}

void hub_head_moved(struct hub *hub, const struct channel_name *name, uint64_t epoch, uint64_t head)
{
    struct channel *channel = hub_find_for_news(hub, name, epoch, head);

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
    struct channel *channel = hub_find_for_news(hub, name, epoch, head);

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
    for (struct near_list *link = near_list_next(&channel->subs); link != &channel->subs; link = near_list_next(link))
        subscription_purge(container_of(link, struct subscription, in_channel), hub, head);
}

void hub_deliver(struct hub *hub, struct message *message)
{
    struct channel *channel = hub_find_for_news(hub, message->channel, message->epoch, message->seq);

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
        for (struct near_list *link = near_list_next(&channel->subs); link != &channel->subs; link = near_list_next(link)) {
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

/* visit() may close the subscription that it is told of. */
static void channel_visit(const struct channel *channel, void (*visit)(struct subscription *sub, void *ctx), void *ctx)
{
    for (struct near_list *at = near_list_next(&channel->subs), *next; at != &channel->subs; at = next) {
        next = near_list_next(at);
        visit(container_of(at, struct subscription, in_channel), ctx);
    }
}

static void entry_visit(struct hub_entry *entry, void (*visit)(struct subscription *sub, void *ctx), void *ctx)
{
    if (entry_is_folded(entry))
        visit(container_of(entry, struct subscription, entry), ctx);
    else
        channel_visit(container_of(entry, struct channel, entry), visit, ctx);
}

void hub_visit(const struct hub *hub, const struct channel_name *name,
               void (*visit)(struct subscription *sub, void *ctx), void *ctx)
{
    struct hub_entry *entry = hub_find_entry(hub, name, (uint32_t)name->hash);

    if (entry == NULL)
        entry = hub_find_entry(hub, name, (uint32_t)name->hash ^ HASH_FOLDED);
    if (entry != NULL)
        entry_visit(entry, visit, ctx);
}

size_t hub_walk(const struct hub *hub, size_t slot, void (*visit)(struct subscription *sub, void *ctx), void *ctx)
{
    if (slot >= hub->channels.slot_count)
        return 0;
    for (struct near_map_node *node = near_map_first(&hub->channels, slot); node != NULL; node = near_map_next(node))
        entry_visit(container_of(node, struct hub_entry, node), visit, ctx);
    return slot + 1 >= hub->channels.slot_count ? 0 : slot + 1;
}

size_t hub_subscriber_count(const struct hub *hub, const struct channel_name *name)
{
    const struct channel *channel = hub_find_channel(hub, name);

    return channel != NULL ? channel->sub_count : hub_find_folded(hub, name) != NULL;
}
