/* What a client wants to follow, and from where, as a URL, a header or a token says it. */
#include "session/subscribe_request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "codec/token/token.h"

#include <cmocka.h>

static const struct hash_key key = { 1, 2 };

struct setting {
    struct namespaces spaces;
    struct session_worker       worker;
};

static void setting_init(struct setting *setting)
{
    *setting = (struct setting){ .worker = { .namespaces = &setting->spaces, .hash_key = &key } };
    namespaces_init(&setting->spaces);
    setting->worker.limits = (struct session_limits){
        .channels_max = 3, .poll_wait_ms = 25000, .poll_wait_ms_max = 60000,
    };
}

static const struct identity stranger = { 0 };
static const struct identity anyone   = { .rights = RIGHT_SUBSCRIBE | RIGHT_PUBLISH };
static const struct identity sender   = { .rights = RIGHT_PUBLISH, .from_len = 6, .text = "sender" };

/* "topic:a now; topic:b after 7 of 9; wait 25000", or "400" and its like; and the reason in `fault`. */
static char fault[SUBSCRIBE_FAULT_BYTES];

static void tell_request(struct setting *setting, const struct http_request *request, const struct identity *identity,
                         struct buf *ret)
{
    struct subscribe_requests requests;

    subscribe_requests_init(&requests);
    buf_clear(ret);
    if (subscribe_requests_read(&requests, &setting->worker, request, identity)) {
        for (size_t i = 0; i < requests.count; i++) {
            const struct start *start = &requests.at[i].start;
            static const char *const kinds[] = { [START_NOW] = "now", [START_AFTER] = "after", [START_LAST] = "last" };
            buf_putf(ret, "%s %s", requests.at[i].name->text, kinds[start->kind]);
            if (start->kind != START_NOW)
                buf_putf(ret, " %llu", (unsigned long long)start->seq);
            if (start->epoch != 0)
                buf_putf(ret, " of %llu", (unsigned long long)start->epoch);
            buf_put_lit(ret, "; ");
        }
        buf_putf(ret, "wait %lld", (long long)requests.wait_ms);
    } else {
        assert_true(requests.fault[0] != '\0');
        buf_put_u64(ret, requests.fault_status);
    }
    snprintf(fault, sizeof fault, "%s", requests.fault);
    subscribe_requests_fini(&requests);
}

static void tell(struct setting *setting, const char *query, const char *event_id, const struct identity *identity,
                 struct buf *ret)
{
    struct request_head head = { .field_count = event_id != NULL };

    head.fields[0] = (struct http_field){ SPAN("Last-Event-ID"), span_str(event_id) };
    tell_request(setting, &(struct http_request){ .head = &head, .query = span_str(query) }, identity, ret);
}

static void expect(struct setting *setting, const char *query, const char *event_id, const struct identity *identity,
                   const char *want)
{
    struct buf told;

    buf_init(&told, 4096);
    tell(setting, query, event_id, identity, &told);
    if (!span_eq(buf_span(&told), span_str(want)))
        fail_msg("%s: %.*s", query, SPAN_ARG(buf_span(&told)));
    buf_fini(&told);
}

