/* The PostgreSQL maker, against a server of the test's own: both batteries, and what happens when the server or the way
 * to it fails. */
#include <libpq-fe.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/must.h"
#include "base/rng.h"
#include "store/ledger_battery.h"
#include "store/pg_battery.h"
#include "store/pg_sql.h"

#include <cmocka.h>

enum { WHY_BYTES = 600, PAGE_BYTES = 1 << 22, TEXT_MAX = 64, TRIES = 2000000, SILENCE_COUNT = 2, DAY_MS = 24 * 3600 * 1000,
       DEADLINE_S = 120 };

static const struct publish HELLO = { .channel = "topic:a", .payload = "hello" };

/* --- two nodes, one database -------------------------------------------------------------------------------------- */

/* A second node on the same database, which sees the same namespaces. */
static void node_open(struct bench *node, struct bench *first)
{
    bench_prepare(node, &pg_maker);
    node->wall  = first->wall;
    node->store = engine_store(node, engine_url());
}

/* Appends that are under way at the same time; each is a batch of its own in a channel of its own. */
enum { FLOW_COUNT = 24 };

struct flow_batch {
    struct append_batch batch;
    struct append       append;
    struct flow        *flow;
};

struct flow {
    struct bench     *bench;
    struct flow_batch batches[FLOW_COUNT];
    size_t            done_count;
    bool              is_done;
    pthread_mutex_t   lock;
};

static void on_flow_done(struct append_batch *batch)
{
    struct flow *flow = container_of(batch, struct flow_batch, batch)->flow;

    pthread_mutex_lock(&flow->lock);
    bool is_last = ++flow->done_count == FLOW_COUNT;
    pthread_mutex_unlock(&flow->lock);
    if (is_last)
        bench_say_done(flow->bench, &flow->is_done);
}

/* One append to each of the channels topic:0, topic:1 …; with `key` if it isn't NULL. */
static struct flow *flow_submit(struct bench *bench, const char *payload, const char *key)
{
    struct flow         *flow = calloc(1, sizeof *flow);
    struct channel_name *name = NULL;
    char                 text[TEXT_MAX];

    must(flow != NULL);
    flow->bench = bench;
    pthread_mutex_init(&flow->lock, NULL);
    for (size_t i = 0; i < FLOW_COUNT; i++) {
        struct flow_batch *mine = &flow->batches[i];
        snprintf(text, sizeof text, "topic:%zu", i);
        must(channel_name_new(&bench->spaces, &bench->hash_key, span_str(text), &name) == CHANNEL_NAME_OK);
        mine->flow                 = flow;
        mine->append.message       = message_new(name, MESSAGE_PLAIN, payload, (uint32_t)strlen(payload), SPAN(""), SPAN(""));
        mine->append.message->time = bench->wall;
        mine->append.key           = span_str(key);
        mine->batch                = (struct append_batch){ .count = 1, .wall = bench->wall, .done = on_flow_done };
        list_init(&mine->batch.appends);
        list_push(&mine->batch.appends, &mine->append.link);
        bench->store->ops->append(bench->store, &mine->batch);
        channel_name_unref(name);
    }
    return flow;
}

static void flow_free(struct flow *flow)
{
    for (size_t i = 0; i < FLOW_COUNT; i++)
        message_unref(flow->batches[i].append.message);
    pthread_mutex_destroy(&flow->lock);
    free(flow);
}

static void seqs_of_two_nodes_are_dense_threat_42(void **state)
{
    struct bench *bench = *state, node;
    enum { ROUNDS = 20 };

    node_open(&node, bench);
    for (size_t round = 1; round <= ROUNDS; round++) {
        struct flow *mine = flow_submit(bench, "mine", NULL), *other = flow_submit(&node, "other", NULL);
        bench_wait(bench, &mine->is_done);
        bench_wait(&node, &other->is_done);
        for (size_t i = 0; i < FLOW_COUNT; i++) {
            const struct append *a = &mine->batches[i].append, *b = &other->batches[i].append;
            assert_int_equal(a->outcome, APPEND_DONE);
            assert_int_equal(b->outcome, APPEND_DONE);
            assert_int_equal(a->message->seq + b->message->seq, 4 * round - 1);
            assert_true((a->message->seq < b->message->seq) == (a->message->id < b->message->id));
            assert_true(a->message->epoch == b->message->epoch);
        }
        flow_free(mine);
        flow_free(other);
    }
    struct store_read read = bench_read(&node, "topic:7", READ_AFTER, 0, 1000, PAGE_BYTES);
    assert_int_equal(read.entry_count, 2 * ROUNDS);
    store_read_fini(&read);
    bench_close(&node);
}

static void a_key_holds_across_nodes(void **state)
{
    struct bench *bench = *state, node;

    node_open(&node, bench);
    struct flow *mine = flow_submit(bench, "pay 5", "k"), *other = flow_submit(&node, "pay 5", "k");
    bench_wait(bench, &mine->is_done);
    bench_wait(&node, &other->is_done);
    for (size_t i = 0; i < FLOW_COUNT; i++) {
        const struct append *a = &mine->batches[i].append, *b = &other->batches[i].append;
        const struct append *first = a->outcome == APPEND_DONE ? a : b, *second = first == a ? b : a;
        assert_int_equal(first->outcome, APPEND_DONE);
        assert_int_equal(second->outcome, APPEND_REPLAYED);
        assert_int_equal(first->message->seq, 1);
        assert_int_equal(second->first.seq, 1);
        assert_true(second->first.id == first->message->id && second->first.epoch == first->message->epoch);
    }
    flow_free(mine);
    flow_free(other);
    bench_close(&node);
}

/* Each row may be made by one of them alone, although neither finds a row that it could lock. */
struct claim {
    struct bench        *bench;
    struct ledger_change changes[100];
    struct ledger_write  writes[100];
    char                 keys[100][TEXT_MAX];
    pthread_t            thread;
};

static void *claim_run(void *context)
{
    struct claim *claim = context;

    bench_write_all(claim->bench, claim->writes, 100);
    return NULL;
}

static void claim_start(struct claim *claim, struct bench *bench, size_t round, bool is_reverse)
{
    claim->bench = bench;
    for (size_t i = 0; i < 100; i++) {
        snprintf(claim->keys[i], TEXT_MAX, "round %zu, %zu", round, is_reverse ? 99 - i : i);
        claim->changes[i] = change_if(bench_put(KIND_SESSION, claim->keys[i], 1, "mine"), 0);
        claim->writes[i]  = (struct ledger_write){ .changes = &claim->changes[i], .count = 1 };
    }
    must(pthread_create(&claim->thread, NULL, claim_run, claim) == 0);
}

static void an_absent_row_is_claimed_once(void **state)
{
    struct bench *bench = *state, node;
    struct claim *claims = calloc(2, sizeof *claims);

    must(claims != NULL);
    node_open(&node, bench);
    for (size_t round = 0; round < 10; round++) {
        claim_start(&claims[0], bench, round, false);
        claim_start(&claims[1], &node, round, true);
        pthread_join(claims[0].thread, NULL);
        pthread_join(claims[1].thread, NULL);
        for (size_t i = 0; i < 100; i++) {
            struct ledger_write *a = &claims[0].writes[i], *b = &claims[1].writes[99 - i];
            assert_int_equal(a->outcome == LEDGER_DONE, b->outcome == LEDGER_STALE);
            assert_int_equal(a->outcome == LEDGER_STALE, b->outcome == LEDGER_DONE);
            ledger_write_fini(a);
            ledger_write_fini(b);
        }
    }
    bench_close(&node);
    free(claims);
}

