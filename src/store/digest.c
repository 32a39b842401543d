#include "store/digest.h"

uint64_t append_digest(const struct append *append)
{
    const struct message *message = append->message;
    const struct hash_key first   = { message->kind, message->target };
    const struct hash_key second  = { hash_bytes(&first, message_payload(message)), message->payload_len };

    return hash_bytes(&second, message_media(message));
}
