/* recent_rows.h - generations of the ledger rows that were committed last, in memory, for whoever is the only writer of a ledger.
 *
 * Most conditions are about rows that were written a moment ago: the call that ends, the place that moves on. To find such a
 * row in RocksDB's write buffer costs more than all else that a condition needs. What is not here has to be asked for.
 *
 * Pure. The table has a fixed size; a younger row takes the place of an older one with the same hash. Long keys are not kept. */
#ifndef STORE_RECENT_ROWS_H
#define STORE_RECENT_ROWS_H

#include <stdbool.h>

#include "store/ledger.h"

enum { RECENT_ROWS_MAX = 4096, RECENT_KEY_BYTES_MAX = 100 };

struct recent_row {
    uint64_t generation;  /* 0: it was deleted */
    msec     expires_at;
    uint8_t  kind;        /* 0: nothing is here */
    uint8_t  len;
    char     bytes[RECENT_KEY_BYTES_MAX];
};

struct recent_rows { struct recent_row *at; };  /* NULL: none yet */

/* A zeroed struct is empty. */
void recent_rows_fini(struct recent_rows *rows);

/* The row was committed, with this generation; 0: deleted. `hash` is of kind and key, the same one for both calls. */
void recent_rows_note(struct recent_rows *rows, uint64_t hash, const struct ledger_key *key, uint64_t generation, msec expires_at);
/* NULL: it is not known here. Borrowed until the next note. */
const struct recent_row *recent_rows_find(const struct recent_rows *rows, uint64_t hash, const struct ledger_key *key);
/* Nobody knows any more what was committed. */
void recent_rows_forget(struct recent_rows *rows);

#endif
