/* rocks_walk.h - walks over the message rows of one channel, up or down, and past what can't be read.
 *
 * Each step is a row, or a range of seqs that has no row, or a range that can't be read because a block of a table is
 * damaged. The steps touch one another and cover the whole range from `low` to `high`. An iterator of RocksDB that met
 * damage is not used again: what it says afterwards can't be relied on. One thread; db_lock is held for reading. */
#ifndef STORE_ROCKS_WALK_H
#define STORE_ROCKS_WALK_H

#include "store/rocks_db.h"
#include "store/rocks_row.h"

enum walk_way { WALK_UP, WALK_DOWN };

enum walk_what {
    WALK_ROW,
    WALK_MISSING,     /* there are no rows */
    WALK_UNREADABLE,  /* a block is damaged */
    WALK_END,
    WALK_FAILED,      /* the disk can't be read now; walk.rc says why */
};

struct walk_step {
    enum walk_what what;
    uint64_t       from, to;  /* seqs, from <= to; the same for a row */
    struct span    value;     /* of a row: borrowed until the next step */
};

struct row_walk {
    struct rocks_db       *db;
    rocksdb_readoptions_t *how;
    rocksdb_iterator_t    *iterator;
    struct row_key         low, end;    /* the iterator's bounds; it borrows them */
    enum walk_way          way;
    uint64_t               number;
    uint64_t               start;       /* the seq of step 0 */
    uint64_t               step_count;
    uint64_t               at;          /* the next step */
    uint64_t               damage_end;  /* steps below it are read one by one, because seeking meets damage there */
    rocksdb_pinnableslice_t *slice;     /* owns the value of a row that was read so */
    enum rc                rc;
    bool                   is_on_row;   /* the last step was the row that the iterator stands at */
};

/* `walk` must not move until row_walk_close(). 1 <= low <= high. */
void row_walk_open(struct row_walk *walk, struct rocks_db *db, uint64_t number, uint64_t low, uint64_t high,
                   enum walk_way way);
struct walk_step row_walk_next(struct row_walk *walk);

/* Of a walk down that has not begun: its first row, without what is missing before it, or WALK_UNREADABLE if there is
 * damage. The walk goes no further. */
struct walk_step row_walk_last(struct row_walk *walk);
void             row_walk_close(struct row_walk *walk);

#endif
