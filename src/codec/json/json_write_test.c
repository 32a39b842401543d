/* Writing JSON: the wire forms of messages, and that nothing in a message breaks out of them (threats 56, 58, 80). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base64.h"
#include "base/utf8.h"
#include "codec/json/json.h"
#include "lib/sample.h"

#include <cmocka.h>

#define HEAD(type) "{\"type\":\"" type "\",\"channel\":\"topic:prices\",\"epoch\":\"123456789abcdef0\",\"seq\":42," \
                   "\"id\":7,\"time\":1700000000000,\"from\":"

static void messages_look_as_the_protocol_says(void **state)
{
    (void)state;
    static const struct { const char *name; enum message_kind kind; struct span payload, media, from, want; } rows[] = {
        { "text", MESSAGE_PLAIN, SPAN("say \"hi\"\n"), SPAN("text/plain"), SPAN("shop"),
          SPAN(HEAD("message") "\"shop\",\"media\":\"text/plain\",\"data\":\"say \\\"hi\\\"\\n\"}") },
        { "JSON, byte for byte", MESSAGE_PLAIN, SPAN("{ \"a\" :\r\n [1.50] }"), SPAN("application/json"), SPAN(""),
          SPAN(HEAD("message") "null,\"media\":\"application/json\",\"data\":{ \"a\" :\r\n [1.50] }}") },
        { "JSON by suffix, any case, parameters", MESSAGE_PLAIN,
          SPAN("1"), SPAN("Application/LD+JSON ;charset=\"utf-8\""), SPAN(""),
          SPAN(HEAD("message") "null,\"media\":\"Application/LD+JSON ;charset=\\\"utf-8\\\"\",\"data\":1}") },
        { "JSON without a payload", MESSAGE_PLAIN, SPAN(""), SPAN("application/json"), SPAN(""),
          SPAN(HEAD("message") "null,\"media\":\"application/json\",\"data\":\"\"}") },
        { "empty text", MESSAGE_PLAIN, SPAN(""), SPAN("text/plain"), SPAN(""),
          SPAN(HEAD("message") "null,\"media\":\"text/plain\",\"data\":\"\"}") },
        { "octets that are text", MESSAGE_PLAIN, SPAN("\xc3\xa9\0"), SPAN("application/octet-stream"), SPAN(""),
          SPAN(HEAD("message") "null,\"media\":\"application/octet-stream\",\"data\":\"\xc3\xa9\\u0000\"}") },
        { "octets", MESSAGE_PLAIN, SPAN("\xff\0"), SPAN("image/png"), SPAN(""),
          SPAN(HEAD("message") "null,\"media\":\"image/png\",\"data_base64\":\"/wA=\"}") },
        { "text that isn't", MESSAGE_PLAIN, SPAN("\xff"), SPAN("text/plain"), SPAN(""),
          SPAN(HEAD("message") "null,\"media\":\"text/plain\",\"data_base64\":\"/w==\"}") },
        { "sender with line breaks", MESSAGE_PLAIN, SPAN("x"), SPAN("text/plain"), SPAN("a\r\ndata: b"),
          SPAN(HEAD("message") "\"a\\r\\ndata: b\",\"media\":\"text/plain\",\"data\":\"x\"}") },
        { "recalled", MESSAGE_RECALLED, SPAN(""), SPAN("text/plain"), SPAN("shop"),
          SPAN(HEAD("message") "\"shop\",\"recalled\":true}") },
        { "control message", MESSAGE_PLAIN, SPAN("{\"group\":\"a\",\"joined\":true}"),
          SPAN("application/vnd.longwire.membership+json"), SPAN("shop"),
          SPAN(HEAD("membership") "\"shop\",\"group\":\"a\",\"joined\":true}") },
        { "control message without members", MESSAGE_PLAIN, SPAN("{}"), SPAN("application/vnd.longwire.read+json"),
          SPAN(""), SPAN(HEAD("read") "null}") },
        { "no control message: no object", MESSAGE_PLAIN, SPAN("[1]"), SPAN("application/vnd.longwire.read+json"),
          SPAN(""), SPAN(HEAD("message") "null,\"media\":\"application/vnd.longwire.read+json\",\"data\":[1]}") },
        { "no control message: another type", MESSAGE_PLAIN, SPAN("{}"), SPAN("application/vnd.longwire.A+json"),
          SPAN(""), SPAN(HEAD("message") "null,\"media\":\"application/vnd.longwire.A+json\",\"data\":{}}") },
        { "what remains of a control message", MESSAGE_RECALLED, SPAN(""),
          SPAN("application/vnd.longwire.membership+json"), SPAN(""), SPAN(HEAD("message") "null,\"recalled\":true}") },
        { "recall", MESSAGE_RECALL, SPAN(""), SPAN(""), SPAN(""), SPAN(HEAD("recall") "null,\"target\":41}") },
    };
    struct buf buf;

    buf_init(&buf, 1000);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sample sample;
        sample_init(&sample, SPAN("topic:prices"), rows[i].kind, rows[i].payload, rows[i].media, rows[i].from);
        buf_clear(&buf);
        json_put_message(&buf, sample.message);
        if (!span_eq(buf_span(&buf), rows[i].want))
            fail_msg("%s: %.*s", rows[i].name, SPAN_ARG(buf_span(&buf)));
        sample_fini(&sample);
    }
    buf_fini(&buf);
}

static void a_line_has_no_line_breaks(void **state)
{
    (void)state;
    struct sample sample;
    struct buf buf;

    buf_init(&buf, 1000);
    sample_init(&sample, SPAN("topic:prices"), MESSAGE_PLAIN, SPAN("[1,\r\n 2]\n"), SPAN("application/json"), SPAN(""));
    json_put_message_line(&buf, sample.message, SPAN("AQE_"));
    struct span want = SPAN(HEAD("message") "null,\"media\":\"application/json\",\"data\":[1,   2] ,"
                                            "\"cursor\":\"AQE_\"}");
    assert_true(span_eq(buf_span(&buf), want));
    buf_clear(&buf);
    json_put_message_line(&buf, sample.message, SPAN(""));
    assert_null(memmem(buf.at, buf.len, "cursor", 6));
    sample_fini(&sample);
    buf_fini(&buf);
}

static void json_is_told_by_its_media_type(void **state)
{
    (void)state;
    static const struct { struct span media; bool is_json; } rows[] = {
        { SPAN("application/json"), true },           { SPAN("APPLICATION/JSON"), true },
        { SPAN("application/json;charset=x"), true }, { SPAN(" application/json ; a=b"), true },
        { SPAN("application/geo+json"), true },       { SPAN("image/x+JSON;q"), true },
        { SPAN(""), false },                          { SPAN("application/jsonp"), false },
        { SPAN("text/plain; a=x+json"), false },      { SPAN("application/json-seq"), false },
        { SPAN("+json"), false },                     { SPAN("application/x-ndjson"), false },
        { SPAN(";application/json"), false },         { SPAN("text/json"), false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (json_is_media(rows[i].media) != rows[i].is_json)
            fail_msg("%.*s", SPAN_ARG(rows[i].media));
}

static void gaps_and_problems(void **state)
{
    (void)state;
    struct gap gap = { 3, UINT64_MAX, GAP_TRIMMED };
    struct buf buf;

    buf_init(&buf, 1000);
    json_put_gap(&buf, SPAN("topic:a\"b"), 1, &gap, SPAN(""));
    assert_true(span_eq(buf_span(&buf), SPAN("{\"type\":\"gap\",\"channel\":\"topic:a\\\"b\","
                                             "\"epoch\":\"0000000000000001\",\"from\":3,"
                                             "\"to\":18446744073709551615,\"why\":\"trimmed\"}")));
    buf_clear(&buf);
    gap = (struct gap){ 1, 1, GAP_AHEAD };
    json_put_gap(&buf, SPAN("all:"), 0, &gap, SPAN("xyz"));
    assert_true(span_eq(buf_span(&buf), SPAN("{\"type\":\"gap\",\"channel\":\"all:\",\"epoch\":\"0000000000000000\","
                                             "\"from\":1,\"to\":1,\"why\":\"ahead\",\"cursor\":\"xyz\"}")));
    buf_clear(&buf);
    json_put_notify(&buf, SPAN("topic:a\"b"), 1, 12, SPAN("xyz"));
    assert_true(span_eq(buf_span(&buf), SPAN("{\"type\":\"notify\",\"channel\":\"topic:a\\\"b\","
                                             "\"epoch\":\"0000000000000001\",\"head\":12,\"cursor\":\"xyz\"}")));
    buf_clear(&buf);
    json_put_problem(&buf, 413, SPAN("payload too large"), SPAN("1 MiB \"at most\""));
    assert_true(span_eq(buf_span(&buf), SPAN("{\"type\":\"about:blank\",\"title\":\"payload too large\",\"status\":413,"
                                             "\"detail\":\"1 MiB \\\"at most\\\"\"}")));
    buf_clear(&buf);
    json_put_problem(&buf, 404, SPAN("not found"), SPAN(""));
    assert_true(span_eq(buf_span(&buf), SPAN("{\"type\":\"about:blank\",\"title\":\"not found\",\"status\":404}")));
    buf_fini(&buf);
}

/* Each byte at each place of a word and behind it: what was written reads back. */
static void every_byte_is_escaped_where_it_must_be(void **state)
{
    (void)state;
    const struct json_limits whole = { 0 };
    struct json_doc doc;
    struct buf buf, scratch;
    struct span back;

    json_doc_init(&doc);
    buf_init(&buf, 200);
    buf_init(&scratch, 200);
    for (unsigned byte = 0; byte < 0x80; byte++) {
        for (size_t at = 0; at < 20; at++) {
            char text[20];
            memset(text, 'x', sizeof text);
            text[at] = (char)byte;
            buf_clear(&buf);
            buf_clear(&scratch);
            json_put_string(&buf, span_of(text, sizeof text));
            assert_true(json_parse(buf_span(&buf), &whole, &doc));
            assert_true(json_string(json_root(&doc), &scratch, &back));
            assert_true(span_eq(back, span_of(text, sizeof text)));
            assert_int_equal(buf.len == sizeof text + 2, byte >= 0x20 && byte != '"' && byte != '\\');
        }
    }
    buf_fini(&scratch);
    buf_fini(&buf);
    json_doc_fini(&doc);
}

