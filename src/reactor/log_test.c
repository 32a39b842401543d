/* Log lines: their form, what strangers can't do with them (threat 108), and how much a flood may write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "lib/hand_clock.h"
#include "reactor/log.h"

#include <cmocka.h>

enum { DEADLINE_S = 280 };  /* a write that waits is ended by SIGALRM */

static const msec NOON = INT64_C(1772366400123);  /* 2026-03-01T12:00:00.123Z */

static void line_of(enum log_format format, const struct log_field *fields, size_t count, struct buf *line)
{
    buf_init(line, LOG_LINE_BYTES_MAX);
    log_line_put(line, format, LOG_INFO, NOON, fields, count);
}

static void a_line_says_time_level_event_and_typed_fields(void **state)
{
    (void)state;
    const struct log_field fields[] = {
        log_str("event", "listening"), log_str("address", "127.0.0.1:8080"), log_u64("port", UINT64_MAX),
        log_i64("shift", INT64_MIN),   log_str("error", "no space"),
    };
    struct buf line;

    line_of(LOG_LOGFMT, fields, 5, &line);
    buf_putc(&line, '\0');
    assert_string_equal(line.at, "time=2026-03-01T12:00:00.123Z level=info event=listening address=127.0.0.1:8080 "
                                 "port=18446744073709551615 shift=-9223372036854775808 "
                                 "error=\"no space\"\n");
    buf_fini(&line);

    line_of(LOG_JSON, fields, 5, &line);
    buf_putc(&line, '\0');
    assert_string_equal(line.at, "{\"time\":\"2026-03-01T12:00:00.123Z\",\"level\":\"info\",\"event\":\"listening\","
                                 "\"address\":\"127.0.0.1:8080\",\"port\":18446744073709551615,"
                                 "\"shift\":-9223372036854775808,\"error\":\"no space\"}\n");
    buf_fini(&line);
}

