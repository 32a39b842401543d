/* stream.h - a port: one connected byte stream, without buffers of its own. An idle stream costs this struct and what
 * its maker adds.
 *
 * The makers are stream_tcp.h (sockets) and loop_sim.h (simulated links, for tests). stream_battery.c holds all of them
 * to this contract:
 *
 * Reading. on_readable() tells of bytes, of the end or of a fault, once. The owner then reads until stream_read()
 * returns STREAM_LATER or stream_is_drained() is true. An owner that stops earlier calls stream_more(), now or at any
 * later time, and gets another on_readable(). No other event can be relied on: bytes may wait inside the maker (TLS has
 * decrypted them) while the descriptor is silent. A short read does not mean that there is nothing more; only
 * stream_is_drained() knows that.
 *
 * Writing. Bytes that a write takes are the maker's: it sends them by itself, even if the stream is closed meanwhile.
 * Bytes that it does not take are forgotten, and the next write may bring others. So a maker that has to repeat bytes
 * (SSL_write() has encrypted them, and wants the same bytes again) counts them as taken, and repeats them itself.
 * `is_full` is set when a write was short, and while the maker holds bytes that it could not send yet. Then
 * on_writable() comes when there is room.
 *
 * Closing. stream_shut() closes our direction: the peer reads the end behind all that was taken, and may still send.
 * stream_close() closes both. After it the stream tells nothing more; reads and writes return STREAM_FAULT, the other
 * calls do nothing. The struct remains until the end of the turn.
 *
 * A stream belongs to the thread of its loop. */
#ifndef REACTOR_STREAM_H
#define REACTOR_STREAM_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/ip_address.h"
#include "base/msec.h"
#include "base/pool.h"
#include "base/span.h"
#include "reactor/source.h"

struct loop;
struct stream;

/* The events of a stream, for its owner. */
struct stream_events {
    void (*on_readable)(struct stream *stream, void *owner);
    void (*on_writable)(struct stream *stream, void *owner);  /* it was full */
};

/* Whom the certificate of the peer names; borrowed until the stream is closed. */
struct stream_person {
    struct span user;         /* as the certificate has it: not empty, without a NUL byte */
    msec        from, until;  /* when the certificate is valid; wall */
};

/* What a maker does for a stream. Calls never come for a closed stream. */
struct stream_ops {
    ssize_t (*read)(struct stream *stream, void *into, size_t len);
    ssize_t (*write)(struct stream *stream, struct span bytes);  /* sets is_full */
    void    (*shut)(struct stream *stream);
    /* Bytes that the maker holds are still sent. The struct goes back to the pool at the end of the turn. */
    void    (*close)(struct stream *stream);
    void    (*forget)(struct stream *stream);  /* NULL: nothing is kept behind close() */
    bool    (*is_dead)(const struct stream *stream, msec silence_ms);
    size_t  (*unacked_bytes)(const struct stream *stream);  /* NULL: not known */
    bool    (*peer)(const struct stream *stream, struct ip_address *ret);  /* NULL: not known */
    bool    (*person)(const struct stream *stream, struct stream_person *ret);  /* NULL: there are no certificates */
    struct span (*protocol)(const struct stream *stream);  /* NULL: none is ever agreed on */
    bool    is_paced;                         /* it is a socket of its own, and read as fast as stream_pace.h says */
    bool    is_secret;                        /* nobody between can read along: TLS */
    bool    is_drained_by_short_read;         /* a read that fills less than its room has taken all there is */
};

/* What the streams of one kind on one loop share. */
struct stream_maker {
    struct source_kind       source;  /* what the loop calls when one of their descriptors is ready */
    const struct stream_ops *ops;
    struct loop             *loop;
    struct pool              pool;    /* the streams; each begins with a struct stream */
};

struct stream {
    struct source               source;  /* its kind is the beginning of its struct stream_maker */
    const struct stream_events *events;
    struct stream              *next;    /* in loop->again or loop->closed */
    void                       *owner;
    int                         number;  /* the maker's: a descriptor, a stream id */
    bool                        is_full : 1;    /* wait for on_writable() */
    bool                        is_ended : 1;   /* the peer has closed, or the link is broken: reads show which */
    bool                        is_again : 1;   /* in loop->again */
    bool                        is_closed : 1;
    unsigned                    named_peer : 26;  /* its place in loop->named_peers; 0: none */
};

