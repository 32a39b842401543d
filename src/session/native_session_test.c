/* A native client's talk, to the frame. The writer is simulated, and so are loop and links. Threats 97, 99, 100. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/must.h"
#include "codec/bin/bin_alias.h"
#include "device/membership.h"
#include "session/native_session.h"
#include "session/client.h"
#include "session/session_battery.h"

#include "lib/bin_transcript.h"
#include "lib/held_identifier.h"

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* One client: what it has been sent, as objects of JSON with blanks between them; messages by alias are made whole. */
struct native_client {
    struct sim_link   *far;
    struct buf         in, told;
    struct bin_aliases aliases;
    bool               is_open;
    bool               has_fault;  /* the server sent what can't be */
    uint64_t           last_seq;   /* of the messages that came */
    uint64_t           skips;      /* messages that did not follow the one before */
};

static void native_client_start(struct native_client *client, struct stage *stage, const struct sim_wire *wire)
{
    struct stream *stream;

    *client = (struct native_client){ .is_open = true };
    buf_init(&client->in, 1 << 24);
    buf_init(&client->told, 1 << 24);
    bin_aliases_init(&client->aliases);
    client->far = wire == NULL ? stage_stream(stage, &stream) : sim_link_new(&stage->sim, wire, &stream);
    session_accept_native(&stage->worker, stream);
}

static void native_client_end(struct native_client *client)
{
    sim_link_free(client->far);
    buf_fini(&client->in);
    buf_fini(&client->told);
    bin_aliases_fini(&client->aliases);
}

static bool is_message_frame(const struct bin_frame *frame)
{
    return frame->type == BIN_FULL;
}

static void native_client_tell(struct native_client *client, struct span bytes)
{
    struct bin_frame frame;
    const char      *reason;

    if (bin_read(bytes, BIN_SERVER, &frame, &reason) != BIN_OK || !bin_aliases_take(&client->aliases, &frame)) {
        client->has_fault = true;
        return;
    }
    if (frame.type == BIN_ALIAS)
        return;
    if (is_message_frame(&frame)) {
        client->skips += bin_number(&frame, BIN_SEQ) != client->last_seq + 1;
        client->last_seq = bin_number(&frame, BIN_SEQ);
        frame.payload    = span_head(frame.payload, 3);
    }
    bin_transcript_frame(&client->told, BIN_SERVER, &frame);
    buf_putc(&client->told, ' ');
}

static void native_client_read(struct native_client *client)
{
    struct span      frame;
    struct bin_fault fault;
    size_t           used;

    client->is_open = stage_read(client->far, &client->in);
    while (bin_split(buf_span(&client->in), 1 << 24, &frame, &used, &fault) == BIN_SPLIT_FRAME) {
        native_client_tell(client, frame);
        buf_drop(&client->in, used);
    }
}

static void turns(struct stage *stage, struct native_client *client, int count)
{
    while (count-- > 0) {
        stage_turn(stage);
        native_client_read(client);
    }
}

static const char *told(struct native_client *client)
{
    buf_putc(&client->told, '\0');
    client->told.len--;
    return client->told.at;
}

/* A frame of a client, of these fields: a number or a text each. */
static void put(struct buf *wire, enum bin_type type, const char *channel, const char *payload, enum bin_field field,
                uint64_t number)
{
    struct bin_frame frame;

    bin_init(&frame, type);
    bin_set_bytes(&frame, BIN_CHANNEL, span_str(channel));
    frame.payload = span_str(payload);
    if (field != 0)
        bin_set_number(&frame, field, number);
    bin_put(wire, BIN_CLIENT, &frame);
}

static void send_wire(struct native_client *client, struct buf *wire)
{
    sim_send(client->far, buf_span(wire));
    buf_clear(wire);
}

static void put_connect(struct buf *wire, const char *token)
{
    struct bin_frame frame;

    bin_init(&frame, BIN_CONNECT);
    bin_set_bytes(&frame, BIN_TOKEN, span_str(token));
    bin_put(wire, BIN_CLIENT, &frame);
}

#define CONNECTED                                                                                                     \
    "{\"type\":\"connected\",\"connection\":\"0000000000000001\",\"heartbeat\":25,"   \
    "\"base_ms\":1000,\"factor\":200,\"cap_ms\":60000,\"jitter\":500,"  \
    "\"frame_max\":1048576,\"version\":1} "

