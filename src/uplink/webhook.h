/* webhook.h - what a webhook is sent: events as a JSON array, and the signature. Pure.
 *
 * An event is a message of sys:events/N. Its payload is a JSON object without `id`, and the message's event name
 * (message_event()) is the event's type. The webhook gets the object with "id" as first member: the id of the message as text, which
 * is unique over all N. A gap is an object of type `gap`, as elsewhere. */
#ifndef UPLINK_WEBHOOK_H
#define UPLINK_WEBHOOK_H

#include "base/buf.h"
#include "message/message.h"

struct webhook_count {
    size_t events, gaps;  /* in the body */
    size_t skipped;       /* events that the webhook does not ask for */
};

/* `kinds`: bits of enum event_kind. */
struct webhook_count webhook_put_body(struct buf *out, const struct channel_name *name, uint64_t epoch,
                                      const struct entry *entries, size_t count, bool is_changed, uint32_t kinds, msec wall);

/* Does a webhook with these kinds get this event? */
bool webhook_wants(uint32_t kinds, const struct message *message);

/* t=UNIX,v1=HEX(hmac_sha256(secret, UNIX "." body)) */
void webhook_put_signature(struct buf *out, struct span secret, int64_t unix_s, struct span body);

#endif
