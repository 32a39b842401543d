#include "message/namespace.h"

#include <stdio.h>

#define DAY_MS (24 * 3600 * INT64_C(1000))

enum {
    PAYLOAD_BYTES_MAX_DEFAULT = 1024 * 1024,
    LIVE_COUNT                = 1000,
    LIVE_MS                   = 5 * 60 * 1000,
    FORWARD_BATCH_DEFAULT     = 100,
    FORWARD_TRIES_DEFAULT     = 5,
};

static const struct namespace built_in[] = {
    { .name = "user", .id_kind = ID_DIRECT, .subscribe = ALLOW_MEMBER, .publish = ALLOW_KEY,
      .membership = MEMBER_IS_USER },
    { .name = "device", .id_kind = ID_DIRECT, .subscribe = ALLOW_MEMBER, .publish = ALLOW_KEY,
      .membership = MEMBER_IS_OWNER },
    { .name = "group", .id_kind = ID_GROUP, .subscribe = ALLOW_MEMBER, .publish = ALLOW_KEY },
    { .name = "topic", .id_kind = ID_OPEN, .subscribe = ALLOW_ANYONE, .publish = ALLOW_GRANT },
    { .name = "all", .id_kind = ID_OPEN, .subscribe = ALLOW_ANYONE, .publish = ALLOW_GRANT },
    { .name = "live", .durability = MEMORY, .keep_ms = LIVE_MS, .keep_count = LIVE_COUNT, .subscribe = ALLOW_ANYONE,
      .publish = ALLOW_GRANT },
    { .name = "conn", .durability = NONE, .subscribe = ALLOW_MEMBER, .publish = ALLOW_KEY,
      .membership = MEMBER_IS_LINK },
    { .name = "sys", .durability = MEMORY, .keep_ms = LIVE_MS, .keep_count = LIVE_COUNT, .subscribe = ALLOW_KEY,
      .publish = ALLOW_NOBODY, .is_servers = true },
};

static void own_policy_init(struct namespace *space, msec keep_ms)
{
    *space = (struct namespace){
        .name = "sys", .durability = DURABLE, .id_kind = ID_OPEN, .keep_ms = keep_ms,
        .payload_bytes_max = PAYLOAD_BYTES_MAX_DEFAULT, .subscribe = ALLOW_KEY, .publish = ALLOW_NOBODY,
        .is_servers = true,
    };
}

/* sys:control is kept a little longer than the longest life of a token that a revocation in it refuses (token_life_s_max). */
static void own_policies_init(struct namespaces *set)
{
    own_policy_init(&set->control, 400 * DAY_MS);
    own_policy_init(&set->dead, 30 * DAY_MS);
    own_policy_init(&set->events, 7 * DAY_MS);
}

const struct namespace *namespaces_own(const struct namespaces *set, size_t i, char text[OWN_POLICY_TEXT],
                                       struct span *ret_channel)
{
    const struct namespace *space = i == 0 ? &set->control : i == 1 ? &set->dead : &set->events;

    must(i < OWN_POLICIES);
    if (i >= 2)
        snprintf(text, OWN_POLICY_TEXT, "sys:events/%zu", i - 2);
    else
        snprintf(text, OWN_POLICY_TEXT, "sys:%s", i == 0 ? "control" : "dead");
    *ret_channel = span_str(text);
    return space;
}

void namespaces_init(struct namespaces *set)
{
    set->count = 0;
    own_policies_init(set);
    for (size_t i = 0; i < sizeof built_in / sizeof built_in[0]; i++) {
        struct namespace *space = &set->at[set->count++];
        *space                   = built_in[i];
        space->payload_bytes_max = PAYLOAD_BYTES_MAX_DEFAULT;
        space->forward_batch     = FORWARD_BATCH_DEFAULT;
        space->forward_tries     = FORWARD_TRIES_DEFAULT;
        if (space->durability == DURABLE)
            space->keep_ms = 7 * DAY_MS;
        else
            space->id_kind = ID_MEMORY;
    }
}

struct namespace *namespaces_find(struct namespaces *set, struct span name)
{
    for (size_t i = 0; i < set->count; i++)
        if (span_eq(span_str(set->at[i].name), name))
            return &set->at[i];
    return NULL;
}

/* 0 … EVENT_LOGS - 1, without leading zeros. */
static bool is_event_log(struct span name)
{
    struct span head = SPAN("events/");
    uint64_t    number;

    if (!span_starts(name, head))
        return false;
    name = span_skip(name, head.len);
    return span_u64(name, &number) && number < EVENT_LOGS && name.len == (number < 10 ? 1 : 2);
}

const struct namespace *namespaces_find_for(struct namespaces *set, struct span space, struct span name)
{
    if (!span_eq(space, SPAN("sys")))
        return namespaces_find(set, space);
    if (span_eq(name, SPAN("control")))
        return &set->control;
    if (span_eq(name, SPAN("dead")))
        return &set->dead;
    return is_event_log(name) ? &set->events : namespaces_find(set, space);
}

static bool name_is_valid(struct span name)
{
    if (name.len == 0 || name.len > NAMESPACE_NAME_BYTES_MAX || name.at[0] < 'a' || name.at[0] > 'z')
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.at[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
            return false;
    }
    return true;
}

enum rc namespaces_add(struct namespaces *set, struct span name, struct namespace **ret)
{
    if (!name_is_valid(name))
        return RC_BAD;
    if (namespaces_find(set, name) != NULL)
        return RC_BUSY;
    if (set->count == NAMESPACES_MAX)
        return RC_FULL;

    struct namespace *space = &set->at[set->count++];
    *space                  = *namespaces_find(set, SPAN("topic"));
    memset(space->name, 0, sizeof space->name);
    memcpy(space->name, name.at, name.len);
    *ret = space;
    return RC_OK;
}
