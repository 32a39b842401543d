/* What may be published, and how a publish ended, in statuses. */
#include "publish/publish_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"

#include <cmocka.h>

static const struct hash_key key      = { 1, 2 };
static const struct identity stranger = { 0 };
static const struct identity everyone = { .rights = RIGHT_PUBLISH | RIGHT_SUBSCRIBE | RIGHT_ADMIN };
static const struct identity reader   = { .rights = RIGHT_SUBSCRIBE, .from_len = 6, .text = "reader" };
static const struct identity sender   = { .rights = RIGHT_PUBLISH, .from_len = 6, .text = "sender" };

struct setting {
    struct namespaces    spaces;
    struct channel_name *name;
};

static void setting_init(struct setting *setting)
{
    namespaces_init(&setting->spaces);
    must(channel_name_new(&setting->spaces, &key, SPAN("topic:a"), &setting->name) == CHANNEL_NAME_OK);
}

static struct namespace *space_of(struct setting *setting)
{
    return namespaces_find(&setting->spaces, SPAN("topic"));
}

static char long_text[PUBLISH_KEY_BYTES_MAX + 2];  /* "a/aaaa…", one byte too long for a media type or a key */

static void a_publish_is_judged(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct span payload, media, key;
        bool        has_ttl;
        uint64_t    ttl_s;
        unsigned    status;
        const char *kept;  /* media type of the message */
    } rows[] = {
        { "nothing said", SPAN("hi"), SPAN(""), SPAN(""), false, 0, 0, "text/plain" },
        { "nothing said, octets", SPAN("\xff"), SPAN(""), SPAN(""), false, 0, 0, "application/octet-stream" },
        { "curl", SPAN("hi"), SPAN("Application/X-WWW-form-urlencoded"), SPAN(""), false, 0, 0, "text/plain" },
        { "nothing at all", SPAN(""), SPAN(""), SPAN(""), false, 0, 0, "text/plain" },
        { "kept as said", SPAN("\xff"), SPAN("text/plain; charset=x"), SPAN(""), false, 0, 0, "text/plain; charset=x" },
        { "JSON", SPAN("{}"), SPAN("application/json"), SPAN(""), false, 0, 0, "application/json" },
        { "no JSON", SPAN("{"), SPAN("application/json"), SPAN(""), false, 0, 400, NULL },
        { "no JSON, suffix", SPAN("{"), SPAN("a/b+JSON;x=y"), SPAN(""), false, 0, 400, NULL },
        { "JSON, empty", SPAN(""), SPAN("application/json"), SPAN(""), false, 0, 400, NULL },
        { "two JSON values", SPAN("1 2"), SPAN("application/json"), SPAN(""), false, 0, 400, NULL },
        { "the longest", SPAN("0123456789"), SPAN(""), SPAN(""), false, 0, 0, "text/plain" },
        { "too long", SPAN("0123456789a"), SPAN(""), SPAN(""), false, 0, 413, NULL },
        { "no slash", SPAN("hi"), SPAN("text"), SPAN(""), false, 0, 415, NULL },
        /* threat 58 */
        { "a line end in the media type", SPAN("hi"), SPAN("a/b\r\nX: y"), SPAN(""), false, 0, 415, NULL },
        { "a NUL in the media type", SPAN("hi"), SPAN("a/b\0c"), SPAN(""), false, 0, 415, NULL },
        { "media type without a subtype", SPAN("hi"), SPAN("text/"), SPAN(""), false, 0, 415, NULL },
        { "media type without a type", SPAN("hi"), SPAN("/plain"), SPAN(""), false, 0, 415, NULL },
        { "media type of spaces", SPAN("hi"), SPAN(" / ;a=b"), SPAN(""), false, 0, 415, NULL },
        { "two subtypes", SPAN("hi"), SPAN("a/b/c"), SPAN(""), false, 0, 415, NULL },
        { "two media types", SPAN("hi"), SPAN("a/b, c/d"), SPAN(""), false, 0, 415, NULL },
        { "a slash in a parameter alone", SPAN("hi"), SPAN("text;a=b/c"), SPAN(""), false, 0, 415, NULL },
        { "spaces before a parameter", SPAN("hi"), SPAN("a/b ; c=\"d/e, f\""), SPAN(""), false, 0, 0,
          "a/b ; c=\"d/e, f\"" },
        { "UTF-8 in the media type", SPAN("hi"), SPAN("a/\xc3\xa9"), SPAN(""), false, 0, 415, NULL },
        { "media type too long", SPAN("hi"), { long_text, MEDIA_BYTES_MAX + 1 }, SPAN(""), false, 0, 415, NULL },
        { "a control message", SPAN("{}"), SPAN("application/vnd.longwire.membership+json"), SPAN(""), false, 0, 400,
          NULL },
        { "one of no known type", SPAN("hi"), SPAN(" Application/VND.Longwire.x ;a=b"), SPAN(""), false, 0, 400, NULL },
        { "a neighbour of theirs", SPAN("{}"), SPAN("application/vnd.longwirex+json"), SPAN(""), false, 0, 0,
          "application/vnd.longwirex+json" },
        { "longest key", SPAN("hi"), SPAN(""), { long_text, PUBLISH_KEY_BYTES_MAX }, false, 0, 0, "text/plain" },
        { "key too long", SPAN("hi"), SPAN(""), { long_text, PUBLISH_KEY_BYTES_MAX + 1 }, false, 0, 400, NULL },
        { "line end in the key", SPAN("hi"), SPAN(""), SPAN("a\nb"), false, 0, 400, NULL },
        { "DEL in the key", SPAN("hi"), SPAN(""), SPAN("a\x7f"), false, 0, 400, NULL },
        { "ttl 1", SPAN("hi"), SPAN(""), SPAN(""), true, 1, 0, "text/plain" },
        { "ttl 0", SPAN("hi"), SPAN(""), SPAN(""), true, 0, 400, NULL },
        { "longest ttl", SPAN("hi"), SPAN(""), SPAN(""), true, PUBLISH_TTL_S_MAX, 0, "text/plain" },
        { "ttl too long", SPAN("hi"), SPAN(""), SPAN(""), true, PUBLISH_TTL_S_MAX + 1, 400, NULL },
        { "ttl that would wrap", SPAN("hi"), SPAN(""), SPAN(""), true, UINT64_MAX / 1000 + 2, 400, NULL },
    };
    struct setting setting;

    memset(long_text, 'a', sizeof long_text);
    long_text[1] = '/';
    setting_init(&setting);
    space_of(&setting)->payload_bytes_max = 10;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct publish_request request = { setting.name, rows[i].payload, rows[i].media, rows[i].key, rows[i].has_ttl,
                                           rows[i].ttl_s, 1000, &sender };
        struct message        *message = NULL;
        char                   why[PUBLISH_WHY_BYTES];
        struct verdict         verdict = publish_check(&request, why, &message);
        if (verdict.status != rows[i].status || (verdict.status == 0) != (message != NULL) ||
            (verdict.status != 0) != (verdict.reason != NULL))
            fail_msg("%s: %u", rows[i].name, verdict.status);
        if (message == NULL)
            continue;
        if (!span_eq(message_media(message), span_str(rows[i].kept)))
            fail_msg("%s: %.*s", rows[i].name, SPAN_ARG(message_media(message)));
        assert_true(span_eq(message_payload(message), rows[i].payload));
        assert_true(span_eq(message_from(message), SPAN("sender")));
        assert_int_equal(message->time, 1000);
        assert_int_equal(message->expires_at, rows[i].has_ttl ? 1000 + (msec)rows[i].ttl_s * 1000 : 0);
        message_unref(message);
    }
    channel_name_unref(setting.name);
}

