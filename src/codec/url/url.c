#include "codec/url/url.h"

#include "base/hex.h"

/* What follows "scheme://authority" in a target of that form; all of any other target. */
static struct span behind_authority(struct span target)
{
    /* RFC 9112 3.2.1: a target that begins with a slash is in origin-form, whatever follows. */
    if (target.len == 0 || target.at[0] == '/')
        return target;
    const char *mark = memmem(target.at, target.len, "://", 3);
    if (mark == NULL)
        return target;
    struct span rest = span_skip(target, (size_t)(mark - target.at) + 3);
    size_t      len  = 0;
    while (len < rest.len && rest.at[len] != '/' && rest.at[len] != '?')
        len++;
    return span_skip(rest, len);
}

void url_split(struct span target, struct span *ret_path, struct span *ret_query)
{
    struct span rest = behind_authority(target);
    const char *mark = rest.len == 0 ? NULL : memchr(rest.at, '?', rest.len);
    size_t      len  = mark == NULL ? rest.len : (size_t)(mark - rest.at);
    bool has_no_path = len == 0 && target.len > 0;

    /* RFC 9110 4.2.3: an empty path is the same as "/". */
    *ret_path  = has_no_path ? SPAN("/") : span_head(rest, len);
    *ret_query = mark == NULL ? (struct span){ 0 } : span_skip(rest, len + 1);
}

bool url_segment_next(struct span *rest, struct span *ret_segment)
{
    if (rest->len == 0 || rest->at[0] != '/')
        return false;

    struct span behind = span_skip(*rest, 1);
    const char *slash  = memchr(behind.at, '/', behind.len);
    *ret_segment = slash == NULL ? behind : span_head(behind, (size_t)(slash - behind.at));
    *rest        = span_skip(behind, ret_segment->len);
    return true;
}

bool url_query_next(struct span *rest, struct span *ret_name, struct span *ret_value)
{
    struct span pair;

    do {
        if (!span_cut(rest, '&', &pair))
            return false;
    } while (pair.len == 0);

    const char *equals = memchr(pair.at, '=', pair.len);
    size_t      len    = equals == NULL ? pair.len : (size_t)(equals - pair.at);
    *ret_name  = span_head(pair, len);
    *ret_value = span_skip(pair, equals == NULL ? len : len + 1);
    return true;
}

static bool url_is_plain(struct span text, enum url_part part)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] == '%' || text.at[i] == '\0' || (text.at[i] == '+' && part == URL_QUERY))
            return false;
    return true;
}

/* RFC 3986 2.1: "%" HEXDIG HEXDIG. The byte, or -1. */
static int escaped_byte(struct span text)
{
    if (text.len < 3)
        return -1;
    int high = hex_digit(text.at[1]), low = hex_digit(text.at[2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

bool url_decode(struct span text, enum url_part part, struct buf *scratch, struct span *ret_plain)
{
    if (url_is_plain(text, part)) {
        *ret_plain = text;
        return true;
    }
    buf_clear(scratch);
    for (size_t i = 0; i < text.len; i++) {
        int byte = (unsigned char)text.at[i];
        if (byte == '%') {
            byte = escaped_byte(span_skip(text, i));
            i += 2;
        } else if (byte == '+' && part == URL_QUERY) {
            byte = ' ';
        }
        /* RFC 3986 7.3: NUL hides the rest of a name from those who end theirs with it. */
        if (byte <= 0)
            return false;
        buf_putc(scratch, (char)byte);
    }
    if (buf_is_over(scratch))
        return false;
    *ret_plain = buf_span(scratch);
    return true;
}

void url_put_encoded(struct buf *buf, struct span text)
{
    static const char digits[] = "0123456789ABCDEF";

    size_t from = 0;

    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c > ' ' && c < 0x7f && c != '%')
            continue;
        char escape[] = { '%', digits[c >> 4], digits[c & 15] };
        buf_put(buf, span_of(text.at + from, i - from));
        buf_put(buf, span_of(escape, sizeof escape));
        from = i + 1;
    }
    buf_put(buf, span_of(text.at + from, text.len - from));
}
