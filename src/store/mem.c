#include "store/mem.h"

#include <stdlib.h>

#include "base/counter.h"
#include "base/must.h"
#include "message/message_ring.h"
#include "store/key_window.h"
#include "store/ledger_mem.h"
#include "store/name_tree.h"
#include "store/page.h"
#include "store/retention.h"
#include "store/seq_by_time.h"

#define KEY_KEEP_MS (24 * 3600 * INT64_C(1000))

enum {
    CHANNEL_COUNT_MAX = 1000000,
    KEY_COUNT_MAX     = 1000000,
    MEM_ROW_COUNT_MAX = 1000000,
    MEM_ROW_BYTES_MAX = 256 * 1024 * 1024,
    RING_BYTES_MAX    = 256 * 1024 * 1024,
    TICK_COUNT        = 10000,  /* channels, keys and rows that one tick checks */
    ORDER_PARTS       = 8,      /* a part is so much of ring_bytes_max */
};

struct mem_channel {
    struct map_node      node;
    struct list          link;  /* in mem.non_empty while its ring keeps something, else in mem.idle */
    struct channel_name *name;  /* owns a reference */
    struct name_node     by_name;
    uint64_t             epoch;
    uint64_t             head;
    uint32_t             bytes;  /* payload bytes in the ring */
    uint32_t             part;   /* mem.part when it was put at the end of mem.non_empty */
    msec                 oldest; /* no message in the ring is older. The first one, which knows, is long out of the processor's caches */
    struct message_ring *ring;   /* seqs head - count + 1 … head */
};

struct mem {
    struct store             store;
    struct mem_store_options options;
    struct map               channels;
    struct name_tree         names;      /* of all channels */
    struct list              non_empty;  /* the channel that was published to longest ago comes first, but for mem.part */
    struct list              idle;       /* the channel that has kept nothing for longest comes first */
    struct list             *tick_from;  /* where the next tick begins in `non_empty`; NULL: at its start */
    struct key_window        keys;
    struct ledger_mem        ledger;
    uint64_t                 epoch;  /* the epoch of a channel that is created now */
    uint64_t                 id_next[ID_KIND_COUNT];
    size_t                   ring_bytes;
    size_t                   part_bytes;  /* kept in this part: see channel_move() */
    uint32_t                 part;        /* its number */
    struct counter           channel_count, memory_bytes, append_count, batch_count;
};

static struct mem *mem_of(struct store *store)
{
    return container_of(store, struct mem, store);
}

/* --- channels --------------------------------------------------------------------------------------------------- */

static bool mem_channel_is(const struct map_node *node, const void *name)
{
    return channel_name_eq(container_of(node, struct mem_channel, node)->name, name);
}

static struct mem_channel *mem_channel_find(const struct mem *mem, const struct channel_name *name)
{
    struct map_node *node = map_find(&mem->channels, name->hash, mem_channel_is, name);

    return node == NULL ? NULL : container_of(node, struct mem_channel, node);
}

static uint64_t channel_first(const struct mem_channel *channel)
{
    return channel->head - message_ring_count(channel->ring) + 1;
}

/* Borrowed; NULL if the message isn't kept. */
static struct message *channel_get(const struct mem_channel *channel, uint64_t seq)
{
    if (seq < channel_first(channel) || seq > channel->head)
        return NULL;
    return message_ring_at(channel->ring, (uint32_t)(seq - channel_first(channel)));
}

static void channel_unlink(struct mem *mem, struct mem_channel *channel)
{
    if (mem->tick_from == &channel->link)
        mem->tick_from = channel->link.next == &mem->non_empty ? NULL : channel->link.next;
    list_take(&channel->link);
}

/* Moves the channel to the end of the list that it belongs to. */
static void channel_relink(struct mem *mem, struct mem_channel *channel)
{
    channel_unlink(mem, channel);
    list_push(channel->ring != NULL ? &mem->non_empty : &mem->idle, &channel->link);
}

