/* Events of the writer: written with their cause, in their order, once, and found again after an end in between. */
#include "device/event_outbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "device/membership.h"
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

static void node_begin(struct event_stage *stage, unsigned kinds)
{
    const struct writer_limits limits = {
        .waiting_count_max = 100, .waiting_bytes_max = 1 << 20, .batch_count_max = 100, .batch_bytes_max = 1 << 20,
        .deadline_ticks = 100, .delivery_count_max = 100, .delivery_bytes_max = 1 << 20, .tail_bytes_max = 1 << 20,
        .tail_messages_max = 100,
    };

    stage->starts++;
    writer_init(&stage->writer, &stage_port, stage, stage->durable, stage->memory, &limits, 1);
    event_outbox_init(&stage->outbox, &stage->writer, &stage->spaces, &key, stage->wall, stage->starts);
    stage->outbox.kinds = kinds;
    memberships_init(&stage->memberships);
    stage->memberships.events = &stage->outbox;
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
        event_outbox_turn_end(&stage->outbox);
        writer_turn_end(&stage->writer, stage->wall);
    }
}

static void stage_ticks(struct event_stage *stage, unsigned ticks)
{
    while (ticks-- > 0) {
        stage->wall += 100;
        writer_tick(&stage->writer, stage->wall);
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

static size_t row_count(struct event_stage *stage)
{
    struct ledger_read read = { .way = LEDGER_SCAN, .kind = ROW_EVENT, .limit = 100, .bytes_max = 1 << 20, .wall = stage->wall,
                                .done = on_scan };

    stage->durable->ledger->ops->read(stage->durable->ledger, &read);
    size_t count = read.row_count;
    ledger_read_fini(&read);
    return count;
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_change_has_one_event_with_the_seq_of_its_message),
        cmocka_unit_test(a_kind_that_nobody_asks_for_has_no_row),
        cmocka_unit_test(events_that_a_server_leaves_behind_are_found),
        cmocka_unit_test(an_event_that_is_found_a_second_time_is_written_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
