#include "main/routes.h"

#include "main/worker.h"

static struct http_plan plan_follow(const struct worker *worker, const struct http_request *request)
{
    (void)worker, (void)request;
    return (struct http_plan){ .body_bytes_max = 0, .is_alone = true };
}

static struct http_plan plan_echo(const struct worker *worker, const struct http_request *request)
{
    return (struct http_plan){
        .body_bytes_max = worker->sessions.limits.echo_bytes_max,
        .is_alone       = request->head->is_websocket,
    };
}

static struct http_plan plan_api(const struct worker *worker, const struct http_request *request)
{
    return (struct http_plan){
        .body_bytes_max = api_body_bytes_max(&worker->api, request),
        .is_heavy       = api_is_heavy(request),
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
    { SPAN("/v1/ws"),        plan_follow, session_serve_ws,        false },
    { SPAN("/v1/subscribe"), plan_follow, session_serve_subscribe, false },
    { SPAN("/v1/echo"),      plan_echo,   session_serve_echo,      true },
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

static bool worker_is_unwelcome(void *ctx, const struct http_request *request)
{
    const struct worker *worker = ctx;

    return find_session_route(worker, request->path) == NULL && api_is_unwelcome(&worker->api, request);
}

static void worker_serve(void *ctx, struct http_exchange *exchange, const struct http_request *request)
{
    struct worker              *worker = ctx;
    const struct session_route *route  = find_session_route(worker, request->path);

    if (route != NULL)
        route->serve(&worker->sessions, exchange, request);
    else
        api_serve(&worker->api, exchange, request);
}

static bool worker_origin_is_allowed(void *ctx, struct span origin, struct span host)
{
    const struct worker *worker = ctx;
    return access_allows_origin(&worker->snapshot->access, origin, host);
}

const struct http_service worker_service = {
    .plan              = worker_plan,
    .is_unwelcome      = worker_is_unwelcome,
    .serve             = worker_serve,
    .origin_is_allowed = worker_origin_is_allowed,
};
