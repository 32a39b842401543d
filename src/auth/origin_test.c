/* Which pages may use the server from a browser. */
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
        { "", "http://push.example", "push.example", true },
        { "", "https://PUSH.example:8443", "push.EXAMPLE:8443", true },
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
        { "https://app.example", "http://localhost", "push.example", false },  /* the list is all there is */
        { "https://app.example", "https://push.example", "push.example", false },
        { "https://app.example", "null", "push.example", false },
        { "https://a.example:*", "https://a.example:9", "push.example", true },
        { "https://a.example:*", "https://a.example", "push.example", true },
        { "https://a.example:*", "https://a.example:x", "push.example", false },
        { "https://a.example:*", "https://a.example.evil:9", "push.example", false },
        { "*", "https://whoever.example", "push.example", true },
        { "*", "null", "push.example", true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct settings *settings = settings_new(rows[i].setting);

        if (origin_is_allowed(settings, span_str(rows[i].origin), span_str(rows[i].host)) != rows[i].is_allowed)
            fail_msg("\"%s\": %s at %s", rows[i].setting, rows[i].origin, rows[i].host);
        settings_drop(settings);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(origins_are_compared_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
