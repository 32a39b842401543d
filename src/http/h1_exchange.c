/* h1_exchange.c - the answers of an HTTP/1.1 connection, which leave in the order of the requests. */
#include <stdlib.h>

#include "base/must.h"
#include "http/h1_conn.h"
#include "http/h1_write.h"

static struct h1_exchange *h1_exchange_of(struct http_exchange *exchange)
{
    return container_of(exchange, struct h1_exchange, http);
}

struct h1_exchange *h1_exchange_new(struct h1_conn *conn, const struct h1_head *head)
{
    struct h1_exchange *exchange = calloc(1, sizeof *exchange);

    must(exchange != NULL);
    exchange_init(&exchange->http, &http_version_1, conn->http.server, &head->request);
    exchange->conn    = conn;
    exchange->minor   = head->minor;
    exchange->is_last = !head->is_keep_alive;
    buf_init(&exchange->answer, SIZE_MAX / 2);
    list_push(&conn->exchanges, &exchange->link);
    conn->exchange_count++;
    conn->served++;
    return exchange;
}

static void h1_exchange_free(struct h1_exchange *exchange)
{
    exchange_fini(&exchange->http);
    buf_fini(&exchange->answer);
    free(exchange);
}

void h1_exchange_orphan(struct h1_exchange *exchange)
{
    list_take(&exchange->link);
    exchange->conn = NULL;
    if (exchange->http.is_answered)
        h1_exchange_free(exchange);
    else
        exchange_tell_gone(&exchange->http);
}

/* From now on the exchange counts for so many bytes in the `promised` of its connection. */
static void h1_exchange_promise(struct h1_exchange *exchange, size_t bytes)
{
    must(exchange->conn->promised >= exchange->promised);
    exchange->conn->promised += bytes - exchange->promised;
    exchange->promised = bytes;
}

bool h1_conn_is_owing(const struct h1_conn *conn)
{
    return conn->exchange_count > 0 || conn->out.len > 0;
}

void h1_conn_count_owed(struct h1_conn *conn)
{
    size_t owed = conn->out.len + conn->promised;

    must(conn->http.server->owed_bytes >= conn->owed);
    conn->http.server->owed_bytes += owed - conn->owed;
    counter_set(&conn->http.server->counters.owed, conn->http.server->owed_bytes);
    conn->owed = owed;
}

uint64_t h1_conn_taken(const struct h1_conn *conn)
{
    size_t unacked = stream_unacked_bytes(conn->http.stream);
    return unacked < conn->put ? conn->put - unacked : 0;
}

void h1_conn_queue_answers(struct h1_conn *conn)
{
    while (!list_is_empty(&conn->exchanges)) {
        struct h1_exchange *exchange = container_of(conn->exchanges.next, struct h1_exchange, link);
        if (!exchange->http.is_answered)
            return;
        must(conn->exchange_count > 0);
        buf_put(&conn->out, buf_span(&exchange->answer));
        h1_exchange_promise(exchange, 0);
        list_take(&exchange->link);
        h1_exchange_free(exchange);
        conn->exchange_count--;
        conn->is_alone = false;
    }
}

/* --- how an exchange ends ------------------------------------------------------------------------------------ */

/* The server stops, no other answer is due and no request is incomplete: this answer tells the client that it is the
 * last one. */
static bool h1_exchange_is_farewell(const struct h1_exchange *exchange)
{
    const struct h1_conn *conn = exchange->conn;

    return conn->http.server->is_stopping && conn->exchanges.prev == &exchange->link && conn->pending == NULL &&
           conn->in.len == 0;
}

void h1_answer(struct http_exchange *http, const struct http_answer *answer)
{
    struct h1_exchange *exchange = h1_exchange_of(http);
    struct h1_conn     *conn     = exchange->conn;

    if (conn == NULL) {
        h1_exchange_free(exchange);
        return;
    }
    if (answer->is_last || h1_exchange_is_farewell(exchange))
        exchange->is_last = true;
    if (exchange->is_last)
        conn->is_last = true;  /* a later request would be answered after the close, so no more are read */
    /* The answer that leaves next is written into `out` directly. */
    bool is_next = conn->exchanges.next == &exchange->link;
    h1_put_answer(is_next ? &conn->out : &exchange->answer, exchange, answer);
    if (is_next)
        h1_conn_queue_answers(conn);
    else
        h1_exchange_promise(exchange, exchange->answer.len);
    h1_conn_count_owed(conn);
    http_conn_mark(&conn->http);
}

void h1_promise(struct http_exchange *http, size_t answer_bytes)
{
    struct h1_exchange *exchange = h1_exchange_of(http);

    if (exchange->conn == NULL)
        return;
    h1_exchange_promise(exchange, answer_bytes);
    h1_conn_count_owed(exchange->conn);
}

/* *unread gets what the client has sent behind the request, if this is within serve(). Then the caller of serve() frees the
 * connection, else its next work() does. */
static struct stream *h1_exchange_take_stream(struct h1_exchange *exchange, struct buf *unread)
{
    struct h1_conn *conn   = exchange->conn;
    struct stream  *stream = conn->http.stream;

    must(conn->is_alone && conn->exchange_count == 1 && conn->out.len == 0);
    buf_put(unread, conn->unread);
    list_take(&exchange->link);
    h1_exchange_free(exchange);
    conn->exchange_count = 0;
    conn->http.stream    = NULL;
    wheel_disarm(&conn->http.server->loop->wheel, &conn->timer);
    http_conn_mark(&conn->http);
    return stream;
}

struct stream *h1_open_stream(struct http_exchange *http, const struct http_answer *head, struct buf *first,
                              bool *ret_is_chunked)
{
    struct h1_exchange *exchange = h1_exchange_of(http);
    struct buf          unread;

    *ret_is_chunked = exchange->minor >= 1;
    h1_put_stream_head(first, exchange, head, *ret_is_chunked);
    buf_init(&unread, SIZE_MAX / 2);
    struct stream *stream = h1_exchange_take_stream(exchange, &unread);
    buf_fini(&unread);  /* a request behind an endless answer is never served (docs/decisions/0020) */
    return stream;
}

struct stream *h1_open_websocket(struct http_exchange *http, const struct ws_handshake *shake, struct span protocol,
                                 struct buf *first, struct buf *unread)
{
    char accept[WS_ACCEPT_BYTES];

    ws_accept(shake->key, accept);
    h1_put_switch(first, h1_exchange_of(http), span_of(accept, sizeof accept),
                  shake->is_protocol_found ? protocol : SPAN(""), ws_extensions(shake->window));
    return h1_exchange_take_stream(h1_exchange_of(http), unread);
}

uint64_t h1_number(const struct http_exchange *exchange)
{
    const struct h1_exchange *h1 = container_of(exchange, const struct h1_exchange, http);
    return h1->conn == NULL ? 0 : h1->conn->http.number;
}

const struct stream *h1_stream(const struct http_exchange *exchange)
{
    const struct h1_exchange *h1 = container_of(exchange, const struct h1_exchange, http);
    return h1->conn == NULL ? NULL : h1->conn->http.stream;
}
