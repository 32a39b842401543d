/* The committer: takes all batches that wait, numbers their appends, writes them with one sync, and answers only then.
 * While it waits for the disk the next commit gathers; it never delays a commit on purpose. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/must.h"
#include "store/ledger_rule.h"
#include "store/rocks_commit.h"
#include "store/wake_soon.h"

enum {
    COMMIT_COUNT_MAX     = 4096,             /* appends in one commit; a larger batch still commits as one */
    COMMIT_CHANGES_MAX   = 1024,             /* ledger changes beside them: about 5 ms */
    COMMIT_BYTES_MAX     = 8 * 1024 * 1024,  /* of appends, and as much of ledger changes */
    SEQ_BLOCK            = 4096,             /* a channel's own row is written once for so many messages */
    ROW_BYTES_MAX        = 1 << 30,
    KEY_BYTES_MAX        = 1 << 16,
    SYNC_BUCKET_US_FIRST = 32,
};

/* --- the queue -------------------------------------------------------------------------------------------------- */

void rocks_append(struct store *store, struct append_batch *batch)
{
    struct commit_queue *queue = &rocks_of(store)->commits;

    must(batch->done != NULL);
    must((batch->count == 0) == list_is_empty(&batch->appends));
    pthread_mutex_lock(&queue->lock);
    bool was_empty = list_is_empty(&queue->batches);
    list_push(&queue->batches, &batch->link);
    if (was_empty)
        pthread_cond_signal(&queue->more);
    pthread_mutex_unlock(&queue->lock);
}

static size_t write_bytes(const struct ledger_write *write)
{
    size_t bytes = 0;

    for (size_t i = 0; i < write->count; i++)
        bytes += ledger_change_bytes(&write->changes[i]);
    return bytes;
}

static size_t ledger_batch_bytes(const struct ledger_batch *batch)
{
    size_t bytes = 0;

    for (const struct list *link = batch->writes.next; link != &batch->writes; link = link->next)
        bytes += write_bytes(container_of(link, struct ledger_write, link));
    return bytes;
}

static size_t batch_bytes(const struct append_batch *batch, size_t *ret_change_count)
{
    size_t bytes = 0, change_count = 0;

    for (const struct list *link = batch->appends.next; link != &batch->appends; link = link->next) {
        const struct append *append = container_of(link, struct append, link);
        bytes += message_size(append->message);
        if (append->write == NULL)
            continue;
        bytes += write_bytes(append->write);
        change_count += append->write->count;
    }
    *ret_change_count = change_count;
    return bytes;
}

static size_t batch_purges(const struct append_batch *batch)
{
    size_t count = 0;

    for (const struct list *link = batch->appends.next; link != &batch->appends; link = link->next)
        count += container_of(link, struct append, link)->is_purge;
    return count;
}

static void collect_batches(struct commit_queue *queue, struct commit *commit)
{
    while (!list_is_empty(&queue->batches)) {
        struct append_batch *batch        = container_of(queue->batches.next, struct append_batch, link);
        size_t               change_count = 0, bytes = batch_bytes(batch, &change_count);
        if (commit->count > 0 &&
            (commit->count + batch->count > COMMIT_COUNT_MAX || commit->bytes + bytes > COMMIT_BYTES_MAX))
            return;
        list_take(&batch->link);
        list_push(&commit->batches, &batch->link);
        commit->count += batch->count;
        commit->purge_count += batch_purges(batch);
        commit->bytes += bytes;
        commit->change_count += change_count;
    }
}

