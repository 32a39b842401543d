#include "base/span.h"

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Of letters that differ in their case one bit differs. Eight bytes with another difference are not the same, and eight without any are;
 * all others are looked at one by one. */
bool span_eq_nocase(struct span a, struct span b)
{
    const uint64_t case_bits = 0x2020202020202020u;
    uint64_t       word_a, word_b;
    size_t         i = 0;

    if (a.len != b.len)
        return false;
    while (i < a.len) {
        const size_t from = i;
        if (a.len - i >= sizeof word_a) {
            memcpy(&word_a, a.at + i, sizeof word_a);
            memcpy(&word_b, b.at + i, sizeof word_b);
            if (((word_a ^ word_b) & ~case_bits) != 0)
                return false;
            i += sizeof word_a;
            if (word_a == word_b)
                continue;
        } else {
            i = a.len;
        }
        for (size_t at = from; at < i; at++)
            if (a.at[at] != b.at[at] && lower(a.at[at]) != lower(b.at[at]))
                return false;
    }
    return true;
}

struct span span_trim(struct span span)
{
    while (span.len > 0 && (span.at[0] == ' ' || span.at[0] == '\t'))
        span = span_skip(span, 1);
    while (span.len > 0 && (span.at[span.len - 1] == ' ' || span.at[span.len - 1] == '\t'))
        span.len--;
    return span;
}

bool span_cut(struct span *rest, char mark, struct span *ret_head)
{
    if (rest->len == 0)
        return false;

    const char *found = memchr(rest->at, mark, rest->len);
    if (found == NULL) {
        *ret_head = *rest;
        *rest     = span_skip(*rest, rest->len);
        return true;
    }
    size_t len = (size_t)(found - rest->at);
    *ret_head  = span_head(*rest, len);
    *rest      = span_skip(*rest, len + 1);
    return true;
}

bool span_u64(struct span span, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (span.len == 0)
        return false;
    for (size_t i = 0; i < span.len; i++) {
        unsigned digit = (unsigned char)span.at[i] - (unsigned)'0';
        if (digit > 9)
            return false;
        if (__builtin_mul_overflow(value, 10u, &value) || __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *ret_value = value;
    return true;
}

static bool is_control_byte(unsigned char c)
{
    return c < 0x20 || c == 0x7f;
}

/* Is one of these eight bytes a control character? The top bit of a byte is what a borrow leaves there. */
static bool word_has_control(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101u, tops = ones << 7;
    uint64_t       del  = word ^ ones * 0x7f;

    return ((((word - ones * 0x20) & ~word) | ((del - ones) & ~del)) & tops) != 0;
}

bool span_has_control(struct span span)
{
    uint64_t word;
    size_t   i = 0;

    for (; i + sizeof word <= span.len; i += sizeof word) {
        memcpy(&word, span.at + i, sizeof word);
        if (word_has_control(word))
            return true;
    }
    for (; i < span.len; i++)
        if (is_control_byte((unsigned char)span.at[i]))
            return true;
    return false;
}
