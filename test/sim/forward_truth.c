/* forward_truth.c - what the disk says: the messages that are to be carried, cursors, leases and dead letters, as they were written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "forward_world.h"
#include "store_sim.h"

/* --- places ------------------------------------------------------------------------------------------------------- */

bool carried_is_gone(const struct forward_world *all, unsigned channel, uint64_t seq)
{
    const struct carried_place *place = &all->channels[channel].places[seq];

    return store_sim_at(all->world.disk, channel, seq) == NULL ||
           (place->expires_at != 0 && place->expires_at <= world_wall(&all->world));
}

bool carried_was_fixed(const struct carried_channel *channel, uint64_t first, uint64_t last)
{
    return (channel->places[first].fixed[last / 64] >> last % 64 & 1) != 0;
}

/* What was refused for long enough, and is gone meanwhile, is not written to sys:dead. */
bool carried_is_done_with(const struct forward_world *all, unsigned channel, uint64_t seq)
{
    const struct carried_place *place      = &all->channels[channel].places[seq];
    bool                        is_webhook = all->channels[channel].forwarder != 0;

    return place->is_taken || place->is_told || place->is_dead || !place->is_wanted ||
           (carried_is_gone(all, channel, seq) && (is_webhook ? place->is_sent : place->refused >= all->tries));
}

/* The number that the payload has, between two marks. */
static unsigned number_of(const struct message *message)
{
    struct span payload = message_payload(message);
    const char *at      = memchr(payload.at, '#', payload.len);
    unsigned    number  = 0;

    must(at != NULL && sscanf(at, "#%u#", &number) == 1);
    return number;
}

static void note_message(struct forward_world *all, unsigned no, const struct message *message)
{
    struct carried_channel *channel = &all->channels[no];

    must(message->seq <= CARRIED_PLACES_MAX && message->seq == channel->head + 1);
    channel->head = message->seq;
    channel->places[message->seq] = (struct carried_place){
        .is_written = true, .number = number_of(message), .expires_at = message->expires_at,
        .is_wanted = channel->forwarder == 0 || !span_eq(message_event(message), SPAN("subscribed")),
        .is_poison = memmem(message_payload(message).at, message->payload_len, "poison", 6) != NULL,
    };
    tell(&all->world, "%s has %" PRIu64, message->channel->text, message->seq);
}

/* --- dead letters --------------------------------------------------------------------------------------------------- */

static struct carried_place *place_numbered(struct forward_world *all, unsigned number, unsigned *ret_channel)
{
    for (unsigned i = 0; i < all->carried_count; i++)
        for (uint64_t seq = 1; seq <= all->channels[i].head; seq++)
            if (all->channels[i].places[seq].number == number) {
                *ret_channel = i;
                return &all->channels[i].places[seq];
            }
    promise_broken(&all->world, "a dead letter is of message %u, which nobody has published", number);
}

static void note_letter(struct forward_world *all, const struct message *letter)
{
    unsigned              channel;
    unsigned              number = number_of(letter);
    struct carried_place *place  = place_numbered(all, number, &channel);
    struct world         *world  = &all->world;
    uint64_t              seq    = (uint64_t)(place - all->channels[channel].places);
    const char           *text   = world->channels[channel]->text;

    tell(world, "%s %" PRIu64 " is in sys:dead", text, seq);
    promise(world, !place->is_dead, "%s %" PRIu64 " is in sys:dead twice", text, seq);
    if (all->channels[channel].forwarder == 0)
        promise(world, place->refused >= all->tries, "%s %" PRIu64 " is in sys:dead, and was refused %u times", text, seq, place->refused);
    else
        promise(world, place->is_sent && all->give_up_ms != 0, "%s %" PRIu64 " is in sys:dead, and was never sent", text, seq);
    place->is_dead = true;
}

/* --- cursors and leases --------------------------------------------------------------------------------------------- */

/* "forward:up/3", perhaps with a channel behind it. */
static unsigned forwarder_of_key(struct span key)
{
    for (unsigned i = 0; i < FORWARDERS_SIM; i++)
        if (span_starts(key, span_str(forwarder_sim_names[i])))
            return i;
    must(!"a forwarder of this world");
    return 0;
}

static unsigned channel_of_key(const struct forward_world *all, struct span key)
{
    const char *mark = memchr(key.at, '\0', key.len);

    must(mark != NULL);
    struct span name = span_skip(key, (size_t)(mark - key.at) + 1);
    for (unsigned i = 0; i < all->carried_count; i++)
        if (span_eq(channel_name_span(all->world.channels[i]), name))
            return i;
    must(!"a channel of this world");
    return 0;
}

static void check_lease(struct forward_world *all, const struct ledger_write *write, unsigned channel)
{
    unsigned    forwarder = all->channels[channel].forwarder;
    unsigned    part      = work_lease_part(channel_name_span(all->world.channels[channel]));
    const char *text      = all->world.channels[channel]->text;

    for (size_t i = 0; i < write->count; i++)
        if (write->changes[i].key.kind == ROW_LEASE) {
            promise(&all->world, write->changes[i].if_generation == all->leases[forwarder][part],
                    "the cursor of %s is written by who has lost its lease", text);
            return;
        }
    promise_broken(&all->world, "the cursor of %s is written without a look at its lease", text);
}

