/* The committer: takes all that waits, numbers it, writes it with one sync, and only then answers. While it
 * waits for the disk the next commit gathers; nothing lingers on purpose. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/must.h"
#include "store/digest.h"
#include "store/rocks_priv.h"

enum {
    COMMIT_COUNT_MAX     = 4096,              /* appends in one commit; a larger batch still commits as one */
    COMMIT_BYTES_MAX     = 8 * 1024 * 1024,
    SEQ_BLOCK            = 4096,              /* a channel's row is written once for so many messages */
    NUMBER_BLOCK         = 65536,             /* ids that a crash may skip */
    ROW_BYTES_MAX        = 1 << 30,
    KEY_BYTES_MAX        = 1 << 16,
    WRITE_BUFFERS        = 4,
    SYNC_BUCKET_US_FIRST = 32,
};

enum { KEY_DIGEST, KEY_EPOCH, KEY_SEQ, KEY_ID, KEY_TIME, KEY_FORGET_AT, KEY_COUNT };

struct commit_row {
    struct append        *append;
    struct rocks_channel *channel;
    struct map_node       key_node;  /* in commit.keys, if is_keyed */
    bool                  is_keyed;  /* the append has a key and was numbered */
    uint32_t              before;    /* the channel's row before this one, counted from 1; 0: none */
};

struct commit {
    struct list           batches;
    struct commit_row    *rows;
    size_t                row_count, row_cap;
    struct map            keys;
    rocksdb_writebatch_t *write;
    struct buf            value, key;
    size_t                bytes;
};

/* --- the queue -------------------------------------------------------------------------------------------------- */

void rocks_append(struct store *store, struct append_batch *batch)
{
    struct commit_queue *queue = &rocks_of(store)->commits;

    pthread_mutex_lock(&queue->lock);
    bool was_empty = list_is_empty(&queue->batches);
    list_push(&queue->batches, &batch->link);
    if (was_empty)
        pthread_cond_signal(&queue->more);
    pthread_mutex_unlock(&queue->lock);
}

static size_t batch_bytes(const struct append_batch *batch)
{
    size_t bytes = 0;

    for (const struct list *link = batch->appends.next; link != &batch->appends; link = link->next)
        bytes += message_size(container_of(link, struct append, link)->message);
    return bytes;
}

/* Waits for batches and moves them into the commit, at least one, as long as they fit. False: the end. */
static bool commit_gather(struct rocks *rocks, struct commit *commit, enum rocks_health *ret_health)
{
    struct commit_queue *queue = &rocks->commits;
    size_t               count = 0;

    commit->bytes = 0;
    pthread_mutex_lock(&queue->lock);
    while (list_is_empty(&queue->batches) && !queue->is_closing)
        pthread_cond_wait(&queue->more, &queue->lock);
    while (!list_is_empty(&queue->batches)) {
        struct append_batch *batch = container_of(queue->batches.next, struct append_batch, link);
        size_t               bytes = batch_bytes(batch);
        if (count > 0 && (count + batch->count > COMMIT_COUNT_MAX || commit->bytes + bytes > COMMIT_BYTES_MAX))
            break;
        list_take(&batch->link);
        list_push(&commit->batches, &batch->link);
        count += batch->count;
        commit->bytes += bytes;
    }
    *ret_health = queue->health;
    pthread_mutex_unlock(&queue->lock);
    return count > 0 || !list_is_empty(&commit->batches);
}

static void health_set(struct rocks *rocks, enum rocks_health health)
{
    pthread_mutex_lock(&rocks->commits.lock);
    rocks->commits.health = health;
    pthread_mutex_unlock(&rocks->commits.lock);
    keeper_need(rocks);
}

/* --- idempotency keys ------------------------------------------------------------------------------------------- */

/* As it lies on disk: channel number, publisher's length, publisher, key. */
static struct span key_spell(struct buf *buf, uint64_t number, const struct append *append)
{
    struct row_key place = row_key(number, append->publisher.len);

    buf_clear(buf);
    buf_put(buf, row_key_span(&place));
    buf_put(buf, append->publisher);
    buf_put(buf, append->key);
    must(!buf_is_over(buf));
    return buf_span(buf);
}

