/* ws_session.h - one client on a WebSocket (RFC 6455). Private to this module: ws_session.c is its life, ws_input.c the
 * bytes that come in. */
#ifndef SESSION_WS_SESSION_H
#define SESSION_WS_SESSION_H

#include "codec/ws/ws.h"
#include "session/client.h"
#include "session/ws_idle.h"

/* link.is_over: our Close is sent, or on its way. is_answered: the client's Close has come as well; there is nothing more
 * to wait for. is_faulted: the client broke the protocol; what it says now, a Close too, is not understood. is_resting:
 * too much is owed to it, and it is not read from. */
struct ws_session {
    struct client  client;
    struct ws      ws;
    struct timer   timer;   /* the next look at how silent it is; behind our Close: the end of our patience */
    struct ws_idle idle;
};

void ws_session_free(struct ws_session *session);
void ws_session_close(struct ws_session *session, uint16_t code, const char *reason);

/* Reads once: who sends without end gets a turn no longer than others do. False: the session is gone. */
bool ws_session_read(struct ws_session *session);
/* What has come, from the codec to the commands. */
void ws_session_take(struct ws_session *session, char *bytes, size_t len);

#endif
