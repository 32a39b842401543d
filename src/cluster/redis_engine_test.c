/* The engine on Redis: the battery on one instance and on several, and what is Redis's own: processes that die, are paused,
 * are slow, or want a password; routes of the dead that are swept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/must.h"
#include "cluster/engine_battery.h"
#include "cluster/redis_engine.h"
#include "lib/redis_server.h"
#include "store/redis_line.h"

#include <cmocka.h>

enum { SERVERS = 3, URL_BYTES = 512, WHY_BYTES = 200, ANSWER_MS = 20000, SHORT_MS = 300,
       IMPATIENT_MS = 1500,  /* for a Redis that is paused or slow: what must succeed with it is tried again */
       STEADY_MS = 4000,     /* for one that answers now and then, also where the machine is busy */
       TEXT_BYTES = 1024 };

static struct redis_server servers[SERVERS];
static char                all_urls[URL_BYTES];
static int                 secret_port;
static const char         *secret_login;

static struct engine *engine_open(const char *url, msec answer_ms, const struct node_id *self, const struct engine_events *events,
                                  void *ctx)
{
    const struct redis_engine_options options = { .url = url, .self = *self, .events = events, .ctx = ctx,
                                                  .connect_ms = answer_ms == SHORT_MS ? 0 : ANSWER_MS, .answer_ms = answer_ms, .sweep_ms = 1 };
    struct engine *engine = NULL;
    char           why[WHY_BYTES];

    if (redis_engine_open(&options, &engine, why, sizeof why) != RC_OK)
        fail_msg("%s", why);
    return engine;
}

static struct engine *open_one(const struct node_id *self, const struct engine_events *events, void *ctx)
{
    return engine_open(servers[0].url, ANSWER_MS, self, events, ctx);
}

static struct engine *open_impatient(const struct node_id *self, const struct engine_events *events, void *ctx)
{
    return engine_open(servers[0].url, IMPATIENT_MS, self, events, ctx);
}

static struct engine *open_steady(const struct node_id *self, const struct engine_events *events, void *ctx)
{
    return engine_open(servers[0].url, STEADY_MS, self, events, ctx);
}

static struct engine *open_several(const struct node_id *self, const struct engine_events *events, void *ctx)
{
    return engine_open(all_urls, ANSWER_MS, self, events, ctx);
}

static void empty_all(void)
{
    for (size_t i = 0; i < SERVERS; i++)
        redis_server_say(&servers[i], "FLUSHALL");
}

static void kill_first(void)
{
    redis_server_kill(&servers[0]);
}

static void resume_first(void)
{
    redis_server_resume(&servers[0]);
}

static void kill_all(void)
{
    for (size_t i = 0; i < SERVERS; i++)
        redis_server_kill(&servers[i]);
}

static void resume_all(void)
{
    for (size_t i = 0; i < SERVERS; i++)
        redis_server_resume(&servers[i]);
}

static void pause_first(void)
{
    redis_server_pause(&servers[0], true);
}

static void wake_first(void)
{
    redis_server_pause(&servers[0], false);
}

static const struct engine_maker one = { .name = "redis, killed and empty", .open = open_one, .empty = empty_all, .cut = kill_first,
                                         .heal = resume_first };
static const struct engine_maker several = { .name = "redis, three instances", .open = open_several, .empty = empty_all,
                                             .cut = kill_all, .heal = resume_all };
static const struct engine_maker paused = { .name = "redis, paused", .open = open_impatient, .empty = empty_all,
                                            .cut = pause_first, .heal = wake_first, .is_impatient = true };
static const struct engine_maker steady = { .name = "redis, slow", .open = open_steady, .empty = empty_all,
                                            .cut = pause_first, .heal = wake_first, .is_impatient = true };

/* --- what is Redis's own ---------------------------------------------------------------------------------------------- */

static int setup_with(void **state, const struct engine_maker *maker)
{
    struct engine_bench *bench = malloc(sizeof *bench);

    assert_non_null(bench);
    engine_bench_open(bench, maker);
    *state = bench;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, &one);
}

static int setup_impatient(void **state)
{
    return setup_with(state, &paused);
}

static int setup_steady(void **state)
{
    return setup_with(state, &steady);
}

