/* subscribe.c - GET and POST /v1/subscribe: which transport the client asked for, and what it may follow. */
#include "base/must.h"
#include "session/conn_follow.h"
#include "session/put_off.h"
#include "session/member_subscribe.h"
#include "session/session.h"
#include "session/serve.h"
#include "session/subscribe_return.h"

void link_follow_all(struct link *link, const struct subscribe_requests *requests)
{
    /* A reader's list begins with the last. So it has the order of the requests. */
    for (size_t i = requests->count; i-- > 0;)
        if (!requests->at[i].needs_member || link->transport != TRANSPORT_WS) {
            struct reader_sub *sub = link_follow(link, requests->at[i].name, requests->at[i].start);
            sub->sub.is_bounded    = requests->at[i].needs_member;
            sub->sub.is_watched    = requests->at[i].is_watched;
        }
    if (requests->own != NULL && reader_find(link_reader(link), channel_name_span(requests->own)) == NULL)
        link_follow_own(link, requests->own);
}

bool stream_drain(struct stream *stream)
{
    ssize_t got = stream_read(stream, stream_loop(stream)->input, LOOP_INPUT_BYTES);

    if (got > 0 && !stream_is_drained(stream, (size_t)got, LOOP_INPUT_BYTES))
        stream_more(stream);
    return got > 0 || got == STREAM_LATER;
}

void refuse_requests(struct session_worker *worker, struct http_exchange *exchange,
                     const struct subscribe_requests *requests)
{
    http_problem(worker->server, exchange, requests->fault_status, NULL, requests->fault,
                 requests->fault_status == 401 ? HTTP_FIELDS({ SPAN("WWW-Authenticate"), SPAN("Bearer") })
                                               : HTTP_NO_FIELDS);
}

static bool passes_usage(struct session_worker *worker, struct http_exchange *exchange, struct verdict verdict)
{
    if (verdict.status != 0)
        refuse_usage(worker, exchange, verdict);
    return verdict.status == 0;
}

bool serve_may_link(struct session_worker *worker, struct http_exchange *exchange)
{
    return passes_usage(worker, exchange, usage_link(worker->usage, exchange->caller.identity, false));
}

static bool may_subscribe(struct session_worker *worker, struct http_exchange *exchange)
{
    return passes_usage(worker, exchange, usage_subscribe(worker->usage, http_exchange_number(exchange), worker->loop->now));
}

/* What Accept may name, in our order of preference. The client's weights are not looked at (RFC 9110 12.5.1), because
 * no client is known that wants two of these. */
static const struct media_row {
    struct span                 range;   /* what Accept names */
    const struct stream_format *format;  /* NULL: a long poll */
    struct span                 media;   /* of the answer */
} media_rows[] = {
    { SPAN("text/event-stream"), &sse_format, SPAN("text/event-stream; charset=utf-8") },
    { SPAN("application/x-ndjson"), &ndjson_format, SPAN("application/x-ndjson") },
    { SPAN("multipart/mixed"), &multipart_format, SPAN("multipart/mixed") },
    { SPAN("multipart/form-data"), &multipart_format, SPAN("multipart/form-data") },
    { SPAN("application/json"), NULL, SPAN("application/json") },
    { SPAN("*/*"), NULL, SPAN("application/json") },
};

/* Does this media range match `media`: the same type, or TYPE and a star? */
static bool range_has(struct span range, struct span media)
{
    size_t type_len = range.len == 0 ? 0 : range.len - 1;

    if (range.len > 2 && range.at[type_len] == '*' && range.at[type_len - 1] == '/' && media.len > type_len)
        return span_eq_nocase(span_head(range, type_len), span_head(media, type_len));
    return span_eq_nocase(range, media);
}

static bool line_accepts(struct span line, struct span media)
{
    struct span item, range;

    while (span_cut(&line, ',', &item)) {
        item = span_trim(item);
        if (span_cut(&item, ';', &range) && range_has(span_trim(range), media))
            return true;
    }
    return false;
}

/* RFC 9110 5.3: a list may come in several lines. 12.5.1: a client without Accept takes anything. */
static bool accepts(const struct request_head *head, struct span media)
{
    bool says_nothing = true;

    for (size_t i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        if (!span_eq_nocase(field->name, SPAN("accept")) || field->value.len == 0)
            continue;
        says_nothing = false;
        if (line_accepts(field->value, media))
            return true;
    }
    return says_nothing && span_eq(media, SPAN("*/*"));
}

