/* plain_conn.c - the connections of our own client: connect, send, read, keep. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/must.h"
#include "fetch/fetch_priv.h"

enum { REQUEST_PARTS_MAX = 12, LENGTH_LINE_BYTES = 48 };

static bool conn_begin(struct fetch *fetch, struct plain_host *host, struct fetch_call *call);

static struct plain_conn *idle_conn_of(struct list *link)
{
    return container_of(link, struct plain_conn, idle_link);
}

/* --- the end of a connection, and of a call ------------------------------------------------------------------------ */

static void idle_take(struct plain_conn *conn)
{
    if (!list_is_linked(&conn->idle_link))
        return;
    list_take(&conn->idle_link);
    list_take(&conn->link);
    conn->fetch->plain.idle_count--;
}

static void conn_close(struct plain_conn *conn)
{
    struct plain *plain = &conn->fetch->plain;

    must(conn->call == NULL && conn->fd >= 0);
    idle_take(conn);
    plain_book_take(plain->book, conn);
    wheel_disarm(&conn->fetch->loop->wheel, &conn->timer);
    close(conn->fd);  /* leaves the epoll set by itself */
    conn->fd = -1;
    conn->host->conn_count--;
    list_push(&plain->closed, &conn->link);
}

void plain_turn_end(struct fetch *fetch)
{
    struct list *link;

    while ((link = list_pop(&fetch->plain.closed)) != NULL) {
        struct plain_conn *conn = container_of(link, struct plain_conn, link);
        buf_fini(&conn->rest);
        free(conn);
    }
}

void plain_close_idle(struct fetch *fetch)
{
    while (!list_is_empty(&fetch->plain.idle))
        conn_close(idle_conn_of(fetch->plain.idle.next));
    plain_turn_end(fetch);
}

static struct fetch_call *conn_drop_call(struct plain_conn *conn)
{
    struct fetch_call *call = conn->call;

    call->conn = NULL;
    conn->call = NULL;
    return call;
}

static void conn_end(struct plain_conn *conn, enum fetch_outcome outcome, const char *why)
{
    struct fetch_call *call = conn_drop_call(conn);

    snprintf(call->why, sizeof call->why, "%s", why);
    conn_close(conn);
    fetch_ended(conn->fetch, call, outcome);
}

void plain_cancel(struct fetch_call *call, enum fetch_outcome outcome)
{
    conn_end(call->conn, outcome, "");
}

static void conn_unreachable(struct plain_conn *conn, int error)
{
    char why[FETCH_WHY_BYTES];

    snprintf(why, sizeof why, "no connection to %.*s: %s", (int)conn->host->name_len, conn->host->name, strerror(error));
    conn_end(conn, FETCH_UNREACHABLE, why);
}

/* A name may mean another address by now; digits don't. */
static void host_failed(struct plain_host *host)
{
    host->is_known = host->known_until == 0;
}

/* Nothing was sent, so that libcurl may try. */
static void conn_not_made(struct plain_conn *conn, int error)
{
    struct fetch *fetch = conn->fetch;

    host_failed(conn->host);
    if (conn->host->is_known) {
        conn_unreachable(conn, error);
        return;
    }
    struct fetch_call *call = conn_drop_call(conn);
    call->looks_up          = true;
    conn_close(conn);
    fetch_by_other(fetch, call);
}

/* The server has closed a connection without a word, perhaps because nobody had used it for long. Then the request goes to
 * a new one, if the server can't have seen it, or may see it twice. */
static void conn_lost(struct plain_conn *conn, const char *why)
{
    struct fetch      *fetch = conn->fetch;
    struct plain_host *host  = conn->host;

    if (!conn->is_kept || conn->has_begun || (conn->sent > 0 && !conn->call->is_repeatable)) {
        conn_end(conn, conn->call->is_sent ? FETCH_GARBAGE : FETCH_UNREACHABLE, why);
        return;
    }
    struct fetch_call *call = conn_drop_call(conn);
    conn_close(conn);
    if (!conn_begin(fetch, host, call))
        fetch_ended(fetch, call, call->is_sent ? FETCH_GARBAGE : FETCH_UNREACHABLE);
}

/* How long a connection is kept. If the server has said how long it does, a second less, so that it does not close the
 * connection in the moment in which a request leaves. 0: it is not kept. */
static msec keep_ms(const struct h1_response *response)
{
    if (!response->says_kept_s || response->kept_s > PLAIN_IDLE_MS / 1000)
        return PLAIN_IDLE_MS;
    return response->kept_s == 0 ? 0 : ((msec)response->kept_s - 1) * 1000;
}