static int teardown(void **state)
{
    engine_bench_close(*state);
    free(*state);
    return 0;
}

static void a_slow_redis_is_a_lost_connection_threat_39(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a     = bench_node_open(bench, "a", 1, 1000);
    size_t               ups   = bench_up_count(a);
    struct bench_call    route = { 0 };
    struct engine_name   name  = { .name = SPAN("topic:x") };

    redis_server_pause(&servers[0], true);
    route.call = (struct engine_call){ .kind = ENGINE_ROUTE, .names = &name, .name_count = 1 };
    bench_submit(a, &route);
    bench_await(&route);
    assert_int_equal(route.call.rc, RC_IO);
    bench_await_down(a, 0);
    redis_server_pause(&servers[0], false);
    bench_await_up(a, ups);
    struct engine_stats stats;
    a->engine->ops->stats(a->engine, &stats);
    assert_true(stats.reconnect_count > 0);
    assert_true(stats.failure_count > 0);
    assert_true(stats.failure[0] != '\0');
}

/* What is under way waits, and is answered. */
static void a_redis_that_stands_for_a_moment_is_silent_threat_39(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a     = bench_node_open(bench, "a", 1, 1000);
    struct bench_call    route = { 0 };
    struct engine_name   name  = { .name = SPAN("topic:x") };
    struct engine_stats  stats;

    redis_server_pause(&servers[0], true);
    route.call = (struct engine_call){ .kind = ENGINE_ROUTE, .names = &name, .name_count = 1 };
    bench_submit(a, &route);
    bench_await_silence(a, 1, 0);
    redis_server_pause(&servers[0], false);
    bench_await(&route);
    assert_int_equal(route.call.rc, RC_OK);
    bench_await_silence(a, 1, 1);
    a->engine->ops->stats(a->engine, &stats);
    assert_int_equal(stats.reconnect_count, 0);
}

static bool is_done(struct bench_call *call)
{
    pthread_mutex_lock(&call->node->bench->lock);
    bool done = call->done_count > 0;
    pthread_mutex_unlock(&call->node->bench->lock);
    return done;
}

/* The calls of a Redis that serves all in turn, and each of them now and then. True: they took longer than the engine waits for an
 * answer, and all were carried out on one connection. */
static bool slow_calls_keep_their_connection(struct bench_node *node)
{
    enum { CALLS = 8, SLEEPS = 12 };
    static char               texts[CALLS * ENGINE_NAMES_MAX][32];
    static struct engine_name names[CALLS * ENGINE_NAMES_MAX];
    struct bench_call         routes[CALLS] = { 0 };
    struct engine_stats       before = { 0 }, after = { 0 };
    bool                      are_done = true, is_long = false;
    const msec                began = redis_now();

    node->engine->ops->stats(node->engine, &before);
    for (size_t i = 0; i < CALLS * ENGINE_NAMES_MAX; i++)
        names[i] = (struct engine_name){ .name = span_of(texts[i], (size_t)snprintf(texts[i], sizeof texts[i], "topic:slow%zu", i)) };
    for (size_t i = 0; i < CALLS; i++) {
        routes[i].call = (struct engine_call){ .kind = ENGINE_ROUTE, .names = &names[i * ENGINE_NAMES_MAX],
                                               .name_count = ENGINE_NAMES_MAX };
        bench_submit(node, &routes[i]);
    }
    for (int i = 0; i < SLEEPS; i++) {  /* between two of them it takes some 16 KB of each connection */
        redis_server_say(&servers[0], "DEBUG SLEEP 0.4");
        is_long = is_long || (redis_now() - began > STEADY_MS && !is_done(&routes[CALLS - 1]));
    }
    for (size_t i = 0; i < CALLS; i++) {
        bench_await(&routes[i]);
        are_done = are_done && routes[i].call.rc == RC_OK;
    }
    node->engine->ops->stats(node->engine, &after);
    return are_done && is_long && after.reconnect_count == before.reconnect_count;
}

/* A new connection would cost all that waits, and make it no faster. An engine that went by the time of the whole would lose it each
 * time; on a busy machine a patient one may lose it now and then. */
