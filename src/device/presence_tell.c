/* presence_tell.c - who is told of changes, and how much of them.
 *
 * A change waits in its channel until the end of the turn. What comes and leaves before it is told is not told at all. A change
 * costs a frame for each client that is told, and a channel has a credit of frames that grows with time. Changes that
 * would cost more than the whole credit of a second are dropped, and the number alone is told. */
#include <stdlib.h>

#include "base/must.h"
#include "base/span_keep.h"
#include "device/presence_priv.h"

/* --- what is to be told ----------------------------------------------------------------------------------------- */

static size_t presence_name_bytes(const struct presence_member *member)
{
    return (size_t)member->device->user_len + member->device->device_len;
}

/* Nothing is to be told of this member. */
static void presence_take_changed(struct presence *presence, struct presence_member *member)
{
    struct presence_channel *channel = member->channel;

    if (list_is_linked(&member->in_changed)) {
        list_take(&member->in_changed);
        channel->changed_count--;
        channel->changed_words -= (uint32_t)presence_name_bytes(member);
    }
    if (member->number == 0)
        presence_member_free(presence, member);
}

/* What waits is told, or need not be told any more. */
void presence_drop_changes(struct presence *presence, struct presence_channel *channel)
{
    while (!list_is_empty(&channel->changed)) {
        struct presence_member *member = container_of(channel->changed.next, struct presence_member, in_changed);
        member->is_known = member->number != 0;
        presence_take_changed(presence, member);
    }
}

void presence_list_news(struct presence *presence, struct presence_channel *channel)
{
    if (!list_is_linked(&channel->in_news))
        list_push(&presence->news, &channel->in_news);
}

void presence_note_change(struct presence *presence, struct presence_member *member)
{
    struct presence_channel *channel = member->channel;

    if (channel->changed_count == PRESENCE_CHANGES_MAX && !list_is_linked(&member->in_changed)) {
        presence_drop_changes(presence, channel);
        channel->is_over = true;
    }
    if (channel->watch_count == 0 || channel->is_over || channel->is_syncing)
        member->is_known = member->number != 0;
    if ((member->number != 0) == member->is_known) {
        presence_take_changed(presence, member);
    } else if (!list_is_linked(&member->in_changed)) {
        list_push(&channel->changed, &member->in_changed);
        channel->changed_count++;
        channel->changed_words += (uint32_t)presence_name_bytes(member);
    }
    if (channel->watch_count > 0)
        presence_list_news(presence, channel);
}

/* --- news ------------------------------------------------------------------------------------------------------- */

static void presence_news_send(struct presence *presence, struct presence_news *news, unsigned loop)
{
    news->home = presence->homes[loop];
    presence->port->send(presence->ctx, loop, &news->command);
}

static struct presence_news *presence_news_of_number(const struct presence_channel *channel)
{
    struct presence_news *news = presence_news_new(channel->name, 1, 0);

    news->notes[0] = (struct presence_note){ .channel = channel_name_span(channel->name), .count = channel->count };
    return news;
}

/* How many devices the set had before the changes that wait. */
static uint64_t presence_count_before(const struct presence_channel *channel)
{
    uint64_t count = channel->count;

    for (const struct list *at = channel->changed.next; at != &channel->changed; at = at->next)
        count += container_of(at, struct presence_member, in_changed)->number != 0 ? UINT64_MAX : 1;  /* modulo 2^64: -1 */
    return count;
}

static struct presence_news *presence_news_of_changes(const struct presence_channel *channel)
{
    struct presence_news *news  = presence_news_new(channel->name, channel->changed_count, channel->changed_words);
    uint64_t              count = presence_count_before(channel);
    char                 *words = news->words;
    uint32_t              i     = 0;

    for (const struct list *at = channel->changed.next; at != &channel->changed; at = at->next) {
        const struct presence_member *member  = container_of(at, struct presence_member, in_changed);
        bool                          is_join = member->number != 0;
        count += is_join ? 1 : UINT64_MAX;
        news->notes[i++] = (struct presence_note){
            .channel = channel_name_span(channel->name), .user = span_keep(presence_device_user(member->device), &words),
            .device = span_keep(presence_device_name(member->device), &words), .is_join = is_join, .count = count,
        };
    }
    must(i == channel->changed_count && count == channel->count);
    return news;
}

