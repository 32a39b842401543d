/* ws_session.c - the life of a client on a WebSocket: opening, silence, closing (docs/protocol.md). */
#include "base/must.h"
#include "codec/bin/bin.h"
#include "http/ws_upgrade.h"
#include "reactor/log.h"
#include "session/hand_over.h"
#include "session/member_subscribe.h"
#include "session/session.h"
#include "session/serve.h"
#include "session/ws_session.h"

enum { WS_FRAGMENTS_MAX = 1024 };

static struct ws_session *ws_session_of(struct link *link)
{
    return container_of(container_of(link, struct client, link), struct ws_session, client);
}

size_t ws_session_bytes(void)
{
    return sizeof(struct ws_session);
}

void ws_session_free(struct ws_session *session)
{
    struct session_worker *worker = session->client.link.worker;

    wheel_disarm(&worker->loop->wheel, &session->client.timer);
    stream_close(link_stream(&session->client.link));
    client_fini(&session->client);
    pool_give(&worker->ws_sessions, session);
}

static void ws_session_lost(struct link *link)
{
    ws_session_free(ws_session_of(link));
}

/* --- closing -------------------------------------------------------------------------------------------------- */

void ws_session_close(struct ws_session *session, uint16_t code, const char *reason)
{
    struct link           *link   = &session->client.link;
    struct session_worker *worker = link->worker;

    if (link->is_over)
        return;
    link->is_over = true;
    ws_put_close(link_words(link), code, span_str(reason));
    link_mark(link);
    wheel_arm(&worker->loop->wheel, &session->client.timer, worker->loop->now + worker->limits.close_timeout_ms);
}

static void ws_close_client(struct client *client, enum client_close why, const char *reason)
{
    ws_session_close(container_of(client, struct ws_session, client), client_close_code(why), reason);
}

static void ws_close_by_code(struct client *client, uint16_t code, const char *reason)
{
    ws_session_close(container_of(client, struct ws_session, client), code, reason);
}

static void ws_session_leave(struct link *link)
{
    client_send_away(&ws_session_of(link)->client, CLIENT_CLOSE_GOING_AWAY, "the server is stopping; come again");
}

/* --- turns ---------------------------------------------------------------------------------------------------- */

static void ws_put_text(struct buf *words, struct span frame)
{
    ws_put_frame(words, WS_TEXT, frame);
}

/* The length in front of the frame is left out. */
static void ws_put_binary(struct buf *words, struct span frame)
{
    struct span      inside;
    struct bin_fault fault;
    size_t           used;

    must(bin_split(frame, UINT32_MAX, &inside, &used, &fault) == BIN_SPLIT_FRAME);
    ws_put_frame(words, WS_BINARY, inside);
}

static void ws_answered(struct client *client)
{
    if (client->link.is_resting)
        stream_more(link_stream(&client->link));
}

static void ws_go_on(struct client *client, char *bytes, size_t len)
{
    if (len > 0)
        ws_session_take(container_of(client, struct ws_session, client), bytes, len);
    ws_answered(client);
    link_mark(&client->link);
}

static void ws_on_readable(struct stream *stream, void *owner)
{
    struct ws_session *session = owner;

    (void)stream;
    if (ws_session_read(session))
        client_drop_work_if_done(&session->client);
}

static void ws_on_writable(struct stream *stream, void *owner)
{
    struct ws_session *session = owner;

    link_on_writable(&session->client.link);
    if (session->client.link.is_resting)
        stream_more(stream);
}

static void ws_session_draw(struct link *link)
{
    struct ws_session *session = ws_session_of(link);
    struct stream     *stream  = link_stream(link);

    /* RFC 6455 7.1.1: both Closes are there, so the server ends the connection. */
    if (link->is_answered && link_waiting_bytes(link) == 0) {
        ws_session_free(session);
        return;
    }
    if (!link_draw(link) || stream->is_full)
        return;  /* a full stream tells when to go on */
    if (link->is_answered)
        ws_session_free(session);
    else if (link->is_faulted)
        stream_shut(stream);  /* RFC 6455 7.1.7; closing at once could overtake our Close with a reset */
    else if (link->is_resting)
        stream_more(stream);
}

/* --- silence -------------------------------------------------------------------------------------------------- */

