#include "store/store_copy.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "store/pg_args.h"
#include "store/pg_sql.h"
#include "store/rocks_commit.h"

enum { PAGE_ENTRIES = 500, PAGE_BYTES = 4 << 20, LISTED = 200, STATEMENT_NAME_BYTES = 16, SQL_TEXT_BYTES = 400, DAY_MS = 24 * 3600 * 1000 };

enum copy_statement { COPY_BEGIN, COPY_COMMIT, COPY_CHANNEL, COPY_DAY, COPY_MESSAGES, COPY_KEYS, COPY_ROWS, COPY_NOTE, COPY_STATE,
                      COPY_STATEMENT_COUNT };

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

/* Where a copy stands. */
struct copy {
    const struct store_copy_options *options;
    struct store                    *from;
    PGconn                          *to;
    struct pg_args                   args;
    struct store_copied              copied;
    uint64_t                         epoch, last_id, seq;
    unsigned                         kind;   /* 0: channels; 1 … 255: rows of the ledger; 256: all is there */
    struct buf                       done;
    int32_t                          day;    /* the last one that was made sure of */
    char                            *why;
    size_t                           why_size;
};

/* --- the source, one request at a time -------------------------------------------------------------------------------------- */

static pthread_mutex_t wait_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t  wait_news = PTHREAD_COND_INITIALIZER;

struct copy_page {
    struct store_read    read;
    struct store_listing listing;
    struct ledger_read   rows;
    bool                 is_done;
};

static void page_done(struct copy_page *page)
{
    pthread_mutex_lock(&wait_lock);
    page->is_done = true;
    pthread_cond_broadcast(&wait_news);
    pthread_mutex_unlock(&wait_lock);
}

static void page_wait(struct copy_page *page)
{
    pthread_mutex_lock(&wait_lock);
    while (!page->is_done)
        pthread_cond_wait(&wait_news, &wait_lock);
    pthread_mutex_unlock(&wait_lock);
}

static void on_copy_read(struct store_read *read)
{
    page_done(container_of(read, struct copy_page, read));
}

static void on_copy_listing(struct store_listing *listing)
{
    page_done(container_of(listing, struct copy_page, listing));
}

static void on_copy_rows(struct ledger_read *rows)
{
    page_done(container_of(rows, struct copy_page, rows));
}

/* --- the target ------------------------------------------------------------------------------------------------------------ */

static enum rc copy_say(struct copy *copy, enum rc rc, const char *what)
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

/* With the args; *ret_result is the caller's to clear, NULL: it is not needed. */
static enum rc target_send(struct copy *copy, enum copy_statement statement, PGresult **ret_result)
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

static enum rc target_plain(struct copy *copy, enum copy_statement statement)
{
    pg_args_clear(&copy->args);
    return target_send(copy, statement, NULL);
}

/* Notes how far it has come, and commits. */
static enum rc copy_commit(struct copy *copy)
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
    if (rc == RC_OK && copy->options->told != NULL)
        copy->options->told(copy->options->ctx, &copy->copied);
    return rc;
}

/* --- messages -------------------------------------------------------------------------------------------------------------- */

static int32_t copy_day(const struct message *message)
{
    msec keep_ms = message->channel->space->keep_ms;

    return keep_ms == 0 ? INT32_MAX : (int32_t)((message->time + keep_ms) / DAY_MS);
}

static enum rc days_make(struct copy *copy, const struct store_read *read)
{
    enum rc rc = RC_OK;

    for (size_t i = 0; i < read->entry_count && rc == RC_OK; i++) {
        const struct message *message = read->entries[i].message;
        if (message == NULL || copy_day(message) == copy->day)
            continue;
        copy->day = copy_day(message);
        pg_args_clear(&copy->args);
        pg_args_i64(&copy->args, copy->day);
        rc = target_send(copy, COPY_DAY, NULL);
    }
    return rc;
}

