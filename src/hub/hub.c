#include "hub/hub.h"

#include <stdlib.h>

#include "base/must.h"
#include "hub/channel.h"

enum subscription_state {
    SUB_JOINING,  /* the channel has not answered yet */
    SUB_FIRST,    /* placed at the first kept message; if retention has moved on since, that is no gap */
    SUB_PLACED,   /* `next` is a place in the channel's log */
    SUB_AHEAD,    /* … but the reader claimed to have more than there is: to be told first */
    SUB_EPOCH,    /* … but the reader's place was in another life of the log: to be told first */
};

/* Heads asked anew in one beat. */
enum { ROUND_COUNT_MAX = 1000 };

/* Part of the log, read for one subscription. */
struct page {
    size_t       count, at;
    struct entry entries[];
};

static void page_free(struct page *page)
{
    if (page == NULL)
        return;
    for (size_t i = page->at; i < page->count; i++)
        message_unref(page->entries[i].message);
    free(page);
}

void hub_init(struct hub *hub, const struct hub_port *port, void *ctx, const struct hub_limits *limits)
{
    *hub = (struct hub){ .port = port, .ctx = ctx, .limits = limits };
    map_init(&hub->channels);
    pool_init(&hub->pool, sizeof(struct channel));
    list_init(&hub->touched);
    list_init(&hub->lingering);
    list_init(&hub->round);
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

/* --- channels of the hub --- */

static bool channel_has_name(const struct map_node *node, const void *key)
{
    return channel_name_eq(container_of(node, struct channel, node)->name, key);
}

static struct channel *hub_find(const struct hub *hub, const struct channel_name *name)
{
    struct map_node *node = map_find(&hub->channels, name->hash, channel_has_name, name);
    return node == NULL ? NULL : container_of(node, struct channel, node);
}

/* What is the head now? One question a channel at a time. */
static void hub_ask(struct hub *hub, struct channel *channel)
{
    if (channel->is_asked)
        return;
    channel->is_asked = true;
    hub->port->follow(hub->ctx, channel->name);
}

/* Where a channel stands that has no news and is not lonely. */
static void hub_put_in_round(struct hub *hub, struct channel *channel)
{
    list_take(&channel->link);
    hub->lingering_count -= channel->is_lingering;
    list_push(channel->is_hurried ? hub->round.next : &hub->round, &channel->link);
    channel->is_hurried = channel->is_touched = channel->is_lingering = false;
}

static struct channel *hub_join(struct hub *hub, struct channel_name *name)
{
    struct channel *channel = hub_find(hub, name);

    if (channel != NULL) {
        if (channel->is_lingering)
            hub_put_in_round(hub, channel);
        return channel;
    }
    channel = channel_new(name, &hub->pool);
    map_add(&hub->channels, &channel->node, name->hash);
    hub_put_in_round(hub, channel);
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

static void hub_linger(struct hub *hub, struct channel *channel, msec now)
{
    list_take(&channel->link);
    channel->is_touched = false;
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

/* Whose answer is under way stays until it has come: followed anew, it would take that for the answer to its new
 * question. */
static void hub_tend_lingering(struct hub *hub, msec now)
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

static void hub_tend_round(struct hub *hub)
{
    struct list *last = hub->round.prev, *link = NULL;

    for (size_t count = 0; count < ROUND_COUNT_MAX && link != last; count++) {
        link = list_pop(&hub->round);
        if (link == NULL)
            return;
        list_push(&hub->round, link);
        hub_ask(hub, container_of(link, struct channel, link));
    }
}

void hub_tick(struct hub *hub, msec now)
{
    hub_tend_lingering(hub, now);
    hub_tend_round(hub);
}

/* To the front of the round: somebody waits for it. */
static void hub_hurry(struct hub *hub, struct channel *channel)
{
    channel->is_hurried = true;
    if (!channel->is_touched && !channel->is_lingering)
        hub_put_in_round(hub, channel);
}

static void hub_touch(struct hub *hub, struct channel *channel)
{
    if (channel->is_touched || channel->is_lingering)
        return;
    channel->is_touched = true;
    list_take(&channel->link);
    list_push(&hub->touched, &channel->link);
}

/* --- subscriptions --- */

static void subscription_say_ready(struct subscription *sub, struct hub *hub)
{
    if (sub->is_ready)
        return;
    sub->is_ready = true;
    hub->port->ready(hub->ctx, sub);
}

/* Does the reader speak of what this loop has not heard of? Perhaps it's this loop that is late: another one may have
 * delivered it. */
static bool subscription_is_doubtful(const struct subscription *sub)
{
    const struct channel *channel = sub->channel;

    return sub->start_kind == START_AFTER &&
           ((sub->epoch != 0 && sub->epoch != channel->epoch) || sub->next - 1 > channel->head);
}

/* The channel has answered: where does the reader stand? */
static void subscription_place(struct subscription *sub)
{
    const struct channel *channel = sub->channel;
    uint64_t              seq     = sub->next - 1;

    sub->state = SUB_PLACED;
    switch ((enum start_kind)sub->start_kind) {
    case START_NOW:
        sub->next = channel->head + 1;
        break;
    case START_LAST:
        sub->next = channel->head < seq ? 1 : channel->head - seq + 1;
        if (sub->next < channel->first)
            sub->next = channel->first;
        sub->state = SUB_FIRST;
        break;
    case START_AFTER:
        if (sub->epoch != 0 && sub->epoch != channel->epoch) {
            sub->state = SUB_EPOCH;
            return;  /* cursor and epoch stay what they were until it is told */
        }
        if (seq > channel->head) {
            sub->state   = SUB_AHEAD;
            sub->claimed = seq;
            sub->next    = channel->head + 1;
        } else if (seq == 0 && sub->epoch == 0) {
            sub->next  = channel->first;
            sub->state = SUB_FIRST;
        } else {
            sub->next = seq + 1;
        }
        break;
    }
    sub->epoch = channel->epoch;
}

void subscription_open(struct subscription *sub, struct hub *hub, struct channel_name *name, struct start start,
                       void *owner, msec now)
{
    (void)now;
    must(sub->channel == NULL);
    sub->channel    = hub_join(hub, name);
    sub->owner      = owner;
    sub->start_kind = (uint8_t)start.kind;
    sub->next       = start.seq + 1;
    sub->epoch      = start.epoch;
    sub->state      = SUB_JOINING;
    sub->answers    = sub->channel->is_asked ? 2 : 1;
    list_push(&sub->channel->subs, &sub->in_channel);
    sub->channel->sub_count++;
    hub->subscription_count++;
    if (channel_is_known(sub->channel) && !subscription_is_doubtful(sub)) {
        subscription_place(sub);
        subscription_say_ready(sub, hub);
    } else {
        hub_ask(hub, sub->channel);
    }
}

/* To another state; what was claimed makes place for pages. */
static void subscription_leave(struct subscription *sub, enum subscription_state state)
{
    if (sub->state == SUB_AHEAD)
        sub->page = NULL;
    sub->state = (uint8_t)state;
}

void subscription_let_go(struct subscription *sub)
{
    if (sub->state == SUB_AHEAD)
        return;  /* nothing is read before that is told */
    page_free(sub->page);
    sub->page = NULL;
}

void subscription_close(struct subscription *sub, struct hub *hub, msec now)
{
    struct channel *channel = sub->channel;

    if (channel == NULL)
        return;
    if (sub->ticket != NULL)
        hub->port->cancel(hub->ctx, sub->ticket);
    sub->ticket = NULL;
    subscription_let_go(sub);
    list_take(&sub->in_channel);
    sub->channel = NULL;
    hub->subscription_count--;
    if (--channel->sub_count == 0)
        hub_linger(hub, channel, now);
}

bool subscription_is_placed(const struct subscription *sub)
{
    return sub->state != SUB_JOINING;
}

struct channel_name *subscription_name(const struct subscription *sub)
{
    return sub->channel->name;
}

uint64_t subscription_epoch(const struct subscription *sub)
{
    return sub->channel->epoch;
}

uint64_t subscription_head(const struct subscription *sub)
{
    return sub->channel->head;
}

uint64_t subscription_first_head(const struct subscription *sub)
{
    bool begins_at_head = sub->state == SUB_AHEAD || (sub->state == SUB_PLACED && sub->start_kind == START_NOW);
    return begins_at_head ? sub->next - 1 : sub->channel->head;
}

bool subscription_is_behind(const struct subscription *sub)
{
    switch ((enum subscription_state)sub->state) {
    case SUB_JOINING: return false;
    case SUB_AHEAD:
    case SUB_EPOCH: return true;
    case SUB_FIRST:
    case SUB_PLACED: return sub->next <= sub->channel->head;
    }
    return false;
}

static struct page *subscription_page(const struct subscription *sub)
{
    return sub->state == SUB_AHEAD ? NULL : sub->page;
}

bool subscription_is_lean(const struct subscription *sub)
{
    return subscription_page(sub) == NULL;
}

/* The entry that covers `seq`, from the window or the page. */
static bool subscription_find(struct subscription *sub, uint64_t seq, struct entry *ret_entry)
{
    struct message *live = channel_window_at(sub->channel, seq);

    if (live != NULL) {
        *ret_entry = (struct entry){ .message = live };
        return true;
    }
    const struct page *page = subscription_page(sub);
    for (size_t i = page == NULL ? 0 : page->at; page != NULL && i < page->count; i++) {
        const struct entry *entry = &page->entries[i];
        uint64_t            first = entry->message != NULL ? entry->message->seq : entry->gap.from;
        if (first <= seq && seq <= entry_last(entry)) {
            *ret_entry = *entry;
            return true;
        }
        if (first > seq)
            break;
    }
    return false;
}

/* One gap over all neighbours whose time has run out for the same reason. */
static void subscription_join_past(struct subscription *sub, msec wall, enum gap_why why, struct entry *entry)
{
    struct entry following;
    struct gap   gap = { entry->message->seq, entry->message->seq, why };
    enum gap_why its_why;

    while (subscription_find(sub, gap.to + 1, &following) && following.message != NULL &&
           message_is_past(following.message, wall, &its_why) && its_why == why)
        gap.to++;
    *entry = (struct entry){ .gap = gap };
}

static enum look_result subscription_look_told_first(const struct subscription *sub, struct entry *ret_entry)
{
    const struct channel *channel = sub->channel;
    struct gap            gap;

    if (sub->state == SUB_AHEAD)
        gap = (struct gap){ sub->next, sub->claimed, GAP_AHEAD };
    else
        /* Of the new log, what stands before its first kept message is not to be had; often that is nothing. */
        gap = (struct gap){ 1, channel->first == 0 ? 0 : channel->first - 1, GAP_EPOCH };
    *ret_entry = (struct entry){ .gap = gap };
    return LOOK_ENTRY;
}

/* Who asked for all that is kept has lost nothing if the log begins later than it did a moment ago. */
static void subscription_skip_trimmed(struct subscription *sub, msec wall)
{
    struct entry entry;
    enum gap_why why;

    while (subscription_find(sub, sub->next, &entry)) {
        if (entry.message != NULL && message_is_past(entry.message, wall, &why))
            subscription_join_past(sub, wall, why, &entry);
        if (entry.message != NULL || entry.gap.why != GAP_TRIMMED)
            return;
        subscription_step(sub, &entry);
        sub->state = SUB_FIRST;  /* still: it has been given nothing */
    }
}

enum look_result subscription_look(struct subscription *sub, msec wall, struct entry *ret_entry)
{
    struct channel *channel = sub->channel;
    enum gap_why    why;

    sub->is_ready = false;
    if (sub->state == SUB_JOINING)
        return LOOK_WAIT;
    if (sub->state == SUB_AHEAD || sub->state == SUB_EPOCH)
        return subscription_look_told_first(sub, ret_entry);
    if (sub->state == SUB_FIRST)
        subscription_skip_trimmed(sub, wall);
    if (sub->next > channel->head) {
        sub->state = SUB_PLACED;  /* it has all that is kept; what comes from now on would be missed */
        return LOOK_WAIT;
    }
    if (subscription_find(sub, sub->next, ret_entry)) {
        /* A gap that begins earlier than the cursor: what the reader has seen is not missing. */
        if (ret_entry->message == NULL && ret_entry->gap.from < sub->next)
            ret_entry->gap.from = sub->next;
        else if (ret_entry->message != NULL && message_is_past(ret_entry->message, wall, &why))
            subscription_join_past(sub, wall, why, ret_entry);
        return LOOK_ENTRY;
    }
    return subscription_is_reading(sub) ? LOOK_READING : LOOK_UNREAD;
}

bool subscription_is_reading(const struct subscription *sub)
{
    return sub->ticket != NULL;
}

void subscription_read(struct subscription *sub, struct hub *hub)
{
    must(!subscription_is_reading(sub));
    subscription_let_go(sub);
    hub->port->read(hub->ctx, sub, sub->next - 1, &sub->ticket);
}

/* Lets go of what stands before the cursor. */
static void subscription_trim_page(struct subscription *sub)
{
    struct page *page = sub->page;

    while (page != NULL && page->at < page->count && entry_last(&page->entries[page->at]) < sub->next)
        message_unref(page->entries[page->at++].message);
    if (page != NULL && page->at == page->count)
        subscription_let_go(sub);
}

void subscription_step(struct subscription *sub, const struct entry *entry)
{
    if (entry->message == NULL && entry->gap.why == GAP_AHEAD)
        sub->next = entry->gap.from;
    else
        sub->next = entry_last(entry) + 1;
    subscription_leave(sub, SUB_PLACED);
    sub->epoch = sub->channel->epoch;
    subscription_trim_page(sub);
}

struct subscription_mark subscription_mark(const struct subscription *sub)
{
    must(sub->state != SUB_JOINING);
    return (struct subscription_mark){
        .next    = sub->next,
        .epoch   = sub->epoch,
        .claimed = sub->state == SUB_AHEAD ? sub->claimed : 0,
        .state   = sub->state,
    };
}

void subscription_rewind(struct subscription *sub, const struct subscription_mark *mark)
{
    must(mark->state == SUB_EPOCH || mark->next <= sub->next);
    sub->next  = mark->next;
    sub->epoch = mark->epoch;
    if (sub->state == SUB_EPOCH)
        return;
    if (mark->state == SUB_AHEAD && sub->state != SUB_AHEAD) {
        subscription_let_go(sub);  /* what was claimed takes the page's place */
        sub->claimed = mark->claimed;
    }
    sub->state = mark->state;
}

bool subscription_is_plain(const struct subscription *sub)
{
    return sub->state == SUB_PLACED && sub->page == NULL && sub->ticket == NULL;
}

void subscription_skip(struct subscription *sub, uint64_t next)
{
    must(subscription_is_plain(sub) && next >= sub->next && next <= sub->channel->head + 1);
    sub->next     = next;
    sub->is_ready = false;
}

/* --- what comes in --- */

/* Places it, unless what it says can only be judged by an answer that was asked for after it came. */
static void subscription_hear(struct subscription *sub, struct hub *hub)
{
    if (sub->answers > 0)
        sub->answers--;
    if (sub->answers > 0 && subscription_is_doubtful(sub)) {
        hub_ask(hub, sub->channel);
        return;
    }
    subscription_place(sub);
    subscription_say_ready(sub, hub);
}

/* The head is known anew: who waits for a place gets it, and who is behind looks again. */
static void channel_wake_all(struct channel *channel, struct hub *hub)
{
    for (struct list *link = channel->subs.next; link != &channel->subs; link = link->next) {
        struct subscription *sub = container_of(link, struct subscription, in_channel);
        if (sub->state == SUB_JOINING)
            subscription_hear(sub, hub);
        else if (subscription_is_behind(sub))
            subscription_say_ready(sub, hub);
    }
}

/* The log began a new life under its readers' feet: everyone is told, whatever they had. */
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
    channel_window_clear(channel);  /* what it held is no longer the end of the log */
    channel->head = head;
}

void hub_followed(struct hub *hub, const struct channel_name *name, uint64_t epoch, uint64_t first, uint64_t head)
{
    struct channel *channel = hub_find(hub, name);
    if (channel == NULL)
        return;

    channel->is_asked = false;
    if (channel_is_known(channel) && channel->epoch != epoch)
        channel_begin_epoch(channel);
    channel->epoch = epoch;
    channel->first = first;
    channel_hear_head(channel, head);
    channel_wake_all(channel, hub);
}

void hub_deliver(struct hub *hub, struct message *message)
{
    struct channel *channel = hub_find(hub, message->channel);

    /* One that overtook the answer to follow() is in the log by the time of that answer. */
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
    hub_touch(hub, channel);
}

static struct page *page_new(struct entry *entries, size_t count)
{
    struct page *page = malloc(sizeof *page + count * sizeof page->entries[0]);

    must(page != NULL);
    page->count = count;
    page->at    = 0;
    memcpy(page->entries, entries, count * sizeof page->entries[0]);
    return page;
}

void subscription_read_done(struct subscription *sub, struct hub *hub, uint64_t epoch, uint64_t head,
                            struct entry **entries, size_t entry_count)
{
    struct channel *channel = sub->channel;
    struct page    *page    = entry_count == 0 ? NULL : page_new(*entries, entry_count);

    free(*entries);
    *entries    = NULL;
    sub->ticket = NULL;
    if (page == NULL)
        hub_hurry(hub, channel);
    if (epoch != 0 && epoch != channel->epoch) {
        page_free(page);
        hub_ask(hub, channel);
        return;
    }
    if (page == NULL)
        return;
    if (sub->state == SUB_AHEAD) {
        /* It was rewound to before a gap that must be told first, and the gap's claim stands where a page would. */
        page_free(page);
        return;
    }
    subscription_let_go(sub);
    sub->page = page;
    subscription_trim_page(sub);
    /* What it knows of is on its way here, and then read from it. Heard of now it would be old news when it comes, and
     * everybody on this loop would have to read it. Should it be lost, the next beat asks. */
    if (head > channel->head)
        hub_hurry(hub, channel);
    /* Also to who heard it of news and has not looked since: it holds a page now, which it may want to let go. */
    sub->is_ready = false;
    subscription_say_ready(sub, hub);
}

void hub_tell(struct hub *hub)
{
    for (struct list *at = hub->touched.next; at != &hub->touched; at = at->next) {
        struct channel *channel = container_of(at, struct channel, link);
        for (struct list *link = channel->subs.next; link != &channel->subs; link = link->next) {
            struct subscription *sub = container_of(link, struct subscription, in_channel);
            /* Who has no place yet can't look; told now, it would not be told when it gets one. */
            if (sub->state != SUB_JOINING)
                subscription_say_ready(sub, hub);
        }
    }
}

void hub_turn_end(struct hub *hub)
{
    struct list *link;

    while ((link = list_pop(&hub->touched)) != NULL) {
        struct channel *channel = container_of(link, struct channel, link);
        hub_put_in_round(hub, channel);
        channel_window_clear(channel);
    }
}

size_t hub_channel_count(const struct hub *hub)
{
    return hub->channels.count;
}

size_t hub_subscriber_count(const struct hub *hub, const struct channel_name *name)
{
    const struct channel *channel = hub_find(hub, name);
    return channel == NULL ? 0 : channel->sub_count;
}
