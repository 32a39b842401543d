/* Simulated links: the battery, and what scripts, delays and cuts do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "reactor/loop_sim.h"
#include "reactor/stream_battery.h"

#include <cmocka.h>

/* --- the battery --------------------------------------------------------------------------------------------- */

enum { ROOM_BYTES = 20000 };

static const struct loop_hooks no_hooks = { 0 };

static void far_open_wire(struct battery_rig *rig, const struct sim_wire *wire)
{
    struct loop_sim *sim = calloc(1, sizeof *sim);

    assert_non_null(sim);
    loop_sim_init(sim, &no_hooks, NULL, 1000, 5000);
    rig->loop    = &sim->loop;
    rig->far_end = sim_link_new(sim, wire, &rig->stream);
}

static struct loop_sim *sim_of(const struct battery_rig *rig)
{
    return container_of(rig->loop, struct loop_sim, loop);
}

static void far_open_plain(struct battery_rig *rig)
{
    far_open_wire(rig, &(struct sim_wire){ .room_bytes = ROOM_BYTES });
}

static void far_open_layered(struct battery_rig *rig)
{
    far_open_wire(rig, &(struct sim_wire){ .room_bytes = ROOM_BYTES, .read_bytes_max = 700, .is_layered = true });
}

static void far_close(struct battery_rig *rig)
{
    struct loop_sim *sim = sim_of(rig);

    sim_link_free(rig->far_end);
    loop_sim_turn(sim, sim->loop.now);
    loop_sim_fini(sim);
    free(sim);
}

static void far_turn(struct battery_rig *rig)
{
    loop_sim_turn(sim_of(rig), rig->loop->now);
}

static void far_send(struct battery_rig *rig, struct span bytes)
{
    sim_send(rig->far_end, bytes);
}

static void far_end(struct battery_rig *rig)
{
    sim_send_end(rig->far_end);
}

static void far_reset(struct battery_rig *rig)
{
    sim_reset(rig->far_end);
}

static bool far_take(struct battery_rig *rig, struct buf *into)
{
    sim_take(rig->far_end, into, SIZE_MAX);
    return sim_link_end(rig->far_end) == SIM_ENDED;
}

#define FAR(maker)                                                                                                     \
    { .name = "sim " #maker, .open = far_open_##maker, .close = far_close, .turn = far_turn, .send = far_send,         \
      .end = far_end, .reset = far_reset, .take = far_take }

static const struct battery_far fars[] = { FAR(plain), FAR(layered) };

/* --- links --------------------------------------------------------------------------------------------------- */

struct sim_rig {
    struct loop_sim  sim;
    struct stream   *stream;
    struct sim_link *link;
    struct buf       got;
    ssize_t          last;
    unsigned         readable, writable, turns;
};

static void on_readable(struct stream *stream, void *owner)
{
    struct sim_rig *rig = owner;
    char            into[100];

    rig->readable++;
    do {
        rig->last = stream_read(stream, into, sizeof into);
        if (rig->last > 0)
            buf_put(&rig->got, span_of(into, (size_t)rig->last));
    } while (rig->last > 0 && !stream_is_drained(stream, (size_t)rig->last, sizeof into));
}

static void on_writable(struct stream *stream, void *owner)
{
    struct sim_rig *rig = owner;

    (void)stream;
    rig->writable++;
}

static const struct stream_events events = { .on_readable = on_readable, .on_writable = on_writable };

static void on_turn_end(void *ctx)
{
    struct sim_rig *rig = ctx;
    rig->turns++;
}

static const struct loop_hooks hooks = { .turn_end = on_turn_end };

static int rig_open(void **state)
{
    struct sim_rig *rig = calloc(1, sizeof *rig);

    assert_non_null(rig);
    loop_sim_init(&rig->sim, &hooks, rig, 1000, 1700000000000);
    buf_init(&rig->got, SIZE_MAX / 2);
    rig->last = STREAM_LATER;
    rig->link = sim_link_new(&rig->sim, &(struct sim_wire){ .room_bytes = 100 }, &rig->stream);
    stream_start(rig->stream, &events, rig);
    *state = rig;
    return 0;
}

static int rig_close(void **state)
{
    struct sim_rig *rig = *state;

    stream_close(rig->stream);
    sim_link_free(rig->link);
    loop_sim_turn(&rig->sim, rig->sim.loop.now);
    loop_sim_fini(&rig->sim);
    buf_fini(&rig->got);
    free(rig);
    return 0;
}

static void expect_got(const struct sim_rig *rig, const char *want)
{
    assert_true(span_eq(buf_span(&rig->got), span_str(want)));
}

