/* api.c - routes: which handler serves a request. */
#include "api/api.h"

#include "api/call.h"
#include "base/must.h"
#include "codec/url/url.h"
#include "publish/request_check.h"

const char *const node_schemes[NODE_SCHEMES] = { "http", "https", "tcp", "tcps" };

enum { ROOM_BYTES_KEPT = 256 * 1024, DOC_TOKENS_KEPT = 32 * 1024 };

void api_init(struct api *api)
{
    json_doc_init(&api->doc);
    json_doc_init(&api->inner_doc);
    api->page_end = &api->page_first;
    list_init(&api->probes);
    buf_init(&api->scratch, SIZE_MAX / 2);  /* history_bytes_max and batch_messages_max bound what is put in */
}

void api_fini(struct api *api)
{
    history_drop(api);
    json_doc_fini(&api->doc);
    json_doc_fini(&api->inner_doc);
    buf_fini(&api->scratch);
}

/* A `*` in the path stands for one segment of any content. At the end of the path it is not empty: a slash behind a
 * resource names no other one. */
static const struct route {
    const char    *path;
    enum http_method method;
    void         (*serve)(struct call *call);
    bool           is_open;  /* a probe: no credential is asked for */
} routes[] = {
    { "v1/channels/*/messages",   HTTP_POST,   serve_publish, false },
    { "v1/messages",              HTTP_POST,   serve_batch,   false },
    { "v1/channels/*/messages",   HTTP_GET,    serve_history, false },
    { "v1/channels",              HTTP_GET,    serve_channels, false },
    { "v1/channels/*",            HTTP_GET,    serve_channel, false },
    { "v1/channels/*",            HTTP_DELETE, serve_purge,   false },
    { "v1/channels/*/messages/*", HTTP_DELETE, serve_recall,  false },
    { "v1/channels/*/messages/*/receipts", HTTP_GET, serve_receipts, false },
    { "v1/connections/*",         HTTP_GET,    serve_connection, false },
    { "v1/connections/*",         HTTP_DELETE, serve_connection, false },
    { "v1/groups/*/members",      HTTP_GET,    serve_members, false },
    { "v1/groups/*/members/*",    HTTP_PUT,    serve_member,  false },
    { "v1/groups/*/members/*",    HTTP_DELETE, serve_member,  false },
    { "v1/users/*/groups",        HTTP_GET,    serve_groups_of_user, false },
    { "v1/users/*/places",        HTTP_GET,    serve_user_places, false },
    { "v1/users/*/marks",         HTTP_GET,    serve_user_marks, false },
    { "v1/users/*",               HTTP_GET,    serve_user,    false },
    { "v1/channels/*/subscribers", HTTP_GET,  serve_subscribers, false },
    { "v1/presence",              HTTP_POST,   serve_presence_users, false },
    { "v1/ack",                   HTTP_POST,   serve_ack,     false },
    { "v1/request",               HTTP_POST,   serve_request, false },
    { "v1/why",                   HTTP_GET,    serve_why,     false },
    { "v1/sessions",              HTTP_GET,    serve_sessions, false },
    { "v1/nodes",                 HTTP_GET,    serve_nodes,    false },
    { "v1/nodes/*/drain",         HTTP_POST,   serve_drain,    false },
    { "v1/allocate",              HTTP_GET,    serve_allocate, true },
    { "v1/forwarders",            HTTP_GET,    serve_forwarders, false },
    { "v1/dead/*",                HTTP_POST,   serve_dead,     false },
    { "v1/revocations",           HTTP_POST,   serve_revocation, false },
    { "healthz",                  HTTP_GET,    serve_health,  true },
    { "readyz",                   HTTP_GET,    serve_ready,   true },
    { "readyz/read",              HTTP_GET,    serve_ready_to_read,    true },
    { "readyz/publish",           HTTP_GET,    serve_ready_to_publish, true },
    { "metrics",                  HTTP_GET,    serve_metrics, false },
};

static bool segment_fits(struct span pattern, const struct call *call, size_t at)
{
    struct span segment = call->segments[at];

    if (!span_eq(pattern, SPAN("*")))
        return span_eq(pattern, segment);
    return segment.len > 0 || at + 1 < call->segment_count;
}

