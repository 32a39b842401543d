#include "node/command.h"

#include <stdlib.h>

#include "base/must.h"
#include "node/command_priv.h"

/* The room begins behind the struct, whose size is a multiple of every alignment; the texts stand behind it. */
struct publish_command *publish_command_new_with(struct message **take_message, struct span key, struct span publisher,
                                                 size_t room_bytes, void **ret_room)
{
    struct publish_command *command = malloc(sizeof *command + room_bytes + key.len + publisher.len);

    must(command != NULL);
    char *room = (char *)command + sizeof *command, *texts = room + room_bytes;
    *command   = (struct publish_command){ .command.kind = &publish_kind };
    ref_init(&command->ref);
    command->append.message   = *take_message;
    command->append.key       = span_of(texts, key.len);
    command->append.publisher = span_of(texts + key.len, publisher.len);
    if (key.len > 0)
        memcpy(texts, key.at, key.len);
    if (publisher.len > 0)
        memcpy(texts + key.len, publisher.at, publisher.len);
    *take_message = NULL;
    *ret_room     = room;
    return command;
}

struct publish_command *publish_command_new(struct message **take_message, struct span key, struct span publisher)
{
    void *room;
    return publish_command_new_with(take_message, key, publisher, 0, &room);
}

struct publish_command *purge_command_new(struct channel_name *channel)
{
    struct message         *message = message_new(channel, MESSAGE_PLAIN, NULL, 0, SPAN(""), SPAN(""));
    struct publish_command *command = publish_command_new(&message, SPAN(""), SPAN(""));

    command->append.is_purge = true;
    return command;
}

struct read_command *read_command_new(struct channel_name *channel)
{
    struct read_command *command = calloc(1, sizeof *command);

    must(command != NULL);
    command->command.kind  = &read_kind;
    command->read.channel = channel_name_ref(channel);
    return command;
}

struct count_command *count_command_new(struct channel_name *channel)
{
    struct count_command *command = calloc(1, sizeof *command);

    must(command != NULL);
    command->command.kind = &count_kind;
    command->channel     = channel_name_ref(channel);
    return command;
}

/* The answer is empty before there is one, so that it can be freed at any time. */
static struct store_listing listing_empty(struct span prefix, struct span after, uint32_t limit)
{
    struct store_listing listing = { .prefix = prefix, .after = after, .limit = limit };

    buf_init(&listing.reached, LISTING_TEXT_MAX);
    return listing;
}

struct listing_command *listing_command_new(struct span prefix, struct span after, uint32_t limit)
{
    struct listing_command *command = calloc(1, sizeof *command + prefix.len + after.len);

    must(command != NULL);
    if (prefix.len > 0)
        memcpy(command->words, prefix.at, prefix.len);
    if (after.len > 0)
        memcpy(command->words + prefix.len, after.at, after.len);
    prefix                = span_of(command->words, prefix.len);
    after                 = span_of(command->words + prefix.len, after.len);
    command->command.kind = &listing_kind;
    command->listing      = listing_empty(prefix, after, limit);
    command->durable      = listing_empty(prefix, after, limit);
    command->memory       = listing_empty(prefix, after, limit);
    command->stage        = LISTING_ASKED;
    return command;
}

struct listing_command *listing_command_counting(void)
{
    struct listing_command *command = listing_command_new(SPAN(""), SPAN(""), LISTING_CHANNELS_MAX);

    command->stage = LISTING_NAMED;
    store_listing_begin(&command->listing);
    return command;
}

void listing_command_name(struct listing_command *command, struct channel_name **take_name)
{
    must(command->stage == LISTING_NAMED);
    store_listing_add(&command->listing, take_name);
}

void command_free(struct command *command)
{
    if (command != NULL)
        command->kind->free(command);
}

static void publish_free(struct command *command)
{
    struct publish_command *publish = container_of(command, struct publish_command, command);

    if (publish->is_late && !ref_put(&publish->ref))
        return;
    message_unref(publish->append.message);
    if (publish->append.write != NULL)
        ledger_write_fini(publish->append.write);
    free(publish->rows);
    free(publish);
}

static void read_free(struct command *command)
{
    struct read_command *read = container_of(command, struct read_command, command);

    store_read_fini(&read->read);
    channel_name_unref(read->read.channel);
    free(read);
}

static void follow_free(struct command *command)
{
    struct follow_command *follow = container_of(command, struct follow_command, command);

    channel_name_unref(follow->channel);
    free(follow);
}

static void hint_taken(const struct hint *hint)
{
    if (hint->account == NULL)
        return;
    counter_add(&hint->account->taken_count, hint->count);
    counter_add(&hint->account->taken_bytes, hint->bytes);
}

static void deliver_free(struct command *command)
{
    struct deliver_command *deliver = container_of(command, struct deliver_command, hint.command);

    for (uint32_t i = 0; i < deliver->hint.count; i++)
        message_unref(deliver->messages[i]);
    hint_taken(&deliver->hint);
    free(deliver);
}

static void moved_free(struct command *command)
{
    struct moved_command *moved = container_of(command, struct moved_command, hint.command);

    for (uint32_t i = 0; i < moved->hint.count; i++)
        channel_name_unref(moved->heads[i].channel);
    hint_taken(&moved->hint);
    free(moved);
}

static void heartbeat_free(struct command *command)
{
    free(container_of(command, struct heartbeat_command, command));
}

static void stats_free(struct command *command)
{
    free(container_of(command, struct stats_command, command));
}

static void count_free(struct command *command)
{
    struct count_command *count = container_of(command, struct count_command, command);

    channel_name_unref(count->channel);
    free(count);
}

static void purged_free(struct command *command)
{
    struct purged_command *purged = container_of(command, struct purged_command, command);

    if (purged->publish != NULL)
        command_free(&purged->publish->command);
    channel_name_unref(purged->channel);
    free(purged);
}

static void listing_free(struct command *command)
{
    struct listing_command *listing = container_of(command, struct listing_command, command);

    store_listing_fini(&listing->listing);
    store_listing_fini(&listing->durable);
    store_listing_fini(&listing->memory);
    free(listing->subscribers);
    free(listing);
}

const struct command_kind publish_kind   = { "publish", publish_free, shard_take_publish, writer_take_publish, false };
const struct command_kind read_kind      = { "read", read_free, shard_take_read, writer_take_read, true };
const struct command_kind follow_kind    = { "follow", follow_free, shard_take_follow, writer_take_follow, true };
const struct command_kind unfollow_kind  = { "unfollow", follow_free, NULL, writer_take_unfollow, false };
const struct command_kind deliver_kind   = { "deliver", deliver_free, shard_take_deliver, NULL, true };
const struct command_kind moved_kind     = { "moved", moved_free, shard_take_moved, NULL, true };
const struct command_kind heartbeat_kind = { "heartbeat", heartbeat_free, shard_take_heartbeat, writer_take_heartbeat,
                                             true };
const struct command_kind stats_kind     = { "stats", stats_free, shard_take_stats, writer_take_stats, false };
const struct command_kind count_kind     = { "count", count_free, shard_take_count, writer_take_count, false };
const struct command_kind listing_kind   = { "listing", listing_free, shard_take_listing, writer_take_listing, false };
const struct command_kind purged_kind    = { "purged", purged_free, shard_take_purged, writer_take_purged, true };
