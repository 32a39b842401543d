#include "store_sim_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"
#include "sim_node.h"
#include "store/digest.h"
#include "store/page.h"
#include "store/retention.h"
#include "store/seq_by_time.h"

static struct sim_port *port_of(struct store *store)
{
    return container_of(store, struct sim_port, store);
}

static struct store_sim *sim_of(struct store *store)
{
    return port_of(store)->sim;
}

/* --- the journal, and memory as its reading --- */

struct message *message_told_in(const struct message *message, uint64_t epoch)
{
    const struct message_tags tags = { .event = message_event(message), .collapse_key = message_collapse_key(message) };
    struct message *copy = message_new_tagged(message->channel, (enum message_kind)message->kind, message->bytes,
                                              message->payload_len, message_media(message), message_from(message), &tags);
    copy->epoch      = epoch;
    copy->seq        = message->seq;
    copy->id         = message->id;
    copy->target     = message->target;
    copy->time       = message->time;
    copy->expires_at = message->expires_at;
    return copy;
}

/* As it is told in the present life of its log. */
static struct message *message_in_epoch(struct message *message, uint64_t epoch)
{
    return message->epoch == epoch ? message_ref(message) : message_told_in(message, epoch);
}

static void log_put(struct log *log, struct message *message)
{
    must(message->seq <= sizeof log->at / sizeof log->at[0]);
    message_unref(log->at[message->seq - 1]);
    log->at[message->seq - 1] = message_in_epoch(message, log->epoch);
    if (message->kind == MESSAGE_RECALL && log->at[message->target - 1] != NULL) {
        struct message **target = &log->at[message->target - 1];
        struct message  *rest   = message_recalled(*target, message);
        message_unref(*target);
        *target = rest;
    }
    log->head = message->seq;
}

static void log_trim(struct log *log, uint64_t first)
{
    for (uint64_t seq = log->first; seq < first; seq++) {
        message_unref(log->at[seq - 1]);
        log->at[seq - 1] = NULL;
    }
    log->first = first;
}

static void sim_apply(struct store_sim *sim, const struct record *record)
{
    struct log *log = &sim->logs[record->channel];

    if (record->message != NULL)
        log_put(log, record->message);
    else if (record->first != 0)
        log_trim(log, record->first);
    rows_apply(&sim->rows, record);
}

void sim_write(struct store_sim *sim, struct record record)
{
    if (record.write != NULL && sim->world->plant_rows != NULL &&
        !sim->world->plant_rows(sim->world, record.message, record.write)) {
        free(record.write);
        record.write = NULL;
    }
    if (sim->journal_count == sim->journal_cap) {
        sim->journal_cap = sim->journal_cap == 0 ? 64 : sim->journal_cap * 2;
        sim->journal     = reallocarray(sim->journal, sim->journal_cap, sizeof *sim->journal);
        must(sim->journal != NULL);
    }
    sim->journal[sim->journal_count++] = record;
    sim_apply(sim, &record);
}

static void sim_forget(struct store_sim *sim)
{
    for (unsigned i = 0; i < CHANNELS_MAX; i++) {
        struct log *log = &sim->logs[i];
        log_trim(log, log->head + 1);
        log->first = 1;
        log->head = log->shown = 0;
        log->epoch = EPOCH_FIRST + (sim->is_shared ? sim->wipes : 10 * sim->wipes + i);
    }
    rows_forget(sim);
}

void journal_cut(struct store_sim *sim, size_t count)
{
    while (sim->journal_count > count) {
        struct record *record = &sim->journal[--sim->journal_count];
        message_unref(record->message);
        free(record->write);
    }
}

void sim_show(struct store_sim *sim)
{
    for (unsigned i = 0; i < CHANNELS_MAX; i++)
        sim->logs[i].shown = sim->logs[i].head;
    while (sim->shown_count < sim->journal_count)
        rows_apply(&sim->rows_shown, &sim->journal[sim->shown_count++]);
}

