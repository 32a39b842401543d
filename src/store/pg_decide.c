/* What becomes of each append and each ledger write of a commit. Pure: it works on what the first step found. */
#include <stdlib.h>

#include "base/must.h"
#include "store/digest.h"
#include "store/pg_priv.h"
#include "store/retention.h"

/* --- layout ----------------------------------------------------------------------------------------------------- */

void commit_init(struct pg_commit *commit)
{
    *commit = (struct pg_commit){ 0 };
    list_init(&commit->batches);
    list_init(&commit->ledger_batches);
    map_init(&commit->channel_map);
    map_init(&commit->row_map);
    map_init(&commit->keys);
}

void commit_fini(struct pg_commit *commit)
{
    PQclear(commit->rows_result);
    map_fini(&commit->channel_map);
    map_fini(&commit->row_map);
    map_fini(&commit->keys);
    for (size_t i = 0; i < ID_KIND_COUNT; i++)
        free(commit->ids[i]);
    free(commit->appends);
    free(commit->channels);
    free(commit->order);
    free(commit->rows);
}

static void *array_reserve(void *array, size_t *cap, size_t count, size_t size)
{
    if (count <= *cap)
        return array;
    *cap  = count;
    array = reallocarray(array, count, size);
    must(array != NULL);
    return array;
}

static void ids_reserve(struct pg_commit *commit)
{
    size_t blocks = (commit->append_count + PG_ID_BLOCK - 1) / PG_ID_BLOCK, cap = commit->id_cap;

    for (size_t i = 0; i < ID_KIND_COUNT; i++) {
        commit->id_cap = cap;
        commit->ids[i] = array_reserve(commit->ids[i], &commit->id_cap, blocks, sizeof *commit->ids[i]);
    }
}

static bool pg_channel_is(const struct map_node *node, const void *name)
{
    return channel_name_eq(container_of(node, struct pg_channel, node)->name, name);
}

static struct pg_channel *commit_channel(struct pg_commit *commit, struct channel_name *name)
{
    struct map_node *node = map_find(&commit->channel_map, name->hash, pg_channel_is, name);

    if (node != NULL)
        return container_of(node, struct pg_channel, node);
    must(commit->channel_count < commit->channel_cap);
    struct pg_channel *channel = &commit->channels[commit->channel_count++];
    *channel                   = (struct pg_channel){ .name = name };
    map_add(&commit->channel_map, &channel->node, name->hash);
    return channel;
}

static void layout_append(struct pg *pg, struct pg_commit *commit, struct append *append, msec wall)
{
    struct pg_append *mine = &commit->appends[commit->append_laid++];

    append_check(append);
    *mine = (struct pg_append){ .append = append, .wall = wall,
                                .channel = commit_channel(commit, append->message->channel) };
    commit->has_purge |= append->is_purge;
    commit->has_key |= append->key.len > 0;
    commit->has_recall |= append->message->kind == MESSAGE_RECALL;
    if (append->write != NULL)
        pg_rows_layout(pg, commit, append->write);
}

static size_t carried_count(const struct pg_commit *commit)
{
    size_t count = 0;

    for (struct list *at = commit->batches.next; at != &commit->batches; at = at->next) {
        struct append_batch *batch = container_of(at, struct append_batch, link);
        for (struct list *link = batch->appends.next; link != &batch->appends; link = link->next) {
            struct append *append = container_of(link, struct append, link);
            if (append->write != NULL)
                ledger_carried_check(append->write);
            count += append->write == NULL ? 0 : append->write->count;
        }
    }
    return count;
}

void commit_layout(struct pg *pg, struct pg_commit *commit)
{
    size_t rows = commit->change_count + carried_count(commit);

    commit->appends  = array_reserve(commit->appends, &commit->append_cap, commit->append_count, sizeof *commit->appends);
    commit->channels = array_reserve(commit->channels, &commit->channel_cap, commit->append_count,
                                     sizeof *commit->channels);
    commit->order    = array_reserve(commit->order, &commit->order_cap, commit->append_count, sizeof *commit->order);
    ids_reserve(commit);
    commit->rows     = array_reserve(commit->rows, &commit->row_cap, rows, sizeof *commit->rows);
    for (struct list *each = commit->batches.next; each != &commit->batches; each = each->next) {
        struct append_batch *batch = container_of(each, struct append_batch, link);
        for (struct list *link = batch->appends.next; link != &batch->appends; link = link->next)
            layout_append(pg, commit, container_of(link, struct append, link), batch->wall);
    }
    must(commit->append_laid == commit->append_count);
    for (struct list *each = commit->ledger_batches.next; each != &commit->ledger_batches; each = each->next) {
        struct ledger_batch *batch = container_of(each, struct ledger_batch, link);
        for (struct list *link = batch->writes.next; link != &batch->writes; link = link->next)
            pg_rows_layout(pg, commit, container_of(link, struct ledger_write, link));
    }
}

static void write_undo(struct ledger_write *write)
{
    if (write->outcome == LEDGER_STALE)
        ledger_write_fini(write);
    write->outcome = LEDGER_WAITING;
}