static void a_slow_redis_that_answers_keeps_its_connection_threat_39(void **state)
{
    enum { TRIES = 40 };
    struct engine_bench *bench = *state;
    struct bench_node   *a     = bench_node_open(bench, "a", 1, 1000);
    int                  tries = 1;

    while (!slow_calls_keep_their_connection(a)) {
        assert_true(++tries <= TRIES);
        while (bench_route(a, "topic:x", false) != RC_OK)
            continue;
    }
}

/* A frame is under way until its bytes are with the kernel. What Redis would answer is not sent, so a frame wakes nobody on its way back. */
static void frames_are_not_answered(void **state)
{
    enum { FRAMES = 1000, ANSWERS_MAX = 100, ANSWERS_A_SECOND = 4 };  /* a beat has three: of two words, and of the bus */
    struct engine_bench *bench = *state;
    struct bench_node   *a     = bench_node_open(bench, "a", 1, 1000);
    struct engine_stats  before = { 0 }, after = { 0 };
    const msec           began = redis_now();

    a->engine->ops->stats(a->engine, &before);
    for (int i = 0; i < FRAMES; i++) {
        assert_int_equal(bench_send(a, &a->id, SPAN("frame")), RC_OK);
        free(bench_take_frame(a));
    }
    bench_expect_lookup(a, "topic:x", "");  /* the answers of other commands still find them */
    a->engine->ops->stats(a->engine, &after);
    assert_int_equal(after.frames_sent - before.frames_sent, FRAMES);
    assert_int_equal(after.reconnect_count, before.reconnect_count);
    assert_true(after.answer_count - before.answer_count < (uint64_t)(ANSWERS_MAX + (redis_now() - began) / 1000 * ANSWERS_A_SECOND));
}

/* Without any call: the beat finds both within two seconds. */
static void a_flush_and_a_restart_are_noticed_by_themselves_threat_39(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a     = bench_node_open(bench, "a", 1, 1000);
    uint64_t             life  = bench_life(a);

    for (size_t round = 0; round < 2; round++) {
        size_t ups = bench_up_count(a);
        if (round == 0)
            empty_all();
        else {
            redis_server_kill(&servers[0]);
            redis_server_resume(&servers[0]);
        }
        assert_int_not_equal(bench_await_up(a, ups), life);
        life = bench_life(a);
    }
}

/* A connection that is cut alone does not change the life. */
static void a_cut_connection_is_the_same_life(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a     = bench_node_open(bench, "a", 1, 1000);
    uint64_t             life  = bench_life(a);
    size_t               ups   = bench_up_count(a);

    redis_server_say(&servers[0], "CLIENT KILL TYPE normal");
    assert_int_equal(bench_await_up(a, ups), life);
    ups = bench_up_count(a);
    redis_server_say(&servers[0], "CLIENT KILL TYPE pubsub");
    assert_int_equal(bench_await_up(a, ups), life);
}

/* A route that was added before a lease ran out counts under another round, so nobody's sweep can take the new one. */
static void a_lease_that_ran_out_begins_another_round_threat_43(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a     = bench_node_open(bench, "a", 1, 1000);

    assert_int_equal(bench_lease(a, "a", BENCH_LEASE_MS), RC_OK);
    assert_int_equal(bench_route(a, "topic:x", false), RC_OK);
    redis_server_say(&servers[0], "DEL lw:lease:a");
    assert_int_equal(bench_lease(a, "a", BENCH_LEASE_MS), RC_OK);
    assert_true(a->is_lease_new);
    assert_int_equal(bench_route(a, "topic:x", false), RC_OK);
    assert_int_equal(redis_server_say(&servers[0], "SCARD lw:r:topic:x"), 2);
    bench_expect_lookup(a, "topic:x", "a:1");
    assert_int_equal(bench_route(a, "topic:x", true), RC_OK);
    assert_int_equal(redis_server_say(&servers[0], "SCARD lw:r:topic:x"), 1);
}

