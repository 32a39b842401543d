/* link_event.c - the events of a link: who connects, leaves, and follows a channel. */
#include "session/link_event.h"

#include "device/event_log.h"
#include "session/device_link.h"

static const char *const gone_reasons[] = {
    [LINK_GONE_LOST] = "lost",         [LINK_GONE_CLOSED] = "closed",   [LINK_GONE_ANSWERED] = "answered",
    [LINK_GONE_REPLACED] = "replaced", [LINK_GONE_CUT_OFF] = "cut off", [LINK_GONE_EXPIRED] = "expired",
    [LINK_GONE_REVOKED] = "revoked",   [LINK_GONE_LEFT] = "server",     [LINK_GONE_SILENT] = "silent",
    [LINK_GONE_SLOW] = "slow",         [LINK_GONE_REFUSED] = "refused",
};

void link_note_gone(struct link *link, enum link_gone why)
{
    if (link->gone == LINK_GONE_LOST)
        link->gone = (uint8_t)why;
}

void link_note_end(struct link *link, enum link_end why)
{
    static const enum link_gone reasons[LINK_END_COUNT] = {
        [LINK_END_REPLACED] = LINK_GONE_REPLACED, [LINK_END_CUT_OFF] = LINK_GONE_CUT_OFF,
        [LINK_END_EXPIRED] = LINK_GONE_EXPIRED,   [LINK_END_REVOKED] = LINK_GONE_REVOKED,
        [LINK_END_SHORT_MEMORY] = LINK_GONE_LEFT,
    };

    link_note_gone(link, reasons[why]);
}

static struct event_facts facts_of_link(const struct link *link, enum event_kind kind)
{
    struct event_facts facts = { .kind = kind, .connection = link->key };

    if (link->holder != NULL) {
        facts.user   = identity_user(link->holder);
        facts.device = identity_device(link->holder);
    }
    if (link_device(link) != NULL)
        facts.device = device_link_device(link_device(link));
    return facts;
}

bool link_has_user(const struct link *link)
{
    return link->holder != NULL && identity_user(link->holder).len > 0;
}

void link_note_connected(struct link *link)
{
    bool has_user = link_has_user(link);

    if (link->holder == NULL || (link->is_noted && (!has_user || link->is_user_noted)))
        return;
    link->is_noted      = true;
    link->is_user_noted = has_user;
    if (!event_log_wants(link->worker->events, EVENT_KIND_CONNECTED) &&
        !event_log_wants(link->worker->events, EVENT_KIND_DISCONNECTED))
        return;
    struct event_facts facts   = facts_of_link(link, EVENT_KIND_CONNECTED);
    bool               has_row = link->has_row;
    event_log_note_begin(link->worker->events, &facts, &has_row);
    link->has_row = has_row;
}

void link_note_disconnected(struct link *link)
{
    if (!link->is_noted || (!event_log_wants(link->worker->events, EVENT_KIND_DISCONNECTED) && !link->has_row))
        return;
    link_note_gone(link, link->is_over ? LINK_GONE_REFUSED : LINK_GONE_LOST);
    struct event_facts facts = facts_of_link(link, EVENT_KIND_DISCONNECTED);
    facts.reason             = gone_reasons[link->gone];
    event_log_note_end(link->worker->events, &facts, link->has_row);
    link->is_noted = link->has_row = false;
}

static void link_note_channel(const struct link *link, const struct reader_sub *sub, enum event_kind kind)
{
    if (!event_log_wants(link->worker->events, kind))
        return;
    struct event_facts facts = facts_of_link(link, kind);
    facts.channel            = channel_name_span(subscription_name(&sub->sub));
    event_log_note(link->worker->events, &facts);
}

void link_note_subscribed(struct link *link, struct reader_sub *sub)
{
    if (!link->is_noted || sub->sub.is_own || sub->sub.is_unasked)
        return;
    sub->sub.is_noted = true;
    link_note_channel(link, sub, EVENT_KIND_SUBSCRIBED);
}

void link_note_unsubscribed(struct link *link, struct reader_sub *sub)
{
    if (!sub->sub.is_noted)
        return;
    sub->sub.is_noted = false;
    link_note_channel(link, sub, EVENT_KIND_UNSUBSCRIBED);
}
