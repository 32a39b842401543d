/* allocate.h - asks a cluster where to connect: `GET /v1/allocate` over HTTP/1.0, so that the answer comes in one piece and ends
 * with the link. Pure: the engine's owner carries the bytes. */
#ifndef CLIENT_ALLOCATE_H
#define CLIENT_ALLOCATE_H

#include "base/buf.h"
#include "base/msec.h"
#include "codec/json/json.h"
#include "server_list.h"

enum { ALLOCATE_ANSWER_BYTES_MAX = 64 * 1024, ALLOCATE_WAIT_MS_MAX = 24 * 3600 * 1000 };

/* What was told. */
struct allocation {
    struct server_list servers;  /* those with an address of the native protocol, best first; perhaps none */
    msec               wait_ms;  /* before the first of them is tried */
};

/* `user` and `region` may be NULL. */
void allocate_put_request(struct buf *buf, const struct server_entry *router, const char *user, const char *region);

enum allocate_verdict {
    ALLOCATE_MORE,  /* the answer is not whole yet */
    ALLOCATE_DONE,  /* *ret is filled in */
    ALLOCATE_BAD,   /* it is no answer of a router, or a refusal */
};

/* `answer` is all that came so far; `is_ended`: nothing more will come. */
enum allocate_verdict allocate_read(struct span answer, bool is_ended, struct json_doc *doc, struct allocation *ret);

#endif
