/* http.h - This module runs the HTTP connections of one loop: requests in, answers out, in order. It doesn't know what
 * a request asks for; a service, handed in, does.
 *
 * A request is served when all of its body has come. The service answers its exchange at once or later. Answers leave
 * in the order of the requests, in whatever order the service gives them (pipelining). All that a turn has gathered for
 * one connection leaves in one write. Instead of an answer the service can open a stream, whose writes are the body, or
 * a WebSocket (ws_upgrade.h).
 *
 * Requests, answers and streams have no version. Only h1_conn.h and its files know
 * HTTP/1.1, only h2_conn.h and its files HTTP/2.
 *
 * Requests of browsers whose origin is not allowed, and requests for a Host that is not ours, are refused here, before
 * any service sees them. Everything belongs to the thread of the loop. */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H

#include "base/buf.h"
#include "codec/forwarded/forwarded.h"
#include "codec/h1/h1.h"
#include "reactor/loop.h"

struct http_server;
struct http_exchange;
struct http_conn;
struct http_sender;  /* of a request, while it is found out who that is */
struct identity;  /* who sent a request; this module only carries it */

struct http_limits {
    struct h1_limits h1;
    uint32_t         streams_max;           /* HTTP/2: requests and streams under way on one connection; further ones are
                                             * refused (REFUSED_STREAM) */
    uint32_t         pipeline_max;          /* requests under way on one connection; at the limit the connection is not
                                             * read from */
    size_t           answer_bytes_max;      /* answers that wait for one client, or are promised to it; at the limit its
                                             * connection is not read from */
    size_t           owed_bytes_max;        /* answers that wait for all clients; at the limit no connection with
                                             * waiting answers is read from */
    size_t           ease_bytes_max;        /* answers that wait for all clients; beyond it no further big ones are made,
                                             * and clients that take nothing for stuck_ms are closed */
    msec             stuck_ms;
    size_t           taken_bytes_min;       /* of its answers, that a client takes in each request_timeout_ms; who takes
                                             * less is closed */
    msec             head_timeout_ms;       /* for a request's head, the first one's since the connection was opened:
                                             * 408, or closed without a word if not a byte has come */
    msec             request_timeout_ms;    /* in each, a body has to bring its part: 408; and the client has to take some
                                             * of its answer: closed */
    size_t           body_bytes_per_s_min;  /* that part, unless it is the rest of the body */
    msec             keepalive_timeout_ms;  /* between requests: closed */
    size_t           body_bytes_max;        /* of all bodies being gathered, and an eighth more that is for those of up to
                                             * SHORT_BODY_BYTES alone: 503 */
    msec             linger_ms;             /* for the client to close first, after the last answer. It begins anew
                                             * while the client sends, for request_timeout_ms at most */
};

/* Borrowed. No name and no value has a line break in it. */
struct http_fields {
    const struct http_field *at;
    size_t                   count;
};

#define HTTP_NO_FIELDS ((struct http_fields){ NULL, 0 })
/* HTTP_FIELDS({ SPAN("Allow"), SPAN("GET") }, …): valid until the end of its block */
#define HTTP_FIELDS(...)                                                                                               \
    ((struct http_fields){ (const struct http_field[]){ __VA_ARGS__ },                                                 \
                           sizeof((const struct http_field[]){ __VA_ARGS__ }) / sizeof(struct http_field) })

/* Borrowed until serve() returns. */
struct http_request {
    const struct request_head *head;
    struct span                path, query;  /* still percent-encoded */
    struct span                body;
};

/* Who sent a request. */
struct http_caller {
    struct identity *identity;  /* owns a reference; NULL: not asked for, or not known */
    unsigned         status;    /* of the refusal, if it was asked for and is not known; else 0 */
    const char      *reason;    /* … and why not (static) */
    uint64_t         connection; /* the key of its connection, if it was given one already; else 0 */
};

