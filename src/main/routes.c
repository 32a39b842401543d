#include "main/routes.h"

#include "auth/credential.h"
#include "auth/origin.h"
#include "base/jitter.h"
#include "main/role_paths.h"
#include "main/worker_priv.h"

static struct http_plan plan_follow(const struct worker *worker, const struct http_request *request)
{
    (void)worker;
    return (struct http_plan){
        .is_alone        = true,
        .needs_caller    = request->head->method == HTTP_GET,
        .takes_websocket = true,
    };
}

static struct http_plan plan_subscribe(const struct worker *worker, const struct http_request *request)
{
    (void)worker;
    return session_plan_subscribe(request);
}

static struct http_plan plan_echo(const struct worker *worker, const struct http_request *request)
{
    return (struct http_plan){
        .body_bytes_max  = worker->sessions.limits.echo_bytes_max,
        .is_alone        = request->head->is_websocket,
        .takes_websocket = true,
    };
}

static struct http_plan plan_api(const struct worker *worker, const struct http_request *request)
{
    return (struct http_plan){
        .body_bytes_max = api_body_bytes_max(&worker->api, request),
        .body_setting   = api_body_setting(request),
        .is_heavy       = api_is_heavy(request),
        .needs_caller   = api_needs_caller(request),
        .is_public      = api_is_page(&worker->api, request),
    };
}

/* A session's handler ends the exchange or takes its connection over. */
static const struct session_route {
    struct span      path;
    struct http_plan (*plan)(const struct worker *worker, const struct http_request *request);
    void             (*serve)(struct session_worker *sessions, struct http_exchange *exchange,
                              const struct http_request *request);
    bool             is_diagnostic;  /* exists only with diagnostic_echo */
} session_routes[] = {
    { SPAN("/v1/ws"),        plan_follow,    session_serve_ws,        false },
    { SPAN("/v1/subscribe"), plan_subscribe, session_serve_subscribe, false },
    { SPAN("/v1/echo"),      plan_echo,      session_serve_echo,      true },
};

/* NULL: the path is the API's. */
static const struct session_route *find_session_route(const struct worker *worker, struct span path)
{
    for (size_t i = 0; i < sizeof session_routes / sizeof session_routes[0]; i++) {
        const struct session_route *route = &session_routes[i];
        if (span_eq(path, route->path))
            return route->is_diagnostic && !worker->sessions.limits.has_echo ? NULL : route;
    }
    return NULL;
}

static struct http_plan worker_plan(void *ctx, const struct http_request *request)
{
    const struct worker        *worker = ctx;
    const struct session_route *route  = find_session_route(worker, request->path);

    return route != NULL ? route->plan(worker, request) : plan_api(worker, request);
}

/* --- who asks -------------------------------------------------------------------------------------------------- */

static struct http_caller caller_of(const struct identified *answer)
{
    return (struct http_caller){ answer->identity, answer->refusal.status, answer->refusal.reason, answer->connection };
}

static void worker_identified(void *owner, const struct identified *answer)
{
    struct http_caller caller = caller_of(answer);
    http_identified(owner, &caller);
}

/* Where a head came from. */
struct head_sender {
    const struct http_sender  *sender;
    const struct request_head *head;
};

static bool get_sender(const void *sender, struct ip_address *ret)
{
    const struct head_sender *from = sender;

    return http_client(from->sender, from->head, ret);
}

static void show_certificate(const struct http_sender *sender, struct credential *credential)
{
    struct stream_person person;

    if (!http_get_person(sender, &person))
        return;
    credential->certified       = person.user;
    credential->certified_from  = person.from;
    credential->certified_until = person.until;
}

/* Does the request open a link that needs an identity at once? A WebSocket that names no channel says who it is in its
 * `connect`, or is asked about at its first frame that needs an identity. */
static bool opens_link(const struct worker *worker, const struct http_request *request)
{
    const struct session_route *route = find_session_route(worker, request->path);

    if (route == NULL || route->plan == plan_echo)
        return false;
    if (route->plan == plan_subscribe)
        return true;
    return request->query.len > 0 && (memmem(request->query.at, request->query.len, "channel=", 8) != NULL ||
                                      memmem(request->query.at, request->query.len, "cursor=", 7) != NULL);
}

static const char *hook_transport(const struct http_request *request)
{
    static const struct { struct span media; enum transport transport; } rows[] = {
        { SPAN("text/event-stream"), TRANSPORT_SSE }, { SPAN("application/x-ndjson"), TRANSPORT_NDJSON },
        { SPAN("multipart/"), TRANSPORT_MULTIPART },
    };
    struct span accept = request_field(request->head, SPAN("accept"));

    if (request->head->is_websocket)
        return transport_text(TRANSPORT_WS);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (accept.at != NULL && memmem(accept.at, accept.len, rows[i].media.at, rows[i].media.len) != NULL)
            return transport_text(rows[i].transport);
    return transport_text(TRANSPORT_POLL);
}

static void describe_to_hook(struct worker *worker, const struct http_request *request, struct credential *credential,
                             struct credential_field *fields)
{
    credential->is_link     = opens_link(worker, request);
    credential->connection  = worker_session_port.new_key(worker);
    credential->transport   = hook_transport(request);
    credential->fields      = fields;
    credential->field_count = callers_fields(&worker->snapshot->settings, request->head, fields);
}

