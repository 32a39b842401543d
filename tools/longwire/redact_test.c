/* What is printed holds no secret. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "longwire/redact.h"

static const struct { const char *text, *secret, *want; } rows[] = {
    { "", "", "" },
    { "nothing to hide: 12:30 a@b", "", "nothing to hide: 12:30 a@b" },
    { "http://127.0.0.1:8080/x", "", "http://127.0.0.1:8080/x" },
    { "can't reach http://ann:s3cret@host:80: refused", "", "can't reach http://***@host:80: refused" },
    { "https://t0ken@host", "", "https://***@host" },
    { "http://ann:p@ss:w@host/a@b", "", "http://***@host/a@b" },
    { "http://host/?x=a@b", "", "http://host/?x=a@b" },
    { "http://u:p@h and http://v:q@i", "", "http://***@h and http://***@i" },
    { "http://h/v1/subscribe?access_token=abc&channel=a", "", "http://h/v1/subscribe?access_token=***&channel=a" },
    { "ACCESS_TOKEN=abc", "", "ACCESS_TOKEN=***" },
    { "access_token=", "", "access_token=" },
    { "Authorization: bearer abc\r\n", "", "Authorization: bearer ***\r\n" },
    { "Authorization: Basic YTpi", "", "Authorization: Basic ***" },
    { "the key s3cret is unknown", "s3cret", "the key *** is unknown" },
    { "s3crets3cret", "s3cret", "******" },
    { "http://s3cret@h", "s3cret", "http://***@h" },
};

static void test_redact(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf buf;
        buf_init(&buf, 1024);
        redact_put(&buf, span_str(rows[i].text), span_str(rows[i].secret));
        buf_putc(&buf, '\0');
        assert_string_equal(buf.at, rows[i].want);
        buf_fini(&buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_redact) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