static void sim_reopen(struct store_sim *sim)
{
    sim->is_broken = false;
    sim_show(sim);
}

void sim_read_journal(struct store_sim *sim)
{
    sim_forget(sim);
    for (size_t i = 0; i < sim->journal_count; i++) {
        if (sim->world->plant == PLANT_FORGET_KEYS)
            sim->journal[i].key[0] = '\0';
        sim_apply(sim, &sim->journal[i]);
    }
    sim_reopen(sim);
}

static void sim_recover(struct store_sim *sim)
{
    size_t kept = 0;

    while (kept < sim->journal_count && sim->journal[kept].is_synced)
        kept++;
    journal_cut(sim, kept);
    sim_read_journal(sim);
}

/* --- appending --- */

/* A key is one of its publisher. */
static const struct record *sim_find_key(const struct store_sim *sim, const struct record *asked)
{
    for (size_t i = sim->journal_count; i-- > 0;)
        if (sim->journal[i].message != NULL && sim->journal[i].channel == asked->channel &&
            sim->journal[i].publisher == asked->publisher && strcmp(sim->journal[i].key, asked->key) == 0)
            return &sim->journal[i];
    return NULL;
}

static struct append_answer answer_of(const struct message *message)
{
    return (struct append_answer){ message->epoch, message->seq, message->id, message->time };
}

/* What the log says of it before anything is written; APPEND_DONE: write it. */
static enum append_outcome sim_judge(struct store_sim *sim, struct append *append, const struct record *record,
                                     msec wall)
{
    const struct log    *log     = &sim->logs[record->channel];
    const struct record *earlier = record->key[0] == '\0' ? NULL : sim_find_key(sim, record);

    if (earlier != NULL && earlier->digest != record->digest && sim->world->plant != PLANT_FORGET_DIGEST)
        return APPEND_KEY_CONFLICT;
    if (earlier != NULL) {
        append->first = answer_of(earlier->message);
        return APPEND_REPLAYED;
    }
    if (append->write != NULL && !rows_carried_hold(sim, append, wall))
        return append->outcome;
    if (append->message->kind != MESSAGE_RECALL)
        return APPEND_DONE;

    uint64_t              seq    = append->message->target;
    const struct message *target = seq == 0 || seq > log->head ? NULL : log->at[seq - 1];
    if (target == NULL || target->kind == MESSAGE_RECALL || message_is_expired(target, wall))
        return APPEND_NO_TARGET;
    if (sim->world->plant == PLANT_RECALL_TWICE)
        return APPEND_DONE;
    if (target->kind == MESSAGE_RECALLED && target->target >= log->first) {
        append->first = answer_of(log->at[target->target - 1]);
        return APPEND_REPLAYED;
    }
    return target->kind == MESSAGE_RECALLED ? APPEND_NO_TARGET : APPEND_DONE;
}

static void sim_purge(struct store_sim *sim, struct append *append, unsigned channel)
{
    const struct log *log = &sim->logs[channel];

    append->outcome = APPEND_NO_TARGET;
    if (log->head == 0)
        return;
    append->purged  = (struct purge_answer){ log->epoch, log->first, log->head };
    append->outcome = APPEND_PURGED;
    sim_write(sim, (struct record){ .channel = channel, .first = log->head + 1, .is_synced = true });
}

