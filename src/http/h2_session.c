/* h2_session.c - nghttp2 under an HTTP/2 connection: what it tells, and what it is told. */
#include <stdlib.h>

#include "base/must.h"
#include "http/h2_conn.h"
#include "http/h2_stream.h"
#include "reactor/log.h"

enum {
    HEADS_KEPT_MAX       = 64,
    OUTBOUND_ACKS_MAX    = 100,  /* answers to SETTINGS and PING that wait for the socket */
    CONTINUATIONS_MAX    = 8,    /* frames behind a HEADERS */
    SETTINGS_ENTRIES_MAX = 32,
};

struct h2_shared {
    nghttp2_session_callbacks *callbacks;
    nghttp2_option            *option;
    struct stream_maker        makers[2];  /* of streams that are encrypted, and that are not */
    struct h2_head            *heads[HEADS_KEPT_MAX];  /* that nobody uses */
    size_t                     head_count;
    struct h2_memory           memory;
};

/* --- heads ---------------------------------------------------------------------------------------------------- */

struct h2_head *h2_heads_take(struct http_server *server)
{
    struct h2_shared *shared = h2_shared_get(server);

    if (shared->head_count > 0)
        return shared->heads[--shared->head_count];
    struct h2_head *head = malloc(sizeof *head);
    must(head != NULL);
    h2_head_init(head, &server->limits.h1);
    return head;
}

static void h2_heads_free(struct h2_head *head)
{
    h2_head_fini(head);
    free(head);
}

void h2_heads_give(struct http_server *server, struct h2_head *head)
{
    struct h2_shared *shared = server->h2;

    if (head == NULL)
        return;
    if (shared->head_count == HEADS_KEPT_MAX) {
        h2_heads_free(head);
        return;
    }
    h2_head_clear(head);
    shared->heads[shared->head_count++] = head;
}

/* --- the connection's header block ---------------------------------------------------------------------------- */

static struct h2_exchange *h2_exchange_at(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

/* A client that sends what brings nothing, or that makes us begin what it then throws away, is told to leave. */
static int h2_calm_down(struct h2_conn *conn, const char *why)
{
    h2_conn_abort(conn, NGHTTP2_ENHANCE_YOUR_CALM, why);
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int h2_count_idle(struct h2_conn *conn)
{
    return h2_flood_idle(&conn->flood, conn->http.server->loop->now)
               ? 0 : h2_calm_down(conn, "too many frames that bring nothing");
}

static int h2_count_reset(struct h2_conn *conn)
{
    return h2_flood_reset(&conn->flood, conn->http.server->loop->now)
               ? 0 : h2_calm_down(conn, "too many requests that end before they are answered");
}

/* Something has come for a stream that is closed, or that was never begun. */
static int h2_judge_ended(struct h2_conn *conn, int32_t id)
{
    switch (h2_ended_judge(&conn->ended, (uint32_t)id)) {
    case H2_ENDED_BY_CLIENT:
        h2_conn_abort(conn, NGHTTP2_STREAM_CLOSED, "a frame for a stream that the client has ended");
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    case H2_ENDED_PASSED_OVER:
        h2_conn_abort(conn, NGHTTP2_PROTOCOL_ERROR, "a stream's number below that of an earlier one");
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    case H2_ENDED_FINE:
        break;
    }
    return 0;
}

static void h2_conn_drop_head(struct h2_conn *conn)
{
    h2_heads_give(conn->http.server, conn->head);
    conn->head = NULL;
}

/* nghttp2 tells of a frame that it drops here alone. */
static int h2_on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *ctx)
{
    struct h2_conn *conn = ctx;

    switch (hd->type) {
    case NGHTTP2_HEADERS:
        return nghttp2_session_find_stream(session, hd->stream_id) != NULL ? 0 : h2_judge_ended(conn, hd->stream_id);
    case NGHTTP2_DATA:
    case NGHTTP2_RST_STREAM:
    case NGHTTP2_CONTINUATION:
        return 0;
    default:
        return h2_count_idle(conn);
    }
}

static int h2_on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
    struct h2_conn *conn = ctx;

    h2_conn_drop_head(conn);  /* of a block that nghttp2 has given up */
    conn->head    = h2_heads_take(conn->http.server);
    conn->head_id = frame->hd.stream_id;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;  /* trailers */
    h2_flood_request(&conn->flood);
    h2_ended_begin(&conn->ended, (uint32_t)frame->hd.stream_id);
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, h2_exchange_new(conn, frame->hd.stream_id));
    return 0;
}

