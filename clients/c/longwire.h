/* longwire.h - liblongwire: a client of a Longwire server, over its native protocol on TCP and TLS.
 *
 * A client follows channels and publishes into them. Links break; the library comes back by itself, with the back-off
 * that the server told, and goes on where it stood. What is always true:
 *
 *   - Of each channel a client is told every seq once and in order: as a message, or as part of a gap.
 *   - A message is published once, however often the link breaks before its answer has come: lw_publish() gives each an
 *     idempotency key, and sends it again until it is answered.
 *   - Nothing grows without bound: each queue has a maximum, and a call that would pass it returns LW_FULL.
 *
 * One client is one `struct lw`: lw_new(), then either lw_start() for a thread of its own, or lw_fd(), lw_timeout() and
 * lw_process() on a loop of yours. It connects as soon as one of them runs.
 *
 * Threads. lw_fd(), lw_timeout(), lw_process() and lw_free() belong to one thread at a time. All other calls may be made
 * from any thread and from callbacks. They note what is to be done and return at once; the answer comes by a callback.
 * Callbacks are called one after the other, by lw_process() or by the thread of lw_start(). A callback may make every
 * call but lw_process(), lw_stop() and lw_free().
 *
 * Memory. What a call is given is copied before it returns. What a callback is given is borrowed until the callback
 * returns. Texts are UTF-8 and end with a NUL. A process that runs out of memory is ended, with a line on standard error.
 *
 * Times are milliseconds (`_ms`) or seconds (`_s`); wall clock times count from 1970 by the server's clock.
 * Structs are zeroed before they are filled in: a zero member means "as usual". Their layout may change until version
 * 1.0; the number in the name of the shared library changes with it. */
#ifndef LONGWIRE_H
#define LONGWIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

struct lw;

/* How a call ended. */
enum lw_result {
    LW_OK = 0,
    LW_BAD,      /* an argument can't be used: missing, too long, or not UTF-8 */
    LW_FULL,     /* a maximum is reached; try again when a callback has told that something was done */
    LW_CLOSED,   /* lw_close() was called, or the server has ended this client for good */
    LW_BUSY,     /* lw_start() has a thread already */
    LW_SYSTEM,   /* no descriptor or thread to be had; errno says more */
};

/* "maximum reached". Never NULL. */
const char *lw_result_text(enum lw_result result);

/* "0.1.0": the version of the library that runs. */
const char *lw_version(void);

/* --- what comes in ------------------------------------------------------------------------------------------------- */

enum lw_message_kind {
    LW_MESSAGE,
    LW_RECALL,    /* takes the message `target` back; no data */
    LW_RECALLED,  /* what remains of a message that was taken back: its numbers, no data */
};

struct lw_message {
    enum lw_message_kind kind;
    const char *channel;   /* "topic:prices" */
    uint64_t    epoch;     /* the life of the channel's log: seqs of different epochs can't be compared */
    uint64_t    seq;       /* place in the channel, from 1 */
    uint64_t    id;
    int64_t     time_ms;   /* when the server accepted it */
    const char *from;      /* who published: the name of an API key, or "user:U"; NULL: nobody is named */
    const char *media;     /* media type of the data; "" where there is no data */
    const char *event;     /* the name that its publisher gave it; NULL: none */
    const void *data;      /* any bytes; a NUL follows them that doesn't count */
    size_t      data_len;
    uint64_t    target;    /* LW_RECALL: the seq that it takes back */
};

enum lw_gap_why {
    LW_GAP_EXPIRED,    /* their time to live ran out */
    LW_GAP_TRIMMED,    /* retention let them go, or the channel was purged */
    LW_GAP_EPOCH,      /* the log was lost or reset: what was read before can't be compared by seq any more */
    LW_GAP_AHEAD,      /* the place that was named lay behind the head: nothing was lost there */
    LW_GAP_CORRUPT,    /* the server can't read them from its disk */
    LW_GAP_COLLAPSED,  /* newer messages with the same collapse key replace them */
    LW_GAP_UNFOLLOWED, /* the session did not follow the channel meanwhile: it began anew, or the user had left the group */
    LW_GAP_OTHER,      /* a reason that this library is too old to know */
};

