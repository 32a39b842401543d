/* Messages, channels' names (threat 54) and namespaces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "message/message.h"
#include "message/user_name.h"

#include <cmocka.h>

static const struct hash_key key = { 1, 2 };

static struct channel_name *name_of(struct namespaces *set, struct span text)
{
    struct channel_name *name = NULL;
    assert_int_equal(channel_name_new(set, &key, text, &name), CHANNEL_NAME_OK);
    return name;
}

/* --- names --- */

/* Threat 54: refused, or a plain name and nothing but that. */
static void a_name_is_plain_or_refused(void **state)
{
    (void)state;
    static const struct { const char *name; struct span text; enum channel_name_fault want; } rows[] = {
        { "plain", SPAN("topic:prices"), CHANNEL_NAME_OK },
        { "one byte", SPAN("topic:x"), CHANNEL_NAME_OK },
        { "everyone", SPAN("all:"), CHANNEL_NAME_OK },
        { "everyone of a kind", SPAN("all:staff"), CHANNEL_NAME_OK },
        { "slashes and colons are part of it", SPAN("device:alice/phone:2"), CHANNEL_NAME_OK },
        { "wildcards are letters", SPAN("topic:#/+/*"), CHANNEL_NAME_OK },
        { "dots are letters", SPAN("topic:../../etc/passwd"), CHANNEL_NAME_OK },
        { "percents are letters", SPAN("topic:%00%2e"), CHANNEL_NAME_OK },
        { "spaces are letters", SPAN("topic: a "), CHANNEL_NAME_OK },
        { "other scripts", SPAN("topic:\xe4\xbb\xb7\xe6\xa0\xbc \xf0\x9f\x98\x80"), CHANNEL_NAME_OK },
        { "no-break space, the first behind the controls", SPAN("topic:\xc2\xa0"), CHANNEL_NAME_OK },
        { "nothing", SPAN(""), CHANNEL_NAME_MALFORMED },
        { "no colon", SPAN("topic"), CHANNEL_NAME_MALFORMED },
        { "no name", SPAN("topic:"), CHANNEL_NAME_MALFORMED },
        { "no name, unknown namespace", SPAN("nosuch:"), CHANNEL_NAME_UNKNOWN },
        { "only a colon", SPAN(":"), CHANNEL_NAME_UNKNOWN },
        { "no namespace", SPAN(":prices"), CHANNEL_NAME_UNKNOWN },
        { "unknown namespace", SPAN("nosuch:prices"), CHANNEL_NAME_UNKNOWN },
        { "namespaces are lower case", SPAN("Topic:prices"), CHANNEL_NAME_UNKNOWN },
        { "a namespace's beginning", SPAN("top:prices"), CHANNEL_NAME_UNKNOWN },
        { "a namespace and more", SPAN("topics:prices"), CHANNEL_NAME_UNKNOWN },
        { "NUL", SPAN("topic:a\0b"), CHANNEL_NAME_MALFORMED },
        { "NUL in the namespace", SPAN("topic\0:a"), CHANNEL_NAME_UNKNOWN },
        { "newline", SPAN("topic:a\nb"), CHANNEL_NAME_MALFORMED },
        { "carriage return", SPAN("topic:a\r"), CHANNEL_NAME_MALFORMED },
        { "escape", SPAN("topic:\x1b[31m"), CHANNEL_NAME_MALFORMED },
        { "the last of ASCII's controls", SPAN("topic:\x1f"), CHANNEL_NAME_MALFORMED },
        { "delete", SPAN("topic:\x7f"), CHANNEL_NAME_MALFORMED },
        { "U+0080", SPAN("topic:\xc2\x80"), CHANNEL_NAME_MALFORMED },
        { "U+0085, next line", SPAN("topic:a\xc2\x85"), CHANNEL_NAME_MALFORMED },
        { "U+009F", SPAN("topic:\xc2\x9f"), CHANNEL_NAME_MALFORMED },
        { "overlong slash", SPAN("topic:\xc0\xaf"), CHANNEL_NAME_MALFORMED },
        { "overlong NUL", SPAN("topic:\xc0\x80"), CHANNEL_NAME_MALFORMED },
        { "surrogate", SPAN("topic:\xed\xa0\x80"), CHANNEL_NAME_MALFORMED },
        { "cut short", SPAN("topic:\xc2"), CHANNEL_NAME_MALFORMED },
        { "latin-1", SPAN("topic:caf\xe9"), CHANNEL_NAME_MALFORMED },
    };
    struct namespaces set;

    namespaces_init(&set);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct channel_name    *name  = NULL;
        enum channel_name_fault fault = channel_name_new(&set, &key, rows[i].text, &name);
        if (fault != rows[i].want)
            fail_msg("%s: %s", rows[i].name, channel_name_fault_text(fault));
        if ((fault == CHANNEL_NAME_OK) != (name != NULL))
            fail_msg("%s: a name only if it's fine", rows[i].name);
        if (name != NULL && (!span_eq(channel_name_span(name), rows[i].text) || name->text[name->len] != '\0'))
            fail_msg("%s: bytes come out as they went in", rows[i].name);
        channel_name_unref(name);
    }
}

