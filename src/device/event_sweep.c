/* event_sweep.c - rows of events that nobody writes any more: those of a server that has ended, and those for which there was no
 * room. A scan looks for them at the start, and each SWEEP_EACH_TICKS.
 *
 * In a cluster any node takes the rows of any other. Who made them may still be at it, so a row is left alone while it is young;
 * and if two take one, the idempotency key of its message lets it be written once. */
#include <stdlib.h>

#include "base/must.h"
#include "device/event_outbox_priv.h"
#include "device/row_kind.h"

enum {
    SWEEP_EACH_TICKS    = 300,
    SWEEP_AGAIN_TICKS   = 10,     /* another page, or after a refusal */
    SWEEP_EVENTS        = 200,
    SWEEP_EVENT_BYTES   = 512 * 1024,
    SWEEP_YOUNG_MS      = 30000,  /* rows of another node that may be at it */
    SWEEP_OWN_YOUNG_MS  = 60000,  /* rows of this one */
};

struct event_sweep {
    struct ledger_read   read;
    struct command       command;
    struct event_outbox *outbox;
    struct buf           after;    /* where the next page begins; empty: at the first row */
    uint32_t             wait;     /* ticks until the next one */
    bool                 is_busy;
};

static bool event_is_left_behind(const struct event_outbox *outbox, const struct event_row *row)
{
    msec age = outbox->writer->wall - row->time;

    if (event_row_is_of(row, &outbox->names))
        return age >= SWEEP_OWN_YOUNG_MS;
    return outbox->writer->cluster == NULL || age >= SWEEP_YOUNG_MS;
}

static void event_sweep_take(struct event_outbox *outbox, const struct ledger_row *found)
{
    struct event_row row;

    if (!event_row_get(&row, found->key, found->value) || !event_is_left_behind(outbox, &row))
        return;
    if (row.is_task && outbox->task_found == NULL)
        return;
    counter_add(&outbox->found, 1);
    if (row.is_task)
        outbox->task_found(outbox->task_ctx, &row, found->generation);
    else
        event_outbox_send(outbox, &row, found->generation);
}

static void event_sweep_done(struct ledger_read *read)
{
    struct event_sweep *sweep = container_of(read, struct event_sweep, read);

    sweep->outbox->writer->port->post(sweep->outbox->writer->ctx, &sweep->command);
}

static void event_sweep_came(struct command *command, struct writer *writer)
{
    struct event_sweep *sweep = container_of(command, struct event_sweep, command);
    struct ledger_read *read  = &sweep->read;

    writer->read_count--;
    sweep->is_busy = false;
    for (size_t i = 0; i < read->row_count; i++)
        event_sweep_take(sweep->outbox, &read->rows[i]);
    struct span next = read->next;
    sweep->wait      = read->rc == RC_OK && next.len == 0 ? SWEEP_EACH_TICKS : SWEEP_AGAIN_TICKS;
    if (read->rc == RC_OK || next.len > 0) {
        buf_clear(&sweep->after);
        buf_put(&sweep->after, next);
    }
    ledger_read_fini(read);
}

static const struct command_kind sweep_kind = { .name = "event sweep", .free = outbox_command_lent, .at_writer = event_sweep_came };

static void event_sweep_page(struct event_sweep *sweep)
{
    struct writer *writer = sweep->outbox->writer;
    struct ledger *ledger = writer->durable.store->ledger;

    sweep->is_busy = true;
    sweep->command = (struct command){ .kind = &sweep_kind };
    sweep->read    = (struct ledger_read){ .way = LEDGER_SCAN, .kind = ROW_EVENT, .prefix = SPAN(""), .after = buf_span(&sweep->after),
                                           .limit = SWEEP_EVENTS, .bytes_max = SWEEP_EVENT_BYTES, .wall = writer->wall,
                                           .done = event_sweep_done };
    writer->read_count++;
    ledger->ops->read(ledger, &sweep->read);
}

void event_sweep_tick(struct event_sweep *sweep)
{
    struct event_outbox *outbox = sweep->outbox;

    if (outbox->kinds == 0 || sweep->is_busy || outbox->writer->durable.store->ledger == NULL)
        return;
    if (sweep->wait > 0) {
        sweep->wait--;
        return;
    }
    if (counter_get(&outbox->waiting) < OUTBOX_BUSY)
        event_sweep_page(sweep);
}

struct event_sweep *event_sweep_new(struct event_outbox *outbox)
{
    struct event_sweep *sweep = calloc(1, sizeof *sweep);

    must(sweep != NULL);
    sweep->outbox = outbox;
    buf_init(&sweep->after, LEDGER_KEY_BYTES_MAX);
    return sweep;
}

void event_sweep_free(struct event_sweep *sweep)
{
    must(!sweep->is_busy);
    buf_fini(&sweep->after);
    free(sweep);
}