static uint64_t key_hash(const struct rocks *rocks, const struct append *append)
{
    struct hash_key key = rocks->options.hash_key;

    key.k0 ^= append->message->channel->hash;
    key.k0 ^= hash_bytes(&key, append->publisher);
    return hash_bytes(&key, append->key);
}

static bool key_is(const struct map_node *node, const void *key)
{
    const struct append *seen = container_of(node, struct commit_row, key_node)->append, *append = key;

    return channel_name_eq(seen->message->channel, append->message->channel) &&
           span_eq(seen->publisher, append->publisher) && span_eq(seen->key, append->key);
}

static void append_answer_as(struct append *append, uint64_t digest, struct append_answer first)
{
    append->outcome = digest == append_digest(append) ? APPEND_REPLAYED : APPEND_KEY_CONFLICT;
    if (append->outcome == APPEND_REPLAYED)
        append->first = first;
}

static struct append_answer answer_of(const struct message *message)
{
    return (struct append_answer){ message->epoch, message->seq, message->id, message->time };
}

static bool key_is_in_commit(struct rocks *rocks, struct commit *commit, struct append *append)
{
    struct map_node *node = map_find(&commit->keys, key_hash(rocks, append), key_is, append);
    if (node == NULL)
        return false;

    const struct append *seen = container_of(node, struct commit_row, key_node)->append;
    append_answer_as(append, append_digest(seen), answer_of(seen->message));
    return true;
}

/* True if the key decides the outcome: it was used before, or it can't be told. */
static bool key_answers(struct rocks *rocks, struct commit *commit, const struct commit_row *row, msec wall)
{
    struct append *append = row->append;
    uint64_t       seen[KEY_COUNT];

    if (key_is_in_commit(rocks, commit, append))
        return true;
    if (row->channel->now.number == 0)
        return false;
    struct span key = key_spell(&commit->key, row->channel->now.number, append);
    enum rc     rc  = rocks_db_get_record(&rocks->db, FAMILY_KEYS, rocks->db.get, key, seen, KEY_COUNT);
    if (rc == RC_GONE || (rc == RC_OK && (msec)seen[KEY_FORGET_AT] <= wall))
        return false;
    if (rc != RC_OK)
        append->outcome = APPEND_BROKEN;
    else
        append_answer_as(append, seen[KEY_DIGEST], (struct append_answer){ seen[KEY_EPOCH], seen[KEY_SEQ], seen[KEY_ID],
                                                                           (msec)seen[KEY_TIME] });
    return true;
}

static void key_remember(struct rocks *rocks, struct commit *commit, struct commit_row *row, msec wall)
{
    const struct append  *append  = row->append;
    const struct message *message = append->message;
    const uint64_t        seen[KEY_COUNT] = {
        [KEY_DIGEST]    = append_digest(append),
        [KEY_EPOCH]     = message->epoch,
        [KEY_SEQ]       = message->seq,
        [KEY_ID]        = message->id,
        [KEY_TIME]      = (uint64_t)message->time,
        [KEY_FORGET_AT] = (uint64_t)(wall + rocks->options.key_keep_ms),
    };

    struct span key = key_spell(&commit->key, row->channel->change.number, append);
    rocks_db_put_record(&rocks->db, commit->write, FAMILY_KEYS, key, seen, KEY_COUNT);
    map_add(&commit->keys, &row->key_node, key_hash(rocks, append));
    row->is_keyed = true;
}

/* --- numbers ---------------------------------------------------------------------------------------------------- */

static const struct span numbers_key = { "numbers", 7 }, log_key = { "log", 3 };

enum { LOG_VERSION, LOG_EPOCH, LOG_COUNT, LOG_VERSION_NOW = 1 };

static void numbers_save(struct rocks *rocks, rocksdb_writebatch_t *write)
{
    rocks_db_put_record(&rocks->db, write, FAMILY_META, numbers_key, rocks->numbers.ceiling, NUMBER_COUNT);
}

static uint64_t number_next(struct rocks *rocks, struct commit *commit, size_t kind)
{
    struct rocks_numbers *numbers = &rocks->numbers;
    uint64_t              number  = numbers->next[kind]++;

    if (number >= numbers->ceiling[kind]) {
        numbers->ceiling[kind] = number + NUMBER_BLOCK;
        numbers_save(rocks, commit->write);
    }
    return number;
}

