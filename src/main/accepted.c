#include "main/accepted.h"

#include <unistd.h>

#include "main/tls_host.h"
#include "main/worker_priv.h"
#include "reactor/log.h"
#include "reactor/stream_tcp.h"

/* Takes the descriptor. `named`: the client's address, if a proxy has said it; else NULL. */
typedef void accepted_by(struct worker *worker, int fd, const struct ip_address *named);

static struct stream *accept_plain(struct worker *worker, int fd, const struct ip_address *named)
{
    struct stream *stream;

    if (stream_tcp_new(&worker->loop, fd, &stream) != RC_OK) {
        LOG(LOG_WARN, "connection_refused", log_str("why", "no memory for one more"));
        close(fd);
        return NULL;
    }
    if (named != NULL)
        stream_name_peer(stream, named);
    return stream;
}

static void accept_http(struct worker *worker, int fd, const struct ip_address *named)
{
    struct stream *stream = accept_plain(worker, fd, named);

    if (stream != NULL)
        http_server_open(&worker->http, stream);
}

static void accept_native(struct worker *worker, int fd, const struct ip_address *named)
{
    struct stream *stream = accept_plain(worker, fd, named);

    if (stream != NULL)
        worker_open_native(worker, stream);
}

static void accepted_begin(struct worker *worker, int fd, const struct ip_address *peer, accepted_by *by)
{
    (void)peer;
    by(worker, fd, NULL);
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
    accepted_begin(ctx, fd, peer, tls_host_accepted);
}

static void tcps_came(void *ctx, int fd, const struct ip_address *peer)
{
    accepted_begin(ctx, fd, peer, tls_host_accepted_native);
}

void (*const accepted_by_kind[2][2])(void *ctx, int fd, const struct ip_address *peer) = {
    { http_came, native_came }, { https_came, tcps_came },
};
