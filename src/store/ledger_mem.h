/* ledger_mem.h - a ledger in memory, for as long as the process lives: part of the memory store (mem.h), which owns it.
 *
 * Pure: no clock, no randomness; every call completes inline. Rows are in a skip list, because scans need them in the
 * order of their keys. A row's height comes from the keyed hash of its key, so that an attacker who chooses keys can't
 * unbalance the list.
 *
 * At row_count_max rows, or bytes_max bytes, a write that would add more is LEDGER_NO_SPACE. A write that replaces or
 * deletes still succeeds if it needs no more than it frees. */
#ifndef STORE_LEDGER_MEM_H
#define STORE_LEDGER_MEM_H

#include "base/hash.h"
#include "store/ledger.h"

enum { LEDGER_MEM_HEIGHT_MAX = 20 };

struct mem_row;

struct ledger_mem {
    struct ledger   ledger;
    struct hash_key hash_key;
    struct mem_row *first[LEDGER_MEM_HEIGHT_MAX];  /* on each level, its first row */
    struct mem_row *tick_from;                     /* where the next tick begins; NULL: at the first row */
    size_t          row_count, bytes;
    size_t          row_count_max, bytes_max;
};

void ledger_mem_init(struct ledger_mem *mem, const struct hash_key *hash_key, size_t row_count_max, size_t bytes_max);
void ledger_mem_fini(struct ledger_mem *mem);

/* Whether the write is possible now: LEDGER_DONE, or why not. Changes only what a refused write reports. */
enum ledger_outcome ledger_mem_judge(struct ledger_mem *mem, struct ledger_write *write, msec wall);

/* Makes the changes of a write that was judged possible. `seq`: of the append that carries it. */
void ledger_mem_apply(struct ledger_mem *mem, const struct ledger_write *write, uint64_t seq, msec wall);

/* Checks up to count_max rows and drops those that have expired. */
void ledger_mem_tick(struct ledger_mem *mem, msec wall, size_t count_max);

#endif