static void a_name_is_bounded(void **state)
{
    (void)state;
    static const struct { size_t len; enum channel_name_fault want; } rows[] = {
        { 1, CHANNEL_NAME_OK },
        { CHANNEL_NAME_BYTES_MAX, CHANNEL_NAME_OK },
        { CHANNEL_NAME_BYTES_MAX + 1, CHANNEL_NAME_MALFORMED },
        { 4096, CHANNEL_NAME_MALFORMED },
        { 70000, CHANNEL_NAME_MALFORMED },
    };
    struct namespaces set;

    namespaces_init(&set);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char                *text = malloc(6 + rows[i].len);  /* exactly: an overread is seen */
        struct channel_name *name = NULL;
        must(text != NULL);
        memcpy(text, "topic:", 6);
        memset(text + 6, 'x', rows[i].len);
        assert_int_equal(channel_name_new(&set, &key, span_of(text, 6 + rows[i].len), &name), rows[i].want);
        if (name != NULL)
            assert_int_equal(name->len, 6 + rows[i].len);
        channel_name_unref(name);
        free(text);
    }
}

static void names_are_equal_by_their_bytes(void **state)
{
    (void)state;
    struct namespaces set;

    namespaces_init(&set);
    struct channel_name *one   = name_of(&set, SPAN("topic:a"));
    struct channel_name *same  = name_of(&set, SPAN("topic:a"));
    struct channel_name *other = name_of(&set, SPAN("topic:b"));
    assert_true(channel_name_eq(one, one));
    assert_true(channel_name_eq(one, same));
    assert_false(channel_name_eq(one, other));
    other->hash = one->hash;  /* even if their hashes met */
    assert_false(channel_name_eq(one, other));
    channel_name_unref(channel_name_ref(one));
    channel_name_unref(one);
    channel_name_unref(same);
    channel_name_unref(other);
    channel_name_unref(NULL);
}

/* --- users and devices --- */

static void users_and_devices_have_names(void **state)
{
    static const struct { struct span name; bool is_valid; } rows[] = {
        { SPAN("ann"), true },        { SPAN(""), false },          { SPAN("a/b"), false },     { SPAN("/"), false },
        { SPAN("Ann Lee"), true },    { SPAN("\xc3\xa4nn"), true }, { SPAN("a\n"), false },     { SPAN("a\x7f"), false },
        { SPAN("\xc2\x80"), false },  { SPAN("\xff"), false },       { SPAN("a\0"), false },     { SPAN("a:b*"), true },
    };
    char longest[USER_NAME_BYTES_MAX + 1];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(user_name_is_valid(rows[i].name), rows[i].is_valid);
        assert_int_equal(device_name_is_valid(rows[i].name), rows[i].is_valid);
    }
    memset(longest, 'a', sizeof longest);
    assert_true(user_name_is_valid(span_of(longest, USER_NAME_BYTES_MAX)));
    assert_false(user_name_is_valid(span_of(longest, USER_NAME_BYTES_MAX + 1)));
    assert_true(device_name_is_valid(span_of(longest, DEVICE_NAME_BYTES_MAX)));
    assert_false(device_name_is_valid(span_of(longest, DEVICE_NAME_BYTES_MAX + 1)));
}

/* --- namespaces --- */

