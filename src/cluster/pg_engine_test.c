/* The engine on PostgreSQL: the battery over a crash and over a database that is stopped in its tracks, and what is its own. */
#include <dirent.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "cluster/engine_battery.h"
#include "cluster/pg_engine.h"
#include "store/pg_battery.h"

#include <cmocka.h>

enum { WHY_BYTES = 200, ANSWER_MS = 20000, SHORT_MS = 1500, PIDS_MAX = 128, FRAME_BYTES = 100000, FRAMES = 40, DEADLINE_S = 880, TRIES_MAX = 10 };

static struct engine *open_at(const char *url, msec answer_ms, const struct node_id *self, const struct engine_events *events,
                              void *ctx)
{
    const struct pg_engine_options options = { .url = url, .self = *self, .events = events, .ctx = ctx, .connect_ms = ANSWER_MS,
                                              .answer_ms = answer_ms };
    struct engine                 *engine  = NULL;
    char                           why[WHY_BYTES];

    if (pg_engine_open(&options, &engine, why, sizeof why) != RC_OK)
        fail_msg("%s", why);
    return engine;
}

static struct engine *open_direct(const struct node_id *self, const struct engine_events *events, void *ctx)
{
    return open_at(engine_url(), ANSWER_MS, self, events, ctx);
}

static struct engine *open_impatient(const struct node_id *self, const struct engine_events *events, void *ctx)
{
    return open_at(engine_url(), SHORT_MS, self, events, ctx);
}

static void empty(void)
{
    engine_sql("truncate longwire.cluster_life, longwire.cluster_lease, longwire.cluster_route, longwire.cluster_mail");
}

/* The one that takes new connections, and all that it has started. */
static pid_t  paused_pids[PIDS_MAX];
static size_t paused_count;

/* Its state ("X" if it is gone), and who has started it. */
static pid_t process_of(pid_t pid, char *ret_state)
{
    char  path[64], state = 'X';
    int   parent = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    file = fopen(path, "r");
    if (file != NULL && fscanf(file, "%*d (%*[^)]) %c %d", &state, &parent) != 2)
        state = 'X';
    if (file != NULL)
        fclose(file);
    *ret_state = state;
    return parent;
}

/* True also if it has ended. It has one thread. */
static bool is_stopped(pid_t pid)
{
    char state;

    (void)process_of(pid, &state);
    return strchr("TtZX", state) != NULL;
}

static void pause_one(pid_t pid)
{
    must(paused_count < PIDS_MAX && kill(pid, SIGSTOP) == 0);
    paused_pids[paused_count++] = pid;
    while (!is_stopped(pid))
        sched_yield();
}

/* First the one that takes new connections: meanwhile none comes that is not seen, and of one that ends the number is not given
 * away, because nobody asks how it ended. A connection that has just begun is not in pg_stat_activity yet. */
static void pause_all(void)
{
    const pid_t first     = (pid_t)engine_sql("select split_part(pg_read_file('postmaster.pid'), E'\\n', 1)");
    DIR        *processes = opendir("/proc");
    char        state;

    must(processes != NULL);
    paused_count = 0;
    pause_one(first);
    for (struct dirent *entry; (entry = readdir(processes)) != NULL;)
        if (atoi(entry->d_name) > 0 && process_of(atoi(entry->d_name), &state) == first)
            pause_one(atoi(entry->d_name));
    closedir(processes);
}

/* Last the one that asks how the others ended: until then all of them are there. */
static void wake_all(void)
{
    while (paused_count > 0)
        must(kill(paused_pids[--paused_count], SIGCONT) == 0);
}

static const struct engine_maker crashed = { .name = "postgres, crashed", .open = open_direct, .empty = empty, .cut = engine_crash,
                                             .heal = engine_resume };
static const struct engine_maker paused = { .name = "postgres, paused", .open = open_impatient, .empty = empty, .cut = pause_all,
                                            .heal = wake_all, .is_impatient = true };

/* --- what is PostgreSQL's own --------------------------------------------------------------------------------------------- */

static int setup(void **state)
{
    struct engine_bench *bench = malloc(sizeof *bench);

    must(bench != NULL);
    engine_bench_open(bench, &crashed);
    *state = bench;
    return 0;
}

static int teardown(void **state)
{
    engine_bench_close(*state);
    free(*state);
    return 0;
}

