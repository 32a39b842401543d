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
    guard_init(&snapshot->guard, &snapshot->settings, before == NULL ? NULL : &before->guard);
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

struct letter *snapshot_letter_new(struct snapshot *snapshot)
{
    struct snapshot_letter *letter = calloc(1, sizeof *letter);

    must(letter != NULL);
    letter->letter.kind = LETTER_SNAPSHOT;
    letter->snapshot    = snapshot_ref(snapshot);
    return &letter->letter;
}

struct snapshot *snapshot_letter_open(struct letter *letter)
{
    struct snapshot_letter *opened   = container_of(letter, struct snapshot_letter, letter);
    struct snapshot        *snapshot = opened->snapshot;

    must(letter->kind == LETTER_SNAPSHOT);
    free(opened);
    return snapshot;
}
