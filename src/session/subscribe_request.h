/* subscribe_request.h - what a client wants to follow, and from where: the parameters of GET /v1/subscribe and /v1/ws.
 *
 * Last-Event-ID beats cursor=, which beats after= and last=. With channel= beside a cursor the listed channels are
 * followed, from the cursor's place where it has one. */
#ifndef SESSION_SUBSCRIBE_REQUEST_H
#define SESSION_SUBSCRIBE_REQUEST_H

#include "hub/hub.h"
#include "session/session_worker.h"

struct subscribe_request {
    struct channel_name *name;  /* owns a reference */
    struct start         start;
};

struct subscribe_requests {
    struct subscribe_request *at;
    size_t                    count, cap;
    msec                      wait_ms;       /* of wait=; the default if it isn't said */
    unsigned                  fault_status;  /* 0: fine; else why not */
    char                      fault[160];
};

void subscribe_requests_init(struct subscribe_requests *requests);
void subscribe_requests_fini(struct subscribe_requests *requests);

/* Reads a request's query and Last-Event-ID. False: fault_status and fault say why not: malformed (400), no such
 * namespace (404), not allowed (401 without a key, 403 with one). */
bool subscribe_requests_read(struct subscribe_requests *requests, struct session_worker *worker,
                             const struct http_request *request, const struct identity *identity);

/* One more by name, as a command asks for it; the same faults. */
bool subscribe_requests_add(struct subscribe_requests *requests, struct session_worker *worker, struct span channel,
                            struct start start, const struct identity *identity);

#endif