static int h2_on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                        const uint8_t *value, size_t value_len, uint8_t flags, void *ctx)
{
    struct h2_conn *conn = ctx;

    (void)session, (void)frame, (void)flags;
    must(conn->head != NULL);
    return h2_head_add(conn->head, span_of(name, name_len), span_of(value, value_len))
               ? 0 : h2_calm_down(conn, "a header block without an end");
}

/* nghttp2 leaves this field out. */
static int h2_on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                                size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *ctx)
{
    struct h2_conn *conn = ctx;

    (void)session, (void)frame, (void)name, (void)name_len, (void)value, (void)value_len, (void)flags;
    must(conn->head != NULL);
    h2_head_add_bad(conn->head);
    return 0;
}

/* --- frames --------------------------------------------------------------------------------------------------- */

static void h2_on_headers(struct h2_conn *conn, const nghttp2_frame *frame)
{
    struct h2_exchange *exchange = h2_exchange_at(conn->session, frame->hd.stream_id);
    struct h2_head     *head     = conn->head;
    bool                is_end   = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;

    conn->head = NULL;
    if (exchange == NULL || head == NULL) {
        h2_heads_give(conn->http.server, head);
        return;
    }
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        h2_exchange_on_head(exchange, head, is_end);
        return;
    }
    if (head->fault_status != 0)
        h2_exchange_refuse(exchange, head->fault_status, head->fault_reason);
    h2_heads_give(conn->http.server, head);
    if (is_end)
        h2_exchange_on_end(exchange);
}

static int h2_on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
    struct h2_conn *conn = ctx;

    (void)session;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        h2_on_headers(conn, frame);
        return 0;
    case NGHTTP2_DATA:
        if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
            struct h2_exchange *exchange = h2_exchange_at(conn->session, frame->hd.stream_id);
            if (exchange != NULL)
                h2_exchange_on_end(exchange);
            return 0;
        }
        return frame->hd.length > frame->data.padlen ? 0 : h2_count_idle(conn);
    case NGHTTP2_RST_STREAM:
        h2_ended_note(&conn->ended, (uint32_t)frame->hd.stream_id);
        return h2_count_reset(conn);
    case NGHTTP2_WINDOW_UPDATE:
    case NGHTTP2_SETTINGS:
        conn->has_window_news = true;
        return 0;
    default:
        return 0;
    }
}

static int h2_on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error, void *ctx)
{
    (void)session, (void)frame, (void)error;
    return h2_count_idle(ctx);
}

static int h2_on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t len, void *ctx)
{
    struct h2_conn     *conn     = ctx;
    struct h2_exchange *exchange = h2_exchange_at(session, id);

    (void)flags;
    /* What one stream does not read must not hold up the others, so the window of the connection opens at once. The
     * stream's own opens when its bytes are read, and no more when its request is answered without them. */
    must(nghttp2_session_consume_connection(session, len) == 0);
    if (exchange == NULL || (!exchange->is_served && !exchange->is_two_way))
        must(nghttp2_session_consume_stream(session, id, len) == 0);
    if (exchange != NULL)
        h2_exchange_on_body(exchange, span_of(bytes, len));
    http_conn_mark(&conn->http);
    return 0;
}

static int h2_on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
    struct h2_conn *conn = ctx;

    (void)session;
    if (frame->hd.type == NGHTTP2_DATA)
        h2_flood_data(&conn->flood);
    /* With CANCEL and NO_ERROR we end a stream for reasons of our own; all else the client has brought about. */
    if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_CANCEL &&
        frame->rst_stream.error_code != NGHTTP2_NO_ERROR &&
        !h2_flood_reset(&conn->flood, conn->http.server->loop->now))
        h2_conn_abort(conn, NGHTTP2_ENHANCE_YOUR_CALM, "too many requests that are faulty");
    return 0;
}

