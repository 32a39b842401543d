#include "codec/bus/bus_priv.h"

enum { BUS_VARINT_LONGEST = 10 };

void bus_put_number(struct buf *buf, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        buf_putc(buf, (char)(value | 0x80));
    buf_putc(buf, (char)value);
}

void bus_put_text(struct buf *buf, struct span text)
{
    bus_put_number(buf, text.len);
    buf_put(buf, text);
}

void bus_body_begin(struct buf *buf)
{
    buf_putc(buf, BUS_BODY_VERSION);
}

/* --- reading ------------------------------------------------------------------------------------------------------- */

bool bus_bytes_get(struct span *rest, uint64_t len, struct span *ret)
{
    if (len > rest->len)
        return false;
    *ret  = span_head(*rest, (size_t)len);
    *rest = span_skip(*rest, (size_t)len);
    return true;
}

bool bus_byte_get(struct span *rest, uint8_t *ret)
{
    struct span byte;

    if (!bus_bytes_get(rest, 1, &byte))
        return false;
    *ret = (uint8_t)byte.at[0];
    return true;
}

/* Only the shortest form is taken, so that a number has one spelling. */
bool bus_get_number(struct span *rest, uint64_t *ret)
{
    const size_t most  = rest->len < BUS_VARINT_LONGEST ? rest->len : BUS_VARINT_LONGEST;
    uint64_t     value = 0;
    size_t       len   = 0;
    uint8_t      byte;

    do {
        if (len == most)
            return false;
        byte = (uint8_t)rest->at[len];
        value |= (uint64_t)(byte & 0x7f) << 7 * len++;
    } while (byte >= 0x80);
    if ((byte == 0 && len > 1) || (byte > 1 && len == BUS_VARINT_LONGEST))
        return false;
    *ret  = value;
    *rest = span_of(rest->at + len, rest->len - len);
    return true;
}

bool bus_get_text(struct span *rest, size_t bytes_max, struct span *ret)
{
    uint64_t len;

    return bus_get_number(rest, &len) && len <= bytes_max && bus_bytes_get(rest, len, ret);
}

bool bus_body_open(struct span *body)
{
    uint8_t version;

    return bus_byte_get(body, &version) && version == BUS_BODY_VERSION;
}
