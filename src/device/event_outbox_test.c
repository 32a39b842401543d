/* Events of the writer: written with their cause, in their order, once, and found again after an end in between. */
#include "device/event_outbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "device/devices_priv.h"
#include "device/event_log.h"
#include "device/membership.h"
#include "device/occupancy.h"
#include "device/offline_task.h"
#include "device/presence_priv.h"
#include "device/row_kind.h"
#include "store/mem.h"

#include <cmocka.h>

enum { WALL = 1000000, EVENT_TEST_TEXT = 4000 };

/* A writer over stores in memory. A node can end at any time; the next one begins over what its stores have. */
struct event_stage {
    struct namespaces   spaces;
    struct store       *durable, *memory;
    struct writer       writer;
    struct memberships  memberships;
    struct event_outbox outbox;
    struct devices      devices;
    struct offline_tasks offline;
    struct presence     presence;
    struct occupancies  occupancies;
    struct shard        shard;
    struct event_log    log;         /* of the one loop */
    struct bundle       posted, sent;
    unsigned            starts;
    msec                wall;
};

static const struct hash_key key = { 1, 2 };

static void stage_send(void *ctx, unsigned loop, struct command *command)
{
    (void)loop;
    bundle_add(&((struct event_stage *)ctx)->sent, &command->mail);
}

static void stage_post(void *ctx, struct command *command)
{
    bundle_add(&((struct event_stage *)ctx)->posted, &command->mail);
}

static const struct writer_port stage_port = { stage_send, stage_post };

static void loop_send(void *ctx, struct command *command)
{
    stage_post(ctx, command);
}

static const struct shard_port loop_port = { .send = loop_send };

static void loop_begin(struct event_stage *stage)
{
    static const struct shard_limits limits = { .page_count_max = 1, .publish_count_max = 99, .publish_bytes_max = 8 << 20 };

    shard_init(&stage->shard, 0, &loop_port, stage, &limits);
    shard_turn_begin(&stage->shard, 5, stage->wall);
    stage->log = (struct event_log){ .shard = &stage->shard, .outbox = &stage->outbox, .kinds = stage->outbox.kinds };
}

static void node_begin(struct event_stage *stage, unsigned kinds)
{
    const struct writer_limits limits = {
        .waiting_count_max = 100, .waiting_bytes_max = 1 << 20, .batch_count_max = 100, .batch_bytes_max = 1 << 20,
        .deadline_ticks = 100, .delivery_count_max = 100, .delivery_bytes_max = 1 << 20, .tail_bytes_max = 1 << 20,
        .tail_messages_max = 100,
    };

    const struct devices_limits devices_limits = { .session_ttl_ms = 1000000, .poll_lease_ms = 1000, .devices_max = 10,
                                                   .opens_max = 10, .waiting_max = 10, .idle_max = 10 };

    const struct presence_limits presence_limits = { .members_max = 100, .frames_per_s = 10, .return_ms = 1000,
                                                     .poll_lease_ms = 1000 };

    stage->starts++;
    writer_init(&stage->writer, &stage_port, stage, stage->durable, stage->memory, &limits, 1);
    event_outbox_init(&stage->outbox, &stage->writer, &stage->spaces, &key, stage->wall, stage->starts);
    stage->outbox.kinds = kinds;
    memberships_init(&stage->memberships);
    stage->memberships.events = &stage->outbox;
    devices_init(&stage->devices, &stage->writer, &stage->spaces, &key, &devices_limits);
    offline_tasks_init(&stage->offline, &stage->devices, &stage->outbox);
    presence_init(&stage->presence, &stage_port, stage, 1, &key, &presence_limits);
    occupancies_init(&stage->occupancies, &stage->outbox, &stage->presence, &stage->spaces, &key);
    stage->presence.occupancies = &stage->occupancies;
    stage->devices.events       = &stage->outbox;
    loop_begin(stage);
}

static void free_all(struct bundle *bundle)
{
    struct mail *mail = bundle_take(bundle);

    for (struct mail *next; mail != NULL; mail = next) {
        next = mail->next;
        command_free(command_of(mail));
    }
}

