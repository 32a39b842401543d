/* What the application is asked, and what its answers mean: a table of both. */
#include "auth/hook_question.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"

#include <cmocka.h>

static const msec now = INT64_C(1800000000000);

/* --- the question ------------------------------------------------------------------------------------------------- */

static bool get_address(const void *sender, struct ip_address *ret)
{
    return ip_read(span_str(sender), ret);
}

static bool get_no_address(const void *sender, struct ip_address *ret)
{
    (void)sender, (void)ret;
    return false;
}

static void a_question_says_what_is_known(void **state)
{
    static const struct credential_field fields[] = {
        { SPAN("Cookie"), SPAN("a=\"1\"\t") }, { SPAN("X-Latin"), SPAN("\xe9") }, { SPAN("X-Last"), SPAN("") } };
    static const struct { const char *name; struct credential credential; const char *want; } rows[] = {
        { "nothing shown",
          { .connection = 0xabcULL, .transport = "sse" },
          "{\"connection\":\"0000000000000abc\",\"transport\":\"sse\",\"address\":null,\"headers\":{}}" },
        { "a token, an address",
          { .kind = CREDENTIAL_TOKEN, .token = SPAN("t\n"), .connection = UINT64_MAX, .transport = "native",
            .get_address = get_address, .sender = "2001:db8::7" },
          "{\"connection\":\"ffffffffffffffff\",\"transport\":\"native\",\"address\":\"2001:db8::7\",\"headers\":{},"
          "\"token\":\"t\\n\"}" },
        { "an address that is not known",
          { .transport = "poll", .get_address = get_no_address },
          "{\"connection\":\"0000000000000000\",\"transport\":\"poll\",\"address\":null,\"headers\":{}}" },
        { "headers, one of them no UTF-8",
          { .transport = "websocket", .fields = fields, .field_count = 3 },
          "{\"connection\":\"0000000000000000\",\"transport\":\"websocket\",\"address\":null,"
          "\"headers\":{\"Cookie\":\"a=\\\"1\\\"\\t\",\"X-Last\":\"\"}}" },
    };
    struct buf got;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("%s\n", rows[i].name);
        buf_init(&got, 4096);
        assert_true(hook_put_question(&got, &rows[i].credential));
        buf_putc(&got, '\0');
        assert_string_equal(got.at, rows[i].want);
        buf_fini(&got);
    }
    buf_init(&got, 4096);
    assert_false(hook_put_question(&got, &(struct credential){ .kind = CREDENTIAL_TOKEN, .token = SPAN("\xff") }));
    buf_fini(&got);
}

/* --- the answer --------------------------------------------------------------------------------------------------- */

struct stage {
    struct hook_reader reader;
    struct authority  *authority;
};

static void stage_init(struct stage *stage)
{
    hook_reader_init(&stage->reader);
    stage->authority = authority_new(NULL);
}

static void stage_fini(struct stage *stage)
{
    hook_reader_fini(&stage->reader);
    authority_unref(stage->authority);
}

static struct identified read_answer(struct stage *stage, unsigned status, struct span body)
{
    return hook_read_answer(&stage->reader, HOOK_ANSWERED, status, body, stage->authority, now);
}

static void an_answer_makes_a_user(void **state)
{
    struct stage stage;

    (void)state;
    stage_init(&stage);
    struct identified got = read_answer(&stage, 200, SPAN(
        "{\"user\":\"ann\",\"device\":\"phone\",\"expires_in\":60,\"subscribe\":[\"user:bob\"],\"new\":1,"
        "\"channels\":[{\"match\":\"topic:*\",\"can\":[\"publish\",\"fly\"]}]}"));
    assert_non_null(got.identity);
    assert_true(span_eq(identity_user(got.identity), SPAN("ann")));
    assert_true(span_eq(identity_device(got.identity), SPAN("phone")));
    assert_int_equal(got.identity->expires_at, now + 60000);
    assert_int_equal(got.identity->issued_at, now);
    assert_ptr_equal(got.identity->authority, stage.authority);
    assert_int_equal(got.identity->follow_count, 1);
    assert_true(span_eq(identity_grants(got.identity)[0].match, SPAN("user:bob")));
    assert_true(identity_is_granted(got.identity, SPAN("user:bob"), CAN_SUBSCRIBE));
    assert_true(identity_is_granted(got.identity, SPAN("user:bob"), CAN_HISTORY));
    assert_false(identity_is_granted(got.identity, SPAN("user:bob"), CAN_PUBLISH));
    assert_true(identity_is_granted(got.identity, SPAN("topic:a"), CAN_PUBLISH));
    assert_false(identity_is_granted(got.identity, SPAN("topic:a"), CAN_SUBSCRIBE));
    identity_unref(got.identity);

    got = read_answer(&stage, 200, SPAN("{\"user\":\"ann\",\"device\":null,\"expires_in\":null,\"subscribe\":null,\"channels\":null}"));
    assert_non_null(got.identity);
    assert_int_equal(got.identity->expires_at, 0);
    assert_int_equal(got.identity->grant_count, 0);
    identity_unref(got.identity);

    got = read_answer(&stage, 200, SPAN("\xef\xbb\xbf{\"user\":\"ann\",\"expires_in\":18446744073709551615}"));
    assert_non_null(got.identity);
    assert_true(got.identity->expires_at > now);  /* some years, not a time in the past */
    identity_unref(got.identity);
    stage_fini(&stage);
}

