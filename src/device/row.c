#include "device/row.h"

#include "device/row_priv.h"

/* --- keys --- */

void row_key_put(struct buf *buf, struct span first, struct span second)
{
    buf_put(buf, first);
    row_key_put_third(buf, second);
}

void row_key_put_third(struct buf *buf, struct span third)
{
    buf_putc(buf, '\0');
    buf_put(buf, third);
}

struct span row_key_last(struct span key)
{
    size_t at = key.len;

    while (at > 0 && key.at[at - 1] != '\0')
        at--;
    return span_skip(key, at);
}

/* --- values --- */

void row_put_number(struct buf *buf, uint64_t number)
{
    for (int shift = 56; shift >= 0; shift -= 8)
        buf_putc(buf, (char)(number >> shift));
}

uint64_t row_get_number(const char *at)
{
    uint64_t number = 0;

    for (size_t i = 0; i < ROW_NUMBER_BYTES; i++)
        number = number << 8 | (unsigned char)at[i];
    return number;
}

void row_put_head(struct buf *buf, bool flag)
{
    buf_putc(buf, ROW_VERSION);
    buf_putc(buf, (char)flag);
}

/* Version, flag, two numbers, and perhaps more behind them. */
static bool row_get_head(struct span value, bool *ret_flag, uint64_t *ret_first, uint64_t *ret_second)
{
    if (value.len < 2 + 2 * ROW_NUMBER_BYTES || value.at[0] != ROW_VERSION || (unsigned char)value.at[1] > 1)
        return false;
    *ret_flag   = value.at[1] != 0;
    *ret_first  = row_get_number(value.at + 2);
    *ret_second = row_get_number(value.at + 2 + ROW_NUMBER_BYTES);
    return true;
}

enum { SESSION_ROW_BYTES_LEAST = 2 + 3 * ROW_NUMBER_BYTES };

void session_row_put(struct buf *buf, const struct session_row *row)
{
    row_put_head(buf, row->is_ended);
    row_put_number(buf, (uint64_t)row->since);
    row_put_number(buf, (uint64_t)row->seen);
    row_put_number(buf, row->from);
    buf_put(buf, row->device_class);
}

bool session_row_get(struct span value, struct session_row *ret)
{
    bool     is_ended;
    uint64_t since, seen;

    if (!row_get_head(value, &is_ended, &since, &seen) || value.len < SESSION_ROW_BYTES_LEAST)
        return false;
    *ret = (struct session_row){
        .since        = (msec)since,
        .seen         = (msec)seen,
        .from         = row_get_number(value.at + SESSION_ROW_BYTES_LEAST - ROW_NUMBER_BYTES),
        .is_ended     = is_ended,
        .device_class = span_skip(value, SESSION_ROW_BYTES_LEAST),
    };
    return true;
}

void place_row_put(struct buf *buf, const struct place_row *row)
{
    row_put_head(buf, row->is_kept);
    row_put_number(buf, row->epoch);
    row_put_number(buf, (uint64_t)row->wall);
}

bool place_row_get(struct span value, struct place_row *ret)
{
    bool     is_kept;
    uint64_t epoch, wall;

    if (!row_get_head(value, &is_kept, &epoch, &wall))
        return false;
    *ret = (struct place_row){ epoch, (msec)wall, is_kept };
    return true;
}
