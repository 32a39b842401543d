/* stream.c - what the streams of all makers have in common: which events their owners get, and which are repeated. */
#include "reactor/stream.h"

#include "base/must.h"
#include "reactor/loop.h"

static struct stream_maker *maker_of(const struct stream *stream)
{
    return container_of(stream->source.kind, struct stream_maker, source);
}

struct loop *stream_loop(const struct stream *stream)
{
    return maker_of(stream)->loop;
}

/* --- for makers ---------------------------------------------------------------------------------------------- */

void stream_maker_init(struct stream_maker *maker, const struct stream_ops *ops, struct loop *loop, size_t stream_bytes)
{
    must(stream_bytes >= sizeof(struct stream));
    *maker = (struct stream_maker){ .ops = ops, .loop = loop };
    pool_init(&maker->pool, stream_bytes);
}

void stream_maker_fini(struct stream_maker *maker)
{
    pool_fini(&maker->pool);
}

struct stream *stream_make(struct stream_maker *maker, int number)
{
    must(loop_is_here(maker->loop));
    struct stream *stream = pool_take(&maker->pool);

    *stream = (struct stream){ .source.kind = &maker->source, .number = number };
    return stream;
}

static void forget_named_peer(struct stream *stream)
{
    if (stream->named_peer != 0)
        named_peers_take(&stream_loop(stream)->named_peers, stream->named_peer);
    stream->named_peer = 0;
}

void stream_unmake(struct stream *stream)
{
    must(stream->events == NULL && !stream->is_again);
    forget_named_peer(stream);
    pool_give(&maker_of(stream)->pool, stream);
}

void stream_tell(struct stream *stream, unsigned news)
{
    must(loop_is_here(stream_loop(stream)));
    must(stream->events != NULL || stream->is_closed);
    if ((news & STREAM_IS_ENDED) != 0)
        stream->is_ended = true;
    if (!stream->is_closed && (news & (STREAM_IS_READABLE | STREAM_IS_ENDED)) != 0) {
        if (stream_loop(stream)->is_held)
            stream_more(stream);
        else
            stream->events->on_readable(stream, stream->owner);
    }
    if (!stream->is_closed && (news & STREAM_IS_WRITABLE) != 0 && stream->is_full) {
        stream->is_full = false;
        stream->events->on_writable(stream, stream->owner);
    }
}

/* --- for owners ---------------------------------------------------------------------------------------------- */

void stream_start(struct stream *stream, const struct stream_events *events, void *owner)
{
    must(stream->events == NULL && loop_is_here(stream_loop(stream)));
    stream->events = events;
    stream->owner  = owner;
}

void stream_hand_over(struct stream *stream, const struct stream_events *events, void *owner)
{
    must(loop_is_here(stream_loop(stream)) && !stream->is_closed);
    if (stream->events != NULL)
        stream_more(stream);
    stream->events = events;
    stream->owner  = owner;
}

void stream_close(struct stream *stream)
{
    if (stream == NULL || stream->is_closed)
        return;
    struct loop *loop = stream_loop(stream);
    must(loop_is_here(loop));
    maker_of(stream)->ops->close(stream);
    forget_named_peer(stream);
    stream_pace_forget(stream);
    stream->is_closed = true;
    if (stream->is_again)
        return;  /* loop_read_again() will find it in its list */
    stream->next = loop->closed;
    loop->closed = stream;
}

void stream_forget(struct stream *stream)
{
    const struct stream_ops *ops = maker_of(stream)->ops;

    if (!stream->is_closed && ops->forget != NULL)
        ops->forget(stream);
}

static ssize_t read_paced(struct stream *stream, void *into, size_t len)
{
    const size_t room = stream_pace_room(stream, len);

    if (room == 0)
        return STREAM_LATER;
    ssize_t got = maker_of(stream)->ops->read(stream, into, room);
    if (got > 0)
        stream_pace_took(stream, (size_t)got, room, len);
    return got;
}

ssize_t stream_read(struct stream *stream, void *into, size_t len)
{
    must(loop_is_here(stream_loop(stream)) && len > 0);  /* or 0 would not be the end */
    if (stream->is_closed)
        return STREAM_FAULT;
    const struct stream_ops *ops = maker_of(stream)->ops;
    return stream_loop(stream)->paces.bytes_per_s > 0 && ops->is_paced ? read_paced(stream, into, len)
                                                                       : ops->read(stream, into, len);
}

