/* h1_request.c - the requests of an HTTP/1.1 connection: those that come in one piece, and those whose bodies come in
 * pieces. */
#include <stdlib.h>

#include "base/must.h"
#include "codec/proxy/proxy.h"
#include "codec/url/url.h"
#include "http/h1_conn.h"
#include "http/h1_write.h"
#include "http/h2_conn.h"

void h1_pending_free(struct h1_pending *pending, struct http_server *server)
{
    if (pending == NULL)
        return;
    if (pending->identification != NULL)
        server->service->cancel_identify(server->ctx, pending->identification);
    http_caller_forget(&pending->caller, server);
    http_body_free(server, &pending->share);
    buf_fini(&pending->head_text);
    buf_fini(&pending->body);
    free(pending);
}

static struct span span_moved(struct span span, struct span from, const char *to)
{
    bool is_inside = span.at != NULL && span.at >= from.at && span.at <= from.at + from.len;
    return is_inside ? span_of(to + (span.at - from.at), span.len) : span;
}

/* Keeps a head beyond its input: copies the text, and moves the spans to the copy. */
static struct h1_pending *h1_pending_new(const struct h1_head *head, struct span text, const struct http_plan *plan)
{
    struct h1_pending *pending = malloc(sizeof *pending);

    must(pending != NULL);
    buf_init(&pending->head_text, text.len);
    buf_init(&pending->body, plan->body_bytes_max);
    buf_put(&pending->head_text, text);
    pending->share           = (struct http_body_share){ 0 };
    pending->plan            = *plan;
    pending->caller          = (struct http_caller){ .identity = NULL };
    pending->identification  = NULL;
    pending->head            = *head;
    pending->is_continue_due = false;
    pending->timed_bytes     = 0;

    const char          *to   = pending->head_text.at;
    struct request_head *kept = &pending->head.request;
    kept->method_text         = span_moved(kept->method_text, text, to);
    kept->target              = span_moved(kept->target, text, to);
    kept->host                = span_moved(kept->host, text, to);
    for (size_t i = 0; i < kept->field_count; i++) {
        kept->fields[i].name  = span_moved(kept->fields[i].name, text, to);
        kept->fields[i].value = span_moved(kept->fields[i].value, text, to);
    }
    return pending;
}

/* Takes the caller's reference. */
static void h1_conn_serve(struct h1_conn *conn, const struct h1_head *head, const struct http_plan *plan,
                          const struct http_request *request, struct http_caller *caller)
{
    struct h1_exchange *exchange = h1_exchange_new(conn, head);

    must(!conn->is_alone || conn->exchange_count == 1);
    exchange->http.is_brief = conn->is_brief;
    if (conn->http.server->is_stopping || conn->is_brief)
        exchange->is_last = true;
    /* RFC 9112 9.6: no request behind it is processed, however late its answer is */
    conn->is_last = exchange->is_last;
    exchange_serve(&exchange->http, plan, request, caller);
    conn->unread = SPAN("");
}

/* The head is not there, or it is refused. The answer is one that the sender's page may read. */
static struct h1_exchange *h1_conn_answer_part(struct h1_conn *conn, struct span part)
{
    struct h1_head head = { .minor = 1 };

    h1_read_sender(part, &head.request);
    return h1_exchange_new(conn, &head);
}

void h1_conn_refuse(struct h1_conn *conn, struct span part, unsigned status, const char *detail)
{
    struct h1_exchange *exchange = conn->pending != NULL ? h1_exchange_new(conn, &conn->pending->head)
                                                         : h1_conn_answer_part(conn, part);

    conn->is_last     = true;
    exchange->is_last = true;
    h1_pending_free(conn->pending, conn->http.server);
    conn->pending = NULL;
    exchange_refuse(&exchange->http, status, detail);
}

static struct http_request request_of(const struct h1_head *head, struct span body)
{
    struct http_request request = { .head = &head->request, .body = body };
    url_split(head->request.target, &request.path, &request.query);
    return request;
}

void h1_conn_put_continue(struct h1_conn *conn)
{
    if (conn->pending == NULL || !conn->pending->is_continue_due || conn->exchange_count > 0)
        return;
    conn->pending->is_continue_due = false;
    h1_put_continue(&conn->out);
}

static void h1_conn_serve_pending(struct h1_conn *conn);

static bool h1_conn_leads_nowhere(const struct h1_conn *conn)
{
    const struct http_server *server  = conn->http.server;
    struct http_request       request = request_of(&conn->pending->head, SPAN(""));

    return server->service->is_nowhere != NULL && server->service->is_nowhere(server->ctx, &request);
}