/* What the service decides from a head, before any body is read. */
struct http_plan {
    size_t      body_bytes_max;  /* above it: 413 */
    const char *body_setting;    /* the setting that says so, for the refusal; static. NULL: none does */
    bool   is_alone;        /* wants the connection for itself: it is served when all earlier requests are answered, and
                             * no later one is read before it is answered itself */
    bool   is_heavy;        /* its answer may be big: it is served when all earlier answers have left. So at most one
                             * big answer waits for a client that does not read */
    bool   needs_caller;    /* its sender is identified before it is served */
    bool   is_public;       /* pages of any origin may have it: it tells nothing and does nothing */
    bool   takes_websocket; /* an extended CONNECT (RFC 8441) may come here; elsewhere it is 404, because 200 would open it */
};

/* What a page of some origin may do. */
enum http_origin {
    HTTP_ORIGIN_REFUSED,
    HTTP_ORIGIN_OPEN,   /* send requests, like a page of any other origin */
    HTTP_ORIGIN_KNOWN,  /* the same, with credentials: this origin is allowed by its name */
};

/* The answer to a connection that is refused, as an RFC 9457 problem. */
struct http_refusal {
    unsigned           status;
    const char        *detail;
    struct http_fields fields;
};

enum http_admission {
    HTTP_ADMITTED,
    HTTP_ADMITTED_BRIEFLY,  /* for one request that is answered soon: see http_exchange.is_brief */
    HTTP_NOT_ADMITTED,
};

struct http_service {
    /* May one more connection be opened? HTTP_NOT_ADMITTED: *ret_refusal is sent before the connection is closed. NULL:
     * always. */
    enum http_admission (*admit)(void *ctx, const struct stream *stream, struct http_refusal *ret_refusal);
    /* Was this one admitted briefly only to be told why it is refused? Whatever it asks for, *ret_refusal is the answer.
     * NULL: none is. */
    bool (*turns_away)(void *ctx, const struct stream *stream, struct http_refusal *ret_refusal);
    struct http_plan (*plan)(void *ctx, const struct http_request *request);
    /* Who sent this head? NULL: *ret says it. Else it takes time, and this is the handle to cancel it by; the service
     * calls http_identified() once, later, and until then the request waits. It holds its head, and nothing behind the
     * head is parsed. If the client goes away the identification is cancelled. NULL: nobody is ever identified. */
    void *(*identify)(void *ctx, struct http_sender *sender, const struct http_request *request, struct http_caller *ret);
    void (*cancel_identify)(void *ctx, void *identification);
    bool (*is_stranger)(void *ctx, const struct http_caller *caller);  /* Is it nobody whom we know? NULL: everybody is */
    void (*forget)(void *ctx, struct identity *identity);  /* lets go of a reference */
    /* The head has come, its body has not. Will the request be refused whatever the body says? Then it is served
     * without a body, and the connection closes. NULL: no request is. */
    bool (*is_unwelcome)(void *ctx, const struct http_request *request, const struct http_caller *caller);
    /* Has nobody a use for this path and method? Asked when the body is too long: then 404 or 405 says more than 413, and
     * the request is served without its body. NULL: somebody has. */
    bool (*is_nowhere)(void *ctx, const struct http_request *request);
    /* Answers, defers (sets exchange->owner and gone), or opens a stream or a WebSocket. */
    void (*serve)(void *ctx, struct http_exchange *exchange, const struct http_request *request);
    /* How long shall an EventSource wait that can't be served now? NULL: it is answered 503 as others are. */
    msec (*event_retry)(void *ctx);
    /* May a page of this origin use the server? `host` is the Host that it asked for. */
    enum http_origin (*judge_origin)(void *ctx, struct span origin, struct span host);
    /* Is this Host one of ours? Else 421. NULL: every Host is. */
    bool (*host_is_served)(void *ctx, struct span host);
};

struct http_version;
struct h2_shared;