static void check_cursor(struct forward_world *all, unsigned no, const struct cursor_row *row)
{
    const struct carried_channel *channel = &all->channels[no];
    struct world                 *world   = &all->world;
    const char                   *text    = world->channels[no]->text;

    promise(world, row->seq >= channel->cursor, "the cursor of %s goes back from %" PRIu64 " to %" PRIu64, text, channel->cursor, row->seq);
    promise(world, row->seq <= channel->head && row->last <= channel->head, "the cursor of %s is beyond its end", text);
    for (uint64_t seq = channel->cursor + 1; seq <= row->seq; seq++)
        promise(world, carried_is_done_with(all, no, seq), "the cursor of %s moves over %" PRIu64 ", which nobody took", text, seq);
    bool is_same = row->seq != channel->cursor || channel->last == 0 || row->last == channel->last;
    promise(world, is_same || channel->places[channel->cursor + 1].refused_end >= channel->last,
            "%s: batch %" PRIu64 "-%" PRIu64 " becomes one up to %" PRIu64 ", and nobody refused it", text, channel->cursor + 1,
            channel->last, row->last);
}

static void note_cursor(struct forward_world *all, const struct ledger_write *write, const struct ledger_change *change)
{
    unsigned                no      = channel_of_key(all, change->key.bytes);
    struct carried_channel *channel = &all->channels[no];
    struct cursor_row       row;

    must(change->op == LEDGER_PUT && cursor_row_get(change->value, &row));
    tell(&all->world, "the cursor of %s is at %" PRIu64 ", and fixed up to %" PRIu64, all->world.channels[no]->text, row.seq, row.last);
    check_lease(all, write, no);
    check_cursor(all, no, &row);
    channel->cursor = row.seq;
    channel->last   = row.last;
    if (row.last != 0)
        channel->places[row.seq + 1].fixed[row.last / 64] |= UINT64_C(1) << row.last % 64;
}

static void note_lease(struct forward_world *all, const struct ledger_change *change)
{
    unsigned forwarder = forwarder_of_key(change->key.bytes), part = 0;
    struct lease_row row;

    must(lease_row_get(change->value, &row));
    must(sscanf(change->key.bytes.at + strlen(forwarder_sim_names[forwarder]), "/%u", &part) == 1 && part < FORWARDER_PARTS);
    if (row.node.len > 0)
        tell(&all->world, "%s: part %u is carried by %.*s", forwarder_sim_names[forwarder], part, SPAN_ARG(row.node));
    all->leases[forwarder][part] = change->generation;
}

static void note_rows(struct forward_world *all, const struct ledger_write *write)
{
    for (size_t i = 0; i < write->count; i++) {
        const struct ledger_change *change = &write->changes[i];
        if (change->key.kind == ROW_CURSOR)
            note_cursor(all, write, change);
        else if (change->key.kind == ROW_LEASE && change->op == LEDGER_PUT)
            note_lease(all, change);
    }
}

void carried_scan(struct forward_world *all)
{
    for (; all->scanned < store_sim_record_count(all->world.disk); all->scanned++) {
        unsigned                   channel;
        const struct message      *message = store_sim_record_at(all->world.disk, all->scanned, &channel);
        const struct ledger_write *rows    = store_sim_rows_at(all->world.disk, all->scanned);
        if (message != NULL && channel < all->carried_count)
            note_message(all, channel, message);
        else if (message != NULL)
            note_letter(all, message);
        if (rows != NULL)
            note_rows(all, rows);
    }
}

/* --- the end -------------------------------------------------------------------------------------------------------- */

static bool is_carried_channel(const struct forward_world *all, unsigned no)
{
    const struct carried_channel *channel = &all->channels[no];

    for (uint64_t seq = 1; seq <= channel->head; seq++)
        if (!carried_is_done_with(all, no, seq))
            return false;
    return channel->cursor == channel->head;
}

bool carried_all(const struct forward_world *all)
{
    for (unsigned i = 0; i < all->carried_count; i++)
        if (!is_carried_channel(all, i))
            return false;
    return true;
}

void carried_check_end(struct forward_world *all)
{
    struct world *world = &all->world;

    for (unsigned i = 0; i < all->carried_count; i++) {
        const struct carried_channel *channel = &all->channels[i];
        const char                   *text    = world->channels[i]->text;
        for (uint64_t seq = 1; seq <= channel->head; seq++)
            promise(world, carried_is_done_with(all, i, seq), "%s %" PRIu64 " is carried", text, seq);
        promise(world, channel->cursor == channel->head, "the cursor of %s comes to its end: it is at %" PRIu64 " of %" PRIu64, text,
                channel->cursor, channel->head);
    }
}
