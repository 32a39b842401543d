#include "bench/baseline.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/must.h"
#include "bench/die.h"
#include "bench/payload.h"

enum { FD_MAX = 65536, CHANNEL_MAX = 65536, READ_BYTES = 64 * 1024, EVENTS_MAX = 512, FRAME_BYTES = 4 + PAYLOAD_BYTES };
enum { FAULT_EVERY = 100 };

enum baseline_role { BASELINE_STRANGER, BASELINE_READER, BASELINE_PUBLISHER, BASELINE_BEATER };
enum baseline_fault { FAULT_NOTHING, FAULT_LOSE, FAULT_DOUBLE, FAULT_SWAP };

struct baseline_channel {
    int       *fds;
    unsigned   count, scratch;
    struct buf frames;  /* coalesced: what this turn has for the readers */
};

struct baseline_conn {
    enum baseline_role role;
    uint32_t        channel;
    struct buf      rest;
};

struct baseline {
    int                  epoll, listener;
    bool                 is_coalesced;
    enum baseline_fault  fault;
    uint64_t             taken;
    char                 held[PAYLOAD_BYTES];  /* fault swap: comes after the next one */
    bool                 is_holding;
    struct baseline_conn   *conns;     /* by fd */
    struct baseline_channel *channels;
    uint32_t            *dirty;     /* channels with frames */
    unsigned             dirty_count;
    char                 inbox[READ_BYTES];
};

static void baseline_send(int fd, struct span bytes)
{
    ssize_t sent = send(fd, bytes.at, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent != (ssize_t)bytes.len && (sent >= 0 || errno == EAGAIN))
        die("baseline: a reader's socket is full");
}

static void channel_send(const struct baseline_channel *channel, struct span bytes)
{
    for (unsigned i = 0; i < channel->count; i++)
        baseline_send(channel->fds[i], bytes);
}

/* RFC 6455 5.2: a final text frame with a 16-bit length. */
static void baseline_deliver(struct baseline *baseline, const char *payload)
{
    struct stamp stamp;
    if (!payload_read(span_of(payload, PAYLOAD_BYTES), &stamp) || stamp.channel >= CHANNEL_MAX)
        die("baseline: a publisher sent something else than payloads");
    char frame[FRAME_BYTES] = { (char)0x81, 126, 0, (char)PAYLOAD_BYTES };
    memcpy(frame + 4, payload, PAYLOAD_BYTES);

    struct baseline_channel *channel = &baseline->channels[stamp.channel];
    if (!baseline->is_coalesced) {
        channel_send(channel, span_of(frame, sizeof frame));
        return;
    }
    if (channel->frames.len == 0)
        baseline->dirty[baseline->dirty_count++] = stamp.channel;
    buf_put(&channel->frames, span_of(frame, sizeof frame));
}

static void baseline_flush(struct baseline *baseline)
{
    for (unsigned i = 0; i < baseline->dirty_count; i++) {
        struct baseline_channel *channel = &baseline->channels[baseline->dirty[i]];
        must(!buf_is_over(&channel->frames));
        channel_send(channel, buf_span(&channel->frames));
        buf_clear(&channel->frames);
    }
    baseline->dirty_count = 0;
}

/* With --fault: loses, doubles or swaps one message in FAULT_EVERY, so that a test can check that the benchmark
 * notices. */
static void baseline_take(struct baseline *baseline, const char *payload)
{
    bool is_faulty = baseline->fault != FAULT_NOTHING && ++baseline->taken % FAULT_EVERY == 0;
    if (is_faulty && baseline->fault == FAULT_LOSE)
        return;
    if (is_faulty && baseline->fault == FAULT_SWAP) {
        memcpy(baseline->held, payload, PAYLOAD_BYTES);
        baseline->is_holding = true;
        return;
    }
    baseline_deliver(baseline, payload);
    if (is_faulty && baseline->fault == FAULT_DOUBLE)
        baseline_deliver(baseline, payload);
    if (baseline->is_holding)
        baseline_deliver(baseline, baseline->held);
    baseline->is_holding = false;
}

static void channel_join(struct baseline_channel *channel, int fd)
{
    if (channel->count == channel->scratch) {
        channel->scratch = channel->scratch == 0 ? 4 : channel->scratch * 2;
        channel->fds  = realloc(channel->fds, channel->scratch * sizeof *channel->fds);
        must(channel->fds != NULL);
    }
    channel->fds[channel->count++] = fd;
}

static void channel_leave(struct baseline_channel *channel, int fd)
{
    for (unsigned i = 0; i < channel->count; i++)
        if (channel->fds[i] == fd) {
            channel->fds[i] = channel->fds[--channel->count];
            return;
        }
}

/* "GET /bench-…-17 HTTP/1.1": the channel is the number behind the last dash of the path. */
static uint32_t channel_of(struct span request)
{
    struct span rest = request, path;
    uint64_t    channel;
    if (!span_cut(&rest, ' ', &path) || !span_cut(&rest, ' ', &path))
        die("baseline: a request without a path");
    const char *dash = memrchr(path.at, '-', path.len);
    if (dash == NULL || !span_u64(span_skip(path, (size_t)(dash - path.at) + 1), &channel) || channel >= CHANNEL_MAX)
        die("baseline: a path without a channel");
    return (uint32_t)channel;
}

