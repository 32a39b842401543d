/* cors.h - which web pages may send a request, and read its answer (WHATWG Fetch 3.2). Any version. Private to this
 * module. */
#ifndef HTTP_CORS_H
#define HTTP_CORS_H

#include "http/version.h"

enum { CORS_FIELDS_MAX = 4 };

/* Will the request be refused, because of the Host that it names or of the page that sends it? *ret_why: the status of
 * the refusal and its reason. */
bool cors_refuses(const struct http_server *server, const struct http_plan *plan, const struct request_head *head,
                  struct http_refusal *ret_why);

/* Keeps for the answer what it has to say of the page's origin. The head may be one that is refused: of it only Host and
 * Origin are looked at. */
void cors_init(struct http_exchange *exchange, const struct request_head *head);
void cors_fini(struct http_exchange *exchange);

/* The fields of an answer that let the page read it; returns how many. They point into the exchange. */
size_t cors_fields(const struct http_exchange *exchange, struct http_field ret[static CORS_FIELDS_MAX]);

/* Is it a preflight of a page that may send requests? */
bool cors_is_preflight(const struct http_exchange *exchange, const struct request_head *head);
void cors_answer_preflight(struct http_exchange *exchange, const struct request_head *head);

#endif