/* Through notices and through rows, mixed: they come in one order, and no row stays. */
static void long_and_short_frames_keep_their_order(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a = bench_node_open(bench, "a", 1, 1000), *b = bench_node_open(bench, "b", UINT64_MAX, 1000);
    char                *bytes = calloc(1, FRAME_BYTES);
    struct bench_call    calls[FRAMES];

    for (size_t i = 0; i < FRAMES; i++) {
        size_t len = (size_t[]){ 1, FRAME_BYTES, 3000, 5700, 5701 }[i % 5];
        calls[i]   = (struct bench_call){ .call = { .kind = ENGINE_SEND, .to = b->id, .frame = span_of(bytes, len) } };
        bench_submit(a, &calls[i]);
    }
    for (size_t i = 0; i < FRAMES; i++) {
        struct bench_frame *frame = bench_take_frame(b);
        assert_int_equal(frame->len, calls[i].call.frame.len);
        free(frame);
    }
    for (size_t i = 0; i < FRAMES; i++)
        bench_await(&calls[i]);
    assert_int_equal(engine_sql("select count(*) from longwire.cluster_mail"), 0);
    free(bytes);
}

static void what_others_notify_is_passed_over(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a     = bench_node_open(bench, "a", 1, 1000);
    static const char *const notices[] = { "", "nonsense", "1", "1x", "1f", "1f $$$", "1f AAA", "1m", "1m-5", "1mx",
                                           "1m9223372036854775807", "0f AAAA" };

    for (size_t i = 0; i < sizeof notices / sizeof notices[0]; i++) {
        char sql[WHY_BYTES];
        snprintf(sql, sizeof sql, "notify longwire_0000000000000001, '%s'", notices[i]);
        engine_sql(sql);
    }
    assert_int_equal(bench_send(a, &a->id, SPAN("mine")), RC_OK);
    struct bench_frame *frame = bench_take_frame(a);
    assert_true(span_eq(span_of(frame->bytes, frame->len), SPAN("mine")));
    free(frame);
}

/* Frames for one node that wait together are one notice; a transaction carries those of several nodes. */
static void frames_that_wait_together_leave_together(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a = bench_node_open(bench, "a", 1, 1000), *b = bench_node_open(bench, "b", 2, 1000);
    struct bench_call    calls[1000];
    struct engine_stats  stats;

    pause_all();
    for (size_t i = 0; i < 1000; i++) {
        calls[i] = (struct bench_call){ .call = { .kind = ENGINE_SEND, .to = b->id, .frame = SPAN("ten  bytes") } };
        bench_submit(a, &calls[i]);
    }
    wake_all();
    for (size_t i = 0; i < 1000; i++)
        free(bench_take_frame(b));
    for (size_t i = 0; i < 1000; i++)
        bench_await(&calls[i]);
    a->engine->ops->stats(a->engine, &stats);
    assert_int_equal(stats.frames_sent, 1000);
    assert_true(stats.answer_count < 500);
}

/* Node a is dead for a second when b renews its lease, or for as long as that took. True: its route is there. */
static bool the_newly_dead_keep_their_route(struct bench_node *a, struct bench_node *b)
{
    bench_lease(a, "a", BENCH_LEASE_MS);
    bench_route(a, "topic:x", false);
    engine_sql("update longwire.cluster_lease set until = now() - interval '1 second' where name = 'a'");
    bench_lease(b, "b", BENCH_LEASE_MS);
    bench_expect_lookup(b, "topic:x", "b:2");
    return engine_sql("select count(*) from longwire.cluster_route") == 2;
}

static void what_the_dead_leave_is_swept(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a = bench_node_open(bench, "a", 1, 1000), *b = bench_node_open(bench, "b", 2, 1000);
    int                  tries = 1;

    bench_lease(b, "b", BENCH_LEASE_MS);
    bench_route(b, "topic:x", false);
    engine_sql("insert into longwire.cluster_mail (frame, sent) values ('x', now() - interval '61 seconds')");
    /* It is kept for ten seconds, which a busy machine may once need until the next lease. */
    while (!the_newly_dead_keep_their_route(a, b))
        assert_true(++tries <= TRIES_MAX);
    assert_int_equal(engine_sql("select count(*) from longwire.cluster_mail"), 0);
    engine_sql("update longwire.cluster_lease set until = now() - interval '11 seconds' where name = 'a'");
    bench_lease(b, "b", BENCH_LEASE_MS);
    assert_int_equal(engine_sql("select count(*) from longwire.cluster_route"), 1);
    bench_lease(a, "a", BENCH_LEASE_MS);
    assert_true(a->is_lease_new);
    bench_route(a, "topic:x", false);
    bench_expect_lookup(b, "topic:x", "a:1 b:2");
}

/* Somebody holds the lock of leases for three seconds: shorter than the engine waits for an answer. */
static void a_lock_is_waited_for_as_long_as_answers_are(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a     = bench_node_open(bench, "a", 1, 1000);
    struct bench_call    lease = { .call = { .kind = ENGINE_LEASE, .record = SPAN("a"), .started = 1000, .lease_ms = BENCH_LEASE_MS } };

    engine_hold("select pg_advisory_xact_lock(1281053266, -4)");
    bench_submit(a, &lease);
    engine_sql("select count(pg_sleep(3))");
    engine_let_go();
    bench_await(&lease);
    assert_int_equal(lease.call.rc, RC_OK);
}

