#include "node/command.h"

#include <stdlib.h>

#include "base/must.h"

struct publish_command *publish_command_new(struct message **take_message, struct span key, struct span publisher)
{
    struct publish_command *command = calloc(1, sizeof *command + key.len + publisher.len);

    must(command != NULL);
    command->command.kind      = COMMAND_PUBLISH;
    command->append.message   = *take_message;
    command->append.key       = span_of(command->words, key.len);
    command->append.publisher = span_of(command->words + key.len, publisher.len);
    if (key.len > 0)
        memcpy(command->words, key.at, key.len);
    if (publisher.len > 0)
        memcpy(command->words + key.len, publisher.at, publisher.len);
    *take_message = NULL;
    return command;
}

struct read_command *read_command_new(struct channel_name *channel)
{
    struct read_command *command = calloc(1, sizeof *command);

    must(command != NULL);
    command->command.kind  = COMMAND_READ;
    command->read.channel = channel_name_ref(channel);
    return command;
}

struct count_command *count_command_new(struct channel_name *channel)
{
    struct count_command *command = calloc(1, sizeof *command);

    must(command != NULL);
    command->command.kind = COMMAND_COUNT;
    command->channel     = channel_name_ref(channel);
    return command;
}

bool command_tells_of_log(const struct command *command)
{
    return command->kind == COMMAND_DELIVER || command->kind == COMMAND_FOLLOW || command->kind == COMMAND_READ;
}

void command_free(struct command *command)
{
    if (command == NULL)
        return;
    switch (command->kind) {
    case COMMAND_PUBLISH:
        message_unref(container_of(command, struct publish_command, command)->append.message);
        break;
    case COMMAND_READ: {
        struct read_command *read = container_of(command, struct read_command, command);
        store_read_fini(&read->read);
        channel_name_unref(read->read.channel);
        break;
    }
    case COMMAND_FOLLOW:
    case COMMAND_UNFOLLOW:
        channel_name_unref(container_of(command, struct follow_command, command)->channel);
        break;
    case COMMAND_DELIVER: {
        struct deliver_command *deliver = container_of(command, struct deliver_command, command);
        for (uint32_t i = 0; i < deliver->count; i++)
            message_unref(deliver->messages[i]);
        break;
    }
    case COMMAND_COMMITTED:
    case COMMAND_HEAD:
        must(!"these live inside the writer's own structures");
        break;
    case COMMAND_COUNT:
        channel_name_unref(container_of(command, struct count_command, command)->channel);
        break;
    case COMMAND_SNAPSHOT:
        must(!"main opens these itself");
        break;
    case COMMAND_STATS:
        break;
    }
    free(command);
}