static void built_in_namespaces_have_their_policy(void **state)
{
    (void)state;
    static const struct {
        const char *name; enum durability durability; enum id_kind id_kind; enum allowed subscribe, publish;
    } rows[] = {
        { "user", DURABLE, ID_DIRECT, ALLOW_MEMBER, ALLOW_KEY },
        { "device", DURABLE, ID_DIRECT, ALLOW_MEMBER, ALLOW_KEY },
        { "group", DURABLE, ID_GROUP, ALLOW_MEMBER, ALLOW_KEY },
        { "topic", DURABLE, ID_OPEN, ALLOW_ANYONE, ALLOW_GRANT },
        { "all", DURABLE, ID_OPEN, ALLOW_ANYONE, ALLOW_GRANT },
        { "live", MEMORY, ID_MEMORY, ALLOW_ANYONE, ALLOW_GRANT },
        { "conn", NONE, ID_MEMORY, ALLOW_MEMBER, ALLOW_KEY },
        { "sys", MEMORY, ID_MEMORY, ALLOW_KEY, ALLOW_NOBODY },
    };
    struct namespaces set;

    namespaces_init(&set);
    assert_int_equal(set.count, sizeof rows / sizeof rows[0]);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct namespace *space = namespaces_find(&set, span_str(rows[i].name));
        if (space == NULL || space->durability != rows[i].durability || space->id_kind != rows[i].id_kind ||
            space->subscribe != rows[i].subscribe || space->publish != rows[i].publish)
            fail_msg("%s", rows[i].name);
        assert_int_equal(space->payload_bytes_max, 1024 * 1024);
        assert_int_equal(space->ttl_s_default, 0);
        assert_true(space->durability == NONE || space->keep_ms > 0);
    }
    assert_int_equal(namespaces_find(&set, SPAN("topic"))->keep_ms, INT64_C(7) * 24 * 3600 * 1000);
    assert_int_equal(namespaces_find(&set, SPAN("live"))->keep_count, 1000);
    assert_int_equal(namespaces_find(&set, SPAN("live"))->keep_ms, 5 * 60 * 1000);
}

static void the_servers_durable_logs_have_policies_of_their_own(void **state)
{
    (void)state;
    static const struct { const char *name; enum durability want; } rows[] = {
        { "control", DURABLE }, { "dead", DURABLE }, { "events/0", DURABLE }, { "events/9", DURABLE }, { "events/15", DURABLE },
        { "events/16", MEMORY }, { "events/01", MEMORY }, { "events/", MEMORY }, { "events/x", MEMORY }, { "events", MEMORY },
        { "canary", MEMORY }, { "dead/1", MEMORY },
    };
    struct namespaces set;
    char              text[OWN_POLICY_TEXT];
    struct span       channel, space;

    namespaces_init(&set);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct namespace *found = namespaces_find_for(&set, SPAN("sys"), span_str(rows[i].name));
        if (found == NULL || found->durability != rows[i].want || !found->is_servers || found->publish != ALLOW_NOBODY)
            fail_msg("sys:%s", rows[i].name);
    }
    for (size_t i = 0; i < OWN_POLICIES; i++) {
        const struct namespace *own = namespaces_own(&set, i, text, &channel);
        assert_true(span_cut(&channel, ':', &space));
        assert_ptr_equal(namespaces_find_for(&set, space, channel), own);
        assert_int_equal(own->durability, DURABLE);
    }
}

static void a_namespace_is_added_once_and_well_named(void **state)
{
    (void)state;
    static const struct { const char *name; struct span text; enum rc want; } rows[] = {
        { "plain", SPAN("news"), RC_OK },
        { "again", SPAN("news"), RC_BUSY },
        { "built in", SPAN("topic"), RC_BUSY },
        { "all that is allowed", SPAN("a0-z_9"), RC_OK },
        { "32 bytes", SPAN("abcdefghijklmnopqrstuvwxyz012345"), RC_OK },
        { "33 bytes", SPAN("abcdefghijklmnopqrstuvwxyz0123456"), RC_BAD },
        { "nothing", SPAN(""), RC_BAD },
        { "a digit first", SPAN("0news"), RC_BAD },
        { "a dash first", SPAN("-news"), RC_BAD },
        { "upper case", SPAN("News"), RC_BAD },
        { "upper case inside", SPAN("neWs"), RC_BAD },
        { "a colon", SPAN("ne:ws"), RC_BAD },
        { "a slash", SPAN("ne/ws"), RC_BAD },
        { "NUL", SPAN("ne\0ws"), RC_BAD },
        { "not ASCII", SPAN("n\xc3\xa9ws"), RC_BAD },
    };
    struct namespaces set;

    namespaces_init(&set);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct namespace *space = NULL;
        enum rc           rc    = namespaces_add(&set, rows[i].text, &space);
        if (rc != rows[i].want || (rc == RC_OK) != (space != NULL))
            fail_msg("%s: %s", rows[i].name, rc_text(rc));
        if (space != NULL && (namespaces_find(&set, rows[i].text) != space || space->durability != DURABLE ||
                              space->keep_ms != namespaces_find(&set, SPAN("topic"))->keep_ms))
            fail_msg("%s: has topic's policy", rows[i].name);
    }
}

