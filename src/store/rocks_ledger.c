/* The ledger's writes, as the committer takes them into its commits: the conditions are asked of the disk and of what
 * the commit itself changed before, and the changes go into the same synced write as the appends. */
#include <stdlib.h>

#include "base/must.h"
#include "store/ledger_rule.h"
#include "store/rocks_commit.h"

/* --- the port --------------------------------------------------------------------------------------------------- */

static void batch_refuse(struct ledger_batch *batch, enum ledger_outcome outcome)
{
    for (struct list *link = batch->writes.next; link != &batch->writes; link = link->next) {
        struct ledger_write *write = container_of(link, struct ledger_write, link);
        if (write->outcome == LEDGER_STALE)
            ledger_write_fini(write);
        write->outcome = outcome;
    }
}

void rocks_ledger_write(struct ledger *ledger, struct ledger_batch *batch)
{
    struct rocks        *rocks = rocks_of_ledger(ledger);
    struct commit_queue *queue = &rocks->commits;

    ledger_batch_check(batch);
    pthread_mutex_lock(&queue->lock);
    bool was_empty = list_is_empty(&queue->ledger_batches);
    bool has_room  = was_empty || queue->change_count + batch->change_count <= rocks->options.change_count_max;
    if (has_room) {
        list_push(&queue->ledger_batches, &batch->link);
        queue->change_count += batch->change_count;
    }
    if (was_empty)
        pthread_cond_signal(&queue->more);
    pthread_mutex_unlock(&queue->lock);
    if (has_room)
        return;
    batch_refuse(batch, LEDGER_BUSY);
    batch->done(batch);
}

const struct ledger_ops rocks_ledger_ops = {
    .name  = "rocks",
    .write = rocks_ledger_write,
    .read  = rocks_ledger_read,
};

void ledger_disk_key_set(struct ledger_disk_key *key, uint8_t kind, struct span bytes)
{
    must(bytes.len < sizeof key->bytes);
    key->bytes[0] = (char)kind;
    if (bytes.len > 0)
        memcpy(key->bytes + 1, bytes.at, bytes.len);
    key->len = 1 + bytes.len;
}

/* --- what this commit changed already --------------------------------------------------------------------------- */

void ledger_reserve(struct commit *commit)
{
    if (commit->change_count <= commit->mark_cap)
        return;
    commit->mark_cap = commit->change_count;
    commit->marks    = reallocarray(commit->marks, commit->mark_cap, sizeof *commit->marks);
    must(commit->marks != NULL);
}

static uint64_t mark_hash(const struct rocks *rocks, const struct ledger_key *key)
{
    struct hash_key hash_key = rocks->options.hash_key;

    hash_key.k0 ^= key->kind;
    return hash_bytes(&hash_key, key->bytes);
}

static bool mark_is(const struct map_node *node, const void *key)
{
    const struct ledger_key *marked = &container_of(node, struct commit_mark, node)->change->key, *asked = key;

    return marked->kind == asked->kind && span_eq(marked->bytes, asked->bytes);
}

static struct commit_mark *mark_find(const struct rocks *rocks, const struct commit *commit,
                                     const struct ledger_key *key)
{
    struct map_node *node = map_find(&commit->marked, mark_hash(rocks, key), mark_is, key);

    return node == NULL ? NULL : container_of(node, struct commit_mark, node);
}

static void mark_set(struct rocks *rocks, struct commit *commit, const struct ledger_change *change,
                     uint64_t generation)
{
    struct commit_mark *mark = mark_find(rocks, commit, &change->key);

    if (mark == NULL) {
        must(commit->mark_count < commit->mark_cap);
        mark         = &commit->marks[commit->mark_count++];
        mark->change = change;
        map_add(&commit->marked, &mark->node, mark_hash(rocks, &change->key));
    }
    mark->change     = change;
    mark->generation = generation;
}

void ledger_clear(struct commit *commit)
{
    for (size_t i = 0; i < commit->mark_count; i++)
        map_take(&commit->marked, &commit->marks[i].node);
    commit->mark_count = 0;
}

/* --- deciding --------------------------------------------------------------------------------------------------- */

/* The row as it stands, in the commit or on disk; generation 0: there is none. *ret_slice holds its bytes, if they must
 * be held. */
static enum rc cell_find(struct rocks *rocks, const struct commit *commit, const struct ledger_key *key, msec wall,
                         struct cell *ret, rocksdb_pinnableslice_t **ret_slice)
{
    const struct commit_mark *mark = mark_find(rocks, commit, key);
    struct ledger_disk_key    place;
    struct span               bytes;

