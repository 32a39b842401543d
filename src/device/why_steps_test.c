/* What became of a message for a device: the state, and the steps in their order. */
#include "device/why_steps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { EPOCH = 7, SEQ = 10, NOW = 5000 };

#define SESSION    .generation = 3, .since = 100, .seen = 900
#define PLACE(seq) .has_place = true, .place_epoch = EPOCH, .place_seq = (seq), .place_wall = 800
#define LINK(...)                                                                                                      \
    .key = 77, .is_online = true, .is_link_told = true,                                                                \
    .link = { .is_there = true, .is_own = true, .is_placed = true, .epoch = EPOCH, __VA_ARGS__ }
#define MESSAGE .message = { EPOCH, SEQ, 500 }, .now = NOW
#define GONE    .message = { EPOCH, SEQ, 0 }, .now = NOW

static const struct group_spans none = { 0 };
static const struct group_spans member = { 1, { { EPOCH, 5, GROUP_SPAN_OPEN, 0 } } };
static const struct group_spans joined_later = { 1, { { EPOCH, SEQ, GROUP_SPAN_OPEN, 0 } } };
static const struct group_spans left_earlier = { 1, { { EPOCH, 2, SEQ - 1, 31 } } };
static const struct group_spans left_after = { 1, { { EPOCH, 2, SEQ, 31 } } };
static const struct group_spans away_between = { 2, { { EPOCH, 2, 8, 31 }, { EPOCH, 12, GROUP_SPAN_OPEN, 0 } } };

static const struct {
    const char         *name;
    struct device_facts device;
    struct why_facts    facts;
    const char         *want;
} rows[] = {
    { "it was never there", { .generation = 0 }, { MESSAGE }, "no_session: no_session stored@500" },
    { "its session has ended", { .since = 100, .seen = 300 }, { MESSAGE, .has_ended = true },
      "no_session: session_ended@300 stored@500" },
    { "it is away", { SESSION, PLACE(9) }, { MESSAGE },
      "pending: session_began@100 stored@500 place_before@800=9 not_connected@900" },
    { "it has acknowledged nothing", { SESSION, PLACE(0) }, { MESSAGE }, "pending: session_began@100 stored@500 not_connected@900" },
    { "it was away before", { .generation = 3, .since = 100, .seen = 400, PLACE(9) }, { MESSAGE },
      "pending: session_began@100 not_connected@400 stored@500 place_before@800=9" },
    { "it polls", { SESSION, PLACE(9), .is_online = true }, { MESSAGE },
      "pending: session_began@100 stored@500 place_before@800=9 between_polls@900" },
    { "it has it", { SESSION, PLACE(12), .key = 77, .is_online = true }, { MESSAGE, .linked = 300 },
      "acknowledged: session_began@100 connected@300* stored@500 acknowledged@800=12" },
    { "written", { SESSION, PLACE(9), LINK(.seen = 10) }, { MESSAGE, .linked = 300 },
      "written: session_began@100 connected@300* stored@500 routed@500* place_before@800=9 written@5000*=10" },
    { "written on a later link", { SESSION, PLACE(9), LINK(.seen = 10) }, { MESSAGE, .linked = 600 },
      "written: session_began@100 stored@500 connected@600* routed@600* place_before@800=9 written@5000*=10" },
    { "it may have been collapsed", { SESSION, PLACE(9), LINK(.seen = 10) },
      { MESSAGE, .linked = 300, .is_collapsible = true },
      "written_or_collapsed: session_began@100 connected@300* stored@500 routed@500* place_before@800=9 "
      "written_or_collapsed@5000*=10" },
    { "the link is behind", { SESSION, PLACE(4), LINK(.seen = 6) }, { MESSAGE, .linked = 300, .expires_at = 9000 },
      "pending: session_began@100 connected@300* stored@500 routed@500* place_before@800=4 behind@5000*=6 "
      "expires@9000" },
    { "the link is told of heads", { SESSION, PLACE(4), LINK(.seen = 10, .is_silent = true) }, { MESSAGE, .linked = 300 },
      "pending: session_began@100 connected@300* stored@500 routed@500* place_before@800=4 told_of_head@5000*=10" },
    { "the loop did not answer", { SESSION, PLACE(4), .key = 77, .is_online = true }, { MESSAGE, .linked = 300 },
      "pending: session_began@100 connected@300* stored@500 place_before@800=4 not_answered@5000*" },
    { "the link went while it was looked at", { SESSION, PLACE(4), .key = 77, .is_link_told = true }, { MESSAGE },
      "pending: session_began@100 stored@500 connected* place_before@800=4 not_following@5000*" },
    { "its session began later", { .generation = 1, .since = 600, .seen = 700, PLACE(10) }, { MESSAGE },
      "not_meant: stored@500 session_began_later@600 not_connected@700" },
    { "it expired while the device was away", { SESSION, PLACE(9) }, { GONE, .gone = "expired" },
      "expired: session_began@100 stored expired place_before@800=9 not_connected@900" },
    { "it was trimmed, and the device had it", { SESSION, PLACE(12) }, { GONE, .gone = "trimmed" },
      "acknowledged: session_began@100 stored trimmed acknowledged@800=12 not_connected@900" },
    { "it is gone, and the link has passed it", { SESSION, PLACE(9), LINK(.seen = 11) }, { GONE, .gone = "expired", .linked = 300 },
      "expired: session_began@100 stored expired connected@300* routed@300* place_before@800=9 passed@5000*=11" },
    { "it was taken back", { SESSION, PLACE(9), LINK(.seen = 10) }, { MESSAGE, .is_recalled = true, .recalled = 600, .linked = 300 },
      "written: session_began@100 connected@300* stored@500 routed@500* recalled@600 place_before@800=9 written@5000*=10" },
    { "its place is in another life of the log", { SESSION, .has_place = true, .place_epoch = 3, .place_seq = 99, .place_wall = 800 },
      { MESSAGE }, "pending: session_began@100 stored@500 place_in_earlier_epoch@800=99 not_connected@900" },

    { "a member", { SESSION, LINK(.seen = 10) }, { MESSAGE, .way = WHY_MEMBER, .spans = &member, .joined = 200, .linked = 300 },
      "written: session_began@100 joined@200 connected@300* stored@500 routed@500* written@5000*=10" },
    { "no member", { SESSION }, { MESSAGE, .way = WHY_MEMBER, .spans = &none },
      "not_meant: session_began@100 never_member stored@500 not_connected@900" },
    { "a member from later on", { SESSION }, { MESSAGE, .way = WHY_MEMBER, .spans = &joined_later, .joined = 550 },
      "not_meant: session_began@100 stored@500 joined_later@550 not_connected@900" },
    { "no member any more", { SESSION }, { MESSAGE, .way = WHY_MEMBER, .spans = &left_earlier, .left = 450 },
      "not_meant: session_began@100 left_earlier@450 stored@500 not_connected@900" },
    { "a member then, and not now", { SESSION }, { MESSAGE, .way = WHY_MEMBER, .spans = &left_after, .spans_seq = 32,
                                                 .joined = 200, .left = 550 },
      "pending: session_began@100 joined@200 stored@500 left@550 not_connected@900" },
    { "in between", { SESSION }, { MESSAGE, .way = WHY_MEMBER, .spans = &away_between, .joined = 600 },
      "not_meant: session_began@100 left_earlier stored@500 joined_later@600 not_connected@900" },
    { "a member without a session", { .generation = 0 }, { MESSAGE, .way = WHY_MEMBER, .spans = &member, .joined = 200 },
      "no_session: no_session joined@200 stored@500" },

    { "it keeps another channel", { SESSION, PLACE(12), .is_kept = true }, { MESSAGE, .way = WHY_ASKED },
      "passed: session_began@100 stored@500 passed@800=12 not_connected@900" },
    { "… and is behind", { SESSION, PLACE(9), .is_kept = true }, { MESSAGE, .way = WHY_ASKED },
      "pending: session_began@100 stored@500 place_before@800=9 not_connected@900" },
    { "… and was sent it", { SESSION, PLACE(9), .is_kept = true, LINK(.seen = 10) }, { MESSAGE, .way = WHY_ASKED, .linked = 300 },
      "written: session_began@100 connected@300* stored@500 place_before@800=9 written@5000*=10" },
    { "its link follows another channel",
      { SESSION, .key = 77, .is_link_told = true, .link = { .is_there = true, .is_placed = true, .epoch = EPOCH, .seen = 10 } },
      { MESSAGE, .way = WHY_ASKED, .linked = 300 },
      "passed: session_began@100 connected@300* stored@500 passed@5000*=10" },
    { "it does not follow another channel", { SESSION, .key = 77, .is_link_told = true },
      { MESSAGE, .way = WHY_ASKED, .linked = 300 },
      "not_meant: session_began@100 connected@300* never_followed stored@500" },
};

