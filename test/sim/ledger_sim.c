/* ledger_sim.c - rows of state beside the logs of the simulated disk: a maker of the ledger port (store/ledger.h).
 *
 * Each write is one record of the journal, and what an append carries stands in the record of its message: so a crash
 * keeps both or neither. Writes of a node complete in their order, its reads in any order. While the store is broken
 * every write is refused with LEDGER_BROKEN, one of them perhaps written; reads then fail, or tell the rows from before. */
#include <stdlib.h>

#include "base/must.h"
#include "store/ledger_page.h"
#include "store/ledger_rule.h"
#include "store_sim_priv.h"

static struct sim_port *port_of_ledger(struct ledger *ledger)
{
    return container_of(ledger, struct sim_port, ledger);
}

/* --- rows, as the journal says --- */

struct ledger_write *ledger_write_copy(const struct ledger_write *write)
{
    size_t bytes = sizeof *write + write->count * sizeof write->changes[0];

    for (size_t i = 0; i < write->count; i++)
        bytes += ledger_change_bytes(&write->changes[i]);
    struct ledger_write *copy = calloc(1, bytes);
    must(copy != NULL);
    copy->changes = (struct ledger_change *)(copy + 1);
    copy->count   = write->count;
    char *at      = (char *)(copy->changes + copy->count);
    for (size_t i = 0; i < copy->count; i++) {
        struct ledger_change *change = &copy->changes[i];
        *change                      = write->changes[i];
        memcpy(at, change->key.bytes.at, change->key.bytes.len);
        change->key.bytes.at = at;
        at += change->key.bytes.len;
        if (change->value.len > 0)
            memcpy(at, change->value.at, change->value.len);
        change->value.at = at;
        at += change->value.len;
    }
    return copy;
}

void rows_forget(struct store_sim *sim)
{
    ledger_mem_fini(&sim->rows);
    ledger_mem_fini(&sim->rows_shown);
    ledger_mem_init(&sim->rows, &sim->world->hash_key, SIZE_MAX, SIZE_MAX);
    ledger_mem_init(&sim->rows_shown, &sim->world->hash_key, SIZE_MAX, SIZE_MAX);
    sim->shown_count = 0;
}

void rows_apply(struct ledger_mem *rows, const struct record *record)
{
    if (record->write != NULL)
        ledger_mem_apply(rows, record->write, record->message == NULL ? 0 : record->message->seq, record->wall);
}

/* --- what appends carry --- */

bool rows_carried_hold(struct store_sim *sim, struct append *append, msec wall)
{
    ledger_carried_check(append->write);
    if (sim->world->plant_write != NULL)
        sim->world->plant_write(sim->world, append->write);
    bool holds = ledger_mem_judge(&sim->rows, append->write, wall) == LEDGER_DONE;

    if (!holds)
        append->outcome = APPEND_STALE;
    return holds;
}

void rows_carried_fail(struct ledger_write *write)
{
    if (write->outcome == LEDGER_STALE)
        ledger_write_fini(write);
    write->outcome = LEDGER_WAITING;
}

/* --- writes --- */

static void row_write(struct store_sim *sim, struct ledger_write *write, msec wall)
{
    if (sim->world->plant_write != NULL)
        sim->world->plant_write(sim->world, write);
    write->outcome = ledger_mem_judge(&sim->rows, write, wall);
    if (write->outcome == LEDGER_DONE)
        sim_write(sim, (struct record){ .write = ledger_write_copy(write), .wall = wall, .is_synced = true });
}

/* Does a write before this one, in the same batch, change this row, too? */
static bool row_changes_before(const struct ledger_batch *batch, const struct ledger_write *write, const struct ledger_key *key)
{
    for (struct list *link = batch->writes.next; link != &write->link; link = link->next) {
        const struct ledger_write *before = container_of(link, struct ledger_write, link);
        for (size_t i = 0; i < before->count; i++)
            if (before->changes[i].key.kind == key->kind && span_eq(before->changes[i].key.bytes, key->bytes))
                return true;
    }
    return false;
}

