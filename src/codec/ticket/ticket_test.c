/* Tickets: what was put comes back; each changed bit, each cut, another key are refused (33, 103). */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base64.h"
#include "codec/hmac/hmac.h"
#include "codec/ticket/ticket.h"

#include <cmocka.h>

static const struct ticket sample = {
    .generation = 7, .since = 1700000000123, .issued_s = 1700000100, .ends_s = 1700003700, .token_issued_s = 1700000090,
    .connection = 0x0123456789abcdef, .token_mark = 0xfedcba9876543210, .user = { "alice", 5 }, .device = { "phone", 5 }, .jti = { "j-1", 3 },
    .grant_count = 2, .grants = { { 3, { "topic:*", 7 } }, { 1, { "live:x", 6 } } },
};

struct stage {
    struct ticket_key key;
    struct buf        text, bytes;
    struct ticket     got;
};

static void stage_init(struct stage *stage)
{
    ticket_key_init(&stage->key, SPAN("0123456789abcdef0123456789abcdef"));
    buf_init(&stage->text, TICKET_TEXT_BYTES_MAX);
    buf_init(&stage->bytes, TICKET_TEXT_BYTES_MAX);
    ticket_put(&stage->text, &sample, &stage->key);
}

static void stage_fini(struct stage *stage)
{
    ticket_key_fini(&stage->key);
    buf_fini(&stage->text);
    buf_fini(&stage->bytes);
}

static bool gets(struct stage *stage, struct span text)
{
    return ticket_get(text, &stage->key, &stage->bytes, &stage->got);
}

static void what_was_put_comes_back(void **state)
{
    struct stage stage;

    (void)state;
    stage_init(&stage);
    assert_true(gets(&stage, buf_span(&stage.text)));
    assert_int_equal(stage.got.generation, 7);
    assert_true(stage.got.since == sample.since && stage.got.issued_s == sample.issued_s);
    assert_true(stage.got.ends_s == sample.ends_s && stage.got.token_issued_s == sample.token_issued_s);
    assert_true(stage.got.connection == sample.connection && stage.got.token_mark == sample.token_mark);
    assert_true(span_eq(stage.got.user, sample.user) && span_eq(stage.got.device, sample.device));
    assert_true(span_eq(stage.got.jti, sample.jti));
    assert_int_equal(stage.got.grant_count, 2);
    assert_int_equal(stage.got.grants[0].can, 3);
    assert_true(span_eq(stage.got.grants[1].pattern, SPAN("live:x")));
    stage_fini(&stage);
}

/* Of a node of the release before. */
static void a_ticket_without_a_mark_is_read(void **state)
{
    static const char bytes[] = "\1" "\7" "\1" "\2" "\3" "\4" "12345678" "\3ann" "\5phone" "\0" "\0";
    struct stage      stage;
    struct buf        whole;
    unsigned char     hmac[HMAC_BYTES_LONGEST];

    (void)state;
    stage_init(&stage);
    buf_init(&whole, TICKET_TEXT_BYTES_MAX);
    buf_put(&whole, span_of(bytes, sizeof bytes - 1));
    buf_put(&whole, span_of(hmac, hmac_make(stage.key.hmac, buf_span(&whole), hmac)));
    buf_clear(&stage.text);
    base64url_put(&stage.text, buf_span(&whole));
    assert_true(gets(&stage, buf_span(&stage.text)));
    assert_true(stage.got.generation == 7 && stage.got.token_mark == 0 && span_eq(stage.got.user, SPAN("ann")));
    buf_fini(&whole);
    stage_fini(&stage);
}

static void a_mark_is_of_one_token_and_one_key(void **state)
{
    struct stage      stage;
    struct ticket_key other;

    (void)state;
    stage_init(&stage);
    ticket_key_init(&other, SPAN("another secret of thirty-two bytes, or of a few more"));
    uint64_t mark = ticket_mark(&stage.key, SPAN("token"));
    assert_true(mark != 0 && mark == ticket_mark(&stage.key, SPAN("token")));
    assert_true(mark != ticket_mark(&stage.key, SPAN("tokem")) && mark != ticket_mark(&stage.key, SPAN("token1")));
    assert_true(mark != ticket_mark(&other, SPAN("token")));
    ticket_key_fini(&other);
    stage_fini(&stage);
}

static void each_changed_bit_is_refused(void **state)
{
    struct stage stage;
    struct buf   bytes, text;

    (void)state;
    stage_init(&stage);
    buf_init(&bytes, TICKET_TEXT_BYTES_MAX);
    buf_init(&text, TICKET_TEXT_BYTES_MAX);
    assert_true(base64url_get(buf_span(&stage.text), &bytes));
    for (size_t bit = 0; bit < bytes.len * 8; bit++) {
        bytes.at[bit / 8] ^= (char)(1 << bit % 8);
        buf_clear(&text);
        base64url_put(&text, buf_span(&bytes));
        assert_false(gets(&stage, buf_span(&text)));
        bytes.at[bit / 8] ^= (char)(1 << bit % 8);
    }
    buf_fini(&bytes);
    buf_fini(&text);
    stage_fini(&stage);
}

static void each_cut_is_refused(void **state)
{
    struct stage stage;

    (void)state;
    stage_init(&stage);
    for (size_t len = 0; len < stage.text.len; len++)
        assert_false(gets(&stage, span_head(buf_span(&stage.text), len)));
    buf_putc(&stage.text, 'A');
    assert_false(gets(&stage, buf_span(&stage.text)));
    stage_fini(&stage);
}

static void another_key_is_refused(void **state)
{
    struct stage stage;

    (void)state;
    stage_init(&stage);
    ticket_key_fini(&stage.key);
    ticket_key_init(&stage.key, SPAN("0123456789abcdef0123456789abcdeg"));
    assert_false(gets(&stage, buf_span(&stage.text)));
    stage_fini(&stage);
}

static void a_ticket_without_a_user_is_none(void **state)
{
    struct stage  stage;
    struct ticket ticket = { .device = { "phone", 5 } };

    (void)state;
    stage_init(&stage);
    buf_clear(&stage.text);
    ticket_put(&stage.text, &ticket, &stage.key);
    assert_false(gets(&stage, buf_span(&stage.text)));
    stage_fini(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_comes_back),
        cmocka_unit_test(a_ticket_without_a_mark_is_read),
        cmocka_unit_test(a_mark_is_of_one_token_and_one_key),
        cmocka_unit_test(each_changed_bit_is_refused),
        cmocka_unit_test(each_cut_is_refused),
        cmocka_unit_test(another_key_is_refused),
        cmocka_unit_test(a_ticket_without_a_user_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
