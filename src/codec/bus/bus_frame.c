#include "codec/bus/bus_frame.h"

#include "codec/bus/bus_priv.h"

enum { BUS_WAITS_FOR_BEAT = 1, BUS_HAS_MORE = 1, BUS_IS_ALL = 1, BUS_EPOCH_BYTES = 8 };

/* --- writing ----------------------------------------------------------------------------------------------------- */

static size_t bus_varint_bytes(uint64_t value)
{
    size_t bytes = 1;

    for (; value >= 0x80; value >>= 7)
        bytes++;
    return bytes;
}

static void bus_fixed_put(struct buf *buf, uint64_t value)
{
    for (int shift = 56; shift >= 0; shift -= 8)
        buf_putc(buf, (char)(value >> shift));
}

static size_t bus_text_bytes(struct span text)
{
    return bus_varint_bytes(text.len) + text.len;
}

void bus_header_put(struct buf *buf, const struct bus_header *header)
{
    must(header->name.len > 0 && header->name.len <= BUS_NODE_NAME_MAX && header->incarnation != 0 &&
         header->number != 0);
    buf_putc(buf, BUS_VERSION);
    bus_put_text(buf, header->name);
    bus_fixed_put(buf, header->incarnation);
    bus_fixed_put(buf, header->receiver);
    bus_put_number(buf, header->number);
}

static void bus_item_begin(struct buf *buf, enum bus_item_kind kind, size_t body_bytes)
{
    buf_putc(buf, (char)kind);
    bus_put_number(buf, body_bytes);
}

static void bus_head_put(struct buf *buf, const struct bus_item *item)
{
    bus_item_begin(buf, item->kind, bus_text_bytes(item->channel) + BUS_EPOCH_BYTES + bus_varint_bytes(item->seq));
    bus_put_text(buf, item->channel);
    bus_fixed_put(buf, item->epoch);
    bus_put_number(buf, item->seq);
}

static size_t bus_part_bytes(const struct bus_item *item)
{
    return 1 + bus_varint_bytes(item->offset) + item->body.len;
}

static void bus_part_put(struct buf *buf, const struct bus_item *item)
{
    buf_putc(buf, item->has_more ? BUS_HAS_MORE : 0);
    bus_put_number(buf, item->offset);
    buf_put(buf, item->body);
}

/* Of a notice, too. */
static void bus_question_put(struct buf *buf, const struct bus_item *item)
{
    bus_item_begin(buf, item->kind,
                   bus_text_bytes(item->channel) + bus_varint_bytes(item->question) + 1 + bus_part_bytes(item));
    bus_put_text(buf, item->channel);
    bus_put_number(buf, item->question);
    buf_putc(buf, (char)item->topic);
    bus_part_put(buf, item);
}

static void bus_answer_put(struct buf *buf, const struct bus_item *item)
{
    bus_item_begin(buf, BUS_ANSWER, bus_varint_bytes(item->question) + bus_part_bytes(item));
    bus_put_number(buf, item->question);
    bus_part_put(buf, item);
}

static void bus_told_put(struct buf *buf, const struct bus_item *item)
{
    bus_item_begin(buf, BUS_TOLD, BUS_EPOCH_BYTES + 1);
    bus_fixed_put(buf, item->life);
    buf_putc(buf, item->is_all ? BUS_IS_ALL : 0);
}

void bus_item_put(struct buf *buf, const struct bus_item *item)
{
    switch (item->kind) {
    case BUS_HEAD:
    case BUS_PURGE: bus_head_put(buf, item); return;
    case BUS_NOTICE:
    case BUS_QUESTION: bus_question_put(buf, item); return;
    case BUS_ANSWER: bus_answer_put(buf, item); return;
    case BUS_BEAT: bus_item_begin(buf, BUS_BEAT, 0); return;
    case BUS_TOLD: bus_told_put(buf, item); return;
    case BUS_MESSAGE: break;
    }
    must(item->kind != BUS_MESSAGE);  /* bus_message_put() */
}

