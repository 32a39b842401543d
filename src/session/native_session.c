/* native_session.c - the life of a client on the native protocol: opening, silence, closing (docs/protocol.md section 9). */
#include "session/native_session.h"

#include "base/must.h"
#include "codec/bin/bin.h"
#include "codec/ws/ws.h"
#include "session/hand_over.h"
#include "session/serve.h"
#include "session/session.h"

static struct native_session *native_session_of(struct link *link)
{
    return container_of(container_of(link, struct client, link), struct native_session, client);
}

size_t native_session_bytes(void)
{
    return sizeof(struct native_session);
}

void native_session_free(struct native_session *session)
{
    struct session_worker *worker = session->client.link.worker;

    wheel_disarm(&worker->loop->wheel, &session->client.timer);
    stream_close(link_stream(&session->client.link));
    client_fini(&session->client);
    pool_give(&worker->native_sessions, session);
}

static void native_session_lost(struct link *link)
{
    native_session_free(native_session_of(link));
}

/* --- closing -------------------------------------------------------------------------------------------------- */

void native_put_closing(struct buf *words, uint16_t code, const char *reason)
{
    struct bin_frame frame;

    bin_init(&frame, BIN_CLOSING);
    bin_set_number(&frame, BIN_CODE, code);
    bin_set_bytes(&frame, BIN_REASON, span_str(reason));
    bin_put(words, BIN_SERVER, &frame);
}

void native_session_close(struct native_session *session, uint16_t code, const char *reason)
{
    struct link           *link   = &session->client.link;
    struct session_worker *worker = link->worker;

    if (link->is_over)
        return;
    link->is_over = true;
    native_put_closing(link_words(link), code, reason);
    link_mark(link);
    wheel_arm(&worker->loop->wheel, &session->client.timer, worker->loop->now + worker->limits.close_timeout_ms);
}

static void native_close_client(struct client *client, enum client_close why, const char *reason)
{
    native_session_close(container_of(client, struct native_session, client), client_close_code(why), reason);
}

static void native_close_by_code(struct client *client, uint16_t code, const char *reason)
{
    native_session_close(container_of(client, struct native_session, client), code, reason);
}

static void native_session_leave(struct link *link)
{
    client_send_away(&native_session_of(link)->client, CLIENT_CLOSE_GOING_AWAY, "the server is stopping; come again");
}

/* --- turns ---------------------------------------------------------------------------------------------------- */

/* A `closing` of ours is said once: by native_session_close(), which always follows. */
static void native_put_frame(struct buf *words, struct span frame)
{
    buf_put(words, frame);
}

static void native_answered(struct client *client)
{
    if (client->link.is_resting)
        stream_more(link_stream(&client->link));
}

static void native_go_on(struct client *client, char *bytes, size_t len)
{
    struct native_session *session = container_of(client, struct native_session, client);

    native_session_note_connect(session);
    native_session_take(session, span_of(bytes, len));
    native_answered(client);
    link_mark(&client->link);
}

static void native_on_readable(struct stream *stream, void *owner)
{
    struct native_session *session = owner;

    (void)stream;
    if (native_session_read(session))
        client_drop_work_if_done(&session->client);
}

static void native_on_writable(struct stream *stream, void *owner)
{
    struct native_session *session = owner;

    link_on_writable(&session->client.link);
    if (session->client.link.is_resting)
        stream_more(stream);
}

static void native_session_draw(struct link *link)
{
    struct stream *stream = link_stream(link);

    if (!link_draw(link) || stream->is_full)
        return;  /* a full stream tells when to go on */
    if (link->is_faulted)
        native_session_free(native_session_of(link));
    else if (link->is_over)
        stream_shut(stream);  /* closing at once could overtake our last words with a reset */
    else if (link->is_resting)
        stream_more(stream);
}

/* --- silence -------------------------------------------------------------------------------------------------- */

static void native_ask(struct client *client)
{
    struct bin_frame frame;

    bin_init(&frame, BIN_PING);
    bin_put(link_words(&client->link), BIN_SERVER, &frame);
}

static void native_await_connect(struct native_session *session)
{
    struct session_worker *worker = session->client.link.worker;

    wheel_arm(&worker->loop->wheel, &session->client.timer, worker->loop->now + worker->limits.connect_timeout_ms);
}