static void a_query_says_what_and_from_where(void **state)
{
    (void)state;
    static const struct { const char *query, *want; } rows[] = {
        { "", "wait 25000" },
        { "channel=topic:a", "topic:a now; wait 25000" },
        { "channel=topic%3Aa%2Fb+c", "topic:a/b c now; wait 25000" },
        { "channel=topic:a&after=7&channel=topic:b&last=2&channel=topic:c",
          "topic:a after 7; topic:b last 2; topic:c now; wait 25000" },
        { "channel=topic:a&after=0", "topic:a after 0; wait 25000" },
        { "channel=topic:a&after=7&last=2", "400" },
        { "channel=topic:a&after=9223372036854775807", "topic:a after 9223372036854775807; wait 25000" },
        { "channel=topic:a&after=9223372036854775808", "400" },
        { "channel=topic:a&after=18446744073709551616", "400" },
        { "channel=topic:a&after=-1", "400" },
        { "channel=topic:a&after=%2B1", "400" },
        { "channel=topic:a&last=", "400" },
        { "after=7&channel=topic:a", "400" },
        { "wait=0&channel=topic:a", "topic:a now; wait 0" },
        { "channel=topic:a&wait=61", "topic:a now; wait 60000" },
        { "channel=topic:a&wait=86400", "topic:a now; wait 60000" },
        { "channel=topic:a&wait=86401", "400" },
        { "channel=topic:a&wait=18446744073709551", "400" },
        { "channel=topic:a&wait=1.5", "400" },
        { "channel=topic:a&channel=topic:a", "400" },
        { "channel=topic:a&channel=topic%3aa", "400" },
        { "channel=topic:a&channel=topic:b&channel=topic:c&channel=topic:d", "400" },
        { "channel=", "400" },
        { "channel=topic", "400" },
        { "channel=topic:", "400" },
        { "channel=topic:%00", "400" },
        { "channel=topic:%0a", "400" },
        { "channel=topic:%c0%af", "400" },
        { "channel=topic:%", "400" },
        { "channel=nowhere:a", "404" },
        { "access_token=%zz&x=%zz", "400" },
        { "channel=topic:a&cursor=&last_event_id=", "topic:a now; wait 25000" },
        { "channel=topic:a&wait=1&wait=2", "topic:a now; wait 2000" },
        { "access_token=x&_=1760000000&_t=%20&channel=topic:a", "topic:a now; wait 25000" },
        { "cursor=garbage", "400" },
        { "last_event_id=garbage", "400" },
        { "last_event_id=%", "400" },
    };
    struct setting setting;

    setting_init(&setting);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect(&setting, rows[i].query, NULL, &anyone, rows[i].want);
}

static void token_of(struct buf *ret, const struct place *places, size_t count)
{
    buf_init(ret, TOKEN_TEXT_BYTES_MAX + 1);
    token_put(ret, places, count);
    buf_putc(ret, '\0');
}

/* Last-Event-ID beats its parameter, which beats cursor=, which beats after= (threat 79). */
static void places_have_an_order(void **state)
{
    (void)state;
    const struct place one = { SPAN("topic:a"), 9, 1 }, two = { SPAN("topic:a"), 9, 2 };
    const struct place three = { SPAN("topic:a"), 9, 3 };
    struct setting     setting;
    struct buf         first, second, third;
    char               query[512];

    setting_init(&setting);
    token_of(&first, &one, 1);
    token_of(&second, &two, 1);
    token_of(&third, &three, 1);
    snprintf(query, sizeof query, "channel=topic:a&after=4&channel=topic:b&cursor=%s&last_event_id=%s", third.at,
             second.at);
    expect(&setting, query, first.at, &anyone, "topic:a after 1 of 9; topic:b now; wait 25000");
    expect(&setting, query, "", &anyone, "topic:a after 2 of 9; topic:b now; wait 25000");
    expect(&setting, query, NULL, &anyone, "topic:a after 2 of 9; topic:b now; wait 25000");
    expect(&setting, query, "garbage", &anyone, "400");
    snprintf(query, sizeof query, "channel=topic:b&after=4&cursor=%s", third.at);
    expect(&setting, query, NULL, &anyone, "topic:b after 4; wait 25000");
    snprintf(query, sizeof query, "channel=topic:a&channel=topic:b&after=4&cursor=%s", third.at);
    expect(&setting, query, NULL, &anyone, "topic:a after 3 of 9; topic:b after 4; wait 25000");
    snprintf(query, sizeof query, "channel=topic:c&channel=topic:b&after=4&cursor=%s", third.at);
    expect(&setting, query, NULL, &anyone, "400");
    snprintf(query, sizeof query, "after=topic:a@4&cursor=%s", third.at);
    expect(&setting, query, NULL, &anyone, "topic:a after 3 of 9; wait 25000");
    snprintf(query, sizeof query, "cursor=%s&cursor=%s&cursor=", second.at, third.at);
    expect(&setting, query, NULL, &anyone, "topic:a after 3 of 9; wait 25000");
    snprintf(query, sizeof query, "cursor=garbage&cursor=%s", third.at);
    expect(&setting, query, NULL, &anyone, "topic:a after 3 of 9; wait 25000");
    snprintf(query, sizeof query, "cursor=%s&cursor=garbage", third.at);
    expect(&setting, query, NULL, &anyone, "400");
    snprintf(query, sizeof query, "last_event_id=%s&last_event_id=%s", first.at, second.at);
    expect(&setting, query, NULL, &anyone, "topic:a after 2 of 9; wait 25000");
    buf_fini(&first);
    buf_fini(&second);
    buf_fini(&third);
}

