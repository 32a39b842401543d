/* server.c - the connections of one loop, and what an answer looks like on the wire. */
#include <stdlib.h>
#include <time.h>

#include "base/must.h"
#include "codec/json/json.h"
#include "http/conn.h"

void http_server_init(struct http_server *server, struct loop *loop, const struct http_limits *limits,
                      const struct http_service *service, void *ctx)
{
    *server = (struct http_server){ .loop = loop, .limits = *limits, .service = service, .ctx = ctx };
    list_init(&server->conns);
    list_init(&server->dirty);
}

void http_server_fini(struct http_server *server)
{
    while (!list_is_empty(&server->conns))
        conn_close(container_of(server->conns.next, struct http_conn, link));
}

void http_server_accept(struct http_server *server, int fd)
{
    conn_open(server, fd);
}

void http_server_turn_end(struct http_server *server)
{
    struct list *link;

    while ((link = list_pop(&server->dirty)) != NULL)
        conn_work(container_of(link, struct http_conn, dirty));
}

void http_server_stop(struct http_server *server)
{
    server->is_stopping = true;
    for (struct list *link = server->conns.next, *next; link != &server->conns; link = next) {
        struct http_conn *conn = container_of(link, struct http_conn, link);
        next                   = link->next;
        if (conn_phase(conn) == HTTP_IDLE)
            conn_close(conn);
    }
}

bool http_server_is_idle(const struct http_server *server)
{
    return list_is_empty(&server->conns);
}

/* --- answers ------------------------------------------------------------------------------------------------- */

void http_put_date(struct http_server *server, struct buf *buf)
{
    msec second = server->loop->wall / 1000;

    if (second != server->date_at || server->date[0] == '\0') {
        time_t    at = (time_t)second;
        struct tm parts;
        gmtime_r(&at, &parts);
        strftime(server->date, sizeof server->date, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &parts);
        server->date_at = second;
    }
    buf_put(buf, span_str(server->date));
}

void http_put_cors(const struct http_exchange *exchange, struct buf *buf)
{
    if (exchange->origin == NULL)
        return;
    buf_put_lit(buf, "Access-Control-Allow-Origin: ");
    buf_put(buf, span_str(exchange->origin));
    buf_put_lit(buf, "\r\nAccess-Control-Expose-Headers: Idempotency-Replayed, Retry-After\r\nVary: Origin\r\n");
}

static bool status_has_body(unsigned status)
{
    return status != 204 && status != 304;  /* RFC 9110 6.4.1 */
}

static void put_head(struct http_server *server, const struct http_exchange *exchange,
                     const struct http_answer *answer, struct buf *buf)
{
    buf_put_lit(buf, "HTTP/1.1 ");
    buf_put_u64(buf, answer->status);
    buf_putc(buf, ' ');
    buf_put(buf, span_str(h1_status_text(answer->status)));
    buf_put_lit(buf, "\r\n");
    http_put_date(server, buf);
    http_put_cors(exchange, buf);
    if (answer->media.len > 0) {
        buf_put_lit(buf, "Content-Type: ");
        buf_put(buf, answer->media);
        buf_put_lit(buf, "\r\n");
    }
    buf_put(buf, answer->fields);
    if (status_has_body(answer->status)) {
        buf_put_lit(buf, "Content-Length: ");
        buf_put_u64(buf, answer->body.len);
        buf_put_lit(buf, "\r\n");
    }
    if (exchange->is_last)
        buf_put_lit(buf, "Connection: close\r\n");
    else if (exchange->minor == 0)
        buf_put_lit(buf, "Connection: keep-alive\r\n");
    buf_put_lit(buf, "\r\n");
}

/* Nothing else is owed or half read when the server stops: the client is told that this was all. */
static bool exchange_is_farewell(const struct http_exchange *exchange)
{
    const struct http_conn *conn = exchange->conn;

    return conn->server->is_stopping && conn->exchanges.prev == &exchange->link && conn->pending == NULL &&
           conn->in.len == 0;
}

void http_promise(struct http_exchange *exchange, size_t answer_bytes)
{
    must(!exchange->is_answered);
    if (exchange->conn == NULL)
        return;
    exchange_promise(exchange, answer_bytes);
    conn_count_owed(exchange->conn);
}

bool http_has_room(const struct http_server *server)
{
    return server->owed_bytes < server->limits.owed_bytes_max;
}

void http_answer(struct http_server *server, struct http_exchange *exchange, const struct http_answer *answer)
{
    struct http_conn *conn = exchange->conn;

    must(!exchange->is_answered);
    caller_forget(&exchange->caller, server);
    if (conn == NULL) {
        exchange_free(exchange);
        return;
    }
    exchange->is_answered = true;
    if (answer->is_last || exchange_is_farewell(exchange))
        exchange->is_last = true;
    if (exchange->is_last)
        conn->is_last = true;  /* what is parsed from now on would be answered behind the close, to nobody */
    /* What is first in line is written where it leaves from. */
    bool        is_next = conn->exchanges.next == &exchange->link;
    struct buf *buf     = is_next ? &conn->out : &exchange->answer;
    put_head(server, exchange, answer, buf);
    if (!exchange->is_head && status_has_body(answer->status))
        buf_put(buf, answer->body);
    if (is_next)
        conn_queue_answers(conn);
    else
        exchange_promise(exchange, exchange->answer.len);
    conn_count_owed(conn);
    conn_mark(conn);
}

void http_problem(struct http_server *server, struct http_exchange *exchange, unsigned status, const char *title,
                  const char *detail, struct span fields)
{
    struct buf body;

    buf_init(&body, 4096);
    json_put_problem(&body, status, span_str(title != NULL ? title : h1_status_text(status)), span_str(detail));
    http_answer(server, exchange, &(struct http_answer){
        .status = status,
        .media  = SPAN("application/problem+json"),
        .fields = fields,
        .body   = buf_span(&body),
    });
    buf_fini(&body);
}

void http_refuse_caller(struct http_server *server, struct http_exchange *exchange)
{
    const struct http_caller caller = exchange->caller;

    must(caller.identity == NULL && caller.status >= 400);
    http_problem(server, exchange, caller.status, NULL, caller.reason,
                 caller.status == 401 ? SPAN("WWW-Authenticate: Bearer\r\n") :
                 caller.status == 503 ? SPAN("Retry-After: 1\r\n") : SPAN(""));
}

struct stream *http_take_over(struct http_server *server, struct http_exchange *exchange, struct buf *unread)
{
    struct http_conn *conn   = exchange->conn;
    struct stream    *stream = conn->stream;

    must(conn->server == server && conn->is_alone && conn->exchange_count == 1);
    caller_forget(&exchange->caller, server);
    buf_put(unread, conn->unread);
    list_take(&exchange->link);
    exchange_free(exchange);
    conn->exchange_count = 0;
    conn->stream         = NULL;  /* whoever called serve() frees the connection now */
    return stream;
}
