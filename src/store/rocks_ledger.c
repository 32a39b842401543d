/* The ledger's writes: the committer takes them into its commits. Conditions are checked against the disk and against
 * what the commit itself changed before; the changes go into the same synced write as the appends. */
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
        queue->is_urgent |= !batch->is_lazy;
    }
    if (was_empty || !batch->is_lazy)
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
    if (commit->change_count <= commit->pending_cap)
        return;
    commit->pending_cap  = commit->change_count;
    commit->pending_rows = reallocarray(commit->pending_rows, commit->pending_cap, sizeof *commit->pending_rows);
    must(commit->pending_rows != NULL);
}

static uint64_t pending_hash(const struct rocks *rocks, const struct ledger_key *key)
{
    struct hash_key hash_key = rocks->options.hash_key;

    hash_key.k0 ^= key->kind;
    return hash_bytes(&hash_key, key->bytes);
}

static bool pending_is(const struct map_node *node, const void *key)
{
    const struct ledger_key *changed = &container_of(node, struct pending_row, node)->change->key, *asked = key;

    return changed->kind == asked->kind && span_eq(changed->bytes, asked->bytes);
}

static struct pending_row *pending_find(const struct commit *commit, const struct ledger_key *key, uint64_t hash)
{
    struct map_node *node = map_find(&commit->pending_map, hash, pending_is, key);

    return node == NULL ? NULL : container_of(node, struct pending_row, node);
}

static void pending_set(struct rocks *rocks, struct commit *commit, const struct ledger_change *change,
                        uint64_t generation)
{
    uint64_t            hash    = pending_hash(rocks, &change->key);
    struct pending_row *pending = pending_find(commit, &change->key, hash);

    if (pending == NULL) {
        must(commit->pending_count < commit->pending_cap);
        pending         = &commit->pending_rows[commit->pending_count++];
        pending->change = change;
        map_add(&commit->pending_map, &pending->node, hash);
    }
    pending->change     = change;
    pending->generation = generation;
}

void ledger_remember(struct commit *commit)
{
    for (size_t i = 0; i < commit->pending_count; i++) {
        const struct pending_row *row = &commit->pending_rows[i];
        recent_rows_note(&commit->recent, row->node.hash, &row->change->key, row->generation, row->change->expires_at);
    }
}

void ledger_clear(struct commit *commit)
{
    for (size_t i = 0; i < commit->pending_count; i++)
        map_take(&commit->pending_map, &commit->pending_rows[i].node);
    commit->pending_count = 0;
}

/* --- deciding --------------------------------------------------------------------------------------------------- */

/* Finds the row as it is now, in the commit or on disk; generation 0: there is none. *ret_slice owns its bytes if they
 * come from the disk. */
static enum rc ledger_row_find(struct rocks *rocks, const struct commit *commit, const struct ledger_key *key, uint64_t hash,
                               msec wall, struct ledger_disk_value *ret, rocksdb_pinnableslice_t **ret_slice)
{
    const struct pending_row *pending = pending_find(commit, key, hash);
    struct ledger_disk_key    place;
    struct span               bytes;

    *ret = (struct ledger_disk_value){ 0 };
    if (pending != NULL) {
        if (pending->generation != 0)
            *ret =
                (struct ledger_disk_value){ pending->generation, pending->change->expires_at, pending->change->value };
    } else {
        ledger_disk_key_set(&place, key->kind, key->bytes);
        enum rc rc = rocks_db_get(&rocks->db, FAMILY_LEDGER, rocks->db.get, ledger_disk_key_span(&place), ret_slice);
        if (rc != RC_OK || *ret_slice == NULL)
            return rc;
        bytes.at = rocksdb_pinnableslice_value(*ret_slice, &bytes.len);
        if (!ledger_value_get(bytes, ledger_disk_key_span(&place), ret))
            return RC_CORRUPT;
    }
    if (ledger_generation(ret->generation, ret->expires_at, wall) == 0)
        *ret = (struct ledger_disk_value){ 0 };
    return RC_OK;
}

/* True: the row was written lately, this commit does not change it, and the condition holds. Its value, which a refusal tells, is
 * not remembered. */
static bool holds_by_memory(const struct commit *commit, const struct ledger_change *change, uint64_t hash, msec wall,
                            uint64_t *ret_generation)
{
    const struct recent_row *row = recent_rows_find(&commit->recent, hash, &change->key);

    if (row == NULL || pending_find(commit, &change->key, hash) != NULL)
        return false;
    *ret_generation = ledger_generation(row->generation, row->expires_at, wall);
    return ledger_change_holds(change, *ret_generation);
}

static enum ledger_outcome change_judge(struct rocks *rocks, struct commit *commit, struct ledger_write *write,
                                        size_t at, msec wall, uint64_t *ret_generation)
{
    const struct ledger_change *change  = &write->changes[at];
    uint64_t                    hash    = pending_hash(rocks, &change->key);
    rocksdb_pinnableslice_t    *slice   = NULL;
    struct ledger_disk_value    stored  = { 0 };
    enum ledger_outcome         outcome = LEDGER_DONE;

    if (holds_by_memory(commit, change, hash, wall, ret_generation))
        return LEDGER_DONE;
    if (change->is_sure && pending_find(commit, &change->key, hash) == NULL) {
        *ret_generation = change->if_generation;
        return LEDGER_DONE;
    }
    enum rc rc = ledger_row_find(rocks, commit, &change->key, hash, wall, &stored, &slice);
    if (rc != RC_OK) {
        outcome = rc == RC_CORRUPT ? LEDGER_BROKEN : LEDGER_AWAY;
    } else if (!ledger_change_holds(change, stored.generation)) {
        ledger_write_refuse(write, at, stored.generation, stored.expires_at, stored.value);
        outcome = LEDGER_STALE;
    }
    *ret_generation = stored.generation;
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
    const struct ledger_disk_value stored = { generation, change->expires_at, change->value };
    struct ledger_disk_key         key;

    ledger_disk_key_set(&key, change->key.kind, change->key.bytes);
    buf_clear(&commit->value);
    ledger_value_put(&commit->value, ledger_disk_key_span(&key), &stored);
    rocksdb_writebatch_put_cf(commit->write, rocks->db.families[FAMILY_LEDGER], key.bytes, key.len, commit->value.at,
                              commit->value.len);
    pending_set(rocks, commit, change, generation);
}

static void change_delete(struct rocks *rocks, struct commit *commit, const struct ledger_change *change)
{
    struct ledger_disk_key key;

    ledger_disk_key_set(&key, change->key.kind, change->key.bytes);
    rocksdb_writebatch_delete_cf(commit->write, rocks->db.families[FAMILY_LEDGER], key.bytes, key.len);
    pending_set(rocks, commit, change, 0);
}

/* It holds, and is remembered like a row that was deleted: whoever has asked whether a row exists is about to write it. */
static bool is_check_of_absence(const struct ledger_change *change)
{
    return change->op == LEDGER_CHECK && change->is_conditional && change->if_generation == 0;
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
        else if (is_check_of_absence(change))
            pending_set(rocks, commit, change, 0);
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
        must(batch->done != NULL);
        batch->done(batch);
    }
}
