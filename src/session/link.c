#include "session/link.h"

#include <stdlib.h>

#include "base/must.h"
#include "codec/token/token.h"
#include "reactor/log.h"
#include "session/deferred.h"
#include "session/device_link.h"
#include "session/instruction.h"
#include "session/joining.h"
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

static void link_set_lagging(struct link *link, bool is_lagging)
{
    if (link->is_lagging == is_lagging)
        return;
    link->is_lagging = is_lagging;
    if (is_lagging)
        counter_add(&link->worker->counters.lagging, 1);
    else
        counter_sub(&link->worker->counters.lagging, 1);
}

static void link_drop_waiting(struct link *link)
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

static struct link_waiting *link_get_waiting(struct link *link)
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

/* False: the stream is full or gone; `is_gone` says which. */
static bool link_write(struct link *link, struct span bytes, size_t *ret_put, bool *is_gone)
{
    struct session_counters *counters = &link->worker->counters;
    ssize_t                  put      = stream_write(link_stream(link), bytes);

    counter_add(&counters->writes, 1);
    *is_gone = put == STREAM_FAULT;
    *ret_put = put < 0 ? 0 : (size_t)put;
    counter_add(&counters->bytes[link->transport], *ret_put);
    return *ret_put == bytes.len;
}

/* --- the frame that was cut --- */

void link_let_cut_go(struct cut_frame *cut)
{
    struct link *link = container_of(cut, struct link_waiting, cut)->link;

    if (cut->sub != NULL)
        reader_rewind(link_reader(link), &link->worker->readers, cut->sub, &cut->before);
    else
        link_mark(link);  /* nobody can make it again */
}

/* This is next of the subscription whose frame was let go. False: it makes another frame, or none is to be made. */
static bool link_make_again(struct link *link, const struct entry *entry)
{
    struct cut_frame        *cut    = &link_waiting(link)->cut;
    struct subscription_mark before = subscription_mark(&cut->sub->sub);

    if (entry->message != NULL)
        message_ref(entry->message);
    subscription_step(&cut->sub->sub, entry);
    struct frame *frame = link->kind->encode(link, cut->sub, entry);
    message_unref(entry->message);
    bool is_same = cut_frame_hold_again(&link->worker->cuts, cut, frame, link->is_chunked);
    frame_unref(frame);
    if (!is_same) {
        reader_rewind(link_reader(link), &link->worker->readers, cut->sub, &before);
        cut->sub = NULL;
    }
    return is_same;
}

/* Is the frame there? If it was let go, its message may have to be read first. If the log has lost the message or has
 * something else in its place, what was sent of the frame can't be finished, and the link ends (*is_gone). The client
 * has the beginning: that the message is past by now does not matter. */
static bool link_fetch_cut(struct link *link, bool *is_gone)
{
    struct session_worker *worker = link->worker;
    struct cut_frame      *cut    = &link_waiting(link)->cut;
    struct entry           entry;

    if (cut->frame != NULL)
        return true;
    if (cut->sub == NULL) {
        counter_add(&worker->cuts.lost, 1);
        *is_gone = true;
        return false;
    }
    if (link_stream(link)->is_full ||
        reader_look_at(link_reader(link), &worker->readers, cut->sub, 0, &entry) != LOOK_ENTRY)
        return false;
    *is_gone = !link_make_again(link, &entry);
    if (*is_gone)
        LOG(LOG_INFO, "cut_frame_lost", log_str("transport", transport_text((enum transport)link->transport)));
    return !*is_gone;
}

/* False: not all of it was taken, or the stream is gone (*is_gone). */
static bool link_flush_cut(struct link *link, bool *is_gone)
{
    struct cut_frames *cuts = &link->worker->cuts;
    struct cut_frame  *cut  = &link_waiting(link)->cut;
    size_t             put;

    if (!link_fetch_cut(link, is_gone))
        return false;
    bool all = link_write(link, span_skip(frame_span(cut->frame, link->is_chunked), cut->at), &put, is_gone);
    if (all)
        cut_frame_drop(cuts, cut);
    else
        cut_frame_take(cuts, cut, put);
    return all;
}

/* Sends what must leave before anything new. False: not all of it was taken, or the stream is gone (*is_gone). */
static bool link_flush_waiting(struct link *link, bool *is_gone)
{
    struct link_waiting *waiting = link_waiting(link);
    size_t               put;

    *is_gone = false;
    if (waiting == NULL)
        return true;
    if (cut_frame_is_there(&waiting->cut) && !link_flush_cut(link, is_gone))
        return false;
    if (waiting->words.len > 0) {
        bool all = link_write(link, buf_span(&waiting->words), &put, is_gone);
        buf_drop(&waiting->words, put);
        if (!all)
            return false;
    }
    link_drop_waiting(link);
    return true;
}

/* --- drawing --- */

struct reader_sub *link_look(struct link *link, struct entry *ret_entry)
{
    if (link_device(link) != NULL)
        return group_follow_look(&link_device(link)->groups, link, ret_entry);
    return link_look_plain(link, ret_entry);
}