/* One request on its way to its answer. It lives until it is answered. If the client goes away earlier, gone(owner) is
 * called once; the service still answers the exchange, and the answer is dropped. */
struct http_exchange {
    const struct http_version *version;
    struct http_server        *server;
    void                     (*gone)(void *owner);
    void                      *owner;
    struct http_caller         caller;       /* until it is answered */
    char                      *origin;       /* allowed origin to name in the answer, or NULL */
    bool                       has_origin;   /* sent by a page; so the answer depends on its origin */
    bool                       may_show_credentials;  /* the page */
    bool                       is_head;
    bool                       is_event_source;  /* sent by a browser's EventSource, or one that looks like it */
    bool                       is_brief;     /* its connection is one too many, and has a place for this answer alone: the
                                              * service opens no stream or WebSocket, and lets nobody wait for news
                                              * (http_refuse_crowd()) */
    bool                       is_gone;      /* the client */
    msec                       retry_ms;     /* how long an EventSource shall wait if it is answered 503; 0: as the service
                                              * says (event_retry) */
    bool                       is_answered;
    struct forwarded           forwarded;    /* what a trusted proxy says of the client; all zero: nothing */
};

struct http_answer {
    unsigned           status;
    struct span        media;    /* empty: no Content-Type */
    struct http_fields fields;
    struct span        body;
    bool               is_last;  /* close the connection after it */
};

struct http_counters {
    struct counter conns;     /* connections now, arrivals included */
    struct counter h2_conns;  /* of them, those that speak HTTP/2 */
    struct counter h2_streams;  /* of HTTP/2 connections, now */
    struct counter accepted;  /* connections ever */
    struct counter requests;
    struct counter refused;   /* connections that were one too many, whether they got an answer or could not stay */
    struct counter faults;    /* requests refused by the parser, by limits or by origin */
    struct counter owed;      /* bytes of answers that wait for clients, now */
    struct counter shed_strangers, shed_known;  /* closed because memory was short */
    struct counter stuck;     /* connections closed because their clients took too little */
};

struct http_server {
    struct loop               *loop;
    struct http_limits         limits;
    const struct http_service *service;
    void                      *ctx;
    const struct ip_ranges    *trusted_proxies;  /* whose word about their clients counts; borrowed. NULL: nobody's */
    struct list                arrivals; /* on their way in (accept.h) */
    struct list                conns;    /* all, for stopping */
    struct list                dirty;    /* connections with work for the end of the turn */
    struct list                sending;  /* connections with answers that their streams don't take; the one whose client
                                          * has taken nothing for longest is the first */
    struct h1_head             head;     /* of the HTTP/1.1 request being parsed */
    char                       date[32]; /* of this second, as RFC 9110 5.6.7 has it */
    msec                       date_at;
    struct h2_shared          *h2;           /* what HTTP/2 connections share; NULL: there was none yet */
    size_t                     body_bytes;   /* of incomplete requests, but those … */
    size_t                     short_body_bytes; /* … that are in the eighth for short ones */
    size_t                     brief_count;  /* connections that were admitted for one short answer */
    size_t                     owed_bytes;   /* of all answers, made or promised, that have not been sent */
    uint64_t                   conn_number;  /* of the newest connection; the caller chooses where they begin */
    bool                       is_stopping;
    struct http_counters       counters;
};

void http_server_init(struct http_server *server, struct loop *loop, const struct http_limits *limits,
                      const struct http_service *service, void *ctx);
void http_server_fini(struct http_server *server);  /* closes what is open */
/* Behind the end of its loop, which still holds streams that were closed: lets go of what they are made of. */
void http_server_end(struct http_server *server);

/* A new connection, over a stream that has had no owner; takes the stream. */
void http_server_open(struct http_server *server, struct stream *stream);

/* At the end of each turn: sends the answers of the turn, and reads on from connections that were not read from. */
void http_server_turn_end(struct http_server *server);

/* About once a second: if too many answers wait, closes connections whose clients take nothing. */
void http_server_tick(struct http_server *server);