static void ws_ask(struct client *client)
{
    ws_put_frame(link_words(&client->link), WS_PING, SPAN(""));
}

static void ws_on_timer(struct timer *timer, msec now)
{
    struct ws_session *session = container_of(timer, struct ws_session, client.timer);
    struct client     *client  = &session->client;
    msec               next    = now;

    if (client->link.is_over) {
        ws_session_free(session);
        return;
    }
    if (!client_is_welcome(client))
        return;
    if (client_is_dawdling(client, now)) {
        ws_session_close(session, WS_CLOSE_POLICY, "the message did not arrive in time");
        return;
    }
    if (!client_watch(client, now, &next)) {
        ws_session_free(session);
        return;
    }
    wheel_arm(&client->link.worker->loop->wheel, timer, next);
}

/* --- opening -------------------------------------------------------------------------------------------------- */

static const struct stream_events ws_session_events = {
    .on_readable = ws_on_readable,
    .on_writable = ws_on_writable,
};

static bool ws_session_hand_over(const struct link *link, struct link_parcel *ret)
{
    const struct ws_session *session = container_of(container_of(link, const struct client, link), const struct ws_session, client);

    ret->link.transport = encoding_plain(link->encoding) == ENCODING_WS_BIN ? HANDOVER_WS_BIN : HANDOVER_WS_JSON;
    ret->link.window    = (uint8_t)encoding_window(link->encoding);
    buf_clear(&ret->state);
    ws_put_state(&session->ws, &ret->state);
    ret->link.ws = buf_span(&ret->state);
    client_hand_over(&session->client, ret);
    return true;
}

#define WS_KIND(its_dialect, its_put_frame)                                                                            \
    {                                                                                                                  \
        .link = { .encode = client_encode, .placed = client_placed, .left = client_left, .draw = ws_session_draw,      \
                  .lost = ws_session_lost, .leave = ws_session_leave, .end = client_end, .presence = client_presence,                               \
                  .expiring = client_expiring, .unwelcome = client_unwelcome, .hand_over = ws_session_hand_over, .is_busy = client_is_busy }, \
        .dialect = its_dialect, .transport = TRANSPORT_WS, .put_frame = its_put_frame, .close = ws_close_client,       \
        .close_by_code = ws_close_by_code, .ask = ws_ask, .answered = ws_answered, .go_on = ws_go_on,                  \
    }

/* A kind for each subprotocol. Who asks for none gets the first. */
enum { WS_PROTOCOLS = 2 };
static const struct span our_protocols[WS_PROTOCOLS] = { SPAN("longwire.json.v1"), SPAN("longwire.bin.v1") };
static const struct client_kind ws_kinds[WS_PROTOCOLS] = {
    WS_KIND(&json_dialect, ws_put_text), WS_KIND(&ws_bin_dialect, ws_put_binary),
};

static size_t ws_protocol_of(const struct ws_handshake *shake)
{
    return shake->is_protocol_found ? shake->protocol : 0;
}

/* A client that names channels in its URL is let in here, others by their first command (commands.c). */
static void ws_session_follow(struct ws_session *session, const struct subscribe_requests *requests)
{
    struct link   *link = &session->client.link;
    struct put_off put_off;

    link->is_notify = requests->mode == MODE_NOTIFY;
    if (requests->count == 0) {
        link_follow_all(link, requests);  /* the channel of its key, if the request brings one */
        return;
    }
    link->is_let_in = session_lets_in(link->worker, subscribe_requests_are_known(requests), &put_off);
    if (!link->is_let_in) {
        client_put_off(&session->client, &put_off);
        return;
    }
    link_follow_all(link, requests);
    for (size_t i = 0; i < requests->count; i++)
        if (requests->at[i].needs_member)
            client_ask_member(&session->client, &requests->at[i], requests->not_member, SPAN(""));
}

