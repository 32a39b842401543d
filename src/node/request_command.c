#include "node/request_command.h"

#include <stdlib.h>

#include "base/must.h"
#include "base/span_keep.h"
#include "node/shard.h"
#include "node/uplink_port.h"
#include "node/writer.h"

static struct request_command *request_in(struct command *command)
{
    return container_of(command, struct request_command, command);
}

static void request_free(struct command *command)
{
    struct request_command *request = request_in(command);

    channel_name_unref(request->channel);
    message_unref(request->answer);
    free(request);
}

static void request_at_loop(struct command *command, struct shard *shard)
{
    struct request_command *request = request_in(command);

    shard_end_question(shard);
    request->answered(request);
}

/* Without a back end in the settings no route leads here; a cancel may come all the same. */
static void request_at_writer(struct command *command, struct writer *writer)
{
    struct request_command *request = request_in(command);

    if (writer->uplink != NULL) {
        writer->uplink->request(writer->uplink_ctx, request);
        return;
    }
    request->outcome = request->way == REQUEST_CANCEL ? REQUEST_DROPPED : REQUEST_AWAY;
    writer->port->send(writer->ctx, command->loop, command);
}

const struct command_kind request_kind = {
    .name = "request", .free = request_free, .at_loop = request_at_loop, .at_writer = request_at_writer,
    .is_brief = true,
};

struct request_command *request_command_new(enum request_way way, size_t field_count, size_t text_bytes)
{
    const size_t            fields_bytes = field_count * sizeof(struct request_field);
    struct request_command *request      = calloc(1, sizeof *request + fields_bytes + text_bytes);

    must(request != NULL);
    request->command.kind = &request_kind;
    request->way          = way;
    request->field_count  = field_count;
    request->fields       = (const struct request_field *)(void *)request->words;
    return request;
}

struct request_command *request_cancel_new(struct channel_name *channel, struct span user, struct span device, uint64_t key,
                                           struct span id)
{
    struct request_command *request = request_command_new(REQUEST_CANCEL, 0, user.len + device.len + id.len);
    char                   *at      = request->words;

    request->channel = channel_name_ref(channel);
    request->user    = span_keep(user, &at);
    request->device  = span_keep(device, &at);
    request->id      = span_keep(id, &at);
    request->key     = key;
    return request;
}

void shard_request(struct shard *shard, struct request_command *command)
{
    shard_ask_question(shard, &command->command);
}
