#include "node/peer_question.h"

#include <stdlib.h>

#include "base/must.h"
#include "node/cluster_port.h"
#include "node/shard.h"
#include "node/writer.h"

/* --- questions --------------------------------------------------------------------------------------------------- */

static void peer_question_free(struct command *command)
{
    struct peer_question *question = container_of(command, struct peer_question, command);

    while (question->answers != NULL) {
        struct peer_answer *next = question->answers->next;
        free(question->answers);
        question->answers = next;
    }
    channel_name_unref(question->channel);
    buf_fini(&question->body);
    free(question);
}

static void shard_take_peer_answers(struct command *command, struct shard *shard)
{
    struct peer_question *question = container_of(command, struct peer_question, command);

    shard_end_question(shard);
    question->answered(question);
}

static void writer_take_peer_question(struct command *command, struct writer *writer)
{
    writer_ask_peers(writer, container_of(command, struct peer_question, command));
}

const struct command_kind peer_question_kind = {
    .name = "peer_question", .free = peer_question_free, .at_loop = shard_take_peer_answers,
    .at_writer = writer_take_peer_question,
};

struct peer_question *peer_question_new(enum peer_topic topic)
{
    struct peer_question *question = calloc(1, sizeof *question);

    must(question != NULL);
    question->command.kind = &peer_question_kind;
    question->topic        = topic;
    question->wait_ms      = PEER_WAIT_MS_USUAL;
    buf_init(&question->body, PEER_BODY_BYTES_MAX);
    return question;
}

void shard_ask_peers(struct shard *shard, struct peer_question *question)
{
    must(question->answered != NULL && question->settled == NULL);
    shard_ask_question(shard, &question->command);
}

void writer_ask_peers(struct writer *writer, struct peer_question *question)
{
    must(!buf_is_over(&question->body) && question->wait_ms > 0 && question->wait_ms <= PEER_WAIT_MS_MAX);
    if (writer->cluster == NULL)
        peer_question_end(question, writer);
    else
        writer->cluster->ask(writer->cluster_ctx, question);
}

void peer_question_end(struct peer_question *question, struct writer *writer)
{
    if (question->settled != NULL)
        question->settled(question, writer);
    else
        writer->port->send(writer->ctx, question->command.loop, &question->command);
}

void peer_question_add(struct peer_question *question, const char *node, struct span body)
{
    struct peer_answer **end    = &question->answers;
    struct peer_answer  *answer = calloc(1, sizeof *answer + body.len);
    size_t               len    = strlen(node);

    must(answer != NULL && len < sizeof answer->node);
    memcpy(answer->node, node, len);
    answer->len = body.len;
    if (body.len > 0)
        memcpy(answer->body, body.at, body.len);
    while (*end != NULL)
        end = &(*end)->next;
    *end = answer;
}

/* --- calls ------------------------------------------------------------------------------------------------------- */

static void peer_call_free(struct command *command)
{
    struct peer_call *call = container_of(command, struct peer_call, command);

    channel_name_unref(call->channel);
    buf_fini(&call->body);
    buf_fini(&call->answer);
    free(call);
}

static void shard_take_peer_call(struct command *command, struct shard *shard)
{
    struct peer_call *call = container_of(command, struct peer_call, command);

    if (shard->port->peer_call != NULL) {
        shard->port->peer_call(shard->ctx, call);
        return;
    }
    call->is_unknown = true;
    peer_call_answer(shard, call);
}

static void writer_take_peer_answer(struct command *command, struct writer *writer)
{
    writer_answer_peer(writer, container_of(command, struct peer_call, command));
}

const struct command_kind peer_call_kind = {
    .name = "peer_call", .free = peer_call_free, .at_loop = shard_take_peer_call, .at_writer = writer_take_peer_answer,
};

struct peer_call *peer_call_new(enum peer_topic topic, struct channel_name *channel, struct span body)
{
    struct peer_call *call = calloc(1, sizeof *call);

    must(call != NULL);
    call->command.kind = &peer_call_kind;
    call->topic        = topic;
    call->channel      = channel == NULL ? NULL : channel_name_ref(channel);
    buf_init(&call->body, PEER_BODY_BYTES_MAX);
    buf_init(&call->answer, PEER_BODY_BYTES_MAX);
    buf_put(&call->body, body);
    return call;
}

void peer_call_answer(struct shard *shard, struct peer_call *call)
{
    shard_send_own(shard, &call->command);
}

void writer_answer_peer(struct writer *writer, struct peer_call *call)
{
    if (writer->cluster == NULL)
        command_free(&call->command);
    else
        writer->cluster->answer(writer->cluster_ctx, call);
}

void peer_call_serve(struct writer *writer, struct peer_call *call)
{
    unsigned loop = call->is_notice ? 0 : (unsigned)(call->question % writer->loop_count);

    writer->port->send(writer->ctx, loop, &call->command);
}
