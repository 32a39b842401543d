/* Heads of HTTP/2: what passes, what is refused and how, and that HTTP/1.1 agrees (lib/h2_head_law.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "lib/h2_head_law.h"

#include <cmocka.h>

static const struct h1_limits small = { .target_bytes_max = 40, .head_bytes_max = 700 };

/* Fields as lines "name: value"; the name of a pseudo-header begins with a colon. */
static bool read_lines(struct h2_head *head, const char *lines, bool is_end)
{
    struct span rest = span_str(lines), line;

    h2_head_init(head, &small);
    while (span_cut(&rest, '\n', &line)) {
        const char *colon = memmem(line.at + 1, line.len - 1, ": ", 2);
        assert_non_null(colon);
        size_t name_len = (size_t)(colon - line.at);
        assert_true(h2_head_add(head, span_head(line, name_len), span_skip(line, name_len + 2)));
    }
    bool is_good = h2_head_end(head, is_end);
    h2_law_hold(head, is_good, is_end);
    return is_good;
}

#define GET    ":method: GET\n:scheme: http\n:authority: a.example\n:path: /x\n"
#define POST   ":method: POST\n:scheme: https\n:path: /x?y\n:authority: [::1]:80\n"
#define TEN    "aaaaaaaaaa"

static void what_passes(void **state)
{
    static const struct { const char *lines; bool is_end; } rows[] = {
        { GET, true },
        { POST "content-length: 5\n", false },
        { POST "content-length: 0\n", true },
        { POST, false },
        { ":method: OPTIONS\n:scheme: http\n:authority: a\n:path: *\n", true },
        { ":method: GET\n:scheme: http\n:path: /\nhost: a.example\n", true },
        { GET "host: A.example\n", true },
        { GET "te: trailers\ncookie: a=1\ncookie: b=2\n", true },
        { GET "x: \n", true },
        { GET "x: a\tb \x80\n", true },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct h2_head head;
        if (!read_lines(&head, rows[i].lines, rows[i].is_end))
            fail_msg("%s: %u %s", rows[i].lines, head.fault_status, head.fault_reason);
        h2_head_fini(&head);
    }
}

static void what_is_refused(void **state)
{
    static const struct { const char *lines; unsigned status; const char *reason; } rows[] = {
        { ":scheme: http\n:authority: a\n:path: /\n", 400, "method" },
        { ":method: GET\n:authority: a\n:path: /\n", 400, ":scheme" },
        { ":method: GET\n:scheme: http\n:authority: a\n", 400, ":path" },
        { ":method: GET\n:scheme: http\n:path: /\n", 400, ":authority" },
        { ":method: GET\n:scheme: ftp\n:authority: a\n:path: /\n", 400, ":scheme" },
        { ":method: G T\n:scheme: http\n:authority: a\n:path: /\n", 400, "token" },
        { ":method: ABCDEFGHIJKLMNOPQ\n:scheme: http\n:authority: a\n:path: /\n", 501, "method" },
        { ":method: CONNECT\n:authority: a:443\n", 501, "proxies" },
        { ":method: GET\n:scheme: http\n:authority: a\n:path: x\n", 400, "path" },
        { ":method: GET\n:scheme: http\n:authority: a\n:path: *\n", 400, "path" },
        { ":method: GET\n:scheme: http\n:authority: a\n:path: /a#b\n", 400, "target" },
        { ":method: GET\n:scheme: http\n:authority: a\n:path: /a b\n", 400, "target" },
        { ":method: GET\n:scheme: http\n:authority: a\n:path: /" TEN TEN TEN TEN "\n", 414, "request_target_bytes_max" },
        { ":method: GET\n:scheme: http\n:authority: u@a\n:path: /\n", 400, "host and port" },
        { GET "host: b.example\n", 400, "different servers" },
        { GET "host: a.example\nhost: a.example\n", 400, "Host repeated" },
        { GET ":path: /y\n", 400, "repeated" },
        { "x: y\n" GET, 400, "behind a field" },
        { ":status: 200\n" GET, 400, "do not have" },
        { GET "X: y\n", 400, "small letters" },
        { GET "x y: z\n", 400, "token" },
        { GET "x:  y\n", 400, "byte" },
        { GET "x: y\x01\n", 400, "byte" },
        { GET "connection: close\n", 400, "HTTP/1.1" },
        { GET "keep-alive: 5\n", 400, "HTTP/1.1" },
        { GET "proxy-connection: close\n", 400, "HTTP/1.1" },
        { GET "transfer-encoding: chunked\n", 400, "HTTP/1.1" },
        { GET "upgrade: websocket\n", 400, "HTTP/1.1" },
        { GET "te: gzip\n", 400, "TE" },
        { GET "content-length: 5\n", 400, "without a body" },
        { GET "content-length: +5\n", 400, "not a number" },
        { GET "content-length: 18446744073709551616\n", 400, "not a number" },
        { GET "content-length: 5\ncontent-length: 5\n", 400, "repeated" },
        { GET "expect: much\n", 417, "100-continue" },
        { GET "origin: a\norigin: b\n", 400, "Origin repeated" },
        { GET "x: " TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
              TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
              "\n", 431, "request_head_bytes_max" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct h2_head head;
        if (read_lines(&head, rows[i].lines, true) || head.fault_status != rows[i].status ||
            strstr(head.fault_reason, rows[i].reason) == NULL)
            fail_msg("%s: %u %s", rows[i].lines, head.fault_status, head.fault_reason);
        h2_head_fini(&head);
    }
}

/* The answer to a refused request is one that its page may read. */
static void who_sends_a_refused_head_is_known(void **state)
{
    struct h2_head head;

    (void)state;
    assert_false(read_lines(&head, GET "connection: close\norigin: https://b.example\n", true));
    assert_true(span_eq(head.request.host, SPAN("a.example")));
    assert_true(span_eq(request_field(&head.request, SPAN("origin")), SPAN("https://b.example")));
    assert_int_equal(head.request.method, HTTP_OTHER);
    h2_head_fini(&head);
}

static void fields_have_a_number_and_a_length(void **state)
{
    const struct h1_limits limits = { .target_bytes_max = 100, .head_bytes_max = 10000 };
    struct h2_head         head;

    (void)state;
    h2_head_init(&head, &limits);
    for (int round = 0; round < 2; round++) {
        h2_head_add(&head, SPAN(":method"), SPAN("GET"));
        h2_head_add(&head, SPAN(":scheme"), SPAN("http"));
        h2_head_add(&head, SPAN(":authority"), SPAN("a"));
        h2_head_add(&head, SPAN(":path"), SPAN("/"));
        for (int i = 0; i < REQUEST_FIELDS_MAX + round; i++)
            assert_true(h2_head_add(&head, SPAN("x"), SPAN("y")));
        assert_int_equal(h2_head_end(&head, true), round == 0);
        assert_int_equal(head.fault_status, round == 0 ? 0 : 431);
        h2_head_clear(&head);
    }
    size_t count = 0;
    while (h2_head_add(&head, SPAN("x"), SPAN("y")))
        count++;
    assert_int_equal(count, H2_HEAD_FOLD * limits.head_bytes_max / (2 + H2_FIELD_BYTES));
    assert_true(head.text.len <= limits.head_bytes_max);
    h2_head_fini(&head);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_passes),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(who_sends_a_refused_head_is_known),
        cmocka_unit_test(fields_have_a_number_and_a_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