/* A token grants nothing: its channels are judged as if they had been named (threat 104). */
static void a_token_is_judged_like_names(void **state)
{
    (void)state;
    static const struct { const char *name; struct place places[4]; size_t count; const char *want; } rows[] = {
        { "two",             { { SPAN("topic:a"), 9, 1 }, { SPAN("topic:b"), 8, 0 } }, 2,
          "topic:a after 1 of 9; topic:b after 0 of 8; wait 25000" },
        { "one twice",       { { SPAN("topic:a"), 9, 1 }, { SPAN("topic:a"), 9, 2 } }, 2, "400" },
        { "too many",        { { SPAN("topic:a"), 9, 1 }, { SPAN("topic:b"), 9, 1 }, { SPAN("topic:c"), 9, 1 },
                               { SPAN("topic:d"), 9, 1 } }, 4, "400" },
        { "no such space",   { { SPAN("nowhere:a"), 9, 1 } }, 1, "404" },
        { "not a name",      { { SPAN("topic:\n"), 9, 1 } }, 1, "400" },
        { "a wall",          { { SPAN("user:a"), 9, 1 } }, 1, "401" },
        { "a wall, behind",  { { SPAN("topic:a"), 9, 1 }, { SPAN("user:a"), 9, 1 } }, 2, "401" },
    };
    struct setting setting;

    setting_init(&setting);
    namespaces_find(&setting.spaces, SPAN("topic"))->subscribe = ALLOW_ANYONE;
    namespaces_find(&setting.spaces, SPAN("user"))->subscribe  = ALLOW_KEY;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf token;
        char       query[1024];
        token_of(&token, rows[i].places, rows[i].count);
        snprintf(query, sizeof query, "cursor=%s", token.at);
        expect(&setting, query, NULL, &stranger, rows[i].want);
        buf_fini(&token);
    }
}

static void a_namespace_says_who_may(void **state)
{
    (void)state;
    static const struct { enum allowed allowed; const struct identity *who; const char *want; } rows[] = {
        { ALLOW_ANYONE, &stranger, "user:a now; wait 25000" },
        { ALLOW_ANYONE, &sender,   "user:a now; wait 25000" },
        { ALLOW_KEY,    &stranger, "401" },
        { ALLOW_KEY,    &sender,   "403" },
        { ALLOW_KEY,    &anyone,   "user:a now; wait 25000" },
        { ALLOW_NOBODY, &sender,   "403" },
        { ALLOW_NOBODY, &anyone,   "403" },  /* no key would help */
        { ALLOW_NOBODY, &stranger, "403" },
    };
    struct setting setting;

    setting_init(&setting);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        namespaces_find(&setting.spaces, SPAN("user"))->subscribe = rows[i].allowed;
        print_message("row %zu\n", i);
        expect(&setting, "channel=user:a", NULL, rows[i].who, rows[i].want);
    }
}

/* A place that names its channel can be written by any tool, in any order. A number alone belongs to the channel= before
 * it, and is refused where that may not have been meant. */
