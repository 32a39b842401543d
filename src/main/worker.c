#include "main/worker.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/must.h"
#include "base/version.h"
#include "main/accepted.h"
#include "main/command_mail.h"
#include "main/limits.h"
#include "main/pages.h"
#include "main/routes.h"
#include "main/server.h"
#include "main/worker_priv.h"
#include "reactor/log.h"

enum { LISTEN_BACKLOG = 4096 };
enum { SHORT_MEMORY_BRIEF_MAX = 16 };

/* --- listening and accepting --------------------------------------------------------------------------------- */

static const struct http_field later = { SPAN("Retry-After"), SPAN("5") };

/* A few connections for one short answer each come in however short memory is: probes and metrics. */
static enum http_admission worker_admit_by_memory(struct worker *worker, struct http_refusal *ret_refusal)
{
    if (memory_watch_step(&worker->memory) < MEMORY_CLOSED)
        return HTTP_ADMITTED;
    if (worker->http.brief_count + counter_get(&worker->tls.counters.under_way) < SHORT_MEMORY_BRIEF_MAX)
        return HTTP_ADMITTED_BRIEFLY;
    LOG(LOG_WARN, "connection_refused", log_str("why", "memory is short"),
        log_u64("memory_bytes_max", counter_get(&worker->server->memory_most)), log_u64("held", counter_get(&worker->memory.held)));
    *ret_refusal = (struct http_refusal){
        .status = 503,
        .detail = "the server is short of memory (memory_bytes_max)",
        .fields = { &later, 1 },
    };
    return HTTP_NOT_ADMITTED;
}

static enum http_admission worker_admit_by_count(struct worker *worker, struct http_refusal *ret_refusal)
{
    const struct settings         *set     = &worker->snapshot->settings;
    uint64_t                       room    = backend_host_leaves(set, worker->server->descriptors);
    uint64_t                       allowed = connections_allowed(set->connections_max, room);
    uint64_t                       count   = allowed == UINT64_MAX ? 0 : server_connection_count(worker->server);

    if (count < allowed)
        return HTTP_ADMITTED;
    if (count < allowed + connections_brief(allowed))
        return HTTP_ADMITTED_BRIEFLY;
    LOG(LOG_WARN, "connection_refused", log_str("why", "connections_max is reached"), log_u64("connections_max", allowed));
    *ret_refusal = (struct http_refusal){
        .status = 503,
        .detail = "too many connections (connections_max)",
        .fields = { &later, 1 },
    };
    return HTTP_NOT_ADMITTED;
}

enum http_admission worker_admit(struct worker *worker, struct http_refusal *ret_refusal)
{
    enum http_admission by_memory = worker_admit_by_memory(worker, ret_refusal);

    if (by_memory == HTTP_NOT_ADMITTED)
        return by_memory;
    enum http_admission by_count = worker_admit_by_count(worker, ret_refusal);
    return by_count == HTTP_ADMITTED ? by_memory : by_count;
}

/* A proxy's own connections carry what many clients send. */
static bool is_proxys(const struct settings *settings, const struct ip_address *client)
{
    return ip_ranges_have(&settings->trusted_proxy_ranges, client) || ip_ranges_have(&settings->proxy_protocol_ranges, client);
}

bool worker_lets_address_in(struct worker *worker, int fd, const struct ip_address *client, bool is_named)
{
    if (!is_named && is_proxys(&worker->snapshot->settings, client))
        return true;
    return addresses_enter(&worker->server->addresses, &worker->usage, fd, client, worker->loop.now) != ADDRESS_REFUSED;
}

void worker_take_address(struct worker *worker, int fd, const struct ip_address *client, bool is_named)
{
    if (is_named || !is_proxys(&worker->snapshot->settings, client))
        addresses_take(&worker->server->addresses, &worker->usage, fd, client);
}

enum http_admission worker_admit_stream(void *ctx, const struct stream *stream, struct http_refusal *ret_refusal)
{
    struct worker      *worker    = ctx;
    enum usage_limit    limit;
    enum http_admission admission = worker_admit(worker, ret_refusal);
    bool                is_over   = addresses_is_over(&worker->server->addresses, stream->number, &limit);

    return admission == HTTP_ADMITTED && is_over ? HTTP_ADMITTED_BRIEFLY : admission;
}

bool worker_turns_away(void *ctx, const struct stream *stream, struct http_refusal *ret_refusal)
{
    static const struct http_field soon = { SPAN("Retry-After"), SPAN("1") };
    struct worker                 *worker = ctx;
    enum usage_limit               limit;

    if (stream == NULL || !addresses_is_over(&worker->server->addresses, stream->number, &limit))
        return false;
    const bool is_fast = limit == USAGE_CONNECTS_OF_ADDRESS;
    *ret_refusal       = (struct http_refusal){
        .status = 429,
        .detail = usage_explain(&worker->usage, limit, is_fast ? 1000 : USAGE_PAUSE_MS),
        .fields = { is_fast ? &soon : &later, 1 },
    };
    return true;
}

