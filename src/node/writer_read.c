/* writer_read.c - pages: from the tail if it has them, else from the store. */
#include "base/must.h"
#include "node/writer_priv.h"

static void read_done(struct store_read *read)
{
    struct read_command *command = container_of(read, struct read_command, read);
    command->writer->port->post(command->writer->ctx, &command->command);
}

static void writer_answer_read(struct writer *writer, struct read_command *asked)
{
    if (asked->settled != NULL)
        asked->settled(asked, writer);
    else
        writer_send_view(writer, &asked->command);
}

static void writer_read_came(struct writer *writer, struct read_command *asked)
{
    const struct store_read *read = &asked->read;
    struct tail             *tail = tails_find(&writer->tails, read->channel);

    must(writer->read_count > 0);
    writer->read_count--;
    if (tail != NULL && read->rc == RC_OK && read->epoch == tail->epoch && read->head > tail->head)
        writer_outdate(writer, tail);
    writer_answer_read(writer, asked);
}

/* Appends of other processes are sent only to writers with a loop that follows. Without one the tail may lack a
 * recall. */
static bool writer_tail_serves(struct writer *writer, const struct tail *tail)
{
    return tail != NULL && (tail->followers != 0 || writer_store_of(writer, tail->name)->store->has_one_writer);
}

static void writer_read_store(struct writer *writer, struct read_command *asked)
{
    struct store *store = writer_store_of(writer, asked->read.channel)->store;

    asked->is_done   = true;
    asked->writer    = writer;
    asked->read.done = read_done;
    writer->read_count++;
    store->ops->read(store, &asked->read);
}

void writer_take_read(struct command *command, struct writer *writer)
{
    struct read_command *asked = container_of(command, struct read_command, command);
    struct store_read   *read  = &asked->read;
    struct tail         *tail  = tails_find(&writer->tails, read->channel);

    if (asked->is_done) {
        writer_read_came(writer, asked);
    } else if (asked->source != READ_STORE && writer_tail_serves(writer, tail) && tail_read(tail, read)) {
        writer_answer_read(writer, asked);
    } else if (asked->source == READ_MEMORY && writer_store_of(writer, read->channel)->lane_count > 0) {
        read->rc = RC_BUSY;
        writer_answer_read(writer, asked);
    } else {
        writer_read_store(writer, asked);
    }
}
