/* What other nodes ask of the API: every beginning of a question is answered, asked further, or given back as unreadable (threat 44). */
#include "api/peers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "node/connection_key.h"

#include <cmocka.h>

static const struct hash_key key = { 1, 2 };
static struct namespaces     spaces;

struct fixture {
    struct shard          shard;
    struct api            api;
    struct connection_keys keys;
    struct command       *sent;
    unsigned              drained;
};

static void fixture_send(void *ctx, struct command *command)
{
    struct fixture *fixture = ctx;

    assert_null(fixture->sent);
    fixture->sent = command;
}

static const struct shard_port fixture_shard_port = { .send = fixture_send };

static void fixture_node(void *ctx, struct api_node *ret)
{
    (void)ctx;
    *ret = (struct api_node){ .name = "n1", .region = "", .connections = 100 };
}

static void fixture_drain(void *ctx, msec within_ms)
{
    assert_int_equal(within_ms, 10001);
    ((struct fixture *)ctx)->drained++;
}

static void fixture_revoke(void *ctx, const struct revocation *revocation, uint64_t seq,
                           void (*answered)(void *owner, uint64_t cut), void *owner)
{
    (void)ctx;
    assert_true(span_eq(revocation->name, SPAN("ann")) && revocation->second == 77 && seq == 5);
    answered(owner, 3);
}

static const struct api_port fixture_port = { .node = fixture_node, .drain = fixture_drain, .revoke = fixture_revoke };

static void fixture_init(struct fixture *fixture)
{
    const struct shard_limits limits = { .page_count_max = 1 };

    *fixture = (struct fixture){ .keys = { { 3, 4 }, 9 } };
    shard_init(&fixture->shard, 0, &fixture_shard_port, fixture, &limits);
    fixture->shard.connection_keys = &fixture->keys;
    fixture->api = (struct api){ .shard = &fixture->shard, .namespaces = &spaces, .hash_key = &key,
                                 .port = &fixture_port, .ctx = fixture, .node = "n1" };
    api_init(&fixture->api);
}

static void fixture_fini(struct fixture *fixture)
{
    api_fini(&fixture->api);
    shard_fini(&fixture->shard);
}

static void put_count(struct buf *body)
{
    bus_put_text(body, SPAN("topic:a"));
}

static void put_listing(struct buf *body)
{
    bus_put_number(body, 2);
    bus_put_text(body, SPAN("topic:a"));
    bus_put_text(body, SPAN("topic:b"));
}

static void put_connection(struct buf *body)
{
    bus_put_number(body, UINT64_MAX);
    bus_put_number(body, 1);
}

static void put_user(struct buf *body)
{
    bus_put_number(body, PEER_USER_DEVICES);
    bus_put_text(body, SPAN("ann"));
}

static void put_users(struct buf *body)
{
    bus_put_number(body, PEER_USERS_PRESENT);
    bus_put_number(body, 2);
    bus_put_text(body, SPAN("ann"));
    bus_put_text(body, SPAN("bob"));
}

static void put_subscribers(struct buf *body)
{
    bus_put_text(body, SPAN("topic:a"));
    bus_put_text(body, SPAN("n0"));
    bus_put_number(body, 7);
    bus_put_number(body, 100);
}

static void put_devices(struct buf *body)
{
    bus_put_text(body, SPAN("user:ann"));
    bus_put_number(body, 1);
    bus_put_text(body, SPAN("ann"));
    bus_put_text(body, SPAN("phone"));
}

static void put_revocation(struct buf *body)
{
    bus_put_text(body, SPAN("user"));
    bus_put_text(body, SPAN("ann"));
    bus_put_number(body, 77);
    bus_put_number(body, 5);
}

static void put_drain(struct buf *body)
{
    bus_put_number(body, 10);
    bus_put_number(body, 30);
}

static const struct question_row {
    const char     *name;
    enum peer_topic topic;
    void          (*put)(struct buf *body);
} questions[] = {
    { "count", PEER_COUNT, put_count },           { "listing", PEER_LISTING, put_listing },
    { "connection", PEER_CONNECTION, put_connection }, { "user", PEER_USERS, put_user },
    { "users", PEER_USERS, put_users },           { "subscribers", PEER_SUBSCRIBERS, put_subscribers },
    { "devices", PEER_DEVICES, put_devices },     { "revocation", PEER_REVOCATION, put_revocation },
    { "drain", PEER_DRAIN, put_drain },
};

/* True: it was understood. What goes on to the writer ends there. */
static bool is_understood(enum peer_topic topic, struct span body)
{
    struct fixture    fixture;
    struct peer_call *call = peer_call_new(topic, NULL, body);

    fixture_init(&fixture);
    api_take_peer_call(&fixture.api, call);
    assert_non_null(fixture.sent);
    bool is_back = fixture.sent == &call->command, is_known = !is_back || !call->is_unknown;
    command_free(fixture.sent);
    if (!is_back)
        command_free(&call->command);
    fixture_fini(&fixture);
    return is_known;
}

static void every_beginning_is_read_or_given_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof questions / sizeof questions[0]; i++) {
        struct buf body;
        buf_init(&body, 4096);
        bus_body_begin(&body);
        questions[i].put(&body);
        for (size_t len = 0; len < body.len; len++)
            if (is_understood(questions[i].topic, span_of(body.at, len)))
                fail_msg("%s: %zu of %zu bytes", questions[i].name, len, body.len);
        if (!is_understood(questions[i].topic, buf_span(&body)))
            fail_msg("%s", questions[i].name);
        buf_put_lit(&body, "what a later version adds");
        if (!is_understood(questions[i].topic, buf_span(&body)))
            fail_msg("%s, with more", questions[i].name);
        body.at[0] = 2;
        if (is_understood(questions[i].topic, buf_span(&body)))
            fail_msg("%s, of another version", questions[i].name);
        buf_fini(&body);
    }
}

static void counts_beyond_a_bound_are_given_back(void **state)
{
    (void)state;
    static const struct { const char *name; enum peer_topic topic; struct span body; } rows[] = {
        { "an unknown topic", (enum peer_topic)200, SPAN("\1") },
        { "channels", PEER_LISTING, SPAN("\1\xe9\x07") },
        { "users", PEER_USERS, SPAN("\1\2\xe9\x07") },
        { "no users", PEER_USERS, SPAN("\1\2\0") },
        { "another question of users", PEER_USERS, SPAN("\1\3\0") },
        { "devices", PEER_DEVICES, SPAN("\1\0\xf5\x03") },
        { "a page of 1001", PEER_SUBSCRIBERS, SPAN("\1\7topic:a\0\0\xe9\x07") },
        { "a namespace that is unknown here", PEER_COUNT, SPAN("\1\5new:a") },
        { "no pace", PEER_DRAIN, SPAN("\1\0\0") },
        { "two days", PEER_DRAIN, SPAN("\1\0\x80\xc6\x0a") },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (is_understood(rows[i].topic, rows[i].body))
            fail_msg("%s", rows[i].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_beginning_is_read_or_given_back),
        cmocka_unit_test(counts_beyond_a_bound_are_given_back),
    };
    namespaces_init(&spaces);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
