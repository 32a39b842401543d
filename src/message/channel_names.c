#include "message/channel_names.h"

#include <stdlib.h>

#include "base/must.h"

void channel_names_fini(struct channel_names *names)
{
    for (size_t i = 0; names->at != NULL && i < CHANNEL_NAMES_MAX; i++)
        channel_name_unref(names->at[i]);
    free(names->at);
    names->at = NULL;
}

static struct channel_name **name_place(struct channel_names *names, uint64_t hash)
{
    if (names->at == NULL) {
        names->at = calloc(CHANNEL_NAMES_MAX, sizeof names->at[0]);
        must(names->at != NULL);
    }
    return &names->at[hash % CHANNEL_NAMES_MAX];
}

enum channel_name_fault channel_names_get(struct channel_names *names, struct namespaces *set, const struct hash_key *key,
                                          struct span text, struct channel_name **ret)
{
    uint64_t              hash  = hash_bytes(key, text);
    struct channel_name **place = name_place(names, hash);

    if (*place == NULL || (*place)->hash != hash || !span_eq(channel_name_span(*place), text)) {
        struct channel_name    *name;
        enum channel_name_fault fault = channel_name_new(set, key, text, &name);
        if (fault != CHANNEL_NAME_OK)
            return fault;
        channel_name_unref(*place);
        *place = name;
    }
    *ret = channel_name_ref(*place);
    return CHANNEL_NAME_OK;
}
