/* Lists of URLs: where one ends, and that no password is shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "settings/url_list.h"

#include <cmocka.h>

static void a_comma_ends_a_url_where_another_one_begins(void **state)
{
    (void)state;
    static const struct { const char *list, *urls; } rows[] = {
        { "", "" },
        { "postgres://a/b", "<postgres://a/b>" },
        { "postgres://a,b:5433/db", "<postgres://a,b:5433/db>" },
        { "postgres://a/b,postgres://c/d", "<postgres://a/b><postgres://c/d>" },
        { " postgres://a/b , redis://c ", "<postgres://a/b><redis://c>" },
        { "postgres://a/b,", "<postgres://a/b,>" },
        { ",redis://c", "<><redis://c>" },
        { "rocks", "<rocks>" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct span rest = span_str(rows[i].list), url;
        struct buf  got;

        buf_init(&got, 1024);
        while (url_list_next(&rest, &url))
            buf_putf(&got, "<%.*s>", SPAN_ARG(url));
        buf_putc(&got, '\0');
        assert_string_equal(got.at, rows[i].urls);
        buf_fini(&got);
    }
}

static void no_password_is_shown(void **state)
{
    (void)state;
    static const struct { const char *text, *shown; } rows[] = {
        { "", "" },
        { "rocks", "rocks" },
        { "--store", "--store" },
        { "postgres://db1/push", "postgres://db1/push" },
        { "postgres://ann@db1/push", "postgres://ann@db1/push" },
        { "postgres://db1:5433/push", "postgres://db1:5433/push" },
        { "postgres://ann:secret@db1:5433/push", "postgres://ann:***@db1:5433/push" },
        { "postgres://:secret@db1/push", "postgres://:***@db1/push" },
        { "postgres://ann:se:c@r/et?@db1/push", "postgres://ann:***@db1/push" },
        { "--store=postgres://ann:secret@db1/push", "--store=postgres://ann:***@db1/push" },
        { "LONGWIRE_STORE=redis://:secret@r1", "LONGWIRE_STORE=redis://:***@r1" },
        { "postgres://db1/push?user=ann&password=secret&x=y", "postgres://db1/push?user=ann&password=***&x=y" },
        { "postgres://db1/push?sslpassword=secret", "postgres://db1/push?sslpassword=***" },
        { "postgres://a:s1@b/c,postgres://d:s2@e/f?password=s3,redis://g", "postgres://a:***@b/c,postgres://d:***@e/f?password=***,redis://g" },
        { "postgres://a:s1@b,c/d", "postgres://a:***@b,c/d" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf got;

        buf_init(&got, 1024);
        url_put_shown(&got, span_str(rows[i].text));
        buf_putc(&got, '\0');
        assert_string_equal(got.at, rows[i].shown);
        assert_int_equal(url_has_secret(span_str(rows[i].text)), strcmp(rows[i].text, rows[i].shown) != 0);
        buf_fini(&got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_comma_ends_a_url_where_another_one_begins),
        cmocka_unit_test(no_password_is_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
