/* pg_priv.h - the PostgreSQL maker from within: the store, its lanes, and the work that a lane does.
 *
 *   callers ── pg.lists (lock) ──> the thread ── gives work to idle lanes ──> lane ── steps ──> PostgreSQL
 *
 * A lane is one connection. Its work goes in steps: the work sends statements, the lane collects all their results, and
 * then calls the work again. All but `lists`, the counters and `failure` belongs to the thread. */
#ifndef STORE_PG_PRIV_H
#define STORE_PG_PRIV_H

#include <pthread.h>

#include "base/counter.h"
#include "store/pg.h"
#include "store/pg_args.h"
#include "store/ledger_page.h"
#include "store/ledger_round.h"
#include "store/page.h"
#include "store/pg_commit.h"
#include "store/pg_sql.h"

enum { LANE_RESULTS_COUNT = 48, PG_LANES_COUNT = 18, PG_WHY_BYTES = 160, PG_DAYS_COUNT = 4096, PG_LOSSES = 5,
       PG_NOTICES_COUNT = 1024, PG_KNOWN_COUNT = 262144 };

enum lane_class { LANE_APPEND, LANE_LEDGER, LANE_READ, LANE_HEAR, LANE_CLASS_COUNT };

enum lane_state {
    LANE_AWAY,        /* no connection; the next attempt is at `due` */
    LANE_CONNECTING,
    LANE_SETTING_UP,  /* connected: the session is set up, and the schema's version asked for */
    LANE_GREETING,    /* statements are prepared, the old writer is fenced */
    LANE_IDLE,
    LANE_WORKING,
};

/* The id of a channel, by the hash of its name. */
struct pg_known {
    uint64_t hash;
    int64_t  id;
};

struct pg_lane;

/* What a lane can do. */
struct pg_work {
    void (*start)(struct pg_lane *lane);  /* sends the first step; also called again on a new connection */
    void (*step)(struct pg_lane *lane);   /* the results of a step are there */
    void (*refuse)(struct pg_lane *lane); /* no connection can be made, or the step failed: answers, and lets go */
};

/* A page of a log, which is filled in several questions. */
struct pg_progress {
    struct page page;
    int64_t     channel;    /* the channel's number; 0: never used */
    int64_t     guessed;    /* the channel whose rows were asked for before its place was known; 0: none */
    uint64_t    low, high;  /* what is still to be read, both included */
    uint32_t    rows;       /* how many the next question asks for */
};

/* Requests of many callers that one lane answers at once (pg_ask.c). */
struct pg_asked {
    struct list questions, rounds, scans;
    size_t      head_count, scan_count;
};

struct pg_lane {
    struct pg            *pg;
    enum lane_class       class;
    enum lane_state       state;
    PGconn               *conn;
    size_t                host;           /* of the URL's servers the one that it tries first, then the one that it has come to */
    PostgresPollingStatusType polling;
    msec                  due;            /* AWAY: the next attempt; else when an answer is overdue; 0: never */
    uint32_t              failure_count;  /* attempts that failed since a connection stood */
    struct pg_args        args;
    PGresult             *results[LANE_RESULTS_COUNT];  /* of this step, without those of syncs */
    size_t                result_count;
    size_t                sync_count;     /* syncs of this step that have not come back */
    bool                  has_failed;     /* a statement of this step failed */
    char                  sqlstate[6];    /* … of the first one */
    uint64_t              writer;         /* its row in longwire.writer; 0: none yet */
    uint64_t              old_writer;     /* the one to fence; 0: none */
    uint64_t              epoch;          /* as the last greeting told it */
    uint64_t              commit_sent, commit_done;  /* numbers of commits */
    const struct pg_work *work;           /* NULL: nothing to do */
    int                   phase;          /* the work's */
    bool                  is_lost;        /* its connection, or an attempt to make one, has failed, and none stands yet */
    bool                  was_greeted;    /* a connection of it stood once */
    uint32_t              loss_count;     /* connections that were lost with this work */
    msec                  doubt_until;    /* a COMMIT of unknown outcome: until then it is looked for; 0: no doubt */
    struct pg_commit      commit;         /* of append and ledger lanes */
    bool                  is_listening;   /* of the hearing lane: LISTEN is in force */
    struct list          *request;        /* of read lanes: the link of the request; NULL: none */
    struct pg_progress    progress;       /* of read lanes: how far the request has come */
    struct pg_asked       asked;          /* of read lanes */
};

/* What callers have asked for and no lane has taken. */
struct pg_lists {
    struct list batches, ledger_batches, reads, listings, gets;
    struct list questions, rounds, scans;
    size_t      read_count, change_count;
    msec        tick_wall, tick_after;  /* the other one by pg_now(): no step before it */
    bool        has_tick, is_closing;
    struct store_ear ear;  /* nobody wants to hear while `heard` is NULL */
};

