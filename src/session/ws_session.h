/* ws_session.h - one client on a WebSocket (RFC 6455). Private to this module. ws_session.c opens, watches and closes
 * it; ws_input.c takes the bytes that come in. */
#ifndef SESSION_WS_SESSION_H
#define SESSION_WS_SESSION_H

#include "codec/ws/ws.h"
#include "session/client.h"

/* link.is_over: our Close is sent, or under way. is_answered: the client's Close has come as well; there is nothing
 * more to wait for. is_faulted: the client broke the protocol; what it sends from then on, a Close too, is dropped.
 * is_resting: client_has_too_much_pending(), and the client is not read from. */
struct ws_session {
    struct client  client;
    struct ws      ws;
};

void ws_session_free(struct ws_session *session);
void ws_session_close(struct ws_session *session, uint16_t code, const char *reason);

/* Reads once a turn, so that a client that sends without pause takes no more time than others. False: the session is
 * gone. */
bool ws_session_read(struct ws_session *session);
/* Takes bytes that have come, through the codec to the commands. */
void ws_session_take(struct ws_session *session, char *bytes, size_t len);

#endif