/* Seqs that this client is not given, both ends included. `to` may be from - 1: then none is missing. */
struct lw_gap {
    const char     *channel;
    uint64_t        epoch;   /* the log's epoch now */
    uint64_t        from, to;
    enum lw_gap_why why;
};

/* A channel is followed from now on, or not any more, or it can't be. Not only by lw_subscribe(): a session follows channels by itself, and
 * a back end or the server's connect hook may tell a link to follow one; without a session that ends with the link. */
struct lw_subscription {
    const char *channel;
    bool        is_followed;
    uint64_t    epoch, head;  /* of the channel when it was followed; the last seq given, 0: never used */
    unsigned    code;         /* 0, or why the call was refused: 400, 403, 404, 409 … as HTTP statuses */
    const char *reason;       /* NULL, or the same in words */
};

/* What the server tells a user's devices, as a message of the log `user:U`: it comes in order and is never lost. */
enum lw_control_kind {
    LW_CONTROL_MEMBERSHIP,  /* the user has joined or left a group; a session follows or leaves its channel by itself */
    LW_CONTROL_READ,        /* another device of the user has set a read mark: lw_read() */
    LW_CONTROL_OTHER,       /* a kind that this library is too old to know: see `type` and `message` */
};

struct lw_control {
    enum lw_control_kind     kind;
    const char              *type;     /* "membership" */
    const char              *channel;  /* MEMBERSHIP: "group:lobby"; READ: the channel that was read; else NULL */
    bool                     has_joined;  /* MEMBERSHIP */
    uint64_t                 seq;      /* READ: the mark */
    const struct lw_message *message;  /* it itself; its data is a JSON object */
};

/* Who follows a channel, besides the messages: of no log, so nothing of it is told again after a loss. Devices count, not
 * links; who polls is present between its polls. Who they are says `GET /v1/channels/CHANNEL/subscribers`. */
enum lw_presence_kind {
    LW_JOINED,   /* this device follows the channel now */
    LW_LEFT,     /* … and no longer */
    LW_PRESENT,  /* only `count`: at first, and where notices may have been missed */
};

struct lw_presence {
    enum lw_presence_kind kind;
    const char *channel;
    const char *user, *device;  /* LW_PRESENT: NULL */
    uint64_t    count;          /* devices that follow it now */
};

/* Of a publish. */
struct lw_published {
    const char *channel;
    unsigned    code;      /* 0: published. Else why not: 400, 403, 404, 413, 422, 429, 503, 507 … as HTTP statuses */
    const char *reason;    /* NULL, or the same in words */
    uint64_t    epoch, seq, id;  /* of the message, where it was published */
    int64_t     time_ms;
    bool        is_replayed;     /* the key was used before: these are the numbers of the message published then */
};
typedef void lw_published_fn(void *arg, const struct lw_published *published);

/* What a back end has answered to a request, or why it got none. */
struct lw_header {
    const char *name, *value;
};

struct lw_response {
    const char *id;        /* of the request */
    unsigned    status;    /* of HTTP; 0: there is no response, and `reason` says why */
    unsigned    code;      /* without a response: what the server refused it with (400, 403, 404, 410, 413, 422 …; 409: the id waits
                              already; 499: cancelled before it was sent); 0: the time was up, or the link was lost */
    const char *reason;    /* NULL, or the same in words */
    const struct lw_header *headers;
    size_t      header_count;
    const void *body;      /* any bytes; a NUL follows them that doesn't count */
    size_t      body_len;
    bool        is_replayed;  /* the server had answered this id before */
};
typedef void lw_response_fn(void *arg, const struct lw_response *response);

/* The value of a header, in any case; NULL: there is none. */
const char *lw_response_header(const struct lw_response *response, const char *name);

enum lw_state {
    LW_CONNECTING,  /* to `server` */
    LW_CONNECTED,   /* the server has answered: messages flow */
    LW_WAITING,     /* the link is lost or refused; the next try comes in wait_ms */
    LW_ENDED,       /* for good: by lw_close(), or because coming again makes no sense. No callback follows */
};

