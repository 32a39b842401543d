/* request.h - a request on its way to the server, until its response. One block of memory.
 *
 *     to be sent ──request──▶ sent ──accepted──▶ accepted ──response──▶ its callback, once
 *         ▲                     │                    │
 *         └──── link lost, or put off by the server ─┘   sent again with the same id: the server knows whether it has it
 *
 * Where the link belongs to no device the response dies with the link: then what was accepted is told to be lost. */
#ifndef CLIENT_REQUEST_H
#define CLIENT_REQUEST_H

#include "base/buf.h"
#include "base/list.h"
#include "base/msec.h"
#include "longwire.h"

enum {
    REQUEST_ID_MAX = 128, REQUEST_METHOD_MAX = 32, REQUEST_PATH_MAX = 8192, REQUEST_FIELDS = 32, REQUEST_FIELDS_BYTES = 8192,
};

struct request {
    struct list     link;
    uint64_t        ref;          /* of its last frame */
    bool            is_sent;      /* on this link */
    bool            is_accepted;  /* … and the server has it */
    bool            is_kept;      /* accepted by a link of a device: the response outlives the link */
    bool            is_cancelled;
    bool            is_cancel_sent;  /* on this link */
    msec            not_before;   /* the server has put it off */
    unsigned        tries;
    msec            timeout_ms;   /* 0: none */
    msec            until;        /* when its time is up; 0: it has not begun, or has none */
    struct span     id, method, path, headers, body;  /* in bytes; headers as in the frame; id ends with a NUL */
    lw_response_fn *answer;
    void           *arg;
    size_t          size;         /* of all, for bounds */
    char            bytes[];
};

/* `made_id` stands for an id that the application did not give. NULL: an argument can't be used. */
struct request *request_new(const struct lw_request *asked, const char *made_id, lw_response_fn *answer, void *arg);
void            request_free(struct request *request);  /* NULL is fine */

#endif