/* It was published to. In `non_empty` it moves once in each part: each move touches two other channels, which are in no cache, or in that of
 * another processor. */
static void channel_move(struct mem *mem, struct mem_channel *channel, bool was_empty)
{
    if (!was_empty && channel->ring != NULL && channel->part == mem->part)
        return;
    channel->part = mem->part;
    channel_relink(mem, channel);
}

static void channel_drop_oldest(struct mem *mem, struct mem_channel *channel)
{
    struct message *message = message_ring_pop(&channel->ring);

    must(channel->bytes >= message->payload_len);
    must(mem->ring_bytes >= message_size(message) + sizeof(struct message *));
    channel->bytes -= message->payload_len;
    mem->ring_bytes -= message_size(message) + sizeof(struct message *);
    message_unref(message);
    if (channel->ring == NULL)
        channel_relink(mem, channel);
}

/* The first message is looked at once no other way is left. */
static bool channel_is_past(struct mem_channel *channel, msec wall)
{
    if (!retention_is_over(channel->name->space, channel->oldest, wall))
        return false;
    channel->oldest = message_ring_at(channel->ring, 0)->time;
    return retention_is_over(channel->name->space, channel->oldest, wall);
}

static bool channel_keeps_too_much(struct mem_channel *channel, msec wall)
{
    const struct namespace *space = channel->name->space;

    if (channel->ring == NULL)
        return false;
    return (space->keep_count != 0 && message_ring_count(channel->ring) > space->keep_count) ||
           (space->keep_bytes != 0 && channel->bytes > space->keep_bytes) ||
           channel_is_past(channel, wall);
}

static void channel_trim(struct mem *mem, struct mem_channel *channel, msec wall)
{
    while (channel_keeps_too_much(channel, wall))
        channel_drop_oldest(mem, channel);
}

static void channel_forget(struct mem *mem, struct mem_channel *channel)
{
    mem->store.has_one_writer = false;  /* this log may begin again with seq 1, and no reader is told */
    while (channel->ring != NULL)
        channel_drop_oldest(mem, channel);
    /* Its seqs will be given again, so the next channel needs another epoch: readers that remember the old seqs must
     * notice. */
    if (channel->head > 0)
        mem->epoch++;
    channel_unlink(mem, channel);
    map_take(&mem->channels, &channel->node);
    name_tree_take(&mem->names, &channel->by_name);
    channel_name_unref(channel->name);
    free(channel);
}

static struct mem_channel *channel_longest_unused(struct mem *mem)
{
    struct list *list = list_is_empty(&mem->idle) ? &mem->non_empty : &mem->idle;

    return list_is_empty(list) ? NULL : container_of(list->next, struct mem_channel, link);
}

static struct mem_channel *mem_channel_new(struct mem *mem, struct channel_name *name)
{
    if (mem->channels.count >= mem->options.channel_count_max)
        channel_forget(mem, channel_longest_unused(mem));

    struct mem_channel *channel = calloc(1, sizeof *channel);
    must(channel != NULL);
    channel->name  = channel_name_ref(name);
    channel->epoch = mem->epoch;
    map_add(&mem->channels, &channel->node, name->hash);
    name_tree_add(&mem->names, &channel->by_name, channel->name);
    list_push(&mem->idle, &channel->link);
    return channel;
}

/* --- append ----------------------------------------------------------------------------------------------------- */

static void channel_recall(struct mem *mem, struct mem_channel *channel, const struct message *recall)
{
    uint32_t        at        = (uint32_t)(recall->target - channel_first(channel));
    struct message *tombstone = message_recalled(message_ring_at(channel->ring, at), recall);

    mem->ring_bytes += message_size(tombstone);
    struct message *old = message_ring_swap(channel->ring, at, &tombstone);
    channel->bytes -= old->payload_len;
    mem->ring_bytes -= message_size(old);
    message_unref(old);
}

