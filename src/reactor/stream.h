/* stream.h - one connected byte stream, without buffers of its own: an idle one costs this struct and no more.
 *
 * Read until you are told STREAM_LATER, or call stream_more() to be called again after the others. A write that took
 * less than it was given has met a full socket: on_writable() comes when there is room. (TLS will be a second maker
 * of this port.) Belongs to its loop's thread. */
#ifndef REACTOR_STREAM_H
#define REACTOR_STREAM_H

#include "base/span.h"
#include "reactor/loop.h"

struct stream;

struct stream_events {
    struct source_kind source;  /* STREAM_SOURCE */
    void (*on_readable)(struct stream *stream, void *owner);  /* bytes, the end or a fault: read and see */
    void (*on_writable)(struct stream *stream, void *owner);  /* after a short write */
};

struct stream {
    struct source  source;      /* its kind is the beginning of a struct stream_events */
    struct stream *next;        /* in loop->again or loop->closed */
    struct loop   *loop;
    void          *owner;
    int            fd;
    bool           is_full;     /* the last write was short */
    bool           is_ended;    /* the peer has closed or broken: read to the end to see */
    bool           is_again;    /* in loop->again */
    bool           is_closed;
};

/* For the owner's table: .source = STREAM_SOURCE */
#define STREAM_SOURCE { .ready = stream_ready }
void stream_ready(struct source *source, uint32_t events);

enum { STREAM_LATER = -1, STREAM_FAULT = -2 };

/* Takes the descriptor (connected, non-blocking) on RC_OK only. */
enum rc stream_new(struct loop *loop, int fd, const struct stream_events *events, void *owner,
                   struct stream **ret) RC_MUST_USE;

/* Hands a stream to another owner. What it has to read is said to the new one, but not before this returns to the
 * loop. */
void stream_hand_over(struct stream *stream, const struct stream_events *events, void *owner);

/* Closes at once; the struct goes at the end of the turn. NULL is fine. What was written is still sent by the kernel. */
void stream_close(struct stream *stream);

/* Bytes read, 0 at the end, STREAM_LATER, STREAM_FAULT. */
ssize_t stream_read(struct stream *stream, void *into, size_t len);
/* After a read of `got` bytes into room for `len`: is there nothing more for now? Saves the read that would only say
 * STREAM_LATER. */
static inline bool stream_is_drained(const struct stream *stream, size_t got, size_t len)
{
    return got < len && !stream->is_ended;
}

/* Bytes taken, 0 … len; STREAM_FAULT: the link is gone. */
ssize_t stream_write(struct stream *stream, struct span bytes);
/* Tells the peer that nothing more will come. */
void stream_shut(struct stream *stream);

/* The owner stopped reading before STREAM_LATER: on_readable() again, behind this turn's events or the next's. */
void stream_more(struct stream *stream);

/* Is something on its way to the peer (bytes, or probes of its full window) and has its kernel said nothing for so long?
 * That is a dead link; a slow reader's kernel answers. */
bool stream_is_dead(const struct stream *stream, msec silence_ms);

/* The loop's. */
void stream_read_again(struct loop *loop);
void stream_bury(struct loop *loop);
void stream_bury_all(struct loop *loop);

#endif
