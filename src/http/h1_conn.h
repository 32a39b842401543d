/* h1_conn.h - one HTTP/1.1 connection: the input that it has read, and the answers that are due. Private to this
 * module.
 *
 *     h1_conn.c      the connection: its stream, the end of a turn, closing
 *     h1_request.c   its input: requests, and bodies that come in pieces
 *     h1_exchange.c  its output: answers in the order of the requests
 *     h1_phase.c     what it waits for, and for how long
 *     h1_write.c     the bytes of an answer */
#ifndef HTTP_H1_CONN_H
#define HTTP_H1_CONN_H

#include "codec/h1/h1.h"
#include "http/version.h"

/* A request whose body did not come together with its head. */
struct h1_pending {
    struct buf         head_text;        /* what the head's spans point into */
    struct h1_head     head;
    struct buf         body;
    struct http_body_share share;        /* of `body` */
    struct http_plan   plan;
    struct http_caller caller;
    void              *identification;   /* under way; NULL: none, `caller` is final */
    size_t             timed_bytes;      /* of the body, when the timer was armed */
    bool               is_continue_due;  /* the client waits for 100 before it sends the body */
};

/* What the connection waits for. Each has a timeout of its own. */
enum h1_phase {
    H1_SILENT,        /* for the first byte */
    H1_IDLE,          /* for the next request */
    H1_READING_HEAD,  /* for the rest of a head */
    H1_READING_BODY,  /* for more of a body */
    H1_OWING,         /* for the service's answer: without a timeout */
    H1_SENDING,       /* for the client to take some of its answer */
    H1_LEAVING,       /* the last answer has left: for the client to close, or at least to stop sending */
};

struct h1_conn {
    struct http_conn   http;
    struct http_sender sender;     /* of the pending request */
    struct timer       timer;
    struct h1          h1;
    struct buf         in;         /* read and not yet parsed; empty between requests */
    struct buf         out;        /* answers on their way */
    struct list        exchanges;  /* oldest first */
    struct h1_pending *pending;    /* NULL: no body is being gathered */
    struct span        unread;     /* what stands behind the request being served */
    uint32_t           served;     /* requests so far, modulo 2^32 */
    uint32_t           timed;      /* `served` when the timer was armed */
    msec               phase_at;   /* when `phase` began */
    uint64_t           put;        /* bytes that its stream has taken from us */
    uint64_t           taken_then; /* by the client, when the timer of H1_SENDING was armed, or the last one of is_watched */
    size_t             owed;       /* its part of server.owed_bytes */
    size_t             promised;   /* bytes of answers that can't go into `out` yet: made, or promised by the service */
    uint32_t           exchange_count;
    uint8_t            phase;      /* enum h1_phase */
    bool               is_brief;   /* it is one too many: it closes after its first answer */
    bool               is_alone;   /* an exchange has the connection to itself */
    bool               is_eof;     /* the client has closed its direction */
    bool               is_resting; /* not read from, because too much is under way */
    bool               is_last;    /* nothing more is parsed; the connection closes when all answers have left */
    bool               is_watched; /* nothing is left to do but for the client to read what the kernel has: taken_then counts */
    bool               is_shut;    /* our direction is closed; the connection waits for the client to close */
};

/* A request on its way to its answer. */
struct h1_exchange {
    struct http_exchange http;
    struct list          link;      /* in its connection's */
    struct h1_conn      *conn;      /* NULL: the client is gone */
    struct buf           answer;    /* ready, waiting for the answers before it */
    size_t               promised;  /* bytes that it counts for in conn->promised */
    uint8_t              minor;     /* of HTTP/1.x */
    bool                 is_last;   /* the connection closes after it */
};

extern const struct http_version http_version_1;

/* --- h1_conn.c */

void h1_conn_close(struct h1_conn *conn);
/* If nothing is served any more: does it wait for something that never comes, with nothing left to send? */
bool h1_is_in_vain(const struct http_conn *conn);
/* A connection of another process, which h1's hand_over() has told. Takes the stream. */
void h1_take_over(struct http_server *server, struct stream *stream, const struct handover_http *told);

/* --- h1_request.c */

/* Parses and serves as much of `input` as may be served now; returns how much that was. Afterwards a session may own
 * the stream. */
size_t h1_conn_parse(struct h1_conn *conn, struct span input);
/* The same with the input that the connection keeps. */
void h1_conn_parse_kept(struct h1_conn *conn);
/* May one more request be read, by the limits? */
bool h1_conn_may_parse(const struct h1_conn *conn);
/* Is the sender of the pending request being identified? */
bool h1_conn_is_identifying(const struct h1_conn *conn);
void h1_conn_identified(struct h1_conn *conn, const struct http_caller *caller);
/* Is there a request that may not be served before its sender is known, or before the earlier ones are answered? */
bool h1_conn_must_wait(const struct h1_conn *conn);
/* RFC 9110 10.1.1: a client that waits for 100 gets it, behind the answers to its earlier requests. */
void h1_conn_put_continue(struct h1_conn *conn);
/* Answers with a problem that the parser or a limit has found; no later request is read. The answer is that of the
 * pending request, if there is one; else that of the head of which `part` has come. */
void h1_conn_refuse(struct h1_conn *conn, struct span part, unsigned status, const char *detail);
void h1_pending_free(struct h1_pending *pending, struct http_server *server);  /* NULL is fine */

/* --- h1_exchange.c */

struct h1_exchange *h1_exchange_new(struct h1_conn *conn, const struct h1_head *head);
/* The exchange's client has gone: tells the exchange's owner, or frees the exchange if it is answered. */
void h1_exchange_orphan(struct h1_exchange *exchange);
/* Moves answers whose turn has come into `out`. */
void h1_conn_queue_answers(struct h1_conn *conn);
/* Brings `owed` up to date. */
void h1_conn_count_owed(struct h1_conn *conn);
/* Bytes of its answers that the client's kernel has. */
uint64_t h1_conn_taken(const struct h1_conn *conn);
/* Are answers still to be made, or to be sent? */
bool h1_conn_is_owing(const struct h1_conn *conn);

void           h1_answer(struct http_exchange *exchange, const struct http_answer *answer);
const struct stream *h1_stream(const struct http_exchange *exchange);
uint64_t       h1_number(const struct http_exchange *exchange);
void           h1_promise(struct http_exchange *exchange, size_t answer_bytes);
struct stream *h1_open_stream(struct http_exchange *exchange, const struct http_answer *head, struct buf *first,
                              bool *ret_is_chunked);
struct stream *h1_open_websocket(struct http_exchange *exchange, const struct ws_handshake *shake, struct span protocol,
                                 struct buf *first, struct buf *unread);

/* --- h1_phase.c */

/* What the connection waits for now. conn->phase is what its timer runs for, as of the end of the last turn. */
enum h1_phase h1_conn_phase(const struct h1_conn *conn);
/* Between requests, or before the first? */
bool h1_conn_is_idle(const struct h1_conn *conn);
/* At the end of a turn. The timer runs from the beginning of a phase, or of a request: a client that sends slowly does
 * not prolong it, unless it sends a body and sends enough. */
void h1_conn_set_timer(struct h1_conn *conn);
void h1_conn_timed_out(struct timer *timer, msec now);

#endif
