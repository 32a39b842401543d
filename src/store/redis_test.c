/* The maker on Redis, against a redis-server of the test's own: the battery, several nodes, several instances, and what
 * happens when Redis dies, is emptied, is full, is paused or loses what it held. */
#include <hiredis/hiredis.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "lib/redis_server.h"
#include "store/redis.h"
#include "store/redis_line.h"
#include "store/store_battery.h"

#include <cmocka.h>

enum { SERVERS = 3, URL_BYTES = 512, WHY_BYTES = 200, ANSWER_MS = 20000, SHORT_MS = 300, BYTES_MOST = 1 << 20, DAY_MS = 24 * 3600 * 1000,
       TEXT_BYTES = 64, BRIEF_MS = 1000 /* the battery's `brief:` keeps messages so long */ };

static struct redis_server servers[SERVERS];
static char                all_urls[URL_BYTES];

static const struct publish HELLO = { .channel = "topic:a", .payload = "hello" };

static bool store_is_up(struct store *store)
{
    struct store_stats stats;

    store->ops->stats(store, &stats);
    return !stats.is_broken;
}

static void await_up(struct store *store, bool is_up)
{
    while (store_is_up(store) != is_up)
        sched_yield();
}

static struct store *store_at(struct bench *bench, const char *url, msec answer_ms)
{
    const struct redis_store_options options = { .url = url, .spaces = &bench->spaces, .hash_key = bench->hash_key,
                                                 .connect_ms = ANSWER_MS, .answer_ms = answer_ms };
    struct store *store = NULL;
    char          why[WHY_BYTES];

    must(redis_store_open(&options, &store, why, sizeof why) == RC_OK);
    await_up(store, true);
    return store;
}

static void empty_all(void)
{
    for (size_t i = 0; i < SERVERS; i++)
        redis_server_say(&servers[i], "FLUSHALL");
}

static struct store *open_one(struct bench *bench)
{
    empty_all();
    return store_at(bench, servers[0].url, ANSWER_MS);
}

static struct store *open_several(struct bench *bench)
{
    empty_all();
    return store_at(bench, all_urls, ANSWER_MS);
}

static struct store *open_impatient(struct bench *bench)
{
    empty_all();
    return store_at(bench, servers[0].url, SHORT_MS);
}

static const struct store_maker redis_maker = { .name = "redis", .open = open_one };
static const struct store_maker several_maker = { .name = "redis, three instances", .open = open_several };
static const struct store_maker impatient_maker = { .name = "redis, short patience", .open = open_impatient };

/* --- several nodes ------------------------------------------------------------------------------------------------------ */

static void node_open(struct bench *node, struct bench *first)
{
    bench_prepare(node, &redis_maker);
    node->wall  = first->wall;
    node->store = store_at(node, servers[0].url, ANSWER_MS);
}

static void seqs_of_two_nodes_are_dense_threat_42(void **state)
{
    struct bench *bench = *state, other;
    enum { COUNT = 50 };
    struct publish   publishes[COUNT];
    struct published said[COUNT];
    uint64_t         last_id = 0;

    node_open(&other, bench);
    for (size_t i = 0; i < COUNT; i++)
        publishes[i] = HELLO;
    for (uint64_t round = 0; round < 10; round++) {
        bench_publish_all(round % 2 == 0 ? bench : &other, publishes, COUNT, said);
        for (size_t i = 0; i < COUNT; i++) {
            assert_int_equal(said[i].outcome, APPEND_DONE);
            assert_int_equal(said[i].answer.seq, round * COUNT + i + 1);
            assert_true(said[i].answer.id > last_id);
            last_id = said[i].answer.id;
        }
    }
    struct store_read read = bench_read(&other, "topic:a", READ_AFTER, 0, 1000, BYTES_MOST);
    assert_int_equal(read.entry_count, 10 * COUNT);
    store_read_fini(&read);
    bench_close(&other);
}

static void a_key_holds_across_nodes(void **state)
{
    struct bench  *bench = *state, other;
    struct publish keyed = HELLO;

    keyed.key = "k";
    node_open(&other, bench);
    struct published first = bench_publish(bench, keyed), again = bench_publish(&other, keyed);
    assert_int_equal(first.outcome, APPEND_DONE);
    assert_int_equal(again.outcome, APPEND_REPLAYED);
    assert_memory_equal(&again.answer, &first.answer, sizeof first.answer);
    bench_close(&other);
}

