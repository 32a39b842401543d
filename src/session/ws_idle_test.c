#include "session/ws_idle.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct session_limits limits = {
    .heartbeat_ms = 25000, .pong_timeout_ms = 10000,
};

/* Times in ms since the session began. pinged 0: not pinged since heard. */
static void a_silent_client_is_asked_then_given_up(void **state)
{
    (void)state;
    static const struct {
        const char          *name;
        msec                 heard, pinged, now;
        enum ws_idle_verdict want;
        msec                 next;
    } rows[] = {
        { "just heard",                   1000,     0,  1500, WS_IDLE_FINE,   26000 },
        { "almost quiet for a heartbeat", 1000,     0, 25999, WS_IDLE_FINE,   26000 },
        { "quiet, not yet asked",         1000,     0, 26000, WS_IDLE_PING,   36000 },
        { "asked, still in grace",        1000, 26000, 35999, WS_IDLE_FINE,   36000 },
        { "asked, no answer",             1000, 26000, 36000, WS_IDLE_SILENT, 0 },
        { "answered, then quiet again",  26100,     0, 51100, WS_IDLE_PING,   61100 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        /* The clock's low 32 bits wrap within the row. */
        const msec     origin = (INT64_C(1) << 32) - 20000;
        struct ws_idle idle;
        msec           next = 0;

        ws_idle_init(&idle, origin);
        ws_idle_heard(&idle, origin + rows[i].heard);
        if (rows[i].pinged != 0) {
            idle.is_pinged = true;
            idle.pinged_at = (uint32_t)(origin + rows[i].pinged) & INT32_MAX;
        }
        if (ws_idle_judge(&idle, &limits, false, origin + rows[i].now, &next) != rows[i].want)
            fail_msg("%s: another verdict", rows[i].name);
        if (rows[i].want != WS_IDLE_SILENT && next != origin + rows[i].next)
            fail_msg("%s: next at %lld", rows[i].name, (long long)(next - origin));
    }
}

/* The heartbeat is shorter than the grace: the next check comes after one heartbeat, so that an answered ping is
 * followed by the next ping. */
static void pings_come_at_every_heartbeat(void **state)
{
    (void)state;
    static const struct session_limits quick = {
        .heartbeat_ms = 1000, .pong_timeout_ms = 10000,
    };
    struct ws_idle idle;
    msec           now = 5000, next = 0;

    ws_idle_init(&idle, now - 1000);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(ws_idle_judge(&idle, &quick, false, now, &next), WS_IDLE_PING);
        assert_in_range(next - now, 1, 1000);
        ws_idle_heard(&idle, now + 3);
        now += 3 + quick.heartbeat_ms;
    }
    /* A client that doesn't answer is given up after the grace, not after one heartbeat. */
    assert_int_equal(ws_idle_judge(&idle, &quick, false, now, &next), WS_IDLE_PING);
    assert_int_equal(ws_idle_judge(&idle, &quick, false, now + 9999, &next), WS_IDLE_FINE);
    assert_int_equal(ws_idle_judge(&idle, &quick, false, now + 10000, &next), WS_IDLE_SILENT);
}

static void while_bytes_wait_the_pong_timer_rests(void **state)
{
    (void)state;
    struct ws_idle idle;
    msec           next = 0;

    ws_idle_init(&idle, 0);
    assert_int_equal(ws_idle_judge(&idle, &limits, false, 25000, &next), WS_IDLE_PING);
    assert_int_equal(ws_idle_judge(&idle, &limits, true, 100000, &next), WS_IDLE_FINE);
    assert_int_equal(next, 125000);
    assert_int_equal(ws_idle_judge(&idle, &limits, true, 3000000, &next), WS_IDLE_FINE);
    assert_int_equal(ws_idle_judge(&idle, &limits, false, 3000001, &next), WS_IDLE_SILENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_silent_client_is_asked_then_given_up),
        cmocka_unit_test(pings_come_at_every_heartbeat),
        cmocka_unit_test(while_bytes_wait_the_pong_timer_rests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
