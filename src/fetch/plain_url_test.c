/* Which addresses our own client takes, and which it leaves to libcurl. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "fetch/plain_url.h"

#include <cmocka.h>

static void what_is_taken(void **state)
{
    (void)state;
    static const struct {
        const char *url, *authority, *host, *target;
        unsigned    port;
    } rows[] = {
        { "http://127.0.0.1:8080/a?b=c", "127.0.0.1:8080", "127.0.0.1", "/a?b=c", 8080 },
        { "http://127.0.0.1", "127.0.0.1", "127.0.0.1", "", 80 },
        { "http://app.example:80/", "app.example", "app.example", "/", 80 },
        { "http://app_1.example?a", "app_1.example", "app_1.example", "?a", 80 },
        { "http://[::1]:9/x#frag", "[::1]:9", "::1", "/x", 9 },
        { "http://[::1]", "[::1]", "::1", "", 80 },
        { "http://a/.well-known/x..y/...", "a", "a", "/.well-known/x..y/...", 80 },
        { "http://a/b?x=/../y", "a", "a", "/b?x=/../y", 80 },
        { "http://a/b//c", "a", "a", "/b//c", 80 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct plain_url url;
        if (!plain_url_read(span_str(rows[i].url), &url))
            fail_msg("%s is not taken", rows[i].url);
        bool has_slash = rows[i].target[0] == '/';
        if (!span_eq(url.authority, span_str(rows[i].authority)) || !span_eq(url.host, span_str(rows[i].host)) ||
            !span_eq(url.target, span_str(rows[i].target)) || url.port != rows[i].port || url.lacks_slash == has_slash)
            fail_msg("%s: %.*s, %.*s, %u, %.*s", rows[i].url, SPAN_ARG(url.authority), SPAN_ARG(url.host), url.port,
                     SPAN_ARG(url.target));
    }
}

static void what_is_left(void **state)
{
    (void)state;
    static const char *const urls[] = {
        "", "http://", "http:///", "https://a/", "HTTP://a/", "ftp://a/", "no url at all", "http://user@a/", "http://a:b@c/",
        "http://a:/", "http://a:0/", "http://a:65536/", "http://a:8o/", "http://a b/", "http://a/b c", "http://a/\xc3\xa4",
        "http://a/\x7f", "http://[::1/", "http://[::1]x/", "http://[fe80::1%25eth0]/", "http://[]/", "http://a/..", "http://a/./b",
        "http://a/b/../c", "http://a/b/.?x", "http://%61/", "http://a\\b/", "file:///etc/passwd",
    };
    struct plain_url url;

    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++)
        if (plain_url_read(span_str(urls[i]), &url))
            fail_msg("%s is taken", urls[i]);
}

static void a_byte_that_no_url_has_is_found_wherever_it_stands(void **state)
{
    (void)state;
    const char       whole[] = "http://a.example/abcdefghijklmnopqrstuvwxyz";
    struct plain_url url;
    char             text[sizeof whole];

    for (size_t at = 0; at + 1 < sizeof whole; at++)
        for (int byte = 0; byte < 256; byte++) {
            if (byte > ' ' && byte < 0x7f)
                continue;
            memcpy(text, whole, sizeof whole);
            text[at] = (char)byte;
            if (plain_url_read(span_of(text, sizeof whole - 1), &url))
                fail_msg("%d at %zu is taken", byte, at);
        }
    for (int byte = '!'; byte < 0x7f; byte++) {
        memcpy(text, whole, sizeof whole);
        text[20] = (char)byte;
        assert_true(plain_url_read(span_of(text, sizeof whole - 1), &url));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_taken), cmocka_unit_test(what_is_left),
        cmocka_unit_test(a_byte_that_no_url_has_is_found_wherever_it_stands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
