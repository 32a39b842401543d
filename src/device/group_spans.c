#include "device/group_spans.h"

#include "base/must.h"
#include "device/row_priv.h"

static struct group_span *last_span(struct group_spans *row)
{
    return &row->spans[row->count - 1];
}

bool group_spans_join(struct group_spans *row, uint64_t epoch, uint64_t head)
{
    if (group_spans_is_member(row))
        return false;
    /* Nothing was published between leave and join: it is as if the user had stayed. */
    if (row->count > 0 && last_span(row)->epoch == epoch && last_span(row)->until >= head) {
        last_span(row)->until  = GROUP_SPAN_OPEN;
        last_span(row)->joined = 0;
        return true;
    }
    if (row->count == GROUP_SPANS_MAX)
        memmove(&row->spans[0], &row->spans[1], --row->count * sizeof row->spans[0]);
    row->spans[row->count++] = (struct group_span){ epoch, head, GROUP_SPAN_OPEN, 0 };
    return true;
}

bool group_spans_leave(struct group_spans *row, uint64_t epoch, uint64_t head, uint64_t joined)
{
    if (!group_spans_is_member(row))
        return false;
    struct group_span *span = last_span(row);
    /* The log began anew, and a member gets that from its beginning. */
    if (span->epoch != epoch)
        *span = (struct group_span){ epoch, 0, head, 0 };
    else
        span->until = head > span->after ? head : span->after;
    span->joined = joined;
    return true;
}

static uint64_t span_next(const struct group_span *span, uint64_t epoch, uint64_t seq)
{
    if (span->epoch != epoch)
        return span->until == GROUP_SPAN_OPEN ? seq : 0;
    if (seq <= span->after)
        seq = span->after + 1;
    return seq <= span->until ? seq : 0;
}

uint64_t group_spans_next(const struct group_spans *row, uint64_t epoch, uint64_t seq)
{
    for (size_t i = 0; i < row->count; i++) {
        uint64_t next = span_next(&row->spans[i], epoch, seq);
        if (next != 0)
            return next;
    }
    return 0;
}

bool group_spans_have_rest(const struct group_spans *row, uint64_t epoch, uint64_t seq)
{
    const struct group_span *last = row->count == 0 ? NULL : &row->spans[row->count - 1];

    return group_spans_is_member(row) && (last->epoch != epoch || seq > last->after);
}

/* The seq in the user's log of the first message that is known to stand behind the span's end: it says the end of the last
 * one, or the beginning of the next. */
static uint64_t told_behind(const struct group_spans *row, size_t at, uint64_t generation)
{
    bool is_last = at + 1 == row->count, is_next_open = at + 2 == row->count && group_spans_is_member(row);

    return is_last || is_next_open ? generation : row->spans[at + 1].joined;
}

bool group_spans_first(const struct group_spans *row, uint64_t generation, uint64_t seen, struct group_span *ret)
{
    for (size_t i = 0; i < row->count; i++) {
        const struct group_span *span    = &row->spans[i];
        if (span->after == span->until)
            continue;
        if (span->until == GROUP_SPAN_OPEN || told_behind(row, i, generation) > seen) {
            *ret = *span;
            return true;
        }
    }
    return false;
}

/* --- bytes ------------------------------------------------------------------------------------------------------
 *
 * Version, whether the last span is open, and the spans, the last one first. */

enum { HEAD_BYTES = 2, SPAN_BYTES = 4 * ROW_NUMBER_BYTES };

void group_spans_put(const struct group_spans *row, struct buf *buf)
{
    row_put_head(buf, group_spans_is_member(row));
    for (size_t i = row->count; i-- > 0;) {
        row_put_number(buf, row->spans[i].epoch);
        row_put_number(buf, row->spans[i].after);
        row_put_number(buf, row->spans[i].until);
        row_put_number(buf, row->spans[i].joined);
    }
}

static bool span_get(const char *at, struct group_span *ret, bool is_last)
{
    ret->epoch  = row_get_number(at);
    ret->after  = row_get_number(at + ROW_NUMBER_BYTES);
    ret->until  = row_get_number(at + 2 * ROW_NUMBER_BYTES);
    ret->joined = row_get_number(at + 3 * ROW_NUMBER_BYTES);
    return ret->after <= ret->until && (is_last || ret->until != GROUP_SPAN_OPEN);
}

bool group_spans_get(struct span value, struct group_spans *ret)
{
    struct group_spans row = { 0 };

    if (value.len < HEAD_BYTES + SPAN_BYTES || value.len > GROUP_SPANS_BYTES_MAX || value.at[0] != ROW_VERSION ||
        (value.len - HEAD_BYTES) % SPAN_BYTES != 0)
        return false;
    row.count = (value.len - HEAD_BYTES) / SPAN_BYTES;
    for (size_t i = 0; i < row.count; i++)
        if (!span_get(value.at + HEAD_BYTES + i * SPAN_BYTES, &row.spans[row.count - 1 - i], i == 0))
            return false;
    if (value.at[1] != (char)group_spans_is_member(&row))
        return false;
    *ret = row;
    return true;
}

/* --- keys ------------------------------------------------------------------------------------------------------- */

static struct span join_key(struct span one, struct span other, char *space)
{
    must(one.len > 0 && one.len + 1 + other.len <= LEDGER_KEY_BYTES_MAX && memchr(one.at, '\0', one.len) == NULL);
    memcpy(space, one.at, one.len);
    space[one.len] = '\0';
    if (other.len > 0)
        memcpy(space + one.len + 1, other.at, other.len);
    return span_of(space, one.len + 1 + other.len);
}

struct span group_key(struct span user, struct span group, char *space)
{
    return join_key(user, group, space);
}

struct span member_key(struct span group, struct span user, char *space)
{
    return join_key(group, user, space);
}

struct span member_prefix(struct span name, char *space)
{
    return join_key(name, SPAN(""), space);
}

struct span member_key_tail(struct span key)
{
    const char *mark = memchr(key.at, '\0', key.len);

    must(mark != NULL);
    return span_skip(key, (size_t)(mark - key.at) + 1);
}

struct span channel_own_name(const struct channel_name *channel)
{
    return span_skip(channel_name_span(channel), strlen(channel->space->name) + 1);
}