/* The answer of a look-up keeps the engine's thread for longer than the engine waits for an answer; that of the frame, which waited for
 * a lock, comes meanwhile. */
static void dawdle_done(void *ctx, struct engine_call *call)
{
    if (call->kind == ENGINE_LOOKUP) {
        engine_let_go();
        for (int i = 0; i < TRIES_MAX && engine_sql("select count(*) from longwire.cluster_mail") == 0; i++)
            engine_sql("select count(pg_sleep(0.1))");
        engine_sql("select count(pg_sleep(2))");
    }
    bench_events.done(ctx, call);
}

static struct engine *open_dawdling(const struct node_id *self, const struct engine_events *events, void *ctx)
{
    static struct engine_events dawdling;

    dawdling      = *events;
    dawdling.done = dawdle_done;
    return open_at(engine_url(), SHORT_MS, self, &dawdling, ctx);
}

static bool frame_is_answered_meanwhile(struct bench_node *node, struct span frame)
{
    struct engine_name name   = { .name = SPAN("topic:x") };
    struct bench_call  send   = { .call = { .kind = ENGINE_SEND, .to = node->id, .frame = frame } };
    struct bench_call  lookup = { .call = { .kind = ENGINE_LOOKUP, .names = &name, .name_count = 1 } };

    engine_hold("lock table longwire.cluster_mail in access exclusive mode");
    bench_submit(node, &send);
    bench_submit(node, &lookup);
    bench_await(&lookup);
    bench_await(&send);
    engine_call_fini(&lookup.call);
    return send.call.rc == RC_OK;
}

/* On a busy machine the frame may wait for the lock for too long: then there is another one. */
static void an_answer_that_came_is_not_late(void **state)
{
    static const struct engine_maker dawdling = { .name = "postgres, heard late", .open = open_dawdling, .empty = empty };
    struct engine_bench              bench;
    char                            *bytes = calloc(1, FRAME_BYTES);
    int                              tries = 1;

    (void)state;
    must(bytes != NULL);
    engine_bench_open(&bench, &dawdling);
    struct bench_node *a = bench_node_open(&bench, "a", 1, 1000);
    while (!frame_is_answered_meanwhile(a, span_of(bytes, FRAME_BYTES))) {
        assert_true(++tries <= TRIES_MAX);
        while (bench_route(a, "topic:x", false) != RC_OK)
            continue;
    }
    engine_bench_close(&bench);
    free(bytes);
}

static void too_many_nodes_are_refused(void **state)
{
    struct engine_bench *bench = *state;
    struct bench_node   *a     = bench_node_open(bench, "a", 1, 1000);

    engine_sql("insert into longwire.cluster_lease select 'n' || n, -n, 1, '', now() + interval '1 hour'"
               " from generate_series(1, 1024) n");
    assert_int_equal(bench_lease(a, "a", BENCH_LEASE_MS), RC_FULL);
    engine_sql("delete from longwire.cluster_lease where name = 'n1'");
    assert_int_equal(bench_lease(a, "a", BENCH_LEASE_MS), RC_OK);
    engine_sql("delete from longwire.cluster_lease where name <> 'a'");
}

static void a_url_that_libpq_can_not_read_is_refused(void **state)
{
    struct engine                 *engine  = NULL;
    const struct pg_engine_options options = { .url = "postgres://u:secret%zz@h/d" };
    char                           why[WHY_BYTES];

    (void)state;
    assert_int_equal(pg_engine_open(&options, &engine, why, sizeof why), RC_BAD);
    assert_null(strstr(why, "secret"));
}

int main(int argc, char **argv)
{
    if (argc == 2)
        cmocka_set_test_filter(argv[1]);
    if (!engine_start())
        return 0;
    alarm(DEADLINE_S);
    engine_clear();
    int failed = engine_battery_run(&crashed) + engine_battery_run(&paused);
#define ENGINE_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        ENGINE_TEST(long_and_short_frames_keep_their_order),
        ENGINE_TEST(what_others_notify_is_passed_over),
        ENGINE_TEST(frames_that_wait_together_leave_together),
        ENGINE_TEST(what_the_dead_leave_is_swept),
        ENGINE_TEST(a_lock_is_waited_for_as_long_as_answers_are),
        cmocka_unit_test(an_answer_that_came_is_not_late),
        ENGINE_TEST(too_many_nodes_are_refused),
        cmocka_unit_test(a_url_that_libpq_can_not_read_is_refused),
    };
#undef ENGINE_TEST
    failed += cmocka_run_group_tests_name("postgres, its own", tests, NULL, NULL);
    engine_stop();
    return failed;
}
