/* h2_conn.c - an HTTP/2 connection from its opening to its end: read, settle, send, close. */
#include "http/h2_conn.h"
#include "http/h2_stream.h"

#include <stdlib.h>

#include "base/must.h"
#include "reactor/log.h"

enum { H2_READS_AT_ONCE = 2 };

static struct h2_conn *h2_conn_of(struct http_conn *conn)
{
    return container_of(conn, struct h2_conn, http);
}

enum h2_preface h2_preface_judge(struct span input)
{
    static const struct span preface = SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

    if (!span_starts(preface, span_head(input, preface.len)))
        return H2_PREFACE_NO;
    return input.len < preface.len ? H2_PREFACE_PART : H2_PREFACE_WHOLE;
}

/* --- the end -------------------------------------------------------------------------------------------------- */

static void h2_conn_free(struct h2_conn *conn)
{
    struct http_server *server = conn->http.server;

    must(list_is_empty(&conn->exchanges) && list_is_empty(&conn->closed) && conn->exchange_count == 0);
    must(conn->answers == 0 && conn->promised == 0 && conn->held == 0 && server->owed_bytes >= conn->owed);
    wheel_disarm(&server->loop->wheel, &conn->timer);
    list_take(&conn->http.link);
    list_take(&conn->http.dirty);
    list_take(&conn->http.sending);
    counter_sub(&server->counters.conns, 1);
    server->brief_count -= conn->is_brief;
    counter_sub(&server->counters.h2_conns, 1);
    server->owed_bytes -= conn->owed;
    counter_set(&server->counters.owed, server->owed_bytes);
    h2_frames_fini(&conn->frames);
    hpack_fini(&conn->hpack);
    buf_fini(&conn->out);
    free(conn);
}

static void h2_conn_orphan_all(struct h2_conn *conn)
{
    struct list *link;

    while ((link = list_pop(&conn->closed)) != NULL || (link = list_pop(&conn->exchanges)) != NULL)
        h2_exchange_orphan(container_of(link, struct h2_exchange, link));
}

static void h2_conn_close(struct h2_conn *conn)
{
    conn->is_over = true;
    h2_conn_orphan_all(conn);
    h2_conn_tell_readable(conn);
    stream_close(conn->http.stream);
    h2_conn_free(conn);
}

void h2_conn_say_goodbye(struct h2_conn *conn)
{
    if (conn->is_leaving)
        return;
    conn->is_leaving = true;
    h2_put_goaway(&conn->out, conn->ended.top, H2_NO_ERROR);
    http_conn_mark(&conn->http);
}

void h2_conn_abort(struct h2_conn *conn, enum h2_error error, const char *why)
{
    if (conn->is_over)
        return;
    conn->is_over = conn->is_leaving = true;
    counter_add(&conn->http.server->counters.faults, 1);
    LOG(LOG_INFO, "http2_connection_closed", log_str("error", h2_error_name(error)), log_str("why", why));
    h2_put_goaway(&conn->out, conn->ended.top, error);
    http_conn_mark(&conn->http);
}

/* --- reading -------------------------------------------------------------------------------------------------- */

void h2_conn_settle(struct h2_conn *conn)
{
    struct list *link;

    while ((link = list_pop(&conn->closed)) != NULL)
        h2_exchange_orphan(container_of(link, struct h2_exchange, link));
    h2_conn_tell_readable(conn);
}

/* Services that wait for news have lost their client, and so have requests that are not whole. Answers that are under way
 * still leave. */
static void h2_conn_on_eof(struct h2_conn *conn)
{
    conn->is_eof = true;
    for (struct list *link = conn->exchanges.next, *next; link != &conn->exchanges; link = next) {
        struct h2_exchange *exchange = container_of(link, struct h2_exchange, link);
        next                         = link->next;
        if (!exchange->is_taken && exchange->is_whole && !exchange->plan.is_alone)
            continue;
        h2_exchange_reset(exchange, H2_CANCEL);
    }
}

/* What comes behind the end is dropped, so that the close does not reset the link before the client has read why. */
static void h2_conn_take_input(struct h2_conn *conn, struct span input)
{
    if (conn->is_over)
        return;
    h2_session_take(conn, input);
}