static void namespaces_are_bounded(void **state)
{
    (void)state;
    struct namespaces set;
    struct namespace *space;
    char              text[16];

    namespaces_init(&set);
    for (size_t i = set.count; i < NAMESPACES_MAX; i++) {
        snprintf(text, sizeof text, "n%zu", i);
        assert_int_equal(namespaces_add(&set, span_str(text), &space), RC_OK);
    }
    assert_int_equal(namespaces_add(&set, SPAN("more"), &space), RC_FULL);
}

/* --- messages --- */

static void a_message_keeps_its_bytes(void **state)
{
    (void)state;
    char media[MEDIA_BYTES_MAX], from[FROM_BYTES_MAX];
    const struct { struct span payload, media, from; } rows[] = {
        { SPAN("any\0byte\r\n"), SPAN("text/plain"), SPAN("alice") },
        { SPAN(""), SPAN(""), SPAN("") },
        { { NULL, 0 }, SPAN("text/plain"), { NULL, 0 } },
        { SPAN("x"), { media, sizeof media }, { from, sizeof from } },
    };
    struct namespaces set;

    memset(media, 'm', sizeof media);
    memset(from, 'f', sizeof from);
    namespaces_init(&set);
    struct channel_name *name = name_of(&set, SPAN("topic:a"));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct message *message = message_new(name, MESSAGE_PLAIN, rows[i].payload.at, (uint32_t)rows[i].payload.len,
                                              rows[i].media, rows[i].from);
        assert_true(span_eq(message_payload(message), rows[i].payload));
        assert_true(span_eq(message_media(message), rows[i].media));
        assert_true(span_eq(message_from(message), rows[i].from));
        assert_int_equal(message->seq, 0);
        assert_int_equal(message_size(message),
                         sizeof *message + rows[i].payload.len + rows[i].media.len + rows[i].from.len);
        message_unref(message_ref(message));
        message_unref(message);
    }
    channel_name_unref(name);
    message_unref(NULL);
}

