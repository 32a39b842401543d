/* Keys and origins: who is let in, by whatever they show. */
#include "main/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"

#include <cmocka.h>

#define SECRET_A "0123456789abcdef"
#define SECRET_B "0123456789abcdefg"

static struct settings *settings_new(bool has_keys, const char *origins)
{
    struct settings *settings = malloc(sizeof *settings);
    struct buf       why;

    must(settings != NULL);
    settings_init(settings);
    if (has_keys) {
        settings->keys[0]   = (struct api_key){ "a", SECRET_A, RIGHT_PUBLISH };
        settings->keys[1]   = (struct api_key){ "b", SECRET_B, RIGHT_SUBSCRIBE };
        settings->key_count = 2;
    }
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

/* "nobody" for a credential that is none of ours, "" for a stranger, else the key's name. */
static const char *who(const struct guard *guard, const char *authorization, const char *query)
{
    struct h1_head head = { .field_count = authorization != NULL };

    head.fields[0] = (struct h1_field){ SPAN("Authorization"), span_str(authorization) };
    const struct identity *identity = guard_identify(guard, &head, span_str(query));
    return identity == NULL ? "nobody" : identity->name;
}

static void a_key_is_known_by_all_of_its_bytes(void **state)
{
    (void)state;
    static const struct { const char *authorization, *query, *want; } rows[] = {
        { NULL, "", "" },
        { NULL, "channel=topic:a", "" },
        { "Bearer " SECRET_A, "", "a" },
        { "bEARER   " SECRET_A, "", "a" },
        { "Bearer " SECRET_B, "", "b" },
        { "Bearer " SECRET_B "h", "", "nobody" },
        { "Bearer 0123456789abcde", "", "nobody" },
        { "Bearer 0123456789abcdeF", "", "nobody" },
        { "Bearer 1", "", "nobody" },
        { "Bearer " SECRET_A " " SECRET_A, "", "nobody" },
        { "Bearer", "", "nobody" },
        { "Bearer ", "", "nobody" },
        { "", "", "nobody" },
        { SECRET_A, "", "nobody" },
        { "Basic " SECRET_A, "", "nobody" },
        { "Basic x", "access_token=" SECRET_A, "nobody" },  /* what the header says counts */
        { "Bearer " SECRET_B, "access_token=" SECRET_A, "b" },
        { NULL, "access_token=" SECRET_A, "a" },
        { NULL, "x=y&access_token=%30123456789abcdef", "a" },
        { NULL, "access_token=", "nobody" },
        { NULL, "access_token", "nobody" },
        { NULL, "access_token=%", "nobody" },
        { NULL, "access_token=" SECRET_A "%00", "nobody" },
        { NULL, "Access_token=" SECRET_A, "" },
        { NULL, "channel=%26access_token=" SECRET_A, "" },
    };
    struct settings *settings = settings_new(true, "");
    struct guard     guard;

    guard_init(&guard, settings, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(who(&guard, rows[i].authorization, rows[i].query), rows[i].want) != 0)
            fail_msg("%s, %s: %s", rows[i].authorization == NULL ? "-" : rows[i].authorization, rows[i].query,
                     who(&guard, rows[i].authorization, rows[i].query));
    assert_int_equal(guard_identify_token(&guard, SPAN(SECRET_A))->rights, RIGHT_PUBLISH);
    assert_int_equal(guard_identify_token(&guard, SPAN(SECRET_B))->rights, RIGHT_SUBSCRIBE);
    assert_null(guard_identify_token(&guard, SPAN(SECRET_A "\0")));
    assert_null(guard_identify_token(&guard, SPAN("")));
    struct h1_head none = { 0 };
    assert_int_equal(guard_identify(&guard, &none, SPAN(""))->rights, 0);
    settings_drop(settings);
}

static void without_keys_everyone_may(void **state)
{
    (void)state;
    struct settings *settings = settings_new(false, "");
    struct guard     guard;
    struct h1_head   none = { 0 };

    guard_init(&guard, settings, NULL);
    assert_int_equal(guard_identify(&guard, &none, SPAN(""))->rights, RIGHT_PUBLISH | RIGHT_SUBSCRIBE | RIGHT_ADMIN);
    assert_string_equal(who(&guard, "Bearer whatever", ""), "");
    assert_ptr_equal(guard_identify_token(&guard, SPAN("x")), &guard.open);
    settings_drop(settings);
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
        struct settings *settings = settings_new(false, rows[i].setting);
        struct guard     guard;

        guard_init(&guard, settings, NULL);
        if (guard_allows_origin(&guard, span_str(rows[i].origin), span_str(rows[i].host)) != rows[i].is_allowed)
            fail_msg("\"%s\": %s at %s", rows[i].setting, rows[i].origin, rows[i].host);
        settings_drop(settings);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_known_by_all_of_its_bytes),
        cmocka_unit_test(without_keys_everyone_may),
        cmocka_unit_test(origins_are_compared_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
