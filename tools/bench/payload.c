#include "bench/payload.h"

enum { MARK_BYTES = sizeof PAYLOAD_MARK - 1, STAMP_BYTES = MARK_BYTES + 4 * 8 + 16 };

static const char padding[] = "........................................................................";
_Static_assert(STAMP_BYTES + sizeof padding - 1 == PAYLOAD_BYTES, "the padding fills the payload");

static char *hex_write(char *at, uint64_t value, int digits)
{
    for (int i = digits - 1; i >= 0; i--, value >>= 4)
        at[i] = "0123456789abcdef"[value & 15];
    return at + digits;
}

static bool hex_read(const char **at, int digits, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (int i = 0; i < digits; i++) {
        unsigned char digit = (unsigned char)(*at)[i];
        if (digit >= '0' && digit <= '9')
            value = value << 4 | (digit - '0');
        else if (digit >= 'a' && digit <= 'f')
            value = value << 4 | (digit - 'a' + 10u);
        else
            return false;
    }
    *at += digits;
    *ret_value = value;
    return true;
}

void payload_write(const struct stamp *stamp, char *ret_bytes)
{
    memcpy(ret_bytes, PAYLOAD_MARK, MARK_BYTES);
    char *at = ret_bytes + MARK_BYTES;
    at       = hex_write(at, stamp->stream, 8);
    at       = hex_write(at, stamp->channel, 8);
    at       = hex_write(at, stamp->seq, 8);
    at       = hex_write(at, stamp->number, 8);
    at       = hex_write(at, stamp->time_ns, 16);
    memcpy(at, padding, sizeof padding - 1);
}

bool payload_read(struct span bytes, struct stamp *ret_stamp)
{
    const char *at = bytes.at + MARK_BYTES;
    uint64_t    stream, channel, seq, number, time_ns;
    if (memcmp(bytes.at, PAYLOAD_MARK, MARK_BYTES) != 0 ||
        memcmp(bytes.at + STAMP_BYTES, padding, sizeof padding - 1) != 0)
        return false;
    if (!hex_read(&at, 8, &stream) || !hex_read(&at, 8, &channel) || !hex_read(&at, 8, &seq) ||
        !hex_read(&at, 8, &number) || !hex_read(&at, 16, &time_ns))
        return false;
    *ret_stamp = (struct stamp){ (uint32_t)stream, (uint32_t)channel, (uint32_t)seq, (uint32_t)number, time_ns };
    return true;
}

const char *payload_find(struct span bytes)
{
    return memmem(bytes.at, bytes.len, PAYLOAD_MARK, MARK_BYTES);
}
