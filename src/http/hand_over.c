#include "http/hand_over.h"

#include <unistd.h>

#include "base/must.h"
#include "codec/handover/handover.h"
#include "http/h1_conn.h"
#include "reactor/stream_tcp.h"

static struct http_conn *http_conn_at(const struct list *link)
{
    return container_of(link, struct http_conn, link);
}

static bool http_conn_has_socket(const struct http_conn *conn)
{
    return conn->version->hand_over != NULL && conn->stream != NULL && stream_tcp_socket(conn->stream) >= 0;
}

static bool http_conn_tell(const struct http_conn *conn, struct buf *scratch, struct handover_http *ret)
{
    return http_conn_has_socket(conn) && conn->version->hand_over(conn, scratch, ret);
}

bool http_server_is_settled(const struct http_server *server)
{
    struct handover_http told;
    struct buf           scratch;
    bool                 is_settled = true;

    buf_init(&scratch, SIZE_MAX / 2);
    for (const struct list *link = server->conns.next; link != &server->conns && is_settled; link = link->next)
        is_settled = !http_conn_has_socket(http_conn_at(link)) || http_conn_tell(http_conn_at(link), &scratch, &told);
    buf_fini(&scratch);
    return is_settled;
}

size_t http_server_hand_over(struct http_server *server, struct buf *buf, void (*moved)(void *ctx, int socket), void *ctx)
{
    struct handover_http told;
    struct buf           scratch, peer;
    size_t               count = 0;

    buf_init(&scratch, SIZE_MAX / 2);
    buf_init(&peer, IP_TEXT_BYTES_MAX);
    for (struct list *link = server->conns.next; link != &server->conns; link = link->next) {
        struct http_conn *conn = http_conn_at(link);
        conn->has_moved        = http_conn_tell(conn, &scratch, &told);
        if (!conn->has_moved)
            continue;
        buf_clear(&peer);
        if (stream_is_named(conn->stream) && stream_put_peer(conn->stream, &peer))
            told.peer = buf_span(&peer);
        handover_put_http(buf, &told);
        moved(ctx, stream_tcp_socket(conn->stream));
        count++;
    }
    buf_fini(&scratch);
    buf_fini(&peer);
    return count;
}

void http_server_forget_moved(struct http_server *server)
{
    for (struct list *link = server->conns.next, *next; link != &server->conns; link = next) {
        struct http_conn *conn = http_conn_at(link);
        next                   = link->next;
        if (conn->has_moved)
            conn->version->close(conn);
    }
}

void http_server_cut_off(struct http_server *server)
{
    for (struct list *link = server->conns.next, *next; link != &server->conns; link = next) {
        struct http_conn *conn = http_conn_at(link);
        next                   = link->next;
        if (conn->version == &http_version_1 && h1_is_in_vain(conn))
            conn->version->close(conn);
    }
}

void http_server_go_on(struct http_server *server)
{
    for (struct list *link = server->conns.next; link != &server->conns; link = link->next)
        http_conn_mark(http_conn_at(link));
}

bool http_server_take_over(struct http_server *server, int socket, struct span body)
{
    struct handover_http told;
    struct stream       *stream;

    must(loop_is_here(server->loop));
    if (!handover_get_http(body, &told) || stream_tcp_new(server->loop, socket, &stream) != RC_OK) {
        close(socket);
        return false;
    }
    stream_name_peer_by(stream, told.peer);
    h1_take_over(server, stream, &told);
    return true;
}