/* --- large, and over and over ------------------------------------------------------------------------------------- */

static void a_batch_of_any_size_is_one_commit(void **state)
{
    struct bench     *bench = *state;
    enum { COUNT = 5000 };
    struct publish   *publishes = calloc(COUNT, sizeof *publishes);
    struct published *said      = calloc(COUNT, sizeof *said);
    uint64_t          last      = 0;

    must(publishes != NULL && said != NULL);
    for (size_t i = 0; i < COUNT; i++)
        publishes[i] = HELLO;
    bench_publish_all(bench, publishes, COUNT, said);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(said[i].outcome, APPEND_DONE);
        assert_int_equal(said[i].answer.seq, i + 1);
        assert_true(said[i].answer.id > last);
        last = said[i].answer.id;
    }
    assert_int_equal(engine_sql("select last from longwire.writer where last > 0"), 1);
    free(publishes);
    free(said);
}

static void expect_payloads(struct bench *bench, const char *channel, size_t count, struct span payload)
{
    struct store_read read = bench_read(bench, channel, READ_AFTER, 0, 10, PAGE_BYTES);

    assert_int_equal(read.rc, RC_OK);
    assert_int_equal(read.entry_count, count);
    for (size_t i = 0; i < count; i++)
        assert_true(span_eq(message_payload(read.entries[i].message), payload));
    store_read_fini(&read);
}

/* The maker knows ids of channels. If a database was put back meanwhile, an id may be that of another one. */
static void an_id_of_another_channel_is_noticed_threat_42(void **state)
{
    struct bench *bench = *state;

    for (size_t i = 0; i < 3; i++)
        bench_publish(bench, HELLO);
    for (size_t i = 0; i < 2; i++)
        bench_publish(bench, (struct publish){ .channel = "topic:b", .payload = "b" });
    engine_sql("update longwire.channel set name = 'topic:c' where name = 'topic:a'");
    engine_sql("update longwire.channel set name = 'topic:a' where name = 'topic:b'");
    expect_payloads(bench, "topic:a", 2, SPAN("b"));
    engine_sql("update longwire.channel set name = 'topic:b' where name = 'topic:a'");
    engine_sql("update longwire.channel set name = 'topic:a' where name = 'topic:c'");
    expect_payloads(bench, "topic:a", 3, SPAN("hello"));  /* what the page before has learnt is that of topic:b */
    engine_sql("update longwire.channel set name = 'topic:c' where name = 'topic:a'");
    engine_sql("update longwire.channel set name = 'topic:a' where name = 'topic:b'");
    struct published said = bench_publish(bench, HELLO), other = bench_publish(bench, (struct publish){ .channel = "topic:b", .payload = "b" });
    assert_int_equal(said.outcome, APPEND_DONE);
    assert_int_equal(said.answer.seq, 3);
    assert_int_equal(other.outcome, APPEND_DONE);
    assert_int_equal(other.answer.seq, 1);
    assert_int_equal(bench_publish(bench, HELLO).answer.seq, 4);
    assert_int_equal(engine_sql("select head from longwire.channel where name = 'topic:c'"), 3);
}

enum { GROWTH_COUNT = 200 };

static void *grow(void *context)
{
    struct bench *node = context;
    uint64_t      last = 0;

    for (size_t i = 0; i < GROWTH_COUNT; i++)
        last = bench_publish(node, HELLO).answer.seq;
    must(last == GROWTH_COUNT + 1);
    return NULL;
}

/* Rows that were stored after the place was told are not of the page. */
static void a_page_ends_at_the_head_that_it_tells(void **state)
{
    struct bench *bench = *state, node;
    pthread_t     grower;
    uint64_t      head = 0;

    bench_publish(bench, HELLO);
    node_open(&node, bench);
    must(pthread_create(&grower, NULL, grow, &node) == 0);
    while (head < GROWTH_COUNT + 1) {
        struct store_read read = bench_read(bench, "topic:a", READ_AFTER, head, 1000, PAGE_BYTES);
        assert_int_equal(read.rc, RC_OK);
        assert_int_equal(read.entry_count, read.head - head);
        for (size_t i = 0; i < read.entry_count; i++)
            assert_true(read.entries[i].message != NULL && read.entries[i].message->seq == head + 1 + i);
        head = read.head;
        store_read_fini(&read);
    }
    must(pthread_join(grower, NULL) == 0);
    bench_close(&node);
}

/* The row of a new channel is wider than it stays, so that its page has room for old versions. */
static void a_publish_takes_the_room_of_its_channel(void **state)
{
    struct bench *bench = *state;

    engine_sql("insert into longwire.channel (name) values ('topic:a'), ('topic:b')");
    assert_int_equal(engine_sql("select sum(octet_length(room)) from longwire.channel"), 128);
    bench_publish(bench, HELLO);
    assert_int_equal(engine_sql("select count(room) from longwire.channel"), 1);
    engine_sql("update longwire.channel set room = '\\x00' where name = 'topic:a'");
    bench_publish(bench, HELLO);  /* its id is known now */
    assert_int_equal(engine_sql("select count(room) from longwire.channel"), 1);
    assert_int_equal(engine_sql("select head from longwire.channel where name = 'topic:a'"), 2);
}

/* A work that ends its connection each time is not tried for ever, and the others go on. */
static void what_ends_its_connections_is_refused(void **state)
{
    struct bench *bench = *state;

    engine_sql("create function longwire.die() returns trigger language plpgsql as"
               " 'begin perform pg_terminate_backend(pg_backend_pid()); return new; end'");
    engine_sql("create trigger die before insert on longwire.message for each row when (new.payload = 'deadly')"
               " execute function longwire.die()");
    assert_int_equal(bench_publish(bench, (struct publish){ .channel = "topic:b", .payload = "deadly" }).outcome,
                     APPEND_AWAY);
    assert_int_equal(bench_publish(bench, HELLO).outcome, APPEND_DONE);
    expect_page(bench, "topic:b", READ_AFTER, 0, 10, "");
}

/* --- the schema --------------------------------------------------------------------------------------------------- */

static enum rc open_rc(struct bench *bench, char why[WHY_BYTES])
{
    const struct pg_store_options options = { .url = engine_url(), .spaces = &bench->spaces };
    struct store                 *store   = NULL;
    enum rc                       rc      = pg_store_open(&options, &store, why, WHY_BYTES);

    if (rc == RC_OK)
        store->ops->close(store);
    return rc;
}

