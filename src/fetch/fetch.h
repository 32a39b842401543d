/* fetch.h - This module sends HTTP requests to servers of others and brings their answers back. It refuses to know why: a
 * status is a status, and what it means is the asker's to say.
 *
 *     any thread ──fetch_send()──▶ mailbox ──▶ one thread ──▶ call->done(), on that thread
 *
 * A loop of the process may have a part of the module to itself: what it sends, and can be sent by our own client, needs no other
 * thread.
 *
 *     the loop's thread ──fetch_part_send()──▶ … ──fetch_part_turn_end()──▶ call->done(), on that thread
 *
 * The module's thread is a loop. HTTP/1.1 without TLS is its own client's (plain.h), all else is libcurl's. Whoever sends a call can't
 * tell which of the two has served it.
 *
 * A call belongs to the module from fetch_send() until done(), and it always comes back, once: with an answer, or with why
 * there is none. Nobody waits for it. Everything is bounded: calls (fetch_send() refuses), the bytes of an answer and of
 * its head, the time of the whole call, in which waiting for a place counts, and the time to connect.
 *
 * Redirects are not followed, so that a server can't send us where the operator never pointed (threat 112). Only http and
 * https are spoken. No proxy, .netrc or cookie of the environment is used. A certificate must be valid for the host.
 *
 * A call that was sent on a connection which the server closes without a word is not sent again, unless it says that it may be:
 * the server might have carried it out (RFC 9112 9.3.1).
 *
 * The module has no limit of its own for a server. Whoever sends many requests to one counts them and says so; such calls
 * don't stand in the line of the others, and don't hold them up. */
#ifndef FETCH_FETCH_H
#define FETCH_FETCH_H

#include "base/buf.h"
#include "base/counter.h"
#include "base/list.h"
#include "base/mail.h"
#include "base/msec.h"
#include "base/rc.h"

struct fetch;
struct loop;

enum fetch_outcome {
    FETCH_ANSWERED,     /* the whole answer is there, whatever its status says */
    FETCH_TIMEOUT,      /* it was not there in time */
    FETCH_UNREACHABLE,  /* no connection: refused, no route, no such host, a certificate that is not valid */
    FETCH_GARBAGE,      /* the answer is no HTTP, or ended before it was whole */
    FETCH_TOO_LARGE,    /* the answer or its head is longer than allowed */
    FETCH_CANCELLED,    /* by fetch_cancel(); the server may have seen the request */
    FETCH_STOPPED,      /* the module stops */
    FETCH_OUTCOME_COUNT
};

const char *fetch_outcome_text(enum fetch_outcome outcome);  /* "timeout" */

enum {
    FETCH_HEAD_BYTES_MAX = 64 * 1024,  /* of an answer, interim ones included; so many of trailers besides, which are dropped */
    FETCH_WANTED_MAX     = 8,          /* fields of an answer that a call keeps */
    FETCH_WHY_BYTES      = 256,
};

/* How a server is spoken to. */
enum fetch_protocol {
    FETCH_AUTO,   /* https: HTTP/2 if the server offers it (ALPN); http: HTTP/1.1 */
    FETCH_HTTP1,
    FETCH_H2C,    /* HTTP/2 without TLS, by prior knowledge */
};

struct fetch_field {
    const char *name;  /* static */
    struct buf  value; /* of the last one with this name in the head; empty: there was none */
};

struct fetch_call {
    struct mail   mail;  /* for the module, then for whoever done() gives it to */
    void        (*done)(struct fetch_call *call);  /* on the module's thread; must not wait. Takes the call */
    void         *owner;
    /* The question. */
    char         *url;
    const char   *method;              /* static: "POST" */
    struct buf    fields;              /* lines `Name: value`, each ended by CR LF: fetch_call_add_field() */
    struct buf    body;
    msec          timeout_ms;          /* of the whole call, from fetch_send() on */
    msec          connect_timeout_ms;
    size_t        answer_bytes_max;
    enum fetch_protocol protocol;
    bool          is_repeatable;       /* if a connection that was kept open turns out to be closed, it is sent again on another
                                        * one, although the server may have seen it */
    bool          is_counted;          /* its asker bounds how many it sends: it does not wait for a place, and takes none */
    uint32_t      connections_max;     /* to its server, by plain HTTP/1.1, of all parts together; 0: any number */
    /* The answer. */
    enum fetch_outcome outcome;
    unsigned      status;              /* FETCH_ANSWERED */
    struct buf    answer;
    struct fetch_field wanted[FETCH_WANTED_MAX];
    size_t        wanted_count;
    bool          is_multiplexed;      /* by HTTP/2 */
    bool          is_passed_on;        /* by a part of the module to its own thread, which calls done() */
    bool          keeps_head;          /* asked: all fields of the answer are wanted … */
    struct buf    head;                /* … as lines `Name: value`, each ended by a line feed */
    /* For whoever passes an answer on: makes `prepared` of it, on the thread that done() is called on. Not called without an
     * answer. NULL: nothing is to be prepared. `about` is the asker's */
    void        (*prepare)(struct fetch_call *call);
    const void   *about;
    unsigned      loop;                /* … which loop would be nearest: its number + 1; 0: none */
    struct buf    prepared;
    bool          is_sent;             /* some of the request was sent: the server may have seen it */
    msec          took_ms;
    char          why[FETCH_WHY_BYTES];  /* for the log, if it was not answered; holds no part of the request but host
                                          * and port */
    /* The module's. */
    struct list   link;
    msec          deadline;
    msec          begun_at;
    size_t        head_bytes;
    void         *handle, *lent;         /* libcurl's, and what it borrows */
    struct plain_conn *conn;             /* of our own client */
    atomic_bool   is_cancelled;
    _Atomic(struct fetch *) by;          /* the part that has it */
    bool          is_too_large, is_cut_off;
    /* By HTTP/2 (fetch_stream.c): the number of its stream, 0: none; the server takes no stream so high; and by which connection. */
    uint64_t      stream;
    bool          is_refused;
    uint32_t      stream_tries;
    int           far_port, near_port;
    char          far[46];
    bool          looks_up;      /* libcurl serves it, so that the address of its host is known afterwards */
    bool          has_head;      /* the empty line that ends it has come */
};

