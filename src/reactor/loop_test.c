/* Turns: who comes when, what wakes the loop, and what is left of one that could not be made. */
#include <setjmp.h>
#include <stdarg.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/buf.h"
#include "lib/hand_clock.h"
#include "reactor/loop.h"

#include <cmocka.h>

/* --- waits take no time: they move the clock -------------------------------------------------------------------- */

static msec pause_in_wait_ms;  /* beside what was asked for: as if the process had been stopped meanwhile */

int epoll_wait(int epoll, struct epoll_event *events, int max, int timeout_ms)
{
    int count = epoll_pwait(epoll, events, max, 0, NULL);

    assert_true(count > 0 || timeout_ms >= 0);  /* else it would wait for ever */
    hand_clock_pass(pause_in_wait_ms + (count > 0 ? 0 : timeout_ms));
    return count;
}

/* --- the rig -------------------------------------------------------------------------------------------------- */

struct rig {
    struct loop   loop;
    struct buf    transcript;      /* who was called, a letter each */
    struct timer  timer;
    struct source pipe;
    int           turns_left;
    msec          turn_ms;    /* what a turn takes */
};

static void rig_turn_begin(void *ctx)
{
    struct rig *rig = ctx;
    hand_clock_pass(rig->turn_ms);
    buf_putc(&rig->transcript, 'b');
}

static void rig_mail(void *ctx, struct mail *mail)
{
    struct rig *rig = ctx;
    (void)mail;
    buf_putc(&rig->transcript, 'm');
}

static void rig_turn_end(void *ctx)
{
    struct rig *rig = ctx;
    buf_putc(&rig->transcript, 'e');
    if (--rig->turns_left == 0)
        loop_stop(&rig->loop);
}

static void rig_fired(struct timer *timer, msec now)
{
    struct rig *rig = container_of(timer, struct rig, timer);
    assert_true(now >= timer->at);
    buf_putc(&rig->transcript, 't');
}

static void rig_ready(struct source *source, uint32_t events)
{
    struct rig *rig = container_of(source, struct rig, pipe);
    assert_true((events & EPOLLIN) != 0);
    buf_putc(&rig->transcript, 'r');
}

static const struct loop_hooks rig_hooks = {
    .turn_begin = rig_turn_begin, .mail = rig_mail, .turn_end = rig_turn_end,
};
static const struct source_kind rig_kind = { .ready = rig_ready };

static void rig_open(struct rig *rig)
{
    *rig = (struct rig){ .timer.fire = rig_fired, .pipe.kind = &rig_kind };
    buf_init(&rig->transcript, 1000);
    assert_int_equal(loop_init(&rig->loop, &rig_hooks, rig), RC_OK);
}

static void rig_run(struct rig *rig, int turns, const char *want)
{
    rig->turns_left = turns;
    loop_run(&rig->loop);
    buf_putc(&rig->transcript, '\0');
    assert_string_equal(rig->transcript.at, want);
    buf_clear(&rig->transcript);
}

static void rig_close(struct rig *rig)
{
    buf_fini(&rig->transcript);
    loop_fini(&rig->loop);
}

static void put(struct rig *rig, struct mail *mail)
{
    struct bundle bundle = { NULL, NULL };
    bundle_add(&bundle, mail);
    mailbox_put(&rig->loop.mailbox, &bundle);
}

static void a_turn_is_what_the_kernel_says_then_mail_then_timers(void **state)
{
    struct rig  rig;
    struct mail first, second;
    int         ends[2];

    (void)state;
    rig_open(&rig);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(loop_watch(&rig.loop, ends[0], EPOLLIN | EPOLLET, &rig.pipe), RC_OK);
    assert_int_equal(write(ends[1], "x", 1), 1);
    put(&rig, &first);
    put(&rig, &second);
    /* Due long ago by the wheel's clock: two ticks are behind us as soon as the test's are. */
    rig.loop.wheel.tick -= 2;
    wheel_arm(&rig.loop.wheel, &rig.timer, rig.loop.now - WHEEL_TICK_MS);
    rig_run(&rig, 1, "brmmte");
    assert_int_equal(counter_get(&rig.loop.turn_count), 1);

    /* Edge-triggered: what was not read is not told again. */
    mailbox_ring(&rig.loop.mailbox);
    rig_run(&rig, 1, "be");
    loop_unwatch(&rig.loop, ends[0]);
    assert_int_equal(write(ends[1], "x", 1), 1);
    mailbox_ring(&rig.loop.mailbox);
    rig_run(&rig, 1, "be");
    close(ends[0]);
    close(ends[1]);
    rig_close(&rig);
}