void sim_append_one(struct sim_port *port, struct append *append, msec wall)
{
    struct store_sim *sim = port->sim;
    struct message *message = append->message;
    struct record   record  = {
          .channel = world_channel_of(sim->world, message->channel), .digest = append_digest(append), .is_synced = true,
          .publisher = hash_bytes(&sim->world->hash_key, append->publisher),
    };
    struct log *log = &sim->logs[record.channel];

    if (append->is_purge) {
        sim_purge(sim, append, record.channel);
        return;
    }
    snprintf(record.key, sizeof record.key, "%.*s", SPAN_ARG(append->key));
    append->outcome = sim_judge(sim, append, &record, wall);
    if (append->outcome != APPEND_DONE)
        return;
    message->epoch = log->epoch;
    message->seq   = log->head + 1;
    message->id    = port_next_id(port);
    if (sim->world->plant == PLANT_DOUBLE_NUMBER && log->head > 0 && one_in(sim->world, OF_DISK, 20))
        message->seq = log->head;
    if (sim->world->plant == PLANT_SKIP_SYNC)
        record.is_synced = false;
    record.message = message_ref(message);
    if (append->write != NULL) {
        append->write->outcome = LEDGER_DONE;
        record.write           = ledger_write_copy(append->write);
        record.wall            = wall;
    }
    sim_write(sim, record);
}

void sim_write_batch(struct sim_port *port, struct append_batch *batch)
{
    for (struct list *link = batch->appends.next; link != &batch->appends; link = link->next)
        sim_append_one(port, container_of(link, struct append, link), batch->wall);
}

void batch_fail(struct append_batch *batch, enum append_outcome outcome)
{
    for (struct list *link = batch->appends.next; link != &batch->appends; link = link->next) {
        struct append *append = container_of(link, struct append, link);
        append->outcome       = outcome;
        if (append->write != NULL)
            rows_carried_fail(append->write);
    }
}

void sim_begin_broken(struct store_sim *sim)
{
    sim->is_broken    = true;
    sim->broken_until = sim->world->now + 1 + (msec)draw(sim->world, OF_DISK, TROUBLE_MS);
}

static void sim_break(struct sim_port *port, struct append_batch *batch)
{
    struct store_sim *sim = port->sim;
    bool is_written = one_in(sim->world, OF_DISK, 2);

    sim_begin_broken(sim);
    if (is_written)
        sim_write_batch(port, batch);
    tell(sim->world, "disk: sync of %zu failed, they are %s", batch->count, is_written ? "written" : "lost");
    batch_fail(batch, APPEND_BROKEN);
}

static void sim_tell_others(struct sim_port *port, const struct append_batch *batch)
{
    for (struct list *link = batch->appends.next; link != &batch->appends; link = link->next) {
        const struct append *append = container_of(link, struct append, link);
        if (append->outcome == APPEND_DONE)
            sim_node_tell_others(port->sim->world->nodes[port->node], append->message);
    }
}

static void port_finish_batch(struct sim_port *port, struct append_batch *batch)
{
    struct store_sim *sim = port->sim;

    if (sim->is_broken) {
        batch_fail(batch, APPEND_BROKEN);
    } else if (port_is_away(port)) {
        tell(sim->world, "disk: away, %zu refused", batch->count);
        batch_fail(batch, APPEND_AWAY);
    } else if (sim->full_until > sim->world->now) {
        tell(sim->world, "disk: full, %zu refused", batch->count);
        batch_fail(batch, APPEND_NO_SPACE);
    } else if (sim->world->faults.broken && !sim->world->is_healing && one_in(sim->world, OF_DISK, 15)) {
        sim_break(port, batch);
    } else if (sim->world->faults.unknown && !sim->world->is_healing && one_in(sim->world, OF_DISK, 15)) {
        port_lose_commit(port, batch);
    } else {
        sim_write_batch(port, batch);
        sim_show(sim);
        sim_tell_others(port, batch);
    }
    batch->done(batch);
}

static void sim_append(struct store *store, struct append_batch *batch)
{
    struct sim_port *port  = port_of(store);
    struct world    *world = port->sim->world;
    bool             slow  = world->faults.slow_sync && one_in(world, OF_DISK, 3);

    if (world->faults.stuck && !world->is_healing && one_in(world, OF_DISK, 25)) {
        port->stuck_until = world->now + (msec)draw(world, OF_DISK, STUCK_MS_MAX);
        tell(world, "disk: a batch of %zu is stuck", batch->count);
        list_push(&port->stuck, &batch->link);
        return;
    }
    if (list_is_empty(&port->batches))
        port->batch_due = world->now + (msec)draw(world, OF_DISK, slow ? SYNC_SLOW_MS : SYNC_MS);
    list_push(&port->batches, &batch->link);
}