/* Takes at least one, however many appends there are: neither queue makes the other wait for more than one commit. */
static void collect_ledger_batches(struct commit_queue *queue, struct commit *commit)
{
    size_t count = 0, bytes = 0;

    while (!list_is_empty(&queue->ledger_batches)) {
        struct ledger_batch *batch = container_of(queue->ledger_batches.next, struct ledger_batch, link);
        size_t               more  = ledger_batch_bytes(batch);
        if (count > 0 && (count + batch->change_count > COMMIT_CHANGES_MAX || bytes + more > COMMIT_BYTES_MAX))
            break;
        list_take(&batch->link);
        list_push(&commit->ledger_batches, &batch->link);
        count += batch->change_count;
        bytes += more;
    }
    must(queue->change_count >= count);
    queue->change_count -= count;
    queue->is_urgent = !list_is_empty(&queue->ledger_batches);
    commit->change_count += count;
    commit->bytes += bytes;
}

static bool queue_is_empty(const struct commit_queue *queue)
{
    return list_is_empty(&queue->batches) && list_is_empty(&queue->ledger_batches);
}

/* Nothing waits but lazy batches of the ledger, and appends are likely to come. Alone these would have a sync of their own, and the
 * appends would wait for it. */
static bool queue_waits_for_company(const struct commit_queue *queue)
{
    return list_is_empty(&queue->batches) && !queue->is_urgent && queue->had_appends && !queue->is_closing;
}

static void commit_wait(struct commit_queue *queue, uint32_t company_ms)
{
    while (queue_is_empty(queue) && !queue->is_closing)
        pthread_cond_wait(&queue->more, &queue->lock);
    if (!queue_waits_for_company(queue))
        return;
    const struct timespec until = monotonic_after_ms(company_ms);
    int                   ended = 0;
    while (ended != ETIMEDOUT && queue_waits_for_company(queue))
        ended = pthread_cond_timedwait(&queue->more, &queue->lock, &until);
}

/* Waits for batches and moves them into the commit: at least one, and as many as fit. False: the store closes. */
static bool commit_collect(struct rocks *rocks, struct commit *commit, enum rocks_health *ret_health)
{
    struct commit_queue *queue = &rocks->commits;

    commit->count = commit->bytes = commit->change_count = commit->purge_count = 0;
    pthread_mutex_lock(&queue->lock);
    commit_wait(queue, rocks->options.company_ms);
    collect_batches(queue, commit);
    collect_ledger_batches(queue, commit);
    queue->had_appends = commit->count > 0;
    *ret_health = queue->health;
    pthread_mutex_unlock(&queue->lock);
    return !list_is_empty(&commit->batches) || !list_is_empty(&commit->ledger_batches);
}

/* --- one commit ------------------------------------------------------------------------------------------------- */

static void commit_put(struct rocks *rocks, struct commit *commit, uint64_t number, uint64_t seq, const struct row *row)
{
    struct row_key key = row_key(number, seq);

    buf_clear(&commit->value);
    row_put(&commit->value, number, seq, row);
    rocksdb_writebatch_put_cf(commit->write, rocks->db.families[FAMILY_MESSAGES], key.bytes, sizeof key.bytes,
                              commit->value.at, commit->value.len);
}

static void row_assign_numbers(struct rocks *rocks, struct commit *commit, struct commit_row *row)
{
    struct channel_change *change  = &row->channel->change;
    struct message        *message = row->append->message;

    if (change->number == 0)
        change->number = number_next(rocks, commit->write, NUMBER_CHANNEL);
    message->epoch = rocks->epoch;
    message->seq   = ++change->head;
    message->id    = number_next(rocks, commit->write, message->channel->space->id_kind);
    must(message->seq != 0 && message->id != 0);
    if (change->head == (change->floor != 0 ? change->floor : row->channel->now.head + 1))
        change->first_time = message->time;
    change->bytes_more += message->payload_len;
    row->before      = change->row_last;
    change->row_last = (uint32_t)(row - commit->rows) + 1;
}