static void a_default_life_time_can_be_overruled(void **state)
{
    (void)state;
    static const struct { bool has_ttl; msec expires_at; } rows[] = { { false, 61000 }, { true, 8000 } };
    struct setting setting;

    setting_init(&setting);
    space_of(&setting)->ttl_s_default = 60;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct publish_request request = {
            .name = setting.name, .has_ttl = rows[i].has_ttl, .ttl_s = 7, .wall = 1000, .identity = &sender,
        };
        struct message *message;
        char            why[PUBLISH_WHY_BYTES];
        assert_int_equal(publish_check(&request, why, &message).status, 0);
        assert_int_equal(message->expires_at, rows[i].expires_at);
        message_unref(message);
    }
    channel_name_unref(setting.name);
}

/* Threat 104: the same answer, whatever else may be wrong. */
static void a_namespace_says_who_may(void **state)
{
    (void)state;
    static const struct {
        const char            *name;
        enum allowed           allowed;
        const struct identity *who;
        unsigned               status;
    } rows[] = {
        { "anyone, stranger", ALLOW_ANYONE, &stranger, 0 },   { "anyone, reader", ALLOW_ANYONE, &reader, 0 },
        { "key, stranger", ALLOW_KEY, &stranger, 401 },       { "key, reader", ALLOW_KEY, &reader, 403 },
        { "key, sender", ALLOW_KEY, &sender, 0 },             { "key, no keys at all", ALLOW_KEY, &everyone, 0 },
        { "nobody, stranger", ALLOW_NOBODY, &stranger, 403 }, { "nobody, sender", ALLOW_NOBODY, &sender, 403 },
        { "nobody, no keys at all", ALLOW_NOBODY, &everyone, 403 },
    };
    struct setting setting;

    setting_init(&setting);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct publish_request request = { .name = setting.name, .wall = 1000, .identity = rows[i].who,
                                           .key = SPAN("a\nb") };
        struct message        *message;
        char                   why[PUBLISH_WHY_BYTES];

        space_of(&setting)->publish = rows[i].allowed;
        if (publish_check(&request, why, &message).status != (rows[i].status == 0 ? 400 : rows[i].status))
            fail_msg("%s: rights don't come first", rows[i].name);
    }
    channel_name_unref(setting.name);
}

