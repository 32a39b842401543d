#include "store/digest.h"

uint64_t append_digest(const struct append *append)
{
    const struct message *message = append->message;
    const struct hash_key first   = { message->kind, message->target };
    const struct hash_key second  = { hash_bytes(&first, message_payload(message)), message->payload_len };

    const struct span     event   = message_event(message);
    const uint64_t        digest  = hash_bytes(&second, message_media(message));
    const struct hash_key third   = { digest, event.len };

    /* Digests of messages without an event are as they were before there were events: they stand on disks. */
    return event.len == 0 ? digest : hash_bytes(&third, event);
}