static void h2_on_readable(struct stream *stream, void *owner)
{
    struct h2_conn *conn = owner;
    struct loop    *loop = conn->http.server->loop;

    must(conn->http.stream == stream);
    for (int reads = 0;; reads++) {
        if (reads == H2_READS_AT_ONCE) {
            stream_more(stream);
            break;
        }
        ssize_t got = stream_read(stream, loop->input, LOOP_INPUT_BYTES);
        if (got == STREAM_LATER)
            break;
        if (got == STREAM_FAULT) {
            h2_conn_close(conn);
            return;
        }
        if (got == 0) {
            h2_conn_on_eof(conn);
            break;
        }
        h2_conn_take_input(conn, span_of(loop->input, (size_t)got));
        if (stream_is_drained(stream, (size_t)got, LOOP_INPUT_BYTES))
            break;
    }
    h2_conn_settle(conn);
    http_conn_mark(&conn->http);
}

static void h2_on_writable(struct stream *stream, void *owner)
{
    struct h2_conn *conn = owner;

    (void)stream;
    http_conn_mark(&conn->http);
}

static const struct stream_events h2_conn_events = {
    .on_readable = h2_on_readable,
    .on_writable = h2_on_writable,
};

static void h2_open(struct http_server *server, struct stream *stream, struct span unread, bool is_brief)
{
    struct h2_conn *conn = calloc(1, sizeof *conn);

    must(conn != NULL && server->loop == stream_loop(stream));
    conn->http       = (struct http_conn){ .version = &http_version_2, .server = server, .stream = stream,
                                             .number = ++server->conn_number };
    conn->is_brief   = is_brief;
    server->brief_count += is_brief;
    conn->timer.fire = h2_conn_timed_out;
    conn->flood.at   = server->loop->now;
    buf_init(&conn->out, SIZE_MAX / 2);
    list_init(&conn->exchanges);
    list_init(&conn->ready);
    list_init(&conn->line);
    list_init(&conn->closed);
    list_init(&conn->told);
    list_init(&conn->full);
    list_init(&conn->http.dirty);
    list_init(&conn->http.sending);
    list_push(&server->conns, &conn->http.link);
    counter_add(&server->counters.conns, 1);
    counter_add(&server->counters.h2_conns, 1);
    h2_session_open(conn);
    stream_hand_over(stream, &h2_conn_events, conn);
    if (unread.len > 0)
        h2_conn_take_input(conn, unread);
    http_conn_mark(&conn->http);
    h2_conn_set_timer(conn);
}

/* --- the end of a turn ---------------------------------------------------------------------------------------- */

void h2_conn_count_owed(struct h2_conn *conn)
{
    size_t owed = conn->out.len + conn->answers + conn->promised + conn->held;

    must(conn->http.server->owed_bytes >= conn->owed);
    conn->http.server->owed_bytes += owed - conn->owed;
    counter_set(&conn->http.server->counters.owed, conn->http.server->owed_bytes);
    conn->owed = owed;
}

/* False: the link is gone. */
static bool h2_conn_flush(struct h2_conn *conn)
{
    if (conn->out.len == 0 || conn->http.stream->is_full)
        return true;
    ssize_t put = stream_write(conn->http.stream, buf_span(&conn->out));
    if (put == STREAM_FAULT)
        return false;
    conn->put += (size_t)put;
    buf_drop(&conn->out, (size_t)put);
    if (conn->put >= conn->acks_end)
        conn->acks = 0;
    if (conn->out.len == 0)
        buf_fini(&conn->out);
    return true;
}

/* A window has opened: bodies that waited until it was worth their while are looked at again. */
static void h2_conn_resume(struct h2_conn *conn)
{
    conn->has_window_news = false;
    if (conn->answers == 0 && conn->held == 0)
        return;
    for (struct list *link = conn->exchanges.next; link != &conn->exchanges; link = link->next) {
        struct h2_exchange *exchange = container_of(link, struct h2_exchange, link);
        if (exchange->answer.len > exchange->answer_at)
            h2_exchange_resume(exchange);
    }
}

/* Makes frames and sends them, as many as the socket takes, but not without end. False: the link is gone. */
static bool h2_conn_send(struct h2_conn *conn)
{
    for (int writes = 0; writes < H2_READS_AT_ONCE; writes++) {
        h2_conn_pump(conn);
        bool is_room_used = conn->out.len >= H2_OUT_BYTES_MAX;
        if (!h2_conn_flush(conn))
            return false;
        if (!is_room_used || conn->out.len > 0)
            return true;
    }
    stream_more(conn->http.stream);
    return true;
}

