#include "uplink/backends.h"

#include <stdlib.h>

#include "base/must.h"

void backends_init(struct backends *set, const struct backend_port *port, void *ctx, uint64_t seed)
{
    *set = (struct backends){ .port = port, .ctx = ctx, .random = { seed } };
    list_init(&set->lost);
}

static void leaving_free(struct backends *set)
{
    for (size_t i = set->leaving_count; i > 0; i--) {
        if (!backend_is_idle(set->leaving[i - 1]))
            continue;
        backend_free(set->leaving[i - 1]);
        set->leaving[i - 1] = set->leaving[--set->leaving_count];
    }
}

void backends_fini(struct backends *set)
{
    leaving_free(set);
    must(set->leaving_count == 0 && list_is_empty(&set->lost));
    free(set->leaving);
    while (set->count > 0)
        backend_free(set->at[--set->count]);
}

struct backend *backends_find(const struct backends *set, struct span name)
{
    for (size_t i = 0; i < set->count; i++)
        if (span_eq(backend_name(set->at[i]), name))
            return set->at[i];
    return NULL;
}

static bool is_named(const struct backend_setup *setups, size_t count, struct span name)
{
    for (size_t i = 0; i < count; i++)
        if (span_eq(setups[i].name, name))
            return true;
    return false;
}

static void backends_drop_unnamed(struct backends *set, const struct backend_setup *setups, size_t count)
{
    for (size_t i = set->count; i > 0; i--) {
        struct backend *backend = set->at[i - 1];
        if (is_named(setups, count, backend_name(backend)))
            continue;
        backend_stop(backend);
        set->leaving = realloc(set->leaving, (set->leaving_count + 1) * sizeof(struct backend *));
        must(set->leaving != NULL);
        set->leaving[set->leaving_count++] = backend;
        set->at[i - 1]                     = set->at[--set->count];
    }
}

void backends_set(struct backends *set, const struct backend_setup *setups, size_t count)
{
    must(count <= BACKEND_NAMES_MAX);
    leaving_free(set);
    backends_drop_unnamed(set, setups, count);
    for (size_t i = 0; i < count; i++) {
        struct backend *backend = backends_find(set, setups[i].name);
        if (backend == NULL)
            backend = set->at[set->count++] = backend_new(setups[i].name, set->port, set->ctx, &set->random);
        backend_set(backend, setups[i].urls, setups[i].url_count, &setups[i].limits);
    }
}

void backends_send(struct backends *set, struct span name, struct backend_call *call)
{
    struct backend *backend = backends_find(set, name);

    if (backend != NULL) {
        backend_send(backend, call, set->now);
        return;
    }
    call->outcome = BACKEND_STOPPED;
    call->is_sent = false;
    call->tries   = 0;
    list_push(&set->lost, &call->link);
}

void backends_turn_begin(struct backends *set, msec now)
{
    set->now = now;
}

static bool lost_tell(struct backends *set)
{
    struct list  lost, *link;
    bool         has_told = false;

    list_init(&lost);
    list_move(&lost, &set->lost);
    while ((link = list_pop(&lost)) != NULL) {
        struct backend_call *call = container_of(link, struct backend_call, link);
        has_told                  = true;
        call->done(call);
    }
    return has_told;
}

bool backends_turn_end(struct backends *set)
{
    bool has_told = false;

    for (size_t i = 0; i < set->count; i++)
        has_told |= backend_turn(set->at[i], set->now);
    for (size_t i = 0; i < set->leaving_count; i++)
        has_told |= backend_turn(set->leaving[i], set->now);
    return lost_tell(set) || has_told;
}

void backends_stop(struct backends *set)
{
    for (size_t i = 0; i < set->count; i++)
        backend_stop(set->at[i]);
}

bool backends_are_idle(const struct backends *set)
{
    bool is_idle = list_is_empty(&set->lost);

    for (size_t i = 0; i < set->count; i++)
        is_idle &= backend_is_idle(set->at[i]);
    for (size_t i = 0; i < set->leaving_count; i++)
        is_idle &= backend_is_idle(set->leaving[i]);
    return is_idle;
}