static void delayed_bytes_come_when_they_are_due(void **state)
{
    struct sim_rig *rig = *state;
    struct buf      took;

    buf_init(&took, 100);
    sim_link_wire(rig->link)->delay_ms = 30;
    sim_send(rig->link, SPAN("late"));
    assert_int_equal(stream_write(rig->stream, SPAN("also")), 4);
    assert_int_equal(loop_sim_next(&rig->sim), 1030);
    loop_sim_turn(&rig->sim, 1029);
    assert_true(loop_sim_is_quiet(&rig->sim));
    expect_got(rig, "");
    assert_int_equal(sim_take(rig->link, &took, SIZE_MAX), 0);
    loop_sim_turn(&rig->sim, 1030);
    expect_got(rig, "late");
    assert_int_equal(sim_take(rig->link, &took, 3), 3);
    assert_int_equal(sim_take(rig->link, &took, SIZE_MAX), 1);
    assert_int_equal(loop_sim_next(&rig->sim), -1);
    assert_int_equal(rig->sim.loop.wall, 1700000000030);
    buf_fini(&took);
}

static void a_link_breaks_at_the_byte_it_is_told(void **state)
{
    struct sim_rig *rig = *state;

    sim_link_wire(rig->link)->cut_in_at = 3;
    sim_send(rig->link, SPAN("abcdef"));
    loop_sim_turn(&rig->sim, 1000);
    loop_sim_turn(&rig->sim, 1000);
    expect_got(rig, "abc");
    assert_int_equal(rig->last, STREAM_FAULT);
    assert_int_equal(stream_write(rig->stream, SPAN("x")), STREAM_FAULT);
    assert_int_equal(sim_link_end(rig->link), SIM_RESET);
}

static void a_write_is_cut_at_the_byte_it_is_told(void **state)
{
    struct sim_rig *rig = *state;
    struct buf      took;

    buf_init(&took, 100);
    sim_link_wire(rig->link)->cut_out_at = 4;
    assert_int_equal(stream_write(rig->stream, SPAN("abc")), 3);
    assert_int_equal(stream_write(rig->stream, SPAN("def")), 1);
    assert_int_equal(stream_write(rig->stream, SPAN("ef")), STREAM_FAULT);
    loop_sim_turn(&rig->sim, 1000);
    assert_int_equal(rig->readable, 1);
    assert_int_equal(rig->last, STREAM_FAULT);
    assert_int_equal(sim_take(rig->link, &took, SIZE_MAX), 4);
    assert_int_equal(sim_link_end(rig->link), SIM_RESET);
    buf_fini(&took);
}

static void writes_are_as_short_as_the_script_says(void **state)
{
    struct sim_rig *rig = *state;

    sim_link_wire(rig->link)->write_bytes_max = 2;
    assert_int_equal(stream_write(rig->stream, SPAN("abc")), 2);
    assert_true(rig->stream->is_full);
    assert_false(loop_sim_is_quiet(&rig->sim));
    loop_sim_turn(&rig->sim, 1000);
    assert_int_equal(rig->writable, 1);
    assert_int_equal(stream_write(rig->stream, SPAN("c")), 1);
    loop_sim_turn(&rig->sim, 1000);
    assert_int_equal(rig->writable, 1);
}

static void closing_with_bytes_unread_resets(void **state)
{
    struct sim_rig *rig = *state;

    assert_int_equal(stream_write(rig->stream, SPAN("x")), 1);
    sim_send(rig->link, SPAN("unread"));
    stream_close(rig->stream);
    assert_true(sim_link_is_closed(rig->link));
    assert_int_equal(sim_link_end(rig->link), SIM_OPEN);  /* what was sent arrives first */
    struct buf took;
    buf_init(&took, 100);
    assert_int_equal(sim_take(rig->link, &took, SIZE_MAX), 1);
    assert_int_equal(sim_link_end(rig->link), SIM_RESET);
    buf_fini(&took);
}

static struct timer fired;
static unsigned     fire_count;

static void on_timer(struct timer *timer, msec now)
{
    (void)timer, (void)now;
    fire_count++;
}

static void timers_fire_by_the_clock_that_is_handed_in(void **state)
{
    struct sim_rig *rig = *state;

    fired = (struct timer){ .fire = on_timer };
    wheel_arm(&rig->sim.loop.wheel, &fired, 1000 + 3600000);
    loop_sim_turn(&rig->sim, 1000 + 3599999);
    assert_int_equal(fire_count, 0);
    loop_sim_turn(&rig->sim, 1000 + 3600000 + WHEEL_TICK_MS);
    assert_int_equal(fire_count, 1);
    assert_int_equal(rig->turns, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_open, rig_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(delayed_bytes_come_when_they_are_due),
        TEST(a_link_breaks_at_the_byte_it_is_told),
        TEST(a_write_is_cut_at_the_byte_it_is_told),
        TEST(writes_are_as_short_as_the_script_says),
        TEST(closing_with_bytes_unread_resets),
        TEST(timers_fire_by_the_clock_that_is_handed_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL) + stream_battery_run(&fars[0]) + stream_battery_run(&fars[1]);
}
