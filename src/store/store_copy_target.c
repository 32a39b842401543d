/* store_copy_target.c - a database that is being filled: its statements, how far it has come, its beginning and its end. */
#include <stdio.h>
#include <string.h>

#include "store/pg_sql.h"
#include "store/store_copy_priv.h"

enum { STATEMENT_NAME_BYTES = 16, SQL_TEXT_BYTES = 400, IDS_A_BLOCK = 32 };

static const char *const copy_texts[COPY_STATEMENT_COUNT] = {
    [COPY_BEGIN]   = "begin",
    [COPY_COMMIT]  = "commit",
    [COPY_CHANNEL] = "insert into longwire.channel (name, head, floor, cleared, bytes) values ($1::bytea, $2::bigint, $3::bigint, $3::bigint,"
                     " $4::bigint) on conflict (name) do nothing",
    [COPY_DAY]     = "select longwire.make_day($1::bigint::int)",
    [COPY_MESSAGES] =
        "insert into longwire.message (channel, seq, day, id, kind, time, expires_at, target, payload, media, sender, event, collapse)"
        " select c.id, u.seq, u.day::int, u.id, u.kind::smallint, u.time, u.expires_at, u.target, u.payload, u.media, u.sender, u.event,"
        " u.collapse from unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],"
        " $9::bytea[], $10::bytea[], $11::bytea[], $12::bytea[], $13::bytea[])"
        " u(seq, day, id, kind, time, expires_at, target, payload, media, sender, event, collapse)"
        " join longwire.channel c on c.name = $1::bytea",
    [COPY_KEYS] = "insert into longwire.used_key select c.id, u.publisher, u.key, u.digest, u.epoch, u.seq, u.id, u.time, u.forget_at"
                  " from unnest($2::bytea[], $3::bytea[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],"
                  " $9::bigint[]) u(publisher, key, digest, epoch, seq, id, time, forget_at)"
                  " join longwire.channel c on c.name = $1::bytea on conflict do nothing",
    [COPY_ROWS] = "insert into longwire.ledger select $1::bigint::smallint, u.key, u.generation, u.expires_at, u.value"
                  " from unnest($2::bytea[], $3::bigint[], $4::bigint[], $5::bytea[]) u(key, generation, expires_at, value)",
    /* How far it has come: channels up to `done` are there, of the one behind it the messages up to `seq`; rows of kinds below
     * `kind`, and of `kind` up to `done`. */
    [COPY_NOTE] = "update longwire.copy_state set kind = $1::bigint, done = $2::bytea, seq = $3::bigint, channels = $4::bigint,"
                  " messages = $5::bigint, keys = $6::bigint, rows = $7::bigint, last_id = greatest(last_id, $8::bigint)",
    [COPY_STATE] = "select kind, done, seq, channels, messages, keys, rows, last_id from longwire.copy_state",
};

/* --- statements ------------------------------------------------------------------------------------------------------------ */

enum rc copy_say(struct copy *copy, enum rc rc, const char *what)
{
    snprintf(copy->why, copy->why_size, "%s", what);
    copy->why[strcspn(copy->why, "\n")] = '\0';
    return rc;
}

static enum rc target_run(struct copy *copy, const char *sql, int64_t *ret)
{
    PGresult *result = PQexecParams(copy->to, sql, 0, NULL, NULL, NULL, NULL, 1);
    bool      is_ok  = PQresultStatus(result) == PGRES_TUPLES_OK || PQresultStatus(result) == PGRES_COMMAND_OK;

    if (!is_ok)
        copy_say(copy, RC_IO, PQresultErrorMessage(result));
    else if (ret != NULL)
        *ret = PQntuples(result) > 0 ? pg_i64(result, 0, 0) : 0;
    PQclear(result);
    return is_ok ? RC_OK : RC_IO;
}

enum rc target_send(struct copy *copy, enum copy_statement statement, PGresult **ret_result)
{
    char      name[STATEMENT_NAME_BYTES];
    PGresult *result, *last = NULL;

    snprintf(name, sizeof name, "c%d", (int)statement);
    pg_args_send(&copy->args, copy->to, name);
    while ((result = PQgetResult(copy->to)) != NULL) {
        PQclear(last);
        last = result;
    }
    bool is_ok = PQresultStatus(last) == PGRES_TUPLES_OK || PQresultStatus(last) == PGRES_COMMAND_OK;
    if (!is_ok)
        copy_say(copy, RC_IO, last == NULL ? PQerrorMessage(copy->to) : PQresultErrorMessage(last));
    if (is_ok && ret_result != NULL)
        *ret_result = last;
    else
        PQclear(last);
    return is_ok ? RC_OK : RC_IO;
}

