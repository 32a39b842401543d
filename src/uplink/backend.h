/* backend.h - a back end: the addresses of one ordinary HTTP service, what is under way with them, and whether they are well.
 * Requests, forwarders and webhooks all call by this.
 *
 *     backend_send(call) ──▶ a place? else a queue of as many, until its time is up ──▶ an address that is well ──▶ port.send
 *     call->done() ◀── retries to another address while no byte was sent ◀── backend_take() ◀── the port brings it back
 *
 * Health. An address whose calls failed `BREAKER_FAILURES` times in a row is left out (its circuit is open) for 1 s, doubled up to
 * 30 s; then one call tries it (half open), and its success closes the circuit. If all circuits are open, calls end as
 * BACKEND_CIRCUIT at once. 4xx are no failures, 5xx are answers and count as failures of the address; so do time-outs, refused
 * connections, garbage. (4.3 of the interface.)
 *
 * Pure: bytes leave by the port, the time is handed in, the random choice too. One thread, the writer's. */
#ifndef UPLINK_BACKEND_H
#define UPLINK_BACKEND_H

#include "base/counter.h"
#include "base/list.h"
#include "base/msec.h"
#include "base/rng.h"
#include "fetch/fetch.h"

enum { BACKEND_URLS_MAX = 16, BACKEND_FAILURES_TO_OPEN = 5, BACKEND_OPEN_MS_MIN = 1000, BACKEND_OPEN_MS_MAX = 30000 };

/* How the bytes travel: main gives the call to fetch (fetch/fetch.h) and brings it back to this thread; the simulator answers it
 * itself. A call that was sent always comes back, once, by backend_take(). */
struct backend_port {
    bool (*send)(void *ctx, struct fetch_call *call);    /* false: there is no room; the caller keeps it */
    void (*cancel)(void *ctx, struct fetch_call *call);
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
    BACKEND_STOPPED,     /* the node stops */
    BACKEND_OUTCOME_COUNT
};

struct backend;

struct backend_call {
    /* The question: owned by the call. `fetch` has method, path on the back end, fields and body; its URL is set by the back end,
     * anew for each try. */
    struct fetch_call  *fetch;
    char               *target;        /* path and query, behind the address; begins with '/' */
    msec                deadline;      /* of the whole call, queue and retries included; monotonic */
    bool                is_repeatable; /* it may be sent again although bytes of it were sent (a forwarder's batch) */
    void              (*done)(struct backend_call *call);  /* takes it, with the answer in `fetch` */
    void               *owner;
    /* The answer. */
    enum backend_outcome outcome;
    bool                is_sent;       /* some try sent a byte: the back end may have seen the request */
    uint32_t            tries;
    /* The back end's. */
    struct backend     *backend;
    uint32_t            address;
    struct list         link;
    bool                is_with_fetch, is_cancelled;
};

struct backend_limits {
    msec     timeout_ms;
    uint32_t connections_max, requests_max, retries;
};

struct backend_counters {
    struct counter calls, retries, queued, in_flight;          /* the last two: now */
    struct counter outcomes[BACKEND_OUTCOME_COUNT];
    struct counter statuses[6];                                /* [2]: 2xx … */
    struct counter circuits_open, circuit_openings;            /* now; since the start */
    /* and a histogram of the time a call takes: see the maker */
};

/* See the maker for backend_new(), backend_send(), backend_cancel(), backend_take(), backend_tick(), backend_free(). */

#endif
