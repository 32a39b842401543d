/* device_io.c - questions of the devices to the ledger and the stores, and batches of writes. Answers come on threads of
 * the store, and are posted to the writer's thread as commands. */
#include <stdlib.h>

#include "base/must.h"
#include "device/devices_priv.h"

enum {
    BATCH_CHANGES_MAX = 256,  /* of one batch; a commit with more would hold up the appends of its group */
    PAUSE_TICKS       = 10,   /* after the ledger has refused */
};

static void never_freed(struct command *command)
{
    (void)command;
    must(!"the devices take back what they lent to a store");
}

static void device_post(struct devices *devices, struct command *command)
{
    devices->writer->port->post(devices->writer->ctx, command);
}

static struct ledger *device_ledger(const struct devices *devices)
{
    return devices->writer->durable.store->ledger;
}

/* --- reads --- */

static void device_read_done(struct ledger_read *read)
{
    struct device_read *asked = container_of(read, struct device_read, read);
    device_post(asked->devices, &asked->command);
}

static void device_read_came(struct command *command, struct writer *writer)
{
    struct device_read *read = container_of(command, struct device_read, command);

    (void)writer;
    must(read->devices->read_count > 0);
    read->devices->read_count--;
    read->came(read);
}

static const struct command_kind device_read_kind = {
    .name = "device_read", .free = never_freed, .at_writer = device_read_came,
};

void device_read_send(struct devices *devices, struct device_read *read)
{
    struct ledger *ledger = device_ledger(devices);

    read->devices      = devices;
    read->command.kind = &device_read_kind;
    read->read.done    = device_read_done;
    read->read.wall    = devices->writer->wall;
    devices->read_count++;
    ledger->ops->read(ledger, &read->read);
}

/* --- rounds --- */

static void device_round_done(struct ledger_round *round)
{
    struct device_round *asked = container_of(round, struct device_round, round);
    device_post(asked->devices, &asked->command);
}

static void device_round_came(struct command *command, struct writer *writer)
{
    struct device_round *round = container_of(command, struct device_round, command);

    must(round->devices->read_count > 0);
    round->devices->read_count--;
    writer_note_heads(writer, &round->round.heads);
    round->came(round);
}

static const struct command_kind device_round_kind = {
    .name = "device_round", .free = never_freed, .at_writer = device_round_came,
};

void device_round_send(struct devices *devices, struct device_round *round)
{
    round->devices          = devices;
    round->command.kind     = &device_round_kind;
    round->round.done       = device_round_done;
    round->round.heads.wall = devices->writer->wall;
    for (size_t i = 0; i < round->round.read_count; i++)
        round->round.of[i].read.wall = devices->writer->wall;
    devices->read_count++;
    ledger_round_ask(devices->writer->durable.store, &round->round);
}

/* --- heads --- */

static void device_heads_done(struct store_heads *question)
{
    struct device_heads *heads = container_of(question, struct device_heads, heads);
    device_post(heads->devices, &heads->command);
}

static void device_heads_came(struct command *command, struct writer *writer)
{
    struct device_heads *heads = container_of(command, struct device_heads, command);

    must(heads->devices->read_count > 0);
    heads->devices->read_count--;
    writer_note_heads(writer, &heads->heads);
    heads->came(heads);
}

static const struct command_kind device_heads_kind = {
    .name = "device_heads", .free = never_freed, .at_writer = device_heads_came,
};

void device_heads_send(struct devices *devices, struct store *store, struct device_heads *heads)
{
    heads->devices      = devices;
    heads->command.kind = &device_heads_kind;
    heads->heads.done   = device_heads_done;
    heads->heads.wall   = devices->writer->wall;
    devices->read_count++;
    store->ops->heads(store, &heads->heads);
}

/* --- writes --- */

struct device_batch {
    struct ledger_batch batch;
    struct command      command;
    struct devices     *devices;
};

static bool is_refusal(enum ledger_outcome outcome)
{
    return outcome != LEDGER_DONE && outcome != LEDGER_STALE;
}

/* store/ledger.h: what became of a write that ended as LEDGER_BROKEN is settled once a later one ends as DONE or STALE. */
static void note_settled(struct devices *devices, enum ledger_outcome outcome)
{
    if (outcome == LEDGER_BROKEN)
        devices->is_unsettled = true;
    else if (!is_refusal(outcome))
        devices->is_unsettled = false;
}

static void device_batch_done(struct ledger_batch *batch)
{
    struct device_batch *done = container_of(batch, struct device_batch, batch);
    device_post(done->devices, &done->command);
}

static void device_batch_came(struct command *command, struct writer *writer)
{
    struct device_batch *done    = container_of(command, struct device_batch, command);
    struct devices      *devices = done->devices;
    struct list         *at;
    bool                 is_refused = false;

    (void)writer;
    must(devices->batch == done);
    devices->batch = NULL;
    while ((at = list_pop(&done->batch.writes)) != NULL) {
        struct device_write *write = container_of(container_of(at, struct ledger_write, link), struct device_write, write);
        if (is_refusal(write->write.outcome)) {
            devices->pause_ticks  = PAUSE_TICKS;
            devices->refused_with = write->write.outcome;
            is_refused            = true;
        }
        note_settled(devices, write->write.outcome);
        write->done(write);
    }
    free(done);
    if (is_refused)
        device_opens_refused(devices);
}

static const struct command_kind device_batch_kind = {
    .name = "device_batch", .free = never_freed, .at_writer = device_batch_came,
};

void device_write_send(struct devices *devices, struct device_write *write, enum device_urgency urgency)
{
    must(write->write.count > 0 && write->write.count <= LEDGER_WRITE_COUNT_MAX);
    write->devices = devices;
    list_push(urgency == WRITE_URGENT ? &devices->urgent : &devices->lazy, &write->in_line);
}

static void batch_fill(struct device_batch *batch, struct list *line)
{
    while (!list_is_empty(line) && batch->batch.change_count < BATCH_CHANGES_MAX) {
        struct device_write *write = container_of(list_pop(line), struct device_write, in_line);
        write->write.outcome       = LEDGER_WAITING;
        list_push(&batch->batch.writes, &write->write.link);
        batch->batch.change_count += write->write.count;
    }
}

void device_io_submit(struct devices *devices)
{
    struct ledger *ledger = device_ledger(devices);

    if (devices->batch != NULL || (list_is_empty(&devices->urgent) && list_is_empty(&devices->lazy)))
        return;
    struct device_batch *batch = calloc(1, sizeof *batch);
    must(batch != NULL);
    list_init(&batch->batch.writes);
    batch->devices       = devices;
    batch->command.kind  = &device_batch_kind;
    batch->batch.done    = device_batch_done;
    batch->batch.wall    = devices->writer->wall;
    batch->batch.is_lazy = list_is_empty(&devices->urgent);
    batch_fill(batch, &devices->urgent);
    batch_fill(batch, &devices->lazy);
    devices->batch = batch;
    ledger->ops->write(ledger, &batch->batch);
}

void device_writes_drop(struct list *line)
{
    struct list *at;

    while ((at = list_pop(line)) != NULL) {
        struct device_write *write = container_of(at, struct device_write, in_line);
        write->drop(write);
    }
}
