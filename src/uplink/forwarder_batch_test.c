/* What back ends and webhooks are sent, byte for byte. */
#include <setjmp.h>
#include <stdarg.h>

#include "lib/sample.h"
#include "uplink/forwarder_batch.h"
#include "uplink/webhook.h"

#include <cmocka.h>

enum { EPOCH = 0x11 };

static void check(struct buf *buf, const char *want)
{
    buf_putc(buf, '\0');
    assert_string_equal(buf->at, want);
    buf_clear(buf);
}

static void lines_are_messages_and_gaps(void **state)
{
    (void)state;
    struct sample sample;
    struct buf    buf;

    sample_init(&sample, SPAN("topic:a"), MESSAGE_PLAIN, SPAN("{\n\"x\":1}"), SPAN("application/json"), SPAN("user:ann"));
    sample.message->expires_at = 1700000000500;
    struct entry entries[] = { { .gap = { 1, 41, GAP_TRIMMED } }, { .message = sample.message } };
    buf_init(&buf, 10000);
    assert_int_equal(forwarder_put_lines(&buf, sample.message->channel, EPOCH, entries, 2, false, 1700000000001), 1);
    check(&buf, "{\"type\":\"gap\",\"channel\":\"topic:a\",\"epoch\":\"0000000000000011\",\"from\":1,\"to\":41,\"why\":\"trimmed\"}\n"
                "{\"type\":\"message\",\"channel\":\"topic:a\",\"epoch\":\"123456789abcdef0\",\"seq\":42,\"id\":7,"
                "\"time\":1700000000000,\"from\":\"user:ann\",\"media\":\"application/json\",\"data\":{ \"x\":1}}\n");
    assert_int_equal(forwarder_put_lines(&buf, sample.message->channel, EPOCH, entries + 1, 1, true, 1700000000500), 0);
    check(&buf, "{\"type\":\"gap\",\"channel\":\"topic:a\",\"epoch\":\"0000000000000011\",\"from\":1,\"to\":0,\"why\":\"epoch\"}\n"
                "{\"type\":\"gap\",\"channel\":\"topic:a\",\"epoch\":\"0000000000000011\",\"from\":42,\"to\":42,\"why\":\"expired\"}\n");
    buf_fini(&buf);
    sample_fini(&sample);
}

static void a_batch_ends_where_it_was_fixed(void **state)
{
    (void)state;
    struct sample sample;

    sample_init(&sample, SPAN("topic:a"), MESSAGE_PLAIN, SPAN("x"), SPAN("text/plain"), SPAN(""));
    struct entry entries[] = { { .message = sample.message }, { .gap = { 43, 60, GAP_TRIMMED } } };
    assert_int_equal(forwarder_batch_cut(entries, 2, 0), 2);
    assert_int_equal(forwarder_batch_cut(entries, 2, 42), 1);
    assert_int_equal(forwarder_batch_cut(entries, 2, 70), 2);
    assert_int_equal(entries[1].gap.to, 60);
    assert_int_equal(forwarder_batch_cut(entries, 2, 50), 2);
    assert_int_equal(entries[1].gap.to, 50);
    sample_fini(&sample);
}

static void a_key_is_visible_ascii(void **state)
{
    (void)state;
    struct buf buf;

    buf_init(&buf, 1000);
    forwarder_put_key(&buf, SPAN("up:a/b"), EPOCH, 1, 100);
    check(&buf, "up:a/b/0000000000000011/1-100");
    forwarder_put_key(&buf, SPAN("up:50% \xc3\xa4"), EPOCH, 7, 7);
    check(&buf, "up:50%25%20%C3%A4/0000000000000011/7-7");
    buf_fini(&buf);
}

static void a_dead_letter_names_what_nobody_took(void **state)
{
    (void)state;
    struct sample sample;
    struct buf    buf;

    sample_init(&sample, SPAN("topic:a"), MESSAGE_PLAIN, SPAN("\x80"), SPAN("image/png"), SPAN(""));
    buf_init(&buf, 1000);
    forwarder_put_dead(&buf, sample.message, 422, SPAN("app"), SPAN("forward:topic"));
    assert_true(json_is_valid(buf_span(&buf), NULL));
    check(&buf, "{\"status\":422,\"backend\":\"app\",\"forwarder\":\"forward:topic\",\"type\":\"message\",\"channel\":\"topic:a\","
                "\"epoch\":\"123456789abcdef0\",\"seq\":42,\"id\":7,\"time\":1700000000000,\"from\":null,\"media\":\"image/png\","
                "\"data_base64\":\"gA==\"}");
    buf_fini(&buf);
    sample_fini(&sample);
}

static void events_are_an_array_with_ids(void **state)
{
    (void)state;
    struct sample sample;
    struct buf    buf;

    sample_init_event(&sample, SPAN("sys:events/3"), MESSAGE_PLAIN, SPAN("{\"type\":\"connected\",\"user\":\"ann\"}"),
                      SPAN("application/json"), SPAN(""), SPAN("connected"));
    struct entry entries[] = { { .gap = { 40, 41, GAP_TRIMMED } }, { .message = sample.message } };
    buf_init(&buf, 1000);
    struct webhook_count count = webhook_put_body(&buf, sample.message->channel, EPOCH, entries, 2, false, UINT32_MAX, 1700000000001);
    assert_true(count.events == 1 && count.gaps == 1 && count.skipped == 0);
    assert_true(json_is_valid(buf_span(&buf), NULL));
    check(&buf, "[{\"type\":\"gap\",\"channel\":\"sys:events/3\",\"epoch\":\"0000000000000011\",\"from\":40,\"to\":41,"
                "\"why\":\"trimmed\"},{\"id\":\"7\",\"type\":\"connected\",\"user\":\"ann\"}]");
    count = webhook_put_body(&buf, sample.message->channel, EPOCH, entries + 1, 1, false, 0, 1700000000001);
    assert_true(count.events == 0 && count.gaps == 0 && count.skipped == 1);
    check(&buf, "[]");
    buf_fini(&buf);
    sample_fini(&sample);
}

/* openssl dgst -sha256 -hmac secret, of "1700000000.[]". */
static void a_signature_covers_time_and_body(void **state)
{
    (void)state;
    struct buf buf;

    buf_init(&buf, 1000);
    webhook_put_signature(&buf, SPAN("secret"), 1700000000, SPAN("[]"));
    check(&buf, "t=1700000000,v1=74f76d8933679a54d6be8c7560a5233b124658241ca5a3b0f09af80d3ea60d78");
    buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_messages_and_gaps),
        cmocka_unit_test(a_batch_ends_where_it_was_fixed),
        cmocka_unit_test(a_key_is_visible_ascii),
        cmocka_unit_test(a_dead_letter_names_what_nobody_took),
        cmocka_unit_test(events_are_an_array_with_ids),
        cmocka_unit_test(a_signature_covers_time_and_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
