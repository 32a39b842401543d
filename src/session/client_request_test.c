/* Requests of a client to back ends, from its frames to the uplink and back. The writer is simulated; the test stands where the uplink
 * is, and says what became of each request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "codec/ws/ws.h"
#include "message/control_message.h"
#include "node/request_command.h"
#include "session/link.h"
#include "session/session_battery.h"

#include "lib/held_identifier.h"
#include "lib/one_route.h"

#include <cmocka.h>

enum { ASKED_HERE = 16 };

/* One client, and what the uplink got. */
struct asker_stage {
    struct stage            stage;  /* the first member */
    struct one_route        route;
    struct sim_link        *far;
    struct buf              in, told;
    struct request_command *asked[ASKED_HERE];
    size_t                  asked_count;
};

static void take_request(struct stage *stage, struct command *command)
{
    struct asker_stage *all = container_of(stage, struct asker_stage, stage);

    must(command->kind == &request_kind && all->asked_count < ASKED_HERE);
    all->asked[all->asked_count++] = container_of(command, struct request_command, command);
}

static void tell_frames(struct asker_stage *all)
{
    const unsigned char *at;

    while (all->in.len >= 2) {
        at          = (const unsigned char *)all->in.at;
        size_t head = at[1] == 126 ? 4 : 2, len = head == 4 && all->in.len >= 4 ? (size_t)at[2] << 8 | at[3] : at[1];
        if (all->in.len < head + len)
            return;
        buf_putf(&all->told, "%.*s ", (int)len, (const char *)at + head);
        buf_drop(&all->in, head + len);
    }
}

static void play(struct asker_stage *all, int turns)
{
    while (turns-- > 0) {
        stage_turn(&all->stage);
        if (all->far != NULL)
            stage_read(all->far, &all->in);
        tell_frames(all);
    }
}

static void say(struct asker_stage *all, const char *text)
{
    struct buf frame;
    size_t     len = strlen(text);

    buf_init(&frame, 1024);
    must(len < 1000);
    buf_putc(&frame, (char)(0x80 | WS_TEXT));
    buf_putc(&frame, (char)(0x80 | (len < 126 ? len : 126)));
    if (len >= 126) {
        buf_putc(&frame, (char)(len >> 8));
        buf_putc(&frame, (char)len);
    }
    buf_put(&frame, span_of("\0\0\0\0", 4));  /* a mask that changes nothing */
    buf_put(&frame, span_str(text));
    sim_send(all->far, buf_span(&frame));
    buf_fini(&frame);
}

/* What the client was told since, frame by frame. */
static const char *told(struct asker_stage *all)
{
    static char text[4096];

    snprintf(text, sizeof text, "%.*s", (int)all->told.len, all->told.len == 0 ? "" : all->told.at);
    buf_clear(&all->told);
    return text;
}

static void asker_connect(struct asker_stage *all)
{
    all->far = stage_connect(&all->stage);
    sim_send(all->far, SPAN("GET /v1/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"));
    for (int i = 0; i < 4; i++)
        stage_turn(&all->stage);
    must(stage_read(all->far, &all->in));
    const char *end = memmem(all->in.at, all->in.len, "\r\n\r\n", 4);
    assert_non_null(end);
    buf_drop(&all->in, (size_t)(end + 4 - all->in.at));
    play(all, 1);
    buf_clear(&all->told);
}

static struct asker_stage *asker_new(struct span user, struct span device)
{
    struct asker_stage *all = calloc(1, sizeof *all);

    must(all != NULL);
    stage_init(&all->stage, 1);
    all->stage.other = take_request;
    one_route_init(&all->route, "app", "/orders/*", 10);
    all->stage.worker.routes = all->route.routes;
    identity_unref(all->stage.identifier->everyone);
    all->stage.identifier->everyone = identity_new(&(struct identity_facts){ .user = user, .device = device });
    buf_init(&all->in, 1 << 20);
    buf_init(&all->told, 1 << 20);
    asker_connect(all);
    return all;
}

static void hang_up(struct asker_stage *all)
{
    sim_link_free(all->far);
    all->far = NULL;
    play(all, 3);
}

static void asker_free(struct asker_stage *all)
{
    if (all->far != NULL)
        hang_up(all);
    assert_int_equal(all->asked_count, 0);
    stage_fini(&all->stage);
    one_route_fini(&all->route);
    buf_fini(&all->in);
    buf_fini(&all->told);
    free(all);
}

