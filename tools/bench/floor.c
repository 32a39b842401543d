#include "bench/floor.h"

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
enum { SPOIL_EVERY = 100 };

enum floor_role { FLOOR_STRANGER, FLOOR_READER, FLOOR_PUBLISHER };
enum floor_spoil { SPOIL_NOTHING, SPOIL_LOSE, SPOIL_DOUBLE, SPOIL_SWAP };

struct floor_channel {
    int       *fds;
    unsigned   count, room;
    struct buf frames;  /* coalesced: what this turn has for the readers */
};

struct floor_conn {
    enum floor_role role;
    uint32_t        channel;
    struct buf      rest;
};

struct floor {
    int                  epoll, listener;
    bool                 is_coalesced;
    enum floor_spoil     spoil;
    uint64_t             taken;
    char                 held[PAYLOAD_BYTES];  /* spoil swap: comes after the next one */
    bool                 is_holding;
    struct floor_conn   *conns;     /* by fd */
    struct floor_channel *channels;
    uint32_t            *dirty;     /* channels with frames */
    unsigned             dirty_count;
    char                 inbox[READ_BYTES];
};

static void floor_send(int fd, struct span bytes)
{
    ssize_t sent = send(fd, bytes.at, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent != (ssize_t)bytes.len && (sent >= 0 || errno == EAGAIN))
        die("floor: a reader's socket is full");
}

static void channel_send(const struct floor_channel *channel, struct span bytes)
{
    for (unsigned i = 0; i < channel->count; i++)
        floor_send(channel->fds[i], bytes);
}

/* RFC 6455 5.2: a final text frame with a 16-bit length. */
static void floor_deliver(struct floor *floor, const char *payload)
{
    struct stamp stamp;
    if (!payload_read(span_of(payload, PAYLOAD_BYTES), &stamp) || stamp.channel >= CHANNEL_MAX)
        die("floor: a publisher sent something else than payloads");
    char frame[FRAME_BYTES] = { (char)0x81, 126, 0, (char)PAYLOAD_BYTES };
    memcpy(frame + 4, payload, PAYLOAD_BYTES);

    struct floor_channel *channel = &floor->channels[stamp.channel];
    if (!floor->is_coalesced) {
        channel_send(channel, span_of(frame, sizeof frame));
        return;
    }
    if (channel->frames.len == 0)
        floor->dirty[floor->dirty_count++] = stamp.channel;
    buf_put(&channel->frames, span_of(frame, sizeof frame));
}

static void floor_flush(struct floor *floor)
{
    for (unsigned i = 0; i < floor->dirty_count; i++) {
        struct floor_channel *channel = &floor->channels[floor->dirty[i]];
        must(!buf_is_over(&channel->frames));
        channel_send(channel, buf_span(&channel->frames));
        buf_clear(&channel->frames);
    }
    floor->dirty_count = 0;
}

/* Now and then does to a message what a bad server might, so that the bench can be seen to notice. */
static void floor_take(struct floor *floor, const char *payload)
{
    bool is_spoilt = floor->spoil != SPOIL_NOTHING && ++floor->taken % SPOIL_EVERY == 0;
    if (is_spoilt && floor->spoil == SPOIL_LOSE)
        return;
    if (is_spoilt && floor->spoil == SPOIL_SWAP) {
        memcpy(floor->held, payload, PAYLOAD_BYTES);
        floor->is_holding = true;
        return;
    }
    floor_deliver(floor, payload);
    if (is_spoilt && floor->spoil == SPOIL_DOUBLE)
        floor_deliver(floor, payload);
    if (floor->is_holding)
        floor_deliver(floor, floor->held);
    floor->is_holding = false;
}

static void channel_join(struct floor_channel *channel, int fd)
{
    if (channel->count == channel->room) {
        channel->room = channel->room == 0 ? 4 : channel->room * 2;
        channel->fds  = realloc(channel->fds, channel->room * sizeof *channel->fds);
        must(channel->fds != NULL);
    }
    channel->fds[channel->count++] = fd;
}

static void channel_leave(struct floor_channel *channel, int fd)
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
        die("floor: a request without a path");
    const char *dash = memrchr(path.at, '-', path.len);
    if (dash == NULL || !span_u64(span_skip(path, (size_t)(dash - path.at) + 1), &channel) || channel >= CHANNEL_MAX)
        die("floor: a path without a channel");
    return (uint32_t)channel;
}

static size_t floor_welcome(struct floor *floor, int fd, struct span bytes)
{
    struct floor_conn *conn = &floor->conns[fd];
    const char        *end  = memmem(bytes.at, bytes.len, "\r\n\r\n", 4);
    if (end == NULL)
        return 0;
    conn->role    = FLOOR_READER;
    conn->channel = channel_of(bytes);
    channel_join(&floor->channels[conn->channel], fd);
    floor_send(fd, SPAN("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"));
    return (size_t)(end - bytes.at) + 4;
}

