#include "message/slot.h"

#include <string.h>

/* FNV-1a of 32 bits, folded: simple enough that SQL and other languages can compute it as well. */
static unsigned slot_hash(struct span name)
{
    uint32_t hash = 2166136261u;

    for (size_t i = 0; i < name.len; i++)
        hash = (hash ^ (uint8_t)name.at[i]) * 16777619u;
    return (hash ^ hash >> 12 ^ hash >> 24) % SLOT_COUNT;
}

/* What follows `head`; empty if nothing does, or the text begins otherwise. */
static struct span behind(struct span text, struct span head)
{
    return span_starts(text, head) ? span_skip(text, head.len) : SPAN("");
}

/* U of user:U and of device:U/D; empty of other channels. */
static struct span user_of(struct span channel)
{
    struct span user = behind(channel, SPAN("user:")), device = behind(channel, SPAN("device:"));

    if (user.len > 0)
        return user;
    span_cut(&device, '/', &user);
    return user;
}

unsigned slot_of_channel(struct span channel)
{
    struct span name = user_of(channel);

    if (name.len == 0)
        name = behind(channel, SPAN("group:"));
    return slot_hash(name.len > 0 ? name : channel);
}

unsigned slot_of_row(struct span key)
{
    struct span name = key;

    span_cut(&key, '\0', &name);
    return slot_hash(name);
}

struct span route_name(struct span channel, char scratch[ROUTE_NAME_BYTES_MAX])
{
    struct span user = span_starts(channel, SPAN("device:")) ? user_of(channel) : SPAN("");

    if (user.len == 0 || user.len > ROUTE_NAME_BYTES_MAX - 5)
        return channel;
    memcpy(scratch, "user:", 5);
    memcpy(scratch + 5, user.at, user.len);
    return span_of(scratch, 5 + user.len);
}
