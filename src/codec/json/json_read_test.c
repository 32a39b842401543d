/* Reading JSON: what is refused (threat 55), what tokens stand for, limits, and that slices are byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "base/rng.h"
#include "codec/json/json.h"
#include "lib/laws.h"

#include <cmocka.h>

static const struct json_limits all_kept = { .depth_kept = JSON_DEPTH_DEFAULT };

/* Threat 55. Both doors must agree on each row, but for what only kept objects refuse. */
static void the_grammar_is_rfc_8259(void **state)
{
    (void)state;
    static const struct { const char *name; struct span text; bool is_valid; } rows[] = {
        { "empty object", SPAN("{}"), true },
        { "empty array with spaces", SPAN(" \t\r\n[ ] \n"), true },
        { "string alone", SPAN("\"a\""), true },
        { "number alone", SPAN("42"), true },
        { "number alone, then space", SPAN("-0.5e-3 "), true },
        { "literals", SPAN("[true,false,null]"), true },
        { "true alone", SPAN("true"), true },
        { "all escapes", SPAN("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\""), true },
        { "a pair of surrogates", SPAN("\"\\ud83d\\uDE00\""), true },
        { "a backslash, then what looks like a surrogate", SPAN("\"\\\\ud800\""), true },
        { "DEL in a string", SPAN("\"\x7f\""), true },
        { "minus zero", SPAN("-0"), true },
        { "zero with a fraction and an exponent", SPAN("0.0E+0"), true },
        { "everything close together", SPAN("{\"\":[{},[],\"\",-1,true,null]}"), true },
        { "spaces everywhere", SPAN(" { \"\" : [ { } , [ ] , \"\" , -1 , true , null ] } "), true },
        { "an escaped quote, an escaped backslash", SPAN("[\"\\\"\",\"\\\\\"]"), true },
        { "four bytes of UTF-8", SPAN("\"\xf0\x9f\x98\x80\""), true },
        { "greatest double", SPAN("1.7976931348623157e308"), true },
        { "rounds to the greatest double", SPAN("1.79769313486231580e308"), true },
        { "the last that rounds to it", SPAN("1.7976931348623158079e308"), true },
        { "large only on the face of it", SPAN("0.00001e310"), true },
        { "zero with any exponent", SPAN("0e999999999999999999999"), true },
        { "too small is zero", SPAN("1e-999999999999999999999"), true },
        { "nothing", SPAN(""), false },
        { "only space", SPAN("  "), false },
        { "overflow", SPAN("1e999"), false },
        { "overflow below zero", SPAN("[-1E+400]"), false },
        { "just above the greatest double", SPAN("1.7976931348623159e308"), false },
        { "more digits that still round to it", SPAN("1.797693134862315807937e308"), true },
        { "the first that doesn't", SPAN("1.7976931348623158080e308"), false },
        { "twenty digits that leave it open", SPAN("1.79769313486231580795e308"), false },
        { "halfway to infinity", SPAN("179769313486231580793728971405303415079934132710037826936173778980444968292764750946649017977587207096330286416692887910946555547851940402630657488671505820681908902000708383676273854845817711531764475730270069855571366959622842914819860834936475292719074168444365510704342711559699508093042880177904174497792"), false },
        { "halfway, and a fraction of it", SPAN("179769313486231580793728971405303415079934132710037826936173778980444968292764750946649017977587207096330286416692887910946555547851940402630657488671505820681908902000708383676273854845817711531764475730270069855571366959622842914819860834936475292719074168444365510704342711559699508093042880177904174497792.0"), false },
        { "just below halfway", SPAN("-179769313486231580793728971405303415079934132710037826936173778980444968292764750946649017977587207096330286416692887910946555547851940402630657488671505820681908902000708383676273854845817711531764475730270069855571366959622842914819860834936475292719074168444365510704342711559699508093042880177904174497791.99"), true },
        { "exponent of many digits", SPAN("1e99999999999999999999999999"), false },
        { "NaN", SPAN("NaN"), false },
        { "Infinity", SPAN("-Infinity"), false },
        { "comment", SPAN("/* a */ 1"), false },
        { "line comment", SPAN("1 // a"), false },
        { "trailing comma in an array", SPAN("[1,]"), false },
        { "trailing comma in an object", SPAN("{\"a\":1,}"), false },
        { "missing comma", SPAN("[1 2]"), false },
        { "missing colon", SPAN("{\"a\" 1}"), false },
        { "key without quotes", SPAN("{a:1}"), false },
        { "single quotes", SPAN("['a']"), false },
        { "two values", SPAN("1 2"), false },
        { "bytes behind", SPAN("{}x"), false },
        { "half a string behind", SPAN("{} \"abc"), false },
        { "half a literal behind", SPAN("{} tru"), false },
        { "NUL behind", SPAN("{}\0"), false },
        { "leading zero", SPAN("01"), false },
        { "plus", SPAN("+1"), false },
        { "point without digits", SPAN("1."), false },
        { "point without digits before", SPAN(".5"), false },
        { "minus alone", SPAN("-"), false },
        { "exponent without digits", SPAN("1e"), false },
        { "hexadecimal", SPAN("0x10"), false },
        { "exponent with a sign alone", SPAN("1e+"), false },
        { "point, then an exponent", SPAN("1.e5"), false },
        { "minus and a leading zero", SPAN("-012"), false },
        { "two minuses", SPAN("--1"), false },
        { "two points", SPAN("1.2.3"), false },
        { "two exponents", SPAN("1e5e5"), false },
        { "digits of another script", SPAN("\xd9\xa1"), false },
        { "only a comma", SPAN("[,]"), false },
        { "comma first", SPAN("[,1]"), false },
        { "comma first in an object", SPAN("{,\"a\":1}"), false },
        { "two commas", SPAN("[1,,2]"), false },
        { "colon in an array", SPAN("[1:2]"), false },
        { "two colons", SPAN("{\"a\"::1}"), false },
        { "name without a value", SPAN("{\"a\"}"), false },
        { "colon without a value", SPAN("{\"a\":}"), false },
        { "comma for a colon", SPAN("{\"a\",1}"), false },
        { "value for a name", SPAN("{[]:1}"), false },
        { "number for a name", SPAN("{1:1}"), false },
        { "end without a beginning", SPAN("]"), false },
        { "one end too many", SPAN("[1]]"), false },
        { "array ends an object", SPAN("{\"a\":1]"), false },
        { "object ends an array within an object", SPAN("{\"a\":[1}}"), false },
        { "words run together", SPAN("[truefalse]"), false },
        { "string and word", SPAN("[\"a\"true]"), false },
        { "escaped space", SPAN("\"\\ \""), false },
        { "escaped NUL", SPAN("\"\\0\""), false },
        { "a backslash, then NUL", SPAN("\"\\\0\""), false },
        { "upper-case escape", SPAN("\"\\U0041\""), false },
        { "unit separator in a long string", SPAN("\"0123456\x1f" "0123456789\""), false },
        { "cut in a string", SPAN("\"abc"), false },
        { "cut in an escape", SPAN("\"abc\\"), false },
        { "cut in a unicode escape", SPAN("\"\\u12"), false },
        { "cut in an array", SPAN("[1"), false },
        { "cut in an object", SPAN("{\"a\":"), false },
        { "wrong bracket", SPAN("[1}"), false },
        { "high surrogate alone", SPAN("\"\\ud800\""), false },
        { "low surrogate alone", SPAN("\"\\udc00\""), false },
        { "two high surrogates", SPAN("\"\\ud800\\ud800\""), false },
        { "surrogates the wrong way", SPAN("\"\\udc00\\ud800\""), false },
        { "high surrogate and a letter", SPAN("\"\\ud800\\u0041\""), false },
        { "lone surrogate in a key", SPAN("{\"\\ud800\":1}"), false },
        { "unknown escape", SPAN("\"\\a\""), false },
        { "escaped quote of Javascript", SPAN("\"\\'\""), false },
        { "four digits that aren't", SPAN("\"\\u00g0\""), false },
        { "NUL in a string", SPAN("\"a\0b\""), false },
        { "tab in a string", SPAN("\"a\tb\""), false },
        { "line feed in a string", SPAN("\"a\nb\""), false },
        { "byte order mark", SPAN("\xef\xbb\xbf{}"), false },
        { "overlong", SPAN("\"\xc0\xaf\""), false },
        { "surrogate as UTF-8", SPAN("\"\xed\xa0\x80\""), false },
        { "stray byte", SPAN("\"\x80\""), false },
        { "vertical tab as space", SPAN("[1,\v2]"), false },
        { "form feed as space", SPAN("\f1"), false },
        { "no-break space", SPAN("\xc2\xa0" "1"), false },
        { "True", SPAN("True"), false },
        { "nul", SPAN("nul"), false },
        { "nulls", SPAN("nulls"), false },
    };
    struct json_doc doc;

    json_doc_init(&doc);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        /* A block of its own, so that ASan sees a read beyond the end. */
        char *text = malloc(rows[i].text.len);
        must(text != NULL || rows[i].text.len == 0);
        if (rows[i].text.len > 0)
            memcpy(text, rows[i].text.at, rows[i].text.len);
        struct span span = { text, rows[i].text.len };
        if (json_parse(span, &all_kept, &doc) != rows[i].is_valid)
            fail_msg("json_parse: %s", rows[i].name);
        if (json_is_valid(span, NULL) != rows[i].is_valid)
            fail_msg("json_is_valid: %s", rows[i].name);
        if (!rows[i].is_valid && (doc.fault.reason[0] == '\0' || doc.fault.at > span.len || doc.count != 0))
            fail_msg("fault: %s: \"%s\" at %zu", rows[i].name, doc.fault.reason, doc.fault.at);
        free(text);
    }
    json_doc_fini(&doc);
}

