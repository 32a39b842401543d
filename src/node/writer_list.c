/* writer_list.c - a page of the channels of both stores, and how many follow each. */
#include <stdlib.h>

#include "base/must.h"
#include "node/writer_priv.h"

static void listing_stored(struct store_listing *durable)
{
    struct listing_command *command = container_of(durable, struct listing_command, durable);

    command->writer->port->post(command->writer->ctx, &command->command);
}

static void listing_ask_durable(struct writer *writer, struct listing_command *command)
{
    struct store *store = writer->durable.store;

    command->stage        = LISTING_STORED;
    command->writer       = writer;
    command->durable.wall = command->listing.wall;
    command->durable.done = listing_stored;
    writer->read_count++;
    store->ops->list(store, &command->durable);
}

/* --- merging ---------------------------------------------------------------------------------------------------- */

/* One store's answer while it is merged. A store whose page ended early says nothing of the names behind that. */
struct listing_side {
    struct store_listing *listing;
    size_t                at;
    bool                  is_durable;
};

/* The next channel of this side that belongs to its store; NULL: there is none. */
static struct listed_channel *side_next(struct listing_side *side)
{
    for (; side->at < side->listing->count; side->at++)
        if (name_is_durable(side->listing->channels[side->at].name) == side->is_durable)
            return &side->listing->channels[side->at];
    return NULL;
}

/* How far both answers go; empty: to the end. */
static struct span listing_horizon(const struct store_listing *one, const struct store_listing *other)
{
    struct span a = buf_span(&one->reached), b = buf_span(&other->reached);

    if (a.len == 0 || b.len == 0)
        return a.len == 0 ? b : a;
    return span_order(a, b) < 0 ? a : b;
}

static struct listing_side *side_of_lower(struct listing_side *one, struct listing_side *other)
{
    const struct listed_channel *a = side_next(one), *b = side_next(other);

    if (a == NULL || b == NULL)
        return a != NULL ? one : b != NULL ? other : NULL;
    return span_order(channel_name_span(a->name), channel_name_span(b->name)) < 0 ? one : other;
}

static void listing_merge(struct store_listing *merged, struct store_listing *durable, struct store_listing *memory)
{
    struct listing_side  sides[] = { { durable, 0, true }, { memory, 0, false } };
    struct span          horizon = listing_horizon(durable, memory);
    struct listing_side *side;

    store_listing_begin(merged);
    while ((side = side_of_lower(&sides[0], &sides[1])) != NULL) {
        struct listed_channel *next = side_next(side);
        if (merged->count == merged->limit) {
            store_listing_end_at(merged, channel_name_span(merged->channels[merged->count - 1].name));
            return;
        }
        if (horizon.len > 0 && span_order(channel_name_span(next->name), horizon) > 0)
            break;
        struct listed_channel  taken = *next;
        struct channel_name   *name  = channel_name_ref(taken.name);
        struct listed_channel *to    = store_listing_add(merged, &name);
        taken.name                   = to->name;
        *to                          = taken;
        side->at++;
    }
    if (horizon.len > 0)
        store_listing_end_at(merged, horizon);
}

/* --- counting --------------------------------------------------------------------------------------------------- */

static void listing_go_on(struct writer *writer, struct listing_command *command)
{
    if (command->to_visit == 0)
        command->stage = LISTING_HOME;
    unsigned loop = command->stage == LISTING_HOME ? command->asker : (unsigned)__builtin_ctzll(command->to_visit);
    command->to_visit &= command->to_visit - 1;
    writer->port->send(writer->ctx, loop, &command->command);
}

static void listing_count(struct writer *writer, struct listing_command *command)
{
    const struct store_listing *listing = &command->listing;

    command->stage       = LISTING_COUNTING;
    command->subscribers = calloc(listing->count + 1, sizeof *command->subscribers);
    must(command->subscribers != NULL);
    for (size_t i = 0; i < listing->count; i++)
        command->to_visit |= tails_followers(&writer->tails, listing->channels[i].name);
    listing_go_on(writer, command);
}

/* Who reads the page may follow one of them from there. */
static void listing_note_heads(struct writer *writer, const struct store_listing *listing)
{
    for (size_t i = 0; i < listing->count; i++)
        if (name_is_durable(listing->channels[i].name))
            writer_note_head(writer, listing->channels[i].name, listing->channels[i].epoch, listing->channels[i].head);
}

static void listing_finish(struct writer *writer, struct listing_command *command)
{
    struct store_listing *merged = &command->listing;

    must(writer->read_count > 0);
    writer->read_count--;
    merged->rc = command->durable.rc != RC_OK ? command->durable.rc : command->memory.rc;
    if (merged->rc == RC_OK) {
        listing_note_heads(writer, &command->durable);
        listing_merge(merged, &command->durable, &command->memory);
    }
    listing_count(writer, command);
}

static void listing_remembered(struct store_listing *memory)
{
    struct listing_command *command = container_of(memory, struct listing_command, memory);
    struct writer          *writer  = command->writer;

    if (!writer->memory.store->is_inline)
        writer->port->post(writer->ctx, &command->command);
}

static void listing_ask_memory(struct writer *writer, struct listing_command *command)
{
    struct store *store = writer->memory.store;

    command->stage       = LISTING_REMEMBERED;
    command->memory.wall = command->listing.wall;
    command->memory.done = listing_remembered;
    if (command->durable.rc == RC_OK)
        store->ops->list(store, &command->memory);
    if (command->durable.rc != RC_OK || store->is_inline)
        listing_finish(writer, command);
}

void writer_take_listing(struct command *command, struct writer *writer)
{
    struct listing_command *listing = container_of(command, struct listing_command, command);

    switch (listing->stage) {
    case LISTING_NAMED: listing_count(writer, listing); break;
    case LISTING_ASKED: listing_ask_durable(writer, listing); break;
    case LISTING_STORED: listing_ask_memory(writer, listing); break;
    case LISTING_REMEMBERED: listing_finish(writer, listing); break;
    case LISTING_COUNTING: listing_go_on(writer, listing); break;
    case LISTING_HOME: must(!"it is at home with its loop"); break;
    }
}
