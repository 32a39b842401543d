/* subscription.c - a reader's cursor in a log, and the one rule: a subscription delivers message `cursor + 1` and
 * nothing else. */
#include <stdlib.h>

#include "base/must.h"
#include "hub/hub_priv.h"

/* A part of the log that was read for one subscription. */
struct hub_page {
    size_t       count, at;
    struct entry entries[];
};

/* What a subscription has that does not simply stand at its place in the life of the log that its channel is in. A subscription
 * that waits for news has none. */
struct subscription_more {
    void                *ticket;   /* of a read under way, else NULL */
    struct hub_page     *page;     /* what was read and not yet dealt out, else NULL */
    uint64_t             claimed;  /* SUB_AHEAD: what the reader said it had */
    uint64_t             epoch;    /* SUB_EPOCH: the life of the log that the cursor stands in; SUB_JOINING: start.epoch; else 0 */
    struct subscription *line;     /* the owner's, see subscription_line() */
};

static void page_free(struct hub_page *page)
{
    if (page == NULL)
        return;
    for (size_t i = page->at; i < page->count; i++)
        message_unref(page->entries[i].message);
    free(page);
}

/* Not of a folded one. NULL: it is not open. */
static struct channel *subscription_channel(const struct subscription *sub)
{
    return near_get(sub->channel);
}

/* NULL: it has none. */
static struct subscription_more *subscription_more(const struct subscription *sub)
{
    return sub->is_folded ? NULL : sub->more;
}

static struct subscription_more *subscription_need_more(struct subscription *sub)
{
    must(!sub->is_folded);
    if (sub->more != NULL)
        return sub->more;
    sub->more = calloc(1, sizeof *sub->more);
    must(sub->more != NULL);
    return sub->more;
}

static void subscription_drop_more_if_empty(struct subscription *sub)
{
    const struct subscription_more *more = subscription_more(sub);

    if (more == NULL || more->ticket != NULL || more->page != NULL || more->claimed != 0 || more->epoch != 0 ||
        more->line != NULL)
        return;
    free(sub->more);
    sub->more = NULL;
}

struct subscription *subscription_line(const struct subscription *sub)
{
    const struct subscription_more *more = subscription_more(sub);

    return more == NULL ? NULL : more->line;
}

void subscription_set_line(struct subscription *sub, struct subscription *behind)
{
    if (behind == NULL && subscription_more(sub) == NULL)
        return;
    subscription_need_more(sub)->line = behind;
    subscription_drop_more_if_empty(sub);
}

static struct hub_page *subscription_page(const struct subscription *sub)
{
    const struct subscription_more *more = subscription_more(sub);

    return more == NULL ? NULL : more->page;
}

/* Only two states stand in another life of the log than the channel. */
static bool subscription_has_epoch(enum subscription_state state)
{
    return state == SUB_JOINING || state == SUB_EPOCH;
}

uint64_t subscription_seen_epoch(const struct subscription *sub)
{
    if (!subscription_has_epoch((enum subscription_state)sub->state))
        return subscription_epoch(sub);
    return sub->more == NULL ? 0 : sub->more->epoch;
}

/* In SUB_EPOCH or SUB_JOINING. */
static void subscription_set_epoch(struct subscription *sub, uint64_t epoch)
{
    if (epoch == 0 && sub->more == NULL)
        return;
    subscription_need_more(sub)->epoch = epoch;
    subscription_drop_more_if_empty(sub);
}

static void subscription_set_page(struct subscription *sub, struct hub_page *page)
{
    if (page == NULL && subscription_more(sub) == NULL)
        return;
    page_free(subscription_need_more(sub)->page);
    sub->more->page = page;
    subscription_drop_more_if_empty(sub);
}

static void subscription_claim(struct subscription *sub, uint64_t claimed)
{
    subscription_need_more(sub)->claimed = claimed;
    subscription_drop_more_if_empty(sub);
}

void subscription_say_ready(struct subscription *sub, struct hub *hub)
{
    if (sub->is_ready)
        return;
    sub->is_ready = true;
    hub->port->ready(hub->ctx, sub);
}

/* --- its place in the log ------------------------------------------------------------------------------------- */

/* Does the reader name a place that this loop has not heard of? The reader may be right: another loop may have
 * delivered those messages already, and this loop is late. */