struct pg {
    struct store            store;
    struct ledger           ledger;
    struct pg_store_options options;
    char                   *url;
    char                   *texts[SQL_COUNT];  /* of the statements */
    pthread_t               thread;
    int                     wake;            /* an eventfd */
    pthread_mutex_t         lock;            /* guards lists and failure */
    struct pg_lists         lists;
    char                    failure[PG_WHY_BYTES];
    struct pg_lane          lanes[PG_LANES_COUNT];
    size_t                  lane_count;
    bool                    is_stopping;     /* the thread's copy of is_closing */
    size_t                  host, host_count;  /* which of the URL's servers comes first: the next one, when that one was silent */
    int64_t                 system, timeline;  /* PostgreSQL's system identifier, and the newest timeline of it that was seen; 0: none */
    bool                    was_silent;      /* an answer was late, and none of any connection has come since */
    int32_t                 days[PG_DAYS_COUNT];  /* partitions that are known to exist */
    size_t                  day_count;
    struct pg_known        *known;           /* PG_KNOWN_COUNT places */
    size_t                  turn;            /* which kind of read comes next */
    int64_t                 tend_from;       /* where the next step of retention begins */
    uint32_t                tick_count;
    msec                    tick_sent, tick_sent_wall;  /* when the questions of the last tick were sent */
    struct store_ear        ear;             /* the thread's copy of lists.ear */
    msec                    hear_after;      /* when LISTEN may be tried again */
    uint64_t                notices[PG_NOTICES_COUNT];  /* transactions that published, and were not asked about yet */
    uint64_t                asked[PG_NOTICES_COUNT];
    size_t                  notice_count, asked_count;
    bool                    has_more_notices;  /* more came than have room */
    struct counter          append_count, batch_count, sync_count, sync_us_sum, sync_us_buckets[20];
    struct counter          reconnect_count, resolved_count, unresolved_count;
    struct counter          failure_count, channel_count, disk_bytes, is_full, is_broken;
    msec                    full_at;         /* when a commit was last refused for want of room */
    struct counter          clock_ahead_ms;  /* signed */
    struct counter          epoch_count;
    uint64_t                epoch;           /* as a greeting told it last; 0: none has yet */
    uint64_t                epoch_noticed;   /* the one that was counted last */
    struct counter          is_failing;      /* a connection was lost, and does not stand again */
    struct counter          is_away;         /* no lane can append: publishes are refused until one has a connection again */
};

static inline struct pg *pg_of(struct store *store)
{
    return container_of(store, struct pg, store);
}

msec     pg_now(void);
uint64_t pg_random(void);

/* Wakes the thread. */
void pg_wake(struct pg *pg);

/* Remembers what the engine said, for the stats. */
void pg_note_failure(struct pg *pg, const char *why);

/* --- lanes (pg_lane.c) ------------------------------------------------------------------------------------------ */

void lane_init(struct pg_lane *lane, struct pg *pg, enum lane_class class);
void lane_fini(struct pg_lane *lane);

/* The events that the lane's socket waits for, 0: none. */
short lane_events(const struct pg_lane *lane);

/* Goes on as far as it can without waiting. Is its socket ready? If not, something may be due. */
void lane_go(struct pg_lane *lane, bool is_ready);

/* Gives the lane work; only while it is idle, or away. */
void lane_give(struct pg_lane *lane, const struct pg_work *work);

/* For works, in start() and step(): sends a statement with the lane's args; ends an implicit transaction and asks for
 * the answers. The step is over when all syncs came back. */
void lane_send(struct pg_lane *lane, enum pg_statement statement);
void lane_sync(struct pg_lane *lane);

/* The work is done: the lane becomes idle. */
void lane_release(struct pg_lane *lane);

/* Gives the connection up; the work is started again on the next one. */
void lane_lose(struct pg_lane *lane, const char *why);

/* Is there neither a connection nor an attempt that may still succeed? */
static inline bool lane_is_down(const struct pg_lane *lane)
{
    return lane->state < LANE_IDLE && lane->failure_count > 0;
}

/* --- works ------------------------------------------------------------------------------------------------------ */

extern const struct pg_work pg_commit_work, pg_read_work, pg_listing_work, pg_get_work, pg_ask_work,
    pg_tick_work, pg_hear_work;

/* Of lanes that ask (pg_ask.c). asked_take() takes as many of the requests as go into one trip, and returns how many; under the
 * lock. */
void   asked_init(struct pg_asked *asked);
size_t asked_take(struct pg_asked *asked, struct pg_lists *lists);

/* One more channel in the arrays "biii" of SQL_PLACES; `at` is its number in the answer. */
void pg_push_place(struct pg_args *args, const struct channel_name *name, msec wall, int64_t at);

/* The last day on which the message is kept; far away if no age ends it. */
int32_t day_of(const struct message *message);

/* --- commits without a question (pg_direct.c) --------------------------------------------------------------------- */

void    known_put(struct pg *pg, const struct channel_name *name, int64_t id);
int64_t known_find(struct pg *pg, const struct channel_name *name);  /* 0: not known */

/* Can it be made by one statement? Days are not looked at. */
bool commit_is_direct(struct pg *pg, struct pg_commit *commit);
void direct_send(struct pg_lane *lane);
void direct_take(struct pg_commit *commit, const PGresult *said);

/* Asks for the numbers of a commit whose answer was lost; they may be gone. */
void direct_ask(struct pg_lane *lane);
bool direct_found(struct pg_commit *commit, const PGresult *said);

/* --- what others publish (pg_hear.c) ------------------------------------------------------------------------------ */

void pg_hear(struct store *store, const struct store_ear *ear);

/* Of the thread: begins to listen, if somebody wants to hear; takes what the connection was told; is there something to
 * ask? */
void                  hear_begin(struct pg *pg);
void                  hear_take_notices(struct pg_lane *lane);
const struct pg_work *take_hearing(struct pg *pg, const struct pg_lane *lane);

/* The unknown COMMIT of the lane did happen, as its next connection has learnt, on that of `writer`; or can't be learnt. */
void commit_turned_out(struct pg_lane *lane, bool is_done, uint64_t writer);

void pg_batch_refuse(struct append_batch *batch, enum append_outcome outcome);
void pg_ledger_batch_refuse(struct ledger_batch *batch, enum ledger_outcome outcome);

/* keep_count, and the oldest time that the namespace keeps at `wall`. */
int64_t pg_keep_count(const struct namespace *space);
int64_t pg_oldest_kept(const struct namespace *space, msec wall);

#endif
