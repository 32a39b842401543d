/* What a loop says of its links to the presence, and what links are told: a real presence in the writer's place. */
#include "session/presence_follow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "lib/held_identifier.h"
#include "session/client.h"
#include "session/session_battery.h"

#include <cmocka.h>

struct presence_bench {
    struct stage         stage;
    struct presence      presence;
    struct channel_name *room;
    struct sim_link     *far;
    struct buf           heard;
};

static const struct hash_key key = { 1, 2 };

static void bench_take(struct stage *stage, struct command *command)
{
    (void)stage;
    command->kind->at_writer(command, NULL);
}

static void bench_send(void *ctx, unsigned loop, struct command *command)
{
    assert_int_equal(loop, 0);
    shard_take(&((struct presence_bench *)ctx)->stage.shard, command);
}

static const struct writer_port bench_port = { bench_send, NULL };

static void bench_turn(struct presence_bench *bench)
{
    stage_turn(&bench->stage);
    presence_turn_end(&bench->presence);
    stage_turn(&bench->stage);
    sim_take(bench->far, &bench->heard, SIZE_MAX);
}

static void bench_turns(struct presence_bench *bench)
{
    for (unsigned i = 0; i < 10; i++)
        bench_turn(bench);
}

/* A WebSocket of ann, open; what it has heard so far is forgotten. */
static void bench_open(struct presence_bench *bench, const char *request)
{
    const struct presence_limits limits = { .members_max = 1000, .frames_per_s = 1000000, .return_ms = 3000,
                                            .poll_lease_ms = 60000 };
    struct held_identifier      *held;

    *bench = (struct presence_bench){ 0 };
    stage_init(&bench->stage, 1);
    bench->stage.other                    = bench_take;
    bench->stage.worker.presence.presence = &bench->presence;
    namespaces_find(&bench->stage.spaces, SPAN("topic"))->has_presence = true;
    held = bench->stage.identifier;
    identity_unref(held->everyone);
    held->everyone = identity_new(&(struct identity_facts){ .user = SPAN("ann"), .device = SPAN("phone"), .is_open = true,
                                                            .rights = KEY_RIGHTS_ALL });
    presence_init(&bench->presence, &bench_port, bench, 1, &key, &limits);
    buf_init(&bench->heard, 1 << 26);
    bench->room = channel_name_ref(stage_log(&bench->stage, "topic:a", 1, 0)->name);
    bench->far  = stage_connect(&bench->stage);
    sim_send(bench->far, span_str(request));
    bench_turns(bench);
}

static void bench_close(struct presence_bench *bench)
{
    sim_link_free(bench->far);
    stage_turn(&bench->stage);
    stage_turn(&bench->stage);
    channel_name_unref(bench->room);
    stage_fini(&bench->stage);
    presence_fini(&bench->presence);
    buf_fini(&bench->heard);
}

#define UPGRADE                                                                                                        \
    "HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"                                             \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"

static const char follows[] = "GET /v1/ws?channel=topic:a " UPGRADE;
static const char watches[] = "GET /v1/ws?channel=topic:a&presence=1 " UPGRADE;

/* One text frame of a client, masked with zeros. */
static void bench_send_text(struct presence_bench *bench, const char *text)
{
    char   head[8] = { (char)0x81, 0 };
    size_t len     = strlen(text);

    assert_true(len < 126);
    head[1] = (char)(0x80 | len);
    sim_send(bench->far, span_of(head, 6));
    sim_send(bench->far, span_of(text, len));
}

static void bench_say(struct presence_bench *bench, const char *text)
{
    bench_send_text(bench, text);
    bench_turns(bench);
}

static void somebody(struct presence_bench *bench, const char *user, bool comes)
{
    struct presence_who who = { span_str(user), SPAN("web"), 1000, "sse" };

    if (comes)
        presence_come(&bench->presence, bench->room, &who);
    else
        presence_go(&bench->presence, bench->room, &who, PRESENCE_END_NOW);
    bench_turns(bench);
}

static bool has_heard(struct presence_bench *bench, const char *text)
{
    bool is_there = memmem(bench->heard.at, bench->heard.len, text, strlen(text)) != NULL;

    buf_clear(&bench->heard);
    return is_there;
}

static uint64_t set_count(struct presence_bench *bench)
{
    struct presence_listing *listing = presence_listing_new(&bench->presence, bench->room, 0, 10);
    uint64_t                 count;

    presence_list(&bench->presence, listing);
    count = listing->count;
    command_free(&listing->command);
    return count;
}

/* --- the tests -------------------------------------------------------------------------------------------------- */

static void a_link_is_there_while_it_follows(void **state)
{
    struct presence_bench bench;

    (void)state;
    bench_open(&bench, follows);
    assert_int_equal(set_count(&bench), 1);
    bench_say(&bench, "{\"type\":\"unsubscribe\",\"channel\":\"topic:a\"}");
    assert_int_equal(set_count(&bench), 0);
    bench_say(&bench, "{\"type\":\"subscribe\",\"channel\":\"topic:a\"}");
    assert_int_equal(set_count(&bench), 1);
    somebody(&bench, "bob", true);
    assert_false(has_heard(&bench, "bob"));  /* it did not ask */
    bench_close(&bench);
}

static void a_link_that_is_cut_is_there_a_little_longer(void **state)
{
    struct presence_bench bench;

    (void)state;
    bench_open(&bench, follows);
    session_worker_close_all(&bench.stage.worker);
    bench_turns(&bench);
    assert_int_equal(set_count(&bench), 1);
    presence_tick(&bench.presence, 3000, 0);
    assert_int_equal(set_count(&bench), 0);
    bench_close(&bench);
}

