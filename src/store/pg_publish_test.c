/* longwire.publish() in SQL, against a PostgreSQL of the test's own: what it stores, what it refuses, who hears of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libpq-fe.h>

#include "base/must.h"
#include "store/pg_battery.h"
#include "store/pg_sql.h"

#include <cmocka.h>

enum { WHY_BYTES = 600, PAGE_BYTES = 1 << 22, TEXT_BYTES = 512, DAY_MS = 24 * 3600 * 1000, HEADS_MAX = 16, DEADLINE_S = 880,
       SQL_BYTES = 100, VOLATILE_SINCE = 4 };

/* --- a caller ----------------------------------------------------------------------------------------------------- */

static PGconn *caller_new(void)
{
    PGconn *conn = PQconnectdb(engine_url());

    must(PQstatus(conn) == CONNECTION_OK);
    return conn;
}

/* The first column of the first row as a number; the SQLSTATE goes to `state`, "" if it succeeded. */
static long long caller_run(PGconn *conn, const char *sql, char state[6])
{
    PGresult   *result = PQexec(conn, sql);
    const char *found  = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    long long   number = PQntuples(result) > 0 ? atoll(PQgetvalue(result, 0, 0)) : 0;

    snprintf(state, 6, "%s", found == NULL ? "" : found);
    PQclear(result);
    return number;
}

static long long caller_expect(PGconn *conn, const char *sql)
{
    char      state[6];
    long long number = caller_run(conn, sql, state);

    if (state[0] != '\0')
        fail_msg("%s: %s %s", sql, state, PQerrorMessage(conn));
    return number;
}

/* The nodes have told their namespaces. */
static void policies_are_told(struct bench *bench)
{
    bench->store->ops->tick(bench->store, bench->wall);
    while (engine_sql("select count(*) from longwire.policy") == 0)
        continue;
}

/* --- somebody who hears ------------------------------------------------------------------------------------------- */

struct listener {
    pthread_mutex_t lock;
    pthread_cond_t  news;
    size_t          miss_count, heard_count, name_count;
    struct { char name[TEXT_BYTES]; uint64_t epoch, head; } names[HEADS_MAX];
};

static void listener_missed(void *ctx)
{
    struct listener *listener = ctx;

    pthread_mutex_lock(&listener->lock);
    listener->miss_count++;
    pthread_cond_broadcast(&listener->news);
    pthread_mutex_unlock(&listener->lock);
}

static void listener_heard(void *ctx, struct channel_name *name, uint64_t epoch, uint64_t head)
{
    struct listener *listener = ctx;
    size_t           at       = 0;

    pthread_mutex_lock(&listener->lock);
    while (at < listener->name_count && strcmp(listener->names[at].name, name->text) != 0)
        at++;
    must(at < HEADS_MAX);
    if (at == listener->name_count)
        listener->name_count++;
    snprintf(listener->names[at].name, TEXT_BYTES, "%s", name->text);
    listener->names[at].epoch = epoch;
    listener->names[at].head  = head;
    listener->heard_count++;
    pthread_cond_broadcast(&listener->news);
    pthread_mutex_unlock(&listener->lock);
}

static void listener_begin(struct listener *listener, struct bench *bench)
{
    *listener = (struct listener){ .lock = PTHREAD_MUTEX_INITIALIZER, .news = PTHREAD_COND_INITIALIZER };
    bench->store->ops->hear(bench->store, &(struct store_ear){ listener_heard, listener_missed, listener });
}

static void listener_wait_until_missed(struct listener *listener, size_t count)
{
    pthread_mutex_lock(&listener->lock);
    while (listener->miss_count < count)
        pthread_cond_wait(&listener->news, &listener->lock);
    pthread_mutex_unlock(&listener->lock);
}

static size_t listener_heard_count(struct listener *listener)
{
    pthread_mutex_lock(&listener->lock);
    size_t count = listener->heard_count;
    pthread_mutex_unlock(&listener->lock);
    return count;
}

static uint64_t listener_wait_for(struct listener *listener, const char *name, uint64_t head)
{
    uint64_t epoch = 0;

    pthread_mutex_lock(&listener->lock);
    while (epoch == 0) {
        for (size_t i = 0; i < listener->name_count; i++)
            if (strcmp(listener->names[i].name, name) == 0 && listener->names[i].head >= head)
                epoch = listener->names[i].epoch;
        if (epoch == 0)
            pthread_cond_wait(&listener->news, &listener->lock);
    }
    pthread_mutex_unlock(&listener->lock);
    return epoch;
}

