/* stream_session.c - one client on an endless HTTP answer, in any stream format (stream_format.h). */
#include <stdio.h>
#include <stdlib.h>

#include "base/jitter.h"
#include "base/must.h"
#include "reactor/log.h"
#include "session/device_link.h"
#include "session/hand_over.h"
#include "session/session.h"
#include "session/stream_format.h"
#include "session/serve.h"

enum { BOUNDARY_BYTES = 32 };

struct stream_session {
    struct link                 link;
    struct reader               reader;
    const struct stream_format *format;
    const struct link_end_words *why;       /* the stream ends, and the client shall not come again; else NULL */
    uint64_t                    set;        /* of its tokens (subscribe_request.h); 0: they name their channels */
    struct timer                timer;      /* heartbeat; after the last words: ends the wait for the client to close */
    uint32_t                    expiring_s; /* the token ends in so long; to be said */
    const struct presence_note *note;       /* to be said */
    bool                        is_greeted; /* the client has been sent its place, with a message or alone */
    char                        boundary[BOUNDARY_BYTES + 1];
};

size_t stream_session_bytes(void)
{
    return sizeof(struct stream_session);
}

static struct stream_session *stream_session_of(struct link *link)
{
    return container_of(link, struct stream_session, link);
}

static void stream_session_free(struct stream_session *session)
{
    struct session_worker *worker = session->link.worker;

    wheel_disarm(&worker->loop->wheel, &session->timer);
    stream_close(link_stream(&session->link));
    link_fini(&session->link);
    reader_fini(&session->reader, &worker->readers, worker->loop->now);
    pool_give(&worker->stream_sessions, session);
}

static void stream_session_lost(struct link *link)
{
    stream_session_free(stream_session_of(link));
}

/* --- what is said -------------------------------------------------------------------------------------------- */

/* One piece that is no message, as a chunk. */
static void stream_session_say(struct stream_session *session,
                               void (*put)(struct buf *buf, const struct stream_piece *piece))
{
    struct link   *link   = &session->link;
    struct frames *frames = &link->worker->frames;

    if (put == NULL)
        return;
    buf_clear(&frames->token);
    buf_clear(&frames->scratch);
    link_put_token(link, session->set, &frames->token);
    put(&frames->scratch, &(struct stream_piece){
        .boundary = span_str(session->boundary), .token = buf_span(&frames->token), .why = session->why,
        .expiring_s = session->expiring_s, .note = session->note,
        .retry_ms = jitter(link->worker->limits.sse_retry_ms, link->worker->port->new_key(link->worker->ctx)),
    });
    struct frame *frame = frame_new_chunk(buf_span(&frames->scratch));
    buf_put(link_words(link), frame_span(frame, link->is_chunked));
    frame_unref(frame);
    link_mark(link);
}

static struct frame *stream_session_encode(struct link *link, struct reader_sub *sub, const struct entry *entry)
{
    struct stream_session *session = stream_session_of(link);

    session->is_greeted = true;
    if (reader_entry_is_notify(sub, entry))
        notify_told(link, sub, NOTIFY_QUIET_MS);
    else
        device_link_note_moved(sub);
    return stream_format_encode(session->format, span_str(session->boundary), session->set, link, sub, entry);
}

/* A client that has nothing to read yet is sent its place, too. If its link is cut then, it comes back with that place
 * and gets what was published in between. */
static void stream_session_greet_if_new(struct stream_session *session)
{
    if (session->is_greeted || !reader_is_up_to_date(link_reader(&session->link)))
        return;
    session->is_greeted = true;
    stream_session_say(session, session->format->put_place);
}

static void stream_session_placed(struct link *link, struct reader_sub *sub)
{
    device_link_placed(link, sub);
    stream_session_greet_if_new(stream_session_of(link));
}

/* `why` is NULL if the client may come again. */
static void stream_session_say_last(struct stream_session *session, const struct link_end_words *why)
{
    struct link           *link   = &session->link;
    struct session_worker *worker = link->worker;

    if (link->is_over)
        return;
    link->is_over = true;
    session->why  = why;
    if (why != NULL)
        stream_session_say(session, session->format->put_closing);
    stream_session_say(session, session->format->put_end);
    http_put_body_end(link->is_chunked, link_words(link));
    link_mark(link);
    wheel_arm(&worker->loop->wheel, &session->timer, worker->loop->now + worker->limits.close_timeout_ms);
}

static void stream_session_leave(struct link *link)
{
    stream_session_say_last(stream_session_of(link), NULL);
}

