#include "http/ws_upgrade.h"

bool ws_handshake_or_refuse(struct http_server *server, struct http_exchange *exchange,
                            const struct http_request *request, const struct span *ours, size_t ours_count,
                            struct ws_handshake *ret)
{
    const struct request_head *head  = request->head;
    struct ws_handshake        shake = { .is_extended = head->is_extended };
    const char                *why;

    /* RFC 9110 7.8: an Upgrade is named in Connection too. */
    struct http_fields fields = HTTP_FIELDS({ SPAN("Connection"), SPAN("Upgrade") },
                                            { SPAN("Upgrade"), SPAN("websocket") },
                                            { SPAN("Sec-WebSocket-Version"), SPAN("13") });

    for (size_t i = 0; i < head->field_count; i++)
        ws_handshake_see(&shake, head->fields[i].name, head->fields[i].value, ours, ours_count);
    switch (ws_check_handshake(&shake, ours_count, &why)) {
    case WS_OFFER_OK:
        break;
    case WS_OFFER_BAD:
        http_problem(server, exchange, 400, NULL, why, HTTP_NO_FIELDS);
        return false;
    case WS_OFFER_UPGRADE:
        http_problem(server, exchange, 426, NULL, why, fields);
        return false;
    }
    if (!head->is_websocket) {
        http_problem(server, exchange, 400, NULL, "a WebSocket begins with a GET of HTTP/1.1 without a body",
                     HTTP_NO_FIELDS);
        return false;
    }
    *ret = shake;
    return true;
}
