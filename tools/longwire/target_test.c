/* What --server may look like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "longwire/target.h"

static const struct { const char *server, *want; } rows[] = {
    { "http://127.0.0.1:8080", "http://127.0.0.1:8080" },
    { "HTTPS://push.example", "HTTPS://push.example" },
    { "https://push.example/longwire/", "https://push.example/longwire" },
    { "127.0.0.1:9000", "http://127.0.0.1:9000" },
    { "127.0.0.1", "http://127.0.0.1:8080" },
    { "push.example", "http://push.example:8080" },
    { "localhost:80/", "http://localhost:80" },
    { "[::1]:9000", "http://[::1]:9000" },
    { "[::1]", "http://[::1]:8080" },
    { "::1", "http://[::1]:8080" },
    { "ann:secret@host", "http://ann:secret@host:8080" },
    { "ann:secret@host:80", "http://ann:secret@host:80" },
    { "", NULL },                    { "http://", NULL },           { "https:///", NULL },
    { "ftp://host", NULL },          { "host:80/path", NULL },      { "http://host/?access_token=x", NULL },
    { "http://host/#a", NULL },      { "two words", NULL },         { "http://h\r\nX: y", NULL },
};

static void test_server(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf url;
        buf_init(&url, 1024);
        bool is_good = server_url_put(&url, span_str(rows[i].server));
        buf_putc(&url, '\0');
        if (is_good != (rows[i].want != NULL) || (is_good && !span_eq(span_str(url.at), span_str(rows[i].want))))
            fail_msg("\"%s\" became \"%s\"", rows[i].server, url.at);
        buf_fini(&url);
    }
}

static const struct { const char *servers; size_t count; const char *last; } lists[] = {
    { "a, http://b:1,[::1]", 3, "http://[::1]:8080" }, { "a", 1, "http://a:8080" }, { "a,,b", 0, NULL }, { ",", 0, NULL },
    { "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16", 16, "http://16:8080" }, { "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", 0, NULL },
};

static void test_servers(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct target target;
        target_init(&target);
        target.server = lists[i].servers;
        bool is_good  = target_is_sound(&target);
        if (is_good != (lists[i].count > 0) || (is_good && target.url_count != lists[i].count))
            fail_msg("\"%s\"", lists[i].servers);
        if (is_good) {
            size_t len = strlen(lists[i].last);
            assert_string_equal(target.url.at + target.url.len - len - 1, lists[i].last);
        }
        target_fini(&target);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_server), cmocka_unit_test(test_servers) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