static void native_on_timer(struct timer *timer, msec now)
{
    struct native_session *session = container_of(timer, struct native_session, client.timer);
    struct client         *client  = &session->client;
    msec                   next    = now;

    if (client->link.is_over) {
        native_session_free(session);
    } else if (client_is_identifying(client) || (!client->link.is_answered && stream_is_held_back(link_stream(&client->link)))) {
        native_await_connect(session);  /* the identification has a time limit of its own; or we do not read its `connect` yet */
    } else if (!client->link.is_answered) {
        native_session_close(session, WS_CLOSE_POLICY, "no connect came in time (head_timeout_s)");
    } else if (!client_is_welcome(client)) {
        return;
    } else if (client_is_dawdling(client, now)) {
        native_session_close(session, WS_CLOSE_POLICY, "the frame did not arrive in time (frame_timeout_s)");
    } else if (!client_watch(client, now, &next)) {
        native_session_free(session);
    } else {
        wheel_arm(&client->link.worker->loop->wheel, timer, next);
    }
}

/* --- opening -------------------------------------------------------------------------------------------------- */

static const struct stream_events native_session_events = {
    .on_readable = native_on_readable,
    .on_writable = native_on_writable,
};

static bool native_session_hand_over(const struct link *link, struct link_parcel *ret)
{
    ret->link.transport = HANDOVER_NATIVE;
    client_hand_over(container_of(link, const struct client, link), ret);
    return true;
}

static const struct client_kind native_kind = {
    .link = {
        .encode = client_encode,
        .put    = client_put,
        .placed = client_placed,
        .left   = client_left,
        .draw   = native_session_draw,
        .lost   = native_session_lost,
        .leave  = native_session_leave,
        .end    = client_end,
        .presence = client_presence,
        .expiring = client_expiring,
        .unwelcome = client_unwelcome,
        .hand_over = native_session_hand_over,
        .is_busy = client_is_busy,
    },
    .dialect       = &bin_dialect,
    .transport     = TRANSPORT_NATIVE,
    .says_closing  = true,
    .put_frame     = native_put_frame,
    .close         = native_close_client,
    .close_by_code = native_close_by_code,
    .ask           = native_ask,
    .answered      = native_answered,
    .go_on         = native_go_on,
};

static struct native_session *native_session_open(struct session_worker *worker, struct stream *stream)
{
    struct native_session *session = pool_take(&worker->native_sessions);

    must(loop_is_here(worker->loop));
    client_init(&session->client, worker, &native_kind, NULL, 0);
    link_set_stream(&session->client.link, stream);
    session->client.timer.fire  = native_on_timer;
    stream_start(stream, &native_session_events, session);
    return session;
}

struct link *native_session_take_over(struct session_worker *worker, struct stream *stream, const struct handover_link *told,
                                      struct identity *holder)
{
    struct native_session *session = pool_take(&worker->native_sessions);
    struct link           *link    = &session->client.link;

    client_init(&session->client, worker, &native_kind, holder, told->key);
    session->client.timer.fire = native_on_timer;
    link_set_stream(link, stream);
    link->is_answered          = (told->flags & HANDOVER_IS_ANSWERED) != 0;
    stream_start(stream, &native_session_events, session);
    client_take_over(&session->client, told);
    if (link->is_answered)
        client_await_beat(&session->client);
    else
        native_await_connect(session);
    return link;
}

void session_accept_native(struct session_worker *worker, struct stream *stream)
{
    struct native_session *session = native_session_open(worker, stream);

    native_await_connect(session);
    if (worker->is_stopping)
        native_session_leave(&session->client.link);
}

void session_refuse_native(struct session_worker *worker, struct stream *stream, unsigned error, const char *reason)
{
    struct native_session *session = native_session_open(worker, stream);

    if (error != 0)
        client_say_error(&session->client, error, reason, SPAN(""));
    native_session_close(session, error != 0 ? CLOSE_TOO_MANY : WS_CLOSE_TRY_LATER, reason);
}

void session_drop_native(struct session_worker *worker, struct stream *stream, const char *reason)
{
    struct buf words;

    must(loop_is_here(worker->loop));
    buf_init(&words, 1024);
    native_put_closing(&words, WS_CLOSE_TRY_LATER, reason);
    stream_write(stream, buf_span(&words));
    buf_fini(&words);
    stream_close(stream);
}
