/* sample.h - a message for tests of what writes messages, and payloads that try to break out of what is written. */
#ifndef LIB_SAMPLE_H
#define LIB_SAMPLE_H

#include "base/buf.h"
#include "base/must.h"
#include "base/rng.h"
#include "base/utf8.h"
#include "codec/json/json.h"
#include "message/control_message.h"
#include "message/message.h"

struct sample {
    struct namespaces set;
    struct message   *message;  /* epoch 0x123456789abcdef0, seq 42, id 7, time 1700000000000, target 41 */
};

static inline void sample_init_event(struct sample *sample, struct span channel, enum message_kind kind,
                                     struct span payload, struct span media, struct span from, struct span event)
{
    struct hash_key      key = { 1, 2 };
    struct channel_name *name;

    namespaces_init(&sample->set);
    must(channel_name_new(&sample->set, &key, channel, &name) == CHANNEL_NAME_OK);
    sample->message         = message_new_event(name, kind, payload.at, (uint32_t)payload.len, media, from, event);
    sample->message->epoch  = 0x123456789abcdef0;
    sample->message->seq    = 42;
    sample->message->id     = 7;
    sample->message->time   = 1700000000000;
    sample->message->target = 41;
    channel_name_unref(name);
}

static inline void sample_init(struct sample *sample, struct span channel, enum message_kind kind, struct span payload,
                               struct span media, struct span from)
{
    sample_init_event(sample, channel, kind, payload, media, from, SPAN(""));
}

static inline void sample_fini(struct sample *sample)
{
    message_unref(sample->message);
}

/* Turns any bytes into a message: its kind and the length of its event's name, the lengths of media type and sender, these
 * three, and the payload. False: a publish of it would have been refused. */
static inline bool sample_of_bytes(struct sample *sample, struct span bytes)
{
    if (bytes.len < 3)
        return false;

    enum message_kind kind  = (enum message_kind)((uint8_t)bytes.at[0] % 3);
    struct span       rest  = span_skip(bytes, 3);
    struct span       media = span_head(rest, (uint8_t)bytes.at[1]);
    rest                    = span_skip(rest, media.len);
    struct span       from  = span_head(rest, (uint8_t)bytes.at[2] % (FROM_BYTES_MAX + 1));
    rest                    = span_skip(rest, from.len);
    bool              plain = kind == MESSAGE_PLAIN;
    struct span       event = span_head(rest, plain ? (uint8_t)bytes.at[0] / 3 % (EVENT_BYTES_MAX + 1) : 0);
    struct span     payload = plain ? span_skip(rest, event.len) : (struct span){ 0 };

    if (!utf8_is_valid(media) || !utf8_is_valid(from) ||
        (event.len > 0 && event_name_judge(event) != EVENT_FINE))
        return false;
    if (control_media_is_reserved(media) || (payload.len > 0 && json_is_media(media) && !json_is_valid(payload, NULL)))
        return false;
    sample_init_event(sample, SPAN("topic:a %\xc3\xa9/b"), kind, payload, media, from, event);
    return true;
}

/* Up to a dozen pieces that mean something to some codec, and single bytes of any value. */
static inline void sample_put_hostile(struct buf *buf, struct rng *rng)
{
    static const struct span pieces[] = {
        SPAN("\r"), SPAN("\n"), SPAN("\r\n"), SPAN("\0"), SPAN("\xef\xbb\xbf"), SPAN("\x7f"), SPAN("\""), SPAN("\\"),
        SPAN("\n\ndata: forged\n\n"), SPAN("\r\rid: 1\r"), SPAN("\r\n--boundary\r\n"), SPAN("\r\n--boundary--\r\n"),
        SPAN("\r\n\r\nLongwire-Seq: 1\r\n"), SPAN("\\u0041"), SPAN("\",\"seq\":1}"), SPAN("\xe2\x80\xa8"),
        SPAN("\xed\xa0\x80"), SPAN("\xf0\x9f\x98\x80"), SPAN("plain words that are longer than a machine word"),
    };
    for (uint64_t left = rng_below(rng, 12); left > 0; left--)
        if (rng_below(rng, 4) == 0)
            buf_putc(buf, (char)rng_next(rng));
        else
            buf_put(buf, pieces[rng_below(rng, sizeof pieces / sizeof pieces[0])]);
}

#endif
