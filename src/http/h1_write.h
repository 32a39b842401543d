/* h1_write.h - writes HTTP/1.1 answers (RFC 9112). Private to this module. */
#ifndef HTTP_H1_WRITE_H
#define HTTP_H1_WRITE_H

#include "http/h1_conn.h"

/* A whole answer: for a HEAD request, and for a status that has no body, the head alone. */
void h1_put_answer(struct buf *buf, const struct h1_exchange *exchange, const struct http_answer *answer);
/* The head of an answer whose body ends with the connection. */
void h1_put_stream_head(struct buf *buf, const struct h1_exchange *exchange, const struct http_answer *head,
                        bool is_chunked);
/* 101: the connection becomes a WebSocket (RFC 6455 4.2.2). `protocol` empty: none was agreed on. */
void h1_put_switch(struct buf *buf, const struct h1_exchange *exchange, struct span accept, struct span protocol,
                   struct span extensions);
void h1_put_continue(struct buf *buf);
/* An answer to a connection that has sent no request and will be closed. */
void h1_put_refusal(struct buf *buf, struct http_server *server, const struct http_refusal *refusal);

#endif