/* --- what it stores ----------------------------------------------------------------------------------------------- */

static void it_continues_the_log_of_the_nodes(void **state)
{
    struct bench    *bench = *state;
    struct published first = bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "1" });

    policies_are_told(bench);
    assert_int_equal(engine_sql("select seq from longwire.publish('topic:a', 'from SQL')"), 2);
    struct published third = bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "3" });
    assert_int_equal(third.answer.seq, 3);
    assert_true(third.answer.epoch == first.answer.epoch);
    struct store_read read = bench_read(bench, "topic:a", READ_AFTER, 0, 10, PAGE_BYTES);
    assert_int_equal(read.entry_count, 3);
    assert_int_equal(read.bytes, 10);
    const struct message *mine = read.entries[1].message;
    assert_true(span_eq(message_payload(mine), SPAN("from SQL")));
    assert_true(span_eq(message_media(mine), SPAN("text/plain")));
    assert_true(mine->id > first.answer.id && mine->id < third.answer.id);
    assert_true(mine->expires_at == 0 && mine->epoch == first.answer.epoch && message_from(mine).len == 0);
    store_read_fini(&read);
}

static void a_rollback_leaves_no_trace(void **state)
{
    struct bench *bench  = *state;
    PGconn       *caller = caller_new();

    policies_are_told(bench);
    caller_expect(caller, "begin");
    assert_int_equal(caller_expect(caller, "select seq from longwire.publish('topic:a', 'x', key => 'k')"), 1);
    assert_int_equal(caller_expect(caller, "select seq from longwire.publish('topic:a', 'y')"), 2);
    caller_expect(caller, "rollback");
    assert_int_equal(engine_sql("select count(*) from longwire.channel"), 0);
    assert_int_equal(engine_sql("select count(*) from longwire.moved"), 0);
    caller_expect(caller, "begin");
    caller_expect(caller, "select longwire.publish('topic:a', 'one')");
    caller_expect(caller, "savepoint s");
    caller_expect(caller, "select longwire.publish('topic:a', 'two')");
    caller_expect(caller, "rollback to s");
    assert_int_equal(caller_expect(caller, "select seq from longwire.publish('topic:a', 'three', key => 'k')"), 2);
    caller_expect(caller, "commit");
    struct store_read read = bench_read(bench, "topic:a", READ_AFTER, 0, 10, PAGE_BYTES);
    assert_int_equal(read.entry_count, 2);
    assert_true(span_eq(message_payload(read.entries[1].message), SPAN("three")));
    store_read_fini(&read);
    PQfinish(caller);
}

/* The second caller waits for the first one's end, whatever it is. */
static void seqs_are_in_the_order_of_commits(void **state)
{
    struct bench *bench = *state;
    PGconn       *one = caller_new(), *two = caller_new();
    char          error[6];

    policies_are_told(bench);
    caller_expect(one, "begin");
    assert_int_equal(caller_expect(one, "select seq from longwire.publish('topic:a', 'one')"), 1);
    caller_expect(two, "set lock_timeout = '50ms'");
    caller_run(two, "select seq from longwire.publish('topic:a', 'two')", error);
    assert_string_equal(error, "55P03");
    caller_expect(two, "set lock_timeout = 0");
    assert_int_equal(PQsendQuery(two, "select seq from longwire.publish('topic:a', 'two')"), 1);
    while (engine_sql("select count(*) from pg_locks where not granted") == 0)
        continue;
    caller_expect(one, "rollback");
    PGresult *result = PQgetResult(two);
    assert_string_equal(PQgetvalue(result, 0, 0), "1");
    PQclear(result);
    PQfinish(one);
    PQfinish(two);
}

static void a_transaction_that_sees_an_old_world_is_repeated(void **state)
{
    struct bench *bench = *state;
    PGconn       *old   = caller_new();
    char          error[6];

    policies_are_told(bench);
    caller_expect(old, "begin isolation level repeatable read");
    caller_expect(old, "select 1 from longwire.policy");
    engine_sql("select longwire.publish('topic:a', 'other')");
    caller_run(old, "select longwire.publish('topic:a', 'mine')", error);
    assert_string_equal(error, "40001");
    PQfinish(old);
}

