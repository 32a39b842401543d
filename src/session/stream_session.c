/* stream_session.c - one client on an endless HTTP answer: SSE, NDJSON or multipart (RFC 9112 7.1 for the chunks). */
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "codec/json/json.h"
#include "codec/multipart/multipart.h"
#include "codec/sse/sse.h"
#include "codec/token/token.h"
#include "reactor/log.h"
#include "session/session.h"
#include "session/transport.h"

enum { BOUNDARY_BYTES = 32 };

struct stream_session {
    struct link   link;
    struct reader reader;
    struct timer timer;     /* heartbeat; while leaving: the end of our patience */
    msec         stuck_at;  /* since when the socket has taken nothing; 0: it takes */
    size_t       stuck_len; /* what waited then */
    bool         is_greeted;
    char         boundary[BOUNDARY_BYTES + 1];  /* multipart */
};

static struct stream_session *session_of(struct link *link)
{
    return container_of(link, struct stream_session, link);
}

static void session_free(struct stream_session *session)
{
    struct session_worker *worker = session->link.worker;

    wheel_disarm(&session->link.worker->loop->wheel, &session->timer);
    stream_close(session->link.stream);
    link_fini(&session->link);
    reader_fini(&session->reader, &worker->readers, worker->loop->now);
    free(session);
}

static void session_lost(struct link *link)
{
    session_free(session_of(link));
}

/* Puts words of our own as one chunk. */
static void session_say(struct stream_session *session, struct span words)
{
    struct link *link = &session->link;

    if (words.len == 0)
        return;
    struct frame *frame = frame_new_chunk(words);
    buf_put(link_words(link), frame_span(frame, link->is_chunked));
    frame_unref(frame);
    link_mark(link);
}

/* --- frames -------------------------------------------------------------------------------------------------- */

static void put_token(struct link *link, struct buf *token)
{
    buf_clear(token);
    must(link_put_token(link, token));
}

static struct frame *encode_private(struct stream_session *session, struct reader_sub *sub, const struct entry *entry)
{
    struct link   *link  = &session->link;
    struct frames *worker  = &link->worker->frames;
    struct buf    *scratch  = &worker->scratch;
    struct span    name  = channel_name_span(subscription_name(&sub->sub));
    uint64_t       epoch = subscription_epoch(&sub->sub);

    put_token(link, &worker->token);
    buf_clear(scratch);
    struct span token = buf_span(&worker->token);
    switch ((enum transport)link->transport) {
    case TRANSPORT_SSE:
        if (entry->message != NULL)
            sse_put_message(scratch, entry->message, token);
        else
            sse_put_gap(scratch, name, epoch, &entry->gap, token);
        break;
    case TRANSPORT_MULTIPART:
        if (entry->message != NULL)
            multipart_put_message(scratch, span_str(session->boundary), entry->message, token);
        else
            multipart_put_gap(scratch, span_str(session->boundary), name, epoch, &entry->gap, token);
        break;
    case TRANSPORT_NDJSON:
    case TRANSPORT_WS:
    case TRANSPORT_POLL:
    case TRANSPORT_ECHO:
    case TRANSPORT_COUNT:
        if (entry->message != NULL)
            json_put_message_line(scratch, entry->message, token);
        else
            json_put_gap(scratch, name, epoch, &entry->gap, token);
        buf_putc(scratch, '\n');
        break;
    }
    return frame_new_chunk(buf_span(scratch));
}

static struct frame *session_encode(struct link *link, struct reader_sub *sub, const struct entry *entry)
{
    struct stream_session *session = session_of(link);

    session->is_greeted = true;
    if (entry->message != NULL && link->encoding != ENCODING_PRIVATE)
        return frames_get(&link->worker->frames, entry->message, (enum encoding)link->encoding);
    return encode_private(session, sub, entry);
}

/* --- heartbeats ---------------------------------------------------------------------------------------------- */

