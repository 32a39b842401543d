/* h1_conn.c - an HTTP/1.1 connection from its opening to its end: read, parse, send, close. */
#include "http/h1_conn.h"

#include <stdlib.h>

#include "base/must.h"
#include "codec/handover/handover.h"

enum { READS_AT_ONCE = 2 };

static struct h1_conn *h1_conn_of(struct http_conn *conn)
{
    return container_of(conn, struct h1_conn, http);
}

/* Our last answer has left, so input from the client is dropped. RFC 9112 9.6: if we closed while the client sends, a
 * reset could destroy the answer before the client has read it. So the connection stays open while the client sends,
 * for as long as a request may take. */
static void h1_conn_drop_input(struct h1_conn *conn)
{
    struct loop *loop = conn->http.server->loop;

    if (conn->phase == H1_LEAVING && loop->now - conn->phase_at < conn->http.server->limits.request_timeout_ms)
        wheel_disarm(&loop->wheel, &conn->timer);  /* the end of the turn arms it again */
}

static void h1_conn_take_input(struct h1_conn *conn, struct span fresh)
{
    if (conn->is_last) {
        h1_conn_drop_input(conn);
        return;
    }
    if (conn->in.len > 0) {
        buf_put(&conn->in, fresh);
        h1_conn_parse_kept(conn);
    } else {
        size_t used = h1_conn_parse(conn, fresh);
        if (conn->http.stream != NULL && !conn->is_last)
            buf_put(&conn->in, span_skip(fresh, used));
    }
}

/* --- the stream ---------------------------------------------------------------------------------------------- */

static void h1_conn_free(struct h1_conn *conn)
{
    must(list_is_empty(&conn->exchanges) && conn->http.server->owed_bytes >= conn->owed);
    wheel_disarm(&conn->http.server->loop->wheel, &conn->timer);
    list_take(&conn->http.link);
    list_take(&conn->http.dirty);
    counter_sub(&conn->http.server->counters.conns, 1);
    list_take(&conn->http.sending);
    conn->http.server->owed_bytes -= conn->owed;
    conn->http.server->brief_count -= conn->is_brief;
    counter_set(&conn->http.server->counters.owed, conn->http.server->owed_bytes);
    h1_pending_free(conn->pending, conn->http.server);
    buf_fini(&conn->in);
    buf_fini(&conn->out);
    free(conn);
}

void h1_conn_close(struct h1_conn *conn)
{
    while (!list_is_empty(&conn->exchanges))
        h1_exchange_orphan(container_of(conn->exchanges.next, struct h1_exchange, link));
    stream_close(conn->http.stream);
    h1_conn_free(conn);
}

/* All of a request is here but the answer to who sent it. Whether a body in chunks is whole is only seen when it is
 * parsed. */
static bool h1_conn_is_whole_unidentified(const struct h1_conn *conn)
{
    if (!h1_conn_is_identifying(conn))
        return false;
    const struct h1_head *head = &conn->pending->head;
    return head->is_chunked || head->content_length <= conn->in.len;
}

static void h1_conn_on_eof(struct h1_conn *conn)
{
    bool is_known = conn->is_eof;

    conn->is_eof = true;
    /* A client that has only stopped sending still gets the answers that are under way, and those to requests that are
     * kept here. A client that waits for news is taken to be gone. The end may be told again with later events; then
     * the end of the turn judges what is left to do. */
    if (is_known)
        http_conn_mark(&conn->http);
    else if ((!h1_conn_is_owing(conn) && !h1_conn_is_whole_unidentified(conn)) || conn->is_alone)
        h1_conn_close(conn);
    else
        http_conn_mark(&conn->http);
}

/* Input that can't be parsed yet is kept up to this length. Input beyond it stays in the kernel, and then at the
 * client. After the last request all input is read and dropped: otherwise we would not see that the client has closed,
 * and closing with bytes unread would reset the link. */
static bool h1_conn_wants_input(const struct h1_conn *conn)
{
    return conn->is_last || conn->in.len < conn->http.server->limits.h1.head_bytes_max + 1;
}

