#include "main/accepted.h"

#include <unistd.h>

#include "main/proxy_accept.h"
#include "main/tls_host.h"
#include "main/worker_priv.h"
#include "reactor/log.h"
#include "reactor/stream_tcp.h"

static struct stream *accept_plain(struct worker *worker, int fd, const struct ip_address *named)
{
    struct stream *stream;

    if (stream_tcp_new(&worker->loop, fd, &stream) != RC_OK) {
        LOG(LOG_WARN, "connection_refused", log_str("why", "no memory for one more"));
        loop_close(&worker->loop, fd);
        return NULL;
    }
    if (named != NULL)
        stream_name_peer(stream, named);
    return stream;
}

/* By the limits for each address. False: it was closed. */
static bool enters(struct worker *worker, int fd, const struct ip_address *client, bool is_named)
{
    if (worker_lets_address_in(worker, fd, client, is_named))
        return true;
    loop_close(&worker->loop, fd);
    return false;
}

static void accept_http(struct worker *worker, int fd, const struct ip_address *client, bool is_named)
{
    struct stream *stream = enters(worker, fd, client, is_named) ? accept_plain(worker, fd, is_named ? client : NULL) : NULL;

    if (stream != NULL)
        http_server_open(&worker->http, stream);
}

static void accept_native(struct worker *worker, int fd, const struct ip_address *client, bool is_named)
{
    struct stream *stream = enters(worker, fd, client, is_named) ? accept_plain(worker, fd, is_named ? client : NULL) : NULL;

    if (stream != NULL)
        worker_open_native(worker, stream);
}

static void accept_https(struct worker *worker, int fd, const struct ip_address *client, bool is_named)
{
    if (enters(worker, fd, client, is_named))
        tls_host_accepted(worker, fd, is_named ? client : NULL);
}

static void accept_tcps(struct worker *worker, int fd, const struct ip_address *client, bool is_named)
{
    if (enters(worker, fd, client, is_named))
        tls_host_accepted_native(worker, fd, is_named ? client : NULL);
}

static void accepted_begin(struct worker *worker, int fd, const struct ip_address *peer, accepted_by *by)
{
    if (proxy_accept_expects(worker, peer))
        proxy_accept_begin(worker, fd, peer, by);
    else
        by(worker, fd, peer, false);
}

static void http_came(void *ctx, int fd, const struct ip_address *peer)
{
    accepted_begin(ctx, fd, peer, accept_http);
}

static void native_came(void *ctx, int fd, const struct ip_address *peer)
{
    accepted_begin(ctx, fd, peer, accept_native);
}

static void https_came(void *ctx, int fd, const struct ip_address *peer)
{
    accepted_begin(ctx, fd, peer, accept_https);
}

static void tcps_came(void *ctx, int fd, const struct ip_address *peer)
{
    accepted_begin(ctx, fd, peer, accept_tcps);
}

void (*const accepted_by_kind[2][2])(void *ctx, int fd, const struct ip_address *peer) = {
    { http_came, native_came }, { https_came, tcps_came },
};
