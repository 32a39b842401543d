/* One connection: it is made, set up, greeted, and then carries the steps of its work. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "store/pg_hosts.h"
#include "store/pg_priv.h"

enum { PAUSE_MS_FIRST = 100, PAUSE_MS_LONGEST = 5000, PAUSE_DOUBLINGS = 6, WHY_TEXT_BYTES = 512, NAME_TEXT_BYTES = 40 };

/* A transaction whose answers don't reach this node keeps the heads of its channels locked for all nodes, and the transactions of its
 * other lanes wait behind it, one after the other. So none is left open for long. How long a step may take is decided by this node (answer_ms).
 * Plans must not depend on what the statistics of a young table say: all that the server asks is found by an index. */
static const char SET_UP[] = PG_NO_TIMEOUTS ";"
                             "set jit = off; set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off; set plan_cache_mode = force_generic_plan;"
                             "set default_transaction_isolation = 'read committed';"
                             "set idle_in_transaction_session_timeout = '5s'; set client_min_messages = error;";
static const char SET_UP_DURABLE[]  = "select set_config('synchronous_commit', 'on', false)"
                                      " where current_setting('synchronous_commit') = 'off'";
static const char SET_UP_VOLATILE[] = "set synchronous_commit = off";

void lane_init(struct pg_lane *lane, struct pg *pg, enum lane_class class)
{
    *lane = (struct pg_lane){ .pg = pg, .class = class, .due = class != LANE_HEAR };
    pg_args_init(&lane->args);
    commit_init(&lane->commit);
    asked_init(&lane->asked);
}

static void results_clear(struct pg_lane *lane)
{
    for (size_t i = 0; i < lane->result_count; i++)
        PQclear(lane->results[i]);
    lane->result_count = 0;
}

void lane_fini(struct pg_lane *lane)
{
    results_clear(lane);
    PQfinish(lane->conn);
    pg_args_fini(&lane->args);
    commit_fini(&lane->commit);
}

/* --- a connection is lost ----------------------------------------------------------------------------------------- */

/* A half to the whole of the pause, so that many servers don't come back at once. */
static msec pause_ms(uint32_t failure_count)
{
    uint32_t shift = failure_count < PAUSE_DOUBLINGS ? failure_count : PAUSE_DOUBLINGS;
    msec     whole = (msec)PAUSE_MS_FIRST << shift;

    if (whole > PAUSE_MS_LONGEST)
        whole = PAUSE_MS_LONGEST;
    return whole / 2 + (msec)(pg_random() % (uint64_t)(whole / 2));
}

static bool lane_is_in_doubt(const struct pg_lane *lane)
{
    return lane->commit_sent > lane->commit_done && lane->work == &pg_commit_work;
}

/* Attempts begin with another of the URL's servers from now on. */
static void lane_leave_host(struct pg_lane *lane)
{
    if (lane->host == lane->pg->host)
        lane->pg->host = (lane->pg->host + 1) % lane->pg->host_count;
}

void lane_lose(struct pg_lane *lane, const char *why)
{
    bool was_up = lane->state >= LANE_IDLE;
    msec now    = pg_now();

    if (why != NULL)
        pg_note_failure(lane->pg, why);
    counter_add(&lane->pg->failure_count, 1);
    if (was_up && lane_is_in_doubt(lane))
        lane->doubt_until = now + lane->pg->options.doubt_ms;
    lane->loss_count += was_up && lane->work != NULL;
    if (!was_up)
        lane_leave_host(lane);
    results_clear(lane);
    PQfinish(lane->conn);
    lane->conn         = NULL;
    lane->is_lost      = true;
    lane->is_listening = false;
    lane->sync_count   = 0;
    lane->state      = LANE_AWAY;
    lane->failure_count += !was_up;
    lane->due = was_up ? now : now + pause_ms(lane->failure_count);
    if (lane->writer != 0 && lane->old_writer == 0)
        lane->old_writer = lane->writer;
    /* Work of unknown outcome waits until doubt_until; other work for the first attempt. */
    if (!was_up && lane->work != NULL && lane->doubt_until == 0)
        lane->work->refuse(lane);
}

