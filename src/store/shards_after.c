/* Rows that an append carries and that lie in another shard: they follow the append. */
#include <stdlib.h>

#include "base/must.h"
#include "base/span_keep.h"
#include "store/shards_priv.h"

enum { OWED_COUNT_MAX = 4096 };

struct after {
    struct list          link;
    struct shards       *shards;
    size_t               shard;
    void               (*done)(void *owner);  /* NULL: nobody waits any more */
    void                *owner;
    struct ledger_batch  batch;
    struct ledger_write  write;
    char                *bytes;               /* of keys and values: the append's owner may let go of his */
    struct ledger_change changes[];
};

static bool lies_in(const struct shards *shards, const struct ledger_change *change, size_t shard)
{
    return shard_of_row(shards, &change->key) == shard;
}

static void after_on_written(struct ledger_batch *batch);

/* A row that lies elsewhere is written as soon as the append is there, and perhaps again: a RAISE never puts back what a
 * later append has put there meanwhile. */
static void after_take(struct after *after, const struct ledger_change *change, char **at)
{
    struct ledger_change *mine = &after->changes[after->write.count++];

    must(!change->is_conditional);
    *mine           = *change;
    mine->key.bytes = span_keep(change->key.bytes, at);
    mine->value     = span_keep(change->value, at);
    if (mine->op == LEDGER_PUT && mine->takes_seq)
        mine->op = LEDGER_RAISE;
}

struct after *after_new(const struct shards *shards, size_t shard, size_t home, const struct ledger_write *write,
                        msec wall)
{
    size_t count = 0, bytes = 0;

    for (size_t i = 0; i < write->count && shard != home; i++)
        if (lies_in(shards, &write->changes[i], shard)) {
            count++;
            bytes += write->changes[i].key.bytes.len + write->changes[i].value.len;
        }
    if (count == 0)
        return NULL;
    struct after *after = calloc(1, sizeof *after + count * sizeof after->changes[0]);
    must(after != NULL);
    after->bytes = malloc(bytes);
    must(after->bytes != NULL);
    char *at     = after->bytes;
    after->shard = shard;
    for (size_t i = 0; i < write->count; i++)
        if (lies_in(shards, &write->changes[i], shard))
            after_take(after, &write->changes[i], &at);
    after->write.changes      = after->changes;
    after->batch.wall         = wall;
    after->batch.change_count = count;
    after->batch.done         = after_on_written;
    return after;
}

void after_drop(struct after *after)
{
    if (after == NULL)
        return;
    free(after->bytes);
    free(after);
}

/* --- the queue of a shard ----------------------------------------------------------------------------------------- */

void afters_init(struct shards *shards)
{
    for (size_t i = 0; i < shards->count; i++)
        list_init(&shards->afters[i].queue);
}

/* The one that is to be written now, or NULL. Under the lock. */
static struct after *queue_next(struct shards *shards, struct after_queue *queue)
{
    if (queue->is_busy || queue->is_stuck || shards->is_closing || list_is_empty(&queue->queue))
        return NULL;
    queue->is_busy = true;
    return container_of(queue->queue.next, struct after, link);
}

/* Whom the queue keeps waiting no longer, as a list of those whose done() is due. */
static void queue_release(struct after_queue *queue, struct list *ret_waiting)
{
    for (struct list *at = queue->queue.next, *next; at != &queue->queue; at = next) {
        struct after *after = container_of(at, struct after, link);
        next                = at->next;
        if (after->done == NULL)
            continue;
        struct after *waiter = calloc(1, sizeof *waiter);
        must(waiter != NULL);
        waiter->done  = after->done;
        waiter->owner = after->owner;
        after->done   = NULL;
        list_push(ret_waiting, &waiter->link);
    }
}

static void after_waiters_tell(struct list *waiting)
{
    for (struct list *link; (link = list_pop(waiting)) != NULL;) {
        struct after *waiter = container_of(link, struct after, link);
        waiter->done(waiter->owner);
        free(waiter);
    }
}

static void after_write(struct shards *shards, struct after *after)
{
    struct ledger *ledger = shards->stores[after->shard]->ledger;

    list_take(&after->write.link);
    list_init(&after->batch.writes);
    after->write.outcome = LEDGER_WAITING;
    list_push(&after->batch.writes, &after->write.link);
    ledger->ops->write(ledger, &after->batch);
}

static void after_on_written(struct ledger_batch *batch)
{
    struct after       *after = container_of(batch, struct after, batch), *next;
    struct shards      *shards = after->shards;
    struct after_queue *queue  = &shards->afters[after->shard];
    bool                is_done = after->write.outcome == LEDGER_DONE;
    struct list         waiting;

    list_init(&waiting);
    pthread_mutex_lock(&shards->lock);
    queue->is_busy  = false;
    queue->is_stuck = !is_done;
    if (is_done) {
        list_take(&after->link);
        queue->count--;
    } else {
        queue_release(queue, &waiting);
    }
    next = queue_next(shards, queue);
    pthread_mutex_unlock(&shards->lock);
    if (is_done && after->done != NULL)
        after->done(after->owner);
    if (is_done)
        after_drop(after);
    after_waiters_tell(&waiting);
    if (next != NULL)
        after_write(shards, next);
}

/* The oldest one that is not under way makes room. Under the lock. */
static struct after *queue_overflow(struct after_queue *queue)
{
    if (queue->count < OWED_COUNT_MAX || queue->is_busy)
        return NULL;
    queue->count--;
    return container_of(list_pop(&queue->queue), struct after, link);
}

void after_submit(struct shards *shards, struct after *after, uint64_t seq, void (*done)(void *owner), void *owner)
{
    struct after_queue *queue = &shards->afters[after->shard];

    for (size_t i = 0; i < after->write.count; i++)
        if (after->changes[i].takes_seq) {
            after->changes[i].takes_seq  = false;
            after->changes[i].generation = seq;
        }
    after->shards = shards;
    pthread_mutex_lock(&shards->lock);
    bool waits          = !queue->is_stuck && !shards->is_closing;
    after->done         = waits ? done : NULL;
    after->owner        = owner;
    struct after *spare = queue_overflow(queue);
    list_push(&queue->queue, &after->link);
    queue->count++;
    struct after *next = queue_next(shards, queue);
    pthread_mutex_unlock(&shards->lock);
    after_drop(spare);
    if (!waits)
        done(owner);
    if (next != NULL)
        after_write(shards, next);
}

void afters_tick(struct shards *shards, msec wall)
{
    for (size_t i = 0; i < shards->count; i++) {
        pthread_mutex_lock(&shards->lock);
        shards->afters[i].is_stuck = false;
        struct after *next         = queue_next(shards, &shards->afters[i]);
        pthread_mutex_unlock(&shards->lock);
        if (next == NULL)
            continue;
        next->batch.wall = wall;
        after_write(shards, next);
    }
}

/* All stores are closed. */
void afters_fini(struct shards *shards)
{
    for (size_t i = 0; i < shards->count; i++)
        for (struct list *link; (link = list_pop(&shards->afters[i].queue)) != NULL;)
            after_drop(container_of(link, struct after, link));
}

size_t shards_owed_count(struct store *store)
{
    struct shards *shards = shards_of(store);
    size_t         count  = 0;

    pthread_mutex_lock(&shards->lock);
    for (size_t i = 0; i < shards->count; i++)
        count += shards->afters[i].count;
    pthread_mutex_unlock(&shards->lock);
    return count;
}
