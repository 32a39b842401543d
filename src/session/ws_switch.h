/* ws_switch.h - from an HTTP request to a WebSocket (RFC 6455 4.2), for sessions and for the echo. */
#ifndef SESSION_WS_SWITCH_H
#define SESSION_WS_SWITCH_H

#include "codec/ws/ws.h"
#include "http/http.h"

/* False: the exchange has been answered with 400 or 426. */
bool ws_handshake_or_refuse(struct http_server *server, struct http_exchange *exchange,
                            const struct http_request *request, const struct span *ours, size_t ours_count,
                            struct ws_handshake *ret);

/* The 101 answer. The handshake's spans still point into the request. */
void ws_put_switch(struct buf *buf, const struct ws_handshake *shake, struct span protocol, struct http_server *server,
                   const struct http_exchange *exchange);

#endif
