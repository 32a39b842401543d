/* frames.h - messages as they leave: a message is framed once for each encoding, and the frame is shared by all links
 * that send it. So a frame depends on the message and the encoding, and on nothing that differs from link to link.
 *
 * A frame belongs to one loop; its count needs no atomics. The cache keeps the recent frames, bounded in number and
 * bytes. A frame that leaves the cache lives on in the links that still hold it. */
#ifndef SESSION_FRAMES_H
#define SESSION_FRAMES_H

#include "base/buf.h"
#include "base/counter.h"
#include "codec/ws/ws_deflate.h"
#include "message/message.h"
#include "session/alias_table.h"

enum encoding {
    ENCODING_WS_JSON,  /* a WebSocket text frame */
    ENCODING_SSE,      /* an event, its id the token of its one channel */
    ENCODING_SSE_RAW,  /* the same in raw form */
    ENCODING_NDJSON,   /* a line, its cursor the token of its one channel */
    ENCODING_JSON,     /* the bare object */
    ENCODING_BIN,      /* a frame of longwire.bin.v1 */
    ENCODING_BIN_TOLD,      /* the same, its alias announced before it */
    ENCODING_WS_BIN,        /* a WebSocket binary message */
    ENCODING_WS_BIN_TOLD,   /* two: the announcement and the message */
    ENCODING_PRIVATE,  /* differs from link to link, and is not made here */
};

/* An encoding of WebSocket messages that are compressed, if that pays, is the plain one and the window that was agreed: one encoding
 * more, so that a message is compressed once for all links that agreed on the same. Links of other encodings have no window. */
enum { ENCODING_WINDOW_SHIFT = 4 };

static inline enum encoding encoding_with(enum encoding plain, enum ws_window window)
{
    return (enum encoding)((unsigned)plain | (unsigned)(window == WS_WINDOW_ANY ? WS_WINDOW_15 : window) << ENCODING_WINDOW_SHIFT);
}

static inline enum encoding encoding_plain(unsigned encoding)
{
    return (enum encoding)(encoding & ((1u << ENCODING_WINDOW_SHIFT) - 1));
}

static inline enum ws_window encoding_window(unsigned encoding)
{
    return (enum ws_window)(encoding >> ENCODING_WINDOW_SHIFT);
}

/* Frames that use aliases. */
static inline bool encoding_is_binary(unsigned encoding)
{
    return encoding_plain(encoding) == ENCODING_BIN || encoding_plain(encoding) == ENCODING_WS_BIN;
}

/* Shorter ones are not compressed: docs/decisions/0122-a-message-is-compressed-once.md. */
enum { FRAMES_DEFLATE_BYTES_MIN = 256 };

/* Of messages with a window. */
struct deflate_counters {
    struct counter messages;      /* that were compressed, each counted once however many links it has */
    struct counter bytes_before, bytes_after;
    struct counter left_plain;    /* too short, of a media type that is compressed already, or not shorter afterwards */
};

enum { FRAMES_CACHED_MAX = 512, FRAMES_CACHED_BYTES_MAX = 8 * 1024 * 1024 };

/* For streams of HTTP/1.1 a frame stands ready as a chunk (RFC 9112 7.1). On other streams only its inside is sent.
 *
 *     [1f4 CR LF][ the event, the line … ][CR LF]
 *     chunk_head                            2          both 0 for encodings that are never chunked */
struct frame {
    uint32_t refs;
    uint32_t len;
    uint64_t print;      /* cut_frame.c's fingerprint of it; 0: not made yet */
    uint32_t cut_count;  /* links that hold it because it was cut */
    uint32_t announcement;  /* of the alias that it uses: links must have been told it; 0: it uses none */
    uint16_t alias;
    uint8_t  chunk_head, chunk_tail;
    char     bytes[];
};

struct frames {
    struct {
        struct message *message;
        enum encoding   encoding;
        struct frame   *frame;
    } slots[FRAMES_CACHED_MAX];
    size_t     bytes;
    struct buf scratch;   /* where frames are put together */
    struct buf token;
    struct buf deflated;
    struct alias_table aliases;
    struct ws_deflater deflater;
    struct deflate_counters compressed;
};

void frames_init(struct frames *frames);
void frames_fini(struct frames *frames);

/* The frame of this message, shared with the cache: the caller owns a reference. When the cache holds too much it lets
 * go of other frames. One frame alone may be longer than all may be together, until frames_trim(). */
struct frame *frames_get(struct frames *frames, struct message *message, enum encoding encoding);

/* The same for a binary encoding (ENCODING_BIN or ENCODING_WS_BIN, with or without a window) and a subscription whose link was told *told_alias last:
 * the announcement comes before the frame if that is needed, and *told_alias becomes what the link knows then. */
struct frame *frames_get_told(struct frames *frames, struct message *message, enum encoding encoding,
                              uint32_t *told_alias);

/* The same of any encoding, for a subscription that is alone on this loop: no other link will ask for this frame, so the cache
 * does not hear of it, and nothing is made twice. */
struct frame *frames_make_alone(struct frames *frames, const struct message *message, enum encoding encoding,
                                uint32_t *told_alias);

/* The same behind what stands in the buffer, without an object. False: it needs one, because of its encoding; nothing has happened. */
bool frames_put_alone(struct frames *frames, const struct message *message, enum encoding encoding, uint32_t *told_alias,
                      struct buf *buf);

/* Lets go of all frames if the cache holds too much; at the end of a turn. */
void frames_trim(struct frames *frames);
void frames_empty(struct frames *frames);
/* About once a second. */
void frames_tick(struct frames *frames);

struct frame *frame_new(struct span bytes);
struct frame *frame_new_chunk(struct span inside);
struct frame *frame_ref(struct frame *frame);
void          frame_unref(struct frame *frame);  /* NULL is fine */

static inline struct span frame_span(const struct frame *frame, bool is_chunked)
{
    if (is_chunked)
        return (struct span){ frame->bytes, frame->len };
    return (struct span){ frame->bytes + frame->chunk_head, frame->len - frame->chunk_head - frame->chunk_tail };
}

#endif
