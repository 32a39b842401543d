#include "askers.h"

#include <stdlib.h>

#include "base/must.h"
#include "sim_node.h"
#include "model.h"
#include "purger.h"
#include "readers.h"

enum { ASKERS_MAX = 2, PAUSE_MS_MAX = 80, LIMIT_MAX = 12, CALM_MS = 700 };

struct asker {
    struct world  *world;
    unsigned       no, loop, channel;
    struct command *command;     /* under way, or NULL */
    msec           next_at, asked_at;
    uint64_t       bound;
    uint64_t       acked;      /* the last seq that was acknowledged when it asked … */
    uint64_t       epoch;      /* … in this life of the log */
};

struct askers {
    unsigned     count;
    struct asker at[ASKERS_MAX];
};

struct askers *askers_new(struct world *world)
{
    struct askers *askers = calloc(1, sizeof *askers);

    must(askers != NULL);
    askers->count = (unsigned)draw(world, OF_ASKERS, ASKERS_MAX + 1);
    for (unsigned i = 0; i < askers->count; i++)
        askers->at[i] = (struct asker){ .world = world, .no = i };
    return askers;
}

void askers_free(struct askers *askers)
{
    free(askers);
}

static const char *channel_text(const struct asker *asker)
{
    return asker->world->channels[asker->channel]->text;
}

/* --- history --- */

static uint64_t entry_first(const struct entry *entry)
{
    return entry->message != NULL ? entry->message->seq : entry->gap.from;
}

static void history_check_entry(const struct asker *asker, const struct store_read *read, const struct entry *entry)
{
    struct world  *world = asker->world;
    struct log_now log   = world_log(world, asker->channel);

    if (entry->message == NULL) {
        if (log.epoch == read->epoch)
            model_check_gap(world->model, asker->channel, &entry->gap, &log);
        return;
    }
    promise(world, entry->message->epoch == read->epoch, "history of %s mixes epochs", channel_text(asker));
    promise(world, !message_is_expired(entry->message, read->wall), "history of %s shows what has expired",
            channel_text(asker));
    model_saw(world->model, asker->channel, entry->message, asker->asked_at);
    purger_check(world->purger, asker->channel, asker->loop, entry->message, asker->asked_at);
}

/* Begins or ends where it was asked to. */
static void history_check_edge(const struct asker *asker, const struct store_read *read)
{
    uint64_t end      = asker->bound == 0 || asker->bound > read->head ? read->head : asker->bound - 1;
    bool     is_empty = read->way == READ_AFTER ? asker->bound >= read->head : end == 0;

    promise(asker->world, is_empty == (read->entry_count == 0), "history of %s: %zu entries, asked from %" PRIu64,
            channel_text(asker), read->entry_count, asker->bound);
    if (is_empty)
        return;
    if (read->way == READ_AFTER)
        promise(asker->world, entry_first(&read->entries[0]) == asker->bound + 1, "history of %s begins at %" PRIu64,
                channel_text(asker), entry_first(&read->entries[0]));
    else
        promise(asker->world, entry_last(&read->entries[read->entry_count - 1]) == end,
                "history of %s ends at %" PRIu64 ", not at %" PRIu64, channel_text(asker),
                entry_last(&read->entries[read->entry_count - 1]), end);
}

static void history_check(const struct asker *asker, const struct store_read *read)
{
    struct world *world = asker->world;

    promise(world, read->first <= read->head + 1, "%s begins within itself", channel_text(asker));
    promise(world, read->epoch != asker->epoch || read->head >= asker->acked,
            "history of %s ends at %" PRIu64 ", but %" PRIu64 " was acknowledged", channel_text(asker), read->head,
            asker->acked);
    history_check_edge(asker, read);
    for (size_t i = 0; i < read->entry_count; i++) {
        if (i > 0)
            promise(world, entry_first(&read->entries[i]) == entry_last(&read->entries[i - 1]) + 1,
                    "history of %s has a hole at %" PRIu64, channel_text(asker), entry_first(&read->entries[i]));
        history_check_entry(asker, read, &read->entries[i]);
    }
}