static bool subscription_is_doubtful(const struct subscription *sub)
{
    const struct channel *channel = subscription_channel(sub);
    uint64_t              epoch   = subscription_seen_epoch(sub);

    return sub->start_kind == START_AFTER &&
           ((epoch != 0 && epoch != channel->epoch) || sub->next - 1 > channel->head);
}

/* The channel has answered: where does the reader stand? */
static void subscription_place(struct subscription *sub)
{
    const struct channel *channel = subscription_channel(sub);
    uint64_t              seq     = sub->next - 1;
    uint64_t              epoch   = subscription_seen_epoch(sub);

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
        if (epoch != 0 && epoch != channel->epoch) {
            sub->state = SUB_EPOCH;
            return;  /* cursor and epoch stay what they were until it is told */
        }
        if (seq > channel->head) {
            sub->state = SUB_AHEAD;
            sub->next  = channel->head + 1;
            subscription_claim(sub, seq);
        } else if (seq == 0 && epoch == 0) {
            sub->next  = channel->first;
            sub->state = SUB_FIRST;
        } else {
            sub->next = seq + 1;
        }
        break;
    }
    subscription_set_epoch(sub, 0);
}

/* The head is known. Places the subscription, unless what its reader says can only be judged by an answer that was
 * asked for after the reader came. */
void subscription_hear(struct subscription *sub, struct hub *hub)
{
    if (sub->answers > 0)
        sub->answers--;
    if (sub->answers > 0 && subscription_is_doubtful(sub)) {
        hub_ask(hub, subscription_channel(sub));
        return;
    }
    subscription_place(sub);
    subscription_say_ready(sub, hub);
}

/* --- its life ------------------------------------------------------------------------------------------------ */

void subscription_open(struct subscription *sub, struct hub *hub, struct channel_name *name, struct start start,
                       void *owner)
{
    must(near_get(sub->channel) == NULL);
    sub->channel    = near_to(hub_join(hub, name));
    sub->owner      = near_to(owner);
    sub->start_kind = (uint8_t)start.kind;
    sub->next       = start.seq + 1;
    sub->state      = SUB_JOINING;
    subscription_set_epoch(sub, start.epoch);
    sub->answers    = subscription_channel(sub)->is_asked ? 2 : 1;
    near_list_push(&subscription_channel(sub)->subs, &sub->in_channel);
    subscription_channel(sub)->sub_count++;
    hub->subscription_count++;
    if (channel_is_known(subscription_channel(sub)) && !subscription_is_doubtful(sub)) {
        subscription_place(sub);
        subscription_say_ready(sub, hub);
    } else {
        hub_ask(hub, subscription_channel(sub));
    }
}

/* To another state, which keeps the life of the log that it stood in if it has one of its own. */
void subscription_leave(struct subscription *sub, enum subscription_state state)
{
    uint64_t epoch = subscription_has_epoch(state) ? subscription_seen_epoch(sub) : 0;

    if (sub->state == SUB_AHEAD)
        subscription_claim(sub, 0);
    sub->state = (uint8_t)state;
    subscription_set_epoch(sub, epoch);
}

void subscription_let_go(struct subscription *sub)
{
    subscription_set_page(sub, NULL);
}

static void subscription_cancel(struct subscription *sub, struct hub *hub)
{
    if (!subscription_is_reading(sub))
        return;
    hub->port->cancel(hub->ctx, sub->more->ticket);
    sub->more->ticket = NULL;
    subscription_drop_more_if_empty(sub);
}

void subscription_purge(struct subscription *sub, struct hub *hub, uint64_t head)
{
    if (sub->state == SUB_JOINING || sub->next > head)
        return;
    subscription_cancel(sub, hub);
    subscription_let_go(sub);
    subscription_say_ready(sub, hub);
}

void subscription_close(struct subscription *sub, struct hub *hub, msec now)
{
    struct channel *channel = sub->is_folded ? hub_unfold(hub, sub) : subscription_channel(sub);

    if (channel == NULL)
        return;
    subscription_cancel(sub, hub);
    subscription_let_go(sub);
    free(sub->more);
    sub->more = NULL;
    near_list_take(&sub->in_channel);
    sub->channel = near_to(NULL);
    hub->subscription_count--;
    if (--channel->sub_count == 0)
        hub_linger(hub, channel, now);
    else
        hub_rest(hub, channel);
}