/* Memory is short: closes some of the newest connections of which no request came from somebody known, or, with `are_known`, of
 * the others; but none whose request the service has yet to answer. Gives how many. */
size_t http_server_shed(struct http_server *server, bool are_known);

/* Idle connections close now, the others after their answers. New requests get `Connection: close`. */
void http_server_stop(struct http_server *server);
bool http_server_is_idle(const struct http_server *server);

/* The exchange will be answered later, with about so many bytes. They count as waiting from now on; without a promise
 * only pipeline_max bounds answers that are still to come. */
void http_promise(struct http_exchange *exchange, size_t answer_bytes);

/* The address of who sent it, as http_client(). False: it is not known, or the client has gone. */
bool http_exchange_client(const struct http_exchange *exchange, struct ip_address *ret);

/* A number that no other connection of the process has, if the servers of its loops begin far enough apart; 0: the client is
 * gone. */
uint64_t http_exchange_number(const struct http_exchange *exchange);

/* Ends the identification that service->identify() began for this sender; takes the caller's reference. */
void http_identified(struct http_sender *sender, const struct http_caller *caller);

/* The address of the client who sent this head: as a trusted proxy names it there, else as stream_peer() says. False: it is
 * not known. Costs a system call mostly. */
bool http_client(const struct http_sender *sender, const struct request_head *head, struct ip_address *ret);

/* Whom the client's certificate names, as stream_get_person() does. */
bool http_get_person(const struct http_sender *sender, struct stream_person *ret);

/* Did it come encrypted, as far as the client's side goes? A trusted proxy in front may say so. */
bool http_exchange_is_secret(const struct http_exchange *exchange);

/* Answers that the caller of this exchange is not known: caller.status and reason, with the way to do better. */
void http_refuse_caller(struct http_server *server, struct http_exchange *exchange);

/* Answers that there are too many connections for one that stays: 503, with when to come again. */
void http_refuse_crowd(struct http_server *server, struct http_exchange *exchange);

/* Is there room for one more answer beside those that wait for their clients? One answer of any length may exceed the
 * limit: an answer that is longer than the limit could never be given otherwise. A service asks before it makes an
 * answer that it can refuse instead (503). http_answer() itself takes any answer. */
bool http_has_room(const struct http_server *server);

/* Do so few answers wait for clients that another big one may be made? Who asks for one waits otherwise: clients that
 * take nothing are closed soon (http_server_tick()). One answer of any length may exceed the limit. */
bool http_is_at_ease(const struct http_server *server);

/* Ends the exchange. Copies the whole answer. */
void http_answer(struct http_server *server, struct http_exchange *exchange, const struct http_answer *answer);

/* An RFC 9457 problem as the answer. `title` NULL: the status's own text. Instead of 503 an EventSource is answered an
 * event stream that ends at once: it would not come again after any other status (docs/decisions/0027). */
void http_problem(struct http_server *server, struct http_exchange *exchange, unsigned status, const char *title,
                  const char *detail, struct http_fields fields);

/* Opens an answer whose body has no known end, and ends the exchange, within serve() or later, for a plan that said
 * is_alone. `head` has no body. What is written to the stream is the body; stream_shut() ends it.
 *
 * *first (initialised) gets bytes that have to leave before the body: nothing, or the head. So the head and the first
 * part of the body can leave in one write.
 *
 * *ret_is_chunked: the writer frames the body itself, as chunks of RFC 9112 7.1, with http_put_body_end() behind the
 * last. So a frame that many readers share can stand ready as a chunk and is not copied. False: the writer writes the
 * bare body.
 *
 * The caller gives the stream an owner with stream_hand_over() before it returns to the loop. */
struct stream *http_open_stream(struct http_server *server, struct http_exchange *exchange,
                                const struct http_answer *head, struct buf *first, bool *ret_is_chunked);
void http_put_body_end(bool is_chunked, struct buf *buf);

#endif