static void node_end(struct event_stage *stage)
{
    free_all(&stage->sent);
    free_all(&stage->posted);
    shard_fini(&stage->shard);
    offline_tasks_fini(&stage->offline);
    occupancies_fini(&stage->occupancies);
    presence_fini(&stage->presence);
    devices_fini(&stage->devices);
    writer_fini(&stage->writer);
    event_outbox_fini(&stage->outbox);
    memberships_fini(&stage->memberships);
}

static void stage_open(struct event_stage *stage, unsigned kinds)
{
    const struct mem_store_options options = { .epoch_first = 5, .id_first = 1, .hash_key = key };

    *stage = (struct event_stage){ .wall = WALL };
    namespaces_init(&stage->spaces);
    stage->durable = mem_store_new(&options);
    stage->memory  = mem_store_new(&options);
    node_begin(stage, kinds);
}

static void stage_close(struct event_stage *stage)
{
    node_end(stage);
    stage->durable->ops->close(stage->durable);
    stage->memory->ops->close(stage->memory);
}

static void stage_take(struct event_stage *stage)
{
    struct mail *mail = bundle_take(&stage->posted);

    for (struct mail *next; mail != NULL; mail = next) {
        next = mail->next;
        writer_take(&stage->writer, command_of(mail), stage->wall);
    }
}

static void stage_run(struct event_stage *stage)
{
    for (unsigned turn = 0; turn < 100; turn++) {
        stage_take(stage);
        offline_tasks_turn(&stage->offline);
        occupancies_turn(&stage->occupancies);
        devices_turn_end(&stage->devices);
        event_outbox_turn_end(&stage->outbox);
        writer_turn_end(&stage->writer, stage->wall);
    }
}

static void stage_ticks(struct event_stage *stage, unsigned ticks)
{
    while (ticks-- > 0) {
        stage->wall += 100;
        writer_tick(&stage->writer, stage->wall);
        offline_tasks_tick(&stage->offline);
        presence_tick(&stage->presence, stage->wall, stage->wall);
        occupancies_tick(&stage->occupancies);
        event_outbox_tick(&stage->outbox);
        stage_run(stage);
    }
}

static void settled(struct membership_command *command)
{
    assert_int_equal(command->outcome, MEMBERSHIP_DONE);
    command_free(&command->command);
}

static void change(struct event_stage *stage, enum membership_request request, const char *user, const char *group)
{
    struct channel_name *names[2];
    const char          *texts[2] = { user, group };

    for (size_t i = 0; i < 2; i++)
        assert_int_equal(channel_name_new(&stage->spaces, &key, span_str(texts[i]), &names[i]), CHANNEL_NAME_OK);
    struct membership_command *command = membership_command_new(&stage->memberships, request, names[0], names[1], SPAN("shop"));
    channel_name_unref(names[0]);
    channel_name_unref(names[1]);
    command->settled  = settled;
    stage_post(stage, &command->command);
}

static void on_read(struct store_read *read)
{
    (void)read;
}

/* What all logs hold: "type user channel seq|" for each. */
static const char *events(struct event_stage *stage)
{
    static char text[EVENT_TEST_TEXT];
    size_t      len = 0;

    text[0] = '\0';
    for (unsigned n = 0; n < EVENT_LOGS; n++) {
        char              name[OWN_POLICY_TEXT];
        struct store_read read = { .limit = 100, .bytes_max = 1 << 20, .wall = stage->wall, .done = on_read };
        snprintf(name, sizeof name, "sys:events/%u", n);
        assert_int_equal(channel_name_new(&stage->spaces, &key, span_str(name), &read.channel), CHANNEL_NAME_OK);
        stage->durable->ops->read(stage->durable, &read);
        for (size_t i = 0; i < read.entry_count; i++)
            len += (size_t)snprintf(text + len, sizeof text - len, "%.*s\n", SPAN_ARG(message_payload(read.entries[i].message)));
        store_read_fini(&read);
        channel_name_unref(read.channel);
    }
    return text;
}

static size_t occurrences(const char *text, const char *part)
{
    size_t count = 0;

    for (const char *at = text; (at = strstr(at, part)) != NULL; at++)
        count++;
    return count;
}

