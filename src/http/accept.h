/* accept.h - from an accepted stream to an opened connection, stage by stage. Private to this module.
 *
 *     ADMISSION -> PROTOCOL -> OPENED
 *         |            |
 *         +------------+--> GONE
 *
 * A stage is a row of a table: what it does, and which state comes behind it. It passes, waits for bytes from the
 * client, or ends the arrival. One function moves from state to state. What a stage reads while it waits is its own to
 * keep; the next one reads on in the same stream, or in the one that the stage has put in its place (arrival->stream).
 * All stages together have head_timeout_ms. */
#ifndef HTTP_ACCEPT_H
#define HTTP_ACCEPT_H

#include "http/version.h"

enum accept_state {
    ACCEPT_ADMISSION,  /* is there room for one more? */
    ACCEPT_PROTOCOL,   /* which version of HTTP is spoken? */
    ACCEPT_OPENED,     /* the version's connection has the stream */
    ACCEPT_GONE,       /* refused, timed out, or the client has left; the stream is closed */
};

enum accept_verdict { ACCEPT_PASS, ACCEPT_WAIT, ACCEPT_END };

struct arrival {
    struct list                link;     /* in server.arrivals */
    struct timer               timer;
    struct http_server        *server;
    struct stream             *stream;
    const struct accept_stage *stages;   /* a row for each state before ACCEPT_OPENED */
    const struct http_version *version;  /* chosen by a stage; NULL: not yet */
    enum accept_state          state;
    bool                       is_brief;    /* admitted for one short answer */
    bool                       is_counted;  /* among the connections, since it waits */
};

struct accept_stage {
    /* Called when its state begins, and again whenever there is something to read. */
    enum accept_verdict (*work)(struct arrival *arrival);
    enum accept_state   next;
};

extern const struct accept_stage accept_stages[];

/* The move from `state` when its stage says `verdict`. */
enum accept_state accept_next(const struct accept_stage *stages, enum accept_state state, enum accept_verdict verdict);

/* Takes a stream that has had no owner. */
void accept_begin(struct http_server *server, struct stream *stream, const struct accept_stage *stages);
/* Closes all arrivals. */
void accept_close_all(struct http_server *server);

#endif