static void message_push(struct copy *copy, const struct message *message)
{
    const int64_t     numbers[] = { (int64_t)message->seq, copy_day(message), (int64_t)message->id, message->kind, message->time,
                                    message->expires_at, (int64_t)message->target };
    const struct span texts[]   = { message_payload(message), message_media(message), message_from(message), message_event(message),
                                    message_collapse_key(message) };

    for (size_t i = 0; i < 7; i++)
        pg_push_i64(&copy->args, 1 + i, numbers[i]);
    for (size_t i = 0; i < 5; i++)
        pg_push_bytes(&copy->args, 8 + i, texts[i]);
    if (message->id > copy->last_id)
        copy->last_id = message->id;
}

static enum rc messages_put(struct copy *copy, const struct store_read *read)
{
    size_t count = 0;

    pg_args_clear(&copy->args);
    pg_args_bytes(&copy->args, channel_name_span(read->channel));
    pg_args_arrays(&copy->args, "iiiiiiibbbbb");
    for (size_t i = 0; i < read->entry_count; i++)
        if (read->entries[i].message != NULL) {
            message_push(copy, read->entries[i].message);
            count++;
        }
    copy->copied.messages += count;
    return count == 0 ? RC_OK : target_send(copy, COPY_MESSAGES, NULL);
}

/* One page of the log behind copy->seq, and how far it reaches. */
static enum rc page_copy(struct copy *copy, const struct listed_channel *channel)
{
    struct copy_page page = { .read = { .channel = channel->name, .way = READ_AFTER, .bound = copy->seq, .limit = PAGE_ENTRIES,
                                        .bytes_max = PAGE_BYTES, .wall = copy->options->wall, .done = on_copy_read } };

    copy->from->ops->read(copy->from, &page.read);
    page_wait(&page);
    enum rc rc = page.read.rc;
    if (rc != RC_OK)
        copy_say(copy, rc, "a log of the source can't be read");
    if (rc == RC_OK)
        rc = days_make(copy, &page.read);
    if (rc == RC_OK)
        rc = target_plain(copy, COPY_BEGIN);
    if (rc == RC_OK)
        rc = messages_put(copy, &page.read);
    copy->seq = page.read.entry_count == 0 ? channel->head : entry_last(&page.read.entries[page.read.entry_count - 1]);
    if (rc == RC_OK)
        rc = copy_commit(copy);
    store_read_fini(&page.read);
    return rc;
}

static enum rc channel_put(struct copy *copy, const struct listed_channel *channel)
{
    pg_args_clear(&copy->args);
    pg_args_bytes(&copy->args, channel_name_span(channel->name));
    pg_args_i64(&copy->args, (int64_t)channel->head);
    pg_args_i64(&copy->args, (int64_t)channel->first);
    pg_args_i64(&copy->args, (int64_t)channel->bytes);
    return target_send(copy, COPY_CHANNEL, NULL);
}

/* --- idempotency keys --------------------------------------------------------------------------------------------------------- */

/* Is the row of FAMILY_KEYS one of this channel's? */
static bool key_is_of(struct span place, uint64_t number, uint64_t *ret_publisher_len)
{
    uint64_t of_number = 0;

    return place.len >= ROW_KEY_BYTES && row_key_get(span_head(place, ROW_KEY_BYTES), &of_number, ret_publisher_len) &&
           of_number == number;
}

/* A damaged row is left out: the source could not answer by it either. */
static void key_push(struct copy *copy, struct span place, struct span value, uint64_t publisher_len)
{
    struct span words = span_skip(place, ROW_KEY_BYTES);
    uint64_t    seen[KEY_COUNT];

    if (publisher_len > words.len || !record_get(value, place, seen, KEY_COUNT))
        return;
    pg_push_bytes(&copy->args, 1, span_head(words, publisher_len));
    pg_push_bytes(&copy->args, 2, span_skip(words, publisher_len));
    const uint64_t numbers[] = { seen[KEY_DIGEST], seen[KEY_EPOCH], seen[KEY_SEQ], seen[KEY_ID], seen[KEY_TIME], seen[KEY_FORGET_AT] };
    for (size_t i = 0; i < 6; i++)
        pg_push_i64(&copy->args, 3 + i, (int64_t)numbers[i]);
    if (seen[KEY_ID] > copy->last_id)
        copy->last_id = seen[KEY_ID];
    copy->copied.keys++;
}

