#include "purger.h"

#include <stdlib.h>

#include "base/must.h"
#include "sim_node.h"

enum { PURGE_PAUSE_MS_MAX = 250 };

#define PURGER_SALT UINT64_C(0x7075726765)

/* The last purge of a channel that was answered. */
struct purged_log {
    uint64_t epoch, head;
    unsigned loop;
    msec     at;
};

struct purger {
    struct world           *world;
    struct rng              chance;
    bool                    is_active;
    unsigned                loop, channel;
    struct publish_command *command;  /* under way, or NULL */
    msec                    next_at;
    struct purged_log       logs[CHANNELS_MAX];
};

struct purger *purger_new(struct world *world)
{
    struct purger *purger = calloc(1, sizeof *purger);

    must(purger != NULL);
    purger->world     = world;
    purger->chance    = (struct rng){ world->seed ^ PURGER_SALT };
    purger->is_active = rng_below(&purger->chance, 2) == 0;
    return purger;
}

void purger_free(struct purger *purger)
{
    free(purger);
}

bool purger_is_active(const struct purger *purger)
{
    return purger->is_active;
}

static void purge_came(struct publish_command *command)
{
    struct purger             *purger = command->owner;
    const struct purge_answer *purged = &command->append.purged;

    if (purger != NULL && command->outcome == PUBLISH_PURGED) {
        tell(purger->world, "%s is purged up to %" PRIu64, purger->world->channels[purger->channel]->text,
             purged->head);
        promise(purger->world, purged->first <= purged->head + 1, "a purge begins behind the head");
        purger->logs[purger->channel] =
            (struct purged_log){ purged->epoch, purged->head, purger->loop, purger->world->now };
    }
    if (purger != NULL)
        purger->command = NULL;
    command_free(&command->command);
}

void purger_turn(struct purger *purger, unsigned loop)
{
    struct world *world = purger->world;

    if (!purger->is_active || purger->command != NULL || world->is_healing || purger->next_at > world->now)
        return;
    if (loop != rng_below(&purger->chance, world->loop_count))
        return;
    purger->next_at          = world->now + (msec)rng_below(&purger->chance, PURGE_PAUSE_MS_MAX);
    purger->loop             = loop;
    purger->channel          = (unsigned)rng_below(&purger->chance, world->channel_count);
    purger->command          = purge_command_new(world->channels[purger->channel]);
    purger->command->owner    = purger;
    purger->command->answered = purge_came;
    shard_publish(world_shard(world, loop), purger->command);
}

void purger_cut(struct purger *purger, struct loop_range range)
{
    if (loop_is_in(range, purger->loop))
        purger->command = NULL;
}

void purger_check(const struct purger *purger, unsigned channel, unsigned loop, const struct message *message,
                  msec since)
{
    const struct purged_log *log = &purger->logs[channel];
    bool is_same_node = loop_is_in(world_loops_of(purger->world, log->loop), loop);

    promise(purger->world,
            log->epoch != message->epoch || message->seq > log->head ||
                since <= log->at + purger->world->purge_ms || !is_same_node,
            "purged stays purged: %s %" PRIu64 " is given", message->channel->text, message->seq);
}

void purger_check_end(const struct purger *purger)
{
    for (unsigned i = 0; i < purger->world->channel_count; i++) {
        struct log_now log = world_log(purger->world, i);
        promise(purger->world, purger->logs[i].epoch != log.epoch || log.first > purger->logs[i].head,
                "a purge is in the log: %s begins at %" PRIu64, purger->world->channels[i]->text, log.first);
    }
}
