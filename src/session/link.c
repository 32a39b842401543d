#include "session/link.h"

#include <stdlib.h>

#include "base/must.h"
#include "codec/token/token.h"
#include "session/deferred.h"
#include "session/device_link.h"
#include "session/instruction.h"
#include "session/link_priv.h"
#include "session/presence_follow.h"
#include "session/notify.h"

enum { WORDS_BYTES_MAX = 16 * 1024 * 1024 };  /* far above what sessions let wait: they stop reading from the client
                                               * much earlier */

void link_init(struct link *link, struct session_worker *worker, const struct link_kind *kind, struct reader *reader,
               enum transport transport, enum encoding encoding, uint64_t key)
{
    must(reader_owner(reader) == NULL);
    *link = (struct link){ .worker = worker, .kind = kind, .near_reader = near_to(reader), .transport = (uint8_t)transport,
                           .encoding = (uint8_t)encoding,
                           .key = key != 0 ? key : worker->port->new_key(worker->ctx) };
    reader->owner = near_to(link);
    for (struct reader_sub *sub = reader_subs(reader); sub != NULL; sub = reader_sub_next(sub))
        sub->sub.told_alias = 0;  /* another link was told */
    near_list_push(transport == TRANSPORT_POLL ? &worker->lists->polls : &worker->lists->links, &link->in_worker);
    link_index_add(&worker->index, link);
    counter_add(&worker->counters.sessions[transport], 1);
}

void link_set_lagging(struct link *link, bool is_lagging)
{
    if (link->is_lagging == is_lagging)
        return;
    link->is_lagging = is_lagging;
    if (is_lagging)
        counter_add(&link->worker->counters.lagging, 1);
    else
        counter_sub(&link->worker->counters.lagging, 1);
}

void link_drop_waiting(struct link *link)
{
    if (link_waiting(link) == NULL)
        return;
    cut_frame_drop(&link->worker->cuts, &link_waiting(link)->cut);
    list_take(&link_waiting(link)->in_deferred);
    buf_fini(&link_waiting(link)->words);
    pool_give(&link->worker->waitings, link_waiting(link));
    link->near_waiting = near_to(NULL);
}

void link_fini(struct link *link)
{
    struct link_waiting *waiting = link_waiting(link);

    must(reader_owner(link_reader(link)) == link);
    link_note_disconnected(link);
    presence_follow_end_all(link);
    instructions_forget(link);
    device_link_end(link, false);
    notify_forget(link);
    if (waiting != NULL && cut_frame_is_there(&waiting->cut) && waiting->cut.sub != NULL)
        reader_rewind(link_reader(link), &link->worker->readers, waiting->cut.sub, &waiting->cut.before);
    reader_let_go(link_reader(link));
    link_reader(link)->owner = near_to(NULL);
    link_take_holder(link, NULL);
    link_set_lagging(link, false);
    link_drop_waiting(link);
    near_list_take(&link->in_dirty);
    link_index_take(&link->worker->index, link);
    near_list_take(&link->in_worker);
    counter_sub(&link->worker->counters.sessions[link->transport], 1);
}

/* --- subscriptions --- */

struct reader_sub *link_follow(struct link *link, struct channel_name *name, struct start start)
{
    struct reader_sub *sub = reader_follow(link_reader(link), &link->worker->readers, name, start);

    notify_set(link, sub, MODE_NOT_SAID);
    sub->sub.is_heard = link_is_home(link, name);
    return sub;
}

void link_unfollow(struct link *link, struct reader_sub *sub)
{
    link_note_unsubscribed(link, sub);
    if (link_waiting(link) != NULL && link_waiting(link)->cut.sub == sub) {
        link_waiting(link)->cut.sub = NULL;
        link_mark(link);  /* if its frame was let go, this is the end of the link: see link_fetch_cut() */
    }
    if (subscription_has_presence(&sub->sub))
        presence_follow_end(link, sub);
    reader_unfollow(link_reader(link), &link->worker->readers, sub, link->worker->loop->now);
}

void link_mark(struct link *link)
{
    if (link->is_joining)
        near_list_take(&link->in_dirty);
    if (!near_list_is_linked(&link->in_dirty))
        near_list_push(&link->worker->lists->dirty, &link->in_dirty);
}

/* The last write found the stream full, and the stream has not reported room since. */
static bool link_is_blocked(const struct link *link)
{
    return link->is_lagging && link_stream(link)->is_full;
}

void link_on_ready(struct subscription *sub)
{
    struct link *link = reader_owner(reader_ready(sub));

    /* It stands in the reader's line, and leaves with whatever makes the link draw next: a beat, or other bytes. */
    if (link != NULL && link->worker->readers.hub->is_patient)
        return;
    /* While the stream is full nothing is drawn. A page that came meanwhile is released. */
    if (link != NULL && (!link_is_blocked(link) || !subscription_is_lean(sub)))
        link_mark(link);
}

