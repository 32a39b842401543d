#include "codec/json/json_priv.h"

#include "base/hex.h"

const char json_ends_early[] = "the text ends too early";

bool json_refuse(struct json_place *place, size_t at, const char *reason)
{
    *place->fault = (struct json_fault){ .reason = reason, .at = at };
    return false;
}

void json_scan_space(struct json_place *place)
{
    struct span text = place->text;
    size_t      at   = place->at;

    while (at < text.len && (text.at[at] == ' ' || text.at[at] == '\n' || text.at[at] == '\r' || text.at[at] == '\t'))
        at++;
    place->at = at;
}

/* --- strings ------------------------------------------------------------------------------------------------ */

static uint64_t all_bytes(unsigned char byte)
{
    return 0x0101010101010101u * byte;
}

/* Is any byte of the word below `limit`, which is at most 0x80? (Hacker's Delight 6-1: exact as a yes or no.) */
static bool has_below(uint64_t word, unsigned char limit)
{
    return ((word - all_bytes(limit)) & ~word & all_bytes(0x80)) != 0;
}

static bool word_is_plain(uint64_t word)
{
    return !has_below(word, 0x20) && !has_below(word ^ all_bytes('"'), 1) && !has_below(word ^ all_bytes('\\'), 1);
}

/* RFC 8259 7: only these must be escaped. */
static bool is_plain(char c)
{
    return (unsigned char)c >= 0x20 && c != '"' && c != '\\';
}

/* Eight bytes at a time, and the last eight once more for what is left. */
size_t json_plain_len(struct span text)
{
    size_t   i = 0;
    uint64_t word;

    while (i + 8 <= text.len && (memcpy(&word, text.at + i, 8), word_is_plain(word)))
        i += 8;
    if (i > 0 && text.len - i < 8 && (memcpy(&word, text.at + text.len - 8, 8), word_is_plain(word)))
        return text.len;
    while (i < text.len && is_plain(text.at[i]))
        i++;
    return i;
}