#define ASK(id) "{\"type\":\"request\",\"id\":\"" id "\",\"method\":\"GET\",\"path\":\"/orders/7\",\"ref\":1}"
#define SUBSCRIBED "{\"type\":\"subscribed\",\"channel\":\"device:ann/phone\",\"epoch\":\"0000000000000009\",\"head\":0} "

/* The uplink says so of the oldest one, in this turn. */
static void settle_now(struct asker_stage *all, enum request_outcome outcome, struct message *answer)
{
    must(all->asked_count > 0);
    struct request_command *request = all->asked[0];
    memmove(all->asked, all->asked + 1, --all->asked_count * sizeof all->asked[0]);
    request->outcome = outcome;
    if (answer != NULL)
        request->answer = message_ref(answer);
    shard_take(&all->stage.shard, &request->command);
    play(all, 2);
}

/* … and what is deferred leaves. */
static void settle(struct asker_stage *all, enum request_outcome outcome, struct message *answer)
{
    settle_now(all, outcome, answer);
    stage_pass(&all->stage, ACCEPTED_DEFERRED_MS);
    play(all, 1);
}

static uint64_t writes(const struct asker_stage *all)
{
    return counter_get(&all->stage.worker.counters.writes);
}

/* A client whose request with this id is with the uplink, and who was told what came before. */
static struct asker_stage *asker_of_one(struct stage_log **ret_log)
{
    struct asker_stage *all = asker_new(SPAN("ann"), SPAN("phone"));

    *ret_log         = stage_log(&all->stage, "device:ann/phone", 1, 1);
    (*ret_log)->time = all->stage.sim.loop.wall;
    say(all, ASK("r1"));
    play(all, 4);
    assert_int_equal(all->asked_count, 1);
    told(all);
    return all;
}

/* --- tests ------------------------------------------------------------------------------------------------------ */

static void a_request_goes_once_its_link_follows(void **state)
{
    (void)state;
    struct asker_stage *all = asker_new(SPAN("ann"), SPAN("phone"));

    all->stage.is_writer_stuck = true;  /* so that nobody says where the device's log is */
    say(all, ASK("r1"));
    play(all, 3);
    assert_int_equal(all->asked_count, 0);
    all->stage.is_writer_stuck = false;
    play(all, 4);
    assert_string_equal(told(all), SUBSCRIBED);
    assert_int_equal(all->asked_count, 1);
    const struct request_command *request = all->asked[0];
    assert_true(span_eq(request->user, SPAN("ann")) && span_eq(request->device, SPAN("phone")) && span_eq(request->id, SPAN("r1")));
    assert_true(span_eq(request->backend, SPAN("app")) && span_eq(request->target, SPAN("/orders/7")));
    assert_true(span_eq(channel_name_span(request->channel), SPAN("device:ann/phone")));
    settle(all, REQUEST_ACCEPTED, NULL);
    assert_string_equal(told(all), "{\"type\":\"accepted\",\"id\":\"r1\",\"ref\":1} ");
    say(all, ASK("r2"));  /* it follows already */
    play(all, 2);
    assert_int_equal(all->asked_count, 1);
    settle(all, REQUEST_ACCEPTED, NULL);
    assert_string_equal(told(all), "{\"type\":\"accepted\",\"id\":\"r2\",\"ref\":1} ");
    asker_free(all);
}

static void accept_at_once(struct stage *stage, struct command *command)
{
    container_of(command, struct request_command, command)->outcome = REQUEST_ACCEPTED;
    shard_take(&stage->shard, command);
}

static void the_place_is_told_before_the_answer(void **state)
{
    (void)state;
    struct asker_stage *all = asker_new(SPAN("ann"), SPAN("phone"));

    say(all, ASK("r1"));
    play(all, 4);
    settle(all, REQUEST_ACCEPTED, NULL);
    hang_up(all);
    asker_connect(all);  /* the channel is known here still: its place is, at once */
    all->stage.other           = accept_at_once;
    all->stage.is_writer_quick = true;
    say(all, ASK("r2"));
    play(all, 4);
    stage_pass(&all->stage, ACCEPTED_DEFERRED_MS);
    play(all, 1);
    assert_string_equal(told(all), SUBSCRIBED "{\"type\":\"accepted\",\"id\":\"r2\",\"ref\":1} ");
    asker_free(all);
}

