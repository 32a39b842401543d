#include "device/row.h"

#include "base/must.h"
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

/* A session's value, with `node` where it is of version 2:
 *
 *     version 1 | flags 1 | since 8 | seen 8 | from 8 | [incarnation 8 | length 1 | node] | class */
enum {
    SESSION_ROW_BYTES_LEAST = 2 + 3 * ROW_NUMBER_BYTES,
    SESSION_ROW_OF_CLUSTER  = 2,  /* version */
    SESSION_IS_ENDED        = 1,  /* flags */
    SESSION_IS_ROAMING      = 2,
};

void session_row_put(struct buf *buf, const struct session_row *row)
{
    bool has_node = row->node.len > 0;

    must(row->node.len <= DEVICE_NODE_BYTES_MAX);
    buf_putc(buf, has_node ? SESSION_ROW_OF_CLUSTER : ROW_VERSION);
    buf_putc(buf, (char)((row->is_ended ? SESSION_IS_ENDED : 0) | (has_node && row->is_roaming ? SESSION_IS_ROAMING : 0)));
    row_put_number(buf, (uint64_t)row->since);
    row_put_number(buf, (uint64_t)row->seen);
    row_put_number(buf, row->from);
    if (has_node) {
        row_put_number(buf, row->incarnation);
        buf_putc(buf, (char)row->node.len);
        buf_put(buf, row->node);
    }
    buf_put(buf, row->device_class);
}

/* Takes the node off `rest`, which begins with it. */
static bool session_row_get_node(struct span *rest, struct session_row *ret)
{
    if (rest->len < ROW_NUMBER_BYTES + 1)
        return false;
    ret->incarnation = row_get_number(rest->at);
    size_t len       = (unsigned char)rest->at[ROW_NUMBER_BYTES];
    *rest            = span_skip(*rest, ROW_NUMBER_BYTES + 1);
    if (len == 0 || len > DEVICE_NODE_BYTES_MAX || len > rest->len)
        return false;
    ret->node = span_head(*rest, len);
    *rest     = span_skip(*rest, len);
    return true;
}

bool session_row_get(struct span value, struct session_row *ret)
{
    if (value.len < SESSION_ROW_BYTES_LEAST || value.at[0] < ROW_VERSION || value.at[0] > SESSION_ROW_OF_CLUSTER)
        return false;
    bool        has_node = value.at[0] == SESSION_ROW_OF_CLUSTER;
    unsigned    flags    = (unsigned char)value.at[1];
    struct span rest     = span_skip(value, SESSION_ROW_BYTES_LEAST);
    uint64_t    since    = row_get_number(value.at + 2), seen = row_get_number(value.at + 2 + ROW_NUMBER_BYTES);
    if (since > (uint64_t)SESSION_TIME_MAX || seen > (uint64_t)SESSION_TIME_MAX)
        return false;
    if (flags > (has_node ? SESSION_IS_ENDED | SESSION_IS_ROAMING : SESSION_IS_ENDED))
        return false;
    *ret = (struct session_row){
        .since      = (msec)since,
        .seen       = (msec)seen,
        .from       = row_get_number(value.at + 2 + 2 * ROW_NUMBER_BYTES),
        .is_ended   = (flags & SESSION_IS_ENDED) != 0,
        .is_roaming = (flags & SESSION_IS_ROAMING) != 0,
    };
    if (has_node && !session_row_get_node(&rest, ret))
        return false;
    ret->device_class = rest;
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