static void faults_say_what_and_where(void **state)
{
    (void)state;
    static const struct { struct span text; const char *reason; size_t at; } rows[] = {
        { SPAN("{\"a\":1,\"b\":2,\"a\":3}"), "a member comes twice", 13 },
        { SPAN("[1,1e999]"), "a number too large for a double, at most 1.7976931348623157e308", 3 },
        { SPAN("1e999"), "a number too large for a double, at most 1.7976931348623157e308", 0 },
        { SPAN("[1, 01]"), "not a number as JSON writes it", 4 },
        { SPAN("[1, -]"), "not a number as JSON writes it", 4 },
        { SPAN("[\"a\",\"\\ud800\"]"), "a surrogate without its pair", 6 },
        { SPAN("[\"a\\x\"]"), "an escape that JSON doesn't know", 3 },
        { SPAN("[\"a\\u12x4\"]"), "an escape without its four hexadecimal digits", 3 },
        { SPAN("[\"\xff\"]"), "not UTF-8", 2 },
        { SPAN("\xef\xbb\xbf{}"), "a byte order mark, which JSON has none of", 0 },
        { SPAN("[\"a\nb\"]"), "a control character in a string, not written as an escape", 3 },
        { SPAN("[1,\0]"), "not a value", 3 },
        { SPAN("[NaN]"), "not a value", 1 },
        { SPAN("[1,]"), "not a value", 3 },
        { SPAN("{\"a\":1,}"), "the name of a member belongs here, a string", 7 },
        { SPAN("{a:1}"), "the name of a member belongs here, a string", 1 },
        { SPAN("{\"a\" 1}"), "a colon belongs here", 5 },
        { SPAN("{\"a\":1]"), "a comma or the end of the object belongs here", 6 },
        { SPAN("[1 2]"), "a comma or the end of the array belongs here", 3 },
        { SPAN("1 2"), "more than one value", 2 },
        { SPAN(""), "nothing there", 0 },
        { SPAN("  "), "nothing there", 2 },
        { SPAN("[1,"), "the text ends too early", 3 },
        { SPAN("[\"abc"), "the text ends too early", 5 },
        { SPAN("[\"abc\\"), "the text ends too early", 6 },
    };
    struct json_doc   doc;
    struct json_fault fault;

    json_doc_init(&doc);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_false(json_parse(rows[i].text, &all_kept, &doc));
        assert_string_equal(doc.fault.reason, rows[i].reason);
        assert_int_equal(doc.fault.at, rows[i].at);
        assert_int_equal(doc.fault.limit, 0);
        /* Both doors say the same, but for what only kept objects refuse. */
        if (!json_is_valid(rows[i].text, &fault)) {
            assert_string_equal(fault.reason, rows[i].reason);
            assert_int_equal(fault.at, rows[i].at);
        }
    }
    json_doc_fini(&doc);
}

