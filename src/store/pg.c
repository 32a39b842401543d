#include "store/pg.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"
#include "store/ledger_page.h"
#include "store/ledger_rule.h"
#include "store/pg_hosts.h"
#include "store/pg_priv.h"

enum {
    WRITERS_DEFAULT = 4, BATCH_LEAST = 64, READERS_DEFAULT = 2, LANES_OF_CLASS = 8, READS_DEFAULT = 65536, CHANGES_DEFAULT = 65536,
    CONNECT_MS = 5000, ANSWER_MS = 10000, DOUBT_MS = 8000, TEND_MS = 1000, ROOM_MS = 5000, TURN_MS = 1000, COMMIT_BYTES = 8 * 1024 * 1024,
    REFUSAL_MS = 2000,
    VERSION_TEXT_BYTES = 120, PLACE_TEXT_BYTES = 200, PLACES_SINCE_VERSION = 3, VOLATILE_SINCE_VERSION = 4,
    REQUEST_KINDS = 4,
};

static const msec PG_KEY_KEEP_MS = 24 * 3600 * INT64_C(1000);

msec pg_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (msec)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

uint64_t pg_random(void)
{
    uint64_t value = 0;

    must(getrandom(&value, sizeof value, 0) == sizeof value);
    return value;
}

/* The first line of what libpq says. */
static void why_set(char *to, size_t size, const char *why)
{
    snprintf(to, size, "%s", why);
    to[strcspn(to, "\n")] = '\0';
}

void pg_note_failure(struct pg *pg, const char *why)
{
    pthread_mutex_lock(&pg->lock);
    why_set(pg->failure, sizeof pg->failure, why);
    pthread_mutex_unlock(&pg->lock);
}

int64_t pg_keep_count(const struct namespace *space)
{
    return space->keep_count > INT64_MAX ? 0 : (int64_t)space->keep_count;
}

int64_t pg_oldest_kept(const struct namespace *space, msec wall)
{
    return space->keep_ms == 0 ? INT64_MIN : wall - space->keep_ms + 1;
}

/* --- the thread: work for idle lanes ------------------------------------------------------------------------------ */

static size_t pg_batch_bytes(const struct append_batch *batch)
{
    size_t bytes = 0;

    for (struct list *link = batch->appends.next; link != &batch->appends; link = link->next)
        bytes += message_size(container_of(link, struct append, link)->message);
    return bytes;
}

/* How many batches each of the connections that have nothing to do takes of those that wait: one by one they would take all, and
 * the others none. Without such a connection, all. */
static size_t batches_share(const struct pg *pg)
{
    size_t waiting = 0, idle = 0;

    for (const struct list *link = pg->lists.batches.next; link != &pg->lists.batches; link = link->next)
        waiting++;
    for (size_t i = 0; i < pg->lane_count; i++)
        idle += pg->lanes[i].class == LANE_APPEND && pg->lanes[i].state == LANE_IDLE && pg->lanes[i].work == NULL;
    return idle == 0 ? waiting : (waiting + idle - 1) / idle;
}

/* Takes at least one batch, and more up to its share, as many as fit. */
static bool take_batches(struct pg *pg, struct pg_commit *commit)
{
    size_t bytes = 0;

    for (size_t left = batches_share(pg); left > 0; left--) {
        struct append_batch *batch = container_of(pg->lists.batches.next, struct append_batch, link);
        bytes += pg_batch_bytes(batch);
        if (commit->append_count > 0 &&
            (commit->append_count + batch->count > PG_COMMIT_APPENDS || bytes > COMMIT_BYTES))
            break;
        list_take(&batch->link);
        list_push(&commit->batches, &batch->link);
        commit->append_count += batch->count;
    }
    return !list_is_empty(&commit->batches);
}

static bool take_ledger_batches(struct pg *pg, struct pg_commit *commit)
{
    while (!list_is_empty(&pg->lists.ledger_batches)) {
        struct ledger_batch *batch = container_of(pg->lists.ledger_batches.next, struct ledger_batch, link);
        if (!list_is_empty(&commit->ledger_batches) &&
            commit->change_count + batch->change_count > LEDGER_BATCH_COUNT_MAX)
            break;
        list_take(&batch->link);
        list_push(&commit->ledger_batches, &batch->link);
        commit->change_count += batch->change_count;
    }
    pg->lists.change_count -= commit->change_count;
    return !list_is_empty(&commit->ledger_batches);
}

