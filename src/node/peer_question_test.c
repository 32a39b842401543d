/* Questions to other nodes, as loops see them: on a node alone they come back at once; what nobody here knows is said so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "node/cluster_port.h"
#include "node/peer_question.h"
#include "node/shard.h"
#include "node/writer.h"

#include <cmocka.h>

struct fixture {
    struct writer         writer;  /* nothing of it is used but its ways out */
    struct writer_port    writer_port;
    struct shard          shard;
    struct shard_port     shard_port;
    struct command       *to_writer, *to_loop;
    unsigned              loop;
    unsigned              answered, settled;
    struct peer_question *asked;
    struct peer_call     *answer;
};

static void fixture_to_loop(void *ctx, unsigned loop, struct command *command)
{
    struct fixture *fixture = ctx;

    fixture->to_loop = command;
    fixture->loop    = loop;
}

static void fixture_to_writer(void *ctx, struct command *command)
{
    ((struct fixture *)ctx)->to_writer = command;
}

static void fixture_init(struct fixture *fixture)
{
    const struct shard_limits limits = { .page_count_max = 1 };

    *fixture                   = (struct fixture){ 0 };
    fixture->writer_port       = (struct writer_port){ .send = fixture_to_loop };
    fixture->writer.port       = &fixture->writer_port;
    fixture->writer.ctx        = fixture;
    fixture->writer.loop_count = 3;
    fixture->shard_port        = (struct shard_port){ .send = fixture_to_writer };
    shard_init(&fixture->shard, 2, &fixture->shard_port, fixture, &limits);
}

static void was_answered(struct peer_question *question)
{
    struct fixture *fixture = question->owner;

    assert_null(question->answers);
    assert_int_equal(question->asked, 0);
    fixture->answered++;
    command_free(&question->command);
}

static void was_settled(struct peer_question *question, struct writer *writer)
{
    struct fixture *fixture = question->owner;

    assert_ptr_equal(writer, &fixture->writer);
    fixture->settled++;
    command_free(&question->command);
}

static void a_node_alone_asks_nobody(void **state)
{
    (void)state;
    struct fixture        fixture;
    struct peer_question *question = peer_question_new(PEER_COUNT), *at_writer = peer_question_new(PEER_FENCE);

    fixture_init(&fixture);
    question->owner    = &fixture;
    question->answered = was_answered;
    shard_ask_peers(&fixture.shard, question);
    assert_int_equal(fixture.shard.away_count, 1);
    fixture.to_writer->kind->at_writer(fixture.to_writer, &fixture.writer);
    assert_int_equal(fixture.loop, 2);
    assert_int_equal(fixture.answered, 0);
    shard_take(&fixture.shard, fixture.to_loop);
    assert_int_equal(fixture.answered, 1);
    assert_int_equal(fixture.shard.away_count, 0);

    at_writer->owner   = &fixture;
    at_writer->settled = was_settled;
    writer_ask_peers(&fixture.writer, at_writer);
    assert_int_equal(fixture.settled, 1);
    shard_fini(&fixture.shard);
}

static void fixture_ask(void *ctx, struct peer_question *question)
{
    ((struct fixture *)ctx)->asked = question;
}

static void fixture_answer(void *ctx, struct peer_call *call)
{
    ((struct fixture *)ctx)->answer = call;
}

static const struct cluster_port cluster = { .ask = fixture_ask, .answer = fixture_answer };

static void the_cluster_carries_questions(void **state)
{
    (void)state;
    struct fixture        fixture;
    struct peer_question *question = peer_question_new(PEER_COUNT);

    fixture_init(&fixture);
    fixture.writer.cluster     = &cluster;
    fixture.writer.cluster_ctx = &fixture;
    question->owner            = &fixture;
    question->answered         = was_answered;
    shard_ask_peers(&fixture.shard, question);
    fixture.to_writer->kind->at_writer(fixture.to_writer, &fixture.writer);
    assert_ptr_equal(fixture.asked, question);
    peer_question_add(question, "n2", SPAN("two"));
    peer_question_add(question, "n3", SPAN(""));
    assert_string_equal(question->answers->node, "n2");
    assert_int_equal(question->answers->len, 3);
    assert_string_equal(question->answers->next->node, "n3");
    command_free(&question->command);
    shard_fini(&fixture.shard);
}

static void a_loop_without_answers_says_so(void **state)
{
    (void)state;
    struct fixture    fixture;
    struct peer_call *call = peer_call_new(PEER_COUNT, NULL, SPAN("body"));

    fixture_init(&fixture);
    fixture.writer.cluster     = &cluster;
    fixture.writer.cluster_ctx = &fixture;
    call->question             = 5;
    peer_call_serve(&fixture.writer, call);
    assert_int_equal(fixture.loop, 2);
    shard_take(&fixture.shard, fixture.to_loop);
    fixture.to_writer->kind->at_writer(fixture.to_writer, &fixture.writer);
    assert_ptr_equal(fixture.answer, call);
    assert_true(call->is_unknown);
    call->is_notice = true;
    peer_call_serve(&fixture.writer, call);
    assert_int_equal(fixture.loop, 0);
    fixture.writer.cluster = NULL;
    writer_answer_peer(&fixture.writer, call);
    shard_fini(&fixture.shard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_alone_asks_nobody),
        cmocka_unit_test(the_cluster_carries_questions),
        cmocka_unit_test(a_loop_without_answers_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
