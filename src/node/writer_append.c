/* writer_append.c - publishes on their way into the stores: lanes, batches, deadlines, answers. */
#include <stdlib.h>

#include "base/must.h"
#include "node/writer_priv.h"

/* Appends that go to the store together, and the command that tells of their end. While the store has the batch, its
 * list of appends is the store's alone; the writer looks at `publishes`. */
struct writer_batch {
    struct append_batch      appends;
    struct command           committed;
    struct writer           *writer;
    struct lane             *lane;       /* NULL: writer.quick */
    struct publish_command **publishes;
    size_t                   count, cap;
};

static const struct command_kind committed_kind;

static struct publish_command *publish_of(struct list *link)
{
    return container_of(link, struct publish_command, append.link);
}

static struct writer_batch *writer_batch_new(struct writer *writer, struct lane *lane,
                                             void (*done)(struct append_batch *))
{
    struct writer_batch *batch = calloc(1, sizeof *batch);

    must(batch != NULL);
    batch->writer         = writer;
    batch->lane           = lane;
    batch->committed.kind = &committed_kind;
    batch->appends.done   = done;
    list_init(&batch->appends.appends);
    return batch;
}

static void writer_batch_free(struct writer_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        command_free(&batch->publishes[i]->command);
    free(batch->publishes);
    free(batch);
}

static void writer_batch_add(struct writer_batch *batch, struct publish_command *publish)
{
    if (batch->count == batch->cap) {
        batch->cap       = batch->cap == 0 ? 64 : batch->cap * 2;
        batch->publishes = reallocarray(batch->publishes, batch->cap, sizeof batch->publishes[0]);
        must(batch->publishes != NULL);
    }
    batch->publishes[batch->count++] = publish;
    list_push(&batch->appends.appends, &publish->append.link);
    batch->appends.count = batch->count;
}

static void writer_commit_done(struct append_batch *appends);
static void writer_quick_done(struct append_batch *appends);

static void store_parts_init(struct writer_store *from)
{
    from->part_count = from->store->part_count == 0 ? 1 : from->store->part_count;
    must(from->lane_count % from->part_count == 0);
    uint32_t each = from->lane_count / from->part_count;
    for (uint32_t i = 0; i < from->part_count; i++) {
        from->parts[i] = (struct writer_part){ .lanes = &from->lanes[i * each], .lane_count = each };
        list_init(&from->parts[i].waiting);
    }
    for (uint32_t i = 0; i < from->lane_count; i++)
        from->lanes[i].part = &from->parts[i / each];
}

static void store_lanes_init(struct writer *writer, struct writer_store *from)
{
    from->lane_count = from->store->batches_max;
    must(from->lane_count >= 1 && from->lane_count <= STORE_BATCHES_MAX);
    for (uint32_t i = 0; i < from->lane_count; i++) {
        struct lane *lane = &from->lanes[i];
        lane->from        = from;
        lane->batch       = writer_batch_new(writer, lane, writer_commit_done);
        list_init(&lane->behind);
    }
    store_parts_init(from);
}

void writer_append_init(struct writer *writer)
{
    store_lanes_init(writer, &writer->durable);
    if (!writer->memory.store->is_inline)
        store_lanes_init(writer, &writer->memory);
    writer->quick = writer_batch_new(writer, NULL, writer_quick_done);
}

static void publishes_free(struct list *publishes)
{
    struct list *link;

    while ((link = list_pop(publishes)) != NULL)
        command_free(&publish_of(link)->command);
}

static void store_lanes_fini(struct writer_store *from)
{
    for (uint32_t i = 0; i < from->lane_count; i++) {
        struct lane *lane = &from->lanes[i];
        must(!lane->is_busy && lane->held == NULL && lane->resting == NULL);
        publishes_free(&lane->behind);
        writer_batch_free(lane->batch);
    }
    for (uint32_t i = 0; i < from->part_count; i++)
        publishes_free(&from->parts[i].waiting);
}

void writer_append_fini(struct writer *writer)
{
    store_lanes_fini(&writer->durable);
    store_lanes_fini(&writer->memory);
    writer_batch_free(writer->quick);
}

bool writer_has_waiting_quick(const struct writer *writer)
{
    return writer->quick->count > 0;
}

size_t writer_batch_count(const struct lane *lane)
{
    return lane->batch->count;
}

