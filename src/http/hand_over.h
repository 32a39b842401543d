/* hand_over.h - idle connections that move from one process of the server to the next one (docs/decisions/0124): those on plain
 * sockets between two requests. The first part of a request that was read, and of an answer that was not sent, move with them. */
#ifndef HTTP_HAND_OVER_H
#define HTTP_HAND_OVER_H

#include "http/http.h"

/* The old process, whose loop is held. Is no request under way? Those that take long are not waited for. */
bool http_server_is_settled(const struct http_server *server);
/* Appends the record of each connection that can move, and calls moved() with its socket, in the order of the records. Returns how
 * many there are. Changes nothing. */
size_t http_server_hand_over(struct http_server *server, struct buf *buf, void (*moved)(void *ctx, int socket), void *ctx);
/* The new process serves them: ends those that have moved here, without a word. */
void http_server_forget_moved(struct http_server *server);
/* … and of the rest those that owe nothing but an answer that can't come any more: to a request that has not come whole, or has no
 * answer yet. */
void http_server_cut_off(struct http_server *server);
/* The loop was released: goes on with what was read before. */
void http_server_go_on(struct http_server *server);

/* The new process: goes on with a connection, by the body of its record. Takes the socket. False: this is no such connection,
 * and the socket is closed. */
bool http_server_take_over(struct http_server *server, int socket, struct span body);

#endif