/* The code unit of the escape \uXXXX at `at`, or -1: another escape, or none. */
static int32_t unit_at(struct span text, size_t at)
{
    int32_t unit = 0;

    if (at > text.len || text.len - at < 6 || text.at[at] != '\\' || text.at[at + 1] != 'u')
        return -1;
    for (size_t i = at + 2; i < at + 6; i++) {
        int digit = hex_digit(text.at[i]);
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

static bool is_high(int32_t unit)
{
    return unit >= 0xd800 && unit <= 0xdbff;
}

static bool is_low(int32_t unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}

/* Stands at a backslash. RFC 8259 8.2 leaves lone surrogates open; they can't be written as UTF-8, so they are
 * refused. */
static bool scan_escape(struct json_place *place)
{
    static const char letters[] = "\"\\/bfnrt";
    struct span       text      = place->text;
    size_t            at        = place->at;

    if (text.len - at < 2)
        return json_refuse(place, text.len, json_ends_early);
    if (text.at[at + 1] != 'u') {
        place->at = at + 2;
        return memchr(letters, text.at[at + 1], sizeof letters - 1) != NULL ||
               json_refuse(place, at, "an escape that JSON doesn't know");
    }
    int32_t unit = unit_at(text, at);
    if (unit < 0)
        return json_refuse(place, at, "an escape without its four hexadecimal digits");
    if (is_low(unit) || (is_high(unit) && !is_low(unit_at(text, at + 6))))
        return json_refuse(place, at, "a surrogate without its pair");
    place->at = at + (is_high(unit) ? 12 : 6);
    return true;
}

bool json_scan_string(struct json_place *place, bool *ret_has_escapes)
{
    struct span text        = place->text;
    bool        has_escapes = false;

    place->at++;
    for (;;) {
        place->at += json_plain_len(span_skip(text, place->at));
        if (place->at == text.len)
            return json_refuse(place, text.len, json_ends_early);
        if (text.at[place->at] == '"')
            break;
        if (text.at[place->at] != '\\')
            return json_refuse(place, place->at, "a control character in a string, not written as an escape");
        has_escapes = true;
        if (!scan_escape(place))
            return false;
    }
    place->at++;
    *ret_has_escapes = has_escapes;
    return true;
}

static struct span put_utf8(uint32_t c, char scratch[4])
{
    size_t len = 0;

    if (c < 0x80) {
        scratch[len++] = (char)c;
    } else if (c < 0x800) {
        scratch[len++] = (char)(0xc0 | c >> 6);
        scratch[len++] = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        scratch[len++] = (char)(0xe0 | c >> 12);
        scratch[len++] = (char)(0x80 | (c >> 6 & 0x3f));
        scratch[len++] = (char)(0x80 | (c & 0x3f));
    } else {
        scratch[len++] = (char)(0xf0 | c >> 18);
        scratch[len++] = (char)(0x80 | (c >> 12 & 0x3f));
        scratch[len++] = (char)(0x80 | (c >> 6 & 0x3f));
        scratch[len++] = (char)(0x80 | (c & 0x3f));
    }
    return span_of(scratch, len);
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

struct span json_string_piece(struct span *rest, char scratch[4])
{
    const char *backslash = memchr(rest->at, '\\', rest->len);
    size_t      run       = backslash == NULL ? rest->len : (size_t)(backslash - rest->at);
    if (run > 0)
        return take(rest, run);

    int32_t unit = unit_at(*rest, 0);
    if (unit < 0) {
        scratch[0] = short_escape(rest->at[1]);
        take(rest, 2);
        return span_of(scratch, 1);
    }
    uint32_t c = (uint32_t)unit;
    if (is_high(unit))
        c = 0x10000 + ((c - 0xd800) << 10) + ((uint32_t)unit_at(*rest, 6) - 0xdc00);
    take(rest, is_high(unit) ? 12 : 6);
    return put_utf8(c, scratch);
}

/* --- numbers ------------------------------------------------------------------------------------------------ */

/* A number as 0.DIGITS × 10^(magnitude + 1), by its first digits: enough to compare it with the first number that rounds
 * to infinity. */
enum { DECIMAL_DIGITS = 309 };

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

/* Does a number of JSON's grammar fit into a double, however it is written? */
static bool is_finite(struct span number, bool has_exponent)
{
    enum { MAGNITUDE_MAX = 308 };
    /* 2^1024 - 2^970, halfway between the greatest double and 2^1024. It rounds to even, which is infinity, and so does
     * all above it (IEEE 754 4.3.1). */
    static const char infinite[] =
        "17976931348623158079372897140530341507993413271003782693617377898044496829276475"
        "09466490179775872070963302864166928879109465555478519404026306574886715058206819"
        "08902000708383676273854845817711531764475730270069855571366959622842914819860834"
        "936475292719074168444365510704342711559699508093042880177904174497792";
    must(sizeof infinite - 1 == DECIMAL_DIGITS);

    if (number.len <= MAGNITUDE_MAX && !has_exponent)
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
    return decimal.magnitude == MAGNITUDE_MAX && memcmp(decimal.digits, infinite, DECIMAL_DIGITS) < 0;
}

static char byte_at(struct span text, size_t at)
{
    return at < text.len ? text.at[at] : '\0';
}

/* The end of the digits that begin at `at`. */
static size_t skip_digits(struct span text, size_t at)
{
    while (at < text.len && text.at[at] >= '0' && text.at[at] <= '9')
        at++;
    return at;
}

/* RFC 8259 6: [ minus ] int [ frac ] [ exp ]. The end of the longest number at `at`; `at` itself: none begins there. */
static size_t number_end(struct span text, size_t at, bool *ret_has_exponent)
{
    size_t whole = at + (byte_at(text, at) == '-');
    size_t end   = byte_at(text, whole) == '0' ? whole + 1 : skip_digits(text, whole);
    if (end == whole)
        return at;

    if (byte_at(text, end) == '.') {
        size_t fraction = skip_digits(text, end + 1);
        if (fraction == end + 1)
            return at;
        end = fraction;
    }
    *ret_has_exponent = byte_at(text, end) == 'e' || byte_at(text, end) == 'E';
    if (*ret_has_exponent) {
        size_t sign     = end + 1;
        size_t digits   = sign + (byte_at(text, sign) == '+' || byte_at(text, sign) == '-');
        size_t exponent = skip_digits(text, digits);
        if (exponent == digits)
            return at;
        end = exponent;
    }
    return end;
}

static bool is_number_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' ||
           c == '-' || c == '+';
}

bool json_scan_number(struct json_place *place)
{
    bool   has_exponent = false;
    size_t start        = place->at;
    size_t end          = number_end(place->text, start, &has_exponent);

    /* A number ends at the end of its word: 01 and 1x are none. */
    if (end == start || is_number_char(byte_at(place->text, end)))
        return json_refuse(place, start, "not a number as JSON writes it");
    if (!is_finite(span_of(place->text.at + start, end - start), has_exponent))
        return json_refuse(place, start, "a number too large for a double, at most 1.7976931348623157e308");
    place->at = end;
    return true;
}
