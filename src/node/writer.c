#include "node/writer.h"

#include <stdlib.h>

#include "base/must.h"
#include "node/writer_priv.h"

void writer_init(struct writer *writer, const struct writer_port *port, void *ctx, struct store *durable,
                 struct store *memory, const struct writer_limits *limits, unsigned loop_count)
{
    must(loop_count >= 1 && loop_count <= LOOPS_MAX);
    must(limits->deadline_ticks >= 1 && limits->delivery_count_max >= 2 && limits->delivery_bytes_max >= 2);
    *writer = (struct writer){
        .port = port, .ctx = ctx, .limits = *limits, .loop_count = loop_count, .compare_ticks = HEARTBEAT_TICKS,
        .durable = { .store = durable, .is_shared = !durable->has_one_writer, .slots_credit = HEARTBEAT_TICKS - 1 },
        .memory  = { .store = memory, .is_shared = !memory->has_one_writer, .slots_credit = HEARTBEAT_TICKS - 1 },
    };
    tails_init(&writer->tails, limits->tail_bytes_max, limits->tail_messages_max);
    writer_append_init(writer);
}

void writer_fini(struct writer *writer)
{
    must(writer->read_count == 0);
    writer_deliver_fini(writer);
    writer_append_fini(writer);
    writer_follow_fini(writer);
    tails_fini(&writer->tails);
}

enum { LEAN_PART = 8 };

static void store_be_lean(struct store *store, bool is_lean)
{
    if (store->ops->lean != NULL)
        store->ops->lean(store, is_lean);
}

void writer_be_lean(struct writer *writer, bool is_lean)
{
    tails_limit(&writer->tails, is_lean ? writer->limits.tail_bytes_max / LEAN_PART : writer->limits.tail_bytes_max);
    store_be_lean(writer->durable.store, is_lean);
    if (writer->memory.store != writer->durable.store)
        store_be_lean(writer->memory.store, is_lean);
}

static bool store_has_busy_lane(const struct writer_store *from)
{
    for (uint32_t i = 0; i < from->lane_count; i++)
        if (from->lanes[i].is_busy)
            return true;
    return false;
}

static bool writer_store_is_idle(const struct writer_store *from)
{
    return from->waiting_count == 0 && from->away_count == 0 && from->gathering == NULL && !store_has_busy_lane(from);
}

static bool stores_are_idle(const struct writer *writer)
{
    return writer->read_count == 0 && !writer_has_waiting_quick(writer) && writer_store_is_idle(&writer->durable) &&
           writer_store_is_idle(&writer->memory);
}

bool writer_is_idle(const struct writer *writer)
{
    return (writer->uplink == NULL || writer->uplink->is_idle(writer->uplink_ctx)) && stores_are_idle(writer);
}

bool writer_is_still(const struct writer *writer)
{
    return (writer->uplink == NULL || writer->uplink->is_still(writer->uplink_ctx)) && stores_are_idle(writer);
}

struct channel_name *writer_share_name(const struct writer *writer, struct channel_name *take_name)
{
    const struct tail_entry *entry = tails_entry(&writer->tails, take_name);

    if (entry == NULL || entry->name == take_name)
        return take_name;
    channel_name_unref(take_name);
    return channel_name_ref(entry->name);
}

void writer_take(struct writer *writer, struct command *command, msec wall)
{
    must(command->kind->at_writer != NULL);
    writer->wall = wall;
    command->kind->at_writer(command, writer);
}

void writer_turn_end(struct writer *writer, msec wall)
{
    writer->wall                = wall;
    writer->durable.is_refusing = writer->memory.is_refusing = false;
    if (writer->uplink != NULL)
        writer->uplink->turn_end(writer->uplink_ctx);
    writer_submit(writer, wall);
    if (writer->cluster != NULL)
        writer->cluster->turn_end(writer->cluster_ctx);
    writer_put_questions(writer);
    writer_send_deliveries(writer);
}

void writer_tick(struct writer *writer, msec wall)
{
    writer->wall = wall;
    writer->tick++;
    writer_tick_deadlines(writer);
    writer_tick_heads(writer);
    writer_tick_moved(writer);
    if (writer->cluster != NULL)
        writer->cluster->tick(writer->cluster_ctx);
    if (writer->uplink != NULL)
        writer->uplink->tick(writer->uplink_ctx);
    writer->durable.store->ops->tick(writer->durable.store, wall);
    writer->memory.store->ops->tick(writer->memory.store, wall);
}

void never_free(struct command *command)
{
    (void)command;
    must(!"the writer takes back what it lent to a store");
}

/* --- questions about the writer -------------------------------------------------------------------------------- */

static void stats_add_lane(struct writer_stats *stats, const struct lane *lane, msec wall)
{
    if (!lane->is_busy)
        return;
    stats->waiting_count += writer_batch_count(lane);
    stats->waiting_bytes += lane->batch_bytes;
    if (wall > lane->busy_at && wall - lane->busy_at > stats->busy_ms)
        stats->busy_ms = wall - lane->busy_at;
}

void writer_take_stats(struct command *command, struct writer *writer)
{
    struct writer_stats *stats = &container_of(command, struct stats_command, command)->stats;

    *stats = (struct writer_stats){
        .waiting_count  = writer->durable.waiting_count + writer->memory.waiting_count,
        .waiting_bytes  = writer->durable.waiting_bytes + writer->memory.waiting_bytes,
        .tail_count     = writer->tails.map.count,
        .tail_bytes     = writer->tails.bytes,
        .followed_count = writer->durable.followed_count + writer->memory.followed_count,
    };
    for (uint32_t i = 0; i < writer->durable.lane_count; i++)
        stats_add_lane(stats, &writer->durable.lanes[i], writer->wall);
    for (uint32_t i = 0; i < writer->memory.lane_count; i++)
        stats_add_lane(stats, &writer->memory.lanes[i], writer->wall);
    writer->port->send(writer->ctx, command->loop, command);
}

void writer_take_count(struct command *command, struct writer *writer)
{
    struct count_command *count = container_of(command, struct count_command, command);

    if (!count->is_going) {
        count->is_going = true;
        count->to_visit = tails_followers(&writer->tails, count->channel);
    }
    count->is_home = count->to_visit == 0;
    unsigned loop  = count->is_home ? count->asker : (unsigned)__builtin_ctzll(count->to_visit);
    count->to_visit &= count->to_visit - 1;
    writer->port->send(writer->ctx, loop, command);
}