/* Bytes that the client sent behind its request are taken as well. */
static void ws_session_start(struct ws_session *session, struct http_exchange *exchange,
                             const struct ws_handshake *shake, const struct request_head *head,
                             const struct subscribe_requests *requests)
{
    struct link           *link   = &session->client.link;
    struct session_worker *worker = link->worker;
    struct buf             unread;

    buf_init(&unread, SIZE_MAX / 2);
    link_set_stream(link, http_open_websocket(worker->server, exchange, shake, our_protocols[ws_protocol_of(shake)],
                                       link_words(link), &unread));
    stream_hand_over(link_stream(link), &ws_session_events, session);
    client_keep_fields(&session->client, head);
    client_say_connected(&session->client, NULL, false, SPAN(""));
    ws_session_follow(session, requests);
    if (!link->is_over && (requests->count > 0 || link_has_user(link)))
        link_note_connected(link);
    client_await_beat(&session->client);
    if (unread.len > 0)
        ws_session_take(session, unread.at, unread.len);
    buf_fini(&unread);
    if (worker->is_stopping)
        ws_session_leave(link);
}

static void ws_session_open(struct session_worker *worker, struct http_exchange *exchange,
                            const struct ws_handshake *shake, const struct request_head *head,
                            const struct subscribe_requests *requests)
{
    struct ws_session *session = pool_take(&worker->ws_sessions);

    client_init(&session->client, worker, &ws_kinds[ws_protocol_of(shake)], exchange->caller.identity,
                exchange->caller.connection);
    ws_init(&session->ws, worker->limits.frame_bytes_max, WS_FRAGMENTS_MAX);
    ws_skip_long(&session->ws);
    if (shake->window != WS_WINDOW_NONE)
        ws_allow_deflate(&session->ws);
    session->client.link.encoding = (uint8_t)encoding_with((enum encoding)session->client.link.encoding, shake->window);
    session->client.timer.fire = ws_on_timer;
    ws_session_start(session, exchange, shake, head, requests);
}

struct link *ws_session_take_over(struct session_worker *worker, struct stream *stream, const struct handover_link *told,
                                  struct identity *holder)
{
    struct ws_session *session = pool_take(&worker->ws_sessions);
    struct link       *link    = &session->client.link;

    client_init(&session->client, worker, &ws_kinds[told->transport == HANDOVER_WS_BIN], holder, told->key);
    ws_init(&session->ws, worker->limits.frame_bytes_max, WS_FRAGMENTS_MAX);
    ws_skip_long(&session->ws);
    if (told->window != WS_WINDOW_NONE)
        ws_allow_deflate(&session->ws);
    link->encoding             = (uint8_t)encoding_with((enum encoding)link->encoding, (enum ws_window)told->window);
    session->client.timer.fire = ws_on_timer;
    link_set_stream(link, stream);
    stream_start(stream, &ws_session_events, session);
    if (!ws_get_state(&session->ws, told->ws) || told->rest.len > CLIENT_REST_BYTES_MAX) {
        ws_session_free(session);
        return NULL;
    }
    client_take_over(&session->client, told);
    client_await_beat(&session->client);
    return link;
}

void session_serve_ws(struct session_worker *worker, struct http_exchange *exchange, const struct http_request *request)
{
    struct ws_handshake       shake;
    struct subscribe_requests requests;

    must(loop_is_here(worker->loop));
    if (request->head->method != HTTP_GET) {
        http_problem(worker->server, exchange, 405, NULL, "a WebSocket begins with a GET",
                     HTTP_FIELDS({ SPAN("Allow"), SPAN("GET") }));
        return;
    }
    if (!ws_handshake_or_refuse(worker->server, exchange, request, our_protocols, WS_PROTOCOLS, &shake))
        return;
    if (!worker->limits.has_compression)
        shake.window = WS_WINDOW_NONE;
    if (exchange->caller.identity == NULL) {
        http_refuse_caller(worker->server, exchange);
        return;
    }
    if (exchange->is_brief) {
        http_refuse_crowd(worker->server, exchange);
        return;
    }
    if (!serve_may_link(worker, exchange))
        return;
    subscribe_requests_init(&requests);
    if (!subscribe_requests_read(&requests, worker, request, exchange->caller.identity))
        refuse_requests(worker, exchange, &requests);
    else if (requests.wants_session)
        http_problem(worker->server, exchange, 400, NULL,
                     "a WebSocket opens its session by the frame connect, and goes on by its ticket", HTTP_NO_FIELDS);
    else if (requests.is_raw)
        http_problem(worker->server, exchange, 400, NULL,
                     "format=raw is a form of event streams; ask GET /v1/subscribe for one", HTTP_NO_FIELDS);
    else
        ws_session_open(worker, exchange, &shake, request->head, &requests);
    subscribe_requests_fini(&requests);
}