void writer_answer(struct writer *writer, struct publish_command *publish, enum publish_outcome outcome)
{
    publish->outcome = outcome;
    if (publish->settled != NULL)
        publish->settled(publish, writer);
    else
        writer->port->send(writer->ctx, publish->command.loop, &publish->command);
}

/* --- coming in ------------------------------------------------------------------------------------------------ */

/* A publish that comes later in the same turn and would fit must not overtake one that was refused. */
static bool store_refuses(struct writer_store *from, const struct writer_limits *limits, size_t bytes)
{
    if (from->waiting_count >= limits->waiting_count_max || from->waiting_bytes + bytes > limits->waiting_bytes_max)
        from->is_refusing = true;
    return from->is_refusing;
}

/* What is published to everyone costs a delivery for each that follows. */
static bool is_too_often(struct writer *writer, const struct publish_command *publish)
{
    if (publish->append.is_purge || writer->limits.all_per_s == 0 ||
        !name_is_wide(publish->append.message->channel))
        return false;
    if (writer->tick - writer->all_tick >= HEARTBEAT_TICKS) {
        writer->all_tick  = writer->tick;
        writer->all_count = 0;
    }
    return ++writer->all_count > writer->limits.all_per_s;
}

static struct writer_part *store_part_of(struct writer_store *from, const struct channel_name *name)
{
    uint32_t at = from->part_count == 1 ? 0 : from->store->ops->part_of(from->store, name);

    must(at < from->part_count);
    return &from->parts[at];
}

void writer_take_publish(struct command *command, struct writer *writer)
{
    struct publish_command *publish = container_of(command, struct publish_command, command);
    struct channel_name    *name    = publish->append.message->channel;
    struct writer_store    *from    = writer_store_of(writer, name);
    size_t                  bytes   = message_size(publish->append.message);

    publish->append.outcome = APPEND_WAITING;
    publish->tick           = writer->tick;
    if (is_too_often(writer, publish)) {
        counter_add(&writer->refused, 1);
        writer_answer(writer, publish, PUBLISH_TOO_OFTEN);
        return;
    }
    if (from->lane_count == 0) {
        writer_batch_add(writer->quick, publish);
        return;
    }
    if (store_refuses(from, &writer->limits, bytes)) {
        counter_add(&writer->refused, 1);
        writer_answer(writer, publish, PUBLISH_BUSY);
        return;
    }
    if (writer->watch != NULL)
        writer->watch->begins(writer->watch_ctx, publish);
    struct writer_part *part = store_part_of(from, name);
    list_push(&part->waiting, &publish->append.link);
    part->waiting_count++;
    from->waiting_count++;
    from->waiting_bytes += bytes;
}

/* --- to the stores -------------------------------------------------------------------------------------------- */

static void waits_no_longer(struct writer_store *from, const struct publish_command *publish)
{
    from->waiting_count--;
    from->waiting_bytes -= message_size(publish->append.message);
}

static void lane_add(struct lane *lane, struct publish_command *publish)
{
    const struct channel_name *name = publish->append.message->channel;

    waits_no_longer(lane->from, publish);
    lane->from->holders[writer_bucket_of(name)] = (uint8_t)(1 + (lane - lane->from->lanes));
    lane->batch_bytes += message_size(publish->append.message);
    writer_batch_add(lane->batch, publish);
}

static size_t larger(size_t one, size_t other)
{
    return one > other ? one : other;
}

static size_t smaller(size_t one, size_t other)
{
    return one < other ? one : other;
}

/* How many appends a batch may take. Batches overlap: one computes while another one waits for the disk. So each takes half of all that
 * waits and is under way; else what came back together would leave together, in one batch, and nothing would overlap. But each has its
 * price, so that it takes the store's least number at least; and twice that is enough, unless the lanes have more to share. */
static size_t part_share(const struct writer *writer, const struct writer_part *part)
{
    const size_t least   = part->lanes[0].from->store->batch_least;
    size_t       appends = part->waiting_count;

    if (least == 0)
        return writer->limits.batch_count_max;
    for (uint32_t i = 0; i < part->lane_count; i++)
        appends += part->lanes[i].batch->count;
    size_t share = smaller(appends / 2, 2 * least);
    share        = larger(share, (appends + part->lane_count - 1) / part->lane_count);
    return smaller(larger(share, least), writer->limits.batch_count_max);
}

