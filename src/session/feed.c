#include "session/feed.h"

#include <stdlib.h>

#include "base/must.h"
#include "codec/token/token.h"

enum { OWN_BYTES_MAX = 16 * 1024 * 1024 };  /* far above what sessions let wait; they stop reading long before */

void feed_init(struct feed *feed, struct session_worker *worker, const struct feed_kind *kind, enum transport transport,
               enum encoding encoding)
{
    *feed = (struct feed){ .worker = worker, .kind = kind, .transport = (uint8_t)transport, .encoding = (uint8_t)encoding };
    list_init(&feed->dirty);
    list_push(transport == TRANSPORT_POLL ? &worker->polls : &worker->sessions, &feed->link);
    counter_add(&worker->counters.sessions[transport], 1);
}

static void feed_set_lagging(struct feed *feed, bool is_lagging)
{
    if (feed->is_lagging == is_lagging)
        return;
    feed->is_lagging = is_lagging;
    if (is_lagging)
        counter_add(&feed->worker->counters.lagging, 1);
    else
        counter_sub(&feed->worker->counters.lagging, 1);
}

static void feed_drop_waiting(struct feed *feed)
{
    if (feed->waiting == NULL)
        return;
    frame_unref(feed->waiting->cut);
    buf_fini(&feed->waiting->own);
    free(feed->waiting);
    feed->waiting = NULL;
}

void feed_fini(struct feed *feed)
{
    while (feed->subs != NULL)
        feed_unfollow(feed, feed->subs);
    feed_set_lagging(feed, false);
    feed_drop_waiting(feed);
    list_take(&feed->dirty);
    list_take(&feed->link);
    counter_sub(&feed->worker->counters.sessions[feed->transport], 1);
}

/* --- who is to be looked at ---
 *
 *     ready ──► last ──► first ──► second ──► … ──► last
 *                        has news                   waits in line for a page
 *
 * Those with news are put first. Who turns out to need a page of the log goes to the end and asks when it is first. */

static struct feed_sub *feed_first(const struct feed *feed)
{
    return feed->ready == NULL ? NULL : feed->ready->next_ready;
}

static void feed_list(struct feed *feed, struct feed_sub *sub)
{
    if (sub->sub.is_listed)
        return;
    sub->sub.is_listed = true;
    if (feed->ready == NULL)
        feed->ready = sub;
    else
        sub->next_ready = feed->ready->next_ready;
    feed->ready->next_ready = sub;
}

static void feed_unlist_next(struct feed *feed, struct feed_sub *before)
{
    struct feed_sub *sub = before->next_ready;

    before->next_ready = sub->next_ready;
    if (sub == before)
        feed->ready = NULL;
    else if (sub == feed->ready)
        feed->ready = before;
    sub->sub.is_listed = sub->sub.is_in_line = false;
}

static void feed_unlist(struct feed *feed, struct feed_sub *sub)
{
    struct feed_sub *before = feed->ready;

    if (!sub->sub.is_listed)
        return;
    while (before->next_ready != sub)
        before = before->next_ready;
    feed_unlist_next(feed, before);
}

/* The first becomes the last. */
static void feed_stand_in_line(struct feed *feed)
{
    feed->ready                 = feed->ready->next_ready;
    feed->ready->sub.is_in_line = true;
}

/* --- subscriptions --- */

struct feed_sub *feed_follow(struct feed *feed, struct subscribe_request *wish)
{
    struct feed_sub *sub = pool_take(&feed->worker->subs);

    sub->next  = feed->subs;
    feed->subs = sub;
    feed->sub_count++;
    feed->unplaced++;
    subscription_open(&sub->sub, &feed->worker->shard->hub, wish->name, wish->start, feed, feed->worker->loop->now);
    channel_name_unref(wish->name);
    wish->name = NULL;
    return sub;
}

struct feed_sub *feed_find(const struct feed *feed, struct span channel)
{
    for (struct feed_sub *sub = feed->subs; sub != NULL; sub = sub->next)
        if (span_eq(channel_name_span(subscription_name(&sub->sub)), channel))
            return sub;
    return NULL;
}

void feed_unfollow(struct feed *feed, struct feed_sub *sub)
{
    struct feed_sub **at = &feed->subs;

    while (*at != sub)
        at = &(*at)->next;
    *at = sub->next;
    feed->sub_count--;
    if (!sub->sub.is_told)
        feed->unplaced--;
    feed_unlist(feed, sub);
    subscription_close(&sub->sub, &feed->worker->shard->hub, feed->worker->loop->now);
    free(sub->ref);
    pool_give(&feed->worker->subs, sub);
}

void feed_mark(struct feed *feed)
{
    if (!list_is_linked(&feed->dirty))
        list_push(&feed->worker->dirty, &feed->dirty);
}

