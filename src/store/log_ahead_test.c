/* Zeros ahead of a writer: a file that is written as RocksDB writes its log, at an offset of its own. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/must.h"
#include "store/log_ahead.h"
#include "store/rocks_battery.h"

#include <cmocka.h>

enum { ZEROS = 4096, RECORD = 100, RECORDS = 400, LOGS_END = 24 };

struct logs {
    char *path;
    int   fd;  /* of the writer */
};

static void log_begin(struct logs *logs, const char *name, int more_flags)
{
    char *path = NULL;

    must(asprintf(&path, "%s/%s", logs->path, name) >= 0);
    if (logs->fd >= 0)
        close(logs->fd);
    logs->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | more_flags, 0600);
    assert_true(logs->fd >= 0);
    free(path);
}

static struct buf log_bytes(const struct logs *logs, const char *name)
{
    char *path = NULL;

    must(asprintf(&path, "%s/%s", logs->path, name) >= 0);
    struct buf bytes = file_read(path);
    free(path);
    return bytes;
}

static size_t log_size(const struct logs *logs)
{
    struct stat about;

    assert_int_equal(fstat(logs->fd, &about), 0);
    return (size_t)about.st_size;
}

/* The record number `i` is made of bytes of that number, none of which is 0. */
static void record_write(const struct logs *logs, size_t i, size_t len)
{
    char bytes[ZEROS];

    memset(bytes, (int)(i % 255 + 1), len);
    assert_int_equal(write(logs->fd, bytes, len), len);
}

/* All records from `from` on, and nothing but zeros behind them. */
static void expect_records(const struct logs *logs, const char *name, size_t from, size_t to)
{
    struct buf bytes = log_bytes(logs, name);
    size_t     at    = 0;

    for (; at < (to - from) * RECORD; at++)
        if ((uint8_t)bytes.at[at] != (from + at / RECORD) % 255 + 1)
            fail_msg("the byte at %zu is %u", at, (uint8_t)bytes.at[at]);
    for (; at < bytes.len; at++)
        assert_int_equal(bytes.at[at], 0);
    buf_fini(&bytes);
}

static int setup(void **state)
{
    struct logs  *logs = calloc(1, sizeof *logs);
    struct statfs about;

    must(logs != NULL);
    logs->path = directory_new();
    logs->fd   = -1;
    *state     = logs;
    if (statfs(logs->path, &about) == 0 && about.f_type != EXT4_SUPER_MAGIC)
        print_message("not on ext4: nothing is tested\n");
    return 0;
}

static int teardown(void **state)
{
    struct logs *logs = *state;

    if (logs->fd >= 0)
        close(logs->fd);
    directory_remove(logs->path);
    free(logs->path);
    free(logs);
    return 0;
}

/* Ends the test where zeros are of no use. */
#define ahead_or_skip(ahead) \
    if ((ahead) == NULL)     \
        skip()

static void a_log_is_written_over_zeros(void **state)
{
    struct logs      *logs  = *state;
    struct log_ahead *ahead = log_ahead_new(logs->path, ZEROS);

    ahead_or_skip(ahead);
    log_begin(logs, "000007.log", 0);
    for (size_t i = 0; i < RECORDS; i++) {
        log_ahead_make(ahead, RECORD);
        const size_t before = log_size(logs);
        assert_true(before >= (i + 1) * RECORD);
        record_write(logs, i, RECORD);
        assert_int_equal(log_size(logs), before);
    }
    assert_true(log_size(logs) <= RECORDS * (RECORD + 7) + ZEROS);
    expect_records(logs, "000007.log", 0, RECORDS);
    log_ahead_free(ahead);
}

/* A log that is closed is left alone, but for zeros that nobody needed any more. */
static void a_new_log_gets_zeros_too(void **state)
{
    struct logs      *logs  = *state;
    struct log_ahead *ahead = log_ahead_new(logs->path, ZEROS);
    size_t            over  = 0;

    ahead_or_skip(ahead);
    log_begin(logs, "000007.log", 0);
    log_begin(logs, "000009.log", 0);
    log_begin(logs, "000008.sst", 0);
    log_begin(logs, "000010.log", 0);
    for (size_t i = 0; i < RECORDS; i++) {
        if (i == RECORDS / 2)
            log_begin(logs, "000123.log", 0);
        log_ahead_make(ahead, RECORD);
        const size_t before = log_size(logs);
        record_write(logs, i, RECORD);
        over += log_size(logs) == before;
    }
    assert_true(over >= RECORDS - ZEROS / RECORD - 1);
    expect_records(logs, "000007.log", 0, 0);
    expect_records(logs, "000008.sst", 0, 0);
    expect_records(logs, "000009.log", 0, 0);
    expect_records(logs, "000010.log", 0, RECORDS / 2);
    expect_records(logs, "000123.log", RECORDS / 2, RECORDS);
    struct buf skipped = log_bytes(logs, "000009.log");
    assert_int_equal(skipped.len, 0);
    buf_fini(&skipped);
    log_ahead_free(ahead);
}