/* Who is sure knows what the row was before the batch. */
static void sure_judge(struct store_sim *sim, const struct ledger_batch *batch, const struct ledger_write *write)
{
    if (write->outcome != LEDGER_STALE)
        return;
    const struct ledger_change *change = &write->changes[write->stale_at];
    promise(sim->world, !change->is_sure || row_changes_before(batch, write, &change->key),
            "a condition that the writer was sure of holds: generation %llu, not %llu",
            (unsigned long long)change->if_generation, (unsigned long long)write->now.generation);
}

static void row_batch_write(struct store_sim *sim, struct ledger_batch *batch)
{
    for (struct list *link = batch->writes.next; link != &batch->writes; link = link->next) {
        struct ledger_write *write = container_of(link, struct ledger_write, link);
        row_write(sim, write, batch->wall);
        sure_judge(sim, batch, write);
    }
}

static void row_batch_fail(struct ledger_batch *batch, enum ledger_outcome outcome)
{
    for (struct list *link = batch->writes.next; link != &batch->writes; link = link->next) {
        struct ledger_write *write = container_of(link, struct ledger_write, link);
        rows_carried_fail(write);
        write->outcome = outcome;
    }
}

static void row_batch_break(struct store_sim *sim, struct ledger_batch *batch)
{
    bool is_written = one_in(sim->world, OF_DISK, 2);

    sim_begin_broken(sim);
    if (is_written)
        row_batch_write(sim, batch);
    tell(sim->world, "disk: sync of %zu changes of rows failed, they are %s", batch->change_count,
         is_written ? "written" : "lost");
    row_batch_fail(batch, LEDGER_BROKEN);
}

/* A write that its node has given up. */
struct late_rows {
    struct list          link;
    struct ledger_write *write;  /* owned */
    msec                 due, wall;
};

static void late_rows_free(struct late_rows *late)
{
    ledger_write_fini(late->write);
    free(late->write);
    free(late);
}

static void row_batch_put_late(struct sim_port *port, const struct ledger_batch *batch)
{
    struct world *world = port->sim->world;
    msec          due   = world->now + (msec)draw(world, OF_DISK, LATE_COMMIT_MS_MAX);

    for (const struct list *link = batch->writes.next; link != &batch->writes; link = link->next) {
        struct late_rows *late = calloc(1, sizeof *late);
        must(late != NULL);
        late->write = ledger_write_copy(container_of(link, struct ledger_write, link));
        late->due   = due;
        late->wall  = batch->wall;
        list_push(&port->late_rows, &late->link);
    }
}

static void port_turn_late_rows(struct sim_port *port)
{
    struct store_sim *sim = port->sim;
    struct list      *link;

    while (!sim->is_broken && (link = port->late_rows.next) != &port->late_rows) {
        struct late_rows *late = container_of(link, struct late_rows, link);
        if (late->due > sim->world->now)
            return;
        list_take(link);
        row_write(sim, late->write, late->wall);
        tell(sim->world, "disk: rows of node %u come late", port->node);
        late_rows_free(late);
        sim_show(sim);
    }
}

void ledger_port_drop_late(struct sim_port *port)
{
    struct list *link;

    while ((link = list_pop(&port->late_rows)) != NULL)
        late_rows_free(container_of(link, struct late_rows, link));
}

/* The node's connection is lost while it commits. */
static void row_batch_lose(struct sim_port *port, struct ledger_batch *batch)
{
    struct world *world      = port->sim->world;
    bool          is_late    = world->has_late_rows && one_in(world, OF_DISK, 2);
    bool          is_written = !is_late && one_in(world, OF_DISK, 2);

    if (is_written)
        row_batch_write(port->sim, batch);
    if (is_late)
        row_batch_put_late(port, batch);
    sim_show(port->sim);
    tell(world, "disk: node %u loses its connection, %zu changes of rows are %s", port->node, batch->change_count,
         is_late ? "still to come" : is_written ? "written" : "lost");
    row_batch_fail(batch, world->calls_unknown_undone ? LEDGER_AWAY : LEDGER_BROKEN);
}

