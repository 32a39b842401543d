#include "bench/loop.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "bench/clock.h"
#include "bench/die.h"

enum { INBOX_BYTES = 1024 * 1024, READ_BYTES = 256 * 1024, OUT_BYTES_MAX = 64 * 1024 * 1024, EVENTS_MAX = 512 };
enum { REST_BYTES_MAX = INBOX_BYTES - READ_BYTES };

void loop_open(struct loop *loop)
{
    *loop = (struct loop){ .epoll = epoll_create1(EPOLL_CLOEXEC), .wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
    if (loop->epoll < 0 || loop->wake < 0 || epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->wake, &event) != 0)
        die("epoll: %m");
    loop->inbox = malloc(INBOX_BYTES);
    must(loop->inbox != NULL);
}

void loop_close(struct loop *loop)
{
    close(loop->epoll);
    close(loop->wake);
    free(loop->inbox);
}

void loop_wake(const struct loop *loop)
{
    uint64_t one = 1;
    if (write(loop->wake, &one, sizeof one) < 0 && errno != EAGAIN)
        die("eventfd: %m");
}

static void conn_watch(struct conn *conn, int operation, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = conn };
    if (epoll_ctl(conn->loop->epoll, operation, conn->fd, &event) != 0)
        die("epoll_ctl: %m");
}

/* The kernel finds a free port slowly once half of the ports between one address and the server are taken, also by closed
 * connections that wait for their end, and part of that search is the server's time. So each PORTS_TAKEN connections come
 * from another address of the loopback network. */
static void conn_bind(const struct conn *conn, const struct sockaddr_in *server)
{
    enum { PORTS_TAKEN = 8000, ADDRESSES = 200 };
    static atomic_uint count;
    unsigned           n      = atomic_fetch_add(&count, 1) / PORTS_TAKEN % ADDRESSES;
    struct sockaddr_in source = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + n) };
    int                one    = 1;

    if (ntohl(server->sin_addr.s_addr) >> IN_CLASSA_NSHIFT != IN_LOOPBACKNET)
        return;
    if (setsockopt(conn->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one) != 0 ||
        bind(conn->fd, (const struct sockaddr *)&source, sizeof source) != 0)
        die("bind to an address of the loopback network: %m");
}

/* On loopback a blocking connect() does not wait: the kernel completes the handshake before it returns. */
void conn_open(struct conn *conn, struct loop *loop, const struct sockaddr_in *server)
{
    int one    = 1;
    conn->loop = loop;
    conn->fd   = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (conn->fd < 0)
        die("a socket: %m");
    conn_bind(conn, server);
    if (connect(conn->fd, (const struct sockaddr *)server, sizeof *server) != 0)
        die("connect to the server: %m");
    if (setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) != 0)
        die("TCP_NODELAY: %m");
    conn->waits_for_room = conn->is_finished = false;
    buf_init(&conn->client.out, OUT_BYTES_MAX);
    buf_init(&conn->rest, REST_BYTES_MAX);
    conn_watch(conn, EPOLL_CTL_ADD, EPOLLIN);
    conn->client.dialect->greet(&conn->client);
    conn_flush(conn);
}

void conn_close(struct conn *conn)
{
    if (conn->fd >= 0)
        close(conn->fd);
    conn->fd = -1;
    buf_fini(&conn->client.out);
    buf_fini(&conn->rest);
}

void conn_flush(struct conn *conn)
{
    struct buf *out = &conn->client.out;
    if (buf_is_over(out))
        die("the server doesn't read what is published to it");
    if (out->len == 0)
        return;
    ssize_t sent = send(conn->fd, out->at, out->len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN)
        die("send to the server: %m");
    if (sent > 0)
        buf_drop(out, (size_t)sent);

    bool is_left = out->len > 0;
    if (is_left != conn->waits_for_room)
        conn_watch(conn, EPOLL_CTL_MOD, is_left ? EPOLLIN | EPOLLOUT : EPOLLIN);
    conn->waits_for_room = is_left;
}

/* Gives all whole units to the owner; returns the rest. */
static struct span conn_hear(struct conn *conn, struct span bytes)
{
    while (bytes.len > 0 && !conn->is_finished) {
        struct note note = { 0 };
        size_t      used = conn->client.dialect->hear(&conn->client, bytes, &note);
        if (note.heard == HEARD_NOTHING)
            break;
        if (note.heard == HEARD_FAULT)
            die("%s: %.*s", conn->client.dialect->peer, SPAN_ARG(note.payload));
        if (note.heard != HEARD_NOISE)
            conn->on_heard(conn, &note);
        must(used > 0 && used <= bytes.len);
        bytes = span_skip(bytes, used);
    }
    return bytes;
}

static void conn_receive(struct conn *conn)
{
    char  *inbox = conn->loop->inbox;
    size_t had   = conn->rest.len;
    if (had > 0)
        memcpy(inbox, conn->rest.at, had);
    ssize_t got = recv(conn->fd, inbox + had, READ_BYTES, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0)
        die("the server ended a connection: %s", got == 0 ? "closed" : strerror(errno));

    conn->loop->now_ns = clock_ns();
    struct span rest   = conn_hear(conn, span_of(inbox, had + (size_t)got));
    buf_clear(&conn->rest);
    if (rest.len > 0)
        buf_put(&conn->rest, rest);
    else if (had > 0)
        buf_fini(&conn->rest);
    if (buf_is_over(&conn->rest))
        die("the server sent something too long");
}

static void conn_on_ready(struct conn *conn, uint32_t events)
{
    if ((events & ~(uint32_t)EPOLLOUT) != 0)
        conn_receive(conn);
    if (conn->is_finished)
        conn_close(conn);
    else
        conn_flush(conn);
}

void loop_turn(struct loop *loop, uint64_t wait_ns)
{
    struct epoll_event events[EVENTS_MAX];
    struct timespec    wait  = { (time_t)(wait_ns / NS_PER_S), (long)(wait_ns % NS_PER_S) };
    int                count = epoll_pwait2(loop->epoll, events, EVENTS_MAX, &wait, NULL);
    if (count < 0 && errno != EINTR)
        die("epoll: %m");
    for (int i = 0; i < count; i++) {
        uint64_t wakes;
        if (events[i].data.ptr != NULL)
            conn_on_ready(events[i].data.ptr, events[i].events);
        else if (read(loop->wake, &wakes, sizeof wakes) < 0 && errno != EAGAIN)
            die("eventfd: %m");
    }
}