static void a_schema_of_another_version_is_refused_threat_44(void **state)
{
    struct bench *bench = *state;
    char          why[WHY_BYTES];

    assert_int_equal(engine_init(engine_url(), why), RC_OK);
    assert_int_equal(open_rc(bench, why), RC_OK);
    engine_sql("update longwire.shard set version = 99");
    assert_int_equal(open_rc(bench, why), RC_BAD);
    assert_non_null(strstr(why, "has version 99"));
    assert_int_equal(engine_init(engine_url(), why), RC_BAD);
    bench_shut(bench);
    engine_sql("set client_min_messages = error; drop schema longwire cascade");
    assert_int_equal(open_rc(bench, why), RC_GONE);
    assert_non_null(strstr(why, "--init"));
    assert_int_equal(engine_init("host=/nowhere", why), RC_IO);
}

/* --- memory namespaces -------------------------------------------------------------------------------------------- */

static struct published volatile_publish(struct bench *bench, const char *channel)
{
    struct published said = bench_publish(bench, (struct publish){ .channel = channel, .payload = "x" });

    for (int i = 0; said.outcome == APPEND_AWAY && i < TRIES; i++)
        said = bench_publish(bench, (struct publish){ .channel = channel, .payload = "x" });
    assert_int_equal(said.outcome, APPEND_DONE);
    return said;
}

static void read_until_ok(struct bench *bench)
{
    enum rc rc = RC_IO;

    for (size_t i = 0; i < TRIES && rc != RC_OK; i++) {
        rc = bench_read(bench, "topic:a", READ_AFTER, 0, 0, 1).rc;
        sched_yield();
    }
    assert_int_equal(rc, RC_OK);
}

static void what_is_volatile_begins_anew_after_a_crash(void **state)
{
    struct bench *bench = *state, memory;

    bench_prepare(&memory, &pg_maker);
    memory.wall  = bench->wall;
    memory.store = engine_volatile_store(&memory);
    bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "durable" });
    struct published before = volatile_publish(&memory, "live:a"), second = volatile_publish(&memory, "live:a");
    assert_int_equal(second.answer.seq, 2);
    assert_int_equal(volatile_publish(&memory, "conn:k").answer.seq, 1);
    assert_int_equal(volatile_publish(&memory, "conn:k").answer.seq, 2);
    expect_page(&memory, "conn:k", READ_AFTER, 0, 10, "[1-2 trimmed]");
    expect_page(&memory, "live:a", READ_AFTER, 0, 10, "1 2");
    expect_page(bench, "live:a", READ_AFTER, 0, 10, "");
    engine_crash();
    engine_resume();
    struct published after = volatile_publish(&memory, "live:a");
    assert_int_equal(after.answer.seq, 1);
    assert_true(after.answer.epoch != before.answer.epoch);
    assert_true(after.answer.id > second.answer.id);
    read_until_ok(&memory);
    expect_page(&memory, "live:a", READ_AFTER, 0, 10, "1");
    while (bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "again", .key = "k" }).outcome == APPEND_AWAY)
        continue;
    read_until_ok(bench);
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "1 2");
    bench_close(&memory);
}

/* --- retention ---------------------------------------------------------------------------------------------------- */

/* Calls tick() until the SQL gives `wanted`. */
static void tend_until(struct bench *bench, const char *sql, long long wanted)
{
    const time_t deadline = time(NULL) + DEADLINE_S;

    while (engine_sql(sql) != wanted && time(NULL) < deadline)
        bench->store->ops->tick(bench->store, bench->wall);
    assert_int_equal(engine_sql(sql), wanted);
}

static void days_that_are_over_are_dropped(void **state)
{
    struct bench *bench = *state;
    char          sql[WHY_BYTES];

    for (size_t day = 0; day < 3; day++, bench->wall += DAY_MS)
        for (size_t i = 0; i < 3; i++)
            bench_publish(bench, (struct publish){ .channel = "brief:a", .payload = "x" });
    assert_int_equal(engine_sql("select count(*) from longwire.message"), 9);
    bench->wall -= DAY_MS;  /* the third day is not over */
    tend_until(bench, "select count(*) from longwire.message", 3);
    snprintf(sql, sizeof sql, "select count(*) from longwire.day where day < %lld", (long long)(bench->wall / DAY_MS));
    tend_until(bench, sql, 0);
    bench->wall += DAY_MS;
    expect_page(bench, "brief:a", READ_AFTER, 0, 10, "[1-9 trimmed]");
    bench_publish(bench, (struct publish){ .channel = "brief:a", .payload = "x" });
    expect_page(bench, "brief:a", READ_AFTER, 0, 10, "[1-9 trimmed] 10");
    /* The clock is set back to a day whose partition is gone. */
    bench->wall -= 3 * DAY_MS;
    assert_int_equal(bench_publish(bench, (struct publish){ .channel = "brief:a", .payload = "x" }).outcome, APPEND_DONE);
}

/* A copied log lacks what had expired in its source. Search by time asks for the seqs that are missing here: the first one,
 * then the middle one. */
static void what_is_behind_a_hole_is_kept(void **state)
{
    struct bench *bench = *state;

    for (size_t i = 0; i < 9; i++, bench->wall += 100)
        bench_publish(bench, (struct publish){ .channel = "brief:a", .payload = "x" });
    assert_int_equal(engine_sql("with gone as (delete from longwire.message where seq in (1, 6) returning 1) select count(*) from gone"), 2);
    expect_page(bench, "brief:a", READ_AFTER, 0, 10, "[1-1 trimmed] 2 3 4 5 [6-6 trimmed] 7 8 9");
    tend_until(bench, "select floor from longwire.channel", 2);
    expect_page(bench, "brief:a", READ_AFTER, 0, 10, "[1-1 trimmed] 2 3 4 5 [6-6 trimmed] 7 8 9");
    for (size_t low = 1; low <= 9; low++) {
        /* The 4th message is the oldest that is kept. */
        char sql[WHY_BYTES];
        snprintf(sql, sizeof sql, "select longwire.first_at(c.id, %zu, 9, m.time) from longwire.channel c join longwire.message m"
                 " on m.channel = c.id and m.seq = 4", low);
        assert_int_equal(engine_sql(sql), low <= 4 ? 4 : low == 6 ? 7 : low);
    }
    assert_int_equal(engine_sql("select longwire.first_at(id, 1, 9, 9000000000000) from longwire.channel"), 10);
}

/* As a backup does, which reads everything in one transaction for hours. */
static void a_long_transaction_holds_up_no_publish_threat_41(void **state)
{
    static const char ROWS[] = "select count(*) from longwire.message";
    struct bench     *bench  = *state;

    bench_publish(bench, (struct publish){ .channel = "brief:a", .payload = "x" });
    engine_hold("lock table longwire.message, longwire.message_kept in access share mode");
    bench->wall += 3 * DAY_MS;  /* that day has no partition yet, and the first one is over */
    for (size_t i = 0; i < 3; i++) {
        bench->store->ops->tick(bench->store, bench->wall);
        assert_int_equal(bench_publish(bench, (struct publish){ .channel = "brief:a", .payload = "x" }).outcome, APPEND_DONE);
    }
    tend_until(bench, "select count(*) from longwire.day where tried is not null", 1);
    assert_int_equal(engine_sql(ROWS), 4);
    engine_let_go();
    for (size_t i = 0; i < 3; i++)
        bench->store->ops->tick(bench->store, bench->wall);
    assert_int_equal(engine_sql(ROWS), 4);  /* not yet: it is tried once a minute */
    engine_sql("update longwire.day set tried = tried - interval '1 minute'");
    tend_until(bench, ROWS, 3);
}