static void faults_are_said_in_a_sentence(void **state)
{
    (void)state;
    char text[JSON_FAULT_BYTES];

    json_fault_say("not JSON", &(struct json_fault){ .reason = "not UTF-8", .at = 7 }, text);
    assert_string_equal(text, "not JSON: not UTF-8 (byte 7)");
    json_fault_say("not JSON", &(struct json_fault){ .reason = "nested too deeply", .at = 64, .limit = 64 }, text);
    assert_string_equal(text, "not JSON: nested too deeply (byte 64; at most 64)");
    assert_string_equal(json_fault_say("no object", &(struct json_fault){ .reason = NULL }, text), "no object");
}

static void tokens_are_slices_of_the_text(void **state)
{
    (void)state;
    struct span text = SPAN(" { \"type\" : \"publish\" , \"data\" : [ 1 , {\"a\" : \"\\u0041\"} ] ,"
                            "\"ttl\":17, \"ref\":null}");
    struct json_doc doc;
    uint64_t ttl;

    json_doc_init(&doc);
    assert_true(json_parse(text, &(struct json_limits){ .depth_kept = 1 }, &doc));
    const struct json_token *root = json_root(&doc);
    assert_int_equal(root->type, JSON_OBJECT);
    assert_int_equal(root->count, 4);
    assert_int_equal(doc.count, 9);
    assert_true(span_eq(root->raw, span_skip(text, 1)));

    const struct json_token *data = json_member(&doc, root, SPAN("data"));
    assert_int_equal(data->type, JSON_ARRAY);
    assert_false(data->is_kept);
    assert_int_equal(data->count, 0);
    assert_true(span_eq(data->raw, SPAN("[ 1 , {\"a\" : \"\\u0041\"} ]")));
    assert_true(data->raw.at > text.at && data->raw.at < text.at + text.len);
    assert_true(span_eq(json_member(&doc, root, SPAN("type"))->raw, SPAN("\"publish\"")));
    assert_true(json_u64(json_member(&doc, root, SPAN("ttl")), &ttl));
    assert_int_equal(ttl, 17);
    assert_int_equal(json_member(&doc, root, SPAN("ref"))->type, JSON_NULL);
    assert_null(json_member(&doc, root, SPAN("channel")));
    assert_null(json_member(&doc, data, SPAN("a")));
    assert_false(json_u64(json_member(&doc, root, SPAN("channel")), &ttl));
    json_doc_fini(&doc);
}

