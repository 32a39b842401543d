/* server.c - the connections of one loop, of whatever version. */
#include "base/must.h"
#include "http/accept.h"
#include "http/h2_conn.h"

void http_server_init(struct http_server *server, struct loop *loop, const struct http_limits *limits,
                      const struct http_service *service, void *ctx)
{
    must(service->plan != NULL && service->serve != NULL);
    *server = (struct http_server){ .loop = loop, .limits = *limits, .service = service, .ctx = ctx };
    list_init(&server->arrivals);
    list_init(&server->conns);
    list_init(&server->dirty);
    list_init(&server->sending);
}

static struct http_conn *conn_at(struct list *link)
{
    return container_of(link, struct http_conn, link);
}

void http_server_fini(struct http_server *server)
{
    accept_close_all(server);
    while (!list_is_empty(&server->conns)) {
        struct http_conn *conn = conn_at(server->conns.next);
        conn->version->close(conn);
    }
    must(list_is_empty(&server->dirty) && server->owed_bytes == 0 && server->body_bytes == 0 &&
         server->short_body_bytes == 0);
}

void http_server_end(struct http_server *server)
{
    h2_shared_free(server->h2);
    server->h2 = NULL;
}

void http_server_open(struct http_server *server, struct stream *stream)
{
    must(loop_is_here(server->loop));
    accept_begin(server, stream, accept_stages);
}

void http_conn_mark(struct http_conn *conn)
{
    if (!list_is_linked(&conn->dirty))
        list_push(&conn->server->dirty, &conn->dirty);
}

void http_server_turn_end(struct http_server *server)
{
    struct list *link;

    must(loop_is_here(server->loop));
    while ((link = list_pop(&server->dirty)) != NULL) {
        struct http_conn *conn = container_of(link, struct http_conn, dirty);
        conn->version->work(conn);
    }
}

/* --- memory is short --------------------------------------------------------------------------------------------- */

enum { SHED_PART = 16, SHED_LEAST = 4 };

size_t http_server_shed(struct http_server *server, bool are_known)
{
    const size_t part   = counter_get(&server->counters.conns) / SHED_PART;
    const size_t most   = part > SHED_LEAST ? part : SHED_LEAST;
    size_t       closed = 0;

    must(loop_is_here(server->loop));
    for (struct list *at = server->conns.prev, *older; at != &server->conns && closed < most; at = older) {
        struct http_conn *conn = conn_at(at);
        older                  = at->prev;
        if (conn->is_known == are_known && conn->stream != NULL && conn->version->shed != NULL)
            closed += conn->version->shed(conn);
    }
    counter_add(are_known ? &server->counters.shed_known : &server->counters.shed_strangers, closed);
    return closed;
}

/* --- stopping ---------------------------------------------------------------------------------------------------- */

void http_server_stop(struct http_server *server)
{
    must(loop_is_here(server->loop));
    server->is_stopping = true;
    accept_close_all(server);
    for (struct list *link = server->conns.next, *next; link != &server->conns; link = next) {
        struct http_conn *conn = conn_at(link);
        next                   = link->next;
        conn->version->stop(conn);
    }
}

bool http_server_is_idle(const struct http_server *server)
{
    return list_is_empty(&server->conns) && list_is_empty(&server->arrivals);
}

bool http_is_at_ease(const struct http_server *server)
{
    return server->owed_bytes < server->limits.ease_bytes_max;
}

void http_conn_sends(struct http_conn *conn)
{
    list_push(&conn->server->sending, &conn->sending);
    conn->taken_at = 0;
}

/* False: it takes nothing, but not for long enough yet. Silence counts from one tick to another: a turn that takes long,
 * because it makes a big answer, is no silence of the client. */
static bool conn_close_or_keep(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    uint64_t            taken  = conn->version->taken(conn);

    if (conn->taken_at == 0 || taken != conn->taken) {
        list_take(&conn->sending);
        list_push(&server->sending, &conn->sending);
        conn->taken    = taken;
        conn->taken_at = server->loop->now;
    } else if (server->loop->now - conn->taken_at >= server->limits.stuck_ms) {
        counter_add(&server->counters.stuck, 1);
        conn->version->drop_answers(conn);
    } else {
        return false;
    }
    return true;
}

void http_server_tick(struct http_server *server)
{
    must(loop_is_here(server->loop));
    /* Whoever was looked at in this tick stands at the end. */
    while (!http_is_at_ease(server) && !list_is_empty(&server->sending)) {
        struct http_conn *conn = container_of(server->sending.next, struct http_conn, sending);
        if (conn->taken_at == server->loop->now || !conn_close_or_keep(conn))
            return;
    }
}

bool http_has_room(const struct http_server *server)
{
    return server->owed_bytes < server->limits.owed_bytes_max;
}
