#include "store/shards_priv.h"

#include <stdlib.h>

#include "base/must.h"

size_t shard_of_name(const struct shards *shards, const struct channel_name *name)
{
    return shards->shard_of_slot[slot_of_channel(channel_name_span(name))];
}

size_t shard_of_row(const struct shards *shards, const struct ledger_key *key)
{
    return shards->shard_of_slot[shards->slot_of == NULL ? slot_of_row(key->bytes) : shards->slot_of(key)];
}

/* --- appends ------------------------------------------------------------------------------------------------------ */

/* An append on its way that carries rows of other shards. `home` are those that lie beside it. */
struct carrier {
    struct append       *append;
    struct ledger_write *write;               /* as it came */
    struct ledger_write  home;
    struct after        *afters[SHARDS_MAX];  /* NULL where there is nothing to write */
    struct ledger_change changes[];
};

/* A batch that is taken apart: a part for each shard, then the rows that follow. The appends go back into it in their
 * order. */
struct split {
    struct shards       *shards;
    struct append_batch *whole;
    struct parts         parts;
    size_t               count;
    struct append      **appends;
    struct carrier     **carriers;            /* NULL for most appends */
    struct split_part {
        struct append_batch batch;
        struct split       *split;
    } of[SHARDS_MAX];
};

static bool carries_elsewhere(const struct shards *shards, const struct append *append, size_t home)
{
    for (size_t i = 0; append->write != NULL && i < append->write->count; i++)
        if (shard_of_row(shards, &append->write->changes[i].key) != home)
            return true;
    return false;
}

/* Does all of the batch lie in one shard? */
static bool is_of_one(const struct shards *shards, const struct append_batch *batch, size_t *ret_shard)
{
    size_t shard = SIZE_MAX;

    for (const struct list *at = batch->appends.next; at != &batch->appends; at = at->next) {
        const struct append *append = container_of(at, struct append, link);
        size_t               home   = shard_of_name(shards, append->message->channel);
        if ((shard != SIZE_MAX && home != shard) || carries_elsewhere(shards, append, home))
            return false;
        shard = home;
    }
    *ret_shard = shard == SIZE_MAX ? 0 : shard;
    return true;
}

static struct carrier *carrier_new(struct shards *shards, struct append *append, size_t home, msec wall)
{
    const struct ledger_write *write = append->write;

    if (!carries_elsewhere(shards, append, home))
        return NULL;
    struct carrier *carrier = calloc(1, sizeof *carrier + write->count * sizeof carrier->changes[0]);
    must(carrier != NULL);
    carrier->append       = append;
    carrier->write        = append->write;
    carrier->home.changes = carrier->changes;
    for (size_t i = 0; i < write->count; i++)
        if (shard_of_row(shards, &write->changes[i].key) == home)
            carrier->changes[carrier->home.count++] = write->changes[i];
    for (size_t shard = 0; shard < shards->count; shard++)
        carrier->afters[shard] = after_new(shards, shard, home, write, wall);
    append->write = carrier->home.count > 0 ? &carrier->home : NULL;
    return carrier;
}

/* The change of the whole write that is the home part's number `at`. */
static size_t change_at(const struct shards *shards, const struct carrier *carrier, size_t at)
{
    size_t home = shard_of_name(shards, carrier->append->message->channel), i = 0;

    for (;; i++)
        if (shard_of_row(shards, &carrier->write->changes[i].key) == home && at-- == 0)
            return i;
}

/* The append has its outcome: it gets its write back, with its outcome. */
static void carrier_end(const struct shards *shards, struct carrier *carrier)
{
    struct append       *append = carrier->append;
    struct ledger_write *write  = carrier->write;

    write->outcome = append->outcome == APPEND_DONE ? LEDGER_DONE : LEDGER_WAITING;
    if (append->outcome == APPEND_STALE) {
        write->outcome  = LEDGER_STALE;
        write->now      = carrier->home.now;
        write->stale_at = change_at(shards, carrier, carrier->home.stale_at);
    }
    append->write = write;
    for (size_t i = 0; i < SHARDS_MAX; i++)
        after_drop(carrier->afters[i]);
    free(carrier);
}

static void split_free(struct split *split)
{
    free(split->appends);
    free(split->carriers);
    free(split);
}

static void split_end(struct split *split)
{
    struct append_batch *whole = split->whole;

    for (size_t i = 0; i < split->count; i++)
        if (split->carriers[i] != NULL)
            carrier_end(split->shards, split->carriers[i]);
    split_free(split);
    whole->done(whole);
}

