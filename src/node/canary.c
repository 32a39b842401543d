#include "node/canary.h"

#include <stdlib.h>

#include "base/must.h"
#include "node/shard.h"
#include "node/writer.h"

static void canary_free(struct command *command)
{
    free(container_of(command, struct canary, command));
}

static void shard_take_canary(struct command *command, struct shard *shard)
{
    struct canary *canary = container_of(command, struct canary, command);

    shard_end_question(shard);
    canary->answered(canary);
}

static void writer_take_canary(struct command *command, struct writer *writer)
{
    struct canary *canary = container_of(command, struct canary, command);

    if (writer->cluster == NULL)
        writer_end_canary(writer, canary, CANARY_ALONE);
    else
        writer->cluster->canary(writer->cluster_ctx, canary);
}

const struct command_kind canary_kind = {
    .name = "canary", .free = canary_free, .at_loop = shard_take_canary, .at_writer = writer_take_canary,
};

struct canary *canary_new(void)
{
    struct canary *canary = calloc(1, sizeof *canary);

    must(canary != NULL);
    canary->command.kind = &canary_kind;
    return canary;
}

void shard_send_canary(struct shard *shard, struct canary *canary)
{
    shard_ask_question(shard, &canary->command);
}

void writer_end_canary(struct writer *writer, struct canary *canary, enum canary_end end)
{
    canary->end = end;
    writer->port->send(writer->ctx, canary->command.loop, &canary->command);
}
