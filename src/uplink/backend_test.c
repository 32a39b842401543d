/* A back end: places, queue, retries, circuits, cancelling, times; and what holds whatever happens. The port is this test, and
 * time is moved by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "uplink/backends.h"

#include <cmocka.h>

enum { CALLS_MAX = 4096 };

struct sent_call { struct fetch_call *fetch; void *owner; bool is_cancelled; };

static struct {
    struct backends  set;
    struct backend  *backend;
    msec             now;
    struct sent_call sent[CALLS_MAX];  /* with the port */
    size_t           sent_count;
    size_t           done_count;
    size_t           room;
    char             last_url[256];
    struct rng       random;
} stage;

struct test_call {
    struct backend_call call;
    unsigned            done;
};

static bool port_send(void *ctx, struct fetch_call *fetch, void *owner)
{
    (void)ctx;
    if (stage.sent_count >= stage.room)
        return false;
    stage.sent[stage.sent_count++] = (struct sent_call){ fetch, owner, false };
    snprintf(stage.last_url, sizeof stage.last_url, "%s", fetch->url);
    return true;
}

static void port_cancel(void *ctx, struct fetch_call *fetch)
{
    (void)ctx;
    for (size_t i = 0; i < stage.sent_count; i++)
        if (stage.sent[i].fetch == fetch) {
            stage.sent[i].is_cancelled = true;
            return;
        }
    fail_msg("what was not sent is cancelled");
}

static const struct backend_port port = { .send = port_send, .cancel = port_cancel };

static const struct backend_limits limits = {
    .timeout_ms = 10000, .connect_timeout_ms = 3000, .connections_max = 4, .requests_max = 6, .retries = 2,
};

static void set_urls(size_t count, const struct backend_limits *want)
{
    static const char *const urls[] = { "http://a", "http://b", "http://c" };
    struct backend_setup     setup  = { .name = SPAN("shop"), .url_count = count, .limits = *want };

    for (size_t i = 0; i < count; i++)
        setup.urls[i] = span_str(urls[i]);
    backends_set(&stage.set, &setup, 1);
    stage.backend = backends_find(&stage.set, SPAN("shop"));
}

static void turn(msec later)
{
    stage.now += later;
    backends_turn_begin(&stage.set, stage.now);
    backends_turn_end(&stage.set);
}

static void open_stage(size_t urls)
{
    memset(&stage, 0, sizeof stage);
    stage.now  = 1000000;
    stage.room = CALLS_MAX;
    backends_init(&stage.set, &port, NULL, 7);
    backends_turn_begin(&stage.set, stage.now);
    set_urls(urls, &limits);
}

static void close_stage(void)
{
    assert_true(backends_are_idle(&stage.set));
    backends_fini(&stage.set);
}

static void on_done(struct backend_call *call)
{
    struct test_call *test = container_of(call, struct test_call, call);

    test->done++;
    stage.done_count++;
    fetch_call_free(call->fetch);
}

static void send(struct test_call *test)
{
    *test = (struct test_call){ .call = { .fetch = fetch_call_new("GET", SPAN("")), .target = "/x?y=1", .done = on_done } };
    backends_send(&stage.set, SPAN("shop"), &test->call);
}

/* The port brings back the call that it was sent as number `at` of those that it has. */
static void bring_back(size_t at, enum fetch_outcome outcome, unsigned status, bool is_sent)
{
    struct sent_call sent = stage.sent[at];

    assert_true(at < stage.sent_count);
    memmove(&stage.sent[at], &stage.sent[at + 1], (stage.sent_count - at - 1) * sizeof sent);
    stage.sent_count--;
    sent.fetch->outcome = outcome;
    sent.fetch->status  = status;
    sent.fetch->is_sent = is_sent;
    backend_take(sent.owner, stage.now);
}

static uint64_t count_of(const struct counter *counter)
{
    return counter_get(counter);
}

#define COUNTERS backend_counters(stage.backend)

/* --- places ------------------------------------------------------------------------------------------------------ */