static void stream_session_end(struct link *link, enum link_end why)
{
    const struct link_end_words *words = link_end_words(why);

    link_note_end(link, why);
    link->is_farewell = why == LINK_END_CUT_OFF || why == LINK_END_REVOKED;
    stream_session_say_last(stream_session_of(link), words->may_come_again ? NULL : words);
}

static bool stream_session_expiring(struct link *link, msec in)
{
    struct stream_session *session = stream_session_of(link);

    session->expiring_s = (uint32_t)((in + 999) / 1000);
    stream_session_say(session, session->format->put_expiring);
    return true;
}

static void stream_session_presence(struct link *link, const struct presence_note *note)
{
    struct stream_session *session = stream_session_of(link);

    session->note = note;
    stream_session_say(session, session->format->put_presence);
    session->note = NULL;
}

/* --- heartbeats ---------------------------------------------------------------------------------------------- */

static void stream_session_drop_slow(struct stream_session *session)
{
    link_note_gone(&session->link, LINK_GONE_SLOW);
    stream_forget(link_stream(&session->link));
    counter_add(&session->link.worker->counters.dropped_slow, 1);
    LOG(LOG_INFO, "slow_reader_closed", log_str("transport", transport_text(session->format->transport)));
    stream_session_free(session);
}

static void stream_session_drop_silent(struct stream_session *session)
{
    link_note_gone(&session->link, LINK_GONE_SILENT);
    stream_forget(link_stream(&session->link));
    counter_add(&session->link.worker->counters.dropped_silent, 1);
    LOG(LOG_DEBUG, "silent_client_closed", log_str("transport", transport_text(session->format->transport)));
    stream_session_free(session);
}

static void stream_session_on_timer(struct timer *timer, msec now)
{
    struct stream_session       *session = container_of(timer, struct stream_session, timer);
    struct link                 *link    = &session->link;
    struct session_worker       *worker  = link->worker;
    const struct session_limits *limits  = &worker->limits;

    if (link->is_over) {
        stream_session_free(session);
    } else if (link_is_stuck(link, now)) {
        stream_session_drop_slow(session);
    } else if (stream_is_dead(link_stream(link), limits->heartbeat.asked_ms + limits->heartbeat.pong_timeout_ms)) {
        stream_session_drop_silent(session);
    } else if (identity_is_revoked(link->holder)) {
        link_note_gone(link, LINK_GONE_REVOKED);
        stream_session_leave(link);
    } else {
        if (link_waiting_bytes(link) == 0)
            stream_session_say(session, session->format->put_heartbeat);
        link_look_again(link);
        wheel_arm(&worker->loop->wheel, timer, now + limits->heartbeat.asked_ms);
    }
}

/* --- the stream ---------------------------------------------------------------------------------------------- */

static void stream_session_draw(struct link *link)
{
    if (!link_draw(link))
        return;
    if (!link->is_over)
        /* A reader that was behind may have nothing left to deliver, if those messages are kept no longer. */
        stream_session_greet_if_new(stream_session_of(link));
    else if (link_waiting_bytes(link) == 0)
        /* The last words have left. The end of the body follows, and the client has until the timer to close. */
        stream_shut(link_stream(link));
}

static void stream_session_on_readable(struct stream *stream, void *owner)
{
    if (!stream_drain(stream))
        stream_session_free(owner);
}

static void stream_session_on_writable(struct stream *stream, void *owner)
{
    struct stream_session *session = owner;

    (void)stream;
    link_on_writable(&session->link);
}

static const struct stream_events stream_session_events = {
    .on_readable = stream_session_on_readable,
    .on_writable = stream_session_on_writable,
};

static const struct stream_format *const told_formats[HANDOVER_TRANSPORTS] = {
    [HANDOVER_SSE] = &sse_format, [HANDOVER_SSE_RAW] = &sse_raw_format, [HANDOVER_NDJSON] = &ndjson_format,
    [HANDOVER_MULTIPART] = &multipart_format,
};

static bool stream_session_hand_over(const struct link *link, struct link_parcel *ret)
{
    const struct stream_session *session = container_of(link, const struct stream_session, link);
    uint8_t                      format  = HANDOVER_SSE;

    while (told_formats[format] != session->format)
        format++;
    ret->link.transport = format;
    ret->link.timer_at  = (uint64_t)session->timer.at;
    ret->link.token_set = session->set;
    ret->link.boundary  = span_str(session->boundary);
    ret->link.flags |= session->is_greeted ? HANDOVER_IS_GREETED : 0;
    ret->link.flags |= link->encoding == ENCODING_PRIVATE ? 0 : HANDOVER_IS_SHARED;
    return true;
}