/* False, with the outcome set, if there is nothing to recall. */
static bool recall_is_possible(const struct mem_channel *channel, struct append *append, msec wall)
{
    struct message *target = channel == NULL ? NULL : channel_get(channel, append->message->target);

    append->outcome = APPEND_NO_TARGET;
    if (target == NULL || target->kind == MESSAGE_RECALL || message_is_expired(target, wall))
        return false;
    if (target->kind == MESSAGE_RECALLED) {
        /* The recall is younger than its target, so it is still kept. */
        const struct message *recall = channel_get(channel, target->target);
        append->outcome              = APPEND_REPLAYED;
        append->first                = (struct append_answer){ recall->epoch, recall->seq, recall->id, recall->time };
        return false;
    }
    return true;
}

static void message_assign_numbers(struct mem *mem, struct mem_channel *channel, struct message *message)
{
    message->epoch = channel->epoch;
    message->seq   = ++channel->head;
    message->id    = mem->id_next[channel->name->space->id_kind]++;
}

static void mem_channel_keep(struct mem *mem, struct mem_channel *channel, struct message *message)
{
    struct message *kept = message_ref(message);

    if (channel->ring == NULL || message->time < channel->oldest)
        channel->oldest = message->time;
    channel->bytes += message->payload_len;
    mem->ring_bytes += message_size(message) + sizeof(struct message *);
    message_ring_push(&channel->ring, &kept);
    mem->part_bytes += message_size(message);
    if (mem->part_bytes >= mem->options.ring_bytes_max / ORDER_PARTS) {
        mem->part_bytes = 0;
        mem->part++;
    }
}

/* False, with the outcome set, if the ledger write that the append carries is not possible. */
static bool mem_carried_is_possible(struct mem *mem, struct append *append, msec wall)
{
    ledger_carried_check(append->write);
    enum ledger_outcome outcome = ledger_mem_judge(&mem->ledger, append->write, wall);

    append->outcome = outcome == LEDGER_STALE ? APPEND_STALE : APPEND_NO_SPACE;
    return outcome == LEDGER_DONE;
}

static void mem_carried_apply(struct mem *mem, struct append *append, msec wall)
{
    ledger_mem_apply(&mem->ledger, append->write, append->message->seq, wall);
    append->write->outcome = LEDGER_DONE;
}

static void mem_purge(struct mem *mem, struct mem_channel *channel, struct append *append, msec wall)
{
    append->outcome = APPEND_NO_TARGET;
    if (channel == NULL)
        return;
    channel_trim(mem, channel, wall);
    append->purged  = (struct purge_answer){ channel->epoch, channel_first(channel), channel->head };
    append->outcome = APPEND_PURGED;
    while (channel->ring != NULL)
        channel_drop_oldest(mem, channel);
}

static void append_one(struct mem *mem, struct append *append, msec wall)
{
    struct message     *message = append->message;
    struct mem_channel *channel = mem_channel_find(mem, message->channel);

    append_check(append);
    if (append->is_purge) {
        mem_purge(mem, channel, append, wall);
        return;
    }
    if (append->key.len > 0 && key_window_decides(&mem->keys, append, wall))
        return;
    if (append->write != NULL && !mem_carried_is_possible(mem, append, wall))
        return;
    if (channel != NULL)
        channel_trim(mem, channel, wall);
    if (message->kind == MESSAGE_RECALL && !recall_is_possible(channel, append, wall))
        return;
    if (channel == NULL)
        channel = mem_channel_new(mem, message->channel);

    const bool was_empty = channel->ring == NULL;
    message_assign_numbers(mem, channel, message);
    if (message->channel->space->durability != NONE)
        mem_channel_keep(mem, channel, message);
    if (message->kind == MESSAGE_RECALL)
        channel_recall(mem, channel, message);
    channel_move(mem, channel, was_empty);
    channel_trim(mem, channel, wall);
    if (append->key.len > 0)
        key_window_add(&mem->keys, append, wall);
    if (append->write != NULL)
        mem_carried_apply(mem, append, wall);
    append->outcome = APPEND_DONE;
    counter_add(&mem->append_count, 1);
}