static void children_come_in_order_at_every_depth(void **state)
{
    (void)state;
    struct span text = SPAN("[{\"a\":[],\"b\":{\"c\":[1,[2]]}},[],3,\"4\"]");
    static const struct { uint32_t depth_kept, tokens; } rows[] = { { 0, 1 }, { 1, 5 }, { 2, 9 }, { 3, 11 }, { 4, 13 },
                                                                   { 5, 14 }, { 6, 14 } };
    struct json_doc doc;

    json_doc_init(&doc);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_true(json_parse(text, &(struct json_limits){ .depth_kept = rows[i].depth_kept }, &doc));
        if (doc.count != rows[i].tokens)
            fail_msg("depth_kept %u: %u tokens", rows[i].depth_kept, doc.count);
        assert_true(span_eq(json_root(&doc)->raw, text));
        assert_int_equal(json_root(&doc)->next, doc.count);
        if (rows[i].depth_kept == 0)
            continue;
        const char *want[] = { "{\"a\":[],\"b\":{\"c\":[1,[2]]}}", "[]", "3", "\"4\"" };
        size_t      count  = 0;
        const struct json_token *root = json_root(&doc);
        for (const struct json_token *at = json_first(&doc, root); at != NULL; at = json_next(&doc, root, at))
            assert_true(span_eq(at->raw, span_str(want[count++])));
        assert_int_equal(count, 4);
    }
    json_doc_fini(&doc);
}