/* Threat 36: a refusal names the id, and the link stays. */
static void each_refusal_names_its_request(void **state)
{
    (void)state;
    static const struct { enum request_outcome outcome; const char *code; } rows[] = {
        { REQUEST_CONFLICT, "422" }, { REQUEST_GONE, "410" }, { REQUEST_NO_SPACE, "507" }, { REQUEST_BUSY, "429" },
        { REQUEST_TOO_OFTEN, "429" }, { REQUEST_AWAY, "503" },
    };
    struct asker_stage *all = asker_new(SPAN("ann"), SPAN("phone"));

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char want[64];
        say(all, ASK("r1"));
        play(all, 4);
        told(all);
        settle(all, rows[i].outcome, NULL);
        snprintf(want, sizeof want, "{\"type\":\"error\",\"code\":%s,", rows[i].code);
        const char *frame = told(all);
        assert_int_equal(strncmp(frame, want, strlen(want)), 0);
        assert_non_null(strstr(frame, ",\"id\":\"r1\",\"ref\":1} "));
    }
    asker_free(all);
}

static void what_can_not_be_sent_is_refused_at_once(void **state)
{
    (void)state;
    static const struct { const char *frame, *answer; } rows[] = {
        { "{\"type\":\"request\",\"id\":\"a\",\"method\":\"GET\",\"path\":\"/other\"}", "\"code\":404" },
        { "{\"type\":\"request\",\"id\":\"a\",\"method\":\"GET\",\"path\":\"/orders/..\"}", "\"code\":400" },
        { "{\"type\":\"request\",\"id\":\"\",\"method\":\"GET\",\"path\":\"/orders/7\"}", "\"code\":400" },
        { "{\"type\":\"request\",\"id\":\"a\",\"method\":\"POST\",\"path\":\"/orders/7\",\"body\":\"more than ten\"}", "\"code\":413" },
        { "{\"type\":\"cancel\",\"id\":\"\"}", "\"code\":400" },
    };
    struct asker_stage *all = asker_new(SPAN("ann"), SPAN("phone"));

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        say(all, rows[i].frame);
        play(all, 3);
        assert_non_null(strstr(told(all), rows[i].answer));
        assert_int_equal(all->asked_count, 0);
    }
    asker_free(all);
}

static void a_replay_is_told_as_one(void **state)
{
    (void)state;
    struct asker_stage  *all = asker_new(SPAN("ann"), SPAN("phone"));
    struct channel_name *home;

    must(channel_name_new(&all->stage.spaces, all->stage.worker.hash_key, SPAN("device:ann/phone"), &home) == CHANNEL_NAME_OK);
    struct message *response = control_message_new(home, SPAN("response"), SPAN("{\"request\":\"r1\",\"status\":200,\"headers\":{}}"),
                                                   SPAN(""));
    say(all, ASK("r1"));
    play(all, 4);
    told(all);
    settle(all, REQUEST_REPLAYED, response);
    const char *frame = told(all);
    assert_non_null(strstr(frame, "\"type\":\"response\""));
    assert_non_null(strstr(frame, "\"replayed\":true"));
    assert_null(strstr(frame, "accepted"));
    message_unref(response);
    channel_name_unref(home);
    asker_free(all);
}

/* A cancel overtakes nothing: a request that still waits for its channel is sent on before. */
static void a_cancel_comes_behind_its_request(void **state)
{
    (void)state;
    struct asker_stage *all = asker_new(SPAN("ann"), SPAN("phone"));

    say(all, ASK("r1"));
    say(all, "{\"type\":\"cancel\",\"id\":\"r1\"}");
    play(all, 4);
    assert_int_equal(all->asked_count, 2);
    assert_int_equal(all->asked[0]->way, REQUEST_SEND);
    assert_int_equal(all->asked[1]->way, REQUEST_CANCEL);
    assert_true(span_eq(all->asked[1]->id, SPAN("r1")));
    told(all);
    settle(all, REQUEST_ACCEPTED, NULL);
    assert_non_null(strstr(told(all), "accepted"));
    settle(all, REQUEST_DROPPED, NULL);
    assert_string_equal(told(all), "");  /* a cancel is not answered */
    asker_free(all);
}

static void a_client_that_is_gone_is_told_nothing(void **state)
{
    (void)state;
    struct asker_stage *all = asker_new(SPAN("ann"), SPAN("phone"));

    say(all, ASK("r1"));
    play(all, 4);
    assert_int_equal(all->asked_count, 1);
    hang_up(all);
    settle(all, REQUEST_ACCEPTED, NULL);
    asker_free(all);

    all = asker_new(SPAN("ann"), SPAN("phone"));
    all->stage.is_writer_stuck = true;
    say(all, ASK("r1"));
    play(all, 3);
    hang_up(all);
    all->stage.is_writer_stuck = false;
    play(all, 3);
    assert_int_equal(all->asked_count, 0);  /* it waited for its channel still */
    asker_free(all);
}

