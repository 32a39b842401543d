/* bin_put.c - from frames to bytes. */
#include "base/must.h"
#include "codec/bin/bin_priv.h"

size_t bin_varint_bytes(uint64_t value)
{
    size_t len = 1;

    while (value >= 0x80) {
        value >>= 7;
        len++;
    }
    return len;
}

static void put_bin_varint(struct buf *buf, uint64_t value)
{
    char   bytes[BIN_VARINT_BYTES_MAX];
    size_t len = 0;

    for (; value >= 0x80; value >>= 7)
        bytes[len++] = (char)(value | 0x80);
    bytes[len++] = (char)value;
    buf_put(buf, span_of(bytes, len));
}

static void put_fixed(struct buf *buf, uint64_t value)
{
    char bytes[BIN_FIXED_BYTES];

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(value >> 8 * (sizeof bytes - 1 - i));
    buf_put(buf, span_of(bytes, sizeof bytes));
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
    return (uint64_t)field << BIN_KEY_SHIFT | (side == BIN_CLIENT ? BIN_VITAL : 0) | (uint64_t)bin_field_form(field);
}

static size_t value_bytes(const struct bin_frame *frame, enum bin_field field)
{
    const struct bin_value *value = &frame->at[field];

    switch ((enum bin_form)bin_field_form(field)) {
    case BIN_FORM_FLAG: return 0;
    case BIN_FORM_NUMBER: return bin_varint_bytes(value->number);
    case BIN_FORM_BYTES: return bin_varint_bytes(value->bytes.len) + value->bytes.len;
    case BIN_FORM_FIXED: return BIN_FIXED_BYTES;
    }
    must(!"a field without a form");
    return 0;
}

static void put_value(struct buf *buf, const struct bin_frame *frame, enum bin_field field)
{
    const struct bin_value *value = &frame->at[field];

    switch ((enum bin_form)bin_field_form(field)) {
    case BIN_FORM_FLAG: break;
    case BIN_FORM_NUMBER: put_bin_varint(buf, value->number); break;
    case BIN_FORM_BYTES:
        put_bin_varint(buf, value->bytes.len);
        buf_put(buf, value->bytes);
        break;
    case BIN_FORM_FIXED: put_fixed(buf, value->number); break;
    }
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

static void put_frame_fields(struct buf *buf, const struct bin_frame *frame, uint64_t fields, enum bin_side side)
{
    while (fields != 0) {
        enum bin_field field = next_field(&fields);
        put_bin_varint(buf, key_of(field, side));
        put_value(buf, frame, field);
    }
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

static void put_start(struct buf *buf, enum bin_side side, const struct bin_frame *frame)
{
    if (side == BIN_CLIENT && frame->type == BIN_CONNECT) {
        char versions[VERSIONS_BYTES] = { 'L', 'W', (char)frame->version_min, (char)frame->version_max };
        buf_put(buf, span_of(versions, sizeof versions));
    } else if (frame->type == BIN_MESSAGE) {
        for (size_t i = 0; i < DIFFERENCES; i++)
            put_bin_varint(buf, frame->at[differences[i]].number);
    }
}

void bin_put(struct buf *buf, enum bin_side side, const struct bin_frame *frame)
{
    bool     is_message = side == BIN_SERVER && frame->type == BIN_MESSAGE;
    uint64_t fields, allowed;
    size_t   start = start_bytes(frame, side, &fields), fields_len = fields_bytes(frame, fields, side);
    bool     has_flag = is_message ? fields != 0 : frame->payload.len > 0;

    must(bin_type_fields(side, (uint8_t)frame->type, &allowed) && (fields & ~allowed) == 0);
    must(frame->payload.len == 0 || bin_type_has_payload(side, (uint8_t)frame->type));
    put_bin_varint(buf, 1 + start + (has_flag ? bin_varint_bytes(fields_len) : 0) + fields_len + frame->payload.len);
    buf_putc(buf, (char)(frame->type | (frame->is_before ? BIN_BEFORE : 0) | (has_flag ? BIN_PAYLOAD : 0)));
    put_start(buf, side, frame);
    if (has_flag)
        put_bin_varint(buf, fields_len);
    put_frame_fields(buf, frame, fields, side);
    buf_put(buf, frame->payload);
}

void bin_put_header(struct buf *buf, const struct bin_header *header)
{
    put_bin_varint(buf, header->name.len);
    buf_put(buf, header->name);
    put_bin_varint(buf, header->value.len);
    buf_put(buf, header->value);
}

void bin_put_place(struct buf *buf, const struct bin_place *place)
{
    put_bin_varint(buf, place->channel.len);
    buf_put(buf, place->channel);
    put_bin_varint(buf, place->seq);
    buf_putc(buf, place->epoch == 0 ? 0 : BIN_FIXED_BYTES);
    if (place->epoch != 0)
        put_fixed(buf, place->epoch);
}
