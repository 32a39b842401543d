/* count_table.h - how many of something each of many has now, in one table that all threads share: connections of an
 * address, links of a user.
 *
 * Whoever has none stands in no place, so there are never more places in use than things that are counted. The table
 * stands in COUNT_PARTS parts by hash, each with a lock of its own that is held for some ten instructions (while a part
 * grows, for one look at each of its places). It is asked when something begins or ends, not while it lasts. */
#ifndef BASE_COUNT_TABLE_H
#define BASE_COUNT_TABLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { COUNT_PARTS = 64 };

struct count_place {
    uint64_t hash;
    uint32_t count;  /* 0: nobody is here */
};

struct count_part {
    pthread_mutex_t     lock;
    struct count_place *places;  /* NULL: nobody was counted yet */
    size_t              size;    /* a power of two */
    size_t              used;
};

struct count_table {
    struct count_part parts[COUNT_PARTS];
};

void count_table_init(struct count_table *table);
void count_table_fini(struct count_table *table);  /* no thread uses it any more */

/* One more of whoever has this hash, unless there are `max` already. False: there are, and it is not counted. */
bool count_table_add(struct count_table *table, uint64_t hash, uint32_t max);
/* One less; it was counted. */
void count_table_take(struct count_table *table, uint64_t hash);

uint32_t count_table_of(struct count_table *table, uint64_t hash);

#endif
