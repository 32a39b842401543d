/* member_sweep.c - where the store is spread over several databases, the list of a group's members (MEMBER rows, in the group's slot) is
 * an index of the rows of its users (GROUP rows, in the users' slots), and is written after them. What a node that died owed to the
 * index is found here: a walk over all MEMBER rows, each held against its user's row, then one over all GROUP rows, each held against the
 * index, and so on without an end. A page a second; repairs one by one.
 *
 * What is repaired is written on conditions, so that a change that comes meanwhile stays: a row is deleted only as it was read, and
 * put only above an older one. A leave between the read of the user's row and the repair of the index leaves one row too many, which the
 * next round takes. */
#include <stdlib.h>

#include "base/must.h"
#include "device/group_spans.h"
#include "device/open_work.h"

enum { MEMBER_SWEEP_TICKS = 10, MEMBER_SWEEP_ROWS = 100, MEMBER_SWEEP_BYTES = 256 * 1024 };

/* A row of the page, and the key of the row that it is held against. */
struct member_pair {
    uint64_t generation;
    size_t   own_len, other_len;
    char     own[LEDGER_KEY_BYTES_MAX], other[LEDGER_KEY_BYTES_MAX];
};

struct member_sweep {
    struct device_read   read;
    struct device_write  write;
    struct ledger_change change;
    struct devices      *devices;
    enum row_kind        kind;   /* of the rows that are walked over: MEMBER or GROUP */
    struct buf           after;  /* where the next page begins; empty: at the first row */
    bool                 is_busy;
    size_t               count, repaired;
    struct member_pair   pairs[MEMBER_SWEEP_ROWS];
    struct ledger_key    keys[MEMBER_SWEEP_ROWS];
};

static enum row_kind other_kind(enum row_kind kind)
{
    return kind == ROW_MEMBER ? ROW_GROUP : ROW_MEMBER;
}

/* --- repairs ------------------------------------------------------------------------------------------------------ */

static void member_repair_next(struct member_sweep *sweep);

static void member_repaired(struct device_write *write)
{
    struct member_sweep *sweep = container_of(write, struct member_sweep, write);

    ledger_write_fini(&write->write);
    sweep->repaired++;
    member_repair_next(sweep);
}

static void member_repair_dropped(struct device_write *write)
{
    struct member_sweep *sweep = container_of(write, struct member_sweep, write);

    ledger_write_fini(&write->write);
    sweep->is_busy = false;
}

static struct ledger_change member_repair_of(const struct member_sweep *sweep, const struct member_pair *pair)
{
    if (sweep->kind == ROW_MEMBER)
        return (struct ledger_change){ .op = LEDGER_DELETE, .key = { ROW_MEMBER, span_of(pair->own, pair->own_len) },
                                       .is_conditional = true, .if_generation = pair->generation };
    return (struct ledger_change){ .op = LEDGER_RAISE, .key = { ROW_MEMBER, span_of(pair->other, pair->other_len) },
                                   .generation = pair->generation };
}

static void member_repair_next(struct member_sweep *sweep)
{
    if (sweep->repaired == sweep->count) {
        sweep->is_busy = false;
        return;
    }
    sweep->change = member_repair_of(sweep, &sweep->pairs[sweep->repaired]);
    sweep->write  = (struct device_write){ .done = member_repaired, .drop = member_repair_dropped,
                                           .write = { .changes = &sweep->change, .count = 1 } };
    device_write_send(sweep->devices, &sweep->write, WRITE_LAZY);
}

/* --- a page ------------------------------------------------------------------------------------------------------- */

static bool says_member(const struct ledger_row *row)
{
    struct group_spans spans;

    return row->generation != 0 && group_spans_get(row->value, &spans) && group_spans_is_member(&spans);
}

/* Do the two rows say the same? `other`: what a row of the page is held against. */
static bool pair_agrees(const struct member_sweep *sweep, const struct member_pair *pair, const struct ledger_row *other)
{
    return sweep->kind == ROW_MEMBER ? says_member(other) : other->generation >= pair->generation;
}

