#include "main/fetch_command.h"

#include <stdlib.h>

#include "base/must.h"
#include "main/command_mail.h"
#include "main/server.h"

static void fetch_command_free(struct command *command)
{
    struct fetch_command *fetch = container_of(command, struct fetch_command, command);

    fetch_call_free(fetch->call);
    free(fetch);
}

static void fetch_at_loop(struct command *command, struct shard *shard)
{
    struct fetch_command *fetch = container_of(command, struct fetch_command, command);

    (void)shard;
    if (fetch->owner != NULL)
        fetch->answered(fetch->owner, fetch);
    fetch_command_free(command);
}

static const struct command_kind fetch_kind = { .name = "fetch", .free = fetch_command_free, .at_loop = fetch_at_loop };

/* On the thread of the fetch module. */
static void fetch_came_back(struct fetch_call *call)
{
    struct fetch_command *fetch = call->owner;
    command_mail_put(&fetch->worker->loop.mailbox, &fetch->command);
}

struct fetch_command *fetch_command_send(struct worker *worker, struct fetch_call *call,
                                         void (*answered)(void *owner, struct fetch_command *command), void *owner)
{
    struct fetch_command *fetch = calloc(1, sizeof *fetch);

    must(fetch != NULL);
    *fetch = (struct fetch_command){ .command.kind = &fetch_kind, .worker = worker, .call = call,
                                     .answered = answered, .owner = owner };
    call->done  = fetch_came_back;
    call->owner = fetch;
    if (fetch_is_started(worker->server->fetch) && fetch_send(worker->server->fetch, call))
        return fetch;
    fetch_call_free(call);
    fetch->call = NULL;
    command_mail_put(&worker->loop.mailbox, &fetch->command);
    return fetch;
}

void fetch_command_cancel(struct fetch_command *command)
{
    command->owner = NULL;
    if (command->call != NULL && fetch_is_started(command->worker->server->fetch))
        fetch_cancel(command->call);
}
