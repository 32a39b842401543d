#include "codec/ws/ws_deflate.h"

#include <stdlib.h>
#include <zlib.h>

#include "base/must.h"

enum {
    TAIL_BYTES              = 4,           /* RFC 7692 7.2.1: left out behind each message */
    DEFLATE_SMALL_BYTES_MAX = 3 * 1024,    /* a message so long finds all of itself in a window of 2^12 */
    INFLATE_STEP_BYTES      = 16 * 1024,
    INFLATE_KEPT_BYTES_MAX  = 256 * 1024,  /* of the message inflated last */
};

static const unsigned char tail[TAIL_BYTES] = { 0x00, 0x00, 0xff, 0xff };

/* --- out --- */

/* zlib zeroes a table of 2^(memory + 8) bytes for each message. */
static const struct { int bits, memory; } windows[WS_WINDOW_ANY] = {
    [WS_WINDOW_9] = { 9, 2 }, [WS_WINDOW_12] = { 12, 5 }, [WS_WINDOW_15] = { 15, 8 },
};

enum { DEFLATE_LEVEL = 1 };  /* docs/decisions/0122-a-message-is-compressed-once.md has the figures */

static z_stream *deflater_stream(struct ws_deflater *deflater, enum ws_window window)
{
    z_stream *stream = deflater->streams[window];

    if (stream != NULL) {
        must(deflateReset(stream) == Z_OK);
        return stream;
    }
    stream = calloc(1, sizeof *stream);
    must(stream != NULL);
    must(deflateInit2(stream, DEFLATE_LEVEL, Z_DEFLATED, -windows[window].bits, windows[window].memory,
                      Z_DEFAULT_STRATEGY) == Z_OK);
    deflater->streams[window] = stream;
    return stream;
}

void ws_deflater_fini(struct ws_deflater *deflater)
{
    for (size_t i = 0; i < WS_WINDOW_ANY; i++) {
        if (deflater->streams[i] != NULL)
            deflateEnd(deflater->streams[i]);
        free(deflater->streams[i]);
        deflater->streams[i] = NULL;
    }
}

/* A short message is within every larger window, and a small one costs less to set up. */
static enum ws_window stream_window(enum ws_window window, size_t len)
{
    if (window == WS_WINDOW_ANY)
        window = WS_WINDOW_15;
    return window == WS_WINDOW_15 && len <= DEFLATE_SMALL_BYTES_MAX ? WS_WINDOW_12 : window;
}

bool ws_deflate(struct ws_deflater *deflater, enum ws_window window, struct span payload, struct buf *ret)
{
    must(window != WS_WINDOW_NONE && payload.len <= UINT32_MAX);
    if (payload.len == 0)
        return false;
    z_stream *stream = deflater_stream(deflater, stream_window(window, payload.len));
    size_t    before = ret->len;
    char     *at     = buf_extend(ret, payload.len + TAIL_BYTES);

    must(at != NULL);
    stream->next_in   = (z_const Bytef *)payload.at;
    stream->avail_in  = (uInt)payload.len;
    stream->next_out  = (Bytef *)at;
    stream->avail_out = (uInt)payload.len + TAIL_BYTES;
    /* 7.2.1: the flush ends with an empty block without compression, whose last four bytes are left out. */
    must(deflate(stream, Z_SYNC_FLUSH) == Z_OK);
    size_t len = payload.len + TAIL_BYTES - stream->avail_out;
    bool   is_shorter = stream->avail_out > TAIL_BYTES;
    if (is_shorter)
        must(len > TAIL_BYTES && memcmp(at + len - TAIL_BYTES, tail, TAIL_BYTES) == 0);
    ret->len = is_shorter ? before + len - TAIL_BYTES : before;
    return is_shorter;
}

static bool starts_nocase(struct span text, struct span head)
{
    return text.len >= head.len && span_eq_nocase(span_head(text, head.len), head);
}

bool ws_media_is_compressed(struct span media)
{
    static const struct span types[] = {
        SPAN("application/zip"), SPAN("application/gzip"), SPAN("application/x-gzip"), SPAN("application/zstd"),
        SPAN("application/x-7z-compressed"), SPAN("application/x-bzip2"), SPAN("application/x-xz"), SPAN("application/pdf"),
        SPAN("font/woff"), SPAN("font/woff2"),
    };
    struct span type = SPAN("");

    if (!span_cut(&media, ';', &type))
        return false;
    type = span_trim(type);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (span_eq_nocase(type, types[i]))
            return true;
    if (starts_nocase(type, SPAN("image/")))
        return !span_eq_nocase(type, SPAN("image/svg+xml")) && !span_eq_nocase(type, SPAN("image/bmp"));
    return starts_nocase(type, SPAN("video/")) ||
           (starts_nocase(type, SPAN("audio/")) && !span_eq_nocase(type, SPAN("audio/wav")));
}

/* --- in --- */

void ws_inflater_init(struct ws_inflater *inflater)
{
    *inflater = (struct ws_inflater){ 0 };
    buf_init(&inflater->message, SIZE_MAX / 2);
}

void ws_inflater_fini(struct ws_inflater *inflater)
{
    if (inflater->stream != NULL)
        inflateEnd(inflater->stream);
    free(inflater->stream);
    inflater->stream = NULL;
    buf_fini(&inflater->message);
}