static void on_scan(struct ledger_read *read)
{
    (void)read;
}

static size_t rows_of(struct event_stage *stage, enum row_kind kind)
{
    struct ledger_read read = { .way = LEDGER_SCAN, .kind = (uint8_t)kind, .limit = 100, .bytes_max = 1 << 20, .wall = stage->wall,
                                .done = on_scan };

    stage->durable->ledger->ops->read(stage->durable->ledger, &read);
    size_t count = read.row_count;
    ledger_read_fini(&read);
    return count;
}

static size_t row_count(struct event_stage *stage)
{
    return rows_of(stage, ROW_EVENT);
}

static void each_change_has_one_event_with_the_seq_of_its_message(void **state)
{
    struct event_stage stage;

    (void)state;
    stage_open(&stage, EVENT_KIND_JOINED | EVENT_KIND_LEFT);
    change(&stage, MEMBERSHIP_JOIN, "user:ann", "group:a");
    stage_run(&stage);
    change(&stage, MEMBERSHIP_JOIN, "user:ann", "group:a");
    stage_run(&stage);
    change(&stage, MEMBERSHIP_LEAVE, "user:ann", "group:a");
    stage_run(&stage);
    change(&stage, MEMBERSHIP_LEAVE, "user:ann", "group:a");
    stage_run(&stage);
    assert_string_equal(events(&stage),
                        "{\"type\":\"joined\",\"time\":1000000,\"user\":\"ann\",\"channel\":\"group:a\",\"seq\":1}\n"
                        "{\"type\":\"left\",\"time\":1000000,\"user\":\"ann\",\"channel\":\"group:a\",\"seq\":2}\n");
    assert_int_equal(row_count(&stage), 0);
    assert_true(event_outbox_is_idle(&stage.outbox));
    assert_int_equal(counter_get(&stage.outbox.written), 2);
    stage_close(&stage);
}

static void a_kind_that_nobody_asks_for_has_no_row(void **state)
{
    struct event_stage stage;

    (void)state;
    stage_open(&stage, EVENT_KIND_LEFT);
    change(&stage, MEMBERSHIP_JOIN, "user:ann", "group:a");
    stage_run(&stage);
    assert_string_equal(events(&stage), "");
    stage_close(&stage);
}

/* The change is committed; the server ends before the event is written. */
static void events_that_a_server_leaves_behind_are_found(void **state)
{
    struct event_stage stage;

    (void)state;
    stage_open(&stage, EVENT_KIND_JOINED | EVENT_KIND_LEFT);
    for (unsigned i = 0; i < 6; i++) {
        change(&stage, i % 2 == 0 ? MEMBERSHIP_JOIN : MEMBERSHIP_LEAVE, "user:ann", "group:a");
        for (unsigned turn = 0; turn < 20; turn++) {
            stage_take(&stage);
            writer_turn_end(&stage.writer, stage.wall);  /* the outbox gets no turn */
        }
    }
    assert_string_equal(events(&stage), "");
    assert_int_equal(row_count(&stage), 6);
    node_end(&stage);

    node_begin(&stage, EVENT_KIND_JOINED | EVENT_KIND_LEFT);
    stage_ticks(&stage, 20);
    const char *found = events(&stage), *at = found;
    for (unsigned seq = 1; seq <= 6; seq++) {
        char want[40];
        snprintf(want, sizeof want, "\"channel\":\"group:a\",\"seq\":%u}", seq);
        at = strstr(at, want);
        assert_non_null(at);
    }
    assert_int_equal(occurrences(found, "\n"), 6);
    assert_int_equal(row_count(&stage), 0);
    assert_int_equal(counter_get(&stage.outbox.found), 6);
    stage_close(&stage);
}