    *ret = (struct cell){ 0 };
    if (mark != NULL) {
        if (mark->generation != 0)
            *ret = (struct cell){ mark->generation, mark->change->expires_at, mark->change->value };
    } else {
        ledger_disk_key_set(&place, key->kind, key->bytes);
        enum rc rc =
            rocks_db_get(&rocks->db, FAMILY_LEDGER, rocks->db.get, ledger_disk_key_span(&place), ret_slice);
        if (rc != RC_OK || *ret_slice == NULL)
            return rc;
        bytes.at = rocksdb_pinnableslice_value(*ret_slice, &bytes.len);
        if (!cell_get(bytes, ledger_disk_key_span(&place), ret))
            return RC_CORRUPT;
    }
    if (ledger_generation(ret->generation, ret->expires_at, wall) == 0)
        *ret = (struct cell){ 0 };
    return RC_OK;
}

static enum ledger_outcome change_judge(struct rocks *rocks, struct commit *commit, struct ledger_write *write,
                                        size_t at, msec wall, uint64_t *ret_generation)
{
    rocksdb_pinnableslice_t *slice   = NULL;
    struct cell              cell    = { 0 };
    enum ledger_outcome      outcome = LEDGER_DONE;

    enum rc rc = cell_find(rocks, commit, &write->changes[at].key, wall, &cell, &slice);
    if (rc != RC_OK) {
        outcome = rc == RC_CORRUPT ? LEDGER_BROKEN : LEDGER_AWAY;
    } else if (!ledger_change_holds(&write->changes[at], cell.generation)) {
        ledger_write_refuse(write, at, cell.generation, cell.expires_at, cell.value);
        outcome = LEDGER_STALE;
    }
    *ret_generation = cell.generation;
    rocksdb_pinnableslice_destroy(slice);
    return outcome;
}

enum ledger_outcome ledger_judge(struct rocks *rocks, struct commit *commit, struct ledger_write *write, msec wall,
                                 struct ledger_before *ret_before)
{
    enum ledger_outcome outcome = LEDGER_DONE;

    for (size_t i = 0; outcome == LEDGER_DONE && i < write->count; i++) {
        ret_before->generations[i] = 0;
        if (ledger_change_asks(&write->changes[i]))
            outcome = change_judge(rocks, commit, write, i, wall, &ret_before->generations[i]);
    }
    return outcome;
}

/* --- writing ---------------------------------------------------------------------------------------------------- */

static void change_put(struct rocks *rocks, struct commit *commit, const struct ledger_change *change,
                       uint64_t generation)
{
    const struct cell      cell = { generation, change->expires_at, change->value };
    struct ledger_disk_key key;

    ledger_disk_key_set(&key, change->key.kind, change->key.bytes);
    buf_clear(&commit->value);
    cell_put(&commit->value, ledger_disk_key_span(&key), &cell);
    rocksdb_writebatch_put_cf(commit->write, rocks->db.families[FAMILY_LEDGER], key.bytes, key.len, commit->value.at,
                              commit->value.len);
    mark_set(rocks, commit, change, generation);
}

static void change_delete(struct rocks *rocks, struct commit *commit, const struct ledger_change *change)
{
    struct ledger_disk_key key;

    ledger_disk_key_set(&key, change->key.kind, change->key.bytes);
    rocksdb_writebatch_delete_cf(commit->write, rocks->db.families[FAMILY_LEDGER], key.bytes, key.len);
    mark_set(rocks, commit, change, 0);
}

void ledger_put(struct rocks *rocks, struct commit *commit, const struct ledger_write *write,
                const struct ledger_before *before, uint64_t seq)
{
    for (size_t i = 0; i < write->count; i++) {
        const struct ledger_change *change = &write->changes[i];
        if (ledger_change_puts(change, seq, before->generations[i]))
            change_put(rocks, commit, change, ledger_change_generation(change, seq));
        else if (change->op == LEDGER_DELETE)
            change_delete(rocks, commit, change);
    }
}

void ledger_commit_batch(struct rocks *rocks, struct commit *commit, const struct ledger_batch *batch)
{
    struct ledger_before before;

    for (struct list *link = batch->writes.next; link != &batch->writes; link = link->next) {
        struct ledger_write *write = container_of(link, struct ledger_write, link);
        write->outcome             = ledger_judge(rocks, commit, write, batch->wall, &before);
        if (write->outcome == LEDGER_DONE)
            ledger_put(rocks, commit, write, &before, 0);
    }
}

/* --- answers ---------------------------------------------------------------------------------------------------- */

void ledger_fail(struct commit *commit, enum ledger_outcome outcome)
{
    for (size_t i = 0; i < commit->row_count; i++) {
        struct ledger_write *write = commit->rows[i].append->write;
        if (write == NULL)
            continue;
        if (write->outcome == LEDGER_STALE)
            ledger_write_fini(write);
        write->outcome = LEDGER_WAITING;
    }
    for (struct list *link = commit->ledger_batches.next; link != &commit->ledger_batches; link = link->next)
        batch_refuse(container_of(link, struct ledger_batch, link), outcome);
}

void ledger_answer(struct commit *commit)
{
    for (struct list *link; (link = list_pop(&commit->ledger_batches)) != NULL;) {
        struct ledger_batch *batch = container_of(link, struct ledger_batch, link);
        batch->done(batch);
    }
}
