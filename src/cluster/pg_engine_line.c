/* One connection of the engine: it is made, set up, greeted, and then carries tasks in libpq's pipeline mode. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "cluster/pg_engine_priv.h"
#include "store/pg_hosts.h"
#include "store/pg_sql.h"

enum { PAUSE_MS_FIRST = 100, PAUSE_MS_LONGEST = 2000, PAUSE_DOUBLINGS = 5, WHY_TEXT_BYTES = 512, NAME_TEXT_BYTES = 48, LOCK_TEXT_BYTES = 64 };

/* Plans must not depend on what the statistics of a young table say. Hints need not be on the disk. */
static const char SET_UP[] = PG_NO_TIMEOUTS ";"
                             "set jit = off; set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off;"
                             "set synchronous_commit = off; set client_min_messages = error";

void line_init(struct engine_line *line, struct pg_engine *engine, enum line_kind kind)
{
    *line = (struct engine_line){ .engine = engine, .kind = kind, .due = 1 };
    list_init(&line->tasks);
}

/* --- tasks ----------------------------------------------------------------------------------------------------------- */

struct line_task *line_send(struct engine_line *line, enum engine_statement statement, line_answered *answered)
{
    struct line_task *task = calloc(1, sizeof *task);
    char              name[16];

    must(task != NULL);
    task->engine   = line->engine;
    task->answered = answered;
    task->sent_us  = engine_now_us();
    list_init(&task->calls);
    if (list_is_empty(&line->tasks))
        line->due = engine_now() + line->engine->options.answer_ms;
    list_push(&line->tasks, &task->link);
    snprintf(name, sizeof name, "e%d", (int)statement);
    /* A send that fails shows in PQstatus() or in the answers. */
    pg_args_send(&line->engine->args, line->conn, name);
    PQpipelineSync(line->conn);
    return task;
}

static void answer_note(struct pg_engine *engine, uint64_t us)
{
    size_t bucket = 0;

    while (bucket + 1 < ENGINE_BUCKETS && us >= UINT64_C(32) << bucket)
        bucket++;
    counter_add(&engine->answer_count, 1);
    counter_add(&engine->answer_us_sum, us);
    counter_add(&engine->answer_us_buckets[bucket], 1);
}

static void tasks_fail(struct engine_line *line)
{
    struct list tasks, *link;

    list_init(&tasks);
    list_move(&tasks, &line->tasks);
    while ((link = list_pop(&tasks)) != NULL) {
        struct line_task *task = container_of(link, struct line_task, link);
        if (!task->has_result)
            task->answered(task, NULL);
        free(task);
    }
}

/* --- a connection is lost --------------------------------------------------------------------------------------------- */

/* A half to the whole of the pause, so that many servers don't come back at once. */
static msec line_pause(const struct engine_line *line)
{
    uint32_t shift = line->failure_count < PAUSE_DOUBLINGS ? line->failure_count : PAUSE_DOUBLINGS;
    msec     whole = (msec)PAUSE_MS_FIRST << shift;

    if (whole > PAUSE_MS_LONGEST)
        whole = PAUSE_MS_LONGEST;
    return whole / 2 + (msec)(engine_now_us() % (uint64_t)(whole / 2));
}

/* Attempts begin with another of the URL's servers from now on. */
static void line_leave_host(struct engine_line *line)
{
    if (line->host == line->engine->host)
        line->engine->host = (line->engine->host + 1) % line->engine->host_count;
}

void pg_line_lose(struct engine_line *line, const char *why)
{
    struct pg_engine *engine = line->engine;
    char              text[ENGINE_WHY_BYTES];

    snprintf(text, sizeof text, "%s", why == NULL || why[0] == '\0' ? "the connection to PostgreSQL was closed" : why);
    text[strcspn(text, "\n")] = '\0';
    engine_note(engine, text);
    PQfinish(line->conn);
    line->conn          = NULL;
    if (line->state != LINE_UP)
        line_leave_host(line);
    line->failure_count = line->state == LINE_UP ? 0 : line->failure_count + 1;
    line->state         = LINE_AWAY;
    line->due           = engine_now() + line_pause(line);
    tasks_fail(line);
    if (line->kind == LINE_BUS)
        engine_drop_arrivals(engine);
    if (engine->is_down_told || engine->is_stopping)
        return;
    engine->is_down_told = true;
    engine->life         = 0;
    pthread_mutex_lock(&engine->lock);
    engine->is_up_told = false;
    pthread_mutex_unlock(&engine->lock);
    engine->options.events->down(engine->options.ctx, text);
}

