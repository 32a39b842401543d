/* event_lost.c - links of a start of a node that has ended, by their rows (link_row.h): each has its `disconnected` with the reason
 * node_lost. Looked for at the start, and each LOST_EACH_TICKS; in a cluster also soon after the nodes have changed.
 *
 * In each log the rows of one start of a node lie together. So the walk looks at the first row of each start, passes over those that
 * live, and reads the rows of those that don't:
 *
 *     sys:events/3 · [start a ‥ ‥ ‥ ‥][start b ‥ ‥][start c ‥ ‥ ‥]
 *                     │ lives: behind it │ ended: page by page
 *
 * Of two nodes that find one row, the one whose commit deletes it has told the end of the link. */
#include <stdlib.h>

#include "base/must.h"
#include "device/event_outbox_priv.h"
#include "device/row_kind.h"

enum {
    LOST_EACH_TICKS  = 300,
    LOST_AGAIN_TICKS = 10,   /* after a refusal, while much waits, or after the nodes have changed */
    LOST_ROWS        = 200,
    LOST_BYTES       = 256 * 1024,
};

struct lost_links {
    struct ledger_read   read;
    struct command       command;
    struct event_outbox *outbox;
    unsigned             log;        /* N where the walk stands */
    bool                 is_ended;   /* it reads the rows of this start, which has ended: */
    uint64_t             incarnation;
    struct buf           prefix, after;
    uint32_t             wait;       /* ticks until the next step or walk */
    bool                 is_busy;
    bool                 is_again;   /* the nodes have changed while it walked */
};

static void lost_links_look(struct lost_links *lost);

static void lost_walk_end(struct lost_links *lost)
{
    lost->log      = 0;
    lost->wait     = lost->is_again ? LOST_AGAIN_TICKS : LOST_EACH_TICKS;
    lost->is_again = false;
}

static void lost_next_log(struct lost_links *lost)
{
    buf_clear(&lost->after);
    if (++lost->log == EVENT_LOGS)
        lost_walk_end(lost);
    else
        lost_links_look(lost);
}

static void lost_pass_start(struct lost_links *lost, uint64_t incarnation)
{
    lost->is_ended = false;
    buf_clear(&lost->after);
    link_row_behind_put(&lost->after, lost->log, incarnation);
    lost_links_look(lost);
}

static void lost_pass_row(struct lost_links *lost, struct span key)
{
    buf_clear(&lost->after);
    buf_put(&lost->after, key);
    lost_links_look(lost);
}

static bool start_lives(const struct event_outbox *outbox, const struct link_row *row)
{
    return row->incarnation == outbox->names.incarnation || (outbox->lives != NULL && outbox->lives(outbox->lives_ctx, row));
}

/* The first row of a start. */
static void lost_take_first(struct lost_links *lost, const struct ledger_row *found)
{
    struct link_row row;

    if (!link_row_get(found->key, found->value, &row)) {
        lost_pass_row(lost, found->key);
        return;
    }
    if (start_lives(lost->outbox, &row)) {
        lost_pass_start(lost, row.incarnation);
        return;
    }
    lost->is_ended    = true;
    lost->incarnation = row.incarnation;
    buf_clear(&lost->after);
    lost_links_look(lost);
}

static void lost_take_page(struct lost_links *lost, const struct ledger_read *read)
{
    struct link_row row;

    for (size_t i = 0; i < read->row_count; i++)
        if (link_row_get(read->rows[i].key, read->rows[i].value, &row))
            outbox_link_lost(lost->outbox, &row);
    if (read->next.len == 0) {
        lost_pass_start(lost, lost->incarnation);
        return;
    }
    lost_pass_row(lost, read->next);
}

static void lost_done(struct ledger_read *read)
{
    struct lost_links *lost = container_of(read, struct lost_links, read);

    lost->outbox->writer->port->post(lost->outbox->writer->ctx, &lost->command);
}

static void lost_came(struct command *command, struct writer *writer)
{
    struct lost_links *lost = container_of(command, struct lost_links, command);
    struct ledger_read read = lost->read;

    writer->read_count--;
    lost->is_busy = false;
    lost->read    = (struct ledger_read){ 0 };
    if (read.rc == RC_CORRUPT && read.next.len > 0)
        lost_pass_row(lost, read.next);
    else if (read.rc != RC_OK)
        lost->wait = LOST_AGAIN_TICKS;
    else if (lost->is_ended)
        lost_take_page(lost, &read);
    else if (read.row_count > 0)
        lost_take_first(lost, &read.rows[0]);
    else
        lost_next_log(lost);
    ledger_read_fini(&read);
}

static const struct command_kind lost_kind = { .name = "lost links", .free = outbox_command_lent, .at_writer = lost_came };

static void lost_ask(struct lost_links *lost)
{
    struct writer *writer = lost->outbox->writer;
    struct ledger *ledger = writer->durable.store->ledger;

    buf_clear(&lost->prefix);
    if (lost->is_ended)
        link_row_node_prefix_put(&lost->prefix, lost->log, lost->incarnation);
    else
        link_row_prefix_put(&lost->prefix, lost->log);
    lost->is_busy = true;
    lost->command = (struct command){ .kind = &lost_kind };
    lost->read    = (struct ledger_read){ .way = LEDGER_SCAN, .kind = ROW_LINK, .prefix = buf_span(&lost->prefix),
                                          .after = buf_span(&lost->after), .limit = lost->is_ended ? LOST_ROWS : 1,
                                          .bytes_max = LOST_BYTES, .wall = writer->wall, .done = lost_done };
    writer->read_count++;
    ledger->ops->read(ledger, &lost->read);
}

/* One step of the walk, unless enough waits: then at a later tick. */
static void lost_links_look(struct lost_links *lost)
{
    if (counter_get(&lost->outbox->waiting) < OUTBOX_BUSY)
        lost_ask(lost);
    else
        lost->wait = LOST_AGAIN_TICKS;
}

void lost_links_tick(struct lost_links *lost)
{
    struct event_outbox *outbox = lost->outbox;

    if ((outbox->kinds & EVENT_KIND_DISCONNECTED) == 0 || lost->is_busy || outbox->writer->durable.store->ledger == NULL)
        return;
    if (lost->wait > 0)
        lost->wait--;
    else
        lost_links_look(lost);
}

void lost_links_hurry(struct lost_links *lost)
{
    if (lost->is_busy || lost->log > 0)
        lost->is_again = true;
    else if (lost->wait > LOST_AGAIN_TICKS)
        lost->wait = LOST_AGAIN_TICKS;
}

struct lost_links *lost_links_new(struct event_outbox *outbox)
{
    struct lost_links *lost = calloc(1, sizeof *lost);

    must(lost != NULL);
    lost->outbox = outbox;
    buf_init(&lost->prefix, LEDGER_KEY_BYTES_MAX);
    buf_init(&lost->after, LEDGER_KEY_BYTES_MAX);
    return lost;
}

void lost_links_free(struct lost_links *lost)
{
    must(!lost->is_busy);
    buf_fini(&lost->prefix);
    buf_fini(&lost->after);
    free(lost);
}
