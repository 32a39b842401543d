/* threat 22: a wall clock that is set while the server runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "reactor/wall_clock.h"

#include <cmocka.h>

#define MINUTE INT64_C(60000)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)
#define YEARS  (3650 * DAY)

enum { STEPS_MAX = 5 };

/* Each transcript begins at BEGIN, in truth and on the clock; `wall` is what it's taken for. */
#define BEGIN (20000 * DAY)

static const struct {
    const char *name;
    struct { msec passed, says, wall, off; } steps[STEPS_MAX];  /* all but `off` behind the beginning */
} transcripts[] = {
    { "a good clock", { { 1, 1, 1, 0 }, { DAY, DAY, DAY, 0 }, { 9 * DAY, 9 * DAY, 9 * DAY, 0 } } },
    { "a slow one is followed", { { HOUR, HOUR - 5, HOUR - 5, 0 }, { 2 * HOUR, 2 * HOUR - 10, 2 * HOUR - 10, 0 } } },
    { "small steps too, both ways, however many", {
        { 0, 10 * MINUTE, 10 * MINUTE, 0 }, { 1, 20 * MINUTE, 20 * MINUTE, 0 }, { 2, 11 * MINUTE, 11 * MINUTE, 0 } } },
    { "the smallest leap",
      { { 0, 10 * MINUTE + 1, 0, 10 * MINUTE + 1 }, { 0, -10 * MINUTE - 1, 0, -10 * MINUTE - 1 } } },
    { "ahead and back", {
        { HOUR, HOUR + YEARS, HOUR, YEARS }, { 2 * HOUR, 2 * HOUR + YEARS, 2 * HOUR, YEARS },
        { 3 * HOUR, 3 * HOUR, 3 * HOUR, 0 }, { 9 * DAY, 9 * DAY, 9 * DAY, 0 } } },
    { "behind and back", {
        { HOUR, HOUR - YEARS, HOUR, -YEARS }, { 2 * HOUR, 2 * HOUR - YEARS, 2 * HOUR, -YEARS },
        { 3 * HOUR, 3 * HOUR + 5, 3 * HOUR + 5, 0 } } },
    { "it stands by its word", {
        { HOUR, 9 * HOUR, HOUR, 8 * HOUR }, { HOUR + DAY - 1, 9 * HOUR + DAY - 1, HOUR + DAY - 1, 8 * HOUR },
        { HOUR + DAY, 9 * HOUR + DAY, 9 * HOUR + DAY, 0 }, { 2 * DAY, 2 * DAY + 8 * HOUR, 2 * DAY + 8 * HOUR, 0 } } },
    { "and behind", {
        { HOUR, -7 * HOUR, HOUR, -8 * HOUR }, { HOUR + DAY, DAY - 7 * HOUR, DAY - 7 * HOUR, 0 } } },
    { "another word begins anew, a little shift doesn't", {
        { 0, YEARS, 0, YEARS }, { DAY - 1, 2 * YEARS, DAY - 1, 2 * YEARS - DAY + 1 },
        { 2 * DAY - 2, 2 * YEARS + DAY, 2 * DAY - 2, 2 * YEARS - DAY + 2 },
        { 2 * DAY - 1, 2 * YEARS + DAY, 2 * YEARS + DAY, 0 } } },
    { "doubted twice", {
        { 0, YEARS, 0, YEARS }, { HOUR, HOUR, HOUR, 0 }, { DAY, DAY + YEARS, DAY, YEARS },
        { 2 * DAY, 2 * DAY + YEARS, 2 * DAY + YEARS, 0 } } },
    { "the process slept through a leap", { { 3 * DAY, 3 * DAY + HOUR, 3 * DAY, HOUR } } },
};

static void test_transcripts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof transcripts / sizeof transcripts[0]; i++) {
        struct wall_clock clock;
        wall_clock_init(&clock, 77, BEGIN);
        for (size_t step = 0; step < STEPS_MAX; step++) {
            msec passed = transcripts[i].steps[step].passed, says = transcripts[i].steps[step].says;
            if (passed == 0 && says == 0)
                break;
            msec wall = wall_clock_look(&clock, 77 + passed, BEGIN + says) - BEGIN;
            if (wall != transcripts[i].steps[step].wall || clock.off != transcripts[i].steps[step].off)
                fail_msg("%s, step %zu: %lld, off by %lld", transcripts[i].name, step, (long long)wall,
                         (long long)clock.off);
        }
    }
}

/* The clock at the start, against the newest time that was seen before. */
static void test_starts(void **state)
{
    static const struct {
        const char *name;
        msec        says, seen, wall;  /* `seen` 0: none; the others behind BEGIN */
    } rows[] = {
        { "nothing was seen", YEARS, 0, YEARS },
        { "stopped for a moment", HOUR, BEGIN, HOUR },
        { "stopped for a week", 7 * DAY, BEGIN, 7 * DAY },
        { "years ahead", YEARS, BEGIN, 0 },
        { "a little behind", -10 * MINUTE, BEGIN, -10 * MINUTE },
        { "behind", -11 * MINUTE, BEGIN, 0 },
        { "years behind", -YEARS, BEGIN, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct wall_clock clock;
        const msec        says = rows[i].says, wall = wall_clock_compare(&clock, 77, BEGIN + says, rows[i].seen) - BEGIN;
        if (wall != rows[i].wall || clock.off != says - wall)
            fail_msg("%s: %lld, off by %lld", rows[i].name, (long long)wall, (long long)clock.off);
        assert_int_equal(wall_clock_look(&clock, 78, BEGIN + says + 1), BEGIN + wall + 1);
        assert_int_equal(wall_clock_look(&clock, 77 + DAY, BEGIN + says + DAY), BEGIN + says + DAY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_transcripts), cmocka_unit_test(test_starts) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
