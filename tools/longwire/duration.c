#include "longwire/duration.h"

#include <time.h>

enum { TEXT_BYTES_MAX = 64 };

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

/* --- lengths ---------------------------------------------------------------------------------------------------- */

static const struct { const char *name; double ms; } units[] = {
    { "ms", 1 },       { "s", 1000 },          { "m", 60 * 1000 },
    { "h", 3600e3 },   { "d", 24 * 3600e3 },   { "w", 7 * 24 * 3600e3 },
};

/* The number at the beginning of *rest, with a fraction perhaps. */
static bool number_take(struct span *rest, double *ret)
{
    double value = 0, scale = 1;
    size_t at    = 0;

    for (; at < rest->len && is_digit(rest->at[at]); at++)
        value = value * 10 + (rest->at[at] - '0');
    size_t whole = at;
    if (whole > 0 && at + 1 < rest->len && rest->at[at] == '.' && is_digit(rest->at[at + 1]))
        for (at++; at < rest->len && is_digit(rest->at[at]); at++)
            value += (rest->at[at] - '0') * (scale /= 10);
    *rest = span_skip(*rest, at);
    *ret  = value;
    return whole > 0;
}

/* The letters at the beginning of *rest, as the ms of their unit. */
static bool unit_take(struct span *rest, double *ret_ms)
{
    size_t len = 0;
    while (len < rest->len && rest->at[len] >= 'a' && rest->at[len] <= 'z')
        len++;
    struct span name = span_head(*rest, len);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (span_eq(name, span_str(units[i].name))) {
            *rest   = span_skip(*rest, len);
            *ret_ms = units[i].ms;
            return true;
        }
    return false;
}

bool duration_parse(struct span text, msec *ret_ms)
{
    double total = 0, value, unit_ms;

    if (text.len == 0 || text.len > TEXT_BYTES_MAX)
        return false;
    for (struct span rest = text; rest.len > 0; total += value * unit_ms) {
        bool is_first = rest.len == text.len;
        if (!number_take(&rest, &value))
            return false;
        if (rest.len == 0 && is_first)
            unit_ms = 1000;
        else if (!unit_take(&rest, &unit_ms))
            return false;
    }
    if (!(total > 0) || total > (double)DURATION_MS_MAX)
        return false;
    *ret_ms = total < 1 ? 1 : (msec)total;
    return true;
}

/* --- moments ---------------------------------------------------------------------------------------------------- */

/* strptime() reads the whole text by `format`? */
static bool date_read(const char *text, const char *format, struct tm *ret)
{
    struct tm   date = { .tm_isdst = -1 };
    const char *end  = strptime(text, format, &date);
    if (end == NULL || *end != '\0')
        return false;
    *ret = date;
    return true;
}

static bool date_parse(struct span text, msec *ret_ms)
{
    static const char *const formats[] = { "%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M",
                                           "%Y-%m-%dT%H:%M:%S" };
    char      copy[TEXT_BYTES_MAX + 1];
    bool      is_utc = text.len > 0 && text.at[text.len - 1] == 'Z';
    struct tm date;

    size_t len = text.len - is_utc;
    if (len > TEXT_BYTES_MAX || memchr(text.at, '\0', text.len) != NULL)
        return false;
    memcpy(copy, text.at, len);
    copy[len] = '\0';
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (!date_read(copy, formats[i], &date))
            continue;
        time_t seconds = is_utc ? timegm(&date) : mktime(&date);
        if (seconds < 0)
            return false;
        *ret_ms = (msec)seconds * 1000;
        return true;
    }
    return false;
}

bool moment_parse(struct span text, msec now_ms, msec *ret_ms)
{
    msec     ago;
    uint64_t number;

    if (duration_parse(text, &ago)) {
        *ret_ms = now_ms > ago ? now_ms - ago : 0;
        return true;
    }
    if (text.len > 1 && text.at[0] == '@' && span_u64(span_skip(text, 1), &number) && number <= INT64_MAX) {
        *ret_ms = (msec)number;
        return true;
    }
    return text.len > 0 && date_parse(text, ret_ms);
}

bool moment_put_query(struct buf *buf, struct span text, msec now_ms)
{
    msec ms;
    if (duration_parse(text, &ms)) {
        buf_putf(buf, "%lldms", (long long)ms);
        return true;
    }
    if (!moment_parse(text, now_ms, &ms))
        return false;
    buf_putf(buf, "%lld", (long long)ms);
    return true;
}

static void moment_put(struct buf *buf, uint64_t ms, struct tm *(*zone)(const time_t *, struct tm *),
                       const char *format)
{
    struct tm date;
    char      text[64];
    time_t    seconds = (time_t)(ms / 1000);

    if (ms == 0 || zone(&seconds, &date) == NULL || strftime(text, sizeof text, format, &date) == 0) {
        buf_put_lit(buf, "-");
        return;
    }
    buf_putf(buf, "%s.%03u", text, (unsigned)(ms % 1000));
}

void moment_put_local(struct buf *buf, uint64_t ms)
{
    moment_put(buf, ms, localtime_r, "%Y-%m-%d %H:%M:%S");
}

void moment_put_utc(struct buf *buf, uint64_t ms)
{
    size_t before = buf->len;
    moment_put(buf, ms, gmtime_r, "%Y-%m-%dT%H:%M:%S");
    if (buf->len > before + 1)
        buf_putc(buf, 'Z');
}
