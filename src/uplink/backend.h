/* backend.h - a back end: the addresses of one ordinary HTTP service, what is under way with them, and whether they are well.
 * Requests, forwarders and webhooks all call by this. backends.h holds those of the settings.
 *
 *     backend_send(call) ──▶ a place? else a queue of as many, until its time is up ──▶ an address that is well ──▶ port.send
 *     call->done() ◀── retries to another address while no byte was sent ◀── backend_take() ◀── the port brings it back
 *
 * Order. Calls leave in the order in which they came, to the addresses in turn, each with room for `connections_max` (or for
 * all, once it speaks HTTP/2). done() is called by backend_turn() alone, so that nothing ends while it is being sent.
 *
 * Health. An address whose calls failed BACKEND_FAILURES_TO_OPEN times in a row is left out (its circuit is open) for 1 s,
 * doubled up to 30 s, a quarter more or less by chance, so that many nodes don't try it at one moment; then one call tries it
 * (half open), and its success closes the circuit. While no circuit is closed, calls end as BACKEND_CIRCUIT at once, but for
 * those that try. A failure is: no connection, no answer in time, no HTTP, a status from 500 on but 501. What is too large is an
 * answer, as is 4xx. A call that a client gave less than half of the back end's own time proves nothing by running out of it,
 * or clients could open circuits.
 *
 * Repeats. A call is sent to another address only while no byte of it was sent, unless it says that it is repeatable.
 *
 * Pure: bytes leave by the port, the time is handed in, random numbers too. One thread, the writer's. */
#ifndef UPLINK_BACKEND_H
#define UPLINK_BACKEND_H

#include "base/counter.h"
#include "base/list.h"
#include "base/msec.h"
#include "base/rng.h"
#include "fetch/fetch.h"

enum { BACKEND_URLS_MAX = 16, BACKEND_FAILURES_TO_OPEN = 5, BACKEND_OPEN_MS_MIN = 1000, BACKEND_OPEN_MS_MAX = 30000 };

/* How the bytes travel: main gives the call to fetch (fetch/fetch.h) and brings it back to this thread; the simulator answers it
 * itself. A call that was sent always comes back, once, by backend_take(), never within send(). `owner` and `done` of the
 * fetch call are the port's while it has it. */
struct backend_port {
    bool (*send)(void *ctx, struct fetch_call *call, void *owner);  /* false: there is no room; the caller keeps it */
    void (*cancel)(void *ctx, struct fetch_call *call);
    /* For the log: an address is left out from now on, or is well again. `why`: of the last failure. NULL: nobody wants to know. */
    void (*circuit)(void *ctx, struct span backend, const char *url, bool is_open, const char *why);
};

enum backend_outcome {
    BACKEND_ANSWERED,    /* a status, whatever it says */
    BACKEND_TIMEOUT,     /* 504 */
    BACKEND_UNREACHABLE, /* 502; nothing was sent */
    BACKEND_GARBAGE,     /* 502; no HTTP, or it ended early */
    BACKEND_TOO_LARGE,   /* 502 */
    BACKEND_CIRCUIT,     /* 503; nothing was sent */
    BACKEND_FULL,        /* 503: the queue is full, or its time was up there; nothing was sent */
    BACKEND_CANCELLED,   /* by the caller */
    BACKEND_STOPPED,     /* the node stops, or the back end is in the settings no longer */
    BACKEND_OUTCOME_COUNT
};

const char *backend_outcome_text(enum backend_outcome outcome);  /* "unreachable" */

struct backend;
struct backend_address;

struct backend_call {
    /* The question. `fetch` is owned by the caller again once done() is called; it has method, fields, body and the bounds of the
     * answer; its URL and times are set by the back end, anew for each try. */
    struct fetch_call  *fetch;
    char               *target;        /* the caller's: path and query, behind the address; "" or begins with '/' */
    msec                deadline;      /* the latest end of the whole call, queue and retries included; monotonic. 0: the back
                                        * end's time-out from now on. It is never later than that */
    bool                is_repeatable; /* it may be sent again although bytes of it were sent (a forwarder's batch) */
    void              (*done)(struct backend_call *call);  /* takes it, with the answer in `fetch` */
    void               *owner;
    /* The answer. */
    enum backend_outcome outcome;
    bool                is_sent;       /* some try sent a byte: the back end may have seen the request */
    uint32_t            tries;
    /* The back end's. */
    struct backend     *backend;       /* NULL: it is with none */
    struct backend_address *address;   /* where it is being sent; NULL: nowhere */
    struct list         link;
    msec                came_at, sent_at;
    uint32_t            tried;         /* a bit for each address */
    enum backend_outcome last;         /* of the try before, if there was one */
    bool                is_cancelled;
    bool                is_probe;      /* it tries whether its address is well again */
};

struct backend_limits {
    msec                timeout_ms, connect_timeout_ms;
    uint32_t            connections_max;  /* to each address */
    uint32_t            requests_max;     /* under way; as many wait */
    uint32_t            retries;
    enum fetch_protocol protocol;
};

enum { BACKEND_BUCKETS = 13 };

struct backend_counters {
    struct counter calls, retries, waiting, in_flight;   /* the last two: now */
    struct counter outcomes[BACKEND_OUTCOME_COUNT];
    struct counter statuses[6];                          /* [2]: 2xx … */
    struct counter open_circuits, circuit_openings;      /* now; since the start */
    struct counter addresses;
    struct counter took[BACKEND_BUCKETS];                /* calls that took no longer than backend_buckets_ms[i] … */
    struct counter took_ms_sum, took_count;              /* … and all: from backend_send() to their answer, or why there is none */
};

extern const uint32_t backend_buckets_ms[BACKEND_BUCKETS];

/* `urls`: up to BACKEND_URLS_MAX, without a slash at the end; copied, as the name is. `random` is shared. */
struct backend *backend_new(struct span name, const struct backend_port *port, void *ctx, struct rng *random);
/* At first, and when the settings have changed: addresses that stay keep what is known of them. */
void            backend_set(struct backend *backend, const struct span *urls, size_t url_count, const struct backend_limits *limits);
void            backend_free(struct backend *backend);  /* backend_is_idle() */

struct span                    backend_name(const struct backend *backend);
const struct backend_counters *backend_counters(const struct backend *backend);
/* For logs, of an address: "http://10.0.0.1:9000"; NULL: there are no more. */
const char                    *backend_url(const struct backend *backend, size_t at, bool *ret_is_open);

/* Takes the call; it comes back by done(), once, in a backend_turn(). */
void backend_send(struct backend *backend, struct backend_call *call, msec now);
/* It comes back soon: cancelled, or as it ended in the same moment. Nothing if it has ended. */
void backend_cancel(struct backend_call *call);
/* The port has brought back what it was given; `owner` was given with it. */
void backend_take(void *owner, msec now);
/* At the end of each turn of the thread, and a few times a second: sends what waits and has a place, ends what has no time
 * left, and calls done(). True: it did. */
bool backend_turn(struct backend *backend, msec now);
/* All calls come back: those that wait at the next turn, those under way soon, cancelled. Later ones end as
 * BACKEND_STOPPED. */
void backend_stop(struct backend *backend);
bool backend_is_idle(const struct backend *backend);

#endif