static void rings_bound(struct mem *mem)
{
    while (mem->ring_bytes > mem->options.ring_bytes_max) {
        must(!list_is_empty(&mem->non_empty));
        channel_drop_oldest(mem, container_of(mem->non_empty.next, struct mem_channel, link));
    }
}

static void counters_set(struct mem *mem)
{
    size_t slots = mem->channels.slot_count * sizeof(struct map_node *);
    size_t rows  = mem->ledger.bytes;

    counter_set(&mem->channel_count, mem->channels.count);
    counter_set(&mem->memory_bytes, mem->ring_bytes + slots + rows + mem->channels.count * sizeof(struct mem_channel));
}

static void mem_append(struct store *store, struct append_batch *batch)
{
    struct mem *mem = mem_of(store);

    for (struct list *link = batch->appends.next; link != &batch->appends; link = link->next) {
        append_one(mem, container_of(link, struct append, link), batch->wall);
        rings_bound(mem);
    }
    counter_add(&mem->batch_count, 1);
    counters_set(mem);
    batch->done(batch);
}

/* --- read ------------------------------------------------------------------------------------------------------- */

/* Puts the message or gap at `seq`, which is kept. False once the page takes no more. */
static bool page_put_at(struct page *page, const struct mem_channel *channel, uint64_t seq)
{
    struct message *message = channel_get(channel, seq);

    if (message_is_expired(message, page->read->wall))
        return page_put_gap(page, (struct gap){ seq, seq, GAP_EXPIRED });
    if (page_is_full(page))
        return false;
    message = message_ref(message);
    page_put_message(page, &message);
    return true;
}

static void page_fill_up(struct page *page, const struct mem_channel *channel, uint64_t low, uint64_t high)
{
    uint64_t first = channel_first(channel);

    if (low < first) {
        uint64_t to = high < first ? high : first - 1;
        if (!page_put_gap(page, (struct gap){ low, to, GAP_TRIMMED }))
            return;
        low = first;
    }
    for (uint64_t seq = low; seq <= high; seq++)
        if (!page_put_at(page, channel, seq))
            return;
}

static void page_fill_down(struct page *page, const struct mem_channel *channel, uint64_t low, uint64_t high)
{
    uint64_t first = channel_first(channel);

    for (; high >= first && high >= low; high--)
        if (!page_put_at(page, channel, high))
            return;
    if (high >= low)
        page_put_gap(page, (struct gap){ low, high, GAP_TRIMMED });
}

static enum rc mem_time_at(void *ctx, uint64_t seq, msec *ret)
{
    *ret = channel_get(ctx, seq)->time;
    return RC_OK;
}

static void read_fill(struct store_read *read, struct mem_channel *channel)
{
    struct page page;
    uint64_t    low, high;

    must(read_set_times(read, &(struct time_source){ mem_time_at, channel }) == RC_OK);
    page_init(&page, read);
    if (!page_range(read, &low, &high))
        return;
    if (read->way == READ_AFTER)
        page_fill_up(&page, channel, low, high);
    else
        page_fill_down(&page, channel, low, high);
    page_finish(&page);
}

static void mem_read(struct store *store, struct store_read *read)
{
    struct mem_channel  never_used = { 0 };
    struct mem         *mem        = mem_of(store);
    struct mem_channel *known      = mem_channel_find(mem, read->channel);

    store_read_check(read);
    if (known != NULL)
        channel_trim(mem, known, read->wall);
    struct mem_channel *channel = known != NULL ? known : &never_used;
    read->rc                    = RC_OK;
    read->epoch                 = known != NULL ? known->epoch : mem->epoch;
    read->head                  = channel->head;
    read->first                 = channel_first(channel);
    read->bytes                 = channel->bytes;
    read_fill(read, channel);
    read->done(read);
}

