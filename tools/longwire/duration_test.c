/* Lengths of time and moments on the command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "longwire/duration.h"

static const struct { const char *text; msec want; } lengths[] = {
    { "90", 90000 },       { "1.5", 1500 },          { "0.0001", 1 },    { "300ms", 300 },       { "1s", 1000 },
    { "5m", 300000 },      { "1h30m", 5400000 },     { "7d", 604800000 }, { "2w", 1209600000 },   { "1.5h", 5400000 },
    { "1m500ms", 60500 },  { "3653d", 315619200000 }, { "316224000", 316224000000 },
    /* what is none */
    { "", -1 },     { "0", -1 },    { "0s", -1 },     { "-1", -1 },   { "+1", -1 },  { "m", -1 },      { "5M", -1 },
    { "5 m", -1 },  { "1h30", -1 }, { "5min", -1 },   { "1e3", -1 },  { ".5", -1 },  { "1.", -1 },     { "nan", -1 },
    { "inf", -1 },  { "0x10", -1 }, { "11000d", -1 }, { "5m ", -1 },
    { "99999999999999999999999999999999999999999999999999999999999999999", -1 },
};

static void test_lengths(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        msec got = -1;
        bool is  = duration_parse(span_str(lengths[i].text), &got);
        if (is != (lengths[i].want >= 0) || got != lengths[i].want)
            fail_msg("\"%s\": %lld", lengths[i].text, (long long)got);
    }
}

enum { NOW = 1795297177 };

static const struct { const char *text; msec want; } moments[] = {
    { "1h", ((msec)NOW - 3600) * 1000 },
    { "60", ((msec)NOW - 60) * 1000 },
    { "3650d", (NOW - (msec)3650 * 24 * 3600) * 1000 },
    { "@1795297177831", 1795297177831 },
    { "@0", 0 },
    { "2026-11-28", 1795820400000 },            /* TZ stands in the test */
    { "2026-11-28 13:05", 1795867500000 },
    { "2026-11-28T13:05:09", 1795867509000 },
    { "2026-11-28T13:05:09Z", 1795871109000 },
    { "1970-01-01Z", 0 },
    { "", -1 },             { "yesterday", -1 },  { "@", -1 },     { "@-1", -1 },   { "@99999999999999999999", -1 },
    { "2026-13-01", -1 },   { "2026-11-28 13", -1 }, { "28.11.2026", -1 }, { "1960-01-01Z", -1 }, { "Z", -1 },
};

static void test_moments(void **state)
{
    (void)state;
    setenv("TZ", "XXX-1", 1);  /* an hour east of UTC */
    tzset();
    for (size_t i = 0; i < sizeof moments / sizeof *moments; i++) {
        msec got = -1;
        bool is  = moment_parse(span_str(moments[i].text), (msec)NOW * 1000, &got);
        if (is != (moments[i].want >= 0) || got != moments[i].want)
            fail_msg("\"%s\": %lld", moments[i].text, (long long)got);
    }
}

static void expect_query(const char *text, const char *want)
{
    struct buf buf;
    buf_init(&buf, 256);
    assert_int_equal(moment_put_query(&buf, span_str(text), (msec)NOW * 1000), want != NULL);
    buf_putc(&buf, '\0');
    assert_string_equal(buf.at, want != NULL ? want : "");
    buf_fini(&buf);
}

static void test_moments_for_the_server(void **state)
{
    (void)state;
    expect_query("1h", "3600000ms");
    expect_query("1.5", "1500ms");
    expect_query("@1795297177831", "1795297177831");
    expect_query("2026-11-28T13:05:09Z", "1795871109000");
    expect_query("yesterday", NULL);
}

static void expect_put(void (*put)(struct buf *, uint64_t), uint64_t ms, const char *want)
{
    struct buf buf;
    buf_init(&buf, 256);
    put(&buf, ms);
    buf_putc(&buf, '\0');
    assert_string_equal(buf.at, want);
    buf_fini(&buf);
}

static void test_what_is_printed(void **state)
{
    (void)state;
    setenv("TZ", "XXX-1", 1);
    tzset();
    expect_put(moment_put_local, 1795867509007, "2026-11-28 13:05:09.007");
    expect_put(moment_put_utc, 1795867509007, "2026-11-28T12:05:09.007Z");
    expect_put(moment_put_local, 0, "-");
    expect_put(moment_put_utc, 0, "-");
    expect_put(moment_put_utc, UINT64_MAX, "584556019-04-03T14:25:51.615Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_moments),
        cmocka_unit_test(test_moments_for_the_server),
        cmocka_unit_test(test_what_is_printed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