static void what_is_let_go_is_deleted(void **state)
{
    struct bench        *bench = *state;
    struct ledger_change change = bench_put(KIND_SESSION, "a", 1, "x");

    for (size_t i = 0; i < 5; i++) {
        bench_publish(bench, (struct publish){ .channel = "few:a", .payload = "x", .key = i == 0 ? "k" : NULL });
        bench_publish(bench, HELLO);
    }
    bench_publish(bench, (struct publish){ .channel = "topic:a", .is_purge = true });
    change.expires_at = bench->wall + 1000;
    bench_change(bench, change);
    bench->wall += DAY_MS;
    tend_until(bench, "select count(*) from longwire.message", 3);
    tend_until(bench, "select count(*) from longwire.used_key", 0);
    tend_until(bench, "select count(*) from longwire.ledger", 0);
}

/* --- failures ----------------------------------------------------------------------------------------------------- */

/* Publishes until it is stored: the store comes back by itself. */
static struct published publish_until_done(struct bench *bench, const char *payload)
{
    struct published said = { .outcome = APPEND_AWAY };

    for (size_t i = 0; i < TRIES && said.outcome != APPEND_DONE; i++) {
        said = bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = payload });
        sched_yield();
    }
    assert_int_equal(said.outcome, APPEND_DONE);
    return said;
}

/* The connections for reads come back at times of their own. */
static void a_crash_is_survived_and_refused_honestly_threat_40(void **state)
{
    struct bench      *bench  = *state;
    struct published   before = bench_publish(bench, HELLO);
    struct ledger_key  key    = bench_key(KIND_SESSION, "a");
    struct store_stats stats;

    engine_crash();
    assert_int_equal(bench_publish(bench, HELLO).outcome, APPEND_AWAY);
    assert_int_equal(bench_read(bench, "topic:a", READ_AFTER, 0, 0, 1).rc, RC_IO);
    assert_int_equal(bench_change(bench, bench_put(key.kind, "a", 1, "x")), LEDGER_AWAY);
    struct ledger_read scan = bench_scan(bench, KIND_SESSION, SPAN(""), SPAN(""), 10);
    assert_int_equal(scan.rc, RC_IO);
    ledger_read_fini(&scan);
    bench->store->ops->stats(bench->store, &stats);
    assert_true(stats.failure_count > 0 && stats.failure[0] != '\0');
    assert_true(stats.is_broken);  /* threat 46: whoever asks whether this node is ready must not be told that it is */
    engine_resume();
    struct published after = publish_until_done(bench, "after");
    bench->store->ops->stats(bench->store, &stats);
    assert_false(stats.is_broken);
    assert_int_equal(after.answer.seq, 2);
    assert_true(after.answer.epoch == before.answer.epoch);
    read_until_ok(bench);
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "1 2");
}

/* What was answered is there, what was refused as certain is not, and there is no hole. */
static void flow_audit(struct bench *bench, const struct flow *flow, uint64_t heads[FLOW_COUNT])
{
    char text[TEXT_MAX];

    for (size_t i = 0; i < FLOW_COUNT; i++) {
        const struct append *append = &flow->batches[i].append;
        snprintf(text, sizeof text, "topic:%zu", i);
        struct store_read read = bench_read(bench, text, READ_AFTER, 0, 1000, PAGE_BYTES);
        assert_int_equal(read.rc, RC_OK);
        assert_int_equal(read.entry_count, read.head);
        if (append->outcome == APPEND_DONE)
            assert_true(read.head == heads[i] + 1 && append->message->seq == read.head &&
                        append->message->id == read.entries[read.head - 1].message->id);
        else if (append->outcome == APPEND_AWAY)
            assert_int_equal(read.head, heads[i]);
        else
            assert_true(append->outcome == APPEND_BROKEN && (read.head == heads[i] || read.head == heads[i] + 1));
        heads[i] = read.head;
        store_read_fini(&read);
    }
}

static void a_crash_amid_batches_loses_and_doubles_nothing_threat_40(void **state)
{
    struct bench *bench             = *state;
    uint64_t      heads[FLOW_COUNT] = { 0 };

    for (size_t round = 0; round < 3; round++) {
        publish_until_done(bench, "up");
        struct flow *flow = flow_submit(bench, "x", NULL);
        engine_crash();
        bench_wait(bench, &flow->is_done);
        engine_resume();
        publish_until_done(bench, "up");
        read_until_ok(bench);
        flow_audit(bench, flow, heads);
        flow_free(flow);
    }
}

static void proxied(struct bench *bench)
{
    bench_shut(bench);
    proxy_start();
    bench->store = engine_store(bench, proxy_url());
    publish_until_done(bench, "first");
}

static void proxied_impatiently(struct bench *bench, struct engine_patience patience)
{
    bench_shut(bench);
    proxy_start();
    bench->store = engine_impatient_store(bench, proxy_url(), patience);
    publish_until_done(bench, "first");
}

static void proxied_end(struct bench *bench)
{
    proxy_set(PROXY_PASS);
    bench_shut(bench);
    proxy_stop();
}

/* The rows of a page are asked for along with its place. */
static void a_page_of_a_known_channel_takes_one_trip(void **state)
{
    struct bench *bench = *state;

    proxied(bench);
    proxy_set(PROXY_PASS);
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "1");
    assert_true(proxy_saw_guess());
    bench_publish(bench, HELLO);
    expect_page(bench, "topic:a", READ_AFTER, 1, 10, "2");
    expect_page(bench, "topic:a", READ_AFTER, 2, 10, "");
    engine_sql("update longwire.channel set floor = 2 where name = 'topic:a'");
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "[1-1 trimmed] 2");
    proxied_end(bench);
}

static const struct engine_patience IMPATIENT = { .answer_ms = 2000, .connect_ms = 1000, .doubt_ms = 3000 };

/* However a COMMIT is cut, the append is answered as done, and is there once, with the numbers of the answer. Without a key it
 * is numbered by the statement that stores it; with one the numbers are known before. */
static void expect_once(struct bench *bench, enum proxy_mode mode, const char *key)
{
    uint64_t head = bench_read(bench, "topic:a", READ_AFTER, 0, 0, 1).head;

    proxy_set(mode);
    struct published said = bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = "hello", .key = key });
    assert_true(proxy_has_cut());
    assert_int_equal(said.outcome, APPEND_DONE);
    assert_int_equal(said.answer.seq, head + 1);
    struct published next = bench_publish(bench, HELLO);
    assert_int_equal(next.answer.seq, head + 2);
    struct store_read read = bench_read(bench, "topic:a", READ_AFTER, head, 10, PAGE_BYTES);
    assert_int_equal(read.entry_count, 2);
    assert_true(read.entries[0].message->id == said.answer.id);
    store_read_fini(&read);
}

static void a_commit_that_is_cut_is_looked_up_threat_40(void **state)
{
    struct bench *bench = *state;

    proxied(bench);
    for (size_t i = 0; i < 3; i++) {
        expect_once(bench, PROXY_CUT_BEFORE, NULL);
        expect_once(bench, PROXY_CUT_AFTER, NULL);
        expect_once(bench, PROXY_LATE, NULL);
        expect_once(bench, PROXY_CUT_AFTER, (const char *[]){ "one", "two", "three" }[i]);
    }
    proxied_end(bench);
}