static int h2_on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *ctx)
{
    struct h2_conn     *conn     = ctx;
    struct h2_exchange *exchange = h2_exchange_at(session, id);

    (void)error;
    if (conn->head != NULL && conn->head_id == id)
        h2_conn_drop_head(conn);
    if (exchange == NULL)
        return 0;
    if (exchange->is_whole)
        h2_ended_note(&conn->ended, (uint32_t)id);
    exchange->is_closed = true;
    list_take(&exchange->link);
    list_push(&conn->closed, &exchange->link);
    http_conn_mark(&conn->http);
    return 0;
}

/* --- bodies of answers ---------------------------------------------------------------------------------------- */

static int h2_send_body(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t len,
                        nghttp2_data_source *source, void *ctx)
{
    struct h2_conn     *conn     = ctx;
    struct h2_exchange *exchange = source->ptr;

    (void)session;
    must(frame->data.padlen == 0 && exchange->answer.len - exchange->answer_at >= len);
    buf_put(&conn->out, span_of(head, 9));
    buf_put(&conn->out, span_of(exchange->answer.at + exchange->answer_at, len));
    h2_exchange_sent(exchange, len);
    return 0;
}

/* --- the session ---------------------------------------------------------------------------------------------- */

static nghttp2_session_callbacks *h2_callbacks_new(void)
{
    nghttp2_session_callbacks *callbacks;

    must(nghttp2_session_callbacks_new(&callbacks) == 0);
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, h2_on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, h2_on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, h2_on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, h2_on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, h2_on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, h2_on_invalid_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, h2_on_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, h2_on_frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, h2_on_stream_close);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, h2_send_body);
    return callbacks;
}

static nghttp2_option *h2_option_new(void)
{
    nghttp2_option *option;

    must(nghttp2_option_new(&option) == 0);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_outbound_ack(option, OUTBOUND_ACKS_MAX);
    nghttp2_option_set_max_settings(option, SETTINGS_ENTRIES_MAX);
    nghttp2_option_set_max_continuations(option, CONTINUATIONS_MAX);
    nghttp2_option_set_stream_reset_rate_limit(option, 2 * H2_RESETS_MAX, 2 * H2_RESETS_PER_S);  /* ours comes first */
    return option;
}

struct h2_shared *h2_shared_get(struct http_server *server)
{
    if (server->h2 != NULL)
        return server->h2;
    struct h2_shared *shared = calloc(1, sizeof *shared);
    must(shared != NULL);
    shared->callbacks = h2_callbacks_new();
    shared->option    = h2_option_new();
    for (int i = 0; i < 2; i++)
        h2_stream_maker_init(&shared->makers[i], server->loop, i == 1);
    server->h2 = shared;
    return shared;
}

void h2_shared_free(struct h2_shared *shared)
{
    if (shared == NULL)
        return;
    nghttp2_session_callbacks_del(shared->callbacks);
    nghttp2_option_del(shared->option);
    for (int i = 0; i < 2; i++)
        stream_maker_fini(&shared->makers[i]);
    while (shared->head_count > 0)
        h2_heads_free(shared->heads[--shared->head_count]);
    h2_memory_fini(&shared->memory);
    free(shared);
}

struct h2_memory *h2_shared_memory(struct h2_shared *shared)
{
    return &shared->memory;
}

struct stream_maker *h2_shared_maker(struct h2_shared *shared, bool is_secret)
{
    return &shared->makers[is_secret];
}

static void *h2_malloc(size_t len, void *ctx)
{
    return h2_memory_take(ctx, len);
}

static void h2_free(void *at, void *ctx)
{
    h2_memory_give(ctx, at);
}

static void *h2_calloc(size_t count, size_t len, void *ctx)
{
    must(len == 0 || count <= SIZE_MAX / len);
    return h2_memory_take_zeroed(ctx, count * len);
}

static void *h2_realloc(void *at, size_t len, void *ctx)
{
    return h2_memory_resize(ctx, at, len);
}