static void conn_keep(struct plain_conn *conn)
{
    struct fetch *fetch = conn->fetch;
    struct plain *plain = &fetch->plain;

    conn->is_kept = true;
    list_push(&conn->host->idle, &conn->link);
    list_push(&plain->idle, &conn->idle_link);
    plain_book_rest(plain->book, conn);
    wheel_arm(&fetch->loop->wheel, &conn->timer, fetch->loop->now + keep_ms(&conn->response));
    if (++plain->idle_count > fetch->limits.idle_max)
        conn_close(idle_conn_of(plain->idle.next));
}

/* `may_stay`: nothing has come behind the response. */
static void conn_answered(struct plain_conn *conn, bool may_stay)
{
    struct fetch_call *call = conn_drop_call(conn);

    call->status = conn->response.status;
    if (may_stay && !conn->is_ended && conn->generation == conn->host->generation && conn->sent == conn->request_bytes &&
        h1_response_may_follow(&conn->response) && keep_ms(&conn->response) > 0)
        conn_keep(conn);
    else
        conn_close(conn);
    fetch_ended(conn->fetch, call, FETCH_ANSWERED);
}

/* --- sending -------------------------------------------------------------------------------------------------------- */

static void part_add(struct iovec *parts, size_t *count, struct span text)
{
    must(*count < REQUEST_PARTS_MAX);
    parts[(*count)++] = (struct iovec){ (void *)text.at, text.len };
}

static bool says_length(const struct fetch_call *call)
{
    if (strcmp(call->method, "HEAD") == 0)
        return false;
    return call->body.len > 0 || strcmp(call->method, "GET") != 0;
}

/* The request as it lies in the call: nothing is copied but the line that says how long its body is. */
static size_t request_parts(const struct fetch_call *call, struct iovec *parts, char *length_line)
{
    struct plain_url url;
    size_t           count = 0;
    int              len   = 2;

    must(plain_url_read(span_str(call->url), &url));
    if (says_length(call))
        len = snprintf(length_line, LENGTH_LINE_BYTES, "Content-Length: %zu\r\n\r\n", call->body.len);
    else
        memcpy(length_line, "\r\n", 2);
    part_add(parts, &count, span_str(call->method));
    part_add(parts, &count, url.lacks_slash ? SPAN(" /") : SPAN(" "));
    part_add(parts, &count, url.target);
    part_add(parts, &count, SPAN(" HTTP/1.1\r\nHost: "));
    part_add(parts, &count, url.authority);
    part_add(parts, &count, SPAN("\r\n"));
    part_add(parts, &count, buf_span(&call->fields));
    part_add(parts, &count, span_of(length_line, (size_t)len));
    if (says_length(call))
        part_add(parts, &count, buf_span(&call->body));
    return count;
}

/* Without the first `skip` bytes. */
static size_t parts_skip(struct iovec *parts, size_t count, size_t skip)
{
    size_t at = 0;

    while (at < count && skip >= parts[at].iov_len)
        skip -= parts[at++].iov_len;
    if (at < count) {
        parts[at].iov_base = (char *)parts[at].iov_base + skip;
        parts[at].iov_len -= skip;
    }
    memmove(parts, parts + at, (count - at) * sizeof *parts);
    return count - at;
}