/* A statement that is a transaction by itself may have answered, and then its commit fails. */
static void an_answer_whose_commit_fails_counts_for_nothing(void **state)
{
    struct bench *bench = *state;

    publish_until_done(bench, "first");
    engine_sql("create function public.refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;"
               "create constraint trigger refuse after update on longwire.channel deferrable initially deferred"
               " for each row execute function public.refuse(); select 1");
    assert_int_equal(bench_publish(bench, HELLO).outcome, APPEND_AWAY);
    assert_int_equal(engine_sql("select max(head) from longwire.channel"), 1);
    engine_sql("drop trigger refuse on longwire.channel; drop function public.refuse(); select 1");
    assert_int_equal(bench_publish(bench, HELLO).answer.seq, 2);
}

/* Many messages of several kinds of id and of several channels; each is found under its own numbers. */
static void numbers_of_a_cut_commit_are_looked_up_threat_40(void **state)
{
    struct bench    *bench = *state;
    enum { COUNT = 150 };
    struct publish   publishes[COUNT];
    struct published said[COUNT];

    proxied(bench);
    for (size_t i = 0; i < COUNT; i++)
        publishes[i] = (struct publish){ .channel = (const char *[]){ "topic:a", "user:ann", "topic:b" }[i % 3], .payload = "x" };
    bench_publish_all(bench, publishes, COUNT, said);
    proxy_set(PROXY_CUT_AFTER);
    bench_publish_all(bench, publishes, COUNT, said);
    assert_true(proxy_has_cut());
    assert_int_equal(engine_sql("select cardinality(blocks) from longwire.writer where blocks is not null"), 6);
    struct store_read read = bench_read(bench, "user:ann", READ_AFTER, COUNT / 3, COUNT, PAGE_BYTES);
    assert_int_equal(read.entry_count, COUNT / 3);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(said[i].outcome, APPEND_DONE);
        assert_int_equal(said[i].answer.seq, COUNT / 3 + 1 + i / 3 + (i % 3 == 0));
        if (i % 3 == 1)
            assert_true(said[i].answer.id == read.entries[i / 3].message->id);
    }
    store_read_fini(&read);
    proxied_end(bench);
}

/* One message for each of many channels, with nothing that only some have; the channels are named in the order against their ids.
 * Each is found under its own numbers, and says in its row nothing of what it lacks. */
static void plain_messages_of_a_cut_commit_are_looked_up_threat_40(void **state)
{
    struct bench    *bench = *state;
    enum { COUNT = 40, NAME_BYTES = 32 };
    char             names[COUNT][NAME_BYTES];
    struct publish   publishes[COUNT];
    struct published said[COUNT];

    proxied(bench);
    for (size_t round = 0; round < 2; round++) {  /* the first one makes the channels, the second one knows them */
        for (size_t i = 0; i < COUNT; i++) {
            snprintf(names[i], sizeof names[i], "topic:%02zu", round == 0 ? i : COUNT - 1 - i);
            publishes[i] = (struct publish){ .channel = names[i], .payload = names[i], .has_no_sender = true };
        }
        proxy_set(round == 0 ? PROXY_PASS : PROXY_CUT_AFTER);
        bench_publish_all(bench, publishes, COUNT, said);
    }
    assert_true(proxy_has_cut());
    for (size_t i = 0; i < COUNT; i++) {
        struct store_read read = bench_read(bench, names[i], READ_AFTER, 1, COUNT, PAGE_BYTES);
        assert_int_equal(said[i].outcome, APPEND_DONE);
        assert_int_equal(said[i].answer.seq, 2);
        assert_int_equal(read.entry_count, 1);
        assert_true(read.entries[0].message->id == said[i].answer.id);
        assert_true(span_eq(message_payload(read.entries[0].message), span_str(names[i])));
        store_read_fini(&read);
    }
    assert_int_equal(engine_sql("select count(*) from longwire.message where seq = 2 and num_nulls(kind, expires_at, target, sender,"
                                " event, collapse) = 6"), COUNT);
    assert_int_equal(engine_sql("select count(*) from longwire.channel where head = 2 and bytes = 16"), COUNT);
    proxied_end(bench);
}

/* A commit says only once what is the same for all its messages; each message keeps its own all the same. */
static void messages_of_one_commit_keep_what_differs(void **state)
{
    struct bench        *bench       = *state;
    const struct publish publishes[] = {
        { .channel = "topic:a", .payload = "plain" },   { .channel = "topic:b", .payload = "event", .event = "tick" },
        { .channel = "topic:c", .payload = "dated", .ttl_ms = 5000 }, { .channel = "user:ann", .payload = "longer kept" },
        { .channel = "topic:a", .payload = "second" },
    };
    struct published said[5];

    for (size_t round = 0; round < 2; round++)  /* the first one asks for the channels, the second one knows them */
        bench_publish_all(bench, publishes, 5, said);
    for (size_t i = 0; i < 5; i++) {
        struct store_read read = bench_read(bench, publishes[i].channel, READ_AFTER, said[i].answer.seq - 1, 1, PAGE_BYTES);
        assert_int_equal(read.entry_count, 1);
        const struct message *message = read.entries[0].message;
        assert_true(message->id == said[i].answer.id && span_eq(message_payload(message), span_str(publishes[i].payload)));
        assert_true(span_eq(message_event(message), span_str(publishes[i].event == NULL ? "" : publishes[i].event)));
        assert_int_equal(message->expires_at, publishes[i].ttl_ms == 0 ? 0 : message->time + publishes[i].ttl_ms);
        store_read_fini(&read);
    }
    assert_int_equal(said[4].answer.seq, 4);
    assert_int_equal(engine_sql("select count(distinct (day, media)) from longwire.message"),
                     engine_sql("select count(distinct day) from longwire.message"));
}

static void a_row_whose_commit_is_cut_is_looked_up_threat_40(void **state)
{
    struct bench *bench = *state;

    proxied(bench);
    for (uint64_t i = 0; i < 6; i++) {
        proxy_set(i % 2 == 0 ? PROXY_CUT_AFTER : PROXY_CUT_BEFORE);
        assert_int_equal(bench_change(bench, change_if(bench_put(KIND_SESSION, "a", i + 1, "x"), i)), LEDGER_DONE);
        assert_true(proxy_has_cut());
    }
    assert_int_equal(bench_generation(bench, KIND_SESSION, "a"), 6);
    proxied_end(bench);
}

static void expect_whole_after_ticks(struct bench *bench);

static void an_outcome_that_can_not_be_learnt_is_broken_threat_40(void **state)
{
    struct bench      *bench = *state;
    struct store_stats stats;

    proxied_impatiently(bench, (struct engine_patience){ .answer_ms = 30000, .connect_ms = 30000, .doubt_ms = 3000 });
    proxy_set(PROXY_CUT_AND_REFUSE);
    assert_int_equal(bench_publish(bench, HELLO).outcome, APPEND_BROKEN);
    bench->store->ops->stats(bench->store, &stats);
    assert_true(stats.is_broken);
    tend_until(bench, "select head from longwire.channel where name = 'topic:a'", 2);  /* PostgreSQL has what it was sent before the cut */
    proxy_set(PROXY_PASS);
    expect_whole_after_ticks(bench);
    assert_int_equal(publish_until_done(bench, "after").answer.seq, 3);
    proxied_end(bench);
}