static void keys_are_kept(void **state)
{
    struct bench *bench  = *state;
    PGconn       *caller = caller_new();
    char          error[6];

    policies_are_told(bench);
    assert_int_equal(engine_sql("select seq from longwire.publish('topic:a', 'pay 5', key => 'k')"), 1);
    assert_int_equal(engine_sql("select seq from longwire.publish('topic:a', 'pay 5', key => 'k') where is_replayed"), 1);
    assert_int_equal(engine_sql("select seq from longwire.publish('topic:b', 'pay 5', key => 'k') where not is_replayed"), 1);
    caller_run(caller, "select longwire.publish('topic:a', 'pay 6', key => 'k')", error);
    assert_string_equal(error, "LW422");
    caller_run(caller, "select longwire.publish('topic:a', 'pay 5', media => 'text/html', key => 'k')", error);
    assert_string_equal(error, "LW422");
    /* Keys of API keys and of roles are apart, whatever they are named. */
    struct published other = bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "pay 7", .key = "k",
                                                                    .publisher = "postgres" });
    assert_int_equal(other.outcome, APPEND_DONE);
    engine_sql("update longwire.used_key set forget_at = 1");
    assert_int_equal(engine_sql("select seq from longwire.publish('topic:a', 'pay 6', key => 'k')"), 3);
    PQfinish(caller);
}

static void media_types_have_defaults(void **state)
{
    struct bench *bench = *state;
    static const struct { const char *call, *media, *payload; } rows[] = {
        { "'x'", "text/plain", "x" },
        { "'x'::bytea", "text/plain", "x" },
        { "'\\xff00'::bytea", "application/octet-stream", NULL },
        { "'\\xc3a4'::bytea", "text/plain", "\xc3\xa4" },
        { "'\\x00415c5c00'::bytea", "text/plain", NULL },  /* zero bytes are UTF-8 */
        { "'\\x00ff'::bytea", "application/octet-stream", NULL },
        { "'{\"a\": 1}'::json", "application/json", "{\"a\": 1}" },
        { "jsonb_build_object('a', 1)", "application/json", "{\"a\": 1}" },
        { "'[]', 'application/ld+json; x=y'", "application/ld+json; x=y", "[]" },
        { "'\\xefbbbf5b5d'::bytea, 'application/json'", "application/json", "[]" },
        { "'', 'text/html; charset=utf-8'", "text/html; charset=utf-8", "" },
    };
    policies_are_told(bench);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char sql[TEXT_BYTES];
        snprintf(sql, sizeof sql, "select seq from longwire.publish('topic:a', %s)", rows[i].call);
        assert_int_equal(engine_sql(sql), i + 1);
        struct store_read     read    = bench_read(bench, "topic:a", READ_BEFORE, 0, 1, PAGE_BYTES);
        const struct message *message = read.entries[0].message;
        if (!span_eq(message_media(message), span_str(rows[i].media)) ||
            (rows[i].payload != NULL && !span_eq(message_payload(message), span_str(rows[i].payload))))
            fail_msg("%s", rows[i].call);
        store_read_fini(&read);
    }
}

/* --- what it refuses ---------------------------------------------------------------------------------------------- */

