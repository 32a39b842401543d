/* shard_table.h - which database of a cluster has which slots. It is fixed when the cluster is made, and recorded in each
 * of them; a node believes what they say, not the order of its own list. Pure. */
#ifndef STORE_SHARD_TABLE_H
#define STORE_SHARD_TABLE_H

#include "message/slot.h"

/* What a database says of itself. */
struct shard_place {
    uint64_t cluster;                /* a random number, the same in all databases of a cluster */
    uint32_t first_slot, last_slot;  /* both included */
};

/* What database `index` of `count` has in a cluster that is being made: an equal part. */
struct shard_place shard_place_new(uint64_t cluster, size_t index, size_t count);

/* Which database has each slot. False: they are not the whole of one cluster, and ret_why says what differs. There they
 * are counted from 1, as in the setting. */
bool shard_table_make(const struct shard_place *places, size_t count, uint8_t ret_shard_of_slot[SLOT_COUNT], char *ret_why,
                      size_t why_size);

/* Before a cluster is made, or made to the end: may this database, which has a place already, be number `index` of `count`
 * in this cluster? */
bool shard_place_fits(const struct shard_place *place, uint64_t cluster, size_t index, size_t count, char *ret_why,
                      size_t why_size);

#endif
