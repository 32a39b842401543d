/* The servers that a URL names, and which of them is tried first. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

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

/* A port of the loopback address that takes connections and says nothing. */
static unsigned listen_silently(void)
{
    int                fd   = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at   = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          size = sizeof at;

    assert_int_equal(bind(fd, (struct sockaddr *)&at, size), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    return ntohs(at.sin_port);
}

static void the_server_that_was_reached_is_known(void **state)
{
    static const char *const texts[] = {
        "postgres://u@127.0.0.1:%u,127.0.0.1:%u/d",                                 /* they differ by the port alone */
        "postgres://u@/d?hostaddr=127.0.0.1,127.0.0.1&port=%u,%u",                  /* … and have no names */
        "postgres://u@one,two/d?hostaddr=127.0.0.1,127.0.0.1&port=%u,%u",
    };
    const unsigned ports[] = { listen_silently(), listen_silently() };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        for (size_t first = 0; first < 2; first++) {
            char url[200];
            snprintf(url, sizeof url, texts[i], ports[0], ports[1]);
            PGconn *conn = pg_hosts_start(url, first, "test");
            assert_int_equal(PQstatus(conn), CONNECTION_STARTED);
            assert_int_equal(pg_hosts_reached(url, conn), first);
            PQfinish(conn);
        }
    PGconn *alone = pg_hosts_start("postgres:///d?host=/nowhere", 0, "test");
    assert_int_equal(pg_hosts_reached("postgres:///d?host=/nowhere", alone), 0);
    PQfinish(alone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_is_turned),
        cmocka_unit_test(servers_are_counted),
        cmocka_unit_test(the_first_one_has_its_own_port),
        cmocka_unit_test(the_server_that_was_reached_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
