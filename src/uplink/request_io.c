/* request_io.c - rows of requests: what is written in a turn goes to the ledger as one batch. Answers come on threads of the
 * store, and are posted to the writer's thread as commands. */
#include <stdlib.h>

#include "base/must.h"
#include "uplink/requests_priv.h"

enum { REQUEST_BATCH_CHANGES_MAX = 512, REQUEST_BATCH_BYTES_MAX = 4 * 1024 * 1024 };

struct request_batch {
    struct ledger_batch batch;
    struct command      command;
    struct requests    *requests;
};

static void lent_to_ledger(struct command *command)
{
    (void)command;
    must(!"requests take back what they lent to a store");
}

static void request_post(struct requests *requests, struct command *command)
{
    requests->setup.writer->port->post(requests->setup.writer->ctx, command);
}

static struct ledger *request_ledger(const struct requests *requests)
{
    return requests->setup.writer->durable.store->ledger;
}

/* --- reads ------------------------------------------------------------------------------------------------------ */

static void request_read_done(struct ledger_read *read)
{
    struct request_read *asked = container_of(read, struct request_read, read);
    request_post(asked->requests, &asked->command);
}

static void request_read_came(struct command *command, struct writer *writer)
{
    struct request_read *read = container_of(command, struct request_read, command);

    (void)writer;
    read->requests->away_count--;
    read->came(read);
}

static const struct command_kind request_read_kind = {
    .name = "request_read", .free = lent_to_ledger, .at_writer = request_read_came,
};

void request_read_send(struct requests *requests, struct request_read *read)
{
    request_read_send_at(requests, read, requests->setup.writer->wall);
}

void request_read_send_at(struct requests *requests, struct request_read *read, msec wall)
{
    struct ledger *ledger = request_ledger(requests);

    read->requests     = requests;
    read->command.kind = &request_read_kind;
    read->read.done    = request_read_done;
    read->read.wall    = wall;
    requests->away_count++;
    ledger->ops->read(ledger, &read->read);
}

/* --- writes ----------------------------------------------------------------------------------------------------- */

static void request_batch_done(struct ledger_batch *batch)
{
    struct request_batch *done = container_of(batch, struct request_batch, batch);
    request_post(done->requests, &done->command);
}

static void request_batch_came(struct command *command, struct writer *writer)
{
    struct request_batch *done     = container_of(command, struct request_batch, command);
    struct requests      *requests = done->requests;
    struct list          *at;

    (void)writer;
    must(requests->batch == done);
    requests->batch = NULL;
    requests->away_count--;
    while ((at = list_pop(&done->batch.writes)) != NULL) {
        struct request_write *write = container_of(container_of(at, struct ledger_write, link), struct request_write, write);
        write->done(write);
    }
    free(done);
}

static size_t request_batch_count(const struct command *command)
{
    return container_of(command, const struct request_batch, command)->batch.change_count;
}

static const struct command_kind request_batch_kind = {
    .name = "request_batch", .free = lent_to_ledger, .at_writer = request_batch_came, .ended_count = request_batch_count,
};

void request_write_put(struct requests *requests, struct list *line, struct request_write *write)
{
    must(write->write.count > 0 && write->write.count <= LEDGER_WRITE_COUNT_MAX);
    write->requests      = requests;
    write->write.outcome = LEDGER_WAITING;
    list_push(line, &write->in_line);
}

void request_write_send(struct requests *requests, struct request_write *write)
{
    request_write_put(requests, &requests->writes, write);
}

static size_t request_write_bytes(const struct ledger_write *write)
{
    size_t bytes = 0;

    for (size_t i = 0; i < write->count; i++)
        bytes += write->changes[i].key.bytes.len + write->changes[i].value.len;
    return bytes;
}

static void request_batch_fill(struct request_batch *batch, struct list *line)
{
    size_t bytes = 0;

    while (!list_is_empty(line) && batch->batch.change_count < REQUEST_BATCH_CHANGES_MAX && bytes < REQUEST_BATCH_BYTES_MAX) {
        struct request_write *write = container_of(list_pop(line), struct request_write, in_line);
        list_push(&batch->batch.writes, &write->write.link);
        batch->batch.change_count += write->write.count;
        bytes += request_write_bytes(&write->write);
    }
}

void request_io_submit(struct requests *requests)
{
    struct ledger *ledger = request_ledger(requests);
    struct list    claims;

    if (requests->batch != NULL || (list_is_empty(&requests->writes) && list_is_empty(&requests->claims)))
        return;
    struct request_batch *batch = calloc(1, sizeof *batch);
    must(batch != NULL);
    list_init(&batch->batch.writes);
    batch->requests     = requests;
    batch->command.kind = &request_batch_kind;
    batch->batch.done   = request_batch_done;
    batch->batch.wall   = requests->setup.writer->wall;
    list_init(&claims);
    request_groups_form(requests, &claims);
    request_batch_fill(batch, &claims);
    must(list_is_empty(&claims));  /* a CALLS row says what was so at the time of its batch */
    request_batch_fill(batch, &requests->writes);
    requests->batch = batch;
    requests->away_count++;
    ledger->ops->write(ledger, &batch->batch);
}