static void names_are_compared_decoded(void **state)
{
    (void)state;
    struct json_doc doc;

    json_doc_init(&doc);
    assert_true(json_parse(SPAN("{\"ch\\u0061nnel\":1,\"\":2,\"\\ud83d\\ude00\":3}"), &all_kept, &doc));
    assert_true(span_eq(json_member(&doc, json_root(&doc), SPAN("channel"))->raw, SPAN("1")));
    assert_true(span_eq(json_member(&doc, json_root(&doc), SPAN(""))->raw, SPAN("2")));
    assert_true(span_eq(json_member(&doc, json_root(&doc), SPAN("\xf0\x9f\x98\x80"))->raw, SPAN("3")));
    assert_null(json_member(&doc, json_root(&doc), SPAN("chann")));
    assert_null(json_member(&doc, json_root(&doc), SPAN("channels")));

    /* Threat 55: a second spelling is no way round. */
    assert_false(json_parse(SPAN("{\"a\":1,\"\\u0061\":2}"), &all_kept, &doc));
    assert_false(json_parse(SPAN("[{\"\\u0061\":{\"x\":1},\"a\":2}]"), &all_kept, &doc));
    /* Below what is kept the value is the publisher's own. */
    assert_true(json_parse(SPAN("{\"data\":{\"a\":1,\"a\":2}}"), &(struct json_limits){ .depth_kept = 1 }, &doc));
    assert_true(json_is_valid(SPAN("{\"a\":1,\"a\":2}"), NULL));
    json_doc_fini(&doc);
}

static void strings_decode(void **state)
{
    (void)state;
    static const struct { struct span raw, want; } rows[] = {
        { SPAN("\"\""), SPAN("") },
        { SPAN("\"plain \xc3\xa9\""), SPAN("plain \xc3\xa9") },
        { SPAN("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), SPAN("\"\\/\b\f\n\r\t") },
        { SPAN("\"a\\u0000b\""), SPAN("a\0b") },
        { SPAN("\"\\u007f\\u0080\\u07ff\\u0800\\uffff\""), SPAN("\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf") },
        { SPAN("\"\\ud800\\udc00\\uDBFF\\uDFFF\""), SPAN("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf") },
    };
    struct json_doc doc;
    struct buf scratch;
    struct span text;

    json_doc_init(&doc);
    buf_init(&scratch, 64);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_true(json_parse(rows[i].raw, &all_kept, &doc));
        buf_clear(&scratch);
        buf_put_lit(&scratch, "before");
        assert_true(json_string(json_root(&doc), &scratch, &text));
        if (!span_eq(text, rows[i].want))
            fail_msg("%.*s", SPAN_ARG(rows[i].raw));
        bool is_borrowed = text.at > rows[i].raw.at && text.at < rows[i].raw.at + rows[i].raw.len;
        assert_int_equal(is_borrowed, memchr(rows[i].raw.at, '\\', rows[i].raw.len) == NULL);
    }
    struct span small = SPAN("\"0123456789012345678901234567890123456789012345678901234567890123456789\\n\"");
    assert_true(json_parse(small, &all_kept, &doc));
    assert_false(json_string(json_root(&doc), &scratch, &text));
    assert_false(json_string(NULL, &scratch, &text));
    assert_true(json_parse(SPAN("12"), &all_kept, &doc));
    assert_false(json_string(json_root(&doc), &scratch, &text));
    buf_fini(&scratch);
    json_doc_fini(&doc);
}

