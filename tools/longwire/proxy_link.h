/* proxy_link.h - one connection of a local program to `longwire proxy`: HTTP/1.1 in, requests over the long link out, one at a time.
 *
 *     READING ── a whole request ──▶ ASKING ── its response ──▶ WRITING ──▶ READING, or the end
 *
 * The request is read with the server's own parser (codec/h1). Where the program goes away while it waits, its request is cancelled. */
#ifndef LONGWIRE_PROXY_LINK_H
#define LONGWIRE_PROXY_LINK_H

#include <longwire.h>

#include "base/buf.h"
#include "base/list.h"
#include "codec/h1/h1.h"
#include "longwire/cli.h"

enum {
    PROXY_LINKS_MAX      = 256,               /* further ones wait in the kernel */
    PROXY_BODY_BYTES_MAX = 16 * 1024 * 1024,  /* 413 above */
    PROXY_HEAD_BYTES_MAX = 32 * 1024,
    PROXY_QUIET_MS       = 75 * 1000,         /* without a byte of a request, or without taking one of the answer */
};

enum proxy_state { PROXY_READING, PROXY_ASKING, PROXY_WRITING };

struct proxy_ask;

struct proxy_link {
    struct list       in_proxy;
    struct lw        *lw;            /* borrowed */
    struct list      *asks;          /* of the proxy: proxy_ask.in_proxy */
    msec              timeout_ms;    /* of each request; 0: none */
    int               fd;
    enum proxy_state  state;
    struct h1         h1;
    struct h1_head    head;          /* spans lie in `in` until the body begins */
    struct buf        in, body, out;
    struct buf        words;         /* method, path and headers of the request, each with a NUL */
    size_t            method, path, id;                     /* where they stand there; id 0: none was named */
    size_t            names[REQUEST_FIELDS_MAX], values[REQUEST_FIELDS_MAX], header_count;
    size_t            written;       /* bytes of `out` */
    bool              is_head;       /* HEAD: the answer has no body */
    bool              is_last;       /* the connection ends behind this answer */
    bool              is_gone;
    struct proxy_ask *ask;           /* ASKING */
    msec              heard_at;
};

struct proxy_link *proxy_link_new(struct lw *lw, struct list *asks, int fd, msec timeout_ms);
void               proxy_link_free(struct proxy_link *link);  /* cancels what it has asked for */

/* What poll() is to wait for. */
short proxy_link_events(const struct proxy_link *link);
/* poll() has told these. Look at is_gone then. */
void  proxy_link_serve(struct proxy_link *link, short events);
/* Ends one that was quiet for too long. */
void  proxy_link_look(struct proxy_link *link, msec now);

/* Frees those whose responses never come, because the client of the server is gone. */
void proxy_asks_free(struct list *asks);

#endif
