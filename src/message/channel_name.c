#include "message/channel_name.h"

#include <stddef.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/must.h"
#include "base/utf8.h"
#include "message/user_name.h"

enum channel_name_fault channel_name_new(struct namespaces *set, const struct hash_key *key, struct span text,
                                         struct channel_name **ret)
{
    struct span rest = text, space_name;

    if (memchr(text.at == NULL ? "" : text.at, ':', text.len) == NULL || !span_cut(&rest, ':', &space_name))
        return CHANNEL_NAME_MALFORMED;
    if (rest.len > CHANNEL_NAME_BYTES_MAX || !utf8_is_valid(rest) || utf8_has_control(rest))
        return CHANNEL_NAME_MALFORMED;

    const struct namespace *space = namespaces_find_for(set, space_name, rest);
    if (space == NULL)
        return CHANNEL_NAME_UNKNOWN;
    /* `all:` is the one channel that needs no name. */
    if (rest.len == 0 && strcmp(space->name, "all") != 0)
        return CHANNEL_NAME_MALFORMED;

    struct channel_name *name = malloc(offsetof(struct channel_name, text) + text.len + 1);
    must(name != NULL);
    ref_init(&name->ref);
    name->len   = (uint16_t)text.len;
    name->hash  = hash_bytes(key, text);
    name->space = space;
    memcpy(name->text, text.at, text.len);
    name->text[text.len] = '\0';
    *ret                 = name;
    return CHANNEL_NAME_OK;
}

struct channel_name *channel_name_of_user(struct namespaces *set, const struct hash_key *key, struct span user)
{
    struct channel_name *name;
    struct buf           text;

    buf_init(&text, sizeof "user:" + USER_NAME_BYTES_MAX);
    buf_put_lit(&text, "user:");
    buf_put(&text, user);
    must(!buf_is_over(&text) && channel_name_new(set, key, buf_span(&text), &name) == CHANNEL_NAME_OK);
    buf_fini(&text);
    return name;
}

void channel_name_unref(struct channel_name *name)
{
    if (name != NULL && ref_put(&name->ref))
        free(name);
}

const char *channel_name_fault_text(enum channel_name_fault fault)
{
    switch (fault) {
    case CHANNEL_NAME_OK: return "ok";
    case CHANNEL_NAME_MALFORMED:
        return "a channel is namespace:name, with 1 to 200 bytes of UTF-8 without control characters as its name";
    case CHANNEL_NAME_UNKNOWN: return "no such namespace; add it to the configuration or use a built-in one";
    }
    return "unknown";
}