static void say_ping_line(struct stream_session *session)
{
    struct link *link = &session->link;
    struct buf  *scratch = &link->worker->frames.scratch;

    buf_clear(scratch);
    buf_put_lit(scratch, "{\"type\":\"ping\"");
    if (link->reader->unplaced_count == 0) {
        put_token(link, &link->worker->frames.token);
        buf_put_lit(scratch, ",\"cursor\":\"");
        buf_put(scratch, buf_span(&link->worker->frames.token));
        buf_putc(scratch, '"');
    }
    buf_put_lit(scratch, "}\n");
    session_say(session, buf_span(scratch));
}

static void session_beat(struct stream_session *session)
{
    struct buf *scratch = &session->link.worker->frames.scratch;

    if (session->link.transport == TRANSPORT_NDJSON) {
        say_ping_line(session);
        return;
    }
    buf_clear(scratch);
    if (session->link.transport == TRANSPORT_MULTIPART)
        multipart_put_ping(scratch, span_str(session->boundary));
    else
        sse_put_heartbeat(scratch);
    session_say(session, buf_span(scratch));
}

/* A reader with nothing to read yet learns its place all the same, so that what comes while it is away is not lost to
 * it: for EventSource an event without data sets the last event id and nothing else (WHATWG HTML 9.2.6). */
static void session_greet_if_new(struct stream_session *session)
{
    struct link *link = &session->link;
    struct buf  *scratch = &link->worker->frames.scratch;

    if (session->is_greeted || !reader_is_up_to_date(link->reader))
        return;
    session->is_greeted = true;
    if (link->transport == TRANSPORT_NDJSON) {
        say_ping_line(session);
    } else if (link->transport == TRANSPORT_SSE) {
        put_token(link, &link->worker->frames.token);
        buf_clear(scratch);
        buf_put_lit(scratch, "id: ");
        buf_put(scratch, buf_span(&link->worker->frames.token));
        buf_put_lit(scratch, "\n\n");
        session_say(session, buf_span(scratch));
    }
}

static void session_placed(struct link *link, struct reader_sub *sub)
{
    (void)sub;
    session_greet_if_new(session_of(link));
}

/* Does the socket take anything? Judged at heartbeats. */
static bool session_is_stuck(struct stream_session *session, msec now)
{
    size_t waiting = link_waiting_bytes(&session->link);

    if (waiting == 0 || waiting != session->stuck_len || session->stuck_at == 0) {
        session->stuck_len = waiting;
        session->stuck_at  = waiting == 0 ? 0 : now;
        return false;
    }
    return now - session->stuck_at >= session->link.worker->limits.slow_reader_timeout_ms;
}

static void session_leave(struct link *link);

static void session_on_timer(struct timer *timer, msec now)
{
    struct stream_session *session = container_of(timer, struct stream_session, timer);
    struct session_worker           *worker    = session->link.worker;

    if (session->link.is_over) {
        session_free(session);
        return;
    }
    if (session_is_stuck(session, now)) {
        counter_add(&worker->counters.dropped_slow, 1);
        LOG(LOG_INFO, "slow_reader_closed", log_str("transport", transport_text((enum transport)session->link.transport)));
        session_free(session);
        return;
    }
    if (stream_is_dead(session->link.stream, worker->limits.heartbeat_ms + worker->limits.pong_timeout_ms)) {
        counter_add(&worker->counters.dropped_silent, 1);
        LOG(LOG_DEBUG, "silent_client_closed",
            log_str("transport", transport_text((enum transport)session->link.transport)));
        session_free(session);
        return;
    }
    if (session->link.holder->is_revoked) {  /* docs/decisions/0015 */
        session_leave(&session->link);
        return;
    }
    if (link_waiting_bytes(&session->link) == 0)
        session_beat(session);
    link_look_again(&session->link);
    wheel_arm(&worker->loop->wheel, timer, now + worker->limits.heartbeat_ms);
}

/* --- the stream ---------------------------------------------------------------------------------------------- */

static void session_draw(struct link *link)
{
    if (!link_draw(link))
        return;
    /* What a reader was behind by may come to nothing: kept no longer. Its last words are gone: it's told, and has
     * until the timer to close. */
    if (!link->is_over)
        session_greet_if_new(session_of(link));
    else if (link_waiting_bytes(link) == 0)
        stream_shut(link->stream);
}