/* NULL: nothing that Accept names. */
static const struct media_row *choose_media(const struct request_head *head)
{
    for (size_t i = 0; i < sizeof media_rows / sizeof media_rows[0]; i++)
        if (accepts(head, media_rows[i].range))
            return &media_rows[i];
    return NULL;
}

/* A poll that names its place goes on with what it has, every few seconds. */
static bool is_let_in(struct session_worker *worker, struct http_exchange *exchange,
                      const struct subscribe_requests *requests, bool is_poll)
{
    bool           is_known = subscribe_requests_are_known(requests);
    struct put_off put_off;

    if ((is_poll && is_known && !drain_is_on(&worker->drain)) || worker->is_stopping)
        return true;
    if (session_lets_in(worker, is_known, &put_off))
        return true;
    refuse_put_off(worker, exchange, &put_off);
    return false;
}

static void open_requests(struct session_worker *worker, struct http_exchange *exchange, const struct media_row *row,
                          struct subscribe_requests *requests)
{
    const struct stream_format *format = requests->is_raw ? &sse_raw_format : row->format;

    if (requests->wants_session)
        session_serve_device(worker, exchange, requests, format, row->media);
    else if (row->format == NULL)
        session_serve_poll(worker, exchange, requests, NULL);
    else
        session_serve_stream(worker, exchange, requests, format, row->media, NULL);
}

static void ask_or_open(struct session_worker *worker, struct http_exchange *exchange,
                        struct subscribe_requests *requests, const struct media_row *row)
{
    if (requests->needs_member)
        subscribe_ask_members(worker, exchange, requests, row, open_requests);
    else
        open_requests(worker, exchange, row, requests);
}

static void serve_requests(struct session_worker *worker, struct http_exchange *exchange,
                           const struct http_request *request, struct subscribe_requests *requests)
{
    const struct media_row *row = choose_media(request->head);

    if (row == NULL)
        http_problem(worker->server, exchange, 406, NULL,
                     "Accept one of text/event-stream, application/x-ndjson, multipart/mixed, application/json",
                     HTTP_NO_FIELDS);
    else if (requests->count == 0 && !requests->wants_session)
        http_problem(worker->server, exchange, 400, NULL, "name at least one channel, or a cursor", HTTP_NO_FIELDS);
    else if (requests->is_raw && row->format != &sse_format)
        http_problem(worker->server, exchange, 400, NULL,
                     "format=raw is a form of event streams; ask for one with Accept: text/event-stream",
                     HTTP_NO_FIELDS);
    else if (exchange->is_brief && (row->format != NULL || requests->wait_ms > 0))
        http_refuse_crowd(worker->server, exchange);
    else if (!requests->wants_session &&
             (row->format == NULL ? !subscribe_check_poll_return(requests, worker, request)
                                  : !subscribe_check_stream_return(requests, worker, request)))
        refuse_requests(worker, exchange, requests);
    else if (is_let_in(worker, exchange, requests, row->format == NULL))
        ask_or_open(worker, exchange, requests, row);
}

struct http_plan session_plan_subscribe(const struct http_request *request)
{
    bool is_get = request->head->method == HTTP_GET;

    return (struct http_plan){
        .body_bytes_max = is_get ? 0 : SUBSCRIBE_BODY_BYTES_MAX,
        .is_alone       = true,
        .needs_caller   = is_get || request->head->method == HTTP_POST,
    };
}

void session_serve_subscribe(struct session_worker *worker, struct http_exchange *exchange,
                             const struct http_request *request)
{
    struct subscribe_requests requests;

    if (request->head->method != HTTP_GET && request->head->method != HTTP_POST) {
        http_problem(worker->server, exchange, 405, NULL, "subscribe by GET, or by POST with a JSON body",
                     HTTP_FIELDS({ SPAN("Allow"), SPAN("GET, POST") }));
        return;
    }
    if (exchange->caller.identity == NULL) {
        http_refuse_caller(worker->server, exchange);
        return;
    }
    if (!may_subscribe(worker, exchange) || !serve_may_link(worker, exchange))
        return;
    subscribe_requests_init(&requests);
    if (subscribe_requests_read(&requests, worker, request, exchange->caller.identity))
        serve_requests(worker, exchange, request, &requests);
    else
        refuse_requests(worker, exchange, &requests);
    subscribe_requests_fini(&requests);
}
