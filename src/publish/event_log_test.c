/* Events of a loop: what they look like, that they keep their order when the store refuses, and that they have a bound. */
#include "publish/event_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"

#include <cmocka.h>

enum { SENT_MAX = 32 };

static const struct hash_key hash_key = { 1, 2 };

struct stage {
    struct namespaces spaces;
    struct shard      shard;
    struct event_log  log;
    struct command   *sent[SENT_MAX];
    size_t            sent_count;
};

static void on_send(void *ctx, struct command *command)
{
    struct stage *stage = ctx;

    assert_true(stage->sent_count < SENT_MAX);
    stage->sent[stage->sent_count++] = command;
}

static const struct shard_port port = { .send = on_send };

static struct stage *stage_new(unsigned kinds)
{
    static const struct shard_limits limits = { .page_count_max = 1, .publish_count_max = 99, .publish_bytes_max = 8 << 20 };
    struct stage *stage = calloc(1, sizeof *stage);

    must(stage != NULL);
    namespaces_init(&stage->spaces);
    shard_init(&stage->shard, 0, &port, stage, &limits);
    event_log_init(&stage->log, &stage->shard, &stage->spaces, &hash_key);
    stage->log.kinds = kinds;
    shard_turn_begin(&stage->shard, 5, 1795297177250);
    return stage;
}

static void stage_free(struct stage *stage)
{
    event_log_fini(&stage->log);
    shard_fini(&stage->shard);
    free(stage);
}

static void notes(struct stage *stage, enum event_kind kind, const char *user, uint64_t connection)
{
    event_log_note(&stage->log, &(struct event_facts){ .kind = kind, .user = span_str(user), .connection = connection });
}

/* The oldest publish under way. */
static struct publish_command *first_sent(struct stage *stage)
{
    assert_true(stage->sent_count > 0);
    return container_of(stage->sent[0], struct publish_command, command);
}

static bool first_is(struct stage *stage, const char *part)
{
    struct message *message = first_sent(stage)->append.message;
    char            text[512];

    snprintf(text, sizeof text, "%.*s", SPAN_ARG(message_payload(message)));
    return strstr(text, part) != NULL;
}

static void answer(struct stage *stage, enum publish_outcome outcome)
{
    struct publish_command *publish = first_sent(stage);

    stage->sent_count--;
    memmove(stage->sent, stage->sent + 1, stage->sent_count * sizeof stage->sent[0]);
    publish->outcome = outcome;
    shard_take(&stage->shard, &publish->command);
}

static void what_nobody_asks_for_is_not_written(void **state)
{
    struct stage *stage = stage_new(EVENT_KIND_CONNECTED);

    (void)state;
    notes(stage, EVENT_KIND_DISCONNECTED, "ann", 1);
    assert_int_equal(stage->sent_count, 0);
    assert_false(event_log_wants(NULL, EVENT_KIND_CONNECTED));
    notes(stage, EVENT_KIND_CONNECTED, "ann", 1);
    assert_true(span_eq(message_event(first_sent(stage)->append.message), SPAN("connected")));
    assert_true(span_eq(message_media(first_sent(stage)->append.message), SPAN("application/json")));
    assert_true(span_starts(channel_name_span(first_sent(stage)->append.message->channel), SPAN("sys:events/")));
    answer(stage, PUBLISH_DONE);
    assert_int_equal(counter_get(&stage->log.written), 1);
    stage_free(stage);
}

static void events_of_a_user_wait_behind_one_that_was_refused(void **state)
{
    struct stage *stage = stage_new(EVENT_KIND_CONNECTED | EVENT_KIND_DISCONNECTED);

    (void)state;
    notes(stage, EVENT_KIND_CONNECTED, "ann", 1);
    notes(stage, EVENT_KIND_DISCONNECTED, "ann", 1);
    notes(stage, EVENT_KIND_CONNECTED, "ann", 2);
    assert_int_equal(stage->sent_count, 1);
    answer(stage, PUBLISH_AWAY);
    notes(stage, EVENT_KIND_DISCONNECTED, "ann", 2);
    assert_int_equal(stage->sent_count, 0);
    event_log_tick(&stage->log);
    assert_true(first_is(stage, "\"connected\"") && first_is(stage, "0000000000000001"));
    answer(stage, PUBLISH_DONE);
    assert_true(first_is(stage, "\"disconnected\"") && first_is(stage, "0000000000000001"));
    answer(stage, PUBLISH_DONE);
    assert_true(first_is(stage, "\"connected\"") && first_is(stage, "0000000000000002"));
    answer(stage, PUBLISH_DONE);
    assert_true(first_is(stage, "\"disconnected\"") && first_is(stage, "0000000000000002"));
    answer(stage, PUBLISH_DONE);
    assert_int_equal(counter_get(&stage->log.written), 4);
    assert_int_equal(counter_get(&stage->log.refused), 1);
    assert_int_equal(counter_get(&stage->log.waiting), 0);
    stage_free(stage);
}

static void a_loop_that_is_busy_refuses_at_once_and_goes_on_later(void **state)
{
    struct stage *stage = stage_new(EVENT_KIND_CONNECTED);

    (void)state;
    stage->shard.limits.publish_count_max = 0;
    notes(stage, EVENT_KIND_CONNECTED, "ann", 1);
    assert_int_equal(stage->sent_count, 0);
    stage->shard.limits.publish_count_max = 9;
    shard_turn_begin(&stage->shard, 6, 1795297177251);
    event_log_tick(&stage->log);
    assert_true(first_is(stage, "1795297177250"));
    answer(stage, PUBLISH_DONE);
    stage_free(stage);
}

static void only_so_many_wait(void **state)
{
    struct stage *stage = stage_new(EVENT_KIND_CONNECTED);

    (void)state;
    for (uint64_t i = 0; i < EVENTS_WAITING_MAX + 3; i++)
        notes(stage, EVENT_KIND_CONNECTED, "ann", i + 1);
    assert_int_equal(counter_get(&stage->log.waiting), EVENTS_WAITING_MAX);
    assert_int_equal(counter_get(&stage->log.lost), 3);
    answer(stage, PUBLISH_NO_SPACE);
    stage_free(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nobody_asks_for_is_not_written),
        cmocka_unit_test(events_of_a_user_wait_behind_one_that_was_refused),
        cmocka_unit_test(a_loop_that_is_busy_refuses_at_once_and_goes_on_later),
        cmocka_unit_test(only_so_many_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