enum rc target_plain(struct copy *copy, enum copy_statement statement)
{
    pg_args_clear(&copy->args);
    return target_send(copy, statement, NULL);
}

static void copy_tell(const struct copy *copy)
{
    const struct store_copied *now = &copy->copied, *before = &copy->before;

    if (copy->options->told != NULL)
        copy->options->told(copy->options->ctx, &(struct store_copied){ before->channels + now->channels, before->messages + now->messages,
                                                                        before->keys + now->keys, before->rows + now->rows });
}

enum rc copy_commit(struct copy *copy)
{
    const int64_t numbers[] = { (int64_t)copy->seq, (int64_t)copy->copied.channels, (int64_t)copy->copied.messages,
                                (int64_t)copy->copied.keys, (int64_t)copy->copied.rows, (int64_t)copy->last_id };

    pg_args_clear(&copy->args);
    pg_args_i64(&copy->args, copy->kind);
    pg_args_bytes(&copy->args, buf_span(&copy->done));
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        pg_args_i64(&copy->args, numbers[i]);
    enum rc rc = target_send(copy, COPY_NOTE, NULL);
    if (rc == RC_OK)
        rc = target_plain(copy, COPY_COMMIT);
    if (rc == RC_OK)
        copy_tell(copy);
    return rc;
}

/* --- beginning and end ------------------------------------------------------------------------------------------------------ */

static enum rc target_begin(struct copy *copy)
{
    char sql[SQL_TEXT_BYTES];

    static const char *const make = "create table longwire.copy_state as select 0::bigint as kind, ''::bytea as done, 0::bigint as seq,"
                                    " 0::bigint as channels, 0::bigint as messages, 0::bigint as keys, 0::bigint as rows,"
                                    " 0::bigint as last_id";
    snprintf(sql, sizeof sql, "update longwire.shard set version = -version, epoch = %lld, incarnation = longwire.incarnation_now()",
             (long long)copy->epoch);
    const char *const texts[] = { "begin", make, sql, "commit" };
    enum rc           rc      = RC_OK;
    for (size_t i = 0; i < 4 && rc == RC_OK; i++)
        rc = target_run(copy, texts[i], NULL);
    if (rc == RC_OK)
        copy->state = TARGET_BEGUN;
    return rc;
}

/* How far an earlier run has come. */
static enum rc target_resume(struct copy *copy)
{
    PGresult *state = NULL;

    pg_args_clear(&copy->args);
    enum rc rc = target_send(copy, COPY_STATE, &state);
    if (rc != RC_OK)
        return rc;
    copy->kind = (unsigned)pg_i64(state, 0, 0);
    buf_put(&copy->done, pg_bytes(state, 0, 1));
    copy->seq     = (uint64_t)pg_i64(state, 0, 2);
    copy->copied  = (struct store_copied){ (uint64_t)pg_i64(state, 0, 3), (uint64_t)pg_i64(state, 0, 4), (uint64_t)pg_i64(state, 0, 5),
                                           (uint64_t)pg_i64(state, 0, 6) };
    copy->last_id = (uint64_t)pg_i64(state, 0, 7);
    PQclear(state);
    return RC_OK;
}

static enum rc target_prepare(struct copy *copy)
{
    for (int i = 0; i < COPY_STATEMENT_COUNT; i++) {
        char name[STATEMENT_NAME_BYTES];
        snprintf(name, sizeof name, "c%d", i);
        PGresult *result = PQprepare(copy->to, name, copy_texts[i], 0, NULL);
        bool      is_ok  = PQresultStatus(result) == PGRES_COMMAND_OK;
        if (!is_ok)
            copy_say(copy, RC_IO, PQresultErrorMessage(result));
        PQclear(result);
        if (!is_ok)
            return RC_IO;
    }
    return RC_OK;
}

enum rc target_refuse_full(struct copy *copy)
{
    return copy_say(copy, RC_BAD, "the target is not empty: copy into a database that was made by --init and never used");
}

/* What it says of itself: its slots, its state, and whether it holds what this source has. */
static enum rc target_look(struct copy *copy, int64_t version)
{
    int64_t epoch = 0, used = 0, cluster = 0, first = 0, last = 0;
    const struct { const char *sql; int64_t *ret; } rows[] = {
        { "select cluster from longwire.shard", &cluster },
        { "select first_slot::bigint from longwire.shard", &first },
        { "select last_slot::bigint from longwire.shard", &last },
        { "select epoch from longwire.shard", &epoch },
        { "select (exists (select from longwire.channel) or exists (select from longwire.ledger))::int::bigint", &used },
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum rc rc = target_run(copy, rows[i].sql, rows[i].ret);
        if (rc != RC_OK)
            return rc;
    }
    copy->place = (struct shard_place){ (uint64_t)cluster, (uint32_t)first, (uint32_t)last };
    copy->state = version < 0 ? TARGET_BEGUN : used != 0 ? TARGET_FULL : TARGET_EMPTY;
    if (copy->state == TARGET_BEGUN) {
        int64_t kind = 0;
        enum rc rc   = target_run(copy, "select kind from longwire.copy_state", &kind);
        if (rc != RC_OK)
            return rc;
        copy->kind = (unsigned)kind;
    }
    if (copy->state == TARGET_BEGUN && (uint64_t)epoch != copy->epoch)
        return copy_say(copy, RC_BAD, "the target is being filled from another source: drop its schema, and begin again with --init");
    if (copy->state == TARGET_FULL && (uint64_t)epoch != copy->epoch)
        return target_refuse_full(copy);
    return RC_OK;
}