/* --- talk --- */

static void a_client_follows_publishes_and_asks(void **state)
{
    (void)state;
    struct stage         stage;
    struct native_client client;
    struct buf           wire;

    stage_init(&stage, 1);
    stage_log(&stage, "topic:a", 1, 2);
    buf_init(&wire, 1 << 16);
    native_client_start(&client, &stage, NULL);
    put_connect(&wire, "");
    put(&wire, BIN_SUBSCRIBE, "topic:a", "", BIN_AFTER, 0);
    put(&wire, BIN_PING, "", "", BIN_REF, 5);
    put(&wire, BIN_SUBSCRIBE, "topic:a", "", BIN_REF, 6);
    put(&wire, BIN_UNSUBSCRIBE, "topic:b", "", 0, 0);
    put(&wire, BIN_ACK, "topic:a", "", BIN_REF, 7);
    send_wire(&client, &wire);
    turns(&stage, &client, 6);
    assert_string_equal(told(&client), CONNECTED
        "{\"type\":\"pong\",\"ref\":5} "
        "{\"type\":\"error\",\"ref\":6,\"code\":409,\"reason\":\"this connection follows that channel already\"} "
        "{\"type\":\"error\",\"code\":404,\"reason\":\"this connection does not follow that channel\"} "
        "{\"type\":\"error\",\"ref\":7,\"code\":400,\"reason\":\"ack takes channel and seq, perhaps epoch, and ref\"} "
        "{\"type\":\"subscribed\",\"channel\":\"topic:a\",\"epoch\":\"0000000000000009\",\"head\":2} "
        "{\"type\":\"full\",\"channel\":\"topic:a\",\"epoch\":\"0000000000000009\",\"seq\":1,\"id\":1,\"time\":1,"
        "\"media\":\"text/plain\",\"payload\":\"1 b\"} "
        "{\"type\":\"full\",\"channel\":\"topic:a\",\"epoch\":\"0000000000000009\",\"seq\":2,\"id\":2,\"time\":1,"
        "\"media\":\"text/plain\",\"payload\":\"2 c\"} ");
    native_client_end(&client);
    buf_fini(&wire);
    stage_fini(&stage);
}

static void put_dialogue(struct buf *wire)
{
    put_connect(wire, "reader's");
    put(wire, BIN_SUBSCRIBE, "topic:a", "", BIN_AFTER, 0);
    put(wire, BIN_PUBLISH, "topic:b", "hello", BIN_REF, 3);
    put(wire, BIN_PING, "", "", 0, 0);
    put(wire, BIN_UNSUBSCRIBE, "topic:a", "", BIN_REF, 4);
    put(wire, BIN_CURSOR, "", "", BIN_REF, 5);
}

/* The law of codecs for the whole session: no cut of what a client sends changes what it is told. */
static void no_cut_changes_the_talk(void **state)
{
    (void)state;
    struct buf wire, whole;

    buf_init(&wire, 1 << 16);
    buf_init(&whole, 1 << 16);
    put_dialogue(&wire);
    for (size_t cut = 0; cut < wire.len; cut++) {
        struct stage         stage;
        struct native_client client;
        stage_init(&stage, 1);
        native_client_start(&client, &stage, NULL);
        sim_send(client.far, span_head(buf_span(&wire), cut));
        stage_turn(&stage);
        sim_send(client.far, span_skip(buf_span(&wire), cut));
        turns(&stage, &client, 8);
        if (cut == 0)
            buf_put(&whole, buf_span(&client.told));
        else if (!span_eq(buf_span(&whole), buf_span(&client.told)) && true)
            fail_msg("cut at %zu: %s instead of %.*s", cut, told(&client), SPAN_ARG(buf_span(&whole)));
        assert_false(client.has_fault);
        assert_true(client.is_open);
        assert_true(stage.worker.gathered_bytes == 0);
        native_client_end(&client);
        stage_fini(&stage);
    }
    buf_fini(&whole);
    buf_fini(&wire);
}

