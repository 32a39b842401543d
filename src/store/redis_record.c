/* redis_record.c - a message as it stands in the list of its channel: the script's part (kind, id, target, time, expiry as doubles),
 * four bytes of the payload's length, a byte each for media, from, event and collapse key, and these texts. Little endian. */
#include "base/must.h"
#include "store/redis_priv.h"

void redis_whole_put(struct buf *buf, uint64_t value, size_t bytes)
{
    char at[sizeof value];

    must(bytes <= sizeof at);
    for (size_t i = 0; i < bytes; i++)
        at[i] = (char)(value >> (8 * i));
    buf_put(buf, span_of(at, bytes));
}

static void record_put_number(struct buf *buf, uint64_t number)
{
    const double value = (double)number;
    uint64_t     bits;

    memcpy(&bits, &value, sizeof bits);
    redis_whole_put(buf, bits, sizeof bits);
}

void redis_record_put(struct buf *buf, const struct message *message)
{
    const uint32_t payload_len = message->payload_len;
    const char     lengths[RECORD_LENGTHS_BYTES] = {
        (char)payload_len, (char)(payload_len >> 8), (char)(payload_len >> 16), (char)(payload_len >> 24),
        (char)message->media_len, (char)message->from_len, (char)message->event_len, (char)message->collapse_len,
    };

    record_put_number(buf, message->target);
    record_put_number(buf, (uint64_t)message->time);
    record_put_number(buf, (uint64_t)message->expires_at);
    buf_put(buf, span_of(lengths, sizeof lengths));
    buf_put(buf, span_of(message->bytes, message_size(message) - sizeof *message));
}

uint64_t redis_record_number(const char *at)
{
    uint64_t bits  = 0;
    double   value = 0;

    for (size_t i = 0; i < sizeof bits; i++)
        bits |= (uint64_t)(unsigned char)at[i] << (8 * i);
    memcpy(&value, &bits, sizeof value);
    return value >= 0 && value < 0x1p53 ? (uint64_t)value : 0;
}

static struct span record_cut(struct span *rest, size_t len)
{
    struct span cut = span_head(*rest, len);

    *rest = span_skip(*rest, cut.len);
    return cut;
}

struct message *redis_record_get(struct span record, struct channel_name *name, uint64_t epoch, uint64_t seq)
{
    if (record.len < RECORD_HEAD_BYTES + RECORD_LENGTHS_BYTES || (unsigned char)record.at[0] > MESSAGE_RECALLED)
        return NULL;
    const unsigned char *lengths     = (const unsigned char *)record.at + RECORD_HEAD_BYTES;
    const uint32_t       payload_len = lengths[0] | (uint32_t)lengths[1] << 8 | (uint32_t)lengths[2] << 16 | (uint32_t)lengths[3] << 24;
    struct span          rest        = span_skip(record, RECORD_HEAD_BYTES + RECORD_LENGTHS_BYTES);

    if (rest.len != (size_t)payload_len + lengths[4] + lengths[5] + lengths[6] + lengths[7])
        return NULL;
    const struct span   payload = record_cut(&rest, payload_len), media = record_cut(&rest, lengths[4]), from = record_cut(&rest, lengths[5]);
    struct message_tags tags    = { .event = record_cut(&rest, lengths[6]) };
    tags.collapse_key           = record_cut(&rest, lengths[7]);
    struct message *message = message_new_tagged(name, (enum message_kind)record.at[0], payload.at, payload_len, media, from, &tags);
    message->epoch          = epoch;
    message->seq            = seq;
    message->id             = redis_record_number(record.at + 1);
    message->target         = redis_record_number(record.at + 9);
    message->time           = (msec)redis_record_number(record.at + 17);
    message->expires_at     = (msec)redis_record_number(record.at + 25);
    return message;
}
