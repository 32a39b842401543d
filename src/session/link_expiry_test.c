/* When is a client told that its token ends? */
#include "session/link_expiry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void it_is_told_before_and_ended_then(void **state)
{
    static const struct { const char *name; msec expires_at; bool is_told; enum link_expiry_step want; msec wait; } rows[] = {
        { "far away",              100000000, false, LINK_EXPIRY_WAIT, 3600000 },
        { "an hour and a half",      6400000, false, LINK_EXPIRY_WAIT, 3600000 },
        { "a minute",                1060000, false, LINK_EXPIRY_WAIT, 30000 },
        { "just before",             1030001, false, LINK_EXPIRY_WAIT, 1 },
        { "half a minute",           1030000, false, LINK_EXPIRY_TELL, 30000 },
        { "told",                    1030000, true,  LINK_EXPIRY_WAIT, 30000 },
        { "little is left",          1000001, false, LINK_EXPIRY_TELL, 1 },
        { "over",                    1000000, true,  LINK_EXPIRY_END, 0 },
        { "over, and never told",     900000, false, LINK_EXPIRY_END, -100000 },
        { "told, the clock went back", 9000000, true, LINK_EXPIRY_WAIT, 3600000 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        msec wait = 0;
        if (link_expiry_judge(rows[i].expires_at, rows[i].is_told, 1000000, &wait) != rows[i].want || wait != rows[i].wait)
            fail_msg("%s: %lld", rows[i].name, (long long)wait);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_told_before_and_ended_then),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