/* Batches of several lanes complete in any order. */
static struct append_batch *port_pop_batch(struct sim_port *port)
{
    struct list *link = port->batches.next;

    while (link->next != &port->batches && one_in(port->sim->world, OF_DISK, 2))
        link = link->next;
    list_take(link);
    return container_of(link, struct append_batch, link);
}

/* --- reading --- */

/* False: the page is full. */
static bool sim_put(const struct store_sim *sim, unsigned channel, struct page *page, uint64_t seq, msec wall)
{
    struct message *message = sim->logs[channel].at[seq - 1];

    if (store_sim_is_corrupt(sim, channel, seq))
        return page_put_gap(page, (struct gap){ seq, seq, GAP_CORRUPT });
    if (message_is_expired(message, wall))
        return page_put_gap(page, (struct gap){ seq, seq, GAP_EXPIRED });
    if (page_is_full(page))
        return false;
    message = message_ref(message);
    page_put_message(page, &message);
    return true;
}

/* The planted bug: what was let go before the page is not told. */
static void page_drop_first_gap(struct store_read *read)
{
    if (read->entry_count == 0 || read->entries[0].message != NULL || read->entries[0].gap.why != GAP_TRIMMED)
        return;
    read->entry_count--;
    memmove(read->entries, read->entries + 1, read->entry_count * sizeof read->entries[0]);
}

static void sim_fill_up(const struct store_sim *sim, unsigned channel, struct page *page, uint64_t low, uint64_t high)
{
    const struct store_read *read = page->read;

    if (low < read->first) {
        page_put_gap(page, (struct gap){ low, high < read->first ? high : read->first - 1, GAP_TRIMMED });
        low = read->first;
    }
    while (low <= high && sim_put(sim, channel, page, low, read->wall))
        low++;
    if (sim->world->plant == PLANT_SILENT_TRIM)
        page_drop_first_gap(page->read);
}

static void sim_fill_down(const struct store_sim *sim, unsigned channel, struct page *page, uint64_t low, uint64_t high)
{
    const struct store_read *read = page->read;

    if (sim->world->plant == PLANT_SHORT_HISTORY)
        high--;
    while (high >= low && high >= read->first && sim_put(sim, channel, page, high, read->wall))
        high--;
    if (high >= low && high < read->first)
        page_put_gap(page, (struct gap){ low, high, GAP_TRIMMED });
}

static enum rc sim_time_at(void *ctx, uint64_t seq, msec *ret)
{
    const struct log *log = ctx;

    *ret = log->at[seq - 1]->time;
    return RC_OK;
}

static uint64_t log_bytes(const struct log *log)
{
    uint64_t bytes = 0;

    for (uint64_t seq = log->first; seq <= log->shown; seq++)
        bytes += log->at[seq - 1]->payload_len;
    return bytes;
}

static void sim_fill(struct store_sim *sim, unsigned channel, struct store_read *read)
{
    struct log *log = &sim->logs[channel];
    struct page page;
    uint64_t    low, high;

    read->rc    = RC_OK;
    read->epoch = log->epoch;
    read->first = log->first <= log->shown ? log->first : log->shown + 1;
    read->head  = log->shown;
    read->bytes = read->limit == 0 ? log_bytes(log) : 0;
    must(read_set_times(read, &(struct time_source){ sim_time_at, log }) == RC_OK);
    page_init(&page, read);
    if (!page_range(read, &low, &high))
        return;
    if (read->way == READ_AFTER)
        sim_fill_up(sim, channel, &page, low, high);
    else
        sim_fill_down(sim, channel, &page, low, high);
    page_finish(&page);
}