/* The channel's own row is written when the channel is new or its ceiling is passed. */
static void change_save(struct rocks *rocks, struct commit *commit, struct rocks_channel *channel)
{
    struct channel_change *change = &channel->change;

    if (!change->is_new && change->head <= change->ceiling)
        return;
    change->ceiling = (change->head / SEQ_BLOCK + 1) * SEQ_BLOCK;
    pthread_mutex_lock(&rocks->table.lock);
    struct channel_state state = channel->now;
    pthread_mutex_unlock(&rocks->table.lock);
    state.number  = change->number;
    state.head    = change->head;
    state.ceiling = change->ceiling;
    state.bytes += change->bytes_more;
    channel_save(rocks, commit->write, channel->name, &state);
    change->is_new   = false;
    change->is_saved = true;
    must(change->head <= change->ceiling);
}

/* False, with the outcome set, if the ledger write that the append carries is not possible. */
static bool carried_is_possible(struct rocks *rocks, struct commit *commit, struct append *append, msec wall,
                                struct ledger_before *ret_before)
{
    ledger_carried_check(append->write);
    enum ledger_outcome outcome = ledger_judge(rocks, commit, append->write, wall, ret_before);

    append->outcome = outcome == LEDGER_STALE ? APPEND_STALE : APPEND_BROKEN;
    return outcome == LEDGER_DONE;
}

static void row_decide(struct rocks *rocks, struct commit *commit, struct commit_row *row, msec wall)
{
    struct append       *append  = row->append;
    struct message      *message = append->message;
    struct row           old     = { 0 };
    struct ledger_before before;

    append_check(append);
    if (append->is_purge) {
        purge_decide(rocks, commit, row, wall);
        return;
    }
    if (append->key.len > 0 && key_decides(rocks, commit, row, wall))
        return;
    if (append->write != NULL && !carried_is_possible(rocks, commit, append, wall, &before))
        return;
    if (message->kind == MESSAGE_RECALL && recall_check(rocks, commit, row, wall, &old) != RC_OK)
        return;

    row_assign_numbers(rocks, commit, row);
    struct row new = row_of_message(message);
    commit_put(rocks, commit, row->channel->change.number, message->seq, &new);
    if (message->kind == MESSAGE_RECALL) {
        struct row tombstone = recalled_row(&old, message);
        commit_put(rocks, commit, row->channel->change.number, message->target, &tombstone);
    }
    change_save(rocks, commit, row->channel);
    if (append->key.len > 0)
        key_save(rocks, commit, row, wall);
    if (append->write != NULL) {
        ledger_put(rocks, commit, append->write, &before, message->seq);
        append->write->outcome = LEDGER_DONE;
    }
    append->outcome = APPEND_DONE;
}

static struct commit_row *commit_row_new(struct commit *commit, struct append *append)
{
    must(commit->row_count < commit->row_cap);
    struct commit_row *row = &commit->rows[commit->row_count++];

    *row = (struct commit_row){ .append = append };
    return row;
}

static void commit_reserve(struct commit *commit)
{
    ledger_reserve(commit);
    if (commit->count <= commit->row_cap)
        return;
    commit->row_cap = commit->count;
    commit->rows    = reallocarray(commit->rows, commit->count, sizeof *commit->rows);
    must(commit->rows != NULL);
}

static void commit_add_batch(struct rocks *rocks, struct commit *commit, struct append_batch *batch)
{
    for (struct list *link = batch->appends.next; link != &batch->appends; link = link->next) {
        struct append     *append = container_of(link, struct append, link);
        struct commit_row *row    = commit_row_new(commit, append);
        /* A channel whose own records are damaged fails alone. */
        if (!commit->has_room && !append->is_purge)
            append->outcome = APPEND_NO_SPACE;
        else if (channel_open_change(rocks, append->message->channel, &row->channel) != RC_OK)
            append->outcome = APPEND_BROKEN;
        else
            row_decide(rocks, commit, row, batch->wall);
    }
}

/* Closes the change of every channel in the commit. Several rows may share a channel, so closing one twice must do no
 * harm. */