static void calls_go_to_the_addresses_in_turn(void **state)
{
    (void)state;
    struct test_call calls[3];
    unsigned         seen = 0;

    open_stage(3);
    for (size_t i = 0; i < 3; i++) {
        send(&calls[i]);
        turn(0);
        assert_string_equal(stage.last_url + 8, "/x?y=1");
        seen |= 1u << (stage.last_url[7] - 'a');
    }
    assert_int_equal(seen, 7);
    for (size_t i = 0; i < 3; i++)
        bring_back(0, FETCH_ANSWERED, 200, true);
    turn(1);
    for (size_t i = 0; i < 3; i++)
        assert_true(calls[i].done == 1 && calls[i].call.outcome == BACKEND_ANSWERED && calls[i].call.tries == 1);
    assert_int_equal(count_of(&COUNTERS->statuses[2]), 3);
    assert_int_equal(count_of(&COUNTERS->took[0]), 3);
    assert_int_equal(count_of(&COUNTERS->took_count), 3);
    close_stage();
}

static void what_has_no_place_waits_in_line_and_the_line_ends(void **state)
{
    (void)state;
    struct test_call calls[13];

    open_stage(1);
    for (size_t i = 0; i < 13; i++)
        send(&calls[i]);
    turn(0);
    assert_int_equal(stage.sent_count, 4);  /* connections_max */
    assert_true(calls[12].done == 1 && calls[12].call.outcome == BACKEND_FULL && !calls[12].call.is_sent);
    assert_int_equal(count_of(&COUNTERS->waiting), 8);
    assert_int_equal(count_of(&COUNTERS->in_flight), 4);
    bring_back(2, FETCH_ANSWERED, 200, true);
    turn(1);
    assert_int_equal(stage.sent_count, 4);
    assert_ptr_equal(stage.sent[3].owner, &calls[4].call);  /* the first that came */
    turn(limits.timeout_ms);  /* those that wait have no time left; those under way are the port's */
    for (size_t i = 5; i < 12; i++)
        assert_true(calls[i].done == 1 && calls[i].call.outcome == BACKEND_FULL);
    while (stage.sent_count > 0)
        bring_back(0, FETCH_TIMEOUT, 0, true);
    turn(0);
    assert_true(calls[0].done == 1 && calls[0].call.outcome == BACKEND_TIMEOUT && calls[0].call.is_sent);
    close_stage();
}

static void one_connection_is_enough_where_it_is_shared(void **state)
{
    (void)state;
    struct test_call calls[8];

    open_stage(1);
    send(&calls[0]);
    turn(0);
    stage.sent[0].fetch->is_multiplexed = true;
    bring_back(0, FETCH_ANSWERED, 200, true);
    for (size_t i = 1; i < 8; i++)
        send(&calls[i]);
    turn(0);
    assert_int_equal(stage.sent_count, 6);  /* requests_max */
    while (stage.sent_count > 0) {
        bring_back(0, FETCH_ANSWERED, 200, true);
        turn(0);
    }
    close_stage();
}

static void a_call_ends_at_its_deadline_or_the_back_ends(void **state)
{
    (void)state;
    struct test_call calls[3];

    open_stage(1);
    for (size_t i = 0; i < 3; i++) {
        calls[i] = (struct test_call){ .call = { .fetch = fetch_call_new("GET", SPAN("")), .target = "", .done = on_done } };
        calls[i].call.deadline = i == 0 ? 0 : i == 1 ? stage.now + 500 : stage.now + 999999;
        backends_send(&stage.set, SPAN("shop"), &calls[i].call);
    }
    turn(0);
    assert_int_equal(stage.sent[0].fetch->timeout_ms, 10000);
    assert_int_equal(stage.sent[1].fetch->timeout_ms, 500);
    assert_int_equal(stage.sent[2].fetch->timeout_ms, 10000);
    assert_string_equal(stage.sent[0].fetch->url, "http://a");
    while (stage.sent_count > 0)
        bring_back(0, FETCH_ANSWERED, 204, true);
    turn(0);
    close_stage();
}