static void sim_finish_read(struct sim_port *port, struct store_read *read)
{
    if (port_has_io_trouble(port))
        read->rc = RC_IO;
    else
        sim_fill(port->sim, world_channel_of(port->sim->world, read->channel), read);
    read->done(read);
}

bool port_is_cut(const struct sim_port *port)
{
    return port->sim->world->nodes[port->node]->is_dying;
}

static void port_put_read(struct sim_port *port, struct list *list, struct list *link)
{
    if (list_is_empty(&port->reads) && list_is_empty(&port->questions))
        port->read_due = port->sim->world->now + (msec)draw(port->sim->world, OF_DISK, READ_MS);
    list_push(list, link);
}

static void sim_read(struct store *store, struct store_read *read)
{
    struct sim_port *port = port_of(store);

    if (port_is_cut(port)) {
        read->rc = RC_IO;
        read->done(read);
        return;
    }
    port_put_read(port, &port->reads, &read->link);
}

static void sim_finish_question(struct sim_port *port, struct store_heads *question, bool may_fail)
{
    struct store_sim *sim = port->sim;

    for (size_t i = 0; i < question->count; i++) {
        struct store_read read = { .channel = question->names[i], .wall = question->wall };
        sim_fill(sim, world_channel_of(sim->world, question->names[i]), &read);
        if (may_fail && port_has_io_trouble(port))
            read.rc = RC_IO;
        if (sim->world->plant == PLANT_SKIP_HEADS && i % 2 == 1)
            read.head = 0;  /* as if nobody had ever written there */
        question->heads[i] = (struct store_head){ read.rc, read.epoch, read.first, read.head };
    }
    question->done(question);
}

static void sim_heads(struct store *store, struct store_heads *question)
{
    struct sim_port *port = port_of(store);

    if (port_is_cut(port)) {
        for (size_t i = 0; i < question->count; i++)
            question->heads[i].rc = RC_IO;
        question->done(question);
        return;
    }
    if (port->is_opening) {
        sim_finish_question(port, question, false);
        return;
    }
    port_put_read(port, &port->questions, &question->link);
}

static bool sim_holds(const struct store_sim *sim, const struct channel_name *name)
{
    return channel_is_durable(name) != sim->is_memory;
}

/* The channel with the next name behind `after`; NULL: there is none. */
static const struct channel_name *sim_next_name(const struct store_sim *sim, const struct store_listing *listing,
                                                struct span from, bool is_behind)
{
    const struct channel_name *found = NULL;

    for (unsigned i = 0; i < sim->world->channel_count; i++) {
        const struct channel_name *name  = sim->world->channels[i];
        int                        order = span_order(channel_name_span(name), from);
        if (!sim_holds(sim, name) || sim->logs[i].shown == 0 || order < (is_behind ? 1 : 0) ||
            !span_starts(channel_name_span(name), listing->prefix))
            continue;
        if (found == NULL || span_order(channel_name_span(name), channel_name_span(found)) < 0)
            found = name;
    }
    return found;
}

static void sim_list_channel(struct store_sim *sim, struct store_listing *listing, unsigned channel)
{
    struct channel_name *name = channel_name_ref(sim->world->channels[channel]);
    struct store_read    read = { .channel = name, .wall = listing->wall };

    sim_fill(sim, channel, &read);
    struct listed_channel *listed = store_listing_add(listing, &name);
    listed->epoch                 = read.epoch;
    listed->first                 = read.first;
    listed->head                  = read.head;
}

/* At once: that other requests overtake it is not what is looked for here. */
static void sim_list(struct store *store, struct store_listing *listing)
{
    struct store_sim          *sim = sim_of(store);
    const struct channel_name *name;
    struct span                from;
    bool                       is_behind;

    store_listing_begin(listing);
    listing->rc = port_is_cut(port_of(store)) || port_has_io_trouble(port_of(store)) ? RC_IO : RC_OK;
    store_listing_from(listing, &from, &is_behind);
    while (listing->rc == RC_OK && (name = sim_next_name(sim, listing, from, is_behind)) != NULL) {
        if (listing->count == listing->limit) {
            store_listing_end_at(listing, from);
            break;
        }
        sim_list_channel(sim, listing, world_channel_of(sim->world, name));
        from      = channel_name_span(name);
        is_behind = true;
    }
    listing->done(listing);
}