bool subscription_may_fold(const struct subscription *sub)
{
    return sub->state == SUB_PLACED && sub->next == subscription_channel(sub)->head + 1 && sub->more == NULL && !sub->is_ready &&
           !sub->is_listed;
}

/* --- what is said of it --------------------------------------------------------------------------------------- */

bool subscription_is_placed(const struct subscription *sub)
{
    return sub->state != SUB_JOINING;
}

bool subscription_is_alone(const struct subscription *sub)
{
    return sub->is_folded || subscription_channel(sub)->sub_count == 1;
}

struct channel_name *subscription_name(const struct subscription *sub)
{
    return sub->is_folded ? sub->entry.name : subscription_channel(sub)->entry.name;
}

uint64_t subscription_epoch(const struct subscription *sub)
{
    return sub->is_folded ? sub->folded_epoch : subscription_channel(sub)->epoch;
}

uint64_t subscription_head(const struct subscription *sub)
{
    return sub->is_folded ? sub->next - 1 : subscription_channel(sub)->head;
}

/* It begins behind a head, and a new life of the log that began since has yet to be told. */
static bool subscription_begins_before_epoch(const struct subscription *sub)
{
    return sub->state == SUB_EPOCH && sub->start_kind == START_NOW;
}

uint64_t subscription_first_head(const struct subscription *sub)
{
    bool begins_at_head = sub->state == SUB_AHEAD || (sub->state == SUB_PLACED && sub->start_kind == START_NOW) ||
                          subscription_begins_before_epoch(sub);
    return begins_at_head ? sub->next - 1 : subscription_head(sub);
}

uint64_t subscription_first_epoch(const struct subscription *sub)
{
    return subscription_begins_before_epoch(sub) ? subscription_seen_epoch(sub) : subscription_epoch(sub);
}

bool subscription_is_settled(const struct subscription *sub)
{
    return sub->state == SUB_PLACED;
}

struct start subscription_start_again(const struct subscription *sub)
{
    struct start start = { START_AFTER, subscription_seen(sub), subscription_seen_epoch(sub) };

    switch ((enum subscription_state)sub->state) {
    case SUB_JOINING:
        start.kind = (enum start_kind)sub->start_kind;
        break;
    case SUB_FIRST:
        if (sub->start_kind == START_AFTER)
            start.seq = start.epoch = 0;
        break;
    case SUB_AHEAD:
        start.seq = sub->more->claimed;
        break;
    case SUB_PLACED:
    case SUB_EPOCH:
        break;
    }
    return start;
}

bool subscription_begins_elsewhere(const struct subscription *sub, bool has_named, uint64_t *ret_after)
{
    const uint64_t seen     = subscription_seen(sub);
    bool           is_known = seen == subscription_first_head(sub);

    if (sub->state != SUB_PLACED && sub->state != SUB_FIRST)
        return false;
    /* Who asks for all kept messages has named 0. */
    if (has_named && sub->start_kind == START_AFTER)
        is_known = sub->state == SUB_PLACED || seen == 0;
    if (!is_known)
        *ret_after = seen;
    return !is_known;
}

bool subscription_is_behind(const struct subscription *sub)
{
    switch ((enum subscription_state)sub->state) {
    case SUB_JOINING: return false;
    case SUB_AHEAD:
    case SUB_EPOCH: return true;
    case SUB_FIRST:
    case SUB_PLACED: return sub->next <= subscription_head(sub);
    }
    return false;
}

/* --- what is next --------------------------------------------------------------------------------------------- */

bool subscription_is_lean(const struct subscription *sub)
{
    return subscription_page(sub) == NULL;
}