static size_t baseline_welcome(struct baseline *baseline, int fd, struct span bytes)
{
    struct baseline_conn *conn = &baseline->conns[fd];
    const char        *end  = memmem(bytes.at, bytes.len, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    conn->role    = BASELINE_READER;
    conn->channel = channel_of(bytes);
    channel_join(&baseline->channels[conn->channel], fd);
    baseline_send(fd, SPAN("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"));
    return (size_t)(end - bytes.at) + 4;
}

static size_t baseline_publish(struct baseline *baseline, struct span bytes)
{
    size_t used = 0;
    for (; bytes.len - used >= PAYLOAD_BYTES; used += PAYLOAD_BYTES)
        baseline_take(baseline, bytes.at + used);
    return used;
}

/* A pong for each ping, as long as those of the native protocol. */
static size_t baseline_beat(int fd, struct span bytes)
{
    static const char pongs[] = "\x01\x09\x01\x09\x01\x09\x01\x09";
    size_t            used    = bytes.len / 2 * 2;

    if (used > sizeof pongs - 1)
        die("baseline: a link has more than %zu pings on the way", (sizeof pongs - 1) / 2);
    baseline_send(fd, span_of(pongs, used));
    return used;
}

static size_t baseline_read(struct baseline *baseline, int fd, struct span bytes)
{
    struct baseline_conn *conn = &baseline->conns[fd];
    if (conn->role == BASELINE_STRANGER && span_starts(bytes, SPAN("LW")))
        conn->role = BASELINE_PUBLISHER;
    if (conn->role == BASELINE_STRANGER && span_starts(bytes, SPAN("\x01")))
        conn->role = BASELINE_BEATER;
    switch (conn->role) {
    case BASELINE_STRANGER:
        return baseline_welcome(baseline, fd, bytes);
    case BASELINE_PUBLISHER:
        return baseline_publish(baseline, bytes);
    case BASELINE_BEATER:
        return baseline_beat(fd, bytes);
    case BASELINE_READER:
        break;
    }
    return bytes.len;
}

static void baseline_drop(struct baseline *baseline, int fd)
{
    struct baseline_conn *conn = &baseline->conns[fd];
    if (conn->role == BASELINE_READER)
        channel_leave(&baseline->channels[conn->channel], fd);
    buf_fini(&conn->rest);
    close(fd);
}

static void baseline_receive(struct baseline *baseline, int fd)
{
    struct baseline_conn *conn = &baseline->conns[fd];
    size_t             had  = conn->rest.len;
    if (had > 0)
        memcpy(baseline->inbox, conn->rest.at, had);
    ssize_t got = recv(fd, baseline->inbox + had, sizeof baseline->inbox - had, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        baseline_drop(baseline, fd);
        return;
    }
    struct span bytes = span_of(baseline->inbox, had + (size_t)got);
    bytes             = span_skip(bytes, baseline_read(baseline, fd, bytes));
    buf_clear(&conn->rest);
    if (bytes.len > 0)
        buf_put(&conn->rest, bytes);
    must(!buf_is_over(&conn->rest));
}

static void baseline_accept(struct baseline *baseline)
{
    int one = 1;
    for (int fd = accept4(baseline->listener, NULL, NULL, SOCK_CLOEXEC); fd >= 0;
         fd     = accept4(baseline->listener, NULL, NULL, SOCK_CLOEXEC)) {
        must(fd < FD_MAX);
        struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
        baseline->conns[fd]         = (struct baseline_conn){ .role = BASELINE_STRANGER };
        buf_init(&baseline->conns[fd].rest, READ_BYTES / 2);
        if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
            epoll_ctl(baseline->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
            die("baseline: a new connection: %m");
    }
    if (errno != EAGAIN && errno != ECONNABORTED)
        die("baseline: accept: %m");
}

static void baseline_listen(struct baseline *baseline, const struct options *options)
{
    int                one     = 1;
    struct sockaddr_in address = options_server(options);
    baseline->epoll               = epoll_create1(EPOLL_CLOEXEC);
    baseline->listener            = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct epoll_event event   = { .events = EPOLLIN, .data.fd = baseline->listener };
    if (baseline->epoll < 0 || baseline->listener < 0 ||
        setsockopt(baseline->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        bind(baseline->listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(baseline->listener, 4096) != 0 ||
        epoll_ctl(baseline->epoll, EPOLL_CTL_ADD, baseline->listener, &event) != 0)
        die("baseline: listen on %s: %m", options->server);
}

static enum baseline_fault fault_of(const char *word)
{
    if (word == NULL)
        return FAULT_NOTHING;
    if (strcmp(word, "lose") == 0)
        return FAULT_LOSE;
    if (strcmp(word, "double") == 0)
        return FAULT_DOUBLE;
    if (strcmp(word, "swap") == 0)
        return FAULT_SWAP;
    die("--fault %s: lose, double or swap is wanted", word);
}

static struct baseline *baseline_new(const struct options *options)
{
    struct baseline *baseline = calloc(1, sizeof *baseline);
    must(baseline != NULL);
    baseline->is_coalesced = options->is_coalesced;
    baseline->fault        = fault_of(options->fault);
    baseline->conns        = calloc(FD_MAX, sizeof *baseline->conns);
    baseline->channels     = calloc(CHANNEL_MAX, sizeof *baseline->channels);
    baseline->dirty        = calloc(CHANNEL_MAX, sizeof *baseline->dirty);
    must(baseline->conns != NULL && baseline->channels != NULL && baseline->dirty != NULL);
    for (unsigned i = 0; i < CHANNEL_MAX; i++)
        buf_init(&baseline->channels[i].frames, 16 * READ_BYTES);
    baseline_listen(baseline, options);
    return baseline;
}

void baseline_serve(const struct options *options)
{
    struct baseline      *baseline = baseline_new(options);
    struct epoll_event events[EVENTS_MAX];
    for (;;) {
        int count = epoll_wait(baseline->epoll, events, EVENTS_MAX, -1);
        if (count < 0 && errno != EINTR)
            die("baseline: epoll: %m");
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == baseline->listener)
                baseline_accept(baseline);
            else
                baseline_receive(baseline, events[i].data.fd);
        }
        baseline_flush(baseline);
    }
}
