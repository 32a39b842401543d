#include "http/cors.h"

#include <stdlib.h>

#include "base/must.h"

/* --- who may send ------------------------------------------------------------------------------------------------- */

static bool host_is_ours(const struct http_server *server, const struct request_head *head)
{
    const struct http_service *service = server->service;

    return service->host_is_served == NULL || service->host_is_served(server->ctx, head->host);
}

static enum http_origin judge_origin(const struct http_server *server, const struct request_head *head)
{
    return server->service->judge_origin(server->ctx, request_field(head, SPAN("origin")), head->host);
}

bool cors_refuses(const struct http_server *server, const struct http_plan *plan, const struct request_head *head,
                  struct http_refusal *ret_why)
{
    if (!host_is_ours(server, head)) {
        *ret_why = (struct http_refusal){
            .status = 421,
            .detail = "without API keys only localhost and numeric addresses may be the Host, because a page of another "
                      "site could reach the server under its own name; configure a [key], or name the site in `origins`",
        };
        return true;
    }
    if (plan->is_public || request_field(head, SPAN("origin")).at == NULL ||
        judge_origin(server, head) != HTTP_ORIGIN_REFUSED)
        return false;
    *ret_why = (struct http_refusal){
        .status = 403, .detail = "this origin is not allowed; list it in the setting `origins`",
    };
    return true;
}

/* --- who may read ------------------------------------------------------------------------------------------------- */

void cors_init(struct http_exchange *exchange, const struct request_head *head)
{
    struct span origin = request_field(head, SPAN("origin"));

    exchange->has_origin = origin.at != NULL;
    if (!exchange->has_origin)
        return;
    enum http_origin standing = judge_origin(exchange->server, head);
    if (standing == HTTP_ORIGIN_REFUSED)
        return;
    /* Credentials are for those that are allowed by name, and never for all (WHATWG Fetch 3.2.5). */
    exchange->may_show_credentials = standing == HTTP_ORIGIN_KNOWN;
    exchange->origin               = standing == HTTP_ORIGIN_OPEN ? strdup("*") : strndup(origin.at, origin.len);
    must(exchange->origin != NULL);
}

void cors_fini(struct http_exchange *exchange)
{
    free(exchange->origin);
}

size_t cors_fields(const struct http_exchange *exchange, struct http_field ret[static CORS_FIELDS_MAX])
{
    size_t count = 0;

    if (exchange->has_origin)
        ret[count++] = (struct http_field){ SPAN("Vary"), SPAN("Origin") };
    if (exchange->origin == NULL)
        return count;
    ret[count++] = (struct http_field){ SPAN("Access-Control-Allow-Origin"), span_str(exchange->origin) };
    ret[count++] = (struct http_field){ SPAN("Access-Control-Expose-Headers"),
                                        SPAN("Allow, Date, Idempotency-Replayed, Location, Retry-After, "
                                             "WWW-Authenticate") };
    if (exchange->may_show_credentials)
        ret[count++] = (struct http_field){ SPAN("Access-Control-Allow-Credentials"), SPAN("true") };
    return count;
}

/* --- preflights: WHATWG Fetch 4.8, the same for everything we serve ----------------------------------------------- */

enum { PREFLIGHT_NAMES_BYTES_MAX = 1024 };

bool cors_is_preflight(const struct http_exchange *exchange, const struct request_head *head)
{
    return exchange->origin != NULL && head->method == HTTP_OPTIONS &&
           request_field(head, SPAN("access-control-request-method")).at != NULL;
}

static bool are_names(struct span list)
{
    struct span name;

    while (span_cut(&list, ',', &name))
        if (!request_is_token(span_trim(name)))
            return false;
    return true;
}

/* Those that we know, so that a browser may keep the answer for later requests, and those that are asked for: none of
 * them changes who may do what, so a page's library may send its own. */
static void put_names(struct buf *buf, struct span asked)
{
    buf_put_lit(buf, "Authorization, Cache-Control, Content-Type, Idempotency-Key, Last-Event-ID, Longwire-Event, "
                     "X-Requested-With");
    if (asked.len > PREFLIGHT_NAMES_BYTES_MAX || asked.len == 0 || !are_names(asked))
        return;
    buf_put_lit(buf, ", ");
    buf_put(buf, asked);
}

void cors_answer_preflight(struct http_exchange *exchange, const struct request_head *head)
{
    struct buf names;

    buf_init(&names, 2 * PREFLIGHT_NAMES_BYTES_MAX);
    put_names(&names, request_field(head, SPAN("access-control-request-headers")));
    http_answer(exchange->server, exchange, &(struct http_answer){
        .status = 204,
        .fields = HTTP_FIELDS({ SPAN("Access-Control-Allow-Methods"), SPAN("GET, POST, PUT, DELETE") },
                              { SPAN("Access-Control-Allow-Headers"), buf_span(&names) },
                              { SPAN("Access-Control-Max-Age"), SPAN("600") }),
    });
    buf_fini(&names);
}