static enum rc keys_send(struct copy *copy, const struct channel_name *name, rocksdb_iterator_t *at, uint64_t number)
{
    size_t   len, count = 0;
    uint64_t publisher_len = 0;

    pg_args_clear(&copy->args);
    pg_args_bytes(&copy->args, channel_name_span(name));
    pg_args_arrays(&copy->args, "bbiiiiii");
    for (; rocksdb_iter_valid(at) && count < PAGE_ENTRIES; count++, rocksdb_iter_next(at)) {
        struct span place = { rocksdb_iter_key(at, &len), 0 };
        place.len         = len;
        if (!key_is_of(place, number, &publisher_len))
            break;
        struct span value = { rocksdb_iter_value(at, &len), 0 };
        value.len         = len;
        key_push(copy, place, value, publisher_len);
    }
    return count == 0 ? RC_GONE : target_send(copy, COPY_KEYS, NULL);
}

/* Within one transaction: a channel's keys are those of one window. */
static enum rc keys_copy(struct copy *copy, struct channel_name *name)
{
    struct rocks        *rocks = rocks_of(copy->from);
    struct channel_state state;
    enum rc              rc = channel_state_get(rocks, name, rocks->db.get, &state);

    if (rc != RC_OK || state.number == 0)
        return rc == RC_OK ? RC_OK : copy_say(copy, rc, "a channel of the source can't be read");
    const struct row_key first = row_key(state.number, 0);
    rocksdb_iterator_t  *at    = rocksdb_create_iterator_cf(rocks->db.db, rocks->db.get, rocks->db.families[FAMILY_KEYS]);
    rocksdb_iter_seek(at, first.bytes, ROW_KEY_BYTES);
    while (rc == RC_OK)
        rc = keys_send(copy, name, at, state.number);
    if (rc == RC_GONE)
        rc = rocks_iterator_rc(&rocks->db, at);
    rocksdb_iter_destroy(at);
    return rc;
}

/* --- channels ------------------------------------------------------------------------------------------------------------------ */

/* The channel is over: the next one begins at its first message. */
static enum rc channel_end(struct copy *copy, struct channel_name *name)
{
    enum rc rc = target_plain(copy, COPY_BEGIN);

    if (rc == RC_OK)
        rc = keys_copy(copy, name);
    buf_clear(&copy->done);
    buf_put(&copy->done, channel_name_span(name));
    copy->seq = 0;
    copy->copied.channels++;
    return rc == RC_OK ? copy_commit(copy) : rc;
}

static enum rc channel_copy(struct copy *copy, const struct listed_channel *channel)
{
    enum rc rc = channel->rc == RC_OK ? channel_put(copy, channel) : copy_say(copy, channel->rc, "a channel of the source is damaged");

    if (copy->seq + 1 < channel->first)
        copy->seq = channel->first - 1;
    while (rc == RC_OK && copy->seq < channel->head)
        rc = page_copy(copy, channel);
    return rc == RC_OK ? channel_end(copy, channel->name) : rc;
}

static enum rc channels_copy(struct copy *copy)
{
    bool    is_last = false;
    enum rc rc      = RC_OK;

    while (rc == RC_OK && !is_last) {
        struct buf       after;
        struct copy_page page = { .listing = { .limit = LISTED, .wall = copy->options->wall, .done = on_copy_listing } };
        buf_init(&after, LISTING_TEXT_MAX);
        buf_put(&after, buf_span(&copy->done));
        page.listing.after = buf_span(&after);
        copy->from->ops->list(copy->from, &page.listing);
        page_wait(&page);
        rc = page.listing.rc == RC_OK ? RC_OK : copy_say(copy, page.listing.rc, "the channels of the source can't be listed");
        for (size_t i = 0; i < page.listing.count && rc == RC_OK; i++)
            rc = channel_copy(copy, &page.listing.channels[i]);
        is_last = page.listing.reached.len == 0;
        if (!is_last && rc == RC_OK) {
            buf_clear(&copy->done);
            buf_put(&copy->done, buf_span(&page.listing.reached));
        }
        store_listing_fini(&page.listing);
        buf_fini(&after);
    }
    return rc;
}

