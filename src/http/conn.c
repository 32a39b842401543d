/* conn.c - the life of a connection: read, parse, serve, answer in order, leave. */
#include "http/conn.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/must.h"
#include "codec/url/url.h"
#include "reactor/log.h"
#include "reactor/stream_tcp.h"

enum { READS_AT_ONCE = 2 };

/* --- time ---------------------------------------------------------------------------------------------------- */

/* Is the sender of its request being found out? */
static bool conn_is_identifying(const struct http_conn *conn)
{
    return conn->pending != NULL && conn->pending->identification != NULL;
}

enum http_phase conn_phase(const struct http_conn *conn)
{
    if (conn->out.len > 0)
        return HTTP_SENDING;
    if (conn->is_last && conn->exchange_count == 0)
        return HTTP_LEAVING;
    if (conn->exchange_count > 0 || conn_is_identifying(conn))
        return HTTP_OWING;
    return conn->pending != NULL || conn->in.len > 0 ? HTTP_READING : HTTP_IDLE;
}

static void conn_timed_out(struct timer *timer, msec now)
{
    struct http_conn *conn = container_of(timer, struct http_conn, timer);

    (void)now;
    /* After a pause of the process, what it waited for comes in the same turn: the turn's end sets the timer anew. */
    if (conn_phase(conn) != conn->phase || (conn->phase == HTTP_SENDING && !conn->stream->is_full))
        return;
    if (conn->phase == HTTP_READING)
        conn_refuse(conn, 408, "the request did not arrive in time");
    else
        conn_close(conn);
}

/* The timer runs from the beginning of a phase, or of a request: bytes that trickle in don't prolong it. */
static void conn_set_timer(struct http_conn *conn)
{
    const struct http_limits *limits = &conn->server->limits;
    struct wheel             *wheel  = &conn->server->loop->wheel;
    msec                      now    = conn->server->loop->now;
    enum http_phase           phase  = conn_phase(conn);

    /* Who asks on without reading gains no time by it. */
    bool is_next = conn->timed != conn->served && phase != HTTP_SENDING;
    if (phase == conn->phase && !is_next && timer_is_armed(&conn->timer))
        return;
    if (phase != conn->phase)
        conn->phase_at = now;
    conn->phase = (uint8_t)phase;
    conn->timed = conn->served;
    switch (phase) {
    case HTTP_IDLE: wheel_arm(wheel, &conn->timer, now + limits->keepalive_timeout_ms); break;
    case HTTP_READING:
    case HTTP_SENDING: wheel_arm(wheel, &conn->timer, now + limits->request_timeout_ms); break;
    case HTTP_OWING: wheel_disarm(wheel, &conn->timer); break;
    case HTTP_LEAVING: wheel_arm(wheel, &conn->timer, now + limits->linger_ms); break;
    }
}

/* --- requests ------------------------------------------------------------------------------------------------ */

void caller_forget(struct http_caller *caller, struct http_server *server)
{
    if (caller->identity != NULL)
        server->service->forget(server->ctx, caller->identity);
    *caller = (struct http_caller){ .identity = NULL };
}

static void pending_free(struct http_pending *pending, struct http_server *server)
{
    if (pending == NULL)
        return;
    if (pending->identification != NULL)
        server->service->cancel_identify(server->ctx, pending->identification);
    caller_forget(&pending->caller, server);
    server->body_bytes -= pending->body.len;
    buf_fini(&pending->head_text);
    buf_fini(&pending->body);
    free(pending);
}

static struct span span_moved(struct span span, struct span from, const char *to)
{
    bool is_inside = span.at != NULL && span.at >= from.at && span.at <= from.at + from.len;
    return is_inside ? span_of(to + (span.at - from.at), span.len) : span;
}

/* Keeps a head beyond its input: the text is copied, its spans follow it. */
static struct http_pending *pending_new(const struct h1_head *head, struct span text, const struct http_plan *plan)
{
    struct http_pending *pending = malloc(sizeof *pending);

    must(pending != NULL);
    buf_init(&pending->head_text, text.len);
    buf_init(&pending->body, plan->body_bytes_max);
    buf_put(&pending->head_text, text);
    pending->plan            = *plan;
    pending->caller          = (struct http_caller){ .identity = NULL };
    pending->identification  = NULL;
    pending->head            = *head;
    pending->is_continue_due = false;