static size_t bus_fields_bytes(const struct message *message)
{
    return 1 + 1 + bus_varint_bytes(message->id) + bus_varint_bytes((uint64_t)message->time) +
           bus_varint_bytes((uint64_t)message->expires_at) + bus_varint_bytes(message->target) +
           bus_text_bytes(message_media(message)) + bus_text_bytes(message_from(message)) +
           bus_text_bytes(message_event(message)) + bus_text_bytes(message_collapse_key(message));
}

static void bus_fields_put(struct buf *buf, const struct message *message)
{
    buf_putc(buf, (char)message->kind);
    buf_putc(buf, message->waits_for_beat ? BUS_WAITS_FOR_BEAT : 0);
    bus_put_number(buf, message->id);
    bus_put_number(buf, (uint64_t)message->time);
    bus_put_number(buf, (uint64_t)message->expires_at);
    bus_put_number(buf, message->target);
    bus_put_text(buf, message_media(message));
    bus_put_text(buf, message_from(message));
    bus_put_text(buf, message_event(message));
    bus_put_text(buf, message_collapse_key(message));
}

void bus_message_put(struct buf *buf, const struct message *message)
{
    const struct span channel = channel_name_span(message->channel);
    const size_t      fields  = bus_fields_bytes(message);

    must(message->seq != 0);
    bus_item_begin(buf, BUS_MESSAGE, bus_text_bytes(channel) + BUS_EPOCH_BYTES + bus_varint_bytes(message->seq) +
                                         bus_varint_bytes(fields) + fields + message->payload_len);
    bus_put_text(buf, channel);
    bus_fixed_put(buf, message->epoch);
    bus_put_number(buf, message->seq);
    bus_put_number(buf, fields);
    bus_fields_put(buf, message);
    buf_put(buf, message_payload(message));
}

/* --- reading: each function takes its part from *rest, or is false ------------------------------------------------ */

static bool bus_fixed_get(struct span *rest, uint64_t *ret)
{
    struct span bytes;

    if (!bus_bytes_get(rest, BUS_EPOCH_BYTES, &bytes))
        return false;
    *ret = 0;
    for (size_t i = 0; i < bytes.len; i++)
        *ret = *ret << 8 | (uint8_t)bytes.at[i];
    return true;
}

bool bus_header_get(struct span *frame, struct bus_header *ret)
{
    struct bus_header header;
    struct span       rest = *frame;
    uint8_t           version;

    if (!bus_byte_get(&rest, &version) || version != BUS_VERSION ||
        !bus_get_text(&rest, BUS_NODE_NAME_MAX, &header.name) || !bus_fixed_get(&rest, &header.incarnation) ||
        !bus_fixed_get(&rest, &header.receiver) || !bus_get_number(&rest, &header.number))
        return false;
    if (header.name.len == 0 || header.incarnation == 0 || header.number == 0)
        return false;
    *frame = rest;
    *ret   = header;
    return true;
}

static bool bus_channel_get(struct span *body, struct bus_item *ret)
{
    return bus_get_text(body, BUS_CHANNEL_BYTES_MAX, &ret->channel);
}

/* What both a message and a head begin with. */
static bool bus_place_get(struct span *body, struct bus_item *ret)
{
    return bus_channel_get(body, ret) && ret->channel.len > 0 && bus_fixed_get(body, &ret->epoch) &&
           bus_get_number(body, &ret->seq);
}

static bool bus_part_get(struct span *body, struct bus_item *ret)
{
    uint8_t flags;

    if (!bus_byte_get(body, &flags) || !bus_get_number(body, &ret->offset))
        return false;
    ret->has_more = flags & BUS_HAS_MORE;
    return true;
}

static bool bus_told_get(struct span *body, struct bus_item *ret)
{
    uint8_t flags;

    if (!bus_fixed_get(body, &ret->life) || !bus_byte_get(body, &flags))
        return false;
    ret->is_all = flags & BUS_IS_ALL;
    return true;
}

