/* event_row.c - the value is: version 1 | kind 1 | flags 1 | log 1 | time 8 | order 8 | text */
#include "device/event_row.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/must.h"
#include "device/row.h"
#include "device/row_priv.h"

enum { EVENT_VALUE_HEAD = 4 + 2 * ROW_NUMBER_BYTES };
enum { EVENT_TAKES_SEQ = 1, EVENT_IS_TASK = 2 };

uint64_t event_order_of(const struct event_facts *facts)
{
    static const struct hash_key fixed = { 1, 2 };  /* rows keep it, so that it is the same after a restart */

    return facts->user.len > 0 ? hash_bytes(&fixed, facts->user) : facts->connection;
}

/* --- writing ---------------------------------------------------------------------------------------------------- */

static void event_key_put(struct event_row *row, struct event_names *names, struct span owner)
{
    char       name[EVENT_NAME_BYTES + 1];
    struct buf key;
    int        len = snprintf(name, sizeof name, "%012llx%016llx%012llx", (unsigned long long)names->start & 0xffffffffffff,
                              (unsigned long long)names->incarnation, (unsigned long long)++names->number & 0xffffffffffff);

    must(len == EVENT_NAME_BYTES);
    buf_init(&key, sizeof row->key);
    row_key_put(&key, owner, span_of(name, EVENT_NAME_BYTES));
    must(!buf_is_over(&key));
    memcpy(row->key, key.at, key.len);
    row->key_len = key.len;
    buf_fini(&key);
}

static void event_value_begin(const struct event_row *row, struct buf *value)
{
    buf_init(value, sizeof row->value);
    buf_putc(value, ROW_VERSION);
    buf_putc(value, (char)__builtin_ctz((unsigned)row->kind));
    buf_putc(value, (char)((row->takes_seq ? EVENT_TAKES_SEQ : 0) | (row->is_task ? EVENT_IS_TASK : 0)));
    buf_putc(value, (char)row->log);
    row_put_number(value, (uint64_t)row->time);
    row_put_number(value, row->order);
}

static void event_value_end(struct event_row *row, struct buf *value)
{
    must(!buf_is_over(value));
    memcpy(row->value, value->at, value->len);
    row->value_len = value->len;
    row->text      = span_of(row->value + EVENT_VALUE_HEAD, value->len - EVENT_VALUE_HEAD);
    buf_fini(value);
}

void event_row_put(struct event_row *row, struct event_names *names, struct span owner, const struct event_facts *facts,
                   bool takes_seq, msec wall)
{
    struct buf value;

    row->kind      = facts->kind;
    row->log       = event_facts_log(facts);
    row->order     = event_order_of(facts);
    row->time      = wall;
    row->takes_seq = takes_seq;
    row->is_task   = false;
    event_key_put(row, names, owner);
    event_value_begin(row, &value);
    event_facts_put(&value, facts, row->time);
    event_value_end(row, &value);
}

void event_row_put_task(struct event_row *row, struct event_names *names, struct span owner, enum event_kind kind,
                        struct span channel, msec wall)
{
    struct buf value;

    *row = (struct event_row){ .kind = kind, .time = wall, .takes_seq = true, .is_task = true };
    event_key_put(row, names, owner);
    event_value_begin(row, &value);
    buf_put(&value, channel);
    event_value_end(row, &value);
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

bool event_row_get(struct event_row *row, struct span key, struct span value)
{
    if (key.len > sizeof row->key || value.len > sizeof row->value || value.len < EVENT_VALUE_HEAD ||
        value.at[0] != ROW_VERSION || (unsigned char)value.at[1] >= EVENT_KIND_COUNT || (value.at[2] & ~(EVENT_TAKES_SEQ | EVENT_IS_TASK)) != 0 ||
        (unsigned char)value.at[3] >= EVENT_LOGS || row_key_last(key).len != EVENT_NAME_BYTES)
        return false;
    if ((value.at[2] & EVENT_IS_TASK) == 0 && value.at[value.len - 1] != '}')
        return false;
    memcpy(row->key, key.at, key.len);
    memcpy(row->value, value.at, value.len);
    row->key_len   = key.len;
    row->value_len = value.len;
    row->kind      = (enum event_kind)(1 << value.at[1]);
    row->takes_seq = (value.at[2] & EVENT_TAKES_SEQ) != 0;
    row->is_task   = (value.at[2] & EVENT_IS_TASK) != 0;
    row->log       = (unsigned char)value.at[3];
    row->time      = (msec)row_get_number(row->value + 4);
    row->order     = row_get_number(row->value + 4 + ROW_NUMBER_BYTES);
    row->text      = span_of(row->value + EVENT_VALUE_HEAD, value.len - EVENT_VALUE_HEAD);
    return true;
}

struct span event_row_name(const struct event_row *row)
{
    return row_key_last(span_of(row->key, row->key_len));
}

bool event_row_is_of(const struct event_row *row, const struct event_names *names)
{
    char text[17];

    snprintf(text, sizeof text, "%016llx", (unsigned long long)names->incarnation);
    return span_eq(span_head(span_skip(event_row_name(row), 12), 16), span_of(text, 16));
}