static void lane_lose_by_error(struct pg_lane *lane)
{
    char why[WHY_TEXT_BYTES];

    snprintf(why, sizeof why, "%s", lane->conn == NULL ? "no memory" : PQerrorMessage(lane->conn));
    lane_lose(lane, why[0] == '\0' ? "the connection was closed" : why);
}

/* --- a connection is made ----------------------------------------------------------------------------------------- */

static void writer_name(char *text, uint64_t writer)
{
    snprintf(text, NAME_TEXT_BYTES, "longwired-%016llx", (unsigned long long)writer);
}

static void lane_connect(struct pg_lane *lane, msec now)
{
    char     name[NAME_TEXT_BYTES];
    uint64_t writer = pg_random() >> 1 | 1;

    writer_name(name, writer);
    lane->writer  = writer;
    lane->host    = lane->pg->host;
    lane->conn    = pg_hosts_start(lane->pg->url, lane->host, name);
    lane->polling = PGRES_POLLING_WRITING;
    lane->state   = LANE_CONNECTING;
    lane->due     = now + lane->pg->options.connect_ms;
    if (lane->conn == NULL || PQstatus(lane->conn) == CONNECTION_BAD)
        lane_lose_by_error(lane);
}

static void results_expect(struct pg_lane *lane)
{
    results_clear(lane);
    lane->has_failed  = false;
    lane->sqlstate[0] = '\0';
    lane->due         = pg_now() + lane->pg->options.answer_ms;
}

/* The simple protocol is not for pipelines, so this is sent before one begins. */
static void lane_set_up(struct pg_lane *lane)
{
    char text[sizeof SET_UP + sizeof SET_UP_DURABLE];

    snprintf(text, sizeof text, "%s%s", SET_UP, lane->pg->options.is_volatile ? SET_UP_VOLATILE : SET_UP_DURABLE);
    results_expect(lane);
    lane->state = LANE_SETTING_UP;
    if (PQsetnonblocking(lane->conn, 1) != 0 || PQsendQuery(lane->conn, text) != 1)
        lane_lose_by_error(lane);
}

/* Ends what is left of the connection that this one replaces, so that its locks are free. */
static void send_end_of_old(struct pg_lane *lane)
{
    char        name[NAME_TEXT_BYTES];
    const char *values[] = { name };

    writer_name(name, lane->old_writer);
    if (PQsendQueryParams(lane->conn, "select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1",
                          1, NULL, values, NULL, NULL, 0) != 1 ||
        PQpipelineSync(lane->conn) != 1)
        return;
    lane->sync_count++;
}

/* What the process was told of under the lane's epoch, on all its connections. */
static void push_acknowledged(struct pg_lane *lane)
{
    pg_args_arrays(&lane->args, "ii");
    for (size_t i = 0; i < lane->pg->lane_count; i++) {
        const struct pg_lane *other = &lane->pg->lanes[i];
        if (other->epoch != lane->epoch || other->commit_done == 0)
            continue;
        pg_push_i64(&lane->args, 3, (int64_t)(other->old_writer != 0 ? other->old_writer : other->writer));
        pg_push_i64(&lane->args, 4, (int64_t)other->commit_done);
    }
}

static void lane_greet(struct pg_lane *lane)
{
    results_expect(lane);
    lane->state = LANE_GREETING;
    must(PQenterPipelineMode(lane->conn) == 1);
    if (lane->old_writer != 0)
        send_end_of_old(lane);
    for (size_t i = 0; i < SQL_COUNT; i++)
        if (PQsendPrepare(lane->conn, pg_texts[i].name, lane->pg->texts[i], 0, NULL) != 1)
            break;
    lane_sync(lane);
    pg_args_clear(&lane->args);
    pg_args_i64(&lane->args, (int64_t)lane->writer);
    pg_args_i64(&lane->args, (int64_t)lane->old_writer);
    pg_args_i64(&lane->args, (int64_t)lane->epoch);
    push_acknowledged(lane);
    pg_args_send(&lane->args, lane->conn, pg_texts[SQL_GREET].name);
    lane_sync(lane);
}