/* `method` is static. The URL is copied; http or https. */
struct fetch_call *fetch_call_new(const char *method, struct span url);
/* For another try, at this server: the URL is `address` and `target` together, and nothing is left of an answer. */
void               fetch_call_renew(struct fetch_call *call, struct span address, struct span target);
void               fetch_call_free(struct fetch_call *call);  /* NULL is fine; wipes what was sent */

/* A field of the request. False: name or value holds a byte that a field can't have, or it is one that the module says by
 * itself (Host, Content-Length, Transfer-Encoding, Connection); nothing is added. */
bool        fetch_call_add_field(struct fetch_call *call, struct span name, struct span value);
/* Keeps this field of the answer. `name` is static. */
void        fetch_call_want(struct fetch_call *call, const char *name);
struct span fetch_call_field(const struct fetch_call *call, const char *name);  /* empty: it was not there */

struct fetch_limits {
    uint32_t calls_max;        /* in the module at once; of those that the asker does not count, as all here */
    uint32_t under_way_max;    /* of them with a server; the others wait in line */
    uint32_t idle_max;         /* connections kept open between calls, by our own client; and by libcurl */
};

struct fetch_counters {
    struct counter calls, under_way, waiting;      /* the last two: now */
    struct counter outcomes[FETCH_OUTCOME_COUNT];
    struct counter took_ms_sum;
};

/* One for the process. `limits` are copied. Without fetch_start() it holds no thread. */
struct fetch *fetch_new(const struct fetch_limits *limits);
void          fetch_free(struct fetch *fetch);   /* NULL is fine; no thread runs */
/* Before it starts: servers of https are believed if one of these authorities, a PEM file, has signed their certificate;
 * those of the system count no more. False: `why` says what is wrong with the file. */
bool          fetch_trust(struct fetch *fetch, const char *ca_file, struct buf *why);
enum rc       fetch_start(struct fetch *fetch) RC_MUST_USE;  /* nothing if it is started already */
bool          fetch_is_started(const struct fetch *fetch);
/* Brings back all calls and ends the thread; nothing if none was started. Nobody sends any more. */
void          fetch_stop(struct fetch *fetch);

/* Any thread, once it is started. Takes the call if true. False: too many are in the module; the caller keeps it. */
bool fetch_send(struct fetch *fetch, struct fetch_call *call);
/* Any thread that knows that done() has not been called, or has not taken the call from its asker. The call comes back
 * all the same, soon: cancelled, or as it ended in the same moment. */
void fetch_cancel(struct fetch_call *call);

/* Any thread: of the module and all its parts. */
void fetch_read_counters(const struct fetch *fetch, struct fetch_counters *ret);

/* --- on a loop of the caller's --- */

enum { FETCH_PARTS_MAX = 256 };

/* A part of the module for this loop, which does not run yet. All functions but fetch_cancel() are called on the loop's thread, or while
 * it does not run. */
struct fetch *fetch_part_new(struct fetch *fetch, struct loop *loop);
void          fetch_part_free(struct fetch *part);  /* before the module; fetch_part_stop() was called. NULL is fine */
/* Takes a call that its asker counts. What our own client can't serve is passed on to the module's thread, which has been started. */
void          fetch_part_send(struct fetch *part, struct fetch_call *call);
/* In turn_end() of the loop: done() of what has ended. */
void          fetch_part_turn_end(struct fetch *part);
/* All calls that it still has end as FETCH_STOPPED now; it takes no more. In turn_end() of the loop, or while that does not run: events of
 * the turn name its connections, which are freed. */
void          fetch_part_stop(struct fetch *part);

#endif