/* The next kind of request, and how many of them were taken. */
static size_t take_request(struct pg_lists *lists, struct pg_lane *lane, size_t kind, const struct pg_work **ret_work)
{
    const struct { struct list *list; const struct pg_work *work; } kinds[] = {
        { &lists->gets, &pg_get_work }, { &lists->reads, &pg_read_work }, { &lists->listings, &pg_listing_work },
    };

    *ret_work = kind == REQUEST_KINDS - 1 ? &pg_ask_work : kinds[kind].work;
    if (kind == REQUEST_KINDS - 1)
        return asked_take(&lane->asked, lists);
    lane->request = list_pop(kinds[kind].list);
    return lane->request != NULL;
}

static const struct pg_work *take_read(struct pg *pg, struct pg_lane *lane)
{
    const struct pg_work *work  = NULL;
    size_t                count = 0;

    if (pg->lists.has_tick) {
        pg->lists.has_tick = false;
        return &pg_tick_work;
    }
    for (size_t i = 0; i < REQUEST_KINDS && count == 0; i++, pg->turn++)
        count = take_request(&pg->lists, lane, pg->turn % REQUEST_KINDS, &work);
    pg->lists.read_count -= count;
    return count > 0 ? work : NULL;
}

static const struct pg_work *take_work(struct pg *pg, struct pg_lane *lane)
{
    const struct pg_work *work = NULL;

    pthread_mutex_lock(&pg->lock);
    if (lane->class == LANE_APPEND)
        work = take_batches(pg, &lane->commit) ? &pg_commit_work : NULL;
    else if (lane->class == LANE_HEAR)
        work = take_hearing(pg, lane);
    else if (lane->class == LANE_LEDGER)
        work = take_ledger_batches(pg, &lane->commit) ? &pg_commit_work : NULL;
    else
        work = take_read(pg, lane);
    pthread_mutex_unlock(&pg->lock);
    return work;
}

static bool class_is_down(const struct pg *pg, enum lane_class class)
{
    for (size_t i = 0; i < pg->lane_count; i++)
        if (pg->lanes[i].class == class && !lane_is_down(&pg->lanes[i]))
            return false;
    return true;
}

static bool has_lost_lanes(const struct pg *pg)
{
    bool has_lost = false;

    for (size_t i = 0; i < pg->lane_count; i++)
        has_lost |= pg->lanes[i].is_lost;
    return has_lost;
}

/* Nobody can be asked: what waits is answered so, by a lane that is away. */
static void class_refuse(struct pg *pg, enum lane_class class)
{
    for (size_t i = 0; i < pg->lane_count; i++) {
        struct pg_lane *lane = &pg->lanes[i];
        if (lane->class != class || lane->work != NULL)
            continue;
        while ((lane->work = take_work(pg, lane)) != NULL)
            lane->work->refuse(lane);
        return;
    }
}

static void work_give(struct pg *pg)
{
    counter_set(&pg->is_away, class_is_down(pg, LANE_APPEND));
    counter_set(&pg->is_failing, has_lost_lanes(pg));
    for (int class = 0; class < LANE_CLASS_COUNT; class++)
        if (class_is_down(pg, class))
            class_refuse(pg, class);
    for (size_t i = 0; i < pg->lane_count; i++) {
        struct pg_lane       *lane = &pg->lanes[i];
        const struct pg_work *work = lane->state == LANE_IDLE && lane->work == NULL ? take_work(pg, lane) : NULL;
        if (work != NULL)
            lane_give(lane, work);
    }
}

/* --- the thread: waiting ------------------------------------------------------------------------------------------ */

static msec turn_ms(const struct pg *pg, msec now)
{
    msec wait = TURN_MS;

    for (size_t i = 0; i < pg->lane_count; i++) {
        msec due = pg->lanes[i].due;
        if (pg->lanes[i].doubt_until != 0 && (due == 0 || pg->lanes[i].doubt_until < due))
            due = pg->lanes[i].doubt_until;
        if (due != 0 && due - now < wait)
            wait = due > now ? due - now : 0;
    }
    return wait;
}

