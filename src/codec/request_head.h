/* request_head.h - what HTTP requests of all versions say: a method, a target, a host, fields. How a request is framed
 * is the business of its version (h1/h1.h). */
#ifndef CODEC_REQUEST_HEAD_H
#define CODEC_REQUEST_HEAD_H

#include "base/span.h"

enum { REQUEST_FIELDS_MAX = 64 };

struct http_field {
    struct span name, value;  /* the value without white space around it */
};

enum http_method { HTTP_GET, HTTP_HEAD, HTTP_POST, HTTP_PUT, HTTP_DELETE, HTTP_OPTIONS, HTTP_PATCH, HTTP_OTHER };

struct request_head {
    enum http_method  method;
    bool              is_websocket;  /* asks for a WebSocket, and may be given one */
    bool              is_extended;   /* … by an extended CONNECT (RFC 8441): the method is GET here, and there is no key */
    struct span       method_text, target;
    struct span       host;          /* without one, empty; only HTTP/1.0 has none */
    size_t            field_count;
    struct http_field fields[REQUEST_FIELDS_MAX];  /* in the order they came; field_count of them are set */
};

/* The first field of that name, in any letter case; { NULL, 0 } if there is none. A field that is there but empty
 * has `at` set. */
struct span request_field(const struct request_head *head, struct span name);

/* Is it a token, like the name of a field (RFC 9110 5.6.2)? */
bool request_is_token(struct span text);

/* RFC 9110 5.3: a field that has one value, and no list, must not stand twice; two readers could choose differently. The
 * text says which field does, and is static. NULL: none. Host and the fields that frame a body are the business of the
 * version, and those of a WebSocket's handshake of ws/ws.h. */
const char *request_head_repeated(const struct request_head *head);

#endif
