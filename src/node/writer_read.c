/* writer_read.c - pages: from the tail if it has them, else from the store. */
#include "base/must.h"
#include "node/writer_priv.h"

/* A read waits for the pages of others so often; where the log moves on each time, it goes to the store. */
enum { PAGE_WAITS_MAX = 3 };

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

/* --- many readers of one page ------------------------------------------------------------------------------------ */

/* Where a head was told instead of a message, each reader of the log asks for the page behind its place. A tail that is kept up to
 * date could answer them all, if it had the page. */
static bool read_may_share(struct writer *writer, const struct tail *tail, const struct read_command *asked)
{
    const struct store_read *read = &asked->read;

    return asked->source == READ_TAIL_OR_STORE && tail != NULL && tail->entry.followers != 0 && tail->ring == NULL &&
           read->way == READ_AFTER && read->limit > 0 && read->since == 0 && read->until == 0 && read->bound < tail->head &&
           asked->waits < PAGE_WAITS_MAX && writer_store_of(writer, tail->entry.name)->is_shared;
}

/* True: it waits for the page that is under way. Else it is the one that the others wait for. */
static bool writer_wait_for_page(struct writer *writer, struct tail *tail, struct read_command *asked)
{
    struct tail_owed *owed = tail_owe(&writer->tails, tail);

    if (!owed->is_read) {
        owed->is_read    = asked->is_shared = true;
        owed->read_after = asked->read.bound;
        return false;
    }
    if (asked->read.bound < owed->read_after)
        return false;
    asked->waits++;
    asked->command.mail.next = owed->readers;
    owed->readers            = &asked->command.mail;
    return true;
}

/* Whom the page does not serve asks the store for itself. */
static void writer_end_page(struct writer *writer, struct tail *tail, const struct store_read *read)
{
    struct mail *readers = tail->owed->readers;

    tail->owed->readers = NULL;
    tail->owed->is_read = false;
    tail_settle(tail);
    if (tail->entry.followers != 0)
        tail_fill(&writer->tails, tail, read);
    while (readers != NULL) {
        struct command *command = command_of(readers);
        readers                 = readers->next;
        writer_take_read(command, writer);
    }
}

/* --- reads ------------------------------------------------------------------------------------------------------------ */

static void writer_read_came(struct writer *writer, struct read_command *asked)
{
    const struct store_read *read = &asked->read;

    must(writer->read_count > 0);
    writer->read_count--;
    if (read->rc == RC_OK)
        writer_note_head(writer, read->channel, read->epoch, read->head);
    if (asked->is_shared) {
        struct tail *tail = tails_find(&writer->tails, read->channel);
        must(tail != NULL && tail->owed != NULL && tail->owed->is_read);
        writer_end_page(writer, tail, read);
        tail_let_go(&writer->tails, tail);
    }
    writer_answer_read(writer, asked);
}

/* Appends of other processes are sent only to writers with a loop that follows. Without one the tail may lack a
 * recall. */
static bool writer_tail_serves(struct writer *writer, const struct tail *tail)
{
    return tail != NULL && (tail->entry.followers != 0 || writer_store_of(writer, tail->entry.name)->store->has_one_writer);
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
    struct tail         *tail  = tails_look(&writer->tails, read->channel);

    if (asked->is_done) {
        writer_read_came(writer, asked);
    } else if (asked->source != READ_STORE && writer_tail_serves(writer, tail) && tail_read(tail, read)) {
        writer_answer_read(writer, asked);
    } else if (asked->source == READ_MEMORY && writer_store_of(writer, read->channel)->lane_count > 0) {
        read->rc = RC_BUSY;
        writer_answer_read(writer, asked);
    } else if (!read_may_share(writer, tail, asked) || !writer_wait_for_page(writer, tail, asked)) {
        writer_read_store(writer, asked);
    }
}