static void pg_wait(struct pg *pg)
{
    struct pollfd fds[PG_LANES_COUNT + 1] = { { .fd = pg->wake, .events = POLLIN } };
    uint64_t      count;

    for (size_t i = 0; i < pg->lane_count; i++) {
        struct pg_lane *lane = &pg->lanes[i];
        fds[i + 1]           = (struct pollfd){ .fd = lane->state == LANE_AWAY ? -1 : PQsocket(lane->conn),
                                                .events = lane_events(lane) };
    }
    poll(fds, pg->lane_count + 1, (int)turn_ms(pg, pg_now()));
    if (fds[0].revents != 0 && read(pg->wake, &count, sizeof count) < 0)
        return;
    for (size_t i = 0; i < pg->lane_count; i++)
        if (fds[i + 1].revents != 0 || pg->lanes[i].due != 0 || pg->lanes[i].doubt_until != 0)
            lane_go(&pg->lanes[i], fds[i + 1].revents != 0);
}

/* --- the thread: its life ----------------------------------------------------------------------------------------- */

static bool pg_has_work(struct pg *pg)
{
    bool has_work = false;

    for (size_t i = 0; i < pg->lane_count; i++)
        has_work |= pg->lanes[i].work != NULL;
    pthread_mutex_lock(&pg->lock);
    pg->is_stopping = pg->lists.is_closing;
    has_work |= !list_is_empty(&pg->lists.batches) || !list_is_empty(&pg->lists.ledger_batches) ||
                pg->lists.read_count > 0;
    pthread_mutex_unlock(&pg->lock);
    return has_work;
}

/* While the store closes nothing is connected anew: what waits for a connection is refused. */
static void lanes_stop(struct pg *pg)
{
    for (size_t i = 0; i < pg->lane_count; i++) {
        struct pg_lane *lane = &pg->lanes[i];
        if (lane->state != LANE_AWAY)
            continue;
        lane->failure_count++;
        lane->due = 0;
        if (lane->work != NULL)
            lane->work->refuse(lane);
    }
}

static void *pg_thread(void *context)
{
    struct pg *pg = context;

    while (pg_has_work(pg) || !pg->is_stopping) {
        if (pg->is_stopping)
            lanes_stop(pg);
        else
            hear_begin(pg);
        work_give(pg);
        pg_wait(pg);
    }
    return NULL;
}

void pg_wake(struct pg *pg)
{
    uint64_t one = 1;

    if (write(pg->wake, &one, sizeof one) < 0)
        return;  /* the counter is full, so the thread wakes anyhow */
}

/* --- the port ----------------------------------------------------------------------------------------------------- */

static void pg_append(struct store *store, struct append_batch *batch)
{
    struct pg *pg = pg_of(store);

    pthread_mutex_lock(&pg->lock);
    list_push(&pg->lists.batches, &batch->link);
    pthread_mutex_unlock(&pg->lock);
    pg_wake(pg);
}

/* False: too many wait. */
static bool request_push(struct pg *pg, struct list *list, struct list *link)
{
    pthread_mutex_lock(&pg->lock);
    bool has_room = pg->lists.read_count < pg->options.read_count_max;
    if (has_room) {
        list_push(list, link);
        pg->lists.read_count++;
    }
    pthread_mutex_unlock(&pg->lock);
    if (has_room)
        pg_wake(pg);
    return has_room;
}

static void pg_read(struct store *store, struct store_read *read)
{
    struct pg *pg = pg_of(store);

    store_read_check(read);
    read->entries     = NULL;
    read->entry_count = 0;
    if (request_push(pg, &pg->lists.reads, &read->link))
        return;
    read->rc = RC_FULL;
    read->done(read);
}

static void pg_heads(struct store *store, struct store_heads *question)
{
    struct pg *pg = pg_of(store);

    must(question->count >= 1 && question->count <= STORE_HEADS_MAX);
    if (request_push(pg, &pg->lists.questions, &question->link))
        return;
    for (size_t i = 0; i < question->count; i++)
        question->heads[i] = (struct store_head){ .rc = RC_FULL };
    question->done(question);
}

static void pg_list(struct store *store, struct store_listing *listing)
{
    struct pg *pg = pg_of(store);

    store_listing_begin(listing);
    if (request_push(pg, &pg->lists.listings, &listing->link))
        return;
    listing->rc = RC_FULL;
    listing->done(listing);
}

