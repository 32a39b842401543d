/* bin_put.c - from frames to bytes. */
#include <endian.h>

#include "base/must.h"
#include "codec/bin/bin_priv.h"

/* Everything is written from `at` on, into room for the whole frame. Returns what is behind it. */

static char *write_varint(char *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *at++ = (char)(value | 0x80);
    *at++ = (char)value;
    return at;
}

static char *write_fixed(char *at, uint64_t value)
{
    value = htobe64(value);
    memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

static char *write_span(char *at, struct span bytes)
{
    if (bytes.len > 0)
        memcpy(at, bytes.at, bytes.len);
    return at + bytes.len;
}

static char *write_text(char *at, struct span bytes)
{
    return write_span(write_varint(at, bytes.len), bytes);
}

/* --- fields, in the order of their numbers ------------------------------------------------------------------------ */

static enum bin_field next_field(uint64_t *fields)
{
    enum bin_field field = (enum bin_field)__builtin_ctzll(*fields);

    *fields &= *fields - 1;
    return field;
}

static uint64_t key_of(enum bin_field field, enum bin_side side)
{
    return (uint64_t)field << BIN_KEY_SHIFT | (side == BIN_CLIENT ? BIN_VITAL : 0) | (uint64_t)bin_form_of(field);
}

static size_t bin_text_bytes(struct span bytes)
{
    return bin_varint_bytes(bytes.len) + bytes.len;
}

static size_t value_bytes(const struct bin_frame *frame, enum bin_field field)
{
    const struct bin_value *value = &frame->at[field];

    switch (bin_form_of(field)) {
    case BIN_FORM_FLAG: return 0;
    case BIN_FORM_NUMBER: return bin_varint_bytes(value->number);
    case BIN_FORM_BYTES: return bin_text_bytes(value->bytes);
    case BIN_FORM_FIXED: return BIN_FIXED_BYTES;
    }
    must(!"a field without a form");
    return 0;
}

static char *write_value(char *at, const struct bin_frame *frame, enum bin_field field)
{
    const struct bin_value *value = &frame->at[field];

    switch (bin_form_of(field)) {
    case BIN_FORM_FLAG: break;
    case BIN_FORM_NUMBER: return write_varint(at, value->number);
    case BIN_FORM_BYTES: return write_text(at, value->bytes);
    case BIN_FORM_FIXED: return write_fixed(at, value->number);
    }
    return at;
}

static size_t fields_bytes(const struct bin_frame *frame, uint64_t fields, enum bin_side side)
{
    size_t len = 0;

    while (fields != 0) {
        enum bin_field field = next_field(&fields);
        len += bin_varint_bytes(key_of(field, side)) + value_bytes(frame, field);
    }
    return len;
}

static char *write_fields(char *at, const struct bin_frame *frame, uint64_t fields, enum bin_side side)
{
    while (fields != 0) {
        enum bin_field field = next_field(&fields);
        at = write_value(write_varint(at, key_of(field, side)), frame, field);
    }
    return at;
}

/* --- frames ----------------------------------------------------------------------------------------------------------- */

static const enum bin_field differences[] = { BIN_ALIAS_NO, BIN_SEQ, BIN_ID, BIN_TIME };
enum { DIFFERENCES = sizeof differences / sizeof differences[0], VERSIONS_BYTES = 4 };

/* What stands before the fields, and which fields are left. */
static size_t start_bytes(const struct bin_frame *frame, enum bin_side side, uint64_t *ret_fields)
{
    size_t len = 0;

    *ret_fields = frame->has;
    if (side == BIN_CLIENT && frame->type == BIN_CONNECT)
        return VERSIONS_BYTES;
    if (frame->type == BIN_MESSAGE)
        for (size_t i = 0; i < DIFFERENCES; i++) {
            must(bin_has(frame, differences[i]));
            *ret_fields &= ~(UINT64_C(1) << differences[i]);
            len += bin_varint_bytes(frame->at[differences[i]].number);
        }
    return len;
}

static char *write_start(char *at, enum bin_side side, const struct bin_frame *frame)
{
    if (side == BIN_CLIENT && frame->type == BIN_CONNECT) {
        const char versions[VERSIONS_BYTES] = { 'L', 'W', (char)frame->version_min, (char)frame->version_max };
        return write_span(at, span_of(versions, sizeof versions));
    }
    if (frame->type == BIN_MESSAGE)
        for (size_t i = 0; i < DIFFERENCES; i++)
            at = write_varint(at, frame->at[differences[i]].number);
    return at;
}

void bin_put(struct buf *buf, enum bin_side side, const struct bin_frame *frame)
{
    bool     is_message = side == BIN_SERVER && frame->type == BIN_MESSAGE;
    uint64_t fields, allowed;
    size_t   start = start_bytes(frame, side, &fields), fields_len = fields_bytes(frame, fields, side);
    bool     has_flag = is_message ? fields != 0 : frame->payload.len > 0;
    size_t   len = 1 + start + (has_flag ? bin_varint_bytes(fields_len) : 0) + fields_len + frame->payload.len;

    must(bin_type_fields(side, (uint8_t)frame->type, &allowed) && (fields & ~allowed) == 0);
    must(frame->payload.len == 0 || bin_type_has_payload(side, (uint8_t)frame->type));
    char *at = buf_extend(buf, bin_varint_bytes(len) + len);
    if (at == NULL)
        return;
    at    = write_varint(at, len);
    *at++ = (char)(frame->type | (frame->is_before ? BIN_BEFORE : 0) | (has_flag ? BIN_PAYLOAD : 0));
    at    = write_start(at, side, frame);
    if (has_flag)
        at = write_varint(at, fields_len);
    at = write_span(write_fields(at, frame, fields, side), frame->payload);
    must(at == buf->at + buf->len);
}

/* --- the two frequent ones ---------------------------------------------------------------------------------------- */

void bin_put_message(struct buf *buf, const struct bin_message *message)
{
    size_t len = 1 + bin_varint_bytes(message->alias) + bin_varint_bytes(message->seq) + bin_varint_bytes(message->id) +
                 bin_varint_bytes(message->time) + message->payload.len;
    char  *at  = buf_extend(buf, bin_varint_bytes(len) + len);

    if (at == NULL)
        return;
    at    = write_varint(at, len);
    *at++ = (char)(BIN_MESSAGE | (message->is_before ? BIN_BEFORE : 0));
    at    = write_varint(write_varint(at, message->alias), message->seq);
    at    = write_varint(write_varint(at, message->id), message->time);
    at    = write_span(at, message->payload);
    must(at == buf->at + buf->len);
}

enum { KEY_BYTES = 1, LONG_KEY_BYTES = 2 };  /* of fields below 16, and of the others */

#define SERVER_KEY(field, form) ((uint64_t)(field) << BIN_KEY_SHIFT | (form))

static char *write_number(char *at, enum bin_field field, uint64_t number)
{
    *at++ = (char)SERVER_KEY(field, BIN_FORM_NUMBER);
    return write_varint(at, number);
}

void bin_put_published(struct buf *buf, const struct bin_published *published)
{
    _Static_assert(BIN_TIME < 16 && BIN_REPLAYED >= 16, "so long are their keys");
    size_t len = 1 + (published->has_ref ? KEY_BYTES + bin_varint_bytes(published->ref) : 0) + KEY_BYTES +
                 bin_text_bytes(published->channel) + KEY_BYTES + BIN_FIXED_BYTES + KEY_BYTES + bin_varint_bytes(published->seq) +
                 KEY_BYTES + bin_varint_bytes(published->id) + KEY_BYTES + bin_varint_bytes(published->time) +
                 (published->is_replayed ? LONG_KEY_BYTES : 0);
    char  *at  = buf_extend(buf, bin_varint_bytes(len) + len);

    must(published->channel.len > 0);
    if (at == NULL)
        return;
    at    = write_varint(at, len);
    *at++ = (char)BIN_PUBLISH;
    if (published->has_ref)
        at = write_number(at, BIN_REF, published->ref);
    *at++ = (char)SERVER_KEY(BIN_CHANNEL, BIN_FORM_BYTES);
    at    = write_text(at, published->channel);
    *at++ = (char)SERVER_KEY(BIN_EPOCH, BIN_FORM_FIXED);
    at    = write_fixed(at, published->epoch);
    at    = write_number(at, BIN_SEQ, published->seq);
    at    = write_number(at, BIN_ID, published->id);
    at    = write_number(at, BIN_TIME, published->time);
    if (published->is_replayed)
        at = write_varint(at, SERVER_KEY(BIN_REPLAYED, BIN_FORM_FLAG));
    must(at == buf->at + buf->len);
}

void bin_put_header(struct buf *buf, const struct bin_header *header)
{
    char *at = buf_extend(buf, bin_text_bytes(header->name) + bin_text_bytes(header->value));

    if (at != NULL)
        write_text(write_text(at, header->name), header->value);
}

void bin_put_place(struct buf *buf, const struct bin_place *place)
{
    size_t epoch_bytes = place->epoch == 0 ? 0 : BIN_FIXED_BYTES;
    char  *at          = buf_extend(buf, bin_text_bytes(place->channel) + bin_varint_bytes(place->seq) + 1 + epoch_bytes);

    if (at == NULL)
        return;
    at    = write_varint(write_text(at, place->channel), place->seq);
    *at++ = (char)epoch_bytes;
    if (epoch_bytes > 0)
        write_fixed(at, place->epoch);
}
