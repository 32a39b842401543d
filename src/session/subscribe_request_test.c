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
static const struct identity sender   = { .rights = RIGHT_PUBLISH, .name = "sender" };

/* "topic:a now; topic:b after 7 of 9; wait 25000", or "400" and its like. */
static void tell(struct setting *setting, const char *query, const char *event_id, const struct identity *identity,
                 struct buf *ret)
{
    struct request_head head = { .field_count = event_id != NULL };
    struct subscribe_requests  requests;

    head.fields[0] = (struct http_field){ SPAN("Last-Event-ID"), span_str(event_id) };
    struct http_request request = { .head = &head, .query = span_str(query) };
    subscribe_requests_init(&requests);
    buf_clear(ret);
    if (subscribe_requests_read(&requests, &setting->worker, &request, identity)) {
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
    subscribe_requests_fini(&requests);
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
        { "channel=topic:a&after=7&last=2", "topic:a last 2; wait 25000" },
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
    snprintf(query, sizeof query, "channel=topic:b&channel=topic:a&after=4&cursor=%s&last_event_id=%s", third.at,
             second.at);
    expect(&setting, query, first.at, &anyone, "topic:b now; topic:a after 1 of 9; wait 25000");
    expect(&setting, query, "", &anyone, "topic:b now; topic:a after 2 of 9; wait 25000");
    expect(&setting, query, NULL, &anyone, "topic:b now; topic:a after 2 of 9; wait 25000");
    expect(&setting, query, "garbage", &anyone, "400");
    snprintf(query, sizeof query, "channel=topic:b&after=4&cursor=%s", third.at);
    expect(&setting, query, NULL, &anyone, "topic:b after 4; wait 25000");
    snprintf(query, sizeof query, "cursor=%s&cursor=garbage", third.at);
    expect(&setting, query, NULL, &anyone, "topic:a after 3 of 9; wait 25000");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_query_says_what_and_from_where),
        cmocka_unit_test(places_have_an_order),
        cmocka_unit_test(a_token_is_judged_like_names),
        cmocka_unit_test(a_namespace_says_who_may),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
