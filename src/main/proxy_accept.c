#include "main/proxy_accept.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "codec/proxy/proxy.h"
#include "main/worker_priv.h"
#include "reactor/log.h"

_Static_assert((int)PROXY_HEADER_BYTES_MAX <= (int)LOOP_INPUT_BYTES, "a header is looked at as a whole");

/* One that waits. */
struct proxied {
    struct source     source;
    struct list       link;   /* in waiting */
    struct timer      timer;
    struct worker    *worker;
    struct ip_address peer;   /* the proxy */
    accepted_by      *by;
    int               fd;
};

void proxy_accept_init(struct proxy_accept *proxies)
{
    *proxies = (struct proxy_accept){ 0 };
    list_init(&proxies->waiting);
}

bool proxy_accept_expects(const struct worker *worker, const struct ip_address *peer)
{
    return ip_ranges_have(&worker->snapshot->settings.proxy_protocol_ranges, peer);
}

/* --- how it ends ------------------------------------------------------------------------------------------------- */

static void proxied_free(struct proxied *proxied)
{
    counter_sub(&proxied->worker->http.counters.conns, 1);
    wheel_disarm(&proxied->worker->loop.wheel, &proxied->timer);
    list_take(&proxied->link);
    free(proxied);
}

static void proxied_refuse(struct proxied *proxied, const char *why)
{
    struct buf peer;

    counter_add(&proxied->worker->proxies.refused, 1);
    buf_init(&peer, IP_TEXT_BYTES_MAX);
    ip_put(&proxied->peer, &peer);
    LOG(LOG_WARN, "proxy_header_refused", log_str("why", why), log_span("address", buf_span(&peer)));
    buf_fini(&peer);
    close(proxied->fd);
    proxied_free(proxied);
}

static void proxied_timed_out(struct timer *timer, msec now)
{
    (void)now;
    proxied_refuse(container_of(timer, struct proxied, timer), "the header did not come in time (head_timeout_s)");
}

/* The header is taken from the socket, and nothing else. */
static void proxied_go_on(struct proxied *proxied, const struct proxy_header *header)
{
    struct worker    *worker   = proxied->worker;
    accepted_by      *by       = proxied->by;
    const int         fd       = proxied->fd;
    const bool        is_named = ip_is_known(&header->client);
    struct ip_address client   = is_named ? header->client : proxied->peer;

    if (recv(fd, worker->loop.input, header->len, 0) != (ssize_t)header->len) {
        proxied_refuse(proxied, "the connection broke behind the header");
        return;
    }
    counter_add(is_named ? &worker->proxies.named : &worker->proxies.local, 1);
    loop_unwatch(&worker->loop, fd);
    proxied_free(proxied);
    by(worker, fd, &client, is_named);
}

/* --- the header -------------------------------------------------------------------------------------------------- */

/* `is_over`: the peer has closed its direction, so that nothing more comes. */
static void proxied_look(struct proxied *proxied, bool is_over)
{
    struct loop        *loop   = &proxied->worker->loop;
    struct proxy_header header = { 0 };
    ssize_t             got;

    do
        got = recv(proxied->fd, loop->input, PROXY_HEADER_BYTES_MAX, MSG_PEEK);
    while (got < 0 && errno == EINTR);
    if (got < 0 && !is_over && (errno == EAGAIN || errno == EWOULDBLOCK))
        return;
    switch (got <= 0 ? PROXY_MORE : proxy_read(span_of(loop->input, (size_t)got), &header)) {
    case PROXY_DONE:
        proxied_go_on(proxied, &header);
        return;
    case PROXY_FAULT:
        proxied_refuse(proxied, header.fault);
        return;
    case PROXY_MORE:
        if (is_over || got <= 0)
            proxied_refuse(proxied, "the peer closed the connection before its header had come");
        return;
    }
}

static void proxied_ready(struct source *source, uint32_t events)
{
    proxied_look(container_of(source, struct proxied, source), (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0);
}

static const struct source_kind proxied_kind = { .ready = proxied_ready };

void proxy_accept_begin(struct worker *worker, int fd, const struct ip_address *peer, accepted_by *by)
{
    struct http_refusal refusal = { 0 };
    struct proxied     *proxied;

    if (worker_admit(worker, &refusal) == HTTP_NOT_ADMITTED) {
        counter_add(&worker->http.counters.refused, 1);
        close(fd);
        return;
    }
    proxied = calloc(1, sizeof *proxied);
    must(proxied != NULL);
    *proxied = (struct proxied){ .source.kind = &proxied_kind, .worker = worker, .peer = *peer, .by = by, .fd = fd };
    proxied->timer.fire = proxied_timed_out;
    counter_add(&worker->http.counters.conns, 1);
    list_push(&worker->proxies.waiting, &proxied->link);
    wheel_arm(&worker->loop.wheel, &proxied->timer, worker->loop.now + worker->http.limits.head_timeout_ms);
    if (loop_watch(&worker->loop, fd, EPOLLIN | EPOLLRDHUP | EPOLLET, &proxied->source) != RC_OK) {
        LOG(LOG_WARN, "connection_refused", log_str("why", "no memory for one more"));
        close(fd);
        proxied_free(proxied);
    }
}

void proxy_accept_close_all(struct worker *worker)
{
    while (!list_is_empty(&worker->proxies.waiting)) {
        struct proxied *proxied = container_of(worker->proxies.waiting.next, struct proxied, link);
        close(proxied->fd);
        proxied_free(proxied);
    }
}
