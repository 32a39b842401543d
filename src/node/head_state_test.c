/* Every move of the question after a head, as a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "node/head_state.h"

#include <cmocka.h>

static void every_move_is_in_the_table(void **state)
{
    (void)state;
    static const struct {
        const char     *name;
        enum head_state from;
        enum head_event event;
        enum head_state to;
    } rows[] = {
        { "nobody knows it", HEAD_UNKNOWN, HEAD_WANT, HEAD_GATHERED },
        { "it will be asked for anyway", HEAD_GATHERED, HEAD_WANT, HEAD_GATHERED },
        { "one question at a time", HEAD_ASKED, HEAD_WANT, HEAD_ASKED },
        { "it will be asked for again anyway", HEAD_ASKED_AGAIN, HEAD_WANT, HEAD_ASKED_AGAIN },
        { "known, but not well enough", HEAD_KNOWN, HEAD_WANT, HEAD_GATHERED },
        { "nothing to outdate", HEAD_UNKNOWN, HEAD_OUTDATE, HEAD_UNKNOWN },
        { "the answer will be new enough", HEAD_GATHERED, HEAD_OUTDATE, HEAD_GATHERED },
        { "the answer may be old", HEAD_ASKED, HEAD_OUTDATE, HEAD_ASKED_AGAIN },
        { "it is old already", HEAD_ASKED_AGAIN, HEAD_OUTDATE, HEAD_ASKED_AGAIN },
        { "what is known may be old", HEAD_KNOWN, HEAD_OUTDATE, HEAD_UNKNOWN },
        { "put", HEAD_GATHERED, HEAD_PUT, HEAD_ASKED },
        { "told", HEAD_ASKED, HEAD_ANSWER, HEAD_KNOWN },
        { "told, and old", HEAD_ASKED_AGAIN, HEAD_ANSWER, HEAD_GATHERED },
        { "not told", HEAD_ASKED, HEAD_FAIL, HEAD_UNKNOWN },
        { "not told, and old", HEAD_ASKED_AGAIN, HEAD_FAIL, HEAD_UNKNOWN },
        { "the route comes first", HEAD_UNKNOWN, HEAD_ROUTE, HEAD_UNROUTED },
        { "what is known is of before the route", HEAD_KNOWN, HEAD_ROUTE, HEAD_UNROUTED },
        { "gathered before the route", HEAD_GATHERED, HEAD_ROUTE, HEAD_UNROUTED_ASKED },
        { "asked before the route", HEAD_ASKED, HEAD_ROUTE, HEAD_UNROUTED_ASKED },
        { "asked again before the route", HEAD_ASKED_AGAIN, HEAD_ROUTE, HEAD_UNROUTED_ASKED },
        { "a second registration", HEAD_UNROUTED, HEAD_ROUTE, HEAD_UNROUTED },
        { "a second one, with a question", HEAD_UNROUTED_ASKED, HEAD_ROUTE, HEAD_UNROUTED_ASKED },
        { "wanted without a route", HEAD_UNROUTED, HEAD_WANT, HEAD_UNROUTED },
        { "wanted without a route, with a question", HEAD_UNROUTED_ASKED, HEAD_WANT, HEAD_UNROUTED_ASKED },
        { "nothing to outdate without a route", HEAD_UNROUTED, HEAD_OUTDATE, HEAD_UNROUTED },
        { "the question is outdated already", HEAD_UNROUTED_ASKED, HEAD_OUTDATE, HEAD_UNROUTED_ASKED },
        { "put, though it counts for nothing", HEAD_UNROUTED_ASKED, HEAD_PUT, HEAD_UNROUTED_ASKED },
        { "told too early", HEAD_UNROUTED_ASKED, HEAD_ANSWER, HEAD_UNROUTED },
        { "not told, and too early", HEAD_UNROUTED_ASKED, HEAD_FAIL, HEAD_UNROUTED },
        { "now it may be asked for", HEAD_UNROUTED, HEAD_ROUTED, HEAD_UNKNOWN },
        { "the question under way does not count", HEAD_UNROUTED_ASKED, HEAD_ROUTED, HEAD_ASKED_AGAIN },
        { "put after the route, gathered before it", HEAD_ASKED_AGAIN, HEAD_PUT, HEAD_ASKED_AGAIN },
        { "routed twice, unknown", HEAD_UNKNOWN, HEAD_ROUTED, HEAD_UNKNOWN },
        { "routed twice, gathered", HEAD_GATHERED, HEAD_ROUTED, HEAD_GATHERED },
        { "routed twice, asked", HEAD_ASKED, HEAD_ROUTED, HEAD_ASKED },
        { "routed twice, known", HEAD_KNOWN, HEAD_ROUTED, HEAD_KNOWN },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum head_state to = head_state_after(rows[i].from, rows[i].event);
        if (to != rows[i].to)
            fail_msg("%s: to %d", rows[i].name, (int)to);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_move_is_in_the_table) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