enum rc target_open(struct copy *copy, const char *url)
{
    int64_t version = 0, is_alone = 0;

    copy->to = PQconnectdb(url);
    if (PQstatus(copy->to) != CONNECTION_OK)
        return copy_say(copy, RC_IO, PQerrorMessage(copy->to));
    enum rc rc = target_run(copy, "set client_min_messages = error", NULL);
    if (rc == RC_OK)
        rc = target_run(copy, PG_NO_TIMEOUTS, NULL);
    if (rc == RC_OK)
        rc = target_run(copy, "select (to_regclass('longwire.shard') is not null)::int::bigint", &version);
    if (rc == RC_OK && version != 0)
        rc = target_run(copy, "select version from longwire.shard", &version);
    if (rc == RC_OK && version != PG_SCHEMA_VERSION && version != -PG_SCHEMA_VERSION)
        return copy_say(copy, RC_BAD, "the target has no schema of this version: run longwired --store URL --init first");
    if (rc == RC_OK)
        rc = target_run(copy, "select pg_try_advisory_lock(1281053266, -5)::int::bigint", &is_alone);
    if (rc == RC_OK && is_alone == 0)
        return copy_say(copy, RC_BUSY, "another copy into this database is running");
    return rc == RC_OK ? target_look(copy, version) : rc;
}

enum rc target_go_on(struct copy *copy)
{
    enum rc rc = copy->state == TARGET_EMPTY ? target_begin(copy) : RC_OK;

    if (rc == RC_OK)
        rc = target_prepare(copy);
    return rc == RC_OK ? target_resume(copy) : rc;
}

static const char *const count_texts[] = { "select count(*) from longwire.channel", "select count(*) from longwire.message",
                                           "select count(*) from longwire.used_key", "select count(*) from longwire.ledger" };

enum rc target_count(struct copy *copy, struct store_copied *ret)
{
    uint64_t *const counts[] = { &ret->channels, &ret->messages, &ret->keys, &ret->rows };

    for (size_t i = 0; i < 4; i++) {
        int64_t found = 0;
        enum rc rc    = target_run(copy, count_texts[i], &found);
        if (rc != RC_OK)
            return rc;
        *counts[i] = (uint64_t)found;
    }
    return RC_OK;
}

/* What was counted on the way is what is there. */
static enum rc target_compare(struct copy *copy)
{
    struct store_copied  found     = { 0 };
    enum rc              rc        = target_count(copy, &found);
    const uint64_t       there[]   = { found.channels, found.messages, found.keys, found.rows };
    const uint64_t       wanted[]  = { copy->copied.channels, copy->copied.messages, copy->copied.keys, copy->copied.rows };

    for (size_t i = 0; i < 4 && rc == RC_OK; i++)
        if (there[i] != wanted[i]) {
            snprintf(copy->why, copy->why_size, "the target lacks something: %s gives %llu and %llu were copied", count_texts[i],
                     (unsigned long long)there[i], (unsigned long long)wanted[i]);
            rc = RC_CORRUPT;
        }
    return rc;
}

enum rc target_finish(struct copy *copy, size_t part, size_t parts)
{
    char    sql[SQL_TEXT_BYTES];
    enum rc rc = target_compare(copy);

    snprintf(sql, sizeof sql, "select setval(s::regclass, (%llu::bigint / %zu + 32768) * %zu + %zu, false) from unnest(array["
             "'longwire.id_0', 'longwire.id_1', 'longwire.id_2', 'longwire.id_3']) s", (unsigned long long)copy->last_id,
             IDS_A_BLOCK * parts, IDS_A_BLOCK * parts, 1 + IDS_A_BLOCK * part);
    const char *const texts[] = { "begin", sql, "drop table longwire.copy_state",
                                  "update longwire.shard set version = -version", "commit", "analyze longwire.channel" };
    for (size_t i = 0; i < 6 && rc == RC_OK; i++)
        rc = target_run(copy, texts[i], NULL);
    return rc;
}
