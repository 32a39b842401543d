/* How fast sockets are read: what may come at once, how fast the rest, and that nothing is lost or forgotten meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "reactor/loop_sim.h"

#include <cmocka.h>

enum { PER_S = 1000, SENT = 5000, READ_BYTES = 300 };

struct rig {
    struct loop_sim  sim;
    struct sim_link *far;
    struct stream   *stream;
    size_t           got;
    bool             has_ended, has_closed;
};

/* Reads as owners do: until there is nothing more, or one read a turn. */
static void on_readable(struct stream *stream, void *owner)
{
    struct rig *rig = owner;
    char        bytes[READ_BYTES];
    ssize_t     got = stream_read(stream, bytes, sizeof bytes);

    if (got == STREAM_LATER)
        return;
    rig->got += got > 0 ? (size_t)got : 0;
    rig->has_ended = got <= 0;
    if (got > 0 && !stream_is_drained(stream, (size_t)got, sizeof bytes))
        stream_more(stream);
}

static void on_writable(struct stream *stream, void *owner)
{
    (void)stream, (void)owner;
}

static const struct stream_events events   = { on_readable, on_writable };
static const struct loop_hooks    no_hooks = { 0 };

static void rig_open(struct rig *rig, bool is_layered, uint64_t per_s)
{
    *rig = (struct rig){ .got = 0 };
    loop_sim_init(&rig->sim, &no_hooks, NULL, 1000, 5000);
    rig->sim.loop.paces.bytes_per_s = per_s;
    rig->far = sim_link_new(&rig->sim, &(struct sim_wire){ .room_bytes = 20000, .is_layered = is_layered }, &rig->stream);
    stream_start(rig->stream, &events, rig);
}

static void rig_close(struct rig *rig)
{
    if (!rig->has_closed)
        stream_close(rig->stream);
    sim_link_free(rig->far);
    loop_sim_turn(&rig->sim, rig->sim.loop.now);
    loop_sim_fini(&rig->sim);
}

/* All that happens until then, at the time when it happens. */
static void run_until(struct rig *rig, msec end)
{
    for (msec now = rig->sim.loop.now; now <= end; now++) {
        loop_sim_turn(&rig->sim, now);
        while (!loop_sim_is_quiet(&rig->sim))
            loop_sim_turn(&rig->sim, now);
    }
}

static void send_bytes(struct rig *rig, size_t count)
{
    char *bytes = calloc(count, 1);

    assert_non_null(bytes);
    sim_send(rig->far, span_of(bytes, count));
    free(bytes);
}

static void a_seconds_worth_at_once_then_so_much_a_second(void **state)
{
    (void)state;
    for (int is_layered = 0; is_layered < 2; is_layered++) {
        struct rig rig;

        rig_open(&rig, is_layered, PER_S);
        send_bytes(&rig, SENT);
        run_until(&rig, 1000);
        assert_int_equal(rig.got, PER_S);
        assert_true(stream_is_held_back(rig.stream));
        run_until(&rig, 2000);
        assert_in_range(rig.got, 2 * PER_S - PER_S / 10, 2 * PER_S);
        run_until(&rig, 4900);
        assert_in_range(rig.got, SENT - 2 * PER_S / 10, SENT);
        run_until(&rig, 5200);
        assert_int_equal(rig.got, SENT);
        assert_false(stream_is_held_back(rig.stream));
        assert_true(counter_get(&rig.sim.loop.paces.rests) > 10);
        run_until(&rig, 7000);
        assert_int_equal(rig.sim.loop.paces.map.count, 0);  /* a quiet one costs nothing */
        rig_close(&rig);
    }
}

static void what_is_slower_is_never_held_back(void **state)
{
    (void)state;
    struct rig rig;

    rig_open(&rig, false, PER_S);
    for (msec now = 1000; now < 6000; now += 100) {
        send_bytes(&rig, PER_S / 10);
        run_until(&rig, now);
    }
    assert_int_equal(rig.got, 5 * PER_S);
    assert_int_equal(counter_get(&rig.sim.loop.paces.rests), 0);
    rig_close(&rig);
}

static void the_end_comes_behind_what_was_held_back(void **state)
{
    (void)state;
    struct rig rig;

    rig_open(&rig, false, PER_S);
    send_bytes(&rig, 2 * PER_S);
    sim_send_end(rig.far);
    run_until(&rig, 1500);
    assert_false(rig.has_ended);
    run_until(&rig, 3000);
    assert_true(rig.has_ended);
    assert_int_equal(rig.got, 2 * PER_S);
    rig_close(&rig);
}

static void a_stream_may_be_closed_while_it_is_held_back(void **state)
{
    (void)state;
    struct rig rig;

    rig_open(&rig, false, PER_S);
    send_bytes(&rig, SENT);
    run_until(&rig, 1100);
    stream_close(rig.stream);
    rig.has_closed = true;
    assert_int_equal(rig.sim.loop.paces.map.count, 0);
    run_until(&rig, 3000);
    assert_in_range(rig.got, PER_S, 2 * PER_S);
    rig_close(&rig);
}

static void a_reload_lets_go_what_was_held_back(void **state)
{
    (void)state;
    struct rig rig;

    rig_open(&rig, false, PER_S);
    send_bytes(&rig, SENT);
    run_until(&rig, 1000);
    rig.sim.loop.paces.bytes_per_s = 0;
    run_until(&rig, 1100);
    assert_int_equal(rig.got, SENT);
    rig_close(&rig);
}

static void one_byte_a_second_is_one(void **state)
{
    (void)state;
    struct rig rig;

    rig_open(&rig, false, 1);
    send_bytes(&rig, 10);
    run_until(&rig, 6000);
    assert_in_range(rig.got, 5, 6);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seconds_worth_at_once_then_so_much_a_second),
        cmocka_unit_test(what_is_slower_is_never_held_back),
        cmocka_unit_test(the_end_comes_behind_what_was_held_back),
        cmocka_unit_test(a_stream_may_be_closed_while_it_is_held_back),
        cmocka_unit_test(a_reload_lets_go_what_was_held_back),
        cmocka_unit_test(one_byte_a_second_is_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
