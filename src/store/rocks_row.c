#include "store/rocks_row.h"

#include <endian.h>

#include "base/must.h"

enum { FLAG_EXPIRES = 1, FLAG_TARGET = 2, FLAG_ANSWER = 4, FLAG_EVENT = 8, FLAG_COLLAPSE = 16, CHECKSUM_BYTES = 4, ROW_HEAD_BYTES = 24,
       LEDGER_VALUE_HEAD_BYTES = 14 };

static void put_u32(char *at, uint32_t value)
{
    value = htole32(value);
    memcpy(at, &value, sizeof value);
}

static uint32_t get_u32(const char *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return le32toh(value);
}

static char *put_u64(char *at, uint64_t value)
{
    value = htole64(value);
    memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

static const char *get_u64(const char *at, uint64_t *ret)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    *ret = le64toh(value);
    return at + sizeof value;
}

static uint32_t checksum(const struct hash_key *place, struct span bytes)
{
    return (uint32_t)hash_bytes(place, bytes);
}

struct row_key row_key(uint64_t number, uint64_t seq)
{
    struct row_key key;

    number = htobe64(number);
    seq    = htobe64(seq);
    memcpy(key.bytes, &number, 8);
    memcpy(key.bytes + 8, &seq, 8);
    return key;
}

bool row_key_get(struct span key, uint64_t *ret_number, uint64_t *ret_seq)
{
    uint64_t number, seq;

    if (key.len != ROW_KEY_BYTES)
        return false;
    memcpy(&number, key.at, 8);
    memcpy(&seq, key.at + 8, 8);
    *ret_number = be64toh(number);
    *ret_seq    = be64toh(seq);
    return true;
}

static uint8_t row_flags(const struct row *row)
{
    return (uint8_t)((row->expires_at != 0 ? FLAG_EXPIRES : 0) | (row->target != 0 ? FLAG_TARGET : 0) |
                     (row->answer_id != 0 ? FLAG_ANSWER : 0) | (row->event.len != 0 ? FLAG_EVENT : 0) |
                     (row->collapse_key.len != 0 ? FLAG_COLLAPSE : 0));
}

static uint8_t row_version(uint8_t flags)
{
    return flags & FLAG_COLLAPSE ? ROW_VERSION_COLLAPSE : flags & FLAG_EVENT ? ROW_VERSION_EVENT : ROW_VERSION;
}

/* Bytes of the optional numbers between the fixed head and the media type. */
static size_t row_extra_bytes(uint8_t flags)
{
    return (flags & FLAG_EXPIRES ? 8u : 0u) + (flags & FLAG_TARGET ? 8u : 0u) + (flags & FLAG_ANSWER ? 16u : 0u) +
           (flags & FLAG_EVENT ? 1u : 0u) + (flags & FLAG_COLLAPSE ? 1u : 0u);
}

static char *put_span(char *at, struct span span)
{
    if (span.len > 0)
        memcpy(at, span.at, span.len);
    return at + span.len;
}

void row_put(struct buf *buf, uint64_t number, uint64_t seq, const struct row *row)
{
    const uint8_t         flags = row_flags(row);
    const struct hash_key place = { number, seq };
    const size_t          fixed = ROW_HEAD_BYTES + row_extra_bytes(flags);
    const size_t          len   = fixed + row->media.len + row->from.len + row->event.len +
                                row->collapse_key.len + row->payload.len;
    char                 *start = buf_extend(buf, len);

    must(start != NULL);
    must(row->kind <= ROW_EXPIRED && row->media.len <= UINT8_MAX && row->from.len <= UINT8_MAX &&
         row->event.len <= UINT8_MAX && row->collapse_key.len <= UINT8_MAX);
    char *at = start + CHECKSUM_BYTES;
    *at++    = (char)(row_version(flags) << 4 | row->kind);
    *at++    = (char)flags;
    *at++    = (char)row->media.len;
    *at++    = (char)row->from.len;
    at       = put_u64(at, row->id);
    at       = put_u64(at, (uint64_t)row->time);
    if (flags & FLAG_EXPIRES)
        at = put_u64(at, (uint64_t)row->expires_at);
    if (flags & FLAG_TARGET)
        at = put_u64(at, row->target);
    if (flags & FLAG_ANSWER)
        at = put_u64(put_u64(at, row->answer_id), (uint64_t)row->answer_time);
    if (flags & FLAG_EVENT)
        *at++ = (char)row->event.len;
    if (flags & FLAG_COLLAPSE)
        *at++ = (char)row->collapse_key.len;
    at = put_span(at, row->media);
    at = put_span(at, row->from);
    at = put_span(at, row->event);
    at = put_span(at, row->collapse_key);
    put_span(at, row->payload);
    put_u32(start, checksum(&place, span_of(start + CHECKSUM_BYTES, len - CHECKSUM_BYTES)));
}

/* Reads the optional numbers; the caller has checked that they are there. */
static const char *row_get_extra(const char *at, uint8_t flags, struct row *row)
{
    uint64_t value;

    if (flags & FLAG_EXPIRES) {
        at              = get_u64(at, &value);
        row->expires_at = (msec)value;
    }
    if (flags & FLAG_TARGET)
        at = get_u64(at, &row->target);
    if (flags & FLAG_ANSWER) {
        at               = get_u64(at, &row->answer_id);
        at               = get_u64(at, &value);
        row->answer_time = (msec)value;
    }
    if (flags & FLAG_EVENT)
        row->event.len = (uint8_t)*at++;
    if (flags & FLAG_COLLAPSE)
        row->collapse_key.len = (uint8_t)*at++;
    return at;
}

