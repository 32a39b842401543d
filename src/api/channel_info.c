/* channel_info.c - GET /v1/channels/{channel}: what the store says of it, then how many follow it. */
#include <stdlib.h>

#include "api/call.h"
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
};

/* A channel that was never used is known only while somebody follows it: its head is 0 then. */
static void channel_answer(struct channel_question *question, uint64_t subscribers)
{
    struct buf              *scratch = &question->api->scratch;
    const struct store_read *read    = &question->read->read;

    if (read->head == 0 && subscribers == 0) {
        http_problem(question->api->server, question->exchange, 404, NULL,
                     "nothing was ever published in this channel, and nobody follows it now", HTTP_NO_FIELDS);
        return;
    }
    buf_clear(scratch);
    channel_info_put(scratch, read);
    buf_put_lit(scratch, ",\"bytes\":");
    buf_put_u64(scratch, read->bytes);
    buf_put_lit(scratch, ",\"subscribers\":");
    buf_put_u64(scratch, subscribers);
    buf_putc(scratch, '}');
    http_answer(question->api->server, question->exchange, &(struct http_answer){
        .status = 200, .media = SPAN("application/json"), .body = buf_span(scratch),
    });
}

static void subscribers_counted(struct count_command *command)
{
    struct channel_question *question = command->owner;

    channel_answer(question, command->count);
    command_free(&question->read->command);
    command_free(&command->command);
    free(question);
}

static void facts_came(struct read_command *read)
{
    struct http_exchange *exchange = read->owner;
    struct api           *api      = exchange->owner;

    if (read->read.rc != RC_OK) {
        call_answer_unreadable(api, exchange);
        command_free(&read->command);
        return;
    }
    struct channel_question *question = malloc(sizeof *question);
    must(question != NULL);
    *question = (struct channel_question){ api, exchange, read };

    struct count_command *command = count_command_new(read->read.channel);
    command->owner               = question;
    command->answered            = subscribers_counted;
    shard_count(api->shard, command);
}

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
