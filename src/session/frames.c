#include "session/frames.h"

#include <stdlib.h>

#include "base/must.h"
#include "codec/bin/bin.h"
#include "codec/json/json.h"
#include "codec/sse/sse.h"
#include "codec/token/token.h"
#include "codec/ws/ws.h"

void frames_init(struct frames *frames)
{
    memset(frames, 0, sizeof *frames);
    buf_init(&frames->scratch, UINT32_MAX / 2);
    buf_init(&frames->token, TOKEN_TEXT_BYTES_MAX);
    alias_table_init(&frames->aliases, BIN_ALIAS_COUNT);
}

static void frames_drop(struct frames *frames, size_t at)
{
    if (frames->slots[at].frame == NULL)
        return;
    frames->bytes -= frames->slots[at].frame->len + message_size(frames->slots[at].message);
    message_unref(frames->slots[at].message);
    frame_unref(frames->slots[at].frame);
    frames->slots[at].message = NULL;
    frames->slots[at].frame   = NULL;
}

void frames_empty(struct frames *frames)
{
    for (size_t i = 0; i < FRAMES_CACHED_MAX; i++)
        frames_drop(frames, i);
    buf_fini(&frames->scratch);
}

void frames_tick(struct frames *frames)
{
    frames_empty(frames);
    alias_table_tick(&frames->aliases);
}

void frames_trim(struct frames *frames)
{
    if (frames->bytes > FRAMES_CACHED_BYTES_MAX)
        frames_empty(frames);
}

void frames_fini(struct frames *frames)
{
    frames_empty(frames);
    buf_fini(&frames->token);
    alias_table_fini(&frames->aliases);
}

static struct frame *frame_alloc(size_t len)
{
    struct frame *frame = malloc(sizeof *frame + len);

    must(frame != NULL && len <= UINT32_MAX);
    *frame = (struct frame){ .refs = 1, .len = (uint32_t)len };
    return frame;
}

struct frame *frame_new(struct span bytes)
{
    struct frame *frame = frame_alloc(bytes.len);
    memcpy(frame->bytes, bytes.at, bytes.len);
    return frame;
}

struct frame *frame_new_chunk(struct span inside)
{
    char   digits[8];
    size_t count = 0;

    for (size_t left = inside.len; left != 0; left >>= 4)
        digits[count++] = "0123456789abcdef"[left & 15];

    struct frame *frame = frame_alloc(count + 2 + inside.len + 2);
    char         *at    = frame->bytes;
    while (count > 0)
        *at++ = digits[--count];
    *at++             = '\r';
    *at++             = '\n';
    frame->chunk_head = (uint8_t)(at - frame->bytes);
    frame->chunk_tail = 2;
    memcpy(at, inside.at, inside.len);
    memcpy(at + inside.len, "\r\n", 2);
    return frame;
}

struct frame *frame_ref(struct frame *frame)
{
    frame->refs++;
    return frame;
}

void frame_unref(struct frame *frame)
{
    if (frame != NULL && --frame->refs == 0)
        free(frame);
}

static struct span token_of(struct frames *frames, const struct message *message)
{
    struct place place = { channel_name_span(message->channel), message->epoch, message->seq };

    buf_clear(&frames->token);
    token_put(&frames->token, &place, 1);
    return buf_span(&frames->token);
}

/* Each frame as a WebSocket message, without its length: the message has an end of its own. */
static struct frame *frame_new_websocket(struct span frames)
{
    struct buf       wrapped;
    struct span      inside;
    struct bin_fault fault;
    size_t           used;

    buf_init(&wrapped, UINT32_MAX / 2);
    for (; frames.len > 0; frames = span_skip(frames, used)) {
        must(bin_split(frames, UINT32_MAX, &inside, &used, &fault) == BIN_SPLIT_FRAME);
        char head[WS_HEAD_BYTES_MAX];
        buf_put(&wrapped, span_of(head, ws_put_head(head, WS_BINARY, inside.len)));
        buf_put(&wrapped, inside);
    }
    struct frame *frame = frame_new(buf_span(&wrapped));
    buf_fini(&wrapped);
    return frame;
}

static struct frame *frames_make_bin(struct frames *frames, const struct alias *alias, const struct message *message,
                                     bool is_told, bool is_ws)
{
    struct buf *scratch = &frames->scratch;

    buf_clear(scratch);
    if (is_told && alias != NULL)
        alias_put_announcement(scratch, alias);
    alias_put_message(scratch, alias, message);
    struct frame *frame = is_ws ? frame_new_websocket(buf_span(scratch)) : frame_new(buf_span(scratch));
    if (alias != NULL) {
        frame->alias        = alias->number;
        frame->announcement = alias->announcement;
    }
    return frame;
}

