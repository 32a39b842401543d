#include "session/reader.h"

#include "base/must.h"

void reader_shared_init(struct reader_shared *shared, struct hub *hub)
{
    shared->hub  = hub;
    shared->now  = 0;
    shared->hold = NULL;
    pool_init(&shared->subs, sizeof(struct reader_sub));
}

void reader_shared_fini(struct reader_shared *shared)
{
    pool_fini(&shared->subs);
}

void reader_init(struct reader *reader)
{
    *reader = (struct reader){ 0 };
}

void reader_fini(struct reader *reader, struct reader_shared *shared, msec now)
{
    must(reader_owner(reader) == NULL);
    while (reader_subs(reader) != NULL)
        reader_unfollow(reader, shared, reader_subs(reader), now);
    must(reader_last_ready(reader) == NULL && reader->sub_count == 0 && reader->unplaced_count == 0);
}

/* --- which subscription is looked at next ---
 *
 *     ready ──► last ──► first ──► second ──► … ──► last
 *                        has news                   waits in line for a page
 *
 * A subscription with news is put first. One that turns out to need a page of the log goes to the end, and asks for the
 * page when it is first again. */

static void reader_list(struct reader *reader, struct reader_sub *sub)
{
    if (sub->sub.is_listed)
        return;
    sub->sub.is_listed = true;
    if (reader_last_ready(reader) == NULL) {
        reader->ready = near_to(sub);
        return;
    }
    subscription_set_line(&sub->sub, &reader_sub_line(reader_last_ready(reader))->sub);
    subscription_set_line(&reader_last_ready(reader)->sub, &sub->sub);
}

static void reader_unlist_next(struct reader *reader, struct reader_sub *before)
{
    struct reader_sub *sub = reader_sub_line(before), *behind = reader_sub_line(sub);

    must(sub->sub.is_listed);
    subscription_set_line(&sub->sub, NULL);
    if (sub == before)
        reader->ready = near_to(NULL);
    else
        subscription_set_line(&before->sub, behind == before ? NULL : &behind->sub);
    if (sub == reader_last_ready(reader))
        reader->ready = near_to(before);
    sub->sub.is_listed = sub->sub.is_in_line = false;
}

static void reader_unlist(struct reader *reader, struct reader_sub *sub)
{
    struct reader_sub *before = reader_last_ready(reader);

    if (!sub->sub.is_listed)
        return;
    while (reader_sub_line(before) != sub)
        before = reader_sub_line(before);
    reader_unlist_next(reader, before);
}

/* The first becomes the last. */
static void reader_stand_in_line(struct reader *reader)
{
    reader->ready                 = near_to(reader_sub_line(reader_last_ready(reader)));
    reader_last_ready(reader)->sub.is_in_line = true;
}

/* --- subscriptions --- */

struct reader_sub *reader_follow(struct reader *reader, struct reader_shared *shared, struct channel_name *name,
                                 struct start start)
{
    struct reader_sub *sub = pool_take(&shared->subs);

    must(reader->sub_count < UINT16_MAX);
    sub->sub.beside = reader->subs;
    reader->subs    = near_to(sub);
    reader->sub_count++;
    reader->unplaced_count++;
    subscription_open(&sub->sub, shared->hub, name, start, reader);
    return sub;
}

struct reader_sub *reader_find(const struct reader *reader, struct span channel)
{
    for (struct reader_sub *sub = reader_subs(reader); sub != NULL; sub = reader_sub_next(sub))
        if (span_eq(channel_name_span(subscription_name(&sub->sub)), channel))
            return sub;
    return NULL;
}

void reader_unfollow(struct reader *reader, struct reader_shared *shared, struct reader_sub *sub, msec now)
{
    must(near_get(sub->sub.owner) == reader);
    if (reader_subs(reader) == sub) {
        reader->subs = sub->sub.beside;
    } else {
        struct reader_sub *before = reader_subs(reader);
        while (reader_sub_next(before) != sub)
            before = reader_sub_next(before);
        before->sub.beside = sub->sub.beside;
    }
    reader->sub_count--;
    if (!sub->sub.is_told)
        reader->unplaced_count--;
    reader_unlist(reader, sub);
    subscription_close(&sub->sub, shared->hub, now);
    pool_give(&shared->subs, sub);
}

struct reader *reader_ready(struct subscription *subscription)
{
    struct reader *reader = near_get(subscription->owner);

    reader_list(reader, container_of(subscription, struct reader_sub, sub));
    if (reader_owner(reader) == NULL)
        subscription_let_go(subscription);
    return reader;
}

void reader_look_again(struct reader *reader)
{
    for (struct reader_sub *sub = reader_subs(reader); sub != NULL; sub = reader_sub_next(sub))
        if (subscription_is_behind(&sub->sub))
            reader_list(reader, sub);
}

