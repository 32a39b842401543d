/* ws_deflate.h - the messages of permessage-deflate (RFC 7692 7.2): payload to compressed payload and back.
 *
 * No context is taken over, so that a message is compressed once for all its receivers, and a link holds nothing between two
 * messages. What zlib needs is shared by all links of a thread: a deflater has some 300 KB once it has compressed, an inflater some
 * 50 KB and the message it inflated last. */
#ifndef CODEC_WS_WS_DEFLATE_H
#define CODEC_WS_WS_DEFLATE_H

#include "codec/ws/ws.h"

struct z_stream_s;

struct ws_deflater {
    struct z_stream_s *streams[WS_WINDOW_ANY];  /* by window; NULL: not needed yet */
};

/* Zero it to begin. */
void ws_deflater_fini(struct ws_deflater *deflater);

/* Appends the compressed payload for a client with this window. False: it is not shorter, and nothing was appended. */
bool ws_deflate(struct ws_deflater *deflater, enum ws_window window, struct span payload, struct buf *ret);

/* Is what has this media type compressed already, so that nothing is gained? */
bool ws_media_is_compressed(struct span media);

struct ws_inflater {
    struct z_stream_s *stream;   /* NULL: not needed yet */
    struct buf         message;
    bool               has_ended;  /* the last block had BFINAL, and nothing is behind it */
};

void ws_inflater_init(struct ws_inflater *inflater);
void ws_inflater_fini(struct ws_inflater *inflater);
/* About once a second: gives back the memory of a long message. */
void ws_inflater_trim(struct ws_inflater *inflater);

enum ws_inflated {
    WS_INFLATED,
    WS_INFLATED_TOO_LONG,  /* the message is longer than it may be … */
    WS_INFLATED_BOMB,      /* … and would be longer than WS_SKIPPED_BYTES_MAX, if its rest is like its beginning */
    WS_INFLATED_BAD,       /* it can't be inflated */
    WS_INFLATED_NOT_TEXT,  /* a text message is not UTF-8 */
};

/* All the payload of one compressed message. *ret_message is the inflater's, until the next call; it holds at most `bytes_max`. */
enum ws_inflated ws_inflate(struct ws_inflater *inflater, enum ws_opcode opcode, struct span payload, size_t bytes_max,
                            struct span *ret_message);

/* What to close with, unless it was inflated. */
uint16_t    ws_inflated_code(enum ws_inflated inflated);
const char *ws_inflated_reason(enum ws_inflated inflated);

#endif