static void a_place_is_never_guessed(void **state)
{
    (void)state;
    static const struct { const char *query, *want, *why; } rows[] = {
        { "after=topic:a@42", "topic:a after 42; wait 25000", NULL },
        { "last=topic%3Aa%4010", "topic:a last 10; wait 25000", NULL },
        { "after=topic:a@0&after=topic:b@7", "topic:a after 0; topic:b after 7; wait 25000", NULL },
        { "after=topic:b@7&channel=topic:a&channel=topic:b", "topic:b after 7; topic:a now; wait 25000", NULL },
        { "channel=topic:a&channel=topic:b&after=topic:b@7&last=topic:a@1", "topic:a last 1; topic:b after 7; wait 25000",
          NULL },
        { "channel=topic:a&channel=topic:b&after=7&after=topic:a@1", "topic:a after 1; topic:b after 7; wait 25000", NULL },
        { "after=topic:me@example.org@3", "topic:me@example.org after 3; wait 25000", NULL },
        { "channel=topic:a@3", "topic:a@3 now; wait 25000", NULL },
        { "channel=topic:a&channel=topic:b&after=0&after=0", "400", "two places for one channel" },
        { "channel=topic:a&channel=topic:b&after=0", "400", "after=topic:a@0&after=topic:b@0" },
        { "channel=topic:a&after=1&channel=topic:b&channel=topic:c&last=2", "400", "stands behind several channel=s" },
        { "channel=topic:a&last=1&after=0", "400", "two places for one channel" },
        { "channel=topic:a&after=0&after=topic:a@0", "400", "two places for one channel" },
        { "after=topic:a@0&after=topic:a@1", "400", "two places for one channel" },
        { "after=topic:a@", "400", "CHANNEL@NUMBER" },
        { "after=topic:a@x", "400", "CHANNEL@NUMBER" },
        { "after=topic:a@-1", "400", "CHANNEL@NUMBER" },
        { "after=topic:a@9223372036854775808", "400", "CHANNEL@NUMBER" },
        { "after=@1", "400", NULL },
        { "after=nowhere:a@1", "404", NULL },
        { "after=topic:a@1&channel=topic:a&channel=topic:a", "400", "named twice" },
        { "after=0", "400", "there is none" },
    };
    struct setting setting;

    setting_init(&setting);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        expect(&setting, rows[i].query, NULL, &anyone, rows[i].want);
        if (rows[i].why != NULL && strstr(fault, rows[i].why) == NULL)
            fail_msg("%s: %s", rows[i].query, fault);
    }
}

/* A word that decides about loss is never passed over. */
static void an_unknown_word_is_refused(void **state)
{
    (void)state;
    static const struct { const char *query, *why; } rows[] = {
        { "channel=topic:a&lastEventld=x", "unknown parameter \"lastEventld\": did you mean \"last_event_id\"?" },
        { "channel=topic:a&sinse=5", "unknown parameter \"sinse\": known are \"channel\", \"after\"" },
        { "channel=topic:a&Cursor=x", "unknown parameter \"Cursor\": did you mean \"cursor\"?" },
        { "channel[]=topic:a", "unknown parameter \"channel[]\": did you mean \"channel\"?" },
        { "channel%5B%5D=topic:a", "unknown parameter \"channel[]\": did you mean \"channel\"?" },
        { "channels=topic:a", "did you mean \"channel\"?" },
        { "channel=topic:a&afer=3", "did you mean \"after\"?" },
        { "channel=topic:a&x=%zz", "percent-encoded" },
        { "channel=topic:a&%zz=x", "percent-encoded" },
    };
    struct setting setting;

    setting_init(&setting);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        expect(&setting, rows[i].query, NULL, &anyone, "400");
        if (strstr(fault, rows[i].why) == NULL)
            fail_msg("%s: %s", rows[i].query, fault);
    }
}

/* What event-source-polyfill and others send for Last-Event-ID in the query. */
static void an_event_id_has_many_names(void **state)
{
    (void)state;
    static const char *const names[] = { "last_event_id", "lastEventId", "lastEventID", "Last-Event-ID", "last-event-id",
                                         "last%5Fevent%5Fid" };
    const struct place old = { SPAN("topic:a"), 9, 1 }, new = { SPAN("topic:a"), 9, 2 };
    struct setting     setting;
    struct buf         old_text, new_text;
    char               query[512];

    setting_init(&setting);
    token_of(&old_text, &old, 1);
    token_of(&new_text, &new, 1);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(query, sizeof query, "channel=topic:a&cursor=garbage&%s=%s", names[i], new_text.at);
        expect(&setting, query, NULL, &anyone, "topic:a after 2 of 9; wait 25000");
        snprintf(query, sizeof query, "channel=topic:a&last_event_id=%s&%s=%s", old_text.at, names[i], new_text.at);
        expect(&setting, query, NULL, &anyone, "topic:a after 2 of 9; wait 25000");
        expect(&setting, query, old_text.at, &anyone, "topic:a after 1 of 9; wait 25000");
    }
    buf_fini(&old_text);
    buf_fini(&new_text);
}

/* --- bodies --- */

