/* Paths, queries, percent-encoding. Threat 54: path tricks end as a plain name or a refusal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/utf8.h"
#include "codec/url/url.h"

#include <cmocka.h>

#define COUNT(rows) (sizeof(rows) / sizeof(rows)[0])

static void expect_span(const char *name, struct span got, struct span want)
{
    if (!span_eq(got, want))
        fail_msg("%s: \"%.*s\" instead of \"%.*s\"", name, SPAN_ARG(got), SPAN_ARG(want));
}

static void a_target_splits_into_path_and_query(void **state)
{
    (void)state;
    static const struct { struct span target, path, query; } rows[] = {
        { SPAN("/"), SPAN("/"), SPAN("") },
        { SPAN("/v1/ws?channel=topic:a"), SPAN("/v1/ws"), SPAN("channel=topic:a") },
        { SPAN("/a?b?c=d"), SPAN("/a"), SPAN("b?c=d") },
        { SPAN("/a?"), SPAN("/a"), SPAN("") },
        { SPAN("/?x"), SPAN("/"), SPAN("x") },
        { SPAN("/v1/channels/topic://x"), SPAN("/v1/channels/topic://x"), SPAN("") },
        { SPAN("//host/a"), SPAN("//host/a"), SPAN("") },
        { SPAN("http://host/a/b?c"), SPAN("/a/b"), SPAN("c") },
        { SPAN("HTTPS://host:8443/a"), SPAN("/a"), SPAN("") },
        { SPAN("http://host"), SPAN("/"), SPAN("") },
        { SPAN("http://host?a=b"), SPAN("/"), SPAN("a=b") },
        { SPAN("http://host/?u=http://b/c"), SPAN("/"), SPAN("u=http://b/c") },
        { SPAN("*"), SPAN("*"), SPAN("") },
        { SPAN(""), SPAN(""), SPAN("") },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct span path, query;
        url_split(rows[i].target, &path, &query);
        expect_span(rows[i].target.at, path, rows[i].path);
        expect_span(rows[i].target.at, query, rows[i].query);
    }
}

/* Writes the segments, each in brackets. */
static void put_segments(struct span path, struct buf *text)
{
    struct span segment;

    while (url_segment_next(&path, &segment))
        buf_putf(text, "[%.*s]", SPAN_ARG(segment));
}