/* Threat 74. Short frames, each answered by many times of its bytes, from a client that reads nothing. */
static void short_frames_sent_without_reading_do_not_heap_up(void **state)
{
    (void)state;
    enum { FRAMES = 4000, ANSWERS_MAX = CLIENT_WORDS_BYTES_REST + 4096 };
    static const char wrong[] = "\"code\":404", pong[] = "{\"type\":\"pong\",\"ref\":7}";
    struct stage         stage;
    struct native_client client;
    struct buf           wire;
    unsigned             count = 0;

    buf_init(&wire, 1 << 20);
    stage_init(&stage, 1);
    native_client_start(&client, &stage, NULL);
    put_connect(&wire, "");
    for (int i = 0; i < FRAMES; i++)
        put(&wire, BIN_UNSUBSCRIBE, "topic:b", "", 0, 0);
    put(&wire, BIN_PING, "", "", BIN_REF, 7);
    send_wire(&client, &wire);
    for (int i = 0; i < 10; i++)
        stage_turn(&stage);
    const struct link *link = container_of(near_list_next(&stage.worker.lists->links), struct link, in_worker);
    assert_in_range(link_waiting_bytes(link), CLIENT_WORDS_BYTES_REST / 2, ANSWERS_MAX);
    assert_in_range(stage.worker.gathered_bytes, 1, LOOP_INPUT_BYTES);
    for (int round = 0; strstr(told(&client), pong) == NULL; round++) {
        assert_true(round < 100 && client.is_open);
        turns(&stage, &client, 20);
        assert_true(link_waiting_bytes(link) <= ANSWERS_MAX);
    }
    for (const char *at = told(&client); (at = strstr(at, wrong)) != NULL; at++)
        count++;
    assert_int_equal(count, FRAMES);
    assert_int_equal(stage.worker.gathered_bytes, 0);
    native_client_end(&client);
    buf_fini(&wire);
    stage_fini(&stage);
}

/* --- threat 97 --- */

static bool is_closing(const struct native_client *client)
{
    return client->told.len > 0 && memmem(client->told.at, client->told.len, "\"closing\"", 9) != NULL;
}

static void every_prefix_ends_with_a_reason_or_a_whole_frame(void **state)
{
    (void)state;
    struct buf wire;

    buf_init(&wire, 1 << 16);
    put_dialogue(&wire);
    for (size_t len = 0; len <= wire.len; len++) {
        struct stage         stage;
        struct native_client client;
        struct span          rest = span_head(buf_span(&wire), len), frame;
        struct bin_fault     fault;
        size_t               used, frames = 0;
        stage_init(&stage, 1);
        native_client_start(&client, &stage, NULL);
        sim_send(client.far, rest);
        sim_send_end(client.far);
        turns(&stage, &client, 4);
        for (; bin_split(rest, 1 << 20, &frame, &used, &fault) == BIN_SPLIT_FRAME; frames++)
            rest = span_skip(rest, used);
        assert_false(client.is_open);
        assert_int_equal(is_closing(&client), rest.len > 0 || frames == 0);
        assert_true(near_list_is_empty(&stage.worker.lists->links) && stage.worker.gathered_bytes == 0);
        native_client_end(&client);
        stage_fini(&stage);
    }
    buf_fini(&wire);
}

/* A flipped bit is an error, a close with its reason, another meaning, or a frame that waits for its end. */
static void every_flipped_bit_is_borne(void **state)
{
    (void)state;
    struct buf wire;

    buf_init(&wire, 1 << 16);
    put_dialogue(&wire);
    for (size_t bit = 0; bit < wire.len * 8; bit++) {
        struct stage         stage;
        struct native_client client;
        stage_init(&stage, 1);
        native_client_start(&client, &stage, NULL);
        wire.at[bit / 8] = (char)(wire.at[bit / 8] ^ 1 << bit % 8);
        sim_send(client.far, buf_span(&wire));
        wire.at[bit / 8] = (char)(wire.at[bit / 8] ^ 1 << bit % 8);
        turns(&stage, &client, 6);
        assert_false(client.has_fault);
        if (!client.is_open && !is_closing(&client))
            fail_msg("bit %zu: closed without a reason: %s", bit, told(&client));
        native_client_end(&client);
        stage_turn(&stage);
        stage_turn(&stage);
        assert_true(near_list_is_empty(&stage.worker.lists->links) && stage.worker.gathered_bytes == 0);
        stage_fini(&stage);
    }
    buf_fini(&wire);
}