/* The database is there: connections that wait for their next attempt make it now, attempts that are under way get their whole
 * time from now on, and what comes for them waits for that. Else publishes would be taken and reads refused: for as long as the
 * pause lasts, or when all attempts that the database let wait end at the same time. */
static void others_try_now(struct pg_lane *answered)
{
    msec now = pg_now();

    answered->pg->was_silent = false;
    for (size_t i = 0; i < answered->pg->lane_count; i++) {
        struct pg_lane *other    = &answered->pg->lanes[i];
        bool            was_down = lane_is_down(other);
        if (other->state >= LANE_IDLE)
            continue;
        other->failure_count = 0;
        if (other->state == LANE_CONNECTING)  /* with another server first: it begins anew */
            other->due = other->host == answered->host ? now + answered->pg->options.connect_ms : now;
        else if (other->state != LANE_AWAY)
            other->due = now + answered->pg->options.answer_ms;
        else if (was_down)
            other->due = now;
    }
}

/* A copy of this PostgreSQL was promoted: what is committed here from now on is lost. False: it is an old one by itself, which
 * has come back. */
static bool lane_take_timeline(struct pg_lane *lane, int64_t system, int64_t timeline)
{
    struct pg *pg     = lane->pg;
    bool       is_new = pg->system != system || pg->timeline < timeline;

    if (pg->system == system && timeline < pg->timeline)
        return false;
    pg->system   = system;
    pg->timeline = timeline;
    pg->host     = lane->host;
    for (size_t i = 0; is_new && i < pg->lane_count; i++)
        if (&pg->lanes[i] != lane && pg->lanes[i].state >= LANE_IDLE)
            lane_lose(&pg->lanes[i], "another PostgreSQL has taken over");
    return true;
}

/* After a failover the first greeting of all gives the logs another epoch: a process that has only just started notices it by what the
 * epoch was before; 0: there was none. Several lanes may notice the same one, and the first that hears need not be among them. */
static void epoch_take(struct pg *pg, uint64_t epoch, uint64_t before)
{
    const bool is_other = (pg->epoch != 0 && pg->epoch != epoch) || (before != 0 && before != epoch);

    counter_add(&pg->epoch_count, is_other && pg->epoch_noticed != epoch);
    if (is_other)
        pg->epoch_noticed = epoch;
    pg->epoch = epoch;
}

/* The last result of the greeting says what became of the old writer's last commit. */
static void lane_greeted(struct pg_lane *lane)
{
    const PGresult *said = lane->result_count == 0 ? NULL : lane->results[lane->result_count - 1];

    if (PQresultStatus(said) != PGRES_TUPLES_OK || PQntuples(said) != 1) {
        lane_lose(lane, NULL);
        return;
    }
    if (!lane_take_timeline(lane, pg_i64(said, 0, 2), pg_i64(said, 0, 3))) {
        lane_lose(lane, "this PostgreSQL was replaced: a copy of it was promoted, and has a newer timeline");
        return;
    }
    int64_t  last       = pg_i64(said, 0, 0);
    uint64_t old_writer = lane->old_writer;
    bool    is_committed = lane->doubt_until != 0 && last >= 0 && (uint64_t)last >= lane->commit_sent;

    counter_add(&lane->pg->resolved_count, lane->doubt_until != 0);
    counter_add(&lane->pg->reconnect_count, lane->was_greeted);
    lane->was_greeted = true;
    lane->is_lost     = false;

    lane->epoch         = (uint64_t)pg_i64(said, 0, 1);
    epoch_take(lane->pg, lane->epoch, (uint64_t)pg_i64(said, 0, 4));
    lane->old_writer    = 0;
    lane->failure_count = 0;
    lane->commit_sent = lane->commit_done = 0;
    lane->doubt_until                     = 0;
    lane->state                           = LANE_IDLE;
    lane->due                             = 0;
    others_try_now(lane);
    if (lane->work != NULL && is_committed) {
        commit_turned_out(lane, true, old_writer);
    } else if (lane->work != NULL && lane->loss_count > PG_LOSSES) {
        lane->work->refuse(lane);  /* perhaps it is what ends the connections */
    } else if (lane->work != NULL) {
        lane->state = LANE_WORKING;
        lane->work->start(lane);
    }
}