static void mem_heads(struct store *store, struct store_heads *question)
{
    struct mem *mem = mem_of(store);

    must(question->count >= 1 && question->count <= STORE_HEADS_MAX);
    for (size_t i = 0; i < question->count; i++) {
        struct mem_channel *channel = mem_channel_find(mem, question->names[i]);
        if (channel != NULL)
            channel_trim(mem, channel, question->wall);
        question->heads[i] = (struct store_head){
            .rc    = RC_OK,
            .epoch = channel == NULL ? mem->epoch : channel->epoch,
            .first = channel == NULL ? 1 : channel_first(channel),
            .head  = channel == NULL ? 0 : channel->head,
        };
    }
    question->done(question);
}

static void mem_list_channel(struct store_listing *listing, const struct mem_channel *channel)
{
    struct channel_name *name = channel_name_ref(channel->name);

    struct listed_channel *listed = store_listing_add(listing, &name);
    listed->epoch                 = channel->epoch;
    listed->first                 = channel_first(channel);
    listed->head                  = channel->head;
    listed->bytes                 = channel->bytes;
}

static void mem_list(struct store *store, struct store_listing *listing)
{
    struct mem *mem = mem_of(store);
    struct span from;
    bool        is_behind;

    store_listing_begin(listing);
    listing->rc = RC_OK;
    store_listing_from(listing, &from, &is_behind);
    for (struct name_node *node; (node = name_tree_from(&mem->names, from, is_behind)) != NULL;) {
        if (!span_starts(channel_name_span(node->name), listing->prefix))
            break;
        if (listing->count == listing->limit) {
            store_listing_end_at(listing, from);
            break;
        }
        struct mem_channel *channel = container_of(node, struct mem_channel, by_name);
        channel_trim(mem, channel, listing->wall);
        mem_list_channel(listing, channel);
        from      = channel_name_span(node->name);
        is_behind = true;
    }
    listing->done(listing);
}

/* --- the rest of the port --------------------------------------------------------------------------------------- */

static void mem_tick(struct store *store, msec wall)
{
    struct mem  *mem  = mem_of(store);
    struct list *link = mem->tick_from != NULL ? mem->tick_from : mem->non_empty.next;

    for (size_t i = 0; i < TICK_COUNT && link != &mem->non_empty; i++) {
        struct mem_channel *channel = container_of(link, struct mem_channel, link);
        link                        = link->next;
        channel_trim(mem, channel, wall);
    }
    mem->tick_from = link == &mem->non_empty ? NULL : link;
    key_window_tick(&mem->keys, wall, TICK_COUNT);
    ledger_mem_tick(&mem->ledger, wall, TICK_COUNT);
    counters_set(mem);
}

static void mem_stats(struct store *store, struct store_stats *ret_stats)
{
    struct mem *mem = mem_of(store);

    *ret_stats = (struct store_stats){
        .channel_count = counter_get(&mem->channel_count),
        .memory_bytes  = counter_get(&mem->memory_bytes),
        .append_count  = counter_get(&mem->append_count),
        .batch_count   = counter_get(&mem->batch_count),
    };
}

static void mem_close(struct store *store)
{
    struct mem *mem = mem_of(store);

    for (struct mem_channel *channel; (channel = channel_longest_unused(mem)) != NULL;)
        channel_forget(mem, channel);
    must(mem->channels.count == 0 && mem->ring_bytes == 0);
    map_fini(&mem->channels);
    key_window_fini(&mem->keys);
    ledger_mem_fini(&mem->ledger);
    free(mem);
}

static const struct store_ops mem_ops = {
    .name   = "mem",
    .append = mem_append,
    .read   = mem_read,
    .heads  = mem_heads,
    .list   = mem_list,
    .tick   = mem_tick,
    .stats  = mem_stats,
    .close  = mem_close,
};

static void mem_options_fill(struct mem_store_options *options)
{
    if (options->channel_count_max == 0)
        options->channel_count_max = CHANNEL_COUNT_MAX;
    if (options->ring_bytes_max == 0)
        options->ring_bytes_max = RING_BYTES_MAX;
    if (options->key_count_max == 0)
        options->key_count_max = KEY_COUNT_MAX;
    if (options->key_keep_ms == 0)
        options->key_keep_ms = KEY_KEEP_MS;
    if (options->row_count_max == 0)
        options->row_count_max = MEM_ROW_COUNT_MAX;
    if (options->row_bytes_max == 0)
        options->row_bytes_max = MEM_ROW_BYTES_MAX;
}

