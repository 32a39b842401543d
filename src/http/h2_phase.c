/* h2_phase.c - what an HTTP/2 connection and its exchanges wait for, and for how long. */
#include "base/must.h"
#include "http/h2_conn.h"

/* --- the connection ------------------------------------------------------------------------------------------- */

static enum h2_phase h2_conn_phase(const struct h2_conn *conn)
{
    if (conn->out.len > 0)
        return H2_SENDING;
    if (conn->is_shut)
        return H2_LEAVING;
    if (h2_frames_are_in_head(&conn->frames))
        return H2_IN_HEAD;
    if (conn->exchange_count > 0)
        return H2_BUSY;
    return conn->served == 0 ? H2_SILENT : H2_IDLE;
}

/* Has the client taken enough of what was sent since the timer was armed? */
static bool h2_conn_goes_on(const struct h2_conn *conn)
{
    return conn->http.version->taken(&conn->http) - conn->taken_then >= conn->http.server->limits.taken_bytes_min;
}

static void h2_conn_arm(struct h2_conn *conn)
{
    const struct http_limits *limits = &conn->http.server->limits;
    struct wheel             *wheel  = &conn->http.server->loop->wheel;
    msec                      now    = conn->http.server->loop->now;

    conn->is_watched = false;
    switch ((enum h2_phase)conn->phase) {
    case H2_SILENT:
    case H2_IN_HEAD: wheel_arm(wheel, &conn->timer, now + limits->head_timeout_ms); break;
    case H2_IDLE: wheel_arm(wheel, &conn->timer, now + limits->keepalive_timeout_ms); break;
    case H2_BUSY: wheel_disarm(wheel, &conn->timer); break;
    case H2_SENDING:
        conn->taken_then = conn->http.version->taken(&conn->http);
        wheel_arm(wheel, &conn->timer, now + limits->request_timeout_ms);
        break;
    case H2_LEAVING: wheel_arm(wheel, &conn->timer, now + limits->linger_ms); break;
    }
}

/* At the end of a turn. A client that sends what is no request does not prolong the time of its connection. */
void h2_conn_set_timer(struct h2_conn *conn)
{
    enum h2_phase phase  = h2_conn_phase(conn);
    enum h2_phase before = (enum h2_phase)conn->phase;

    if (phase == before && timer_is_armed(&conn->timer) && (conn->timed == conn->served || phase == H2_SENDING))
        return;
    conn->phase = (uint8_t)phase;
    conn->timed = conn->served;
    /* The first head's time runs since the connection was opened. */
    if (before != H2_SILENT || phase != H2_IN_HEAD || !timer_is_armed(&conn->timer))
        h2_conn_arm(conn);
}

/* The kernel has taken all frames, but the client has not: as with HTTP/1.1 (h1_phase.c) it has as long as it takes some in each
 * request_timeout_ms. */
static bool h2_conn_watch(struct h2_conn *conn)
{
    const struct http_server *server = conn->http.server;

    if (stream_unacked_bytes(conn->http.stream) == 0 || (conn->is_watched && !h2_conn_goes_on(conn)))
        return false;
    conn->is_watched = true;
    conn->taken_then = conn->http.version->taken(&conn->http);
    wheel_arm(&conn->http.server->loop->wheel, &conn->timer, server->loop->now + server->limits.request_timeout_ms);
    return true;
}

static void h2_conn_drop(struct h2_conn *conn)
{
    if (conn->phase == H2_SENDING || (conn->is_watched && stream_unacked_bytes(conn->http.stream) > 0))
        stream_forget(conn->http.stream);
    conn->http.version->close(&conn->http);
}

void h2_conn_timed_out(struct timer *timer, msec now)
{
    struct h2_conn *conn = container_of(timer, struct h2_conn, timer);

    (void)now;
    /* What the connection waited for may have come in the same turn. */
    if (h2_conn_phase(conn) != conn->phase)
        return;
    switch ((enum h2_phase)conn->phase) {
    case H2_SENDING:
        if (h2_conn_goes_on(conn))
            h2_conn_arm(conn);
        else
            h2_conn_drop(conn);
        return;
    case H2_IN_HEAD:
        if (stream_is_held_back(conn->http.stream)) {
            h2_conn_arm(conn);
            return;
        }
        h2_conn_abort(conn, H2_NO_ERROR, "a request's head did not arrive in time (head_timeout_s)");
        return;
    case H2_SILENT:
    case H2_IDLE:
        h2_conn_say_goodbye(conn);
        return;
    case H2_BUSY:
    case H2_LEAVING:
        if (!h2_conn_watch(conn))
            h2_conn_drop(conn);
        return;
    }
}

/* --- exchanges ------------------------------------------------------------------------------------------------ */

/* What a body has to bring, and what its client has to take of an answer, in each request_timeout_ms. */
static size_t h2_progress_least(const struct h2_exchange *exchange)
{
    const struct http_limits *limits = &exchange->http.server->limits;

    if (exchange->is_served)
        return limits->taken_bytes_min;
    size_t bytes = (size_t)((uint64_t)limits->request_timeout_ms * limits->body_bytes_per_s_min / 1000);
    return bytes > 0 ? bytes : 1;
}

/* Is it the client that we wait for? The owner of an h2_stream minds its own time. */
static bool h2_exchange_waits_for_client(const struct h2_exchange *exchange)
{
    if (exchange->is_closed || exchange->head == NULL || exchange->is_served)
        return exchange->is_ended && exchange->stream == NULL && !exchange->is_closed;
    return !exchange->is_whole && exchange->identification == NULL;
}

static size_t h2_exchange_progress(const struct h2_exchange *exchange)
{
    return exchange->is_served ? exchange->answer_at : exchange->body.len;
}

void h2_exchange_set_timer(struct h2_exchange *exchange)
{
    const struct http_server *server = exchange->http.server;

    if (exchange->is_all_sent)
        return;  /* the client has its time: h2_exchange_answered() */
    if (!h2_exchange_waits_for_client(exchange)) {
        wheel_disarm(&server->loop->wheel, &exchange->timer);
        return;
    }
    exchange->timed_bytes = h2_exchange_progress(exchange);
    wheel_arm(&server->loop->wheel, &exchange->timer, server->loop->now + server->limits.request_timeout_ms);
}

void h2_exchange_answered(struct h2_exchange *exchange)
{
    const struct http_server *server = exchange->http.server;

    exchange->is_all_sent = true;
    if (exchange->is_whole)
        h2_exchange_close(exchange);
    else
        wheel_arm(&server->loop->wheel, &exchange->timer, server->loop->now + server->limits.linger_ms);
}

void h2_exchange_timed_out(struct timer *timer, msec now)
{
    struct h2_exchange *exchange = container_of(timer, struct h2_exchange, timer);

    (void)now;
    if (!h2_exchange_waits_for_client(exchange))
        return;
    if (exchange->is_all_sent)
        h2_exchange_reset(exchange, H2_NO_ERROR);
    else if (h2_exchange_progress(exchange) - exchange->timed_bytes >= h2_progress_least(exchange) ||
             stream_is_held_back(exchange->conn->http.stream))
        h2_exchange_set_timer(exchange);
    else if (exchange->is_served)
        h2_exchange_reset(exchange, H2_CANCEL);
    else
        h2_exchange_refuse(exchange, 408, "the request's body comes too slowly (request_timeout_s, body_bytes_per_s_min)");
}
