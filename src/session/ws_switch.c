#include "session/ws_switch.h"

bool ws_handshake_or_refuse(struct http_server *server, struct http_exchange *exchange,
                            const struct http_request *request, const struct span *ours, size_t ours_count,
                            struct ws_handshake *ret)
{
    const struct h1_head *head  = request->head;
    struct ws_handshake   shake = { 0 };
    const char           *why;

    /* RFC 9110 7.8: an Upgrade is named in Connection too. */
    struct span fields = SPAN("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n");

    for (size_t i = 0; i < head->field_count; i++)
        ws_handshake_see(&shake, head->fields[i].name, head->fields[i].value, ours, ours_count);
    switch (ws_check_handshake(&shake, ours_count, &why)) {
    case WS_OFFER_OK:
        break;
    case WS_OFFER_BAD:
        http_problem(server, exchange, 400, NULL, why, SPAN(""));
        return false;
    case WS_OFFER_UPGRADE:
        http_problem(server, exchange, 426, NULL, why, fields);
        return false;
    }
    if (!head->is_websocket) {
        http_problem(server, exchange, 400, NULL, "a WebSocket begins with a GET of HTTP/1.1 without a body", SPAN(""));
        return false;
    }
    *ret = shake;
    return true;
}

void ws_put_switch(struct buf *buf, const struct ws_handshake *shake, struct span protocol, struct http_server *server,
                   const struct http_exchange *exchange)
{
    char accept[WS_ACCEPT_BYTES];

    ws_accept(shake->key, accept);
    buf_put_lit(buf, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    http_put_date(server, buf);
    buf_put_lit(buf, "Sec-WebSocket-Accept: ");
    buf_put(buf, span_of(accept, sizeof accept));
    buf_put_lit(buf, "\r\n");
    if (shake->is_protocol_found) {
        buf_put_lit(buf, "Sec-WebSocket-Protocol: ");
        buf_put(buf, protocol);
        buf_put_lit(buf, "\r\n");
    }
    http_put_cors(exchange, buf);
    buf_put_lit(buf, "\r\n");
}
