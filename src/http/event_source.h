/* event_source.h - what a browser's EventSource is answered if its request can't be served for the moment.
 *
 * EventSource comes again after an answer of 200 that has ended, and after a link that broke. After any other status it
 * gives up for good (WHATWG HTML 9.2.3), whatever Retry-After says. So where others get 503, it gets an event stream of
 * a comment and `retry:` (docs/decisions/0027). Private to this module. */
#ifndef HTTP_EVENT_SOURCE_H
#define HTTP_EVENT_SOURCE_H

#include "http/http.h"

/* A GET whose Accept names text/event-stream; ranges such as text/ and a star don't count. */
bool request_is_of_event_source(const struct request_head *head);

/* Answers the exchange. `why` is one line. */
void event_source_put_off(struct http_server *server, struct http_exchange *exchange, const char *why);

#endif
