/* Names that were perhaps meant for something else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "longwire/channel_name.h"

static const struct { const char *name; enum channel_name_doubt want; } rows[] = {
    { "topic:hello", NAME_FINE },      { "all:", NAME_FINE },             { "topic:c++", NAME_FINE },
    { "topic:a#b", NAME_FINE },        { "topic:a->b", NAME_FINE },       { "topic:a:b", NAME_FINE },
    { "", NAME_FINE },                 { "hello", NAME_NO_NAMESPACE },    { "a/b", NAME_NO_NAMESPACE },
    { "topic:*", NAME_WILDCARD },      { "topic:a*", NAME_WILDCARD },     { "*", NAME_WILDCARD },
    { "topic:a/+/b", NAME_WILDCARD },  { "topic:a/#", NAME_WILDCARD },    { "#", NAME_WILDCARD },
    { "topic:a.>", NAME_WILDCARD },    { ">", NAME_WILDCARD },
};

static void test_judge(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (channel_name_judge(span_str(rows[i].name)) != rows[i].want)
            fail_msg("\"%s\"", rows[i].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_judge) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
