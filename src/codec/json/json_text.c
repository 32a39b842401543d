#include <stdio.h>

#include "base/utf8.h"
#include "codec/json/json_priv.h"

void json_fault_set(struct json_fault *fault, size_t at, const char *reason)
{
    snprintf(fault->reason, sizeof fault->reason, "%s", reason);
    fault->at = at;
}

size_t json_skip_space(struct span text, size_t at)
{
    while (at < text.len && (text.at[at] == ' ' || text.at[at] == '\n' || text.at[at] == '\r' || text.at[at] == '\t'))
        at++;
    return at;
}

/* Four hex digits at `at`, or -1. */
static int32_t hex4(struct span text, size_t at)
{
    int32_t value = 0;

    if (at > text.len || text.len - at < 4)
        return -1;
    for (size_t i = at; i < at + 4; i++) {
        char c = text.at[i];
        int  digit = c >= '0' && c <= '9' ? c - '0'
                   : c >= 'a' && c <= 'f' ? c - 'a' + 10
                   : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

/* The code unit of the escape \uXXXX at `at`, or -1: another escape, or none. */
static int32_t unit_at(struct span text, size_t at)
{
    if (at > text.len || text.len - at < 6 || text.at[at] != '\\' || text.at[at + 1] != 'u')
        return -1;
    return hex4(text, at + 2);
}

static bool is_high(int32_t unit)
{
    return unit >= 0xd800 && unit <= 0xdbff;
}

static bool is_low(int32_t unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}

/* RFC 8259 8.2 leaves lone surrogates open; they can't be written as UTF-8, so they are refused. yajl would make them
 * question marks. In JSON every backslash begins an escape, so no grammar is needed to find them. */
static bool check_surrogates(struct span text, struct json_fault *ret_fault)
{
    size_t at = 0;

    while (at < text.len) {
        const char *backslash = memchr(text.at + at, '\\', text.len - at);
        if (backslash == NULL)
            return true;
        at           = (size_t)(backslash - text.at);
        int32_t unit = unit_at(text, at);
        if (is_low(unit) || (is_high(unit) && !is_low(unit_at(text, at + 6)))) {
            json_fault_set(ret_fault, at, "a surrogate without its pair");
            return false;
        }
        at += is_high(unit) ? 12 : unit >= 0 ? 6 : 2;
    }
    return true;
}

static bool check_utf8(struct span text, struct json_fault *ret_fault)
{
    if (utf8_is_valid(text))
        return true;

    struct utf8 utf8 = { 0 };
    size_t      at   = 0;
    while (at < text.len && utf8_feed(&utf8, (struct span){ text.at + at, 1 }))
        at++;
    json_fault_set(ret_fault, at, "not UTF-8");
    return false;
}

/* yajl takes vertical tab and form feed for space. Within strings they'd be a fault too (RFC 8259 7), so they can
 * stand nowhere. */
static bool check_spaces(struct span text, struct json_fault *ret_fault)
{
    for (const char *odd = "\v\f"; *odd != '\0'; odd++) {
        const char *at = memchr(text.at, *odd, text.len);
        if (at != NULL) {
            json_fault_set(ret_fault, (size_t)(at - text.at), "a control character");
            return false;
        }
    }
    return true;
}

bool json_text_check(struct span text, struct json_fault *ret_fault)
{
    if (text.len == 0) {
        json_fault_set(ret_fault, 0, "nothing there");
        return false;
    }
    return check_utf8(text, ret_fault) && check_spaces(text, ret_fault) && check_surrogates(text, ret_fault);
}

/* A number as 0.DIGITS × 10^(magnitude + 1), by its first digits: enough to hold it against the greatest double. */
enum { DECIMAL_DIGITS = 20 };

struct decimal {
    char    digits[DECIMAL_DIGITS];
    size_t  count;      /* of significant digits, those beyond the array included; 0: the number is zero */
    int64_t magnitude;  /* of the first significant digit; 0 for the ones */
};

static void decimal_add(struct decimal *decimal, char digit, bool is_fraction)
{
    if (decimal->count == 0 && digit == '0') {
        decimal->magnitude -= is_fraction;
        return;
    }
    if (decimal->count < DECIMAL_DIGITS)
        decimal->digits[decimal->count] = digit;
    if (decimal->count == 0)
        decimal->magnitude -= is_fraction;
    else
        decimal->magnitude += !is_fraction;
    decimal->count++;
}

/* The exponent behind the e: too long to matter counts as a billion billion. */
static int64_t exponent_of(struct span digits)
{
    const int64_t enough = 1000000000000000000;
    bool          is_minus = digits.len > 0 && digits.at[0] == '-';
    int64_t       value    = 0;

    for (size_t i = 0; i < digits.len && value < enough / 10; i++)
        if (digits.at[i] >= '0' && digits.at[i] <= '9')
            value = value * 10 + (digits.at[i] - '0');
    return is_minus ? -value : value;
}

static bool has_exponent(struct span number)
{
    return memchr(number.at, 'e', number.len) != NULL || memchr(number.at, 'E', number.len) != NULL;
}

bool json_number_is_finite(struct span number)
{
    enum { MAGNITUDE_MAX = 308 };
    static const char greatest[] = "17976931348623158079";  /* what still rounds down to the greatest double */

    if (number.len <= MAGNITUDE_MAX && !has_exponent(number))
        return true;

    struct decimal decimal     = { .count = 0 };
    bool           is_fraction = false;
    memset(decimal.digits, '0', sizeof decimal.digits);
    for (size_t i = 0; i < number.len; i++) {
        char c = number.at[i];
        if (c == 'e' || c == 'E') {
            decimal.magnitude += exponent_of(span_skip(number, i + 1));
            break;
        }
        if (c == '.')
            is_fraction = true;
        else if (c != '-')
            decimal_add(&decimal, c, is_fraction);
    }
    if (decimal.count == 0 || decimal.magnitude < MAGNITUDE_MAX)
        return true;
    return decimal.magnitude == MAGNITUDE_MAX && memcmp(decimal.digits, greatest, DECIMAL_DIGITS) <= 0;
}

static struct span put_utf8(uint32_t c, char room[4])
{
    size_t len = 0;

    if (c < 0x80) {
        room[len++] = (char)c;
    } else if (c < 0x800) {
        room[len++] = (char)(0xc0 | c >> 6);
        room[len++] = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        room[len++] = (char)(0xe0 | c >> 12);
        room[len++] = (char)(0x80 | (c >> 6 & 0x3f));
        room[len++] = (char)(0x80 | (c & 0x3f));
    } else {
        room[len++] = (char)(0xf0 | c >> 18);
        room[len++] = (char)(0x80 | (c >> 12 & 0x3f));
        room[len++] = (char)(0x80 | (c >> 6 & 0x3f));
        room[len++] = (char)(0x80 | (c & 0x3f));
    }
    return span_of(room, len);
}

static char short_escape(char letter)
{
    switch (letter) {
    case 'b': return '\b';
    case 'f': return '\f';
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    default: return letter;  /* " \ / stand for themselves */
    }
}

static struct span take(struct span *rest, size_t count)
{
    struct span head = span_head(*rest, count);
    *rest            = span_skip(*rest, head.len);
    return head;
}

struct span json_string_piece(struct span *rest, char room[4])
{
    const char *backslash = memchr(rest->at, '\\', rest->len);
    size_t      run       = backslash == NULL ? rest->len : (size_t)(backslash - rest->at);
    if (run > 0)
        return take(rest, run);

    int32_t unit = unit_at(*rest, 0);
    if (unit < 0) {
        room[0] = short_escape(rest->at[1]);
        take(rest, 2);
        return span_of(room, 1);
    }
    uint32_t c = (uint32_t)unit;
    if (is_high(unit))
        c = 0x10000 + ((c - 0xd800) << 10) + ((uint32_t)unit_at(*rest, 6) - 0xdc00);
    take(rest, is_high(unit) ? 12 : 6);
    return put_utf8(c, room);
}