/* --- steps ------------------------------------------------------------------------------------------------------ */

void lane_send(struct pg_lane *lane, enum pg_statement statement)
{
    if (lane->sync_count == 0 && lane->due == 0)
        results_expect(lane);
    if (lane->conn != NULL)
        pg_args_send(&lane->args, lane->conn, pg_texts[statement].name);
}

/* A send that fails shows in PQstatus() or in the answers; lane_go() finds it. */
void lane_sync(struct pg_lane *lane)
{
    if (lane->conn == NULL)
        return;
    PQpipelineSync(lane->conn);
    lane->sync_count++;
}

void lane_give(struct pg_lane *lane, const struct pg_work *work)
{
    must(lane->work == NULL);
    lane->work       = work;
    lane->loss_count = 0;
    if (lane->state != LANE_IDLE)
        return;
    lane->state = LANE_WORKING;
    lane->due   = 0;
    work->start(lane);
}

void lane_release(struct pg_lane *lane)
{
    lane->work  = NULL;
    lane->phase = 0;
    if (lane->state != LANE_WORKING)
        return;
    results_clear(lane);
    lane->state = LANE_IDLE;
    lane->due   = 0;
}

static void failure_take(struct pg_lane *lane, const PGresult *result)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    if (!lane->has_failed) {
        snprintf(lane->sqlstate, sizeof lane->sqlstate, "%s", state == NULL ? "XX000" : state);
        pg_note_failure(lane->pg, PQresultErrorMessage(result));
    }
    lane->has_failed = true;
}

/* Takes one result. False: instead of it came the end of a statement's results. */
static bool result_take(struct pg_lane *lane)
{
    PGresult *result = PQgetResult(lane->conn);

    if (result == NULL) {
        if (lane->state == LANE_SETTING_UP)
            lane->sync_count = 0;
        return false;
    }
    if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
        lane->sync_count--;
        PQclear(result);
        return true;
    }
    if (PQresultStatus(result) == PGRES_FATAL_ERROR)
        failure_take(lane, result);
    if (lane->result_count < LANE_RESULTS_COUNT)
        lane->results[lane->result_count++] = result;
    else
        PQclear(result);
    return true;
}

/* Prepares give results that nobody needs. */
static void results_drop_empty(struct pg_lane *lane)
{
    if (lane->state != LANE_GREETING)
        return;
    while (lane->result_count > 0 && PQresultStatus(lane->results[lane->result_count - 1]) == PGRES_COMMAND_OK)
        PQclear(lane->results[--lane->result_count]);
}

static void lane_step_over(struct pg_lane *lane)
{
    lane->due = 0;
    if (lane->pg->was_silent)
        others_try_now(lane);
    if (lane->state == LANE_SETTING_UP && lane->has_failed)
        lane_lose(lane, NULL);
    else if (lane->state == LANE_SETTING_UP)
        lane_greet(lane);
    else if (lane->state == LANE_GREETING)
        lane_greeted(lane);
    else if (lane->work != NULL)
        lane->work->step(lane);
}

