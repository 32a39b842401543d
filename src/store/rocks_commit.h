/* rocks_commit.h - one commit while the committer makes it: its rows, and the checks that a row has to pass before it
 * is numbered. Only the committer thread uses it. */
#ifndef STORE_ROCKS_COMMIT_H
#define STORE_ROCKS_COMMIT_H

#include "store/recent_rows.h"
#include "store/rocks_priv.h"

struct commit_row {
    struct append        *append;
    struct rocks_channel *channel;
    struct map_node       key_node;  /* in commit.keys, if is_keyed */
    bool                  is_keyed;  /* the append has a key and was numbered */
    uint32_t              before;    /* the channel's row before this one, counted from 1; 0: none */
};

/* A ledger row as this commit leaves it: what comes later in the commit must see it. */
struct pending_row {
    struct map_node             node;        /* in commit.pending_map */
    const struct ledger_change *change;
    uint64_t                    generation;  /* 0: deleted */
};

struct commit {
    struct list           batches, ledger_batches;
    struct commit_row    *rows;
    size_t                row_count, row_cap;
    struct map            keys;
    struct pending_row   *pending_rows;
    size_t                pending_count, pending_cap;
    struct map            pending_map;
    struct recent_rows    recent;             /* of commits before: only this thread writes rows */
    rocksdb_writebatch_t *write;
    struct buf            value, key;
    size_t                count, bytes;       /* appends; bytes of everything */
    size_t                change_count;       /* changes of the ledger, those that appends carry included */
    size_t                purge_count;        /* appends that are purges */
    bool                  has_room;           /* false: the disk is full, and only purges are made */
};

/* --- idempotency keys (rocks_key.c) ----------------------------------------------------------------------------- */

/* True if the row's key decides the outcome, which is then set: the key was used before, or that can't be found out. */
bool key_decides(struct rocks *rocks, struct commit *commit, const struct commit_row *row, msec wall);

/* Saves the answer of a row that was numbered, and remembers it for the rest of the commit. */
void key_save(struct rocks *rocks, struct commit *commit, struct commit_row *row, msec wall);

/* --- purges (rocks_purge.c) ------------------------------------------------------------------------------------- */

/* Decides a purge, and puts the new floor into the commit. */
void purge_decide(struct rocks *rocks, struct commit *commit, struct commit_row *row, msec wall);

/* The purges of the commit are on disk, and in the table: tells retention and the filter. */
void purges_publish(struct rocks *rocks, const struct commit *commit);

/* --- recalls (rocks_recall.c) ----------------------------------------------------------------------------------- */

/* RC_OK: the target may be recalled, and *ret_old describes it (without its bytes). Otherwise the outcome is set. */
enum rc recall_check(struct rocks *rocks, const struct commit *commit, const struct commit_row *row, msec wall,
                     struct row *ret_old) RC_MUST_USE;

/* The floor of the row's channel at this moment, by its namespace's retention and by purges of this commit. */
enum rc row_floor(struct rocks *rocks, const struct commit_row *row, msec wall, uint64_t *ret) RC_MUST_USE;

/* What remains of `old` once `recall` is numbered. */
struct row recalled_row(const struct row *old, const struct message *recall);

/* --- the ledger (rocks_ledger.c) -------------------------------------------------------------------------------- */

/* Makes room for as many pending rows as the commit can need. */
void ledger_reserve(struct commit *commit);

/* Decides all writes of a batch, and puts the possible ones into the commit. */
void ledger_commit_batch(struct rocks *rocks, struct commit *commit, const struct ledger_batch *batch);

/* The rows' generations before the changes of one write. */
struct ledger_before {
    uint64_t generations[LEDGER_WRITE_COUNT_MAX];
};

/* LEDGER_DONE: the write is possible, and ledger_put() puts it into the commit. Any other outcome: it is not
 * possible. */
enum ledger_outcome ledger_judge(struct rocks *rocks, struct commit *commit, struct ledger_write *write, msec wall,
                                 struct ledger_before *ret_before);
void ledger_put(struct rocks *rocks, struct commit *commit, const struct ledger_write *write,
                const struct ledger_before *before, uint64_t seq);

/* Gives all writes of the commit this outcome, those that appends carry included. */
void ledger_fail(struct commit *commit, enum ledger_outcome outcome);
void ledger_answer(struct commit *commit);
/* The commit is on the disk: its rows are remembered. */
void ledger_remember(struct commit *commit);
void ledger_clear(struct commit *commit);

/* --- numbers (rocks_meta.c) ------------------------------------------------------------------------------------- */

/* The next number of its kind (an id_kind or NUMBER_CHANNEL). When the ceiling is passed, a new one goes into the same
 * write. */
uint64_t number_next(struct rocks *rocks, rocksdb_writebatch_t *write, size_t kind);

#endif
