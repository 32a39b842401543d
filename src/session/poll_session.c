/* poll_session.c - one long poll. It is answered at once if there is a message or a gap, else as soon as there is one,
 * else with an empty list when the client's time is up.
 *
 * {"messages":[…],"cursor":"…"}; a gap stands in the list as its own object. An answer marks nothing as delivered: the
 * client's next cursor says what it has received (threat 81). */
#include <stdlib.h>

#include "base/must.h"
#include "session/device_link.h"
#include "session/instruction.h"
#include "session/session.h"
#include "session/serve.h"

enum { POLL_MESSAGES_MAX = 1000, POLL_BYTES_MAX = 1024 * 1024, BODY_BYTES_KEPT = 4 * FRAME_BATCH_BYTES,
       POLL_NOTES_BYTES_MAX = 256 * 1024 };

struct poll_session {
    struct link           link;
    struct reader         reader;
    struct timer          timer;
    struct http_exchange *exchange;
    msec                  wait_ms;
    size_t                named_count;  /* places that the client's cursor named */
    struct buf            notes;        /* of presence, with commas between; at most POLL_NOTES_BYTES_MAX */
    bool                  has_news;     /* among them: not the numbers of the beginning alone */
    struct buf            held;         /* the answer, while the channels of its instructions are followed; empty: none */
};

size_t poll_session_bytes(void)
{
    return sizeof(struct poll_session);
}

static struct poll_session *poll_session_of(struct link *link)
{
    return container_of(link, struct poll_session, link);
}

static void poll_session_free(struct poll_session *session)
{
    struct session_worker *worker = session->link.worker;

    wheel_disarm(&session->link.worker->loop->wheel, &session->timer);
    link_fini(&session->link);
    buf_fini(&session->notes);
    buf_fini(&session->held);
    reader_fini(&session->reader, &worker->readers, worker->loop->now);
    pool_give(&worker->poll_sessions, session);
}

/* Draws all that is ready into `body`; returns the number of entries. */
static size_t poll_session_gather(struct poll_session *session, struct buf *body, msec *ret_oldest)
{
    struct link     *link  = &session->link;
    struct session_worker     *worker  = link->worker;
    size_t           count = 0, moved = session->named_count;
    struct reader_sub *sub;
    struct entry     entry;

    *ret_oldest = worker->loop->wall;
    while (count < POLL_MESSAGES_MAX && (link_device(link) == NULL || moved < SESSION_TOKEN_PLACES_MAX) && body->len < POLL_BYTES_MAX && (sub = link_look(link, &entry)) != NULL) {
        if (count++ > 0 || session->notes.len > 0)
            buf_putc(body, ',');
        if (entry.message != NULL) {
            if (sub->sub.is_heard)
                instruction_note(link, entry.message);
            struct frame *frame = frames_get(&worker->frames, entry.message, ENCODING_JSON);
            buf_put(body, frame_span(frame, false));
            frame_unref(frame);
            counter_add(&worker->counters.delivered[TRANSPORT_POLL], 1);
            if (entry.message->time < *ret_oldest)
                *ret_oldest = entry.message->time;
        } else if (reader_entry_is_notify(sub, &entry)) {
            notify_told(link, sub, NOTIFY_QUIET_MS);
            json_put_notify(body, channel_name_span(subscription_name(&sub->sub)), subscription_epoch(&sub->sub),
                            entry.gap.to, SPAN(""));
            subscription_step(&sub->sub, &entry);
            continue;  /* the session's place stays where it was */
        } else {
            counter_add(&worker->counters.gaps, 1);
            json_put_gap(body, channel_name_span(subscription_name(&sub->sub)), subscription_epoch(&sub->sub),
                         &entry.gap, SPAN(""));
        }
        subscription_step(&sub->sub, &entry);
        moved += !sub->sub.is_moved;
        device_link_note_moved(sub);
    }
    return count;
}

static void poll_session_answer(struct poll_session *session, struct buf *body)
{
    struct session_worker *worker  = session->link.worker;
    struct buf  *token = &worker->frames.token;

    buf_put_lit(body, "],\"cursor\":");
    buf_clear(token);
    if (link_put_token(&session->link, 0, token)) {
        buf_putc(body, '"');
        buf_put(body, buf_span(token));
        buf_putc(body, '"');
    } else {
        buf_put_lit(body, "null");  /* a channel has not answered: the client repeats its request unchanged */
    }
    buf_putc(body, '}');
    http_answer(worker->server, session->exchange, &(struct http_answer){
        .status = 200,
        .media  = SPAN("application/json"),
        .fields = HTTP_FIELDS({ SPAN("Cache-Control"), SPAN("no-store, no-transform") }),
        .body   = buf_span(body),
    });
    link_note_disconnected(&session->link);  /* while it has its session */
    device_link_end(&session->link, true);
    counter_add(&worker->counters.bytes[TRANSPORT_POLL], body->len);
    if (body->cap > BODY_BYTES_KEPT)
        buf_fini(body);
    poll_session_free(session);
}

static struct buf *poll_session_body(struct poll_session *session)
{
    struct buf *body = &session->link.worker->batch.bytes;

    frame_batch_clear(&session->link.worker->batch);  /* what was drawn for another link can't be shared any more */
    if (session->held.len > 0) {
        buf_put(body, buf_span(&session->held));
        return body;
    }
    buf_put_lit(body, "{\"messages\":[");
    buf_put(body, buf_span(&session->notes));
    return body;
}