static void silence_is_a_lost_connection_threat_40(void **state)
{
    struct bench *bench = *state;

    proxied_impatiently(bench, IMPATIENT);
    proxy_set(PROXY_STALL);
    enum append_outcome outcome = bench_publish(bench, HELLO).outcome;
    assert_true(outcome == APPEND_AWAY || outcome == APPEND_BROKEN);
    assert_int_equal(bench_read(bench, "topic:a", READ_AFTER, 0, 0, 1).rc, RC_IO);
    proxy_set(PROXY_PASS);
    publish_until_done(bench, "after");
    proxied_end(bench);
}

static msec monotonic_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (msec)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The first read behind the first publish that is taken after so many reads in a silence. */
static enum rc read_behind_silence(struct bench *bench, size_t reads, msec *ret_took_ms)
{
    proxy_set(PROXY_STALL);
    bench_publish(bench, HELLO);
    for (size_t at = 0; at < reads; at++)
        assert_int_equal(bench_read(bench, "topic:a", READ_AFTER, 0, 0, 1).rc, RC_IO);
    const msec began = monotonic_ms();
    proxy_set(PROXY_PASS);
    publish_until_done(bench, "after");
    enum rc rc   = bench_read(bench, "topic:a", READ_AFTER, 0, 0, 1).rc;
    *ret_took_ms = monotonic_ms() - began;
    return rc;
}

/* The connections that read are made by other attempts than those that publish, and some of these began while nothing was
 * answered. Whenever the first publish is taken, reads are answered, too. If all of that takes longer than the store waits for a
 * connection, the machine is busy, and an attempt may have ended for that: it is made once more. */
static void reads_come_back_with_publishes_threat_40(void **state)
{
    enum { SILENCES_MAX = 20 };
    struct bench *bench  = *state;
    int           silences = 0;

    proxied_impatiently(bench, IMPATIENT);
    for (size_t i = 0; i < SILENCE_COUNT; i++) {
        msec took_ms = 0;
        while (read_behind_silence(bench, i + 1, &took_ms) != RC_OK)
            assert_true(took_ms >= IMPATIENT.connect_ms && ++silences < SILENCES_MAX);
    }
    proxied_end(bench);
}

static bool flow_is_done(const struct flow *flow)
{
    for (size_t i = 0; i < FLOW_COUNT; i++)
        if (flow->batches[i].append.outcome != APPEND_DONE)
            return false;
    return true;
}

/* What is under way on a connection that is cut is stored by another one. A cut may also hit a connection that is still being made anew, on a
 * busy machine: what was given to that one is refused, and is not there. */
static void lost_connections_are_made_anew(void **state)
{
    enum { ROUNDS = 10, ROUNDS_MAX = 100 };
    struct bench *bench             = *state;
    uint64_t      heads[FLOW_COUNT] = { 0 };
    size_t        done = 0;

    proxied(bench);
    for (size_t i = 0; done < ROUNDS; i++) {
        assert_true(i < ROUNDS_MAX);
        struct flow *flow = flow_submit(bench, "x", NULL);
        proxy_cut_all();
        bench_wait(bench, &flow->is_done);
        done += flow_is_done(flow);
        publish_until_done(bench, "up");
        read_until_ok(bench);
        flow_audit(bench, flow, heads);
        flow_free(flow);
    }
    proxied_end(bench);
}

/* A call with a thread of its own, which waits for a lock that the test holds. */
struct waiting_call {
    struct bench       *bench;
    pthread_t           thread;
    enum append_outcome outcome;  /* of a publish */
    enum rc             rc;       /* of a page */
    atomic_bool         is_done;
};

static void *hello_run(void *context)
{
    struct waiting_call *hello = context;

    hello->outcome = bench_publish(hello->bench, HELLO).outcome;
    atomic_store(&hello->is_done, true);
    return NULL;
}

static void *page_run(void *context)
{
    struct waiting_call *page = context;
    struct store_read    read = bench_read(page->bench, "topic:a", READ_AFTER, 0, 10, PAGE_BYTES);

    page->rc = read.rc;
    store_read_fini(&read);
    atomic_store(&page->is_done, true);
    return NULL;
}

static void call_until_it_waits(struct waiting_call *call, void *(*run)(void *context))
{
    must(pthread_create(&call->thread, NULL, run, call) == 0);
    while (engine_sql("select count(*) from pg_locks where not granted") == 0 && !atomic_load(&call->is_done))
        sched_yield();
}

/* Publishes to other channels while that one waits. True: all of it was stored meanwhile. */
static bool flow_passes(struct bench *bench, struct waiting_call *hello)
{
    struct flow *flow   = flow_submit(bench, "x", NULL);
    bool         passed = true;

    bench_wait(bench, &flow->is_done);
    for (size_t i = 0; i < FLOW_COUNT; i++)
        passed = passed && flow->batches[i].append.outcome == APPEND_DONE;
    flow_free(flow);
    return passed && !atomic_load(&hello->is_done);
}

/* True: others went on while a publish waited for a lock that somebody holds. */
static bool others_pass_who_waits(struct bench *bench)
{
    struct waiting_call hello     = { .bench = bench };
    bool                is_passed = false;

    call_until_it_waits(&hello, hello_run);
    while (!is_passed && !atomic_load(&hello.is_done))
        is_passed = flow_passes(bench, &hello);
    pthread_join(hello.thread, NULL);
    assert_true(hello.outcome == APPEND_AWAY || hello.outcome == APPEND_BROKEN);
    return is_passed && hello.outcome == APPEND_AWAY;
}

/* Somebody else holds the lock of a channel's row: the wait is bounded, and what comes meanwhile goes on. On a busy machine all of it may
 * be given up for other reasons: then it is seen once more. */
static void a_lock_that_is_held_is_not_waited_for_without_end_threat_41(void **state)
{
    enum { TRIES_MAX = 10 };
    struct bench *bench = *state;
    int           tries = 1;

    bench_shut(bench);
    bench->store = engine_impatient_store(bench, engine_url(), IMPATIENT);
    publish_until_done(bench, "first");
    engine_hold("select 1 from longwire.channel where name = 'topic:a' for update");
    while (!others_pass_who_waits(bench))
        assert_true(++tries <= TRIES_MAX);
    engine_let_go();
    bench_shut(bench);
    bench->store = engine_store(bench, engine_url());
    assert_int_equal(publish_until_done(bench, "after").answer.seq, 2);
}

/* A page waits for a lock while the store's thread is kept by somebody's done(), for longer than an answer may take. The page's answer
 * comes meanwhile. */
struct busy_write {
    struct bench       *bench;
    struct ledger_batch batch;
    bool                is_done;
};

