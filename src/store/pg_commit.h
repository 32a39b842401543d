/* pg_commit.h - one transaction on its way: the batches that it takes, what was there, and what it changes.
 *
 * The first step locks and asks, pg_decide.c then decides in memory, and the second step writes and commits. What was
 * decided can be undone (commit_reset()), so that a commit which was rolled back can be made again. */
#ifndef STORE_PG_COMMIT_H
#define STORE_PG_COMMIT_H

#include <libpq-fe.h>

#include "base/map.h"
#include "store/store.h"

enum { PG_COMMIT_APPENDS = 1024, PG_COMMIT_TRIES = 6, PG_ID_BLOCK = 32, PG_BUCKETS = 256 };

/* A channel that the commit touches. */
struct pg_channel {
    struct map_node      node;
    struct channel_name *name;       /* borrowed from an append's message */
    bool                 is_found, has_changed;
    int64_t              id;
    uint64_t             head, floor, bytes;  /* as this commit leaves them */
    uint64_t             head_before;
    size_t               at;         /* in pg_commit.order */
    uint64_t             added_count, added_bytes;  /* by a direct commit */
    uint64_t             first;      /* of a channel that is purged: the first seq that retention keeps */
};

/* What the target of a recall was before this commit. */
struct pg_target {
    bool                 is_found;
    uint8_t              kind;
    msec                 time, expires_at;
    uint64_t             payload_len;
    struct append_answer recall;     /* of a recalled message; the epoch is not set */
};

/* What the database knows of a key. */
struct pg_key_use {
    bool                 is_found;
    uint64_t             digest;
    msec                 forget_at;
    struct append_answer answer;
};

/* One append of the commit. */
struct pg_append {
    struct append     *append;
    struct pg_channel *channel;
    msec               wall;
    struct pg_key_use  use;
    struct pg_target   target;
    struct pg_append  *recalled_by;  /* in this same commit */
    struct map_node    key_node;
    bool               is_keyed;     /* key_node is in commit.keys */
    uint64_t           nth;          /* of a direct commit: of its channel's messages, from 1 … */
    size_t             id_at;        /* … and of all ids of the blocks, from 0 */
};

/* A row of the ledger that the commit touches: as it stands now in the commit. */
struct pg_row {
    struct map_node   node;
    struct ledger_key key;           /* borrowed from a change */
    bool              is_asked;      /* a change depends on what is stored … */
    bool              is_raised;     /* … but all do no more than raise it: the database compares, and is not asked */
    bool              has_changed;   /* … and the commit writes it; deleted if generation is 0 */
    msec              wall;          /* of its last change; the latest of a commit tells which rows have expired */
    uint64_t          generation;
    msec              expires_at;
    struct span       value;         /* borrowed from a change, or from the results of the first step */
};

struct pg_commit {
    struct list        batches, ledger_batches;  /* of one kind only: of the lane's class */
    size_t             append_count, change_count;
    size_t             append_laid;  /* of append_count: laid out in `appends` */
    struct pg_append  *appends;
    struct pg_channel *channels, **order;  /* … by their ids, in a direct commit */
    struct pg_row     *rows;
    size_t             append_cap, channel_cap, order_cap, row_cap, channel_count, row_count;
    struct map         channel_map, row_map, keys;
    PGresult          *rows_result;  /* what the values of rows point into */
    uint64_t           epoch;
    int64_t           *ids[ID_KIND_COUNT];  /* blocks that were taken: room for id_cap of each kind */
    size_t             id_cap, id_blocks[ID_KIND_COUNT], ids_used[ID_KIND_COUNT], id_first[ID_KIND_COUNT];
    uint32_t           try_count;
    uint64_t           sent_us;
    bool               makes_channels;  /* of plain appends, before the transaction */
    bool               must_ask;        /* it was tried directly, and failed */
    uint64_t           numbered_by;     /* the writer that committed it directly, whose numbers are looked up; 0: none */
    bool               has_purge, has_key, has_recall;
};

struct pg;

void commit_init(struct pg_commit *commit);
void commit_fini(struct pg_commit *commit);

/* Lays out appends, channels and rows of the batches; no database is needed. */
void commit_layout(struct pg *pg, struct pg_commit *commit);

/* Forgets all that was decided and found, for another try. */
void commit_reset(struct pg *pg, struct pg_commit *commit);

/* Lets go of everything but the batches. */
void commit_clear_found(struct pg_commit *commit);

/* Decides every append, or every ledger write, from what was found. */
void commit_decide(struct pg *pg, struct pg_commit *commit);

/* --- rows (pg_rows.c) ------------------------------------------------------------------------------------------- */

void pg_rows_layout(struct pg *pg, struct pg_commit *commit, const struct ledger_write *write);

/* LEDGER_DONE, or LEDGER_STALE with the write refused. */
enum ledger_outcome pg_rows_judge(struct pg *pg, struct pg_commit *commit, struct ledger_write *write, msec wall);
void pg_rows_apply(struct pg *pg, struct pg_commit *commit, const struct ledger_write *write, uint64_t seq, msec wall);
uint64_t row_bucket(const struct ledger_key *key);

#endif