static enum rc log_found(struct rocks *rocks, uint64_t epoch)
{
    rocksdb_writebatch_t *write         = rocksdb_writebatch_create();
    const uint64_t        log[LOG_COUNT] = { LOG_VERSION_NOW, epoch };

    rocks_db_put_record(&rocks->db, write, FAMILY_META, log_key, log, LOG_COUNT);
    numbers_save(rocks, write);
    enum rc rc = rocks_db_write(&rocks->db, write);
    rocksdb_writebatch_destroy(write);
    if (rc == RC_OK)
        rocks->epoch = epoch;
    return rc;
}

enum rc rocks_meta_load(struct rocks *rocks, char *ret_why, size_t why_size)
{
    struct rocks_numbers *numbers = &rocks->numbers;
    uint64_t              log[LOG_COUNT], ceiling[NUMBER_COUNT];

    enum rc rc = rocks_db_get_record(&rocks->db, FAMILY_META, rocks->db.get, log_key, log, LOG_COUNT);
    if (rc == RC_GONE && rocks_db_sequence(&rocks->db) == 0) {
        for (size_t i = 0; i < NUMBER_COUNT; i++)
            numbers->next[i] = numbers->ceiling[i] = 1;
        rc = log_found(rocks, rocks->options.epoch_new);
        if (rc != RC_OK)
            snprintf(ret_why, why_size, "the log in %s can't be founded: %s", rocks->path, rc_text(rc));
        return rc;
    }
    if (rc == RC_OK)
        rc = rocks_db_get_record(&rocks->db, FAMILY_META, rocks->db.get, numbers_key, ceiling, NUMBER_COUNT);
    if (rc != RC_OK) {
        snprintf(ret_why, why_size, "the database in %s has no readable head record: %s", rocks->path, rc_text(rc));
        return RC_CORRUPT;
    }
    if (log[LOG_VERSION] != LOG_VERSION_NOW) {
        snprintf(ret_why, why_size, "the log in %s has format %llu, this program knows only %d", rocks->path,
                 (unsigned long long)log[LOG_VERSION], LOG_VERSION_NOW);
        return RC_CORRUPT;
    }
    rocks->epoch = log[LOG_EPOCH];
    for (size_t i = 0; i < NUMBER_COUNT; i++) {
        numbers->ceiling[i] = ceiling[i];
        if (numbers->next[i] < ceiling[i])
            numbers->next[i] = ceiling[i];
    }
    return RC_OK;
}

enum rc rocks_epoch_change(struct rocks *rocks, uint64_t epoch)
{
    return log_found(rocks, epoch);
}

/* --- recalls ---------------------------------------------------------------------------------------------------- */

static struct row recalled_row(const struct row *old, const struct message *recall)
{
    return (struct row){
        .kind        = MESSAGE_RECALLED,
        .id          = old->id,
        .time        = old->time,
        .expires_at  = old->expires_at,
        .target      = recall->seq,
        .answer_id   = recall->id,
        .answer_time = recall->time,
    };
}

/* The numbered row of this commit that stands at `seq`, or the recall in it whose target is `seq`; 0: none. */
static const struct commit_row *commit_find(const struct commit *commit, const struct rocks_channel *channel,
                                            uint64_t seq, bool is_recall_of)
{
    for (uint32_t at = channel->change.row_last; at != 0; at = commit->rows[at - 1].before) {
        const struct message *message = commit->rows[at - 1].append->message;
        if (is_recall_of ? message->kind == MESSAGE_RECALL && message->target == seq : message->seq == seq)
            return &commit->rows[at - 1];
    }
    return NULL;
}

/* The target as it stands now, in the commit or on disk; *ret_slice holds its bytes, if they must be held. RC_GONE: not
 * there. */