static void session_leave(struct link *link)
{
    struct stream_session *session = session_of(link);
    struct session_worker           *worker    = link->worker;
    struct buf            *scratch    = &worker->frames.scratch;

    if (link->is_over)
        return;
    link->is_over = true;
    buf_clear(scratch);
    if (link->transport == TRANSPORT_SSE)
        sse_put_retry(scratch, worker->limits.sse_retry_ms);
    if (link->transport == TRANSPORT_MULTIPART)
        multipart_put_end(scratch, span_str(session->boundary));
    session_say(session, buf_span(scratch));
    http_put_body_end(link->is_chunked, link_words(link));
    link_mark(link);
    wheel_arm(&worker->loop->wheel, &session->timer, worker->loop->now + worker->limits.close_timeout_ms);
}

static void session_on_readable(struct stream *stream, void *owner)
{
    if (!stream_drain(stream))
        session_free(owner);
}

static void session_on_writable(struct stream *stream, void *owner)
{
    struct stream_session *session = owner;

    (void)stream;
    link_on_writable(&session->link);
}

static const struct stream_events session_events = {
    .on_readable = session_on_readable,
    .on_writable = session_on_writable,
};

static const struct link_kind session_kind = {
    .encode = session_encode,
    .placed = session_placed,
    .draw   = session_draw,
    .lost   = session_lost,
    .leave  = session_leave,
};

static enum encoding encoding_of(enum transport transport, size_t channel_count)
{
    /* One channel: the token depends on the message alone and the frame is everybody's. */
    if (channel_count == 1 && transport == TRANSPORT_SSE)
        return ENCODING_SSE;
    if (channel_count == 1 && transport == TRANSPORT_NDJSON)
        return ENCODING_NDJSON;
    return ENCODING_PRIVATE;
}

/* The answer's head; the stream of its body becomes the session's. */
static void open_stream(struct stream_session *session, struct http_exchange *exchange, struct span media)
{
    /* nginx and its like buffer answers unless told otherwise (threat 84). */
    const struct http_fields fields = HTTP_FIELDS({ SPAN("Cache-Control"), SPAN("no-store") },
                                                  { SPAN("X-Accel-Buffering"), SPAN("no") });
    struct http_server *server = session->link.worker->server;
    struct buf          whole;
    bool                is_chunked;

    buf_init(&whole, 256);
    buf_put(&whole, media);
    if (session->boundary[0] != '\0')
        buf_putf(&whole, "; boundary=%s", session->boundary);
    session->link.stream = http_open_stream(server, exchange,
        &(struct http_answer){ .status = 200, .media = buf_span(&whole), .fields = fields },
        link_words(&session->link), &is_chunked);
    session->link.is_chunked = is_chunked;
    buf_fini(&whole);
    stream_hand_over(session->link.stream, &session_events, session);
}

void session_serve_stream(struct session_worker *worker, struct http_exchange *exchange, struct subscribe_requests *requests,
                          enum transport transport, struct span media)
{
    struct stream_session *session = calloc(1, sizeof *session);

    must(session != NULL);
    reader_init(&session->reader);
    link_init(&session->link, worker, &session_kind, &session->reader, transport, encoding_of(transport, requests->count));
    session->timer.fire      = session_on_timer;
    session->link.holder     = identity_ref(exchange->caller.identity);
    session->link.needs_all  = true;
    if (transport == TRANSPORT_MULTIPART)
        for (int i = 0; i < BOUNDARY_BYTES; i += 16)
            snprintf(session->boundary + i, 17, "%016llx", (unsigned long long)worker->port->new_key(worker->ctx));

    open_stream(session, exchange, media);

    struct buf *scratch = &worker->frames.scratch;
    buf_clear(scratch);
    if (transport == TRANSPORT_SSE)
        sse_put_retry(scratch, worker->limits.sse_retry_ms);
    if (transport == TRANSPORT_MULTIPART)
        multipart_put_start(scratch, span_str(session->boundary));
    session_say(session, buf_span(scratch));
    link_follow_all(&session->link, requests);
    link_mark(&session->link);
    wheel_arm(&worker->loop->wheel, &session->timer, worker->loop->now + worker->limits.heartbeat_ms);
    if (worker->is_stopping)
        session_leave(&session->link);
}
