#include "message/message.h"

#include <stdlib.h>

#include "base/must.h"

static char *message_put(char *at, struct span bytes)
{
    if (bytes.len > 0)
        memcpy(at, bytes.at, bytes.len);
    return at + bytes.len;
}

struct message *message_new(struct channel_name *channel, enum message_kind kind, const char *payload,
                            uint32_t payload_len, struct span media, struct span from)
{
    return message_new_tagged(channel, kind, payload, payload_len, media, from, &(struct message_tags){ 0 });
}

struct message *message_new_event(struct channel_name *channel, enum message_kind kind, const char *payload,
                                  uint32_t payload_len, struct span media, struct span from, struct span event)
{
    return message_new_tagged(channel, kind, payload, payload_len, media, from, &(struct message_tags){ .event = event });
}

/* FNV-1a, folded; it only saves comparisons. */
static uint16_t hash_collapse_key(struct span key)
{
    uint32_t hash = 2166136261;

    for (size_t i = 0; i < key.len; i++)
        hash = (hash ^ (uint8_t)key.at[i]) * 16777619;
    return key.len == 0 ? 0 : (uint16_t)(hash ^ hash >> 16);
}

struct message *message_new_tagged(struct channel_name *channel, enum message_kind kind, const char *payload,
                                   uint32_t payload_len, struct span media, struct span from,
                                   const struct message_tags *tags)
{
    const struct span event = tags->event, collapse = tags->collapse_key;

    must(media.len <= MEDIA_BYTES_MAX && from.len <= FROM_BYTES_MAX && event.len <= EVENT_BYTES_MAX &&
         collapse.len <= COLLAPSE_KEY_BYTES_MAX);

    struct message *message = malloc(sizeof *message + payload_len + media.len + from.len + event.len + collapse.len);
    must(message != NULL);
    *message = (struct message){
        .kind        = (uint8_t)kind,
        .media_len   = (uint8_t)media.len,
        .from_len    = (uint8_t)from.len,
        .event_len   = (uint8_t)event.len,
        .payload_len = payload_len,
        .collapse_len   = (uint8_t)collapse.len,
        .collapse_hash  = hash_collapse_key(collapse),
        .waits_for_beat = tags->waits_for_beat,
        .channel     = channel_name_ref(channel),
    };
    ref_init(&message->ref);
    if (payload != NULL && payload_len > 0)
        memcpy(message->bytes, payload, payload_len);
    message_put(message_put(message_put(message_put(message->bytes + payload_len, media), from), event), collapse);
    return message;
}

void message_unref(struct message *message)
{
    if (message == NULL || !ref_put(&message->ref))
        return;
    channel_name_unref(message->channel);
    free(message);
}

struct message *message_recalled(const struct message *message, const struct message *recall)
{
    must(recall->kind == MESSAGE_RECALL);
    /* Media type, sender and event are dropped too, as the stores do: the answer must not depend on where it was read from. */
    struct message *rest = message_new(message->channel, MESSAGE_RECALLED, NULL, 0, SPAN(""), SPAN(""));
    rest->epoch      = message->epoch;
    rest->seq        = message->seq;
    rest->id         = message->id;
    rest->time       = message->time;
    rest->expires_at = message->expires_at;
    rest->target     = recall->seq;
    return rest;
}

const char *gap_why_text(enum gap_why why)
{
    switch (why) {
    case GAP_EXPIRED: return "expired";
    case GAP_TRIMMED: return "trimmed";
    case GAP_EPOCH: return "epoch";
    case GAP_AHEAD: return "ahead";
    case GAP_CORRUPT: return "corrupt";
    case GAP_COLLAPSED: return "collapsed";
    }
    return "unknown";
}