static void on_busy_written(struct ledger_batch *batch)
{
    enum { TRIES_MAX = 1000 };
    static const char WORKING[] = "select count(*) from pg_stat_activity where application_name like 'longwired-%' and state <> 'idle'";
    struct busy_write *busy     = container_of(batch, struct busy_write, batch);

    engine_let_go();
    for (int i = 0; i < TRIES_MAX && engine_sql(WORKING) != 0; i++)
        engine_sql("select count(pg_sleep(0.01))");
    engine_sql("select count(pg_sleep(2.5))");
    bench_say_done(busy->bench, &busy->is_done);
}

static bool page_is_answered_meanwhile(struct bench *bench)
{
    struct waiting_call  page   = { .bench = bench };
    struct ledger_change change = bench_put(1, "ann", 1, "one");
    struct ledger_write  write  = { .changes = &change, .count = 1 };
    struct busy_write    busy   = { .bench = bench, .batch = { .change_count = 1, .wall = bench->wall, .done = on_busy_written } };

    list_init(&busy.batch.writes);
    list_push(&busy.batch.writes, &write.link);
    engine_hold("lock table longwire.message, longwire.message_kept in access exclusive mode");
    call_until_it_waits(&page, page_run);
    bench->store->ledger->ops->write(bench->store->ledger, &busy.batch);
    bench_wait(bench, &busy.is_done);
    pthread_join(page.thread, NULL);
    ledger_write_fini(&write);
    return page.rc == RC_OK;
}

/* On a busy machine the page may wait for the lock for too long: then there is another one. */
static void an_answer_that_came_is_not_late_threat_40(void **state)
{
    enum { TRIES_MAX = 10 };
    struct bench *bench = *state;
    int           tries = 1;

    bench_shut(bench);
    bench->store = engine_impatient_store(bench, engine_url(), IMPATIENT);
    publish_until_done(bench, "first");
    while (!page_is_answered_meanwhile(bench))
        assert_true(++tries <= TRIES_MAX);
}

/* Timeouts are set for what people write, for a role or as here for each connection. A publish takes longer than any of them, and then
 * nothing happens for longer. On a busy machine they may end a connection before it has switched them off, and it is made anew; one that
 * had not would be ended each time. */
static void timeouts_for_others_do_not_count_threat_41(void **state)
{
    enum { TRIES_MAX = 20 };
    static const char BACKENDS[] = "select sum(pid) from pg_stat_activity where application_name like 'longwired-%'";
    static const char TIMEOUTS[] = " options='-c statement_timeout=400ms -c lock_timeout=400ms -c idle_session_timeout=400ms"
                                   " -c idle_in_transaction_session_timeout=400ms'";
    struct bench *bench = *state;
    char         *url   = NULL;
    bool          is_kept = false;

    bench_shut(bench);
    must(asprintf(&url, "%s%s", engine_url(), TIMEOUTS) >= 0);
    bench->store = engine_store(bench, url);
    free(url);
    publish_until_done(bench, "first");
    engine_sql("create function longwire.dawdle() returns trigger language plpgsql as 'begin perform pg_sleep(1); return new; end';"
               " create trigger dawdle before insert on longwire.message for each row execute function longwire.dawdle()");
    for (int tries = 0; tries < TRIES_MAX && !is_kept; tries++) {
        long long           before  = engine_sql(BACKENDS);
        enum append_outcome outcome = bench_publish(bench, HELLO).outcome;
        engine_sql("select count(pg_sleep(1))");
        is_kept = before > 0 && outcome == APPEND_DONE && engine_sql(BACKENDS) == before;
    }
    assert_true(is_kept);
}

/* Whatever of the kind this version of PostgreSQL has. */
static void no_timeout_is_left_threat_41(void **state)
{
    static const char SET[]  = "select set_config(name, '400', false) from pg_settings where name like '%\\_timeout'"
                               " and category = 'Client Connection Defaults / Statement Behavior' order by name";
    static const char LEFT[] = "select count(*) from pg_settings where name like '%\\_timeout' and setting <> '0'"
                               " and category = 'Client Connection Defaults / Statement Behavior'";
    const struct { const char *text, *want; } rows[] = { { SET, "400ms" }, { PG_NO_TIMEOUTS, "0" }, { LEFT, "0" } };
    PGconn *conn = PQconnectdb(engine_url());

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        PGresult *result = PQexec(conn, rows[i].text);
        assert_true(PQntuples(result) > (i < 2 ? 3 : 0));
        assert_string_equal(PQgetvalue(result, 0, 0), rows[i].want);
        PQclear(result);
    }
    PQfinish(conn);
}

/* --- epochs ------------------------------------------------------------------------------------------------------- */

static void a_replica_that_is_promoted_has_another_epoch_threat_40(void **state)
{
    struct bench    *bench = *state;
    struct published kept  = publish_until_done(bench, "kept");

    engine_crash();
    engine_copy();
    engine_resume();
    struct published lost = publish_until_done(bench, "lost");
    assert_int_equal(lost.answer.seq, 2);
    assert_true(lost.answer.epoch == kept.answer.epoch);
    engine_crash();
    engine_resume_copy();
    assert_int_equal(bench_publish(bench, HELLO).outcome, APPEND_AWAY);  /* a standby can't be written to */
    engine_sql("select pg_promote()");
    struct published other = publish_until_done(bench, "other");
    assert_int_equal(other.answer.seq, 2);
    assert_true(other.answer.epoch != kept.answer.epoch);
    read_until_ok(bench);
    struct store_read read = bench_read(bench, "topic:a", READ_AFTER, 0, 10, PAGE_BYTES);
    assert_true(read.epoch == other.answer.epoch && read.entry_count == 2);
    store_read_fini(&read);
    engine_crash();
    engine_resume();
    assert_true(publish_until_done(bench, "again").answer.epoch == other.answer.epoch);
}

/* Of those that start after a failover the first one gives the logs another epoch: it can say so. */
static void a_failover_is_noticed_by_who_starts_after_it(void **state)
{
    struct bench      *bench = *state;
    struct store_stats stats;

    bench_publish(bench, HELLO);
    bench_shut(bench);
    engine_sql("update longwire.shard set incarnation = ''");
    for (uint64_t want = 1; want <= 1; want--) {
        const time_t deadline = time(NULL) + DEADLINE_S;
        bench->store          = engine_store(bench, engine_url());
        do {
            bench_publish(bench, HELLO);  /* another lane may be the one that was greeted first */
            bench->store->ops->stats(bench->store, &stats);
        } while (stats.epoch_count < want && time(NULL) < deadline);
        assert_int_equal(stats.epoch_count, want);
        bench_shut(bench);
    }
}

/* The same timeline, but a commit that was acknowledged is not there. */
static void a_lost_commit_is_noticed(void **state)
{
    struct bench      *bench = *state;
    struct published   said  = bench_publish(bench, HELLO);
    struct store_stats stats;

    engine_sql("update longwire.writer set last = 0");
    engine_sql("select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name like 'longwired-%'");
    struct published next = publish_until_done(bench, "next");
    assert_true(next.answer.epoch != said.answer.epoch);
    bench->store->ops->stats(bench->store, &stats);
    assert_int_equal(stats.epoch_count, 1);
}

static struct ledger_write write_if(struct bench *bench, uint64_t generation, uint64_t epoch)
{
    static struct ledger_change change;
    struct ledger_write         write = { .changes = &change, .count = 1 };