/* The socket was full when last tried, and has not said that there is room again. */
static bool feed_is_blocked(const struct feed *feed)
{
    return feed->is_lagging && feed->stream->is_full;
}

void session_worker_ready(struct session_worker *worker, struct subscription *subscription)
{
    struct feed_sub *sub  = container_of(subscription, struct feed_sub, sub);
    struct feed     *feed = subscription->owner;

    (void)worker;
    feed_list(feed, sub);
    /* While the socket is full nothing is drawn, but the page that came meanwhile is let go. */
    if (!feed_is_blocked(feed) || !subscription_is_lean(subscription))
        feed_mark(feed);
}

void feed_look_again(struct feed *feed)
{
    for (struct feed_sub *sub = feed->subs; sub != NULL; sub = sub->next)
        if (subscription_is_behind(&sub->sub))
            feed_list(feed, sub);
    feed_mark(feed);
}

static bool feed_is_behind(const struct feed *feed)
{
    for (const struct feed_sub *sub = feed->subs; sub != NULL; sub = sub->next)
        if (subscription_is_behind(&sub->sub))
            return true;
    return false;
}

bool feed_is_up_to_date(const struct feed *feed)
{
    return feed->unplaced == 0 && !feed_is_behind(feed);
}

bool feed_put_token(const struct feed *feed, struct buf *buf)
{
    size_t count = 0;

    if (feed->unplaced > 0 || feed->sub_count == 0)
        return false;
    struct place  one    = { 0 };
    struct place *places = feed->sub_count == 1 ? &one : calloc(feed->sub_count, sizeof *places);
    must(places != NULL);
    for (const struct feed_sub *sub = feed->subs; sub != NULL; sub = sub->next)
        places[count++] = (struct place){ channel_name_span(subscription_name(&sub->sub)),
                                          subscription_seen_epoch(&sub->sub), subscription_seen(&sub->sub) };
    token_put(buf, places, count);
    if (places != &one)
        free(places);
    return true;
}

/* --- own words and what was cut --- */

static struct feed_waiting *feed_get_waiting(struct feed *feed)
{
    if (feed->waiting == NULL) {
        feed->waiting = calloc(1, sizeof *feed->waiting);
        must(feed->waiting != NULL);
        buf_init(&feed->waiting->own, OWN_BYTES_MAX);
    }
    return feed->waiting;
}

struct buf *feed_own(struct feed *feed)
{
    return &feed_get_waiting(feed)->own;
}

size_t feed_waiting(const struct feed *feed)
{
    const struct feed_waiting *waiting = feed->waiting;

    if (waiting == NULL)
        return 0;
    size_t cut = waiting->cut == NULL ? 0 : frame_span(waiting->cut, feed->is_chunked).len - waiting->cut_at;
    return cut + waiting->own.len;
}

/* False: the socket is full or gone; `is_gone` says which. */
static bool feed_write(struct feed *feed, struct span bytes, size_t *ret_put, bool *is_gone)
{
    struct session_counters *counters = &feed->worker->counters;
    ssize_t                  put      = stream_write(feed->stream, bytes);

    counter_add(&counters->writes, 1);
    *is_gone = put == STREAM_FAULT;
    *ret_put = put < 0 ? 0 : (size_t)put;
    counter_add(&counters->bytes[feed->transport], *ret_put);
    return *ret_put == bytes.len;
}

/* What goes before anything new. False: not all of it went, or the link is gone (*is_gone). */
static bool feed_flush_waiting(struct feed *feed, bool *is_gone)
{
    struct feed_waiting *waiting = feed->waiting;
    size_t               put;

    *is_gone = false;
    if (waiting == NULL)
        return true;
    if (waiting->cut != NULL) {
        struct span rest = span_skip(frame_span(waiting->cut, feed->is_chunked), waiting->cut_at);
        bool        all  = feed_write(feed, rest, &put, is_gone);
        waiting->cut_at += (uint32_t)put;
        if (!all)
            return false;
        frame_unref(waiting->cut);
        waiting->cut = NULL;
    }
    if (waiting->own.len > 0) {
        bool all = feed_write(feed, buf_span(&waiting->own), &put, is_gone);
        buf_drop(&waiting->own, put);
        if (!all)
            return false;
    }
    feed_drop_waiting(feed);
    return true;
}

/* --- drawing --- */

static void scratch_clear(struct scratch *scratch)
{
    for (size_t i = 0; i < scratch->count; i++)
        frame_unref(scratch->marks[i].frame);
    scratch->count         = 0;
    scratch->message_count = 0;
    scratch->channel       = NULL;
    scratch->oldest        = 0;
    buf_clear(&scratch->bytes);
    if (scratch->bytes.cap > 4 * SCRATCH_BYTES)  /* after a large message */
        buf_fini(&scratch->bytes);
}