/* Nothing more is parsed. */
static void h1_conn_refuse_long(struct h1_conn *conn)
{
    const struct http_plan *plan = &conn->pending->plan;
    char                    detail[HTTP_LONG_BODY_BYTES];

    if (h1_conn_leads_nowhere(conn)) {
        conn->pending->head.is_keep_alive = false;
        h1_conn_serve_pending(conn);
        return;
    }
    http_say_long_body(plan, detail);
    h1_conn_refuse(conn, SPAN(""), 413, detail);
}

static bool h1_pending_is_long(const struct h1_pending *pending)
{
    return pending->head.has_length && pending->head.content_length > pending->plan.body_bytes_max;
}

/* Of a foreign request nobody was asked who sent it: the service refuses it like a sender who is not known, so its body
 * is not gathered. But nobody's rights are judged there: a body that is too long is refused as that. */
static bool h1_conn_is_unwelcome(const struct h1_conn *conn)
{
    const struct http_server *server  = conn->http.server;
    const struct h1_pending  *pending = conn->pending;
    struct http_request       request = request_of(&pending->head, SPAN(""));

    if (server->service->is_unwelcome == NULL ||
        (h1_pending_is_long(pending) && http_is_foreign(server, &pending->plan, request.head)))
        return false;
    return server->service->is_unwelcome(server->ctx, &request, &pending->caller);
}

/* With the body that has come. */
static void h1_conn_serve_pending(struct h1_conn *conn)
{
    struct h1_pending  *pending = conn->pending;
    struct http_request request = request_of(&pending->head, buf_span(&pending->body));

    conn->pending  = NULL;
    conn->is_alone = pending->plan.is_alone;
    h1_conn_serve(conn, &pending->head, &pending->plan, &request, &pending->caller);
    h1_pending_free(pending, conn->http.server);
}

/* The sender of the pending request is known. False: it was refused, and nothing more is parsed. */
static bool h1_conn_begin_body(struct h1_conn *conn, bool body_is_near)
{
    struct h1_pending *pending = conn->pending;

    if (h1_conn_is_unwelcome(conn)) {
        pending->head.is_keep_alive = false;
        h1_conn_serve_pending(conn);
        return false;
    }
    if (h1_pending_is_long(pending)) {
        h1_conn_refuse_long(conn);
        return false;
    }
    pending->is_continue_due = pending->head.expects_continue && !body_is_near;
    h1_conn_put_continue(conn);
    return true;
}

bool h1_conn_is_identifying(const struct h1_conn *conn)
{
    return conn->pending != NULL && conn->pending->identification != NULL;
}

void h1_conn_identified(struct h1_conn *conn, const struct http_caller *caller)
{
    must(h1_conn_is_identifying(conn));
    conn->pending->identification = NULL;
    conn->pending->caller         = *caller;
    h1_conn_begin_body(conn, conn->in.len > 0);
    http_conn_mark(&conn->http);
}

/* Does the body become too long with this piece, or with what the chunk's size announces behind it? So a chunk that is
 * too long is refused before it has come. */
static bool h1_conn_becomes_long(const struct h1_conn *conn, struct span piece)
{
    const struct h1_pending *pending = conn->pending;
    size_t                   room    = pending->plan.body_bytes_max - pending->body.len;

    must(pending->body.len <= pending->plan.body_bytes_max);
    return piece.len > room || h1_announced(&conn->h1) > room - piece.len;
}

static bool h1_conn_on_body(struct h1_conn *conn, struct span piece)
{
    struct http_server *server = conn->http.server;

    if (h1_conn_becomes_long(conn, piece)) {
        h1_conn_refuse_long(conn);
        return false;
    }
    if (!http_body_grow(server, &conn->pending->share, piece.len)) {
        h1_conn_refuse(conn, SPAN(""), 503, HTTP_BODIES_FULL);
        return false;
    }
    conn->pending->is_continue_due = false;
    buf_put(&conn->pending->body, piece);
    must(!buf_is_over(&conn->pending->body));
    return true;
}

/* Must it wait for earlier answers? If a session took the stream now, its bytes would overtake them; and big answers
 * would heap up behind them. */
static bool h1_conn_is_in_front(const struct h1_conn *conn, const struct http_plan *plan)
{
    return (plan->is_alone || plan->is_heavy) && h1_conn_is_owing(conn);
}

/* Nearly all requests come in one piece. Then they are served from the input buffer, without a copy. */
static bool h1_conn_try_whole(struct h1_conn *conn, const struct http_plan *plan, struct http_request *request,
                              struct http_caller *caller, struct span rest, size_t *ret_used)
{
    struct http_server   *server = conn->http.server;
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

    if (body.len > plan->body_bytes_max || h1_conn_is_in_front(conn, plan))
        return false;
    request->body  = body;
    conn->h1       = h1;
    conn->is_alone = plan->is_alone;
    *ret_used      = used + end_used;
    conn->unread   = span_skip(rest, *ret_used);
    h1_conn_serve(conn, head, plan, request, caller);
    return true;
}

