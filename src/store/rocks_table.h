/* rocks_table.h - one table (a file NNNNNN.sst) of a database: finds it, drops it from the manifest. For tables that
 * can't be read any more. */
#ifndef STORE_ROCKS_TABLE_H
#define STORE_ROCKS_TABLE_H

#include "store/rocks_db.h"

struct table_place {
    char        name[32];
    uint64_t    number;
    enum family family;
    uint32_t    family_id, level;
    uint64_t    entries;
    uint64_t    channel_first, channel_last;  /* of a table of messages: the channels' numbers */
};

/* False: the database has no such table. */
bool rocks_table_find(struct rocks_db *db, uint64_t number, struct table_place *ret);

/* Writes into the manifest that the table is no part of the database any more. The database is closed. */
enum rc rocks_table_drop(const char *db_path, const struct table_place *place, char *ret_why,
                         size_t why_size) RC_MUST_USE;

#endif
