/* event_name.h - the name of the event that a message is, as its publisher says it: `event:` of server-sent events in
 * raw form, "event" in message objects. Pure. */
#ifndef MESSAGE_EVENT_NAME_H
#define MESSAGE_EVENT_NAME_H

#include "base/span.h"

enum { EVENT_BYTES_MAX = 64 };

enum event_verdict {
    EVENT_FINE,
    EVENT_MALFORMED,  /* not 1 to EVENT_BYTES_MAX bytes of UTF-8 without control characters (C0, DEL, C1) */
    EVENT_RESERVED,   /* a name by which the server or the browser itself speaks; a page would be fooled */
};

enum event_verdict event_name_judge(struct span name);

#endif
