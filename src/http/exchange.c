/* exchange.c - one request and its answer, in any version of HTTP. */
#include <stdio.h>

#include "base/must.h"
#include "codec/json/json.h"
#include "http/cors.h"
#include "http/event_source.h"
#include "http/ws_upgrade.h"
#include "reactor/log.h"

bool http_is_foreign(const struct http_server *server, const struct http_plan *plan, const struct request_head *head)
{
    struct http_refusal why;
    return cors_refuses(server, plan, head, &why);
}

void exchange_init(struct http_exchange *exchange, const struct http_version *version, struct http_server *server,
                   const struct request_head *head)
{
    *exchange = (struct http_exchange){
        .version         = version,
        .server          = server,
        .is_head         = head->method == HTTP_HEAD,
        .is_event_source = request_is_of_event_source(head),
    };
    cors_init(exchange, head);
}

void exchange_fini(struct http_exchange *exchange)
{
    cors_fini(exchange);
}

/* All zero: no trusted proxy says anything. Heads without such fields cost no look at the peer. */
static struct forwarded forwarded_of(const struct http_server *server, const struct stream *stream,
                                     const struct request_head *head)
{
    static const struct span names[] = { SPAN("forwarded"), SPAN("x-forwarded-for"), SPAN("x-forwarded-proto") };
    const struct forwarded   nothing = { .client = IP_UNKNOWN };
    struct ip_address        peer;
    bool                     has_any = false;

    if (server->trusted_proxies == NULL || server->trusted_proxies->count == 0)
        return nothing;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        has_any = has_any || request_field(head, names[i]).at != NULL;
    if (!has_any || !stream_peer(stream, &peer) || !ip_ranges_have(server->trusted_proxies, &peer))
        return nothing;
    return forwarded_read(head, server->trusted_proxies);
}

static bool is_turned_away(struct http_exchange *exchange, struct http_refusal *ret_refusal)
{
    struct http_server *server = exchange->server;

    return exchange->is_brief && server->service->turns_away != NULL &&
           server->service->turns_away(server->ctx, exchange->version->stream(exchange), ret_refusal);
}

/* After a 429 an EventSource would not come again. */
static void refuse_arrived(struct http_server *server, struct http_exchange *exchange, const struct http_refusal *why)
{
    if (exchange->is_event_source)
        event_source_put_off(server, exchange, why->detail);
    else
        http_problem(server, exchange, why->status, NULL, why->detail, why->fields);
}

void exchange_serve(struct http_exchange *exchange, const struct http_plan *plan, const struct http_request *request,
                    struct http_caller *caller)
{
    struct http_server  *server = exchange->server;
    const struct stream *stream = exchange->version->stream(exchange);
    struct http_refusal  why;

    must(!exchange->is_answered && loop_is_here(server->loop));
    if (stream != NULL)
        exchange->forwarded = forwarded_of(server, stream, request->head);
    exchange->caller = *caller;
    *caller          = (struct http_caller){ .identity = NULL };
    counter_add(&server->counters.requests, 1);
    if (is_turned_away(exchange, &why)) {
        refuse_arrived(server, exchange, &why);
    } else if (cors_refuses(server, plan, request->head, &why)) {
        counter_add(&server->counters.faults, 1);
        http_problem(server, exchange, why.status, NULL, why.detail, HTTP_NO_FIELDS);
    } else if (request->head->is_extended && !plan->takes_websocket) {
        exchange_refuse(exchange, 404, "there is no WebSocket at this path");
    } else if (cors_is_preflight(exchange, request->head)) {
        cors_answer_preflight(exchange, request->head);
    } else {
        server->service->serve(server->ctx, exchange, request);
    }
}

/* Bytes that are counted together have room for `more` below `max`, which may have sunk below them. */
static bool is_room_below(size_t counted, size_t more, size_t max)
{
    return counted <= max && more <= max - counted;
}

bool http_body_grow(struct http_server *server, struct http_body_share *share, size_t more)
{
    const size_t max = server->limits.body_bytes_max, whole = share->bytes + more;

    if (is_room_below(server->body_bytes, share->is_short ? whole : more, max)) {
        if (share->is_short)
            server->short_body_bytes -= share->bytes;
        server->body_bytes += share->is_short ? whole : more;
        share->is_short     = false;
    } else if (whole <= SHORT_BODY_BYTES &&
               is_room_below(server->short_body_bytes, share->is_short ? more : whole, max / SHORT_BODIES_PART)) {
        if (!share->is_short)
            server->body_bytes -= share->bytes;
        server->short_body_bytes += share->is_short ? more : whole;
        share->is_short           = true;
    } else {
        return false;
    }
    share->bytes = whole;
    return true;
}

