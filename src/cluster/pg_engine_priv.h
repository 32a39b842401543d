/* pg_engine_priv.h - the engine on PostgreSQL from within.
 *
 *   callers ── submitted (lock) ──> the thread ── tasks, in pipeline mode ──> two lines
 *
 * A task is one statement that was sent. Each is a transaction of its own, and its answers come in the order of the tasks. All but
 * `submitted` and what stands beside it belongs to the thread. */
#ifndef CLUSTER_PG_ENGINE_PRIV_H
#define CLUSTER_PG_ENGINE_PRIV_H

#include <libpq-fe.h>
#include <pthread.h>

#include "base/counter.h"
#include "cluster/pg_engine.h"
#include "store/pg_args.h"

enum engine_statement {
    ENGINE_SQL_WORD, ENGINE_SQL_LEASE, ENGINE_SQL_LEAVE, ENGINE_SQL_NODES, ENGINE_SQL_ROUTE, ENGINE_SQL_LOOKUP, ENGINE_SQL_SEND,
    ENGINE_SQL_TAKE_MAIL, ENGINE_SQL_LISTEN, ENGINE_SQL_COUNT,
};

enum line_kind { LINE_CALLS, LINE_BUS, LINE_COUNT };

enum line_state { LINE_AWAY, LINE_CONNECTING, LINE_SETTING_UP, LINE_GREETING, LINE_UP };

enum { ENGINE_WHY_BYTES = 160, ENGINE_BUCKETS = 20, LISTEN_BYTES = 64 };

struct pg_engine;
struct line_task;

/* result is NULL if the connection was lost: perhaps done, perhaps not. */
typedef void line_answered(struct line_task *task, const PGresult *result);

struct line_task {
    struct list         link;
    struct pg_engine   *engine;
    line_answered      *answered;
    struct list         calls;    /* that it carries out */
    uint64_t            sent_us;
    bool                has_result;
};

/* One connection. */
struct engine_line {
    struct pg_engine *engine;
    enum line_kind    kind;
    enum line_state   state;
    PGconn           *conn;
    size_t            host;          /* of the URL's servers the one that it tries first, then the one that it has come to */
    PostgresPollingStatusType polling;
    msec              due;           /* AWAY: the next attempt; else when an answer is overdue; 0: never */
    uint32_t          failure_count;
    struct list       tasks;         /* sent, and not answered */
    bool              has_failed;    /* in a greeting */
};

/* A frame that has come, or that is still to be fetched. */
struct engine_arrival {
    struct list link;
    int64_t     mail;   /* the row that holds it; 0: it is here */
    bool        is_asked;
    struct buf  frame;
};

struct pg_engine {
    struct engine               engine;
    struct pg_engine_options    options;
    char                       *url;
    size_t                      host, host_count;  /* which of the URL's servers comes first: the next one, when that one was silent */
    char                        listen[LISTEN_BYTES];
    pthread_t                   thread;
    int                         wake;         /* an eventfd */
    pthread_mutex_t             lock;         /* guards what follows up to `lines` */
    struct list                 submitted;
    size_t                      waiting_count, waiting_bytes;
    char                        failure[ENGINE_WHY_BYTES];
    bool                        is_closing, is_up_told;
    struct engine_line          lines[LINE_COUNT];
    struct pg_args              args;
    struct buf                  text;
    uint64_t                    word, life;   /* as read last; as told last, 0: not up */
    bool                        is_down_told;
    bool                        is_stopping;
    msec                        beat_due;
    uint64_t                    notice_number;
    struct list                 arrivals;     /* in their order; the first one may wait for its row */
    struct counter              call_count, failure_count, connect_count, frames_sent, frames_received, bytes_sent, bytes_received;
    struct counter              answer_us_sum, answer_count, answer_us_buckets[ENGINE_BUCKETS];
};

msec     engine_now(void);
uint64_t engine_now_us(void);

/* Remembers what the engine said, for the stats. */
void engine_note(struct pg_engine *engine, const char *why);

void engine_call_done(struct pg_engine *engine, struct engine_call *call, enum rc rc);

/* --- lines (pg_engine_line.c) ------------------------------------------------------------------------------------------ */

void  line_init(struct engine_line *line, struct pg_engine *engine, enum line_kind kind);
void  pg_line_go(struct engine_line *line, bool is_ready);
short pg_line_events(const struct engine_line *line);

/* Sends the statement with the engine's args. The line is up, or being greeted. */
struct line_task *line_send(struct engine_line *line, enum engine_statement statement, line_answered *answered);

/* Gives the connection up: its tasks are answered with NULL. */
void pg_line_lose(struct engine_line *line, const char *why);

/* --- what they carry (pg_engine_calls.c) -------------------------------------------------------------------------------- */

extern const char *const engine_statements[ENGINE_SQL_COUNT];

/* Takes all calls of the list; those of one kind in their order. */
void engine_calls_start(struct pg_engine *engine, struct list *calls);
void engine_ask_word(struct pg_engine *engine);
void engine_take_notices(struct engine_line *line);

/* The bus was lost: what had come is given up. */
void engine_drop_arrivals(struct pg_engine *engine);

#endif
