/* What a node's metrics say, and how numbers are shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "longwire/node_rates.h"

static const char METRICS[] = "# HELP longwire_sessions clients that follow\n"
                              "# TYPE longwire_sessions gauge\n"
                              "longwire_sessions{transport=\"websocket\"} 17\n"
                              "longwire_sessions{transport=\"a blank\"} 3\n"
                              "longwire_sessions_other 1000\n"
                              "longwire_publishes_total{store=\"durable\"} 100\n"
                              "longwire_lagging_readers 2\n"
                              "longwire_publishes_waiting NaN\n"
                              "\n"
                              "longwire_bus_items_total{direction=\"out\",kind=\"message\"} 7\n"
                              "longwire_bus_items_total{direction=\"in\",kind=\"message\"} 5\n"
                              "longwire_bus_items_total{direction=\"in\",kind=\"head\"} 4\n"
                              "longwire_bus_gaps_total";

static void sums_over_labels(void **state)
{
    struct node_sample sample;
    (void)state;
    node_sample_read(&sample, span_str(METRICS), 5000);
    assert_true(sample.is_there);
    assert_int_equal(sample.at, 5000);
    assert_int_equal((int)sample.numbers[NUMBER_CLIENTS], 20);
    assert_int_equal((int)sample.numbers[NUMBER_PUBLISHED], 100);
    assert_int_equal((int)sample.numbers[NUMBER_LAGGING], 2);
    assert_int_equal((int)sample.numbers[NUMBER_WAITING], 0);
    assert_int_equal((int)sample.numbers[NUMBER_HOLES], 0);
    assert_int_equal((int)sample.numbers[NUMBER_HEARD], 9);
}

static const struct { const char *name; struct node_sample before, now; enum node_number number; int want; } shown_rows[] = {
    { "a rate", { true, 1000, { [NUMBER_PUBLISHED] = 10 } }, { true, 3000, { [NUMBER_PUBLISHED] = 110 } }, NUMBER_PUBLISHED, 50 },
    { "without a sample before", { 0 }, { true, 3000, { [NUMBER_PUBLISHED] = 110 } }, NUMBER_PUBLISHED, 0 },
    { "after a restart", { true, 1000, { [NUMBER_PUBLISHED] = 99 } }, { true, 3000, { [NUMBER_PUBLISHED] = 1 } }, NUMBER_PUBLISHED, 0 },
    { "in the same moment", { true, 1000, { 0 } }, { true, 1000, { [NUMBER_PUBLISHED] = 1 } }, NUMBER_PUBLISHED, 0 },
    { "no rate", { true, 1000, { [NUMBER_CLIENTS] = 99 } }, { true, 3000, { [NUMBER_CLIENTS] = 7 } }, NUMBER_CLIENTS, 7 },
};

static void rates(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shown_rows / sizeof *shown_rows; i++) {
        double shown = node_number_shown(&shown_rows[i].before, &shown_rows[i].now, shown_rows[i].number);
        if ((int)shown != shown_rows[i].want)
            fail_msg("%s: %f", shown_rows[i].name, shown);
    }
}

static const struct { double number; const char *want; } put_rows[] = {
    { 0, "0" },       { 3, "3" },         { 0.25, "0.2" },    { 9.94, "9.9" },     { 17.4, "17" },          { 9999, "9999" },
    { 10000, "10.0k" }, { 99949, "99.9k" }, { 99951, "100k" }, { 999400, "999k" }, { 1300000, "1.3M" }, { 2e9, "2.0G" },
    { 5e17, "500P" },
};

static void numbers_are_short(void **state)
{
    struct buf buf;
    (void)state;
    buf_init(&buf, 64);
    for (size_t i = 0; i < sizeof put_rows / sizeof *put_rows; i++) {
        buf_clear(&buf);
        node_number_put(&buf, put_rows[i].number);
        buf_putc(&buf, '\0');
        assert_string_equal(buf.at, put_rows[i].want);
    }
    buf_fini(&buf);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_over_labels),
        cmocka_unit_test(rates),
        cmocka_unit_test(numbers_are_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