/* The client will open no window any more. Are there answers that are not ready yet, or may leave still? */
static bool h2_conn_waits_for_answers(const struct h2_conn *conn)
{
    if (!conn->is_eof)
        return conn->exchange_count > 0;
    for (const struct list *link = conn->exchanges.next; link != &conn->exchanges; link = link->next)
        if (!container_of(link, const struct h2_exchange, link)->is_ended)
            return true;
    return false;
}

/* All frames have left, and no exchange is under way. False: the connection has been freed. */
static bool h2_conn_leave(struct h2_conn *conn)
{
    if (conn->is_eof) {
        h2_conn_close(conn);
        return false;
    }
    /* As with HTTP/1.1: a reset could overtake the last frames. */
    if (!conn->is_shut)
        stream_shut(conn->http.stream);
    conn->is_shut = true;
    return true;
}

static void h2_conn_note_sending(struct h2_conn *conn)
{
    bool is_sending = conn->out.len > 0 || conn->answers > 0;

    if (!is_sending)
        list_take(&conn->http.sending);
    else if (!list_is_linked(&conn->http.sending))
        http_conn_sends(&conn->http);
}

static void h2_work(struct http_conn *http)
{
    struct h2_conn *conn = h2_conn_of(http);

    h2_conn_settle(conn);
    h2_conn_serve_line(conn);
    if (conn->has_window_news)
        h2_conn_resume(conn);
    if (!h2_conn_send(conn)) {
        h2_conn_close(conn);
        return;
    }
    if (conn->has_left && conn->exchange_count == 0)
        conn->is_over = true;
    if (conn->is_over)
        h2_conn_orphan_all(conn);
    h2_conn_settle(conn);
    h2_conn_count_owed(conn);
    h2_conn_note_sending(conn);
    h2_conn_tell_writable(conn);
    if (conn->is_brief && conn->exchange_count == 0 && conn->served > 0)
        h2_conn_say_goodbye(conn);
    bool is_idle = !h2_conn_waits_for_answers(conn) && conn->out.len == 0;
    if (is_idle && (conn->is_leaving || conn->is_over || conn->is_eof) && !h2_conn_leave(conn))
        return;
    h2_conn_set_timer(conn);
}

static void h2_close(struct http_conn *http)
{
    h2_conn_close(h2_conn_of(http));
}

/* Whoever has nothing under way need not be waited for. */
static void h2_stop(struct http_conn *http)
{
    struct h2_conn *conn = h2_conn_of(http);

    h2_conn_say_goodbye(conn);
    if (conn->exchange_count > 0)
        return;
    h2_conn_pump(conn);
    h2_conn_flush(conn);
    h2_conn_close(conn);
}

static bool h2_shed(struct http_conn *http)
{
    if (h2_conn_of(http)->exchange_count > 0)
        return false;
    h2_stop(http);
    return true;
}

/* If its socket takes frames, it is only these answers whose windows stay shut; all else of the connection goes on. */
static void h2_drop_answers(struct http_conn *http)
{
    struct h2_conn *conn = h2_conn_of(http);

    if (conn->out.len > 0) {
        stream_forget(http->stream);
        h2_conn_close(conn);
        return;
    }
    for (struct list *link = conn->exchanges.next, *next; link != &conn->exchanges; link = next) {
        struct h2_exchange *exchange = container_of(link, struct h2_exchange, link);
        next                         = link->next;
        if (!exchange->is_taken && exchange->answer.len > exchange->answer_at)
            h2_exchange_drop_answer(exchange);
    }
    list_take(&http->sending);
    h2_conn_count_owed(conn);
}

static uint64_t h2_taken(const struct http_conn *http)
{
    const struct h2_conn *conn    = container_of(http, const struct h2_conn, http);
    size_t                unacked = stream_unacked_bytes(conn->http.stream);

    return unacked < conn->put ? conn->put - unacked : 0;
}

static void h2_identified(struct http_sender *sender, const struct http_caller *caller)
{
    h2_exchange_identified(container_of(sender, struct h2_exchange, sender), caller);
}

const struct http_version http_version_2 = {
    .open           = h2_open,
    .close          = h2_close,
    .work           = h2_work,
    .stop           = h2_stop,
    .shed           = h2_shed,
    .drop_answers   = h2_drop_answers,
    .taken          = h2_taken,
    .identified     = h2_identified,
    .answer         = h2_answer,
    .open_stream    = h2_open_stream,
    .open_websocket = h2_open_websocket,
    .promise        = h2_promise,
    .stream         = h2_exchange_stream,
    .number         = h2_exchange_number,
};
