/* device_ticket.h - the tickets of sessions: what a link is given, and who comes with one (codec/ticket). Private to this
 * module. */
#ifndef SESSION_DEVICE_TICKET_H
#define SESSION_DEVICE_TICKET_H

#include "auth/identity.h"
#include "codec/ticket/ticket.h"
#include "session/device_link.h"

/* Who comes with a ticket, and what it resumes. Spans point into `bytes`. */
struct ticket_holder {
    struct identity *identity;  /* a reference of the caller's */
    struct span      user, device;
    uint64_t         generation;
    msec             since;
};

/* The ticket of the link's session, as it is now; nothing if its holder's token has ended. Appends. */
void device_ticket_put(const struct link *link, struct buf *buf);

/* Status 0: *ret says who it is. Otherwise 401. `shown`: who came with it, as far as is known without it;
 * NULL: nobody has asked yet. */
struct verdict device_ticket_read(struct session_worker *worker, const struct identity *shown, struct span text,
                                  struct buf *bytes, struct ticket_holder *ret);

#endif