static void line_lose_by_error(struct engine_line *line)
{
    char why[WHY_TEXT_BYTES];

    snprintf(why, sizeof why, "%s", line->conn == NULL ? "no memory" : PQerrorMessage(line->conn));
    pg_line_lose(line, why);
}

/* --- a connection is made --------------------------------------------------------------------------------------------- */

static void pg_line_connect(struct engine_line *line)
{
    char name[NAME_TEXT_BYTES];

    snprintf(name, sizeof name, "longwired-engine-%016llx", (unsigned long long)line->engine->options.self.incarnation);
    line->host    = line->engine->host;
    line->conn    = pg_hosts_start(line->engine->url, line->host, name);
    line->polling = PGRES_POLLING_WRITING;
    line->state   = LINE_CONNECTING;
    line->due     = engine_now() + line->engine->options.connect_ms;
    if (line->conn == NULL || PQstatus(line->conn) == CONNECTION_BAD)
        line_lose_by_error(line);
}

/* The simple protocol is not for pipelines, so this is sent before one begins. */
static void line_set_up(struct engine_line *line)
{
    char text[sizeof SET_UP + LOCK_TEXT_BYTES];

    line->state      = LINE_SETTING_UP;
    line->has_failed = false;
    /* Who waits for a lock gives up before the connection would be taken for lost. */
    snprintf(text, sizeof text, "%s; set lock_timeout = %lld", SET_UP, (long long)line->engine->options.answer_ms * 2 / 3);
    if (PQsetnonblocking(line->conn, 1) != 0 || PQsendQuery(line->conn, text) != 1)
        line_lose_by_error(line);
}

/* The line is up with the answer to the last task of its greeting. */
static void on_greeted(struct line_task *task, const PGresult *result)
{
    struct pg_engine   *engine = task->engine;
    struct engine_line *line   = &engine->lines[LINE_BUS];

    if (result == NULL)
        return;
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        line->has_failed = true;
        engine_note(engine, PQresultErrorMessage(result));
        return;
    }
    line->state         = LINE_UP;
    line->failure_count = 0;
}

static void pg_on_first_word(struct line_task *task, const PGresult *result)
{
    struct pg_engine   *engine = task->engine;
    struct engine_line *line   = &engine->lines[LINE_CALLS];

    if (result == NULL)
        return;
    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1) {
        line->has_failed = true;
        engine_note(engine, PQresultErrorMessage(result));
        return;
    }
    engine->word        = (uint64_t)pg_i64(result, 0, 0);
    line->state         = LINE_UP;
    line->failure_count = 0;
}

static void pg_line_greet(struct engine_line *line)
{
    char name[16];

    line->state = LINE_GREETING;
    must(PQenterPipelineMode(line->conn) == 1);
    for (int i = 0; i < ENGINE_SQL_COUNT; i++) {
        const char *text = i == ENGINE_SQL_LISTEN ? line->engine->listen : engine_statements[i];
        snprintf(name, sizeof name, "e%d", i);
        if (PQsendPrepare(line->conn, name, text, 0, NULL) != 1)
            break;
    }
    pg_args_clear(&line->engine->args);
    if (line->kind == LINE_BUS)
        line_send(line, ENGINE_SQL_LISTEN, on_greeted);
    else
        line_send(line, ENGINE_SQL_WORD, pg_on_first_word);
    counter_add(&line->engine->connect_count, 1);
}

/* --- answers ---------------------------------------------------------------------------------------------------------- */

static void task_over(struct engine_line *line, struct line_task *task)
{
    list_take(&task->link);
    answer_note(line->engine, engine_now_us() - task->sent_us);
    line->due = list_is_empty(&line->tasks) ? 0 : engine_now() + line->engine->options.answer_ms;
    free(task);
}