/* The entry that covers `seq`, from the window or the page. */
static bool subscription_find(struct subscription *sub, uint64_t seq, struct entry *ret_entry)
{
    struct message *live = channel_window_at(subscription_channel(sub), seq);

    if (live != NULL) {
        *ret_entry = (struct entry){ .message = live };
        return true;
    }
    const struct hub_page *page = subscription_page(sub);
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

/* Is a later message with the same collapse key at hand, in the window or in the page? What stands behind both is not
 * looked at: it costs a read. */
static bool subscription_has_newer(const struct subscription *sub, const struct message *message)
{
    const struct hub_page *page = subscription_page(sub);
    const struct message  *live;

    for (size_t i = page == NULL ? 0 : page->at; page != NULL && i < page->count; i++) {
        const struct message *other = page->entries[i].message;
        if (other != NULL && other->seq > message->seq && message_collapses_with(message, other))
            return true;
    }
    for (uint64_t seq = subscription_channel(sub)->head; seq > message->seq; seq--) {
        if ((live = channel_window_at(subscription_channel(sub), seq)) == NULL)
            break;
        if (message_collapses_with(message, live))
            return true;
    }
    return false;
}

/* Is it not to be delivered any more? At wall 0 the message is wanted as it is: what was cut is finished with it. */
static bool subscription_skips(const struct subscription *sub, const struct message *message, msec wall,
                               enum gap_why *ret_why)
{
    if (message_is_past(message, wall, ret_why))
        return true;
    if (message->collapse_len == 0 || wall == 0 || !subscription_has_newer(sub, message))
        return false;
    *ret_why = GAP_COLLAPSED;
    return true;
}

/* Joins neighbouring entries that are gone for the same reason into one gap. */
static void subscription_join_past(struct subscription *sub, msec wall, enum gap_why why, struct entry *entry)
{
    struct entry following;
    struct gap   gap = { entry->message->seq, entry->message->seq, why };
    enum gap_why its_why;

    while (subscription_find(sub, gap.to + 1, &following) && following.message != NULL &&
           subscription_skips(sub, following.message, wall, &its_why) && its_why == why)
        gap.to++;
    *entry = (struct entry){ .gap = gap };
}

static enum look_result subscription_look_told_first(const struct subscription *sub, struct entry *ret_entry)
{
    const struct channel *channel = subscription_channel(sub);
    struct gap            gap;

    if (sub->state == SUB_AHEAD)
        gap = (struct gap){ sub->next, sub->more->claimed, GAP_AHEAD };
    else
        /* What stands in the new log before its first kept message can't be delivered. Often that is nothing. */
        gap = (struct gap){ 1, channel->first == 0 ? 0 : channel->first - 1, GAP_EPOCH };
    *ret_entry = (struct entry){ .gap = gap };
    return LOOK_ENTRY;
}

/* A reader that asked for all kept messages misses nothing if the log's first message has moved on since. */
static void subscription_skip_trimmed(struct subscription *sub, msec wall)
{
    struct entry entry;
    enum gap_why why;

    while (subscription_find(sub, sub->next, &entry)) {
        if (entry.message != NULL && subscription_skips(sub, entry.message, wall, &why))
            subscription_join_past(sub, wall, why, &entry);
        if (entry.message != NULL || entry.gap.why != GAP_TRIMMED)
            return;
        subscription_step(sub, &entry);
        sub->state = SUB_FIRST;  /* it has delivered nothing yet, and so it stays at the beginning */
    }
}

enum look_result subscription_look(struct subscription *sub, msec wall, struct entry *ret_entry)
{
    const struct channel *channel = subscription_channel(sub);
    enum gap_why    why;

    sub->is_ready = false;
    if (sub->state == SUB_JOINING || sub->is_folded)
        return LOOK_WAIT;
    if (sub->state == SUB_AHEAD || sub->state == SUB_EPOCH)
        return subscription_look_told_first(sub, ret_entry);
    if (sub->state == SUB_FIRST)
        subscription_skip_trimmed(sub, wall);
    if (sub->next > channel->head) {
        sub->state = SUB_PLACED;  /* it has all kept messages; a message that is trimmed from now on is a gap */
        return LOOK_WAIT;
    }
    if (subscription_find(sub, sub->next, ret_entry)) {
        /* The gap may begin before the cursor. The reader has those messages, they are not missing. */
        if (ret_entry->message == NULL && ret_entry->gap.from < sub->next)
            ret_entry->gap.from = sub->next;
        else if (ret_entry->message != NULL && subscription_skips(sub, ret_entry->message, wall, &why))
            subscription_join_past(sub, wall, why, ret_entry);
        return LOOK_ENTRY;
    }
    return subscription_is_reading(sub) ? LOOK_READING : LOOK_UNREAD;
}

enum look_result subscription_look_head(struct subscription *sub, struct entry *ret_entry)
{
    sub->is_ready = false;
    if (sub->state == SUB_JOINING || sub->is_folded)
        return LOOK_WAIT;
    if (sub->state == SUB_AHEAD || sub->state == SUB_EPOCH)
        return subscription_look_told_first(sub, ret_entry);
    if (sub->next > subscription_channel(sub)->head) {
        sub->state = SUB_PLACED;
        return LOOK_WAIT;
    }
    *ret_entry = (struct entry){ .gap = { sub->next, subscription_channel(sub)->head, GAP_COLLAPSED } };
    return LOOK_ENTRY;
}

bool subscription_is_reading(const struct subscription *sub)
{
    const struct subscription_more *more = subscription_more(sub);

    return more != NULL && more->ticket != NULL;
}

void subscription_read(struct subscription *sub, struct hub *hub)
{
    must(!subscription_is_reading(sub));
    subscription_let_go(sub);
    hub->port->read(hub->ctx, sub, sub->next - 1, &subscription_need_more(sub)->ticket);
}

/* Frees the entries before the cursor. */
static void subscription_trim_page(struct subscription *sub)
{
    struct hub_page *page = subscription_page(sub);

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
    subscription_trim_page(sub);
}

struct subscription_mark subscription_mark(const struct subscription *sub)
{
    must(sub->state != SUB_JOINING);
    return (struct subscription_mark){
        .next    = sub->next,
        .epoch   = subscription_seen_epoch(sub),
        .claimed = sub->state == SUB_AHEAD ? sub->more->claimed : 0,
        .state   = sub->state,
    };
}

void subscription_rewind(struct subscription *sub, struct hub *hub, const struct subscription_mark *mark)
{
    if (sub->is_folded)
        hub_unfold(hub, sub);
    must(mark->state == SUB_EPOCH || mark->next <= sub->next);
    sub->next = mark->next;
    if (sub->state == SUB_EPOCH || mark->state == SUB_EPOCH || mark->epoch != subscription_channel(sub)->epoch) {
        subscription_leave(sub, SUB_EPOCH);
        subscription_set_epoch(sub, mark->epoch);
        return;
    }
    if (mark->state == SUB_AHEAD && sub->state != SUB_AHEAD) {
        subscription_let_go(sub);  /* nothing is read before the reader is told of it */
        subscription_claim(sub, mark->claimed);
    }
    sub->state = mark->state;
}

bool subscription_is_plain(const struct subscription *sub)
{
    return sub->state == SUB_PLACED && subscription_is_lean(sub) && !subscription_is_reading(sub);
}

void subscription_skip(struct subscription *sub, uint64_t next)
{
    must(subscription_is_plain(sub) && !sub->is_folded && next >= sub->next && next <= subscription_channel(sub)->head + 1);
    sub->next     = next;
    sub->is_ready = false;
}

static struct hub_page *page_new(struct entry *entries, size_t count)
{
    struct hub_page *page = malloc(sizeof *page + count * sizeof page->entries[0]);

    must(page != NULL);
    page->count = count;
    page->at    = 0;
    memcpy(page->entries, entries, count * sizeof page->entries[0]);
    return page;
}

void subscription_read_done(struct subscription *sub, struct hub *hub, uint64_t epoch, uint64_t head,
                            struct entry **entries, size_t entry_count)
{
    struct channel *channel = subscription_channel(sub);
    struct hub_page    *page    = entry_count == 0 ? NULL : page_new(*entries, entry_count);

    free(*entries);
    *entries           = NULL;
    sub->more->ticket = NULL;
    subscription_drop_more_if_empty(sub);
    if (page == NULL)
        hub_ask_soon(hub, channel);
    if (epoch != 0 && epoch != channel->epoch) {
        page_free(page);
        hub_ask(hub, channel);
        return;
    }
    if (page == NULL)
        return;
    if (sub->state == SUB_AHEAD) {
        /* It was rewound to before a gap that must be told first. */
        page_free(page);
        return;
    }
    subscription_set_page(sub, page);
    subscription_trim_page(sub);
    /* The page shows a newer head than ours. Don't take it over: those messages are already in our mailbox; if the head
     * moved first they would be dropped as old and every reader here would fetch them from the log. Should they be
     * lost, the next heartbeat asks for the head. */
    if (head > channel->head)
        hub_ask_soon(hub, channel);
    /* Said also to an owner that was told "ready" before and has not looked since: it holds a page now, which it may
     * want to let go. */
    sub->is_ready = false;
    subscription_say_ready(sub, hub);
}
