/* purge.c - DELETE /v1/channels/{channel}: empties a channel. The answer comes when that is durable. */
#include "api/call.h"
#include "base/must.h"
#include "publish/publish_check.h"

static void put_purged(struct buf *buf, const struct publish_command *command)
{
    const struct purge_answer *purged = &command->append.purged;
    const struct store_read    facts  = {
        .channel = command->append.message->channel, .epoch = purged->epoch, .first = purged->head + 1,
        .head = purged->head,
    };

    channel_info_put(buf, &facts);
    buf_put_lit(buf, ",\"purged\":");
    buf_put_u64(buf, purged->head + 1 - purged->first);
    buf_putc(buf, '}');
}

static const char *purge_explain(struct shard *shard, const struct publish_command *command, unsigned *ret_status)
{
    const char *why = publish_explain_sent(shard, command, ret_status);

    if (command->outcome == PUBLISH_NO_TARGET)
        return "nothing was ever published in this channel";
    if (command->outcome == PUBLISH_BROKEN)
        return shard_engine_text(shard, command->append.message->channel,
                                 "the store can't be written to now; whether the channel was purged is not known: send it again");
    return why;
}

static void purge_answered(struct publish_command *command)
{
    struct http_exchange *exchange = command->owner;
    struct api           *api      = exchange->owner;
    unsigned              status;
    const char           *why = purge_explain(api->shard, command, &status);

    if (why != NULL) {
        http_problem(api->server, exchange, status, NULL, why, retry_after(status));
    } else {
        buf_clear(&api->scratch);
        put_purged(&api->scratch, command);
        http_answer(api->server, exchange, &(struct http_answer){
            .status = status, .media = SPAN("application/json"), .body = buf_span(&api->scratch),
        });
    }
    command_free(&command->command);
}

void serve_purge(struct call *call)
{
    struct channel_name *name = call_channel(call, ACTION_PURGE);

    if (name != NULL && call_passes(call, may(call->identity, name, ACTION_PURGE)) &&
        call_knows_query(call, KNOWN_NO_WORDS)) {
        struct publish_command *command = purge_command_new(name);
        command->owner                  = call->exchange;
        command->answered               = purge_answered;
        shard_publish(call->api->shard, command);
    }
    channel_name_unref(name);
}