void feed_forget_scratch(struct session_worker *worker)
{
    if (worker->scratch.count > 0)
        scratch_clear(&worker->scratch);
}

static void feed_tell_placed(struct feed *feed, struct feed_sub *sub)
{
    if (sub->sub.is_told || !subscription_is_placed(&sub->sub))
        return;
    sub->sub.is_told = true;
    feed->unplaced--;
    if (feed->kind->placed != NULL)
        feed->kind->placed(feed, sub);
}

static bool entry_is_pinned(const struct entry *entry)
{
    return entry->message == NULL && (entry->gap.why == GAP_AHEAD || entry->gap.why == GAP_EPOCH);
}

static void scratch_add(struct scratch *scratch, struct feed *feed, struct feed_sub *sub, const struct entry *entry)
{
    struct frame        *frame = feed->kind->encode(feed, sub, entry);
    struct scratch_mark *mark  = &scratch->marks[scratch->count++];

    buf_put(&scratch->bytes, frame_span(frame, feed->is_chunked));
    must(!buf_is_over(&scratch->bytes));
    *mark = (struct scratch_mark){
        .sub        = sub,
        .frame      = frame,
        .next       = sub->sub.next,
        .end        = scratch->bytes.len,
        .is_pinned  = entry_is_pinned(entry),
        .is_message = entry->message != NULL,
    };
    if (!mark->is_message)
        return;
    scratch->message_count++;
    if (scratch->oldest == 0 || entry->message->time < scratch->oldest)
        scratch->oldest = entry->message->time;
}

static bool scratch_has_room(const struct scratch *scratch)
{
    return scratch->count < SCRATCH_MARKS_MAX && scratch->bytes.len < SCRATCH_BYTES;
}

/* May it ask for one more page? A socket that was full takes little: of more than one page most would be let go. */
static bool feed_may_read(const struct feed *feed)
{
    unsigned max = feed->is_lagging ? 1 : FEED_READS_MAX, count = 0;

    if (feed->sub_count <= max)
        return true;
    for (const struct feed_sub *sub = feed->subs; sub != NULL && count < max; sub = sub->next)
        count += subscription_is_reading(&sub->sub);
    return count < max;
}

struct feed_sub *feed_look(struct feed *feed, struct entry *ret_entry)
{
    msec             wall = feed->worker->loop->wall;
    struct feed_sub *sub;

    while ((sub = feed_first(feed)) != NULL) {
        switch (subscription_look(&sub->sub, wall, ret_entry)) {
        case LOOK_ENTRY:
            return sub;
        case LOOK_UNREAD:
            if (!sub->sub.is_in_line) {
                feed_stand_in_line(feed);
                continue;
            }
            if (!feed_may_read(feed))
                return NULL;
            subscription_read(&sub->sub, &feed->worker->shard->hub);
            break;
        case LOOK_WAIT:
        case LOOK_READING:
            break;
        }
        feed_unlist_next(feed, feed->ready);
    }
    return NULL;
}

static void feed_gather(struct feed *feed)
{
    struct scratch  *scratch = &feed->worker->scratch;
    struct feed_sub *sub;
    struct entry     entry;

    while (scratch_has_room(scratch) && (sub = feed_look(feed, &entry)) != NULL) {
        /* The frame carries where the reader stands behind it, so the step comes first; the entry is still borrowed:
         * a page lets go of what was stepped over, so it is held here. */
        uint64_t before = sub->sub.next;
        if (entry.message != NULL)
            message_ref(entry.message);
        subscription_step(&sub->sub, &entry);
        scratch_add(scratch, feed, sub, &entry);
        scratch->marks[scratch->count - 1].next = before;
        message_unref(entry.message);
    }
}

/* The readers of one channel who stand at one place get the same bytes. */
static bool feed_may_share(const struct feed *feed)
{
    const struct scratch  *scratch = &feed->worker->scratch;
    const struct feed_sub *sub     = feed->ready;

    return scratch->channel != NULL && feed->sub_count == 1 && sub != NULL &&
           subscription_name(&sub->sub) == scratch->channel && sub->sub.next == scratch->from &&
           subscription_head(&sub->sub) + 1 == scratch->to && subscription_epoch(&sub->sub) == scratch->epoch &&
           feed->encoding == (uint8_t)scratch->encoding && feed->is_chunked == scratch->is_chunked &&
           subscription_is_plain(&sub->sub);
}

static void feed_share(struct feed *feed)
{
    struct scratch  *scratch = &feed->worker->scratch;
    struct feed_sub *sub     = feed->ready;

    subscription_skip(&sub->sub, scratch->to);
    for (size_t i = 0; i < scratch->count; i++)
        scratch->marks[i].sub = sub;
    feed_unlist_next(feed, sub);
}

