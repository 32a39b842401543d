/* link_draw.c - what a link is sent: the rest of a frame that was cut, words, and what is drawn from its reader. */
#include "base/must.h"
#include "reactor/log.h"
#include "session/deferred.h"
#include "session/device_link.h"
#include "session/instruction.h"
#include "session/joining.h"
#include "session/link_priv.h"

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

static void link_gather(struct link *link, struct frame_batch *batch)
{
    struct reader_sub *sub;
    struct entry       entry;

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

    if (reader->sub_count != 1 || reader_last_ready(reader) != NULL || batch->part.message_count != batch->count ||
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

static void link_count_sent(struct link *link, const struct frame_mark *marks, const struct frame_part *part,
                            size_t frame_count)
{
    struct session_worker *worker        = link->worker;
    size_t                 message_count = part->message_count;

    for (size_t i = frame_count; i < part->count; i++)
        message_count -= marks[i].is_message;
    counter_add(&worker->counters.delivered[link->transport], message_count);
    for (size_t i = 0; frame_count > message_count && i < frame_count; i++)
        counter_add(&worker->counters.gaps, !marks[i].is_message && !marks[i].sub->sub.is_notify);
    if (message_count > 0)
        latency_add(&worker->latency, worker->loop->wall - part->oldest, message_count);
}

/* `bytes`: the frame as this link is sent it. */
static void link_hold_cut(struct link *link, const struct frame_mark *mark, struct span bytes, size_t at)
{
    struct cut_frame *cut   = &link_get_waiting(link)->cut;
    struct frame     *frame = mark->frame != NULL ? frame_ref(mark->frame) : frame_new(bytes);

    cut->sub    = mark->sub;
    cut->before = mark->before;
    cut->seq    = subscription_seen(&mark->sub->sub);
    cut->epoch  = subscription_seen_epoch(&mark->sub->sub);
    cut_frame_hold(&link->worker->cuts, cut, frame, link->is_chunked, at);
    frame_unref(frame);
}

/* The stream took only the bytes before `at` of the batch. The frame that was cut is kept, and the places go back over the frames
 * behind it. Returns how many frames were sent or begun. */
static size_t link_take_back(struct link *link, const struct frame_batch *batch, const struct frame_part *part, size_t at)
{
    size_t first = frame_part_at(batch, part, at), begin = frame_part_begin(batch, part, first);
    bool   is_cut = at > begin;

    for (size_t i = part->first + part->count; i-- > first + is_cut;)
        reader_rewind(link_reader(link), &link->worker->readers, batch->marks[i].sub, &batch->marks[i].before);
    if (is_cut)
        link_hold_cut(link, &batch->marks[first], span_of(batch->bytes.at + begin, batch->marks[first].end - begin), at - begin);
    return first + is_cut - part->first;
}

/* This part of the batch, which begins with so many bytes of the words that wait. True: the stream took all of it. */
static bool link_send_part(struct link *link, const struct frame_batch *batch, const struct frame_part *part, bool *is_gone)
{
    const struct frame_mark *marks = &batch->marks[part->first];
    size_t                   put;
    bool                     is_whole = link_write(link, frame_part_span(batch, part), &put, is_gone);

    link->has_delivered |= part->count > 0;
    if (part->word_bytes > 0)
        buf_drop(&link_waiting(link)->words, put < part->word_bytes ? put : part->word_bytes);
    if (is_whole) {
        link_count_sent(link, marks, part, part->count);
        return true;
    }
    size_t count = link_take_back(link, batch, part, part->begin + put);
    if (!*is_gone)
        link_count_sent(link, marks, part, count);
    return false;
}

/* True: the stream took all, and there may be more. */
static bool link_send_batch(struct link *link, bool *is_gone)
{
    struct frame_batch *batch = &link->worker->batch;

    if (link_send_part(link, batch, &batch->part, is_gone))
        return !link_stream(link)->is_full;  /* the maker may hold bytes that it could not send yet */
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
        link_gather(link, batch);
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
    link_gather(link, batch);
    if (batch->count == 0 && link_goes_on_waiting(link)) {
        frame_batch_clear(batch);
        return false;
    }
    link->is_joining = false;
    list_take(&link_waiting(link)->in_deferred);
    return link_send_batch(link, is_gone);
}

static void link_lag(struct link *link)
{
    link_set_lagging(link, true);
    reader_let_go(link_reader(link));
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
        link_lag(link);
    } else if (link->is_lagging && !reader_is_behind(reader)) {
        link_set_lagging(link, false);
    }
    return true;
}

void link_on_writable(struct link *link)
{
    link_mark(link);
}

/* --- many links at once (burst.h) --- */

/* Nothing but words and messages that no other link of this loop is sent, and nothing that drawing would tell first or settle
 * behind it. */
static bool link_is_simple(const struct link *link)
{
    const struct link_waiting *waiting = link_waiting(link);
    const struct reader       *reader  = link_reader(link);
    const struct reader_sub   *sub     = reader_first(reader);

    if (!link->kind->may_burst || link_stream(link)->is_full || link->is_lagging || link->is_over || link->is_faulted ||
        link->is_resting || link->is_joining || link_is_deferred(link) || link_device(link) != NULL || reader->unplaced_count > 0)
        return false;
    if (waiting != NULL && (cut_frame_is_there(&waiting->cut) || waiting->words.len > BURST_WORD_BYTES_MAX))
        return false;
    return sub == NULL || subscription_is_alone(&sub->sub);
}

bool link_draw_ahead(struct link *link)
{
    struct burst       *burst = &link->worker->burst;
    struct frame_batch *batch = &burst->batch;

    if (!link_is_simple(link))
        return false;
    if (burst->count == BURST_LINKS_MAX || !frame_batch_has_room(batch))
        burst_send(burst);
    frame_batch_begin_part(batch);
    if (link_waiting(link) != NULL)
        frame_batch_put_words(batch, buf_span(&link_waiting(link)->words));
    link_gather(link, batch);
    if (batch->part.count == 0 && batch->part.word_bytes == 0)
        return false;
    burst->links[burst->count++] = (struct burst_link){ link, batch->part };
    return true;
}

/* False: the stream is gone. */
static bool link_send_ahead(struct link *link, const struct frame_batch *batch, const struct frame_part *part)
{
    bool is_gone;
    bool is_whole = link_send_part(link, batch, part, &is_gone);

    if (part->word_bytes > 0 && link_waiting(link)->words.len == 0 && !cut_frame_is_there(&link_waiting(link)->cut))
        link_drop_waiting(link);
    if (is_gone)
        return false;
    if (!is_whole || link_stream(link)->is_full)
        link_lag(link);
    else if (reader_last_ready(link_reader(link)) != NULL)
        link_mark(link);
    return true;
}

/* Links end when nothing of the batch is needed any more. */
void burst_send(struct burst *burst)
{
    const size_t count = burst->count;
    size_t       lost  = 0;

    for (size_t i = 0; i < count; i++) {
        struct link *link = burst->links[i].link;
        if (!link_send_ahead(link, &burst->batch, &burst->links[i].part))
            burst->links[lost++].link = link;
    }
    burst->count = 0;
    frame_batch_clear(&burst->batch);
    for (size_t i = 0; i < lost; i++)
        burst->links[i].link->kind->lost(burst->links[i].link);
}