/* Takes what has waited longest. What may be of a channel of a batch under way waits behind that batch. */
static void lane_fill(struct writer *writer, struct lane *lane)
{
    struct writer_part *part  = lane->part;
    size_t              share = part_share(writer, part);

    lane->batch_bytes = 0;
    while (!list_is_empty(&part->waiting) && lane->batch->count < share &&
           lane->batch_bytes < writer->limits.batch_bytes_max) {
        struct publish_command *publish = publish_of(list_pop(&part->waiting));
        struct lane            *holder  = writer_lane_of(writer, publish->append.message->channel);
        part->waiting_count--;
        if (holder == NULL || holder == lane) {
            lane_add(lane, publish);
        } else {
            list_push(&holder->behind, &publish->append.link);
            holder->behind_count++;
        }
    }
}

static void lane_submit(struct writer *writer, struct lane *lane, msec wall)
{
    struct writer_batch *batch = lane->batch;

    must(batch->count == 0 && list_is_empty(&batch->appends.appends));
    lane_fill(writer, lane);
    if (batch->count == 0)
        return;
    batch->appends.wall = wall;
    lane->is_late       = false;
    lane->is_busy       = true;
    lane->busy_at       = wall;
    lane->busy_tick     = writer->tick;
    lane->from->store->ops->append(lane->from->store, &batch->appends);
}

/* Of the batches under way: how many there are, and their appends. One that has been under way for long says nothing about the others. */
struct part_load {
    size_t batches, appends;
    bool   has_room;  /* a lane is free */
};

static struct part_load part_load_of(const struct writer *writer, const struct writer_part *part)
{
    struct part_load load = { 0 };

    for (uint32_t i = 0; i < part->lane_count; i++) {
        const struct lane *lane = &part->lanes[i];
        bool               is_young = lane->is_busy && writer->tick - lane->busy_tick <= 1;
        load.has_room |= !lane->is_busy;
        load.batches += is_young;
        load.appends += is_young ? lane->batch->count : 0;
    }
    return load;
}

/* Each commit has its price, so that small ones must not take turns with large ones: a batch leaves when it has three quarters as
 * many appends as those that are under way, on average, or when none is. Returns how many that are. */
static size_t load_ripe_count(const struct part_load *load)
{
    return load->batches == 0 ? 1 : (3 * load->appends + 4 * load->batches - 1) / (4 * load->batches);
}

static bool part_is_ripe(const struct writer *writer, const struct writer_part *part)
{
    const struct part_load load = part_load_of(writer, part);

    return part->waiting_count > 0 && part->waiting_count >= load_ripe_count(&load);
}

static void part_submit(struct writer *writer, struct writer_part *part, msec wall)
{
    for (uint32_t i = 0; i < part->lane_count && part->waiting_count > 0; i++)
        if (!part->lanes[i].is_busy && part_is_ripe(writer, part))
            lane_submit(writer, &part->lanes[i], wall);
}

static void store_submit(struct writer *writer, struct writer_store *from, msec wall)
{
    for (uint32_t i = 0; i < from->part_count; i++)
        part_submit(writer, &from->parts[i], wall);
}

static void writer_submit_quick(struct writer *writer, msec wall)
{
    if (writer->quick->count == 0)
        return;
    writer->quick->appends.wall = wall;
    writer->memory.store->ops->append(writer->memory.store, &writer->quick->appends);
}

void writer_submit(struct writer *writer, msec wall)
{
    store_submit(writer, &writer->durable, wall);
    store_submit(writer, &writer->memory, wall);
    writer_submit_quick(writer, wall);
}

/* --- between two turns ---------------------------------------------------------------------------------------- */

bool writer_may_leave(const struct writer *writer, const struct command *command)
{
    return command->kind == &publish_kind && writer->durable.store->batch_least > 0 &&
           name_is_durable(container_of(command, const struct publish_command, command)->append.message->channel);
}

size_t writer_leave_count(const struct writer *writer)
{
    const struct writer_part *part = &writer->durable.parts[0];

    if (writer->durable.part_count != 1)
        return 0;
    const struct part_load load = part_load_of(writer, part);
    if (load.batches > 0 && !load.has_room)
        return WRITER_LEAVE_MAX;
    const size_t ripe = load_ripe_count(&load);
    return part->waiting_count + 1 < ripe ? ripe - part->waiting_count - 1 : 0;
}

bool writer_publishes_at_once(const struct writer *writer, const struct command *command)
{
    if (command->kind != &publish_kind || writer->watch != NULL || writer->cluster != NULL)
        return false;
    const struct publish_command *publish = container_of(command, const struct publish_command, command);
    const struct namespace       *space   = publish->append.message->channel->space;

    return space->durability != DURABLE && writer->memory.lane_count == 0 && !publish->append.is_purge &&
           publish->append.write == NULL && publish->settled == NULL && !space->is_servers && !namespace_forwards(space);
}

