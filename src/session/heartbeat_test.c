#include "session/heartbeat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct heartbeat_limits limits = {
    .asked_ms = 25000, .pong_timeout_ms = 10000, .least_ms = 10000, .most_ms = 1800000, .offered_ms = 120000,
};

/* The clock's low 32 bits wrap within a row. */
static const msec origin = (INT64_C(1) << 32) - 20000;

/* Times in ms since the link began. asked 0: not asked since heard. */
struct look {
    const char            *name;
    msec                   heard, asked, now;
    enum heartbeat_verdict want;
    msec                   next;
};

static void look(const struct look *row, msec offer_ms, int beats)
{
    struct heartbeat heartbeat;
    msec             next = 0;

    heartbeat_init(&heartbeat, origin);
    if (offer_ms > 0)
        heartbeat_agree(&heartbeat, &limits, offer_ms, 0);
    while (beats-- > 0)
        heartbeat_beat(&heartbeat, &limits, 0);
    heartbeat_heard(&heartbeat, origin + row->heard);
    if (row->asked != 0) {
        heartbeat.is_asked = true;
        heartbeat.asked_at = (uint32_t)(origin + row->asked) & INT32_MAX;
    }
    if (heartbeat_judge(&heartbeat, &limits, false, origin + row->now, &next) != row->want)
        fail_msg("%s: another verdict", row->name);
    if (row->want != HEARTBEAT_SILENT && next != origin + row->next)
        fail_msg("%s: next at %lld", row->name, (long long)(next - origin));
}

#define LOOK_ALL(rows, offer_ms, beats)                                                                                 \
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)                                                          \
        look(&rows[i], offer_ms, beats)

static void a_client_that_offers_nothing_is_asked_then_given_up(void **state)
{
    (void)state;
    static const struct look rows[] = {
        { "just heard",                   1000,     0,  1500, HEARTBEAT_FINE,   26000 },
        { "almost quiet for a heartbeat", 1000,     0, 25999, HEARTBEAT_FINE,   26000 },
        { "quiet, not yet asked",         1000,     0, 26000, HEARTBEAT_ASK,    36000 },
        { "asked, still in grace",        1000, 26000, 35999, HEARTBEAT_FINE,   36000 },
        { "asked, no answer",             1000, 26000, 36000, HEARTBEAT_SILENT, 0 },
        { "answered, then quiet again",  26100,     0, 51100, HEARTBEAT_ASK,    61100 },
    };
    LOOK_ALL(rows, 0, 0);
    LOOK_ALL(rows, 0, 20);  /* its pings change nothing of that */
}

static void a_link_of_12_beats_is_given_up_when_its_beat_is_missed(void **state)
{
    (void)state;
    static const struct look rows[] = {
        { "just heard",             1000,      0,   1500, HEARTBEAT_FINE,   131000 },
        { "the beat is late",       1000,      0, 130999, HEARTBEAT_FINE,   131000 },
        { "too late: it is asked",  1000,      0, 131000, HEARTBEAT_ASK,    141000 },
        { "asked, still in grace",  1000, 131000, 140999, HEARTBEAT_FINE,   141000 },
        { "asked, no answer",       1000, 131000, 141000, HEARTBEAT_SILENT, 0 },
    };
    LOOK_ALL(rows, 120000, 12);
    LOOK_ALL(rows, 120000, 1000);
}

static void a_young_link_has_12_beats_of_patience(void **state)
{
    (void)state;
    static const struct look rows[] = {
        { "too late: it is asked",  1000,      0,  131000, HEARTBEAT_ASK,    261000 },
        { "asked, still in grace",  1000, 131000,  141000, HEARTBEAT_FINE,   271000 },
        { "eleven beats missed",    1000, 131000, 1400000, HEARTBEAT_FINE,  1441000 },
        { "the last moment",        1000, 131000, 1440999, HEARTBEAT_FINE,  1441000 },
        { "twelve beats missed",    1000, 131000, 1441000, HEARTBEAT_SILENT, 0 },
    };
    LOOK_ALL(rows, 120000, 0);
    LOOK_ALL(rows, 120000, 11);
}

/* The heartbeat is shorter than the grace: the next check comes after one heartbeat, so that an answered ping is
 * followed by the next ping. */
static void pings_come_at_every_heartbeat(void **state)
{
    (void)state;
    static const struct heartbeat_limits quick = { .asked_ms = 1000, .pong_timeout_ms = 10000 };
    struct heartbeat                     heartbeat;
    msec                                 now = 5000, next = 0;

    heartbeat_init(&heartbeat, now - 1000);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(heartbeat_judge(&heartbeat, &quick, false, now, &next), HEARTBEAT_ASK);
        assert_in_range(next - now, 1, 1000);
        heartbeat_heard(&heartbeat, now + 3);
        now += 3 + quick.asked_ms;
    }
    /* A client that doesn't answer is given up after the grace, not after one heartbeat. */
    assert_int_equal(heartbeat_judge(&heartbeat, &quick, false, now, &next), HEARTBEAT_ASK);
    assert_int_equal(heartbeat_judge(&heartbeat, &quick, false, now + 9999, &next), HEARTBEAT_FINE);
    assert_int_equal(heartbeat_judge(&heartbeat, &quick, false, now + 10000, &next), HEARTBEAT_SILENT);
}

