/* Which pages may use the server from a browser, and by which names it may be called. */
#include "auth/origin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"

#include <cmocka.h>

static struct settings *settings_new(const char *origins)
{
    struct settings *settings = malloc(sizeof *settings);
    struct buf       why;

    must(settings != NULL);
    settings_init(settings);
    buf_init(&why, 1024);
    must(settings_set(settings, SETTING_origins, span_str(origins), &why));
    must(settings_finish(settings, &why));
    buf_fini(&why);
    return settings;
}

static void settings_drop(struct settings *settings)
{
    settings_fini(settings);
    free(settings);
}

static void origins_are_compared_whole(void **state)
{
    (void)state;
    static const struct { const char *setting, *origin, *host; bool is_allowed; } rows[] = {
        { "", "http://localhost", "127.0.0.1:8080", true },
        { "", "http://localhost:3000", "127.0.0.1:8080", true },
        { "", "http://127.0.0.1:1", "x", true },
        { "", "https://localhost:3000", "127.0.0.1:8080", false },
        { "", "http://localhost:", "127.0.0.1:8080", false },
        { "", "http://localhost:65536", "127.0.0.1:8080", false },
        { "", "http://localhost:80@evil.example", "127.0.0.1:8080", false },
        { "", "http://localhost.evil.example", "127.0.0.1:8080", false },
        { "", "http://localhost:3000/", "127.0.0.1:8080", false },
        { "", "http://127.0.0.10", "127.0.0.1:8080", false },
        { "", "null", "127.0.0.1:8080", false },
        { "", "", "127.0.0.1:8080", false },
        { "", "http://", "", false },
        { "", "http://[::1]:3000", "x", true },
        { "", "http://push.example", "push.example", false },  /* threats 76, 105: DNS rebinding */
        { "", "http://push.localhost:8080", "push.localhost:8080", true },
        { "", "https://10.0.0.1", "10.0.0.1:443", true },
        { "", "http://10.0.0.1", "10.0.0.1:80", true },
        { "", "http://10.0.0.1", "10.0.0.1:443", false },
        { "", "http://10.0.0.1", "10.0.0.1:8", false },
        { "", "https://10.0.0.1:8443", "10.0.0.1:8443", true },
        { "", "https://push.example", "push.example:8443", false },
        { "", "https://push.example:8443", "push.example", false },
        { "", "ws://push.example", "push.example", false },
        { "", "https://evil.example", "push.example", false },
        { "", "https://xpush.example", "push.example", false },
        { "https://app.example", "https://app.example", "push.example", true },
        { "https://app.example", "HTTPS://APP.example", "push.example", true },
        { "https://app.example", "http://app.example", "push.example", false },
        { "https://app.example", "https://app.example:444", "push.example", false },
        { "https://app.example", "https://app.example.evil", "push.example", false },
        { "https://app.example", "http://localhost", "push.example", false },
        { "https://app.example", "https://push.example", "push.example", false },  /* a foreign name, without keys */
        { "https://app.example", "http://127.0.0.1:8080", "127.0.0.1:8080", true },  /* the server's own page */
        { "https://app.example", "http://[::1]:8080", "[::1]:8080", true },
        { "https://app.example", "http://localhost:8080", "localhost:8080", true },
        { "https://app.example", "http://localhost:8081", "localhost:8080", false },
        { "https://app.example", "null", "push.example", false },
        { "https://a.example:*", "https://a.example:9", "push.example", true },
        { "https://a.example:*", "https://a.example", "push.example", true },
        { "https://a.example:*", "https://a.example:x", "push.example", false },
        { "https://a.example:*", "https://a.example.evil:9", "push.example", false },
        { "*", "https://whoever.example", "push.example", true },
        { "*", "null", "push.example", true },
        { "null", "null", "push.example", true },
        { "null", "NULL", "push.example", false },
        { "null", "https://null", "push.example", false },
        { "capacitor://localhost", "capacitor://localhost", "push.example", true },
        { "capacitor://localhost", "http://localhost", "push.example", false },
        { "capacitor://localhost", "ionic://localhost", "push.example", false },
        { "chrome-extension://abcd", "chrome-extension://abcd", "push.example", true },
        { "chrome-extension://abcd", "chrome-extension://abce", "push.example", false },
        { "https://*.example.com", "https://a.example.com", "push.example", true },
        { "https://*.example.com", "https://A.b.EXAMPLE.com", "push.example", true },
        { "https://*.example.com", "https://example.com", "push.example", false },
        { "https://*.example.com", "https://.example.com", "push.example", false },
        { "https://*.example.com", "https://aexample.com", "push.example", false },
        { "https://*.example.com", "https://a.example.com.evil", "push.example", false },
        { "https://*.example.com", "https://evil/.example.com", "push.example", false },
        { "https://*.example.com", "http://a.example.com", "push.example", false },
        { "https://*.example.com", "https://a.example.com:8443", "push.example", false },
        { "https://*.example.com:*", "https://a.example.com:8443", "push.example", true },
        { "https://a.example:443", "https://a.example", "push.example", true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct settings *settings = settings_new(rows[i].setting);

        enum origin_standing got = origin_judge(settings, span_str(rows[i].origin), span_str(rows[i].host));
        if ((got != ORIGIN_REFUSED) != rows[i].is_allowed)
            fail_msg("\"%s\": %s at %s", rows[i].setting, rows[i].origin, rows[i].host);
        settings_drop(settings);
    }
}

/* Only who is named may show credentials. */
static void a_star_knows_nobody_by_name(void **state)
{
    (void)state;
    static const struct { const char *setting, *origin, *host; enum origin_standing want; } rows[] = {
        { "*", "https://a.example", "push.example", ORIGIN_OPEN },
        { "*", "null", "push.example", ORIGIN_OPEN },
        { "*, https://a.example", "https://a.example", "push.example", ORIGIN_KNOWN },
        { "https://a.example, *", "https://a.example", "push.example", ORIGIN_KNOWN },
        { "https://a.example, *", "https://b.example", "push.example", ORIGIN_OPEN },
        { "*", "https://push.example", "push.example", ORIGIN_KNOWN },
        { "", "http://localhost:3000", "127.0.0.1", ORIGIN_KNOWN },
        { "", "https://a.example", "127.0.0.1", ORIGIN_REFUSED },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct settings *settings = settings_new(rows[i].setting);

        if (origin_judge(settings, span_str(rows[i].origin), span_str(rows[i].host)) != rows[i].want)
            fail_msg("\"%s\": %s at %s", rows[i].setting, rows[i].origin, rows[i].host);
        settings_drop(settings);
    }
}

/* Threats 76, 105: a name that leads to this machine is not this machine's. */
static void without_keys_a_host_is_of_this_machine(void **state)
{
    (void)state;
    static const struct { const char *setting, *host; bool is_served; } rows[] = {
        { "", "", true },
        { "", "localhost", true },
        { "", "LocalHost:8080", true },
        { "", "a.localhost:8080", true },
        { "", "127.0.0.1", true },
        { "", "127.0.0.1:8080", true },
        { "", "192.168.1.7:8080", true },
        { "", "[::1]", true },
        { "", "[::1]:8080", true },
        { "", "[fe80::1]:8080", true },
        { "", "evil.example", false },
        { "", "evil.example:8080", false },
        { "", "localhost.evil.example", false },
        { "", "notlocalhost", false },
        { "", "127.0.0.1.evil.example", false },
        { "", "127.0.0.1.nip.io:8080", false },
        { "", "127.1", false },
        { "", "2130706433", false },
        { "", "0x7f.0.0.1", false },
        { "", "127.0.0.256", false },
        { "", "1234567890123456", false },
        { "https://app.example", "app.example", true },
        { "https://app.example", "APP.example:8080", true },
        { "https://app.example:8443", "app.example", true },
        { "https://app.example", "x.app.example", false },
        { "https://*.example.com", "a.example.com:80", true },
        { "https://*.example.com", "example.com", false },
        { "capacitor://app.example", "app.example", false },
        { "null", "null", false },
        { "null", "evil.example", false },
        { "*", "evil.example", true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct settings *settings = settings_new(rows[i].setting);

        if (host_is_served(settings, span_str(rows[i].host)) != rows[i].is_served)
            fail_msg("\"%s\": %s", rows[i].setting, rows[i].host);
        settings->key_count = 1;
        assert_true(host_is_served(settings, span_str(rows[i].host)));
        settings_drop(settings);
    }
}

static void with_keys_any_name_may_be_the_servers(void **state)
{
    (void)state;
    struct settings *settings = settings_new("https://app.example");

    settings->key_count = 1;
    assert_int_equal(origin_judge(settings, SPAN("https://push.example"), SPAN("push.example")), ORIGIN_KNOWN);
    assert_int_equal(origin_judge(settings, SPAN("https://PUSH.example:8443"), SPAN("push.EXAMPLE:8443")), ORIGIN_KNOWN);
    assert_int_equal(origin_judge(settings, SPAN("https://push.example"), SPAN("push.example:443")), ORIGIN_KNOWN);
    assert_int_equal(origin_judge(settings, SPAN("https://evil.example"), SPAN("push.example")), ORIGIN_REFUSED);
    settings_drop(settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(origins_are_compared_whole),
        cmocka_unit_test(a_star_knows_nobody_by_name),
        cmocka_unit_test(without_keys_a_host_is_of_this_machine),
        cmocka_unit_test(with_keys_any_name_may_be_the_servers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
