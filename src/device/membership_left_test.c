/* Who has left a group: the notice for other nodes, and what its reader takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <stdio.h>

#include "base/must.h"
#include "device/membership_left.h"
#include "node/peer_question.h"
#include "node/shard.h"
#include "store/mem.h"

#include <cmocka.h>

static const struct hash_key hash_key = { 1, 2 };

/* The writer of one node, its two loops, and what it says to others. */
struct stage {
    struct namespaces     spaces;
    struct store         *durable, *memory;
    struct writer         writer;
    struct shard          shard;
    struct command       *to_writer;
    struct peer_question *notice;
    unsigned              told_loops, answered_calls;
    char                  told[64];
};

static void on_left(void *ctx, struct channel_name *user, struct channel_name *group)
{
    struct stage *stage = ctx;

    stage->told_loops++;
    snprintf(stage->told, sizeof stage->told, "%s %s", user->text, group->text);
}

static void to_writer(void *ctx, struct command *command)
{
    ((struct stage *)ctx)->to_writer = command;
}

static const struct shard_port shard_port_here = { .send = to_writer, .left = on_left };

static void on_send(void *ctx, unsigned loop, struct command *command)
{
    (void)loop;
    command->kind->at_loop(command, &((struct stage *)ctx)->shard);
}

static void on_post(void *ctx, struct command *command)
{
    (void)ctx;
    (void)command;
    fail();
}

static const struct writer_port port = { on_send, on_post };

static void on_ask(void *ctx, struct peer_question *question)
{
    assert_true(question->is_notice && question->topic == PEER_LEFT);
    ((struct stage *)ctx)->notice = question;
}

static void on_answer(void *ctx, struct peer_call *call)
{
    ((struct stage *)ctx)->answered_calls++;
    command_free(&call->command);
}

static void on_turn(void *ctx)
{
    (void)ctx;
}

static const struct cluster_port cluster = { .ask = on_ask, .answer = on_answer, .turn_end = on_turn, .tick = on_turn };

static struct stage *stage_new(void)
{
    static const struct mem_store_options options = { .epoch_first = 5, .id_first = 1, .hash_key = { 1, 2 } };
    static const struct writer_limits     limits  = { .waiting_count_max = 1, .batch_count_max = 1, .tail_messages_max = 1,
                                                      .deadline_ticks = 1, .delivery_count_max = 2, .delivery_bytes_max = 2 };
    static const struct shard_limits      none    = { .page_count_max = 1 };
    struct stage                         *stage   = calloc(1, sizeof *stage);

    must(stage != NULL);
    namespaces_init(&stage->spaces);
    stage->durable = mem_store_new(&options);
    stage->memory  = mem_store_new(&options);
    writer_init(&stage->writer, &port, stage, stage->durable, stage->memory, &limits, 2);
    stage->writer.cluster     = &cluster;
    stage->writer.cluster_ctx = stage;
    shard_init(&stage->shard, 0, &shard_port_here, stage, &none);
    return stage;
}

static void stage_free(struct stage *stage)
{
    writer_fini(&stage->writer);
    shard_fini(&stage->shard);
    stage->durable->ops->close(stage->durable);
    stage->memory->ops->close(stage->memory);
    free(stage);
}

static struct channel_name *name_of(struct stage *stage, const char *text)
{
    struct channel_name *name;

    assert_int_equal(channel_name_new(&stage->spaces, &hash_key, span_str(text), &name), CHANNEL_NAME_OK);
    return name;
}

static void tells(struct stage *stage)
{
    struct channel_name *user = name_of(stage, "user:ann"), *group = name_of(stage, "group:shop");

    membership_left_tell(&stage->writer, user, group);
    channel_name_unref(user);
    channel_name_unref(group);
}

static void all_loops_of_all_nodes_are_told(void **state)
{
    struct stage *here = stage_new(), *there = stage_new();

    (void)state;
    tells(here);
    assert_int_equal(here->told_loops, 2);
    assert_non_null(here->notice);

    struct peer_call *call = peer_call_new(PEER_LEFT, NULL, buf_span(&here->notice->body));
    call->is_notice        = true;
    shard_serve_left(&there->shard, &there->spaces, &hash_key, call);
    there->to_writer->kind->at_writer(there->to_writer, &there->writer);
    assert_int_equal(there->told_loops, 2);
    assert_string_equal(there->told, "user:ann group:shop");
    assert_int_equal(there->answered_calls, 1);
    assert_null(there->notice);  /* who was told tells nobody */
    here->notice->settled(here->notice, &here->writer);
    stage_free(here);
    stage_free(there);
}

static void a_node_alone_says_nothing(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    stage->writer.cluster = NULL;
    tells(stage);
    assert_int_equal(stage->told_loops, 2);
    assert_null(stage->notice);
    stage_free(stage);
}

static void what_can_not_be_read_is_dropped(void **state)
{
    struct stage *stage = stage_new();

    (void)state;
    tells(stage);
    struct span body = buf_span(&stage->notice->body);
    for (size_t len = 0; len < body.len; len++) {
        struct peer_call *call = peer_call_new(PEER_LEFT, NULL, span_head(body, len));
        shard_serve_left(&stage->shard, &stage->spaces, &hash_key, call);
        assert_true(call->is_unknown);
        assert_ptr_equal(stage->to_writer, &call->command);
        command_free(stage->to_writer);
    }
    assert_int_equal(stage->told_loops, 2);
    command_free(&stage->notice->command);
    stage_free(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_loops_of_all_nodes_are_told),
        cmocka_unit_test(a_node_alone_says_nothing),
        cmocka_unit_test(what_can_not_be_read_is_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
