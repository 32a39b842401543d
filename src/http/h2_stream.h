/* h2_stream.h - a stream of HTTP/2 as a stream of the loop (reactor/stream.h): what a service writes leaves as DATA, and
 * what the client sends as DATA is what it reads. A maker of that port without a descriptor. Private to this module.
 *
 * It takes as many bytes as the client's windows let leave, and as the connection has room for (H2_OUT_BYTES_MAX), so that
 * a client that does not read costs nothing here. What it has taken leaves at the end of the turn, together with all else
 * that its connection has to send.
 *
 * A stream of an answer alone (http_open_stream()) reads nothing until its client is gone: the end of the request is no
 * news, and RST_STREAM is a fault. If it is closed without stream_shut() it is reset: the client sees that the answer is
 * not whole. A WebSocket's (http_open_websocket()) has two directions; END_STREAM is its end, and a close ends both. */
#ifndef HTTP_H2_STREAM_H
#define HTTP_H2_STREAM_H

#include "http/h2_conn.h"

void h2_stream_maker_init(struct stream_maker *maker, struct loop *loop, bool is_secret);
struct stream *h2_stream_new(struct h2_exchange *exchange);
/* Its exchange is over: `told` is where it waits for the connection to tell its owner. */
void h2_stream_orphan(struct h2_stream *stream, struct list *told);

/* What the client sends to an exchange that was taken over. */
void h2_stream_put(struct h2_exchange *exchange, struct span bytes);
void h2_stream_end(struct h2_exchange *exchange);

/* Tells the owners of those that have news, or room. */
void h2_conn_tell_readable(struct h2_conn *conn);
void h2_conn_tell_writable(struct h2_conn *conn);

#endif