_Static_assert(sizeof(struct stream) == 40, "every idle connection pays for a stream");

enum { STREAM_LATER = -1, STREAM_FAULT = -2 };

/* --- for owners ---------------------------------------------------------------------------------------------- */

/* The first owner of a new stream, in the turn that made it. */
void stream_start(struct stream *stream, const struct stream_events *events, void *owner);
/* A later owner. It is told to read, because the earlier one may have left something, but not before this returns to
 * the loop. Without an earlier one it is as stream_start(). */
void stream_hand_over(struct stream *stream, const struct stream_events *events, void *owner);

/* NULL is fine. */
void stream_close(struct stream *stream);
/* The peer has had its time. To be followed by stream_close(), which then forgets what was taken and has not reached the peer,
 * and resets the link. Without this the kernel keeps these bytes, megabytes of them, as long as the peer acknowledges one
 * now and then. */
void stream_forget(struct stream *stream);

/* Bytes read, 0 at the end, STREAM_LATER, STREAM_FAULT. */
ssize_t stream_read(struct stream *stream, void *into, size_t len);
/* After a read of `got` bytes into room for `len`: is there nothing more for now? Saves the read that would only say
 * STREAM_LATER. */
bool stream_is_drained(const struct stream *stream, size_t got, size_t len);
/* The owner stopped reading before STREAM_LATER: on_readable() again, behind this turn's events or the next's. */
void stream_more(struct stream *stream);

/* The number of bytes taken, 0 … len; STREAM_FAULT: the link is gone, or our direction is shut. */
ssize_t stream_write(struct stream *stream, struct span bytes);
void    stream_shut(struct stream *stream);

/* Is anything under way to the peer (bytes, or probes of its full window), and has the peer's kernel acknowledged
 * nothing for so long? Then the link is dead. The kernel of a slow reader answers. */
bool stream_is_dead(const struct stream *stream, msec silence_ms);

/* How many bytes were taken from us that the peer's kernel has not acknowledged yet; 0 also if the maker can't say. */
size_t stream_unacked_bytes(const struct stream *stream);

/* The address of the client at the other end: the one that a proxy has named, else that of the socket's peer. False: it
 * is not known, and *ret is unchanged. Costs a system call, if no proxy has named it. */
bool stream_peer(const struct stream *stream, struct ip_address *ret);
/* The same as text, 192.0.2.7 or 2001:db8::7, which is appended. */
bool stream_put_peer(const struct stream *stream, struct buf *text);
/* A proxy in front says whose link this is; from now on stream_peer() says the same. `address` is known. */
void stream_name_peer(struct stream *stream, const struct ip_address *address);
/* Has a proxy said so? And the same by a text, of which nothing comes if it is no address. */
bool stream_is_named(const struct stream *stream);
void stream_name_peer_by(struct stream *stream, struct span text);

/* Whom the peer's certificate names. False: it has shown none, and *ret is unchanged. */
bool stream_get_person(const struct stream *stream, struct stream_person *ret);

/* The protocol that both sides have agreed on (ALPN); borrowed until the stream is closed. Empty: none. */
struct span stream_protocol(const struct stream *stream);

/* Is it encrypted? */
bool stream_is_secret(const struct stream *stream);

struct loop *stream_loop(const struct stream *stream);

/* --- for makers ---------------------------------------------------------------------------------------------- */

enum stream_news { STREAM_IS_READABLE = 1, STREAM_IS_WRITABLE = 2, STREAM_IS_ENDED = 4 };

void stream_maker_init(struct stream_maker *maker, const struct stream_ops *ops, struct loop *loop,
                       size_t stream_bytes);
void stream_maker_fini(struct stream_maker *maker);  /* all its streams are closed and freed */

/* A zeroed one from the pool, without an owner. */
struct stream *stream_make(struct stream_maker *maker, int number);
/* Takes back a stream that has had no owner. */
void stream_unmake(struct stream *stream);
/* Calls the owner for these events, a set of enum stream_news. */
void stream_tell(struct stream *stream, unsigned news);

#endif
