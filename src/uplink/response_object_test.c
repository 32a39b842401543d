/* What of a back end's answer stands in a response, and what it tells the server to do. */
#include "uplink/response_object.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "codec/json/json.h"

#include <cmocka.h>

static void check_object(struct buf *object, const char *want)
{
    assert_true(json_is_valid(buf_span(object), NULL));
    if (!span_eq(buf_span(object), span_str(want)))
        fail_msg("%.*s\nnot %s", SPAN_ARG(buf_span(object)), want);
    buf_clear(object);
}

static void an_answer_becomes_an_object(void **state)
{
    (void)state;
    static const struct { const char *head, *body, *want; } rows[] = {
        { "", "", "{\"request\":\"r\\\"1\",\"status\":200,\"headers\":{}}" },
        { "Content-Type: application/json\nX-A:  b \n", "{\"a\": 1}",
          "{\"request\":\"r\\\"1\",\"status\":200,\"headers\":{\"Content-Type\":\"application/json\",\"X-A\":\"b\"},\"body\":{\"a\": 1}}" },
        { "Content-Type: application/json\n", "{",
          "{\"request\":\"r\\\"1\",\"status\":200,\"headers\":{\"Content-Type\":\"application/json\"},\"body_base64\":\"ew==\"}" },
        { "Content-Type: application/json\n", "\"x\"",
          "{\"request\":\"r\\\"1\",\"status\":200,\"headers\":{\"Content-Type\":\"application/json\"},\"body\":\"x\"}" },
        { "", "\xff", "{\"request\":\"r\\\"1\",\"status\":200,\"headers\":{},\"body_base64\":\"/w==\"}" },
        { "Connection: close\nTransfer-Encoding: chunked\nLongwire-User: root\nA: 1\na: 2\n", "x",
          "{\"request\":\"r\\\"1\",\"status\":200,\"headers\":{\"A\":\"1, 2\"},\"body\":\"x\"}" },
        { "Connection: close, X-Hop\nX-Hop: 1\nB: 2\n", "", "{\"request\":\"r\\\"1\",\"status\":200,\"headers\":{\"B\":\"2\"}}" },
        { "Content-Length: 17\n", "seventeen letters", "{\"request\":\"r\\\"1\",\"status\":200,\"headers\":{},\"body\":\"seventeen letters\"}" },
        { "content-length: 17\n", "", "{\"request\":\"r\\\"1\",\"status\":200,\"headers\":{\"content-length\":\"17\"}}" },  /* HEAD */
        { "Content-Length: 0\n", "", "{\"request\":\"r\\\"1\",\"status\":200,\"headers\":{}}" },
        { "A: \xe9\n", "", "{\"request\":\"r\\\"1\",\"status\":200,\"headers\":{\"A\":\"?\"}}" },
        { "no colon\n: no name\n", "", "{\"request\":\"r\\\"1\",\"status\":200,\"headers\":{}}" },
    };
    struct response_instructions none = { .publish = SPAN("") };
    struct buf                   object;

    buf_init(&object, SIZE_MAX / 2);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        response_put_answer(&object, SPAN("r\"1"), 200, span_str(rows[i].head), span_str(rows[i].body), true, &none);
        check_object(&object, rows[i].want);
    }
    buf_fini(&object);
}

static void a_failure_becomes_a_problem(void **state)
{
    (void)state;
    struct buf object;

    buf_init(&object, SIZE_MAX / 2);
    response_put_problem(&object, SPAN("1"), 504, "too slow", "unknown");
    assert_true(response_is_of(buf_span(&object), SPAN("1")));
    assert_false(response_is_of(buf_span(&object), SPAN("12")));
    check_object(&object, "{\"request\":\"1\",\"status\":504,\"headers\":{\"Content-Type\":\"application/problem+json\","
                          "\"Longwire-Outcome\":\"unknown\"},\"body\":{\"type\":\"about:blank\",\"title\":\"Gateway Timeout\","
                          "\"status\":504,\"detail\":\"too slow\"}}");
    buf_fini(&object);
}

static void instructions_are_read(void **state)
{
    (void)state;
    struct response_instructions told;

    assert_null(response_instructions_read(SPAN("Longwire-Subscribe: topic:a, topic:b%2Cc\nlongwire-unsubscribe: topic:d\n"
                                                "Longwire-Subscribe: topic:e\nLongwire-Publish: topic:%C3%A9\n"), &told));
    assert_int_equal(told.subscribe_count, 3);
    assert_true(span_eq(told.subscribe[1], SPAN("topic:b,c")) && span_eq(told.subscribe[2], SPAN("topic:e")));
    assert_int_equal(told.unsubscribe_count, 1);
    assert_true(span_eq(told.publish, SPAN("topic:\xc3\xa9")));
    response_instructions_fini(&told);
    assert_null(response_instructions_read(SPAN("A: b\n"), &told));
    assert_int_equal(told.publish.len, 0);
    response_instructions_fini(&told);
}

#define NINE    "a,b,c,d,e,f,g,h,i,"
#define ALL_64  NINE NINE NINE NINE NINE NINE NINE "a"
#define OF_MANY " in the back end's answer names more than 64 channels"
#define GARBLED " in the back end's answer names a channel that is not percent-encoded UTF-8"
#define SEVERAL "Longwire-Publish in the back end's answer names several channels; it may name one"

/* A 502 says which field is at fault, and why. */
static void a_fault_of_instructions_has_its_sentence(void **state)
{
    static const struct { const char *head, *want; } rows[] = {
        { "Longwire-Subscribe: " ALL_64 "\n", NULL },
        { "Longwire-Subscribe: " ALL_64 ",b\n", "Longwire-Subscribe" OF_MANY },
        { "Longwire-Subscribe: " ALL_64 "\nLongwire-Subscribe: b\n", "Longwire-Subscribe" OF_MANY },
        { "Longwire-Unsubscribe: " ALL_64 ",b\n", "Longwire-Unsubscribe" OF_MANY },
        { "Longwire-Subscribe: a%\n", "Longwire-Subscribe" GARBLED },
        { "Longwire-Subscribe: %ff\n", "Longwire-Subscribe" GARBLED },
        { "Longwire-Unsubscribe: a, a%2\n", "Longwire-Unsubscribe" GARBLED },
        { "Longwire-Publish: %\n", "Longwire-Publish" GARBLED },
        { "Longwire-Publish: a, b\n", SEVERAL },
        { "Longwire-Publish: a\nLongwire-Publish: b\n", SEVERAL },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct response_instructions told;
        const char *const            fault = response_instructions_read(span_str(rows[i].head), &told);
        assert_string_equal(fault == NULL ? "" : fault, rows[i].want == NULL ? "" : rows[i].want);
        response_instructions_fini(&told);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_becomes_an_object),
        cmocka_unit_test(a_failure_becomes_a_problem),
        cmocka_unit_test(instructions_are_read),
        cmocka_unit_test(a_fault_of_instructions_has_its_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