static void while_bytes_wait_nobody_is_given_up(void **state)
{
    (void)state;
    struct heartbeat heartbeat;
    msec             next = 0;

    heartbeat_init(&heartbeat, 0);
    assert_int_equal(heartbeat_judge(&heartbeat, &limits, false, 25000, &next), HEARTBEAT_ASK);
    assert_int_equal(heartbeat_judge(&heartbeat, &limits, true, 100000, &next), HEARTBEAT_FINE);
    assert_int_equal(next, 125000);
    assert_int_equal(heartbeat_judge(&heartbeat, &limits, true, 3000000, &next), HEARTBEAT_FINE);
    assert_int_equal(heartbeat_judge(&heartbeat, &limits, false, 3000001, &next), HEARTBEAT_SILENT);
    heartbeat_put_off(&heartbeat, 3000001);
    assert_int_equal(heartbeat_judge(&heartbeat, &limits, false, 3010000, &next), HEARTBEAT_FINE);
    assert_int_equal(next, 3010001);
    assert_int_equal(heartbeat_judge(&heartbeat, &limits, false, 3010001, &next), HEARTBEAT_SILENT);
}

static void an_interval_is_agreed_within_the_bounds(void **state)
{
    (void)state;
    static const struct { const char *name; msec offer, bears, want; } rows[] = {
        { "no interval",                                   0,      0,  120000 },
        { "an interval",                                30000,      0,   30000 },
        { "too short",                              1000,      0,   10000 },
        { "too long",                            9000000,      0, 1800000 },
        { "no interval, and the network bears less",       0,  90000,   90000 },
        { "the network bears less than that", 600000,  90000,   90000 },
        { "that is less than it bears",        60000,  90000,   60000 },
        { "whole seconds are told",                    0,  67500,   67000 },
        { "the network bears less than the bound",     0,   5000,   10000 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct heartbeat heartbeat;
        heartbeat_init(&heartbeat, 0);
        assert_int_equal(heartbeat_interval(&heartbeat, &limits), 25000);
        if (heartbeat_agree(&heartbeat, &limits, rows[i].offer, rows[i].bears) != rows[i].want ||
            heartbeat_interval(&heartbeat, &limits) != rows[i].want)
            fail_msg("%s: %lld", rows[i].name, (long long)heartbeat_interval(&heartbeat, &limits));
    }
}

static void no_interval_is_longer_than_a_day(void **state)
{
    (void)state;
    struct heartbeat_limits wide = limits;
    struct heartbeat        heartbeat;

    wide.most_ms = INT64_C(1) << 40;
    heartbeat_init(&heartbeat, 0);
    assert_int_equal(heartbeat_agree(&heartbeat, &wide, INT64_C(1) << 39, 0), HEARTBEAT_MS_LONGEST);
    heartbeat_beat(&heartbeat, &wide, INT64_MAX);
    assert_int_equal(heartbeat_interval(&heartbeat, &wide), HEARTBEAT_MS_LONGEST);
}

static void a_promise_holds_until_it_is_replaced(void **state)
{
    (void)state;
    struct heartbeat heartbeat;
    msec             next = 0;

    heartbeat_init(&heartbeat, 0);
    heartbeat_agree(&heartbeat, &limits, 60000, 0);
    for (int i = 0; i < 12; i++)
        heartbeat_beat(&heartbeat, &limits, 0);
    heartbeat_heard(&heartbeat, 1000);
    heartbeat_beat(&heartbeat, &limits, 300000);
    assert_int_equal(heartbeat_due(&heartbeat, &limits, 1000), 311000);
    assert_int_equal(heartbeat_judge(&heartbeat, &limits, false, 310999, &next), HEARTBEAT_FINE);

    heartbeat_heard(&heartbeat, 301000);
    heartbeat_beat(&heartbeat, &limits, 0);
    assert_int_equal(heartbeat_due(&heartbeat, &limits, 301000), 611000);

    heartbeat_heard(&heartbeat, 601000);
    heartbeat_beat(&heartbeat, &limits, 20000);
    assert_int_equal(heartbeat_judge(&heartbeat, &limits, false, 631000, &next), HEARTBEAT_ASK);
    assert_int_equal(heartbeat_judge(&heartbeat, &limits, false, 641000, &next), HEARTBEAT_SILENT);

    heartbeat_heard(&heartbeat, 642000);
    heartbeat_beat(&heartbeat, &limits, 1);
    assert_int_equal(heartbeat_interval(&heartbeat, &limits), 10000);
}

static void a_promise_of_a_client_that_is_asked_changes_nothing(void **state)
{
    (void)state;
    struct heartbeat heartbeat;

    heartbeat_init(&heartbeat, 0);
    heartbeat_beat(&heartbeat, &limits, 600000);
    assert_false(heartbeat_is_of_client(&heartbeat));
    assert_int_equal(heartbeat_interval(&heartbeat, &limits), 25000);
}

static void a_byte_says_how_long_there_was_none(void **state)
{
    (void)state;
    struct heartbeat heartbeat;

    heartbeat_init(&heartbeat, origin);
    assert_int_equal(heartbeat_heard(&heartbeat, origin + 30000), 30000);
    assert_int_equal(heartbeat_heard(&heartbeat, origin + 30001), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_that_offers_nothing_is_asked_then_given_up),
        cmocka_unit_test(a_link_of_12_beats_is_given_up_when_its_beat_is_missed),
        cmocka_unit_test(a_young_link_has_12_beats_of_patience),
        cmocka_unit_test(pings_come_at_every_heartbeat),
        cmocka_unit_test(while_bytes_wait_nobody_is_given_up),
        cmocka_unit_test(an_interval_is_agreed_within_the_bounds),
        cmocka_unit_test(no_interval_is_longer_than_a_day),
        cmocka_unit_test(a_promise_holds_until_it_is_replaced),
        cmocka_unit_test(a_promise_of_a_client_that_is_asked_changes_nothing),
        cmocka_unit_test(a_byte_says_how_long_there_was_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