static enum rc target_find(struct rocks *rocks, const struct commit *commit, const struct rocks_channel *channel,
                           uint64_t seq, struct row *ret, rocksdb_pinnableslice_t **ret_slice)
{
    const struct commit_row *row = commit_find(commit, channel, seq, true);
    if (row != NULL) {
        *ret = (struct row){ .kind = MESSAGE_RECALLED, .target = row->append->message->seq,
                             .answer_id = row->append->message->id, .answer_time = row->append->message->time };
        return RC_OK;
    }
    row = commit_find(commit, channel, seq, false);
    if (row != NULL) {
        *ret = row_of_message(row->append->message);
        return RC_OK;
    }
    if (seq > channel->now.head || channel->now.number == 0)
        return RC_GONE;

    struct row_key           key   = row_key(channel->now.number, seq);
    rocksdb_pinnableslice_t *slice = NULL;
    enum rc rc = rocks_db_get(&rocks->db, FAMILY_MESSAGES, rocks->db.get, row_key_span(&key), &slice);
    if (rc != RC_OK || slice == NULL)
        return rc == RC_OK || rc == RC_CORRUPT ? RC_GONE : rc;
    struct span value;
    value.at = rocksdb_pinnableslice_value(slice, &value.len);
    if (!row_get(value, channel->now.number, seq, ret)) {
        rocksdb_pinnableslice_destroy(slice);
        return RC_GONE;
    }
    *ret_slice = slice;
    return RC_OK;
}

/* The floor as retention has it at this moment, so that what a reader no longer sees can't be taken back. */
static enum rc recall_floor(struct rocks *rocks, struct rocks_channel *channel, msec wall, uint64_t *ret)
{
    pthread_mutex_lock(&rocks->table.lock);
    struct rocks_look look = channel->now;
    pthread_mutex_unlock(&rocks->table.lock);

    uint64_t bytes = look.bytes;
    enum rc  rc    = look_age(rocks, channel->name->space, wall, &look);
    if (rc == RC_OK)
        channel_raise_floor(rocks, channel->name, &look, bytes - look.bytes);
    *ret = look.floor;
    return rc;
}

/* RC_OK: it may be taken back, *ret_old says what it is. Else the outcome is set. */
static enum rc recall_check(struct rocks *rocks, const struct commit *commit, const struct commit_row *row, msec wall,
                            struct row *ret_old)
{
    struct append           *append = row->append;
    uint64_t                 target = append->message->target, floor = 0;
    rocksdb_pinnableslice_t *slice  = NULL;

    append->outcome = APPEND_NO_TARGET;
    enum rc rc      = recall_floor(rocks, row->channel, wall, &floor);
    if (rc == RC_OK)
        rc = target < floor ? RC_GONE : target_find(rocks, commit, row->channel, target, ret_old, &slice);
    if (rc != RC_OK && rc != RC_GONE)
        append->outcome = APPEND_BROKEN;
    if (rc != RC_OK)
        return rc;

    if (ret_old->kind == MESSAGE_RECALL || ret_old->kind == ROW_EXPIRED ||
        (ret_old->expires_at != 0 && ret_old->expires_at <= wall)) {
        rc = RC_GONE;
    } else if (ret_old->kind == MESSAGE_RECALLED) {
        append->outcome = APPEND_REPLAYED;
        append->first = (struct append_answer){ rocks->epoch, ret_old->target, ret_old->answer_id, ret_old->answer_time };
        rc            = RC_GONE;
    }
    row->channel->change.bytes_less += rc == RC_OK ? ret_old->payload.len : 0;
    ret_old->media = ret_old->from = ret_old->payload = (struct span){ 0 };  /* they end with the slice */
    rocksdb_pinnableslice_destroy(slice);
    return rc;
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

static void row_number(struct rocks *rocks, struct commit *commit, struct commit_row *row)
{
    struct channel_change *change  = &row->channel->change;
    struct message        *message = row->append->message;

    if (change->number == 0)
        change->number = number_next(rocks, commit, NUMBER_CHANNEL);
    message->epoch = rocks->epoch;
    message->seq   = ++change->head;
    message->id    = number_next(rocks, commit, message->channel->space->id_kind);
    if (change->head == row->channel->now.head + 1)
        change->first_time = message->time;
    change->bytes_more += message->payload_len;
    row->before      = change->row_last;
    change->row_last = (uint32_t)(row - commit->rows) + 1;
}

/* The channel's row is due when the channel is new or its ceiling is passed. */
static void change_save(struct rocks *rocks, struct commit *commit, struct rocks_channel *channel)
{
    struct channel_change *change = &channel->change;

    if (!change->is_new && change->head <= change->ceiling)
        return;
    change->ceiling = (change->head / SEQ_BLOCK + 1) * SEQ_BLOCK;
    pthread_mutex_lock(&rocks->table.lock);
    struct rocks_look look = channel->now;
    pthread_mutex_unlock(&rocks->table.lock);
    look.number  = change->number;
    look.head    = change->head;
    look.ceiling = change->ceiling;
    look.bytes += change->bytes_more;
    channel_save(rocks, commit->write, channel->name, &look);
    change->is_new   = false;
    change->is_saved = true;
}

static void row_decide(struct rocks *rocks, struct commit *commit, struct commit_row *row, msec wall)
{
    struct append  *append  = row->append;
    struct message *message = append->message;
    struct row      old     = { 0 };

    if (append->key.len > 0 && key_answers(rocks, commit, row, wall))
        return;
    if (message->kind == MESSAGE_RECALL && recall_check(rocks, commit, row, wall, &old) != RC_OK)
        return;

    row_number(rocks, commit, row);
    struct row new = row_of_message(message);
    commit_put(rocks, commit, row->channel->change.number, message->seq, &new);
    if (message->kind == MESSAGE_RECALL) {
        struct row grave = recalled_row(&old, message);
        commit_put(rocks, commit, row->channel->change.number, message->target, &grave);
    }
    change_save(rocks, commit, row->channel);
    if (append->key.len > 0)
        key_remember(rocks, commit, row, wall);
    append->outcome = APPEND_DONE;
}

static struct commit_row *commit_row_new(struct commit *commit, struct append *append)
{
    struct commit_row *row = &commit->rows[commit->row_count++];