/* Reads what came. False: a step is not over yet. */
static bool lane_read(struct pg_lane *lane)
{
    if (PQconsumeInput(lane->conn) != 1) {
        lane_lose_by_error(lane);
        return false;
    }
    size_t ends = 0;
    while (lane->sync_count > 0 && !PQisBusy(lane->conn) && ends < 2) {
        ends = result_take(lane) ? 0 : ends + 1;
        results_drop_empty(lane);
    }
    /* Two ends in a row: libpq waits for nothing, because what was sent did not get out. */
    if (PQstatus(lane->conn) == CONNECTION_BAD || ends == 2) {
        lane_lose_by_error(lane);
        return false;
    }
    return lane->sync_count == 0;
}

static void lane_go_working(struct pg_lane *lane)
{
    PGconn *conn = lane->conn;

    /* A work's step may send the next one, whose answer may be there at once. */
    while (lane->conn == conn && conn != NULL && lane->state > LANE_CONNECTING && lane->state != LANE_IDLE) {
        if (PQflush(conn) < 0) {
            lane_lose_by_error(lane);
            return;
        }
        if (!lane_read(lane))
            return;
        lane_step_over(lane);
    }
}

static void lane_go_idle(struct pg_lane *lane)
{
    if (PQconsumeInput(lane->conn) != 1 || PQstatus(lane->conn) == CONNECTION_BAD)
        lane_lose_by_error(lane);
}

static void lane_go_connecting(struct pg_lane *lane)
{
    lane->polling = PQconnectPoll(lane->conn);
    if (lane->polling == PGRES_POLLING_FAILED) {
        lane_lose_by_error(lane);
    } else if (lane->polling == PGRES_POLLING_OK) {
        lane->host = pg_hosts_reached(lane->pg->url, lane->conn);
        lane_set_up(lane);
        lane->sync_count = lane->state == LANE_SETTING_UP;
    }
}

short lane_events(const struct pg_lane *lane)
{
    if (lane->state == LANE_AWAY)
        return 0;
    if (lane->state == LANE_CONNECTING)
        return lane->polling == PGRES_POLLING_READING ? POLLIN : POLLOUT;
    return POLLIN | (lane->state != LANE_IDLE && PQflush(lane->conn) > 0 ? POLLOUT : 0);
}

/* What waited for its whole time already does not wait for it again; its transaction can't commit any more. */
static void lane_lose_late(struct pg_lane *lane)
{
    lane->pg->was_silent = true;
    lane_leave_host(lane);
    lane_lose(lane, lane->state == LANE_WORKING ? "PostgreSQL did not answer in time"
                                                : "the connection to PostgreSQL took too long");
    if (lane->work != NULL && lane->doubt_until == 0)
        lane->work->refuse(lane);
}

/* What is overdue: the next attempt, an outcome that can't be learnt, an answer. */
static void lane_go_late(struct pg_lane *lane, msec now)
{
    if (lane->doubt_until != 0 && lane->doubt_until <= now && lane->state < LANE_IDLE && lane->work != NULL)
        commit_turned_out(lane, false, 0);
    if (lane->due == 0 || lane->due > now)
        return;
    if (lane->state == LANE_AWAY && !lane->pg->is_stopping)
        lane_connect(lane, now);
    else if (lane->state != LANE_AWAY)
        lane_lose_late(lane);
}

/* An answer may have come since the thread has looked, while other lanes or what they called kept it busy. */
static bool lane_is_ready_after_all(const struct pg_lane *lane)
{
    struct pollfd fd = { .events = lane_events(lane) };

    if (lane->state == LANE_AWAY || lane->due == 0 || lane->due > pg_now())
        return false;
    fd.fd = PQsocket(lane->conn);
    return poll(&fd, 1, 0) > 0;
}

void lane_go(struct pg_lane *lane, bool is_ready)
{
    is_ready = is_ready || lane_is_ready_after_all(lane);
    if (is_ready && lane->state == LANE_CONNECTING)
        lane_go_connecting(lane);
    else if (is_ready && lane->state == LANE_IDLE)
        lane_go_idle(lane);
    else if (is_ready && lane->state > LANE_CONNECTING)
        lane_go_working(lane);
    if (lane->class == LANE_HEAR)
        hear_take_notices(lane);
    lane_go_late(lane, pg_now());
}
