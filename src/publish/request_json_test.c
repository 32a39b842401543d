/* What the members of a request say, as a frame and POST /v1/request have them. */
#include "publish/request_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "publish/publish_json.h"

#include <cmocka.h>

static const struct {
    const char *text, *fault;                  /* fault NULL: it says the rest */
    const char *method, *target, *fields, *body;
    uint64_t    timeout_ms;
} rows[] = {
    { "{\"id\":\"1\",\"method\":\"GET\",\"path\":\"/a?b=%20c\"}", NULL, "GET", "/a?b=%20c", "", "", 0 },
    { "{\"id\":\"1\",\"method\":\"POST\",\"path\":\"/a\",\"body\":\"\\u0068i\",\"timeout_ms\":5}", NULL, "POST", "/a",
      "Content-Type: text/plain; charset=utf-8|", "hi", 5 },
    { "{\"id\":\"1\",\"body\":{\"n\":[1]}}", NULL, "", "", "Content-Type: application/json|", "{\"n\":[1]}", 0 },
    { "{\"id\":\"1\",\"body\":null}", NULL, "", "", "Content-Type: application/json|", "null", 0 },
    { "{\"id\":\"1\",\"body_base64\":\"aGk=\"}", NULL, "", "", "Content-Type: application/octet-stream|", "hi", 0 },
    { "{\"id\":\"1\",\"headers\":{\"content-TYPE\":\"a/b\",\"X-A\":\"\\u0031\"},\"body\":7}", NULL, "", "",
      "content-TYPE: a/b|X-A: 1|", "7", 0 },
    { "{\"id\":\"1\",\"headers\":{}}", NULL, "", "", "", "", 0 },
    { "{\"id\":\"1\",\"headers\":[]}", "`headers` is an object: {\"Accept\":\"text/plain\"}", NULL, NULL, NULL, NULL, 0 },
    { "{\"id\":\"1\",\"headers\":{\"a\":1}}", "the values of `headers` are strings", NULL, NULL, NULL, NULL, 0 },
    { "{\"id\":\"1\",\"headers\":{\"a\":\"\",\"a\":\"\"}}", "`headers` names a field twice, or is not an object of strings", NULL,
      NULL, NULL, NULL, 0 },
    { "{\"id\":\"1\",\"body\":1,\"body_base64\":\"\"}", "a request has one of `body` and `body_base64`, or none", NULL, NULL, NULL,
      NULL, 0 },
    { "{\"id\":\"1\",\"body_base64\":\"a\"}", "`body_base64` is not base64 (RFC 4648 4)", NULL, NULL, NULL, NULL, 0 },
    { "{\"id\":\"1\",\"timeout_ms\":-1}", "`timeout_ms` is a whole number of milliseconds", NULL, NULL, NULL, NULL, 0 },
    { "{\"id\":\"1\",\"method\":1}", "`method` is a string", NULL, NULL, NULL, NULL, 0 },
    { "{\"id\":\"1\",\"path\":1}", "`path` is a string", NULL, NULL, NULL, NULL, 0 },
};

static void read_row(const char *text, const char *want, struct request_asked *ret, struct json_doc *doc, struct buf *strings)
{
    static const struct json_limits limits = { .depth_kept = 1 };

    must(json_parse(span_str(text), &limits, doc));
    publish_json_reserve(strings, strlen(text));
    const char *reserved = strings->at;
    const char *fault    = request_json_read(doc, json_root(doc), strings, ret);
    must(strings->at == reserved);
    if ((fault == NULL) != (want == NULL) || (fault != NULL && strcmp(fault, want) != 0))
        fail_msg("%s: %s", text, fault);
}

static void members_say_what_is_asked(void **state)
{
    struct request_asked asked;
    struct json_doc      doc;
    struct buf           strings, fields;

    (void)state;
    json_doc_init(&doc);
    buf_init(&strings, SIZE_MAX / 2);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        read_row(rows[i].text, rows[i].fault, &asked, &doc, &strings);
        assert_true(span_eq(asked.id, SPAN("1")));
        if (rows[i].fault != NULL)
            continue;
        buf_init(&fields, 4096);
        for (size_t k = 0; k < asked.field_count; k++)
            buf_putf(&fields, "%.*s: %.*s|", SPAN_ARG(asked.fields[k].name), SPAN_ARG(asked.fields[k].value));
        if (!span_eq(asked.method, span_str(rows[i].method)) || !span_eq(asked.target, span_str(rows[i].target)) ||
            !span_eq(buf_span(&fields), span_str(rows[i].fields)) || !span_eq(asked.body, span_str(rows[i].body)) ||
            asked.timeout_ms != rows[i].timeout_ms)
            fail_msg("%s: %.*s", rows[i].text, SPAN_ARG(buf_span(&fields)));
        buf_fini(&fields);
    }
    buf_fini(&strings);
    json_doc_fini(&doc);
}

static void headers_are_bounded(void **state)
{
    struct request_asked asked;
    struct json_doc      doc;
    struct buf           strings, text;

    (void)state;
    json_doc_init(&doc);
    buf_init(&strings, SIZE_MAX / 2);
    for (unsigned count = REQUEST_HEADERS_MAX; count <= REQUEST_HEADERS_MAX + 1; count++) {
        buf_init(&text, 4096);
        buf_put_lit(&text, "{\"id\":\"1\",\"body\":\"x\",\"headers\":{");
        for (unsigned i = 0; i < count; i++)
            buf_putf(&text, "%s\"X-%u\":\"v\"", i == 0 ? "" : ",", i);
        buf_put_lit(&text, "}}");
        buf_putc(&text, '\0');
        read_row(text.at, count == REQUEST_HEADERS_MAX ? NULL : "`headers` has at most 32 members", &asked, &doc, &strings);
        assert_true(count > REQUEST_HEADERS_MAX || asked.field_count == REQUEST_HEADERS_MAX + 1);
        buf_fini(&text);
    }
    buf_fini(&strings);
    json_doc_fini(&doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_say_what_is_asked),
        cmocka_unit_test(headers_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
