#include "device/device_view.h"

#include <stdlib.h>

#include "base/must.h"
#include "device/device_look.h"

struct device_view_work {
    struct device_view *view;
    struct device_look  look;
};

static struct device_view *view_of(struct command *command)
{
    return container_of(command, struct device_view, command);
}

static void device_view_work_free(struct device_view *view)
{
    if (view->work != NULL)
        device_look_fini(&view->work->look);
    free(view->work);
    view->work = NULL;
}

static void device_view_free(struct command *command)
{
    struct device_view *view = view_of(command);

    device_view_work_free(view);
    channel_name_unref(view->channel);
    free(view->at);
    free(view);
}

static void device_view_drop(struct device_look *look)
{
    command_free(&container_of(look, struct device_view_work, look)->view->command);
}

static void device_view_send(struct device_view *view)
{
    struct writer *writer = view->devices->writer;

    device_view_work_free(view);
    writer->port->send(writer->ctx, view->command.loop, &view->command);
}

static void device_view_looked(struct device_look *look, enum rc rc)
{
    (void)rc;  /* the ledger was not asked */
    device_view_send(container_of(look, struct device_view_work, look)->view);
}

static void device_view_remember(struct device_view *view)
{
    for (size_t i = 0; i < view->count; i++) {
        struct device_facts   *facts    = &view->at[i];
        const struct standing *standing = standing_find(view->devices, span_str(facts->user), span_str(facts->device));
        device_facts_remember(view->devices, facts);
        facts->generation = standing == NULL ? 0 : standing->generation;
    }
}

static void device_view_at_writer(struct command *command, struct writer *writer)
{
    struct device_view *view = view_of(command);

    (void)writer;
    device_view_remember(view);
    if (view->channel == NULL) {
        device_view_send(view);
        return;
    }
    view->work = calloc(1, sizeof *view->work);
    must(view->work != NULL);
    view->work->view = view;
    view->work->look = (struct device_look){
        .devices = view->devices, .channel = view->channel, .at = view->at, .count = view->count,
        .message = { .epoch = UINT64_MAX, .seq = UINT64_MAX }, .done = device_view_looked, .drop = device_view_drop,
    };
    device_look_at_links(&view->work->look);
}

static void device_view_at_loop(struct command *command, struct shard *shard)
{
    struct device_view *view = view_of(command);

    shard_end_question(shard);
    view->answered(view);
}

static const struct command_kind device_view_kind = {
    .name = "device_view", .free = device_view_free, .at_loop = device_view_at_loop, .at_writer = device_view_at_writer,
};

struct device_view *device_view_new(struct devices *devices, struct channel_name *channel, size_t count)
{
    struct device_view *view = calloc(1, sizeof *view);

    must(view != NULL && count <= DEVICE_VIEW_MAX);
    view->command.kind = &device_view_kind;
    view->devices      = devices;
    view->channel      = channel == NULL ? NULL : channel_name_ref(channel);
    view->count        = count;
    view->at           = calloc(count + 1, sizeof view->at[0]);
    must(view->at != NULL);
    return view;
}

void shard_ask_view(struct shard *shard, struct device_view *view)
{
    shard_ask_question(shard, &view->command);
}
