#include "message/namespace.h"

#define DAY_MS (24 * 3600 * INT64_C(1000))

enum { PAYLOAD_BYTES_MAX_DEFAULT = 1024 * 1024, LIVE_COUNT = 1000, LIVE_MS = 5 * 60 * 1000 };

static const struct namespace built_in[] = {
    { .name = "user", .id_kind = ID_DIRECT },
    { .name = "device", .id_kind = ID_DIRECT },
    { .name = "group", .id_kind = ID_GROUP },
    { .name = "topic", .id_kind = ID_OPEN },
    { .name = "all", .id_kind = ID_OPEN },
    { .name = "live", .durability = MEMORY, .keep_ms = LIVE_MS, .keep_count = LIVE_COUNT },
    { .name = "conn", .durability = NONE },
    { .name = "sys", .durability = MEMORY, .keep_ms = LIVE_MS, .keep_count = LIVE_COUNT, .publish = ALLOW_NOBODY },
};

void namespaces_init(struct namespaces *set)
{
    set->count = 0;
    for (size_t i = 0; i < sizeof built_in / sizeof built_in[0]; i++) {
        struct namespace *space = &set->at[set->count++];
        *space                   = built_in[i];
        space->payload_bytes_max = PAYLOAD_BYTES_MAX_DEFAULT;
        if (space->durability == DURABLE)
            space->keep_ms = 7 * DAY_MS;
        else
            space->id_kind = ID_MEMORY;
        /* Once there are keys, publishing takes one. A person's own channels are not open to strangers. */
        if (space->publish == ALLOW_ANYONE)
            space->publish = ALLOW_KEY;
        if (space->id_kind == ID_DIRECT || space->id_kind == ID_GROUP || space->durability == NONE)
            space->subscribe = ALLOW_KEY;
    }
}

struct namespace *namespaces_find(struct namespaces *set, struct span name)
{
    for (size_t i = 0; i < set->count; i++)
        if (span_eq(span_str(set->at[i].name), name))
            return &set->at[i];
    return NULL;
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