/* It sleeps until then: the turns before are few, and none of them early. */
static void a_timer_wakes_the_loop_and_never_early(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    wheel_arm(&rig.loop.wheel, &rig.timer, rig.loop.now + 3 * WHEEL_TICK_MS);
    while (timer_is_armed(&rig.timer)) {
        rig.turns_left = 1;
        loop_run(&rig.loop);
    }
    assert_true(clock_now() >= rig.timer.at);
    assert_in_range(counter_get(&rig.loop.turn_count), 1, 8);
    rig_close(&rig);
}

/* A turn after a pause fires none, so that what came meanwhile is seen first. But however often it's paused, and
 * however long its turns take, time passes. */
static void timers_fire_however_late_the_turns_are(void **state)  /* threat 23 */
{
    static const struct { msec turn_ms, pause_in_wait_ms; const char *turns[4]; } rows[] = {
        { 0, 0, { "bte", "bte", "bte", "bte" } },
        { 5000, 0, { "bte", "bte", "bte", "bte" } },
        { 0, 5000, { "be", "bte", "be", "bte" } },
        { 5000, 5000, { "be", "bte", "be", "bte" } },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig rig;
        rig_open(&rig);
        rig.turn_ms      = rows[i].turn_ms;
        pause_in_wait_ms = rows[i].pause_in_wait_ms;
        for (int turn = 0; turn < 4; turn++) {
            rig.loop.wheel.tick -= 2;  /* or the timer isn't due yet */
            wheel_arm(&rig.loop.wheel, &rig.timer, rig.loop.now - WHEEL_TICK_MS);
            rig_run(&rig, 1, rows[i].turns[turn]);
        }
        pause_in_wait_ms = 0;
        wheel_disarm(&rig.loop.wheel, &rig.timer);
        rig_close(&rig);
    }
}

/* A ring that came while the loop was busy is not lost for its next sleep. */
static void every_ring_is_heard_once(void **state)
{
    struct rig rig;

    (void)state;
    rig_open(&rig);
    for (int i = 0; i < 10; i++) {
        mailbox_ring(&rig.loop.mailbox);
        mailbox_ring(&rig.loop.mailbox);
        rig_run(&rig, 1, "be");
    }
    struct epoll_event event;
    assert_int_equal(epoll_wait(rig.loop.epoll, &event, 1, 0), 0);
    rig_close(&rig);
}

/* Whoever asks `input` whether a loop is there must not free it twice. */
static void a_loop_that_could_not_be_made_leaves_nothing(void **state)  /* threat 20 */
{
    struct rlimit before, tight;
    struct loop   loop;

    (void)state;
    int next = dup(0);
    assert_true(next >= 0);
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (rlim_t scratch = 0; scratch < 2; scratch++) {
        tight = (struct rlimit){ (rlim_t)next + scratch, before.rlim_max };
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
        enum rc rc = loop_init(&loop, &rig_hooks, NULL);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_int_equal(rc, RC_FULL);
        assert_null(loop.input);
        assert_int_equal(dup(0), next);
        close(next);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_turn_is_what_the_kernel_says_then_mail_then_timers),
        cmocka_unit_test(a_timer_wakes_the_loop_and_never_early),
        cmocka_unit_test(timers_fire_however_late_the_turns_are),
        cmocka_unit_test(every_ring_is_heard_once),
        cmocka_unit_test(a_loop_that_could_not_be_made_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