static void what_others_put_there_is_passed_over(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a     = bench_node_open(bench, "a", 1, 1000);

    redis_server_say(&servers[0], "SADD lw:r:topic:x garbage a# #1 a#zzzzzzzzzzzzzzzz.00000000");
    redis_server_say(&servers[0], "SADD lw:names b c");
    redis_server_say(&servers[0], "SET lw:lease:b garbage PX 60000");
    redis_server_say(&servers[0], "SET lw:r:topic:y text");
    bench_expect_lookup(a, "topic:x", "");
    bench_expect_nodes(a, "");
    assert_int_equal(redis_server_say(&servers[0], "SISMEMBER lw:names c"), 0);
    assert_int_equal(bench_route(a, "topic:y", false), RC_IO);
    assert_int_equal(bench_route(a, "topic:z", false), RC_OK);
}

static void a_cluster_takes_so_many_nodes_and_no_more(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a     = bench_node_open(bench, "a", 1, 1000);

    for (int i = 0; i < NODES_MAX; i++) {
        redis_server_say(&servers[0], "SADD lw:names n%d", i);
        redis_server_say(&servers[0], "SET lw:lease:n%d %d", i, i);
    }
    assert_int_equal(bench_lease(a, "a", BENCH_LEASE_MS), RC_FULL);
    redis_server_say(&servers[0], "DEL lw:lease:n7");
    assert_int_equal(bench_lease(a, "a", BENCH_LEASE_MS), RC_OK);
}

static struct engine *open_secret(const struct node_id *self, const struct engine_events *events, void *ctx)
{
    char url[URL_BYTES];

    snprintf(url, sizeof url, "redis://%s@127.0.0.1:%d/3", secret_login, secret_port);
    return engine_open(url, ANSWER_MS, self, events, ctx);
}

static void a_replica_that_takes_no_writes_is_of_no_use_threat_39(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a     = bench_node_open(bench, "a", 1, 1000);
    size_t               ups   = bench_up_count(a);

    redis_server_say(&servers[0], "REPLICAOF 127.0.0.1 1");
    bench_await_down(a, 0);
    assert_int_equal(bench_lease(a, "a", BENCH_LEASE_MS), RC_IO);
    redis_server_say(&servers[0], "REPLICAOF NO ONE");
    bench_await_up(a, ups);
    assert_int_equal(bench_lease(a, "a", BENCH_LEASE_MS), RC_OK);
}

/* Node b dies without a word. Node a meets its route in look-ups, and removes it. */
static void routes_of_the_dead_are_swept_threat_37(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a = bench_node_open(bench, "a", 1, 1000), *b = bench_node_open(bench, "b", 2, 1000);

    assert_int_equal(bench_lease(a, "a", BENCH_LEASE_MS), RC_OK);
    assert_int_equal(bench_lease(b, "b", SHORT_MS), RC_OK);
    assert_int_equal(bench_route(a, "topic:x", false), RC_OK);
    assert_int_equal(bench_route(b, "topic:x", false), RC_OK);
    bench_expect_nodes(a, "a:1=a");
    while (redis_server_say(&servers[0], "SCARD lw:r:topic:x") > 1) {
        char told[TEXT_BYTES];
        bench_lookup(a, "topic:x", told, sizeof told);
        bench_nodes(a, told, sizeof told);
        assert_string_equal(told, "a:1=a");
    }
    bench_expect_lookup(a, "topic:x", "a:1");
}

/* --- what is no Redis --------------------------------------------------------------------------------------------------- */

static struct sockaddr_un fake_at = { .sun_family = AF_UNIX };
static const char        *fake_says;

static struct engine *open_fake(const struct node_id *self, const struct engine_events *events, void *ctx)
{
    char url[URL_BYTES];

    snprintf(url, sizeof url, "unix://%s", fake_at.sun_path);
    return engine_open(url, SHORT_MS, self, events, ctx);
}

/* Says its text to whoever connects, twice, and listens no more. */
static void *fake_run(void *ctx)
{
    int listener = *(int *)ctx;

    for (int i = 0; i < 2; i++) {
        int     fd = accept(listener, NULL, NULL);
        char    bytes[TEXT_BYTES];
        ssize_t count = fd < 0 ? 0 : send(fd, fake_says, strlen(fake_says), MSG_NOSIGNAL);
        while (count > 0)
            count = recv(fd, bytes, sizeof bytes, 0);
        close(fd);
    }
    return NULL;
}

