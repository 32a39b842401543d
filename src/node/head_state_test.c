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
