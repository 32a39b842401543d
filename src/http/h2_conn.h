/* h2_conn.h - one HTTP/2 connection (RFC 9113): the frames and header blocks are those of codec/h2, the requests and answers those of
 * http.h. Private to this module.
 *
 *     h2_conn.c      the connection: its TCP or TLS stream, the end of a turn, closing
 *     h2_session.c   what the frames of the client mean: streams, windows, settings
 *     h2_request.c   requests: heads, bodies, the line of those that wait
 *     h2_exchange.c  answers, and services that take an exchange over
 *     h2_stream.c    an exchange that a service has taken over, as a stream (reactor/stream.h)
 *     h2_write.c     answers as frames
 *     h2_phase.c     what the connection and its exchanges wait for, and for how long
 *     h2_flood.c     how much a client may send that brings nothing
 *     h2_ended.c     which streams the client has ended
 *
 * While frames are read, and while a service answers, nothing is told to services' streams, and no exchange is freed. What has
 * been found stands in `closed` and `told` until the connection settles (h2_conn_settle()). */
#ifndef HTTP_H2_CONN_H
#define HTTP_H2_CONN_H

#include "codec/h2/h2_frame.h"
#include "codec/h2/h2_head.h"
#include "http/h2_ended.h"
#include "http/h2_flood.h"
#include "http/h2_memory.h"
#include "http/version.h"

enum {
    H2_OUT_BYTES_MAX = 64 * 1024,  /* frames that wait for the socket; beyond it none of bodies are made */
    H2_SLOTS         = 16,         /* a power of two */
};

/* What the connection waits for, if no exchange does. */
enum h2_phase {
    H2_SILENT,     /* for the first request */
    H2_IDLE,       /* for the next */
    H2_IN_HEAD,    /* for the rest of a header block */
    H2_BUSY,       /* for its exchanges, which have timers of their own */
    H2_SENDING,    /* for the socket to take frames */
    H2_LEAVING,    /* all frames have left: for the client to close */
};

struct h2_conn {
    struct http_conn       http;
    struct timer           timer;
    struct h2_frames       frames;
    struct hpack           hpack;
    struct buf             out;         /* frames that the socket has not taken; empty between turns, as a rule */
    struct list            exchanges;   /* whose streams are open … */
    struct h2_exchange    *slots[H2_SLOTS];  /* … found by their numbers; each is a chain */
    struct list            ready;       /* of them, those that have DATA or an end to send, which take turns */
    struct list            line;        /* of them, those that are whole, but can't be served yet; oldest first */
    struct list            closed;      /* whose streams have closed since the connection settled last */
    struct list            told;        /* h2_streams with news for their owners */
    struct list            full;        /* h2_streams that wait for room */
    struct h2_flood        flood;
    struct h2_ended        ended;
    struct h2_exchange    *heavy;       /* the exchange whose big answer is under way */
    uint64_t               put;         /* bytes that its socket has taken from us */
    uint64_t               taken_then;  /* by the client, when the timer of H2_SENDING was armed */
    msec                   phase_at;
    size_t                 owed;        /* its part of server.owed_bytes */
    size_t                 answers;     /* bytes of bodies that are no frames yet */
    size_t                 promised;    /* bytes of answers that services have promised */
    size_t                 held;        /* bytes that h2_streams have taken and that are no frames yet */
    int64_t                window;      /* of the client: bytes of DATA that may be sent */
    uint32_t               window_each; /* … that a stream of it begins with */
    uint32_t               in_used;     /* of our window, that the client has not been given back */
    uint64_t               acks_end;    /* where the last of them ends, as `put` counts */
    uint32_t               acks;        /* answers to SETTINGS and PING that the socket has not taken all of */
    uint32_t               exchange_count;
    uint32_t               open_count;  /* of them, those whose streams are open */
    uint32_t               served;      /* modulo 2^32 */
    uint32_t               timed;       /* `served` when the timer was armed */
    uint8_t                phase;       /* enum h2_phase */
    bool                   is_brief;    /* it is one too many: it closes after its first answer */
    bool                   has_window_news; /* the client has opened a window since bodies were looked at last */
    bool                   must_drop_table; /* the client has made its table of fields smaller: the next block says that we use none */
    bool                   has_left;    /* the client has said GOAWAY: once nothing is under way the connection is over */
    bool                   is_over;     /* nothing more is read, and no frame is made any more; or the link is broken */
    bool                   is_leaving;  /* GOAWAY was sent; no new request is taken */
    bool                   is_eof;      /* the client has closed its direction */
    bool                   is_shut;     /* ours is closed */
    bool                   is_watched;  /* nothing is left to do but for the client to read what the kernel has: taken_then counts */
};