static void a_path_has_a_segment_for_each_slash(void **state)
{
    (void)state;
    static const struct { struct span path; const char *want; } rows[] = {
        { SPAN("/"), "[]" },
        { SPAN("/v1/channels/topic:prices/messages"), "[v1][channels][topic:prices][messages]" },
        { SPAN("/a/"), "[a][]" },
        { SPAN("//"), "[][]" },
        { SPAN("/a//b"), "[a][][b]" },
        { SPAN("/group%3Aa%2Fb/messages"), "[group%3Aa%2Fb][messages]" },  /* an encoded slash cuts nothing */
        { SPAN("/a/../b/./c"), "[a][..][b][.][c]" },                       /* and nothing is resolved */
        { SPAN("/%2e%2e/x"), "[%2e%2e][x]" },
        { SPAN("*"), "" },
        { SPAN(""), "" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf text;
        buf_init(&text, 1000);
        put_segments(rows[i].path, &text);
        expect_span(rows[i].path.at, buf_span(&text), span_str(rows[i].want));
        buf_fini(&text);
    }
}

static void put_pairs(struct span query, struct buf *text)
{
    struct span name, value;

    while (url_query_next(&query, &name, &value))
        buf_putf(text, "[%.*s|%.*s]", SPAN_ARG(name), SPAN_ARG(value));
}

static void a_query_gives_its_pairs_in_order(void **state)
{
    (void)state;
    static const struct { struct span query; const char *want; } rows[] = {
        { SPAN(""), "" },
        { SPAN("a=1"), "[a|1]" },
        { SPAN("channel=x&after=3&channel=y&last=2"), "[channel|x][after|3][channel|y][last|2]" },
        { SPAN("a"), "[a|]" },
        { SPAN("a="), "[a|]" },
        { SPAN("=a"), "[|a]" },
        { SPAN("a=b=c"), "[a|b=c]" },
        { SPAN("&&a=1&&b=2&"), "[a|1][b|2]" },
        { SPAN("a%26b=c%3Dd"), "[a%26b|c%3Dd]" },  /* encoded marks are data */
        { SPAN("a;b=1"), "[a;b|1]" },
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf text;
        buf_init(&text, 1000);
        put_pairs(rows[i].query, &text);
        expect_span(rows[i].query.at, buf_span(&text), span_str(rows[i].want));
        buf_fini(&text);
    }
}

static void threat_54_decoding_takes_what_is_well_formed(void **state)
{
    (void)state;
    static const struct { struct span text; enum url_part part; struct span want; } rows[] = {
        { SPAN("topic:prices"), URL_PATH, SPAN("topic:prices") },
        { SPAN("a%2Fb%2fc"), URL_PATH, SPAN("a/b/c") },
        { SPAN("%2e%2e"), URL_PATH, SPAN("..") },
        { SPAN("%252e"), URL_PATH, SPAN("%2e") },  /* once, not twice */
        { SPAN("a+b"), URL_PATH, SPAN("a+b") },
        { SPAN("a+b"), URL_QUERY, SPAN("a b") },
        { SPAN("a%2Bb"), URL_QUERY, SPAN("a+b") },
        { SPAN("%23%2A%ff%0d%0A"), URL_PATH, SPAN("#*\xff\r\n") },
        { SPAN("%c0%af"), URL_PATH, SPAN("\xc0\xaf") },  /* overlong: no slash, and not UTF-8 */
        { SPAN("%7E"), URL_PATH, SPAN("~") },
        { SPAN(""), URL_QUERY, SPAN("") },
    };
    struct buf scratch;

    buf_init(&scratch, 100);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct span plain;
        if (!url_decode(rows[i].text, rows[i].part, &scratch, &plain))
            fail_msg("%s", rows[i].text.at);
        expect_span(rows[i].text.at, plain, rows[i].want);
    }
    assert_false(utf8_is_valid(SPAN("\xc0\xaf")));
    buf_fini(&scratch);
}

static void threat_54_decoding_refuses_what_is_not(void **state)
{
    (void)state;
    static const struct span rows[] = {
        SPAN("%"), SPAN("a%"), SPAN("a%2"), SPAN("%zz"), SPAN("%2g"), SPAN("%g2"), SPAN("%%20"), SPAN("% 20"),
        SPAN("%00"), SPAN("a%00b"), SPAN("%u0041"), SPAN("%+1"), SPAN("a\0b"), SPAN("%-1"),
    };
    struct buf  scratch;
    struct span plain = SPAN("as it was");

    buf_init(&scratch, 100);
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (url_decode(rows[i], URL_PATH, &scratch, &plain) || url_decode(rows[i], URL_QUERY, &scratch, &plain))
            fail_msg("%s", rows[i].at);
        expect_span(rows[i].at, plain, SPAN("as it was"));
    }
    buf_fini(&scratch);
}

static void decoding_copies_only_where_it_must(void **state)
{
    (void)state;
    struct span text = SPAN("topic:prices"), plain;
    struct buf  scratch;

    buf_init(&scratch, 4);
    assert_true(url_decode(text, URL_QUERY, &scratch, &plain));
    assert_ptr_equal(plain.at, text.at);
    assert_int_equal(scratch.cap, 0);

    assert_true(url_decode(SPAN("%61bcd"), URL_PATH, &scratch, &plain));
    assert_ptr_equal(plain.at, scratch.at);
    assert_false(url_decode(SPAN("%61bcde"), URL_PATH, &scratch, &plain));
    assert_true(url_decode(SPAN("%61"), URL_PATH, &scratch, &plain));
    expect_span("after an overflow", plain, SPAN("a"));
    buf_fini(&scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_target_splits_into_path_and_query),
        cmocka_unit_test(a_path_has_a_segment_for_each_slash),
        cmocka_unit_test(a_query_gives_its_pairs_in_order),
        cmocka_unit_test(threat_54_decoding_takes_what_is_well_formed),
        cmocka_unit_test(threat_54_decoding_refuses_what_is_not),
        cmocka_unit_test(decoding_copies_only_where_it_must),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