void ws_inflater_trim(struct ws_inflater *inflater)
{
    if (inflater->message.cap > INFLATE_KEPT_BYTES_MAX)
        buf_fini(&inflater->message);
}

/* A window of 2^15 takes messages of every smaller one. */
static void inflater_reset(struct ws_inflater *inflater)
{
    buf_clear(&inflater->message);
    inflater->has_ended = false;
    if (inflater->stream != NULL) {
        must(inflateReset(inflater->stream) == Z_OK);
        return;
    }
    inflater->stream = calloc(1, sizeof *inflater->stream);
    must(inflater->stream != NULL);
    must(inflateInit2(inflater->stream, -MAX_WBITS) == Z_OK);
}

/* Inflates as much as one step has room for. Z_OK: there may be more. */
static int inflate_step(struct ws_inflater *inflater, size_t bytes_max)
{
    z_stream *stream = inflater->stream;
    size_t    before = inflater->message.len, room = bytes_max + 1 - before;
    size_t    step   = room < INFLATE_STEP_BYTES ? room : INFLATE_STEP_BYTES;

    stream->next_out  = (Bytef *)buf_extend(&inflater->message, step);
    stream->avail_out = (uInt)step;
    must(stream->next_out != NULL);
    int rc = inflate(stream, Z_SYNC_FLUSH);
    must(rc != Z_MEM_ERROR);
    inflater->message.len = before + step - stream->avail_out;
    inflater->has_ended   = rc == Z_STREAM_END && stream->avail_in == 0;
    return rc;
}

/* RFC 7692 7.2.3.4: a sender may end a block with BFINAL; the next one begins at the next byte. */
static enum ws_inflated inflate_some(struct ws_inflater *inflater, struct span bytes, size_t bytes_max)
{
    z_stream *stream = inflater->stream;

    stream->next_in  = (z_const Bytef *)bytes.at;
    stream->avail_in = (uInt)bytes.len;
    for (;;) {
        int rc = inflate_step(inflater, bytes_max);
        if (inflater->message.len > bytes_max)
            return WS_INFLATED_TOO_LONG;
        if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
            return WS_INFLATED_BAD;
        if (stream->avail_in == 0 && stream->avail_out > 0)
            return WS_INFLATED;
        if (rc == Z_STREAM_END)
            must(inflateReset(stream) == Z_OK);
    }
}

/* zlib: bit 7 of data_type says that it stands between two blocks. A message that was cut off ends inside one. */
static bool inflater_is_between_blocks(const struct ws_inflater *inflater)
{
    return (inflater->stream->data_type & 128) != 0;
}

static enum ws_inflated too_long(const struct ws_inflater *inflater, struct span payload, size_t bytes_max)
{
    size_t used = payload.len - inflater->stream->avail_in;

    return (double)bytes_max * (double)payload.len / (double)used > (double)WS_SKIPPED_BYTES_MAX ? WS_INFLATED_BOMB :
                                                                                                  WS_INFLATED_TOO_LONG;
}

static enum ws_inflated inflate_all(struct ws_inflater *inflater, struct span payload, size_t bytes_max)
{
    if (payload.len == 0)
        return WS_INFLATED;  /* 7.2.3.6 makes an empty message one byte; some leave it out as well */
    enum ws_inflated inflated = inflate_some(inflater, payload, bytes_max);
    if (inflated == WS_INFLATED_TOO_LONG)
        return too_long(inflater, payload, bytes_max);
    if (inflated != WS_INFLATED || inflater->has_ended)
        return inflated;
    inflated = inflate_some(inflater, span_of(tail, sizeof tail), bytes_max);
    return inflated == WS_INFLATED && !inflater_is_between_blocks(inflater) ? WS_INFLATED_BAD : inflated;
}

enum ws_inflated ws_inflate(struct ws_inflater *inflater, enum ws_opcode opcode, struct span payload, size_t bytes_max,
                            struct span *ret_message)
{
    must(payload.len <= UINT32_MAX && bytes_max < UINT32_MAX);
    inflater_reset(inflater);
    enum ws_inflated inflated = inflate_all(inflater, payload, bytes_max);
    struct span      message  = buf_span(&inflater->message);
    if (inflated != WS_INFLATED)
        return inflated;
    if (opcode == WS_TEXT && !utf8_is_valid(message))
        return WS_INFLATED_NOT_TEXT;
    *ret_message = message;
    return WS_INFLATED;
}

uint16_t ws_inflated_code(enum ws_inflated inflated)
{
    return inflated == WS_INFLATED_TOO_LONG || inflated == WS_INFLATED_BOMB ? WS_CLOSE_TOO_BIG : WS_CLOSE_BAD_DATA;
}

const char *ws_inflated_reason(enum ws_inflated inflated)
{
    switch (inflated) {
    case WS_INFLATED: break;
    case WS_INFLATED_TOO_LONG:
    case WS_INFLATED_BOMB: return "message too big";
    case WS_INFLATED_BAD: return "the compressed message can't be inflated by itself";
    case WS_INFLATED_NOT_TEXT: return "text is not UTF-8";
    }
    return "";
}
