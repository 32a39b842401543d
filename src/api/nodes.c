/* nodes.c - GET /v1/nodes, GET /v1/allocate and POST /v1/nodes/{node}/drain. A node alone knows of itself. */
#include <stdio.h>
#include <string.h>

#include "api/call.h"
#include "base/must.h"
#include "codec/url/url.h"

static struct api_node node_now(const struct call *call)
{
    struct api_node node = { 0 };

    call->api->port->node(call->api->ctx, &node);
    return node;
}

/* --- the registry -------------------------------------------------------------------------------------------- */

static void put_node(struct buf *buf, const struct api_node *node, const struct api *api)
{
    buf_put_lit(buf, "{\"node\":");
    json_put_string(buf, span_str(node->name));
    buf_putf(buf, ",\"incarnation\":\"%016llx\",\"region\":", (unsigned long long)node->incarnation);
    json_put_string(buf, span_str(node->region));
    buf_putf(buf, ",\"roles\":[\"access\",\"api\"],\"state\":\"%s\",\"connections\":%llu,\"capacity\":%llu,\"version\":",
             node->is_draining ? "draining" : "up", (unsigned long long)node->connections,
             (unsigned long long)node->capacity);
    json_put_string(buf, span_str(api->version));
    buf_putf(buf, ",\"seen\":%lld}", (long long)api->shard->wall);
}

static void answer_nodes(const struct call *call, unsigned status, const struct api_node *node)
{
    struct buf *scratch = &call->api->scratch;

    buf_clear(scratch);
    buf_put_lit(scratch, "{\"nodes\":[");
    put_node(scratch, node, call->api);
    buf_put_lit(scratch, "]}");
    call_answer_json(call, status, buf_span(scratch));
}

void serve_nodes(struct call *call)
{
    struct api_node node = node_now(call);

    if (call_passes(call, may(call->identity, NULL, ACTION_NODES)) && call_knows_query(call, KNOWN_NO_WORDS))
        answer_nodes(call, 200, &node);
}

/* --- drain --------------------------------------------------------------------------------------------------- */

enum { DRAIN_S_DEFAULT = 60, DRAIN_S_MAX = 86400 };

/* A member that may be absent; *ret is 0 then. */
static bool read_positive(const struct json_doc *doc, struct span name, uint64_t *ret)
{
    const struct json_token *token = json_member(doc, json_root(doc), name);

    *ret = 0;
    return token == NULL || (json_u64(token, ret) && *ret > 0);
}

/* {"per_second":N,"seconds":S}; both may be absent. */
static bool read_drain(const struct call *call, uint64_t *ret_per_second, uint64_t *ret_seconds)
{
    static const struct span        words[] = { SPAN("per_second"), SPAN("seconds") };
    static const struct json_limits limits  = { .depth_kept = 1 };
    struct json_doc                *doc     = &call->api->doc;
    struct span                     body    = call->request->body;

    if (!json_parse(json_skip_mark(body.len == 0 ? SPAN("{}") : body), &limits, doc) ||
        json_root(doc)->type != JSON_OBJECT ||
        json_unknown_member(doc, json_root(doc), KNOWN_WORDS(words)) != NULL ||
        !read_positive(doc, SPAN("per_second"), ret_per_second) || !read_positive(doc, SPAN("seconds"), ret_seconds) ||
        *ret_seconds > DRAIN_S_MAX) {
        call_refuse(call, 400, "the body is {\"per_second\":N,\"seconds\":S}: clients a second, and the time within "
                               "which all are told, at most 86400; one of them, both or none");
        return false;
    }
    if (*ret_per_second == 0 && *ret_seconds == 0)
        *ret_seconds = DRAIN_S_DEFAULT;
    return true;
}

static bool is_this_node(const struct call *call, const struct api_node *node)
{
    struct span plain;
    struct buf  scratch;

    buf_init(&scratch, 4096);
    bool is = url_decode(call->segments[2], URL_PATH, &scratch, &plain) && span_eq(plain, span_str(node->name));
    buf_fini(&scratch);
    return is;
}

/* With both, all are told within `seconds`, and faster than `per_second` if need be. */
static msec drain_ms(const struct api_node *node, uint64_t per_second, uint64_t seconds)
{
    uint64_t by_pace = per_second == 0 ? UINT64_MAX : node->connections * 1000 / per_second + 1;
    uint64_t by_time = seconds == 0 ? (uint64_t)DRAIN_S_MAX * 1000 : seconds * 1000;

    return (msec)(by_pace < by_time ? by_pace : by_time);
}

