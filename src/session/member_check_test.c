/* When is it asked whether who follows a group without a session is still a member? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/must.h"
#include "device/membership.h"
#include "session/serve.h"

#include <cmocka.h>

static void rounds_begin_where_a_notice_may_have_been_missed(void **state)
{
    static const struct { const char *name; msec every; bool may_miss; uint64_t unknown; bool want; } rows[] = {
        { "a cluster", 100, true, 0, true },
        { "a node alone", 100, false, 0, false },
        { "a node alone, behind a leave of which nobody knew", 100, false, 1, true },
        { "switched off", 0, true, 1, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct session_worker *worker      = calloc(1, sizeof *worker);
        struct memberships     memberships = { .unknown_leaves = { rows[i].unknown } };
        struct loop            loop        = { .now = 5 };
        struct shard          *shard       = calloc(1, sizeof *shard);

        must(worker != NULL && shard != NULL);
        worker->limits.member_check_ms = rows[i].every;
        worker->limits.may_miss_leaves = rows[i].may_miss;
        worker->memberships            = &memberships;
        worker->loop                   = &loop;
        worker->shard                  = shard;
        member_check_tick(worker);
        if ((worker->member_check.next_round == 105) != rows[i].want)
            fail_msg("%s", rows[i].name);
        free(shard);
        free(worker);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds_begin_where_a_notice_may_have_been_missed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