static void commit_close_channels(struct rocks *rocks, struct commit *commit, bool is_written)
{
    pthread_mutex_lock(&rocks->table.lock);
    for (size_t i = 0; i < commit->row_count; i++) {
        struct rocks_channel *channel = commit->rows[i].channel;
        if (channel == NULL || !channel->change.is_open)
            continue;
        if (is_written && (channel->change.row_last != 0 || channel->change.floor != 0))
            channel_apply_change(channel);
        channel->change.is_open = false;
    }
    pthread_mutex_unlock(&rocks->table.lock);
}

/* Nothing of this commit counts: no append was numbered, and no replay of an append in the same commit is an answer. */
static void commit_fail(struct commit *commit, enum append_outcome outcome)
{
    for (size_t i = 0; i < commit->row_count; i++) {
        struct append *append  = commit->rows[i].append;
        append->outcome        = outcome;
        append->message->epoch = append->message->seq = append->message->id = 0;
    }
}

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void sync_count(struct rocks *rocks, uint64_t us)
{
    size_t bucket = 0;

    while (bucket + 1 < SYNC_BUCKETS && us >= (uint64_t)SYNC_BUCKET_US_FIRST << bucket)
        bucket++;
    counter_add(&rocks->sync_count, 1);
    counter_add(&rocks->sync_us_sum, us);
    counter_add(&rocks->sync_us_buckets[bucket], 1);
}

static enum rc commit_write(struct rocks *rocks, struct commit *commit, char ret_why[ROCKS_WHY_BYTES])
{
    if (rocksdb_writebatch_count(commit->write) == 0)
        return RC_OK;

    /* What retention writes at the same time must not fall behind a purge. */
    if (commit->purge_count > 0)
        pthread_mutex_lock(&rocks->floor_lock);
    uint64_t from = now_us();
    enum rc  rc   = rocks_db_write(&rocks->db, commit->write, ret_why, ROCKS_WHY_BYTES);
    if (commit->purge_count > 0)
        pthread_mutex_unlock(&rocks->floor_lock);
    sync_count(rocks, now_us() - from);
    if (rc != RC_OK)
        return rc;
    rc = rocks_save_synced(rocks);
    if (rc != RC_OK)
        snprintf(ret_why, ROCKS_WHY_BYTES, "the file `synced` can't be written: %s", strerror(errno));
    return rc;
}

/* False: the disk was full. */
static bool commit_make(struct rocks *rocks, struct commit *commit)
{
    for (struct list *link = commit->batches.next; link != &commit->batches; link = link->next)
        commit_add_batch(rocks, commit, container_of(link, struct append_batch, link));
    must(commit->row_count == commit->count);
    for (struct list *link = commit->ledger_batches.next; commit->has_room && link != &commit->ledger_batches;
         link              = link->next)
        ledger_commit_batch(rocks, commit, container_of(link, struct ledger_batch, link));

    char    why[ROCKS_WHY_BYTES];
    enum rc rc = commit_write(rocks, commit, why);
    commit_close_channels(rocks, commit, rc == RC_OK);
    if (rc == RC_OK && commit->purge_count > 0)
        purges_publish(rocks, commit);
    if (rc == RC_OK) {
        ledger_remember(commit);
        return true;
    }
    recent_rows_forget(&commit->recent);
    rocks->is_compaction_off |= rc == RC_CORRUPT;
    commit_fail(commit, rc == RC_NOSPACE ? APPEND_NO_SPACE : APPEND_BROKEN);
    ledger_fail(commit, rc == RC_NOSPACE ? LEDGER_NO_SPACE : LEDGER_BROKEN);
    rocks_health_set(rocks, rc == RC_NOSPACE ? ROCKS_FULL : ROCKS_BROKEN, why);
    maintenance_ask_repair(rocks);
    return rc != RC_NOSPACE;
}

/* --- answers ---------------------------------------------------------------------------------------------------- */