struct lw_status {
    enum lw_state state;
    const char   *server;      /* "tcp://push.example:7400", the one meant */
    unsigned      code;        /* WAITING, ENDED: a status (401, 503 …) or a close code (4001 replaced, 4002 cut off, 4003
                                  expired, 4004 revoked) of the server's; 0: none was given */
    const char   *reason;      /* WAITING, ENDED: in words; never NULL there */
    int64_t       wait_ms;     /* WAITING */
    bool          is_resumed;  /* CONNECTED: the server goes on at places that it had stored */
    bool          is_unfenced; /* CONNECTED, with a session: the server's database is away, and the ticket alone was believed. What
                                  the session follows waits; when the database is back, CONNECTED is told again without this */
    const char   *connection;  /* CONNECTED: the key that addresses this link, 16 hex digits */
    const char   *user, *device;  /* CONNECTED, with a session: who this client is; else NULL */
    uint64_t      generation;     /* CONNECTED, with a session; else 0 */
    unsigned      heartbeat_s;    /* CONNECTED: what holds */
};

/* Calls of the library into the application. Each may be NULL: then nobody is told. */
struct lw_callbacks {
    /* A message, or what stands in a message's place. With LW_ACK_AFTER_CALLBACK it is acknowledged when this returns. */
    void (*message)(void *arg, const struct lw_message *message);
    void (*gap)(void *arg, const struct lw_gap *gap);
    void (*state)(void *arg, const struct lw_status *status);
    void (*subscription)(void *arg, const struct lw_subscription *subscription);
    /* NULL: control messages come as messages. */
    void (*control)(void *arg, const struct lw_control *control);
    /* Mode LW_NOTIFY: the channel has messages up to `head`. Several such may be told as one. */
    void (*notify)(void *arg, const char *channel, uint64_t epoch, uint64_t head);
    /* Of channels that were followed with `presence`. */
    void (*presence)(void *arg, const struct lw_presence *presence);
    /* A fresh token is needed: the one in use ends in `in_s` seconds, or the server has refused it (0). Give it with
     * lw_set_token(), here or later. */
    void (*token)(void *arg, unsigned in_s);
    /* A ticket to be kept, for instance in a file: as lw_options.ticket it resumes the session when the application
     * starts again. It is of one user. Give the token beside it: if that names another user, the session is theirs, and the ticket is
     * not used. NULL: forget what was kept. */
    void (*ticket)(void *arg, const char *ticket);
    /* The application's own state of this channel is to be loaded: at first, and where messages are lost. Answer with
     * lw_snapshot_taken(), here or later. Until then nothing of this channel is told. The loss is told as a gap only
     * if the snapshot was taken before its end. Only of channels that were followed with needs_snapshot. */
    void (*snapshot)(void *arg, const char *channel);
};

/* --- options -------------------------------------------------------------------------------------------------------- */

/* Which messages a session has is what it acknowledges: the server sends the others again to the device's next link. */
enum lw_ack_mode {
    LW_ACK_AFTER_CALLBACK,  /* each message when its callback has returned */
    LW_ACK_BY_HAND,         /* by lw_ack() */
};

enum lw_mode {
    LW_PUSH,    /* messages themselves */
    LW_NOTIFY,  /* only that there are some: callback `notify` */
};

struct lw_backoff {
    int64_t base_ms, cap_ms;  /* first wait, longest wait */
    double  factor;           /* from wait to wait; 1 or more */
    double  jitter;           /* the part of a wait that is random: 0 to 1 */
};

struct lw_options {
    /* "tcp://HOST:PORT" or "tls://HOST:PORT", several with commas: the next is tried when one can't be reached. `tcp` is
     * meant where no scheme is given, and port 7400 (tls: 7443) where none is. At most 16. */
    const char *servers;
    /* "http://HOST[:PORT]" or "https://…": a router, which is asked where to connect (`GET /v1/allocate`) before the first link
     * and after each lost one. What it names takes the place of `servers`, which may be NULL then; without an answer the servers
     * that are known are tried. NULL: nobody is asked. */
    const char *allocate;
    const char *region;       /* for `allocate`: a node of this region, if there is one; NULL: any */
    const char *ca_file;      /* PEM: who may have signed the server's certificate; NULL: as the system says */

    /* Who this is. */
    const char *token;        /* JSON Web Token or API key; NULL: none. At most 16,384 bytes */
    const char *user;         /* only where the server has neither keys nor issuers: to try it out */
    const char *device;       /* a name for this device, where the token names none */
    const char *device_class; /* with a session: "phone", "tablet" …, where the server allows one device of a class; NULL: none */

