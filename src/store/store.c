#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"

enum { APPEND_KEY_BYTES_MAX = 255, APPEND_PUBLISHER_BYTES_MAX = 1024 };

void append_check(const struct append *append)
{
    const struct message *message = append->message;

    must(message->kind == MESSAGE_PLAIN || message->kind == MESSAGE_RECALL);
    must(message->seq == 0 && message->id == 0);
    must(append->key.len <= APPEND_KEY_BYTES_MAX);
    must(append->publisher.len <= APPEND_PUBLISHER_BYTES_MAX);
    must(!append->is_purge || (message->kind == MESSAGE_PLAIN && append->key.len == 0 && append->write == NULL));
}

void store_look_at_space(struct store *store, struct namespaces *spaces, struct span channel, struct buf *ret_next)
{
    struct span rest = channel, space = SPAN("");
    size_t      used = strlen(store->strange);

    span_cut(&rest, ':', &space);
    if (ret_next != NULL) {
        buf_clear(ret_next);
        buf_put(ret_next, space);
        buf_putc(ret_next, ':' + 1);
    }
    if (namespaces_find(spaces, space) != NULL)
        return;
    const bool has_room = used + space.len + sizeof ", ..." < sizeof store->strange - sizeof ", ...";
    if (has_room)
        snprintf(store->strange + used, sizeof store->strange - used, "%s%.*s", used > 0 ? ", " : "", SPAN_ARG(space));
    else if (used < 3 || strcmp(store->strange + used - 3, "...") != 0)
        snprintf(store->strange + used, sizeof store->strange - used, ", ...");
}

void store_read_check(const struct store_read *read)
{
    must(read->done != NULL);
    must(read->limit <= READ_ENTRIES_MAX);
    must(read->since >= 0 && read->until >= 0 && read->until < INT64_MAX && read->end == 0);
    must(read->since == 0 || read->way == READ_AFTER);
}

void store_listing_begin(struct store_listing *listing)
{
    must(listing->limit >= 1 && listing->limit <= LISTING_CHANNELS_MAX);
    must(listing->prefix.len <= LISTING_TEXT_MAX && listing->after.len <= LISTING_TEXT_MAX);
    listing->channels = NULL;
    listing->count    = 0;
    buf_init(&listing->reached, LISTING_TEXT_MAX);
}

struct listed_channel *store_listing_add(struct store_listing *listing, struct channel_name **take)
{
    must(listing->count < listing->limit);
    if (listing->channels == NULL)
        listing->channels = calloc(listing->limit, sizeof *listing->channels);
    must(listing->channels != NULL);
    struct listed_channel *channel = &listing->channels[listing->count++];

    channel->name = *take;
    *take         = NULL;
    return channel;
}

void store_listing_end_at(struct store_listing *listing, struct span name)
{
    buf_clear(&listing->reached);
    buf_put(&listing->reached, name);
    must(!buf_is_over(&listing->reached));
}

void store_listing_from(const struct store_listing *listing, struct span *ret_text, bool *ret_is_behind)
{
    *ret_is_behind = listing->after.len > 0 && span_order(listing->after, listing->prefix) >= 0;
    *ret_text      = *ret_is_behind ? listing->after : listing->prefix;
}

void store_listing_fini(struct store_listing *listing)
{
    for (size_t i = 0; i < listing->count; i++)
        channel_name_unref(listing->channels[i].name);
    free(listing->channels);
    listing->channels = NULL;
    listing->count    = 0;
    buf_fini(&listing->reached);
}

void store_read_fini(struct store_read *read)
{
    for (size_t i = 0; read->entries != NULL && i < read->entry_count; i++)
        message_unref(read->entries[i].message);
    free(read->entries);
    read->entries     = NULL;
    read->entry_count = 0;
}