    const char     *to   = pending->head_text.at;
    struct h1_head *kept = &pending->head;
    kept->method_text    = span_moved(head->method_text, text, to);
    kept->target         = span_moved(head->target, text, to);
    kept->host           = span_moved(head->host, text, to);
    for (size_t i = 0; i < head->field_count; i++) {
        kept->fields[i].name  = span_moved(head->fields[i].name, text, to);
        kept->fields[i].value = span_moved(head->fields[i].value, text, to);
    }
    return pending;
}

struct http_exchange *exchange_new(struct http_conn *conn, const struct h1_head *head)
{
    struct http_exchange *exchange = calloc(1, sizeof *exchange);

    must(exchange != NULL);
    exchange->conn    = conn;
    exchange->minor   = head->minor;
    exchange->is_head = head->method == H1_HEAD;
    exchange->is_last = !head->is_keep_alive;
    buf_init(&exchange->answer, SIZE_MAX / 2);
    list_push(&conn->exchanges, &exchange->link);
    conn->exchange_count++;
    conn->served++;
    return exchange;
}

void exchange_promise(struct http_exchange *exchange, size_t bytes)
{
    exchange->conn->promised += bytes - exchange->promised;
    exchange->promised = bytes;
}

void exchange_free(struct http_exchange *exchange)
{
    buf_fini(&exchange->answer);
    free(exchange->origin);
    free(exchange);
}

/* WHATWG Fetch 3.2.2 */
static bool is_preflight(const struct http_exchange *exchange, const struct h1_head *head)
{
    return exchange->origin != NULL && head->method == H1_OPTIONS &&
           h1_field(head, SPAN("access-control-request-method")).at != NULL;
}

/* CORS preflight (WHATWG Fetch 4.8): the same for everything we serve. */
static void conn_answer_preflight(struct http_conn *conn, struct http_exchange *exchange)
{
    http_answer(conn->server, exchange, &(struct http_answer){
        .status = 204,
        .fields = SPAN("Access-Control-Allow-Methods: GET, POST, PUT, DELETE\r\n"
                       "Access-Control-Allow-Headers: Authorization, Content-Type, Idempotency-Key, Last-Event-ID\r\n"
                       "Access-Control-Max-Age: 600\r\n"),
    });
}

/* Keeps the page's origin, if there is one and it's allowed, for the answer to name. */
static void exchange_keep_origin(struct http_exchange *exchange, struct span origin, struct span host)
{
    const struct http_server *server = exchange->conn->server;

    if (origin.at == NULL || !server->service->origin_is_allowed(server->ctx, origin, host))
        return;
    exchange->origin = strndup(origin.at, origin.len);
    must(exchange->origin != NULL);
}

/* Takes the caller's reference. */
static void conn_serve(struct http_conn *conn, const struct http_request *request, struct http_caller *caller)
{
    struct http_server   *server   = conn->server;
    struct http_exchange *exchange = exchange_new(conn, request->head);
    struct span           origin   = h1_field(request->head, SPAN("origin"));

    exchange->caller = *caller;
    *caller          = (struct http_caller){ .identity = NULL };
    counter_add(&server->counters.requests, 1);
    if (server->is_stopping)
        exchange->is_last = true;
    conn->is_last = exchange->is_last;  /* RFC 9112 9.6: nothing behind it is processed, however late the answer */
    exchange_keep_origin(exchange, origin, request->head->host);
    if (origin.at != NULL && exchange->origin == NULL) {
        counter_add(&server->counters.faults, 1);
        http_problem(server, exchange, 403, NULL, "this origin is not allowed; list it in the setting `origins`",
                     SPAN(""));
    } else if (is_preflight(exchange, request->head)) {
        conn_answer_preflight(conn, exchange);
    } else {
        server->service->serve(server->ctx, exchange, request);
    }
}