/* The event is written; the server ends before its row is deleted. */
static void an_event_that_is_found_a_second_time_is_written_once(void **state)
{
    struct event_stage stage;

    (void)state;
    stage_open(&stage, EVENT_KIND_JOINED);
    change(&stage, MEMBERSHIP_JOIN, "user:ann", "group:a");
    for (unsigned turn = 0; turn < 20; turn++) {
        stage_take(&stage);
        if (occurrences(events(&stage), "\n") > 0)
            break;
        event_outbox_turn_end(&stage.outbox);
        writer_turn_end(&stage.writer, stage.wall);
    }
    assert_int_equal(row_count(&stage), 1);
    node_end(&stage);

    node_begin(&stage, EVENT_KIND_JOINED);
    stage_ticks(&stage, 20);
    assert_int_equal(occurrences(events(&stage), "\n"), 1);
    assert_int_equal(row_count(&stage), 0);
    stage_close(&stage);
}

/* --- offline ---------------------------------------------------------------------------------------------------- */

static void on_written(struct ledger_batch *batch)
{
    (void)batch;
}

/* A session as the ledger has it, whose link is on `node`; NULL: it has none. */
static void has_session(struct event_stage *stage, const char *user, const char *device, const char *node)
{
    struct buf           bytes, value;
    struct ledger_change change = { .op = LEDGER_PUT, .generation = 1 };
    struct ledger_write  write  = { .changes = &change, .count = 1 };
    struct ledger_batch  batch  = { .change_count = 1, .wall = stage->wall, .done = on_written };

    buf_init(&bytes, LEDGER_KEY_BYTES_MAX);
    buf_init(&value, 200);
    row_key_put(&bytes, span_str(user), span_str(device));
    session_row_put(&value, &(struct session_row){ .since = stage->wall, .seen = stage->wall, .node = span_str(node),
                                                   .incarnation = node == NULL ? 0 : 7 });
    change.key   = (struct ledger_key){ ROW_SESSION, buf_span(&bytes) };
    change.value = buf_span(&value);
    list_init(&batch.writes);
    list_push(&batch.writes, &write.link);
    stage->durable->ledger->ops->write(stage->durable->ledger, &batch);
    assert_int_equal(write.outcome, LEDGER_DONE);
    buf_fini(&bytes);
    buf_fini(&value);
}

static void on_publish(struct publish_command *publish, struct writer *writer)
{
    (void)writer;
    assert_int_equal(publish->outcome, PUBLISH_DONE);
    command_free(&publish->command);
}

static void publish_as(struct event_stage *stage, const char *channel, const char *media)
{
    struct channel_name *name;

    assert_int_equal(channel_name_new(&stage->spaces, &key, span_str(channel), &name), CHANNEL_NAME_OK);
    struct message         *message = message_new(name, MESSAGE_PLAIN, "x", 1, span_str(media), SPAN(""));
    struct publish_command *publish = publish_command_new(&message, SPAN(""), SPAN(""));
    channel_name_unref(name);
    publish->settled = on_publish;
    stage_post(stage, &publish->command);
}

static bool lives(void *ctx, const struct session_row *row)
{
    (void)ctx;
    return span_eq(row->node, SPAN("there"));
}

#define OFFLINE(who, channel) "{\"type\":\"offline\",\"time\":1000000," who "\"channel\":\"" channel "\",\"seq\":1}\n"

static void each_device_without_a_link_has_an_event(void **state)
{
    struct event_stage stage;

    (void)state;
    stage_open(&stage, EVENT_KIND_OFFLINE);
    stage.offline.lives = lives;
    has_session(&stage, "ann", "pad", NULL);
    has_session(&stage, "ann", "phone", "gone");
    has_session(&stage, "ann", "web", "there");
    publish_as(&stage, "user:ann", "text/plain");
    stage_run(&stage);
    assert_string_equal(events(&stage), OFFLINE("\"user\":\"ann\",\"device\":\"pad\",", "user:ann")
                                        OFFLINE("\"user\":\"ann\",\"device\":\"phone\",", "user:ann"));
    assert_int_equal(row_count(&stage), 0);
    assert_true(offline_tasks_are_idle(&stage.offline));
    stage_close(&stage);
}