    *row = (struct commit_row){ .append = append };
    return row;
}

static void commit_reserve(struct commit *commit)
{
    size_t count = 0;

    for (struct list *link = commit->batches.next; link != &commit->batches; link = link->next)
        count += container_of(link, struct append_batch, link)->count;
    if (count <= commit->row_cap)
        return;
    commit->row_cap = count;
    commit->rows    = reallocarray(commit->rows, count, sizeof *commit->rows);
    must(commit->rows != NULL);
}

static void commit_add_batch(struct rocks *rocks, struct commit *commit, struct append_batch *batch)
{
    for (struct list *link = batch->appends.next; link != &batch->appends; link = link->next) {
        struct append     *append = container_of(link, struct append, link);
        struct commit_row *row    = commit_row_new(commit, append);
        /* A channel whose own records are damaged fails alone. */
        if (channel_take(rocks, append->message->channel, &row->channel) != RC_OK)
            append->outcome = APPEND_BROKEN;
        else
            row_decide(rocks, commit, row, batch->wall);
    }
}

/* Channels are open once they were taken; each row's channel is seen again here, so closing twice must do no harm. */
static void commit_close_channels(struct rocks *rocks, struct commit *commit, bool is_written)
{
    pthread_mutex_lock(&rocks->table.lock);
    for (size_t i = 0; i < commit->row_count; i++) {
        struct rocks_channel *channel = commit->rows[i].channel;
        if (channel == NULL || !channel->change.is_open)
            continue;
        if (is_written && channel->change.row_last != 0)
            channel_publish(channel);
        channel->change.is_open = false;
    }
    pthread_mutex_unlock(&rocks->table.lock);
}

/* Nothing of this commit counts: what was numbered isn't, and what was answered from it has no answer. */
static void commit_fail(struct commit *commit, enum append_outcome outcome)
{
    for (size_t i = 0; i < commit->row_count; i++) {
        struct append *append = commit->rows[i].append;
        append->outcome       = outcome;
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

static enum rc commit_write(struct rocks *rocks, struct commit *commit)
{
    if (rocksdb_writebatch_count(commit->write) == 0)
        return RC_OK;

    uint64_t from = now_us();
    enum rc  rc   = rocks_db_write(&rocks->db, commit->write);
    sync_count(rocks, now_us() - from);
    return rc == RC_OK ? rocks_note_synced(rocks) : rc;
}

/* Room for this commit, for what still lies in memory and must go to disk, and the reserve. The second is asked for
 * only when it gets near, for it takes RocksDB's lock. */
static bool has_room(struct rocks *rocks, const struct commit *commit)
{
    uint64_t need = rocks->options.reserve_bytes + 2 * commit->bytes, free_bytes = 0;

    if (!rocks_free_bytes(rocks, &free_bytes))
        return true;
    if (free_bytes < need + WRITE_BUFFERS * rocks->options.write_buffer_bytes)
        need += rocks_db_number(&rocks->db, FAMILY_MESSAGES, "rocksdb.cur-size-all-mem-tables");
    return free_bytes >= need;
}

static void commit_make(struct rocks *rocks, struct commit *commit)
{
    for (struct list *link = commit->batches.next; link != &commit->batches; link = link->next)
        commit_add_batch(rocks, commit, container_of(link, struct append_batch, link));

    enum rc rc = commit_write(rocks, commit);
    commit_close_channels(rocks, commit, rc == RC_OK);
    if (rc == RC_OK)
        return;
    rocks->is_cautious |= rc == RC_CORRUPT;
    commit_fail(commit, rc == RC_NOSPACE ? APPEND_NO_SPACE : APPEND_BROKEN);
    health_set(rocks, rc == RC_NOSPACE ? ROCKS_FULL : ROCKS_BROKEN);
}

/* --- answers ---------------------------------------------------------------------------------------------------- */

static void commit_refuse(struct commit *commit, enum append_outcome outcome)
{
    for (struct list *at = commit->batches.next; at != &commit->batches; at = at->next) {
        struct append_batch *batch = container_of(at, struct append_batch, link);
        for (struct list *link = batch->appends.next; link != &batch->appends; link = link->next)
            container_of(link, struct append, link)->outcome = outcome;
    }
}

static void commit_answer(struct rocks *rocks, struct commit *commit)
{
    uint64_t done = 0;

    for (size_t i = 0; i < commit->row_count; i++)
        done += commit->rows[i].append->outcome == APPEND_DONE;
    counter_add(&rocks->append_count, done);
    for (struct list *link; (link = list_pop(&commit->batches)) != NULL;) {
        struct append_batch *batch = container_of(link, struct append_batch, link);
        counter_add(&rocks->batch_count, 1);
        batch->done(batch);
    }
}

static void commit_clear(struct commit *commit)
{
    for (size_t i = 0; i < commit->row_count; i++)
        if (commit->rows[i].is_keyed)
            map_take(&commit->keys, &commit->rows[i].key_node);
    commit->row_count = 0;
    rocksdb_writebatch_clear(commit->write);
}

static bool commit_try(struct rocks *rocks, struct commit *commit)
{
    pthread_rwlock_rdlock(&rocks->db_lock);
    bool is_fitting = has_room(rocks, commit);
    if (is_fitting)
        commit_make(rocks, commit);
    else
        commit_refuse(commit, APPEND_NO_SPACE);
    pthread_rwlock_unlock(&rocks->db_lock);
    return is_fitting;
}

static void commit_run(struct rocks *rocks, struct commit *commit, enum rocks_health health)
{
    bool is_full = health == ROCKS_FULL;

    commit_reserve(commit);
    /* Only this thread ever leaves ROCKS_WELL, so while it lasts the database is open; else the keeper may be holding
     * db_lock for long, and nobody has to wait for that to be refused. */
    if (health == ROCKS_WELL)
        is_full = !commit_try(rocks, commit);
    else
        commit_refuse(commit, is_full ? APPEND_NO_SPACE : APPEND_BROKEN);
    counter_set(&rocks->is_full, is_full);
    counter_set(&rocks->is_broken, health == ROCKS_BROKEN);
    commit_answer(rocks, commit);
    commit_clear(commit);
}

void *rocks_committer(void *context)
{
    struct rocks     *rocks  = context;
    struct commit     commit = { .write = rocksdb_writebatch_create() };
    enum rocks_health health = ROCKS_WELL;

    list_init(&commit.batches);
    map_init(&commit.keys);
    buf_init(&commit.value, ROW_BYTES_MAX);
    buf_init(&commit.key, KEY_BYTES_MAX);
    while (commit_gather(rocks, &commit, &health))
        commit_run(rocks, &commit, health);

    rocksdb_writebatch_destroy(commit.write);
    buf_fini(&commit.value);
    buf_fini(&commit.key);
    map_fini(&commit.keys);
    free(commit.rows);
    return NULL;
}