static void what_is_not_kept_is_numbered_all_the_same(void **state)
{
    struct bench *bench = *state;

    for (uint64_t seq = 1; seq <= 3; seq++)
        assert_int_equal(bench_publish(bench, (struct publish){ .channel = "conn:x", .payload = "p" }).answer.seq, seq);
    expect_page(bench, "conn:x", READ_AFTER, 0, 10, "[1-3 trimmed]");
    assert_int_equal(bench_publish(bench, (struct publish){ .channel = "conn:x", .recall = 3 }).outcome, APPEND_NO_TARGET);
    assert_int_equal(redis_server_say(&servers[0], "EXISTS lw:m:l:conn:x"), 0);
}

/* --- another life --------------------------------------------------------------------------------------------------------- */

static struct store_read info_of(struct bench *bench, const char *channel)
{
    struct store_read info = bench_read(bench, channel, READ_AFTER, 0, 0, 1);

    while (info.rc != RC_OK)
        info = bench_read(bench, channel, READ_AFTER, 0, 0, 1);
    return info;
}

static void expect_another_life(struct bench *bench, uint64_t epoch)
{
    struct store_read info = info_of(bench, "topic:a");

    assert_int_equal(info.head, 0);
    assert_true(info.epoch != epoch);
    struct published said = bench_publish(bench, HELLO);
    assert_int_equal(said.outcome, APPEND_DONE);
    assert_int_equal(said.answer.seq, 1);
    assert_true(said.answer.epoch == info.epoch);
}

static void an_emptied_redis_has_other_epochs_threat_39(void **state)
{
    struct bench    *bench = *state;
    struct published said  = bench_publish(bench, HELLO);

    redis_server_say(&servers[0], "FLUSHALL");
    expect_another_life(bench, said.answer.epoch);
}

/* Redis loads what it saved last; the second message was never saved, and its seq must not name another one. */
static void a_redis_that_lost_its_last_writes_has_other_epochs_threat_39(void **state)
{
    struct bench    *bench = *state;
    struct publish   keyed = HELLO;
    struct published said  = bench_publish(bench, HELLO);

    keyed.key = "k";
    bench_publish(bench, keyed);
    redis_server_say(&servers[0], "SAVE");
    bench_publish(bench, HELLO);
    redis_server_kill(&servers[0]);
    redis_server_resume(&servers[0]);
    assert_int_equal(redis_server_say(&servers[0], "LLEN lw:m:l:topic:a"), 2);
    expect_another_life(bench, said.answer.epoch);
    assert_int_equal(bench_publish(bench, keyed).outcome, APPEND_DONE);
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "1 2");
    redis_server_say(&servers[0], "FLUSHALL");
    redis_server_say(&servers[0], "SAVE");
}

static void what_was_evicted_begins_anew(void **state)
{
    struct bench    *bench = *state;
    struct published said  = bench_publish(bench, HELLO);

    redis_server_say(&servers[0], "DEL lw:m:l:topic:a");
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "[1-1 trimmed]");
    assert_int_equal(bench_publish(bench, HELLO).answer.seq, 2);
    redis_server_say(&servers[0], "DEL lw:m:h:topic:a");
    struct published anew = bench_publish(bench, HELLO);
    assert_int_equal(anew.answer.seq, 1);
    assert_true(anew.answer.epoch != said.answer.epoch);
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "1");
}

/* Nobody reads between the two: the append finds that the list is shorter than the log. */
static void an_append_finds_that_the_list_was_evicted(void **state)
{
    struct bench *bench = *state;

    for (int i = 0; i < 3; i++)
        bench_publish(bench, HELLO);
    redis_server_say(&servers[0], "DEL lw:m:l:topic:a");
    assert_int_equal(bench_publish(bench, HELLO).answer.seq, 4);
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "[1-3 trimmed] 4");
    assert_int_equal(bench_publish(bench, (struct publish){ .channel = "topic:a", .recall = 2 }).outcome, APPEND_NO_TARGET);
    assert_int_equal(bench_publish(bench, HELLO).answer.seq, 5);
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "[1-3 trimmed] 4 5");
}

