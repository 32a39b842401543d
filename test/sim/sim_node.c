#include "sim_node.h"

#include <stdlib.h>

#include "base/must.h"
#include "hub/channel.h"
#include "readers.h"
#include "store/mem.h"
#include "store_sim.h"

enum { REST_MS_MAX = 25, ASK_FIRST_MS = 400 };

/* A command on its way. */
struct mail_item {
    struct list    link;
    struct command *command;
    msec           due;
    unsigned       turn;      /* of the writer, when it was sent */
    bool           is_stray;  /* may be overtaken */
};

static msec sim_node_wall(const struct sim_node *sim_node)
{
    return world_node_wall(sim_node->world, sim_node->no);
}

static void mail_put(struct sim_node *sim_node, struct list *box, struct command *command, msec delay, bool is_stray)
{
    struct mail_item *item = malloc(sizeof *item);

    must(item != NULL);
    *item = (struct mail_item){
        .command = command, .due = sim_node->world->now + delay, .turn = sim_node->turn, .is_stray = is_stray,
    };
    list_push(box, &item->link);
}

static bool mail_item_is_due(const struct sim_node *sim_node, const struct list *box, const struct mail_item *item)
{
    /* A turn takes the mail that is there when it begins. */
    bool is_of_this_turn = box == &sim_node->writer_mail && item->turn == sim_node->turn;

    return item->due <= sim_node->world->now && !is_of_this_turn;
}

/* The first command that is due; what isn't a stray waits for those before it. */
static struct command *mail_take(struct sim_node *sim_node, struct list *box)
{
    for (struct list *link = box->next; link != box; link = link->next) {
        struct mail_item *item = container_of(link, struct mail_item, link);
        bool           is_due = mail_item_is_due(sim_node, box, item);
        if (!is_due && item->is_stray)
            continue;
        if (!is_due)
            return NULL;
        struct command   *command = item->command;
        list_take(link);
        free(item);
        return command;
    }
    return NULL;
}

static msec mail_delay(struct sim_node *sim_node)
{
    if (!sim_node->world->faults.slow_mail || sim_node->world->is_healing)
        return 0;
    return one_in(sim_node->world, OF_MAIL, 4) ? (msec)draw(sim_node->world, OF_MAIL, 40) : 0;
}

/* --- hints --- */

/* What comes twice is taken once. */
static struct command *deliver_copy(const struct deliver_command *deliver)
{
    struct deliver_command *copy = malloc(sizeof *copy);

    must(copy != NULL);
    *copy              = *deliver;
    copy->hint.account = NULL;
    for (uint32_t i = 0; i < copy->hint.count; i++)
        message_ref(copy->messages[i]);
    return &copy->hint.command;
}

static struct command *moved_copy(const struct moved_command *moved)
{
    struct moved_command *copy = malloc(sizeof *copy);

    must(copy != NULL);
    *copy              = *moved;
    copy->hint.account = NULL;
    for (uint32_t i = 0; i < copy->hint.count; i++)
        channel_name_ref(copy->heads[i].channel);
    return &copy->hint.command;
}

static bool command_is_hint(const struct command *command)
{
    return command->kind == &deliver_kind || command->kind == &moved_kind;
}

static struct command *hint_copy(const struct command *command)
{
    return command->kind == &deliver_kind
               ? deliver_copy(container_of(command, struct deliver_command, hint.command))
               : moved_copy(container_of(command, struct moved_command, hint.command));
}

static void sim_node_send_hint(struct sim_node *sim_node, unsigned loop, struct command *command)
{
    struct world *world = sim_node->world;
    struct list  *box   = &sim_node->mail[loop];

    if (world->faults.lost_hints && !world->is_healing && one_in(world, OF_MAIL, 6)) {
        tell(world, "mail: a hint to loop %u is lost", loop);
        command_free(command);
        return;
    }
    if (world->faults.doubled_hints && !world->is_healing && one_in(world, OF_MAIL, 6))
        mail_put(sim_node, box, hint_copy(command), (msec)draw(world, OF_MAIL, LATE_MS_MAX), true);
    if (world->faults.late_hints && !world->is_healing && one_in(world, OF_MAIL, 4))
        mail_put(sim_node, box, command, (msec)draw(world, OF_MAIL, LATE_MS_MAX), true);
    else
        mail_put(sim_node, box, command, mail_delay(sim_node), false);
}

/* --- the bus --- */