static void a_message_for_one_device_tells_of_it_alone(void **state)
{
    struct event_stage stage;

    (void)state;
    stage_open(&stage, EVENT_KIND_OFFLINE);
    has_session(&stage, "ann", "pad", NULL);
    has_session(&stage, "ann", "phone", NULL);
    publish_as(&stage, "device:ann/phone", "text/plain");
    publish_as(&stage, "topic:news", "text/plain");
    stage_run(&stage);
    assert_string_equal(events(&stage), OFFLINE("\"user\":\"ann\",\"device\":\"phone\",", "device:ann/phone"));
    stage_close(&stage);
}

static void who_has_no_device_has_one_event(void **state)
{
    struct event_stage stage;

    (void)state;
    stage_open(&stage, EVENT_KIND_OFFLINE);
    publish_as(&stage, "user:ann", "text/plain");
    stage_run(&stage);
    assert_string_equal(events(&stage), OFFLINE("\"user\":\"ann\",", "user:ann"));
    stage_close(&stage);
}

static void control_messages_tell_nothing(void **state)
{
    struct event_stage stage;

    (void)state;
    stage_open(&stage, EVENT_KIND_OFFLINE);
    publish_as(&stage, "user:ann", "application/vnd.longwire.read+json");
    change(&stage, MEMBERSHIP_JOIN, "user:ann", "group:a");
    stage_run(&stage);
    assert_string_equal(events(&stage), "");
    stage_close(&stage);
}

static void the_members_of_a_group_are_looked_at_up_to_a_maximum(void **state)
{
    struct event_stage stage;
    char               user[20];

    (void)state;
    stage_open(&stage, EVENT_KIND_OFFLINE);
    stage.offline.members_max = 6;
    for (unsigned i = 0; i < 9; i++) {
        snprintf(user, sizeof user, "user:u%u", i);
        change(&stage, MEMBERSHIP_JOIN, user, "group:a");
        stage_run(&stage);
    }
    has_session(&stage, "u2", "phone", NULL);
    publish_as(&stage, "group:a", "text/plain");
    stage_run(&stage);
    assert_int_equal(occurrences(events(&stage), "\"user\":\"u"), 6);
    assert_int_equal(occurrences(events(&stage), "\"user\":\"u2\",\"device\":\"phone\""), 1);
    assert_int_equal(occurrences(events(&stage), "\"channel\":\"group:a\",\"reason\":\"too many members\",\"seq\":1}"), 1);
    assert_int_equal(occurrences(events(&stage), "\n"), 7);
    assert_int_equal(counter_get(&stage.offline.beyond), 1);
    stage_close(&stage);
}

/* The message is committed; the server ends before anybody was looked at. */
static void messages_that_a_server_leaves_behind_are_looked_at_later(void **state)
{
    struct event_stage stage;

    (void)state;
    stage_open(&stage, EVENT_KIND_OFFLINE);
    has_session(&stage, "ann", "phone", NULL);
    publish_as(&stage, "user:ann", "text/plain");
    stage_take(&stage);
    writer_turn_end(&stage.writer, stage.wall);
    stage_take(&stage);
    node_end(&stage);

    node_begin(&stage, EVENT_KIND_OFFLINE);
    stage_ticks(&stage, 20);
    assert_string_equal(events(&stage), OFFLINE("\"user\":\"ann\",\"device\":\"phone\",", "user:ann"));
    assert_int_equal(row_count(&stage), 0);
    stage_close(&stage);
}

/* --- what loops note -------------------------------------------------------------------------------------------- */

enum { CONNECTIONS = EVENT_KIND_CONNECTED | EVENT_KIND_DISCONNECTED };

static struct event_facts link_facts(enum event_kind kind, const char *user, uint64_t connection)
{
    return (struct event_facts){ .kind = kind, .user = span_str(user), .connection = connection,
                                 .reason = kind == EVENT_KIND_DISCONNECTED ? "closed" : NULL };
}

static bool link_begins(struct event_stage *stage, const char *user, uint64_t connection, bool has_row)
{
    struct event_facts facts = link_facts(EVENT_KIND_CONNECTED, user, connection);

    event_log_note_begin(&stage->log, &facts, &has_row);
    return has_row;
}

static void link_ends(struct event_stage *stage, const char *user, uint64_t connection, bool has_row)
{
    struct event_facts facts = link_facts(EVENT_KIND_DISCONNECTED, user, connection);

    event_log_note_end(&stage->log, &facts, has_row);
}

