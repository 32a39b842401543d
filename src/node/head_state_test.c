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
        bool            is_to_ask;
    } rows[] = {
        { "nobody knows it", HEAD_UNKNOWN, HEAD_WANT, HEAD_ASKED, true },
        { "one question at a time", HEAD_ASKED, HEAD_WANT, HEAD_ASKED, false },
        { "it will be asked again anyway", HEAD_ASKED_AGAIN, HEAD_WANT, HEAD_ASKED_AGAIN, false },
        { "known, but not well enough", HEAD_KNOWN, HEAD_WANT, HEAD_ASKED, true },
        { "nothing to outdate", HEAD_UNKNOWN, HEAD_OUTDATE, HEAD_UNKNOWN, false },
        { "the answer may be old", HEAD_ASKED, HEAD_OUTDATE, HEAD_ASKED_AGAIN, false },
        { "it is old already", HEAD_ASKED_AGAIN, HEAD_OUTDATE, HEAD_ASKED_AGAIN, false },
        { "what is known may be old", HEAD_KNOWN, HEAD_OUTDATE, HEAD_UNKNOWN, false },
        { "told", HEAD_ASKED, HEAD_ANSWER, HEAD_KNOWN, false },
        { "told, and old", HEAD_ASKED_AGAIN, HEAD_ANSWER, HEAD_ASKED, true },
        { "not told", HEAD_ASKED, HEAD_FAIL, HEAD_UNKNOWN, false },
        { "not told, and old", HEAD_ASKED_AGAIN, HEAD_FAIL, HEAD_UNKNOWN, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool            is_to_ask = !rows[i].is_to_ask;
        enum head_state to        = head_state_after(rows[i].from, rows[i].event, &is_to_ask);
        if (to != rows[i].to || is_to_ask != rows[i].is_to_ask)
            fail_msg("%s: to %d, is_to_ask %d", rows[i].name, (int)to, is_to_ask);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_move_is_in_the_table) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
