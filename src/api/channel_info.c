/* channel_info.c - GET /v1/channels/{channel}: what the store says of it, then how many follow it, here and on other nodes. */
#include <stdlib.h>

#include "api/peers.h"
#include "base/must.h"
#include "message/epoch.h"

void channel_info_put(struct buf *buf, const struct store_read *read)
{
    buf_put_lit(buf, "{\"channel\":");
    json_put_string(buf, channel_name_span(read->channel));
    buf_put_lit(buf, ",\"epoch\":\"");
    epoch_put(buf, read->epoch);
    buf_put_lit(buf, "\",\"first\":");
    buf_put_u64(buf, read->first);
    buf_put_lit(buf, ",\"head\":");
    buf_put_u64(buf, read->head);
}

struct channel_question {
    struct api           *api;
    struct http_exchange *exchange;
    struct read_command   *read;
    uint64_t              subscribers;
    bool                  is_incomplete;
};

/* A channel that was never used is known only while somebody follows it: its head is 0 then. */
static void channel_answer(const struct channel_question *question)
{
    struct buf              *scratch = &question->api->scratch;
    const struct store_read *read    = &question->read->read;

    if (read->head == 0 && question->subscribers == 0 && question->is_incomplete) {
        http_problem(question->api->server, question->exchange, 503, NULL,
                     "nothing was ever published in this channel, and not all nodes say whether somebody follows it",
                     retry_after(503));
        return;
    }
    if (read->head == 0 && question->subscribers == 0) {
        http_problem(question->api->server, question->exchange, 404, NULL,
                     "nothing was ever published in this channel, and nobody follows it now", HTTP_NO_FIELDS);
        return;
    }
    buf_clear(scratch);
    channel_info_put(scratch, read);
    buf_put_lit(scratch, ",\"bytes\":");
    buf_put_u64(scratch, read->bytes);
    buf_put_lit(scratch, ",\"subscribers\":");
    buf_put_u64(scratch, question->subscribers);
    put_incomplete(scratch, question->is_incomplete);
    buf_putc(scratch, '}');
    http_answer(question->api->server, question->exchange, &(struct http_answer){
        .status = 200, .media = SPAN("application/json"), .body = buf_span(scratch),
    });
}

static void channel_finish(struct channel_question *question)
{
    channel_answer(question);
    command_free(&question->read->command);
    free(question);
}

static void subscribers_counted_elsewhere(struct peer_question *asked)
{
    struct channel_question *question = asked->owner;
    uint64_t                 count;
    struct span              body;

    for (const struct peer_answer *answer = asked->answers; answer != NULL; answer = answer->next)
        if (peer_answer_open(answer, &body) && bus_get_number(&body, &count))
            question->subscribers += count;
    question->is_incomplete = peers_are_incomplete(asked);
    command_free(&asked->command);
    channel_finish(question);
}

/* Nodes register no route for the channel of a connection: all are asked. */
static void ask_count_elsewhere(struct channel_question *question)
{
    struct channel_name  *channel = question->read->read.channel;
    struct peer_question *asked   = peers_question_new(PEER_COUNT, question, subscribers_counted_elsewhere);

    bus_put_text(&asked->body, channel_name_span(channel));
    if (channel->space->membership != MEMBER_IS_LINK)
        asked->channel = channel_name_ref(channel);
    shard_ask_peers(question->api->shard, asked);
}

static void subscribers_counted(struct count_command *command)
{
    struct channel_question *question = command->owner;

    question->subscribers = command->count;
    command_free(&command->command);
    if (api_has_peers(question->api))
        ask_count_elsewhere(question);
    else
        channel_finish(question);
}

static void facts_came(struct read_command *read)
{
    struct http_exchange *exchange = read->owner;
    struct api           *api      = exchange->owner;

    if (read->read.rc != RC_OK) {
        call_answer_unreadable(api, exchange, read->read.channel);
        command_free(&read->command);
        return;
    }
    struct channel_question *question = malloc(sizeof *question);
    must(question != NULL);
    *question = (struct channel_question){ .api = api, .exchange = exchange, .read = read };

    struct count_command *command = count_command_new(read->read.channel);
    command->owner               = question;
    command->answered            = subscribers_counted;
    shard_count(api->shard, command);
}

/* --- another node asks ------------------------------------------------------------------------------------------------- */

static void peer_counted(struct count_command *command)
{
    struct peer_call *call = command->owner;

    bus_put_number(&call->answer, command->count);
    command_free(&command->command);
    peer_call_done(call);
}

void serve_peer_count(struct api *api, struct peer_call *call, struct span body)
{
    struct channel_name *channel;
    struct span          name;

    if (!bus_get_text(&body, LISTING_TEXT_MAX, &name) ||
        channel_name_new(api->namespaces, api->hash_key, name, &channel) != CHANNEL_NAME_OK) {
        peer_call_unreadable(call);
        return;
    }
    struct count_command *command = count_command_new(channel);
    command->owner                = call;
    command->answered             = peer_counted;
    shard_count(api->shard, command);
    channel_name_unref(channel);
}

/* --- the call ---------------------------------------------------------------------------------------------------------- */

static void facts_ask(struct api *api, struct http_exchange *exchange, struct read_command *read)
{
    (void)exchange;
    shard_read(api->shard, read);
}

void serve_channel(struct call *call)
{
    struct channel_name *name = call_channel(call, ACTION_CHANNEL_INFO);

    if (name == NULL)
        return;
    struct verdict verdict = may(call->identity, name, ACTION_CHANNEL_INFO);
    if (call_passes_member(call, verdict) && call_knows_query(call, KNOWN_NO_WORDS))
        call_read(call, call_read_new(call, name, READ_AFTER, 0, 0, facts_came), verdict, facts_ask);
    channel_name_unref(name);
}
