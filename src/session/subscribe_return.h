/* subscribe_return.h - what the server accepts must be able to come back: the cursor of these channels, as long as it
 * may become, by the way that the client has come. Asked before a stream or poll begins; else a client would be
 * refused for ever when it comes back with what it was given. Private to this module. */
#ifndef SESSION_SUBSCRIBE_RETURN_H
#define SESSION_SUBSCRIBE_RETURN_H

#include "session/subscribe_request.h"

/* A stream's tokens come back as Last-Event-ID beside the same request. Sorts the requests, and chooses the form of the
 * tokens: requests->set. False: the fault is set. */
bool subscribe_check_stream_return(struct subscribe_requests *requests, const struct session_worker *worker,
                                   const struct http_request *request);
/* A poll's token comes back as cursor=, in the URL of a GET or in the body of a POST. Sorts the requests. */
bool subscribe_check_poll_return(struct subscribe_requests *requests, const struct session_worker *worker,
                                 const struct http_request *request);

/* token_set_of() requests that are sorted. */
uint64_t subscribe_requests_set(const struct subscribe_requests *requests);

#endif
