#include "http/h2_stream.h"

#include "base/must.h"

struct h2_stream {
    struct stream       stream;
    struct h2_exchange *exchange;  /* NULL: it is over */
    struct list         told;      /* in conn->told: its owner has something to read */
    struct list         full;      /* in conn->full: its owner waits for room */
    struct buf          in;        /* what the owner has not read yet; its window bounds it */
    bool                is_eof;    /* nothing comes behind that */
};

static struct h2_stream *h2_stream_of(struct stream *stream)
{
    return container_of(stream, struct h2_stream, stream);
}

static void h2_stream_note(struct h2_stream *h2, struct list *told)
{
    if (!list_is_linked(&h2->told))
        list_push(told, &h2->told);
}

/* --- reading -------------------------------------------------------------------------------------------------- */

static ssize_t h2_stream_read(struct stream *stream, void *into, size_t len)
{
    struct h2_stream   *h2       = h2_stream_of(stream);
    struct h2_exchange *exchange = h2->exchange;
    size_t              got      = h2->in.len < len ? h2->in.len : len;

    if (got == 0)
        return h2->is_eof ? 0 : exchange == NULL || exchange->is_closed ? STREAM_FAULT : STREAM_LATER;
    memcpy(into, h2->in.at, got);
    buf_drop(&h2->in, got);
    if (h2->in.len == 0)
        buf_fini(&h2->in);
    if (exchange != NULL)
        h2_exchange_consume(exchange, got);
    return (ssize_t)got;
}

void h2_stream_put(struct h2_exchange *exchange, struct span bytes)
{
    struct h2_stream *h2 = exchange->stream;

    /* Nobody reads what comes to an answer, or behind a close. */
    if (h2 == NULL || !exchange->is_two_way) {
        h2_exchange_consume(exchange, bytes.len);
        return;
    }
    buf_put(&h2->in, bytes);
    h2_stream_note(h2, &exchange->conn->told);
}

void h2_stream_end(struct h2_exchange *exchange)
{
    if (exchange->stream == NULL || !exchange->is_two_way)
        return;
    exchange->stream->is_eof          = true;
    exchange->stream->stream.is_ended = true;
    h2_stream_note(exchange->stream, &exchange->conn->told);
}

void h2_stream_orphan(struct h2_stream *h2, struct list *told)
{
    list_take(&h2->full);
    h2->exchange        = NULL;
    h2->stream.is_ended = true;
    if (h2->stream.is_full)
        h2->stream.is_full = false;  /* a write says that it is gone */
    h2_stream_note(h2, told);
}

void h2_conn_tell_readable(struct h2_conn *conn)
{
    struct list *link;

    while ((link = list_pop(&conn->told)) != NULL)
        stream_tell(&container_of(link, struct h2_stream, told)->stream, STREAM_IS_READABLE);
}

/* --- writing -------------------------------------------------------------------------------------------------- */

static size_t less_of(int64_t a, int64_t b)
{
    int64_t less = a < b ? a : b;
    return less > 0 ? (size_t)less : 0;
}

/* What may be taken now: what the client's windows and the connection's room leave. */
static size_t h2_exchange_room(const struct h2_exchange *exchange)
{
    struct h2_conn *conn  = exchange->conn;
    int64_t         held  = (int64_t)(exchange->answer.len - exchange->answer_at);
    size_t          least = h2_conn_room_least(conn);

    if (exchange->is_closed || conn->http.stream->is_full)
        return 0;
    size_t windows = less_of(exchange->window - held, conn->window - (int64_t)conn->held);
    size_t room    = less_of((int64_t)windows, (int64_t)H2_OUT_BYTES_MAX - (int64_t)(conn->out.len + conn->held));
    return room < least ? 0 : room;
}

static ssize_t h2_stream_write(struct stream *stream, struct span bytes)
{
    struct h2_stream   *h2       = h2_stream_of(stream);
    struct h2_exchange *exchange = h2->exchange;

    if (exchange == NULL || exchange->is_closed || exchange->is_ended)
        return STREAM_FAULT;
    size_t room = h2_exchange_room(exchange);
    size_t put  = bytes.len < room ? bytes.len : room;
    if (put > 0) {
        buf_put(&exchange->answer, span_head(bytes, put));
        exchange->conn->held += put;
        http_conn_mark(&exchange->conn->http);
        h2_exchange_resume(exchange);
    }
    if (put < bytes.len) {
        stream->is_full = true;
        if (!list_is_linked(&h2->full))
            list_push(&exchange->conn->full, &h2->full);
    }
    return (ssize_t)put;
}

