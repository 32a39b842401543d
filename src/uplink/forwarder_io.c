/* forwarder_io.c - rows of forwarders: cursors are read, many in a question; writes go to the ledger in batches, each write with
 * an outcome of its own. Answers come on threads of the store, and are posted to the writer's thread. */
#include <stdlib.h>

#include "base/must.h"
#include "uplink/forwarder_priv.h"

enum {
    COMMIT_CHANGES = 256,  /* of one batch; a commit with more would hold up the appends of its group */
    CURSORS_A_READ = 500,
    CURSOR_PAGE_BYTES    = 1024 * 1024,
    ROW_TEXT_BYTES      = LEDGER_KEY_BYTES_MAX,
};

void forwarders_never_free(struct command *command)
{
    (void)command;
    must(!"the forwarders take back what they lent to a store");
}

static struct ledger *forwarders_ledger(const struct forwarders *set)
{
    return set->writer->durable.store->ledger;
}

static void forwarders_post(struct forwarders *set, struct command *command)
{
    set->writer->port->post(set->writer->ctx, command);
}

/* --- reads ---------------------------------------------------------------------------------------------------------- */

static void forwarder_read_done(struct ledger_read *read)
{
    struct forwarder_read *asked = container_of(read, struct forwarder_read, read);

    forwarders_post(asked->set, &asked->command);
}

static void forwarder_read_came(struct command *command, struct writer *writer)
{
    struct forwarder_read *read = container_of(command, struct forwarder_read, command);

    (void)writer;
    must(read->set->away_count > 0);
    read->set->away_count--;
    read->came(read);
}

static const struct command_kind forwarder_read_kind = {
    .name = "forwarder_read", .free = forwarders_never_free, .at_writer = forwarder_read_came,
};

void forwarder_read_send(struct forwarders *set, struct forwarder_read *read, void (*came)(struct forwarder_read *read))
{
    struct ledger *ledger = forwarders_ledger(set);

    read->set          = set;
    read->command.kind = &forwarder_read_kind;
    read->came         = came;
    read->read.done    = forwarder_read_done;
    read->read.wall    = set->writer->wall;
    set->away_count++;
    ledger->ops->read(ledger, &read->read);
}

/* --- cursors -------------------------------------------------------------------------------------------------------- */

struct forwarder_load {
    struct forwarder_read     read;
    struct forwarder         *forwarder;
    struct ledger_key         keys[CURSORS_A_READ];
    struct forwarder_channel *channels[CURSORS_A_READ];
    size_t                    count;
    struct buf                bytes;  /* of the keys */
};

/* It could not be read: it waits its turn to be read again. */
static void cursor_again(struct forwarder_channel *channel)
{
    list_push(&channel->part->forwarder->unread, &channel->link);
}

/* A row that can't be read counts as none: what it stood for is sent again, and nothing is lost. */
static void cursor_took(struct forwarder_channel *channel, const struct ledger_row *row)
{
    struct cursor_row cursor = { 0 };

    if (row->generation != 0)
        cursor_row_get(row->value, &cursor);
    forwarder_channel_loaded(channel, &cursor, row->generation);
}

static void cursors_came(struct forwarder_read *read)
{
    struct forwarder_load *load = container_of(read, struct forwarder_load, read);

    for (size_t i = 0; i < load->count; i++) {
        struct forwarder_channel *channel = load->channels[i];
        channel->part->busy_count--;
        if (channel->is_gone)
            forwarder_channel_back(channel);
        else if (read->read.rc == RC_OK && i < read->read.row_count)
            cursor_took(channel, &read->read.rows[i]);
        else
            cursor_again(channel);
    }
    if (read->read.rc != RC_OK)
        load->forwarder->unread_after = load->forwarder->set->now + FORWARDER_RETRY_MS;
    ledger_read_fini(&read->read);
    buf_fini(&load->bytes);
    free(load);
}

static struct forwarder_load *cursors_load_new(struct forwarder *forwarder)
{
    struct forwarder_load *load = calloc(1, sizeof *load);

    must(load != NULL);
    load->forwarder = forwarder;
    buf_init(&load->bytes, CURSORS_A_READ * ROW_TEXT_BYTES);
    must(buf_extend(&load->bytes, CURSORS_A_READ * ROW_TEXT_BYTES) != NULL);
    buf_clear(&load->bytes);
    return load;
}

static void cursors_load_add(struct forwarder_load *load, struct forwarder_channel *channel)
{
    size_t from = load->bytes.len;

    cursor_put_key(&load->bytes, span_str(load->forwarder->name), channel->part->index,
                   channel_name_span(channel->name));
    load->keys[load->count]       = (struct ledger_key){ ROW_CURSOR, span_skip(buf_span(&load->bytes), from) };
    load->channels[load->count++] = channel;
    channel->part->busy_count++;
}

void forwarder_load(struct forwarder *forwarder)
{
    struct list *link;

    if (list_is_empty(&forwarder->unread) || forwarder->set->now < forwarder->unread_after)
        return;
    struct forwarder_load *load = cursors_load_new(forwarder);
    while (load->count < CURSORS_A_READ && (link = list_pop(&forwarder->unread)) != NULL)
        cursors_load_add(load, container_of(link, struct forwarder_channel, link));
    load->read.read = (struct ledger_read){ .way = LEDGER_GET, .keys = load->keys, .key_count = load->count,
                                            .bytes_max = CURSOR_PAGE_BYTES };
    forwarder_read_send(forwarder->set, &load->read, cursors_came);
}