static void append_undo(struct append *append)
{
    struct message *message = append->message;

    append->outcome = APPEND_WAITING;
    message->epoch = message->seq = message->id = 0;
    if (append->write != NULL)
        write_undo(append->write);
}

void commit_clear_found(struct pg_commit *commit)
{
    for (size_t i = 0; i < commit->append_laid; i++)
        if (commit->appends[i].is_keyed)
            map_take(&commit->keys, &commit->appends[i].key_node);
    for (size_t i = 0; i < commit->channel_count; i++)
        map_take(&commit->channel_map, &commit->channels[i].node);
    for (size_t i = 0; i < commit->row_count; i++)
        map_take(&commit->row_map, &commit->rows[i].node);
    commit->append_laid = commit->channel_count = commit->row_count = 0;
    PQclear(commit->rows_result);
    commit->rows_result = NULL;
    memset(commit->id_blocks, 0, sizeof commit->id_blocks);
    memset(commit->ids_used, 0, sizeof commit->ids_used);
    commit->has_purge = commit->has_key = commit->has_recall = false;
}

void commit_reset(struct pg *pg, struct pg_commit *commit)
{
    for (size_t i = 0; i < commit->append_laid; i++)
        append_undo(commit->appends[i].append);
    for (struct list *each = commit->ledger_batches.next; each != &commit->ledger_batches; each = each->next) {
        struct ledger_batch *batch = container_of(each, struct ledger_batch, link);
        for (struct list *link = batch->writes.next; link != &batch->writes; link = link->next)
            write_undo(container_of(link, struct ledger_write, link));
    }
    commit_clear_found(commit);
    commit_layout(pg, commit);
}

/* --- keys ------------------------------------------------------------------------------------------------------- */

static uint64_t append_key_hash(const struct pg *pg, const struct append *append)
{
    struct hash_key key = pg->options.hash_key;

    key.k0 ^= append->message->channel->hash;
    key.k0 ^= hash_bytes(&key, append->publisher);
    return hash_bytes(&key, append->key);
}

static bool append_key_is(const struct map_node *node, const void *key)
{
    const struct append *mine = container_of(node, struct pg_append, key_node)->append, *asked = key;

    return channel_name_eq(mine->message->channel, asked->message->channel) &&
           span_eq(mine->publisher, asked->publisher) && span_eq(mine->key, asked->key);
}

static bool key_answers(struct append *append, uint64_t digest, struct append_answer first)
{
    append->outcome = digest == append_digest(append) ? APPEND_REPLAYED : APPEND_KEY_CONFLICT;
    if (append->outcome == APPEND_REPLAYED)
        append->first = first;
    return true;
}

static struct append_answer append_answer_of(const struct message *message)
{
    return (struct append_answer){ message->epoch, message->seq, message->id, message->time };
}

/* True, with the outcome set, if the key was used: earlier in this commit, or within its window. */
static bool pg_key_decides(struct pg *pg, struct pg_commit *commit, struct pg_append *mine)
{
    struct append   *append = mine->append;
    struct map_node *node   = map_find(&commit->keys, append_key_hash(pg, append), append_key_is, append);

    if (node != NULL) {
        const struct append *first = container_of(node, struct pg_append, key_node)->append;
        return key_answers(append, append_digest(first), append_answer_of(first->message));
    }
    if (mine->use.is_found && mine->use.forget_at > mine->wall)
        return key_answers(append, mine->use.digest, mine->use.answer);
    return false;
}

/* --- recall and purge ------------------------------------------------------------------------------------------- */

static uint64_t channel_floor(const struct pg_channel *channel)
{
    uint64_t keep = channel->name->space->keep_count, floor = channel->floor;

    if (keep != 0 && channel->head >= keep && channel->head - keep + 1 > floor)
        floor = channel->head - keep + 1;
    return floor;
}

/* The append of this commit that was numbered so. */
static struct pg_append *append_numbered(struct pg_commit *commit, const struct pg_append *recall)
{
    for (size_t i = 0; i < commit->append_count; i++) {
        struct pg_append *other = &commit->appends[i];
        if (other->channel == recall->channel && other->append->outcome == APPEND_DONE &&
            other->append->message->seq == recall->append->message->target)
            return other;
    }
    return NULL;
}

/* A recall of this commit that had the same target. */
static struct pg_append *recall_before(struct pg_commit *commit, const struct pg_append *recall)
{
    for (struct pg_append *other = commit->appends; other < recall; other++)
        if (other->channel == recall->channel && other->append->outcome == APPEND_DONE &&
            other->append->message->kind == MESSAGE_RECALL &&
            other->append->message->target == recall->append->message->target)
            return other;
    return NULL;
}

static void target_fill(struct pg_target *target, const struct message *message)
{
    *target = (struct pg_target){ .is_found = true, .kind = message->kind, .time = message->time,
                                  .expires_at = message->expires_at, .payload_len = message->payload_len };
}