void http_body_force(struct http_server *server, struct http_body_share *share, size_t more)
{
    *(share->is_short ? &server->short_body_bytes : &server->body_bytes) += more;
    share->bytes += more;
}

void http_body_free(struct http_server *server, struct http_body_share *share)
{
    size_t *counted = share->is_short ? &server->short_body_bytes : &server->body_bytes;

    must(*counted >= share->bytes);
    *counted -= share->bytes;
    *share = (struct http_body_share){ 0 };
}

void http_say_long_body(const struct http_plan *plan, char ret_detail[static HTTP_LONG_BODY_BYTES])
{
    if (plan->body_bytes_max == 0)
        snprintf(ret_detail, HTTP_LONG_BODY_BYTES, "this resource takes no body");
    else
        snprintf(ret_detail, HTTP_LONG_BODY_BYTES,
                 "the body is longer than %zu bytes, which is the most that this resource takes%s%s%s",
                 plan->body_bytes_max, plan->body_setting != NULL ? " (" : "",
                 plan->body_setting != NULL ? plan->body_setting : "", plan->body_setting != NULL ? ")" : "");
}

void exchange_refuse(struct http_exchange *exchange, unsigned status, const char *detail)
{
    LOG(LOG_DEBUG, "request_refused", log_u64("status", status), log_str("why", detail));
    counter_add(&exchange->server->counters.faults, 1);
    http_problem(exchange->server, exchange, status, NULL, detail,
                 status == 503 ? HTTP_FIELDS({ SPAN("Retry-After"), SPAN("1") }) : HTTP_NO_FIELDS);
}

void exchange_tell_gone(struct http_exchange *exchange)
{
    must(!exchange->is_answered && !exchange->is_gone);
    exchange->is_gone = true;
    if (exchange->gone != NULL)
        exchange->gone(exchange->owner);
}

/* --- who sent it --------------------------------------------------------------------------------------------- */

void http_caller_forget(struct http_caller *caller, struct http_server *server)
{
    if (caller->identity != NULL)
        server->service->forget(server->ctx, caller->identity);
    *caller = (struct http_caller){ .identity = NULL };
}

static void note_known(struct http_conn *conn, const struct http_caller *caller)
{
    const struct http_service *service = conn->server->service;

    conn->is_known |= service->is_stranger != NULL && !service->is_stranger(conn->server->ctx, caller);
}

void *http_identify(struct http_sender *sender, const struct http_plan *plan, const struct http_request *request,
                    struct http_caller *ret)
{
    const struct http_server  *server  = sender->conn->server;
    const struct http_service *service = server->service;

    *ret = (struct http_caller){ .identity = NULL };
    if (!plan->needs_caller || service->identify == NULL || http_is_foreign(server, plan, request->head))
        return NULL;
    void *identification = service->identify(server->ctx, sender, request, ret);
    if (identification == NULL)
        note_known(sender->conn, ret);
    return identification;
}

void http_identified(struct http_sender *sender, const struct http_caller *caller)
{
    must(loop_is_here(sender->conn->server->loop));
    note_known(sender->conn, caller);
    sender->conn->version->identified(sender, caller);
}

static bool client_of(const struct forwarded *forwarded, const struct stream *stream, struct ip_address *ret)
{
    if (!ip_is_known(&forwarded->client))
        return stream_peer(stream, ret);
    *ret = forwarded->client;
    return true;
}

bool http_client(const struct http_sender *sender, const struct request_head *head, struct ip_address *ret)
{
    const struct http_conn *conn = sender->conn;

    if (conn->stream == NULL)
        return false;
    const struct forwarded forwarded = forwarded_of(conn->server, conn->stream, head);
    return client_of(&forwarded, conn->stream, ret);
}

bool http_get_person(const struct http_sender *sender, struct stream_person *ret)
{
    const struct http_conn *conn = sender->conn;
    return conn->stream != NULL && stream_get_person(conn->stream, ret);
}