static void pg_tick(struct store *store, msec wall)
{
    struct pg *pg  = pg_of(store);
    msec       now = pg_now();

    pthread_mutex_lock(&pg->lock);
    bool is_due = now >= pg->lists.tick_after;
    if (is_due) {
        pg->lists.has_tick   = true;
        pg->lists.tick_wall  = wall;
        pg->lists.tick_after = now + pg->options.tend_ms;
    }
    pthread_mutex_unlock(&pg->lock);
    if (is_due)
        pg_wake(pg);
}

/* Under the lock. */
static size_t pg_batches_waiting(const struct pg *pg)
{
    size_t count = 0;

    for (const struct list *at = pg->lists.batches.next; at != &pg->lists.batches; at = at->next)
        count++;
    return count;
}

static void pg_stats(struct store *store, struct store_stats *ret_stats)
{
    struct pg *pg = pg_of(store);

    *ret_stats = (struct store_stats){
        .channel_count = counter_get(&pg->channel_count),
        .disk_bytes    = counter_get(&pg->disk_bytes),
        .append_count  = counter_get(&pg->append_count),
        .batch_count   = counter_get(&pg->batch_count),
        .sync_count    = counter_get(&pg->sync_count),
        .sync_us_sum   = counter_get(&pg->sync_us_sum),
        .reconnect_count  = counter_get(&pg->reconnect_count),
        .resolved_count   = counter_get(&pg->resolved_count),
        .unresolved_count = counter_get(&pg->unresolved_count),
        .is_full       = counter_get(&pg->is_full) != 0,
        .is_broken     = counter_get(&pg->is_broken) + counter_get(&pg->is_away) != 0,
        .is_failing    = counter_get(&pg->is_failing) != 0,
        .failure_count = counter_get(&pg->failure_count),
        .clock_ahead_ms = (int64_t)counter_get(&pg->clock_ahead_ms),
        .epoch_count    = counter_get(&pg->epoch_count),
    };
    for (size_t i = 0; i < sizeof pg->sync_us_buckets / sizeof pg->sync_us_buckets[0]; i++)
        ret_stats->sync_us_buckets[i] = counter_get(&pg->sync_us_buckets[i]);
    pthread_mutex_lock(&pg->lock);
    ret_stats->waiting_count = pg->lists.read_count + pg->lists.change_count + pg_batches_waiting(pg);
    snprintf(ret_stats->failure, sizeof ret_stats->failure, "%s", pg->failure);
    pthread_mutex_unlock(&pg->lock);
}

static void pg_close(struct store *store)
{
    struct pg *pg = pg_of(store);

    pthread_mutex_lock(&pg->lock);
    pg->lists.is_closing = true;
    pthread_mutex_unlock(&pg->lock);
    pg_wake(pg);
    must(pthread_join(pg->thread, NULL) == 0);
    for (size_t i = 0; i < pg->lane_count; i++)
        lane_fini(&pg->lanes[i]);
    pthread_mutex_destroy(&pg->lock);
    close(pg->wake);
    for (size_t i = 0; i < SQL_COUNT; i++)
        free(pg->texts[i]);
    free(pg->url);
    free(pg->known);
    free(pg);
}

static const struct store_ops pg_ops = {
    .name   = "postgres",
    .engine = "postgres",
    .append = pg_append,
    .read   = pg_read,
    .heads  = pg_heads,
    .list   = pg_list,
    .hear   = pg_hear,
    .tick   = pg_tick,
    .stats  = pg_stats,
    .close  = pg_close,
};

static void pg_ledger_write(struct ledger *ledger, struct ledger_batch *batch)
{
    struct pg *pg = container_of(ledger, struct pg, ledger);

    ledger_batch_check(batch);
    pthread_mutex_lock(&pg->lock);
    bool has_room = list_is_empty(&pg->lists.ledger_batches) ||
                    pg->lists.change_count + batch->change_count <= pg->options.change_count_max;
    if (has_room) {
        list_push(&pg->lists.ledger_batches, &batch->link);
        pg->lists.change_count += batch->change_count;
    }
    pthread_mutex_unlock(&pg->lock);
    if (has_room) {
        pg_wake(pg);
        return;
    }
    pg_ledger_batch_refuse(batch, LEDGER_BUSY);
    batch->done(batch);
}

static void pg_ledger_read(struct ledger *ledger, struct ledger_read *read)
{
    struct pg *pg = container_of(ledger, struct pg, ledger);

    ledger_read_check(read);
    if (request_push(pg, read->way == LEDGER_SCAN ? &pg->lists.scans : &pg->lists.gets, &read->link))
        return;
    ledger_read_refuse(read, RC_FULL);
    read->done(read);
}

