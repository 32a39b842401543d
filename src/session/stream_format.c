#include "session/stream_format.h"

#include "base/must.h"
#include "codec/json/json.h"
#include "codec/multipart/multipart.h"
#include "codec/sse/sse.h"
#include "session/presence_follow.h"

/* --- server-sent events --- */

static void sse_format_put_retry(struct buf *buf, const struct stream_piece *piece)
{
    sse_put_retry(buf, piece->retry_ms);
}

static void sse_format_put_message(struct buf *buf, const struct stream_piece *piece, const struct message *message)
{
    sse_put_message(buf, message, piece->token);
}

static void sse_format_put_gap(struct buf *buf, const struct stream_piece *piece, struct span channel, uint64_t epoch,
                               const struct gap *gap)
{
    sse_put_gap(buf, channel, epoch, gap, piece->token);
}

static void sse_format_put_notify(struct buf *buf, const struct stream_piece *piece, struct span channel, uint64_t epoch,
                                  uint64_t head)
{
    sse_put_notify(buf, channel, epoch, head, piece->token);
}

static void sse_format_put_heartbeat(struct buf *buf, const struct stream_piece *piece)
{
    (void)piece;
    sse_put_heartbeat(buf);
}

static void sse_format_put_place(struct buf *buf, const struct stream_piece *piece)
{
    sse_put_place(buf, piece->token);
}

/* The last words on a stream are short. */
enum { CLOSING_BYTES_MAX = 256 };

static void put_closing_json(struct buf *json, const struct stream_piece *piece)
{
    buf_init(json, CLOSING_BYTES_MAX);
    link_end_put(json, piece->why);
    buf_putc(json, '}');
    must(!buf_is_over(json));
}

static void sse_format_put_closing(struct buf *buf, const struct stream_piece *piece)
{
    struct buf json;

    put_closing_json(&json, piece);
    sse_put_note(buf, piece->why->type, buf_span(&json));
    buf_fini(&json);
}

#define EXPIRING_JSON "{\"type\":\"expiring\",\"in\":%u}"

static void put_expiring_json(struct buf *json, const struct stream_piece *piece)
{
    buf_init(json, CLOSING_BYTES_MAX);
    buf_putf(json, EXPIRING_JSON, piece->expiring_s);
    must(!buf_is_over(json));
}

static void sse_format_put_expiring(struct buf *buf, const struct stream_piece *piece)
{
    struct buf json;

    put_expiring_json(&json, piece);
    sse_put_note(buf, "expiring", buf_span(&json));
    buf_fini(&json);
}

static void put_presence_json(struct buf *json, const struct stream_piece *piece)
{
    buf_init(json, PRESENCE_JSON_BYTES_MAX);
    presence_note_put(json, piece->note);
    buf_putc(json, '}');
    must(!buf_is_over(json));
}

static void sse_format_put_presence(struct buf *buf, const struct stream_piece *piece)
{
    struct buf json;

    put_presence_json(&json, piece);
    sse_put_note(buf, presence_note_type(piece->note), buf_span(&json));
    buf_fini(&json);
}

const struct stream_format sse_format = {
    .transport     = TRANSPORT_SSE,
    .shared        = ENCODING_SSE,
    .put_start     = sse_format_put_retry,
    .put_message   = sse_format_put_message,
    .put_gap       = sse_format_put_gap,
    .put_notify    = sse_format_put_notify,
    .put_heartbeat = sse_format_put_heartbeat,
    .put_place     = sse_format_put_place,
    .put_end       = sse_format_put_retry,
    .put_closing   = sse_format_put_closing,
    .put_expiring  = sse_format_put_expiring,
    .put_presence  = sse_format_put_presence,
};

static void sse_raw_format_put_message(struct buf *buf, const struct stream_piece *piece, const struct message *message)
{
    sse_put_raw(buf, message, piece->token);
}

const struct stream_format sse_raw_format = {
    .transport     = TRANSPORT_SSE,
    .shared        = ENCODING_SSE_RAW,
    .put_start     = sse_format_put_retry,
    .put_message   = sse_raw_format_put_message,
    .put_gap       = sse_format_put_gap,
    .put_notify    = sse_format_put_notify,
    .put_heartbeat = sse_format_put_heartbeat,
    .put_place     = sse_format_put_place,
    .put_end       = sse_format_put_retry,
    .put_closing   = sse_format_put_closing,
    .put_expiring  = sse_format_put_expiring,
    .put_presence  = sse_format_put_presence,
};

/* --- lines of JSON --- */

static void ndjson_format_put_message(struct buf *buf, const struct stream_piece *piece, const struct message *message)
{
    json_put_message_line(buf, message, piece->token);
    buf_putc(buf, '\n');
}

static void ndjson_format_put_gap(struct buf *buf, const struct stream_piece *piece, struct span channel,
                                  uint64_t epoch, const struct gap *gap)
{
    json_put_gap(buf, channel, epoch, gap, piece->token);
    buf_putc(buf, '\n');
}

static void ndjson_format_put_notify(struct buf *buf, const struct stream_piece *piece, struct span channel,
                                     uint64_t epoch, uint64_t head)
{
    json_put_notify(buf, channel, epoch, head, piece->token);
    buf_putc(buf, '\n');
}

