/* worker_ports.c - what shard, sessions and API ask of the server. */
#include <stdio.h>

#include "auth/vouch.h"
#include "main/server.h"
#include "main/forwarder_metrics.h"
#include "main/worker_priv.h"
#include "device/membership_left.h"
#include "device/peer_fence.h"
#include "device/presence_command.h"
#include "node/connection_command.h"
#include "node/connection_key.h"
#include "publish/publish_forward.h"
#include "session/conn_follow.h"
#include "session/link.h"
#include "session/member_subscribe.h"

static void worker_send(void *ctx, struct command *command)
{
    struct worker *worker = ctx;
    bundle_add(&worker->to_writer, &command->mail);
}

static void worker_ready(void *ctx, struct subscription *sub)
{
    struct worker *worker = ctx;

    if (!control_take_ready(&worker->control, sub))
        session_worker_ready(&worker->sessions, sub);
}

static void copy_text(char *into, size_t size, const char *text)
{
    snprintf(into, size, "%s", text);
}

static void copy_name(char *into, size_t size, struct span name)
{
    must(name.len < size);
    if (name.len > 0)
        memcpy(into, name.at, name.len);
    into[name.len] = '\0';
}

static void worker_describe(const struct worker *worker, const struct link *link, struct connection_command *ret)
{
    struct buf address;

    buf_init(&address, CONNECTION_ADDRESS_BYTES_MAX);
    ret->is_there  = true;
    ret->transport = transport_text((enum transport)link->transport);
    ret->since     = worker->server->started_wall +
                 (msec)connection_key_open(&worker->server->connection_keys, link->key).second * 1000;
    ret->channels  = link_reader(link)->sub_count;
    if (link->holder != NULL) {
        copy_name(ret->user, sizeof ret->user, identity_user(link->holder));
        copy_name(ret->device, sizeof ret->device, identity_device(link->holder));
    }
    if (link_stream(link) != NULL && stream_put_peer(link_stream(link), &address))
        buf_put(&address, span_of("", 1));
    copy_text(ret->address, sizeof ret->address, address.len > 0 ? address.at : "");
    buf_fini(&address);
}

static void worker_connection(void *ctx, struct connection_command *question)
{
    struct worker *worker = ctx;
    struct link   *link   = session_worker_find(&worker->sessions, question->key);

    if (link == NULL || link->is_over)
        return;
    worker_describe(worker, link, question);
    if (question->is_cut)
        link->kind->end(link, LINK_END_CUT_OFF);
}

static bool worker_address(void *ctx, struct publish_command *publish)
{
    struct worker *worker = ctx;

    return session_worker_address(&worker->sessions, publish);
}

static void worker_forward(void *ctx, struct publish_command *publish, uint16_t tag)
{
    struct worker *worker = ctx;

    publish_forward(&worker->shard, publish, tag);
}

/* A topic that this program does not know gets no answer. */
static void worker_peer_call(void *ctx, struct peer_call *call)
{
    struct worker *worker = ctx;
    struct server *server = worker->server;

    if (call->topic == PEER_PUBLISH) {
        publish_forward_serve(&worker->shard, &server->namespaces, &server->hash_key, call);
    } else if (call->topic == PEER_PRESENCE) {
        shard_serve_presence(&worker->shard, &server->writer.presence, call);
    } else if (call->topic == PEER_FORWARD || call->topic == PEER_CANCEL) {
        uplink_serve_hint(&worker->shard, call);
    } else if (call->topic == PEER_LEFT) {
        shard_serve_left(&worker->shard, &server->namespaces, &server->hash_key, call);
    } else {
        api_take_peer_call(&worker->api, call);
    }
}

static void worker_left(void *ctx, struct channel_name *user, struct channel_name *group)
{
    struct worker *worker = ctx;

    session_worker_left(&worker->sessions, user, group);
}

const struct shard_port worker_shard_port = {
    .left = worker_left, .forward = worker_forward, .peer_call = worker_peer_call,
    .send = worker_send, .ready = worker_ready, .connection = worker_connection, .address = worker_address,
};

static uint64_t worker_new_key(void *ctx)
{
    struct worker *worker = ctx;
    msec           since  = worker->loop.wall - worker->server->started_wall;
    uint64_t       key;

    do
        key = connection_key_make(&worker->server->connection_keys, (struct connection_key){
            .loop = worker->index, .second = since < 0 ? 0 : (uint32_t)(since / 1000), .number = worker->key_number++,
        });
    while (key == 0);
    return key;
}

static size_t worker_hook_fields(void *ctx, const struct request_head *head,
                                 struct credential_field ret[static CREDENTIAL_FIELDS_MAX])
{
    const struct worker *worker = ctx;
    return callers_fields(&worker->snapshot->settings, head, ret);
}

static void worker_tell_identity(void *ctx, const struct identity *identity, struct buf *scratch, struct handover_identity *ret)
{
    const struct worker *worker = ctx;

    identity_tell(&worker->callers.keys, &worker->callers.all, identity, scratch, ret);
}

static struct identity *worker_hear_identity(void *ctx, const struct handover_identity *told)
{
    struct worker *worker = ctx;

    return identity_hear(&worker->callers.keys, &worker->callers.all, told);
}

const struct session_port worker_session_port = {
    .new_key = worker_new_key, .hook_fields = worker_hook_fields, .elsewhere = worker_elsewhere,
    .tell_identity = worker_tell_identity, .hear_identity = worker_hear_identity,
};

static void worker_put_forwarders(void *ctx, struct buf *out)
{
    const struct worker *worker = ctx;

    forwarders_put_objects(&worker->server->writer.uplink.uplink.forwarders, out);
}

static void worker_put_metrics(void *ctx, const struct writer_stats *stats, struct buf *out)
{
    struct worker *worker = ctx;
    server_put_metrics(worker->server, stats, out);
}

static void worker_health(void *ctx, struct api_health *ret)
{
    struct worker     *worker = ctx;
    struct server     *server = worker->server;
    struct store_stats stats  = { 0 };

    server->stores.durable->ops->stats(server->stores.durable, &stats);
    *ret = (struct api_health){
        .is_stopping     = counter_get(&server->is_stopping) != 0,
        .is_draining     = counter_get(&server->drain_ms) != 0,
        .is_drained      = counter_get(&server->drain_ms) != 0 && server_is_deserted(server),
        .is_store_full   = stats.is_full,
        .is_store_broken = stats.is_broken,
    };
}

static void worker_revoke(void *ctx, const struct revocation *revocation, uint64_t seq,
                          void (*answered)(void *owner, uint64_t cut), void *owner)
{
    struct worker *worker = ctx;
    control_send_round(&worker->shard, revocation, seq, answered, owner);
}

const struct api_port worker_api_port = {
    .revoke      = worker_revoke,
    .put_metrics = worker_put_metrics, .put_forwarders = worker_put_forwarders,
    .health      = worker_health,
    .node        = worker_describe_node,
    .nodes       = worker_nodes,
    .addresses   = worker_addresses,
    .wait_ms     = worker_wait_ms,
    .drain       = worker_drain_node,
};