static void an_event_has_a_name_of_its_own(void **state)
{
    (void)state;
    static const char  long_name[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    static const struct { const char *name; struct span event; enum event_verdict want; } rows[] = {
        { "a word", SPAN("price"), EVENT_FINE },
        { "what browsers call an event without a name", SPAN("message"), EVENT_FINE },
        { "UTF-8 and spaces", SPAN("prix \xe2\x82\xac"), EVENT_FINE },
        { "the longest", { long_name, EVENT_BYTES_MAX }, EVENT_FINE },
        { "too long", { long_name, EVENT_BYTES_MAX + 1 }, EVENT_MALFORMED },
        { "none", SPAN(""), EVENT_MALFORMED },
        { "line feed", SPAN("a\nid: 1"), EVENT_MALFORMED },
        { "carriage return", SPAN("a\rb"), EVENT_MALFORMED },
        { "NUL", SPAN("a\0b"), EVENT_MALFORMED },
        { "DEL", SPAN("a\x7f"), EVENT_MALFORMED },
        { "next line (U+0085)", SPAN("a\xc2\x85"), EVENT_MALFORMED },
        { "no-break space", SPAN("a\xc2\xa0"), EVENT_FINE },
        { "no UTF-8", SPAN("a\xff"), EVENT_MALFORMED },
        { "the server's", SPAN("gap"), EVENT_RESERVED },
        { "the server's, for payloads that are no text", SPAN("binary"), EVENT_RESERVED },
        { "the browser's, for a link that broke", SPAN("error"), EVENT_RESERVED },
        { "the case counts, as in browsers", SPAN("Gap"), EVENT_FINE },
    };
    struct namespaces set;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (event_name_judge(rows[i].event) != rows[i].want)
            fail_msg("%s", rows[i].name);
    namespaces_init(&set);
    struct channel_name *name    = name_of(&set, SPAN("topic:a"));
    struct message      *message = message_new_event(name, MESSAGE_PLAIN, "x", 1, SPAN("text/plain"), SPAN("alice"),
                                                     SPAN("price"));
    assert_true(span_eq(message_event(message), SPAN("price")));
    assert_true(span_eq(message_from(message), SPAN("alice")));
    assert_int_equal(message_size(message), sizeof *message + 1 + 10 + 5 + 5);
    message_unref(message);
    channel_name_unref(name);
}

static void a_payload_may_be_written_later(void **state)
{
    (void)state;
    struct namespaces set;

    namespaces_init(&set);
    struct channel_name *name    = name_of(&set, SPAN("topic:a"));
    struct message      *message = message_new(name, MESSAGE_PLAIN, NULL, 5, SPAN("text/plain"), SPAN("alice"));
    channel_name_unref(name);  /* the message holds its own */
    memcpy(message->bytes, "hello", 5);
    assert_true(span_eq(message_payload(message), SPAN("hello")));
    assert_true(span_eq(message_media(message), SPAN("text/plain")));
    assert_true(span_eq(channel_name_span(message->channel), SPAN("topic:a")));
    message_unref(message);
}

/* Threat 18: the payload is gone for good, the place in the log is not. */
static void what_remains_of_a_recalled_message(void **state)
{
    (void)state;
    struct namespaces set;

    namespaces_init(&set);
    struct channel_name *name    = name_of(&set, SPAN("topic:a"));
    struct message      *message = message_new(name, MESSAGE_PLAIN, "secret", 6, SPAN("text/plain"), SPAN("alice"));
    struct message      *recall  = message_new(name, MESSAGE_RECALL, NULL, 0, SPAN(""), SPAN(""));
    message->epoch      = 9;
    message->seq        = 42;
    message->id         = 4711;
    message->time       = 1000;
    message->expires_at = 2000;
    recall->seq         = 57;
    recall->target      = 42;
    struct message *rest = message_recalled(message, recall);
    assert_int_equal(rest->kind, MESSAGE_RECALLED);
    assert_int_equal(rest->payload_len, 0);
    assert_int_equal(rest->media_len, 0);
    assert_int_equal(rest->from_len, 0);
    assert_int_equal(rest->epoch, 9);
    assert_int_equal(rest->seq, 42);
    assert_int_equal(rest->id, 4711);
    assert_int_equal(rest->time, 1000);
    assert_int_equal(rest->expires_at, 2000);
    assert_int_equal(rest->target, 57);
    message_unref(rest);
    message_unref(recall);
    message_unref(message);
    channel_name_unref(name);
}

static void a_message_expires_at_its_instant(void **state)
{
    (void)state;
    static const struct { const char *name; msec expires_at, wall; bool want; } rows[] = {
        { "never", 0, INT64_MAX, false },
        { "not yet", 1000, 999, false },
        { "now", 1000, 1000, true },
        { "long ago", 1000, 5000, true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct message message = { .expires_at = rows[i].expires_at };
        if (message_is_expired(&message, rows[i].wall) != rows[i].want)
            fail_msg("%s", rows[i].name);
    }
}

static void an_entry_speaks_up_to_its_last_seq(void **state)
{
    (void)state;
    struct message     message = { .seq = 7 };
    const struct entry told    = { .message = &message };
    const struct entry gap     = { .gap = { 3, 9, GAP_TRIMMED } };

    assert_int_equal(entry_last(&told), 7);
    assert_int_equal(entry_last(&gap), 9);
}

static void words_for_people(void **state)
{
    (void)state;
    static const char *const whys[] = { "expired", "trimmed", "epoch", "ahead", "corrupt" };

    for (int why = GAP_EXPIRED; why <= GAP_CORRUPT; why++)
        assert_string_equal(gap_why_text((enum gap_why)why), whys[why]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_plain_or_refused),
        cmocka_unit_test(a_name_is_bounded),
        cmocka_unit_test(names_are_equal_by_their_bytes),
        cmocka_unit_test(users_and_devices_have_names),
        cmocka_unit_test(built_in_namespaces_have_their_policy),
        cmocka_unit_test(the_servers_durable_logs_have_policies_of_their_own),
        cmocka_unit_test(a_namespace_is_added_once_and_well_named),
        cmocka_unit_test(namespaces_are_bounded),
        cmocka_unit_test(a_message_keeps_its_bytes),
        cmocka_unit_test(an_event_has_a_name_of_its_own),
        cmocka_unit_test(a_payload_may_be_written_later),
        cmocka_unit_test(what_remains_of_a_recalled_message),
        cmocka_unit_test(a_message_expires_at_its_instant),
        cmocka_unit_test(an_entry_speaks_up_to_its_last_seq),
        cmocka_unit_test(words_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