static void what_is_no_redis_is_a_lost_connection_threat_39(void **state)
{
    static const struct engine_maker maker = { .name = "no redis", .open = open_fake, .empty = empty_all };
    static const char *const         texts[] = {
        "HTTP/1.1 400 Bad Request\r\n\r\n", "$-7\r\n", "*-7\r\n", "+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n",
        ":1\r\n:2\r\n:3\r\n:4\r\n:5\r\n:6\r\n", "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", "", "\xff\xfe",
        "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n", "-ERR max number of clients reached\r\n", "*0\r\n*0\r\n*0\r\n*0\r\n*0\r\n*0\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct engine_bench bench;
        pthread_t           thread;
        int                 listener = socket(AF_UNIX, SOCK_STREAM, 0);
        fake_says = texts[i];
        snprintf(fake_at.sun_path, sizeof fake_at.sun_path, "%s/fake", servers[0].dir);
        unlink(fake_at.sun_path);
        must(bind(listener, (struct sockaddr *)&fake_at, sizeof fake_at) == 0 && listen(listener, 8) == 0);
        must(pthread_create(&thread, NULL, fake_run, &listener) == 0);
        engine_bench_open(&bench, &maker);
        struct bench_node *a = &bench.nodes[bench.node_count++];
        *a                   = (struct bench_node){ .bench = &bench, .id = { .name = "a", .incarnation = 1 } };
        a->engine            = open_fake(&a->id, &bench_events, a);
        bench_await_down(a, 0);
        must(pthread_join(thread, NULL) == 0);
        assert_int_equal(bench_up_count(a), 0);
        assert_int_equal(bench_lease(a, "a", BENCH_LEASE_MS), RC_IO);
        engine_bench_close(&bench);
        close(listener);
    }
}

static void a_password_and_a_database_are_used(void **state)
{
    static const struct engine_maker maker = { .name = "redis with a password", .open = open_secret, .empty = empty_all };
    struct redis_server              secret;
    struct engine_bench              bench;

    (void)state;
    secret_login = ":hunter2";
    assert_true(redis_server_start(&secret, "hunter2"));
    secret_port = redis_server_open_port(&secret);
    engine_bench_open(&bench, &maker);
    struct bench_node *a = bench_node_open(&bench, "a", 1, 1000);
    assert_int_equal(bench_lease(a, "a", BENCH_LEASE_MS), RC_OK);
    bench_expect_nodes(a, "a:1=a");
    assert_int_equal(redis_server_say(&secret, "EXISTS lw:lease:a"), 0);
    /* Another password: the connection is lost, and what is said of it does not tell it. */
    redis_server_say(&secret, "CONFIG SET requirepass other");
    secret.password = "other";
    redis_server_say(&secret, "CLIENT KILL TYPE normal SKIPME yes");
    bench_await_down(a, 0);
    struct engine_stats stats = { 0 };
    do
        a->engine->ops->stats(a->engine, &stats);
    while (strstr(stats.failure, "WRONGPASS") == NULL);
    assert_null(strstr(stats.failure, "hunter2"));
    engine_bench_close(&bench);
    redis_server_stop(&secret);
}

/* The rights that docs/operations.md names are enough. */
static void a_user_with_few_rights_is_enough(void **state)
{
    static const struct engine_maker maker = { .name = "redis with a user", .open = open_secret, .empty = empty_all };
    struct redis_server              secret;
    struct engine_bench              bench;

    (void)state;
    secret_login = "longwire:few";
    assert_true(redis_server_start(&secret, "hunter2"));
    secret_port = redis_server_open_port(&secret);
    redis_server_say(&secret, "ACL SETUSER longwire on >few ~lw:* &lw:b:* +@read +@write +@connection +@pubsub +@scripting"
                              " -@dangerous +info");
    engine_bench_open(&bench, &maker);
    struct bench_node *a = bench_node_open(&bench, "a", 1, 1000);
    assert_int_equal(bench_lease(a, "a", BENCH_LEASE_MS), RC_OK);
    bench_expect_nodes(a, "a:1=a");
    assert_int_equal(bench_route(a, "topic:x", false), RC_OK);
    bench_expect_lookup(a, "topic:x", "a:1");
    assert_int_equal(bench_send(a, &a->id, SPAN("hello")), RC_OK);
    free(bench_take_frame(a));
    assert_int_equal(bench_leave(a), RC_OK);
    engine_bench_close(&bench);
    redis_server_stop(&secret);
}

