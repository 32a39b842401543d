/* session.h - This module serves one client: what it follows, how its messages are framed, which commands it may send,
 * and when it has been silent too long. It doesn't know where messages are kept (node) and how bytes travel (reactor).
 *
 * These are the entry points that main calls for requests (main/routes.c). Each takes the exchange. */
#ifndef SESSION_SESSION_H
#define SESSION_SESSION_H

#include "session/session_worker.h"

/* GET /v1/ws. */
void session_serve_ws(struct session_worker *worker, struct http_exchange *exchange,
                      const struct http_request *request);

/* GET or POST /v1/subscribe: SSE, NDJSON, multipart or long poll, as Accept says. */
struct http_plan session_plan_subscribe(const struct http_request *request);
void session_serve_subscribe(struct session_worker *worker, struct http_exchange *exchange,
                             const struct http_request *request);

/* /v1/echo: WebSocket or any method; only with limits.has_echo. */
void session_serve_echo(struct session_worker *worker, struct http_exchange *exchange,
                        const struct http_request *request);

/* A connection of the native protocol has come in. Each takes the stream, which has had no owner. */
void session_accept_native(struct session_worker *worker, struct stream *stream);
/* There is no room for it, or (`error` not 0) it is above a limit: tells it so, and closes once the client has closed, or after close_timeout_ms. Closing at once
 * would reset the connection under the client's `connect`, and the client would not read why. */
void session_refuse_native(struct session_worker *worker, struct stream *stream, unsigned error, const char *reason);
/* There is not even room for that: tells it so, and closes at once. */
void session_drop_native(struct session_worker *worker, struct stream *stream, const char *reason);

#endif
