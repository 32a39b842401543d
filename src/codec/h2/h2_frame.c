#include "codec/h2/h2_frame.h"

#include "base/must.h"

static const struct span preface = SPAN("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

const char *h2_error_name(enum h2_error error)
{
    static const char *const names[] = {
        "NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
        "FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
    };

    return names[error];
}

void h2_frames_init(struct h2_frames *frames, size_t block_bytes_max)
{
    *frames = (struct h2_frames){ .block_bytes_max = block_bytes_max };
    buf_init(&frames->part, H2_FRAME_HEAD_BYTES + H2_FRAME_BYTES_MAX);
    buf_init(&frames->block, block_bytes_max);
}

void h2_frames_fini(struct h2_frames *frames)
{
    buf_fini(&frames->part);
    buf_fini(&frames->block);
}

uint32_t h2_number(const char *at)
{
    const uint8_t *bytes = (const uint8_t *)at;
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static enum h2_found h2_frames_fault(struct h2_frames *frames, enum h2_error error, const char *why)
{
    frames->error = error;
    frames->why   = why;
    return H2_FOUND_FAULT;
}

/* --- heads of frames (RFC 9113 4.1) --------------------------------------------------------------------------------- */

struct h2_frame_head {
    uint32_t length, id;
    uint8_t  type, flags;
};

static struct h2_frame_head h2_frame_head_of(const char *at)
{
    return (struct h2_frame_head){
        .length = h2_number(at) >> 8, .type = (uint8_t)at[3], .flags = (uint8_t)at[4], .id = h2_number(at + 5) & INT32_MAX,
    };
}

enum { ANY, OF_STREAM, OF_CONNECTION };

/* How a frame of each type has to look. */
static const struct {
    uint8_t place;
    uint8_t least, most;  /* of its length; most 0: any */
} frame_rules[H2_FRAME_TYPES] = {
    [H2_DATA] = { OF_STREAM, 0, 0 },         [H2_HEADERS] = { OF_STREAM, 0, 0 },   [H2_PRIORITY] = { OF_STREAM, 5, 5 },
    [H2_RST_STREAM] = { OF_STREAM, 4, 4 },   [H2_SETTINGS] = { OF_CONNECTION, 0, 0 },
    [H2_PUSH_PROMISE] = { ANY, 0, 0 },       [H2_PING] = { OF_CONNECTION, 8, 8 },  [H2_GOAWAY] = { OF_CONNECTION, 8, 0 },
    [H2_WINDOW_UPDATE] = { ANY, 4, 4 },      [H2_CONTINUATION] = { OF_STREAM, 0, 0 },
};

static enum h2_found h2_frames_judge_order(struct h2_frames *frames, const struct h2_frame_head *head)
{
    if (!frames->has_settings && (head->type != H2_SETTINGS || (head->flags & H2_ACK) != 0))
        return h2_frames_fault(frames, H2_PROTOCOL_ERROR, "the first frame is not SETTINGS");
    frames->has_settings = true;
    if (frames->block_id != 0 && (head->type != H2_CONTINUATION || head->id != frames->block_id))
        return h2_frames_fault(frames, H2_PROTOCOL_ERROR, "another frame within a header block");
    if (frames->block_id == 0 && head->type == H2_CONTINUATION)
        return h2_frames_fault(frames, H2_PROTOCOL_ERROR, "CONTINUATION without a header block");
    if (head->type == H2_CONTINUATION && frames->continuations++ == H2_CONTINUATIONS_MAX)
        return h2_frames_fault(frames, H2_ENHANCE_YOUR_CALM, "too many CONTINUATION frames");
    return H2_FOUND_FRAME;
}

static enum h2_found h2_frames_judge_head(struct h2_frames *frames, const struct h2_frame_head *head)
{
    if (h2_frames_judge_order(frames, head) == H2_FOUND_FAULT)
        return H2_FOUND_FAULT;
    if (head->length > H2_FRAME_BYTES_MAX)
        return h2_frames_fault(frames, H2_FRAME_SIZE_ERROR, "a frame above SETTINGS_MAX_FRAME_SIZE");
    if (head->type >= H2_FRAME_TYPES)
        return H2_FOUND_FRAME;
    if (head->type == H2_PUSH_PROMISE)
        return h2_frames_fault(frames, H2_PROTOCOL_ERROR, "PUSH_PROMISE of a client");
    if (frame_rules[head->type].place != ANY && (frame_rules[head->type].place == OF_STREAM) != (head->id != 0))
        return h2_frames_fault(frames, H2_PROTOCOL_ERROR, "a frame of a stream without one, or one of the connection with one");
    if (head->length < frame_rules[head->type].least ||
        (frame_rules[head->type].most != 0 && head->length > frame_rules[head->type].most))
        return h2_frames_fault(frames, H2_FRAME_SIZE_ERROR, "a frame of another length than its type has");
    if (head->type == H2_SETTINGS && ((head->flags & H2_ACK) != 0 ? head->length != 0 : head->length % 6 != 0))
        return h2_frames_fault(frames, H2_FRAME_SIZE_ERROR, "SETTINGS of a wrong length");
    if (head->type == H2_DATA && (head->flags & H2_PADDED) != 0 && head->length == 0)
        return h2_frames_fault(frames, H2_FRAME_SIZE_ERROR, "padding without its length");
    return H2_FOUND_FRAME;
}

/* --- DATA (RFC 9113 6.1) -------------------------------------------------------------------------------------------- */

static void h2_frames_data_piece(struct h2_frames *frames, struct span *input, struct h2_frame *ret)
{
    struct span piece = span_head(*input, frames->data_left);

    *input = span_skip(*input, piece.len);
    frames->data_left -= (uint32_t)piece.len;
    size_t padding = frames->data_left == 0 ? span_head(*input, frames->data_padding).len : 0;
    *input = span_skip(*input, padding);
    frames->data_padding = (uint8_t)(frames->data_padding - padding);
    ret->payload  = piece;
    ret->id       = frames->data_id;
    ret->type     = H2_DATA;
    ret->flags    = frames->data_flags;
    ret->is_empty = frames->data_is_empty;
    ret->is_end   = frames->data_left == 0 && frames->data_padding == 0;
    ret->counted += (uint32_t)(piece.len + padding);
    if (ret->is_end)
        frames->data_id = 0;
}

/* Its head, and the length of its padding if it has one, stand at `at`. */
static enum h2_found h2_frames_begin_data(struct h2_frames *frames, const struct h2_frame_head *head, const char *at,
                                          struct span *input, struct h2_frame *ret)
{
    bool is_padded = (head->flags & H2_PADDED) != 0;

    frames->data_padding = is_padded ? (uint8_t)at[H2_FRAME_HEAD_BYTES] : 0;
    if (is_padded && frames->data_padding >= head->length)
        return h2_frames_fault(frames, H2_PROTOCOL_ERROR, "padding longer than its frame");
    frames->data_id       = head->id;
    frames->data_flags    = head->flags;
    frames->data_left     = head->length - is_padded - frames->data_padding;
    frames->data_is_empty = frames->data_left == 0;
    *ret = (struct h2_frame){ .is_begin = true, .counted = is_padded };
    h2_frames_data_piece(frames, input, ret);
    return H2_FOUND_FRAME;
}

/* --- header blocks (RFC 9113 6.2, 6.10) ------------------------------------------------------------------------------- */

/* Without padding and priority. */
static enum h2_found h2_frames_cut_headers(struct h2_frames *frames, const struct h2_frame_head *head, struct h2_frame *ret)
{
    struct span *payload = &ret->payload;
    size_t padding = 0;
    size_t before  = ((head->flags & H2_PADDED) != 0) + ((head->flags & H2_HAS_PRIORITY) != 0 ? 5u : 0u);

    if (payload->len < before)
        return h2_frames_fault(frames, H2_FRAME_SIZE_ERROR, "HEADERS shorter than its flags say");
    if ((head->flags & H2_PADDED) != 0)
        padding = (uint8_t)payload->at[0];
    *payload = span_skip(*payload, before);
    if ((head->flags & H2_HAS_PRIORITY) != 0)
        ret->depends_on_itself = (h2_number(payload->at - 5) & INT32_MAX) == head->id;
    if (padding > payload->len)
        return h2_frames_fault(frames, H2_PROTOCOL_ERROR, "padding longer than its frame");
    payload->len -= padding;
    return H2_FOUND_FRAME;
}

static enum h2_found h2_frames_gather(struct h2_frames *frames, const struct h2_frame_head *head, struct h2_frame *ret)
{
    if (head->type == H2_HEADERS) {
        if (h2_frames_cut_headers(frames, head, ret) == H2_FOUND_FAULT)
            return H2_FOUND_FAULT;
        if ((head->flags & H2_END_HEADERS) != 0)
            return H2_FOUND_FRAME;
        frames->block_id      = head->id;
        frames->block_flags   = head->flags;
        frames->continuations = 0;
        frames->block_depends_on_itself = ret->depends_on_itself;
    }
    buf_put(&frames->block, ret->payload);
    if (buf_is_over(&frames->block))
        return h2_frames_fault(frames, H2_ENHANCE_YOUR_CALM, "a header block without an end");
    if ((head->flags & H2_END_HEADERS) == 0)
        return H2_FOUND_NOTHING;
    *ret = (struct h2_frame){ .payload = buf_span(&frames->block), .id = frames->block_id, .type = H2_HEADERS,
                              .flags = frames->block_flags | H2_END_HEADERS,
                              .depends_on_itself = frames->block_depends_on_itself };
    frames->block_id = 0;
    frames->is_done  = true;
    return H2_FOUND_FRAME;
}

/* --- the whole ---------------------------------------------------------------------------------------------------------- */

static enum h2_found h2_frames_take(struct h2_frames *frames, const struct h2_frame_head *head, struct span payload,
                                    struct h2_frame *ret)
{
    *ret = (struct h2_frame){ .payload = payload, .id = head->id, .type = head->type, .flags = head->flags };
    if (head->type == H2_HEADERS || head->type == H2_CONTINUATION)
        return h2_frames_gather(frames, head, ret);
    return H2_FOUND_FRAME;
}

/* Bytes that have to stand together: of DATA the head alone, and the length of its padding. */
static size_t h2_frame_need(const struct h2_frame_head *head)
{
    if (head->type == H2_DATA)
        return H2_FRAME_HEAD_BYTES + ((head->flags & H2_PADDED) != 0);
    return H2_FRAME_HEAD_BYTES + head->length;
}

/* Moves bytes into `part` until it has `need`. False: there are not so many. */
static bool h2_frames_fill_part(struct h2_frames *frames, struct span *input, size_t need)
{
    if (frames->part.len < need) {
        struct span more = span_head(*input, need - frames->part.len);
        buf_put(&frames->part, more);
        *input = span_skip(*input, more.len);
    }
    return frames->part.len == need;
}

/* A frame whose bytes came in several cuts. */
static enum h2_found h2_frames_go_on(struct h2_frames *frames, struct span *input, struct h2_frame *ret)
{
    if (frames->part.len < H2_FRAME_HEAD_BYTES) {
        if (!h2_frames_fill_part(frames, input, H2_FRAME_HEAD_BYTES))
            return H2_FOUND_NOTHING;
        struct h2_frame_head begun = h2_frame_head_of(frames->part.at);
        if (h2_frames_judge_head(frames, &begun) == H2_FOUND_FAULT)
            return H2_FOUND_FAULT;
    }
    struct h2_frame_head head = h2_frame_head_of(frames->part.at);
    if (!h2_frames_fill_part(frames, input, h2_frame_need(&head)))
        return H2_FOUND_NOTHING;
    frames->is_done = true;
    if (head.type == H2_DATA)
        return h2_frames_begin_data(frames, &head, frames->part.at, input, ret);
    return h2_frames_take(frames, &head, span_skip(buf_span(&frames->part), H2_FRAME_HEAD_BYTES), ret);
}

static enum h2_found h2_frames_read_one(struct h2_frames *frames, struct span *input, struct h2_frame *ret)
{
    if (frames->part.len > 0 || input->len < H2_FRAME_HEAD_BYTES)
        return h2_frames_go_on(frames, input, ret);
    struct h2_frame_head head = h2_frame_head_of(input->at);
    size_t               need = h2_frame_need(&head);
    if (h2_frames_judge_head(frames, &head) == H2_FOUND_FAULT)
        return H2_FOUND_FAULT;
    if (input->len < need) {
        h2_frames_fill_part(frames, input, need);
        return H2_FOUND_NOTHING;
    }
    const char *at = input->at;
    *input         = span_skip(*input, need);
    if (head.type == H2_DATA)
        return h2_frames_begin_data(frames, &head, at, input, ret);
    return h2_frames_take(frames, &head, span_of(at + H2_FRAME_HEAD_BYTES, head.length), ret);
}

/* False: it is another. */
static bool h2_frames_take_preface(struct h2_frames *frames, struct span *input)
{
    struct span want = span_head(span_skip(preface, frames->preface_at), input->len);

    if (!span_starts(*input, want))
        return false;
    frames->preface_at = (uint8_t)(frames->preface_at + want.len);
    *input             = span_skip(*input, want.len);
    return true;
}

enum h2_found h2_frames_next(struct h2_frames *frames, struct span *input, struct h2_frame *ret)
{
    enum h2_found found = H2_FOUND_NOTHING;

    if (frames->preface_at < H2_PREFACE_BYTES && !h2_frames_take_preface(frames, input))
        return h2_frames_fault(frames, H2_PROTOCOL_ERROR, "the preface is another");
    while (found == H2_FOUND_NOTHING) {
        if (frames->is_done) {
            buf_fini(&frames->part);
            if (frames->block_id == 0)
                buf_fini(&frames->block);
            frames->is_done = false;
        }
        if (input->len == 0)
            return H2_FOUND_NOTHING;
        if (frames->data_id != 0) {
            *ret = (struct h2_frame){ .counted = 0 };
            h2_frames_data_piece(frames, input, ret);
            return H2_FOUND_FRAME;
        }
        found = h2_frames_read_one(frames, input, ret);
    }
    return found;
}

bool h2_body_follows(struct span input, uint32_t id, struct span *ret_body)
{
    if (input.len < H2_FRAME_HEAD_BYTES)
        return false;
    struct h2_frame_head head = h2_frame_head_of(input.at);
    if (head.type != H2_DATA || head.flags != H2_END_STREAM || head.id != id || head.length == 0 ||
        head.length > H2_FRAME_BYTES_MAX || input.len < H2_FRAME_HEAD_BYTES + head.length)
        return false;
    *ret_body = span_of(input.at + H2_FRAME_HEAD_BYTES, head.length);
    return true;
}

bool h2_frames_are_in_head(const struct h2_frames *frames)
{
    if (frames->block_id != 0)
        return true;
    return !frames->is_done && frames->part.len >= H2_FRAME_HEAD_BYTES && frames->part.at[3] == H2_HEADERS;
}

/* --- writing ------------------------------------------------------------------------------------------------------------- */

static void h2_set_number(char *at, uint32_t number)
{
    at[0] = (char)(number >> 24);
    at[1] = (char)(number >> 16);
    at[2] = (char)(number >> 8);
    at[3] = (char)number;
}

static void h2_put_number(struct buf *out, uint32_t number)
{
    char *at = buf_extend(out, 4);

    if (at != NULL)
        h2_set_number(at, number);
}

void h2_set_frame_head(char *at, size_t length, enum h2_frame_type type, unsigned flags, uint32_t id)
{
    h2_set_number(at, (uint32_t)length << 8 | type);
    at[4] = (char)flags;
    h2_set_number(at + 5, id);
}

void h2_put_frame_head(struct buf *out, size_t length, enum h2_frame_type type, unsigned flags, uint32_t id)
{
    char *at = buf_extend(out, H2_FRAME_HEAD_BYTES);

    if (at != NULL)
        h2_set_frame_head(at, length, type, flags, id);
}

void h2_put_setting(struct buf *out, enum h2_setting setting, uint32_t value)
{
    buf_putc(out, (char)(setting >> 8));
    buf_putc(out, (char)setting);
    h2_put_number(out, value);
}

void h2_put_reset(struct buf *out, uint32_t id, enum h2_error error)
{
    h2_put_frame_head(out, 4, H2_RST_STREAM, 0, id);
    h2_put_number(out, error);
}

void h2_put_goaway(struct buf *out, uint32_t last_id, enum h2_error error)
{
    h2_put_frame_head(out, 8, H2_GOAWAY, 0, 0);
    h2_put_number(out, last_id);
    h2_put_number(out, error);
}

void h2_put_window(struct buf *out, uint32_t id, uint32_t bytes)
{
    h2_put_frame_head(out, 4, H2_WINDOW_UPDATE, 0, id);
    h2_put_number(out, bytes);
}
