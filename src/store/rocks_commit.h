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

struct commit {
    struct list           batches;
    struct commit_row    *rows;
    size_t                row_count, row_cap;
    struct map            keys;
    rocksdb_writebatch_t *write;
    struct buf            value, key;
    size_t                bytes;
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

/* --- numbers (rocks_meta.c) ------------------------------------------------------------------------------------- */

/* The next of its kind (an id_kind or NUMBER_CHANNEL); the ceiling goes into the same write when it is passed. */
uint64_t number_next(struct rocks *rocks, rocksdb_writebatch_t *write, size_t kind);

#endif
