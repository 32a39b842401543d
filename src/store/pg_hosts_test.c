/* The servers that a URL names, and which of them is tried first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "store/pg_hosts.h"

#include <cmocka.h>

static void a_list_is_turned(void **state)
{
    static const struct { const char *list; size_t first; const char *want; } rows[] = {
        { "a", 0, "a" },
        { "a", 7, "a" },
        { "", 3, "" },
        { "a,b", 0, "a,b" },
        { "a,b", 1, "b,a" },
        { "a,b", 2, "a,b" },
        { "db1,[::1],10.0.0.1", 1, "[::1],10.0.0.1,db1" },
        { "db1,[::1],10.0.0.1", 2, "10.0.0.1,db1,[::1]" },
        { ",5433", 1, "5433," },  /* an empty item is the default port */
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *turned = pg_hosts_turned(rows[i].list, rows[i].first);
        assert_string_equal(turned, rows[i].want);
        free(turned);
    }
}

static void servers_are_counted(void **state)
{
    (void)state;
    assert_int_equal(pg_hosts_count("postgres://longwire@db1/push"), 1);
    assert_int_equal(pg_hosts_count("postgres:///push?host=/run/postgresql"), 1);
    assert_int_equal(pg_hosts_count("postgres://longwire@db1,db2:5433,db3/push"), 3);
    assert_int_equal(pg_hosts_count("postgres://longwire@/push?hostaddr=10.0.0.1,10.0.0.2"), 2);
    assert_int_equal(pg_hosts_count("postgres://[/push"), 1);
}

static const char *value_of(PQconninfoOption *options, const char *name)
{
    for (; options->keyword != NULL; options++)
        if (strcmp(options->keyword, name) == 0)
            return options->val == NULL ? "" : options->val;
    return "";
}

/* Nothing listens there, so that the attempts end at once; what libpq was given is asked of it. */
static void the_first_one_has_its_own_port(void **state)
{
    static const struct { const char *url; size_t first; const char *host, *port, *attrs; } rows[] = {
        { "postgres://u@127.0.0.1:1/d", 1, "127.0.0.1", "1", "any" },
        { "postgres://u@127.0.0.1:1,127.0.0.2:2/d", 0, "127.0.0.1,127.0.0.2", "1,2", "read-write" },
        { "postgres://u@127.0.0.1:1,127.0.0.2:2/d", 1, "127.0.0.2,127.0.0.1", "2,1", "read-write" },
        { "postgres://u@127.0.0.1,127.0.0.2/d?port=3", 1, "127.0.0.2,127.0.0.1", "3", "read-write" },
        { "postgres://u@127.0.0.1:1,127.0.0.2:2/d?target_session_attrs=primary", 1, "127.0.0.2,127.0.0.1", "2,1", "primary" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        PGconn           *conn    = pg_hosts_start(rows[i].url, rows[i].first, "test");
        PQconninfoOption *options = PQconninfo(conn);
        assert_non_null(options);
        assert_string_equal(value_of(options, "host"), rows[i].host);
        assert_string_equal(value_of(options, "port"), rows[i].port);
        assert_string_equal(value_of(options, "target_session_attrs"), rows[i].attrs);
        assert_string_equal(value_of(options, "application_name"), "test");
        PQconninfoFree(options);
        PQfinish(conn);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_is_turned),
        cmocka_unit_test(servers_are_counted),
        cmocka_unit_test(the_first_one_has_its_own_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