static void history_came(struct read_command *command)
{
    struct asker *asker = command->owner;

    if (asker != NULL && command->read.rc == RC_OK)
        history_check(asker, &command->read);
    if (asker != NULL)
        asker->command = NULL;
    command_free(&command->command);
}

static void ask_history(struct asker *asker)
{
    struct world       *world  = asker->world;
    struct log_now      log    = world_log(world, asker->channel);
    struct read_command *command = read_command_new(world->channels[asker->channel]);

    asker->bound           = draw(world, OF_ASKERS, log.head + 3);
    asker->epoch           = log.epoch;
    asker->acked           = model_acked_head(world->model, asker->channel, log.epoch);
    command->read.way       = one_in(world, OF_ASKERS, 2) ? READ_BEFORE : READ_AFTER;
    command->read.bound     = asker->bound;
    command->read.limit     = 1 + (uint32_t)draw(world, OF_ASKERS, LIMIT_MAX);
    command->read.bytes_max = 4096;
    command->answered       = history_came;
    command->owner          = asker;
    asker->command          = &command->command;
    shard_read(world_shard(world, asker->loop), command);
}

/* --- who is there? --- */

static void count_came(struct count_command *command)
{
    struct asker *asker = command->owner;

    if (asker != NULL) {
        struct world *world = asker->world;
        size_t        here  = readers_here(world->readers, asker->channel, world_loops_of(world, asker->loop));
        /* Comings and goings take their time to be known everywhere. */
        if (readers_moved_at(world->readers) + CALM_MS <= asker->asked_at && world->is_healing)
            promise(world, command->count == here, "%" PRIu64 " of %zu readers of %s are counted", command->count, here,
                    channel_text(asker));
        asker->command = NULL;
    }
    command_free(&command->command);
}

static void ask_count(struct asker *asker)
{
    struct count_command *command = count_command_new(asker->world->channels[asker->channel]);

    command->answered = count_came;
    command->owner    = asker;
    asker->command    = &command->command;
    shard_count(world_shard(asker->world, asker->loop), command);
}

/* --- how is the node? --- */

static void stats_came(struct stats_command *command)
{
    struct asker *asker = command->owner;

    if (asker != NULL) {
        const struct writer_limits *limits = &asker->world->nodes[0]->writer_limits;
        promise(asker->world,
                command->stats.waiting_count <= limits->waiting_count_max + STORE_BATCHES_MAX * limits->batch_count_max,
                "%zu publishes wait", command->stats.waiting_count);
        promise(asker->world, command->stats.followed_count <= asker->world->channel_count, "%zu channels are followed",
                command->stats.followed_count);
        asker->command = NULL;
    }
    command_free(&command->command);
}

static void ask_stats(struct asker *asker)
{
    struct stats_command *command = calloc(1, sizeof *command);

    must(command != NULL);
    command->answered = stats_came;
    command->owner    = asker;
    asker->command    = &command->command;
    shard_ask_stats(world_shard(asker->world, asker->loop), command);
}

/* --- turns --- */

static void asker_turn(struct asker *asker)
{
    struct world *world = asker->world;

    if (asker->command != NULL || asker->next_at > world->now || world_is_hushed(world))
        return;
    asker->next_at  = world->now + (msec)draw(world, OF_ASKERS, PAUSE_MS_MAX);
    asker->asked_at = world->now;
    asker->channel  = (unsigned)draw(world, OF_ASKERS, world->channel_count);
    switch (draw(world, OF_ASKERS, 4)) {
    case 0: ask_count(asker); break;
    case 1: ask_stats(asker); break;
    default: ask_history(asker); break;
    }
}

void askers_turn(struct askers *askers, unsigned loop)
{
    for (unsigned i = 0; i < askers->count; i++) {
        struct asker *asker = &askers->at[i];
        if (asker->command == NULL)
            asker->loop = draw_loop(asker->world, OF_ASKERS);
        if (asker->loop == loop)
            asker_turn(asker);
    }
}

void askers_cut(struct askers *askers, struct loop_range range)
{
    for (unsigned i = 0; i < askers->count; i++)
        if (loop_is_in(range, askers->at[i].loop))
            askers->at[i].command = NULL;
}
