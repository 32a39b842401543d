/* connection.c - GET and DELETE /v1/connections/{key}: what a connection is, and ending it, on whatever node it is. */
#include <stdio.h>
#include <stdlib.h>

#include "api/peers.h"
#include "base/must.h"
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

/* --- finding it --------------------------------------------------------------------------------------------------------- */

struct connection_search {
    struct api *api;
    uint64_t    key;
    bool        is_cut;
    void       *owner;
    void      (*found)(void *owner, const struct found_connection *found);
};

static void search_end(struct connection_search *search, const struct found_connection *found)
{
    search->found(search->owner, found);
    free(search);
}

static void connection_answered(struct connection_command *answer)
{
    struct connection_search *search = answer->owner;

    search_end(search, &(struct found_connection){ answer->is_there ? CONNECTION_FOUND : CONNECTION_NOT_THERE, answer,
                                                   search->api->node });
    command_free(&answer->command);
}

static void copy_connection_text(char *into, size_t size, struct span text)
{
    snprintf(into, size, "%.*s", SPAN_ARG(text));
}

/* False: it is not there. */
static bool read_connection(struct span body, struct connection_command *ret)
{
    struct span user, device, transport, address;
    uint64_t    since, channels;

    if (!bus_get_text(&body, CONNECTION_USER_BYTES_MAX, &user) ||
        !bus_get_text(&body, CONNECTION_DEVICE_BYTES_MAX, &device) || !bus_get_text(&body, 64, &transport) ||
        !bus_get_text(&body, CONNECTION_ADDRESS_BYTES_MAX, &address) || !bus_get_number(&body, &since) ||
        !bus_get_number(&body, &channels))
        return false;
    copy_connection_text(ret->user, sizeof ret->user, user);
    copy_connection_text(ret->device, sizeof ret->device, device);
    copy_connection_text(ret->address, sizeof ret->address, address);
    ret->transport = peer_transport(transport);
    ret->since     = (msec)since;
    ret->channels  = (uint32_t)channels;
    return ret->transport != NULL;
}

static void connection_told(struct peer_question *asked)
{
    struct connection_search *search = asked->owner;
    struct connection_command facts  = { .key = search->key };
    struct found_connection   found  = {
        peers_are_incomplete(asked) ? CONNECTION_UNKNOWN : CONNECTION_NOT_THERE, &facts, NULL,
    };
    struct span body;

    for (const struct peer_answer *answer = asked->answers; answer != NULL; answer = answer->next)
        if (peer_answer_open(answer, &body) && read_connection(body, &facts)) {
            found.outcome = CONNECTION_FOUND;
            found.node    = answer->node;
            break;
        }
    search_end(search, &found);
    command_free(&asked->command);
}

void api_find_connection(struct api *api, uint64_t key, bool is_cut, void *owner,
                         void (*found)(void *owner, const struct found_connection *found))
{
    struct connection_search *search = malloc(sizeof *search);
    uint16_t                  tag    = 0;

    must(search != NULL);
    *search = (struct connection_search){ api, key, is_cut, owner, found };
    if (api_has_peers(api) && api->shard->connection_keys != NULL)
        tag = connection_key_elsewhere(api->shard->connection_keys, key);
    if (tag == 0) {
        struct connection_command *question = connection_command_new(key);
        question->owner                     = search;
        question->answered                  = connection_answered;
        question->is_cut                    = is_cut;
        shard_ask_connection(api->shard, question);
        return;
    }
    struct peer_question *asked = peers_question_new(PEER_CONNECTION, search, connection_told);
    asked->tag                  = tag;
    bus_put_number(&asked->body, key);
    bus_put_number(&asked->body, is_cut);
    shard_ask_peers(api->shard, asked);
}

/* --- another node asks -------------------------------------------------------------------------------------------------- */

static void peer_connection_answered(struct connection_command *answer)
{
    struct peer_call *call = answer->owner;

    if (answer->is_there) {
        bus_put_text(&call->answer, span_str(answer->user));
        bus_put_text(&call->answer, span_str(answer->device));
        bus_put_text(&call->answer, span_str(answer->transport));
        bus_put_text(&call->answer, span_str(answer->address));
        bus_put_number(&call->answer, (uint64_t)answer->since);
        bus_put_number(&call->answer, answer->channels);
    }
    command_free(&answer->command);
    peer_call_done(call);
}

void serve_peer_connection(struct api *api, struct peer_call *call, struct span body)
{
    uint64_t key, is_cut;

    if (!bus_get_number(&body, &key) || !bus_get_number(&body, &is_cut)) {
        peer_call_unreadable(call);
        return;
    }
    struct connection_command *question = connection_command_new(key);
    question->owner                     = call;
    question->answered                  = peer_connection_answered;
    question->is_cut                    = is_cut != 0;
    shard_ask_connection(api->shard, question);
}

/* --- the call ----------------------------------------------------------------------------------------------------------- */

static void connection_found(void *owner, const struct found_connection *found)
{
    struct http_exchange *exchange = owner;
    struct api           *api      = exchange->owner;

    if (found->outcome == CONNECTION_NOT_THERE) {
        http_problem(api->server, exchange, 404, NULL, "there is no such connection now", HTTP_NO_FIELDS);
    } else if (found->outcome == CONNECTION_UNKNOWN) {
        http_problem(api->server, exchange, 503, NULL,
                     "the node that this key is of does not answer; nobody knows whether it has the connection",
                     retry_after(503));
    } else {
        buf_clear(&api->scratch);
        put_connection(&api->scratch, found->facts, found->node);
        http_answer(api->server, exchange, &(struct http_answer){
            .status = 200, .media = SPAN("application/json"), .body = buf_span(&api->scratch),
        });
    }
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
    api_find_connection(call->api, key, call->request->head->method == HTTP_DELETE, call->exchange, connection_found);
}