static void commit_refuse(struct commit *commit, enum append_outcome outcome, enum ledger_outcome ledger_outcome)
{
    ledger_fail(commit, ledger_outcome);
    for (struct list *at = commit->batches.next; at != &commit->batches; at = at->next) {
        struct append_batch *batch = container_of(at, struct append_batch, link);
        for (struct list *link = batch->appends.next; link != &batch->appends; link = link->next)
            container_of(link, struct append, link)->outcome = outcome;
    }
}

static void commit_answer(struct rocks *rocks, struct commit *commit)
{
    uint64_t done = 0;

    for (size_t i = 0; i < commit->row_count; i++) {
        must(commit->rows[i].append->outcome != APPEND_WAITING);
        done += commit->rows[i].append->outcome == APPEND_DONE;
    }
    counter_add(&rocks->append_count, done);
    for (struct list *link; (link = list_pop(&commit->batches)) != NULL;) {
        struct append_batch *batch = container_of(link, struct append_batch, link);
        counter_add(&rocks->batch_count, 1);
        rocks->wall_committed = batch->wall;
        batch->done(batch);
    }
    ledger_answer(commit);
}

static void commit_clear(struct commit *commit)
{
    for (size_t i = 0; i < commit->row_count; i++)
        if (commit->rows[i].is_keyed)
            map_take(&commit->keys, &commit->rows[i].key_node);
    commit->row_count = 0;
    ledger_clear(commit);
    rocksdb_writebatch_clear(commit->write);
}

/* False: the disk had no room. Purges are made all the same: they take a few bytes, and are how room is made. */
static bool commit_try(struct rocks *rocks, struct commit *commit)
{
    pthread_rwlock_rdlock(&rocks->db_lock);
    commit->has_room = rocks_has_room(rocks, 2 * commit->bytes);
    bool is_fitting  = commit->has_room;
    if (!is_fitting)
        commit_refuse(commit, APPEND_NO_SPACE, LEDGER_NO_SPACE);
    if (is_fitting || commit->purge_count > 0)
        is_fitting &= commit_make(rocks, commit);
    pthread_rwlock_unlock(&rocks->db_lock);
    return is_fitting;
}

static void full_set(struct commit_queue *commits, bool is_full)
{
    pthread_mutex_lock(&commits->lock);
    commits->is_full = is_full;
    pthread_mutex_unlock(&commits->lock);
}

static void commit_run(struct rocks *rocks, struct commit *commit, enum rocks_health health)
{
    commit_reserve(commit);
    /* Only this thread changes the health from ROCKS_HEALTHY to another state, so while it is healthy the database is
     * open. Otherwise the maintenance thread may hold db_lock for long, and a refusal needn't wait for it. */
    if (health == ROCKS_HEALTHY)
        full_set(&rocks->commits, !commit_try(rocks, commit));
    else if (health == ROCKS_FULL)
        commit_refuse(commit, APPEND_NO_SPACE, LEDGER_NO_SPACE);
    else
        commit_refuse(commit, APPEND_BROKEN, LEDGER_AWAY);
    commit_answer(rocks, commit);
    commit_clear(commit);
}

void *rocks_committer(void *context)
{
    struct rocks     *rocks  = context;
    struct commit     commit = { .write = rocksdb_writebatch_create() };
    enum rocks_health health = ROCKS_HEALTHY;

    rocks_thread = ROCKS_COMMITTER;
    thread_wake_soon();
    rocks_db_count_nothing();
    list_init(&commit.batches);
    list_init(&commit.ledger_batches);
    map_init(&commit.keys);
    map_init(&commit.pending_map);
    buf_init(&commit.value, ROW_BYTES_MAX);
    buf_init(&commit.key, KEY_BYTES_MAX);
    while (commit_collect(rocks, &commit, &health))
        commit_run(rocks, &commit, health);

    rocksdb_writebatch_destroy(commit.write);
    buf_fini(&commit.value);
    buf_fini(&commit.key);
    map_fini(&commit.keys);
    map_fini(&commit.pending_map);
    recent_rows_fini(&commit.recent);
    free(commit.pending_rows);
    free(commit.rows);
    return NULL;
}