/* The prepares of a greeting give results as well; the last result before the end of the transaction is the task's, and an error
 * is the only one. */
static void pg_result_take(struct engine_line *line, PGresult *result)
{
    struct line_task *task       = container_of(line->tasks.next, struct line_task, link);
    ExecStatusType    status     = PQresultStatus(result);
    bool              is_prepare = line->state == LINE_GREETING && status == PGRES_COMMAND_OK && PQcmdStatus(result)[0] == '\0';

    if (status == PGRES_PIPELINE_SYNC) {
        task_over(line, task);
        return;
    }
    if (is_prepare || status == PGRES_PIPELINE_ABORTED || task->has_result)
        return;
    task->has_result = true;
    task->answered(task, result);
}

/* Reads what came. */
static void pg_line_read(struct engine_line *line)
{
    size_t ends = 0;

    while (line->conn != NULL && !list_is_empty(&line->tasks) && !PQisBusy(line->conn) && ends < 2) {
        PGresult *result = PQgetResult(line->conn);
        ends             = result == NULL ? ends + 1 : 0;
        if (result != NULL)
            pg_result_take(line, result);
        PQclear(result);
    }
    /* Two ends in a row: libpq waits for nothing, because what was sent did not get out. */
    if (line->conn == NULL)
        return;
    if (PQstatus(line->conn) == CONNECTION_BAD || ends == 2)
        line_lose_by_error(line);
    else if (line->has_failed)
        pg_line_lose(line, line->engine->failure);
}

static void line_go_setting_up(struct engine_line *line)
{
    while (line->state == LINE_SETTING_UP && !PQisBusy(line->conn)) {
        PGresult *result = PQgetResult(line->conn);
        if (result == NULL) {
            pg_line_greet(line);
            return;
        }
        bool has_failed = PQresultStatus(result) == PGRES_FATAL_ERROR;
        PQclear(result);
        if (has_failed)
            line_lose_by_error(line);
    }
}

static void line_go_standing(struct engine_line *line)
{
    if (PQflush(line->conn) < 0 || PQconsumeInput(line->conn) != 1) {
        line_lose_by_error(line);
        return;
    }
    line_go_setting_up(line);
    if (line->state > LINE_SETTING_UP)
        pg_line_read(line);
    if (line->kind == LINE_BUS)
        engine_take_notices(line);
    if (line->conn != NULL && PQflush(line->conn) < 0)
        line_lose_by_error(line);
}

static void pg_line_connected(struct engine_line *line)
{
    line->host         = pg_hosts_reached(line->engine->url, line->conn);
    line->engine->host = line->host;
    line_set_up(line);
}

static void line_go_connecting(struct engine_line *line)
{
    line->polling = PQconnectPoll(line->conn);
    if (line->polling == PGRES_POLLING_FAILED)
        line_lose_by_error(line);
    else if (line->polling == PGRES_POLLING_OK)
        pg_line_connected(line);
}

short pg_line_events(const struct engine_line *line)
{
    if (line->state == LINE_AWAY)
        return 0;
    if (line->state == LINE_CONNECTING)
        return line->polling == PGRES_POLLING_READING ? POLLIN : POLLOUT;
    return POLLIN | (PQflush(line->conn) > 0 ? POLLOUT : 0);
}

static void line_lose_late(struct engine_line *line)
{
    line_leave_host(line);
    pg_line_lose(line, "PostgreSQL did not answer in time");
}

void pg_line_go(struct engine_line *line, bool is_ready)
{
    const bool is_late = line->due != 0 && line->due <= engine_now();

    /* An answer may have come since the thread has looked, while it was busy, or with what it wrote. It is looked for again before
     * PostgreSQL is called late. */
    if (is_ready && line->state == LINE_CONNECTING)
        line_go_connecting(line);
    else if ((is_ready || is_late) && line->state > LINE_CONNECTING)
        line_go_standing(line);
    if (line->due == 0 || line->due > engine_now())
        return;
    if (line->state == LINE_AWAY && !line->engine->is_stopping)
        pg_line_connect(line);
    else if (line->state != LINE_AWAY)
        line_lose_late(line);
}