/* A namespace's age is looked at with the first append of a second; nobody reads. */
static void appends_alone_drop_what_is_too_old(void **state)
{
    struct bench *bench = *state;

    for (int i = 0; i < 3; i++)
        bench_publish(bench, (struct publish){ .channel = "brief:a", .payload = "x" });
    assert_int_equal(redis_server_say(&servers[0], "LLEN lw:m:l:brief:a"), 3);
    bench->wall += DAY_MS / 2;
    for (int i = 0; i < 2; i++)
        assert_int_equal(bench_publish(bench, (struct publish){ .channel = "brief:a", .payload = "x" }).outcome, APPEND_DONE);
    assert_int_equal(redis_server_say(&servers[0], "LLEN lw:m:l:brief:a"), 2);
    expect_page(bench, "brief:a", READ_AFTER, 0, 10, "[1-3 trimmed] 4 5");
}

static void what_was_not_used_for_a_day_is_forgotten(void **state)
{
    struct bench    *bench = *state;
    struct published said  = bench_publish(bench, (struct publish){ .channel = "brief:a", .payload = "x" });

    bench_publish(bench, HELLO);
    bench->wall += DAY_MS;
    do
        bench->store->ops->tick(bench->store, bench->wall);
    while (redis_server_say(&servers[0], "ZCARD lw:m:names") != 1);
    assert_int_equal(redis_server_say(&servers[0], "EXISTS lw:m:h:brief:a lw:m:l:brief:a"), 0);
    struct published anew = bench_publish(bench, (struct publish){ .channel = "brief:a", .payload = "x" });
    assert_int_equal(anew.answer.seq, 1);
    assert_true(anew.answer.epoch != said.answer.epoch);
    assert_true(bench_publish(bench, HELLO).answer.epoch == said.answer.epoch);
}

/* While a cluster is upgraded, nodes of two releases share a log: the fields of its hash and the form of its items stay. */
static void what_lies_in_redis_stays_as_it_was(void **state)
{
    static const char left[] =
        "redis.call('ZADD', 'lw:m:names', 0, 'topic:a') "
        "redis.call('HSET', 'lw:m:h:topic:a', 'w', redis.call('GET', 'lw:m:life'), 'n', '0', 'h', '3', 'f', '2', 'b', '10', 's', '7', "
        "'t', ARGV[1], 'p', '1 0 0 0') "
        "for id = 1, 2 do redis.call('RPUSH', 'lw:m:l:topic:a', "
        "struct.pack('<BddddI4BBBB', 0, id, 0, tonumber(ARGV[1]), 0, 5, 0, 0, 0, 0) .. 'first') end "
        "return 1";
    static const char found[] =
        "local v = redis.call('HMGET', 'lw:m:h:topic:a', 'w', 'n', 'h', 'f', 'b', 't') "
        "if table.concat(v, ' ') ~= redis.call('GET', 'lw:m:life') .. ' 0 4 2 15 ' .. ARGV[1] then return 0 end "
        "local item = redis.call('LINDEX', 'lw:m:l:topic:a', -1) "
        "local kind, id, target, time, expires, bytes, media, from, event, collapse = struct.unpack('<BddddI4BBBB', item) "
        "if kind ~= 0 or id ~= tonumber(ARGV[2]) or target ~= 0 or time ~= tonumber(ARGV[1]) or expires ~= 0 or bytes ~= 5 then return 1 end "
        "return string.sub(item, 42, 46) == 'hello' and #item == 46 + media + from + event + collapse and 2 or 1";
    struct bench *bench = *state;

    bench_publish(bench, (struct publish){ .channel = "topic:b", .payload = "x" });
    redis_server_say(&servers[0], "EVAL %s 0 %lld", left, (long long)bench->wall);
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "[1-1 trimmed] 2 3");
    struct published said = bench_publish(bench, HELLO);
    assert_int_equal(said.answer.seq, 4);
    assert_int_equal(redis_server_say(&servers[0], "EVAL %s 0 %lld %llu", found, (long long)bench->wall, (unsigned long long)said.answer.id), 2);
    expect_page(bench, "topic:a", READ_AFTER, 0, 10, "[1-1 trimmed] 2 3 4");
}

