#include "main/uplink_host.h"

#include <stdio.h>

#include "main/forwarder_settings.h"
#include "main/metrics_put.h"
#include "main/random.h"
#include "main/server.h"
#include "reactor/log.h"

static void send_request(void *ctx, struct span backend, struct backend_call *call)
{
    struct uplink_host *host = ctx;
    backend_host_send(&host->server->writer.backends, backend, call);
}

static void cancel_request(void *ctx, struct backend_call *call)
{
    struct uplink_host *host = ctx;
    backend_host_cancel(&host->server->writer.backends, call);
}

static const struct registry *nodes_of_cluster(void *ctx)
{
    const struct uplink_host *host = ctx;
    return cluster_host_is_open(&host->server->cluster) ? cluster_registry(host->server->cluster.cluster) : NULL;
}

static const struct request_port host_request_port = {
    .send = send_request, .cancel = cancel_request, .registry = nodes_of_cluster,
};

static struct requests_limits requests_limits_of(const struct settings *settings)
{
    return (struct requests_limits){ .keep_ms             = settings->idempotency_window_s * 1000,
                                     .responses_bytes_max = settings->responses_bytes_max,
                                     .per_user_per_s      = settings->requests_per_user_per_s };
}

static const struct forwarder_port host_forwarder_port = {
    .send = send_request, .cancel = cancel_request, .registry = nodes_of_cluster,
};

static void host_take_forwarders(struct uplink_host *host, const struct settings *settings)
{
    if (!forwarders_take_settings(&host->uplink.forwarders, &host->server->namespaces, settings))
        LOG(LOG_ERROR, "webhook_left_out", log_str("why", "there were too many since the start; a restart takes them all"));
}

void uplink_host_open(struct uplink_host *host, struct server *server)
{
    const struct requests_limits limits = requests_limits_of(&server->snapshot->settings);
    struct requests_setup        setup  = { .writer = &server->writer.writer, .spaces = &server->namespaces,
                                            .hash_key = &server->hash_key, .port = &host_request_port, .ctx = host,
                                            .self.incarnation = server->calls_incarnation, .seed = random_u64(),
                                            .is_alone = server->writer.writer.durable.store->has_one_writer };

    snprintf(setup.self.name, sizeof setup.self.name, "%s", server->node);
    struct node_id of_forwarders = setup.self;
    of_forwarders.incarnation    = server->incarnation;  /* what it carries it goes on to carry */
    const struct forwarders_setup forwarders = {
        .writer = setup.writer, .spaces = setup.spaces, .hash_key = setup.hash_key, .port = &host_forwarder_port, .ctx = host,
        .self = of_forwarders, .has_role = (server->snapshot->settings.role_bits & ROLE_FORWARD) != 0, .seed = random_u64(),
    };
    host->server = server;
    uplink_init(&host->uplink, &setup, &limits, &forwarders);
    host_take_forwarders(host, &server->snapshot->settings);
    server->writer.writer.uplink     = &uplink_port;
    server->writer.writer.uplink_ctx = &host->uplink;
}

void uplink_host_close(struct uplink_host *host)
{
    uplink_fini(&host->uplink);
}

void uplink_host_adopt(struct uplink_host *host, const struct settings *settings)
{
    host->uplink.requests.limits = requests_limits_of(settings);
    host_take_forwarders(host, settings);
}

void uplink_host_turn_begin(struct uplink_host *host, msec now)
{
    if (counter_get(&host->is_hurried) != 0)
        uplink_hurry(&host->uplink);
    uplink_turn_begin(&host->uplink, now > host->uplink.requests.now ? now : host->uplink.requests.now);
}

void uplink_host_stop(struct uplink_host *host)
{
    uplink_stop(&host->uplink);
}

void uplink_host_break_off_links(struct uplink_host *host)
{
    requests_break_off_links(&host->uplink.requests);
}

bool uplink_host_calls_for_links(const struct uplink_host *host)
{
    return counter_get(&host->uplink.requests.counters.to_links) > 0;
}

bool uplink_host_calls(const struct uplink_host *host)
{
    return uplink_calls(&host->uplink) > 0;
}

void uplink_host_hold(struct uplink_host *host, bool is_holding)
{
    uplink_hold(&host->uplink, is_holding);
}

void uplink_host_hurry(struct uplink_host *host)
{
    counter_set(&host->is_hurried, 1);
}
