/* What an operator may write as the address of a Redis. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/redis_url.h"

#include <cmocka.h>

enum { WHY_BYTES = 300, TEXT_BYTES = 600 };

static const struct {
    const char *text;
    const char *told;  /* NULL: refused */
    const char *user, *password;
} rows[] = {
    { "redis://localhost", "redis://localhost:6379/0", "", "" },
    { "redis://localhost/", "redis://localhost:6379/0", "", "" },
    { "redis://10.0.0.1:7000/3", "redis://10.0.0.1:7000/3", "", "" },
    { "redis://[::1]:7000", "redis://[::1]:7000/0", "", "" },
    { "redis://[::1]", "redis://[::1]:6379/0", "", "" },
    { "redis://:secret@h", "redis://h:6379/0", "", "secret" },
    { "redis://ann:se%40c:ret@h:1/65535", "redis://h:1/65535", "ann", "se@c:ret" },
    { "redis://ann:a@b@h", "redis://h:6379/0", "ann", "a@b" },
    { "unix:///run/redis.sock", "unix:///run/redis.sock?db=0", "", "" },
    { "unix:///run/a%20b?db=2", "unix:///run/a b?db=2", "", "" },
    { "redis://", NULL, "", "" },
    { "redis://:7000", NULL, "", "" },
    { "redis://h:0", NULL, "", "" },
    { "redis://h:65536", NULL, "", "" },
    { "redis://h:x", NULL, "", "" },
    { "redis://h/x", NULL, "", "" },
    { "redis://h/65536", NULL, "", "" },
    { "redis://[::1", NULL, "", "" },
    { "redis://secret@h", NULL, "", "" },
    { "redis://:%zz@h", NULL, "", "" },
    { "redis://:%00@h", NULL, "", "" },
    { "rediss://h", NULL, "", "" },
    { "http://h", NULL, "", "" },
    { "unix://relative", NULL, "", "" },
    { "unix:///a?db=x", NULL, "", "" },
    { "unix:///a?password=x", NULL, "", "" },
    { "", NULL, "", "" },
};

static void an_address_is_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct redis_url url = { .host = "untouched" };
        char             why[WHY_BYTES] = "";
        struct buf       told;
        enum rc          rc = redis_url_parse(span_str(rows[i].text), &url, why, sizeof why);

        buf_init(&told, TEXT_BYTES);
        if (rc == RC_OK)
            redis_url_put(&told, &url);
        if (rows[i].told == NULL ? rc != RC_BAD || why[0] == '\0' : !span_eq(buf_span(&told), span_str(rows[i].told)))
            fail_msg("%s: %.*s (%s)", rows[i].text, SPAN_ARG(buf_span(&told)), why);
        if (rows[i].told == NULL)
            assert_string_equal(url.host, "untouched");
        assert_string_equal(url.user, rows[i].user);
        assert_string_equal(url.password, rows[i].password);
        buf_fini(&told);
    }
}

/* Neither what is refused nor what is printed tells the password. */
static void a_password_is_never_told(void **state)
{
    static const char *const texts[] = { "redis://:hunter2@h:0", "redis://hunter2@h", "redis://a:hunter2@", "redis://:hunter2@h/x" };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct redis_url url;
        char             why[WHY_BYTES] = "";
        assert_int_equal(redis_url_parse(span_str(texts[i]), &url, why, sizeof why), RC_BAD);
        assert_null(strstr(why, "hunter2"));
    }
}

static void a_list_has_its_order_and_its_bound(void **state)
{
    struct redis_url urls[REDIS_INSTANCES];
    size_t           count = 0;
    char             why[WHY_BYTES] = "", many[TEXT_BYTES] = "";

    (void)state;
    assert_int_equal(redis_urls_parse(SPAN("redis://a, redis://b:1,unix:///c"), urls, &count, why, sizeof why), RC_OK);
    assert_int_equal(count, 3);
    assert_string_equal(urls[0].host, "a");
    assert_string_equal(urls[1].host, "b");
    assert_string_equal(urls[2].path, "/c");
    assert_int_equal(redis_urls_parse(SPAN("redis://a,"), urls, &count, why, sizeof why), RC_OK);
    assert_int_equal(count, 1);
    assert_int_equal(redis_urls_parse(SPAN(""), urls, &count, why, sizeof why), RC_BAD);
    assert_int_equal(redis_urls_parse(SPAN("redis://a,b"), urls, &count, why, sizeof why), RC_BAD);
    for (size_t i = 0; i <= REDIS_INSTANCES; i++)
        strcat(many, i == 0 ? "redis://a" : ",redis://a");
    assert_int_equal(redis_urls_parse(span_str(many), urls, &count, why, sizeof why), RC_BAD);
    assert_int_equal(count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_read),
        cmocka_unit_test(a_password_is_never_told),
        cmocka_unit_test(a_list_has_its_order_and_its_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