/* A head is complete. False: nothing more can be taken now. */
static bool h1_conn_on_head(struct h1_conn *conn, struct span text, struct span behind, size_t *ret_used)
{
    struct http_server *server  = conn->http.server;
    struct http_request request = request_of(&server->head, SPAN(""));
    struct http_plan    plan    = server->service->plan(server->ctx, &request);
    struct http_caller  caller;
    void               *identification = http_identify(&conn->sender, &plan, &request, &caller);

    if (identification == NULL && h1_conn_try_whole(conn, &plan, &request, &caller, behind, ret_used))
        return true;
    conn->pending                 = h1_pending_new(&server->head, text, &plan);
    conn->pending->caller         = caller;
    conn->pending->identification = identification;
    return identification == NULL && h1_conn_begin_body(conn, behind.len > 0);
}

bool h1_conn_may_parse(const struct h1_conn *conn)
{
    const struct http_limits *limits = &conn->http.server->limits;
    size_t                    max    = http_has_room(conn->http.server) ? limits->answer_bytes_max : 1;

    return !conn->is_last && !conn->is_alone && !conn->http.server->loop->is_held && conn->exchange_count < limits->pipeline_max &&
           conn->out.len + conn->promised < max;
}

bool h1_conn_must_wait(const struct h1_conn *conn)
{
    return h1_conn_is_identifying(conn) || (conn->pending != NULL && h1_conn_is_in_front(conn, &conn->pending->plan));
}

/* A proxy that is not expected to send a PROXY header has to hear that, and not that its request line is bad. */
static const char *h1_conn_fault(const struct h1_conn *conn, struct span input)
{
    return proxy_is_begun(input) ? "a PROXY header came from an address that is not in proxy_protocol" : conn->h1.fault_reason;
}

/* Takes one event of the parser from `input`; *ret_used bytes are done with. False: nothing more can be taken now. */
static bool h1_conn_take_event(struct h1_conn *conn, struct span input, size_t *ret_used)
{
    struct http_server *server = conn->http.server;
    struct span         body;

    switch (h1_feed(&conn->h1, input, &server->head, ret_used, &body)) {
    case H1_MORE:
        if (conn->pending != NULL && h1_conn_becomes_long(conn, SPAN("")))
            h1_conn_refuse_long(conn);
        return false;
    case H1_HEAD_DONE: {
        size_t whole   = 0;
        bool   goes_on = h1_conn_on_head(conn, span_head(input, *ret_used), span_skip(input, *ret_used), &whole);
        *ret_used += whole;
        return goes_on;
    }
    case H1_BODY:
        return h1_conn_on_body(conn, body);
    case H1_END:
        conn->unread = span_skip(input, *ret_used);
        h1_conn_serve_pending(conn);
        return true;
    case H1_FAULT:
        h1_conn_refuse(conn, input, conn->h1.fault_status, h1_conn_fault(conn, input));
        return false;
    }
    return false;
}

/* A client that knows that HTTP/2 is spoken here begins with its preface. TLS agrees on the version by a name instead
 * (RFC 9113 3.2). */
static bool h1_conn_may_be_preface(const struct h1_conn *conn)
{
    return conn->served == 0 && conn->pending == NULL && !conn->is_last && !stream_is_secret(conn->http.stream);
}

/* The stream becomes one of HTTP/2. */
static size_t h1_conn_hand_over(struct h1_conn *conn, struct span input)
{
    struct stream *stream = conn->http.stream;

    conn->http.stream = NULL;
    wheel_disarm(&conn->http.server->loop->wheel, &conn->timer);
    http_version_2.open(conn->http.server, stream, input, conn->is_brief);
    return input.len;
}

size_t h1_conn_parse(struct h1_conn *conn, struct span input)
{
    size_t total = 0;
    bool   goes_on = true;

    if (h1_conn_may_be_preface(conn) && input.len > 0 && input.at[0] == 'P')
        switch (h2_preface_judge(input)) {
        case H2_PREFACE_NO: break;
        case H2_PREFACE_PART: return 0;
        case H2_PREFACE_WHOLE: return h1_conn_hand_over(conn, input);
        }
    while (goes_on && h1_conn_may_parse(conn) && !h1_conn_must_wait(conn) && conn->http.stream != NULL) {
        size_t used = 0;
        goes_on     = h1_conn_take_event(conn, span_skip(input, total), &used);
        total += used;
    }
    return total;
}

void h1_conn_parse_kept(struct h1_conn *conn)
{
    size_t used = h1_conn_parse(conn, buf_span(&conn->in));

    buf_drop(&conn->in, used);
    if (conn->in.len == 0)
        buf_fini(&conn->in);
}