struct bus_frame {
    struct list     link;
    struct message *message;  /* owns a reference */
    msec            due;
};

static void bus_put(struct sim_node *to, struct message *message, msec delay)
{
    struct bus_frame *frame = malloc(sizeof *frame);

    must(frame != NULL);
    *frame = (struct bus_frame){ .message = message_ref(message), .due = to->world->now + delay };
    list_push(&to->bus, &frame->link);
}

static void bus_frame_free(struct bus_frame *frame)
{
    message_unref(frame->message);
    free(frame);
}

static bool sim_node_is_registered(const struct sim_node *node, const struct channel_name *channel)
{
    msec at = node->followed_at[world_channel_of(node->world, channel)];

    if (node->world->plant == PLANT_ASK_FIRST && at >= 0)
        at += ASK_FIRST_MS;
    return at >= 0 && at <= node->world->now;
}

void sim_node_tell_others(struct sim_node *sim_node, struct message *message)
{
    struct world *world = sim_node->world;

    for (unsigned i = 0; world->has_bus && i < world->node_count; i++) {
        struct sim_node *other = world->nodes[i];
        if (other == sim_node || !sim_node_is_registered(other, message->channel))
            continue;
        if (world->faults.lost_bus && !world->is_healing && one_in(world, OF_BUS, 4)) {
            tell(world, "bus: %s %" PRIu64 " to node %u is lost", message->channel->text, message->seq, i);
            continue;
        }
        bool is_late = world->faults.late_bus && !world->is_healing && one_in(world, OF_BUS, 4);
        bus_put(other, message, is_late ? (msec)draw(world, OF_BUS, LATE_MS_MAX) : (msec)draw(world, OF_BUS, 3));
        if (world->faults.doubled_bus && !world->is_healing && one_in(world, OF_BUS, 4))
            bus_put(other, message, (msec)draw(world, OF_BUS, LATE_MS_MAX));
    }
}

/* The planted bug: the head goes back to where the message stands. */
static void sim_node_step_back(struct sim_node *sim_node, const struct message *message)
{
    struct tail *tail = tails_look(&sim_node->writer.tails, message->channel);

    if (sim_node->world->plant != PLANT_STEP_BACK || tail == NULL || tail->epoch != message->epoch ||
        tail->head < message->seq)
        return;
    tail_empty(&sim_node->writer.tails, tail);
    tail->head = message->seq - 1;
}

static void sim_node_hear_bus(struct sim_node *sim_node)
{
    struct list *next;

    for (struct list *link = sim_node->bus.next; link != &sim_node->bus; link = next) {
        struct bus_frame *frame = container_of(link, struct bus_frame, link);
        next                    = link->next;
        if (frame->due > sim_node->world->now)
            continue;
        list_take(link);
        sim_node_step_back(sim_node, frame->message);
        writer_hear(&sim_node->writer, frame->message);
        bus_frame_free(frame);
    }
}

static void sim_node_note_followed(struct sim_node *sim_node)
{
    for (unsigned i = 0; i < sim_node->world->channel_count; i++) {
        if (tails_followers(&sim_node->writer.tails, sim_node->world->channels[i]) == 0)
            sim_node->followed_at[i] = -1;
        else if (sim_node->followed_at[i] < 0)
            sim_node->followed_at[i] = sim_node->world->now;
    }
}

/* --- ports --- */

static void sim_node_on_send_to_loop(void *ctx, unsigned loop, struct command *command)
{
    struct sim_node *sim_node = ctx;

    if (sim_node->world->plant == PLANT_LATE_REFUSED && command->kind == &publish_kind &&
        container_of(command, struct publish_command, command)->is_late)
        container_of(command, struct publish_command, command)->outcome = PUBLISH_AWAY;
    if (sim_node->world->plant == PLANT_KEEP_PURGED && command->kind == &purged_kind)
        container_of(command, struct purged_command, command)->head = 0;
    if (sim_node->is_dying)
        command_free(command);
    else if (command_is_hint(command))
        sim_node_send_hint(sim_node, loop, command);
    else
        mail_put(sim_node, &sim_node->mail[loop], command, mail_delay(sim_node), false);
}

static void sim_node_on_post(void *ctx, struct command *command)
{
    struct sim_node *sim_node = ctx;
    struct world *world = sim_node->world;
    bool          late  = world->faults.late_answers && !world->is_healing && !sim_node->is_in_turn &&
                one_in(world, OF_MAIL, 4);

    mail_put(sim_node, &sim_node->writer_mail, command, late ? (msec)draw(world, OF_MAIL, LATE_MS_MAX) : 0, true);
}