static long long ticks_of_redis(void)
{
    static const char text[] = "return tonumber(string.match(redis.call('INFO', 'commandstats'), 'cmdstat_zcard:calls=(%d+)') or '0')";

    return redis_server_say(&servers[0], "EVAL %s 0", text);
}

/* However often the writer ticks: a step is made once a second for all nodes together. */
static void redis_is_asked_for_a_step_once_a_second(void **state)
{
    struct bench   *bench = *state;
    const long long before = ticks_of_redis();
    const msec      began = redis_now();

    bench_publish(bench, HELLO);
    for (int i = 0; i < 100; i++) {
        bench->store->ops->tick(bench->store, bench->wall);
        bench_publish(bench, HELLO);  /* its thread has had a turn */
    }
    const long long asked = ticks_of_redis() - before;
    assert_in_range(asked, 1, 1 + (redis_now() - began) / 1000);
}

/* --- what a read costs --- */

static redisReply *monitor_answer(redisContext *monitor)
{
    void *reply = NULL;

    must(redisGetReply(monitor, &reply) == REDIS_OK);
    return reply;
}

static redisContext *monitor_open(const struct redis_server *server)
{
    redisContext *monitor = redisConnectUnix(server->socket);

    must(monitor != NULL && monitor->err == 0);
    if (server->password != NULL)
        freeReplyObject(redisCommand(monitor, "AUTH %s", server->password));
    freeReplyObject(redisCommand(monitor, "MONITOR"));
    return monitor;
}

/* How many items scripts have taken from lists, up to now. */
static long monitor_items(redisContext *monitor, const struct redis_server *server)
{
    long items = 0, from, to;
    bool is_over = false;

    redis_server_say(server, "EXISTS that-is-all");
    while (!is_over) {
        redisReply *line = monitor_answer(monitor);
        const char *what = strstr(line->str, "\"LRANGE\"");
        if (what != NULL && sscanf(what, "\"LRANGE\" \"%*[^\"]\" \"%ld\" \"%ld\"", &from, &to) == 2)
            items += to - from + 1;
        is_over = strstr(line->str, "that-is-all") != NULL;
        freeReplyObject(line);
    }
    return items;
}

/* How often scripts have looked at a message. */
static long monitor_looks(redisContext *monitor, const struct redis_server *server)
{
    long looks   = 0;
    bool is_over = false;

    redis_server_say(server, "EXISTS that-is-all");
    while (!is_over) {
        redisReply *line = monitor_answer(monitor);
        looks           += strstr(line->str, "\"LINDEX\"") != NULL;
        is_over          = strstr(line->str, "that-is-all") != NULL;
        freeReplyObject(line);
    }
    return looks;
}

static void read_brief(struct bench *bench, size_t entries)
{
    struct store_read read = bench_read(bench, "brief:a", READ_AFTER, 0, 10, BYTES_MOST);

    assert_int_equal(read.entry_count, entries);
    store_read_fini(&read);
}

/* docs/decisions/0172: whether a message is too old is asked with each head. */
static void no_message_is_looked_at_before_it_may_be_too_old(void **state)
{
    struct bench *bench = *state;

    bench_publish(bench, (struct publish){ .channel = "brief:a", .payload = "1" });
    bench->wall += BRIEF_MS / 2;
    bench_publish(bench, (struct publish){ .channel = "brief:a", .payload = "2" });
    redisContext *monitor = monitor_open(&servers[0]);
    read_brief(bench, 2);
    assert_int_equal(monitor_looks(monitor, &servers[0]), 0);
    bench->wall += BRIEF_MS / 2;
    read_brief(bench, 2);  /* a gap, and what is left */
    assert_int_equal(monitor_looks(monitor, &servers[0]), 2);
    read_brief(bench, 2);
    assert_int_equal(monitor_looks(monitor, &servers[0]), 0);
    bench->wall += BRIEF_MS / 2;
    read_brief(bench, 1);
    assert_int_equal(monitor_looks(monitor, &servers[0]), 1);
    redisFree(monitor);
}