bool row_get(struct span value, uint64_t number, uint64_t seq, struct row *ret)
{
    const struct hash_key place = { number, seq };
    uint64_t              time;

    if (value.len < ROW_HEAD_BYTES || get_u32(value.at) != checksum(&place, span_skip(value, CHECKSUM_BYTES)))
        return false;
    const char   *at    = value.at + CHECKSUM_BYTES;
    const uint8_t form  = (uint8_t)at[0];
    const uint8_t flags = (uint8_t)at[1];
    const size_t  media = (uint8_t)at[2], from = (uint8_t)at[3];
    const size_t  fixed = ROW_HEAD_BYTES + row_extra_bytes(flags) + media + from;
    if (form >> 4 != row_version(flags) || (form & 15) > ROW_EXPIRED || value.len < fixed)
        return false;

    struct row row = { .kind = form & 15 };
    at = get_u64(at + 4, &row.id);
    at = get_u64(at, &time);
    at = row_get_extra(at, flags, &row);
    const size_t tags = row.event.len + row.collapse_key.len;
    if (value.len - fixed < tags)
        return false;
    row.time            = (msec)time;
    row.media           = span_of(at, media);
    row.from            = span_of(at + media, from);
    row.event.at        = at + media + from;
    row.collapse_key.at = row.event.at + row.event.len;
    row.payload         = span_of(at + media + from + tags, value.len - fixed - tags);
    *ret         = row;
    return true;
}

struct row row_of_message(const struct message *message)
{
    return (struct row){
        .kind       = message->kind,
        .id         = message->id,
        .target     = message->target,
        .time       = message->time,
        .expires_at = message->expires_at,
        .media      = message_media(message),
        .from       = message_from(message),
        .event      = message_event(message),
        .collapse_key = message_collapse_key(message),
        .payload    = message_payload(message),
    };
}

struct message *row_message(const struct row *row, struct channel_name *channel, uint64_t epoch, uint64_t seq)
{
    const struct message_tags tags    = { .event = row->event, .collapse_key = row->collapse_key };
    struct message           *message = message_new_tagged(channel, (enum message_kind)row->kind, row->payload.at,
                                                           (uint32_t)row->payload.len, row->media, row->from, &tags);
    message->epoch      = epoch;
    message->seq        = seq;
    message->id         = row->id;
    message->target     = row->target;
    message->time       = row->time;
    message->expires_at = row->expires_at;
    return message;
}

static struct hash_key record_place(struct span key)
{
    static const struct hash_key plain = { 0 };

    return (struct hash_key){ hash_bytes(&plain, key), key.len };
}

void ledger_value_put(struct buf *buf, struct span key, const struct ledger_disk_value *stored)
{
    const struct hash_key place = record_place(key);
    const uint8_t         flags = stored->expires_at != 0 ? FLAG_EXPIRES : 0;
    const size_t          len   = LEDGER_VALUE_HEAD_BYTES + row_extra_bytes(flags) + stored->value.len;
    char                 *start = buf_extend(buf, len);

    must(start != NULL);
    char *at = start + CHECKSUM_BYTES;
    *at++    = LEDGER_VALUE_VERSION;
    *at++    = (char)flags;
    at       = put_u64(at, stored->generation);
    if (flags & FLAG_EXPIRES)
        at = put_u64(at, (uint64_t)stored->expires_at);
    put_span(at, stored->value);
    put_u32(start, checksum(&place, span_of(start + CHECKSUM_BYTES, len - CHECKSUM_BYTES)));
}

bool ledger_value_get(struct span bytes, struct span key, struct ledger_disk_value *ret)
{
    const struct hash_key place = record_place(key);
    uint64_t              expires_at = 0;

    if (bytes.len < LEDGER_VALUE_HEAD_BYTES || get_u32(bytes.at) != checksum(&place, span_skip(bytes, CHECKSUM_BYTES)))
        return false;
    const char   *at    = bytes.at + CHECKSUM_BYTES;
    const uint8_t flags = (uint8_t)at[1];
    const size_t  head  = LEDGER_VALUE_HEAD_BYTES + row_extra_bytes(flags);
    if (at[0] != LEDGER_VALUE_VERSION || (flags & ~FLAG_EXPIRES) != 0 || bytes.len < head)
        return false;

    at = get_u64(at + 2, &ret->generation);
    if (flags & FLAG_EXPIRES)
        get_u64(at, &expires_at);
    ret->expires_at = (msec)expires_at;
    ret->value      = span_skip(bytes, head);
    return true;
}

void record_put(struct buf *buf, struct span key, const uint64_t *numbers, size_t count)
{
    const struct hash_key place = record_place(key);
    char                 *start = buf_extend(buf, CHECKSUM_BYTES + 8 * count);

    must(start != NULL && count <= RECORD_NUMBERS_MAX);
    char *at = start + CHECKSUM_BYTES;
    for (size_t i = 0; i < count; i++)
        at = put_u64(at, numbers[i]);
    put_u32(start, checksum(&place, span_of(start + CHECKSUM_BYTES, 8 * count)));
}

bool record_get(struct span value, struct span key, uint64_t *ret_numbers, size_t count)
{
    const struct hash_key place = record_place(key);

    if (value.len != CHECKSUM_BYTES + 8 * count)
        return false;
    if (get_u32(value.at) != checksum(&place, span_skip(value, CHECKSUM_BYTES)))
        return false;
    const char *at = value.at + CHECKSUM_BYTES;
    for (size_t i = 0; i < count; i++)
        at = get_u64(at, &ret_numbers[i]);
    return true;
}
