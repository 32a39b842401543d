/* h2_request.c - the requests of an HTTP/2 connection: their heads, their bodies, and the line of those that wait. */
#include "base/must.h"
#include "codec/url/url.h"
#include "http/h2_conn.h"
#include "http/h2_stream.h"

struct h2_exchange *h2_exchange_new(struct h2_conn *conn, uint32_t id)
{
    struct h2_exchange *exchange = h2_memory_take(h2_shared_memory(conn->http.server->h2), sizeof *exchange);

    exchange->conn        = conn;
    exchange->id          = id;
    exchange->http.server = conn->http.server;
    exchange->sender      = (struct http_sender){ &conn->http };
    exchange->timer.fire  = h2_exchange_timed_out;
    buf_init(&exchange->body, SIZE_MAX / 2);
    buf_init(&exchange->answer, SIZE_MAX / 2);
    list_push(&conn->exchanges, &exchange->link);
    conn->exchange_count++;
    counter_add(&conn->http.server->counters.h2_streams, 1);
    return exchange;
}

void h2_exchange_drop_request(struct h2_exchange *exchange)
{
    struct http_server *server = exchange->http.server;

    list_take(&exchange->in_line);
    if (exchange->identification != NULL)
        server->service->cancel_identify(server->ctx, exchange->identification);
    exchange->identification = NULL;
    http_caller_forget(&exchange->caller, server);
    http_body_free(server, &exchange->share);
    buf_fini(&exchange->body);
    h2_heads_give(server, exchange->head);
    exchange->head = NULL;
}

static struct http_request h2_request_of(const struct h2_exchange *exchange)
{
    struct http_request request = {
        .head = &exchange->head->request, .body = exchange->borrowed.len > 0 ? exchange->borrowed : buf_span(&exchange->body),
    };
    url_split(request.head->target, &request.path, &request.query);
    return request;
}

/* --- serving -------------------------------------------------------------------------------------------------- */

/* One connection more for a client that stays: is there room for it? The link of the client was counted when it was
 * opened, but each of its streams may bring a session. */
static bool h2_exchange_is_crowd(const struct h2_exchange *exchange)
{
    const struct http_server  *server  = exchange->http.server;
    const struct http_service *service = server->service;
    struct http_refusal        refusal;

    return exchange->conn->is_brief || (exchange->plan.is_alone && service->admit != NULL &&
                                        service->admit(server->ctx, exchange->conn->http.stream, &refusal) != HTTP_ADMITTED);
}

static void h2_exchange_serve(struct h2_exchange *exchange)
{
    struct h2_conn     *conn    = exchange->conn;
    struct http_request request = h2_request_of(exchange);

    must(!exchange->is_served && exchange->identification == NULL);
    exchange->is_served = true;
    if (exchange->plan.is_heavy)
        conn->heavy = exchange;
    exchange->http.is_brief = h2_exchange_is_crowd(exchange);
    exchange_serve(&exchange->http, &exchange->plan, &request, &exchange->caller);
    h2_exchange_drop_request(exchange);
    h2_exchange_set_timer(exchange);
}

/* Big answers go one after the other: a client that does not read them holds one of them. */
static bool h2_conn_may_serve(const struct h2_conn *conn, const struct h2_exchange *exchange)
{
    const struct http_server *server = conn->http.server;
    size_t                    max    = http_has_room(server) ? server->limits.answer_bytes_max : 1;

    return conn->out.len + conn->answers + conn->promised < max && (!exchange->plan.is_heavy || conn->heavy == NULL);
}

void h2_conn_serve_line(struct h2_conn *conn)
{
    for (struct list *at = conn->line.next, *next; at != &conn->line; at = next) {
        struct h2_exchange *exchange = container_of(at, struct h2_exchange, in_line);
        next                         = at->next;
        if (h2_conn_may_serve(conn, exchange))
            h2_exchange_serve(exchange);
    }
}

/* It is whole, and its sender is known. */
static void h2_exchange_stand_in_line(struct h2_exchange *exchange)
{
    struct h2_conn *conn = exchange->conn;

    h2_exchange_set_timer(exchange);
    if (list_is_empty(&conn->line) && h2_conn_may_serve(conn, exchange))
        h2_exchange_serve(exchange);
    else
        list_push(&conn->line, &exchange->in_line);
}

/* --- refusals ------------------------------------------------------------------------------------------------- */

void h2_exchange_refuse(struct h2_exchange *exchange, unsigned status, const char *detail)
{
    if (exchange->is_served)
        return;
    exchange->is_served = true;
    exchange_refuse(&exchange->http, status, detail);
    h2_exchange_drop_request(exchange);
    h2_exchange_set_timer(exchange);
}

static void h2_exchange_refuse_long(struct h2_exchange *exchange)
{
    const struct http_server *server  = exchange->http.server;
    struct http_request       request = h2_request_of(exchange);
    char                      detail[HTTP_LONG_BODY_BYTES];

    if (server->service->is_nowhere != NULL && server->service->is_nowhere(server->ctx, &request)) {
        h2_exchange_serve(exchange);
        return;
    }
    http_say_long_body(&exchange->plan, detail);
    h2_exchange_refuse(exchange, 413, detail);
}

