/* SSE: the lines as they are, and that no payload makes lines of its own (threats 58, 80). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/utf8.h"
#include "codec/json/json.h"
#include "codec/sse/sse.h"
#include "lib/sample.h"
#include "lib/sse_reader.h"

#include <cmocka.h>

static void lines_are_as_the_standard_wants_them(void **state)
{
    (void)state;
    struct gap gap = { 1, 9, GAP_EXPIRED };
    struct sample sample;
    struct buf buf;

    buf_init(&buf, 2000);
    sample_init(&sample, SPAN("topic:a"), MESSAGE_PLAIN, SPAN("{\n}"), SPAN("application/json"), SPAN(""));
    sse_put_retry(&buf, 3000);
    sse_put_message(&buf, sample.message, SPAN("AQE-_"));
    sse_put_heartbeat(&buf);
    sse_put_gap(&buf, SPAN("topic:a"), 5, &gap, SPAN("tok"));
    sse_put_gap(&buf, SPAN("topic:a"), 5, &gap, SPAN(""));
    sse_put_notify(&buf, SPAN("topic:a"), 5, 9, SPAN("tok"));
    sse_put_place(&buf, SPAN("AQ-_"));
    struct span want = SPAN(
        "retry: 3000\n"
        "id: AQE-_\n"
        "data: {\"type\":\"message\",\"channel\":\"topic:a\",\"epoch\":\"123456789abcdef0\",\"seq\":42,\"id\":7,"
        "\"time\":1700000000000,\"from\":null,\"media\":\"application/json\",\"data\":{ }}\n\n"
        ":\n"
        "id: tok\nevent: gap\n"
        "data: {\"type\":\"gap\",\"channel\":\"topic:a\",\"epoch\":\"0000000000000005\",\"from\":1,\"to\":9,"
        "\"why\":\"expired\"}\n\n"
        "event: gap\n"
        "data: {\"type\":\"gap\",\"channel\":\"topic:a\",\"epoch\":\"0000000000000005\",\"from\":1,\"to\":9,"
        "\"why\":\"expired\"}\n\n"
        "id: tok\nevent: notify\ndata: {\"type\":\"notify\",\"channel\":\"topic:a\",\"epoch\":\"0000000000000005\",\"head\":9}\n\n"
        "id: AQ-_\nevent: cursor\ndata: {\"type\":\"cursor\",\"cursor\":\"AQ-_\"}\n\n");
    if (!span_eq(buf_span(&buf), want))
        fail_msg("%.*s", SPAN_ARG(buf_span(&buf)));
    sample_fini(&sample);
    buf_fini(&buf);
}

static void raw_events_are_the_payload(void **state)
{
    (void)state;
    static const struct {
        const char       *name;
        enum message_kind kind;
        struct span       payload, event, want;
    } rows[] = {
        { "a line", MESSAGE_PLAIN, SPAN("<b>1</b>"), SPAN("price"), SPAN("id: t\nevent: price\ndata: <b>1</b>\n\n") },
        { "no event", MESSAGE_PLAIN, SPAN("x"), SPAN(""), SPAN("id: t\ndata: x\n\n") },
        { "empty", MESSAGE_PLAIN, SPAN(""), SPAN(""), SPAN("id: t\ndata: \n\n") },
        { "all line ends", MESSAGE_PLAIN, SPAN("a\rb\nc\r\nd\n\re"), SPAN(""),
          SPAN("id: t\ndata: a\ndata: b\ndata: c\ndata: d\ndata: \ndata: e\n\n") },
        { "line end last", MESSAGE_PLAIN, SPAN("a\r\n"), SPAN(""), SPAN("id: t\ndata: a\ndata: \n\n") },
        { "spaces stay", MESSAGE_PLAIN, SPAN("  a "), SPAN(""), SPAN("id: t\ndata:   a \n\n") },
        { "an event within", MESSAGE_PLAIN, SPAN("\n\nevent: gap\ndata: y\n\n"), SPAN(""),
          SPAN("id: t\ndata: \ndata: \ndata: event: gap\ndata: data: y\ndata: \ndata: \n\n") },
        { "octets", MESSAGE_PLAIN, SPAN("\xff"), SPAN("price"),
          SPAN("event: binary\nid: t\ndata: {\"type\":\"message\",\"channel\":\"topic:a\",\"epoch\":\"123456789abcdef0\","
               "\"seq\":42,\"id\":7,\"time\":1700000000000,\"from\":null,\"media\":\"\",\"event\":\"price\","
               "\"data_base64\":\"/w==\"}\n\n") },
        { "recall", MESSAGE_RECALL, SPAN(""), SPAN(""),
          SPAN("event: recall\nid: t\ndata: {\"type\":\"recall\",\"channel\":\"topic:a\",\"epoch\":\"123456789abcdef0\","
               "\"seq\":42,\"id\":7,\"time\":1700000000000,\"from\":null,\"target\":41}\n\n") },
        { "recalled", MESSAGE_RECALLED, SPAN(""), SPAN(""),
          SPAN("event: recalled\nid: t\ndata: {\"type\":\"message\",\"channel\":\"topic:a\","
               "\"epoch\":\"123456789abcdef0\",\"seq\":42,\"id\":7,\"time\":1700000000000,\"from\":null,"
               "\"recalled\":true}\n\n") },
    };
    struct buf buf;

    buf_init(&buf, 2000);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sample sample;
        buf_clear(&buf);
        sample_init_event(&sample, SPAN("topic:a"), rows[i].kind, rows[i].payload, SPAN(""), SPAN(""), rows[i].event);
        sse_put_raw(&buf, sample.message, SPAN("t"));
        if (!span_eq(buf_span(&buf), rows[i].want))
            fail_msg("%s: %.*s", rows[i].name, SPAN_ARG(buf_span(&buf)));
        sample_fini(&sample);
    }
    buf_fini(&buf);
}

static void expect_event(struct span *rest, struct span id, struct span *ret_data)
{
    struct sse_event event;

    assert_true(sse_event_next(rest, &event));
    assert_true(span_eq(event.id, id));
    assert_null(event.type.at);
    *ret_data = event.data;
}

static void no_payload_makes_lines(void **state)
{
    (void)state;
    const struct json_limits members = { .depth_kept = 1 };
    struct rng rng = { 58 };
    struct json_doc doc;
    struct buf buf, payload, scratch;

    json_doc_init(&doc);
    buf_init(&buf, 1 << 16);
    buf_init(&payload, 4096);
    buf_init(&scratch, 8192);
    for (size_t round = 0; round < 20000; round++) {
        struct sample sample;
        struct span rest, data, text;
        buf_clear(&buf);
        buf_clear(&payload);
        buf_clear(&scratch);
        sample_put_hostile(&payload, &rng);
        sample_init(&sample, SPAN("topic:a"), MESSAGE_PLAIN, buf_span(&payload), SPAN("text/x\r\ndata: y"),
                    SPAN("\ndata: z"));
        sse_put_message(&buf, sample.message, SPAN("one"));
        sse_put_message(&buf, sample.message, SPAN("two"));
        rest = buf_span(&buf);
        expect_event(&rest, SPAN("one"), &data);
        expect_event(&rest, SPAN("two"), &data);
        assert_int_equal(rest.len, 0);
        assert_true(json_parse(data, &members, &doc));
        if (utf8_is_valid(buf_span(&payload))) {
            assert_true(json_string(json_member(&doc, json_root(&doc), SPAN("data")), &scratch, &text));
            assert_true(span_eq(text, buf_span(&payload)));
        }
        sample_fini(&sample);
    }
    buf_fini(&scratch);
    buf_fini(&payload);
    buf_fini(&buf);
    json_doc_fini(&doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_as_the_standard_wants_them),
        cmocka_unit_test(no_payload_makes_lines),
        cmocka_unit_test(raw_events_are_the_payload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
