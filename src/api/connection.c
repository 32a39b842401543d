/* connection.c - GET and DELETE /v1/connections/{key}: what a connection is, and ending it. */
#include "api/call.h"
#include "base/must.h"
#include "node/connection_command.h"
#include "node/connection_key.h"

/* A name that is not there is null. */
static void put_name_or_null(struct buf *buf, const char *name)
{
    if (name[0] == '\0')
        buf_put_lit(buf, "null");
    else
        json_put_string(buf, span_str(name));
}

static void put_connection(struct buf *buf, const struct connection_command *answer, const char *node)
{
    buf_put_lit(buf, "{\"connection\":\"");
    connection_key_put(buf, answer->key);
    buf_put_lit(buf, "\",\"user\":");
    put_name_or_null(buf, answer->user);
    buf_put_lit(buf, ",\"device\":");
    put_name_or_null(buf, answer->device);
    buf_putf(buf, ",\"transport\":\"%s\",\"address\":", answer->transport);
    put_name_or_null(buf, answer->address);
    buf_put_lit(buf, ",\"node\":");
    json_put_string(buf, span_str(node));
    buf_putf(buf, ",\"since\":%lld,\"channels\":%u}", (long long)answer->since, answer->channels);
}

static void connection_answered(struct connection_command *answer)
{
    struct http_exchange *exchange = answer->owner;
    struct api           *api      = exchange->owner;

    if (!answer->is_there) {
        http_problem(api->server, exchange, 404, NULL, "there is no such connection now", HTTP_NO_FIELDS);
    } else {
        buf_clear(&api->scratch);
        put_connection(&api->scratch, answer, api->node);
        http_answer(api->server, exchange, &(struct http_answer){
            .status = 200, .media = SPAN("application/json"), .body = buf_span(&api->scratch),
        });
    }
    command_free(&answer->command);
}

/* Who may not look learns nothing about which keys there are. */
void serve_connection(struct call *call)
{
    uint64_t key;

    if (!call_passes(call, may(call->identity, NULL, ACTION_CONNECTIONS)) || !call_knows_query(call, KNOWN_NO_WORDS))
        return;
    if (!connection_key_read(call->segments[2], &key)) {
        call_refuse(call, 404, "there is no such connection: a key is 16 hexadecimal digits");
        return;
    }
    struct connection_command *question = connection_command_new(key);
    question->owner                     = call->exchange;
    question->answered                  = connection_answered;
    question->is_cut                    = call->request->head->method == HTTP_DELETE;
    shard_ask_connection(call->api->shard, question);
}
