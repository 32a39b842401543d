/* What is known of a device says how far a message came. */
#include "device/device_facts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

enum { EPOCH = 7, SEQ = 10, NOW = 5000 };

static const struct {
    const char         *name;
    struct device_facts facts;
    msec                accepted;
    enum receipt_state  want;
    msec                time;
} rows[] = {
    { "nothing is known", { .since = 100 }, 200, RECEIPT_PENDING, 0 },
    { "a place before it",
      { .has_place = true, .place_epoch = EPOCH, .place_seq = SEQ - 1, .place_wall = 300 }, 200, RECEIPT_PENDING, 0 },
    { "its place", { .has_place = true, .place_epoch = EPOCH, .place_seq = SEQ, .place_wall = 300 }, 200,
      RECEIPT_ACKNOWLEDGED, 300 },
    { "a place behind it", { .has_place = true, .place_epoch = EPOCH, .place_seq = 99, .place_wall = 300 }, 200,
      RECEIPT_ACKNOWLEDGED, 300 },
    { "a place of another life of the log",
      { .has_place = true, .place_epoch = EPOCH + 1, .place_seq = 99, .place_wall = 300 }, 200, RECEIPT_PENDING, 0 },
    { "the session began behind it",
      { .since = 201, .has_place = true, .place_epoch = EPOCH, .place_seq = SEQ, .place_wall = 300 }, 200,
      RECEIPT_NOT_MEANT, 0 },
    { "its time is not known",
      { .since = 201, .has_place = true, .place_epoch = EPOCH, .place_seq = SEQ, .place_wall = 300 }, 0,
      RECEIPT_ACKNOWLEDGED, 300 },
    { "the clock was set back: its place says that it is for this session",
      { .since = 201, .has_place = true, .place_epoch = EPOCH, .place_seq = SEQ - 1 }, 200, RECEIPT_PENDING, 0 },
    { "the link is behind it",
      { .is_link_told = true, .link = { .is_there = true, .is_own = true, .is_placed = true, .epoch = EPOCH, .seen = SEQ } },
      200, RECEIPT_WRITTEN, NOW },
    { "the link is before it",
      { .is_link_told = true,
        .link = { .is_there = true, .is_own = true, .is_placed = true, .epoch = EPOCH, .seen = SEQ - 1 } },
      200, RECEIPT_PENDING, 0 },
    { "the loop did not answer", { .link = { .is_there = true, .is_own = true, .is_placed = true, .epoch = EPOCH, .seen = SEQ } },
      200, RECEIPT_PENDING, 0 },
    { "the link is gone", { .is_link_told = true, .link = { .is_own = true, .is_placed = true, .epoch = EPOCH, .seen = SEQ } },
      200, RECEIPT_PENDING, 0 },
    { "the channel has not answered",
      { .is_link_told = true, .link = { .is_there = true, .is_own = true, .epoch = EPOCH, .seen = SEQ } }, 200,
      RECEIPT_PENDING, 0 },
    { "the client follows it beside its session: it may have begun behind it",
      { .is_link_told = true, .link = { .is_there = true, .is_placed = true, .epoch = EPOCH, .seen = SEQ } }, 200,
      RECEIPT_PENDING, 0 },
    { "the link tells heads alone",
      { .is_link_told = true,
        .link = { .is_there = true, .is_own = true, .is_placed = true, .is_silent = true, .epoch = EPOCH, .seen = SEQ } },
      200, RECEIPT_PENDING, 0 },
    { "the link is in another life of the log",
      { .is_link_told = true,
        .link = { .is_there = true, .is_own = true, .is_placed = true, .epoch = EPOCH - 1, .seen = 99 } },
      200, RECEIPT_PENDING, 0 },
};

static void the_judge_knows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct receipt_message message = { EPOCH, SEQ, rows[i].accepted };
        msec                         time    = -1;
        enum receipt_state           got     = receipt_judge(&rows[i].facts, &message, NOW, &time);
        if (got != rows[i].want || time != rows[i].time)
            fail_msg("%s: %s since %lld", rows[i].name, receipt_state_text(got), (long long)time);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_judge_knows) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
