#include "uplink/uplink.h"

#include <stdlib.h>

#include "base/must.h"
#include "node/peer_question.h"
#include "node/shard.h"

static void uplink_request(void *ctx, struct request_command *command)
{
    struct uplink *uplink = ctx;
    requests_take(&uplink->requests, command);
}

static void uplink_committed(void *ctx, struct message *message)
{
    struct uplink *uplink = ctx;
    forwarders_committed(&uplink->forwarders, message);
}

static void uplink_turn_end(void *ctx)
{
    struct uplink *uplink = ctx;
    requests_turn_end(&uplink->requests);
    forwarders_turn_end(&uplink->forwarders);
}

static void uplink_tick(void *ctx)
{
    struct uplink *uplink = ctx;
    requests_tick(&uplink->requests);
    forwarders_tick(&uplink->forwarders);
}

static bool uplink_is_idle(void *ctx)
{
    struct uplink *uplink = ctx;
    return requests_is_idle(&uplink->requests) && forwarders_is_idle(&uplink->forwarders);
}

static bool uplink_is_still(void *ctx)
{
    struct uplink *uplink = ctx;
    return requests_is_still(&uplink->requests) && forwarders_is_still(&uplink->forwarders);
}

const struct uplink_port uplink_port = {
    .request = uplink_request, .committed = uplink_committed, .turn_end = uplink_turn_end, .tick = uplink_tick,
    .is_idle = uplink_is_idle, .is_still = uplink_is_still,
};

void uplink_init(struct uplink *uplink, const struct requests_setup *setup, const struct requests_limits *limits,
                 const struct forwarders_setup *forwarders)
{
    requests_init(&uplink->requests, setup, limits);
    forwarders_init(&uplink->forwarders, forwarders);
}

void uplink_fini(struct uplink *uplink)
{
    requests_fini(&uplink->requests);
    forwarders_fini(&uplink->forwarders);
}

void uplink_turn_begin(struct uplink *uplink, msec now)
{
    requests_turn_begin(&uplink->requests, now);
    forwarders_turn_begin(&uplink->forwarders, now);
}

void uplink_hurry(struct uplink *uplink)
{
    uplink->requests.is_hurried = true;
}

void uplink_hold(struct uplink *uplink, bool is_holding)
{
    uplink->forwarders.is_holding = is_holding;
}

uint64_t uplink_calls(const struct uplink *uplink)
{
    return counter_get(&uplink->requests.counters.calls) + counter_get(&uplink->forwarders.calls);
}

void uplink_stop(struct uplink *uplink)
{
    requests_stop(&uplink->requests);
    forwarders_stop(&uplink->forwarders);
}

/* --- hints of other nodes ----------------------------------------------------------------------------------------------- */

/* On its way from a loop to the writer. */
struct uplink_hint {
    struct command    command;
    struct peer_call *call;
};

static void uplink_hint_free(struct command *command)
{
    struct uplink_hint *hint = container_of(command, struct uplink_hint, command);

    command_free(&hint->call->command);
    free(hint);
}

static bool uplink_take_hint(struct uplink *uplink, const struct peer_call *call)
{
    if (call->topic == PEER_CANCEL)
        return requests_told_cancel(&uplink->requests, buf_span(&call->body));
    return forwarders_told(&uplink->forwarders, buf_span(&call->body));
}

static void uplink_hint_at_writer(struct command *command, struct writer *writer)
{
    struct uplink_hint *hint   = container_of(command, struct uplink_hint, command);
    struct uplink      *uplink = writer->uplink == &uplink_port ? writer->uplink_ctx : NULL;

    if (uplink == NULL || !uplink_take_hint(uplink, hint->call))
        hint->call->is_unknown = true;
    writer_answer_peer(writer, hint->call);
    free(hint);
}

static const struct command_kind uplink_hint_kind = {
    .name = "uplink hint", .free = uplink_hint_free, .at_writer = uplink_hint_at_writer,
};

void uplink_serve_hint(struct shard *shard, struct peer_call *call)
{
    struct uplink_hint *hint = calloc(1, sizeof *hint);

    must(hint != NULL);
    hint->command.kind = &uplink_hint_kind;
    hint->call         = call;
    shard_send_own(shard, &hint->command);
}