static bool bus_body_get(struct span body, struct bus_item *ret)
{
    bool is_well = true;

    switch (ret->kind) {
    case BUS_MESSAGE: is_well = bus_place_get(&body, ret) && ret->seq != 0; break;
    case BUS_HEAD:
    case BUS_PURGE: return bus_place_get(&body, ret);
    case BUS_NOTICE:
    case BUS_QUESTION:
        is_well = bus_channel_get(&body, ret) && bus_get_number(&body, &ret->question) &&
                  bus_byte_get(&body, &ret->topic) && bus_part_get(&body, ret);
        break;
    case BUS_ANSWER: is_well = bus_get_number(&body, &ret->question) && bus_part_get(&body, ret); break;
    case BUS_BEAT: return true;
    case BUS_TOLD: return bus_told_get(&body, ret);
    }
    ret->body = body;
    return is_well;
}

static bool bus_kind_is_known(uint8_t kind)
{
    return kind >= BUS_MESSAGE && kind <= BUS_TOLD;
}

bool bus_item_get(struct span *frame, struct bus_item *ret)
{
    while (frame->len > 0) {
        struct bus_item item = { .kind = BUS_BEAT };
        struct span     rest = *frame, body;
        uint64_t        len;
        uint8_t         kind;

        if (!bus_byte_get(&rest, &kind) || !bus_get_number(&rest, &len) || !bus_bytes_get(&rest, len, &body))
            return false;
        item.kind = bus_kind_is_known(kind) ? (enum bus_item_kind)kind : BUS_BEAT;
        if (!bus_body_get(body, &item))
            return false;
        *frame = rest;
        if (bus_kind_is_known(kind)) {
            *ret = item;
            return true;
        }
    }
    return false;
}

/* The fields of a message, as they travelled. */
struct bus_fields {
    uint8_t             kind, flags;
    uint64_t            id, time, expires_at, target;
    struct span         media, from;
    struct message_tags tags;
};

/* What stands behind the last known field was added by a later version. */
static bool bus_fields_get(struct span fields, struct bus_fields *ret)
{
    return bus_byte_get(&fields, &ret->kind) && ret->kind <= MESSAGE_RECALLED && bus_byte_get(&fields, &ret->flags) &&
           bus_get_number(&fields, &ret->id) && bus_get_number(&fields, &ret->time) &&
           bus_get_number(&fields, &ret->expires_at) && bus_get_number(&fields, &ret->target) &&
           bus_get_text(&fields, MEDIA_BYTES_MAX, &ret->media) && bus_get_text(&fields, FROM_BYTES_MAX, &ret->from) &&
           bus_get_text(&fields, EVENT_BYTES_MAX, &ret->tags.event) &&
           bus_get_text(&fields, COLLAPSE_KEY_BYTES_MAX, &ret->tags.collapse_key);
}

struct message *bus_message_get(const struct bus_item *item, struct channel_name *channel)
{
    struct bus_fields fields;
    struct span       rest = item->body, known;
    uint64_t          len;

    must(item->kind == BUS_MESSAGE && span_eq(item->channel, channel_name_span(channel)));
    if (!bus_get_number(&rest, &len) || !bus_bytes_get(&rest, len, &known) || !bus_fields_get(known, &fields) ||
        rest.len > UINT32_MAX)
        return NULL;
    fields.tags.waits_for_beat = fields.flags & BUS_WAITS_FOR_BEAT;
    struct message *message = message_new_tagged(channel, (enum message_kind)fields.kind, rest.at, (uint32_t)rest.len,
                                                 fields.media, fields.from, &fields.tags);
    message->epoch      = item->epoch;
    message->seq        = item->seq;
    message->id         = fields.id;
    message->time       = (msec)fields.time;
    message->expires_at = (msec)fields.expires_at;
    message->target     = fields.target;
    return message;
}
