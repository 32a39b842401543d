/* probe.c - for supervision: is the server alive, is it ready, and its metrics. */
#include <stdlib.h>

#include "api/call.h"
#include "base/must.h"
#include "publish/publish_check.h"

void serve_health(struct call *call)
{
    struct buf *scratch = &call->api->scratch;

    buf_clear(scratch);
    buf_put_lit(scratch, "{\"status\":\"ok\",\"version\":");
    json_put_string(scratch, span_str(call->api->version));
    buf_putc(scratch, '}');
    call_answer_json(call, 200, buf_span(scratch));
}

/* A server is ready when it has just carried a message, the canary, through this loop, the writer and a store. */
static void canary_came_home(struct publish_command *command)
{
    struct http_exchange *exchange = command->owner;
    struct api           *api      = exchange->owner;

    if (command->outcome == PUBLISH_DONE)
        http_answer(api->server, exchange, &(struct http_answer){
            .status = 200, .media = SPAN("application/json"), .body = SPAN("{\"status\":\"ready\"}"),
        });
    else
        http_problem(api->server, exchange, 503, NULL, "a canary message was not accepted", retry_after(503));
    command_free(&command->command);
}

static void send_canary(struct api *api, struct http_exchange *exchange)
{
    struct channel_name *name;

    must(channel_name_new(api->namespaces, api->hash_key, SPAN("sys:canary"), &name) == CHANNEL_NAME_OK);
    struct message *message = message_new(name, MESSAGE_PLAIN, NULL, 0, SPAN("text/plain"), SPAN(""));
    message->time           = api->shard->wall;

    struct publish_command *command = publish_command_new(&message, SPAN(""), SPAN(""));
    command->owner                 = exchange;
    command->answered              = canary_came_home;
    shard_publish(api->shard, command);
    channel_name_unref(name);
}

enum { SYNC_MS_MAX = 5000 };

/* While the disk takes longer than SYNC_MS_MAX for one sync, the server is not ready for publishes. */
static void disk_was_asked(struct stats_command *command)
{
    struct http_exchange *exchange = command->owner;
    struct api           *api      = exchange->owner;

    if (command->stats.busy_ms > SYNC_MS_MAX)
        http_problem(api->server, exchange, 503, NULL, "the disk has been busy with one sync for over five seconds",
                     retry_after(503));
    else
        send_canary(api, exchange);
    command_free(&command->command);
}

static void ask_disk(struct call *call)
{
    struct stats_command *command = calloc(1, sizeof *command);

    must(command != NULL);
    command->owner    = call->exchange;
    command->answered = disk_was_asked;
    shard_ask_stats(call->api->shard, command);
}

void serve_ready(struct call *call)
{
    struct api_health health = { 0 };

    call->api->port->health(call->api->ctx, &health);
    if (health.is_stopping)
        call_refuse(call, 503, "this node is stopping");
    else if (health.is_store_broken)
        call_refuse(call, 503, "the store can't be trusted now; it is being reopened");
    else if (health.is_store_full)
        call_refuse(call, 503, "the disk is full: durable publishes are refused");
    else
        ask_disk(call);
}

static void stats_came(struct stats_command *command)
{
    struct http_exchange *exchange = command->owner;
    struct api           *api      = exchange->owner;

    buf_clear(&api->scratch);
    api->port->put_metrics(api->ctx, &command->stats, &api->scratch);
    http_answer(api->server, exchange, &(struct http_answer){
        .status = 200, .media = SPAN("text/plain; version=0.0.4; charset=utf-8"), .body = buf_span(&api->scratch),
    });
    command_free(&command->command);
}

void serve_metrics(struct call *call)
{
    if (!call_passes(call, may(call->identity, NULL, ACTION_METRICS)))
        return;
    struct stats_command *command = calloc(1, sizeof *command);
    must(command != NULL);
    command->owner    = call->exchange;
    command->answered = stats_came;
    shard_ask_stats(call->api->shard, command);
}
