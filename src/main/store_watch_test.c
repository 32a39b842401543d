/* What the log says of a store that fails: one line when that begins, and one when it has ended. */
#include "main/store_watch.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "reactor/log.h"

#include <cmocka.h>

enum { LOOKS_MAX = 8 };

#define FAILING .is_failing = true

static const struct {
    const char              *name;
    const struct store_stats looks[LOOKS_MAX];
    size_t                   count;
    const char              *want;
} rows[] = {
    { "it works", { { 0 }, { 0 } }, 2, "" },
    { "one connection after the other is lost, while others still stand",
      { { .failure_count = 1, FAILING }, { .failure_count = 3, FAILING }, { .failure_count = 3, FAILING }, { .failure_count = 4, FAILING } },
      4, "store_failed times=1;" },
    { "… and all of them stand again",
      { { .failure_count = 1, FAILING }, { .failure_count = 3, FAILING }, { .failure_count = 3 }, { .failure_count = 3 } },
      4, "store_failed times=1;store_reopened times=3;" },
    { "a failure is repaired between two looks", { { .failure_count = 1 }, { .failure_count = 1 } }, 2, "store_failed times=1;store_reopened times=1;" },
    { "each repair is followed by a failure",
      { { .failure_count = 1 }, { .failure_count = 2 }, { .failure_count = 3 }, { .failure_count = 3 } }, 4,
      "store_failed times=1;store_reopened times=3;" },
    { "the second time is another one",
      { { .failure_count = 1 }, { .failure_count = 1 }, { .failure_count = 3, FAILING }, { .failure_count = 3 } }, 4,
      "store_failed times=1;store_reopened times=1;store_failed times=2;store_reopened times=2;" },
    { "an outcome is not known until a commit is done",
      { { .failure_count = 1, .is_broken = true }, { .failure_count = 1, .is_broken = true }, { .failure_count = 1 } }, 3,
      "store_failed times=1;store_reopened times=1;" },
    { "the disk is full", { { .is_full = true }, { .is_full = true }, { 0 } }, 3, "disk_full;disk_has_room;" },
    { "a write fails for want of room",
      { { .is_full = true, .failure_count = 1 }, { .is_full = true, .failure_count = 1 }, { .failure_count = 1 } }, 3,
      "disk_full;store_failed times=1;disk_has_room;store_reopened times=1;" },
};

/* "event times=N;" of each line. */
static void lines_of(int log, char *told, size_t size)
{
    static char text[LOG_LINE_BYTES_MAX * 2 * LOOKS_MAX];
    ssize_t     len = read(log, text, sizeof text - 1);
    char       *next = text;

    text[len < 0 ? 0 : len] = '\0';
    told[0]                = '\0';
    for (char *line; (line = strsep(&next, "\n")) != NULL && line[0] != '\0';) {
        char       *event = strstr(line, "event=") + strlen("event=");
        const char *times = strstr(line, " times=");
        size_t      used  = strlen(told);
        used += (size_t)snprintf(told + used, size - used, "%.*s", (int)strcspn(event, " "), event);
        if (times != NULL)
            used += (size_t)snprintf(told + used, size - used, " times=%d", atoi(times + strlen(" times=")));
        snprintf(told + used, size - used, ";");
    }
}

static void each_row_has_its_lines(void **state)
{
    (void)state;
    int ends[2];

    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    log_init(LOG_INFO, LOG_LOGFMT, ends[1]);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct store_watch watch = { 0 };
        char               told[512];
        for (size_t at = 0; at < rows[i].count; at++)
            store_watch_look(&watch, &rows[i].looks[at], "postgres");
        lines_of(ends[0], told, sizeof told);
        if (strcmp(told, rows[i].want) != 0)
            fail_msg("%s: \"%s\", not \"%s\"", rows[i].name, told, rows[i].want);
    }
    log_init(LOG_WARN, LOG_LOGFMT, STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(each_row_has_its_lines) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
