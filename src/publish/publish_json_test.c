/* What the members of a publish say, as a batch and a frame have them. */
#include "publish/publish_json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"

#include <cmocka.h>

static const struct {
    const char *text, *fault;      /* fault NULL: it says the rest */
    const char *payload, *media, *key;
    uint64_t    ttl_s;             /* 0: none */
} rows[] = {
    { "{\"data\":\"hi\"}", NULL, "hi", "text/plain", "", 0 },
    { "{\"data\":\"\\u0068\\n\"}", NULL, "h\n", "text/plain", "", 0 },
    { "{\"data\":{\"a\":[1]}}", NULL, "{\"a\":[1]}", "application/json", "", 0 },
    { "{\"data\":null}", NULL, "null", "application/json", "", 0 },
    { "{\"data_base64\":\"aGk=\"}", NULL, "hi", "application/octet-stream", "", 0 },
    { "{\"data_base64\":\"a\\u0047k=\"}", NULL, "hi", "application/octet-stream", "", 0 },
    { "{\"data_base64\":\"\"}", NULL, "", "application/octet-stream", "", 0 },
    { "{\"data\":1,\"media\":\"a/b\",\"key\":\"\\u006b\",\"ttl\":7}", NULL, "1", "a/b", "k", 7 },
    { "{\"data\":\"\\u0031\",\"media\":\"\\u0061/b\",\"key\":\"\\u006b\"}", NULL, "1", "a/b", "k", 0 },
    { "{\"data\":1,\"media\":\"\"}", NULL, "1", "application/json", "", 0 },
    { "7", "a message is an object", NULL, NULL, NULL, 0 },
    { "{}", "a message has one of `data` and `data_base64`", NULL, NULL, NULL, 0 },
    { "{\"data\":1,\"data_base64\":\"\"}", "a message has one of `data` and `data_base64`", NULL, NULL, NULL, 0 },
    { "{\"data_base64\":\"a\"}", "`data_base64` is not base64 (RFC 4648 4)", NULL, NULL, NULL, 0 },
    { "{\"data_base64\":1}", "`data_base64` is not base64 (RFC 4648 4)", NULL, NULL, NULL, 0 },
    { "{\"data\":1,\"media\":2}", "`media` is a string", NULL, NULL, NULL, 0 },
    { "{\"data\":1,\"key\":2}", "`key` is a string", NULL, NULL, NULL, 0 },
    { "{\"data\":1,\"ttl\":\"2\"}", "`ttl` is a whole number of seconds", NULL, NULL, NULL, 0 },
    { "{\"data\":1,\"ttl\":1.5}", "`ttl` is a whole number of seconds", NULL, NULL, NULL, 0 },
};

static void members_say_what_is_published(void **state)
{
    static const struct json_limits limits = { .depth_kept = 1 };
    struct json_doc                 doc;
    struct buf                      strings;

    (void)state;
    json_doc_init(&doc);
    buf_init(&strings, SIZE_MAX / 2);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct publish_json said;
        must(json_parse(span_str(rows[i].text), &limits, &doc));
        publish_json_reserve(&strings, strlen(rows[i].text));
        const char *fault = publish_json_read(&doc, json_root(&doc), &strings, &said);
        if ((fault == NULL) != (rows[i].fault == NULL) || (fault != NULL && strcmp(fault, rows[i].fault) != 0))
            fail_msg("%s: %s", rows[i].text, fault);
        if (fault != NULL)
            continue;
        if (!span_eq(said.payload, span_str(rows[i].payload)) || !span_eq(said.media, span_str(rows[i].media)) ||
            !span_eq(said.key, span_str(rows[i].key)) ||
            said.has_ttl != (rows[i].ttl_s != 0) || said.ttl_s != rows[i].ttl_s)
            fail_msg("%s: %.*s, %.*s", rows[i].text, SPAN_ARG(said.payload), SPAN_ARG(said.media));
    }
    buf_fini(&strings);
    json_doc_fini(&doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_say_what_is_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
