/* link_row.c - the value is: version 1 | since 8 | length 1, node | length 1, user | length 1, device */
#include "device/link_row.h"

#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "device/row_priv.h"
#include "message/namespace.h"

enum { LINK_NUMBER_DIGITS = 16 };

/* --- keys ------------------------------------------------------------------------------------------------------- */

void link_row_prefix_put(struct buf *key, unsigned log)
{
    buf_putf(key, "sys:events/%u", log);
    buf_putc(key, '\0');
}

static void link_row_start_put(struct buf *key, unsigned log, uint64_t incarnation)
{
    link_row_prefix_put(key, log);
    buf_putf(key, "%016llx", (unsigned long long)incarnation);
}

void link_row_node_prefix_put(struct buf *key, unsigned log, uint64_t incarnation)
{
    link_row_start_put(key, log, incarnation);
    buf_putc(key, '\0');
}

void link_row_behind_put(struct buf *key, unsigned log, uint64_t incarnation)
{
    link_row_start_put(key, log, incarnation);
    buf_putc(key, '\1');
}

void link_row_key_put(struct buf *key, const struct link_row *row)
{
    link_row_node_prefix_put(key, row->log, row->incarnation);
    buf_putf(key, "%016llx", (unsigned long long)row->connection);
}

static bool link_number_get(struct span text, uint64_t *ret)
{
    char  digits[LINK_NUMBER_DIGITS + 1] = { 0 };
    char *end;

    if (text.len != LINK_NUMBER_DIGITS)
        return false;
    memcpy(digits, text.at, text.len);
    *ret = strtoull(digits, &end, 16);
    return *end == '\0';
}

static bool link_log_get(struct span text, unsigned *ret)
{
    uint64_t number;

    if (!span_starts(text, SPAN("sys:events/")) || !span_u64(span_skip(text, sizeof "sys:events/" - 1), &number) ||
        number >= EVENT_LOGS)
        return false;
    *ret = (unsigned)number;
    return true;
}

/* --- values ----------------------------------------------------------------------------------------------------- */

static void link_value_put_name(struct buf *value, struct span name)
{
    must(name.len <= UINT8_MAX);
    buf_putc(value, (char)name.len);
    buf_put(value, name);
}

void link_row_value_put(struct buf *value, const struct link_row *row)
{
    buf_putc(value, ROW_VERSION);
    row_put_number(value, (uint64_t)row->since);
    link_value_put_name(value, row->node);
    link_value_put_name(value, row->user);
    link_value_put_name(value, row->device);
}

static bool link_value_get_name(struct span *rest, struct span *ret)
{
    size_t len = rest->len == 0 ? 0 : (unsigned char)rest->at[0];

    if (rest->len < 1 + len)
        return false;
    *ret  = span_head(span_skip(*rest, 1), len);
    *rest = span_skip(*rest, 1 + len);
    return true;
}

bool link_row_get(struct span key, struct span value, struct link_row *ret)
{
    struct span log, start;

    *ret = (struct link_row){ 0 };
    if (!span_cut(&key, '\0', &log) || !span_cut(&key, '\0', &start) || !link_log_get(log, &ret->log) ||
        !link_number_get(start, &ret->incarnation) || !link_number_get(key, &ret->connection))
        return false;
    if (value.len <= ROW_NUMBER_BYTES || value.at[0] != ROW_VERSION)
        return true;
    ret->since = (msec)row_get_number(value.at + 1);
    value      = span_skip(value, 1 + ROW_NUMBER_BYTES);
    if (!link_value_get_name(&value, &ret->node) || !link_value_get_name(&value, &ret->user) ||
        !link_value_get_name(&value, &ret->device))
        ret->user = ret->device = SPAN("");
    return true;
}