static struct frame *frames_make(struct frames *frames, const struct message *message, enum encoding encoding)
{
    struct buf *scratch = &frames->scratch;

    buf_clear(scratch);
    switch (encoding) {
    case ENCODING_WS_JSON: {
        char head[WS_HEAD_BYTES_MAX];
        json_put_message(scratch, message);
        size_t        head_len = ws_put_head(head, WS_TEXT, scratch->len);
        struct frame *frame    = frame_alloc(head_len + scratch->len);
        memcpy(frame->bytes, head, head_len);
        memcpy(frame->bytes + head_len, scratch->at, scratch->len);
        return frame;
    }
    case ENCODING_SSE:
        sse_put_message(scratch, message, token_of(frames, message));
        return frame_new_chunk(buf_span(scratch));
    case ENCODING_SSE_RAW:
        sse_put_raw(scratch, message, token_of(frames, message));
        return frame_new_chunk(buf_span(scratch));
    case ENCODING_NDJSON:
        json_put_message_line(scratch, message, token_of(frames, message));
        buf_putc(scratch, '\n');
        return frame_new_chunk(buf_span(scratch));
    case ENCODING_JSON:
        json_put_message(scratch, message);
        break;
    case ENCODING_BIN:
    case ENCODING_BIN_TOLD:
    case ENCODING_WS_BIN:
    case ENCODING_WS_BIN_TOLD:
        return frames_make_bin(frames, alias_table_get(&frames->aliases, message), message,
                               encoding == ENCODING_BIN_TOLD || encoding == ENCODING_WS_BIN_TOLD,
                               encoding == ENCODING_WS_BIN || encoding == ENCODING_WS_BIN_TOLD);
    case ENCODING_PRIVATE:
        must(!"private frames are made by their session");
        break;
    }
    return frame_new(buf_span(scratch));
}

/* By what the message is, not by where it lies: aliases count how often a frame is made, so that two runs with the same messages
 * would send other bytes. */
static size_t slot_of(const struct message *message, enum encoding encoding)
{
    uint64_t mixed = (message->channel->hash ^ message->seq) * 0x9e3779b97f4a7c15u + (uint64_t)encoding * 0x85ebca6bu;
    return (size_t)(mixed >> 32) % FRAMES_CACHED_MAX;
}

/* An alias may have got other bases, or another channel, since the frame was made. */
static bool frame_is_current(const struct frames *frames, const struct frame *frame)
{
    return frame->announcement == 0 || alias_table_is_current(&frames->aliases, frame->alias, frame->announcement);
}

struct frame *frames_get(struct frames *frames, struct message *message, enum encoding encoding)
{
    size_t at = slot_of(message, encoding);

    if (frames->slots[at].message == message && frames->slots[at].encoding == encoding &&
        frame_is_current(frames, frames->slots[at].frame))
        return frame_ref(frames->slots[at].frame);

    frames_drop(frames, at);
    frames->slots[at].message  = message_ref(message);
    frames->slots[at].encoding = encoding;
    frames->slots[at].frame    = frames_make(frames, message, encoding);
    frames->bytes += frames->slots[at].frame->len + message_size(message);
    for (size_t i = 0; frames->bytes > FRAMES_CACHED_BYTES_MAX && i < FRAMES_CACHED_MAX; i++)
        if (i != at)
            frames_drop(frames, i);
    return frame_ref(frames->slots[at].frame);
}

struct frame *frames_get_told(struct frames *frames, struct message *message, enum encoding encoding,
                              uint32_t *told_alias)
{
    struct frame *frame = frames_get(frames, message, encoding);

    must(encoding == ENCODING_BIN || encoding == ENCODING_WS_BIN);
    if (frame->announcement == 0 || frame->announcement == *told_alias)
        return frame;
    frame_unref(frame);
    frame       = frames_get(frames, message, encoding == ENCODING_BIN ? ENCODING_BIN_TOLD : ENCODING_WS_BIN_TOLD);
    *told_alias = frame->announcement;
    return frame;
}

struct frame *frames_make_alone(struct frames *frames, const struct message *message, enum encoding encoding,
                                uint32_t *told_alias)
{
    if (encoding != ENCODING_BIN && encoding != ENCODING_WS_BIN)
        return frames_make(frames, message, encoding);

    const struct alias *alias = alias_table_get(&frames->aliases, message);
    bool is_news = alias != NULL && alias->announcement != *told_alias;
    if (is_news)
        *told_alias = alias->announcement;
    return frames_make_bin(frames, alias, message, is_news, encoding == ENCODING_WS_BIN);
}