static void *worker_identify(void *ctx, struct http_sender *sender, const struct http_request *request,
                             struct http_caller *ret)
{
    struct worker            *worker = ctx;
    const struct head_sender  from = { sender, request->head };
    struct identified         answer;
    struct credential_scratch scratch;
    struct credential_field   fields[CREDENTIAL_FIELDS_MAX];

    credential_scratch_init(&scratch);
    struct credential      credential = credential_of_request(request_field(request->head, SPAN("authorization")),
                                                              request->query, &scratch);
    if (sender != NULL) {
        credential.get_address = get_sender;
        credential.sender      = &from;
        show_certificate(sender, &credential);
    }
    if (worker->callers.all.has_hook)
        describe_to_hook(worker, request, &credential, fields);
    struct identification *under_way  = identify(&worker->callers.all.identifier, &credential, worker->loop.now,
                                                 worker_identified, sender, &answer);
    credential_scratch_fini(&scratch);
    *ret = caller_of(&answer);
    return under_way;
}

static void worker_cancel_identify(void *ctx, void *identification)
{
    (void)ctx;
    identify_cancel(identification);
}

static bool worker_is_stranger(void *ctx, const struct http_caller *caller)
{
    (void)ctx;
    return caller->identity == NULL || identity_is_stranger(caller->identity);
}

static void worker_forget(void *ctx, struct identity *identity)
{
    (void)ctx;
    identity_unref(identity);
}

static bool worker_is_unwelcome(void *ctx, const struct http_request *request, const struct http_caller *caller)
{
    const struct worker *worker = ctx;

    /* Whoever is not known is refused by every session before its body is looked at. */
    if (find_session_route(worker, request->path) != NULL)
        return caller->status != 0;
    return api_is_unwelcome(&worker->api, request, caller);
}

static bool worker_is_nowhere(void *ctx, const struct http_request *request)
{
    const struct worker        *worker = ctx;
    const struct session_route *route  = find_session_route(worker, request->path);

    if (route == NULL)
        return !api_has_handler(request);
    bool is_post = request->head->method == HTTP_POST && route->plan == plan_subscribe;
    return request->head->method != HTTP_GET && !is_post && route->plan != plan_echo;
}

/* A reload may have revoked the identity while the body came. Its key may be known still, with other rights, so who sends
 * the request is asked once more, by the settings that are in force now. It can't wait a second time. */
static void ask_again_if_revoked(struct worker *worker, struct http_exchange *exchange,
                                 const struct http_request *request)
{
    struct http_caller *caller = &exchange->caller;

    if (caller->identity == NULL || !identity_is_revoked(caller->identity))
        return;
    identity_unref(caller->identity);
    void *under_way = worker_identify(worker, NULL, request, caller);
    if (under_way == NULL)
        return;
    identify_cancel(under_way);
    *caller = (struct http_caller){ .status = 503, .reason = "your rights have just changed; send it again" };
}

/* False: the node has the role that the path needs. */
static bool refuse_role(struct worker *worker, struct http_exchange *exchange, const struct http_request *request)
{
    unsigned role = role_of_path(request->path);

    if ((worker->snapshot->settings.role_bits & role) == role)
        return false;
    http_problem(&worker->http, exchange, 421, NULL, role_missing_text(role), (struct http_fields){ 0 });
    return true;
}

static void worker_serve(void *ctx, struct http_exchange *exchange, const struct http_request *request)
{
    struct worker              *worker = ctx;
    const struct session_route *route  = find_session_route(worker, request->path);

    if (refuse_role(worker, exchange, request))
        return;
    ask_again_if_revoked(worker, exchange, request);
    if (route != NULL)
        route->serve(&worker->sessions, exchange, request);
    else
        api_serve(&worker->api, exchange, request);
}

static enum http_origin worker_judge_origin(void *ctx, struct span origin, struct span host)
{
    static const enum http_origin words[] = {
        [ORIGIN_REFUSED] = HTTP_ORIGIN_REFUSED, [ORIGIN_OPEN] = HTTP_ORIGIN_OPEN, [ORIGIN_KNOWN] = HTTP_ORIGIN_KNOWN,
    };
    const struct worker *worker = ctx;
    return words[origin_judge(&worker->snapshot->settings, origin, host)];
}

static bool worker_host_is_served(void *ctx, struct span host)
{
    const struct worker *worker = ctx;
    return host_is_served(&worker->snapshot->settings, host);
}

static msec worker_event_retry(void *ctx)
{
    struct worker *worker = ctx;
    return jitter(worker->snapshot->settings.sse_retry_ms, worker_session_port.new_key(worker));
}

const struct http_service worker_service = {
    .admit             = worker_admit_stream,
    .turns_away        = worker_turns_away,
    .plan              = worker_plan,
    .identify          = worker_identify,
    .cancel_identify   = worker_cancel_identify,
    .is_stranger       = worker_is_stranger,
    .forget            = worker_forget,
    .is_unwelcome      = worker_is_unwelcome,
    .is_nowhere        = worker_is_nowhere,
    .serve             = worker_serve,
    .event_retry       = worker_event_retry,
    .judge_origin      = worker_judge_origin,
    .host_is_served    = worker_host_is_served,
};