static void split_on_followed(void *owner)
{
    struct split *split = owner;

    if (parts_end(&split->parts))
        split_end(split);
}

/* Rows of other shards are written now that their append is there. */
static void carrier_follow(struct split *split, struct carrier *carrier)
{
    for (size_t i = 0; i < split->shards->count && carrier->append->outcome == APPEND_DONE; i++) {
        struct after *after = carrier->afters[i];
        if (after == NULL)
            continue;
        carrier->afters[i] = NULL;
        parts_add(&split->parts);
        after_submit(split->shards, after, carrier->append->message->seq, split_on_followed, split);
    }
}

/* All appends have their outcome. */
static void split_follow(struct split *split)
{
    parts_begin(&split->parts);
    for (size_t i = 0; i < split->count; i++) {
        list_take(&split->appends[i]->link);
        list_push(&split->whole->appends, &split->appends[i]->link);
        if (split->carriers[i] != NULL)
            carrier_follow(split, split->carriers[i]);
    }
    split_on_followed(split);
}

static void split_on_part(struct append_batch *batch)
{
    struct split *split = container_of(batch, struct split_part, batch)->split;

    if (parts_end(&split->parts))
        split_follow(split);
}

static struct split *split_new(struct shards *shards, struct append_batch *batch)
{
    struct split *split = calloc(1, sizeof *split);

    must(split != NULL);
    split->shards   = shards;
    split->whole    = batch;
    split->appends  = calloc(batch->count, sizeof *split->appends);
    split->carriers = calloc(batch->count, sizeof *split->carriers);
    must(split->appends != NULL && split->carriers != NULL);
    for (size_t i = 0; i < shards->count; i++) {
        split->of[i] = (struct split_part){ .split = split, .batch = { .wall = batch->wall, .done = split_on_part } };
        list_init(&split->of[i].batch.appends);
    }
    return split;
}

static void shards_append_split(struct shards *shards, struct append_batch *batch)
{
    struct split *split = split_new(shards, batch);
    struct list  *link;

    while ((link = list_pop(&batch->appends)) != NULL) {
        struct append       *append = container_of(link, struct append, link);
        size_t               home   = shard_of_name(shards, append->message->channel);
        struct append_batch *part   = &split->of[home].batch;
        split->carriers[split->count]  = carrier_new(shards, append, home, batch->wall);
        split->appends[split->count++] = append;
        list_push(&part->appends, &append->link);
        part->count++;
    }
    parts_begin(&split->parts);
    for (size_t i = 0; i < shards->count; i++) {
        if (split->of[i].batch.count == 0)
            continue;
        parts_add(&split->parts);
        shards->stores[i]->ops->append(shards->stores[i], &split->of[i].batch);
    }
    if (parts_end(&split->parts))
        split_follow(split);
}

static void shards_append(struct store *store, struct append_batch *batch)
{
    struct shards *shards = shards_of(store);
    size_t         shard;

    if (is_of_one(shards, batch, &shard))
        shards->stores[shard]->ops->append(shards->stores[shard], batch);
    else
        shards_append_split(shards, batch);
}

static uint32_t shards_part_of(struct store *store, const struct channel_name *name)
{
    return (uint32_t)shard_of_name(shards_of(store), name);
}

/* --- the rest of the port ----------------------------------------------------------------------------------------- */

static void shards_read(struct store *store, struct store_read *read)
{
    struct shards *shards = shards_of(store);
    struct store  *shard  = shards->stores[shard_of_name(shards, read->channel)];

    shard->ops->read(shard, read);
}

static void shards_tick(struct store *store, msec wall)
{
    struct shards *shards = shards_of(store);

    for (size_t i = 0; i < shards->count; i++)
        shards->stores[i]->ops->tick(shards->stores[i], wall);
    afters_tick(shards, wall);
}

/* All speak into the same ear. */
static void shards_hear(struct store *store, const struct store_ear *ear)
{
    struct shards *shards = shards_of(store);

    for (size_t i = 0; i < shards->count; i++)
        if (shards->stores[i]->ops->hear != NULL)
            shards->stores[i]->ops->hear(shards->stores[i], ear);
}