/* --- the rest of the port --- */

/* Where the log begins by what its namespace keeps. */
static uint64_t log_first_wanted(const struct log *log, const struct namespace *space, msec wall)
{
    uint64_t first = log->first;

    if (space->keep_count != 0 && log->shown >= first + space->keep_count)
        first = log->shown - space->keep_count + 1;
    while (first <= log->shown && retention_is_over(space, log->at[first - 1]->time, wall))
        first++;
    return first;
}

static void sim_tick(struct store *store, msec wall)
{
    struct store_sim *sim = sim_of(store);

    for (unsigned i = 0; i < sim->world->channel_count; i++) {
        const struct channel_name *name  = sim->world->channels[i];
        uint64_t                   first = log_first_wanted(&sim->logs[i], name->space, wall);
        if (!sim_holds(sim, name) || first == sim->logs[i].first || sim->is_broken)
            continue;
        tell(sim->world, "disk: trims %s up to %" PRIu64, name->text, first - 1);
        sim_write(sim, (struct record){ .channel = i, .first = first, .is_synced = true });
    }
}

static void sim_stats(struct store *store, struct store_stats *ret_stats)
{
    *ret_stats = sim_of(store)->stats;
}

static void sim_close(struct store *store)
{
    (void)store;  /* the disk outlives the process that closes it */
}

static const struct store_ops sim_ops = {
    .name = "sim", .append = sim_append, .read = sim_read, .heads = sim_heads, .list = sim_list, .tick = sim_tick,
    .stats = sim_stats, .close = sim_close,
};

/* --- the seed's hand --- */

static void port_init(struct store_sim *sim, unsigned node, uint32_t batches_max, bool has_one_writer)
{
    struct sim_port *port = &sim->ports[node];

    port->store = (struct store){ .ops = &sim_ops, .batches_max = batches_max, .has_one_writer = has_one_writer };
    port->sim   = sim;
    port->node  = node;
    list_init(&port->batches);
    list_init(&port->stuck);
    list_init(&port->reads);
    list_init(&port->questions);
    list_init(&port->late);
    ledger_port_init(port);
}

/* A store with one node may still have to assume that there are others. */
struct store_sim *store_sim_new(struct world *world)
{
    struct store_sim *sim            = calloc(1, sizeof *sim);
    uint32_t          batches_max    = 1 + (uint32_t)draw(world, OF_PLAN, LANES_MAX);
    bool              has_one_writer = world->node_count == 1 && !one_in(world, OF_PLAN, 4) && !world->has_shared_store;

    must(sim != NULL);
    sim->world     = world;
    sim->is_shared = world->has_shared_store;
    ledger_mem_init(&sim->rows, &world->hash_key, SIZE_MAX, SIZE_MAX);
    ledger_mem_init(&sim->rows_shown, &world->hash_key, SIZE_MAX, SIZE_MAX);
    for (unsigned i = 0; i < NODES_SIM_MAX; i++)
        port_init(sim, i, batches_max, has_one_writer || world->plant == PLANT_ONE_WRITER);
    sim_forget(sim);
    return sim;
}

struct store_sim *store_sim_new_memory(struct world *world)
{
    struct store_sim *sim = store_sim_new(world);

    must(sim->is_shared);
    sim->is_memory = true;
    return sim;
}

