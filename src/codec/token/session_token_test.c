/* Tokens of sessions: what was put comes back; changes and cuts are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/token/session_token.h"

#include <cmocka.h>

static void what_was_put_comes_back(void **state)
{
    const struct session_token token = { 7, 1700000000123, SPAN("phone") };
    struct session_token       got;
    struct span                places;
    struct buf                 text, bytes;

    (void)state;
    buf_init(&text, 1024);
    buf_init(&bytes, 1024);
    session_token_put(&text, &token);
    assert_true(text.len < 48);
    assert_true(session_token_is_one(buf_span(&text)));
    assert_true(session_token_get(buf_span(&text), &bytes, &got, &places));
    assert_true(got.generation == 7 && got.since == 1700000000123 && span_eq(got.device, SPAN("phone")));
    assert_int_equal(places.len, 0);
    token_put(&text, &(struct place){ SPAN("user:alice"), 9, 42 }, 1);
    assert_true(session_token_get(buf_span(&text), &bytes, &got, &places));
    struct token rest;
    token_init(&rest);
    assert_true(token_get(places, &rest));
    assert_int_equal(rest.count, 1);
    assert_int_equal(rest.places[0].seq, 42);
    token_fini(&rest);
    buf_fini(&text);
    buf_fini(&bytes);
}

static void what_was_changed_is_refused(void **state)
{
    struct session_token got;
    struct span          places;
    struct buf           text, bytes;

    (void)state;
    buf_init(&text, 1024);
    buf_init(&bytes, 1024);
    session_token_put(&text, &(struct session_token){ 7, 5, SPAN("p") });
    for (size_t at = 0; at + 1 < text.len; at++) {
        char was     = text.at[at];
        text.at[at] = was == 'A' ? 'B' : 'A';
        assert_false(session_token_get(buf_span(&text), &bytes, &got, &places));
        text.at[at] = was;
        assert_false(session_token_get(span_head(buf_span(&text), at), &bytes, &got, &places));
    }
    assert_false(session_token_is_one(SPAN("AgEBBik-yj_JbMYLdG9waWM6aGVsbG8FbqtZyQ")));
    assert_false(session_token_get(SPAN("."), &bytes, &got, &places));
    buf_fini(&text);
    buf_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_comes_back),
        cmocka_unit_test(what_was_changed_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
