/* api.c - which request is whose. */
#include "api/api.h"

#include "api/call.h"
#include "codec/url/url.h"

enum { ROOM_BYTES_KEPT = 256 * 1024, DOC_TOKENS_KEPT = 32 * 1024 };

void api_init(struct api *api)
{
    json_doc_init(&api->doc);
    json_doc_init(&api->inner_doc);
    api->page_end = &api->page_first;
    buf_init(&api->scratch, SIZE_MAX / 2);  /* what goes in has its maximum: history_bytes_max, batch_messages_max */
}

void api_fini(struct api *api)
{
    history_drop(api);
    json_doc_fini(&api->doc);
    json_doc_fini(&api->inner_doc);
    buf_fini(&api->scratch);
}

/* --- what handlers share --- */

struct http_fields retry_after(unsigned status)
{
    static const struct http_field soon = { SPAN("Retry-After"), SPAN("1") };

    return status == 429 || status == 503 || status == 507 ? (struct http_fields){ &soon, 1 } : HTTP_NO_FIELDS;
}

void call_refuse(const struct call *call, unsigned status, const char *detail)
{
    http_problem(call->api->server, call->exchange, status, NULL, detail, retry_after(status));
}

bool call_passes(const struct call *call, struct verdict verdict)
{
    if (verdict.status != 0)
        http_problem(call->api->server, call->exchange, verdict.status, NULL, verdict.reason,
                     verdict.status == 401 ? HTTP_FIELDS({ SPAN("WWW-Authenticate"), SPAN("Bearer") }) : HTTP_NO_FIELDS);
    return verdict.status == 0;
}

bool call_body_is_plain(const struct call *call)
{
    struct span coding = request_field(call->request->head, SPAN("content-encoding"));

    if (coding.len == 0 || span_eq_nocase(coding, SPAN("identity")))
        return true;
    http_problem(call->api->server, call->exchange, 415, NULL, "no Content-Encoding is undone here; send the body as it is",
                 HTTP_FIELDS({ SPAN("Accept-Encoding"), SPAN("identity") }));
    return false;
}

void call_answer_json(const struct call *call, unsigned status, struct span body)
{
    http_answer(call->api->server, call->exchange, &(struct http_answer){
        .status = status, .media = SPAN("application/json"), .body = body,
    });
}

struct channel_name *call_channel(const struct call *call)
{
    struct channel_name *name = NULL;
    struct span          plain;
    struct buf           scratch;

    buf_init(&scratch, 4096);
    if (!url_decode(call->segments[2], URL_PATH, &scratch, &plain))
        plain = SPAN("");  /* which is no channel name either */
    call_passes(call, may_name(call->api->namespaces, call->api->hash_key, plain, &name));
    buf_fini(&scratch);
    return name;
}

/* The first parameter of that name, still encoded. */
static bool call_parameter(const struct call *call, struct span name, struct span *ret_encoded)
{
    struct span query = call->request->query, at;

    while (url_query_next(&query, &at, ret_encoded))
        if (span_eq(at, name))
            return true;
    return false;
}

bool call_u64(const struct call *call, struct span name, bool *ret_is_there, uint64_t *ret)
{
    struct buf  scratch;
    struct span encoded, value;

    buf_init(&scratch, 64);
    *ret_is_there = call_parameter(call, name, &encoded);
    bool is_fine  = !*ret_is_there || (url_decode(encoded, URL_QUERY, &scratch, &value) && span_u64(value, ret));
    buf_fini(&scratch);
    if (!is_fine)
        call_refuse(call, 400, "a number in the query is not a whole number");
    return is_fine;
}

/* --- routes --- */

/* `*` stands for one segment of any content; *rest for all that follow. */
static const struct route {
    const char    *path;
    enum http_method method;
    void         (*serve)(struct call *call);
    bool           is_open;  /* needs no credential at all: probes */
} routes[] = {
    { "v1/channels/*/messages",   HTTP_POST,   serve_publish, false },
    { "v1/messages",              HTTP_POST,   serve_batch,   false },
    { "v1/channels/*/messages",   HTTP_GET,    serve_history, false },
    { "v1/channels/*",            HTTP_GET,    serve_channel, false },
    { "v1/channels/*/messages/*", HTTP_DELETE, serve_recall,  false },
    { "healthz",                  HTTP_GET,    serve_health,  true },
    { "readyz",                   HTTP_GET,    serve_ready,   true },
    { "metrics",                  HTTP_GET,    serve_metrics, false },
};

static bool route_fits(const struct route *route, const struct call *call)
{
    struct span path = span_str(route->path), segment;
    size_t      at   = 0;

    while (span_cut(&path, '/', &segment)) {
        if (at == call->segment_count)
            return false;
        if (!span_eq(segment, SPAN("*")) && !span_eq(segment, call->segments[at]))
            return false;
        at++;
    }
    return at == call->segment_count;
}