/* A native client has no request that could be answered briefly. The room for brief answers serves to tell it why it may
 * not come in. */
void worker_open_native(void *ctx, struct stream *stream)
{
    struct worker      *worker    = ctx;
    struct http_refusal refusal   = { .detail = "too many connections (connections_max)" };
    enum http_admission admission = worker_admit(worker, &refusal);

    if (worker_turns_away(worker, stream, &refusal)) {
        session_refuse_native(&worker->sessions, stream, refusal.status, refusal.detail);
        return;
    }
    if (memory_watch_step(&worker->memory) >= MEMORY_CLOSED) {
        admission      = HTTP_NOT_ADMITTED;  /* to wait until it has closed would take memory */
        refusal.detail = "the server is short of memory (memory_bytes_max)";
    }

    counter_add(admission == HTTP_ADMITTED ? &worker->http.counters.accepted : &worker->http.counters.refused, 1);
    if (admission == HTTP_ADMITTED)
        session_accept_native(&worker->sessions, stream);
    else if (admission == HTTP_ADMITTED_BRIEFLY)
        session_refuse_native(&worker->sessions, stream, 0, refusal.detail);
    else
        session_drop_native(&worker->sessions, stream, refusal.detail);
}

static enum rc worker_listen(struct worker *worker, char *why, size_t why_size)
{
    const struct settings *settings = &worker->server->snapshot->settings;

    for (size_t i = 0; i < worker->server->listen_count; i++) {
        const struct listen_address *listen  = &worker->server->listens[i];
        struct listener_options      options = {
            .address            = (const struct sockaddr *)&listen->at,
            .address_len        = listen->len,
            .address_text       = listen->text,
            .congestion_control = settings->congestion_control,
            .backlog            = LISTEN_BACKLOG,
            .descriptors_max    = descriptors_for_clients(worker->server->descriptors),
            .is_first           = worker->index == 0,
            .accepted           = accepted_by_kind[listen->is_tls][listen->is_native],
            .ctx                = worker,
        };
        const int *offered = worker->server->take_over == NULL ? NULL : server_offered_sockets(worker->server, i);
        if (offered != NULL) {
            options.has_socket = true;
            options.socket     = offered[worker->index];
        }
        enum rc rc = listener_new(&worker->loop, &options, &worker->listeners[i]);
        if (rc != RC_OK) {
            snprintf(why, why_size, "can't listen on %s (%s): %s", listen->text, listen_scheme(listen),
                     rc == RC_BUSY ? "the address is in use; is another server running there?" : strerror(errno));
            return rc;
        }
        if (worker->index == 0)
            server_learn_port(worker->server, i, listener_port(worker->listeners[i]));
    }
    return RC_OK;
}

void worker_stop_listening(struct worker *worker)
{
    for (size_t i = 0; i < ALL_LISTENS; i++) {
        listener_free(worker->listeners[i]);
        worker->listeners[i] = NULL;
    }
}

/* --- opening ------------------------------------------------------------------------------------------------- */

static void worker_init_sessions(struct worker *worker, const struct settings *settings)
{
    struct session_worker *sessions = &worker->sessions;

    sessions->loop       = &worker->loop;
    sessions->server     = &worker->http;
    sessions->shard      = &worker->shard;
    sessions->memberships = &worker->server->writer.memberships;
    sessions->namespaces = &worker->server->namespaces;
    sessions->hash_key   = &worker->server->hash_key;
    sessions->routes     = worker->snapshot->routes;
    sessions->limits     = session_limits_of(settings, worker->server->worker_count);
    sessions->usage      = &worker->usage;
    sessions->identifier = &worker->callers.all.identifier;
    sessions->asks_links = settings->hook.is_there;
    sessions->devices    = &worker->server->writer.devices;
    sessions->presence.presence = &worker->server->writer.presence;
    sessions->events     = &worker->events;
    sessions->port       = &worker_session_port;
    sessions->ctx        = worker;
    sessions->revocations = &worker->revocations;
    ticket_key_init(&sessions->ticket_key, worker->server->ticket_secret);
    session_worker_init(sessions);
}

static void worker_init_api(struct worker *worker, const struct settings *settings)
{
    struct api *api = &worker->api;

    api->server     = &worker->http;
    api->shard      = &worker->shard;
    api->devices     = &worker->server->writer.devices;
    api->presence    = &worker->server->writer.presence;
    api->home        = (struct device_home){ .loop = worker->index };
    api->memberships = &worker->server->writer.memberships;
    api->namespaces = &worker->server->namespaces;
    api->hash_key   = &worker->server->hash_key;
    api->revocations = &worker->revocations;
    api->limits     = api_limits_of(settings);
    api->usage      = &worker->usage;
    api->routes     = worker->snapshot->routes;
    api->port       = &worker_api_port;
    api->ctx        = worker;
    api->page_count = pages_get(&api->pages);
    api->version    = LONGWIRE_VERSION;
    api->node       = worker->server->node;
    worker->has_nodes = cluster_host_is_open(&worker->server->cluster);
    api->random     = (struct rng){ worker->server->hash_key.k1 + worker->index };
    api_init(api);
}