    /* A session is the device's standing on the server: it keeps the places of its channels over links and over restarts
     * of the application, and follows the user's own channels by itself. Without one the library keeps places as long
     * as it runs. */
    bool             has_session;
    const char      *ticket;  /* what the callback `ticket` was last given; NULL: none */
    enum lw_ack_mode ack_mode;
    enum lw_mode     mode;    /* of the channels that a session follows by itself */

    unsigned          heartbeat_s;        /* seconds between heartbeats that this client would like; 0: the server's */
    struct lw_backoff backoff;            /* until the server tells its own; 0: 250 ms, 15 s, 2, 1 */
    size_t            publish_count_max;  /* publishes and requests without an answer; 0: 1,000 */
    size_t            publish_bytes_max;  /* … and their bytes; 0: 16 MiB */
    size_t            channel_count_max;  /* channels followed; 0: 1,000 */
    size_t            message_bytes_max;  /* a longer frame of the server's ends the link; 0: 16 MiB */

    struct lw_callbacks on;
    void               *arg;              /* of all callbacks */
};

/* A client that is not running yet. NULL: *ret_fault says in a sentence why; it stands until the thread's next lw_new().
 * `ret_fault` may be NULL. */
struct lw *lw_new(const struct lw_options *options, const char **ret_fault);

/* Ends the link at once and frees all. Publishes and requests without an answer get none. Call lw_stop() first where a
 * thread runs. NULL is fine. */
void lw_free(struct lw *lw);

/* --- on a loop of yours ------------------------------------------------------------------------------------------------ */

/* One descriptor for the client's whole life, of an epoll: when it is readable, call lw_process(). Don't close it. */
int lw_fd(const struct lw *lw);

/* In so many milliseconds lw_process() must be called, even if lw_fd() has not become readable; -1: no such moment. Ask
 * again after each lw_process(). */
int lw_timeout(const struct lw *lw);

/* Does all that can be done now, without waiting, and calls the callbacks. LW_CLOSED: the client has ended, and there is
 * nothing more to do but lw_free(). */
enum lw_result lw_process(struct lw *lw);

/* --- on a thread of its own ------------------------------------------------------------------------------------------- */

/* LW_BUSY: it runs already. LW_SYSTEM: no thread. The thread takes no signals. */
enum lw_result lw_start(struct lw *lw);

/* As lw_close(), and waits until the thread has ended, `wait_ms` at most; then the link is ended as it is. Publishes and
 * requests without an answer get none. Not from a callback. Without a thread it does nothing. */
void lw_stop(struct lw *lw, int64_t wait_ms);

/* --- what goes out ------------------------------------------------------------------------------------------------------ */

enum lw_place {
    LW_FROM_NOW,
    LW_AFTER,  /* behind `seq`; 0: from the first message that is kept */
    LW_LAST,   /* the last `seq` messages, then on */
};

struct lw_subscribe {
    const char   *channel;
    enum lw_place place;
    uint64_t      seq;
    uint64_t      epoch;           /* of LW_AFTER: the log that `seq` was read from; 0: unknown */
    bool          keep;            /* with a session: it follows this channel until lw_unsubscribe(), over restarts too */
    enum lw_mode  mode;
    bool          presence;        /* tell who comes and goes, where the channel's namespace has presence */
    bool          needs_snapshot;  /* callback `snapshot`, which is not NULL then; only with LW_FROM_NOW */
};

/* Answered by the callback `subscription`, again after each reconnect. Where the session has a place of this channel, it
 * counts, not the one given here. A channel that is followed already is told as 409. */
enum lw_result lw_subscribe(struct lw *lw, const struct lw_subscribe *subscribe);
/* Nothing of that channel is told after the callback `subscription` has told so. */
enum lw_result lw_unsubscribe(struct lw *lw, const char *channel);

/* The application's own state of `channel` was taken at this place: what comes behind is told. `epoch` 0: unknown. */
enum lw_result lw_snapshot_taken(struct lw *lw, const char *channel, uint64_t epoch, uint64_t seq);