static void scratch_offer(struct scratch *scratch, const struct feed *feed, uint64_t from)
{
    const struct feed_sub *sub = feed->subs;

    if (feed->sub_count != 1 || feed->ready != NULL || scratch->message_count != scratch->count ||
        feed->encoding == ENCODING_PRIVATE || sub->sub.next != subscription_head(&sub->sub) + 1 ||
        sub->sub.next - from != scratch->count)
        return;
    scratch->channel    = subscription_name(&sub->sub);
    scratch->epoch      = subscription_epoch(&sub->sub);
    scratch->from       = from;
    scratch->to         = sub->sub.next;
    scratch->encoding   = (enum encoding)feed->encoding;
    scratch->is_chunked = feed->is_chunked;
}

/* How many marks, from the first on, can't go back: what is told once and all before it, because it claims that. They
 * fit into the scratch, so that is little. */
static size_t scratch_pinned(const struct scratch *scratch)
{
    size_t count = scratch->count;

    while (count > 0 && !scratch->marks[count - 1].is_pinned)
        count--;
    return count;
}

/* The socket took `put` bytes only. The frame that was cut is kept, cursors go back over those behind it; what can't
 * be drawn again becomes words of our own. */
static void feed_take_back(struct feed *feed, size_t put)
{
    struct scratch *scratch = &feed->worker->scratch;
    size_t          pinned  = scratch_pinned(scratch), first = 0;

    while (first < scratch->count && scratch->marks[first].end <= put)
        first++;
    size_t begin = first == 0 ? 0 : scratch->marks[first - 1].end;
    if (put > begin) {
        struct feed_waiting *waiting = feed_get_waiting(feed);
        waiting->cut                 = frame_ref(scratch->marks[first].frame);
        waiting->cut_at              = (uint32_t)(put - begin);
        first++;
    }
    for (; first < pinned; first++)
        buf_put(feed_own(feed), frame_span(scratch->marks[first].frame, feed->is_chunked));
    for (size_t i = scratch->count; i-- > first;) {
        struct scratch_mark *mark = &scratch->marks[i];
        scratch->message_count -= mark->is_message;
        subscription_rewind(&mark->sub->sub, mark->next);
        feed_list(feed, mark->sub);
    }
}

static void feed_count_sent(struct feed *feed)
{
    struct session_worker *worker = feed->worker;

    counter_add(&worker->counters.delivered[feed->transport], worker->scratch.message_count);
    if (worker->scratch.message_count > 0)
        latency_add(&worker->latency, worker->loop->wall - worker->scratch.oldest, worker->scratch.message_count);
}

/* One write of news. True: all went, and there may be more. */
static bool feed_send_some(struct feed *feed, bool *is_gone)
{
    struct scratch *scratch = &feed->worker->scratch;
    size_t          put;

    *is_gone = false;
    if (feed_may_share(feed)) {
        feed_share(feed);
    } else {
        uint64_t from = feed->ready == NULL ? 0 : feed->ready->sub.next;
        scratch_clear(scratch);
        feed_gather(feed);
        if (scratch->count == 0)
            return false;
        scratch_offer(scratch, feed, from);
    }
    bool is_whole = feed_write(feed, buf_span(&scratch->bytes), &put, is_gone);
    if (*is_gone)
        return false;
    if (!is_whole)
        feed_take_back(feed, put);
    feed_count_sent(feed);
    if (!is_whole)
        scratch_clear(scratch);
    return is_whole;
}

void feed_tell_all_placed(struct feed *feed)
{
    /* Behind the last words (a Close, the last chunk) nothing may be said any more. */
    struct feed_sub *sub = feed->ready;

    if (sub == NULL || feed->unplaced == 0 || feed->is_over)
        return;
    do {
        sub = sub->next_ready;
        feed_tell_placed(feed, sub);
    } while (!feed->is_over && feed->unplaced > 0 && sub != feed->ready);
}

/* A slow reader costs a cursor: what was read for it is read again when there is room. */
static void feed_let_go(struct feed *feed)
{
    for (struct feed_sub *sub = feed->subs; sub != NULL; sub = sub->next)
        subscription_let_go(&sub->sub);
}

bool feed_draw(struct feed *feed)
{
    bool is_gone;

    feed_tell_all_placed(feed);
    bool goes_on = feed_flush_waiting(feed, &is_gone);
    while (goes_on && !feed->is_over && feed->ready != NULL && !(feed->needs_all && feed->unplaced > 0))
        goes_on = feed_send_some(feed, &is_gone);
    if (is_gone) {
        feed->kind->lost(feed);
        return false;
    }
    if (feed->stream->is_full) {
        feed_set_lagging(feed, true);
        feed_let_go(feed);
    } else if (feed->is_lagging && !feed_is_behind(feed)) {
        feed_set_lagging(feed, false);
    }
    return true;
}

void feed_on_writable(struct feed *feed)
{
    feed_mark(feed);
}