static void worker_init_modules(struct worker *worker)
{
    const struct settings    *settings = &worker->snapshot->settings;
    const struct http_limits  http     = http_limits_of(settings);
    const struct shard_limits shard    = shard_limits_of(settings);

    proxy_accept_init(&worker->proxies);
    worker->loop.paces.bytes_per_s = settings->bytes_per_connection_per_s;
    tls_host_open(worker);
    http_server_init(&worker->http, &worker->loop, &http, &worker_service, worker);
    worker->http.trusted_proxies = &settings->trusted_proxy_ranges;
    shard_init(&worker->shard, worker->index, &worker_shard_port, worker, &shard);
    worker->shard.engines = stores_engines(&worker->server->stores);
    worker->shard.connection_keys = &worker->server->connection_keys;
    revocations_init(&worker->revocations, &worker->server->hash_key);
    revocations_copy(&worker->revocations, &worker->server->revocations);
    worker->events = (struct event_log){ .shard = &worker->shard, .outbox = &worker->server->writer.events,
                                         .kinds = settings_event_kinds(settings) };
    worker->http.conn_number = (uint64_t)(worker->index + 1) << 48;
    worker->usage = (struct usage_limits){ .tables = &worker->server->usage, .hash_key = &worker->server->hash_key };
    limits_set_usage(settings, worker->usage.max);
    callers_open(worker);
    worker_init_sessions(worker, settings);
    worker_init_api(worker, settings);
    control_open(&worker->control, &worker->shard, &worker->sessions, &worker->revocations,
                 worker->server->control_start);
}

enum rc worker_open(struct worker *worker, struct server *server, unsigned index, char *why, size_t why_size)
{
    worker->server = server;
    worker->index  = index;

    enum rc rc = loop_init(&worker->loop, &worker_hooks, worker);
    if (rc != RC_OK) {
        snprintf(why, why_size, "can't make an event loop: %s", rc_text(rc));
        return rc;
    }
    loop_compare_clock(&worker->loop, server->wall_seen);
    worker->fetch = fetch_part_new(server->fetch, &worker->loop);
    memory_watch_open(&worker->memory);
    worker->snapshot  = snapshot_ref(server->snapshot);
    counter_set(&worker->adopted, worker->snapshot->number);
    worker_init_modules(worker);
    worker_arm_tick(worker);
    return worker_listen(worker, why, why_size);
}

static void *worker_main(void *ctx)
{
    struct worker *worker = ctx;
    char           name[16];

    snprintf(name, sizeof name, "lw-loop-%u", worker->index % 100);
    pthread_setname_np(pthread_self(), name);
    loop_run(&worker->loop);
    return NULL;
}

enum rc worker_start(struct worker *worker)
{
    must(!worker->is_started && worker->loop.input != NULL);
    if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0)
        return RC_NOMEM;
    worker->is_started = true;
    return RC_OK;
}

void worker_join(struct worker *worker)
{
    if (!worker->is_started)
        return;
    must(pthread_join(worker->thread, NULL) == 0);
    worker->is_started = false;
}

/* --- closing ------------------------------------------------------------------------------------------------- */

void worker_close(struct worker *worker)
{
    must(!worker->is_started);
    if (worker->loop.input == NULL)
        return;
    worker_stop_listening(worker);
    wheel_disarm(&worker->loop.wheel, &worker->tick);
    proxy_accept_close_all(worker);
    session_worker_close_all(&worker->sessions);
    http_server_fini(&worker->http);
    session_worker_fini(&worker->sessions);
    control_close(&worker->control, worker->loop.now);
    shard_fini(&worker->shard);
    api_fini(&worker->api);
    registry_fini(&worker->nodes);
    callers_close(worker);
    fetch_part_stop(worker->fetch);
    fetch_part_free(worker->fetch);
    revocations_fini(&worker->revocations);
    command_mail_free(mailbox_take(&worker->loop.mailbox));
    command_mail_free(bundle_take(&worker->held));
    command_mail_free(bundle_take(&worker->to_writer));  /* sessions that were closed above have unfollowed */
    tls_accept_stop(&worker->tls);  /* what links that were closed above have left */
    snapshot_unref(worker->snapshot);
    memory_watch_close(&worker->memory);
    loop_fini(&worker->loop);
    tls_accept_fini(&worker->tls);
    http_server_end(&worker->http);
}
