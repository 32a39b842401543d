/* stream_format.h - a port: how one kind of endless HTTP answer is written. Makers: SSE, NDJSON, multipart, all in
 * stream_format.c. Every piece of a stream carries the reader's place; nothing is read from the client.
 *
 * A format writes whole pieces (an event, a line, a part) and knows nothing of chunks, timers and streams. */
#ifndef SESSION_STREAM_FORMAT_H
#define SESSION_STREAM_FORMAT_H

#include "session/link.h"

/* What the pieces of one stream are made with. */
struct stream_piece {
    struct span boundary;  /* empty unless the format has one */
    struct span token;     /* where the reader stands behind this piece; empty: not all of its channels have answered */
    msec        retry_ms;  /* for clients that are told how long to wait before they reconnect */
    const struct link_end_words *why;  /* of put_closing() */
    uint32_t    expiring_s;            /* of put_expiring() */
    const struct presence_note *note;  /* of put_presence() */
};

struct stream_format {
    enum transport transport;
    enum encoding  shared;        /* for readers of one channel: their token depends on the message alone, so all links
                                   * share the frame. ENCODING_PRIVATE: each link makes its own */
    bool           has_boundary;
    /* Each appends. NULL: nothing is written there. */
    void (*put_start)(struct buf *buf, const struct stream_piece *piece);
    void (*put_message)(struct buf *buf, const struct stream_piece *piece, const struct message *message);
    void (*put_gap)(struct buf *buf, const struct stream_piece *piece, struct span channel, uint64_t epoch,
                    const struct gap *gap);
    void (*put_notify)(struct buf *buf, const struct stream_piece *piece, struct span channel, uint64_t epoch, uint64_t head);
    void (*put_heartbeat)(struct buf *buf, const struct stream_piece *piece);
    /* The reader's place alone, for a client that had nothing to read yet. */
    void (*put_place)(struct buf *buf, const struct stream_piece *piece);
    void (*put_end)(struct buf *buf, const struct stream_piece *piece);
    /* Why the stream ends, if the client shall not come again. put_end() follows. */
    void (*put_closing)(struct buf *buf, const struct stream_piece *piece);
    /* The client's token ends soon. */
    void (*put_expiring)(struct buf *buf, const struct stream_piece *piece);
    /* Which device came to a channel, or left it. */
    void (*put_presence)(struct buf *buf, const struct stream_piece *piece);
};

extern const struct stream_format sse_format, sse_raw_format, ndjson_format, multipart_format;

/* link_kind.encode for a link in this format. `set`: of its tokens, see link_put_token(). */
struct frame *stream_format_encode(const struct stream_format *format, struct span boundary, uint64_t set,
                                   struct link *link, const struct reader_sub *sub, const struct entry *entry);

#endif