struct store *mem_store_new(const struct mem_store_options *options)
{
    must(options->epoch_first != 0 && options->id_first != 0);

    struct mem *mem = calloc(1, sizeof *mem);
    must(mem != NULL);
    mem->store   = (struct store){ .ops = &mem_ops, .batches_max = 1, .is_inline = true, .has_one_writer = true };
    mem->options = *options;
    mem_options_fill(&mem->options);
    must(mem->options.ring_bytes_max <= INT32_MAX);  /* what a ring keeps is counted in 32 bits */
    mem->epoch = options->epoch_first;
    for (size_t i = 0; i < ID_KIND_COUNT; i++)
        mem->id_next[i] = options->id_first;
    map_init(&mem->channels);
    list_init(&mem->non_empty);
    list_init(&mem->idle);
    key_window_init(&mem->keys, &options->hash_key, mem->options.key_keep_ms, mem->options.key_count_max);
    ledger_mem_init(&mem->ledger, &options->hash_key, mem->options.row_count_max, mem->options.row_bytes_max);
    mem->store.ledger = &mem->ledger.ledger;
    return &mem->store;
}

/* --- another process takes this one's place ----------------------------------------------------------------------- */

static void list_visit(const struct list *list, const struct mem_visitor *visitor, void *ctx)
{
    for (const struct list *link = list->next; link != list; link = link->next) {
        const struct mem_channel *channel = container_of(link, const struct mem_channel, link);
        visitor->channel(ctx, channel->name, channel->epoch, channel_first(channel) - 1);
        for (uint64_t seq = channel_first(channel); seq <= channel->head; seq++)
            visitor->message(ctx, channel_get(channel, seq));
    }
}

bool mem_store_is(const struct store *store)
{
    return store->ops == &mem_ops;
}

void mem_store_visit(struct store *store, const struct mem_visitor *visitor, void *ctx)
{
    list_visit(&mem_of(store)->idle, visitor, ctx);
    list_visit(&mem_of(store)->non_empty, visitor, ctx);
}

void mem_store_next(const struct store *store, uint64_t *ret_epoch, uint64_t *ret_id)
{
    const struct mem *mem = container_of(store, const struct mem, store);

    *ret_epoch = mem->epoch;
    *ret_id    = 1;
    for (int kind = 0; kind < ID_KIND_COUNT; kind++)
        if (mem->id_next[kind] > *ret_id)
            *ret_id = mem->id_next[kind];
}

void mem_store_begin_at(struct store *store, uint64_t epoch, uint64_t id)
{
    struct mem *mem = mem_of(store);

    if (epoch != 0)
        mem->epoch = epoch;
    for (int kind = 0; kind < ID_KIND_COUNT; kind++)
        if (mem->id_next[kind] < id)
            mem->id_next[kind] = id;
}

bool mem_store_add_channel(struct store *store, struct channel_name *name, uint64_t epoch, uint64_t head)
{
    struct mem *mem = mem_of(store);

    if (epoch == 0 || head == UINT64_MAX || mem_channel_find(mem, name) != NULL)
        return false;
    struct mem_channel *channel = mem_channel_new(mem, name);
    channel->epoch              = epoch;
    channel->head               = head;
    counters_set(mem);
    return true;
}

bool mem_store_add_message(struct store *store, struct message *message)
{
    struct mem         *mem     = mem_of(store);
    struct mem_channel *channel = mem_channel_find(mem, message->channel);

    if (channel == NULL || message->epoch != channel->epoch || message->seq != channel->head + 1)
        return false;
    channel->head++;
    mem_channel_keep(mem, channel, message);
    channel_relink(mem, channel);
    rings_bound(mem);
    counters_set(mem);
    return true;
}
