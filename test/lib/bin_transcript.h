/* bin_transcript.h - what codec/bin makes of some bytes, as objects of JSON with commas between them. For the unit test,
 * the fuzzer and the program of the vectors; never part of the server.
 *
 *   {"type":"subscribe","channel":"topic:a","after":0},{"type":"ping"},{"unknown":5},{"malformed":true}
 *
 * "unknown" is the ref of the frame. A fault of the framing is {"fault":1002}; it and a malformed frame end the link, so
 * nothing follows. Fixed integers are 16 hex digits, payloads `payload` if they are UTF-8, else `payload_hex`. */
#ifndef LIB_BIN_TRANSCRIPT_H
#define LIB_BIN_TRANSCRIPT_H

#include "base/must.h"
#include "base/utf8.h"
#include "codec/bin/bin.h"
#include "codec/json/json.h"
#include "lib/laws.h"

struct bin_transcript_limits {
    enum bin_side side;
    uint32_t      frame_bytes_max;
};

/* n number, t text, f flag, x fixed, p places, h header fields. */
static const struct { enum bin_field field; const char *name; char form; } bin_transcript_fields[] = {
    { BIN_REF, "ref", 'n' },           { BIN_CHANNEL, "channel", 't' },         { BIN_EPOCH, "epoch", 'x' },
    { BIN_SEQ, "seq", 'n' },           { BIN_ID, "id", 'n' },                   { BIN_TIME, "time", 'n' },
    { BIN_MEDIA, "media", 't' },       { BIN_FROM, "from", 't' },               { BIN_EVENT, "event", 't' },
    { BIN_HEAD, "head", 'n' },         { BIN_ALIAS_NO, "alias", 'n' },          { BIN_CODE, "code", 'n' },
    { BIN_REASON, "reason", 't' },     { BIN_KEY, "key", 't' },                 { BIN_TTL, "ttl", 'n' },
    { BIN_TOKEN, "token", 't' },       { BIN_USER, "user", 't' },               { BIN_DEVICE, "device", 't' },
    { BIN_STANDING, "standing", 'f' }, { BIN_SESSION, "session", 't' },         { BIN_CONNECTION, "connection", 'x' },
    { BIN_GENERATION, "generation", 'n' }, { BIN_TICKET, "ticket", 't' },       { BIN_RESUME, "resume", 'p' },
    { BIN_CURSOR_TOKEN, "cursor", 't' }, { BIN_HEARTBEAT, "heartbeat", 'n' },   { BIN_NEXT_MS, "next_ms", 'n' },
    { BIN_DIGEST, "digest", 'x' },     { BIN_MODE, "mode", 'n' },               { BIN_PRIORITY, "priority", 'n' },
    { BIN_CLASS, "class", 't' },       { BIN_KEEP, "keep", 'f' },               { BIN_PRESENCE, "presence", 'f' },
    { BIN_AFTER, "after", 'n' },       { BIN_LAST, "last", 'n' },               { BIN_GAP_FROM, "gap_from", 'n' },
    { BIN_GAP_TO, "gap_to", 'n' },     { BIN_WHY, "why", 'n' },                 { BIN_TARGET, "target", 'n' },
    { BIN_RECALLED, "recalled", 'f' }, { BIN_RESUMED, "resumed", 'f' },         { BIN_REPLAYED, "replayed", 'f' },
    { BIN_COLLAPSE, "collapse_key", 't' }, { BIN_BASE_MS, "base_ms", 'n' },     { BIN_FACTOR, "factor", 'n' },
    { BIN_CAP_MS, "cap_ms", 'n' },     { BIN_JITTER, "jitter", 'n' },           { BIN_AFTER_MS, "after_ms", 'n' },
    { BIN_WHERE, "where", 't' },       { BIN_IN, "in", 'n' },                   { BIN_COUNT, "count", 'n' },
    { BIN_FRAME_BYTES, "frame_max", 'n' }, { BIN_FEATURE_BITS, "features", 'n' }, { BIN_VERSION_NO, "version", 'n' },
    { BIN_PLACES, "places", 'f' },     { BIN_REQUEST_ID, "request", 't' },     { BIN_METHOD, "method", 't' },
    { BIN_PATH, "path", 't' },         { BIN_HEADERS, "headers", 'h' },        { BIN_TIMEOUT_MS, "timeout_ms", 'n' },
};

