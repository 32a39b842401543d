#include "reactor/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "reactor/log.h"

enum { ACCEPTS_A_TURN = 128, REST_MS = 100 };

struct listener {
    struct source           source;
    struct timer            rest;
    struct loop            *loop;
    struct listener_options options;
    int                     fd;
    bool                    is_told;  /* that it rests; until somebody was accepted again */
};

static void listener_rest(struct listener *listener, const char *why)
{
    if (!listener->is_told)
        LOG(LOG_WARN, "accepting_rests", log_str("address", listener->options.address_text), log_str("why", why));
    listener->is_told = true;
    loop_unwatch(listener->loop, listener->fd);
    wheel_arm(&listener->loop->wheel, &listener->rest, listener->loop->now + REST_MS);
}

/* The kernel gives the lowest number that is free: so many descriptors are open at least. */
static bool listener_is_beyond(const struct listener *listener, int fd)
{
    return listener->options.descriptors_max > 0 && fd >= listener->options.descriptors_max;
}

static const char reserved[] = "the descriptors that are left are for files of the server; raise the limit of open files";

static void listener_ready(struct source *source, uint32_t events)
{
    struct listener *listener = container_of(source, struct listener, source);

    (void)events;
    must(loop_is_here(listener->loop));
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        struct sockaddr_storage address = { 0 };
        socklen_t               len     = sizeof address;

        int fd = accept4(listener->fd, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            const struct ip_address peer = ip_of_socket(&address);
            listener->options.accepted(listener->options.ctx, fd, &peer);
            if (listener_is_beyond(listener, fd)) {
                listener_rest(listener, reserved);
                return;
            }
            listener->is_told = false;
            continue;
        }
        int why = errno;  /* before a log line changes it */
        if (why == EMFILE || why == ENFILE || why == ENOBUFS || why == ENOMEM)
            listener_rest(listener, strerror(why));
        if (why != EINTR && why != ECONNABORTED)
            return;
    }
}

static const struct source_kind listener_kind = { .ready = listener_ready };

static void listener_rested(struct timer *timer, msec now)
{
    struct listener *listener = container_of(timer, struct listener, rest);
    const int        free_fd  = fcntl(listener->fd, F_DUPFD_CLOEXEC, 0);
    const bool       is_early = free_fd < 0 || listener_is_beyond(listener, free_fd);

    if (free_fd >= 0)
        close(free_fd);
    if (is_early || listener->loop->is_held || loop_watch(listener->loop, listener->fd, EPOLLIN, &listener->source) != RC_OK)
        wheel_arm(&listener->loop->wheel, &listener->rest, now + REST_MS);
}

static void listener_tune(int fd, const struct listener_options *options)
{
    int one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (options->congestion_control[0] != '\0' &&
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, options->congestion_control,
                   (socklen_t)strlen(options->congestion_control)) != 0)
        LOG(LOG_WARN, "congestion_control_missing", log_str("name", options->congestion_control));
}

static enum rc rc_of_bind(int error)
{
    return error == EADDRINUSE ? RC_BUSY : error == EACCES || error == EPERM ? RC_DENIED : RC_BAD;
}

static enum rc listener_open(int *ret_fd, const struct listener_options *options)
{
    int one = 1;
    int fd  = socket(options->address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return RC_FULL;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (!options->is_first)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (options->address->sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    listener_tune(fd, options);
    if (bind(fd, options->address, options->address_len) != 0)
        goto refused;
    /* Set after bind(): set before it, we would share the address with another server that shares it too. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    if (listen(fd, options->backlog) != 0)
        goto refused;
    *ret_fd = fd;
    return RC_OK;
refused:;
    enum rc rc = rc_of_bind(errno);
    close(fd);
    return rc;
}

/* What it was opened with stays; what is set later may be set anew. */
static enum rc listener_adopt(int *ret_fd, const struct listener_options *options)
{
    listener_tune(options->socket, options);
    if (listen(options->socket, options->backlog) != 0)
        return RC_BAD;
    *ret_fd = options->socket;
    return RC_OK;
}

enum rc listener_new(struct loop *loop, const struct listener_options *options, struct listener **ret)
{
    enum rc          rc       = RC_NOMEM;
    struct listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL)
        goto out;
    listener->fd           = -1;
    listener->loop         = loop;
    listener->options      = *options;
    listener->source.kind = &listener_kind;
    listener->rest.fire    = listener_rested;
    rc                     = options->has_socket ? listener_adopt(&listener->fd, options) : listener_open(&listener->fd, options);
    if (rc != RC_OK)
        goto out;
    rc = loop_watch(loop, listener->fd, EPOLLIN, &listener->source);
    if (rc != RC_OK)
        goto out;
    *ret     = listener;
    listener = NULL;
out:
    if (listener != NULL && options->has_socket)
        listener->fd = -1;  /* the caller's still */
    listener_free(listener);
    return rc;
}

void listener_free(struct listener *listener)
{
    if (listener == NULL)
        return;
    must(loop_is_here(listener->loop));
    wheel_disarm(&listener->loop->wheel, &listener->rest);
    if (listener->fd >= 0)
        close(listener->fd);
    free(listener);
}

unsigned listener_port(const struct listener *listener)
{
    struct sockaddr_storage address;
    socklen_t               len = sizeof address;

    if (getsockname(listener->fd, (struct sockaddr *)&address, &len) != 0)
        return 0;
    return address.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&address)->sin6_port)
                                         : ntohs(((struct sockaddr_in *)&address)->sin_port);
}

struct ip_address ip_of_socket(const struct sockaddr_storage *address)
{
    switch (address->ss_family) {
    case AF_INET: return ip_of_v4(&((const struct sockaddr_in *)address)->sin_addr);
    case AF_INET6: return ip_of_v6(&((const struct sockaddr_in6 *)address)->sin6_addr);
    default: return IP_UNKNOWN;
    }
}

void listener_hold(struct listener *listener)
{
    if (!timer_is_armed(&listener->rest))
        loop_unwatch(listener->loop, listener->fd);
}

void listener_release(struct listener *listener)
{
    if (!timer_is_armed(&listener->rest))
        listener_rested(&listener->rest, listener->loop->now);
}

int listener_socket(const struct listener *listener)
{
    return listener->fd;
}