    change                = bench_put(1, "ann", 2, "raised");
    change.is_conditional = true;
    change.if_generation  = generation;
    change.if_epoch       = epoch;
    do {
        write.epoch = 0;
        bench_write_all(bench, &write, 1);
    } while (write.outcome == LEDGER_AWAY || write.outcome == LEDGER_BROKEN);
    return write;
}

/* What was lost with its epoch may stand there once more, written by somebody else: whoever wrote it first does not take it for theirs. */
static void a_generation_of_another_epoch_is_no_condition_that_holds(void **state)
{
    struct bench       *bench = *state;
    struct ledger_write first = write_if(bench, 0, 0);
    struct published    said  = bench_publish(bench, HELLO);

    assert_int_equal(first.outcome, LEDGER_DONE);
    assert_true(first.epoch == said.answer.epoch);
    assert_int_equal(write_if(bench, 2, first.epoch).outcome, LEDGER_DONE);
    engine_sql("update longwire.shard set incarnation = ''");
    engine_sql("select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name like 'longwired-%'");
    struct ledger_write stale = write_if(bench, 2, first.epoch);
    assert_int_equal(stale.outcome, LEDGER_STALE);
    assert_int_equal(stale.now.generation, 0);
    ledger_write_fini(&stale);
    struct ledger_write anew = write_if(bench, 2, 0);
    assert_int_equal(anew.outcome, LEDGER_DONE);
    assert_true(anew.epoch != first.epoch);
    assert_int_equal(write_if(bench, 2, anew.epoch).outcome, LEDGER_DONE);
}

/* --- a full disk -------------------------------------------------------------------------------------------------- */

/* Nobody publishes, and readiness comes back all the same. */
static void expect_whole_after_ticks(struct bench *bench)
{
    const time_t       deadline = time(NULL) + DEADLINE_S;
    struct store_stats stats    = { .is_full = true };

    while ((stats.is_full || stats.is_broken) && time(NULL) < deadline) {
        bench->store->ops->tick(bench->store, bench->wall);
        sched_yield();
        bench->store->ops->stats(bench->store, &stats);
    }
    assert_false(stats.is_full || stats.is_broken);
    assert_int_equal(engine_sql("select count(*) from pg_class where relname = 'room'"), 0);
}

static void a_full_disk_refuses_and_recovers_threat_41(void **state)
{
    struct bench *bench = *state;
    char         *large = calloc(1, 200001);
    struct rng    rng   = { 7 };

    if (!engine_small_disk()) {
        free(large);
        skip();
    }
    for (size_t i = 0; i < 200000; i++)
        large[i] = (char)('!' + rng_below(&rng, 90));
    const struct publish publish = { .channel = "light:a", .payload = large };
    enum append_outcome  outcome = APPEND_DONE;
    uint64_t             count   = 0;
    struct store_stats   stats;
    for (; count < 100 && outcome == APPEND_DONE; count++)
        outcome = bench_publish(bench, publish).outcome;
    assert_int_equal(outcome, APPEND_NO_SPACE);
    assert_int_equal(bench_read(bench, "light:a", READ_AFTER, 0, 0, 1).head, count - 1);
    bench->store->ops->stats(bench->store, &stats);
    assert_true(stats.is_full);
    assert_int_equal(bench_change(bench, bench_put(KIND_SESSION, "a", 1, "x")), LEDGER_DONE);
    bench->store->ops->stats(bench->store, &stats);
    assert_true(stats.is_full);  /* what finds room in a page proves nothing */
    engine_small_disk_grow();
    struct published said = bench_publish(bench, publish);
    assert_int_equal(said.outcome, APPEND_DONE);
    assert_int_equal(said.answer.seq, count);
    expect_whole_after_ticks(bench);
    free(large);
    bench_shut(bench);
    engine_small_disk_end();
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
#define ENGINE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        ENGINE_TEST(seqs_of_two_nodes_are_dense_threat_42),
        ENGINE_TEST(a_key_holds_across_nodes),
        ENGINE_TEST(an_absent_row_is_claimed_once),
        ENGINE_TEST(a_batch_of_any_size_is_one_commit),
        ENGINE_TEST(an_id_of_another_channel_is_noticed_threat_42),
        ENGINE_TEST(a_page_of_a_known_channel_takes_one_trip),
        ENGINE_TEST(a_page_ends_at_the_head_that_it_tells),
        ENGINE_TEST(a_publish_takes_the_room_of_its_channel),
        ENGINE_TEST(what_ends_its_connections_is_refused),
        ENGINE_TEST(a_schema_of_another_version_is_refused_threat_44),
        ENGINE_TEST(what_is_volatile_begins_anew_after_a_crash),
        ENGINE_TEST(days_that_are_over_are_dropped),
        ENGINE_TEST(what_is_behind_a_hole_is_kept),
        ENGINE_TEST(a_long_transaction_holds_up_no_publish_threat_41),
        ENGINE_TEST(what_is_let_go_is_deleted),
        ENGINE_TEST(a_crash_is_survived_and_refused_honestly_threat_40),
        ENGINE_TEST(a_crash_amid_batches_loses_and_doubles_nothing_threat_40),
        ENGINE_TEST(a_commit_that_is_cut_is_looked_up_threat_40),
        ENGINE_TEST(an_answer_whose_commit_fails_counts_for_nothing),
        ENGINE_TEST(numbers_of_a_cut_commit_are_looked_up_threat_40),
        ENGINE_TEST(plain_messages_of_a_cut_commit_are_looked_up_threat_40),
        ENGINE_TEST(messages_of_one_commit_keep_what_differs),
        ENGINE_TEST(a_row_whose_commit_is_cut_is_looked_up_threat_40),
        ENGINE_TEST(an_outcome_that_can_not_be_learnt_is_broken_threat_40),
        ENGINE_TEST(silence_is_a_lost_connection_threat_40),
        ENGINE_TEST(reads_come_back_with_publishes_threat_40),
        ENGINE_TEST(lost_connections_are_made_anew),
        ENGINE_TEST(a_lock_that_is_held_is_not_waited_for_without_end_threat_41),
        ENGINE_TEST(an_answer_that_came_is_not_late_threat_40),
        ENGINE_TEST(timeouts_for_others_do_not_count_threat_41),
        ENGINE_TEST(no_timeout_is_left_threat_41),
        ENGINE_TEST(a_failover_is_noticed_by_who_starts_after_it),
        ENGINE_TEST(a_lost_commit_is_noticed),
        ENGINE_TEST(a_generation_of_another_epoch_is_no_condition_that_holds),
        ENGINE_TEST(a_full_disk_refuses_and_recovers_threat_41),
        ENGINE_TEST(a_replica_that_is_promoted_has_another_epoch_threat_40),
    };
#undef ENGINE_TEST
    int failed = store_battery_run(&pg_volatile_maker) + store_battery_run(&pg_maker) + ledger_battery_run(&pg_maker) + store_battery_run(&pg_spread_maker) +
                 ledger_battery_run(&pg_spread_maker) +
                 cmocka_run_group_tests_name("postgres, failures", tests, NULL, NULL);
    engine_stop();
    return failed;
}