/* A request on its way to its answer, or to the end of the stream that it became. */
struct h2_exchange {
    struct http_exchange   http;
    struct http_sender     sender;
    struct list            link;        /* in conn->exchanges or conn->closed */
    struct list            in_line;     /* in conn->line */
    struct list            ready;       /* in conn->ready */
    struct h2_exchange    *next_in_slot;
    struct timer           timer;       /* of its body, or of its answer */
    struct h2_conn        *conn;        /* NULL: the client is gone */
    struct h2_head        *head;        /* until it is served */
    struct http_plan       plan;
    struct http_caller     caller;      /* until it is served */
    void                  *identification;
    struct buf             body;        /* of the request, until it is served; then what its h2_stream has not read */
    struct http_body_share share;       /* of `body` until then */
    struct span            borrowed;    /* the body, while its frame is read */
    struct buf             answer;      /* the body of the answer, or what its h2_stream has written … */
    size_t                 answer_at;   /* … of which so much has become frames */
    int64_t                window;      /* of the client: bytes of DATA that may be sent */
    uint64_t               due;         /* bytes that are still to come, as the head says; UINT64_MAX: it does not */
    uint32_t               in_used;     /* of our window, that the client has not been given back … */
    uint32_t               in_read;     /* … of which so much has been read */
    struct h2_stream      *stream;      /* a service has taken it over; NULL: none, or it has closed it */
    size_t                 timed_bytes; /* of its body or answer, when the timer was armed */
    size_t                 promised;
    uint32_t               id;
    bool                   is_two_way;  /* a WebSocket: it is over when both directions are */
    bool                   is_whole;    /* all of the request has come */
    bool                   is_served;
    bool                   is_closed;   /* its stream is */
    bool                   is_taken;    /* a service took it over */
    bool                   is_ended;    /* nothing follows `answer` */
    bool                   is_all_sent; /* … and END_STREAM is among the frames */
    bool                   is_cut;      /* … and then it is reset, because the answer is not whole */
};

extern const struct http_version http_version_2;

/* Is it the preface by which a client speaks HTTP/2 without having asked (RFC 9113 3.4)? */
enum h2_preface { H2_PREFACE_NO, H2_PREFACE_PART, H2_PREFACE_WHOLE };
enum h2_preface h2_preface_judge(struct span input);

/* --- h2_conn.c */

/* Deals with what callbacks have found. The connection may be dirty afterwards, and is not freed. */
void h2_conn_settle(struct h2_conn *conn);
/* GOAWAY, without an error: later requests are refused, those under way end as they would. */
void h2_conn_say_goodbye(struct h2_conn *conn);
/* GOAWAY, with an error; nothing more is read. */
void h2_conn_abort(struct h2_conn *conn, enum h2_error error, const char *why);
void h2_conn_count_owed(struct h2_conn *conn);

/* --- h2_session.c */

/* What the HTTP/2 connections of a server share; made for the first one. */
struct h2_shared;
struct h2_shared *h2_shared_get(struct http_server *server);
struct h2_memory    *h2_shared_memory(struct h2_shared *shared);
struct stream_maker *h2_shared_maker(struct h2_shared *shared, bool is_secret);
struct h2_usual     *h2_shared_usual(struct h2_shared *shared);

/* All its streams have been given back: behind the end of the loop. NULL is fine. */
void h2_shared_free(struct h2_shared *shared);