static void what_the_api_refuses_is_refused(void **state)
{
    struct bench *bench  = *state;
    PGconn       *caller = caller_new();
    static const struct { const char *call, *state; } rows[] = {
        { "'topic', 'x'", "LW400" },
        { "'topic:', 'x'", "LW400" },
        { "null, 'x'", "LW400" },
        { "'topic:a' || chr(10), 'x'", "LW400" },
        { "'topic:a' || chr(133), 'x'", "LW400" },
        { "'topic:' || repeat('a', 201), 'x'", "LW400" },
        { "'topic:' || repeat('a', 200), 'x'", "" },
        { "'all:', 'x'", "" },
        { "'nowhere:a', 'x'", "LW404" },
        { "'live:a', 'x'", "LW403" },
        { "'conn:a', 'x'", "LW403" },
        { "'sys:a', 'x'", "LW403" },
        { "'sys:control', 'x'", "LW403" },
        { "'topic:a', null::text", "LW400" },
        { "'topic:a', repeat('x', 1048577)", "LW413" },
        { "'topic:a', repeat('x', 1048576)", "" },
        { "'topic:a', 'x', ttl => 0", "LW400" },
        { "'topic:a', 'x', ttl => 316224001", "LW400" },
        { "'topic:a', 'x', ttl => 316224000", "" },
        { "'topic:a', 'x', key => repeat('k', 256)", "LW400" },
        { "'topic:a', 'x', key => 'a' || chr(9)", "LW400" },
        { "'topic:a', 'x', key => repeat('k', 255)", "" },
        { "'topic:a', 'x', media => 'text'", "LW415" },
        { "'topic:a', 'x', media => 'text/'", "LW415" },
        { "'topic:a', 'x', media => 'te,xt/plain'", "LW415" },
        { "'topic:a', 'x', media => 'text/plain/x'", "LW415" },
        { "'topic:a', 'x', media => 'text/plain; ' || chr(10)", "LW415" },
        { "'topic:a', 'x', media => 'text/' || repeat('x', 251)", "LW415" },
        { "'topic:a', 'x', media => 'text/' || repeat('x', 250)", "" },
        { "'topic:a', '{}', media => ' Application/vnd.Longwire.joined+json'", "LW400" },
        { "'topic:a', '{', media => 'application/json'", "LW400" },
        { "'topic:a', '\\xff'::bytea, media => 'application/json'", "LW400" },
    };
    policies_are_told(bench);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char sql[TEXT_BYTES], got[6];
        snprintf(sql, sizeof sql, "select longwire.publish(%s)", rows[i].call);
        caller_run(caller, sql, got);
        if (strcmp(got, rows[i].state) != 0)
            fail_msg("%s: %s %s", rows[i].call, got, PQerrorMessage(caller));
    }
    PQfinish(caller);
}

static void no_namespaces_are_known_before_a_node_told_them(void **state)
{
    PGconn *caller = caller_new();
    char    error[6];

    (void)state;
    engine_sql("delete from longwire.policy");
    caller_run(caller, "select longwire.publish('topic:a', 'x')", error);
    assert_string_equal(error, "LW503");
    PQfinish(caller);
}

static void a_role_may_publish_and_nothing_else(void **state)
{
    struct bench *bench  = *state;
    PGconn       *caller = caller_new();
    char          error[6];
    static const char *const refused[] = {
        "select * from longwire.channel", "select * from longwire.message", "delete from longwire.moved",
        "select longwire.make_day(1)", "select longwire.epoch_new()", "select longwire.mark(1, 1)",
        "select longwire.publish_checked('a', 'a', 'a', 0, '', null)", "select longwire.allow_publish('app')",
        "select nextval('longwire.id_0')",
    };

    policies_are_told(bench);
    engine_sql("create role app");
    caller_expect(caller, "set session authorization app");
    caller_run(caller, "select longwire.publish('topic:a', 'x')", error);
    assert_string_equal(error, "42501");
    engine_sql("select longwire.allow_publish('app')");
    assert_int_equal(caller_expect(caller, "select seq from longwire.publish('topic:a', 'x')"), 1);
    assert_int_equal(caller_expect(caller, "select seq from longwire.publish('topic:a', '{}'::jsonb)"), 2);
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        caller_run(caller, refused[i], error);
        if (strcmp(error, "42501") != 0)
            fail_msg("%s: %s", refused[i], error);
    }
    /* What the caller calls by the names that publish() uses is not taken for them. */
    caller_expect(caller, "create function pg_temp.nextval(regclass) returns bigint language sql as 'select 7::bigint'");
    caller_expect(caller, "set search_path = pg_temp, pg_catalog");
    assert_int_equal(caller_expect(caller, "select id from longwire.publish('topic:a', 'x')") % 32, 1);
    PQfinish(caller);
    engine_sql("drop owned by app");
    engine_sql("drop role app");
}

/* --- times -------------------------------------------------------------------------------------------------------- */

static void rows_lie_in_the_days_that_nodes_have_made(void **state)
{
    struct bench *bench = *state;

    bench->wall = engine_sql("select extract(epoch from now()) * 1000");
    policies_are_told(bench);
    engine_sql("select longwire.publish('topic:a', 'x')");
    assert_int_equal(engine_sql("select day - (time + 7 * 86400000::bigint) / 86400000 from longwire.message"), 0);
    assert_true(engine_sql("select count(*) from longwire.day") >= 2);
    engine_sql("delete from longwire.day");
    engine_sql("select longwire.publish('topic:a', 'y')");
    assert_int_equal(engine_sql("select day from longwire.message where seq = 2"), INT32_MAX);
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "1 2");
}