static const struct writer_port writer_port = { .send = sim_node_on_send_to_loop, .post = sim_node_on_post };

static void sim_node_on_send_to_writer(void *ctx, struct command *command)
{
    struct sim_node *sim_node = ctx;

    if (sim_node->world->plant == PLANT_MISCOUNT && command->kind == &count_kind)
        container_of(command, struct count_command, command)->count++;
    if (sim_node->is_dying)
        command_free(command);
    else
        mail_put(sim_node, &sim_node->writer_mail, command, sim_node->delay[command->loop], false);
}

static void sim_node_on_ready(void *ctx, struct subscription *sub)
{
    (void)ctx;
    reader_on_ready(near_get(sub->owner));
}

static const struct shard_port shard_port = { .send = sim_node_on_send_to_writer, .ready = sim_node_on_ready };

/* --- life --- */

static void sim_node_draw_limits(struct sim_node *sim_node)
{
    bool is_tight = sim_node->world->faults.tight;

    sim_node->writer_limits = (struct writer_limits){
        .waiting_count_max = is_tight ? 4 : 1000,
        .waiting_bytes_max = is_tight ? 500 : 1 << 20,
        .batch_count_max   = is_tight ? 2 : 100,
        .batch_bytes_max   = is_tight ? 600 : 1 << 16,
        .deadline_ticks     = 25 + (uint32_t)draw(sim_node->world, OF_NODE, 30),
        .delivery_count_max = is_tight ? 4 : 1000,
        .delivery_bytes_max = is_tight ? 1500 : 1 << 20,
        .tail_bytes_max     = is_tight ? 1000 : 1 << 16,
        .tail_messages_max  = is_tight ? 5 : 64,
        .fold_ticks         = sim_node->world->fold_one_in,
    };
    sim_node->shard_limits = (struct shard_limits){
        .hub            = { .window_messages_max = is_tight ? 3 : 64, .window_bytes_max = is_tight ? 700 : 1 << 16,
                            .linger_ms = sim_node->world->linger_ms, .quiet_ms = sim_node->world->quiet_ms },
        .page_count_max = is_tight ? 4 : 20,
        .publish_count_max = is_tight ? 3 : 1000,
        .publish_bytes_max = 1024 * 1024,
        .page_bytes_max = is_tight ? 1200 : 1 << 16,
        .pages_away_max = is_tight ? 5 : 64,
        .pages_store_away_max = is_tight ? 2 : 16,
    };
}

struct sim_node *sim_node_new(struct world *world, unsigned no, unsigned life)
{
    struct sim_node             *sim_node   = calloc(1, sizeof *sim_node);
    struct mem_store_options  options = {
         .epoch_first       = 1 + life * UINT64_C(1000000),
         .id_first          = 1,
         .hash_key          = world->hash_key,
         .channel_count_max = world->faults.forgetful ? 1 : 0,
    };

    must(sim_node != NULL);
    sim_node->world      = world;
    sim_node->no         = no;
    sim_node->memory     = world->shared_memory != NULL ? store_sim_port(world->shared_memory, no) : mem_store_new(&options);
    sim_node_draw_limits(sim_node);
    list_init(&sim_node->writer_mail);
    list_init(&sim_node->bus);
    for (unsigned i = 0; i < CHANNELS_MAX; i++)
        sim_node->followed_at[i] = -1;
    writer_init(&sim_node->writer, &writer_port, sim_node, store_sim_port(world->disk, no), sim_node->memory,
                &sim_node->writer_limits, world->loops_a_node);
    for (unsigned i = 0; i < world->loops_a_node; i++) {
        list_init(&sim_node->mail[i]);
        list_init(&sim_node->held[i]);
        shard_init(&sim_node->shards[i], i, &shard_port, sim_node, &sim_node->shard_limits);
        shard_turn_begin(&sim_node->shards[i], world_node_now(world, no), world_node_wall(world, no));
    }
    if (world->on_node != NULL)
        world->on_node(world, sim_node);
    return sim_node;
}

/* The writer must have back what it lent to the store. What it sends goes nowhere any more. */
static void sim_node_drain(struct sim_node *sim_node)
{
    struct list *link;

    while ((link = list_pop(&sim_node->writer_mail)) != NULL) {
        struct mail_item *item = container_of(link, struct mail_item, link);
        writer_take(&sim_node->writer, item->command, sim_node_wall(sim_node));
        free(item);
    }
}