static void what_nobody_asks_for_is_not_noted(void **state)
{
    struct event_stage stage;
    struct event_facts facts = { .kind = EVENT_KIND_SUBSCRIBED, .user = SPAN("ann"), .channel = SPAN("topic:a") };

    (void)state;
    stage_open(&stage, EVENT_KIND_UNSUBSCRIBED);
    event_log_note(&stage.log, &facts);
    assert_false(link_begins(&stage, "ann", 7, false));
    link_ends(&stage, "ann", 7, false);
    assert_null(bundle_take(&stage.posted));
    assert_false(event_log_wants(NULL, EVENT_KIND_CONNECTED));
    stage_close(&stage);
}

static void events_of_a_user_wait_behind_one_that_was_refused(void **state)
{
    struct event_stage stage;

    (void)state;
    stage_open(&stage, EVENT_KIND_CONNECTED);
    stage.writer.limits.waiting_count_max = 0;
    for (uint64_t i = 1; i <= 5; i++)
        link_begins(&stage, "ann", i, false);
    stage_run(&stage);
    assert_string_equal(events(&stage), "");
    assert_int_equal(counter_get(&stage.outbox.refused), 1);
    assert_true(event_outbox_is_idle(&stage.outbox));  /* nothing that the store would take */
    stage.writer.limits.waiting_count_max = 100;
    stage_ticks(&stage, 20);
    const char *at = events(&stage);
    for (unsigned i = 1; i <= 5; i++) {
        char want[60];
        snprintf(want, sizeof want, "\"connection\":\"%016x\"", i);
        at = strstr(at, want);
        assert_non_null(at);
    }
    assert_int_equal(counter_get(&stage.outbox.written), 5);
    stage_close(&stage);
}

static void only_so_many_wait(void **state)
{
    struct event_stage stage;

    (void)state;
    stage_open(&stage, EVENT_KIND_CONNECTED);
    for (uint64_t i = 1; i <= OUTBOX_WAITING_MAX + 3; i++)
        link_begins(&stage, "ann", i, false);
    stage_take(&stage);
    assert_int_equal(counter_get(&stage.outbox.waiting), OUTBOX_WAITING_MAX);
    assert_int_equal(counter_get(&stage.outbox.lost), 3);
    stage_close(&stage);
}

static void a_link_has_a_row_while_it_lives(void **state)
{
    struct event_stage stage;

    (void)state;
    stage_open(&stage, CONNECTIONS);
    assert_true(link_begins(&stage, "ann", 7, false));
    stage_run(&stage);
    assert_int_equal(rows_of(&stage, ROW_LINK), 1);
    link_ends(&stage, "ann", 7, true);
    stage_run(&stage);
    assert_int_equal(rows_of(&stage, ROW_LINK), 0);
    assert_string_equal(events(&stage), "{\"type\":\"connected\",\"time\":1000000,\"user\":\"ann\",\"connection\":\"0000000000000007\"}\n"
                                        "{\"type\":\"disconnected\",\"time\":1000000,\"user\":\"ann\",\"connection\":\"0000000000000007\","
                                        "\"reason\":\"closed\"}\n");
    stage_close(&stage);
}

/* The row of nobody's link lies in another log than that of its user. */
static void a_link_that_says_later_who_it_is_has_one_row(void **state)
{
    struct event_stage stage;

    (void)state;
    stage_open(&stage, CONNECTIONS);
    assert_true(link_begins(&stage, "", 7, false));
    assert_true(link_begins(&stage, "ann", 7, true));
    stage_run(&stage);
    assert_int_equal(rows_of(&stage, ROW_LINK), 1);
    link_ends(&stage, "ann", 7, true);
    stage_run(&stage);
    assert_int_equal(rows_of(&stage, ROW_LINK), 0);
    assert_int_equal(occurrences(events(&stage), "\n"), 3);
    stage_close(&stage);
}