static void what_is_no_answer(void **state)
{
    static const char *const rows[] = {
        "", "[]", "null", "{", "{}", "{\"user\":\"\"}", "{\"user\":\"a/b\"}", "{\"user\":\"a\\nb\"}", "{\"user\":7}",
        "{\"user\":\"a\",\"device\":\"b/c\"}", "{\"user\":\"a\",\"device\":7}", "{\"user\":\"a\",\"expires_in\":0}",
        "{\"user\":\"a\",\"expires_in\":-1}", "{\"user\":\"a\",\"expires_in\":1.5}", "{\"user\":\"a\",\"expires_in\":\"9\"}",
        "{\"user\":\"a\",\"channels\":{}}", "{\"user\":\"a\",\"channels\":[7]}", "{\"user\":\"a\",\"channels\":[{}]}",
        "{\"user\":\"a\",\"channels\":[{\"match\":\"x:*\"}]}", "{\"user\":\"a\",\"channels\":[{\"match\":\"x:*\",\"can\":[7]}]}",
        "{\"user\":\"a\",\"channels\":[{\"match\":\"*********\",\"can\":[]}]}",
        "{\"user\":\"a\",\"subscribe\":[\"topic:*\"]}", "{\"user\":\"a\",\"subscribe\":[\"topic\"]}",
        "{\"user\":\"a\",\"subscribe\":[7]}", "{\"user\":\"a\",\"subscribe\":\"topic:a\"}",
        "{\"user\":\"a\",\"deep\":[[[[[[[[[]]]]]]]]]}",
    };
    struct stage stage;

    (void)state;
    stage_init(&stage);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("%s\n", rows[i]);
        struct identified got = read_answer(&stage, 200, span_str(rows[i]));
        assert_null(got.identity);
        assert_int_equal(got.refusal.status, 502);
    }
    stage_fini(&stage);
}

/* Grants and followed channels count together. */
static void an_answer_has_so_many_grants(void **state)
{
    struct stage stage;
    struct buf   body;

    (void)state;
    stage_init(&stage);
    for (size_t count = GRANTS_MAX; count <= GRANTS_MAX + 1; count++) {
        buf_init(&body, 64 * 1024);
        buf_put_lit(&body, "{\"user\":\"ann\",\"subscribe\":[\"topic:first\"],\"channels\":[");
        for (size_t i = 1; i < count; i++)
            buf_putf(&body, "%s{\"match\":\"topic:%zu\",\"can\":[]}", i == 1 ? "" : ",", i);
        buf_put_lit(&body, "]}");
        struct identified got = read_answer(&stage, 200, buf_span(&body));
        assert_int_equal(got.identity != NULL, count == GRANTS_MAX);
        identity_unref(got.identity);
        buf_fini(&body);
    }
    stage_fini(&stage);
}

static void what_a_status_means(void **state)
{
    static const char refused[] = "the application refused this connection";
    static const struct { enum hook_end end; unsigned status; const char *body; unsigned want; const char *reason; } rows[] = {
        { HOOK_ANSWERED, 401, "{\"reason\":\"who?\"}", 401, "who?" },
        { HOOK_ANSWERED, 403, "{\"reason\":\"locked\"}", 403, "locked" },
        { HOOK_ANSWERED, 403, "", 403, refused },
        { HOOK_ANSWERED, 403, "no JSON", 403, refused },
        { HOOK_ANSWERED, 403, "{\"reason\":\"\"}", 403, refused },
        { HOOK_ANSWERED, 403, "{\"reason\":7}", 403, refused },
        { HOOK_ANSWERED, 403, "{\"reason\":\"two\\nlines\"}", 403, refused },
        { HOOK_ANSWERED, 429, "{}", 503, "the application can't say just now who this is; try again a little later" },
        { HOOK_ANSWERED, 503, "{}", 503, "the application can't say just now who this is; try again a little later" },
        { HOOK_ANSWERED, 201, "{\"user\":\"a\"}", 502, "the application gave no usable answer about this connection" },
        { HOOK_ANSWERED, 302, "{\"user\":\"a\"}", 502, "the application gave no usable answer about this connection" },
        { HOOK_ANSWERED, 500, "{\"user\":\"a\"}", 502, "the application gave no usable answer about this connection" },
        { HOOK_GARBAGE, 0, "", 502, "the application gave no usable answer about this connection" },
        { HOOK_SILENT, 0, "", 503, "the application did not say in time who this is; try again a little later" },
    };
    struct stage stage;

    (void)state;
    stage_init(&stage);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        print_message("%u %s\n", rows[i].status, rows[i].body);
        struct identified got = hook_read_answer(&stage.reader, rows[i].end, rows[i].status, span_str(rows[i].body),
                                                 stage.authority, now);
        assert_null(got.identity);
        assert_int_equal(got.refusal.status, rows[i].want);
        assert_string_equal(got.refusal.reason, rows[i].reason);
    }
    stage_fini(&stage);
}

static void a_long_reason_is_not_quoted(void **state)
{
    struct stage stage;
    char         body[HOOK_REASON_BYTES_MAX + 32];

    (void)state;
    stage_init(&stage);
    for (int more = 0; more < 2; more++) {
        snprintf(body, sizeof body, "{\"reason\":\"%0*d\"}", HOOK_REASON_BYTES_MAX + more, 7);
        assert_int_equal(strlen(read_answer(&stage, 403, span_str(body)).refusal.reason) == HOOK_REASON_BYTES_MAX, !more);
    }
    stage_fini(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_question_says_what_is_known),
        cmocka_unit_test(an_answer_makes_a_user),
        cmocka_unit_test(what_is_no_answer),
        cmocka_unit_test(an_answer_has_so_many_grants),
        cmocka_unit_test(what_a_status_means),
        cmocka_unit_test(a_long_reason_is_not_quoted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
