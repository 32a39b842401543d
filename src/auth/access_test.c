/* Keys and origins: who is let in, by whatever they show. */
#include "auth/access.h"

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
static const char *who(const struct access *access, const char *authorization, const char *query)
{
    struct h1_head head = { .field_count = authorization != NULL };

    head.fields[0] = (struct h1_field){ SPAN("Authorization"), span_str(authorization) };
    const struct identity *identity = access_identify(access, &head, span_str(query));
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
    struct access     access;

    access_init(&access, settings, NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(who(&access, rows[i].authorization, rows[i].query), rows[i].want) != 0)
            fail_msg("%s, %s: %s", rows[i].authorization == NULL ? "-" : rows[i].authorization, rows[i].query,
                     who(&access, rows[i].authorization, rows[i].query));
    assert_int_equal(access_identify_token(&access, SPAN(SECRET_A))->rights, RIGHT_PUBLISH);
    assert_int_equal(access_identify_token(&access, SPAN(SECRET_B))->rights, RIGHT_SUBSCRIBE);
    assert_null(access_identify_token(&access, SPAN(SECRET_A "\0")));
    assert_null(access_identify_token(&access, SPAN("")));
    struct h1_head none = { 0 };
    assert_int_equal(access_identify(&access, &none, SPAN(""))->rights, 0);
    settings_drop(settings);
}

static void without_keys_everyone_may(void **state)
{
    (void)state;
    struct settings *settings = settings_new(false, "");
    struct access     access;
    struct h1_head   none = { 0 };

    access_init(&access, settings, NULL);
    assert_int_equal(access_identify(&access, &none, SPAN(""))->rights, RIGHT_PUBLISH | RIGHT_SUBSCRIBE | RIGHT_ADMIN);
    assert_string_equal(who(&access, "Bearer whatever", ""), "");
    assert_ptr_equal(access_identify_token(&access, SPAN("x")), &access.open);
    settings_drop(settings);
}

/* Who came in by a key is found again by its number after a reload, or isn't: docs/decisions/0015. */
static void identities_are_found_again_while_they_hold(void **state)
{
    (void)state;
    enum { GONE = 0 };
    static const struct api_key a = { "a", SECRET_A, RIGHT_PUBLISH }, b = { "b", SECRET_B, RIGHT_SUBSCRIBE };
    static const struct api_key more   = { "a", SECRET_A, RIGHT_PUBLISH | RIGHT_ADMIN },
                                less   = { "a", SECRET_A, RIGHT_ADMIN },
                                secret = { "a", SECRET_A "x", RIGHT_PUBLISH },
                                name   = { "c", SECRET_A, RIGHT_PUBLISH };
    static const struct { const char *name; const struct api_key *keys[2]; unsigned rights; } rows[] = {
        { "the same", { &a, &b }, RIGHT_PUBLISH },
        { "in another order", { &b, &a }, RIGHT_PUBLISH },
        { "one is gone", { &b }, GONE },
        { "a right more", { &more, &b }, RIGHT_PUBLISH | RIGHT_ADMIN },
        { "a right less", { &less, &b }, GONE },
        { "another secret", { &secret, &b }, GONE },
        { "another name", { &name, &b }, GONE },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct settings *before = settings_new(true, ""), *after = settings_new(true, "");
        struct access     old, new;
        struct h1_head   none = { 0 };

        after->key_count = 0;
        for (size_t key = 0; key < 2 && rows[i].keys[key] != NULL; key++)
            after->keys[after->key_count++] = *rows[i].keys[key];
        access_init(&old, before, NULL);
        access_init(&new, after, &old);
        const struct identity *found_a = access_find(&new, access_identify_token(&old, SPAN(SECRET_A))->number);
        const struct identity *found_b = access_find(&new, access_identify_token(&old, SPAN(SECRET_B))->number);
        if ((found_a == NULL ? GONE : found_a->rights) != rows[i].rights)
            fail_msg("%s", rows[i].name);
        assert_true(found_a == NULL || strcmp(found_a->name, "a") == 0);
        assert_string_equal(found_b->name, "b");
        assert_ptr_equal(access_find(&new, access_identify(&old, &none, SPAN(""))->number), &new.stranger);
        settings_drop(before);
        settings_drop(after);
    }
}

/* A key that comes back is another one: who came by it before is gone all the same. */
static void a_number_is_never_given_twice(void **state)
{
    (void)state;
    struct settings *with = settings_new(true, ""), *without = settings_new(true, "");
    struct access     guards[3];

    without->key_count = 1;
    access_init(&guards[0], with, NULL);
    access_init(&guards[1], without, &guards[0]);
    access_init(&guards[2], with, &guards[1]);
    assert_int_equal(guards[2].holders[0].number, guards[0].holders[0].number);
    assert_int_not_equal(guards[2].holders[1].number, guards[0].holders[1].number);
    assert_null(access_find(&guards[2], guards[0].holders[1].number));
    settings_drop(with);
    settings_drop(without);
}

static void with_the_first_key_the_open_house_ends(void **state)
{
    (void)state;
    struct settings *open = settings_new(false, ""), *closed = settings_new(true, "");
    struct access     guards[2];
    struct h1_head   none = { 0 };

    access_init(&guards[0], open, NULL);
    access_init(&guards[1], closed, &guards[0]);
    uint32_t number = access_identify(&guards[0], &none, SPAN(""))->number;
    assert_ptr_equal(access_find(&guards[0], number), &guards[0].open);
    assert_null(access_find(&guards[1], number));
    settings_drop(open);
    settings_drop(closed);
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
        struct access     access;

        access_init(&access, settings, NULL);
        if (access_allows_origin(&access, span_str(rows[i].origin), span_str(rows[i].host)) != rows[i].is_allowed)
            fail_msg("\"%s\": %s at %s", rows[i].setting, rows[i].origin, rows[i].host);
        settings_drop(settings);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_known_by_all_of_its_bytes),
        cmocka_unit_test(without_keys_everyone_may),
        cmocka_unit_test(identities_are_found_again_while_they_hold),
        cmocka_unit_test(a_number_is_never_given_twice),
        cmocka_unit_test(with_the_first_key_the_open_house_ends),
        cmocka_unit_test(origins_are_compared_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
