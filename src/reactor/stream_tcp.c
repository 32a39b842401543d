#include "reactor/stream_tcp.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "reactor/listener.h"

/* `number` is the descriptor. */

static void stream_tcp_ready(struct source *source, uint32_t events)
{
    struct stream *stream = container_of(source, struct stream, source);
    unsigned       news   = 0;

    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        news |= STREAM_IS_ENDED;
    if ((events & EPOLLIN) != 0)
        news |= STREAM_IS_READABLE;
    if ((events & EPOLLOUT) != 0)
        news |= STREAM_IS_WRITABLE;
    stream_tell(stream, news);
}

static ssize_t stream_tcp_read(struct stream *stream, void *into, size_t len)
{
    for (;;) {
        ssize_t got = recv(stream->number, into, len, 0);
        if (got >= 0)
            return got;
        if (errno != EINTR)
            return errno == EAGAIN || errno == EWOULDBLOCK ? STREAM_LATER : STREAM_FAULT;
    }
}

static ssize_t stream_tcp_write(struct stream *stream, struct span bytes)
{
    for (;;) {
        ssize_t put = send(stream->number, bytes.at, bytes.len, MSG_NOSIGNAL);
        if (put == (ssize_t)bytes.len)
            return put;
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
            return STREAM_FAULT;
        stream->is_full = true;
        return put < 0 ? 0 : put;
    }
}

static void stream_tcp_shut(struct stream *stream)
{
    shutdown(stream->number, SHUT_WR);
}

static void stream_tcp_close(struct stream *stream)
{
    loop_close(stream_loop(stream), stream->number);  /* leaves the epoll set by itself, because we never dup a socket */
}

void stream_tcp_forget(struct stream *stream)
{
    const struct linger none = { .l_onoff = 1, .l_linger = 0 };

    setsockopt(stream->number, SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

bool stream_tcp_is_dead(const struct stream *stream, msec silence_ms)
{
    struct tcp_info info = { 0 };
    socklen_t       len  = sizeof info;

    if (getsockopt(stream->number, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return false;  /* not TCP: a test's socket pair, whose link can't die unnoticed */
    return (info.tcpi_unacked > 0 || info.tcpi_probes > 0) && (msec)info.tcpi_last_ack_recv >= silence_ms;
}

size_t stream_tcp_unacked_bytes(const struct stream *stream)
{
    int count = 0;

    return ioctl(stream->number, SIOCOUTQ, &count) == 0 && count > 0 ? (size_t)count : 0;
}

bool stream_tcp_peer(const struct stream *stream, struct ip_address *ret)
{
    struct sockaddr_storage peer = { 0 };
    socklen_t               len  = sizeof peer;

    if (getpeername(stream->number, (struct sockaddr *)&peer, &len) != 0)
        return false;
    const struct ip_address address = ip_of_socket(&peer);
    if (!ip_is_known(&address))
        return false;
    *ret = address;
    return true;
}

static const struct stream_ops stream_tcp_ops = {
    .read                     = stream_tcp_read,
    .write                    = stream_tcp_write,
    .shut                     = stream_tcp_shut,
    .close                    = stream_tcp_close,
    .forget                   = stream_tcp_forget,
    .is_dead                  = stream_tcp_is_dead,
    .unacked_bytes            = stream_tcp_unacked_bytes,
    .peer                     = stream_tcp_peer,
    .is_paced                 = true,
    .is_drained_by_short_read = true,
};

void stream_tcp_maker_init(struct stream_maker *maker, struct loop *loop)
{
    stream_maker_init(maker, &stream_tcp_ops, loop, sizeof(struct stream));
    maker->source.ready = stream_tcp_ready;
}

int stream_tcp_socket(const struct stream *stream)
{
    return stream->source.kind == &stream_loop(stream)->tcp.source && !stream->is_closed ? stream->number : -1;
}

enum rc stream_tcp_new(struct loop *loop, int fd, struct stream **ret)
{
    struct stream *stream = stream_make(&loop->tcp, fd);

    enum rc rc = loop_watch(loop, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &stream->source);
    if (rc != RC_OK) {
        stream_unmake(stream);
        return rc;
    }
    *ret = stream;
    return RC_OK;
}