static void ndjson_format_put_ping(struct buf *buf, const struct stream_piece *piece)
{
    buf_put_lit(buf, "{\"type\":\"ping\"");
    if (piece->token.len > 0) {
        buf_put_lit(buf, ",\"cursor\":\"");
        buf_put(buf, piece->token);
        buf_putc(buf, '"');
    }
    buf_put_lit(buf, "}\n");
}

static void ndjson_format_put_closing(struct buf *buf, const struct stream_piece *piece)
{
    link_end_put(buf, piece->why);
    buf_put_lit(buf, "}\n");
}

static void ndjson_format_put_expiring(struct buf *buf, const struct stream_piece *piece)
{
    buf_putf(buf, EXPIRING_JSON "\n", piece->expiring_s);
}

static void ndjson_format_put_presence(struct buf *buf, const struct stream_piece *piece)
{
    presence_note_put(buf, piece->note);
    buf_put_lit(buf, "}\n");
}

const struct stream_format ndjson_format = {
    .transport     = TRANSPORT_NDJSON,
    .shared        = ENCODING_NDJSON,
    .put_message   = ndjson_format_put_message,
    .put_gap       = ndjson_format_put_gap,
    .put_notify    = ndjson_format_put_notify,
    .put_heartbeat = ndjson_format_put_ping,
    .put_place     = ndjson_format_put_ping,
    .put_closing   = ndjson_format_put_closing,
    .put_expiring  = ndjson_format_put_expiring,
    .put_presence  = ndjson_format_put_presence,
};

/* --- multipart --- */

static void multipart_format_put_start(struct buf *buf, const struct stream_piece *piece)
{
    multipart_put_start(buf, piece->boundary);
}

static void multipart_format_put_message(struct buf *buf, const struct stream_piece *piece,
                                         const struct message *message)
{
    multipart_put_message(buf, piece->boundary, message, piece->token);
}

static void multipart_format_put_gap(struct buf *buf, const struct stream_piece *piece, struct span channel,
                                     uint64_t epoch, const struct gap *gap)
{
    multipart_put_gap(buf, piece->boundary, channel, epoch, gap, piece->token);
}

static void multipart_format_put_notify(struct buf *buf, const struct stream_piece *piece, struct span channel,
                                        uint64_t epoch, uint64_t head)
{
    multipart_put_notify(buf, piece->boundary, channel, epoch, head, piece->token);
}

static void multipart_format_put_heartbeat(struct buf *buf, const struct stream_piece *piece)
{
    multipart_put_ping(buf, piece->boundary);
}

static void multipart_format_put_closing(struct buf *buf, const struct stream_piece *piece)
{
    struct buf json;

    put_closing_json(&json, piece);
    multipart_put_note(buf, piece->boundary, piece->why->type, buf_span(&json));
    buf_fini(&json);
}

static void multipart_format_put_expiring(struct buf *buf, const struct stream_piece *piece)
{
    struct buf json;

    put_expiring_json(&json, piece);
    multipart_put_note(buf, piece->boundary, "expiring", buf_span(&json));
    buf_fini(&json);
}

static void multipart_format_put_presence(struct buf *buf, const struct stream_piece *piece)
{
    struct buf json;

    put_presence_json(&json, piece);
    multipart_put_note(buf, piece->boundary, presence_note_type(piece->note), buf_span(&json));
    buf_fini(&json);
}

static void multipart_format_put_end(struct buf *buf, const struct stream_piece *piece)
{
    multipart_put_end(buf, piece->boundary);
}

const struct stream_format multipart_format = {
    .transport     = TRANSPORT_MULTIPART,
    .shared        = ENCODING_PRIVATE,
    .has_boundary  = true,
    .put_start     = multipart_format_put_start,
    .put_message   = multipart_format_put_message,
    .put_gap       = multipart_format_put_gap,
    .put_notify    = multipart_format_put_notify,
    .put_heartbeat = multipart_format_put_heartbeat,
    .put_end       = multipart_format_put_end,
    .put_closing   = multipart_format_put_closing,
    .put_expiring  = multipart_format_put_expiring,
    .put_presence  = multipart_format_put_presence,
};

/* --- frames --- */

struct frame *stream_format_encode(const struct stream_format *format, struct span boundary, uint64_t set,
                                   struct link *link, const struct reader_sub *sub, const struct entry *entry)
{
    struct frames *frames = &link->worker->frames;

    if (entry->message != NULL && link->encoding != ENCODING_PRIVATE)
        return frames_get(frames, entry->message, (enum encoding)link->encoding);
    buf_clear(&frames->token);
    must(link_put_token(link, set, &frames->token));
    struct stream_piece piece = { .boundary = boundary, .token = buf_span(&frames->token) };
    buf_clear(&frames->scratch);
    if (entry->message != NULL)
        format->put_message(&frames->scratch, &piece, entry->message);
    else if (reader_entry_is_notify(sub, entry))
        format->put_notify(&frames->scratch, &piece, channel_name_span(subscription_name(&sub->sub)),
                           subscription_epoch(&sub->sub), entry->gap.to);
    else
        format->put_gap(&frames->scratch, &piece, channel_name_span(subscription_name(&sub->sub)),
                        subscription_epoch(&sub->sub), &entry->gap);
    return frame_new_chunk(buf_span(&frames->scratch));
}