void conn_refuse(struct http_conn *conn, unsigned status, const char *detail)
{
    static const struct h1_head nothing = { .minor = 1 };
    const struct h1_head       *head     = conn->pending != NULL ? &conn->pending->head : &nothing;
    struct http_exchange       *exchange = exchange_new(conn, head);

    LOG(LOG_DEBUG, "request_refused", log_u64("status", status), log_str("why", detail));
    counter_add(&conn->server->counters.faults, 1);
    conn->is_last     = true;
    exchange->is_last = true;
    exchange_keep_origin(exchange, h1_field(head, SPAN("origin")), head->host);  /* or its page can't read why */
    pending_free(conn->pending, conn->server);
    conn->pending = NULL;
    http_problem(conn->server, exchange, status, NULL, detail, status == 503 ? SPAN("Retry-After: 1\r\n") : SPAN(""));
}

static struct http_request request_of(const struct h1_head *head, struct span body)
{
    struct http_request request = { .head = head, .body = body };
    url_split(head->target, &request.path, &request.query);
    return request;
}

/* With the body that has come. */
static void conn_serve_pending(struct http_conn *conn)
{
    struct http_pending *pending = conn->pending;
    struct http_request  request = request_of(&pending->head, buf_span(&pending->body));

    conn->pending  = NULL;
    conn->is_alone = pending->plan.is_alone;
    conn_serve(conn, &request, &pending->caller);
    pending_free(pending, conn->server);
}

/* RFC 9110 10.1.1: who waits for 100 gets it, behind the answers to earlier requests. */
static void conn_put_continue(struct http_conn *conn)
{
    if (conn->pending == NULL || !conn->pending->is_continue_due || conn->exchange_count > 0)
        return;
    conn->pending->is_continue_due = false;
    buf_put_lit(&conn->out, "HTTP/1.1 100 Continue\r\n\r\n");
}

/* Who sent this head? NULL: *ret says it. A page whose origin is refused, or one that only asks (preflight), is nobody. */
static void *conn_identify(struct http_conn *conn, const struct http_plan *plan, const struct http_request *request,
                           struct http_caller *ret)
{
    const struct http_server  *server  = conn->server;
    const struct http_service *service = server->service;
    struct span                origin  = h1_field(request->head, SPAN("origin"));

    *ret = (struct http_caller){ .identity = NULL };
    if (!plan->needs_caller || service->identify == NULL ||
        (origin.at != NULL && !service->origin_is_allowed(server->ctx, origin, request->head->host)))
        return NULL;
    return service->identify(server->ctx, conn, request, ret);
}

static bool conn_is_unwelcome(const struct http_conn *conn)
{
    const struct http_server  *server  = conn->server;
    const struct http_pending *pending = conn->pending;
    struct http_request        request = request_of(&pending->head, SPAN(""));

    return server->service->is_unwelcome != NULL &&
           server->service->is_unwelcome(server->ctx, &request, &pending->caller);
}

/* Its sender is known. False: refused, nothing more is parsed. */
static bool conn_begin_body(struct http_conn *conn, bool body_is_near)
{
    struct http_pending *pending = conn->pending;

    if (conn_is_unwelcome(conn)) {
        pending->head.is_keep_alive = false;
        conn_serve_pending(conn);
        return false;
    }
    if (pending->head.has_length && pending->head.content_length > pending->plan.body_bytes_max) {
        conn_refuse(conn, 413, "the body is longer than this resource takes");
        return false;
    }
    pending->is_continue_due = pending->head.expects_continue && !body_is_near;
    conn_put_continue(conn);
    return true;
}

void http_identified(struct http_conn *conn, const struct http_caller *caller)
{
    must(conn_is_identifying(conn));
    conn->pending->identification = NULL;
    conn->pending->caller         = *caller;
    conn_begin_body(conn, conn->in.len > 0);
    conn_mark(conn);
}

static bool conn_on_body(struct http_conn *conn, struct span piece)
{
    struct http_server *server = conn->server;

    if (server->body_bytes + piece.len > server->limits.body_bytes_max) {
        conn_refuse(conn, 503, "too much is being sent to this server at once; send it again a little later");
        return false;
    }
    conn->pending->is_continue_due = false;
    size_t before = conn->pending->body.len;
    buf_put(&conn->pending->body, piece);
    server->body_bytes += conn->pending->body.len - before;
    if (!buf_is_over(&conn->pending->body))
        return true;
    conn_refuse(conn, 413, "the body is longer than this resource takes");
    return false;
}