void serve_drain(struct call *call)
{
    struct api_node node = node_now(call);
    uint64_t        per_second, seconds;

    if (!call_passes(call, may(call->identity, NULL, ACTION_NODES)) || !call_knows_query(call, KNOWN_NO_WORDS))
        return;
    if (!is_this_node(call, &node)) {
        call_refuse(call, 404, "there is no such node; GET /v1/nodes names them");
        return;
    }
    if (!read_drain(call, &per_second, &seconds))
        return;
    call->api->port->drain(call->api->ctx, drain_ms(&node, per_second, seconds));
    node.is_draining = true;
    answer_nodes(call, 202, &node);
}

/* --- allocate ------------------------------------------------------------------------------------------------ */

/* Is it what RFC 9112 3.2 lets stand in a Host, so that it can be told as an address? */
static bool host_is_plain(struct span host)
{
    for (size_t i = 0; i < host.len; i++)
        if (host.at[i] <= ' ' || host.at[i] > '~' || strchr("\"\\/@?#<>", host.at[i]) != NULL)
            return false;
    return host.len > 0 && host.len <= 255;
}

/* A node that was told no addresses to advertise is where it was asked. */
static void put_address(struct buf *buf, const struct call *call, const struct api_node *node)
{
    struct span host = request_field(call->request->head, SPAN("host"));
    bool        none = true;

    for (size_t i = 0; i < NODE_SCHEMES; i++) {
        if (node->advertised[i].len == 0)
            continue;
        bool has_scheme = memmem(node->advertised[i].at, node->advertised[i].len, "://", 3) != NULL;
        buf_putf(buf, ",\"%s\":\"%s%.*s\"", node_schemes[i], has_scheme ? "" : "http://",
                 SPAN_ARG(node->advertised[i]));
        none = false;
    }
    if (none && host_is_plain(host))
        buf_putf(buf, ",\"http\":\"http://%.*s\"", SPAN_ARG(host));
}

static void put_allocation(struct buf *buf, const struct call *call, const struct api_node *node)
{
    buf_put_lit(buf, "{\"nodes\":[");
    if (!node->is_draining) {
        buf_put_lit(buf, "{\"node\":");
        json_put_string(buf, span_str(node->name));
        put_address(buf, call, node);
        buf_put_lit(buf, ",\"region\":");
        json_put_string(buf, span_str(node->region));
        buf_putc(buf, '}');
    }
    buf_putf(buf, "],\"heartbeat\":%lld,\"reconnect\":", (long long)(node->heartbeat_ms / 1000));
    backoff_put(buf, &node->reconnect);
    buf_putf(buf, ",\"wait_ms\":%lld}", (long long)call->api->port->wait_ms(call->api->ctx));
}

static bool may_ask_again(const struct call *call)
{
    struct api *api = call->api;
    struct buf  address;
    char        seconds[24];

    buf_init(&address, 64);
    http_exchange_put_peer(call->exchange, &address);
    msec wait = asker_rate_ask(&api->askers, api->hash_key, buf_span(&address), api->shard->now);
    buf_fini(&address);
    if (wait == 0)
        return true;
    int len = snprintf(seconds, sizeof seconds, "%lld", (long long)((wait + 999) / 1000));
    http_problem(api->server, call->exchange, 429, NULL, "this address asks too often: at most 10 times a second",
                 HTTP_FIELDS({ SPAN("Retry-After"), span_of(seconds, (size_t)len) }));
    return false;
}

/* `user` and `region` choose among nodes; there is one. */
void serve_allocate(struct call *call)
{
    static const struct span words[] = { SPAN("user"), SPAN("region") };
    struct buf              *scratch = &call->api->scratch;
    struct api_node          node    = node_now(call);

    if (!call_knows_query(call, KNOWN_WORDS(words)) || !may_ask_again(call))
        return;
    buf_clear(scratch);
    put_allocation(scratch, call, &node);
    http_answer(call->api->server, call->exchange, &(struct http_answer){
        .status = 200, .media = SPAN("application/json"),
        .body = buf_span(scratch),
    });
}