static void h1_conn_on_readable(struct stream *stream, void *owner)
{
    struct h1_conn *conn = owner;
    struct loop    *loop = conn->http.server->loop;

    must(conn->http.stream == stream);
    for (int reads = 0;; reads++) {
        if (!h1_conn_wants_input(conn)) {
            conn->is_resting = true;
            break;
        }
        if (reads == READS_AT_ONCE) {
            stream_more(stream);  /* the other connections first: a client that sends without pause gets only its part
                                   * of the turn */
            break;
        }
        ssize_t got = stream_read(stream, loop->input, LOOP_INPUT_BYTES);
        if (got == STREAM_LATER)
            break;
        if (got == STREAM_FAULT) {
            h1_conn_close(conn);
            return;
        }
        if (got == 0) {
            h1_conn_on_eof(conn);
            return;
        }
        h1_conn_take_input(conn, span_of(loop->input, (size_t)got));
        if (conn->http.stream == NULL) {
            h1_conn_free(conn);
            return;
        }
        if (stream_is_drained(stream, (size_t)got, LOOP_INPUT_BYTES))
            break;
    }
    http_conn_mark(&conn->http);
}

static void h1_conn_on_writable(struct stream *stream, void *owner)
{
    struct h1_conn *conn = owner;

    (void)stream;
    http_conn_mark(&conn->http);
}

static const struct stream_events h1_conn_events = {
    .on_readable = h1_conn_on_readable,
    .on_writable = h1_conn_on_writable,
};

static void h1_open(struct http_server *server, struct stream *stream, struct span unread, bool is_brief)
{
    struct h1_conn *conn = calloc(1, sizeof *conn);

    must(conn != NULL && unread.len == 0 && server->loop == stream_loop(stream));
    conn->http       = (struct http_conn){ .version = &http_version_1, .server = server, .stream = stream,
                                             .number = ++server->conn_number };
    conn->sender     = (struct http_sender){ &conn->http };
    conn->is_brief   = is_brief;
    server->brief_count += is_brief;
    conn->timer.fire = h1_conn_timed_out;
    h1_init(&conn->h1, &server->limits.h1);
    buf_init(&conn->in, server->limits.h1.head_bytes_max + 2 * LOOP_INPUT_BYTES);
    buf_init(&conn->out, SIZE_MAX / 2);
    list_init(&conn->exchanges);
    list_init(&conn->http.dirty);
    list_init(&conn->http.sending);
    list_push(&server->conns, &conn->http.link);
    counter_add(&server->counters.conns, 1);
    stream_hand_over(stream, &h1_conn_events, conn);
    h1_conn_set_timer(conn);
}

/* --- the end of a turn --------------------------------------------------------------------------------------- */

/* False: the link is gone, and the connection has been freed. */
static bool h1_conn_flush(struct h1_conn *conn)
{
    if (conn->out.len == 0 || conn->http.stream->is_full)
        return true;
    ssize_t put = stream_write(conn->http.stream, buf_span(&conn->out));
    if (put == STREAM_FAULT) {
        h1_conn_close(conn);
        return false;
    }
    conn->put += (size_t)put;
    buf_drop(&conn->out, (size_t)put);
    if (conn->out.len == 0) {
        buf_fini(&conn->out);
        list_take(&conn->http.sending);
    } else if (!list_is_linked(&conn->http.sending)) {
        http_conn_sends(&conn->http);
    }
    return true;
}

/* All answers have left, the last one included. False: the connection has been freed. */
static bool h1_conn_leave(struct h1_conn *conn)
{
    if (conn->is_eof) {
        h1_conn_close(conn);
        return false;
    }
    /* RFC 9112 9.6: close our direction and wait for the client to close, because a reset could overtake the answer. */
    if (!conn->is_shut)
        stream_shut(conn->http.stream);
    conn->is_shut = true;
    return true;
}

static void h1_work(struct http_conn *http)
{
    struct h1_conn *conn = h1_conn_of(http);

    if (conn->http.stream == NULL) {
        h1_conn_free(conn);  /* the stream was taken over after serve() */
        return;
    }
    must((conn->exchange_count == 0) == list_is_empty(&conn->exchanges));
    h1_conn_queue_answers(conn);
    if (conn->in.len > 0 || conn->pending != NULL) {
        h1_conn_parse_kept(conn);
        if (conn->http.stream == NULL) {
            h1_conn_free(conn);
            return;
        }
        h1_conn_queue_answers(conn);
        h1_conn_put_continue(conn);
    }
    if (conn->is_resting && h1_conn_wants_input(conn)) {
        conn->is_resting = false;
        stream_more(conn->http.stream);
    }
    bool has_unserved = conn->in.len > 0 || conn->pending != NULL;  /* a request without a body is no more than a head */
    bool is_blocked   = h1_conn_must_wait(conn) || (has_unserved && !h1_conn_may_parse(conn));
    if (!h1_conn_flush(conn))
        return;
    h1_conn_count_owed(conn);
    bool goes_on = is_blocked && h1_conn_may_parse(conn) && !h1_conn_must_wait(conn);
    if (goes_on)
        http_conn_mark(&conn->http);  /* the answers that were in the way have left */
    if (conn->http.server->is_stopping && h1_conn_is_idle(conn))
        conn->is_last = true;
    bool is_over = conn->is_last || (conn->is_eof && !goes_on && !h1_conn_is_whole_unidentified(conn));
    if (is_over && !h1_conn_is_owing(conn) && !h1_conn_leave(conn))
        return;
    h1_conn_set_timer(conn);
}