/* Answers are still to be made, or to be sent. */
static bool conn_is_owing(const struct http_conn *conn)
{
    return conn->exchange_count > 0 || conn->out.len > 0;
}

/* Who takes the connection over would lose or overtake what is owed; big answers would heap up behind it. */
static bool conn_is_in_the_way(const struct http_conn *conn, const struct http_plan *plan)
{
    return (plan->is_alone || plan->is_heavy) && conn_is_owing(conn);
}

/* A whole request in one piece, as nearly all are: served from where it lies. */
static bool conn_try_whole(struct http_conn *conn, const struct http_plan *plan, struct http_caller *caller,
                           struct span rest, size_t *ret_used)
{
    struct http_server   *server = conn->server;
    const struct h1_head *head   = &server->head;
    struct h1             h1     = conn->h1;
    struct span           body   = SPAN("");
    size_t                used   = 0;

    if (head->is_chunked || head->content_length > rest.len)
        return false;
    if (head->content_length > 0 && h1_feed(&h1, rest, &server->head, &used, &body) != H1_BODY)
        return false;
    size_t end_used = 0;
    struct span none;
    if (body.len != head->content_length ||
        h1_feed(&h1, span_skip(rest, used), &server->head, &end_used, &none) != H1_END)
        return false;

    struct http_request request = request_of(head, body);
    if (body.len > plan->body_bytes_max || conn_is_in_the_way(conn, plan))
        return false;
    conn->h1       = h1;
    conn->is_alone = plan->is_alone;
    *ret_used      = used + end_used;
    conn->unread   = span_skip(rest, *ret_used);
    conn_serve(conn, &request, caller);
    return true;
}

/* The head is there. False: nothing more can be swallowed now. */
static bool conn_on_head(struct http_conn *conn, struct span text, struct span behind, size_t *ret_used)
{
    struct http_server  *server  = conn->server;
    struct http_request  request = request_of(&server->head, SPAN(""));
    struct http_plan     plan    = server->service->plan(server->ctx, &request);
    struct http_caller   caller;
    void                *identification = conn_identify(conn, &plan, &request, &caller);

    if (identification == NULL && conn_try_whole(conn, &plan, &caller, behind, ret_used))
        return true;
    conn->pending                 = pending_new(&server->head, text, &plan);
    conn->pending->caller         = caller;
    conn->pending->identification = identification;
    return identification == NULL && conn_begin_body(conn, behind.len > 0);
}

static bool conn_may_parse(const struct http_conn *conn)
{
    const struct http_limits *limits = &conn->server->limits;
    size_t                    max    = http_has_room(conn->server) ? limits->answer_bytes_max : 1;

    return !conn->is_last && !conn->is_alone && conn->exchange_count < limits->pipeline_max &&
           conn->out.len + conn->promised < max;
}

/* Its request is known, but may not be served before its sender is known, or the earlier ones are answered. */
static bool conn_must_wait(const struct http_conn *conn)
{
    return conn_is_identifying(conn) || (conn->pending != NULL && conn_is_in_the_way(conn, &conn->pending->plan));
}

/* Swallows one event's worth of `input`; *ret_used bytes are done with. False: nothing more can be swallowed now. */
static bool conn_swallow(struct http_conn *conn, struct span input, size_t *ret_used)
{
    struct http_server *server = conn->server;
    struct span         body;

    switch (h1_feed(&conn->h1, input, &server->head, ret_used, &body)) {
    case H1_MORE:
        return false;
    case H1_HEAD_DONE: {
        size_t whole   = 0;
        bool   goes_on = conn_on_head(conn, span_head(input, *ret_used), span_skip(input, *ret_used), &whole);
        *ret_used += whole;
        return goes_on;
    }
    case H1_BODY:
        return conn_on_body(conn, body);
    case H1_END:
        conn->unread = span_skip(input, *ret_used);
        conn_serve_pending(conn);
        return true;
    case H1_FAULT:
        conn_refuse(conn, conn->h1.fault_status, conn->h1.fault_reason);
        return false;
    }
    return false;
}

static size_t conn_parse(struct http_conn *conn, struct span input)
{
    size_t total = 0;
    bool   goes_on = true;

    while (goes_on && conn_may_parse(conn) && !conn_must_wait(conn) && conn->stream != NULL) {
        size_t used = 0;
        goes_on     = conn_swallow(conn, span_skip(input, total), &used);
        total += used;
    }
    return total;
}