static void member_others_came(struct device_read *read)
{
    struct member_sweep *sweep = container_of(read, struct member_sweep, read);
    size_t               kept  = 0;

    for (size_t i = 0; i < sweep->count && i < read->read.row_count && read->read.rc == RC_OK; i++)
        if (!pair_agrees(sweep, &sweep->pairs[i], &read->read.rows[i]))
            sweep->pairs[kept++] = sweep->pairs[i];
    ledger_read_fini(&read->read);
    sweep->count    = kept;
    sweep->repaired = 0;
    member_repair_next(sweep);
}

/* The two names of the key change places. */
static void pair_add(struct member_sweep *sweep, const struct ledger_row *row)
{
    struct member_pair *pair = &sweep->pairs[sweep->count];
    struct span         rest = row->key, first = SPAN("");

    if (!span_cut(&rest, '\0', &first))
        return;
    pair->generation = row->generation;
    pair->own_len = pair->other_len = row->key.len;
    memcpy(pair->own, row->key.at, row->key.len);
    memcpy(pair->other, rest.at, rest.len);
    pair->other[rest.len] = '\0';
    memcpy(pair->other + rest.len + 1, first.at, first.len);
    sweep->keys[sweep->count++] = (struct ledger_key){ (uint8_t)other_kind(sweep->kind), span_of(pair->other, pair->other_len) };
}

static void member_page_came(struct device_read *read)
{
    struct member_sweep *sweep = container_of(read, struct member_sweep, read);
    const bool           is_ok = read->read.rc == RC_OK;

    sweep->count = 0;
    for (size_t i = 0; i < read->read.row_count && is_ok; i++)
        if (sweep->kind == ROW_MEMBER || says_member(&read->read.rows[i]))
            pair_add(sweep, &read->read.rows[i]);
    if (is_ok) {
        buf_clear(&sweep->after);
        buf_put(&sweep->after, read->read.next);
    }
    ledger_read_fini(&read->read);
    sweep->is_busy = sweep->count > 0;
    if (!sweep->is_busy)
        return;
    sweep->read.came = member_others_came;
    sweep->read.read = (struct ledger_read){ .way = LEDGER_GET, .keys = sweep->keys, .key_count = sweep->count,
                                             .bytes_max = MEMBER_SWEEP_BYTES };
    device_read_send(sweep->devices, &sweep->read);
}

static void member_ask_page(struct member_sweep *sweep)
{
    if (sweep->after.len == 0)
        sweep->kind = other_kind(sweep->kind);
    sweep->is_busy   = true;
    sweep->read.came = member_page_came;
    sweep->read.read = (struct ledger_read){ .way = LEDGER_SCAN, .kind = (uint8_t)sweep->kind, .after = buf_span(&sweep->after),
                                             .limit = MEMBER_SWEEP_ROWS, .bytes_max = MEMBER_SWEEP_BYTES };
    device_read_send(sweep->devices, &sweep->read);
}

void member_sweep_tick(struct devices *devices)
{
    if (!devices->limits.sweeps_members || devices->tick % MEMBER_SWEEP_TICKS != 0 || devices->pause_ticks > 0)
        return;
    if (devices->member_sweep == NULL) {
        devices->member_sweep = calloc(1, sizeof *devices->member_sweep);
        must(devices->member_sweep != NULL);
        devices->member_sweep->devices = devices;
        devices->member_sweep->kind    = ROW_GROUP;
        buf_init(&devices->member_sweep->after, LEDGER_KEY_BYTES_MAX);
    }
    if (!devices->member_sweep->is_busy)
        member_ask_page(devices->member_sweep);
}

void member_sweep_free(struct member_sweep *sweep)
{
    if (sweep == NULL)
        return;
    buf_fini(&sweep->after);
    free(sweep);
}