static void pg_ledger_round(struct ledger *ledger, struct ledger_round *round)
{
    struct pg *pg = container_of(ledger, struct pg, ledger);

    if (request_push(pg, &pg->lists.rounds, &round->link))
        return;
    ledger_round_refuse(round, RC_FULL);
    round->done(round);
}

static const struct ledger_ops pg_ledger_ops = {
    .name = "postgres", .write = pg_ledger_write, .read = pg_ledger_read, .round = pg_ledger_round,
};

/* --- opening ------------------------------------------------------------------------------------------------------ */

static const char *const question_keys[] = { "connect_timeout", "dbname", "client_encoding", NULL };

/* SQLSTATEs of what a later try would meet again: who asks may not come in, the database is not there, or what is asked for. */
static bool is_final_state(const char *state)
{
    static const char *const classes[] = { "28", "3D", "42", "0L", "0P" };

    for (size_t i = 0; i < sizeof classes / sizeof classes[0] && state != NULL; i++)
        if (strncmp(state, classes[i], 2) == 0)
            return true;
    return false;
}

/* RC_DENIED: PostgreSQL answered, and would answer the same later. */
static enum rc rc_of_result(const PGresult *result)
{
    return is_final_state(PQresultErrorField(result, PG_DIAG_SQLSTATE)) ? RC_DENIED : RC_IO;
}

/* "…: FATAL:  28P01: password authentication failed": what a verbose connection has before its text. */
static bool has_final_state(const char *message)
{
    const char *at = strstr(message, ":  ");

    return at != NULL && strcspn(at + 3, ":\n") == 5 && is_final_state(at + 3);
}

static PostgresPollingStatusType connect_step(PGconn *conn, PostgresPollingStatusType step, msec until)
{
    struct pollfd at   = { .fd = PQsocket(conn), .events = step == PGRES_POLLING_READING ? POLLIN : POLLOUT };
    const msec    left = until - pg_now();

    return left > 0 && poll(&at, 1, (int)left) > 0 ? PQconnectPoll(conn) : PGRES_POLLING_FAILED;
}

/* No connection came about. libpq tells why in words alone, unless it is told to be verbose before it connects, which it then has
 * to do step by step, at one host. So this asks once more: a refusal that is final comes soon. */
static enum rc refusal_ask(const char *url)
{
    const char *const         values[] = { "10", url, "UTF8", NULL };
    PGconn                   *conn     = PQconnectStartParams(question_keys, values, 1);
    PostgresPollingStatusType step     = PGRES_POLLING_WRITING;
    const msec                until    = pg_now() + REFUSAL_MS;

    PQsetErrorVerbosity(conn, PQERRORS_VERBOSE);
    while (PQstatus(conn) != CONNECTION_BAD && step != PGRES_POLLING_OK && step != PGRES_POLLING_FAILED)
        step = connect_step(conn, step, until);
    const bool is_final = step == PGRES_POLLING_FAILED && has_final_state(PQerrorMessage(conn));
    PQfinish(conn);
    return is_final ? RC_DENIED : RC_IO;
}

static enum rc schema_run(PGconn *conn, const char *text, char *ret_why, size_t why_size)
{
    PGresult *result = PQexec(conn, text);
    bool      is_ok  = PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;

    if (!is_ok)
        why_set(ret_why, why_size, PQresultErrorMessage(result));
    PQclear(result);
    return is_ok ? RC_OK : RC_IO;
}

/* A connection for questions at the start. What libpq says of a URL that it can't read may hold the password. */
static enum rc question_connect(const char *url, PGconn **ret, char *ret_why, size_t why_size)
{
    const char *const  values[] = { "10", url, "UTF8", NULL };
    char              *fault    = NULL;
    PQconninfoOption  *options  = PQconninfoParse(url, &fault);
    PGconn            *conn     = options == NULL ? NULL : PQconnectdbParams(question_keys, values, 1);
    enum rc            rc       = options == NULL ? RC_BAD : RC_OK;