void writer_publish_at_once(struct writer *writer, struct mail *commands, msec wall)
{
    must(writer->quick->count == 0);
    while (commands != NULL) {
        struct mail *next = commands->next;
        writer_take(writer, command_of(commands), wall);
        commands = next;
    }
    writer_submit_quick(writer, wall);
    writer_put_questions(writer);
    writer_send_deliveries(writer);
}

/* --- their ends ----------------------------------------------------------------------------------------------- */

static enum publish_outcome outcome_of(const struct append *append)
{
    switch (append->outcome) {
    case APPEND_DONE: return PUBLISH_DONE;
    case APPEND_REPLAYED: return PUBLISH_REPLAYED;
    case APPEND_KEY_CONFLICT: return PUBLISH_KEY_CONFLICT;
    case APPEND_NO_TARGET: return PUBLISH_NO_TARGET;
    case APPEND_NO_SPACE: return PUBLISH_NO_SPACE;
    case APPEND_AWAY: return PUBLISH_AWAY;
    case APPEND_PURGED: return PUBLISH_PURGED;
    case APPEND_STALE: return PUBLISH_STALE;
    case APPEND_WAITING: must(!"a store completes every append of a batch"); break;
    case APPEND_BROKEN: break;
    }
    return PUBLISH_BROKEN;
}

static void writer_tell_cluster(struct writer *writer, struct message *message)
{
    if (writer_is_routed(writer, message->channel))
        writer->cluster->committed(writer->cluster_ctx, message);
}

/* A hint for who carries messages to back ends. */
static void writer_tell_uplink(struct writer *writer, struct message *message)
{
    const struct namespace *space = message->channel->space;

    if (writer->uplink != NULL && (namespace_forwards(space) || space->is_servers))
        writer->uplink->committed(writer->uplink_ctx, message);
}

static void publish_finish(struct writer *writer, struct publish_command *publish, bool is_late)
{
    struct message *message = publish->append.message;

    if (publish->append.outcome == APPEND_PURGED) {
        writer_take_purge(writer, publish, is_late);
        return;
    }
    if (publish->append.outcome == APPEND_DONE) {
        writer_spread(writer, message);
        writer_tell_cluster(writer, message);
        writer_tell_uplink(writer, message);
        if (writer->watch != NULL)
            writer->watch->committed(writer->watch_ctx, publish);
    }
    if (is_late) {
        command_free(&publish->command);  /* it was answered; the loop gives up its part, too */
        return;
    }
    if (publish->append.outcome == APPEND_DONE)
        publish->answer = (struct append_answer){ message->epoch, message->seq, message->id, message->time };
    else
        publish->answer = publish->append.first;
    writer_answer(writer, publish, outcome_of(&publish->append));
}

static void writer_batch_finish(struct writer_batch *batch)
{
    size_t count   = batch->count;
    bool   is_late = batch->lane != NULL && batch->lane->is_late;

    list_init(&batch->appends.appends);
    batch->count = batch->appends.count = 0;
    for (size_t i = 0; i < count; i++)
        publish_finish(batch->writer, batch->publishes[i], is_late);
}

/* Other appends of the batch came to an end, so the store itself is well: the records of these channels are damaged. */
static void writer_doubt_damaged(struct writer *writer, const struct writer_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        const struct append *append = &batch->publishes[i]->append;
        struct tail         *tail   = tails_find(&writer->tails, append->message->channel);
        if (append->outcome == APPEND_BROKEN && tail != NULL)
            writer_outdate(writer, tail);
    }
}

/* A batch whose outcome a broken store does not know may be in the log all the same, and appear when the store has
 * reopened. So no head is believed that was read before the store's first successful answer after that: otherwise a
 * message might wait unseen until the next one comes. */