static size_t floor_publish(struct floor *floor, struct span bytes)
{
    size_t used = 0;
    for (; bytes.len - used >= PAYLOAD_BYTES; used += PAYLOAD_BYTES)
        floor_take(floor, bytes.at + used);
    return used;
}

static size_t floor_read(struct floor *floor, int fd, struct span bytes)
{
    struct floor_conn *conn = &floor->conns[fd];
    if (conn->role == FLOOR_STRANGER && span_starts(bytes, SPAN("LW")))
        conn->role = FLOOR_PUBLISHER;
    switch (conn->role) {
    case FLOOR_STRANGER:
        return floor_welcome(floor, fd, bytes);
    case FLOOR_PUBLISHER:
        return floor_publish(floor, bytes);
    case FLOOR_READER:
        break;
    }
    return bytes.len;
}

static void floor_drop(struct floor *floor, int fd)
{
    struct floor_conn *conn = &floor->conns[fd];
    if (conn->role == FLOOR_READER)
        channel_leave(&floor->channels[conn->channel], fd);
    buf_fini(&conn->rest);
    close(fd);
}

static void floor_receive(struct floor *floor, int fd)
{
    struct floor_conn *conn = &floor->conns[fd];
    size_t             had  = conn->rest.len;
    if (had > 0)
        memcpy(floor->inbox, conn->rest.at, had);
    ssize_t got = recv(fd, floor->inbox + had, sizeof floor->inbox - had, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        floor_drop(floor, fd);
        return;
    }
    struct span bytes = span_of(floor->inbox, had + (size_t)got);
    bytes             = span_skip(bytes, floor_read(floor, fd, bytes));
    buf_clear(&conn->rest);
    if (bytes.len > 0)
        buf_put(&conn->rest, bytes);
    must(!buf_is_over(&conn->rest));
}

static void floor_accept(struct floor *floor)
{
    int one = 1;
    for (int fd = accept4(floor->listener, NULL, NULL, SOCK_CLOEXEC); fd >= 0;
         fd     = accept4(floor->listener, NULL, NULL, SOCK_CLOEXEC)) {
        must(fd < FD_MAX);
        struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
        floor->conns[fd]         = (struct floor_conn){ .role = FLOOR_STRANGER };
        buf_init(&floor->conns[fd].rest, READ_BYTES / 2);
        if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0 ||
            epoll_ctl(floor->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
            die("floor: a new connection: %m");
    }
    if (errno != EAGAIN && errno != ECONNABORTED)
        die("floor: accept: %m");
}

static void floor_listen(struct floor *floor, const struct options *options)
{
    int                one     = 1;
    struct sockaddr_in address = options_server(options);
    floor->epoll               = epoll_create1(EPOLL_CLOEXEC);
    floor->listener            = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct epoll_event event   = { .events = EPOLLIN, .data.fd = floor->listener };
    if (floor->epoll < 0 || floor->listener < 0 ||
        setsockopt(floor->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        bind(floor->listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(floor->listener, 4096) != 0 ||
        epoll_ctl(floor->epoll, EPOLL_CTL_ADD, floor->listener, &event) != 0)
        die("floor: listen on %s: %m", options->server);
}

static enum floor_spoil spoil_of(const char *word)
{
    if (word == NULL)
        return SPOIL_NOTHING;
    if (strcmp(word, "lose") == 0)
        return SPOIL_LOSE;
    if (strcmp(word, "double") == 0)
        return SPOIL_DOUBLE;
    if (strcmp(word, "swap") == 0)
        return SPOIL_SWAP;
    die("--spoil %s: lose, double or swap is wanted", word);
}

static struct floor *floor_new(const struct options *options)
{
    struct floor *floor = calloc(1, sizeof *floor);
    must(floor != NULL);
    floor->is_coalesced = options->is_coalesced;
    floor->spoil        = spoil_of(options->spoil);
    floor->conns        = calloc(FD_MAX, sizeof *floor->conns);
    floor->channels     = calloc(CHANNEL_MAX, sizeof *floor->channels);
    floor->dirty        = calloc(CHANNEL_MAX, sizeof *floor->dirty);
    must(floor->conns != NULL && floor->channels != NULL && floor->dirty != NULL);
    for (unsigned i = 0; i < CHANNEL_MAX; i++)
        buf_init(&floor->channels[i].frames, 16 * READ_BYTES);
    floor_listen(floor, options);
    return floor;
}

void floor_serve(const struct options *options)
{
    struct floor      *floor = floor_new(options);
    struct epoll_event events[EVENTS_MAX];
    for (;;) {
        int count = epoll_wait(floor->epoll, events, EVENTS_MAX, -1);
        if (count < 0 && errno != EINTR)
            die("floor: epoll: %m");
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == floor->listener)
                floor_accept(floor);
            else
                floor_receive(floor, events[i].data.fd);
        }
        floor_flush(floor);
    }
}
