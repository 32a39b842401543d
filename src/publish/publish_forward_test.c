/* A publish to a connection of another node: it is made there, and its answer comes back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/must.h"
#include "node/connection_key.h"
#include "node/shard.h"
#include "publish/publish_forward.h"

#include <cmocka.h>

enum { SENT_MAX = 4 };

static const struct hash_key hash_key = { 1, 2 };

struct stage {
    struct namespaces       spaces;
    struct connection_keys  keys[2];   /* of node A and of node B */
    struct shard            shards[2];
    struct command         *sent[SENT_MAX];
    size_t                  sent_count;
    struct publish_command *answered;
    unsigned                forwarded_count;
};

static void on_send(void *ctx, struct command *command)
{
    struct stage *stage = ctx;

    assert_true(stage->sent_count < SENT_MAX);
    stage->sent[stage->sent_count++] = command;
}

static void on_ready(void *ctx, struct subscription *sub)
{
    (void)ctx;
    (void)sub;
}

static void on_forward(void *ctx, struct publish_command *publish, uint16_t tag)
{
    struct stage *stage = ctx;

    stage->forwarded_count++;
    publish_forward(&stage->shards[0], publish, tag);
}

static void on_answered(struct publish_command *publish)
{
    ((struct stage *)publish->owner)->answered = publish;
}

static const struct shard_port port = { .send = on_send, .ready = on_ready, .forward = on_forward };

static struct stage *stage_new(void)
{
    static const struct shard_limits limits = { .page_count_max = 1, .publish_count_max = 9, .publish_bytes_max = 8 << 20 };
    struct stage *stage = calloc(1, sizeof *stage);

    must(stage != NULL);
    namespaces_init(&stage->spaces);
    for (unsigned i = 0; i < 2; i++) {
        stage->keys[i] = (struct connection_keys){ { 3, 4 + i }, (uint16_t)(10 + i) };
        shard_init(&stage->shards[i], 0, &port, stage, &limits);
        stage->shards[i].connection_keys = &stage->keys[i];
    }
    return stage;
}

static void stage_free(struct stage *stage)
{
    if (stage->answered != NULL)
        command_free(&stage->answered->command);
    shard_fini(&stage->shards[0]);
    shard_fini(&stage->shards[1]);
    free(stage);
}

static struct command *takes_sent(struct stage *stage)
{
    assert_int_equal(stage->sent_count, 1);
    stage->sent_count = 0;
    return stage->sent[0];
}

/* Through node A, to a connection that `of` has. */
static void publishes(struct stage *stage, unsigned of, uint32_t payload_len)
{
    struct channel_name *name;
    struct buf           text;
    char                *payload = calloc(1, payload_len + 1);

    must(payload != NULL);
    buf_init(&text, 64);
    buf_put_lit(&text, "conn:");
    connection_key_put(&text, connection_key_make(&stage->keys[of], (struct connection_key){ 2, 3, 4 }));
    assert_int_equal(channel_name_new(&stage->spaces, &hash_key, buf_span(&text), &name), CHANNEL_NAME_OK);
    struct message *message = message_new_event(name, MESSAGE_PLAIN, payload, payload_len, SPAN("text/plain"), SPAN("back-end"),
                                                SPAN("news"));
    message->expires_at = 9000;
    struct publish_command *publish = publish_command_new(&message, SPAN("once"), SPAN("back-end"));
    publish->owner    = stage;
    publish->answered = on_answered;
    shard_publish(&stage->shards[0], publish);
    channel_name_unref(name);
    buf_fini(&text);
    free(payload);
}

static struct peer_question *takes_question(struct stage *stage)
{
    struct command *command = takes_sent(stage);

    assert_ptr_equal(command->kind, &peer_question_kind);
    return container_of(command, struct peer_question, command);
}

static void it_is_made_where_the_connection_is(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    publishes(stage, 1, 5);
    assert_int_equal(stage->forwarded_count, 1);
    struct peer_question *question = takes_question(stage);
    assert_int_equal(question->topic, PEER_PUBLISH);
    assert_int_equal(question->tag, 11);

    struct peer_call *call = peer_call_new(PEER_PUBLISH, NULL, buf_span(&question->body));
    publish_forward_serve(&stage->shards[1], &stage->spaces, &hash_key, call);
    struct command *command = takes_sent(stage);  /* it visits the loop of the connection, as any other */
    struct publish_command *made = container_of(command, struct publish_command, command);
    assert_int_equal(made->via_loop, 2);
    assert_true(span_eq(made->append.key, SPAN("once")) && span_eq(made->append.publisher, SPAN("back-end")));
    assert_int_equal(made->append.message->seq, 0);
    assert_int_equal(made->append.message->expires_at, 9000);
    assert_int_equal(made->append.message->payload_len, 5);
    assert_true(span_eq(message_event(made->append.message), SPAN("news")));
    command->kind = &publish_kind;
    made->outcome = PUBLISH_REPLAYED;
    made->answer  = (struct append_answer){ 7, 8, 9, 10 };
    shard_take(&stage->shards[1], command);

    command = takes_sent(stage);
    assert_ptr_equal(command, &call->command);
    peer_question_add(question, "b", buf_span(&call->answer));
    command_free(command);
    shard_take(&stage->shards[0], &question->command);
    assert_non_null(stage->answered);
    assert_int_equal(stage->answered->outcome, PUBLISH_REPLAYED);
    assert_true(stage->answered->answer.epoch == 7 && stage->answered->answer.seq == 8 && stage->answered->answer.id == 9 &&
                stage->answered->answer.time == 10);
    stage_free(stage);
}

/* As to a connection that is not there. */
static void without_an_answer_it_is_made_here(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    publishes(stage, 1, 5);
    shard_take(&stage->shards[0], &takes_question(stage)->command);
    struct command *command = takes_sent(stage);
    assert_ptr_equal(command->kind, &publish_kind);
    assert_null(stage->answered);
    shard_take(&stage->shards[0], command);
    assert_non_null(stage->answered);
    stage_free(stage);
}

static void one_of_this_node_stays(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    publishes(stage, 0, 5);
    assert_int_equal(stage->forwarded_count, 0);
    struct command *command = takes_sent(stage);
    command->kind = &publish_kind;
    shard_take(&stage->shards[0], command);
    stage_free(stage);
}

static void a_large_one_is_refused(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    publishes(stage, 1, 1 << 20);
    assert_non_null(stage->answered);
    assert_int_equal(stage->answered->outcome, PUBLISH_TOO_FAR);
    stage_free(stage);
}

static void what_can_not_be_read_gets_no_answer(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    publishes(stage, 1, 5);
    struct peer_question *question = takes_question(stage);
    for (size_t len = 0; len < question->body.len - 5; len++) {
        struct peer_call *call = peer_call_new(PEER_PUBLISH, NULL, span_head(buf_span(&question->body), len));
        publish_forward_serve(&stage->shards[1], &stage->spaces, &hash_key, call);
        assert_ptr_equal(takes_sent(stage), &call->command);
        assert_true(call->is_unknown);
        command_free(&call->command);
    }
    peer_question_add(question, "b", SPAN("garbage"));
    shard_take(&stage->shards[0], &question->command);
    shard_take(&stage->shards[0], takes_sent(stage));
    stage_free(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_made_where_the_connection_is),
        cmocka_unit_test(without_an_answer_it_is_made_here),
        cmocka_unit_test(one_of_this_node_stays),
        cmocka_unit_test(a_large_one_is_refused),
        cmocka_unit_test(what_can_not_be_read_gets_no_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