static bool method_fits(enum http_method wanted, enum http_method method)
{
    return method == wanted || (wanted == HTTP_GET && method == HTTP_HEAD);
}

static bool call_take_apart(struct call *call)
{
    struct span rest = call->request->path, segment;

    while (url_segment_next(&rest, &segment)) {
        if (call->segment_count == CALL_SEGMENTS_MAX)
            return false;
        call->segments[call->segment_count++] = segment;
    }
    return true;
}

/* NULL: none, and *ret_path_exists says whether there is one for another method. */
static const struct route *find_route(const struct call *call, bool *ret_path_exists)
{
    *ret_path_exists = false;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (!route_fits(&routes[i], call))
            continue;
        *ret_path_exists = true;
        if (method_fits(routes[i].method, call->request->head->method))
            return &routes[i];
    }
    return NULL;
}

static const struct api_page *find_page(const struct call *call)
{
    const struct api *api = call->api;

    for (size_t i = 0; i < api->page_count; i++)
        if (span_eq(span_str(api->pages[i].path), call->request->path))
            return &api->pages[i];
    return NULL;
}

static void serve_page(const struct call *call, const struct api_page *page)
{
    http_answer(call->api->server, call->exchange, &(struct http_answer){
        .status = 200,
        .media  = span_str(page->media),
        .fields = HTTP_FIELDS({ SPAN("Cache-Control"), SPAN("no-cache") },
                              { SPAN("Content-Security-Policy"), SPAN("default-src 'self'; frame-ancestors 'none'") },
                              { SPAN("X-Content-Type-Options"), SPAN("nosniff") },
                              { SPAN("X-Frame-Options"), SPAN("DENY") },
                              { SPAN("Referrer-Policy"), SPAN("no-referrer") }),
        .body   = page->bytes,
    });
}

static void serve_route(struct call *call, const struct route *route)
{
    call->identity = call->exchange->caller.identity;
    if (call->identity == NULL && !route->is_open)
        http_refuse_caller(call->api->server, call->exchange);
    else
        route->serve(call);
}

/* RFC 9110 15.5.6: 405 says what is allowed. */
static void refuse_method(const struct call *call, bool is_page)
{
    static const char *const words[] = { [HTTP_GET] = "GET, HEAD", [HTTP_POST] = "POST", [HTTP_DELETE] = "DELETE" };
    const char              *comma   = "";
    struct buf               allow;

    buf_init(&allow, 256);
    if (is_page)
        buf_put(&allow, span_str(words[HTTP_GET]));
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (!route_fits(&routes[i], call))
            continue;
        buf_putf(&allow, "%s%s", comma, words[routes[i].method]);
        comma = ", ";
    }
    http_problem(call->api->server, call->exchange, 405, NULL, "this resource has no such method",
                 HTTP_FIELDS({ SPAN("Allow"), buf_span(&allow) }));
    buf_fini(&allow);
}

void api_serve(struct api *api, struct http_exchange *exchange, const struct http_request *request)
{
    struct call         call = { .api = api, .exchange = exchange, .request = request };
    const struct route *route;
    bool                path_exists;

    exchange->owner = api;
    if (api->scratch.cap > ROOM_BYTES_KEPT)
        buf_fini(&api->scratch);  /* after a long answer */
    if (api->doc.cap > DOC_TOKENS_KEPT)
        json_doc_fini(&api->doc);  /* after a batch of many values */
    if (!call_take_apart(&call)) {
        call_refuse(&call, 404, "nothing is here");
        return;
    }
    if ((route = find_route(&call, &path_exists)) != NULL) {
        serve_route(&call, route);
        return;
    }
    const struct api_page *page = find_page(&call);
    if (page != NULL && method_fits(HTTP_GET, request->head->method))
        serve_page(&call, page);
    else if (page != NULL || path_exists)
        refuse_method(&call, page != NULL);
    else
        call_refuse(&call, 404, "nothing is here; GET /v1/openapi.json says what there is");
}

size_t api_body_bytes_max(const struct api *api, const struct http_request *request)
{
    if (span_eq(request->path, SPAN("/v1/messages")))
        return api->limits.batch_bytes_max;
    return api->limits.payload_bytes_max;
}

bool api_needs_caller(const struct http_request *request)
{
    struct call         call  = { .request = request };
    bool                path_exists;
    const struct route *route = call_take_apart(&call) ? find_route(&call, &path_exists) : NULL;

    return route != NULL && !route->is_open;
}

bool api_is_unwelcome(const struct api *api, const struct http_request *request, const struct http_caller *caller)
{
    if (request->head->method != HTTP_POST)
        return false;
    return caller->identity == NULL || may_publish_at_all(caller->identity, api->namespaces).status != 0;
}

bool api_is_heavy(const struct http_request *request)
{
    struct span path = request->path, tail = SPAN("/messages");

    return request->head->method != HTTP_POST && span_starts(path, SPAN("/v1/channels/")) && path.len > tail.len &&
           span_eq(span_skip(path, path.len - tail.len), tail);
}
