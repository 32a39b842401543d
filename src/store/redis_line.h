/* redis_line.h - one connection to a Redis (hiredis): pipelined, bounded, made again when it is lost; and the thread that
 * carries a few of them.
 *
 * Commands are answered in the order in which they were sent. Whoever sends names a function that gets the answer; it gets
 * NULL if the connection was lost before the answer came: perhaps done, perhaps not. A Redis that owes an answer and says nothing for
 * answer_ms is a lost connection, and so are an answer that takes REDIS_LATE_TIMES as long, garbage, an answer above
 * REDIS_ANSWER_BYTES, and the errors of a Redis that can't serve us (NOAUTH, READONLY, LOADING, MASTERDOWN, NOSCRIPT). A
 * Redis that is slow, but answers one question after the other, keeps its connection: a new one would cost all that waits, and
 * make it no faster. Between a connection that was lost and the
 * next attempt lies a pause that grows to PAUSE_MS_LONGEST; a random half of it spreads many servers.
 *
 * A line greets before it is up: AUTH and SELECT if the URL says so, then what its owner sends in greet(). The owner
 * calls redis_line_greeted() when it is content.
 *
 * While a host name is looked up, the thread waits. One thread: the redis_thread's. */
#ifndef STORE_REDIS_LINE_H
#define STORE_REDIS_LINE_H

#include <pthread.h>

#include "base/buf.h"
#include "base/counter.h"
#include "base/list.h"
#include "base/msec.h"
#include "store/redis_url.h"

struct redisReply;
struct redisContext;
struct redis_line;

enum { REDIS_ANSWER_BYTES = 64 << 20, REDIS_UNSENT_BYTES = 256 << 20, REDIS_WHY_BYTES = 160, REDIS_LATE_TIMES = 4, REDIS_LINES = 2 * REDIS_INSTANCES };

/* `reply` is borrowed; NULL: the connection is lost. */
typedef void redis_answered(void *ctx, const struct redisReply *reply);

struct redis_line_events {
    void (*greet)(struct redis_line *line);
    void (*up)(struct redis_line *line);
    /* Behind the NULLs of what was sent. Also for each attempt that fails. */
    void (*lost)(struct redis_line *line, const char *why, bool was_up);
    /* What Redis says unasked: a message of a subscription. NULL: there is none. */
    void (*pushed)(struct redis_line *line, const struct redisReply *reply);
};

enum redis_line_state { REDIS_AWAY, REDIS_CONNECTING, REDIS_GREETING, REDIS_UP };

/* A command that Redis is to carry out without an answer. The caller's, until written() has it back: its bytes are with the kernel, or
 * the connection was lost before that. */
struct redis_said {
    struct list link;
    uint64_t    end;  /* the line's, of this connection */
    void      (*written)(struct redis_said *said, bool is_written);
};

/* A command that was sent. */
struct redis_asked {
    redis_answered *answered;
    void           *ctx;
    uint64_t        at_us;
};

struct redis_line {
    const struct redis_line_events *events;
    void                           *owner;
    size_t                          number;        /* of its owner's */
    struct redis_url                url;
    msec                            connect_ms, answer_ms;
    enum redis_line_state           state;
    struct redisContext            *redis;
    msec                            due;           /* AWAY: the next attempt; CONNECTING, GREETING: the end of patience */
    uint32_t                        failure_count; /* in a row */
    struct buf                      out;
    size_t                          sent;          /* bytes of `out` that are sent */
    struct redis_asked             *asked;         /* a ring */
    size_t                          asked_first, asked_count, asked_cap;
    msec                            heard_at;      /* bytes of Redis came last */
    struct list                     said;          /* what is not written yet */
    uint64_t                        written;       /* bytes, on this connection, before those in `out` */
    bool                            is_failing;    /* to be lost when its caller has come out of it */
    char                            why[REDIS_WHY_BYTES];
    struct counter                  bytes_sent, bytes_received, answer_us_sum, answer_count, connect_count;
    struct counter                  answer_us_buckets[20];  /* bucket i: below 2^(i+5) us; the last also all longer ones */
};

/* One argument after the other, as bytes. */
void redis_line_send(struct redis_line *line, const struct span *args, size_t count, redis_answered *answered, void *ctx);
#define redis_line_ask(line, answered, ctx, ...)                                                                         \
    redis_line_send(line, (const struct span[]){ __VA_ARGS__ },                                                          \
                    sizeof((const struct span[]){ __VA_ARGS__ }) / sizeof(struct span), answered, ctx)

/* In pieces: a command of `count` arguments, each put by itself. */
void redis_line_begin(struct redis_line *line, size_t count, redis_answered *answered, void *ctx);
void redis_line_put(struct redis_line *line, struct span arg);

/* Redis gives no answer (CLIENT REPLY SKIP), so neither side is woken for it. Not while greeting: whoever says things has asked there whether
 * Redis lets answers be skipped (redis_line_ask_skip()). */
void redis_line_say(struct redis_line *line, const struct span *args, size_t count, struct redis_said *said);
/* For greet(): a Redis that does not let answers be skipped is of no use to this line. */
void redis_line_ask_skip(struct redis_line *line);

/* How long the oldest question has waited; 0: there is none. */
msec redis_line_waits(const struct redis_line *line, msec now);
/* … and how long nothing at all has come meanwhile. */
msec redis_line_silence(const struct redis_line *line, msec now);

void redis_line_greeted(struct redis_line *line);
/* The line is of no use: it is lost as soon as the caller's caller has come out of it. */
void redis_line_fail(struct redis_line *line, const char *why);

/* The string or status of an answer; empty for other kinds. */
struct span redis_text(const struct redisReply *reply);
bool        redis_is_error(const struct redisReply *reply);

msec     redis_now(void);
uint64_t redis_random(void);

/* --- the thread ---------------------------------------------------------------------------------------------------- */

/* Carries the lines. turn() is called after each wake, each event and at least once in TURN_MS; it takes what others have put
 * under `lock`. */
struct redis_thread {
    struct redis_line lines[REDIS_LINES];
    size_t            line_count;
    void            (*turn)(void *owner, msec now);
    void             *owner;
    pthread_mutex_t   lock;         /* the owner's queues too */
    int               wake_fd;
    bool              is_woken;     /* under the lock */
    bool              is_called;    /* its own thread has put something into the owner's queues since its last turn() began */
    bool              is_stopping;  /* under the lock */
    bool              is_started;
    pthread_t         thread;
};

void               redis_thread_init(struct redis_thread *thread, void *owner, void (*turn)(void *owner, msec now));
struct redis_line *redis_thread_line(struct redis_thread *thread, const struct redis_url *url,
                                     const struct redis_line_events *events, msec connect_ms, msec answer_ms);
void               redis_thread_start(struct redis_thread *thread);
/* With the lock held. Its own thread has a turn soon without being woken: at once, if it comes from an answer. */
void redis_thread_wake(struct redis_thread *thread);
bool redis_thread_is_stopping(struct redis_thread *thread);
/* Ends the thread; what is under way on the lines is answered with NULL by the caller's thread. */
void redis_thread_stop(struct redis_thread *thread);
void redis_thread_fini(struct redis_thread *thread);

#endif