/* --- retries ------------------------------------------------------------------------------------------------------ */

/* threat 59: what may have been carried out is not sent again. */
static void only_what_was_not_sent_is_sent_elsewhere(void **state)
{
    (void)state;
    static const struct { enum fetch_outcome outcome; bool is_sent, is_repeatable; enum backend_outcome end; unsigned tries; } rows[] = {
        { FETCH_UNREACHABLE, false, false, BACKEND_UNREACHABLE, 3 },
        { FETCH_TIMEOUT, false, false, BACKEND_TIMEOUT, 3 },
        { FETCH_TIMEOUT, true, false, BACKEND_TIMEOUT, 1 },
        { FETCH_GARBAGE, true, false, BACKEND_GARBAGE, 1 },
        { FETCH_GARBAGE, true, true, BACKEND_GARBAGE, 3 },
        { FETCH_TOO_LARGE, true, true, BACKEND_TOO_LARGE, 1 },
        { FETCH_CANCELLED, true, true, BACKEND_CANCELLED, 1 },
        { FETCH_STOPPED, false, false, BACKEND_STOPPED, 1 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct test_call call;
        open_stage(3);
        send(&call);
        call.call.is_repeatable = rows[i].is_repeatable;
        turn(0);
        while (stage.sent_count > 0) {
            bring_back(0, rows[i].outcome, 0, rows[i].is_sent);
            turn(0);
        }
        if (call.done != 1 || call.call.outcome != rows[i].end || call.call.tries != rows[i].tries ||
            call.call.is_sent != rows[i].is_sent)
            fail_msg("row %zu: done %u, %s, %u tries, sent %d", i, call.done, backend_outcome_text(call.call.outcome),
                     call.call.tries, call.call.is_sent);
        close_stage();
    }
}

static void a_5xx_is_an_answer_and_not_tried_again(void **state)
{
    (void)state;
    struct test_call call;

    open_stage(3);
    send(&call);
    turn(0);
    bring_back(0, FETCH_ANSWERED, 503, true);
    turn(0);
    assert_true(call.done == 1 && call.call.outcome == BACKEND_ANSWERED && call.call.tries == 1);
    close_stage();
}

/* --- circuits ------------------------------------------------------------------------------------------------------ */

static void fail_times(unsigned times, enum fetch_outcome outcome, unsigned status)
{
    for (unsigned i = 0; i < times; i++) {
        struct test_call call;
        send(&call);
        turn(0);
        assert_int_equal(stage.sent_count, 1);
        bring_back(0, outcome, status, true);
        turn(0);
    }
}

static bool is_refused(void)
{
    struct test_call call;

    send(&call);
    turn(0);
    if (call.done == 1) {
        assert_int_equal(call.call.outcome, BACKEND_CIRCUIT);
        return true;
    }
    bring_back(0, FETCH_ANSWERED, 200, true);
    turn(0);
    return false;
}

static void five_failures_open_a_circuit_and_one_success_closes_it(void **state)
{
    (void)state;
    struct test_call probe, other;

    open_stage(1);
    fail_times(4, FETCH_ANSWERED, 500);
    fail_times(1, FETCH_ANSWERED, 404);  /* not a failure: it works */
    fail_times(4, FETCH_GARBAGE, 0);
    assert_false(is_refused());
    fail_times(5, FETCH_ANSWERED, 502);
    assert_true(is_refused());
    assert_int_equal(count_of(&COUNTERS->open_circuits), 1);
    turn(1300);  /* 1 s, and a quarter by chance */
    send(&probe);
    send(&other);
    turn(0);
    assert_int_equal(stage.sent_count, 1);
    assert_true(other.done == 1 && other.call.outcome == BACKEND_CIRCUIT);
    bring_back(0, FETCH_ANSWERED, 200, true);
    turn(0);
    assert_false(is_refused());
    turn(0);
    assert_int_equal(count_of(&COUNTERS->open_circuits), 0);
    assert_int_equal(count_of(&COUNTERS->circuit_openings), 1);
    close_stage();
}

static void each_try_that_fails_doubles_the_time_up_to_30_s(void **state)
{
    (void)state;
    msec waits[] = { 1000, 2000, 4000, 8000, 16000, 30000, 30000 };

    open_stage(1);
    fail_times(5, FETCH_UNREACHABLE, 0);
    for (size_t i = 0; i < sizeof waits / sizeof waits[0]; i++) {
        turn(waits[i] * 3 / 4 - 1);
        assert_true(is_refused());
        turn(waits[i] / 2 + 2);
        fail_times(1, FETCH_UNREACHABLE, 0);
    }
    close_stage();
}

static void a_client_with_little_time_opens_no_circuit(void **state)
{
    (void)state;
    open_stage(1);
    for (int i = 0; i < 20; i++) {
        struct test_call call;
        send(&call);
        call.call.deadline = stage.now + 100;
        turn(0);
        stage.now += 100;
        bring_back(0, FETCH_TIMEOUT, 0, true);
        turn(0);
    }
    assert_false(is_refused());
    for (int i = 0; i < 5; i++) {
        struct test_call call;
        send(&call);
        turn(0);
        stage.now += limits.timeout_ms;
        bring_back(0, FETCH_TIMEOUT, 0, true);
        turn(0);
    }
    assert_true(is_refused());
    close_stage();
}

static void an_open_circuit_leaves_the_others(void **state)
{
    (void)state;
    open_stage(2);
    for (int i = 0; i < 20; i++) {
        struct test_call call;
        send(&call);
        turn(0);
        while (stage.sent_count > 0) {
            bool is_a = strncmp(stage.sent[0].fetch->url, "http://a", 8) == 0;
            bring_back(0, is_a ? FETCH_UNREACHABLE : FETCH_ANSWERED, 200, !is_a);
            turn(0);
        }
        assert_true(call.done == 1 && call.call.outcome == BACKEND_ANSWERED);
    }
    assert_int_equal(count_of(&COUNTERS->open_circuits), 1);
    assert_int_equal(count_of(&COUNTERS->retries), 5);
    bool is_open[2];
    assert_string_equal(backend_url(stage.backend, 0, &is_open[0]), "http://a");
    assert_string_equal(backend_url(stage.backend, 1, &is_open[1]), "http://b");
    assert_true(is_open[0] && !is_open[1]);
    assert_null(backend_url(stage.backend, 2, is_open));
    close_stage();
}

/* --- cancelling and stopping ---------------------------------------------------------------------------------------- */

static void a_cancelled_call_comes_back_from_wherever_it_is(void **state)
{
    (void)state;
    struct test_call calls[6];

    open_stage(1);
    for (size_t i = 0; i < 6; i++)
        send(&calls[i]);
    turn(0);
    backend_cancel(&calls[5].call);  /* in line */
    backend_cancel(&calls[0].call);  /* under way */
    backend_cancel(&calls[1].call);  /* answered in the same moment */
    turn(0);
    assert_true(calls[5].done == 1 && calls[5].call.outcome == BACKEND_CANCELLED);
    assert_true(stage.sent[0].is_cancelled && calls[0].done == 0);
    bring_back(0, FETCH_CANCELLED, 0, true);
    bring_back(0, FETCH_ANSWERED, 200, true);
    backend_cancel(&calls[1].call);
    turn(0);
    assert_true(calls[0].done == 1 && calls[0].call.outcome == BACKEND_CANCELLED);
    assert_true(calls[1].done == 1 && calls[1].call.outcome == BACKEND_ANSWERED);
    while (stage.sent_count > 0)
        bring_back(0, FETCH_ANSWERED, 200, true);
    turn(0);
    close_stage();
}

static void a_stop_brings_all_calls_back(void **state)
{
    (void)state;
    struct test_call calls[6], late;

    open_stage(1);
    for (size_t i = 0; i < 6; i++)
        send(&calls[i]);
    turn(0);
    backends_stop(&stage.set);
    send(&late);
    turn(0);
    assert_true(late.done == 1 && late.call.outcome == BACKEND_STOPPED);
    assert_true(calls[5].done == 1 && calls[5].call.outcome == BACKEND_STOPPED);
    while (stage.sent_count > 0) {
        assert_true(stage.sent[0].is_cancelled);
        bring_back(0, FETCH_CANCELLED, 0, true);
    }
    turn(0);
    assert_true(calls[0].done == 1 && calls[0].call.outcome == BACKEND_STOPPED);
    close_stage();
}

/* --- changes of the settings ----------------------------------------------------------------------------------------- */

static void what_stays_keeps_its_health(void **state)
{
    (void)state;
    struct test_call call;

    open_stage(1);
    fail_times(5, FETCH_UNREACHABLE, 0);
    set_urls(1, &limits);
    assert_true(is_refused());
    set_urls(2, &limits);
    assert_false(is_refused());
    send(&call);
    turn(0);
    assert_string_equal(stage.last_url, "http://b/x?y=1");
    set_urls(1, &limits);  /* its address is gone while it is under way */
    bring_back(0, FETCH_ANSWERED, 200, true);
    turn(0);
    assert_true(call.done == 1 && call.call.outcome == BACKEND_ANSWERED);
    close_stage();
}

static void a_name_that_is_gone_brings_its_calls_back(void **state)
{
    (void)state;
    struct test_call call, other;

    open_stage(1);
    send(&call);
    turn(0);
    backends_set(&stage.set, NULL, 0);
    send(&other);
    assert_int_equal(other.done, 0);  /* never within the call */
    turn(0);
    assert_true(other.done == 1 && other.call.outcome == BACKEND_STOPPED);
    assert_true(stage.sent[0].is_cancelled);
    bring_back(0, FETCH_CANCELLED, 0, true);
    turn(0);
    assert_true(call.done == 1 && call.call.outcome == BACKEND_STOPPED);
    close_stage();
}

static void a_port_without_room_is_asked_again(void **state)
{
    (void)state;
    struct test_call call;

    open_stage(1);
    stage.room = 0;
    send(&call);
    turn(0);
    assert_int_equal(call.done, 0);
    stage.room = 1;
    turn(1);
    assert_int_equal(stage.sent_count, 1);
    bring_back(0, FETCH_ANSWERED, 200, true);
    turn(0);
    close_stage();
}

/* --- laws ------------------------------------------------------------------------------------------------------------- */

/* A call that goes to an address whose circuit is open is the one that tries it. */
static void check_probe(const struct sent_call *sent, const bool *is_open)
{
    const struct backend_call *call = sent->owner;
    bool                       dummy;

    for (size_t i = 0; backend_url(stage.backend, i, &dummy) != NULL; i++) {
        const char *url  = backend_url(stage.backend, i, &dummy);
        unsigned    many = 0;
        if (!is_open[i] || strncmp(sent->fetch->url, url, strlen(url)) != 0)
            continue;
        assert_true(call->is_probe);
        for (size_t j = 0; j < stage.sent_count; j++) {
            const struct backend_call *other = stage.sent[j].owner;
            many += other->is_probe && other->address == call->address;
        }
        assert_int_equal(many, 1);
    }
}

/* Whatever the back end does and in whatever order: there are never more under way than allowed, each call ends once and in
 * its time, a circuit that is open is not called, and what came first leaves first. */
static void laws_hold_whatever_happens(void **state)
{
    (void)state;
    enum { STEPS = 3000 };
    static struct test_call calls[STEPS];

    for (uint64_t seed = 1; seed <= 40; seed++) {
        size_t   count = 0;
        uint64_t most  = 0;
        open_stage(1 + seed % 3);
        stage.random = (struct rng){ seed };
        for (int step = 0; step < STEPS; step++) {
            uint64_t dice = rng_below(&stage.random, 10);
            if (dice < 4 && count < STEPS)
                send(&calls[count++]);
            else if (dice < 8 && stage.sent_count > 0)
                bring_back(rng_below(&stage.random, stage.sent_count), (enum fetch_outcome)rng_below(&stage.random, 5),
                           rng_below(&stage.random, 4) == 0 ? 500 : 200, rng_below(&stage.random, 2) != 0);
            else if (dice == 8 && count > 0)
                backend_cancel(&calls[rng_below(&stage.random, count)].call);
            size_t before = stage.sent_count;
            bool   is_open[BACKEND_URLS_MAX] = { false };
            for (size_t i = 0; backend_url(stage.backend, i, &is_open[i]) != NULL; i++) {}
            turn((msec)rng_below(&stage.random, 200));
            for (size_t i = before; i < stage.sent_count; i++)
                check_probe(&stage.sent[i], is_open);
            most = stage.sent_count > most ? stage.sent_count : most;
            for (size_t i = 0; i < stage.sent_count; i++)
                assert_true(((struct backend_call *)stage.sent[i].owner)->deadline > 0);
        }
        if (most > limits.requests_max)
            fail_msg("seed %d: %d under way", (int)seed, (int)most);
        while (stage.sent_count > 0) {
            bring_back(0, FETCH_ANSWERED, 200, true);
            turn(limits.timeout_ms);
        }
        turn(limits.timeout_ms);
        for (size_t i = 0; i < count; i++)
            if (calls[i].done != 1)
                fail_msg("seed %d: call %zu ended %u times", (int)seed, i, calls[i].done);
        assert_int_equal(count_of(&COUNTERS->calls), count);
        assert_int_equal(count_of(&COUNTERS->in_flight), 0);
        assert_int_equal(count_of(&COUNTERS->waiting), 0);
        close_stage();
    }
}

/* One that waits is sent as soon as those before it are, however many come behind it. */
static void nobody_starves(void **state)
{
    (void)state;
    static struct test_call calls[2000];
    size_t                  count = 0, next = 0;

    open_stage(2);
    while (count < 2000) {
        for (int i = 0; i < 3 && count < 2000; i++)
            send(&calls[count++]);
        turn(1);
        for (size_t i = 0; i < stage.sent_count; i++) {
            size_t at = (size_t)((struct test_call *)stage.sent[i].owner - calls);
            if (at + 1 > next)
                next = at + 1;
        }
        for (size_t i = 0; i < next; i++)  /* none before it was left waiting */
            assert_true(calls[i].done == 1 || calls[i].call.address != NULL);
        for (int i = 0; i < 2 && stage.sent_count > 0; i++)
            bring_back(0, FETCH_ANSWERED, 200, true);
    }
    while (stage.sent_count > 0) {
        bring_back(0, FETCH_ANSWERED, 200, true);
        turn(0);
    }
    close_stage();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_go_to_the_addresses_in_turn),
        cmocka_unit_test(what_has_no_place_waits_in_line_and_the_line_ends),
        cmocka_unit_test(one_connection_is_enough_where_it_is_shared),
        cmocka_unit_test(a_call_ends_at_its_deadline_or_the_back_ends),
        cmocka_unit_test(only_what_was_not_sent_is_sent_elsewhere),
        cmocka_unit_test(a_5xx_is_an_answer_and_not_tried_again),
        cmocka_unit_test(five_failures_open_a_circuit_and_one_success_closes_it),
        cmocka_unit_test(each_try_that_fails_doubles_the_time_up_to_30_s),
        cmocka_unit_test(a_client_with_little_time_opens_no_circuit),
        cmocka_unit_test(an_open_circuit_leaves_the_others),
        cmocka_unit_test(a_cancelled_call_comes_back_from_wherever_it_is),
        cmocka_unit_test(a_stop_brings_all_calls_back),
        cmocka_unit_test(what_stays_keeps_its_health),
        cmocka_unit_test(a_name_that_is_gone_brings_its_calls_back),
        cmocka_unit_test(a_port_without_room_is_asked_again),
        cmocka_unit_test(laws_hold_whatever_happens),
        cmocka_unit_test(nobody_starves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
