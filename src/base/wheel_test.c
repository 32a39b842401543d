#include "base/wheel.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/rng.h"

struct probe {
    struct timer timer;
    msec         fired_at;
    int          count;
};

static void probe_fire(struct timer *timer, msec now)
{
    struct probe *probe = container_of(timer, struct probe, timer);
    probe->fired_at     = now;
    probe->count++;
}

static void fires_once_never_early_and_one_tick_late_at_most(void **state)
{
    (void)state;
    static const msec delays[] = { 0, 1, 15, 16, 17, 999, 1000, 1024, 1025, 60000, 65535, 65536, 70000, 3600000,
                                   4194304, 86400000, 300000000 };

    for (msec start = 0; start < 200000; start += 33331) {
        for (size_t i = 0; i < sizeof delays / sizeof delays[0]; i++) {
            struct wheel wheel;
            struct probe probe = { .timer.fire = probe_fire };
            msec         now   = start;

            wheel_init(&wheel, now);
            wheel_arm(&wheel, &probe.timer, start + delays[i]);
            while (probe.count == 0) {
                int sleep = wheel_sleep_ms(&wheel, now);
                assert_true(sleep >= 0);
                now += sleep == 0 ? 1 : sleep;
                wheel_turn(&wheel, now);
                assert_true(now <= start + delays[i] + 2 * WHEEL_TICK_MS);
            }
            assert_true(probe.fired_at >= start + delays[i]);
            assert_int_equal(wheel.count, 0);
            assert_int_equal(wheel_sleep_ms(&wheel, now), -1);
        }
    }
}

static void a_thousand_random_timers_fire_in_time(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    static struct probe probes[COUNT];
    struct rng          rng = { 7 };
    struct wheel        wheel;
    msec                now = 12345;

    wheel_init(&wheel, now);
    for (int i = 0; i < COUNT; i++) {
        probes[i] = (struct probe){ .timer.fire = probe_fire };
        wheel_arm(&wheel, &probes[i].timer, now + (msec)rng_below(&rng, 500000));
    }
    for (int i = 0; i < COUNT; i += 3)
        wheel_disarm(&wheel, &probes[i].timer);
    while (wheel.count > 0) {
        now += 1 + (msec)rng_below(&rng, 400);
        wheel_turn(&wheel, now);
    }
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(probes[i].count, i % 3 == 0 ? 0 : 1);
        if (probes[i].count > 0)
            assert_in_range(probes[i].fired_at - probes[i].timer.at, 0, 400 + WHEEL_TICK_MS);
    }
}

enum { RANDOM_TIMERS = 50 };

/* Arms and disarms itself and others when it fires. */
struct random_timer {
    struct timer  timer;
    struct crowd *crowd;
};

struct crowd {
    struct wheel   wheel;
    struct rng     rng;
    unsigned       fired;
    struct random_timer at[RANDOM_TIMERS];
};

/* From at once to farther than the rings reach. */
static void crowd_arm_one(struct crowd *crowd, msec now)
{
    msec delay = (msec)rng_below(&crowd->rng, UINT64_C(1) << rng_below(&crowd->rng, 32));

    wheel_arm(&crowd->wheel, &crowd->at[rng_below(&crowd->rng, RANDOM_TIMERS)].timer, now + delay);
}

static void random_timer_fire(struct timer *timer, msec now)
{
    struct crowd *crowd = container_of(timer, struct random_timer, timer)->crowd;

    crowd->fired++;
    assert_false(timer_is_armed(timer));
    assert_true(timer->at <= now);
    if (rng_below(&crowd->rng, 2) == 0)
        wheel_arm(&crowd->wheel, timer, now + (msec)rng_below(&crowd->rng, 40));
    wheel_disarm(&crowd->wheel, &crowd->at[rng_below(&crowd->rng, RANDOM_TIMERS)].timer);
    crowd_arm_one(crowd, now);
    crowd_arm_one(crowd, now);
}

static void timers_arm_and_disarm_other_timers_whatever_the_leaps(void **state)
{
    (void)state;
    static struct crowd crowd = { .rng = { 11 } };
    msec                now   = 777;

    wheel_init(&crowd.wheel, now);
    for (int i = 0; i < RANDOM_TIMERS; i++) {
        crowd.at[i] = (struct random_timer){ .timer.fire = random_timer_fire, .crowd = &crowd };
        wheel_arm(&crowd.wheel, &crowd.at[i].timer, now + i * 1000);
    }
    for (int turn = 0; turn < 20000; turn++) {
        now += 1 + (msec)rng_below(&crowd.rng, UINT64_C(1) << rng_below(&crowd.rng, 23));
        wheel_turn(&crowd.wheel, now);
        size_t armed = 0;
        for (int i = 0; i < RANDOM_TIMERS; i++) {
            armed += timer_is_armed(&crowd.at[i].timer);
            assert_true(!timer_is_armed(&crowd.at[i].timer) || crowd.at[i].timer.at > now - WHEEL_TICK_MS);
        }
        assert_int_equal(armed, crowd.wheel.count);
        if (armed == 0)
            crowd_arm_one(&crowd, now);
    }
    assert_true(crowd.fired > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fires_once_never_early_and_one_tick_late_at_most),
        cmocka_unit_test(a_thousand_random_timers_fire_in_time),
        cmocka_unit_test(timers_arm_and_disarm_other_timers_whatever_the_leaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
