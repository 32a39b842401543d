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

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_server) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