/* False, with the outcome set, if there is nothing to recall. */
static bool recall_decides(struct pg_commit *commit, struct pg_append *mine, struct pg_append **ret_fresh)
{
    struct append           *append = mine->append;
    uint64_t                 seq    = append->message->target;
    struct pg_target        *target = &mine->target;
    const struct pg_append  *before = recall_before(commit, mine);
    const struct namespace  *space  = append->message->channel->space;

    *ret_fresh      = append_numbered(commit, mine);
    append->outcome = APPEND_NO_TARGET;
    if (*ret_fresh != NULL)
        target_fill(target, (*ret_fresh)->append->message);
    if (!mine->channel->is_found || seq < channel_floor(mine->channel) || seq > mine->channel->head ||
        !target->is_found || target->kind == MESSAGE_RECALL || retention_is_over(space, target->time, mine->wall) ||
        (target->expires_at != 0 && target->expires_at <= mine->wall))
        return false;
    if (before == NULL && target->kind != MESSAGE_RECALLED)
        return true;
    append->outcome     = APPEND_REPLAYED;
    append->first       = before != NULL ? append_answer_of(before->append->message) : target->recall;
    append->first.epoch = commit->epoch;
    return false;
}

static void pg_purge_decide(struct pg_commit *commit, struct pg_append *mine)
{
    struct append     *append  = mine->append;
    struct pg_channel *channel = mine->channel;

    append->outcome = APPEND_NO_TARGET;
    if (!channel->is_found || channel->head == 0)
        return;
    uint64_t first = channel_floor(channel);
    if (channel->first > first)
        first = channel->first;
    append->purged       = (struct purge_answer){ commit->epoch, first, channel->head };
    append->outcome      = APPEND_PURGED;
    channel->floor       = channel->head + 1;
    channel->bytes       = 0;
    channel->has_changed = true;
}

/* --- one append ------------------------------------------------------------------------------------------------- */

static uint64_t id_take(struct pg_commit *commit, enum id_kind kind)
{
    size_t at = commit->ids_used[kind]++;

    must(at / PG_ID_BLOCK < commit->id_blocks[kind]);
    return (uint64_t)commit->ids[kind][at / PG_ID_BLOCK] + at % PG_ID_BLOCK;
}

static void pg_number(struct pg_commit *commit, struct pg_append *mine)
{
    struct message    *message = mine->append->message;
    struct pg_channel *channel = mine->channel;

    message->epoch = commit->epoch;
    message->seq   = ++channel->head;
    message->id    = id_take(commit, message->channel->space->id_kind);
    if (message->channel->space->durability == NONE)
        channel->floor = channel->head + 1;  /* nothing of it is kept */
    else
        channel->bytes += message->payload_len;
    channel->has_changed  = true;
    mine->append->outcome = APPEND_DONE;
}

static void recall_apply(struct pg_append *mine, struct pg_append *fresh)
{
    struct pg_channel *channel = mine->channel;
    uint64_t           len     = mine->target.payload_len;

    channel->bytes -= channel->bytes < len ? channel->bytes : len;
    if (fresh != NULL)
        fresh->recalled_by = mine;
}

static void append_decide(struct pg *pg, struct pg_commit *commit, struct pg_append *mine)
{
    struct append    *append = mine->append;
    struct pg_append *fresh  = NULL;

    if (append->is_purge) {
        pg_purge_decide(commit, mine);
        return;
    }
    if (append->key.len > 0 && pg_key_decides(pg, commit, mine))
        return;
    if (append->write != NULL && pg_rows_judge(pg, commit, append->write, mine->wall) != LEDGER_DONE) {
        append->outcome = APPEND_STALE;
        return;
    }
    if (append->message->kind == MESSAGE_RECALL && !recall_decides(commit, mine, &fresh))
        return;
    must(mine->channel->is_found);
    pg_number(commit, mine);
    if (append->message->kind == MESSAGE_RECALL)
        recall_apply(mine, fresh);
    if (append->key.len > 0) {
        map_add(&commit->keys, &mine->key_node, append_key_hash(pg, append));
        mine->is_keyed = true;
    }
    if (append->write != NULL) {
        pg_rows_apply(pg, commit, append->write, append->message->seq, mine->wall);
        append->write->outcome = LEDGER_DONE;
        append->write->epoch   = commit->epoch;
    }
}

void commit_decide(struct pg *pg, struct pg_commit *commit)
{
    for (size_t i = 0; i < commit->append_count; i++)
        append_decide(pg, commit, &commit->appends[i]);
    for (struct list *each = commit->ledger_batches.next; each != &commit->ledger_batches; each = each->next) {
        struct ledger_batch *batch = container_of(each, struct ledger_batch, link);
        for (struct list *link = batch->writes.next; link != &batch->writes; link = link->next) {
            struct ledger_write *write = container_of(link, struct ledger_write, link);
            if (pg_rows_judge(pg, commit, write, batch->wall) != LEDGER_DONE)
                continue;
            pg_rows_apply(pg, commit, write, 0, batch->wall);
            write->outcome = LEDGER_DONE;
            write->epoch   = commit->epoch;
        }
    }
}