void h2_conn_tell_writable(struct h2_conn *conn)
{
    struct list  waiting;
    struct list *link;

    if (list_is_empty(&conn->full))
        return;
    list_init(&waiting);
    while ((link = list_pop(&conn->full)) != NULL)
        list_push(&waiting, link);
    while ((link = list_pop(&waiting)) != NULL) {
        struct h2_stream *h2 = container_of(link, struct h2_stream, full);
        if (h2_exchange_room(h2->exchange) > 0)
            stream_tell(&h2->stream, STREAM_IS_WRITABLE);
        else
            list_push(&conn->full, &h2->full);
    }
}

/* --- the end -------------------------------------------------------------------------------------------------- */

static void h2_exchange_end(struct h2_exchange *exchange)
{
    exchange->is_ended = true;
    h2_exchange_resume(exchange);
    http_conn_mark(&exchange->conn->http);
}

static void h2_stream_shut(struct stream *stream)
{
    struct h2_exchange *exchange = h2_stream_of(stream)->exchange;

    if (exchange != NULL && !exchange->is_ended && !exchange->is_closed)
        h2_exchange_end(exchange);
}

static void h2_stream_close(struct stream *stream)
{
    struct h2_stream   *h2       = h2_stream_of(stream);
    struct h2_exchange *exchange = h2->exchange;

    list_take(&h2->told);
    list_take(&h2->full);
    buf_fini(&h2->in);
    h2->exchange = NULL;
    if (exchange == NULL)
        return;
    exchange->stream = NULL;
    if (exchange->is_closed)
        return;
    exchange->is_cut |= !exchange->is_ended && !exchange->is_two_way;
    h2_exchange_end(exchange);
    h2_exchange_set_timer(exchange);  /* what was taken may wait for the client's window */
}

/* The client has had its time: what was taken and waits for its window is dropped. */
static void h2_stream_forget(struct stream *stream)
{
    struct h2_exchange *exchange = h2_stream_of(stream)->exchange;

    if (exchange == NULL || exchange->is_closed)
        return;
    exchange->is_cut = true;
    h2_exchange_sent(exchange, exchange->answer.len - exchange->answer_at);
}

/* --- what the connection knows -------------------------------------------------------------------------------- */

static const struct stream *h2_stream_below(const struct stream *stream)
{
    const struct h2_exchange *exchange = container_of(stream, const struct h2_stream, stream)->exchange;
    return exchange == NULL ? NULL : exchange->conn->http.stream;
}

static bool h2_stream_is_dead(const struct stream *stream, msec silence_ms)
{
    const struct stream *below = h2_stream_below(stream);
    return below != NULL && stream_is_dead(below, silence_ms);
}

static bool h2_stream_peer(const struct stream *stream, struct ip_address *ret)
{
    const struct stream *below = h2_stream_below(stream);
    return below != NULL && stream_peer(below, ret);
}

static bool h2_stream_person(const struct stream *stream, struct stream_person *ret)
{
    const struct stream *below = h2_stream_below(stream);
    return below != NULL && stream_get_person(below, ret);
}

#define H2_STREAM_OPS(its_is_secret)                                                                                   \
    {                                                                                                                  \
        .read = h2_stream_read, .write = h2_stream_write, .shut = h2_stream_shut, .close = h2_stream_close,            \
        .forget = h2_stream_forget,                                                                                    \
        .is_dead = h2_stream_is_dead, .peer = h2_stream_peer, .person = h2_stream_person,                              \
        .is_secret = its_is_secret, .is_drained_by_short_read = true,                                                  \
    }

static const struct stream_ops h2_stream_plain_ops  = H2_STREAM_OPS(false);
static const struct stream_ops h2_stream_secret_ops = H2_STREAM_OPS(true);

void h2_stream_maker_init(struct stream_maker *maker, struct loop *loop, bool is_secret)
{
    stream_maker_init(maker, is_secret ? &h2_stream_secret_ops : &h2_stream_plain_ops, loop, sizeof(struct h2_stream));
}

struct stream *h2_stream_new(struct h2_exchange *exchange)
{
    const struct h2_conn *conn  = exchange->conn;
    struct stream_maker  *maker = h2_shared_maker(conn->http.server->h2, stream_is_secret(conn->http.stream));
    struct h2_stream     *h2    = h2_stream_of(stream_make(maker, (int)exchange->id));

    h2->exchange     = exchange;
    exchange->stream = h2;
    buf_init(&h2->in, SIZE_MAX / 2);
    list_init(&h2->told);
    list_init(&h2->full);
    return &h2->stream;
}
