/* event_kind.h - the kinds of events that sys:events/N tells and webhooks are sent, as bits of a set. Pure. */
#ifndef MESSAGE_EVENT_KIND_H
#define MESSAGE_EVENT_KIND_H

#include "base/span.h"

enum event_kind {
    EVENT_KIND_CONNECTED    = 1 << 0,
    EVENT_KIND_DISCONNECTED = 1 << 1,
    EVENT_KIND_SUBSCRIBED   = 1 << 2,
    EVENT_KIND_UNSUBSCRIBED = 1 << 3,
    EVENT_KIND_JOINED       = 1 << 4,  /* a group, as a stored member */
    EVENT_KIND_LEFT         = 1 << 5,
    EVENT_KIND_OCCUPIED     = 1 << 6,  /* a channel whose presence is known has its first device … */
    EVENT_KIND_VACATED      = 1 << 7,  /* … or lost its last one */
    EVENT_KIND_ACKNOWLEDGED = 1 << 8,
    EVENT_KIND_OFFLINE      = 1 << 9,  /* a message for a device or a user without a link */
};

enum { EVENT_KIND_COUNT = 10 };

/* "connected"; NULL: not one bit of a kind. */
const char *event_kind_name(enum event_kind kind);

/* False: no kind has this name. */
bool event_kind_find(struct span name, enum event_kind *ret);

#endif