struct reader_sub *link_look_plain(struct link *link, struct entry *ret_entry)
{
    struct session_worker *worker = link->worker;

    /* A stream that was full takes little: if more than one page were read, most of it would be dropped again. */
    return reader_look(link_reader(link), &worker->readers, worker->loop->wall, link->is_lagging ? 1 : READER_READS_MAX,
                       ret_entry);
}

static void link_gather(struct link *link)
{
    struct frame_batch *batch = &link->worker->batch;
    struct reader_sub  *sub;
    struct entry        entry;

    while (frame_batch_has_room(batch) && (sub = link_look(link, &entry)) != NULL) {
        /* The frame carries the reader's place behind it, so the step comes first. The entry is borrowed, and a page
         * releases what was stepped over, so this function holds the message. */
        struct subscription_mark before = subscription_mark(&sub->sub);
        if (entry.message != NULL)
            message_ref(entry.message);
        subscription_step(&sub->sub, &entry);
        if (sub->sub.is_heard && entry.message != NULL)
            instruction_note(link, entry.message);
        if (link->kind->put != NULL && link->kind->put(link, sub, &entry, &batch->bytes))
            frame_batch_note(batch, sub, &before, &entry, NULL);
        else
            frame_batch_add(batch, sub, &before, &entry, link->kind->encode(link, sub, &entry), link->is_chunked);
        message_unref(entry.message);
    }
}

/* Readers of one channel that stand at the same place get the same bytes. */
static bool link_may_share(const struct link *link)
{
    const struct frame_batch *batch  = &link->worker->batch;
    const struct reader      *reader = link_reader(link);
    const struct reader_sub  *sub    = reader_last_ready(reader);

    return batch->channel != NULL && reader->sub_count == 1 && sub != NULL &&
           subscription_name(&sub->sub) == batch->channel && sub->sub.next == batch->from &&
           subscription_head(&sub->sub) + 1 == batch->to && subscription_epoch(&sub->sub) == batch->epoch &&
           link->encoding == (uint8_t)batch->encoding && link->is_chunked == batch->is_chunked &&
           sub->sub.told_alias == batch->alias_before && !sub->sub.is_notify && !sub->sub.is_heard &&
           subscription_is_plain(&sub->sub);
}

static void link_share(struct link *link)
{
    struct frame_batch      *batch = &link->worker->batch;
    struct reader_sub       *sub   = reader_last_ready(link_reader(link));
    struct subscription_mark mark  = subscription_mark(&sub->sub);

    reader_skip_first(link_reader(link), batch->to);
    sub->sub.told_alias = batch->alias_after;
    for (size_t i = 0; i < batch->count; i++) {
        mark.next              = batch->marks[i].before.next;
        batch->marks[i].sub    = sub;
        batch->marks[i].before = mark;
    }
}

/* Other links may use what was drawn for this one. */
static void link_offer_batch(const struct link *link, uint64_t from, uint32_t told_alias)
{
    struct frame_batch      *batch  = &link->worker->batch;
    const struct reader     *reader = link_reader(link);
    const struct reader_sub *sub    = reader_subs(reader);

    if (reader->sub_count != 1 || reader_last_ready(reader) != NULL || batch->message_count != batch->count ||
        link->encoding == ENCODING_PRIVATE || sub->sub.next != subscription_head(&sub->sub) + 1 ||
        sub->sub.next - from != batch->count)
        return;
    batch->channel    = subscription_name(&sub->sub);
    batch->epoch      = subscription_epoch(&sub->sub);
    batch->from       = from;
    batch->to         = sub->sub.next;
    batch->encoding   = (enum encoding)link->encoding;
    batch->is_chunked = link->is_chunked;
    batch->alias_before = told_alias;
    batch->alias_after  = sub->sub.told_alias;
}

static void link_count_sent(struct link *link, size_t frame_count)
{
    struct session_worker    *worker        = link->worker;
    const struct frame_batch *batch         = &worker->batch;
    size_t                    message_count = batch->message_count;

    for (size_t i = frame_count; i < batch->count; i++)
        message_count -= batch->marks[i].is_message;
    counter_add(&worker->counters.delivered[link->transport], message_count);
    for (size_t i = 0; frame_count > message_count && i < frame_count; i++)
        counter_add(&worker->counters.gaps, !batch->marks[i].is_message && !batch->marks[i].sub->sub.is_notify);
    if (message_count > 0)
        latency_add(&worker->latency, worker->loop->wall - batch->oldest, message_count);
}

static void link_hold_cut(struct link *link, size_t index, size_t at)
{
    struct frame_mark *mark = &link->worker->batch.marks[index];
    struct cut_frame  *cut  = &link_get_waiting(link)->cut;

    if (mark->frame == NULL)
        mark->frame = frame_new(frame_batch_span(&link->worker->batch, index));

    cut->sub    = mark->sub;
    cut->before = mark->before;
    cut->seq    = subscription_seen(&mark->sub->sub);
    cut->epoch  = subscription_seen_epoch(&mark->sub->sub);
    cut_frame_hold(&link->worker->cuts, cut, mark->frame, link->is_chunked, at);
}

