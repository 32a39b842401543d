#include "node/connection_command.h"

#include <stdlib.h>

#include "base/must.h"
#include "node/connection_key.h"
#include "node/shard.h"
#include "node/tail.h"
#include "node/writer.h"

static void connection_command_free(struct command *command)
{
    free(container_of(command, struct connection_command, command));
}

static void shard_take_connection(struct command *command, struct shard *shard)
{
    struct connection_command *connection = container_of(command, struct connection_command, command);

    if (connection->is_home) {
        shard->away_count--;
        connection->answered(connection);
        return;
    }
    if (shard->port->connection != NULL)
        shard->port->connection(shard->ctx, connection);
    connection->is_home = true;
    shard->port->send(shard->ctx, command);
}

/* A key that somebody made up may name a loop that is not there. */
static void writer_take_connection(struct command *command, struct writer *writer)
{
    struct connection_command *connection = container_of(command, struct connection_command, command);

    if (connection->loop >= writer->loop_count)
        connection->is_home = true;
    writer->port->send(writer->ctx, connection->is_home ? connection->asker : connection->loop, command);
}

static const struct command_kind connection_kind = {
    .name = "connection", .free = connection_command_free, .at_loop = shard_take_connection,
    .at_writer = writer_take_connection,
};

struct connection_command *connection_command_new(uint64_t key)
{
    struct connection_command *command = calloc(1, sizeof *command);

    must(command != NULL);
    command->command.kind = &connection_kind;
    command->key          = key;
    return command;
}

void shard_ask_connection(struct shard *shard, struct connection_command *command)
{
    const struct connection_keys *keys = shard->connection_keys;


    shard->away_count++;
    command->command.loop = shard->loop;
    command->asker        = shard->loop;
    command->loop         = connection_key_elsewhere(keys, command->key) != 0 ? LOOPS_MAX
                                                                             : connection_key_open(keys, command->key).loop;
    shard->port->send(shard->ctx, &command->command);
}
