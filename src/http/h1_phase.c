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
    return conn->pending != NULL || conn->in.len > 0 ? H1_READING : H1_IDLE;
}

void h1_conn_timed_out(struct timer *timer, msec now)
{
    struct h1_conn *conn = container_of(timer, struct h1_conn, timer);

    (void)now;
    /* After a pause of the process, the bytes that the connection waited for come in the same turn as the timeout. The
     * phase has then changed already, and the end of the turn sets the timer again. */
    if (h1_conn_phase(conn) != conn->phase || (conn->phase == H1_SENDING && !conn->http.stream->is_full))
        return;
    if (conn->phase == H1_READING)
        h1_conn_refuse(conn, buf_span(&conn->in), 408, "the request did not arrive in time");
    else
        h1_conn_close(conn);
}

void h1_conn_set_timer(struct h1_conn *conn)
{
    const struct http_limits *limits = &conn->http.server->limits;
    struct wheel             *wheel  = &conn->http.server->loop->wheel;
    msec                      now    = conn->http.server->loop->now;
    enum h1_phase             phase  = h1_conn_phase(conn);

    /* A client that sends more requests without reading its answers does not get more time. */
    bool is_next = conn->timed != conn->served && phase != H1_SENDING;
    if (phase == conn->phase && !is_next && timer_is_armed(&conn->timer))
        return;
    if (phase != conn->phase)
        conn->phase_at = now;
    conn->phase = (uint8_t)phase;
    conn->timed = conn->served;
    switch (phase) {
    case H1_IDLE: wheel_arm(wheel, &conn->timer, now + limits->keepalive_timeout_ms); break;
    case H1_READING:
    case H1_SENDING: wheel_arm(wheel, &conn->timer, now + limits->request_timeout_ms); break;
    case H1_OWING: wheel_disarm(wheel, &conn->timer); break;
    case H1_LEAVING: wheel_arm(wheel, &conn->timer, now + limits->linger_ms); break;
    }
}