static void conn_parse_kept(struct http_conn *conn)
{
    size_t used = conn_parse(conn, buf_span(&conn->in));

    buf_drop(&conn->in, used);
    if (conn->in.len == 0)
        buf_fini(&conn->in);
}

/* Whatever it is, we have said our last word. RFC 9112 9.6: but a reset while the client still sends could take that
 * word from it, so as long as it does, we wait on, for the time that a request may take. */
static void conn_drop_input(struct http_conn *conn)
{
    struct loop *loop = conn->server->loop;

    if (conn->phase == HTTP_LEAVING && loop->now - conn->phase_at < conn->server->limits.request_timeout_ms)
        wheel_disarm(&loop->wheel, &conn->timer);  /* it is armed anew at the end of the turn */
}

static void conn_take_input(struct http_conn *conn, struct span fresh)
{
    if (conn->is_last) {
        conn_drop_input(conn);
        return;
    }
    if (conn->in.len > 0) {
        buf_put(&conn->in, fresh);
        conn_parse_kept(conn);
    } else {
        size_t used = conn_parse(conn, fresh);
        if (conn->stream != NULL && !conn->is_last)
            buf_put(&conn->in, span_skip(fresh, used));
    }
}

/* --- the stream ---------------------------------------------------------------------------------------------- */

static void conn_free(struct http_conn *conn)
{
    wheel_disarm(&conn->server->loop->wheel, &conn->timer);
    list_take(&conn->link);
    list_take(&conn->dirty);
    counter_sub(&conn->server->counters.conns, 1);
    conn->server->owed_bytes -= conn->owed;
    pending_free(conn->pending, conn->server);
    buf_fini(&conn->in);
    buf_fini(&conn->out);
    free(conn);
}

void conn_close(struct http_conn *conn)
{
    struct list *link;

    while ((link = list_pop(&conn->exchanges)) != NULL) {
        struct http_exchange *exchange = container_of(link, struct http_exchange, link);
        exchange->conn                 = NULL;
        if (exchange->is_answered)
            exchange_free(exchange);
        else if (exchange->gone != NULL)
            exchange->gone(exchange->owner);
    }
    stream_close(conn->stream);
    conn_free(conn);
}

static void conn_on_eof(struct http_conn *conn)
{
    conn->is_eof = true;
    /* Answers under way, and those to requests that are kept here, still reach a client that has only stopped sending;
     * who waits for news is taken to be gone. */
    if (!conn_is_owing(conn) || conn->is_alone)
        conn_close(conn);
    else
        conn_mark(conn);
}

/* Input that can't be parsed yet is kept up to this; beyond it the kernel keeps it, and then the client. Behind the
 * last request all is read and dropped, or its end would not be seen, and what stays unread would become a reset. */
static bool conn_wants_input(const struct http_conn *conn)
{
    return conn->is_last || conn->in.len < conn->server->limits.h1.head_bytes_max + 1;
}

static void conn_on_readable(struct stream *stream, void *owner)
{
    struct http_conn *conn = owner;
    struct loop      *loop = conn->server->loop;

    for (int reads = 0;; reads++) {
        if (!conn_wants_input(conn)) {
            conn->is_resting = true;
            break;
        }
        if (reads == READS_AT_ONCE) {
            stream_more(stream);  /* the others first: who sends without end must not have the loop for itself */
            break;
        }
        ssize_t got = stream_read(stream, loop->input, LOOP_INPUT_BYTES);
        if (got == STREAM_LATER)
            break;
        if (got == STREAM_FAULT) {
            conn_close(conn);
            return;
        }
        if (got == 0) {
            conn_on_eof(conn);
            return;
        }
        conn_take_input(conn, span_of(loop->input, (size_t)got));
        if (conn->stream == NULL) {
            conn_free(conn);
            return;
        }
        if (stream_is_drained(stream, (size_t)got, LOOP_INPUT_BYTES))
            break;
    }
    conn_mark(conn);
}

static void conn_on_writable(struct stream *stream, void *owner)
{
    (void)stream;
    conn_mark(owner);
}

