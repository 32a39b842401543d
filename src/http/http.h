/* http.h - This module is HTTP connections of one loop: requests in, answers out, in order. It refuses to know what is
 * asked for; a service, handed in, does.
 *
 * A request is served when all of its body is there. Its exchange is answered at once or later; answers leave in the
 * order of the requests however the service gives them (pipelining), and all that a turn has gathered for one
 * connection leaves in one write. A connection can be taken over (WebSocket, streams): then HTTP is done with it.
 *
 * Browsers from origins that are not allowed are refused here, before any service sees them. One thread: the loop's. */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include "base/buf.h"
#include "codec/h1/h1.h"
#include "reactor/loop.h"

struct http_server;
struct http_exchange;
struct http_conn;
struct identity;  /* who sent a request; this module only carries it */

struct http_limits {
    struct h1_limits h1;
    uint32_t         pipeline_max;          /* requests under way on one connection; then it is not read from */
    size_t           answer_bytes_max;      /* answers waiting for one client, and promised to it; then it is not read
                                             * from */
    size_t           owed_bytes_max;        /* answers waiting for all clients; then who is owed any is not read from */
    msec             request_timeout_ms;    /* from a request's first byte to its last: 408 */
    msec             keepalive_timeout_ms;  /* between requests: closed */
    size_t           body_bytes_max;        /* of all bodies being gathered; then 503 */
    msec             linger_ms;             /* after the last answer, for the client to close first; anew with what it
                                             * still sends, for request_timeout_ms in all */
};

/* Borrowed until serve() returns. */
struct http_request {
    const struct h1_head *head;
    struct span           path, query;  /* still percent-encoded */
    struct span           body;
};

/* Who sent a request. */
struct http_caller {
    struct identity *identity;  /* owns a reference; NULL: nobody asked, or it is not known */
    unsigned         status;    /* of the refusal, where somebody asked and it is not known; else 0 */
    const char      *reason;    /* … and why not (static) */
};

/* What the service makes of a head, before any body is taken in. */
struct http_plan {
    size_t body_bytes_max;  /* above it: 413 */
    bool   is_alone;        /* wants the connection for itself: served when earlier requests are answered, and no
                             * later one is read before this one is */
    bool   is_heavy;        /* its answer may be big: served when earlier answers have left, so that one at most waits
                             * for a client that does not read */
    bool   needs_caller;    /* who sent it is found out first */
};

struct http_service {
    struct http_plan (*plan)(void *ctx, const struct http_request *request);
    /* Who sent this head? NULL: *ret says it. Else it takes time, and this is the handle to cancel it by; the service calls
     * http_identified() once, later, and until then the request waits. It holds its head, and nothing behind the head is
     * parsed. If the client goes away the identification is cancelled. NULL: nobody is ever identified. */
    void *(*identify)(void *ctx, struct http_conn *conn, const struct http_request *request, struct http_caller *ret);
    void (*cancel_identify)(void *ctx, void *identification);
    void (*forget)(void *ctx, struct identity *identity);  /* lets go of a reference; NULL is fine */
    /* Of a head whose body has not come: will it be refused whatever the body says? Then it's served without one, and
     * the connection closes. NULL: none is. */
    bool (*is_unwelcome)(void *ctx, const struct http_request *request, const struct http_caller *caller);
    /* Answers, defers (sets exchange->owner and gone) or takes the connection over. */
    void (*serve)(void *ctx, struct http_exchange *exchange, const struct http_request *request);
    /* May a page of this origin use us? `host` is the Host it asked for. */
    bool (*origin_is_allowed)(void *ctx, struct span origin, struct span host);
};

/* One request on its way to its answer. Lives until it is answered; if its client goes away before, gone(owner) is
 * called once, then the exchange may still be answered, to nobody. */
struct http_exchange {
    struct list       link;       /* in its connection's */
    struct http_conn *conn;       /* NULL: the client is gone */
    void            (*gone)(void *owner);
    void             *owner;
    struct http_caller caller;    /* until it is answered */
    struct buf        answer;     /* framed, waiting for its turn */
    char             *origin;     /* allowed origin to name in the answer, or NULL */
    size_t            promised;   /* bytes that it counts for in conn->promised */
    uint8_t           minor;
    bool              is_head;
    bool              is_answered;
    bool              is_last;    /* close after it */
};

struct http_answer {
    unsigned    status;
    struct span media;    /* empty: no Content-Type */
    struct span fields;   /* further header lines, each with its CR LF */
    struct span body;
    bool        is_last;  /* close the connection after it */
};

struct http_counters {
    struct counter conns;     /* connections now */
    struct counter accepted;  /* connections ever */
    struct counter requests;
    struct counter faults;    /* requests refused by the parser, by limits or by origin */
};

struct http_server {
    struct loop               *loop;
    struct http_limits         limits;
    const struct http_service *service;
    void                      *ctx;
    struct list                conns;    /* all, for stopping */
    struct list                dirty;    /* with work for the end of the turn */
    struct h1_head             head;     /* of the request being parsed */
    char                       date[40]; /* "Date: …\r\n" of this second */
    msec                       date_at;
    size_t                     body_bytes;   /* of all requests whose end has not come */
    size_t                     owed_bytes;   /* of all answers, made or promised, that have not left */
    bool                       is_stopping;
    struct http_counters       counters;
};

void http_server_init(struct http_server *server, struct loop *loop, const struct http_limits *limits,
                      const struct http_service *service, void *ctx);
void http_server_fini(struct http_server *server);  /* closes what is open */

/* A new connection; takes the descriptor in any case. */
void http_server_accept(struct http_server *server, int fd);

/* At the end of each turn: sends what has gathered, goes on with connections that rested. */
void http_server_turn_end(struct http_server *server);

/* Idle connections close, the others after their answers; new requests get `Connection: close`. */
void http_server_stop(struct http_server *server);
bool http_server_is_idle(const struct http_server *server);

/* Of an exchange that is answered later: its answer will have about so many bytes. They count as waiting already;
 * without this only their number bounds answers that are still to come. */
void http_promise(struct http_exchange *exchange, size_t answer_bytes);

/* Ends the identification that service->identify() began for this connection; takes the caller's reference. */
void http_identified(struct http_conn *conn, const struct http_caller *caller);

/* Answers that the caller of this exchange is not known: caller.status and reason, with the way to do better. */
void http_refuse_caller(struct http_server *server, struct http_exchange *exchange);

/* Is there room for one more answer beside those that wait for their clients? However long it is: an answer longer than
 * the maximum could never be given otherwise. To be asked for what can be refused (503) instead; http_answer() itself
 * takes anything. */
bool http_has_room(const struct http_server *server);

/* Ends the exchange. Everything is copied. */
void http_answer(struct http_server *server, struct http_exchange *exchange, const struct http_answer *answer);

/* An RFC 9457 problem as the answer. `title` NULL: the status's own text. `fields` as in http_answer. */
void http_problem(struct http_server *server, struct http_exchange *exchange, unsigned status, const char *title,
                  const char *detail, struct span fields);

/* Header lines that an answer to this exchange would carry for browsers: Access-Control-… and Vary; for those who
 * write their own heads after a take-over. */
void http_put_cors(const struct http_exchange *exchange, struct buf *buf);
void http_put_date(struct http_server *server, struct buf *buf);

/* Hands the stream over and ends the exchange; only within serve(), for a plan that said is_alone. *unread
 * (initialised) gets what the client has sent behind the request. The caller gives the stream a new owner before it
 * returns to the loop. */
struct stream *http_take_over(struct http_server *server, struct http_exchange *exchange, struct buf *unread);

#endif
