#include "settings/unit.h"

#include "base/must.h"

struct unit {
    const char *name;
    uint64_t    size;
};

/* The largest first, so that the first one that divides gives the shortest form. */
static const struct unit sizes[] = {
    { "T", UINT64_C(1) << 40 },
    { "G", UINT64_C(1) << 30 },
    { "M", UINT64_C(1) << 20 },
    { "K", UINT64_C(1) << 10 },
};

static const struct unit times[] = {
    { "d", 24 * 3600 * 1000 }, { "h", 3600 * 1000 }, { "m", 60 * 1000 }, { "s", 1000 }, { "ms", 1 },
};

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

/* Digits, then a unit of the list or nothing (`plain`). */
static bool quantity_read(struct span text, const struct unit *units, size_t count, uint64_t plain, uint64_t *ret)
{
    size_t digits = 0;
    while (digits < text.len && text.at[digits] >= '0' && text.at[digits] <= '9')
        digits++;

    uint64_t    number, size = plain;
    struct span name = span_skip(text, digits);
    if (!span_u64(span_head(text, digits), &number))
        return false;
    if (name.len > 0) {
        size_t i = 0;
        while (i < count && !span_eq_nocase(name, span_str(units[i].name)))
            i++;
        if (i == count)
            return false;
        size = units[i].size;
    }
    return !__builtin_mul_overflow(number, size, ret);
}

static void quantity_put(struct buf *buf, uint64_t value, const struct unit *units, size_t count)
{
    for (size_t i = 0; i < count && value > 0; i++) {
        if (value % units[i].size != 0)
            continue;
        buf_put_u64(buf, value / units[i].size);
        buf_put(buf, span_str(units[i].name));
        return;
    }
    buf_put_u64(buf, value);
}

bool unit_read_bytes(struct span text, uint64_t *ret_bytes)
{
    struct span tail = SPAN("iB");
    if (text.len > tail.len && span_eq(span_skip(text, text.len - tail.len), tail))
        text.len -= tail.len;
    return quantity_read(text, sizes, COUNT_OF(sizes), 1, ret_bytes);
}

bool unit_read_time(struct span text, msec plain_ms, msec *ret_ms)
{
    uint64_t ms;
    if (!quantity_read(text, times, COUNT_OF(times), (uint64_t)plain_ms, &ms) || ms > INT64_MAX)
        return false;
    *ret_ms = (msec)ms;
    return true;
}

void unit_put_bytes(struct buf *buf, uint64_t bytes)
{
    quantity_put(buf, bytes, sizes, COUNT_OF(sizes));
}

void unit_put_time(struct buf *buf, msec ms)
{
    must(ms >= 0);
    quantity_put(buf, (uint64_t)ms, times, COUNT_OF(times));
}
