#include "main/nodes_news.h"

#include <stdlib.h>

#include "base/must.h"
#include "main/worker.h"

struct nodes_news {
    struct command  command;
    struct registry registry;
};

static void nodes_news_free(struct command *command)
{
    struct nodes_news *news = container_of(command, struct nodes_news, command);

    registry_fini(&news->registry);
    free(news);
}

static void nodes_news_at_loop(struct command *command, struct shard *shard)
{
    struct nodes_news *news   = container_of(command, struct nodes_news, command);
    struct worker     *worker = container_of(shard, struct worker, shard);
    struct registry    before = worker->nodes;

    worker->nodes  = news->registry;
    news->registry = before;
    command_free(command);
}

static const struct command_kind nodes_news_kind = {
    .name = "nodes_news", .free = nodes_news_free, .at_loop = nodes_news_at_loop,
};

void nodes_news_send(struct writer *writer, const struct registry *registry)
{
    for (unsigned loop = 0; loop < writer->loop_count; loop++) {
        struct nodes_news *news = calloc(1, sizeof *news);
        must(news != NULL);
        news->command.kind = &nodes_news_kind;
        registry_init(&news->registry);
        registry_copy(&news->registry, registry);
        writer->port->send(writer->ctx, loop, &news->command);
    }
}