void h2_session_open(struct h2_conn *conn);
void h2_session_take(struct h2_conn *conn, struct span input);
/* Of a stream: the head of a request that is kept, by itself; the one that is being read belongs to all. */
struct h2_head *h2_heads_keep(struct http_server *server, const struct h2_head *head);
void            h2_heads_give(struct http_server *server, struct h2_head *head);  /* NULL is fine */
/* The owner of a body has read so much of it: the window of its stream opens, in steps. */
void h2_exchange_consume(struct h2_exchange *exchange, size_t bytes);
/* RST_STREAM for any stream. Those that the client has brought about are bounded. */
void h2_conn_reset(struct h2_conn *conn, uint32_t id, enum h2_error error);
/* Its stream is closed: it waits for the connection to settle. */
void h2_exchange_close(struct h2_exchange *exchange);

/* --- h2_request.c */

struct h2_exchange *h2_exchange_new(struct h2_conn *conn, uint32_t id);
/* `head` has been judged, and is borrowed. `body`: all of it, if it came together with the head. */
void h2_exchange_on_head(struct h2_exchange *exchange, struct h2_head *head, bool is_end, struct span body);
void h2_exchange_on_body(struct h2_exchange *exchange, struct span piece);
void h2_exchange_on_end(struct h2_exchange *exchange);
void h2_exchange_refuse(struct h2_exchange *exchange, unsigned status, const char *detail);
void h2_exchange_identified(struct h2_exchange *exchange, const struct http_caller *caller);
/* Serves those of the line that may be served now. */
void h2_conn_serve_line(struct h2_conn *conn);
/* Lets go of all that an exchange holds of its request. */
void h2_exchange_drop_request(struct h2_exchange *exchange);

/* --- h2_exchange.c */

/* Its stream has closed: its owner is told, or it is freed. */
void h2_exchange_orphan(struct h2_exchange *exchange);
void h2_exchange_free(struct h2_exchange *exchange);
/* It has something to send, or may have room for it. */
void h2_exchange_resume(struct h2_exchange *exchange);
/* RST_STREAM. */
void h2_exchange_reset(struct h2_exchange *exchange, enum h2_error error);
/* What has not become frames of `answer` is dropped, and the stream reset. */
void h2_exchange_drop_answer(struct h2_exchange *exchange);
/* So much more of `answer` has become frames. */
void h2_exchange_sent(struct h2_exchange *exchange, size_t len);
void                 h2_answer(struct http_exchange *exchange, const struct http_answer *answer);
const struct stream *h2_exchange_stream(const struct http_exchange *exchange);
uint64_t       h2_exchange_number(const struct http_exchange *exchange);
void                 h2_promise(struct http_exchange *exchange, size_t answer_bytes);
struct stream       *h2_open_stream(struct http_exchange *exchange, const struct http_answer *head, struct buf *first,
                                    bool *ret_is_chunked);
struct stream       *h2_open_websocket(struct http_exchange *exchange, const struct ws_handshake *shake,
                                       struct span protocol, struct buf *first, struct buf *unread);

/* --- h2_write.c */

/* What answers of a server begin with alike, made once a second. */
struct h2_usual {
    msec     second;
    unsigned status;
    uint8_t  media_len, block_len;
    char     media[64], block[120];
};

/* has_body: what `answer` holds and will hold follows it. */
void h2_put_head(struct h2_exchange *exchange, const struct http_answer *answer, bool has_body);
/* All of the body, at once if it may leave. */
void h2_put_body(struct h2_exchange *exchange, struct span body);
void h2_put_continue(struct h2_exchange *exchange);
/* Makes frames of bodies, as many as may wait in conn->out and as the windows of the client let leave. */
void h2_conn_pump(struct h2_conn *conn);
/* Fewer bytes than that are not sent while more of the same body wait, because the client's window opens slowly. */
size_t h2_conn_room_least(const struct h2_conn *conn);

/* --- h2_phase.c */

void h2_conn_set_timer(struct h2_conn *conn);
void h2_conn_timed_out(struct timer *timer, msec now);
/* All of its answer is on its way. RFC 9113 8.1 would let us reset the stream of a request that is not whole at once; but there
 * are clients that look no further then, and never see the answer (curl 7.88). They have linger_ms to stop sending. */
void h2_exchange_answered(struct h2_exchange *exchange);
/* Its body or its answer is under way from now on, or is over: arms or disarms its timer. */
void h2_exchange_set_timer(struct h2_exchange *exchange);
void h2_exchange_timed_out(struct timer *timer, msec now);

#endif
