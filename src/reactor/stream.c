#include "reactor/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const struct stream_events *events_of(const struct stream *stream)
{
    return container_of(stream->source.kind, const struct stream_events, source);
}

void stream_ready(struct source *source, uint32_t events)
{
    struct stream *stream = container_of(source, struct stream, source);

    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        stream->is_ended = true;
    if (!stream->is_closed && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)
        events_of(stream)->on_readable(stream, stream->owner);
    if (!stream->is_closed && (events & EPOLLOUT) != 0 && stream->is_full) {
        stream->is_full = false;
        events_of(stream)->on_writable(stream, stream->owner);
    }
}

enum rc stream_new(struct loop *loop, int fd, const struct stream_events *events, void *owner, struct stream **ret)
{
    struct stream *stream = pool_take(&loop->streams);

    *stream = (struct stream){
        .source.kind = &events->source, .loop = loop, .owner = owner, .fd = fd,
    };
    enum rc rc = loop_watch(loop, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &stream->source);
    if (rc != RC_OK) {
        pool_give(&loop->streams, stream);
        return rc;
    }
    *ret = stream;
    return RC_OK;
}

void stream_hand_over(struct stream *stream, const struct stream_events *events, void *owner)
{
    stream->source.kind = &events->source;
    stream->owner       = owner;
    stream_more(stream);
}

void stream_close(struct stream *stream)
{
    if (stream == NULL || stream->is_closed)
        return;
    stream->is_closed = true;
    close(stream->fd);  /* leaves the epoll set by itself: we never dup */
    if (stream->is_again)
        return;  /* that list will find it */
    stream->next         = stream->loop->closed;
    stream->loop->closed = stream;
}

ssize_t stream_read(struct stream *stream, void *into, size_t len)
{
    for (;;) {
        ssize_t got = recv(stream->fd, into, len, 0);
        if (got >= 0)
            return got;
        if (errno != EINTR)
            return errno == EAGAIN || errno == EWOULDBLOCK ? STREAM_LATER : STREAM_FAULT;
    }
}

ssize_t stream_write(struct stream *stream, struct span bytes)
{
    for (;;) {
        ssize_t put = send(stream->fd, bytes.at, bytes.len, MSG_NOSIGNAL);
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

void stream_shut(struct stream *stream)
{
    shutdown(stream->fd, SHUT_WR);
}

void stream_more(struct stream *stream)
{
    if (stream->is_closed || stream->is_again)
        return;
    stream->is_again    = true;
    stream->next        = stream->loop->again;
    stream->loop->again = stream;
}

void stream_read_again(struct loop *loop)
{
    struct stream *stream = loop->again;

    loop->again = NULL;
    while (stream != NULL) {
        struct stream *next = stream->next;
        stream->is_again    = false;
        if (stream->is_closed) {
            stream->next = loop->closed;
            loop->closed = stream;
        } else {
            events_of(stream)->on_readable(stream, stream->owner);
        }
        stream = next;
    }
}

static void streams_free(struct loop *loop, struct stream *stream)
{
    while (stream != NULL) {
        struct stream *next = stream->next;
        pool_give(&loop->streams, stream);
        stream = next;
    }
}

void stream_bury(struct loop *loop)
{
    streams_free(loop, loop->closed);
    loop->closed = NULL;
}

void stream_bury_all(struct loop *loop)
{
    streams_free(loop, loop->again);  /* closed, all of them: nobody owns a stream any more */
    loop->again = NULL;
    stream_bury(loop);
}

bool stream_is_dead(const struct stream *stream, msec silence_ms)
{
    struct tcp_info info = { 0 };
    socklen_t       len  = sizeof info;

    if (getsockopt(stream->fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return false;  /* not TCP: a test's socket pair, which can't die in silence */
    return (info.tcpi_unacked > 0 || info.tcpi_probes > 0) && (msec)info.tcpi_last_ack_recv >= silence_ms;
}