/* Back ends have told the session to follow or leave channels. It does so before the answer, which is the end of this link: what the
 * session keeps is known with the next poll. A channel that does not answer in time is not kept. */
static void poll_session_hold(struct poll_session *session, const struct buf *body)
{
    struct session_worker *worker = session->link.worker;
    msec                   until  = worker->loop->now + worker->limits.poll_store_timeout_ms;

    buf_put(&session->held, buf_span(body));
    frame_batch_clear(&worker->batch);
    wheel_disarm(&worker->loop->wheel, &session->timer);
    wheel_arm(&worker->loop->wheel, &session->timer, until);
}

static void poll_session_answer_held(struct poll_session *session)
{
    if (instructions_wait(&session->link))
        return;
    link_note_gone(&session->link, LINK_GONE_ANSWERED);
    poll_session_answer(session, poll_session_body(session));
}

/* While many answers wait for clients to read them nothing is drawn: session_worker_tick() comes back to it. */
static void poll_session_draw(struct link *link)
{
    struct poll_session *session = poll_session_of(link);
    struct session_worker         *worker    = link->worker;
    msec                 oldest;

    link_tell_all_placed(link);
    if (link_reader(link)->unplaced_count > 0 || presence_follow_is_asking(link))
        return;
    if (session->held.len > 0) {
        poll_session_answer_held(session);
        return;
    }
    if (!http_is_at_ease(worker->server)) {
        worker->polls_wait = true;
        return;
    }
    struct buf *body  = poll_session_body(session);
    size_t      count = poll_session_gather(session, body, &oldest);
    if (count > 0)
        latency_add(&worker->latency, worker->loop->wall - oldest, count);
    if (instructions_wait(link)) {
        poll_session_hold(session, body);
        return;
    }
    if (count > 0 || session->has_news || (session->wait_ms == 0 && reader_is_up_to_date(link_reader(link)))) {
        link_note_gone(link, LINK_GONE_ANSWERED);
        poll_session_answer(session, body);
    }
}

static void poll_session_on_timer(struct timer *timer, msec now)
{
    struct poll_session *session = container_of(timer, struct poll_session, timer);

    (void)now;
    link_note_gone(&session->link, LINK_GONE_ANSWERED);
    poll_session_answer(session, poll_session_body(session));
}

static void poll_session_gone(void *owner)
{
    struct poll_session *session = owner;
    /* The client is gone, but its exchange lives until it is answered. Nobody reads that answer. */
    poll_session_answer(session, poll_session_body(session));
}

static void poll_session_lost(struct link *link)
{
    poll_session_gone(poll_session_of(link));
}

/* An answer has no place for a reason. The client comes again, and is told then. */
static void poll_session_end(struct link *link, enum link_end why)
{
    link_note_end(link, why);
    link->is_farewell = why == LINK_END_CUT_OFF || why == LINK_END_REVOKED;
    poll_session_gone(poll_session_of(link));
}

/* What a poll could not be told is in the next one's number. */
static void poll_session_presence(struct link *link, const struct presence_note *note)
{
    struct poll_session *session = poll_session_of(link);

    if (session->notes.len + PRESENCE_JSON_BYTES_MAX > POLL_NOTES_BYTES_MAX)
        return;
    if (session->notes.len > 0)
        buf_putc(&session->notes, ',');
    presence_note_put(&session->notes, note);
    buf_putc(&session->notes, '}');
    session->has_news |= !note->is_beginning;
    link_mark(link);
}

static void poll_session_placed(struct link *link, struct reader_sub *sub)
{
    device_link_placed(link, sub);
}

static const struct link_kind poll_session_kind = {
    .placed = poll_session_placed,
    .draw  = poll_session_draw,
    .lost  = poll_session_lost,
    .leave = poll_session_lost,
    .end   = poll_session_end,
    .presence = poll_session_presence,
};

void session_serve_poll(struct session_worker *worker, struct http_exchange *exchange,
                        const struct subscribe_requests *requests, const struct session_open *open)
{
    struct poll_session *session = pool_take(&worker->poll_sessions);

    must(loop_is_here(worker->loop));
    buf_init(&session->notes, POLL_NOTES_BYTES_MAX);
    buf_init(&session->held, SIZE_MAX / 2);
    reader_init(&session->reader);
    link_init(&session->link, worker, &poll_session_kind, &session->reader, TRANSPORT_POLL, ENCODING_JSON,
              exchange->caller.connection);
    link_take_holder(&session->link, identity_ref(exchange->caller.identity));
    session->timer.fire = poll_session_on_timer;
    session->exchange   = exchange;
    session->wait_ms    = worker->is_stopping ? 0 : requests->wait_ms;
    session->link.is_notify = requests->mode == MODE_NOTIFY;
    exchange->owner     = session;
    exchange->gone      = poll_session_gone;
    link_follow_all(&session->link, requests);
    if (open != NULL) {
        session->named_count = requests->named.count + requests->count;
        device_link_begin(&session->link, open);
        device_link_follow_all(&session->link, open, &requests->named);
    }
    if (session->wait_ms > 0 && subscribe_requests_are_known(requests))
        notify_hold_back(&session->link);
    link_note_connected(&session->link);
    if (requests->wants_presence)
        presence_follow_watch_all(&session->link);
    link_mark(&session->link);
    /* A poll with wait=0 waits for its channels to answer, too. If the store can't answer, poll_store_timeout_ms bounds
     * the wait. */
    wheel_arm(&worker->loop->wheel, &session->timer,
              worker->loop->now + (session->wait_ms > 0 ? session->wait_ms : worker->limits.poll_store_timeout_ms));
}