static void without_a_device_the_connection_is_the_place(void **state)
{
    (void)state;
    struct asker_stage *all = asker_new(SPAN("ann"), SPAN(""));

    say(all, ASK("r1"));
    play(all, 4);
    assert_int_equal(all->asked_count, 1);
    assert_true(span_eq(channel_name_span(all->asked[0]->channel), SPAN("conn:0000000000000001")));
    assert_int_equal(all->asked[0]->device.len, 0);
    assert_string_equal(told(all), "");
    settle(all, REQUEST_ACCEPTED, NULL);
    asker_free(all);
}

/* --- `accepted` waits for the response (deferred.h) --- */

#define ACCEPTED(id) "{\"type\":\"accepted\",\"id\":\"" id "\",\"ref\":1} "

static void accepted_leaves_in_one_write_with_the_response(void **state)
{
    struct stage_log *log;

    (void)state;
    struct asker_stage *all    = asker_of_one(&log);
    uint64_t            before = writes(all);
    settle_now(all, REQUEST_ACCEPTED, NULL);
    stage_pass(&all->stage, ACCEPTED_DEFERRED_MS - 1);
    play(all, 1);
    assert_string_equal(told(all), "");
    assert_int_equal(session_worker_wake_at(&all->stage.worker), all->stage.sim.loop.now + 1);
    stage_publish(&all->stage, log);
    play(all, 3);
    const char *frames = told(all);
    assert_int_equal(strncmp(frames, ACCEPTED("r1"), strlen(ACCEPTED("r1"))), 0);
    assert_non_null(strstr(frames, "\"seq\":2"));
    assert_int_equal(writes(all), before + 1);
    assert_int_equal(session_worker_wake_at(&all->stage.worker), 0);
    asker_free(all);
}

/* The time runs from the first, whatever comes behind it or marks the link. */
static void accepted_waits_no_longer_than_its_time(void **state)
{
    struct stage_log *log;

    (void)state;
    struct asker_stage *all = asker_of_one(&log);
    uint64_t before = writes(all);
    settle_now(all, REQUEST_ACCEPTED, NULL);
    stage_pass(&all->stage, ACCEPTED_DEFERRED_MS - 1);
    say(all, ASK("r2"));
    play(all, 2);
    settle_now(all, REQUEST_ACCEPTED, NULL);
    struct link *link = container_of(near_list_next(&all->stage.worker.lists->links), struct link, in_worker);
    link_look_again(link);
    play(all, 1);
    assert_string_equal(told(all), "");
    assert_int_equal(link_waiting_bytes(link), 0);  /* it waits for no room of the stream */
    stage_pass(&all->stage, 1);
    play(all, 1);
    assert_string_equal(told(all), ACCEPTED("r1") ACCEPTED("r2"));
    assert_int_equal(writes(all), before + 1);
    assert_int_equal(session_worker_wake_at(&all->stage.worker), 0);
    asker_free(all);
}

/* Whatever else is said to the client takes `accepted` along, in the order in which both were written. */
static void what_else_is_said_takes_accepted_along(void **state)
{
    struct stage_log *log;

    (void)state;
    struct asker_stage *all    = asker_of_one(&log);
    uint64_t            before = writes(all);
    settle_now(all, REQUEST_ACCEPTED, NULL);
    say(all, "{\"type\":\"ping\",\"ref\":2}");
    play(all, 2);
    assert_string_equal(told(all), ACCEPTED("r1") "{\"type\":\"pong\",\"ref\":2} ");
    assert_int_equal(writes(all), before + 1);

    say(all, ASK("r2"));
    play(all, 2);
    settle_now(all, REQUEST_ACCEPTED, NULL);
    say(all, ASK("r3"));
    play(all, 2);
    settle_now(all, REQUEST_BUSY, NULL);
    const char *frames = told(all);
    assert_int_equal(strncmp(frames, ACCEPTED("r2") "{\"type\":\"error\"", strlen(ACCEPTED("r2") "{\"type\":\"error\"")), 0);
    assert_int_equal(session_worker_wake_at(&all->stage.worker), 0);
    asker_free(all);
}