static const struct stream_events conn_events = {
    .on_readable = conn_on_readable,
    .on_writable = conn_on_writable,
};

void conn_open(struct http_server *server, int fd)
{
    struct http_conn *conn = calloc(1, sizeof *conn);

    if (conn == NULL || stream_tcp_new(server->loop, fd, &conn->stream) != RC_OK) {
        LOG(LOG_WARN, "connection_refused", log_str("why", "no memory for one more"));
        close(fd);
        free(conn);
        return;
    }
    stream_start(conn->stream, &conn_events, conn);
    conn->server     = server;
    conn->timer.fire = conn_timed_out;
    h1_init(&conn->h1, &server->limits.h1);
    buf_init(&conn->in, server->limits.h1.head_bytes_max + 2 * LOOP_INPUT_BYTES);
    buf_init(&conn->out, SIZE_MAX / 2);
    list_init(&conn->exchanges);
    list_init(&conn->dirty);
    list_push(&server->conns, &conn->link);
    counter_add(&server->counters.conns, 1);
    counter_add(&server->counters.accepted, 1);
    conn_set_timer(conn);
}

/* --- answers ------------------------------------------------------------------------------------------------- */

void conn_mark(struct http_conn *conn)
{
    if (!list_is_linked(&conn->dirty))
        list_push(&conn->server->dirty, &conn->dirty);
}

void conn_count_owed(struct http_conn *conn)
{
    size_t owed = conn->out.len + conn->promised;

    conn->server->owed_bytes += owed - conn->owed;
    conn->owed = owed;
}

void conn_queue_answers(struct http_conn *conn)
{
    while (!list_is_empty(&conn->exchanges)) {
        struct http_exchange *exchange = container_of(conn->exchanges.next, struct http_exchange, link);
        if (!exchange->is_answered)
            return;
        buf_put(&conn->out, buf_span(&exchange->answer));
        exchange_promise(exchange, 0);
        list_take(&exchange->link);
        exchange_free(exchange);
        conn->exchange_count--;
        conn->is_alone = false;
    }
}

/* False: the link is gone, and so is the connection. */
static bool conn_flush(struct http_conn *conn)
{
    if (conn->out.len == 0 || conn->stream->is_full)
        return true;
    ssize_t put = stream_write(conn->stream, buf_span(&conn->out));
    if (put == STREAM_FAULT) {
        conn_close(conn);
        return false;
    }
    buf_drop(&conn->out, (size_t)put);
    if (conn->out.len == 0)
        buf_fini(&conn->out);
    if (put > 0 && conn->phase == HTTP_SENDING)
        wheel_disarm(&conn->server->loop->wheel, &conn->timer);  /* it takes: its time begins anew */
    return true;
}

/* All answers are gone and the last word is said. False: so is the connection. */
static bool conn_leave(struct http_conn *conn)
{
    if (conn->is_eof) {
        conn_close(conn);
        return false;
    }
    /* RFC 9112 9.6: half-close and wait a little, or a reset could overtake the answer. */
    if (!conn->is_shut)
        stream_shut(conn->stream);
    conn->is_shut = true;
    return true;
}

void conn_work(struct http_conn *conn)
{
    conn_queue_answers(conn);
    if (conn->in.len > 0 || conn->pending != NULL) {
        conn_parse_kept(conn);
        if (conn->stream == NULL) {
            conn_free(conn);
            return;
        }
        conn_queue_answers(conn);
        conn_put_continue(conn);
    }
    if (conn->is_resting && conn_wants_input(conn)) {
        conn->is_resting = false;
        stream_more(conn->stream);
    }
    bool is_blocked = conn_must_wait(conn) || (conn->in.len > 0 && !conn_may_parse(conn));
    if (!conn_flush(conn))
        return;
    conn_count_owed(conn);
    bool goes_on = is_blocked && conn_may_parse(conn) && !conn_must_wait(conn);
    if (goes_on)
        conn_mark(conn);  /* the answers that were in the way have gone */
    if (conn->server->is_stopping && conn_phase(conn) == HTTP_IDLE)
        conn->is_last = true;
    bool is_over = conn->is_last || (conn->is_eof && !goes_on);
    if (is_over && !conn_is_owing(conn) && !conn_leave(conn))
        return;
    conn_set_timer(conn);
}
