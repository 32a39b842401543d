/* retry_test.c - how long a client waits, and which addresses it understands. */
#include "retry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "server_list.h"

static void test_waits(void **state)
{
    static const struct {
        const char       *name;
        struct lw_backoff policy;
        unsigned          tries;
        uint64_t          random;
        msec              want;
    } rows[] = {
        { "usual, no luck", { 0 }, 0, UINT64_MAX, 249 },
        { "usual, luck", { 0 }, 0, 0, 0 },
        { "usual, third", { 0 }, 2, UINT64_MAX, 999 },
        { "usual, after a day", { 0 }, 10000, UINT64_MAX, 14999 },
        { "without randomness", { 100, 1000, 3, 0 }, 1, UINT64_MAX, 300 },
        { "a half is random", { 100, 1000, 3, 0.5 }, 1, 0, 150 },
        { "never above the cap", { 100, 1000, 10, 0 }, 5, 0, 1000 },
        { "a cap below the base", { 100, 1, 1, 0 }, 5, 0, 100 },
        { "nonsense", { -5, -5, 0.1, 7 }, 0, 0, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct retry retry = { retry_policy(rows[i].policy), rows[i].tries };
        print_message("%s\n", rows[i].name);
        assert_int_equal(retry_next(&retry, rows[i].random), rows[i].want);
    }
}

static void test_addresses(void **state)
{
    static const struct {
        const char *text, *url;  /* NULL: refused */
    } rows[] = {
        { "push.example", "tcp://push.example:7400" },
        { "push.example:1", "tcp://push.example:1" },
        { "tls://push.example", "tls://push.example:7443" },
        { "LWS://push.example/", "tls://push.example:7443" },
        { "lw://10.0.0.1:99", "tcp://10.0.0.1:99" },
        { "::1", "tcp://[::1]:7400" },
        { "tcp://[fe80::1%eth0]:5", "tcp://[fe80::1%eth0]:5" },
        { " a , b ", "tcp://a:7400" },
        { "[::1", NULL },
        { "[::1]7", NULL },
        { "a:", NULL },
        { "a:0", NULL },
        { "a b", NULL },
        { "a,,b", NULL },
        { "https://a", NULL },
        { "user@a", NULL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct server_list list;
        const char        *fault = server_list_read(span_str(rows[i].text), &list);
        print_message("%s\n", rows[i].text);
        assert_int_equal(fault == NULL, rows[i].url != NULL);
        if (fault == NULL)
            assert_string_equal(list.at[0].url, rows[i].url);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits),
        cmocka_unit_test(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
