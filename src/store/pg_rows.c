/* The rows of the ledger in one commit: each distinct row once, as it stands while the commit is decided. */
#include "base/hash.h"
#include "base/must.h"
#include "store/ledger_rule.h"
#include "store/pg_priv.h"

/* All nodes must choose the same bucket, so the key of this hash is fixed. */
uint64_t row_bucket(const struct ledger_key *key)
{
    return hash_bytes(&(struct hash_key){ key->kind, 0 }, key->bytes) % PG_BUCKETS;
}

static uint64_t row_hash(const struct pg *pg, const struct ledger_key *key)
{
    struct hash_key hash_key = pg->options.hash_key;

    hash_key.k0 ^= key->kind;
    return hash_bytes(&hash_key, key->bytes);
}

static bool row_is(const struct map_node *node, const void *key)
{
    const struct ledger_key *mine = &container_of(node, struct pg_row, node)->key, *asked = key;

    return mine->kind == asked->kind && span_eq(mine->bytes, asked->bytes);
}

static struct pg_row *row_find(const struct pg *pg, const struct pg_commit *commit, const struct ledger_key *key)
{
    struct map_node *node = map_find(&commit->row_map, row_hash(pg, key), row_is, key);

    return node == NULL ? NULL : container_of(node, struct pg_row, node);
}

void pg_rows_layout(struct pg *pg, struct pg_commit *commit, const struct ledger_write *write)
{
    for (size_t i = 0; i < write->count; i++) {
        const struct ledger_change *change = &write->changes[i];
        struct pg_row              *row    = row_find(pg, commit, &change->key);
        if (row == NULL) {
            must(commit->row_count < commit->row_cap);
            row  = &commit->rows[commit->row_count++];
            *row = (struct pg_row){ .key = change->key, .is_raised = true };
            map_add(&commit->row_map, &row->node, row_hash(pg, &change->key));
        }
        row->is_asked |= ledger_change_asks(change);
        row->is_raised &= change->op == LEDGER_RAISE && !change->is_conditional;
    }
}

enum ledger_outcome pg_rows_judge(struct pg *pg, struct pg_commit *commit, struct ledger_write *write, msec wall)
{
    for (size_t i = 0; i < write->count; i++) {
        const struct ledger_change *change = &write->changes[i];
        struct pg_row              *row    = row_find(pg, commit, &change->key);
        uint64_t                    now    = ledger_generation(row->generation, row->expires_at, wall);
        if (change->is_conditional && change->if_epoch != 0 && change->if_epoch != commit->epoch)
            now = 0;
        if (ledger_change_holds(change, now))
            continue;
        ledger_write_refuse(write, i, now, now == 0 ? 0 : row->expires_at, now == 0 ? SPAN("") : row->value);
        return LEDGER_STALE;
    }
    return LEDGER_DONE;
}

static void row_apply(struct pg_row *row, const struct ledger_change *change, uint64_t seq, msec wall)
{
    uint64_t now = ledger_generation(row->generation, row->expires_at, wall);

    if (change->op == LEDGER_DELETE) {
        row->generation  = 0;
        row->has_changed = true;
    } else if (ledger_change_puts(change, seq, now)) {
        row->generation  = ledger_change_generation(change, seq);
        row->expires_at  = change->expires_at;
        row->value       = change->value;
        row->wall        = wall;
        row->has_changed = true;
    }
}

void pg_rows_apply(struct pg *pg, struct pg_commit *commit, const struct ledger_write *write, uint64_t seq, msec wall)
{
    for (size_t i = 0; i < write->count; i++)
        row_apply(row_find(pg, commit, &write->changes[i].key), &write->changes[i], seq, wall);
}