/* The stream took only `put` bytes. The frame that was cut is kept, and the places go back over the frames behind it.
 * Returns how many frames were sent or begun. */
static size_t link_take_back(struct link *link, size_t put)
{
    struct frame_batch *batch = &link->worker->batch;
    size_t              first = frame_batch_at(batch, put), begin = frame_batch_begin(batch, first);

    if (put > begin)
        first++;
    for (size_t i = batch->count; i-- > first;)
        reader_rewind(link_reader(link), &link->worker->readers, batch->marks[i].sub, &batch->marks[i].before);
    if (put > begin)
        link_hold_cut(link, first - 1, put - begin);
    return first;
}

/* The batch, which begins with so many bytes of the words that wait. True: the stream took all of it, and there may be
 * more. */
static bool link_send_batch(struct link *link, bool *is_gone)
{
    struct frame_batch *batch = &link->worker->batch;
    size_t              word_bytes = batch->word_bytes, put;
    bool                is_whole   = link_write(link, buf_span(&batch->bytes), &put, is_gone);

    link->has_delivered |= batch->count > 0;
    if (word_bytes > 0)
        buf_drop(&link_waiting(link)->words, put < word_bytes ? put : word_bytes);
    if (is_whole) {
        link_count_sent(link, batch->count);
        return !link_stream(link)->is_full;  /* the maker may hold bytes that it could not send yet */
    }
    size_t count = link_take_back(link, put);
    if (!*is_gone)
        link_count_sent(link, count);
    frame_batch_clear(batch);
    return false;
}

/* One write of drawn frames. True: the stream took all of it, and there may be more. */
static bool link_send_some(struct link *link, bool *is_gone)
{
    struct frame_batch *batch = &link->worker->batch;

    *is_gone = false;
    if (link_may_share(link)) {
        link_share(link);
    } else {
        const struct reader_sub *ready = reader_last_ready(link_reader(link));
        uint64_t                 from  = ready == NULL ? 0 : ready->sub.next;
        uint32_t                 told_alias = ready == NULL ? 0 : ready->sub.told_alias;
        frame_batch_clear(batch);
        link_gather(link);
        if (batch->count == 0)
            return false;
        link_offer_batch(link, from, told_alias);
    }
    return link_send_batch(link, is_gone);
}

/* --- words that wait for frames (joining.h, deferred.h) --- */

/* A few words, and nothing that must leave before them. */
static bool link_may_wait(const struct link *link)
{
    const struct link_waiting *waiting = link_waiting(link);

    return !link->is_over && !link_stream(link)->is_full && waiting != NULL && waiting->words.len > 0 &&
           waiting->words.len <= JOINING_WORDS_BYTES_MAX && !cut_frame_is_there(&waiting->cut);
}

void link_join(struct link *link)
{
    link->is_joining = link_may_wait(link);
    link_mark(link);
}

/* Nothing was drawn. Do the words wait for longer? */
static bool link_goes_on_waiting(struct link *link)
{
    if (link_is_deferred(link))
        return true;  /* until its time is up */
    if (reader_is_up_to_date(link_reader(link)))
        return false;
    joining_add(link);
    return true;
}

/* False: the link goes on waiting, or not all was taken, or the stream is gone (*is_gone). */
static bool link_send_with_words(struct link *link, bool *is_gone)
{
    struct frame_batch *batch = &link->worker->batch;

    *is_gone = false;
    frame_batch_clear(batch);
    frame_batch_put_words(batch, buf_span(&link_waiting(link)->words));
    link_gather(link);
    if (batch->count == 0 && link_goes_on_waiting(link)) {
        frame_batch_clear(batch);
        return false;
    }
    link->is_joining = false;
    list_take(&link_waiting(link)->in_deferred);
    return link_send_batch(link, is_gone);
}

bool link_draw(struct link *link)
{
    struct reader *reader = link_reader(link);
    bool           is_gone, goes_on = true;

    link_tell_all_placed(link);
    near_list_take(&link->in_dirty);  /* what was said just now leaves with this */
    link->is_joining = link->is_joining && link_may_wait(link);
    if (link_is_deferred(link) && !link_may_wait(link))
        list_take(&link_waiting(link)->in_deferred);
    if (link->is_joining || link_is_deferred(link))
        goes_on = link_send_with_words(link, &is_gone);
    if (goes_on)
        goes_on = link_flush_waiting(link, &is_gone);
    while (goes_on && !link->is_over && reader_last_ready(reader) != NULL && !(link->needs_all && reader->unplaced_count > 0))
        goes_on = link_send_some(link, &is_gone);
    if (is_gone) {
        link->kind->lost(link);
        return false;
    }
    if (goes_on && !link->is_over && link_device(link) != NULL)
        group_follow_settle(&link_device(link)->groups, link);
    if (link_stream(link)->is_full) {
        link_set_lagging(link, true);
        reader_let_go(reader);
    } else if (link->is_lagging && !reader_is_behind(reader)) {
        link_set_lagging(link, false);
    }
    return true;
}

void link_on_writable(struct link *link)
{
    link_mark(link);
}