bool stream_is_drained(const struct stream *stream, size_t got, size_t len)
{
    return got < len && !stream->is_ended && maker_of(stream)->ops->is_drained_by_short_read;
}

ssize_t stream_write(struct stream *stream, struct span bytes)
{
    must(loop_is_here(stream_loop(stream)));
    return stream->is_closed ? STREAM_FAULT : maker_of(stream)->ops->write(stream, bytes);
}

void stream_shut(struct stream *stream)
{
    if (!stream->is_closed)
        maker_of(stream)->ops->shut(stream);
}

void stream_more(struct stream *stream)
{
    if (stream->is_closed || stream->is_again)
        return;
    struct loop *loop = stream_loop(stream);
    must(loop_is_here(loop));
    stream->is_again  = true;
    stream->next      = loop->again;
    loop->again       = stream;
}

bool stream_is_dead(const struct stream *stream, msec silence_ms)
{
    return !stream->is_closed && maker_of(stream)->ops->is_dead(stream, silence_ms);
}

bool stream_peer(const struct stream *stream, struct ip_address *ret)
{
    const struct stream_ops *ops = maker_of(stream)->ops;

    if (stream->is_closed)
        return false;
    if (stream->named_peer == 0)
        return ops->peer != NULL && ops->peer(stream, ret);
    *ret = named_peers_get(&stream_loop(stream)->named_peers, stream->named_peer);
    return true;
}

bool stream_put_peer(const struct stream *stream, struct buf *text)
{
    struct ip_address address;

    if (!stream_peer(stream, &address))
        return false;
    ip_put(&address, text);
    return true;
}

bool stream_is_named(const struct stream *stream)
{
    return stream->named_peer != 0;
}

void stream_name_peer_by(struct stream *stream, struct span text)
{
    struct ip_address address;

    if (ip_read(text, &address))
        stream_name_peer(stream, &address);
}

void stream_name_peer(struct stream *stream, const struct ip_address *address)
{
    must(loop_is_here(stream_loop(stream)) && !stream->is_closed && ip_is_known(address));
    forget_named_peer(stream);
    stream->named_peer = named_peers_add(&stream_loop(stream)->named_peers, address) & NAMED_PEERS_MAX;
}

bool stream_get_person(const struct stream *stream, struct stream_person *ret)
{
    const struct stream_ops *ops = maker_of(stream)->ops;

    return !stream->is_closed && ops->person != NULL && ops->person(stream, ret);
}

struct span stream_protocol(const struct stream *stream)
{
    const struct stream_ops *ops = maker_of(stream)->ops;

    return stream->is_closed || ops->protocol == NULL ? SPAN("") : ops->protocol(stream);
}

bool stream_is_secret(const struct stream *stream)
{
    return maker_of(stream)->ops->is_secret;
}

size_t stream_unacked_bytes(const struct stream *stream)
{
    const struct stream_ops *ops = maker_of(stream)->ops;
    return stream->is_closed || ops->unacked_bytes == NULL ? 0 : ops->unacked_bytes(stream);
}

/* --- for loops ----------------------------------------------------------------------------------------------- */

void loop_read_again(struct loop *loop)
{
    struct stream *stream = loop->again;

    if (loop->is_held)
        return;
    loop->again = NULL;
    while (stream != NULL) {
        struct stream *next = stream->next;
        stream->is_again    = false;
        if (stream->is_closed) {
            stream->next = loop->closed;
            loop->closed = stream;
        } else {
            stream->events->on_readable(stream, stream->owner);
        }
        stream = next;
    }
}

static void streams_free(struct stream *stream)
{
    while (stream != NULL) {
        struct stream *next = stream->next;
        must(stream->is_closed);
        pool_give(&maker_of(stream)->pool, stream);
        stream = next;
    }
}

void loop_bury(struct loop *loop)
{
    streams_free(loop->closed);
    loop->closed = NULL;
}

void loop_bury_all(struct loop *loop)
{
    streams_free(loop->again);  /* all of them are closed: no stream has an owner any more */
    loop->again = NULL;
    loop_bury(loop);
}
