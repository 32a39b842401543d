#include "device/occupancy_row.h"

#include "base/must.h"
#include "device/row_priv.h"

void occupancy_key_put(struct buf *key, unsigned log, struct span channel)
{
    buf_putf(key, "sys:events/%u", log);
    buf_putc(key, '\0');
    buf_put(key, channel);
}

struct span occupancy_key_channel(struct span key)
{
    struct span log;

    span_cut(&key, '\0', &log);
    return key;
}

void occupancy_value_begin(struct buf *value)
{
    buf_putc(value, ROW_VERSION);
}

void occupancy_value_add(struct buf *value, const struct occupancy_start *start)
{
    must(start->node.len <= UINT8_MAX);
    row_put_number(value, start->incarnation);
    row_put_number(value, (uint64_t)start->since);
    buf_putc(value, (char)start->node.len);
    buf_put(value, start->node);
}

bool occupancy_value_next(struct span *rest, bool *is_begun, struct occupancy_start *ret)
{
    const size_t head = 2 * ROW_NUMBER_BYTES + 1;

    if (!*is_begun) {
        if (rest->len == 0 || rest->at[0] != ROW_VERSION)
            return false;
        *rest     = span_skip(*rest, 1);
        *is_begun = true;
    }
    if (rest->len < head || rest->len < head + (unsigned char)rest->at[head - 1])
        return false;
    *ret = (struct occupancy_start){ .incarnation = row_get_number(rest->at),
                                     .since       = (msec)row_get_number(rest->at + ROW_NUMBER_BYTES),
                                     .node        = span_of(rest->at + head, (unsigned char)rest->at[head - 1]) };
    *rest = span_skip(*rest, head + ret->node.len);
    return true;
}
