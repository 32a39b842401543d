/* stream_pace.h - how fast a loop reads from each of its sockets (bytes_per_connection_per_s), whatever is spoken there.
 *
 * A socket may bring a second's worth at once, then so many bytes a second. What comes faster is not read: it waits in the
 * kernel, and TCP slows its sender down. The owner of the stream notices nothing: stream_read() returns STREAM_LATER, and
 * on_readable() comes when there is room again. What it could notice is that a client is slow. So whoever measures a client's
 * time asks stream_is_held_back() first.
 *
 *     bucket     full ─────────── (no struct) ───────────── empty
 *                 └── room: so much may be read now ──┘      └── at most 1/16 s: held back until the timer fires
 *
 * Only a socket whose bucket is not full has a struct here; a quiet one costs nothing. One thread. */
#ifndef REACTOR_STREAM_PACE_H
#define REACTOR_STREAM_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/counter.h"
#include "base/map.h"

struct stream;

/* Of one loop. Zeroed: everything is read at once. */
struct stream_paces {
    uint64_t       bytes_per_s;  /* 0: any number */
    struct map     map;          /* of streams whose bucket is not full */
    struct counter rests;        /* times that one was held back */
};

void stream_paces_fini(struct stream_paces *paces);  /* all streams are closed */

/* How much of `len` (> 0) may be read now. 0: nothing, and on_readable() will come. */
size_t stream_pace_room(struct stream *stream, size_t len);
/* So much was read, of the `room` that was given instead of `len`. */
void stream_pace_took(struct stream *stream, size_t got, size_t room, size_t len);
/* The stream is being closed. */
void stream_pace_forget(struct stream *stream);

/* Does what the peer has sent wait because of its pace, or is it about to be read because it did? */
bool stream_is_held_back(const struct stream *stream);

#endif