static void stats_add(struct store_stats *sum, const struct store_stats *stats)
{
    sum->channel_count += stats->channel_count;
    sum->disk_bytes += stats->disk_bytes;
    sum->memory_bytes += stats->memory_bytes;
    sum->append_count += stats->append_count;
    sum->batch_count += stats->batch_count;
    sum->sync_count += stats->sync_count;
    sum->sync_us_sum += stats->sync_us_sum;
    for (size_t i = 0; i < sizeof sum->sync_us_buckets / sizeof sum->sync_us_buckets[0]; i++)
        sum->sync_us_buckets[i] += stats->sync_us_buckets[i];
    sum->waiting_count += stats->waiting_count;
    sum->reconnect_count += stats->reconnect_count;
    sum->resolved_count += stats->resolved_count;
    sum->unresolved_count += stats->unresolved_count;
    sum->is_full |= stats->is_full;
    sum->is_broken |= stats->is_broken;
    sum->is_failing |= stats->is_failing;
    sum->is_unreadable |= stats->is_unreadable;
    sum->failure_count += stats->failure_count;
    sum->epoch_count += stats->epoch_count;
    if (llabs(stats->clock_ahead_ms) > llabs(sum->clock_ahead_ms))
        sum->clock_ahead_ms = stats->clock_ahead_ms;
    if (stats->failure[0] != '\0')
        memcpy(sum->failure, stats->failure, sizeof sum->failure);
}

static void shards_stats(struct store *store, struct store_stats *ret_stats)
{
    struct shards     *shards = shards_of(store);
    struct store_stats one;

    *ret_stats = (struct store_stats){ 0 };
    for (size_t i = 0; i < shards->count; i++) {
        shards->stores[i]->ops->stats(shards->stores[i], &one);
        stats_add(ret_stats, &one);
    }
}

/* What completes while they close must not submit more. */
static void shards_close(struct store *store)
{
    struct shards *shards = shards_of(store);

    pthread_mutex_lock(&shards->lock);
    shards->is_closing = true;
    pthread_mutex_unlock(&shards->lock);
    for (size_t i = 0; i < shards->count; i++)
        shards->stores[i]->ops->close(shards->stores[i]);
    afters_fini(shards);
    pthread_mutex_destroy(&shards->lock);
    free(shards);
}

static const struct store_ops shards_ops = {
    .name    = "shards",
    .append  = shards_append,
    .read    = shards_read,
    .heads   = shards_heads,
    .list    = shards_list,
    .hear    = shards_hear,
    .tick    = shards_tick,
    .stats   = shards_stats,
    .part_of = shards_part_of,
    .close   = shards_close,
};

/* --- its life ----------------------------------------------------------------------------------------------------- */

/* All take as many. */
static uint32_t batches_each(const struct shards *shards)
{
    uint32_t batches = STORE_BATCHES_MAX / (uint32_t)shards->count;

    for (size_t i = 0; i < shards->count; i++)
        if (shards->stores[i]->batches_max < batches)
            batches = shards->stores[i]->batches_max;
    return batches;
}

struct store *shards_new(const struct shards_options *options)
{
    struct shards *shards = calloc(1, sizeof *shards);

    must(shards != NULL && options->count >= 1 && options->count <= SHARDS_MAX);
    shards->count   = options->count;
    shards->slot_of = options->slot_of;
    memcpy(shards->stores, options->stores, options->count * sizeof shards->stores[0]);
    memcpy(shards->shard_of_slot, options->shard_of_slot, sizeof shards->shard_of_slot);
    for (size_t slot = 0; slot < SLOT_COUNT; slot++)
        must(shards->shard_of_slot[slot] < shards->count);
    shards->ops        = shards_ops;
    shards->ops.engine = shards->stores[0]->ops->engine;
    shards->ledger     = (struct ledger){ .ops = &shards_ledger_ops };
    shards->store      = (struct store){
        .ops = &shards->ops, .ledger = &shards->ledger, .part_count = (uint32_t)shards->count,
        .batches_max = batches_each(shards) * (uint32_t)shards->count,
    };
    for (size_t i = 0; i < shards->count; i++) {
        must(shards->stores[i]->ledger != NULL);
        if (shards->stores[i]->wall_seen > shards->store.wall_seen)
            shards->store.wall_seen = shards->stores[i]->wall_seen;
        if (shards->stores[i]->batch_least > shards->store.batch_least)
            shards->store.batch_least = shards->stores[i]->batch_least;
    }
    must(pthread_mutex_init(&shards->lock, NULL) == 0);
    afters_init(shards);
    return &shards->store;
}
