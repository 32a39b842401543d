#include "base/ip_range.h"

enum { V4_BITS_BEFORE = 96 };  /* of ::ffff:0:0 */

/* 0 … `most`, in digits without a sign, spaces or a leading zero. */
static bool range_bits_read(struct span text, unsigned most, unsigned *ret)
{
    unsigned bits = 0;

    if (text.len == 0 || text.len > 3 || (text.len > 1 && text.at[0] == '0'))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
        bits = bits * 10 + (unsigned)(text.at[i] - '0');
    }
    *ret = bits;
    return bits <= most;
}

bool ip_range_read(struct span text, struct ip_range *ret)
{
    struct span       address_text;
    struct ip_address address;
    unsigned          bits;
    bool              has_bits = memchr(text.at, '/', text.len) != NULL;

    if (has_bits)
        span_cut(&text, '/', &address_text);
    else
        address_text = text;
    if (!ip_read(address_text, &address))
        return false;
    bool     is_v4  = ip_is_v4(&address) && memchr(address_text.at, ':', address_text.len) == NULL;
    unsigned before = is_v4 ? V4_BITS_BEFORE : 0, most = 8 * IP_BYTES - before;
    bits            = most;
    if (has_bits && !range_bits_read(text, most, &bits))
        return false;
    *ret = (struct ip_range){ address, (uint8_t)(before + bits) };
    return true;
}

static bool range_is_v4(const struct ip_range *range)
{
    return range->bits >= V4_BITS_BEFORE && ip_is_v4(&range->first);
}

static bool ip_range_has(const struct ip_range *range, const struct ip_address *address)
{
    const unsigned whole = range->bits / 8, rest = range->bits % 8;

    if (range_is_v4(range) != ip_is_v4(address) || memcmp(range->first.bytes, address->bytes, whole) != 0)
        return false;
    return rest == 0 || (range->first.bytes[whole] ^ address->bytes[whole]) >> (8 - rest) == 0;
}

bool ip_ranges_have(const struct ip_ranges *ranges, const struct ip_address *address)
{
    if (!ip_is_known(address))
        return false;
    for (size_t i = 0; i < ranges->count; i++)
        if (ip_range_has(&ranges->at[i], address))
            return true;
    return false;
}
