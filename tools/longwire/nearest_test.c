/* Which known word was meant. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "longwire/nearest.h"

static const struct { const char *a, *b; size_t want; } distances[] = {
    { "", "", 0 },       { "", "abc", 3 },         { "abc", "", 3 },     { "abc", "abc", 0 },
    { "abc", "abd", 1 }, { "abc", "acb", 1 },      { "abc", "ab", 1 },   { "kitten", "sitting", 3 },
    { "formt", "format", 1 }, { "foramt", "format", 1 },
};

static void test_distance(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof distances / sizeof *distances; i++)
        assert_int_equal(edit_distance(span_str(distances[i].a), span_str(distances[i].b)), distances[i].want);
}

static const char *const known[] = { "sub", "pub", "history", "info", "channels", "format", "server" };

static const struct { const char *word, *want; } rows[] = {
    { "subscribe", "sub" }, { "publish", "pub" },  { "histroy", "history" }, { "hist", "history" }, { "inof", "info" },
    { "chanels", "channels" }, { "fromat", "format" }, { "sever", "server" }, { "bus", NULL },
    { "", NULL },           { "x", NULL },         { "nonsense", NULL },
    { "a-word-that-is-longer-than-sixty-four-bytes-and-so-resembles-none-at-all", NULL },
};

static void test_nearest(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct nearest nearest;
        nearest_init(&nearest, span_str(rows[i].word));
        for (size_t j = 0; j < sizeof known / sizeof *known; j++)
            nearest_offer(&nearest, known[j]);
        if (rows[i].want == NULL)
            assert_null(nearest.found);
        else
            assert_string_equal(nearest.found, rows[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_distance), cmocka_unit_test(test_nearest) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