static inline const char *bin_transcript_type(enum bin_side side, enum bin_type type)
{
    static const char *const client[BIN_TYPE_COUNT] = {
        [BIN_CONNECT] = "connect", [BIN_SUBSCRIBE] = "subscribe", [BIN_UNSUBSCRIBE] = "unsubscribe",
        [BIN_PUBLISH] = "publish", [BIN_CURSOR] = "cursor", [BIN_ACK] = "ack", [BIN_READ] = "read", [BIN_PING] = "ping",
        [BIN_PONG] = "pong", [BIN_REQUEST] = "request", [BIN_CANCEL] = "cancel",
    };
    static const char *const server[BIN_TYPE_COUNT] = {
        [BIN_CONNECT] = "connected", [BIN_SUBSCRIBE] = "subscribed", [BIN_UNSUBSCRIBE] = "unsubscribed",
        [BIN_PUBLISH] = "published", [BIN_CURSOR] = "cursor", [BIN_ACK] = "ack", [BIN_READ] = "read", [BIN_PING] = "ping",
        [BIN_PONG] = "pong", [BIN_REQUEST] = "accepted", [BIN_ALIAS] = "alias", [BIN_MESSAGE] = "message", [BIN_FULL] = "full", [BIN_GAP] = "gap",
        [BIN_NOTIFY] = "notify", [BIN_JOIN] = "join", [BIN_LEAVE] = "leave", [BIN_HERE] = "presence", [BIN_ERROR] = "error",
        [BIN_RECONNECT] = "reconnect", [BIN_REPLACED] = "replaced", [BIN_EXPIRING] = "expiring",
        [BIN_CLOSING] = "closing",
    };
    return (side == BIN_CLIENT ? client : server)[type];
}

static inline void bin_transcript_places(struct buf *transcript, struct span places)
{
    struct bin_place place;

    buf_putc(transcript, '[');
    while (places.len > 0) {
        must(bin_next_place(&places, &place));
        buf_put_lit(transcript, "{\"channel\":");
        json_put_string(transcript, place.channel);
        buf_putf(transcript, ",\"seq\":%llu", (unsigned long long)place.seq);
        if (place.epoch != 0)
            buf_putf(transcript, ",\"epoch\":\"%016llx\"", (unsigned long long)place.epoch);
        buf_put(transcript, places.len > 0 ? SPAN("},") : SPAN("}"));
    }
    buf_putc(transcript, ']');
}

static inline void bin_transcript_headers(struct buf *transcript, struct span headers)
{
    struct bin_header header;

    buf_putc(transcript, '[');
    while (headers.len > 0) {
        must(bin_next_header(&headers, &header));
        buf_putc(transcript, '[');
        json_put_string(transcript, header.name);
        buf_putc(transcript, ',');
        json_put_string(transcript, header.value);
        buf_put(transcript, headers.len > 0 ? SPAN("],") : SPAN("]"));
    }
    buf_putc(transcript, ']');
}

static inline void bin_transcript_value(struct buf *transcript, const struct bin_value *value, char form)
{
    switch (form) {
    case 'n': buf_putf(transcript, "%llu", (unsigned long long)value->number); break;
    case 'x': buf_putf(transcript, "\"%016llx\"", (unsigned long long)value->number); break;
    case 't': json_put_string(transcript, value->bytes); break;
    case 'p': bin_transcript_places(transcript, value->bytes); break;
    case 'h': bin_transcript_headers(transcript, value->bytes); break;
    default: buf_put_lit(transcript, "true"); break;
    }
}