static void only_plain_digits_are_a_u64(void **state)
{
    (void)state;
    static const struct { struct span text; bool is_u64; uint64_t want; } rows[] = {
        { SPAN("0"), true, 0 },       { SPAN("18446744073709551615"), true, UINT64_MAX },
        { SPAN("7 "), true, 7 },      { SPAN("18446744073709551616"), false, 0 },
        { SPAN("-1"), false, 0 },     { SPAN("-0"), false, 0 },
        { SPAN("1.0"), false, 0 },    { SPAN("1e3"), false, 0 },
        { SPAN("\"1\""), false, 0 },  { SPAN("true"), false, 0 },
    };
    struct json_doc doc;

    json_doc_init(&doc);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t value = 99;
        assert_true(json_parse(rows[i].text, &all_kept, &doc));
        if (json_u64(json_root(&doc), &value) != rows[i].is_u64 || value != (rows[i].is_u64 ? rows[i].want : 99))
            fail_msg("%.*s", SPAN_ARG(rows[i].text));
    }
    json_doc_fini(&doc);
}

static void repeat(struct buf *buf, size_t count, struct span piece)
{
    while (count-- > 0)
        buf_put(buf, piece);
}

/* Threat 55: depth 100,000. */
static void depth_is_limited(void **state)
{
    (void)state;
    static const struct { size_t depth; bool is_valid; } rows[] = {
        { 63, true }, { 64, true }, { 65, false }, { JSON_DEPTH_MAX, false }, { JSON_DEPTH_MAX + 1, false },
        { 100000, false },
    };
    struct json_doc doc;
    struct buf text;
    bool is_read;

    json_doc_init(&doc);
    buf_init(&text, 1 << 20);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        buf_clear(&text);
        repeat(&text, rows[i].depth, SPAN("["));
        repeat(&text, rows[i].depth, SPAN("]"));
        assert_int_equal(json_is_valid(buf_span(&text), NULL), rows[i].is_valid);
        assert_int_equal(json_parse(buf_span(&text), &all_kept, &doc), rows[i].is_valid);
        assert_int_equal(json_parse(buf_span(&text), &(struct json_limits){ .depth_kept = 1 }, &doc), rows[i].is_valid);
        if (!rows[i].is_valid) {
            assert_string_equal(doc.fault.reason, "nested too deeply");
            assert_int_equal(doc.fault.at, 64);
            assert_int_equal(doc.fault.limit, 64);
        }
        /* Deeper is a matter of the limit alone. */
        is_read = json_parse(buf_span(&text), &(struct json_limits){ .depth_max = JSON_DEPTH_MAX, .depth_kept = 2 },
                             &doc);
        assert_int_equal(is_read, rows[i].depth <= JSON_DEPTH_MAX);
        assert_int_equal(doc.count, is_read ? 3 : 0);
    }
    buf_fini(&text);
    json_doc_fini(&doc);
}

static void tokens_and_members_are_limited(void **state)
{
    (void)state;
    struct json_doc doc;
    struct buf text;

    json_doc_init(&doc);
    assert_true(json_parse(SPAN("[1,2,3]"), &(struct json_limits){ .depth_kept = 1, .tokens_max = 4 }, &doc));
    assert_false(json_parse(SPAN("[1,2,3]"), &(struct json_limits){ .depth_kept = 1, .tokens_max = 3 }, &doc));
    assert_string_equal(doc.fault.reason, "too many values");
    assert_true(json_parse(SPAN("[1,2,3]"), &(struct json_limits){ .tokens_max = 1 }, &doc));

    buf_init(&text, 1 << 20);
    buf_put_lit(&text, "{");
    for (size_t i = 0; i < JSON_MEMBERS_DEFAULT; i++)
        buf_putf(&text, "%s\"%zu\":[%zu]", i == 0 ? "" : ",", i, i);
    buf_put_lit(&text, "}");
    assert_true(json_parse(buf_span(&text), &all_kept, &doc));
    text.len--;
    buf_put_lit(&text, ",\"one more\":1}");
    assert_false(json_parse(buf_span(&text), &all_kept, &doc));
    assert_string_equal(doc.fault.reason, "too many members in an object");
    assert_true(json_parse(buf_span(&text), &(struct json_limits){ 0 }, &doc));
    buf_fini(&text);
    json_doc_fini(&doc);
}