static void h1_close(struct http_conn *http)
{
    h1_conn_close(h1_conn_of(http));
}

static void h1_drop_answers(struct http_conn *http)
{
    stream_forget(http->stream);
    h1_close(http);
}

static void h1_stop(struct http_conn *http)
{
    if (h1_conn_is_idle(h1_conn_of(http)))
        h1_close(http);
}

/* A client that sends a body is told why it has to stop. */
static bool h1_shed(struct http_conn *http)
{
    struct h1_conn *conn = h1_conn_of(http);

    if (conn->exchange_count > 0 || h1_conn_is_identifying(conn))
        return false;
    if (h1_conn_phase(conn) == H1_READING_BODY) {
        h1_conn_refuse(conn, SPAN(""), 503, "the server is short of memory (memory_bytes_max); send it again later");
        http_conn_mark(http);
    } else {
        h1_close(http);
    }
    return true;
}

static uint64_t h1_taken(const struct http_conn *http)
{
    return h1_conn_taken(container_of(http, const struct h1_conn, http));
}

static void h1_identified(struct http_sender *sender, const struct http_caller *caller)
{
    h1_conn_identified(container_of(sender, struct h1_conn, sender), caller);
}

/* A request whose body has not come whole is told as if nothing of it had been parsed. False: its bytes are not there any more. */
static bool h1_put_unserved(const struct h1_conn *conn, struct buf *buf)
{
    const struct h1_pending *pending = conn->pending;

    buf_clear(buf);
    if (pending != NULL) {
        if (pending->head.is_chunked || conn->h1.left + pending->body.len != pending->head.content_length)
            return false;
        buf_put(buf, buf_span(&pending->head_text));
        buf_put(buf, buf_span(&pending->body));
    }
    buf_put(buf, buf_span(&conn->in));
    return true;
}

/* No request has come whole and waits for its answer. */
static bool h1_hand_over(const struct http_conn *http, struct buf *scratch, struct handover_http *ret)
{
    const struct h1_conn *conn = container_of(http, const struct h1_conn, http);

    if (conn->exchange_count > 0 || conn->is_alone || conn->is_last || conn->is_eof || conn->is_shut ||
        !h1_put_unserved(conn, scratch))
        return false;
    *ret = (struct handover_http){ .served = conn->served, .flags = conn->is_brief, .in = buf_span(scratch),
                                   .out = buf_span(&conn->out) };
    return true;
}

bool h1_is_in_vain(const struct http_conn *http)
{
    const enum h1_phase phase = h1_conn_phase(container_of(http, struct h1_conn, http));

    return phase != H1_SENDING && phase != H1_LEAVING;
}

void h1_take_over(struct http_server *server, struct stream *stream, const struct handover_http *told)
{
    h1_open(server, stream, SPAN(""), told->flags != 0);
    struct h1_conn *conn = container_of(container_of(server->conns.prev, struct http_conn, link), struct h1_conn, http);

    conn->served = told->served;
    buf_init(&conn->in, told->in.len + server->limits.h1.head_bytes_max + 2 * LOOP_INPUT_BYTES);
    buf_put(&conn->in, told->in);
    buf_put(&conn->out, told->out);
    if (told->out.len > 0)
        http_conn_sends(&conn->http);
    http_conn_mark(&conn->http);
}

const struct http_version http_version_1 = {
    .hand_over      = h1_hand_over,
    .open           = h1_open,
    .close          = h1_close,
    .work           = h1_work,
    .stop           = h1_stop,
    .shed           = h1_shed,
    .drop_answers   = h1_drop_answers,
    .taken          = h1_taken,
    .identified     = h1_identified,
    .answer         = h1_answer,
    .open_stream    = h1_open_stream,
    .open_websocket = h1_open_websocket,
    .promise        = h1_promise,
    .stream         = h1_stream,
    .number         = h1_number,
};