static void expect_body(struct setting *setting, const char *query, const char *media, const char *body, const char *want,
                        const char *why)
{
    struct request_head head = { .method = HTTP_POST, .field_count = 1 };
    struct buf          told;

    head.fields[0] = (struct http_field){ SPAN("Content-Type"), span_str(media) };
    buf_init(&told, 4096);
    tell_request(setting, &(struct http_request){ .head = &head, .query = span_str(query), .body = span_str(body) },
                 &anyone, &told);
    if (!span_eq(buf_span(&told), span_str(want)) || strstr(fault, why) == NULL)
        fail_msg("%s: %.*s, %s", body, SPAN_ARG(buf_span(&told)), fault);
    buf_fini(&told);
}

static void a_body_says_the_same_as_a_query(void **state)
{
    (void)state;
    static const struct { const char *body, *want, *why; } rows[] = {
        { "{}", "wait 25000", "" },
        { "{\"channels\":[\"topic:a\"]}", "topic:a now; wait 25000", "" },
        { "{\"wait\":3,\"channels\":[\"topic:a\",{\"channel\":\"topic:b\",\"after\":5,\"epoch\":\"000000000000000a\"},"
          "{\"channel\":\"topic:c\",\"last\":3}]}", "topic:a now; topic:b after 5 of 10; topic:c last 3; wait 3000", "" },
        { "{\"channels\":[{\"channel\":\"topic:b\",\"after\":0}],\"cursor\":null}", "topic:b after 0; wait 25000", "" },
        { "{\"channels\":[\"topic:\\u0061\"]}", "topic:a now; wait 25000", "" },
        { "{\"cursor\":\"AgEBAAAAAAAAAAkHdG9waWM6YQMBv9KS\"}", "topic:a after 3 of 9; wait 25000", "" },
        { "{\"channels\":[\"topic:b\",\"topic:a\"],\"cursor\":\"AgEBAAAAAAAAAAkHdG9waWM6YQMBv9KS\"}",
          "topic:b now; topic:a after 3 of 9; wait 25000", "" },
        { "", "400", "one JSON object" },
        { "[]", "400", "one JSON object" },
        { "{\"channels\":[\"topic:a\"],\"Cursor\":\"x\"}", "400", "unknown member \"Cursor\": did you mean \"cursor\"?" },
        { "{\"channels\":[{\"channel\":\"topic:a\",\"afer\":1}]}", "400",
          "unknown member of a channel \"afer\": did you mean \"after\"?" },
        { "{\"channels\":[{\"after\":1}]}", "400", "a member channel" },
        { "{\"channels\":[1]}", "400", "a member channel" },
        { "{\"channels\":\"topic:a\"}", "400", "an array" },
        { "{\"channels\":[{\"channel\":\"topic:a\",\"after\":1,\"last\":1}]}", "400", "whole numbers" },
        { "{\"channels\":[{\"channel\":\"topic:a\",\"last\":1,\"epoch\":\"000000000000000a\"}]}", "400", "16 hex digits" },
        { "{\"channels\":[{\"channel\":\"topic:a\",\"after\":1,\"epoch\":\"a\"}]}", "400", "16 hex digits" },
        { "{\"channels\":[{\"channel\":\"topic:a\",\"after\":-1}]}", "400", "whole numbers" },
        { "{\"channels\":[{\"channel\":\"topic:a\",\"after\":9223372036854775808}]}", "400", "whole numbers" },
        { "{\"channels\":[\"topic:a\",\"topic:a\"]}", "400", "named twice" },
        { "{\"channels\":[\"nowhere:a\"]}", "404", "" },
        { "{\"channels\":[\"topic:a\"],\"wait\":\"1\"}", "400", "seconds" },
        { "{\"channels\":[\"topic:a\"],\"cursor\":1}", "400", "cursor is a string" },
        { "{\"channels\":[\"topic:a\"],\"cursor\":\"garbage\"}", "400", "not a cursor" },
        { "{\"channels\":[\"topic:a\",\"topic:b\",\"topic:c\",\"topic:d\"]}", "400", "one connection may follow 3" },
    };
    struct setting setting;

    setting_init(&setting);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        expect_body(&setting, "", "application/json", rows[i].body, rows[i].want, rows[i].why);
    expect_body(&setting, "channel=topic:b&wait=2", "application/json; charset=utf-8", "{\"channels\":[\"topic:a\"]}",
                "topic:b now; topic:a now; wait 2000", "");
    expect_body(&setting, "", "text/plain", "{\"channels\":[\"topic:a\"]}", "415", "Content-Type: application/json");
    expect_body(&setting, "", "", "{\"channels\":[\"topic:a\"]}", "415", "Content-Type: application/json");
}

