/* rocks_salvage.h - opens a database with damage that RocksDB refuses to open, and keeps what can be read.
 *
 * Nothing is destroyed: each file that is given up gets a second name in DATA/damaged first. What is done:
 *
 *   a record of the write-ahead log  It is left out. Acknowledged commits are lost, so the log gets a new epoch.
 *   a table of messages or floors    The manifest drops the table. Its messages are missing rows, so readers get gaps. Each
 *                                    channel that may have had its last rows there goes on above its ceiling.
 *   a table of the metadata          The same. The log gets a new epoch, and numbers leap.
 *   CURRENT                          It names the newest manifest again. Nothing is lost.
 *   another table, the manifest      Refused, unless the operator has asked for it (may_repair): nobody is told by a gap
 *                                    what is lost then.
 *
 * For rocks_load(): db_lock is held for writing, or no thread runs yet, and the database is closed. */
#ifndef STORE_ROCKS_SALVAGE_H
#define STORE_ROCKS_SALVAGE_H

#include "store/rocks_priv.h"

/* What was found and done. */
struct salvage {
    bool       has_lost_commits;  /* the epoch must change, and ids must leap */
    struct buf told;              /* sentences for the operator */
};

void salvage_init(struct salvage *salvage);
void salvage_fini(struct salvage *salvage);

/* `why` is RocksDB's sentence about the damage that it met. Mends it as far as that is allowed, and opens the database
 * into rocks->db. Otherwise ret_why says what is damaged, where, and what to do. */
enum rc salvage_open(struct salvage *salvage, struct rocks *rocks, struct rocks_db_options *options, char *ret_why,
                     size_t why_size) RC_MUST_USE;

/* With may_repair: reads all rows that are no messages, and drops each table that has damage there. The database is open,
 * and is open again afterwards. */
enum rc salvage_small_families(struct salvage *salvage, struct rocks *rocks, struct rocks_db_options *options,
                               char *ret_why, size_t why_size) RC_MUST_USE;

#endif