void h2_session_open(struct h2_conn *conn)
{
    struct http_server      *server = conn->http.server;
    struct h2_shared        *shared = h2_shared_get(server);
    nghttp2_mem              mem    = { &shared->memory, h2_malloc, h2_free, h2_calloc, h2_realloc };
    const nghttp2_settings_entry settings[] = {
        { NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, server->limits.streams_max },
        { NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, server->limits.h1.head_bytes_max },
        { NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1 },
        { NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1 },
    };

    h2_framing_init(&conn->framing);
    must(nghttp2_session_server_new3(&conn->session, shared->callbacks, conn, shared->option, &mem) == 0);
    must(nghttp2_submit_settings(conn->session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof settings[0]) == 0);
}

/* False: nothing more can be read. */
static bool h2_session_feed(struct h2_conn *conn, struct span input)
{
    must(!conn->is_receiving);
    conn->is_receiving = true;
    ssize_t used = nghttp2_session_mem_recv(conn->session, (const uint8_t *)input.at, input.len);
    conn->is_receiving = false;
    /* Of what is not fatal nghttp2 has told the client already; of the failure of a callback we have. */
    if (used < 0)
        h2_conn_abort(conn, used == NGHTTP2_ERR_BAD_CLIENT_MAGIC ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_ENHANCE_YOUR_CALM,
                      nghttp2_strerror((int)used));
    return !conn->is_over;
}

/* What nghttp2 drops and tells nobody of: DATA for a stream that is not open, PRIORITY, and frames of unknown types. */
static bool h2_is_dropped(const struct h2_conn *conn, const struct h2_frame_begin *begin)
{
    return begin->type == NGHTTP2_PRIORITY || begin->type > NGHTTP2_CONTINUATION ||
           (begin->type == NGHTTP2_DATA && nghttp2_session_find_stream(conn->session, (int32_t)begin->id) == NULL);
}

static bool h2_may_drop(struct h2_conn *conn, const struct h2_frame_begin *begin)
{
    if (begin->type == NGHTTP2_DATA)
        return h2_judge_ended(conn, (int32_t)begin->id) == 0 && h2_count_idle(conn) == 0;
    if (begin->type != NGHTTP2_PRIORITY || begin->id != 0)
        return h2_count_idle(conn) == 0;
    h2_conn_abort(conn, NGHTTP2_PROTOCOL_ERROR, "PRIORITY of no stream");
    return false;
}

void h2_session_take(struct h2_conn *conn, struct span input)
{
    size_t fed = 0, at = 0;
    bool   has_reset = false;  /* among the frames that nghttp2 has not seen yet: their streams will be gone */

    while (at < input.len) {
        struct h2_frame_begin begin;
        bool                  is_head;
        at += h2_framing_next(&conn->framing, span_skip(input, at), &is_head, &begin);
        has_reset |= is_head && begin.type == NGHTTP2_RST_STREAM;
        if (!is_head || !(h2_is_dropped(conn, &begin) || (has_reset && begin.type == NGHTTP2_DATA)))
            continue;
        /* What comes before this frame may open its stream, or end it. */
        size_t before = at < fed + H2_FRAME_HEAD_BYTES ? fed : at - H2_FRAME_HEAD_BYTES;
        if (!h2_session_feed(conn, span_of(input.at + fed, before - fed)))
            return;
        fed       = before;
        has_reset = false;
        if (h2_is_dropped(conn, &begin) && !h2_may_drop(conn, &begin))
            return;
    }
    h2_session_feed(conn, span_skip(input, fed));
}

void h2_session_pump(struct h2_conn *conn)
{
    must(!conn->is_receiving);
    while (!conn->is_dead && conn->out.len < H2_OUT_BYTES_MAX) {
        const uint8_t *bytes;
        ssize_t        len = nghttp2_session_mem_send(conn->session, &bytes);
        if (len < 0 || (len == 0 && nghttp2_session_want_read(conn->session) == 0))
            conn->is_over = true;  /* GOAWAY has been made, of an error that nghttp2 has found, or all streams are closed behind it */
        if (len <= 0)
            return;
        buf_put(&conn->out, span_of(bytes, (size_t)len));
    }
}