static void links_of_a_start_that_has_ended_are_told_once(void **state)
{
    static const unsigned asked[] = { CONNECTIONS, EVENT_KIND_DISCONNECTED };

    (void)state;
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        struct event_stage stage;
        stage_open(&stage, asked[i]);
        link_begins(&stage, "ann", 7, false);
        link_begins(&stage, "ann", 8, false);
        link_begins(&stage, "", 9, false);
        link_begins(&stage, "bob", 10, false);
        link_ends(&stage, "bob", 10, true);
        stage_run(&stage);
        assert_int_equal(rows_of(&stage, ROW_LINK), 3);
        node_end(&stage);

        node_begin(&stage, asked[i]);
        link_begins(&stage, "carl", 11, false);   /* lives */
        stage_ticks(&stage, 700);
        assert_int_equal(rows_of(&stage, ROW_LINK), 1);
        assert_int_equal(occurrences(events(&stage), "\"reason\":\"node_lost\""), 3);
        assert_int_equal(occurrences(events(&stage), "\"connection\":\"0000000000000009\",\"reason\":\"node_lost\""), 1);
        assert_int_equal(occurrences(events(&stage), "\"connected\""), asked[i] == CONNECTIONS ? 5 : 0);
        stage_close(&stage);
    }
}

static bool start_is_known(void *ctx, const struct link_row *row)
{
    unsigned *is_living = ctx;
    return row->incarnation == 1 && span_eq(row->node, SPAN("a")) && *is_living;
}

static void links_of_another_node_are_told_when_it_is_lost(void **state)
{
    struct event_stage stage;
    unsigned           is_living = 1;

    (void)state;
    stage_open(&stage, CONNECTIONS);
    strcpy(stage.outbox.node, "a");
    for (uint64_t i = 1; i <= 20; i++)
        link_begins(&stage, i % 2 == 0 ? "ann" : "bob", i, false);
    stage_run(&stage);
    node_end(&stage);

    node_begin(&stage, CONNECTIONS);
    stage.outbox.lives     = start_is_known;
    stage.outbox.lives_ctx = &is_living;
    stage_ticks(&stage, 100);
    assert_int_equal(occurrences(events(&stage), "node_lost"), 0);
    is_living = 0;
    event_outbox_nodes_changed(&stage.outbox);
    stage_ticks(&stage, 20);
    assert_int_equal(occurrences(events(&stage), "node_lost"), 20);
    stage_close(&stage);
}

/* --- occupied and vacated --------------------------------------------------------------------------------------- */

enum { OCCUPANCIES = EVENT_KIND_OCCUPIED | EVENT_KIND_VACATED };

static void presence_is(struct event_stage *stage, const char *channel, const char *user, int is_there)
{
    const struct presence_who who = { .user = span_str(user), .device = SPAN("phone"), .key = 7, .transport = "websocket" };
    struct channel_name      *name;

    assert_int_equal(channel_name_new(&stage->spaces, &key, span_str(channel), &name), CHANNEL_NAME_OK);
    if (is_there)
        presence_come(&stage->presence, name, &who);
    else
        presence_go(&stage->presence, name, &who, PRESENCE_END_CUT);
    channel_name_unref(name);
}

/* The kinds of the events, in their order. */
static const char *kinds_of_events(struct event_stage *stage)
{
    static char kinds[400];
    size_t      len = 0;

    kinds[0] = '\0';
    for (const char *at = events(stage); (at = strstr(at, "\"type\":\"")) != NULL; at++)
        len += (size_t)snprintf(kinds + len, sizeof kinds - len, "%.3s ", at + 8);
    return kinds;
}

static void the_first_and_the_last_device_of_a_channel_are_told(void **state)
{
    struct event_stage stage;

    (void)state;
    stage_open(&stage, OCCUPANCIES);
    presence_is(&stage, "topic:a", "ann", true);
    stage_run(&stage);
    presence_is(&stage, "topic:a", "bob", true);
    presence_is(&stage, "topic:a", "ann", false);
    presence_is(&stage, "topic:a", "bob", false);
    presence_is(&stage, "topic:a", "bob", true);   /* comes back in time */
    stage_ticks(&stage, 30);
    assert_string_equal(events(&stage), "{\"type\":\"occupied\",\"time\":1000000,\"channel\":\"topic:a\"}\n");
    presence_is(&stage, "topic:a", "bob", false);
    stage_ticks(&stage, 30);
    assert_string_equal(kinds_of_events(&stage), "occ vac ");
    assert_int_equal(rows_of(&stage, ROW_OCCUPANCY), 0);
    stage_close(&stage);
}