static void a_life_of_its_own_ends_a_message(void **state)
{
    struct bench *bench = *state;

    policies_are_told(bench);
    engine_sql("select longwire.publish('topic:a', 'x', ttl => 7)");
    assert_int_equal(engine_sql("select expires_at - time from longwire.message"), 7000);
}

/* A database that came out of a backup: SQL callers may be the first to write. */
static void a_restored_database_begins_a_new_epoch(void **state)
{
    struct bench    *bench = *state;
    struct published first = bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "1" });

    policies_are_told(bench);
    engine_sql("update longwire.shard set incarnation = 'another'");
    engine_sql("select longwire.publish('topic:a', 'x')");
    struct store_read read = bench_read(bench, "topic:a", READ_AFTER, 0, 0, PAGE_BYTES);
    assert_true(read.epoch != first.answer.epoch);
    assert_int_equal(read.head, 2);
    store_read_fini(&read);
}

/* --- who hears of it ---------------------------------------------------------------------------------------------- */

static void nodes_hear_of_a_transaction_once(void **state)
{
    struct bench   *bench = *state;
    struct listener listener;
    PGconn         *caller = caller_new(), *raw = caller_new();
    size_t          notice_count = 0;

    policies_are_told(bench);
    caller_expect(raw, "listen longwire");
    listener_begin(&listener, bench);
    listener_wait_until_missed(&listener, 1);
    caller_expect(caller, "begin");
    caller_expect(caller, "select count(longwire.publish('topic:' || n % 3, 'x')) from generate_series(1, 300) n");
    caller_expect(caller, "savepoint s");
    caller_expect(caller, "select longwire.publish('topic:0', 'y')");
    caller_expect(caller, "release s");
    assert_int_equal(listener_heard_count(&listener), 0);
    caller_expect(caller, "commit");
    uint64_t epoch = listener_wait_for(&listener, "topic:0", 101);
    assert_true(listener_wait_for(&listener, "topic:1", 100) == epoch);
    assert_true(listener_wait_for(&listener, "topic:2", 100) == epoch);
    struct store_read read = bench_read(bench, "topic:0", READ_AFTER, 0, 0, PAGE_BYTES);
    assert_true(read.epoch == epoch && read.head == 101);
    store_read_fini(&read);
    caller_expect(raw, "select 1");
    for (PGnotify *notice; (notice = PQnotifies(raw)) != NULL; PQfreemem(notice))
        notice_count++;
    assert_int_equal(notice_count, 1);
    assert_int_equal(listener_heard_count(&listener), 3);
    assert_int_equal(listener.miss_count, 1);
    PQfinish(caller);
    PQfinish(raw);
}

static void a_connection_that_was_lost_is_said_to_have_missed(void **state)
{
    struct bench   *bench = *state;
    struct listener listener;

    policies_are_told(bench);
    listener_begin(&listener, bench);
    listener_wait_until_missed(&listener, 1);
    engine_sql("select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name like 'longwired-%'");
    listener_wait_until_missed(&listener, 2);
    engine_sql("select longwire.publish('topic:a', 'x')");
    listener_wait_for(&listener, "topic:a", 1);
}

/* Notes of a transaction may be gone, after a crash or because it took too long; notices may come from anybody. */
static void a_notice_without_notes_is_said_to_have_missed(void **state)
{
    struct bench   *bench = *state;
    struct listener listener;

    policies_are_told(bench);
    listener_begin(&listener, bench);
    listener_wait_until_missed(&listener, 1);
    engine_sql("notify longwire, 'nonsense'");
    engine_sql("notify longwire, '0'");
    engine_sql("notify longwire, '99999999999999999999999999'");
    engine_sql("notify longwire, '77'");
    listener_wait_until_missed(&listener, 2);
    engine_sql("select longwire.publish('topic:a', 'x')");
    listener_wait_for(&listener, "topic:a", 1);
}

static void notes_are_forgotten(void **state)
{
    struct bench *bench = *state;

    policies_are_told(bench);
    engine_sql("select longwire.publish('topic:a', 'x')");
    engine_sql("update longwire.moved set noted = now() - interval '11 minutes'");
    while (engine_sql("select count(*) from longwire.moved") > 0)
        bench->store->ops->tick(bench->store, bench->wall);
}

