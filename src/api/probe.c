/* probe.c - for supervision: is the server alive, is it ready, and its metrics. */
#include <stdio.h>
#include <stdlib.h>

#include "api/call.h"
#include "base/must.h"
#include "node/canary.h"
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

/* --- readiness ------------------------------------------------------------------------------------------------ */

/* What is asked: may clients be sent here to read, to publish, or both? The steps follow one another, and the first
 * that fails answers:
 *
 *     health ──► the disk of publishes ──► a read of the log ──► the bus ──► a canary message ──► 200
 *                (publishing only)         (reading only)        (reading only)
 *
 * In a cluster a canary travels through the engine and back to this node. An engine that is known to be away takes no node
 * away: all of them deliver without it (decision 80).
 *
 * Reading doesn't depend on room on the disk or on syncs, so a full disk takes no reader away (decision 30). */
struct readiness {
    struct api           *api;
    struct http_exchange *exchange;
    bool                  of_reading, of_publishing;
    bool                  is_engine_away;  /* of a cluster */
    struct list           link;            /* in api.probes while the log is read … */
    msec                  until;           /* … which is waited for no longer */
};

/* A PostgreSQL whose packets are lost is given up after ten seconds. Whoever asks waits two (docs/operations.md), and api_tick() comes once
 * in a second. */
enum { READ_MS_MAX = 700 };

static void readiness_refuse(struct readiness *readiness, const char *detail)
{
    http_problem(readiness->api->server, readiness->exchange, 503, NULL, detail, retry_after(503));
    free(readiness);
}

/* The engine that keeps memory channels, which is none of this node's parts, did not take it. If that spoke against a node, all
 * nodes of a cluster would be left at once, while durable channels are well. */
static bool is_refused_elsewhere(const struct shard *shard, enum publish_outcome outcome)
{
    return shard->engines.memory != NULL &&
           (outcome == PUBLISH_AWAY || outcome == PUBLISH_BROKEN || outcome == PUBLISH_NO_SPACE);
}

static void readiness_confirm(struct readiness *readiness)
{
    const struct span body = readiness->is_engine_away ? SPAN("{\"status\":\"ready\",\"cluster\":\"away\"}")
                                                       : SPAN("{\"status\":\"ready\"}");

    http_answer(readiness->api->server, readiness->exchange, &(struct http_answer){
        .status = 200, .media = SPAN("application/json"), .body = body,
    });
    free(readiness);
}

/* The canary has been through this loop, the writer and the store of memory channels. */
static void canary_came_home(struct publish_command *command)
{
    struct readiness *readiness = command->owner;

    if (command->outcome == PUBLISH_DONE || is_refused_elsewhere(readiness->api->shard, command->outcome))
        readiness_confirm(readiness);
    else
        readiness_refuse(readiness, "a canary message was not accepted");
    command_free(&command->command);
}

static void send_canary(struct readiness *readiness)
{
    struct api          *api = readiness->api;
    struct channel_name *name;

    must(channel_name_new(api->namespaces, api->hash_key, SPAN("sys:canary"), &name) == CHANNEL_NAME_OK);
    struct message *message = message_new(name, MESSAGE_PLAIN, NULL, 0, SPAN("text/plain"), SPAN(""));
    message->time           = api->shard->wall;

    struct publish_command *command = publish_command_new(&message, SPAN(""), SPAN(""));
    command->owner                 = readiness;
    command->answered              = canary_came_home;
    shard_publish(api->shard, command);
    channel_name_unref(name);
}

static void bus_canary_came_home(struct canary *canary)
{
    struct readiness *readiness = canary->owner;
    enum canary_end   end       = canary->end;

    command_free(&canary->command);
    readiness->is_engine_away = end == CANARY_AWAY;
    if (end == CANARY_LOST)
        readiness_refuse(readiness, "a canary did not come back through the cluster's engine within two seconds");
    else
        send_canary(readiness);
}

static void ask_bus(struct readiness *readiness)
{
    struct canary *canary = canary_new();

    canary->owner    = readiness;
    canary->answered = bus_canary_came_home;
    shard_send_canary(readiness->api->shard, canary);
}

static void log_was_read(struct read_command *command)
{
    struct readiness *readiness = command->owner;

    if (readiness->exchange == NULL) {
        free(readiness);  /* probes_tick() has answered */
    } else {
        list_take(&readiness->link);
        if (command->read.rc != RC_OK)
            readiness_refuse(readiness, shard_engine_text(readiness->api->shard, NULL, "the store can't be read just now"));
        else
            ask_bus(readiness);
    }
    command_free(&command->command);
}