/* --- writes --------------------------------------------------------------------------------------------------------- */

struct forwarder_commit {
    struct ledger_batch batch;
    struct command      command;
    struct forwarders  *set;
};

void forwarder_write_free(struct forwarder_write *write)
{
    ledger_write_fini(&write->write);
    buf_fini(&write->bytes);
    free(write);
}

static struct forwarder_write *forwarder_write_new(struct forwarders *set)
{
    struct forwarder_write *write = calloc(1, sizeof *write);

    must(write != NULL);
    write->set   = set;
    write->write = (struct ledger_write){ .changes = write->changes };
    buf_init(&write->bytes, 2 * ROW_TEXT_BYTES + 256);
    must(buf_extend(&write->bytes, 2 * ROW_TEXT_BYTES + 256) != NULL);  /* what points into it must not move */
    buf_clear(&write->bytes);
    return write;
}

/* The bytes that were put since `from`. */
static struct span write_put_since(const struct forwarder_write *write, size_t from)
{
    return span_skip(buf_span(&write->bytes), from);
}

static struct ledger_change *write_change(struct forwarder_write *write, enum ledger_op op, struct ledger_key key,
                                          uint64_t if_generation)
{
    struct ledger_change *change = &write->changes[write->write.count++];

    *change = (struct ledger_change){ .op = op, .key = key, .is_conditional = true, .if_generation = if_generation };
    return change;
}

static struct ledger_key lease_key_of(struct forwarder_write *write, const struct forwarder_part *part)
{
    size_t from = write->bytes.len;

    work_lease_put_key(&write->bytes, span_str(part->forwarder->name), part->index);
    return (struct ledger_key){ ROW_LEASE, write_put_since(write, from) };
}

static struct ledger_key cursor_key_of(struct forwarder_write *write, const struct forwarder_channel *channel)
{
    size_t from = write->bytes.len;

    cursor_put_key(&write->bytes, span_str(channel->part->forwarder->name), channel->part->index,
                   channel_name_span(channel->name));
    return (struct ledger_key){ ROW_CURSOR, write_put_since(write, from) };
}

struct forwarder_write *forwarder_write_cursor(struct forwarder_channel *channel, uint64_t number)
{
    struct forwarder_write *write = forwarder_write_new(channel->part->forwarder->set);

    write_change(write, LEDGER_CHECK, lease_key_of(write, channel->part), number);
    struct ledger_change *change = write_change(write, LEDGER_PUT, cursor_key_of(write, channel), channel->version);
    size_t                from   = write->bytes.len;
    cursor_row_put(&write->bytes, &channel->cursor);
    change->value      = write_put_since(write, from);
    change->generation = channel->version + 1;
    return write;
}

struct forwarder_write *forwarder_write_lease(struct forwarder_part *part, struct span node, uint64_t incarnation)
{
    struct forwarder_write *write  = forwarder_write_new(part->forwarder->set);
    struct ledger_change   *change = write_change(write, LEDGER_PUT, lease_key_of(write, part), part->number);
    size_t                  from   = write->bytes.len;

    lease_row_put(&write->bytes, &(struct lease_row){ node, incarnation });
    change->value      = write_put_since(write, from);
    change->generation = part->number + 1;
    return write;
}

void forwarder_write_send(struct forwarder_write *write, void *owner, void (*done)(struct forwarder_write *write))
{
    must(!buf_is_over(&write->bytes));
    write->owner = owner;
    write->done  = done;
    write->set->away_count++;
    list_push(&write->set->writes, &write->in_line);
}

static void commit_done(struct ledger_batch *batch)
{
    struct forwarder_commit *commit = container_of(batch, struct forwarder_commit, batch);

    forwarders_post(commit->set, &commit->command);
}

static void commit_came(struct command *command, struct writer *writer)
{
    struct forwarder_commit *commit = container_of(command, struct forwarder_commit, command);
    struct list             *at;

    (void)writer;
    commit->set->is_writing = false;
    while ((at = list_pop(&commit->batch.writes)) != NULL) {
        struct forwarder_write *write = container_of(container_of(at, struct ledger_write, link), struct forwarder_write, write);
        must(commit->set->away_count > 0);
        commit->set->away_count--;
        write->done(write);
    }
    free(commit);
}

static const struct command_kind forwarder_commit_kind = {
    .name = "forwarder_commit", .free = forwarders_never_free, .at_writer = commit_came,
};

void forwarders_submit(struct forwarders *set)
{
    struct ledger *ledger = forwarders_ledger(set);

    if (set->is_writing || list_is_empty(&set->writes))
        return;
    struct forwarder_commit *commit = calloc(1, sizeof *commit);
    must(commit != NULL);
    list_init(&commit->batch.writes);
    commit->set          = set;
    commit->command.kind = &forwarder_commit_kind;
    commit->batch.done   = commit_done;
    commit->batch.wall   = set->writer->wall;
    while (!list_is_empty(&set->writes) && commit->batch.change_count + 2 <= COMMIT_CHANGES) {
        struct forwarder_write *write = container_of(list_pop(&set->writes), struct forwarder_write, in_line);
        write->write.outcome          = LEDGER_WAITING;
        list_push(&commit->batch.writes, &write->write.link);
        commit->batch.change_count += write->write.count;
    }
    set->is_writing = true;
    ledger->ops->write(ledger, &commit->batch);
}
