/* rocks_commit.h - one commit while the committer makes it: its rows, and the questions that a row has to answer before
 * it is numbered. The committer's alone. */
#ifndef STORE_ROCKS_COMMIT_H
#define STORE_ROCKS_COMMIT_H

#include "store/rocks_priv.h"

struct commit_row {
    struct append        *append;
    struct rocks_channel *channel;
    struct map_node       key_node;  /* in commit.keys, if is_keyed */
    bool                  is_keyed;  /* the append has a key and was numbered */
    uint32_t              before;    /* the channel's row before this one, counted from 1; 0: none */
};

/* A row of the ledger as this commit leaves it: what comes later in the commit must see it. */
struct commit_mark {
    struct map_node             node;        /* in commit.marked */
    const struct ledger_change *change;
    uint64_t                    generation;  /* 0: deleted */
};

struct commit {
    struct list           batches, ledger_batches;
    struct commit_row    *rows;
    size_t                row_count, row_cap;
    struct map            keys;
    struct commit_mark   *marks;
    size_t                mark_count, mark_cap;
    struct map            marked;
    rocksdb_writebatch_t *write;
    struct buf            value, key;
    size_t                count, bytes;       /* appends; bytes of all */
    size_t                change_count;       /* changes of the ledger, carried ones too */
};

/* --- idempotency keys (rocks_key.c) ----------------------------------------------------------------------------- */

/* True if the row's key decides the outcome, which is set: it was used before, or that can't be told. */
bool key_answers(struct rocks *rocks, struct commit *commit, const struct commit_row *row, msec wall);

/* Writes down the answer of a row that was numbered, and knows it for the rest of the commit. */
void key_remember(struct rocks *rocks, struct commit *commit, struct commit_row *row, msec wall);

/* --- recalls (rocks_recall.c) ----------------------------------------------------------------------------------- */

/* RC_OK: it may be taken back, *ret_old says what it is (without its bytes). Else the outcome is set. */
enum rc recall_check(struct rocks *rocks, const struct commit *commit, const struct commit_row *row, msec wall,
                     struct row *ret_old) RC_MUST_USE;

/* What remains of `old` once `recall` is numbered. */
struct row recalled_row(const struct row *old, const struct message *recall);

/* --- the ledger (rocks_ledger.c) -------------------------------------------------------------------------------- */

/* Makes room for as many marks as the commit can need. */
void ledger_reserve(struct commit *commit);

/* Decides all writes of a batch, and puts those that are possible. */
void ledger_commit_batch(struct rocks *rocks, struct commit *commit, const struct ledger_batch *batch);

/* What stands where the changes of one write go: their generations before it. */
struct ledger_before {
    uint64_t generations[LEDGER_WRITE_COUNT_MAX];
};

/* LEDGER_DONE: the write is possible, and ledger_put() makes it so. Another outcome: it is not. */
enum ledger_outcome ledger_judge(struct rocks *rocks, struct commit *commit, struct ledger_write *write, msec wall,
                                 struct ledger_before *ret_before);
void ledger_put(struct rocks *rocks, struct commit *commit, const struct ledger_write *write,
                const struct ledger_before *before, uint64_t seq);

/* All writes of the commit, carried ones too, had this outcome. */
void ledger_fail(struct commit *commit, enum ledger_outcome outcome);
void ledger_answer(struct commit *commit);
void ledger_clear(struct commit *commit);

/* --- numbers (rocks_meta.c) ------------------------------------------------------------------------------------- */

/* The next of its kind (an id_kind or NUMBER_CHANNEL); the ceiling goes into the same write when it is passed. */
uint64_t number_next(struct rocks *rocks, rocksdb_writebatch_t *write, size_t kind);

#endif
