/* ws_upgrade.h - from an HTTP request to a WebSocket (RFC 6455 4.2). */
#ifndef HTTP_WS_UPGRADE_H
#define HTTP_WS_UPGRADE_H

#include "codec/ws/ws.h"
#include "http/http.h"

/* False: the exchange has been answered with 400 or 426. The handshake's spans point into the request. */
bool ws_handshake_or_refuse(struct http_server *server, struct http_exchange *exchange,
                            const struct http_request *request, const struct span *ours, size_t ours_count,
                            struct ws_handshake *ret);

/* Accepts it: the exchange ends, and what the stream reads and writes are frames. Only within serve(), for a plan that
 * said is_alone. `protocol` is named if the handshake has found it. *first (initialised) gets bytes that have to leave
 * before the first frame; *unread (initialised) gets frames that the client has sent already. The caller gives the
 * stream an owner with stream_hand_over() before it returns to the loop. */
struct stream *http_open_websocket(struct http_server *server, struct http_exchange *exchange,
                                   const struct ws_handshake *shake, struct span protocol, struct buf *first,
                                   struct buf *unread);

#endif
