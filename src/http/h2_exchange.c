/* h2_exchange.c - the answers of an HTTP/2 connection, and the exchanges that services take over. */
#include "base/must.h"
#include "http/h2_conn.h"
#include "http/h2_stream.h"

static struct h2_exchange *h2_exchange_of(struct http_exchange *exchange)
{
    return container_of(exchange, struct h2_exchange, http);
}

void h2_exchange_free(struct h2_exchange *exchange)
{
    exchange_fini(&exchange->http);
    buf_fini(&exchange->answer);
    h2_memory_give(h2_shared_memory(exchange->http.server->h2), exchange);
}

/* What it counts for in its connection. */
static void h2_exchange_uncount(struct h2_exchange *exchange)
{
    struct h2_conn *conn = exchange->conn;
    size_t          left = exchange->answer.len - exchange->answer_at;

    if (exchange->is_taken)
        conn->held -= left;
    else
        conn->answers -= left;
    conn->promised -= exchange->promised;
    conn->exchange_count--;
    counter_sub(&conn->http.server->counters.h2_streams, 1);
    if (conn->heavy == exchange)
        conn->heavy = NULL;
}

void h2_exchange_orphan(struct h2_exchange *exchange)
{
    struct h2_conn *conn = exchange->conn;

    if (!exchange->is_closed)
        h2_exchange_close(exchange);
    list_take(&exchange->link);
    wheel_disarm(&conn->http.server->loop->wheel, &exchange->timer);
    h2_exchange_uncount(exchange);
    h2_exchange_drop_request(exchange);
    http_conn_mark(&conn->http);
    exchange->conn = NULL;
    if (exchange->stream != NULL)
        h2_stream_orphan(exchange->stream, &conn->told);
    if (!exchange->is_served || exchange->http.is_answered)
        h2_exchange_free(exchange);
    else
        exchange_tell_gone(&exchange->http);
}

void h2_exchange_resume(struct h2_exchange *exchange)
{
    if (list_is_linked(&exchange->ready) || exchange->is_closed)
        return;
    list_push(&exchange->conn->ready, &exchange->ready);
    http_conn_mark(&exchange->conn->http);
}

void h2_exchange_reset(struct h2_exchange *exchange, enum h2_error error)
{
    if (exchange->is_closed)
        return;
    h2_conn_reset(exchange->conn, exchange->id, error);
    h2_exchange_close(exchange);
}

/* The memory of what has become frames, once that is most of a big answer. */
static void h2_exchange_give_back(struct h2_exchange *exchange)
{
    if (exchange->answer_at < BUF_KEPT_BYTES || exchange->answer_at < exchange->answer.len / 2)
        return;
    exchange->timed_bytes -= exchange->answer_at;  /* modulo 2^64: only the difference counts */
    buf_drop(&exchange->answer, exchange->answer_at);
    exchange->answer_at = 0;
}

void h2_exchange_sent(struct h2_exchange *exchange, size_t len)
{
    struct h2_conn *conn = exchange->conn;

    exchange->answer_at += len;
    must(exchange->answer_at <= exchange->answer.len);
    *(exchange->is_taken ? &conn->held : &conn->answers) -= len;
    if (exchange->answer_at < exchange->answer.len) {
        h2_exchange_give_back(exchange);
        return;
    }
    buf_fini(&exchange->answer);
    exchange->answer_at = 0;
    if (conn->heavy == exchange)
        conn->heavy = NULL;
}

void h2_exchange_drop_answer(struct h2_exchange *exchange)
{
    h2_exchange_sent(exchange, exchange->answer.len - exchange->answer_at);
    exchange->is_cut = true;
    h2_exchange_reset(exchange, H2_CANCEL);
}

static void h2_exchange_promise(struct h2_exchange *exchange, size_t bytes)
{
    exchange->conn->promised += bytes - exchange->promised;
    exchange->promised = bytes;
    h2_conn_count_owed(exchange->conn);
}

/* --- how an exchange ends ------------------------------------------------------------------------------------- */

void h2_answer(struct http_exchange *http, const struct http_answer *answer)
{
    struct h2_exchange *exchange = h2_exchange_of(http);
    struct h2_conn     *conn     = exchange->conn;
    bool                has_body = !http->is_head && http_status_has_body(answer->status) && answer->body.len > 0;

    if (conn == NULL) {
        h2_exchange_free(exchange);
        return;
    }
    if (exchange->is_closed || conn->is_over)
        return;  /* the connection will settle it */
    exchange->is_ended = true;
    h2_put_head(exchange, answer, has_body);
    if (has_body)
        h2_put_body(exchange, answer->body);
    else if (conn->heavy == exchange)
        conn->heavy = NULL;
    h2_exchange_promise(exchange, 0);
    h2_exchange_set_timer(exchange);
    http_conn_mark(&conn->http);
}

void h2_promise(struct http_exchange *http, size_t answer_bytes)
{
    struct h2_exchange *exchange = h2_exchange_of(http);

    if (exchange->conn != NULL)
        h2_exchange_promise(exchange, answer_bytes);
}

/* The exchange goes on as a stream. */
static struct stream *h2_exchange_take_over(struct h2_exchange *exchange, const struct http_answer *head)
{
    must(exchange->conn != NULL && exchange->answer.len == 0);
    exchange->is_taken = true;
    h2_exchange_promise(exchange, 0);
    if (exchange->conn->heavy == exchange)
        exchange->conn->heavy = NULL;
    if (!exchange->is_closed && !exchange->conn->is_over)
        h2_put_head(exchange, head, true);
    http_conn_mark(&exchange->conn->http);
    return h2_stream_new(exchange);
}

struct stream *h2_open_stream(struct http_exchange *http, const struct http_answer *head, struct buf *first,
                              bool *ret_is_chunked)
{
    (void)first;
    *ret_is_chunked = false;
    return h2_exchange_take_over(h2_exchange_of(http), head);
}

struct stream *h2_open_websocket(struct http_exchange *http, const struct ws_handshake *shake, struct span protocol,
                                 struct buf *first, struct buf *unread)
{
    struct h2_exchange *exchange = h2_exchange_of(http);
    const struct span   agreed   = ws_extensions(shake->window);
    struct http_field   fields[2];
    size_t              count = 0;

    (void)first;
    if (shake->is_protocol_found && protocol.len > 0)
        fields[count++] = (struct http_field){ SPAN("sec-websocket-protocol"), protocol };
    if (agreed.len > 0)
        fields[count++] = (struct http_field){ SPAN("sec-websocket-extensions"), agreed };
    /* RFC 8441 5: 200, and no accept key. */
    exchange->is_two_way = true;
    struct stream *stream = h2_exchange_take_over(exchange, &(struct http_answer){
        .status = 200, .fields = { fields, count },
    });
    buf_put(unread, buf_span(&exchange->body));
    h2_exchange_consume(exchange, exchange->body.len);
    if (exchange->is_whole)
        h2_stream_end(exchange);
    return stream;
}

uint64_t h2_exchange_number(const struct http_exchange *exchange)
{
    const struct h2_exchange *h2 = container_of(exchange, const struct h2_exchange, http);
    return h2->conn == NULL ? 0 : h2->conn->http.number;
}

const struct stream *h2_exchange_stream(const struct http_exchange *exchange)
{
    const struct h2_exchange *h2 = container_of(exchange, const struct h2_exchange, http);
    return h2->conn == NULL ? NULL : h2->conn->http.stream;
}