bool http_exchange_is_secret(const struct http_exchange *exchange)
{
    const struct stream *stream = exchange->version->stream(exchange);

    if (exchange->forwarded.proto != FORWARDED_PROTO_UNKNOWN)
        return exchange->forwarded.proto == FORWARDED_PROTO_SECRET;
    return stream != NULL && stream_is_secret(stream);
}

void http_refuse_caller(struct http_server *server, struct http_exchange *exchange)
{
    const struct http_caller caller = exchange->caller;

    must(caller.identity == NULL && caller.status >= 400);
    http_problem(server, exchange, caller.status, NULL, caller.reason,
                 caller.status == 401 ? HTTP_FIELDS({ SPAN("WWW-Authenticate"), SPAN("Bearer error=\"invalid_token\"") }) :
                 caller.status == 429 ? HTTP_FIELDS({ SPAN("Retry-After"), SPAN("60") }) :
                 caller.status == 503 ? HTTP_FIELDS({ SPAN("Retry-After"), SPAN("1") }) : HTTP_NO_FIELDS);
}

void http_refuse_crowd(struct http_server *server, struct http_exchange *exchange)
{
    must(exchange->is_brief);
    LOG(LOG_WARN, "connection_refused", log_str("why", "connections_max or memory_bytes_max is reached, and it was to stay"));
    counter_add(&server->counters.refused, 1);
    http_problem(server, exchange, 503, NULL, "too many connections, or too little memory, for one more that stays (connections_max, memory_bytes_max)",
                 HTTP_FIELDS({ SPAN("Retry-After"), SPAN("5") }));
}

/* --- how it ends --------------------------------------------------------------------------------------------- */

/* Each exchange ends once, on its own thread. */
static void exchange_end(struct http_server *server, struct http_exchange *exchange)
{
    must(exchange->server == server && loop_is_here(server->loop));
    must(!exchange->is_answered);
    http_caller_forget(&exchange->caller, server);
    exchange->is_answered = true;
}

void http_answer(struct http_server *server, struct http_exchange *exchange, const struct http_answer *answer)
{
    exchange_end(server, exchange);
    exchange->version->answer(exchange, answer);
}

void http_put_problem(struct buf *buf, unsigned status, const char *title, const char *detail)
{
    json_put_problem(buf, status, span_str(title != NULL ? title : h1_status_text(status)), span_str(detail));
}

void http_problem(struct http_server *server, struct http_exchange *exchange, unsigned status, const char *title,
                  const char *detail, struct http_fields fields)
{
    struct buf body;

    if (status == 503 && exchange->is_event_source && server->service->event_retry != NULL) {
        event_source_put_off(server, exchange, detail);
        return;
    }
    buf_init(&body, 4096);
    http_put_problem(&body, status, title, detail);
    http_answer(server, exchange, &(struct http_answer){
        .status = status,
        .media  = SPAN("application/problem+json"),
        .fields = fields,
        .body   = buf_span(&body),
    });
    buf_fini(&body);
}

/* The stream is that of one client from now on: whom a proxy has named in the head. */
static struct stream *named_stream(struct stream *stream, const struct ip_address *client)
{
    if (ip_is_known(client))
        stream_name_peer(stream, client);
    return stream;
}

struct stream *http_open_stream(struct http_server *server, struct http_exchange *exchange,
                                const struct http_answer *head, struct buf *first, bool *ret_is_chunked)
{
    const struct ip_address client = exchange->forwarded.client;

    must(head->body.len == 0);
    exchange_end(server, exchange);
    return named_stream(exchange->version->open_stream(exchange, head, first, ret_is_chunked), &client);
}

struct stream *http_open_websocket(struct http_server *server, struct http_exchange *exchange,
                                   const struct ws_handshake *shake, struct span protocol, struct buf *first,
                                   struct buf *unread)
{
    const struct ip_address client = exchange->forwarded.client;

    exchange_end(server, exchange);
    return named_stream(exchange->version->open_websocket(exchange, shake, protocol, first, unread), &client);
}

bool http_exchange_client(const struct http_exchange *exchange, struct ip_address *ret)
{
    const struct stream *stream = exchange->version->stream(exchange);
    return stream != NULL && client_of(&exchange->forwarded, stream, ret);
}

uint64_t http_exchange_number(const struct http_exchange *exchange)
{
    return exchange->version->number(exchange);
}

void http_promise(struct http_exchange *exchange, size_t answer_bytes)
{
    must(!exchange->is_answered && loop_is_here(exchange->server->loop));
    exchange->version->promise(exchange, answer_bytes);
}