/* --- sets --- */

/* Their names come from channel=, else from the next token. */
static void a_token_of_a_set_needs_its_channels(void **state)
{
    (void)state;
    const struct place places[] = { { SPAN("topic:a"), 9, 1 }, { SPAN("topic:b"), 8, 2 } };
    const struct place others[] = { { SPAN("topic:a"), 9, 5 }, { SPAN("topic:c"), 8, 6 } };
    static const struct { const char *query; bool is_header; const char *want, *why; } rows[] = {
        { "channel=topic:b&channel=topic:a&cursor=$set", false, "topic:a after 1 of 9; topic:b after 2 of 8; wait 25000", "" },
        { "channel=topic:b&channel=topic:a", true, "topic:a after 1 of 9; topic:b after 2 of 8; wait 25000", "" },
        { "after=topic:b@0&last=topic:a@3", true, "topic:a after 1 of 9; topic:b after 2 of 8; wait 25000", "" },
        { "channel=topic:b&channel=topic:a&cursor=$others", true, "topic:a after 1 of 9; topic:b after 2 of 8; wait 25000",
          "" },
        { "cursor=$names", true, "topic:a after 1 of 9; topic:b after 2 of 8; wait 25000", "" },
        { "last_event_id=$names", true, "topic:a after 1 of 9; topic:b after 2 of 8; wait 25000", "" },
        { "cursor=$names&last_event_id=$set", false, "topic:a after 1 of 9; topic:b after 2 of 8; wait 25000", "" },
        { "cursor=$set", false, "400", "2 channels without their names: send it beside the same channels" },
        { "", true, "400", "2 channels without their names" },
        { "cursor=$set", true, "400", "2 channels without their names" },
        { "cursor=garbage", true, "400", "not a cursor" },
        { "cursor=$others", true, "400", "another set of channels: it has the places of 2, and the request names 2" },
        { "channel=topic:a&cursor=$set", false, "400", "it has the places of 2, and the request names 1" },
        { "channel=topic:a&channel=topic:b&channel=topic:c", true, "400", "it has the places of 2, and the request names 3" },
    };
    struct setting setting;
    struct buf     set, names, other, query;

    setting_init(&setting);
    token_of(&names, places, 2);
    token_of(&other, others, 2);
    buf_init(&set, 400);
    buf_init(&query, 1000);
    token_put_set(&set, token_set_of(places, 2), places, 2);
    buf_putc(&set, '\0');
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct span rest = span_str(rows[i].query), piece;
        buf_clear(&query);
        for (bool is_first = true; span_cut(&rest, '$', &piece); is_first = false) {
            const struct { const char *name; const struct buf *text; } words[] = { { "set", &set }, { "names", &names },
                                                                                   { "others", &other } };
            for (size_t j = 0; !is_first && j < 3; j++)
                if (span_starts(piece, span_str(words[j].name))) {
                    buf_putf(&query, "%s", words[j].text->at);
                    piece = span_skip(piece, strlen(words[j].name));
                    break;
                }
            buf_put(&query, piece);
        }
        buf_putc(&query, '\0');
        expect(&setting, query.at, rows[i].is_header ? set.at : NULL, &anyone, rows[i].want);
        if (strstr(fault, rows[i].why) == NULL)
            fail_msg("%s: %s", rows[i].query, fault);
    }
    buf_fini(&query);
    buf_fini(&set);
    buf_fini(&names);
    buf_fini(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_query_says_what_and_from_where),
        cmocka_unit_test(places_have_an_order),
        cmocka_unit_test(a_token_is_judged_like_names),
        cmocka_unit_test(a_namespace_says_who_may),
        cmocka_unit_test(a_place_is_never_guessed),
        cmocka_unit_test(an_unknown_word_is_refused),
        cmocka_unit_test(an_event_id_has_many_names),
        cmocka_unit_test(a_body_says_the_same_as_a_query),
        cmocka_unit_test(a_token_of_a_set_needs_its_channels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
