/* forwarder_sweep.c - a walk over all channels of a forwarder, page by page: those whose cursor is below their head are behind.
 * It is due when a part was taken over, and now and then, because hints may be lost. */
#include <stdlib.h>

#include "base/must.h"
#include "uplink/forwarder_priv.h"

enum { SWEEP_CHANNELS = 500, SWEEP_ROW_BYTES = 1024 * 1024 };

struct forwarder_sweep {
    struct command        command;   /* the listing comes back by it */
    struct forwarder     *forwarder;
    struct store_listing  listing;
    struct buf            after;
    struct forwarder_read read;      /* the cursors of a page */
    struct ledger_key     keys[SWEEP_CHANNELS];
    struct listed_channel *asked[SWEEP_CHANNELS];
    size_t                count;
    struct buf            bytes;     /* of the keys */
};

static void sweep_page(struct forwarder_sweep *sweep);

static void sweep_end(struct forwarder_sweep *sweep, bool is_whole)
{
    struct forwarder  *forwarder = sweep->forwarder;
    struct forwarders *set       = forwarder->set;
    bool               is_alone  = set->port->registry == NULL || set->port->registry(set->ctx) == NULL;

    store_listing_fini(&sweep->listing);
    buf_fini(&sweep->after);
    buf_fini(&sweep->bytes);
    free(sweep);
    forwarder->sweep    = NULL;
    if (is_whole)
        forwarder->sweep_at = set->now + (is_alone ? FORWARDER_SWEEP_ALONE_MS : FORWARDER_SWEEP_MS);
    else
        forwarder->sweep_after = set->now + FORWARDER_RETRY_MS;
    forwarder->needs_sweep |= !is_whole;
    counter_add(&forwarder->counters.sweeps, is_whole);
}

static void sweep_go_on(struct forwarder_sweep *sweep)
{
    bool is_last = sweep->listing.reached.len == 0;

    buf_clear(&sweep->after);
    buf_put(&sweep->after, buf_span(&sweep->listing.reached));
    store_listing_fini(&sweep->listing);
    if (is_last || !sweep->forwarder->is_active || sweep->forwarder->set->is_stopping)
        sweep_end(sweep, true);
    else if (sweep->forwarder->set->is_holding)
        sweep_end(sweep, false);
    else
        sweep_page(sweep);
}

/* --- a page ------------------------------------------------------------------------------------------------------------- */

static void sweep_take_cursor(struct forwarder_sweep *sweep, const struct listed_channel *listed, const struct ledger_row *row)
{
    struct forwarder_part    *part   = forwarder_part_of(sweep->forwarder, listed->name);
    struct cursor_row         cursor = { 0 };
    struct forwarder_channel *channel;

    if (row->generation != 0)
        cursor_row_get(row->value, &cursor);
    if (part->state != PART_HELD || forwarder_channel_find(sweep->forwarder, listed->name) != NULL ||
        (cursor.epoch == listed->epoch && cursor.seq >= listed->head) || (cursor.epoch == 0 && listed->head == 0))
        return;
    channel = forwarder_channel_get(part, listed->name);
    if (channel == NULL)
        return;
    list_take(&channel->link);  /* its cursor is known: it need not be read */
    channel->epoch = listed->epoch;
    channel->head  = listed->head;
    channel->since = sweep->forwarder->set->writer->wall;
    forwarder_channel_loaded(channel, &cursor, row->generation);
}

static void sweep_cursors_came(struct forwarder_read *read)
{
    struct forwarder_sweep *sweep = container_of(read, struct forwarder_sweep, read);
    size_t                  count = read->read.rc == RC_OK ? read->read.row_count : 0;
    bool                    is_whole = count == sweep->count;

    for (size_t i = 0; i < count; i++)
        sweep_take_cursor(sweep, sweep->asked[i], &read->read.rows[i]);
    ledger_read_fini(&read->read);
    if (is_whole)
        sweep_go_on(sweep);
    else
        sweep_end(sweep, false);
}

