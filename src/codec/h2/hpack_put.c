/* hpack_put.c - fields of answers as header blocks. */
#include "codec/h2/hpack_priv.h"

static void hpack_put_number(struct buf *block, uint8_t flags, unsigned prefix_bits, uint32_t value)
{
    uint32_t mask = (1u << prefix_bits) - 1;

    if (value < mask) {
        buf_putc(block, (char)(flags | value));
        return;
    }
    buf_putc(block, (char)(flags | mask));
    for (value -= mask; value >= 0x80; value >>= 7)
        buf_putc(block, (char)(0x80 | (value & 0x7f)));
    buf_putc(block, (char)value);
}

static void hpack_put_string(struct buf *block, struct span text)
{
    hpack_put_number(block, 0, 7, (uint32_t)text.len);
    buf_put(block, text);
}

/* RFC 9113 8.2.1: names are in small letters. */
static void hpack_put_name(struct buf *block, struct span name)
{
    hpack_put_number(block, 0, 7, (uint32_t)name.len);
    for (size_t i = 0; i < name.len; i++)
        buf_putc(block, (char)(name.at[i] >= 'A' && name.at[i] <= 'Z' ? name.at[i] | 0x20 : name.at[i]));
}

/* 0: it is not there. */
static uint32_t hpack_index_of(struct span name)
{
    for (uint32_t i = HPACK_STATUS + 7; i <= HPACK_STATIC_COUNT; i++)
        if (hpack_static[i - 1].name.len == name.len && span_eq_nocase(hpack_static[i - 1].name, name))
            return i;
    return 0;
}

void hpack_put_status(struct buf *block, unsigned status)
{
    char digits[3] = { (char)('0' + status / 100), (char)('0' + status / 10 % 10), (char)('0' + status % 10) };

    for (uint32_t i = HPACK_STATUS; i < HPACK_STATUS + 7; i++)
        if (memcmp(hpack_static[i - 1].value.at, digits, sizeof digits) == 0) {
            hpack_put_number(block, 0x80, 7, i);
            return;
        }
    hpack_put_number(block, 0, 4, HPACK_STATUS);
    hpack_put_string(block, span_of(digits, sizeof digits));
}

void hpack_put_field(struct buf *block, struct span name, struct span value)
{
    uint32_t index = hpack_index_of(name);

    hpack_put_number(block, 0, 4, index);
    if (index == 0)
        hpack_put_name(block, name);
    hpack_put_string(block, value);
}

void hpack_put_indexed(struct buf *block, enum hpack_name name, struct span value)
{
    hpack_put_number(block, 0, 4, name);
    hpack_put_string(block, value);
}

void hpack_put_no_table(struct buf *block)
{
    hpack_put_number(block, 0x20, 5, 0);
}
