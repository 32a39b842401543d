#include "api/peers.h"

#include "base/must.h"

bool api_has_peers(const struct api *api)
{
    return api->port->nodes != NULL && api->port->nodes(api->ctx) != NULL;
}

struct peer_question *peers_question_new(enum peer_topic topic, void *owner,
                                         void (*answered)(struct peer_question *question))
{
    struct peer_question *question = peer_question_new(topic);

    question->owner    = owner;
    question->answered = answered;
    bus_body_begin(&question->body);
    return question;
}

bool peers_are_incomplete(const struct peer_question *question)
{
    return question->missing > 0 || question->is_unsure;
}

void put_incomplete(struct buf *buf, bool is_incomplete)
{
    if (is_incomplete)
        buf_put_lit(buf, ",\"incomplete\":true");
}

bool peer_answer_open(const struct peer_answer *answer, struct span *ret)
{
    *ret = span_of(answer->body, answer->len);
    return bus_body_open(ret);
}

const char *peer_transport(struct span name)
{
    static const char *const known[] = { "websocket", "native", "sse", "ndjson", "multipart", "poll", "mqtt" };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (span_eq(span_str(known[i]), name))
            return known[i];
    return NULL;
}

/* --- answering others ------------------------------------------------------------------------------------------------- */

void peer_call_done(struct peer_call *call)
{
    struct api *api = call->server;

    peer_call_answer(api->shard, call);
}

void peer_call_unreadable(struct peer_call *call)
{
    call->is_unknown = true;
    peer_call_done(call);
}

static const struct peer_handler {
    enum peer_topic topic;
    void          (*serve)(struct api *api, struct peer_call *call, struct span body);
} peer_handlers[] = {
    { PEER_COUNT, serve_peer_count },           { PEER_LISTING, serve_peer_listing },
    { PEER_CONNECTION, serve_peer_connection }, { PEER_USERS, serve_peer_users },
    { PEER_DEVICES, serve_peer_devices },       { PEER_REVOCATION, serve_peer_revocation },
    { PEER_DRAIN, serve_peer_drain },           { PEER_SUBSCRIBERS, serve_peer_subscribers },
    { PEER_FORWARDERS, serve_peer_forwarders },
};

void api_take_peer_call(struct api *api, struct peer_call *call)
{
    struct span body = buf_span(&call->body);

    call->server = api;
    for (size_t i = 0; i < sizeof peer_handlers / sizeof peer_handlers[0]; i++) {
        if (peer_handlers[i].topic != call->topic)
            continue;
        if (bus_body_open(&body)) {
            bus_body_begin(&call->answer);
            peer_handlers[i].serve(api, call, body);
            return;
        }
    }
    peer_call_unreadable(call);
}
