/* nodes.c - GET /v1/nodes, GET /v1/allocate and POST /v1/nodes/{node}/drain. A node alone knows of itself; in a cluster each node
 * answers for all, by the registry (route/registry.h). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/peers.h"
#include "base/must.h"
#include "codec/url/url.h"

static struct api_node node_now(const struct api *api)
{
    struct api_node node = { 0 };

    api->port->node(api->ctx, &node);
    return node;
}

/* NULL: this node is in no cluster. */
static const struct registry *nodes_now(const struct api *api)
{
    return api_has_peers(api) ? api->port->nodes(api->ctx) : NULL;
}

/* --- the registry -------------------------------------------------------------------------------------------- */

/* One node, as it is told. */
struct told_node {
    const char *name, *region, *version, *state;
    uint64_t    incarnation, connections, capacity;
    unsigned    roles;
    msec        seen;
};

static void put_roles(struct buf *buf, unsigned roles)
{
    static const struct { enum node_role role; const char *name; } rows[] = {
        { ROLE_ACCESS, "access" }, { ROLE_API, "api" }, { ROLE_ROUTER, "router" }, { ROLE_FORWARD, "forward" },
    };
    bool is_first = true;

    buf_putc(buf, '[');
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if ((roles & rows[i].role) == 0)
            continue;
        buf_putf(buf, "%s\"%s\"", is_first ? "" : ",", rows[i].name);
        is_first = false;
    }
    buf_putc(buf, ']');
}

static void put_node(struct buf *buf, const struct told_node *node)
{
    buf_put_lit(buf, "{\"node\":");
    json_put_string(buf, span_str(node->name));
    buf_putf(buf, ",\"incarnation\":\"%016llx\",\"region\":", (unsigned long long)node->incarnation);
    json_put_string(buf, span_str(node->region));
    buf_put_lit(buf, ",\"roles\":");
    put_roles(buf, node->roles);
    buf_putf(buf, ",\"state\":\"%s\",\"connections\":%llu,\"capacity\":%llu,\"version\":", node->state,
             (unsigned long long)node->connections, (unsigned long long)node->capacity);
    json_put_string(buf, span_str(node->version));
    buf_putf(buf, ",\"seen\":%lld}", (long long)node->seen);
}

static struct told_node told_of_own(const struct api *api, const struct api_node *node)
{
    return (struct told_node){
        .name = node->name, .region = node->region, .version = api->version,
        .state = node->is_draining ? "draining" : "up", .incarnation = node->incarnation,
        .connections = node->connections, .capacity = node->capacity, .roles = node->roles, .seen = api->shard->wall,
    };
}

static struct told_node told_of(const struct registry_node *node)
{
    static const char *const states[] = { [NODE_UP] = "up", [NODE_DRAINING] = "draining", [NODE_LOST] = "lost" };
    const struct node_record *record  = &node->record;

    return (struct told_node){
        .name = record->id.name, .region = record->region, .version = record->version, .state = states[node->state],
        .incarnation = record->id.incarnation, .connections = record->connections, .capacity = record->capacity,
        .roles = record->roles, .seen = node->seen,
    };
}

/* This node knows itself better than the registry does, and may not be in it yet. */
static void put_nodes(struct buf *buf, const struct api *api, const struct api_node *own, const struct registry *registry)
{
    struct told_node self   = told_of_own(api, own);
    bool             is_put = false, is_first = true;

    for (size_t i = 0; registry != NULL && i < registry->count; i++) {
        struct told_node node  = told_of(&registry->nodes[i]);
        int              order = strcmp(node.name, self.name);
        if (order >= 0 && !is_put) {
            buf_put(buf, is_first ? SPAN("") : SPAN(","));
            put_node(buf, &self);
            is_put   = true;
            is_first = false;
        }
        if (order == 0)
            continue;
        buf_put(buf, is_first ? SPAN("") : SPAN(","));
        put_node(buf, &node);
        is_first = false;
    }
    if (is_put)
        return;
    buf_put(buf, is_first ? SPAN("") : SPAN(","));
    put_node(buf, &self);
}

static void answer_nodes(const struct call *call, const struct api_node *own)
{
    struct buf *scratch = &call->api->scratch;

    buf_clear(scratch);
    buf_put_lit(scratch, "{\"nodes\":[");
    put_nodes(scratch, call->api, own, nodes_now(call->api));
    buf_put_lit(scratch, "]}");
    call_answer_json(call, 200, buf_span(scratch));
}