static void every_outcome_has_its_status(void **state)
{
    (void)state;
    static const struct { enum publish_outcome outcome; unsigned status; } rows[] = {
        { PUBLISH_DONE, 201 },     { PUBLISH_REPLAYED, 200 }, { PUBLISH_KEY_CONFLICT, 422 }, { PUBLISH_NO_TARGET, 404 },
        { PUBLISH_NO_SPACE, 507 }, { PUBLISH_BROKEN, 503 },   { PUBLISH_BUSY, 429 },
        { PUBLISH_AWAY, 503 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned    status = 0;
        const char *why    = publish_explain(rows[i].outcome, &status);
        assert_int_equal(status, rows[i].status);
        assert_int_equal(why == NULL, status < 300);
    }
}

/* What is refused as JSON says why, where, and which limit was passed. */
static void a_payload_that_is_no_json_says_why(void **state)
{
    (void)state;
    static const struct { struct span payload; const char *detail; } rows[] = {
        { SPAN("{\"a\":[1,2}"), "a comma or the end of the array belongs here (byte 9)" },
        { SPAN("1e400"), "a number too large for a double, at most 1.7976931348623157e308 (byte 0)" },
        { SPAN("\"half \\ud83d\""), "a surrogate without its pair (byte 6)" },
        { SPAN("\xef\xbb\xbf\xef\xbb\xbf{}"), "a byte order mark, which JSON has none of (byte 3)" },
        { SPAN("\xef\xbb\xbf{]"), "the name of a member belongs here, a string (byte 4)" },
        { SPAN(""), "nothing there (byte 0)" },
        { SPAN("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]"),
          "nested too deeply (byte 64; at most 64)" },
    };
    struct setting setting;

    setting_init(&setting);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct publish_request publish_request = {
            .name = setting.name, .payload = rows[i].payload, .media = SPAN("application/json"), .identity = &sender,
        };
        char            want[PUBLISH_WHY_BYTES], why[PUBLISH_WHY_BYTES];
        struct message *message;
        struct verdict  verdict = publish_check(&publish_request, why, &message);

        assert_int_equal(verdict.status, 400);
        snprintf(want, sizeof want, "the payload is declared JSON but isn't: %s", rows[i].detail);
        assert_string_equal(verdict.reason, want);
    }
    channel_name_unref(setting.name);
}

static void a_byte_order_mark_before_json_is_left_out(void **state)
{
    (void)state;
    static const struct { struct span media, kept; } rows[] = {
        { SPAN("application/json"), SPAN("{}") },
        { SPAN("a/b+json"), SPAN("{}") },
        { SPAN("text/plain"), SPAN("\xef\xbb\xbf{}") },
    };
    struct setting setting;

    setting_init(&setting);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct publish_request publish_request = {
            .name = setting.name, .payload = SPAN("\xef\xbb\xbf{}"), .media = rows[i].media, .identity = &sender,
        };
        char            why[PUBLISH_WHY_BYTES];
        struct message *message;
        assert_int_equal(publish_check(&publish_request, why, &message).status, 0);
        assert_true(span_eq(message_payload(message), rows[i].kept));
        message_unref(message);
    }
    channel_name_unref(setting.name);
}

static void the_event_of_a_publish_is_judged(void **state)
{
    (void)state;
    static const struct { struct span event; unsigned status; } rows[] = {
        { SPAN(""), 0 }, { SPAN("price"), 0 }, { SPAN("a\nb"), 400 }, { SPAN("gap"), 400 }, { SPAN("\xff"), 400 },
    };
    struct setting setting;

    setting_init(&setting);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct publish_request publish_request = { .name = setting.name, .identity = &sender, .event = rows[i].event };
        char                   why[PUBLISH_WHY_BYTES];
        struct message        *message = NULL;
        assert_int_equal(publish_check(&publish_request, why, &message).status, rows[i].status);
        assert_true(message == NULL || span_eq(message_event(message), rows[i].event));
        message_unref(message);
    }
    channel_name_unref(setting.name);
}

static void a_payload_too_long_is_told_both_numbers(void **state)
{
    (void)state;
    struct setting  setting;
    char            why[PUBLISH_WHY_BYTES];
    struct message *message;

    setting_init(&setting);
    space_of(&setting)->payload_bytes_max = 10;
    struct publish_request publish_request = { .name = setting.name, .payload = SPAN("0123456789a"),
                                               .identity = &sender };
    struct verdict         verdict         = publish_check(&publish_request, why, &message);
    assert_int_equal(verdict.status, 413);
    assert_string_equal(verdict.reason,
                        "the payload has 11 bytes; the namespace topic takes 10 at most (payload_bytes_max)");
    channel_name_unref(setting.name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_publish_is_judged),
        cmocka_unit_test(a_default_life_time_can_be_overruled),
        cmocka_unit_test(a_payload_that_is_no_json_says_why),
        cmocka_unit_test(a_byte_order_mark_before_json_is_left_out),
        cmocka_unit_test(the_event_of_a_publish_is_judged),
        cmocka_unit_test(a_payload_too_long_is_told_both_numbers),
        cmocka_unit_test(a_namespace_says_who_may),
        cmocka_unit_test(every_outcome_has_its_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