bool store_sim_is_idle(const struct store_sim *sim)
{
    bool is_idle = true;

    for (unsigned i = 0; i < NODES_SIM_MAX; i++) {
        const struct sim_port *port = &sim->ports[i];
        is_idle &= list_is_empty(&port->batches) && list_is_empty(&port->stuck) && list_is_empty(&port->reads) &&
                   list_is_empty(&port->questions) && list_is_empty(&port->late) && ledger_port_is_idle(port);
    }
    return is_idle;
}

void store_sim_free(struct store_sim *sim)
{
    must(store_sim_is_idle(sim));
    journal_cut(sim, 0);
    sim_forget(sim);
    free(sim->journal);
    free(sim);
}

struct store *store_sim_port(struct store_sim *sim, unsigned node)
{
    return &sim->ports[node].store;
}

void store_sim_open(struct store_sim *sim, unsigned node, bool is_opening)
{
    sim->ports[node].is_opening = is_opening;
}

static void sim_rot(struct store_sim *sim)
{
    struct record *record = &sim->journal[draw(sim->world, OF_DISK, sim->journal_count)];

    if (record->message == NULL || record->message->kind != MESSAGE_PLAIN)
        return;
    record->is_corrupt = true;
    tell(sim->world, "disk: %s %" PRIu64 " rots", record->message->channel->text, record->message->seq);
}

static void sim_draw_trouble(struct store_sim *sim)
{
    struct world *world = sim->world;

    if (world->faults.full && one_in(world, OF_DISK, 150)) {
        sim->full_until = world->now + (msec)draw(world, OF_DISK, TROUBLE_MS);
        tell(world, "disk: full");
    }
    if (world->faults.away && one_in(world, OF_DISK, 100)) {
        sim->away_until = world->now + (msec)draw(world, OF_DISK, TROUBLE_MS);
        tell(world, "disk: away");
    }
    if (world->faults.read_io && one_in(world, OF_DISK, 60)) {
        sim->io_until = world->now + (msec)draw(world, OF_DISK, TROUBLE_MS);
        tell(world, "disk: can't be read");
    }
    if (world->faults.corrupt && sim->journal_count > 0 && one_in(world, OF_DISK, 60))
        sim_rot(sim);
    if (sim->is_shared)
        sim_draw_shared_trouble(sim);
}

static void port_turn(struct sim_port *port)
{
    msec         now = port->sim->world->now;
    struct list *link;

    while (port->batch_due <= now && !list_is_empty(&port->batches))
        port_finish_batch(port, port_pop_batch(port));
    while (port->stuck_until <= now && (link = list_pop(&port->stuck)) != NULL)
        port_finish_batch(port, container_of(link, struct append_batch, link));
    while (port->read_due <= now && (link = list_pop(&port->questions)) != NULL)
        sim_finish_question(port, container_of(link, struct store_heads, link), true);
    while (port->read_due <= now && (link = list_pop(&port->reads)) != NULL)
        sim_finish_read(port, container_of(link, struct store_read, link));
    port_turn_late(port);
    ledger_port_turn(port);
}

void store_sim_turn(struct store_sim *sim)
{
    if (!sim->world->is_healing)
        sim_draw_trouble(sim);
    if (sim->is_broken && sim->broken_until <= sim->world->now) {
        tell(sim->world, "disk: reopens");
        sim_reopen(sim);
    }
    for (unsigned i = 0; i < sim->world->node_count && sim->stalled_until <= sim->world->now; i++)
        port_turn(&sim->ports[i]);
}

static void port_cut_batches(struct sim_port *port, bool is_kept)
{
    struct store_sim *sim = port->sim;
    struct list      *link;

    list_move(&port->batches, &port->stuck);
    while ((link = list_pop(&port->batches)) != NULL) {
        struct append_batch *batch = container_of(link, struct append_batch, link);
        is_kept                    = is_kept && one_in(sim->world, OF_DISK, 2);
        if (is_kept)
            sim_write_batch(port, batch);
        tell(sim->world, "disk: %zu under way are %s", batch->count, is_kept ? "written, unanswered" : "lost");
        batch_fail(batch, APPEND_BROKEN);
        batch->done(batch);
    }
}