static void presence_tell_loops(struct presence *presence, const struct presence_channel *channel, bool is_number)
{
    for (unsigned loop = 0; loop < presence->loop_count; loop++)
        if (channel->watches[loop].count > 0)
            presence_news_send(presence, is_number ? presence_news_of_number(channel)
                                                   : presence_news_of_changes(channel), loop);
}

/* --- how much of it --------------------------------------------------------------------------------------------- */

static int64_t presence_credit(const struct presence *presence, struct presence_channel *channel)
{
    int64_t full = (int64_t)presence->limits.frames_per_s * 1000;

    channel->credit   += (presence->now - channel->credit_at) * presence->limits.frames_per_s;
    channel->credit_at = presence->now;
    if (channel->credit > full)
        channel->credit = full;
    return channel->credit;
}

/* False: it waits for credit. */
static bool presence_tell_channel(struct presence *presence, struct presence_channel *channel)
{
    int64_t full   = (int64_t)presence->limits.frames_per_s * 1000;
    int64_t credit = presence_credit(presence, channel);
    int64_t number = (int64_t)channel->watch_count * 1000, changes = number * channel->changed_count;

    if (!channel->is_over && changes == 0)
        return true;  /* what had changed was undone */
    bool    is_number = channel->is_over || changes > full;
    int64_t cost      = is_number ? number : changes;
    if (credit < (cost < full ? cost : full))
        return false;
    channel->credit -= cost;
    counter_add(is_number ? &presence->counters.counts_told : &presence->counters.changes_told,
                is_number ? 1 : channel->changed_count);
    presence_tell_loops(presence, channel, is_number);
    return true;
}

/* Behind the changes of this turn, so that nobody is told first the number and then a change that is in it. */
static void presence_tell_beginners(struct presence *presence, struct presence_channel *channel)
{
    for (unsigned loop = 0; channel->has_beginners && loop < presence->loop_count; loop++) {
        if (!channel->watches[loop].is_beginning)
            continue;
        struct presence_news *news = presence_news_of_number(channel);
        news->notes[0].is_beginning         = true;
        channel->watches[loop].is_beginning = false;
        presence_news_send(presence, news, loop);
    }
    channel->has_beginners = false;
}

void presence_tell(struct presence *presence)
{
    for (struct list *at = presence->news.next, *next; at != &presence->news; at = next) {
        struct presence_channel *channel = container_of(at, struct presence_channel, in_news);
        next                             = at->next;
        if (channel->is_syncing)
            continue;
        bool is_told = channel->watch_count == 0 || presence_tell_channel(presence, channel);
        presence_tell_beginners(presence, channel);
        if (!is_told)
            continue;
        list_take(at);
        presence_drop_changes(presence, channel);
        channel->is_over = false;
        presence_channel_settle(presence, channel);
    }
}

/* --- who is told ------------------------------------------------------------------------------------------------ */

static struct presence_channel *watch_add(struct presence *presence, struct channel_name *name, struct presence_home *home)
{
    struct presence_channel *channel = presence_channel_get(presence, name);

    must(home->loop < presence->loop_count);
    if (channel->watches == NULL) {
        channel->watches = calloc(presence->loop_count, sizeof channel->watches[0]);
        must(channel->watches != NULL);
    }
    if (channel->watch_count == 0)
        presence_peers_begin(presence, channel);
    presence->homes[home->loop] = home;
    channel->watches[home->loop].count++;
    channel->watch_count++;
    presence_list_news(presence, channel);
    return channel;
}

void presence_watch(struct presence *presence, struct channel_name *name, struct presence_home *home)
{
    struct presence_channel *channel = watch_add(presence, name, home);

    channel->watches[home->loop].is_beginning = channel->has_beginners = true;
}

void presence_watch_on(struct presence *presence, struct channel_name *name, struct presence_home *home)
{
    watch_add(presence, name, home);
}

void presence_unwatch(struct presence *presence, struct channel_name *name, unsigned loop)
{
    struct presence_channel *channel = presence_channel_find(presence, name);

    must(channel != NULL && channel->watches != NULL && channel->watches[loop].count > 0);
    channel->watches[loop].count--;
    channel->watch_count--;
    if (channel->watch_count > 0)
        return;
    free(channel->watches);
    channel->watches       = NULL;
    channel->is_over       = false;
    channel->has_beginners = false;
    list_take(&channel->in_news);
    presence_drop_changes(presence, channel);
    presence_peers_end(presence, channel);
    presence_channel_settle(presence, channel);
}
