/* serve.h - what the entry points of session.h share: each makes the sessions of some transports. Private to this
 * module. */
#ifndef SESSION_SERVE_H
#define SESSION_SERVE_H

#include "session/stream_format.h"
#include "session/subscribe_request.h"

/* Answers 401, 403, 404, 400 for requests that can't be granted. */
void refuse_requests(struct session_worker *worker, struct http_exchange *exchange,
                     const struct subscribe_requests *requests);

/* May this caller have one more link, by connections_per_user_max? False: answered with 429. */
bool serve_may_link(struct session_worker *worker, struct http_exchange *exchange);

/* Follows everything asked for. */
void link_follow_all(struct link *link, const struct subscribe_requests *requests);

/* The size of one entry in the worker's pool of WebSocket sessions. */
size_t ws_session_bytes(void);
size_t native_session_bytes(void);  /* … of native sessions … */
size_t stream_session_bytes(void);  /* … of streams over HTTP, and of polls */
size_t poll_session_bytes(void);

/* link_kind.leave and .lost for all echoes. */
void echo_leave_all(struct session_worker *worker);
void echo_close_all(struct session_worker *worker);

/* Reads and drops what a client sends on a link that takes no input, once a turn. False: the link has ended. */
bool stream_drain(struct stream *stream);

/* `open`: the session whose link this becomes (device_link.h); NULL: none. */
void session_serve_stream(struct session_worker *worker, struct http_exchange *exchange,
                          const struct subscribe_requests *requests, const struct stream_format *format,
                          struct span media, const struct session_open *open);
void session_serve_poll(struct session_worker *worker, struct http_exchange *exchange,
                        const struct subscribe_requests *requests, const struct session_open *open);

/* Opens the session that the requests ask for, then serves one of these with it. Takes the exchange, and what the requests
 * own. `format` NULL: a poll. */
void session_serve_device(struct session_worker *worker, struct http_exchange *exchange,
                          struct subscribe_requests *requests, const struct stream_format *format, struct span media);

#endif