/* Threat 55: a 10 MB string, plain and all escapes; and a number of a million digits. */
static void long_values_pass(void **state)
{
    (void)state;
    struct json_doc doc;
    struct buf text, back;
    struct span said;

    json_doc_init(&doc);
    buf_init(&text, 16 << 20);
    buf_init(&back, 16 << 20);
    buf_put_lit(&text, "\"");
    repeat(&text, 1 << 20, SPAN("0123456789"));
    buf_put_lit(&text, "\"");
    assert_true(json_is_valid(buf_span(&text), NULL));
    assert_true(json_parse(buf_span(&text), &all_kept, &doc));
    assert_true(json_string(json_root(&doc), &back, &said));
    assert_int_equal(said.len, 10 << 20);
    assert_int_equal(back.len, 0);

    buf_clear(&text);
    buf_put_lit(&text, "[\"");
    repeat(&text, 1 << 20, SPAN("\\u00e9\\n"));
    buf_put_lit(&text, "\"]");
    assert_true(json_is_valid(buf_span(&text), NULL));
    assert_true(json_parse(buf_span(&text), &all_kept, &doc));
    assert_true(json_string(json_first(&doc, json_root(&doc)), &back, &said));
    assert_int_equal(said.len, 3 << 20);

    buf_clear(&text);
    buf_put_lit(&text, "0.");
    repeat(&text, 1000000, SPAN("0"));
    buf_put_lit(&text, "1e1000308");
    assert_true(json_is_valid(buf_span(&text), NULL));
    text.len--;
    buf_put_lit(&text, "9");
    assert_true(json_is_valid(buf_span(&text), NULL));
    buf_put_lit(&text, "9");
    assert_false(json_is_valid(buf_span(&text), NULL));

    buf_clear(&text);
    repeat(&text, 308, SPAN("9"));
    assert_true(json_is_valid(buf_span(&text), NULL));
    buf_put_lit(&text, "9");
    assert_false(json_is_valid(buf_span(&text), NULL));
    buf_fini(&back);
    buf_fini(&text);
    json_doc_fini(&doc);
}

/* A law: what the reader calls a value is a value for itself, with the same answer. Texts are made by chance from
 * pieces that are JSON more often than not. */
static void every_slice_parses_alone(void **state)
{
    (void)state;
    static const char *pieces[] = { "{", "}", "[", "]", ",", ":", "\"a\"", "\"\\u0062\"", "1", "-2.5e3", "true",
                                    "null", " ", "\n", "\"\\\\\"", "\"x\":", "[1,2]", "{\"k\":[{}]}", "\xc3\xa9",
                                    "\"\xc3\xa9\"" };
    struct rng rng = { 55 };
    struct json_doc doc, alone;
    struct buf text;
    size_t accepted = 0;

    json_doc_init(&doc);
    json_doc_init(&alone);
    buf_init(&text, 4096);
    for (size_t round = 0; round < 200000; round++) {
        buf_clear(&text);
        for (uint64_t left = 1 + rng_below(&rng, 8); left > 0; left--)
            buf_put(&text, span_str(pieces[rng_below(&rng, sizeof pieces / sizeof pieces[0])]));
        if (!json_parse(buf_span(&text), &all_kept, &doc))
            continue;
        accepted++;
        assert_true(json_is_valid(buf_span(&text), NULL));
        for (uint32_t i = 0; i < doc.count; i++) {
            assert_true(json_parse(doc.tokens[i].raw, &all_kept, &alone));
            assert_true(span_eq(json_root(&alone)->raw, doc.tokens[i].raw));
            assert_int_equal(json_root(&alone)->type, doc.tokens[i].type);
            assert_int_equal(json_root(&alone)->count, doc.tokens[i].count);
        }
    }
    assert_true(accepted > 1000);
    buf_fini(&text);
    json_doc_fini(&alone);
    json_doc_fini(&doc);
}

static void tell_tokens(struct cuts *cuts, void *context, struct buf *transcript)
{
    struct json_doc doc;
    struct span     text;

    (void)context;
    json_doc_init(&doc);
    if (!cuts_next(cuts, 0, &text))
        text = SPAN("");
    if (json_parse(text, &all_kept, &doc))
        for (uint32_t i = 0; i < doc.count; i++)
            buf_putf(transcript, "%d %.*s\n", doc.tokens[i].type, SPAN_ARG(doc.tokens[i].raw));
    else
        buf_putf(transcript, "%s %zu\n", doc.fault.reason, doc.fault.at);
    if (json_is_valid(text, NULL) != (doc.count > 0))
        fail_msg("%.*s", SPAN_ARG(text));
    json_doc_fini(&doc);
}

