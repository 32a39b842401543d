#include "main/snapshot.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/must.h"
#include "publish/request_check.h"
#include "reactor/tls_section.h"

struct snapshot *snapshot_new(const struct settings *settings, struct tls_sections *tls, const struct snapshot *before)
{
    /* It holds the secrets, so it is in no core dump (threat 108). */
    struct snapshot *snapshot = mmap(NULL, sizeof *snapshot, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    must(snapshot != MAP_FAILED && madvise(snapshot, sizeof *snapshot, MADV_DONTDUMP) == 0);
    ref_init(&snapshot->ref);
    snapshot->number   = before == NULL ? 1 : before->number + 1;
    snapshot->settings = *settings;
    snapshot->tls      = tls;
    snapshot->routes   = request_routes_new(&snapshot->settings);
    return snapshot;
}

struct snapshot *snapshot_ref(struct snapshot *snapshot)
{
    must(snapshot->number > 0);
    ref_get(&snapshot->ref);
    return snapshot;
}

void snapshot_unref(struct snapshot *snapshot)
{
    if (snapshot == NULL || !ref_put(&snapshot->ref))
        return;
    request_routes_free(snapshot->routes);
    tls_sections_unref(snapshot->tls);
    settings_fini(&snapshot->settings);
    munmap(snapshot, sizeof *snapshot);
}

struct snapshot_command {
    struct command   command;
    struct snapshot *snapshot;  /* owns a reference */
};

static void snapshot_command_free(struct command *command)
{
    snapshot_unref(snapshot_command_open(command));
}

static const struct command_kind snapshot_kind = {
    .name = "snapshot", .free = snapshot_command_free, .at_loop = worker_adopt, .at_writer = writer_thread_adopt,
};

struct command *snapshot_command_new(struct snapshot *snapshot)
{
    struct snapshot_command *command = calloc(1, sizeof *command);

    must(command != NULL);
    command->command.kind = &snapshot_kind;
    command->snapshot     = snapshot_ref(snapshot);
    return &command->command;
}

struct snapshot *snapshot_command_open(struct command *command)
{
    struct snapshot_command *opened   = container_of(command, struct snapshot_command, command);
    struct snapshot         *snapshot = opened->snapshot;

    must(command->kind == &snapshot_kind);
    free(opened);
    return snapshot;
}
