/* fence_question.c - links on other nodes are asked for by questions of the cluster. */
#include <stdlib.h>

#include "base/must.h"
#include "device/devices_priv.h"
#include "node/peer_question.h"

/* --- asking ----------------------------------------------------------------------------------------------------- */

static void fence_question_settled(struct peer_question *question, struct writer *writer)
{
    struct peer_fence_ask *ask = question->owner;

    (void)writer;
    for (const struct peer_answer *answer = question->answers; answer != NULL; answer = answer->next)
        device_peer_answered(ask, span_of(answer->body, answer->len));
    ask->is_unasked = question->is_unsure;
    device_peer_settled(ask, question->missing > 0 || question->is_unsure);
    command_free(&question->command);
}

static void ask_by_question(void *ctx, struct peer_fence_ask *ask)
{
    struct peer_question *question = peer_question_new(PEER_FENCE);

    _Static_assert(sizeof question->node == sizeof ask->node, "both hold the name of a node");
    question->is_notice   = ask->is_notice;
    question->channel     = ask->user_log == NULL ? NULL : channel_name_ref(ask->user_log);
    question->incarnation = ask->incarnation;
    question->may_be_new  = ask->may_be_new;
    question->wait_ms     = PEER_FENCE_WAIT_MS;
    question->settled     = fence_question_settled;
    question->owner       = ask;
    memcpy(question->node, ask->node, sizeof question->node);
    buf_put(&question->body, buf_span(&ask->body));
    writer_ask_peers(ctx, question);
}

const struct device_peers peers_by_question = { .ask = ask_by_question };

/* --- being asked ------------------------------------------------------------------------------------------------ */

struct fence_serving {
    struct command         command;
    struct devices        *devices;
    struct peer_call      *question;
    struct peer_fence_call call;
};

static void fence_serving_free(struct command *command)
{
    struct fence_serving *serving = container_of(command, struct fence_serving, command);

    command_free(&serving->question->command);
    free(serving);
}

static void fence_serving_end(struct fence_serving *serving)
{
    writer_answer_peer(serving->devices->writer, serving->question);
    free(serving);
}

static void fence_serving_answered(struct peer_fence_call *call)
{
    struct fence_serving *serving = container_of(call, struct fence_serving, call);

    buf_put(&serving->question->answer, buf_span(&call->answer));
    buf_fini(&call->answer);
    fence_serving_end(serving);
}

static void fence_serving_dropped(struct peer_fence_call *call)
{
    fence_serving_free(&container_of(call, struct fence_serving, call)->command);
}

static void fence_serving_at_writer(struct command *command, struct writer *writer)
{
    struct fence_serving *serving = container_of(command, struct fence_serving, command);

    (void)writer;
    if (device_peer_called(serving->devices, &serving->call, buf_span(&serving->question->body)))
        return;
    serving->question->is_unknown = true;
    fence_serving_end(serving);
}

static const struct command_kind fence_serving_kind = {
    .name = "fence for another node", .free = fence_serving_free, .at_writer = fence_serving_at_writer,
};

void devices_serve_fence(struct devices *devices, struct peer_call *call)
{
    struct fence_serving *serving = calloc(1, sizeof *serving);

    must(serving != NULL);
    *serving = (struct fence_serving){ .command.kind = &fence_serving_kind, .devices = devices, .question = call,
                                       .call = { .answered = fence_serving_answered, .dropped = fence_serving_dropped } };
    devices->writer->port->post(devices->writer->ctx, &serving->command);
}