static void a_link_that_asks_is_told(void **state)
{
    struct presence_bench bench;

    (void)state;
    bench_open(&bench, watches);
    assert_true(has_heard(&bench, "{\"type\":\"presence\",\"channel\":\"topic:a\",\"count\":1}"));
    somebody(&bench, "bob", true);
    assert_true(has_heard(&bench, "{\"type\":\"join\",\"channel\":\"topic:a\",\"user\":\"bob\",\"device\":\"web\",\"count\":2}"));
    somebody(&bench, "bob", false);
    assert_true(has_heard(&bench, "{\"type\":\"leave\",\"channel\":\"topic:a\",\"user\":\"bob\",\"device\":\"web\",\"count\":1}"));
    bench_say(&bench, "{\"type\":\"unsubscribe\",\"channel\":\"topic:a\"}");
    buf_clear(&bench.heard);
    somebody(&bench, "bob", true);
    assert_false(has_heard(&bench, "bob"));
    bench_close(&bench);
}

/* It is answered `subscribed` a second time, with its place. */
static void a_link_asks_for_a_channel_that_it_follows(void **state)
{
    struct presence_bench bench;

    (void)state;
    bench_open(&bench, follows);
    bench_say(&bench, "{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"presence\":true,\"ref\":5}");
    assert_non_null(memmem(bench.heard.at, bench.heard.len, "\"after\":0,\"ref\":5}", 17));
    assert_true(has_heard(&bench, "{\"type\":\"presence\",\"channel\":\"topic:a\",\"count\":1}"));
    bench_say(&bench, "{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"presence\":true,\"ref\":6}");
    assert_true(has_heard(&bench, "\"code\":409"));
    bench_close(&bench);
}

/* Before `subscribed` is said, of a channel that has yet to answer and of one that is known here: both are answered. */
static void a_link_asks_for_a_channel_that_it_has_just_begun_to_follow(void **state)
{
    struct presence_bench bench;

    (void)state;
    bench_open(&bench, "GET /v1/ws " UPGRADE);
    for (int i = 0; i < 2; i++) {
        bench_send_text(&bench, "{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"ref\":4}");
        bench_say(&bench, "{\"type\":\"subscribe\",\"channel\":\"topic:a\",\"presence\":true,\"ref\":5}");
        const char *first = memmem(bench.heard.at, bench.heard.len, "\"head\":0,\"ref\":4}", 17);
        const char *again = memmem(bench.heard.at, bench.heard.len, "\"head\":0,\"ref\":5}", 17);
        assert_non_null(first);
        assert_true(again > first);
        assert_true(has_heard(&bench, "{\"type\":\"presence\",\"channel\":\"topic:a\",\"count\":1}"));
        bench_say(&bench, "{\"type\":\"unsubscribe\",\"channel\":\"topic:a\"}");
        buf_clear(&bench.heard);
    }
    bench_close(&bench);
}

/* The client reads nothing while thousands come and go: what waits for it has a bound, and then it is told the number. */
static void a_slow_client_is_told_the_number(void **state)
{
    struct presence_bench bench;
    struct presence_who   who = { SPAN("bob"), SPAN("web"), 1000, "sse" };

    (void)state;
    bench_open(&bench, watches);
    buf_clear(&bench.heard);
    for (unsigned i = 0; i < 5001; i++) {
        if (i % 2 == 0)
            presence_come(&bench.presence, bench.room, &who);
        else
            presence_go(&bench.presence, bench.room, &who, PRESENCE_END_NOW);
        presence_turn_end(&bench.presence);
        stage_turn(&bench.stage);
    }
    bench_turns(&bench);
    for (unsigned i = 0; i < 200; i++)
        bench_turn(&bench);
    assert_true(bench.heard.len < 2 * CLIENT_WORDS_BYTES_REST);
    session_worker_tick(&bench.stage.worker);
    buf_clear(&bench.heard);
    bench_turns(&bench);
    assert_true(has_heard(&bench, "{\"type\":\"presence\",\"channel\":\"topic:a\",\"count\":2}"));
    somebody(&bench, "bob", false);
    assert_true(has_heard(&bench, "\"count\":1}"));
    bench_close(&bench);
}

/* After the lease, and before the link is given up. */
static void a_silent_link_is_absent_until_it_is_heard(void **state)
{
    struct presence_bench bench;

    (void)state;
    bench_open(&bench, follows);
    bench.stage.worker.limits.presence_lease_ms = 60000;
    bench_say(&bench, "{\"type\":\"connect\",\"heartbeat\":120}");
    stage_pass(&bench.stage, 130000);
    bench_turns(&bench);
    assert_int_equal(set_count(&bench), 1);
    stage_pass(&bench.stage, 10100);
    bench_turns(&bench);
    assert_int_equal(set_count(&bench), 0);
    bench_say(&bench, "{\"type\":\"ping\"}");
    assert_int_equal(set_count(&bench), 1);
    bench_close(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_link_is_there_while_it_follows),
        cmocka_unit_test(a_link_that_is_cut_is_there_a_little_longer),
        cmocka_unit_test(a_link_that_asks_is_told),
        cmocka_unit_test(a_link_asks_for_a_channel_that_it_follows),
        cmocka_unit_test(a_link_asks_for_a_channel_that_it_has_just_begun_to_follow),
        cmocka_unit_test(a_slow_client_is_told_the_number),
        cmocka_unit_test(a_silent_link_is_absent_until_it_is_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