/* docs/decisions/0172: what a page does not give is not taken from Redis, which serves nobody while it copies a hundred long messages. */
static void a_page_of_long_messages_takes_few(void **state)
{
    enum { COUNT = 120, LONG = 32 << 10, GIVEN = 3 };
    struct bench *bench   = *state;
    char         *payload = calloc(1, LONG + 1);

    must(payload != NULL);
    memset(payload, 'x', LONG);
    for (int i = 0; i < COUNT; i++)
        bench_publish(bench, (struct publish){ .channel = "topic:a", .payload = payload });
    for (int i = 0; i < COUNT; i++)
        bench_publish(bench, (struct publish){ .channel = "topic:b", .payload = "short" });

    redisContext *monitor = monitor_open(&servers[0]);
    for (int is_before = 0; is_before < 2; is_before++) {
        const enum read_way way  = is_before ? READ_BEFORE : READ_AFTER;
        struct store_read   read = bench_read(bench, "topic:a", way, is_before ? COUNT + 1 : 0, 100, (size_t)GIVEN * LONG);
        assert_int_equal(read.entry_count, GIVEN);
        store_read_fini(&read);
        assert_in_range(monitor_items(monitor, &servers[0]), GIVEN, GIVEN + 1);
        read = bench_read(bench, "topic:b", way, is_before ? COUNT + 1 : 0, 100, (size_t)GIVEN * LONG);
        assert_int_equal(read.entry_count, 100);
        store_read_fini(&read);
        assert_int_equal(monitor_items(monitor, &servers[0]), 100);
    }
    redisFree(monitor);
    free(payload);
}

/* --- Redis fails ---------------------------------------------------------------------------------------------------------- */

static void a_redis_that_is_away_is_told_at_once_threat_39(void **state)
{
    struct bench *bench = *state;

    bench_publish(bench, HELLO);
    redis_server_kill(&servers[0]);
    await_up(bench->store, false);
    assert_int_equal(bench_publish(bench, HELLO).outcome, APPEND_AWAY);
    struct store_read read = bench_read(bench, "topic:a", READ_AFTER, 0, 10, BYTES_MOST);
    assert_int_equal(read.rc, RC_IO);
    struct store_stats stats;
    bench->store->ops->stats(bench->store, &stats);
    assert_true(stats.is_broken && stats.failure_count > 0 && stats.failure[0] != '\0');
    redis_server_resume(&servers[0]);
    await_up(bench->store, true);
    assert_int_equal(bench_publish(bench, HELLO).outcome, APPEND_DONE);
}

/* A busy machine may take longer than SHORT_MS, so a publish that must succeed is made until it has. Returns how often it was made:
 * each of them may have been written. */
static uint64_t publish_until_done(struct bench *bench, struct published *said)
{
    for (uint64_t count = 1;; count++) {
        await_up(bench->store, true);
        *said = bench_publish(bench, HELLO);
        if (said->outcome == APPEND_DONE)
            return count;
        assert_true(said->outcome == APPEND_BROKEN || said->outcome == APPEND_AWAY);
    }
}

/* It stands while the append is under way: nobody knows whether it is written. On a busy machine its silence may have been noticed before:
 * then the append is refused, and it is paused again. */
static void a_paused_redis_leaves_a_doubt_threat_39(void **state)
{
    struct bench       *bench = *state;
    struct published    said;
    uint64_t            made = 0, seq;
    enum append_outcome outcome;

    do {
        made += publish_until_done(bench, &said);
        seq = said.answer.seq;
        assert_in_range(seq, 1, made);
        redis_server_pause(&servers[0], true);
        outcome = bench_publish(bench, HELLO).outcome;
        redis_server_pause(&servers[0], false);
        made++;
        assert_true(outcome == APPEND_BROKEN || outcome == APPEND_AWAY);
    } while (outcome != APPEND_BROKEN);
    made += publish_until_done(bench, &said);
    assert_in_range(said.answer.seq, seq + 1, made);
    struct store_read info = info_of(bench, "topic:a");
    assert_true(info.epoch == said.answer.epoch);
    assert_in_range(info.head, said.answer.seq, made);
}

