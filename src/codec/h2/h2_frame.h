/* h2_frame.h - the frames of HTTP/2 that a server reads and writes (RFC 9113 4, 6): bytes in any cuts in, whole frames out, and
 * frames into a buffer. It knows where frames begin and end, and how each has to look; streams, windows and the
 * meaning of settings are the business of the caller.
 *
 * What comes out differs from what is on the wire in two ways. A header block is one frame, HEADERS, with the fragments of all
 * its CONTINUATION frames and without padding and priority. A frame of DATA comes in as many pieces as its bytes do, so that
 * nothing of a body is gathered here. */
#ifndef CODEC_H2_H2_FRAME_H
#define CODEC_H2_H2_FRAME_H

#include "base/buf.h"

enum h2_frame_type {
    H2_DATA, H2_HEADERS, H2_PRIORITY, H2_RST_STREAM, H2_SETTINGS, H2_PUSH_PROMISE, H2_PING, H2_GOAWAY, H2_WINDOW_UPDATE,
    H2_CONTINUATION, H2_FRAME_TYPES,
};

enum { H2_END_STREAM = 1, H2_ACK = 1, H2_END_HEADERS = 4, H2_PADDED = 8, H2_HAS_PRIORITY = 0x20 };

/* RFC 9113 7 */
enum h2_error {
    H2_NO_ERROR, H2_PROTOCOL_ERROR, H2_INTERNAL_ERROR, H2_FLOW_CONTROL_ERROR, H2_SETTINGS_TIMEOUT, H2_STREAM_CLOSED,
    H2_FRAME_SIZE_ERROR, H2_REFUSED_STREAM, H2_CANCEL, H2_COMPRESSION_ERROR, H2_CONNECT_ERROR, H2_ENHANCE_YOUR_CALM,
};
const char *h2_error_name(enum h2_error error);  /* static */

/* RFC 9113 6.5.2, RFC 8441 3, RFC 9218 2.1 */
enum h2_setting {
    H2_HEADER_TABLE_SIZE = 1, H2_ENABLE_PUSH, H2_MAX_CONCURRENT_STREAMS, H2_INITIAL_WINDOW_SIZE, H2_MAX_FRAME_SIZE,
    H2_MAX_HEADER_LIST_SIZE, H2_ENABLE_CONNECT_PROTOCOL = 8, H2_NO_RFC7540_PRIORITIES,
};

enum {
    H2_PREFACE_BYTES     = 24,
    H2_FRAME_HEAD_BYTES  = 9,
    H2_FRAME_BYTES_MAX   = 16384,  /* of a payload: the size that nobody has to be told */
    H2_WINDOW_BYTES      = 65535,  /* RFC 9113 6.9.2: that windows begin with */
    H2_CONTINUATIONS_MAX = 8,      /* behind a HEADERS: ENHANCE_YOUR_CALM */
};

struct h2_frame {
    struct span payload;   /* valid until the next call, and as long as the input */
    uint32_t    id;        /* of its stream; 0: of the connection */
    uint32_t    counted;   /* DATA: bytes of windows that this piece takes, its padding included */
    uint8_t     type;      /* enum h2_frame_type, or an unknown one */
    uint8_t     flags;
    bool        is_begin, is_end;  /* DATA: the first piece of its frame; the last */
    bool        is_empty;  /* DATA: the frame has no byte but padding */
    bool        depends_on_itself;  /* HEADERS: which PROTOCOL_ERROR of its stream answers */
};

/* Reads. The first bytes have to be the preface, the first frame SETTINGS (RFC 9113 3.4). */
struct h2_frames {
    struct buf    part;          /* of a frame that is not whole: its head, and what there is of its payload */
    struct buf    block;         /* of a header block that is not whole */
    size_t        block_bytes_max;  /* of that: ENHANCE_YOUR_CALM */
    uint32_t      block_id;      /* … and its stream; 0: there is none */
    uint32_t      data_id;       /* of the frame of DATA that comes; 0: none does */
    uint32_t      data_left;     /* bytes of it that are still to come … */
    uint8_t       data_padding;  /* … and of padding behind them */
    uint8_t       data_flags;
    bool          data_is_empty;
    bool          block_depends_on_itself;
    uint8_t       block_flags;
    uint8_t       continuations;
    uint8_t       preface_at;    /* so many bytes of the preface have come */
    bool          has_settings;
    bool          is_done;       /* with `part` and `block`: their memory is given back by the next call */
    enum h2_error error;         /* of a fault: it ends the connection … */
    const char   *why;           /* … and why; static */
};

void h2_frames_init(struct h2_frames *frames, size_t block_bytes_max);
void h2_frames_fini(struct h2_frames *frames);

enum h2_found { H2_FOUND_NOTHING, H2_FOUND_FRAME, H2_FOUND_FAULT };
/* Moves *input behind what was read. H2_FOUND_NOTHING: all of it was. Behind a fault nothing may be read. */
enum h2_found h2_frames_next(struct h2_frames *frames, struct span *input, struct h2_frame *ret);

/* Is what comes next the whole of one body: a frame of DATA with END_STREAM, for that stream, without padding? Behind a frame
 * that h2_frames_next() has found. Then its payload, which is not empty; the caller skips the frame. */
bool h2_body_follows(struct span input, uint32_t id, struct span *ret_body);

/* Is a header block under way, or a part of its first frame? */
bool h2_frames_are_in_head(const struct h2_frames *frames);

uint32_t h2_number(const char *at);  /* 4 bytes */

/* --- writing */

void h2_put_frame_head(struct buf *out, size_t length, enum h2_frame_type type, unsigned flags, uint32_t id);
/* The same over the H2_FRAME_HEAD_BYTES that are there already. */
void h2_set_frame_head(char *at, size_t length, enum h2_frame_type type, unsigned flags, uint32_t id);
void h2_put_setting(struct buf *out, enum h2_setting setting, uint32_t value);  /* of a payload */
void h2_put_reset(struct buf *out, uint32_t id, enum h2_error error);
void h2_put_goaway(struct buf *out, uint32_t last_id, enum h2_error error);
void h2_put_window(struct buf *out, uint32_t id, uint32_t bytes);

#endif