static void writer_doubt(struct writer *writer, const struct writer_batch *batch)
{
    struct writer_store *from         = batch->lane->from;
    size_t               broken_count = 0, good_count = 0;

    for (size_t i = 0; i < batch->count; i++) {
        enum append_outcome outcome = batch->publishes[i]->append.outcome;
        broken_count += outcome == APPEND_BROKEN;
        good_count += outcome != APPEND_BROKEN && outcome != APPEND_NO_SPACE && outcome != APPEND_AWAY;
    }
    if (broken_count > 0 && good_count > 0)
        writer_doubt_damaged(writer, batch);
    bool is_doubtful = good_count == 0 && (broken_count > 0 || from->is_doubtful);
    if (writer->cluster != NULL && from->is_shared && (broken_count > 0 || is_doubtful != from->is_doubtful))
        writer->cluster->doubted(writer->cluster_ctx);
    if (is_doubtful == from->is_doubtful)
        return;
    from->is_doubtful = is_doubtful;
    writer_outdate_all(writer, from);
}

/* On a thread of the store. */
static void writer_commit_done(struct append_batch *appends)
{
    struct writer_batch *batch = container_of(appends, struct writer_batch, appends);
    batch->writer->port->post(batch->writer->ctx, &batch->committed);
}

/* What has waited for its end comes before what came later. */
static void lane_end(struct lane *lane)
{
    struct writer_part *part = lane->part;

    for (size_t i = 0; i < lane->batch->count; i++)
        lane->from->holders[writer_bucket_of(lane->batch->publishes[i]->append.message->channel)] = 0;
    lane->is_busy = false;
    list_move(&lane->behind, &part->waiting);
    list_move(&part->waiting, &lane->behind);
    part->waiting_count += lane->behind_count;
    lane->behind_count = 0;
}

static void writer_take_committed(struct command *command, struct writer *writer)
{
    struct writer_batch *batch = container_of(command, struct writer_batch, committed);

    must(batch->writer == writer && batch->lane->is_busy);
    lane_end(batch->lane);
    writer_doubt(writer, batch);
    writer_batch_finish(batch);
    writer_take_held(writer, batch->lane);
}

static void writer_quick_done(struct append_batch *appends)
{
    writer_batch_finish(container_of(appends, struct writer_batch, appends));
}

static size_t writer_committed_count(const struct command *command)
{
    return container_of(command, const struct writer_batch, committed)->count;
}

static const struct command_kind committed_kind = {
    .name = "committed", .free = never_free, .at_writer = writer_take_committed, .ended_count = writer_committed_count,
};

/* --- deadlines ------------------------------------------------------------------------------------------------ */

/* Deadlines count ticks and read no clock, so that no publish fails when the wall clock is set. */
static bool writer_is_over(const struct writer *writer, uint32_t tick)
{
    return writer->tick - tick >= writer->limits.deadline_ticks;
}

/* The store has it: it is perhaps stored. The store still holds the appends, so that each publish now has two owners.
 * Who waits for a head waits no longer for the messages of this batch. */
static void writer_batch_answer_late(struct writer_batch *batch)
{
    batch->lane->is_late = true;
    counter_add(&batch->writer->late, batch->count);
    for (size_t i = 0; i < batch->count; i++) {
        struct publish_command *publish = batch->publishes[i];
        publish->is_late                = true;
        ref_get(&publish->ref);
        writer_answer(batch->writer, publish, PUBLISH_BROKEN);
    }
    writer_take_held(batch->writer, batch->lane);
}

/* None of them was given to the store. Returns how many were answered. */
static size_t waiting_answer_late(struct writer *writer, struct writer_store *from, struct list *waiting)
{
    size_t count = 0;

    for (struct list *link = waiting->next, *next = link->next; link != waiting; link = next, next = link->next) {
        struct publish_command *publish = publish_of(link);
        if (!writer_is_over(writer, publish->tick))
            continue;
        list_take(link);
        waits_no_longer(from, publish);
        counter_add(&writer->late, 1);
        writer_answer(writer, publish, PUBLISH_AWAY);
        count++;
    }
    return count;
}

static void store_tick_deadlines(struct writer *writer, struct writer_store *from)
{
    for (uint32_t i = 0; i < from->part_count; i++)
        from->parts[i].waiting_count -= waiting_answer_late(writer, from, &from->parts[i].waiting);
    for (uint32_t i = 0; i < from->lane_count; i++) {
        struct lane *lane = &from->lanes[i];
        lane->behind_count -= waiting_answer_late(writer, from, &lane->behind);
        if (lane->is_busy && !lane->is_late && writer_is_over(writer, lane->busy_tick))
            writer_batch_answer_late(lane->batch);
    }
}

void writer_tick_deadlines(struct writer *writer)
{
    store_tick_deadlines(writer, &writer->durable);
    store_tick_deadlines(writer, &writer->memory);
}