static void bus_free(struct sim_node *sim_node)
{
    struct list *link;

    while ((link = list_pop(&sim_node->bus)) != NULL)
        bus_frame_free(container_of(link, struct bus_frame, link));
}

static void mail_free(struct list *box)
{
    struct list *link;

    while ((link = list_pop(box)) != NULL) {
        struct mail_item *item = container_of(link, struct mail_item, link);
        command_free(item->command);
        free(item);
    }
}

void sim_node_free(struct sim_node *sim_node)
{
    const struct sim_beside beside = sim_node->beside == NULL ? (struct sim_beside){ 0 } : *sim_node->beside;

    sim_node->is_dying = true;
    sim_node_drain(sim_node);
    bus_free(sim_node);
    for (unsigned i = 0; i < sim_node->world->loops_a_node; i++) {
        mail_free(&sim_node->mail[i]);
        mail_free(&sim_node->held[i]);
        shard_fini(&sim_node->shards[i]);
    }
    if (sim_node->beside != NULL)
        sim_node->beside->fini(sim_node->beside->ctx);
    writer_fini(&sim_node->writer);
    if (beside.gone != NULL)
        beside.gone(beside.ctx);
    sim_node->memory->ops->close(sim_node->memory);
    free(sim_node);
}

/* The planted bug: of a folded tail one loop that follows is forgotten. */
static void sim_node_plant_lost_follower(struct sim_node *sim_node)
{
    for (unsigned i = 0; i < sim_node->world->channel_count; i++) {
        const struct channel_name *name  = sim_node->world->channels[i];
        struct tail_entry         *entry = tails_entry(&sim_node->writer.tails, name);
        if (entry != NULL && tails_look(&sim_node->writer.tails, name) == NULL)
            entry->followers &= entry->followers - 1;
    }
}

/* The planted bug: what a loop is owed is forgotten. And without a heartbeat, the walk over the tails stands still. */
static void sim_node_plant_tick(struct sim_node *sim_node)
{
    struct list *link, *next;

    if (sim_node->world->is_sure && sim_node->world->on_node == NULL) {
        sim_node->writer.durable.slot = sim_node->writer.memory.slot = 0;
        sim_node->writer.doubt_ticks  = 0;
    }
    if (sim_node->world->plant == PLANT_LOST_FOLLOWER)
        sim_node_plant_lost_follower(sim_node);
    if (sim_node->world->plant != PLANT_DROP_OWED)
        return;
    for (link = sim_node->writer.tails.owed.next; link != &sim_node->writer.tails.owed; link = next) {
        struct tail_owed *owed = container_of(link, struct tail_owed, link);
        next                   = link->next;
        owed->moved            = 0;
        tail_settle(owed->tail);
    }
}

void sim_node_hush(struct sim_node *sim_node)
{
    sim_node->heartbeat_at = sim_node->tick_at = INT64_MAX;
}

static struct command *mail_take_at_once(struct list *box)
{
    struct list *link = list_pop(box);

    if (link == NULL)
        return NULL;
    struct mail_item *item    = container_of(link, struct mail_item, link);
    struct command   *command = item->command;
    free(item);
    return command;
}

static bool sim_node_settle_loop(struct sim_node *sim_node, unsigned loop)
{
    struct shard   *shard = &sim_node->shards[loop];
    struct command *command;
    bool            is_any = false;

    shard_turn_begin(shard, world_node_now(sim_node->world, sim_node->no), sim_node_wall(sim_node));
    while ((command = mail_take_at_once(&sim_node->held[loop])) != NULL ||
           (command = mail_take_at_once(&sim_node->mail[loop])) != NULL) {
        shard_take(shard, command);
        is_any = true;
    }
    shard_tell(shard);
    shard_turn_end(shard);
    return is_any;
}

void sim_node_settle(struct sim_node *sim_node)
{
    msec            wall = sim_node_wall(sim_node);
    struct command *command;
    bool            is_any;

    do {
        is_any = false;
        while ((command = mail_take_at_once(&sim_node->writer_mail)) != NULL) {
            writer_take(&sim_node->writer, command, wall);
            is_any = true;
        }
        if (sim_node->beside != NULL)
            sim_node->beside->turn_end(sim_node->beside->ctx);
        writer_turn_end(&sim_node->writer, wall);
        for (unsigned i = 0; i < sim_node->world->loops_a_node; i++)
            is_any |= sim_node_settle_loop(sim_node, i);
    } while (is_any);
}