/* A law: each text, and so each beginning of one, ends at a forbidden page. None of these beginnings is JSON. */
static void no_byte_behind_the_text_is_read(void **state)
{
    (void)state;
    struct span text = SPAN("{\"a\":[1,-2.5e+30,true,false,null,{}],"
                            "\"long enough for eight bytes\\n at a time\":\"\\ud83d\\ude00"
                            "\xf0\x9f\x98\x80\"}");
    struct buf  transcript;

    buf_init(&transcript, 4096);
    for (size_t len = 0; len < text.len; len++) {
        buf_clear(&transcript);
        laws_tell(span_head(text, len), tell_tokens, NULL, &transcript);
        if (memchr(transcript.at, '{', transcript.len) != NULL)
            fail_msg("%zu bytes: %.*s", len, SPAN_ARG(buf_span(&transcript)));
    }
    buf_clear(&transcript);
    laws_tell(text, tell_tokens, NULL, &transcript);
    assert_int_equal(transcript.at[0], '0' + JSON_OBJECT);
    buf_fini(&transcript);
}

static void members_that_nobody_knows_are_found(void **state)
{
    (void)state;
    static const struct span words[] = { SPAN("ttl"), SPAN("key") };
    static const struct { struct span text; const char *unknown; } rows[] = {
        { SPAN("{\"ttl\":{\"x\":1},\"key\":[2]}"), NULL },
        { SPAN("{\"\\u0074tl\":1}"), NULL },
        { SPAN("{\"ttl\":[1,{\"x\":1}],\"Ttl\":1,\"z\":1}"), "\"Ttl\"" },
        { SPAN("{\"\\u0054tl\":1}"), "\"\\u0054tl\"" },
        { SPAN("{\"\":1}"), "\"\"" },
        { SPAN("{}"), NULL },
        { SPAN("[\"x\"]"), NULL },
    };
    struct json_doc doc;

    json_doc_init(&doc);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_true(json_parse(rows[i].text, &all_kept, &doc));
        const struct json_token *unknown = json_unknown_member(&doc, json_root(&doc), KNOWN_WORDS(words));
        assert_int_equal(unknown == NULL, rows[i].unknown == NULL);
        assert_true(unknown == NULL || span_eq(unknown->raw, span_str(rows[i].unknown)));
    }
    json_doc_fini(&doc);
}

static void one_byte_order_mark_is_skipped(void **state)
{
    (void)state;
    assert_true(span_eq(json_skip_mark(SPAN("\xef\xbb\xbf{}")), SPAN("{}")));
    assert_true(span_eq(json_skip_mark(SPAN("\xef\xbb\xbf\xef\xbb\xbf")), SPAN("\xef\xbb\xbf")));
    assert_true(span_eq(json_skip_mark(SPAN("\xef\xbb")), SPAN("\xef\xbb")));
    assert_true(span_eq(json_skip_mark(SPAN("")), SPAN("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_grammar_is_rfc_8259),
        cmocka_unit_test(faults_say_what_and_where),
        cmocka_unit_test(members_that_nobody_knows_are_found),
        cmocka_unit_test(one_byte_order_mark_is_skipped),
        cmocka_unit_test(faults_are_said_in_a_sentence),
        cmocka_unit_test(tokens_are_slices_of_the_text),
        cmocka_unit_test(children_come_in_order_at_every_depth),
        cmocka_unit_test(names_are_compared_decoded),
        cmocka_unit_test(strings_decode),
        cmocka_unit_test(only_plain_digits_are_a_u64),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(tokens_and_members_are_limited),
        cmocka_unit_test(long_values_pass),
        cmocka_unit_test(every_slice_parses_alone),
        cmocka_unit_test(no_byte_behind_the_text_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
