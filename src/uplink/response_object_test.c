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
    struct buf                   many;

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
    static const char *const bad[] = { "Longwire-Publish: a, b\n", "Longwire-Publish: a\nLongwire-Publish: b\n",
                                       "Longwire-Subscribe: a%\n", "Longwire-Subscribe: %ff\n" };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_non_null(response_instructions_read(span_str(bad[i]), &told));
        response_instructions_fini(&told);
    }
    buf_init(&many, SIZE_MAX / 2);
    buf_put_lit(&many, "Longwire-Subscribe: a");
    for (int i = 0; i < RESPONSE_INSTRUCTIONS_MAX; i++)
        buf_put_lit(&many, ",a");
    buf_putc(&many, '\n');
    assert_non_null(response_instructions_read(buf_span(&many), &told));
    response_instructions_fini(&told);
    buf_fini(&many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_becomes_an_object),
        cmocka_unit_test(a_failure_becomes_a_problem),
        cmocka_unit_test(instructions_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
