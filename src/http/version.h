/* version.h - a port: what a version of HTTP does for connections and exchanges. HTTP/1.1 is h1_conn.h, HTTP/2 is
 * h2_conn.h. Private to this module. */
#ifndef HTTP_VERSION_H
#define HTTP_VERSION_H

#include "codec/ws/ws.h"
#include "http/http.h"

struct handover_http;  /* codec/handover/handover.h */

/* What connections of all versions have; each version's own struct begins with it. */
struct http_conn {
    struct list                link;     /* in server.conns */
    struct list                dirty;    /* in server.dirty */
    const struct http_version *version;
    struct http_server        *server;
    struct stream             *stream;   /* NULL: a session has it now */
    struct list                sending;  /* in server.sending */
    bool                       has_moved; /* another process has it, or is about to */
    uint64_t                   number;   /* no other connection of the process has it */
    uint64_t                   taken;    /* bytes of answers that its client had taken … */
    bool                       is_known; /* one of its requests came from somebody who is known */
    msec                       taken_at; /* … at the tick that saw it last take some; 0: no tick has looked yet */
};

/* Who sent one request, for service->identify(). Each version keeps it in a struct of its own. */
struct http_sender {
    struct http_conn *conn;
};

struct http_version {
    /* Takes the stream, which may have had an owner before. `unread`: what was read from it already. is_brief: it closes
     * after its first answer. */
    void (*open)(struct http_server *server, struct stream *stream, struct span unread, bool is_brief);
    void (*close)(struct http_conn *conn);  /* at once; the owners of its exchanges are told that the client is gone */
    void (*work)(struct http_conn *conn);   /* the end of the turn: sends, goes on parsing, closes */
    void (*drop_answers)(struct http_conn *conn);  /* that wait for its client, who takes none of them; closes if need be */
    uint64_t (*taken)(const struct http_conn *conn);  /* bytes of answers that its client has taken so far */
    void (*stop)(struct http_conn *conn);   /* the server stops: closes if nothing is under way */
    /* Memory is short: lets go of it, unless the service has yet to answer a request of it. False: it stays. NULL: it
     * always does. */
    bool (*shed)(struct http_conn *conn);
    /* For another process (hand_over.h). False: a request is under way, or the connection ends. NULL: such connections don't move. */
    bool (*hand_over)(const struct http_conn *conn, struct buf *scratch, struct handover_http *ret);
    void (*identified)(struct http_sender *sender, const struct http_caller *caller);  /* see http_identified() */

    /* Each ends the exchange, and is called once. If the client is gone already, the answer is dropped. */
    void (*answer)(struct http_exchange *exchange, const struct http_answer *answer);
    /* The client is there, and the plan said is_alone. See http_open_stream() and http_open_websocket(). */
    struct stream *(*open_stream)(struct http_exchange *exchange, const struct http_answer *head, struct buf *first,
                                  bool *ret_is_chunked);
    struct stream *(*open_websocket)(struct http_exchange *exchange, const struct ws_handshake *shake,
                                     struct span protocol, struct buf *first, struct buf *unread);

    /* Of its connection; NULL: the client is gone. */
    const struct stream *(*stream)(const struct http_exchange *exchange);
    void (*promise)(struct http_exchange *exchange, size_t answer_bytes);  /* see http_promise() */
    uint64_t (*number)(const struct http_exchange *exchange);  /* of its connection; 0: the client is gone */
};

/* Answers wait for its stream. list_take(&conn->sending) ends it. */
void http_conn_sends(struct http_conn *conn);

/* Something was queued or freed: work() before the turn ends. */
void http_conn_mark(struct http_conn *conn);

/* The fields of an answer, those of the service included, but for the date and what frames the answer; returns how
 * many. They point into the exchange and into the answer. */
enum { ANSWER_FIELDS_MAX = 16 };
size_t answer_fields(const struct http_exchange *exchange, const struct http_answer *answer,
                     struct http_field ret[static ANSWER_FIELDS_MAX]);

/* A line break in a name or a value would begin another field, or another answer. */
bool field_is_one_line(struct span text);
/* Now, as RFC 9110 5.6.7 has it; valid until the next call. */
struct span http_date(struct http_server *server);
bool http_status_has_body(unsigned status);

/* What is wrong with a body that is longer than its plan takes. */
enum { HTTP_LONG_BODY_BYTES = 160 };
void http_say_long_body(const struct http_plan *plan, char ret_detail[static HTTP_LONG_BODY_BYTES]);
enum { SHORT_BODY_BYTES = 4096, SHORT_BODIES_PART = 8 };
/* A body that is being gathered, as the maximum of all bodies together sees it. All zero: nothing of it is here. */
struct http_body_share {
    size_t bytes;
    bool   is_short;  /* it is counted among the short ones: there was no other room for it */
};
/* Counts so many more bytes of a body, if they have room. Where body_bytes_max leaves none, bodies of up to SHORT_BODY_BYTES have an
 * eighth of it to themselves: who sends the beginnings of long bodies does not shut out a client whose line comes in two pieces. */
bool http_body_grow(struct http_server *server, struct http_body_share *share, size_t more);
/* The same whether they have room or not. The caller bounds them by other means. */
void http_body_force(struct http_server *server, struct http_body_share *share, size_t more);
void http_body_free(struct http_server *server, struct http_body_share *share);
#define HTTP_BODIES_FULL "too much is being sent to this server at once; send it again a little later"

/* The parts of an exchange that have no version. */
void exchange_init(struct http_exchange *exchange, const struct http_version *version, struct http_server *server,
                   const struct request_head *head);
void exchange_fini(struct http_exchange *exchange);
/* Refuses what no service may see, answers what is the same for all services, and hands the rest to the service. Takes
 * the caller's reference. */
void exchange_serve(struct http_exchange *exchange, const struct http_plan *plan, const struct http_request *request,
                    struct http_caller *caller);
/* The client has gone before its answer. */
void exchange_tell_gone(struct http_exchange *exchange);
/* Answers with a problem, without the service: what the parser or a limit found. */
void exchange_refuse(struct http_exchange *exchange, unsigned status, const char *detail);

/* Will it be refused whoever sends it, because of its Host or of its page's origin? */
bool http_is_foreign(const struct http_server *server, const struct http_plan *plan, const struct request_head *head);
/* Who sent this head? The same as service->identify(), for a plan that needs it. If the request is foreign its sender is
 * not identified. */
void *http_identify(struct http_sender *sender, const struct http_plan *plan, const struct http_request *request,
                    struct http_caller *ret);
void  http_caller_forget(struct http_caller *caller, struct http_server *server);

/* The body of an RFC 9457 problem. `title` NULL: the status's own text. */
void http_put_problem(struct buf *buf, unsigned status, const char *title, const char *detail);

#endif
