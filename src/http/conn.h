/* conn.h - one HTTP/1.1 connection: what it has read, what it owes. Private to this module. */
#ifndef HTTP_CONN_H
#define HTTP_CONN_H

#include "http/http.h"

/* A request whose body did not come together with its head. */
struct http_pending {
    struct buf          head_text;  /* what the head's spans point into */
    struct h1_head      head;
    struct buf          body;
    struct http_plan    plan;
    struct http_caller  caller;
    void               *identification;   /* under way; NULL: none, `caller` is final */
    bool                is_continue_due;  /* the client waits for 100 before it sends the body */
};

/* What the connection waits for; each has its own patience. */
enum http_phase {
    HTTP_IDLE,      /* for the next request */
    HTTP_READING,   /* for the rest of a request */
    HTTP_OWING,     /* for the service's answer: no patience of ours */
    HTTP_SENDING,   /* for the client to take some of its answer */
    HTTP_LEAVING,   /* for the client to close, or to be still at least: the last answer has left */
};

struct http_conn {
    struct list           link;       /* in server.conns */
    struct list           dirty;      /* in server.dirty */
    struct timer          timer;
    struct http_server   *server;
    struct stream        *stream;     /* NULL: taken over */
    struct h1             h1;
    struct buf            in;         /* read and not yet swallowed; empty between requests */
    struct buf            out;        /* answers on their way */
    struct list           exchanges;  /* oldest first */
    struct http_pending  *pending;    /* NULL: no body is being gathered */
    struct span           unread;     /* what stands behind the request being served */
    uint64_t              served;     /* requests so far */
    uint64_t              timed;      /* `served` when the timer was armed */
    msec                  phase_at;   /* when `phase` began */
    size_t                owed;       /* what it counts for in server.owed_bytes */
    size_t                promised;   /* bytes of answers that can't go into `out` yet, made or announced */
    uint32_t              exchange_count;
    uint8_t               phase;      /* enum http_phase */
    bool                  is_alone;   /* an exchange has the connection for itself */
    bool                  is_eof;     /* the client has sent all it will */
    bool                  is_resting; /* too much is under way: reading goes on when it's less */
    bool                  is_last;    /* nothing more is parsed: closed when all answers are gone */
    bool                  is_shut;    /* the client was told so: waiting for it to close */
};

void conn_open(struct http_server *server, int fd);  /* takes the descriptor */
void conn_close(struct http_conn *conn);

/* What it waits for now; conn->phase is what its timer runs for, as of the end of the last turn. */
enum http_phase conn_phase(const struct http_conn *conn);

/* Something was queued or freed: look at it before the turn ends. */
void conn_mark(struct http_conn *conn);
/* The end of the turn: sends, goes on parsing, closes. */
void conn_work(struct http_conn *conn);

/* Moves answers whose turn has come into `out`. */
void conn_queue_answers(struct http_conn *conn);

/* Ends the connection's requests with a problem: what the parser or a limit found. It answers the request that is
 * pending; without one nothing is known of it. */
void conn_refuse(struct http_conn *conn, unsigned status, const char *detail);

struct http_exchange *exchange_new(struct http_conn *conn, const struct h1_head *head);
void                  exchange_free(struct http_exchange *exchange);
void                  caller_forget(struct http_caller *caller, struct http_server *server);
/* Brings `owed` up to date. */
void conn_count_owed(struct http_conn *conn);

/* From now on it counts for so many bytes in its connection's `promised`. */
void exchange_promise(struct http_exchange *exchange, size_t bytes);

#endif
