/* worker_ports.c - what shard, sessions and API ask of the server. */
#include "base/hash.h"
#include "main/server.h"
#include "main/worker_priv.h"

static void worker_send(void *ctx, struct command *command)
{
    struct worker *worker = ctx;
    bundle_add(&worker->to_writer, &command->mail);
}

static void worker_ready(void *ctx, struct subscription *sub)
{
    struct worker *worker = ctx;
    session_worker_ready(&worker->sessions, sub);
}

const struct shard_port worker_shard_port = { .send = worker_send, .ready = worker_ready };

/* The state starts at random and takes steps of an odd constant, so it visits all 2^64 values before it repeats one.
 * Keys are hashes of the state under a secret: who knows one key does not know the next. */
static uint64_t worker_new_key(void *ctx)
{
    struct worker  *worker = ctx;
    struct hash_key secret = worker->server->hash_key;

    worker->key_state += 0x9e3779b97f4a7c15u;
    return hash_bytes(&secret, span_of(&worker->key_state, sizeof worker->key_state));
}

const struct session_port worker_session_port = { .new_key = worker_new_key };

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
        .is_store_full   = stats.is_full,
        .is_store_broken = stats.is_broken,
    };
}

const struct api_port worker_api_port = {
    .put_metrics = worker_put_metrics,
    .health      = worker_health,
};
