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

enum { WAYS = 2, SETS = CHANNEL_NAMES_MAX / WAYS };
_Static_assert(SETS == 1 << 11, "text_place() takes so many bits");

static uint64_t text_mix(uint64_t mixed, uint64_t word)
{
    mixed = (mixed ^ word) * 0x9e3779b97f4a7c15u;
    return mixed ^ mixed >> 32;
}

/* Where a text stands says nothing of it, and who chooses texts for one set only has them made anew, each time. So this need not be
 * as good as the hash of the name, which costs more than all the rest here and is made with the name. Names often differ in their last
 * bytes alone: these are the upper ones of the last word, and change only upper bits of the product, so the set is taken from those. */
static size_t text_place(const struct hash_key *key, struct span text)
{
    uint64_t mixed = key->k0 ^ text.len, word = 0;
    size_t   i     = 0;

    for (; i + sizeof word <= text.len; i += sizeof word) {
        memcpy(&word, text.at + i, sizeof word);
        mixed = text_mix(mixed, word);
    }
    if (i > 0)
        memcpy(&word, text.at + text.len - sizeof word, sizeof word);
    else if (text.len > 0)
        memcpy(&word, text.at, text.len);
    return (size_t)(text_mix(mixed, word) >> 53);
}

/* Its two places. */
static struct channel_name **names_places(struct channel_names *names, size_t set)
{
    if (names->at == NULL) {
        names->at = calloc(CHANNEL_NAMES_MAX, sizeof names->at[0]);
        must(names->at != NULL);
    }
    return &names->at[set * WAYS];
}

static bool name_has_text(const struct channel_name *name, struct span text)
{
    return name != NULL && span_eq(channel_name_span(name), text);
}

/* The name that was made last stands first, the one that was made before it second. */
enum channel_name_fault channel_names_get(struct channel_names *names, struct namespaces *set, const struct hash_key *key,
                                          struct span text, struct channel_name **ret)
{
    struct channel_name   **places = names_places(names, text_place(key, text)), *name;
    enum channel_name_fault fault;

    if (name_has_text(places[0], text)) {
        *ret = channel_name_ref(places[0]);
        return CHANNEL_NAME_OK;
    }
    if (name_has_text(places[1], text)) {
        *ret = channel_name_ref(places[1]);
        return CHANNEL_NAME_OK;
    }
    fault = channel_name_new(set, key, text, &name);
    if (fault != CHANNEL_NAME_OK)
        return fault;
    channel_name_unref(places[1]);
    places[1] = places[0];
    places[0] = name;
    *ret      = channel_name_ref(name);
    return CHANNEL_NAME_OK;
}