void serve_nodes(struct call *call)
{
    struct api_node node = node_now(call->api);

    if (call_passes(call, may(call->identity, NULL, ACTION_NODES)) && call_knows_query(call, KNOWN_NO_WORDS))
        answer_nodes(call, &node);
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

/* With both, all are told within `seconds`, and faster than `per_second` if need be. */
static msec drain_ms(const struct api_node *node, uint64_t per_second, uint64_t seconds)
{
    uint64_t by_pace = per_second == 0 ? UINT64_MAX : node->connections * 1000 / per_second + 1;
    uint64_t by_time = seconds == 0 ? (uint64_t)DRAIN_S_MAX * 1000 : seconds * 1000;

    return (msec)(by_pace < by_time ? by_pace : by_time);
}

static void answer_drain(struct api *api, struct http_exchange *exchange, const struct told_node *node)
{
    buf_clear(&api->scratch);
    buf_put_lit(&api->scratch, "{\"nodes\":[");
    put_node(&api->scratch, node);
    buf_put_lit(&api->scratch, "]}");
    http_answer(api->server, exchange, &(struct http_answer){
        .status = 202, .media = SPAN("application/json"), .body = buf_span(&api->scratch),
    });
}

static void drain_own(const struct call *call, const struct api_node *own, uint64_t per_second, uint64_t seconds)
{
    struct told_node told = told_of_own(call->api, own);

    call->api->port->drain(call->api->ctx, drain_ms(own, per_second, seconds));
    told.state = "draining";
    answer_drain(call->api, call->exchange, &told);
}

/* --- … of another node ------------------------------------------------------------------------------------------ */

static void drain_told(struct peer_question *asked)
{
    struct http_exchange       *exchange = asked->owner;
    struct api                 *api      = exchange->owner;
    const struct registry      *registry = nodes_now(api);
    const struct registry_node *node     = registry == NULL ? NULL : registry_find(registry, span_str(asked->node));

    if (asked->answers == NULL || node == NULL) {
        http_problem(api->server, exchange, 503, NULL,
                     "the node did not answer in time; perhaps it is draining nevertheless: GET /v1/nodes says so a little later",
                     retry_after(503));
    } else {
        struct told_node told = told_of(node);
        told.state            = "draining";
        answer_drain(api, exchange, &told);
    }
    command_free(&asked->command);
}

static void drain_other(const struct call *call, const struct registry_node *node, uint64_t per_second, uint64_t seconds)
{
    struct peer_question *asked = peers_question_new(PEER_DRAIN, call->exchange, drain_told);

    _Static_assert(sizeof asked->node == sizeof node->record.id.name, "both hold the name of a node");
    memcpy(asked->node, node->record.id.name, sizeof asked->node);
    asked->incarnation = node->record.id.incarnation;
    bus_put_number(&asked->body, per_second);
    bus_put_number(&asked->body, seconds);
    shard_ask_peers(call->api->shard, asked);
}

void serve_peer_drain(struct api *api, struct peer_call *call, struct span body)
{
    struct api_node node = node_now(api);
    uint64_t        per_second, seconds;

    if (!bus_get_number(&body, &per_second) || !bus_get_number(&body, &seconds) || seconds > DRAIN_S_MAX ||
        (per_second == 0 && seconds == 0)) {
        peer_call_unreadable(call);
        return;
    }
    api->port->drain(api->ctx, drain_ms(&node, per_second, seconds));
    bus_put_number(&call->answer, 1);
    peer_call_done(call);
}

static void drain_named(const struct call *call, const struct api_node *own, struct span name)
{
    const struct registry      *registry = nodes_now(call->api);
    const struct registry_node *node     = registry == NULL ? NULL : registry_find(registry, name);
    bool                        is_own   = span_eq(name, span_str(own->name));
    uint64_t                    per_second, seconds;

    if (!is_own && node == NULL)
        call_refuse(call, 404, "there is no such node; GET /v1/nodes names them");
    else if (!is_own && node->state == NODE_LOST)
        call_refuse(call, 409, "this node is lost: its lease has run out, and it has no clients any more");
    else if (!read_drain(call, &per_second, &seconds))
        return;
    else if (is_own)
        drain_own(call, own, per_second, seconds);
    else
        drain_other(call, node, per_second, seconds);
}

void serve_drain(struct call *call)
{
    struct api_node node = node_now(call->api);
    struct span     name = SPAN("");
    struct buf      scratch;

    if (!call_passes(call, may(call->identity, NULL, ACTION_NODES)) || !call_knows_query(call, KNOWN_NO_WORDS))
        return;
    buf_init(&scratch, 4096);
    if (url_decode(call->segments[2], URL_PATH, &scratch, &name))
        drain_named(call, &node, name);
    else
        call_refuse(call, 404, "there is no such node; GET /v1/nodes names them");
    buf_fini(&scratch);
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

static void put_addresses(struct buf *buf, const struct span addresses[NODE_SCHEMES])
{
    for (size_t i = 0; i < NODE_SCHEMES; i++) {
        if (addresses[i].len == 0)
            continue;
        bool has_scheme = memmem(addresses[i].at, addresses[i].len, "://", 3) != NULL;
        buf_putf(buf, ",\"%s\":\"%s%.*s\"", node_schemes[i], has_scheme ? "" : "http://", SPAN_ARG(addresses[i]));
    }
}

static void put_allocated(struct buf *buf, const char *name, const char *region, const struct span addresses[NODE_SCHEMES],
                          const char *scheme, struct span host)
{
    buf_put_lit(buf, "{\"node\":");
    json_put_string(buf, span_str(name));
    put_addresses(buf, addresses);
    if (host.len > 0)
        buf_putf(buf, ",\"%s\":\"%s://%.*s\"", scheme, scheme, SPAN_ARG(host));
    buf_put_lit(buf, ",\"region\":");
    json_put_string(buf, span_str(region));
    buf_putc(buf, '}');
}

static bool advertises(const struct api_node *node)
{
    for (size_t i = 0; i < NODE_SCHEMES; i++)
        if (node->advertised[i].len > 0)
            return true;
    return false;
}

static bool takes_clients(const struct api_node *node)
{
    return !node->is_draining && (node->roles & ROLE_ACCESS) != 0;
}

/* A node that was told no addresses to advertise is where it was asked. */
static void put_own_allocation(struct buf *buf, const struct call *call, const struct api_node *node)
{
    struct span host = request_field(call->request->head, SPAN("host"));

    if (!takes_clients(node))
        return;
    put_allocated(buf, node->name, node->region, node->advertised, http_exchange_is_secret(call->exchange) ? "https" : "http",
                  advertises(node) || !host_is_plain(host) ? SPAN("") : host);
}

enum { ALLOCATED_MAX = 8 };  /* nodes that a client is told */

/* That this node drains is known here before its lease says so. False: there is nobody to send clients to. */
static bool put_cluster_allocation(struct buf *buf, const struct call *call, const struct api_node *own,
                                   const struct registry *registry, struct span region)
{
    const struct registry_node *nodes[ALLOCATED_MAX];
    struct api                 *api    = call->api;
    const struct span           except = span_str(takes_clients(own) ? "" : own->name);
    size_t                      count  = registry_allocate(registry, region, except, &api->random, nodes, ALLOCATED_MAX);

    for (size_t i = 0; i < count; i++) {
        const struct node_record *record = &nodes[i]->record;
        struct span               addresses[NODE_SCHEMES];
        api->port->addresses(api->ctx, span_str(record->advertise), addresses);
        buf_put(buf, i > 0 ? SPAN(",") : SPAN(""));
        put_allocated(buf, record->id.name, record->region, addresses, "", SPAN(""));
    }
    return count > 0;
}

static void put_allocation(struct buf *buf, const struct call *call, const struct api_node *node, struct span region)
{
    const struct registry *registry = nodes_now(call->api);

    buf_put_lit(buf, "{\"nodes\":[");
    /* Where no node says its address, each is where it was asked. */
    if (registry == NULL || (!put_cluster_allocation(buf, call, node, registry, region) && !advertises(node)))
        put_own_allocation(buf, call, node);
    buf_putf(buf, "],\"heartbeat\":%lld,\"reconnect\":", (long long)(node->heartbeat_ms / 1000));
    backoff_put(buf, &node->reconnect);
    buf_putf(buf, ",\"wait_ms\":%lld}", (long long)call->api->port->wait_ms(call->api->ctx, region));
}

static bool may_ask_again(const struct call *call)
{
    struct api       *api     = call->api;
    struct ip_address address = IP_UNKNOWN;
    char              seconds[24];

    http_exchange_client(call->exchange, &address);
    msec wait = asker_rate_ask(&api->askers, api->hash_key, ip_customer(&address), api->shard->now);
    if (wait == 0)
        return true;
    int len = snprintf(seconds, sizeof seconds, "%lld", (long long)((wait + 999) / 1000));
    http_problem(api->server, call->exchange, 429, NULL, "this address asks too often: at most 10 times a second",
                 HTTP_FIELDS({ SPAN("Retry-After"), span_of(seconds, (size_t)len) }));
    return false;
}

/* Without region= the client is thought to be in the region of the node that it asks. False: answered with 400. */
static bool allocate_region(const struct call *call, const struct api_node *node, struct buf *scratch, struct span *ret)
{
    struct span encoded;

    *ret = span_str(node->region);
    if (!call_parameter(call, SPAN("region"), &encoded))
        return true;
    if (url_decode(encoded, URL_QUERY, scratch, ret) && ret->len <= NODE_RECORD_REGION_MAX)
        return true;
    call_refuse(call, 400, "region= is the name of a region: 64 bytes at most");
    return false;
}

/* `user` is for those who sort requests in front of the nodes; the choice doesn't depend on it. */
void serve_allocate(struct call *call)
{
    static const struct span words[] = { SPAN("user"), SPAN("region") };
    struct buf              *scratch = &call->api->scratch;
    struct api_node          node    = node_now(call->api);
    struct span              region;
    struct buf               decoded;

    if (!call_knows_query(call, KNOWN_WORDS(words)) || !may_ask_again(call))
        return;
    buf_init(&decoded, 4096);
    if (allocate_region(call, &node, &decoded, &region)) {
        buf_clear(scratch);
        put_allocation(scratch, call, &node, region);
        call_answer_json(call, 200, buf_span(scratch));
    }
    buf_fini(&decoded);
}