void sim_node_writer_turn(struct sim_node *sim_node)
{
    msec           wall = sim_node_wall(sim_node);
    struct command *command;

    sim_node->turn++;
    sim_node->is_in_turn = true;
    if (sim_node->beside != NULL && sim_node->beside->turn_begin != NULL)
        sim_node->beside->turn_begin(sim_node->beside->ctx);
    sim_node_hear_bus(sim_node);
    while ((command = mail_take(sim_node, &sim_node->writer_mail)) != NULL) {
        writer_take(&sim_node->writer, command, wall);
        if (sim_node->world->plant == PLANT_FORGET_REFUSAL)
            sim_node->writer.durable.is_refusing = false;
    }
    if (sim_node->tick_at <= sim_node->world->now) {
        sim_node->tick_at = sim_node->world->now + WRITER_TICK_MS;
        sim_node_plant_tick(sim_node);
        writer_tick(&sim_node->writer, wall);
        if (sim_node->beside != NULL)
            sim_node->beside->tick(sim_node->beside->ctx);
    }
    sim_node_note_followed(sim_node);
    if (sim_node->beside != NULL)
        sim_node->beside->turn_end(sim_node->beside->ctx);
    writer_turn_end(&sim_node->writer, wall);
    sim_node->is_in_turn = false;
}

static bool sim_node_is_heartbeat_due(const struct sim_node *sim_node, const struct shard *shard)
{
    if (sim_node->world->plant == PLANT_NO_HEARTBEAT && shard->hub.subscription_count > 0)
        return false;
    return sim_node->heartbeat_at <= sim_node->world->now && !sim_node->world->is_sure;
}

static bool loop_rests(const struct sim_node *sim_node, unsigned loop)
{
    return sim_node->rest_until[loop] > sim_node->world->now && !sim_node->world->is_healing;
}

static bool command_waits(const struct sim_node *sim_node, const struct command *command)
{
    return sim_node->world->plant == PLANT_OVERTAKE ? command_is_hint(command) : command->kind->is_of_log;
}

/* --- folded channels --- */

static void note_folded(struct subscription *sub, void *ctx)
{
    *(bool *)ctx |= sub->is_folded;
}

/* The planted bug: nobody makes the channel again. */
static void sim_node_plant_lost_wake(struct sim_node *sim_node, const struct hub *hub, struct command *command)
{
    if (sim_node->world->plant != PLANT_LOST_WAKE || command->kind != &deliver_kind)
        return;
    struct deliver_command *deliver = container_of(command, struct deliver_command, hint.command);
    uint32_t                count   = 0;
    for (uint32_t i = 0; i < deliver->hint.count; i++) {
        struct message *message   = deliver->messages[i];
        bool            is_folded = false;
        hub_visit(hub, message->channel, note_folded, &is_folded);
        if (is_folded)
            message_unref(message);
        else
            deliver->messages[count++] = message;
    }
    deliver->hint.count = count;
}

static void step_too_far(struct subscription *sub, void *ctx)
{
    (void)ctx;
    sub->next += sub->is_folded;
}

static void sim_node_fold(struct sim_node *sim_node, unsigned loop)
{
    struct world *world = sim_node->world;
    struct hub   *hub   = &sim_node->shards[loop].hub;

    if (world->fold_one_in == 0 || rng_below(&world->fold_chance, world->fold_one_in) != 0)
        return;
    hub_fold(hub, world_node_now(world, sim_node->no));
    for (unsigned i = 0; world->plant == PLANT_FAR_FOLD && i < world->channel_count; i++)
        hub_visit(hub, world->channels[i], step_too_far, NULL);
}

static void sim_node_take(struct sim_node *sim_node, unsigned loop, struct command *command)
{
    sim_node_plant_lost_wake(sim_node, &sim_node->shards[loop].hub, command);
    shard_take(&sim_node->shards[loop], command);
}

static void sim_node_read_mail(struct sim_node *sim_node, unsigned loop)
{
    struct command *command;

    while (!loop_rests(sim_node, loop) && (command = mail_take(sim_node, &sim_node->held[loop])) != NULL)
        sim_node_take(sim_node, loop, command);
    while ((command = mail_take(sim_node, &sim_node->mail[loop])) != NULL) {
        if (loop_rests(sim_node, loop) && command_waits(sim_node, command))
            mail_put(sim_node, &sim_node->held[loop], command, 0, false);
        else
            sim_node_take(sim_node, loop, command);
    }
}

