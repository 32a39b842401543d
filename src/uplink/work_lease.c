#include "uplink/work_lease.h"

#include "base/hash.h"
#include "message/slot.h"

enum { ROW_VERSION = 1, NUMBER_BYTES = 8 };

/* --- bytes -------------------------------------------------------------------------------------------------------- */

static void work_put_number(struct buf *buf, uint64_t number)
{
    for (int shift = 56; shift >= 0; shift -= 8)
        buf_putc(buf, (char)(number >> shift));
}

/* False: there are too few bytes. */
static bool work_take_number(struct span *rest, uint64_t *ret)
{
    uint64_t number = 0;

    if (rest->len < NUMBER_BYTES)
        return false;
    for (int i = 0; i < NUMBER_BYTES; i++)
        number = number << 8 | (unsigned char)rest->at[i];
    *rest = span_skip(*rest, NUMBER_BYTES);
    *ret  = number;
    return true;
}

static bool work_take_version(struct span *rest)
{
    if (rest->len == 0 || rest->at[0] != ROW_VERSION)
        return false;
    *rest = span_skip(*rest, 1);
    return true;
}

void work_lease_put_key(struct buf *buf, struct span forwarder, unsigned part)
{
    must(forwarder.len <= FORWARDER_NAME_BYTES_MAX && part < FORWARDER_PARTS);
    buf_put(buf, forwarder);
    buf_putf(buf, "/%u", part);
}

void cursor_put_key(struct buf *buf, struct span forwarder, unsigned part, struct span channel)
{
    work_lease_put_key(buf, forwarder, part);
    buf_putc(buf, '\0');
    buf_put(buf, channel);
}

void cursor_row_put(struct buf *buf, const struct cursor_row *row)
{
    buf_putc(buf, ROW_VERSION);
    work_put_number(buf, row->epoch);
    work_put_number(buf, row->seq);
    work_put_number(buf, row->last);
    work_put_number(buf, (uint64_t)row->planned);
    buf_putc(buf, row->is_changed);
}

bool cursor_row_get(struct span value, struct cursor_row *ret)
{
    struct cursor_row row;
    uint64_t          planned;

    if (!work_take_version(&value) || !work_take_number(&value, &row.epoch) || !work_take_number(&value, &row.seq) ||
        !work_take_number(&value, &row.last) || !work_take_number(&value, &planned) || value.len < 1)
        return false;
    row.planned    = (msec)planned;
    row.is_changed = value.at[0] != 0;
    if (row.last != 0 && row.last <= row.seq)
        return false;
    *ret = row;
    return true;
}

void lease_row_put(struct buf *buf, const struct lease_row *row)
{
    must(row->node.len <= NODE_RECORD_NAME_MAX);
    buf_putc(buf, ROW_VERSION);
    work_put_number(buf, row->incarnation);
    buf_putc(buf, (char)row->node.len);
    buf_put(buf, row->node);
}

bool lease_row_get(struct span value, struct lease_row *ret)
{
    struct lease_row row;

    if (!work_take_version(&value) || !work_take_number(&value, &row.incarnation) || value.len < 1)
        return false;
    size_t len = (unsigned char)value.at[0];
    value      = span_skip(value, 1);
    if (len > value.len || len > NODE_RECORD_NAME_MAX)
        return false;
    row.node = span_head(value, len);
    *ret     = row;
    return true;
}

/* --- decisions ---------------------------------------------------------------------------------------------------- */

unsigned work_lease_part(struct span channel)
{
    struct span head = SPAN("sys:events/");
    uint64_t    number;

    if (span_starts(channel, head) && span_u64(span_skip(channel, head.len), &number))
        return (unsigned)(number % FORWARDER_PARTS);
    return slot_of_channel(channel) % FORWARDER_PARTS;
}

/* All nodes must compute the same number, so its key is no secret. */
static uint64_t owner_rank(const char *node, struct span forwarder, unsigned part)
{
    static const struct hash_key key = { 0x6c6f6e6777697265, 0x666f727761726473 };
    char                         text[NODE_RECORD_NAME_MAX + 1 + FORWARDER_NAME_BYTES_MAX + 8];
    size_t                       len = strlen(node) + 1;

    memcpy(text, node, len);
    memcpy(text + len, forwarder.at, forwarder.len);
    len += forwarder.len;
    text[len++] = (char)part;
    return hash_bytes(&key, span_of(text, len));
}

const struct registry_node *work_lease_owner(const struct registry *registry, struct span forwarder, unsigned part)
{
    const struct registry_node *best = NULL;
    uint64_t                    best_rank = 0;

    for (size_t i = 0; i < registry->count; i++) {
        const struct registry_node *node = &registry->nodes[i];
        if (node->state != NODE_UP || (node->record.roles & ROLE_FORWARD) == 0)
            continue;
        uint64_t rank = owner_rank(node->record.id.name, forwarder, part);
        if (best == NULL || rank > best_rank) {
            best      = node;
            best_rank = rank;
        }
    }
    return best;
}

static bool is_carried(const struct lease_row *row, const struct registry *registry, const struct node_id *self)
{
    const struct registry_node *node;

    if (row == NULL || registry == NULL || row->node.len == 0 || span_eq(row->node, span_str(self->name)))
        return false;
    node = registry_find(registry, row->node);
    return node != NULL && node->record.id.incarnation == row->incarnation && node->state != NODE_LOST;
}

enum work_lease_move work_lease_judge(const struct lease_row *row, const struct registry *registry, const struct node_id *self,
                                      msec wanted_ms)
{
    return is_carried(row, registry, self) && wanted_ms < WORK_LEASE_WAIT_MS ? WORK_LEASE_WAIT : WORK_LEASE_TAKE;
}