/* A channel in memory is told its head; the cursors of others are to be read. */
static void sweep_look_at(struct forwarder_sweep *sweep, struct listed_channel *listed)
{
    struct forwarder         *forwarder = sweep->forwarder;
    struct forwarder_part    *part      = forwarder_part_of(forwarder, listed->name);
    struct forwarder_channel *channel   = forwarder_channel_find(forwarder, listed->name);

    if (listed->rc != RC_OK || part->state != PART_HELD)
        return;
    if (channel != NULL) {
        if (channel->state != CHANNEL_NEW && channel->epoch == listed->epoch && channel->head < listed->head)
            forwarder_channel_heard(channel, listed->epoch, listed->head, 0);
        return;
    }
    size_t from = sweep->bytes.len;
    cursor_put_key(&sweep->bytes, span_str(forwarder->name), part->index, channel_name_span(listed->name));
    sweep->keys[sweep->count]    = (struct ledger_key){ ROW_CURSOR, span_skip(buf_span(&sweep->bytes), from) };
    sweep->asked[sweep->count++] = listed;
}

static void sweep_take_page(struct forwarder_sweep *sweep)
{
    sweep->count = 0;
    buf_clear(&sweep->bytes);
    for (size_t i = 0; i < sweep->listing.count; i++)
        sweep_look_at(sweep, &sweep->listing.channels[i]);
    if (sweep->count == 0) {
        sweep_go_on(sweep);
        return;
    }
    sweep->read.read = (struct ledger_read){ .way = LEDGER_GET, .keys = sweep->keys, .key_count = sweep->count,
                                             .bytes_max = SWEEP_ROW_BYTES };
    forwarder_read_send(sweep->forwarder->set, &sweep->read, sweep_cursors_came);
}

static void sweep_listed(struct command *command, struct writer *writer)
{
    struct forwarder_sweep *sweep = container_of(command, struct forwarder_sweep, command);

    (void)writer;
    must(sweep->forwarder->set->away_count > 0);
    sweep->forwarder->set->away_count--;
    if (sweep->listing.rc == RC_OK)
        sweep_take_page(sweep);
    else
        sweep_end(sweep, false);
}

static const struct command_kind sweep_kind = {
    .name = "forwarder_sweep", .free = forwarders_never_free, .at_writer = sweep_listed,
};

static void sweep_listing_done(struct store_listing *listing)
{
    struct forwarder_sweep *sweep  = container_of(listing, struct forwarder_sweep, listing);
    struct writer          *writer = sweep->forwarder->set->writer;

    writer->port->post(writer->ctx, &sweep->command);
}

static void sweep_page(struct forwarder_sweep *sweep)
{
    struct forwarder *forwarder  = sweep->forwarder;
    struct writer    *writer     = forwarder->set->writer;
    bool              is_durable = forwarder->options.space->durability == DURABLE;
    struct store     *store      = is_durable ? writer->durable.store : writer->memory.store;

    sweep->listing = (struct store_listing){ .prefix = span_str(forwarder->options.prefix), .after = buf_span(&sweep->after),
                                             .limit = SWEEP_CHANNELS, .wall = writer->wall, .done = sweep_listing_done };
    forwarder->set->away_count++;
    store->ops->list(store, &sweep->listing);
}

void forwarder_sweep_tick(struct forwarder *forwarder)
{
    const struct forwarders *set = forwarder->set;
    bool is_due = set->now >= forwarder->sweep_after && (forwarder->needs_sweep || set->now >= forwarder->sweep_at);

    if (!is_due || forwarder->sweep != NULL || set->is_stopping || !forwarder->is_active ||
        counter_get(&forwarder->counters.parts) == 0)
        return;
    struct forwarder_sweep *sweep = calloc(1, sizeof *sweep);
    must(sweep != NULL);
    sweep->command.kind = &sweep_kind;
    sweep->forwarder    = forwarder;
    buf_init(&sweep->after, LISTING_TEXT_MAX);
    buf_init(&sweep->bytes, SWEEP_CHANNELS * LEDGER_KEY_BYTES_MAX);
    must(buf_extend(&sweep->bytes, SWEEP_CHANNELS * LEDGER_KEY_BYTES_MAX) != NULL);
    forwarder->sweep       = sweep;
    forwarder->needs_sweep = false;
    sweep_page(sweep);
}