/* threat 108 */
static void no_text_forges_a_line_a_field_or_a_terminal_command(void **state)
{
    (void)state;
    static const struct { const char *name; struct span text; const char *logfmt, *json; } rows[] = {
        { "plain", SPAN("a"), "a", "\"a\"" },
        { "empty", SPAN(""), "\"\"", "\"\"" },
        { "a space", SPAN("a b"), "\"a b\"", "\"a b\"" },
        { "another field", SPAN("x level=error"), "\"x level=error\"", "\"x level=error\"" },
        { "equals", SPAN("a=b"), "\"a=b\"", "\"a=b\"" },
        { "quote", SPAN("a\"b"), "\"a\\\"b\"", "\"a\\\"b\"" },
        { "backslash", SPAN("a\\"), "\"a\\\\\"", "\"a\\\\\"" },
        { "another line", SPAN("a\nevent=b"), "\"a\\nevent=b\"", "\"a\\nevent=b\"" },
        { "return", SPAN("a\r\tb"), "\"a\\r\\tb\"", "\"a\\r\\tb\"" },
        { "NUL", SPAN("a\0b"), "\"a\\u0000b\"", "\"a\\u0000b\"" },
        { "ANSI", SPAN("\x1b[2J"), "\"\\u001b[2J\"", "\"\\u001b[2J\"" },
        { "DEL", SPAN("\x7f"), "\"\\u007f\"", "\"\\u007f\"" },
        { "one-character CSI", SPAN("\xc2\x9b\x32J"), "\"\\u009b2J\"", "\"\\u009b2J\"" },
        { "line separator", SPAN("\xe2\x80\xa8"), "\"\\u2028\"", "\"\\u2028\"" },
        { "right to left", SPAN("\xe2\x80\xae" "exe"), "\"\\u202eexe\"", "\"\\u202eexe\"" },
        { "invisible tag", SPAN("\xf3\xa0\x81\x81"), "\"\\udb40\\udc41\"", "\"\\udb40\\udc41\"" },
        { "words of other scripts stay", SPAN("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"),
          "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"" },
        { "not UTF-8", SPAN("a\xff\xc3"), "\"a\\xff\\xc3\"", "\"a\\ufffd\\ufffd\"" },
        { "overlong newline", SPAN("\xc0\x8a"), "\"\\xc0\\x8a\"", "\"\\ufffd\\ufffd\"" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct log_field fields[] = { log_str("event", "e"), log_span("text", rows[i].text) };
        char       want[256];
        struct buf line;

        line_of(LOG_LOGFMT, fields, 2, &line);
        snprintf(want, sizeof want, "time=2026-03-01T12:00:00.123Z level=info event=e text=%s\n", rows[i].logfmt);
        if (!span_eq(buf_span(&line), span_str(want)))
            fail_msg("%s: %.*s is not %s", rows[i].name, SPAN_ARG(buf_span(&line)), want);
        buf_fini(&line);

        line_of(LOG_JSON, fields, 2, &line);
        snprintf(want, sizeof want,
                 "{\"time\":\"2026-03-01T12:00:00.123Z\",\"level\":\"info\",\"event\":\"e\",\"text\":%s}\n",
                 rows[i].json);
        if (!span_eq(buf_span(&line), span_str(want)))
            fail_msg("%s: %.*s is not %s", rows[i].name, SPAN_ARG(buf_span(&line)), want);
        buf_fini(&line);
    }
}

static void long_texts_and_lines_are_cut_and_say_so(void **state)
{
    (void)state;
    static char long_text[LOG_VALUE_BYTES_MAX * 2];
    struct buf  line;

    /* A two-byte character across the cut goes as a whole. */
    memset(long_text, 'a', sizeof long_text);
    memcpy(long_text + LOG_VALUE_BYTES_MAX - 1, "\xc3\xa9", 2);
    const struct log_field one[] = { log_str("event", "e"), log_span("t", span_of(long_text, sizeof long_text)) };
    line_of(LOG_JSON, one, 2, &line);
    struct span tail = SPAN("aaa...\"}\n");
    assert_true(span_eq(span_skip(buf_span(&line), line.len - tail.len), tail));
    assert_true(line.len < LOG_VALUE_BYTES_MAX + 100);
    buf_fini(&line);

    /* Escaped to six times their size, only the first fits; what is small and comes later still does. */
    memset(long_text, '\x1b', sizeof long_text);
    struct span nasty = span_of(long_text, LOG_VALUE_BYTES_MAX);
    const struct log_field many[] = { log_str("event", "e"), log_span("a", nasty), log_span("b", nasty),
                                      log_u64("last", 7) };
    for (enum log_format format = LOG_LOGFMT; format <= LOG_JSON; format++) {
        line_of(format, many, 4, &line);
        tail = format == LOG_JSON ? SPAN(",\"last\":7,\"cut\":true}\n") : SPAN(" last=7 cut=true\n");
        assert_false(buf_is_over(&line));
        assert_true(span_eq(span_skip(buf_span(&line), line.len - tail.len), tail));
        buf_fini(&line);
    }
}

static void a_line_of_any_length_ends_whole(void **state)
{
    (void)state;
    static char text[LOG_VALUE_BYTES_MAX];
    memset(text, '"', sizeof text);
    for (size_t len = 0; len <= sizeof text; len++) {
        struct log_field fields[6] = { log_str("event", "e") };
        for (size_t i = 1; i < 6; i++)
            fields[i] = log_span("f", span_of(text, i == 5 ? len : 470));
        struct buf line;
        line_of(LOG_JSON, fields, 5, &line);
        assert_false(buf_is_over(&line));
        assert_true(line.len <= LOG_LINE_BYTES_MAX);
        assert_memory_equal(line.at + line.len - 2, "}\n", 2);
        buf_fini(&line);
    }
}

static void a_site_writes_ten_lines_a_second_and_owns_up_to_the_rest(void **state)
{
    (void)state;
    struct log_site site = { 0 };
    uint64_t        suppressed = 99;

    for (int i = 0; i < LOG_LINES_A_SECOND_MAX; i++) {
        assert_true(log_site_pass(&site, 5000 + i, &suppressed));
        assert_int_equal(suppressed, 0);
    }
    for (int i = 0; i < 500; i++)
        assert_false(log_site_pass(&site, 5999, &suppressed));
    assert_true(log_site_pass(&site, 6000, &suppressed));
    assert_int_equal(suppressed, 500);
    assert_true(log_site_pass(&site, 6001, &suppressed));
    assert_int_equal(suppressed, 0);
}

/* --- with a descriptor --------------------------------------------------------------------------------------- */

struct pipe_ends {
    int read, write;
};

static int pipe_open(void **state)
{
    static struct pipe_ends ends;
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0)
        return -1;
    ends   = (struct pipe_ends){ fds[0], fds[1] };
    *state = &ends;
    return 0;
}

static int pipe_close(void **state)
{
    struct pipe_ends *ends = *state;
    log_init(LOG_WARN, LOG_LOGFMT, STDERR_FILENO);
    close(ends->read);
    close(ends->write);
    return 0;
}

static struct span pipe_take(const struct pipe_ends *ends, char *scratch, size_t bytes_max)
{
    ssize_t len = read(ends->read, scratch, bytes_max);
    return span_of(scratch, len < 0 ? 0 : (size_t)len);
}

static size_t count_of(struct span text, const char *what)
{
    size_t count = 0;
    for (; text.len > 0; text = span_skip(text, 1))
        count += span_starts(text, span_str(what));
    return count;
}

static unsigned asked;

static uint64_t ask(void)
{
    return ++asked;
}

static void a_level_that_is_off_costs_nothing(void **state)
{
    struct pipe_ends *ends = *state;
    char              scratch[LOG_LINE_BYTES_MAX];

    log_init(LOG_WARN, LOG_LOGFMT, ends->write);
    LOG(LOG_INFO, "quiet", log_u64("n", ask()));
    assert_int_equal(asked, 0);
    assert_int_equal(pipe_take(ends, scratch, sizeof scratch).len, 0);

    LOG(LOG_WARN, "loud", log_u64("n", ask()), log_errno(ECONNRESET));
    struct span line = pipe_take(ends, scratch, sizeof scratch);
    assert_int_equal(asked, 1);
    assert_int_equal(count_of(line, " level=warn event=loud n=1 error=\"Connection reset by peer\"\n"), 1);

    log_set_level(LOG_INFO);
    LOG(LOG_INFO, "quiet_no_more");
    LOG(LOG_DEBUG, "quiet", log_u64("n", ask()));
    assert_int_equal(asked, 1);
    assert_int_equal(count_of(pipe_take(ends, scratch, sizeof scratch), " event=quiet_no_more\n"), 1);
}

static void flood_once(unsigned lines)
{
    for (unsigned i = 0; i < lines; i++)
        LOG(LOG_ERROR, "flood", log_u64("i", i));
}

/* A flood of bad clients can't fill the disk. */
static void a_flood_is_held_back_and_told_when_its_second_is_over(void **state)
{
    struct pipe_ends *ends = *state;
    char              scratch[65536];

    log_init(LOG_DEBUG, LOG_LOGFMT, ends->write);
    flood_once(10000);
    struct span text = pipe_take(ends, scratch, sizeof scratch);
    assert_int_equal(count_of(text, "event=flood"), LOG_LINES_A_SECOND_MAX);
    log_tell_suppressed();
    assert_int_equal(pipe_take(ends, scratch, sizeof scratch).len, 0);

    hand_clock_pass(1000);
    log_tell_suppressed();
    text = pipe_take(ends, scratch, sizeof scratch);
    assert_int_equal(count_of(text, "event=log_suppressed of=flood suppressed=99"), 1);
    log_tell_suppressed();
    assert_int_equal(pipe_take(ends, scratch, sizeof scratch).len, 0);
}

static void lines_that_the_descriptor_refuses_are_counted(void **state)
{
    struct pipe_ends *ends = *state;
    char              fill[LOG_LINE_BYTES_MAX] = { 0 };
    uint64_t          before = log_lost();

    log_init(LOG_DEBUG, LOG_LOGFMT, ends->write);
    while (write(ends->write, fill, sizeof fill) > 0)
        ;
    LOG(LOG_ERROR, "nobody_reads");
    assert_int_equal(log_lost() - before, 1);
}

/* Standard error as others leave it: a write into a full pipe would wait, and with it every client of that thread. */
static void a_reader_that_stops_stops_nobody(void **state)
{
    struct pipe_ends *ends = *state;
    char              fill[LOG_LINE_BYTES_MAX] = { 0 }, scratch[65536];
    uint64_t          before = log_lost();

    log_init(LOG_DEBUG, LOG_LOGFMT, ends->write);
    while (write(ends->write, fill, sizeof fill) > 0)
        ;
    assert_int_equal(fcntl(ends->write, F_SETFL, 0), 0);
    alarm(DEADLINE_S);
    LOG(LOG_ERROR, "nobody_reads");
    assert_int_equal(log_lost() - before, 1);
    while (pipe_take(ends, scratch, sizeof scratch).len > 0)
        ;
    LOG(LOG_ERROR, "somebody_reads_again");
    alarm(0);
    assert_int_equal(count_of(pipe_take(ends, scratch, sizeof scratch), " event=somebody_reads_again\n"), 1);
    assert_int_equal(log_lost() - before, 1);
}

enum { THREADS = 4 };

static void *two_lines(void *unused)
{
    static const char text[300] = { 0 };
    for (int i = 0; i < 2; i++)
        LOG(LOG_INFO, "many", log_span("text", span_of(text, sizeof text)), log_str("end", "whole"));
    return unused;
}

static void lines_of_several_threads_never_mix(void **state)
{
    struct pipe_ends *ends = *state;
    pthread_t         threads[THREADS];
    char              scratch[65536];

    log_init(LOG_DEBUG, LOG_LOGFMT, ends->write);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, two_lines, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);

    struct span text = pipe_take(ends, scratch, sizeof scratch), line;
    int         lines = 0;
    while (span_cut(&text, '\n', &line)) {
        assert_true(span_starts(line, SPAN("time=")));
        assert_true(span_eq(span_skip(line, line.len - 9), SPAN("end=whole")));
        assert_int_equal(count_of(line, "time="), 1);
        lines++;
    }
    assert_int_equal(lines, THREADS * 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_says_time_level_event_and_typed_fields),
        cmocka_unit_test(no_text_forges_a_line_a_field_or_a_terminal_command),
        cmocka_unit_test(long_texts_and_lines_are_cut_and_say_so),
        cmocka_unit_test(a_line_of_any_length_ends_whole),
        cmocka_unit_test(a_site_writes_ten_lines_a_second_and_owns_up_to_the_rest),
        cmocka_unit_test_setup_teardown(a_level_that_is_off_costs_nothing, pipe_open, pipe_close),
        cmocka_unit_test_setup_teardown(a_flood_is_held_back_and_told_when_its_second_is_over, pipe_open, pipe_close),
        cmocka_unit_test_setup_teardown(lines_that_the_descriptor_refuses_are_counted, pipe_open, pipe_close),
        cmocka_unit_test_setup_teardown(a_reader_that_stops_stops_nobody, pipe_open, pipe_close),
        cmocka_unit_test_setup_teardown(lines_of_several_threads_never_mix, pipe_open, pipe_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
