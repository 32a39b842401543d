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
    buf_init(&frames->deflated, UINT32_MAX / 2);
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
    buf_fini(&frames->deflated);
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
    ws_deflater_fini(&frames->deflater);
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

/* --- WebSocket messages --- */

static bool frames_try_deflate(struct frames *frames, const struct message *message, struct span payload, enum ws_window window)
{
    buf_clear(&frames->deflated);
    if (payload.len < FRAMES_DEFLATE_BYTES_MIN || ws_media_is_compressed(message_media(message)) ||
        !ws_deflate(&frames->deflater, window, payload, &frames->deflated)) {
        counter_add(&frames->compressed.left_plain, 1);
        return false;
    }
    counter_add(&frames->compressed.messages, 1);
    counter_add(&frames->compressed.bytes_before, payload.len);
    counter_add(&frames->compressed.bytes_after, frames->deflated.len);
    return true;
}

/* What is sent for this payload: itself or, if it could be made shorter, that; *ret_head is the frame's head. */
static struct span frames_pack(struct frames *frames, const struct message *message, unsigned opcode, struct span payload,
                               enum ws_window window, char head[static WS_HEAD_BYTES_MAX], size_t *ret_head_len)
{
    if (window != WS_WINDOW_NONE && frames_try_deflate(frames, message, payload, window)) {
        payload = buf_span(&frames->deflated);
        opcode |= WS_DEFLATED;
    }
    *ret_head_len = ws_put_head(head, opcode, payload.len);
    return payload;
}

static struct frame *frames_make_text(struct frames *frames, const struct message *message, enum ws_window window)
{
    char        head[WS_HEAD_BYTES_MAX];
    size_t      head_len;

    json_put_message(&frames->scratch, message);
    struct span   payload = frames_pack(frames, message, WS_TEXT, buf_span(&frames->scratch), window, head, &head_len);
    struct frame *frame   = frame_alloc(head_len + payload.len);
    memcpy(frame->bytes, head, head_len);
    memcpy(frame->bytes + head_len, payload.at, payload.len);
    return frame;
}

/* Each frame as a WebSocket message, without its length: the message has an end of its own. An announcement is short, and stays
 * plain. */
static struct frame *frames_wrap_binary(struct frames *frames, const struct message *message, struct span bare,
                                        enum ws_window window)
{
    struct buf       wrapped;
    struct span      inside;
    struct bin_fault fault;
    size_t           used, head_len;

    buf_init(&wrapped, UINT32_MAX / 2);
    for (; bare.len > 0; bare = span_skip(bare, used)) {
        must(bin_split(bare, UINT32_MAX, &inside, &used, &fault) == BIN_SPLIT_FRAME);
        char        head[WS_HEAD_BYTES_MAX];
        bool        is_last = used == bare.len;
        struct span payload = frames_pack(frames, message, WS_BINARY, inside, is_last ? window : WS_WINDOW_NONE, head, &head_len);
        buf_put(&wrapped, span_of(head, head_len));
        buf_put(&wrapped, payload);
    }
    struct frame *frame = frame_new(buf_span(&wrapped));
    buf_fini(&wrapped);
    return frame;
}

static void put_bin(struct buf *buf, const struct alias *alias, const struct message *message, bool is_told)
{
    if (is_told && alias != NULL)
        alias_put_announcement(buf, alias);
    alias_put_message(buf, alias, message);
}

static struct frame *frames_make_bin(struct frames *frames, const struct alias *alias, const struct message *message,
                                     bool is_told, bool is_ws, enum ws_window window)
{
    struct buf *scratch = &frames->scratch;

    buf_clear(scratch);
    put_bin(scratch, alias, message, is_told);
    struct frame *frame = is_ws ? frames_wrap_binary(frames, message, buf_span(scratch), window) : frame_new(buf_span(scratch));
    if (alias != NULL) {
        frame->alias        = alias->number;
        frame->announcement = alias->announcement;
    }
    return frame;
}

static bool encoding_is_told(enum encoding encoding)
{
    return encoding_plain(encoding) == ENCODING_BIN_TOLD || encoding_plain(encoding) == ENCODING_WS_BIN_TOLD;
}

static bool encoding_is_ws_bin(enum encoding encoding)
{
    return encoding_plain(encoding) == ENCODING_WS_BIN || encoding_plain(encoding) == ENCODING_WS_BIN_TOLD;
}

/* The same with the announcement in front. */
static enum encoding encoding_told(enum encoding encoding)
{
    return encoding_with(encoding_plain(encoding) == ENCODING_BIN ? ENCODING_BIN_TOLD : ENCODING_WS_BIN_TOLD,
                         encoding_window(encoding));
}

static struct frame *frames_make(struct frames *frames, const struct message *message, enum encoding encoding)
{
    struct buf *scratch = &frames->scratch;

    buf_clear(scratch);
    switch (encoding_plain(encoding)) {
    case ENCODING_WS_JSON:
        return frames_make_text(frames, message, encoding_window(encoding));
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
                               encoding_is_told(encoding), encoding_is_ws_bin(encoding), encoding_window(encoding));
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

    must(encoding_is_binary(encoding));
    if (frame->announcement == 0 || frame->announcement == *told_alias)
        return frame;
    frame_unref(frame);
    frame       = frames_get(frames, message, encoding_told(encoding));
    *told_alias = frame->announcement;
    return frame;
}

/* Has the alias to be announced? Then the link knows it from now on. */
static bool alias_is_news(const struct alias *alias, uint32_t *told_alias)
{
    if (alias == NULL || alias->announcement == *told_alias)
        return false;
    *told_alias = alias->announcement;
    return true;
}

struct frame *frames_make_alone(struct frames *frames, const struct message *message, enum encoding encoding,
                                uint32_t *told_alias)
{
    if (!encoding_is_binary(encoding))
        return frames_make(frames, message, encoding);

    const struct alias *alias   = alias_table_get(&frames->aliases, message);
    const bool          is_news = alias_is_news(alias, told_alias);
    return frames_make_bin(frames, alias, message, is_news, encoding_is_ws_bin(encoding), encoding_window(encoding));
}

bool frames_put_alone(struct frames *frames, const struct message *message, enum encoding encoding, uint32_t *told_alias,
                      struct buf *buf)
{
    if (encoding != ENCODING_BIN)
        return false;
    const struct alias *alias = alias_table_get(&frames->aliases, message);
    put_bin(buf, alias, message, alias_is_news(alias, told_alias));
    return true;
}