/* What was written without being told, or as one large record, is passed. */
static void zeros_come_behind_what_was_written(void **state)
{
    struct logs      *logs  = *state;
    struct log_ahead *ahead = log_ahead_new(logs->path, ZEROS);

    ahead_or_skip(ahead);
    log_begin(logs, "000007.log", 0);
    log_ahead_make(ahead, ZEROS);
    assert_int_equal(log_size(logs), 0);  /* a large record needs none */
    for (size_t i = 0; i < RECORDS; i++) {
        if (i % 3 == 0)
            log_ahead_make(ahead, RECORD);
        record_write(logs, i, RECORD);
    }
    expect_records(logs, "000007.log", 0, RECORDS);
    log_ahead_free(ahead);
}

/* A writer that appends would write behind the zeros. */
static void a_writer_that_appends_gets_none(void **state)
{
    struct logs      *logs  = *state;
    struct log_ahead *ahead = log_ahead_new(logs->path, ZEROS);

    ahead_or_skip(ahead);
    log_begin(logs, "000007.log", O_APPEND);
    for (size_t i = 0; i < RECORDS; i++) {
        log_ahead_make(ahead, RECORD);
        record_write(logs, i, RECORD);
    }
    assert_int_equal(log_size(logs), RECORDS * RECORD);
    log_ahead_free(ahead);
}

static void another_file_system_gets_none(void **state)
{
    (void)state;
    assert_null(log_ahead_new("/proc", ZEROS));
    assert_null(log_ahead_new("/nowhere", ZEROS));
    log_ahead_make(NULL, RECORD);
    log_ahead_free(NULL);
}

/* Zeros that can't be written: the log is written without them, and errno is the caller's. */
static void a_file_that_may_not_grow_gets_none(void **state)
{
    struct logs      *logs  = *state;
    struct log_ahead *ahead = log_ahead_new(logs->path, ZEROS);
    struct rlimit     limit, none;

    ahead_or_skip(ahead);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    none = limit;
    log_begin(logs, "000007.log", 0);
    for (size_t i = 0; i < RECORDS; i++) {
        none.rlim_cur = log_size(logs);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
        errno = ENOTTY;
        log_ahead_make(ahead, RECORD);
        assert_int_equal(errno, ENOTTY);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        record_write(logs, i, RECORD);
        assert_int_equal(log_size(logs), (i + 1) * RECORD);
    }
    expect_records(logs, "000007.log", 0, RECORDS);
    log_ahead_free(ahead);
}

struct appender {
    struct log_ahead *ahead;
    atomic_bool       is_over;
};

static void *append_zeros(void *context)
{
    struct appender *appender = context;

    while (!atomic_load(&appender->is_over))
        for (int i = 0; i < 16; i++)
            log_ahead_make(appender->ahead, ZEROS / 8);
    return NULL;
}

/* The claim that all else stands on: zeros never replace a byte that was written, whichever comes first. */
static void zeros_never_replace_what_was_written(void **state)
{
    struct logs    *logs     = *state;
    struct appender appender = { .ahead = log_ahead_new(logs->path, ZEROS) };
    bool            has_met = false;
    pthread_t       thread;
    char            name[32];

    ahead_or_skip(appender.ahead);
    log_begin(logs, "000007.log", 0);
    log_ahead_make(appender.ahead, RECORD);
    assert_int_equal(log_size(logs), ZEROS);
    assert_int_equal(pthread_create(&thread, NULL, append_zeros, &appender), 0);
    for (size_t log = 8; log < LOGS_END; log++) {
        snprintf(name, sizeof name, "%06zu.log", log);
        log_begin(logs, name, 0);
        for (size_t i = 0; i < RECORDS; i++)
            record_write(logs, i, RECORD);
        while (!has_met && log_size(logs) <= RECORDS * RECORD)  /* the other thread has not run yet */
            sched_yield();
        has_met = true;
    }
    atomic_store(&appender.is_over, true);
    pthread_join(thread, NULL);
    for (size_t log = 8; log < LOGS_END; log++) {
        snprintf(name, sizeof name, "%06zu.log", log);
        struct buf bytes = log_bytes(logs, name);
        for (size_t at = 0; at < RECORDS * RECORD; at++)
            if ((uint8_t)bytes.at[at] != at / RECORD % 255 + 1)
                fail_msg("%s: the byte at %zu is %u", name, at, (uint8_t)bytes.at[at]);
        buf_fini(&bytes);
    }
    log_ahead_free(appender.ahead);
}

#define LOG_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(a_log_is_written_over_zeros),
        LOG_TEST(a_new_log_gets_zeros_too),
        LOG_TEST(zeros_come_behind_what_was_written),
        LOG_TEST(a_writer_that_appends_gets_none),
        LOG_TEST(another_file_system_gets_none),
        LOG_TEST(a_file_that_may_not_grow_gets_none),
        LOG_TEST(zeros_never_replace_what_was_written),
    };

    signal(SIGXFSZ, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