static void expect_text(const struct json_doc *doc, struct span name, struct span want)
{
    struct buf scratch;
    struct span text;

    buf_init(&scratch, 4096);
    assert_true(json_string(json_member(doc, json_root(doc), name), &scratch, &text));
    assert_true(span_eq(text, want));
    buf_fini(&scratch);
}

static void expect_octets(const struct json_doc *doc, struct span want)
{
    struct buf scratch, octets;
    struct span text;

    buf_init(&scratch, 8192);
    buf_init(&octets, 4096);
    assert_true(json_string(json_member(doc, json_root(doc), SPAN("data_base64")), &scratch, &text));
    assert_true(base64_get(text, &octets));
    assert_true(span_eq(buf_span(&octets), want));
    buf_fini(&octets);
    buf_fini(&scratch);
}

/* Threats 56 and 80: any payload comes out as it went in, on one line. */
static void any_payload_reads_back(void **state)
{
    (void)state;
    const struct json_limits members = { .depth_kept = 1 };
    struct rng rng = { 80 };
    struct json_doc doc;
    struct buf buf, payload;
    size_t texts = 0, octets = 0;

    json_doc_init(&doc);
    buf_init(&buf, 1 << 16);
    buf_init(&payload, 4096);
    for (size_t round = 0; round < 20000; round++) {
        struct sample sample;
        buf_clear(&buf);
        buf_clear(&payload);
        sample_put_hostile(&payload, &rng);
        sample_init(&sample, SPAN("topic:\"\\"), MESSAGE_PLAIN, buf_span(&payload), SPAN("text/plain"), SPAN("\n\"a"));
        json_put_message_line(&buf, sample.message, SPAN("token"));
        assert_null(memchr(buf.at, '\n', buf.len));
        assert_null(memchr(buf.at, '\r', buf.len));
        assert_true(json_parse(buf_span(&buf), &members, &doc));
        assert_int_equal(json_root(&doc)->count, 10);
        expect_text(&doc, SPAN("channel"), SPAN("topic:\"\\"));
        expect_text(&doc, SPAN("from"), SPAN("\n\"a"));
        expect_text(&doc, SPAN("cursor"), SPAN("token"));
        if (utf8_is_valid(buf_span(&payload))) {
            texts++;
            expect_text(&doc, SPAN("data"), buf_span(&payload));
        } else {
            octets++;
            expect_octets(&doc, buf_span(&payload));
        }
        sample_fini(&sample);
    }
    assert_true(texts > 1000 && octets > 1000);
    buf_fini(&payload);
    buf_fini(&buf);
    json_doc_fini(&doc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_look_as_the_protocol_says),
        cmocka_unit_test(a_line_has_no_line_breaks),
        cmocka_unit_test(json_is_told_by_its_media_type),
        cmocka_unit_test(gaps_and_problems),
        cmocka_unit_test(every_byte_is_escaped_where_it_must_be),
        cmocka_unit_test(any_payload_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