static void row_batch_finish(struct sim_port *port, struct ledger_batch *batch)
{
    struct store_sim *sim   = port->sim;
    struct world     *world = sim->world;

    if (sim->is_broken) {
        row_batch_fail(batch, LEDGER_BROKEN);
    } else if (port_is_away(port)) {
        row_batch_fail(batch, LEDGER_AWAY);
    } else if (sim->full_until > world->now) {
        row_batch_fail(batch, LEDGER_NO_SPACE);
    } else if (world->faults.broken && !world->is_healing && one_in(world, OF_DISK, 15)) {
        row_batch_break(sim, batch);
    } else if (world->faults.unknown && !world->is_healing && one_in(world, OF_DISK, 15)) {
        row_batch_lose(port, batch);
    } else {
        row_batch_write(sim, batch);
        sim_show(sim);
    }
    batch->done(batch);
}

static msec row_delay(struct sim_port *port)
{
    struct world *world = port->sim->world;

    if (world->faults.stuck && !world->is_healing && one_in(world, OF_DISK, 25))
        return (msec)draw(world, OF_DISK, STUCK_MS_MAX);
    bool is_slow = world->faults.slow_sync && one_in(world, OF_DISK, 3);
    return (msec)draw(world, OF_DISK, is_slow ? SYNC_SLOW_MS : SYNC_MS);
}

static bool port_is_busy(const struct sim_port *port)
{
    struct world *world = port->sim->world;

    return world->faults.tight && !world->is_healing && one_in(world, OF_DISK, 10);
}

static void row_batch_take(struct ledger *ledger, struct ledger_batch *batch)
{
    struct sim_port *port = port_of_ledger(ledger);

    ledger_batch_check(batch);
    if (port_is_cut(port) || port_is_busy(port)) {
        row_batch_fail(batch, port_is_cut(port) ? LEDGER_AWAY : LEDGER_BUSY);
        batch->done(batch);
        return;
    }
    if (list_is_empty(&port->row_batches))
        port->row_due = port->sim->world->now + row_delay(port);
    list_push(&port->row_batches, &batch->link);
}

/* --- reads --- */

struct short_read {
    struct ledger_read read;
    bool               is_done;
};

static void short_read_done(struct ledger_read *read)
{
    container_of(read, struct short_read, read)->is_done = true;
}

static void row_read_copy(struct ledger_read *to, const struct ledger_read *from)
{
    to->rc        = from->rc;
    to->rows      = from->rows;
    to->row_count = from->row_count;
    to->next      = from->next;
    to->bytes     = from->bytes;
}

/* A page may be shorter than what was asked for. */
static void row_read_short(struct ledger_mem *rows, struct ledger_read *read, struct world *world)
{
    struct short_read mine = { .read = *read };

    mine.read.done = short_read_done;
    if (read->way == LEDGER_SCAN)
        mine.read.limit = 1 + (uint32_t)draw(world, OF_DISK, read->limit);
    else if (read->key_count > 0)
        mine.read.key_count = 1 + draw(world, OF_DISK, read->key_count);
    rows->ledger.ops->read(&rows->ledger, &mine.read);
    must(mine.is_done);
    row_read_copy(read, &mine.read);
    read->done(read);
}

/* A planted bug stands between the rows and who asks for them. */
static void row_read_whole(struct ledger_mem *rows, struct ledger_read *read, struct world *world)
{
    if (world->plant_read == NULL) {
        rows->ledger.ops->read(&rows->ledger, read);
        return;
    }
    struct short_read mine = { .read = *read };
    mine.read.done = short_read_done;
    rows->ledger.ops->read(&rows->ledger, &mine.read);
    must(mine.is_done);
    row_read_copy(read, &mine.read);
    world->plant_read(world, read);
    read->done(read);
}

