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

/* What each letter stands for, and 1 more; 0: it is none. */
#define VALUES(of_62, of_63)                                                                                   \
    {                                                                                                          \
        ['A'] = 1, ['B'] = 2, ['C'] = 3, ['D'] = 4, ['E'] = 5, ['F'] = 6, ['G'] = 7, ['H'] = 8,                \
        ['I'] = 9, ['J'] = 10, ['K'] = 11, ['L'] = 12, ['M'] = 13, ['N'] = 14, ['O'] = 15, ['P'] = 16,         \
        ['Q'] = 17, ['R'] = 18, ['S'] = 19, ['T'] = 20, ['U'] = 21, ['V'] = 22, ['W'] = 23, ['X'] = 24,        \
        ['Y'] = 25, ['Z'] = 26, ['a'] = 27, ['b'] = 28, ['c'] = 29, ['d'] = 30, ['e'] = 31, ['f'] = 32,        \
        ['g'] = 33, ['h'] = 34, ['i'] = 35, ['j'] = 36, ['k'] = 37, ['l'] = 38, ['m'] = 39, ['n'] = 40,        \
        ['o'] = 41, ['p'] = 42, ['q'] = 43, ['r'] = 44, ['s'] = 45, ['t'] = 46, ['u'] = 47, ['v'] = 48,        \
        ['w'] = 49, ['x'] = 50, ['y'] = 51, ['z'] = 52, ['0'] = 53, ['1'] = 54, ['2'] = 55, ['3'] = 56,        \
        ['4'] = 57, ['5'] = 58, ['6'] = 59, ['7'] = 60, ['8'] = 61, ['9'] = 62,                                \
        [of_62] = 63, [of_63] = 64,                                                                            \
    }

static const uint8_t standard_values[UINT8_MAX + 1] = VALUES('+', '/');
static const uint8_t url_safe_values[UINT8_MAX + 1] = VALUES('-', '_');

/* Four letters at `from`, as three bytes. False: not all are letters. */
static bool get_four(const char *from, char *to, const uint8_t *values)
{
    const unsigned char *letter = (const unsigned char *)from;
    unsigned             a = values[letter[0]], b = values[letter[1]], c = values[letter[2]], d = values[letter[3]];

    if (a == 0 || b == 0 || c == 0 || d == 0)
        return false;
    uint32_t bits = (a - 1) << 18 | (b - 1) << 12 | (c - 1) << 6 | (d - 1);
    to[0]         = (char)(bits >> 16);
    to[1]         = (char)(bits >> 8);
    to[2]         = (char)bits;
    return true;
}

/* Two or three letters. */
static bool get_tail(struct span text, char *to, const uint8_t *values)
{
    uint32_t bits = 0;

    for (size_t i = 0; i < text.len; i++) {
        unsigned value = values[(unsigned char)text.at[i]];
        if (value == 0)
            return false;
        bits = bits << 6 | (value - 1);
    }
    unsigned unused = text.len == 2 ? 4 : 2;
    for (size_t i = 0; i + 1 < text.len; i++)
        to[i] = (char)(bits >> (unused + 8 * (text.len - 2 - i)));
    /* RFC 4648 3.5: unused bits must be zero. Else one value would have two spellings. */
    return (bits & ((1u << unused) - 1)) == 0;
}

static bool get(struct span text, struct buf *ret, const uint8_t *values)
{
    size_t tail = text.len % 4;

    if (tail == 1 || text.len == 0)
        return text.len == 0 && !buf_is_over(ret);
    char *to = buf_extend(ret, text.len / 4 * 3 + (tail == 0 ? 0 : tail - 1));
    if (to == NULL)
        return false;
    for (; text.len >= 4; text = span_skip(text, 4), to += 3)
        if (!get_four(text.at, to, values))
            return false;
    return tail == 0 || get_tail(text, to, values);
}

static bool get_or_nothing(struct span text, struct buf *ret, const uint8_t *values)
{
    size_t before = ret->len;
    if (get(text, ret, values))
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
    return get_or_nothing(text, ret, standard_values);
}

bool base64url_get(struct span text, struct buf *ret)
{
    return get_or_nothing(text, ret, url_safe_values);
}