static void a_full_redis_refuses_and_recovers(void **state)
{
    struct bench *bench = *state;

    bench_publish(bench, HELLO);
    redis_server_say(&servers[0], "CONFIG SET maxmemory 1");
    assert_int_equal(bench_publish(bench, HELLO).outcome, APPEND_NO_SPACE);
    redis_server_say(&servers[0], "CONFIG SET maxmemory 0");
    assert_int_equal(bench_publish(bench, HELLO).answer.seq, 2);
}

static void a_close_completes_what_waits(void **state)
{
    struct bench *bench = *state;

    redis_server_kill(&servers[0]);
    await_up(bench->store, false);
    bench_shut(bench);
    redis_server_resume(&servers[0]);
}

/* --- several instances ------------------------------------------------------------------------------------------------------ */

static void channels_lie_on_all_instances(void **state)
{
    struct bench *bench = *state;
    enum { COUNT = 60 };
    struct publish   publishes[COUNT];
    struct published said[COUNT];
    char             texts[COUNT][TEXT_BYTES];

    for (size_t i = 0; i < COUNT; i++) {
        snprintf(texts[i], sizeof texts[i], "topic:%02zu", i);
        publishes[i] = (struct publish){ .channel = texts[i], .payload = "p" };
    }
    bench_publish_all(bench, publishes, COUNT, said);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(said[i].outcome, APPEND_DONE);
        for (size_t j = 0; j < i; j++)
            assert_true(said[i].answer.id != said[j].answer.id);
    }
    for (size_t i = 0; i < SERVERS; i++)
        assert_true(redis_server_say(&servers[i], "ZCARD lw:m:names") > 0);
}

static int setup(void **state)
{
    struct bench *bench = malloc(sizeof *bench);

    assert_non_null(bench);
    bench_open(bench, *state);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    bench_close(*state);
    free(*state);
    return 0;
}

int main(void)
{
#define REDIS_TEST(test, maker) { #test, test, setup, teardown, (void *)(uintptr_t)&(maker) }
    const struct CMUnitTest tests[] = {
        REDIS_TEST(seqs_of_two_nodes_are_dense_threat_42, redis_maker),
        REDIS_TEST(a_key_holds_across_nodes, redis_maker),
        REDIS_TEST(what_is_not_kept_is_numbered_all_the_same, redis_maker),
        REDIS_TEST(an_emptied_redis_has_other_epochs_threat_39, redis_maker),
        REDIS_TEST(a_redis_that_lost_its_last_writes_has_other_epochs_threat_39, redis_maker),
        REDIS_TEST(what_was_evicted_begins_anew, redis_maker),
        REDIS_TEST(an_append_finds_that_the_list_was_evicted, redis_maker),
        REDIS_TEST(appends_alone_drop_what_is_too_old, redis_maker),
        REDIS_TEST(what_was_not_used_for_a_day_is_forgotten, redis_maker),
        REDIS_TEST(what_lies_in_redis_stays_as_it_was, redis_maker),
        REDIS_TEST(redis_is_asked_for_a_step_once_a_second, redis_maker),
        REDIS_TEST(a_page_of_long_messages_takes_few, redis_maker),
        REDIS_TEST(no_message_is_looked_at_before_it_may_be_too_old, redis_maker),
        REDIS_TEST(a_redis_that_is_away_is_told_at_once_threat_39, redis_maker),
        REDIS_TEST(a_paused_redis_leaves_a_doubt_threat_39, impatient_maker),
        REDIS_TEST(a_full_redis_refuses_and_recovers, redis_maker),
        REDIS_TEST(a_close_completes_what_waits, redis_maker),
        REDIS_TEST(channels_lie_on_all_instances, several_maker),
    };
    int failed = 0;

    for (size_t i = 0; i < SERVERS; i++) {
        if (!redis_server_start(&servers[i], NULL))
            return 0;
        snprintf(all_urls + strlen(all_urls), sizeof all_urls - strlen(all_urls), "%s%s", i == 0 ? "" : ",", servers[i].url);
    }
    failed += store_battery_run(&redis_maker);
    failed += store_battery_run(&several_maker);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    for (size_t i = 0; i < SERVERS; i++)
        redis_server_stop(&servers[i]);
    return failed;
}
