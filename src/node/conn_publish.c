/* conn_publish.c - a publish to `conn:KEY` visits the loop that KEY names before it is appended.
 *
 * A connection does not follow its own channel until somebody publishes there, so that this costs an idle connection
 * nothing. The loop makes it follow, and sends the publish back behind the question after the channel's head: the
 * connection is there when the message comes.
 *
 *     loop A ──▶ writer ──▶ loop B: follows conn:KEY ──▶ writer: FOLLOW, then the append
 *
 * What the writer itself says to a connection whose loop follows that channel already needs no visit.
 *
 * In a cluster a publish to a connection of another node is made there (shard_port.forward).
 */
#include "base/must.h"
#include "node/command_priv.h"
#include "node/connection_key.h"
#include "node/shard.h"
#include "node/writer.h"

static struct publish_command *conn_publish_of(struct command *command)
{
    return container_of(command, struct publish_command, command);
}

static void conn_publish_free(struct command *command)
{
    publish_kind.free(command);
}

/* A key that somebody made up may name a loop that is not there. */
static void conn_publish_at_writer(struct command *command, struct writer *writer)
{
    unsigned loop = conn_publish_of(command)->via_loop;

    if (loop < writer->loop_count) {
        writer->port->send(writer->ctx, loop, command);
        return;
    }
    command->kind = &publish_kind;
    publish_kind.at_writer(command, writer);
}

static void conn_publish_at_loop(struct command *command, struct shard *shard)
{
    struct publish_command *publish = conn_publish_of(command);

    command->kind = &publish_kind;
    if (shard->port->address == NULL || !shard->port->address(shard->ctx, publish))
        shard_send_on(shard, command);
}

static const struct command_kind conn_publish_kind = {
    .name = "publish to a connection", .free = conn_publish_free, .at_loop = conn_publish_at_loop,
    .at_writer = conn_publish_at_writer,
};

void writer_publish_to_link(struct writer *writer, struct publish_command *publish, unsigned loop)
{
    const uint64_t followers = tails_followers(&writer->tails, publish->append.message->channel);

    publish->via_loop     = (uint8_t)loop;
    publish->command.kind = loop < writer->loop_count && (followers >> loop & 1) != 0 ? &publish_kind : &conn_publish_kind;
    publish->command.loop = loop;
    publish->command.kind->at_writer(&publish->command, writer);
}

bool conn_channel_key(const struct channel_name *channel, uint64_t *ret_key)
{
    struct span name = channel_name_span(channel), head = SPAN("conn:");

    return span_starts(name, head) && connection_key_read(span_skip(name, head.len), ret_key);
}

uint16_t shard_publish_elsewhere(const struct shard *shard, const struct publish_command *publish)
{
    uint64_t key;

    if (shard->connection_keys == NULL || shard->connection_keys->tag == 0 || publish->append.is_purge ||
        publish->gate != NULL || !conn_channel_key(publish->append.message->channel, &key))
        return 0;
    return connection_key_elsewhere(shard->connection_keys, key);
}

void shard_address_publish(struct shard *shard, struct publish_command *publish)
{
    uint64_t key;

    if (shard->connection_keys == NULL || !conn_channel_key(publish->append.message->channel, &key) ||
        connection_key_elsewhere(shard->connection_keys, key) != 0)
        return;
    publish->via_loop     = (uint8_t)connection_key_open(shard->connection_keys, key).loop;
    publish->command.kind = &conn_publish_kind;
}
