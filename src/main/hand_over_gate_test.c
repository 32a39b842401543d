/* How threads stand still while another process takes the server's place. */
#include "main/hand_over_gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#define SECONDS_MAX 60

static msec now(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000 + at.tv_nsec / 1000000;
}

static msec in_time(void)
{
    return now() + SECONDS_MAX * 1000;
}

struct loop_thread {
    struct hand_over_gate *gate;
    pthread_t              thread;
    msec                   answer_by, settle_by;  /* as it has seen them */
    enum gate_phase        left_for;
};

static void *loop_main(void *ctx)
{
    struct loop_thread *loop = ctx;

    while (gate_phase(loop->gate) != GATE_HOLD)
        continue;
    loop->answer_by = gate_answer_by(loop->gate);
    loop->settle_by = gate_settle_by(loop->gate);
    gate_note_settled(loop->gate);
    while (gate_phase(loop->gate) != GATE_PARK)
        continue;
    loop->left_for = gate_park(loop->gate);
    return NULL;
}

/* What main has said before a phase is seen by whoever sees the phase. Under ThreadSanitizer, too (threat 28). */
static void all_stand_still_and_go_on(void **state)
{
    (void)state;
    struct hand_over_gate gate;
    struct loop_thread    loops[3];

    gate_init(&gate);
    for (size_t i = 0; i < 3; i++) {
        loops[i] = (struct loop_thread){ .gate = &gate };
        assert_int_equal(pthread_create(&loops[i].thread, NULL, loop_main, &loops[i]), 0);
    }
    gate_hold(&gate, 17, 23);
    assert_true(gate_await_settled(&gate, 3, in_time()));
    assert_false(gate_loops_are_parked(&gate, 1));
    gate_move(&gate, GATE_PARK);
    assert_true(gate_await_parked(&gate, 3, in_time()));
    assert_true(gate_loops_are_parked(&gate, 3));
    gate_move(&gate, GATE_LEAVE);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pthread_join(loops[i].thread, NULL), 0);
        assert_int_equal(loops[i].answer_by, 17);
        assert_int_equal(loops[i].settle_by, 23);
        assert_int_equal(loops[i].left_for, GATE_LEAVE);
    }
    gate_fini(&gate);
}

/* A thread that main has given up on does not count in the next attempt: it does not stand. */
static void who_comes_late_does_not_count(void **state)
{
    (void)state;
    struct hand_over_gate gate;

    gate_init(&gate);
    gate_hold(&gate, 0, 0);
    gate_move(&gate, GATE_PARK);
    assert_false(gate_await_parked(&gate, 1, now()));
    gate_move(&gate, GATE_OPEN);
    assert_int_equal(gate_park(&gate), GATE_OPEN);
    gate_hold(&gate, 0, 0);
    assert_int_equal(gate_park(&gate), GATE_HOLD);
    assert_int_equal(gate_park_writer(&gate), GATE_HOLD);
    assert_false(gate_await_parked(&gate, 1, now()));
    assert_false(gate_await_writer(&gate, now()));
    gate_fini(&gate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_stand_still_and_go_on),
        cmocka_unit_test(who_comes_late_does_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
