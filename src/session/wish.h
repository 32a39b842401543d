/* wish.h - what a client wants to follow, and from where: the parameters of a subscription (design: 4.2, 4.4).
 *
 * Last-Event-ID beats cursor=, which beats after= and last=. With channel= beside a cursor the listed channels are
 * followed, from the cursor's place where it has one. */
#ifndef SESSION_WISH_H
#define SESSION_WISH_H

#include "hub/hub.h"
#include "session/desk.h"

struct wish {
    struct channel_name *name;  /* owns a reference */
    struct start         start;
};

struct wishes {
    struct wish *at;
    size_t       count, cap;
    msec         wait_ms;       /* of wait=; the default if it isn't said */
    uint32_t     wisher;        /* identity->number */
    unsigned     fault_status;  /* 0: fine; else why not */
    char         fault[160];
};

void wishes_init(struct wishes *wishes);
void wishes_fini(struct wishes *wishes);

/* Reads a request's query and Last-Event-ID. False: fault_status and fault say why not: malformed (400), no such
 * namespace (404), not allowed (401 without a key, 403 with one). */
bool wishes_read(struct wishes *wishes, struct desk *desk, const struct http_request *request,
                 const struct identity *identity);

/* One more by name, as a frame asks for it; the same faults. */
bool wishes_add(struct wishes *wishes, struct desk *desk, struct span channel, struct start start,
                const struct identity *identity);

#endif