static bool route_fits(const struct route *route, const struct call *call)
{
    struct span path = span_str(route->path), pattern;
    size_t      at   = 0;

    while (span_cut(&path, '/', &pattern)) {
        if (at == call->segment_count || !segment_fits(pattern, call, at))
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

/* NULL: no route fits; *ret_path_exists says whether one fits for another method. */
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

static const struct api_page *find_page(const struct api *api, struct span path)
{
    for (size_t i = 0; i < api->page_count; i++)
        if (span_eq(span_str(api->pages[i].path), path))
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
    must(call->identity == NULL || !identity_is_revoked(call->identity));
    if (call->identity == NULL && !route->is_open)
        http_refuse_caller(call->api->server, call->exchange);
    else
        route->serve(call);
}

/* RFC 9110 15.5.6: 405 says what is allowed. */
static void refuse_method(const struct call *call, bool is_page)
{
    static const char *const words[] = { [HTTP_GET] = "GET, HEAD", [HTTP_POST] = "POST", [HTTP_PUT] = "PUT",
                                         [HTTP_DELETE] = "DELETE" };
    const char              *comma   = "";
    struct buf               allow;

    buf_init(&allow, 256);
    if (is_page) {
        buf_put(&allow, span_str(words[HTTP_GET]));
        comma = ", ";
    }
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

    must(!exchange->is_answered);
    exchange->owner = api;
    if (api->scratch.cap > ROOM_BYTES_KEPT)
        buf_fini(&api->scratch);  /* a long answer has grown it */
    if (api->doc.cap > DOC_TOKENS_KEPT)
        json_doc_fini(&api->doc);  /* a batch of many values has grown it */
    if (!call_take_apart(&call)) {
        call_refuse(&call, 404, "nothing is here");
        return;
    }
    if ((route = find_route(&call, &path_exists)) != NULL) {
        serve_route(&call, route);
        return;
    }
    const struct api_page *page = find_page(api, request->path);
    if (page != NULL && method_fits(HTTP_GET, request->head->method))
        serve_page(&call, page);
    else if (page != NULL || path_exists)
        refuse_method(&call, page != NULL);
    else
        call_refuse(&call, 404, "nothing is here; GET /v1/openapi.json says what there is");
}

static bool is_batch(const struct http_request *request)
{
    return span_eq(request->path, SPAN("/v1/messages"));
}

/* The body of a request to a back end stands in a JSON object, where each byte may take six. */
enum { REQUEST_BODY_ESCAPED = 6, REQUEST_OBJECT_BYTES = 256 * 1024 };

static bool is_uplink_request(const struct http_request *request)
{
    return span_eq(request->path, SPAN("/v1/request"));
}

size_t api_body_bytes_max(const struct api *api, const struct http_request *request)
{
    if (is_uplink_request(request))
        return request_routes_body_bytes_max(api->routes) * REQUEST_BODY_ESCAPED + REQUEST_OBJECT_BYTES;
    return is_batch(request) ? api->limits.batch_bytes_max : api->limits.payload_bytes_max;
}

const char *api_body_setting(const struct http_request *request)
{
    if (is_uplink_request(request))
        return "body_bytes_max of an [uplink]";
    return is_batch(request) ? "batch_bytes_max" : "payload_bytes_max";
}

bool api_is_page(const struct api *api, const struct http_request *request)
{
    return method_fits(HTTP_GET, request->head->method) && find_page(api, request->path) != NULL;
}

bool api_has_handler(const struct http_request *request)
{
    struct call call = { .request = request };
    bool        path_exists;

    return call_take_apart(&call) && find_route(&call, &path_exists) != NULL;
}

bool api_needs_caller(const struct http_request *request)
{
    struct call call = { .request = request };
    bool        path_exists;

    /* Who sends a body is asked before it comes, whatever the path: api_is_unwelcome() goes by the answer. */
    if (request->head->method == HTTP_POST)
        return true;
    const struct route *route = call_take_apart(&call) ? find_route(&call, &path_exists) : NULL;
    return route != NULL && !route->is_open;
}

bool api_is_unwelcome(const struct api *api, const struct http_request *request, const struct http_caller *caller)
{
    if (request->head->method != HTTP_POST)
        return false;
    /* Devices acknowledge and send requests, and users are asked about, by those who may publish nothing. */
    if (span_eq(request->path, SPAN("/v1/ack")) || span_eq(request->path, SPAN("/v1/presence")) || is_uplink_request(request))
        return caller->identity == NULL;
    return caller->identity == NULL || may_publish_at_all(caller->identity, api->namespaces).status != 0;
}

bool api_is_heavy(const struct http_request *request)
{
    struct span path = request->path, tail = SPAN("/messages");

    return request->head->method != HTTP_POST && span_starts(path, SPAN("/v1/channels/")) && path.len > tail.len &&
           span_eq(span_skip(path, path.len - tail.len), tail);
}
