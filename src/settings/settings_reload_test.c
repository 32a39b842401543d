/* What a configuration that was read again changes, keeps, or is refused for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "settings/config.h"

#include <cmocka.h>

#define KEY(name, secret, rights) "[key " name "]\nsecret = " secret "\nrights = " rights "\n"
#define JWT(name, secret) "[jwt " name "]\nsecret = " secret "\n"
#define BACKEND(name, url) "[backend " name "]\nurl = " url "\n"
#define UPLINK(name, path) "[uplink " name "]\nbackend = x\npath = " path "\n"
#define WEBHOOK(name, secret) "[webhook " name "]\nurl = http://h\nevents = connected\nsecret = " secret "\n"
#define A "aaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbb"

static struct settings in_force, fresh;
static struct buf      changed, kept, why;

static void settings_of(struct settings *settings, const char *text)
{
    settings_init(settings);
    if (!config_read(settings, "f", span_str(text), &why) || !settings_finish(settings, &why))
        fail_msg("%s: %.*s", text, SPAN_ARG(buf_span(&why)));
}

static bool reloads(const char *from, const char *to)
{
    buf_clear(&changed);
    buf_clear(&kept);
    buf_clear(&why);
    settings_of(&in_force, from);
    settings_of(&fresh, to);
    return settings_reload(&in_force, &fresh, &changed, &kept, &why);
}

static int begin(void **state)
{
    (void)state;
    buf_init(&changed, 65536);
    buf_init(&kept, 65536);
    buf_init(&why, 4096);
    return 0;
}

static int end(void **state)
{
    (void)state;
    buf_fini(&changed);
    buf_fini(&kept);
    buf_fini(&why);
    return 0;
}

static void what_differs_is_named(void **state)
{
    (void)state;
    static const struct { const char *from, *to, *changed, *kept; } rows[] = {
        { "", "", "", "" },
        { "linger_s = 15", "linger_s = 15000ms", "", "" },
        { "log_level = warn", "", "log_level", "" },
        { "", "log_level = debug\norigins = https://a.example\nlinger_s = 2s", "log_level, linger_s, origins", "" },
        { "", "http = 127.0.0.1:1\nloops = 3\nheartbeat_s = 9", "", "http, loops, heartbeat_s" },
        { "", "loops = 3\nlinger_s = 1", "linger_s", "loops" },
        { "", KEY("a", A, "publish"), "key a added", "" },
        { KEY("a", A, "publish"), KEY("a", A, "publish"), "", "" },
        { KEY("a", A, "publish") KEY("b", B, "admin"), KEY("b", B, "admin") KEY("a", A, "publish"), "", "" },
        { KEY("a", A, "publish"), KEY("a", B, "publish"), "key a changed", "" },
        { KEY("a", A, "publish"), KEY("a", A, "admin"), "key a changed", "" },
        { KEY("a", A, "publish"), KEY("b", A, "publish"), "key a removed, key b added", "" },
        { KEY("a", A, "publish"), KEY("a", A, "publish") "channels = topic:*\n", "key a changed", "" },
        { "", JWT("a", A), "jwt a added", "" },
        { JWT("a", A) JWT("b", B), JWT("b", B) JWT("a", A), "", "" },
        { JWT("a", A), JWT("a", B), "jwt a changed", "" },
        { JWT("a", A), JWT("a", A) "leeway_s = 1\n", "jwt a changed", "" },
        { JWT("a", A), JWT("b", A), "jwt a removed, jwt b added", "" },
        { JWT("a", A), KEY("a", A, "publish"), "key a added, jwt a removed", "" },
        { "", BACKEND("x", "http://a"), "backend x added", "" },
        { BACKEND("x", "http://a"), BACKEND("x", "http://b"), "backend x changed", "" },
        { BACKEND("x", "http://a"), BACKEND("x", "http://a") "protocol = h2c\n", "backend x changed", "" },
        { BACKEND("x", "http://a"), BACKEND("y", "http://a"), "backend x removed, backend y added", "" },
        { BACKEND("x", "http://a"), BACKEND("x", "http://a") UPLINK("u", "/a"), "uplink u added", "" },
        { BACKEND("x", "http://a") UPLINK("u", "/a"), BACKEND("x", "http://a") UPLINK("u", "/b"), "uplink u changed", "" },
        { BACKEND("x", "http://a") UPLINK("u", "/a") UPLINK("v", "/**"), BACKEND("x", "http://a") UPLINK("v", "/**") UPLINK("u", "/a"),
          "order of the uplinks", "" },
        { BACKEND("x", "http://a") UPLINK("u", "/a"), BACKEND("x", "http://a"), "uplink u removed", "" },
        { WEBHOOK("w", A), WEBHOOK("w", B), "webhook w changed", "" },
        { WEBHOOK("w", A), WEBHOOK("v", A), "webhook w removed, webhook v added", "" },
        { "[events]\nkeep = connected\n", "[events]\nkeep = connected, disconnected\n", "events", "" },
        { "[events]\nkeep = connected\n", "", "events", "" },
        { "[namespace n]\nkeep_age = 1d", "[namespace n]\nkeep_age = 24h", "", "" },
        { "[namespace n]\nkeep_age = 1d", "[namespace n]\nkeep_age = 2d", "", "namespace n" },
        { "[namespace n]", "[namespace m]", "", "namespace n, namespace m" },
        { "", "[namespace topic]\npublish = anyone", "", "namespace topic" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (!reloads(rows[i].from, rows[i].to) || !span_eq(buf_span(&changed), span_str(rows[i].changed)) ||
            !span_eq(buf_span(&kept), span_str(rows[i].kept)))
            fail_msg("\"%s\" to \"%s\": changed %.*s; kept %.*s; %.*s", rows[i].from, rows[i].to,
                     SPAN_ARG(buf_span(&changed)), SPAN_ARG(buf_span(&kept)), SPAN_ARG(buf_span(&why)));
}

static void what_may_change_changes_and_the_rest_stays(void **state)
{
    (void)state;
    assert_true(reloads("loops = 2\npipeline_max = 2\norigins = https://a.example\n" KEY("a", A, "publish"),
                        "\nloops = 3\npipeline_max = 3\norigins = https://b.example, https://c.example\n"
                        KEY("b", B, "admin") "[namespace n]"));
    assert_int_equal(in_force.loops, 2);
    assert_int_equal(in_force.line_of[SETTING_loops], 1);
    assert_int_equal(in_force.pipeline_max, 3);
    assert_int_equal(in_force.line_of[SETTING_pipeline_max], 3);
    assert_int_equal(in_force.origin_count, 2);
    assert_string_equal(in_force.origin_list[1], "https://c.example");
    assert_int_equal(in_force.key_count, 1);
    assert_string_equal(in_force.keys[0].secret, B);
    assert_null(namespaces_find(&in_force.namespaces, SPAN("n")));
}

/* Threat 25: nothing opens the server, and nothing fits only by halves. */
static void what_cannot_be_is_refused(void **state)
{
    (void)state;
    static const struct { const char *from, *to, *why; } rows[] = {
        { KEY("a", A, "publish"), "",
          "there is no [key], [jwt] and [connect_hook] any more, so that everyone would be let in; only a restart does that" },
        { JWT("a", A), "", "there is no [key], [jwt] and [connect_hook] any more, so that everyone would be let in; only a restart does that" },
        { "http = 0.0.0.0:1\n" KEY("a", A, "publish"), "http = 127.0.0.1:1",
          "there is no [key], [jwt] and [connect_hook] any more, so that everyone would be let in; only a restart does that" },
        { BACKEND("x", "http://a") "[namespace n]\nforward = x/up\n", BACKEND("y", "http://a"),
          "[namespace n]: forward: there is no [backend x]" },
        { "[namespace n]\npayload_bytes_max = 8M", "publish_waiting_bytes_max = 4M",
          "[namespace n]: payload_bytes_max must not be above publish_waiting_bytes_max, or its largest messages could "
          "never be published" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (reloads(rows[i].from, rows[i].to) || !span_eq(buf_span(&why), span_str(rows[i].why)))
            fail_msg("\"%s\" to \"%s\": %.*s", rows[i].from, rows[i].to, SPAN_ARG(buf_span(&why)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_differs_is_named, begin, end),
        cmocka_unit_test_setup_teardown(what_may_change_changes_and_the_rest_stays, begin, end),
        cmocka_unit_test_setup_teardown(what_cannot_be_is_refused, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