/* --- rows ----------------------------------------------------------------------------------------------------------------------- */

static enum rc rows_put(struct copy *copy, const struct ledger_read *rows)
{
    enum rc rc = target_plain(copy, COPY_BEGIN);

    pg_args_clear(&copy->args);
    pg_args_i64(&copy->args, copy->kind);
    pg_args_arrays(&copy->args, "biib");
    for (size_t i = 0; i < rows->row_count; i++) {
        pg_push_bytes(&copy->args, 1, rows->rows[i].key);
        pg_push_i64(&copy->args, 2, (int64_t)rows->rows[i].generation);
        pg_push_i64(&copy->args, 3, rows->rows[i].expires_at);
        pg_push_bytes(&copy->args, 4, rows->rows[i].value);
    }
    if (rc == RC_OK && rows->row_count > 0)
        rc = target_send(copy, COPY_ROWS, NULL);
    copy->copied.rows += rows->row_count;
    buf_clear(&copy->done);
    buf_put(&copy->done, rows->next);
    copy->kind += rows->next.len == 0;
    return rc == RC_OK ? copy_commit(copy) : rc;
}

static enum rc rows_copy(struct copy *copy)
{
    enum rc rc = RC_OK;

    while (rc == RC_OK && copy->kind <= UINT8_MAX) {
        struct buf       after;
        struct copy_page page = { .rows = { .way = LEDGER_SCAN, .kind = (uint8_t)copy->kind, .limit = PAGE_ENTRIES,
                                            .bytes_max = PAGE_BYTES, .wall = copy->options->wall, .done = on_copy_rows } };
        buf_init(&after, LEDGER_KEY_BYTES_MAX);
        buf_put(&after, buf_span(&copy->done));
        page.rows.after = buf_span(&after);
        copy->from->ledger->ops->read(copy->from->ledger, &page.rows);
        page_wait(&page);
        rc = page.rows.rc == RC_OK ? rows_put(copy, &page.rows) : copy_say(copy, page.rows.rc, "rows of the source can't be read");
        ledger_read_fini(&page.rows);
        buf_fini(&after);
    }
    return rc;
}

/* --- beginning and end --------------------------------------------------------------------------------------------------------------- */

/* The epoch of the source names it. */
static enum rc epoch_ask(struct copy *copy)
{
    struct channel_name *name = NULL;

    must(channel_name_new(copy->options->from.spaces, &copy->options->from.hash_key, SPAN("topic:x"), &name) == CHANNEL_NAME_OK);
    struct copy_page page = { .read = { .channel = name, .wall = copy->options->wall, .done = on_copy_read } };
    copy->from->ops->read(copy->from, &page.read);
    page_wait(&page);
    copy->epoch = page.read.epoch;
    enum rc rc  = page.read.rc == RC_OK ? RC_OK : copy_say(copy, page.read.rc, "the source can't be read");
    store_read_fini(&page.read);
    channel_name_unref(name);
    return rc;
}

/* A target that is empty becomes one that is being filled. */
static enum rc target_begin(struct copy *copy)
{
    char    sql[SQL_TEXT_BYTES];
    int64_t used = 0;
    enum rc rc   = target_run(copy, "select (select count(*) from longwire.channel) + (select count(*) from longwire.ledger)", &used);

    if (rc == RC_OK && used != 0)
        return copy_say(copy, RC_BAD, "the target is not empty: copy into a database that was made by --init and never used");
    snprintf(sql, sizeof sql, "update longwire.shard set version = -version, epoch = %lld, incarnation = longwire.incarnation_now()",
             (long long)copy->epoch);
    static const char *const make = "create table longwire.copy_state as select 0::bigint as kind, ''::bytea as done, 0::bigint as seq,"
                                    " 0::bigint as channels, 0::bigint as messages, 0::bigint as keys, 0::bigint as rows,"
                                    " 0::bigint as last_id";
    const char *const texts[] = { "begin", make, sql, "commit" };
    for (size_t i = 0; i < 4 && rc == RC_OK; i++)
        rc = target_run(copy, texts[i], NULL);
    return rc;
}