static void put_step(char *text, size_t size, const struct why_step *step)
{
    size_t len = strlen(text);

    len += (size_t)snprintf(text + len, size - len, " %s", step->what);
    if (step->time != 0)
        len += (size_t)snprintf(text + len, size - len, "@%lld", (long long)step->time);
    if (step->is_of_link)
        len += (size_t)snprintf(text + len, size - len, "*");
    if (step->seq != 0)
        snprintf(text + len, size - len, "=%llu", (unsigned long long)step->seq);
}

static void the_answers_hold(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct why_facts facts = rows[i].facts;
        struct why_told told;
        char             text[1024];
        facts.device = &rows[i].device;
        why_tell(&facts, &told);
        snprintf(text, sizeof text, "%s:", told.state);
        for (size_t step = 0; step < told.count; step++)
            put_step(text, sizeof text, &told.steps[step]);
        if (strcmp(text, rows[i].want) != 0)
            fail_msg("%s:\n  %s\n  %s", rows[i].name, text, rows[i].want);
    }
}

static void the_membership_messages_are_found(void **state)
{
    static const struct {
        const struct group_spans *spans;
        struct why_membership     want;
    } cases[] = {
        { &none, { 0 } },
        { &member, { .joined = 40, .is_member_then = true } },
        { &joined_later, { .joined = 40, .is_later = true } },
        { &left_earlier, { .left = 40, .is_earlier = true } },
        { &left_after, { .joined = 31, .left = 40, .is_member_then = true } },
        { &away_between, { .joined = 40, .is_earlier = true, .is_later = true } },
    };
    const struct receipt_message message = { EPOCH, SEQ, 500 };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct why_membership got = why_membership_of(cases[i].spans, 40, &message), want = cases[i].want;
        if (got.joined != want.joined || got.left != want.left || got.is_member_then != want.is_member_then ||
            got.is_later != want.is_later || got.is_earlier != want.is_earlier)
            fail_msg("case %zu", i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_answers_hold),
        cmocka_unit_test(the_membership_messages_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
