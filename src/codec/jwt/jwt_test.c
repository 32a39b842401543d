/* Tokens are taken apart strictly (threats 101, 102). Whether one is true is issuer_test.c's. */
#include "codec/jwt/jwt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/base64.h"
#include "base/must.h"

#include <cmocka.h>

#define HEADER "{\"alg\":\"HS256\"}"
#define CLAIMS "{\"sub\":\"ann\",\"exp\":1800000000}"

static const char *read_parts(struct jwt_reader *reader, struct buf *token, const char *header, const char *claims,
                              struct jwt *ret)
{
    buf_clear(token);
    base64url_put(token, span_str(header));
    buf_putc(token, '.');
    base64url_put(token, span_str(claims));
    buf_putc(token, '.');
    base64url_put(token, SPAN("signature"));
    return jwt_read(reader, buf_span(token), ret);
}

static void a_token_says_who_and_what(void **state)
{
    struct jwt_reader reader;
    struct buf        token;
    struct jwt        jwt;

    (void)state;
    jwt_reader_init(&reader);
    buf_init(&token, 65536);
    for (int round = 0; round < 3; round++) {
        assert_null(read_parts(&reader, &token, "{\"typ\":\"JWT\",\"alg\":\"ES256\",\"kid\":\"a\\u0062\"}",
                               "{\"iss\":\"i\",\"sub\":\"\\u0061nn\",\"device\":\"ph\\u006fne\",\"jti\":\"j\",\"exp\":1800000000.5,\"nbf\":1.5,"
                               "\"iat\":2e3,\"aud\":[\"x\",\"\\u0079\"],\"channels\":[{\"match\":\"topic:\\u002a\",\"can\":"
                               "[\"subscribe\",\"publish\"],\"note\":1},{\"match\":\"*\",\"can\":[\"history\"]}],\"more\":{\"a\":[]}}",
                               &jwt));
        assert_int_equal(jwt.algorithm, JWT_ES256);
        assert_true(span_eq(jwt.kid, SPAN("ab")) && span_eq(jwt.user, SPAN("ann")) && span_eq(jwt.device, SPAN("phone")));
        assert_true(span_eq(jwt.jti, SPAN("j")) && span_eq(jwt.issuer, SPAN("i")) && span_eq(jwt.signature, SPAN("signature")));
        assert_int_equal(jwt.expires_at, INT64_C(1800000000500));
        assert_int_equal(jwt.not_before, 1500);
        assert_int_equal(jwt.issued_at, 2000000);
        assert_int_equal(jwt.grant_count, 2);
        assert_true(span_eq(jwt.grants[0].match, SPAN("topic:*")) && jwt.grants[0].can == (CAN_SUBSCRIBE | CAN_PUBLISH));
        assert_true(span_eq(jwt.grants[1].match, SPAN("*")) && jwt.grants[1].can == CAN_HISTORY);
        assert_true(jwt_is_for(&reader, &jwt, SPAN("x")) && jwt_is_for(&reader, &jwt, SPAN("y")));
        assert_false(jwt_is_for(&reader, &jwt, SPAN("z")) || jwt_is_for(&reader, &jwt, SPAN("")));
        assert_int_equal(jwt.signed_part.len, token.len - 1 - 12);
    }
    buf_fini(&token);
    jwt_reader_fini(&reader);
}

static void what_is_no_token_is_refused(void **state)
{
    static const struct { const char *header, *claims, *why; } rows[] = {
        { HEADER, CLAIMS, NULL },
        { "", CLAIMS, "the token's header or claims are not base64url" },
        { "[]", CLAIMS, "the token's header is no JSON object" },
        { "{", CLAIMS, "the token's header is no JSON object" },
        { "{}", CLAIMS, "the token's algorithm is not known here" },
        { "{\"alg\":\"none\"}", CLAIMS, "the token's algorithm is not known here" },
        { "{\"alg\":\"hs256\"}", CLAIMS, "the token's algorithm is not known here" },
        { "{\"alg\":\"HS256\",\"alg\":\"none\"}", CLAIMS, "the token's header is no JSON object" },
        { "{\"alg\":\"HS256\",\"crit\":[]}", CLAIMS, "the token's header names critical extensions; none is known here" },
        { "{\"alg\":\"HS256\",\"kid\":1}", CLAIMS, "the token's kid is no string of at most 128 bytes" },
        { HEADER, "{\"sub\":\"ann\",\"exp\":1e400}", "the token's claims are no JSON object" },
        { HEADER, "{\"sub\":\"ann\",\"exp\":1e13}", "exp, nbf and iat of a token are numbers of seconds since 1970" },
        { HEADER, "{\"sub\":\"ann\",\"exp\":0}", "the token has no exp: it must end some time" },
        { HEADER, "{\"sub\":\"ann\",\"exp\":null}", "exp, nbf and iat of a token are numbers of seconds since 1970" },
        { HEADER, "{\"sub\":\"ann\",\"exp\":1.0000000000000000000000000000000000000000000000001}",
          "exp, nbf and iat of a token are numbers of seconds since 1970" },
        { HEADER, "{\"sub\":\"ann\",\"exp\":1800000000,\"channels\":null}", NULL },
    };
    struct jwt_reader reader;
    struct buf        token;
    struct jwt        jwt;

    (void)state;
    jwt_reader_init(&reader);
    buf_init(&token, 65536);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *why = read_parts(&reader, &token, rows[i].header, rows[i].claims, &jwt);
        if ((why == NULL) != (rows[i].why == NULL) || (why != NULL && strcmp(why, rows[i].why) != 0))
            fail_msg("%s %s: %s", rows[i].header, rows[i].claims, why);
    }
    buf_fini(&token);
    jwt_reader_fini(&reader);
}

static void every_beginning_of_a_token_is_refused(void **state)
{
    struct jwt_reader reader;
    struct buf        token;
    struct jwt        jwt;

    (void)state;
    jwt_reader_init(&reader);
    buf_init(&token, 65536);
    assert_null(read_parts(&reader, &token, HEADER, CLAIMS, &jwt));
    const size_t signature = token.len - 12;
    for (size_t len = 0; len <= signature; len++)
        assert_non_null(jwt_read(&reader, span_head(buf_span(&token), len), &jwt));
    buf_fini(&token);
    jwt_reader_fini(&reader);
}

static void three_parts_are_like_a_token(void **state)
{
    static const struct { const char *text; bool is_like; } rows[] = {
        { "a.b.c", true }, { "a.b.", true }, { "..", true }, { "a.b", false }, { "abc", false }, { "", false }, { "a.b.c.d", false },
        { ".", false }, { "...", false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (jwt_is_like(span_str(rows[i].text)) != rows[i].is_like)
            fail_msg("%s", rows[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_says_who_and_what),
        cmocka_unit_test(what_is_no_token_is_refused),
        cmocka_unit_test(every_beginning_of_a_token_is_refused),
        cmocka_unit_test(three_parts_are_like_a_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
