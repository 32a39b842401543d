/* native_session.h - one client on the native protocol: frames of longwire.bin.v1 on a stream, without HTTP. Private to this
 * module. native_session.c opens, watches and closes it; native_input.c takes the bytes that come in.
 *
 * The first frame is a `connect`. Until it is carried out, link.holder is NULL, and nothing else is understood. */
#ifndef SESSION_NATIVE_SESSION_H
#define SESSION_NATIVE_SESSION_H

#include "session/client.h"

/* link.is_over: `closing` is sent, or under way; what still comes is dropped. is_answered: the first `connect` was carried
 * out. is_faulted: the client has closed its direction, and only our last words are still sent. is_resting:
 * client_has_too_much_pending(), and the client is not read from. */
struct native_session {
    struct client client;
};

_Static_assert(sizeof(struct native_session) == sizeof(struct client), "an idle client pays for nothing more");

void native_session_free(struct native_session *session);
/* Says `closing` and ends our side. */
void native_session_close(struct native_session *session, uint16_t code, const char *reason);

/* Reads once a turn, so that a client that sends without pause takes no more time than others. False: the session is
 * gone. */
bool native_session_read(struct native_session *session);
/* Takes bytes that have come, frame by frame. */
void native_session_take(struct native_session *session, struct span bytes);

/* Has a `connect` been carried out? Then all frames are understood from now on. */
void native_session_note_connect(struct native_session *session);

void native_put_closing(struct buf *words, uint16_t code, const char *reason);

#endif
