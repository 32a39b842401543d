#include "main/snapshot.h"

#include <stdlib.h>

#include "base/must.h"

struct snapshot *snapshot_new(const struct settings *settings, const struct snapshot *before)
{
    struct snapshot *snapshot = malloc(sizeof *snapshot);

    must(snapshot != NULL);
    ref_init(&snapshot->ref);
    snapshot->number   = before == NULL ? 1 : before->number + 1;
    snapshot->settings = *settings;
    access_init(&snapshot->access, &snapshot->settings, before == NULL ? NULL : &before->access);
    return snapshot;
}

struct snapshot *snapshot_ref(struct snapshot *snapshot)
{
    ref_get(&snapshot->ref);
    return snapshot;
}

void snapshot_unref(struct snapshot *snapshot)
{
    if (snapshot == NULL || !ref_put(&snapshot->ref))
        return;
    settings_fini(&snapshot->settings);
    free(snapshot);
}

struct command *snapshot_command_new(struct snapshot *snapshot)
{
    struct snapshot_command *command = calloc(1, sizeof *command);

    must(command != NULL);
    command->command.kind = COMMAND_SNAPSHOT;
    command->snapshot    = snapshot_ref(snapshot);
    return &command->command;
}

struct snapshot *snapshot_command_open(struct command *command)
{
    struct snapshot_command *opened   = container_of(command, struct snapshot_command, command);
    struct snapshot        *snapshot = opened->snapshot;

    must(command->kind == COMMAND_SNAPSHOT);
    free(opened);
    return snapshot;
}