    if (options == NULL)
        snprintf(ret_why, why_size, "libpq can't read this URL: write postgres://USER:PASSWORD@HOST:PORT/DATABASE?NAME=VALUE, and "
                                    "percent-encode what is special in it");
    else if (PQstatus(conn) != CONNECTION_OK)
        why_set(ret_why, why_size, PQerrorMessage(conn));
    PQfreemem(fault);
    PQconninfoFree(options);
    if (rc == RC_OK && PQstatus(conn) != CONNECTION_OK)
        rc = refusal_ask(url);
    else if (rc == RC_OK)
        rc = schema_run(conn, PG_NO_TIMEOUTS, ret_why, why_size);
    if (rc == RC_OK)
        *ret = conn;
    else
        PQfinish(conn);
    return rc;
}

/* What version the schema has: 0 if there is none. */
static enum rc version_ask(PGconn *conn, int *ret_version, char *ret_why, size_t why_size)
{
    enum rc rc = RC_OK;

    if (PQserverVersion(conn) < 140000) {
        snprintf(ret_why, why_size, "PostgreSQL %d is too old: version 14 or later is needed",
                 PQserverVersion(conn) / 10000);
        return RC_BAD;
    }
    if (strcmp(PQparameterStatus(conn, "server_encoding"), "UTF8") != 0) {
        snprintf(ret_why, why_size, "the database's encoding is %s: make one with the encoding UTF8",
                 PQparameterStatus(conn, "server_encoding"));
        return RC_BAD;
    }
    PGresult *result = PQexec(conn, "select to_regclass('longwire.shard') is not null");
    if (PQresultStatus(result) == PGRES_TUPLES_OK && strcmp(PQgetvalue(result, 0, 0), "t") == 0) {
        PQclear(result);
        result = PQexec(conn, "select version from longwire.shard");
    }
    if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1) {
        *ret_version = atoi(PQgetvalue(result, 0, 0));  /* "f": no such table */
    } else {
        why_set(ret_why, why_size, PQresultErrorMessage(result));
        rc = rc_of_result(result);
    }
    PQclear(result);
    return rc;
}

static enum rc version_judge(int version, char *ret_why, size_t why_size)
{
    if (version == PG_SCHEMA_VERSION)
        return RC_OK;
    if (version < 0)
        snprintf(ret_why, why_size, "another store is being copied into this database: let longwired --copy come to its end first");
    else if (version < PG_SCHEMA_VERSION)
        snprintf(ret_why, why_size, "the schema of the database has version %d and this program needs version %d: run longwired "
                 "with the same --store and --init once", version, PG_SCHEMA_VERSION);
    else
        snprintf(ret_why, why_size, "the schema of the database has version %d and this program knows version %d: use the newer "
                 "program", version, PG_SCHEMA_VERSION);
    return RC_BAD;
}

/* The tables of memory namespaces, beside those of the durable ones and of the same version. */
static enum rc volatile_schema_make(PGconn *conn, int version, size_t index, size_t count, char *ret_why, size_t why_size)
{
    char      take_place[PLACE_TEXT_BYTES];
    PGresult *result   = PQexec(conn, "select to_regclass('longwire_memory.shard') is not null");
    bool      is_there = PQresultStatus(result) == PGRES_TUPLES_OK && strcmp(PQgetvalue(result, 0, 0), "t") == 0;
    enum rc   rc       = RC_OK;

    PQclear(result);
    if (is_there && version < VOLATILE_SINCE_VERSION) {
        /* Left behind by a schema that was dropped. What they hold belongs to nothing. */
        rc       = schema_run(conn, "drop schema longwire_memory cascade", ret_why, why_size);
        is_there = false;
    }
    for (int i = is_there ? version : 0; i < PG_SCHEMA_VERSION && rc == RC_OK; i++) {
        char *text = pg_volatile_text(pg_schema_steps[i]);
        rc         = schema_run(conn, text, ret_why, why_size);
        free(text);
    }
    snprintf(take_place, sizeof take_place, "select longwire_memory.take_place(0, 0, %d, %zu, %zu)", SLOT_COUNT - 1, index,
             count);
    return rc == RC_OK && !is_there ? schema_run(conn, take_place, ret_why, why_size) : rc;
}

/* In one transaction, so that a schema is there as a whole or not at all. Two that do it at the same time come one after
 * the other; the second one finds the work done. */
