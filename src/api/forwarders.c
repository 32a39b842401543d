/* forwarders.c - GET /v1/forwarders: what each forwarder and webhook has yet to send, on each node. In a cluster all nodes are
 * asked, because each carries a part. */
#include <stdlib.h>

#include "api/peers.h"
#include "base/must.h"

enum { FORWARDERS_TEXT_BYTES = 1024 * 1024 - 64 };

static void put_forwarders_of(struct buf *buf, const char *node, struct span forwarders)
{
    buf_put_lit(buf, "{\"node\":");
    json_put_string(buf, span_str(node));
    buf_put_lit(buf, ",\"forwarders\":[");
    buf_put(buf, forwarders);
    buf_put_lit(buf, "]}");
}

/* This node's, in a buffer of their own. */
static void own_forwarders(const struct api *api, struct buf *ret)
{
    buf_init(ret, FORWARDERS_TEXT_BYTES);
    if (api->port->put_forwarders != NULL)
        api->port->put_forwarders(api->ctx, ret);
    must(!buf_is_over(ret));
}

static void forwarders_begin(struct api *api)
{
    struct buf own;

    own_forwarders(api, &own);
    buf_clear(&api->scratch);
    buf_put_lit(&api->scratch, "{\"nodes\":[");
    put_forwarders_of(&api->scratch, api->node, buf_span(&own));
    buf_fini(&own);
}

static void forwarders_end(struct api *api, struct http_exchange *exchange, bool is_incomplete)
{
    buf_putc(&api->scratch, ']');
    put_incomplete(&api->scratch, is_incomplete);
    buf_putc(&api->scratch, '}');
    http_answer(api->server, exchange, &(struct http_answer){
        .status = 200, .media = SPAN("application/json"), .body = buf_span(&api->scratch),
    });
}

static void forwarders_came(struct peer_question *asked)
{
    struct http_exchange *exchange = asked->owner;
    struct api           *api      = exchange->owner;
    struct span           body, text;

    forwarders_begin(api);
    for (const struct peer_answer *answer = asked->answers; answer != NULL; answer = answer->next) {
        if (!peer_answer_open(answer, &body) || !bus_get_text(&body, FORWARDERS_TEXT_BYTES, &text))
            continue;
        buf_putc(&api->scratch, ',');
        put_forwarders_of(&api->scratch, answer->node, text);
    }
    forwarders_end(api, exchange, peers_are_incomplete(asked));
    command_free(&asked->command);
}

void serve_peer_forwarders(struct api *api, struct peer_call *call, struct span body)
{
    struct buf own;

    (void)body;
    own_forwarders(api, &own);
    bus_put_text(&call->answer, buf_span(&own));
    buf_fini(&own);
    peer_call_done(call);
}

void serve_forwarders(struct call *call)
{
    struct api *api = call->api;

    if (!call_passes(call, may(call->identity, NULL, ACTION_FORWARDERS)) || !call_knows_query(call, KNOWN_NO_WORDS))
        return;
    if (api_has_peers(api)) {
        shard_ask_peers(api->shard, peers_question_new(PEER_FORWARDERS, call->exchange, forwarders_came));
        return;
    }
    forwarders_begin(api);
    forwarders_end(api, call->exchange, false);
}
