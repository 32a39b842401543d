#include "message/control_message.h"

#include "base/buf.h"
#include "base/must.h"
#include "message/epoch.h"

static const struct span own_prefix  = { "application/vnd.longwire.", 25 };
static const struct span json_suffix = { "+json", 5 };

bool control_media_is_reserved(struct span media)
{
    media = span_trim(media);
    return media.len >= own_prefix.len && span_eq_nocase(span_head(media, own_prefix.len), own_prefix);
}

static bool is_type(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] < 'a' || text.at[i] > 'z')
            return false;
    return text.len > 0;
}

struct span control_message_type(const struct message *message)
{
    static const struct span none  = { "", 0 };
    struct span              media = message_media(message), payload = message_payload(message);

    if (message->kind != MESSAGE_PLAIN || !span_starts(media, own_prefix) ||
        media.len <= own_prefix.len + json_suffix.len)
        return none;
    struct span type   = span_of(media.at + own_prefix.len, media.len - own_prefix.len - json_suffix.len);
    struct span suffix = span_skip(media, own_prefix.len + type.len);
    if (!span_eq(suffix, json_suffix) || !is_type(type))
        return none;
    return payload.len >= 2 && payload.at[0] == '{' && payload.at[payload.len - 1] == '}' ? type : none;
}

struct span control_message_members(const struct message *message)
{
    struct span payload = message_payload(message);

    must(payload.len >= 2);
    return span_of(payload.at + 1, payload.len - 2);
}

struct message *control_message_new(struct channel_name *channel, struct span type, struct span object,
                                    struct span from)
{
    char       bytes[MEDIA_BYTES_MAX];
    struct buf media = { .at = bytes, .cap = sizeof bytes, .max = sizeof bytes };  /* never grows */

    buf_put(&media, own_prefix);
    buf_put(&media, type);
    buf_put(&media, json_suffix);
    must(!buf_is_over(&media));
    struct message *message = message_new(channel, MESSAGE_PLAIN, object.at, (uint32_t)object.len, buf_span(&media), from);
    must(control_message_type(message).len > 0);
    return message;
}

void control_put_string(struct buf *buf, struct span text)
{
    buf_putc(buf, '"');
    for (size_t i = 0; i < text.len; i++) {
        must((unsigned char)text.at[i] >= 0x20);
        if (text.at[i] == '"' || text.at[i] == '\\')
            buf_putc(buf, '\\');
        buf_putc(buf, text.at[i]);
    }
    buf_putc(buf, '"');
}

void control_put_place(struct buf *buf, uint64_t epoch, uint64_t seq)
{
    buf_put_lit(buf, "\"place\":{\"epoch\":\"");
    epoch_put(buf, epoch);
    buf_put_lit(buf, "\",\"seq\":");
    buf_put_u64(buf, seq);
    buf_putc(buf, '}');
}
