#include "base/base64.h"

static const char standard[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_safe[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void put(struct buf *buf, struct span bytes, const char *letters, bool is_padded)
{
    size_t tail = bytes.len % 3;
    size_t len  = bytes.len / 3 * 4 + (tail == 0 ? 0 : is_padded ? 4 : tail + 1);
    char  *to   = buf_extend(buf, len);
    if (to == NULL)
        return;

    const unsigned char *from = (const unsigned char *)bytes.at;
    for (size_t i = 0; i + 3 <= bytes.len; i += 3, from += 3) {
        *to++ = letters[from[0] >> 2];
        *to++ = letters[(from[0] & 3) << 4 | from[1] >> 4];
        *to++ = letters[(from[1] & 15) << 2 | from[2] >> 6];
        *to++ = letters[from[2] & 63];
    }
    if (tail == 0)
        return;
    *to++ = letters[from[0] >> 2];
    *to++ = letters[(from[0] & 3) << 4 | (tail == 2 ? from[1] >> 4 : 0)];
    if (tail == 2)
        *to++ = letters[(from[1] & 15) << 2];
    else if (is_padded)
        *to++ = '=';
    if (is_padded)
        *to = '=';
}

void base64_put(struct buf *buf, struct span bytes)
{
    put(buf, bytes, standard, true);
}

void base64url_put(struct buf *buf, struct span bytes)
{
    put(buf, bytes, url_safe, false);
}

static int value_of(char c, const char *letters)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == letters[62]) return 62;
    if (c == letters[63]) return 63;
    return -1;
}

static bool get(struct span text, struct buf *ret, const char *letters)
{
    uint32_t bits  = 0;
    unsigned count = 0;

    for (size_t i = 0; i < text.len; i++) {
        int value = value_of(text.at[i], letters);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            buf_putc(ret, (char)(bits >> count));
        }
    }
    /* RFC 4648 3.5: unused bits must be zero. Else one value would have two spellings. */
    return count != 6 && (bits & ((1u << count) - 1)) == 0 && !buf_is_over(ret);
}

static bool get_or_nothing(struct span text, struct buf *ret, const char *letters)
{
    size_t before = ret->len;
    if (get(text, ret, letters))
        return true;
    ret->len = before;
    return false;
}

bool base64_get(struct span text, struct buf *ret)
{
    if (text.len % 4 != 0)
        return false;
    while (text.len > 0 && text.len % 4 != 2 && text.at[text.len - 1] == '=')
        text.len--;
    return get_or_nothing(text, ret, standard);
}

bool base64url_get(struct span text, struct buf *ret)
{
    return get_or_nothing(text, ret, url_safe);
}