static enum rc target_resume(struct copy *copy)
{
    PGresult *state = NULL;
    int64_t   epoch = 0;
    enum rc   rc    = target_run(copy, "select epoch from longwire.shard", &epoch);

    if (rc == RC_OK && (uint64_t)epoch != copy->epoch)
        return copy_say(copy, RC_BAD, "the target is being filled from another source: drop its schema, and begin again with --init");
    pg_args_clear(&copy->args);
    if (rc == RC_OK)
        rc = target_send(copy, COPY_STATE, &state);
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

static enum rc target_open(struct copy *copy)
{
    int64_t version = 0, is_alone = 0;

    copy->to = PQconnectdb(copy->options->to);
    if (PQstatus(copy->to) != CONNECTION_OK)
        return copy_say(copy, RC_IO, PQerrorMessage(copy->to));
    enum rc rc = target_run(copy, "set client_min_messages = error", NULL);
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
    if (rc == RC_OK && version > 0)
        rc = target_begin(copy);
    if (rc == RC_OK)
        rc = target_prepare(copy);
    return rc == RC_OK ? target_resume(copy) : rc;
}

/* What was counted on the way is what is there. */
static enum rc target_compare(struct copy *copy)
{
    static const char *const counts[] = { "select count(*) from longwire.channel", "select count(*) from longwire.message",
                                          "select count(*) from longwire.used_key", "select count(*) from longwire.ledger" };
    const uint64_t           wanted[] = { copy->copied.channels, copy->copied.messages, copy->copied.keys, copy->copied.rows };

    for (size_t i = 0; i < 4; i++) {
        int64_t found = 0;
        enum rc rc    = target_run(copy, counts[i], &found);
        if (rc != RC_OK)
            return rc;
        if ((uint64_t)found != wanted[i]) {
            snprintf(copy->why, copy->why_size, "the target lacks something: %s gives %lld and %llu were copied", counts[i],
                     (long long)found, (unsigned long long)wanted[i]);
            return RC_CORRUPT;
        }
    }
    return RC_OK;
}

/* New ids are above all that were given. From now on it is a store like any other. */
static enum rc target_finish(struct copy *copy)
{
    char    sql[SQL_TEXT_BYTES];
    enum rc rc = target_compare(copy);

    snprintf(sql, sizeof sql, "select setval(s::regclass, (%llu::bigint / 32 + 32768) * 32 + 1, false) from unnest(array["
             "'longwire.id_0', 'longwire.id_1', 'longwire.id_2', 'longwire.id_3']) s", (unsigned long long)copy->last_id);
    const char *const texts[] = { "begin", sql, "drop table longwire.copy_state",
                                  "update longwire.shard set version = -version", "commit", "analyze longwire.channel" };
    for (size_t i = 0; i < 6 && rc == RC_OK; i++)
        rc = target_run(copy, texts[i], NULL);
    return rc;
}

static enum rc copy_run(struct copy *copy)
{
    enum rc rc = rocks_store_open(&copy->options->from, &copy->from, copy->why, copy->why_size);

    if (rc == RC_OK)
        rc = epoch_ask(copy);
    if (rc == RC_OK)
        rc = target_open(copy);
    if (rc == RC_OK && copy->kind == 0)
        rc = channels_copy(copy);
    if (rc == RC_OK && copy->kind == 0) {
        copy->kind = 1;
        buf_clear(&copy->done);
    }
    if (rc == RC_OK)
        rc = rows_copy(copy);
    return rc == RC_OK ? target_finish(copy) : rc;
}

enum rc store_copy(const struct store_copy_options *options, struct store_copied *ret, char *ret_why, size_t why_size)
{
    struct copy copy = { .options = options, .why = ret_why, .why_size = why_size };

    pg_args_init(&copy.args);
    buf_init(&copy.done, LEDGER_KEY_BYTES_MAX + LISTING_TEXT_MAX);
    enum rc rc = copy_run(&copy);
    if (copy.from != NULL)
        copy.from->ops->close(copy.from);
    PQfinish(copy.to);
    pg_args_fini(&copy.args);
    buf_fini(&copy.done);
    if (rc == RC_OK)
        *ret = copy.copied;
    return rc;
}