/* --- the schema's versions ---------------------------------------------------------------------------------------- */

/* As a program that knew no later version has left it. */
static void schema_make_old(int version)
{
    char set_version[SQL_BYTES];

    engine_sql("set client_min_messages = error; drop schema longwire cascade; drop schema if exists longwire_memory cascade");
    for (int i = 0; i < version; i++)
        engine_sql(pg_schema_steps[i]);
    for (int i = 0; i < version && version >= VOLATILE_SINCE; i++) {
        char *text = pg_volatile_text(pg_schema_steps[i]);
        engine_sql(text);
        free(text);
    }
    snprintf(set_version, sizeof set_version, "update longwire.shard set version = %d", version);
    engine_sql(set_version);
    engine_sql("insert into longwire.channel (name, head) values ('topic:a', 7)");
}

static void schema_is_refused(struct bench *bench, int version)
{
    const struct pg_store_options options = { .url = engine_url(), .spaces = &bench->spaces };
    struct store                 *store   = NULL;
    char                          why[WHY_BYTES], wanted[TEXT_BYTES];

    snprintf(wanted, sizeof wanted, "has version %d", version);
    assert_int_equal(pg_store_open(&options, &store, why, sizeof why), RC_BAD);
    assert_non_null(strstr(why, wanted));
    assert_non_null(strstr(why, "--init"));
}

static void a_schema_of_each_version_before_becomes_this_one(void **state)
{
    struct bench *bench = *state;
    char          why[WHY_BYTES];

    for (int version = 1; version < PG_SCHEMA_VERSION; version++) {
        bench_shut(bench);
        schema_make_old(version);
        schema_is_refused(bench, version);
        const long long epoch = engine_sql("select epoch from longwire.shard");
        for (int i = 0; i < 2; i++) {
            assert_int_equal(engine_init(engine_url(), why), RC_OK);
            assert_int_equal(engine_sql("select version from longwire.shard"), PG_SCHEMA_VERSION);
        }
        bench->store = engine_store(bench, engine_url());
        policies_are_told(bench);
        assert_true(engine_sql("select epoch from longwire.shard") == epoch);  /* nothing is lost */
        assert_int_equal(engine_sql("select seq from longwire.publish('topic:a', 'x')"), 8);
        assert_int_equal(bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "y" }).answer.seq, 9);
    }
}

/* --- all of them -------------------------------------------------------------------------------------------------- */

static int setup(void **state)
{
    struct bench *bench = malloc(sizeof *bench);

    must(bench != NULL);
    bench_open(bench, &pg_maker);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    bench_close(*state);
    free(*state);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2)
        cmocka_set_test_filter(argv[1]);
    if (!engine_start())
        return 0;
    alarm(DEADLINE_S);
#define ENGINE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        ENGINE_TEST(it_continues_the_log_of_the_nodes),
        ENGINE_TEST(a_rollback_leaves_no_trace),
        ENGINE_TEST(seqs_are_in_the_order_of_commits),
        ENGINE_TEST(a_transaction_that_sees_an_old_world_is_repeated),
        ENGINE_TEST(keys_are_kept),
        ENGINE_TEST(media_types_have_defaults),
        ENGINE_TEST(what_the_api_refuses_is_refused),
        ENGINE_TEST(no_namespaces_are_known_before_a_node_told_them),
        ENGINE_TEST(a_role_may_publish_and_nothing_else),
        ENGINE_TEST(rows_lie_in_the_days_that_nodes_have_made),
        ENGINE_TEST(a_life_of_its_own_ends_a_message),
        ENGINE_TEST(a_restored_database_begins_a_new_epoch),
        ENGINE_TEST(nodes_hear_of_a_transaction_once),
        ENGINE_TEST(a_connection_that_was_lost_is_said_to_have_missed),
        ENGINE_TEST(a_notice_without_notes_is_said_to_have_missed),
        ENGINE_TEST(notes_are_forgotten),
        ENGINE_TEST(a_schema_of_each_version_before_becomes_this_one),
    };
#undef ENGINE_TEST
    int failed = cmocka_run_group_tests_name("postgres, publish", tests, NULL, NULL);
    engine_stop();
    return failed;
}