static bool h2_exchange_is_unwelcome(const struct h2_exchange *exchange, bool is_long)
{
    const struct http_server *server  = exchange->http.server;
    struct http_request       request = h2_request_of(exchange);

    if (server->service->is_unwelcome == NULL || (is_long && http_is_foreign(server, &exchange->plan, request.head)))
        return false;
    return server->service->is_unwelcome(server->ctx, &request, &exchange->caller);
}

/* --- heads and bodies ----------------------------------------------------------------------------------------- */

/* The sender is known. The same order of judgements as with HTTP/1.1 (h1_request.c). */
static void h2_exchange_begin_body(struct h2_exchange *exchange)
{
    const struct h2_head *head    = exchange->head;
    bool                  is_long = exchange->body.len + exchange->borrowed.len > exchange->plan.body_bytes_max ||
                                    (head->has_length && head->content_length > exchange->plan.body_bytes_max);

    if (exchange->is_two_way || (!exchange->is_whole && h2_exchange_is_unwelcome(exchange, is_long))) {
        h2_exchange_serve(exchange);
        return;
    }
    if (is_long) {
        h2_exchange_refuse_long(exchange);
        return;
    }
    if (exchange->is_whole) {
        h2_exchange_stand_in_line(exchange);
        return;
    }
    if (head->expects_continue && exchange->body.len == 0)
        h2_put_continue(exchange);
    h2_exchange_set_timer(exchange);
}

void h2_exchange_identified(struct h2_exchange *exchange, const struct http_caller *caller)
{
    must(exchange->identification != NULL && exchange->conn != NULL);
    exchange->identification = NULL;
    exchange->caller         = *caller;
    h2_exchange_begin_body(exchange);
    http_conn_mark(&exchange->conn->http);
}

/* Whatever the maximum of all bodies: other things bound it. */
static void h2_exchange_keep_always(struct h2_exchange *exchange, struct span piece)
{
    http_body_force(exchange->http.server, &exchange->share, piece.len);
    buf_put(&exchange->body, piece);
}

static void h2_exchange_keep(struct h2_exchange *exchange, struct span piece)
{
    if (http_body_grow(exchange->http.server, &exchange->share, piece.len))
        buf_put(&exchange->body, piece);
    else
        h2_exchange_refuse(exchange, 503, HTTP_BODIES_FULL);
}

static void h2_exchange_begin(struct h2_exchange *exchange)
{
    struct http_server *server  = exchange->http.server;
    struct http_request request = h2_request_of(exchange);

    exchange->plan           = server->service->plan(server->ctx, &request);
    exchange->identification = http_identify(&exchange->sender, &exchange->plan, &request, &exchange->caller);
    if (exchange->identification == NULL)
        h2_exchange_begin_body(exchange);
}

/* It could not be served at once, and what it is made of will be gone. One byte too many tells later that it is too long. */
static void h2_exchange_keep_borrowed(struct h2_exchange *exchange, struct span body)
{
    exchange->head = h2_heads_keep(exchange->http.server, exchange->head);
    h2_exchange_keep(exchange, span_head(body, exchange->plan.body_bytes_max + 1));
}

void h2_exchange_on_head(struct h2_exchange *exchange, struct h2_head *head, bool is_end, struct span body)
{
    struct h2_conn *conn    = exchange->conn;
    bool            is_good = head->fault_status == 0;

    exchange->head       = head;
    exchange->borrowed   = body;
    exchange->is_whole   = is_end;
    exchange->is_two_way = is_good && head->request.is_extended;
    conn->served++;
    exchange_init(&exchange->http, &http_version_2, conn->http.server, &head->request);
    if (is_good)
        h2_exchange_begin(exchange);
    else
        h2_exchange_refuse(exchange, head->fault_status, head->fault_reason);
    exchange->borrowed = (struct span){ NULL, 0 };
    if (exchange->head != NULL)
        h2_exchange_keep_borrowed(exchange, body);
}

void h2_exchange_on_body(struct h2_exchange *exchange, struct span piece)
{
    if (exchange->is_taken) {
        h2_stream_put(exchange, piece);
        return;
    }
    if (exchange->is_served)
        return;  /* it is answered without its body */
    if (exchange->is_two_way) {
        h2_exchange_keep_always(exchange, piece);  /* its window bounds it */
        return;
    }
    if (exchange->body.len + piece.len > exchange->plan.body_bytes_max) {
        if (exchange->identification == NULL)
            h2_exchange_refuse_long(exchange);
        else if (exchange->body.len <= exchange->plan.body_bytes_max)
            h2_exchange_keep_always(exchange, piece);  /* one byte too many tells it later */
        return;
    }
    h2_exchange_keep(exchange, piece);
}

void h2_exchange_on_end(struct h2_exchange *exchange)
{
    exchange->is_whole = true;
    if (exchange->is_taken)
        h2_stream_end(exchange);
    else if (!exchange->is_served && exchange->identification == NULL)
        h2_exchange_stand_in_line(exchange);
}