static const struct link_kind stream_session_kind = {
    .encode = stream_session_encode,
    .placed = stream_session_placed,
    .draw   = stream_session_draw,
    .lost   = stream_session_lost,
    .leave  = stream_session_leave,
    .end    = stream_session_end,
    .expiring = stream_session_expiring,
    .hand_over = stream_session_hand_over,
    .presence = stream_session_presence,
};

/* The answer's head; the stream of its body becomes the session's. */
static void stream_session_open(struct stream_session *session, struct http_exchange *exchange, struct span media)
{
    /* Proxies such as nginx buffer answers unless a header forbids it, and those that compress hold events back until a
     * block is full (threat 84). */
    const struct http_fields fields = HTTP_FIELDS({ SPAN("Cache-Control"), SPAN("no-store, no-transform") },
                                                  { SPAN("X-Accel-Buffering"), SPAN("no") });
    struct http_server *server = session->link.worker->server;
    struct buf          whole;
    bool                is_chunked;

    buf_init(&whole, 256);
    buf_put(&whole, media);
    if (session->format->has_boundary)
        buf_putf(&whole, "; boundary=%s", session->boundary);
    link_set_stream(&session->link, http_open_stream(server, exchange,
        &(struct http_answer){ .status = 200, .media = buf_span(&whole), .fields = fields },
        link_words(&session->link), &is_chunked));
    session->link.is_chunked = is_chunked;
    buf_fini(&whole);
    stream_hand_over(link_stream(&session->link), &stream_session_events, session);
}

static struct stream_session *stream_session_new(struct session_worker *worker, const struct http_caller *caller,
                                                 const struct stream_format *format, size_t channel_count)
{
    struct stream_session *session = pool_take(&worker->stream_sessions);

    reader_init(&session->reader);
    link_init(&session->link, worker, &stream_session_kind, &session->reader, format->transport,
              channel_count == 1 ? format->shared : ENCODING_PRIVATE, caller->connection);
    session->format         = format;
    session->timer.fire     = stream_session_on_timer;
    link_take_holder(&session->link, identity_ref(caller->identity));
    session->link.needs_all = true;
    for (int i = 0; format->has_boundary && i < BOUNDARY_BYTES; i += 16)
        snprintf(session->boundary + i, 17, "%016llx", (unsigned long long)worker->port->new_key(worker->ctx));
    return session;
}

void session_serve_stream(struct session_worker *worker, struct http_exchange *exchange,
                          const struct subscribe_requests *requests, const struct stream_format *format,
                          struct span media, const struct session_open *open)
{
    struct stream_session *session = stream_session_new(worker, &exchange->caller, format,
                                                        open == NULL ? requests->count : 0);

    must(loop_is_here(worker->loop));
    session->set            = requests->set;
    session->link.is_notify = requests->mode == MODE_NOTIFY;
    stream_session_open(session, exchange, media);
    stream_session_say(session, format->put_start);
    link_follow_all(&session->link, requests);
    if (open != NULL) {
        device_link_begin(&session->link, open);
        device_link_follow_all(&session->link, open, &requests->named);
    }
    link_note_connected(&session->link);
    if (requests->wants_presence)
        presence_follow_watch_all(&session->link);
    link_mark(&session->link);
    wheel_arm(&worker->loop->wheel, &session->timer, worker->loop->now + worker->limits.heartbeat.asked_ms);
    if (worker->is_stopping)
        stream_session_leave(&session->link);
}

struct link *stream_session_take_over(struct session_worker *worker, struct stream *stream, const struct handover_link *told,
                                      struct identity *holder)
{
    const struct http_caller caller    = { .identity = holder, .connection = told->key };
    const msec               latest    = worker->loop->now + worker->limits.heartbeat.asked_ms;
    const bool               is_shared = (told->flags & HANDOVER_IS_SHARED) != 0;

    if (holder == NULL || told->boundary.len > BOUNDARY_BYTES) {
        stream_close(stream);
        return NULL;
    }
    struct stream_session *session = stream_session_new(worker, &caller, told_formats[told->transport], is_shared ? 1 : 0);
    memset(session->boundary, 0, sizeof session->boundary);
    if (told->boundary.len > 0)
        memcpy(session->boundary, told->boundary.at, told->boundary.len);
    session->set         = told->token_set;
    session->is_greeted  = (told->flags & HANDOVER_IS_GREETED) != 0;
    link_set_stream(&session->link, stream);
    stream_start(stream, &stream_session_events, session);
    wheel_arm(&worker->loop->wheel, &session->timer,
              told->timer_at < (uint64_t)latest ? (msec)told->timer_at : latest);
    return &session->link;
}