void port_cut(struct sim_port *port, bool is_kept)
{
    struct list *link;

    port_cut_batches(port, is_kept);
    while ((link = list_pop(&port->reads)) != NULL) {
        struct store_read *read = container_of(link, struct store_read, link);
        read->rc                = RC_IO;
        read->done(read);
    }
    while ((link = list_pop(&port->questions)) != NULL) {
        struct store_heads *question = container_of(link, struct store_heads, link);
        for (size_t i = 0; i < question->count; i++)
            question->heads[i].rc = RC_IO;
        question->done(question);
    }
    ledger_port_cut(port, is_kept);
}

void store_sim_cut_node(struct store_sim *sim, unsigned node)
{
    bool is_kept = !sim->is_broken && sim->full_until <= sim->world->now && sim->away_until <= sim->world->now;

    port_cut(&sim->ports[node], is_kept);
    if (!sim->is_shared)
        sim_reopen(sim);
    else if (!sim->is_broken)
        sim_show(sim);
}

void store_sim_crash(struct store_sim *sim, bool is_wiped)
{
    for (unsigned i = 0; i < sim->world->node_count; i++)
        port_cut(&sim->ports[i], sim->world->faults.torn && !sim->is_broken);
    for (unsigned i = 0; i < sim->world->node_count; i++)
        port_drop_late(&sim->ports[i]);
    if (is_wiped) {
        journal_cut(sim, 0);
        sim->wipes++;
    }
    sim_recover(sim);
}

void store_sim_heal(struct store_sim *sim)
{
    sim->full_until = sim->away_until = sim->io_until = sim->stalled_until = sim->world->now;
    for (unsigned i = 0; i < NODES_SIM_MAX; i++)
        sim->ports[i].stuck_until = sim->ports[i].row_due = sim->ports[i].away_until = sim->world->now;
    if (sim->is_broken)
        sim_reopen(sim);
}

/* --- the truth --- */

struct log_now store_sim_log(const struct store_sim *sim, unsigned channel)
{
    const struct log *log = &sim->logs[channel];

    return (struct log_now){ log->epoch, log->first, log->head };
}

const struct message *store_sim_at(const struct store_sim *sim, unsigned channel, uint64_t seq)
{
    const struct log *log = &sim->logs[channel];

    return seq < log->first || seq > log->head ? NULL : log->at[seq - 1];
}

static const struct record *sim_record(const struct store_sim *sim, unsigned channel, uint64_t seq)
{
    for (size_t i = 0; i < sim->journal_count; i++)
        if (sim->journal[i].channel == channel && sim->journal[i].message != NULL &&
            sim->journal[i].message->seq == seq)
            return &sim->journal[i];
    return NULL;
}

bool store_sim_is_corrupt(const struct store_sim *sim, unsigned channel, uint64_t seq)
{
    if (!sim->world->faults.corrupt)
        return false;
    const struct record *record = sim_record(sim, channel, seq);
    return record != NULL && record->is_corrupt;
}

bool store_sim_is_durable(const struct store_sim *sim, const struct append_answer *answer, unsigned channel)
{
    const struct record *record = sim_record(sim, channel, answer->seq);

    return (record != NULL && record->is_synced && record->message->epoch == answer->epoch) ||
           store_sim_has_lost(sim, channel, answer->epoch, answer->seq);
}

size_t store_sim_record_count(const struct store_sim *sim)
{
    return sim->journal_count;
}

const struct message *store_sim_record_at(const struct store_sim *sim, size_t at, unsigned *ret_channel)
{
    *ret_channel = sim->journal[at].channel;
    return sim->journal[at].message;
}

const struct ledger_write *store_sim_rows_at(const struct store_sim *sim, size_t at)
{
    return sim->journal[at].write;
}

uint64_t store_sim_shown(const struct store_sim *sim, unsigned channel)
{
    return sim->logs[channel].shown;
}