static inline void bin_transcript_payload(struct buf *transcript, struct span payload)
{
    if (payload.len == 0)
        return;
    if (utf8_is_valid(payload)) {
        buf_put_lit(transcript, ",\"payload\":");
        json_put_string(transcript, payload);
        return;
    }
    buf_put_lit(transcript, ",\"payload_hex\":\"");
    for (size_t i = 0; i < payload.len; i++)
        buf_putf(transcript, "%02x", (uint8_t)payload.at[i]);
    buf_putc(transcript, '"');
}

static inline void bin_transcript_frame(struct buf *transcript, enum bin_side side, const struct bin_frame *frame)
{
    buf_putf(transcript, "{\"type\":\"%s\"", bin_transcript_type(side, frame->type));
    if (side == BIN_CLIENT && frame->type == BIN_CONNECT)
        buf_putf(transcript, ",\"versions\":[%u,%u]", frame->version_min, frame->version_max);
    if (frame->is_before)
        buf_put_lit(transcript, ",\"before\":true");
    for (size_t i = 0; i < sizeof bin_transcript_fields / sizeof bin_transcript_fields[0]; i++)
        if (bin_has(frame, bin_transcript_fields[i].field)) {
            buf_putf(transcript, ",\"%s\":", bin_transcript_fields[i].name);
            bin_transcript_value(transcript, &frame->at[bin_transcript_fields[i].field],
                                 bin_transcript_fields[i].form);
        }
    bin_transcript_payload(transcript, frame->payload);
    buf_putc(transcript, '}');
}

/* False: the link ends. */
static inline bool bin_transcript_say(struct buf *transcript, enum bin_side side, struct span bytes)
{
    struct bin_frame frame;
    const char      *reason = NULL;

    switch (bin_read(bytes, side, &frame, &reason)) {
    case BIN_OK:
        bin_transcript_frame(transcript, side, &frame);
        return true;
    case BIN_UNKNOWN:
        must(reason != NULL);
        buf_putf(transcript, "{\"unknown\":%llu}", (unsigned long long)bin_number(&frame, BIN_REF));
        return true;
    case BIN_MALFORMED:
        must(reason != NULL);
        buf_put_lit(transcript, "{\"malformed\":true}");
        return false;
    }
    return false;
}

/* Splits until more is needed; *input becomes what is left. False: the link ends. */
static inline bool bin_transcript_feed(const struct bin_transcript_limits *limits, struct span *input,
                                       struct buf *transcript)
{
    for (;;) {
        struct span      frame;
        struct bin_fault fault = { 0 };
        size_t           used  = SIZE_MAX;
        enum bin_split   split = bin_split(*input, limits->frame_bytes_max, &frame, &used, &fault);

        if (split == BIN_SPLIT_MORE) {
            must(used == 0 ? input->len < BIN_LENGTH_BYTES_MAX : used > input->len);
            return true;
        }
        if (transcript->len > 0)
            buf_putc(transcript, ',');
        if (split == BIN_SPLIT_FAULT) {
            must(fault.reason != NULL);
            buf_putf(transcript, "{\"fault\":%u}", fault.code);
            return false;
        }
        must(used <= input->len && frame.len > 0 && frame.at >= input->at && frame.at + frame.len == input->at + used);
        if (!bin_transcript_say(transcript, limits->side, frame))
            return false;
        *input = span_skip(*input, used);
    }
}

/* A teller for laws.h; `context` is a const struct bin_transcript_limits *. */
static inline void bin_transcript(struct cuts *cuts, void *context, struct buf *transcript)
{
    struct span input    = { 0 };
    bool        is_going = true;

    while (cuts_next(cuts, input.len, &input)) {
        if (is_going)
            is_going = bin_transcript_feed(context, &input, transcript);
        if (!is_going)
            input = span_head(input, 0);
    }
}

#endif