static enum rc schema_make(PGconn *conn, const struct shard_place *place, size_t index, size_t count, char *ret_why,
                           size_t why_size)
{
    char    set_version[VERSION_TEXT_BYTES], take_place[PLACE_TEXT_BYTES];
    int     version = 0;
    enum rc rc      = schema_run(conn, "set client_min_messages = error; begin; select pg_advisory_xact_lock(1281053266, -3)", ret_why,
                                 why_size);

    if (rc == RC_OK)
        rc = version_ask(conn, &version, ret_why, why_size);
    for (int i = version; i < PG_SCHEMA_VERSION && rc == RC_OK; i++)
        rc = schema_run(conn, pg_schema_steps[i], ret_why, why_size);
    snprintf(take_place, sizeof take_place, "select longwire.take_place(%lld, %u, %u, %zu, %zu)", (long long)place->cluster,
             place->first_slot, place->last_slot, index, count);
    if (rc == RC_OK && version == 0)
        rc = schema_run(conn, take_place, ret_why, why_size);
    if (rc == RC_OK)
        rc = volatile_schema_make(conn, version, index, count, ret_why, why_size);
    snprintf(set_version, sizeof set_version, "update longwire.shard set version = greatest(version, %d); commit",
             PG_SCHEMA_VERSION);
    return rc == RC_OK ? schema_run(conn, set_version, ret_why, why_size) : rc;
}

/* A schema of an earlier version knew no slots: it has all of them. */
static enum rc place_ask(PGconn *conn, int version, struct shard_place *ret, char *ret_why, size_t why_size)
{
    *ret = shard_place_new(0, 0, 1);
    if (version < PLACES_SINCE_VERSION)
        return RC_OK;
    PGresult *result = PQexec(conn, "select cluster, first_slot, last_slot from longwire.shard");
    enum rc   rc     = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1 ? RC_OK : rc_of_result(result);

    if (rc == RC_OK)
        *ret = (struct shard_place){ (uint64_t)strtoll(PQgetvalue(result, 0, 0), NULL, 10),
                                     (uint32_t)atoi(PQgetvalue(result, 0, 1)), (uint32_t)atoi(PQgetvalue(result, 0, 2)) };
    else
        why_set(ret_why, why_size, PQresultErrorMessage(result));
    PQclear(result);
    return rc;
}

enum rc pg_store_ask(const char *url, struct shard_place *ret, char *ret_why, size_t why_size)
{
    PGconn *conn    = NULL;
    int     version = 0;
    enum rc rc      = question_connect(url, &conn, ret_why, why_size);

    if (rc == RC_OK)
        rc = version_ask(conn, &version, ret_why, why_size);

    if (rc == RC_OK && (version > PG_SCHEMA_VERSION || version < 0))
        rc = version_judge(version, ret_why, why_size);
    else if (rc == RC_OK)
        rc = version == 0 ? RC_GONE : place_ask(conn, version, ret, ret_why, why_size);
    PQfinish(conn);
    return rc;
}

enum rc pg_store_init(const char *url, const struct shard_place *place, size_t index, size_t count, char *ret_why,
                      size_t why_size)
{
    PGconn *conn    = NULL;
    int     version = 0;
    enum rc rc      = question_connect(url, &conn, ret_why, why_size);

    if (rc == RC_OK)
        rc = version_ask(conn, &version, ret_why, why_size);

    if (rc == RC_OK && version >= 0 && version < PG_SCHEMA_VERSION)
        rc = schema_make(conn, place, index, count, ret_why, why_size);
    else if (rc == RC_OK)
        rc = version_judge(version, ret_why, why_size);
    PQfinish(conn);
    return rc;
}

static void number_default(size_t *number, size_t value, size_t most)
{
    if (*number == 0)
        *number = value;
    must(*number <= most);
}

static void pg_options_fill(struct pg_store_options *options)
{
    number_default(&options->writer_count, WRITERS_DEFAULT, LANES_OF_CLASS);
    number_default(&options->reader_count, READERS_DEFAULT, LANES_OF_CLASS);
    number_default(&options->read_count_max, READS_DEFAULT, SIZE_MAX);
    number_default(&options->change_count_max, CHANGES_DEFAULT, SIZE_MAX);
    options->key_keep_ms = options->key_keep_ms == 0 ? PG_KEY_KEEP_MS : options->key_keep_ms;
    options->connect_ms  = options->connect_ms == 0 ? CONNECT_MS : options->connect_ms;
    options->answer_ms   = options->answer_ms == 0 ? ANSWER_MS : options->answer_ms;
    options->doubt_ms    = options->doubt_ms == 0 ? DOUBT_MS : options->doubt_ms;
    options->tend_ms     = options->tend_ms == 0 ? TEND_MS : options->tend_ms;
    options->room_ms     = options->room_ms == 0 ? ROOM_MS : options->room_ms;
}