/* What Redis says of a frame is not heard, so what it would always refuse is found when the connection is made. */
static void a_user_who_may_not_send_frames_is_told_so(void **state)
{
    static const struct engine_maker maker = { .name = "redis with too few rights", .open = open_secret, .empty = empty_all };
    static const struct { const char *name, *channels, *more, *why; } rows[] = {
        { "the bus channel of this node alone", "&lw:b:0000000000000001", "+@all", "NOPERM" },
        { "no CLIENT", "&lw:b:*", "-client", "NOPERM" },
        { "enough", "&lw:b:*", "+@all", "" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct redis_server secret;
        struct engine_bench bench;
        struct engine_stats stats = { 0 };
        secret_login = "longwire:few";
        assert_true(redis_server_start(&secret, "hunter2"));
        secret_port = redis_server_open_port(&secret);
        redis_server_say(&secret, "ACL SETUSER longwire on >few ~lw:* %s +@all %s", rows[i].channels, rows[i].more);
        engine_bench_open(&bench, &maker);
        struct bench_node *a = &bench.nodes[bench.node_count++];
        *a                   = (struct bench_node){ .bench = &bench, .id = { .name = "a", .incarnation = 1 } };
        a->engine            = open_secret(&a->id, &bench_events, a);
        if (rows[i].why[0] == '\0') {
            bench_await_up(a, 0);
            assert_int_equal(bench_send(a, &a->id, SPAN("frame")), RC_OK);
            free(bench_take_frame(a));
        } else {
            bench_await_down(a, 0);
            a->engine->ops->stats(a->engine, &stats);
            if (strstr(stats.failure, rows[i].why) == NULL)
                fail_msg("%s: %s", rows[i].name, stats.failure);
            assert_int_equal(bench_up_count(a), 0);
        }
        engine_bench_close(&bench);
        redis_server_stop(&secret);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_slow_redis_is_a_lost_connection_threat_39, setup_impatient, teardown),
        cmocka_unit_test_setup_teardown(a_redis_that_stands_for_a_moment_is_silent_threat_39, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slow_redis_that_answers_keeps_its_connection_threat_39, setup_steady, teardown),
        cmocka_unit_test_setup_teardown(frames_are_not_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(a_flush_and_a_restart_are_noticed_by_themselves_threat_39, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cut_connection_is_the_same_life, setup, teardown),
        cmocka_unit_test_setup_teardown(a_lease_that_ran_out_begins_another_round_threat_43, setup, teardown),
        cmocka_unit_test_setup_teardown(what_others_put_there_is_passed_over, setup, teardown),
        cmocka_unit_test_setup_teardown(a_replica_that_takes_no_writes_is_of_no_use_threat_39, setup, teardown),
        cmocka_unit_test_setup_teardown(routes_of_the_dead_are_swept_threat_37, setup, teardown),
        cmocka_unit_test(what_is_no_redis_is_a_lost_connection_threat_39),
        cmocka_unit_test(a_password_and_a_database_are_used),
        cmocka_unit_test(a_user_with_few_rights_is_enough),
        cmocka_unit_test(a_user_who_may_not_send_frames_is_told_so),
        cmocka_unit_test_setup_teardown(a_cluster_takes_so_many_nodes_and_no_more, setup, teardown),
    };
    int failed = 0;

    for (size_t i = 0; i < SERVERS; i++) {
        if (!redis_server_start(&servers[i], NULL))
            return 0;
        snprintf(all_urls + strlen(all_urls), sizeof all_urls - strlen(all_urls), "%s%s", i == 0 ? "" : ",", servers[i].url);
    }
    failed += engine_battery_run(&one);
    failed += engine_battery_run(&several);
    failed += engine_battery_run(&paused);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    for (size_t i = 0; i < SERVERS; i++)
        redis_server_stop(&servers[i]);
    return failed;
}
