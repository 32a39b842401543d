/* What is asked of a router, and what is read of its answers, however they are cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "allocate.h"

#define BODY "{\"nodes\":[{\"node\":\"a\",\"http\":\"http://a:1\",\"tcp\":\"tcp://a:2\",\"region\":\"eu\"}," \
             "{\"node\":\"b\",\"http\":\"http://b:1\"},{\"node\":\"c\",\"tcps\":\"tls://c:7443\"}]," \
             "\"heartbeat\":120,\"reconnect\":{\"base_ms\":1000},\"wait_ms\":250}"

static struct server_entry entry(const char *url)
{
    struct server_entry ret;

    assert_true(server_entry_read_http(span_str(url), &ret));
    return ret;
}

static const struct { const char *url, *user, *region, *want; } requests[] = {
    { "http://r", NULL, NULL, "GET /v1/allocate HTTP/1.0\r\nHost: r:80\r\n\r\n" },
    { "https://r/", "ann b", NULL, "GET /v1/allocate?user=ann%20b HTTP/1.0\r\nHost: r:443\r\n\r\n" },
    { "http://[::1]:8080", "a", "eu&x", "GET /v1/allocate?user=a&region=eu%26x HTTP/1.0\r\nHost: [::1]:8080\r\n\r\n" },
    { "http://r:8081", NULL, "eu", "GET /v1/allocate?region=eu HTTP/1.0\r\nHost: r:8081\r\n\r\n" },
};

static void asks(void **state)
{
    struct buf buf;

    (void)state;
    buf_init(&buf, 4096);
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        struct server_entry router = entry(requests[i].url);
        buf_clear(&buf);
        allocate_put_request(&buf, &router, requests[i].user, requests[i].region);
        buf_putc(&buf, '\0');
        assert_string_equal(buf.at, requests[i].want);
    }
    buf_fini(&buf);
}

static const struct { const char *name, *answer; bool is_ended; enum allocate_verdict want; } answers[] = {
    { "nothing yet", "", false, ALLOCATE_MORE },
    { "nothing ever", "", true, ALLOCATE_BAD },
    { "half a head", "HTTP/1.1 200 OK\r\nContent-Le", false, ALLOCATE_MORE },
    { "a refusal", "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n", false, ALLOCATE_BAD },
    { "something else", "SSH-2.0-OpenSSH\r\n\r\n", false, ALLOCATE_BAD },
    { "no JSON", "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n{]}", false, ALLOCATE_BAD },
    { "no nodes", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}", false, ALLOCATE_BAD },
    { "cut off", "HTTP/1.0 200 OK\r\nContent-Length: 99\r\n\r\n{\"nodes\":[]}", true, ALLOCATE_BAD },
    { "no node", "HTTP/1.0 200 OK\r\ncontent-length:12\r\n\r\n{\"nodes\":[]}", false, ALLOCATE_DONE },
    { "until the end", "HTTP/1.0 200 OK\r\n\r\n{\"nodes\":[]}", true, ALLOCATE_DONE },
    { "not ended", "HTTP/1.0 200 OK\r\n\r\n{\"nodes\":[]}", false, ALLOCATE_MORE },
};

static void judges(void **state)
{
    struct allocation allocation;
    struct json_doc   doc;

    (void)state;
    json_doc_init(&doc);
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        if (allocate_read(span_str(answers[i].answer), answers[i].is_ended, &doc, &allocation) != answers[i].want)
            fail_msg("%s", answers[i].name);
    json_doc_fini(&doc);
}

static void reads_nodes(void **state)
{
    struct allocation allocation;
    struct json_doc   doc;
    char              text[1024];

    (void)state;
    json_doc_init(&doc);
    int len = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                       sizeof BODY - 1, BODY);
    for (size_t at = 0; at < (size_t)len; at++) {
        char *head = malloc(at + 1);  /* so that the sanitizer sees what is read beyond it */
        memcpy(head, text, at);
        assert_int_equal(allocate_read(span_of(head, at), false, &doc, &allocation), ALLOCATE_MORE);
        free(head);
    }
    assert_int_equal(allocate_read(span_of(text, (size_t)len), false, &doc, &allocation), ALLOCATE_DONE);
    assert_int_equal(allocation.servers.count, 2);
    assert_string_equal(allocation.servers.at[0].url, "tcp://a:2");
    assert_string_equal(allocation.servers.at[1].url, "tls://c:7443");
    assert_true(allocation.servers.has_tls);
    assert_int_equal(allocation.wait_ms, 250);
    json_doc_fini(&doc);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks),
        cmocka_unit_test(judges),
        cmocka_unit_test(reads_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