bool reader_note_placed(struct reader *reader, struct reader_sub *sub)
{
    if (sub->sub.is_told || !subscription_is_placed(&sub->sub))
        return false;
    sub->sub.is_told = true;
    reader->unplaced_count--;
    return true;
}

void reader_note_told_before(struct reader *reader, struct reader_sub *sub)
{
    if (sub->sub.is_told)
        return;
    sub->sub.is_told = true;
    reader->unplaced_count--;
}

void reader_reverse(struct reader *reader)
{
    struct reader_sub *rest = reader_subs(reader), *next;

    reader->subs = near_to(NULL);
    for (; rest != NULL; rest = next) {
        next             = reader_sub_next(rest);
        rest->sub.beside = reader->subs;
        reader->subs     = near_to(rest);
    }
}

bool reader_is_behind(const struct reader *reader)
{
    for (const struct reader_sub *sub = reader_subs(reader); sub != NULL; sub = reader_sub_next(sub))
        if (subscription_is_behind(&sub->sub))
            return true;
    return false;
}

bool reader_is_up_to_date(const struct reader *reader)
{
    return reader->unplaced_count == 0 && !reader_is_behind(reader);
}

/* --- what is next --- */

static bool reader_may_read(const struct reader *reader, unsigned reads_max)
{
    unsigned count = 0;

    if (reader->sub_count <= reads_max)
        return true;
    for (const struct reader_sub *sub = reader_subs(reader); sub != NULL && count < reads_max; sub = reader_sub_next(sub))
        count += subscription_is_reading(&sub->sub);
    return count < reads_max;
}

void reader_note_told(struct reader_sub *sub, const struct reader_shared *shared, msec quiet_ms)
{
    /* Odd, so that it is never 0. */
    sub->sub.told_alias = quiet_ms == 0 ? 0 : (uint32_t)(shared->now + quiet_ms) | 1;
}

/* The low 32 bits of a time are enough: no quiet time is longer than weeks. */
static bool reader_sub_is_quiet(const struct reader_sub *sub, const struct reader_shared *shared)
{
    return sub->sub.told_alias != 0 && (int32_t)(sub->sub.told_alias - (uint32_t)shared->now) > 0;
}

/* Of a subscription in notify mode. One that is quiet is not looked at, so that the hub does not say `ready` for it once
 * more. */
static enum look_result reader_look_notify(struct reader *reader, struct reader_shared *shared, struct reader_sub *sub,
                                           struct entry *ret_entry)
{
    if (!subscription_is_behind(&sub->sub) || !reader_sub_is_quiet(sub, shared))
        return subscription_look_head(&sub->sub, ret_entry);
    if (shared->hold != NULL)
        shared->hold(reader);
    return LOOK_WAIT;
}

struct reader_sub *reader_look(struct reader *reader, struct reader_shared *shared, msec wall, unsigned reads_max,
                               struct entry *ret_entry)
{
    struct reader_sub *sub;

    while ((sub = reader_first(reader)) != NULL) {
        switch (sub->sub.is_notify ? reader_look_notify(reader, shared, sub, ret_entry)
                                   : subscription_look(&sub->sub, wall, ret_entry)) {
        case LOOK_ENTRY:
            return sub;
        case LOOK_UNREAD:
            if (!sub->sub.is_in_line) {
                reader_stand_in_line(reader);
                continue;
            }
            if (!reader_may_read(reader, reads_max))
                return NULL;
            subscription_read(&sub->sub, shared->hub);
            break;
        case LOOK_WAIT:
        case LOOK_READING:
            break;
        }
        reader_unlist_next(reader, reader_last_ready(reader));
    }
    return NULL;
}

enum look_result reader_look_at(struct reader *reader, struct reader_shared *shared, struct reader_sub *sub, msec wall,
                                struct entry *ret_entry)
{
    must(near_get(sub->sub.owner) == reader);
    enum look_result found = subscription_look(&sub->sub, wall, ret_entry);
    if (found != LOOK_UNREAD)
        return found;
    subscription_read(&sub->sub, shared->hub);
    return LOOK_READING;
}

void reader_skip_first(struct reader *reader, uint64_t next)
{
    subscription_skip(&reader_first(reader)->sub, next);
    reader_unlist_next(reader, reader_last_ready(reader));
}

void reader_rewind(struct reader *reader, struct reader_shared *shared, struct reader_sub *sub,
                   const struct subscription_mark *mark)
{
    must(near_get(sub->sub.owner) == reader);
    subscription_rewind(&sub->sub, shared->hub, mark);
    sub->sub.told_alias = 0;  /* what told it may be among what was not sent */
    reader_list(reader, sub);
}

void reader_let_go(struct reader *reader)
{
    for (struct reader_sub *sub = reader_subs(reader); sub != NULL; sub = reader_sub_next(sub))
        subscription_let_go(&sub->sub);
}
