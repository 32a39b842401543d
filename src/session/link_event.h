/* link_event.h - the events of a link (device/event_log.h).
 *
 * `connected` is noted when the client is let in: when its `connect` is answered, with the handshake of a WebSocket that says a user
 * or channels, with the first command of a client that sends no `connect`, with the head of an event stream, or when a poll begins. A client that says only later who it is is
 * noted again, with its user. A link that was never let in has neither. */
#ifndef SESSION_LINK_EVENT_H
#define SESSION_LINK_EVENT_H

#include "session/link_end.h"

struct link;
struct reader_sub;

/* Why a link ends, as `reason` of `disconnected` has it. */
enum link_gone {
    LINK_GONE_LOST,      /* the connection ended without a goodbye */
    LINK_GONE_CLOSED,    /* the client said goodbye */
    LINK_GONE_ANSWERED,  /* a poll got its answer */
    LINK_GONE_REPLACED,
    LINK_GONE_CUT_OFF,
    LINK_GONE_EXPIRED,
    LINK_GONE_REVOKED,
    LINK_GONE_LEFT,      /* the server sent it away: it stops, is drained, or is short of memory */
    LINK_GONE_SILENT,    /* nothing was heard of the client for too long */
    LINK_GONE_SLOW,      /* the client took nothing for too long */
    LINK_GONE_REFUSED,   /* the server ended it, for something that the client did */
};

/* The first reason counts. */
void link_note_gone(struct link *link, enum link_gone why);
void link_note_end(struct link *link, enum link_end why);

bool link_has_user(const struct link *link);
/* Nothing happens while nobody knows who it is. */
void link_note_connected(struct link *link);
/* Once a link, while the holder and the session are still there. */
void link_note_disconnected(struct link *link);

/* Its client follows this channel; not one that a session follows by itself, or that the server chose. */
void link_note_subscribed(struct link *link, struct reader_sub *sub);
/* It does no longer, and the link goes on. */
void link_note_unsubscribed(struct link *link, struct reader_sub *sub);

#endif