static void lanes_init(struct pg *pg)
{
    const size_t counts[LANE_CLASS_COUNT] = {
        [LANE_APPEND] = pg->options.writer_count, [LANE_LEDGER] = 1, [LANE_READ] = pg->options.reader_count,
        [LANE_HEAR] = 1,
    };

    for (int class = 0; class < LANE_CLASS_COUNT; class++)
        for (size_t i = 0; i < counts[class]; i++)
            lane_init(&pg->lanes[pg->lane_count++], pg, (enum lane_class)class);
}

static void lists_init(struct pg_lists *lists)
{
    list_init(&lists->batches);
    list_init(&lists->ledger_batches);
    list_init(&lists->reads);
    list_init(&lists->listings);
    list_init(&lists->gets);
    list_init(&lists->questions);
    list_init(&lists->rounds);
    list_init(&lists->scans);
}

static struct pg *pg_new(const struct pg_store_options *options)
{
    struct pg *pg = calloc(1, sizeof *pg);

    must(pg != NULL);
    pg->options = *options;
    pg_options_fill(&pg->options);
    pg->url        = strdup(options->url);
    pg->host_count = pg_hosts_count(options->url);
    pg->known = calloc(PG_KNOWN_COUNT, sizeof pg->known[0]);
    pg->wake  = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    must(pg->url != NULL && pg->known != NULL && pg->wake >= 0);
    for (size_t i = 0; i < SQL_COUNT; i++) {
        pg->texts[i] = options->is_volatile ? pg_volatile_text(pg_texts[i].text) : strdup(pg_texts[i].text);
        must(pg->texts[i] != NULL);
    }
    pthread_mutex_init(&pg->lock, NULL);
    lists_init(&pg->lists);
    lanes_init(pg);
    pg->ledger = (struct ledger){ .ops = &pg_ledger_ops };
    pg->store  = (struct store){ .ops = &pg_ops, .ledger = &pg->ledger, .has_one_writer = false,
                                 .batches_max = (uint32_t)pg->options.writer_count, .batch_least = BATCH_LEAST };
    return pg;
}

/* The first channel of each namespace, by one look into the index each. If it can't be asked, nothing is known of them. */
static PGresult *spaces_ask(PGconn *conn)
{
    return PQexec(conn,
        "set enable_seqscan = off; with recursive spaces(name) as ("
        "(select name from longwire.channel where head > 0 order by name limit 1) union all select"
        " (select c.name from longwire.channel c where c.name >= substring(s.name from 1 for position(':'::bytea in s.name) - 1) || ';'::bytea"
        " and c.head > 0 order by c.name limit 1) from spaces s where s.name is not null)"
        " select encode(name, 'escape') from spaces where name is not null limit 512");
}

static void spaces_look(struct pg *pg, PGresult *spaces)
{
    for (int i = 0; PQresultStatus(spaces) == PGRES_TUPLES_OK && i < PQntuples(spaces); i++)
        store_look_at_space(&pg->store, pg->options.spaces, span_str(PQgetvalue(spaces, i, 0)), NULL);
    PQclear(spaces);
}

enum rc pg_store_open(const struct pg_store_options *options, struct store **ret, char *ret_why, size_t why_size)
{
    PGconn   *conn    = NULL;
    PGresult *spaces  = NULL;
    int       version = 0;
    enum rc   rc      = question_connect(options->url, &conn, ret_why, why_size);

    if (rc == RC_OK)
        rc = version_ask(conn, &version, ret_why, why_size);
    if (rc == RC_OK && version == PG_SCHEMA_VERSION && !options->is_volatile)
        spaces = spaces_ask(conn);
    PQfinish(conn);
    if (rc == RC_OK && version == 0) {
        snprintf(ret_why, why_size, "the database has no schema for Longwire yet: run longwired with the same --store and --init once");
        rc = RC_GONE;
    } else if (rc == RC_OK) {
        rc = version_judge(version, ret_why, why_size);
    }
    if (rc != RC_OK) {
        PQclear(spaces);
        return rc;
    }
    struct pg *pg = pg_new(options);
    spaces_look(pg, spaces);
    must(pthread_create(&pg->thread, NULL, pg_thread, pg) == 0);
    *ret = &pg->store;
    return RC_OK;
}
