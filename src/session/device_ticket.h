/* device_ticket.h - the tickets of sessions: what a link is given, and who comes with one (codec/ticket). Private to this
 * module. */
#ifndef SESSION_DEVICE_TICKET_H
#define SESSION_DEVICE_TICKET_H

#include "auth/identity.h"
#include "codec/ticket/ticket.h"
#include "session/client_command.h"
#include "session/device_link.h"

/* Who comes with a ticket, and what it resumes. Spans point into `bytes`. */
struct ticket_holder {
    struct identity *identity;  /* a reference of the caller's */
    struct span      user, device;
    uint64_t         generation;
    msec             since;
    uint64_t         token_mark;  /* ticket_mark() */
};

/* The ticket of the link's session, as it is now; nothing if its holder's token has ended. `token_mark`: of the token that the holder
 * came with, 0: none. Appends. */
void device_ticket_put(const struct link *link, uint64_t token_mark, struct buf *buf);

/* Status 0: *ret says who it is. Otherwise 401. `shown`: who came with it, as far as is known without it;
 * NULL: nobody has asked yet. */
struct verdict device_ticket_read(struct session_worker *worker, const struct identity *shown, struct span text,
                                  struct buf *bytes, struct ticket_holder *ret);

/* Does the `connect` come from the holder of the ticket beside its token? It does with the token that the holder came with, or, where
 * no connect hook reads tokens, with a JWT that names the same user, and the device if it names one. The JWT's signature and end are not
 * looked at: if they are wrong, the ticket alone says as much. Without a token a server that believes everybody goes by the names.
 * True: *ret_mark is what the next ticket has to remember of the token. */
bool device_ticket_is_of_comer(struct session_worker *worker, const struct ticket_holder *holder, const struct client_connect *connect,
                               uint64_t *ret_mark);

/* The device of this user that the ticket was given to, whether it has ended or not; empty: it is none of theirs. Lies in `bytes`. */
struct span device_ticket_device(struct session_worker *worker, struct span text, struct span user, struct buf *bytes);

/* What the next ticket has to remember of the token that came with this `connect`, or with the ticket in it. */
uint64_t device_ticket_mark(struct session_worker *worker, const struct client_connect *connect);

#endif