static void row_read_finish(struct sim_port *port, struct ledger_read *read)
{
    struct store_sim *sim   = port->sim;
    struct world     *world = sim->world;

    if (sim->io_until > world->now || port_is_away(port) ||
        (sim->is_broken && one_in(world, OF_DISK, 2))) {
        ledger_read_refuse(read, RC_IO);
        read->done(read);
    } else if (world->faults.tight && one_in(world, OF_DISK, 2)) {
        row_read_short(&sim->rows_shown, read, world);
    } else {
        row_read_whole(&sim->rows_shown, read, world);
    }
}

static void row_read_take(struct ledger *ledger, struct ledger_read *read)
{
    struct sim_port *port  = port_of_ledger(ledger);
    struct world    *world = port->sim->world;

    ledger_read_check(read);
    if (port_is_cut(port)) {
        ledger_read_refuse(read, RC_IO);
        read->done(read);
    } else if (port->is_opening) {
        port->sim->rows.ledger.ops->read(&port->sim->rows.ledger, read);
    } else {
        if (list_is_empty(&port->row_reads))
            port->row_read_due = world->now + (msec)draw(world, OF_DISK, READ_MS);
        list_push(&port->row_reads, &read->link);
    }
}

static struct ledger_read *port_pop_row_read(struct sim_port *port)
{
    struct list *link = port->row_reads.next;

    while (link->next != &port->row_reads && one_in(port->sim->world, OF_DISK, 2))
        link = link->next;
    list_take(link);
    return container_of(link, struct ledger_read, link);
}

/* --- the port --- */

static const struct ledger_ops ledger_sim_ops = { .name = "sim", .write = row_batch_take, .read = row_read_take };

void ledger_port_init(struct sim_port *port)
{
    port->ledger       = (struct ledger){ &ledger_sim_ops };
    port->store.ledger = &port->ledger;
    list_init(&port->row_batches);
    list_init(&port->row_reads);
    list_init(&port->late_rows);
}

void ledger_port_turn(struct sim_port *port)
{
    msec         now = port->sim->world->now;
    struct list *link;

    port_turn_late_rows(port);
    while (port->row_due <= now && (link = list_pop(&port->row_batches)) != NULL)
        row_batch_finish(port, container_of(link, struct ledger_batch, link));
    while (port->row_read_due <= now && !list_is_empty(&port->row_reads))
        row_read_finish(port, port_pop_row_read(port));
}

void ledger_port_cut(struct sim_port *port, bool is_kept)
{
    struct store_sim *sim = port->sim;
    struct list      *link;

    while ((link = list_pop(&port->row_batches)) != NULL) {
        struct ledger_batch *batch = container_of(link, struct ledger_batch, link);
        is_kept                    = is_kept && one_in(sim->world, OF_DISK, 2);
        if (is_kept)
            row_batch_write(sim, batch);
        tell(sim->world, "disk: %zu changes of rows under way are %s", batch->change_count,
             is_kept ? "written, unanswered" : "lost");
        row_batch_fail(batch, LEDGER_BROKEN);
        batch->done(batch);
    }
    while ((link = list_pop(&port->row_reads)) != NULL) {
        struct ledger_read *read = container_of(link, struct ledger_read, link);
        ledger_read_refuse(read, RC_IO);
        read->done(read);
    }
}

bool ledger_port_is_idle(const struct sim_port *port)
{
    return list_is_empty(&port->row_batches) && list_is_empty(&port->row_reads) && list_is_empty(&port->late_rows);
}

/* --- the truth --- */

uint64_t store_sim_row(struct store_sim *sim, uint8_t kind, struct span key, struct buf *value)
{
    const struct ledger_key name = { kind, key };
    struct short_read       mine = { .read = { .way = LEDGER_GET, .keys = &name, .key_count = 1, .bytes_max = SIZE_MAX,
                                               .wall = world_wall(sim->world), .done = short_read_done } };

    sim->rows.ledger.ops->read(&sim->rows.ledger, &mine.read);
    must(mine.is_done && mine.read.row_count == 1);
    uint64_t generation = mine.read.rows[0].generation;
    buf_put(value, mine.read.rows[0].value);
    ledger_read_fini(&mine.read);
    return generation;
}