static void a_channel_that_a_dead_server_leaves_is_vacated_unless_somebody_comes_back(void **state)
{
    (void)state;
    for (int comes_back = 0; comes_back < 2; comes_back++) {
        struct event_stage stage;
        stage_open(&stage, OCCUPANCIES);
        presence_is(&stage, "topic:a", "ann", true);
        stage_run(&stage);
        node_end(&stage);

        node_begin(&stage, OCCUPANCIES);
        if (comes_back)
            presence_is(&stage, "topic:a", "ann", true);
        stage_ticks(&stage, 100);
        assert_string_equal(kinds_of_events(&stage), comes_back ? "occ " : "occ vac ");
        assert_int_equal(rows_of(&stage, ROW_OCCUPANCY), comes_back);
        stage_close(&stage);
    }
}

static bool everybody_lives(void *ctx, const struct link_row *row)
{
    (void)ctx;
    (void)row;
    return true;
}

static void a_channel_is_occupied_once_for_all_nodes(void **state)
{
    struct event_stage a, b;

    (void)state;
    stage_open(&a, OCCUPANCIES);
    b = (struct event_stage){ .wall = WALL, .starts = 1, .durable = a.durable, .memory = a.memory };
    namespaces_init(&b.spaces);
    node_begin(&b, OCCUPANCIES);
    a.outbox.lives = b.outbox.lives = everybody_lives;
    presence_is(&a, "topic:a", "ann", true);
    presence_is(&b, "topic:a", "bob", true);
    for (unsigned i = 0; i < 50; i++) {    /* both read before one of them has written */
        stage_take(&a);
        stage_take(&b);
        occupancies_turn(&a.occupancies);
        occupancies_turn(&b.occupancies);
        writer_turn_end(&a.writer, a.wall);
        writer_turn_end(&b.writer, b.wall);
    }
    assert_string_equal(kinds_of_events(&a), "occ ");
    presence_is(&a, "topic:a", "ann", false);
    stage_ticks(&a, 30);
    assert_string_equal(kinds_of_events(&a), "occ ");
    presence_is(&b, "topic:a", "bob", false);
    stage_ticks(&b, 30);
    assert_string_equal(kinds_of_events(&a), "occ vac ");
    node_end(&b);
    stage_close(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_change_has_one_event_with_the_seq_of_its_message),
        cmocka_unit_test(a_kind_that_nobody_asks_for_has_no_row),
        cmocka_unit_test(events_that_a_server_leaves_behind_are_found),
        cmocka_unit_test(an_event_that_is_found_a_second_time_is_written_once),
        cmocka_unit_test(each_device_without_a_link_has_an_event),
        cmocka_unit_test(a_message_for_one_device_tells_of_it_alone),
        cmocka_unit_test(who_has_no_device_has_one_event),
        cmocka_unit_test(control_messages_tell_nothing),
        cmocka_unit_test(the_members_of_a_group_are_looked_at_up_to_a_maximum),
        cmocka_unit_test(messages_that_a_server_leaves_behind_are_looked_at_later),
        cmocka_unit_test(what_nobody_asks_for_is_not_noted),
        cmocka_unit_test(events_of_a_user_wait_behind_one_that_was_refused),
        cmocka_unit_test(only_so_many_wait),
        cmocka_unit_test(a_link_has_a_row_while_it_lives),
        cmocka_unit_test(a_link_that_says_later_who_it_is_has_one_row),
        cmocka_unit_test(links_of_a_start_that_has_ended_are_told_once),
        cmocka_unit_test(links_of_another_node_are_told_when_it_is_lost),
        cmocka_unit_test(the_first_and_the_last_device_of_a_channel_are_told),
        cmocka_unit_test(a_channel_that_a_dead_server_leaves_is_vacated_unless_somebody_comes_back),
        cmocka_unit_test(a_channel_is_occupied_once_for_all_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