enum lw_priority {
    LW_NOW,
    LW_BEAT,  /* it wakes no sleeping device: it goes along with the next heartbeat, or with a message that can't wait */
};

struct lw_publish {
    const char *channel;
    const void *data;      /* any bytes */
    size_t      data_len;
    const char *media;     /* NULL: "text/plain" if it is UTF-8, else "application/octet-stream" */
    const char *event;     /* NULL: none */
    const char *key;       /* idempotency key, 1 to 200 bytes, for repeats by a later run; NULL: one is made */
    uint64_t    ttl_s;     /* it expires after so many seconds; 0: as the namespace says */
    const char *collapse_key;  /* 1 to 64 bytes: who is behind gets only the newest message of this key; NULL: none */
    enum lw_priority priority;
};

/* LW_FULL: publish_count_max or publish_bytes_max. `answer` (or NULL) is called once, when the server has stored or refused
 * it; `arg` is its own. A publish that the server puts off (429, 503, 507) is sent again by the library. Those of one
 * channel are stored in the order of the calls, unless the server refuses or puts off one of them. */
enum lw_result lw_publish(struct lw *lw, const struct lw_publish *publish, lw_published_fn *answer, void *arg);

/* A request to a back end of the application, which gets it as ordinary HTTP. */
struct lw_request {
    const char             *path;       /* "/orders?shop=2"; begins with a slash */
    const char             *method;     /* NULL: "GET", or with a body "POST" */
    const struct lw_header *headers;    /* the server passes on those that its route names, and Content-Type; at most 32 */
    size_t                  header_count;
    const void             *body;       /* any bytes; without a Content-Type: text/plain if it is UTF-8, else octets */
    size_t                  body_len;
    const char             *id;         /* 1 to 128 bytes, once for each request of this device; NULL: one is made. A request that a later
                                           run sends again with its id is answered by the response that it has had */
    int64_t                 timeout_ms; /* until the response is there; 0: as long as it takes */
};

/* LW_FULL: publish_count_max or publish_bytes_max. `answer` (or NULL) is called once, whatever becomes of links meanwhile: the
 * request is sent again with its id until the response has come. A request that the server puts off (429, 503, 507) is sent
 * again, too. With a session, or a token that names the device, the server calls the back end once (or as its route says), and its
 * response is a message of the log of the device: where a request makes the link follow that log, it is told by `subscription`.
 * Other clients lose the response with the link. A response to a request of an earlier run comes as a control message. */
enum lw_result lw_request(struct lw *lw, const struct lw_request *request, lw_response_fn *answer, void *arg);

/* Ends the call. `answer` is called all the same: with the status 499, or with the response that has come meanwhile. */
enum lw_result lw_cancel(struct lw *lw, const char *id);

/* A fresh id. */
enum { LW_ID_BYTES = 33 };
void lw_make_id(struct lw *lw, char ret_id[LW_ID_BYTES]);

/* Messages of `channel` up to `seq` are dealt with. With a session: the server stores it, and will not send them to this
 * device again. It never goes back. Sent at most once in 200 ms. Without a session nothing happens. */
enum lw_result lw_ack(struct lw *lw, const char *channel, uint64_t seq);

/* A second mark, for people: the user has read up to `seq`. Told to the user's other devices. Needs a session. */
enum lw_result lw_read(struct lw *lw, const char *channel, uint64_t seq);

/* A fresh token: on a live link it is shown at once; else the next link begins with it. */
enum lw_result lw_set_token(struct lw *lw, const char *token);

/* Don't wait any longer: try to connect now. For an application that learns of a new network. On a live link a
 * heartbeat is sent, and the link is given up if the server doesn't answer within 5 seconds. */
enum lw_result lw_wake(struct lw *lw);

/* Sends a heartbeat now, and promises that the next one comes in `next_s` seconds at the latest: the server waits so long
 * for a sign of life. 0: as negotiated again. For an application that knows that its device will sleep. It holds for
 * this link. */
enum lw_result lw_heartbeat(struct lw *lw, unsigned next_s);

/* Leaves in order: sends what waits, acknowledgements too, closes the link, and ends with the state LW_ENDED. Publishes
 * without an answer are waited for while the link stands. */
enum lw_result lw_close(struct lw *lw);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif

#endif