void sim_node_loop_begin(struct sim_node *sim_node, unsigned loop)
{
    struct shard *shard = &sim_node->shards[loop];

    sim_node->delay[loop] = mail_delay(sim_node);
    shard_turn_begin(shard, world_node_now(sim_node->world, sim_node->no), sim_node_wall(sim_node));
    sim_node_read_mail(sim_node, loop);
    if (sim_node_is_heartbeat_due(sim_node, shard)) {
        if (loop == sim_node->world->loops_a_node - 1)
            sim_node->heartbeat_at = sim_node->world->now + HEARTBEAT_MS;
        shard_tick(shard);
    }
    shard_tell(shard);
}

void sim_node_loop_end(struct sim_node *sim_node, unsigned loop)
{
    struct world *world = sim_node->world;

    if (world->faults.rests && one_in(world, OF_MAIL, 5))
        sim_node->rest_until[loop] = world->now + 1 + (msec)draw(world, OF_MAIL, REST_MS_MAX);
    shard_turn_end(&sim_node->shards[loop]);
    sim_node_fold(sim_node, loop);
}

/* --- checks --- */

/* Within a life of a log, and as long as the writer remembers it. */
static void sim_node_check_heads(struct sim_node *sim_node)
{
    for (unsigned i = 0; i < sim_node->world->channel_count; i++) {
        const struct tail *tail = tails_look(&sim_node->writer.tails, sim_node->world->channels[i]);
        struct log_now     now  = { 0 };
        if (tail != NULL)
            now = (struct log_now){ tail->epoch, tail->first, tail->head };
        promise(sim_node->world, now.epoch != sim_node->told[i].epoch || now.head >= sim_node->told[i].head,
                "the head of %s steps back to %" PRIu64 " in the writer's memory", sim_node->world->channels[i]->text,
                now.head);
        sim_node->told[i] = now;
    }
}

void sim_node_check_bounds(struct sim_node *sim_node)
{
    sim_node_check_heads(sim_node);
    const struct writer *writer = &sim_node->writer;

    promise(sim_node->world, writer->durable.waiting_count <= writer->limits.waiting_count_max,
            "the writer's queue is bounded");
    promise(sim_node->world, writer->durable.waiting_bytes <= writer->limits.waiting_bytes_max,
            "the writer's queue is bounded");
    promise(sim_node->world, writer->tails.bytes <= writer->limits.tail_bytes_max, "tails are bounded");
    for (unsigned i = 0; i < sim_node->world->loops_a_node; i++) {
        const struct loop_account *account = &writer->accounts[i];
        promise(sim_node->world, list_is_empty(&sim_node->shards[i].hub.touched), "windows live for a turn");
        promise(sim_node->world, account->sent_count - counter_get(&account->taken_count) <=
                                     writer->limits.delivery_count_max + DELIVER_MESSAGES_MAX,
                "what waits for loop %u is bounded", i);
    }
}

void sim_node_check_quiet(struct sim_node *sim_node)
{
    promise(sim_node->world, writer_is_idle(&sim_node->writer), "the writer comes to rest");
    promise(sim_node->world, list_is_empty(&sim_node->writer.tails.owed), "nothing is owed to loops");
    promise(sim_node->world, sim_node->writer.durable.waiting_bytes == 0, "nothing waits, but %zu bytes are counted",
            sim_node->writer.durable.waiting_bytes);
    for (unsigned i = 0; i < sim_node->world->loops_a_node; i++)
        promise(sim_node->world, sim_node->shards[i].away_count == 0,
                "loop %u gets every command back, %zu are away", i,
                sim_node->shards[i].away_count);
}

void sim_node_check_empty(struct sim_node *sim_node)
{
    for (unsigned i = 0; i < sim_node->world->loops_a_node; i++) {
        promise(sim_node->world, hub_channel_count(&sim_node->shards[i].hub) == 0, "loop %u lets go of its channels",
                i);
        promise(sim_node->world, sim_node->shards[i].hub.subscription_count == 0, "loop %u counts its subscriptions",
                i);
    }
    const struct writer *writer = &sim_node->writer;
    promise(sim_node->world, writer->durable.followed_count + writer->memory.followed_count == 0,
            "the writer counts its followers, %zu and %zu are left", writer->durable.followed_count,
            writer->memory.followed_count);
}
