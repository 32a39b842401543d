/* h1_phase.c - what an HTTP/1.1 connection waits for, and for how long. */
#include "http/h1_conn.h"

enum h1_phase h1_conn_phase(const struct h1_conn *conn)
{
    if (conn->out.len > 0)
        return H1_SENDING;
    if (conn->is_last && conn->exchange_count == 0)
        return H1_LEAVING;
    if (conn->exchange_count > 0 || h1_conn_is_identifying(conn))
        return H1_OWING;
    if (conn->pending != NULL)
        return H1_READING_BODY;
    if (conn->in.len > 0)
        return H1_READING_HEAD;
    return conn->served == 0 ? H1_SILENT : H1_IDLE;
}

bool h1_conn_is_idle(const struct h1_conn *conn)
{
    enum h1_phase phase = h1_conn_phase(conn);
    return phase == H1_SILENT || phase == H1_IDLE;
}

/* --- bodies ------------------------------------------------------------------------------------------------------- */

/* What a body has to bring in each request_timeout_ms. A slow client has as long as it takes, as long as it comes on; a
 * fixed time would refuse a long body over a slow link, and would give a client that sends nothing as long as that. */
static size_t progress_bytes(const struct http_limits *limits)
{
    size_t bytes = (size_t)((uint64_t)limits->request_timeout_ms * limits->body_bytes_per_s_min / 1000);
    return bytes > 0 ? bytes : 1;
}

static bool h1_conn_comes_on(const struct h1_conn *conn)
{
    const struct h1_pending *pending = conn->pending;
    return pending->body.len - pending->timed_bytes >= progress_bytes(&conn->http.server->limits);
}

/* --- answers ------------------------------------------------------------------------------------------------------ */

/* Has the client taken enough of its answers since the timer was armed? */
static bool h1_conn_goes_on(const struct h1_conn *conn)
{
    return h1_conn_taken(conn) - conn->taken_then >= conn->http.server->limits.taken_bytes_min;
}

/* The kernel has taken all answers, but the client has not: a close would leave them with the kernel for as long as the
 * client likes. */
static bool h1_conn_is_unread(const struct h1_conn *conn)
{
    return (conn->phase == H1_IDLE || conn->phase == H1_LEAVING) && stream_unacked_bytes(conn->http.stream) > 0;
}

/* It has as long as it takes some in each request_timeout_ms. */
static bool h1_conn_watch(struct h1_conn *conn)
{
    const struct http_server *server = conn->http.server;

    if (conn->is_watched && !h1_conn_goes_on(conn))
        return false;
    conn->is_watched = true;
    conn->taken_then = h1_conn_taken(conn);
    wheel_arm(&conn->http.server->loop->wheel, &conn->timer, server->loop->now + server->limits.request_timeout_ms);
    return true;
}

/* --- the timer ---------------------------------------------------------------------------------------------------- */

static void h1_conn_arm(struct h1_conn *conn)
{
    const struct http_limits *limits = &conn->http.server->limits;
    struct wheel             *wheel  = &conn->http.server->loop->wheel;
    msec                      now    = conn->http.server->loop->now;

    conn->is_watched = false;
    switch ((enum h1_phase)conn->phase) {
    case H1_SILENT:
    case H1_READING_HEAD: wheel_arm(wheel, &conn->timer, now + limits->head_timeout_ms); break;
    case H1_IDLE: wheel_arm(wheel, &conn->timer, now + limits->keepalive_timeout_ms); break;
    case H1_READING_BODY:
        conn->pending->timed_bytes = conn->pending->body.len;
        wheel_arm(wheel, &conn->timer, now + limits->request_timeout_ms);
        break;
    case H1_SENDING:
        conn->taken_then = h1_conn_taken(conn);
        wheel_arm(wheel, &conn->timer, now + limits->request_timeout_ms);
        break;
    case H1_OWING: wheel_disarm(wheel, &conn->timer); break;
    case H1_LEAVING: wheel_arm(wheel, &conn->timer, now + limits->linger_ms); break;
    }
}

static void h1_conn_drop(struct h1_conn *conn)
{
    if (conn->phase == H1_SENDING || (conn->is_watched && h1_conn_is_unread(conn)))
        stream_forget(conn->http.stream);
    h1_conn_close(conn);
}

void h1_conn_timed_out(struct timer *timer, msec now)
{
    struct h1_conn *conn = container_of(timer, struct h1_conn, timer);

    (void)now;
    /* After a pause of the process, the bytes that the connection waited for come in the same turn as the timeout. The
     * phase has then changed already, and the end of the turn sets the timer again. */
    if (h1_conn_phase(conn) != conn->phase || (conn->phase == H1_SENDING && !conn->http.stream->is_full))
        return;
    bool is_held_back = (conn->phase == H1_READING_HEAD || conn->phase == H1_READING_BODY) &&
                        stream_is_held_back(conn->http.stream);
    if (is_held_back || (conn->phase == H1_READING_BODY && h1_conn_comes_on(conn)) ||
        (conn->phase == H1_SENDING && h1_conn_goes_on(conn)))
        h1_conn_arm(conn);
    else if (conn->phase == H1_READING_HEAD)
        h1_conn_refuse(conn, buf_span(&conn->in), 408, "the request's head did not arrive in time (head_timeout_s)");
    else if (conn->phase == H1_READING_BODY)
        h1_conn_refuse(conn, SPAN(""), 408,
                       "the request's body comes too slowly (request_timeout_s, body_bytes_per_s_min)");
    else if (!h1_conn_is_unread(conn) || !h1_conn_watch(conn))
        h1_conn_drop(conn);
}

void h1_conn_set_timer(struct h1_conn *conn)
{
    enum h1_phase phase  = h1_conn_phase(conn);
    enum h1_phase before = (enum h1_phase)conn->phase;

    /* A client that sends more requests without reading its answers does not get more time. */
    bool is_next = conn->timed != conn->served && phase != H1_SENDING;
    if (phase == before && !is_next && timer_is_armed(&conn->timer))
        return;
    if (phase != before)
        conn->phase_at = conn->http.server->loop->now;
    conn->phase = (uint8_t)phase;
    conn->timed = conn->served;
    /* The first head's time runs since the connection was opened. */
    if (before != H1_SILENT || phase != H1_READING_HEAD || !timer_is_armed(&conn->timer))
        h1_conn_arm(conn);
}
