/* plain.h - our own client of HTTP/1.1 without TLS: connections to servers that are kept open between calls, each with one
 * call at most.
 *
 * It takes a call if the address of its URL can be read in one way only (plain_url.h) and its host is known: by its digits, or
 * because libcurl has reached it by its name in the last PLAIN_NAME_MS. A name that is not known is libcurl's to look up, which
 * blocks nobody; the call for which it does so is served by libcurl too, and the address that answered is remembered.
 *
 * A connection that is kept is closed when the server closes it or says something unasked, after PLAIN_IDLE_MS or
 * a second before the server would (`Keep-Alive: timeout=N`), and if there are more than `idle_max` of them, the one unused for
 * longest first. The one used last is used next. */
#ifndef FETCH_PLAIN_H
#define FETCH_PLAIN_H

#include <sys/socket.h>

#include "base/list.h"
#include "base/map.h"
#include "base/wheel.h"
#include "codec/h1/h1_response.h"
#include "fetch/fetch.h"
#include "fetch/plain_book.h"
#include "fetch/plain_url.h"
#include "reactor/source.h"

struct fetch;

enum {
    PLAIN_HOSTS_MAX = 256,        /* remembered, with a port each. Beyond: one without a connection is forgotten, or libcurl
                                   * serves the call */
    PLAIN_IDLE_MS   = 30 * 1000,
    PLAIN_NAME_MS   = 30 * 1000,  /* then one call looks the name up anew, and meanwhile the others go where they went */
};

struct plain_host {
    struct map_node         node;      /* by its authority */
    struct plain_server    *server;    /* what all parts know of it; held */
    struct list             link;      /* in plain->hosts */
    struct list             idle;      /* connections, the one used last at the end */
    struct sockaddr_storage address;
    socklen_t               address_len;
    bool                    is_known;
    bool                    is_looked_up;  /* by a call that is under way */
    msec                    known_until;   /* 0: its digits stand in the URL */
    unsigned                port;
    uint32_t                conn_count;
    uint32_t                generation;  /* of the address; connections to an earlier one are not kept */
    size_t                  name_len;
    char                    name[PLAIN_AUTHORITY_BYTES_MAX];
};

struct plain {
    struct map  map;
    struct list hosts;
    uint32_t    host_count;
    struct list idle;      /* all, the one unused for longest first */
    uint32_t    idle_count;
    struct plain_book *book;
    struct list closed;    /* to free at the end of the turn: events may still name them */
};

struct plain_conn {
    struct source      source;
    struct list        link;       /* in host->idle or plain->closed */
    struct list        idle_link;  /* in plain->idle */
    struct list        in_book;    /* while it is idle; under the book's lock, as is_shut */
    bool               is_shut;    /* another part needed its place */
    struct timer       timer;
    struct fetch      *fetch;
    struct plain_host *host;
    struct fetch_call *call;       /* NULL: idle, or closed */
    int                fd;         /* -1: closed */
    uint32_t           generation; /* of host->address */
    bool               is_connecting;
    bool               is_kept;       /* it has served a call before this one */
    bool               is_ended;      /* the server has closed, or the link is broken: reads show which */
    bool               is_unwritable;
    bool               has_begun;     /* a byte of the response has come */
    size_t             sent, request_bytes;
    struct h1_response response;
    struct buf         rest;       /* of a line that is not whole yet */
};

void plain_init(struct fetch *fetch, struct plain_book *book);
void plain_fini(struct fetch *fetch);
void plain_close_idle(struct fetch *fetch);  /* all; the thread ends */

/* False: libcurl is to serve it, with call->looks_up. Else it is the client's until fetch_ended(). */
bool plain_begin(struct fetch *fetch, struct fetch_call *call);
void plain_cancel(struct fetch_call *call, enum fetch_outcome outcome);
/* A call that looked up a name has ended: `address` has answered, or nobody (empty). */
void plain_looked_up(struct fetch *fetch, const struct fetch_call *call, struct span address);
void plain_turn_end(struct fetch *fetch);

/* --- plain_host.c for plain_conn.c --- */

/* NULL: there are too many. */
struct plain_host *plain_host_get(struct plain *plain, const struct plain_url *url);
/* Of a part: its name may have been looked up by another one. */
void               plain_host_ask_book(struct fetch *fetch, struct plain_host *host);

#endif