/* --- threats 99 and 100 --- */

static void strangers_are_told_at_once(void **state)
{
    (void)state;
    static const struct span rows[] = {
        SPAN("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), SPAN("\x16\x03\x01\x02\x00\x01\x00"), SPAN("\x10\x0c\0\4MQTT\4\2"),
        SPAN("\x01\x08"), SPAN("\0"), SPAN("\xff\xff\xff\xff\xff"), SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct stage         stage;
        struct native_client client;
        stage_init(&stage, 1);
        native_client_start(&client, &stage, NULL);
        sim_send(client.far, rows[i]);
        turns(&stage, &client, 3);
        if (!is_closing(&client) || client.is_open)
            fail_msg("row %zu: %s", i, told(&client));
        native_client_end(&client);
        stage_fini(&stage);
    }
}

static void a_link_without_a_connect_is_closed_by_the_time_limit(void **state)
{
    (void)state;
    struct stage         stage;
    struct native_client client;

    stage_init(&stage, 1);
    native_client_start(&client, &stage, NULL);
    sim_send(client.far, SPAN("\x0b\x01L"));
    stage_pass(&stage, 9900);
    turns(&stage, &client, 2);
    assert_true(client.is_open && !is_closing(&client));
    stage_pass(&stage, 200);
    turns(&stage, &client, 2);
    assert_string_equal(told(&client), "{\"type\":\"closing\",\"code\":1008,\"reason\":\"no connect came in time "
                                       "(head_timeout_s)\"} ");
    assert_false(client.is_open);
    stage_pass(&stage, 5100);
    assert_true(near_list_is_empty(&stage.worker.lists->links));
    native_client_end(&client);
    stage_fini(&stage);
}

/* --- who it is --- */

static void an_unknown_token_ends_the_link(void **state)
{
    (void)state;
    struct stage         stage;
    struct native_client client;
    struct buf           wire;

    stage_init(&stage, 1);
    buf_init(&wire, 1 << 16);
    native_client_start(&client, &stage, NULL);
    put_connect(&wire, "nobody's");
    put(&wire, BIN_PING, "", "", 0, 0);
    send_wire(&client, &wire);
    turns(&stage, &client, 3);
    assert_non_null(strstr(told(&client), "{\"type\":\"error\",\"code\":401,"));
    assert_non_null(strstr(told(&client), "{\"type\":\"closing\",\"code\":1008,"));
    assert_null(strstr(told(&client), "pong"));
    native_client_end(&client);
    buf_fini(&wire);
    stage_fini(&stage);
}

static void what_comes_behind_a_slow_connect_waits(void **state)
{
    (void)state;
    struct stage         stage;
    struct native_client client;
    struct buf           wire;

    stage_init(&stage, 1);
    buf_init(&wire, 1 << 16);
    stage.identifier->is_slow = true;
    native_client_start(&client, &stage, NULL);
    put_connect(&wire, "reader's");
    put(&wire, BIN_PING, "", "", BIN_REF, 1);
    put(&wire, BIN_PING, "", "", BIN_REF, 2);
    sim_send(client.far, span_head(buf_span(&wire), wire.len - 2));
    turns(&stage, &client, 2);
    sim_send(client.far, span_skip(buf_span(&wire), wire.len - 2));
    turns(&stage, &client, 2);
    assert_string_equal(told(&client), "");
    held_answer(stage.identifier);
    turns(&stage, &client, 3);
    assert_string_equal(told(&client), CONNECTED "{\"type\":\"pong\",\"ref\":1} {\"type\":\"pong\",\"ref\":2} ");
    native_client_end(&client);
    buf_fini(&wire);
    stage_fini(&stage);
}

/* --- sessions --- */

static size_t opening_count;

static void refuse_opening(struct stage *stage, struct command *command)
{
    must(strcmp(command->kind->name, "session_open") == 0);
    container_of(command, struct session_open, command)->outcome = OPEN_AWAY;
    opening_count++;
    shard_take(&stage->shard, command);
}

static void put_connect_with_session(struct buf *wire)
{
    struct bin_frame frame;

    bin_init(&frame, BIN_CONNECT);
    bin_set_bytes(&frame, BIN_TOKEN, SPAN("reader's"));
    bin_set_bytes(&frame, BIN_DEVICE, SPAN("phone"));
    bin_set_number(&frame, BIN_STANDING, 1);
    bin_put(wire, BIN_CLIENT, &frame);
}

enum leaving { STAYS, IS_RESET, HANGS_UP };

/* How many openings are asked for by a client that leaves so, before the server has read its `connect`, or before it knows
 * who the client is. */
static size_t openings_of(enum leaving leaving, bool is_slow)
{
    struct stage         stage;
    struct native_client client;
    struct buf           wire;

    stage_init(&stage, 1);
    stage.other               = refuse_opening;
    stage.identifier->is_slow = is_slow;
    identity_unref(stage.identifier->reader);
    stage.identifier->reader = identity_new(&(struct identity_facts){ .user = SPAN("ann"), .rights = RIGHT_SUBSCRIBE });
    opening_count            = 0;
    buf_init(&wire, 1 << 16);
    native_client_start(&client, &stage, NULL);
    put_connect_with_session(&wire);
    send_wire(&client, &wire);
    if (is_slow)
        stage_turn(&stage);
    if (leaving == IS_RESET)
        sim_reset(client.far);
    else if (leaving == HANGS_UP)
        sim_send_end(client.far);
    stage_turn(&stage);
    if (stage.identifier->held_count > 0)
        held_answer(stage.identifier);
    turns(&stage, &client, 4);
    native_client_end(&client);
    buf_fini(&wire);
    stage_fini(&stage);
    return opening_count;
}

/* It may have come again since, by a link that has the session now. */
static void who_has_left_opens_no_session(void **state)
{
    (void)state;
    assert_int_equal(openings_of(STAYS, false), 1);
    assert_int_equal(openings_of(IS_RESET, false), 0);
    assert_int_equal(openings_of(HANGS_UP, false), 0);
    assert_int_equal(openings_of(STAYS, true), 1);
    assert_int_equal(openings_of(IS_RESET, true), 0);
    assert_int_equal(openings_of(HANGS_UP, true), 0);
}

static msec asked_at;

static void call_opening_late(struct stage *stage, struct command *command)
{
    struct session_open *open = container_of(command, struct session_open, command);

    must(strcmp(command->kind->name, "session_open") == 0);
    asked_at      = open->asked_at;
    open->outcome = OPEN_STALE;
    shard_take(&stage->shard, command);
}

/* An opening counts from when its `connect` came, however long it takes to find out who the client is. One that a newer link
 * has overtaken ends as if it had been replaced. */
static void an_opening_that_was_overtaken_ends_its_link(void **state)
{
    (void)state;
    struct stage         stage;
    struct native_client client;
    struct buf           wire;

    stage_init(&stage, 1);
    stage.other               = call_opening_late;
    stage.identifier->is_slow = true;
    identity_unref(stage.identifier->reader);
    stage.identifier->reader = identity_new(&(struct identity_facts){ .user = SPAN("ann"), .rights = RIGHT_SUBSCRIBE });
    buf_init(&wire, 1 << 16);
    native_client_start(&client, &stage, NULL);
    put_connect_with_session(&wire);
    send_wire(&client, &wire);
    stage_turn(&stage);
    msec came_at = stage.sim.loop.now;
    stage_pass(&stage, 3000);
    held_answer(stage.identifier);
    turns(&stage, &client, 4);
    assert_int_equal(asked_at, came_at);
    assert_non_null(strstr(told(&client), "{\"type\":\"replaced\""));
    assert_non_null(strstr(told(&client), "{\"type\":\"closing\",\"code\":4001,"));
    native_client_end(&client);
    buf_fini(&wire);
    stage_fini(&stage);
}

/* --- tickets while the store is away --- */

static struct command *held_question;
static unsigned        abandoned_count;

static void hold_opening(struct stage *stage, struct command *command)
{
    (void)stage;
    if (strcmp(command->kind->name, "session_abandon") == 0) {
        abandoned_count++;
        command_free(command);
        return;
    }
    must(strcmp(command->kind->name, "session_open") == 0 && held_question == NULL);
    held_question = command;
}

static void answer_opening(struct stage *stage, enum open_outcome outcome)
{
    struct command *command = held_question;

    must(command != NULL);
    held_question = NULL;
    container_of(command, struct session_open, command)->outcome = outcome;
    shard_take(&stage->shard, command);
}

static void put_connect_with_ticket(struct buf *wire, const struct stage *stage)
{
    const struct ticket ticket = { .generation = 1, .since = 1, .ends_s = UINT32_MAX, .user = SPAN("ann"), .device = SPAN("phone") };
    struct bin_frame    frame;
    struct buf          text;

    buf_init(&text, TICKET_TEXT_BYTES_MAX);
    ticket_put(&text, &ticket, &stage->worker.ticket_key);
    bin_init(&frame, BIN_CONNECT);
    bin_set_bytes(&frame, BIN_TICKET, buf_span(&text));
    bin_put(wire, BIN_CLIENT, &frame);
    buf_fini(&text);
}

/* A client that was let in by its ticket, and whose link ends while its session is being opened once more. The answer comes before the
 * client has closed, or behind that. */
static void unfenced_link_ends(enum open_outcome outcome, bool is_closed_first)
{
    struct stage         stage;
    struct native_client client;
    struct buf           wire;

    stage_init(&stage, 1);
    stage.other                 = hold_opening;
    abandoned_count             = 0;
    stage.shard.engines.durable = "postgres";
    ticket_key_init(&stage.worker.ticket_key, SPAN("a secret of thirty-two bytes ...."));
    buf_init(&wire, 1 << 16);
    native_client_start(&client, &stage, NULL);
    put_connect_with_ticket(&wire, &stage);
    send_wire(&client, &wire);
    turns(&stage, &client, 3);
    answer_opening(&stage, OPEN_AWAY);
    turns(&stage, &client, 2);
    assert_non_null(strstr(told(&client), "{\"type\":\"connected\""));
    must(held_question == NULL);
    session_worker_tick(&stage.worker);  /* tries again */
    stage_turn(&stage);
    struct link *link = container_of(near_list_next(&stage.worker.lists->links), struct link, in_worker);
    link->kind->leave(link);
    turns(&stage, &client, 2);
    if (!is_closed_first)
        answer_opening(&stage, outcome);
    sim_send_end(client.far);
    turns(&stage, &client, 2);
    assert_int_equal(abandoned_count, is_closed_first);
    if (is_closed_first)
        answer_opening(&stage, outcome);
    assert_true(session_worker_is_idle(&stage.worker));
    native_client_end(&client);
    buf_fini(&wire);
    stage_fini(&stage);
}

static void an_unfenced_link_may_end_while_its_session_is_opened(void **state)
{
    (void)state;
    for (int is_closed_first = 0; is_closed_first < 2; is_closed_first++) {
        unfenced_link_ends(OPEN_AWAY, is_closed_first);
        unfenced_link_ends(OPEN_STALE, is_closed_first);
    }
}

/* --- members --- */

static void hold_question(struct stage *stage, struct command *command)
{
    (void)stage;
    must(strcmp(command->kind->name, "membership") == 0 && held_question == NULL);
    held_question = command;
}

/* The answer may be older than a leave, so it is asked once more; but not for a client whose token counts for nothing by now. */
static void who_is_not_known_any_more_is_not_asked_for_again(void **state)
{
    (void)state;
    struct stage         stage;
    struct native_client client;
    struct buf           wire;
    struct authority    *authority   = authority_new(NULL);
    struct memberships   memberships = { .devices = NULL };

    stage_init(&stage, 1);
    stage.other              = hold_question;
    stage.worker.memberships = &memberships;
    identity_unref(stage.identifier->reader);
    stage.identifier->reader = identity_new(&(struct identity_facts){ .user = SPAN("ann"), .authority = authority });
    buf_init(&wire, 1 << 16);
    native_client_start(&client, &stage, NULL);
    put_connect(&wire, "reader's");
    put(&wire, BIN_SUBSCRIBE, "group:a", "", BIN_REF, 1);
    send_wire(&client, &wire);
    turns(&stage, &client, 3);
    struct membership_command *question = container_of(held_question, struct membership_command, command);
    must(held_question != NULL);
    held_question        = NULL;
    question->outcome   = MEMBERSHIP_DONE;
    question->is_member = true;
    leave_counts_note(&stage.worker.leaves, question->user, question->group);
    authority_revoke(authority);
    shard_take(&stage.shard, &question->command);
    turns(&stage, &client, 2);
    assert_null(held_question);
    assert_non_null(strstr(told(&client), "{\"type\":\"closing\",\"code\":1008,"));
    native_client_end(&client);
    buf_fini(&wire);
    stage_fini(&stage);
}

/* --- silence, floods, the end --- */

static void connect(struct stage *stage, struct native_client *client, const struct sim_wire *wire, const char *channel)
{
    struct buf bytes;

    buf_init(&bytes, 1 << 16);
    native_client_start(client, stage, wire);
    put_connect(&bytes, "");
    put(&bytes, BIN_SUBSCRIBE, channel, "", BIN_AFTER, 0);
    send_wire(client, &bytes);
    turns(stage, client, 4);
    buf_fini(&bytes);
}

static void a_silent_client_is_asked_with_two_bytes_and_given_up(void **state)
{
    (void)state;
    struct stage         stage;
    struct native_client client;

    stage_init(&stage, 1);
    connect(&stage, &client, NULL, "topic:a");
    buf_clear(&client.told);
    stage_pass(&stage, 25100);
    turns(&stage, &client, 1);
    assert_string_equal(told(&client), "{\"type\":\"ping\"} ");
    sim_send(client.far, SPAN("\x01\x09"));
    turns(&stage, &client, 2);
    stage_pass(&stage, 10100);
    turns(&stage, &client, 1);
    assert_true(client.is_open);
    stage_pass(&stage, 25100);
    turns(&stage, &client, 1);
    stage_pass(&stage, 10100);
    turns(&stage, &client, 3);
    assert_false(client.is_open);
    native_client_end(&client);
    stage_fini(&stage);
}

static void a_flood_of_pings_ends_the_link(void **state)
{
    (void)state;
    struct stage         stage;
    struct native_client client;

    stage_init(&stage, 1);
    connect(&stage, &client, NULL, "topic:a");
    for (int i = 0; i < 101; i++)
        sim_send(client.far, SPAN("\x01\x08"));
    turns(&stage, &client, 3);
    assert_non_null(strstr(told(&client), "{\"type\":\"closing\",\"code\":1008,\"reason\":\"too many pings"));
    native_client_end(&client);
    stage_fini(&stage);
}

static void at_a_stop_clients_are_told_to_come_again(void **state)
{
    (void)state;
    struct stage         stage;
    struct native_client client, silent;

    stage_init(&stage, 1);
    connect(&stage, &client, NULL, "topic:a");
    native_client_start(&silent, &stage, NULL);
    buf_clear(&client.told);
    session_worker_stop(&stage.worker);
    turns(&stage, &client, 2);
    turns(&stage, &silent, 2);
    assert_non_null(strstr(told(&client), "{\"type\":\"reconnect\",\"after_ms\":"));
    assert_non_null(strstr(told(&client), "{\"type\":\"closing\",\"code\":1001,"));
    assert_non_null(strstr(told(&silent), "{\"type\":\"closing\",\"code\":1001,"));
    assert_false(client.is_open || silent.is_open);
    native_client_end(&client);
    native_client_end(&silent);
    stage_turn(&stage);
    stage_turn(&stage);
    assert_true(session_worker_is_idle(&stage.worker));
    stage_fini(&stage);
}

static void a_link_that_is_cut_off_is_told_once(void **state)
{
    (void)state;
    struct stage         stage;
    struct native_client client;

    stage_init(&stage, 1);
    connect(&stage, &client, NULL, "topic:a");
    buf_clear(&client.told);
    struct link *link = container_of(near_list_next(&stage.worker.lists->links), struct link, in_worker);
    link->kind->end(link, LINK_END_REVOKED);
    turns(&stage, &client, 2);
    assert_string_equal(told(&client), "{\"type\":\"closing\",\"code\":4004,\"reason\":\"revoked\"} ");
    native_client_end(&client);
    stage_fini(&stage);
}

/* --- messages --- */

static void one_frame_is_made_for_all_readers(void **state)
{
    (void)state;
    struct stage         stage;
    struct native_client clients[3];

    stage_init(&stage, 1);
    struct stage_log *log = stage_log(&stage, "topic:a", 1, 0);
    for (size_t i = 0; i < COUNT(clients); i++)
        connect(&stage, &clients[i], NULL, "topic:a");
    for (int round = 0; round < 3; round++) {
        stage_publish(&stage, log);
        stage_turn(&stage);
        stage_turn(&stage);
    }
    for (size_t i = 0; i < COUNT(clients); i++) {
        turns(&stage, &clients[i], 2);
        assert_true(clients[i].last_seq == 3 && clients[i].skips == 0 && !clients[i].has_fault);
        native_client_end(&clients[i]);
    }
    stage_fini(&stage);
}

static bool slow_clients_have(const struct native_client *clients, size_t count, uint64_t seq)
{
    for (size_t i = 0; i < count; i += 2)
        if (clients[i].last_seq < seq)
            return false;
    return true;
}

static void see_every_message_once(uint64_t seed, size_t count)
{
    enum { CLIENTS = 6, MESSAGES = 120 };
    struct stage         stage;
    struct native_client clients[CLIENTS];
    stage_init(&stage, seed);
    struct stage_log *log = stage_log(&stage, "topic:a", 1, 0);
    for (size_t i = 0; i < count; i++) {
        struct sim_wire wire = { .room_bytes = i % 2 == 0 ? 30 + 40 * i + 10 * seed : 4096, .rng = i % 3 == 0 ? &stage.rng : NULL };
        connect(&stage, &clients[i], &wire, "topic:a");
    }
    for (uint64_t round = 0; round < MESSAGES; round++) {
        stage_publish(&stage, log);
        for (uint64_t i = rng_below(&stage.rng, 3); i > 0; i--)
            stage_turn(&stage);
        native_client_read(&clients[rng_below(&stage.rng, count)]);
    }
    for (int round = 0; round < 100000 && !slow_clients_have(clients, count, MESSAGES); round++)
        for (size_t i = 0; i < count; i++)
            turns(&stage, &clients[i], 1);
    for (size_t i = 0; i < count; i++) {
        turns(&stage, &clients[i], 10);
        if (clients[i].last_seq != MESSAGES || clients[i].skips != 0 || clients[i].has_fault)
            fail_msg("seed %llu, client %zu: at %llu with %llu skips", (unsigned long long)seed, i,
                     (unsigned long long)clients[i].last_seq, (unsigned long long)clients[i].skips);
        native_client_end(&clients[i]);
    }
    stage_fini(&stage);
}

/* Links that take little, in random parts; each sees every message once and in order, whatever was taken back. A lone reader's frames
 * have no objects until they are cut. */
static void slow_readers_see_every_message_once(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        see_every_message_once(seed, 6);
        see_every_message_once(seed, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_follows_publishes_and_asks),
        cmocka_unit_test(no_cut_changes_the_talk),
        cmocka_unit_test(short_frames_sent_without_reading_do_not_heap_up),
        cmocka_unit_test(every_prefix_ends_with_a_reason_or_a_whole_frame),
        cmocka_unit_test(every_flipped_bit_is_borne),
        cmocka_unit_test(strangers_are_told_at_once),
        cmocka_unit_test(a_link_without_a_connect_is_closed_by_the_time_limit),
        cmocka_unit_test(an_unknown_token_ends_the_link),
        cmocka_unit_test(what_comes_behind_a_slow_connect_waits),
        cmocka_unit_test(who_has_left_opens_no_session),
        cmocka_unit_test(an_opening_that_was_overtaken_ends_its_link),
        cmocka_unit_test(an_unfenced_link_may_end_while_its_session_is_opened),
        cmocka_unit_test(who_is_not_known_any_more_is_not_asked_for_again),
        cmocka_unit_test(a_silent_client_is_asked_with_two_bytes_and_given_up),
        cmocka_unit_test(a_flood_of_pings_ends_the_link),
        cmocka_unit_test(at_a_stop_clients_are_told_to_come_again),
        cmocka_unit_test(a_link_that_is_cut_off_is_told_once),
        cmocka_unit_test(one_frame_is_made_for_all_readers),
        cmocka_unit_test(slow_readers_see_every_message_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