void link_look_again(struct link *link)
{
    reader_look_again(link_reader(link));
    link_mark(link);
}

/* What is told now leaves behind the rest of the frame that was cut, so the place is behind it, too. If the frame was let
 * go the subscription itself stands before it. */
struct place link_place_of(const struct link *link, const struct reader_sub *sub, bool has_name)
{
    struct span             channel = has_name ? channel_name_span(subscription_name(&sub->sub)) : SPAN("");
    const struct cut_frame *cut     = link_waiting(link) == NULL ? NULL : &link_waiting(link)->cut;

    if (cut != NULL && cut_frame_is_there(cut) && cut->sub == sub)
        return (struct place){ channel, cut->epoch, cut->seq };
    return (struct place){ channel, subscription_seen_epoch(&sub->sub), subscription_seen(&sub->sub) };
}

size_t link_places(const struct link *link, bool has_names, struct place **ret_places)
{
    const struct reader *reader = link_reader(link);
    struct place        *places = session_worker_places(link->worker, reader->sub_count), *place = places;

    for (const struct reader_sub *sub = reader_subs(reader); sub != NULL; sub = reader_sub_next(sub))
        if (!sub->sub.is_unasked)
            *place++ = link_place_of(link, sub, has_names);
    *ret_places = places;
    return (size_t)(place - places);
}

/* A session's token leaves out what the session follows by itself, until something of it is delivered: a group may have been
 * joined a moment ago. */
static bool link_has_places(const struct link *link)
{
    if (link_device(link) == NULL || link_reader(link)->unplaced_count == 0)
        return link_reader(link)->unplaced_count == 0;
    for (const struct reader_sub *sub = reader_subs(link_reader(link)); sub != NULL; sub = reader_sub_next(sub))
        if (!sub->sub.is_own && !subscription_is_placed(&sub->sub))
            return false;
    return true;
}

bool link_put_token(const struct link *link, uint64_t set, struct buf *buf)
{
    const struct reader *reader = link_reader(link);
    struct place        *places;

    if (reader->sub_count == 0 || !link_has_places(link))
        return false;
    if (link_device(link) != NULL) {
        device_link_put_token(link, buf);
        return true;
    }
    size_t count = link_places(link, set == 0, &places);
    if (count == 0)
        return false;
    if (set != 0)
        token_put_set(buf, set, places, count);
    else
        token_put(buf, places, count);
    return true;
}

static void link_tell_placed(struct link *link, struct reader_sub *sub)
{
    if (!reader_note_placed(link_reader(link), sub))
        return;
    if (link->kind->placed != NULL)
        link->kind->placed(link, sub);
    link_note_subscribed(link, sub);
    if (subscription_has_presence(&sub->sub) && !link->is_over)
        presence_follow_begin(link, sub);
}

void link_tell_all_placed(struct link *link)
{
    struct reader     *reader = link_reader(link);
    struct reader_sub *sub    = reader_last_ready(reader);

    link->has_joined = false;
    /* Nothing may be sent after the last words (a Close, the last chunk). */
    if (sub == NULL || reader->unplaced_count == 0 || link->is_over)
        return;
    do {
        sub = reader_sub_line(sub);
        link_tell_placed(link, sub);
    } while (!link->is_over && reader->unplaced_count > 0 && sub != reader_last_ready(reader));
}

/* --- what waits for the stream --- */

struct link_waiting *link_get_waiting(struct link *link)
{
    struct link_waiting *waiting = link_waiting(link);

    if (waiting != NULL)
        return waiting;
    waiting            = pool_take(&link->worker->waitings);
    waiting->link      = link;
    link->near_waiting = near_to(waiting);
    buf_init(&waiting->words, WORDS_BYTES_MAX);
    return waiting;
}

struct buf *link_words(struct link *link)
{
    struct link_waiting *waiting = link_get_waiting(link);

    list_take(&waiting->in_deferred);
    return &waiting->words;
}

struct buf *link_words_deferred(struct link *link)
{
    struct link_waiting *waiting = link_get_waiting(link);

    if (!deferred_add(link))
        link_mark(link);
    return &waiting->words;
}

size_t link_waiting_bytes(const struct link *link)
{
    const struct link_waiting *waiting = link_waiting(link);

    if (waiting == NULL || link_is_deferred(link))
        return 0;
    return cut_frame_left(&waiting->cut) + waiting->words.len;
}

bool link_is_stuck(struct link *link, msec now)
{
    struct link_waiting *waiting = link_waiting(link);
    size_t               bytes   = link_waiting_bytes(link);

    if (bytes == 0)
        return false;
    if (bytes != waiting->stuck_bytes) {
        waiting->stuck_bytes = bytes;
        waiting->stuck_at    = now;
    }
    return now - waiting->stuck_at >= link->worker->limits.slow_reader_timeout_ms;
}