void probes_tick(struct api *api)
{
    while (!list_is_empty(&api->probes)) {
        struct readiness *readiness = container_of(api->probes.next, struct readiness, link);
        if (readiness->until > api->shard->now)
            return;
        list_take(&readiness->link);
        http_problem(api->server, readiness->exchange, 503, NULL,
                     shard_engine_text(api->shard, NULL, "the store does not answer a read just now"), retry_after(503));
        readiness->exchange = NULL;
    }
}

/* A channel that is kept in the durable log, or NULL: no namespace is durable. Nothing is ever published there. */
static struct channel_name *canary_of_log(const struct api *api)
{
    struct channel_name *name = NULL;
    char                 text[NAMESPACE_NAME_BYTES_MAX + sizeof ":canary"];

    for (size_t i = 0; i < api->namespaces->count && name == NULL; i++) {
        if (api->namespaces->at[i].durability != DURABLE)
            continue;
        snprintf(text, sizeof text, "%s:canary", api->namespaces->at[i].name);
        must(channel_name_new(api->namespaces, api->hash_key, span_str(text), &name) == CHANNEL_NAME_OK);
    }
    return name;
}

static void read_log(struct readiness *readiness)
{
    struct channel_name *name = canary_of_log(readiness->api);

    if (name == NULL) {
        ask_bus(readiness);
        return;
    }
    struct read_command *command = read_command_new(name);
    command->owner              = readiness;
    command->answered           = log_was_read;
    command->read.way           = READ_AFTER;
    readiness->until            = readiness->api->shard->now + READ_MS_MAX;
    list_push(&readiness->api->probes, &readiness->link);
    shard_read(readiness->api->shard, command);
    channel_name_unref(name);
}

enum { SYNC_MS_MAX = 5000 };

static void disk_was_asked(struct stats_command *command)
{
    struct readiness *readiness = command->owner;

    if (command->stats.busy_ms > SYNC_MS_MAX)
        readiness_refuse(readiness, readiness->api->shard->engines.durable == NULL
                                        ? "the disk has been busy with one sync for over five seconds"
                                        : shard_engine_text(readiness->api->shard, NULL, "one commit has been under way for over five seconds"));
    else if (readiness->of_reading)
        read_log(readiness);
    else
        send_canary(readiness);
    command_free(&command->command);
}

static void ask_disk(struct readiness *readiness)
{
    struct stats_command *command = calloc(1, sizeof *command);

    must(command != NULL);
    command->owner    = readiness;
    command->answered = disk_was_asked;
    shard_ask_stats(readiness->api->shard, command);
}

/* NULL: nothing that the server knows of itself speaks against it. */
static const char *health_complaint(struct shard *shard, const struct api_health *health, bool of_publishing)
{
    if (health->is_stopping)
        return "this node is stopping";
    if (health->is_draining && !of_publishing)
        return "this node is being drained: it takes no further readers";
    if (health->is_drained)
        return "this node is drained; it may be stopped";
    if (of_publishing && health->is_store_broken)
        return shard->engines.durable == NULL ? "the store can't be trusted now; it is being reopened"
                                              : shard_engine_text(shard, NULL, "the store, or a database of it, can't be reached");
    if (of_publishing && health->is_store_full)
        return shard_engine_text(shard, NULL, "the disk is full: durable publishes are refused");
    return NULL;
}

static void readiness_ask(struct call *call, bool of_reading, bool of_publishing)
{
    struct api_health health = { 0 };

    call->api->port->health(call->api->ctx, &health);
    const char *complaint = health_complaint(call->api->shard, &health, of_publishing);
    if (complaint != NULL) {
        call_refuse(call, 503, complaint);
        return;
    }
    struct readiness *readiness = malloc(sizeof *readiness);
    must(readiness != NULL);
    *readiness = (struct readiness){ .api = call->api, .exchange = call->exchange, .of_reading = of_reading,
                                     .of_publishing = of_publishing };
    if (of_publishing)
        ask_disk(readiness);
    else
        read_log(readiness);
}

void serve_ready(struct call *call)
{
    readiness_ask(call, true, true);
}

void serve_ready_to_read(struct call *call)
{
    readiness_ask(call, true, false);
}

void serve_ready_to_publish(struct call *call)
{
    readiness_ask(call, false, true);
}

/* --- metrics --------------------------------------------------------------------------------------------------- */

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