static ssize_t send_request_parts(int fd, struct iovec *parts, size_t count)
{
    const struct msghdr message = { .msg_iov = parts, .msg_iovlen = count };
    ssize_t             put;

    do
        put = sendmsg(fd, &message, MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    return put;
}

/* False: nothing more can be sent now. */
static bool conn_send_some(struct plain_conn *conn)
{
    struct iovec parts[REQUEST_PARTS_MAX];
    char         length_line[LENGTH_LINE_BYTES];
    size_t       count = request_parts(conn->call, parts, length_line);

    conn->request_bytes = 0;
    for (size_t i = 0; i < count; i++)
        conn->request_bytes += parts[i].iov_len;
    ssize_t put = send_request_parts(conn->fd, parts, parts_skip(parts, count, conn->sent));
    if (put < 0) {
        conn->is_unwritable = errno != EAGAIN && errno != EWOULDBLOCK;
        return false;
    }
    conn->sent          += (size_t)put;
    conn->call->is_sent |= put > 0;
    return conn->sent < conn->request_bytes;
}

/* What the kernel does not take is sent when the socket is writable. A server that no longer reads may still have answered:
 * reading tells. */
static void conn_send(struct plain_conn *conn)
{
    while (conn_send_some(conn)) {}
}

/* --- reading -------------------------------------------------------------------------------------------------------- */

static void conn_too_large(struct plain_conn *conn)
{
    conn_end(conn, FETCH_TOO_LARGE, "the answer is longer than allowed");
}

static void conn_faulty(struct plain_conn *conn)
{
    if (conn->response.is_too_large)
        conn_too_large(conn);
    else
        conn_end(conn, FETCH_GARBAGE, conn->response.fault_reason);
}

/* False: the answer is longer than allowed. */
static bool take_body(struct fetch_call *call, struct span body)
{
    if (body.len > call->answer_bytes_max - call->answer.len)
        return false;
    buf_put(&call->answer, body);
    return true;
}

/* False: the call has ended. */
static bool conn_take(struct plain_conn *conn, enum h1_response_event event, const struct h1_response_piece *piece,
                      bool may_stay)
{
    struct fetch_call *call = conn->call;

    switch (event) {
    case H1_RESPONSE_STATUS:
        fetch_call_forget_head(call);
        return true;
    case H1_RESPONSE_FIELD:
        fetch_call_keep_field(call, piece->field.name, piece->field.value);
        return true;
    case H1_RESPONSE_HEAD:
        if (h1_response_announced(&conn->response) <= call->answer_bytes_max)
            return true;
        conn_too_large(conn);
        return false;
    case H1_RESPONSE_BODY:
        if (take_body(call, piece->body))
            return true;
        conn_too_large(conn);
        return false;
    case H1_RESPONSE_END:
        conn_answered(conn, may_stay);
        return false;
    case H1_RESPONSE_FAULT:
        conn_faulty(conn);
        return false;
    case H1_RESPONSE_MORE:
        break;
    }
    return true;
}

/* False: the call has ended. *input becomes what is left of it. `is_all`: nothing more was there to read. */
static bool conn_feed(struct plain_conn *conn, struct span *input, bool is_all)
{
    enum h1_response_event event;

    do {
        struct h1_response_piece piece;
        size_t                   used;
        event  = h1_response_feed(&conn->response, *input, &used, &piece);
        if (event != H1_RESPONSE_FAULT)
            *input = span_skip(*input, used);
        if (!conn_take(conn, event, &piece, is_all && input->len == 0))
            return false;
    } while (event != H1_RESPONSE_MORE);
    return true;
}

/* What is not consumed, a part of a line, is kept until more comes. */
static bool conn_feed_kept(struct plain_conn *conn, struct span got, bool is_all)
{
    struct span input = got;

    if (conn->rest.len > 0) {
        buf_put(&conn->rest, got);
        must(!buf_is_over(&conn->rest));
        input = buf_span(&conn->rest);
    }
    if (!conn_feed(conn, &input, is_all))
        return false;
    if (conn->rest.len > 0)
        buf_drop(&conn->rest, conn->rest.len - input.len);
    else
        buf_put(&conn->rest, input);
    return true;
}

static void conn_closed_by_server(struct plain_conn *conn)
{
    if (!conn->has_begun)
        conn_lost(conn, "the connection was closed before the answer");
    else if (h1_response_close(&conn->response) == H1_RESPONSE_END)
        conn_answered(conn, false);
    else
        conn_faulty(conn);
}

/* A short read has taken all there is, but for the end. */
static void conn_read(struct plain_conn *conn)
{
    struct loop *loop = conn->fetch->loop;
    bool         is_all;

    do {
        ssize_t got = recv(conn->fd, loop->input, LOOP_INPUT_BYTES, 0);
        if (got < 0 && errno == EINTR) {
            is_all = false;
            continue;
        }
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (got < 0) {
            conn_lost(conn, "the connection broke before the answer");
            return;
        }
        if (got == 0) {
            conn_closed_by_server(conn);
            return;
        }
        is_all          = got < LOOP_INPUT_BYTES && !conn->is_ended;
        conn->has_begun = true;
        if (!conn_feed_kept(conn, span_of(loop->input, (size_t)got), is_all))
            return;
    } while (!is_all);
}

/* --- events --------------------------------------------------------------------------------------------------------- */

static bool conn_is_made(struct plain_conn *conn)
{
    int       error = 0;
    socklen_t len   = sizeof error;

    must(getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0);
    if (error != 0) {
        conn_not_made(conn, error);
        return false;
    }
    conn->is_connecting = false;
    wheel_arm(&conn->fetch->loop->wheel, &conn->timer, conn->call->deadline);
    return true;
}

static void conn_ready(struct source *source, uint32_t events)
{
    struct plain_conn *conn     = container_of(source, struct plain_conn, source);
    bool               is_ended = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;

    if (conn->fd < 0 || (conn->call == NULL && (events & EPOLLIN) == 0 && !is_ended))
        return;
    if (conn->call == NULL) {  /* nobody has asked: whatever it says, it is of no use any more */
        conn_close(conn);
        return;
    }
    if (conn->is_connecting && ((events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) == 0 || !conn_is_made(conn)))
        return;
    conn->is_ended |= is_ended;
    if ((events & EPOLLOUT) != 0 && !conn->is_unwritable && (conn->sent == 0 || conn->sent < conn->request_bytes))
        conn_send(conn);
    if ((events & EPOLLIN) != 0 || is_ended || conn->is_unwritable)
        conn_read(conn);
}

static const struct source_kind conn_kind = { .ready = conn_ready };

static void conn_time_is_up(struct timer *timer, msec now)
{
    struct plain_conn *conn = container_of(timer, struct plain_conn, timer);

    if (conn->call == NULL) {
        conn_close(conn);
        return;
    }
    if (conn->is_connecting)
        host_failed(conn->host);
    bool is_late_connecting = conn->is_connecting && now < conn->call->deadline;
    conn_end(conn, FETCH_TIMEOUT, is_late_connecting ? "no connection in time" : "no answer in time");
}

/* --- the beginning -------------------------------------------------------------------------------------------------- */

static void conn_take_call(struct plain_conn *conn, struct fetch_call *call)
{
    h1_response_init(&conn->response, FETCH_HEAD_BYTES_MAX, strcmp(call->method, "HEAD") == 0);
    buf_clear(&call->answer);
    conn->call      = call;
    call->conn      = conn;
    conn->sent      = conn->request_bytes = 0;
    conn->has_begun = false;
    buf_clear(&conn->rest);
}

/* -1: errno says why there is none. */
static int socket_connect(const struct plain_host *host)
{
    int fd = socket(host->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;

    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (const struct sockaddr *)&host->address, host->address_len) != 0 && errno != EINPROGRESS) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static struct plain_conn *conn_new(struct fetch *fetch, struct plain_host *host, int fd)
{
    struct plain_conn *conn = calloc(1, sizeof *conn);

    must(conn != NULL);
    *conn = (struct plain_conn){
        .source.kind = &conn_kind, .timer.fire = conn_time_is_up, .fetch = fetch, .host = host, .fd = fd, .is_connecting = true,
        .generation = host->generation,
    };
    buf_init(&conn->rest, FETCH_HEAD_BYTES_MAX + LOOP_INPUT_BYTES);
    if (loop_watch(fetch->loop, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, &conn->source) == RC_OK)
        return conn;
    free(conn);
    return NULL;
}

/* A new connection. False: there can't be one; call->why says why. */
static bool conn_begin(struct fetch *fetch, struct plain_host *host, struct fetch_call *call)
{
    msec by = fetch->loop->now + call->connect_timeout_ms;

    plain_book_add(fetch->plain.book, host->server, call->connections_max);
    int                fd   = socket_connect(host);
    struct plain_conn *conn = fd < 0 ? NULL : conn_new(fetch, host, fd);
    if (conn == NULL) {
        plain_book_sub(fetch->plain.book, host->server);
        snprintf(call->why, sizeof call->why, "no connection to %.*s: %s", (int)host->name_len, host->name, strerror(errno));
        if (fd >= 0)
            close(fd);
        host_failed(host);
        return false;
    }
    host->conn_count++;
    conn_take_call(conn, call);
    wheel_arm(&fetch->loop->wheel, &conn->timer, by < call->deadline ? by : call->deadline);
    return true;
}

static void conn_begin_kept(struct plain_conn *conn, struct fetch_call *call)
{
    conn_take_call(conn, call);
    wheel_arm(&conn->fetch->loop->wheel, &conn->timer, call->deadline);
    conn_send(conn);
    if (conn->is_unwritable)
        conn_read(conn);
}

/* NULL: none is kept. One that another part has shut goes when its end is heard of. */
static struct plain_conn *take_kept(struct plain_host *host)
{
    while (!list_is_empty(&host->idle)) {
        struct plain_conn *conn = container_of(host->idle.prev, struct plain_conn, link);
        if (conn->generation == host->generation && plain_book_use(conn->fetch->plain.book, conn)) {
            idle_take(conn);
            return conn;
        }
        conn_close(conn);
    }
    return NULL;
}

static bool must_look_up(struct fetch *fetch, struct plain_host *host, msec now)
{
    if (fetch->whole != NULL)
        plain_host_ask_book(fetch, host);
    return !host->is_known || (host->known_until != 0 && host->known_until <= now && !host->is_looked_up);
}

bool plain_begin(struct fetch *fetch, struct fetch_call *call)
{
    struct plain_url   url;
    struct plain_host *host;

    if (fetch->is_curl_alone || call->protocol == FETCH_H2C || !plain_url_read(span_str(call->url), &url))
        return false;
    host = plain_host_get(&fetch->plain, &url);
    if (host == NULL)
        return false;
    if (must_look_up(fetch, host, fetch->loop->now)) {
        call->looks_up = true;
        host->is_looked_up = fetch->whole == NULL;
        return false;
    }
    struct plain_conn *conn = take_kept(host);
    if (conn != NULL) {
        conn_begin_kept(conn, call);
        return true;
    }
    if (conn_begin(fetch, host, call))
        return true;
    if (host->is_known)
        fetch_ended(fetch, call, FETCH_UNREACHABLE);
    else
        call->looks_up = true;
    return host->is_known;
}