/* The first waits, so that the time of the second, on another link, ends later. */
static void each_link_waits_for_its_own_time(void **state)
{
    struct stage_log *log;

    (void)state;
    struct asker_stage *all   = asker_of_one(&log);
    struct sim_link    *first = all->far;
    settle_now(all, REQUEST_ACCEPTED, NULL);
    msec until = session_worker_wake_at(&all->stage.worker);
    all->far   = NULL;
    asker_connect(all);
    say(all, ASK("r2"));
    play(all, 4);
    told(all);
    stage_pass(&all->stage, 2);
    settle_now(all, REQUEST_ACCEPTED, NULL);
    assert_int_equal(session_worker_wake_at(&all->stage.worker), until);
    sim_link_free(first);
    play(all, 3);
    assert_int_equal(session_worker_wake_at(&all->stage.worker), until + 2);
    assert_string_equal(told(all), "");
    stage_pass(&all->stage, ACCEPTED_DEFERRED_MS);
    play(all, 1);
    assert_string_equal(told(all), ACCEPTED("r2"));
    asker_free(all);
}

static void a_server_that_stops_says_accepted_first(void **state)
{
    struct stage_log *log;

    (void)state;
    struct asker_stage *all = asker_of_one(&log);
    settle_now(all, REQUEST_ACCEPTED, NULL);
    session_worker_stop(&all->stage.worker);
    play(all, 1);
    assert_int_equal(strncmp(told(all), ACCEPTED("r1") "{\"type\":\"reconnect\"", strlen(ACCEPTED("r1") "{\"type\":\"reconnect\"")), 0);
    asker_free(all);
}

static void many_words_do_not_wait(void **state)
{
    struct stage_log *log;
    char              text[256];
    size_t            count = 0;

    (void)state;
    struct asker_stage *all    = asker_of_one(&log);
    uint64_t            before = writes(all);
    memset(text, 'x', sizeof text);
    settle_now(all, REQUEST_ACCEPTED, NULL);
    while (writes(all) == before) {
        char ask[512];
        snprintf(ask, sizeof ask, "{\"type\":\"request\",\"id\":\"%.100s\",\"method\":\"GET\",\"path\":\"/orders/7\"}", text);
        say(all, ask);
        play(all, 2);
        settle_now(all, REQUEST_ACCEPTED, NULL);
        must(++count < DEFERRED_WORDS_BYTES_MAX / 100);
    }
    assert_in_range(count, DEFERRED_WORDS_BYTES_MAX / 150, DEFERRED_WORDS_BYTES_MAX / 120);
    assert_int_equal(session_worker_wake_at(&all->stage.worker), 0);
    asker_free(all);
}

/* As a link that another process had: the channel has yet to answer in this one, and the client was told its place before. */
static void a_place_that_was_told_before_is_not_waited_for(void **state)
{
    (void)state;
    struct asker_stage *all  = asker_new(SPAN("ann"), SPAN("phone"));
    struct link        *link = container_of(near_list_next(&all->stage.worker.lists->links), struct link, in_worker);

    all->stage.is_writer_stuck = true;
    say(all, "{\"type\":\"subscribe\",\"channel\":\"device:ann/phone\",\"after\":7,\"epoch\":\"0000000000000009\"}");
    play(all, 2);
    reader_note_told_before(link_reader(link), reader_find(link_reader(link), SPAN("device:ann/phone")));
    say(all, "{\"type\":\"subscribe\",\"channel\":\"device:ann/phone\",\"mode\":\"notify\",\"ref\":2}");
    play(all, 2);
    assert_string_equal(told(all), "{\"type\":\"subscribed\",\"channel\":\"device:ann/phone\",\"epoch\":\"0000000000000009\",\"head\":7,\"ref\":2} ");
    say(all, ASK("r1"));
    play(all, 2);
    all->stage.is_writer_stuck = false;
    stage_turn(&all->stage);
    assert_int_equal(all->asked_count, 1);
    settle(all, REQUEST_ACCEPTED, NULL);
    asker_free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_goes_once_its_link_follows),
        cmocka_unit_test(the_place_is_told_before_the_answer),
        cmocka_unit_test(each_refusal_names_its_request),
        cmocka_unit_test(what_can_not_be_sent_is_refused_at_once),
        cmocka_unit_test(a_replay_is_told_as_one),
        cmocka_unit_test(a_cancel_comes_behind_its_request),
        cmocka_unit_test(a_client_that_is_gone_is_told_nothing),
        cmocka_unit_test(without_a_device_the_connection_is_the_place),
        cmocka_unit_test(accepted_leaves_in_one_write_with_the_response),
        cmocka_unit_test(accepted_waits_no_longer_than_its_time),
        cmocka_unit_test(what_else_is_said_takes_accepted_along),
        cmocka_unit_test(each_link_waits_for_its_own_time),
        cmocka_unit_test(a_server_that_stops_says_accepted_first),
        cmocka_unit_test(many_words_do_not_wait),
        cmocka_unit_test(a_place_that_was_told_before_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
